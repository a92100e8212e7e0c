//! Random actions of every form survive encoding and decoding in each version that has them, and
//! printing and parsing.

use openflow::action::kinds::*;
use openflow::action::table::Form;
use openflow::codec::parts;
use openflow::message::{FlowMod, FlowModCommand, PacketInReason};
use openflow::text::{flow, flow_print, ports::Names};
use openflow::{Action, EthAddr, Field, Match, OfPort, Subfield, Version};
use proptest::prelude::*;

fn port() -> impl Strategy<Value = OfPort> {
    (1u32..0xff00).prop_map(OfPort)
}

/// Fields that need nothing of the packet, so that any flow may use them.
fn field() -> impl Strategy<Value = Field> {
    prop::sample::select(vec![
        Field::Reg0,
        Field::Reg15,
        Field::Xreg3,
        Field::Metadata,
        Field::PktMark,
        Field::TunId,
        Field::EthSrc,
        Field::Ipv4Dst,
    ])
}

fn subfield_of(bits: u16) -> impl Strategy<Value = Subfield> {
    (field(), any::<u16>()).prop_map(move |(field, offset)| {
        let bits = bits.min(field.bits());
        let offset = offset % (field.bits() - bits + 1);
        Subfield::new(field, offset, bits).unwrap()
    })
}

fn subfield() -> impl Strategy<Value = Subfield> {
    (1u16..=32).prop_flat_map(subfield_of)
}

fn hash() -> impl Strategy<Value = HashFields> {
    prop::sample::select(HashFields::ALL)
}

fn bundle() -> impl Strategy<Value = Bundle> {
    (
        hash(),
        any::<u16>(),
        prop::sample::select(BundleAlgorithm::ALL),
        prop::collection::vec(port(), 0..5),
        prop::option::of(subfield_of(16)),
    )
        .prop_map(|(fields, basis, algorithm, members, dst)| Bundle {
            fields,
            basis,
            algorithm,
            members,
            dst,
        })
}

fn multipath() -> impl Strategy<Value = Multipath> {
    (
        hash(),
        any::<u16>(),
        prop::sample::select(MultipathAlgorithm::ALL),
        any::<u16>(),
        any::<u32>(),
        subfield_of(16),
    )
        .prop_map(|(fields, basis, algorithm, max_link, arg, dst)| Multipath {
            fields,
            basis,
            algorithm,
            max_link,
            arg,
            dst,
        })
}

fn sample() -> impl Strategy<Value = Sample> {
    (
        1u16..,
        any::<[u32; 3]>(),
        prop_oneof![Just(OfPort::ANY), port()],
        prop::sample::select(vec![
            SampleDirection::Default,
            SampleDirection::Ingress,
            SampleDirection::Egress,
        ]),
    )
        .prop_map(|(probability, n, sampling_port, direction)| Sample {
            probability,
            collector_set_id: n[0],
            obs_domain_id: n[1],
            obs_point_id: n[2],
            sampling_port,
            direction,
        })
}

fn controller() -> impl Strategy<Value = Controller> {
    (
        any::<(u16, u16, bool)>(),
        prop::sample::select(vec![
            PacketInReason::NoMatch,
            PacketInReason::Action,
            PacketInReason::InvalidTtl,
        ]),
        prop::collection::vec(any::<u8>(), 0..20),
        prop::option::of(1u32..),
    )
        .prop_map(
            |((max_len, controller_id, pause), reason, userdata, meter_id)| Controller {
                max_len,
                // With all defaults, it would be an output.
                controller_id: controller_id | 1,
                reason,
                userdata,
                pause,
                meter_id,
            },
        )
}

fn nat() -> impl Strategy<Value = Nat> {
    let addresses = prop_oneof![
        Just(NatAddresses::None),
        (1u32..u32::MAX).prop_map(|min| NatAddresses::V4(min, Some(min + 1))),
        (1u32..).prop_map(|min| NatAddresses::V4(min, None)),
    ];
    (
        addresses,
        any::<[bool; 4]>(),
        prop::option::of(1u16..u16::MAX),
    )
        .prop_map(|(addresses, [src, persistent, hash, random], port)| {
            let has_addresses = addresses != NatAddresses::None;
            Nat {
                kind: Some(if src { NatKind::Src } else { NatKind::Dst }),
                persistent: persistent && has_addresses,
                hash: hash && has_addresses,
                random: random && !hash && has_addresses,
                addresses,
                ports: port
                    .map(|p| (p, src.then_some(p + 1)))
                    .filter(|_| has_addresses),
            }
        })
}

fn ct() -> impl Strategy<Value = Ct> {
    let set = any::<u32>().prop_map(|v| Action::SetField {
        field: Field::CtMark,
        value: v.into(),
        mask: 0xffff_ffff,
    });
    (
        any::<(bool, u16)>(),
        prop::option::of(subfield_of(16)),
        prop::option::of(0u8..255),
        prop::option::of(nat()),
        prop::collection::vec(set, 0..3),
    )
        .prop_map(|((force, zone), src, table, nat, sets)| Ct {
            commit: true,
            force,
            zone: src.map_or(CtZone::Number(zone), CtZone::Field),
            table,
            alg: 0,
            actions: nat.map(Action::Nat).into_iter().chain(sets).collect(),
        })
}

fn learn() -> impl Strategy<Value = Learn> {
    let spec = (1u16..=32).prop_flat_map(|bits| {
        (subfield_of(bits), subfield_of(bits), any::<u32>(), 0..5u8).prop_map(
            move |(src, dst, v, kind)| {
                let value = LearnSrc::Value(u128::from(v) & ((1u128 << bits) - 1));
                let (src, dst) = match kind {
                    0 => (value, LearnDst::Match(dst)),
                    1 => (value, LearnDst::Load(dst)),
                    2 => (LearnSrc::Field(src), LearnDst::Match(dst)),
                    3 => (LearnSrc::Field(src), LearnDst::Load(dst)),
                    _ => (LearnSrc::Field(src), LearnDst::Output),
                };
                LearnSpec { src, dst }
            },
        )
    });
    // Addresses need their protocol in the learned flow.
    let spec = spec.prop_filter("a prerequisite", |s| {
        let plain = |f: Field| f != Field::Ipv4Dst;
        match s.dst {
            LearnDst::Match(dst) | LearnDst::Load(dst) => plain(dst.field),
            LearnDst::Output => true,
        }
    });
    (
        any::<[u16; 5]>(),
        any::<(u64, u32, bool, bool)>(),
        0u8..255,
        prop::option::of(subfield_of(1)),
        prop::collection::vec(spec, 0..6),
    )
        .prop_map(
            |(n, (cookie, limit, a, b), table_id, result_dst, specs)| Learn {
                idle_timeout: n[0],
                hard_timeout: n[1],
                priority: n[2],
                cookie,
                table_id,
                fin_idle_timeout: n[3],
                fin_hard_timeout: n[4],
                send_flow_rem: a,
                delete_learned: b,
                limit,
                result_dst,
                specs,
            },
        )
}

fn encap() -> impl Strategy<Value = Encap> {
    let tlv = (any::<(u16, u8)>(), prop::collection::vec(1u8.., 1..20)).prop_map(
        |((class, kind), mut data)| {
            // Text has no zeros at the front of a value.
            data[0] |= 0x80;
            EncapProp::NshTlv { class, kind, data }
        },
    );
    let prop = prop_oneof![(1u8..=2).prop_map(EncapProp::NshMdType), tlv];
    prop_oneof![
        prop::collection::vec(prop, 0..3).prop_map(|props| Encap {
            packet_type: PACKET_TYPE_NSH,
            header_len: 0,
            props,
        }),
        prop::sample::select(vec![
            PACKET_TYPE_ETHERNET,
            PACKET_TYPE_MPLS,
            PACKET_TYPE_MPLS_MULTICAST,
        ])
        .prop_map(|packet_type| Encap {
            packet_type,
            header_len: 0,
            props: Vec::new(),
        }),
    ]
}

/// Actions that leave what is known of the packet as it is.
fn plain() -> BoxedStrategy<Action> {
    let eth = || any::<[u8; 6]>().prop_map(EthAddr);
    let moves = (1u16..=32).prop_flat_map(|bits| {
        (subfield_of(bits), subfield_of(bits)).prop_map(|(src, dst)| Action::RegMove { src, dst })
    });
    let group_1 = prop_oneof![
        port().prop_map(Action::output),
        controller().prop_map(Action::Controller),
        subfield().prop_map(|src| Action::OutputReg {
            src,
            max_len: 0xffff
        }),
        (port(), 14u32..).prop_map(|(port, max_len)| Action::OutputTrunc { port, max_len }),
        bundle().prop_map(Action::Bundle),
        multipath().prop_map(Action::Multipath),
        any::<u32>().prop_map(Action::SetQueue),
        Just(Action::PopQueue),
        any::<u32>().prop_map(Action::Group),
        any::<u8>().prop_map(Action::SetMplsTtl),
        Just(Action::DecMplsTtl),
        Just(Action::CopyTtlOut),
        Just(Action::CopyTtlIn),
        Just(Action::PushPbb(0x88e7)),
        Just(Action::PopPbb),
        eth().prop_map(Action::SetEthSrc),
        eth().prop_map(Action::SetEthDst),
        any::<u32>().prop_map(Action::SetIpv4Src),
        any::<u32>().prop_map(Action::SetIpv4Dst),
        any::<u8>().prop_map(|n| Action::SetNwTos(n & 0xfc)),
    ];
    let group_2 = prop_oneof![
        any::<u8>().prop_map(|n| Action::SetIpEcn(n & 3)),
        any::<u8>().prop_map(Action::SetIpTtl),
        any::<u16>().prop_map(Action::SetTpSrc),
        any::<u16>().prop_map(Action::SetTpDst),
        (0u32..1 << 20).prop_map(Action::SetMplsLabel),
        (0u8..8).prop_map(Action::SetMplsTc),
        prop::collection::vec(any::<u16>(), 1..9).prop_map(Action::DecTtl),
        Just(Action::DecNshTtl),
        any::<u32>().prop_map(|id| Action::SetTunnel {
            id: id.into(),
            wide: false,
        }),
        any::<u64>().prop_map(|id| Action::SetTunnel {
            id: id | 1 << 40,
            wide: true,
        }),
        moves,
        subfield().prop_map(Action::StackPush),
        subfield().prop_map(Action::StackPop),
        (0u8..64).prop_map(|n| Action::DeleteField(Field::tun_metadata(n).unwrap())),
        (any::<u16>(), subfield_of(1)).prop_map(|(len, dst)| Action::CheckPktLarger { len, dst }),
        (prop::option::of(port()), 0u8..255).prop_map(|(in_port, table)| Action::Resubmit {
            in_port,
            table: Some(table),
            with_ct: false,
        }),
        learn().prop_map(|l| Action::Learn(Box::new(l))),
        any::<(u16, u16)>().prop_map(|(idle, hard)| Action::FinTimeout { idle, hard }),
        sample().prop_map(Action::Sample),
        ct().prop_map(|c| Action::Ct(Box::new(c))),
        Just(Action::CtClear),
        prop::collection::vec(any::<u8>(), 6..7).prop_map(Action::Note),
        Just(Action::Exit),
    ];
    prop_oneof![group_1, group_2].boxed()
}

/// Any actions; the last ones change what the packet is.
fn list() -> impl Strategy<Value = Vec<Action>> {
    let nested = prop::collection::vec(plain(), 0..3).prop_map(Action::Clone);
    let change = prop_oneof![
        Just(Action::StripVlan),
        Just(Action::PushVlan(0x88a8)),
        Just(Action::PushMpls(0x8848)),
        any::<u16>().prop_map(Action::PopMpls),
        encap().prop_map(Action::Encap),
        any::<u16>().prop_map(|kind| Action::Decap(1 << 16 | u32::from(kind))),
    ];
    (
        prop::collection::vec(prop_oneof![4 => plain(), 1 => nested], 0..6),
        prop::option::of(change),
    )
        .prop_map(|(mut list, change)| {
            list.extend(change);
            list
        })
}

/// IPv4, so that what IPv4 has may be named.
fn ip() -> Match {
    Match::new().with(Field::EthType, 0x0800)
}

/// Do versions have the action in this form, and not another that means the same?
fn is_kept(action: &Action, version: Version) -> bool {
    let from_1_2 = version >= Version::Of12;
    match action {
        Action::SetEthSrc(_)
        | Action::SetEthDst(_)
        | Action::SetIpv4Src(_)
        | Action::SetIpv4Dst(_)
        | Action::SetNwTos(_)
        | Action::SetMplsLabel(_)
        | Action::SetMplsTc(_)
        | Action::SetTunnel { .. } => !from_1_2,
        Action::SetIpEcn(_) => version == Version::Of11,
        Action::SetIpTtl(_) => version > Version::Of10,
        // Its mark is set with a load or a set-field.
        Action::Ct(ct) => {
            from_1_2
                || !ct
                    .actions
                    .iter()
                    .any(|a| matches!(a, Action::SetField { .. }))
        }
        Action::Clone(list) => list.iter().all(|a| is_kept(a, version)),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn actions_survive_in_each_version(list in list()) {
        for version in Version::ALL {
            if !list.iter().all(|a| is_kept(a, *version)) {
                continue;
            }
            let Ok(bytes) = parts::encode_actions(&list, *version, &ip()) else {
                // Some versions lack some actions.
                continue;
            };
            let again = parts::decode_actions(&bytes, *version);
            prop_assert_eq!(again.as_ref(), Ok(&list), "{}", version);
        }
    }

    #[test]
    fn actions_survive_as_text(list in list()) {
        let fm = FlowMod { fields: ip(), actions: list.clone(), ..FlowMod::add() };
        let mut s = String::new();
        flow_print::write_flow_mod(&mut s, &fm, Version::Of13, &Names::none());
        let text = s.strip_prefix("ADD ").unwrap();
        let again = flow::parse_flow_mod(text, FlowModCommand::Add, &Names::none());
        prop_assert!(again.is_ok(), "{} {:?}", text, again);
        prop_assert_eq!(again.unwrap().value.actions, list, "{}", text);
    }

    /// Any bytes behind the header of each form.
    #[test]
    fn random_bodies(body in prop::collection::vec(any::<u8>(), 0..64)) {
        for row in Form::all() {
            for place in row.places {
                let mut bytes = match place.space {
                    openflow::action::table::Space::Nicira => [
                        &[0xff, 0xff, 0, 0, 0, 0, 0x23, 0x20][..],
                        &place.number.to_be_bytes(),
                    ].concat(),
                    _ => [&place.number.to_be_bytes()[..], &[0, 0]].concat(),
                };
                bytes.extend(&body);
                bytes.resize(bytes.len().next_multiple_of(8), 0);
                let len = u16::try_from(bytes.len()).unwrap();
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                let version = Version::ALL[usize::from(place.last) - 1];
                if let Ok(list) = parts::decode_actions(&bytes, version) {
                    parts::encode_actions(&list, version, &ip()).ok();
                }
                parts::decode_instructions(&bytes, version).ok();
            }
        }
    }
}

/// Every version has most of them.
#[test]
fn versions_lack_only_what_their_specifications_lack() {
    let lacks = |action: Action| -> Vec<&str> {
        let versions = Version::ALL.iter();
        versions
            .filter(|v| parts::encode_actions(std::slice::from_ref(&action), **v, &ip()).is_err())
            .map(|v| v.name())
            .collect()
    };
    assert_eq!(lacks(Action::PushVlan(0x8100)), ["OpenFlow10"]);
    assert_eq!(lacks(Action::PushMpls(0x8847)), [""; 0]);
    assert_eq!(
        lacks(Action::PopPbb),
        ["OpenFlow10", "OpenFlow11", "OpenFlow12"]
    );
    assert_eq!(lacks(Action::DecNshTtl).len(), 3);
    assert_eq!(lacks(Action::Meter(1)).len(), 5);
    assert_eq!(lacks(Action::CtClear), [""; 0]);
}
