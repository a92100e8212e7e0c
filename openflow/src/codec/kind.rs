//! Message types and multipart types, and which codec each has.
//!
//! ```text
//! experimenter message:   header, experimenter(4), subtype(4), body
//! multipart message:      header, type(2), flags(2), pad(4) from 1.1 on, body
//! experimenter multipart: the same with type 0xffff, then experimenter(4), subtype(4),
//!                         pad(4) in 1.0, body
//! ```
//!
//! Messages of Open vSwitch that this switch does not serve are told apart from unknown ones, so
//! that each gets the error that says so.
//!
//! Source: OpenFlow 1.0.0, 5.1; OpenFlow 1.3.5, 7.1 and 7.3.5; `nicira-ext.h`.

use bytes::Bytes;

use super::flow_stats::{self, FlowStatsKind};
use super::writer::MessageWriter;
use super::{
    Dialect, Header, flow_mod, flow_removed, packet_in, port, role, switch, table_features,
};
use crate::error::OfError;
use crate::message::{Flavor, FlowFormat, Message, PacketInFormat, Refused};
use crate::version::Version;
use crate::wire::{DecodeError, NICIRA, ONF, Reader, bad};

pub(super) const OFPT_HELLO: u8 = 0;
pub(super) const OFPT_ERROR: u8 = 1;
const OFPT_ECHO_REQUEST: u8 = 2;
const OFPT_ECHO_REPLY: u8 = 3;
const OFPT_EXPERIMENTER: u8 = 4;
const OFPT_FEATURES_REQUEST: u8 = 5;
pub(super) const OFPT_FEATURES_REPLY: u8 = 6;
const OFPT_GET_CONFIG_REQUEST: u8 = 7;
const OFPT_GET_CONFIG_REPLY: u8 = 8;
const OFPT_SET_CONFIG: u8 = 9;
pub(super) const OFPT_PACKET_IN: u8 = 10;
pub(super) const OFPT_FLOW_REMOVED: u8 = 11;
pub(super) const OFPT_PORT_STATUS: u8 = 12;
pub(super) const OFPT_PACKET_OUT: u8 = 13;
pub(super) const OFPT_FLOW_MOD: u8 = 14;

const OFPT10_PORT_MOD: u8 = 15;
const OFPT10_STATS_REQUEST: u8 = 16;
const OFPT10_STATS_REPLY: u8 = 17;
const OFPT10_BARRIER_REQUEST: u8 = 18;
const OFPT10_BARRIER_REPLY: u8 = 19;
const OFPT10_QUEUE_GET_CONFIG_REQUEST: u8 = 20;
const OFPT10_QUEUE_GET_CONFIG_REPLY: u8 = 21;

const OFPT_GROUP_MOD: u8 = 15;
const OFPT_PORT_MOD: u8 = 16;
pub(super) const OFPT_TABLE_MOD: u8 = 17;
const OFPT_MULTIPART_REQUEST: u8 = 18;
const OFPT_MULTIPART_REPLY: u8 = 19;
const OFPT_BARRIER_REQUEST: u8 = 20;
const OFPT_BARRIER_REPLY: u8 = 21;
const OFPT_QUEUE_GET_CONFIG_REQUEST: u8 = 22;
const OFPT_QUEUE_GET_CONFIG_REPLY: u8 = 23;
pub(super) const OFPT_ROLE_REQUEST: u8 = 24;
pub(super) const OFPT_ROLE_REPLY: u8 = 25;
const OFPT_GET_ASYNC_REQUEST: u8 = 26;
pub(super) const OFPT_GET_ASYNC_REPLY: u8 = 27;
pub(super) const OFPT_SET_ASYNC: u8 = 28;
const OFPT_METER_MOD: u8 = 29;

pub(super) const OFPMP_DESC: u16 = 0;
pub(super) const OFPMP_FLOW: u16 = 1;
pub(super) const OFPMP_AGGREGATE: u16 = 2;
pub(super) const OFPMP_TABLE: u16 = 3;
pub(super) const OFPMP_PORT_STATS: u16 = 4;
pub(super) const OFPMP_QUEUE: u16 = 5;
const OFPMP_GROUP: u16 = 6;
const OFPMP_GROUP_DESC: u16 = 7;
const OFPMP_GROUP_FEATURES: u16 = 8;
const OFPMP_METER: u16 = 9;
const OFPMP_METER_CONFIG: u16 = 10;
const OFPMP_METER_FEATURES: u16 = 11;
pub(super) const OFPMP_TABLE_FEATURES: u16 = 12;
pub(super) const OFPMP_PORT_DESC: u16 = 13;
const OFPMP_EXPERIMENTER: u16 = 0xffff;

pub(super) const NXT_ROLE_REQUEST: u32 = 10;
pub(super) const NXT_ROLE_REPLY: u32 = 11;
const NXT_SET_FLOW_FORMAT: u32 = 12;
pub(super) const NXT_FLOW_MOD: u32 = 13;
pub(super) const NXT_FLOW_REMOVED: u32 = 14;
const NXT_FLOW_MOD_TABLE_ID: u32 = 15;
const NXT_SET_PACKET_IN_FORMAT: u32 = 16;
pub(super) const NXT_PACKET_IN: u32 = 17;
pub(super) const NXT_SET_ASYNC_CONFIG: u32 = 19;
const NXT_SET_CONTROLLER_ID: u32 = 20;
pub(super) const NXT_PACKET_IN2: u32 = 30;

pub(super) const NXST_FLOW: u32 = 0;
pub(super) const NXST_AGGREGATE: u32 = 1;

const NXFF_OPENFLOW10: u32 = 0;
const NXFF_NXM: u32 = 2;

/// Flag of a multipart message: more follow.
const MULTIPART_MORE: u16 = 1;

/// Which way a multipart message goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Reply,
}

/// By type: errors, replies, and what switches send unasked. Experimenter messages count as
/// requests.
pub(super) fn is_reply(header: &Header) -> bool {
    match header.kind {
        OFPT_ERROR
        | OFPT_ECHO_REPLY
        | OFPT_FEATURES_REPLY
        | OFPT_GET_CONFIG_REPLY
        | OFPT_PACKET_IN
        | OFPT_FLOW_REMOVED
        | OFPT_PORT_STATUS => true,
        kind => match Version::from_wire(header.version) {
            Some(Version::Of10) => matches!(
                kind,
                OFPT10_STATS_REPLY | OFPT10_BARRIER_REPLY | OFPT10_QUEUE_GET_CONFIG_REPLY
            ),
            Some(Version::Of13) => matches!(
                kind,
                OFPT_MULTIPART_REPLY
                    | OFPT_BARRIER_REPLY
                    | OFPT_QUEUE_GET_CONFIG_REPLY
                    | OFPT_ROLE_REPLY
                    | OFPT_GET_ASYNC_REPLY
            ),
            None => false,
        },
    }
}

/// Reads the body of a message and says whether more parts follow.
pub(super) fn decode(
    header: &Header,
    r: &mut Reader,
    dialect: &Dialect,
) -> Result<(Message, bool), DecodeError> {
    // These have one form in all versions, also in those that the codec does not speak.
    let message = match header.kind {
        OFPT_HELLO => Message::Hello(switch::decode_hello(r, header.version)?),
        OFPT_ERROR => Message::Error(switch::decode_error(r, header.version)?),
        OFPT_ECHO_REQUEST => Message::EchoRequest(rest(r)?),
        OFPT_ECHO_REPLY => Message::EchoReply(rest(r)?),
        _ => {
            let Some(version) = Version::from_wire(header.version) else {
                return bad("OpenFlow version", OfError::BrcBadVersion);
            };
            let way = match (version, header.kind) {
                (Version::Of10, OFPT10_STATS_REQUEST) => Some(Way::Request),
                (Version::Of10, OFPT10_STATS_REPLY) => Some(Way::Reply),
                (Version::Of13, OFPT_MULTIPART_REQUEST) => Some(Way::Request),
                (Version::Of13, OFPT_MULTIPART_REPLY) => Some(Way::Reply),
                _ => None,
            };
            if let Some(way) = way {
                let (message, more) = decode_multipart(r, version, way)?;
                if !matches!(message, Message::Refused(_)) {
                    r.done()?;
                }
                return Ok((message, more));
            }
            decode_versioned(header.kind, r, version, dialect)?
        }
    };
    if !matches!(message, Message::Refused(_)) {
        r.done()?;
    }
    Ok((message, false))
}

fn decode_versioned(
    kind: u8,
    r: &mut Reader,
    v: Version,
    dialect: &Dialect,
) -> Result<Message, DecodeError> {
    Ok(match kind {
        OFPT_EXPERIMENTER => decode_experimenter(r, v, dialect)?,
        OFPT_FEATURES_REQUEST => Message::FeaturesRequest,
        OFPT_FEATURES_REPLY => Message::FeaturesReply(switch::decode_features(r, v)?),
        OFPT_GET_CONFIG_REQUEST => Message::GetConfigRequest,
        OFPT_GET_CONFIG_REPLY => Message::GetConfigReply(switch::decode_config(r, v)?),
        OFPT_SET_CONFIG => Message::SetConfig(switch::decode_config(r, v)?),
        OFPT_PORT_STATUS => Message::PortStatus(port::decode_status(r, v)?),
        OFPT_PACKET_OUT => Message::PacketOut(flow_mod::decode_packet_out(r, v)?),
        _ => match v {
            Version::Of10 => decode_10(kind, r, dialect)?,
            Version::Of13 => decode_13(kind, r)?,
        },
    })
}

fn decode_10(kind: u8, r: &mut Reader, dialect: &Dialect) -> Result<Message, DecodeError> {
    let v = Version::Of10;
    Ok(match kind {
        OFPT_PACKET_IN => Message::PacketIn(packet_in::decode_10(r)?),
        OFPT_FLOW_REMOVED => Message::FlowRemoved(flow_removed::decode_flow_removed_10(r)?),
        OFPT_FLOW_MOD => Message::FlowMod(flow_mod::decode_flow_mod_10(r, dialect)?),
        OFPT10_PORT_MOD => Message::PortMod(port::decode_port_mod(r, v)?),
        OFPT10_BARRIER_REQUEST => Message::BarrierRequest,
        OFPT10_BARRIER_REPLY => Message::BarrierReply,
        OFPT10_QUEUE_GET_CONFIG_REQUEST => Message::QueueGetConfigRequest {
            port: port::decode_queue_config_request(r, v)?,
        },
        OFPT10_QUEUE_GET_CONFIG_REPLY => {
            let (port, queues) = port::decode_queue_config(r, v)?;
            Message::QueueGetConfigReply { port, queues }
        }
        _ => return bad("message type", OfError::BrcBadType),
    })
}

fn decode_13(kind: u8, r: &mut Reader) -> Result<Message, DecodeError> {
    let v = Version::Of13;
    Ok(match kind {
        OFPT_PACKET_IN => Message::PacketIn(packet_in::decode_13(r)?),
        OFPT_FLOW_REMOVED => Message::FlowRemoved(flow_removed::decode_flow_removed_13(r)?),
        OFPT_FLOW_MOD => Message::FlowMod(flow_mod::decode_flow_mod_13(r)?),
        OFPT_GROUP_MOD => refuse("OFPT_GROUP_MOD", OfError::BrcBadType),
        OFPT_PORT_MOD => Message::PortMod(port::decode_port_mod(r, v)?),
        OFPT_TABLE_MOD => Message::TableMod(switch::decode_table_mod(r)?),
        OFPT_BARRIER_REQUEST => Message::BarrierRequest,
        OFPT_BARRIER_REPLY => Message::BarrierReply,
        OFPT_QUEUE_GET_CONFIG_REQUEST => Message::QueueGetConfigRequest {
            port: port::decode_queue_config_request(r, v)?,
        },
        OFPT_QUEUE_GET_CONFIG_REPLY => {
            let (port, queues) = port::decode_queue_config(r, v)?;
            Message::QueueGetConfigReply { port, queues }
        }
        OFPT_ROLE_REQUEST => Message::RoleRequest(role::decode(r)?),
        OFPT_ROLE_REPLY => Message::RoleReply(role::decode_reply(r)?),
        OFPT_GET_ASYNC_REQUEST => Message::GetAsyncRequest,
        OFPT_GET_ASYNC_REPLY => Message::GetAsyncReply(role::decode_async(r)?),
        OFPT_SET_ASYNC => Message::SetAsync {
            flavor: Flavor::Standard,
            config: role::decode_async(r)?,
        },
        OFPT_METER_MOD => refuse("OFPT_METER_MOD", OfError::BrcBadType),
        _ => return bad("message type", OfError::BrcBadType),
    })
}

fn decode_experimenter(
    r: &mut Reader,
    v: Version,
    dialect: &Dialect,
) -> Result<Message, DecodeError> {
    match r.u32()? {
        NICIRA => {}
        ONF => return Ok(refuse("ONF experimenter message", OfError::BrcBadSubtype)),
        _ => return bad("experimenter", OfError::BrcBadVendor),
    }
    Ok(match (r.u32()?, v) {
        (NXT_ROLE_REQUEST, _) => Message::RoleRequest(role::decode_nx(r)?),
        (NXT_ROLE_REPLY, _) => Message::RoleReply(role::decode_nx(r)?),
        (NXT_SET_FLOW_FORMAT, Version::Of10) => Message::SetFlowFormat(match r.u32()? {
            NXFF_OPENFLOW10 => FlowFormat::OpenFlow10,
            NXFF_NXM => FlowFormat::Nxm,
            _ => return bad("flow format", OfError::BrcEperm),
        }),
        (NXT_FLOW_MOD, _) => Message::FlowMod(flow_mod::decode_nx_flow_mod(r, dialect)?),
        (NXT_FLOW_REMOVED, _) => Message::FlowRemoved(flow_removed::decode_nx_flow_removed(r)?),
        (NXT_FLOW_MOD_TABLE_ID, _) => {
            let on = r.u8()? != 0;
            r.skip(7)?;
            Message::SetFlowModTableId(on)
        }
        (NXT_SET_PACKET_IN_FORMAT, _) => Message::SetPacketInFormat(match r.u32()? {
            0 => PacketInFormat::Standard,
            1 => PacketInFormat::Nxt,
            2 => PacketInFormat::Nxt2,
            _ => return bad("packet-in format", OfError::BrcEperm),
        }),
        (NXT_PACKET_IN, _) => Message::PacketIn(packet_in::decode_nx(r)?),
        (NXT_SET_ASYNC_CONFIG, _) => Message::SetAsync {
            flavor: Flavor::Nicira,
            config: role::decode_async(r)?,
        },
        (NXT_SET_CONTROLLER_ID, _) => {
            r.zeros(6, OfError::NxbrcMustBeZero)?;
            Message::SetControllerId(r.u16()?)
        }
        (NXT_PACKET_IN2, _) => Message::PacketIn(packet_in::decode_nx2(r)?),
        _ => return bad("Nicira message", OfError::BrcBadSubtype),
    })
}

fn decode_multipart(r: &mut Reader, v: Version, way: Way) -> Result<(Message, bool), DecodeError> {
    let kind = r.u16()?;
    let flags = r.u16()?;
    if v > Version::Of10 {
        r.skip(4)?;
    }
    let more = flags & MULTIPART_MORE != 0;
    let message = match way {
        Way::Request => decode_multipart_request(kind, r, v)?,
        Way::Reply => decode_multipart_reply(kind, r, v)?,
    };
    if way == Way::Request && more && !matches!(message, Message::Refused(_)) {
        // No request that is served comes in parts.
        return bad("request in parts", OfError::BrcMultipartBufferOverflow);
    }
    Ok((message, more))
}

fn decode_multipart_request(kind: u16, r: &mut Reader, v: Version) -> Result<Message, DecodeError> {
    Ok(match (kind, v) {
        (OFPMP_DESC, _) => Message::DescRequest,
        (OFPMP_FLOW, Version::Of10) => {
            Message::FlowStatsRequest(flow_stats::decode_stats_request_10(r)?)
        }
        (OFPMP_FLOW, Version::Of13) => {
            Message::FlowStatsRequest(flow_stats::decode_stats_request_13(r)?)
        }
        (OFPMP_AGGREGATE, Version::Of10) => {
            Message::AggregateRequest(flow_stats::decode_stats_request_10(r)?)
        }
        (OFPMP_AGGREGATE, Version::Of13) => {
            Message::AggregateRequest(flow_stats::decode_stats_request_13(r)?)
        }
        (OFPMP_TABLE, _) => Message::TableStatsRequest,
        (OFPMP_PORT_STATS, _) => Message::PortStatsRequest {
            port: port::decode_stats_request(r, v)?,
        },
        (OFPMP_QUEUE, _) => Message::QueueStatsRequest(port::decode_queue_request(r, v)?),
        (OFPMP_PORT_DESC, _) => Message::PortDescRequest,
        (OFPMP_GROUP, Version::Of13) => refuse("OFPMP_GROUP", OfError::BrcBadStat),
        (OFPMP_GROUP_DESC, Version::Of13) => refuse("OFPMP_GROUP_DESC", OfError::BrcBadStat),
        (OFPMP_GROUP_FEATURES, Version::Of13) => {
            refuse("OFPMP_GROUP_FEATURES", OfError::BrcBadStat)
        }
        (OFPMP_METER, Version::Of13) => refuse("OFPMP_METER", OfError::BrcBadStat),
        (OFPMP_METER_CONFIG, Version::Of13) => refuse("OFPMP_METER_CONFIG", OfError::BrcBadStat),
        (OFPMP_METER_FEATURES, Version::Of13) => {
            refuse("OFPMP_METER_FEATURES", OfError::BrcBadStat)
        }
        (OFPMP_TABLE_FEATURES, Version::Of13) => {
            // With a body it would change the tables.
            if !r.is_empty() {
                return Ok(refuse(
                    "OFPMP_TABLE_FEATURES with tables",
                    OfError::TffcEperm,
                ));
            }
            Message::TableFeaturesRequest
        }
        (OFPMP_EXPERIMENTER, _) => match nicira_subtype(r, v)? {
            NXST_FLOW => Message::FlowStatsRequest(flow_stats::decode_nx_stats_request(r)?),
            NXST_AGGREGATE => Message::AggregateRequest(flow_stats::decode_nx_stats_request(r)?),
            _ => return bad("Nicira statistics", OfError::BrcBadSubtype),
        },
        _ => return bad("multipart type", OfError::BrcBadStat),
    })
}

fn decode_multipart_reply(kind: u16, r: &mut Reader, v: Version) -> Result<Message, DecodeError> {
    Ok(match kind {
        OFPMP_DESC => Message::DescReply(switch::decode_desc(r)?),
        OFPMP_FLOW => {
            Message::FlowStatsReply(flow_stats::decode_flow_stats(r, v, Flavor::Standard)?)
        }
        OFPMP_AGGREGATE => Message::AggregateReply {
            flavor: Flavor::Standard,
            stats: flow_stats::decode_aggregate(r)?,
        },
        OFPMP_TABLE => Message::TableStatsReply(switch::decode_tables(r, v)?),
        OFPMP_TABLE_FEATURES if v > Version::Of10 => {
            Message::TableFeaturesReply(table_features::decode(r)?)
        }
        OFPMP_PORT_STATS => Message::PortStatsReply(port::decode_stats(r, v)?),
        OFPMP_QUEUE => Message::QueueStatsReply(port::decode_queue_stats(r, v)?),
        OFPMP_PORT_DESC => Message::PortDescReply(port::decode_descs(r, v)?),
        OFPMP_EXPERIMENTER => match nicira_subtype(r, v)? {
            NXST_FLOW => {
                Message::FlowStatsReply(flow_stats::decode_flow_stats(r, v, Flavor::Nicira)?)
            }
            NXST_AGGREGATE => Message::AggregateReply {
                flavor: Flavor::Nicira,
                stats: flow_stats::decode_aggregate(r)?,
            },
            _ => return bad("Nicira statistics", OfError::BrcBadSubtype),
        },
        _ => return bad("multipart type", OfError::BrcBadStat),
    })
}

/// The NXST messages are of 1.0 only; in 1.3 the standard ones say as much.
fn nicira_subtype(r: &mut Reader, v: Version) -> Result<u32, DecodeError> {
    if r.u32()? != NICIRA {
        return bad("experimenter of a multipart message", OfError::BrcBadVendor);
    }
    let subtype = r.u32()?;
    match v {
        Version::Of10 => {
            r.skip(4)?;
            Ok(subtype)
        }
        Version::Of13 => bad("Nicira statistics", OfError::BrcBadSubtype),
    }
}

fn refuse(name: &'static str, error: OfError) -> Message {
    Message::Refused(Refused { name, error })
}

fn rest(r: &mut Reader) -> Result<Bytes, DecodeError> {
    Ok(Bytes::copy_from_slice(r.bytes(r.remaining())?))
}

/// A message type that 1.1 renumbered.
fn renumbered(v: Version, of10: u8, later: u8) -> u8 {
    match v {
        Version::Of10 => of10,
        Version::Of13 => later,
    }
}

/// Writes a message.
pub(super) fn encode(o: &mut MessageWriter, message: &Message) {
    let v = o.version();
    let request = renumbered(v, OFPT10_STATS_REQUEST, OFPT_MULTIPART_REQUEST);
    let reply = renumbered(v, OFPT10_STATS_REPLY, OFPT_MULTIPART_REPLY);
    match message {
        Message::Hello(hello) => switch::encode_hello(o, hello),
        Message::Error(error) => switch::encode_error(o, error),
        Message::EchoRequest(data) => plain(o, OFPT_ECHO_REQUEST, data),
        Message::EchoReply(data) => plain(o, OFPT_ECHO_REPLY, data),
        Message::FeaturesRequest => plain(o, OFPT_FEATURES_REQUEST, &[]),
        Message::FeaturesReply(features) => switch::encode_features(o, features),
        Message::GetConfigRequest => plain(o, OFPT_GET_CONFIG_REQUEST, &[]),
        Message::GetConfigReply(c) => switch::encode_config(o, OFPT_GET_CONFIG_REPLY, c),
        Message::SetConfig(c) => switch::encode_config(o, OFPT_SET_CONFIG, c),
        Message::PacketIn(pin) => packet_in::encode(o, pin),
        Message::FlowRemoved(fr) => flow_removed::encode_flow_removed(o, fr),
        Message::PortStatus(status) => port::encode_status(o, status),
        Message::PacketOut(po) => flow_mod::encode_packet_out(o, po),
        Message::FlowMod(fm) => flow_mod::encode_flow_mod(o, fm),
        Message::PortMod(pm) => {
            port::encode_port_mod(o, renumbered(v, OFPT10_PORT_MOD, OFPT_PORT_MOD), pm);
        }
        Message::TableMod(tm) => switch::encode_table_mod(o, tm),
        Message::BarrierRequest => {
            plain(
                o,
                renumbered(v, OFPT10_BARRIER_REQUEST, OFPT_BARRIER_REQUEST),
                &[],
            );
        }
        Message::BarrierReply => {
            plain(
                o,
                renumbered(v, OFPT10_BARRIER_REPLY, OFPT_BARRIER_REPLY),
                &[],
            );
        }
        Message::Refused(refused) => o.not_expressible(refused.name),
        Message::QueueGetConfigRequest { port } => {
            let kind = renumbered(
                v,
                OFPT10_QUEUE_GET_CONFIG_REQUEST,
                OFPT_QUEUE_GET_CONFIG_REQUEST,
            );
            port::encode_queue_config_request(o, kind, *port);
        }
        Message::QueueGetConfigReply { port, queues } => {
            let kind = renumbered(
                v,
                OFPT10_QUEUE_GET_CONFIG_REPLY,
                OFPT_QUEUE_GET_CONFIG_REPLY,
            );
            port::encode_queue_config(o, kind, *port, queues);
        }
        Message::RoleRequest(role) => role::encode(o, role, false),
        Message::RoleReply(role) => role::encode(o, role, true),
        Message::GetAsyncRequest => {
            if v == Version::Of10 {
                o.not_expressible("a request for the asynchronous configuration");
            }
            plain(o, OFPT_GET_ASYNC_REQUEST, &[]);
        }
        Message::GetAsyncReply(config) => {
            if v == Version::Of10 {
                o.not_expressible("a reply with the asynchronous configuration");
            }
            role::encode_async_reply(o, config);
        }
        Message::SetAsync { flavor, config } => role::encode_set_async(o, *flavor, config),
        Message::SetFlowFormat(format) => {
            if v > Version::Of10 {
                o.not_expressible("a flow format");
            }
            let format = match format {
                FlowFormat::OpenFlow10 => NXFF_OPENFLOW10,
                FlowFormat::Nxm => NXFF_NXM,
            };
            nicira(o, NXT_SET_FLOW_FORMAT, &format.to_be_bytes());
        }
        Message::SetFlowModTableId(on) => {
            nicira(
                o,
                NXT_FLOW_MOD_TABLE_ID,
                &[u8::from(*on), 0, 0, 0, 0, 0, 0, 0],
            );
        }
        Message::SetPacketInFormat(format) => {
            let format: u32 = match format {
                PacketInFormat::Standard => 0,
                PacketInFormat::Nxt => 1,
                PacketInFormat::Nxt2 => 2,
            };
            nicira(o, NXT_SET_PACKET_IN_FORMAT, &format.to_be_bytes());
        }
        Message::SetControllerId(id) => {
            let [high, low] = id.to_be_bytes();
            nicira(o, NXT_SET_CONTROLLER_ID, &[0, 0, 0, 0, 0, 0, high, low]);
        }
        Message::DescRequest => multipart(o, request, OFPMP_DESC),
        Message::DescReply(desc) => switch::encode_desc(o, reply, desc),
        Message::FlowStatsRequest(r) => {
            flow_stats::encode_stats_request(o, r, request, FlowStatsKind::Flow);
        }
        Message::FlowStatsReply(flows) => flow_stats::encode_flow_stats(o, reply, flows),
        Message::AggregateRequest(r) => {
            flow_stats::encode_stats_request(o, r, request, FlowStatsKind::Aggregate);
        }
        Message::AggregateReply { flavor, stats } => {
            flow_stats::encode_aggregate(o, reply, *flavor, stats);
        }
        Message::TableStatsRequest => multipart(o, request, OFPMP_TABLE),
        Message::TableStatsReply(tables) => switch::encode_tables(o, reply, tables),
        Message::TableFeaturesRequest => {
            if v == Version::Of10 {
                o.not_expressible("a request for table features");
            }
            multipart(o, request, OFPMP_TABLE_FEATURES);
        }
        Message::TableFeaturesReply(tables) => table_features::encode(o, reply, tables),
        Message::PortStatsRequest { port } => port::encode_stats_request(o, request, *port),
        Message::PortStatsReply(ports) => port::encode_stats(o, reply, ports),
        Message::QueueStatsRequest(r) => port::encode_queue_request(o, request, r),
        Message::QueueStatsReply(queues) => port::encode_queue_stats(o, reply, queues),
        Message::PortDescRequest => multipart(o, request, OFPMP_PORT_DESC),
        Message::PortDescReply(ports) => port::encode_port_desc_reply(o, reply, ports),
    }
}

fn plain(o: &mut MessageWriter, kind: u8, body: &[u8]) {
    o.begin(kind);
    o.w.bytes(body);
    o.end();
}

fn nicira(o: &mut MessageWriter, subtype: u32, body: &[u8]) {
    o.begin_nicira(subtype);
    o.w.bytes(body);
    o.end();
}

fn multipart(o: &mut MessageWriter, message: u8, kind: u16) {
    o.begin_multipart(message, kind);
    o.end();
}
