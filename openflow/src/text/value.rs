//! Numbers and addresses as text: the forms that ovs-fields(7) gives for field values, and the
//! ones that Open vSwitch's tools print.
//!
//! Parsers take exactly the text of one value, without a mask, and return `None` for anything
//! else; the callers know which field or argument it was and make the error.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use packet::EthAddr;

/// A number of up to 16 bytes: hexadecimal after `0x`, octal after a leading `0`, else decimal.
///
/// A leading `-` means the 64-bit two's complement, so that `-1` is a mask of 64 ones, as users
/// write for `cookie=V/-1`.
pub fn number(s: &str) -> Option<u128> {
    if let Some(rest) = s.strip_prefix('-') {
        let n = u64::try_from(digits(rest)?).ok()?;
        return Some(u128::from(n.wrapping_neg()));
    }
    digits(s.strip_prefix('+').unwrap_or(s))
}

fn digits(s: &str) -> Option<u128> {
    let (digits, radix) = match s.strip_prefix("0x").or_else(|| s.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if s.len() > 1 && s.starts_with('0') => (s, 8),
        None => (s, 10),
    };
    // `from_str_radix` would take a sign here.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(digits, radix).ok()
}

/// A hexadecimal number of more than 16 bytes.
pub fn is_wide_number(s: &str) -> bool {
    s.strip_prefix("0x").is_some_and(|hex| {
        hex.bytes().all(|b| b.is_ascii_hexdigit()) && hex.trim_start_matches('0').len() > 32
    })
}

pub fn u64_value(s: &str) -> Option<u64> {
    u64::try_from(number(s)?).ok()
}

pub fn u32_value(s: &str) -> Option<u32> {
    u32::try_from(number(s)?).ok()
}

pub fn u16_value(s: &str) -> Option<u16> {
    u16::try_from(number(s)?).ok()
}

pub fn u8_value(s: &str) -> Option<u8> {
    u8::try_from(number(s)?).ok()
}

/// Six hexadecimal bytes of one or two digits, separated by colons.
pub fn eth_addr(s: &str) -> Option<EthAddr> {
    let mut bytes = [0u8; 6];
    let mut parts = s.split(':');
    for byte in &mut bytes {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(EthAddr(bytes))
}

pub fn ipv4(s: &str) -> Option<u32> {
    s.parse::<Ipv4Addr>().ok().map(u32::from)
}

pub fn ipv6(s: &str) -> Option<u128> {
    s.parse::<Ipv6Addr>().ok().map(u128::from)
}

/// Bytes written as pairs of hexadecimal digits, with `.` or space between bytes where wanted.
pub fn hex_bytes(s: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = s.trim_start_matches(['.', ' ']);
    while !rest.is_empty() {
        let (pair, tail) = rest.split_at_checked(2)?;
        if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        out.push(u8::from_str_radix(pair, 16).ok()?);
        rest = tail.trim_start_matches(['.', ' ']);
    }
    Some(out)
}

/// A mask with the `prefix` highest of `bits` bits set.
pub fn prefix_mask(prefix: u32, bits: u32) -> u128 {
    if prefix == 0 {
        return 0;
    }
    let ones = ones(prefix.min(bits));
    ones << (bits - prefix.min(bits))
}

/// `bits` ones, from the lowest bit up.
pub fn ones(bits: u32) -> u128 {
    if bits >= 128 {
        u128::MAX
    } else {
        (1u128 << bits) - 1
    }
}

/// The prefix length when `mask` is ones followed by zeros within `bits` bits.
pub fn as_prefix(mask: u128, bits: u32) -> Option<u32> {
    let prefix = mask.count_ones();
    (prefix_mask(prefix, bits) == mask).then_some(prefix)
}

pub fn write_eth(out: &mut String, v: u64) {
    let _ = write!(out, "{}", EthAddr::from_u64(v));
}

pub fn write_ipv4(out: &mut String, v: u32) {
    let _ = write!(out, "{}", Ipv4Addr::from(v));
}

/// As inet_ntop(3) prints it: an IPv4-compatible address ends in dotted form.
pub fn write_ipv6(out: &mut String, v: u128) {
    let low = v as u32;
    if v >> 32 == 0 && low >> 16 != 0 {
        let _ = write!(out, "::{}", Ipv4Addr::from(low));
    } else {
        let _ = write!(out, "{}", Ipv6Addr::from(v));
    }
}

/// `value/prefix`, `value/mask`, or the value alone when `mask` is all ones.
pub fn write_ipv4_masked(out: &mut String, v: u32, mask: u32) {
    write_ipv4(out, v);
    if mask != u32::MAX {
        out.push('/');
        match as_prefix(u128::from(mask), 32) {
            Some(prefix) => {
                let _ = write!(out, "{prefix}");
            }
            None => write_ipv4(out, mask),
        }
    }
}

pub fn write_ipv6_masked(out: &mut String, v: u128, mask: u128) {
    write_ipv6(out, v);
    if mask != u128::MAX {
        out.push('/');
        match as_prefix(mask, 128) {
            Some(prefix) => {
                let _ = write!(out, "{prefix}");
            }
            None => write_ipv6(out, mask),
        }
    }
}

/// C's `%#x`: `0x` and lower-case digits, but a bare `0` for zero.
pub fn write_hex(out: &mut String, v: u128) {
    if v == 0 {
        out.push('0');
    } else {
        let _ = write!(out, "{v:#x}");
    }
}

/// Pairs of hexadecimal digits with dots between them.
pub fn write_bytes(out: &mut String, bytes: &[u8]) {
    for (n, byte) in bytes.iter().enumerate() {
        let dot = if n > 0 { "." } else { "" };
        let _ = write!(out, "{dot}{byte:02x}");
    }
}

/// `true` when a port or table name can be printed without quotes: a letter followed by letters,
/// digits and a few signs that no syntax uses.
fn is_plain_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric())
}

/// A name as Open vSwitch prints it: bare, or as a JSON string when it might be misread.
pub fn write_name(out: &mut String, name: &str) {
    if is_plain_name(name) {
        out.push_str(name);
        return;
    }
    out.push('"');
    for c in name.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Undoes [`write_name`]: the text between the quotes of a JSON string; other text as it is.
pub fn unquote(s: &str) -> Option<String> {
    let Some(inner) = s.strip_prefix('"') else {
        return Some(s.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c == '"' {
            return None;
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut code = 0;
                for _ in 0..4 {
                    code = code * 16 + chars.next()?.to_digit(16)?;
                }
                char::from_u32(code)?
            }
            c @ ('"' | '\\' | '/') => c,
            _ => return None,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_c_notation() {
        for (s, want) in [
            ("0", Some(0)),
            ("010", Some(8)),
            ("0x1F", Some(31)),
            ("12", Some(12)),
            ("-1", Some(u128::from(u64::MAX))),
            ("0xffffffffffffffffffffffffffffffff", Some(u128::MAX)),
            ("0x1ffffffffffffffffffffffffffffffff", None),
            ("", None),
            ("0x", None),
            ("0x+1", None),
            ("--1", None),
            ("1 ", None),
            ("08", None),
        ] {
            assert_eq!(number(s), want, "{s}");
        }
    }

    #[test]
    fn addresses() {
        assert_eq!(eth_addr("1:2:3:4:5:a"), Some(EthAddr([1, 2, 3, 4, 5, 10])));
        assert_eq!(eth_addr("1:2:3:4:5"), None);
        assert_eq!(eth_addr("1:2:3:4:5:6:7"), None);
        assert_eq!(eth_addr("1:2:3:4:5:+6"), None);
        assert_eq!(ipv4("1.2.3"), None);
        let mut s = String::new();
        write_ipv6(&mut s, ipv6("::1.2.3.4").unwrap());
        s.push(' ');
        write_ipv6(&mut s, ipv6("::1").unwrap());
        s.push(' ');
        write_ipv6(&mut s, ipv6("::ffff:1.2.3.4").unwrap());
        assert_eq!(s, "::1.2.3.4 ::1 ::ffff:1.2.3.4");
    }

    #[test]
    fn masks() {
        assert_eq!(prefix_mask(24, 32), 0xffff_ff00);
        assert_eq!(prefix_mask(0, 128), 0);
        assert_eq!(prefix_mask(128, 128), u128::MAX);
        assert_eq!(as_prefix(0xff00_ff00, 32), None);
        assert_eq!(as_prefix(0, 32), Some(0));
    }

    #[test]
    fn names_survive_quoting() {
        for name in ["eth0", "br-int", "a b", "q\"\\", "\u{1}", "9", "", "é"] {
            let mut s = String::new();
            write_name(&mut s, name);
            assert_eq!(unquote(&s).as_deref(), Some(name));
        }
        let mut s = String::new();
        write_name(&mut s, "br-int");
        assert_eq!(s, "\"br-int\"");
    }
}
