//! Requests about groups and meters.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openflow::message::{
    FlowRemovedReason, GroupDesc, GroupFeatures, GroupMod, GroupStats, GroupType, MeterMod,
    MeterStats, PacketCounts,
};
use openflow::{Message, OfError, Version};
use packet::DpMeter;
use packet::meter::MeterCounters;

use crate::action_check::{self, Known};
use crate::conn::ConnId;
use crate::group::MAX_GROUPS;
use crate::meter::Place;
use crate::ofproto::{BridgeState, Effect, Ofproto};
use crate::snapshot::BridgeId;
use crate::table::{Change, Uses};

impl BridgeState {
    /// What actions can name.
    pub(super) fn known(&self) -> Known<'_> {
        Known {
            groups: &self.view.groups,
            meters: &self.meters,
        }
    }
}

impl Ofproto {
    /// Carries out a group-mod as if a connection of `version` had sent it; the flows that use a
    /// group go with it.
    ///
    /// Errors: those of [`crate::group::Groups::group_mod`] and of the buckets' actions.
    pub fn group_mod(
        &mut self,
        bridge: BridgeId,
        request: &GroupMod,
        version: Version,
        now: Instant,
    ) -> Result<(), OfError> {
        let changes = self.group_mod_start(bridge, request, version, now)?;
        self.flows_changed(bridge, &changes, None, now);
        self.mark_dirty();
        Ok(())
    }

    /// Changes the groups and the tables, and tells nobody; returns what became of flows.
    pub(crate) fn group_mod_start(
        &mut self,
        bridge: BridgeId,
        request: &GroupMod,
        version: Version,
        now: Instant,
    ) -> Result<Vec<Change>, OfError> {
        let Some(state) = self.bridges.get_mut(&bridge) else {
            return Ok(Vec::new());
        };
        for bucket in &request.buckets {
            action_check::check_bucket(&bucket.actions, version)?;
        }
        let mut groups = state.view.groups.clone();
        let gone = groups.group_mod(request, now)?;
        Arc::make_mut(&mut state.view).groups = groups;
        let mut changes = Vec::new();
        for id in gone {
            let reason = FlowRemovedReason::GroupDelete;
            let removed = state.tables.remove_users(Uses::Group(id), reason);
            changes.extend(removed.into_iter().map(Change::Removed));
        }
        Ok(changes)
    }

    /// Carries out a meter-mod; the flows that use a meter go with it.
    ///
    /// Errors: those of [`crate::meter::Meters::meter_mod`].
    pub fn meter_mod(
        &mut self,
        bridge: BridgeId,
        request: &MeterMod,
        now: Instant,
    ) -> Result<(), OfError> {
        let Some(state) = self.bridges.get_mut(&bridge) else {
            return Ok(());
        };
        let (changes, gone) = state
            .meters
            .meter_mod(request, &mut self.meter_numbers, now)?;
        Arc::make_mut(&mut state.view).meters = state.meters.view();
        let mut removed = Vec::new();
        for id in gone {
            let user = Uses::Meter(id);
            removed.extend(
                state
                    .tables
                    .remove_users(user, FlowRemovedReason::MeterDelete),
            );
        }
        let changes = changes.into_iter().map(Effect::ChangeMeter);
        self.effects.extend(changes);
        self.flows_removed(bridge, removed, now);
        self.mark_dirty();
        Ok(())
    }

    /// Counters that [`Effect::ReadMeterStats`] asked for, by OpenFlow's numbers.
    pub fn handle_meter_stats(
        &mut self,
        conn: ConnId,
        xid: u32,
        counted: &[(u32, MeterCounters)],
        now: Instant,
    ) {
        let Some(bridge) = self.conns.get(&conn).map(|c| c.bridge) else {
            return;
        };
        let Some(state) = self.bridges.get(&bridge) else {
            return;
        };
        let stats = counted.iter().filter_map(|(meter_id, counted)| {
            let meter_id = *meter_id;
            let meter = state.meters.get(meter_id)?;
            let mut sum = state.meters.controller_stats(meter_id);
            if let Place::Datapath(_) = meter.place {
                sum.add(counted);
            }
            let bands = sum.bands.iter().take(meter.config.bands.len());
            Some(MeterStats {
                meter_id,
                flow_count: state.tables.uses(Uses::Meter(meter_id)),
                input: PacketCounts {
                    packets: sum.packets,
                    bytes: sum.bytes,
                },
                duration: age(meter.created, now),
                bands: bands
                    .map(|band| PacketCounts {
                        packets: band.packets,
                        bytes: band.bytes,
                    })
                    .collect(),
            })
        });
        let reply = Message::MeterStatsReply(stats.collect());
        self.effects.push_back(Effect::Send {
            conn,
            xid,
            message: reply,
        });
    }
}

/// Milliseconds, as for flows.
fn age(created: Instant, now: Instant) -> Duration {
    Duration::from_millis(now.saturating_duration_since(created).as_millis() as u64)
}

pub(super) fn stats(bridge: &BridgeState, group_id: u32, now: Instant) -> Message {
    let groups = bridge.view.groups.asked(group_id).into_iter();
    let stats = groups.map(|group| GroupStats {
        group_id: group.id,
        ref_count: bridge.tables.uses(Uses::Group(group.id)),
        counts: group.counts(),
        duration: Some(age(group.created, now)),
        buckets: group.bucket_counts(),
    });
    Message::GroupStatsReply(stats.collect())
}

pub(super) fn descriptions(bridge: &BridgeState, group_id: u32) -> Message {
    let groups = bridge.view.groups.asked(group_id).into_iter();
    let descriptions = groups.map(|group| GroupDesc {
        group_id: group.id,
        group_type: group.group_type,
        selection: group.selection.clone(),
        buckets: group.buckets.iter().map(|b| b.bucket.clone()).collect(),
    });
    Message::GroupDescReply(descriptions.collect())
}

pub(super) fn features(version: Version) -> Message {
    /// `OFPAT_*` of 1.0: all but enqueue.
    const ACTIONS_10: u32 = (1 << 11) - 1;
    /// `OFPAT_*` of 1.1: output, the set actions but those of MPLS, push and pop of VLAN tags,
    /// set-queue, group, set and decrement of the TTL.
    const ACTIONS_11: u32 = 0x7ff | 1 << 17 | 1 << 18 | 1 << 21 | 1 << 22 | 1 << 23 | 1 << 24;
    /// `OFPAT_*` of 1.2 to 1.4: output, push and pop of VLAN tags, set-queue, group, set and
    /// decrement of the TTL, set-field.
    const ACTIONS_12: u32 = 1 | ACTIONS_11 & !0x7ff | 1 << 25;
    /// `OFPAT_*` of 1.5: copy-field too.
    const ACTIONS_15: u32 = ACTIONS_12 | 1 << 28;
    let actions = match version {
        Version::Of10 => ACTIONS_10,
        Version::Of11 => ACTIONS_11,
        Version::Of15 => ACTIONS_15,
        _ => ACTIONS_12,
    };
    Message::GroupFeaturesReply(GroupFeatures {
        types: GroupType::ALL.iter().fold(0, |all, t| all | 1 << t.wire()),
        capabilities: GroupFeatures::SELECT_WEIGHT
            | GroupFeatures::SELECT_LIVENESS
            | GroupFeatures::CHAINING,
        max_groups: [MAX_GROUPS as u32; 4],
        actions: [actions; 4],
    })
}

/// The meters of a statistics request, and the datapath's numbers for them.
///
/// Errors: `OFPMMFC_UNKNOWN_METER`.
pub(super) fn meters_to_read(
    bridge: &BridgeState,
    meter_id: u32,
) -> Result<Vec<(u32, Option<DpMeter>)>, OfError> {
    let meters = bridge.meters.asked(meter_id)?.into_iter();
    let numbers = meters.map(|(id, meter)| match meter.place {
        Place::Datapath(dp) => (id, Some(dp)),
        Place::Switch => (id, None),
    });
    Ok(numbers.collect())
}

/// Errors: `OFPMMFC_UNKNOWN_METER`.
pub(super) fn meter_configs(bridge: &BridgeState, meter_id: u32) -> Result<Message, OfError> {
    let meters = bridge.meters.asked(meter_id)?.into_iter();
    let configs = meters.map(|(_, meter)| meter.config.clone());
    Ok(Message::MeterConfigReply(configs.collect()))
}
