//! Statistics of ports and queues.
//!
//! Source: OpenFlow 1.0.0, 5.3.5; OpenFlow 1.3.5, 7.3.5.6 and 7.3.5.7; OpenFlow 1.4.0, 7.3.5.6 and
//! 7.3.5.7; Open vSwitch `include/openflow/intel-ext.h` for the two properties of Intel's.

use std::time::Duration;

use packet::OfPort;

use super::flow::write_duration;
use super::kind::Kind;
use super::port::{read_port, write_port};
use super::property;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{CustomCounter, PortStats, QueueStats, QueueStatsRequest, RFC_2819_COUNTERS};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

const ETHERNET: u16 = 0;
const EXPERIMENTER: u16 = 0xffff;
const INTEL: u32 = 0x0000_aa01;
const INTEL_RFC_2819: u32 = 1;
const INTEL_CUSTOM: u32 = 2;

/// 1.0: port(2), pad(6). 1.1 and later: port(4), pad(4).
pub(super) fn decode_request(r: &mut Reader, v: Version) -> Result<OfPort, DecodeError> {
    let p = read_port(r, v)?;
    r.skip(if v > Version::Of10 { 4 } else { 6 })?;
    Ok(p)
}

fn write_port_padded(w: &mut Writer, p: OfPort, v: Version) {
    write_port(w, p, v);
    w.zeros(if v > Version::Of10 { 4 } else { 6 });
}

pub(super) fn encode_request(o: &mut MessageWriter, p: OfPort) {
    let v = o.version();
    o.begin(Kind::PortStatsRequest);
    write_port_padded(&mut o.w, p, v);
    o.end();
}

/// Up to 1.3: port as in the request, eight counters and four of Ethernet(8 each), duration(8) in
/// 1.3. From 1.4 on: length(2), pad(2), port(4), duration(8), eight counters, properties.
pub(super) fn decode(r: &mut Reader, v: Version) -> Result<Vec<PortStats>, DecodeError> {
    let mut ports = Vec::new();
    while !r.is_empty() {
        ports.push(if v < Version::Of14 {
            let mut stats = PortStats::unknown(decode_request(r, v)?);
            decode_counters(&mut stats, r)?;
            decode_ethernet(&mut stats, r)?;
            stats.duration = duration(r, v)?;
            stats
        } else {
            let mut entry = entry(r, "length of port statistics")?;
            entry.skip(2)?;
            decode_14(&mut entry, v)?
        });
    }
    Ok(ports)
}

/// The next entry as its length says, read up to the length.
fn entry<'a>(r: &mut Reader<'a>, what: &'static str) -> Result<Reader<'a>, DecodeError> {
    let len = usize::from(Reader::new(r.rest(), OfError::BrcBadLen).u16()?);
    let mut entry = r.sub(len, OfError::BrcBadLen)?;
    if len < 2 {
        return bad(what, OfError::BrcBadLen);
    }
    entry.skip(2)?;
    Ok(entry)
}

fn decode_14(r: &mut Reader, v: Version) -> Result<PortStats, DecodeError> {
    let mut stats = PortStats::unknown(read_port(r, v)?);
    stats.duration = duration(r, v)?;
    decode_counters(&mut stats, r)?;
    while !r.is_empty() {
        let (kind, mut value) = property::read(r)?;
        let mut inner = value;
        match kind {
            ETHERNET => {
                value.skip(4)?;
                decode_ethernet(&mut stats, &mut value)?;
                value.done()?;
            }
            EXPERIMENTER if inner.u32()? == INTEL => match inner.u32()? {
                INTEL_RFC_2819 => stats.rfc_2819 = Some(decode_rfc_2819(&mut inner)?),
                INTEL_CUSTOM => stats.custom = decode_custom(&mut inner)?,
                _ => return bad("property of port statistics", OfError::BpcBadExpType),
            },
            _ => stats.other.push(property::keep(kind, &mut value)?),
        }
    }
    Ok(stats)
}

fn decode_counters(s: &mut PortStats, r: &mut Reader) -> Result<(), DecodeError> {
    for counter in [
        &mut s.rx_packets,
        &mut s.tx_packets,
        &mut s.rx_bytes,
        &mut s.tx_bytes,
        &mut s.rx_dropped,
        &mut s.tx_dropped,
        &mut s.rx_errors,
        &mut s.tx_errors,
    ] {
        *counter = r.u64()?;
    }
    Ok(())
}

fn decode_ethernet(s: &mut PortStats, r: &mut Reader) -> Result<(), DecodeError> {
    s.rx_frame_errors = r.u64()?;
    s.rx_over_errors = r.u64()?;
    s.rx_crc_errors = r.u64()?;
    s.collisions = r.u64()?;
    Ok(())
}

/// pad(4), the counters(8 each).
fn decode_rfc_2819(r: &mut Reader) -> Result<Box<[u64; RFC_2819_COUNTERS]>, DecodeError> {
    r.skip(4)?;
    let mut counters = Box::new([0; RFC_2819_COUNTERS]);
    for counter in counters.iter_mut() {
        *counter = r.u64()?;
    }
    r.done()?;
    Ok(counters)
}

/// pad(2), number of counters(2), for each: length of name(1), name, value(8).
fn decode_custom(r: &mut Reader) -> Result<Vec<CustomCounter>, DecodeError> {
    r.skip(2)?;
    let n = r.u16()?;
    let mut counters = Vec::new();
    for _ in 0..n {
        let len = usize::from(r.u8()?);
        let name = r.string(len)?;
        let value = r.u64()?;
        counters.push(CustomCounter { name, value });
    }
    Ok(counters)
}

pub(super) fn encode(o: &mut MessageWriter, ports: &[PortStats]) {
    let v = o.version();
    o.parts(Kind::PortStatsReply, ports, |o, s| {
        if v < Version::Of14 {
            write_port_padded(&mut o.w, s.port, v);
            encode_counters(&mut o.w, s);
            encode_ethernet(&mut o.w, s);
            write_known_duration(&mut o.w, s.duration, v);
        } else {
            encode_14(&mut o.w, s, v);
        }
    });
}

fn encode_14(w: &mut Writer, s: &PortStats, v: Version) {
    let start = w.len();
    w.zeros(4);
    write_port(w, s.port, v);
    write_known_duration(w, s.duration, v);
    encode_counters(w, s);
    property::write(w, ETHERNET, |w| {
        w.zeros(4);
        encode_ethernet(w, s);
    });
    if let Some(counters) = &s.rfc_2819 {
        property::write(w, EXPERIMENTER, |w| {
            w.u32(INTEL);
            w.u32(INTEL_RFC_2819);
            w.zeros(4);
            for counter in counters.iter() {
                w.u64(*counter);
            }
        });
    }
    if !s.custom.is_empty() {
        property::write(w, EXPERIMENTER, |w| {
            w.u32(INTEL);
            w.u32(INTEL_CUSTOM);
            let n = u16::try_from(s.custom.len()).unwrap_or(u16::MAX);
            w.zeros(2);
            w.u16(n);
            for counter in s.custom.iter().take(n.into()) {
                let len = u8::try_from(counter.name.len()).unwrap_or(u8::MAX);
                let end = counter.name.floor_char_boundary(len.into());
                let name = counter.name.as_bytes().get(..end).unwrap_or_default();
                w.u8(end as u8);
                w.bytes(name);
                w.u64(counter.value);
            }
        });
    }
    property::write_kept(w, &s.other);
    w.patch_len(start, start);
}

fn encode_counters(w: &mut Writer, s: &PortStats) {
    for counter in [
        s.rx_packets,
        s.tx_packets,
        s.rx_bytes,
        s.tx_bytes,
        s.rx_dropped,
        s.tx_dropped,
        s.rx_errors,
        s.tx_errors,
    ] {
        w.u64(counter);
    }
}

fn encode_ethernet(w: &mut Writer, s: &PortStats) {
    for counter in [
        s.rx_frame_errors,
        s.rx_over_errors,
        s.rx_crc_errors,
        s.collisions,
    ] {
        w.u64(counter);
    }
}

/// 1.3 and later; all ones when it is not known.
fn duration(r: &mut Reader, v: Version) -> Result<Option<Duration>, DecodeError> {
    if v < Version::Of13 {
        return Ok(None);
    }
    let secs = r.u32()?;
    let nanos = r.u32()?;
    let known = secs != u32::MAX || nanos != u32::MAX;
    let duration = Duration::from_secs(secs.into()) + Duration::from_nanos(nanos.into());
    Ok(known.then_some(duration))
}

fn write_known_duration(w: &mut Writer, duration: Option<Duration>, v: Version) {
    if v < Version::Of13 {
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
    let p = read_port(r, v)?;
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

/// From 1.4 on length(2), pad(6) first; port and queue as in the request, tx_bytes(8),
/// tx_packets(8), tx_errors(8), duration(8) in 1.3 and later, properties in 1.4 and later.
pub(super) fn decode_queues(r: &mut Reader, v: Version) -> Result<Vec<QueueStats>, DecodeError> {
    let mut queues = Vec::new();
    while !r.is_empty() {
        if v < Version::Of14 {
            queues.push(decode_queue(r, v)?);
            continue;
        }
        let mut entry = entry(r, "length of queue statistics")?;
        entry.skip(6)?;
        let mut stats = decode_queue(&mut entry, v)?;
        stats.other = property::keep_all(&mut entry)?;
        queues.push(stats);
    }
    Ok(queues)
}

fn decode_queue(r: &mut Reader, v: Version) -> Result<QueueStats, DecodeError> {
    let id = decode_queue_request(r, v)?;
    Ok(QueueStats {
        port: id.port,
        queue: id.queue,
        tx_bytes: r.u64()?,
        tx_packets: r.u64()?,
        tx_errors: r.u64()?,
        duration: duration(r, v)?,
        other: Vec::new(),
    })
}

pub(super) fn encode_queues(o: &mut MessageWriter, queues: &[QueueStats]) {
    let v = o.version();
    o.parts(Kind::QueueStatsReply, queues, |o, q| {
        let start = o.w.len();
        if v >= Version::Of14 {
            o.w.zeros(8);
        }
        write_queue(&mut o.w, q.port, q.queue, v);
        o.w.u64(q.tx_bytes);
        o.w.u64(q.tx_packets);
        o.w.u64(q.tx_errors);
        write_known_duration(&mut o.w, q.duration, v);
        if v >= Version::Of14 {
            property::write_kept(&mut o.w, &q.other);
            o.w.patch_len(start, start);
        }
    });
}
