//! Fields made of flags: `+syn-ack`, `syn|ack`, or a number with or without a mask.
//!
//! Source: ovs-fields(7), the formats "TCP flags", "ct state" and "tunnel flags".

use super::value;

/// Connection tracking states, lowest bit first.
pub const CT_STATE: [&str; 8] = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
/// Flags of a tunnel.
pub const TUNNEL: [&str; 1] = ["oam"];

/// Why a text is no flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error<'a> {
    /// The text from the first word on that is no flag.
    Unknown(&'a str),
    /// The flag that has two signs.
    Twice(&'a str),
}

/// The flags and their mask.
pub fn parse<'a>(s: &'a str, names: &[&str]) -> Result<(u32, u32), Error<'a>> {
    let all = value::ones(names.len() as u32) as u32;
    let bit = |name: &str| {
        let i = names.iter().position(|f| f.eq_ignore_ascii_case(name))?;
        Some(1u32 << i)
    };
    if s.starts_with(['+', '-']) {
        return signed(s, bit);
    }
    if s.starts_with(|c: char| c.is_ascii_digit()) {
        let (v, m) = match s.split_once('/') {
            Some((v, m)) => (v, value::u32_value(m)),
            None => (s, Some(all)),
        };
        return match (value::u32_value(v), m) {
            (Some(v), Some(m)) if (v | m) & !all == 0 => Ok((v, m)),
            _ => Err(Error::Unknown(s)),
        };
    }
    s.split('|')
        .try_fold(0, |flags, name| Some(flags | bit(name)?))
        .map(|flags| (flags, all))
        .ok_or(Error::Unknown(s))
}

/// Each flag with a sign before it, and each once.
fn signed(s: &str, bit: impl Fn(&str) -> Option<u32>) -> Result<(u32, u32), Error<'_>> {
    let (mut flags, mut mask) = (0, 0);
    let mut rest = s;
    while !rest.is_empty() {
        let set = rest.starts_with('+');
        let Some(word) = rest.strip_prefix(['+', '-']) else {
            return Err(Error::Unknown(rest));
        };
        let end = word.find(['+', '-']).unwrap_or(word.len());
        let (name, tail) = word.split_at(end);
        match bit(name) {
            Some(bit) if mask & bit != 0 => return Err(Error::Twice(name)),
            Some(bit) => {
                mask |= bit;
                flags |= if set { bit } else { 0 };
            }
            None => return Err(Error::Unknown(word)),
        }
        rest = tail;
    }
    Ok((flags, mask))
}

/// Each flag under `mask` with its sign.
pub fn write_signed(out: &mut String, flags: u32, mask: u32, names: &[&str]) {
    for (bit, name) in names.iter().enumerate() {
        if mask & (1 << bit) != 0 {
            out.push(if flags & (1 << bit) != 0 { '+' } else { '-' });
            out.push_str(name);
        }
    }
}

/// The names of the flags that are set when all of them matter, else each with its sign.
pub fn write(out: &mut String, flags: u32, mask: u32, names: &[&str]) {
    let all = value::ones(names.len() as u32) as u32;
    if mask & all != all {
        return write_signed(out, flags, mask, names);
    }
    if flags & all == 0 {
        out.push('0');
    }
    let set = names
        .iter()
        .enumerate()
        .filter(|(bit, _)| flags & (1 << bit) != 0);
    for (n, (_, name)) in set.enumerate() {
        if n > 0 {
            out.push('|');
        }
        out.push_str(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs collected from `ovs-ofctl parse-flows` of Open vSwitch 3.1.
    #[test]
    fn states_of_connections() {
        for (text, want) in [
            ("new", "new"),
            ("0x1", "new"),
            ("new|trk", "new|trk"),
            ("+new-est+trk", "+new-est+trk"),
            ("-trk", "-trk"),
            ("0x1/0xff", "new"),
            ("0/0xff", "0"),
            ("0x81/0x81", "+new+dnat"),
            (
                "+new+est+rel+rpl+inv+trk+snat+dnat",
                "new|est|rel|rpl|inv|trk|snat|dnat",
            ),
            ("+foo", "error foo"),
            ("+new+foo", "error foo"),
            ("+new-new", "twice new"),
            ("new|foo", "error new|foo"),
            ("+new-", "error "),
            ("0x100", "error 0x100"),
            ("0x10000/0x10000", "error 0x10000/0x10000"),
        ] {
            let got = match parse(text, &CT_STATE) {
                Ok((v, m)) => {
                    let mut s = String::new();
                    write(&mut s, v & m, m, &CT_STATE);
                    s
                }
                Err(Error::Unknown(rest)) => format!("error {rest}"),
                Err(Error::Twice(name)) => format!("twice {name}"),
            };
            assert_eq!(got, want, "{text}");
        }
    }
}
