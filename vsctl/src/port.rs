//! Port, bond and interface commands.
//!
//! Source: ovs-vsctl(8), "Port Commands", "Bond Commands" and "Interface Commands".

use std::collections::BTreeSet;

use ovsdb::{Datum, Uuid};
use thiserror::Error;

use crate::bridge::{self, check_conflicts};
use crate::command::Command;
use crate::context::{Context, Output};
use crate::database;
use crate::model::{self, Port};

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Bridge(#[from] bridge::Error),
    #[error(transparent)]
    Database(#[from] Box<database::Error>),
    #[error("no port named {0}")]
    NoPort(String),
    #[error("no interface named {0}")]
    NoInterface(String),
    #[error("no port or interface named {0}")]
    NoPortOrInterface(String),
    #[error("\"{command}\" but {port} is actually attached to bridge {bridge}")]
    OtherBridge {
        command: String,
        port: String,
        bridge: String,
    },
    #[error("\"{command}\" but {port} actually has interface(s) {interfaces}")]
    OtherInterfaces {
        command: String,
        port: String,
        interfaces: String,
    },
    #[error("add-bond requires at least 2 interfaces, but only {0} were specified")]
    BondTooSmall(usize),
    #[error(
        "cannot delete port {0} because it is the local port for bridge {0} (deleting this port \
         requires deleting the entire bridge)"
    )]
    LocalPort(String),
    #[error("bridge {bridge} does not have a port {port}{note}")]
    NotOnBridge {
        bridge: String,
        port: String,
        note: String,
    },
    #[error("\"{command}\" but {iface} is actually attached to port {port}")]
    OtherPort {
        command: String,
        iface: String,
        port: String,
    },
    #[error("port {port} does not have an interface {iface}")]
    NotInPort { port: String, iface: String },
    #[error("cannot delete last interface from port {0}")]
    LastInterface(String),
}

/// What `add-port` and `add-bond` ask for.
struct Wish<'a> {
    bridge: &'a str,
    port: &'a str,
    ifaces: &'a [String],
    settings: &'a [String],
    fake_iface: bool,
}

/// `[--may-exist] add-port BRIDGE PORT [COLUMN[:KEY]=VALUE]...`
pub fn add_port(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let wish = Wish {
        bridge: command.arg(0),
        port: command.arg(1),
        ifaces: command.args.get(1..2).unwrap_or(&[]),
        settings: command.args_from(2),
        fake_iface: false,
    };
    add(ctx, command, &wish)
}

/// `[--may-exist] [--fake-iface] add-bond BRIDGE PORT IFACE... [COLUMN[:KEY]=VALUE]...`
pub fn add_bond(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let rest = command.args_from(2);
    let count = rest
        .iter()
        .position(|arg| arg.contains('='))
        .unwrap_or(rest.len());
    if count < 2 {
        return Err(Error::BondTooSmall(count));
    }
    let (ifaces, settings) = rest.split_at_checked(count).unwrap_or((rest, &[]));
    let wish = Wish {
        bridge: command.arg(0),
        port: command.arg(1),
        ifaces,
        settings,
        fake_iface: command.has("--fake-iface"),
    };
    add(ctx, command, &wish)
}

fn add(ctx: &mut Context<'_>, command: &Command, wish: &Wish<'_>) -> Result<Output, Error> {
    if command.has("--may-exist")
        && let Some(port) = ctx.port(wish.port)
    {
        check_same(ctx, command, wish, &port)?;
        return Ok(Output::default());
    }
    let name = wish.port;
    check_conflicts(ctx, name, &format!("cannot create a port named {name}"))?;
    for iface in wish.ifaces {
        check_conflicts(
            ctx,
            iface,
            &format!("cannot create an interface named {iface}"),
        )?;
    }
    let bridge = bridge::find(ctx, wish.bridge)?;
    let ifaces: Vec<Uuid> = wish
        .ifaces
        .iter()
        .map(|name| insert_iface(ctx, name))
        .collect();
    let port = ctx.insert("Port");
    ctx.txn.write("Port", port, "name", Datum::string(name));
    ctx.txn
        .write("Port", port, "interfaces", Datum::set(ifaces.clone()));
    ctx.txn.write(
        "Port",
        port,
        "bond_fake_iface",
        Datum::boolean(wish.fake_iface),
    );
    if bridge.parent.is_some() {
        ctx.txn
            .write("Port", port, "tag", Datum::integer(bridge.vlan));
    }
    for setting in wish.settings {
        database::set_column(ctx, "Port", port, setting).map_err(Box::new)?;
    }
    ctx.add_reference("Bridge", bridge.row, "ports", port);

    let tag = model::tag(&ctx.txn, port);
    let real = bridge.parent.unwrap_or(bridge.name);
    ctx.model().add_port(name, &real, port, tag);
    for (iface, row) in wish.ifaces.iter().zip(ifaces) {
        ctx.model().add_iface(iface, name, row);
    }
    Ok(Output::default())
}

fn insert_iface(ctx: &mut Context<'_>, name: &str) -> Uuid {
    let iface = ctx.insert("Interface");
    ctx.txn
        .write("Interface", iface, "name", Datum::string(name));
    iface
}

/// Whether an existing port is what `--may-exist` asked for.
fn check_same(
    ctx: &mut Context<'_>,
    command: &Command,
    wish: &Wish<'_>,
    port: &Port,
) -> Result<(), Error> {
    if port.bridge != wish.bridge {
        return Err(Error::OtherBridge {
            command: command.text(),
            port: wish.port.to_owned(),
            bridge: port.bridge.clone(),
        });
    }
    let rows: Vec<Uuid> = ctx
        .txn
        .read("Port", port.row, "interfaces")
        .uuids()
        .collect();
    let mut have: Vec<String> = rows
        .into_iter()
        .map(|row| model::name(&ctx.txn, "Interface", row))
        .collect();
    have.sort();
    let mut want: Vec<String> = wish.ifaces.to_vec();
    want.sort();
    if have != want {
        return Err(Error::OtherInterfaces {
            command: command.text(),
            port: wish.port.to_owned(),
            interfaces: have.join(", "),
        });
    }
    Ok(())
}

/// `[--if-exists] [--with-iface] del-port [BRIDGE] PORT`
pub fn del_port(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let must_exist = !command.has("--if-exists");
    let (bridge, target) = match command.args.as_slice() {
        [bridge, target] => (Some(bridge.as_str()), target.as_str()),
        _ => (None, command.arg(0)),
    };
    if ctx.bridge(target).is_some() {
        if must_exist {
            return Err(Error::LocalPort(target.to_owned()));
        }
        return Ok(Output::default());
    }
    let found = find_target(ctx, target, command.has("--with-iface"));
    let Some((name, port)) = found else {
        return match must_exist {
            false => Ok(Output::default()),
            true if command.has("--with-iface") => Err(Error::NoPortOrInterface(target.to_owned())),
            true => Err(Error::NoPort(target.to_owned())),
        };
    };
    if let Some(bridge) = bridge {
        let bridge = bridge::find(ctx, bridge)?;
        if port.bridge != bridge.name {
            let home = ctx.model().bridges.get(&port.bridge);
            let parent = home.and_then(|home| home.parent.as_deref());
            let note = if parent == Some(&bridge.name) {
                format!(" (although its child bridge {} does)", port.bridge)
            } else {
                String::new()
            };
            return Err(Error::NotOnBridge {
                bridge: bridge.name,
                port: target.to_owned(),
                note,
            });
        }
    }
    remove(ctx, &name, &port);
    Ok(Output::default())
}

/// The port named `target`, or, where wished, the one that has an interface of that name.
fn find_target(ctx: &mut Context<'_>, target: &str, with_iface: bool) -> Option<(String, Port)> {
    if let Some(port) = ctx.port(target) {
        return Some((target.to_owned(), port));
    }
    if !with_iface {
        return None;
    }
    let iface = ctx.iface(target)?;
    let port = ctx.model().ports.get(&iface.port)?.clone();
    Some((iface.port, port))
}

/// Removes a port and its interfaces from its bridge.
pub fn remove(ctx: &mut Context<'_>, name: &str, port: &Port) {
    let bridge = ctx
        .model()
        .bridges
        .get(&port.bridge)
        .map(|bridge| bridge.row);
    if let Some(bridge) = bridge {
        ctx.remove_reference("Bridge", bridge, "ports", port.row);
    }
    for iface in &port.ifaces {
        if let Some(row) = ctx.model().ifaces.get(iface).map(|iface| iface.row) {
            ctx.txn.delete("Interface", row);
        }
    }
    ctx.txn.delete("Port", port.row);
    ctx.model().remove_port(name);
}

/// `list-ports BRIDGE`
pub fn list_ports(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = bridge::find(ctx, command.arg(0))?;
    ctx.txn.rely_on("Bridge", bridge.row, "ports");
    let names = bridge.ports.iter().filter(|name| **name != bridge.name);
    Ok(Output::lines(names))
}

/// `port-to-br PORT`
pub fn port_to_br(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let name = command.arg(0);
    let port = ctx
        .port(name)
        .ok_or_else(|| Error::NoPort(name.to_owned()))?;
    Ok(Output::lines([port.bridge]))
}

/// `list-ifaces BRIDGE`
pub fn list_ifaces(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let bridge = bridge::find(ctx, command.arg(0))?;
    ctx.rely_on_ports();
    let model = ctx.model();
    let ports = bridge.ports.iter().filter_map(|port| model.ports.get(port));
    let names: BTreeSet<&String> = ports
        .flat_map(|port| &port.ifaces)
        .filter(|name| **name != bridge.name)
        .collect();
    Ok(Output::lines(names))
}

/// `iface-to-br IFACE`
pub fn iface_to_br(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let name = command.arg(0);
    let iface = ctx
        .iface(name)
        .ok_or_else(|| Error::NoInterface(name.to_owned()))?;
    Ok(Output::lines([ctx.bridge_of_iface(&iface)]))
}

/// `[--may-exist] add-bond-iface BOND IFACE`
pub fn add_bond_iface(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let (bond, name) = (command.arg(0), command.arg(1));
    let port = ctx
        .port(bond)
        .ok_or_else(|| Error::NoPort(bond.to_owned()))?;
    if command.has("--may-exist")
        && let Some(iface) = ctx.iface(name)
    {
        if iface.port == bond {
            return Ok(Output::default());
        }
        return Err(Error::OtherPort {
            command: command.text(),
            iface: name.to_owned(),
            port: iface.port,
        });
    }
    check_conflicts(
        ctx,
        name,
        &format!("cannot create an interface named {name}"),
    )?;
    let iface = insert_iface(ctx, name);
    ctx.add_reference("Port", port.row, "interfaces", iface);
    ctx.model().add_iface(name, bond, iface);
    Ok(Output::default())
}

/// `[--if-exists] del-bond-iface [BOND] IFACE`
pub fn del_bond_iface(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let (bond, name) = match command.args.as_slice() {
        [bond, name] => (Some(bond.as_str()), name.as_str()),
        _ => (None, command.arg(0)),
    };
    let Some(iface) = ctx.iface(name) else {
        if command.has("--if-exists") {
            return Ok(Output::default());
        }
        return Err(Error::NoInterface(name.to_owned()));
    };
    if let Some(bond) = bond {
        ctx.port(bond)
            .ok_or_else(|| Error::NoPort(bond.to_owned()))?;
        if iface.port != bond {
            return Err(Error::NotInPort {
                port: bond.to_owned(),
                iface: name.to_owned(),
            });
        }
    }
    let port = ctx.model().ports.get(&iface.port).cloned();
    let Some(port) = port.filter(|port| port.ifaces.len() > 1) else {
        return Err(Error::LastInterface(iface.port));
    };
    ctx.remove_reference("Port", port.row, "interfaces", iface.row);
    ctx.txn.delete("Interface", iface.row);
    ctx.invalidate();
    Ok(Output::default())
}
