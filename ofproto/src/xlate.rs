//! Translation: from OpenFlow tables and one packet's key to datapath actions and the mask of the
//! packets that get the same.
//!
//! [`xlate`] is a pure function of a [`Snapshot`] and an [`XlateIn`]. What is to happen besides
//! forwarding (packet-ins, MAC learning) comes back as [`Effect`]s, whom to credit with the
//! flow's packets as [`Credit`]s. Upcalls, revalidation, packet-out and `ofproto/trace` all call
//! this one function, so they cannot disagree.
//!
//! | file | what |
//! | --- | --- |
//! | this one | input, output, limits |
//! | [`working`] | the packet on its way, the mask, the emission of set actions |
//! | [`vlan`] | VLAN tags |
//! | [`pipeline`] | tables, resubmit, actions and instructions |
//! | [`action_set`] | the order in which an action set is carried out |
//! | [`group`] | groups: which buckets a packet goes through |
//! | [`output`] | ports, patch ports, controllers |
//! | [`pause`] | pausing until a controller resumes |
//! | [`crate::normal`] | the NORMAL action |
//! | [`crate::trace`] | the text of `ofproto/trace` |
//!
//! The property that matters most: changing any bit of the key outside the returned mask never
//! changes the returned actions. [`working`] says how that is kept.
//!
//! Source: OVS `ofproto/ofproto-dpif-xlate.c` has the same role; ovs-actions(7).

pub(crate) mod action_set;
mod group;
pub(crate) mod output;
mod pause;
pub(crate) mod pipeline;
mod vlan;
pub(crate) mod working;

#[cfg(test)]
pub(crate) mod random;
#[cfg(test)]
mod soundness;
#[cfg(test)]
mod stock;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use openflow::message::{Continuation, METER_SLOWPATH, PacketInReason};
use packet::action::SlowReason;
use packet::{Action, DropReason, EthAddr, FlowKey, FlowMask, OfPort};

use crate::flow::Flow;
use crate::group::Group;
use crate::rule::Rule;
use crate::snapshot::{Bridge, BridgeId, Snapshot};
use crate::trace::{Node, Trace};
use working::Working;

/// How often a packet may be led back to an earlier table, or through a patch port (as OVS).
pub const MAX_DEPTH: u32 = 64;
/// Deepest nesting of resubmits that are not the last action of their list, and patch ports: what
/// the stack of a thread has room for.
const MAX_NESTING: u32 = 128;
/// Most table lookups of one packet (as OVS).
pub const MAX_RESUBMITS: u32 = MAX_DEPTH * MAX_DEPTH;
/// Most entries on the stack; OVS allows 65,536 bytes.
const MAX_STACK: usize = 4096;
/// Most tags pushed onto one packet.
const MAX_TAGS: usize = 8;
/// Most datapath actions; what is more would not fit a datapath flow in any case.
const MAX_ACTIONS: usize = 16_384;
/// Most effects and credits of one translation.
pub(crate) const MAX_NOTES: usize = 16_384;

/// What to translate.
#[derive(Clone, Copy, Debug)]
pub struct XlateIn<'a> {
    pub bridge: BridgeId,
    pub flow: Flow,
    pub start: Start<'a>,
    /// Longest action list that the datapath runs.
    pub max_actions: usize,
}

/// Where translation starts.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// A packet that came in on a port.
    Received,
    /// A packet-out's actions.
    Actions(&'a [openflow::Action]),
    /// Where a pause was.
    Resumed(&'a Continuation),
}

/// The result of a translation.
#[derive(Clone, Debug)]
pub struct Xlated {
    /// What is to be done with the packet, whether or not the datapath can do it by itself.
    pub actions: Vec<Action>,
    /// Why each packet has to be handled in userspace, if it has to.
    pub slow: Option<SlowReason>,
    /// Bits of the key that influenced the result.
    pub mask: FlowMask,
    /// What to do once for each packet that userspace handles.
    pub effects: Vec<Effect>,
    /// Whom to credit with the flow's packets, in the order of traversal.
    pub credits: Vec<Credit>,
    /// Stations that NORMAL forwarding asked for, and what the answer was.
    pub lookups: Vec<MacLookup>,
    /// Why the packet goes nowhere, if it does.
    pub drop: Option<DropReason>,
    /// Why translation was given up, if it was; the packet is dropped then.
    pub error: Option<Error>,
    /// The packet as the tables saw it last.
    pub final_flow: Flow,
}

/// What handling one packet changes besides sending it on.
#[derive(Clone, Debug)]
pub enum Effect {
    PacketIn(Box<PacketIn>),
    /// A station sent a packet; applied with [`crate::mac_learning::MacTable::learn`].
    Learn(Station),
}

/// A packet for a bridge's controllers.
#[derive(Clone, Debug)]
pub struct PacketIn {
    pub bridge: BridgeId,
    /// Controllers with this id get the packet (`NXT_SET_CONTROLLER_ID`).
    pub controller_id: u16,
    pub reason: PacketInReason,
    pub miss: Miss,
    /// Bytes to send; 0xffff for all.
    pub max_len: u16,
    /// Of the rule that sent it; `u64::MAX` for none.
    pub cookie: u64,
    pub table_id: u8,
    /// Metadata as the tables saw it.
    pub flow: Flow,
    /// The packet to send is the one received, changed by this many of [`Xlated::actions`].
    pub after: usize,
    /// What the action said.
    pub userdata: Bytes,
    /// The meter that the action names.
    pub meter_id: Option<u32>,
    /// What the packet waits to go on with; the bridge is not in it.
    pub continuation: Option<Box<Continuation>>,
}

/// Is a packet-in about a packet that no rule wanted?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Miss {
    /// No: an action of an ordinary rule sent it.
    No,
    /// No rule matched; controllers of OpenFlow 1.0 alone want to hear of it.
    Implicit,
    /// The rule that sent it is a table-miss entry: priority 0, no match. From OpenFlow 1.3 on
    /// the reason given for an action of such a rule is `NoMatch` (OpenFlow 1.3.5, 7.4.1).
    Explicit,
}

/// A station seen on a port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Station {
    pub bridge: BridgeId,
    pub port: OfPort,
    pub vlan: u16,
    pub mac: EthAddr,
}

/// A question to a bridge's MAC table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MacLookup {
    pub bridge: BridgeId,
    pub vlan: u16,
    pub mac: EthAddr,
    /// The answer.
    pub port: Option<OfPort>,
}

/// Something that counts packets.
#[derive(Clone, Debug)]
pub enum Credit {
    Rule(BridgeId, Arc<Rule>),
    /// A lookup in a table, and whether a rule matched.
    Table(BridgeId, u8, bool),
    /// Left through one end of a patch port.
    PatchSent(BridgeId, OfPort),
    /// Came in through the other.
    PatchReceived(BridgeId, OfPort),
    /// A group, and the bucket that the packet went through; `None` for all.
    Group(BridgeId, Arc<Group>, Option<usize>),
    /// A group that has no bucket for the packet.
    NoBucket(BridgeId),
    /// Keeps a MAC table entry young.
    Station(Station),
}

/// Why a translation was given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    #[error("over max translation depth {MAX_DEPTH}")]
    TooDeep,
    #[error("over {MAX_RESUBMITS} resubmit actions")]
    TooManyResubmits,
    #[error("resubmits yielded over {MAX_ACTIONS} datapath actions")]
    TooManyActions,
    #[error("over {MAX_STACK} values on the stack")]
    StackTooLarge,
    #[error("over {MAX_TAGS} VLAN tags pushed")]
    TooManyTags,
    #[error("action {0} is not supported")]
    Unsupported(&'static str),
    #[error("no such bridge")]
    NoBridge,
}

impl<'a> XlateIn<'a> {
    /// A packet with this key as the datapath received it; `None` when its port belongs to no
    /// bridge.
    pub fn received(
        snapshot: &Snapshot,
        key: &FlowKey,
        max_actions: usize,
    ) -> Option<XlateIn<'static>> {
        let (bridge, port) = snapshot.port_of(key.in_port())?;
        Some(XlateIn {
            bridge: bridge.id,
            flow: Flow::new(*key, port.of_port),
            start: Start::Received,
            max_actions,
        })
    }
}

impl Xlated {
    /// The actions of the megaflow: `self.actions`, or the slow path behind the meters that come
    /// before all else.
    pub fn megaflow_actions(&self) -> Vec<Action> {
        let Some(reason) = self.slow else {
            return self.actions.clone();
        };
        let meters = self.actions.iter().take(self.leading_meters());
        let mut list: Vec<Action> = meters.copied().collect();
        list.push(Action::SlowPath(reason));
        list
    }

    /// How many meters the actions begin with, those before which a packet-in was made left out.
    pub fn leading_meters(&self) -> usize {
        let is_meter = |a: &&Action| matches!(a, Action::Meter(_));
        let places = self.effects.iter().filter_map(|effect| match effect {
            Effect::PacketIn(packet_in) => Some(packet_in.after),
            Effect::Learn(_) => None,
        });
        let before = places.min().unwrap_or(usize::MAX);
        let meters = self.actions.iter().take_while(is_meter);
        meters.take(before).count()
    }

    /// The result for a packet from a port that belongs to no bridge.
    pub fn unknown_port(key: &FlowKey) -> Xlated {
        let working = Working::new(Flow::new(*key, OfPort::ANY));
        Xlated {
            actions: vec![Action::Drop(DropReason::UnknownPort)],
            slow: None,
            mask: working.megaflow_mask(),
            effects: Vec::new(),
            credits: Vec::new(),
            lookups: Vec::new(),
            drop: Some(DropReason::UnknownPort),
            error: None,
            final_flow: working.view.flow,
        }
    }
}

/// Translates a packet; see the module documentation.
///
/// Shapes: `actions` ends in [`Action::Drop`] when nothing is sent anywhere; credits and effects
/// are bounded.
/// Errors: none; a translation that is given up drops the packet and says why in `error`.
pub fn xlate(snapshot: &Snapshot, input: &XlateIn<'_>) -> Xlated {
    run(snapshot, input, None).0
}

/// As [`xlate`], and notes what was done for the text of `ofproto/trace`.
pub fn xlate_traced(snapshot: &Snapshot, input: &XlateIn<'_>) -> (Xlated, Trace) {
    let (xlated, trace) = run(snapshot, input, Some(Trace::default()));
    (xlated, trace.unwrap_or_default())
}

fn run(snapshot: &Snapshot, input: &XlateIn<'_>, trace: Option<Trace>) -> (Xlated, Option<Trace>) {
    let working = Working::new(input.flow);
    let Some(bridge) = snapshot.bridge(input.bridge) else {
        let mut xlated = Xlated::unknown_port(&input.flow.key);
        xlated.error = Some(Error::NoBridge);
        return (xlated, trace);
    };
    let mut ctx = Ctx {
        snapshot,
        bridge,
        w: working,
        stack: Vec::new(),
        action_set: Vec::new(),
        table_id: 0,
        cookie: u64::MAX,
        miss: Miss::No,
        depth: 0,
        nesting: 0,
        resubmits: 0,
        exit: false,
        pausing: None,
        error: None,
        slow: None,
        drop: DropReason::Policy,
        sent: false,
        effects: Vec::new(),
        credits: Vec::new(),
        lookups: Vec::new(),
        trace,
    };
    match input.start {
        Start::Received => ctx.receive(),
        Start::Actions(actions) => ctx.packet_out(actions),
        Start::Resumed(continuation) => ctx.resume(continuation),
    }
    ctx.finish(input.max_actions)
}

/// State of one translation.
pub(crate) struct Ctx<'a> {
    pub snapshot: &'a Snapshot,
    /// The bridge that is being traversed.
    pub bridge: &'a Bridge,
    pub w: Working,
    pub stack: Vec<u128>,
    pub action_set: Vec<openflow::Action>,
    pub table_id: u8,
    /// Of the rule whose actions are being done.
    pub cookie: u64,
    /// The rule whose actions are being done is a table-miss entry, or there is none.
    pub miss: Miss,
    depth: u32,
    nesting: u32,
    resubmits: u32,
    /// An exit action ended everything.
    exit: bool,
    /// A packet-in that pauses: until it is sent, the lists of actions that end put down here what
    /// they had left.
    pausing: Option<Box<PacketIn>>,
    error: Option<Error>,
    slow: Option<SlowReason>,
    /// Why nothing was sent, should that be so at the end: the last reason found.
    drop: DropReason,
    /// Something was sent, to a port or a controller.
    sent: bool,
    effects: Vec<Effect>,
    credits: Vec<Credit>,
    lookups: Vec<MacLookup>,
    trace: Option<Trace>,
}

impl Ctx<'_> {
    pub fn fail(&mut self, error: Error) {
        self.note(|| Node::Error(error.to_string()));
        self.error.get_or_insert(error);
    }

    /// Notes why the packet is not sent here.
    pub fn not_sent(&mut self, reason: DropReason) {
        self.drop = reason;
    }

    pub fn effect(&mut self, effect: Effect) {
        if self.effects.len() < MAX_NOTES {
            self.effects.push(effect);
        }
    }

    pub fn credit(&mut self, credit: Credit) {
        if self.credits.len() < MAX_NOTES {
            self.credits.push(credit);
        }
    }

    /// Where a station was seen.
    pub fn lookup_mac(&mut self, vlan: u16, mac: EthAddr) -> Option<OfPort> {
        let port = self.bridge.macs.lookup(vlan, mac);
        if self.lookups.len() < MAX_NOTES {
            self.lookups.push(MacLookup {
                bridge: self.bridge.id,
                vlan,
                mac,
                port,
            });
        }
        port
    }

    /// Adds a leaf to the trace.
    pub fn note(&mut self, node: impl FnOnce() -> Node) {
        if let Some(trace) = &mut self.trace {
            trace.add(node());
        }
    }

    pub fn detail(&mut self, text: &str) {
        self.note(|| Node::Detail(text.to_owned()));
    }

    pub fn warn(&mut self, text: &str) {
        self.note(|| Node::Warning(text.to_owned()));
    }

    /// Adds a node to the trace; what is noted during `inside` goes under it.
    pub fn within(&mut self, node: impl FnOnce() -> Node, inside: impl FnOnce(&mut Self)) {
        let outer = self.trace_parent();
        self.enter(node);
        inside(self);
        self.leave(outer);
    }

    /// Adds a node to the trace; what is noted from now on goes under it, until `leave`.
    fn enter(&mut self, node: impl FnOnce() -> Node) {
        if let Some(trace) = &mut self.trace {
            trace.enter(node());
        }
    }

    fn trace_parent(&self) -> Option<usize> {
        self.trace.as_ref().and_then(Trace::parent)
    }

    fn leave(&mut self, outer: Option<usize>) {
        if let Some(trace) = &mut self.trace {
            trace.leave(outer);
        }
    }

    fn finish(mut self, max_actions: usize) -> (Xlated, Option<Trace>) {
        let mut drop = None;
        if let Some(error) = self.error {
            drop = Some(match error {
                Error::TooManyActions => DropReason::TooManyActions,
                _ => DropReason::Translation,
            });
            self.slow = None;
            self.effects.clear();
        } else if !self.sent {
            drop = Some(self.drop);
        }
        if let Some(reason) = drop {
            self.w.actions = vec![Action::Drop(reason)];
        }
        let mut actions = std::mem::take(&mut self.w.actions);
        let too_long = (actions.len() > max_actions).then_some(SlowReason::TooManyActions);
        let slow = self.slow.or(too_long);
        // Packets for controllers have a meter of their own, where packet-ins are made.
        if slow.is_some_and(|reason| reason != SlowReason::Controller)
            && let Some(meter) = self.bridge.meters.get(&METER_SLOWPATH)
        {
            actions.insert(0, Action::Meter(meter.number));
        }
        let xlated = Xlated {
            actions,
            slow,
            mask: self.w.megaflow_mask(),
            effects: self.effects,
            credits: self.credits,
            lookups: self.lookups,
            drop,
            error: self.error,
            final_flow: self.w.view.flow,
        };
        (xlated, self.trace)
    }
}
