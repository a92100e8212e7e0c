//! Packets to userspace and back.

use std::time::Duration;

use anyhow::ensure;
use dpif::{DpOp, Dpif, UpcallKind};
use packet::action::SlowReason;
use packet::extract::{Meta, extract};
use packet::{Action, DropReason, FlowKey};

use crate::bench::{Bench, QUIET, SOON, in_netns};
use crate::frames::{packet, super_packet, tagged, tcp, udp};

#[test]
fn a_miss_comes_up_whole_and_goes_back() {
    in_netns("miss", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let plain = udp(1, 2, b"first");
        for frame in [
            plain.clone(),
            tagged(&plain, 0x8100, 0x6123),
            tagged(&tagged(&plain, 0x8100, 3), 0x88a8, 4),
            tcp(&[7; 1400]),
        ] {
            bench.ports[0].wire.send_bytes(&frame)?;
            let upcall = bench.upcall()?;
            ensure!(upcall.kind == UpcallKind::Miss);
            ensure!(upcall.packet == packet(frame.clone()), "{upcall:02x?}");
            let mut key = FlowKey::zero();
            let meta = Meta {
                in_port: a.0,
                ..Meta::default()
            };
            extract(&frame.as_slice(), &meta, &mut key).expect("parses");
            ensure!(upcall.key == key, "{:?} instead of {key:?}", upcall.key);
            bench.run(DpOp::Execute {
                packet: upcall.packet,
                in_port: a,
                actions: vec![Action::Output(b)],
            })?;
            let got = bench.ports[1].wire.recv(SOON)?;
            ensure!(got == Some(packet(frame)), "{got:02x?}");
        }
        Ok(())
    });
}

#[test]
fn a_super_packet_survives_the_trip() {
    in_netns("super", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let sent = super_packet(60_000, 1448);
        for (what, actions) in [
            ("plain", vec![Action::Output(b)]),
            (
                "tagged",
                vec![
                    Action::PushVlan {
                        tpid: 0x8100,
                        tci: 9,
                    },
                    Action::Output(b),
                ],
            ),
        ] {
            bench.ports[0].wire.send(&sent)?;
            let upcall = bench.upcall()?;
            ensure!(upcall.packet == sent, "{what}: {:?}", upcall.packet.gso);
            bench.run(DpOp::Execute {
                packet: upcall.packet,
                in_port: a,
                actions,
            })?;
            let Some(got) = bench.ports[1].wire.recv(SOON)? else {
                anyhow::bail!("{what}: nothing came");
            };
            ensure!(
                got.gso.map(|g| g.size) == Some(1448),
                "{what}: {:?}",
                got.gso
            );
            ensure!(got.csum_partial.is_some(), "{what}");
            let data = if what == "tagged" {
                tagged(&sent.data, 0x8100, 9)
            } else {
                sent.data.clone()
            };
            ensure!(got.data == data, "{what}");
        }
        Ok(())
    });
}

#[test]
fn an_unfinished_checksum_is_noticed() {
    in_netns("partial", || {
        let bench = Bench::new(1)?;
        let mut sent = super_packet(100, 1448);
        sent.gso = None;
        bench.ports[0].wire.send(&sent)?;
        ensure!(bench.upcall()?.packet == sent);
        Ok(())
    });
}

#[test]
fn the_slow_path_says_why() {
    in_netns("slow", || {
        let bench = Bench::new(1)?;
        bench.flow(
            bench.ports[0].number,
            vec![Action::SlowPath(SlowReason::Controller)],
        )?;
        for n in 0..3 {
            bench.ports[0].wire.send_bytes(&udp(n, 2, b"up"))?;
            let upcall = bench.upcall()?;
            ensure!(upcall.kind == UpcallKind::Action(SlowReason::Controller));
            ensure!(upcall.key.tp_src() == n);
        }
        Ok(())
    });
}

#[test]
fn one_missed_key_sends_a_few_packets_up_and_others_still_come() {
    in_netns("pending", || {
        let bench = Bench::new(1)?;
        let frame = udp(1, 2, b"again");
        for _ in 0..500 {
            bench.ports[0].wire.send_bytes(&frame)?;
        }
        bench.ports[0].wire.send_bytes(&udp(77, 2, b"another"))?;
        let mut got = Vec::new();
        while bench.dp().recv(0, QUIET, 100, &mut got)? > 0 {}
        let same = got.iter().filter(|u| u.key.tp_src() == 1).count();
        ensure!((10..500).contains(&same), "{same} upcalls of one key");
        ensure!(got.iter().any(|u| u.key.tp_src() == 77));
        let drops = bench.dp().drops()?;
        ensure!(
            drops
                .iter()
                .any(|(r, n)| *r == DropReason::UpcallPending && *n as usize == 500 - same),
            "{drops:?}"
        );
        let stats = bench.dp().stats()?;
        ensure!(
            stats.missed == 501 && stats.lost as usize == 500 - same,
            "{stats:?}"
        );
        Ok(())
    });
}

#[test]
fn a_port_that_storms_does_not_starve_another() {
    in_netns("quota", || {
        let mut bench = Bench::new(2)?;
        bench.config.upcall_rate = 1000;
        bench.config.upcall_burst = 100;
        bench.reopen()?;
        for n in 0..5000u16 {
            bench.ports[0].wire.send_bytes(&udp(n, 2, b"storm"))?;
        }
        bench.ports[1].wire.send_bytes(&udp(1, 2, b"calm"))?;
        let mut got = Vec::new();
        while bench
            .dp()
            .recv(0, Duration::from_millis(20), 1000, &mut got)?
            > 0
        {}
        let storm = got
            .iter()
            .filter(|u| u.key.in_port == bench.ports[0].number.0)
            .count();
        ensure!((100..2000).contains(&storm), "{storm} upcalls of the storm");
        ensure!(got.len() == storm + 1, "the other port's upcall is lost");
        let drops = bench.dp().drops()?;
        ensure!(
            drops.iter().any(|(r, _)| *r == DropReason::UpcallQuota),
            "{drops:?}"
        );
        Ok(())
    });
}
