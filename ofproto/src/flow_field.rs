//! Flows and masks by OpenFlow field.
//!
//! One table, [`place`], says where each field of `openflow::Field` is in a [`Flow`]; reading,
//! writing, un-wildcarding and the translation of matches follow from it. Values are `u128`,
//! right-aligned in the field's width, as in `openflow::Match`.
//!
//! Fields that share bits do so here as in the datapath's key: the ports of TCP, UDP and SCTP and
//! the type and code of ICMP and ICMPv6; the IPv4 addresses and those of ARP; the IP protocol and
//! the ARP opcode; the hardware addresses of ARP and of neighbour discovery.

use std::mem::offset_of;

use openflow::{Field, Match, OfError};
use packet::key::VLAN_PRESENT;
use packet::{FlowKey, OfPort};

use crate::flow::{Flow, Mask, Pipeline};

/// Where a field's bits are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// A big-endian number of `len` bytes at `at`; the field is `bits` bits of it from bit `shift`.
    Bytes {
        at: usize,
        len: usize,
        shift: u32,
        bits: u32,
    },
    /// A 32-bit number in host order.
    Host32(usize),
    /// A 64-bit number in host order.
    Host64(usize),
    /// `count` registers from `first`, the first being the most significant.
    Regs { first: u8, count: u8 },
    /// The OpenFlow input port in its 16-bit form.
    InPort16,
}

const PIPELINE: usize = offset_of!(Flow, pipeline);

const fn bytes(at: usize, len: usize) -> Place {
    bits(at, len, 0, len as u32 * 8)
}

const fn bits(at: usize, len: usize, shift: u32, bits: u32) -> Place {
    Place::Bytes {
        at,
        len,
        shift,
        bits,
    }
}

/// Where `field` is; `None` for fields that flows do not carry.
fn place(field: Field) -> Option<Place> {
    if let Some(n) = field.reg_index() {
        return Some(Place::Regs { first: n, count: 1 });
    }
    if let Some((first, count)) = field.overlapped_regs() {
        return Some(Place::Regs { first, count });
    }
    const TCI: usize = offset_of!(FlowKey, vlan0_tci);
    const TOS: usize = offset_of!(FlowKey, ip_tos);
    const TP_SRC: usize = offset_of!(FlowKey, tp_src);
    const TP_DST: usize = offset_of!(FlowKey, tp_dst);
    Some(match field {
        Field::InPort => Place::Host32(PIPELINE + offset_of!(Pipeline, in_port)),
        Field::InPort16 => Place::InPort16,
        Field::Metadata => Place::Host64(PIPELINE + offset_of!(Pipeline, metadata)),
        Field::PktMark => Place::Host32(offset_of!(FlowKey, pkt_mark)),
        Field::EthSrc => bytes(offset_of!(FlowKey, eth_src), 6),
        Field::EthDst => bytes(offset_of!(FlowKey, eth_dst), 6),
        Field::EthType => bytes(offset_of!(FlowKey, eth_type), 2),
        Field::VlanTci => bytes(TCI, 2),
        Field::VlanVid => bits(TCI, 2, 0, 13),
        Field::DlVlan => bits(TCI, 2, 0, 12),
        Field::VlanPcp | Field::DlVlanPcp => bits(TCI, 2, 13, 3),
        Field::Ipv4Src | Field::ArpSpa => bytes(offset_of!(FlowKey, ipv4_src), 4),
        Field::Ipv4Dst | Field::ArpTpa => bytes(offset_of!(FlowKey, ipv4_dst), 4),
        Field::Ipv6Src => bytes(offset_of!(FlowKey, ipv6_src), 16),
        Field::Ipv6Dst => bytes(offset_of!(FlowKey, ipv6_dst), 16),
        Field::Ipv6Label => bits(offset_of!(FlowKey, ipv6_label), 4, 0, 20),
        Field::IpFrag => bits(offset_of!(FlowKey, ip_frag), 1, 0, 2),
        Field::NwTos => bytes(TOS, 1),
        Field::IpDscp => bits(TOS, 1, 2, 6),
        Field::IpEcn => bits(TOS, 1, 0, 2),
        Field::IpTtl => bytes(offset_of!(FlowKey, ip_ttl), 1),
        Field::IpProto | Field::ArpOp => bytes(offset_of!(FlowKey, ip_proto), 1),
        Field::TcpSrc | Field::UdpSrc | Field::SctpSrc => bytes(TP_SRC, 2),
        Field::TcpDst | Field::UdpDst | Field::SctpDst => bytes(TP_DST, 2),
        Field::IcmpType | Field::Icmpv6Type => bits(TP_SRC, 2, 0, 8),
        Field::IcmpCode | Field::Icmpv6Code => bits(TP_DST, 2, 0, 8),
        Field::TcpFlags => bits(offset_of!(FlowKey, tcp_flags), 2, 0, 12),
        Field::NdTarget => bytes(offset_of!(FlowKey, nd_target), 16),
        Field::ArpSha | Field::NdSll => bytes(offset_of!(FlowKey, arp_sha), 6),
        Field::ArpTha | Field::NdTll => bytes(offset_of!(FlowKey, arp_tha), 6),
        _ => return None,
    })
}

fn low_bits(n: u32) -> u128 {
    1u128.checked_shl(n).map_or(u128::MAX, |b| b - 1)
}

fn read(flow: &Flow, at: usize, len: usize) -> u128 {
    let bytes = flow.bytes().get(at..at + len).unwrap_or(&[]);
    bytes.iter().fold(0, |n, b| n << 8 | u128::from(*b))
}

fn write(flow: &mut Flow, at: usize, len: usize, value: u128) {
    let from = value.to_be_bytes();
    if let (Some(to), Some(from)) = (
        flow.bytes_mut().get_mut(at..at + len),
        from.get(from.len() - len..),
    ) {
        to.copy_from_slice(from);
    }
}

fn read_host<const N: usize>(flow: &Flow, at: usize) -> [u8; N] {
    let bytes = flow.bytes().get(at..).and_then(|b| b.first_chunk());
    *bytes.unwrap_or(&[0; N])
}

fn write_host(flow: &mut Flow, at: usize, from: &[u8]) {
    if let Some(to) = flow.bytes_mut().get_mut(at..at + from.len()) {
        to.copy_from_slice(from);
    }
}

fn get_place(flow: &Flow, place: Place) -> u128 {
    match place {
        Place::Bytes {
            at,
            len,
            shift,
            bits,
        } => read(flow, at, len) >> shift & low_bits(bits),
        Place::Host32(at) => u32::from_ne_bytes(read_host(flow, at)).into(),
        Place::Host64(at) => u64::from_ne_bytes(read_host(flow, at)).into(),
        Place::Regs { first, count } => {
            let regs = flow.pipeline.regs.iter().skip(first.into());
            regs.take(count.into())
                .fold(0, |n, r| n << 32 | u128::from(*r))
        }
        Place::InPort16 => flow.in_port().to_u16().unwrap_or(u16::MAX).into(),
    }
}

fn set_place(flow: &mut Flow, place: Place, value: u128) {
    match place {
        Place::Bytes {
            at,
            len,
            shift,
            bits,
        } => {
            let area = low_bits(bits) << shift;
            let old = read(flow, at, len);
            write(flow, at, len, old & !area | value << shift & area);
        }
        Place::Host32(at) => write_host(flow, at, &(value as u32).to_ne_bytes()),
        Place::Host64(at) => write_host(flow, at, &(value as u64).to_ne_bytes()),
        Place::Regs { first, count } => {
            let regs = flow.pipeline.regs.iter_mut().skip(first.into());
            for (n, reg) in regs.take(count.into()).enumerate() {
                *reg = (value >> (32 * (usize::from(count) - 1 - n))) as u32;
            }
        }
        Place::InPort16 => flow.pipeline.in_port = OfPort::from_u16(value as u16).0,
    }
}

/// Does setting or reading the field involve whether there is a tag?
fn is_part_of_vlan(field: Field) -> bool {
    matches!(
        field,
        Field::VlanVid | Field::DlVlan | Field::VlanPcp | Field::DlVlanPcp
    )
}

/// True when flows carry the field, so that it can be matched and set.
pub fn is_carried(field: Field) -> bool {
    place(field).is_some()
}

impl Flow {
    /// The value of `field`; 0 for one that flows do not carry.
    ///
    /// Bits that fields share are read as they are: whoever asks checks that the packet has the
    /// field. `VlanVid` has the "tag present" bit 0x1000 on top, as in OXM; `NwTos` has no ECN bits.
    pub fn get(&self, field: Field) -> u128 {
        let value = place(field).map_or(0, |p| get_place(self, p));
        if field == Field::NwTos {
            value & 0xfc
        } else {
            value
        }
    }

    /// Writes `field`; the bits of `value` above the field's width are ignored.
    ///
    /// Writing `DlVlan` or a VLAN priority makes a tag present, as those actions do; `NwTos` leaves
    /// the ECN bits alone.
    /// Source: OVS `lib/meta-flow.c`, `mf_set_flow_value`.
    pub fn set(&mut self, field: Field, value: u128) {
        let Some(place) = place(field) else { return };
        if field == Field::NwTos {
            let ecn = get_place(self, place) & 3;
            return set_place(self, place, value & 0xfc | ecn);
        }
        set_place(self, place, value);
        if is_part_of_vlan(field) && field != Field::VlanVid {
            let tci = self.key.vlan0_tci() | VLAN_PRESENT;
            self.key.vlan0_tci = tci.to_be_bytes();
        }
    }
}

impl Mask {
    /// Un-wildcards the bits of `field` that are set in `bits`; for parts of a VLAN tag, the bit
    /// that says whether there is a tag, too.
    pub fn unwildcard(&mut self, field: Field, bits: u128) {
        let Some(place) = place(field) else { return };
        if bits == 0 {
            return;
        }
        if let Place::InPort16 = place {
            self.0.pipeline.in_port = u32::MAX;
            return;
        }
        let old = get_place(&self.0, place);
        set_place(&mut self.0, place, old | bits);
        if is_part_of_vlan(field) {
            let tci = self.0.key.vlan0_tci() | VLAN_PRESENT;
            self.0.key.vlan0_tci = tci.to_be_bytes();
        }
    }

    /// Un-wildcards all of `field`.
    pub fn unwildcard_field(&mut self, field: Field) {
        self.unwildcard(field, u128::MAX);
    }

    /// The bits of `field` that matter.
    pub fn get(&self, field: Field) -> u128 {
        match place(field) {
            Some(Place::InPort16) => u128::from(self.0.pipeline.in_port as u16),
            Some(place) => get_place(&self.0, place),
            None => 0,
        }
    }
}

/// The flow and mask that a match stands for.
///
/// Errors: `OFPBMC_BAD_FIELD` for a field that flows do not carry, `OFPBMC_BAD_VALUE` for an ARP
/// opcode above 255, which the key cannot hold.
pub fn from_match(wanted: &Match) -> Result<(Flow, Mask), OfError> {
    let mut flow = Flow::zero();
    let mut mask = Mask::empty();
    for f in wanted {
        let place = place(f.field).ok_or(OfError::BmcBadField)?;
        if f.field == Field::ArpOp && f.value > 0xff {
            return Err(OfError::BmcBadValue);
        }
        // Fields that share bits cannot meet: their prerequisites exclude one another.
        set_place(&mut flow, place, f.value & f.mask);
        set_place(&mut mask.0, place, f.mask);
    }
    Ok((flow, mask))
}

/// Fields of which a match tells the bits, where sharing leaves no choice.
const PLAIN: &[Field] = &[
    Field::InPort,
    Field::Metadata,
    Field::PktMark,
    Field::EthSrc,
    Field::EthDst,
    Field::EthType,
    Field::VlanTci,
    Field::Ipv6Src,
    Field::Ipv6Dst,
    Field::Ipv6Label,
    Field::IpFrag,
    Field::IpDscp,
    Field::IpEcn,
    Field::IpTtl,
    Field::TcpFlags,
    Field::NdTarget,
];

/// The fields of [`PLAIN`] and the registers that a mask has bits of.
pub fn plain_fields(mask: &Mask) -> Box<[Field]> {
    let plain = PLAIN.iter().copied().chain((0..16).filter_map(Field::reg));
    plain.filter(|field| mask.get(*field) != 0).collect()
}

/// The match that a flow and a mask stand for; the inverse of [`from_match`]. `plain` are the
/// mask's [`plain_fields`].
pub fn to_match(flow: &Flow, mask: &Mask, plain: &[Field]) -> Match {
    use packet::key::*;
    let mut out = Match::with_capacity(plain.len() + 4);
    let put = |out: &mut Match, field: Field| {
        let bits = mask.get(field);
        if bits != 0 {
            out.set(field, flow.get(field), bits);
        }
    };
    for field in plain {
        put(&mut out, *field);
    }
    let key = &flow.key;
    let shared: [Field; 7] = if key.is_arp() {
        [
            Field::ArpOp,
            Field::ArpSpa,
            Field::ArpTpa,
            Field::ArpSha,
            Field::ArpTha,
            Field::TcpSrc,
            Field::TcpDst,
        ]
    } else {
        let (src, dst) = match (key.is_ipv6(), key.ip_proto) {
            (_, IP_PROTO_UDP) => (Field::UdpSrc, Field::UdpDst),
            (_, IP_PROTO_SCTP) => (Field::SctpSrc, Field::SctpDst),
            (false, IP_PROTO_ICMP) => (Field::IcmpType, Field::IcmpCode),
            (true, IP_PROTO_ICMPV6) => (Field::Icmpv6Type, Field::Icmpv6Code),
            _ => (Field::TcpSrc, Field::TcpDst),
        };
        [
            Field::IpProto,
            Field::Ipv4Src,
            Field::Ipv4Dst,
            Field::NdSll,
            Field::NdTll,
            src,
            dst,
        ]
    };
    for field in shared {
        if field == Field::ArpOp && mask.get(field) != 0 {
            out.set(field, flow.get(field), 0xffff);
        } else {
            put(&mut out, field);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vlan_fields_are_views_of_the_tag() {
        let mut flow = Flow::zero();
        flow.set(Field::DlVlan, 5);
        assert_eq!(flow.key.vlan0_tci(), 0x1005);
        flow.set(Field::VlanPcp, 3);
        assert_eq!(flow.key.vlan0_tci(), 0x7005);
        assert_eq!(flow.get(Field::VlanVid), 0x1005);
        flow.set(Field::VlanVid, 0x1007);
        assert_eq!(flow.get(Field::DlVlan), 7);
        let mut mask = Mask::empty();
        mask.unwildcard(Field::DlVlan, 0x00f);
        assert_eq!(mask.0.key.vlan0_tci(), 0x100f);
    }

    #[test]
    fn registers_and_ports() {
        let mut flow = Flow::zero();
        flow.set(Field::Xreg1, 0x1_0000_0002);
        assert_eq!(flow.pipeline.regs[2..4], [1, 2]);
        assert_eq!(flow.get(Field::Xxreg0), 0x1_0000_0002);
        flow.set(Field::InPort16, 0xfffe);
        assert_eq!(flow.in_port(), OfPort::LOCAL);
        assert_eq!(flow.get(Field::InPort16), 0xfffe);
        flow.key.ip_tos = 0x03;
        flow.set(Field::NwTos, 0xff);
        assert_eq!(flow.key.ip_tos, 0xff);
        assert_eq!(flow.get(Field::NwTos), 0xfc);
    }

    #[test]
    fn arp_opcode_must_fit() {
        let arp = |op| {
            Match::new()
                .with(Field::EthType, 0x0806)
                .with(Field::ArpOp, op)
        };
        let (flow, mask) = from_match(&arp(2)).unwrap();
        assert_eq!(flow.key.ip_proto, 2);
        assert_eq!(to_match(&flow, &mask, &plain_fields(&mask)), arp(2));
        assert_eq!(from_match(&arp(256)), Err(OfError::BmcBadValue));
    }

    fn base() -> impl Strategy<Value = Match> {
        let ip = |t: u128, p: u128| Match::new().with(Field::EthType, t).with(Field::IpProto, p);
        prop_oneof![
            Just(Match::new()),
            Just(Match::new().with(Field::EthType, 0x0806)),
            Just(ip(0x0800, 6)),
            Just(ip(0x0800, 17)),
            Just(ip(0x0800, 1)),
            Just(ip(0x0800, 132)),
            Just(ip(0x86dd, 6)),
            Just(ip(0x86dd, 58).with(Field::Icmpv6Type, 135)),
            Just(ip(0x86dd, 58).with(Field::Icmpv6Type, 136)),
        ]
    }

    proptest! {
        /// Every match of carried fields survives the way there and back.
        #[test]
        fn match_round_trip(
            base in base(),
            fields in prop::collection::vec(
                (0..Field::all().len(), any::<u128>(), any::<u128>()), 0..8),
        ) {
            let mut wanted = base;
            for (n, value, bits) in fields {
                let info = &Field::all()[n];
                if !is_carried(info.field)
                    || !wanted.meets(info.prereq)
                    || wanted.get(info.field).is_some()
                {
                    continue;
                }
                let exact = matches!(info.maskable, openflow::field::Maskable::Exact);
                let bits = if exact { u128::MAX } else { bits };
                let value = if info.field == Field::ArpOp { value & 0xff } else { value };
                wanted.set(info.field, value, bits);
            }
            prop_assume!(wanted.check_prereqs().is_ok());
            let (flow, mask) = from_match(&wanted).unwrap();
            prop_assert_eq!(flow.masked(&mask), flow);
            prop_assert_eq!(to_match(&flow, &mask, &plain_fields(&mask)), wanted);
        }
    }
}
