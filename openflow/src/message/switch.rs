//! Messages about the connection and the switch as a whole: hello, error, features,
//! configuration, description and tables.

use bytes::Bytes;

use super::port::bit_set;
use crate::error::OfError;
use crate::version::VersionBitmap;

/// `OFPT_HELLO`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The versions that the peer speaks.
    pub versions: VersionBitmap,
}

/// `OFPT_ERROR`, received or to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ErrorMessage {
    Known {
        error: OfError,
        /// The start of the message that failed, or text for a failed hello.
        data: Bytes,
    },
    /// Received with numbers that mean nothing here.
    Unknown {
        kind: u16,
        code: u16,
        /// For experimenter errors.
        experimenter: Option<u32>,
        data: Bytes,
    },
}

bit_set! {
    /// `OFPC_*` of a features reply. `STP` and `ARP_MATCH_IP` are named as in 1.0, where their
    /// bits 3 and 7 mean this; 1.1 and later use the bits of `GROUP_STATS` and `PORT_BLOCKED`.
    Capabilities {
        FLOW_STATS = 1 << 0,
        TABLE_STATS = 1 << 1,
        PORT_STATS = 1 << 2,
        /// 1.1 and later.
        GROUP_STATS = 1 << 3,
        IP_REASM = 1 << 5,
        QUEUE_STATS = 1 << 6,
        /// 1.0 to 1.1.
        ARP_MATCH_IP = 1 << 7,
        /// 1.2 and later.
        PORT_BLOCKED = 1 << 8,
        /// 1.4 and later.
        BUNDLES = 1 << 9,
        /// 1.4 and later.
        FLOW_MONITORING = 1 << 10,
        /// 1.0 only.
        STP = 1 << 31,
    }
}

/// `OFPT_FEATURES_REPLY`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SwitchFeatures {
    pub datapath_id: u64,
    pub n_buffers: u32,
    /// 255 at most.
    pub n_tables: u8,
    /// 1.3 and later: which auxiliary connection this is, 0 = the main one.
    pub auxiliary_id: u8,
    pub capabilities: Capabilities,
    /// 1.0 only: bits `1 << OFPAT_*`.
    pub actions: u32,
    /// 1.0 to 1.2; 1.3 asks with [`super::Message::PortDescRequest`].
    pub ports: Vec<super::PortDesc>,
}

/// What is done with IP fragments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum FragHandling {
    #[default]
    Normal,
    Drop,
    Reassemble,
    /// `nx-match`, Nicira's extension.
    NxMatch,
}

/// `OFPT_SET_CONFIG` and `OFPT_GET_CONFIG_REPLY`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SwitchConfig {
    pub frag: FragHandling,
    /// 1.0 to 1.2: packets with invalid TTL go to the controller.
    pub invalid_ttl_to_controller: bool,
    /// Bytes of a packet to send to the controller.
    pub miss_send_len: u16,
}

/// How a table is configured: `OFPT_TABLE_MOD`, and an entry of `OFPMP_TABLE_DESC`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableMod {
    /// [`super::TABLE_ALL`] for all, in requests.
    pub table_id: u8,
    /// Bits as on the wire: what to do with packets that miss in 1.1 and 1.2
    /// ([`TableMod::MISS_MASK`]); nothing in 1.3; [`TableMod::EVICTION`] and
    /// [`TableMod::VACANCY`] in 1.4 and later.
    pub config: u32,
    /// By what flows are chosen for eviction, `OFPTMPEF_*`; 1.4 and later.
    pub eviction_flags: Option<u32>,
    /// 1.4 and later.
    pub vacancy: Option<Vacancy>,
}

impl TableMod {
    pub const MISS_MASK: u32 = 3;
    /// A full table makes room for new flows.
    pub const EVICTION: u32 = 1 << 2;
    /// The switch tells how full the table is.
    pub const VACANCY: u32 = 1 << 3;
    /// All of `OFPTMPEF_*`: other reasons, importance, lifetime.
    pub const EVICTION_FLAGS: u32 = 7;
}

/// At which percentages of free space the switch tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vacancy {
    pub down: u8,
    pub up: u8,
    /// How much is free; 0 in requests.
    pub now: u8,
}

/// `OFPT_TABLE_STATUS`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableStatus {
    pub reason: TableReason,
    pub table: TableMod,
}

/// Why a table's status is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TableReason {
    VacancyDown,
    VacancyUp,
}

impl TableReason {
    pub const fn wire(self) -> u8 {
        match self {
            TableReason::VacancyDown => 3,
            TableReason::VacancyUp => 4,
        }
    }
}

/// `OFPMP_DESC`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desc {
    pub mfr_desc: String,
    pub hw_desc: String,
    pub sw_desc: String,
    pub serial_num: String,
    pub dp_desc: String,
}

/// Statistics of a table, and up to 1.2 what the table can do, in bits as they are on the wire.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableStats {
    pub table_id: u8,
    pub active_count: u32,
    pub lookup_count: u64,
    pub matched_count: u64,
    /// 1.0 to 1.2.
    pub name: String,
    /// 1.0 to 1.2.
    pub max_entries: u32,
    /// Fields that a flow may leave out: `OFPFW_*` of 1.0, `OFPFMF_*` of 1.1, `OFPXMT_*` numbers
    /// as bits in 1.2.
    pub wildcards: u64,
    /// Fields that a flow may match; 1.1 and 1.2.
    pub matches: u64,
    /// Numbers of instructions as bits; 1.1 and 1.2.
    pub instructions: u32,
    /// Numbers of actions as bits; 1.1 and 1.2.
    pub write_actions: u32,
    pub apply_actions: u32,
    /// Fields that actions may set; 1.2.
    pub write_set_fields: u64,
    pub apply_set_fields: u64,
    /// 1.2.
    pub metadata_match: u64,
    pub metadata_write: u64,
    /// What is done with packets that miss, `OFPTC_*`; 1.1 and 1.2.
    pub config: u32,
}
