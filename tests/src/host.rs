//! A host: a network namespace whose `eth0` is a veth whose other end is a port of the switch.

use anyhow::{Context, Result};

use crate::netns::NetNs;
use crate::process::run;
use crate::switch::Switch;

pub struct Host {
    pub ns: NetNs,
    /// The switch's end of the veth pair, in the switch's namespace.
    pub port: String,
}

impl Host {
    /// Makes the host and the veth pair; adds no port to any bridge. `addr` is `ADDRESS/LENGTH`
    /// (IPv4 or IPv6), or empty for none.
    pub fn new(switch: &Switch, name: &str, port: &str, addr: &str) -> Result<Host> {
        let ns = NetNs::new(name)?;
        let inside = switch.ns.name().to_owned();
        run(
            "ip",
            &[
                "-n", &inside, "link", "add", port, "type", "veth", "peer", "name", "eth0",
                "netns", name,
            ],
        )?;
        run("ip", &["-n", &inside, "link", "set", port, "up"])?;
        // Addresses must be usable at once: no duplicate address detection.
        let _ = ns
            .enter(|| std::fs::write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0"))
            .join();
        ns.ip(&["link", "set", "eth0", "up"])?;
        if !addr.is_empty() {
            ns.ip(&["addr", "add", addr, "dev", "eth0"])?;
        }
        Ok(Host {
            ns,
            port: port.to_owned(),
        })
    }

    /// The host's Ethernet address, as text.
    pub fn mac(&self) -> Result<String> {
        let link = self.ns.ip(&["-o", "link", "show", "eth0"])?;
        link.split("link/ether ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next())
            .map(str::to_owned)
            .with_context(|| format!("no address in {link:?}"))
    }
}
