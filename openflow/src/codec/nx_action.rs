//! Nicira's extension actions.
//!
//! ```text
//! | 0xffff(2) | length(2) | 0x00002320(4) | subtype(2) | body ...
//! ```
//!
//! Source: Open vSwitch `lib/ofp-actions.c` (the comments on the structures), `nicira-ext.h`.

use packet::OfPort;

use super::action::{Encoder, set_field_mask};
use super::nxm;
use crate::action::{Action, Subfield};
use crate::error::OfError;
use crate::field::{Field, low_bits};
use crate::message::PacketInReason;
use crate::version::Version;
use crate::wire::{DecodeError, NICIRA, Reader, Writer, bad};

const NXAST_RESUBMIT: u16 = 1;
const NXAST_SET_QUEUE: u16 = 4;
const NXAST_POP_QUEUE: u16 = 5;
const NXAST_REG_MOVE: u16 = 6;
const NXAST_REG_LOAD: u16 = 7;
const NXAST_NOTE: u16 = 8;
const NXAST_RESUBMIT_TABLE: u16 = 14;
const NXAST_OUTPUT_REG: u16 = 15;
const NXAST_EXIT: u16 = 17;
const NXAST_DEC_TTL: u16 = 18;
const NXAST_CONTROLLER: u16 = 20;
const NXAST_DEC_TTL_CNT_IDS: u16 = 21;
const NXAST_WRITE_METADATA: u16 = 22;
const NXAST_STACK_PUSH: u16 = 27;
const NXAST_STACK_POP: u16 = 28;
const NXAST_OUTPUT_REG2: u16 = 32;
const NXAST_REG_LOAD2: u16 = 33;
const NXAST_GROUP: u16 = 40;

/// In resubmit: keep the input port, keep the table.
const SAME_PORT: u16 = 0xfff8;
const SAME_TABLE: u8 = 0xff;

/// Reads the subtype and body; the experimenter id has been read.
///
/// Errors: `OFPBAC_BAD_VENDOR_TYPE` for actions that this switch does not carry out.
pub(crate) fn decode(r: &mut Reader) -> Result<Action, DecodeError> {
    const MBZ: OfError = OfError::NxbacMustBeZero;
    let action = match r.u16()? {
        NXAST_RESUBMIT => {
            let in_port = r.u16()?;
            r.skip(4)?;
            Action::Resubmit {
                in_port: resubmit_port(in_port),
                table: None,
            }
        }
        NXAST_RESUBMIT_TABLE => {
            let in_port = r.u16()?;
            let table = r.u8()?;
            r.zeros(3, MBZ)?;
            Action::Resubmit {
                in_port: resubmit_port(in_port),
                table: (table != SAME_TABLE).then_some(table),
            }
        }
        NXAST_SET_QUEUE => {
            r.skip(2)?;
            Action::SetQueue(r.u32()?)
        }
        NXAST_GROUP => {
            r.skip(2)?;
            Action::Group(r.u32()?)
        }
        NXAST_POP_QUEUE => {
            r.skip(6)?;
            Action::PopQueue
        }
        NXAST_REG_MOVE => {
            let bits = r.u16()?;
            let src_offset = r.u16()?;
            let dst_offset = r.u16()?;
            let src = nxm::decode_field_id(r)?;
            let dst = nxm::decode_field_id(r)?;
            r.zeros(r.remaining(), MBZ)?;
            let src = subfield(src, src_offset, bits)?;
            let dst = writable(subfield(dst, dst_offset, bits)?)?;
            Action::RegMove { src, dst }
        }
        NXAST_REG_LOAD => {
            let (offset, bits) = offset_and_bits(r.u16()?);
            let dst = nxm::decode_field_id(r)?;
            let value = r.u64()?;
            let dst = writable(subfield(dst, offset, bits)?)?;
            if u128::from(value) & !low_bits(dst.bits) != 0 {
                return bad("value wider than the field", OfError::BacBadArgument);
            }
            Action::RegLoad { dst, value }
        }
        NXAST_REG_LOAD2 => {
            let mut entry = Reader::new(r.rest(), OfError::BacBadSetLen);
            let (info, value, mask) = nxm::decode_set_field(&mut entry)?;
            r.skip(r.remaining() - entry.remaining())?;
            r.zeros(r.remaining(), MBZ)?;
            let full = set_field_mask(info.field);
            let mask = mask.map_or(full, |m| m & full);
            Action::SetField {
                field: info.field,
                value,
                mask,
            }
        }
        NXAST_NOTE => Action::Note(r.bytes(r.remaining())?.to_vec()),
        NXAST_OUTPUT_REG => {
            let (offset, bits) = offset_and_bits(r.u16()?);
            let src = subfield(nxm::decode_field_id(r)?, offset, bits)?;
            let max_len = r.u16()?;
            r.zeros(6, MBZ)?;
            Action::OutputReg { src, max_len }
        }
        NXAST_OUTPUT_REG2 => {
            let (offset, bits) = offset_and_bits(r.u16()?);
            let max_len = r.u16()?;
            let src = subfield(nxm::decode_field_id(r)?, offset, bits)?;
            r.zeros(r.remaining(), MBZ)?;
            Action::OutputReg { src, max_len }
        }
        NXAST_EXIT => {
            r.skip(6)?;
            Action::Exit
        }
        NXAST_DEC_TTL => {
            r.skip(6)?;
            Action::DecTtl(vec![0])
        }
        NXAST_DEC_TTL_CNT_IDS => {
            let n = usize::from(r.u16()?);
            r.zeros(4, MBZ)?;
            if n == 0 {
                return bad("dec_ttl without controllers", OfError::BacBadLen);
            }
            let mut ids = r.sub(n * 2, OfError::BacBadLen)?;
            let ids = (0..n).map(|_| ids.u16()).collect::<Result<Vec<u16>, _>>()?;
            r.skip(r.remaining())?;
            Action::DecTtl(ids)
        }
        NXAST_CONTROLLER => {
            let max_len = r.u16()?;
            let controller_id = r.u16()?;
            let reason = r.u8()?;
            r.zeros(1, MBZ)?;
            let Some(reason) = PacketInReason::from_wire(reason) else {
                return bad("packet-in reason", OfError::BacBadArgument);
            };
            Action::Controller {
                max_len,
                controller_id,
                reason,
            }
        }
        NXAST_WRITE_METADATA => {
            r.zeros(6, MBZ)?;
            let value = r.u64()?;
            let mask = r.u64()?;
            Action::WriteMetadata {
                value: value & mask,
                mask,
            }
        }
        NXAST_STACK_PUSH => Action::StackPush(stack(r)?),
        NXAST_STACK_POP => Action::StackPop(writable(stack(r)?)?),
        _ => return bad("Nicira action", OfError::BacBadVendorType),
    };
    Ok(action)
}

fn resubmit_port(n: u16) -> Option<OfPort> {
    (n != SAME_PORT).then_some(OfPort::from_u16(n))
}

fn stack(r: &mut Reader) -> Result<Subfield, DecodeError> {
    let offset = r.u16()?;
    let field = nxm::decode_field_id(r)?;
    let bits = r.u16()?;
    r.zeros(r.remaining(), OfError::NxbacMustBeZero)?;
    subfield(field, offset, bits)
}

fn subfield(field: Field, offset: u16, bits: u16) -> Result<Subfield, DecodeError> {
    Subfield::new(field, offset, bits).map_err(|error| DecodeError::Bad {
        what: field.name(),
        error,
    })
}

fn writable(subfield: Subfield) -> Result<Subfield, DecodeError> {
    if subfield.field.info().is_settable() {
        Ok(subfield)
    } else {
        bad("read-only field", OfError::BacBadSetArgument)
    }
}

/// The 10-bit offset and 6-bit width minus one of `ofs_nbits`.
fn offset_and_bits(n: u16) -> (u16, u16) {
    (n >> 6, (n & 0x3f) + 1)
}

fn ofs_nbits(s: Subfield) -> u16 {
    s.offset << 6 | s.bits.saturating_sub(1) & 0x3f
}

/// Writes an action that Nicira's extension has; anything else is reported as left out.
pub(crate) fn encode(e: &mut Encoder, w: &mut Writer, action: &Action) {
    // Extension actions name fields by NXM identifiers where there are any, in all versions.
    let version = Version::Of10;
    match action {
        Action::Resubmit { in_port, table } => {
            let Some(port) = in_port.map_or(Some(SAME_PORT), |p| p.to_u16()) else {
                return e.leave_out("resubmit");
            };
            body(w, NXAST_RESUBMIT_TABLE, |w| {
                w.u16(port);
                w.u8(table.unwrap_or(SAME_TABLE));
            });
        }
        Action::SetQueue(queue) => body(w, NXAST_SET_QUEUE, |w| {
            w.u16(0);
            w.u32(*queue);
        }),
        Action::PopQueue => body(w, NXAST_POP_QUEUE, |_| ()),
        Action::RegMove { src, dst } => {
            if !nxm::has_wire_id(src.field) || !nxm::has_wire_id(dst.field) {
                return e.leave_out("move");
            }
            body(w, NXAST_REG_MOVE, |w| {
                w.u16(src.bits);
                w.u16(src.offset);
                w.u16(dst.offset);
                nxm::encode_field_id(w, src.field, version);
                nxm::encode_field_id(w, dst.field, version);
            });
        }
        Action::RegLoad { dst, value } => {
            if !nxm::has_wire_id(dst.field) {
                return e.leave_out("load");
            }
            if dst.bits > 64 {
                return e.leave_out("load of more than 64 bits");
            }
            body(w, NXAST_REG_LOAD, |w| {
                w.u16(ofs_nbits(*dst));
                nxm::encode_field_id(w, dst.field, version);
                w.u64(*value);
            });
        }
        Action::Note(note) => body(w, NXAST_NOTE, |w| w.bytes(note)),
        Action::OutputReg { src, max_len } => {
            if !nxm::has_wire_id(src.field) || src.bits > 64 {
                return e.leave_out("output of a field");
            }
            body(w, NXAST_OUTPUT_REG, |w| {
                w.u16(ofs_nbits(*src));
                nxm::encode_field_id(w, src.field, version);
                w.u16(*max_len);
                w.zeros(6);
            });
        }
        Action::Exit => body(w, NXAST_EXIT, |_| ()),
        Action::DecTtl(ids) if ids.as_slice() == [0] => body(w, NXAST_DEC_TTL, |_| ()),
        Action::DecTtl(ids) => {
            let Ok(n) = u16::try_from(ids.len()) else {
                return e.leave_out("dec_ttl");
            };
            body(w, NXAST_DEC_TTL_CNT_IDS, |w| {
                w.u16(n);
                w.zeros(4);
                ids.iter().for_each(|id| w.u16(*id));
            });
        }
        Action::Controller {
            max_len,
            controller_id,
            reason,
        } => body(w, NXAST_CONTROLLER, |w| {
            w.u16(*max_len);
            w.u16(*controller_id);
            w.u8(reason.wire());
        }),
        Action::WriteMetadata { value, mask } => body(w, NXAST_WRITE_METADATA, |w| {
            w.zeros(6);
            w.u64(*value);
            w.u64(*mask);
        }),
        Action::StackPush(s) | Action::StackPop(s) => {
            if !nxm::has_wire_id(s.field) {
                return e.leave_out("push or pop");
            }
            let push = matches!(action, Action::StackPush(_));
            body(
                w,
                if push {
                    NXAST_STACK_PUSH
                } else {
                    NXAST_STACK_POP
                },
                |w| {
                    w.u16(s.offset);
                    nxm::encode_field_id(w, s.field, version);
                    w.u16(s.bits);
                    w.zeros(6);
                },
            );
        }
        Action::PushVlan(_) => e.leave_out("push_vlan"),
        Action::Group(group) => body(w, NXAST_GROUP, |w| {
            w.u16(0);
            w.u32(*group);
        }),
        Action::Meter(_) => e.leave_out("meter"),
        Action::ClearActions => e.leave_out("clear_actions"),
        Action::WriteActions(_) => e.leave_out("write_actions"),
        _ => e.leave_out("action"),
    }
}

/// Writes a set-field as loads: each run of bits in `mask`, at most 64 at once, from the least
/// significant.
pub(crate) fn encode_load(e: &mut Encoder, w: &mut Writer, field: Field, value: u128, mask: u128) {
    let mut todo = mask;
    while todo != 0 {
        let offset = todo.trailing_zeros();
        let run = (todo >> offset).trailing_ones().min(64);
        let dst = Subfield {
            field,
            offset: offset as u16,
            bits: run as u16,
        };
        let value = dst.extract(value) as u64;
        encode(e, w, &Action::RegLoad { dst, value });
        todo &= !dst.mask();
    }
}

fn body(w: &mut Writer, subtype: u16, write: impl FnOnce(&mut Writer)) {
    super::action::body(w, 0xffff, |w| {
        w.u32(NICIRA);
        w.u16(subtype);
        write(w);
    });
}
