//! Ports come and go; the datapath outlives its daemon.

use std::net::{Ipv4Addr, UdpSocket};

use anyhow::{Context, Result, ensure};
use dpif::{Dpif, Error, PortKind, PortSpec};
use packet::{Action, DpPort};
use tests::process::run;

use crate::bench::{Bench, QUIET, SOON, in_netns};
use crate::frames::{packet, udp};

fn internal(name: &str) -> PortSpec {
    PortSpec {
        name: name.to_owned(),
        kind: PortKind::Internal,
    }
}

#[test]
fn numbers_are_kept_and_given_as_wanted() {
    in_netns("numbers", || {
        let bench = Bench::new(2)?;
        let dp = bench.dp();
        let spec = PortSpec {
            name: "p1".to_owned(),
            kind: PortKind::System,
        };
        ensure!(dp.port_add(&spec, Some(DpPort(9)))?.port == bench.ports[0].number);
        ensure!(dp.port_add(&internal("br0"), Some(DpPort(9)))?.port == DpPort(9));
        ensure!(dp.port_add(&internal("br1"), Some(DpPort(9)))?.port == DpPort(3));
        let missing = PortSpec {
            name: "nodev".to_owned(),
            kind: PortKind::System,
        };
        let refused = dp.port_add(&missing, None);
        ensure!(matches!(refused, Err(Error::Device { .. })), "{refused:?}");
        let clash = dp.port_add(&internal("wp1"), None);
        ensure!(matches!(clash, Err(Error::Device { .. })), "{clash:?}");
        ensure!(dp.port_list()?.len() == 4);
        dp.port_del(DpPort(9))?;
        ensure!(
            run("ip", &["link", "show", "br0"]).is_err(),
            "the device is gone"
        );
        ensure!(matches!(dp.port_del(DpPort(9)), Err(Error::NoSuchPort(9))));
        Ok(())
    });
}

#[test]
fn an_internal_port_is_the_hosts_own_device() {
    in_netns("internal", || {
        let bench = Bench::new(1)?;
        let port = bench.ports[0].number;
        let local = bench.dp().port_add(&internal("br0"), None)?.port;
        run("ip", &["link", "set", "br0", "up"])?;
        run("ip", &["addr", "add", "10.0.0.2/24", "dev", "br0"])?;
        run(
            "ip",
            &[
                "neigh",
                "add",
                "10.0.0.1",
                "lladdr",
                "02:00:00:00:00:0a",
                "dev",
                "br0",
            ],
        )?;
        let mac = std::fs::read_to_string("/sys/class/net/br0/address");
        let link = run("ip", &["-o", "link", "show", "br0"])?;
        ensure!(link.contains("LOWER_UP"), "no carrier: {link}");
        let mac = mac
            .ok()
            .filter(|m| link.contains(m.trim()))
            .unwrap_or_else(|| {
                let at = link.find("link/ether ").map_or(0, |n| n + 11);
                link[at..].split(' ').next().unwrap_or_default().to_owned()
            });
        let mac: Vec<u8> = mac
            .trim()
            .split(':')
            .map(|b| u8::from_str_radix(b, 16))
            .collect::<Result<_, _>>()?;
        bench.flow(port, vec![Action::Output(local)])?;
        bench.flow(local, vec![Action::Output(port)])?;

        let socket = UdpSocket::bind((Ipv4Addr::new(10, 0, 0, 2), 2000))?;
        socket.set_read_timeout(Some(SOON))?;
        let mut frame = udp(3000, 2000, b"to the host");
        frame[..6].copy_from_slice(&mac);
        bench.ports[0].wire.send_bytes(&frame)?;
        let mut buf = [0; 100];
        let (n, from) = socket
            .recv_from(&mut buf)
            .with_context(|| format!("drops {:?}", bench.dp().drops()))?;
        ensure!(&buf[..n] == b"to the host" && from.port() == 3000);
        socket.send_to(b"from the host", from)?;
        let end = std::time::Instant::now() + SOON;
        let mut got = None;
        while got.is_none() && std::time::Instant::now() < end {
            let frame = bench.ports[0].wire.recv(SOON)?;
            got = frame.filter(|p| p.data.ends_with(b"from the host"));
        }
        ensure!(got.is_some(), "nothing from the host");
        Ok(())
    });
}

#[test]
fn a_successor_finds_everything_and_nothing_stops_meanwhile() {
    in_netns("adopt", || {
        let mut bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let local = bench.dp().port_add(&internal("br0"), None)?;
        run("ip", &["link", "set", "br0", "up"])?;
        bench.flow(a, vec![Action::Output(b)])?;
        let tag = Action::PushVlan {
            tpid: 0x8100,
            tci: 7,
        };
        bench.flow(b, vec![tag, Action::Output(a)])?;
        let frame = udp(1, 2, b"on and on");
        bench.pass(0, 1, &packet(frame.clone()))?;
        let ports = bench.dp().port_list()?;

        bench.dp = None;
        ensure!(
            bench_pass(&bench, &frame)?,
            "forwarding stopped with its daemon"
        );
        let link = run("ip", &["-o", "link", "show", "br0"])?;
        ensure!(
            link.contains("LOWER_UP"),
            "the internal port lost its carrier: {link}"
        );

        bench.reopen()?;
        ensure!(bench.dp().port_list()? == ports);
        ensure!(ports.contains(&local));
        let flows = bench.dp().flow_dump()?;
        let of = |p: DpPort| flows.iter().find(|f| f.key.in_port == p.0).expect("a flow");
        ensure!(flows.len() == 2 && of(b).actions == [tag, Action::Output(a)]);
        ensure!(of(a).stats.packets == 2, "{:?}", of(a).stats);
        // The successor's own changes work on what it found.
        bench.flow(a, vec![])?;
        bench.ports[0].wire.send_bytes(&frame)?;
        ensure!(!bench.ports[1].wire.recv_frame(&frame, QUIET)?);
        bench.dp().port_del(b)?;
        ensure!(bench.dp().port_list()?.len() == 2);
        Ok(())
    });
}

fn bench_pass(bench: &Bench, frame: &[u8]) -> Result<bool> {
    bench.ports[0].wire.send_bytes(frame)?;
    bench.ports[1].wire.recv_frame(frame, SOON)
}

#[test]
fn a_device_that_comes_back_is_a_port_again() {
    in_netns("vanish", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        bench.flow(a, vec![Action::Output(b)])?;
        run("ip", &["link", "del", "p2"])?;
        ensure!(bench.dp().check_attachments()?.is_empty());
        run(
            "ip",
            &["link", "add", "p2", "type", "veth", "peer", "name", "wp2"],
        )?;
        for name in ["p2", "wp2"] {
            run("ip", &["link", "set", name, "up"])?;
        }
        ensure!(bench.dp().check_attachments()? == ["p2"]);
        ensure!(bench.dp().check_attachments()?.is_empty());
        let wire = crate::wire::Wire::open("wp2")?;
        let frame = udp(1, 2, b"back");
        bench.ports[0].wire.send_bytes(&frame)?;
        ensure!(wire.recv_frame(&frame, SOON)?);
        Ok(())
    });
}

#[test]
fn a_datapath_of_another_size_takes_over_without_a_gap() {
    in_netns("migrate", || {
        let mut bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let tag = Action::PushVlan {
            tpid: 0x8100,
            tci: 7,
        };
        bench.flow(a, vec![Action::Output(b)])?;
        bench.flow(b, vec![tag, Action::Output(a)])?;
        let frame = udp(1, 2, b"bigger");
        ensure!(bench_pass(&bench, &frame)?);
        let ports = bench.dp().port_list()?;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let sender = {
            let (stop, frame) = (stop.clone(), frame.clone());
            let wire = crate::wire::Wire::open("wp1")?;
            std::thread::spawn(move || -> Result<u64> {
                let mut sent = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    wire.send_bytes(&frame)?;
                    sent += 1;
                    std::thread::sleep(std::time::Duration::from_micros(500));
                }
                Ok(sent)
            })
        };
        for flows in [8192, 2048] {
            bench.config.flows = flows;
            bench.reopen()?;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let sent = sender.join().expect("the sender ends")?;
        std::thread::sleep(QUIET);
        let got = bench.ports[1].wire.drain()?.len() as u64;
        ensure!(
            got == sent && sent > 100,
            "{got} of {sent} packets came through"
        );
        ensure!(bench.dp().port_list()? == ports);
        let flows = bench.dp().flow_dump()?;
        ensure!(flows.len() == 2 && flows.iter().any(|f| f.actions == [tag, Action::Output(a)]));
        let counted = flows
            .iter()
            .find(|f| f.key.in_port == a.0)
            .expect("a flow")
            .stats
            .packets;
        ensure!(
            (sent / 2..=sent + 1).contains(&counted),
            "{counted} of {sent}"
        );
        Ok(())
    });
}

#[test]
fn without_tcx_links_filters_do_the_same() {
    in_netns("clsact", || {
        let mut bench = Bench::new(2)?;
        bench.dp().destroy()?;
        bench.config.tcx = false;
        bench.reopen()?;
        let number = |name: &str, kind| -> Result<DpPort> {
            let spec = PortSpec {
                name: name.to_owned(),
                kind,
            };
            Ok(bench.dp().port_add(&spec, None)?.port)
        };
        let (a, b) = (
            number("p1", PortKind::System)?,
            number("p2", PortKind::System)?,
        );
        let local = number("br0", PortKind::Internal)?;
        run("ip", &["link", "set", "br0", "up"])?;
        bench.flow(a, vec![Action::Output(b)])?;
        bench.flow(local, vec![Action::Output(b)])?;
        let frame = udp(1, 2, b"by filter");
        ensure!(bench_pass(&bench, &frame)?);
        crate::wire::Wire::open("br0")?.send_bytes(&frame)?;
        ensure!(bench.ports[1].wire.recv_frame(&frame, SOON)?);
        // Back in through the injection device.
        let upcall = dpif::DpOp::Execute {
            packet: packet(frame.clone()),
            in_port: a,
            actions: vec![Action::Output(b)],
        };
        bench.run(upcall)?;
        ensure!(bench.ports[1].wire.recv_frame(&frame, SOON)?);

        bench.dp = None;
        ensure!(
            bench_pass(&bench, &frame)?,
            "forwarding stopped with its daemon"
        );
        bench.reopen()?;
        ensure!(bench.dp().port_list()?.len() == 3);
        ensure!(bench_pass(&bench, &frame)?);

        run("tc", &["qdisc", "del", "dev", "p1", "clsact"])?;
        bench.ports[0].wire.send_bytes(&frame)?;
        ensure!(!bench.ports[1].wire.recv_frame(&frame, QUIET)?);
        ensure!(bench.dp().check_attachments()? == ["p1"]);
        ensure!(bench_pass(&bench, &frame)?);
        bench.dp().port_del(a)?;
        let left = run("tc", &["filter", "show", "dev", "p1", "ingress"])?;
        ensure!(left.trim().is_empty(), "a filter is left: {left}");
        Ok(())
    });
}

#[test]
fn one_process_at_a_time_and_what_a_dead_namespace_left_is_removed() {
    // The directory of every datapath, as this process sees the BPF file system.
    let count = || {
        let entries = std::fs::read_dir("/sys/fs/bpf/sluice")
            .into_iter()
            .flatten();
        entries
            .flatten()
            .map(|e| e.path())
            .collect::<std::collections::BTreeSet<_>>()
    };
    let before = count();
    in_netns("dead", || {
        let mut bench = Bench::new(1)?;
        let second = dpif::ebpf::EbpfDpif::open(&bench.config);
        ensure!(
            matches!(second, Err(Error::Datapath(_))),
            "two at one datapath"
        );
        // Dies without a farewell, and its namespace with it.
        bench.dp = None;
        Ok(())
    });
    let left: Vec<_> = count().difference(&before).cloned().collect();
    in_netns("after", move || {
        let end = std::time::Instant::now() + SOON;
        let mut bench = Bench::new(1)?;
        // A namespace takes a moment to go.
        while left.iter().any(|dir| dir.exists()) && std::time::Instant::now() < end {
            std::thread::sleep(QUIET);
            bench.reopen()?;
        }
        // Those of tests that run at this moment are not ours to judge.
        ensure!(
            !left.iter().all(|dir| dir.exists()) || left.is_empty(),
            "{left:?} stay"
        );
        Ok(())
    });
}
