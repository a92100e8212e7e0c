//! Ports, their statistics, changes and queues.

use std::time::Duration;

use packet::{EthAddr, OfPort};

use super::Property;

/// A set of named bits.
macro_rules! bit_set {
    ($(#[$doc:meta])* $name:ident { $($(#[$bdoc:meta])* $bit:ident = $value:expr),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
        pub struct $name(pub u32);

        impl $name {
            $($(#[$bdoc])* pub const $bit: $name = $name($value);)*

            pub const fn empty() -> $name {
                $name(0)
            }

            pub const fn contains(self, other: $name) -> bool {
                self.0 & other.0 == other.0
            }

            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// `self` with the bits of `other` set.
            #[must_use]
            pub const fn union(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }

            /// `self` without the bits of `other`.
            #[must_use]
            pub const fn minus(self, other: $name) -> $name {
                $name(self.0 & !other.0)
            }
        }

        impl std::ops::BitOr for $name {
            type Output = $name;

            fn bitor(self, other: $name) -> $name {
                self.union(other)
            }
        }
    };
}
pub(crate) use bit_set;

bit_set! {
    /// `OFPPC_*`: what the controller wants of a port. `NO_STP`, `NO_RECV_STP` and `NO_FLOOD`
    /// are of 1.0 only.
    PortConfig {
        PORT_DOWN = 1 << 0,
        NO_STP = 1 << 1,
        NO_RECV = 1 << 2,
        NO_RECV_STP = 1 << 3,
        NO_FLOOD = 1 << 4,
        NO_FWD = 1 << 5,
        NO_PACKET_IN = 1 << 6,
    }
}

bit_set! {
    /// `OFPPS_*`: what the port is. The spanning tree state is of 1.0 only, `BLOCKED` and `LIVE`
    /// of 1.1 and later.
    PortState {
        LINK_DOWN = 1 << 0,
        BLOCKED = 1 << 1,
        LIVE = 1 << 2,
        STP_LISTEN = 0 << 8,
        STP_LEARN = 1 << 8,
        STP_FORWARD = 2 << 8,
        STP_BLOCK = 3 << 8,
        STP_MASK = 3 << 8,
    }
}

bit_set! {
    /// `OFPPF_*` in the numbering of 1.1 and later.
    PortFeatures {
        TEN_MB_HD = 1 << 0,
        TEN_MB_FD = 1 << 1,
        HUNDRED_MB_HD = 1 << 2,
        HUNDRED_MB_FD = 1 << 3,
        ONE_GB_HD = 1 << 4,
        ONE_GB_FD = 1 << 5,
        TEN_GB_FD = 1 << 6,
        FORTY_GB_FD = 1 << 7,
        HUNDRED_GB_FD = 1 << 8,
        ONE_TB_FD = 1 << 9,
        OTHER = 1 << 10,
        COPPER = 1 << 11,
        FIBER = 1 << 12,
        AUTONEG = 1 << 13,
        PAUSE = 1 << 14,
        PAUSE_ASYM = 1 << 15,
    }
}

impl PortFeatures {
    /// The highest speed in the set, in kbps; 0 when there is none.
    pub fn max_speed_kbps(self) -> u32 {
        const SPEEDS: [(u32, u32); 7] = [
            (1 << 9, 1_000_000_000),
            (1 << 8, 100_000_000),
            (1 << 7, 40_000_000),
            (1 << 6, 10_000_000),
            (3 << 4, 1_000_000),
            (3 << 2, 100_000),
            (3, 10_000),
        ];
        SPEEDS
            .iter()
            .find(|(bits, _)| self.0 & bits != 0)
            .map_or(0, |(_, kbps)| *kbps)
    }
}

/// Description of a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortDesc {
    pub port: OfPort,
    pub hw_addr: EthAddr,
    /// At most 15 bytes go on the wire.
    pub name: String,
    pub config: PortConfig,
    pub state: PortState,
    pub curr: PortFeatures,
    pub advertised: PortFeatures,
    pub supported: PortFeatures,
    pub peer: PortFeatures,
    /// Not in 1.0, where it follows from `curr`.
    pub curr_speed_kbps: u32,
    /// Not in 1.0, where it follows from `supported`.
    pub max_speed_kbps: u32,
    /// 1.4 and later: of optical ports, pipelines, experimenters.
    pub other: Vec<Property>,
}

/// `OFPT_PORT_STATUS`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortStatus {
    pub reason: super::PortReason,
    pub desc: PortDesc,
}

/// `OFPT_PORT_MOD`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortMod {
    pub port: OfPort,
    /// Must be that of the port.
    pub hw_addr: EthAddr,
    pub config: PortConfig,
    /// The bits of `config` to change.
    pub mask: PortConfig,
    /// Empty: do not change.
    pub advertise: PortFeatures,
    /// 1.4 and later: for optical ports and experimenters.
    pub other: Vec<Property>,
}

/// Statistics of a port; `u64::MAX` for a counter that is not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortStats {
    pub port: OfPort,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_frame_errors: u64,
    pub rx_over_errors: u64,
    pub rx_crc_errors: u64,
    pub collisions: u64,
    /// 1.3 and later; since the port was added.
    pub duration: Option<Duration>,
    /// 1.4 and later, as Intel's property has them: the counters of RFC 2819 in the order of
    /// Open vSwitch's `Interface.statistics`: received packets by seven ranges of length, sent
    /// ones likewise, multicasts sent, broadcasts received and sent, four kinds of errors.
    pub rfc_2819: Option<Box<[u64; RFC_2819_COUNTERS]>>,
    /// 1.4 and later, as Intel's property has them.
    pub custom: Vec<CustomCounter>,
    /// 1.4 and later: of optical ports and experimenters.
    pub other: Vec<Property>,
}

/// How many counters of RFC 2819 there are.
pub const RFC_2819_COUNTERS: usize = 21;

/// A counter that a kind of port has for itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustomCounter {
    /// At most 255 bytes go on the wire.
    pub name: String,
    pub value: u64,
}

impl PortStats {
    /// Of a port of which nothing is counted.
    pub fn unknown(port: OfPort) -> PortStats {
        PortStats {
            port,
            rx_packets: u64::MAX,
            tx_packets: u64::MAX,
            rx_bytes: u64::MAX,
            tx_bytes: u64::MAX,
            rx_dropped: u64::MAX,
            tx_dropped: u64::MAX,
            rx_errors: u64::MAX,
            tx_errors: u64::MAX,
            rx_frame_errors: u64::MAX,
            rx_over_errors: u64::MAX,
            rx_crc_errors: u64::MAX,
            collisions: u64::MAX,
            duration: None,
            rfc_2819: None,
            custom: Vec::new(),
            other: Vec::new(),
        }
    }
}

/// Request for queue statistics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueStatsRequest {
    /// [`OfPort::ANY`] for all ports.
    pub port: OfPort,
    /// [`super::QUEUE_ALL`] for all queues.
    pub queue: u32,
}

/// Statistics of a queue; `u64::MAX` for a counter that is not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueStats {
    pub port: OfPort,
    pub queue: u32,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    /// 1.3 and later.
    pub duration: Option<Duration>,
    /// 1.4 and later: of experimenters.
    pub other: Vec<Property>,
}

/// A queue in `OFPT_QUEUE_GET_CONFIG_REPLY` and `OFPMP_QUEUE_DESC`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueConfig {
    pub port: OfPort,
    pub queue: u32,
    /// In tenths of a percent of the port's rate; `None` when there is no minimum.
    pub min_rate: Option<u16>,
    /// In tenths of a percent; `None` when there is no maximum.
    pub max_rate: Option<u16>,
    /// 1.4 and later: of experimenters.
    pub other: Vec<Property>,
}
