//! The simulator against the kernel: random packets through random action lists come out of both
//! byte for byte the same, on the same ports, with the same drops; and random packets through
//! random meters find the same bands and are counted alike.
//!
//! `SLUICE_CASES` sets the number of cases.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dpif::sim::Sim;
use dpif::{DpOp, Dpif, MeterBand, MeterConfig, Packet, PortKind, PortSpec};
use packet::action::SetField;
use packet::meter::{BandAction, MAX_BANDS, MeterUnit};
use packet::{Action, DpMeter, DpPort, DropReason};

use crate::bench::{Bench, SOON, in_netns, put};
use crate::frames::{self, packet, super_packet, tagged};

const DEFAULT_CASES: u64 = 5000;
const PORTS: usize = 4;
/// Two tags and a type: the kernel itself drops what ends inside of a tag.
const SHORTEST: usize = 22;

#[test]
fn simulator_and_kernel_agree() {
    in_netns("agree", || {
        let cases = cases();
        let (bench, sim) = both()?;
        // One that never does anything, one that always drops, some that always re-mark; the third
        // is not there.
        let band = |rate, burst, action| MeterBand {
            rate,
            burst,
            action,
        };
        for (meter, bands) in [
            (1, vec![band(1, u32::MAX, BandAction::Drop)]),
            (2, vec![band(1, 0, BandAction::Drop)]),
            (4, vec![band(1, 0, BandAction::Remark(1))]),
            (
                5,
                vec![
                    band(9, u32::MAX, BandAction::Drop),
                    band(1, 0, BandAction::Drop),
                    band(3, 0, BandAction::Remark(2)),
                ],
            ),
        ] {
            let unit = MeterUnit::Packets;
            let config = MeterConfig { unit, bands };
            sim.meter_set(DpMeter(meter), &config)?;
            bench.dp().meter_set(DpMeter(meter), &config)?;
        }
        let mut totals = Totals::default();
        for seed in 1..=cases {
            case(&bench, &sim, &mut Random(seed), &mut totals)
                .map_err(|e| e.context(format!("case {seed}")))?;
        }
        println!(
            "simulator and kernel agree: {cases} cases, {} frames compared, {} lists ended in a \
             drop",
            totals.frames, totals.drops
        );
        ensure!(totals.frames > cases / 2 && totals.drops > cases / 20);
        Ok(())
    });
}

/// For any bands and any packets that come at once: what comes out, what is dropped and what each
/// band counts is the same in both.
#[test]
fn simulator_and_kernel_meter_alike() {
    /// Packets cost a second or a third of one, so that what a band earns in this time never pays
    /// for one more.
    const AT_ONCE: Duration = Duration::from_millis(300);
    const RATES: usize = 3;
    /// What a packet costs is whole numbers of kilobits.
    const UNIT_BYTES: usize = 125;
    in_netns("agree-meters", || {
        let cases = cases() / 20;
        let (bench, sim) = both()?;
        let ports: Vec<DpPort> = bench.ports.iter().map(|p| p.number).collect();
        let (mut totals, mut late) = (Totals::default(), 0);
        let mut by_action = BTreeMap::<_, u64>::new();
        for seed in 1..=cases {
            let r = &mut Random(seed.wrapping_mul(77));
            let bands = (0..r.below(MAX_BANDS + 1)).map(|_| MeterBand {
                rate: 1 + r.below(RATES) as u32,
                burst: r.below(12) as u32,
                action: match r.below(3) {
                    0 => BandAction::Drop,
                    _ => BandAction::Remark(r.below(4) as u8),
                },
            });
            let config = MeterConfig {
                bands: bands.collect(),
                unit: [MeterUnit::Packets, MeterUnit::Kilobits][r.below(2)],
            };
            let packets: Vec<Packet> = (0..8)
                .map(|_| {
                    let mut p = random_packet(r);
                    if p.gso.is_none() {
                        let len = p.data.len().next_multiple_of(UNIT_BYTES);
                        p.data.resize(len, 0);
                    }
                    p
                })
                .filter(|p| p.gso.is_none() || config.unit == MeterUnit::Packets)
                .collect();
            let meter = DpMeter(1);
            let actions = vec![
                Action::Output(ports[1]),
                Action::Meter(meter),
                Action::Output(ports[2]),
            ];
            install(&bench, &sim, ports[0], &actions)?;
            sim.meter_set(meter, &config)?;
            bench.dp().meter_set(meter, &config)?;
            let start = Instant::now();
            let mut done = Ok(());
            for packet in &packets {
                done = done.and_then(|()| compare(&bench, &sim, packet, &actions, &mut totals));
            }
            let counted = bench.dp().meter_stats(meter)?;
            if start.elapsed() > AT_ONCE {
                // Too slow to tell.
                late += 1;
                bench
                    .ports
                    .iter()
                    .try_for_each(|p| p.wire.drain().map(drop))?;
                while ports.iter().any(|p| sim.take(*p).is_some()) {}
                continue;
            }
            let expected = sim.meter_stats(meter)?;
            let told = || format!("case {seed}: {config:?}");
            done.map_err(|e| e.context(told()))?;
            ensure!(
                counted == expected,
                "{}: counted {counted:?} instead of {expected:?}",
                told()
            );
            for (band, n) in config.bands.iter().zip(expected.bands) {
                *by_action.entry(band.action).or_default() += n.packets;
            }
        }
        println!(
            "simulator and kernel meter alike: {cases} meters, {late} of them too late to tell, {} \
             frames compared, bands applied: {by_action:?}",
            totals.frames
        );
        ensure!(late <= cases / 4, "{late} of {cases} were too late to tell");
        ensure!(by_action.len() == 5 && by_action.values().all(|n| *n > 0));
        Ok(())
    });
}

fn cases() -> u64 {
    let cases = std::env::var("SLUICE_CASES").ok();
    cases.and_then(|n| n.parse().ok()).unwrap_or(DEFAULT_CASES)
}

/// Two datapaths with the same ports.
fn both() -> Result<(Bench, Sim)> {
    let bench = Bench::new(PORTS)?;
    let sim = Sim::default();
    for port in 1..=PORTS {
        let spec = PortSpec {
            name: format!("p{port}"),
            kind: PortKind::System,
        };
        let number = sim.port_add(&spec, Some(bench.ports[port - 1].number))?;
        ensure!(number.port == bench.ports[port - 1].number);
    }
    Ok((bench, sim))
}

#[derive(Default)]
struct Totals {
    frames: u64,
    drops: u64,
}

fn case(bench: &Bench, sim: &Sim, r: &mut Random, totals: &mut Totals) -> Result<()> {
    let ports: Vec<DpPort> = bench.ports.iter().map(|p| p.number).collect();
    let sent = random_packet(r);
    let actions = random_actions(r, &ports);
    install(bench, sim, ports[0], &actions)?;
    compare(bench, sim, &sent, &actions, totals)
}

/// Gives both the same flow.
fn install(bench: &Bench, sim: &Sim, from: DpPort, actions: &[Action]) -> Result<()> {
    let op: DpOp = put(from, actions.to_vec(), true);
    for result in sim.operate(std::slice::from_ref(&op)) {
        result?;
    }
    bench.run(op)
}

/// Sends a packet through the flow of both, which is that of the first port.
fn compare(
    bench: &Bench,
    sim: &Sim,
    sent: &Packet,
    actions: &[Action],
    totals: &mut Totals,
) -> Result<()> {
    let ports: Vec<DpPort> = bench.ports.iter().map(|p| p.number).collect();
    let sim_drops = drops(sim)?;
    let kernel_drops = drops(bench.dp())?;
    sim.give(ports[0], sent.clone());
    bench.ports[0].wire.send(sent)?;
    let told = || format!("{actions:?}\non {:02x?}", sent.data);
    for (n, port) in ports.iter().enumerate() {
        while let Some(expected) = sim.take(*port) {
            let Some(mut got) = bench.ports[n].wire.recv(SOON)? else {
                anyhow::bail!("nothing came out of port {n}\n{}", told());
            };
            let mut expected = expected.packet;
            // Of a device's own; a frame on a wire does not carry it.
            expected.mark = 0;
            if let (Some(got), Some(sent)) = (&mut got.gso, &expected.gso) {
                got.segs = sent.segs;
            }
            ensure!(
                got == expected,
                "port {n} gave {:02x?} {:?} {:?}\ninstead of {:02x?} {:?} {:?}\n{}",
                got.data,
                got.gso,
                got.csum_partial,
                expected.data,
                expected.gso,
                expected.csum_partial,
                told()
            );
            totals.frames += 1;
        }
    }
    // The last thing that a program does is to count a drop, so wait for that.
    let expected = difference(&drops(sim)?, &sim_drops);
    totals.drops += u64::from(!expected.is_empty());
    let end = Instant::now() + SOON;
    loop {
        let got = difference(&drops(bench.dp())?, &kernel_drops);
        if got == expected {
            break;
        }
        ensure!(
            Instant::now() < end,
            "dropped for {got:?} instead of {expected:?}\n{}",
            told()
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    for (n, port) in bench.ports.iter().enumerate() {
        let more = port.wire.drain()?;
        ensure!(
            more.is_empty(),
            "port {n} gave more: {more:02x?}\n{}",
            told()
        );
    }
    Ok(())
}

type Drops = BTreeMap<DropReason, u64>;

fn drops(dp: &dyn Dpif) -> Result<Drops> {
    Ok(dp.drops()?.into_iter().collect())
}

fn difference(now: &Drops, before: &Drops) -> Drops {
    let grown = now
        .iter()
        .map(|(r, n)| (*r, n - before.get(r).unwrap_or(&0)));
    grown.filter(|(_, n)| *n > 0).collect()
}

fn random_packet(r: &mut Random) -> Packet {
    let payload: Vec<u8> = (0..r.below(120)).map(|_| r.next() as u8).collect();
    let mut p = match r.below(16) {
        0 | 1 => packet(frames::tcp(&payload)),
        2 => packet(frames::tcp6(&payload)),
        3 | 4 => packet(frames::udp(1000, 53, &payload)),
        5 => packet(frames::udp6(1000, 53, &payload)),
        6 => packet(frames::icmp()),
        7 => packet(frames::icmp6()),
        8 => packet(frames::neighbour(135, 1)),
        9 => packet(frames::neighbour(136, 2)),
        10 => packet(frames::arp()),
        11 => packet(frames::sctp(r.below(2) == 0, payload.len())),
        12 => packet(frames::routing_header()),
        13 => return super_packet(2000 + r.below(20_000), 1448),
        14 => {
            let mut data = frames::udp(1, 2, &payload);
            data[40..42].copy_from_slice(&[0, 0]);
            packet(data)
        }
        _ => {
            let mut data = vec![0x88, 0xb5];
            data.splice(0..0, [frames::B, frames::A].concat());
            data.extend(&payload);
            packet(data)
        }
    };
    // A codepoint, most of which say a drop precedence.
    let tos = match r.below(3) {
        0 => r.next() as u8,
        _ => ((1 + r.below(4)) << 5 | r.below(4) << 3 | r.below(4)) as u8,
    };
    match p.data.get(12..14) {
        Some([8, 0]) => p.data[15] = tos,
        Some([0x86, 0xdd]) => (p.data[14], p.data[15]) = (0x60 | tos >> 4, tos << 4),
        _ => {}
    }
    for _ in 0..r.below(4).saturating_sub(1) {
        let tpid = [0x8100, 0x88a8][r.below(2)];
        // The kernel does not keep the drop eligible bit of a tag it takes out of the data.
        p.data = tagged(&p.data, tpid, r.next() as u16 & 0xefff);
    }
    // What a hostile sender does: bits changed, the end cut off, padding.
    if r.below(4) == 0 && p.data.len() > 14 {
        for _ in 0..=r.below(3) {
            let at = 14 + r.below(p.data.len() - 14);
            p.data[at] ^= 1 << r.below(8);
        }
    }
    if r.below(6) == 0 {
        p.data.truncate(14 + r.below(p.data.len() - 14));
    }
    if p.data.len() < SHORTEST {
        p.data.resize(SHORTEST, 0);
    }
    if r.below(6) == 0 {
        let padded = p.data.len() + r.below(20);
        p.data.resize(padded, 0);
    }
    p
}

fn random_actions(r: &mut Random, ports: &[DpPort]) -> Vec<Action> {
    let mut list: Vec<Action> = (0..1 + r.below(8))
        .map(|_| match r.below(12) {
            0..=3 => Action::Output(ports[1 + r.below(ports.len() - 1)]),
            4 | 5 => Action::PushVlan {
                tpid: [0x8100, 0x88a8][r.below(2)],
                tci: r.next() as u16,
            },
            6 => Action::PopVlan,
            7 if r.below(2) == 0 => Action::Meter(DpMeter([1, 1, 2, 3, 4, 4, 5][r.below(7)])),
            7 => Action::PopVlan,
            _ => random_set(r),
        })
        .collect();
    // Fields that a random packet is sure to have, so that not every list fails.
    if r.below(2) == 0 {
        list.retain(|a| {
            let Action::Set { field, .. } = a else {
                return true;
            };
            matches!(field, SetField::EthDst | SetField::EthSrc)
        });
    }
    match r.below(8) {
        0 => list.push(Action::Output(DpPort(1999))),
        1 => list.push(Action::Drop(DropReason::Policy)),
        _ => list.push(Action::Output(ports[1])),
    }
    list
}

fn random_set(r: &mut Random) -> Action {
    let field = SetField::ALL[r.below(SetField::ALL.len())];
    let mut mask = [0xff; 6];
    if r.below(3) == 0 {
        mask = r.next().to_be_bytes()[..6].try_into().expect("six bytes");
    }
    Action::Set {
        field,
        value: r.next().to_be_bytes()[..6].try_into().expect("six bytes"),
        mask,
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}
