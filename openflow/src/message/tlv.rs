//! The table of Geneve options: which of them the fields `tun_metadata0` to `63` stand for.

/// What to do with mappings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TlvCommand {
    Add,
    Delete,
    /// Deletes all; the message has no mappings.
    Clear,
}

/// An option and the field that has its value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TlvMap {
    pub class: u16,
    pub kind: u8,
    /// Bytes of the value: a multiple of 4, at most [`TlvMap::MAX_LEN`].
    pub len: u8,
    /// Of the field, below [`TlvMap::FIELDS`].
    pub index: u16,
}

impl TlvMap {
    pub const FIELDS: u16 = 64;
    pub const MAX_LEN: u8 = 124;
}

/// `NXT_TLV_TABLE_MOD`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlvTableMod {
    pub command: TlvCommand,
    pub maps: Vec<TlvMap>,
}

/// `NXT_TLV_TABLE_REPLY`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlvTable {
    /// Bytes that the values of all options may have together.
    pub max_space: u32,
    pub max_fields: u16,
    pub maps: Vec<TlvMap>,
}
