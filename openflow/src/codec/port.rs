//! Ports: descriptions, status, port-mods, port and queue statistics, queue configuration.
//!
//! Source: OpenFlow 1.0.0, 5.2.1, 5.3.2 to 5.3.5, 5.4.4; OpenFlow 1.3.5, 7.2.1, 7.2.2, 7.3.4.3,
//! 7.3.5.6 to 7.3.5.8, 7.3.6, 7.4.3.

use std::time::Duration;

use packet::{EthAddr, OfPort};

use super::flow::write_duration;
use super::kind::Kind;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{
    PortConfig, PortDesc, PortFeatures, PortMod, PortReason, PortState, PortStats, PortStatus,
    QueueConfig, QueueStats, QueueStatsRequest,
};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

const NAME_LEN: usize = 16;
/// From here on ports are reserved (`OFPP_MAX` of 1.0).
const FIRST_RESERVED_PORT: u32 = 0xff00;
/// Bits of `ofp_port_config`.
const CONFIG_10: u32 = 0x7f;
const CONFIG_13: u32 = 1 | 1 << 2 | 1 << 5 | 1 << 6;
const STATE_10: u32 = 1 | 3 << 8;
const STATE_13: u32 = 0b111;
const FEATURES_10: u32 = 0xfff;
const FEATURES_13: u32 = 0xffff;
/// Speeds have the same bits in both; from here on 1.0 counts on at bit 7.
const FIRST_MOVED_FEATURE: u32 = 11;
const FIRST_MOVED_FEATURE_10: u32 = 7;
const SAME_FEATURES: u32 = (1 << FIRST_MOVED_FEATURE_10) - 1;
/// Length of a queue's entry without properties.
const QUEUE_LEN_10: usize = 8;
const QUEUE_LEN_13: usize = 16;
const OFPQT_MIN_RATE: u16 = 1;
const OFPQT_MAX_RATE: u16 = 2;
const QUEUE_PROPERTY_LEN: u16 = 16;
/// Rates above this mean "none".
const MAX_RATE: u16 = 1000;

/// Reads a port number of `version`: 16 bits in 1.0, 32 bits in 1.1 and later.
fn port(r: &mut Reader, v: Version) -> Result<OfPort, DecodeError> {
    match v {
        Version::Of10 => Ok(OfPort::from_u16(r.u16()?)),
        _ => Ok(OfPort(r.u32()?)),
    }
}

/// Writes a port number followed by padding to 4 bytes in 1.0.
fn write_port(w: &mut Writer, p: OfPort, v: Version) {
    match v {
        Version::Of10 => w.u16(p.to_u16().unwrap_or(u16::MAX)),
        _ => w.u32(p.0),
    }
}

/// 1.0: number(2), hw_addr(6), name(16), config(4), state(4), curr(4), advertised(4),
/// supported(4), peer(4). 1.1 to 1.3: number(4), pad(4), hw_addr(6), pad(2), name(16), config,
/// state, features as before, curr_speed(4), max_speed(4).
pub(super) fn decode_desc(r: &mut Reader, v: Version) -> Result<PortDesc, DecodeError> {
    let number = port(r, v)?;
    if v > Version::Of10 {
        r.skip(4)?;
    }
    let hw_addr = EthAddr(r.array()?);
    if v > Version::Of10 {
        r.skip(2)?;
    }
    let name = r.string(NAME_LEN)?;
    let config = r.u32()? & config_bits(v);
    let state = r.u32()? & state_bits(v);
    let curr = features(r.u32()?, v);
    let advertised = features(r.u32()?, v);
    let supported = features(r.u32()?, v);
    let peer = features(r.u32()?, v);
    let (curr_speed_kbps, max_speed_kbps) = match v {
        Version::Of10 => (curr.max_speed_kbps(), supported.max_speed_kbps()),
        _ => (r.u32()?, r.u32()?),
    };
    Ok(PortDesc {
        port: number,
        hw_addr,
        name,
        config: PortConfig(config),
        state: PortState(state),
        curr,
        advertised,
        supported,
        peer,
        curr_speed_kbps,
        max_speed_kbps,
    })
}

pub(super) fn encode_desc(w: &mut Writer, desc: &PortDesc, v: Version) {
    write_port(w, desc.port, v);
    if v > Version::Of10 {
        w.zeros(4);
    }
    w.bytes(&desc.hw_addr.0);
    if v > Version::Of10 {
        w.zeros(2);
    }
    w.string(&desc.name, NAME_LEN);
    w.u32(desc.config.0 & config_bits(v));
    w.u32(desc.state.0 & state_bits(v));
    for set in [desc.curr, desc.advertised, desc.supported, desc.peer] {
        w.u32(features_number(set, v));
    }
    if v > Version::Of10 {
        w.u32(desc.curr_speed_kbps);
        w.u32(desc.max_speed_kbps);
    }
}

/// Descriptions up to the end of `r`.
pub(super) fn decode_descs(r: &mut Reader, v: Version) -> Result<Vec<PortDesc>, DecodeError> {
    let mut ports = Vec::new();
    while !r.is_empty() {
        ports.push(decode_desc(r, v)?);
    }
    Ok(ports)
}

pub(super) fn encode_port_desc_reply(o: &mut MessageWriter, ports: &[PortDesc]) {
    let v = o.version();
    o.parts(Kind::PortDescReply, ports, |o, p| {
        encode_desc(&mut o.w, p, v)
    });
}

fn config_bits(v: Version) -> u32 {
    match v {
        Version::Of10 => CONFIG_10,
        _ => CONFIG_13,
    }
}

fn state_bits(v: Version) -> u32 {
    match v {
        Version::Of10 => STATE_10,
        _ => STATE_13,
    }
}

fn features(n: u32, v: Version) -> PortFeatures {
    match v {
        Version::Of10 => {
            let moved = (n & FEATURES_10) >> FIRST_MOVED_FEATURE_10;
            PortFeatures(n & SAME_FEATURES | moved << FIRST_MOVED_FEATURE)
        }
        _ => PortFeatures(n & FEATURES_13),
    }
}

/// Speeds above 10 Gb/s have no bit in 1.0.
fn features_number(set: PortFeatures, v: Version) -> u32 {
    match v {
        Version::Of10 => {
            let moved = (set.0 & FEATURES_13) >> FIRST_MOVED_FEATURE;
            set.0 & SAME_FEATURES | moved << FIRST_MOVED_FEATURE_10
        }
        _ => set.0 & FEATURES_13,
    }
}

/// reason(1), pad(7), description.
pub(super) fn decode_status(r: &mut Reader, v: Version) -> Result<PortStatus, DecodeError> {
    let Some(reason) = PortReason::from_wire(r.u8()?) else {
        return bad("reason of a port status", OfError::NxbrcBadReason);
    };
    r.skip(7)?;
    Ok(PortStatus {
        reason,
        desc: decode_desc(r, v)?,
    })
}

pub(super) fn encode_status(o: &mut MessageWriter, status: &PortStatus) {
    let v = o.version();
    o.begin(Kind::PortStatus);
    o.w.u8(status.reason.wire());
    o.w.zeros(7);
    encode_desc(&mut o.w, &status.desc, v);
    o.end();
}

/// 1.0: number(2), hw_addr(6), config(4), mask(4), advertise(4), pad(4). 1.1 to 1.3: number(4),
/// pad(4), hw_addr(6), pad(2), config(4), mask(4), advertise(4), pad(4).
///
/// Errors: `OFPPMFC_BAD_CONFIG` for bits in the mask that the version does not define.
pub(super) fn decode_port_mod(r: &mut Reader, v: Version) -> Result<PortMod, DecodeError> {
    let number = match (port(r, v)?, v) {
        (p, Version::Of13) if p.to_u16().is_none() => {
            return bad("port of a port-mod", OfError::PmfcBadPort);
        }
        (p, _) => p,
    };
    if v > Version::Of10 {
        r.skip(4)?;
    }
    let hw_addr = EthAddr(r.array()?);
    if v > Version::Of10 {
        r.skip(2)?;
    }
    let config = r.u32()?;
    let mask = r.u32()?;
    let advertise = features(r.u32()?, v);
    r.skip(4)?;
    if mask & !config_bits(v) != 0 {
        return bad("mask of a port-mod", OfError::PmfcBadConfig);
    }
    Ok(PortMod {
        port: number,
        hw_addr,
        config: PortConfig(config & config_bits(v)),
        mask: PortConfig(mask),
        advertise,
    })
}

pub(super) fn encode_port_mod(o: &mut MessageWriter, pm: &PortMod) {
    let v = o.version();
    if pm.mask.0 & !config_bits(v) != 0 {
        o.not_expressible("a port configuration bit");
    }
    o.begin(Kind::PortMod);
    write_port(&mut o.w, pm.port, v);
    if v > Version::Of10 {
        o.w.zeros(4);
    }
    o.w.bytes(&pm.hw_addr.0);
    if v > Version::Of10 {
        o.w.zeros(2);
    }
    o.w.u32(pm.config.0 & config_bits(v));
    o.w.u32(pm.mask.0);
    o.w.u32(features_number(pm.advertise, v));
    o.w.zeros(4);
    o.end();
}

/// 1.0: port(2), pad(6). 1.1 and later: port(4), pad(4).
pub(super) fn decode_stats_request(r: &mut Reader, v: Version) -> Result<OfPort, DecodeError> {
    let p = port(r, v)?;
    r.skip(if v > Version::Of10 { 4 } else { 6 })?;
    Ok(p)
}

pub(super) fn encode_stats_request(o: &mut MessageWriter, p: OfPort) {
    let v = o.version();
    o.begin(Kind::PortStatsRequest);
    write_port(&mut o.w, p, v);
    o.w.zeros(if v > Version::Of10 { 4 } else { 6 });
    o.end();
}

/// port as in the request, twelve counters(8 each), duration(8) in 1.3.
pub(super) fn decode_stats(r: &mut Reader, v: Version) -> Result<Vec<PortStats>, DecodeError> {
    let mut ports = Vec::new();
    while !r.is_empty() {
        ports.push(PortStats {
            port: decode_stats_request(r, v)?,
            rx_packets: r.u64()?,
            tx_packets: r.u64()?,
            rx_bytes: r.u64()?,
            tx_bytes: r.u64()?,
            rx_dropped: r.u64()?,
            tx_dropped: r.u64()?,
            rx_errors: r.u64()?,
            tx_errors: r.u64()?,
            rx_frame_errors: r.u64()?,
            rx_over_errors: r.u64()?,
            rx_crc_errors: r.u64()?,
            collisions: r.u64()?,
            duration: duration(r, v)?,
        });
    }
    Ok(ports)
}

pub(super) fn encode_stats(o: &mut MessageWriter, ports: &[PortStats]) {
    let v = o.version();
    o.parts(Kind::PortStatsReply, ports, |o, p| {
        write_port(&mut o.w, p.port, v);
        o.w.zeros(if v > Version::Of10 { 4 } else { 6 });
        for counter in [
            p.rx_packets,
            p.tx_packets,
            p.rx_bytes,
            p.tx_bytes,
            p.rx_dropped,
            p.tx_dropped,
            p.rx_errors,
            p.tx_errors,
            p.rx_frame_errors,
            p.rx_over_errors,
            p.rx_crc_errors,
            p.collisions,
        ] {
            o.w.u64(counter);
        }
        encode_duration(&mut o.w, p.duration, v);
    });
}

/// 1.3 and later; all ones when it is not known.
fn duration(r: &mut Reader, v: Version) -> Result<Option<Duration>, DecodeError> {
    if v == Version::Of10 {
        return Ok(None);
    }
    let secs = r.u32()?;
    let nanos = r.u32()?;
    let known = secs != u32::MAX || nanos != u32::MAX;
    let duration = Duration::from_secs(secs.into()) + Duration::from_nanos(nanos.into());
    Ok(known.then_some(duration))
}

fn encode_duration(w: &mut Writer, duration: Option<Duration>, v: Version) {
    if v == Version::Of10 {
        return;
    }
    match duration {
        Some(duration) => write_duration(w, duration),
        None => w.u64(u64::MAX),
    }
}

/// port(2), pad(2) in 1.0, port(4) in 1.1 and later; queue(4).
pub(super) fn decode_queue_request(
    r: &mut Reader,
    v: Version,
) -> Result<QueueStatsRequest, DecodeError> {
    let p = port(r, v)?;
    if v == Version::Of10 {
        r.skip(2)?;
    }
    Ok(QueueStatsRequest {
        // 1.0 says `OFPP_ALL` for all ports, later versions `OFPP_ANY`.
        port: match (v, p) {
            (Version::Of10, OfPort::ALL) => OfPort::ANY,
            (_, p) => p,
        },
        queue: r.u32()?,
    })
}

fn write_queue(w: &mut Writer, p: OfPort, queue: u32, v: Version) {
    write_port(w, p, v);
    if v == Version::Of10 {
        w.zeros(2);
    }
    w.u32(queue);
}

pub(super) fn encode_queue_request(o: &mut MessageWriter, q: &QueueStatsRequest) {
    let v = o.version();
    o.begin(Kind::QueueStatsRequest);
    let port = match (v, q.port) {
        (Version::Of10, OfPort::ANY) => OfPort::ALL,
        (_, port) => port,
    };
    write_queue(&mut o.w, port, q.queue, v);
    o.end();
}

/// port and queue as in the request, tx_bytes(8), tx_packets(8), tx_errors(8), duration(8) in
/// 1.3.
pub(super) fn decode_queue_stats(
    r: &mut Reader,
    v: Version,
) -> Result<Vec<QueueStats>, DecodeError> {
    let mut queues = Vec::new();
    while !r.is_empty() {
        let id = decode_queue_request(r, v)?;
        queues.push(QueueStats {
            port: id.port,
            queue: id.queue,
            tx_bytes: r.u64()?,
            tx_packets: r.u64()?,
            tx_errors: r.u64()?,
            duration: duration(r, v)?,
        });
    }
    Ok(queues)
}

pub(super) fn encode_queue_stats(o: &mut MessageWriter, queues: &[QueueStats]) {
    let v = o.version();
    o.parts(Kind::QueueStatsReply, queues, |o, q| {
        write_queue(&mut o.w, q.port, q.queue, v);
        o.w.u64(q.tx_bytes);
        o.w.u64(q.tx_packets);
        o.w.u64(q.tx_errors);
        encode_duration(&mut o.w, q.duration, v);
    });
}

/// `OFPT_QUEUE_GET_CONFIG_REQUEST`: port(2), pad(2) in 1.0; port(4), pad(4) in 1.1 and later.
///
/// Errors: `OFPQOFC_BAD_PORT` for reserved ports, which have no queues.
pub(super) fn decode_queue_config_request(
    r: &mut Reader,
    v: Version,
) -> Result<OfPort, DecodeError> {
    let p = port(r, v)?;
    r.skip(if v > Version::Of10 { 4 } else { 2 })?;
    let asks_all = v > Version::Of10 && p == OfPort::ANY;
    if !asks_all && p.0 >= FIRST_RESERVED_PORT {
        return bad("port of a queue configuration", OfError::QofcBadPort);
    }
    Ok(p)
}

pub(super) fn encode_queue_config_request(o: &mut MessageWriter, p: OfPort) {
    let v = o.version();
    o.begin(Kind::QueueGetConfigRequest);
    write_port(&mut o.w, p, v);
    o.w.zeros(if v > Version::Of10 { 4 } else { 2 });
    o.end();
}

/// port as in a port statistics request, then per queue: id(4), port(4) in 1.2 and later,
/// len(2), pad(2 or 6), properties: type(2), len(2), pad(4), rate(2), pad(6).
pub(super) fn decode_queue_config(
    r: &mut Reader,
    v: Version,
) -> Result<(OfPort, Vec<QueueConfig>), DecodeError> {
    const LEN: OfError = OfError::BrcBadLen;
    let p = decode_stats_request(r, v)?;
    let mut queues = Vec::new();
    while !r.is_empty() {
        let queue = r.u32()?;
        let header_len = match v {
            Version::Of10 => QUEUE_LEN_10,
            _ => {
                r.skip(4)?;
                QUEUE_LEN_13
            }
        };
        let len = usize::from(r.u16()?);
        r.skip(if v > Version::Of10 { 6 } else { 2 })?;
        let Some(properties_len) = len.checked_sub(header_len) else {
            return bad("length of a queue", LEN);
        };
        let mut properties = r.sub(properties_len, LEN)?;
        let mut config = QueueConfig {
            queue,
            min_rate: None,
            max_rate: None,
        };
        while !properties.is_empty() {
            let kind = properties.u16()?;
            let len = usize::from(properties.u16()?);
            let Some(body_len) = len.checked_sub(4) else {
                return bad("length of a queue property", LEN);
            };
            let mut body = properties.sub(body_len, LEN)?;
            let mut rate = || {
                body.skip(4)?;
                Ok(Some(body.u16()?).filter(|r| *r <= MAX_RATE))
            };
            match kind {
                OFPQT_MIN_RATE => config.min_rate = rate()?,
                OFPQT_MAX_RATE => config.max_rate = rate()?,
                _ => {}
            }
        }
        queues.push(config);
    }
    Ok((p, queues))
}

pub(super) fn encode_queue_config(o: &mut MessageWriter, p: OfPort, queues: &[QueueConfig]) {
    let v = o.version();
    o.begin(Kind::QueueGetConfigReply);
    write_port(&mut o.w, p, v);
    o.w.zeros(if v > Version::Of10 { 4 } else { 6 });
    for q in queues {
        let start = o.w.len();
        o.w.u32(q.queue);
        if v > Version::Of10 {
            o.w.u32(p.0);
        }
        let len_at = o.w.len();
        o.w.u16(0);
        o.w.zeros(if v > Version::Of10 { 6 } else { 2 });
        for (property, rate) in [(OFPQT_MIN_RATE, q.min_rate), (OFPQT_MAX_RATE, q.max_rate)] {
            let Some(rate) = rate else { continue };
            o.w.u16(property);
            o.w.u16(QUEUE_PROPERTY_LEN);
            o.w.zeros(4);
            o.w.u16(rate);
            o.w.zeros(6);
        }
        o.w.patch_len(len_at, start);
    }
    o.end();
}
