//! `FlowsReply`: the answer to a request for the flows of whole tables, written one message at a
//! time.
//!
//! A table may have a million rules and a peer may read slowly, so nothing but references to the
//! rules is kept while the answer waits. Counters and ages are those of the time of writing.
//!
//! Source: OpenFlow 1.3.5, 7.3.5.2; OpenFlow 1.5.1, 7.3.5.2 and 7.3.5.3.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openflow::codec::{self, Dialect, EncodeError};
use openflow::message::{Flavor, FlowCounts, FlowStats};

use crate::rule::Rule;

/// What of the flows is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// All, as a flow statistics request of this flavor asks (`OFPMP_FLOW_DESC` in 1.5).
    Stats(Flavor),
    /// What they count: `OFPMP_FLOW_STATS` of 1.5.
    Counts,
}

/// What is left to write of an answer.
#[derive(Clone, Debug)]
pub struct FlowsReply {
    form: Form,
    rules: std::vec::IntoIter<Arc<Rule>>,
    is_done: bool,
}

impl FlowsReply {
    /// An answer with these rules, in this order.
    pub(crate) fn new(form: Form, rules: Vec<Arc<Rule>>) -> FlowsReply {
        FlowsReply {
            form,
            rules: rules.into_iter(),
            is_done: false,
        }
    }

    /// Is there no further message?
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The next message, with as many flows as fit; `None` after the last one.
    ///
    /// Errors: the version has no such message; nothing more comes after that.
    pub fn next_message(
        &mut self,
        dialect: Dialect,
        xid: u32,
        now: Instant,
    ) -> Option<Result<Vec<u8>, EncodeError>> {
        if self.is_done {
            return None;
        }
        let rules = self.rules.as_slice();
        let written = match self.form {
            Form::Stats(flavor) => {
                codec::flow_stats_part(rules, |rule| stats(rule, now), flavor, dialect, xid)
            }
            Form::Counts => codec::flow_counts_part(rules, |rule| counts(rule, now), dialect, xid),
        };
        let taken = written.as_ref().map_or(usize::MAX, |(_, taken)| *taken);
        self.rules.by_ref().take(taken).for_each(drop);
        self.is_done = self.rules.as_slice().is_empty();
        Some(written.map(|(message, _)| message))
    }
}

/// Two answers are equal when they are of the same form and about the very same rules.
impl PartialEq for FlowsReply {
    fn eq(&self, other: &FlowsReply) -> bool {
        let (ours, theirs) = (self.rules.as_slice(), other.rules.as_slice());
        self.form == other.form
            && ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

fn stats(rule: &Arc<Rule>, now: Instant) -> FlowStats {
    let secs = |since: Instant| {
        let secs = now.saturating_duration_since(since).as_secs();
        Some(u16::try_from(secs).unwrap_or(u16::MAX))
    };
    FlowStats {
        fields: rule.to_match(),
        cookie: rule.cookie,
        table_id: rule.table_id,
        priority: u16::try_from(rule.priority).unwrap_or(u16::MAX),
        idle_timeout: rule.idle_timeout,
        hard_timeout: rule.hard_timeout,
        importance: rule.importance,
        duration: millis_since(rule.created, now),
        idle_age: secs(rule.stats.used()),
        hard_age: secs(rule.modified),
        packet_count: rule.stats.packets(),
        byte_count: rule.stats.bytes(),
        flags: rule.flags,
        actions: rule.actions.to_vec(),
    }
}

fn counts(rule: &Arc<Rule>, now: Instant) -> FlowCounts {
    FlowCounts {
        fields: rule.to_match(),
        table_id: rule.table_id,
        reason: 0,
        priority: u16::try_from(rule.priority).unwrap_or(u16::MAX),
        duration: Some(millis_since(rule.created, now)),
        idle: Some(millis_since(rule.stats.used(), now)),
        packet_count: Some(rule.stats.packets()),
        byte_count: Some(rule.stats.bytes()),
    }
}

/// In milliseconds, as Open vSwitch reports it: finer digits only widen the output.
fn millis_since(at: Instant, now: Instant) -> Duration {
    let ms = now.saturating_duration_since(at).as_millis();
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use openflow::message::{FlowMod, FlowStatsReply, FlowStatsRequest, Message};
    use openflow::{Action, Field, Match, OfPort, Version};

    use super::*;
    use crate::table::FlowTables;

    fn tables(flows: u32, now: Instant) -> FlowTables {
        let mut tables = FlowTables::new(1);
        for n in 0..flows {
            let fields = Match::new()
                .with(Field::EthType, 0x0800)
                .with(Field::Ipv4Dst, n.into());
            let fm = FlowMod {
                priority: n as u16 % 3,
                table_id: Some(n as u8 % 2),
                fields,
                actions: vec![Action::Output {
                    port: OfPort(1 + n % 7),
                    max_len: 0,
                }],
                ..FlowMod::add()
            };
            tables.flow_mod(&fm, Version::Of13, now).unwrap();
        }
        tables
    }

    /// Message by message it is what the codec makes of the whole.
    #[test]
    fn parts_are_the_whole() {
        let start = Instant::now();
        let now = start + Duration::from_millis(1500);
        for flows in [0, 1, 3000] {
            let tables = tables(flows, start);
            let rules = tables.stats(&FlowStatsRequest::all()).unwrap();
            for version in Version::ALL.iter().copied() {
                for flavor in [Flavor::Standard, Flavor::Nicira] {
                    let dialect = Dialect::from(version);
                    let mut reply = FlowsReply::new(Form::Stats(flavor), rules.clone());
                    let mut parts = Vec::new();
                    while let Some(message) = reply.next_message(dialect, 7, now) {
                        parts.push(message.unwrap());
                    }
                    assert_eq!(parts.len() > 1, flows > 1, "{version:?}");
                    let whole = Message::FlowStatsReply(FlowStatsReply {
                        flavor,
                        flows: rules.iter().map(|rule| stats(rule, now)).collect(),
                    });
                    assert_eq!(parts.concat(), codec::encode(&whole, dialect, 7).unwrap());
                }
            }
            let mut reply = FlowsReply::new(Form::Counts, rules.clone());
            let dialect = Dialect::from(Version::Of15);
            let next = || reply.next_message(dialect, 7, now);
            let parts: Vec<Vec<u8>> = std::iter::from_fn(next).map(Result::unwrap).collect();
            let flows = rules.iter().map(|rule| counts(rule, now)).collect();
            let whole = Message::FlowCountsReply(flows);
            assert_eq!(parts.concat(), codec::encode(&whole, dialect, 7).unwrap());
        }
    }

    /// A version that has no such message gets nothing, once.
    #[test]
    fn what_a_version_lacks_is_an_error() {
        let mut reply = FlowsReply::new(Form::Counts, Vec::new());
        let mut next = || reply.next_message(Version::Of13.into(), 7, Instant::now());
        assert!(next().is_some_and(|part| part.is_err()));
        assert!(next().is_none());
    }
}
