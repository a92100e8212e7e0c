//! After a barrier reply no packet is answered by what was there before, the kernel cache included.

use std::time::Duration;

use anyhow::Result;
use tests::process::wait_for;
use tests::traffic::ping;
use tests::{Host, Switch, require_root};

/// `add-flow` ends with a barrier; the very next packet must see the new rule.
#[test]
fn the_next_packet_sees_the_new_rule() -> Result<()> {
    if !require_root("the_next_packet_sees_the_new_rule") {
        return Ok(());
    }
    let s = Switch::start("e2e-barrier")?;
    let a = Host::new(&s, "e2e-a", "a0", "10.1.0.1/24")?;
    let _b = Host::new(&s, "e2e-b", "b0", "10.1.0.2/24")?;
    s.vsctl(&[
        "add-br", "br0", "--", "add-port", "br0", "a0", "--", "add-port", "br0", "b0",
    ])?;
    wait_for("a ping is answered", Duration::from_secs(5), || {
        ping(&a.ns, "10.1.0.2", 1, "0.1").is_ok_and(|p| p.all())
    })?;
    for round in 0..20 {
        s.ofctl(&["add-flow", "br0", "priority=100,icmp,actions=drop"])?;
        assert_eq!(
            ping(&a.ns, "10.1.0.2", 1, "0.1")?.received,
            0,
            "round {round}: drop"
        );
        s.ofctl(&["--strict", "del-flows", "br0", "priority=100,icmp"])?;
        assert_eq!(
            ping(&a.ns, "10.1.0.2", 1, "0.1")?.received,
            1,
            "round {round}: forward"
        );
    }
    Ok(())
}
