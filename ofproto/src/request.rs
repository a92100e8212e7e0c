//! Answers to OpenFlow requests.
//!
//! [`Ofproto::handle_message`] takes a decoded message of a connection, does what it asks, and
//! queues replies and errors as effects. Each request is one short function that returns the
//! reply or the error; the caller of all of them turns errors into `OFPT_ERROR` with the whole
//! request in it.
//!
//! Source: OpenFlow 1.0.0, 5.3 and 5.4; OpenFlow 1.3.5, 7.3 and 7.4; ovs-vswitchd 3.1 for what
//! they leave open.

mod describe;
mod groups;
mod resume;

pub(crate) use describe::table_desc;

use std::time::Instant;

use bytes::Bytes;
use openflow::message::{
    ControllerStatusReason, ErrorMessage, FlowMod, FlowModCommand, FragHandling, NO_BUFFER,
    PacketOut, PortConfig, PortMod, PortStats, QUEUE_ALL, RequestForward, Role, RoleMessage,
    RoleReason, RoleStatus, SwitchConfig, TABLE_ALL, TableMod,
};
use openflow::{Field, Message, OfError, OfPort, Version};

use crate::action_check;
use crate::bundle;
use crate::conn::{Conn, ConnId};
use crate::flows_reply::Form;
use crate::meter;
use crate::ofproto::{BridgeState, Effect, Ofproto};
use crate::packet_in;
use crate::snapshot::{BridgeId, N_TABLES};
use crate::table::Change;
use crate::upcall::{self, Todo};

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
        match self.request(conn, xid, message, raw, now) {
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
        raw: &Bytes,
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
            Message::FeaturesRequest => describe::features(bridge, conn.version),
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
            Message::Resume(request) => {
                conn.check_not_slave()?;
                let name = packet_in::bridge_uuid(self.seed, bridge.view.id);
                let effect = resume::resume(bridge, conn, name, request)?;
                self.effects.push_back(effect);
                return Ok(None);
            }
            Message::FlowMod(request) => {
                conn.check_not_slave()?;
                let (bridge, version) = (conn.bridge, conn.version);
                let changes = self.flow_mod_start(bridge, &request, version, now)?;
                self.flows_changed(bridge, &changes, Some((id, xid)), now);
                self.retire(bridge, changes);
                check_buffer(&request)?;
                return Ok(None);
            }
            Message::GroupMod(request) => {
                conn.check_not_slave()?;
                let (bridge, version) = (conn.bridge, conn.version);
                self.group_mod(bridge, &request, version, now)?;
                self.forward_request(id, xid, Message::GroupMod(request));
                return Ok(None);
            }
            Message::MeterMod(request) => {
                conn.check_not_slave()?;
                let bridge = conn.bridge;
                self.meter_mod(bridge, &request, now)?;
                self.forward_request(id, xid, Message::MeterMod(request));
                return Ok(None);
            }
            Message::PortMod(request) => {
                conn.check_not_slave()?;
                self.check_port_mod(id, &request)?;
                self.port_mod(id, &request);
                return Ok(None);
            }
            Message::TableMod(request) => {
                conn.check_not_slave()?;
                table_mod(bridge, request, conn.version)?;
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
            Message::QueueGetConfigRequest { port, queue } => {
                if port != OfPort::ANY && !describe::has_port(bridge, port) {
                    return Err(OfError::QofcBadPort);
                }
                if queue != QUEUE_ALL {
                    return Err(OfError::QofcBadQueue);
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
            Message::ControllerStatusRequest => {
                let bridge = conn.bridge;
                Message::ControllerStatusReply(self.controller_statuses(bridge))
            }
            Message::GetAsyncRequest => Message::GetAsyncReply(conn.async_config()),
            Message::SetAsync { config, .. } => {
                conn.set_async(config);
                let bridge = conn.bridge;
                self.conns_changed(bridge, now);
                return Ok(None);
            }
            Message::SetAsyncProperties(properties) => {
                let mut config = conn.async_config();
                properties.into_iter().for_each(|p| config.set(p));
                conn.set_async(config);
                let bridge = conn.bridge;
                self.conns_changed(bridge, now);
                return Ok(None);
            }
            Message::TableDescRequest => describe::table_descs(bridge),
            Message::TlvTableMod(request) => {
                conn.check_not_slave()?;
                bridge.tlv_maps.change(&request)?;
                return Ok(None);
            }
            Message::TlvTableRequest => Message::TlvTableReply(bridge.tlv_maps.describe()),
            // There are no tracked connections yet.
            Message::CtFlush(_) | Message::CtFlushZone { .. } => {
                return Err(OfError::BrcBadSubtype);
            }
            Message::IpfixBridgeRequest | Message::IpfixFlowRequest => {
                return Err(OfError::NxstNotConfigured);
            }
            // Statistics are always up to date.
            Message::FlowAge => return Ok(None),
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
            Message::FlowStatsRequest(request) => {
                let form = Form::Stats(request.flavor);
                let reply = describe::flows(bridge, &request, form)?;
                let conn = id;
                self.effects
                    .push_back(Effect::SendFlows { conn, xid, reply });
                return Ok(None);
            }
            Message::AggregateRequest(request) => describe::aggregate(bridge, &request)?,
            Message::FlowCountsRequest(request) => {
                let reply = describe::flows(bridge, &request, Form::Counts)?;
                let conn = id;
                self.effects
                    .push_back(Effect::SendFlows { conn, xid, reply });
                return Ok(None);
            }
            Message::TableStatsRequest => describe::table_stats(bridge, conn.version),
            Message::TableFeaturesRequest(tables) if tables.is_empty() => {
                describe::table_features(bridge)
            }
            // Tables are as they are.
            Message::TableFeaturesRequest(_) => return Err(OfError::TffcEperm),
            Message::PortStatsRequest { port } => {
                let effect = describe::read_port_stats(bridge, id, xid, port);
                self.effects.push_back(effect);
                return Ok(None);
            }
            Message::QueueStatsRequest(request) => describe::queue_stats(bridge, request)?,
            Message::PortDescRequest { port } => {
                Message::PortDescReply(describe::port_descs(bridge, port))
            }
            Message::GroupStatsRequest { group_id } => groups::stats(bridge, group_id, now),
            Message::GroupDescRequest { group_id } => groups::descriptions(bridge, group_id),
            Message::GroupFeaturesRequest => groups::features(conn.version),
            Message::MeterStatsRequest { meter_id } => {
                let meters = groups::meters_to_read(bridge, meter_id)?;
                let conn = id;
                self.effects
                    .push_back(Effect::ReadMeterStats { conn, xid, meters });
                return Ok(None);
            }
            Message::MeterConfigRequest { meter_id } => groups::meter_configs(bridge, meter_id)?,
            Message::MeterFeaturesRequest => Message::MeterFeaturesReply(meter::features()),
            Message::BundleFeaturesRequest(request) => {
                Message::BundleFeaturesReply(bundle::features(&request)?)
            }
            Message::BundleControl(request) => self.bundle_control(id, request, raw, now)?,
            Message::BundleAdd(request) => {
                self.bundle_add(id, request, now)?;
                return Ok(None);
            }
            Message::FlowMonitorRequest(requests) => self.flow_monitor(id, &requests)?,
            Message::FlowMonitorCancel { id: monitor } => {
                conn.monitors.cancel(monitor)?;
                return Ok(None);
            }
            // What only switches send.
            Message::FeaturesReply(_)
            | Message::GetConfigReply(_)
            | Message::PacketIn(_)
            | Message::FlowRemoved(_)
            | Message::PortStatus(_)
            | Message::BarrierReply
            | Message::QueueGetConfigReply { .. }
            | Message::RoleReply(_)
            | Message::GetAsyncReply(_)
            | Message::RoleStatus(_)
            | Message::RequestForward(_)
            | Message::ControllerStatus(_)
            | Message::TableStatus(_)
            | Message::TlvTableReply(_)
            | Message::FlowMonitorPaused
            | Message::FlowMonitorResumed => return Err(OfError::BrcBadType),
            Message::BundleFeaturesReply(_)
            | Message::ControllerStatusReply(_)
            | Message::DescReply(_)
            | Message::FlowStatsReply(_)
            | Message::FlowCountsReply(_)
            | Message::FlowMonitorReply(_)
            | Message::TableDescReply(_)
            | Message::AggregateReply { .. }
            | Message::TableStatsReply(_)
            | Message::TableFeaturesReply(_)
            | Message::PortStatsReply(_)
            | Message::QueueStatsReply(_)
            | Message::PortDescReply(_)
            | Message::GroupStatsReply(_)
            | Message::GroupDescReply(_)
            | Message::GroupFeaturesReply(_)
            | Message::MeterStatsReply(_)
            | Message::MeterConfigReply(_)
            | Message::MeterFeaturesReply(_)
            | Message::IpfixBridgeReply(_)
            | Message::IpfixFlowReply(_) => return Err(OfError::BrcBadStat),
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
        let changes = self.flow_mod_start(bridge, request, version, now)?;
        self.flows_changed(bridge, &changes, None, now);
        check_buffer(request)
    }

    /// Changes the tables, and tells nobody.
    pub(crate) fn flow_mod_start(
        &mut self,
        bridge: BridgeId,
        request: &FlowMod,
        version: Version,
        now: Instant,
    ) -> Result<Vec<Change>, OfError> {
        let Some(state) = self.bridges.get_mut(&bridge) else {
            return Ok(Vec::new());
        };
        action_check::check_flow_mod(request, version, state.known())?;
        state.tables.flow_mod(request, version, now)
    }

    /// Errors: of the port-mod; without one, [`Ofproto::port_mod`] does it.
    pub(crate) fn check_port_mod(&self, id: ConnId, request: &PortMod) -> Result<(), OfError> {
        if let Some(property) = request.other.first() {
            return Err(property.refusal());
        }
        let conn = self.conns.get(&id).ok_or(OfError::PmfcBadPort)?;
        let state = self.bridges.get(&conn.bridge);
        let state = state.ok_or(OfError::PmfcBadPort)?;
        let port = state.view.port(request.port).ok_or(OfError::PmfcBadPort)?;
        if port.hw_addr != request.hw_addr {
            return Err(OfError::PmfcBadHwAddr);
        }
        if request.mask.0 & !SETTABLE.0 != 0 && conn.version != Version::Of10 {
            return Err(OfError::PmfcBadConfig);
        }
        Ok(())
    }

    /// Carries out a port-mod that was checked.
    pub(crate) fn port_mod(&mut self, id: ConnId, request: &PortMod) {
        let Some(bridge) = self.conns.get(&id).map(|c| c.bridge) else {
            return;
        };
        let mask = request.mask.0 & SETTABLE.0;
        // Only a port that is not there could fail, and the check has found it.
        let _ = self.port_modify_by(bridge, request.port, Some(id), |port| {
            port.config = PortConfig(port.config.0 & !mask | request.config.0 & mask);
        });
    }

    /// Tells the other controllers that want to know what one of them asked for.
    pub(crate) fn forward_request(&mut self, from: ConnId, xid: u32, request: Message) {
        let Some(bridge) = self.conns.get(&from).map(|c| c.bridge) else {
            return;
        };
        let others = self
            .conns
            .values()
            .filter(|c| c.bridge == bridge && c.id != from);
        let forward = RequestForward {
            xid,
            request: Box::new(request),
        };
        for conn in others.filter(|c| c.wants_request(&forward.request)) {
            self.effects.push_back(Effect::Send {
                conn: conn.id,
                xid: 0,
                message: Message::RequestForward(forward.clone()),
            });
        }
    }

    /// Errors: `OFPRRFC_STALE`, `OFPRRFC_ID_IN_USE`; then nothing has changed.
    ///
    /// Source: OpenFlow 1.3.5, 6.3.6; OpenFlow 1.5.1, 7.3.8.
    fn role(&mut self, id: ConnId, request: RoleMessage) -> Result<Message, OfError> {
        let Some(conn) = self.conns.get(&id) else {
            return Err(OfError::BrcEperm);
        };
        let bridge = conn.bridge;
        let role = match request.role {
            Role::NoChange => conn.role,
            role => role,
        };
        let short_id = match request.short_id {
            0 => conn.short_id,
            wanted => {
                let mut others = self.conns.values().filter(|c| c.bridge == bridge);
                if others.any(|c| c.id != id && c.short_id == wanted) {
                    return Err(OfError::RrfcIdInUse);
                }
                wanted
            }
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
        let mut changed = Vec::new();
        if request.role == Role::Master {
            for other in self.conns.values_mut() {
                if other.bridge == bridge && other.id != id && other.role == Role::Master {
                    let is_told = other.wants_role_status(RoleReason::MasterRequest);
                    other.role = Role::Slave;
                    changed.push((other.id, ControllerStatusReason::Role));
                    if is_told {
                        self.effects.push_back(Effect::Send {
                            conn: other.id,
                            xid: 0,
                            message: Message::RoleStatus(RoleStatus {
                                role: Role::Slave,
                                reason: RoleReason::MasterRequest,
                                generation_id: generation_id.unwrap_or(u64::MAX),
                            }),
                        });
                    }
                }
            }
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            if std::mem::replace(&mut conn.role, role) != role {
                changed.push((id, ControllerStatusReason::Role));
            }
            if std::mem::replace(&mut conn.short_id, short_id) != short_id {
                changed.push((id, ControllerStatusReason::ShortId));
            }
        }
        for (conn, reason) in changed {
            self.controller_changed(conn, reason);
        }
        Ok(Message::RoleReply(RoleMessage {
            flavor: request.flavor,
            role,
            short_id,
            generation_id,
        }))
    }
}

/// The switch keeps no packets: a flow-mod that names one is done, and its sender told that the
/// packet is not there.
pub(crate) fn check_buffer(request: &FlowMod) -> Result<(), OfError> {
    let is_delete = matches!(
        request.command,
        FlowModCommand::Delete | FlowModCommand::DeleteStrict
    );
    match is_delete || request.buffer_id == NO_BUFFER {
        true => Ok(()),
        false => Err(OfError::BrcBufferUnknown),
    }
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

pub(crate) fn packet_out(
    bridge: &BridgeState,
    conn: &Conn,
    request: PacketOut,
) -> Result<Effect, OfError> {
    if request.buffer_id != NO_BUFFER {
        return Err(OfError::BrcBufferUnknown);
    }
    let in_port = request.in_port;
    check_in_port(in_port)?;
    if request.metadata.iter().any(|f| !is_pipeline_field(f.field)) {
        return Err(OfError::BrcPipelineFieldsOnly);
    }
    action_check::check_packet_out(&request.actions, conn.version, bridge.known())?;
    Ok(Effect::PacketOut(upcall::PacketOut {
        bridge: bridge.view.id,
        in_port,
        metadata: request.metadata,
        todo: Todo::Actions(request.actions),
        data: request.data,
    }))
}

/// May a packet come from there, if a controller says so?
fn check_in_port(port: OfPort) -> Result<(), OfError> {
    match port > OfPort::MAX && !matches!(port, OfPort::CONTROLLER | OfPort::ANY | OfPort::LOCAL) {
        true => Err(OfError::BrcBadPort),
        false => Ok(()),
    }
}

/// Is it one of the fields that a packet has beside its headers, and is it carried?
fn is_pipeline_field(field: Field) -> bool {
    matches!(field, Field::Metadata | Field::PktMark)
        || (0..16).any(|n| Field::reg(n) == Some(field))
}

/// What to do with packets that miss (1.1, 1.2) is taken and has no effect: a table-miss flow says
/// it.
///
/// Errors: `OFPTMFC_BAD_TABLE`, `OFPTMFC_EPERM` for the table that is the switch's own,
/// `OFPTMFC_BAD_CONFIG`.
fn table_mod(bridge: &mut BridgeState, request: TableMod, v: Version) -> Result<(), OfError> {
    const OWN: u8 = N_TABLES as u8;
    match request.table_id {
        TABLE_ALL => {}
        OWN => return Err(OfError::TmfcEperm),
        id if usize::from(id) > N_TABLES => return Err(OfError::TmfcBadTable),
        _ => {}
    }
    let allowed = match v >= Version::Of14 {
        true => TableMod::EVICTION | TableMod::VACANCY,
        // Two bits that 1.3 keeps without an effect.
        false => TableMod::MISS_MASK,
    };
    let flags = request.eviction_flags.unwrap_or(0);
    if request.config & !allowed != 0 || flags & !TableMod::EVICTION_FLAGS != 0 {
        return Err(OfError::TmfcBadConfig);
    }
    if v >= Version::Of14 {
        let evicts = request.config & TableMod::EVICTION != 0;
        let watches = request.config & TableMod::VACANCY != 0;
        let percent = request.vacancy.map_or((0, 0), |v| (v.down, v.up));
        let all = 0..OWN;
        let one = request.table_id..request.table_id.saturating_add(1);
        let tables = if request.table_id == TABLE_ALL {
            all
        } else {
            one
        };
        for id in tables {
            bridge.tables.set_evicts(id, evicts);
            bridge.tables.set_vacancy(id, watches.then_some(percent));
        }
    }
    Ok(())
}
