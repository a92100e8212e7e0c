//! Which codec each kind of message has: finds the [`Kind`] that a header names and reads its
//! body, and writes the body of each message.
//!
//! A message that is well-formed but that this switch does not serve decodes as
//! [`Message::Refused`], with the error that says so.

use bytes::Bytes;

use super::flow_stats;
use super::kind::{self, Kind, MULTIPART_EXPERIMENTER, OFPT_EXPERIMENTER, Place};
use super::writer::MessageWriter;
use super::{
    Dialect, Header, flow_mod, flow_removed, packet_in, port, role, switch, table_features,
};
use crate::error::OfError;
use crate::message::{Flavor, FlowFormat, Message, PacketInFormat, Refused};
use crate::version::Version;
use crate::wire::{DecodeError, NICIRA, ONF, Reader, bad};

const NXFF_OPENFLOW10: u32 = 0;
const NXFF_NXM: u32 = 2;

/// Flag of a multipart message: more follow.
const MULTIPART_MORE: u16 = 1;

/// Reads the body of a message and says whether more parts follow.
pub(super) fn decode(
    header: &Header,
    r: &mut Reader,
    dialect: &Dialect,
) -> Result<(Message, bool), DecodeError> {
    // These have one form in all versions, also in those that the codec does not speak.
    let message = match header.kind {
        0 => Message::Hello(switch::decode_hello(r, header.version)?),
        1 => Message::Error(switch::decode_error(r, header.version)?),
        2 => Message::EchoRequest(rest(r)?),
        3 => Message::EchoReply(rest(r)?),
        _ => {
            let Some(version) = Version::from_wire(header.version) else {
                return bad("OpenFlow version", OfError::BrcBadVersion);
            };
            return decode_versioned(header, version, r, dialect);
        }
    };
    r.done()?;
    Ok((message, false))
}

fn decode_versioned(
    header: &Header,
    v: Version,
    r: &mut Reader,
    dialect: &Dialect,
) -> Result<(Message, bool), DecodeError> {
    let (request, reply) = kind::multipart_types(v);
    let is_reply = header.kind == reply;
    let mut more = false;
    let kind = if is_reply || header.kind == request {
        let kind = r.u16()?;
        more = r.u16()? & MULTIPART_MORE != 0;
        if v > Version::Of10 {
            r.skip(4)?;
        }
        multipart_kind(kind, v, is_reply, r)?
    } else if header.kind == OFPT_EXPERIMENTER {
        experimenter_kind(v, r)?
    } else {
        match Kind::by_type(header.version, header.kind) {
            Some(kind) => kind,
            None => return bad("message type", OfError::BrcBadType),
        }
    };
    let message = decode_body(kind, r, v, dialect)?;
    if matches!(message, Message::Refused(_)) {
        return Ok((message, more));
    }
    r.done()?;
    if more && !is_reply {
        // No request that is served comes in parts.
        return bad("request in parts", OfError::BrcMultipartBufferOverflow);
    }
    Ok((message, more))
}

fn experimenter_kind(v: Version, r: &mut Reader) -> Result<Kind, DecodeError> {
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

fn decode_body(
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
        Kind::NxPacketIn2 => Message::PacketIn(packet_in::decode_nx2(r)?),
        Kind::FlowRemoved => Message::FlowRemoved(flow_removed::decode(r, v)?),
        Kind::NxFlowRemoved => Message::FlowRemoved(flow_removed::decode_nx_flow_removed(r)?),
        Kind::PortStatus => Message::PortStatus(port::decode_status(r, v)?),
        Kind::PacketOut => Message::PacketOut(flow_mod::decode_packet_out(r, v)?),
        Kind::FlowMod => Message::FlowMod(flow_mod::decode(r, v, dialect)?),
        Kind::NxFlowMod => Message::FlowMod(flow_mod::decode_nx_flow_mod(r, dialect)?),
        Kind::PortMod => Message::PortMod(port::decode_port_mod(r, v)?),
        Kind::TableMod => Message::TableMod(switch::decode_table_mod(r)?),
        Kind::BarrierRequest => Message::BarrierRequest,
        Kind::BarrierReply => Message::BarrierReply,
        Kind::QueueGetConfigRequest => Message::QueueGetConfigRequest {
            port: port::decode_queue_config_request(r, v)?,
        },
        Kind::QueueGetConfigReply => {
            let (port, queues) = port::decode_queue_config(r, v)?;
            Message::QueueGetConfigReply { port, queues }
        }
        Kind::RoleRequest => Message::RoleRequest(role::decode(r)?),
        Kind::RoleReply => Message::RoleReply(role::decode_reply(r)?),
        Kind::NxRoleRequest => Message::RoleRequest(role::decode_nx(r)?),
        Kind::NxRoleReply => Message::RoleReply(role::decode_nx(r)?),
        Kind::GetAsyncRequest => Message::GetAsyncRequest,
        Kind::GetAsyncReply => Message::GetAsyncReply(role::decode_async(r)?),
        Kind::SetAsync => Message::SetAsync {
            flavor: Flavor::Standard,
            config: role::decode_async(r)?,
        },
        Kind::NxSetAsyncConfig => Message::SetAsync {
            flavor: Flavor::Nicira,
            config: role::decode_async(r)?,
        },
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
            stats: flow_stats::decode_aggregate(r)?,
        },
        Kind::NxAggregateReply => Message::AggregateReply {
            flavor: Flavor::Nicira,
            stats: flow_stats::decode_aggregate(r)?,
        },
        Kind::TableStatsRequest => Message::TableStatsRequest,
        Kind::TableStatsReply => Message::TableStatsReply(switch::decode_tables(r, v)?),
        // With a body it would change the tables.
        Kind::TableFeaturesRequest if !r.is_empty() => {
            return Ok(Message::Refused(Refused {
                name: kind.name(),
                error: OfError::TffcEperm,
            }));
        }
        Kind::TableFeaturesRequest => Message::TableFeaturesRequest,
        Kind::TableFeaturesReply => Message::TableFeaturesReply(table_features::decode(r)?),
        Kind::PortStatsRequest => Message::PortStatsRequest {
            port: port::decode_stats_request(r, v)?,
        },
        Kind::PortStatsReply => Message::PortStatsReply(port::decode_stats(r, v)?),
        Kind::QueueStatsRequest => Message::QueueStatsRequest(port::decode_queue_request(r, v)?),
        Kind::QueueStatsReply => Message::QueueStatsReply(port::decode_queue_stats(r, v)?),
        Kind::PortDescRequest => Message::PortDescRequest,
        Kind::PortDescReply => Message::PortDescReply(port::decode_descs(r, v)?),
        other => refuse(other, v),
    })
}

/// For a kind that has no codec yet.
fn refuse(kind: Kind, v: Version) -> Message {
    Message::Refused(Refused {
        name: kind.name(),
        error: match kind.place(v) {
            Some(Place::Multipart(_)) => OfError::BrcBadStat,
            Some(Place::Type(_)) | None => OfError::BrcBadType,
            Some(_) => OfError::BrcBadSubtype,
        },
    })
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
        Message::FlowRemoved(fr) => flow_removed::encode_flow_removed(o, fr),
        Message::PortStatus(status) => port::encode_status(o, status),
        Message::PacketOut(po) => flow_mod::encode_packet_out(o, po),
        Message::FlowMod(fm) => flow_mod::encode_flow_mod(o, fm),
        Message::PortMod(pm) => {
            port::encode_port_mod(o, pm);
        }
        Message::TableMod(tm) => switch::encode_table_mod(o, tm),
        Message::BarrierRequest => plain(o, Kind::BarrierRequest, &[]),
        Message::BarrierReply => plain(o, Kind::BarrierReply, &[]),
        Message::Refused(refused) => o.not_expressible(refused.name),
        Message::QueueGetConfigRequest { port } => {
            port::encode_queue_config_request(o, *port);
        }
        Message::QueueGetConfigReply { port, queues } => {
            port::encode_queue_config(o, *port, queues);
        }
        Message::RoleRequest(role) => role::encode(o, role, false),
        Message::RoleReply(role) => role::encode(o, role, true),
        Message::GetAsyncRequest => plain(o, Kind::GetAsyncRequest, &[]),
        Message::GetAsyncReply(config) => role::encode_async_reply(o, config),
        Message::SetAsync { flavor, config } => role::encode_set_async(o, *flavor, config),
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
        Message::TableStatsRequest => plain(o, Kind::TableStatsRequest, &[]),
        Message::TableStatsReply(tables) => switch::encode_tables(o, tables),
        Message::TableFeaturesRequest => plain(o, Kind::TableFeaturesRequest, &[]),
        Message::TableFeaturesReply(tables) => table_features::encode(o, tables),
        Message::PortStatsRequest { port } => port::encode_stats_request(o, *port),
        Message::PortStatsReply(ports) => port::encode_stats(o, ports),
        Message::QueueStatsRequest(r) => port::encode_queue_request(o, r),
        Message::QueueStatsReply(queues) => port::encode_queue_stats(o, queues),
        Message::PortDescRequest => plain(o, Kind::PortDescRequest, &[]),
        Message::PortDescReply(ports) => port::encode_port_desc_reply(o, ports),
    }
}

fn plain(o: &mut MessageWriter, kind: Kind, body: &[u8]) {
    o.begin(kind);
    o.w.bytes(body);
    o.end();
}
