//! Groups and meters, from the command line to the packets.

use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use tests::process::wait_for;
use tests::traffic::{BackgroundPing, ping};
use tests::{Host, Switch, require_root};

const OF13: [&str; 2] = ["-O", "OpenFlow13"];

fn ofctl(s: &Switch, args: &[&str]) -> Result<String> {
    s.ofctl(&[&OF13[..], args].concat())
}

/// A switch with OpenFlow 1.3 and three hosts' ports, 1 to 3.
fn start(name: &str) -> Result<(Switch, [Host; 3])> {
    let s = Switch::start(name)?;
    let hosts = [
        Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?,
        Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?,
        Host::new(&s, "e2e-c", "c0", "10.1.0.2/24")?,
    ];
    s.vsctl(&[
        "add-br",
        "br0",
        "--",
        "set",
        "Bridge",
        "br0",
        "fail_mode=secure",
    ])?;
    for (n, port) in ["a0", "b0", "c0"].iter().enumerate() {
        let request = format!("ofport_request={}", n + 1);
        s.vsctl(&[
            "add-port",
            "br0",
            port,
            "--",
            "set",
            "Interface",
            port,
            &request,
        ])?;
    }
    Ok((s, hosts))
}

/// The value behind `key` in the statistics of a group.
fn stat(s: &Switch, key: &str) -> Result<u64> {
    let text = ofctl(s, &["dump-group-stats", "br0", "group_id=1"])?;
    let value = text.split_once(key).map_or("", |(_, rest)| rest);
    let digits = value.split(|c: char| !c.is_ascii_digit()).next();
    Ok(digits.unwrap_or("").parse().unwrap_or(0))
}

/// b and c have the same addresses: whichever the group sends to answers.
#[test]
fn fast_failover_fails_over_and_back() -> Result<()> {
    if !require_root("fast_failover_fails_over_and_back") {
        return Ok(());
    }
    let (s, [a, b, c]) = start("e2e-ff")?;
    let mac = b.mac()?;
    c.ns.ip(&["link", "set", "eth0", "address", &mac])?;
    ofctl(
        &s,
        &[
            "add-group",
            "br0",
            "group_id=1,type=ff,bucket=watch_port:2,output:2,bucket=watch_port:3,output:3",
        ],
    )?;
    ofctl(&s, &["add-flow", "br0", "in_port=1,actions=group:1"])?;
    for port in ["2", "3"] {
        ofctl(
            &s,
            &[
                "add-flow",
                "br0",
                &format!("in_port={port},actions=output:1"),
            ],
        )?;
    }
    assert!(ping(&a.ns, "10.1.0.2", 3, "0.1")?.received > 0);

    let pings = BackgroundPing::start(&a.ns, "10.1.0.2", 60, "0.05")?;
    std::thread::sleep(Duration::from_millis(500));
    b.ns.ip(&["link", "set", "eth0", "down"])?;
    let pings = pings.finish()?;
    assert!(pings.received >= 45, "{pings:?}");
    wait_for("the second bucket counts", Duration::from_secs(5), || {
        stat(&s, "bucket1:packet_count=").is_ok_and(|n| n > 10)
    })?;

    // Taken down by the administrator.
    b.ns.ip(&["link", "set", "eth0", "up"])?;
    wait_for("the first port is back", Duration::from_secs(5), || {
        ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
    })?;
    ofctl(&s, &["mod-port", "br0", "2", "down"])?;
    assert!(ping(&a.ns, "10.1.0.2", 5, "0.1")?.received >= 4);
    Ok(())
}

#[test]
fn select_spreads_and_sticks() -> Result<()> {
    if !require_root("select_spreads_and_sticks") {
        return Ok(());
    }
    let (s, [a, _b, _c]) = start("e2e-select")?;
    ofctl(
        &s,
        &[
            "add-group",
            "br0",
            "group_id=1,type=select,bucket=output:2,bucket=output:3",
        ],
    )?;
    ofctl(&s, &["add-flow", "br0", "udp,in_port=1,actions=group:1"])?;
    a.ns.ip(&[
        "neigh",
        "add",
        "10.1.0.2",
        "lladdr",
        "02:00:00:00:00:99",
        "dev",
        "eth0",
    ])?;
    // Forty conversations of five packets each.
    a.ns.enter(|| -> std::io::Result<()> {
        for _ in 0..40 {
            let socket = std::net::UdpSocket::bind("10.1.0.1:0")?;
            for _ in 0..5 {
                socket.send_to(b"hello", "10.1.0.2:9")?;
            }
        }
        Ok(())
    })
    .join()
    .expect("no panic")?;
    wait_for("all are counted", Duration::from_secs(8), || {
        stat(&s, "packet_count=").is_ok_and(|n| n >= 200)
    })?;
    for bucket in ["bucket0:packet_count=", "bucket1:packet_count="] {
        let n = stat(&s, bucket)?;
        assert!((40..=160).contains(&n), "{bucket}{n}");
        assert_eq!(n % 5, 0, "a conversation keeps to its bucket");
    }
    Ok(())
}

#[test]
fn a_meter_limits() -> Result<()> {
    if !require_root("a_meter_limits") {
        return Ok(());
    }
    let (s, [a, _b, _c]) = start("e2e-meter")?;
    ofctl(&s, &["add-flow", "br0", "arp,actions=normal"])?;
    ofctl(
        &s,
        &[
            "add-meter",
            "br0",
            "meter=1,pktps,burst,stats,bands=type=drop,rate=20,burst_size=5",
        ],
    )?;
    ofctl(
        &s,
        &["add-flow", "br0", "icmp,in_port=1,actions=meter:1,output:2"],
    )?;
    ofctl(&s, &["add-flow", "br0", "icmp,in_port=2,actions=output:1"])?;
    assert!(ping(&a.ns, "10.1.0.2", 1, "0.1")?.all());
    std::thread::sleep(Duration::from_millis(400));
    // A hundred a second for two seconds: five at once, then twenty a second.
    let pings = ping(&a.ns, "10.1.0.2", 200, "0.01")?;
    assert!((20..=120).contains(&pings.received), "{pings:?}");
    let stats = ofctl(&s, &["meter-stats", "br0", "meter=1"])?;
    assert!(stats.contains("flow_count:1"), "{stats}");
    let dropped = stats.split_once("0: packet_count:").map_or("", |(_, n)| n);
    let dropped = dropped.split(' ').next().unwrap_or("").parse::<u32>()?;
    assert_eq!(dropped, 200 - pings.received, "{stats}");

    ofctl(&s, &["del-meter", "br0", "meter=1"])?;
    let flows = ofctl(&s, &["dump-flows", "br0", "icmp,in_port=1"])?;
    assert!(!flows.contains("meter"), "{flows}");
    Ok(())
}

const AF11: u8 = 0x28;
const AF12: u8 = 0x30;

/// Above the lower rate packets come with a higher drop precedence, above the higher one not at all.
#[test]
fn a_meter_re_marks_before_it_drops() -> Result<()> {
    const SENT: usize = 60;
    if !require_root("a_meter_re_marks_before_it_drops") {
        return Ok(());
    }
    let (s, [a, b, _c]) = start("e2e-remark")?;
    ofctl(
        &s,
        &[
            "add-meter",
            "br0",
            "meter=1,pktps,burst,stats,bands=type=drop,rate=2,burst_size=20,\
             type=dscp_remark,rate=1,burst_size=5,prec_level=1",
        ],
    )?;
    let meters = ofctl(&s, &["dump-meters", "br0"])?;
    let bands = "\nmeter=1 pktps burst stats bands=\n\
                 type=drop rate=2 burst_size=20\n\
                 type=dscp_remark rate=1 burst_size=5 prec_level=1\n";
    assert!(meters.contains(bands), "{meters}");
    ofctl(
        &s,
        &["add-flow", "br0", "udp,in_port=1,actions=meter:1,output:2"],
    )?;
    let mac = b.mac()?;
    a.ns.ip(&["neigh", "add", "10.1.0.2", "lladdr", &mac, "dev", "eth0"])?;
    let receiver = b.ns.enter(|| ip_packets(libc::IPPROTO_UDP)).join();
    let receiver = receiver.expect("no panic")?;
    receiver.set_read_timeout(Some(Duration::from_millis(500)))?;
    let sender = a.ns.enter(|| UdpSocket::bind("10.1.0.1:0")).join();
    let sender = sender.expect("no panic")?;
    let tos = i32::from(AF11);
    // SAFETY: the option's value is an integer of four bytes.
    let set = unsafe {
        let value = (&raw const tos).cast();
        libc::setsockopt(sender.as_raw_fd(), libc::IPPROTO_IP, libc::IP_TOS, value, 4)
    };
    assert_eq!(set, 0);
    for _ in 0..SENT {
        sender.send_to(b"hello", "10.1.0.2:9")?;
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut got = Vec::new();
    let mut packet = [0; 100];
    while let Ok(n) = receiver.recv(&mut packet) {
        assert!(n > 20);
        got.push(packet[1]);
    }
    // At once five and twenty; one and two more come in each second.
    assert!((20..=26).contains(&got.len()), "{got:02x?}");
    let low = got.iter().filter(|tos| **tos == AF11).count();
    let high = got.iter().filter(|tos| **tos == AF12).count();
    assert!((5..=8).contains(&low), "{got:02x?}");
    assert_eq!(low + high, got.len(), "{got:02x?}");

    let stats = ofctl(&s, &["meter-stats", "br0", "meter=1"])?;
    let count = |key: &str| -> usize {
        let value = stats.split_once(key).map_or("", |(_, rest)| rest);
        let digits = value.split(|c: char| !c.is_ascii_digit()).next();
        digits.unwrap_or("").parse().unwrap_or(usize::MAX)
    };
    assert_eq!(count("packet_in_count:"), SENT, "{stats}");
    assert_eq!(count("\n0: packet_count:"), SENT - got.len(), "{stats}");
    assert_eq!(count("\n1: packet_count:"), high, "{stats}");
    Ok(())
}

/// A socket that receives packets of a protocol with their IP headers.
fn ip_packets(protocol: i32) -> std::io::Result<UdpSocket> {
    // SAFETY: a plain system call; the descriptor is nobody else's.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol);
        if fd < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(UdpSocket::from(OwnedFd::from_raw_fd(fd)))
    }
}
