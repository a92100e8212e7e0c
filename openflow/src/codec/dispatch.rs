//! Which codec each kind of message has: finds the [`Kind`] that a header names and reads its
//! body, and writes the body of each message.

use bytes::Bytes;

use super::flow_stats;
use super::kind::{self, Kind, MULTIPART_EXPERIMENTER, OFPT_EXPERIMENTER, Place, Way};
use super::writer::MessageWriter;
use super::{
    Dialect, Header, bundle, controller_status, ct_flush, flow_mod, flow_monitor, flow_removed,
    group, ipfix, meter, packet_in, port, port_stats, queue, request_forward, role, switch,
    table_desc, table_features, table_stats, tlv,
};
use crate::error::OfError;
use crate::message::{Flavor, FlowFormat, Message, PacketInFormat};
use crate::version::Version;
use crate::wire::{DecodeError, NICIRA, ONF, Reader, bad};

const NXFF_OPENFLOW10: u32 = 0;
const NXFF_NXM: u32 = 2;

/// Flag of a multipart message: more follow.
const MULTIPART_MORE: u16 = 1;

/// Reads the body of a message; says of which kind it is and whether more parts follow.
pub(super) fn decode(
    header: &Header,
    r: &mut Reader,
    dialect: &Dialect,
) -> Result<(Kind, Message, bool), DecodeError> {
    // These have one form in all versions, also in those that the codec does not speak.
    let (kind, message) = match header.kind {
        0 => (
            Kind::Hello,
            Message::Hello(switch::decode_hello(r, header.version)?),
        ),
        1 => (
            Kind::Error,
            Message::Error(switch::decode_error(r, header.version)?),
        ),
        2 => (Kind::EchoRequest, Message::EchoRequest(rest(r)?)),
        3 => (Kind::EchoReply, Message::EchoReply(rest(r)?)),
        _ => {
            let Some(version) = Version::from_wire(header.version) else {
                return bad("OpenFlow version", OfError::BrcBadVersion);
            };
            return decode_versioned(header, version, r, dialect);
        }
    };
    r.done()?;
    Ok((kind, message, false))
}

fn decode_versioned(
    header: &Header,
    v: Version,
    r: &mut Reader,
    dialect: &Dialect,
) -> Result<(Kind, Message, bool), DecodeError> {
    let (kind, more) = kind(header, v, r)?;
    let message = match kind {
        Kind::BundleAddMessage | Kind::OnfBundleAddMessage => {
            Message::BundleAdd(bundle::decode_add(r, v, header.xid, dialect)?)
        }
        kind => decode_body(kind, r, v, dialect)?,
    };
    r.done()?;
    if more && kind.way() == Way::Request {
        // No request that is served comes in parts.
        return bad("request in parts", OfError::BrcMultipartBufferOverflow);
    }
    Ok((kind, message, more))
}

/// Reads what stands between the header and the body: the kind of the message, and whether more
/// parts follow.
pub(super) fn kind(
    header: &Header,
    v: Version,
    r: &mut Reader,
) -> Result<(Kind, bool), DecodeError> {
    let (request, reply) = kind::multipart_types(v);
    let is_reply = header.kind == reply;
    if is_reply || header.kind == request {
        let kind = r.u16()?;
        let more = r.u16()? & MULTIPART_MORE != 0;
        if v > Version::Of10 {
            r.skip(4)?;
        }
        return Ok((multipart_kind(kind, v, is_reply, r)?, more));
    }
    if header.kind == OFPT_EXPERIMENTER {
        return Ok((experimenter_kind(v, r)?, false));
    }
    match Kind::by_type(header.version, header.kind) {
        Some(kind) => Ok((kind, false)),
        None => bad("message type", OfError::BrcBadType),
    }
}

pub(super) fn experimenter_kind(v: Version, r: &mut Reader) -> Result<Kind, DecodeError> {
    let vendor = r.u32()?;
    if vendor != NICIRA && vendor != ONF {
        return bad("experimenter", OfError::BrcBadVendor);
    }
    let subtype = r.u32()?;
    match Kind::find(v, Place::Experimenter { vendor, subtype }, false) {
        Some(kind) => Ok(kind),
        None => bad("experimenter message", OfError::BrcBadSubtype),
    }
}

fn multipart_kind(
    kind: u16,
    v: Version,
    is_reply: bool,
    r: &mut Reader,
) -> Result<Kind, DecodeError> {
    if kind != MULTIPART_EXPERIMENTER {
        return match Kind::find(v, Place::Multipart(kind), is_reply) {
            Some(kind) => Ok(kind),
            None => bad("multipart type", OfError::BrcBadStat),
        };
    }
    let vendor = r.u32()?;
    if vendor != NICIRA && vendor != ONF {
        return bad("experimenter of a multipart message", OfError::BrcBadVendor);
    }
    let subtype = r.u32()?;
    if v == Version::Of10 {
        r.skip(4)?;
    }
    match Kind::find(
        v,
        Place::MultipartExperimenter { vendor, subtype },
        is_reply,
    ) {
        Some(kind) => Ok(kind),
        None => bad("experimenter multipart message", OfError::BrcBadSubtype),
    }
}

/// Reads the body of a message, except for those that are bundled messages.
pub(super) fn decode_body(
    kind: Kind,
    r: &mut Reader,
    v: Version,
    dialect: &Dialect,
) -> Result<Message, DecodeError> {
    Ok(match kind {
        Kind::Hello => Message::Hello(switch::decode_hello(r, v.wire())?),
        Kind::Error => Message::Error(switch::decode_error(r, v.wire())?),
        Kind::EchoRequest => Message::EchoRequest(rest(r)?),
        Kind::EchoReply => Message::EchoReply(rest(r)?),
        Kind::FeaturesRequest => Message::FeaturesRequest,
        Kind::FeaturesReply => Message::FeaturesReply(switch::decode_features(r, v)?),
        Kind::GetConfigRequest => Message::GetConfigRequest,
        Kind::GetConfigReply => Message::GetConfigReply(switch::decode_config(r, v)?),
        Kind::SetConfig => Message::SetConfig(switch::decode_config(r, v)?),
        Kind::PacketIn => Message::PacketIn(packet_in::decode(r, v)?),
        Kind::NxPacketIn => Message::PacketIn(packet_in::decode_nx(r)?),
        Kind::NxPacketIn2 => Message::PacketIn(packet_in::decode_nx2(r, v, true)?),
        Kind::Resume => Message::Resume(packet_in::decode_nx2(r, v, false)?),
        Kind::FlowRemoved => Message::FlowRemoved(flow_removed::decode(r, v)?),
        Kind::NxFlowRemoved => Message::FlowRemoved(flow_removed::decode_nx_flow_removed(r)?),
        Kind::PortStatus => Message::PortStatus(port::decode_status(r, v)?),
        Kind::PacketOut => Message::PacketOut(flow_mod::decode_packet_out(r, v)?),
        Kind::FlowMod => Message::FlowMod(flow_mod::decode(r, v, dialect)?),
        Kind::NxFlowMod => Message::FlowMod(flow_mod::decode_nx_flow_mod(r, dialect)?),
        Kind::PortMod => Message::PortMod(port::decode_port_mod(r, v)?),
        Kind::TableMod => Message::TableMod(table_desc::decode_mod(r, v)?),
        Kind::BarrierRequest => Message::BarrierRequest,
        Kind::BarrierReply => Message::BarrierReply,
        Kind::QueueGetConfigRequest | Kind::QueueDescRequest => queue::decode_request(r, v)?,
        Kind::QueueGetConfigReply => queue::decode(r, v)?,
        Kind::QueueDescReply => queue::decode_desc(r, v)?,
        Kind::RoleRequest => Message::RoleRequest(role::decode(r, v)?),
        Kind::RoleReply => Message::RoleReply(role::decode_reply(r, v)?),
        Kind::NxRoleRequest => Message::RoleRequest(role::decode_nx(r)?),
        Kind::NxRoleReply => Message::RoleReply(role::decode_nx(r)?),
        Kind::GetAsyncRequest => Message::GetAsyncRequest,
        Kind::GetAsyncReply => Message::GetAsyncReply(role::decode_async_reply(r, v)?),
        Kind::NxSetAsyncConfig2 => Message::SetAsyncProperties(role::decode_properties(r, v)?),
        Kind::SetAsync if v >= Version::Of14 => {
            Message::SetAsyncProperties(role::decode_properties(r, v)?)
        }
        Kind::RequestForward => Message::RequestForward(request_forward::decode(r, v, dialect)?),
        Kind::ControllerStatus => Message::ControllerStatus(controller_status::decode(r)?),
        Kind::ControllerStatusRequest => Message::ControllerStatusRequest,
        Kind::ControllerStatusReply => {
            Message::ControllerStatusReply(list(r, controller_status::decode)?)
        }
        Kind::RoleStatus => Message::RoleStatus(role::decode_status(r)?),
        Kind::TableStatus => Message::TableStatus(table_desc::decode_status(r, v)?),
        Kind::TableDescRequest => Message::TableDescRequest,
        Kind::TableDescReply => Message::TableDescReply(table_desc::decode_descs(r, v)?),
        Kind::TlvTableMod => Message::TlvTableMod(tlv::decode_mod(r)?),
        Kind::TlvTableRequest => Message::TlvTableRequest,
        Kind::TlvTableReply => Message::TlvTableReply(tlv::decode_table(r)?),
        Kind::CtFlush => Message::CtFlush(ct_flush::decode(r)?),
        Kind::CtFlushZone => {
            r.zeros(6, OfError::NxbrcMustBeZero)?;
            Message::CtFlushZone { zone: r.u16()? }
        }
        Kind::IpfixBridgeRequest => Message::IpfixBridgeRequest,
        Kind::IpfixBridgeReply => Message::IpfixBridgeReply(ipfix::decode(r)?),
        Kind::IpfixFlowRequest => Message::IpfixFlowRequest,
        Kind::IpfixFlowReply => Message::IpfixFlowReply(list(r, ipfix::decode)?),
        Kind::FlowAge => Message::FlowAge,
        Kind::SetAsync => Message::SetAsync {
            flavor: Flavor::Standard,
            config: role::decode_async(r)?,
        },
        Kind::NxSetAsyncConfig => Message::SetAsync {
            flavor: Flavor::Nicira,
            config: role::decode_async(r)?,
        },
        Kind::BundleControl | Kind::OnfBundleControl => {
            Message::BundleControl(bundle::decode_control(r, v)?)
        }
        Kind::BundleFeaturesRequest => {
            Message::BundleFeaturesRequest(bundle::decode_features_request(r)?)
        }
        Kind::BundleFeaturesReply => Message::BundleFeaturesReply(bundle::decode_features(r)?),
        Kind::FlowMonitorRequest | Kind::OnfFlowMonitorRequest | Kind::NxFlowMonitorRequest => {
            Message::FlowMonitorRequest(flow_monitor::decode_requests(r, v)?)
        }
        Kind::FlowMonitorReply | Kind::OnfFlowMonitorReply | Kind::NxFlowMonitorReply => {
            Message::FlowMonitorReply(flow_monitor::decode_updates(r, v)?)
        }
        Kind::FlowMonitorCancel | Kind::OnfFlowMonitorCancel => {
            Message::FlowMonitorCancel { id: r.u32()? }
        }
        Kind::FlowMonitorPaused | Kind::OnfFlowMonitorPaused => Message::FlowMonitorPaused,
        Kind::FlowMonitorResumed | Kind::OnfFlowMonitorResumed => Message::FlowMonitorResumed,
        Kind::SetFlowFormat => Message::SetFlowFormat(match r.u32()? {
            NXFF_OPENFLOW10 => FlowFormat::OpenFlow10,
            NXFF_NXM => FlowFormat::Nxm,
            _ => return bad("flow format", OfError::BrcEperm),
        }),
        Kind::SetFlowModTableId => {
            let on = r.u8()? != 0;
            r.skip(7)?;
            Message::SetFlowModTableId(on)
        }
        Kind::SetPacketInFormat => Message::SetPacketInFormat(match r.u32()? {
            0 => PacketInFormat::Standard,
            1 => PacketInFormat::Nxt,
            2 => PacketInFormat::Nxt2,
            _ => return bad("packet-in format", OfError::BrcEperm),
        }),
        Kind::SetControllerId => {
            r.zeros(6, OfError::NxbrcMustBeZero)?;
            Message::SetControllerId(r.u16()?)
        }
        Kind::DescRequest => Message::DescRequest,
        Kind::DescReply => Message::DescReply(switch::decode_desc(r)?),
        Kind::FlowStatsRequest => {
            Message::FlowStatsRequest(flow_stats::decode_stats_request(r, v)?)
        }
        Kind::NxFlowStatsRequest => {
            Message::FlowStatsRequest(flow_stats::decode_nx_stats_request(r)?)
        }
        Kind::FlowStatsReply => {
            Message::FlowStatsReply(flow_stats::decode_flow_stats(r, v, Flavor::Standard)?)
        }
        Kind::NxFlowStatsReply => {
            Message::FlowStatsReply(flow_stats::decode_flow_stats(r, v, Flavor::Nicira)?)
        }
        Kind::AggregateRequest => {
            Message::AggregateRequest(flow_stats::decode_stats_request(r, v)?)
        }
        Kind::NxAggregateRequest => {
            Message::AggregateRequest(flow_stats::decode_nx_stats_request(r)?)
        }
        Kind::AggregateReply => Message::AggregateReply {
            flavor: Flavor::Standard,
            stats: flow_stats::decode_aggregate(r, v)?,
        },
        Kind::NxAggregateReply => Message::AggregateReply {
            flavor: Flavor::Nicira,
            stats: flow_stats::decode_aggregate(r, v)?,
        },
        Kind::FlowStats15Request => {
            Message::FlowCountsRequest(flow_stats::decode_stats_request(r, v)?)
        }
        Kind::FlowStats15Reply => Message::FlowCountsReply(flow_stats::decode_counts(r)?),
        Kind::TableStatsRequest => Message::TableStatsRequest,
        Kind::TableStatsReply => Message::TableStatsReply(table_stats::decode(r, v)?),
        Kind::TableFeaturesRequest => Message::TableFeaturesRequest(table_features::decode(r, v)?),
        Kind::TableFeaturesReply => Message::TableFeaturesReply(table_features::decode(r, v)?),
        Kind::PortStatsRequest => Message::PortStatsRequest {
            port: port_stats::decode_request(r, v)?,
        },
        Kind::PortStatsReply => Message::PortStatsReply(port_stats::decode(r, v)?),
        Kind::QueueStatsRequest => {
            Message::QueueStatsRequest(port_stats::decode_queue_request(r, v)?)
        }
        Kind::QueueStatsReply => Message::QueueStatsReply(port_stats::decode_queues(r, v)?),
        Kind::PortDescRequest => Message::PortDescRequest {
            port: port::decode_desc_request(r, v)?,
        },
        Kind::PortDescReply => Message::PortDescReply(port::decode_descs(r, v)?),
        Kind::GroupMod | Kind::NxGroupMod => Message::GroupMod(group::decode_mod(r, v)?),
        Kind::GroupStatsRequest | Kind::NxGroupStatsRequest => Message::GroupStatsRequest {
            group_id: group::decode_request(r)?,
        },
        Kind::GroupStatsReply | Kind::NxGroupStatsReply => {
            Message::GroupStatsReply(list(r, |r| group::decode_stats(r, v))?)
        }
        Kind::GroupDescRequest | Kind::NxGroupDescRequest => Message::GroupDescRequest {
            group_id: group::decode_desc_request(r, v)?,
        },
        Kind::GroupDescReply | Kind::NxGroupDescReply => {
            Message::GroupDescReply(list(r, |r| group::decode_desc(r, v))?)
        }
        Kind::GroupFeaturesRequest | Kind::NxGroupFeaturesRequest => Message::GroupFeaturesRequest,
        Kind::GroupFeaturesReply | Kind::NxGroupFeaturesReply => {
            Message::GroupFeaturesReply(group::decode_features(r)?)
        }
        Kind::MeterMod => Message::MeterMod(meter::decode_mod(r)?),
        Kind::MeterStatsRequest => Message::MeterStatsRequest {
            meter_id: meter::decode_request(r)?,
        },
        Kind::MeterStatsReply => Message::MeterStatsReply(list(r, meter::decode_stats)?),
        Kind::MeterConfigRequest => Message::MeterConfigRequest {
            meter_id: meter::decode_request(r)?,
        },
        Kind::MeterConfigReply => Message::MeterConfigReply(list(r, meter::decode_config)?),
        Kind::MeterFeaturesRequest => Message::MeterFeaturesRequest,
        Kind::MeterFeaturesReply => Message::MeterFeaturesReply(meter::decode_features(r)?),
        // A bundle holds no bundles.
        Kind::BundleAddMessage | Kind::OnfBundleAddMessage => {
            return bad("message in a bundle", OfError::BfcMsgUnsup);
        }
    })
}

/// Items up to the end of the message.
fn list<T>(
    r: &mut Reader,
    decode: impl Fn(&mut Reader) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut items = Vec::new();
    while !r.is_empty() {
        items.push(decode(r)?);
    }
    Ok(items)
}

fn rest(r: &mut Reader) -> Result<Bytes, DecodeError> {
    Ok(Bytes::copy_from_slice(r.bytes(r.remaining())?))
}

/// Writes a message.
pub(super) fn encode(o: &mut MessageWriter, message: &Message) {
    match message {
        Message::Hello(hello) => switch::encode_hello(o, hello),
        Message::Error(error) => switch::encode_error(o, error),
        Message::EchoRequest(data) => plain(o, Kind::EchoRequest, data),
        Message::EchoReply(data) => plain(o, Kind::EchoReply, data),
        Message::FeaturesRequest => plain(o, Kind::FeaturesRequest, &[]),
        Message::FeaturesReply(features) => switch::encode_features(o, features),
        Message::GetConfigRequest => plain(o, Kind::GetConfigRequest, &[]),
        Message::GetConfigReply(c) => switch::encode_config(o, Kind::GetConfigReply, c),
        Message::SetConfig(c) => switch::encode_config(o, Kind::SetConfig, c),
        Message::PacketIn(pin) => packet_in::encode(o, pin),
        Message::Resume(pin) => packet_in::encode_resume(o, pin),
        Message::FlowRemoved(fr) => flow_removed::encode_flow_removed(o, fr),
        Message::PortStatus(status) => port::encode_status(o, status),
        Message::PacketOut(po) => flow_mod::encode_packet_out(o, po),
        Message::FlowMod(fm) => flow_mod::encode_flow_mod(o, fm),
        Message::PortMod(pm) => {
            port::encode_port_mod(o, pm);
        }
        Message::TableMod(tm) => table_desc::encode_mod(o, tm),
        Message::BarrierRequest => plain(o, Kind::BarrierRequest, &[]),
        Message::BarrierReply => plain(o, Kind::BarrierReply, &[]),
        Message::QueueGetConfigRequest { port, queue } => {
            queue::encode_request(o, *port, *queue);
        }
        Message::QueueGetConfigReply { port, queues } => queue::encode(o, *port, queues),
        Message::RoleRequest(role) => role::encode(o, role, false),
        Message::RoleReply(role) => role::encode(o, role, true),
        Message::GetAsyncRequest => plain(o, Kind::GetAsyncRequest, &[]),
        Message::GetAsyncReply(config) => role::encode_async_reply(o, config),
        Message::SetAsync { flavor, config } => role::encode_set_async(o, *flavor, config),
        Message::SetAsyncProperties(properties) => role::encode_set_properties(o, properties),
        Message::RequestForward(forward) => request_forward::encode(o, forward),
        Message::ControllerStatus(status) => controller_status::encode(o, status),
        Message::ControllerStatusRequest => plain(o, Kind::ControllerStatusRequest, &[]),
        Message::ControllerStatusReply(all) => controller_status::encode_reply(o, all),
        Message::RoleStatus(status) => role::encode_status(o, status),
        Message::TableStatus(status) => table_desc::encode_status(o, status),
        Message::TableDescRequest => plain(o, Kind::TableDescRequest, &[]),
        Message::TableDescReply(tables) => table_desc::encode_descs(o, tables),
        Message::TlvTableMod(tm) => tlv::encode_mod(o, tm),
        Message::TlvTableRequest => plain(o, Kind::TlvTableRequest, &[]),
        Message::TlvTableReply(table) => tlv::encode_table(o, table),
        Message::CtFlush(flush) => ct_flush::encode(o, flush),
        Message::CtFlushZone { zone } => {
            let [high, low] = zone.to_be_bytes();
            plain(o, Kind::CtFlushZone, &[0, 0, 0, 0, 0, 0, high, low]);
        }
        Message::IpfixBridgeRequest => plain(o, Kind::IpfixBridgeRequest, &[]),
        Message::IpfixBridgeReply(stats) => ipfix::encode_bridge(o, stats),
        Message::IpfixFlowRequest => plain(o, Kind::IpfixFlowRequest, &[]),
        Message::IpfixFlowReply(stats) => ipfix::encode_flows(o, stats),
        Message::FlowAge => plain(o, Kind::FlowAge, &[]),
        Message::BundleControl(control) => bundle::encode_control(o, control),
        Message::BundleAdd(add) => bundle::encode_add(o, add),
        Message::BundleFeaturesRequest(request) => bundle::encode_features_request(o, request),
        Message::BundleFeaturesReply(features) => bundle::encode_features(o, features),
        Message::FlowMonitorRequest(requests) => flow_monitor::encode_requests(o, requests),
        Message::FlowMonitorReply(updates) => flow_monitor::encode_updates(o, updates),
        Message::FlowMonitorCancel { id } => {
            let kind = either(o, Kind::FlowMonitorCancel, Kind::OnfFlowMonitorCancel);
            plain(o, kind, &id.to_be_bytes());
        }
        Message::FlowMonitorPaused => {
            let kind = either(o, Kind::FlowMonitorPaused, Kind::OnfFlowMonitorPaused);
            plain(o, kind, &[]);
        }
        Message::FlowMonitorResumed => {
            let kind = either(o, Kind::FlowMonitorResumed, Kind::OnfFlowMonitorResumed);
            plain(o, kind, &[]);
        }
        Message::SetFlowFormat(format) => {
            let format = match format {
                FlowFormat::OpenFlow10 => NXFF_OPENFLOW10,
                FlowFormat::Nxm => NXFF_NXM,
            };
            plain(o, Kind::SetFlowFormat, &format.to_be_bytes());
        }
        Message::SetFlowModTableId(on) => {
            plain(
                o,
                Kind::SetFlowModTableId,
                &[u8::from(*on), 0, 0, 0, 0, 0, 0, 0],
            );
        }
        Message::SetPacketInFormat(format) => {
            let format: u32 = match format {
                PacketInFormat::Standard => 0,
                PacketInFormat::Nxt => 1,
                PacketInFormat::Nxt2 => 2,
            };
            plain(o, Kind::SetPacketInFormat, &format.to_be_bytes());
        }
        Message::SetControllerId(id) => {
            let [high, low] = id.to_be_bytes();
            plain(o, Kind::SetControllerId, &[0, 0, 0, 0, 0, 0, high, low]);
        }
        Message::DescRequest => plain(o, Kind::DescRequest, &[]),
        Message::DescReply(desc) => switch::encode_desc(o, desc),
        Message::FlowStatsRequest(r) => {
            flow_stats::encode_stats_request(
                o,
                r,
                Kind::FlowStatsRequest,
                Kind::NxFlowStatsRequest,
            );
        }
        Message::FlowStatsReply(flows) => flow_stats::encode_flow_stats(o, flows),
        Message::AggregateRequest(r) => {
            flow_stats::encode_stats_request(
                o,
                r,
                Kind::AggregateRequest,
                Kind::NxAggregateRequest,
            );
        }
        Message::AggregateReply { flavor, stats } => {
            flow_stats::encode_aggregate(o, *flavor, stats);
        }
        Message::FlowCountsRequest(r) => {
            let kind = Kind::FlowStats15Request;
            flow_stats::encode_stats_request(o, r, kind, kind);
        }
        Message::FlowCountsReply(flows) => flow_stats::encode_counts(o, flows),
        Message::TableStatsRequest => plain(o, Kind::TableStatsRequest, &[]),
        Message::TableStatsReply(tables) => table_stats::encode(o, tables),
        Message::TableFeaturesRequest(tables) => {
            table_features::encode(o, Kind::TableFeaturesRequest, tables);
        }
        Message::TableFeaturesReply(tables) => {
            table_features::encode(o, Kind::TableFeaturesReply, tables);
        }
        Message::PortStatsRequest { port } => port_stats::encode_request(o, *port),
        Message::PortStatsReply(ports) => port_stats::encode(o, ports),
        Message::QueueStatsRequest(r) => port_stats::encode_queue_request(o, r),
        Message::QueueStatsReply(queues) => port_stats::encode_queues(o, queues),
        Message::PortDescRequest { port } => port::encode_desc_request(o, *port),
        Message::PortDescReply(ports) => port::encode_port_desc_reply(o, ports),
        Message::GroupMod(group_mod) => group::encode_mod(o, group_mod),
        Message::GroupStatsRequest { group_id } => group::encode_stats_request(o, *group_id),
        Message::GroupStatsReply(groups) => group::encode_stats_reply(o, groups),
        Message::GroupDescRequest { group_id } => group::encode_desc_request(o, *group_id),
        Message::GroupDescReply(groups) => group::encode_desc_reply(o, groups),
        Message::GroupFeaturesRequest => group::encode_features_request(o),
        Message::GroupFeaturesReply(features) => group::encode_features_reply(o, features),
        Message::MeterMod(meter_mod) => meter::encode_mod(o, meter_mod),
        Message::MeterStatsRequest { meter_id } => {
            plain(o, Kind::MeterStatsRequest, &meter::request(*meter_id));
        }
        Message::MeterStatsReply(meters) => {
            o.parts(Kind::MeterStatsReply, meters, meter::encode_stats);
        }
        Message::MeterConfigRequest { meter_id } => {
            plain(o, Kind::MeterConfigRequest, &meter::request(*meter_id));
        }
        Message::MeterConfigReply(meters) => {
            o.parts(Kind::MeterConfigReply, meters, meter::encode_config);
        }
        Message::MeterFeaturesRequest => plain(o, Kind::MeterFeaturesRequest, &[]),
        Message::MeterFeaturesReply(features) => meter::encode_features(o, features),
    }
}

/// The ONF's form in 1.3, the other elsewhere.
fn either(o: &MessageWriter, other: Kind, onf: Kind) -> Kind {
    match o.version() {
        Version::Of13 => onf,
        _ => other,
    }
}

fn plain(o: &mut MessageWriter, kind: Kind, body: &[u8]) {
    o.begin(kind);
    o.w.bytes(body);
    o.end();
}
