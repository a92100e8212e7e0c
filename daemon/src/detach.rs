//! Going into the background so that the parent's exit status tells the truth.
//!
//! `--detach` forks before any thread exists. The parent waits for a byte on a pipe, which the
//! daemon writes once its pidfile, unixctl socket and listeners are there; if the daemon dies
//! first, the parent exits with the daemon's status. Until then the daemon keeps the terminal,
//! so that its messages are seen; afterwards descriptors 0 to 2 are `/dev/null`.
//! `--monitor` puts a supervisor between the two, which starts the daemon again when it crashes.
//!
//! Source: OVS `lib/daemon-unix.c`, `daemonize_start`, `monitor_daemon`, `daemonize_complete`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe, setsid};
use thiserror::Error;

use crate::pidfile::{self, Pidfile, reason};

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Pidfile(#[from] pidfile::Error),
    #[error("{doing} failed ({})", .source.desc())]
    System { doing: &'static str, source: Errno },
    #[error("{doing} failed ({})", reason(.source))]
    Io {
        doing: &'static str,
        source: io::Error,
    },
    #[error("fork child died before signaling startup ({0})")]
    ChildDied(String),
}

/// How to start; filled by [`crate::options::DaemonOptions`].
#[derive(Clone, Debug, Default)]
pub struct Detach {
    pub detach: bool,
    pub monitor: bool,
    pub no_chdir: bool,
    pub pidfile: Option<PathBuf>,
    pub overwrite_pidfile: bool,
}

/// The daemon process between its fork and the moment it is ready.
#[derive(Debug)]
#[must_use = "the parent waits until `complete`"]
pub struct Startup {
    ready: Option<OwnedFd>,
    detached: bool,
    chdir: bool,
    pidfile: Option<Pidfile>,
}

/// A daemon that has told its parent that it is ready. Dropping it removes the pidfile.
#[derive(Debug)]
pub struct Running {
    _pidfile: Option<Pidfile>,
}

impl Detach {
    /// Forks as asked and makes the pidfile. Returns in the process that is to be the daemon;
    /// parents and supervisors end inside.
    ///
    /// Must be called while the process has one thread.
    pub fn start(&self) -> Result<Startup, Error> {
        let mut ready = None;
        if self.detach {
            match fork_with_pipe()? {
                Forked::Parent { child, from_child } => wait_for_ready(child, from_child),
                Forked::Child { to_parent } => {
                    ready = Some(to_parent);
                    setsid().map_err(|source| Error::System {
                        doing: "setsid",
                        source,
                    })?;
                }
            }
        }
        if self.monitor {
            ready = Some(supervise(ready, self.detach)?);
        }
        let pidfile = match &self.pidfile {
            Some(path) => Some(Pidfile::create(path, self.overwrite_pidfile)?),
            None => None,
        };
        Ok(Startup {
            ready,
            detached: self.detach,
            chdir: self.detach && !self.no_chdir,
            pidfile,
        })
    }
}

impl Startup {
    /// Tells the parent that the daemon is ready, and lets go of the terminal when detached.
    pub fn complete(self) -> Result<Running, Error> {
        if let Some(ready) = self.ready {
            tell_ready(ready)?;
        }
        if self.chdir {
            std::env::set_current_dir("/").map_err(|source| Error::Io {
                doing: "chdir to /",
                source,
            })?;
        }
        if self.detached {
            crate::vlog::console_off();
            close_standard_fds()?;
        }
        Ok(Running {
            _pidfile: self.pidfile,
        })
    }
}

enum Forked {
    Parent { child: Pid, from_child: OwnedFd },
    Child { to_parent: OwnedFd },
}

fn fork_with_pipe() -> Result<Forked, Error> {
    let system = |doing| move |source| Error::System { doing, source };
    // The ends are closed on exec only by hand; nothing is executed between fork and ready.
    let (read, write) = pipe().map_err(system("pipe"))?;
    // SAFETY: the caller promises that this process has one thread, so the child may run any
    // code, not only async-signal-safe functions.
    match unsafe { fork() }.map_err(system("fork"))? {
        ForkResult::Parent { child } => {
            drop(write);
            Ok(Forked::Parent {
                child,
                from_child: read,
            })
        }
        ForkResult::Child => {
            drop(read);
            Ok(Forked::Child { to_parent: write })
        }
    }
}

/// In the parent: exits 0 once the child is ready, else with the child's exit status.
fn wait_for_ready(child: Pid, from_child: OwnedFd) -> ! {
    match await_ready(child, from_child) {
        Ok(()) => std::process::exit(0),
        Err(Failure::Exited(code)) => std::process::exit(code),
        Err(Failure::Other(error)) => {
            eprintln!("{}: {error}", crate::dirs::program_name());
            std::process::exit(1);
        }
    }
}

enum Failure {
    /// The child ended with this status and has printed why.
    Exited(i32),
    Other(Error),
}

fn await_ready(child: Pid, from_child: OwnedFd) -> Result<(), Failure> {
    let mut byte = [0u8; 1];
    loop {
        match nix::unistd::read(&from_child, &mut byte) {
            Ok(0) => break,
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(source) => {
                return Err(Failure::Other(Error::System {
                    doing: "reading from the daemon",
                    source,
                }));
            }
        }
    }
    match wait(child) {
        Ok(WaitStatus::Exited(_, code)) if code != 0 => Err(Failure::Exited(code)),
        Ok(status) => Err(Failure::Other(Error::ChildDied(describe(status)))),
        Err(source) => Err(Failure::Other(Error::System {
            doing: "waitpid",
            source,
        })),
    }
}

fn tell_ready(ready: OwnedFd) -> Result<(), Error> {
    match File::from(ready).write_all(&[0]) {
        // A supervisor restarts daemons long after the first parent has gone.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|source| Error::Io {
            doing: "telling the parent that the daemon is ready",
            source,
        }),
    }
}

/// Becomes the supervisor; returns in each daemon process that it starts, with the descriptor
/// by which that one says that it is ready.
fn supervise(mut parent: Option<OwnedFd>, detached: bool) -> Result<OwnedFd, Error> {
    let mut last_start: Option<Instant> = None;
    loop {
        if let Some(last) = last_start {
            // A daemon that dies at once is not started more often than every ten seconds.
            let pause = Duration::from_secs(10).saturating_sub(last.elapsed());
            std::thread::sleep(pause);
        }
        last_start = Some(Instant::now());
        let (child, from_child) = match fork_with_pipe()? {
            Forked::Child { to_parent } => {
                // Held open by two processes, the first pipe would never report end of file.
                drop(parent);
                restore_signals();
                return Ok(to_parent);
            }
            Forked::Parent { child, from_child } => (child, from_child),
        };
        forward_signals_to(child);
        match await_ready(child, from_child) {
            Ok(()) => {
                if let Some(ready) = parent.take() {
                    tell_ready(ready)?;
                    if detached {
                        crate::vlog::console_off();
                        close_standard_fds()?;
                    }
                }
            }
            Err(Failure::Exited(code)) if parent.is_some() => std::process::exit(code),
            Err(Failure::Other(error)) if parent.is_some() => return Err(error),
            Err(_) => {
                tracing::error!(target: "daemon", "{child} died before it was ready, restarting");
                continue;
            }
        }
        let status = wait(child).map_err(|source| Error::System {
            doing: "waitpid",
            source,
        })?;
        let text = describe(status);
        if should_restart(status) {
            tracing::error!(target: "daemon", "pid {child} died ({text}), restarting");
        } else {
            tracing::info!(target: "daemon", "pid {child} died ({text}), exiting");
            std::process::exit(0);
        }
    }
}

/// Only a crash is worth a restart; an exit, or an end by a signal that an operator sends, is
/// meant.
fn should_restart(status: WaitStatus) -> bool {
    matches!(
        status,
        WaitStatus::Signaled(
            _,
            Signal::SIGABRT
                | Signal::SIGALRM
                | Signal::SIGBUS
                | Signal::SIGFPE
                | Signal::SIGILL
                | Signal::SIGPIPE
                | Signal::SIGSEGV
                | Signal::SIGXCPU
                | Signal::SIGXFSZ,
            _
        )
    )
    // A Rust panic in a main thread ends as exit status 101.
    || matches!(status, WaitStatus::Exited(_, 101))
}

fn wait(child: Pid) -> Result<WaitStatus, Errno> {
    loop {
        match waitpid(child, None) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

fn describe(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exit status {code}"),
        WaitStatus::Signaled(_, signal, core) => format!(
            "killed ({}){}",
            signal.as_str(),
            if core { ", core dumped" } else { "" }
        ),
        other => format!("{other:?}"),
    }
}

static SUPERVISED: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);

extern "C" fn forward(signal: libc::c_int) {
    let pid = SUPERVISED.load(std::sync::atomic::Ordering::Relaxed);
    if pid > 0 {
        // SAFETY: kill(2) is async-signal-safe and takes plain integers.
        unsafe { libc::kill(pid, signal) };
    }
}

/// SIGTERM and SIGINT to the supervisor are meant for the daemon; the supervisor ends with it.
fn forward_signals_to(child: Pid) {
    SUPERVISED.store(child.as_raw(), std::sync::atomic::Ordering::Relaxed);
    set_handler(SigHandler::Handler(forward));
}

fn restore_signals() {
    SUPERVISED.store(0, std::sync::atomic::Ordering::Relaxed);
    set_handler(SigHandler::SigDfl);
}

fn set_handler(handler: SigHandler) {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        // SAFETY: `forward` is async-signal-safe: it reads an atomic and calls kill(2).
        let _ = unsafe { sigaction(signal, &action) };
    }
}

fn close_standard_fds() -> Result<(), Error> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|source| Error::Io {
            doing: "opening /dev/null",
            source,
        })?;
    let system = |source| Error::System {
        doing: "dup2",
        source,
    };
    nix::unistd::dup2_stdin(null.as_fd()).map_err(system)?;
    nix::unistd::dup2_stdout(null.as_fd()).map_err(system)?;
    nix::unistd::dup2_stderr(null.as_fd()).map_err(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policy() {
        let pid = Pid::from_raw(1);
        assert!(should_restart(WaitStatus::Signaled(
            pid,
            Signal::SIGSEGV,
            false
        )));
        assert!(should_restart(WaitStatus::Exited(pid, 101)));
        assert!(!should_restart(WaitStatus::Exited(pid, 1)));
        assert!(!should_restart(WaitStatus::Signaled(
            pid,
            Signal::SIGTERM,
            false
        )));
        assert!(!should_restart(WaitStatus::Signaled(
            pid,
            Signal::SIGKILL,
            false
        )));
    }
}
