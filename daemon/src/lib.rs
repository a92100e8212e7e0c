//! What every Sluice program shares with the outside: directories, pidfiles, detaching, logs,
//! the unixctl control socket, connection methods and reconnection.
//!
//! The conventions are those of Open vSwitch (ovs-vswitchd(8), ovs-appctl(8), ovsdb(7)), checked
//! against the stock programs, because scripts and stock tools rely on them.
//!
//! A daemon's `main` reads straight down: parse [`options::DaemonOptions`] (single thread, no
//! runtime yet), [`options::DaemonOptions::start`] (log, fork, pidfile), build the tokio runtime,
//! open the unixctl socket and the listeners, [`detach::Startup::complete`] (the parent exits 0),
//! then the event loop.

pub mod detach;
pub mod dirs;
pub mod getopt;
pub mod options;
pub mod pidfile;
pub mod rate_limit;
pub mod reconnect;
pub mod signals;
mod socket;
pub mod stream;
pub mod timeout;
pub mod unixctl;
pub mod version;
pub mod vigil;
pub mod vlog;
