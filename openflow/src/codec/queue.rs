//! The configuration of queues: `OFPT_QUEUE_GET_CONFIG` up to 1.3, `OFPMP_QUEUE_DESC` from 1.4 on.
//!
//! Source: OpenFlow 1.0.0, 5.2.2 and 5.3.4; OpenFlow 1.2, A.2.2; OpenFlow 1.3.5, 7.2.2 and 7.3.6;
//! OpenFlow 1.4.0, 7.3.5.8.

use packet::OfPort;

use super::kind::Kind;
use super::port::{read_port, write_port};
use super::property;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{Message, QUEUE_ALL, QueueConfig};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, bad};

/// From here on ports are reserved (`OFPP_MAX` of 1.0).
const FIRST_RESERVED_PORT: u32 = 0xff00;
/// Length of a queue's entry without properties, up to 1.1 and from 1.2 on.
const LEN_10: usize = 8;
const LEN_12: usize = 16;
const MIN_RATE: u16 = 1;
const MAX_RATE: u16 = 2;
/// Length of a property up to 1.3; later ones are properties like all others.
const PROPERTY_LEN: u16 = 16;
/// Rates above this mean "none".
const HIGHEST_RATE: u16 = 1000;
const LEN: OfError = OfError::BrcBadLen;

/// port(2), pad(2) in 1.0; port(4), pad(4) up to 1.3; port(4), queue(4) from 1.4 on.
///
/// Errors: `OFPQOFC_BAD_PORT` for reserved ports, which have no queues.
pub(super) fn decode_request(r: &mut Reader, v: Version) -> Result<Message, DecodeError> {
    let port = read_port(r, v)?;
    let queue = match v {
        Version::Of10 => {
            r.skip(2)?;
            QUEUE_ALL
        }
        Version::Of11 | Version::Of12 | Version::Of13 => {
            r.skip(4)?;
            QUEUE_ALL
        }
        _ => r.u32()?,
    };
    let asks_all = v > Version::Of10 && port == OfPort::ANY;
    let local = v >= Version::Of14 && port == OfPort::LOCAL;
    if !asks_all && !local && port.0 >= FIRST_RESERVED_PORT {
        return bad("port of a queue configuration", OfError::QofcBadPort);
    }
    Ok(Message::QueueGetConfigRequest { port, queue })
}

pub(super) fn encode_request(o: &mut MessageWriter, port: OfPort, queue: u32) {
    let v = o.version();
    if v < Version::Of14 {
        o.begin(Kind::QueueGetConfigRequest);
        write_port(&mut o.w, port, v);
        o.w.zeros(if v > Version::Of10 { 4 } else { 2 });
    } else {
        o.begin(Kind::QueueDescRequest);
        write_port(&mut o.w, port, v);
        o.w.u32(queue);
    }
    o.end();
}

/// port(2), pad(6) in 1.0, port(4), pad(4) later; then per queue: id(4), port(4) in 1.2 and 1.3,
/// len(2), pad(2 or 6), properties: type(2), len(2), pad(4), rate(2), pad(6).
pub(super) fn decode(r: &mut Reader, v: Version) -> Result<Message, DecodeError> {
    let port = read_port(r, v)?;
    r.skip(if v > Version::Of10 { 4 } else { 6 })?;
    let mut queues = Vec::new();
    while !r.is_empty() {
        let mut config = QueueConfig {
            port,
            queue: r.u32()?,
            min_rate: None,
            max_rate: None,
            other: Vec::new(),
        };
        if v >= Version::Of12 {
            config.port = read_port(r, v)?;
        }
        let len = usize::from(r.u16()?);
        r.skip(if v >= Version::Of12 { 6 } else { 2 })?;
        let header_len = if v >= Version::Of12 { LEN_12 } else { LEN_10 };
        let Some(properties_len) = len.checked_sub(header_len) else {
            return bad("length of a queue", LEN);
        };
        let mut properties = r.sub(properties_len, LEN)?;
        while !properties.is_empty() {
            let kind = properties.u16()?;
            let len = usize::from(properties.u16()?);
            let Some(body_len) = len.checked_sub(4) else {
                return bad("length of a queue property", LEN);
            };
            let mut body = properties.sub(body_len, LEN)?;
            match kind {
                MIN_RATE | MAX_RATE => {
                    body.skip(4)?;
                    set_rate(&mut config, kind, body.u16()?);
                }
                _ => {}
            }
        }
        queues.push(config);
    }
    Ok(Message::QueueGetConfigReply { port, queues })
}

fn set_rate(config: &mut QueueConfig, kind: u16, rate: u16) {
    let rate = Some(rate).filter(|r| *r <= HIGHEST_RATE);
    if kind == MIN_RATE {
        config.min_rate = rate;
    } else {
        config.max_rate = rate;
    }
}

fn rates(config: &QueueConfig) -> impl Iterator<Item = (u16, u16)> {
    let rates = [(MIN_RATE, config.min_rate), (MAX_RATE, config.max_rate)];
    rates
        .into_iter()
        .filter_map(|(kind, rate)| Some((kind, rate?)))
}

/// port(4), queue(4), length(2), pad(6), properties; those for rates are rate(2), pad(2).
pub(super) fn decode_desc(r: &mut Reader, v: Version) -> Result<Message, DecodeError> {
    let mut queues = Vec::new();
    while !r.is_empty() {
        let mut head = *r;
        head.skip(8)?;
        let len = usize::from(head.u16()?);
        let mut entry = r.sub(len, LEN)?;
        let mut config = QueueConfig {
            port: read_port(&mut entry, v)?,
            queue: entry.u32()?,
            min_rate: None,
            max_rate: None,
            other: Vec::new(),
        };
        entry.skip(8)?;
        while !entry.is_empty() {
            let (kind, mut value) = property::read(&mut entry)?;
            match kind {
                MIN_RATE | MAX_RATE => set_rate(&mut config, kind, value.u16()?),
                _ => config.other.push(property::keep(kind, &mut value)?),
            }
        }
        queues.push(config);
    }
    Ok(Message::QueueGetConfigReply {
        port: OfPort::ANY,
        queues,
    })
}

pub(super) fn encode(o: &mut MessageWriter, port: OfPort, queues: &[QueueConfig]) {
    let v = o.version();
    if v >= Version::Of14 {
        return encode_desc(o, queues);
    }
    o.begin(Kind::QueueGetConfigReply);
    write_port(&mut o.w, port, v);
    o.w.zeros(if v > Version::Of10 { 4 } else { 6 });
    for q in queues {
        let start = o.w.len();
        o.w.u32(q.queue);
        if v >= Version::Of12 {
            write_port(&mut o.w, q.port, v);
        }
        let len_at = o.w.len();
        o.w.u16(0);
        o.w.zeros(if v >= Version::Of12 { 6 } else { 2 });
        for (property, rate) in rates(q) {
            o.w.u16(property);
            o.w.u16(PROPERTY_LEN);
            o.w.zeros(4);
            o.w.u16(rate);
            o.w.zeros(6);
        }
        o.w.patch_len(len_at, start);
    }
    o.end();
}

fn encode_desc(o: &mut MessageWriter, queues: &[QueueConfig]) {
    let v = o.version();
    o.parts(Kind::QueueDescReply, queues, |o, q| {
        let start = o.w.len();
        write_port(&mut o.w, q.port, v);
        o.w.u32(q.queue);
        let len_at = o.w.len();
        o.w.zeros(8);
        for (kind, rate) in rates(q) {
            property::write(&mut o.w, kind, |w| {
                w.u16(rate);
                w.zeros(2);
            });
        }
        property::write_kept(&mut o.w, &q.other);
        o.w.patch_len(len_at, start);
    });
}
