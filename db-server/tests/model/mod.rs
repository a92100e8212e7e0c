//! The parts of the model test, which a fuzz target shares.
#![allow(dead_code, reason = "each user takes what it needs")]

pub mod peer;
pub mod reference;
pub mod replica;
pub mod schemas;
pub mod sequence;
pub mod source;
pub mod transactions;
