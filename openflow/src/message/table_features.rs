//! What a table can do: `OFPMP_TABLE_FEATURES`.
//!
//! Source: OpenFlow 1.3.5, 7.3.5.5; OpenFlow 1.4.0, 7.3.5.5; OpenFlow 1.5.1, 7.3.5.18.

use super::{Property, TableStats};
use crate::field::{Field, FieldInfo, Maskable};
use crate::version::Version;

/// The bits of 1.0's wildcards (`OFPFW_*`).
pub(crate) const WILDCARDS_10: [(u64, Field); 12] = [
    (1 << 0, Field::InPort16),
    (1 << 1, Field::VlanVid),
    (1 << 2, Field::EthSrc),
    (1 << 3, Field::EthDst),
    (1 << 4, Field::EthType),
    (1 << 5, Field::IpProto),
    (1 << 6, Field::TcpSrc),
    (1 << 7, Field::TcpDst),
    (0x3f << 8, Field::Ipv4Src),
    (0x3f << 14, Field::Ipv4Dst),
    (1 << 20, Field::VlanPcp),
    (1 << 21, Field::NwTos),
];

/// The bits of 1.1's fields (`OFPFMF_*`).
pub(crate) const FIELDS_11: [(u64, Field); 15] = [
    (1 << 0, Field::InPort16),
    (1 << 1, Field::VlanVid),
    (1 << 2, Field::VlanPcp),
    (1 << 3, Field::EthType),
    (1 << 4, Field::NwTos),
    (1 << 5, Field::IpProto),
    (1 << 6, Field::TcpSrc),
    (1 << 7, Field::TcpDst),
    (1 << 8, Field::MplsLabel),
    (1 << 9, Field::MplsTc),
    (1 << 11, Field::EthSrc),
    (1 << 12, Field::EthDst),
    (1 << 13, Field::Ipv4Src),
    (1 << 14, Field::Ipv4Dst),
    (1 << 15, Field::Metadata),
];

/// The bit of a field in 1.2 (`OFPXMT_*` numbers); 0 for one that 1.2 does not have.
pub(crate) fn bit_12(info: &FieldInfo) -> u64 {
    const CLASS_OPENFLOW: u16 = 0x8000;
    let is_12 =
        |id: &&crate::field::WireId| id.class == CLASS_OPENFLOW && id.since <= Version::Of12.wire();
    let id = info.wire.iter().find(is_12);
    id.and_then(|id| 1u64.checked_shl(id.number.into()))
        .unwrap_or(0)
}

/// The features of one table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableFeatures {
    pub table_id: u8,
    /// `OFPTFC_*`: what a request of 1.5 is to do, such as [`TableFeatures::MODIFY`]; 0 elsewhere.
    pub command: u8,
    /// `OFPTFF_*`, 1.5.
    pub features: u32,
    pub name: String,
    pub metadata_match: u64,
    pub metadata_write: u64,
    /// `OFPTC_*`: what the table is set to in 1.3, what it could be set to from 1.4 on.
    pub capabilities: u32,
    pub max_entries: u32,
    /// For packets that match.
    pub others: TableInstructions,
    /// For packets that miss.
    pub miss: TableInstructions,
    /// Fields that a flow may match, and whether with any mask.
    pub matches: Vec<(Field, bool)>,
    /// Fields that a flow may leave out.
    pub wildcards: Vec<Field>,
    /// 1.5: of what is written, what other tables share, packet types; and of experimenters.
    pub other: Vec<Property>,
}

/// What flows of a table may do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableInstructions {
    /// `OFPIT_*` numbers.
    pub instructions: Vec<u16>,
    /// Tables that `goto_table` reaches.
    pub next_tables: Vec<u8>,
    pub write: TableActions,
    pub apply: TableActions,
}

/// What a list of actions may have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TableActions {
    /// `OFPAT_*` numbers.
    pub actions: Vec<u16>,
    pub set_fields: Vec<Field>,
}

impl TableFeatures {
    /// A command: change what is named.
    pub const MODIFY: u8 = 1;
    /// A command: let the table be used.
    pub const ENABLE: u8 = 2;
    /// A command: let it not be used.
    pub const DISABLE: u8 = 3;
    /// Bytes of a name, without the zero at its end.
    pub const NAME_MAX: usize = 31;

    /// Every match field and action that the codec and the field table have.
    pub fn supported(table_id: u8, n_tables: u8, max_entries: u32) -> TableFeatures {
        let fields = || {
            Field::all()
                .iter()
                .filter(|i| i.is_supported() && !i.wire.is_empty())
        };
        let actions = TableActions {
            actions: crate::codec::standard_actions(Version::Of13),
            set_fields: fields()
                .filter(|i| i.is_settable())
                .map(|i| i.field)
                .collect(),
        };
        let others = TableInstructions {
            instructions: crate::codec::standard_instructions(Version::Of13),
            next_tables: (table_id.saturating_add(1)..n_tables).collect(),
            write: actions.clone(),
            apply: actions,
        };
        TableFeatures {
            table_id,
            metadata_match: u64::MAX,
            metadata_write: u64::MAX,
            max_entries,
            miss: others.clone(),
            others,
            matches: fields()
                .map(|i| (i.field, i.maskable == Maskable::Any))
                .collect(),
            wildcards: fields().map(|i| i.field).collect(),
            ..TableFeatures::default()
        }
    }
}

impl TableStats {
    /// What the statistics of `version` say about what a table can do; nothing is counted yet.
    pub fn of(features: &TableFeatures, version: Version) -> TableStats {
        let stats = TableStats {
            table_id: features.table_id,
            ..TableStats::default()
        };
        if version >= Version::Of13 {
            return stats;
        }
        let matches = |field: Field| features.matches.iter().any(|(f, _)| *f == field);
        let stats = TableStats {
            name: features.name.clone(),
            max_entries: features.max_entries,
            ..stats
        };
        // What cannot be matched counts as left out in 1.0 and 1.1.
        let left_out = |field: Field| !matches(field) || features.wildcards.contains(&field);
        let bits = |table: &[(u64, Field)], has: &dyn Fn(Field) -> bool| {
            let set = table.iter().filter(|(_, field)| has(*field));
            set.fold(0, |bits, (bit, _)| bits | bit)
        };
        if version == Version::Of10 {
            return TableStats {
                wildcards: bits(&WILDCARDS_10, &left_out),
                ..stats
            };
        }
        let numbers = |list: &[u16]| {
            let bits = list.iter().filter_map(|n| 1u32.checked_shl((*n).into()));
            bits.fold(0, |all, bit| all | bit)
        };
        let (others, write) = (&features.others, &features.others.write);
        let stats = TableStats {
            instructions: numbers(&others.instructions),
            ..stats
        };
        if version == Version::Of11 {
            /// Set-field, which 1.1 does not have, and the actions that it has instead.
            const SET_FIELD: u32 = 1 << 25;
            const SET_ACTIONS: u32 = (1 << 11) - (1 << 1);
            let actions = |list: &[u16]| match numbers(list) {
                bits if bits & SET_FIELD != 0 => bits & !SET_FIELD | SET_ACTIONS,
                bits => bits,
            };
            return TableStats {
                wildcards: bits(&FIELDS_11, &left_out),
                matches: bits(&FIELDS_11, &matches),
                write_actions: actions(&write.actions),
                apply_actions: actions(&others.apply.actions),
                ..stats
            };
        }
        let oxm = |fields: &mut dyn Iterator<Item = Field>| {
            fields.fold(0, |bits, field| bits | bit_12(field.info()))
        };
        TableStats {
            wildcards: oxm(&mut features.wildcards.iter().copied()),
            matches: oxm(&mut features.matches.iter().map(|(f, _)| *f)),
            write_actions: numbers(&write.actions),
            apply_actions: numbers(&others.apply.actions),
            write_set_fields: oxm(&mut write.set_fields.iter().copied()),
            apply_set_fields: oxm(&mut others.apply.set_fields.iter().copied()),
            metadata_match: features.metadata_match,
            metadata_write: features.metadata_write,
            ..stats
        }
    }
}
