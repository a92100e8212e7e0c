//! Keeps the switch as the database asks for it: [`desired`] reads the database, [`plan`] compares
//! it with what is there, [`status`] tells the database how things are.

mod apply;
pub mod desired;
pub mod device;
pub mod plan;
pub mod port_conf;
pub mod status;
pub mod unsupported;
