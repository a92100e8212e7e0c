//! Controller roles and asynchronous configuration, standard and Nicira's.
//!
//! Up to 1.3, a configuration has all its masks; in 1.4 and later and in Nicira's second form,
//! each is a property, and those that are not there stay as they are.
//!
//! Source: OpenFlow 1.3.5, 7.3.9 and 7.3.10; `nicira-ext.h`, `struct nx_role_request` and
//! `nx_async_config`.

use super::kind::Kind;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{
    AsyncConfig, AsyncKind, AsyncMask, AsyncProperty, Flavor, Role, RoleMessage, RoleReason,
    RoleStatus,
};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

/// `generation_id` of a reply when none was ever given.
const GENERATION_NONE: u64 = u64::MAX;
/// Of a property of an asynchronous configuration.
const PROPERTY_LEN: u16 = 8;

/// role(4), in 1.5 short id(2), pad(2 or 4), generation_id(8).
pub(super) fn decode(r: &mut Reader, v: Version) -> Result<RoleMessage, DecodeError> {
    let role = match r.u32()? {
        0 => Role::NoChange,
        1 => Role::Equal,
        2 => Role::Master,
        3 => Role::Slave,
        _ => return bad("role", OfError::RrfcBadRole),
    };
    let short_id = r.u16()?;
    r.skip(2)?;
    let generation = r.u64()?;
    Ok(RoleMessage {
        flavor: Flavor::Standard,
        role,
        short_id: if v >= Version::Of15 { short_id } else { 0 },
        generation_id: (role != Role::NoChange).then_some(generation),
    })
}

/// As [`decode`], but a switch that was never given a generation id says so by all ones.
pub(super) fn decode_reply(r: &mut Reader, v: Version) -> Result<RoleMessage, DecodeError> {
    let mut message = decode(r, v)?;
    message.generation_id = message.generation_id.filter(|id| *id != GENERATION_NONE);
    Ok(message)
}

/// role(4)
pub(super) fn decode_nx(r: &mut Reader) -> Result<RoleMessage, DecodeError> {
    let role = match r.u32()? {
        0 => Role::Equal,
        1 => Role::Master,
        2 => Role::Slave,
        _ => return bad("role", OfError::RrfcBadRole),
    };
    Ok(RoleMessage {
        flavor: Flavor::Nicira,
        role,
        short_id: 0,
        generation_id: None,
    })
}

/// The number of a role, but in Nicira's messages.
pub(super) fn wire(role: Role) -> u32 {
    match role {
        Role::NoChange => 0,
        Role::Equal => 1,
        Role::Master => 2,
        Role::Slave => 3,
    }
}

/// role(4) that a controller has.
pub(super) fn decode_current(r: &mut Reader) -> Result<Role, DecodeError> {
    match r.u32()? {
        1 => Ok(Role::Equal),
        2 => Ok(Role::Master),
        3 => Ok(Role::Slave),
        _ => bad("role", OfError::RrfcBadRole),
    }
}

pub(super) fn encode(o: &mut MessageWriter, m: &RoleMessage, is_reply: bool) {
    if m.flavor == Flavor::Nicira {
        let role = match m.role {
            Role::Equal => 0,
            Role::Master => 1,
            Role::Slave => 2,
            Role::NoChange => {
                o.not_expressible("a role request that changes nothing");
                0
            }
        };
        o.begin(if is_reply {
            Kind::NxRoleReply
        } else {
            Kind::NxRoleRequest
        });
        o.w.u32(role);
        return o.end();
    }
    o.begin(if is_reply {
        Kind::RoleReply
    } else {
        Kind::RoleRequest
    });
    o.w.u32(wire(m.role));
    match o.version() >= Version::Of15 {
        true => o.w.u16(m.short_id),
        false => o.w.zeros(2),
    }
    o.w.zeros(2);
    let none = if is_reply { GENERATION_NONE } else { 0 };
    o.w.u64(m.generation_id.unwrap_or(none));
    o.end();
}

/// Three pairs of masks(4 each): packet-in, port status, flow removed; master first, then slave.
pub(super) fn decode_async(r: &mut Reader) -> Result<AsyncConfig, DecodeError> {
    let mut mask = || {
        Ok(AsyncMask {
            master: r.u32()?,
            slave: r.u32()?,
        })
    };
    Ok(AsyncConfig {
        packet_in: mask()?,
        port_status: mask()?,
        flow_removed: mask()?,
        ..AsyncConfig::default()
    })
}

pub(super) fn encode_set_async(o: &mut MessageWriter, flavor: Flavor, config: &AsyncConfig) {
    if flavor == Flavor::Standard && o.version() >= Version::Of14 {
        return encode_set_properties(o, &config.properties(o.version()));
    }
    o.begin(match flavor {
        Flavor::Nicira => Kind::NxSetAsyncConfig,
        Flavor::Standard => Kind::SetAsync,
    });
    write_async(&mut o.w, config);
    o.end();
}

pub(super) fn encode_async_reply(o: &mut MessageWriter, config: &AsyncConfig) {
    o.begin(Kind::GetAsyncReply);
    let version = o.version();
    match version >= Version::Of14 {
        true => write_properties(&mut o.w, &config.properties(version)),
        false => write_async(&mut o.w, config),
    }
    o.end();
}

/// `OFPT_GET_ASYNC_REPLY`. Messages and reasons that `v` does not know are left out.
pub(super) fn decode_async_reply(r: &mut Reader, v: Version) -> Result<AsyncConfig, DecodeError> {
    if v < Version::Of14 {
        return decode_async(r);
    }
    let mut config = AsyncConfig::none();
    while !r.is_empty() {
        let kind = r.u16()?;
        let len = usize::from(r.u16()?);
        let Some((kind, slave)) = async_kind(kind, v) else {
            let padded = len.next_multiple_of(8);
            let rest = padded.checked_sub(4).filter(|rest| *rest <= r.remaining());
            let Some(rest) = rest else {
                return bad("length of an asynchronous property", OfError::BpcBadLen);
            };
            r.bytes(rest)?;
            continue;
        };
        let mask = property_mask(r, len)? & kind.reasons(v);
        config.set(AsyncProperty { kind, slave, mask });
    }
    Ok(config)
}

/// The message of a property's type, and whether it is for slaves.
fn async_kind(kind: u16, v: Version) -> Option<(AsyncKind, bool)> {
    let message = *AsyncKind::ALL.get(usize::from(kind / 2))?;
    message
        .is_in(v)
        .then_some((message, kind.is_multiple_of(2)))
}

fn property_mask(r: &mut Reader, len: usize) -> Result<u32, DecodeError> {
    if len != usize::from(PROPERTY_LEN) {
        return bad("length of an asynchronous property", OfError::BpcBadLen);
    }
    r.u32()
}

/// type(2), length(2), mask(4): two types for each message, the first of them for slaves.
///
/// Errors: `OFPBPC_BAD_LEN`; `OFPACFC_UNSUPPORTED` for messages and `OFPACFC_INVALID` for reasons
/// that there are not.
pub(super) fn decode_properties(
    r: &mut Reader,
    v: Version,
) -> Result<Vec<AsyncProperty>, DecodeError> {
    let mut properties = Vec::new();
    while !r.is_empty() {
        let kind = r.u16()?;
        let len = usize::from(r.u16()?);
        let mask = property_mask(r, len)?;
        let Some((kind, slave)) = async_kind(kind, v) else {
            return bad("asynchronous property", OfError::AcfcUnsupported);
        };
        if mask & !kind.reasons(v) != 0 {
            return bad("reasons of an asynchronous message", OfError::AcfcInvalid);
        }
        properties.push(AsyncProperty { kind, slave, mask });
    }
    Ok(properties)
}

pub(super) fn encode_set_properties(o: &mut MessageWriter, properties: &[AsyncProperty]) {
    o.begin(match o.version() >= Version::Of14 {
        true => Kind::SetAsync,
        false => Kind::NxSetAsyncConfig2,
    });
    write_properties(&mut o.w, properties);
    o.end();
}

fn write_properties(w: &mut Writer, properties: &[AsyncProperty]) {
    for property in properties {
        // Their types are in the order of the messages.
        w.u16(2 * property.kind as u16 + u16::from(!property.slave));
        w.u16(PROPERTY_LEN);
        w.u32(property.mask);
    }
}

/// role(4), reason(1), pad(3), generation_id(8); properties may follow and are not looked at.
pub(super) fn decode_status(r: &mut Reader) -> Result<RoleStatus, DecodeError> {
    let role = decode_current(r)?;
    let Some(reason) = RoleReason::from_wire(r.u8()?) else {
        return bad("reason of a change of role", OfError::NxbrcBadReason);
    };
    r.skip(3)?;
    let generation_id = r.u64()?;
    r.skip(r.remaining())?;
    Ok(RoleStatus {
        role,
        reason,
        generation_id,
    })
}

pub(super) fn encode_status(o: &mut MessageWriter, status: &RoleStatus) {
    o.begin(Kind::RoleStatus);
    o.w.u32(wire(status.role));
    o.w.u8(status.reason.wire());
    o.w.zeros(3);
    o.w.u64(status.generation_id);
    o.end();
}

fn write_async(w: &mut Writer, config: &AsyncConfig) {
    for mask in [config.packet_in, config.port_status, config.flow_removed] {
        w.u32(mask.master);
        w.u32(mask.slave);
    }
}
