//! Whole flow tables, in the kernel and in memory: equal flows, equal frames in, equal
//! frames out, upcalls, drops and counters.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use dpif::sim::{Sim, key_of};
use dpif::{DpOp, Dpif, Packet, PortKind, PortSpec, UpcallKind};
use packet::action::{SetField, SlowReason};
use packet::{Action, DpPort, DropReason, FlowKey, FlowMask};

use crate::bench::{Bench, SOON, in_netns};
use crate::frames::{self, packet, super_packet, tagged};

const PORTS: usize = 4;
/// Flow tables, and packets through each.
const ROUNDS: u64 = 60;
const PACKETS: u64 = 50;

/// xorshift64*: repeatable, and as random as this needs.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.below(256) as u8)
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

#[test]
fn flow_tables_agree_with_the_simulator() {
    in_netns("tables", || {
        let seed = std::env::var("SLUICE_SEED")
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(1u64);
        let bench = Bench::new(PORTS)?;
        let sim = Sim::default();
        for n in 1..=PORTS {
            let name = format!("p{n}");
            sim.port_add(
                &PortSpec {
                    name,
                    kind: PortKind::System,
                },
                None,
            )?;
        }
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut compared = 0;
        for round in 0..ROUNDS {
            let what = format!("seed {seed}, round {round}");
            install(&bench, &sim, &mut random)?;
            let drops = sum(&bench.dp().drops()?, &sim.drops()?);
            for n in 0..PACKETS {
                compared += one_packet(&bench, &sim, &mut random, &format!("{what}, packet {n}"))?;
            }
            compare_flows(&bench, &sim, &what)?;
            let now = sum(&bench.dp().drops()?, &sim.drops()?);
            for (reason, (kernel, simulated)) in &now {
                let (k, s) = drops.get(reason).copied().unwrap_or_default();
                ensure!(
                    kernel - k == simulated - s,
                    "{what}: {reason:?} counted {} times, simulated {}",
                    kernel - k,
                    simulated - s
                );
            }
        }
        println!("{compared} packets compared");
        ensure!(compared > ROUNDS * PACKETS / 2);
        Ok(())
    });
}

type Drops = [(DropReason, u64)];

fn sum(kernel: &Drops, simulated: &Drops) -> BTreeMap<DropReason, (u64, u64)> {
    let mut both: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    for (reason, n) in kernel {
        both.entry(*reason).or_default().0 = *n;
    }
    for (reason, n) in simulated {
        both.entry(*reason).or_default().1 = *n;
    }
    both
}

/// Empties both and installs equal flows.
fn install(bench: &Bench, sim: &Sim, random: &mut Random) -> Result<()> {
    bench.dp().flow_flush()?;
    sim.flow_flush()?;
    for _ in 0..random.below(12) {
        let from = DpPort(1 + random.below(PORTS) as u32);
        let Some(key) = key_of(from, &frame(random)) else {
            continue;
        };
        let op = DpOp::FlowPut {
            key,
            mask: mask(random),
            actions: list(random),
            replace: false,
        };
        let (kernel, simulated) = (
            bench.dp().operate(std::slice::from_ref(&op)),
            sim.operate(std::slice::from_ref(&op)),
        );
        ensure!(
            kernel[0].is_ok() == simulated[0].is_ok(),
            "{op:?}: {:?}, simulated {:?}",
            kernel[0],
            simulated[0]
        );
    }
    Ok(())
}

fn mask(random: &mut Random) -> FlowMask {
    let mut mask = crate::bench::port_mask();
    let m = &mut mask.0;
    let part = |random: &mut Random| random.pick(&[0, 0, 0xff, 0xff, 0xff, 0xf0]);
    for _ in 0..random.below(5) {
        match random.below(14) {
            0 => m.eth_dst = [part(random); 6],
            1 => m.eth_src = [part(random); 6],
            2 => m.eth_type = [0xff; 2],
            3 => m.vlan0_tci = [part(random); 2],
            4 => m.ip_proto = 0xff,
            5 => m.ip_frag = 3,
            6 => m.tp_src = [part(random); 2],
            7 => m.tp_dst = [part(random); 2],
            8 => m.ipv4_dst = [0xff, 0xff, part(random), part(random)],
            9 => m.tcp_flags = [0xf, 0xff],
            10 => m.ipv6_dst = [part(random); 16],
            11 => m.nd_target = [part(random); 16],
            12 => m.arp_sha = [part(random); 6],
            _ => (m.vlan1_tci, m.vlan1_tpid) = ([0xff; 2], [0xff; 2]),
        }
    }
    mask
}

fn list(random: &mut Random) -> Vec<Action> {
    if random.below(12) == 0 {
        return vec![Action::SlowPath(SlowReason::Controller)];
    }
    let mut actions = Vec::new();
    for _ in 0..random.below(7) {
        actions.push(match random.below(9) {
            // The last one is no port.
            0..=3 => Action::Output(DpPort(1 + random.below(PORTS + 1) as u32)),
            4 => Action::PushVlan {
                tpid: random.pick(&[0x8100, 0x88a8]),
                tci: u16::from_be_bytes(random.bytes()) & 0xefff,
            },
            5 => Action::PopVlan,
            _ => Action::Set {
                field: random.pick(SetField::ALL),
                value: random.bytes(),
                mask: random.pick(&[[0xff; 6], [0x0f, 0xff, 0, 0xf0, 0xff, 1]]),
            },
        });
    }
    if random.below(6) == 0 {
        actions.push(Action::Drop(DropReason::TableMiss));
    }
    actions
}

fn frame(random: &mut Random) -> Packet {
    let payload = vec![7; random.below(60)];
    let port = |random: &mut Random| random.pick(&[0u16, 53, 80, 1000, 65535]);
    let mut data = match random.below(13) {
        0 | 1 => frames::udp(port(random), port(random), &payload),
        2 => frames::tcp(&payload),
        3 => frames::udp6(port(random), port(random), &payload),
        4 => frames::tcp6(&payload),
        5 => frames::icmp(),
        6 => frames::icmp6(),
        7 => frames::neighbour(135, 1),
        8 => frames::neighbour(136, 2),
        9 => frames::arp(),
        10 => frames::sctp(random.below(2) == 0, payload.len()),
        11 => frames::routing_header(),
        _ => return super_packet(3000 + random.below(2000), 1000),
    };
    match random.below(6) {
        0 => data = tagged(&data, 0x8100, 5),
        1 => {
            data = tagged(
                &tagged(&data, 0x8100, 5),
                random.pick(&[0x8100, 0x88a8]),
                0x6006,
            )
        }
        // Damage behind the Ethernet header.
        2 => {
            let at = 14 + random.below(data.len() - 14);
            data[at] ^= 1 << random.below(8);
        }
        3 => data.truncate(14 + random.below(data.len() - 14)),
        _ => {}
    }
    packet(data)
}

/// Returns 1 when the packet could be compared.
fn one_packet(bench: &Bench, sim: &Sim, random: &mut Random, what: &str) -> Result<u64> {
    let from = random.below(PORTS);
    let number = DpPort(1 + from as u32);
    let sent = frame(random);
    let Some(key) = key_of(number, &sent) else {
        return Ok(0);
    };
    // Which of several flows answers is not defined.
    if sim.matching(&key).len() > 1 {
        return Ok(0);
    }
    sim.give(number, sent.clone());
    bench.ports[from].wire.send(&sent)?;

    let mut simulated = Vec::new();
    sim.recv(0, std::time::Duration::ZERO, 10, &mut simulated)?;
    for expected in &mut simulated {
        let mut got = bench.upcall().map_err(|e| e.context(what.to_owned()))?;
        // How many segments there will be is the sender's guess.
        same_segments(&mut got.packet, &expected.packet);
        ensure!(
            got == *expected,
            "{what}: upcall {got:02x?} instead of {expected:02x?}"
        );
        ensure!(got.kind == UpcallKind::Miss || sim.matching(&key).len() == 1);
    }
    for (n, port) in bench.ports.iter().enumerate() {
        while let Some(expected) = sim.take(DpPort(1 + n as u32)) {
            let mut expected = expected.packet;
            let Some(mut got) = port.wire.recv(SOON)? else {
                anyhow::bail!("{what}: nothing came out of port {n}: {sent:02x?}");
            };
            // A mark is not seen from outside.
            expected.mark = 0;
            same_segments(&mut got, &expected);
            ensure!(
                got == expected,
                "{what}: {sent:02x?}: {got:02x?} instead of {expected:02x?}"
            );
        }
        let extra = port.wire.drain()?;
        ensure!(
            extra.is_empty(),
            "{what}: {sent:02x?}: out of port {n} also {extra:02x?}"
        );
    }
    Ok(1)
}

fn same_segments(got: &mut Packet, expected: &Packet) {
    if let (Some(got), Some(expected)) = (&mut got.gso, &expected.gso) {
        got.segs = expected.segs;
    }
}

fn compare_flows(bench: &Bench, sim: &Sim, what: &str) -> Result<()> {
    let sorted = |dp: &dyn Dpif| -> Result<BTreeMap<(FlowMask, FlowKey), dpif::FlowEntry>> {
        Ok(dp
            .flow_dump()?
            .into_iter()
            .map(|f| ((f.mask, f.key), f))
            .collect())
    };
    let (kernel, simulated) = (sorted(bench.dp())?, sorted(sim)?);
    ensure!(kernel.len() == simulated.len(), "{what}: number of flows");
    for (at, expected) in &simulated {
        let Some(got) = kernel.get(at) else {
            anyhow::bail!("{what}: no flow {expected:?}");
        };
        ensure!(
            got.actions == expected.actions,
            "{what}: {got:?} instead of {expected:?}"
        );
        let (g, e) = (got.stats, expected.stats);
        ensure!(
            (g.packets, g.bytes, g.tcp_flags) == (e.packets, e.bytes, e.tcp_flags),
            "{what}: {got:?} instead of {expected:?}"
        );
    }
    for n in 1..=PORTS as u32 {
        let (g, e) = (
            bench.dp().port_stats(DpPort(n))?,
            sim.port_stats(DpPort(n))?,
        );
        ensure!(g == e, "{what}: port {n}: {g:?} instead of {e:?}");
    }
    Ok(())
}
