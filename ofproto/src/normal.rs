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

use crate::port::{PortRow, PriorityTags, RowId, VlanConf, VlanMode};
use crate::xlate::{Credit, Ctx, Effect, Station};

const VID: u16 = 0x0fff;
const PCP: u16 = 0xe000;

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
        let vlan = match input.map_or(Ok(vid), |(_, row)| vlan_of(&row.vlan, vid)) {
            Ok(vlan) => vlan,
            Err(text) => {
                self.detail(text);
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
                vlan,
                mac: src,
            };
            self.effect(Effect::Learn(station));
            self.credit(Credit::Station(station));
        }

        let learned = match dst.is_multicast() {
            true => None,
            false => self.bridge.macs.lookup(vlan, dst),
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

    fn normal_flood(&mut self, in_port: OfPort, input: Option<RowId>, vlan: u16) {
        let bridge = self.bridge;
        let protected = input
            .and_then(|id| bridge.ports.rows.get(&id))
            .is_some_and(|row| row.protected);
        self.not_sent(DropReason::InPort);
        for (id, row) in &bridge.ports.rows {
            if Some(*id) == input || !row.vlan.carries(vlan) || protected && row.protected {
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
    fn normal_output(&mut self, row: &PortRow, port: OfPort, vlan: u16) {
        let before = self.w.view.clone();
        let tagged = match row.vlan.mode {
            VlanMode::Access => false,
            VlanMode::NativeUntagged => vlan != row.vlan.tag,
            VlanMode::Trunk | VlanMode::NativeTagged => true,
        };
        let vid = if tagged { vlan } else { 0 };
        self.tag_for_output(vid, row.vlan.priority_tags);
        self.output_port(port);
        self.w.view = before;
    }

    /// Leaves one tag, or none, as the outermost tag that this switch deals with.
    fn tag_for_output(&mut self, vid: u16, priority_tags: PriorityTags) {
        let has_tag = self.w.has_tag();
        if vid != 0 {
            // The priority stays; that the tag is right already costs no look at it.
            if !has_tag || self.w.tci(VID) != vid {
                self.w.set_in_tag(vid, VID);
            }
            return;
        }
        let keep = match priority_tags {
            PriorityTags::Never => false,
            PriorityTags::IfNonzero => has_tag && self.w.tci(PCP) != 0,
            PriorityTags::Always => true,
        };
        match (keep, has_tag) {
            (false, true) => self.w.pop_tag(),
            (true, true) => self.w.set_in_tag(0, VID),
            (true, false) => self.w.push_tag(ETH_TYPE_VLAN, 0),
            (false, false) => {}
        }
    }
}

/// The VLAN that a packet tagged `vid` (0 for no tag or a priority tag) belongs to when it comes
/// in on a port with these settings; or why the port does not take it.
fn vlan_of(conf: &VlanConf, vid: u16) -> Result<u16, &'static str> {
    match conf.mode {
        VlanMode::Access if vid == 0 => Ok(conf.tag),
        VlanMode::Access => {
            Err("dropping VLAN tagged packet received on port configured as VLAN access port")
        }
        VlanMode::NativeTagged | VlanMode::NativeUntagged if vid == 0 => Ok(conf.tag),
        _ if conf.carries(vid) => Ok(vid),
        _ => Err("dropping packet of a VLAN that the port does not trunk"),
    }
}
