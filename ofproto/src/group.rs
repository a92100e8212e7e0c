//! Groups: the table that group-mods change, and what translation reads of it.
//!
//! A group never changes: modifying one puts another in its place, with counters at zero, so a
//! snapshot goes on showing what it showed. Chains of groups may lead to groups that are not
//! there (packets end there), but not back to themselves.
//!
//! Called by `request`; read by `xlate::group`. Deleting the flows that use a group is `ofproto`'s
//! part.
//!
//! Source: OpenFlow 1.3.5, 5.6 and 6.5; OpenFlow 1.5.1, 6.7; where those leave a choice, what
//! ovs-vswitchd 3.1 was seen to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use openflow::message::{
    BUCKET_ALL, BUCKET_FIRST, BUCKET_LAST, Bucket, GROUP_ALL, GROUP_MAX, GroupCommand, GroupMod,
    GroupType, PacketCounts, Selection,
};
use openflow::{Action, OfError};

use crate::xlate::action_set;

/// Groups of one bridge.
pub const MAX_GROUPS: usize = 1 << 20;
/// Buckets of one group: what one message can say, and as many inserted.
const MAX_BUCKETS: usize = 8192;

/// A group.
#[derive(Debug)]
pub struct Group {
    pub id: u32,
    pub group_type: GroupType,
    pub selection: Option<Selection>,
    pub buckets: Vec<GroupBucket>,
    /// When it was added; modifying it keeps that.
    pub created: Instant,
    counters: Counters,
}

/// A bucket of a group.
#[derive(Debug)]
pub struct GroupBucket {
    pub bucket: Bucket,
    /// The bucket's actions in the order of an action set.
    pub actions: Vec<Action>,
    counters: Counters,
}

/// Packets and bytes. Handler threads, the revalidator and the main thread count here.
#[derive(Default, Debug)]
struct Counters {
    packets: AtomicU64,
    bytes: AtomicU64,
}

impl Counters {
    fn add(&self, packets: u64, bytes: u64) {
        self.packets.fetch_add(packets, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> PacketCounts {
        PacketCounts {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Group {
    fn new(
        id: u32,
        group_type: GroupType,
        selection: Option<Selection>,
        buckets: Vec<Bucket>,
        created: Instant,
    ) -> Group {
        let buckets = buckets.into_iter().map(|bucket| GroupBucket {
            actions: action_set::in_order(&bucket.actions),
            bucket,
            counters: Counters::default(),
        });
        Group {
            id,
            group_type,
            selection,
            buckets: buckets.collect(),
            created,
            counters: Counters::default(),
        }
    }

    /// Counts packets that went through the bucket with this index, or through all of them.
    pub fn credit(&self, bucket: Option<usize>, packets: u64, bytes: u64) {
        self.counters.add(packets, bytes);
        for (n, b) in self.buckets.iter().enumerate() {
            if bucket.is_none_or(|one| one == n) {
                b.counters.add(packets, bytes);
            }
        }
    }

    pub fn counts(&self) -> PacketCounts {
        self.counters.get()
    }

    /// What each bucket has counted.
    pub fn bucket_counts(&self) -> Vec<PacketCounts> {
        self.buckets.iter().map(|b| b.counters.get()).collect()
    }
}

/// Groups by number, as a snapshot has them.
#[derive(Clone, Default, Debug)]
pub struct Groups {
    by_id: Arc<BTreeMap<u32, Arc<Group>>>,
}

impl Groups {
    pub fn get(&self, id: u32) -> Option<&Arc<Group>> {
        self.by_id.get(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.by_id.values()
    }

    /// The groups that a request asks for.
    pub fn asked(&self, id: u32) -> Vec<&Arc<Group>> {
        match id {
            GROUP_ALL => self.iter().collect(),
            _ => self.get(id).into_iter().collect(),
        }
    }

    /// Is it the very same table?
    pub fn is_same(&self, other: &Groups) -> bool {
        Arc::ptr_eq(&self.by_id, &other.by_id)
    }

    /// Carries out a group-mod; returns the numbers of the groups that it deleted.
    ///
    /// Errors: `OFPGMFC_*`. After an error nothing has changed.
    pub fn group_mod(&mut self, request: &GroupMod, now: Instant) -> Result<Vec<u32>, OfError> {
        let id = request.group_id;
        let old = self.get(id).cloned();
        match (request.command, old) {
            (GroupCommand::Add, Some(_)) => Err(OfError::GmfcGroupExists),
            (GroupCommand::Add | GroupCommand::AddOrModify, None) if id > GROUP_MAX => {
                Err(OfError::GmfcInvalidGroup)
            }
            (GroupCommand::Add | GroupCommand::AddOrModify, None) => {
                if self.by_id.len() >= MAX_GROUPS {
                    return Err(OfError::GmfcOutOfGroups);
                }
                self.describe(request, now)
            }
            (GroupCommand::Modify | GroupCommand::AddOrModify, Some(old)) => {
                self.describe(request, old.created)
            }
            (GroupCommand::InsertBucket, Some(old)) => {
                let buckets = insert(&old, request)?;
                self.rebuild(&old, buckets)
            }
            (GroupCommand::RemoveBucket, Some(old)) => {
                let buckets = remove(&old, request.command_bucket_id)?;
                self.rebuild(&old, buckets)
            }
            (
                GroupCommand::Modify | GroupCommand::InsertBucket | GroupCommand::RemoveBucket,
                None,
            ) => Err(OfError::GmfcUnknownGroup),
            (GroupCommand::Delete, _) => Ok(self.delete(id)),
        }
    }

    fn describe(&mut self, request: &GroupMod, created: Instant) -> Result<Vec<u32>, OfError> {
        self.put(Group::new(
            request.group_id,
            request.group_type,
            request.selection.clone(),
            request.buckets.clone(),
            created,
        ))
    }

    fn rebuild(&mut self, old: &Group, buckets: Vec<Bucket>) -> Result<Vec<u32>, OfError> {
        self.put(Group::new(
            old.id,
            old.group_type,
            old.selection.clone(),
            buckets,
            old.created,
        ))
    }

    fn put(&mut self, group: Group) -> Result<Vec<u32>, OfError> {
        if group.buckets.len() > MAX_BUCKETS {
            return Err(OfError::GmfcOutOfBuckets);
        }
        if self.leads_back(&group) {
            return Err(OfError::GmfcLoop);
        }
        Arc::make_mut(&mut self.by_id).insert(group.id, Arc::new(group));
        Ok(Vec::new())
    }

    fn delete(&mut self, id: u32) -> Vec<u32> {
        if id == GROUP_ALL {
            let all = std::mem::take(&mut self.by_id);
            return all.keys().copied().collect();
        }
        if !self.by_id.contains_key(&id) {
            return Vec::new();
        }
        Arc::make_mut(&mut self.by_id).remove(&id);
        vec![id]
    }

    /// Would some chain of groups from `group` lead back to it?
    fn leads_back(&self, group: &Group) -> bool {
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<u32> = targets(group).collect();
        while let Some(id) = waiting.pop() {
            if id == group.id {
                return true;
            }
            if seen.insert(id)
                && let Some(next) = self.get(id)
            {
                waiting.extend(targets(next));
            }
        }
        false
    }
}

/// The groups that a group's buckets send to.
fn targets(group: &Group) -> impl Iterator<Item = u32> {
    let actions = group.buckets.iter().flat_map(|b| &b.bucket.actions);
    actions.filter_map(|action| match action {
        Action::Group(id) => Some(*id),
        _ => None,
    })
}

fn buckets(group: &Group) -> Vec<Bucket> {
    group.buckets.iter().map(|b| b.bucket.clone()).collect()
}

fn position(buckets: &[Bucket], id: u32) -> Result<usize, OfError> {
    let found = buckets.iter().position(|b| b.id == id);
    found.ok_or(OfError::GmfcUnknownBucket)
}

/// The group's buckets with those of the command behind the one that it names.
fn insert(group: &Group, request: &GroupMod) -> Result<Vec<Bucket>, OfError> {
    let mut buckets = buckets(group);
    let at = match request.command_bucket_id {
        BUCKET_FIRST => 0,
        BUCKET_LAST => buckets.len(),
        id => position(&buckets, id)?.saturating_add(1),
    };
    let mut ids: BTreeSet<u32> = buckets.iter().map(|b| b.id).collect();
    if !request.buckets.iter().all(|b| ids.insert(b.id)) {
        return Err(OfError::GmfcBucketExists);
    }
    buckets.splice(at..at, request.buckets.iter().cloned());
    Ok(buckets)
}

fn remove(group: &Group, id: u32) -> Result<Vec<Bucket>, OfError> {
    let mut buckets = buckets(group);
    match id {
        BUCKET_ALL => buckets.clear(),
        BUCKET_FIRST => drop(buckets.drain(..buckets.len().min(1))),
        BUCKET_LAST => drop(buckets.pop()),
        id => drop(buckets.remove(position(&buckets, id)?)),
    }
    Ok(buckets)
}
