//! From a flow key to a frame that has it: the inverse of `packet::extract`.
//!
//! For simulated devices and tests, which describe packets by their fields. Source: OVS
//! `lib/flow.c`, `flow_compose` has the same role.

use packet::FlowKey;
use packet::key::{
    ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_NONE, FRAG_LATER, IP_PROTO_ICMP, IP_PROTO_ICMPV6,
    IP_PROTO_SCTP, IP_PROTO_TCP, IP_PROTO_UDP,
};

use crate::edit::checksum;

const IP_PROTO_FRAGMENT: u8 = 44;
const ND_SOLICIT: u8 = 135;
const ND_ADVERT: u8 = 136;
const ND_OPT_SLL: u8 = 1;
const ND_OPT_TLL: u8 = 2;
/// More fragments follow.
const MORE: u16 = 0x2000;

/// A frame with the fields of `key`, checksums right, and no payload.
///
/// The input port, the recirculation id and the mark are no part of a frame. Fields that no frame
/// has together (TCP flags in a UDP packet) are left out.
pub fn compose(key: &FlowKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&key.eth_dst);
    out.extend_from_slice(&key.eth_src);
    for (tpid, tci) in [
        (key.vlan0_tpid, key.vlan0_tci),
        (key.vlan1_tpid, key.vlan1_tci),
    ] {
        if tci != [0; 2] {
            let vlan = u16::from_be_bytes(tci) & !packet::key::VLAN_PRESENT;
            out.extend_from_slice(&tpid);
            out.extend_from_slice(&vlan.to_be_bytes());
        }
    }
    match key.eth_type() {
        ETH_TYPE_NONE => out.extend_from_slice(&[0, 3, 0x42, 0x42, 3]),
        ETH_TYPE_IPV4 => {
            out.extend_from_slice(&key.eth_type);
            ipv4(&mut out, key);
        }
        ETH_TYPE_IPV6 => {
            out.extend_from_slice(&key.eth_type);
            ipv6(&mut out, key);
        }
        _ => {
            out.extend_from_slice(&key.eth_type);
            if key.is_arp() {
                out.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, key.ip_proto]);
                out.extend_from_slice(&key.arp_sha);
                out.extend_from_slice(&key.ipv4_src);
                out.extend_from_slice(&key.arp_tha);
                out.extend_from_slice(&key.ipv4_dst);
            }
        }
    }
    out
}

fn ipv4(out: &mut Vec<u8>, key: &FlowKey) {
    let l4 = transport(
        key,
        checksum::sum(checksum::sum(0, &key.ipv4_src), &key.ipv4_dst),
    );
    let total = (20 + l4.len()) as u16;
    let fragment = match key.ip_frag {
        0 => 0,
        f if f & FRAG_LATER != 0 => 1,
        _ => MORE,
    };
    let ([l0, l1], [f0, f1]) = (total.to_be_bytes(), fragment.to_be_bytes());
    let [s0, s1, s2, s3] = key.ipv4_src;
    let [d0, d1, d2, d3] = key.ipv4_dst;
    let mut header = [
        0x45,
        key.ip_tos,
        l0,
        l1,
        0,
        0,
        f0,
        f1,
        key.ip_ttl,
        key.ip_proto,
        0,
        0,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ];
    let [c0, c1] = (!checksum::sum(0, &header)).to_be_bytes();
    (header[10], header[11]) = (c0, c1);
    out.extend_from_slice(&header);
    out.extend_from_slice(&l4);
}

fn ipv6(out: &mut Vec<u8>, key: &FlowKey) {
    let is_fragment = key.ip_frag != 0;
    let l4 = transport(
        key,
        checksum::sum(checksum::sum(0, &key.ipv6_src), &key.ipv6_dst),
    );
    let payload = (l4.len() + if is_fragment { 8 } else { 0 }) as u16;
    let [_, label, l2, l3] = key.ipv6_label;
    let [p0, p1] = payload.to_be_bytes();
    out.extend_from_slice(&[
        0x60 | key.ip_tos >> 4,
        key.ip_tos << 4 | label & 0x0f,
        l2,
        l3,
        p0,
        p1,
        if is_fragment {
            IP_PROTO_FRAGMENT
        } else {
            key.ip_proto
        },
        key.ip_ttl,
    ]);
    out.extend_from_slice(&key.ipv6_src);
    out.extend_from_slice(&key.ipv6_dst);
    if is_fragment {
        // A later fragment's protocol is that of the fragment header itself; what is behind is
        // not known.
        let (next, offset) = match key.ip_frag & FRAG_LATER != 0 {
            true => (IP_PROTO_UDP, 8u16),
            false => (key.ip_proto, 1),
        };
        let [o0, o1] = offset.to_be_bytes();
        out.extend_from_slice(&[next, 0, o0, o1, 0, 0, 0, 1]);
    }
    out.extend_from_slice(&l4);
}

/// The transport header; `addresses` is the sum over the pseudo-header's addresses.
fn transport(key: &FlowKey, addresses: u16) -> Vec<u8> {
    if key.ip_frag & FRAG_LATER != 0 {
        return vec![0; 8];
    }
    let ([s0, s1], [d0, d1]) = (key.tp_src, key.tp_dst);
    let [f0, f1] = key.tcp_flags;
    let (mut l4, sum_at, pseudo) = match key.ip_proto {
        IP_PROTO_TCP => {
            let mut tcp = vec![s0, s1, d0, d1, 0, 0, 0, 0, 0, 0, 0, 0, 0x50 | f0 & 0x0f, f1];
            tcp.extend_from_slice(&[0; 6]);
            (tcp, 16, true)
        }
        IP_PROTO_UDP => (vec![s0, s1, d0, d1, 0, 8, 0, 0], 6, true),
        IP_PROTO_SCTP => {
            let mut sctp = vec![s0, s1, d0, d1, 0, 0, 0, 0, 0, 0, 0, 0];
            let crc = checksum::crc32c(&sctp).to_le_bytes();
            sctp.splice(8.., crc).for_each(drop);
            return sctp;
        }
        IP_PROTO_ICMP if key.is_ipv4() => (vec![s1, d1, 0, 0, 0, 0, 0, 0], 2, false),
        IP_PROTO_ICMPV6 if key.is_ipv6() => (icmpv6(key), 2, true),
        _ => return Vec::new(),
    };
    let [_, _, l0, l1] = (l4.len() as u32).to_be_bytes();
    let start = match pseudo {
        true => checksum::sum(addresses, &[0, key.ip_proto, l0, l1]),
        false => 0,
    };
    let sum = match !checksum::sum(start, &l4) {
        0 => 0xffff,
        sum => sum,
    };
    l4.splice(sum_at..sum_at + 2, sum.to_be_bytes())
        .for_each(drop);
    l4
}

fn icmpv6(key: &FlowKey) -> Vec<u8> {
    let ([_, kind], [_, code]) = (key.tp_src, key.tp_dst);
    let mut out = vec![kind, code, 0, 0, 0, 0, 0, 0];
    if code == 0 && matches!(kind, ND_SOLICIT | ND_ADVERT) {
        out.extend_from_slice(&key.nd_target);
        for (option, address) in [(ND_OPT_SLL, key.arp_sha), (ND_OPT_TLL, key.arp_tha)] {
            if address != [0; 6] {
                out.extend_from_slice(&[option, 1]);
                out.extend_from_slice(&address);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::DpPort;
    use packet::key::{ETH_TYPE_ARP, FRAG_ANY, VLAN_PRESENT};
    use proptest::prelude::*;

    use crate::Packet;
    use crate::sim::key_of;

    fn mac() -> impl Strategy<Value = [u8; 6]> {
        any::<[u8; 6]>()
    }

    fn l2() -> impl Strategy<Value = FlowKey> {
        (
            mac(),
            mac(),
            0usize..3,
            any::<[u16; 2]>(),
            any::<[bool; 2]>(),
        )
            .prop_map(|(src, dst, tags, tci, qinq)| {
                let mut k = FlowKey::zero();
                (k.eth_src, k.eth_dst) = (src, dst);
                let tag = |n: usize| {
                    let tpid: u16 = if qinq[n] { 0x88a8 } else { 0x8100 };
                    (tpid.to_be_bytes(), (tci[n] | VLAN_PRESENT).to_be_bytes())
                };
                if tags > 0 {
                    (k.vlan0_tpid, k.vlan0_tci) = tag(0);
                }
                if tags > 1 {
                    (k.vlan1_tpid, k.vlan1_tci) = tag(1);
                }
                k
            })
    }

    fn ip() -> impl Strategy<Value = FlowKey> {
        let numbers = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 4]>());
        (
            l2(),
            any::<bool>(),
            0usize..5,
            0usize..4,
            numbers,
            mac(),
            mac(),
        )
            .prop_map(|(mut k, v6, proto, frag, (a, b, c), sll, tll)| {
                k.eth_type = if v6 { [0x86, 0xdd] } else { [8, 0] };
                (k.ip_tos, k.ip_ttl) = (c[0], c[1]);
                if v6 {
                    (k.ipv6_src, k.ipv6_dst) = (a, b);
                    k.ipv6_label = [0, c[2] & 0x0f, c[3], c[0]];
                } else {
                    k.ipv4_src.copy_from_slice(&a[..4]);
                    k.ipv4_dst.copy_from_slice(&b[..4]);
                }
                k.ip_proto = [6, 17, 132, if v6 { 58 } else { 1 }, 89][proto];
                k.ip_frag = [0, 0, FRAG_ANY, FRAG_ANY | FRAG_LATER][frag];
                if k.ip_frag & FRAG_LATER != 0 {
                    if v6 {
                        k.ip_proto = IP_PROTO_FRAGMENT;
                    }
                    return k;
                }
                match k.ip_proto {
                    6 | 17 | 132 => (k.tp_src, k.tp_dst) = ([c[2], c[3]], [c[0], c[3]]),
                    1 => (k.tp_src, k.tp_dst) = ([0, c[2]], [0, c[3]]),
                    58 => {
                        k.tp_src = [0, [135, 136, 128, c[2]][usize::from(c[3] % 4)]];
                        k.tp_dst = [0, c[3] / 128];
                        if k.tp_dst == [0; 2] && matches!(k.tp_src[1], 135 | 136) {
                            (k.nd_target, k.arp_sha, k.arp_tha) = (b, sll, tll);
                        }
                    }
                    _ => {}
                }
                if k.ip_proto == 6 {
                    k.tcp_flags = [c[0] & 0x0f, c[1]];
                }
                k
            })
    }

    fn arp() -> impl Strategy<Value = FlowKey> {
        (l2(), any::<u8>(), any::<[u8; 8]>(), mac(), mac()).prop_map(|(mut k, op, ip, a, b)| {
            k.eth_type = ETH_TYPE_ARP.to_be_bytes();
            k.ip_proto = op;
            k.ipv4_src.copy_from_slice(&ip[..4]);
            k.ipv4_dst.copy_from_slice(&ip[4..]);
            (k.arp_sha, k.arp_tha) = (a, b);
            k
        })
    }

    fn other() -> impl Strategy<Value = FlowKey> {
        (l2(), any::<bool>()).prop_map(|(mut k, none)| {
            k.eth_type = if none { [0x05, 0xff] } else { [0x88, 0xb5] };
            k
        })
    }

    proptest! {
        #[test]
        fn extract_gives_the_key_back(
            mut key in prop_oneof![ip(), arp(), other()], port in 1u32..9, mark: u32,
        ) {
            (key.in_port, key.pkt_mark) = (port, mark);
            let packet = Packet { data: compose(&key), mark, ..Packet::default() };
            prop_assert_eq!(key_of(DpPort(port), &packet), Some(key));
        }
    }
}
