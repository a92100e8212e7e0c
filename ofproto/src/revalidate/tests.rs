//! The life of megaflows: upcall, installation, statistics, revalidation, expiry, adoption.

use std::time::Duration;

use dpif::sim::{Sim, key_of};
use dpif::{Dpif, Packet, PortKind, PortSpec, Upcall};
use openflow::text::dp::{NoNames, format_actions};
use packet::DpPort;
use std::time::Instant;

use super::{Counts, Revalidator, Settings, next_flow_limit};
use crate::port::VlanConf;
use crate::snapshot::BridgeId;
use crate::testing::{MAX_ACTIONS, Switch};
use crate::upcall::{self, Effect};

const SETTINGS: Settings = Settings {
    max_idle: Duration::from_secs(10),
    flow_limit: 1000,
    max_actions: MAX_ACTIONS,
};

/// A switch and its simulated datapath, driven by hand.
struct Rig {
    switch: Switch,
    bridge: BridgeId,
    sim: Sim,
    revalidator: Revalidator,
    start: Instant,
}

impl Rig {
    fn new(flows: &str) -> Rig {
        let mut switch = Switch::new();
        let bridge = switch.bridge("br0");
        let sim = Sim::default();
        for n in 1..=3 {
            switch.port(bridge, n, VlanConf::trunk_all());
            let spec = PortSpec {
                name: format!("p{n}"),
                kind: PortKind::System,
            };
            assert_eq!(sim.port_add(&spec, None).unwrap().port, DpPort(n));
        }
        switch.flows(bridge, flows);
        let start = switch.now;
        Rig {
            switch,
            bridge,
            sim,
            revalidator: Revalidator::new(),
            start,
        }
    }

    fn wait(&mut self, secs: u64) {
        self.switch.now += Duration::from_secs(secs);
        self.sim.set_time(self.switch.now - self.start);
    }

    /// A frame comes in and whatever it causes is done.
    fn give(&mut self, port: u32, frame: &[u8]) {
        let packet = Packet {
            data: frame.to_vec(),
            ..Packet::default()
        };
        self.sim.give(DpPort(port), packet);
        let mut upcalls: Vec<Upcall> = Vec::new();
        self.sim.recv(0, Duration::ZERO, 100, &mut upcalls).unwrap();
        let settings = upcall::Settings {
            max_actions: MAX_ACTIONS,
            install: true,
        };
        let snapshot = self.switch.snapshot();
        let handled = upcall::handle(&snapshot, &upcalls, settings, self.switch.now);
        let results = self.sim.operate(&handled.ops);
        let effects = handled.effects.clone();
        self.revalidator.add(handled.installed(&results));
        self.apply(effects);
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        let now = self.switch.now;
        for effect in effects {
            match effect {
                Effect::Learn(s) => {
                    self.switch
                        .ofproto
                        .learn_mac(s.bridge, s.vlan, s.mac, s.port, now);
                }
                Effect::Refresh(s) => {
                    self.switch
                        .ofproto
                        .refresh_mac(s.bridge, s.vlan, s.mac, s.port, now);
                }
                Effect::PacketIn { .. } => {}
            }
        }
    }

    fn sweep(&mut self) -> Counts {
        let dump = self.sim.flow_dump().unwrap();
        let snapshot = self.switch.snapshot();
        let now = self.switch.now;
        let swept = self
            .revalidator
            .sweep(&snapshot, &dump, now, now, &SETTINGS);
        let results = self.sim.operate(&swept.ops);
        let more = self.revalidator.settle(&swept.ops, &results);
        assert!(more.is_empty());
        self.apply(swept.effects);
        swept.counts
    }

    fn barrier(&mut self) -> Counts {
        let snapshot = self.switch.snapshot();
        let swept = self.revalidator.revalidate_all(&snapshot, &SETTINGS);
        let results = self.sim.operate(&swept.ops);
        self.revalidator.settle(&swept.ops, &results);
        swept.counts
    }

    /// The datapath's flows, as `in_port: actions`.
    fn flows(&self) -> Vec<String> {
        let entries = self.sim.flow_dump().unwrap();
        let mut all: Vec<String> = entries
            .iter()
            .map(|e| {
                let mut s = format!("{}: ", e.key.in_port);
                format_actions(&mut s, &e.actions, &e.key, &NoNames);
                s
            })
            .collect();
        all.sort();
        all
    }

    fn taken(&self, port: u32) -> usize {
        std::iter::from_fn(|| self.sim.take(DpPort(port))).count()
    }

    fn packets(&self, table: u8) -> u64 {
        let tables = self.switch.ofproto.tables(self.bridge).unwrap();
        let request = openflow::text::flow::parse_stats_request(
            &format!("table={table}"),
            &openflow::text::Names::none(),
        );
        let rules = tables.stats(&request.unwrap().value).unwrap();
        rules.iter().map(|r| r.stats.packets()).sum()
    }
}

fn frame(src: u8, dst: u8) -> Vec<u8> {
    let mut f = vec![2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x88, 0xb5];
    f.resize(60, 0);
    f
}

#[test]
fn packets_are_counted_wherever_they_are_handled() {
    let mut rig = Rig::new("actions=resubmit(,1)\ntable=1,actions=2");
    rig.give(1, &frame(1, 2));
    assert_eq!((rig.packets(0), rig.packets(1)), (1, 1), "by the upcall");
    for _ in 0..5 {
        rig.give(1, &frame(1, 2));
    }
    assert_eq!(rig.packets(0), 1, "the cache is not asked yet");
    assert_eq!(rig.sweep().kept, 1);
    assert_eq!((rig.packets(0), rig.packets(1)), (6, 6));
    rig.sweep();
    assert_eq!(rig.packets(0), 6, "none counts twice");
    assert_eq!(rig.taken(2), 6);
    let snapshot = rig.switch.snapshot();
    assert_eq!(
        snapshot.bridge(rig.bridge).unwrap().tables.counters(1),
        (6, 6)
    );
}

#[test]
fn a_change_that_concerns_no_flow_is_confirmed_without_a_dump() {
    let mut rig = Rig::new("actions=2");
    rig.give(1, &frame(1, 2));
    let bridge = rig.bridge;
    rig.switch.flows(bridge, "table=9,actions=3");
    let snapshot = rig.switch.snapshot();
    assert!(!rig.revalidator.confirm_all(&snapshot, &SETTINGS));
    assert_eq!(rig.barrier().translated, 0);
    // The same actions by another rule: packets so far are owed to the old one.
    rig.switch
        .flows(bridge, "priority=40000,in_port=1,actions=2");
    let snapshot = rig.switch.snapshot();
    assert!(rig.revalidator.confirm_all(&snapshot, &SETTINGS));
    assert_eq!(rig.barrier().kept, 1);
}

#[test]
fn idle_flows_go() {
    let mut rig = Rig::new("actions=2");
    rig.give(1, &frame(1, 2));
    rig.wait(9);
    rig.give(1, &frame(1, 2));
    rig.wait(9);
    assert_eq!(rig.sweep().kept, 1);
    rig.wait(2);
    assert_eq!(rig.sweep().expired, 1);
    assert!(rig.flows().is_empty() && rig.revalidator.is_empty());
}

#[test]
fn a_barrier_brings_the_cache_in_step() {
    let mut rig = Rig::new("in_port=1,actions=2\nin_port=2,actions=3");
    rig.give(1, &frame(1, 2));
    rig.give(2, &frame(1, 2));
    assert_eq!(rig.flows(), ["1: 2", "2: 3"]);
    // Other actions under the same mask: in place, statistics kept.
    rig.switch.flows(rig.bridge, "in_port=1,actions=3");
    let counts = rig.barrier();
    assert_eq!((counts.replaced, counts.kept, counts.invalid), (1, 1, 0));
    assert_eq!(rig.flows(), ["1: 3", "2: 3"]);
    // A rule that looks at more than the megaflow does.
    rig.switch.flows(
        rig.bridge,
        "priority=60000,in_port=1,dl_dst=02:00:00:00:00:02,actions=drop",
    );
    let counts = rig.barrier();
    assert_eq!((counts.replaced, counts.invalid), (0, 1));
    assert_eq!(rig.flows(), ["2: 3"]);
    rig.give(1, &frame(1, 2));
    rig.give(1, &frame(1, 3));
    assert_eq!(rig.flows(), ["1: 3", "1: drop", "2: 3"]);
    assert_eq!(rig.barrier().translated, 0, "nothing changed");
}

#[test]
fn learning_redirects_flows() {
    let mut rig = Rig::new("actions=normal");
    rig.give(1, &frame(1, 2));
    assert_eq!(rig.flows(), ["1: 2,3"]);
    rig.give(2, &frame(2, 1));
    assert_eq!(rig.flows(), ["1: 2,3", "2: 1"]);
    rig.barrier();
    assert_eq!(rig.flows(), ["1: 2", "2: 1"]);
    // Packets in the cache keep their stations young.
    for _ in 0..40 {
        rig.wait(9);
        rig.give(1, &frame(1, 2));
        rig.give(2, &frame(2, 1));
        rig.sweep();
    }
    let now = rig.switch.now;
    rig.switch.ofproto.handle_timeout(now);
    assert_eq!(rig.switch.ofproto.macs(rig.bridge).unwrap().len(), 2);
    rig.wait(301);
    let now = rig.switch.now;
    rig.switch.ofproto.handle_timeout(now);
    assert_eq!(rig.switch.ofproto.macs(rig.bridge).unwrap().len(), 0);
}

#[test]
fn a_moved_station_stays_where_it_is() {
    let mut rig = Rig::new("actions=normal");
    rig.give(1, &frame(1, 2));
    rig.give(1, &frame(1, 2));
    // It moves while the cache still counts packets of its old port.
    rig.give(3, &frame(1, 2));
    rig.sweep();
    let mac = packet::EthAddr([2, 0, 0, 0, 0, 1]);
    let macs = rig.switch.ofproto.macs(rig.bridge).unwrap();
    assert_eq!(macs.lookup(0, mac), Some(packet::OfPort(3)));
}

#[test]
fn flows_that_another_process_left_are_adopted() {
    let mut rig = Rig::new("in_port=1,actions=2\nin_port=2,actions=3");
    rig.give(1, &frame(1, 2));
    rig.give(2, &frame(1, 2));
    // A new process that knows other rules.
    rig.revalidator = Revalidator::new();
    rig.switch.flows(rig.bridge, "in_port=2,actions=1");
    let before = rig.packets(0);
    let counts = rig.sweep();
    assert_eq!((counts.adopted, counts.kept, counts.replaced), (2, 1, 1));
    assert_eq!(rig.flows(), ["1: 2", "2: 1"]);
    assert_eq!(rig.packets(0), before, "old packets are not this process's");
    rig.give(1, &frame(1, 2));
    rig.sweep();
    assert_eq!(rig.packets(0), before + 1);
}

#[test]
fn flows_of_a_port_that_is_gone_drop() {
    let mut rig = Rig::new("actions=2");
    rig.give(1, &frame(1, 2));
    rig.switch
        .ofproto
        .port_del(rig.bridge, packet::OfPort(1))
        .unwrap();
    assert_eq!(rig.barrier().replaced, 1);
    assert_eq!(rig.flows(), ["1: drop(unknown-port)"]);
}

#[test]
fn too_many_flows_are_expired_sooner() {
    let mut rig = Rig::new("actions=normal");
    for n in 0..=200 {
        rig.give(1, &frame(n, 2));
    }
    let few = Settings {
        flow_limit: 150,
        ..SETTINGS
    };
    rig.wait(1);
    rig.give(1, &frame(7, 2));
    let (snapshot, now) = (rig.switch.snapshot(), rig.switch.now);
    let dump = rig.sim.flow_dump().unwrap();
    let swept = rig.revalidator.sweep(&snapshot, &dump, now, now, &few);
    assert_eq!(swept.counts.expired, 200);
    let all = Settings {
        flow_limit: 50,
        ..SETTINGS
    };
    let swept = rig.revalidator.sweep(&snapshot, &dump, now, now, &all);
    assert_eq!(swept.counts.expired, 201);
}

#[test]
fn a_refused_replacement_deletes() {
    let mut rig = Rig::new("in_port=1,actions=2");
    rig.give(1, &frame(1, 2));
    rig.switch.flows(rig.bridge, "in_port=1,actions=3");
    let snapshot = rig.switch.snapshot();
    let swept = rig.revalidator.revalidate_all(&snapshot, &SETTINGS);
    let full = Err(dpif::Error::Full {
        what: "blocks",
        limit: 1,
    });
    let more = rig.revalidator.settle(&swept.ops, &[full]);
    let results = rig.sim.operate(&more);
    assert!(rig.revalidator.settle(&more, &results).is_empty());
    assert!(rig.revalidator.is_empty() && rig.flows().is_empty());
}

#[test]
fn the_flow_limit_follows_the_machine() {
    let ms = Duration::from_millis;
    assert_eq!(next_flow_limit(100_000, 200_000, 50_000, ms(4000)), 25_000);
    assert_eq!(next_flow_limit(100_000, 200_000, 50_000, ms(1500)), 75_000);
    assert_eq!(next_flow_limit(100_000, 200_000, 50_000, ms(1200)), 100_000);
    assert_eq!(next_flow_limit(100_000, 200_000, 50_000, ms(100)), 101_000);
    assert_eq!(next_flow_limit(200_000, 200_000, 190_000, ms(100)), 200_000);
    assert_eq!(next_flow_limit(1500, 200_000, 10, ms(9000)), 1000);
}

#[test]
fn keys_of_frames() {
    let packet = Packet {
        data: frame(1, 2),
        ..Packet::default()
    };
    let key = key_of(DpPort(3), &packet).unwrap();
    assert_eq!((key.in_port, key.eth_type()), (3, 0x88b5));
}
