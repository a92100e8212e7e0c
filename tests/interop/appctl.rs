//! Stock `ovs-appctl` on our daemons' control sockets.

use anyhow::Result;
use tests::Switch;
use tests::process::raw_output;

use crate::{ready, stock, stock_command};

#[test]
fn ovs_appctl_gets_answers() -> Result<()> {
    if !ready("ovs_appctl_gets_answers", &["ovs-appctl"]) {
        return Ok(());
    }
    let s = Switch::start("io-appctl")?;
    s.vsctl(&["add-br", "br0"])?;
    let ctl = s.vswitchd_ctl().display().to_string();
    let ask = |args: &[&str]| {
        let mut all = vec!["-t", ctl.as_str(), "--timeout=10"];
        all.extend(args);
        stock(&s, "ovs-appctl", &all)
    };
    let commands = ask(&["list-commands"])?;
    for command in [
        "ofproto/trace",
        "ofproto/list",
        "fdb/show",
        "fdb/flush",
        "dpctl/show",
        "dpctl/dump-flows",
        "dpif/show",
        "vlog/set",
        "vlog/list",
        "coverage/show",
        "memory/show",
        "version",
        "exit",
        "list-commands",
    ] {
        assert!(commands.contains(command), "{command} is in\n{commands}");
    }
    for command in [
        "version",
        "vlog/list",
        "coverage/show",
        "memory/show",
        "dpif/show",
        "dpctl/show",
    ] {
        assert!(ask(&[command])?.ends_with('\n'), "{command}");
    }
    assert!(ask(&["fdb/show", "br0"])?.contains("VLAN"));
    assert!(ask(&["dpif/show"])?.contains("br0"));
    assert!(ask(&["ofproto/trace", "br0", "in_port=LOCAL,ip"])?.contains("Datapath actions:"));
    ask(&["vlog/set", "ANY:file:dbg"])?;

    let out = raw_output(stock_command(&s, "ovs-appctl").args(["-t", &ctl, "no/such"]))?;
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("\"no/such\" is not a valid command"));

    // By the pidfile, as scripts find it: the lock is what the stock tool looks at.
    let out = stock(
        &s,
        "ovs-appctl",
        &["-t", "db-server", "--timeout=10", "version"],
    );
    assert!(out.is_err() || out?.ends_with('\n'));
    Ok(())
}
