//! The `dpctl/` commands: the datapath as it is, whatever the bridges think.
//!
//! Functions from a datapath handle and arguments to text; they may take long, so the event loop
//! runs them on a thread of their own.
//!
//! Source: ovs-dpctl(8); the layouts are those of Open vSwitch with the kernel datapath, which
//! monitoring tools take apart.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use dpif::{Dpif, PortInfo, PortKind};
use openflow::text::dp::{self, DpPortNames, NoNames};
use packet::DpPort;

/// What the one datapath is called. Clients also use the names of Open vSwitch's userspace one.
pub const DATAPATH: &str = "system@ovs-system";
const ALIASES: [&str; 4] = [
    "ovs-system",
    "system@ovs-system",
    "ovs-netdev",
    "netdev@ovs-netdev",
];

type Answer = Result<String, String>;

/// Port names from the datapath's own list.
pub struct Names(BTreeMap<DpPort, String>);

impl Names {
    pub fn of(dpif: &dyn Dpif) -> Result<Names, String> {
        let ports = dpif.port_list().map_err(|error| error.to_string())?;
        Ok(Names(
            ports
                .into_iter()
                .map(|info| (info.port, info.name))
                .collect(),
        ))
    }
}

impl DpPortNames for Names {
    fn name(&self, port: DpPort) -> Option<String> {
        self.0.get(&port).cloned()
    }

    fn number(&self, name: &str) -> Option<DpPort> {
        self.0
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(port, _)| *port)
    }
}

/// `dpctl/dump-dps`.
pub fn dump_dps() -> Answer {
    Ok(format!("{DATAPATH}\n"))
}

/// `dpctl/show [-s] [dp...]`.
pub fn show(dpif: &dyn Dpif, args: &[String]) -> Answer {
    let mut statistics = false;
    for arg in args {
        match arg.as_str() {
            "-s" | "--statistics" => statistics = true,
            option if option.starts_with('-') => return Err(unrecognized(option)),
            name => check_name(name)?,
        }
    }
    let stats = dpif.stats().map_err(|error| error.to_string())?;
    let mut ports = dpif.port_list().map_err(|error| error.to_string())?;
    ports.sort_by_key(|info| info.port);
    let hit = stats.exact_hit.saturating_add(stats.megaflow_hit);
    let mut text = format!("{DATAPATH}:\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "  lookups: hit:{hit} missed:{} lost:{}\n  flows: {}",
        stats.missed, stats.lost, stats.flows
    );
    let packets = hit.saturating_add(stats.missed);
    let _ = writeln!(
        text,
        "  masks: hit:{} total:{} hit/pkt:{:.2}",
        stats.mask_hit,
        stats.masks,
        ratio(stats.mask_hit, packets)
    );
    let _ = writeln!(
        text,
        "  cache: hit:{} hit-rate:{:.2}%\n  caches:\n    masks-cache: size:{}",
        stats.exact_hit,
        ratio(stats.exact_hit, packets) * 100.0,
        dpif.limits().exact
    );
    for info in &ports {
        let _ = writeln!(text, "  port {}: {}", info.port.0, port_text(info));
        if statistics {
            write_port_stats(&mut text, dpif, info);
        }
    }
    Ok(text)
}

/// A port's name and, unless it is an ordinary device, its type.
pub fn port_text(info: &PortInfo) -> String {
    match info.kind {
        PortKind::System => info.name.clone(),
        PortKind::Internal => format!("{} (internal)", info.name),
    }
}

fn write_port_stats(text: &mut String, dpif: &dyn Dpif, info: &PortInfo) {
    match dpif.port_stats(info.port) {
        Ok(stats) => {
            let _ = writeln!(
                text,
                "    RX packets:{} errors:? dropped:{} overruns:? frame:?\n    \
                 TX packets:{} errors:? dropped:{} aborted:? carrier:?\n    \
                 collisions:?\n    RX bytes:{}{}  TX bytes:{}{}",
                stats.rx_packets,
                stats.rx_dropped,
                stats.tx_packets,
                stats.tx_dropped,
                stats.rx_bytes,
                human(stats.rx_bytes),
                stats.tx_bytes,
                human(stats.tx_bytes),
            );
        }
        Err(error) => {
            let _ = writeln!(text, "    no stats ({error})");
        }
    }
}

/// ` (1.5 KiB)` and so on; nothing below 1024.
fn human(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = None;
    for name in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = Some(name);
    }
    unit.map(|unit| format!(" ({value:.1} {unit})"))
        .unwrap_or_default()
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// `dpctl/dump-flows [-m] [--names | --no-names] [dp]`.
pub fn dump_flows(dpif: &dyn Dpif, args: &[String]) -> Answer {
    let mut verbose = false;
    let mut names = false;
    for arg in args {
        match arg.as_str() {
            "-m" | "--more" => verbose = true,
            "--names" => names = true,
            "--no-names" => names = false,
            option if option.starts_with('-') => return Err(unrecognized(option)),
            filter if filter.starts_with("filter=") => {
                return Err("filter= is not supported".to_owned());
            }
            // All flows are in the one datapath, none is offloaded.
            "type=ovs" | "type=non-offloaded" | "type=dpdk,ovs" => {}
            filter if filter.starts_with("type=") => {
                return Err(format!("{filter} is not supported"));
            }
            name => check_name(name)?,
        }
    }
    flows(dpif, |_| true, names, verbose)
}

/// The megaflows whose in-port `wanted` takes, one line each.
pub fn flows(
    dpif: &dyn Dpif,
    wanted: impl Fn(DpPort) -> bool,
    names: bool,
    verbose: bool,
) -> Answer {
    let port_names = Names::of(dpif)?;
    let names: &dyn DpPortNames = if names || verbose {
        &port_names
    } else {
        &NoNames
    };
    let entries = dpif.flow_dump().map_err(|error| error.to_string())?;
    let mut text = String::new();
    for entry in entries {
        if !wanted(entry.key.in_port()) {
            continue;
        }
        let stats = dp::Stats {
            packets: entry.stats.packets,
            bytes: entry.stats.bytes,
            used: entry.stats.idle,
            tcp_flags: entry.stats.tcp_flags,
        };
        text.push_str(&dp::format_flow(
            &entry.key,
            &entry.mask,
            &stats,
            &entry.actions,
            names,
            verbose,
        ));
        text.push('\n');
    }
    Ok(text)
}

/// `dpctl/show-drops`: packets that went nowhere, by reason.
pub fn show_drops(dpif: &dyn Dpif) -> Answer {
    let drops = dpif.drops().map_err(|error| error.to_string())?;
    let mut text = String::new();
    for (reason, packets) in drops {
        let _ = writeln!(text, "{:<24} {packets}", reason.name());
    }
    Ok(text)
}

fn check_name(name: &str) -> Result<(), String> {
    if ALIASES.contains(&name) {
        Ok(())
    } else {
        Err(format!("opening datapath {name} failed (No such device)"))
    }
}

fn unrecognized(option: &str) -> String {
    format!("Unrecognized option {option}")
}
