//! A small switch for the tests of this crate: bridges, ports and flows from text.

use std::sync::Arc;
use std::time::Instant;

use openflow::Version;
use openflow::message::MeterCommand;
use openflow::text::dp::{self, NoNames};
use openflow::text::{Names, flow, group, meter};
use packet::{Action, DpPort, EthAddr, FlowKey, FlowMask, OfPort};

use crate::ofproto::Ofproto;
use crate::port::{PatchPeer, PortConf, PortLink, PortRow, RowId, VlanConf};
use crate::snapshot::{BridgeId, FailMode, Snapshot};
use crate::xlate::{XlateIn, Xlated, xlate};

/// Longest action list of the datapath that the tests suppose.
pub const MAX_ACTIONS: usize = 1000;

pub struct Switch {
    pub ofproto: Ofproto,
    pub now: Instant,
}

impl Switch {
    pub fn new() -> Switch {
        Switch {
            ofproto: Ofproto::new(7),
            now: Instant::now(),
        }
    }

    /// A bridge without rules.
    pub fn bridge(&mut self, name: &str) -> BridgeId {
        self.ofproto
            .bridge_add(name, 1, EthAddr::ZERO, FailMode::Secure, self.now)
            .unwrap()
    }

    /// A port with the same OpenFlow and datapath number.
    pub fn port(&mut self, bridge: BridgeId, number: u32, vlan: VlanConf) {
        let link = PortLink::Datapath(DpPort(number));
        let conf = PortConf::new(OfPort(number), &format!("p{number}"), link);
        self.ofproto.port_add(bridge, conf, self.now).unwrap();
        self.row(bridge, number, vlan);
    }

    /// The LOCAL port.
    pub fn local(&mut self, bridge: BridgeId, dp_port: u32) {
        let link = PortLink::Datapath(DpPort(dp_port));
        let conf = PortConf::new(OfPort::LOCAL, &format!("local{dp_port}"), link);
        self.ofproto.port_add(bridge, conf, self.now).unwrap();
        let row = PortRow {
            name: format!("local{dp_port}").into(),
            ports: vec![OfPort::LOCAL],
            vlan: VlanConf::trunk_all(),
            protected: false,
        };
        self.ofproto.row_set(bridge, RowId(dp_port), row).unwrap();
    }

    /// Ports 1 to `n` that carry every VLAN.
    pub fn trunks(&mut self, bridge: BridgeId, n: u32) {
        for number in 1..=n {
            self.port(bridge, number, VlanConf::trunk_all());
        }
    }

    pub fn row(&mut self, bridge: BridgeId, number: u32, vlan: VlanConf) {
        let row = PortRow {
            name: format!("p{number}").into(),
            ports: vec![OfPort(number)],
            vlan,
            protected: false,
        };
        self.ofproto.row_set(bridge, RowId(number), row).unwrap();
    }

    /// Joins two bridges; both ends are trunks.
    pub fn patch(&mut self, a: (BridgeId, u32), b: (BridgeId, u32)) {
        for ((bridge, number), (peer, peer_number)) in [(a, b), (b, a)] {
            let link = PortLink::Patch(Some(PatchPeer {
                bridge: peer,
                port: OfPort(peer_number),
            }));
            let conf = PortConf::new(OfPort(number), &format!("patch{number}"), link);
            self.ofproto.port_add(bridge, conf, self.now).unwrap();
            self.row(bridge, number, VlanConf::trunk_all());
        }
    }

    /// Adds the flows in `text`, one to a line.
    pub fn flows(&mut self, bridge: BridgeId, text: &str) {
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let fm = flow::parse_flow_mod_line(line, &Names::none())
                .unwrap_or_else(|e| panic!("{line}: {e}"))
                .value;
            let state = self.ofproto.bridges.get_mut(&bridge).unwrap();
            state
                .tables
                .flow_mod(&fm, Version::Of13, self.now)
                .unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    /// Adds, changes or deletes a group.
    pub fn group(&mut self, bridge: BridgeId, text: &str) {
        let parsed = group::parse_line(text, &Names::none());
        let group_mod = parsed.unwrap_or_else(|e| panic!("{text}: {e}"));
        self.ofproto
            .group_mod(bridge, &group_mod, Version::Of15, self.now)
            .unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    /// Adds a meter.
    pub fn meter(&mut self, bridge: BridgeId, text: &str) {
        let parsed = meter::parse(text, MeterCommand::Add);
        let meter_mod = parsed.unwrap_or_else(|e| panic!("{text}: {e}"));
        self.ofproto
            .meter_mod(bridge, &meter_mod, self.now)
            .unwrap_or_else(|e| panic!("{text}: {e}"));
    }

    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        self.ofproto.publish()
    }

    pub fn xlate(&mut self, key: &FlowKey) -> Xlated {
        let snapshot = self.snapshot();
        match XlateIn::received(&snapshot, key, MAX_ACTIONS) {
            Some(input) => xlate(&snapshot, &input),
            None => Xlated::unknown_port(key),
        }
    }

    /// Translates the packet that `packet` describes, in the syntax of datapath flows.
    pub fn send(&mut self, packet: &str) -> Xlated {
        let key = key(packet);
        let xlated = self.xlate(&key);
        assert!(
            key.masked(&xlated.mask).matches(&key, &xlated.mask),
            "the megaflow has its own packet"
        );
        xlated
    }

    /// Checks the megaflow and the actions for a packet, all in text.
    #[track_caller]
    pub fn check(&mut self, packet: &str, megaflow: &str, actions: &str) {
        let xlated = self.send(packet);
        let key = key(packet);
        assert_eq!(
            (
                megaflow_text(&key, &xlated.mask),
                actions_text(&xlated, &key)
            ),
            (megaflow.to_owned(), actions.to_owned()),
            "packet {packet}"
        );
    }
}

/// The key of a packet in the syntax of datapath flows; absent fields are zero.
pub fn key(text: &str) -> FlowKey {
    dp::parse_key(text, &NoNames)
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .0
}

pub fn megaflow_text(key: &FlowKey, mask: &FlowMask) -> String {
    let mut s = String::new();
    dp::format_key(&mut s, key, mask, &NoNames, false);
    s
}

pub fn actions_text(xlated: &Xlated, key: &FlowKey) -> String {
    let mut s = String::new();
    if let [Action::Drop(reason)] = xlated.actions.as_slice() {
        return format!("drop({})", reason.name());
    }
    dp::format_actions(&mut s, &xlated.actions, key, &NoNames);
    s
}
