//! The event loop's view of single ports: counters, and what controllers want of them.

use std::collections::BTreeMap;

use dpif::PortConfig as DpPortConfig;
use ofproto::port::PortLink;
use ofproto::snapshot::BridgeId;
use ofproto::xlate::Credit;
use openflow::message::PortConfig;
use packet::OfPort;
use uuid::Uuid;

use crate::bridge::desired::Kind;
use crate::bridge::plan::ActualPort;
use crate::netdev::LinkStats;
use crate::switch::Switch;

/// Packets that crossed patch ports, by bridge and port.
#[derive(Default)]
pub struct PatchCounters(BTreeMap<(BridgeId, OfPort), LinkStats>);

impl PatchCounters {
    pub fn add(&mut self, credit: &Credit, packets: u64, bytes: u64) {
        match credit {
            Credit::PatchSent(bridge, port) => {
                let stats = self.0.entry((*bridge, *port)).or_default();
                stats.tx_packets = stats.tx_packets.saturating_add(packets);
                stats.tx_bytes = stats.tx_bytes.saturating_add(bytes);
            }
            Credit::PatchReceived(bridge, port) => {
                let stats = self.0.entry((*bridge, *port)).or_default();
                stats.rx_packets = stats.rx_packets.saturating_add(packets);
                stats.rx_bytes = stats.rx_bytes.saturating_add(bytes);
            }
            Credit::Rule(..) | Credit::Table(..) | Credit::Station(_) => {}
        }
    }

    pub fn get(&self, bridge: BridgeId, port: OfPort) -> LinkStats {
        self.0.get(&(bridge, port)).copied().unwrap_or_default()
    }

    pub fn forget(&mut self, bridge: BridgeId, port: OfPort) {
        self.0.remove(&(bridge, port));
    }
}

impl Switch {
    fn find_port(&self, id: BridgeId, number: OfPort) -> Option<(&String, &ActualPort)> {
        self.actual
            .bridges
            .values()
            .find(|bridge| bridge.id == Some(id))?
            .ports
            .iter()
            .find(|(_, port)| port.ofport == number)
    }

    /// Counters of a port as the switch sees it; `None` for one that does not count.
    pub(crate) fn port_counters(&self, bridge: BridgeId, port: OfPort) -> Option<LinkStats> {
        let (name, have) = self.find_port(bridge, port)?;
        match have.kind {
            Kind::Patch { .. } => Some(self.patch_counters.get(bridge, port)),
            Kind::Internal | Kind::Local => self.links.get(name).map(|l| l.stats.turned_around()),
            Kind::System => self.links.get(name).map(|link| link.stats),
        }
    }

    /// Counters of all patch ports, by interface row.
    pub(crate) fn patch_stats(&self) -> BTreeMap<Uuid, LinkStats> {
        let mut stats = BTreeMap::new();
        for (name, bridge) in &self.desired.bridges {
            let Some(have) = self.actual.bridges.get(name) else {
                continue;
            };
            for interface in bridge.interfaces() {
                if let (Kind::Patch { .. }, Some(port), Some(id)) =
                    (&interface.kind, have.ports.get(&interface.name), have.id)
                {
                    stats.insert(interface.uuid, self.patch_counters.get(id, port.ofport));
                }
            }
        }
        stats
    }

    /// A controller changed a port's configuration: the datapath and the device follow.
    pub(crate) fn configure_port(&mut self, bridge: BridgeId, number: OfPort) {
        let Some(conf) = self.ofproto.bridge(bridge).and_then(|b| b.port(number)) else {
            return;
        };
        let PortLink::Datapath(dp_port) = conf.link else {
            return;
        };
        let config = DpPortConfig {
            receive: conf.may_receive(),
            transmit: conf.may_send(),
        };
        let up = !conf.has(PortConfig::PORT_DOWN);
        let name = conf.name.to_string();
        if let Err(error) = self.dpif.port_set_config(dp_port, config) {
            tracing::warn!(target: "bridge", "{name}: {error}");
        }
        if let Some(link) = self.links.get(&name)
            && link.admin_up != up
        {
            self.admin_requests.push((link.ifindex, name, up));
        }
    }
}
