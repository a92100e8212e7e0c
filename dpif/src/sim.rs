//! The datapath in memory.
//!
//! Same keys, action lists and counters as the eBPF datapath, without root, threads or a clock of
//! its own: frames are given to ports and taken from them by the caller, and time is set by the
//! caller. A megaflow lookup visits masks in the order in which they were installed, so a run is
//! repeatable. [`Sim::matching`] tells every megaflow that a key hits: in a sound cache they all
//! have the same actions.
//!
//! The daemon's datapath type `dummy` is this one. There is no exact-match cache, no mask cap, no
//! upcall quota and no suppression of duplicate misses.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packet::action::SlowReason;
use packet::extract::{Meta, extract};
use packet::meter::{BandAction, MeterCounters, MeterEntry};
use packet::{Action, DpMeter, DpPort, DropReason, FlowKey, FlowMask, IfIndex};

use crate::{
    DpOp, DpStats, Dpif, Error, FlowEntry, FlowStats, Limits, MeterConfig, Packet, PortConfig,
    PortInfo, PortSpec, PortStats, Upcall, UpcallKind, edit::Editor,
};

/// Sizes that a simulator has unless told otherwise.
pub const DEFAULT_LIMITS: Limits = Limits {
    flows: 200_000,
    exact: 0,
    ports: 4096,
    actions: 4096,
    meters: 4095,
};

/// Frames that wait on a port for someone to take them; more are dropped and counted.
const PORT_QUEUE: usize = 4096;
/// Upcalls that wait for [`Dpif::recv`]; more are lost and counted.
const UPCALL_QUEUE: usize = 8192;

/// The simulator; shared by reference like every [`Dpif`].
pub struct Sim {
    state: Mutex<State>,
    /// Signalled when an upcall is queued.
    upcall: Condvar,
    limits: Limits,
}

/// A frame that left through a port.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    pub packet: Packet,
    /// Queue priority (`skb->priority`).
    pub priority: u32,
}

#[derive(Default)]
struct State {
    now: Duration,
    ports: BTreeMap<DpPort, Port>,
    flows: FlowTable,
    upcalls: VecDeque<Upcall>,
    stats: DpStats,
    drops: BTreeMap<DropReason, u64>,
    meters: BTreeMap<DpMeter, (MeterEntry, MeterCounters)>,
}

struct Port {
    info: PortInfo,
    config: PortConfig,
    stats: PortStats,
    sent: VecDeque<Sent>,
}

#[derive(Default)]
struct FlowTable {
    /// In the order of installation; a mask without flows is removed.
    masks: Vec<(FlowMask, HashMap<FlowKey, Flow>)>,
    len: usize,
}

struct Flow {
    actions: Vec<Action>,
    packets: u64,
    bytes: u64,
    used: Option<Duration>,
    tcp_flags: u16,
}

impl Default for Sim {
    fn default() -> Sim {
        Sim::new(DEFAULT_LIMITS)
    }
}

impl Sim {
    pub fn new(limits: Limits) -> Sim {
        Sim {
            state: Mutex::default(),
            upcall: Condvar::new(),
            limits,
        }
    }

    /// Sets the time, counted from the simulator's start; idle times and meters depend on it.
    pub fn set_time(&self, now: Duration) {
        self.state().now = now;
    }

    /// A frame comes in on `port`.
    pub fn give(&self, port: DpPort, packet: Packet) {
        let mut state = self.state();
        state.receive(port, packet);
        if !state.upcalls.is_empty() {
            self.upcall.notify_all();
        }
    }

    /// The oldest frame that went out through `port` and was not taken yet.
    pub fn take(&self, port: DpPort) -> Option<Sent> {
        self.state().ports.get_mut(&port)?.sent.pop_front()
    }

    /// Every megaflow that matches `key`, in lookup order; the first one is what packets get.
    pub fn matching(&self, key: &FlowKey) -> Vec<FlowEntry> {
        let state = self.state();
        state
            .flows
            .masks
            .iter()
            .filter_map(|(mask, flows)| {
                let (key, flow) = flows.get_key_value(&key.masked(mask))?;
                Some(flow.entry(key, mask, state.now))
            })
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held cannot leave the state worse than a lost packet would.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dpif for Sim {
    fn port_add(&self, spec: &PortSpec, want: Option<DpPort>) -> Result<PortInfo, Error> {
        if spec.name.is_empty() || spec.name.len() > 15 {
            return Err(Error::Device {
                name: spec.name.clone(),
                reason: "a network device name has 1 to 15 bytes".into(),
            });
        }
        let mut state = self.state();
        if let Some(port) = state.ports.values().find(|p| p.info.name == spec.name) {
            return match port.info.kind == spec.kind {
                true => Ok(port.info.clone()),
                false => Err(Error::Device {
                    name: spec.name.clone(),
                    reason: "it is attached as a port of another kind".into(),
                }),
            };
        }
        let limit = self.limits.ports;
        let free = |p: &DpPort| *p != DpPort::NONE && !state.ports.contains_key(p);
        let port = want
            .filter(|p| free(p) && (p.0 as usize) <= limit)
            .or_else(|| (1..=limit as u32).map(DpPort).find(free))
            .ok_or(Error::Full {
                what: "ports",
                limit,
            })?;
        let info = PortInfo {
            port,
            name: spec.name.clone(),
            kind: spec.kind,
            ifindex: IfIndex(port.0.saturating_add(1000)),
        };
        state.ports.insert(
            port,
            Port {
                info: info.clone(),
                config: PortConfig {
                    receive: true,
                    transmit: true,
                },
                stats: PortStats::default(),
                sent: VecDeque::new(),
            },
        );
        Ok(info)
    }

    fn port_del(&self, port: DpPort) -> Result<(), Error> {
        let removed = self.state().ports.remove(&port);
        removed.map(drop).ok_or(Error::NoSuchPort(port.0))
    }

    fn port_list(&self) -> Result<Vec<PortInfo>, Error> {
        Ok(self
            .state()
            .ports
            .values()
            .map(|p| p.info.clone())
            .collect())
    }

    fn port_set_config(&self, port: DpPort, config: PortConfig) -> Result<(), Error> {
        let mut state = self.state();
        let port = state
            .ports
            .get_mut(&port)
            .ok_or(Error::NoSuchPort(port.0))?;
        port.config = config;
        Ok(())
    }

    fn port_stats(&self, port: DpPort) -> Result<PortStats, Error> {
        let state = self.state();
        let port = state.ports.get(&port).ok_or(Error::NoSuchPort(port.0))?;
        Ok(port.stats)
    }

    fn operate(&self, ops: &[DpOp]) -> Vec<Result<(), Error>> {
        let mut state = self.state();
        let results = ops.iter().map(|op| state.operate(op, &self.limits));
        let results = results.collect();
        if !state.upcalls.is_empty() {
            self.upcall.notify_all();
        }
        results
    }

    fn flow_dump(&self) -> Result<Vec<FlowEntry>, Error> {
        let state = self.state();
        let mut entries = Vec::with_capacity(state.flows.len);
        for (mask, flows) in &state.flows.masks {
            entries.extend(flows.iter().map(|(key, f)| f.entry(key, mask, state.now)));
        }
        entries.sort_by_key(|e| (e.mask, e.key));
        Ok(entries)
    }

    fn flow_flush(&self) -> Result<(), Error> {
        self.state().flows = FlowTable::default();
        Ok(())
    }

    fn meter_set(&self, meter: DpMeter, config: &MeterConfig) -> Result<(), Error> {
        if meter.0 == 0 || meter.0 as usize > self.limits.meters {
            return Err(Error::NoSuchMeter(meter.0));
        }
        let entry = (config.entry()?, MeterCounters::default());
        self.state().meters.insert(meter, entry);
        Ok(())
    }

    fn meter_del(&self, meter: DpMeter) -> Result<(), Error> {
        let removed = self.state().meters.remove(&meter);
        removed.map(drop).ok_or(Error::NoSuchMeter(meter.0))
    }

    fn meter_stats(&self, meter: DpMeter) -> Result<MeterCounters, Error> {
        let state = self.state();
        let found = state.meters.get(&meter);
        let (_, counters) = found.ok_or(Error::NoSuchMeter(meter.0))?;
        Ok(*counters)
    }

    /// Blocks in real time: waiting for another thread is no reading of a clock.
    fn recv(
        &self,
        ring: usize,
        timeout: Duration,
        max: usize,
        out: &mut Vec<Upcall>,
    ) -> Result<usize, Error> {
        if ring != 0 {
            return Err(Error::Datapath(format!("no upcall ring {ring}")));
        }
        let mut state = self.state();
        if state.upcalls.is_empty() && !timeout.is_zero() {
            let waited = self
                .upcall
                .wait_timeout_while(state, timeout, |s| s.upcalls.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let n = max.min(state.upcalls.len());
        out.extend(state.upcalls.drain(..n));
        Ok(n)
    }

    fn upcall_rings(&self) -> usize {
        1
    }

    fn stats(&self) -> Result<DpStats, Error> {
        let state = self.state();
        Ok(DpStats {
            flows: state.flows.len as u64,
            masks: state.flows.masks.len() as u64,
            ..state.stats
        })
    }

    fn drops(&self) -> Result<Vec<(DropReason, u64)>, Error> {
        Ok(self.state().drops.iter().map(|(r, n)| (*r, *n)).collect())
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn destroy(&self) -> Result<(), Error> {
        *self.state() = State::default();
        Ok(())
    }
}

impl State {
    fn receive(&mut self, in_port: DpPort, packet: Packet) {
        let Some(port) = self.ports.get_mut(&in_port) else {
            return self.drop(DropReason::UnknownPort);
        };
        port.stats.rx_packets += 1;
        port.stats.rx_bytes += packet.data.len() as u64;
        if !port.config.receive {
            port.stats.rx_dropped += 1;
            return self.drop(DropReason::PortDown);
        }
        let Some(key) = key_of(in_port, &packet) else {
            return self.drop(DropReason::Malformed);
        };
        let now = self.now;
        let len = packet.data.len() as u64;
        let (found, visited) = self.flows.find(&key);
        self.stats.mask_hit += visited;
        let Some(flow) = found else {
            self.stats.missed += 1;
            return self.upcall(UpcallKind::Miss, key, packet);
        };
        self.stats.megaflow_hit += 1;
        flow.packets += 1;
        flow.bytes += len;
        flow.used = Some(now);
        flow.tcp_flags |= key.tcp_flags();
        let actions = flow.actions.clone();
        self.run(packet, &actions, Some(&key));
    }

    /// `key` is that of the packet as it came in; without it a slow path action cannot be told
    /// about and the packet is dropped.
    fn run(&mut self, packet: Packet, actions: &[Action], key: Option<&FlowKey>) {
        let mut editor = Editor::new(packet);
        for action in actions {
            match action {
                Action::Output(port) => self.send(*port, &editor.packet, editor.priority),
                Action::Meter(meter) => match self.measure(*meter, &editor.packet) {
                    Some(BandAction::Drop) => return self.drop(DropReason::Policed),
                    Some(BandAction::Remark(levels)) => editor.remark(levels),
                    None => {}
                },
                Action::SlowPath(reason) => {
                    return match key {
                        Some(key) => self.slow_path(*reason, *key, editor.packet),
                        None => self.drop(DropReason::ActionFailed),
                    };
                }
                Action::Drop(reason) => return self.drop(*reason),
                Action::PushVlan { .. } | Action::PopVlan | Action::Set { .. } => {
                    if let Err(reason) = editor.apply(action) {
                        return self.drop(reason);
                    }
                }
            }
        }
        if !actions.iter().any(|a| matches!(a, Action::Output(_))) {
            self.drop(DropReason::Policy);
        }
    }

    /// What the meter does with the packet; a meter that is not there does nothing.
    fn measure(&mut self, meter: DpMeter, packet: &Packet) -> Option<BandAction> {
        let now_ns = u64::try_from(self.now.as_nanos()).unwrap_or(u64::MAX);
        let (entry, counters) = self.meters.get_mut(&meter)?;
        let bytes = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
        let packets = packet.gso.map_or(1, |gso| u32::from(gso.segs.max(1)));
        let band = entry.measure(now_ns, packets, bytes);
        counters.count(bytes, band);
        entry.action(band)
    }

    fn slow_path(&mut self, reason: SlowReason, key: FlowKey, packet: Packet) {
        self.upcall(UpcallKind::Action(reason), key, packet);
    }

    fn upcall(&mut self, kind: UpcallKind, key: FlowKey, packet: Packet) {
        if self.upcalls.len() >= UPCALL_QUEUE {
            self.stats.lost += 1;
            return self.drop(DropReason::UpcallRingFull);
        }
        self.upcalls.push_back(Upcall { kind, key, packet });
    }

    fn send(&mut self, port: DpPort, packet: &Packet, priority: u32) {
        let Some(port) = self.ports.get_mut(&port) else {
            return self.drop(DropReason::NoSuchOutput);
        };
        if !port.config.transmit || port.sent.len() >= PORT_QUEUE {
            port.stats.tx_dropped += 1;
            return self.drop(DropReason::PortDown);
        }
        port.stats.tx_packets += 1;
        port.stats.tx_bytes += packet.data.len() as u64;
        port.sent.push_back(Sent {
            packet: packet.clone(),
            priority,
        });
    }

    fn drop(&mut self, reason: DropReason) {
        *self.drops.entry(reason).or_default() += 1;
    }

    fn operate(&mut self, op: &DpOp, limits: &Limits) -> Result<(), Error> {
        match op {
            DpOp::FlowPut {
                key,
                mask,
                actions,
                replace,
            } => self.flows.put(key, mask, actions, *replace, limits),
            DpOp::FlowDel { key, mask } => self.flows.del(key, mask),
            DpOp::Execute {
                packet,
                in_port: _,
                actions,
            } => {
                self.run(packet.clone(), actions, None);
                Ok(())
            }
        }
    }
}

impl FlowTable {
    /// The flow that `key` hits and how many masks were visited.
    fn find(&mut self, key: &FlowKey) -> (Option<&mut Flow>, u64) {
        let mut visited = 0;
        for (mask, flows) in &mut self.masks {
            visited += 1;
            if let Some(flow) = flows.get_mut(&key.masked(mask)) {
                return (Some(flow), visited);
            }
        }
        (None, visited)
    }

    fn put(
        &mut self,
        key: &FlowKey,
        mask: &FlowMask,
        actions: &[Action],
        replace: bool,
        limits: &Limits,
    ) -> Result<(), Error> {
        if mask.0.in_port != u32::MAX || mask.0.recirc_id != u32::MAX {
            return Err(Error::Unsupported(
                "a megaflow must match in_port and recirc_id exactly".into(),
            ));
        }
        if actions.len() > limits.actions {
            return Err(Error::Full {
                what: "actions of a flow",
                limit: limits.actions,
            });
        }
        let key = key.masked(mask);
        let full = self.len >= limits.flows;
        let at = match self.masks.iter().position(|(m, _)| m == mask) {
            Some(at) => at,
            None => {
                self.masks.push((*mask, HashMap::new()));
                self.masks.len() - 1
            }
        };
        // `at` was found or pushed just now.
        let Some((_, flows)) = self.masks.get_mut(at) else {
            return Err(Error::NoSuchFlow);
        };
        let result = match flows.get_mut(&key) {
            Some(flow) if replace => {
                flow.actions = actions.to_vec();
                Ok(())
            }
            Some(_) => Err(Error::Exists),
            None if full => Err(Error::Full {
                what: "flows",
                limit: limits.flows,
            }),
            None => {
                let flow = Flow {
                    actions: actions.to_vec(),
                    packets: 0,
                    bytes: 0,
                    used: None,
                    tcp_flags: 0,
                };
                flows.insert(key, flow);
                self.len += 1;
                Ok(())
            }
        };
        self.masks.retain(|(_, flows)| !flows.is_empty());
        result
    }

    fn del(&mut self, key: &FlowKey, mask: &FlowMask) -> Result<(), Error> {
        let found = self.masks.iter_mut().find(|(m, _)| m == mask);
        let (_, flows) = found.ok_or(Error::NoSuchFlow)?;
        flows
            .remove(&key.masked(mask))
            .ok_or(Error::NoSuchFlow)
            .map(drop)?;
        self.len -= 1;
        self.masks.retain(|(_, flows)| !flows.is_empty());
        Ok(())
    }
}

impl Flow {
    fn entry(&self, key: &FlowKey, mask: &FlowMask, now: Duration) -> FlowEntry {
        FlowEntry {
            key: *key,
            mask: *mask,
            actions: self.actions.clone(),
            stats: FlowStats {
                packets: self.packets,
                bytes: self.bytes,
                idle: self.used.map(|used| now.saturating_sub(used)),
                tcp_flags: self.tcp_flags,
            },
        }
    }
}

/// The flow key of a packet that comes in on `in_port`; `None` for what is no Ethernet frame.
pub fn key_of(in_port: DpPort, packet: &Packet) -> Option<FlowKey> {
    let meta = Meta {
        in_port: in_port.0,
        mark: packet.mark,
        ..Meta::default()
    };
    let mut key = FlowKey::zero();
    extract(&packet.data.as_slice(), &meta, &mut key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortKind;

    fn sim(ports: u32) -> Sim {
        let sim = Sim::default();
        for n in 1..=ports {
            let spec = PortSpec {
                name: format!("p{n}"),
                kind: PortKind::System,
            };
            assert_eq!(sim.port_add(&spec, None).unwrap().port, DpPort(n));
        }
        sim
    }

    fn frame(dst: u8) -> Packet {
        let mut data = vec![0u8; 60];
        data[5] = dst;
        data[11] = 9;
        data[12..14].copy_from_slice(&[0x12, 0x34]);
        Packet {
            data,
            ..Packet::default()
        }
    }

    fn port_mask() -> FlowMask {
        let mut mask = FlowMask::empty();
        mask.0.in_port = u32::MAX;
        mask.0.recirc_id = u32::MAX;
        mask
    }

    fn put(sim: &Sim, key: FlowKey, mask: FlowMask, actions: Vec<Action>) -> Result<(), Error> {
        let op = DpOp::FlowPut {
            key,
            mask,
            actions,
            replace: false,
        };
        sim.operate(&[op]).pop().unwrap()
    }

    #[test]
    fn a_miss_goes_up_and_a_hit_is_forwarded() {
        let sim = sim(2);
        sim.give(DpPort(1), frame(7));
        let mut upcalls = Vec::new();
        assert_eq!(sim.recv(0, Duration::ZERO, 8, &mut upcalls).unwrap(), 1);
        assert_eq!(upcalls[0].kind, UpcallKind::Miss);
        assert_eq!(upcalls[0].key.eth_dst, [0, 0, 0, 0, 0, 7]);
        put(
            &sim,
            upcalls[0].key,
            port_mask(),
            vec![
                Action::PushVlan {
                    tpid: 0x8100,
                    tci: 5,
                },
                Action::Output(DpPort(2)),
                Action::PopVlan,
                Action::Output(DpPort(1)),
                Action::Output(DpPort(9)),
            ],
        )
        .unwrap();
        assert!(matches!(
            put(&sim, upcalls[0].key, port_mask(), vec![]),
            Err(Error::Exists)
        ));

        sim.set_time(Duration::from_secs(3));
        sim.give(DpPort(1), frame(8));
        sim.set_time(Duration::from_secs(5));
        let out = sim.take(DpPort(2)).unwrap().packet.data;
        assert_eq!(out[12..16], [0x81, 0, 0, 5]);
        assert_eq!(sim.take(DpPort(1)).unwrap().packet, frame(8));
        assert_eq!(sim.take(DpPort(1)), None);
        assert_eq!(sim.drops().unwrap(), [(DropReason::NoSuchOutput, 1)]);
        let stats = sim.stats().unwrap();
        assert_eq!((stats.missed, stats.megaflow_hit), (1, 1));
        let flows = sim.flow_dump().unwrap();
        assert_eq!(flows[0].stats.packets, 1);
        assert_eq!(flows[0].stats.idle, Some(Duration::from_secs(2)));
        assert_eq!(sim.port_stats(DpPort(2)).unwrap().tx_bytes, 64);

        let del = DpOp::FlowDel {
            key: upcalls[0].key,
            mask: port_mask(),
        };
        let results = sim.operate(&[del.clone(), del]);
        assert!(results[0].is_ok() && matches!(results[1], Err(Error::NoSuchFlow)));
        assert_eq!(sim.stats().unwrap().masks, 0);
    }

    #[test]
    fn slow_path_packets_come_up_whole() {
        let sim = sim(1);
        let key = key_of(DpPort(1), &frame(1)).unwrap();
        let actions = vec![Action::SlowPath(SlowReason::Controller)];
        put(&sim, key, port_mask(), actions).unwrap();
        sim.give(DpPort(1), frame(1));
        let mut upcalls = Vec::new();
        sim.recv(0, Duration::ZERO, 8, &mut upcalls).unwrap();
        assert_eq!(upcalls[0].kind, UpcallKind::Action(SlowReason::Controller));
        assert_eq!(upcalls[0].packet, frame(1));
    }

    #[test]
    fn ports_are_numbered_and_configured() {
        let sim = sim(2);
        let spec = |name: &str, kind| PortSpec {
            name: name.into(),
            kind,
        };
        let br0 = spec("br0", PortKind::Internal);
        assert_eq!(sim.port_add(&br0, Some(DpPort(7))).unwrap().port, DpPort(7));
        assert_eq!(sim.port_add(&br0, None).unwrap().port, DpPort(7));
        assert!(sim.port_add(&spec("br0", PortKind::System), None).is_err());
        assert!(sim.port_add(&spec("", PortKind::System), None).is_err());
        sim.port_del(DpPort(1)).unwrap();
        assert!(matches!(sim.port_del(DpPort(1)), Err(Error::NoSuchPort(1))));
        assert_eq!(
            sim.port_add(&spec("x", PortKind::System), None)
                .unwrap()
                .port
                .0,
            1
        );
        let down = PortConfig {
            receive: false,
            transmit: true,
        };
        sim.port_set_config(DpPort(1), down).unwrap();
        sim.give(DpPort(1), frame(1));
        sim.give(DpPort(77), frame(1));
        assert_eq!(
            sim.drops().unwrap(),
            [(DropReason::UnknownPort, 1), (DropReason::PortDown, 1)]
        );
    }
}
