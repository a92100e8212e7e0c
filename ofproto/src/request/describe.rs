//! Replies that describe the switch: features, ports, tables, flows and their statistics.

use openflow::message::{
    AggregateStats, Capabilities, FlowStatsRequest, PortDesc, QUEUE_ALL, QueueStatsRequest,
    SwitchFeatures, TableFeatures, TableMod, TableStats,
};
use openflow::{Message, OfError, OfPort, Version};

use crate::conn::ConnId;
use crate::flows_reply::{FlowsReply, Form};
use crate::ofproto::{BridgeState, Effect};
use crate::port::port_desc;
use crate::snapshot::N_TABLES;
use crate::table::FlowTables;

/// All ports, or the one that is asked for.
pub(super) fn port_descs(bridge: &BridgeState, wanted: OfPort) -> Vec<PortDesc> {
    let ports = bridge.view.ports.by_number.values();
    ports
        .filter(|p| wanted == OfPort::ANY || p.of_port == wanted)
        .map(|p| port_desc(p))
        .collect()
}

pub(super) fn features(bridge: &BridgeState, version: Version) -> Message {
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
            | Capabilities::GROUP_STATS
            | Capabilities::QUEUE_STATS
            | Capabilities::BUNDLES
            | Capabilities::ARP_MATCH_IP,
        actions: ACTIONS_10,
        ports: if version < Version::Of13 {
            port_descs(bridge, OfPort::ANY)
        } else {
            Vec::new()
        },
    })
}

/// The flows that a request asks for.
pub(super) fn flows(
    bridge: &BridgeState,
    request: &FlowStatsRequest,
    form: Form,
) -> Result<FlowsReply, OfError> {
    Ok(FlowsReply::new(form, bridge.tables.stats(request)?))
}

pub(super) fn aggregate(
    bridge: &BridgeState,
    request: &FlowStatsRequest,
) -> Result<Message, OfError> {
    let mut stats = AggregateStats::default();
    bridge.tables.for_each(request, |rule| {
        stats.packet_count = stats.packet_count.saturating_add(rule.stats.packets());
        stats.byte_count = stats.byte_count.saturating_add(rule.stats.bytes());
        stats.flow_count = stats.flow_count.saturating_add(1);
    })?;
    Ok(Message::AggregateReply {
        flavor: request.flavor,
        stats,
    })
}

pub(super) fn table_stats(bridge: &BridgeState, version: Version) -> Message {
    let tables = (0..N_TABLES as u8).map(|table_id| {
        let (lookup_count, matched_count) = bridge.view.tables.counters(table_id);
        TableStats {
            active_count: u32::try_from(bridge.tables.table_len(table_id)).unwrap_or(u32::MAX),
            lookup_count,
            matched_count,
            ..TableStats::of(&features_of_table(bridge, table_id), version)
        }
    });
    Message::TableStatsReply(tables.collect())
}

pub(super) fn table_features(bridge: &BridgeState) -> Message {
    let tables = (0..N_TABLES as u8).map(|table_id| features_of_table(bridge, table_id));
    Message::TableFeaturesReply(tables.collect())
}

fn features_of_table(bridge: &BridgeState, table_id: u8) -> TableFeatures {
    let conf = bridge.tables.conf(table_id);
    let max_entries = u32::try_from(conf.max_rules).unwrap_or(u32::MAX);
    TableFeatures {
        name: conf.name,
        ..TableFeatures::supported(table_id, N_TABLES as u8, max_entries)
    }
}

pub(super) fn table_descs(bridge: &BridgeState) -> Message {
    let tables = (0..N_TABLES as u8).map(|table_id| table_desc(&bridge.tables, table_id));
    Message::TableDescReply(tables.collect())
}

/// How a table is configured.
pub(crate) fn table_desc(tables: &FlowTables, table_id: u8) -> TableMod {
    let vacancy = tables.vacancy(table_id);
    let bit = |bit, on| if on { bit } else { 0 };
    TableMod {
        table_id,
        config: bit(TableMod::EVICTION, tables.evicts(table_id))
            | bit(TableMod::VACANCY, vacancy.is_some()),
        eviction_flags: Some(TableMod::EVICTION_FLAGS),
        vacancy,
    }
}

pub(super) fn read_port_stats(
    bridge: &BridgeState,
    conn: ConnId,
    xid: u32,
    port: OfPort,
) -> Effect {
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
pub(super) fn queue_stats(
    bridge: &BridgeState,
    request: QueueStatsRequest,
) -> Result<Message, OfError> {
    if request.port != OfPort::ANY && !has_port(bridge, request.port) {
        return Err(OfError::QofcBadPort);
    }
    if request.queue != QUEUE_ALL {
        return Err(OfError::QofcBadQueue);
    }
    Ok(Message::QueueStatsReply(Vec::new()))
}

pub(super) fn has_port(bridge: &BridgeState, port: OfPort) -> bool {
    bridge.view.port(port).is_some()
}
