//! Controller roles and asynchronous configuration, standard and Nicira's.
//!
//! Source: OpenFlow 1.3.5, 7.3.9 and 7.3.10; `nicira-ext.h`, `struct nx_role_request` and
//! `nx_async_config`.

use super::kind::Kind;
use super::writer::MessageWriter;
use crate::error::OfError;
use crate::message::{AsyncConfig, AsyncMask, Flavor, Role, RoleMessage};
use crate::wire::{DecodeError, Reader, Writer, bad};

/// `generation_id` of a reply when none was ever given.
const GENERATION_NONE: u64 = u64::MAX;

/// role(4), pad(4), generation_id(8).
pub(super) fn decode(r: &mut Reader) -> Result<RoleMessage, DecodeError> {
    let role = match r.u32()? {
        0 => Role::NoChange,
        1 => Role::Equal,
        2 => Role::Master,
        3 => Role::Slave,
        _ => return bad("role", OfError::RrfcBadRole),
    };
    r.skip(4)?;
    let generation = r.u64()?;
    Ok(RoleMessage {
        flavor: Flavor::Standard,
        role,
        generation_id: (role != Role::NoChange).then_some(generation),
    })
}

/// As [`decode`], but a switch that was never given a generation id says so by all ones.
pub(super) fn decode_reply(r: &mut Reader) -> Result<RoleMessage, DecodeError> {
    let mut message = decode(r)?;
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
        generation_id: None,
    })
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
    o.w.u32(match m.role {
        Role::NoChange => 0,
        Role::Equal => 1,
        Role::Master => 2,
        Role::Slave => 3,
    });
    o.w.zeros(4);
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
    })
}

pub(super) fn encode_set_async(o: &mut MessageWriter, flavor: Flavor, config: &AsyncConfig) {
    o.begin(match flavor {
        Flavor::Nicira => Kind::NxSetAsyncConfig,
        Flavor::Standard => Kind::SetAsync,
    });
    write_async(&mut o.w, config);
    o.end();
}

pub(super) fn encode_async_reply(o: &mut MessageWriter, config: &AsyncConfig) {
    o.begin(Kind::GetAsyncReply);
    write_async(&mut o.w, config);
    o.end();
}

fn write_async(w: &mut Writer, config: &AsyncConfig) {
    for mask in [config.packet_in, config.port_status, config.flow_removed] {
        w.u32(mask.master);
        w.u32(mask.slave);
    }
}
