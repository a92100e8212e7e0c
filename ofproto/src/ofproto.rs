//! `Ofproto`: the mutable owner of every bridge.
//!
//! The main thread holds one. Inputs (a bridge or port appeared, a message came, time passed)
//! change it; what is to be done about them is handed out by [`Ofproto::poll_effect`], and what
//! packets see by [`Ofproto::publish`]. After each input: drain the effects until there are none,
//! publish, then wait for the next input or [`Ofproto::poll_timeout`].
//!
//! OpenFlow messages come in through [`crate::request`]; what is decided of connections is in
//! [`crate::conn`]; flow tables are [`crate::table`]'s.
//!
//! Source: the division is that of OVS `ofproto/ofproto.c` and `ofproto/connmgr.c`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::HashMap;
use bytes::Bytes;
use openflow::message::{Desc, FlowRemoved, PortReason, PortStatus};
use openflow::{Action, Match, Message, Version};
use packet::{DpPort, EthAddr, OfPort};

use crate::conn::{Conn, ConnId, ConnKind, Generation};
use crate::mac_learning::{Learned, MacTable};
use crate::port::{PortConf, PortLink, PortRow, RowId, port_desc};
use crate::rule::FAIL_OPEN_PRIORITY;
use crate::snapshot::{Bridge, BridgeId, FailMode, Snapshot, Tables};
use crate::table::{FlowTables, Removed, TableConf};

/// All bridges and the connections to them.
#[derive(Debug)]
pub struct Ofproto {
    pub(crate) bridges: BTreeMap<BridgeId, BridgeState>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    dp_ports: Arc<HashMap<DpPort, (BridgeId, OfPort)>>,
    published: Arc<Snapshot>,
    is_dirty: bool,
    pub(crate) effects: VecDeque<Effect>,
    next_bridge: u32,
    next_conn: u64,
    seed: u64,
}

/// What somebody else has to do, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Send a message.
    Send {
        conn: ConnId,
        xid: u32,
        message: Message,
    },
    /// Send a message once every packet is answered by snapshot `version` or a later one, cached
    /// flows included, and handle nothing more from the connection until then.
    SendAfter {
        conn: ConnId,
        xid: u32,
        message: Message,
        version: u64,
    },
    /// Translate and run a packet on the newest snapshot.
    PacketOut {
        bridge: BridgeId,
        in_port: OfPort,
        actions: Vec<Action>,
        packet: Bytes,
    },
    /// Read the counters of these ports and give them to [`Ofproto::handle_port_stats`].
    ReadPortStats {
        conn: ConnId,
        xid: u32,
        bridge: BridgeId,
        ports: Vec<OfPort>,
    },
    /// A port's configuration changed: bring its device up or down, tell the datapath what it may
    /// receive and send.
    ConfigurePort { bridge: BridgeId, port: OfPort },
    /// The connection's bridge is gone.
    Disconnect { conn: ConnId },
}

/// One bridge, as its owner has it.
#[derive(Debug)]
pub(crate) struct BridgeState {
    /// What goes into the next snapshot, except for `tables` and `macs`.
    pub view: Arc<Bridge>,
    pub tables: FlowTables,
    pub macs: MacTable,
    pub desc: Desc,
    pub port_added: BTreeMap<OfPort, Instant>,
    pub generation: Generation,
    controllers: Controllers,
}

/// The controllers of a bridge, as far as fail modes go.
#[derive(Debug)]
struct Controllers {
    /// How many the database names.
    configured: usize,
    /// How long all of them must be gone before the fail mode takes effect.
    grace: Duration,
    /// When the last of them went, or the first was configured.
    gone_since: Instant,
    is_failed_open: bool,
}

/// Why a bridge or port cannot be had.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error("bridge {0} exists already")]
    BridgeExists(String),
    #[error("no such bridge")]
    NoSuchBridge,
    #[error("port {name} cannot have OpenFlow port number {port}: it is taken")]
    PortTaken { name: String, port: u32 },
    #[error("no OpenFlow port {0}")]
    NoSuchPort(u32),
    #[error("datapath port {0} is in another bridge already")]
    DpPortTaken(u32),
}

impl Ofproto {
    /// No bridges; `seed` starts the hashes of classifiers, so that they differ from host to host.
    pub fn new(seed: u64) -> Ofproto {
        Ofproto {
            bridges: BTreeMap::new(),
            conns: BTreeMap::new(),
            dp_ports: Arc::default(),
            published: Arc::new(Snapshot::default()),
            is_dirty: false,
            effects: VecDeque::new(),
            next_bridge: 0,
            next_conn: 0,
            seed,
        }
    }

    /// The next thing to do, in order; `None` when nothing is left.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Publishes all changes so far; the same snapshot again when there were none.
    pub fn publish(&mut self) -> Arc<Snapshot> {
        if !self.is_dirty && self.bridges.values().all(|b| !b.tables.is_dirty()) {
            return Arc::clone(&self.published);
        }
        for bridge in self.bridges.values_mut() {
            if bridge.tables.is_dirty() {
                bridge
                    .tables
                    .publish_into(&mut Arc::make_mut(&mut bridge.view).tables);
            }
        }
        self.is_dirty = false;
        self.published = Arc::new(Snapshot {
            version: self.published.version + 1,
            bridges: self
                .bridges
                .iter()
                .map(|(id, b)| (*id, Arc::clone(&b.view)))
                .collect(),
            dp_ports: Arc::clone(&self.dp_ports),
        });
        Arc::clone(&self.published)
    }

    /// The version of the snapshot that has all changes so far.
    pub fn version(&self) -> u64 {
        let is_dirty = self.is_dirty || self.bridges.values().any(|b| b.tables.is_dirty());
        self.published.version + u64::from(is_dirty)
    }

    /// When [`Ofproto::handle_timeout`] is to be called, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bridges
            .values()
            .flat_map(|b| {
                [
                    b.tables.next_timeout(),
                    b.macs.next_expiry(),
                    self.fail_open_at(b),
                ]
            })
            .flatten()
            .chain(self.next_packet_in())
            .min()
    }

    /// Expires rules and MAC addresses, applies fail modes, sends packets that had to wait.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.drain_packet_ins(now);
        let ids: Vec<BridgeId> = self.bridges.keys().copied().collect();
        for id in ids {
            let Some(bridge) = self.bridges.get_mut(&id) else {
                continue;
            };
            if bridge.macs.next_expiry().is_some_and(|at| at <= now) && bridge.macs.expire(now) > 0
            {
                self.macs_changed(id);
            }
            let Some(bridge) = self.bridges.get_mut(&id) else {
                continue;
            };
            let removed = bridge.tables.handle_timeout(now);
            self.flows_removed(id, &removed, now);
            self.update_fail_open(id, now);
        }
    }

    /// Makes a bridge without ports. Its tables forward as an ordinary switch does, until it has a
    /// controller or its fail mode says otherwise.
    pub fn bridge_add(
        &mut self,
        name: &str,
        datapath_id: u64,
        hw_addr: EthAddr,
        fail_mode: FailMode,
        now: Instant,
    ) -> Result<BridgeId, Error> {
        if self.bridges.values().any(|b| &*b.view.name == name) {
            return Err(Error::BridgeExists(name.to_owned()));
        }
        self.next_bridge += 1;
        let id = BridgeId(self.next_bridge);
        let macs = MacTable::default();
        let mut state = BridgeState {
            view: Arc::new(Bridge {
                id,
                name: name.into(),
                datapath_id,
                hw_addr,
                fail_mode,
                ports: Arc::default(),
                tables: Tables::default(),
                macs: macs.view(),
                packet_in_on_miss: false,
                controller_connected: false,
                forward_bpdu: false,
            }),
            tables: FlowTables::new(self.seed),
            macs,
            desc: default_desc(),
            port_added: BTreeMap::new(),
            generation: Generation::default(),
            controllers: Controllers {
                configured: 0,
                grace: Duration::ZERO,
                gone_since: now,
                is_failed_open: false,
            },
        };
        state.add_default_rule(now);
        self.bridges.insert(id, state);
        self.is_dirty = true;
        Ok(id)
    }

    /// Removes a bridge with its ports; its connections are to be closed.
    pub fn bridge_del(&mut self, id: BridgeId) -> Result<(), Error> {
        self.bridges.remove(&id).ok_or(Error::NoSuchBridge)?;
        Arc::make_mut(&mut self.dp_ports).retain(|_, (bridge, _)| *bridge != id);
        for conn in self.conns.values().filter(|c| c.bridge == id) {
            self.effects.push_back(Effect::Disconnect { conn: conn.id });
        }
        self.conns.retain(|_, c| c.bridge != id);
        self.unlink_patches(id, None);
        self.is_dirty = true;
        Ok(())
    }

    pub fn bridge_by_name(&self, name: &str) -> Option<BridgeId> {
        self.bridges
            .values()
            .find(|b| &*b.view.name == name)
            .map(|b| b.view.id)
    }

    /// The bridge as the next snapshot will show it, except for its flow tables.
    pub fn bridge(&self, id: BridgeId) -> Option<&Bridge> {
        self.bridges.get(&id).map(|b| &*b.view)
    }

    /// A bridge's flow tables, to look at.
    pub fn tables(&self, id: BridgeId) -> Option<&FlowTables> {
        self.bridges.get(&id).map(|b| &b.tables)
    }

    pub fn set_datapath_id(&mut self, id: BridgeId, datapath_id: u64) -> Result<(), Error> {
        self.change(id, |b| b.datapath_id = datapath_id)
    }

    pub fn set_hw_addr(&mut self, id: BridgeId, hw_addr: EthAddr) -> Result<(), Error> {
        self.change(id, |b| b.hw_addr = hw_addr)
    }

    pub fn set_forward_bpdu(&mut self, id: BridgeId, forward: bool) -> Result<(), Error> {
        self.change(id, |b| b.forward_bpdu = forward)
    }

    /// What `OFPMP_DESC` answers.
    pub fn set_desc(&mut self, id: BridgeId, desc: Desc) -> Result<(), Error> {
        self.state(id)?.desc = desc;
        Ok(())
    }

    /// Sets the fail mode. A bridge without controllers starts over with the tables that the mode
    /// gives it.
    pub fn set_fail_mode(
        &mut self,
        id: BridgeId,
        fail_mode: FailMode,
        now: Instant,
    ) -> Result<(), Error> {
        let bridge = self.state(id)?;
        if bridge.view.fail_mode == fail_mode {
            return Ok(());
        }
        Arc::make_mut(&mut bridge.view).fail_mode = fail_mode;
        self.is_dirty = true;
        if self.state(id)?.controllers.configured == 0 {
            self.flush_flows(id, now);
        }
        self.update_fail_open(id, now);
        Ok(())
    }

    /// Says how many controllers the database names, and after how long without any of them the
    /// fail mode takes effect (three times the longest inactivity probe). Getting the first or
    /// losing the last one empties the flow tables.
    pub fn set_controllers(
        &mut self,
        id: BridgeId,
        configured: usize,
        grace: Duration,
        now: Instant,
    ) -> Result<(), Error> {
        let controllers = &mut self.state(id)?.controllers;
        let had = controllers.configured != 0;
        controllers.configured = configured;
        controllers.grace = grace;
        if had != (configured != 0) {
            controllers.gone_since = now;
            self.flush_flows(id, now);
        }
        self.update_fail_open(id, now);
        Ok(())
    }

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

    /// Configures a flow table.
    pub fn set_table_conf(
        &mut self,
        id: BridgeId,
        table_id: u8,
        conf: TableConf,
    ) -> Result<(), Error> {
        self.state(id)?.tables.set_conf(table_id, conf);
        Ok(())
    }

    /// Deletes every flow; what the fail mode puts into empty tables comes back.
    pub fn flush_flows(&mut self, id: BridgeId, now: Instant) {
        let Some(bridge) = self.bridges.get_mut(&id) else {
            return;
        };
        let removed = bridge.tables.flush();
        bridge.controllers.is_failed_open = false;
        bridge.add_default_rule(now);
        self.flows_removed(id, &removed, now);
        self.update_fail_open(id, now);
    }

    /// Notes that a station was seen; true when translation would now answer differently.
    pub fn learn_mac(
        &mut self,
        id: BridgeId,
        vlan: u16,
        mac: EthAddr,
        port: OfPort,
        now: Instant,
    ) -> bool {
        let Some(bridge) = self.bridges.get_mut(&id) else {
            return false;
        };
        if !bridge.view.ports.by_number.contains_key(&port) {
            return false;
        }
        match bridge.macs.learn(now, vlan, mac, port) {
            Learned::New | Learned::Moved => {
                self.macs_changed(id);
                true
            }
            Learned::Refreshed => false,
        }
    }

    /// As [`Ofproto::learn_mac`], for packets that went through the datapath's cache: a station that
    /// has moved since stays where it is.
    pub fn refresh_mac(
        &mut self,
        id: BridgeId,
        vlan: u16,
        mac: EthAddr,
        port: OfPort,
        now: Instant,
    ) -> bool {
        let seen = self.macs(id).and_then(|m| m.lookup(vlan, mac));
        seen.is_none_or(|p| p == port) && self.learn_mac(id, vlan, mac, port, now)
    }

    /// The MAC table, to look at.
    pub fn macs(&self, id: BridgeId) -> Option<&MacTable> {
        self.bridges.get(&id).map(|b| &b.macs)
    }

    /// Changes the MAC table: flushes it, or sets its limits.
    pub fn modify_macs<T>(
        &mut self,
        id: BridgeId,
        change: impl FnOnce(&mut MacTable) -> T,
    ) -> Result<T, Error> {
        let result = change(&mut self.state(id)?.macs);
        self.macs_changed(id);
        Ok(result)
    }

    /// A connection finished its handshake.
    pub fn conn_open(
        &mut self,
        id: BridgeId,
        kind: ConnKind,
        version: Version,
        now: Instant,
    ) -> Result<ConnId, Error> {
        if !self.bridges.contains_key(&id) {
            return Err(Error::NoSuchBridge);
        }
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.conns.insert(conn, Conn::new(conn, id, kind, version));
        self.conns_changed(id, now);
        Ok(conn)
    }

    /// A connection was lost or closed; effects for it that are left are void.
    pub fn conn_close(&mut self, conn: ConnId, now: Instant) {
        let Some(conn) = self.conns.remove(&conn) else {
            return;
        };
        if let Some(bridge) = self.bridges.get_mut(&conn.bridge)
            && conn.kind == ConnKind::Controller
        {
            bridge.controllers.gone_since = now;
        }
        self.conns_changed(conn.bridge, now);
    }

    pub fn conn(&self, conn: ConnId) -> Option<&Conn> {
        self.conns.get(&conn)
    }

    /// Brings what depends on the connections of a bridge up to date.
    pub(crate) fn conns_changed(&mut self, id: BridgeId, now: Instant) {
        let conns = || self.conns.values().filter(|c| c.bridge == id);
        let on_miss = conns().any(Conn::wants_misses);
        let connected = conns().any(|c| c.kind == ConnKind::Controller);
        let Some(bridge) = self.bridges.get_mut(&id) else {
            return;
        };
        if bridge.view.packet_in_on_miss != on_miss || bridge.view.controller_connected != connected
        {
            let view = Arc::make_mut(&mut bridge.view);
            view.packet_in_on_miss = on_miss;
            view.controller_connected = connected;
            self.is_dirty = true;
        }
        self.update_fail_open(id, now);
    }

    /// Tells the controllers that asked about rules that are gone.
    pub(crate) fn flows_removed(&mut self, id: BridgeId, removed: &[Removed], now: Instant) {
        for Removed { rule, reason } in removed {
            if !rule.flags.send_flow_rem || rule.is_hidden() {
                continue;
            }
            for conn in self.conns.values() {
                if conn.bridge != id || !conn.wants_flow_removed(*reason) {
                    continue;
                }
                self.effects.push_back(Effect::Send {
                    conn: conn.id,
                    xid: 0,
                    message: Message::FlowRemoved(FlowRemoved {
                        fields: rule.to_match(),
                        priority: u16::try_from(rule.priority).unwrap_or(u16::MAX),
                        reason: *reason,
                        table_id: Some(rule.table_id),
                        cookie: rule.cookie,
                        duration: now.saturating_duration_since(rule.created),
                        idle_timeout: rule.idle_timeout,
                        hard_timeout: rule.hard_timeout,
                        packet_count: rule.stats.packets(),
                        byte_count: rule.stats.bytes(),
                    }),
                });
            }
        }
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
    fn unlink_patches(&mut self, id: BridgeId, number: Option<OfPort>) {
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

    fn macs_changed(&mut self, id: BridgeId) {
        if let Some(bridge) = self.bridges.get_mut(&id) {
            Arc::make_mut(&mut bridge.view).macs = bridge.macs.view();
            self.is_dirty = true;
        }
    }

    /// When a bridge is going to forward by itself, if no controller comes.
    fn fail_open_at(&self, bridge: &BridgeState) -> Option<Instant> {
        let c = &bridge.controllers;
        let waits = c.configured != 0
            && bridge.view.fail_mode == FailMode::Standalone
            && !bridge.view.controller_connected
            && !c.is_failed_open;
        waits.then(|| c.gone_since + c.grace)
    }

    /// Puts the rule in or out that forwards while controllers are gone.
    fn update_fail_open(&mut self, id: BridgeId, now: Instant) {
        let Some(bridge) = self.bridges.get(&id) else {
            return;
        };
        let is_due = self.fail_open_at(bridge).is_some_and(|at| at <= now);
        let Some(bridge) = self.bridges.get_mut(&id) else {
            return;
        };
        if is_due {
            tracing::warn!(
                bridge = &*bridge.view.name,
                "no controller is connected: forwarding as a standalone switch"
            );
            bridge.add_normal_rule(FAIL_OPEN_PRIORITY, now);
            bridge.controllers.is_failed_open = true;
            return;
        }
        let must_end = bridge.controllers.configured == 0
            || bridge.view.fail_mode == FailMode::Secure
            || bridge.view.controller_connected;
        if bridge.controllers.is_failed_open && must_end {
            bridge
                .tables
                .remove_internal(FAIL_OPEN_PRIORITY, &Match::new());
            bridge.controllers.is_failed_open = false;
        }
    }

    fn state(&mut self, id: BridgeId) -> Result<&mut BridgeState, Error> {
        self.bridges.get_mut(&id).ok_or(Error::NoSuchBridge)
    }

    fn change(&mut self, id: BridgeId, change: impl FnOnce(&mut Bridge)) -> Result<(), Error> {
        change(Arc::make_mut(&mut self.state(id)?.view));
        self.is_dirty = true;
        Ok(())
    }
}

impl BridgeState {
    /// An empty table 0 of a standalone bridge that no controller is to fill forwards as an
    /// ordinary switch.
    fn add_default_rule(&mut self, now: Instant) {
        if self.controllers.configured == 0 && self.view.fail_mode == FailMode::Standalone {
            self.add_normal_rule(0, now);
        }
    }

    fn add_normal_rule(&mut self, priority: u32, now: Instant) {
        let actions = vec![Action::output(OfPort::NORMAL)];
        let added = self
            .tables
            .add_internal(priority, &Match::new(), actions, now);
        debug_assert!(added.is_ok(), "an empty match has no field to refuse");
    }
}

fn default_desc() -> Desc {
    Desc {
        mfr_desc: "Sluice".to_owned(),
        hw_desc: "eBPF datapath".to_owned(),
        sw_desc: env!("CARGO_PKG_VERSION").to_owned(),
        serial_num: "None".to_owned(),
        dp_desc: "None".to_owned(),
    }
}
