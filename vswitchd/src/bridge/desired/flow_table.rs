//! Flow tables of a bridge, as the database configures them.
//!
//! Source: ovs-vswitchd.conf.db(5), table Flow_Table.

use std::collections::BTreeMap;

use ofproto::classifier_pattern::PrefixField;
use ofproto::snapshot::N_TABLES;
use ofproto::table::TableConf;
use openflow::text::subfield;
use openflow::text::token::Piece;
use ovsdb::replica::Row;

use super::super::unsupported;

/// The names of fields that may have prefix trees, and that there are none.
pub const PREFIXES: [&str; 9] = [
    "ip_dst", "ip_src", "ipv4_dst", "ipv4_src", "ipv6_dst", "ipv6_src", "none", "nw_dst", "nw_src",
];

/// Reads the tables of a bridge; what cannot be is put into `problems`.
pub fn flow_tables(bridge: &Row<'_>, problems: &mut Vec<String>) -> BTreeMap<u8, TableConf> {
    let mut tables = BTreeMap::new();
    for (number, row) in bridge.reference_map("flow_tables") {
        problems.extend(unsupported::of(&row));
        let number = number.as_i64().and_then(|n| u8::try_from(n).ok());
        match number.filter(|n| usize::from(*n) < N_TABLES) {
            Some(number) => drop(tables.insert(number, flow_table(&row, problems))),
            None => problems.push(format!(
                "{} of Bridge {} is not supported (tables are 0 to {})",
                whose(&row),
                bridge.string("name").unwrap_or_default(),
                N_TABLES - 1
            )),
        }
    }
    tables
}

fn flow_table(row: &Row<'_>, problems: &mut Vec<String>) -> TableConf {
    let default = TableConf::default();
    let mut groups = Vec::new();
    for text in row.strings("groups") {
        match subfield::parse(Piece::new(text)) {
            Ok(group) => groups.push(group),
            Err(error) => problems.push(format!(
                "groups={text} of {} is not supported ({})",
                whose(row),
                error.kind
            )),
        }
    }
    let prefixes: Vec<&str> = row.strings("prefixes").collect();
    TableConf {
        name: row.string("name").unwrap_or_default().to_owned(),
        max_rules: row
            .integer("flow_limit")
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(default.max_rules),
        evicts: row.string("overflow_policy") == Some("evict"),
        groups,
        prefixes: match prefixes.is_empty() {
            true => default.prefixes,
            false => prefixes.into_iter().filter_map(prefix).collect(),
        },
    }
}

fn prefix(name: &str) -> Option<PrefixField> {
    match name {
        "ip_dst" | "ipv4_dst" | "nw_dst" => Some(PrefixField::Ipv4Dst),
        "ip_src" | "ipv4_src" | "nw_src" => Some(PrefixField::Ipv4Src),
        "ipv6_dst" => Some(PrefixField::Ipv6Dst),
        "ipv6_src" => Some(PrefixField::Ipv6Src),
        _ => None,
    }
}

fn whose(row: &Row<'_>) -> String {
    match row.string("name") {
        Some(name) => format!("Flow_Table {name}"),
        None => "a Flow_Table without a name".to_owned(),
    }
}
