//! `struct ofp_match` of OpenFlow 1.1, 88 bytes.
//!
//! ```text
//!  0  type(2) = 0   2 length(2) = 88   4 in_port(4)   8 wildcards(4)  12 dl_src(6)
//! 18  dl_src_mask(6)  24 dl_dst(6)  30 dl_dst_mask(6)  36 dl_vlan(2)  38 dl_vlan_pcp(1)
//! 39  pad(1)  40 dl_type(2)  42 nw_tos(1)  43 nw_proto(1)  44 nw_src(4)  48 nw_src_mask(4)
//! 52  nw_dst(4)  56 nw_dst_mask(4)  60 tp_src(2)  62 tp_dst(2)  64 mpls_label(4)
//! 68  mpls_tc(1)  69 pad(3)  72 metadata(8)  80 metadata_mask(8)
//! ```
//!
//! A 1 in `wildcards` frees a field, a 1 in a mask a bit. Fields whose protocol the match does not
//! ask for are ignored.
//!
//! Source: OpenFlow 1.1.0, A.2.3.

use packet::OfPort;

use super::match10::Layers;
use crate::error::OfError;
use crate::field::Field;
use crate::flow_match::{Match, VLAN_CFI};
use crate::wire::{DecodeError, Reader, Writer, bad};

/// `ofp_match.type`.
pub(super) const OFPMT_STANDARD: u16 = 0;
const LEN: u16 = 88;

const FW_IN_PORT: u32 = 1 << 0;
const FW_DL_VLAN: u32 = 1 << 1;
const FW_DL_VLAN_PCP: u32 = 1 << 2;
const FW_DL_TYPE: u32 = 1 << 3;
const FW_NW_TOS: u32 = 1 << 4;
const FW_NW_PROTO: u32 = 1 << 5;
const FW_TP_SRC: u32 = 1 << 6;
const FW_TP_DST: u32 = 1 << 7;
const FW_MPLS_LABEL: u32 = 1 << 8;
const FW_MPLS_TC: u32 = 1 << 9;
const FW_ALL: u32 = (1 << 10) - 1;

/// `dl_vlan`: any tag, and none.
const VLAN_ANY: u16 = 0xfffe;
const VLAN_NONE: u16 = 0xffff;

const ETH_TYPE_IPV6: u16 = 0x86dd;
const ETH_TYPE_MPLS: u16 = 0x8847;
const ETH_TYPE_MPLS_MCAST: u16 = 0x8848;

/// Errors: `OFPBMC_BAD_LEN`, `OFPBMC_BAD_VALUE`, `OFPBMC_BAD_FIELD` for an ICMP type or code of
/// more than 8 bits.
pub(super) fn decode(r: &mut Reader) -> Result<Match, DecodeError> {
    let mut head = *r;
    head.skip(2)?;
    if head.u16()? != LEN {
        return bad("length of a match", OfError::BmcBadLen);
    }
    let mut r = r.sub(LEN.into(), OfError::BmcBadLen)?;
    r.skip(4)?;
    let in_port = r.u32()?;
    let wild = r.u32()?;
    let has = |bit: u32| wild & bit == 0;
    let mut m = Match::with_capacity(8);
    if has(FW_IN_PORT) {
        if OfPort(in_port).to_u16().is_none() {
            return bad("input port of a match", OfError::BacBadOutPort);
        }
        m.set_exact(Field::InPort, in_port.into());
    }
    for field in [Field::EthSrc, Field::EthDst] {
        let address = r.uint(6)?;
        let mask = !r.uint(6)? & 0xffff_ffff_ffff;
        m.set(field, address & mask, mask);
    }
    let dl_vlan = r.u16()?;
    let dl_vlan_pcp = r.u8()?;
    r.skip(1)?;
    if has(FW_DL_VLAN) {
        let pcp = has(FW_DL_VLAN_PCP).then_some(dl_vlan_pcp);
        let (tci, mask) = vlan(dl_vlan, pcp)?;
        m.set(Field::VlanTci, tci.into(), mask.into());
    }
    let dl_type = r.u16()?;
    let eth_type = has(FW_DL_TYPE).then_some(dl_type);
    if let Some(eth_type) = eth_type {
        m.set_exact(Field::EthType, eth_type.into());
    }
    let nw_tos = r.u8()?;
    let nw_proto = r.u8()?;
    // There are no members for IPv6.
    let layers = Layers::of(eth_type.filter(|t| *t != ETH_TYPE_IPV6), || {
        has(FW_NW_PROTO).then_some(nw_proto)
    });
    if layers.is_ip && has(FW_NW_TOS) {
        if nw_tos & 3 != 0 {
            return bad("nw_tos", OfError::BmcBadValue);
        }
        m.set_exact(Field::IpDscp, u128::from(nw_tos >> 2));
    }
    if let Some(field) = layers.proto.filter(|_| has(FW_NW_PROTO)) {
        m.set_exact(field, nw_proto.into());
    }
    let mut address = || Ok((r.u32()?, !r.u32()?));
    let (nw_src, nw_dst) = (address()?, address()?);
    if let Some((src, dst)) = layers.addresses {
        m.set(src, nw_src.0.into(), nw_src.1.into());
        m.set(dst, nw_dst.0.into(), nw_dst.1.into());
    }
    let (tp_src, tp_dst) = (r.u16()?, r.u16()?);
    if let Some((src, dst)) = layers.ports {
        for (field, bit, value) in [(src, FW_TP_SRC, tp_src), (dst, FW_TP_DST, tp_dst)] {
            if has(bit) {
                if u128::from(value) & !field.info().full_mask() != 0 {
                    return bad(field.name(), OfError::BmcBadField);
                }
                m.set_exact(field, value.into());
            }
        }
    }
    let mpls_label = r.u32()?;
    let mpls_tc = r.u8()?;
    r.skip(3)?;
    if matches!(eth_type, Some(ETH_TYPE_MPLS | ETH_TYPE_MPLS_MCAST)) {
        if has(FW_MPLS_LABEL) {
            let mask = Field::MplsLabel.info().full_mask();
            m.set_exact(Field::MplsLabel, u128::from(mpls_label) & mask);
        }
        if has(FW_MPLS_TC) {
            m.set_exact(Field::MplsTc, u128::from(mpls_tc & 7));
        }
    }
    let metadata = r.u64()?;
    let mask = !r.u64()?;
    m.set(Field::Metadata, (metadata & mask).into(), mask.into());
    Ok(m)
}

/// The tag that a match asks for, and which bits of it.
fn vlan(vid: u16, pcp: Option<u8>) -> Result<(u16, u16), DecodeError> {
    let (tci, mask) = match vid {
        VLAN_NONE => return Ok((0, 0xffff)),
        VLAN_ANY => (VLAN_CFI, VLAN_CFI),
        vid if vid < 4096 => (vid | VLAN_CFI, 0xfff | VLAN_CFI),
        _ => return bad("dl_vlan", OfError::BmcBadValue),
    };
    match pcp {
        None => Ok((tci, mask)),
        Some(pcp) if pcp < 8 => Ok((tci | u16::from(pcp) << 13, mask | 0xe000)),
        Some(_) => bad("dl_vlan_pcp", OfError::BmcBadValue),
    }
}

/// Writes `m`; gives `false` when 1.1 cannot express all of it, and then leaves out the rest.
pub(super) fn encode(w: &mut Writer, m: &Match) -> bool {
    let mut wild = FW_ALL;
    let mut in_port = 0;
    let (mut dl_src, mut dl_dst) = ((0, 0), (0, 0));
    let (mut nw_src, mut nw_dst) = ((0, 0), (0, 0));
    let (mut dl_vlan, mut dl_vlan_pcp, mut dl_type) = (0, 0, 0u16);
    let (mut nw_tos, mut nw_proto, mut tp_src, mut tp_dst) = (0, 0, 0, 0);
    let (mut mpls_label, mut mpls_tc, mut metadata) = (0, 0, (0, 0));
    let mut complete = true;

    let eth_type = m.get_exact(Field::EthType).map(|v| v as u16);
    let layers = Layers::of(eth_type.filter(|t| *t != ETH_TYPE_IPV6), || {
        m.get_exact(Field::IpProto).map(|v| v as u8)
    });
    let (src, dst) = layers.ports.unzip();
    let (addr_src, addr_dst) = layers.addresses.unzip();
    for f in m {
        let exact = f.is_exact();
        let field = Some(f.field);
        match f.field {
            Field::InPort => {
                in_port = f.value as u32;
                wild &= !FW_IN_PORT;
            }
            Field::EthSrc => dl_src = (f.value, f.mask),
            Field::EthDst => dl_dst = (f.value, f.mask),
            Field::VlanTci => {
                let (tci, mask) = (f.value as u16, f.mask as u16);
                wild &= !FW_DL_VLAN;
                if mask & VLAN_CFI != 0 && tci & VLAN_CFI == 0 {
                    dl_vlan = VLAN_NONE;
                    complete &= tci == 0 && mask == 0xffff;
                    continue;
                }
                dl_vlan = if mask & 0xfff == 0 {
                    VLAN_ANY
                } else {
                    tci & 0xfff
                };
                if mask & 0xe000 != 0 {
                    dl_vlan_pcp = (tci >> 13) as u8;
                    wild &= !FW_DL_VLAN_PCP;
                }
                complete &= matches!(mask, VLAN_CFI | 0x1fff | 0xf000 | 0xffff);
            }
            Field::EthType => {
                dl_type = f.value as u16;
                wild &= !FW_DL_TYPE;
            }
            Field::IpDscp if layers.is_ip => {
                nw_tos = (f.value as u8) << 2;
                wild &= !FW_NW_TOS;
            }
            _ if field == layers.proto && f.value <= 0xff => {
                nw_proto = f.value as u8;
                wild &= !FW_NW_PROTO;
            }
            _ if field == addr_src => nw_src = (f.value as u32, f.mask as u32),
            _ if field == addr_dst => nw_dst = (f.value as u32, f.mask as u32),
            _ if field == src && exact => {
                tp_src = f.value as u16;
                wild &= !FW_TP_SRC;
            }
            _ if field == dst && exact => {
                tp_dst = f.value as u16;
                wild &= !FW_TP_DST;
            }
            Field::MplsLabel => {
                mpls_label = f.value as u32;
                wild &= !FW_MPLS_LABEL;
            }
            Field::MplsTc => {
                mpls_tc = f.value as u8;
                wild &= !FW_MPLS_TC;
            }
            Field::Metadata => metadata = (f.value as u64, f.mask as u64),
            _ => complete = false,
        }
    }
    w.u16(OFPMT_STANDARD);
    w.u16(LEN);
    w.u32(in_port);
    w.u32(wild);
    for (address, mask) in [dl_src, dl_dst] {
        w.uint(address, 6);
        w.uint(!mask, 6);
    }
    w.u16(dl_vlan);
    w.u8(dl_vlan_pcp);
    w.u8(0);
    w.u16(dl_type);
    w.u8(nw_tos);
    w.u8(nw_proto);
    for (address, mask) in [nw_src, nw_dst] {
        w.u32(address);
        w.u32(!mask);
    }
    w.u16(tp_src);
    w.u16(tp_dst);
    w.u32(mpls_label);
    w.u8(mpls_tc);
    w.zeros(3);
    w.u64(metadata.0);
    w.u64(!metadata.1);
    complete
}
