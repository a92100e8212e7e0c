//! Faucet as the controller: VLANs, an access list, and routing between the VLANs.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::process::{Background, tail, wait_for};
use tests::traffic::ping;
use tests::{Host, Switch};

use crate::{connected, ready};

/// Hosts a and b are in one VLAN, c and d in another; what comes from a passes the access list.
const PORTS: &str = r#"
acls:
  from-a:
    - rule: {dl_type: 0x800, nw_proto: 6, tcp_dst: 5001, actions: {allow: 0}}
    - rule: {actions: {allow: 1}}
dps:
  sw1:
    dp_id: 0x1
    hardware: "Open vSwitch"
    interfaces:
      1: {native_vlan: office, acl_in: from-a}
      2: {native_vlan: office}
      3: {native_vlan: guest}
      4: {native_vlan: guest}
"#;

const APART: &str = "
vlans:
  office: {vid: 100}
  guest: {vid: 200}
";

const ROUTED: &str = r#"
vlans:
  office: {vid: 100, faucet_mac: "0e:00:00:00:00:01", faucet_vips: ["10.1.0.254/24"]}
  guest: {vid: 200, faucet_mac: "0e:00:00:00:00:02", faucet_vips: ["10.2.0.254/24"]}
routers:
  between: {vlans: [office, guest]}
"#;

/// A switch whose only bridge Faucet runs.
struct Faucet {
    switch: Switch,
    process: Background,
}

impl Faucet {
    fn start(switch: Switch, vlans: &str) -> Result<Faucet> {
        let program = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../target/venv/bin/python")
            .with_file_name("faucet");
        ensure!(
            program.exists(),
            "Faucet is not installed: cargo xtask setup installs it"
        );
        let dir = switch.dir().to_owned();
        std::fs::write(dir.join("faucet.yaml"), format!("{vlans}{PORTS}"))?;
        let out = std::fs::File::create(dir.join("faucet.out"))?;
        let mut command = switch.ns.command(&program);
        command
            .env("FAUCET_CONFIG", dir.join("faucet.yaml"))
            .env("FAUCET_LOG", dir.join("faucet.log"))
            .env("FAUCET_EXCEPTION_LOG", dir.join("exception.log"))
            .env("FAUCET_PROMETHEUS_ADDR", "127.0.0.1")
            .env("FAUCET_PROMETHEUS_PORT", "9302")
            .args(["--ryu-ofp-listen-host", "127.0.0.1"])
            .args(["--ryu-ofp-tcp-listen-port", "6653"])
            .args(["--ryu-config-file", "/nonexistent"])
            .stdout(out.try_clone()?)
            .stderr(out);
        let mut process = Background::spawn(&mut command)?;
        switch.vsctl(&["set-controller", "br0", "tcp:127.0.0.1:6653"])?;
        let up = wait_for("Faucet is connected", Duration::from_secs(30), || {
            connected(&switch)
        });
        up.with_context(|| said(&dir))?;
        ensure!(process.running(), "{}", said(&dir));
        let log = dir.join("faucet.log");
        wait_for(
            "Faucet has configured the switch",
            Duration::from_secs(30),
            || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("Port 4")),
        )
        .with_context(|| said(&dir))?;
        Ok(Faucet { switch, process })
    }

    /// Nothing was refused, and nothing was not understood.
    fn end(mut self) -> Result<()> {
        let dir = self.switch.dir().to_owned();
        ensure!(self.process.running(), "{}", said(&dir));
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        let log = read("faucet.log");
        ensure!(!log.contains("OFError") && !log.contains("ERROR"), "{log}");
        ensure!(read("exception.log").is_empty(), "{}", said(&dir));
        ensure!(!read("faucet.out").contains("Traceback"), "{}", said(&dir));
        self.process.terminate()
    }
}

fn said(dir: &Path) -> String {
    ["faucet.log", "exception.log", "faucet.out"]
        .iter()
        .map(|name| format!("{name}:\n{}\n", tail(&dir.join(name), 40)))
        .collect()
}

/// The bridge and hosts a, b, c and d on ports 1 to 4.
fn four_hosts(name: &str, addresses: [&str; 4]) -> Result<(Switch, [Host; 4])> {
    let s = Switch::start(name)?;
    s.vsctl(&["add-br", "br0", "--", "set-fail-mode", "br0", "secure"])?;
    s.vsctl(&[
        "set",
        "Bridge",
        "br0",
        "protocols=OpenFlow13",
        "other-config:datapath-id=0000000000000001",
    ])?;
    let make = |n: usize| -> Result<Host> {
        let port = format!("p{n}");
        let host = Host::new(&s, &format!("io-{n}"), &port, addresses[n - 1])?;
        let request = format!("ofport_request={n}");
        let set = ["--", "set", "Interface", &port, &request];
        s.vsctl(&[&["add-port", "br0", &port][..], &set].concat())?;
        Ok(host)
    };
    let hosts = [make(1)?, make(2)?, make(3)?, make(4)?];
    Ok((s, hosts))
}

fn reaches(from: &Host, to: &str) -> bool {
    ping(&from.ns, to, 1, "0.1").is_ok_and(|p| p.all())
}

/// Whether a TCP connection to this port comes about.
fn connects(client: &Host, server: &Host, to: &str) -> Result<bool> {
    let to: SocketAddr = to.parse()?;
    let listen = move || TcpListener::bind(to);
    let _listener = server.ns.enter(listen).join().expect("no panic")?;
    let connect = move || TcpStream::connect_timeout(&to, Duration::from_secs(2)).is_ok();
    Ok(client.ns.enter(connect).join().expect("no panic"))
}

#[test]
fn faucet_keeps_vlans_apart() -> Result<()> {
    if !ready("faucet_keeps_vlans_apart", &["python3"]) {
        return Ok(());
    }
    // All in one network: only the VLANs are between them.
    let addresses = ["10.1.0.1/24", "10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24"];
    let (s, [a, b, c, d]) = four_hosts("io-faucet", addresses)?;
    assert!(!reaches(&a, "10.1.0.2"), "no controller, no traffic");
    let faucet = Faucet::start(s, APART)?;
    let dir = faucet.switch.dir().to_owned();
    for (from, to) in [(&a, "10.1.0.2"), (&c, "10.1.0.4")] {
        wait_for("hosts of one VLAN talk", Duration::from_secs(15), || {
            reaches(from, to)
        })
        .with_context(|| said(&dir))?;
        assert!(ping(&from.ns, to, 10, "0.05")?.all());
    }
    for (from, to) in [(&a, "10.1.0.3"), (&b, "10.1.0.4"), (&d, "10.1.0.1")] {
        assert_eq!(ping(&from.ns, to, 3, "0.1")?.received, 0, "to {to}");
    }
    assert!(!connects(&a, &b, "10.1.0.2:5001")?, "the list drops it");
    assert!(connects(&a, &b, "10.1.0.2:5002")?);
    assert!(connects(&b, &a, "10.1.0.1:5001")?, "no list on b's port");
    faucet.end()
}

#[test]
fn faucet_routes_between_vlans() -> Result<()> {
    if !ready("faucet_routes_between_vlans", &["python3"]) {
        return Ok(());
    }
    let addresses = ["10.1.0.1/24", "10.1.0.2/24", "10.2.0.3/24", "10.2.0.4/24"];
    let (s, [a, b, c, d]) = four_hosts("io-faucet", addresses)?;
    for (host, gateway) in [(&a, "10.1.0.254"), (&b, "10.1.0.254")] {
        host.ns.ip(&["route", "add", "default", "via", gateway])?;
    }
    for (host, gateway) in [(&c, "10.2.0.254"), (&d, "10.2.0.254")] {
        host.ns.ip(&["route", "add", "default", "via", gateway])?;
    }
    let faucet = Faucet::start(s, ROUTED)?;
    let dir = faucet.switch.dir().to_owned();
    wait_for("the gateway answers", Duration::from_secs(15), || {
        reaches(&a, "10.1.0.254") && reaches(&c, "10.2.0.254")
    })
    .with_context(|| said(&dir))?;
    for (from, to) in [(&a, "10.2.0.3"), (&b, "10.2.0.4"), (&d, "10.1.0.1")] {
        wait_for("the VLANs talk", Duration::from_secs(20), || {
            reaches(from, to)
        })
        .with_context(|| said(&dir))?;
        assert!(ping(&from.ns, to, 10, "0.05")?.all(), "to {to}");
    }
    assert!(!connects(&a, &c, "10.2.0.3:5001")?, "the list drops it");
    assert!(connects(&a, &c, "10.2.0.3:5002")?);
    faucet.end()
}
