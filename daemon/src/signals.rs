//! Signals that end a daemon tidily, as one future for its event loop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT, SIGHUP: leave tidily, pidfile and sockets removed.
#[derive(Debug)]
pub struct Termination {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Termination {
    /// Must run inside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Termination {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves with the name of the signal. Cancel safe.
    pub async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
            _ = self.hup.recv() => "SIGHUP",
        }
    }
}
