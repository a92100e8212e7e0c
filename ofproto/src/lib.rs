//! See ARCHITECTURE.md.

pub mod mac_learning;
