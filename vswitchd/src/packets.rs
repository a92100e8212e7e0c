//! What is done with one packet that userspace handles: translation, and what follows from it.
//!
//! Pure but for the statistics of rules, which are atomic. Called by the upcall threads, and by
//! the event loop for packet-outs.

use std::time::Instant;

use bytes::Bytes;
use dpif::{DpOp, Packet, Upcall, UpcallKind, edit};
use ofproto::flow::Flow;
use ofproto::snapshot::{BridgeId, Snapshot};
use ofproto::xlate::{Credit, Effect, PacketIn, Start, Station, XlateIn, Xlated, xlate};
use openflow::Action as OfAction;
use packet::extract::{Meta, extract};
use packet::{Action, DpPort, FlowKey, FlowMask, OfPort};

/// What handling a packet asks of the event loop.
#[derive(Debug)]
pub enum Consequence {
    Learn(Station),
    /// With the whole packet, as it was when it was sent.
    PacketIn(Box<PacketIn>, Bytes),
}

/// Translates a packet-out. `None` when its bridge is gone or its frame is too short for one.
pub fn packet_out(
    snapshot: &Snapshot,
    bridge: BridgeId,
    in_port: OfPort,
    actions: &[OfAction],
    frame: &[u8],
    max_actions: usize,
) -> Option<(Xlated, DpOp)> {
    let conf = snapshot.bridge(bridge)?;
    let dp_port = conf
        .port(in_port)
        .and_then(|port| port.dp_port())
        .unwrap_or(DpPort::NONE);
    let mut key = FlowKey::zero();
    let meta = Meta {
        in_port: dp_port.0,
        ..Meta::default()
    };
    extract(&frame, &meta, &mut key).ok()?;
    let xlated = xlate(
        snapshot,
        &XlateIn {
            bridge,
            flow: Flow::new(key, in_port),
            start: Start::Actions(actions),
            max_actions,
        },
    );
    let op = DpOp::Execute {
        packet: Packet {
            data: frame.to_vec(),
            ..Packet::default()
        },
        in_port: dp_port,
        actions: xlated.actions.clone(),
    };
    Some((xlated, op))
}

/// What the effects of one packet's translation come to.
pub fn consequences(xlated: &Xlated, packet: &Packet) -> Vec<Consequence> {
    xlated
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::Learn(station) => Consequence::Learn(*station),
            Effect::PacketIn(packet_in) => Consequence::PacketIn(
                packet_in.clone(),
                changed(packet, &xlated.actions, packet_in.after),
            ),
        })
        .collect()
}

/// The frame after the first `count` actions.
fn changed(received: &Packet, actions: &[Action], count: usize) -> Bytes {
    let mut packet = received.clone();
    let mut priority = 0;
    for action in actions.iter().take(count) {
        // An action that does not fit the packet ends it in the datapath, too.
        if edit::apply(&mut packet, &mut priority, action).is_err() {
            break;
        }
    }
    Bytes::from(packet.data)
}

/// What to do about one upcall.
pub struct Answer {
    /// For a miss, the megaflow to install; then the packet to run.
    pub put: Option<NewUkey>,
    pub execute: Option<DpOp>,
    pub consequences: Vec<Consequence>,
}

/// A megaflow to be installed and the record of it.
#[derive(Debug)]
pub struct NewUkey {
    /// Masked.
    pub key: FlowKey,
    pub mask: FlowMask,
    pub actions: Vec<Action>,
    pub credits: Vec<Credit>,
    /// The snapshot that it was made from.
    pub version: u64,
}

/// Translates the packet of an upcall, and credits it to whom it met.
pub fn answer(snapshot: &Snapshot, upcall: Upcall, max_actions: usize, now: Instant) -> Answer {
    let xlated = match XlateIn::received(snapshot, &upcall.key, max_actions) {
        Some(input) => xlate(snapshot, &input),
        None => Xlated::unknown_port(&upcall.key),
    };
    let bytes = upcall.packet.data.len() as u64;
    credit(snapshot, &xlated.credits, 1, bytes, now);
    let consequences = consequences(&xlated, &upcall.packet);
    let actions = xlated.megaflow_actions();
    let put = (upcall.kind == UpcallKind::Miss).then_some(NewUkey {
        key: upcall.key.masked(&xlated.mask),
        mask: xlated.mask,
        actions,
        credits: xlated.credits,
        version: snapshot.version,
    });
    let execute = (!xlated.actions.is_empty()).then(|| DpOp::Execute {
        in_port: upcall.key.in_port(),
        packet: upcall.packet,
        actions: xlated.actions,
    });
    Answer {
        put,
        execute,
        consequences,
    }
}

/// Counts packets for the rules and tables that they met.
pub fn credit(snapshot: &Snapshot, credits: &[Credit], packets: u64, bytes: u64, used: Instant) {
    for credit in credits {
        match credit {
            Credit::Rule(_, rule) => rule.stats.credit(packets, bytes, used),
            Credit::Table(bridge, table, matched) => {
                if let Some(bridge) = snapshot.bridge(*bridge) {
                    bridge.tables.credit(*table, packets, *matched);
                }
            }
            // Counted by the event loop, which owns ports and stations.
            Credit::PatchSent(..) | Credit::PatchReceived(..) | Credit::Station(_) => {}
        }
    }
}
