//! Meters.

use anyhow::{Result, ensure};
use dpif::{Dpif, Error, MeterBand, MeterConfig};
use packet::action::SlowReason;
use packet::meter::MeterUnit;
use packet::{Action, DpMeter, DropReason};

use crate::bench::{Bench, QUIET, in_netns};
use crate::frames::{super_packet, udp};

fn meter(unit: MeterUnit, rate: u32, burst: u32) -> MeterConfig {
    MeterConfig {
        unit,
        band: Some(MeterBand { rate, burst }),
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
            (stats.packets, stats.bytes) == (20, 2000) && stats.dropped_packets == 20 - passed,
            "{stats:?}"
        );
        ensure!(stats.dropped_bytes == 100 * stats.dropped_packets);
        let policed = bench.dp().drops()?.into_iter();
        let policed: u64 = policed
            .filter(|(reason, _)| *reason == DropReason::Policed)
            .map(|(_, n)| n)
            .sum();
        ensure!(policed == stats.dropped_packets);

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
