//! Every OpenFlow version both ways: `ovs-ofctl -O` and our `ofctl -O` print the same of our switch
//! and of a stock one, and say the same of what it refuses.

use std::io::{Seek, Write};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::Switch;
use tests::process::{Background, find_program, our_program, raw_output, wait_for};
use tests::stock_switch::StockSwitch;

use crate::ready;

/// First version (the minor number) that has the command, the last one, and the command with `@`
/// for the switch; what stands behind `<` is its standard input.
type Step = (u8, u8, &'static [&'static str]);

const STEPS: &[Step] = &[
    (0, 5, &["del-flows", "@"]),
    (0, 5, &["show", "@"]),
    (0, 5, &["dump-desc", "@"]),
    (0, 5, &["dump-ports", "@"]),
    (0, 5, &["dump-ports", "@", "1"]),
    (0, 5, &["dump-ports-desc", "@"]),
    (0, 5, &["dump-ports-desc", "@", "2"]),
    (0, 5, &["dump-tables", "@"]),
    (0, 5, &["dump-table-features", "@"]),
    (0, 5, &["queue-stats", "@"]),
    (0, 5, &["queue-stats", "@", "1"]),
    (0, 5, &["queue-get-config", "@"]),
    (0, 5, &["queue-get-config", "@", "1"]),
    (0, 5, &["queue-get-config", "@", "77"]),
    (0, 5, &["queue-get-config", "@", "1", "all"]),
    (0, 5, &["queue-stats", "@", "77"]),
    (0, 5, &["queue-stats", "@", "1", "2"]),
    (0, 5, &["get-frags", "@"]),
    (5, 5, &["mod-table", "@", "5", "name:five"]),
    (5, 5, &["--names", "dump-flows", "@", "table=five"]),
    (5, 5, &["mod-table", "@", "5", "name:"]),
    (0, 5, &["mod-table", "@", "5", "vacancy:20,101"]),
    (0, 5, &["mod-table", "@", "5", "vacancy:,80"]),
    (0, 5, &["mod-table", "@", "5", "foo"]),
    (3, 5, &["dump-meters", "@", "meter=1"]),
    (3, 5, &["meter-stats", "@", "meter=99"]),
    (3, 5, &["del-meters", "@", "meter=1"]),
    (0, 5, &["dump-ipfix-bridge", "@"]),
    (0, 5, &["dump-ipfix-flow", "@"]),
    (0, 5, &["probe", "@"]),
    (0, 5, &["ping", "@"]),
    (0, 5, &["ping", "@", "1000"]),
    (0, 5, &["ping", "@", "70000"]),
    (0, 5, &["benchmark", "@", "10", "5"]),
    (0, 5, &["set-frags", "@", "drop"]),
    (0, 5, &["get-frags", "@"]),
    (0, 5, &["set-frags", "@", "nx-match"]),
    (0, 5, &["get-frags", "@"]),
    (0, 5, &["set-frags", "@", "reassemble"]),
    (0, 5, &["set-frags", "@", "foo"]),
    (0, 5, &["--read-only", "set-frags", "@", "normal"]),
    (0, 5, &["set-frags", "@", "normal"]),
    (0, 5, &["--read-only", "add-flow", "@", "actions=drop"]),
    (0, 5, &["--read-only", "get-frags", "@"]),
    (0, 5, &["-m", "show", "@"]),
    (0, 5, &["-m", "dump-ports", "@"]),
    (
        0,
        5,
        &["add-flow", "@", "priority=10,in_port=1,actions=output:2"],
    ),
    (
        0,
        5,
        &[
            "add-flow",
            "@",
            "table=3,cookie=0x1234,idle_timeout=100,hard_timeout=200,send_flow_rem,priority=7,\
             dl_type=0x800,nw_dst=10.1.0.0/16,actions=output:LOCAL",
        ],
    ),
    (
        2,
        5,
        &["add-flow", "@", "table=4,reset_counts,arp,actions=drop"],
    ),
    (
        3,
        5,
        &[
            "add-flow",
            "@",
            "table=5,no_packet_counts,no_byte_counts,in_port=2,actions=drop",
        ],
    ),
    (
        4,
        5,
        &[
            "add-flow",
            "@",
            "table=6,importance=77,in_port=2,actions=drop",
        ],
    ),
    (
        0,
        5,
        &["add-flow", "@", "check_overlap,priority=10,ip,actions=drop"],
    ),
    (0, 5, &["add-flow", "@", "table=255,actions=drop"]),
    (0, 5, &["add-flow", "@", "reg0[0..7]=5,reg0[8]=1,actions=2"]),
    (0, 5, &["add-flow", "@", "in_port=1"]),
    (0, 5, &["add-flow", "@", "in_port=1,actions=none"]),
    (
        0,
        5,
        &["packet-out", "@", "in_port=1,packet=5054,actions=2"],
    ),
    (0, 0, &["-F", "nxm", "add-flow", "@", "in_port=1,actions=2"]),
    (
        0,
        0,
        &["-F", "nxm", "--no-stats", "dump-flows", "@", "in_port=1"],
    ),
    (
        0,
        5,
        &[
            "--strict",
            "mod-flows",
            "@",
            "table=3,priority=7,ip,nw_dst=10.1.0.0/16,actions=output:1",
        ],
    ),
    (
        0,
        5,
        &["mod-flows", "@", "cookie=0x1234/-1,actions=output:2"],
    ),
    (
        0,
        5,
        &["mod-flows", "@", "table=8,in_port=1,actions=output:2"],
    ),
    (0, 5, &["dump-flows", "@"]),
    (0, 5, &["dump-flows", "@", "table=3"]),
    (0, 5, &["dump-flows", "@", "table=3,out_port=2"]),
    (0, 5, &["--no-stats", "--sort", "dump-flows", "@"]),
    (0, 5, &["-m", "dump-flows", "@"]),
    (0, 5, &["--names", "dump-flows", "@"]),
    (
        0,
        5,
        &["--names", "--no-stats", "dump-flows", "@", "in_port=p2"],
    ),
    (0, 5, &["--no-names", "dump-flows", "@", "in_port=p2"]),
    (0, 5, &["--names", "dump-ports", "@", "p1"]),
    (0, 5, &["--no-names", "dump-ports", "@", "p1"]),
    // Of later versions, flows are equal in this order.
    (0, 1, &["--rsort", "dump-flows", "@"]),
    (0, 1, &["--sort=in_port", "--rsort", "dump-flows", "@"]),
    (0, 5, &["--sort=foo", "dump-flows", "@"]),
    (0, 5, &["--read-only", "dump-flows", "@"]),
    (0, 0, &["-F", "openflow10", "dump-flows", "@"]),
    (0, 0, &["-F", "nxm", "dump-flows", "@", "in_port=1"]),
    (2, 5, &["-F", "oxm", "dump-flows", "@"]),
    (0, 1, &["-F", "oxm", "dump-flows", "@"]),
    (0, 5, &["-F", "foo", "dump-flows", "@"]),
    (0, 5, &["dump-aggregate", "@"]),
    (0, 5, &["dump-aggregate", "@", "cookie=0x1234/-1"]),
    (
        0,
        5,
        &[
            "packet-out",
            "@",
            "in_port=1 packet=505400000007505400000005080600 actions=output:2",
        ],
    ),
    (
        5,
        5,
        &[
            "packet-out",
            "@",
            "in_port=1 reg1=5 packet=505400000007505400000005080600 actions=output:2",
        ],
    ),
    (0, 5, &["mod-port", "@", "1", "no-packet-in"]),
    (0, 0, &["mod-port", "@", "2", "no-flood"]),
    (0, 5, &["dump-ports-desc", "@"]),
    (0, 5, &["mod-port", "@", "1", "packet-in"]),
    (0, 0, &["mod-port", "@", "2", "flood"]),
    (0, 5, &["mod-port", "@", "77", "up"]),
    (
        0,
        5,
        &[
            "--strict",
            "del-flows",
            "@",
            "table=3,priority=7,ip,nw_dst=10.1.0.0/16",
        ],
    ),
    (0, 5, &["del-flows", "@", "in_port=1"]),
    (
        0,
        5,
        &[
            "add-flows",
            "@",
            "-",
            "<",
            "# flows\nin_port=1,actions=2\n\nadd in_port=2,actions=1 # back\n\
             delete_strict in_port=1\n",
        ],
    ),
    (
        0,
        5,
        &["del-flows", "@", "-", "<", "in_port=7\nudp,in_port=8\n"],
    ),
    (
        0,
        5,
        &["mod-flows", "@", "-", "<", "in_port=2,actions=drop\n"],
    ),
    (0, 5, &["--no-stats", "dump-flows", "@"]),
    (3, 5, &["--bundle", "add-flow", "@", "in_port=3,actions=1"]),
    (
        3,
        5,
        &[
            "--bundle",
            "add-flows",
            "@",
            "-",
            "<",
            "in_port=4,actions=1\nin_port=5,actions=2\n",
        ],
    ),
    (
        3,
        5,
        &["--bundle", "mod-flows", "@", "in_port=4,actions=drop"],
    ),
    (
        3,
        5,
        &["--bundle", "--strict", "del-flows", "@", "in_port=5"],
    ),
    (
        3,
        5,
        &[
            "--bundle",
            "add-flows",
            "@",
            "-",
            "<",
            "in_port=6,actions=1\ntable=255,in_port=5,actions=2\n",
        ],
    ),
    (0, 5, &["--no-stats", "dump-flows", "@"]),
    (0, 5, &["del-flows", "@"]),
];

const MINORS: std::ops::RangeInclusive<u8> = 0..=5;

/// What a tool says and how it ends, without what differs from run to run.
fn said(mut command: Command) -> Result<String> {
    let out = raw_output(&mut command)?;
    let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&out.stderr));
    let lines: Vec<String> = text.lines().map(plain).collect();
    Ok(format!(
        "{}\nexit {:?}",
        lines.join("\n"),
        out.status.code()
    ))
}

fn plain(line: &str) -> String {
    let mut line = line.replace("ovs-ofctl", "ofctl");
    // Only ours names the place of an error.
    if let Some((text, _)) = line.rsplit_once(" (column ") {
        line = text.to_owned();
    }
    // The counters of ports.
    if ["pkts=", "_packets", "_bytes", "Finished in"]
        .iter()
        .any(|word| line.contains(word))
    {
        line.retain(|c| !c.is_ascii_digit());
    }
    let mut out = String::new();
    let mut rest = line.as_str();
    'line: while !rest.is_empty() {
        // Numbers behind these are times and counts of attempts.
        for key in [
            "duration=",
            "idle_age=",
            "hard_age=",
            "xid=0x",
            "lookup=",
            "matched=",
            "xid=",
            "time=",
        ] {
            if let Some(tail) = rest.strip_prefix(key) {
                out.push_str(key);
                rest = tail.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == '.');
                continue 'line;
            }
        }
        let mut chars = rest.chars();
        out.extend(chars.next());
        rest = chars.as_str();
    }
    // It is shown when it is another than the duration, which is a matter of time.
    out.replace("hard_age=, ", "")
}

fn tool(program: &str, minor: u8, args: &[&str], target: &str) -> Result<Command> {
    let path = match program {
        "ofctl" => our_program("ofctl")?,
        stock => find_program(stock).unwrap_or_else(|| stock.into()),
    };
    let mut command = Command::new(path);
    command.args(["-O", &format!("OpenFlow1{minor}"), "--timeout=10"]);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match *word {
            "@" => command.arg(target),
            "<" => {
                let mut input = tempfile::tempfile()?;
                input.write_all(words.next().unwrap_or(&"").as_bytes())?;
                input.rewind()?;
                command.stdin(input)
            }
            word => command.arg(word),
        };
    }
    Ok(command)
}

/// Takes all steps in all versions with one tool and then with the other.
fn compare(target: &str) -> Result<()> {
    let mut differ = Vec::new();
    for minor in MINORS {
        let steps = || {
            let all = STEPS.iter();
            all.filter(move |(first, last, _)| (*first..=*last).contains(&minor))
        };
        // 1.1 cannot delete the flows of all tables.
        let clean = || said(tool("ovs-ofctl", 3, &["del-flows", "@"], target)?);
        clean()?;
        let mut texts = Vec::new();
        for (_, _, args) in steps() {
            texts.push(said(tool("ovs-ofctl", minor, args, target)?)?);
        }
        clean()?;
        for ((_, _, args), want) in steps().zip(texts) {
            let got = said(tool("ofctl", minor, args, target)?)?;
            if got != want {
                differ.push(format!("1.{minor} {args:?}\n got {got}\nwant {want}"));
            }
        }
    }
    ensure!(differ.is_empty(), "{}", differ.join("\n\n"));
    Ok(())
}

#[test]
fn both_tools_say_the_same_of_our_switch_in_every_version() -> Result<()> {
    let test = "both_tools_say_the_same_of_our_switch_in_every_version";
    if !ready(test, &["ovs-ofctl"]) {
        return Ok(());
    }
    let s = Switch::start("io-versions")?;
    s.vsctl(&["add-br", "br0", "--", "set-fail-mode", "br0", "secure"])?;
    for (number, port) in ["p1", "p2"].iter().enumerate() {
        let request = format!("ofport_request={}", number + 1);
        let set = ["--", "set", "interface", port, "type=internal", &request];
        s.vsctl(&[&["add-port", "br0", port][..], &set].concat())?;
    }
    compare(&s.mgmt("br0"))
}

#[test]
fn both_tools_say_the_same_of_a_stock_switch_in_every_version() -> Result<()> {
    let test = "both_tools_say_the_same_of_a_stock_switch_in_every_version";
    let Some(stock) = StockSwitch::start(test)? else {
        return Ok(());
    };
    stock.vsctl(
        "add-br br0 -- set bridge br0 fail-mode=secure datapath_type=dummy \
         -- add-port br0 p1 -- set interface p1 type=dummy ofport_request=1 \
         -- add-port br0 p2 -- set interface p2 type=dummy ofport_request=2",
    )?;
    compare(&format!("unix:{}", stock.path("br0.mgmt").display()))
}

/// `monitor` of both tools at the same time gets the same packet-ins.
#[test]
fn both_tools_see_the_same_packet_ins_in_every_version() -> Result<()> {
    let test = "both_tools_see_the_same_packet_ins_in_every_version";
    if !ready(test, &["ovs-ofctl"]) {
        return Ok(());
    }
    let s = Switch::start("io-monitor")?;
    s.vsctl(&["add-br", "br0", "--", "set-fail-mode", "br0", "secure"])?;
    let target = s.mgmt("br0");
    for minor in MINORS {
        for format in ["standard", "nxt_packet_in", "nxt_packet_in2"] {
            let mut logs = Vec::new();
            let mut monitors = Vec::new();
            for program in ["ovs-ofctl", "ofctl"] {
                let path = s.dir().join(format!("{program}.{minor}.{format}"));
                let args = ["-P", format, "monitor", "@", "65534"];
                let mut command = tool(program, minor, &args, &target)?;
                command.env("OVS_RUNDIR", s.dir());
                command.stderr(std::fs::File::create(&path)?);
                monitors.push(Background::spawn(&mut command)?);
                logs.push(path);
            }
            let read = |n: usize| std::fs::read_to_string(&logs[n]).unwrap_or_default();
            // Until both listen, packets are lost on them.
            wait_for(
                &format!("both monitors get a packet of 1.{minor} {format}"),
                Duration::from_secs(10),
                || {
                    let packet = "in_port=LOCAL packet=505400000007505400000005080600 \
                              actions=controller(max_len=100)";
                    let sent = tool("ovs-ofctl", 3, &["packet-out", "@", packet], &target);
                    sent.and_then(|mut c| raw_output(&mut c)).is_ok()
                        && (0..2).all(|n| read(n).contains("PACKET_IN"))
                },
            )?;
            for mut monitor in monitors {
                monitor.terminate()?;
            }
            let first = |n: usize| -> Vec<String> {
                let text = read(n);
                let from = text.lines().skip_while(|l| !l.contains("PACKET_IN"));
                from.take(2).map(plain).collect()
            };
            assert_eq!(first(1), first(0), "1.{minor} {format}");
        }
    }
    Ok(())
}
