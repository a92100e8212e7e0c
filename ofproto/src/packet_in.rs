//! Packets on their way to controllers: who gets them, and how many a second.
//!
//! A controller may be protected by a rate limit (`Controller.controller_rate_limit` and
//! `controller_burst_limit`). Packets above the rate wait in one queue for each ingress port; the
//! queues are served in turn, and when too many wait the longest queue gives way, so that a port
//! that is flooded cannot keep another's packets from the controller. Packets that no rule matched
//! and packets that an action sent are limited apart.
//!
//! Source: ovs-vswitchd.conf.db(5), table Controller; OVS `ofproto/pinsched.h` has the same role.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use openflow::message::{NO_BUFFER, PacketIn, PacketInReason};
use openflow::{Field, Match, Message, Version};
use packet::OfPort;

use crate::conn::{Conn, ConnId};
use crate::flow::Flow;
use crate::ofproto::{Effect, Ofproto};
use crate::snapshot::BridgeId;
use crate::xlate::{Miss, PacketIn as XlatedPacketIn};

/// Packets per second that a connection is sent, and how many may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimit {
    /// At least 1.
    pub rate: u32,
    /// At least 1.
    pub burst: u32,
}

/// How packets of one connection fared with its rate limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct RateLimitStats {
    /// Sent at once.
    pub sent: u64,
    /// Had to wait.
    pub queued: u64,
    /// Given up because too many waited.
    pub dropped: u64,
    /// Wait now.
    pub waiting: u64,
}

/// The two limiters of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limiters {
    limit: Option<RateLimit>,
    misses: Limiter,
    actions: Limiter,
}

#[derive(Clone, Debug, Default)]
struct Limiter {
    /// Thousandths of a packet that may be sent now, as of `filled`.
    tokens: u64,
    filled: Option<Instant>,
    queues: BTreeMap<OfPort, VecDeque<PacketIn>>,
    waiting: usize,
    /// Served last.
    turn: Option<OfPort>,
    stats: RateLimitStats,
}

/// Thousandths of a packet in one.
const TOKEN: u64 = 1000;

impl Ofproto {
    /// Sends a packet to the controllers that want it, as their rate limits allow. `packet` is the
    /// whole packet as it was when the action sent it.
    ///
    /// `event.max_len` is not used, as the stock switch does not: no packet is buffered here, so a
    /// controller that got a part of one could do nothing about the rest.
    pub fn handle_packet_in(&mut self, event: &XlatedPacketIn, packet: &Bytes, now: Instant) {
        if let Some(bridge) = self.bridges.get_mut(&event.bridge)
            && !bridge.meters.admits(event.meter_id, packet.len(), now)
        {
            return;
        }
        let name = bridge_uuid(self.seed, event.bridge);
        for conn in self.conns.values_mut().filter(|c| c.bridge == event.bridge) {
            let reason = reason_for(event, conn.version);
            let is_implicit = event.miss == Miss::Implicit;
            if !conn.wants_packet_in(reason, event.controller_id, is_implicit) {
                continue;
            }
            let mut message = PacketIn {
                reason,
                table_id: event.table_id,
                buffer_id: NO_BUFFER,
                total_len: u16::try_from(packet.len()).unwrap_or(u16::MAX),
                cookie: event.cookie,
                metadata: metadata(&event.flow),
                data: packet.clone(),
                userdata: event.userdata.clone(),
                continuation: event.continuation.clone(),
            };
            if let Some(continuation) = &mut message.continuation {
                continuation.bridge = name;
            }
            let is_miss = event.miss != Miss::No;
            let port = event.flow.in_port();
            if let Some(message) = conn.limiters.offer(is_miss, port, message, now) {
                self.effects.push_back(send(conn.id, message));
            }
        }
    }

    /// Limits the packets that a connection is sent; `None` for no limit. Packets that wait are
    /// dropped.
    pub fn set_packet_in_limit(&mut self, conn: ConnId, limit: Option<RateLimit>) {
        if let Some(conn) = self.conns.get_mut(&conn)
            && conn.limiters.limit != limit
        {
            conn.limiters = Limiters {
                limit,
                ..Limiters::default()
            };
        }
    }

    /// How packets fared that no rule matched, and those that actions sent; `None` without a rate
    /// limit.
    pub fn packet_in_stats(&self, conn: ConnId) -> Option<(RateLimitStats, RateLimitStats)> {
        let limiters = &self.conns.get(&conn)?.limiters;
        limiters.limit?;
        Some((limiters.misses.stats(), limiters.actions.stats()))
    }

    /// Sends waiting packets whose time has come.
    pub(crate) fn drain_packet_ins(&mut self, now: Instant) {
        for conn in self.conns.values_mut() {
            while let Some(message) = conn.limiters.poll(now) {
                self.effects.push_back(send(conn.id, message));
            }
        }
    }

    /// When the next waiting packet may be sent.
    pub(crate) fn next_packet_in(&self) -> Option<Instant> {
        let conns = self.conns.values();
        conns.filter_map(|c: &Conn| c.limiters.next_timeout()).min()
    }
}

/// What continuations call a bridge: no other process, and no other bridge of this one, has the
/// same.
pub(crate) fn bridge_uuid(seed: u64, id: BridgeId) -> [u8; 16] {
    let state = ahash::RandomState::with_seeds(seed, !seed, 1, 2);
    let [high, low] = [0u8, 1].map(|half| u128::from(state.hash_one((id, half))));
    // Version 4, as what is random has.
    let number = (high << 64 | low) & !(0xf << 76 | 0x3 << 62) | 4 << 76 | 2 << 62;
    number.to_be_bytes()
}

fn send(conn: ConnId, message: PacketIn) -> Effect {
    Effect::Send {
        conn,
        xid: 0,
        message: Message::PacketIn(message),
    }
}

fn reason_for(event: &XlatedPacketIn, version: Version) -> PacketInReason {
    match (event.miss, version) {
        (Miss::Explicit, v) if v < Version::Of13 => PacketInReason::Action,
        (Miss::Implicit | Miss::Explicit, _) => PacketInReason::NoMatch,
        (Miss::No, _) => event.reason,
    }
}

/// The pipeline fields of a packet-in: the input port, and what else is not zero.
fn metadata(flow: &Flow) -> Match {
    let mut fields = Match::new().with(Field::InPort, flow.pipeline.in_port.into());
    let regs = (0..16).filter_map(Field::reg);
    for field in regs.chain([Field::Metadata, Field::PktMark]) {
        let value = flow.get(field);
        if value != 0 {
            fields.set_exact(field, value);
        }
    }
    fields
}

impl Limiters {
    /// The message back if it is to be sent now.
    fn offer(
        &mut self,
        is_miss: bool,
        port: OfPort,
        message: PacketIn,
        now: Instant,
    ) -> Option<PacketIn> {
        let limiter = match is_miss {
            true => &mut self.misses,
            false => &mut self.actions,
        };
        let Some(limit) = self.limit else {
            limiter.stats.sent += 1;
            return Some(message);
        };
        if limiter.waiting == 0 && limiter.take(limit, now) {
            limiter.stats.sent += 1;
            return Some(message);
        }
        limiter.stats.queued += 1;
        if limiter.waiting >= limit.burst as usize {
            limiter.drop_one();
        }
        limiter.queues.entry(port).or_default().push_back(message);
        limiter.waiting += 1;
        None
    }

    fn poll(&mut self, now: Instant) -> Option<PacketIn> {
        let limit = self.limit?;
        [&mut self.misses, &mut self.actions]
            .into_iter()
            .find_map(|l| l.poll(limit, now))
    }

    fn next_timeout(&self) -> Option<Instant> {
        let limit = self.limit?;
        [&self.misses, &self.actions]
            .into_iter()
            .filter_map(|l| l.next_timeout(limit))
            .min()
    }
}

impl Limiter {
    fn stats(&self) -> RateLimitStats {
        RateLimitStats {
            waiting: self.waiting as u64,
            ..self.stats
        }
    }

    /// Takes a token if there is one.
    fn take(&mut self, limit: RateLimit, now: Instant) -> bool {
        let full = u64::from(limit.burst.max(1)) * TOKEN;
        match self.filled {
            None => {
                self.tokens = full;
                self.filled = Some(now);
            }
            Some(filled) => {
                let ms = now.saturating_duration_since(filled).as_millis();
                let ms = u64::try_from(ms).unwrap_or(u64::MAX);
                // `rate` packets a second are as many thousandths each millisecond.
                let new = ms.saturating_mul(limit.rate.max(1).into());
                self.tokens = self.tokens.saturating_add(new).min(full);
                if ms > 0 {
                    self.filled = Some(filled + Duration::from_millis(ms));
                }
            }
        }
        let has_token = self.tokens >= TOKEN;
        if has_token {
            self.tokens -= TOKEN;
        }
        has_token
    }

    fn poll(&mut self, limit: RateLimit, now: Instant) -> Option<PacketIn> {
        if self.waiting == 0 || !self.take(limit, now) {
            return None;
        }
        let after = self.turn.map_or(OfPort(0), |p| OfPort(p.0.wrapping_add(1)));
        let next = self.queues.range(after..).next();
        let port = *next.or_else(|| self.queues.first_key_value())?.0;
        self.turn = Some(port);
        self.pop(port, VecDeque::pop_front)
    }

    fn next_timeout(&self, limit: RateLimit) -> Option<Instant> {
        if self.waiting == 0 {
            return None;
        }
        let missing = TOKEN.saturating_sub(self.tokens);
        let ms = missing.div_ceil(limit.rate.max(1).into());
        Some(self.filled? + Duration::from_millis(ms))
    }

    /// Gives up the newest packet of the longest queue.
    fn drop_one(&mut self) {
        let longest = self.queues.iter().max_by_key(|(_, q)| q.len());
        if let Some(port) = longest.map(|(port, _)| *port) {
            self.pop(port, VecDeque::pop_back);
            self.stats.dropped += 1;
        }
    }

    fn pop(
        &mut self,
        port: OfPort,
        pop: impl FnOnce(&mut VecDeque<PacketIn>) -> Option<PacketIn>,
    ) -> Option<PacketIn> {
        let queue = self.queues.get_mut(&port)?;
        let message = pop(queue);
        if queue.is_empty() {
            self.queues.remove(&port);
        }
        self.waiting -= usize::from(message.is_some());
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(n: u64) -> PacketIn {
        PacketIn {
            reason: PacketInReason::Action,
            table_id: 0,
            buffer_id: NO_BUFFER,
            total_len: 0,
            cookie: n,
            metadata: Match::new(),
            data: Bytes::new(),
            userdata: Bytes::new(),
            continuation: None,
        }
    }

    /// One packet of each port in turn, however many each has, and none before its time.
    #[test]
    fn ports_are_served_in_turn() {
        let start = Instant::now();
        let mut limiters = Limiters {
            limit: Some(RateLimit {
                rate: 1000,
                burst: 9,
            }),
            ..Limiters::default()
        };
        // The burst that may go at once.
        for n in 0..9 {
            let sent = limiters.offer(true, OfPort(1), message(n), start);
            assert!(sent.is_some());
        }
        for (port, n) in [(7, 5), (3, 2), (9, 2)] {
            for k in 0..n {
                let message = message(u64::from(port) * 10 + k);
                let sent = limiters.offer(true, OfPort(port), message, start);
                assert!(sent.is_none());
            }
        }
        assert_eq!(limiters.misses.stats().waiting, 9);
        assert!(limiters.poll(start).is_none(), "no token yet");
        let got: Vec<u64> = (1..=9u64)
            .map(|ms| {
                let now = start + Duration::from_millis(ms);
                let sent = limiters.poll(now).expect("one each millisecond");
                assert!(limiters.poll(now).is_none());
                sent.cookie
            })
            .collect();
        assert_eq!(got, [30, 70, 90, 31, 71, 91, 72, 73, 74]);
        assert_eq!(limiters.next_timeout(), None);
        let stats = limiters.misses.stats();
        let want = RateLimitStats {
            sent: 9,
            queued: 9,
            dropped: 0,
            waiting: 0,
        };
        assert_eq!(stats, want);
        assert_eq!(limiters.actions.stats(), RateLimitStats::default());
    }

    /// When too many wait, the longest queue gives way, and nothing is lost uncounted.
    #[test]
    fn the_longest_queue_gives_way() {
        let now = Instant::now();
        let mut limiters = Limiters {
            limit: Some(RateLimit {
                rate: 100,
                burst: 25,
            }),
            ..Limiters::default()
        };
        let mut offered = 0;
        for n in 0..500 {
            for port in [1, 1, 1, 2] {
                limiters.offer(false, OfPort(port), message(n), now);
                offered += 1;
                assert!(limiters.actions.waiting <= 25);
            }
        }
        let queue = |port| {
            limiters
                .actions
                .queues
                .get(&OfPort(port))
                .map(VecDeque::len)
        };
        let (flooded, other) = (queue(1).unwrap_or(0), queue(2).unwrap_or(0));
        assert!(flooded.abs_diff(other) <= 1, "{flooded} and {other}");
        let stats = limiters.actions.stats();
        assert_eq!(stats.sent + stats.queued, offered);
        assert_eq!(stats.queued - stats.dropped, stats.waiting);
    }

    /// A flooded port waits behind itself: the other port's packets come through in turn, and the
    /// rate is kept.
    #[test]
    fn a_flood_does_not_starve_other_ports() {
        let start = Instant::now();
        let mut limiters = Limiters {
            limit: Some(RateLimit {
                rate: 100,
                burst: 4,
            }),
            ..Limiters::default()
        };
        let mut sent = 0;
        for n in 0..1000 {
            sent += usize::from(
                limiters
                    .offer(false, OfPort(1), message(n), start)
                    .is_some(),
            );
        }
        assert_eq!(sent, 4, "the burst goes out at once");
        assert!(
            limiters
                .offer(false, OfPort(2), message(5000), start)
                .is_none()
        );
        assert_eq!(limiters.actions.waiting, 4);

        let mut got = Vec::new();
        let mut now = start;
        while let Some(at) = limiters.next_timeout() {
            assert!(at > now, "time must pass for a token");
            now = at;
            while let Some(m) = limiters.poll(now) {
                got.push(m.cookie);
            }
        }
        assert!(got[..2].contains(&5000), "{got:?}");
        assert_eq!(got.len(), 4);
        assert_eq!(now - start, Duration::from_millis(40));
        let stats = limiters.actions.stats;
        assert_eq!((stats.sent, stats.queued, stats.dropped), (4, 997, 993));
        // Misses have a limiter of their own.
        assert!(limiters.offer(true, OfPort(1), message(1), now).is_some());
    }
}
