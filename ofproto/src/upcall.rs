//! Upcalls: packets that the datapath could not answer, to datapath operations and effects.
//!
//! A handler thread receives a batch, calls [`handle`] with the newest snapshot, gives the
//! operations to the datapath, and sends effects to the owner of the switch and the records of
//! what was installed ([`Handled::installed`]) to the revalidator. It keeps nothing between
//! batches. [`packet_out`] is the same for a packet that a controller sends.
//!
//! Source: OVS `ofproto/ofproto-dpif-upcall.c`, `handle_upcalls`.

use std::time::Instant;

use bytes::Bytes;
use dpif::edit::{self, Editor};
use dpif::{DpOp, Error, Packet, Upcall, UpcallKind};
use openflow::Match;
use openflow::message::Continuation;
use packet::action::{SetField, SlowReason};
use packet::{Action, DpPort, DropReason, FlowKey, OfPort};

use crate::flow::Flow;
use crate::snapshot::{BridgeId, Snapshot};
use crate::ukey::Ukey;
use crate::xlate::{self, Credit, PacketIn, Start, Station, XlateIn, Xlated, xlate};

/// Most bytes of packet copies that one packet may be executed as in userspace.
const MAX_EXECUTED_BYTES: usize = 16 << 20;

/// What translation has to know of the datapath and the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Longest action list that the datapath runs.
    pub max_actions: usize,
    /// False when the flow limit is reached: packets are handled, nothing is installed.
    pub install: bool,
}

/// What a batch of upcalls comes to.
#[derive(Debug, Default)]
pub struct Handled {
    /// For the datapath, in this order.
    pub ops: Vec<DpOp>,
    /// For the owner of the switch.
    pub effects: Vec<Effect>,
    /// Records of the megaflows that `ops` install, each with the place of its operation.
    pub ukeys: Vec<(usize, Ukey)>,
    /// Packets that went through nothing but a megaflow that an earlier one of the batch made.
    pub shared: usize,
}

/// What the owner of the switch is to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// To be given to `Ofproto::handle_packet_in`, with the packet as it was then.
    PacketIn { event: Box<PacketIn>, packet: Bytes },
    /// A packet of a station came through translation; for `Ofproto::learn_mac`.
    Learn(Station),
    /// Packets of a station went through the cache; for `Ofproto::refresh_mac`.
    Refresh(Station),
}

impl Handled {
    /// The records of what the datapath now has, given the results of `ops`.
    ///
    /// Where a megaflow was there already, whoever installed it has the record.
    pub fn installed(self, results: &[Result<(), Error>]) -> Vec<Ukey> {
        let ok = |at: usize| results.get(at).is_some_and(Result::is_ok);
        let ukeys = self.ukeys.into_iter();
        ukeys.filter(|(at, _)| ok(*at)).map(|(_, u)| u).collect()
    }
}

/// Answers a batch of upcalls.
///
/// Shapes: for each upcall at most one `FlowPut`, then its `Execute`s.
pub fn handle(
    snapshot: &Snapshot,
    upcalls: &[Upcall],
    settings: Settings,
    now: Instant,
) -> Handled {
    let mut handled = Handled::default();
    // Translations of this batch, for the other packets of a burst.
    let mut done: Vec<(FlowKey, Xlated)> = Vec::new();
    for upcall in upcalls {
        let key = &upcall.key;
        let known = done
            .iter()
            .find(|(other, x)| other.matches(key, &x.mask))
            .map(|(_, x)| x);
        if let Some(xlated) = known {
            handled.shared += 1;
            handled.apply(snapshot, upcall, xlated, now);
            continue;
        }
        let xlated = match XlateIn::received(snapshot, key, settings.max_actions) {
            Some(input) => xlate(snapshot, &input),
            None => Xlated::unknown_port(key),
        };
        // A packet that came up because its flow says so has its flow already.
        let install = settings.install && upcall.kind == UpcallKind::Miss;
        if install {
            let ukey = Ukey::new(key, &xlated, snapshot.version, now);
            handled.ukeys.push((handled.ops.len(), ukey));
            handled.ops.push(DpOp::FlowPut {
                key: *key,
                mask: xlated.mask,
                actions: xlated.megaflow_actions(),
                replace: false,
            });
        }
        handled.apply(snapshot, upcall, &xlated, now);
        // What is made of each packet by itself cannot be shared: packet-ins have its metadata.
        if xlated.slow.is_none() {
            done.push((*key, xlated));
        }
    }
    handled
}

/// A packet that a controller sends, and what is to be done with it.
#[derive(Clone, PartialEq, Debug)]
pub struct PacketOut {
    pub bridge: BridgeId,
    /// In the numbers of the bridge, or a reserved port.
    pub in_port: OfPort,
    /// Other pipeline fields that the packet begins with.
    pub metadata: Match,
    pub todo: Todo,
    pub data: Bytes,
}

/// What is to be done with a packet that a controller sends.
#[derive(Clone, PartialEq, Debug)]
pub enum Todo {
    Actions(Vec<openflow::Action>),
    /// It comes back after a pause.
    Resume(Box<Continuation>),
}

/// Does what is to be done with the packet of a packet-out.
pub fn packet_out(
    snapshot: &Snapshot,
    request: &PacketOut,
    settings: Settings,
    now: Instant,
) -> Handled {
    let mut handled = Handled::default();
    let packet = Packet {
        data: request.data.to_vec(),
        ..Packet::default()
    };
    let dp_port = snapshot
        .bridge(request.bridge)
        .and_then(|b| b.port(request.in_port)?.dp_port())
        .unwrap_or(DpPort::NONE);
    let Some(key) = dpif::sim::key_of(dp_port, &packet) else {
        // Not an Ethernet frame.
        return handled;
    };
    let mut flow = Flow::new(key, request.in_port);
    for f in &request.metadata {
        flow.set(f.field, f.value);
    }
    let input = XlateIn {
        bridge: request.bridge,
        flow,
        start: match &request.todo {
            Todo::Actions(actions) => Start::Actions(actions),
            Todo::Resume(continuation) => Start::Resumed(continuation),
        },
        max_actions: settings.max_actions,
    };
    let xlated = xlate(snapshot, &input);
    let upcall = Upcall {
        kind: UpcallKind::Action(SlowReason::Controller),
        key,
        packet,
    };
    handled.apply(snapshot, &upcall, &xlated, now);
    handled
}

impl Handled {
    /// Everything that one packet brings about, except for a megaflow.
    fn apply(&mut self, snapshot: &Snapshot, upcall: &Upcall, xlated: &Xlated, now: Instant) {
        let bytes = upcall.packet.data.len() as u64;
        credit(snapshot, &xlated.credits, 1, bytes, now);
        for effect in &xlated.effects {
            match effect {
                xlate::Effect::Learn(station) => self.effects.push(Effect::Learn(*station)),
                xlate::Effect::PacketIn(event) => {
                    let packets = packets_at(&upcall.packet, &xlated.actions, event.after);
                    self.effects
                        .extend(packets.into_iter().map(|packet| Effect::PacketIn {
                            event: event.clone(),
                            packet,
                        }));
                }
            }
        }
        // The datapath has metered a packet before it sent it up by its flow.
        let metered = match upcall.kind {
            UpcallKind::Action(_) => xlated.leading_meters(),
            UpcallKind::Miss => 0,
        };
        let actions = xlated.actions.get(metered..).unwrap_or_default();
        match xlated.slow {
            Some(SlowReason::Unsupported | SlowReason::TooManyActions) => {
                self.execute_edited(upcall, actions);
            }
            _ => self.execute(upcall, &upcall.packet, actions.to_vec()),
        }
    }

    /// Lets the datapath run the actions.
    fn execute(&mut self, upcall: &Upcall, packet: &Packet, actions: Vec<Action>) {
        let goes_somewhere = |a: &Action| matches!(a, Action::Output(_) | Action::Drop(_));
        if actions.iter().any(goes_somewhere) {
            self.ops.push(DpOp::Execute {
                packet: packet.clone(),
                in_port: upcall.key.in_port(),
                actions,
            });
        }
    }

    /// Changes the packet here and lets the datapath do the outputs: for lists that are longer
    /// than the datapath runs, or that change what it cannot.
    fn execute_edited(&mut self, upcall: &Upcall, actions: &[Action]) {
        let mut editor = Editor::new(upcall.packet.clone());
        let mut budget = MAX_EXECUTED_BYTES;
        let mut outputs: Vec<Action> = Vec::new();
        for action in actions {
            if let Action::Output(_) | Action::Meter(_) = action {
                outputs.push(*action);
                continue;
            }
            self.execute_outputs(upcall, &editor, &mut outputs, &mut budget);
            if let Err(reason) = editor.apply(action) {
                return self.execute(upcall, &editor.packet, vec![Action::Drop(reason)]);
            }
            if let Action::Drop(_) = action {
                return self.execute(upcall, &editor.packet, vec![*action]);
            }
        }
        self.execute_outputs(upcall, &editor, &mut outputs, &mut budget);
    }

    fn execute_outputs(
        &mut self,
        upcall: &Upcall,
        editor: &Editor,
        outputs: &mut Vec<Action>,
        budget: &mut usize,
    ) {
        /// Outputs of one operation: every datapath runs this many.
        const CHUNK: usize = 32;
        let (packet, priority) = (&editor.packet, editor.priority);
        let all = std::mem::take(outputs);
        for chunk in all.chunks(CHUNK) {
            let Some(left) = budget.checked_sub(packet.data.len()) else {
                let reason = DropReason::TooManyActions;
                return self.execute(upcall, packet, vec![Action::Drop(reason)]);
            };
            *budget = left;
            let mut list = Vec::with_capacity(chunk.len() + 1);
            if priority != 0 {
                let [a, b, c, d] = priority.to_ne_bytes();
                list.push(Action::Set {
                    field: SetField::SkbPriority,
                    value: [a, b, c, d, 0, 0],
                    mask: [0xff, 0xff, 0xff, 0xff, 0, 0],
                });
            }
            list.extend_from_slice(chunk);
            self.execute(upcall, packet, list);
        }
    }
}

/// The packet behind the first `after` actions, as a controller gets it: checksums done, and a
/// super-packet as the segments that it stands for.
fn packets_at(packet: &Packet, actions: &[Action], after: usize) -> Vec<Bytes> {
    let mut editor = Editor::new(packet.clone());
    for action in actions.iter().take(after) {
        if editor.apply(action).is_err() {
            return Vec::new();
        }
    }
    let packets = edit::finish(editor.packet);
    packets.into_iter().map(|p| Bytes::from(p.data)).collect()
}

/// Counts packets for everything that a translation passed through; returns the stations whose
/// packets they were.
pub fn credit(
    snapshot: &Snapshot,
    credits: &[Credit],
    packets: u64,
    bytes: u64,
    used: Instant,
) -> Vec<Station> {
    let mut stations = Vec::new();
    for credit in credits {
        match credit {
            Credit::Rule(_, rule) => rule.stats.credit(packets, bytes, used),
            Credit::Table(bridge, table_id, matched) => {
                if let Some(bridge) = snapshot.bridge(*bridge) {
                    bridge.tables.credit(*table_id, packets, *matched);
                }
            }
            Credit::PatchSent(bridge, port) => {
                if let Some(port) = snapshot.bridge(*bridge).and_then(|b| b.port(*port)) {
                    port.counters.sent(packets, bytes);
                }
            }
            Credit::PatchReceived(bridge, port) => {
                if let Some(port) = snapshot.bridge(*bridge).and_then(|b| b.port(*port)) {
                    port.counters.received(packets, bytes);
                }
            }
            Credit::Group(_, group, bucket) => group.credit(*bucket, packets, bytes),
            Credit::NoBucket(_) => {}
            Credit::Station(station) => stations.push(*station),
        }
    }
    stations
}
