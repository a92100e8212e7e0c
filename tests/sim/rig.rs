//! A switch that is driven by hand: frames in, frames out, a clock that stands still unless moved.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dpif::compose::compose;
use dpif::sim::Sim;
use dpif::{DpOp, Dpif, Packet, PortKind, PortSpec, Upcall};
use ofproto::conn::{ConnId, ConnKind};
use ofproto::meter::Change;
use ofproto::ofproto::{Effect, Ofproto};
use ofproto::port::{PatchPeer, PortConf, PortLink, PortRow, RowId, VlanConf};
use ofproto::revalidate::{Counts, Revalidator, Settings};
use ofproto::snapshot::{BridgeId, FailMode, Snapshot};
use ofproto::upcall;
use openflow::message::MeterCommand;
use openflow::text::dp::{self, NoNames};
use openflow::text::{Names, flow, group, meter};
use openflow::{Message, OfPort, Version};
use packet::{DpPort, EthAddr, FlowKey};

/// See the module documentation.
pub struct Rig {
    pub ofproto: Ofproto,
    pub sim: Sim,
    pub revalidator: Revalidator,
    pub start: Instant,
    pub now: Instant,
    /// What was sent to connections.
    pub sent: Vec<(ConnId, Message)>,
    /// Replies that wait until the cache is at a version.
    waiting: Vec<(ConnId, Message, u64)>,
}

impl Rig {
    pub fn new() -> Rig {
        let now = Instant::now();
        Rig {
            ofproto: Ofproto::new(5),
            sim: Sim::default(),
            revalidator: Revalidator::new(),
            start: now,
            now,
            sent: Vec::new(),
            waiting: Vec::new(),
        }
    }

    pub fn bridge(&mut self, name: &str, fail_mode: FailMode) -> BridgeId {
        let hw_addr = EthAddr([2, 0, 0, 0, 0xff, 1]);
        self.ofproto
            .bridge_add(name, 1, hw_addr, fail_mode, self.now)
            .expect("the name is free")
    }

    /// A port whose OpenFlow and datapath numbers are the same.
    pub fn port(&mut self, bridge: BridgeId, number: u32, vlan: VlanConf) {
        let name = format!("p{number}");
        let spec = PortSpec {
            name: name.clone(),
            kind: PortKind::System,
        };
        let info = self
            .sim
            .port_add(&spec, Some(DpPort(number)))
            .expect("the number is free");
        assert_eq!(info.port, DpPort(number));
        let link = PortLink::Datapath(info.port);
        let conf = PortConf::new(OfPort(number), &name, link);
        self.ofproto
            .port_add(bridge, conf, self.now)
            .expect("the number is free");
        self.row(bridge, number, vlan);
    }

    pub fn patch(&mut self, a: (BridgeId, u32), b: (BridgeId, u32)) {
        for ((bridge, number), (peer, port)) in [(a, b), (b, a)] {
            let link = PortLink::Patch(Some(PatchPeer {
                bridge: peer,
                port: OfPort(port),
            }));
            let conf = PortConf::new(OfPort(number), &format!("patch{number}"), link);
            self.ofproto
                .port_add(bridge, conf, self.now)
                .expect("the number is free");
            self.row(bridge, number, VlanConf::trunk_all());
        }
    }

    pub fn row(&mut self, bridge: BridgeId, number: u32, vlan: VlanConf) {
        let row = PortRow {
            name: format!("p{number}").into(),
            ports: vec![OfPort(number)],
            vlan,
            protected: false,
        };
        self.ofproto
            .row_set(bridge, RowId(number), row)
            .expect("the bridge is there");
    }

    /// A controller or, for `Service`, a tool.
    pub fn connect(&mut self, bridge: BridgeId, kind: ConnKind, version: Version) -> ConnId {
        self.ofproto
            .conn_open(bridge, kind, version, self.now)
            .expect("the bridge is there")
    }

    /// Gives a message to the switch and does what it wants done.
    pub fn message(&mut self, conn: ConnId, message: Message) {
        self.ofproto
            .handle_message(conn, 7, message, &Bytes::new(), self.now);
        self.settle();
    }

    /// Adds, changes or deletes the flows that the lines of `text` say, then waits for the cache.
    pub fn flows(&mut self, bridge: BridgeId, text: &str) {
        let names = Names::none();
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
        let messages = lines.map(|line| {
            let parsed = flow::parse_flow_mod_line(line, &names);
            let mut fm = parsed.unwrap_or_else(|e| panic!("{line}: {e}")).value;
            fm.table_id.get_or_insert(0);
            Message::FlowMod(fm)
        });
        self.messages(bridge, messages.collect());
    }

    /// Adds, changes or deletes a group.
    pub fn group(&mut self, bridge: BridgeId, text: &str) {
        let parsed = group::parse_line(text, &Names::none());
        let group_mod = parsed.unwrap_or_else(|e| panic!("{text}: {e}"));
        self.messages(bridge, vec![Message::GroupMod(group_mod)]);
    }

    /// Adds a meter.
    pub fn meter(&mut self, bridge: BridgeId, text: &str) {
        let parsed = meter::parse(text, MeterCommand::Add);
        let meter_mod = parsed.unwrap_or_else(|e| panic!("{text}: {e}"));
        self.messages(bridge, vec![Message::MeterMod(meter_mod)]);
    }

    /// A port's link comes up or goes down.
    pub fn link(&mut self, bridge: BridgeId, port: u32, up: bool) {
        let change = |p: &mut PortConf| p.link_up = up;
        self.ofproto
            .port_modify(bridge, OfPort(port), change)
            .expect("the port is there");
        self.messages(bridge, Vec::new());
    }

    /// Sends messages, none of which may be refused, and waits for the cache.
    fn messages(&mut self, bridge: BridgeId, messages: Vec<Message>) {
        let conn = self.connect(bridge, ConnKind::Service, Version::Of10);
        for message in messages {
            self.message(conn, message);
        }
        self.message(conn, Message::BarrierRequest);
        let errors: Vec<_> = self
            .sent
            .iter()
            .filter(|(c, m)| *c == conn && matches!(m, Message::Error(_)))
            .collect();
        assert!(errors.is_empty(), "{errors:?}");
        assert!(
            self.sent
                .iter()
                .any(|(c, m)| *c == conn && matches!(m, Message::BarrierReply)),
            "the barrier is answered"
        );
        self.sent.retain(|(c, _)| *c != conn);
        self.ofproto.conn_close(conn, self.now);
    }

    /// Everything that is to be done, until there is nothing left.
    pub fn settle(&mut self) {
        loop {
            let mut busy = false;
            while let Some(effect) = self.ofproto.poll_effect() {
                busy = true;
                self.effect(effect);
            }
            let mut upcalls: Vec<Upcall> = Vec::new();
            self.sim
                .recv(0, Duration::ZERO, 64, &mut upcalls)
                .expect("ring 0 is there");
            if !upcalls.is_empty() {
                busy = true;
                self.upcalls(&upcalls);
            }
            let snapshot = self.ofproto.publish();
            if self.waiting.iter().any(|(_, _, v)| *v <= snapshot.version) {
                busy = true;
                self.barrier(&snapshot);
                let ready = |(_, _, v): &(ConnId, Message, u64)| *v <= snapshot.version;
                let (ready, rest) = self.waiting.drain(..).partition(ready);
                self.waiting = rest;
                for (conn, message, _) in Vec::from_iter::<Vec<_>>(ready) {
                    self.sent.push((conn, message));
                }
            }
            if !busy {
                return;
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Send { conn, message, .. } => self.sent.push((conn, message)),
            Effect::SendAfter {
                conn,
                message,
                version,
                ..
            } => self.waiting.push((conn, message, version)),
            Effect::PacketOut(request) => {
                let snapshot = self.ofproto.publish();
                let settings = self.upcall_settings();
                let handled = upcall::packet_out(&snapshot, &request, settings, self.now);
                self.handled(handled);
            }
            Effect::ChangeMeter(Change::Set(meter, config)) => {
                self.sim.meter_set(meter, &config).expect("the number fits");
            }
            Effect::ChangeMeter(Change::Delete(meter)) => {
                self.sim.meter_del(meter).expect("the meter is there");
            }
            other => panic!("{other:?}"),
        }
    }

    fn upcalls(&mut self, upcalls: &[Upcall]) {
        let snapshot = self.ofproto.publish();
        let settings = self.upcall_settings();
        let handled = upcall::handle(&snapshot, upcalls, settings, self.now);
        self.handled(handled);
    }

    fn handled(&mut self, handled: upcall::Handled) {
        let results = self.sim.operate(&handled.ops);
        let effects = handled.effects.clone();
        self.revalidator.add(handled.installed(&results));
        self.upcall_effects(effects);
    }

    fn upcall_effects(&mut self, effects: Vec<upcall::Effect>) {
        let now = self.now;
        for effect in effects {
            match effect {
                upcall::Effect::PacketIn { event, packet } => {
                    self.ofproto.handle_packet_in(&event, &packet, now);
                }
                upcall::Effect::Learn(s) => {
                    self.ofproto.learn_mac(s.bridge, s.vlan, s.mac, s.port, now);
                }
                upcall::Effect::Refresh(s) => {
                    self.ofproto
                        .refresh_mac(s.bridge, s.vlan, s.mac, s.port, now);
                }
            }
        }
    }

    /// Brings the cache in step, as a barrier does.
    pub fn barrier(&mut self, snapshot: &Arc<Snapshot>) {
        let settings = self.settings();
        if self.revalidator.confirm_all(snapshot, &settings) {
            let swept = self.revalidator.revalidate_all(snapshot, &settings);
            self.carry_out(&swept.ops);
        }
    }

    /// What the revalidator does now and then.
    pub fn sweep(&mut self) -> Counts {
        let snapshot = self.ofproto.publish();
        let dump = self.sim.flow_dump().expect("the simulator has flows");
        let settings = self.settings();
        let swept = self
            .revalidator
            .sweep(&snapshot, &dump, self.now, self.now, &settings);
        self.carry_out(&swept.ops);
        self.upcall_effects(swept.effects);
        self.settle();
        swept.counts
    }

    fn carry_out(&mut self, ops: &[DpOp]) {
        let results = self.sim.operate(ops);
        let more = self.revalidator.settle(ops, &results);
        assert!(more.is_empty(), "{more:?}");
    }

    /// Lets time pass, a second at a time, with everything that is due then.
    pub fn wait(&mut self, secs: u64) {
        for _ in 0..secs {
            self.now += Duration::from_secs(1);
            self.sim.set_time(self.now - self.start);
            self.sweep();
            self.ofproto.handle_timeout(self.now);
            self.settle();
        }
    }

    /// A packet comes in on the port that its key says, given in the syntax of datapath flows.
    pub fn give(&mut self, text: &str) {
        self.give_key(&key(text));
    }

    pub fn give_key(&mut self, key: &FlowKey) {
        let packet = Packet {
            data: compose(key),
            mark: key.pkt_mark,
            ..Packet::default()
        };
        self.sim.give(key.in_port(), packet);
        self.settle();
    }

    /// What has gone out of a port, as keys in text without their first two attributes.
    pub fn taken(&self, port: u32) -> Vec<String> {
        let packets = std::iter::from_fn(|| self.sim.take(DpPort(port)));
        packets
            .map(|sent| {
                let key = dpif::sim::key_of(DpPort(0), &sent.packet).expect("a frame");
                key_text(&key)
            })
            .collect()
    }

    /// The ports from which something has gone out; all of it is taken.
    pub fn ports_reached(&self) -> Vec<u32> {
        let ports = self.sim.port_list().expect("the simulator has ports");
        let numbers = ports.iter().map(|p| p.port.0);
        numbers
            .filter(|port| !self.taken(*port).is_empty())
            .collect()
    }

    /// Megaflows as text, without statistics.
    pub fn megaflows(&self) -> Vec<String> {
        let dump = self.sim.flow_dump().expect("the simulator has flows");
        let mut all: Vec<String> = dump
            .iter()
            .map(|f| {
                let mut s = String::new();
                dp::format_key(&mut s, &f.key, &f.mask, &NoNames, false);
                s.push_str(" -> ");
                dp::format_actions(&mut s, &f.actions, &f.key, &NoNames);
                s
            })
            .collect();
        all.sort();
        all
    }

    fn upcall_settings(&self) -> upcall::Settings {
        upcall::Settings {
            max_actions: self.sim.limits().actions,
            install: true,
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            max_idle: Duration::from_secs(10),
            flow_limit: 1000,
            max_actions: self.sim.limits().actions,
        }
    }
}

pub fn key(text: &str) -> FlowKey {
    dp::parse_key(text, &NoNames)
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .0
}

/// A key without mark, recirculation id and port.
pub fn key_text(key: &FlowKey) -> String {
    let mut s = String::new();
    dp::format_key(&mut s, key, &packet::FlowMask::exact(), &NoNames, false);
    match s.find("eth(") {
        Some(at) => s.split_off(at),
        None => s,
    }
}
