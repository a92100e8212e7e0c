//! Values of match fields as text, `VALUE[/MASK]`, by the format in the field table.
//!
//! Source: ovs-fields(7), "Format" of each field.

use std::fmt::Write;

use super::dp::TCP_FLAGS;
use super::error::{Error, ErrorKind};
use super::flags;
use super::ports::Names;
use super::token::Piece;
use super::value;
use crate::field::{Field, FieldInfo, Format, Maskable};

/// Bits of `ip_frag`: any fragment, and a fragment other than the first.
const FRAG_ANY: u128 = 1;
const FRAG_LATER: u128 = 2;

/// Name, value and mask of each kind of fragment; the first fit counts in both directions.
const FRAGS: [(&str, u128, u128); 7] = [
    ("no", 0, FRAG_ANY | FRAG_LATER),
    ("first", FRAG_ANY, FRAG_ANY | FRAG_LATER),
    ("later", FRAG_ANY | FRAG_LATER, FRAG_ANY | FRAG_LATER),
    ("no", 0, FRAG_ANY),
    ("yes", FRAG_ANY, FRAG_ANY),
    ("not_later", 0, FRAG_LATER),
    ("later", FRAG_LATER, FRAG_LATER),
];

/// The field that `name` means, when this version carries it.
pub fn field_named(name: Piece<'_>) -> Result<Field, Error> {
    Field::from_name(name.text).map_err(|e| {
        let kind = match e {
            crate::field::Error::Unknown(name) => ErrorKind::UnknownField(name),
            crate::field::Error::NotSupported(name) => ErrorKind::FieldNotSupported(name),
        };
        Error::new(kind, name.at)
    })
}

/// Parses `VALUE` or `VALUE/MASK` of `field`; an empty text or `*` has a zero mask.
///
/// Values are in the form that [`crate::Match::set`] takes.
pub fn parse(field: Field, text: Piece<'_>, names: &Names) -> Result<(u128, u128), Error> {
    if text.is_empty() || text.text == "*" {
        return Ok((0, 0));
    }
    parse_set(field, text, names)
}

/// Parses a value for a `set_field` action, which may not be empty.
pub fn parse_set(field: Field, text: Piece<'_>, names: &Names) -> Result<(u128, u128), Error> {
    let info = field.info();
    let full = full_mask(field);
    let err = |kind| Error::new(kind, text.at);
    let whole = || text.text.to_owned();
    let (value, mask) = match info.format {
        Format::Decimal | Format::Hex => integer(info, text)?,
        Format::Eth => {
            let parse = |s: &str| value::eth_addr(s).map(|a| u128::from(a.to_u64()));
            masked(text, full, parse).ok_or_else(|| err(ErrorKind::EthAddr(whole())))?
        }
        Format::Ipv4 => {
            let parse = |s: &str| value::ipv4(s).map(u128::from);
            address(text, "IPv4", 32, parse, ErrorKind::Ipv4Addr)?
        }
        Format::Ipv6 => address(text, "IPv6", 128, value::ipv6, ErrorKind::Ipv6Addr)?,
        Format::OfPort16 | Format::OfPort => {
            let port = names.port(text.text).ok_or_else(|| {
                let (value, field) = (whole(), info.name);
                // The words are Open vSwitch's, which has others for each width.
                err(match info.format {
                    Format::OfPort16 => ErrorKind::FieldPort { value, field },
                    _ => ErrorKind::FieldPortRange { value, field },
                })
            })?;
            let number = match info.format {
                Format::OfPort16 => port.to_u16().map_or(port.0, u32::from),
                _ => port.0,
            };
            (u128::from(number), full)
        }
        Format::Frag => FRAGS
            .iter()
            .find(|(name, _, _)| *name == text.text)
            .map(|(_, value, mask)| (*value, *mask))
            .ok_or_else(|| err(ErrorKind::Frag(whole())))?,
        Format::TcpFlags => parse_flags(text, &TCP_FLAGS, "TCP")?,
        Format::TunFlags => parse_flags(text, &flags::TUNNEL, "tunnel")?,
        Format::CtState => parse_flags(text, &flags::CT_STATE, "ct_state")?,
        Format::PacketType => (packet_type(text)?, full),
    };
    if info.maskable == Maskable::Exact && mask != full && mask != 0 {
        return Err(err(ErrorKind::NotMaskable {
            value: whole(),
            field: info.name,
        }));
    }
    Ok((value, mask))
}

fn parse_flags(text: Piece<'_>, names: &[&str], kind: &'static str) -> Result<(u128, u128), Error> {
    let kind = match flags::parse(text.text, names) {
        Ok((v, m)) => return Ok((v.into(), m.into())),
        Err(flags::Error::Unknown(rest)) => ErrorKind::Flag {
            value: rest.to_owned(),
            kind,
        },
        Err(flags::Error::Twice(name)) => ErrorKind::FlagTwice {
            value: name.to_owned(),
            kind,
        },
    };
    Err(Error::new(kind, text.at))
}

/// `(NS,TYPE)`.
fn packet_type(text: Piece<'_>) -> Result<u128, Error> {
    let bad = |rest: Piece<'_>, what| {
        let value = rest.text.to_owned();
        Error::new(ErrorKind::PacketType { value, what }, rest.at)
    };
    if !text.text.starts_with('(') {
        return Err(bad(text, "missing '('"));
    }
    let inside = text.skip(1);
    let (ns, rest) = inside
        .split_once(",")
        .ok_or_else(|| bad(inside, "missing ','"))?;
    let ns = value::u16_value(ns.text).ok_or_else(|| bad(inside, "ns"))?;
    let Some(id) = rest.text.strip_suffix(')') else {
        return Err(bad(rest, "missing ')'"));
    };
    let id = value::u16_value(id).ok_or_else(|| bad(rest, "ns type"))?;
    Ok(u128::from(ns) << 16 | u128::from(id))
}

/// The mask of an exact value of `field`: `vlan_vid` has the presence bit too, and the two low
/// bits of `nw_tos` belong to another field.
pub fn full_mask(field: Field) -> u128 {
    match field {
        Field::VlanVid => 0x1fff,
        Field::NwTos => 0xfc,
        _ => field.info().full_mask(),
    }
}

fn integer(info: &FieldInfo, text: Piece<'_>) -> Result<(u128, u128), Error> {
    let field = info.name;
    let err = |kind| Error::new(kind, text.at);
    let whole = || text.text.to_owned();
    let full = full_mask(info.field);
    let (v, m) = match text.split_once("/") {
        Some((v, m)) => (v, Some(m)),
        None => (text, None),
    };
    let syntax = || ErrorKind::ValueSyntax {
        value: whole(),
        field,
    };
    if info.is_variable_len() && value::is_wide_number(v.text) {
        let value = whole();
        return Err(err(ErrorKind::TooLongToHold { value, field }));
    }
    let too_large = || ErrorKind::ValueTooLarge {
        value: whole(),
        bytes: info.bytes,
        field,
    };
    if value::is_wide_number(v.text) {
        return Err(err(too_large()));
    }
    let v = value::number(v.text).ok_or_else(|| err(syntax()))?;
    let wire = value::ones(u32::from(info.bytes) * 8);
    if v & !wire != 0 {
        return Err(err(too_large()));
    }
    // The low bits of the type of service are ignored; the VLAN has a value of its own for "none".
    if v & !full != 0 && !matches!(info.field, Field::DlVlan | Field::NwTos) {
        return Err(err(ErrorKind::ValueTooWide {
            value: whole(),
            bits: info.bits,
            field,
        }));
    }
    let Some(m) = m else { return Ok((v, full)) };
    let syntax = || ErrorKind::MaskSyntax {
        value: whole(),
        field,
    };
    let m = value::number(m.text).ok_or_else(|| err(syntax()))?;
    if m & !wire != 0 {
        return Err(err(ErrorKind::MaskTooLarge {
            value: whole(),
            bytes: info.bytes,
            field,
        }));
    }
    Ok((v, if m == wire { full } else { m }))
}

/// `V` or `V/M` where both have the same syntax.
fn masked(
    text: Piece<'_>,
    full: u128,
    parse: impl Fn(&str) -> Option<u128>,
) -> Option<(u128, u128)> {
    match text.text.split_once('/') {
        Some((v, m)) => Some((parse(v)?, parse(m)?)),
        None => Some((parse(text.text)?, full)),
    }
}

/// An IP address with a prefix length or a mask.
fn address(
    text: Piece<'_>,
    family: &'static str,
    bits: u32,
    parse: impl Fn(&str) -> Option<u128>,
    bad: impl Fn(String) -> ErrorKind,
) -> Result<(u128, u128), Error> {
    let whole = || text.text.to_owned();
    if let Some((v, prefix)) = text.text.split_once('/')
        && !prefix.is_empty()
        && prefix.bytes().all(|b| b.is_ascii_digit())
    {
        let v = parse(v).ok_or_else(|| Error::new(bad(whole()), text.at))?;
        return match prefix.parse() {
            Ok(n) if n <= bits => Ok((v, value::prefix_mask(n, bits))),
            _ => Err(Error::new(
                ErrorKind::PrefixRange {
                    value: whole(),
                    family,
                    max: bits,
                },
                text.at,
            )),
        };
    }
    masked(text, value::ones(bits), parse).ok_or_else(|| Error::new(bad(whole()), text.at))
}

/// Prints `VALUE` or `VALUE/MASK` of `field`, as a `set_field` action shows it.
pub fn write(out: &mut String, field: Field, v: u128, mask: u128, names: &Names) {
    let info = field.info();
    let full = full_mask(field);
    if mask == 0 {
        out.push('*');
        return;
    }
    match info.format {
        Format::Decimal | Format::Hex => {
            let decimal = info.format == Format::Decimal;
            if decimal && mask == full {
                let _ = write!(out, "{v}");
            } else {
                value::write_hex(out, v);
            }
            if mask != full {
                out.push('/');
                value::write_hex(out, mask);
            }
        }
        Format::Eth => write_eth(out, v, mask),
        Format::Ipv4 => value::write_ipv4_masked(out, low32(v), low32(mask)),
        Format::Ipv6 => value::write_ipv6_masked(out, v, mask),
        Format::OfPort16 => names.write_port(out, packet::OfPort::from_u16(low32(v) as u16)),
        Format::OfPort => names.write_port(out, packet::OfPort(low32(v))),
        Format::Frag => write_frag(out, v, mask),
        Format::TcpFlags => flags::write(out, low32(v), low32(mask), &TCP_FLAGS),
        Format::TunFlags => flags::write(out, low32(v), low32(mask), &flags::TUNNEL),
        Format::CtState => flags::write(out, low32(v), low32(mask), &flags::CT_STATE),
        Format::PacketType => write_packet_type(out, low32(v)),
    }
}

/// An Ethernet address, with its mask when that is not all ones.
pub fn write_eth(out: &mut String, v: u128, mask: u128) {
    let low48 = |v: u128| (v & 0xffff_ffff_ffff) as u64;
    value::write_eth(out, low48(v));
    if low48(mask) != 0xffff_ffff_ffff {
        out.push('/');
        value::write_eth(out, low48(mask));
    }
}

/// `(NS,TYPE)`; what is large enough for an Ethernet type is hexadecimal.
pub fn write_packet_type(out: &mut String, v: u32) {
    const ETHER_TYPE_MIN: u32 = 0x600;
    let (ns, id) = (v >> 16, v & 0xffff);
    let _ = match id {
        0..ETHER_TYPE_MIN => write!(out, "({ns},{id})"),
        _ => write!(out, "({ns},{id:#x})"),
    };
}

pub fn write_frag(out: &mut String, v: u128, mask: u128) {
    match FRAGS.iter().find(|(_, fv, fm)| (*fv, *fm) == (v, mask)) {
        Some((name, _, _)) => out.push_str(name),
        None => {
            let _ = write!(out, "{v:#x}/{mask:#x}");
        }
    }
}

/// The low half word, for fields that the table says are no wider.
fn low32(v: u128) -> u32 {
    (v & u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(name: &str, text: &str) -> String {
        let names = Names::none();
        let field = field_named(Piece::new(name)).unwrap();
        match parse(field, Piece::new(text), &names) {
            Ok((v, m)) => {
                let mut s = String::new();
                write(&mut s, field, v & m, m, &names);
                s
            }
            Err(e) => e.kind.to_string(),
        }
    }

    /// Pairs collected from `ovs-ofctl parse-flow` of Open vSwitch 3.1.
    #[test]
    fn values_of_each_format() {
        for (name, text, want) in [
            ("tcp_src", "xyz", "xyz: bad syntax for tcp_src value"),
            ("tcp_src", "1/", "1/: bad syntax for tcp_src mask"),
            (
                "tp_src",
                "0x10000",
                "0x10000: value too large for 2-byte field tcp_src",
            ),
            (
                "tcp_src",
                "1/0xfffff",
                "1/0xfffff: mask too large for 2-byte field tcp_src",
            ),
            ("tcp_src", "0x10/0xf0", "0x10/0xf0"),
            ("tcp_src", "*", "*"),
            (
                "nw_proto",
                "6/0xf",
                "6/0xf: invalid mask for field nw_proto",
            ),
            ("nw_proto", "6/0xff", "6"),
            ("ip_frag", "yes", "yes"),
            ("ip_frag", "later", "later"),
            ("ip_frag", "not_later", "not_later"),
            ("tcp_flags", "+syn-ack", "+syn-ack"),
            ("tcp_flags", "0x12/0x3f", "-fin+syn-rst-psh+ack-urg"),
            ("tcp_flags", "5", "fin|rst"),
            ("tcp_flags", "+foo", "foo: unknown TCP flag(s)"),
            ("nw_src", "1.2.3.4/255.0.255.0", "1.0.3.0/255.0.255.0"),
            ("nw_src", "1.2.3.4/8", "1.0.0.0/8"),
            (
                "nw_src",
                "1.2.3.4/33",
                "1.2.3.4/33: IPv4 network prefix bits not between 0 and 32, inclusive",
            ),
            ("nw_src", "1.2.3", "1.2.3: invalid IP address"),
            ("ipv6_src", "fe80::1/64", "fe80::/64"),
            ("ipv6_src", "::1/ffff::", "::/16"),
            ("ipv6_label", "5/0xff", "0x5/0xff"),
            ("in_port", "local", "LOCAL"),
            ("in_port", "xyz", "xyz: invalid or unknown port for in_port"),
            (
                "dl_src",
                "1:2:3:4:5:6/ff:0:0:0:0:0",
                "01:00:00:00:00:00/ff:00:00:00:00:00",
            ),
            ("dl_src", "zz", "zz: invalid Ethernet address"),
            ("metadata", "-1", "0xffffffffffffffff"),
            ("vlan_vid", "0x1005", "4101"),
            ("ct_state", "", "*"),
            ("ct_state", "+new+foo", "foo: unknown ct_state flag(s)"),
            ("tun_flags", "oam", "oam"),
            ("tun_flags", "-oam", "0"),
            ("tun_flags", "2", "2: unknown tunnel flag(s)"),
            ("packet_type", "(1,0x800)", "(1,0x800)"),
            ("packet_type", "(1,2048)", "(1,0x800)"),
            ("packet_type", "(2,5)", "(2,5)"),
            ("packet_type", "(1,5)", "(1,5)"),
            ("packet_type", "(0,0x600)", "(0,0x600)"),
            (
                "ct_state",
                "+trk+trk",
                "trk: Each ct_state flag can be specified only once",
            ),
            (
                "xxreg0",
                "0x100000000000000000000000000000000",
                "0x100000000000000000000000000000000: value too large for 16-byte field xxreg0",
            ),
            (
                "packet_type",
                "1",
                "1: bad syntax for packet type missing '('",
            ),
            (
                "packet_type",
                "(1)",
                "1): bad syntax for packet type missing ','",
            ),
            (
                "packet_type",
                "(70000,1)",
                "70000,1): bad syntax for packet type ns",
            ),
            ("tun_metadata3", "0x1234/0xff00", "0x1200/0xff00"),
            (
                "tun_metadata3",
                "0x1111111122222222333333334444444455",
                "0x1111111122222222333333334444444455: value too large for the 16 bytes of \
                 tun_metadata3 that this version carries",
            ),
            ("ct_zone", "5/7", "5/7: invalid mask for field ct_zone"),
        ] {
            assert_eq!(round(name, text), want, "{name}={text}");
        }
    }
}
