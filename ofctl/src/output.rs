//! Writes to the terminal, or to whatever reads the output.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::error::Error;

/// Writes to standard output at once.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Error::NoReader,
            _ => Error::Stdout,
        })
}

/// A line on the terminal that says how far long work is; without a terminal there is none.
pub struct Progress {
    what: &'static str,
    /// When it was last shown; `None` without a terminal.
    shown: Option<Instant>,
    is_there: bool,
}

impl Progress {
    const PAUSE: Duration = Duration::from_millis(200);

    pub fn new(what: &'static str) -> Progress {
        Progress {
            what,
            shown: std::io::stderr().is_terminal().then(Instant::now),
            is_there: false,
        }
    }

    /// Work has come to flow `n`.
    pub fn show(&mut self, n: usize) {
        // Looking at the clock for each flow would cost more than it tells.
        if let Some(shown) = self.shown.filter(|_| n.is_multiple_of(256))
            && shown.elapsed() >= Self::PAUSE
        {
            eprint!("\r{n} flows {}", self.what);
            self.shown = Some(Instant::now());
            self.is_there = true;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_there {
            // Over the line with blanks: what comes next stands alone.
            eprint!("\r{:40}\r", "");
        }
    }
}
