//! The event loop's view of single ports: counters, and what controllers want of them.

use std::collections::BTreeMap;

use dpif::PortConfig as DpPortConfig;
use ofproto::port::PortLink;
use ofproto::snapshot::BridgeId;
use openflow::message::PortConfig;
use packet::OfPort;
use uuid::Uuid;

use crate::bridge::desired::Kind;
use crate::bridge::plan::ActualPort;
use crate::netdev::LinkStats;
use crate::switch::Switch;

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
            Kind::Patch { .. } => Some(self.patch_counters(bridge, port)),
            Kind::Internal | Kind::Local => self.links.get(name).map(|l| l.stats.turned_around()),
            Kind::System => self.links.get(name).map(|link| link.stats),
        }
    }

    fn patch_counters(&self, bridge: BridgeId, port: OfPort) -> LinkStats {
        let conf = self.ofproto.bridge(bridge).and_then(|b| b.port(port));
        let counted = conf.map(|conf| conf.counters.get()).unwrap_or_default();
        LinkStats {
            rx_packets: counted.rx_packets,
            tx_packets: counted.tx_packets,
            rx_bytes: counted.rx_bytes,
            tx_bytes: counted.tx_bytes,
            ..LinkStats::default()
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
                    stats.insert(interface.uuid, self.patch_counters(id, port.ofport));
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
