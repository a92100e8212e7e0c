//! `snoop`, `monitor --timestamp` and `parse-flow -F` of both tools at the same time: each shows
//! what the other shows.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::Switch;
use tests::process::{Background, find_program, our_program, raw_output, wait_for};
use tests::stock_switch::StockSwitch;
use tests::{require_program, require_root};

const TOOLS: [&str; 2] = ["ovs-ofctl", "ofctl"];

fn tool(name: &str, directory: &Path) -> Result<Command> {
    let path = match name {
        "ofctl" => our_program(name)?,
        stock => find_program(stock).unwrap_or_else(|| stock.into()),
    };
    let mut command = Command::new(path);
    command.env("OVS_RUNDIR", directory);
    Ok(command)
}

/// Both tools with `args`, each writing what it sees into a file of its own in `directory`.
fn start_both(directory: &Path, args: &[&str]) -> Result<Vec<Background>> {
    let start = |name: &&str| {
        let log = std::fs::File::create(directory.join(format!("{name}.seen")))?;
        let mut command = tool(name, directory)?;
        command.args(args).stdout(Stdio::null()).stderr(log);
        Background::spawn(&mut command)
    };
    TOOLS.iter().map(start).collect()
}

fn seen(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(format!("{name}.seen"))).unwrap_or_default()
}

/// Both tools listen until each has seen `word`, which `cause` brings about. What they saw from
/// its line on, `lines` of them, must be the same.
fn listen(
    directory: &Path,
    args: &[&str],
    word: &str,
    lines: usize,
    mut cause: impl FnMut() -> Result<()>,
) -> Result<String> {
    let listeners = start_both(directory, args)?;
    let found = |name: &str| {
        let text = seen(directory, name);
        let from = text.lines().skip_while(|line| !line.contains(word));
        let part: Vec<String> = from.take(lines).map(str::to_owned).collect();
        (part.len() == lines).then_some(part)
    };
    wait_for(
        &format!("both tools see {word}"),
        Duration::from_secs(15),
        || cause().is_ok() && TOOLS.iter().all(|name| found(name).is_some()),
    )?;
    for mut listener in listeners {
        listener.terminate()?;
    }
    let [stock, ours] = TOOLS.map(|name| found(name).unwrap_or_default());
    let digits = |lines: &[String]| lines.join("\n").replace(|c: char| c.is_ascii_digit(), "9");
    ensure!(
        digits(&stock) == digits(&ours),
        "{args:?}\n got {ours:?}\nwant {stock:?}"
    );
    Ok(ours.join("\n"))
}

/// A packet-in for whoever controls the bridge.
fn packet_in(directory: &Path, target: &str) -> Result<()> {
    let packet = "in_port=LOCAL packet=505400000007505400000005080600 actions=controller";
    raw_output(tool("ovs-ofctl", directory)?.args(["packet-out", target, packet])).map(drop)
}

/// `snoop` on `socket` while a controller runs the bridge, and `monitor` on it.
fn compare(directory: &Path, bridge: &str) -> Result<()> {
    let mgmt = directory.join(format!("{bridge}.mgmt"));
    let mgmt = format!("unix:{}", mgmt.display());
    // By its name a bridge is found in the run directory.
    let snoop = listen(directory, &["snoop", bridge], "PACKET_IN", 2, || {
        packet_in(directory, &mgmt)
    })?;
    ensure!(snoop.contains("in_port=LOCAL"), "{snoop}");
    let args = ["--timestamp", "snoop", bridge];
    let snoop = listen(directory, &args, "PACKET_IN", 2, || {
        packet_in(directory, &mgmt)
    })?;
    starts_with_time(&snoop)?;
    let args = ["--timestamp", "monitor", &mgmt, "65534"];
    let monitor = listen(directory, &args, "PACKET_IN", 2, || {
        packet_in(directory, &mgmt)
    })?;
    starts_with_time(&monitor)
}

/// `2026-01-02 03:04:05.678: `
fn starts_with_time(text: &str) -> Result<()> {
    let shape: String = text.chars().take(25).collect();
    let shape = shape.replace(|c: char| c.is_ascii_digit(), "9");
    ensure!(shape == "9999-99-99 99:99:99.999: ", "{text}");
    Ok(())
}

fn controller(directory: &Path) -> Result<Background> {
    let mut command = Command::new("ovs-testcontroller");
    command
        .arg(format!("punix:{}", directory.join("controller").display()))
        .env("OVS_RUNDIR", directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Background::spawn(&mut command)
}

#[test]
fn both_tools_listen_to_our_switch() -> Result<()> {
    let test = "both_tools_listen_to_our_switch";
    let programs = ["ovs-ofctl", "ovs-testcontroller"];
    if !require_root(test) || !programs.iter().all(|p| require_program(test, p)) {
        return Ok(());
    }
    let s = Switch::start("io-listen")?;
    let _controller = controller(s.dir())?;
    s.vsctl(&["add-br", "br0"])?;
    let target = format!("unix:{}", s.dir().join("controller").display());
    s.vsctl(&["set-controller", "br0", &target])?;
    wait_for(
        "the controller is connected",
        Duration::from_secs(15),
        || crate::connected(&s),
    )?;
    compare(s.dir(), "br0")
}

#[test]
fn both_tools_listen_to_a_stock_switch() -> Result<()> {
    let test = "both_tools_listen_to_a_stock_switch";
    if !require_program(test, "ovs-testcontroller") {
        return Ok(());
    }
    let Some(stock) = StockSwitch::start(test)? else {
        return Ok(());
    };
    let directory = stock.path(".");
    let _controller = controller(&directory)?;
    let target = stock.path("controller");
    stock.vsctl(&format!(
        "add-br br0 -- set bridge br0 datapath_type=dummy -- set-controller br0 unix:{}",
        target.display()
    ))?;
    let connected = ["--bare", "--columns=is_connected", "list", "Controller"];
    wait_for(
        "the controller is connected",
        Duration::from_secs(15),
        || {
            stock
                .run("ovs-vsctl", &connected)
                .is_ok_and(|t| t.trim() == "true")
        },
    )?;
    compare(&directory, "br0")
}

/// Every flow format, alone and with others, with flows that one or the other cannot say.
#[test]
fn both_tools_choose_the_same_flow_format() -> Result<()> {
    let test = "both_tools_choose_the_same_flow_format";
    if !require_program(test, "ovs-ofctl") {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let formats = [
        "any",
        "nxm",
        "NXM",
        "NXM-table_id",
        "NXM+table_id",
        "NXM-OpenFlow10",
        "openflow10",
        "OpenFlow10-table_id",
        "OpenFlow10+table_id",
        "OpenFlow11",
        "oxm",
        "OXM-OpenFlow12",
        "OXM-OpenFlow13",
        "OXM-OpenFlow14",
        "OXM-OpenFlow15",
        "OXM-OpenFlow16",
        "nxm,oxm",
        "OXM-OpenFlow13,OpenFlow10",
        "",
        ",",
        "foo",
    ];
    let flows = [
        "in_port=1,actions=2",
        "table=3,in_port=1,actions=2",
        "ip,nw_src=10.0.0.0/8,actions=mod_nw_src:1.2.3.4",
        "reg0=5,actions=drop",
        "table=5,reg0=5,actions=goto_table:7",
        "metadata=5/7,actions=2",
        "dl_src=00:00:00:00:00:01/00:00:00:00:00:ff,actions=2",
        "tcp6,tp_dst=80,actions=2",
        "actions=set_queue:5,group:7",
        "actions=meter:5,output:1",
        "importance=5,actions=2",
        "reset_counts,actions=drop",
        "tun_id=5,actions=set_tunnel:7",
        "cookie=5,idle_timeout=10,actions=resubmit(,5)",
    ];
    let mut differ = Vec::new();
    for versions in ["", "OpenFlow10,OpenFlow13"] {
        for format in formats {
            for flow in flows {
                let run = |name: &str| -> Result<String> {
                    let mut command = tool(name, directory.path())?;
                    if !versions.is_empty() {
                        command.args(["-O", versions]);
                    }
                    let out = raw_output(command.args(["-F", format, "parse-flow", flow]))?;
                    let said = [out.stdout, out.stderr].concat();
                    let said = String::from_utf8_lossy(&said).replace("ovs-ofctl", "ofctl");
                    // "All tables" of a format that has them is shown by Open vSwitch alone.
                    let said = said.replace("table:255 ", "");
                    Ok(format!("{said}exit {:?}", out.status.code()))
                };
                let (want, got) = (run("ovs-ofctl")?, run("ofctl")?);
                if got != want {
                    differ.push(format!(
                        "-O {versions:?} -F {format:?} {flow}\n got {got}\nwant {want}"
                    ));
                }
            }
        }
    }
    ensure!(differ.is_empty(), "{}", differ.join("\n\n"));
    Ok(())
}
