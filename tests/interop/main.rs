//! Stock Open vSwitch tools and controllers against our daemons.
