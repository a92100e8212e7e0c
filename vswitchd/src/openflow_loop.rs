//! The event loop's part in OpenFlow: hands messages to `ofproto`, carries out its effects, and
//! holds barrier replies until the datapath's cache has caught up.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use ofproto::conn::{ConnId, ConnKind};
use ofproto::meter::Change;
use ofproto::ofproto::Effect;
use ofproto::packet_in::{RateLimit, RateLimitStats};
use ofproto::snapshot::BridgeId;
use ofproto::upcall::{self, PacketOut};
use openflow::Message;
use openflow::message::PortStats;
use packet::meter::MeterCounters;
use packet::{DpMeter, OfPort};
use uuid::Uuid;

use crate::bridge::desired::QUEUE_SIZE;
use crate::coverage;
use crate::openflow_net::{NetEvent, NetId, Sender};
use crate::switch::Switch;

/// Packet-ins that may come at once, before the connection has written any.
const BURST: usize = 1024;

/// A connection ends when so many messages wait for a peer that does not read.
const MAX_WAITING: usize = 1 << 19;

/// Flow monitors pause when so many messages wait.
const MONITOR_WAITING: usize = 64;

/// The connections that `ofproto` knows.
#[derive(Default)]
pub struct Conns {
    open: BTreeMap<ConnId, Open>,
    by_net: BTreeMap<NetId, ConnId>,
    /// In the order of their versions.
    barriers: VecDeque<Barrier>,
}

impl Conns {
    /// Whether somebody waits for the cache to agree with the tables.
    pub fn has_barriers(&self) -> bool {
        !self.barriers.is_empty()
    }
}

struct Open {
    net: NetId,
    sender: Sender,
    controller: Option<Uuid>,
    /// A packet-in is dropped when so many messages wait for a slow controller, and [`BURST`] for
    /// another.
    queue_size: usize,
}

/// What becomes of a message, with so many before it that have not been sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Sent,
    Dropped,
    /// The connection ends.
    Abandoned,
}

fn fate(message: &Message, queued: usize, queue_size: usize) -> Fate {
    match message {
        Message::PacketIn(_) if queued >= queue_size => Fate::Dropped,
        _ if queued >= MAX_WAITING => Fate::Abandoned,
        _ => Fate::Sent,
    }
}

/// A reply that waits until every packet is answered by `version` or later.
struct Barrier {
    version: u64,
    conn: ConnId,
    xid: u32,
    message: Message,
}

impl Switch {
    pub(crate) fn handle_net(&mut self, event: NetEvent, now: Instant) {
        match event {
            NetEvent::Opened {
                id,
                bridge,
                controller,
                version,
                sender,
            } => {
                let kind = match controller {
                    Some(uuid) if self.is_dialled(&bridge, uuid) => ConnKind::Controller,
                    _ => ConnKind::Service,
                };
                let opened = self
                    .ofproto
                    .bridge_by_name(&bridge)
                    .and_then(|id| self.ofproto.conn_open(id, kind, version, now).ok());
                let Some(conn) = opened else {
                    // The bridge went while the peer came.
                    sender.close();
                    return;
                };
                if let Some(limit) = controller.and_then(|uuid| self.rate_limit(&bridge, uuid)) {
                    self.ofproto.set_packet_in_limit(conn, Some(limit));
                }
                let queue_size = self.queue_size(&bridge, controller);
                self.conns.by_net.insert(id, conn);
                self.conns.open.insert(
                    conn,
                    Open {
                        net: id,
                        sender,
                        controller,
                        queue_size,
                    },
                );
                if let Some(target) = controller.and_then(|uuid| self.target(&bridge, uuid)) {
                    self.ofproto.set_conn_target(conn, &target);
                }
                self.dirty.status |= controller.is_some();
            }
            NetEvent::Received {
                id,
                xid,
                message,
                raw,
            } => {
                coverage::ofproto_recv_openflow.inc();
                if let Some(conn) = self.conns.by_net.get(&id) {
                    self.ofproto.handle_message(*conn, xid, message, &raw, now);
                }
            }
            NetEvent::Drained { id } => {
                if let Some(conn) = self.conns.by_net.get(&id) {
                    self.ofproto.set_congested(*conn, false);
                }
            }
            NetEvent::Closed { id } => {
                if let Some(conn) = self.conns.by_net.remove(&id) {
                    self.conns.open.remove(&conn);
                    self.ofproto.conn_close(conn, now);
                }
                self.dirty.status = true;
            }
            NetEvent::State => self.dirty.status = true,
        }
    }

    /// Whether a controller is one that the switch connects to, rather than one that comes.
    fn is_dialled(&self, bridge: &str, uuid: Uuid) -> bool {
        use daemon::stream::Method;
        self.desired
            .bridges
            .get(bridge)
            .and_then(|bridge| bridge.controllers.get(&uuid))
            .is_some_and(|controller| matches!(controller.method, Ok(Method::Active(_))))
    }

    fn target(&self, bridge: &str, uuid: Uuid) -> Option<String> {
        let controller = self.desired.bridges.get(bridge)?.controllers.get(&uuid)?;
        Some(controller.target.clone())
    }

    fn rate_limit(&self, bridge: &str, uuid: Uuid) -> Option<RateLimit> {
        let controller = self.desired.bridges.get(bridge)?.controllers.get(&uuid)?;
        controller.rate_limit.map(|limit| RateLimit {
            rate: limit.per_second,
            burst: limit.burst,
        })
    }

    /// Packet-ins that may wait for a controller, or for somebody who came to the bridge.
    fn queue_size(&self, bridge: &str, controller: Option<Uuid>) -> usize {
        let bridge = self.desired.bridges.get(bridge);
        let controller = bridge.and_then(|bridge| bridge.controllers.get(&controller?));
        controller.map_or(QUEUE_SIZE as usize, |controller| controller.queue_size)
    }

    /// Takes limits of the configuration into effect on open connections.
    pub(crate) fn limit_packet_ins(&mut self) {
        let limits: Vec<(ConnId, Option<RateLimit>, usize)> = self
            .conns
            .open
            .iter()
            .filter_map(|(conn, open)| {
                let id = self.ofproto.conn(*conn)?.bridge;
                let bridge = &self.ofproto.bridge(id)?.name;
                let rate = self.rate_limit(bridge, open.controller?);
                Some((*conn, rate, self.queue_size(bridge, open.controller)))
            })
            .collect();
        for (conn, limit, queue_size) in limits {
            self.ofproto.set_packet_in_limit(conn, limit);
            if let Some(open) = self.conns.open.get_mut(&conn) {
                open.queue_size = queue_size;
            }
        }
    }

    /// How the packets of connected controllers fare with their rate limits, for their rows.
    pub(crate) fn packet_in_statuses(&self) -> BTreeMap<Uuid, BTreeMap<String, String>> {
        let conns = self.conns.open.iter();
        conns
            .filter_map(|(conn, open)| {
                let stats = self.ofproto.packet_in_stats(*conn)?;
                Some((open.controller?, packet_in_status(stats)))
            })
            .collect()
    }

    /// Carries out what `ofproto` wants done, until nothing is left.
    pub(crate) async fn carry_out_effects(&mut self, now: Instant) {
        let mut counters_are_fresh = false;
        while let Some(effect) = self.ofproto.poll_effect() {
            match effect {
                Effect::Send { conn, xid, message } => self.send(conn, xid, message),
                Effect::SendFlows { conn, xid, reply } => {
                    if let Some(open) = self.conns.open.get(&conn) {
                        coverage::rconn_sent.inc();
                        open.sender.send_flows(xid, reply);
                    }
                }
                Effect::SendAfter {
                    conn,
                    xid,
                    message,
                    version,
                } => self.conns.barriers.push_back(Barrier {
                    version,
                    conn,
                    xid,
                    message,
                }),
                Effect::PacketOut(request) => {
                    coverage::ofproto_packet_out.inc();
                    self.packet_out(&request, now);
                }
                Effect::ReadPortStats {
                    conn,
                    xid,
                    bridge,
                    ports,
                } => {
                    if !std::mem::replace(&mut counters_are_fresh, true) {
                        self.refresh_links().await;
                    }
                    let stats = ports
                        .iter()
                        .map(|port| self.of_port_stats(bridge, *port))
                        .collect();
                    self.ofproto.handle_port_stats(conn, xid, stats, now);
                }
                Effect::ChangeMeter(change) => {
                    let done = match change {
                        Change::Set(meter, config) => self.dpif.meter_set(meter, &config),
                        Change::Delete(meter) => self.dpif.meter_del(meter),
                    };
                    if let Err(error) = done {
                        tracing::error!("changing a meter: {error}");
                    }
                }
                Effect::ReadMeterStats { conn, xid, meters } => {
                    let read = |dp: Option<DpMeter>| self.dpif.meter_stats(dp?).ok();
                    let stats: Vec<(u32, MeterCounters)> = meters
                        .iter()
                        .map(|(id, dp)| (*id, read(*dp).unwrap_or_default()))
                        .collect();
                    self.ofproto.handle_meter_stats(conn, xid, &stats, now);
                }
                Effect::ConfigurePort { bridge, port } => self.configure_port(bridge, port),
                Effect::Disconnect { conn } => {
                    if let Some(open) = self.conns.open.remove(&conn) {
                        self.conns.by_net.remove(&open.net);
                        open.sender.close();
                    }
                }
            }
        }
    }

    /// Translates and runs a packet that a controller sent.
    fn packet_out(&mut self, request: &PacketOut, now: Instant) {
        let snapshot = self.publish();
        let settings = upcall::Settings {
            max_actions: self.dpif.limits().actions,
            install: false,
        };
        let handled = upcall::packet_out(&snapshot, request, settings, now);
        for effect in handled.effects {
            self.apply_effect(effect, now);
        }
        for error in self
            .dpif
            .operate(&handled.ops)
            .into_iter()
            .filter_map(Result::err)
        {
            tracing::debug!("packet-out: {error}");
        }
    }

    fn send(&mut self, conn: ConnId, xid: u32, message: Message) {
        let Some(open) = self.conns.open.get(&conn) else {
            return;
        };
        let queue_size = match open.sender.is_blocked() {
            true => open.queue_size,
            false => BURST,
        };
        match fate(&message, open.sender.queued(), queue_size) {
            Fate::Sent => {}
            Fate::Dropped => {
                coverage::rconn_overflow.inc();
                return;
            }
            Fate::Abandoned => {
                coverage::rconn_overflow.inc();
                open.sender.abandon();
                return;
            }
        }
        coverage::rconn_sent.inc();
        let is_update = matches!(message, Message::FlowMonitorReply(_));
        open.sender.send(xid, message);
        if is_update && open.sender.queued() >= MONITOR_WAITING {
            self.ofproto.set_congested(conn, true);
            open.sender.tell_when_drained();
        }
    }

    /// Sends the barrier replies that `version` lets go.
    pub(crate) fn release_barriers(&mut self, version: u64) {
        while let Some(barrier) = self
            .conns
            .barriers
            .pop_front_if(|barrier| barrier.version <= version)
        {
            self.send(barrier.conn, barrier.xid, barrier.message);
        }
    }

    /// The roles of connected controllers, for their rows.
    pub(crate) fn controller_roles(&self) -> BTreeMap<Uuid, &'static str> {
        use openflow::message::Role;
        self.conns
            .open
            .iter()
            .filter_map(|(conn, open)| {
                let role = match self.ofproto.conn(*conn)?.role {
                    Role::Master => "master",
                    Role::Slave => "slave",
                    Role::Equal | Role::NoChange => "other",
                };
                Some((open.controller?, role))
            })
            .collect()
    }

    /// Counters of a port; what is not kept is `u64::MAX`.
    fn of_port_stats(&self, bridge: BridgeId, port: OfPort) -> PortStats {
        let mut stats = PortStats::unknown(port);
        let counters = self.port_counters(bridge, port);
        if let Some(counters) = counters {
            stats.rx_packets = counters.rx_packets;
            stats.tx_packets = counters.tx_packets;
            stats.rx_bytes = counters.rx_bytes;
            stats.tx_bytes = counters.tx_bytes;
            stats.rx_dropped = counters.rx_dropped;
            stats.tx_dropped = counters.tx_dropped;
            stats.rx_errors = counters.rx_errors;
            stats.tx_errors = counters.tx_errors;
            stats.rx_frame_errors = counters.rx_frame_errors;
            stats.rx_over_errors = counters.rx_over_errors;
            stats.rx_crc_errors = counters.rx_crc_errors;
            stats.collisions = counters.collisions;
        }
        stats
    }
}

/// The keys of the column `status` (ovs-vswitchd.conf.db(5), "Controller Rate Limiting
/// Statistics") for packets that no rule matched and for those that actions sent.
fn packet_in_status(
    (misses, actions): (RateLimitStats, RateLimitStats),
) -> BTreeMap<String, String> {
    let mut status = BTreeMap::new();
    for (kind, stats) in [("miss", misses), ("action", actions)] {
        for (key, n) in [
            ("bypassed", stats.sent),
            ("queued", stats.queued),
            ("dropped", stats.dropped),
            ("backlog", stats.waiting),
        ] {
            status.insert(format!("packet-in-{kind}-{key}"), n.to_string());
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openflow::Match;
    use openflow::message::{NO_BUFFER, PacketIn, PacketInReason};

    use super::*;

    /// Packet-ins are dropped first, then the connection ends.
    #[test]
    fn what_waits_for_a_slow_controller() {
        let packet_in = Message::PacketIn(PacketIn {
            reason: PacketInReason::Action,
            table_id: 0,
            buffer_id: NO_BUFFER,
            total_len: 0,
            cookie: 0,
            metadata: Match::new(),
            userdata: Bytes::new(),
            continuation: None,
            data: Bytes::new(),
        });
        let other = Message::BarrierReply;
        for (queued, want) in [
            (0, [Fate::Sent, Fate::Sent]),
            (99, [Fate::Sent, Fate::Sent]),
            (100, [Fate::Dropped, Fate::Sent]),
            (MAX_WAITING - 1, [Fate::Dropped, Fate::Sent]),
            (MAX_WAITING, [Fate::Dropped, Fate::Abandoned]),
        ] {
            let got = [&packet_in, &other].map(|message| fate(message, queued, 100));
            assert_eq!(got, want, "{queued}");
        }
    }

    #[test]
    fn limited_packets_are_counted_by_kind() {
        let stats = |sent, queued, dropped, waiting| RateLimitStats {
            sent,
            queued,
            dropped,
            waiting,
        };
        let status = packet_in_status((stats(1, 2, 3, 4), stats(5, 6, 7, 8)));
        assert_eq!(status.len(), 8);
        assert_eq!(status["packet-in-miss-bypassed"], "1");
        assert_eq!(status["packet-in-miss-backlog"], "4");
        assert_eq!(status["packet-in-action-queued"], "6");
        assert_eq!(status["packet-in-action-dropped"], "7");
    }
}
