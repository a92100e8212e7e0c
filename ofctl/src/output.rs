//! Writes to the terminal, or to whatever reads the output.

use std::io::Write;

use crate::error::Error;

/// Writes to standard output at once.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|_| Error::Stdout)
}
