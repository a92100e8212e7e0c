//! Reads a datapath flow key from text.
//!
//! Takes the attributes that `format_key` writes, in any order, with or without masks; attributes
//! of Open vSwitch's datapaths that this one has no counterpart for are refused by name, except
//! where they carry no information (`packet_type(ns=0,id=0)`).

use packet::key::{FRAG_ANY, FRAG_LATER, VLAN_PRESENT};
use packet::{FlowKey, FlowMask};

use super::{DpPortNames, TCP_FLAGS};
use crate::text::flags;
use crate::text::token::{Pair, Pairs, Piece};
use crate::text::value;

/// Nesting of `encap(...)` that a key can hold.
const MAX_ENCAPS: usize = 2;

/// Why a datapath flow key was not understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error("{name}: unknown datapath flow attribute (column {column})")]
    UnknownAttribute { name: String, column: usize },
    #[error("{name}: this datapath has no such flow attribute (column {column})")]
    NotSupported { name: String, column: usize },
    #[error("{name}: unknown field of {attribute} (column {column})")]
    UnknownField {
        attribute: String,
        name: String,
        column: usize,
    },
    #[error("{value}: bad value in {attribute} (column {column})")]
    BadValue {
        attribute: String,
        value: String,
        column: usize,
    },
    #[error("more than {MAX_ENCAPS} VLAN tags in a flow key (column {column})")]
    TooManyTags { column: usize },
}

/// Parses `text`; a field given without a mask is exact, one not given is a wildcard.
pub fn parse_key(text: &str, names: &dyn DpPortNames) -> Result<(FlowKey, FlowMask), Error> {
    let mut parser = Parser {
        key: FlowKey::zero(),
        mask: FlowMask::empty(),
        names,
        tags: 0,
        outer_type: None,
    };
    parser.attributes(Piece::new(text), 0)?;
    if let Some((eth_type, mask)) = parser.outer_type.take() {
        parser.key.eth_type = eth_type.to_be_bytes();
        parser.mask.0.eth_type = mask.to_be_bytes();
    }
    Ok((parser.key, parser.mask))
}

struct Parser<'a> {
    key: FlowKey,
    mask: FlowMask,
    names: &'a dyn DpPortNames,
    /// VLAN tags seen.
    tags: usize,
    /// The last `eth_type`, which is a tag's TPID when `vlan` follows.
    outer_type: Option<(u16, u16)>,
}

/// A value and its mask.
type Masked<T> = (T, T);

impl Parser<'_> {
    fn attributes(&mut self, text: Piece<'_>, depth: usize) -> Result<(), Error> {
        for attribute in Pairs::new(text) {
            self.attribute(attribute, depth)?;
        }
        Ok(())
    }

    fn attribute(&mut self, a: Pair<'_>, depth: usize) -> Result<(), Error> {
        let column = a.key.at + 1;
        match a.key.text {
            "recirc_id" => (self.key.recirc_id, self.mask.0.recirc_id) = number32(a, a.value)?,
            "skb_mark" => (self.key.pkt_mark, self.mask.0.pkt_mark) = number32(a, a.value)?,
            "in_port" => self.in_port(a)?,
            "eth" => self.eth(a)?,
            "eth_type" => self.outer_type = Some(number16(a, a.value, u16::MAX)?),
            "vlan" => self.vlan(a)?,
            "encap" => {
                if depth >= MAX_ENCAPS {
                    return Err(Error::TooManyTags { column });
                }
                self.attributes(a.value, depth + 1)?;
            }
            "ipv4" => self.ip(a)?,
            "ipv6" => self.ip(a)?,
            "arp" => self.arp(a)?,
            "tcp" | "udp" | "sctp" => self.ports(a, "src", "dst", u16::MAX)?,
            "icmp" | "icmpv6" => self.ports(a, "type", "code", 0xff)?,
            "tcp_flags" => {
                let (v, m) = tcp_flags(a)?;
                self.key.tcp_flags = v.to_be_bytes();
                self.mask.0.tcp_flags = m.to_be_bytes();
            }
            "nd" => self.nd(a)?,
            // What every Ethernet port has; the other attributes only when they match nothing.
            "packet_type" if a.value.text == "ns=0,id=0" => {}
            "dp_hash" | "skb_priority" | "ct_state" | "ct_zone" | "ct_mark" | "ct_label"
                if matches!(a.value.text, "0" | "0/0") => {}
            "packet_type" | "dp_hash" | "skb_priority" | "ct_state" | "ct_zone" | "ct_mark"
            | "ct_label" | "tunnel" | "ct_tuple4" | "ct_tuple6" | "mpls" | "nsh" => {
                return Err(Error::NotSupported {
                    name: a.key.text.to_owned(),
                    column,
                });
            }
            name => {
                return Err(Error::UnknownAttribute {
                    name: name.to_owned(),
                    column,
                });
            }
        }
        Ok(())
    }

    fn in_port(&mut self, a: Pair<'_>) -> Result<(), Error> {
        let name = value::unquote(a.value.text);
        if let Some(port) = name.and_then(|name| self.names.number(&name)) {
            (self.key.in_port, self.mask.0.in_port) = (port.0, u32::MAX);
        } else {
            (self.key.in_port, self.mask.0.in_port) = number32(a, a.value)?;
        }
        Ok(())
    }

    fn eth(&mut self, a: Pair<'_>) -> Result<(), Error> {
        for f in Pairs::new(a.value) {
            match f.key.text {
                "src" => (self.key.eth_src, self.mask.0.eth_src) = eth(a, f)?,
                "dst" => (self.key.eth_dst, self.mask.0.eth_dst) = eth(a, f)?,
                _ => return Err(unknown(a, f)),
            }
        }
        Ok(())
    }

    fn vlan(&mut self, a: Pair<'_>) -> Result<(), Error> {
        let (tpid, _) = self.outer_type.take().unwrap_or((0x8100, u16::MAX));
        let (mut tci, mut mask) = (VLAN_PRESENT, VLAN_PRESENT);
        for f in Pairs::new(a.value) {
            let (v, m, shift) = match f.key.text {
                "vid" => {
                    let (v, m) = number16(a, f.value, 0xfff)?;
                    (v, m, 0)
                }
                "pcp" => {
                    let (v, m) = number16(a, f.value, 7)?;
                    (v, m, 13)
                }
                // Every tag that is there has it.
                "cfi" if matches!(f.value.text, "1" | "1/0") => continue,
                _ => return Err(unknown(a, f)),
            };
            tci |= v << shift;
            mask |= m << shift;
        }
        let (tci, mask) = (tci.to_be_bytes(), mask.to_be_bytes());
        let tpid = tpid.to_be_bytes();
        match self.tags {
            0 => {
                (self.key.vlan0_tci, self.mask.0.vlan0_tci) = (tci, mask);
                (self.key.vlan0_tpid, self.mask.0.vlan0_tpid) = (tpid, [0xff; 2]);
            }
            1 => {
                (self.key.vlan1_tci, self.mask.0.vlan1_tci) = (tci, mask);
                (self.key.vlan1_tpid, self.mask.0.vlan1_tpid) = (tpid, [0xff; 2]);
            }
            _ => {
                let column = a.key.at + 1;
                return Err(Error::TooManyTags { column });
            }
        }
        self.tags += 1;
        Ok(())
    }

    fn ip(&mut self, a: Pair<'_>) -> Result<(), Error> {
        let v6 = a.key.text == "ipv6";
        let (key, mask) = (&mut self.key, &mut self.mask.0);
        for f in Pairs::new(a.value) {
            match f.key.text {
                "src" if v6 => (key.ipv6_src, mask.ipv6_src) = ipv6(a, f)?,
                "dst" if v6 => (key.ipv6_dst, mask.ipv6_dst) = ipv6(a, f)?,
                "src" => (key.ipv4_src, mask.ipv4_src) = ipv4(a, f)?,
                "dst" => (key.ipv4_dst, mask.ipv4_dst) = ipv4(a, f)?,
                "proto" => (key.ip_proto, mask.ip_proto) = number8(a, f)?,
                "tos" if !v6 => (key.ip_tos, mask.ip_tos) = number8(a, f)?,
                "tclass" if v6 => (key.ip_tos, mask.ip_tos) = number8(a, f)?,
                "ttl" if !v6 => (key.ip_ttl, mask.ip_ttl) = number8(a, f)?,
                "hlimit" if v6 => (key.ip_ttl, mask.ip_ttl) = number8(a, f)?,
                "label" if v6 => {
                    let (v, m) = masked(a, f.value, 0x000f_ffff, value::number)?;
                    key.ipv6_label = low32(v).to_be_bytes();
                    mask.ipv6_label = low32(m).to_be_bytes();
                }
                "frag" => (key.ip_frag, mask.ip_frag) = frag(a, f)?,
                _ => return Err(unknown(a, f)),
            }
        }
        Ok(())
    }

    fn arp(&mut self, a: Pair<'_>) -> Result<(), Error> {
        let (key, mask) = (&mut self.key, &mut self.mask.0);
        for f in Pairs::new(a.value) {
            match f.key.text {
                "sip" => (key.ipv4_src, mask.ipv4_src) = ipv4(a, f)?,
                "tip" => (key.ipv4_dst, mask.ipv4_dst) = ipv4(a, f)?,
                "op" => (key.ip_proto, mask.ip_proto) = number8(a, f)?,
                "sha" => (key.arp_sha, mask.arp_sha) = eth(a, f)?,
                "tha" => (key.arp_tha, mask.arp_tha) = eth(a, f)?,
                _ => return Err(unknown(a, f)),
            }
        }
        Ok(())
    }

    fn ports(&mut self, a: Pair<'_>, src: &str, dst: &str, full: u16) -> Result<(), Error> {
        for f in Pairs::new(a.value) {
            let (v, m) = number16(a, f.value, full)?;
            // An exact match covers the whole 16 bits that the key has for it.
            let m = if m == full { u16::MAX } else { m };
            let (v, m) = (v.to_be_bytes(), m.to_be_bytes());
            if f.key.text == src {
                (self.key.tp_src, self.mask.0.tp_src) = (v, m);
            } else if f.key.text == dst {
                (self.key.tp_dst, self.mask.0.tp_dst) = (v, m);
            } else {
                return Err(unknown(a, f));
            }
        }
        Ok(())
    }

    fn nd(&mut self, a: Pair<'_>) -> Result<(), Error> {
        for f in Pairs::new(a.value) {
            match f.key.text {
                "target" => (self.key.nd_target, self.mask.0.nd_target) = ipv6(a, f)?,
                "sll" => (self.key.arp_sha, self.mask.0.arp_sha) = eth(a, f)?,
                "tll" => (self.key.arp_tha, self.mask.0.arp_tha) = eth(a, f)?,
                _ => return Err(unknown(a, f)),
            }
        }
        Ok(())
    }
}

fn unknown(a: Pair<'_>, f: Pair<'_>) -> Error {
    Error::UnknownField {
        attribute: a.key.text.to_owned(),
        name: f.key.text.to_owned(),
        column: f.key.at + 1,
    }
}

fn bad(a: Pair<'_>, v: Piece<'_>) -> Error {
    Error::BadValue {
        attribute: a.key.text.to_owned(),
        value: v.text.to_owned(),
        column: v.at + 1,
    }
}

/// `V` or `V/M`, neither with bits outside `full`.
fn masked(
    a: Pair<'_>,
    v: Piece<'_>,
    full: u128,
    parse: impl Fn(&str) -> Option<u128>,
) -> Result<Masked<u128>, Error> {
    let (number, mask) = match v.split_once("/") {
        Some((n, m)) => (parse(n.text), parse(m.text)),
        None => (parse(v.text), Some(full)),
    };
    match (number, mask) {
        (Some(n), Some(m)) if n & !full == 0 && m & !full == 0 => Ok((n, m)),
        _ => Err(bad(a, v)),
    }
}

/// Truncation that `masked` has made lossless.
fn low32(v: u128) -> u32 {
    (v & u128::from(u32::MAX)) as u32
}

fn number32(a: Pair<'_>, v: Piece<'_>) -> Result<Masked<u32>, Error> {
    let (n, m) = masked(a, v, u32::MAX.into(), value::number)?;
    Ok((low32(n), low32(m)))
}

fn number16(a: Pair<'_>, v: Piece<'_>, full: u16) -> Result<Masked<u16>, Error> {
    let (n, m) = masked(a, v, full.into(), value::number)?;
    Ok((low32(n) as u16, low32(m) as u16))
}

fn number8(a: Pair<'_>, f: Pair<'_>) -> Result<Masked<u8>, Error> {
    let (n, m) = number16(a, f.value, 0xff)?;
    Ok((n as u8, m as u8))
}

fn eth(a: Pair<'_>, f: Pair<'_>) -> Result<Masked<[u8; 6]>, Error> {
    let full = 0xffff_ffff_ffff;
    let parse = |s: &str| value::eth_addr(s).map(|e| e.to_u64().into());
    let (n, m) = masked(a, f.value, full, parse)?;
    let bytes = |v: u128| packet::EthAddr::from_u64((v & full) as u64).0;
    Ok((bytes(n), bytes(m)))
}

fn ipv4(a: Pair<'_>, f: Pair<'_>) -> Result<Masked<[u8; 4]>, Error> {
    let parse = |s: &str| value::ipv4(s).map(u128::from);
    let (n, m) = masked(a, f.value, u32::MAX.into(), parse)?;
    Ok((low32(n).to_be_bytes(), low32(m).to_be_bytes()))
}

fn ipv6(a: Pair<'_>, f: Pair<'_>) -> Result<Masked<[u8; 16]>, Error> {
    let (n, m) = masked(a, f.value, u128::MAX, value::ipv6)?;
    Ok((n.to_be_bytes(), m.to_be_bytes()))
}

fn frag(a: Pair<'_>, f: Pair<'_>) -> Result<Masked<u8>, Error> {
    let (name, mask) = match f.value.split_once("/") {
        Some((name, mask)) => (name.text, value::u8_value(mask.text)),
        None => (f.value.text, Some(u8::MAX)),
    };
    let v = match name {
        "no" => 0,
        "first" => FRAG_ANY,
        "later" => FRAG_ANY | FRAG_LATER,
        _ => return Err(bad(a, f.value)),
    };
    Ok((v, mask.ok_or_else(|| bad(a, f.value))?))
}

/// `+syn-ack`, `syn|ack`, or a number with an optional mask.
fn tcp_flags(a: Pair<'_>) -> Result<Masked<u16>, Error> {
    parse_tcp_flags(a.value.text).ok_or_else(|| bad(a, a.value))
}

/// The flags and their mask; `None` for anything that is no flag.
pub fn parse_tcp_flags(s: &str) -> Option<(u16, u16)> {
    let (v, m) = flags::parse(s, &TCP_FLAGS).ok()?;
    Some((u16::try_from(v).ok()?, u16::try_from(m).ok()?))
}
