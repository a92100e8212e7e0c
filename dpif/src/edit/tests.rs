use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use packet::action::SetField;
use packet::{Action, DropReason};
use proptest::prelude::*;

use super::{apply, finish};
use crate::{CsumPartial, Gso, GsoKind, Packet};

const PAYLOAD: &[u8] = b"some payload, odd";

fn frame(v6: bool, proto: u8, vlan: bool) -> Vec<u8> {
    let eth = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let mut out = Vec::new();
    macro_rules! rest {
        ($b:expr) => {{
            let b = $b;
            let b = match v6 {
                true => b.ipv6([0x20; 16], [0x30; 16], 64),
                false => b.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64),
            };
            match proto {
                6 => b.tcp(1234, 80, 7, 1024).write(&mut out, PAYLOAD),
                17 => b.udp(1234, 53).write(&mut out, PAYLOAD),
                1 => b.icmpv4_echo_request(1, 2).write(&mut out, PAYLOAD),
                _ => b.icmpv6_echo_request(1, 2).write(&mut out, PAYLOAD),
            }
        }};
    }
    match vlan {
        true => rest!(eth.single_vlan(etherparse::VlanId::try_new(5).unwrap())).unwrap(),
        false => rest!(eth).unwrap(),
    }
    out
}

/// Every checksum in the frame is the one that summing anew gives: the sum over what it covers,
/// itself included, is 0xffff.
fn checksums_are_right(data: &[u8]) -> bool {
    covered_sums_are_right(data, PAYLOAD.len())
}

fn covered_sums_are_right(data: &[u8], payload_len: usize) -> bool {
    let sum = |bytes: &[u8]| -> u64 {
        bytes
            .chunks(2)
            .map(|c| u64::from(c[0]) << 8 | u64::from(*c.get(1).unwrap_or(&0)))
            .sum()
    };
    let ok = |n: u64| n != 0 && n.is_multiple_of(0xffff);
    let p = SlicedPacket::from_ethernet(data).unwrap();
    let l4_len = |header_bytes: usize| (header_bytes + payload_len) as u64;
    let (addresses, l3_ok) = match p.net.as_ref().unwrap() {
        NetSlice::Ipv4(h) => (
            sum(&h.header().slice()[12..20]),
            ok(sum(h.header().slice())),
        ),
        NetSlice::Ipv6(h) => (sum(&h.header().slice()[8..40]), true),
        _ => unreachable!(),
    };
    let l4_ok = match p.transport.as_ref().unwrap() {
        TransportSlice::Tcp(t) => ok(sum(t.slice()) + addresses + 6 + l4_len(20)),
        TransportSlice::Udp(u) => ok(sum(u.slice()) + addresses + 17 + l4_len(8)),
        TransportSlice::Icmpv4(i) => ok(sum(i.slice())),
        TransportSlice::Icmpv6(i) => ok(sum(i.slice()) + addresses + 58 + l4_len(8)),
        TransportSlice::Igmp(_) => unreachable!(),
    };
    l3_ok && l4_ok
}

fn l2_to_l4() -> impl Strategy<Value = SetField> {
    // Types and codes of ICMP are left alone: the check above knows echo requests only.
    let fields: Vec<_> = SetField::ALL
        .iter()
        .copied()
        .filter(|f| {
            (*f as u8) < SetField::ArpOp as u8
                && !matches!(f, SetField::IcmpType | SetField::IcmpCode)
        })
        .collect();
    proptest::sample::select(fields)
}

proptest! {
    #[test]
    fn checksums_stay_right(
        v6: bool, vlan: bool, which in 0usize..3,
        sets in proptest::collection::vec((l2_to_l4(), any::<[u8; 6]>(), any::<[u8; 6]>()), 1..8),
    ) {
        let proto = [6, 17, if v6 { 58 } else { 1 }][which];
        let mut p = Packet { data: frame(v6, proto, vlan), ..Packet::default() };
        prop_assert!(checksums_are_right(&p.data));
        let len = p.data.len();
        for (field, value, mask) in sets {
            let before = p.data.clone();
            let result = apply(&mut p, &mut 0, &Action::Set { field, value, mask });
            if result.is_err() {
                prop_assert_eq!(&before, &p.data);
            }
            prop_assert!(checksums_are_right(&p.data), "{:?}", field);
        }
        prop_assert_eq!(p.data.len(), len);
    }

    #[test]
    fn no_frame_makes_it_panic(
        data in proptest::collection::vec(any::<u8>(), 0..80),
        template in 0usize..8, cut in 0usize..100,
        field in proptest::sample::select(SetField::ALL.to_vec()),
        value: [u8; 6],
    ) {
        let mut bytes = frame(template & 1 != 0, [6, 17][template >> 1 & 1], template & 4 == 0);
        for (b, r) in bytes.iter_mut().skip(12).step_by(3).zip(&data) {
            *b ^= r & 0x11;
        }
        bytes.truncate(cut);
        for data in [data, bytes] {
            let mut p = Packet { data, ..Packet::default() };
            let _ = apply(&mut p, &mut 0, &Action::Set { field, value, mask: [0xff; 6] });
            let _ = apply(&mut p, &mut 0, &Action::PopVlan);
            let _ = apply(&mut p, &mut 0, &Action::PushVlan { tpid: 0x8100, tci: 1 });
        }
    }

    #[test]
    fn push_then_pop_gives_the_frame_back(v6: bool, vlan: bool, tci: u16) {
        let before = Packet {
            data: frame(v6, 6, vlan),
            csum_partial: Some(CsumPartial { start: 34, offset: 50 }),
            ..Packet::default()
        };
        let mut p = before.clone();
        apply(&mut p, &mut 0, &Action::PushVlan { tpid: 0x88a8, tci }).unwrap();
        prop_assert_eq!(&p.data[12..16], &[0x88, 0xa8, (tci >> 8) as u8 & 0xef, tci as u8]);
        prop_assert_eq!(p.csum_partial, Some(CsumPartial { start: 38, offset: 54 }));
        apply(&mut p, &mut 0, &Action::PopVlan).unwrap();
        prop_assert_eq!(before, p);
    }
}

fn set(field: SetField, value: &[u8]) -> Action {
    let mut v = [0; 6];
    v[..value.len()].copy_from_slice(value);
    Action::Set {
        field,
        value: v,
        mask: [0xff; 6],
    }
}

#[test]
fn a_partial_checksum_changes_with_the_pseudo_header_alone() {
    let mut p = Packet {
        data: frame(false, 6, false),
        csum_partial: Some(CsumPartial {
            start: 34,
            offset: 50,
        }),
        ..Packet::default()
    };
    p.data[50..52].copy_from_slice(&[0x12, 0x34]);
    apply(&mut p, &mut 0, &set(SetField::TpSrc, &[9, 9])).unwrap();
    assert_eq!(p.data[50..52], [0x12, 0x34]);
    // 10.0.0.1 becomes 10.0.0.3: the sum grows by two.
    apply(&mut p, &mut 0, &set(SetField::Ipv4Src, &[10, 0, 0, 3])).unwrap();
    assert_eq!(p.data[50..52], [0x12, 0x36]);
}

#[test]
fn a_udp_packet_without_checksum_stays_so() {
    let mut p = Packet {
        data: frame(false, 17, false),
        ..Packet::default()
    };
    p.data[40..42].copy_from_slice(&[0, 0]);
    apply(&mut p, &mut 0, &set(SetField::TpSrc, &[9, 9])).unwrap();
    assert_eq!(p.data[40..42], [0, 0]);
}

#[test]
fn fields_that_share_bytes_leave_the_rest() {
    let mut p = Packet {
        data: frame(true, 6, false),
        ..Packet::default()
    };
    p.data[14..18].copy_from_slice(&[0x61, 0x23, 0x45, 0x67]);
    apply(&mut p, &mut 0, &set(SetField::IpTos, &[0xab])).unwrap();
    assert_eq!(p.data[14..18], [0x6a, 0xb3, 0x45, 0x67]);
    apply(
        &mut p,
        &mut 0,
        &set(SetField::Ipv6Label, &[0xff, 0xfc, 0xde, 0xf0]),
    )
    .unwrap();
    assert_eq!(p.data[14..18], [0x6a, 0xbc, 0xde, 0xf0]);
}

#[test]
fn a_field_that_is_not_there_is_an_error() {
    let mut p = Packet {
        data: frame(false, 6, false),
        ..Packet::default()
    };
    for field in [SetField::ArpSpa, SetField::NdTll, SetField::Ipv6Src0] {
        assert_eq!(
            apply(&mut p, &mut 0, &set(field, &[1])),
            Err(DropReason::ActionFailed)
        );
    }
}

#[test]
fn super_packets_become_segments() {
    for v6 in [false, true] {
        let mut data = frame(v6, 6, true);
        let l4 = data.len() - PAYLOAD.len() - 20;
        data[l4 + 13] |= 0x89; // CWR, PSH, FIN
        let whole = Packet {
            data,
            gso: Some(Gso {
                kind: if v6 { GsoKind::TcpV6 } else { GsoKind::TcpV4 },
                size: 10,
                segs: 2,
            }),
            csum_partial: Some(CsumPartial {
                start: l4 as u16,
                offset: l4 as u16 + 16,
            }),
            mark: 3,
        };
        let parts = finish(whole.clone());
        assert_eq!(parts.len(), 2);
        let mut payload = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            let bytes = &part.data[l4 + 20..];
            assert!(covered_sums_are_right(&part.data, bytes.len()));
            let seq = u32::from_be_bytes(part.data[l4 + 4..l4 + 8].try_into().unwrap());
            assert_eq!(seq, 7 + payload.len() as u32);
            assert_eq!(part.data[l4 + 13] & 0x89, [0x80, 0x09][n]);
            payload.extend_from_slice(bytes);
            assert_eq!((part.gso, part.csum_partial, part.mark), (None, None, 3));
        }
        assert_eq!(payload, PAYLOAD);
    }
}

#[test]
fn checksums_left_to_do_are_done() {
    let data = frame(false, 17, false);
    let mut p = Packet {
        data: data.clone(),
        csum_partial: Some(CsumPartial {
            start: 34,
            offset: 40,
        }),
        ..Packet::default()
    };
    // The sum over the pseudo-header: addresses, protocol, length.
    let pseudo = 0x0a00 + 0x0001 + 0x0a00 + 0x0002 + 17 + 8 + PAYLOAD.len() as u16;
    p.data[40..42].copy_from_slice(&pseudo.to_be_bytes());
    assert_eq!(finish(p)[0].data, data);
}
