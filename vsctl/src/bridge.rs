//! Bridge commands: `add-br`, `del-br`, `list-br` and those that ask about one bridge.
//!
//! Source: ovs-vsctl(8), "Bridge Commands".

use ovsdb::{Datum, Uuid};
use thiserror::Error;

use crate::command::Command;
use crate::context::{Context, Output};
use crate::model::Bridge;
use crate::port;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("no bridge named {0}")]
    NoBridge(String),
    #[error("{0} is a fake bridge")]
    Fake(String),
    #[error("'add-br' command takes exactly 1 or 3 arguments")]
    AddBrArguments,
    #[error("add-br: vlan must be between 0 and 4095")]
    BadVlan,
    #[error("\"--may-exist add-br {0}\" but {0} is a VLAN bridge for VLAN {1}")]
    IsVlanBridge(String, i64),
    #[error("\"--may-exist add-br {request}\" but {bridge} {why}")]
    OtherVlanBridge {
        request: String,
        bridge: String,
        why: String,
    },
    #[error("cannot create bridge with fake bridge as parent")]
    FakeParent,
    #[error("parent bridge {0} does not exist")]
    NoParent(String),
    #[error("bridge {parent} already has a child VLAN bridge {child} on VLAN {vlan}")]
    VlanTaken {
        parent: String,
        child: String,
        vlan: i64,
    },
    #[error("{wish} because {what} named {name} already exists{place}")]
    Conflict {
        wish: String,
        what: &'static str,
        name: String,
        place: String,
    },
}

/// The bridge, which has to exist.
pub fn find(ctx: &mut Context<'_>, name: &str) -> Result<Bridge, Error> {
    ctx.bridge(name)
        .ok_or_else(|| Error::NoBridge(name.to_owned()))
}

/// The bridge, which has to exist and to be real.
pub fn find_real(ctx: &mut Context<'_>, name: &str) -> Result<Bridge, Error> {
    let bridge = find(ctx, name)?;
    match bridge.parent {
        Some(_) => Err(Error::Fake(name.to_owned())),
        None => Ok(bridge),
    }
}

/// Refuses `wish` when something has the name already.
pub fn check_conflicts(ctx: &mut Context<'_>, name: &str, wish: &str) -> Result<(), Error> {
    ctx.rely_on_ports();
    let model = ctx.model();
    let (what, place) = if model.bridges.contains_key(name) {
        ("a bridge", None)
    } else if let Some(port) = model.ports.get(name) {
        ("a port", Some(port.bridge.clone()))
    } else if let Some(iface) = model.ifaces.get(name) {
        let port = model.ports.get(&iface.port);
        ("an interface", port.map(|port| port.bridge.clone()))
    } else {
        return Ok(());
    };
    Err(Error::Conflict {
        wish: wish.to_owned(),
        what,
        name: name.to_owned(),
        place: place.map_or_else(String::new, |bridge| format!(" on bridge {bridge}")),
    })
}

/// `[--may-exist] add-br BRIDGE [PARENT VLAN]`
pub fn add_br(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let name = command.arg(0);
    let parent = match command.args.len() {
        1 => None,
        3 => {
            let vlan = leading_integer(command.arg(2));
            if !(0..=4095).contains(&vlan) {
                return Err(Error::BadVlan);
            }
            Some((command.arg(1), vlan))
        }
        _ => return Err(Error::AddBrArguments),
    };
    if command.has("--may-exist")
        && let Some(bridge) = ctx.bridge(name)
    {
        check_same(&bridge, parent)?;
        return Ok(Output::default());
    }
    check_conflicts(ctx, name, &format!("cannot create a bridge named {name}"))?;
    match parent {
        None => add_real(ctx, name),
        Some((parent, vlan)) => add_fake(ctx, name, parent, vlan)?,
    }
    ctx.invalidate();
    Ok(Output::default())
}

/// Whether an existing bridge is what `--may-exist add-br` asked for.
fn check_same(bridge: &Bridge, parent: Option<(&str, i64)>) -> Result<(), Error> {
    let Some((parent, vlan)) = parent else {
        return match bridge.parent {
            Some(_) => Err(Error::IsVlanBridge(bridge.name.clone(), bridge.vlan)),
            None => Ok(()),
        };
    };
    let why = match &bridge.parent {
        None => "is not a VLAN bridge".to_owned(),
        Some(other) if other != parent => format!("has the wrong parent {other}"),
        Some(_) if bridge.vlan != vlan => {
            format!("is a VLAN bridge for the wrong VLAN {}", bridge.vlan)
        }
        Some(_) => return Ok(()),
    };
    Err(Error::OtherVlanBridge {
        request: format!("{} {parent} {vlan}", bridge.name),
        bridge: bridge.name.clone(),
        why,
    })
}

/// The rows of a port with one internal interface, both named `name`.
fn insert_local_port(ctx: &mut Context<'_>, name: &str) -> Uuid {
    let iface = ctx.insert("Interface");
    ctx.txn
        .write("Interface", iface, "name", Datum::string(name));
    ctx.txn
        .write("Interface", iface, "type", Datum::string("internal"));
    let port = ctx.insert("Port");
    ctx.txn.write("Port", port, "name", Datum::string(name));
    ctx.txn
        .write("Port", port, "interfaces", Datum::uuid(iface));
    port
}

fn add_real(ctx: &mut Context<'_>, name: &str) {
    let port = insert_local_port(ctx, name);
    let bridge = ctx.insert("Bridge");
    ctx.txn.write("Bridge", bridge, "name", Datum::string(name));
    ctx.txn.write("Bridge", bridge, "ports", Datum::uuid(port));
    ctx.add_reference("Open_vSwitch", ctx.ovs, "bridges", bridge);
}

fn add_fake(ctx: &mut Context<'_>, name: &str, parent: &str, vlan: i64) -> Result<(), Error> {
    let Some(parent) = ctx.bridge(parent) else {
        return Err(Error::NoParent(parent.to_owned()));
    };
    if parent.parent.is_some() {
        return Err(Error::FakeParent);
    }
    if let Some(child) = parent.children.get(&vlan) {
        return Err(Error::VlanTaken {
            parent: parent.name.clone(),
            child: child.clone(),
            vlan,
        });
    }
    let port = insert_local_port(ctx, name);
    ctx.txn
        .write("Port", port, "fake_bridge", Datum::boolean(true));
    ctx.txn.write("Port", port, "tag", Datum::integer(vlan));
    ctx.add_reference("Bridge", parent.row, "ports", port);
    Ok(())
}

/// The integer at the start of `text`, as atoi(3) reads it; 0 without one.
fn leading_integer(text: &str) -> i64 {
    let text = text.trim_start();
    let digits = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || (*at == 0 && matches!(c, '-' | '+'))))
        .map_or(text.len(), |(at, _)| at);
    let number = text.get(..digits).unwrap_or("");
    match number.parse() {
        Ok(number) => number,
        // No digits at all, or too many to be a VLAN.
        Err(_) if number.len() > 2 => i64::MAX,
        Err(_) => 0,
    }
}

/// `[--if-exists] del-br BRIDGE`
pub fn del_br(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let name = command.arg(0);
    match ctx.bridge(name) {
        Some(bridge) => remove(ctx, &bridge),
        None if command.has("--if-exists") => {}
        None => return Err(Error::NoBridge(name.to_owned())),
    }
    Ok(Output::default())
}

fn remove(ctx: &mut Context<'_>, bridge: &Bridge) {
    for child in bridge.children.values() {
        if let Some(child) = ctx.model().bridges.get(child).cloned() {
            remove_one(ctx, &child);
        }
    }
    remove_one(ctx, bridge);
}

fn remove_one(ctx: &mut Context<'_>, bridge: &Bridge) {
    for name in &bridge.ports {
        if let Some(port) = ctx.model().ports.get(name).cloned() {
            port::remove(ctx, name, &port);
        }
    }
    ctx.model().remove_bridge(&bridge.name);
    if bridge.parent.is_some() {
        return;
    }
    // These rows are roots and would keep the bridge.
    for row in ctx.txn.rows("Flow_Sample_Collector_Set") {
        let target = ctx.txn.read("Flow_Sample_Collector_Set", row, "bridge");
        if target.as_uuid() == Some(bridge.row) {
            ctx.txn.delete("Flow_Sample_Collector_Set", row);
        }
    }
    ctx.txn.delete("Bridge", bridge.row);
    ctx.remove_reference("Open_vSwitch", ctx.ovs, "bridges", bridge.row);
}

/// `[--real|--fake] list-br`
pub fn list_br(ctx: &mut Context<'_>, command: &Command) -> Output {
    let (real, fake) = (command.has("--real"), command.has("--fake"));
    let both = real == fake;
    let names = ctx
        .model()
        .bridges
        .values()
        .filter(|bridge| both || if bridge.parent.is_some() { fake } else { real });
    Output::lines(names.map(|bridge| &bridge.name))
}

/// `br-to-vlan BRIDGE`
pub fn br_to_vlan(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = find(ctx, command.arg(0))?;
    Ok(Output::text(format!("{}\n", bridge.vlan)))
}

/// `br-to-parent BRIDGE`
pub fn br_to_parent(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = find(ctx, command.arg(0))?;
    let parent = bridge.parent.unwrap_or(bridge.name);
    Ok(Output::text(format!("{parent}\n")))
}

/// Where the external ids of a bridge are kept: row, and a prefix for the keys of a fake bridge,
/// whose row is a port.
fn external_ids(
    ctx: &mut Context<'_>,
    name: &str,
) -> Result<(&'static str, Uuid, &'static str), Error> {
    let bridge = find(ctx, name)?;
    let place = match bridge.parent {
        None => ("Bridge", bridge.row, ""),
        Some(_) => {
            let port = ctx.model().ports.get(name);
            let row = port.map(|port| port.row);
            let row = row.ok_or_else(|| Error::NoBridge(name.to_owned()))?;
            ("Port", row, "fake-bridge-")
        }
    };
    ctx.txn.rely_on(place.0, place.1, "external_ids");
    Ok(place)
}

/// `br-set-external-id BRIDGE KEY [VALUE]`
pub fn br_set_external_id(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let (table, row, prefix) = external_ids(ctx, command.arg(0))?;
    let key = format!("{prefix}{}", command.arg(1));
    let mut ids = ctx.txn.read(table, row, "external_ids");
    ids.subtract(&Datum::string(&key));
    if let Some(value) = command.args.get(2) {
        ids.union(&Datum::map([(key.as_str(), value.as_str())]));
    }
    ctx.txn.write(table, row, "external_ids", ids);
    Ok(Output::default())
}

/// `br-get-external-id BRIDGE [KEY]`
pub fn br_get_external_id(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let (table, row, prefix) = external_ids(ctx, command.arg(0))?;
    let ids = ctx.txn.read(table, row, "external_ids");
    if let Some(key) = command.args.get(1) {
        return Ok(Output::lines(ids.get(&format!("{prefix}{key}"))));
    }
    let entries = ids.entries().filter_map(|(key, value)| {
        let key = key.as_str()?.strip_prefix(prefix)?;
        Some(format!("{key}={}", value.as_str()?))
    });
    Ok(Output::lines(entries))
}

#[cfg(test)]
mod tests {
    use super::leading_integer;

    #[test]
    fn vlans_are_read_as_atoi_reads() {
        for (text, number) in [
            ("5", 5),
            ("5x", 5),
            ("x", 0),
            ("", 0),
            ("-1", -1),
            ("+7", 7),
        ] {
            assert_eq!(leading_integer(text), number, "{text}");
        }
        assert!(leading_integer("99999999999999999999") > 4095);
    }
}
