//! Ports: descriptions, status, port-mods.
//!
//! Source: OpenFlow 1.0.0, 5.2.1, 5.3.3, 5.4.4; OpenFlow 1.3.5, 7.2.1, 7.3.4.3, 7.4.3; OpenFlow
//! 1.4.0, 7.2.1, 7.3.4.4; OpenFlow 1.5.1, 7.3.5.7.

use packet::{EthAddr, OfPort};

use super::kind::Kind;
use super::property;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{
    PortConfig, PortDesc, PortFeatures, PortMod, PortReason, PortState, PortStatus,
};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

const NAME_LEN: usize = 16;
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
/// A description of 1.4 and later without properties.
const DESC_LEN_14: usize = 40;
/// In descriptions and in port-mods.
const ETHERNET: u16 = 0;

/// Reads a port number of `version`: 16 bits in 1.0, 32 bits in 1.1 and later.
pub(super) fn read_port(r: &mut Reader, v: Version) -> Result<OfPort, DecodeError> {
    match v {
        Version::Of10 => Ok(OfPort::from_u16(r.u16()?)),
        _ => Ok(OfPort(r.u32()?)),
    }
}

/// Writes a port number of `version`.
pub(super) fn write_port(w: &mut Writer, p: OfPort, v: Version) {
    match v {
        Version::Of10 => w.u16(p.to_u16().unwrap_or(u16::MAX)),
        _ => w.u32(p.0),
    }
}

/// 1.0: number(2), hw_addr(6), name(16), config(4), state(4), curr(4), advertised(4),
/// supported(4), peer(4). 1.1 to 1.3: number(4), pad(4), hw_addr(6), pad(2), name(16), config,
/// state, features as before, curr_speed(4), max_speed(4). From 1.4 on: number(4), length(2),
/// pad(2), hw_addr(6), pad(2), name(16), config, state, properties; that for Ethernet is pad(4),
/// features and speeds as before.
pub(super) fn decode_desc(r: &mut Reader, v: Version) -> Result<PortDesc, DecodeError> {
    if v >= Version::Of14 {
        return decode_desc_14(r, v);
    }
    let number = read_port(r, v)?;
    let mut desc = decode_identity(number, r, v)?;
    decode_features(&mut desc, r, v)?;
    Ok(desc)
}

fn decode_desc_14(r: &mut Reader, v: Version) -> Result<PortDesc, DecodeError> {
    let mut head = *r;
    let number = read_port(&mut head, v)?;
    let len = usize::from(head.u16()?);
    if len < DESC_LEN_14 {
        return bad("length of a port", OfError::BrcBadLen);
    }
    let mut entry = r.sub(len, OfError::BrcBadLen)?;
    entry.skip(4)?;
    let mut desc = decode_identity(number, &mut entry, v)?;
    while !entry.is_empty() {
        let (kind, mut value) = property::read(&mut entry)?;
        if kind == ETHERNET {
            value.skip(4)?;
            decode_features(&mut desc, &mut value, v)?;
            value.done()?;
        } else {
            desc.other.push(property::keep(kind, &mut value)?);
        }
    }
    Ok(desc)
}

/// What stands between the number and the features.
fn decode_identity(number: OfPort, r: &mut Reader, v: Version) -> Result<PortDesc, DecodeError> {
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
    Ok(PortDesc {
        port: number,
        hw_addr,
        name,
        config: PortConfig(config),
        state: PortState(state),
        curr: PortFeatures::empty(),
        advertised: PortFeatures::empty(),
        supported: PortFeatures::empty(),
        peer: PortFeatures::empty(),
        curr_speed_kbps: 0,
        max_speed_kbps: 0,
        other: Vec::new(),
    })
}

fn decode_features(desc: &mut PortDesc, r: &mut Reader, v: Version) -> Result<(), DecodeError> {
    desc.curr = features(r.u32()?, v);
    desc.advertised = features(r.u32()?, v);
    desc.supported = features(r.u32()?, v);
    desc.peer = features(r.u32()?, v);
    (desc.curr_speed_kbps, desc.max_speed_kbps) = match v {
        Version::Of10 => (desc.curr.max_speed_kbps(), desc.supported.max_speed_kbps()),
        _ => (r.u32()?, r.u32()?),
    };
    Ok(())
}

pub(super) fn encode_desc(w: &mut Writer, desc: &PortDesc, v: Version) {
    let start = w.len();
    write_port(w, desc.port, v);
    let len_at = w.len();
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
    if v < Version::Of14 {
        return encode_features(w, desc, v);
    }
    property::write(w, ETHERNET, |w| {
        w.zeros(4);
        encode_features(w, desc, v);
    });
    property::write_kept(w, &desc.other);
    w.patch_len(len_at, start);
}

fn encode_features(w: &mut Writer, desc: &PortDesc, v: Version) {
    for set in [desc.curr, desc.advertised, desc.supported, desc.peer] {
        w.u32(features_number(set, v));
    }
    if v > Version::Of10 {
        w.u32(desc.curr_speed_kbps);
        w.u32(desc.max_speed_kbps);
    }
}

/// The port that a request for descriptions is about: 1.5 says port(4), pad(4), earlier versions
/// nothing, which means all.
pub(super) fn decode_desc_request(r: &mut Reader, v: Version) -> Result<OfPort, DecodeError> {
    if v < Version::Of15 {
        return Ok(OfPort::ANY);
    }
    let port = read_port(r, v)?;
    r.skip(4)?;
    Ok(port)
}

/// Before 1.5 the reply is about all ports, whichever is asked for.
pub(super) fn encode_desc_request(o: &mut MessageWriter, port: OfPort) {
    let v = o.version();
    o.begin(Kind::PortDescRequest);
    if v >= Version::Of15 {
        write_port(&mut o.w, port, v);
        o.w.zeros(4);
    }
    o.end();
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
/// pad(4), hw_addr(6), pad(2), config(4), mask(4), advertise(4), pad(4). From 1.4 on: as in 1.1 up
/// to the mask, then properties; that for Ethernet is advertise(4).
///
/// Errors: `OFPPMFC_BAD_CONFIG` for bits in the mask that the version does not define.
pub(super) fn decode_port_mod(r: &mut Reader, v: Version) -> Result<PortMod, DecodeError> {
    let number = match (read_port(r, v)?, v) {
        (p, v) if v > Version::Of10 && p.to_u16().is_none() => {
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
    if mask & !config_bits(v) != 0 {
        return bad("mask of a port-mod", OfError::PmfcBadConfig);
    }
    let mut pm = PortMod {
        port: number,
        hw_addr,
        config: PortConfig(config & config_bits(v)),
        mask: PortConfig(mask),
        advertise: PortFeatures::empty(),
        other: Vec::new(),
    };
    if v < Version::Of14 {
        pm.advertise = features(r.u32()?, v);
        r.skip(4)?;
        return Ok(pm);
    }
    while !r.is_empty() {
        let (kind, mut value) = property::read(r)?;
        if kind == ETHERNET {
            pm.advertise = features(value.u32()?, v);
            value.done()?;
        } else {
            pm.other.push(property::keep(kind, &mut value)?);
        }
    }
    Ok(pm)
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
    let advertise = features_number(pm.advertise, v);
    if v < Version::Of14 {
        o.w.u32(advertise);
        o.w.zeros(4);
    } else {
        if advertise != 0 {
            property::write(&mut o.w, ETHERNET, |w| w.u32(advertise));
        }
        property::write_kept(&mut o.w, &pm.other);
    }
    o.end();
}
