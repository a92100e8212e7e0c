//! The NORMAL action: forwarding as an Ethernet switch does, by VLAN and learned addresses.
//!
//! The VLAN settings of a `Port` row decide twice: which packets it takes and to which VLAN they
//! belong, and how packets of a VLAN leave. In between the packet belongs to exactly one VLAN
//! (0 for packets without a tag on a port that takes them so).
//!
//! Source: ovs-vswitchd.conf.db(5), table Port, "VLAN Configuration"; OVS
//! `ofproto/ofproto-dpif-xlate.c`, `xlate_normal`. Left out: bonds, multicast snooping,
//! spanning trees, mirrors, QinQ tunnel ports.

use openflow::Field;
use openflow::message::PortConfig;
use packet::key::ETH_TYPE_VLAN;
use packet::{DropReason, EthAddr, OfPort};

use crate::port::{PortRow, PriorityTags, RowId, VlanMode};
use crate::trace::Node;
use crate::xlate::{Credit, Ctx, Effect, Station};

const VID: u16 = 0x0fff;
const PCP: u16 = 0xe000;

/// The VLAN that a packet belongs to.
#[derive(Clone, Copy)]
struct Vlan {
    /// 0 for none.
    vid: u16,
    /// The ingress port put the packet there, not its tag.
    placed: bool,
}

impl<'a> Ctx<'a> {
    pub(crate) fn normal(&mut self) {
        let in_port = self.w.view.flow.in_port();
        // Which entry is learned and which is looked up: every bit of both addresses.
        let src = EthAddr::from_u64(self.w.get(Field::EthSrc, u128::MAX) as u64);
        let dst = EthAddr::from_u64(self.w.get(Field::EthDst, u128::MAX) as u64);
        let vid = self.w.tci(VID);

        let input = match self.input_row(in_port) {
            Ok(input) => input,
            Err(()) => {
                self.detail("no input bundle, dropping");
                return self.not_sent(DropReason::VlanIngress);
            }
        };
        let vlan = match input.map_or(Ok(Vlan { vid, placed: false }), |(_, row)| {
            vlan_of(row, vid)
        }) {
            Ok(vlan) => vlan,
            Err(text) => {
                self.note(|| Node::Error(text));
                self.warn("disallowed VLAN VID for this input port, dropping");
                return self.not_sent(DropReason::VlanIngress);
            }
        };
        if !self.bridge.forward_bpdu && dst.is_reserved() {
            self.detail("packet has reserved destination MAC, dropping");
            return self.not_sent(DropReason::ReservedAddress);
        }
        if input.is_some() && !src.is_multicast() {
            let station = Station {
                bridge: self.bridge.id,
                port: in_port,
                vlan: vlan.vid,
                mac: src,
            };
            self.effect(Effect::Learn(station));
            self.credit(Credit::Station(station));
        }

        let learned = match dst.is_multicast() {
            true => None,
            false => self.lookup_mac(vlan.vid, dst),
        };
        let Some(port) = learned else {
            self.detail("no learned MAC for destination, flooding");
            return self.normal_flood(in_port, input.map(|(id, _)| id), vlan);
        };
        let bridge = self.bridge;
        let Some((id, row)) = bridge.row_of(port) else {
            self.detail("learned port is unknown, dropping");
            return self.not_sent(DropReason::NoSuchOutput);
        };
        if input.is_some_and(|(input, _)| input == id) {
            self.detail("learned port is input port, dropping");
            return self.not_sent(DropReason::InPort);
        }
        if input.is_some_and(|(_, input)| input.protected && row.protected) {
            self.detail("learned port is protected, dropping");
            return self.not_sent(DropReason::Policy);
        }
        self.detail("forwarding to learned port");
        self.normal_output(row, port, vlan);
    }

    /// The row that packets from `in_port` belong to; `None` for those from a controller, which
    /// belong to no port. An error for a port that takes no part in NORMAL forwarding.
    fn input_row(&self, in_port: OfPort) -> Result<Option<(RowId, &'a PortRow)>, ()> {
        let bridge = self.bridge;
        match in_port {
            OfPort::CONTROLLER | OfPort::ANY | OfPort::UNSET => Ok(None),
            _ => bridge.row_of(in_port).map(Some).ok_or(()),
        }
    }

    fn normal_flood(&mut self, in_port: OfPort, input: Option<RowId>, vlan: Vlan) {
        let bridge = self.bridge;
        let protected = input
            .and_then(|id| bridge.ports.rows.get(&id))
            .is_some_and(|row| row.protected);
        self.not_sent(DropReason::InPort);
        for (id, row) in &bridge.ports.rows {
            if Some(*id) == input || !row.vlan.carries(vlan.vid) || protected && row.protected {
                continue;
            }
            let Some(port) = row.ports.first().copied() else {
                continue;
            };
            let flooded = bridge
                .port(port)
                .is_some_and(|p| !p.has(PortConfig::NO_FLOOD));
            if flooded && port != in_port && self.may_go_on() {
                self.normal_output(row, port, vlan);
            }
        }
    }

    /// Sends the packet, which belongs to `vlan`, to a port of `row`, tagged as the row wants it.
    fn normal_output(&mut self, row: &PortRow, port: OfPort, vlan: Vlan) {
        let Vlan { vid: vlan, placed } = vlan;
        let before = self.w.view.clone();
        let conf = &row.vlan;
        let untagged = match conf.mode {
            VlanMode::Access => true,
            VlanMode::NativeUntagged => vlan == conf.tag,
            VlanMode::Trunk | VlanMode::NativeTagged => false,
        };
        match untagged {
            true => self.tag_for_untagged(conf.priority_tags),
            false => self.tag_for_trunk(vlan, placed, conf.priority_tags),
        }
        self.output_port(port);
        self.w.view = before;
    }

    /// Leaves no tag of this switch's, or a priority tag.
    fn tag_for_untagged(&mut self, priority_tags: PriorityTags) {
        if !self.w.has_tag() {
            return;
        }
        let pcp = match priority_tags {
            PriorityTags::Never => 0,
            PriorityTags::IfNonzero | PriorityTags::Always => self.w.tci(PCP),
        };
        self.w.pop_tag();
        if pcp != 0 {
            self.w.push_tag(ETH_TYPE_VLAN, pcp);
        }
    }

    /// Leaves a tag for `vlan`, with the priority that the packet has. A tag that says neither VLAN
    /// nor priority is left out, unless the port wants it: then packets have it that had a tag or
    /// were put into their VLAN by the port that they came from.
    fn tag_for_trunk(&mut self, vlan: u16, placed: bool, priority_tags: PriorityTags) {
        let has_tag = self.w.has_tag();
        if vlan != 0 {
            // That the tag is right already costs no look at its other bits.
            if !has_tag || self.w.tci(VID) != vlan {
                self.w.set_in_tag(vlan, VID);
            }
        } else if has_tag {
            match priority_tags == PriorityTags::Always || self.w.tci(PCP) != 0 {
                true if self.w.tci(VID) == 0 => {}
                true => self.w.set_in_tag(0, VID),
                false => self.w.pop_tag(),
            }
        } else if placed && priority_tags == PriorityTags::Always {
            self.w.push_tag(ETH_TYPE_VLAN, 0);
        }
    }
}

/// The VLAN that a packet tagged `vid` (0 for no tag or a priority tag) belongs to when it comes
/// in on a port with these settings; or why the port does not take it.
fn vlan_of(row: &PortRow, vid: u16) -> Result<Vlan, String> {
    let conf = &row.vlan;
    let placed = |vid| Vlan { vid, placed: true };
    match conf.mode {
        VlanMode::Access if vid == 0 => Ok(placed(conf.tag)),
        VlanMode::Access => Err(format!(
            "dropping VLAN {vid} tagged packet received on port {} configured as VLAN {} access \
             port",
            row.name, conf.tag
        )),
        VlanMode::NativeTagged | VlanMode::NativeUntagged if vid == 0 => Ok(placed(conf.tag)),
        _ if conf.carries(vid) => Ok(Vlan { vid, placed: false }),
        _ => Err(format!(
            "dropping VLAN {vid} packet received on port {} not configured for trunking VLAN {vid}",
            row.name
        )),
    }
}
