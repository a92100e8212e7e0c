//! NXM and OXM entries as text, by their names on the wire: `NXM_OF_ETH_TYPE(0800)`, with a mask
//! `NXM_OF_IP_SRC_W(0a000000/ff000000)`. The testing commands parse-nxm and parse-oxm of
//! ovs-ofctl read and print them.
//!
//! The text says what bytes to make, not what is valid: [`crate::codec::parts`] tells that.

use std::fmt::Write;

use thiserror::Error;

use crate::field::{Field, WireId};

/// What stands for a match without entries.
pub const ANY: &str = "<any>";

const CLASS_EXPERIMENTER: u16 = 0xffff;
/// A pseudo-field: in no match, only in requests about flows.
const COOKIE: WireId = WireId {
    name: "NXM_NX_COOKIE",
    class: 1,
    experimenter: 0,
    number: 30,
    since: 0,
};
const COOKIE_LEN: u8 = 8;

/// What is wrong with a text, in the words of ovs-ofctl.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Error {
    #[error("{0}: missing ( at end of nx_match")]
    NoParenthesis(String),
    #[error("{text}: unknown field `{name}'")]
    UnknownField { text: String, name: String },
    #[error("expected to read {wanted} bytes but got {got}")]
    Length { wanted: usize, got: usize },
    #[error("{text}: missing / in masked field {name}")]
    NoMask { text: String, name: String },
    #[error("{text}: missing ) following field {name}")]
    NotClosed { text: String, name: String },
}

/// Header bytes of an entry and the length of its value.
struct Head {
    bytes: Vec<u8>,
    has_mask: bool,
    value_len: usize,
}

/// Reads a text into entries, each as it is on the wire.
pub fn parse(text: &str) -> Result<Vec<Vec<u8>>, Error> {
    let mut entries = Vec::new();
    if text == ANY {
        return Ok(entries);
    }
    let owned = || text.to_owned();
    let mut rest = text.trim_start_matches([',', ' ']);
    while !rest.is_empty() {
        let Some((name, after)) = rest.split_once('(') else {
            return Err(Error::NoParenthesis(owned()));
        };
        let head = head_named(name).ok_or_else(|| Error::UnknownField {
            text: owned(),
            name: name.to_owned(),
        })?;
        let mut entry = head.bytes;
        rest = hex(after, head.value_len, &mut entry)?;
        if head.has_mask {
            let Some(mask) = rest.strip_prefix('/') else {
                return Err(Error::NoMask {
                    text: owned(),
                    name: name.to_owned(),
                });
            };
            rest = hex(mask, head.value_len, &mut entry)?;
        }
        let Some(after) = rest.strip_prefix(')') else {
            return Err(Error::NotClosed {
                text: owned(),
                name: name.to_owned(),
            });
        };
        rest = after.trim_start_matches([',', ' ']);
        entries.push(entry);
    }
    Ok(entries)
}

/// Appends the bytes at the start of `text`, which must be `wanted`; gives what is behind them.
fn hex<'a>(text: &'a str, wanted: usize, out: &mut Vec<u8>) -> Result<&'a str, Error> {
    let mut rest = text.trim_start_matches([' ', '.']);
    let mut got = 0;
    while let Some((pair, after)) = rest.split_at_checked(2)
        && pair.bytes().all(|b| b.is_ascii_hexdigit())
        && let Ok(byte) = u8::from_str_radix(pair, 16)
    {
        out.push(byte);
        got += 1;
        rest = after.trim_start_matches([' ', '.']);
    }
    if got == wanted {
        Ok(rest)
    } else {
        Err(Error::Length { wanted, got })
    }
}

/// The header that a name stands for, or eight or sixteen hexadecimal digits of a header itself.
fn head_named(name: &str) -> Option<Head> {
    let (plain, has_mask) = match name.strip_suffix("_W") {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let known = ids().find(|(id, _)| id.name == plain);
    if let Some((id, len)) = known {
        let payload = if has_mask { len * 2 } else { len };
        let mut bytes = Vec::with_capacity(8);
        bytes.extend(id.class.to_be_bytes());
        bytes.push(id.number << 1 | u8::from(has_mask));
        if id.class == CLASS_EXPERIMENTER {
            bytes.push(payload + 4);
            bytes.extend(id.experimenter.to_be_bytes());
        } else {
            bytes.push(payload);
        }
        return Some(Head {
            bytes,
            has_mask,
            value_len: usize::from(len),
        });
    }
    if !matches!(name.len(), 8 | 16) || !name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = super::value::hex_bytes(name)?;
    let &[a, b, number, len, ..] = bytes.as_slice() else {
        return None;
    };
    let experimenter = u16::from_be_bytes([a, b]) == CLASS_EXPERIMENTER;
    if experimenter != (bytes.len() == 8) {
        return None;
    }
    let has_mask = number & 1 != 0;
    let payload = if experimenter {
        len.checked_sub(4)?
    } else {
        len
    };
    Some(Head {
        bytes,
        has_mask,
        value_len: usize::from(if has_mask { payload / 2 } else { payload }),
    })
}

/// Every identifier with the length of its value.
fn ids() -> impl Iterator<Item = (&'static WireId, u8)> {
    Field::all()
        .iter()
        .flat_map(|info| info.wire.iter().map(|id| (id, info.bytes)))
        .chain(std::iter::once((&COOKIE, COOKIE_LEN)))
}

/// Prints whole entries; what follows them and is none is left out.
pub fn write(out: &mut String, bytes: &[u8]) {
    if bytes.is_empty() {
        out.push_str(ANY);
        return;
    }
    let mut rest = bytes;
    let mut separator = "";
    while let Some((head, after)) = rest.split_at_checked(4) {
        let &[a, b, number, len] = head else { return };
        let class = u16::from_be_bytes([a, b]);
        let Some((body, tail)) = after.split_at_checked(usize::from(len)) else {
            return;
        };
        let (experimenter, payload) = match body {
            [a, b, c, d, payload @ ..] if class == CLASS_EXPERIMENTER => {
                (u32::from_be_bytes([*a, *b, *c, *d]), payload)
            }
            payload => (0, payload),
        };
        let has_mask = number & 1 != 0;
        out.push_str(separator);
        separator = ", ";
        let half = if has_mask {
            payload.len() / 2
        } else {
            payload.len()
        };
        let is_it = |id: &WireId| {
            id.class == class && id.number == number >> 1 && id.experimenter == experimenter
        };
        // The cookie has the number of another field, and another length.
        let known = if is_it(&COOKIE) && half == usize::from(COOKIE_LEN) {
            Some((&COOKIE, COOKIE_LEN))
        } else {
            ids().find(|(id, _)| is_it(id))
        };
        let _ = match known {
            Some((id, _)) => write!(out, "{}{}", id.name, if has_mask { "_W" } else { "" }),
            None => write!(out, "{class}:{}", number >> 1),
        };
        out.push('(');
        for (n, byte) in payload.iter().enumerate() {
            if n == half {
                out.push('/');
            }
            let _ = write!(out, "{byte:02x}");
        }
        out.push(')');
        rest = tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_survives() {
        for text in [
            "<any>",
            "NXM_OF_IN_PORT(0001)",
            "NXM_OF_ETH_TYPE(0800), NXM_OF_IP_SRC_W(c0a80000/ffff0000)",
            "NXOXM_NSH_FLAGS(01), ONFOXM_ET_TCP_FLAGS_W(0001/0fff)",
            "NXM_NX_COOKIE_W(0000000000000001/0000000000000003)",
        ] {
            let bytes = parse(text).unwrap().concat();
            let mut out = String::new();
            write(&mut out, &bytes);
            assert_eq!(out, text);
        }
        assert_eq!(
            parse("0001.20").map(|_| ()).unwrap_err().to_string(),
            "0001.20: missing ( at end of nx_match"
        );
        assert_eq!(parse("00000002(0001)").unwrap(), [[0, 0, 0, 2, 0, 1]]);
    }

    #[test]
    fn any_prefix_and_any_bytes() {
        let text = "NXM_OF_IP_SRC_W(c0a80000/ffff0000), NXOXM_NSH_FLAGS(01)";
        for n in 0..text.len() {
            let _ = parse(&text[..n]);
        }
        let mut seed = 1u32;
        for len in 0..300 {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 24) as u8
                })
                .collect();
            write(&mut String::new(), &bytes);
        }
    }
}
