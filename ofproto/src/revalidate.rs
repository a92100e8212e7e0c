//! The revalidator: keeps the datapath's megaflows in step with the tables, credits their packets,
//! and deletes what is not used.
//!
//! It owns every [`Ukey`]. Its owner, a thread, dumps the datapath's flows now and then and calls
//! [`Revalidator::sweep`], or calls [`Revalidator::revalidate_all`] when the cache must agree with
//! a snapshot before something is answered (a barrier). Both return datapath operations; their
//! results go to [`Revalidator::settle`].
//!
//! A megaflow whose ukey is of an older snapshot is translated again. It stays when mask and
//! actions still say the same, gets new actions in place when only those changed, and goes when
//! the new mask has bits that the installed one lacks: it would answer packets that now differ.
//! One that an earlier process left has no ukey; it is adopted from the dump in the same way, so
//! a restart costs no packet of a flow that is still right.
//!
//! Source: OVS `ofproto/ofproto-dpif-upcall.c`, `revalidate` and `revalidate_ukey`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::HashMap;
use dpif::{DpOp, Error, FlowEntry};

use crate::changes::Changes;
use crate::snapshot::Snapshot;
use crate::ukey::{Ukey, UkeyId};
use crate::upcall::{Effect, credit};
use crate::xlate::{Credit, XlateIn, Xlated, xlate};

/// `other_config:max-idle`, by default.
pub const DEFAULT_MAX_IDLE: Duration = Duration::from_secs(10);
/// `other_config:flow-limit`, by default.
pub const DEFAULT_FLOW_LIMIT: usize = 200_000;
/// Idle time that a flow is allowed while there are more than the limit.
const CROWDED_IDLE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// A flow without packets for this long is deleted.
    pub max_idle: Duration,
    /// Beyond this number flows are deleted sooner; at twice the number all are.
    pub flow_limit: usize,
    /// Longest action list that the datapath runs.
    pub max_actions: usize,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Revalidator {
    ukeys: HashMap<UkeyId, Ukey>,
    /// What most ukeys were made from or checked against last.
    confirmed: Option<Arc<Snapshot>>,
    /// Counts sweeps.
    sweeps: u64,
}

/// What a sweep comes to.
#[derive(Debug, Default)]
pub struct Swept {
    /// For the datapath.
    pub ops: Vec<DpOp>,
    /// For the owner of the switch, each station once.
    pub effects: Vec<Effect>,
    pub counts: Counts,
}

/// What happened to flows.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    pub kept: usize,
    /// Got new actions.
    pub replaced: usize,
    /// Deleted because they were no longer right.
    pub invalid: usize,
    /// Deleted because no packets came, or for lack of room.
    pub expired: usize,
    /// Found in the datapath without a record.
    pub adopted: usize,
    /// Translations done.
    pub translated: usize,
}

enum Decision {
    Keep,
    Replace,
    Delete,
}

impl Revalidator {
    pub fn new() -> Revalidator {
        Revalidator::default()
    }

    /// Number of megaflows that are known.
    pub fn len(&self) -> usize {
        self.ukeys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ukeys.is_empty()
    }

    pub fn ukeys(&self) -> impl Iterator<Item = &Ukey> {
        self.ukeys.values()
    }

    /// Takes the records of megaflows that handlers installed.
    ///
    /// A handler may have worked with an older snapshot: `revalidate_all` or the next sweep deals
    /// with those, as their version tells.
    pub fn add(&mut self, ukeys: impl IntoIterator<Item = Ukey>) {
        for ukey in ukeys {
            // The datapath refuses a second insert, so a record that is there is of a flow that
            // went away meanwhile.
            self.ukeys.insert(ukey.id(), ukey);
        }
    }

    /// Goes over all flows: `dump` is what the datapath has, from a dump begun at `begun`.
    pub fn sweep(
        &mut self,
        snapshot: &Snapshot,
        dump: &[FlowEntry],
        begun: Instant,
        now: Instant,
        settings: &Settings,
    ) -> Swept {
        let mut swept = Swept::default();
        let max_idle = match dump.len() > settings.flow_limit {
            true => CROWDED_IDLE.min(settings.max_idle),
            false => settings.max_idle,
        };
        let delete_all = dump.len() > settings.flow_limit.saturating_mul(2);
        self.sweeps = self.sweeps.wrapping_add(1);
        let sweep = self.sweeps;
        let mut stations = BTreeSet::new();
        for entry in dump {
            let id = (entry.mask, entry.key.masked(&entry.mask));
            let ukey = self.ukeys.entry(id).or_insert_with(|| {
                swept.counts.adopted += 1;
                Ukey::adopted(entry, now)
            });
            let (packets, bytes) = ukey.take_delta(&entry.stats, now);
            if packets > 0 {
                // By what the flow did while it carried them.
                let used = ukey.used;
                let credited = credit(snapshot, &ukey.credits, packets, bytes, used);
                stations.extend(credited.iter().map(|s| (s.bridge, s.port, s.vlan, s.mac)));
            }
            let idle = now.saturating_duration_since(ukey.used) >= max_idle;
            if idle || delete_all {
                swept.counts.expired += 1;
                swept.ops.push(delete(ukey));
                self.ukeys.remove(&id);
                continue;
            }
            ukey.sweep = sweep;
            step(ukey, snapshot, settings, &mut swept.ops, &mut swept.counts);
        }
        // Flows that are gone without our doing. Those made after the dump began are not in it.
        self.ukeys
            .retain(|_, ukey| ukey.created >= begun || ukey.sweep == sweep);
        let refresh = |(bridge, port, vlan, mac)| {
            Effect::Refresh(crate::xlate::Station {
                bridge,
                port,
                vlan,
                mac,
            })
        };
        swept.effects = stations.into_iter().map(refresh).collect();
        swept
    }

    /// Brings flows up to date for which `snapshot` says what was said before: same mask and
    /// actions, same rules to credit. Returns true when others are left.
    ///
    /// Most changes concern few flows, and what changed tells which those may be: the others are
    /// not even translated. All this goes without a dump, which otherwise has to come before
    /// [`Revalidator::revalidate_all`], so that packets are credited to the rules that they met.
    pub fn confirm_all(&mut self, snapshot: &Arc<Snapshot>, settings: &Settings) -> bool {
        let old = self.confirmed.replace(Arc::clone(snapshot));
        if self.ukeys.is_empty() {
            return false;
        }
        let changes = old.as_ref().map(|old| Changes::between(old, snapshot));
        let old_version = old.as_ref().map(|old| old.version);
        let mut left = false;
        for ukey in self.ukeys.values_mut() {
            if ukey.version == Some(snapshot.version) {
                continue;
            }
            if let Some(changes) = &changes
                && ukey.version == old_version
                && !changes.concern(ukey)
            {
                ukey.version = Some(snapshot.version);
                continue;
            }
            let xlated = translate(ukey, snapshot, settings.max_actions);
            if ukey.version.is_some()
                && ukey.mask.covers(&xlated.mask)
                && ukey.actions == xlated.megaflow_actions()
                && same_credits(&ukey.credits, &xlated.credits)
            {
                ukey.version = Some(snapshot.version);
                ukey.lookups = xlated.lookups.into_boxed_slice();
            } else {
                left = true;
            }
        }
        left
    }

    /// The operations that make the datapath's cache agree with `snapshot`.
    ///
    /// The guarantee that a barrier needs: once they are carried out, and all handlers are past
    /// older snapshots with their records added here, no packet is answered by an older one.
    pub fn revalidate_all(&mut self, snapshot: &Snapshot, settings: &Settings) -> Swept {
        let mut swept = Swept::default();
        for ukey in self.ukeys.values_mut() {
            step(ukey, snapshot, settings, &mut swept.ops, &mut swept.counts);
        }
        swept
    }

    /// Takes the results of operations from this revalidator; returns what is to be done about
    /// those that failed.
    pub fn settle(&mut self, ops: &[DpOp], results: &[Result<(), Error>]) -> Vec<DpOp> {
        let mut more = Vec::new();
        for (op, result) in std::iter::zip(ops, results) {
            match op {
                DpOp::FlowDel { key, mask } => {
                    let done = matches!(result, Ok(()) | Err(Error::NoSuchFlow));
                    if done {
                        self.ukeys.remove(&(*mask, key.masked(mask)));
                    }
                }
                // New actions that the datapath did not take: without them the flow must not stay.
                DpOp::FlowPut { key, mask, .. } if result.is_err() => {
                    more.push(DpOp::FlowDel {
                        key: *key,
                        mask: *mask,
                    });
                }
                _ => {}
            }
        }
        more
    }

    /// Forgets everything, as after a flush of the datapath's flows.
    pub fn clear(&mut self) {
        self.ukeys.clear();
    }
}

/// Brings one flow up to date with `snapshot`.
fn step(
    ukey: &mut Ukey,
    snapshot: &Snapshot,
    settings: &Settings,
    ops: &mut Vec<DpOp>,
    counts: &mut Counts,
) {
    if ukey.version == Some(snapshot.version) {
        counts.kept += 1;
        return;
    }
    counts.translated += 1;
    match revalidate(ukey, snapshot, settings.max_actions) {
        Decision::Keep => counts.kept += 1,
        Decision::Replace => {
            counts.replaced += 1;
            ops.push(DpOp::FlowPut {
                key: ukey.key,
                mask: ukey.mask,
                actions: ukey.actions.clone(),
                replace: true,
            });
        }
        Decision::Delete => {
            counts.invalid += 1;
            ops.push(delete(ukey));
        }
    }
}

fn translate(ukey: &Ukey, snapshot: &Snapshot, max_actions: usize) -> Xlated {
    match XlateIn::received(snapshot, &ukey.key, max_actions) {
        Some(input) => xlate(snapshot, &input),
        None => Xlated::unknown_port(&ukey.key),
    }
}

/// True when packets count for the same rules, tables, ports and stations.
fn same_credits(a: &[Credit], b: &[Credit]) -> bool {
    let same = |(a, b): (&Credit, &Credit)| match (a, b) {
        // A modified rule goes on with the counters of the one before.
        (Credit::Rule(_, a), Credit::Rule(_, b)) => Arc::ptr_eq(&a.stats, &b.stats),
        (Credit::Table(a, t, m), Credit::Table(b, u, n)) => (a, t, m) == (b, u, n),
        (Credit::PatchSent(a, p), Credit::PatchSent(b, q))
        | (Credit::PatchReceived(a, p), Credit::PatchReceived(b, q)) => (a, p) == (b, q),
        (Credit::Group(_, a, m), Credit::Group(_, b, n)) => Arc::ptr_eq(a, b) && m == n,
        (Credit::NoBucket(a), Credit::NoBucket(b)) => a == b,
        (Credit::Station(a), Credit::Station(b)) => a == b,
        _ => false,
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

fn revalidate(ukey: &mut Ukey, snapshot: &Snapshot, max_actions: usize) -> Decision {
    let xlated = translate(ukey, snapshot, max_actions);
    if !ukey.mask.covers(&xlated.mask) {
        return Decision::Delete;
    }
    let actions = xlated.megaflow_actions();
    ukey.version = Some(snapshot.version);
    ukey.credits = xlated.credits.into_boxed_slice();
    ukey.lookups = xlated.lookups.into_boxed_slice();
    if ukey.actions == actions {
        return Decision::Keep;
    }
    ukey.actions = actions;
    Decision::Replace
}

fn delete(ukey: &Ukey) -> DpOp {
    DpOp::FlowDel {
        key: ukey.key,
        mask: ukey.mask,
    }
}

/// The flow limit to go on with, after a sweep over `flows` flows took `took`: a machine that is
/// too slow for its flows gets fewer, one that keeps up gets more, at most `configured`.
///
/// Source: OVS `ofproto/ofproto-dpif-upcall.c`, `udpif_revalidator`.
pub fn next_flow_limit(limit: usize, configured: usize, flows: usize, took: Duration) -> usize {
    const LEAST: usize = 1000;
    let ms = usize::try_from(took.as_millis())
        .unwrap_or(usize::MAX)
        .max(1);
    let next = if ms > 2000 {
        limit / (ms / 1000)
    } else if ms > 1300 {
        limit / 4 * 3
    } else if ms < 1000 && limit < flows.saturating_mul(1000) / ms {
        limit.saturating_add(1000)
    } else {
        limit
    };
    next.clamp(LEAST.min(configured), configured)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
