//! Conversations with a bridge: messages in, effects out, in virtual time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ofproto::conn::{ConnId, ConnKind};
use ofproto::flow::{Flow, Mask};
use ofproto::ofproto::{Effect, Ofproto};
use ofproto::port::{PatchPeer, PortConf, PortLink};
use ofproto::snapshot::{BridgeId, FailMode};
use openflow::message::{
    AsyncConfig, AsyncMask, ErrorMessage, Flavor, FlowMod, FlowModCommand, FlowModFlags,
    FlowRemovedReason, FragHandling, NO_BUFFER, PacketOut, PortConfig, PortFeatures, PortMod,
    PortReason, Role, RoleMessage, SwitchConfig, TABLE_ALL, TableMod,
};
use openflow::{Action, Field, Match, Message, OfError, OfPort, Version};
use packet::{DpPort, EthAddr};

struct Talk {
    ofproto: Ofproto,
    bridge: BridgeId,
    now: Instant,
}

const HW: EthAddr = EthAddr([2, 0, 0, 0, 0, 9]);

impl Talk {
    /// A bridge with a controller in view and ports 1 and 2.
    fn new(fail_mode: FailMode) -> Talk {
        let now = Instant::now();
        let mut ofproto = Ofproto::new(1);
        let bridge = ofproto
            .bridge_add("br0", 0x1234, HW, fail_mode, now)
            .unwrap();
        for n in 1..3 {
            let mut port = PortConf::new(
                OfPort(n),
                &format!("p{n}"),
                PortLink::Datapath(DpPort(10 + n)),
            );
            port.hw_addr = HW;
            ofproto.port_add(bridge, port, now).unwrap();
        }
        Talk {
            ofproto,
            bridge,
            now,
        }
    }

    fn open(&mut self, kind: ConnKind, version: Version) -> ConnId {
        self.ofproto
            .conn_open(self.bridge, kind, version, self.now)
            .unwrap()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.ofproto.poll_effect()).collect()
    }

    fn send(&mut self, conn: ConnId, message: Message) -> Vec<Effect> {
        let raw = Bytes::from_static(b"the whole request");
        self.ofproto
            .handle_message(conn, 7, message, &raw, self.now);
        self.effects()
    }

    /// The reply to a request that has one.
    fn ask(&mut self, conn: ConnId, message: Message) -> Message {
        match self.send(conn, message).as_slice() {
            [
                Effect::Send {
                    conn: to,
                    xid: 7,
                    message,
                },
            ] if *to == conn => message.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The error that a request gets.
    fn fail(&mut self, conn: ConnId, message: Message) -> OfError {
        match self.ask(conn, message) {
            Message::Error(ErrorMessage::Known { error, data }) => {
                assert_eq!(&data[..], b"the whole request");
                error
            }
            other => panic!("{other:?}"),
        }
    }

    fn ok(&mut self, conn: ConnId, message: Message) {
        assert_eq!(self.send(conn, message), []);
    }

    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.ofproto.handle_timeout(self.now);
        self.effects()
    }

    /// The priority of the rule that a plain packet finds in table 0.
    fn forwards_by(&mut self) -> Option<u32> {
        let snapshot = self.ofproto.publish();
        let tables = &snapshot.bridge(self.bridge).unwrap().tables;
        let rule = tables.lookup(0, &Flow::zero(), &mut Mask::empty())?;
        Some(rule.priority)
    }
}

fn add(fields: Match) -> FlowMod {
    FlowMod {
        fields,
        actions: vec![Action::output(OfPort(1))],
        ..FlowMod::add()
    }
}

fn role(role: Role, generation_id: Option<u64>) -> Message {
    Message::RoleRequest(RoleMessage {
        short_id: 0,
        flavor: Flavor::Standard,
        role,
        generation_id,
    })
}

/// From 1.2 on by the specification's request, in all versions by Nicira's; what connections of
/// other versions are and want counts for all.
#[test]
fn roles_in_every_version() {
    let mut t = Talk::new(FailMode::Secure);
    let mut conns = Vec::new();
    for (n, version) in Version::ALL.iter().enumerate() {
        let conn = t.open(ConnKind::Controller, *version);
        let flavor = match version {
            Version::Of10 | Version::Of11 => Flavor::Nicira,
            _ => Flavor::Standard,
        };
        let generation_id = (flavor == Flavor::Standard).then_some(n as u64);
        let request = RoleMessage {
            short_id: 0,
            flavor,
            role: Role::Master,
            generation_id,
        };
        // What goes over the wire comes back the same.
        let message = Message::RoleRequest(request);
        let bytes = openflow::codec::encode(&message, *version, 7).expect("in every version");
        let dialect = openflow::codec::Dialect::from(*version);
        let decoded = openflow::codec::decode(&bytes, &dialect).expect("well-formed");
        assert_eq!(decoded.message, message);
        let Message::RoleReply(reply) = t.ask(conn, message) else {
            panic!("a reply");
        };
        assert_eq!((reply.flavor, reply.role), (flavor, Role::Master));
        openflow::codec::encode(&Message::RoleReply(reply), *version, 7).expect("in every version");
        conns.push(conn);
    }
    let last = conns.pop().expect("six");
    for conn in conns {
        assert_eq!(
            t.fail(conn, Message::FlowMod(add(Match::new()))),
            OfError::BrcIsSlave
        );
    }
    t.ok(last, Message::FlowMod(add(Match::new())));
}

/// Versions differ in what a modification does that finds no flow, and in what "all tables" means.
#[test]
fn flow_mods_in_every_version() {
    for version in Version::ALL {
        let mut t = Talk::new(FailMode::Secure);
        let conn = t.open(ConnKind::Controller, *version);
        let is_old = *version <= Version::Of11;
        let modify = FlowMod {
            command: FlowModCommand::Modify,
            table_id: Some(3),
            modify_cookie: *version == Version::Of10,
            new_cookie: if is_old { 5 } else { u64::MAX },
            importance: 9,
            ..add(Match::new())
        };
        t.ok(conn, Message::FlowMod(modify));
        let tables = t.ofproto.tables(t.bridge).expect("a bridge");
        assert_eq!(tables.table_len(3), usize::from(is_old), "{version}");
        let everywhere = FlowMod {
            table_id: Some(0xff),
            ..add(Match::new())
        };
        let effects = t.send(conn, Message::FlowMod(everywhere));
        assert_eq!(effects.is_empty(), *version == Version::Of10, "{version}");
    }
}

/// A property that is not known is refused, not ignored; a packet-out can set pipeline fields alone.
#[test]
fn what_1_4_and_1_5_add_is_refused_by_name() {
    let mut t = Talk::new(FailMode::Secure);
    let conn = t.open(ConnKind::Controller, Version::Of15);
    let property = |kind| openflow::message::Property {
        kind,
        value: Bytes::new(),
    };
    for (kind, error) in [
        (1, OfError::BpcBadType),
        (0xffff, OfError::BpcBadExperimenter),
    ] {
        let request = PortMod {
            port: OfPort(1),
            hw_addr: HW,
            config: PortConfig::empty(),
            mask: PortConfig::empty(),
            advertise: PortFeatures::empty(),
            other: vec![property(kind)],
        };
        assert_eq!(t.fail(conn, Message::PortMod(request)), error);
    }
    let packet = |metadata| {
        Message::PacketOut(PacketOut {
            buffer_id: NO_BUFFER,
            in_port: OfPort::CONTROLLER,
            metadata,
            actions: vec![Action::output(OfPort(1))],
            data: Bytes::from_static(&[0; 60]),
        })
    };
    let eth = Match::new().with(Field::EthType, 0x800);
    assert_eq!(t.fail(conn, packet(eth)), OfError::BrcPipelineFieldsOnly);
    let register = Match::new().with(Field::Reg3, 7);
    let effects = t.send(conn, packet(register.clone()));
    let [Effect::PacketOut(request)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(request.metadata, register);
    let features = Message::TableFeaturesRequest(vec![Default::default()]);
    assert_eq!(t.fail(conn, features), OfError::TffcEperm);
    let one = Message::PortDescRequest { port: OfPort(1) };
    assert!(matches!(t.ask(conn, one), Message::PortDescReply(p) if p.len() == 1));
}

#[test]
fn roles() {
    let mut t = Talk::new(FailMode::Secure);
    let a = t.open(ConnKind::Controller, Version::Of13);
    let b = t.open(ConnKind::Controller, Version::Of13);
    let is = |message, role, generation_id| {
        let flavor = Flavor::Standard;
        let want = RoleMessage {
            short_id: 0,
            flavor,
            role,
            generation_id,
        };
        assert_eq!(message, Message::RoleReply(want));
    };
    is(t.ask(a, role(Role::NoChange, None)), Role::Equal, None);
    is(t.ask(a, role(Role::Master, Some(5))), Role::Master, Some(5));
    // A second master makes the first a slave, who may look but not touch.
    is(t.ask(b, role(Role::Master, Some(6))), Role::Master, Some(6));
    is(t.ask(a, role(Role::NoChange, None)), Role::Slave, Some(6));
    assert_eq!(t.fail(a, role(Role::Master, Some(5))), OfError::RrfcStale);
    for message in [
        Message::FlowMod(FlowMod::add()),
        Message::TableMod(TableMod {
            table_id: 0,
            ..TableMod::default()
        }),
        Message::PacketOut(PacketOut {
            metadata: Match::new(),
            buffer_id: NO_BUFFER,
            in_port: OfPort::CONTROLLER,
            actions: Vec::new(),
            data: Bytes::new(),
        }),
    ] {
        assert_eq!(t.fail(a, message), OfError::BrcIsSlave);
    }
    assert!(matches!(
        t.ask(a, Message::DescRequest),
        Message::DescReply(_)
    ));
    t.ok(b, Message::FlowMod(add(Match::new())));
    is(t.ask(a, role(Role::Equal, None)), Role::Equal, Some(6));
    t.ok(a, Message::FlowMod(add(Match::new())));
}

#[test]
fn barriers_wait_for_the_snapshot_of_what_came_before() {
    let mut t = Talk::new(FailMode::Secure);
    let conn = t.open(ConnKind::Controller, Version::Of13);
    let before = t.ofproto.publish().version;
    assert_eq!(t.ofproto.publish().version, before, "nothing changed");
    t.ok(conn, Message::FlowMod(add(Match::new())));
    let effects = t.send(conn, Message::BarrierRequest);
    let want = Effect::SendAfter {
        conn,
        xid: 7,
        message: Message::BarrierReply,
        version: before + 1,
    };
    assert_eq!(effects, [want]);
    assert_eq!(t.ofproto.publish().version, before + 1);
}

#[test]
fn flow_removed_goes_to_who_wants_it() {
    let mut t = Talk::new(FailMode::Secure);
    let plain = t.open(ConnKind::Controller, Version::Of13);
    let idle_only = t.open(ConnKind::Controller, Version::Of13);
    let service = t.open(ConnKind::Service, Version::Of10);
    let mut config = AsyncConfig::default_for(Version::Of13);
    config.flow_removed = AsyncMask {
        master: 1,
        slave: 0,
    };
    let flavor = Flavor::Standard;
    t.ok(idle_only, Message::SetAsync { flavor, config });
    assert_eq!(
        t.ask(idle_only, Message::GetAsyncRequest),
        Message::GetAsyncReply(config)
    );

    let flags = FlowModFlags {
        send_flow_rem: true,
        ..FlowModFlags::default()
    };
    let fields = Match::new().with(Field::InPort, 2);
    let fm = FlowMod {
        idle_timeout: 10,
        hard_timeout: 25,
        flags,
        ..add(fields)
    };
    t.ok(service, Message::FlowMod(fm.clone()));
    assert_eq!(t.pass(Duration::from_secs(9)), []);

    // Packets keep it; the hard timeout does not care.
    let snapshot = t.ofproto.publish();
    let tables = &snapshot.bridge(t.bridge).unwrap().tables;
    let flow = Flow::new(Default::default(), OfPort(2));
    let rule = tables.lookup(0, &flow, &mut Mask::empty()).unwrap();
    rule.stats.credit(3, 300, t.now);
    assert_eq!(t.pass(Duration::from_secs(9)), []);
    rule.stats.credit(1, 100, t.now);
    // Timers are put off when they fire, so the next may be early, never late.
    assert!(t.ofproto.poll_timeout().unwrap() <= t.now + Duration::from_secs(7));
    let effects = t.pass(Duration::from_secs(7));
    let [
        Effect::Send {
            conn,
            xid: 0,
            message: Message::FlowRemoved(removed),
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(*conn, plain);
    assert_eq!(removed.reason, FlowRemovedReason::HardTimeout);
    assert_eq!(removed.duration, Duration::from_secs(25));
    assert_eq!((removed.packet_count, removed.byte_count), (4, 400));
    assert_eq!((removed.idle_timeout, removed.hard_timeout), (10, 25));

    t.ok(service, Message::FlowMod(fm.clone()));
    assert_eq!(
        t.pass(Duration::from_secs(10)).len(),
        2,
        "idle: both controllers"
    );
    t.ok(service, Message::FlowMod(fm.clone()));
    let delete = FlowMod {
        command: FlowModCommand::Delete,
        table_id: Some(0xff),
        ..fm
    };
    assert_eq!(t.send(service, Message::FlowMod(delete)).len(), 1);
    assert_eq!(t.ofproto.poll_timeout(), None);
}

#[test]
fn port_mods() {
    let mut t = Talk::new(FailMode::Secure);
    let a = t.open(ConnKind::Controller, Version::Of13);
    let b = t.open(ConnKind::Controller, Version::Of13);
    let port_mod = |port, hw_addr, config, mask| {
        Message::PortMod(PortMod {
            other: Vec::new(),
            port: OfPort(port),
            hw_addr,
            config,
            mask,
            advertise: PortFeatures::empty(),
        })
    };
    let down = PortConfig::PORT_DOWN;
    assert_eq!(t.fail(a, port_mod(9, HW, down, down)), OfError::PmfcBadPort);
    let other = EthAddr([2, 0, 0, 0, 0, 8]);
    assert_eq!(
        t.fail(a, port_mod(1, other, down, down)),
        OfError::PmfcBadHwAddr
    );
    let effects = t.send(a, port_mod(1, HW, down, down));
    let [
        Effect::Send {
            conn,
            message: Message::PortStatus(status),
            ..
        },
        Effect::ConfigurePort {
            port: OfPort(1), ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(*conn, b, "who changed it is not told");
    assert_eq!(
        (status.reason, status.desc.config),
        (PortReason::Modify, down)
    );
    t.ok(a, port_mod(1, HW, down, down));
    let snapshot = t.ofproto.publish();
    let port = snapshot.bridge(t.bridge).unwrap().port(OfPort(1)).unwrap();
    assert!(!port.may_send() && !port.may_receive());
}

#[test]
fn ports_come_and_go() {
    let mut t = Talk::new(FailMode::Secure);
    let other = t
        .ofproto
        .bridge_add("br1", 1, EthAddr::default(), FailMode::Secure, t.now)
        .unwrap();
    let peer = PatchPeer {
        bridge: t.bridge,
        port: OfPort(1),
    };
    let patch = PortConf::new(OfPort(5), "patch", PortLink::Patch(Some(peer)));
    t.ofproto.port_add(other, patch, t.now).unwrap();
    let conn = t.open(ConnKind::Controller, Version::Of13);

    let taken = PortConf::new(OfPort(1), "x", PortLink::Datapath(DpPort(99)));
    assert!(t.ofproto.port_add(t.bridge, taken, t.now).is_err());
    let elsewhere = PortConf::new(OfPort(7), "x", PortLink::Datapath(DpPort(11)));
    assert!(t.ofproto.port_add(other, elsewhere, t.now).is_err());
    assert!(
        t.ofproto
            .bridge_add("br1", 1, HW, FailMode::Secure, t.now)
            .is_err()
    );

    assert!(t.ofproto.learn_mac(t.bridge, 0, HW, OfPort(1), t.now));
    assert!(!t.ofproto.learn_mac(t.bridge, 0, HW, OfPort(77), t.now));
    t.ofproto.port_del(t.bridge, OfPort(1)).unwrap();
    let effects = t.effects();
    assert!(
        matches!(&effects[..], [Effect::Send { conn: to, message: Message::PortStatus(s), .. }]
            if *to == conn && s.reason == PortReason::Delete),
        "{effects:?}"
    );
    let snapshot = t.ofproto.publish();
    assert!(snapshot.port_of(DpPort(11)).is_none());
    assert!(snapshot.port_of(DpPort(12)).is_some());
    let bridge = snapshot.bridge(t.bridge).unwrap();
    assert_eq!(bridge.macs.lookup(0, HW), None);
    let patch = snapshot.bridge(other).unwrap().port(OfPort(5)).unwrap();
    assert_eq!(patch.link, PortLink::Patch(None));

    t.ofproto.bridge_del(t.bridge).unwrap();
    assert_eq!(t.effects(), [Effect::Disconnect { conn }]);
    assert_eq!(t.send(conn, Message::DescRequest), []);
    assert!(t.ofproto.publish().port_of(DpPort(12)).is_none());
}

#[test]
fn fail_modes() {
    const GRACE: Duration = Duration::from_secs(15);
    let mut t = Talk::new(FailMode::Standalone);
    assert_eq!(t.forwards_by(), Some(0), "no controller is to come");

    // With a controller named, the tables are its own, until it stays away for too long.
    t.ofproto
        .set_controllers(t.bridge, 1, GRACE, t.now)
        .unwrap();
    assert_eq!(t.forwards_by(), None);
    assert_eq!(t.ofproto.poll_timeout(), Some(t.now + GRACE));
    t.pass(GRACE);
    assert_eq!(t.forwards_by(), Some(0xf0f0f0));
    let conn = t.open(ConnKind::Service, Version::Of10);
    assert_eq!(t.forwards_by(), Some(0xf0f0f0), "a tool is no controller");
    let Message::AggregateReply { stats, .. } = t.ask(
        conn,
        Message::AggregateRequest(openflow::message::FlowStatsRequest::all()),
    ) else {
        panic!("no aggregate reply");
    };
    assert_eq!(stats.flow_count, 0, "the rule is hidden");
    let everything = FlowMod {
        command: FlowModCommand::Delete,
        table_id: None,
        ..FlowMod::add()
    };
    t.ok(conn, Message::FlowMod(everything));
    assert_eq!(t.forwards_by(), Some(0xf0f0f0));

    let controller = t.open(ConnKind::Controller, Version::Of13);
    assert_eq!(t.forwards_by(), None);
    t.pass(GRACE * 2);
    t.ofproto.conn_close(controller, t.now);
    t.pass(GRACE - Duration::from_millis(1));
    assert_eq!(t.forwards_by(), None);
    t.pass(Duration::from_millis(1));
    assert_eq!(t.forwards_by(), Some(0xf0f0f0));

    t.ofproto
        .set_fail_mode(t.bridge, FailMode::Secure, t.now)
        .unwrap();
    assert_eq!(t.forwards_by(), None);
    t.ofproto
        .set_controllers(t.bridge, 0, GRACE, t.now)
        .unwrap();
    assert_eq!(t.forwards_by(), None);
    t.ofproto
        .set_fail_mode(t.bridge, FailMode::Standalone, t.now)
        .unwrap();
    assert_eq!(t.forwards_by(), Some(0));
}

#[test]
fn who_wants_misses_is_in_the_snapshot() {
    let mut t = Talk::new(FailMode::Secure);
    let on_miss = |t: &mut Talk| {
        let snapshot = t.ofproto.publish();
        snapshot.bridge(t.bridge).unwrap().packet_in_on_miss
    };
    let tool = t.open(ConnKind::Service, Version::Of10);
    t.open(ConnKind::Controller, Version::Of13);
    assert!(!on_miss(&mut t));
    let config = SwitchConfig {
        frag: FragHandling::Normal,
        invalid_ttl_to_controller: false,
        miss_send_len: 65534,
    };
    t.ok(tool, Message::SetConfig(config));
    assert!(on_miss(&mut t));
    assert_eq!(
        t.ask(tool, Message::GetConfigRequest),
        Message::GetConfigReply(config)
    );
    t.ok(tool, Message::SetControllerId(5));
    assert!(!on_miss(&mut t));
    t.ok(tool, Message::SetControllerId(0));
    t.ofproto.conn_close(tool, t.now);
    assert!(!on_miss(&mut t));
}

#[test]
fn refusals() {
    let mut t = Talk::new(FailMode::Secure);
    let conn = t.open(ConnKind::Controller, Version::Of13);
    let out = |buffer_id, in_port, actions| {
        Message::PacketOut(PacketOut {
            metadata: Match::new(),
            buffer_id,
            in_port,
            actions,
            data: Bytes::new(),
        })
    };
    let cases = [
        (
            out(1, OfPort::CONTROLLER, vec![]),
            OfError::BrcBufferUnknown,
        ),
        (out(NO_BUFFER, OfPort::FLOOD, vec![]), OfError::BrcBadPort),
        (
            out(NO_BUFFER, OfPort(1), vec![Action::output(OfPort(0xff00))]),
            OfError::BacBadOutPort,
        ),
        (
            out(NO_BUFFER, OfPort(1), vec![Action::Group(1)]),
            OfError::BacBadOutGroup,
        ),
        (
            Message::QueueGetConfigRequest {
                port: OfPort(9),
                queue: openflow::message::QUEUE_ALL,
            },
            OfError::QofcBadPort,
        ),
        (Message::BarrierReply, OfError::BrcBadType),
        (Message::PortDescReply(Vec::new()), OfError::BrcBadStat),
        (
            Message::FlowMod(FlowMod {
                buffer_id: 3,
                ..add(Match::new())
            }),
            OfError::BrcBufferUnknown,
        ),
        (
            Message::FlowMod(FlowMod {
                actions: vec![Action::SetField {
                    field: Field::TcpDst,
                    value: 1,
                    mask: 0xffff,
                }],
                ..add(Match::new().with(Field::EthType, 0x0800))
            }),
            OfError::BacMatchInconsistent,
        ),
        (
            Message::FlowMod(add(Match::new().with(Field::ConjId, 1))),
            OfError::BmcBadField,
        ),
    ];
    for (message, error) in cases {
        let text = format!("{message:?}");
        assert_eq!(t.fail(conn, message), error, "{text}");
    }
    // An error is not answered with another.
    let error = OfError::BrcBadType;
    t.ok(
        conn,
        Message::Error(ErrorMessage::Known {
            error,
            data: Bytes::new(),
        }),
    );
}

#[test]
fn port_statistics_are_read_on_request() {
    let mut t = Talk::new(FailMode::Secure);
    let conn = t.open(ConnKind::Controller, Version::Of13);
    let effects = t.send(conn, Message::PortStatsRequest { port: OfPort::ANY });
    let [Effect::ReadPortStats { xid: 7, ports, .. }] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(ports[..], [OfPort(1), OfPort(2)]);
    t.pass(Duration::from_secs(3));
    let stats = openflow::message::PortStats {
        port: OfPort(2),
        rx_packets: 5,
        tx_packets: 0,
        rx_bytes: 0,
        tx_bytes: 0,
        rx_dropped: 0,
        tx_dropped: 0,
        rx_errors: 0,
        tx_errors: 0,
        rx_frame_errors: 0,
        rx_over_errors: 0,
        rx_crc_errors: 0,
        collisions: 0,
        duration: None,
        ..openflow::message::PortStats::unknown(OfPort(1))
    };
    t.ofproto.handle_port_stats(conn, 7, vec![stats], t.now);
    let effects = t.effects();
    let [
        Effect::Send {
            xid: 7,
            message: Message::PortStatsReply(stats),
            ..
        },
    ] = &effects[..]
    else {
        panic!("{effects:?}");
    };
    assert_eq!(stats[0].duration, Some(Duration::from_secs(3)));
    assert_eq!(stats[0].rx_packets, 5);
}

/// The memory of many deleted rules is freed in pieces, by whoever has the time.
#[test]
fn a_large_deletion_is_freed_later() {
    let mut t = Talk::new(FailMode::Secure);
    let conn = t.open(ConnKind::Service, Version::Of13);
    for (flows, later) in [(10u32, false), (5000, true)] {
        for n in 0..flows {
            let fields = Match::new()
                .with(Field::EthType, 0x0800)
                .with(Field::Ipv4Dst, n.into());
            let table_id = Some(n as u8 % 3);
            t.ok(
                conn,
                Message::FlowMod(FlowMod {
                    fields,
                    table_id,
                    ..FlowMod::add()
                }),
            );
        }
        t.ofproto.publish();
        t.ok(
            conn,
            Message::FlowMod(FlowMod {
                command: FlowModCommand::Delete,
                table_id: Some(TABLE_ALL),
                ..FlowMod::add()
            }),
        );
        assert!(t.ofproto.tables(t.bridge).unwrap().is_empty());
        // The last snapshot still shows them.
        assert!(!t.ofproto.has_retired());
        t.ofproto.free_retired(1000);
        t.ofproto.publish();
        assert_eq!(t.ofproto.has_retired(), later);
        let mut pieces = 0;
        while t.ofproto.has_retired() {
            t.ofproto.free_retired(1000);
            pieces += 1;
        }
        // Three tables, then the rules.
        assert_eq!(pieces, if later { 3 + 5 } else { 0 });
    }
}
