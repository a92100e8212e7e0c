//! Actions with several parts: Nicira's extension actions and the two copy-field actions.
//!
//! Numbers in them name fields by NXM identifiers where there are any, in all versions.
//!
//! Source: Open vSwitch `lib/ofp-actions.c` (the comments on the structures), `nicira-ext.h`;
//! OpenFlow 1.5.1, 7.2.6.7; ONF extension 320.

use packet::OfPort;

use super::action::{Encoder, MIN_TRUNC_LEN, decode_nested, mask_to_hold};
use super::nxm;
use crate::action::kinds::{
    EncapProp, MAX_MEMBERS, PACKET_TYPE_ETHERNET, PACKET_TYPE_MPLS, PACKET_TYPE_MPLS_MULTICAST,
    PACKET_TYPE_NSH,
};
use crate::action::order::Outer;
use crate::action::{
    Action, Bundle, BundleAlgorithm, Controller, Ct, CtZone, Encap, Form, HashFields, Multipath,
    MultipathAlgorithm, Nat, NatAddresses, NatKind, Sample, SampleDirection, Subfield,
};
use crate::error::OfError;
use crate::field::{Field, low_bits};
use crate::message::PacketInReason;
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

/// Whose identifiers extension actions have.
pub(super) const FIELD_IDS: Version = Version::Of10;

/// In resubmit: keep the input port, keep the table.
const SAME_PORT: u16 = 0xfff8;
const SAME_TABLE: u8 = 0xff;

/// In ct: no copy goes on.
const NO_TABLE: u8 = 0xff;
const CT_COMMIT: u16 = 1;
const CT_FORCE: u16 = 2;
const ZONE_BITS: u16 = 16;

const NAT_SRC: u16 = 1;
const NAT_DST: u16 = 1 << 1;
const NAT_PERSISTENT: u16 = 1 << 2;
const NAT_HASH: u16 = 1 << 3;
const NAT_RANDOM: u16 = 1 << 4;
const NAT_ALL: u16 = NAT_SRC | NAT_DST | NAT_PERSISTENT | NAT_HASH | NAT_RANDOM;
const RANGE_V4_MIN: u16 = 1;
const RANGE_V4_MAX: u16 = 1 << 1;
const RANGE_V6_MIN: u16 = 1 << 2;
const RANGE_V6_MAX: u16 = 1 << 3;
const RANGE_PORT_MIN: u16 = 1 << 4;
const RANGE_PORT_MAX: u16 = 1 << 5;

/// Properties of the second form of `controller`.
const PROP_MAX_LEN: u16 = 0;
const PROP_CONTROLLER_ID: u16 = 1;
const PROP_REASON: u16 = 2;
const PROP_USERDATA: u16 = 3;
const PROP_PAUSE: u16 = 4;
const PROP_METER_ID: u16 = 5;

/// Class and types of the properties of an NSH header.
const CLASS_NSH: u16 = 4;
const NSH_MD_TYPE: u8 = 1;
const NSH_TLV: u8 = 2;
/// Length of the property with the type of metadata, without its padding.
const NSH_MD_TYPE_LEN: u8 = 5;
const NSH_TLV_HEADER_LEN: usize = 8;

/// Open vSwitch has this of requests for most actions too, and BAD_ARGUMENT for the oldest.
const MBZ: OfError = OfError::NxbrcMustBeZero;
const BAD_ARGUMENT: OfError = OfError::BacBadArgument;

/// Reads what follows the header.
pub(super) fn decode(
    form: Form,
    r: &mut Reader,
    version: Version,
    depth: usize,
) -> Result<Action, DecodeError> {
    let action = match form {
        Form::Resubmit => {
            let in_port = r.u16()?;
            r.skip(4)?;
            Action::Resubmit {
                in_port: resubmit_port(in_port),
                table: None,
                with_ct: false,
            }
        }
        Form::ResubmitTable | Form::ResubmitTableCt => {
            let in_port = r.u16()?;
            let table = r.u8()?;
            r.zeros(3, BAD_ARGUMENT)?;
            Action::Resubmit {
                in_port: resubmit_port(in_port),
                table: (table != SAME_TABLE).then_some(table),
                with_ct: form == Form::ResubmitTableCt,
            }
        }
        Form::RegMove => reg_move(r)?,
        Form::CopyField => {
            let parts = move_parts(r)?;
            r.skip(2)?;
            move_fields(r, parts)?
        }
        Form::OnfCopyField => {
            r.skip(2)?;
            let parts = move_parts(r)?;
            r.skip(2)?;
            move_fields(r, parts)?
        }
        Form::RegLoad => {
            let (offset, bits) = offset_and_bits(r.u16()?);
            let dst = nxm::decode_load_id(r)?;
            let value = r.u64()?;
            let dst = writable(subfield(dst, offset, bits)?)?;
            if u128::from(value) & !low_bits(dst.bits) != 0 {
                return bad("value wider than the field", BAD_ARGUMENT);
            }
            if u32::from(dst.offset) + u32::from(dst.bits) > u128::BITS {
                return bad("value that cannot be held", OfError::BacBadSetLen);
            }
            Action::RegLoad { dst, value }
        }
        Form::RegLoad2 => {
            let mut entry = Reader::new(r.rest(), OfError::BacBadSetLen);
            let (info, value, mask) = nxm::decode_set_field(&mut entry)?;
            r.skip(r.remaining() - entry.remaining())?;
            r.zeros(r.remaining(), OfError::BacBadSetArgument)?;
            Action::SetField {
                field: info.field,
                value,
                mask: mask_to_hold(info, mask),
            }
        }
        Form::Note => Action::Note(r.bytes(r.remaining())?.to_vec()),
        Form::OutputReg => {
            let (offset, bits) = offset_and_bits(r.u16()?);
            let src = subfield(nxm::decode_load_id(r)?, offset, bits)?;
            let max_len = r.u16()?;
            r.zeros(6, BAD_ARGUMENT)?;
            Action::OutputReg { src, max_len }
        }
        Form::OutputReg2 => {
            let (offset, bits) = offset_and_bits(r.u16()?);
            let max_len = r.u16()?;
            let src = subfield(nxm::decode_field_id(r)?, offset, bits)?;
            r.zeros(r.remaining(), MBZ)?;
            Action::OutputReg { src, max_len }
        }
        Form::OutputTrunc => {
            let port = OfPort::from_u16(r.u16()?);
            let max_len = r.u32()?;
            if max_len < MIN_TRUNC_LEN {
                return bad("length of a truncated packet", BAD_ARGUMENT);
            }
            Action::OutputTrunc { port, max_len }
        }
        Form::DecTtlIds => {
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
        Form::Controller => {
            let max_len = r.u16()?;
            let controller_id = r.u16()?;
            let reason = reason(r.u8()?)?;
            r.zeros(1, MBZ)?;
            Action::Controller(Controller {
                max_len,
                controller_id,
                reason,
                ..Controller::default()
            })
        }
        Form::Controller2 => Action::Controller(controller2(r)?),
        Form::WriteMetadata => {
            r.zeros(6, MBZ)?;
            let value = r.u64()?;
            let mask = r.u64()?;
            Action::WriteMetadata {
                value: value & mask,
                mask,
            }
        }
        Form::StackPush => Action::StackPush(stack(r)?),
        Form::StackPop => Action::StackPop(writable(stack(r)?)?),
        Form::DeleteField => {
            let field = nxm::decode_field_id(r)?;
            r.skip(r.remaining())?;
            if !field.info().is_variable_len() {
                return bad(field.name(), BAD_ARGUMENT);
            }
            Action::DeleteField(field)
        }
        Form::CheckPktLarger => {
            let len = r.u16()?;
            let offset = r.u16()?;
            let dst = subfield(nxm::decode_field_id(r)?, offset, 1)?;
            r.zeros(r.remaining(), MBZ)?;
            let dst = writable(dst)?;
            Action::CheckPktLarger { len, dst }
        }
        Form::Bundle | Form::BundleLoad => Action::Bundle(bundle(r, form == Form::BundleLoad)?),
        Form::Multipath => Action::Multipath(multipath(r)?),
        Form::Conjunction => {
            let clause = r.u8()?;
            let n_clauses = r.u8()?;
            let id = r.u32()?;
            if !(2..=64).contains(&n_clauses) || clause >= n_clauses {
                return bad("conjunction", OfError::NxbacBadConjunction);
            }
            Action::Conjunction {
                id,
                clause,
                n_clauses,
            }
        }
        Form::FinTimeout => {
            let idle = r.u16()?;
            let hard = r.u16()?;
            r.skip(2)?;
            Action::FinTimeout { idle, hard }
        }
        Form::Sample | Form::Sample2 | Form::Sample3 => Action::Sample(sample(r, form)?),
        Form::Clone => {
            r.skip(6)?;
            let mut list = r.sub(r.remaining(), OfError::BacBadLen)?;
            Action::Clone(decode_nested(&mut list, version, Outer::Clone, depth + 1)?)
        }
        Form::Ct => Action::Ct(Box::new(ct(r, version, depth)?)),
        Form::Nat => Action::Nat(nat(r)?),
        Form::Encap => Action::Encap(encap(r)?),
        Form::Decap => {
            r.skip(2)?;
            let packet_type = r.u32()?;
            if !r.is_empty() {
                return bad("property of decap", OfError::NxbacUnknownEdProp);
            }
            Action::Decap(packet_type)
        }
        // The others have been read.
        _ => return bad("action", OfError::BacBadType),
    };
    Ok(action)
}

fn resubmit_port(n: u16) -> Option<OfPort> {
    (n != SAME_PORT).then_some(OfPort::from_u16(n))
}

fn reason(n: u8) -> Result<PacketInReason, DecodeError> {
    match PacketInReason::from_wire(n) {
        Some(reason) => Ok(reason),
        None => bad("packet-in reason", BAD_ARGUMENT),
    }
}

fn reg_move(r: &mut Reader) -> Result<Action, DecodeError> {
    let parts = move_parts(r)?;
    move_fields(r, parts)
}

/// Number of bits, first bit of the source and of the destination.
fn move_parts(r: &mut Reader) -> Result<[u16; 3], DecodeError> {
    Ok([r.u16()?, r.u16()?, r.u16()?])
}

fn move_fields(r: &mut Reader, parts: [u16; 3]) -> Result<Action, DecodeError> {
    let [bits, src_offset, dst_offset] = parts;
    let src = nxm::decode_field_id(r)?;
    let dst = nxm::decode_field_id(r)?;
    r.zeros(r.remaining(), MBZ)?;
    let src = subfield(src, src_offset, bits)?;
    let dst = writable(subfield(dst, dst_offset, bits)?)?;
    Ok(Action::RegMove { src, dst })
}

fn stack(r: &mut Reader) -> Result<Subfield, DecodeError> {
    let offset = r.u16()?;
    let field = nxm::decode_field_id(r)?;
    let bits = r.u16()?;
    r.zeros(r.remaining(), MBZ)?;
    subfield(field, offset, bits)
}

pub(super) fn subfield(field: Field, offset: u16, bits: u16) -> Result<Subfield, DecodeError> {
    Subfield::new(field, offset, bits).map_err(|error| DecodeError::Bad {
        what: field.name(),
        error,
    })
}

pub(super) fn writable(subfield: Subfield) -> Result<Subfield, DecodeError> {
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

pub(super) fn ofs_nbits(s: Subfield) -> u16 {
    s.offset << 6 | s.bits.saturating_sub(1) & 0x3f
}

/// Properties: type(2), length(2) without padding, value, padding.
fn controller2(r: &mut Reader) -> Result<Controller, DecodeError> {
    r.zeros(6, MBZ)?;
    let mut c = Controller::default();
    while !r.is_empty() {
        let kind = r.u16()?;
        let len = usize::from(r.u16()?);
        let Some(value_len) = len.checked_sub(4) else {
            return bad("length of a property", OfError::BpcBadLen);
        };
        let mut value = r.sub(value_len, OfError::BpcBadLen)?;
        r.skip(len.next_multiple_of(8) - len)?;
        match kind {
            // Numbers of two bytes have padding that counts, the one of one byte has none.
            PROP_MAX_LEN => {
                c.max_len = value.u16()?;
                value.skip(2)?;
            }
            PROP_CONTROLLER_ID => {
                c.controller_id = value.u16()?;
                value.skip(2)?;
            }
            PROP_REASON => c.reason = reason(value.u8()?)?,
            PROP_USERDATA => c.userdata = value.bytes(value_len)?.to_vec(),
            PROP_PAUSE => c.pause = true,
            PROP_METER_ID => c.meter_id = Some(value.u32()?).filter(|id| *id != NO_METER),
            _ => return bad("property of controller", OfError::BpcBadType),
        }
        value.done()?;
    }
    Ok(c)
}

/// "No meter" as a number.
const NO_METER: u32 = 0;

fn bundle(r: &mut Reader, load: bool) -> Result<Bundle, DecodeError> {
    let algorithm = r.u16()?;
    let fields = r.u16()?;
    let basis = r.u16()?;
    let member_type = nxm::decode_field_id(r);
    let n = usize::from(r.u16()?);
    let (offset, bits) = {
        let ofs_nbits = r.u16()?;
        if !load && ofs_nbits != 0 {
            return bad("reserved part of a bundle", BAD_ARGUMENT);
        }
        offset_and_bits(ofs_nbits)
    };
    let dst = if load {
        let dst = writable(subfield(nxm::decode_field_id(r)?, offset, bits)?)?;
        if dst.bits < 16 {
            return bad("destination of a port number", BAD_ARGUMENT);
        }
        Some(dst)
    } else {
        r.zeros(4, BAD_ARGUMENT)?;
        None
    };
    r.zeros(4, BAD_ARGUMENT)?;
    let (Some(fields), Some(algorithm)) = (
        HashFields::from_wire(fields),
        BundleAlgorithm::from_wire(algorithm),
    ) else {
        return bad("what a bundle chooses by", BAD_ARGUMENT);
    };
    if member_type != Ok(Field::InPort16) || n > MAX_MEMBERS {
        return bad("members of a bundle", BAD_ARGUMENT);
    }
    let mut list = r.sub(n * 2, OfError::BacBadLen)?;
    let members = (0..n)
        .map(|_| member(list.u16()?))
        .collect::<Result<Vec<OfPort>, _>>()?;
    r.skip(r.remaining())?;
    Ok(Bundle {
        fields,
        basis,
        algorithm,
        members,
        dst,
    })
}

/// A port that a packet can go to; "none" is a member that is always up.
fn member(n: u16) -> Result<OfPort, DecodeError> {
    match OfPort::from_u16(n) {
        OfPort::CONTROLLER => bad("member of a bundle", OfError::BacBadOutPort),
        port if port <= OfPort::MAX || port >= OfPort::IN_PORT => Ok(port),
        _ => bad("member of a bundle", OfError::BacBadOutPort),
    }
}

fn multipath(r: &mut Reader) -> Result<Multipath, DecodeError> {
    let fields = r.u16()?;
    let basis = r.u16()?;
    r.skip(2)?;
    let algorithm = r.u16()?;
    let max_link = r.u16()?;
    let arg = r.u32()?;
    r.skip(2)?;
    let (offset, bits) = offset_and_bits(r.u16()?);
    let dst = subfield(nxm::decode_field_id(r)?, offset, bits)?;
    let (Some(fields), Some(algorithm)) = (
        HashFields::from_wire(fields),
        MultipathAlgorithm::from_wire(algorithm),
    ) else {
        return bad("what a multipath chooses by", BAD_ARGUMENT);
    };
    if u128::from(max_link) & !low_bits(dst.bits) != 0 {
        return bad("destination of a multipath", BAD_ARGUMENT);
    }
    Ok(Multipath {
        fields,
        basis,
        algorithm,
        max_link,
        arg,
        dst: writable(dst)?,
    })
}

fn sample(r: &mut Reader, form: Form) -> Result<Sample, DecodeError> {
    let probability = r.u16()?;
    let collector_set_id = r.u32()?;
    let obs_domain_id = r.u32()?;
    let obs_point_id = r.u32()?;
    if probability == 0 {
        return bad("probability of a sample", BAD_ARGUMENT);
    }
    let mut s = Sample {
        probability,
        collector_set_id,
        obs_domain_id,
        obs_point_id,
        sampling_port: OfPort::ANY,
        direction: SampleDirection::Default,
    };
    if form != Form::Sample {
        s.sampling_port = OfPort::from_u16(r.u16()?);
        let direction = r.u8()?;
        if form == Form::Sample3 {
            s.direction = match direction {
                0 => SampleDirection::Default,
                1 => SampleDirection::Ingress,
                2 => SampleDirection::Egress,
                _ => return bad("direction of a sample", BAD_ARGUMENT),
            };
            r.zeros(5, MBZ)?;
        } else {
            r.skip(5)?;
        }
    }
    Ok(s)
}

fn ct(r: &mut Reader, version: Version, depth: usize) -> Result<Ct, DecodeError> {
    let flags = r.u16()?;
    let mut zone_field = Reader::new(r.bytes(4)?, OfError::BacBadLen);
    let zone = r.u16()?;
    let table = r.u8()?;
    r.skip(3)?;
    let alg = r.u16()?;
    let commit = flags & CT_COMMIT != 0;
    let force = flags & CT_FORCE != 0;
    if flags & !(CT_COMMIT | CT_FORCE) != 0 || force && !commit {
        return bad("flags of ct", BAD_ARGUMENT);
    }
    let zone = if zone_field.rest() == [0; 4] {
        CtZone::Number(zone)
    } else {
        let (offset, bits) = offset_and_bits(zone);
        let src = subfield(nxm::decode_field_id(&mut zone_field)?, offset, bits)?;
        if src.bits != ZONE_BITS {
            return bad("zone of ct", OfError::BacBadSetLen);
        }
        CtZone::Field(src)
    };
    let mut list = r.sub(r.remaining(), OfError::BacBadLen)?;
    let actions = decode_nested(&mut list, version, Outer::Ct, depth + 1)?;
    let is_bare_nat = |a: &Action| *a == Action::Nat(Nat::default());
    if !commit && !actions.iter().all(is_bare_nat) {
        return bad("actions of ct without commit", BAD_ARGUMENT);
    }
    Ok(Ct {
        commit,
        force,
        zone,
        table: (table != NO_TABLE).then_some(table),
        alg,
        actions,
    })
}

fn nat(r: &mut Reader) -> Result<Nat, DecodeError> {
    r.skip(2)?;
    let flags = r.u16()?;
    let present = r.u16()?;
    let has = |bit: u16| present & bit != 0;
    let both = |a: u16, b: u16| flags & a != 0 && flags & b != 0;
    if flags & !NAT_ALL != 0 || both(NAT_SRC, NAT_DST) || both(NAT_HASH, NAT_RANDOM) {
        return bad("flags of nat", BAD_ARGUMENT);
    }
    let max_without_min = [
        (RANGE_V4_MIN, RANGE_V4_MAX),
        (RANGE_V6_MIN, RANGE_V6_MAX),
        (RANGE_PORT_MIN, RANGE_PORT_MAX),
    ]
    .iter()
    .any(|(min, max)| has(*max) && !has(*min));
    let is_v4_and_v6 = has(RANGE_V4_MIN) && has(RANGE_V6_MIN);
    let ports_alone = has(RANGE_PORT_MIN) && !has(RANGE_V4_MIN) && !has(RANGE_V6_MIN);
    if max_without_min || is_v4_and_v6 || ports_alone {
        return bad("range of nat", BAD_ARGUMENT);
    }
    // Values that are too short are wrong arguments, not wrong lengths, to Open vSwitch.
    let mut values = Reader::new(r.rest(), BAD_ARGUMENT);
    let addresses = if has(RANGE_V4_MIN) {
        let (min, max) = range(&mut values, 4, has(RANGE_V4_MAX))?;
        NatAddresses::V4(min as u32, max.map(|m| m as u32))
    } else if has(RANGE_V6_MIN) {
        let (min, max) = range(&mut values, 16, has(RANGE_V6_MAX))?;
        NatAddresses::V6(min, max)
    } else {
        NatAddresses::None
    };
    let ports = if has(RANGE_PORT_MIN) {
        let (min, max) = range(&mut values, 2, has(RANGE_PORT_MAX))?;
        Some((min as u16, max.map(|m| m as u16)))
    } else {
        None
    };
    r.skip(r.remaining())?;
    let kind = match flags & (NAT_SRC | NAT_DST) {
        NAT_SRC => Some(NatKind::Src),
        NAT_DST => Some(NatKind::Dst),
        _ => None,
    };
    Ok(Nat {
        kind,
        persistent: flags & NAT_PERSISTENT != 0,
        hash: flags & NAT_HASH != 0,
        random: flags & NAT_RANDOM != 0,
        addresses,
        ports,
    })
}

/// The least value, not 0, and perhaps the greatest, of `n` bytes each.
fn range(r: &mut Reader, n: usize, has_max: bool) -> Result<(u128, Option<u128>), DecodeError> {
    let min = r.uint(n)?;
    let max = if has_max { Some(r.uint(n)?) } else { None };
    if min == 0 || max.is_some_and(|max| max < min) {
        return bad("range of nat", BAD_ARGUMENT);
    }
    Ok((min, max))
}

fn encap(r: &mut Reader) -> Result<Encap, DecodeError> {
    let header_len = r.u16()?;
    let packet_type = r.u32()?;
    if !matches!(
        packet_type,
        PACKET_TYPE_ETHERNET | PACKET_TYPE_NSH | PACKET_TYPE_MPLS | PACKET_TYPE_MPLS_MULTICAST
    ) {
        return bad("header to add", OfError::NxbacBadHeaderType);
    }
    let mut props = Vec::new();
    while !r.is_empty() {
        props.push(encap_prop(r)?);
    }
    Ok(Encap {
        packet_type,
        header_len,
        props,
    })
}

/// Class(2), type(1), length(1) without padding, value, padding.
fn encap_prop(r: &mut Reader) -> Result<EncapProp, DecodeError> {
    let mut header = Reader::new(r.rest(), OfError::BacBadLen);
    let class = header.u16()?;
    let kind = header.u8()?;
    let len = header.u8()?;
    if len < 4 {
        return bad("length of a property", OfError::NxbacBadEdProp);
    }
    let mut prop = r.sub(usize::from(len).next_multiple_of(8), OfError::BacBadLen)?;
    prop.skip(4)?;
    match (class, kind) {
        (CLASS_NSH, NSH_MD_TYPE) if len <= 8 => Ok(EncapProp::NshMdType(prop.u8()?)),
        (CLASS_NSH, NSH_TLV) => {
            let class = prop.u16()?;
            let kind = prop.u8()?;
            let data_len = usize::from(prop.u8()?);
            let padded = NSH_TLV_HEADER_LEN + data_len.next_multiple_of(8);
            if usize::from(len) != padded {
                return bad("length of a property", OfError::NxbacBadEdProp);
            }
            let data = prop.bytes(data_len)?.to_vec();
            Ok(EncapProp::NshTlv { class, kind, data })
        }
        (CLASS_NSH, NSH_MD_TYPE) => bad("length of a property", OfError::NxbacBadEdProp),
        _ => bad("property of a header", OfError::NxbacUnknownEdProp),
    }
}

/// Writes an action; what the version cannot express is reported as left out.
pub(super) fn encode(e: &mut Encoder, w: &mut Writer, action: &Action) {
    let form = action.form();
    let name = form.name();
    match action {
        Action::Resubmit { in_port, table, .. } => {
            let Some(port) = in_port.map_or(Some(SAME_PORT), |p| p.to_u16()) else {
                return e.leave_out(name);
            };
            e.form(w, form, |w| {
                w.u16(port);
                w.u8(table.unwrap_or(SAME_TABLE));
            });
        }
        Action::RegMove { src, dst } => encode_move(e, w, *src, *dst),
        Action::Note(note) => e.form(w, form, |w| w.bytes(note)),
        Action::OutputReg { src, max_len } => {
            if !nxm::has_wire_id(src.field) || src.bits > 64 {
                return e.leave_out("output of a field");
            }
            if nxm::has_short_id(src.field) {
                e.form(w, Form::OutputReg, |w| {
                    w.u16(ofs_nbits(*src));
                    nxm::encode_field_id(w, src.field, FIELD_IDS);
                    w.u16(*max_len);
                    w.zeros(6);
                });
            } else {
                e.form(w, Form::OutputReg2, |w| {
                    w.u16(ofs_nbits(*src));
                    w.u16(*max_len);
                    nxm::encode_field_id(w, src.field, FIELD_IDS);
                });
            }
        }
        Action::OutputTrunc { port, max_len } => {
            let Some(port) = port.to_u16() else {
                return e.leave_out(name);
            };
            e.form(w, form, |w| {
                w.u16(port);
                w.u32(*max_len);
            });
        }
        Action::DecTtl(ids) => {
            let Ok(n) = u16::try_from(ids.len()) else {
                return e.leave_out(name);
            };
            e.form(w, form, |w| {
                w.u16(n);
                w.zeros(4);
                ids.iter().for_each(|id| w.u16(*id));
            });
        }
        Action::Controller(c) if form == Form::Controller => e.form(w, form, |w| {
            w.u16(c.max_len);
            w.u16(c.controller_id);
            w.u8(c.reason.wire());
        }),
        Action::Controller(c) => e.form(w, form, |w| encode_controller2(w, c)),
        Action::WriteMetadata { value, mask } => e.form(w, form, |w| {
            w.zeros(6);
            w.u64(*value);
            w.u64(*mask);
        }),
        Action::StackPush(s) | Action::StackPop(s) => {
            if !nxm::has_wire_id(s.field) {
                return e.leave_out(name);
            }
            e.form(w, form, |w| {
                let start = w.len();
                w.u16(s.offset);
                nxm::encode_field_id(w, s.field, FIELD_IDS);
                w.u16(s.bits);
                w.zeros(14usize.saturating_sub(w.len() - start));
            });
        }
        Action::DeleteField(field) => e.form(w, form, |w| {
            let start = w.len();
            nxm::encode_field_id(w, *field, FIELD_IDS);
            w.zeros(14usize.saturating_sub(w.len() - start));
        }),
        Action::CheckPktLarger { len, dst } => e.form(w, form, |w| {
            let start = w.len();
            w.u16(*len);
            w.u16(dst.offset);
            nxm::encode_field_id(w, dst.field, FIELD_IDS);
            w.zeros(14usize.saturating_sub(w.len() - start));
        }),
        Action::Bundle(b) => encode_bundle(e, w, form, b),
        Action::Multipath(m) => {
            if !nxm::has_short_id(m.dst.field) {
                return e.leave_out(name);
            }
            e.form(w, form, |w| {
                w.u16(m.fields.wire());
                w.u16(m.basis);
                w.u16(0);
                w.u16(m.algorithm.wire());
                w.u16(m.max_link);
                w.u32(m.arg);
                w.u16(0);
                w.u16(ofs_nbits(m.dst));
                nxm::encode_field_id(w, m.dst.field, FIELD_IDS);
            });
        }
        Action::Conjunction {
            id,
            clause,
            n_clauses,
        } => e.form(w, form, |w| {
            w.u8(*clause);
            w.u8(*n_clauses);
            w.u32(*id);
        }),
        Action::FinTimeout { idle, hard } => e.form(w, form, |w| {
            w.u16(*idle);
            w.u16(*hard);
        }),
        Action::Sample(s) => {
            let Some(port) = s.sampling_port.to_u16() else {
                return e.leave_out(name);
            };
            e.form(w, form, |w| {
                w.u16(s.probability);
                w.u32(s.collector_set_id);
                w.u32(s.obs_domain_id);
                w.u32(s.obs_point_id);
                if form != Form::Sample {
                    w.u16(port);
                    w.u8(s.direction as u8);
                }
            });
        }
        Action::Clone(actions) => nested(e, w, form, |w| w.zeros(6), actions),
        Action::Ct(ct) => encode_ct(e, w, form, ct),
        Action::Nat(nat) => e.form(w, form, |w| encode_nat(w, nat)),
        Action::Encap(encap) => e.form(w, form, |w| {
            w.u16(encap.header_len);
            w.u32(encap.packet_type);
            encap.props.iter().for_each(|p| encode_encap_prop(w, p));
        }),
        Action::Decap(packet_type) => e.form(w, form, |w| {
            w.u16(0);
            w.u32(*packet_type);
        }),
        _ => e.leave_out(name),
    }
}

/// An action with actions to its end.
fn nested(
    e: &mut Encoder,
    w: &mut Writer,
    form: Form,
    head: impl FnOnce(&mut Writer),
    actions: &[Action],
) {
    let start = w.len();
    e.form(w, form, head);
    if w.len() > start {
        e.list(w, actions);
        w.patch_len(start + 2, start);
    }
}

fn encode_move(e: &mut Encoder, w: &mut Writer, src: Subfield, dst: Subfield) {
    if !nxm::has_wire_id(src.field) || !nxm::has_wire_id(dst.field) {
        return e.leave_out("move");
    }
    let (form, version) = if e.version >= Version::Of15 {
        (Form::CopyField, e.version)
    } else {
        (Form::RegMove, FIELD_IDS)
    };
    e.form(w, form, |w| {
        w.u16(src.bits);
        w.u16(src.offset);
        w.u16(dst.offset);
        if form == Form::CopyField {
            w.u16(0);
        }
        nxm::encode_field_id(w, src.field, version);
        nxm::encode_field_id(w, dst.field, version);
    });
}

fn encode_controller2(w: &mut Writer, c: &Controller) {
    w.zeros(6);
    let mut prop = |kind: u16, value: &[u8]| {
        let start = w.len();
        w.u16(kind);
        w.u16(0);
        w.bytes(value);
        w.patch_len(start + 2, start);
        w.pad8(start);
    };
    let default = Controller::default();
    if c.max_len != default.max_len {
        prop(PROP_MAX_LEN, &(u32::from(c.max_len) << 16).to_be_bytes());
    }
    if c.controller_id != 0 {
        prop(
            PROP_CONTROLLER_ID,
            &(u32::from(c.controller_id) << 16).to_be_bytes(),
        );
    }
    if c.reason != default.reason {
        prop(PROP_REASON, &[c.reason.wire()]);
    }
    if !c.userdata.is_empty() {
        prop(PROP_USERDATA, &c.userdata);
    }
    if c.pause {
        prop(PROP_PAUSE, &[]);
    }
    if let Some(id) = c.meter_id {
        prop(PROP_METER_ID, &id.to_be_bytes());
    }
}

fn encode_bundle(e: &mut Encoder, w: &mut Writer, form: Form, b: &Bundle) {
    let members: Option<Vec<u16>> = b.members.iter().map(|p| p.to_u16()).collect();
    let (Some(members), Ok(n)) = (members, u16::try_from(b.members.len())) else {
        return e.leave_out(form.name());
    };
    if b.dst.is_some_and(|dst| !nxm::has_short_id(dst.field)) {
        return e.leave_out(form.name());
    }
    e.form(w, form, |w| {
        w.u16(b.algorithm.wire());
        w.u16(b.fields.wire());
        w.u16(b.basis);
        nxm::encode_field_id(w, Field::InPort16, FIELD_IDS);
        w.u16(n);
        match b.dst {
            Some(dst) => {
                w.u16(ofs_nbits(dst));
                nxm::encode_field_id(w, dst.field, FIELD_IDS);
            }
            None => w.zeros(6),
        }
        w.zeros(4);
        members.iter().for_each(|port| w.u16(*port));
    });
}

fn encode_ct(e: &mut Encoder, w: &mut Writer, form: Form, ct: &Ct) {
    if matches!(ct.zone, CtZone::Field(src) if !nxm::has_short_id(src.field)) {
        return e.leave_out("ct");
    }
    let head = |w: &mut Writer| {
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        w.u16(flag(ct.commit, CT_COMMIT) | flag(ct.force, CT_FORCE));
        match ct.zone {
            CtZone::Number(zone) => {
                w.u32(0);
                w.u16(zone);
            }
            CtZone::Field(src) => {
                nxm::encode_field_id(w, src.field, FIELD_IDS);
                w.u16(ofs_nbits(src));
            }
        }
        w.u8(ct.table.unwrap_or(NO_TABLE));
        w.zeros(3);
        w.u16(ct.alg);
    };
    nested(e, w, form, head, &ct.actions);
}

fn encode_nat(w: &mut Writer, nat: &Nat) {
    let flag = |on: bool, bit: u16| if on { bit } else { 0 };
    let flags = flag(nat.kind == Some(NatKind::Src), NAT_SRC)
        | flag(nat.kind == Some(NatKind::Dst), NAT_DST)
        | flag(nat.persistent, NAT_PERSISTENT)
        | flag(nat.hash, NAT_HASH)
        | flag(nat.random, NAT_RANDOM);
    let addresses = match nat.addresses {
        NatAddresses::None => 0,
        NatAddresses::V4(_, max) => RANGE_V4_MIN | flag(max.is_some(), RANGE_V4_MAX),
        NatAddresses::V6(_, max) => RANGE_V6_MIN | flag(max.is_some(), RANGE_V6_MAX),
    };
    let ports = match nat.ports {
        None => 0,
        Some((_, max)) => RANGE_PORT_MIN | flag(max.is_some(), RANGE_PORT_MAX),
    };
    w.u16(0);
    w.u16(flags);
    w.u16(addresses | ports);
    match nat.addresses {
        NatAddresses::None => {}
        NatAddresses::V4(min, max) => {
            w.u32(min);
            max.iter().for_each(|max| w.u32(*max));
        }
        NatAddresses::V6(min, max) => {
            w.uint(min, 16);
            max.iter().for_each(|max| w.uint(*max, 16));
        }
    }
    if let Some((min, max)) = nat.ports {
        w.u16(min);
        max.iter().for_each(|max| w.u16(*max));
    }
}

fn encode_encap_prop(w: &mut Writer, prop: &EncapProp) {
    w.u16(CLASS_NSH);
    match prop {
        EncapProp::NshMdType(kind) => {
            w.u8(NSH_MD_TYPE);
            w.u8(NSH_MD_TYPE_LEN);
            w.u8(*kind);
            w.zeros(3);
        }
        EncapProp::NshTlv { class, kind, data } => {
            let padded = data.len().next_multiple_of(8);
            w.u8(NSH_TLV);
            w.u8(u8::try_from(NSH_TLV_HEADER_LEN + padded).unwrap_or(u8::MAX));
            w.u16(*class);
            w.u8(*kind);
            w.u8(u8::try_from(data.len()).unwrap_or(u8::MAX));
            w.bytes(data);
            w.zeros(padded - data.len());
        }
    }
}
