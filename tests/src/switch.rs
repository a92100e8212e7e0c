//! A whole switch, db-server and vswitchd, in a network namespace and a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::netns::NetNs;
use crate::process::{Background, our_program, output, raw_output, tail, wait_for};

/// A running switch; everything it made is removed on drop.
pub struct Switch {
    pub ns: NetNs,
    dir: TempDir,
    db_server: Option<Background>,
    vswitchd: Option<Background>,
    keep: bool,
}

impl Switch {
    /// Starts db-server and vswitchd in a new namespace called `name`.
    pub fn start(name: &str) -> Result<Switch> {
        let ns = NetNs::new(name)?;
        let dir = tempfile::Builder::new()
            .prefix(&format!("{name}."))
            .tempdir()?;
        let mut switch = Switch {
            ns,
            dir,
            db_server: None,
            vswitchd: None,
            keep: false,
        };
        switch.start_db_server()?;
        switch.vsctl(&["--no-wait", "init"])?;
        switch.start_vswitchd()?;
        Ok(switch)
    }

    /// The run directory: sockets, pidfiles, logs and the database.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn db(&self) -> String {
        format!("unix:{}", self.dir().join("db.sock").display())
    }

    /// Where OpenFlow clients reach `bridge`.
    pub fn mgmt(&self, bridge: &str) -> String {
        format!(
            "unix:{}",
            self.dir().join(format!("{bridge}.mgmt")).display()
        )
    }

    pub fn vswitchd_ctl(&self) -> PathBuf {
        self.dir().join("vswitchd.ctl")
    }

    pub fn vswitchd_pid(&self) -> Option<u32> {
        self.vswitchd.as_ref().map(Background::pid)
    }

    pub fn db_server_pid(&self) -> Option<u32> {
        self.db_server.as_ref().map(Background::pid)
    }

    /// Whether both daemons have run since they were started, and no thread of them has panicked.
    pub fn healthy(&mut self) -> bool {
        let runs = |p: &mut Option<Background>| p.as_mut().is_some_and(Background::running);
        let said = |name: &str| std::fs::read_to_string(self.dir.path().join(name));
        runs(&mut self.db_server)
            && runs(&mut self.vswitchd)
            && ["db-server.out", "vswitchd.out"]
                .iter()
                .all(|name| said(name).is_ok_and(|text| !text.contains("panicked")))
    }

    pub fn start_db_server(&mut self) -> Result<()> {
        let log = self.log("db-server.out")?;
        let mut command = self.daemon("db-server")?;
        command
            .arg(self.dir().join("conf.db"))
            .arg(format!(
                "--remote=punix:{}",
                self.dir().join("db.sock").display()
            ))
            .arg("--remote=db:Open_vSwitch,Open_vSwitch,manager_options")
            .arg(format!(
                "--unixctl={}",
                self.dir().join("db-server.ctl").display()
            ))
            .stdout(log.try_clone()?)
            .stderr(log);
        self.db_server = Some(Background::spawn(&mut command)?);
        let socket = self.dir().join("db.sock");
        self.wait("db-server listens", |s| {
            s.db_server.as_mut().is_some_and(Background::running)
                && std::os::unix::net::UnixStream::connect(&socket).is_ok()
        })
    }

    pub fn start_vswitchd(&mut self) -> Result<()> {
        let log = self.log("vswitchd.out")?;
        let mut command = self.daemon("vswitchd")?;
        command
            .arg(self.db())
            .arg(format!("--unixctl={}", self.vswitchd_ctl().display()))
            .stdout(log.try_clone()?)
            .stderr(log);
        self.vswitchd = Some(Background::spawn(&mut command)?);
        let socket = self.vswitchd_ctl();
        self.wait("vswitchd answers", |_| {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        })
    }

    /// Ends vswitchd at once, as a crash would.
    pub fn kill_vswitchd(&mut self) {
        if let Some(mut p) = self.vswitchd.take() {
            p.kill();
        }
    }

    pub fn stop_vswitchd(&mut self) -> Result<()> {
        self.vswitchd.take().map_or(Ok(()), |mut p| p.terminate())
    }

    pub fn kill_db_server(&mut self) {
        if let Some(mut p) = self.db_server.take() {
            p.kill();
        }
    }

    /// One of our programs with the switch's directories in its environment, outside any daemon.
    pub fn tool(&self, name: &str) -> Result<Command> {
        Ok(self.stock(our_program(name)?))
    }

    /// Any program with the switch's directories in its environment.
    pub fn stock(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.dir());
        }
        command
    }

    pub fn vsctl(&self, args: &[&str]) -> Result<String> {
        let result = output(&mut self.vsctl_command(args)?);
        self.explain(result)
    }

    /// The same, giving exit status and both outputs.
    pub fn vsctl_raw(&self, args: &[&str]) -> Result<Output> {
        raw_output(&mut self.vsctl_command(args)?)
    }

    fn vsctl_command(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.tool("vsctl")?;
        command
            .arg(format!("--db={}", self.db()))
            .arg("--timeout=20")
            .args(args);
        Ok(command)
    }

    pub fn ofctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.tool("ofctl")?;
        let result = output(command.arg("--timeout=20").args(args));
        self.explain(result)
    }

    pub fn appctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.tool("appctl")?;
        let result = output(
            command
                .arg("-t")
                .arg(self.vswitchd_ctl())
                .arg("--timeout=20")
                .args(args),
        );
        self.explain(result)
    }

    /// Leaves the switch running when the guard is dropped; gives its directory.
    pub fn keep(mut self) -> PathBuf {
        self.keep = true;
        self.ns.keep();
        let path = self.dir.path().to_owned();
        std::mem::forget(self.db_server.take());
        std::mem::forget(self.vswitchd.take());
        self.dir.disable_cleanup(true);
        path
    }

    fn daemon(&self, name: &str) -> Result<Command> {
        let mut command = self.ns.command(our_program(name)?);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.dir());
        }
        command
            .arg(format!(
                "--pidfile={}",
                self.dir().join(format!("{name}.pid")).display()
            ))
            .arg(format!(
                "--log-file={}",
                self.dir().join(format!("{name}.log")).display()
            ))
            .arg("-vconsole:off")
            .stdin(Stdio::null());
        Ok(command)
    }

    fn log(&self, name: &str) -> Result<std::fs::File> {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir().join(name))
            .with_context(|| format!("cannot open {name}"))
    }

    fn wait(&mut self, what: &str, mut condition: impl FnMut(&mut Switch) -> bool) -> Result<()> {
        let result = wait_for(what, Duration::from_secs(20), || condition(self));
        self.explain(result)
    }

    fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| {
            format!(
                "vswitchd said:\n{}\n{}\ndb-server said:\n{}\n{}",
                tail(&self.dir().join("vswitchd.out"), 20),
                tail(&self.dir().join("vswitchd.log"), 40),
                tail(&self.dir().join("db-server.out"), 20),
                tail(&self.dir().join("db-server.log"), 20),
            )
        })
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if self.vswitchd.is_some() {
            // Removes what the daemon made in the kernel; a daemon that is gone already is fine.
            if let Ok(mut command) = self.tool("appctl") {
                let _ = raw_output(command.arg("-t").arg(self.vswitchd_ctl()).args([
                    "--timeout=5",
                    "exit",
                    "--cleanup",
                ]));
            }
            let _ = self.stop_vswitchd();
        }
        if let Some(mut p) = self.db_server.take() {
            let _ = p.terminate();
        }
    }
}
