//! Carries out one planned change: the datapath first, then the switch, then [`Actual`].
//!
//! A port that cannot be added gets a text for `Interface.error`; everything else goes on.
//!
//! [`Actual`]: super::plan::Actual

use std::time::{Duration, Instant};

use dpif::{PortInfo, PortSpec};
use ofproto::port::{PatchPeer, PortConf, PortLink, RowId};
use ofproto::snapshot::FailMode;
use ofproto::table::TableConf;
use openflow::message::Desc;
use packet::OfPort;

use super::desired::{Bridge, Interface, Kind, Port};
use super::device::{bridge_mac, datapath_id};
use super::plan::{ActualPort, Change, port_settings, settings};
use super::port_conf::{describe_device, describe_patch, port_row};
use crate::coverage;
use crate::switch::Switch;

impl Switch {
    pub(crate) fn apply(&mut self, change: &Change, now: Instant) {
        let done = match change {
            Change::DelPort { bridge, port } => self.del_port(bridge, port),
            Change::DelBridge { bridge } => self.del_bridge(bridge),
            Change::Detach { device } => {
                self.detach(device);
                Ok(())
            }
            Change::AddBridge { bridge } => self.add_bridge(bridge, now),
            Change::SetBridge { bridge } => self.set_bridge(bridge, now),
            Change::AddPort {
                bridge,
                port,
                ofport,
            } => self.add_port(bridge, port, *ofport, now),
            Change::SetPort { bridge, port } => self.set_port(bridge, port),
        };
        if let Err(error) = done {
            tracing::error!(target: "bridge", "{change:?}: {error}");
        }
    }

    fn del_port(&mut self, bridge: &str, name: &str) -> Result<(), ofproto::ofproto::Error> {
        let Some(have) = self.actual.bridges.get_mut(bridge) else {
            return Ok(());
        };
        let (Some(port), Some(id)) = (have.ports.remove(name), have.id) else {
            return Ok(());
        };
        tracing::info!(
            target: "bridge",
            "bridge {bridge}: deleted interface {name} on port {}",
            shown(port.ofport)
        );
        self.ofproto.port_del(id, port.ofport)?;
        self.ofproto.row_del(id, port.row)
    }

    fn del_bridge(&mut self, name: &str) -> Result<(), ofproto::ofproto::Error> {
        let Some(have) = self.actual.bridges.remove(name) else {
            return Ok(());
        };
        tracing::info!(target: "bridge", "bridge {name}: deleted");
        match have.id {
            Some(id) => self.ofproto.bridge_del(id),
            None => Ok(()),
        }
    }

    fn detach(&mut self, device: &str) {
        let Some(info) = self.actual.datapath.remove(device) else {
            return;
        };
        coverage::dpif_port_del.inc();
        if let Err(error) = self.dpif.port_del(info.port) {
            tracing::warn!(target: "bridge", "cannot take {device} out of the datapath: {error}");
        }
    }

    fn add_bridge(&mut self, name: &str, now: Instant) -> Result<(), ofproto::ofproto::Error> {
        let (Some(wanted), Some(have)) = (
            self.desired.bridges.get(name),
            self.actual.bridges.get_mut(name),
        ) else {
            return Ok(());
        };
        let id = self.ofproto.bridge_add(
            name,
            datapath_id(wanted, &self.links),
            bridge_mac(wanted, &self.links),
            fail_mode(wanted),
            now,
        )?;
        have.id = Some(id);
        tracing::info!(target: "bridge", "bridge {name}: added");
        Ok(())
    }

    fn set_bridge(&mut self, name: &str, now: Instant) -> Result<(), ofproto::ofproto::Error> {
        let (Some(wanted), Some(have)) = (
            self.desired.bridges.get(name),
            self.actual.bridges.get_mut(name),
        ) else {
            return Ok(());
        };
        let Some(id) = have.id else { return Ok(()) };
        self.ofproto.set_fail_mode(id, fail_mode(wanted), now)?;
        self.ofproto.set_desc(
            id,
            Desc {
                mfr_desc: "Sluice".to_owned(),
                hw_desc: "eBPF datapath".to_owned(),
                sw_desc: daemon::version::VERSION.to_owned(),
                serial_num: wanted.dp_sn.clone().unwrap_or_else(|| "None".to_owned()),
                dp_desc: wanted.dp_desc.clone().unwrap_or_else(|| "None".to_owned()),
            },
        )?;
        self.ofproto.set_forward_bpdu(id, wanted.forward_bpdu)?;
        self.ofproto.modify_macs(id, |macs| {
            macs.set_aging(wanted.mac_aging_time);
            macs.set_limit(wanted.mac_table_size as usize);
        })?;
        let before = have.settings.iter().flat_map(|old| old.flow_tables.keys());
        for number in before.filter(|n| !wanted.flow_tables.contains_key(n)) {
            let default = TableConf::default();
            self.ofproto.set_table_conf(id, *number, default, now)?;
        }
        for (number, conf) in &wanted.flow_tables {
            self.ofproto
                .set_table_conf(id, *number, conf.clone(), now)?;
        }
        have.settings = Some(settings(wanted));
        Ok(())
    }

    fn add_port(
        &mut self,
        bridge: &str,
        name: &str,
        ofport: OfPort,
        now: Instant,
    ) -> Result<(), ofproto::ofproto::Error> {
        let Some((port, interface)) = self.find_wanted(bridge, name) else {
            return Ok(());
        };
        let device = match self.attach(&interface) {
            Ok(device) => device,
            Err(error) => {
                self.note_failure(&interface, &failure_text(name, &error));
                if let Some(have) = self.actual.bridges.get_mut(bridge) {
                    have.numbers.put_back(&interface, ofport);
                }
                return Ok(());
            }
        };
        let Some(have) = self.actual.bridges.get_mut(bridge) else {
            return Ok(());
        };
        let Some(id) = have.id else { return Ok(()) };
        let link = match &device {
            Some(device) => PortLink::Datapath(device.port),
            None => PortLink::Patch(None),
        };
        let mut conf = PortConf::new(ofport, name, link);
        match (&device, self.links.get(name)) {
            (Some(_), Some(link)) => {
                describe_device(&mut conf, link, &self.links.details(name));
            }
            // The datapath has made the device just now; the next link event describes it.
            (Some(_), None) => {}
            (None, _) => describe_patch(&mut conf, interface.uuid),
        }
        self.ofproto.port_add(id, conf, now)?;
        have.last_row = have.last_row.wrapping_add(1);
        let row = RowId(have.last_row);
        self.ofproto.row_set(id, row, port_row(&port, ofport))?;
        have.ports.insert(
            name.to_owned(),
            ActualPort {
                ofport,
                kind: interface.kind,
                device,
                vanished: false,
                settings: port_settings(&port),
                row,
            },
        );
        tracing::info!(
            target: "bridge",
            "bridge {bridge}: added interface {name} on port {}",
            shown(ofport)
        );
        Ok(())
    }

    /// Puts the interface's device into the datapath; patch ports have none.
    fn attach(&mut self, interface: &Interface) -> Result<Option<PortInfo>, dpif::Error> {
        let Some(kind) = interface.kind.device() else {
            return Ok(None);
        };
        coverage::dpif_port_add.inc();
        let spec = PortSpec {
            name: interface.name.clone(),
            kind,
        };
        let info = self.dpif.port_add(&spec, None)?;
        self.actual
            .datapath
            .insert(interface.name.clone(), info.clone());
        Ok(Some(info))
    }

    fn set_port(&mut self, bridge: &str, name: &str) -> Result<(), ofproto::ofproto::Error> {
        let Some((port, _)) = self.find_wanted(bridge, name) else {
            return Ok(());
        };
        let Some(actual) = self.actual.bridges.get_mut(bridge) else {
            return Ok(());
        };
        let (Some(id), Some(have)) = (actual.id, actual.ports.get_mut(name)) else {
            return Ok(());
        };
        have.settings = port_settings(&port);
        self.ofproto
            .row_set(id, have.row, port_row(&port, have.ofport))
    }

    /// Joins the ends of patch ports that name each other.
    pub(crate) fn join_patches(&mut self) {
        let mut ends = Vec::new();
        for bridge in self.actual.bridges.values() {
            let Some(id) = bridge.id else { continue };
            for (name, port) in &bridge.ports {
                if let Kind::Patch { peer } = &port.kind {
                    ends.push((name.clone(), peer.clone(), id, port.ofport));
                }
            }
        }
        for (name, peer, id, number) in &ends {
            let other = ends
                .iter()
                .find(|(other, back, ..)| other == peer && back == name)
                .map(|(_, _, bridge, port)| PatchPeer {
                    bridge: *bridge,
                    port: *port,
                });
            let joined = self
                .ofproto
                .port_modify(*id, *number, |conf| conf.link = PortLink::Patch(other));
            if let Err(error) = joined {
                tracing::error!(target: "bridge", "{name}: {error}");
            }
        }
    }

    /// Tells the switch which controllers each bridge has, and its address where that follows
    /// from its ports.
    pub(crate) fn set_controllers(&mut self, now: Instant) {
        for (name, wanted) in &self.desired.bridges {
            let Some(id) = self.actual.bridges.get(name).and_then(|have| have.id) else {
                continue;
            };
            let longest = wanted
                .controllers
                .values()
                .filter_map(|controller| controller.inactivity_probe)
                .max()
                .unwrap_or(Duration::from_secs(5));
            let done = self
                .ofproto
                .set_controllers(id, wanted.controllers.len(), longest * 3, now)
                .and_then(|()| {
                    let controllers = wanted.controllers.values();
                    let targets = controllers.map(|c| c.target.clone()).collect();
                    self.ofproto.set_controller_targets(id, targets)
                })
                .and_then(|()| {
                    self.ofproto
                        .set_datapath_id(id, datapath_id(wanted, &self.links))
                })
                .and_then(|()| {
                    self.ofproto
                        .set_hw_addr(id, bridge_mac(wanted, &self.links))
                });
            if let Err(error) = done {
                tracing::error!(target: "bridge", "bridge {name}: {error}");
            }
        }
    }

    /// Tells the switch about changed devices behind its ports; all of them without `name`.
    pub(crate) fn describe_ports(&mut self, name: Option<&str>) {
        for bridge in self.actual.bridges.values() {
            let Some(id) = bridge.id else { continue };
            let one = name.and_then(|name| bridge.ports.get_key_value(name));
            let all = name.is_none().then_some(&bridge.ports);
            for (port_name, port) in one.into_iter().chain(all.into_iter().flatten()) {
                if port.device.is_none() {
                    continue;
                }
                let Some(link) = self.links.get(port_name) else {
                    continue;
                };
                let details = self.links.details(port_name);
                let done = self.ofproto.port_modify(id, port.ofport, |conf| {
                    describe_device(conf, link, &details);
                });
                if let Err(error) = done {
                    tracing::error!(target: "bridge", "{port_name}: {error}");
                }
            }
        }
    }

    fn find_wanted(&self, bridge: &str, name: &str) -> Option<(Port, Interface)> {
        let bridge = self.desired.bridges.get(bridge)?;
        // Most ports have one interface, of their own name.
        let namesake = bridge.ports.get(name).into_iter();
        namesake.chain(bridge.ports.values()).find_map(|port| {
            let interface = port.interfaces.iter().find(|i| i.name == name)?;
            Some((port.clone(), interface.clone()))
        })
    }

    fn note_failure(&mut self, interface: &Interface, text: &str) {
        // The same failure again is no news.
        if self
            .failures_before
            .get(&interface.uuid)
            .map(String::as_str)
            != Some(text)
        {
            tracing::warn!(target: "bridge", "{text}");
        }
        self.failures.insert(interface.uuid, text.to_owned());
    }
}

fn fail_mode(bridge: &Bridge) -> FailMode {
    if bridge.secure {
        FailMode::Secure
    } else {
        FailMode::Standalone
    }
}

/// As `Interface.error` has it; tools look for the start of the text.
fn failure_text(name: &str, error: &dpif::Error) -> String {
    match error {
        dpif::Error::Device { .. } => error.to_string(),
        other => format!("could not add network device {name} to ofproto ({other})"),
    }
}

/// LOCAL is 65534 to users.
fn shown(port: OfPort) -> u32 {
    port.to_u16().map_or(port.0, u32::from)
}
