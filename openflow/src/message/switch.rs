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

/// A request that the switch understands well enough to refuse: the reply is `error`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    pub name: &'static str,
    pub error: OfError,
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

/// `OFPT_TABLE_MOD`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TableMod {
    /// [`super::TABLE_ALL`] for all.
    pub table_id: u8,
    /// Bits as on the wire; 1.3 gives meaning to none of them (`OFPTC_DEPRECATED_MASK`).
    pub config: u32,
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
