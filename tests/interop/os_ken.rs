//! os-ken as the controller of our bridge, in every OpenFlow version that it speaks.
//!
//! It complains in its log about what it cannot read; every test looks there before it ends.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::process::{Background, tail, wait_for};
use tests::traffic::{BackgroundPing, ping};
use tests::{Host, Switch};

use crate::driver::Driver;
use crate::{connected, ready};

const PORT: u16 = 6633;

/// What the framework, or Python, says of a message that it cannot read.
const COMPLAINTS: [&str; 4] = ["malformed", "Traceback", "Error", "Unknown"];

fn venv() -> Result<PathBuf> {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../target/venv")
        .canonicalize()
        .context("the controller framework is not installed: cargo xtask setup installs it")
}

/// The framework's manager with an application, listening on `port` of the switch's namespace.
fn manager(s: &Switch, app: &PathBuf, port: u16) -> Result<std::process::Command> {
    let log = std::fs::File::create(s.dir().join(format!("os-ken.{port}.log")))?;
    let mut command = s.ns.command(venv()?.join("bin/python"));
    command
        .args(["-m", "os_ken.cmd.manager", "--ofp-listen-host", "127.0.0.1"])
        .args(["--ofp-tcp-listen-port", &port.to_string()])
        .arg(app)
        .stdout(Stdio::null())
        .stderr(log);
    Ok(command)
}

fn log(s: &Switch, port: u16) -> String {
    tail(&s.dir().join(format!("os-ken.{port}.log")), 60)
}

/// The framework read everything that it got.
fn content(s: &Switch, port: u16) -> Result<()> {
    let path = s.dir().join(format!("os-ken.{port}.log"));
    let text = std::fs::read_to_string(path)?;
    ensure!(!COMPLAINTS.iter().any(|c| text.contains(c)), "{text}");
    Ok(())
}

/// A bridge in secure mode with hosts on ports 1, 2 and so on.
fn bridge(name: &str, minor: u8, hosts: &[(&str, &str)]) -> Result<(Switch, Vec<Host>)> {
    let s = Switch::start(name)?;
    let protocol = format!("protocols=OpenFlow1{minor}");
    s.vsctl(&["add-br", "br0", "--", "set-fail-mode", "br0", "secure"])?;
    s.vsctl(&["set", "Bridge", "br0", &protocol])?;
    let mut made = Vec::new();
    for (n, (host, address)) in hosts.iter().enumerate() {
        let port = format!("p{}", n + 1);
        made.push(Host::new(&s, host, &port, address)?);
        let request = format!("ofport_request={}", n + 1);
        let set = ["--", "set", "Interface", &port, &request];
        s.vsctl(&[&["add-port", "br0", &port][..], &set].concat())?;
    }
    Ok((s, made))
}

/// Our application of the framework: answers one line with one value.
struct Controller {
    driver: Driver,
    port: u16,
}

impl Controller {
    fn start(s: &Switch, minor: u8, port: u16) -> Result<Controller> {
        let app = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("interop/python/controller.py");
        let mut command = manager(s, &app, port)?;
        command.env("MINOR", minor.to_string());
        let driver = Driver::start(&mut command)?;
        Ok(Controller { driver, port })
    }

    /// Starts it and waits until the switch is connected.
    fn connect(s: &Switch, minor: u8) -> Result<Controller> {
        let mut controller = Controller::start(s, minor, PORT)?;
        s.vsctl(&["set-controller", "br0", &format!("tcp:127.0.0.1:{PORT}")])?;
        let said = controller.ask(s, "connect")?;
        assert_eq!(said["version"], minor + 1);
        Ok(controller)
    }

    fn tell(&mut self, s: &Switch, line: &str) -> Result<Value> {
        let port = self.port;
        let said = self.driver.ask(line).with_context(|| log(s, port))?;
        serde_json::from_str(&said).with_context(|| said)
    }

    /// The answer to `line`, which must not be an error.
    fn ask(&mut self, s: &Switch, line: &str) -> Result<Value> {
        let said = self.tell(s, line)?;
        ensure!(
            said.get("error").is_none(),
            "{line}: {said}\n{}",
            log(s, self.port)
        );
        Ok(said)
    }

    /// How many packets each bucket of the only group had.
    fn by_bucket(&mut self, s: &Switch) -> Result<Vec<u64>> {
        let said = self.ask(s, "group-stats")?;
        let counts = said.as_array().context("a list")?;
        Ok(counts.iter().filter_map(Value::as_u64).collect())
    }

    /// The error that `line` is answered with.
    fn refused(&mut self, s: &Switch, line: &str) -> Result<String> {
        let said = self.tell(s, line)?;
        let error = said["error"].as_str();
        Ok(error
            .with_context(|| format!("{line} is refused, not {said}"))?
            .to_owned())
    }
}

/// The framework's own example applications.
#[test]
fn learning_switches_of_every_version_run_the_bridge() -> Result<()> {
    if !ready(
        "learning_switches_of_every_version_run_the_bridge",
        &["python3"],
    ) {
        return Ok(());
    }
    let hosts = [("io-a", "10.1.0.1/24"), ("io-b", "10.1.0.2/24")];
    let (s, hosts) = bridge("io-osken", 3, &hosts)?;
    assert_eq!(ping(&hosts[0].ns, "10.1.0.2", 2, "0.1")?.received, 0);
    for (n, (app, minor)) in [
        ("simple_switch", 0),
        ("simple_switch_12", 2),
        ("simple_switch_13", 3),
        ("simple_switch_14", 4),
        ("simple_switch_15", 5),
    ]
    .into_iter()
    .enumerate()
    {
        let port = PORT + n as u16;
        s.vsctl(&["del-controller", "br0"])?;
        let protocols = match minor {
            3 => "protocols=OpenFlow13".to_owned(),
            _ => format!("protocols=OpenFlow13,OpenFlow1{minor}"),
        };
        s.vsctl(&["set", "Bridge", "br0", &protocols])?;
        s.ofctl(&["-O", "OpenFlow13", "del-flows", "br0"])?;
        let mut command = manager(&s, &venv()?.join(format!("{app}.py")), port)?;
        let mut controller = Background::spawn(&mut command)?;
        s.vsctl(&["set-controller", "br0", &format!("tcp:127.0.0.1:{port}")])?;
        let up = wait_for(
            "the controller is connected",
            Duration::from_secs(20),
            || connected(&s),
        );
        let said = log(&s, port);
        assert!(controller.running(), "{app} ended: {said}");
        up.with_context(|| format!("{app} said: {said}"))?;
        wait_for("hosts talk", Duration::from_secs(10), || {
            ping(&hosts[0].ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
        })
        .with_context(|| format!("{app} said: {}", log(&s, port)))?;
        assert!(ping(&hosts[0].ns, "10.1.0.2", 10, "0.05")?.all());
        let flows = s.ofctl(&["-O", "OpenFlow13", "dump-flows", "br0"])?;
        assert!(flows.contains("dl_dst="), "learned by {app}: {flows}");
        content(&s, port).context(app)?;
    }
    Ok(())
}

/// What the switch says of itself, in every version, is what it is.
#[test]
fn statistics_of_every_version_are_understood() -> Result<()> {
    if !ready("statistics_of_every_version_are_understood", &["python3"]) {
        return Ok(());
    }
    for minor in [0, 2, 3, 4, 5] {
        let hosts = [("io-a", "10.1.0.1/24"), ("io-b", "10.1.0.2/24")];
        let (s, _hosts) = bridge("io-stats", minor, &hosts)?;
        let mut c = Controller::connect(&s, minor)?;
        c.ask(&s, "forward 1 2")?;
        c.ask(&s, "forward 2 1")?;
        if minor >= 2 {
            c.ask(&s, "select 7 1 2")?;
        }
        if minor >= 3 {
            c.ask(&s, "meter 3 1 2 1000")?;
        }
        let said = c.ask(&s, "stats")?;
        let len = |name: &str| said[name].as_array().map_or(0, Vec::len);
        let about = |what: &str| format!("1.{minor} {what}: {}", said[what]);
        let refused: Vec<_> = said
            .as_object()
            .context("an object")?
            .iter()
            .filter(|(_, v)| v.as_str().is_some())
            .collect();
        assert!(refused.is_empty(), "1.{minor}: {refused:?}");
        assert_eq!(len("desc"), 1, "{}", about("desc"));
        assert_eq!(len("flow"), 2, "{}", about("flow"));
        // The two hosts' ports and the bridge's own.
        assert_eq!(len("port"), 3, "{}", about("port"));
        assert!(len("table") >= 254, "{}", about("table"));
        let aggregate = said["aggregate"].to_string();
        assert!(
            aggregate.contains(r#""flow_count":2"#) || minor == 5,
            "{aggregate}"
        );
        if minor >= 2 {
            assert_eq!(len("group"), 1, "{}", about("group"));
            let described = if minor == 5 { 0 } else { 1 };
            assert_eq!(len("group-desc"), described, "{}", about("group-desc"));
            assert_eq!(len("group-features"), 1, "{}", about("group-features"));
        }
        if minor >= 3 {
            assert_eq!(len("port-desc"), 3, "{}", about("port-desc"));
            assert_eq!(len("meter"), 1, "{}", about("meter"));
            let config = if minor == 5 {
                "meter-desc"
            } else {
                "meter-config"
            };
            assert_eq!(len(config), 1, "{}", about(config));
            let tables = c.ask(&s, "features")?;
            let tables = tables.as_array().context("a list")?;
            // Instructions, next tables, actions, fields to match and to set: for hits and misses.
            let full = |t: &&Value| t[1] == 1_000_000 && t[2].as_u64() >= Some(10);
            assert!(tables.iter().filter(full).count() >= 253, "{tables:?}");
        }
        if minor >= 4 {
            assert!(len("table-desc") >= 254, "{}", about("table-desc"));
        }
        if minor == 5 {
            assert_eq!(len("flow-desc"), 2, "{}", about("flow-desc"));
        }
        content(&s, PORT).with_context(|| format!("1.{minor}"))?;
    }
    Ok(())
}

/// The ONF's encoding of bundles in 1.3, the specification's in 1.4 and 1.5.
#[test]
fn bundles_in_both_encodings() -> Result<()> {
    if !ready("bundles_in_both_encodings", &["python3"]) {
        return Ok(());
    }
    for minor in [3, 4, 5] {
        let (s, _) = bridge("io-bundle", minor, &[])?;
        let mut c = Controller::connect(&s, minor)?;
        let steps = c.ask(&s, "bundle")?;
        // The commit: OFPBFC_MSG_FAILED, the ONF's or the specification's; the flow that there is
        // no group for: OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP.
        let failed = match minor {
            3 => "0x4f4e4600 2313",
            _ => "17 13",
        };
        let expected = [
            "open", "close", "commit", "open", failed, "2 9", "open", "discard",
        ];
        assert_eq!(steps, Value::from(&expected[..]));
        let version = format!("OpenFlow1{minor}");
        let flows = s.ofctl(&["-O", &version, "--no-stats", "dump-flows", "br0"])?;
        let priorities: Vec<&str> = ["11", "12", "13", "21", "31"]
            .into_iter()
            .filter(|p| flows.contains(&format!("priority={p},")))
            .collect();
        assert_eq!(priorities, ["11", "12", "13"], "{flows}");
        content(&s, PORT)?;
    }
    Ok(())
}

/// Native from 1.4 on; the ONF's extension in 1.3, whose answers os-ken leaves as bytes.
#[test]
fn flow_monitors_follow_the_flows() -> Result<()> {
    if !ready("flow_monitors_follow_the_flows", &["python3"]) {
        return Ok(());
    }
    for minor in [3, 4, 5] {
        let (s, _) = bridge("io-monitor", minor, &[])?;
        let mut c = Controller::connect(&s, minor)?;
        c.ask(&s, "forward 2 1")?;
        let events = c.ask(&s, "monitor")?;
        let events = events.as_array().context("a list")?;
        assert_eq!(events.len(), 4, "the flow there was, and three changes");
        let event = |n: usize| events[n].to_string();
        if minor == 3 {
            // Added (the one there was), added, modified, deleted.
            assert_eq!(*events, [0, 0, 2, 1].map(Value::from));
        } else {
            for (n, kind) in [(0, 0), (1, 1), (2, 3), (3, 2)] {
                assert!(
                    event(n).contains(&format!("\"event\":{kind}")),
                    "{}",
                    event(n)
                );
            }
            assert!(event(1).contains("\"cookie\":65"), "{}", event(1));
            assert!(event(2).contains("OFPActionOutput"), "{}", event(2));
        }
        content(&s, PORT)?;
    }
    Ok(())
}

/// Of a select group's ports each gets traffic.
#[test]
fn a_select_group_uses_both_ports() -> Result<()> {
    if !ready("a_select_group_uses_both_ports", &["python3"]) {
        return Ok(());
    }
    for minor in [3, 5] {
        let hosts = [
            ("io-a", "10.1.0.1/24"),
            ("io-b", "10.1.0.2/24"),
            ("io-c", "10.1.0.2/24"),
        ];
        let (s, hosts) = bridge("io-select", minor, &hosts)?;
        let mut c = Controller::connect(&s, minor)?;
        c.ask(&s, "select 1 2 3")?;
        c.ask(&s, "to-group 1 1")?;
        hosts[0].ns.ip(&[
            "neigh",
            "add",
            "10.1.0.2",
            "lladdr",
            "02:00:00:00:00:99",
            "dev",
            "eth0",
        ])?;
        // Forty conversations of five packets each.
        let send = || -> std::io::Result<()> {
            for _ in 0..40 {
                let socket = std::net::UdpSocket::bind("10.1.0.1:0")?;
                for _ in 0..5 {
                    socket.send_to(b"hello", "10.1.0.2:9")?;
                }
            }
            Ok(())
        };
        hosts[0].ns.enter(send).join().expect("no panic")?;
        let mut counts = Vec::new();
        wait_for("all are counted", Duration::from_secs(10), || {
            counts = c.by_bucket(&s).unwrap_or_default();
            // A few may be lost where the machine is busy.
            counts.iter().sum::<u64>() >= 180
        })
        .with_context(|| format!("{counts:?}"))?;
        assert!(counts.iter().all(|n| *n >= 40), "{counts:?}");
        content(&s, PORT)?;
    }
    Ok(())
}

/// b and c have the same addresses: whichever the group sends to answers.
#[test]
fn a_failover_group_fails_over_and_back() -> Result<()> {
    if !ready("a_failover_group_fails_over_and_back", &["python3"]) {
        return Ok(());
    }
    for minor in [3, 5] {
        let hosts = [
            ("io-a", "10.1.0.1/24"),
            ("io-b", "10.1.0.2/24"),
            ("io-c", "10.1.0.2/24"),
        ];
        let (s, hosts) = bridge("io-ff", minor, &hosts)?;
        let [a, b, c] = &hosts[..] else {
            unreachable!("three hosts");
        };
        c.ns.ip(&["link", "set", "eth0", "address", &b.mac()?])?;
        let mut controller = Controller::connect(&s, minor)?;
        controller.ask(&s, "failover 1 2 3")?;
        controller.ask(&s, "to-group 1 1")?;
        controller.ask(&s, "forward 2 1")?;
        controller.ask(&s, "forward 3 1")?;
        wait_for("the first port answers", Duration::from_secs(5), || {
            ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
        })?;

        let pings = BackgroundPing::start(&a.ns, "10.1.0.2", 60, "0.05")?;
        std::thread::sleep(Duration::from_millis(500));
        controller.ask(&s, "forget")?;
        b.ns.ip(&["link", "set", "eth0", "down"])?;
        let pings = pings.finish()?;
        assert!(pings.received >= 45, "{pings:?}");
        let status = controller.ask(&s, "await OFPPortStatus")?.to_string();
        assert!(
            status.contains("\"name\":\"p2\"") || status.contains("p2"),
            "{status}"
        );
        wait_for(
            "the second bucket counts",
            Duration::from_secs(10),
            || matches!(controller.by_bucket(&s).as_deref(), Ok([_, second]) if *second > 10),
        )?;
        b.ns.ip(&["link", "set", "eth0", "up"])?;
        wait_for("the first port is back", Duration::from_secs(10), || {
            ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
        })?;
        content(&s, PORT)?;
    }
    Ok(())
}

#[test]
fn a_meter_drops_what_is_over_its_rate() -> Result<()> {
    if !ready("a_meter_drops_what_is_over_its_rate", &["python3"]) {
        return Ok(());
    }
    for minor in [3, 4, 5] {
        let hosts = [("io-a", "10.1.0.1/24"), ("io-b", "10.1.0.2/24")];
        let (s, hosts) = bridge("io-meter", minor, &hosts)?;
        let mut c = Controller::connect(&s, minor)?;
        c.ask(&s, "meter 1 1 2 20")?;
        c.ask(&s, "forward 2 1")?;
        wait_for("the hosts talk", Duration::from_secs(5), || {
            ping(&hosts[0].ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
        })?;
        let pings = ping(&hosts[0].ns, "10.1.0.2", 200, "0.01")?;
        assert!((20..=150).contains(&pings.received), "1.{minor}: {pings:?}");
        let said = c.ask(&s, "meter-stats")?;
        let dropped = said.as_u64().context("a number")?;
        let lost = u64::from(pings.sent - pings.received);
        // ARP comes through the meter too.
        assert!((lost..=lost + 3).contains(&dropped), "{lost} {dropped}");
        content(&s, PORT)?;
    }
    Ok(())
}

/// Two controllers: only the master commands, an old generation is refused, and a slave gets no
/// packet-ins.
#[test]
fn roles_and_generations() -> Result<()> {
    if !ready("roles_and_generations", &["python3"]) {
        return Ok(());
    }
    for minor in [2, 3, 4, 5] {
        let (s, _) = bridge("io-roles", minor, &[])?;
        let mut first = Controller::start(&s, minor, PORT)?;
        let mut second = Controller::start(&s, minor, PORT + 1)?;
        let target = |port: u16| format!("tcp:127.0.0.1:{port}");
        s.vsctl(&["set-controller", "br0", &target(PORT), &target(PORT + 1)])?;
        first.ask(&s, "connect")?;
        second.ask(&s, "connect")?;
        if minor >= 4 {
            first.ask(&s, "async-roles")?;
        }
        first.ask(&s, "role master 5")?;
        assert_eq!(first.ask(&s, "role nochange")?["role"], 2);
        second.ask(&s, "role slave 5")?;
        // OFPET_BAD_REQUEST, OFPBRC_IS_SLAVE.
        assert_eq!(second.refused(&s, "forward 1 2")?, "1 10");
        // OFPET_ROLE_REQUEST_FAILED, OFPRRFC_STALE.
        assert_eq!(second.refused(&s, "role master 4")?, "11 0");
        let role = second.ask(&s, "role master 6")?;
        assert_eq!((&role["role"], &role["generation"]), (&2.into(), &6.into()));
        if minor >= 4 {
            // The one that was master is told.
            let told = first.ask(&s, "await OFPRoleStatus")?;
            assert_eq!(told["OFPRoleStatus"]["role"], 3, "{told}");
            assert_eq!(told["OFPRoleStatus"]["reason"], 0, "{told}");
        }
        assert_eq!(first.ask(&s, "role nochange")?["role"], 3);
        assert_eq!(first.refused(&s, "forward 1 2")?, "1 10");
        second.ask(&s, "forward 1 2")?;
        content(&s, PORT)?;
        content(&s, PORT + 1)?;
    }
    Ok(())
}

/// Packets out and in, and what the switch tells unasked: ports that change, flows that end, and
/// only what the controller asked for.
#[test]
fn packets_and_events_of_every_version() -> Result<()> {
    if !ready("packets_and_events_of_every_version", &["python3"]) {
        return Ok(());
    }
    for minor in [0, 2, 3, 4, 5] {
        let hosts = [("io-a", "10.1.0.1/24"), ("io-b", "10.1.0.2/24")];
        let (s, hosts) = bridge("io-events", minor, &hosts)?;
        let mut c = Controller::connect(&s, minor)?;

        let received = || -> Result<u64> {
            let text = hosts[1].ns.ip(&["-j", "-s", "link", "show", "eth0"])?;
            let value: Value = serde_json::from_str(&text)?;
            value[0]["stats64"]["rx"]["packets"]
                .as_u64()
                .context("a count")
        };
        let before = received()?;
        for _ in 0..20 {
            c.ask(&s, "packet-out 2")?;
        }
        wait_for("the frames arrive", Duration::from_secs(5), || {
            received().is_ok_and(|n| n >= before + 20)
        })?;

        // A flow that sends to the controller; `arping` of one host.
        c.ask(&s, "punt 1")?;
        c.ask(&s, "forget")?;
        ping(&hosts[0].ns, "10.1.0.2", 1, "0.1")?;
        let packet = c.ask(&s, "await OFPPacketIn")?;
        let packet = &packet["OFPPacketIn"];
        // Its source is the host that sent it.
        let data = packet["data"].as_str().unwrap_or_default();
        let mac = hosts[0].mac()?.replace(':', "");
        assert_eq!(data.get(12..24), Some(mac.as_str()), "{packet}");
        // OFPR_ACTION; from 1.4 on the flow's apply-actions.
        assert_eq!(packet["reason"], 1, "{packet}");

        c.ask(&s, "forget")?;
        c.ask(&s, "expire 2")?;
        let removed = c.ask(&s, "await OFPFlowRemoved")?;
        let removed = &removed["OFPFlowRemoved"];
        assert_eq!(removed["cookie"], 0x51, "{removed}");
        assert_eq!(removed["priority"], 51, "{removed}");
        // OFPRR_HARD_TIMEOUT.
        assert_eq!(removed["reason"], 1, "{removed}");

        c.ask(&s, "forget")?;
        s.vsctl(&[
            "add-port",
            "br0",
            "p9",
            "--",
            "set",
            "Interface",
            "p9",
            "type=internal",
        ])?;
        let status = c.ask(&s, "await OFPPortStatus")?;
        assert_eq!(status["OFPPortStatus"]["reason"], 0, "{status}");
        assert!(status.to_string().contains("p9"), "{status}");
        c.ask(&s, "forget")?;
        s.vsctl(&["del-port", "br0", "p9"])?;
        wait_for("the port's end is told", Duration::from_secs(5), || {
            c.ask(&s, "await OFPPortStatus")
                .is_ok_and(|status| status["OFPPortStatus"]["reason"] == 1)
        })?;

        if minor >= 3 {
            // Without OFPR_ACTION no packet comes from a flow's output.
            c.ask(&s, "async no_match")?;
            c.ask(&s, "forget")?;
            ping(&hosts[0].ns, "10.1.0.2", 2, "0.1")?;
            let error = c.refused(&s, "await OFPPacketIn")?;
            assert!(error.contains("nothing came"), "{error}");
        }
        content(&s, PORT)?;
    }
    Ok(())
}
