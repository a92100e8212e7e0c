//! A stock ovsdb-server for the tests of vsctl.

#![allow(dead_code, reason = "each test program uses a part")]

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// Whether the stock programs are there. Under `CI` they have to be.
pub fn stock_is_there() -> bool {
    let there = Path::new("/usr/bin/ovs-vsctl").exists() && Path::new(SCHEMA).exists();
    if !there {
        assert!(
            std::env::var_os("CI").is_none(),
            "Open vSwitch is not installed"
        );
        eprintln!("skipped: Open vSwitch is not installed");
    }
    there
}

/// The stock server, or what `TEST_OVSDB_SERVER` names: a test that passes with the one has to
/// pass with the other.
fn default_program() -> PathBuf {
    std::env::var_os("TEST_OVSDB_SERVER").map_or("ovsdb-server".into(), PathBuf::from)
}

/// Our server, where it has been built.
pub fn our_server() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_vsctl")).with_file_name("db-server");
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "db-server is not built");
    eprintln!("skipped: db-server is not built");
    None
}

/// A running ovsdb-server in a directory of its own.
pub struct Server {
    pub dir: tempfile::TempDir,
    child: Child,
}

impl Server {
    /// The stock server, with a copy of `database` or a new one, on `db.sock`.
    pub fn start(database: Option<&Path>) -> Self {
        Self::start_program(&default_program(), database)
    }

    /// The same with another server program.
    pub fn start_program(program: &Path, database: Option<&Path>) -> Self {
        let server = Self::spawn(program, database, "punix:db.sock");
        server.await_socket();
        server
    }

    /// Serves on, or dials out to, `remote`; Unix sockets are in the server's directory.
    pub fn with_remote(database: Option<&Path>, remote: &str) -> Self {
        Self::spawn(&default_program(), database, remote)
    }

    fn spawn(program: &Path, database: Option<&Path>, remote: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("conf.db");
        match database {
            Some(database) => {
                std::fs::copy(database, &conf).unwrap();
            }
            None => {
                let status = Command::new("ovsdb-tool")
                    .arg("create")
                    .args([&conf, &PathBuf::from(SCHEMA)])
                    .status()
                    .unwrap();
                assert!(status.success());
            }
        }
        let child = Command::new(program)
            .arg(&conf)
            .arg(format!("--remote={remote}"))
            .arg(format!("--unixctl={}/ctl", dir.path().display()))
            .args(["-vconsole:off", "-vsyslog:off"])
            .envs(environment(dir.path()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { dir, child }
    }

    fn await_socket(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        // The file is there before anybody listens.
        while UnixStream::connect(self.dir.path().join("db.sock")).is_err() {
            assert!(Instant::now() < deadline, "ovsdb-server does not start");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn database(&self) -> PathBuf {
        self.dir.path().join("conf.db")
    }

    /// Kills the server; its files stay.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn dump(&self) -> Value {
        let output = Command::new("ovsdb-client")
            .args(["-f", "json", "dump"])
            .arg(format!("unix:{}/db.sock", self.dir.path().display()))
            .arg("Open_vSwitch")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn environment(dir: &Path) -> Vec<(&'static str, String)> {
    let dir = dir.display().to_string();
    vec![
        ("OVS_RUNDIR", dir.clone()),
        ("OVS_LOGDIR", dir.clone()),
        ("OVS_DBDIR", dir),
    ]
}
