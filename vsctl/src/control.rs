//! Controller, fail mode, manager, SSL and Auto-Attach commands.
//!
//! Source: ovs-vsctl(8), "OpenFlow Controller Connectivity", "Manager Connectivity", "SSL
//! Configuration" and "Auto-Attach Commands".

use ovsdb::value::Atom;
use ovsdb::{Datum, Uuid};
use thiserror::Error;

use crate::bridge::{self, find, find_real};
use crate::command::Command;
use crate::context::{Context, Output};

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error(transparent)]
    Bridge(#[from] bridge::Error),
    #[error("fail-mode must be \"standalone\" or \"secure\"")]
    BadFailMode,
    #[error("Invalid argument {0}")]
    BadMapping(String),
    #[error("--inactivity-probe={0}: not a number of milliseconds")]
    BadProbe(String),
}

/// The rows in a set of references, and their targets sorted.
fn targets(ctx: &mut Context<'_>, table: &str, rows: &[Uuid]) -> Vec<String> {
    let mut targets = Vec::new();
    for row in rows {
        ctx.txn.rely_on(table, *row, "target");
        let target = ctx.txn.read(table, *row, "target");
        targets.push(target.as_str().unwrap_or("").to_owned());
    }
    targets.sort();
    targets
}

fn references(ctx: &mut Context<'_>, table: &str, row: Uuid, column: &str) -> Vec<Uuid> {
    ctx.txn.rely_on(table, row, column);
    ctx.txn.read(table, row, column).uuids().collect()
}

/// Inserts a row per target.
fn insert_targets(
    ctx: &mut Context<'_>,
    table: &str,
    command: &Command,
    targets: &[String],
) -> Result<Vec<Uuid>, Error> {
    let probe = match command.value("--inactivity-probe") {
        None => None,
        Some(text) => Some(
            text.parse::<i64>()
                .map_err(|_| Error::BadProbe(text.to_owned()))?,
        ),
    };
    let mut rows = Vec::new();
    for target in targets {
        if !is_connection_method(target) {
            tracing::warn!(target: "vsctl", "target type \"{target}\" is possibly erroneous");
        }
        let row = ctx.insert(table);
        ctx.txn.write(table, row, "target", Datum::string(target));
        if let Some(probe) = probe {
            ctx.txn
                .write(table, row, "inactivity_probe", Datum::integer(probe));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn is_connection_method(target: &str) -> bool {
    let kind = target.split(':').next().unwrap_or("");
    target.contains(':') && matches!(kind, "tcp" | "ssl" | "unix" | "ptcp" | "pssl" | "punix")
}

/// The row of the bridge, or of the real bridge of a fake one.
fn bridge_row(ctx: &mut Context<'_>, command: &Command) -> Result<Uuid, Error> {
    Ok(find(ctx, command.arg(0))?.row)
}

/// `get-controller BRIDGE`
pub fn get_controller(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = bridge_row(ctx, command)?;
    let rows = references(ctx, "Bridge", bridge, "controller");
    Ok(Output::lines(targets(ctx, "Controller", &rows)))
}

fn delete_controllers(ctx: &mut Context<'_>, command: &Command) -> Result<Uuid, Error> {
    let bridge = find_real(ctx, command.arg(0))?.row;
    let rows = references(ctx, "Bridge", bridge, "controller");
    targets(ctx, "Controller", &rows);
    for row in rows {
        ctx.txn.delete("Controller", row);
    }
    Ok(bridge)
}

/// `del-controller BRIDGE`
pub fn del_controller(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = delete_controllers(ctx, command)?;
    ctx.txn
        .write("Bridge", bridge, "controller", Datum::empty());
    Ok(Output::default())
}

/// `[--inactivity-probe=MSECS] set-controller BRIDGE TARGET...`
pub fn set_controller(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = delete_controllers(ctx, command)?;
    let rows = insert_targets(ctx, "Controller", command, command.args_from(1))?;
    ctx.txn
        .write("Bridge", bridge, "controller", Datum::set(rows));
    Ok(Output::default())
}

/// `get-fail-mode BRIDGE`
pub fn get_fail_mode(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = bridge_row(ctx, command)?;
    ctx.txn.rely_on("Bridge", bridge, "fail_mode");
    let mode = ctx.txn.read("Bridge", bridge, "fail_mode");
    let mode = mode.as_str().filter(|mode| !mode.is_empty());
    Ok(Output::lines(mode))
}

/// `del-fail-mode BRIDGE`
pub fn del_fail_mode(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = find_real(ctx, command.arg(0))?.row;
    ctx.txn.write("Bridge", bridge, "fail_mode", Datum::empty());
    Ok(Output::default())
}

/// `set-fail-mode BRIDGE MODE`
pub fn set_fail_mode(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = find_real(ctx, command.arg(0))?.row;
    let mode = command.arg(1);
    if mode != "standalone" && mode != "secure" {
        return Err(Error::BadFailMode);
    }
    ctx.txn
        .write("Bridge", bridge, "fail_mode", Datum::string(mode));
    Ok(Output::default())
}

/// `get-manager`
pub fn get_manager(ctx: &mut Context<'_>) -> Output {
    let rows = references(ctx, "Open_vSwitch", ctx.ovs, "manager_options");
    let mut targets = targets(ctx, "Manager", &rows);
    targets.dedup();
    Output::lines(targets)
}

/// `del-manager`
pub fn del_manager(ctx: &mut Context<'_>) -> Output {
    let rows = references(ctx, "Open_vSwitch", ctx.ovs, "manager_options");
    targets(ctx, "Manager", &rows);
    for row in rows {
        ctx.txn.delete("Manager", row);
    }
    ctx.txn
        .write("Open_vSwitch", ctx.ovs, "manager_options", Datum::empty());
    Output::default()
}

/// `[--inactivity-probe=MSECS] set-manager TARGET...`
pub fn set_manager(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    del_manager(ctx);
    let rows = insert_targets(ctx, "Manager", command, &command.args)?;
    ctx.txn
        .write("Open_vSwitch", ctx.ovs, "manager_options", Datum::set(rows));
    Ok(Output::default())
}

fn ssl_row(ctx: &mut Context<'_>) -> Option<Uuid> {
    ctx.txn.rely_on("Open_vSwitch", ctx.ovs, "ssl");
    ctx.txn.read("Open_vSwitch", ctx.ovs, "ssl").as_uuid()
}

/// `get-ssl`
pub fn get_ssl(ctx: &mut Context<'_>) -> Output {
    let Some(row) = ssl_row(ctx) else {
        return Output::default();
    };
    let mut read = |column: &str| {
        ctx.txn.rely_on("SSL", row, column);
        ctx.txn.read("SSL", row, column)
    };
    let text = |datum: Datum| datum.as_str().unwrap_or("").to_owned();
    Output::lines([
        format!("Private key: {}", text(read("private_key"))),
        format!("Certificate: {}", text(read("certificate"))),
        format!("CA Certificate: {}", text(read("ca_cert"))),
        format!(
            "Bootstrap: {}",
            read("bootstrap_ca_cert").as_bool().unwrap_or(false)
        ),
    ])
}

/// `del-ssl`
pub fn del_ssl(ctx: &mut Context<'_>) -> Output {
    if let Some(row) = ssl_row(ctx) {
        ctx.txn.delete("SSL", row);
        ctx.txn
            .write("Open_vSwitch", ctx.ovs, "ssl", Datum::empty());
    }
    Output::default()
}

/// `[--bootstrap] set-ssl PRIVATE-KEY CERTIFICATE CA-CERT`
pub fn set_ssl(ctx: &mut Context<'_>, command: &Command) -> Output {
    if let Some(row) = ssl_row(ctx) {
        ctx.txn.delete("SSL", row);
    }
    let row = ctx.insert("SSL");
    for (column, value) in ["private_key", "certificate", "ca_cert"]
        .iter()
        .zip(&command.args)
    {
        ctx.txn.write("SSL", row, column, Datum::string(value));
    }
    ctx.txn.write(
        "SSL",
        row,
        "bootstrap_ca_cert",
        Datum::boolean(command.has("--bootstrap")),
    );
    ctx.txn
        .write("Open_vSwitch", ctx.ovs, "ssl", Datum::uuid(row));
    Output::default()
}

fn mapping_number(text: &str) -> Result<i64, Error> {
    text.parse().map_err(|_| Error::BadMapping(text.to_owned()))
}

fn auto_attach(ctx: &mut Context<'_>, bridge: Uuid) -> Option<Uuid> {
    ctx.txn.rely_on("Bridge", bridge, "auto_attach");
    let row = ctx.txn.read("Bridge", bridge, "auto_attach").as_uuid()?;
    ctx.txn.rely_on("AutoAttach", row, "mappings");
    Some(row)
}

/// `add-aa-mapping BRIDGE I-SID VLAN`
pub fn add_aa_mapping(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let isid = mapping_number(command.arg(1))?;
    let vlan = mapping_number(command.arg(2))?;
    let bridge = bridge_row(ctx, command)?;
    let row = match auto_attach(ctx, bridge) {
        Some(row) => row,
        None => {
            let row = ctx.insert("AutoAttach");
            ctx.txn
                .write("Bridge", bridge, "auto_attach", Datum::uuid(row));
            row
        }
    };
    let mut mappings = ctx.txn.read("AutoAttach", row, "mappings");
    mappings.put(isid, vlan);
    ctx.txn.write("AutoAttach", row, "mappings", mappings);
    Ok(Output::default())
}

/// `del-aa-mapping BRIDGE I-SID VLAN`
pub fn del_aa_mapping(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let isid = mapping_number(command.arg(1))?;
    let vlan = mapping_number(command.arg(2))?;
    let bridge = bridge_row(ctx, command)?;
    if let Some(row) = auto_attach(ctx, bridge) {
        let mut mappings = ctx.txn.read("AutoAttach", row, "mappings");
        mappings.subtract(&Datum::map([(isid, vlan)]));
        ctx.txn.write("AutoAttach", row, "mappings", mappings);
    }
    Ok(Output::default())
}

/// `get-aa-mapping BRIDGE`
pub fn get_aa_mapping(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = bridge_row(ctx, command)?;
    let Some(row) = auto_attach(ctx, bridge) else {
        return Ok(Output::default());
    };
    let mappings = ctx.txn.read("AutoAttach", row, "mappings");
    let lines = mappings.entries().filter_map(|(isid, vlan)| {
        let (Atom::Integer(isid), Atom::Integer(vlan)) = (isid, vlan) else {
            return None;
        };
        Some(format!("{isid} {vlan}"))
    });
    Ok(Output::lines(lines))
}
