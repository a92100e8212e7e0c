//! A database server in a directory of its own, ours or the stock one.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Background, our_program, output, wait_for};
use crate::{require_program, skip};

/// The schema of the switch's database, where the stock programs are installed.
pub const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Whether the stock database programs are there; see [`require_program`].
pub fn require_stock(test: &str) -> bool {
    ["ovsdb-server", "ovsdb-tool", "ovsdb-client", "ovs-vsctl"]
        .iter()
        .all(|name| require_program(test, name))
}

/// Our server, where it has been built; see [`require_program`].
pub fn require_ours(test: &str) -> Option<PathBuf> {
    our_program("db-server")
        .map_err(|error| skip(test, &error.to_string()))
        .ok()
}

/// Makes a database file with the stock tool.
pub fn create(file: &Path, schema: &Path) -> Result<()> {
    output(
        Command::new("ovsdb-tool")
            .arg("create")
            .args([file, schema]),
    )
    .map(drop)
}

/// A running server; it ends, and its files go, when this is dropped.
pub struct Server {
    dir: TempDir,
    process: Background,
}

impl Server {
    /// Serves the files that `make` makes in the directory it is given, on `db.sock` there.
    pub fn start(program: &Path, make: impl FnOnce(&Path) -> Vec<PathBuf>) -> Result<Self> {
        let server = Self::start_on(program, "punix:db.sock", make)?;
        let socket = server.path().join("db.sock");
        // The file is there before anybody listens.
        wait_for("the server listens", Duration::from_secs(20), || {
            UnixStream::connect(&socket).is_ok()
        })?;
        Ok(server)
    }

    /// The same on another remote, which may also be one to dial; it need not be ready yet.
    pub fn start_on(
        program: &Path,
        remote: &str,
        make: impl FnOnce(&Path) -> Vec<PathBuf>,
    ) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let files = make(dir.path());
        let mut command = Command::new(program);
        command
            .args(files)
            .arg(format!("--remote={remote}"))
            .arg(format!("--unixctl={}/ctl", dir.path().display()))
            .args(["-vconsole:off", "-vsyslog:off"])
            .envs(environment(dir.path()))
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Background::spawn(&mut command)?;
        Ok(Self { dir, process })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.running()
    }

    /// Kills the server; its files stay.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// The variables that put a program's sockets, logs and databases into `dir`.
pub fn environment(dir: &Path) -> [(&'static str, PathBuf); 3] {
    ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"].map(|name| (name, dir.to_owned()))
}
