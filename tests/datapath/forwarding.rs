//! Flows, masks, action lists and their statistics.

use anyhow::{Result, ensure};
use dpif::{DpOp, Dpif};
use packet::{Action, DpPort, DropReason, FlowKey};

use crate::bench::{Bench, QUIET, in_netns, port_mask, put};
use crate::frames::{self, packet, tagged, udp};

#[test]
fn one_flow_forwards_and_counts() {
    in_netns("one-flow", || {
        let bench = Bench::new(2)?;
        let [a, b] = [bench.ports[0].number, bench.ports[1].number];
        bench.flow(a, vec![Action::Output(b)])?;
        let frame = udp(1, 2, b"hello, everyone of you");
        for _ in 0..3 {
            ensure!(bench.pass(0, 1, &packet(frame.clone()))?.data == frame);
        }
        let flows = bench.dp().flow_dump()?;
        ensure!(flows.len() == 1 && flows[0].actions == [Action::Output(b)]);
        let stats = flows[0].stats;
        ensure!(
            stats.packets == 3 && stats.bytes == 3 * frame.len() as u64,
            "{stats:?}"
        );
        ensure!(
            stats.idle.is_some_and(|idle| idle.as_secs() < 5),
            "{stats:?}"
        );
        ensure!(bench.dp().port_stats(a)?.rx_packets == 3);
        ensure!(bench.dp().port_stats(b)?.tx_bytes == 3 * frame.len() as u64);
        ensure!(bench.dp().drops()?.is_empty());
        Ok(())
    });
}

#[test]
fn new_actions_hold_at_once_and_statistics_stay() {
    in_netns("replace", || {
        let bench = Bench::new(3)?;
        let [a, b, c] = [0, 1, 2].map(|n| bench.ports[n].number);
        let exact = |actions, replace| -> Result<DpOp> {
            let mut key = FlowKey::zero();
            let meta = packet::extract::Meta {
                in_port: a.0,
                ..Default::default()
            };
            let frame = udp(1, 2, b"a");
            packet::extract::extract(&frame.as_slice(), &meta, &mut key).expect("parses");
            let mut mask = port_mask();
            mask.0.tp_dst = [0xff; 2];
            Ok(DpOp::FlowPut {
                key,
                mask,
                actions,
                replace,
            })
        };
        bench.run(exact(vec![Action::Output(b)], false)?)?;
        bench.flow(b, vec![Action::Output(a)])?;
        let frame = udp(1, 2, b"a");
        for _ in 0..2 {
            bench.pass(0, 1, &packet(frame.clone()))?;
        }
        let refused = bench
            .dp()
            .operate(&[exact(vec![Action::Output(c)], false)?]);
        ensure!(
            matches!(refused[0], Err(dpif::Error::Exists)),
            "{refused:?}"
        );
        bench.run(exact(vec![Action::Output(c)], true)?)?;
        bench.pass(0, 2, &packet(frame.clone()))?;
        ensure!(bench.ports[1].wire.recv(QUIET)?.is_none());
        let flows = bench.dp().flow_dump()?;
        let flow = flows
            .iter()
            .find(|f| f.key.in_port == a.0)
            .expect("is there");
        ensure!(
            flow.stats.packets == 3 && flow.actions == [Action::Output(c)],
            "{flow:?}"
        );
        Ok(())
    });
}

#[test]
fn a_deleted_flow_matches_no_more() {
    in_netns("delete", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        // Two masks, so that the exact-match cache is in use.
        let mut mask = port_mask();
        mask.0.eth_type = [0xff; 2];
        let mut key = FlowKey::zero();
        (key.in_port, key.eth_type) = (a.0, [0x86, 0xdd]);
        bench.run(DpOp::FlowPut {
            key,
            mask,
            actions: vec![],
            replace: false,
        })?;
        bench.flow(a, vec![Action::Output(b)])?;
        let frame = packet(udp(1, 2, b""));
        bench.pass(0, 1, &frame)?;
        bench.pass(0, 1, &frame)?;
        ensure!(
            bench.dp().stats()?.exact_hit >= 1,
            "{:?}",
            bench.dp().stats()
        );
        let mut key = FlowKey::zero();
        key.in_port = a.0;
        bench.run(DpOp::FlowDel {
            key,
            mask: port_mask(),
        })?;
        bench.ports[0].wire.send(&frame)?;
        ensure!(bench.ports[1].wire.recv(QUIET)?.is_none());
        ensure!(bench.upcall()?.key.in_port == a.0);
        let again = bench.dp().operate(&[DpOp::FlowDel {
            key,
            mask: port_mask(),
        }]);
        ensure!(
            matches!(again[0], Err(dpif::Error::NoSuchFlow)),
            "{again:?}"
        );
        bench.dp().flow_flush()?;
        ensure!(bench.dp().flow_dump()?.is_empty());
        Ok(())
    });
}

#[test]
fn tags_are_pushed_and_popped() {
    in_netns("vlan", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let plain = udp(1, 2, b"x");
        let one = tagged(&plain, 0x8100, 0x2064);
        let two = tagged(&one, 0x88a8, 0x0007);
        let three = tagged(&two, 0x8100, 0x0009);
        let push = |tpid, tci| Action::PushVlan { tpid, tci };
        let out = Action::Output(b);
        let cases = [
            ("push one", &plain, vec![push(0x8100, 0x2064), out], &one),
            ("push a second", &one, vec![push(0x88a8, 7), out], &two),
            ("push a third", &two, vec![push(0x8100, 9), out], &three),
            ("pop one", &one, vec![Action::PopVlan, out], &plain),
            ("pop of two", &two, vec![Action::PopVlan, out], &one),
            (
                "pop two",
                &two,
                vec![Action::PopVlan, Action::PopVlan, out],
                &plain,
            ),
            (
                "push two",
                &plain,
                vec![push(0x8100, 0x2064), push(0x88a8, 7), out],
                &two,
            ),
            (
                "pop, push",
                &one,
                vec![Action::PopVlan, push(0x8100, 0x2064), out],
                &one,
            ),
        ];
        for (what, sent, actions, expected) in cases {
            bench.flow(a, actions)?;
            let got = bench.pass(0, 1, &packet(sent.clone()))?.data;
            ensure!(
                got == *expected,
                "{what}: {got:02x?} instead of {expected:02x?}"
            );
        }
        Ok(())
    });
}

#[test]
fn copies_have_what_the_list_did_so_far() {
    in_netns("copies", || {
        let bench = Bench::new(4)?;
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| bench.ports[n].number);
        let plain = udp(1, 2, b"y");
        let actions = vec![
            Action::Output(b),
            Action::PushVlan {
                tpid: 0x8100,
                tci: 5,
            },
            Action::Output(c),
            Action::PopVlan,
            Action::Output(d),
            Action::Output(a),
        ];
        bench.flow(a, actions)?;
        ensure!(bench.pass(0, 1, &packet(plain.clone()))?.data == plain);
        let recv = |n: usize| -> Result<Vec<u8>> {
            Ok(bench.ports[n]
                .wire
                .recv(QUIET)?
                .map(|p| p.data)
                .unwrap_or_default())
        };
        ensure!(recv(2)? == tagged(&plain, 0x8100, 5));
        ensure!(recv(3)? == plain);
        ensure!(recv(0)? == plain);
        Ok(())
    });
}

#[test]
fn a_flood_to_a_thousand_ports_stays_in_the_kernel() {
    in_netns("flood", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        // One device stands for all: what counts is that every output of the list is carried out.
        bench.flow(a, vec![Action::Output(b); 1000])?;
        bench.ports[0].wire.send_bytes(&udp(1, 2, b"z"))?;
        let mut got = 0;
        while got < 1000 && bench.ports[1].wire.recv(crate::bench::SOON)?.is_some() {
            got += 1;
        }
        ensure!(got == 1000, "{got} copies; {:?}", bench.dp().drops());
        ensure!(bench.dp().port_stats(b)?.tx_packets == 1000);
        let flows = bench.dp().flow_dump()?;
        ensure!(flows[0].actions.len() == 1000);
        Ok(())
    });
}

#[test]
fn what_goes_nowhere_is_counted() {
    in_netns("drops", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let count = |reason| -> Result<u64> {
            let drops = bench.dp().drops()?;
            Ok(drops
                .iter()
                .find(|(r, _)| *r == reason)
                .map_or(0, |(_, n)| *n))
        };
        let plain = udp(1, 2, b"y");
        let cases = [
            (vec![], DropReason::Policy),
            (
                vec![Action::Drop(DropReason::TableMiss)],
                DropReason::TableMiss,
            ),
            (vec![Action::Output(DpPort(77))], DropReason::NoSuchOutput),
            (
                vec![Action::Output(DpPort(77)), Action::Output(DpPort(78))],
                DropReason::NoSuchOutput,
            ),
        ];
        for (actions, reason) in cases {
            let before = count(reason)?;
            bench.flow(a, actions)?;
            bench.ports[0].wire.send_bytes(&plain)?;
            ensure!(bench.ports[1].wire.recv(QUIET)?.is_none());
            ensure!(
                count(reason)? > before,
                "{reason:?}: {:?}",
                bench.dp().drops()
            );
        }
        bench.flow(a, vec![Action::Output(b)])?;
        let off = dpif::PortConfig {
            receive: true,
            transmit: false,
        };
        bench.dp().port_set_config(b, off)?;
        bench.ports[0].wire.send_bytes(&plain)?;
        ensure!(bench.ports[1].wire.recv(QUIET)?.is_none());
        ensure!(count(DropReason::PortDown)? == 1 && bench.dp().port_stats(b)?.tx_dropped == 1);
        let off = dpif::PortConfig {
            receive: false,
            transmit: true,
        };
        bench.dp().port_set_config(
            b,
            dpif::PortConfig {
                receive: true,
                transmit: true,
            },
        )?;
        bench.dp().port_set_config(a, off)?;
        bench.ports[0].wire.send_bytes(&plain)?;
        ensure!(bench.ports[1].wire.recv(QUIET)?.is_none());
        ensure!(count(DropReason::PortDown)? == 2 && bench.dp().port_stats(a)?.rx_dropped == 1);
        Ok(())
    });
}

#[test]
fn masks_past_the_cap_become_exact_entries() {
    in_netns("masks", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let meta = packet::extract::Meta {
            in_port: a.0,
            ..Default::default()
        };
        for n in 0..100u8 {
            let frame = udp(u16::from(n) + 1, 9, b"m");
            let mut key = FlowKey::zero();
            packet::extract::extract(&frame.as_slice(), &meta, &mut key).expect("parses");
            let mut mask = port_mask();
            mask.0.tp_src = [0xff; 2];
            mask.0.eth_src = [n, 1, 0, 0, 0, 0];
            let actions = vec![Action::Output(b)];
            bench.run(DpOp::FlowPut {
                key,
                mask,
                actions,
                replace: false,
            })?;
        }
        ensure!(
            bench.dp().mask_overflows() == 38,
            "{}",
            bench.dp().mask_overflows()
        );
        for n in 0..100u16 {
            let frame = udp(n + 1, 9, b"m");
            ensure!(bench.pass(0, 1, &packet(frame.clone()))?.data == frame);
        }
        for flow in bench.dp().flow_dump()? {
            bench.run(DpOp::FlowDel {
                key: flow.key,
                mask: flow.mask,
            })?;
        }
        ensure!(bench.dp().stats()?.masks == 0);
        Ok(())
    });
}

#[test]
fn ipv6_and_arp_are_found_in_the_wide_tables() {
    in_netns("wide", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let frame = frames::udp6(5, 6, b"six");
        let meta = packet::extract::Meta {
            in_port: a.0,
            ..Default::default()
        };
        let mut key = FlowKey::zero();
        packet::extract::extract(&frame.as_slice(), &meta, &mut key).expect("parses");
        let mut mask = port_mask();
        mask.0.ipv6_dst = [0xff; 16];
        let actions = vec![Action::Output(b)];
        bench.run(DpOp::FlowPut {
            key,
            mask,
            actions,
            replace: false,
        })?;
        for _ in 0..2 {
            ensure!(bench.pass(0, 1, &packet(frame.clone()))?.data == frame);
        }
        let stats = bench.dp().stats()?;
        ensure!(stats.exact_hit == 1 && stats.megaflow_hit == 1, "{stats:?}");
        let other = put(a, vec![], false);
        bench.run(other)?;
        ensure!(bench.dp().stats()?.masks == 2);
        Ok(())
    });
}

#[test]
fn a_full_table_says_so_and_is_of_use_again_when_emptied() {
    in_netns("full", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let limit = bench.dp().limits().flows;
        let flow = |n: u32, wide: bool| {
            let mut key = FlowKey::zero();
            let mut mask = port_mask();
            (key.in_port, key.ipv4_dst, mask.0.ipv4_dst) = (a.0, n.to_be_bytes(), [0xff; 4]);
            if wide {
                (key.ipv6_dst[15], mask.0.ipv6_dst) = (1, [0xff; 16]);
            }
            (key, mask)
        };
        let tag = Action::PushVlan {
            tpid: 0x8100,
            tci: 1,
        };
        for wide in [false, true, false] {
            let start = std::time::Instant::now();
            let puts: Vec<DpOp> = (0..limit as u32)
                .map(|n| {
                    let (key, mask) = flow(n, wide);
                    let actions = vec![tag, Action::Output(b)];
                    DpOp::FlowPut {
                        key,
                        mask,
                        actions,
                        replace: false,
                    }
                })
                .collect();
            ensure!(bench.dp().operate(&puts).iter().all(|r| r.is_ok()));
            let (key, mask) = flow(limit as u32, wide);
            let more = DpOp::FlowPut {
                key,
                mask,
                actions: vec![],
                replace: false,
            };
            let refused = bench.dp().operate(std::slice::from_ref(&more));
            ensure!(
                matches!(refused[0], Err(dpif::Error::Full { .. })),
                "{refused:?}"
            );
            ensure!(bench.dp().flow_dump()?.len() == limit);
            // One goes, so one more fits.
            let (key, mask) = flow(7, wide);
            bench.run(DpOp::FlowDel { key, mask })?;
            bench.run(more)?;
            let dels: Vec<DpOp> = (0..=limit as u32)
                .filter(|n| *n != 7)
                .map(|n| {
                    let (key, mask) = flow(n, wide);
                    DpOp::FlowDel { key, mask }
                })
                .collect();
            ensure!(bench.dp().operate(&dels).iter().all(|r| r.is_ok()));
            ensure!(bench.dp().stats()?.flows == 0 && bench.dp().stats()?.masks == 0);
            println!(
                "{limit} flows put, dumped and deleted in {:?}",
                start.elapsed()
            );
        }
        bench.flow(a, vec![Action::Output(b)])?;
        bench.pass(0, 1, &packet(udp(1, 2, b"still here")))?;
        Ok(())
    });
}
