//! Random messages survive encoding and decoding; random bytes do no harm.

use std::time::Duration;

use bytes::Bytes;
use openflow::action::{Controller, Subfield};
use openflow::codec::{self, Dialect};
use openflow::field::Maskable;
use openflow::frame::FrameReader;
use openflow::message::{
    AggregateStats, AsyncConfig, AsyncMask, Continuation, CustomCounter, Flavor, FlowCounts,
    FlowFormat, FlowMod, FlowModCommand, FlowModFlags, FlowRemoved, FlowRemovedReason, FlowStats,
    FlowStatsReply, FlowStatsRequest, Frame, GROUP_ANY, PacketIn, PacketInFormat, PacketInReason,
    PacketOut, PortConfig, PortDesc, PortFeatures, PortMod, PortState, PortStats, Property,
    QUEUE_ALL, QueueConfig, QueueStats, TableFeatures, TableStats,
};
use openflow::reassembly::Reassembler;
use openflow::{Action, EthAddr, Field, Match, Message, OfPort, Version};
use proptest::prelude::*;

fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::ALL)
}

/// Supported fields that have an identifier on the wire.
fn wire_fields() -> Vec<Field> {
    let rows = Field::all()
        .iter()
        .filter(|i| i.is_supported() && !i.wire.is_empty());
    rows.map(|i| i.field).collect()
}

fn port() -> impl Strategy<Value = OfPort> {
    prop_oneof![
        (1u32..0xff00).prop_map(OfPort),
        (0xffff_fff8u32..0xffff_ffff).prop_map(OfPort),
    ]
}

/// A value that a packet can have in the field, and a mask that a match can have.
fn value_and_mask(field: Field) -> impl Strategy<Value = (u128, u128)> {
    let info = field.info();
    let full = info.full_mask();
    (any::<u128>(), any::<u128>(), any::<bool>(), port()).prop_map(move |(v, m, masked, port)| {
        let value = match field {
            Field::InPort => port.0.into(),
            Field::InPort16 => port.to_u16().unwrap().into(),
            Field::ArpOp => v & 0xff,
            Field::NwTos => v & 0xfc,
            Field::VlanVid => v & 0x1fff,
            _ => v & full,
        };
        let mask = if masked && info.maskable == Maskable::Any {
            m & full
        } else {
            u128::MAX
        };
        (value, mask)
    })
}

/// Prerequisites, and fields that they allow.
type Kind = (&'static [(Field, u128)], &'static [Field]);

/// A match whose prerequisites hold.
fn a_match() -> impl Strategy<Value = Match> {
    let kinds: Vec<Kind> = vec![
        (&[], &[]),
        (
            &[(Field::EthType, 0x0806)],
            &[
                Field::ArpOp,
                Field::ArpSpa,
                Field::ArpTpa,
                Field::ArpSha,
                Field::ArpTha,
            ],
        ),
        (
            &[(Field::EthType, 0x0800), (Field::IpProto, 6)],
            &[
                Field::Ipv4Src,
                Field::Ipv4Dst,
                Field::IpDscp,
                Field::IpEcn,
                Field::IpTtl,
                Field::TcpSrc,
                Field::TcpDst,
                Field::TcpFlags,
            ],
        ),
        (
            &[(Field::EthType, 0x0800), (Field::IpProto, 1)],
            &[Field::IcmpType, Field::IcmpCode, Field::Ipv4Src],
        ),
        (
            &[(Field::EthType, 0x86dd), (Field::IpProto, 17)],
            &[
                Field::Ipv6Src,
                Field::Ipv6Dst,
                Field::Ipv6Label,
                Field::UdpSrc,
                Field::UdpDst,
            ],
        ),
        (
            &[
                (Field::EthType, 0x86dd),
                (Field::IpProto, 58),
                (Field::Icmpv6Type, 135),
            ],
            &[Field::NdTarget, Field::NdSll, Field::Ipv6Dst],
        ),
    ];
    let always = [
        Field::InPort,
        Field::EthSrc,
        Field::EthDst,
        Field::VlanTci,
        Field::Metadata,
        Field::PktMark,
        Field::Reg0,
        Field::Reg7,
        Field::ConjId,
    ];
    prop::sample::select(kinds).prop_flat_map(move |(prereqs, more)| {
        let fields: Vec<Field> = always.iter().chain(more).copied().collect();
        let n = fields.len();
        prop::sample::subsequence(fields, 0..=n)
            .prop_flat_map(|fields| {
                let values = fields.into_iter().map(|f| (Just(f), value_and_mask(f)));
                values.collect::<Vec<_>>()
            })
            .prop_map(move |fields| {
                let mut m = Match::new();
                for (field, value) in prereqs {
                    m.set_exact(*field, *value);
                }
                for (field, (value, mask)) in fields {
                    m.set(field, value, mask);
                }
                m
            })
    })
}

fn subfield() -> impl Strategy<Value = Subfield> {
    (
        prop::sample::select(wire_fields()),
        any::<u16>(),
        any::<u16>(),
    )
        .prop_map(|(field, o, n)| {
            let offset = o % field.bits();
            let room = (field.bits() - offset).min(64);
            Subfield::new(field, offset, n % room + 1).unwrap()
        })
}

fn writable_subfield() -> impl Strategy<Value = Subfield> {
    subfield().prop_filter("read-only", |s| s.field.info().is_settable())
}

/// Actions that both versions have in the same form.
fn action() -> impl Strategy<Value = Action> {
    let load = (writable_subfield(), any::<u64>()).prop_map(|(dst, v)| Action::RegLoad {
        dst,
        value: dst.extract(u128::from(v) << dst.offset) as u64,
    });
    let mv = (subfield(), writable_subfield()).prop_map(|(src, dst)| {
        let bits = src.bits.min(dst.bits);
        Action::RegMove {
            src: Subfield { bits, ..src },
            dst: Subfield { bits, ..dst },
        }
    });
    prop_oneof![
        port().prop_map(Action::output),
        any::<u16>().prop_map(|max_len| Action::Output {
            port: OfPort::CONTROLLER,
            max_len
        }),
        any::<(u16, u16)>().prop_map(|(max_len, controller_id)| {
            Action::Controller(Controller {
                max_len,
                controller_id,
                reason: PacketInReason::InvalidTtl,
                ..Controller::default()
            })
        }),
        (subfield(), any::<u16>()).prop_map(|(src, max_len)| Action::OutputReg { src, max_len }),
        any::<u32>().prop_map(Action::SetQueue),
        Just(Action::PopQueue),
        Just(Action::StripVlan),
        prop::collection::vec(any::<u16>(), 1..9).prop_map(Action::DecTtl),
        load,
        mv,
        subfield().prop_map(Action::StackPush),
        writable_subfield().prop_map(Action::StackPop),
        (prop::option::of(port()), prop::option::of(0u8..0xff)).prop_map(|(in_port, table)| {
            let in_port = in_port.filter(|p| *p != OfPort::IN_PORT);
            let with_ct = false;
            Action::Resubmit {
                in_port,
                table,
                with_ct,
            }
        }),
        prop::collection::vec(any::<u8>(), 6..7).prop_map(Action::Note),
        Just(Action::Exit),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(action(), 0..8)
}

/// The list as `version` has it: 1.5 has no loads, and no set-field that sets all that loads can.
fn in_version(list: Vec<Action>, version: Version) -> Vec<Action> {
    if version < Version::Of15 {
        return list;
    }
    let as_1_5 = |action| match action {
        Action::RegLoad { dst, value } if dst.field.reg_index().is_some() => {
            Some(Action::SetField {
                field: dst.field,
                value: dst.insert(0, value.into()),
                mask: dst.mask(),
            })
        }
        Action::RegLoad { .. } => None,
        other => Some(other),
    };
    list.into_iter().filter_map(as_1_5).collect()
}

fn command() -> impl Strategy<Value = FlowModCommand> {
    prop_oneof![
        Just(FlowModCommand::Add),
        Just(FlowModCommand::Modify),
        Just(FlowModCommand::ModifyStrict),
        Just(FlowModCommand::Delete),
        Just(FlowModCommand::DeleteStrict),
    ]
}

/// A flow-mod in the form that decoding gives for `version`.
fn flow_mod(version: Version) -> impl Strategy<Value = FlowMod> {
    let numbers = (
        any::<[u16; 3]>(),
        any::<[u64; 3]>(),
        any::<u32>(),
        any::<u8>(),
        port(),
    );
    (command(), numbers, any::<[bool; 4]>(), a_match(), actions()).prop_map(
        move |(command, (shorts, longs, buffer_id, table, port), flags, fields, actions)| {
            let [priority, idle_timeout, hard_timeout] = shorts;
            let [cookie, mask, new_cookie] = longs;
            let is_add = command == FlowModCommand::Add;
            let is_delete = matches!(
                command,
                FlowModCommand::Delete | FlowModCommand::DeleteStrict
            );
            let [send_flow_rem, check_overlap, a, b] = flags;
            let mask = if is_add || a { 0 } else { mask };
            let is_10 = version == Version::Of10;
            let is_maybe_add = version == Version::Of11 && !is_delete && mask == 0;
            FlowMod {
                command,
                table_id: match version {
                    Version::Of10 => Some(table).filter(|t| *t != 0xff),
                    // 1.1 has no word for all tables.
                    Version::Of11 => Some(table.min(0xfe)),
                    _ => Some(table),
                },
                priority,
                new_cookie: if is_10 || is_add || is_maybe_add {
                    new_cookie
                } else {
                    u64::MAX
                },
                cookie: cookie & mask,
                cookie_mask: mask,
                modify_cookie: is_10 && new_cookie != u64::MAX,
                idle_timeout,
                hard_timeout,
                importance: if is_add && version >= Version::Of14 {
                    table.into()
                } else {
                    0
                },
                buffer_id,
                out_port: if is_delete { port } else { OfPort::ANY },
                out_group: if is_delete && !is_10 {
                    buffer_id
                } else {
                    GROUP_ANY
                },
                flags: FlowModFlags {
                    send_flow_rem,
                    check_overlap,
                    emergency: false,
                    reset_counts: if version < Version::Of12 { is_add } else { a },
                    no_packet_counts: version >= Version::Of13 && b,
                    no_byte_counts: version >= Version::Of13 && a,
                },
                fields,
                actions: in_version(actions, version),
            }
        },
    )
}

fn flow_stats(version: Version) -> impl Strategy<Value = FlowStats> {
    (
        flow_mod(version),
        any::<[u64; 2]>(),
        any::<u32>(),
        prop::option::of(0u16..0xffff),
    )
        .prop_map(move |(fm, [packet_count, byte_count], secs, age)| {
            let hard_age = age.filter(|_| version == Version::Of10);
            let idle_age = age.filter(|_| matches!(version, Version::Of10 | Version::Of15));
            FlowStats {
                fields: fm.fields,
                cookie: fm.new_cookie,
                table_id: fm.table_id.unwrap_or(0),
                priority: fm.priority,
                idle_timeout: fm.idle_timeout,
                hard_timeout: fm.hard_timeout,
                importance: fm.importance,
                duration: Duration::new(secs.into(), secs % 1_000_000_000),
                idle_age,
                hard_age,
                packet_count,
                byte_count,
                flags: if version < Version::Of13 {
                    FlowModFlags::default()
                } else {
                    fm.flags
                },
                actions: fm.actions,
            }
        })
}

fn port_desc(version: Version) -> impl Strategy<Value = PortDesc> {
    (port(), any::<[u8; 6]>(), "[a-z]{1,15}", any::<[u32; 6]>()).prop_map(
        move |(port, hw_addr, name, n)| {
            let (config, state, features) = match version {
                Version::Of10 => (0x7f, 0x301, 0xf87f),
                _ => (0x65, 7, 0xffff),
            };
            let curr = PortFeatures(n[2] & features);
            let supported = PortFeatures(n[4] & features);
            let (curr_speed_kbps, max_speed_kbps) = match version {
                Version::Of10 => (curr.max_speed_kbps(), supported.max_speed_kbps()),
                _ => (n[0], n[1]),
            };
            PortDesc {
                port,
                hw_addr: EthAddr(hw_addr),
                name,
                config: PortConfig(n[0] & config),
                state: PortState(n[1] & state),
                curr,
                advertised: PortFeatures(n[3] & features),
                supported,
                peer: PortFeatures(n[5] & features),
                curr_speed_kbps,
                max_speed_kbps,
                other: Vec::new(),
            }
        },
    )
}

fn port_stats(version: Version) -> impl Strategy<Value = PortStats> {
    (port(), any::<[u64; 12]>(), any::<u32>()).prop_map(move |(port, n, secs)| PortStats {
        port,
        rx_packets: n[0],
        tx_packets: n[1],
        rx_bytes: n[2],
        tx_bytes: n[3],
        rx_dropped: n[4],
        tx_dropped: n[5],
        rx_errors: n[6],
        tx_errors: n[7],
        rx_frame_errors: n[8],
        rx_over_errors: n[9],
        rx_crc_errors: n[10],
        collisions: n[11],
        duration: (version >= Version::Of13).then(|| Duration::new(secs.into(), 7)),
        rfc_2819: (version >= Version::Of14 && secs % 2 == 0).then(|| Box::new([n[0]; 21])),
        custom: match version {
            v if v >= Version::Of14 && secs % 3 == 0 => vec![
                CustomCounter {
                    name: "rx_q0_packets".to_owned(),
                    value: n[1],
                };
                3
            ],
            _ => Vec::new(),
        },
        other: Vec::new(),
    })
}

/// Encodes, cuts into messages, decodes, joins.
fn round_trip(message: &Message, dialect: Dialect) -> Message {
    let bytes = codec::encode(message, dialect, 5).expect("expressible");
    let mut reader = FrameReader::new(bytes.len());
    reader.handle_bytes(&bytes).expect("room");
    let mut parts = Reassembler::new(1 << 24, 1);
    let mut whole = None;
    while let Some(frame) = reader.poll_frame().expect("lengths") {
        assert_eq!(whole, None, "nothing after the last part");
        let decoded = codec::decode(&frame, &dialect).unwrap_or_else(|e| panic!("{e} {message:?}"));
        assert_eq!(decoded.header.xid, 5);
        whole = parts.handle(decoded).expect("one reply");
    }
    assert!(reader.is_empty());
    whole.expect("a message").message
}

fn check(message: Message, dialect: impl Into<Dialect>) {
    let got = round_trip(&message, dialect.into());
    assert_eq!(got, message);
}

fn with_table_id(version: Version) -> Dialect {
    Dialect {
        flow_mod_table_id: true,
        ..Dialect::from(version)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn flow_mods((version, fm) in version().prop_flat_map(|v| (Just(v), flow_mod(v)))) {
        let mut fm = fm;
        if version > Version::Of10 {
            // OXM says about the priority only when it says that there is a tag.
            fm.fields.set(Field::VlanTci, 0, 0);
        }
        let message = Message::FlowMod(fm.clone());
        if codec::encode(&message, with_table_id(version), 1).is_err() {
            prop_assert_eq!(version, Version::Of11);
            // 1.1 has the fields of 1.0 and the metadata.
            fm.fields = Match::new().masked(Field::Metadata, 5, 7);
        }
        check(Message::FlowMod(fm), with_table_id(version));
    }

    #[test]
    fn flow_stats_replies(
        (version, flows) in version()
            .prop_flat_map(|v| (Just(v), prop::collection::vec(flow_stats(v), 0..5)))
    ) {
        let flavor = match version {
            Version::Of10 => Flavor::Nicira,
            _ => Flavor::Standard,
        };
        let mut flows = flows;
        if version > Version::Of10 {
            // OXM says about the priority only when it says that there is a tag.
            flows.iter_mut().for_each(|f| f.fields.set(Field::VlanTci, 0, 0));
        }
        check(Message::FlowStatsReply(FlowStatsReply { flavor, flows }), version);
    }

    #[test]
    fn stats_requests(
        version in version(),
        fields in a_match(),
        table_id: u8,
        out_port in port(),
        cookie: u64,
        cookie_mask: u64,
        aggregate: bool,
    ) {
        let mut fields = fields;
        fields.set(Field::VlanTci, 0, 0);
        if version == Version::Of11 {
            fields = Match::new().masked(Field::Metadata, 5, 7);
        }
        let request = FlowStatsRequest {
            flavor: match version {
                Version::Of10 => Flavor::Nicira,
                _ => Flavor::Standard,
            },
            fields,
            table_id,
            out_port,
            out_group: GROUP_ANY,
            cookie: cookie & cookie_mask,
            cookie_mask,
        };
        if version == Version::Of15 {
            check(Message::FlowCountsRequest(request.clone()), version);
        }
        check(
            if aggregate {
                Message::AggregateRequest(request)
            } else {
                Message::FlowStatsRequest(request)
            },
            version,
        );
    }

    #[test]
    fn vlan_survives_in_oxm(value: u16, mask: u16) {
        let m = Match::new().masked(Field::VlanTci, value.into(), mask.into());
        let fm = FlowMod { fields: m.clone(), ..FlowMod::add() };
        let Message::FlowMod(got) = round_trip(&Message::FlowMod(fm), Version::Of13.into()) else {
            panic!("a flow-mod");
        };
        // "No tag" says all about the priority and need not repeat it.
        let no_tag = m.get(Field::VlanTci) == Some((0, 0xffff));
        prop_assert!(got.fields == m || no_tag, "{:?} {m:?}", got.fields);
    }

    #[test]
    fn match_of_1_0_survives_where_it_can_be_expressed(fields in a_match(), priority: u16) {
        let fm = FlowMod { fields, priority, ..FlowMod::add() };
        let Message::FlowMod(got) =
            round_trip(&Message::FlowMod(fm.clone()), with_table_id(Version::Of10))
        else {
            panic!("a flow-mod");
        };
        prop_assert_eq!(got.fields, fm.fields);
    }

    #[test]
    fn packets(
        version in version(),
        in_port in port(),
        list in actions(),
        data in prop::collection::vec(any::<u8>(), 0..200),
        format in prop_oneof![
            Just(PacketInFormat::Standard), Just(PacketInFormat::Nxt), Just(PacketInFormat::Nxt2)
        ],
        reg: u32,
        cookie: u64,
    ) {
        let data = Bytes::from(data);
        check(
            Message::PacketOut(PacketOut {
                buffer_id: u32::MAX,
                in_port,
                metadata: Match::new(),
                actions: in_version(list.clone(), version),
                data: data.clone(),
            }),
            version,
        );
        let standard = format == PacketInFormat::Standard;
        let has_cookie = !standard || version >= Version::Of13;
        let mut metadata = Match::new().with(Field::InPort, in_port.0.into());
        if !standard || version >= Version::Of12 {
            metadata.set_exact(Field::Reg3, reg.into());
        }
        let has_more = format == PacketInFormat::Nxt2;
        let frame = |table_id, actions| Frame { table_id, cookie, actions };
        let continuation = Continuation {
            bridge: [7; 16],
            stack: vec![data.slice(..data.len().min(9)), Bytes::from_static(&[1])],
            mirrors: reg,
            conntracked: reg % 2 == 0,
            frames: vec![
                frame(3, vec![Action::output(in_port), Action::GotoTable(4)]),
                frame(0, in_version(list.clone(), version)),
            ],
            action_set: vec![Action::Group(5)],
            odp_port: reg,
        };
        let packet_in = PacketIn {
            reason: PacketInReason::Action,
            table_id: if standard && version == Version::Of10 { 0 } else { 7 },
            buffer_id: u32::MAX,
            total_len: data.len() as u16,
            cookie: if has_cookie { cookie } else { u64::MAX },
            metadata,
            userdata: if has_more { data.slice(..data.len() / 2) } else { Bytes::new() },
            continuation: has_more.then_some(Box::new(continuation)),
            data,
        };
        check(
            Message::PacketIn(packet_in.clone()),
            Dialect { packet_in_format: format, ..Dialect::from(version) },
        );
        if has_more {
            let userdata = Bytes::new();
            check(Message::Resume(PacketIn { userdata, ..packet_in }), version);
        }
    }

    #[test]
    fn ports(
        (version, descs, stats) in version().prop_flat_map(|v| (
            Just(v),
            prop::collection::vec(port_desc(v), 0..4),
            prop::collection::vec(port_stats(v), 0..4),
        ))
    ) {
        check(Message::PortDescReply(descs), version);
        check(Message::PortStatsReply(stats), version);
    }

    #[test]
    fn async_config(n: [u32; 6]) {
        let config = AsyncConfig {
            packet_in: AsyncMask { master: n[0], slave: n[1] },
            port_status: AsyncMask { master: n[2], slave: n[3] },
            flow_removed: AsyncMask { master: n[4], slave: n[5] },
            ..AsyncConfig::default()
        };
        check(Message::SetAsync { flavor: Flavor::Nicira, config }, Version::Of10);
        check(Message::SetAsync { flavor: Flavor::Standard, config }, Version::Of13);
        check(Message::GetAsyncReply(config), Version::Of13);
    }

    #[test]
    fn removals_and_sums(
        version in version(),
        fields in a_match(),
        n: [u64; 3],
        secs: u32,
        shorts: [u16; 3],
        reason in 0u8..6,
    ) {
        let mut fields = fields;
        fields.set(Field::VlanTci, 0, 0);
        let last = match version {
            Version::Of10 => 2,
            Version::Of11 | Version::Of12 | Version::Of13 => 3,
            _ => 5,
        };
        let is_10 = version == Version::Of10;
        let removed = FlowRemoved {
            fields,
            priority: shorts[0],
            reason: FlowRemovedReason::from_wire(reason.min(last)).unwrap(),
            table_id: Some(9),
            cookie: n[0],
            duration: Duration::new(secs.into(), 5),
            idle_timeout: shorts[1],
            hard_timeout: if is_10 { 0 } else { shorts[2] },
            packet_count: n[1],
            byte_count: n[2],
        };
        let dialect = Dialect { flow_format: FlowFormat::Nxm, ..Dialect::from(version) };
        check(Message::FlowRemoved(removed.clone()), dialect);
        let stats = AggregateStats { packet_count: n[1], byte_count: n[2], flow_count: secs };
        check(Message::AggregateReply { flavor: Flavor::Standard, stats }, version);
        let counts = FlowCounts {
            fields: removed.fields,
            table_id: 3,
            reason,
            priority: shorts[0],
            duration: Some(removed.duration),
            idle: (n[0] % 2 == 0).then_some(Duration::from_secs(secs.into())),
            packet_count: Some(n[1]),
            byte_count: (n[0] % 3 == 0).then_some(n[2]),
        };
        check(Message::FlowCountsReply(vec![counts; 2]), Version::Of15);
    }

    #[test]
    fn queues_and_tables(
        version in version(),
        port in 1u32..0xff00,
        n: [u32; 4],
        name in "[a-z]{0,31}",
        rates in prop::collection::vec((prop::option::of(0u16..1001), prop::option::of(0u16..1001)), 0..4),
        value in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let port = OfPort(port);
        let other = match version {
            v if v >= Version::Of14 => vec![Property { kind: 0xffff, value: value.into() }],
            _ => Vec::new(),
        };
        let queue = if version >= Version::Of14 { n[0] } else { QUEUE_ALL };
        check(Message::QueueGetConfigRequest { port, queue }, version);
        let queues: Vec<QueueConfig> = rates
            .iter()
            .map(|(min_rate, max_rate)| QueueConfig {
                port,
                queue: n[1],
                min_rate: *min_rate,
                max_rate: *max_rate,
                other: other.clone(),
            })
            .collect();
        let asked = if version >= Version::Of14 { OfPort::ANY } else { port };
        check(Message::QueueGetConfigReply { port: asked, queues }, version);
        let duration = (version >= Version::Of13).then_some(Duration::new(n[2].into(), 3));
        let stats = QueueStats {
            port,
            queue: n[0],
            tx_bytes: n[1].into(),
            tx_packets: u64::MAX,
            tx_errors: 0,
            duration,
            other: other.clone(),
        };
        check(Message::QueueStatsReply(vec![stats; 2]), version);
        check(Message::PortMod(PortMod {
            port,
            hw_addr: EthAddr([1; 6]),
            config: PortConfig::PORT_DOWN,
            mask: PortConfig::PORT_DOWN,
            advertise: PortFeatures::TEN_GB_FD,
            other: other.clone(),
        }), version);
        let mut features = TableFeatures::supported(n[0] as u8, 254, n[1]);
        features.name = name;
        let table = TableStats {
            active_count: n[2],
            lookup_count: n[3].into(),
            matched_count: 7,
            ..TableStats::of(&features, version)
        };
        check(Message::TableStatsReply(vec![table; 3]), version);
        if version >= Version::Of13 {
            features.other = other;
            if version >= Version::Of15 {
                (features.command, features.features) = (1, n[3]);
            }
            check(Message::TableFeaturesReply(vec![features.clone(); 40]), version);
            check(Message::TableFeaturesRequest(vec![features]), version);
        }
    }

    /// A plausible header before random bytes, so that every decoder sees some.
    #[test]
    fn random_bytes(
        version in prop_oneof![1u8..7, any::<u8>()],
        kind in 0u8..36,
        body in prop::collection::vec(any::<u8>(), 0..300),
        subtype in prop_oneof![Just(None), (0u8..40).prop_map(Some)],
    ) {
        let mut bytes = vec![version, kind, 0, 0, 0, 0, 0, 1];
        if let Some(subtype) = subtype {
            match kind {
                4 => bytes.extend([0, 0, 0x23, 0x20, 0, 0, 0, subtype]),
                _ => bytes.extend([0, subtype, 0, 0]),
            }
        }
        bytes.extend(body);
        let len = u16::try_from(bytes.len()).unwrap();
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        for version in Version::ALL {
            codec::decode(&bytes, &with_table_id(*version)).ok();
        }
    }
}

#[test]
fn long_replies_take_several_messages() {
    let flow = FlowStats {
        fields: Match::new(),
        cookie: 1,
        table_id: 0,
        priority: 5,
        idle_timeout: 0,
        hard_timeout: 0,
        importance: 0,
        duration: Duration::ZERO,
        idle_age: None,
        hard_age: None,
        packet_count: 0,
        byte_count: 0,
        flags: FlowModFlags::default(),
        actions: vec![Action::output(OfPort(1)); 100],
    };
    let flows: Vec<FlowStats> = (0..1000)
        .map(|cookie| FlowStats {
            cookie,
            ..flow.clone()
        })
        .collect();
    let reply = FlowStatsReply {
        flavor: Flavor::Standard,
        flows,
    };
    for version in Version::ALL {
        check(Message::FlowStatsReply(reply.clone()), *version);
    }
}

/// An entry that no message can hold does not take the others with it.
#[test]
fn a_flow_that_is_too_long_is_left_out() {
    let short = FlowStats {
        fields: Match::new(),
        cookie: 1,
        table_id: 0,
        priority: 5,
        idle_timeout: 0,
        hard_timeout: 0,
        importance: 0,
        duration: Duration::ZERO,
        idle_age: None,
        hard_age: None,
        packet_count: 0,
        byte_count: 0,
        flags: FlowModFlags::default(),
        actions: Vec::new(),
    };
    let long = FlowStats {
        actions: vec![Action::output(OfPort(1)); 5000],
        ..short.clone()
    };
    let reply = |flows: &[&FlowStats]| {
        let flows = flows.iter().map(|f| (*f).clone()).collect();
        Message::FlowStatsReply(FlowStatsReply {
            flavor: Flavor::Standard,
            flows,
        })
    };
    let got = round_trip(&reply(&[&short, &long, &short]), Version::Of13.into());
    assert_eq!(got, reply(&[&short, &short]));
    let fm = FlowMod {
        actions: long.actions,
        ..FlowMod::add()
    };
    assert!(matches!(
        codec::encode(&Message::FlowMod(fm), Version::Of13, 1),
        Err(codec::EncodeError::TooLong { .. })
    ));
}
