//! Servers for the tests of vsctl.

#![allow(dead_code, reason = "each test program uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::database::{SCHEMA, create};
pub use tests::database::{Server, environment};

/// Whether the stock programs are there. In CI they have to be.
pub fn stock_is_there() -> bool {
    tests::database::require_stock("vsctl")
}

/// Our server, where it has been built.
pub fn our_server() -> Option<PathBuf> {
    tests::database::require_ours("vsctl")
}

/// The stock server, or what `TEST_OVSDB_SERVER` names: a test that passes with the one has to
/// pass with the other.
fn default_program() -> PathBuf {
    std::env::var_os("TEST_OVSDB_SERVER").map_or("ovsdb-server".into(), PathBuf::from)
}

/// A server with a new database of the switch, on `db.sock`.
pub fn start() -> Server {
    let make = |dir: &Path| {
        let file = dir.join("conf.db");
        create(&file, Path::new(SCHEMA)).unwrap();
        vec![file]
    };
    Server::start(&default_program(), make).unwrap()
}

/// Another server program with a copy of `database`.
pub fn start_program(program: &Path, database: &Path) -> Server {
    Server::start(program, |dir| copy(database, dir)).unwrap()
}

/// A server with a copy of `database` that serves on, or dials out to, `remote`.
pub fn start_on(database: &Path, remote: &str) -> Server {
    Server::start_on(&default_program(), remote, |dir| copy(database, dir)).unwrap()
}

fn copy(database: &Path, dir: &Path) -> Vec<PathBuf> {
    let file = dir.join("conf.db");
    std::fs::copy(database, &file).unwrap();
    vec![file]
}

pub fn database(server: &Server) -> PathBuf {
    server.path().join("conf.db")
}

/// All that is in the database.
pub fn dump(server: &Server) -> Value {
    let output = Command::new("ovsdb-client")
        .args(["-f", "json", "dump"])
        .arg(format!("unix:{}/db.sock", server.path().display()))
        .arg("Open_vSwitch")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .collect()
}
