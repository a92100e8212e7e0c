//! Our client library, against our server and the stock one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ovsdb::connection::{Connection, Endpoint, Event, TransactError};
use ovsdb::replica::{ColumnError, Replica, Selection, Transaction};
use ovsdb::{Clause, DatabaseSchema, Function, Uuid};

use super::server::{BOTH, Kind, Server, ready};
use crate::driver::Driver;

fn names(replica: &Replica) -> BTreeSet<String> {
    let rows = replica.rows("Bridge");
    rows.filter_map(|row| row.value("name").ok()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn connect(server: &Server) -> Result<Connection> {
    let endpoint = Endpoint::parse(&server.db())?;
    let schema = Arc::new(endpoint.get_schema("Open_vSwitch").await?);
    let mut selection = Selection::new(schema);
    selection.columns("Bridge", &["name"])?;
    selection.columns("Open_vSwitch", &["bridges", "next_cfg"])?;
    let mut db = Connection::new(selection, vec![endpoint]);
    db.synced().await;
    Ok(db)
}

async fn until(db: &mut Connection, expected: &[&str]) -> Result<()> {
    let reached = async {
        while !db.is_synced() || names(db.replica()) != set(expected) {
            db.next().await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(15), reached).await;
    reached.with_context(|| format!("{expected:?} expected, {db:?}"))
}

/// The bridge exists and the root row has it.
fn bridge(name: &str) -> impl FnMut(&mut Transaction<'_>) -> Result<(), ColumnError> {
    move |txn| {
        if txn.replica().find("Bridge", "name", name).is_none() {
            let row = Uuid::new_v4();
            txn.insert("Bridge", row);
            txn.write("Bridge", row, "name", name);
            let root = txn.rows("Open_vSwitch")[0];
            txn.add_to("Open_vSwitch", root, "bridges", &row.into());
        }
        Ok(())
    }
}

/// `next_cfg` is one more.
fn count(txn: &mut Transaction<'_>) -> Result<i64, ColumnError> {
    let root = txn.rows("Open_vSwitch")[0];
    let old = txn.replica().row("Open_vSwitch", root).expect("its row");
    let next = old.value::<i64>("next_cfg")? + 1;
    txn.rely_on("Open_vSwitch", root, "next_cfg");
    txn.write("Open_vSwitch", root, "next_cfg", next);
    Ok(next)
}

fn with_root(run: impl AsyncFn(&mut Server) -> Result<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for kind in BOTH {
        let mut server = Server::start(kind)?;
        server.vsctl(&["init"])?;
        let done = runtime.block_on(run(&mut server));
        done.with_context(|| format!("{kind:?}"))?;
    }
    Ok(())
}

#[test]
fn library_follows_transacts_and_reconnects() -> Result<()> {
    if !ready("library_follows_transacts_and_reconnects") {
        return Ok(());
    }
    with_root(async |server| {
        let mut db = connect(server).await?;
        db.ensure(bridge("br0")).await?;
        db.ensure(bridge("br1")).await?;
        until(&mut db, &["br0", "br1"]).await?;
        assert_eq!(server.vsctl(&["list-br"])?, "br0\nbr1\n");
        // Not one more than is asked for.
        db.ensure(bridge("br1")).await?;
        db.take_changes();
        // Ours remembers what happened; the stock one does so in clusters alone.
        let remembers = server.kind() == Kind::Ours;
        assert_eq!(!db.replica().last_id().is_nil(), remembers);
        server.appctl("ovsdb-server/reconnect")?;
        server.vsctl(&["del-br", "br0"])?;
        until(&mut db, &["br1"]).await?;
        // The row that stayed is no change, whether it was sent again or not.
        let changes = db.take_changes();
        assert_eq!(changes["Bridge"].len(), 1, "{changes:?}");
        server.restart()?;
        server.vsctl(&["add-br", "br2"])?;
        until(&mut db, &["br1", "br2"]).await?;
        db.ensure(bridge("br3")).await?;
        assert_eq!(server.vsctl(&["list-br"])?, "br1\nbr2\nbr3\n");
        Ok(())
    })
}

#[test]
fn library_tries_again_and_reports_refusals() -> Result<()> {
    if !ready("library_tries_again_and_reports_refusals") {
        return Ok(());
    }
    with_root(async |server| {
        let mut db = connect(server).await?;
        let mut runs = 0;
        let done = db
            .transact(|txn| {
                runs += 1;
                if runs == 1 {
                    let set = ["set", "Open_vSwitch", ".", "next_cfg=40"];
                    server.vsctl(&set).expect("somebody else's change");
                }
                count(txn)
            })
            .await?;
        assert_eq!((done.value, runs), (41, 2));
        let refused = db
            .transact(|txn| -> Result<(), ColumnError> {
                let root = txn.rows("Open_vSwitch")[0];
                txn.write("Open_vSwitch", root, "next_cfg", "text");
                Ok(())
            })
            .await;
        let Err(TransactError::Refused(error)) = refused else {
            anyhow::bail!("{refused:?}");
        };
        assert_eq!(error["error"], "syntax error");
        Ok(())
    })
}

#[test]
fn library_changes_conditions() -> Result<()> {
    if !ready("library_changes_conditions") {
        return Ok(());
    }
    with_root(async |server| {
        server.vsctl(&[
            "add-br", "br0", "--", "add-br", "br1", "--", "add-br", "br2",
        ])?;
        let mut db = connect(server).await?;
        let named = |name: &str| Clause::new("name", Function::Equal, name.into());
        db.set_condition("Bridge", &[named("br1"), named("br9")])?;
        db.conditions_met().await;
        assert_eq!(names(db.replica()), set(&["br1"]));
        // Changed while there is no connection, and by others at the same time.
        server.appctl("ovsdb-server/reconnect")?;
        while !matches!(db.next().await, Event::Disconnected { .. }) {}
        db.set_condition("Bridge", &[named("br2"), named("br9")])?;
        server.vsctl(&["add-br", "br9", "--", "del-br", "br1"])?;
        db.conditions_met().await;
        assert_eq!(names(db.replica()), set(&["br2", "br9"]));
        db.set_condition("Bridge", &[])?;
        db.conditions_met().await;
        assert!(db.replica().is_empty("Bridge"));
        db.set_condition("Bridge", &[Clause::Bool(true)])?;
        db.conditions_met().await;
        assert_eq!(names(db.replica()), set(&["br0", "br2", "br9"]));
        Ok(())
    })
}

#[test]
fn library_holds_a_lock() -> Result<()> {
    if !ready("library_holds_a_lock") {
        return Ok(());
    }
    with_root(async |server| {
        let db_name = server.db();
        let mut command = server.tool("ovsdb-client");
        let mut holder = Driver::start(command.args(["lock", &db_name, "l"]))?;
        holder.until("locked")?;
        let mut db = connect(server).await?;
        db.set_lock(Some("l"));
        let waiting = tokio::time::timeout(Duration::from_millis(300), db.locked()).await;
        assert!(waiting.is_err());
        assert_eq!(db.transact(count).await, Err(TransactError::NotLocked));
        holder.stop();
        db.locked().await;
        assert_eq!(db.transact(count).await?.value, 1);
        // A new connection has to get it again.
        server.restart()?;
        while !matches!(db.next().await, Event::Disconnected { .. }) {}
        assert!(!db.has_lock());
        db.locked().await;
        assert_eq!(db.transact(count).await?.value, 2);
        Ok(())
    })
}

#[test]
fn library_sees_a_conversion() -> Result<()> {
    if !ready("library_sees_a_conversion") {
        return Ok(());
    }
    with_root(async |server| {
        server.vsctl(&["add-br", "br0"])?;
        // A program that was written for a schema to come.
        let endpoint = Endpoint::parse(&server.db())?;
        let mut schema = endpoint.get_schema("Open_vSwitch").await?.to_json();
        schema["version"] = serde_json::json!("9.0.0");
        schema["tables"]["Bridge"]["columns"]["note"] = serde_json::json!({"type": "string"});
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), schema.to_string())?;
        let schema = DatabaseSchema::from_json(&schema)?;
        let mut selection = Selection::new(Arc::new(schema));
        selection.columns("Bridge", &["name", "note"])?;
        let mut db = Connection::new(selection, vec![endpoint]);
        db.synced().await;
        let note = |db: &Connection| {
            let row = db.replica().find("Bridge", "name", "br0").expect("br0");
            row.value::<String>("note")
        };
        let lacking = note(&db).map_err(|error| error.to_string());
        let text = "the server has no column note in table Bridge";
        assert_eq!(lacking, Err(text.to_owned()));
        let schema = file.path().display().to_string();
        server.client(&["convert", "DB", &schema])?;
        let converted = async {
            while !db.is_synced() || note(&db).is_err() {
                db.next().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), converted).await?;
        assert_eq!(note(&db), Ok(String::new()));
        let update = r#"["Open_vSwitch",{"op":"update","table":"Bridge","where":[],
            "row":{"note":"x"}}]"#;
        server.client(&["transact", "DB", update])?;
        let changed = async {
            while note(&db) != Ok("x".to_owned()) {
                db.next().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), changed).await?;
        Ok(())
    })
}
