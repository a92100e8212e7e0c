//! Bundles: messages that a switch keeps and then carries out together, or not at all.

use bytes::Bytes;

use super::{Message, Property};

/// What a bundle control message asks or answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BundleControlKind {
    OpenRequest,
    OpenReply,
    CloseRequest,
    CloseReply,
    CommitRequest,
    CommitReply,
    DiscardRequest,
    DiscardReply,
}

impl BundleControlKind {
    const ALL: [BundleControlKind; 8] = [
        BundleControlKind::OpenRequest,
        BundleControlKind::OpenReply,
        BundleControlKind::CloseRequest,
        BundleControlKind::CloseReply,
        BundleControlKind::CommitRequest,
        BundleControlKind::CommitReply,
        BundleControlKind::DiscardRequest,
        BundleControlKind::DiscardReply,
    ];

    pub const fn wire(self) -> u16 {
        self as u16
    }

    pub fn from_wire(n: u16) -> Option<BundleControlKind> {
        BundleControlKind::ALL.get(usize::from(n)).copied()
    }

    /// The reply to a request; `None` for what is a reply itself.
    pub fn reply(self) -> Option<BundleControlKind> {
        match self {
            BundleControlKind::OpenRequest => Some(BundleControlKind::OpenReply),
            BundleControlKind::CloseRequest => Some(BundleControlKind::CloseReply),
            BundleControlKind::CommitRequest => Some(BundleControlKind::CommitReply),
            BundleControlKind::DiscardRequest => Some(BundleControlKind::DiscardReply),
            _ => None,
        }
    }
}

/// `OFPBF_*`. Bits that mean nothing are kept: flags of one bundle must be the same each time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct BundleFlags(pub u16);

impl BundleFlags {
    /// All or nothing, and never half of it seen.
    pub const ATOMIC: BundleFlags = BundleFlags(1);
    /// In the order of the messages.
    pub const ORDERED: BundleFlags = BundleFlags(2);
    /// At a time that the commit names; 1.5.
    pub const TIME: BundleFlags = BundleFlags(4);
}

impl std::ops::BitOr for BundleFlags {
    type Output = BundleFlags;

    fn bitor(self, other: BundleFlags) -> BundleFlags {
        BundleFlags(self.0 | other.0)
    }
}

/// `OFPT_BUNDLE_CONTROL`, 1.4 and later; in 1.3 the ONF's extension 230.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BundleControl {
    pub bundle_id: u32,
    pub kind: BundleControlKind,
    pub flags: BundleFlags,
}

/// `OFPT_BUNDLE_ADD_MESSAGE`; the message in it has the transaction id of the whole.
#[derive(Clone, PartialEq, Debug)]
pub struct BundleAdd {
    pub bundle_id: u32,
    pub flags: BundleFlags,
    /// A flow-mod, port-mod, group-mod or packet-out.
    pub message: Box<Message>,
    /// The same as it came on the wire, for error replies; empty in what is to be sent.
    pub raw: Bytes,
}

/// `OFPMP_BUNDLE_FEATURES` request, 1.5.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct BundleFeaturesRequest {
    /// [`BundleFeaturesRequest::TIMESTAMP`] and [`BundleFeaturesRequest::SET_SCHED`]
    pub flags: u32,
    pub time: Option<BundleTimes>,
    pub other: Vec<Property>,
}

impl BundleFeaturesRequest {
    /// `time` has a timestamp.
    pub const TIMESTAMP: u32 = 1;
    /// `time` has how far ahead and back commits are to be scheduled.
    pub const SET_SCHED: u32 = 2;
}

/// `OFPMP_BUNDLE_FEATURES` reply.
#[derive(Clone, PartialEq, Debug)]
pub struct BundleFeatures {
    /// The flags that bundles may have.
    pub capabilities: BundleFlags,
    /// Of a switch that commits at a given time.
    pub time: Option<BundleTimes>,
    pub other: Vec<Property>,
}

/// What a switch can do about the times of commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BundleTimes {
    pub accuracy: Time,
    pub max_future: Time,
    pub max_past: Time,
    pub timestamp: Time,
}

/// Since 1970, or how long: `struct ofp_time`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Time {
    pub seconds: u64,
    pub nanoseconds: u32,
}
