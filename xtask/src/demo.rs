//! `cargo xtask demo`: a switch at work, on any machine, in network namespaces of its own.
//!
//! Every command that a user would type is shown before it runs, and what should hold is checked:
//! the demonstration fails when the switch does.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::process::{our_program, output, run, wait_for};
use tests::traffic::{BackgroundPing, ping, tcp};
use tests::{Host, Switch};

use crate::{cargo, step};

/// The namespaces of the demonstration; `clean` removes exactly these.
const SWITCH: &str = "sluice-demo";
const HOSTS: [&str; 4] = ["demo-red1", "demo-red2", "demo-blue", "demo-far"];
/// Where `--keep` writes the run directory down, for `--clean`.
const KEPT: &str = "target/demo-kept";

pub fn run_all(keep: bool) -> Result<()> {
    step("building");
    cargo(&["build", "--workspace", "--bins"], &[])?;
    let links = link_programs()?;

    step("starting db-server and vswitchd in the namespace sluice-demo");
    let switch = Switch::start(SWITCH)?;
    println!("run directory: {}", switch.dir().display());

    step("hosts, each in a namespace of its own");
    let red1 = Host::new(&switch, HOSTS[0], "red1", "10.0.0.1/24")?;
    let red2 = Host::new(&switch, HOSTS[1], "red2", "10.0.0.2/24")?;
    let blue = Host::new(&switch, HOSTS[2], "blue", "10.0.0.3/24")?;
    let far = Host::new(&switch, HOSTS[3], "far", "10.0.0.4/24")?;
    // A cable between two bridges, for the trunk.
    switch.ns.ip(&[
        "link", "add", "trunk0", "type", "veth", "peer", "name", "trunk1",
    ])?;
    switch.ns.ip(&["link", "set", "trunk0", "up"])?;
    switch.ns.ip(&["link", "set", "trunk1", "up"])?;

    step("two bridges, joined by a trunk: red1, red2 and far in VLAN 10, blue in VLAN 20");
    vsctl(&switch, "add-br br0")?;
    vsctl(
        &switch,
        "add-port br0 red1 tag=10 -- add-port br0 red2 tag=10",
    )?;
    vsctl(
        &switch,
        "add-port br0 blue tag=20 -- add-port br0 trunk0 trunks=10,20",
    )?;
    vsctl(
        &switch,
        "add-br br1 -- add-port br1 trunk1 trunks=10,20 -- add-port br1 far tag=10",
    )?;
    vsctl(
        &switch,
        "add-port br0 mgmt0 tag=10 -- set Interface mgmt0 type=internal",
    )?;
    switch
        .ns
        .ip(&["addr", "add", "10.0.0.5/24", "dev", "mgmt0"])?;
    switch.ns.ip(&["link", "set", "mgmt0", "up"])?;
    vsctl(&switch, "show")?;

    step("who can talk");
    expect_ping(&red1, "10.0.0.2", true, "red1 to red2: the same VLAN")?;
    expect_ping(&red1, "10.0.0.3", false, "red1 to blue: another VLAN")?;
    expect_ping(&far, "10.0.0.1", true, "far to red1: tagged over the trunk")?;
    expect_ping(
        &far,
        "10.0.0.3",
        false,
        "far to blue: the trunk keeps VLANs apart",
    )?;
    expect_ping(&red2, "10.0.0.5", true, "red2 to the internal port mgmt0")?;
    let took = tcp(&red2.ns, &red1.ns, "10.0.0.2", 64 << 20)?;
    println!("  tcp   red1 -> red2: 64 MiB in {took:.2?}, content checked");
    let took = tcp(&switch.ns, &far.ns, "10.0.0.5", 16 << 20)?;
    println!("  tcp   far -> trunk -> mgmt0: 16 MiB in {took:.2?}, content checked");
    ensure!(
        tcp(&blue.ns, &red1.ns, "10.0.0.3", 1 << 10).is_err(),
        "TCP from red1 to blue got through although their VLANs differ"
    );
    println!("  tcp   red1 -> blue: refused, as it should be");

    step("an OpenFlow rule takes effect while traffic runs");
    let pings = BackgroundPing::start(&red1.ns, "10.0.0.2", 100, "0.02")?;
    std::thread::sleep(Duration::from_millis(600));
    ofctl(
        &switch,
        &[
            "add-flow",
            "br0",
            "priority=100,icmp,nw_dst=10.0.0.2,actions=drop",
        ],
    )?;
    let during = ping(&red1.ns, "10.0.0.2", 5, "0.05")?;
    ofctl(&switch, &["dump-flows", "br0"])?;
    ofctl(
        &switch,
        &[
            "--strict",
            "del-flows",
            "br0",
            "priority=100,icmp,nw_dst=10.0.0.2",
        ],
    )?;
    let whole = pings.finish()?;
    println!(
        "  while the rule was there: {} of {} pings answered",
        during.received, during.sent
    );
    println!(
        "  over the whole time: {} of {} pings answered",
        whole.received, whole.sent
    );
    ensure!(during.received == 0, "the drop rule did not drop");
    ensure!(
        whole.received > 0 && whole.received < whole.sent,
        "the rule's effect is not seen"
    );
    expect_ping(
        &red1,
        "10.0.0.2",
        true,
        "red1 to red2 after the rule is gone",
    )?;

    step("the kernel cache: megaflows with their counters");
    println!("$ appctl dpctl/dump-flows    (the eight busiest)");
    let flows = switch.appctl(&["dpctl/dump-flows"])?;
    let mut busy: Vec<(u64, &str)> = flows.lines().map(|l| (packets(l), l)).collect();
    busy.sort_by(|a, b| b.cmp(a));
    for (_, line) in busy.iter().take(8) {
        println!("    {line}");
    }
    ensure!(
        busy.first().is_some_and(|(packets, _)| *packets > 0),
        "no megaflow carried a packet"
    );
    appctl(&switch, &["dpctl/show"])?;
    appctl(&switch, &["fdb/show", "br0"])?;

    step("a trace: what would happen to a packet, and why");
    let packet = format!(
        "in_port=red1,icmp,dl_src={},dl_dst={},nw_src=10.0.0.1,nw_dst=10.0.0.2",
        red1.mac()?,
        red2.mac()?
    );
    appctl(&switch, &["ofproto/trace", "br0", &packet])?;

    if keep {
        let dir = switch.keep();
        for mut host in [red1, red2, blue, far] {
            host.ns.keep();
        }
        std::fs::write(KEPT, dir.display().to_string()).context(KEPT)?;
        println!(
            "\nleft running. Look around with\n  \
             export OVS_RUNDIR={} PATH={}:$PATH\n  \
             ovs-vsctl show; ovs-ofctl dump-flows br0; ovs-appctl dpctl/dump-flows\n  \
             ovsdb-client dump Open_vSwitch Bridge name\n  \
             ip netns exec {} ping 10.0.0.2\nand remove it with\n  cargo xtask demo --clean",
            dir.display(),
            links.display(),
            HOSTS[0]
        );
    } else {
        step("cleaning up");
    }
    Ok(())
}

/// Removes what an earlier run with `--keep` left.
pub fn clean() -> Result<()> {
    if let Ok(dir) = std::fs::read_to_string(KEPT) {
        let dir = Path::new(dir.trim());
        for program in ["vswitchd", "db-server"] {
            let ctl = dir.join(format!("{program}.ctl"));
            let cleanup: &[&str] = if program == "vswitchd" {
                &["--cleanup"]
            } else {
                &[]
            };
            let mut command = std::process::Command::new(our_program("appctl")?);
            command
                .arg("-t")
                .arg(&ctl)
                .args(["--timeout=10", "exit"])
                .args(cleanup);
            if ctl.exists()
                && let Err(e) = output(&mut command)
            {
                println!("{program} did not answer ({e:#}); it may have ended already");
            }
        }
        std::fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
        std::fs::remove_file(KEPT).context(KEPT)?;
    }
    for name in HOSTS.iter().chain([&SWITCH]) {
        if Path::new("/run/netns").join(name).exists() {
            run("ip", &["netns", "del", name])?;
        }
    }
    println!("nothing of the demonstration is left");
    Ok(())
}

/// Links under the names of the programs that ours stand for, as a user of Open vSwitch types them;
/// gives their directory.
fn link_programs() -> Result<PathBuf> {
    let programs = [
        ("vsctl", "ovs-vsctl"),
        ("dbctl", "ovsdb-tool"),
        ("dbctl", "ovsdb-client"),
        ("ofctl", "ovs-ofctl"),
        ("appctl", "ovs-appctl"),
    ];
    let dir = our_program("vsctl")?.with_file_name("links");
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    for (ours, theirs) in programs {
        let link = dir.join(theirs);
        if link.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(our_program(ours)?, &link)
                .with_context(|| link.display().to_string())?;
        }
    }
    Ok(dir)
}

fn vsctl(switch: &Switch, words: &str) -> Result<()> {
    let args: Vec<&str> = words.split(' ').collect();
    println!("$ vsctl {words}");
    show(&switch.vsctl(&args)?);
    Ok(())
}

fn ofctl(switch: &Switch, args: &[&str]) -> Result<()> {
    println!("$ ofctl {}", args.join(" "));
    show(&switch.ofctl(args)?);
    Ok(())
}

fn appctl(switch: &Switch, args: &[&str]) -> Result<()> {
    println!("$ appctl {}", args.join(" "));
    show(&switch.appctl(args)?);
    Ok(())
}

/// The packet counter in a line of a flow dump.
fn packets(line: &str) -> u64 {
    let number = line
        .split("packets:")
        .nth(1)
        .and_then(|r| r.split(',').next());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn show(text: &str) {
    for line in text.lines() {
        println!("    {line}");
    }
}

fn expect_ping(from: &Host, to: &str, works: bool, what: &str) -> Result<()> {
    // The first packet of a pair may wait for address resolution.
    let mut result = ping(&from.ns, to, 3, "0.1")?;
    if works && !result.all() {
        wait_for(what, Duration::from_secs(5), || {
            ping(&from.ns, to, 1, "0.1").is_ok_and(|p| p.all())
        })?;
        result = ping(&from.ns, to, 3, "0.1")?;
    }
    println!(
        "  ping  {what}: {} of {} answered",
        result.received, result.sent
    );
    if works {
        ensure!(result.all(), "{what}: pings were lost");
    } else {
        ensure!(result.received == 0, "{what}: pings got through");
    }
    Ok(())
}
