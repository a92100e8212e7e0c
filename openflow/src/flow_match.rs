//! A flow match: which bits of which fields must have which value.
//!
//! There is one form for each match, so that equal matches compare equal however they were
//! written:
//!
//! - value bits outside the mask are zero, and a field whose mask is zero is absent;
//! - VLAN is held as [`Field::VlanTci`], where bit 0x1000 (CFI) means that a tag is present;
//!   `vlan_vid`, `vlan_pcp`, `dl_vlan` and `dl_vlan_pcp` are views of it;
//! - the input port is held as [`Field::InPort`] (32 bits); [`Field::InPort16`] is a view;
//! - DSCP is held as [`Field::IpDscp`] (6 bits); [`Field::NwTos`] is a view;
//! - `xreg` and `xxreg` are views of `reg0` to `reg15`;
//! - "the packet is an Ethernet packet" is not held: it is what a match without
//!   [`Field::PacketType`] says.
//!
//! [`Match::set`] and [`Match::get`] take views as well as held fields; iteration gives held
//! fields only, in [`Field`] order.

use packet::OfPort;

use crate::error::OfError;
use crate::field::{Field, Prereq};

/// In a VLAN tag control word: a tag is present.
pub const VLAN_CFI: u16 = 0x1000;
const VID_AND_CFI: u128 = 0x1fff;
const PCP_SHIFT: u32 = 13;

const ETH_IPV4: u128 = 0x0800;
const ETH_ARP: u128 = 0x0806;
const ETH_RARP: u128 = 0x8035;
const ETH_IPV6: u128 = 0x86dd;
const ETH_MPLS: u128 = 0x8847;
const ETH_MPLS_MCAST: u128 = 0x8848;
const ETH_PBB: u128 = 0x88e7;
const ETH_NSH: u128 = 0x894f;
/// The name space of packet types that are Ethernet types.
const PACKET_TYPE_ETHERTYPE: u128 = 1;
const IP_ICMP: u128 = 1;
const IP_TCP: u128 = 6;
const IP_UDP: u128 = 17;
const IP_ICMPV6: u128 = 58;
const IP_SCTP: u128 = 132;
const ND_SOLICIT: u128 = 135;
const ND_ADVERT: u128 = 136;
/// Bit of `ip_frag`: not the first fragment.
const FRAG_LATER: u128 = 2;
/// Bits of `ct_state`: each of the first means that the connection is known.
const CT_KNOWN: u128 = 0xcf;
const CT_INVALID: u128 = 0x10;
const CT_TRACKED: u128 = 0x20;

/// One field of a match.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MatchField {
    pub field: Field,
    /// Right-aligned; zero outside `mask`.
    pub value: u128,
    /// 1 = this bit matters; never zero.
    pub mask: u128,
}

impl MatchField {
    /// All bits of the field matter.
    pub fn is_exact(&self) -> bool {
        self.mask == self.field.info().full_mask()
    }
}

/// A flow match; empty matches every packet. Priority is not part of it.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Match {
    /// Sorted by field, each field once.
    fields: Vec<MatchField>,
}

impl Match {
    pub const fn new() -> Match {
        Match { fields: Vec::new() }
    }

    /// An empty match with room for `n` fields.
    pub fn with_capacity(n: usize) -> Match {
        Match {
            fields: Vec::with_capacity(n),
        }
    }

    /// `self` that also wants all bits of `field` to equal `value`.
    pub fn with(mut self, field: Field, value: u128) -> Match {
        self.set_exact(field, value);
        self
    }

    /// `self` that also wants the bits of `field` under `mask` to equal `value`.
    pub fn masked(mut self, field: Field, value: u128, mask: u128) -> Match {
        self.set(field, value, mask);
        self
    }

    /// Replaces what the match says about all bits of `field`.
    pub fn set_exact(&mut self, field: Field, value: u128) {
        self.set(field, value, u128::MAX);
    }

    /// Replaces what the match says about `field`: the bits under `mask` must equal `value`, the
    /// others are free. Bits above the field's width are ignored; a zero mask frees the field.
    ///
    /// `VlanVid` takes 13 bits, the top one meaning "tag present", as OXM has it.
    pub fn set(&mut self, field: Field, value: u128, mask: u128) {
        match field {
            Field::InPort16 => {
                let port = OfPort::from_u16(value as u16);
                let mask = if mask & 0xffff != 0 { u128::MAX } else { 0 };
                self.put(Field::InPort, u128::from(port.0), mask, u128::MAX);
            }
            Field::VlanVid => self.put(Field::VlanTci, value, mask & VID_AND_CFI, VID_AND_CFI),
            // 0xffff means "no tag", as in 1.0.
            Field::DlVlan if value == 0xffff => self.put(Field::VlanTci, 0, u128::MAX, u128::MAX),
            Field::DlVlan => {
                let mask = if mask & 0xfff != 0 { VID_AND_CFI } else { 0 };
                let value = value & 0xfff | u128::from(VLAN_CFI);
                self.put(Field::VlanTci, value, mask, VID_AND_CFI);
            }
            Field::VlanPcp | Field::DlVlanPcp => {
                let present = u128::from(VLAN_CFI);
                self.put(
                    Field::VlanTci,
                    (value & 7) << PCP_SHIFT,
                    (mask & 7) << PCP_SHIFT,
                    0xe000,
                );
                if mask & 7 != 0 {
                    self.put(Field::VlanTci, present, present, present);
                }
            }
            Field::NwTos => self.put(Field::IpDscp, (value & 0xff) >> 2, (mask & 0xff) >> 2, 0x3f),
            Field::PacketType if value == 0 => self.put(Field::PacketType, 0, 0, u128::MAX),
            _ => match field.overlapped_regs() {
                Some((first, count)) => {
                    for n in 0..count {
                        let shift = 32 * u32::from(count - 1 - n);
                        if let Some(reg) = Field::reg(first + n) {
                            self.put(reg, value >> shift, mask >> shift, u128::MAX);
                        }
                    }
                }
                None => self.put(field, value, mask, u128::MAX),
            },
        }
    }

    /// What the match says about `field`, as `(value, mask)`; `None` when it says nothing.
    pub fn get(&self, field: Field) -> Option<(u128, u128)> {
        let (value, mask) = match field {
            Field::InPort16 => {
                let (port, _) = self.held(Field::InPort)?;
                (u128::from(OfPort(port as u32).to_u16()?), 0xffff)
            }
            Field::VlanVid => {
                let (v, m) = self.held(Field::VlanTci)?;
                (v & VID_AND_CFI, m & VID_AND_CFI)
            }
            Field::DlVlan => {
                let (v, m) = self.held(Field::VlanTci)?;
                (v & 0xfff, m & 0xfff)
            }
            Field::VlanPcp | Field::DlVlanPcp => {
                let (v, m) = self.held(Field::VlanTci)?;
                (v >> PCP_SHIFT, m >> PCP_SHIFT)
            }
            Field::NwTos => {
                let (v, m) = self.held(Field::IpDscp)?;
                (v << 2, m << 2)
            }
            _ => match field.overlapped_regs() {
                Some((first, count)) => (0..count)
                    .filter_map(|n| Field::reg(first + n))
                    .map(|reg| self.held(reg).unwrap_or((0, 0)))
                    .fold((0, 0), |(v, m), (rv, rm)| (v << 32 | rv, m << 32 | rm)),
                None => self.held(field)?,
            },
        };
        (mask != 0).then_some((value, mask))
    }

    /// The value of `field` when all its bits matter.
    pub fn get_exact(&self, field: Field) -> Option<u128> {
        let full = match field {
            Field::NwTos => 0xfc,
            Field::VlanVid => VID_AND_CFI,
            _ => field.info().full_mask(),
        };
        self.get(field)
            .filter(|(_, mask)| *mask == full)
            .map(|(v, _)| v)
    }

    pub fn in_port(&self) -> Option<OfPort> {
        self.get_exact(Field::InPort).map(|v| OfPort(v as u32))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, MatchField> {
        self.fields.iter()
    }

    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// True when every packet matches.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Does every packet that `self` matches also match `wider`?
    pub fn is_within(&self, wider: &Match) -> bool {
        wider.fields.iter().all(|w| {
            self.held(w.field)
                .is_some_and(|(v, m)| m & w.mask == w.mask && v & w.mask == w.value)
        })
    }

    /// Can one packet match both?
    pub fn overlaps(&self, other: &Match) -> bool {
        self.fields.iter().all(|a| {
            other
                .held(a.field)
                .is_none_or(|(v, m)| (a.value ^ v) & a.mask & m == 0)
        })
    }

    /// Does every field have its prerequisite?
    ///
    /// Errors: `OFPBMC_BAD_PREREQ`.
    /// Source: OpenFlow 1.3.5, 7.2.3.6.
    pub fn check_prereqs(&self) -> Result<(), OfError> {
        if self
            .fields
            .iter()
            .all(|f| self.meets(f.field.info().prereq))
        {
            Ok(())
        } else {
            Err(OfError::BmcBadPrereq)
        }
    }

    /// Does the match guarantee `prereq` for every packet that it matches?
    pub fn meets(&self, prereq: Prereq) -> bool {
        let eth_type = || self.ether_type();
        let ip = || matches!(eth_type(), Some(ETH_IPV4 | ETH_IPV6));
        let not_later = || {
            self.get(Field::IpFrag)
                .is_none_or(|(v, _)| v & FRAG_LATER == 0)
        };
        let proto = |p| ip() && self.get_exact(Field::IpProto) == Some(p) && not_later();
        let icmpv6 = || eth_type() == Some(ETH_IPV6) && proto(IP_ICMPV6);
        let nd = |solicit: bool, advert: bool| {
            let code_is_zero = self.get(Field::Icmpv6Code).is_none_or(|(v, _)| v == 0);
            let kind = self.get_exact(Field::Icmpv6Type);
            icmpv6()
                && code_is_zero
                && (solicit && kind == Some(ND_SOLICIT) || advert && kind == Some(ND_ADVERT))
        };
        match prereq {
            Prereq::None => true,
            Prereq::Ethernet => self.is_ethernet(),
            Prereq::VlanVid => {
                self.is_ethernet()
                    && self
                        .get(Field::VlanTci)
                        .is_some_and(|(v, m)| v & m & u128::from(VLAN_CFI) != 0)
            }
            Prereq::InPort => self.in_port().is_some(),
            Prereq::Pbb => eth_type() == Some(ETH_PBB),
            Prereq::Mpls => matches!(eth_type(), Some(ETH_MPLS | ETH_MPLS_MCAST)),
            Prereq::Ipv4 => eth_type() == Some(ETH_IPV4),
            Prereq::Ipv6 => eth_type() == Some(ETH_IPV6),
            Prereq::Ip => ip(),
            Prereq::Arp => matches!(eth_type(), Some(ETH_ARP | ETH_RARP)),
            Prereq::Tcp => proto(IP_TCP),
            Prereq::Udp => proto(IP_UDP),
            Prereq::Sctp => proto(IP_SCTP),
            Prereq::Icmpv4 => eth_type() == Some(ETH_IPV4) && proto(IP_ICMP),
            Prereq::Icmpv6 => icmpv6(),
            Prereq::Nd => nd(true, true),
            Prereq::NdSolicit => nd(true, false),
            Prereq::NdAdvert => nd(false, true),
            Prereq::Nsh => eth_type() == Some(ETH_NSH),
            Prereq::Ct => self.get(Field::CtState).is_some_and(|(v, m)| {
                v & CT_KNOWN != 0 || v & CT_TRACKED != 0 && m & !v & CT_INVALID != 0
            }),
        }
    }

    fn is_ethernet(&self) -> bool {
        self.held(Field::PacketType).is_none()
    }

    /// The Ethernet type that every packet has, by its header or by its packet type.
    pub fn ether_type(&self) -> Option<u128> {
        match self.held(Field::PacketType) {
            None => self.get_exact(Field::EthType),
            Some((v, _)) if v >> 16 == PACKET_TYPE_ETHERTYPE => Some(v & 0xffff),
            Some(_) => None,
        }
    }

    /// Does the match say anything about a field from `first` to `last`, in the order of
    /// [`Field::all`]?
    pub fn has_between(&self, first: Field, last: Field) -> bool {
        let at = self.fields.partition_point(|f| f.field < first);
        self.fields.get(at).is_some_and(|f| f.field <= last)
    }

    fn held(&self, field: Field) -> Option<(u128, u128)> {
        let at = self.fields.binary_search_by_key(&field, |f| f.field).ok()?;
        self.fields.get(at).map(|f| (f.value, f.mask))
    }

    /// Replaces the bits of `field` in `area` by `value` under `mask`.
    fn put(&mut self, field: Field, value: u128, mask: u128, area: u128) {
        let mask = mask & area & field.info().full_mask();
        let found = match self.fields.last() {
            // Decoders mostly append.
            Some(last) if last.field < field => Err(self.fields.len()),
            None => Err(0),
            _ => self.fields.binary_search_by_key(&field, |f| f.field),
        };
        match found {
            Ok(at) => {
                let Some(entry) = self.fields.get_mut(at) else {
                    return;
                };
                entry.mask = entry.mask & !area | mask;
                entry.value = entry.value & !area | value & mask;
                if entry.mask == 0 {
                    self.fields.remove(at);
                }
            }
            Err(at) if mask != 0 => {
                self.fields.insert(
                    at,
                    MatchField {
                        field,
                        value: value & mask,
                        mask,
                    },
                );
            }
            Err(_) => {}
        }
    }
}

impl<'a> IntoIterator for &'a Match {
    type Item = &'a MatchField;
    type IntoIter = std::slice::Iter<'a, MatchField>;

    fn into_iter(self) -> Self::IntoIter {
        self.fields.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_agree_with_what_is_held() {
        let m = Match::new().with(Field::DlVlan, 5).with(Field::VlanPcp, 3);
        assert_eq!(m, Match::new().masked(Field::VlanTci, 0x7005, 0xffff));
        assert_eq!(
            m,
            Match::new()
                .with(Field::VlanPcp, 3)
                .with(Field::VlanVid, 0x1005)
        );
        assert_eq!(m.get(Field::VlanVid), Some((0x1005, 0x1fff)));
        assert_eq!(m.get_exact(Field::VlanPcp), Some(3));

        let m = Match::new().with(Field::Xreg0, 0x1_0000_0002);
        assert_eq!(m, Match::new().with(Field::Reg1, 2).with(Field::Reg0, 1));
        assert_eq!(
            m.get(Field::Xxreg0),
            Some((0x1_0000_0002 << 64, u128::from(u64::MAX) << 64))
        );

        assert_eq!(
            Match::new().with(Field::NwTos, 0x28).get(Field::IpDscp),
            Some((10, 0x3f))
        );
        assert_eq!(
            Match::new().with(Field::InPort16, 0xfffe).in_port(),
            Some(OfPort::LOCAL)
        );
    }

    #[test]
    fn one_form() {
        let m = Match::new().masked(Field::Ipv4Src, 0x0a00_0001, 0xffff_ff00);
        assert_eq!(
            m,
            Match::new().masked(Field::Ipv4Src, 0x0a00_0000, 0xffff_ff00)
        );
        assert!(
            Match::new()
                .with(Field::Reg0, 1)
                .masked(Field::Reg0, 0, 0)
                .is_empty()
        );
    }

    #[test]
    fn prerequisites() {
        let tcp = Match::new().with(Field::TcpDst, 80);
        assert_eq!(tcp.check_prereqs(), Err(OfError::BmcBadPrereq));
        let tcp = tcp.with(Field::EthType, 0x0800).with(Field::IpProto, 6);
        assert_eq!(tcp.check_prereqs(), Ok(()));
        let later = tcp.masked(Field::IpFrag, 2, 2);
        assert_eq!(later.check_prereqs(), Err(OfError::BmcBadPrereq));
        let nd = Match::new()
            .with(Field::EthType, 0x86dd)
            .with(Field::IpProto, 58)
            .with(Field::Icmpv6Type, 135)
            .with(Field::NdSll, 1);
        assert_eq!(nd.check_prereqs(), Ok(()));
        assert!(nd.with(Field::NdTll, 1).check_prereqs().is_err());
        let pcp = Match::new().masked(Field::VlanTci, 0x2000, 0xe000);
        assert!(!pcp.meets(Prereq::VlanVid));
    }

    #[test]
    fn containment() {
        let wide = Match::new().masked(Field::Ipv4Dst, 0x0a00_0000, 0xff00_0000);
        let narrow = wide.clone().with(Field::Ipv4Dst, 0x0a01_0203);
        assert!(narrow.is_within(&wide) && !wide.is_within(&narrow));
        assert!(wide.overlaps(&narrow));
        assert!(!narrow.overlaps(&Match::new().with(Field::Ipv4Dst, 1)));
        assert!(narrow.overlaps(&Match::new()));
    }
}
