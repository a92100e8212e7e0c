//! Properties, of which messages of 1.3 and later have lists.
//!
//! ```text
//! type(2), length(2) without padding, value, padding to 8
//! ```
//!
//! A value of type 0xffff begins with experimenter(4), experimenter type(4).
//!
//! Source: OpenFlow 1.4.0, 7.2.1.2 and the like; OpenFlow 1.3.5, 7.3.5.5.2.

use bytes::Bytes;

use crate::error::OfError;
use crate::message::Property;
use crate::wire::{DecodeError, Reader, Writer, bad, pad8};

const HEADER_LEN: usize = 4;
const LEN: OfError = OfError::BpcBadLen;

/// Reads the next property: its type, and a reader of its value without padding.
///
/// Errors: `OFPBPC_BAD_LEN`.
pub(super) fn read<'a>(r: &mut Reader<'a>) -> Result<(u16, Reader<'a>), DecodeError> {
    let mut header = Reader::new(r.rest(), LEN);
    let kind = header.u16()?;
    let len = usize::from(header.u16()?);
    if len < HEADER_LEN || pad8(len) > r.remaining() {
        return bad("length of a property", LEN);
    }
    let mut padded = r.sub(pad8(len), LEN)?;
    let mut value = padded.sub(len, LEN)?;
    value.skip(HEADER_LEN)?;
    Ok((kind, value))
}

/// Takes a property along as it is.
pub(super) fn keep(kind: u16, value: &mut Reader) -> Result<Property, DecodeError> {
    Ok(Property {
        kind,
        value: Bytes::copy_from_slice(value.bytes(value.remaining())?),
    })
}

/// All properties that are left, as they are.
pub(super) fn keep_all(r: &mut Reader) -> Result<Vec<Property>, DecodeError> {
    let mut all = Vec::new();
    while !r.is_empty() {
        let (kind, mut value) = read(r)?;
        all.push(keep(kind, &mut value)?);
    }
    Ok(all)
}

/// Writes a property whose value `write` writes.
pub(super) fn write(w: &mut Writer, kind: u16, write: impl FnOnce(&mut Writer)) {
    let start = w.len();
    w.u16(kind);
    w.u16(0);
    write(w);
    w.patch_len(start + 2, start);
    w.pad8(start);
}

pub(super) fn write_kept(w: &mut Writer, properties: &[Property]) {
    for p in properties {
        write(w, p.kind, |w| w.bytes(&p.value));
    }
}
