//! Configurations that cannot be: what the tool, the database and the log say of them.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::process::{tail, wait_for};
use tests::{Host, require_root};

use super::{B, Rig};

impl Rig {
    fn get(&self, table: &str, record: &str, column: &str) -> Result<String> {
        Ok(self
            .s
            .vsctl(&["get", table, record, column])?
            .trim()
            .to_owned())
    }

    /// The tool refuses, or warns, with every one of `words`.
    fn said(&self, args: &[&str], words: &[&str]) -> Result<()> {
        let output = self.s.vsctl_raw(args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{}\n    {}", args.join(" "), said.trim());
        for word in words {
            ensure!(
                said.contains(word),
                "{args:?} does not say {word:?}: {said:?}"
            );
        }
        Ok(())
    }

    /// The same, and exit status 1.
    fn refused(&self, args: &[&str], words: &[&str]) -> Result<()> {
        self.said(args, words)?;
        let before = self.s.vsctl(&["show"])?;
        let output = self.s.vsctl_raw(args)?;
        ensure!(
            output.status.code() == Some(1),
            "{args:?}: {}",
            output.status
        );
        ensure!(
            self.s.vsctl(&["show"])? == before,
            "{args:?} changed something"
        );
        Ok(())
    }

    /// The log tells operators, once.
    fn logged(&self, words: &[&str]) -> Result<()> {
        let log = self.s.dir().join("vswitchd.log");
        wait_for(
            &format!("{words:?} is logged"),
            Duration::from_secs(3),
            || {
                tail(&log, 200)
                    .lines()
                    .any(|line| words.iter().all(|word| line.contains(word)))
            },
        )
    }
}

#[test]
fn bad_ports() -> Result<()> {
    if !require_root("bad_ports") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-badcf")?;
    rig.s.vsctl(&["add-br", "br1"])?;
    let set = |name: &'static str| ["--", "set", "Interface", name];

    rig.said(&["add-port", "br0", "nodev"], &["nodev", "No such device"])?;
    rig.said(
        &["add-port", "br0", "a-name-that-is-too-long"],
        &["a-name-that-is-too-long", "15"],
    )?;
    rig.said(&["add-port", "br0", "a/b"], &["a/b", "name"])?;
    rig.refused(&["add-port", "br1", "a0"], &["a0", "br0"])?;
    rig.refused(&["add-port", "nobr", "x0"], &["nobr"])?;
    rig.refused(&["add-br", "br0"], &["br0"])?;
    rig.refused(&["add-br", "a0"], &["a0"])?;
    rig.refused(&["del-port", "nothing"], &["nothing"])?;
    rig.refused(&["set", "Port", "a0", "tag=4096"], &["4096", "4095"])?;
    rig.refused(&["set", "Port", "a0", "tag=-1"], &["-1"])?;
    rig.refused(&["set", "Port", "a0", "tag=ten"], &["ten"])?;
    rig.refused(&["set", "Port", "a0", "trunks=5000"], &["5000"])?;
    rig.refused(&["set", "Port", "a0", "vlan_mode=odd"], &["odd"])?;
    rig.refused(
        &["set", "Interface", "a0", "mtu_request=0"],
        &["0 is less than minimum allowed value 1"],
    )?;
    rig.refused(&["set", "Interface", "a0", "ofport_request=0"], &["0"])?;
    rig.refused(
        &["set", "Interface", "a0", "ofport_request=65280"],
        &["65280"],
    )?;
    rig.refused(&["set", "Interface", "a0", "nope=1"], &["nope"])?;
    rig.refused(&["set", "Bridge", "br0", "fail_mode=odd"], &["odd"])?;
    rig.refused(
        &["set", "Bridge", "br0", "protocols=OpenFlow99"],
        &["OpenFlow99"],
    )?;

    // Interface types.
    for kind in ["vxlan", "gre", "dpdk", "tap", "nonsense"] {
        let kind_is = format!("type={kind}");
        let words = [&["add-port", "br0", "odd0"][..], &set("odd0"), &[&kind_is]].concat();
        rig.said(&words, &["odd0", kind, "not supported"])?;
        ensure!(rig.get("Interface", "odd0", "ofport")? == "-1");
        ensure!(rig.get("Interface", "odd0", "error")?.contains(kind));
        rig.s.vsctl(&["del-port", "odd0"])?;
    }
    rig.well()?;

    // A bridge and a port of one name.
    rig.refused(&["add-port", "br0", "br1"], &["br1"])?;
    // A name no device can have.
    rig.said(
        &["add-br", "a-bridge-name-too-long"],
        &["a-bridge-name-too-long", "15"],
    )?;
    rig.s.vsctl(&["del-br", "a-bridge-name-too-long"])?;
    rig.said(
        &[
            "add-br",
            "brx",
            "--",
            "set",
            "Bridge",
            "brx",
            "datapath_type=odd",
        ],
        &["brx", "odd"],
    )?;
    rig.s.vsctl(&["del-br", "brx"])?;

    // Two that want one number: the first keeps it, the other works and the log says so.
    let _c = Host::new(&rig.s, "bad-c", "c0", "10.1.0.3/24")?;
    rig.s
        .vsctl(&["set", "Interface", "a0", "ofport_request=33"])?;
    let words = [
        &["add-port", "br0", "c0"][..],
        &set("c0"),
        &["ofport_request=33"],
    ]
    .concat();
    rig.s.vsctl(&words)?;
    ensure!(rig.get("Interface", "a0", "ofport")? == "33");
    let other = rig.get("Interface", "c0", "ofport")?;
    ensure!(other != "33" && other.parse::<u16>().is_ok(), "{other}");
    rig.logged(&["c0", "33", "a0"])?;

    // A size that the device cannot take.
    rig.s
        .vsctl(&["set", "Interface", "c0", "mtu_request=70000"])?;
    rig.logged(&["c0", "70000"])?;

    // An address that is none.
    rig.s
        .vsctl(&["set", "Interface", "c0", "mac=\"not an address\""])?;
    rig.logged(&["c0", "not an address"])?;
    rig.s.vsctl(&[
        "set",
        "Bridge",
        "br0",
        "other-config:hwaddr=ff:ff:ff:ff:ff:ff",
    ])?;
    rig.logged(&["br0", "ff:ff:ff:ff:ff:ff"])?;
    rig.well()
}

#[test]
fn bad_patches() -> Result<()> {
    if !require_root("bad_patches") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-badpt")?;
    rig.s.vsctl(&["add-br", "br1"])?;
    let patch = |bridge: &str, name: &str, options: &[&str]| {
        let mut words = vec![
            "add-port",
            bridge,
            name,
            "--",
            "set",
            "Interface",
            name,
            "type=patch",
        ];
        words.extend(options);
        words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()
    };
    let cases: [(&[&str], &[&str]); 3] = [
        (&[], &["p0", "options:peer"]),
        (&["options:peer=p0"], &["p0", "itself"]),
        (&["options:peer=a0"], &["p0", "a0", "not a patch port"]),
    ];
    for (options, expected) in cases {
        let words = patch("br0", "p0", options);
        rig.said(
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
            expected,
        )?;
        ensure!(rig.get("Interface", "p0", "ofport")? == "-1");
        rig.s.vsctl(&["del-port", "p0"])?;
        rig.well()?;
    }
    // A peer that points elsewhere, or is not there: a port that leads nowhere, and counts.
    for (name, peer) in [("p0", "p1"), ("p2", "p0"), ("p3", "nowhere")] {
        let peer = format!("options:peer={peer}");
        let words = patch("br0", name, &[&peer]);
        rig.s
            .vsctl(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    rig.well()?;
    rig.s.vsctl(&[
        "del-port", "p0", "--", "del-port", "p2", "--", "del-port", "p3",
    ])?;

    // Two cables between two bridges: a loop. It must not take the daemon or the hosts with it.
    for i in 0..2 {
        let (x, y) = (format!("x{i}"), format!("y{i}"));
        let there = patch("br0", &x, &[&format!("options:peer={y}")]);
        let back = patch("br1", &y, &[&format!("options:peer={x}")]);
        for words in [there, back] {
            rig.s
                .vsctl(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
    }
    // Both ends of one cable in one bridge.
    for (name, peer) in [("z0", "z1"), ("z1", "z0")] {
        let words = patch("br0", name, &[&format!("options:peer={peer}")]);
        rig.s
            .vsctl(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    let pings = tests::traffic::ping(&rig.a.ns, B, 5, "0.05")?;
    println!("within the loop: {pings:?}");
    let pid = rig.s.vswitchd_pid().unwrap_or_default();
    println!("resident: {} MiB", super::resident(pid)?);
    for name in ["x0", "x1", "y0", "y1", "z0", "z1"] {
        rig.s.vsctl(&["del-port", name])?;
    }
    rig.well()
}

#[test]
fn bad_bridges_and_controllers() -> Result<()> {
    if !require_root("bad_bridges_and_controllers") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-badbr")?;
    // A bridge whose last controller goes loses its flows, as in Open vSwitch.
    rig.s.vsctl(&["add-br", "br2"])?;
    for target in [
        "nonsense",
        "tcp:",
        "tcp:no.such.host.invalid:6653",
        "tcp:127.0.0.1:99999",
        "tcp:[::1",
        "ssl:127.0.0.1:6653",
        "unix:/no/such/socket",
        "ptcp:99999",
        "punix:/no/such/directory/socket",
        "tcp:127.0.0.1:1",
    ] {
        rig.s.vsctl(&["set-controller", "br2", target])?;
        let look = || {
            rig.s
                .vsctl(&["--columns=is_connected,status", "list", "Controller"])
                .unwrap_or_default()
        };
        if target.starts_with('p') {
            rig.logged(&["listen", target])
                .or_else(|_| rig.logged(&["controller", target]))?;
        } else {
            wait_for(
                &format!("the row of {target} says what is wrong"),
                Duration::from_secs(5),
                || look().contains("last_error"),
            )?;
        }
        println!("{target}\n    {}", look().trim().replace('\n', "\n    "));
        ensure!(look().contains("false"), "not connected");
        rig.s.vsctl(&["del-controller", "br2"])?;
    }
    rig.well()?;
    let id = rig.get("Bridge", "br0", "datapath_id")?;
    for bad in [
        "0",
        "xyz",
        "12345",
        "0000000000000000",
        "123456789012345678",
    ] {
        let setting = format!("other-config:datapath-id={bad}");
        rig.s.vsctl(&["set", "Bridge", "br0", &setting])?;
        ensure!(
            rig.get("Bridge", "br0", "datapath_id")? == id,
            "{bad} is not taken"
        );
        let status = rig.get("Bridge", "br0", "status")?;
        ensure!(
            status.contains("datapath-id") && status.contains(bad),
            "{status}"
        );
    }
    rig.logged(&["br0", "datapath-id", "xyz"])?;
    rig.well()?;

    // What vsctl would not do: rows shared by two bridges, ports without interfaces, a bridge
    // without its own port.
    let mut client = super::ovsdb::Client::connect(&rig.s.dir().join("db.sock"))?;
    rig.s.vsctl(&["add-br", "br1"])?;
    let port = rig.get("Port", "b0", "_uuid")?;
    let reference = serde_json::json!(["uuid", port]);
    let one = |bridge: &str, op: &str| {
        serde_json::json!({"op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
                           "mutations": [["ports", op, reference]]})
    };
    client.transact(&[one("br1", "insert")])?;
    rig.s.vsctl(&["set", "Bridge", "br1", "external-ids:x=y"])?;
    wait_for(
        "the second bridge does not get the port",
        Duration::from_secs(3),
        || rig.logged(&["b0", "br0", "br1"]).is_ok(),
    )?;
    // Which of the two bridges `list-ports` gives it to depends on the rows' random identifiers,
    // as it does in ovs-vsctl.
    rig.reachable()?;
    client.transact(&[one("br1", "delete")])?;
    rig.s.vsctl(&["del-br", "br1"])?;
    rig.well()
}
