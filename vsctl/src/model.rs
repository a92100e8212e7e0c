//! The bridges, ports and interfaces that the commands speak of, fake bridges included.
//!
//! A fake bridge is a port with `fake_bridge` and a `tag`: the ports with that tag are its ports.
//! Made from a transaction's view of the database; commands that change rows keep it in step or
//! have it made anew. Source: ovs-vsctl(8), "Linux VLAN Bridging Compatibility".

use std::collections::{BTreeMap, BTreeSet};

use ovsdb::Uuid;
use ovsdb::replica::Transaction;

/// A real or fake bridge.
#[derive(Debug, Clone)]
pub struct Bridge {
    pub name: String,
    /// The Bridge row, which a fake bridge shares with its parent.
    pub row: Uuid,
    /// The real bridge that a fake one is part of.
    pub parent: Option<String>,
    /// 0 for a real bridge.
    pub vlan: i64,
    pub ports: BTreeSet<String>,
    /// Fake bridges by VLAN.
    pub children: BTreeMap<i64, String>,
}

#[derive(Debug, Clone)]
pub struct Port {
    pub row: Uuid,
    pub bridge: String,
    pub ifaces: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub struct Iface {
    pub row: Uuid,
    pub port: String,
}

/// All of them by name.
#[derive(Debug, Default)]
pub struct Model {
    pub bridges: BTreeMap<String, Bridge>,
    pub ports: BTreeMap<String, Port>,
    pub ifaces: BTreeMap<String, Iface>,
}

impl Model {
    /// Reads the bridges of the Open_vSwitch row `ovs`.
    pub fn new(txn: &Transaction<'_>, ovs: Uuid) -> Self {
        let mut model = Self::default();
        let bridges: Vec<Uuid> = txn.read("Open_vSwitch", ovs, "bridges").uuids().collect();
        let mut real = Vec::new();
        for row in bridges {
            let name = name(txn, "Bridge", row);
            if model.bridges.contains_key(&name) {
                tracing::warn!(target: "vsctl", "{name}: database contains duplicate bridge name");
                continue;
            }
            model.add_bridge(&name, row, None);
            real.push((row, name));
        }
        // Every bridge has to be known before ports are put into them.
        let mut seen = BTreeSet::new();
        for (row, bridge) in &real {
            for port in ports(txn, *row) {
                let port_name = name(txn, "Port", port);
                if !seen.insert(port_name.clone()) {
                    continue;
                }
                if let Some(vlan) = fake_bridge_vlan(txn, port)
                    && !model.bridges.contains_key(&port_name)
                {
                    model.add_bridge(&port_name, *row, Some((bridge.clone(), vlan)));
                }
            }
        }
        for (row, bridge) in &real {
            for port in ports(txn, *row) {
                model.read_port(txn, bridge, port);
            }
        }
        model
    }

    fn read_port(&mut self, txn: &Transaction<'_>, bridge: &str, row: Uuid) {
        let port_name = name(txn, "Port", row);
        if let Some(known) = self.ports.get(&port_name) {
            if known.row == row {
                tracing::warn!(
                    target: "vsctl",
                    "{port_name}: port is in multiple bridges ({bridge} and {})",
                    known.bridge
                );
            } else {
                tracing::error!(target: "vsctl", "{port_name}: database contains duplicate port name");
            }
            return;
        }
        // A fake bridge whose name a real bridge has is neither.
        let is_real = |bridge: &Bridge| bridge.parent.is_none();
        if fake_bridge_vlan(txn, row).is_some() && self.bridges.get(&port_name).is_some_and(is_real)
        {
            return;
        }
        let ifaces: Vec<Uuid> = txn.read("Port", row, "interfaces").uuids().collect();
        self.add_port(&port_name, bridge, row, tag(txn, row));
        for iface in ifaces {
            let iface_name = name(txn, "Interface", iface);
            match self.ifaces.get(&iface_name) {
                Some(known) if known.row == iface => tracing::warn!(
                    target: "vsctl",
                    "{iface_name}: interface is in multiple ports ({} and {port_name})",
                    known.port
                ),
                Some(_) => tracing::error!(
                    target: "vsctl",
                    "{iface_name}: database contains duplicate interface name"
                ),
                None => self.add_iface(&iface_name, &port_name, iface),
            }
        }
    }

    fn add_bridge(&mut self, name: &str, row: Uuid, parent: Option<(String, i64)>) {
        let (parent, vlan) = match parent {
            Some((parent, vlan)) => (Some(parent), vlan),
            None => (None, 0),
        };
        let siblings = parent
            .as_ref()
            .and_then(|parent| self.bridges.get_mut(parent));
        if let Some(siblings) = siblings {
            match siblings.children.get(&vlan) {
                Some(other) => tracing::warn!(
                    target: "vsctl",
                    "{}: bridge has multiple VLAN bridges ({name} and {other}) for VLAN {vlan}, \
                     but only one is allowed",
                    siblings.name
                ),
                None => {
                    siblings.children.insert(vlan, name.to_owned());
                }
            }
        }
        let bridge = Bridge {
            name: name.to_owned(),
            row,
            parent,
            vlan,
            ports: BTreeSet::new(),
            children: BTreeMap::new(),
        };
        self.bridges.insert(name.to_owned(), bridge);
    }

    /// Puts a port of the real bridge `bridge` where its tag says.
    pub fn add_port(&mut self, name: &str, bridge: &str, row: Uuid, tag: Option<i64>) {
        let home = tag
            .and_then(|tag| self.bridges.get(bridge)?.children.get(&tag))
            .map_or(bridge, String::as_str)
            .to_owned();
        if let Some(bridge) = self.bridges.get_mut(&home) {
            bridge.ports.insert(name.to_owned());
        }
        let port = Port {
            row,
            bridge: home,
            ifaces: BTreeSet::new(),
        };
        self.ports.insert(name.to_owned(), port);
    }

    pub fn add_iface(&mut self, name: &str, port: &str, row: Uuid) {
        if let Some(port) = self.ports.get_mut(port) {
            port.ifaces.insert(name.to_owned());
        }
        let iface = Iface {
            row,
            port: port.to_owned(),
        };
        self.ifaces.insert(name.to_owned(), iface);
    }

    /// Takes a port and its interfaces away.
    pub fn remove_port(&mut self, name: &str) {
        let Some(port) = self.ports.remove(name) else {
            return;
        };
        if let Some(bridge) = self.bridges.get_mut(&port.bridge) {
            bridge.ports.remove(name);
        }
        for iface in port.ifaces {
            self.ifaces.remove(&iface);
        }
    }

    /// Takes a bridge away; its ports and children have gone before.
    pub fn remove_bridge(&mut self, name: &str) {
        let Some(bridge) = self.bridges.remove(name) else {
            return;
        };
        let parent = bridge
            .parent
            .and_then(|parent| self.bridges.get_mut(&parent));
        if let Some(parent) = parent
            && parent.children.get(&bridge.vlan).map(String::as_str) == Some(name)
        {
            parent.children.remove(&bridge.vlan);
        }
    }
}

/// The `name` of a row; empty for one that is not there.
pub fn name(txn: &Transaction<'_>, table: &str, row: Uuid) -> String {
    txn.read(table, row, "name")
        .as_str()
        .unwrap_or("")
        .to_owned()
}

fn ports(txn: &Transaction<'_>, bridge: Uuid) -> Vec<Uuid> {
    txn.read("Bridge", bridge, "ports").uuids().collect()
}

/// The port's tag, when it is a VLAN.
pub fn tag(txn: &Transaction<'_>, port: Uuid) -> Option<i64> {
    txn.read("Port", port, "tag")
        .as_i64()
        .filter(|tag| (0..=4095).contains(tag))
}

fn fake_bridge_vlan(txn: &Transaction<'_>, port: Uuid) -> Option<i64> {
    txn.read("Port", port, "fake_bridge")
        .as_bool()
        .filter(|fake| *fake)
        .and_then(|_| tag(txn, port))
}
