//! From what is and what is wanted to a list of changes: deletions first, then additions.
//!
//! Pure: [`plan`] compares [`Desired`] with [`Actual`] and numbers ports; [`super::apply`] carries
//! the changes out and keeps `Actual` in step.

use std::collections::{BTreeMap, BTreeSet};

use dpif::{PortInfo, PortKind};
use ofproto::port::RowId;
use ofproto::snapshot::BridgeId;
use packet::OfPort;

use super::desired::{Bridge, Desired, Interface, Kind, Port};

/// What the switch has made so far.
#[derive(Clone, Debug, Default)]
pub struct Actual {
    pub bridges: BTreeMap<String, ActualBridge>,
    /// Every port of the datapath by device name, also those that an earlier daemon left.
    pub datapath: BTreeMap<String, PortInfo>,
}

#[derive(Clone, Debug, Default)]
pub struct ActualBridge {
    /// As last applied; `ports` and `controllers` left empty. `None` until it is in the switch.
    pub settings: Option<Bridge>,
    /// What the switch calls it.
    pub id: Option<BridgeId>,
    /// By interface name.
    pub ports: BTreeMap<String, ActualPort>,
    pub numbers: Numbers,
    pub last_row: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ActualPort {
    pub ofport: OfPort,
    pub kind: Kind,
    /// `None` for patch ports.
    pub device: Option<PortInfo>,
    /// The device is gone from the system.
    pub vanished: bool,
    /// As last applied; `interfaces` left empty.
    pub settings: Port,
    /// What the switch calls its row.
    pub row: RowId,
}

/// One step. Names of ports are names of interfaces.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Takes a port out of its bridge; its device stays in the datapath.
    DelPort {
        bridge: String,
        port: String,
    },
    DelBridge {
        bridge: String,
    },
    /// Takes a device out of the datapath, and out of existence where the datapath made it.
    Detach {
        device: String,
    },
    AddBridge {
        bridge: String,
    },
    /// Settings of the bridge other than its ports and controllers.
    SetBridge {
        bridge: String,
    },
    AddPort {
        bridge: String,
        port: String,
        ofport: OfPort,
    },
    /// VLAN settings.
    SetPort {
        bridge: String,
        port: String,
    },
}

impl Change {
    /// Whether a program may have to be attached to a device or detached from it.
    pub fn touches_hooks(&self) -> bool {
        matches!(self, Change::AddPort { .. } | Change::Detach { .. })
    }
}

/// Gives out OpenFlow port numbers: never one that is taken, and one that was used before only
/// when all others were, so that a rule for a port that is gone does not catch its successor.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// The last number given out without being asked for.
    last: u32,
    /// What a port of this name had, to give it again when its device returns.
    remembered: BTreeMap<String, u32>,
}

/// More names than ports can be are not remembered.
const MAX_REMEMBERED: usize = 4096;

impl Numbers {
    /// A number for `interface` that is not in `taken`.
    fn pick(&mut self, interface: &Interface, taken: &BTreeSet<u32>) -> Option<OfPort> {
        let wishes = [
            interface.ofport_request,
            self.remembered.get(&interface.name).copied(),
            interface.ofport_before,
        ];
        let wish = wishes.into_iter().flatten().find(|n| !taken.contains(n));
        let number = match wish {
            Some(number) => number,
            None => {
                self.last = self.next(taken)?;
                self.last
            }
        };
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(interface.name.clone(), number);
        Some(OfPort(number))
    }

    /// Takes back a number whose port could not be added after all, unless it had that number
    /// before.
    pub fn put_back(&mut self, interface: &Interface, number: OfPort) {
        if interface.ofport_before != Some(number.0) && self.last == number.0 {
            self.last = self.last.saturating_sub(1);
            self.remembered.remove(&interface.name);
        }
    }

    fn next(&self, taken: &BTreeSet<u32>) -> Option<u32> {
        let max = OfPort::MAX.0;
        let free = |n: &u32| !taken.contains(n);
        (self.last.saturating_add(1)..=max)
            .find(free)
            .or_else(|| (1..=max).find(free))
    }

    fn forget(&mut self, name: &str) {
        self.remembered.remove(name);
    }
}

/// The steps from `actual` to `desired`. Only the numbering state of `actual` changes.
pub fn plan(desired: &Desired, actual: &mut Actual) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut additions = Vec::new();
    let wanted_devices = wanted_devices(desired);

    for (name, bridge) in &actual.bridges {
        match desired.bridges.get(name) {
            None => {
                for port in bridge.ports.keys() {
                    changes.push(Change::DelPort {
                        bridge: name.clone(),
                        port: port.clone(),
                    });
                }
                changes.push(Change::DelBridge {
                    bridge: name.clone(),
                });
            }
            Some(wanted) => {
                let reserved = reserved(wanted);
                for (port_name, port) in &bridge.ports {
                    if !stays(wanted, port_name, port, &reserved) {
                        changes.push(Change::DelPort {
                            bridge: name.clone(),
                            port: port_name.clone(),
                        });
                    }
                }
            }
        }
    }
    let deleted: BTreeSet<(String, String)> = changes
        .iter()
        .filter_map(|change| match change {
            Change::DelPort { bridge, port } => Some((bridge.clone(), port.clone())),
            _ => None,
        })
        .collect();
    for (name, info) in &actual.datapath {
        let vanished = actual
            .bridges
            .values()
            .filter_map(|bridge| bridge.ports.get(name))
            .any(|port| port.vanished);
        if vanished || wanted_devices.get(name.as_str()) != Some(&info.kind) {
            changes.push(Change::Detach {
                device: name.clone(),
            });
        }
    }

    for (name, wanted) in &desired.bridges {
        let bridge = actual.bridges.entry(name.clone()).or_default();
        if bridge.settings.is_none() {
            additions.push(Change::AddBridge {
                bridge: name.clone(),
            });
        }
        if bridge.settings.as_ref() != Some(&settings(wanted)) {
            additions.push(Change::SetBridge {
                bridge: name.clone(),
            });
        }
        plan_ports(name, wanted, bridge, &deleted, &mut additions);
    }
    changes.extend(additions);
    changes
}

fn plan_ports(
    name: &str,
    wanted: &Bridge,
    bridge: &mut ActualBridge,
    deleted: &BTreeSet<(String, String)>,
    additions: &mut Vec<Change>,
) {
    let kept: BTreeMap<&String, &ActualPort> = bridge
        .ports
        .iter()
        .filter(|(port, _)| !deleted.contains(&(name.to_owned(), (*port).clone())))
        .collect();
    let mut taken: BTreeSet<u32> = kept.values().map(|port| port.ofport.0).collect();
    let mut missing: Vec<(&Port, &Interface)> = Vec::new();
    for port in wanted.ports.values() {
        for interface in &port.interfaces {
            match kept.get(&interface.name) {
                Some(have) if have.settings != port_settings(port) => {
                    additions.push(Change::SetPort {
                        bridge: name.to_owned(),
                        port: interface.name.clone(),
                    });
                }
                Some(_) => {}
                None if interface.problem.is_none() => missing.push((port, interface)),
                None => {}
            }
        }
    }
    // Whoever asks for a number gets it before those who take any.
    missing.sort_by_key(|(_, interface)| {
        (
            interface.kind != Kind::Local,
            interface.ofport_request.is_none(),
            interface.ofport_before.is_none(),
        )
    });
    for (_, interface) in missing {
        let ofport = if interface.kind == Kind::Local {
            Some(OfPort::LOCAL)
        } else {
            bridge.numbers.pick(interface, &taken)
        };
        if let Some(ofport) = ofport {
            taken.insert(ofport.0);
            additions.push(Change::AddPort {
                bridge: name.to_owned(),
                port: interface.name.clone(),
                ofport,
            });
        }
    }
    let names: BTreeSet<&str> = wanted
        .ports
        .values()
        .flat_map(|port| &port.interfaces)
        .map(|interface| interface.name.as_str())
        .collect();
    let gone: Vec<String> = bridge
        .numbers
        .remembered
        .keys()
        .filter(|name| !names.contains(name.as_str()))
        .cloned()
        .collect();
    for name in gone {
        bridge.numbers.forget(&name);
    }
}

/// Whether a port of the bridge can stay as it is, but for settings.
fn stays(wanted: &Bridge, name: &str, port: &ActualPort, reserved: &BTreeMap<u32, String>) -> bool {
    let interface = wanted
        .ports
        .values()
        .flat_map(|port| &port.interfaces)
        .find(|interface| interface.name == name);
    let Some(interface) = interface else {
        return false;
    };
    interface.problem.is_none()
        && interface.kind == port.kind
        && !port.vanished
        && reserved
            .get(&port.ofport.0)
            .is_none_or(|owner| owner == name)
        && (interface.kind == Kind::Local
            || interface.ofport_request.is_none_or(|n| {
                n == port.ofport.0 || reserved.get(&n).is_none_or(|owner| owner != name)
            }))
}

/// Who gets each number that is asked for by `ofport_request`: the first by name.
fn reserved(wanted: &Bridge) -> BTreeMap<u32, String> {
    let mut reserved = BTreeMap::new();
    let interfaces = wanted.ports.values().flat_map(|port| &port.interfaces);
    for interface in interfaces {
        if let Some(number) = interface.ofport_request
            && interface.problem.is_none()
            && interface.kind != Kind::Local
        {
            reserved
                .entry(number)
                .or_insert_with(|| interface.name.clone());
        }
    }
    reserved
}

/// Devices that ports want, and whether the datapath makes them.
fn wanted_devices(desired: &Desired) -> BTreeMap<&str, PortKind> {
    desired
        .bridges
        .values()
        .flat_map(|bridge| bridge.ports.values())
        .flat_map(|port| &port.interfaces)
        .filter(|interface| interface.problem.is_none())
        .filter_map(|interface| Some((interface.name.as_str(), interface.kind.device()?)))
        .collect()
}

impl Kind {
    /// The datapath's kind of port; `None` for patch ports, which it does not know.
    pub fn device(&self) -> Option<PortKind> {
        match self {
            Kind::System => Some(PortKind::System),
            Kind::Internal | Kind::Local => Some(PortKind::Internal),
            Kind::Patch { .. } => None,
        }
    }
}

/// A bridge without what is planned for on its own.
pub fn settings(bridge: &Bridge) -> Bridge {
    Bridge {
        ports: BTreeMap::new(),
        controllers: BTreeMap::new(),
        unsupported: Vec::new(),
        ..bridge.clone()
    }
}

/// A port without what is planned for on its own.
pub fn port_settings(port: &Port) -> Port {
    Port {
        interfaces: Vec::new(),
        unsupported: Vec::new(),
        ..port.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::VlanMode;
    use super::*;
    use packet::{DpPort, IfIndex};
    use std::time::Duration;
    use uuid::Uuid;

    fn interface(name: &str, kind: Kind) -> Interface {
        Interface {
            uuid: Uuid::nil(),
            name: name.to_owned(),
            kind,
            ofport_request: None,
            ofport_before: None,
            mtu_request: None,
            mac: None,
            problem: None,
            unsupported: Vec::new(),
        }
    }

    fn port(interface: Interface) -> Port {
        Port {
            uuid: Uuid::nil(),
            name: interface.name.clone(),
            vlan: VlanMode::Trunk,
            trunks: None,
            protected: false,
            priority_tags: ofproto::port::PriorityTags::Never,
            interfaces: vec![interface],
            unsupported: Vec::new(),
        }
    }

    fn wanted(name: &str, interfaces: Vec<Interface>) -> Desired {
        let mut ports: BTreeMap<String, Port> = interfaces
            .into_iter()
            .map(|interface| (interface.name.clone(), port(interface)))
            .collect();
        ports.insert(name.to_owned(), port(interface(name, Kind::Local)));
        let bridge = Bridge {
            uuid: Uuid::nil(),
            name: name.to_owned(),
            datapath_id: None,
            hwaddr: None,
            dp_desc: None,
            dp_sn: None,
            forward_bpdu: false,
            secure: false,
            protocols: BTreeSet::new(),
            mac_aging_time: Duration::from_secs(300),
            mac_table_size: 8192,
            flow_tables: BTreeMap::new(),
            controllers: BTreeMap::new(),
            ports,
            unsupported: Vec::new(),
        };
        Desired {
            bridges: BTreeMap::from([(name.to_owned(), bridge)]),
            ..Desired::default()
        }
    }

    /// Carries changes out on paper; devices always come up.
    fn apply(desired: &Desired, actual: &mut Actual, changes: &[Change]) {
        for change in changes {
            match change {
                Change::DelPort { bridge, port } => {
                    actual
                        .bridges
                        .get_mut(bridge)
                        .unwrap()
                        .ports
                        .remove(port)
                        .unwrap();
                }
                Change::DelBridge { bridge } => {
                    let bridge = actual.bridges.remove(bridge).unwrap();
                    assert!(bridge.ports.is_empty());
                }
                Change::Detach { device } => {
                    actual.datapath.remove(device).unwrap();
                }
                Change::AddBridge { .. } => {}
                Change::SetBridge { bridge } => {
                    actual.bridges.get_mut(bridge).unwrap().settings =
                        Some(settings(&desired.bridges[bridge]));
                }
                Change::AddPort {
                    bridge,
                    port,
                    ofport,
                } => {
                    let wanted = desired.bridges[bridge]
                        .ports
                        .values()
                        .find(|p| p.interfaces[0].name == *port)
                        .unwrap();
                    let kind = wanted.interfaces[0].kind.clone();
                    let device = kind.device().map(|kind| PortInfo {
                        port: DpPort(1),
                        name: port.clone(),
                        kind,
                        ifindex: IfIndex(1),
                    });
                    if let Some(device) = &device {
                        actual.datapath.insert(port.clone(), device.clone());
                    }
                    let bridge = actual.bridges.get_mut(bridge).unwrap();
                    assert!(bridge.ports.values().all(|p| p.ofport != *ofport));
                    let old = bridge.ports.insert(
                        port.clone(),
                        ActualPort {
                            ofport: *ofport,
                            kind,
                            device,
                            vanished: false,
                            settings: port_settings(wanted),
                            row: RowId(0),
                        },
                    );
                    assert!(old.is_none());
                }
                Change::SetPort { bridge, port } => {
                    let wanted = &desired.bridges[bridge].ports[port];
                    actual
                        .bridges
                        .get_mut(bridge)
                        .unwrap()
                        .ports
                        .get_mut(port)
                        .unwrap()
                        .settings = port_settings(wanted);
                }
            }
        }
    }

    fn run(desired: &Desired, actual: &mut Actual) -> Vec<Change> {
        let changes = plan(desired, actual);
        apply(desired, actual, &changes);
        assert_eq!(plan(desired, actual), [], "a second plan has nothing to do");
        changes
    }

    fn number(actual: &Actual, name: &str) -> u32 {
        actual.bridges["br0"].ports[name].ofport.0
    }

    #[test]
    fn numbers_are_asked_for_kept_and_not_reused() {
        let mut actual = Actual::default();
        let mut p2 = interface("p2", Kind::System);
        p2.ofport_request = Some(1);
        let desired = wanted("br0", vec![interface("p1", Kind::System), p2.clone()]);
        run(&desired, &mut actual);
        assert_eq!(number(&actual, "br0"), OfPort::LOCAL.0);
        assert_eq!(number(&actual, "p2"), 1);
        assert_eq!(number(&actual, "p1"), 2);
        // Another port asks for a number that is in use: its holder moves.
        let mut p3 = interface("p3", Kind::System);
        p3.ofport_request = Some(2);
        let desired = wanted("br0", vec![interface("p1", Kind::System), p2, p3]);
        run(&desired, &mut actual);
        assert_eq!(number(&actual, "p3"), 2);
        assert_eq!(number(&actual, "p1"), 3);
        // A number that was in use is not given out while there are others.
        run(&wanted("br0", vec![]), &mut actual);
        run(
            &wanted("br0", vec![interface("q", Kind::System)]),
            &mut actual,
        );
        assert_eq!(number(&actual, "q"), 4);
    }

    #[test]
    fn two_ports_ask_for_one_number() {
        let mut actual = Actual::default();
        let mut a = interface("a", Kind::System);
        a.ofport_request = Some(7);
        let mut b = interface("b", Kind::System);
        b.ofport_request = Some(7);
        run(&wanted("br0", vec![a, b]), &mut actual);
        assert_eq!(number(&actual, "a"), 7);
        assert_eq!(number(&actual, "b"), 1);
    }

    #[test]
    fn deletions_come_first_and_bridges_leave_with_their_ports() {
        let mut actual = Actual::default();
        run(
            &wanted("br0", vec![interface("p1", Kind::System)]),
            &mut actual,
        );
        let changes = run(
            &wanted("br1", vec![interface("p1", Kind::System)]),
            &mut actual,
        );
        let first_addition = changes
            .iter()
            .position(|c| matches!(c, Change::AddBridge { .. } | Change::AddPort { .. }))
            .unwrap();
        let last_deletion = changes
            .iter()
            .rposition(|c| {
                matches!(
                    c,
                    Change::DelPort { .. } | Change::DelBridge { .. } | Change::Detach { .. }
                )
            })
            .unwrap();
        assert!(last_deletion < first_addition, "{changes:?}");
        // The port moves with its device attached; only the old LOCAL goes.
        let detached: Vec<_> = changes
            .iter()
            .filter(|c| matches!(c, Change::Detach { .. }))
            .collect();
        assert_eq!(
            detached,
            [&Change::Detach {
                device: "br0".into()
            }]
        );
    }

    #[test]
    fn devices_left_by_an_earlier_daemon() {
        let mut actual = Actual::default();
        for (name, kind) in [
            ("p1", PortKind::System),
            ("old", PortKind::System),
            ("p2", PortKind::Internal),
        ] {
            actual.datapath.insert(
                name.to_owned(),
                PortInfo {
                    port: DpPort(3),
                    name: name.to_owned(),
                    kind,
                    ifindex: IfIndex(9),
                },
            );
        }
        let mut p1 = interface("p1", Kind::System);
        p1.ofport_before = Some(5);
        let changes = run(
            &wanted("br0", vec![p1, interface("p2", Kind::System)]),
            &mut actual,
        );
        let detached: Vec<_> = changes
            .iter()
            .filter_map(|c| match c {
                Change::Detach { device } => Some(device.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(detached, ["old", "p2"], "p2 was internal and is system now");
        assert_eq!(number(&actual, "p1"), 5);
    }

    #[test]
    fn a_device_vanishes_and_returns() {
        let mut actual = Actual::default();
        let desired = wanted(
            "br0",
            vec![interface("p1", Kind::System), interface("p2", Kind::System)],
        );
        run(&desired, &mut actual);
        let before = number(&actual, "p1");
        actual
            .bridges
            .get_mut("br0")
            .unwrap()
            .ports
            .get_mut("p1")
            .unwrap()
            .vanished = true;
        let changes = run(&desired, &mut actual);
        assert_eq!(changes.len(), 3, "{changes:?}");
        assert_eq!(number(&actual, "p1"), before);
    }

    #[test]
    fn settings_change_in_place() {
        let mut actual = Actual::default();
        let mut desired = wanted("br0", vec![interface("p1", Kind::System)]);
        run(&desired, &mut actual);
        let bridge = desired.bridges.get_mut("br0").unwrap();
        bridge.ports.get_mut("p1").unwrap().vlan = VlanMode::Access(5);
        bridge.secure = true;
        let changes = run(&desired, &mut actual);
        assert_eq!(
            changes,
            [
                Change::SetBridge {
                    bridge: "br0".into()
                },
                Change::SetPort {
                    bridge: "br0".into(),
                    port: "p1".into()
                }
            ]
        );
    }
}
