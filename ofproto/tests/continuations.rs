//! Packets that pause for a controller and go on: as if they had not paused.

use std::time::Instant;

use bytes::Bytes;
use dpif::edit::Editor;
use dpif::{DpOp, Packet, Upcall, UpcallKind};
use ofproto::conn::{ConnId, ConnKind};
use ofproto::ofproto::{Effect, Ofproto};
use ofproto::port::{PortConf, PortLink};
use ofproto::snapshot::{BridgeId, FailMode};
use ofproto::upcall::{self, Handled, Settings};
use openflow::codec::{self, Dialect};
use openflow::message::{
    ErrorMessage, MeterCommand, MeterMod, MeterStats, PacketIn, PacketInFormat, Role, RoleMessage,
};
use openflow::text::flow::parse_flow_mod_line;
use openflow::text::{Names, group, message_bytes, meter};
use openflow::{EthAddr, Message, OfError, OfPort, Version};
use packet::{Action, DpPort};
use proptest::prelude::*;

struct Rig {
    ofproto: Ofproto,
    bridge: BridgeId,
    conn: ConnId,
    version: Version,
    now: Instant,
    /// Where packets went, and as what.
    sent: Vec<(DpPort, Vec<u8>)>,
    /// Packet-ins as they were encoded.
    heard: Vec<Vec<u8>>,
}

impl Rig {
    /// A bridge with ports 1 to 6 and a controller that wants packets with all there is about them.
    fn new(version: Version) -> Rig {
        let now = Instant::now();
        let mut ofproto = Ofproto::new(0x1234_5678);
        let bridge = ofproto
            .bridge_add("br0", 1, EthAddr::ZERO, FailMode::Secure, now)
            .unwrap();
        for n in 1..=6 {
            let link = PortLink::Datapath(DpPort(10 + n));
            let port = PortConf::new(OfPort(n), &format!("p{n}"), link);
            ofproto.port_add(bridge, port, now).unwrap();
        }
        let kind = ConnKind::Controller;
        let conn = ofproto.conn_open(bridge, kind, version, now).unwrap();
        let mut rig = Rig {
            ofproto,
            bridge,
            conn,
            version,
            now,
            sent: Vec::new(),
            heard: Vec::new(),
        };
        rig.send(Message::SetPacketInFormat(PacketInFormat::Nxt2));
        rig
    }

    fn dialect(&self) -> Dialect {
        Dialect {
            packet_in_format: PacketInFormat::Nxt2,
            ..Dialect::from(self.version)
        }
    }

    fn send(&mut self, message: Message) -> Option<OfError> {
        let raw = Bytes::new();
        self.ofproto
            .handle_message(self.conn, 1, message, &raw, self.now);
        self.settle()
    }

    /// Does what is to be done; returns an error that the controller got.
    fn settle(&mut self) -> Option<OfError> {
        let mut refused = None;
        while let Some(effect) = self.ofproto.poll_effect() {
            match effect {
                Effect::Send { message, .. } => match message {
                    Message::Error(ErrorMessage::Known { error, .. }) => refused = Some(error),
                    Message::PacketIn(_) => {
                        let bytes = codec::encode(&message, self.dialect(), 0).unwrap();
                        self.heard.push(bytes);
                    }
                    _ => {}
                },
                Effect::PacketOut(request) => {
                    let snapshot = self.ofproto.publish();
                    let handled = upcall::packet_out(&snapshot, &request, SETTINGS, self.now);
                    self.handled(handled);
                }
                _ => {}
            }
        }
        refused
    }

    fn handled(&mut self, handled: Handled) {
        for op in &handled.ops {
            let DpOp::Execute {
                packet, actions, ..
            } = op
            else {
                continue;
            };
            let mut editor = Editor::new(packet.clone());
            for action in actions {
                match action {
                    Action::Output(port) => self.sent.push((*port, editor.packet.data.clone())),
                    action => drop(editor.apply(action)),
                }
            }
        }
        for effect in handled.effects {
            if let upcall::Effect::PacketIn { event, packet } = effect {
                self.ofproto.handle_packet_in(&event, &packet, self.now);
            }
        }
    }

    fn flow(&mut self, text: &str) {
        let fm = parse_flow_mod_line(text, &Names::none()).unwrap().value;
        assert_eq!(self.send(Message::FlowMod(fm)), None, "{text}");
    }

    fn group(&mut self, text: &str) {
        let gm = group::parse_line(text, &Names::none()).unwrap();
        assert_eq!(self.send(Message::GroupMod(gm)), None, "{text}");
    }

    /// A packet comes in on port 1.
    fn give(&mut self) {
        let packet = Packet {
            data: frame(),
            ..Packet::default()
        };
        let upcall = Upcall {
            kind: UpcallKind::Miss,
            key: dpif::sim::key_of(DpPort(11), &packet).unwrap(),
            packet,
        };
        let snapshot = self.ofproto.publish();
        let handled = upcall::handle(&snapshot, &[upcall], SETTINGS, self.now);
        self.handled(handled);
        assert_eq!(self.settle(), None);
    }

    fn packet_in(&self, bytes: &[u8]) -> PacketIn {
        match codec::decode(bytes, &self.dialect()).unwrap().message {
            Message::PacketIn(packet_in) => packet_in,
            other => panic!("{other:?}"),
        }
    }

    /// The packet comes back over the wire.
    fn resume(&mut self, packet_in: PacketIn) -> Option<OfError> {
        let bytes = codec::encode(&Message::Resume(packet_in), self.dialect(), 1).unwrap();
        let decoded = codec::decode(&bytes, &self.dialect()).unwrap();
        self.send(decoded.message)
    }

    /// Resumes all that pauses, until nothing does; returns how often.
    fn resume_all(&mut self) -> usize {
        let mut n = 0;
        while !self.heard.is_empty() {
            for bytes in std::mem::take(&mut self.heard) {
                let packet_in = self.packet_in(&bytes);
                if packet_in.continuation.is_some() {
                    n += 1;
                    assert_eq!(self.resume(packet_in), None);
                }
            }
        }
        n
    }

    fn took(&mut self) -> Vec<(DpPort, Vec<u8>)> {
        let mut sent = std::mem::take(&mut self.sent);
        sent.sort();
        sent
    }
}

const SETTINGS: Settings = Settings {
    max_actions: 64,
    install: false,
};

/// UDP in IPv4.
fn frame() -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[14..24].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17]);
    frame[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    frame[34..40].copy_from_slice(&[0, 1, 0, 2, 0, 20]);
    frame
}

/// The flows of a pipeline in which `pause` may stand in many places.
fn pipeline(rig: &mut Rig, pauses: &[bool]) {
    let mut pauses = pauses.iter();
    let mut next = || match pauses.next() {
        Some(true) => "controller(pause,userdata=00.01),",
        _ => "",
    };
    let p = [(); 12].map(|()| next());
    rig.group("add group_id=1,type=all,bucket=actions=resubmit(,10),bucket=actions=resubmit(,11)");
    rig.flow(&format!(
        "add table=10,ip,actions={}mod_nw_tos:4,{}output:2",
        p[0], p[1]
    ));
    rig.flow(&format!("add table=11,actions={}output:3", p[2]));
    rig.flow(&format!(
        "add table=0,cookie=5,actions={}push:NXM_OF_ETH_SRC[],mod_dl_src:02:00:00:00:00:09,\
         load:7->NXM_NX_REG1[],{}resubmit(,1),{}pop:NXM_OF_ETH_SRC[],group:1,{}output:4",
        p[3], p[4], p[5], p[6]
    ));
    rig.flow(&format!(
        "add table=1,reg1=7,actions={}load:8->NXM_NX_REG1[],{}output:5,{}resubmit(,2)",
        p[7], p[8], p[9]
    ));
    let rest = match rig.version {
        Version::Of10 => "resubmit(,3)",
        _ => "clear_actions,write_actions(mod_nw_ttl:9,output:2),write_metadata:5/7,goto_table:3",
    };
    rig.flow(&format!(
        "add table=2,ip,reg1=8,actions={}mod_nw_ttl:3,{}{rest}",
        p[10], p[11]
    ));
    rig.flow("add table=3,ip,metadata=5,actions=dec_ttl,output:6");
    rig.flow("add table=3,metadata=0,actions=output:6");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn a_pause_changes_nothing(pauses in prop::collection::vec(any::<bool>(), 12), version in 0..4usize) {
        let version = [Version::Of10, Version::Of13, Version::Of14, Version::Of15][version];
        let mut without = Rig::new(version);
        pipeline(&mut without, &[]);
        without.give();
        let wanted = without.took();
        prop_assert!(wanted.len() >= 5, "{wanted:?}");
        let mut rig = Rig::new(version);
        pipeline(&mut rig, &pauses);
        rig.give();
        let resumed = rig.resume_all();
        prop_assert_eq!(rig.took(), wanted);
        let paused = pauses.iter().filter(|p| **p).count();
        prop_assert!((resumed > 0) == (paused > 0), "{resumed} of {paused}");
    }
}

/// Cookie, table and user data are those of the action; the text is what ovs-ofctl 3.1 shows for
/// the same bytes.
#[test]
fn what_the_controller_gets() {
    let mut rig = Rig::new(Version::Of10);
    rig.flow(
        "add table=0,cookie=0x11,actions=push:NXM_NX_REG0[],load:5->NXM_NX_REG2[],resubmit(,1),\
         output:2",
    );
    rig.flow("add table=1,cookie=0x12,actions=controller(pause,userdata=0a.0b,id=0),output:3");
    rig.give();
    assert_eq!(rig.took(), []);
    let bytes = rig.heard[0].clone();
    let text = message_bytes::print(&bytes, &Names::none(), 0);
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "NXT_PACKET_IN2 (xid=0x0): table_id=1 cookie=0x12 total_len=60 reg2=0x5,in_port=1 \
         (via action) data_len=60 (unbuffered)"
    );
    assert_eq!(lines.next().unwrap(), " userdata=0a.0b");
    assert!(lines.next().unwrap().starts_with(" continuation.bridge="));
    assert_eq!(
        lines.next().unwrap(),
        " continuation.stack=(top) 0 (bottom)"
    );
    assert_eq!(
        lines.next().unwrap(),
        " continuation.actions=unroll_xlate(table=1, cookie=18),output:3,\
         unroll_xlate(table=0, cookie=17),output:2"
    );
    shown_alike(&bytes, &text);
    // Changed on the way.
    let mut packet_in = rig.packet_in(&bytes);
    packet_in.data = Bytes::from(frame()[..42].to_vec());
    assert_eq!(rig.resume(packet_in), None);
    let took = rig.took();
    let lens: Vec<_> = took
        .iter()
        .map(|(port, data)| (port.0, data.len()))
        .collect();
    assert_eq!(lens, [(12, 42), (13, 42)]);
}

fn shown_alike(bytes: &[u8], text: &str) {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let program = std::process::Command::new("ovs-ofctl")
        .args(["ofp-print", &hex, "0"])
        .output();
    match program {
        Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stdout), text),
        Err(_) => {
            let required = std::env::var("SLUICE_REQUIRE_ROOT").is_ok_and(|v| v == "1");
            assert!(!required, "ovs-ofctl is not installed");
            println!("skipped: ovs-ofctl is not installed");
        }
    }
}

#[test]
fn what_does_not_come_from_here_is_stale() {
    let mut rig = Rig::new(Version::Of13);
    rig.flow("add table=0,actions=controller(pause),output:3");
    rig.give();
    let packet_in = rig.packet_in(&rig.heard[0].clone());
    let with = |change: &dyn Fn(&mut PacketIn)| {
        let mut changed = packet_in.clone();
        change(&mut changed);
        changed
    };
    let stale = Some(OfError::NxrStale);
    assert_eq!(rig.resume(with(&|p| p.continuation = None)), stale);
    let foreign = with(&|p| p.continuation.as_mut().unwrap().bridge[3] ^= 1);
    assert_eq!(rig.resume(foreign), stale);
    let conntracked = with(&|p| p.continuation.as_mut().unwrap().conntracked = true);
    assert_eq!(rig.resume(conntracked), stale);
    let forged = with(&|p| {
        let frame = &mut p.continuation.as_mut().unwrap().frames[0];
        frame.actions = vec![openflow::Action::Group(77)];
    });
    assert_eq!(rig.resume(forged), Some(OfError::BacBadOutGroup));
    let backwards = with(&|p| {
        let frame = &mut p.continuation.as_mut().unwrap().frames[0];
        frame.table_id = 5;
        frame.actions = vec![openflow::Action::GotoTable(4)];
    });
    assert_eq!(rig.resume(backwards), Some(OfError::BicBadTableId));
    let fields = with(&|p| p.metadata.set_exact(openflow::Field::EthSrc, 5));
    assert_eq!(rig.resume(fields), Some(OfError::BrcPipelineFieldsOnly));
    // Another bridge's controller has no business with it.
    let other = rig
        .ofproto
        .bridge_add("br1", 2, EthAddr::ZERO, FailMode::Secure, rig.now)
        .unwrap();
    let kind = ConnKind::Controller;
    let here = rig.conn;
    rig.conn = rig
        .ofproto
        .conn_open(other, kind, Version::Of13, rig.now)
        .unwrap();
    assert_eq!(rig.resume(packet_in.clone()), stale);
    rig.conn = here;
    let slave = RoleMessage {
        flavor: openflow::message::Flavor::Standard,
        role: Role::Slave,
        short_id: 0,
        generation_id: Some(1),
    };
    rig.send(Message::RoleRequest(slave));
    assert_eq!(rig.resume(packet_in), Some(OfError::BrcIsSlave));
    assert_eq!(rig.took(), []);
    assert!(rig.ofproto.bridge(rig.bridge).is_some());
}

/// Cut anywhere and with any byte changed, a resumption is an error or another one, never a panic.
#[test]
fn broken_resumptions() {
    let mut rig = Rig::new(Version::Of13);
    rig.flow("add table=0,actions=push:NXM_NX_REG1[],resubmit(,1),output:2");
    rig.flow(
        "add table=1,ip,actions=controller(pause,userdata=01),dec_ttl,\
         write_actions(output:3),goto_table:2",
    );
    rig.give();
    let packet_in = rig.packet_in(&rig.heard[0].clone());
    let dialect = rig.dialect();
    let whole = codec::encode(&Message::Resume(packet_in), dialect, 1).unwrap();
    for len in 8..whole.len() {
        let mut bytes = whole[..len].to_vec();
        bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        if let Ok(decoded) = codec::decode(&bytes, &dialect) {
            rig.send(decoded.message);
        }
    }
    for at in 8..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            if let Ok(decoded) = codec::decode(&bytes, &dialect) {
                rig.send(decoded.message);
            }
        }
    }
}

/// The meter that the action names; packets are forwarded all the same.
#[test]
fn a_meter_limits_what_the_controller_gets() {
    let mut rig = Rig::new(Version::Of13);
    let refused = parse_flow_mod_line("add actions=controller(meter_id=1)", &Names::none());
    let refused = rig.send(Message::FlowMod(refused.unwrap().value));
    assert_eq!(refused, Some(OfError::MmfcInvalidMeter));
    let text = "meter=1,pktps,burst,stats,band=type=drop,rate=1,burst_size=2";
    let meter = meter::parse(text, MeterCommand::Add).unwrap();
    assert_eq!(rig.send(Message::MeterMod(meter.clone())), None);
    rig.flow("add table=0,actions=controller(meter_id=1),output:2");
    for _ in 0..5 {
        rig.give();
    }
    assert_eq!((rig.heard.len(), rig.took().len()), (2, 5));
    let stats = meter_stats(&mut rig);
    assert_eq!(stats.flow_count, 1);
    assert_eq!((stats.input.packets, stats.bands[0].packets), (5, 3));
    let delete = MeterMod {
        command: MeterCommand::Delete,
        ..meter
    };
    rig.send(Message::MeterMod(delete));
    assert!(rig.ofproto.tables(rig.bridge).unwrap().is_empty());
}

/// Of two bands only the one that drops keeps packets back.
#[test]
fn a_band_that_re_marks_counts_packet_ins() {
    let mut rig = Rig::new(Version::Of13);
    let text = "meter=1,pktps,burst,bands=type=dscp_remark,rate=1,burst_size=2,prec_level=1,\
                type=drop,rate=2,burst_size=4";
    let meter = meter::parse(text, MeterCommand::Add).unwrap();
    assert_eq!(rig.send(Message::MeterMod(meter)), None);
    rig.flow("add table=0,actions=controller(meter_id=1),output:2");
    for _ in 0..5 {
        rig.give();
    }
    assert_eq!((rig.heard.len(), rig.took().len()), (4, 5));
    let stats = meter_stats(&mut rig);
    let bands = stats.bands.iter().map(|b| b.packets);
    assert_eq!(bands.collect::<Vec<_>>(), [2, 1]);
}

/// The statistics of meter 1, of which the datapath has counted nothing.
fn meter_stats(rig: &mut Rig) -> MeterStats {
    let counted = [(1, packet::meter::MeterCounters::default())];
    rig.ofproto
        .handle_meter_stats(rig.conn, 1, &counted, rig.now);
    let Some(Effect::Send { message, .. }) = rig.ofproto.poll_effect() else {
        panic!("no statistics");
    };
    let Message::MeterStatsReply(stats) = message else {
        panic!("{message:?}");
    };
    let [stats] = stats.as_slice() else {
        panic!("{stats:?}");
    };
    stats.clone()
}
