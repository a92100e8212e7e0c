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

mod fail_mode;
mod ports;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::HashMap;
use openflow::message::{Desc, FlowRemoved, TableStatus};
use openflow::{Message, Version};
use packet::{DpMeter, DpPort, EthAddr, OfPort};

use fail_mode::Controllers;

use crate::bundle::IDLE_TIMEOUT;
use crate::classifier::Classifier;
use crate::conn::{Conn, ConnId, ConnKind, Generation};
use crate::flows_reply::FlowsReply;
use crate::group::Groups;
use crate::mac_learning::{Learned, MacTable};
use crate::meter::{self, Meters};
use crate::rule::Rule;
use crate::snapshot::{Bridge, BridgeId, FailMode, Snapshot, Tables};
use crate::table::{Change, FlowTables, Removed, TableConf};
use crate::tlv::TlvMaps;
use crate::upcall::PacketOut;

/// All bridges and the connections to them.
#[derive(Debug)]
pub struct Ofproto {
    pub(crate) bridges: BTreeMap<BridgeId, BridgeState>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    dp_ports: Arc<HashMap<DpPort, (BridgeId, OfPort)>>,
    published: Arc<Snapshot>,
    is_dirty: bool,
    pub(crate) effects: VecDeque<Effect>,
    retired: Retired,
    /// The datapath's meters, which bridges share.
    pub(crate) meter_numbers: meter::Numbers,
    next_bridge: u32,
    next_conn: u64,
    pub(crate) bundle_idle_timeout: Duration,
    pub(crate) seed: u64,
}

/// What the last large deletion took out, until there is time to free its memory.
#[derive(Default, Debug)]
struct Retired {
    rules: Vec<Arc<Rule>>,
    /// Tables as they were before. As long as their rules are kept here, too, freeing a table is
    /// short, so tables go first.
    tables: Vec<Arc<Classifier<Rule>>>,
}

/// A deletion of so many rules does not wait until their memory is free.
const CROWD: usize = 1024;

/// What somebody else has to do, in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Send a message.
    Send {
        conn: ConnId,
        xid: u32,
        message: Message,
    },
    /// Send flows, in as many messages as it takes.
    SendFlows {
        conn: ConnId,
        xid: u32,
        reply: FlowsReply,
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
    PacketOut(PacketOut),
    /// Read the counters of these ports and give them to [`Ofproto::handle_port_stats`].
    ReadPortStats {
        conn: ConnId,
        xid: u32,
        bridge: BridgeId,
        ports: Vec<OfPort>,
    },
    /// Tell the datapath of a meter.
    ChangeMeter(meter::Change),
    /// Read what these meters have counted and give it to [`Ofproto::handle_meter_stats`]; each
    /// has OpenFlow's number before the datapath's. One that the datapath has not got goes back
    /// with zeros.
    ReadMeterStats {
        conn: ConnId,
        xid: u32,
        meters: Vec<(u32, Option<DpMeter>)>,
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
    /// What goes into the next snapshot, except for `tables` and `macs`; its groups are the only
    /// table of them.
    pub view: Arc<Bridge>,
    pub tables: FlowTables,
    pub meters: Meters,
    pub macs: MacTable,
    pub desc: Desc,
    pub tlv_maps: TlvMaps,
    pub port_added: BTreeMap<OfPort, Instant>,
    pub generation: Generation,
    /// Of the controllers that it is to have.
    pub targets: BTreeSet<String>,
    controllers: Controllers,
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
            retired: Retired::default(),
            meter_numbers: meter::Numbers::default(),
            next_bridge: 0,
            next_conn: 0,
            bundle_idle_timeout: IDLE_TIMEOUT,
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
            .chain(self.next_bundle_timeout())
            .min()
    }

    /// Expires rules and MAC addresses, applies fail modes, sends packets that had to wait.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.drain_packet_ins(now);
        self.expire_bundles(now);
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
            self.flows_removed(id, removed, now);
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
                groups: Groups::default(),
                meters: meter::MeterView::default(),
                macs: macs.view(),
                packet_in_on_miss: false,
                controller_connected: false,
                forward_bpdu: false,
            }),
            tables: FlowTables::new(self.seed),
            meters: Meters::default(),
            macs,
            desc: default_desc(),
            tlv_maps: TlvMaps::default(),
            port_added: BTreeMap::new(),
            generation: Generation::default(),
            targets: BTreeSet::new(),
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
        let bridge = self.bridges.remove(&id).ok_or(Error::NoSuchBridge)?;
        for meter in bridge.view.meters.values() {
            self.meter_numbers.give_back(meter.number);
            let change = meter::Change::Delete(meter.number);
            self.effects.push_back(Effect::ChangeMeter(change));
        }
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

    /// Configures a flow table; flows beyond a lowered limit give way, where flows may.
    pub fn set_table_conf(
        &mut self,
        id: BridgeId,
        table_id: u8,
        conf: TableConf,
        now: Instant,
    ) -> Result<(), Error> {
        let evicted = self.state(id)?.tables.set_conf(table_id, conf);
        self.flows_removed(id, evicted, now);
        Ok(())
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
        self.controller_gone(&conn);
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

    /// As [`Ofproto::flows_changed`], for rules that the switch itself took out.
    pub(crate) fn flows_removed(&mut self, id: BridgeId, removed: Vec<Removed>, now: Instant) {
        let changes: Vec<Change> = removed.into_iter().map(Change::Removed).collect();
        self.flows_changed(id, &changes, None, now);
    }

    /// Tells the controllers that asked about changes to rules. `by` is the connection that made
    /// them and its request's transaction id.
    pub(crate) fn flows_changed(
        &mut self,
        id: BridgeId,
        changes: &[Change],
        by: Option<(ConnId, u32)>,
        now: Instant,
    ) {
        self.monitor_changes(id, changes, by);
        self.tell_vacancies(id, changes);
        let mut conns = self.conns.values().filter(|c| c.bridge == id);
        if !conns.any(Conn::is_listening) {
            return;
        }
        for Removed { rule, reason } in changes.iter().filter_map(Change::removed) {
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

    /// Keeps what a large deletion took out, so that who asked for it does not wait until all of
    /// the memory is free. What is left of the one before is freed now.
    pub(crate) fn retire(&mut self, id: BridgeId, changes: Vec<Change>) {
        let bridge = self.bridges.get_mut(&id);
        let tables = bridge.map_or_else(Vec::new, |bridge| bridge.tables.take_cleared());
        let removed = changes.into_iter().filter_map(|change| match change {
            Change::Removed(removed) => Some(removed.rule),
            Change::Added { .. } | Change::Modified { .. } => None,
        });
        let rules: Vec<Arc<Rule>> = removed.collect();
        if rules.len() >= CROWD {
            self.retired = Retired { rules, tables };
        }
    }

    /// Is there memory to be freed when there is time? Tables that a snapshot in use still shows
    /// have to wait.
    pub fn has_retired(&self) -> bool {
        match self.retired.tables.last() {
            Some(table) => Arc::strong_count(table) == 1,
            None => !self.retired.rules.is_empty(),
        }
    }

    /// Frees the memory of a table, or of up to `n` rules.
    pub fn free_retired(&mut self, n: usize) {
        let Retired { rules, tables } = &mut self.retired;
        if let Some(table) = tables.pop_if(|table| Arc::strong_count(table) == 1) {
            drop(table);
        } else if tables.is_empty() {
            rules.truncate(rules.len().saturating_sub(n));
            if rules.is_empty() {
                *rules = Vec::new();
            }
        }
    }

    /// Tells the controllers that want to know about tables that got full or empty.
    fn tell_vacancies(&mut self, id: BridgeId, changes: &[Change]) {
        let Some(bridge) = self.bridges.get_mut(&id) else {
            return;
        };
        if !bridge.tables.watches_vacancy() {
            return;
        }
        let tables: BTreeSet<u8> = changes.iter().map(Change::table_id).collect();
        for table_id in tables {
            let Some(reason) = bridge.tables.vacancy_event(table_id) else {
                continue;
            };
            let table = crate::request::table_desc(&bridge.tables, table_id);
            for conn in self.conns.values().filter(|c| c.bridge == id) {
                if conn.wants_table_status(reason) {
                    self.effects.push_back(Effect::Send {
                        conn: conn.id,
                        xid: 0,
                        message: Message::TableStatus(TableStatus { reason, table }),
                    });
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

    pub(crate) fn mark_dirty(&mut self) {
        self.is_dirty = true;
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

fn default_desc() -> Desc {
    Desc {
        mfr_desc: "Sluice".to_owned(),
        hw_desc: "eBPF datapath".to_owned(),
        sw_desc: env!("CARGO_PKG_VERSION").to_owned(),
        serial_num: "None".to_owned(),
        dp_desc: "None".to_owned(),
    }
}
