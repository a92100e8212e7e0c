//! Bundles and flow monitors: messages in, effects out, in virtual time.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ofproto::conn::{ConnId, ConnKind};
use ofproto::ofproto::{Effect, Ofproto};
use ofproto::port::{PortConf, PortLink};
use ofproto::snapshot::{BridgeId, FailMode};
use openflow::message::{
    BundleAdd, BundleControl, BundleControlKind, BundleFlags, ErrorMessage, FlowMod,
    FlowModCommand, FlowMonitorCommand, FlowMonitorFlags, FlowMonitorRequest, FlowStatsRequest,
    FlowUpdate, GROUP_ANY, NO_BUFFER, PacketOut, PortConfig, PortFeatures, PortMod, TABLE_ALL,
};
use openflow::text::flow::parse_flow_mod_line;
use openflow::text::group::parse_line as parse_group_line;
use openflow::text::{Names, message_bytes};
use openflow::{Action, Match, Message, OfError, OfPort, Version, codec};
use packet::{DpPort, EthAddr};
use proptest::prelude::*;

const HW: EthAddr = EthAddr([2, 0, 0, 0, 0, 9]);
const BOTH: BundleFlags = BundleFlags(3);

struct Talk {
    ofproto: Ofproto,
    bridge: BridgeId,
    now: Instant,
}

impl Talk {
    /// A bridge without flows, with ports 1 and 2.
    fn new() -> Talk {
        let now = Instant::now();
        let mut ofproto = Ofproto::new(1);
        let bridge = ofproto
            .bridge_add("br0", 0x1234, HW, FailMode::Secure, now)
            .unwrap();
        for n in 1..3 {
            let link = PortLink::Datapath(DpPort(10 + n));
            let mut port = PortConf::new(OfPort(n), &format!("p{n}"), link);
            port.hw_addr = HW;
            ofproto.port_add(bridge, port, now).unwrap();
        }
        Talk {
            ofproto,
            bridge,
            now,
        }
    }

    fn open(&mut self, version: Version) -> ConnId {
        self.ofproto
            .conn_open(self.bridge, ConnKind::Service, version, self.now)
            .unwrap()
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.ofproto.poll_effect()).collect()
    }

    fn version(&self, conn: ConnId) -> Version {
        self.ofproto.conn(conn).unwrap().version
    }

    fn send(&mut self, conn: ConnId, message: Message) -> Vec<Effect> {
        self.send_xid(conn, 7, message)
    }

    fn send_xid(&mut self, conn: ConnId, xid: u32, message: Message) -> Vec<Effect> {
        let raw = codec::encode(&message, self.version(conn), xid).map(Bytes::from);
        self.ofproto
            .handle_message(conn, xid, message, &raw.unwrap_or_default(), self.now);
        self.effects()
    }

    fn control(&mut self, conn: ConnId, kind: BundleControlKind, flags: BundleFlags) -> Said {
        said(&self.send(
            conn,
            Message::BundleControl(BundleControl {
                bundle_id: 1,
                kind,
                flags,
            }),
        ))
    }

    fn add(&mut self, conn: ConnId, xid: u32, message: Message) -> Vec<Effect> {
        let raw = codec::encode(&message, self.version(conn), xid).unwrap();
        let add = BundleAdd {
            bundle_id: 1,
            flags: BOTH,
            message: Box::new(message),
            raw: raw.into(),
        };
        self.send_xid(conn, xid, Message::BundleAdd(add))
    }

    /// Adds flows and groups, one to a line.
    fn add_flows(&mut self, conn: ConnId, text: &str) {
        for (n, line) in (100..).zip(text.lines()) {
            assert_eq!(self.add(conn, n, modification(line)), [], "{line}");
        }
    }

    fn commit(&mut self, conn: ConnId) -> Said {
        self.control(conn, BundleControlKind::CommitRequest, BOTH)
    }

    /// The flows and groups, sorted.
    fn dump(&self) -> Vec<String> {
        let tables = self.ofproto.tables(self.bridge).unwrap();
        let rules = tables.stats(&FlowStatsRequest::all()).unwrap();
        let mut lines: Vec<String> = rules
            .iter()
            .map(|r| {
                format!(
                    "{} {} {:?} {:?} {:#x}",
                    r.table_id,
                    r.priority,
                    r.to_match(),
                    r.actions,
                    r.cookie
                )
            })
            .collect();
        let groups = &self.ofproto.bridge(self.bridge).unwrap().groups;
        lines.extend(groups.iter().map(|g| {
            let buckets: Vec<_> = g.buckets.iter().map(|b| &b.bucket).collect();
            format!("group {} {:?} {buckets:?}", g.id, g.group_type)
        }));
        lines.sort();
        lines
    }

    /// What a connection is told, as text.
    fn told(&self, effects: &[Effect], to: ConnId, version: Version) -> String {
        let mut out = String::new();
        for effect in effects {
            if let Effect::Send { conn, xid, message } = effect
                && *conn == to
            {
                let bytes = codec::encode(message, version, *xid).unwrap();
                out.push_str(&message_bytes::print(&bytes, &Names::none(), 1));
            }
        }
        out
    }
}

/// What a bundle control message was answered.
#[derive(Clone, PartialEq, Debug)]
enum Said {
    Done(BundleControlKind),
    Error(OfError),
    /// The error of a message in it, with its transaction id, and that of the whole.
    Failed(u32, OfError, OfError),
}

fn said(effects: &[Effect]) -> Said {
    match effects {
        [
            ..,
            Effect::Send {
                message: Message::BundleControl(control),
                ..
            },
        ] => Said::Done(control.kind),
        [effect] => Said::Error(error(effect).1),
        [first, second] => {
            let (xid, inner) = error(first);
            Said::Failed(xid, inner, error(second).1)
        }
        other => panic!("{other:?}"),
    }
}

fn error(effect: &Effect) -> (u32, OfError) {
    match effect {
        Effect::Send {
            xid,
            message: Message::Error(ErrorMessage::Known { error, .. }),
            ..
        } => (*xid, *error),
        other => panic!("{other:?}"),
    }
}

fn flow_mod(line: &str) -> Message {
    let mut fm = parse_flow_mod_line(line, &Names::none()).unwrap().value;
    // As the encoding of 1.3 and later has it.
    fm.modify_cookie = false;
    Message::FlowMod(fm)
}

/// A flow-mod, or a group-mod behind the word for it.
fn modification(line: &str) -> Message {
    match line.strip_prefix("group ") {
        Some(line) => Message::GroupMod(parse_group_line(line, &Names::none()).unwrap()),
        None => flow_mod(line),
    }
}

fn port_down(port: u32, hw_addr: EthAddr) -> Message {
    Message::PortMod(PortMod {
        port: OfPort(port),
        hw_addr,
        config: PortConfig::PORT_DOWN,
        mask: PortConfig::PORT_DOWN,
        advertise: PortFeatures(0),
        other: Vec::new(),
    })
}

use BundleControlKind::*;

/// The answers that ovs-vswitchd 3.1 gave to the same conversations.
#[test]
fn controls_are_answered_as_open_vswitch_does() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    // Opened twice: the bundle is gone.
    assert_eq!(t.control(c, OpenRequest, BOTH), Said::Done(OpenReply));
    assert_eq!(
        t.control(c, OpenRequest, BOTH),
        Said::Error(OfError::BfcBadId)
    );
    assert_eq!(t.commit(c), Said::Error(OfError::BfcBadId));
    // Not opened, not closed; then with other flags.
    t.add_flows(c, "add in_port=1,actions=2");
    assert_eq!(t.commit(c), Said::Done(CommitReply));
    assert_eq!(t.dump().len(), 1);
    t.add_flows(c, "add in_port=2,actions=2");
    let other = t.control(c, CommitRequest, BundleFlags::ATOMIC);
    assert_eq!(other, Said::Error(OfError::BfcBadFlags));
    assert_eq!(t.commit(c), Said::Error(OfError::BfcBadId));
    assert_eq!(t.dump().len(), 1);
    // Closed twice.
    assert_eq!(t.control(c, OpenRequest, BOTH), Said::Done(OpenReply));
    assert_eq!(t.control(c, CloseRequest, BOTH), Said::Done(CloseReply));
    let again = t.control(c, CloseRequest, BOTH);
    assert_eq!(again, Said::Error(OfError::BfcBundleClosed));
    let gone = t.control(c, DiscardRequest, BOTH);
    assert_eq!(gone, Said::Error(OfError::BfcBadId));
    // Closed, then added to.
    assert_eq!(t.control(c, OpenRequest, BOTH), Said::Done(OpenReply));
    assert_eq!(t.control(c, CloseRequest, BOTH), Said::Done(CloseReply));
    let added = t.add(c, 3, flow_mod("add actions=1"));
    assert_eq!(error(&added[0]), (3, OfError::BfcBundleClosed));
    // A reply is no request.
    let reply = t.control(c, OpenReply, BOTH);
    assert_eq!(reply, Said::Error(OfError::BfcBadType));
    // Discarded.
    t.add_flows(c, "add in_port=2,actions=2");
    let discarded = t.control(c, DiscardRequest, BundleFlags(0));
    assert_eq!(discarded, Said::Done(DiscardReply));
    assert_eq!(t.dump().len(), 1);
}

#[test]
fn a_wrong_message_leaves_nothing_half_done() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    t.send(c, flow_mod("add priority=5,in_port=1,cookie=1,actions=2"));
    let before = t.dump();
    let published = t.ofproto.publish().version;
    t.add_flows(
        c,
        "add priority=5,in_port=1,cookie=2,actions=drop\n\
         add priority=6,tcp,actions=1\n\
         modify in_port=1,actions=1\n\
         delete tcp\n\
         delete in_port=1\n\
         add check_overlap,priority=7,udp,actions=1\n\
         add check_overlap,priority=7,in_port=2,actions=1\n\
         add priority=8,actions=1",
    );
    assert_eq!(t.add(c, 200, port_down(1, HW)), []);
    let failed = Said::Failed(106, OfError::FmfcOverlap, OfError::BfcMsgFailed);
    assert_eq!(t.commit(c), failed);
    assert_eq!(t.dump(), before);
    assert_eq!(t.ofproto.publish().version, published, "nothing to publish");
    // The bundle is gone.
    assert_eq!(t.commit(c), Said::Error(OfError::BfcBadId));
}

#[test]
fn ports_and_packets_go_with_the_flows() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    let packet = Message::PacketOut(PacketOut {
        metadata: Match::new(),
        buffer_id: NO_BUFFER,
        in_port: OfPort(1),
        actions: vec![Action::output(OfPort(2))],
        data: Bytes::from_static(&[0; 14]),
    });
    let config = |t: &Talk| {
        let port = t.ofproto.bridge(t.bridge).unwrap().port(OfPort(1)).unwrap();
        port.config
    };
    // The second port-mod names the wrong address.
    t.add(c, 1, port_down(1, HW));
    t.add(c, 2, packet.clone());
    t.add(c, 3, port_down(2, EthAddr([9; 6])));
    let failed = Said::Failed(3, OfError::PmfcBadHwAddr, OfError::BfcMsgFailed);
    assert_eq!(t.commit(c), failed);
    assert_eq!(config(&t), PortConfig(0));

    t.add(c, 1, port_down(1, HW));
    t.add(c, 2, packet);
    t.add(c, 3, flow_mod("add actions=drop"));
    let commit = Message::BundleControl(BundleControl {
        bundle_id: 1,
        kind: CommitRequest,
        flags: BOTH,
    });
    let effects = t.send(c, commit);
    assert!(matches!(
        effects.as_slice(),
        [
            Effect::ConfigurePort { .. },
            Effect::PacketOut(_),
            Effect::Send { .. }
        ]
    ));
    assert_eq!(config(&t), PortConfig::PORT_DOWN);
    assert_eq!(t.dump().len(), 1);
}

#[test]
fn groups_go_with_the_flows() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    t.add_flows(
        c,
        "group add group_id=1,type=all,bucket=actions=output:1\n\
         group add group_id=2,type=indirect,bucket=actions=group:1\n\
         add in_port=1,send_flow_rem,actions=group:2",
    );
    assert_eq!(t.commit(c), Said::Done(CommitReply));
    let before = t.dump();
    assert_eq!(before.len(), 3);
    // Deleting groups takes flows along; all of it comes back when a later message is wrong.
    let published = t.ofproto.publish().version;
    t.add_flows(
        c,
        "group mod group_id=1,type=select,bucket=weight:5,actions=output:2\n\
         add in_port=2,actions=group:1\n\
         group delete group_id=2\n\
         group delete\n\
         add in_port=2,actions=group:1",
    );
    let failed = Said::Failed(104, OfError::BacBadOutGroup, OfError::BfcMsgFailed);
    assert_eq!(t.commit(c), failed);
    assert_eq!(t.dump(), before);
    assert_eq!(t.ofproto.publish().version, published, "nothing to publish");

    let same = "group add group_id=2,type=all";
    t.add_flows(c, &format!("group delete group_id=1\n{same}"));
    let failed = Said::Failed(101, OfError::GmfcGroupExists, OfError::BfcMsgFailed);
    assert_eq!(t.commit(c), failed);
    assert_eq!(t.dump(), before);

    let listener = t
        .ofproto
        .conn_open(t.bridge, ConnKind::Controller, Version::Of13, t.now)
        .unwrap();
    t.add_flows(c, &format!("group delete group_id=2\n{same}"));
    let commit = Message::BundleControl(BundleControl {
        bundle_id: 1,
        kind: CommitRequest,
        flags: BOTH,
    });
    let effects = t.send(c, commit);
    let told = t.told(&effects, listener, Version::Of13);
    assert!(
        told.starts_with("OFPT_FLOW_REMOVED (OF1.3) (xid=0x0): in_port=1 reason=group_delete"),
        "{told}"
    );
    assert_eq!(t.dump().len(), 2);
    assert!(t.ofproto.publish().version > published);
}

#[test]
fn bundles_end_with_time_and_connection() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    assert_eq!(t.control(c, OpenRequest, BOTH), Said::Done(OpenReply));
    let at = t.ofproto.poll_timeout().unwrap();
    assert_eq!(at, t.now + Duration::from_secs(10));
    t.now += Duration::from_secs(5);
    t.add_flows(c, "add actions=1");
    t.now = at;
    t.ofproto.handle_timeout(t.now);
    assert_eq!(t.effects(), [], "it was used in between");
    t.now += Duration::from_secs(5);
    t.ofproto.handle_timeout(t.now);
    let effects = t.effects();
    assert_eq!(error(&effects[0]), (7, OfError::BfcTimeout));
    assert_eq!(t.commit(c), Said::Error(OfError::BfcBadId));
    // Another connection's bundle of the same number is another bundle.
    t.add_flows(c, "add actions=1");
    let d = t.open(Version::Of13);
    assert_eq!(t.commit(d), Said::Error(OfError::BfcBadId));
    t.ofproto.conn_close(c, t.now);
    assert_eq!(t.ofproto.poll_timeout(), None);
    // There is an end to how many a connection may have.
    for id in 0..100 {
        let open = Message::BundleControl(BundleControl {
            bundle_id: id,
            kind: OpenRequest,
            flags: BOTH,
        });
        let answer = said(&t.send(d, open));
        match id < 64 {
            true => assert_eq!(answer, Said::Done(OpenReply)),
            false => assert_eq!(answer, Said::Error(OfError::BfcOutOfBundles)),
        }
    }
}

fn any_modification() -> impl Strategy<Value = String> {
    prop_oneof![3 => any_flow_mod(), 1 => any_group_mod()]
}

fn any_group_mod() -> impl Strategy<Value = String> {
    let command = prop::sample::select(vec![
        "add",
        "add",
        "add",
        "mod",
        "add_or_mod",
        "delete",
        "insert_bucket",
        "remove_bucket",
    ]);
    let action = prop::sample::select(vec!["output:1", "output:2", "group:1", "group:2"]);
    (command, 1..4u32, action).prop_map(|(command, id, action)| match command {
        "delete" if id == 3 => "group delete".to_owned(),
        "delete" => format!("group delete group_id={id}"),
        "insert_bucket" => format!(
            "group insert_bucket group_id={id},command_bucket_id=last,\
             bucket=bucket_id={},actions={action}",
            id + 5
        ),
        "remove_bucket" => format!("group remove_bucket group_id={id},command_bucket_id=first"),
        _ => format!("group {command} group_id={id},type=all,bucket=actions={action}"),
    })
}

fn any_flow_mod() -> impl Strategy<Value = String> {
    let fields = prop::sample::select(vec!["in_port=1", "in_port=2", "tcp", "udp", "arp", "ip"]);
    let command = prop::sample::select(vec![
        "add",
        "add",
        "add",
        "add check_overlap",
        "modify",
        "modify_strict",
        "delete",
        "delete_strict",
    ]);
    (command, fields, 0..2u8, 0..2u16, 0..5u8).prop_map(
        |(command, fields, table, priority, output)| {
            let table = if output == 2 { table + 253 } else { table };
            let action = match output {
                3 | 4 => format!("group:{}", output - 2),
                _ => (output + 1).to_string(),
            };
            match command {
                "delete" => format!("delete table={table},{fields}"),
                "delete_strict" => {
                    format!("delete_strict table={table},priority={priority},{fields}")
                }
                _ => {
                    let (word, flag) = command.split_once(' ').unwrap_or((command, ""));
                    format!(
                        "{word} {flag},table={table},priority={priority},{fields},actions={action}"
                    )
                }
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// After each bundle the tables are as if all its messages had come one by one, or, when one
    /// of those would have failed, as before.
    #[test]
    fn all_or_nothing(bundles in prop::collection::vec(prop::collection::vec(any_modification(), 1..8), 1..6)) {
        let mut t = Talk::new();
        let c = t.open(Version::Of15);
        let mut done: Vec<String> = Vec::new();
        for bundle in bundles {
            let mut refused = false;
            for (xid, line) in (1..).zip(&bundle) {
                refused |= !t.add(c, xid, modification(line)).is_empty();
            }
            if refused {
                t.control(c, DiscardRequest, BOTH);
                continue;
            }
            let committed = matches!(t.commit(c), Said::Done(_));
            let mut reference = Talk::new();
            let d = reference.open(Version::Of15);
            for line in &done {
                prop_assert_eq!(reference.send(d, modification(line)), []);
            }
            let before = reference.dump();
            let all_good = bundle.iter().all(|l| reference.send(d, modification(l)).is_empty());
            prop_assert_eq!(committed, all_good, "{:?}", bundle);
            prop_assert_eq!(t.dump(), if all_good { reference.dump() } else { before });
            if all_good {
                done.extend(bundle);
            }
        }
    }
}

fn monitor(id: u32, own: bool) -> FlowMonitorRequest {
    FlowMonitorRequest {
        id,
        command: FlowMonitorCommand::Add,
        flags: FlowMonitorFlags {
            initial: true,
            add: true,
            delete: true,
            modify: true,
            actions: true,
            own,
        },
        out_port: OfPort::ANY,
        out_group: GROUP_ANY,
        table_id: TABLE_ALL,
        fields: Match::new(),
    }
}

/// The texts are those of ovs-ofctl 3.1 on a stock switch with the same flows.
#[test]
fn changes_are_told() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    let other = t.open(Version::Of13);
    t.send(other, flow_mod("add in_port=2,priority=7,actions=1"));
    let reply = t.send(c, Message::FlowMonitorRequest(vec![monitor(0, false)]));
    assert_eq!(
        t.told(&reply, c, Version::Of13),
        "ONFST_FLOW_MONITOR reply (OF1.3) (xid=0x7):\n \
         event=ADDED table=0 cookie=0 in_port=2 actions=output:1\n"
    );
    let mut told = String::new();
    for line in [
        "add in_port=1,cookie=0x10,actions=output:2",
        "add idle_timeout=50,hard_timeout=60,in_port=1,cookie=0x11,actions=output:1",
        "modify in_port=1,actions=output:2",
        "modify in_port=1,actions=output:2",
        "add table=3,reg0=5,actions=goto_table:4",
        "delete",
    ] {
        let effects = t.send(other, flow_mod(line));
        told.push_str(&t.told(&effects, c, Version::Of13));
    }
    const HEAD: &str = "ONFST_FLOW_MONITOR reply (OF1.3) (xid=0x0):";
    assert_eq!(
        told,
        format!(
            "{HEAD}\n event=ADDED table=0 cookie=0x10 in_port=1 actions=output:2\n\
             {HEAD}\n event=ADDED table=0 idle_timeout=50 hard_timeout=60 cookie=0x11 in_port=1 \
             actions=output:1\n\
             {HEAD}\n event=MODIFIED table=0 idle_timeout=50 hard_timeout=60 cookie=0x11 in_port=1 \
             actions=output:2\n\
             {HEAD}\n event=ADDED table=3 cookie=0 reg0=0x5 actions=goto_table:4\n\
             {HEAD}\n event=DELETED reason=delete table=0 idle_timeout=50 hard_timeout=60 \
             cookie=0x11 in_port=1 actions=output:2\n \
             event=DELETED reason=delete table=0 cookie=0 in_port=2 actions=output:1\n \
             event=DELETED reason=delete table=3 cookie=0 reg0=0x5 actions=goto_table:4\n"
        )
    );
    // Its own changes are told in short.
    let own = t.send_xid(c, 9, flow_mod("add actions=drop"));
    assert_eq!(
        t.told(&own, c, Version::Of13),
        format!("{HEAD}\n event=ABBREV xid=0x9\n")
    );
}

#[test]
fn monitors_select() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    let requests = vec![FlowMonitorRequest {
        table_id: 3,
        out_port: OfPort(2),
        fields: match flow_mod("add in_port=1,actions=drop") {
            Message::FlowMod(fm) => fm.fields,
            _ => Match::new(),
        },
        ..monitor(5, true)
    }];
    let request = Message::FlowMonitorRequest(requests.clone());
    assert_eq!(t.send(c, request.clone()).len(), 1);
    // The number is taken, and nothing else of that request happens.
    let both = Message::FlowMonitorRequest(vec![monitor(6, true), monitor(5, true)]);
    let refused = t.send(c, both);
    assert_eq!(error(&refused[0]).1, OfError::MofcMonitorExists);
    let heard = |t: &mut Talk, line: &str| {
        let effects = t.send(c, flow_mod(line));
        effects.len()
    };
    assert_eq!(heard(&mut t, "add table=3,in_port=1,tcp,actions=2"), 1);
    assert_eq!(heard(&mut t, "add table=3,in_port=1,udp,actions=1"), 0);
    assert_eq!(heard(&mut t, "add table=3,in_port=2,udp,actions=2"), 0);
    assert_eq!(heard(&mut t, "add table=2,in_port=1,actions=2"), 0);
    // It did output there.
    assert_eq!(heard(&mut t, "modify table=3,in_port=1,tcp,actions=1"), 1);
    let cancel = Message::FlowMonitorCancel { id: 5 };
    assert_eq!(t.send(c, cancel.clone()), []);
    let unknown = t.send(c, cancel);
    assert_eq!(error(&unknown[0]).1, OfError::MofcUnknownMonitor);
    assert_eq!(heard(&mut t, "delete table=3"), 0);
    let bad_table = Message::FlowMonitorRequest(vec![FlowMonitorRequest {
        table_id: 254,
        ..monitor(7, true)
    }]);
    let refused = t.send(c, bad_table);
    assert_eq!(error(&refused[0]).1, OfError::BrcBadTableId);
}

/// A slow reader is told to wait, of deletions of what it knows, and afterwards of what is there.
#[test]
fn slow_readers_are_paused() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    let other = t.open(Version::Of13);
    let tell = |t: &mut Talk, line: &str| {
        t.now += Duration::from_millis(1);
        let effects = t.send(other, flow_mod(line));
        t.told(&effects, c, Version::Of13)
    };
    t.send(c, Message::FlowMonitorRequest(vec![monitor(0, true)]));
    tell(&mut t, "add in_port=1,actions=1");
    tell(&mut t, "add in_port=2,actions=1");
    tell(&mut t, "add tcp,actions=1");
    t.ofproto.set_congested(c, true);
    let last = tell(&mut t, "add udp,actions=1");
    assert!(
        last.ends_with("ONFT_FLOW_MONITOR_PAUSED (OF1.3) (xid=0x0):\n"),
        "{last}"
    );
    assert_eq!(tell(&mut t, "add arp,actions=1"), "");
    assert_eq!(tell(&mut t, "delete arp"), "", "it never heard of that one");
    assert_eq!(tell(&mut t, "modify in_port=1,actions=2"), "");
    assert_eq!(tell(&mut t, "add ip,actions=2"), "");
    assert!(tell(&mut t, "delete in_port=2").contains("event=DELETED"));
    t.ofproto.set_congested(c, false);
    let effects = t.effects();
    assert_eq!(
        t.told(&effects, c, Version::Of13),
        "ONFST_FLOW_MONITOR reply (OF1.3) (xid=0x0):\n \
         event=MODIFIED table=0 cookie=0 in_port=1 actions=output:2\n \
         event=ADDED table=0 cookie=0 ip actions=output:2\n\
         ONFT_FLOW_MONITOR_RESUMED (OF1.3) (xid=0x0):\n"
    );
    assert!(tell(&mut t, "add arp,actions=1").contains("event=ADDED"));
}

#[test]
fn committed_bundles_are_told_message_by_message() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    let watcher = t.open(Version::Of13);
    t.send(watcher, Message::FlowMonitorRequest(vec![monitor(0, true)]));
    t.add_flows(
        c,
        "add in_port=1,actions=1\nadd in_port=2,actions=1\ndelete",
    );
    let effects = t.send(
        c,
        Message::BundleControl(BundleControl {
            bundle_id: 1,
            kind: CommitRequest,
            flags: BOTH,
        }),
    );
    let updates: Vec<&FlowUpdate> = effects
        .iter()
        .filter_map(|e| match e {
            Effect::Send {
                conn,
                message: Message::FlowMonitorReply(updates),
                ..
            } if *conn == watcher => Some(updates),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(updates.len(), 4);
    // A failed one is not told of at all.
    t.add_flows(c, "add in_port=1,actions=1\nadd check_overlap,in_port=1,tcp,actions=1\nadd check_overlap,in_port=1,udp,actions=1\nadd check_overlap,in_port=1,ip,actions=1");
    let failed = t.commit(c);
    assert!(matches!(failed, Said::Failed(..)), "{failed:?}");
}

#[test]
fn a_flow_mod_with_a_buffer_is_done_and_refused() {
    let mut t = Talk::new();
    let c = t.open(Version::Of13);
    let fm = Message::FlowMod(FlowMod {
        command: FlowModCommand::Add,
        table_id: Some(0),
        buffer_id: 5,
        ..FlowMod::add()
    });
    let effects = t.send(c, fm.clone());
    assert_eq!(error(&effects[0]).1, OfError::BrcBufferUnknown);
    assert_eq!(t.dump().len(), 1);
    t.send(c, flow_mod("delete"));
    t.add(c, 4, fm);
    let commit = Message::BundleControl(BundleControl {
        bundle_id: 1,
        kind: CommitRequest,
        flags: BOTH,
    });
    let effects = t.send(c, commit);
    assert_eq!(error(&effects[0]), (4, OfError::BrcBufferUnknown));
    assert_eq!(said(&effects[1..]), Said::Done(CommitReply));
    assert_eq!(t.dump().len(), 1);
}
