//! The stock switch on its dummy datapath, which needs neither root nor network, in a directory of
//! its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Result;
use tempfile::TempDir;

use crate::database::{SCHEMA, create, environment};
use crate::process::{find_program, output, raw_output};
use crate::require_program;

/// A running `ovsdb-server` and `ovs-vswitchd`; they end when this is dropped.
pub struct StockSwitch {
    dir: TempDir,
}

impl StockSwitch {
    /// Starts both, without bridges; `None` where they are not installed, see [`require_program`].
    pub fn start(test: &str) -> Result<Option<Self>> {
        let programs = ["ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl"];
        if !programs.iter().all(|name| require_program(test, name)) {
            return Ok(None);
        }
        let switch = Self {
            dir: tempfile::tempdir()?,
        };
        let database = switch.path("conf.db");
        create(&database, Path::new(SCHEMA))?;
        let daemon = [
            "--detach",
            "--no-chdir",
            "--pidfile",
            "--log-file",
            "-vconsole:off",
        ];
        let remote = format!("--remote=punix:{}", switch.path("db.sock").display());
        let files = [remote, database.display().to_string()];
        output(switch.program("ovsdb-server").args(daemon).args(files))?;
        switch.run("ovs-vsctl", &["--no-wait", "init"])?;
        let dummy = ["--enable-dummy=override", "--disable-system"];
        output(switch.program("ovs-vswitchd").args(daemon).args(dummy))?;
        Ok(Some(switch))
    }

    /// A file in the switch's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program that finds the switch.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(find_program(name).unwrap_or_else(|| name.into()));
        command.envs(environment(self.dir.path()));
        command
    }

    /// Runs a program to its end, whatever its exit status.
    pub fn output(&self, name: &str, args: &[&str]) -> Result<Output> {
        raw_output(self.program(name).args(args))
    }

    /// Runs a program to its end; its standard output, or an error with everything it said.
    pub fn run(&self, name: &str, args: &[&str]) -> Result<String> {
        output(self.program(name).args(args))
    }

    /// Runs `ovs-vsctl` with these words.
    pub fn vsctl(&self, words: &str) -> Result<()> {
        let words: Vec<&str> = ["--timeout=20"]
            .into_iter()
            .chain(words.split_whitespace())
            .collect();
        self.run("ovs-vsctl", &words).map(drop)
    }
}

impl Drop for StockSwitch {
    fn drop(&mut self) {
        // What was never started does not answer.
        let _ = self.output("ovs-appctl", &["exit"]);
        let _ = self.output("ovs-appctl", &["-t", "ovsdb-server", "exit"]);
    }
}
