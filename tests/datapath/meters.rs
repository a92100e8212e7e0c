//! Meters.

use anyhow::{Result, ensure};
use dpif::{Dpif, Error, MeterBand, MeterConfig};
use packet::action::SlowReason;
use packet::meter::{BandAction, MAX_BANDS, MeterUnit};
use packet::{Action, DpMeter, DropReason};

use crate::bench::{Bench, QUIET, SOON, in_netns};
use crate::frames::{self, super_packet, tagged, udp};

fn band(rate: u32, burst: u32, action: BandAction) -> MeterBand {
    MeterBand {
        rate,
        burst,
        action,
    }
}

/// A meter that drops what is above one rate.
fn meter(unit: MeterUnit, rate: u32, burst: u32) -> MeterConfig {
    MeterConfig {
        unit,
        bands: vec![band(rate, burst, BandAction::Drop)],
    }
}

/// Frames that come out of a port until it is quiet.
fn count(bench: &Bench, port: usize) -> Result<u64> {
    let mut n = 0;
    while bench.ports[port].wire.recv(QUIET)?.is_some() {
        n += 1;
    }
    Ok(n)
}

#[test]
fn a_meter_lets_its_burst_through_and_counts_the_rest() {
    in_netns("meter", || {
        let bench = Bench::new(2)?;
        let [a, b] = [bench.ports[0].number, bench.ports[1].number];
        let id = DpMeter(7);
        bench.flow(a, vec![Action::Meter(id), Action::Output(b)])?;
        let frame = udp(1, 2, &[0; 58]);
        ensure!(frame.len() == 100);

        // Without a meter all pass.
        bench.ports[0].wire.send_bytes(&frame)?;
        ensure!(count(&bench, 1)? == 1);
        ensure!(matches!(
            bench.dp().meter_stats(id),
            Err(Error::NoSuchMeter(7))
        ));

        // One in ten seconds, and five at once.
        let five = meter(MeterUnit::Packets, 1, 5);
        bench.dp().meter_set(id, &five)?;
        for _ in 0..20 {
            bench.ports[0].wire.send_bytes(&frame)?;
        }
        let passed = count(&bench, 1)?;
        ensure!((5..=6).contains(&passed), "{passed} packets passed");
        let stats = bench.dp().meter_stats(id)?;
        ensure!(
            (stats.packets, stats.bytes) == (20, 2000) && stats.bands[0].packets == 20 - passed,
            "{stats:?}"
        );
        ensure!(stats.bands[0].bytes == 100 * stats.bands[0].packets);
        let policed = bench.dp().drops()?.into_iter();
        let policed: u64 = policed
            .filter(|(reason, _)| *reason == DropReason::Policed)
            .map(|(_, n)| n)
            .sum();
        ensure!(policed == stats.bands[0].packets);

        // 800 bits each: a burst of 4 kilobits is five of them. Counters begin anew.
        bench
            .dp()
            .meter_set(id, &meter(MeterUnit::Kilobits, 1, 4))?;
        for _ in 0..20 {
            bench.ports[0].wire.send_bytes(&frame)?;
        }
        let passed = count(&bench, 1)?;
        ensure!((5..=6).contains(&passed), "{passed} packets passed");
        ensure!(bench.dp().meter_stats(id)?.packets == 20);

        bench.dp().meter_del(id)?;
        ensure!(matches!(
            bench.dp().meter_del(id),
            Err(Error::NoSuchMeter(7))
        ));
        bench.ports[0].wire.send_bytes(&frame)?;
        ensure!(count(&bench, 1)? == 1);
        Ok(())
    });
}

#[test]
fn numbers_out_of_range_are_refused() {
    in_netns("meter-range", || {
        let bench = Bench::new(0)?;
        let any = meter(MeterUnit::Packets, 1, 1);
        let limit = u32::try_from(bench.dp().limits().meters)?;
        for id in [0, limit + 1, u32::MAX] {
            let set = bench.dp().meter_set(DpMeter(id), &any);
            ensure!(matches!(set, Err(Error::NoSuchMeter(n)) if n == id));
        }
        bench.dp().meter_set(DpMeter(limit), &any)?;
        let mut many = any;
        many.bands = vec![band(1, 1, BandAction::Drop); MAX_BANDS + 1];
        let set = bench.dp().meter_set(DpMeter(1), &many);
        ensure!(matches!(set, Err(Error::Full { limit: 8, .. })), "{set:?}");
        Ok(())
    });
}

#[test]
fn outputs_before_a_meter_are_done() {
    in_netns("meter-copies", || {
        let bench = Bench::new(3)?;
        let [a, b, c] = [0, 1, 2].map(|n| bench.ports[n].number);
        bench
            .dp()
            .meter_set(DpMeter(1), &meter(MeterUnit::Packets, 1, 0))?;
        let list = vec![
            Action::Output(b),
            Action::Meter(DpMeter(1)),
            Action::Output(c),
        ];
        bench.flow(a, list)?;
        bench.ports[0].wire.send_bytes(&udp(1, 2, b"once"))?;
        ensure!(count(&bench, 1)? == 1 && count(&bench, 2)? == 0);
        Ok(())
    });
}

/// Above the lower rate a packet is re-marked, above the higher one it is dropped.
#[test]
fn each_band_has_its_rate_and_its_count() {
    in_netns("meter-bands", || {
        let bench = Bench::new(2)?;
        let [a, b] = [bench.ports[0].number, bench.ports[1].number];
        let id = DpMeter(9);
        // Two packets at once, and then five; more in a second at the earliest.
        let config = MeterConfig {
            unit: MeterUnit::Packets,
            bands: vec![
                band(1, 2, BandAction::Remark(1)),
                band(2, 5, BandAction::Drop),
            ],
        };
        bench.dp().meter_set(id, &config)?;
        bench.flow(a, vec![Action::Meter(id), Action::Output(b)])?;
        let frame = with_tos(udp(1, 2, &[0; 58]), AF11 | 1);
        for _ in 0..20 {
            bench.ports[0].wire.send_bytes(&frame)?;
        }
        let mut tos = Vec::new();
        while let Some(packet) = bench.ports[1].wire.recv(QUIET)? {
            ensure!(ipv4_sum_is_right(&packet.data));
            tos.push(packet.data[15]);
        }
        ensure!(
            tos == [AF11 | 1, AF11 | 1, AF12 | 1, AF12 | 1, AF12 | 1],
            "{tos:02x?}"
        );
        let stats = bench.dp().meter_stats(id)?;
        ensure!((stats.packets, stats.bytes) == (20, 2000), "{stats:?}");
        let bands = stats.bands.map(|b| (b.packets, b.bytes));
        ensure!(bands[..3] == [(3, 300), (15, 1500), (0, 0)], "{stats:?}");
        Ok(())
    });
}

#[test]
fn a_meter_re_marks_what_has_a_drop_precedence() {
    in_netns("meter-remark", || {
        let bench = Bench::new(3)?;
        let [a, b, c] = [0, 1, 2].map(|n| bench.ports[n].number);
        // All are above its rate.
        let config = MeterConfig {
            unit: MeterUnit::Packets,
            bands: vec![band(1, 0, BandAction::Remark(2))],
        };
        bench.dp().meter_set(DpMeter(1), &config)?;
        let list = vec![
            Action::Output(b),
            Action::Meter(DpMeter(1)),
            Action::Output(c),
        ];
        bench.flow(a, list)?;
        let v6 = |tos: u8| {
            let mut frame = frames::udp6(1, 2, b"six");
            frame[14] |= tos >> 4;
            frame[15] |= tos << 4;
            frame
        };
        let v4 = |tos| with_tos(udp(1, 2, b"four"), tos);
        for (sent, want) in [
            (v4(AF11), v4(AF13)),
            (v4(AF12 | 3), v4(AF13 | 3)),
            (v4(AF13), v4(AF13)),
            // Best effort, class selector 1, expedited forwarding.
            (v4(0), v4(0)),
            (v4(0x20), v4(0x20)),
            (v4(0xb8), v4(0xb8)),
            (v6(AF11 | 2), v6(AF13 | 2)),
            (v6(0x20), v6(0x20)),
            (frames::arp(), frames::arp()),
            (tagged(&v4(AF11), 0x8100, 7), tagged(&v4(AF13), 0x8100, 7)),
        ] {
            bench.ports[0].wire.send_bytes(&sent)?;
            // What was sent on before the meter is not changed by it.
            for (port, want) in [(1, &sent), (2, &want)] {
                let got = bench.ports[port].wire.recv(SOON)?;
                let got = got.map(|p| p.data).unwrap_or_default();
                ensure!(got == *want, "port {port}: {got:02x?} and not {want:02x?}");
            }
        }
        // The header of a super-packet is that of all its segments.
        let mut sent = super_packet(6 * 1448, 1448);
        sent.data = with_tos(sent.data, AF11);
        let got = bench.pass(0, 2, &sent)?;
        ensure!(got.data[15] == AF13 && ipv4_sum_is_right(&got.data));
        ensure!(got.gso.is_some_and(|gso| gso.size == 1448), "{:?}", got.gso);
        Ok(())
    });
}

const AF11: u8 = 0x28;
const AF12: u8 = 0x30;
const AF13: u8 = 0x38;

/// An untagged IPv4 frame with another type of service, its header checksum made anew.
fn with_tos(mut frame: Vec<u8>, tos: u8) -> Vec<u8> {
    frame[15] = tos;
    frame[24..26].fill(0);
    let sum = !ones_sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn ipv4_sum_is_right(frame: &[u8]) -> bool {
    ones_sum(&frame[14..34]) == 0xffff
}

/// RFC 1071.
fn ones_sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u16::from_be_bytes([w[0], w[1]]));
    let mut sum: u32 = words.map(u32::from).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[test]
fn a_super_packet_counts_as_its_segments() {
    in_netns("meter-super", || {
        let bench = Bench::new(2)?;
        let [a, b] = [bench.ports[0].number, bench.ports[1].number];
        bench
            .dp()
            .meter_set(DpMeter(1), &meter(MeterUnit::Packets, 1, 8))?;
        bench.flow(a, vec![Action::Meter(DpMeter(1)), Action::Output(b)])?;
        // Six segments; then there is room for two more packets.
        bench.ports[0].wire.send(&super_packet(6 * 1448, 1448))?;
        for _ in 0..10 {
            bench.ports[0].wire.send_bytes(&udp(1, 2, b"small"))?;
        }
        let passed = count(&bench, 1)?;
        ensure!((3..=4).contains(&passed), "{passed} packets passed");
        Ok(())
    });
}

#[test]
fn the_slow_path_is_metered() {
    in_netns("meter-slow", || {
        let bench = Bench::new(1)?;
        bench
            .dp()
            .meter_set(DpMeter(3), &meter(MeterUnit::Packets, 1, 4))?;
        let slow = Action::SlowPath(SlowReason::Controller);
        let list = vec![Action::Meter(DpMeter(3)), slow];
        bench.flow(bench.ports[0].number, list.clone())?;
        ensure!(bench.dp().flow_dump()?[0].actions == list);
        for n in 0..50 {
            bench.ports[0].wire.send_bytes(&udp(n, 2, b"up"))?;
        }
        let mut got = Vec::new();
        while bench.dp().recv(0, QUIET, 100, &mut got)? > 0 {}
        ensure!((4..=5).contains(&got.len()), "{} upcalls", got.len());
        Ok(())
    });
}
