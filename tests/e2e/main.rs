//! Whole-system tests with our own tools: real daemons, veth pairs, namespaces.
//!
//! The cases take turns (`--test-threads=1`): namespaces have fixed names.

mod bad_input;
mod barrier;
mod flow_tables;
mod forwarding;
mod groups;
mod ports;
mod restart;
mod scale;
mod support;
