//! The OVSDB server: a core without I/O, and the shell that owns sockets and the database file.
//!
//! | Module | What |
//! | --- | --- |
//! | [`database`] | rows in memory with their reference counts and indexes |
//! | [`txn`] | execution of a `transact` request on a [`database::Database`] |
//! | [`rbac`] | what a client with a role may change |
//! | [`replication`] | following an active server as its backup |
//! | [`record`] | a transaction's changes as a JSON record of the database file, and back |
//! | [`files`] | opening and making database files |
//! | [`log`] | the database file |
//! | [`mod@convert`] | a database's contents under another schema |
//! | [`monitor`], [`history`] | what a client that watches tables is told, and what it missed |
//! | [`event_loop`] | the one place that owns everything and answers every event |
//! | [`connection`], [`remote`] | clients' sockets, and where they come from |
//! | [`web`] | JSON-RPC 2.0 over HTTP and WebSocket |
//! | [`writer`] | the thread that writes and syncs the files |
//! | [`control`], [`options`] | unixctl commands, the command line |
//! | [`server`] | sessions, locks, requests: everything between a message and what follows from it |

pub mod connection;
pub mod control;
pub mod convert;
pub mod database;
pub mod event_loop;
pub mod files;
pub mod history;
pub mod log;
pub mod monitor;
pub mod options;
pub mod rbac;
pub mod record;
pub mod remote;
pub mod replication;
pub mod server;
pub mod txn;
pub mod uuids;
pub mod web;
pub mod writer;
