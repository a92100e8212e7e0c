//! What the switch wants of the network devices of its ports: address, MTU, promiscuous mode; and
//! which Ethernet address and datapath id a bridge has.
//!
//! Pure: [`device_changes`] says what to set, the event loop sets it by netlink.
//!
//! Source: ovs-vswitchd.conf.db(5), Bridge `other_config:hwaddr` and `datapath_id`, Interface
//! `mac` and `mtu_request`.

use std::collections::BTreeMap;

use packet::{EthAddr, IfIndex};

use super::desired::{Bridge, Desired, Interface, Kind};
use super::plan::Actual;
use super::port_conf::stable_mac;
use crate::netdev::Links;

/// One thing to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChange {
    pub ifindex: IfIndex,
    pub name: String,
    pub setting: Setting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    Mac(EthAddr),
    Mtu(u32),
    /// All frames are for the switch, whatever their destination.
    Promiscuous,
}

/// What is not yet as wished.
pub fn device_changes(desired: &Desired, actual: &Actual, links: &Links) -> Vec<DeviceChange> {
    let mut changes = Vec::new();
    for (name, bridge) in &desired.bridges {
        let Some(have) = actual.bridges.get(name) else {
            continue;
        };
        let bridge_mac = bridge_mac(bridge, links);
        let smallest_mtu = smallest_mtu(bridge, actual, links);
        for interface in bridge.interfaces() {
            let present = have
                .ports
                .get(&interface.name)
                .is_some_and(|port| port.device.is_some() && !port.vanished);
            let Some(link) = links.get(&interface.name).filter(|_| present) else {
                continue;
            };
            let mut want = |setting| {
                changes.push(DeviceChange {
                    ifindex: link.ifindex,
                    name: link.name.clone(),
                    setting,
                });
            };
            let mac = match interface.kind {
                Kind::Local => Some(interface.mac.unwrap_or(bridge_mac)),
                Kind::Internal => interface.mac,
                Kind::System | Kind::Patch { .. } => None,
            };
            if let Some(mac) = mac.filter(|mac| *mac != link.mac) {
                want(Setting::Mac(mac));
            }
            let mtu = match (interface.mtu_request, &interface.kind) {
                (Some(mtu), _) => Some(mtu),
                // Frames that the host sends must fit through every port.
                (None, Kind::Internal | Kind::Local) => smallest_mtu,
                (None, _) => None,
            };
            if let Some(mtu) = mtu.filter(|mtu| *mtu != link.mtu) {
                want(Setting::Mtu(mtu));
            }
            if interface.kind == Kind::System && !link.promiscuous {
                want(Setting::Promiscuous);
            }
        }
    }
    changes
}

/// The smallest MTU of the bridge's system ports; `None` without such ports.
fn smallest_mtu(bridge: &Bridge, actual: &Actual, links: &Links) -> Option<u32> {
    let have = actual.bridges.get(&bridge.name)?;
    bridge
        .interfaces()
        .filter(|interface| interface.kind == Kind::System)
        .filter(|interface| have.ports.contains_key(&interface.name))
        .filter_map(|interface| links.get(&interface.name))
        .map(|link| link.mtu)
        .filter(|mtu| *mtu >= 68)
        .min()
}

/// The Ethernet address of a bridge and its LOCAL port: as asked for, else the smallest of its
/// system ports, else one that follows from its row, so that it is the same after a restart.
pub fn bridge_mac(bridge: &Bridge, links: &Links) -> EthAddr {
    if let Some(mac) = bridge.hwaddr {
        return mac;
    }
    bridge
        .interfaces()
        .filter(|interface| interface.kind == Kind::System && interface.problem.is_none())
        .filter_map(|interface| links.get(&interface.name))
        .map(|link| link.mac)
        .filter(|mac| !mac.is_multicast() && !mac.is_zero())
        .min()
        .unwrap_or_else(|| stable_mac(bridge.uuid))
}

/// The datapath id: as asked for, else the bridge's address.
pub fn datapath_id(bridge: &Bridge, links: &Links) -> u64 {
    bridge
        .datapath_id
        .unwrap_or_else(|| bridge_mac(bridge, links).to_u64())
}

/// The datapath ids of all bridges.
pub fn datapath_ids(desired: &Desired, links: &Links) -> BTreeMap<String, u64> {
    desired
        .bridges
        .iter()
        .map(|(name, bridge)| (name.clone(), datapath_id(bridge, links)))
        .collect()
}

impl Bridge {
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.ports.values().flat_map(|port| &port.interfaces)
    }
}
