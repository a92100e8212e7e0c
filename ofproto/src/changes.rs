//! What changed between two snapshots, and which megaflows that concerns.
//!
//! A snapshot is published for every new station and every flow-mod; translating all megaflows
//! again for each would cost more than the packets do. Snapshots share what did not change, so the
//! difference is found by comparing references, and a translation has told which tables it
//! visited and which stations it asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use packet::FlowKey;

use crate::snapshot::{Bridge, BridgeId, Snapshot};
use crate::ukey::Ukey;
use crate::xlate::{Credit, MAX_NOTES};

/// The difference between two snapshots.
#[derive(Debug)]
pub struct Changes<'a> {
    old: &'a Snapshot,
    new: &'a Snapshot,
    /// Bridges that differ; bridges that came or went have all of them changed.
    bridges: BTreeMap<BridgeId, BridgeChanges>,
}

#[derive(Debug)]
enum BridgeChanges {
    /// Ports or settings: anything may be different.
    Everything,
    Parts {
        tables: BTreeSet<u8>,
        groups: bool,
        macs: bool,
    },
}

impl<'a> Changes<'a> {
    pub fn between(old: &'a Snapshot, new: &'a Snapshot) -> Changes<'a> {
        let ids = old.bridges.keys().chain(new.bridges.keys());
        let bridges = ids.filter_map(|id| {
            let change = match (old.bridges.get(id), new.bridges.get(id)) {
                (Some(a), Some(b)) if Arc::ptr_eq(a, b) => return None,
                (Some(a), Some(b)) => compare(a, b),
                _ => BridgeChanges::Everything,
            };
            Some((*id, change))
        });
        Changes {
            old,
            new,
            bridges: bridges.collect(),
        }
    }

    /// True when translating the megaflow again could give something else than it gave with the
    /// old snapshot.
    pub fn concern(&self, ukey: &Ukey) -> bool {
        if ukey.credits.len() >= MAX_NOTES || ukey.lookups.len() >= MAX_NOTES {
            // The record is not complete.
            return true;
        }
        if self.entrance(self.old, &ukey.key) != self.entrance(self.new, &ukey.key) {
            return true;
        }
        if self.bridges.is_empty() {
            return false;
        }
        let changed = |bridge: &BridgeId| self.bridges.get(bridge);
        let entered = self.entrance(self.new, &ukey.key).map(|(bridge, _)| bridge);
        if entered.is_some_and(|b| matches!(changed(&b), Some(BridgeChanges::Everything))) {
            return true;
        }
        let visited = ukey.credits.iter().any(|credit| match credit {
            Credit::Table(bridge, table_id, _) => match changed(bridge) {
                Some(BridgeChanges::Everything) => true,
                Some(BridgeChanges::Parts { tables, .. }) => tables.contains(table_id),
                None => false,
            },
            Credit::PatchSent(bridge, _) | Credit::PatchReceived(bridge, _) => {
                matches!(changed(bridge), Some(BridgeChanges::Everything))
            }
            // A group's buckets may lead to others and depend on them.
            Credit::Group(bridge, ..) | Credit::NoBucket(bridge) => matches!(
                changed(bridge),
                Some(BridgeChanges::Parts { groups: true, .. })
            ),
            Credit::Rule(..) | Credit::Station(_) => false,
        });
        visited
            || ukey.lookups.iter().any(|l| {
                matches!(
                    changed(&l.bridge),
                    Some(BridgeChanges::Parts { macs: true, .. })
                ) && self
                    .new
                    .bridge(l.bridge)
                    .is_none_or(|b| b.macs.lookup(l.vlan, l.mac) != l.port)
            })
    }

    fn entrance(&self, snapshot: &Snapshot, key: &FlowKey) -> Option<(BridgeId, packet::OfPort)> {
        snapshot.dp_ports.get(&key.in_port()).copied()
    }
}

fn compare(old: &Bridge, new: &Bridge) -> BridgeChanges {
    // Every field of a bridge is looked at here, or said not to matter.
    let Bridge {
        id: _,
        name: _,
        datapath_id: _,
        hw_addr: _,
        fail_mode: _,
        ports,
        tables,
        groups,
        meters,
        packet_in_on_miss,
        controller_connected: _,
        macs,
        forward_bpdu,
    } = new;
    let same = Arc::ptr_eq(&old.ports, ports)
        && old.meters == *meters
        && old.packet_in_on_miss == *packet_in_on_miss
        && old.forward_bpdu == *forward_bpdu;
    match same {
        false => BridgeChanges::Everything,
        true => BridgeChanges::Parts {
            tables: old.tables.changed(tables).collect(),
            groups: !old.groups.is_same(groups),
            macs: !old.macs.is_same(macs),
        },
    }
}
