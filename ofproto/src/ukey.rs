//! Ukeys ("userspace keys"): what userspace remembers of one installed megaflow.
//!
//! The revalidator thread owns them all; handler threads make them and send them over.
//! Source: OVS `ofproto/ofproto-dpif-upcall.c`, `struct udpif_key`.

use std::time::Instant;

use dpif::{FlowEntry, FlowStats};
use packet::{Action, FlowKey, FlowMask};

use crate::xlate::{Credit, MacLookup, Xlated};

/// The record of a megaflow.
#[derive(Debug)]
pub struct Ukey {
    /// A key of the megaflow: of the packet that made it, or for one that was found in the
    /// datapath the masked key. Soundness makes any of them as good as another.
    pub key: FlowKey,
    pub mask: FlowMask,
    /// As the datapath has them.
    pub actions: Vec<Action>,
    /// The snapshot that `actions` and `mask` were made from; `None`: not known, an earlier
    /// process made them.
    pub version: Option<u64>,
    pub credits: Box<[Credit]>,
    /// Stations that translation asked for.
    pub lookups: Box<[MacLookup]>,
    /// When it carried a packet last, or was installed.
    pub used: Instant,
    pub created: Instant,
    /// Statistics that were credited already.
    pub seen: FlowStats,
    /// The sweep that found it in the datapath last.
    pub sweep: u64,
}

/// What names a megaflow in the datapath.
pub type UkeyId = (FlowMask, FlowKey);

impl Ukey {
    /// For a megaflow that is about to be installed.
    pub fn new(key: &FlowKey, xlated: &Xlated, version: u64, now: Instant) -> Ukey {
        Ukey {
            key: *key,
            mask: xlated.mask,
            actions: xlated.megaflow_actions(),
            version: Some(version),
            credits: xlated.credits.clone().into_boxed_slice(),
            lookups: xlated.lookups.clone().into_boxed_slice(),
            used: now,
            created: now,
            seen: FlowStats::default(),
            sweep: 0,
        }
    }

    /// For a megaflow that an earlier process left. What it has counted so far was credited by
    /// that process.
    pub fn adopted(entry: &FlowEntry, now: Instant) -> Ukey {
        Ukey {
            key: entry.key,
            mask: entry.mask,
            actions: entry.actions.clone(),
            version: None,
            credits: Box::default(),
            lookups: Box::default(),
            used: now,
            created: now,
            seen: entry.stats,
            sweep: 0,
        }
    }

    pub fn id(&self) -> UkeyId {
        (self.mask, self.key.masked(&self.mask))
    }

    /// Packets and bytes that `stats` has beyond what was credited; remembers `stats`.
    pub fn take_delta(&mut self, stats: &FlowStats, now: Instant) -> (u64, u64) {
        let packets = stats.packets.saturating_sub(self.seen.packets);
        let bytes = stats.bytes.saturating_sub(self.seen.bytes);
        self.seen = *stats;
        if packets > 0 {
            let idle = stats.idle.unwrap_or_default();
            let used = now.checked_sub(idle).unwrap_or(now);
            self.used = self.used.max(used);
        }
        (packets, bytes)
    }
}
