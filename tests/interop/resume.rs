//! Packets that pause, with `monitor ... resume` of the stock tool and of ours as the controller
//! that lets them go on.

use std::time::Duration;

use anyhow::Result;
use tests::Switch;
use tests::process::{Background, our_program, wait_for};

use crate::{ready, stock_command};

const FLOWS: [&str; 4] = [
    "table=0,in_port=7,actions=load:1->NXM_NX_REG0[],push:NXM_NX_REG0[],\
     controller(pause,userdata=00.01),load:2->NXM_NX_REG0[],resubmit(,1),resubmit(,3)",
    "table=1,reg0=2,actions=pop:NXM_NX_REG1[],controller(pause),resubmit(,2)",
    "table=2,reg0=2,reg1=1,actions=controller(pause)",
    "table=3,reg0=2,actions=drop",
];

/// How many packets each table's flow has had.
fn counts(s: &Switch) -> Result<Vec<String>> {
    let text = s.ofctl(&["dump-flows", "br0"])?;
    let count = |line: &str| {
        let (_, rest) = line.split_once("n_packets=")?;
        rest.split_once(',').map(|(n, _)| n.to_owned())
    };
    Ok(text.lines().filter_map(count).collect())
}

#[test]
fn monitors_let_packets_go_on() -> Result<()> {
    if !ready("monitors_let_packets_go_on", &["ovs-ofctl"]) {
        return Ok(());
    }
    let s = Switch::start("io-resume")?;
    s.vsctl(&[
        "add-br",
        "br0",
        "--",
        "set",
        "Bridge",
        "br0",
        "fail_mode=secure",
    ])?;
    for version in ["OpenFlow10", "OpenFlow13", "OpenFlow15"] {
        let mut said = Vec::new();
        for is_stock in [true, false] {
            s.ofctl(&["del-flows", "br0"])?;
            for flow in FLOWS {
                s.ofctl(&["add-flow", "br0", flow])?;
            }
            let mut command = match is_stock {
                true => stock_command(&s, "ovs-ofctl"),
                false => s.stock(our_program("ofctl")?),
            };
            let mgmt = s.mgmt("br0");
            command.args(["-O", version, "-P", "nxt_packet_in2", "monitor"]);
            command.args([&mgmt, "resume"]);
            let path = s.dir().join(format!("monitor.{version}.{is_stock}"));
            command.stderr(std::fs::File::create(&path)?);
            let mut monitor = Background::spawn(&mut command)?;
            let send = || {
                let packet = "in_port=7 packet=020000000002020000000001ffff actions=TABLE";
                s.ofctl(&["packet-out", "br0", packet])
            };
            // It takes the tool a moment to ask for packets; those before go nowhere.
            let limit = Duration::from_secs(20);
            wait_for("a packet gets to its end", limit, || {
                let sent = send().is_ok();
                std::thread::sleep(Duration::from_millis(200));
                let all = counts(&s).unwrap_or_default();
                sent && all.len() == 4 && all.iter().all(|n| n != "0")
            })?;
            let all = counts(&s)?;
            assert_eq!(all[1..], [all[1].clone(), all[1].clone(), all[1].clone()]);
            assert!(monitor.running(), "{version} {is_stock}");
            monitor.kill();
            said.push(std::fs::read_to_string(&path)?);
        }
        let first = |text: &str| -> Vec<String> {
            let from = text.lines().skip_while(|line| !line.contains("userdata"));
            let to = from.take_while(|line| !line.contains("table_id=2"));
            to.filter(|line| !line.contains("bridge="))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(first(&said[1]), first(&said[0]), "{version}");
    }
    Ok(())
}
