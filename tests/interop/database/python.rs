//! Clients in Python, `ovs.db.idl` and `ovsdbapp`, against our server and the stock one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ovsdb::connection::{Connection, Endpoint};
use ovsdb::replica::{ColumnError, Selection, Transaction};
use tests::process::output;

use super::server::{BOTH, Kind, Server, ready, vswitch_schema};
use crate::driver::Driver;

fn python() -> Result<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/python");
    anyhow::ensure!(
        python.with_file_name("../lib").exists() && python.exists(),
        "the Python clients are not installed: cargo xtask setup installs them"
    );
    Ok(python)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("interop/python")
        .join(name)
}

fn idl(server: &Server) -> Result<Driver> {
    let mut command = server.tool(&python()?.display().to_string());
    Driver::start(
        command
            .arg(script("idl.py"))
            .arg(server.db())
            .arg(vswitch_schema()),
    )
}

/// A server with a root row, once of each kind.
fn with_root(run: impl Fn(&mut Server) -> Result<()>) -> Result<()> {
    for kind in BOTH {
        let mut server = Server::start(kind)?;
        server.vsctl(&["init"])?;
        run(&mut server).with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

#[test]
fn idl_follows_and_transacts() -> Result<()> {
    if !ready("idl_follows_and_transacts") {
        return Ok(());
    }
    with_root(|server| {
        server.vsctl(&["add-br", "br0"])?;
        let mut idl = idl(server)?;
        assert_eq!(idl.ask("wait br0")?, "ok");
        assert_eq!(idl.ask("add br1")?, "success");
        assert_eq!(idl.ask("wait br0 br1")?, "ok");
        assert_eq!(server.vsctl(&["list-br"])?, "br0\nbr1\n");
        // The same name again: an index of the schema.
        assert_eq!(idl.ask("add br1")?, "error");
        server.vsctl(&["del-br", "br0"])?;
        assert_eq!(idl.ask("wait br1")?, "ok");
        Ok(())
    })
}

#[test]
fn idl_verifies_and_tries_again() -> Result<()> {
    if !ready("idl_verifies_and_tries_again") {
        return Ok(());
    }
    with_root(|server| {
        let mut idl = idl(server)?;
        assert_eq!(idl.ask("count")?, "success 1 1");
        assert_eq!(idl.ask("race")?, "now");
        server.vsctl(&["set", "Open_vSwitch", ".", "next_cfg=40"])?;
        assert_eq!(idl.ask("done")?, "success 2 41");
        assert_eq!(
            server.vsctl(&["get", "Open_vSwitch", ".", "next_cfg"])?,
            "41\n"
        );
        Ok(())
    })
}

#[test]
fn idl_changes_its_conditions() -> Result<()> {
    if !ready("idl_changes_its_conditions") {
        return Ok(());
    }
    with_root(|server| {
        server.vsctl(&[
            "add-br", "br0", "--", "add-br", "br1", "--", "add-br", "br2",
        ])?;
        let mut idl = idl(server)?;
        assert_eq!(idl.ask("cond br1")?, "ok");
        assert_eq!(idl.ask("wait br1")?, "ok");
        assert_eq!(idl.ask("cond br0 br2")?, "ok");
        assert_eq!(idl.ask("wait br0 br2")?, "ok");
        server.vsctl(&["del-br", "br2"])?;
        assert_eq!(idl.ask("wait br0")?, "ok");
        // The condition is what a reconnection asks for.
        server.appctl("ovsdb-server/reconnect")?;
        server.vsctl(&["add-br", "br2", "--", "add-br", "br3"])?;
        assert_eq!(idl.ask("wait br0 br2")?, "ok");
        assert_eq!(idl.ask("cond")?, "ok");
        assert_eq!(idl.ask("wait br0 br1 br2 br3")?, "ok");
        Ok(())
    })
}

#[test]
fn idl_waits_for_its_turn_with_a_lock() -> Result<()> {
    if !ready("idl_waits_for_its_turn_with_a_lock") {
        return Ok(());
    }
    with_root(|server| {
        let mut first = idl(server)?;
        let mut second = idl(server)?;
        assert_eq!(first.ask("lock l")?, "held");
        assert_eq!(second.ask("lock l")?, "contended");
        assert_eq!(second.ask("count")?, "not locked 1 1");
        assert_eq!(first.ask("count")?, "success 1 1");
        first.stop();
        assert_eq!(second.ask("await-lock")?, "held");
        assert_eq!(second.ask("count")?, "success 1 2");
        Ok(())
    })
}

#[test]
fn idl_reconnects() -> Result<()> {
    if !ready("idl_reconnects") {
        return Ok(());
    }
    with_root(|server| {
        server.vsctl(&["add-br", "br0"])?;
        let mut idl = idl(server)?;
        assert_eq!(idl.ask("wait br0")?, "ok");
        assert_eq!(idl.ask("add br1")?, "success");
        assert_eq!(idl.ask("wait br0 br1")?, "ok");
        // Ours remembers: only what changed since comes. The stock one does so in clusters alone.
        let remembers = server.kind() == Kind::Ours;
        let known = if remembers { "known" } else { "unknown" };
        assert_eq!(idl.ask("last-id")?, known);
        let clears: u32 = idl.ask("clears")?.parse()?;
        server.appctl("ovsdb-server/reconnect")?;
        server.vsctl(&["del-br", "br0"])?;
        assert_eq!(idl.ask("wait br1")?, "ok");
        assert_eq!(idl.ask("clears")?.parse::<u32>()? == clears, remembers);
        // A server that was killed has forgotten: everything comes anew.
        server.restart()?;
        server.vsctl(&["add-br", "br2"])?;
        assert_eq!(idl.ask("wait br1 br2")?, "ok");
        assert!(idl.ask("clears")?.parse::<u32>()? > clears);
        assert_eq!(idl.ask("add br3")?, "success");
        assert_eq!(server.vsctl(&["list-br"])?, "br1\nbr2\nbr3\n");
        Ok(())
    })
}

/// Brings `cur_cfg` up to `next_cfg` and gives interfaces numbers, as the switch would.
async fn play_the_switch(server: &Server) -> Result<()> {
    let endpoint = Endpoint::parse(&server.db())?;
    let schema = Arc::new(endpoint.get_schema("Open_vSwitch").await?);
    let mut selection = Selection::new(schema);
    selection.columns("Open_vSwitch", &["next_cfg", "cur_cfg"])?;
    selection.column("Interface", "ofport")?;
    let mut db = Connection::new(selection, vec![endpoint]);
    loop {
        db.ensure(|txn: &mut Transaction<'_>| -> Result<(), ColumnError> {
            let replica = txn.replica();
            for row in replica.rows("Interface") {
                if row.value::<Option<i64>>("ofport")?.is_none() {
                    txn.write("Interface", row.uuid(), "ofport", 1i64);
                }
            }
            for row in replica.rows("Open_vSwitch") {
                let next: i64 = row.value("next_cfg")?;
                txn.refresh("Open_vSwitch", row.uuid(), "cur_cfg", next.into());
            }
            Ok(())
        })
        .await?;
        db.changed().await;
    }
}

#[test]
fn ovsdbapp_configures_a_switch() -> Result<()> {
    if !ready("ovsdbapp_configures_a_switch") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    with_root(|server| {
        let mut command = server.tool(&python()?.display().to_string());
        command.arg(script("app.py")).arg(server.db());
        let said = runtime.block_on(async {
            let work = tokio::task::spawn_blocking(move || output(&mut command));
            tokio::select! {
                said = work => said?,
                ended = play_the_switch(server) => {
                    ended?;
                    anyhow::bail!("the switch ended")
                }
                () = tokio::time::sleep(Duration::from_secs(60)) => {
                    anyhow::bail!("the application takes too long")
                }
            }
        })?;
        let expected = [
            "['br0']",
            "['p1']",
            "5",
            "v",
            "['br0', 'p1']",
            "[]",
            "False",
        ];
        assert_eq!(said.lines().collect::<Vec<_>>(), expected);
        Ok(())
    })
}
