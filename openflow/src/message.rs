//! OpenFlow messages as plain values, the same for every version.
//!
//! [`crate::codec`] turns them into bytes and back. Numbers that versions encode differently
//! (ports, flags, reasons, states) have one form here. What a version cannot carry is left out
//! when encoding and has its default when decoding: for example byte counts of 1.0 table
//! statistics.
//!
//! Counters that a switch does not keep are `u64::MAX` on the wire and here (OpenFlow 1.3.5,
//! 7.3.5.6), and `None` where the type is an `Option`.
//!
//! Source: OpenFlow 1.0.0, 5; OpenFlow 1.3.5, 7; `nicira-ext.h`.

mod asynchronous;
mod bundle;
mod continuation;
mod controller_status;
mod ct_flush;
mod flow;
mod flow_monitor;
mod group;
mod ipfix;
mod meter;
mod port;
mod switch;
mod table_features;
mod tlv;

pub use asynchronous::{
    AsyncConfig, AsyncKind, AsyncMask, AsyncProperty, FlowRemovedReason, PacketIn, PacketInFormat,
    PacketInReason, PortReason, RequestForward, Role, RoleMessage, RoleReason, RoleStatus,
};
pub use bundle::{
    BundleAdd, BundleControl, BundleControlKind, BundleFeatures, BundleFeaturesRequest,
    BundleFlags, BundleTimes, Time,
};
pub use continuation::{Continuation, Frame};
pub use controller_status::{ControllerStatus, ControllerStatusReason};
pub use ct_flush::{CtFlush, CtTuple};
pub use flow::{
    AggregateStats, FlowCounts, FlowFormat, FlowMod, FlowModCommand, FlowModFlags, FlowRemoved,
    FlowStats, FlowStatsReply, FlowStatsRequest, PacketOut,
};
pub use flow_monitor::{
    FlowChange, FlowEvent, FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest, FlowUpdate,
};
pub use group::{
    BUCKET_ALL, BUCKET_FIRST, BUCKET_LAST, BUCKET_MAX, Bucket, GROUP_ALL, GROUP_MAX, GroupCommand,
    GroupDesc, GroupFeatures, GroupMod, GroupStats, GroupType, PacketCounts, Selection,
};
pub use ipfix::IpfixStats;
pub use meter::{
    BandAction, METER_ALL, METER_CONTROLLER, METER_MAX, METER_SLOWPATH, MeterBand, MeterCommand,
    MeterConfig, MeterFeatures, MeterFlags, MeterMod, MeterStats,
};
pub use port::{
    CustomCounter, PortConfig, PortDesc, PortFeatures, PortMod, PortState, PortStats, PortStatus,
    QueueConfig, QueueStats, QueueStatsRequest, RFC_2819_COUNTERS,
};
pub use switch::{
    Capabilities, Desc, ErrorMessage, FragHandling, Hello, SwitchConfig, SwitchFeatures, TableMod,
    TableReason, TableStats, TableStatus, Vacancy,
};
pub(crate) use table_features::{FIELDS_11, WILDCARDS_10, bit_12};
pub use table_features::{TableActions, TableFeatures, TableInstructions};
pub use tlv::{TlvCommand, TlvMap, TlvTable, TlvTableMod};

use bytes::Bytes;
use packet::OfPort;

use crate::error::OfError;

/// "No buffer": the packet is in the message.
pub const NO_BUFFER: u32 = 0xffff_ffff;
/// All tables, in flow-mods that delete and in statistics requests.
pub const TABLE_ALL: u8 = 0xff;
/// Any group (or none), in flow-mods and statistics requests.
pub const GROUP_ANY: u32 = 0xffff_ffff;
/// All queues of a port.
pub const QUEUE_ALL: u32 = 0xffff_ffff;

/// Which of two encodings a message has, where both may occur on one connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Flavor {
    /// The specification's own.
    #[default]
    Standard,
    /// Nicira's extension (NXT or NXST).
    Nicira,
}

/// A property of a message that is carried along and not interpreted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Property {
    pub kind: u16,
    /// Without padding; one of type 0xffff begins with the experimenter and its type.
    pub value: Bytes,
}

impl Property {
    /// What a switch answers to a request with such a property.
    pub fn refusal(&self) -> OfError {
        match self.kind {
            0xffff => OfError::BpcBadExperimenter,
            _ => OfError::BpcBadType,
        }
    }
}

/// A message, without its transaction id.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    Hello(Hello),
    Error(ErrorMessage),
    EchoRequest(Bytes),
    EchoReply(Bytes),

    FeaturesRequest,
    FeaturesReply(SwitchFeatures),
    GetConfigRequest,
    GetConfigReply(SwitchConfig),
    SetConfig(SwitchConfig),

    PacketIn(PacketIn),
    /// `NXT_RESUME`: a packet-in with a continuation, back.
    Resume(PacketIn),
    FlowRemoved(FlowRemoved),
    PortStatus(PortStatus),
    PacketOut(PacketOut),
    FlowMod(FlowMod),
    GroupMod(GroupMod),
    MeterMod(MeterMod),
    PortMod(PortMod),
    TableMod(TableMod),
    BarrierRequest,
    BarrierReply,

    /// `OFPT_QUEUE_GET_CONFIG_REQUEST` up to 1.3, `OFPMP_QUEUE_DESC` from 1.4 on.
    QueueGetConfigRequest {
        /// [`OfPort::ANY`] for all, from 1.1 on.
        port: OfPort,
        /// [`QUEUE_ALL`] for all, and before 1.4.
        queue: u32,
    },
    QueueGetConfigReply {
        /// That of the request, up to 1.3.
        port: OfPort,
        queues: Vec<QueueConfig>,
    },

    RoleRequest(RoleMessage),
    RoleReply(RoleMessage),
    GetAsyncRequest,
    GetAsyncReply(AsyncConfig),
    SetAsync {
        flavor: Flavor,
        config: AsyncConfig,
    },

    BundleControl(BundleControl),
    BundleAdd(BundleAdd),
    /// 1.5
    BundleFeaturesRequest(BundleFeaturesRequest),
    BundleFeaturesReply(BundleFeatures),

    FlowMonitorRequest(Vec<FlowMonitorRequest>),
    FlowMonitorReply(Vec<FlowUpdate>),
    /// Before 1.4; later a request with the command to delete.
    FlowMonitorCancel {
        id: u32,
    },
    /// Before 1.4; later an update in a reply.
    FlowMonitorPaused,
    /// Before 1.4; later an update in a reply.
    FlowMonitorResumed,

    /// `OFPT_SET_ASYNC` of 1.4 and later, NXT_SET_ASYNC_CONFIG2 before: only what is named
    /// changes.
    SetAsyncProperties(Vec<AsyncProperty>),
    /// 1.4 and later.
    RoleStatus(RoleStatus),
    /// 1.4 and later.
    RequestForward(RequestForward),
    /// 1.5
    ControllerStatus(ControllerStatus),
    ControllerStatusRequest,
    ControllerStatusReply(Vec<ControllerStatus>),

    /// 1.4 and later.
    TableStatus(TableStatus),
    /// 1.4 and later.
    TableDescRequest,
    TableDescReply(Vec<TableMod>),

    TlvTableMod(TlvTableMod),
    TlvTableRequest,
    TlvTableReply(TlvTable),
    CtFlush(CtFlush),
    CtFlushZone {
        zone: u16,
    },
    IpfixBridgeRequest,
    IpfixBridgeReply(IpfixStats),
    /// Of all collector sets.
    IpfixFlowRequest,
    IpfixFlowReply(Vec<IpfixStats>),
    /// NXT_FLOW_AGE, which does nothing.
    FlowAge,

    /// NXT_SET_FLOW_FORMAT
    SetFlowFormat(FlowFormat),
    /// NXT_FLOW_MOD_TABLE_ID
    SetFlowModTableId(bool),
    /// NXT_SET_PACKET_IN_FORMAT
    SetPacketInFormat(PacketInFormat),
    /// NXT_SET_CONTROLLER_ID
    SetControllerId(u16),

    DescRequest,
    DescReply(Desc),
    FlowStatsRequest(FlowStatsRequest),
    FlowStatsReply(FlowStatsReply),
    AggregateRequest(FlowStatsRequest),
    AggregateReply {
        flavor: Flavor,
        stats: AggregateStats,
    },
    /// `OFPMP_FLOW_STATS` of 1.5.
    FlowCountsRequest(FlowStatsRequest),
    FlowCountsReply(Vec<FlowCounts>),
    TableStatsRequest,
    TableStatsReply(Vec<TableStats>),
    /// Without tables: asks, changes nothing.
    TableFeaturesRequest(Vec<TableFeatures>),
    TableFeaturesReply(Vec<TableFeatures>),
    /// `OfPort::ANY` asks for all ports.
    PortStatsRequest {
        port: OfPort,
    },
    PortStatsReply(Vec<PortStats>),
    QueueStatsRequest(QueueStatsRequest),
    QueueStatsReply(Vec<QueueStats>),
    /// `OfPort::ANY` asks for all ports, as every request before 1.5 does.
    PortDescRequest {
        port: OfPort,
    },
    PortDescReply(Vec<PortDesc>),

    /// [`GROUP_ALL`] asks for all groups.
    GroupStatsRequest {
        group_id: u32,
    },
    GroupStatsReply(Vec<GroupStats>),
    /// Versions from 1.1 to 1.4 ask for all groups.
    GroupDescRequest {
        group_id: u32,
    },
    GroupDescReply(Vec<GroupDesc>),
    GroupFeaturesRequest,
    GroupFeaturesReply(GroupFeatures),

    /// [`METER_ALL`] asks for all meters.
    MeterStatsRequest {
        meter_id: u32,
    },
    MeterStatsReply(Vec<MeterStats>),
    MeterConfigRequest {
        meter_id: u32,
    },
    MeterConfigReply(Vec<MeterConfig>),
    MeterFeaturesRequest,
    MeterFeaturesReply(MeterFeatures),
}

impl Message {
    /// Name as the specification has it, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Message::Hello(_) => "OFPT_HELLO",
            Message::Error(_) => "OFPT_ERROR",
            Message::EchoRequest(_) => "OFPT_ECHO_REQUEST",
            Message::EchoReply(_) => "OFPT_ECHO_REPLY",
            Message::FeaturesRequest => "OFPT_FEATURES_REQUEST",
            Message::FeaturesReply(_) => "OFPT_FEATURES_REPLY",
            Message::GetConfigRequest => "OFPT_GET_CONFIG_REQUEST",
            Message::GetConfigReply(_) => "OFPT_GET_CONFIG_REPLY",
            Message::SetConfig(_) => "OFPT_SET_CONFIG",
            Message::PacketIn(_) => "OFPT_PACKET_IN",
            Message::Resume(_) => "NXT_RESUME",
            Message::FlowRemoved(_) => "OFPT_FLOW_REMOVED",
            Message::PortStatus(_) => "OFPT_PORT_STATUS",
            Message::PacketOut(_) => "OFPT_PACKET_OUT",
            Message::FlowMod(_) => "OFPT_FLOW_MOD",
            Message::GroupMod(_) => "OFPT_GROUP_MOD",
            Message::MeterMod(_) => "OFPT_METER_MOD",
            Message::PortMod(_) => "OFPT_PORT_MOD",
            Message::TableMod(_) => "OFPT_TABLE_MOD",
            Message::BarrierRequest => "OFPT_BARRIER_REQUEST",
            Message::BarrierReply => "OFPT_BARRIER_REPLY",
            Message::QueueGetConfigRequest { .. } => "OFPT_QUEUE_GET_CONFIG_REQUEST",
            Message::QueueGetConfigReply { .. } => "OFPT_QUEUE_GET_CONFIG_REPLY",
            Message::RoleRequest(_) => "OFPT_ROLE_REQUEST",
            Message::RoleReply(_) => "OFPT_ROLE_REPLY",
            Message::GetAsyncRequest => "OFPT_GET_ASYNC_REQUEST",
            Message::GetAsyncReply(_) => "OFPT_GET_ASYNC_REPLY",
            Message::SetAsync { .. } => "OFPT_SET_ASYNC",
            Message::BundleControl(_) => "OFPT_BUNDLE_CONTROL",
            Message::BundleAdd(_) => "OFPT_BUNDLE_ADD_MESSAGE",
            Message::BundleFeaturesRequest(_) => "OFPMP_BUNDLE_FEATURES request",
            Message::BundleFeaturesReply(_) => "OFPMP_BUNDLE_FEATURES reply",
            Message::FlowMonitorRequest(_) => "OFPST_FLOW_MONITOR request",
            Message::FlowMonitorReply(_) => "OFPST_FLOW_MONITOR reply",
            Message::FlowMonitorCancel { .. } => "NXT_FLOW_MONITOR_CANCEL",
            Message::FlowMonitorPaused => "NXT_FLOW_MONITOR_PAUSED",
            Message::FlowMonitorResumed => "NXT_FLOW_MONITOR_RESUMED",
            Message::SetAsyncProperties(_) => "OFPT_SET_ASYNC",
            Message::RoleStatus(_) => "OFPT_ROLE_STATUS",
            Message::RequestForward(_) => "OFPT_REQUESTFORWARD",
            Message::ControllerStatus(_) => "OFPT_CONTROLLER_STATUS",
            Message::ControllerStatusRequest => "OFPMP_CONTROLLER_STATUS request",
            Message::ControllerStatusReply(_) => "OFPMP_CONTROLLER_STATUS reply",
            Message::TableStatus(_) => "OFPT_TABLE_STATUS",
            Message::TableDescRequest => "OFPST_TABLE_DESC request",
            Message::TableDescReply(_) => "OFPST_TABLE_DESC reply",
            Message::TlvTableMod(_) => "NXT_TLV_TABLE_MOD",
            Message::TlvTableRequest => "NXT_TLV_TABLE_REQUEST",
            Message::TlvTableReply(_) => "NXT_TLV_TABLE_REPLY",
            Message::CtFlush(_) => "NXT_CT_FLUSH",
            Message::CtFlushZone { .. } => "NXT_CT_FLUSH_ZONE",
            Message::IpfixBridgeRequest => "NXST_IPFIX_BRIDGE request",
            Message::IpfixBridgeReply(_) => "NXST_IPFIX_BRIDGE reply",
            Message::IpfixFlowRequest => "NXST_IPFIX_FLOW request",
            Message::IpfixFlowReply(_) => "NXST_IPFIX_FLOW reply",
            Message::FlowAge => "NXT_FLOW_AGE",
            Message::SetFlowFormat(_) => "NXT_SET_FLOW_FORMAT",
            Message::SetFlowModTableId(_) => "NXT_FLOW_MOD_TABLE_ID",
            Message::SetPacketInFormat(_) => "NXT_SET_PACKET_IN_FORMAT",
            Message::SetControllerId(_) => "NXT_SET_CONTROLLER_ID",
            Message::DescRequest => "OFPST_DESC request",
            Message::DescReply(_) => "OFPST_DESC reply",
            Message::FlowStatsRequest(_) => "OFPST_FLOW request",
            Message::FlowStatsReply(_) => "OFPST_FLOW reply",
            Message::AggregateRequest(_) => "OFPST_AGGREGATE request",
            Message::AggregateReply { .. } => "OFPST_AGGREGATE reply",
            Message::TableStatsRequest => "OFPST_TABLE request",
            Message::TableStatsReply(_) => "OFPST_TABLE reply",
            Message::FlowCountsRequest(_) => "OFPMP_FLOW_STATS request",
            Message::FlowCountsReply(_) => "OFPMP_FLOW_STATS reply",
            Message::TableFeaturesRequest(_) => "OFPST_TABLE_FEATURES request",
            Message::TableFeaturesReply(_) => "OFPST_TABLE_FEATURES reply",
            Message::PortStatsRequest { .. } => "OFPST_PORT request",
            Message::PortStatsReply(_) => "OFPST_PORT reply",
            Message::QueueStatsRequest(_) => "OFPST_QUEUE request",
            Message::QueueStatsReply(_) => "OFPST_QUEUE reply",
            Message::PortDescRequest { .. } => "OFPST_PORT_DESC request",
            Message::PortDescReply(_) => "OFPST_PORT_DESC reply",
            Message::GroupStatsRequest { .. } => "OFPST_GROUP request",
            Message::GroupStatsReply(_) => "OFPST_GROUP reply",
            Message::GroupDescRequest { .. } => "OFPST_GROUP_DESC request",
            Message::GroupDescReply(_) => "OFPST_GROUP_DESC reply",
            Message::GroupFeaturesRequest => "OFPST_GROUP_FEATURES request",
            Message::GroupFeaturesReply(_) => "OFPST_GROUP_FEATURES reply",
            Message::MeterStatsRequest { .. } => "OFPST_METER request",
            Message::MeterStatsReply(_) => "OFPST_METER reply",
            Message::MeterConfigRequest { .. } => "OFPST_METER_CONFIG request",
            Message::MeterConfigReply(_) => "OFPST_METER_CONFIG reply",
            Message::MeterFeaturesRequest => "OFPST_METER_FEATURES request",
            Message::MeterFeaturesReply(_) => "OFPST_METER_FEATURES reply",
        }
    }
}
