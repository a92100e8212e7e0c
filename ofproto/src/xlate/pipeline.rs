//! Tables, actions and instructions.

use std::ops::ControlFlow;
use std::sync::Arc;

use openflow::field::{Prereq, low_bits};
use openflow::message::{PacketInReason, PortConfig};
use openflow::text::{Names, action_print, fields, subfield, value};
use openflow::{Action, Field, Subfield, Version};
use packet::key::FRAG_ANY;
use packet::{DropReason, OfPort};

use super::working::View;
use super::{
    Credit, Ctx, Error, MAX_ACTIONS, MAX_DEPTH, MAX_NESTING, MAX_RESUBMITS, MAX_STACK, MAX_TAGS,
    Miss, action_set,
};
use crate::flow::Mask;
use crate::trace::Node;

/// What becomes of a packet that no rule of a table matches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnMiss {
    /// Nothing: a resubmit goes on behind itself.
    GoOn,
    /// To the controllers that want it, or nowhere.
    Table,
}

/// On to a table.
#[derive(Clone, Copy)]
struct Jump {
    in_port: OfPort,
    table_id: u8,
    miss: OnMiss,
}

/// `Break` ends the list of actions that is being done.
type Flow = ControlFlow<()>;
const NEXT: Flow = ControlFlow::Continue(());
const END: Flow = ControlFlow::Break(());

impl Ctx<'_> {
    /// A packet that came in on a port.
    pub(super) fn receive(&mut self) {
        let name = self.bridge.name.clone();
        self.within(
            || Node::Bridge(name),
            |ctx| {
                ctx.enter_pipeline();
            },
        );
    }

    /// What `receive` and patch ports share: the port's settings, the tables, the action set.
    pub(crate) fn enter_pipeline(&mut self) {
        let in_port = self.w.view.flow.in_port();
        if let Some(port) = self.bridge.port(in_port)
            && !port.may_receive()
        {
            self.detail("receiving is disabled on the input port, dropping");
            return self.not_sent(DropReason::PortDown);
        }
        let outer = self.trace_parent();
        self.table(in_port, 0, OnMiss::Table);
        // The text has the action set at the end of the first rule.
        let first = self.trace.as_ref().and_then(|t| t.last_child(outer));
        self.leave(first.or(outer));
        self.do_action_set();
        self.finish_paused_pipeline();
        self.leave(outer);
    }

    /// A packet-out.
    pub(super) fn packet_out(&mut self, actions: &[Action]) {
        let name = self.bridge.name.clone();
        self.within(
            || Node::Bridge(name),
            |ctx| {
                ctx.actions(actions);
                ctx.do_action_set();
                ctx.finish_paused_pipeline();
            },
        );
    }

    /// Looks the packet up in a table, as if it came from `in_port`, and does what the rule says.
    ///
    /// Where a rule's last action leads to another table this goes on there without nesting, so
    /// that a pipeline of any length needs no more stack than a short one.
    pub(crate) fn table(&mut self, in_port: OfPort, table_id: u8, miss: OnMiss) {
        if self.nesting >= MAX_NESTING {
            return self.fail(Error::TooDeep);
        }
        self.nesting += 1;
        let saved = (self.table_id, self.cookie, self.miss, self.depth);
        let outer = self.trace_parent();
        let mut next = Some(Jump {
            in_port,
            table_id,
            miss,
        });
        while let Some(jump) = next.take() {
            next = self.one_table(jump);
        }
        self.leave(outer);
        (self.table_id, self.cookie, self.miss, self.depth) = saved;
        self.nesting -= 1;
    }

    fn one_table(&mut self, jump: Jump) -> Option<Jump> {
        // Only what leads back counts as deeper: a pipeline has an end.
        self.depth += u32::from(jump.table_id <= self.table_id);
        let limit = match () {
            _ if self.depth > MAX_DEPTH => Some(Error::TooDeep),
            _ if self.resubmits >= MAX_RESUBMITS => Some(Error::TooManyResubmits),
            _ if self.w.actions.len() > MAX_ACTIONS => Some(Error::TooManyActions),
            _ => None,
        };
        if let Some(error) = limit {
            self.fail(error);
            return None;
        }
        self.resubmits += 1;

        let Jump {
            in_port,
            table_id,
            miss,
        } = jump;
        let rule = self.lookup(in_port, table_id);
        let bridge = self.bridge.id;
        self.credit(Credit::Table(bridge, table_id, rule.is_some()));
        let Some(rule) = rule else {
            self.missed(table_id, miss);
            return None;
        };
        self.credit(Credit::Rule(bridge, Arc::clone(&rule)));
        self.table_id = table_id;
        self.cookie = rule.cookie;
        self.miss = match rule.priority == 0 && rule.pattern.mask().is_empty() {
            true => Miss::Explicit,
            false => Miss::No,
        };
        self.enter(|| Node::Rule(Arc::clone(&rule)));
        self.actions_or_jump(&rule.actions)
    }

    fn lookup(&mut self, in_port: OfPort, table_id: u8) -> Option<Arc<crate::rule::Rule>> {
        let mut flow = self.w.view.flow;
        flow.pipeline.in_port = in_port.0;
        // The ports of a fragment match as zero, so that all fragments of a packet get the same
        // (`fragments normal`). Whether it is one is in the mask.
        let is_fragment = flow.key.ip_frag & FRAG_ANY != 0;
        if is_fragment {
            (flow.key.tp_src, flow.key.tp_dst) = ([0; 2], [0; 2]);
        }
        let mut mask = Mask::empty();
        let rule = self.bridge.tables.lookup(table_id, &flow, &mut mask);
        if is_fragment {
            (mask.0.key.tp_src, mask.0.key.tp_dst) = ([0; 2], [0; 2]);
        }
        let rule = rule.map(Arc::clone);
        self.w.looked_up(&mask);
        if let Some(rule) = &rule {
            // Whatever else the lookup looked at, a match needs these.
            let mut needed = *rule.pattern.mask();
            if is_fragment {
                (needed.0.key.tp_src, needed.0.key.tp_dst) = ([0; 2], [0; 2]);
            }
            self.w.read(&needed);
        }
        rule
    }

    fn missed(&mut self, table_id: u8, miss: OnMiss) {
        if miss == OnMiss::GoOn {
            return self.within(|| Node::Miss(table_id), |ctx| ctx.note(|| Node::Drop));
        }
        let in_port = self.w.view.flow.in_port();
        let silent = self
            .bridge
            .port(in_port)
            .is_some_and(|p| p.has(PortConfig::NO_PACKET_IN));
        let to_controller = self.bridge.packet_in_on_miss && !silent;
        let saved = (self.table_id, self.cookie, self.miss);
        (self.table_id, self.cookie, self.miss) = (table_id, u64::MAX, Miss::Implicit);
        self.within(
            || Node::Miss(table_id),
            |ctx| {
                if to_controller {
                    ctx.packet_in(PacketInReason::NoMatch, 0, u16::MAX);
                } else {
                    ctx.note(|| Node::Drop);
                    ctx.not_sent(DropReason::TableMiss);
                }
            },
        );
        (self.table_id, self.cookie, self.miss) = saved;
    }

    pub(crate) fn do_action_set(&mut self) {
        if self.pausing.is_some() {
            return;
        }
        let set = std::mem::take(&mut self.action_set);
        if set.is_empty() || self.exit || self.error.is_some() {
            return;
        }
        let list = action_set::in_order(&set);
        self.within(|| Node::ActionSet, |ctx| ctx.actions(&list));
    }

    /// Does a list of actions.
    pub(crate) fn actions(&mut self, actions: &[Action]) {
        let outer = self.trace_parent();
        if let Some(jump) = self.actions_or_jump(actions) {
            self.table(jump.in_port, jump.table_id, jump.miss);
        }
        self.leave(outer);
    }

    /// As `actions`; where the last one leads to a table, it is returned instead of done.
    fn actions_or_jump(&mut self, actions: &[Action]) -> Option<Jump> {
        if actions.is_empty() {
            self.note(|| Node::Drop);
        }
        let last = actions.len().checked_sub(1);
        for (n, action) in actions.iter().enumerate() {
            if self.exit || self.error.is_some() {
                return None;
            }
            if let Some(jump) = self.jump(action)
                && (Some(n) == last || matches!(action, Action::GotoTable(_)))
            {
                self.enter(|| Node::Action(action.clone()));
                return Some(jump);
            }
            let mut flow = NEXT;
            self.within(
                || Node::Action(action.clone()),
                |ctx| flow = ctx.action(action),
            );
            if self.pausing.is_some() {
                self.pause_list(actions.get(n + 1..).unwrap_or_default());
                return None;
            }
            if flow.is_break() {
                return None;
            }
        }
        None
    }

    /// Where an action leads, if to a table.
    fn jump(&self, action: &Action) -> Option<Jump> {
        let current = self.w.view.flow.in_port();
        match action {
            Action::Resubmit { in_port, table, .. } => Some(Jump {
                in_port: match in_port {
                    None | Some(OfPort::IN_PORT) => current,
                    Some(port) => *port,
                },
                table_id: table.unwrap_or(self.table_id),
                miss: OnMiss::GoOn,
            }),
            Action::GotoTable(table_id) => Some(Jump {
                in_port: current,
                table_id: *table_id,
                miss: OnMiss::Table,
            }),
            _ => None,
        }
    }

    fn action(&mut self, action: &Action) -> Flow {
        match action {
            Action::Output { port, max_len } => self.output(*port, *max_len),
            Action::Controller(c) => self.controller(c),
            Action::OutputReg { src, max_len } => {
                // Values above are no port numbers of the 16-bit space that registers hold.
                let value = self.read(*src);
                self.note(|| Node::Detail(format!("output port is {value}")));
                if let Ok(port) = u16::try_from(value) {
                    self.output(OfPort::from_u16(port), *max_len);
                }
            }
            Action::Enqueue { port, queue } => {
                let before = self.w.view.priority;
                self.w.view.priority = Some(queue_priority(*queue));
                self.output(*port, 0);
                self.w.view.priority = before;
            }
            Action::SetQueue(queue) => self.w.view.priority = Some(queue_priority(*queue)),
            Action::PopQueue => self.w.view.priority = None,
            Action::Group(id) => self.group(*id),
            Action::Meter(id) => match self.bridge.meters.get(id) {
                Some(meter) => self.w.meter(*meter),
                None => self.warn(&format!("nonexistent meter {id}")),
            },

            Action::SetVlanVid(vid) => self.w.set_in_tag(*vid & 0xfff, 0xfff),
            Action::SetVlanPcp(pcp) => self.w.set_in_tag(u16::from(*pcp & 7) << 13, 0xe000),
            Action::SetVlanVidIfTagged(vid) => {
                if self.w.has(Prereq::VlanVid) {
                    self.w.set_in_tag(*vid & 0xfff, 0xfff);
                }
            }
            Action::SetVlanPcpIfTagged(pcp) => {
                if self.w.has(Prereq::VlanVid) {
                    self.w.set_in_tag(u16::from(*pcp & 7) << 13, 0xe000);
                }
            }
            Action::StripVlan => self.w.pop_tag(),
            Action::PushVlan(tpid) => match self.w.pushed_tags() < MAX_TAGS {
                true => self.w.push_tag(*tpid, 0),
                false => self.fail(Error::TooManyTags),
            },

            Action::SetEthSrc(a) => self.set(Field::EthSrc, a.to_u64().into(), u128::MAX),
            Action::SetEthDst(a) => self.set(Field::EthDst, a.to_u64().into(), u128::MAX),
            Action::SetIpv4Src(a) => self.set(Field::Ipv4Src, (*a).into(), u128::MAX),
            Action::SetIpv4Dst(a) => self.set(Field::Ipv4Dst, (*a).into(), u128::MAX),
            Action::SetNwTos(tos) => self.set(Field::NwTos, (*tos).into(), u128::MAX),
            Action::SetIpEcn(ecn) => self.set(Field::IpEcn, (*ecn).into(), u128::MAX),
            Action::SetIpTtl(ttl) => self.set(Field::IpTtl, (*ttl).into(), u128::MAX),
            Action::SetTpSrc(port) => self.set_transport(true, *port),
            Action::SetTpDst(port) => self.set_transport(false, *port),
            Action::DecTtl(controllers) => return self.dec_ttl(controllers),

            Action::SetField { field, value, mask } => {
                if !self.try_set(*field, *value, *mask) {
                    let name = field.name();
                    self.warn(&format!(
                        "unmet prerequisites for {name}, set_field ignored"
                    ));
                }
            }
            Action::RegLoad { dst, value } => {
                let value = dst.insert(0, (*value).into());
                self.set(dst.field, value, dst.mask());
            }
            Action::RegMove { src, dst } => {
                if self.w.has(src.field.info().prereq) && self.w.has(dst.field.info().prereq) {
                    let value = dst.insert(0, self.read(*src));
                    self.set(dst.field, value, dst.mask());
                    self.note_now(*dst);
                }
            }
            Action::StackPush(src) => {
                if self.stack.len() >= MAX_STACK {
                    self.fail(Error::StackTooLarge);
                } else {
                    let value = self.read(*src);
                    self.stack.push(value);
                }
            }
            Action::StackPop(dst) => match self.stack.pop() {
                Some(value) => {
                    let value = dst.insert(0, value & low_bits(dst.bits));
                    self.set(dst.field, value, dst.mask());
                    self.note_now(*dst);
                }
                None => self.note(|| Node::Error("stack underflow".to_owned())),
            },

            Action::Resubmit { .. } | Action::GotoTable(_) => {
                if let Some(jump) = self.jump(action) {
                    self.table(jump.in_port, jump.table_id, jump.miss);
                }
            }
            Action::Note(_) => {}
            Action::Exit => {
                self.exit = true;
                return END;
            }

            Action::ClearActions => {
                self.note_action_set("was");
                self.action_set.clear();
            }
            Action::WriteActions(actions) => {
                self.action_set.extend(actions.iter().cloned());
                self.note_action_set("is");
            }
            Action::WriteMetadata { value, mask } => {
                self.set(Field::Metadata, (*value).into(), (*mask).into());
            }
            // `action_check` has refused them.
            other => self.fail(Error::Unsupported(other.form().name())),
        }
        NEXT
    }

    /// Sets a field, if the packet has it.
    fn set(&mut self, field: Field, value: u128, bits: u128) {
        self.try_set(field, value, bits);
    }

    /// False when the packet does not have the field.
    fn try_set(&mut self, field: Field, value: u128, bits: u128) -> bool {
        let done = self.w.set(field, value, bits);
        if self.w.pushed_tags() > MAX_TAGS {
            self.fail(Error::TooManyTags);
        }
        done
    }

    fn note_action_set(&mut self, verb: &str) {
        if self.trace.is_none() {
            return;
        }
        let set = action_set::in_order(&self.action_set);
        let mut text = format!("action set {verb}");
        if set.is_empty() {
            text.push_str(" empty");
        } else {
            let mut list = String::new();
            action_print::write(&mut list, &set, Version::Of13, &Names::none());
            text.push_str(": ");
            text.push_str(list.strip_prefix("actions=").unwrap_or(&list));
        }
        self.detail(&text);
    }

    /// Notes the value that a subfield has now.
    fn note_now(&mut self, dst: Subfield) {
        let value = dst.extract(self.w.view.flow.get(dst.field));
        self.note(|| {
            let mut text = String::new();
            subfield::write(&mut text, dst);
            text.push_str(" is now ");
            match dst.is_whole() {
                true => {
                    let all = dst.field.info().full_mask();
                    fields::write(&mut text, dst.field, value, all, &Names::none());
                }
                false => value::write_hex(&mut text, value),
            }
            Node::Detail(text)
        });
    }

    /// `mod_tp_src` and `mod_tp_dst` of OpenFlow 1.0: TCP, UDP, SCTP, and type or code of ICMP.
    fn set_transport(&mut self, src: bool, port: u16) {
        let choices = match src {
            true => [
                (Prereq::Tcp, Field::TcpSrc),
                (Prereq::Udp, Field::UdpSrc),
                (Prereq::Sctp, Field::SctpSrc),
                (Prereq::Icmpv4, Field::IcmpType),
            ],
            false => [
                (Prereq::Tcp, Field::TcpDst),
                (Prereq::Udp, Field::UdpDst),
                (Prereq::Sctp, Field::SctpDst),
                (Prereq::Icmpv4, Field::IcmpCode),
            ],
        };
        for (prereq, field) in choices {
            if self.w.has(prereq) {
                return self.set(field, port.into(), u128::MAX);
            }
        }
    }

    /// The value of a subfield; 0 when the packet does not have it.
    fn read(&mut self, src: Subfield) -> u128 {
        if !self.w.has(src.field.info().prereq) {
            return 0;
        }
        src.extract(self.w.get(src.field, src.mask()))
    }

    /// Source: OpenFlow 1.3.5, 5.12; OVS `compose_dec_ttl`.
    fn dec_ttl(&mut self, controllers: &[u16]) -> Flow {
        if !self.w.has(Prereq::Ip) {
            return NEXT;
        }
        let ttl = self.w.get(Field::IpTtl, 0xff);
        if ttl > 1 {
            self.w.set(Field::IpTtl, ttl - 1, 0xff);
            return NEXT;
        }
        let ip = if self.w.view.flow.key.is_ipv6() { 6 } else { 4 };
        self.note(|| Node::Warning(format!("IPv{ip} decrement TTL exception")));
        self.not_sent(DropReason::TtlExpired);
        for id in controllers {
            self.packet_in(PacketInReason::InvalidTtl, *id, u16::MAX);
        }
        END
    }

    /// Runs `inside` in another bridge, on the packet as it is; what the tables see is as before
    /// afterwards.
    pub(crate) fn in_bridge(
        &mut self,
        bridge: crate::snapshot::BridgeId,
        in_port: OfPort,
        inside: impl FnOnce(&mut Self),
    ) {
        let Some(peer) = self.snapshot.bridge(bridge) else {
            return self.not_sent(DropReason::NoSuchOutput);
        };
        let before: View = self.w.view.clone();
        let stack = std::mem::take(&mut self.stack);
        let action_set = std::mem::take(&mut self.action_set);
        let (old_bridge, exit) = (self.bridge, self.exit);
        let rule = (self.table_id, self.cookie, self.miss);
        self.bridge = peer;
        self.w.enter_bridge(in_port);
        inside(self);
        self.bridge = old_bridge;
        self.exit = exit;
        (self.table_id, self.cookie, self.miss) = rule;
        self.action_set = action_set;
        self.stack = stack;
        self.w.view = before;
    }
}

/// The `skb->priority` of a queue: its class below the root of an HTB qdisc with handle 1, as
/// Open vSwitch numbers them.
/// Source: OVS `lib/dpif-netlink.c`, `dpif_netlink_queue_to_priority`.
fn queue_priority(queue: u32) -> u32 {
    1 << 16 | (queue.saturating_add(1) & 0xffff)
}
