//! NXM and OXM: matches and field identifiers as type-length-value entries.
//!
//! ```text
//!  |          class (16)           | field (7)   |M|  length (8)   |
//!  | experimenter (32), when class = 0xffff                        |
//!  | value, then mask when M = 1                                   |
//! ```
//!
//! `length` counts what follows the first four bytes. Every version takes both NXM and OXM
//! identifiers; 1.0 is sent NXM where a field has it, 1.3 is sent OXM.
//!
//! Source: OpenFlow 1.3.5, 7.2.3; `nicira-ext.h`, "Flexible matching".

use packet::OfPort;

use crate::error::OfError;
use crate::field::{Field, FieldInfo, Maskable, WireId, low_bits};
use crate::flow_match::{Match, MatchField, VLAN_CFI};
use crate::message::Selection;
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad, pad8};

const CLASS_NXM0: u16 = 0;
const CLASS_NXM1: u16 = 1;
const CLASS_OXM: u16 = 0x8000;
const CLASS_PKT_REG: u16 = 0x8001;
const CLASS_EXPERIMENTER: u16 = 0xffff;
/// `NXM_NX_COOKIE`, of class [`CLASS_NXM1`]; only in NXT flow-mods and NXST requests.
const COOKIE_NUMBER: u8 = 30;
const COOKIE_LEN: u8 = 8;

/// Values longer than this cannot be held.
const MAX_VALUE_LEN: usize = size_of::<u128>();

/// `ofp_match.type` of a match made of OXM entries.
const OFPMT_OXM: u16 = 1;
/// `ofp_match` without entries and padding.
const OXM_MATCH_HEADER_LEN: usize = 4;

/// What a reader does with entries of fields that are not known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    Refuse,
    /// For the metadata of a packet-in.
    Skip,
}

/// A cookie match inside an NXM match.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct CookieMatch {
    pub cookie: u64,
    pub mask: u64,
}

/// The fixed part of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct EntryHeader {
    class: u16,
    number: u8,
    has_mask: bool,
    experimenter: u32,
    /// Of value and mask.
    payload_len: u8,
}

impl EntryHeader {
    fn decode(r: &mut Reader) -> Result<EntryHeader, DecodeError> {
        let class = r.u16()?;
        let number_and_mask = r.u8()?;
        let len = r.u8()?;
        let (experimenter, payload_len) = if class == CLASS_EXPERIMENTER {
            let payload_len = len.checked_sub(4).ok_or(r.truncated())?;
            (r.u32()?, payload_len)
        } else {
            (0, len)
        };
        let number = number_and_mask >> 1;
        let has_mask = number_and_mask & 1 != 0;
        Ok(EntryHeader {
            class,
            number,
            has_mask,
            experimenter,
            payload_len,
        })
    }

    fn field(&self) -> Option<&'static FieldInfo> {
        lookup(self.class, self.experimenter, self.number)
    }

    /// Length of the value in an entry; `None` when it is none that the field can have.
    ///
    /// Values of variable length are as long as they must be; an identifier alone (`is_id`) says
    /// how long they can be.
    fn value_len(&self, info: &FieldInfo, is_id: bool) -> Option<usize> {
        let factor = if self.has_mask { 2 } else { 1 };
        let len = self.payload_len / factor;
        if !self.payload_len.is_multiple_of(factor) {
            return None;
        }
        let fits = if info.is_variable_len() {
            len <= info.bytes && (is_id || usize::from(len) <= MAX_VALUE_LEN)
        } else {
            len == info.bytes
        };
        fits.then_some(len.into())
    }

    fn is_cookie(&self) -> bool {
        let len = if self.has_mask {
            2 * COOKIE_LEN
        } else {
            COOKIE_LEN
        };
        self.class == CLASS_NXM1 && self.number == COOKIE_NUMBER && self.payload_len == len
    }
}

/// Reads a match up to the end of `r`, whose short reads must mean `OFPBMC_BAD_LEN`.
///
/// `cookie` takes the pseudo-field `NXM_NX_COOKIE`; without it that is an unknown field.
///
/// Errors: `OFPBMC_*` as OpenFlow 1.3.5, 7.2.3.3 wants them.
pub(crate) fn decode_entries(
    r: &mut Reader,
    unknown: Unknown,
    mut cookie: Option<&mut CookieMatch>,
) -> Result<Match, DecodeError> {
    // An average entry has eight bytes.
    let mut m = Match::with_capacity(r.remaining().div_ceil(8).min(16));
    while !r.is_empty() {
        let header = EntryHeader::decode(r)?;
        if let Some(cookie) = cookie.as_deref_mut().filter(|_| header.is_cookie()) {
            if cookie.mask != 0 {
                return bad("cookie", OfError::BmcDupField);
            }
            cookie.cookie = r.u64()?;
            cookie.mask = if header.has_mask { r.u64()? } else { u64::MAX };
            if cookie.cookie & !cookie.mask != 0 {
                return bad("cookie outside its mask", OfError::BmcBadWildcards);
            }
            continue;
        }
        let Some(info) = header.field() else {
            match unknown {
                Unknown::Refuse => return bad("field in a match", OfError::BmcBadField),
                Unknown::Skip => r.skip(usize::from(header.payload_len))?,
            }
            continue;
        };
        let Some(n) = header.value_len(info, false) else {
            return bad(info.name, OfError::BmcBadLen);
        };
        let value = r.uint(n)?;
        let mask = if header.has_mask {
            r.uint(n)?
        } else {
            low_bits(u16::from(info.bytes) * 8)
        };
        // "The option is there, whatever its value" cannot be held.
        if info.is_variable_len() && mask == 0 {
            return bad(info.name, OfError::BmcBadMask);
        }
        put_entry(&mut m, info, value, mask)?;
    }
    Ok(m)
}

fn put_entry(m: &mut Match, info: &FieldInfo, value: u128, mask: u128) -> Result<(), DecodeError> {
    if value & !mask != 0 {
        return bad(info.name, OfError::BmcBadWildcards);
    }
    let all = low_bits(u16::from(info.bytes) * 8);
    if info.maskable == Maskable::Exact && mask != 0 && mask != all {
        return bad(info.name, OfError::BmcBadMask);
    }
    if !is_valid(info, value) {
        return bad(info.name, OfError::BmcBadValue);
    }
    if m.get(info.field).is_some() {
        return bad(info.name, OfError::BmcDupField);
    }
    if !m.meets(info.prereq) {
        return bad(info.name, OfError::BmcBadPrereq);
    }
    m.set(info.field, value, mask);
    Ok(())
}

/// Can a packet have this value in the field?
pub(crate) fn is_valid(info: &FieldInfo, value: u128) -> bool {
    match info.field {
        Field::VlanVid => value & !0x1fff == 0,
        Field::NwTos => value & 3 == 0,
        Field::ArpOp => value <= 0xff,
        Field::NshMdtype => matches!(value, 1 | 2),
        // Numbers between the spaces of 16-bit and reserved 32-bit ports are no ports.
        Field::InPort | Field::InPhyPort | Field::ActsetOutput => {
            u32::try_from(value).is_ok_and(|p| OfPort(p).to_u16().is_some())
        }
        _ => value & !info.full_mask() == 0,
    }
}

/// Writes the entries of a match as `version` has them, and a cookie match before its end.
///
/// Gives `false` when a field has no form in `version`; that field is left out.
pub(crate) fn encode_entries(
    w: &mut Writer,
    m: &Match,
    version: Version,
    cookie: CookieMatch,
) -> bool {
    let mut complete = true;
    let mut last_pair = None;
    for f in m {
        match f.field.reg_index() {
            // From 1.5 on, registers go as pairs.
            Some(n) if version >= Version::Of15 => {
                if last_pair != Some(n / 2) {
                    last_pair = Some(n / 2);
                    complete &= encode_register_pair(w, m, n / 2, version);
                }
            }
            _ => complete &= encode_match_field(w, f, version),
        }
    }
    if cookie.mask != 0 {
        let masked = cookie.mask != u64::MAX;
        w.u16(CLASS_NXM1);
        w.u8(COOKIE_NUMBER << 1 | u8::from(masked));
        w.u8(if masked { 2 * COOKIE_LEN } else { COOKIE_LEN });
        w.u64(cookie.cookie);
        if masked {
            w.u64(cookie.mask);
        }
    }
    complete
}

fn encode_register_pair(w: &mut Writer, m: &Match, pair: u8, version: Version) -> bool {
    let Some(field) = Field::xreg(pair) else {
        return false;
    };
    let (value, mask) = m.get(field).unwrap_or((0, 0));
    let mask = (mask != field.info().full_mask()).then_some(mask);
    encode_entry(w, field, value, mask, version)
}

fn encode_match_field(w: &mut Writer, f: &MatchField, version: Version) -> bool {
    match (f.field, version) {
        (Field::InPort, Version::Of10) => match OfPort(f.value as u32).to_u16() {
            Some(port) => encode_entry(w, Field::InPort16, u128::from(port), None, version),
            None => false,
        },
        (Field::IpDscp, Version::Of10) => {
            encode_entry(w, Field::NwTos, f.value << 2, None, version)
        }
        (Field::VlanTci, v) if v > Version::Of10 => encode_vlan_oxm(w, f, v),
        // Flags beyond those that exist stay free.
        (Field::CtState | Field::TunFlags, _) => {
            encode_entry(w, f.field, f.value, Some(f.mask), version)
        }
        _ => encode_entry(
            w,
            f.field,
            f.value,
            (!f.is_exact()).then_some(f.mask),
            version,
        ),
    }
}

/// `vlan_vid` and `vlan_pcp`; a combination that they cannot express goes as NXM `vlan_tci`.
fn encode_vlan_oxm(w: &mut Writer, f: &MatchField, version: Version) -> bool {
    const VID: u128 = 0x1fff;
    const PCP: u128 = 0xe000;
    let present = f.value & u128::from(VLAN_CFI) != 0;
    let pcp = f.mask & PCP;
    // "No tag" says all about the priority.
    let no_tag = f.value == 0 && f.mask == 0xffff;
    if !no_tag && pcp != 0 && (pcp != PCP || !present) {
        let mask = (!f.is_exact()).then_some(f.mask);
        return encode_entry(w, Field::VlanTci, f.value, mask, Version::Of10);
    }
    let mask = f.mask & VID;
    let mask_if_any = (mask != VID).then_some(mask);
    let mut complete = encode_entry(w, Field::VlanVid, f.value & VID, mask_if_any, version);
    if !no_tag && pcp != 0 {
        complete &= encode_entry(w, Field::VlanPcp, f.value >> 13, None, version);
    }
    complete
}

/// Writes one entry; false when the field has no identifier.
pub(crate) fn encode_entry(
    w: &mut Writer,
    field: Field,
    value: u128,
    mask: Option<u128>,
    version: Version,
) -> bool {
    let info = field.info();
    let Some(id) = wire_id(info, version) else {
        return false;
    };
    // As long as it must be, where that is the field's way.
    let len = if info.is_variable_len() {
        let bits = 128 - (value | mask.unwrap_or(0)).leading_zeros();
        bits.div_ceil(8) as u8
    } else {
        info.bytes
    };
    encode_header(w, id, len, mask.is_some());
    let n = usize::from(len);
    w.uint(value, n);
    if let Some(mask) = mask {
        w.uint(mask, n);
    }
    true
}

/// Reads `struct ofp_match` of 1.2 and later with its padding.
pub(crate) fn decode_oxm_match(r: &mut Reader, unknown: Unknown) -> Result<Match, DecodeError> {
    let error = OfError::BmcBadLen;
    let mut header = Reader::new(r.rest(), error);
    let kind = header.u16()?;
    let len = usize::from(header.u16()?);
    if kind != OFPMT_OXM {
        return bad("match type", OfError::BmcBadType);
    }
    if len < OXM_MATCH_HEADER_LEN || pad8(len) > r.remaining() {
        return bad("match length", error);
    }
    let mut whole = r.sub(pad8(len), error)?;
    whole.skip(OXM_MATCH_HEADER_LEN)?;
    let mut entries = whole.sub(len - OXM_MATCH_HEADER_LEN, error)?;
    decode_entries(&mut entries, unknown, None)
}

/// Writes `struct ofp_match` of 1.2 and later with its padding.
pub(crate) fn encode_oxm_match(w: &mut Writer, m: &Match, version: Version) -> bool {
    let start = w.len();
    w.u16(OFPMT_OXM);
    w.u16(0);
    let complete = encode_entries(w, m, version, CookieMatch::default());
    w.patch_len(start + 2, start);
    w.pad8(start);
    complete
}

/// Reads an NXM match of `len` bytes with its padding.
///
/// Errors: `NXBRC_NXM_INVALID` when the message is too short for it.
pub(crate) fn decode_nx_match(
    r: &mut Reader,
    len: u16,
    unknown: Unknown,
    cookie: Option<&mut CookieMatch>,
) -> Result<Match, DecodeError> {
    let len = usize::from(len);
    if pad8(len) > r.remaining() {
        return bad("NXM match length", OfError::BmcBadLen);
    }
    let mut whole = r.sub(pad8(len), OfError::BmcBadLen)?;
    let mut entries = whole.sub(len, OfError::BmcBadLen)?;
    decode_entries(&mut entries, unknown, cookie)
}

/// Reads a field identifier alone, as actions have it.
///
/// Errors: `OFPBMC_BAD_FIELD`.
pub(crate) fn decode_field_id(r: &mut Reader) -> Result<Field, DecodeError> {
    let header = EntryHeader::decode(r)?;
    match header.field() {
        Some(info) if !header.has_mask && header.value_len(info, true).is_some() => Ok(info.field),
        _ => bad("field in an action", OfError::BmcBadField),
    }
}

/// Reads a field identifier alone, as the oldest two actions have it, which load a register and
/// output to one.
///
/// Errors: `OFPBAC_BAD_SET_TYPE` for what is no field, `OFPBAC_BAD_SET_LEN`.
pub(crate) fn decode_load_id(r: &mut Reader) -> Result<Field, DecodeError> {
    let header = EntryHeader::decode(r)?;
    match header.field() {
        Some(info) if !header.has_mask => match header.value_len(info, true) {
            Some(_) => Ok(info.field),
            None => bad(info.name, OfError::BacBadSetLen),
        },
        _ => bad("field in an action", OfError::BacBadSetType),
    }
}

/// Reads fields whose values are masks, up to the end of `r`, as a group's selection method has
/// them; in the order of [`Selection::sort`].
///
/// Errors: `OFPBMC_*`.
pub(crate) fn decode_field_array(r: &mut Reader) -> Result<Vec<(Field, u128)>, DecodeError> {
    let mut fields: Vec<(Field, u128)> = Vec::new();
    while !r.is_empty() {
        let header = EntryHeader::decode(r)?;
        let Some(info) = header.field() else {
            return bad("field of a selection method", OfError::BmcBadField);
        };
        if header.has_mask {
            return bad(info.name, OfError::BmcBadWildcards);
        }
        let Some(len) = header.value_len(info, false) else {
            return bad(info.name, OfError::BmcBadField);
        };
        let bits = r.uint(len)?;
        let is_whole = bits == low_bits(u16::from(info.bytes) * 8);
        if bits == 0 || info.maskable == Maskable::Exact && !is_whole {
            return bad(info.name, OfError::BmcBadMask);
        }
        if fields.iter().any(|(field, _)| *field == info.field) {
            return bad(info.name, OfError::BmcDupField);
        }
        fields.push((info.field, bits));
    }
    Selection::sort(&mut fields);
    Ok(fields)
}

/// Reads an identifier from a list of fields, and whether it takes masks; `None` for one that is
/// not known.
pub(crate) fn decode_listed_field(r: &mut Reader) -> Result<Option<(Field, bool)>, DecodeError> {
    let header = EntryHeader::decode(r)?;
    let info = header.field();
    Ok(info.map(|info| (info.field, header.has_mask)))
}

/// Writes an identifier into a list of fields; `masked` says that the field takes masks.
pub(crate) fn encode_listed_field(w: &mut Writer, field: Field, masked: bool) {
    let info = field.info();
    if let Some(id) = wire_id(info, Version::Of13) {
        encode_header(w, id, info.bytes, masked);
    }
}

/// Writes `field`'s identifier; false when it has none.
pub(crate) fn encode_field_id(w: &mut Writer, field: Field, version: Version) -> bool {
    let info = field.info();
    let Some(id) = wire_id(info, version) else {
        return false;
    };
    encode_header(w, id, info.bytes, false);
    true
}

/// Reads the one entry of a set-field action: field, value and, if given, mask.
///
/// Errors: `OFPBAC_BAD_SET_TYPE`, `_LEN` and `_ARGUMENT`.
pub(crate) fn decode_set_field(
    r: &mut Reader,
) -> Result<(&'static FieldInfo, u128, Option<u128>), DecodeError> {
    let header = EntryHeader::decode(r)?;
    let Some(info) = header.field() else {
        return bad("field to set", OfError::BacBadSetType);
    };
    let Some(n) = header.value_len(info, false) else {
        return bad(info.name, OfError::BacBadSetLen);
    };
    let value = r.uint(n)?;
    let mask = if header.has_mask {
        Some(r.uint(n)?)
    } else {
        None
    };
    if mask.is_some_and(|m| value & !m != 0) {
        return bad(info.name, OfError::BmcBadWildcards);
    }
    if !info.is_settable() || !is_valid(info, value) {
        return bad(info.name, OfError::BacBadSetArgument);
    }
    Ok((info, value, mask))
}

/// `bytes` is the length of a value; with a mask it is at most 16.
fn encode_header(w: &mut Writer, id: &WireId, bytes: u8, has_mask: bool) {
    let payload = if has_mask {
        bytes.saturating_mul(2)
    } else {
        bytes
    };
    w.u16(id.class);
    w.u8(id.number << 1 | u8::from(has_mask));
    if id.class == CLASS_EXPERIMENTER {
        w.u8(payload.saturating_add(4));
        w.u32(id.experimenter);
    } else {
        w.u8(payload);
    }
}

/// The identifier that `version` is sent: the newest that it has, else the first there is.
fn wire_id(info: &'static FieldInfo, version: Version) -> Option<&'static WireId> {
    let v = version.wire();
    info.wire
        .iter()
        .rev()
        .find(|id| id.since <= v)
        .or(info.wire.first())
}

/// Can the field stand in an action or match of `version`?
pub(crate) fn has_wire_id(field: Field) -> bool {
    !field.info().wire.is_empty()
}

/// Does the field have an identifier of four bytes, as most extension actions need?
pub(crate) fn has_short_id(field: Field) -> bool {
    wire_id(field.info(), Version::Of10).is_some_and(|id| id.class != CLASS_EXPERIMENTER)
}

/// A row number of the field table by class and field number; `NONE` where there is no field.
static BY_NUMBER: [[u8; 128]; 4] = by_number();
const NONE: u8 = 0xff;

const fn by_number() -> [[u8; 128]; 4] {
    let mut table = [[NONE; 128]; 4];
    let rows = Field::all();
    let mut row = 0;
    while row < rows.len() {
        let ids = rows[row].wire;
        let mut i = 0;
        while i < ids.len() {
            if let Some(class) = class_index(ids[i].class) {
                table[class][ids[i].number as usize] = row as u8;
            }
            i += 1;
        }
        row += 1;
    }
    table
}

const fn class_index(class: u16) -> Option<usize> {
    match class {
        CLASS_NXM0 => Some(0),
        CLASS_NXM1 => Some(1),
        CLASS_OXM => Some(2),
        CLASS_PKT_REG => Some(3),
        _ => None,
    }
}

fn lookup(class: u16, experimenter: u32, number: u8) -> Option<&'static FieldInfo> {
    match class_index(class) {
        Some(index) => {
            let row = *BY_NUMBER.get(index)?.get(usize::from(number))?;
            Field::all().get(usize::from(row))
        }
        None => Field::all().iter().find(|info| {
            info.wire.iter().any(|id| {
                id.class == class && id.experimenter == experimenter && id.number == number
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Match, OfError> {
        let mut r = Reader::new(bytes, OfError::BmcBadLen);
        decode_entries(&mut r, Unknown::Refuse, None).map_err(|e| e.error())
    }

    #[test]
    fn every_identifier_leads_to_its_field() {
        for info in Field::all() {
            for id in info.wire {
                let found = lookup(id.class, id.experimenter, id.number).unwrap();
                assert_eq!(found.field, info.field, "{}", id.name);
            }
        }
    }

    #[test]
    fn every_field_survives() {
        for info in Field::all().iter().filter(|i| !i.wire.is_empty()) {
            for version in Version::ALL {
                let mut w = Writer::default();
                assert!(encode_entry(
                    &mut w,
                    info.field,
                    1 << (info.bits.min(128) - 1),
                    None,
                    *version
                ));
                let mut r = Reader::new(&w.buf, OfError::BmcBadLen);
                let header = EntryHeader::decode(&mut r).unwrap();
                assert_eq!(header.field().map(|i| i.field), Some(info.field));
                assert_eq!(header.value_len(info, false), Some(r.remaining()));
            }
        }
    }

    #[test]
    fn errors() {
        // eth_type=0x0800,ip_proto=6
        let good = [0x80, 0, 10, 2, 8, 0, 0x80, 0, 20, 1, 6];
        assert!(decode(&good).is_ok());
        for n in (1..good.len()).filter(|n| *n != 6) {
            assert_eq!(decode(&good[..n]), Err(OfError::BmcBadLen), "{n}");
        }
        assert_eq!(decode(&good[6..]), Err(OfError::BmcBadPrereq));
        assert_eq!(decode(&[good, good].concat()), Err(OfError::BmcDupField));
        // Value outside the mask, mask on a field that takes none, unknown field.
        let ipv4 = [0x80, 0, 10, 2, 8, 0];
        let stray = [0x80, 0, 23, 8, 10, 0, 0, 1, 255, 255, 255, 0];
        assert_eq!(
            decode(&[&ipv4[..], &stray].concat()),
            Err(OfError::BmcBadWildcards)
        );
        assert_eq!(
            decode(&[0x80, 0, 11, 4, 8, 0, 255, 0]),
            Err(OfError::BmcBadMask)
        );
        assert_eq!(decode(&[0x80, 0, 100, 1, 0]), Err(OfError::BmcBadField));
        // "Ethernet" is what a match without a packet type says.
        assert_eq!(decode(&[0x80, 0, 88, 4, 0, 0, 0, 0]), Ok(Match::new()));
        assert_eq!(
            decode(&[0x80, 0, 88, 4, 0, 1, 8, 0]),
            Ok(Match::new().with(Field::PacketType, 0x1_0800))
        );
        // An Ethernet address needs an Ethernet header.
        let ip_packet = [0x80, 0, 88, 4, 0, 1, 8, 0];
        let eth_type = [0x80, 0, 10, 2, 8, 0];
        assert_eq!(
            decode(&[&ip_packet[..], &eth_type].concat()),
            Err(OfError::BmcBadPrereq)
        );
        // Options of tunnels have any length up to what can be held.
        let option = |len: u8| [&[0, 1, 80, len][..], &vec![1; len.into()]].concat();
        assert_eq!(
            decode(&option(2)),
            Ok(Match::new().with(Field::TunMetadata0, 0x101))
        );
        assert!(decode(&option(0)).is_ok() && decode(&option(16)).is_ok());
        assert_eq!(decode(&option(17)), Err(OfError::BmcBadLen));
        // Present, whatever its value.
        assert_eq!(decode(&[0, 1, 81, 0]), Err(OfError::BmcBadMask));
        assert_eq!(decode(&[0x80, 0, 10, 1, 8]), Err(OfError::BmcBadLen));
        assert_eq!(
            decode(&[0xff, 0xff, 0, 3, 0, 0, 0]),
            Err(OfError::BmcBadLen)
        );
    }
}
