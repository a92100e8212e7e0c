//! What controllers are told of tables, of each other and of each other's requests (1.4 and 1.5).

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use ofproto::conn::{ConnId, ConnKind};
use ofproto::ofproto::{Effect, Ofproto};
use ofproto::snapshot::{BridgeId, FailMode};
use ofproto::table::TableConf;
use openflow::message::{
    AsyncConfig, AsyncMask, BundleFeaturesRequest, BundleFlags, ControllerStatus,
    ControllerStatusReason, ErrorMessage, Flavor, GroupCommand, MeterCommand, Role, RoleMessage,
    TableMod, TableReason, Vacancy,
};
use openflow::text::flow::parse_flow_mod_line;
use openflow::text::{Names, group, meter};
use openflow::{EthAddr, Message, OfError, Version};

struct Rig {
    ofproto: Ofproto,
    bridge: BridgeId,
    now: Instant,
}

impl Rig {
    fn new() -> Rig {
        let now = Instant::now();
        let mut ofproto = Ofproto::new(3);
        let bridge = ofproto
            .bridge_add("br0", 1, EthAddr::ZERO, FailMode::Secure, now)
            .unwrap();
        Rig {
            ofproto,
            bridge,
            now,
        }
    }

    fn open(&mut self, version: Version) -> ConnId {
        let kind = ConnKind::Controller;
        let opened = self.ofproto.conn_open(self.bridge, kind, version, self.now);
        opened.unwrap()
    }

    /// A controller that wants all that there is to be told.
    fn curious(&mut self, version: Version) -> ConnId {
        let conn = self.open(version);
        let all = AsyncMask {
            master: !0,
            slave: !0,
        };
        let config = AsyncConfig {
            packet_in: all,
            port_status: all,
            flow_removed: all,
            role_status: all,
            table_status: all,
            requestforward: all,
            flow_stats: all,
            controller_status: all,
        };
        let flavor = Flavor::Standard;
        assert_eq!(self.send(conn, Message::SetAsync { flavor, config }), []);
        conn
    }

    /// Who is told what.
    fn told(&mut self) -> Vec<(ConnId, Message)> {
        let effects = std::iter::from_fn(|| self.ofproto.poll_effect());
        let sent = effects.filter_map(|effect| match effect {
            Effect::Send { conn, message, .. } => Some((conn, message)),
            _ => None,
        });
        sent.collect()
    }

    fn send(&mut self, conn: ConnId, message: Message) -> Vec<(ConnId, Message)> {
        let raw = Bytes::new();
        self.ofproto
            .handle_message(conn, 7, message, &raw, self.now);
        self.told()
    }

    fn flow(&mut self, conn: ConnId, text: &str) -> Vec<(ConnId, Message)> {
        let fm = parse_flow_mod_line(text, &Names::none()).unwrap().value;
        self.send(conn, Message::FlowMod(fm))
    }
}

fn error(told: &[(ConnId, Message)]) -> OfError {
    match told {
        [(_, Message::Error(ErrorMessage::Known { error, .. }))] => *error,
        other => panic!("{other:?}"),
    }
}

fn table_mod(down: u8, up: u8) -> Message {
    Message::TableMod(TableMod {
        table_id: 5,
        config: TableMod::VACANCY,
        eviction_flags: None,
        vacancy: Some(Vacancy { down, up, now: 0 }),
    })
}

/// Each threshold is told of once, until the other is crossed.
#[test]
fn vacancy() {
    let mut t = Rig::new();
    let conn = t.open(Version::Of14);
    let curious = t.curious(Version::Of14);
    let old = t.curious(Version::Of13);
    let conf = TableConf {
        max_rules: 10,
        ..TableConf::default()
    };
    t.ofproto.set_table_conf(t.bridge, 5, conf, t.now).unwrap();
    assert_eq!(t.send(conn, table_mod(30, 60)), []);
    let mut heard = Vec::new();
    let mut step = |t: &mut Rig, text: &str| {
        for (to, message) in t.flow(conn, text) {
            let Message::TableStatus(status) = message else {
                panic!("{message:?}");
            };
            assert_eq!((to, status.table.table_id), (curious, 5));
            assert_eq!(status.table.config, TableMod::VACANCY);
            let vacancy = status.table.vacancy.unwrap();
            assert_eq!((vacancy.down, vacancy.up), (30, 60));
            heard.push((status.reason, vacancy.now));
        }
    };
    for n in 0..9 {
        step(&mut t, &format!("add table=5,reg0={n},actions=drop"));
    }
    // Between the two, back and forth.
    step(&mut t, "delete table=5,reg0=8");
    step(&mut t, "delete table=5,reg0=7");
    step(&mut t, "add table=5,reg0=7,actions=drop");
    step(&mut t, "add table=5,reg0=8,actions=drop");
    step(&mut t, "delete table=5");
    step(&mut t, "add table=5,actions=drop");
    // Another table.
    for n in 0..9 {
        step(&mut t, &format!("add table=6,reg0={n},actions=drop"));
    }
    assert_eq!(
        heard,
        [
            (TableReason::VacancyDown, 20),
            (TableReason::VacancyUp, 100)
        ]
    );
    let described = t.send(old, Message::TableDescRequest);
    let [(_, Message::TableDescReply(tables))] = described.as_slice() else {
        panic!("{described:?}");
    };
    let vacancy = tables[5].vacancy.unwrap();
    assert_eq!((vacancy.down, vacancy.up, vacancy.now), (30, 60, 90));
    assert_eq!((tables[6].config, tables[6].vacancy), (0, None));
    // Turned off.
    let off = TableMod {
        table_id: 5,
        ..TableMod::default()
    };
    assert_eq!(t.send(conn, Message::TableMod(off)), []);
    for n in 0..9 {
        assert_eq!(
            t.flow(conn, &format!("add table=5,reg0={n},actions=drop")),
            []
        );
    }
}

#[test]
fn requests_are_forwarded() {
    let mut t = Rig::new();
    let names = Names::none();
    let conn = t.curious(Version::Of14);
    let other = t.curious(Version::Of15);
    let (_old, _silent) = (t.curious(Version::Of13), t.open(Version::Of15));
    let add = group::parse("group_id=1,type=all", GroupCommand::Add, &names).unwrap();
    let told = t.send(conn, Message::GroupMod(add.clone()));
    let [(to, Message::RequestForward(forward))] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!((*to, forward.xid), (other, 7));
    assert_eq!(*forward.request, Message::GroupMod(add.clone()));
    // What is refused is not forwarded.
    let told = t.send(conn, Message::GroupMod(add));
    assert_eq!(error(&told), OfError::GmfcGroupExists);
    let add = meter::parse("meter=1,kbps,band=type=drop,rate=5", MeterCommand::Add).unwrap();
    let told = t.send(other, Message::MeterMod(add.clone()));
    let [(to, Message::RequestForward(forward))] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(*to, conn);
    assert_eq!(*forward.request, Message::MeterMod(add));
}

fn role(role: Role, short_id: u16) -> Message {
    Message::RoleRequest(RoleMessage {
        flavor: Flavor::Standard,
        role,
        short_id,
        generation_id: Some(1),
    })
}

fn status(
    target: &str,
    short_id: u16,
    role: Role,
    reason: ControllerStatusReason,
    is_up: bool,
) -> ControllerStatus {
    ControllerStatus {
        short_id,
        role,
        reason,
        is_up,
        uri: Some(target.to_owned()),
        other: Vec::new(),
    }
}

#[test]
fn controllers_hear_of_each_other() {
    use ControllerStatusReason::{Added, Channel, Removed, Request, ShortId};
    const A: &str = "tcp:127.0.0.1:1";
    const B: &str = "tcp:127.0.0.1:2";
    let mut t = Rig::new();
    let a = t.curious(Version::Of15);
    let told = |t: &mut Rig| -> Vec<ControllerStatus> {
        let told = t
            .told()
            .into_iter()
            .filter_map(|(to, message)| match message {
                Message::ControllerStatus(status) if to == a => Some(status),
                _ => None,
            });
        told.collect()
    };
    let targets = |list: &[&str]| list.iter().map(|t| t.to_string()).collect::<BTreeSet<_>>();
    t.ofproto
        .set_controller_targets(t.bridge, targets(&[A, B]))
        .unwrap();
    assert_eq!(
        told(&mut t),
        [
            status(A, 0, Role::Equal, Added, false),
            status(B, 0, Role::Equal, Added, false)
        ]
    );
    t.ofproto.set_conn_target(a, A);
    assert_eq!(told(&mut t), [status(A, 0, Role::Equal, Channel, true)]);
    let b = t.open(Version::Of13);
    t.ofproto.set_conn_target(b, B);
    t.told();

    let reply = t.send(a, role(Role::Master, 5));
    let changes = [
        status(A, 5, Role::Master, ControllerStatusReason::Role, true),
        status(A, 5, Role::Master, ShortId, true),
    ];
    let expected: Vec<Message> = changes.into_iter().map(Message::ControllerStatus).collect();
    let got: Vec<Message> = reply.into_iter().map(|(_, message)| message).collect();
    assert_eq!(got[..2], expected);
    assert!(matches!(&got[2..], [Message::RoleReply(r)] if r.short_id == 5));
    // The other becomes master, and may not have the same number.
    assert_eq!(
        error(&t.send(b, role(Role::Equal, 5))),
        OfError::RrfcIdInUse
    );
    t.ofproto
        .handle_message(b, 1, role(Role::Master, 0), &Bytes::new(), t.now);
    assert_eq!(
        told(&mut t),
        [
            status(A, 5, Role::Slave, ControllerStatusReason::Role, true),
            status(B, 0, Role::Master, ControllerStatusReason::Role, true)
        ]
    );
    let asked = t.send(a, Message::ControllerStatusRequest);
    let [(_, Message::ControllerStatusReply(all))] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    let by_b = status(B, 0, Role::Master, Request, true);
    assert_eq!(*all, [status(A, 5, Role::Slave, Request, true), by_b]);

    t.ofproto.conn_close(b, t.now);
    assert_eq!(told(&mut t), [status(B, 0, Role::Master, Channel, false)]);
    let asked = t.send(a, Message::ControllerStatusRequest);
    let [(_, Message::ControllerStatusReply(all))] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(all[1], status(B, 0, Role::Equal, Request, false));
    t.ofproto
        .set_controller_targets(t.bridge, targets(&[A]))
        .unwrap();
    assert_eq!(told(&mut t), [status(B, 0, Role::Equal, Removed, false)]);
}

#[test]
fn bundle_features() {
    let mut t = Rig::new();
    let conn = t.open(Version::Of15);
    let ask = |t: &mut Rig, flags| {
        let request = BundleFeaturesRequest {
            flags,
            ..BundleFeaturesRequest::default()
        };
        t.send(conn, Message::BundleFeaturesRequest(request))
    };
    let told = ask(&mut t, BundleFeaturesRequest::TIMESTAMP);
    let [(_, Message::BundleFeaturesReply(features))] = told.as_slice() else {
        panic!("{told:?}");
    };
    let both = BundleFlags::ATOMIC | BundleFlags::ORDERED;
    assert_eq!((features.capabilities, features.time), (both, None));
    let told = ask(&mut t, BundleFeaturesRequest::SET_SCHED);
    assert_eq!(error(&told), OfError::BfcSchedNotSupported);
}
