//! The OVSDB server: a core without I/O, and the shell that owns sockets and the database file.
//!
//! | Module | What |
//! | --- | --- |
//! | [`database`] | rows in memory with their reference counts and indexes |
//! | [`txn`] | execution of a `transact` request on a [`database::Database`] |
//! | [`record`] | a transaction's changes as a JSON record of the database file, and back |
//! | [`log`] | the database file |
//! | [`monitor`] | what a client that watches tables is told |
//! | [`server`] | sessions, locks, requests: everything between a message and what follows from it |

pub mod database;
pub mod log;
pub mod monitor;
pub mod record;
pub mod server;
pub mod txn;
