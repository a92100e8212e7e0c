//! `struct ofp_match` of OpenFlow 1.0, 40 bytes.
//!
//! ```text
//!  0  wildcards(4)  4 in_port(2)  6 dl_src(6)  12 dl_dst(6)  18 dl_vlan(2)  20 dl_vlan_pcp(1)
//! 21 pad(1)  22 dl_type(2)  24 nw_tos(1)  25 nw_proto(1)  26 pad(2)  28 nw_src(4)
//! 32 nw_dst(4)  36 tp_src(2)  38 tp_dst(2)
//! ```
//!
//! A 1 in `wildcards` frees a field; for addresses it holds the number of free low bits.
//! Fields whose protocol the match does not ask for are ignored (OpenFlow 1.0.1, 3.4).
//!
//! Source: OpenFlow 1.0.0, 5.2.3.

use packet::OfPort;

use crate::field::Field;
use crate::flow_match::{Match, VLAN_CFI};
use crate::wire::{DecodeError, Reader, Writer};

const FW_IN_PORT: u32 = 1 << 0;
const FW_DL_VLAN: u32 = 1 << 1;
const FW_DL_SRC: u32 = 1 << 2;
const FW_DL_DST: u32 = 1 << 3;
const FW_DL_TYPE: u32 = 1 << 4;
const FW_NW_PROTO: u32 = 1 << 5;
const FW_TP_SRC: u32 = 1 << 6;
const FW_TP_DST: u32 = 1 << 7;
const FW_NW_SRC_SHIFT: u32 = 8;
const FW_NW_DST_SHIFT: u32 = 14;
const FW_DL_VLAN_PCP: u32 = 1 << 20;
const FW_NW_TOS: u32 = 1 << 21;
/// Every wildcard of the specification.
pub(crate) const FW_ALL: u32 = (1 << 22) - 1;
/// All bits of an address are free.
const FW_NW_ALL: u32 = 32;

/// `dl_vlan`: no tag.
const VLAN_NONE: u16 = 0xffff;

/// A decoded match, and whether it wildcards nothing at all, which gives a flow the highest
/// priority.
pub(crate) struct Match10 {
    pub fields: Match,
    pub is_exact: bool,
}

pub(crate) fn decode(r: &mut Reader) -> Result<Match10, DecodeError> {
    decode_with(r, Unasked::Ignored)
}

/// What becomes of fields whose protocol the match does not ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unasked {
    Ignored,
    /// They are in the match as those of IPv4 and TCP.
    Kept,
}

pub(crate) fn decode_with(r: &mut Reader, unasked: Unasked) -> Result<Match10, DecodeError> {
    let wild = r.u32()?;
    let in_port = r.u16()?;
    let dl_src = r.uint(6)?;
    let dl_dst = r.uint(6)?;
    let dl_vlan = r.u16()?;
    let dl_vlan_pcp = r.u8()?;
    r.skip(1)?;
    let dl_type = r.u16()?;
    let nw_tos = r.u8()?;
    let nw_proto = r.u8()?;
    r.skip(2)?;
    let nw_src = r.u32()?;
    let nw_dst = r.u32()?;
    let tp_src = r.u16()?;
    let tp_dst = r.u16()?;

    let has = |bit: u32| wild & bit == 0;
    let mut m = Match::with_capacity(8);
    if has(FW_IN_PORT) {
        m.set_exact(Field::InPort16, in_port.into());
    }
    if has(FW_DL_SRC) {
        m.set_exact(Field::EthSrc, dl_src);
    }
    if has(FW_DL_DST) {
        m.set_exact(Field::EthDst, dl_dst);
    }
    if has(FW_DL_TYPE) {
        m.set_exact(Field::EthType, dl_type.into());
    }
    if has(FW_DL_VLAN) && dl_vlan == VLAN_NONE {
        m.set_exact(Field::VlanTci, 0);
    } else {
        let mut mask = 0;
        if has(FW_DL_VLAN) {
            mask |= 0xfff | VLAN_CFI;
        }
        if has(FW_DL_VLAN_PCP) {
            mask |= 0xe000 | VLAN_CFI;
        }
        let tci = dl_vlan & 0xfff | u16::from(dl_vlan_pcp) << 13 | VLAN_CFI;
        m.set(Field::VlanTci, tci.into(), mask.into());
    }

    let layers = Layers::of(has(FW_DL_TYPE).then_some(dl_type), || {
        has(FW_NW_PROTO).then_some(nw_proto)
    })
    .with(unasked);
    if let Some((src, dst)) = layers.addresses {
        m.set(src, nw_src.into(), address_mask(wild >> FW_NW_SRC_SHIFT));
        m.set(dst, nw_dst.into(), address_mask(wild >> FW_NW_DST_SHIFT));
    }
    if let Some(field) = layers.proto.filter(|_| has(FW_NW_PROTO)) {
        m.set_exact(field, nw_proto.into());
    }
    if layers.is_ip && has(FW_NW_TOS) {
        m.set_exact(Field::IpDscp, u128::from(nw_tos >> 2));
    }
    if let Some((src, dst)) = layers.ports {
        if has(FW_TP_SRC) {
            m.set_exact(src, tp_src.into());
        }
        if has(FW_TP_DST) {
            m.set_exact(dst, tp_dst.into());
        }
    }
    Ok(Match10 {
        fields: m,
        is_exact: wild & FW_ALL == 0,
    })
}

/// Writes `m`; gives `false` when 1.0 cannot express all of it, and then leaves out the rest.
pub(crate) fn encode(w: &mut Writer, m: &Match) -> bool {
    encode_with(w, m, Unasked::Ignored)
}

pub(crate) fn encode_with(w: &mut Writer, m: &Match, unasked: Unasked) -> bool {
    let mut wild = FW_ALL & !(0x3f << FW_NW_SRC_SHIFT) & !(0x3f << FW_NW_DST_SHIFT);
    let mut nw_src = (0, FW_NW_ALL);
    let mut nw_dst = (0, FW_NW_ALL);
    let (mut in_port, mut dl_src, mut dl_dst, mut dl_vlan, mut dl_vlan_pcp) = (0u16, 0, 0, 0, 0);
    let (mut dl_type, mut nw_tos, mut nw_proto, mut tp_src, mut tp_dst) = (0u16, 0u8, 0u8, 0, 0);
    let mut complete = true;

    let eth_type = m.get_exact(Field::EthType).map(|v| v as u16);
    // The specification gives the members below a meaning for IPv4 and ARP only.
    let eth_type = eth_type.filter(|t| *t != 0x86dd);
    let layers = Layers::of(eth_type, || m.get_exact(Field::IpProto).map(|v| v as u8));
    let layers = layers.with(unasked);
    for f in m {
        let exact = f.is_exact();
        let (src, dst) = layers.ports.unzip();
        let (addr_src, addr_dst) = layers.addresses.unzip();
        let field = Some(f.field);
        match f.field {
            Field::InPort if let Some(port) = OfPort(f.value as u32).to_u16() => {
                in_port = port;
                wild &= !FW_IN_PORT;
            }
            Field::EthSrc if exact => {
                dl_src = f.value;
                wild &= !FW_DL_SRC;
            }
            Field::EthDst if exact => {
                dl_dst = f.value;
                wild &= !FW_DL_DST;
            }
            Field::EthType => {
                dl_type = f.value as u16;
                wild &= !FW_DL_TYPE;
            }
            Field::VlanTci => {
                let (tci, mask) = (f.value as u16, f.mask as u16);
                if mask & VLAN_CFI != 0 && tci & VLAN_CFI == 0 {
                    dl_vlan = VLAN_NONE;
                    wild &= !(FW_DL_VLAN | FW_DL_VLAN_PCP);
                    complete &= tci == 0 && mask == 0xffff;
                    continue;
                }
                if mask & 0xfff != 0 {
                    dl_vlan = tci & 0xfff;
                    wild &= !FW_DL_VLAN;
                }
                if mask & 0xe000 != 0 {
                    dl_vlan_pcp = (tci >> 13) as u8;
                    wild &= !FW_DL_VLAN_PCP;
                }
                complete &= matches!(mask, 0x1fff | 0xf000 | 0xffff);
            }
            _ if field == addr_src => {
                nw_src = (f.value as u32, (!f.mask as u32).count_ones());
                complete &= is_prefix(f.mask);
            }
            _ if field == addr_dst => {
                nw_dst = (f.value as u32, (!f.mask as u32).count_ones());
                complete &= is_prefix(f.mask);
            }
            _ if field == layers.proto && f.value <= 0xff => {
                nw_proto = f.value as u8;
                wild &= !FW_NW_PROTO;
            }
            Field::IpDscp if layers.is_ip => {
                nw_tos = (f.value as u8) << 2;
                wild &= !FW_NW_TOS;
            }
            _ if field == src && exact => {
                tp_src = f.value as u16;
                wild &= !FW_TP_SRC;
            }
            _ if field == dst && exact => {
                tp_dst = f.value as u16;
                wild &= !FW_TP_DST;
            }
            _ => complete = false,
        }
    }
    w.u32(wild | nw_src.1 << FW_NW_SRC_SHIFT | nw_dst.1 << FW_NW_DST_SHIFT);
    w.u16(in_port);
    w.uint(dl_src, 6);
    w.uint(dl_dst, 6);
    w.u16(dl_vlan);
    w.u8(dl_vlan_pcp);
    w.u8(0);
    w.u16(dl_type);
    w.u8(nw_tos);
    w.u8(nw_proto);
    w.u16(0);
    w.u32(nw_src.0);
    w.u32(nw_dst.0);
    w.u16(tp_src);
    w.u16(tp_dst);
    complete
}

/// Which fields the network and transport members mean.
#[derive(Default)]
pub(super) struct Layers {
    pub addresses: Option<(Field, Field)>,
    pub proto: Option<Field>,
    pub is_ip: bool,
    pub ports: Option<(Field, Field)>,
}

impl Layers {
    pub fn of(dl_type: Option<u16>, nw_proto: impl Fn() -> Option<u8>) -> Layers {
        match dl_type {
            Some(0x0800) => Layers {
                addresses: Some((Field::Ipv4Src, Field::Ipv4Dst)),
                proto: Some(Field::IpProto),
                is_ip: true,
                ports: match nw_proto() {
                    Some(1) => Some((Field::IcmpType, Field::IcmpCode)),
                    proto => transport_ports(proto),
                },
            },
            Some(0x86dd) => Layers {
                addresses: None,
                proto: Some(Field::IpProto),
                is_ip: true,
                ports: match nw_proto() {
                    Some(58) => Some((Field::Icmpv6Type, Field::Icmpv6Code)),
                    proto => transport_ports(proto),
                },
            },
            Some(0x0806 | 0x8035) => Layers {
                addresses: Some((Field::ArpSpa, Field::ArpTpa)),
                proto: Some(Field::ArpOp),
                ..Layers::default()
            },
            _ => Layers::default(),
        }
    }

    fn with(self, unasked: Unasked) -> Layers {
        match unasked {
            Unasked::Ignored => self,
            Unasked::Kept => Layers {
                addresses: self.addresses.or(Some((Field::Ipv4Src, Field::Ipv4Dst))),
                proto: self.proto.or(Some(Field::IpProto)),
                is_ip: true,
                ports: self.ports.or(Some((Field::TcpSrc, Field::TcpDst))),
            },
        }
    }
}

fn transport_ports(proto: Option<u8>) -> Option<(Field, Field)> {
    match proto {
        Some(6) => Some((Field::TcpSrc, Field::TcpDst)),
        Some(17) => Some((Field::UdpSrc, Field::UdpDst)),
        Some(132) => Some((Field::SctpSrc, Field::SctpDst)),
        _ => None,
    }
}

fn address_mask(wild: u32) -> u128 {
    let free = (wild & 0x3f).min(FW_NW_ALL);
    u128::from(u32::MAX.checked_shl(free).unwrap_or(0))
}

fn is_prefix(mask: u128) -> bool {
    let mask = mask as u32;
    mask.leading_ones() + mask.trailing_zeros() == 32
}
