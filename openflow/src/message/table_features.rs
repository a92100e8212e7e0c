//! What a table can do: `OFPMP_TABLE_FEATURES`.
//!
//! Source: OpenFlow 1.3.5, 7.3.5.5.

use crate::field::Field;

/// The features of one table; they are the same for a packet that misses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableFeatures {
    pub table_id: u8,
    pub name: String,
    pub metadata_match: u64,
    pub metadata_write: u64,
    pub config: u32,
    pub max_entries: u32,
    /// `OFPIT_*` numbers.
    pub instructions: Vec<u16>,
    /// Tables that `goto_table` reaches.
    pub next_tables: Vec<u8>,
    /// `OFPAT_*` numbers.
    pub write_actions: Vec<u16>,
    pub apply_actions: Vec<u16>,
    /// Fields that a flow may match.
    pub matches: Vec<Field>,
    /// Fields that a flow may leave out.
    pub wildcards: Vec<Field>,
    pub write_set_fields: Vec<Field>,
    pub apply_set_fields: Vec<Field>,
}

impl TableFeatures {
    /// Every match field and action that the codec and the field table have.
    pub fn supported(table_id: u8, n_tables: u8, max_entries: u32) -> TableFeatures {
        let fields = || {
            Field::all()
                .iter()
                .filter(|i| i.is_supported() && !i.wire.is_empty())
        };
        let matches: Vec<Field> = fields().map(|i| i.field).collect();
        let settable: Vec<Field> = fields()
            .filter(|i| i.is_settable())
            .map(|i| i.field)
            .collect();
        let actions = crate::codec::STANDARD_ACTIONS.to_vec();
        TableFeatures {
            table_id,
            name: String::new(),
            metadata_match: u64::MAX,
            metadata_write: u64::MAX,
            config: 0,
            max_entries,
            instructions: crate::codec::STANDARD_INSTRUCTIONS.to_vec(),
            next_tables: (table_id.saturating_add(1)..n_tables).collect(),
            write_actions: actions.clone(),
            apply_actions: actions,
            wildcards: matches.clone(),
            matches,
            write_set_fields: settable.clone(),
            apply_set_fields: settable,
        }
    }
}
