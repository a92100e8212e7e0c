//! Output: to ports by number, to the reserved ports, through patch ports, to controllers.

use bytes::Bytes;
use openflow::message::{PacketInReason, PortConfig};
use packet::action::SlowReason;
use packet::{Action, DropReason, OfPort};

use super::pipeline::OnMiss;
use super::{Credit, Ctx, Effect, PacketIn};
use crate::port::{PatchPeer, PortLink};
use crate::trace::Node;

impl Ctx<'_> {
    /// `OFPAT_OUTPUT`, in all its meanings.
    pub(crate) fn output(&mut self, port: OfPort, max_len: u16) {
        let in_port = self.w.view.flow.in_port();
        match port {
            OfPort::IN_PORT => self.output_port(in_port),
            OfPort::TABLE => self.table(in_port, 0, OnMiss::Table),
            OfPort::NORMAL => self.normal(),
            OfPort::FLOOD => self.output_all(true),
            OfPort::ALL => self.output_all(false),
            OfPort::CONTROLLER => self.packet_in(PacketInReason::Action, 0, max_len),
            OfPort::ANY => {}
            _ if port == in_port => {
                self.warn("skipping output to input port");
                self.not_sent(DropReason::InPort);
            }
            _ => self.output_port(port),
        }
    }

    /// To every port but the one that the packet came from.
    fn output_all(&mut self, flood: bool) {
        let in_port = self.w.view.flow.in_port();
        let ports = self.bridge.ports.clone();
        self.not_sent(DropReason::InPort);
        for (number, port) in &ports.by_number {
            if *number != in_port && !(flood && port.has(PortConfig::NO_FLOOD)) && self.may_go_on()
            {
                self.output_port(*number);
            }
        }
    }

    /// Sends the packet, as the tables see it, to a port of the bridge.
    pub(crate) fn output_port(&mut self, number: OfPort) {
        let Some(port) = self.bridge.port(number) else {
            self.warn("Nonexistent output port");
            return self.not_sent(DropReason::NoSuchOutput);
        };
        if !port.may_send() {
            self.detail(match port.has(PortConfig::NO_FWD) {
                true => "OFPPC_NO_FWD set, skipping output",
                false => "OFPPC_PORT_DOWN set, skipping output",
            });
            return self.not_sent(DropReason::PortDown);
        }
        match port.link {
            PortLink::Datapath(dp_port) => {
                self.w.commit();
                self.w.actions.push(Action::Output(dp_port));
                self.sent = true;
            }
            PortLink::Patch(Some(peer)) => self.cross_patch(number, peer),
            PortLink::Patch(None) => {
                self.detail("the patch port has no peer, dropping");
                self.not_sent(DropReason::NoSuchOutput);
            }
        }
    }

    fn cross_patch(&mut self, number: OfPort, peer: PatchPeer) {
        let here = self.bridge.id;
        self.credit(Credit::PatchSent(here, number));
        self.in_bridge(peer.bridge, peer.port, |ctx| {
            let (bridge, name) = (ctx.bridge.id, ctx.bridge.name.clone());
            if ctx.bridge.port(peer.port).is_none() {
                return ctx.not_sent(DropReason::NoSuchOutput);
            }
            ctx.credit(Credit::PatchReceived(bridge, peer.port));
            ctx.within(|| Node::Bridge(name), |ctx| ctx.enter_pipeline());
        });
    }

    /// Sends the packet, as the tables see it, to controllers.
    pub(crate) fn packet_in(&mut self, reason: PacketInReason, controller_id: u16, max_len: u16) {
        let packet_in = self.new_packet_in(reason, controller_id, max_len);
        self.effect(Effect::PacketIn(Box::new(packet_in)));
    }

    /// The packet as it is now, for controllers.
    pub(super) fn new_packet_in(
        &mut self,
        reason: PacketInReason,
        controller_id: u16,
        max_len: u16,
    ) -> PacketIn {
        self.w.commit();
        self.slow = Some(SlowReason::Controller);
        self.sent = true;
        PacketIn {
            bridge: self.bridge.id,
            controller_id,
            reason,
            miss: self.miss,
            max_len,
            cookie: self.cookie,
            table_id: self.table_id,
            flow: self.w.view.flow,
            after: self.w.actions.len(),
            userdata: Bytes::new(),
            meter_id: None,
            continuation: None,
        }
    }

    /// False once translation was given up or has grown too large.
    pub(crate) fn may_go_on(&mut self) -> bool {
        if self.w.actions.len() > super::MAX_ACTIONS {
            self.fail(super::Error::TooManyActions);
        }
        self.error.is_none()
    }
}
