//! Conntrack zone timeout policies and datapath capabilities.
//!
//! Source: ovs-vsctl(8), "Conntrack Zone Commands" and "Datapath Capabilities Command".

use ovsdb::value::Atom;
use ovsdb::{Datum, Uuid};
use thiserror::Error;

use crate::command::Command;
use crate::context::{Context, Output};

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("datapath {0} does not exist")]
    NoDatapath(String),
    #[error("datapath: {0} record not found")]
    NoDatapathToList(String),
    #[error("datapath \"{0}\" record not found")]
    NoDatapathCapabilities(String),
    #[error("zone id {0} already exists")]
    ZoneExists(i64),
    #[error("zone id {0} does not exist")]
    NoZone(i64),
    #[error("{0}: argument must be zone=ZONE_ID with a number from 0 to 65535")]
    BadZone(String),
    #[error("{0}: argument must be POLICY=SECONDS")]
    BadPolicy(String),
    #[error("{0}: policy given more than once")]
    RepeatedPolicy(String),
}

fn datapath(ctx: &mut Context<'_>, name: &str) -> Option<Uuid> {
    ctx.txn.rely_on("Open_vSwitch", ctx.ovs, "datapaths");
    let datapaths = ctx.txn.read("Open_vSwitch", ctx.ovs, "datapaths");
    datapaths.get_atom(&Atom::from(name))?.as_uuid()
}

fn zone_id(text: &str) -> Result<i64, Error> {
    text.strip_prefix("zone=")
        .and_then(|id| id.parse::<u16>().ok())
        .map(i64::from)
        .ok_or_else(|| Error::BadZone(text.to_owned()))
}

fn zones(ctx: &mut Context<'_>, datapath: Uuid) -> Datum {
    ctx.txn.rely_on("Datapath", datapath, "ct_zones");
    ctx.txn.read("Datapath", datapath, "ct_zones")
}

/// `[--may-exist] add-zone-tp DATAPATH zone=ZONE_ID POLICY=SECONDS...`
pub fn add_zone_tp(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let name = command.arg(0);
    let datapath = datapath(ctx, name).ok_or_else(|| Error::NoDatapath(name.to_owned()))?;
    let zone = zone_id(command.arg(1))?;
    let mut zones = zones(ctx, datapath);
    let known = zones.get_atom(&Atom::Integer(zone)).and_then(Atom::as_uuid);
    if known.is_some() && !command.has("--may-exist") {
        return Err(Error::ZoneExists(zone));
    }
    let timeouts = policies(command.args_from(2))?;
    let policy = known.and_then(|zone| policy_of(ctx, zone));
    if let Some(policy) = policy {
        // What exists gets the timeouts that were asked for.
        ctx.txn
            .write("CT_Timeout_Policy", policy, "timeouts", timeouts);
        return Ok(Output::default());
    }
    let policy = ctx.insert("CT_Timeout_Policy");
    ctx.txn
        .write("CT_Timeout_Policy", policy, "timeouts", timeouts);
    let row = ctx.insert("CT_Zone");
    ctx.txn
        .write("CT_Zone", row, "timeout_policy", Datum::uuid(policy));
    zones.put(zone, row);
    ctx.txn.write("Datapath", datapath, "ct_zones", zones);
    Ok(Output::default())
}

fn policy_of(ctx: &Context<'_>, zone: Uuid) -> Option<Uuid> {
    ctx.txn.read("CT_Zone", zone, "timeout_policy").as_uuid()
}

fn policies(args: &[String]) -> Result<Datum, Error> {
    let mut timeouts = Datum::empty();
    for arg in args {
        let (name, seconds) = arg
            .split_once('=')
            .and_then(|(name, seconds)| Some((name, seconds.parse::<i64>().ok()?)))
            .ok_or_else(|| Error::BadPolicy(arg.clone()))?;
        if timeouts.contains_key(&Atom::from(name)) {
            return Err(Error::RepeatedPolicy(name.to_owned()));
        }
        timeouts.put(name, seconds);
    }
    Ok(timeouts)
}

/// `[--if-exists] del-zone-tp DATAPATH zone=ZONE_ID`
pub fn del_zone_tp(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let name = command.arg(0);
    let datapath = datapath(ctx, name).ok_or_else(|| Error::NoDatapath(name.to_owned()))?;
    let zone = zone_id(command.arg(1))?;
    let mut zones = zones(ctx, datapath);
    if !zones.contains_key(&Atom::Integer(zone)) {
        return match command.has("--if-exists") {
            true => Ok(Output::default()),
            false => Err(Error::NoZone(zone)),
        };
    }
    zones.subtract(&Datum::integer(zone));
    ctx.txn.write("Datapath", datapath, "ct_zones", zones);
    Ok(Output::default())
}

/// `list-zone-tp DATAPATH`
pub fn list_zone_tp(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let name = command.arg(0);
    let datapath = datapath(ctx, name).ok_or_else(|| Error::NoDatapathToList(name.to_owned()))?;
    let zones = zones(ctx, datapath);
    let mut lines = Vec::new();
    for (zone, row) in zones.entries() {
        let policy = row.as_uuid().and_then(|row| policy_of(ctx, row));
        let policies = match policy {
            Some(policy) => {
                let timeouts = ctx.txn.read("CT_Timeout_Policy", policy, "timeouts");
                let texts: Vec<String> = timeouts
                    .entries()
                    .map(|(name, seconds)| format!("{}={seconds}", name.as_str().unwrap_or("")))
                    .collect();
                texts.join(" ")
            }
            None => "system default".to_owned(),
        };
        lines.push(format!("Zone:{zone}, Timeout Policies: {policies}"));
    }
    Ok(Output::lines(lines))
}

/// `list-dp-cap DATAPATH`
pub fn list_dp_cap(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let name = command.arg(0);
    let datapath =
        datapath(ctx, name).ok_or_else(|| Error::NoDatapathCapabilities(name.to_owned()))?;
    ctx.txn.rely_on("Datapath", datapath, "capabilities");
    let capabilities = ctx.txn.read("Datapath", datapath, "capabilities");
    let texts: Vec<String> = capabilities
        .entries()
        .map(|(key, value)| {
            format!(
                "{}={}",
                key.as_str().unwrap_or(""),
                value.as_str().unwrap_or("")
            )
        })
        .collect();
    Ok(Output::lines([texts.join(" ")]))
}
