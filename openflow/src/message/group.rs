//! Groups: group-mods, descriptions, statistics and features.

use std::collections::BTreeSet;
use std::time::Duration;

use packet::OfPort;

use super::GROUP_ANY;
use crate::action::Action;
use crate::field::Field;

/// The highest number that a group can have.
pub const GROUP_MAX: u32 = 0xffff_ff00;
/// All groups, in group-mods that delete and in requests.
pub const GROUP_ALL: u32 = 0xffff_fffc;

/// The highest number that a bucket can have.
pub const BUCKET_MAX: u32 = 0xffff_ff00;
/// Before all buckets that are there.
pub const BUCKET_FIRST: u32 = 0xffff_fffd;
/// Behind all buckets that are there.
pub const BUCKET_LAST: u32 = 0xffff_fffe;
/// All buckets; in a command that is about no bucket, and for a bucket that has no number yet.
pub const BUCKET_ALL: u32 = 0xffff_ffff;

/// What a group does with its buckets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupType {
    /// The packet goes through all of them.
    All,
    /// Through one, by weight and by what the packet is.
    Select,
    /// There is one bucket.
    Indirect,
    /// Through the first that is alive.
    FastFailover,
}

impl GroupType {
    pub const ALL: [GroupType; 4] = [
        GroupType::All,
        GroupType::Select,
        GroupType::Indirect,
        GroupType::FastFailover,
    ];

    /// `OFPGT_*`.
    pub const fn wire(self) -> u8 {
        self as u8
    }

    pub fn from_wire(n: u8) -> Option<GroupType> {
        GroupType::ALL.into_iter().find(|t| t.wire() == n)
    }

    /// The weight of a bucket that says none.
    pub const fn default_weight(self) -> u16 {
        match self {
            GroupType::Select => 1,
            _ => 0,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum GroupCommand {
    Add,
    Modify,
    Delete,
    /// 1.5; Open vSwitch takes it in every version, under the same number.
    InsertBucket,
    /// 1.5.
    RemoveBucket,
    /// Of Open vSwitch: add, or modify what is there.
    AddOrModify,
}

impl GroupCommand {
    /// Is it about some buckets of a group that is there?
    pub const fn is_about_buckets(self) -> bool {
        matches!(
            self,
            GroupCommand::InsertBucket | GroupCommand::RemoveBucket
        )
    }
}

/// One list of actions of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// In 1.5 and in Nicira's form for 1.0; decoders of other versions number buckets from 0.
    pub id: u32,
    /// Counts in groups of type [`GroupType::Select`].
    pub weight: u16,
    /// The bucket is alive only while this port is; [`OfPort::ANY`] for none.
    pub watch_port: OfPort,
    /// The bucket is alive only while this group is; [`GROUP_ANY`] for none.
    pub watch_group: u32,
    /// Done as an action set is.
    pub actions: Vec<Action>,
}

impl Bucket {
    /// A bucket without number or anything to watch.
    pub fn new(weight: u16, actions: Vec<Action>) -> Bucket {
        Bucket {
            id: BUCKET_ALL,
            weight,
            watch_port: OfPort::ANY,
            watch_group: GROUP_ANY,
            actions,
        }
    }

    /// Gives buckets without a number ([`BUCKET_ALL`]) the lowest that are free.
    pub fn number(buckets: &mut [Bucket]) {
        let mut used: BTreeSet<u32> = buckets.iter().map(|b| b.id).collect();
        let mut free = 0;
        for bucket in buckets.iter_mut().filter(|b| b.id > BUCKET_MAX) {
            while !used.insert(free) {
                free += 1;
            }
            bucket.id = free;
        }
    }

    /// Does the bucket depend on a port or a group?
    pub fn watches(&self) -> bool {
        self.watch_port != OfPort::ANY || self.watch_group != GROUP_ANY
    }
}

/// How a select group chooses: `NTRT_SELECTION_METHOD`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selection {
    /// `hash` or `dp_hash`; text may say others, which switches refuse. At most
    /// [`Selection::MAX_METHOD_LEN`] bytes.
    pub method: String,
    pub param: u64,
    /// Fields that are hashed, each once and in the order that [`Selection::sort`] makes, and the
    /// bits of them that count.
    pub fields: Vec<(Field, u128)>,
}

impl Selection {
    /// The wire has a zero byte behind it.
    pub const MAX_METHOD_LEN: usize = 15;

    pub const HASH: &'static str = "hash";
    pub const DP_HASH: &'static str = "dp_hash";

    /// Puts fields in the order in which Open vSwitch keeps them: metadata before headers.
    pub fn sort(fields: &mut [(Field, u128)]) {
        fields.sort_by_key(|(field, _)| (rank(*field), *field));
    }
}

/// Groups of fields, in the order of Open vSwitch's `enum mf_field_id`.
fn rank(field: Field) -> u8 {
    use Field::*;
    match field {
        f if f <= PacketType => 0,
        f if (TunId..Reg0).contains(&f) => 1,
        Metadata => 2,
        SkbPriority | PktMark => 4,
        f if f < EthSrc => 3,
        f if (CtState..Metadata).contains(&f) => 5,
        f if (Reg0..PktMark).contains(&f) => 6,
        f if f <= Ipv6Dst => 7,
        Ipv6Label | IpProto => 8,
        NwTos | IpDscp | IpEcn | IpTtl => 9,
        IpFrag => 10,
        f if (ArpOp..=ArpTha).contains(&f) => 11,
        f if f < ArpOp => 12,
        _ => 13,
    }
}

/// `OFPT_GROUP_MOD` and `NXT_GROUP_MOD`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupMod {
    pub command: GroupCommand,
    pub group_type: GroupType,
    /// [`GROUP_ALL`] in a deletion of all.
    pub group_id: u32,
    /// Where to insert, or what to remove; [`BUCKET_ALL`] otherwise.
    pub command_bucket_id: u32,
    pub selection: Option<Selection>,
    pub buckets: Vec<Bucket>,
}

/// A group as a description reply has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupDesc {
    pub group_id: u32,
    pub group_type: GroupType,
    pub selection: Option<Selection>,
    pub buckets: Vec<Bucket>,
}

/// What a group or one of its buckets has counted; `u64::MAX` is "not kept".
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PacketCounts {
    pub packets: u64,
    pub bytes: u64,
}

/// One group in a statistics reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupStats {
    pub group_id: u32,
    /// Flows that use the group.
    pub ref_count: u32,
    pub counts: PacketCounts,
    /// Since it was added; `None` in 1.1 and 1.2.
    pub duration: Option<Duration>,
    pub buckets: Vec<PacketCounts>,
}

/// What groups a switch has. The arrays are indexed by [`GroupType`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct GroupFeatures {
    /// A bit for each type.
    pub types: u32,
    /// `OFPGFC_*`.
    pub capabilities: u32,
    pub max_groups: [u32; 4],
    /// Actions that buckets may have, in the bits of the version.
    pub actions: [u32; 4],
}

impl GroupFeatures {
    /// `OFPGFC_SELECT_WEIGHT`
    pub const SELECT_WEIGHT: u32 = 1;
    /// `OFPGFC_SELECT_LIVENESS`
    pub const SELECT_LIVENESS: u32 = 2;
    /// `OFPGFC_CHAINING`
    pub const CHAINING: u32 = 4;
}
