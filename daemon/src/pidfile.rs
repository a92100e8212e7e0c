//! Pidfiles: the daemon's pid and a newline, held with an fcntl (POSIX) write lock by the very
//! process whose pid it is, so that "is it running?" has an exact answer after any crash.
//!
//! Source: OVS `lib/daemon-unix.c`, `make_pidfile` and `read_pidfile`. Called by
//! [`crate::detach`] and by whoever looks for a daemon ([`crate::unixctl::client`]).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::Pid;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Error {
    #[error("{}: already running as pid {pid}, aborting", .path.display())]
    AlreadyRunning { path: PathBuf, pid: i32 },
    #[error("{}: {doing} failed ({})", .path.display(), reason(.source))]
    Io {
        path: PathBuf,
        doing: &'static str,
        source: io::Error,
    },
    #[error("cannot read pidfile \"{}\" ({})", .path.display(), reason(.source))]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: no process has this pidfile locked", .path.display())]
    NotRunning { path: PathBuf },
    #[error("{}: does not contain a pid", .path.display())]
    Malformed { path: PathBuf },
}

/// The text of an operating system error without Rust's "(os error N)".
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

/// A pidfile that this process made and holds locked. Dropping it removes the file.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    /// Closing any descriptor of the file would release a POSIX lock; this one stays open.
    file: File,
    pid: u32,
}

impl Pidfile {
    /// Makes `path`, which appears complete and locked or not at all.
    ///
    /// Errors: `AlreadyRunning` when another process holds a lock on an existing file and
    /// `overwrite` is false.
    pub fn create(path: &Path, overwrite: bool) -> Result<Pidfile, Error> {
        if !overwrite {
            match running(path) {
                Ok(Some(pid)) => {
                    return Err(Error::AlreadyRunning {
                        path: path.to_owned(),
                        pid: pid.as_raw(),
                    });
                }
                Ok(None) => {}
                Err(source) if source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(io_error(path, "open", source)),
            }
        }
        let pid = std::process::id();
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!(".tmp{pid}"));
        let temporary = PathBuf::from(temporary);
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&temporary)
            .and_then(|mut file| {
                lock(&file)?;
                file.write_all(format!("{pid}\n").as_bytes())?;
                std::fs::rename(&temporary, path)?;
                Ok(file)
            });
        match written {
            Ok(file) => Ok(Pidfile {
                path: path.to_owned(),
                file,
                pid,
            }),
            Err(source) => {
                // The error that matters is the one being returned.
                let _ = std::fs::remove_file(&temporary);
                Err(io_error(path, "create", source))
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // A forked child inherits the value but not the lock, and must not remove the file;
        // nor must a daemon whose file someone replaced.
        let ours = self.pid == std::process::id()
            && match (self.file.metadata(), std::fs::metadata(&self.path)) {
                (Ok(held), Ok(there)) => held.ino() == there.ino() && held.dev() == there.dev(),
                _ => false,
            };
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The pid of the daemon that holds `path`.
///
/// Errors: `Read` when the file cannot be opened; `NotRunning` when nobody has it locked.
pub fn read(path: &Path) -> Result<Pid, Error> {
    let mut file = File::open(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let holder = holder(&file).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let Some(holder) = holder else {
        return Err(Error::NotRunning {
            path: path.to_owned(),
        });
    };
    let mut text = String::new();
    let parsed = (&mut file)
        .take(64)
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| text.trim().parse::<i32>().ok());
    match parsed {
        // In another pid namespace the lock's holder reads as 0.
        Some(pid) if pid > 0 && (holder.as_raw() == pid || holder.as_raw() == 0) => {
            Ok(Pid::from_raw(pid))
        }
        _ => Err(Error::Malformed {
            path: path.to_owned(),
        }),
    }
}

fn running(path: &Path) -> io::Result<Option<Pid>> {
    holder(&File::open(path)?)
}

/// Who holds a conflicting lock on `file`. A lock of this very process does not conflict.
fn holder(file: &File) -> io::Result<Option<Pid>> {
    let mut request = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_GETLK(&mut request))?;
    Ok((i32::from(request.l_type) != libc::F_UNLCK).then(|| Pid::from_raw(request.l_pid)))
}

fn lock(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETLK(&whole_file(libc::F_WRLCK)))?;
    debug_assert!(file.as_raw_fd() >= 0);
    Ok(())
}

fn whole_file(kind: i32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

fn io_error(path: &Path, doing: &'static str, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        doing,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn created_locked_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pid");
        let pidfile = Pidfile::create(&path, false).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(pidfile);
        assert!(!path.exists());
    }

    #[test]
    fn stale_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.pid");
        std::fs::write(&path, "1\n").unwrap();
        assert!(matches!(read(&path), Err(Error::NotRunning { .. })));
        let _pidfile = Pidfile::create(&path, false).unwrap();
    }

    #[test]
    fn missing_file_says_so() {
        let error = read(Path::new("/nonexistent/x.pid"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "cannot read pidfile \"/nonexistent/x.pid\" (No such file or directory)"
        );
    }
}
