//! The control socket by which ovs-appctl looks into a running daemon.
//!
//! A stream of JSON-RPC 1.0 requests `{"id": ID, "method": COMMAND, "params": [STRINGS]}` over a
//! Unix socket; each is answered by `{"id": ID, "result": TEXT, "error": null}` or
//! `{"id": ID, "error": TEXT}`, where TEXT is empty or ends in a newline.
//!
//! Source: OVS `lib/unixctl.c`; checked against the stock programs. [`server`] is used by the
//! daemons, [`client`] by `appctl`.

pub mod client;
mod framing;
pub mod server;

pub use server::{Commands, Request, Server};

/// What a command answers: the text to print, or what went wrong.
pub type Answer = Result<String, String>;
