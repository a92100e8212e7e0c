//! A network namespace that lives as long as its guard.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

use crate::process::run;

/// A named network namespace (`ip netns`), removed with everything in it on drop.
pub struct NetNs {
    name: String,
    file: File,
    keep: bool,
}

impl NetNs {
    /// Makes the namespace and brings its loopback device up. A stale one of that name is removed.
    pub fn new(name: &str) -> Result<NetNs> {
        let path = format!("/run/netns/{name}");
        if std::path::Path::new(&path).exists() {
            run("ip", &["netns", "del", name])?;
        }
        run("ip", &["netns", "add", name])?;
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        let ns = NetNs {
            name: name.to_owned(),
            file,
            keep: false,
        };
        ns.ip(&["link", "set", "lo", "up"])?;
        Ok(ns)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the namespace in place when the guard is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// Runs `ip` inside the namespace.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        let mut words = vec!["-n", self.name.as_str()];
        words.extend(args);
        run("ip", &words)
    }

    /// A command that will run inside the namespace.
    ///
    /// Unlike `ip netns exec` this keeps the caller's mounts, `/sys/fs/bpf` among them.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let fd: OwnedFd = self
            .file
            .as_fd()
            .try_clone_to_owned()
            .expect("a namespace is open");
        // SAFETY: between fork and exec only the system call setns is made.
        unsafe {
            command.pre_exec(move || {
                setns(&fd, CloneFlags::CLONE_NEWNET)
                    .map_err(|e| std::io::Error::from_raw_os_error(e as i32))
            });
        }
        command
    }

    /// Runs `f` on a thread of its own inside the namespace.
    pub fn enter<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let fd = self
            .file
            .as_fd()
            .try_clone_to_owned()
            .expect("a namespace is open");
        std::thread::spawn(move || {
            setns(&fd, CloneFlags::CLONE_NEWNET)
                .unwrap_or_else(|e| panic!("setns({}): {e}", fd.as_raw_fd()));
            f()
        })
    }
}

impl Drop for NetNs {
    fn drop(&mut self) {
        if !self.keep {
            // A failure leaves a namespace that the next run removes by its name.
            let _ = run("ip", &["netns", "del", &self.name]);
        }
    }
}
