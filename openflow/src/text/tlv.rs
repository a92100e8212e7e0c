//! Mappings of Geneve options from text: `{class=0xffff,type=0,len=4}->tun_metadata0`.
//!
//! Source: ovs-ofctl(8), "add-tlv-map".

use super::value;
use crate::message::TlvMap;

/// Parses a list of mappings; `None` for anything else.
///
/// Numbers that do not fit are cut to the width that the message has, as ovs-ofctl does; the
/// switch judges what is left.
pub fn parse_maps(text: &str) -> Option<Vec<TlvMap>> {
    let mut maps = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (option, tail) = rest.strip_prefix('{')?.split_once('}')?;
        let tail = tail.trim_start().strip_prefix("->")?.trim_start();
        let tail = tail.strip_prefix("tun_metadata")?;
        let end = tail.find([',', ' ']).unwrap_or(tail.len());
        let (index, tail) = tail.split_at(end);
        maps.push(parse_option(option, index.parse().ok()?)?);
        rest = tail.trim_start_matches([',', ' ']);
    }
    Some(maps)
}

fn parse_option(option: &str, index: u16) -> Option<TlvMap> {
    let (mut class, mut kind, mut len) = (None, None, None);
    for pair in option.split(',') {
        let (key, number) = pair.split_once('=')?;
        let number = value::u32_value(number.trim())?;
        match key.trim() {
            "class" => class = Some(number),
            "type" => kind = Some(number),
            "len" => len = Some(number),
            _ => return None,
        }
    }
    Some(TlvMap {
        class: class? as u16,
        kind: kind? as u8,
        len: len? as u8,
        index,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        let map = TlvMap {
            class: 0xffff,
            kind: 1,
            len: 8,
            index: 3,
        };
        let text = "{class=0xffff,type=1,len=8}->tun_metadata3";
        assert_eq!(parse_maps(text), Some(vec![map]));
        assert_eq!(parse_maps(&format!("{text},{text}")), Some(vec![map, map]));
        assert_eq!(parse_maps(""), Some(Vec::new()));
        for bad in [
            "foo",
            "{class=0xffff,type=0,len=4}",
            "{class=0xffff,type=0}->tun_metadata0",
            "{class=x,type=0,len=4}->tun_metadata0",
            "{class=1,type=0,len=4}->tun_metadata",
            "{class=1,type=0,len=4}->reg0",
        ] {
            assert_eq!(parse_maps(bad), None, "{bad}");
        }
    }
}
