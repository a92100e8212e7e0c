//! Answers to OpenFlow requests.
//!
//! [`Ofproto::handle_message`] takes a decoded message of a connection, does what it asks, and
//! queues replies and errors as effects. Each request is one short function that returns the
//! reply or the error; the caller of all of them turns errors into `OFPT_ERROR` with the whole
//! request in it.
//!
//! Source: OpenFlow 1.0.0, 5.3 and 5.4; OpenFlow 1.3.5, 7.3 and 7.4; ovs-vswitchd 3.1 for what
//! they leave open.

use std::time::Instant;

use bytes::Bytes;
use openflow::message::{
    AggregateStats, Capabilities, ErrorMessage, FlowMod, FlowStats, FlowStatsReply,
    FlowStatsRequest, FragHandling, NO_BUFFER, PacketOut, PortConfig, PortMod, PortStats,
    QueueStatsRequest, Role, RoleMessage, SwitchConfig, SwitchFeatures, TABLE_ALL, TableFeatures,
    TableMod, TableStats,
};
use openflow::{Message, OfError, OfPort, Version};

use crate::action_check;
use crate::conn::{Conn, ConnId};
use crate::ofproto::{BridgeState, Effect, Ofproto};
use crate::port::port_desc;
use crate::snapshot::{BridgeId, N_TABLES};

/// `max_entries` in table statistics, where the table has no limit of its own.
const ALL_WILDCARDS_10: u32 = (1 << 22) - 1;

/// Bits of a port's configuration that a port-mod may change.
const SETTABLE: PortConfig = PortConfig(
    PortConfig::PORT_DOWN.0
        | PortConfig::NO_STP.0
        | PortConfig::NO_RECV.0
        | PortConfig::NO_RECV_STP.0
        | PortConfig::NO_FLOOD.0
        | PortConfig::NO_FWD.0
        | PortConfig::NO_PACKET_IN.0,
);

impl Ofproto {
    /// Carries out a message that came on `conn`; `raw` is the whole of it, for error replies.
    ///
    /// A message on a connection that is not there does nothing.
    pub fn handle_message(
        &mut self,
        conn: ConnId,
        xid: u32,
        message: Message,
        raw: &Bytes,
        now: Instant,
    ) {
        match self.request(conn, xid, message, now) {
            Ok(Some(reply)) => self.send(conn, xid, reply),
            Ok(None) => {}
            Err(error) => self.send(
                conn,
                xid,
                Message::Error(ErrorMessage::Known {
                    error,
                    data: raw.clone(),
                }),
            ),
        }
    }

    /// Counters that [`Effect::ReadPortStats`] asked for; durations are filled in here.
    pub fn handle_port_stats(
        &mut self,
        conn: ConnId,
        xid: u32,
        mut stats: Vec<PortStats>,
        now: Instant,
    ) {
        let Some(bridge) = self.conns.get(&conn).map(|c| c.bridge) else {
            return;
        };
        let Some(bridge) = self.bridges.get(&bridge) else {
            return;
        };
        for port in &mut stats {
            let added = bridge.port_added.get(&port.port);
            port.duration = added.map(|at| now.saturating_duration_since(*at));
        }
        self.send(conn, xid, Message::PortStatsReply(stats));
    }

    fn send(&mut self, conn: ConnId, xid: u32, message: Message) {
        if self.conns.contains_key(&conn) {
            self.effects.push_back(Effect::Send { conn, xid, message });
        }
    }

    fn request(
        &mut self,
        id: ConnId,
        xid: u32,
        message: Message,
        now: Instant,
    ) -> Result<Option<Message>, OfError> {
        let Some(conn) = self.conns.get_mut(&id) else {
            return Ok(None);
        };
        let Some(bridge) = self.bridges.get_mut(&conn.bridge) else {
            return Ok(None);
        };
        let reply = match message {
            Message::Hello(_) | Message::EchoReply(_) | Message::Error(_) => return Ok(None),
            Message::EchoRequest(data) => Message::EchoReply(data),
            Message::FeaturesRequest => features(bridge, conn.version),
            Message::GetConfigRequest => get_config(conn),
            Message::SetConfig(config) => {
                set_config(conn, config)?;
                let bridge = conn.bridge;
                self.conns_changed(bridge, now);
                return Ok(None);
            }
            Message::PacketOut(request) => {
                conn.check_not_slave()?;
                let effect = packet_out(bridge, conn, request)?;
                self.effects.push_back(effect);
                return Ok(None);
            }
            Message::FlowMod(request) => {
                conn.check_not_slave()?;
                let (bridge, version) = (conn.bridge, conn.version);
                self.flow_mod(bridge, &request, version, now)?;
                return Ok(None);
            }
            Message::PortMod(request) => {
                conn.check_not_slave()?;
                self.port_mod(id, &request)?;
                return Ok(None);
            }
            Message::TableMod(request) => {
                conn.check_not_slave()?;
                table_mod(request)?;
                return Ok(None);
            }
            Message::BarrierRequest => {
                let version = self.version();
                self.effects.push_back(Effect::SendAfter {
                    conn: id,
                    xid,
                    message: Message::BarrierReply,
                    version,
                });
                return Ok(None);
            }
            Message::QueueGetConfigRequest { port } => {
                if port != OfPort::ANY && !has_port(bridge, port) {
                    return Err(OfError::QofcBadPort);
                }
                let queues = Vec::new();
                Message::QueueGetConfigReply { port, queues }
            }
            Message::RoleRequest(request) => {
                let reply = self.role(id, request)?;
                let bridge = self.conns.get(&id).map(|c| c.bridge);
                if let Some(bridge) = bridge {
                    self.conns_changed(bridge, now);
                }
                reply
            }
            Message::GetAsyncRequest => Message::GetAsyncReply(conn.async_config()),
            Message::SetAsync { config, .. } => {
                conn.set_async(config);
                let bridge = conn.bridge;
                self.conns_changed(bridge, now);
                return Ok(None);
            }
            Message::SetFlowFormat(format) => {
                conn.flow_format = format;
                return Ok(None);
            }
            // The decoder reads flow-mods accordingly.
            Message::SetFlowModTableId(_) => return Ok(None),
            Message::SetPacketInFormat(format) => {
                conn.packet_in_format = format;
                return Ok(None);
            }
            Message::SetControllerId(controller_id) => {
                conn.controller_id = controller_id;
                let bridge = conn.bridge;
                self.conns_changed(bridge, now);
                return Ok(None);
            }
            Message::DescRequest => Message::DescReply(bridge.desc.clone()),
            Message::FlowStatsRequest(request) => flow_stats(bridge, &request, now)?,
            Message::AggregateRequest(request) => aggregate(bridge, &request)?,
            Message::TableStatsRequest => table_stats(bridge),
            Message::TableFeaturesRequest => table_features(bridge),
            Message::PortStatsRequest { port } => {
                let effect = read_port_stats(bridge, id, xid, port);
                self.effects.push_back(effect);
                return Ok(None);
            }
            Message::QueueStatsRequest(request) => queue_stats(bridge, request)?,
            Message::PortDescRequest => Message::PortDescReply(port_descs(bridge)),
            Message::Refused(refused) => return Err(refused.error),
            // What only switches send.
            Message::FeaturesReply(_)
            | Message::GetConfigReply(_)
            | Message::PacketIn(_)
            | Message::FlowRemoved(_)
            | Message::PortStatus(_)
            | Message::BarrierReply
            | Message::QueueGetConfigReply { .. }
            | Message::RoleReply(_)
            | Message::GetAsyncReply(_) => return Err(OfError::BrcBadType),
            Message::DescReply(_)
            | Message::FlowStatsReply(_)
            | Message::AggregateReply { .. }
            | Message::TableStatsReply(_)
            | Message::TableFeaturesReply(_)
            | Message::PortStatsReply(_)
            | Message::QueueStatsReply(_)
            | Message::PortDescReply(_) => return Err(OfError::BrcBadStat),
        };
        Ok(Some(reply))
    }

    /// Carries out a flow-mod as if a connection of `version` had sent it.
    ///
    /// Errors: those of `action_check` and `FlowTables::flow_mod`.
    pub fn flow_mod(
        &mut self,
        bridge: BridgeId,
        request: &FlowMod,
        version: Version,
        now: Instant,
    ) -> Result<(), OfError> {
        let Some(state) = self.bridges.get_mut(&bridge) else {
            return Ok(());
        };
        action_check::check_flow_mod(request, version)?;
        let removed = state.tables.flow_mod(request, version, now)?;
        self.flows_removed(bridge, &removed, now);
        Ok(())
    }

    fn port_mod(&mut self, id: ConnId, request: &PortMod) -> Result<(), OfError> {
        let Some(conn) = self.conns.get(&id) else {
            return Ok(());
        };
        let (bridge, version) = (conn.bridge, conn.version);
        let state = self.bridges.get(&bridge).ok_or(OfError::PmfcBadPort)?;
        let port = state.view.port(request.port).ok_or(OfError::PmfcBadPort)?;
        if port.hw_addr != request.hw_addr {
            return Err(OfError::PmfcBadHwAddr);
        }
        if request.mask.0 & !SETTABLE.0 != 0 && version != Version::Of10 {
            return Err(OfError::PmfcBadConfig);
        }
        let mask = request.mask.0 & SETTABLE.0;
        let config = PortConfig(port.config.0 & !mask | request.config.0 & mask);
        self.port_modify_by(bridge, request.port, Some(id), |port| port.config = config)
            .map_err(|_| OfError::PmfcBadPort)
    }

    /// Source: OpenFlow 1.3.5, 6.3.6.
    fn role(&mut self, id: ConnId, request: RoleMessage) -> Result<Message, OfError> {
        let Some(conn) = self.conns.get(&id) else {
            return Err(OfError::BrcEperm);
        };
        let bridge = conn.bridge;
        let role = match request.role {
            Role::NoChange => conn.role,
            role => role,
        };
        let Some(state) = self.bridges.get_mut(&bridge) else {
            return Err(OfError::BrcEperm);
        };
        if matches!(request.role, Role::Master | Role::Slave)
            && let Some(generation) = request.generation_id
        {
            state.generation.update(generation)?;
        }
        let generation_id = state.generation.last();
        if request.role == Role::Master {
            for other in self.conns.values_mut() {
                if other.bridge == bridge && other.id != id && other.role == Role::Master {
                    other.role = Role::Slave;
                }
            }
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.role = role;
        }
        Ok(Message::RoleReply(RoleMessage {
            flavor: request.flavor,
            role,
            generation_id,
        }))
    }
}

fn has_port(bridge: &BridgeState, port: OfPort) -> bool {
    bridge.view.port(port).is_some()
}

fn port_descs(bridge: &BridgeState) -> Vec<openflow::message::PortDesc> {
    let ports = bridge.view.ports.by_number.values();
    ports.map(|p| port_desc(p)).collect()
}

fn features(bridge: &BridgeState, version: Version) -> Message {
    /// `OFPAT_*` 0 to 10: all actions of OpenFlow 1.0 but enqueue.
    const ACTIONS_10: u32 = (1 << 11) - 1;
    Message::FeaturesReply(SwitchFeatures {
        datapath_id: bridge.view.datapath_id,
        n_buffers: 0,
        n_tables: N_TABLES as u8,
        auxiliary_id: 0,
        capabilities: Capabilities::FLOW_STATS
            | Capabilities::TABLE_STATS
            | Capabilities::PORT_STATS
            | Capabilities::QUEUE_STATS
            | Capabilities::ARP_MATCH_IP,
        actions: ACTIONS_10,
        ports: match version {
            Version::Of10 => port_descs(bridge),
            Version::Of13 => Vec::new(),
        },
    })
}

fn get_config(conn: &Conn) -> Message {
    Message::GetConfigReply(SwitchConfig {
        frag: FragHandling::Normal,
        invalid_ttl_to_controller: conn.invalid_ttl,
        miss_send_len: conn.miss_send_len,
    })
}

fn set_config(conn: &mut Conn, config: SwitchConfig) -> Result<(), OfError> {
    // Fragments are always matched as they come.
    if config.frag != FragHandling::Normal {
        return Err(OfError::ScfcBadFlags);
    }
    conn.invalid_ttl = config.invalid_ttl_to_controller;
    conn.miss_send_len = config.miss_send_len;
    Ok(())
}

fn packet_out(bridge: &BridgeState, conn: &Conn, request: PacketOut) -> Result<Effect, OfError> {
    if request.buffer_id != NO_BUFFER {
        return Err(OfError::BrcBufferUnknown);
    }
    let in_port = request.in_port;
    let is_special = matches!(in_port, OfPort::CONTROLLER | OfPort::ANY | OfPort::LOCAL);
    if in_port > OfPort::MAX && !is_special {
        return Err(OfError::BrcBadPort);
    }
    action_check::check_packet_out(&request.actions, conn.version)?;
    Ok(Effect::PacketOut {
        bridge: bridge.view.id,
        in_port,
        actions: request.actions,
        packet: request.data,
    })
}

/// OpenFlow 1.3 gives a table-mod nothing to change.
fn table_mod(request: TableMod) -> Result<(), OfError> {
    if request.table_id != TABLE_ALL && usize::from(request.table_id) >= N_TABLES {
        return Err(OfError::TmfcBadTable);
    }
    // The two bits that 1.3 keeps for compatibility have no effect there.
    if request.config & !3 != 0 {
        return Err(OfError::TmfcBadConfig);
    }
    Ok(())
}

fn flow_stats(
    bridge: &BridgeState,
    request: &FlowStatsRequest,
    now: Instant,
) -> Result<Message, OfError> {
    let rules = bridge.tables.stats(request)?;
    let secs = |since: Instant| {
        let secs = now.saturating_duration_since(since).as_secs();
        Some(u16::try_from(secs).unwrap_or(u16::MAX))
    };
    let flows = rules
        .iter()
        .map(|rule| FlowStats {
            fields: rule.to_match(),
            cookie: rule.cookie,
            table_id: rule.table_id,
            priority: u16::try_from(rule.priority).unwrap_or(u16::MAX),
            idle_timeout: rule.idle_timeout,
            hard_timeout: rule.hard_timeout,
            duration: now.saturating_duration_since(rule.created),
            idle_age: secs(rule.stats.used()),
            hard_age: secs(rule.modified),
            packet_count: rule.stats.packets(),
            byte_count: rule.stats.bytes(),
            flags: rule.flags,
            actions: rule.actions.to_vec(),
        })
        .collect();
    Ok(Message::FlowStatsReply(FlowStatsReply {
        flavor: request.flavor,
        flows,
    }))
}

fn aggregate(bridge: &BridgeState, request: &FlowStatsRequest) -> Result<Message, OfError> {
    let mut stats = AggregateStats::default();
    for rule in bridge.tables.stats(request)? {
        stats.packet_count = stats.packet_count.saturating_add(rule.stats.packets());
        stats.byte_count = stats.byte_count.saturating_add(rule.stats.bytes());
        stats.flow_count = stats.flow_count.saturating_add(1);
    }
    Ok(Message::AggregateReply {
        flavor: request.flavor,
        stats,
    })
}

fn table_stats(bridge: &BridgeState) -> Message {
    let tables = (0..N_TABLES as u8).map(|table_id| {
        let conf = bridge.tables.conf(table_id);
        let (lookup_count, matched_count) = bridge.view.tables.counters(table_id);
        TableStats {
            table_id,
            name: match conf.name.is_empty() {
                true => format!("table{table_id}"),
                false => conf.name,
            },
            wildcards: ALL_WILDCARDS_10,
            max_entries: u32::try_from(conf.max_rules).unwrap_or(u32::MAX),
            active_count: u32::try_from(bridge.tables.table_len(table_id)).unwrap_or(u32::MAX),
            lookup_count,
            matched_count,
        }
    });
    Message::TableStatsReply(tables.collect())
}

fn table_features(bridge: &BridgeState) -> Message {
    let tables = (0..N_TABLES as u8).map(|table_id| {
        let conf = bridge.tables.conf(table_id);
        let max_entries = u32::try_from(conf.max_rules).unwrap_or(u32::MAX);
        let mut features = TableFeatures::supported(table_id, N_TABLES as u8, max_entries);
        features.name = conf.name;
        features
    });
    Message::TableFeaturesReply(tables.collect())
}

fn read_port_stats(bridge: &BridgeState, conn: ConnId, xid: u32, port: OfPort) -> Effect {
    let ports = bridge.view.ports.by_number.keys().copied();
    Effect::ReadPortStats {
        conn,
        xid,
        bridge: bridge.view.id,
        ports: ports
            .filter(|p| port == OfPort::ANY || *p == port)
            .collect(),
    }
}

/// No port has queues: a request about all of them has an empty answer.
fn queue_stats(bridge: &BridgeState, request: QueueStatsRequest) -> Result<Message, OfError> {
    if request.port != OfPort::ANY && !has_port(bridge, request.port) {
        return Err(OfError::QofcBadPort);
    }
    if request.queue != openflow::message::QUEUE_ALL {
        return Err(OfError::QofcBadQueue);
    }
    Ok(Message::QueueStatsReply(Vec::new()))
}
