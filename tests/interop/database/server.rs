//! A database server alone, ours or the stock one.
//!
//! The cases run against both: what the stock server does is what is expected of ours.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;
use tests::process::{Background, find_program, our_program, output, raw_output, wait_for};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stock,
    Ours,
}

pub const BOTH: [Kind; 2] = [Kind::Stock, Kind::Ours];

/// The schema of a switch.
pub fn vswitch_schema() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../db-server/schema/vswitch.ovsschema")
}

/// Whether the stock programs are there; otherwise says so.
pub fn ready(test: &str) -> bool {
    ["ovsdb-server", "ovsdb-tool", "ovsdb-client", "ovs-vsctl"]
        .iter()
        .all(|program| tests::require_program(test, program))
}

pub struct Server {
    kind: Kind,
    dir: TempDir,
    process: Option<Background>,
}

impl Server {
    /// A server of an empty switch database.
    pub fn start(kind: Kind) -> Result<Self> {
        let mut server = Self::with_schema(kind, &vswitch_schema())?;
        server.restart()?;
        Ok(server)
    }

    /// A database of `schema` made by stock `ovsdb-tool`, not served yet.
    pub fn with_schema(kind: Kind, schema: &Path) -> Result<Self> {
        let server = Self {
            kind,
            dir: tempfile::tempdir()?,
            process: None,
        };
        let mut create = server.tool("ovsdb-tool");
        output(create.arg("create").arg(server.file()).arg(schema))?;
        Ok(server)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// From now on the other program serves the file.
    pub fn change_kind(&mut self, kind: Kind) -> Result<()> {
        self.stop()?;
        self.kind = kind;
        self.restart()
    }

    pub fn file(&self) -> PathBuf {
        self.dir.path().join("conf.db")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("db.sock")
    }

    /// The connection method.
    pub fn db(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// A stock program with the server's directories in its environment.
    pub fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(find_program(program).unwrap_or_else(|| program.into()));
        for name in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(name, self.dir.path());
        }
        command
    }

    pub fn vsctl(&self, args: &[&str]) -> Result<String> {
        let mut command = self.tool("ovs-vsctl");
        command.arg(format!("--db={}", self.db()));
        output(command.args(["--no-wait", "--timeout=10"]).args(args))
    }

    /// One control command.
    pub fn appctl(&self, command: &str) -> Result<String> {
        let socket = self.dir.path().join("db.ctl");
        output(self.tool("ovs-appctl").arg("-t").arg(socket).arg(command))
    }

    /// Ends the process as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.terminate(),
            None => Ok(()),
        }
    }

    /// Starts the process, after killing the one that runs.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let mut command = match self.kind {
            Kind::Stock => self.tool("ovsdb-server"),
            Kind::Ours => self.tool(&our_program("db-server")?.display().to_string()),
        };
        let control = self.dir.path().join("db.ctl");
        let _ = std::fs::remove_file(self.socket());
        let _ = std::fs::remove_file(&control);
        command
            .arg(format!("--remote=punix:{}", self.socket().display()))
            .arg(format!("--unixctl={}", control.display()))
            .arg("-vconsole:off")
            .arg(self.file());
        self.process = Some(Background::spawn(&mut command)?);
        let socket = self.socket();
        wait_for("the server listens", Duration::from_secs(20), || {
            UnixStream::connect(&socket).is_ok() && control.exists()
        })
    }

    /// Runs `ovsdb-client`: exit status, standard output and standard error as one text, without
    /// what differs between two servers anyway.
    pub fn client(&self, args: &[&str]) -> Result<String> {
        let mut command = self.tool("ovsdb-client");
        let db = self.db();
        command.args(args.iter().map(|arg| if *arg == "DB" { &db } else { *arg }));
        let out = raw_output(&mut command)?;
        let text = format!(
            "{}{}[{:?}]",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr),
            out.status.code()
        );
        Ok(self.plain(&text))
    }

    /// `text` without names of directories and times of log lines.
    pub fn plain(&self, text: &str) -> String {
        let dir = self.dir.path().display().to_string();
        let lines = text.lines().map(|line| match line.split_once('|') {
            // TIME|SEQ|MODULE|LEVEL|TEXT
            Some((time, rest)) if time.ends_with('Z') => rest.to_owned(),
            _ => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n").replace(&dir, "DIR")
    }
}
