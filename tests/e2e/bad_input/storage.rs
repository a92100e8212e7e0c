//! The database's file: torn in its last record, opened twice, on a full disk.

use std::io::Write;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use tests::process::{our_program, output, raw_output, tail};
use tests::require_root;

use super::Rig;
use super::ovsdb::Client;

fn note(n: usize) -> Value {
    json!({"op": "insert", "table": "Queue",
           "row": {"external_ids": ["map", [["n", n.to_string()], ["text", "x".repeat(1500)]]]}})
}

fn notes(client: &mut Client) -> Result<usize> {
    let select = json!({"op": "select", "table": "Queue", "where": [], "columns": ["_uuid"]});
    let mut rows = client.transact(&[select])?;
    Ok(rows[0]["rows"].take().as_array().map_or(0, Vec::len))
}

#[test]
fn a_file_torn_in_its_last_record_under_a_running_switch() -> Result<()> {
    if !require_root("a_file_torn_in_its_last_record_under_a_running_switch") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-badtn")?;
    let file = rig.s.dir().join("conf.db");
    let socket = rig.s.dir().join("db.sock");
    let torn = b"OVSDB JSON 200 0123456789012345678901234567890123456789\n{\"Bridge\":{";
    for tail_bytes in [&torn[..], &torn[..20], &[0; 300], b"\xff\xff"] {
        rig.s.kill_db_server();
        let whole = std::fs::metadata(&file)?.len();
        std::fs::OpenOptions::new()
            .append(true)
            .open(&file)?
            .write_all(tail_bytes)?;
        rig.s.start_db_server()?;
        ensure!(
            tail(&rig.s.dir().join("db-server.log"), 50).contains("WARN"),
            "the log warns of the cut"
        );
        let mut client = Client::connect(&socket)?;
        let n = notes(&mut client)?;
        client.transact(&[note(n)])?;
        ensure!(std::fs::metadata(&file)?.len() > whole);
        rig.well()?;
        // What was appended after the cut is read again.
        rig.s.kill_db_server();
        rig.s.start_db_server()?;
        ensure!(notes(&mut Client::connect(&socket)?)? == n + 1);
    }
    // vswitchd follows the database that came back.
    rig.s.vsctl(&["add-br", "br5", "--", "del-br", "br5"])?;

    // A second server on the same file.
    let mut second = rig.s.stock(our_program("db-server")?);
    let result = raw_output(
        second
            .arg(&file)
            .args(["--unixctl=none", "--no-chdir"])
            .arg(format!(
                "--remote=punix:{}",
                rig.s.dir().join("other.sock").display()
            )),
    )?;
    let said = String::from_utf8_lossy(&result.stderr).into_owned();
    ensure!(!result.status.success(), "a second server starts: {said}");
    ensure!(
        said.contains("conf.db") && said.contains("already open"),
        "{said}"
    );
    // And a second switch daemon in the same run directory.
    let mut second = rig.s.ns.command(our_program("vswitchd")?);
    let result = raw_output(
        second
            .env("OVS_RUNDIR", rig.s.dir())
            .arg(rig.s.db())
            .arg(format!(
                "--pidfile={}",
                rig.s.dir().join("vswitchd.pid").display()
            )),
    )?;
    let said = String::from_utf8_lossy(&result.stderr).into_owned();
    ensure!(!result.status.success(), "a second switch starts: {said}");
    ensure!(said.contains("already running"), "{said}");
    rig.well()
}

/// A small file system of its own, unmounted on drop.
struct Disk(std::path::PathBuf);

impl Disk {
    fn new(path: std::path::PathBuf, size: &str) -> Result<Disk> {
        std::fs::create_dir(&path)?;
        let mut mount = Command::new("mount");
        output(
            mount
                .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
                .arg(&path),
        )?;
        Ok(Disk(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_and_goes_on() -> Result<()> {
    if !require_root("a_full_disk_refuses_writes_and_goes_on") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-badfd")?;
    let disk = Disk::new(rig.s.dir().join("disk"), "256k")?;
    // The switch's database moves to the small disk, and goes on where it was.
    rig.s.kill_db_server();
    let (file, moved) = (rig.s.dir().join("conf.db"), disk.0.join("conf.db"));
    std::fs::copy(&file, &moved)?;
    std::fs::remove_file(&file)?;
    std::os::unix::fs::symlink(&moved, &file)?;
    rig.s.start_db_server()?;
    rig.well()?;
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![0; 64 << 10])?;
    let socket = rig.s.dir().join("db.sock");
    let mut client = Client::connect(&socket)?;
    let mut acknowledged = 0;
    let said = loop {
        match client.transact(&[note(acknowledged)]) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error.to_string(),
        }
        if acknowledged > 1000 {
            bail!("the disk never fills");
        }
    };
    println!("{acknowledged} rows acknowledged, then: {said}");
    ensure!(said.contains("No space left on device"), "{said}");
    // Reads are served, and the tool's write says why it fails.
    ensure!(notes(&mut client)? == acknowledged, "what was acknowledged");
    ensure!(rig.s.vsctl(&["list-br"])?.contains("br0"));
    let big = format!("external-ids:note={}", "x".repeat(4000));
    let refused = rig.s.vsctl_raw(&[
        "--no-wait",
        "add-br",
        "br7",
        "--",
        "set",
        "Bridge",
        "br7",
        &big,
    ])?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    println!("vsctl: {words}");
    ensure!(!refused.status.success(), "{words}");
    ensure!(words.contains("No space left"), "{words}");
    ensure!(!rig.s.vsctl(&["list-br"])?.contains("br7"), "half done");
    rig.well()?;
    // A crash now loses nothing; the disk stays full.
    rig.s.kill_db_server();
    rig.s.start_db_server()?;
    let mut client = Client::connect(&socket)?;
    ensure!(notes(&mut client)? == acknowledged, "after a crash");
    // Room again: writes go on without a restart.
    std::fs::remove_file(&filler)?;
    client.transact(&[note(acknowledged)])?;
    ensure!(notes(&mut client)? == acknowledged + 1);
    rig.s.vsctl(&["add-br", "br7", "--", "del-br", "br7"])?;
    rig.well()?;
    rig.s.kill_db_server();
    drop(disk);
    Ok(())
}
