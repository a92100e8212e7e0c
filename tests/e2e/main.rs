//! Whole-system tests with our own tools: real daemons, veth pairs, namespaces.
