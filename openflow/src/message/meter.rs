//! Meters: meter-mods, configuration, statistics and features. OpenFlow 1.3 and later.

use std::time::Duration;

use bytes::Bytes;

use super::group::PacketCounts;

/// The highest number that a meter of its own can have; 0 is none.
pub const METER_MAX: u32 = 0xffff_0000;
/// Packets that Open vSwitch handles in userspace.
pub const METER_SLOWPATH: u32 = 0xffff_fffd;
/// Packets for controllers.
pub const METER_CONTROLLER: u32 = 0xffff_fffe;
/// All meters, in deletions and requests.
pub const METER_ALL: u32 = 0xffff_ffff;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MeterCommand {
    Add,
    Modify,
    Delete,
}

/// `OFPMF_*`; other bits are kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct MeterFlags(pub u16);

impl MeterFlags {
    /// Rates are in kilobits per second.
    pub const KBPS: MeterFlags = MeterFlags(1);
    /// Rates are in packets per second.
    pub const PKTPS: MeterFlags = MeterFlags(2);
    /// Bands say how much may come at once.
    pub const BURST: MeterFlags = MeterFlags(4);
    /// Statistics are wanted.
    pub const STATS: MeterFlags = MeterFlags(8);

    pub const fn contains(self, other: MeterFlags) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub const fn with(self, other: MeterFlags) -> MeterFlags {
        MeterFlags(self.0 | other.0)
    }
}

/// What a band does with packets above its rate.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum BandAction {
    Drop,
    /// Raises the drop precedence of the DSCP by so many levels.
    DscpRemark {
        prec_level: u8,
    },
    /// Something that an experimenter defines.
    Experimenter {
        experimenter: u32,
        data: Bytes,
    },
}

/// One rate of a meter.
///
/// Units: kilobits or packets per second, by [`MeterFlags`]; `burst` in kilobits or packets.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MeterBand {
    pub action: BandAction,
    pub rate: u32,
    pub burst: u32,
}

/// A meter as it is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MeterConfig {
    pub meter_id: u32,
    pub flags: MeterFlags,
    pub bands: Vec<MeterBand>,
}

/// `OFPT_METER_MOD`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MeterMod {
    pub command: MeterCommand,
    /// A deletion has a number only.
    pub meter: MeterConfig,
}

/// One meter in a statistics reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MeterStats {
    pub meter_id: u32,
    /// Flows that use the meter.
    pub flow_count: u32,
    /// What came to the meter.
    pub input: PacketCounts,
    /// Since it was added.
    pub duration: Duration,
    /// What each band was applied to.
    pub bands: Vec<PacketCounts>,
}

/// What meters a switch has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MeterFeatures {
    pub max_meters: u32,
    /// A bit for each type of band, by number.
    pub band_types: u32,
    /// `OFPMF_*`.
    pub capabilities: u32,
    pub max_bands: u8,
    pub max_color: u8,
}
