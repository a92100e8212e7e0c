//! Flow-mods, packet-outs, flow-removed messages and flow statistics.

use std::time::Duration;

use bytes::Bytes;
use packet::OfPort;

use super::{Flavor, FlowRemovedReason, GROUP_ANY, NO_BUFFER, TABLE_ALL};
use crate::action::Action;
use crate::flow_match::Match;

/// NXT_SET_FLOW_FORMAT: how a 1.0 connection is told about flows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum FlowFormat {
    #[default]
    OpenFlow10,
    Nxm,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FlowModCommand {
    Add,
    Modify,
    ModifyStrict,
    Delete,
    DeleteStrict,
}

/// Flags of a flow-mod and of flow statistics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FlowModFlags {
    pub send_flow_rem: bool,
    pub check_overlap: bool,
    /// 1.0 only; switches refuse it (`OFPFMFC_TABLE_FULL`).
    pub emergency: bool,
    /// 1.2 and later.
    pub reset_counts: bool,
    /// 1.3 and later.
    pub no_packet_counts: bool,
    /// 1.3 and later.
    pub no_byte_counts: bool,
}

/// `OFPT_FLOW_MOD` and `NXT_FLOW_MOD`.
///
/// Units: `idle_timeout` and `hard_timeout` in seconds, 0 = never.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowMod {
    pub command: FlowModCommand,
    /// `None`: the message says no table (1.0 without the table id extension); the switch
    /// chooses for additions, and the others mean all tables. [`TABLE_ALL`] is the explicit
    /// form for deletions.
    pub table_id: Option<u8>,
    pub priority: u16,
    /// Cookie of the new flow.
    pub new_cookie: u64,
    /// For modify and delete: only flows whose cookie equals this under `cookie_mask`.
    pub cookie: u64,
    /// 0 = any cookie.
    pub cookie_mask: u64,
    /// Is a modify that finds the flow to set its cookie? 1.0 does, 1.1 and later do not.
    pub modify_cookie: bool,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    /// Of an addition, 1.4 and later: what is less important gives way first. 0 elsewhere.
    pub importance: u16,
    /// [`NO_BUFFER`] for none.
    pub buffer_id: u32,
    /// For delete: only flows that output to it; [`OfPort::ANY`] for no such filter.
    pub out_port: OfPort,
    /// For delete: only flows that output to it; [`GROUP_ANY`] for no such filter.
    pub out_group: u32,
    pub flags: FlowModFlags,
    pub fields: Match,
    pub actions: Vec<Action>,
}

impl FlowMod {
    /// An addition with default priority and without actions.
    pub fn add() -> FlowMod {
        FlowMod {
            command: FlowModCommand::Add,
            table_id: None,
            priority: 0x8000,
            new_cookie: 0,
            cookie: 0,
            cookie_mask: 0,
            modify_cookie: false,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            buffer_id: NO_BUFFER,
            out_port: OfPort::ANY,
            out_group: GROUP_ANY,
            flags: FlowModFlags::default(),
            fields: Match::new(),
            actions: Vec::new(),
        }
    }
}

/// `OFPT_PACKET_OUT`.
#[derive(Clone, PartialEq, Debug)]
pub struct PacketOut {
    /// [`NO_BUFFER`] when the packet is in `data`.
    pub buffer_id: u32,
    /// [`OfPort::CONTROLLER`] or [`OfPort::ANY`] when there is none.
    pub in_port: OfPort,
    /// 1.5: other pipeline fields that the packet begins with.
    pub metadata: Match,
    pub actions: Vec<Action>,
    pub data: Bytes,
}

/// `OFPT_FLOW_REMOVED` and `NXT_FLOW_REMOVED`.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowRemoved {
    pub fields: Match,
    pub priority: u16,
    pub reason: FlowRemovedReason,
    /// `None` in 1.0's own encoding, which has none.
    pub table_id: Option<u8>,
    pub cookie: u64,
    pub duration: Duration,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    pub packet_count: u64,
    pub byte_count: u64,
}

/// Request for flow or aggregate statistics.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowStatsRequest {
    /// Encoding on a 1.0 connection; always standard in 1.1 and later.
    pub flavor: Flavor,
    pub fields: Match,
    /// [`TABLE_ALL`] for all.
    pub table_id: u8,
    pub out_port: OfPort,
    pub out_group: u32,
    pub cookie: u64,
    pub cookie_mask: u64,
}

impl FlowStatsRequest {
    /// Asks for every flow.
    pub fn all() -> FlowStatsRequest {
        FlowStatsRequest {
            flavor: Flavor::Standard,
            fields: Match::new(),
            table_id: TABLE_ALL,
            out_port: OfPort::ANY,
            out_group: GROUP_ANY,
            cookie: 0,
            cookie_mask: 0,
        }
    }
}

/// Flow statistics; the codec splits long lists over several messages.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowStatsReply {
    /// That of the request.
    pub flavor: Flavor,
    pub flows: Vec<FlowStats>,
}

/// One flow in a flow statistics reply.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowStats {
    pub fields: Match,
    pub cookie: u64,
    pub table_id: u8,
    pub priority: u16,
    pub idle_timeout: u16,
    pub hard_timeout: u16,
    /// 1.4 and later.
    pub importance: u16,
    /// Since it was added.
    pub duration: Duration,
    /// Since its last packet, in whole seconds; NXST_FLOW and 1.5.
    pub idle_age: Option<u16>,
    /// Since it was added or modified, in whole seconds; NXST_FLOW only.
    pub hard_age: Option<u16>,
    pub packet_count: u64,
    pub byte_count: u64,
    /// 1.3 and later.
    pub flags: FlowModFlags,
    pub actions: Vec<Action>,
}

/// One flow in an `OFPMP_FLOW_STATS` reply of 1.5: what is counted, without what the flow does.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowCounts {
    pub fields: Match,
    pub table_id: u8,
    /// `OFPFSR_*`: 0 for an answer to a request.
    pub reason: u8,
    pub priority: u16,
    /// Since it was added.
    pub duration: Option<Duration>,
    /// Since its last packet.
    pub idle: Option<Duration>,
    pub packet_count: Option<u64>,
    pub byte_count: Option<u64>,
}

/// Aggregate flow statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AggregateStats {
    pub packet_count: u64,
    pub byte_count: u64,
    pub flow_count: u32,
}
