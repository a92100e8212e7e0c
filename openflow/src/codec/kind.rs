//! The table of messages: the name of each and where each version has it on the wire.
//!
//! ```text
//! message:                header, body
//! experimenter message:   header, experimenter(4), subtype(4), body
//! multipart message:      header, type(2), flags(2), pad(4) from 1.1 on, body
//! experimenter multipart: the same with type 0xffff, then experimenter(4), subtype(4),
//!                         pad(4) in 1.0, body
//! ```
//!
//! Decoder, encoder, printer and documentation read it. A message has one row even where its
//! body differs between versions; Nicira's and the ONF's forms of a standard message have rows
//! of their own.
//!
//! Source: OpenFlow 1.0.0, 5.1; OpenFlow 1.1.0 to 1.5.1, 7.1 and 7.3.5; `nicira-ext.h`; the
//! names are those that `ovs-ofctl ofp-print` shows.

use super::Header;
use crate::version::Version;
use crate::wire::{NICIRA, ONF};

pub(super) const OFPT_ERROR: u8 = 1;
pub(super) const OFPT_EXPERIMENTER: u8 = 4;
pub(super) const MULTIPART_EXPERIMENTER: u16 = 0xffff;

/// Where a message is found on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// By the type in the header.
    Type(u8),
    Experimenter {
        vendor: u32,
        subtype: u32,
    },
    /// By the type in a multipart message.
    Multipart(u16),
    MultipartExperimenter {
        vendor: u32,
        subtype: u32,
    },
}

const fn nxt(subtype: u32) -> Place {
    Place::Experimenter {
        vendor: NICIRA,
        subtype,
    }
}

const fn onf(subtype: u32) -> Place {
    Place::Experimenter {
        vendor: ONF,
        subtype,
    }
}

const fn mp(kind: u16) -> Place {
    Place::Multipart(kind)
}

const fn nxst(subtype: u32) -> Place {
    Place::MultipartExperimenter {
        vendor: NICIRA,
        subtype,
    }
}

const fn onfst(subtype: u32) -> Place {
    Place::MultipartExperimenter {
        vendor: ONF,
        subtype,
    }
}

/// What a message is to a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A controller asks or commands.
    Request,
    /// The switch answers, or tells unasked.
    Reply,
    /// Both ends send it.
    Both,
}

struct Row {
    kind: Kind,
    name: &'static str,
    way: Way,
    /// First and last version (wire numbers) and the place in these.
    places: &'static [(u8, u8, Place)],
}

macro_rules! kinds {
    ($($id:ident $name:literal $way:ident [$($first:literal ..= $last:literal $place:expr),*];)*) => {
        /// A kind of message.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Kind { $($id),* }

        const ROWS: &[Row] = &[$(Row {
            kind: Kind::$id,
            name: $name,
            way: Way::$way,
            places: &[$(($first, $last, $place)),*],
        }),*];
    };
}

use Place::Type as t;

// Versions are wire numbers: 1 is OpenFlow 1.0, 6 is 1.5.
kinds! {
    Hello "OFPT_HELLO" Both [1..=6 t(0)];
    Error "OFPT_ERROR" Reply [1..=6 t(OFPT_ERROR)];
    EchoRequest "OFPT_ECHO_REQUEST" Both [1..=6 t(2)];
    EchoReply "OFPT_ECHO_REPLY" Reply [1..=6 t(3)];
    FeaturesRequest "OFPT_FEATURES_REQUEST" Request [1..=6 t(5)];
    FeaturesReply "OFPT_FEATURES_REPLY" Reply [1..=6 t(6)];
    GetConfigRequest "OFPT_GET_CONFIG_REQUEST" Request [1..=6 t(7)];
    GetConfigReply "OFPT_GET_CONFIG_REPLY" Reply [1..=6 t(8)];
    SetConfig "OFPT_SET_CONFIG" Request [1..=6 t(9)];
    PacketIn "OFPT_PACKET_IN" Reply [1..=6 t(10)];
    NxPacketIn "NXT_PACKET_IN" Reply [1..=6 nxt(17)];
    NxPacketIn2 "NXT_PACKET_IN2" Reply [1..=6 nxt(30)];
    FlowRemoved "OFPT_FLOW_REMOVED" Reply [1..=6 t(11)];
    NxFlowRemoved "NXT_FLOW_REMOVED" Reply [1..=6 nxt(14)];
    PortStatus "OFPT_PORT_STATUS" Reply [1..=6 t(12)];
    PacketOut "OFPT_PACKET_OUT" Request [1..=6 t(13)];
    FlowMod "OFPT_FLOW_MOD" Request [1..=6 t(14)];
    NxFlowMod "NXT_FLOW_MOD" Request [1..=6 nxt(13)];
    GroupMod "OFPT_GROUP_MOD" Request [2..=6 t(15)];
    NxGroupMod "NXT_GROUP_MOD" Request [1..=1 nxt(31)];
    PortMod "OFPT_PORT_MOD" Request [1..=1 t(15), 2..=6 t(16)];
    TableMod "OFPT_TABLE_MOD" Request [2..=6 t(17)];
    BarrierRequest "OFPT_BARRIER_REQUEST" Request [1..=1 t(18), 2..=6 t(20)];
    BarrierReply "OFPT_BARRIER_REPLY" Reply [1..=1 t(19), 2..=6 t(21)];
    QueueGetConfigRequest "OFPT_QUEUE_GET_CONFIG_REQUEST" Request [1..=1 t(20), 2..=4 t(22)];
    QueueGetConfigReply "OFPT_QUEUE_GET_CONFIG_REPLY" Reply [1..=1 t(21), 2..=4 t(23)];
    RoleRequest "OFPT_ROLE_REQUEST" Request [3..=6 t(24)];
    RoleReply "OFPT_ROLE_REPLY" Reply [3..=6 t(25)];
    NxRoleRequest "NXT_ROLE_REQUEST" Request [1..=6 nxt(10)];
    NxRoleReply "NXT_ROLE_REPLY" Reply [1..=6 nxt(11)];
    GetAsyncRequest "OFPT_GET_ASYNC_REQUEST" Request [4..=6 t(26)];
    GetAsyncReply "OFPT_GET_ASYNC_REPLY" Reply [4..=6 t(27)];
    SetAsync "OFPT_SET_ASYNC" Request [4..=6 t(28)];
    NxSetAsyncConfig "NXT_SET_ASYNC_CONFIG" Request [1..=6 nxt(19)];
    NxSetAsyncConfig2 "NXT_SET_ASYNC_CONFIG2" Request [1..=4 nxt(27)];
    MeterMod "OFPT_METER_MOD" Request [4..=6 t(29)];
    RoleStatus "OFPT_ROLE_STATUS" Reply [5..=6 t(30)];
    TableStatus "OFPT_TABLE_STATUS" Reply [5..=6 t(31)];
    RequestForward "OFPT_REQUESTFORWARD" Reply [5..=6 t(32)];
    BundleControl "OFPT_BUNDLE_CONTROL" Both [5..=6 t(33)];
    OnfBundleControl "ONFT_BUNDLE_CONTROL" Both [4..=4 onf(2300)];
    BundleAddMessage "OFPT_BUNDLE_ADD_MESSAGE" Request [5..=6 t(34)];
    OnfBundleAddMessage "ONFT_BUNDLE_ADD_MESSAGE" Request [4..=4 onf(2301)];
    ControllerStatus "OFPT_CONTROLLER_STATUS" Reply [6..=6 t(35)];

    SetFlowFormat "NXT_SET_FLOW_FORMAT" Request [1..=1 nxt(12)];
    SetFlowModTableId "NXT_FLOW_MOD_TABLE_ID" Request [1..=6 nxt(15)];
    SetPacketInFormat "NXT_SET_PACKET_IN_FORMAT" Request [1..=6 nxt(16)];
    FlowAge "NXT_FLOW_AGE" Request [1..=6 nxt(18)];
    SetControllerId "NXT_SET_CONTROLLER_ID" Request [1..=6 nxt(20)];
    FlowMonitorCancel "NXT_FLOW_MONITOR_CANCEL" Request [1..=3 nxt(21)];
    OnfFlowMonitorCancel "ONFT_FLOW_MONITOR_CANCEL" Request [4..=4 onf(1870)];
    FlowMonitorPaused "NXT_FLOW_MONITOR_PAUSED" Reply [1..=3 nxt(22)];
    OnfFlowMonitorPaused "ONFT_FLOW_MONITOR_PAUSED" Reply [4..=4 onf(1871)];
    FlowMonitorResumed "NXT_FLOW_MONITOR_RESUMED" Reply [1..=3 nxt(23)];
    OnfFlowMonitorResumed "ONFT_FLOW_MONITOR_RESUMED" Reply [4..=4 onf(1872)];
    TlvTableMod "NXT_TLV_TABLE_MOD" Request [1..=6 nxt(24)];
    TlvTableRequest "NXT_TLV_TABLE_REQUEST" Request [1..=6 nxt(25)];
    TlvTableReply "NXT_TLV_TABLE_REPLY" Reply [1..=6 nxt(26)];
    Resume "NXT_RESUME" Request [1..=6 nxt(28)];
    CtFlushZone "NXT_CT_FLUSH_ZONE" Request [1..=6 nxt(29)];
    CtFlush "NXT_CT_FLUSH" Request [1..=6 nxt(32)];

    DescRequest "OFPST_DESC request" Request [1..=6 mp(0)];
    DescReply "OFPST_DESC reply" Reply [1..=6 mp(0)];
    FlowStatsRequest "OFPST_FLOW request" Request [1..=6 mp(1)];
    FlowStatsReply "OFPST_FLOW reply" Reply [1..=6 mp(1)];
    NxFlowStatsRequest "NXST_FLOW request" Request [1..=1 nxst(0)];
    NxFlowStatsReply "NXST_FLOW reply" Reply [1..=1 nxst(0)];
    AggregateRequest "OFPST_AGGREGATE request" Request [1..=6 mp(2)];
    AggregateReply "OFPST_AGGREGATE reply" Reply [1..=6 mp(2)];
    NxAggregateRequest "NXST_AGGREGATE request" Request [1..=1 nxst(1)];
    NxAggregateReply "NXST_AGGREGATE reply" Reply [1..=1 nxst(1)];
    TableStatsRequest "OFPST_TABLE request" Request [1..=6 mp(3)];
    TableStatsReply "OFPST_TABLE reply" Reply [1..=6 mp(3)];
    PortStatsRequest "OFPST_PORT request" Request [1..=6 mp(4)];
    PortStatsReply "OFPST_PORT reply" Reply [1..=6 mp(4)];
    QueueStatsRequest "OFPST_QUEUE request" Request [1..=6 mp(5)];
    QueueStatsReply "OFPST_QUEUE reply" Reply [1..=6 mp(5)];
    GroupStatsRequest "OFPST_GROUP request" Request [2..=6 mp(6)];
    GroupStatsReply "OFPST_GROUP reply" Reply [2..=6 mp(6)];
    GroupDescRequest "OFPST_GROUP_DESC request" Request [2..=6 mp(7)];
    GroupDescReply "OFPST_GROUP_DESC reply" Reply [2..=6 mp(7)];
    GroupFeaturesRequest "OFPST_GROUP_FEATURES request" Request [3..=6 mp(8)];
    GroupFeaturesReply "OFPST_GROUP_FEATURES reply" Reply [3..=6 mp(8)];
    NxGroupStatsRequest "NXST_GROUP request" Request [1..=1 nxst(7)];
    NxGroupStatsReply "NXST_GROUP reply" Reply [1..=1 nxst(7)];
    NxGroupDescRequest "NXST_GROUP_DESC request" Request [1..=1 nxst(8)];
    NxGroupDescReply "NXST_GROUP_DESC reply" Reply [1..=1 nxst(8)];
    NxGroupFeaturesRequest "NXST_GROUP_FEATURES request" Request [1..=2 nxst(9)];
    NxGroupFeaturesReply "NXST_GROUP_FEATURES reply" Reply [1..=2 nxst(9)];
    MeterStatsRequest "OFPST_METER request" Request [4..=6 mp(9)];
    MeterStatsReply "OFPST_METER reply" Reply [4..=6 mp(9)];
    MeterConfigRequest "OFPST_METER_CONFIG request" Request [4..=6 mp(10)];
    MeterConfigReply "OFPST_METER_CONFIG reply" Reply [4..=6 mp(10)];
    MeterFeaturesRequest "OFPST_METER_FEATURES request" Request [4..=6 mp(11)];
    MeterFeaturesReply "OFPST_METER_FEATURES reply" Reply [4..=6 mp(11)];
    TableFeaturesRequest "OFPST_TABLE_FEATURES request" Request [4..=6 mp(12)];
    TableFeaturesReply "OFPST_TABLE_FEATURES reply" Reply [4..=6 mp(12)];
    PortDescRequest "OFPST_PORT_DESC request" Request [1..=6 mp(13)];
    PortDescReply "OFPST_PORT_DESC reply" Reply [1..=6 mp(13)];
    TableDescRequest "OFPST_TABLE_DESC request" Request [5..=6 mp(14)];
    TableDescReply "OFPST_TABLE_DESC reply" Reply [5..=6 mp(14)];
    QueueDescRequest "OFPST_QUEUE_DESC request" Request [5..=6 mp(15)];
    QueueDescReply "OFPST_QUEUE_DESC reply" Reply [5..=6 mp(15)];
    FlowMonitorRequest "OFPST_FLOW_MONITOR request" Request [5..=6 mp(16)];
    FlowMonitorReply "OFPST_FLOW_MONITOR reply" Reply [5..=6 mp(16)];
    OnfFlowMonitorRequest "ONFST_FLOW_MONITOR request" Request [4..=4 onfst(1870)];
    OnfFlowMonitorReply "ONFST_FLOW_MONITOR reply" Reply [4..=4 onfst(1870)];
    NxFlowMonitorRequest "NXST_FLOW_MONITOR request" Request [1..=3 nxst(2)];
    NxFlowMonitorReply "NXST_FLOW_MONITOR reply" Reply [1..=3 nxst(2)];
    FlowStats15Request "OFPMP_FLOW_STATS request" Request [6..=6 mp(17)];
    FlowStats15Reply "OFPMP_FLOW_STATS reply" Reply [6..=6 mp(17)];
    ControllerStatusRequest "OFPMP_CONTROLLER_STATUS request" Request [6..=6 mp(18)];
    ControllerStatusReply "OFPMP_CONTROLLER_STATUS reply" Reply [6..=6 mp(18)];
    BundleFeaturesRequest "OFPMP_BUNDLE_FEATURES request" Request [6..=6 mp(19)];
    BundleFeaturesReply "OFPMP_BUNDLE_FEATURES reply" Reply [6..=6 mp(19)];
    IpfixBridgeRequest "NXST_IPFIX_BRIDGE request" Request [1..=6 nxst(3)];
    IpfixBridgeReply "NXST_IPFIX_BRIDGE reply" Reply [1..=6 nxst(3)];
    IpfixFlowRequest "NXST_IPFIX_FLOW request" Request [1..=6 nxst(4)];
    IpfixFlowReply "NXST_IPFIX_FLOW reply" Reply [1..=6 nxst(4)];
}

/// Rows found by the type in the header, for each version: the most frequent look-up.
const BY_TYPE: [[Option<Kind>; N_TYPES]; N_VERSIONS] = by_type();
const N_TYPES: usize = 40;
const N_VERSIONS: usize = 7;

const fn by_type() -> [[Option<Kind>; N_TYPES]; N_VERSIONS] {
    let mut found = [[None; N_TYPES]; N_VERSIONS];
    let mut row = 0;
    while row < ROWS.len() {
        let places = ROWS[row].places;
        let mut place = 0;
        while place < places.len() {
            if let (first, last, Place::Type(kind)) = places[place] {
                let mut version = first;
                while version <= last {
                    found[version as usize][kind as usize] = Some(ROWS[row].kind);
                    version += 1;
                }
            }
            place += 1;
        }
        row += 1;
    }
    found
}

impl Kind {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|row| row.kind)
    }

    fn row(self) -> &'static Row {
        // Rows are in the order of the variants; a test looks at that.
        &ROWS[self as usize]
    }

    /// As the specification or the extension names it, and as `ofp-print` shows it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub fn way(self) -> Way {
        self.row().way
    }

    /// Has `version` a form of it?
    pub fn is_in(self, version: Version) -> bool {
        self.place(version).is_some()
    }

    pub(super) fn place(self, version: Version) -> Option<Place> {
        let version = version.wire();
        let mut places = self.row().places.iter();
        let found = places.find(|(first, last, _)| (*first..=*last).contains(&version));
        found.map(|(_, _, place)| *place)
    }

    /// The kind that a type in the header names, in a version given by its wire number.
    pub(super) fn by_type(version: u8, kind: u8) -> Option<Kind> {
        *BY_TYPE.get(usize::from(version))?.get(usize::from(kind))?
    }

    /// The kind at a place other than a type in the header.
    pub(super) fn find(version: Version, place: Place, reply: bool) -> Option<Kind> {
        let way = |way| match way {
            Way::Request => !reply,
            Way::Reply => reply,
            Way::Both => true,
        };
        let is_experimenter = matches!(place, Place::Experimenter { .. });
        let found = |row: &&Row| {
            let here = |(first, last, at): &(u8, u8, Place)| {
                *at == place && (*first..=*last).contains(&version.wire())
            };
            (is_experimenter || way(row.way)) && row.places.iter().any(here)
        };
        ROWS.iter().find(found).map(|row| row.kind)
    }
}

/// The types in the header that carry multipart messages: request and reply.
pub(super) const fn multipart_types(version: Version) -> (u8, u8) {
    match version {
        Version::Of10 => (16, 17),
        _ => (18, 19),
    }
}

/// By type: errors, replies, and what switches send unasked. Experimenter messages count as
/// requests.
pub(super) fn is_reply(header: &Header) -> bool {
    if let Some(kind) = Kind::by_type(header.version, header.kind) {
        return kind.way() == Way::Reply;
    }
    Version::from_wire(header.version).is_some_and(|v| multipart_types(v).1 == header.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_order_and_no_place_is_taken_twice() {
        let mut taken = Vec::new();
        for (n, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, n);
            for (first, last, place) in row.places {
                for version in *first..=*last {
                    let way = match place {
                        Place::Type(_) | Place::Experimenter { .. } => Way::Both,
                        _ => row.way,
                    };
                    assert!(!taken.contains(&(version, *place, way)), "{}", row.name);
                    taken.push((version, *place, way));
                }
            }
        }
    }

    #[test]
    fn places_find_their_kinds() {
        for version in Version::ALL {
            for kind in Kind::all() {
                let found = match kind.place(*version) {
                    None => continue,
                    Some(Place::Type(n)) => Kind::by_type(version.wire(), n),
                    Some(place) => Kind::find(*version, place, kind.way() == Way::Reply),
                };
                assert_eq!(found, Some(kind));
            }
        }
    }
}
