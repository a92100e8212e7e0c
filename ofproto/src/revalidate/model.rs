//! The cache equals the slow path: whatever happens to tables, ports and stations, once a barrier
//! is through, every packet that the cache answers gets what translation says now, whichever of
//! the megaflows that match it is found.
//!
//! `SLUICE_CASES` sets the number of packets.

use dpif::sim::Sim;
use dpif::{Dpif, Packet, Upcall, UpcallKind};
use openflow::message::PortConfig;
use packet::OfPort;
use std::time::{Duration, Instant};

use super::{Revalidator, Settings};
use crate::testing::{MAX_ACTIONS, Switch};
use crate::upcall::{self, Effect};
use crate::xlate::random::{Random, Scenario, random_flow_of, random_key};

const DEFAULT_PACKETS: usize = 8_000;
const STEPS: usize = 200;
const SETTINGS: Settings = Settings {
    max_idle: Duration::from_secs(10),
    flow_limit: 1000,
    max_actions: MAX_ACTIONS,
};

#[test]
fn the_cache_equals_the_slow_path() {
    let packets = std::env::var("SLUICE_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(DEFAULT_PACKETS);
    let mut totals = Totals::default();
    let mut seed = 0;
    while totals.packets < packets {
        seed += 1;
        World::new(seed).run(&mut totals);
    }
    println!(
        "cache equals slow path: {} packets, {} answered by the cache, {} changes with a barrier, \
         {} flows replaced and {} deleted by them",
        totals.packets, totals.hits, totals.barriers, totals.replaced, totals.deleted
    );
    assert!(totals.hits > totals.packets / 10 && totals.replaced > 0 && totals.deleted > 0);
}

#[derive(Default)]
struct Totals {
    packets: usize,
    hits: usize,
    barriers: usize,
    replaced: usize,
    deleted: usize,
}

struct World {
    seed: u64,
    r: Random,
    scenario: Scenario,
    switch: Switch,
    sim: Sim,
    revalidator: Revalidator,
    start: Instant,
}

impl World {
    fn new(seed: u64) -> World {
        let mut r = Random(seed);
        let scenario = Scenario::random(&mut r);
        let switch = scenario.build();
        World {
            seed,
            r,
            start: switch.now,
            switch,
            scenario,
            sim: Sim::default(),
            revalidator: Revalidator::new(),
        }
    }

    fn run(mut self, totals: &mut Totals) {
        for _ in 0..STEPS {
            match self.r.below(20) {
                0 => self.change_flows(),
                1 => self.change_port(),
                2 => {
                    self.sweep();
                    continue;
                }
                _ => {
                    self.packet(totals);
                    continue;
                }
            }
            self.barrier(totals);
        }
    }

    fn packet(&mut self, totals: &mut Totals) {
        let key = random_key(&mut self.r);
        let snapshot = self.switch.snapshot();
        let expected = self.switch.xlate(&key).megaflow_actions();
        let cached = self.sim.matching(&key);
        totals.packets += 1;
        totals.hits += usize::from(!cached.is_empty());
        for flow in &cached {
            assert!(
                flow.actions == expected,
                "seed {}: {key:?}\ncached {:?}\nnow {expected:?}",
                self.seed,
                flow.actions
            );
        }
        if !cached.is_empty() {
            return;
        }
        let upcall = Upcall {
            kind: UpcallKind::Miss,
            key,
            packet: Packet::default(),
        };
        let settings = upcall::Settings {
            max_actions: MAX_ACTIONS,
            install: true,
        };
        let handled = upcall::handle(&snapshot, &[upcall], settings, self.switch.now);
        let results = self.sim.operate(&handled.ops);
        let effects = handled.effects.clone();
        self.revalidator.add(handled.installed(&results));
        // What a station's packet teaches changes what others get.
        let mut learned = false;
        for effect in effects {
            if let Effect::Learn(s) = effect {
                let now = self.switch.now;
                let ofproto = &mut self.switch.ofproto;
                learned |= ofproto.learn_mac(s.bridge, s.vlan, s.mac, s.port, now);
            }
        }
        if learned {
            self.barrier(totals);
        }
    }

    fn change_flows(&mut self) {
        let n = self.r.below(self.scenario.bridges.len());
        let base = self.scenario.bridges[n].base;
        let priority = 1 + self.r.below(30);
        let dialect = self.scenario.dialect;
        let flow = random_flow_of(&mut self.r, base as usize, dialect, priority);
        let snapshot = self.switch.snapshot();
        let bridge = snapshot.bridge_by_name(&format!("br{n}")).unwrap().id;
        let text = match self.r.below(3) {
            0 => {
                let table = self.r.below(4);
                format!("delete table={table},in_port={}", base + 1)
            }
            1 => format!("delete {}", flow.split(",priority").next().unwrap()),
            _ => flow,
        };
        self.switch.flows(bridge, &text);
    }

    fn change_port(&mut self) {
        let n = self.r.below(self.scenario.bridges.len());
        let snapshot = self.switch.snapshot();
        let bridge = snapshot.bridge_by_name(&format!("br{n}")).unwrap().id;
        let number = OfPort(self.scenario.bridges[n].base + 1 + self.r.below(4) as u32);
        let config = self.r.pick(&[
            PortConfig::empty(),
            PortConfig::NO_FLOOD,
            PortConfig::NO_FWD,
            PortConfig::NO_RECV,
            PortConfig::PORT_DOWN,
        ]);
        let mut conf = snapshot
            .bridge(bridge)
            .and_then(|b| b.port(number))
            .unwrap()
            .clone();
        conf.config = config;
        self.switch
            .ofproto
            .port_modify(bridge, number, |port| *port = conf)
            .unwrap();
    }

    fn sweep(&mut self) {
        self.switch.now += Duration::from_secs(self.r.below(4) as u64);
        let now = self.switch.now;
        self.sim.set_time(now - self.start);
        let (snapshot, dump) = (self.switch.snapshot(), self.sim.flow_dump().unwrap());
        let swept = self
            .revalidator
            .sweep(&snapshot, &dump, now, now, &SETTINGS);
        let results = self.sim.operate(&swept.ops);
        self.revalidator.settle(&swept.ops, &results);
        assert_eq!(
            self.revalidator.len(),
            self.sim.stats().unwrap().flows as usize
        );
    }

    fn barrier(&mut self, totals: &mut Totals) {
        let snapshot = self.switch.snapshot();
        // With and without the shortcut for what a change does not concern.
        if self.r.below(4) != 0 {
            self.revalidator.confirm_all(&snapshot, &SETTINGS);
        }
        let swept = self.revalidator.revalidate_all(&snapshot, &SETTINGS);
        let results = self.sim.operate(&swept.ops);
        assert!(results.iter().all(Result::is_ok));
        self.revalidator.settle(&swept.ops, &results);
        totals.barriers += 1;
        totals.replaced += swept.counts.replaced;
        totals.deleted += swept.counts.invalid;
    }
}
