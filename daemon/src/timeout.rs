//! The tools' time limit: `-T`/`--timeout` or `OVS_CTL_TIMEOUT`.
//!
//! A tool whose time is up dies by SIGALRM, exit status 142 to a shell, as scripts expect
//! (OVS `lib/timeval.c`, `time_alarm`). Called by the tools before they connect.

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("value {0} on -T or --timeout is invalid")]
    Invalid(String),
}

/// Parses the value of `--timeout`: whole seconds, at least 1.
pub fn parse(text: &str) -> Result<u32, Error> {
    match text.parse::<u32>() {
        Ok(seconds) if seconds > 0 => Ok(seconds),
        _ => Err(Error::Invalid(text.to_owned())),
    }
}

/// Lets the kernel end this process by SIGALRM after `option` seconds, or else after
/// `OVS_CTL_TIMEOUT` seconds when that is set to a positive number. Returns what was armed.
pub fn arm(option: Option<u32>) -> Option<u32> {
    let seconds = option.or_else(|| {
        let value = std::env::var("OVS_CTL_TIMEOUT").ok()?;
        value.trim().parse::<u32>().ok().filter(|s| *s > 0)
    })?;
    nix::unistd::alarm::set(seconds);
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(parse("5"), Ok(5));
        assert_eq!(
            parse("0").unwrap_err().to_string(),
            "value 0 on -T or --timeout is invalid"
        );
        assert!(parse("-1").is_err());
        assert!(parse("").is_err());
    }
}
