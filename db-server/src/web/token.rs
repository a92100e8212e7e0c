//! The bearer token that lets a client write, kept in a file.
//!
//! The file holds one line, the token of RFC 6750: letters, digits and `-._~+/=`. It is read again
//! when it changes. While it cannot be used, no token is right.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use daemon::rate_limit::RateLimit;
use subtle::ConstantTimeEq;

/// Shorter ones could be guessed.
const MIN_TOKEN: usize = 16;
/// A longer file is none that was meant.
const MAX_FILE: u64 = 4096;

static UNUSABLE: RateLimit = RateLimit::new(2, 1);

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{path}: {source}")]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: not a regular file")]
    NotAFile { path: PathBuf },
    #[error("{path}: mode {mode:04o} lets every user at the token (chmod o= makes it good)")]
    Mode { path: PathBuf, mode: u32 },
    #[error("{path}: more than {MAX_FILE} bytes")]
    TooLong { path: PathBuf },
    #[error("{path}: the token has {length} characters; it must have {MIN_TOKEN} or more")]
    TooShort { path: PathBuf, length: usize },
    #[error("{path}: must hold one line of letters, digits and -._~+/= only")]
    Characters { path: PathBuf },
}

/// What shows that a file is another one, or has been written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Debug)]
struct State {
    /// `None` when the file could not be looked at.
    stamp: Option<Stamp>,
    token: Option<Vec<u8>>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    state: Mutex<State>,
}

impl TokenFile {
    /// Reads the file for the first time; then it has to be good.
    pub fn open(path: PathBuf) -> Result<Self, Error> {
        let token = read(&path)?;
        let state = Mutex::new(State {
            stamp: stamp(&path),
            token: Some(token),
        });
        Ok(Self { path, state })
    }

    /// Whether this is the token that the file holds now. Takes the same time for any token of
    /// the right length.
    pub fn accepts(&self, presented: &str) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path);
        if stamp.is_none() || stamp != state.stamp {
            *state = State {
                stamp,
                token: self.read_again(),
            };
        }
        let token = state.token.as_deref();
        token.is_some_and(|token| bool::from(token.ct_eq(presented.as_bytes())))
    }

    fn read_again(&self) -> Option<Vec<u8>> {
        match read(&self.path) {
            Ok(token) => {
                tracing::info!("{}: token read again", self.path.display());
                Some(token)
            }
            Err(error) => {
                if let Some(dropped) = UNUSABLE.allow(Instant::now()) {
                    tracing::warn!("{error}; no HTTP client may write{dropped}");
                }
                None
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Stamp {
        inode: (metadata.dev(), metadata.ino()),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let path = path.to_owned();
    let io = |source| Error::Io {
        path: path.clone(),
        source,
    };
    // Opening a FIFO would wait for its other end.
    if !std::fs::metadata(&path).map_err(io)?.is_file() {
        return Err(Error::NotAFile { path });
    }
    let file = std::fs::File::open(&path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(Error::Mode { path, mode });
    }
    let mut bytes = Vec::new();
    let mut limited = file.take(MAX_FILE.saturating_add(1));
    let length = limited.read_to_end(&mut bytes).map_err(io)?;
    if length as u64 > MAX_FILE {
        return Err(Error::TooLong { path });
    }
    let token = bytes.trim_ascii();
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if !token.iter().all(good) {
        return Err(Error::Characters { path });
    }
    if token.len() < MIN_TOKEN {
        let length = token.len();
        return Err(Error::TooShort { path, length });
    }
    Ok(token.to_vec())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(path: &Path, text: &str, mode: u32) {
        // Another file each time, as editors do: times alone are too coarse for a fast test.
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::rename(&beside, path).unwrap();
    }

    #[test]
    fn read_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        write(&path, "0123456789abcdef\n", 0o600);
        let file = TokenFile::open(path.clone()).unwrap();
        assert!(file.accepts("0123456789abcdef"));
        for wrong in [
            "",
            "0123456789abcdeF",
            "0123456789abcdef\n",
            "0123456789abcdef0",
        ] {
            assert!(!file.accepts(wrong), "{wrong:?}");
        }
        write(&path, "another-token-of-size", 0o640);
        assert!(!file.accepts("0123456789abcdef"));
        assert!(file.accepts("another-token-of-size"));
        // What is no longer good is no longer accepted, until it is good again.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!file.accepts("another-token-of-size"));
        write(&path, "another-token-of-size", 0o600);
        assert!(file.accepts("another-token-of-size"));
        std::fs::remove_file(&path).unwrap();
        assert!(!file.accepts("another-token-of-size"));
    }

    #[test]
    fn bad_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let long = "x".repeat(5000);
        for (text, mode, expected) in [
            ("0123456789abcdef", 0o604, "mode 0604"),
            ("0123456789abcdef", 0o602, "mode 0602"),
            ("short", 0o600, "5 characters"),
            ("", 0o600, "0 characters"),
            ("two lines of it\nand another", 0o600, "one line"),
            (&long, 0o600, "more than 4096"),
        ] {
            write(&path, text, mode);
            let error = TokenFile::open(path.clone()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains("token"), "{error}");
        }
        let error = TokenFile::open(directory.path().to_owned()).unwrap_err();
        assert!(error.to_string().contains("regular file"), "{error}");
    }
}
