//! Takes over from a datapath of the same owner whose maps have another layout: other capacities,
//! or another version of this program.
//!
//! Its ports are attached here too, behind its programs, which go on forwarding; then its flows are
//! copied, where the records have the same form; then its pins go, and with them its programs: the
//! next packet is answered here. Nothing is in between. What cannot be copied comes again by upcalls.

use std::path::Path;

use packet::abi::{ABI_VERSION, Config, PortEntry, maps, port_flags};

use super::flows::{Flows, monotonic_ns};
use super::ports::Ports;
use super::sys::SharedArray;
use super::{array, open_flows, pin};
use crate::Error;

/// Takes over from every other layout under `owner_dir`. A part that cannot be read is left out, and
/// said: this datapath works without.
pub fn take_over(owner_dir: &Path, own: &Path, ports: &mut Ports, flows: &mut Flows) {
    for dir in pin::subdirectories(owner_dir) {
        if dir == own {
            continue;
        }
        if let Err(e) = copy_ports(&dir, ports) {
            tracing::warn!("ports of an earlier datapath were not found: {e}");
        }
        match copy_flows(&dir, flows) {
            Ok(count) => tracing::info!("took over {count} flows of an earlier datapath"),
            Err(e) => tracing::warn!("flows of an earlier datapath come anew: {e}"),
        }
        if let Err(e) = pin::remove_dir(&dir) {
            tracing::warn!(
                "an earlier datapath was not removed ({}): {e}",
                dir.display()
            );
        }
    }
}

fn copy_ports(dir: &Path, ports: &mut Ports) -> Result<(), Error> {
    let entries: SharedArray<PortEntry> = array(dir, maps::PORTS)?;
    for number in 1..entries.entries() {
        let entry = entries.get(number).unwrap_or_default();
        if entry.flags & port_flags::EXISTS != 0 {
            ports.import(number, &entry);
        }
    }
    Ok(())
}

/// Returns how many flows were copied.
fn copy_flows(dir: &Path, flows: &mut Flows) -> Result<usize, Error> {
    let settings: SharedArray<Config> = array(dir, maps::CONFIG)?;
    let config = settings.get(0).unwrap_or_default();
    if config.abi_version != ABI_VERSION {
        return Err(Error::Datapath(format!(
            "records of version {}",
            config.abi_version
        )));
    }
    let mut old = open_flows(dir, config.hash_seed)?;
    old.adopt()?;
    let now = monotonic_ns();
    let mut copied = 0;
    for flow in old.dump()? {
        let idle_ns = flow.stats.idle.map(|idle| idle.as_nanos() as u64);
        let used_ns = idle_ns.map_or(0, |idle| now.saturating_sub(idle));
        if flows.import(&flow, used_ns).is_ok() {
            copied += 1;
        }
    }
    Ok(copied)
}
