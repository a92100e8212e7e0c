//! Ports of bridges: coming, changing and going, and what follows from it.

use std::sync::Arc;
use std::time::Instant;

use openflow::Message;
use openflow::message::{PortReason, PortStatus};
use packet::OfPort;

use super::{Effect, Error, Ofproto};
use crate::conn::ConnId;
use crate::port::{PortConf, PortLink, PortRow, RowId, port_desc};
use crate::snapshot::BridgeId;

impl Ofproto {
    /// Adds a port and tells the controllers.
    pub fn port_add(&mut self, id: BridgeId, port: PortConf, now: Instant) -> Result<(), Error> {
        let number = port.of_port;
        let bridge = self.bridges.get_mut(&id).ok_or(Error::NoSuchBridge)?;
        if bridge.view.ports.by_number.contains_key(&number) {
            return Err(Error::PortTaken {
                name: port.name.to_string(),
                port: number.0,
            });
        }
        if let Some(dp_port) = port.dp_port() {
            if self.dp_ports.contains_key(&dp_port) {
                return Err(Error::DpPortTaken(dp_port.0));
            }
            Arc::make_mut(&mut self.dp_ports).insert(dp_port, (id, number));
        }
        bridge.port_added.insert(number, now);
        let port = Arc::new(port);
        let ports = &mut Arc::make_mut(&mut bridge.view).ports;
        Arc::make_mut(ports)
            .by_number
            .insert(number, Arc::clone(&port));
        self.is_dirty = true;
        self.port_status(id, &port, PortReason::Add, None);
        Ok(())
    }

    /// Removes a port, with what was learnt on it, and tells the controllers. Patch ports that
    /// lead to it lose their peer.
    pub fn port_del(&mut self, id: BridgeId, number: OfPort) -> Result<(), Error> {
        let bridge = self.bridges.get_mut(&id).ok_or(Error::NoSuchBridge)?;
        let ports = &mut Arc::make_mut(&mut bridge.view).ports;
        let removed = Arc::make_mut(ports).by_number.remove(&number);
        let port = removed.ok_or(Error::NoSuchPort(number.0))?;
        bridge.port_added.remove(&number);
        if bridge.macs.flush_port(number) > 0 {
            self.macs_changed(id);
        }
        if let Some(dp_port) = port.dp_port() {
            Arc::make_mut(&mut self.dp_ports).remove(&dp_port);
        }
        self.unlink_patches(id, Some(number));
        self.is_dirty = true;
        self.port_status(id, &port, PortReason::Delete, None);
        Ok(())
    }

    /// Changes a port in place; its number stays. Controllers are told when anything changed that
    /// a port description shows.
    pub fn port_modify(
        &mut self,
        id: BridgeId,
        number: OfPort,
        change: impl FnOnce(&mut PortConf),
    ) -> Result<(), Error> {
        self.port_modify_by(id, number, None, change)
    }

    /// As [`Ofproto::port_modify`]; `source`, who asked for the change, is not told.
    pub(crate) fn port_modify_by(
        &mut self,
        id: BridgeId,
        number: OfPort,
        source: Option<ConnId>,
        change: impl FnOnce(&mut PortConf),
    ) -> Result<(), Error> {
        let bridge = self.bridges.get_mut(&id).ok_or(Error::NoSuchBridge)?;
        let old = bridge.view.ports.by_number.get(&number);
        let old = Arc::clone(old.ok_or(Error::NoSuchPort(number.0))?);
        let mut new = PortConf::clone(&old);
        change(&mut new);
        new.of_port = number;
        if new == *old {
            return Ok(());
        }
        if new.dp_port() != old.dp_port() {
            let dp_ports = Arc::make_mut(&mut self.dp_ports);
            if let Some(dp_port) = new.dp_port() {
                if dp_ports.contains_key(&dp_port) {
                    return Err(Error::DpPortTaken(dp_port.0));
                }
                dp_ports.insert(dp_port, (id, number));
            }
            if let Some(dp_port) = old.dp_port() {
                dp_ports.remove(&dp_port);
            }
        }
        let new = Arc::new(new);
        let ports = &mut Arc::make_mut(&mut bridge.view).ports;
        Arc::make_mut(ports)
            .by_number
            .insert(number, Arc::clone(&new));
        self.is_dirty = true;
        if port_desc(&new) != port_desc(&old) {
            self.port_status(id, &new, PortReason::Modify, source);
        }
        if new.config != old.config {
            self.effects.push_back(Effect::ConfigurePort {
                bridge: id,
                port: number,
            });
        }
        Ok(())
    }

    /// Adds or replaces a `Port` row; its members' [`PortConf::row`] is set accordingly. Addresses
    /// learnt on them are forgotten when the VLAN settings change.
    pub fn row_set(&mut self, id: BridgeId, row: RowId, conf: PortRow) -> Result<(), Error> {
        let bridge = self.bridges.get_mut(&id).ok_or(Error::NoSuchBridge)?;
        let ports = &mut Arc::make_mut(&mut bridge.view).ports;
        let ports = Arc::make_mut(ports);
        let old = ports.rows.get(&row);
        if old.is_some_and(|old| **old == conf) {
            return Ok(());
        }
        let mut flushed = 0;
        if old.is_some_and(|old| old.vlan != conf.vlan) {
            flushed = conf.ports.iter().map(|p| bridge.macs.flush_port(*p)).sum();
        }
        for (number, port) in &mut ports.by_number {
            let want = match conf.ports.contains(number) {
                true => Some(row),
                false if port.row == Some(row) => None,
                false => port.row,
            };
            if port.row != want {
                Arc::make_mut(port).row = want;
            }
        }
        ports.rows.insert(row, Arc::new(conf));
        if flushed > 0 {
            self.macs_changed(id);
        }
        self.is_dirty = true;
        Ok(())
    }

    pub fn row_del(&mut self, id: BridgeId, row: RowId) -> Result<(), Error> {
        let bridge = self.bridges.get_mut(&id).ok_or(Error::NoSuchBridge)?;
        let ports = &mut Arc::make_mut(&mut bridge.view).ports;
        let ports = Arc::make_mut(ports);
        ports.rows.remove(&row);
        for port in ports.by_number.values_mut() {
            if port.row == Some(row) {
                Arc::make_mut(port).row = None;
            }
        }
        self.is_dirty = true;
        Ok(())
    }

    fn port_status(
        &mut self,
        id: BridgeId,
        port: &PortConf,
        reason: PortReason,
        source: Option<ConnId>,
    ) {
        for conn in self.conns.values() {
            // Before OpenFlow 1.5 a port-mod is not echoed to whoever sent it.
            if conn.bridge == id && conn.wants_port_status(reason) && Some(conn.id) != source {
                self.effects.push_back(Effect::Send {
                    conn: conn.id,
                    xid: 0,
                    message: Message::PortStatus(PortStatus {
                        reason,
                        desc: port_desc(port),
                    }),
                });
            }
        }
    }

    /// Takes their peer from patch ports that lead to a bridge, or to one port of it.
    pub(super) fn unlink_patches(&mut self, id: BridgeId, number: Option<OfPort>) {
        for bridge in self.bridges.values_mut() {
            let leads_there = |port: &PortConf| {
                matches!(port.link, PortLink::Patch(Some(peer))
                    if peer.bridge == id && number.is_none_or(|n| n == peer.port))
            };
            if !bridge.view.ports.by_number.values().any(|p| leads_there(p)) {
                continue;
            }
            let ports = &mut Arc::make_mut(&mut bridge.view).ports;
            for port in Arc::make_mut(ports).by_number.values_mut() {
                if leads_there(port) {
                    Arc::make_mut(port).link = PortLink::Patch(None);
                }
            }
        }
    }
}
