//! Keeps the switch as the database asks for it: [`desired`] reads the database, [`plan`] compares
//! it with what is there.

pub mod desired;
pub mod plan;
