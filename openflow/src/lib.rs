//! See ARCHITECTURE.md.
pub mod text;
