//! Parts of fields as text: `NXM_NX_REG0[0..15]`, `reg0[3]`, `eth_src[]`, `eth_src`.
//!
//! Source: ovs-actions(7), "Syntax"; OVS `lib/meta-flow.c`, `mf_parse_subfield__`.

use std::fmt::Write;

use super::error::{Error, ErrorKind};
use super::token::Piece;
use crate::action::Subfield;
use crate::field::Field;

/// Parses a subfield that takes all of `text`.
pub fn parse(text: Piece<'_>) -> Result<Subfield, Error> {
    let (subfield, rest) = parse_prefix(text)?;
    if rest.is_empty() {
        Ok(subfield)
    } else {
        Err(Error::new(ErrorKind::AfterSubfield, rest.at))
    }
}

/// Parses a subfield at the start of `text`; the rest is returned.
pub fn parse_prefix(text: Piece<'_>) -> Result<(Subfield, Piece<'_>), Error> {
    let err = |kind| Err(Error::new(kind, text.at));
    let whole = || text.text.to_owned();
    let end = text.text.find(['[', '-']).unwrap_or(text.text.len());
    let name = text.text.get(..end).unwrap_or("");
    let field = match Field::from_name(name) {
        Ok(field) => field,
        Err(crate::field::Error::NotSupported(name)) => {
            return err(ErrorKind::FieldNotSupported(name));
        }
        Err(crate::field::Error::Unknown(_)) => {
            return err(ErrorKind::UnknownSubfield {
                text: whole(),
                name: name.to_owned(),
            });
        }
    };
    let rest = text.skip(end);
    if !rest.text.starts_with('[') {
        return Ok((Subfield::whole(field), rest));
    }
    let Some((inside, rest)) = rest.skip(1).split_once("]") else {
        return err(ErrorKind::SubfieldSyntax(whole()));
    };
    if inside.is_empty() {
        return Ok((Subfield::whole(field), rest));
    }
    let bounds = match inside.text.split_once("..") {
        Some((start, end)) => (start.parse::<u32>(), end.parse::<u32>()),
        None => (inside.text.parse::<u32>(), inside.text.parse::<u32>()),
    };
    let (Ok(start), Ok(end)) = bounds else {
        return err(ErrorKind::SubfieldSyntax(whole()));
    };
    if start > end {
        return err(ErrorKind::SubfieldOrder {
            text: whole(),
            start,
            end,
        });
    }
    let bits = field.bits();
    let range = |which, bit| ErrorKind::SubfieldRange {
        text: whole(),
        which,
        bit,
        bits,
    };
    if start >= u32::from(bits) {
        return err(range("starting", start));
    }
    if end >= u32::from(bits) {
        return err(range("ending", end));
    }
    // Both are below the field's width now.
    match Subfield::new(field, start as u16, (end - start + 1) as u16) {
        Ok(subfield) => Ok((subfield, rest)),
        Err(_) => err(range("ending", end)),
    }
}

/// Prints with the field's first NXM or OXM name.
pub fn write(out: &mut String, subfield: Subfield) {
    let info = subfield.field.info();
    out.push_str(info.wire.first().map_or(info.name, |w| w.name));
    if subfield.is_whole() {
        out.push_str("[]");
    } else if subfield.bits == 1 {
        let _ = write!(out, "[{}]", subfield.offset);
    } else {
        let last = subfield.offset + subfield.bits - 1;
        let _ = write!(out, "[{}..{last}]", subfield.offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form() {
        for (text, want) in [
            ("reg0", "NXM_NX_REG0[]"),
            ("reg0[]", "NXM_NX_REG0[]"),
            ("NXM_NX_REG0[0..31]", "NXM_NX_REG0[]"),
            ("reg0[0..15]", "NXM_NX_REG0[0..15]"),
            ("reg0[3]", "NXM_NX_REG0[3]"),
            ("metadata[0..7]", "OXM_OF_METADATA[0..7]"),
            ("in_port", "NXM_OF_IN_PORT[]"),
            ("xreg1[63]", "OXM_OF_PKT_REG1[63]"),
            ("foo", "foo: unknown field `foo'"),
            (
                "reg0[5..2]",
                "reg0[5..2]: starting bit 5 is after ending bit 2",
            ),
            (
                "reg0[0..33]",
                "reg0[0..33]: ending bit 33 is not valid because field is only 32 bits wide",
            ),
            ("reg0[]x", "unexpected input following field syntax"),
            ("ct_mark", "NXM_NX_CT_MARK[]"),
            (
                "tun_ttl",
                "field tun_ttl is not supported yet by this version",
            ),
            (
                "reg0[",
                "reg0[: syntax error expecting [] or [<bit>] or [<start>..<end>]",
            ),
            ("reg0[+1]", "NXM_NX_REG0[1]"),
        ] {
            let got = match parse(Piece::new(text)) {
                Ok(subfield) => {
                    let mut s = String::new();
                    write(&mut s, subfield);
                    s
                }
                Err(e) => e.kind.to_string(),
            };
            assert_eq!(got, want, "{text}");
        }
    }
}
