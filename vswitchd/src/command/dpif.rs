//! `dpif/show`, `dpif/dump-flows` and `memory/show`: the datapath as the bridges see it.
//!
//! Source: ovs-vswitchd(8), "DATAPATH COMMANDS"; the layouts are the stock program's.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use ofproto::table::FlowTables;
use packet::DpPort;

use crate::bridge::desired::Kind;
use crate::command::dpctl::DATAPATH;
use crate::switch::Switch;

/// What `dpif/dump-flows` asks for.
pub struct FlowQuestion {
    pub ports: BTreeSet<DpPort>,
    pub names: bool,
    pub verbose: bool,
}

impl Switch {
    pub(super) fn dpif_dump_dps(&self) -> String {
        self.actual
            .bridges
            .keys()
            .map(|bridge| format!("system@{bridge}\n"))
            .collect()
    }

    pub(super) fn dpif_show(&self) -> Result<String, String> {
        let stats = self.dpif.stats().map_err(|error| error.to_string())?;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{DATAPATH}: hit:{} missed:{}",
            stats.exact_hit.saturating_add(stats.megaflow_hit),
            stats.missed
        );
        for (name, bridge) in &self.actual.bridges {
            let _ = writeln!(text, "  {name}:");
            for (port_name, port) in &bridge.ports {
                let ofport = port.ofport.to_u16().map_or(port.ofport.0, u32::from);
                let dp = match &port.device {
                    Some(device) => device.port.0.to_string(),
                    None => "none".to_owned(),
                };
                let kind = match &port.kind {
                    Kind::System => "system".to_owned(),
                    Kind::Internal | Kind::Local => "internal".to_owned(),
                    Kind::Patch { peer } => format!("patch: peer={peer}"),
                };
                let _ = writeln!(text, "    {port_name} {ofport}/{dp}: ({kind})");
            }
        }
        Ok(text)
    }

    pub(super) fn dpif_dump_flows(&self, args: &[String]) -> Result<FlowQuestion, String> {
        let mut question = FlowQuestion {
            ports: BTreeSet::new(),
            names: false,
            verbose: false,
        };
        let mut name = None;
        for arg in args {
            match arg.as_str() {
                "-m" => question.verbose = true,
                "--names" => question.names = true,
                "--no-names" => question.names = false,
                bridge => name = Some(bridge),
            }
        }
        let bridge = name
            .and_then(|name| self.actual.bridges.get(name))
            .ok_or("no such bridge")?;
        question.ports = bridge
            .ports
            .values()
            .filter_map(|port| Some(port.device.as_ref()?.port))
            .collect();
        Ok(question)
    }

    pub(super) fn memory_show(&self) -> String {
        let ports: usize = self
            .actual
            .bridges
            .values()
            .map(|bridge| bridge.ports.len())
            .sum();
        let rules: usize = self
            .actual
            .bridges
            .values()
            .filter_map(|bridge| self.ofproto.tables(bridge.id?))
            .map(FlowTables::len)
            .sum();
        format!(
            "handlers:{} ports:{ports} revalidators:1 rules:{rules} udpif keys:{}\n",
            self.dpif.upcall_rings(),
            self.threads.control.flows.load(Ordering::Relaxed)
        )
    }

    /// What the datapath can do, by the names that clients look for.
    pub(super) fn dpif_show_dp_features(&self, args: &[String]) -> Result<String, String> {
        let bridge = args.first().map_or("", String::as_str);
        if !self.actual.bridges.contains_key(bridge) {
            return Err("no such bridge".to_owned());
        }
        Ok(DP_FEATURES
            .iter()
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect())
    }
}

/// Source: OVS `ofproto/ofproto-dpif.h`, `DPIF_SUPPORT_FIELDS`, for the names.
const DP_FEATURES: [(&str, &str); 26] = [
    ("Masked set action", "Yes"),
    ("Tunnel push pop", "No"),
    ("Ufid", "No"),
    ("Truncate action", "No"),
    ("Clone action", "No"),
    ("Sample nesting", "0"),
    ("Conntrack eventmask", "No"),
    ("Conntrack clear", "No"),
    ("Max dp_hash algorithm", "0"),
    ("Check pkt length action", "No"),
    ("Conntrack timeout policy", "No"),
    ("Explicit Drop action", "Yes"),
    ("Optimized Balance TCP mode", "No"),
    ("Conntrack all-zero IP SNAT", "No"),
    ("MPLS Label add", "No"),
    ("Max VLAN headers", "2"),
    ("Max MPLS depth", "0"),
    ("Recirc", "No"),
    ("CT state", "No"),
    ("CT zone", "No"),
    ("CT mark", "No"),
    ("CT label", "No"),
    ("CT state NAT", "No"),
    ("CT orig tuple", "No"),
    ("CT orig tuple for IPv6", "No"),
    ("IPv6 ND Extension", "No"),
];
