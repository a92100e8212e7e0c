//! `show`: the configuration as a tree, and `emer-reset`: back to a clean state.
//!
//! Source: ovs-vsctl(8), "Open vSwitch Commands".

use ovsdb::schema::TableSchema;
use ovsdb::value::Atom;
use ovsdb::{Datum, Uuid, text};

use crate::context::{Context, Output};

/// How a table appears in the tree: by which column, and with which others below.
pub struct Shown {
    pub table: &'static str,
    pub name: Option<&'static str>,
    pub columns: &'static [&'static str],
}

/// The first is the root of the tree.
pub static SHOWN: &[Shown] = &[
    Shown {
        table: "Open_vSwitch",
        name: None,
        columns: &["manager_options", "bridges", "ovs_version"],
    },
    Shown {
        table: "Bridge",
        name: Some("name"),
        columns: &["controller", "fail_mode", "datapath_type", "ports"],
    },
    Shown {
        table: "Port",
        name: Some("name"),
        columns: &["tag", "trunks", "interfaces"],
    },
    Shown {
        table: "Interface",
        name: Some("name"),
        columns: &["type", "options", "error"],
    },
    Shown {
        table: "Controller",
        name: Some("target"),
        columns: &["is_connected"],
    },
    Shown {
        table: "Manager",
        name: Some("target"),
        columns: &["is_connected"],
    },
];

fn shown(table: &str) -> Option<&'static Shown> {
    SHOWN.iter().find(|shown| shown.table == table)
}

/// `show`
pub fn show(ctx: &mut Context<'_>) -> Output {
    let mut text = String::new();
    for row in ctx.txn.rows("Open_vSwitch") {
        if let Some(root) = shown("Open_vSwitch") {
            show_row(ctx, root, row, 0, &mut text);
        }
    }
    Output::text(text)
}

/// References go from a table to one further down in [`SHOWN`], so the recursion ends.
fn show_row(ctx: &Context<'_>, shown_as: &Shown, row: Uuid, level: usize, out: &mut String) {
    let Some(schema) = ctx.schema().table(shown_as.table) else {
        return;
    };
    out.push_str(&"    ".repeat(level));
    match shown_as.name {
        Some(name) => {
            out.push_str(shown_as.table);
            out.push(' ');
            out.push_str(&column_text(ctx, schema, shown_as.table, row, name));
        }
        None => out.push_str(&row.hyphenated().to_string()),
    }
    out.push('\n');
    for column in shown_as.columns {
        let Some(column_schema) = schema.columns.get(*column) else {
            continue;
        };
        let column_type = &column_schema.column_type;
        let value = ctx.txn.read(shown_as.table, row, column);
        let target = column_type
            .key
            .reference()
            .and_then(|(table, _)| shown(table));
        if let Some(target) = target {
            for uuid in value.iter().filter_map(Atom::as_uuid) {
                if ctx.txn.has_row(target.table, uuid) {
                    show_row(ctx, target, uuid, level.saturating_add(1), out);
                }
            }
            continue;
        }
        if !value.is_default(column_type) {
            out.push_str(&"    ".repeat(level.saturating_add(1)));
            out.push_str(column);
            out.push_str(": ");
            out.push_str(&text::to_text(&value, column_type));
            out.push('\n');
        }
    }
}

fn column_text(
    ctx: &Context<'_>,
    schema: &TableSchema,
    table: &str,
    row: Uuid,
    column: &str,
) -> String {
    let value = ctx.txn.read(table, row, column);
    match schema.columns.get(column) {
        Some(column) => text::to_text(&value, &column.column_type),
        None => value.to_string(),
    }
}

/// What `emer-reset` empties, by table.
pub static RESET: &[(&str, &[&str])] = &[
    ("Open_vSwitch", &["manager_options", "ssl"]),
    (
        "Bridge",
        &[
            "controller",
            "fail_mode",
            "mirrors",
            "netflow",
            "sflow",
            "ipfix",
            "flood_vlans",
        ],
    ),
    ("Port", &["other_config"]),
];

/// Numbers that `emer-reset` sets to 0.
pub static RESET_NUMBERS: &[&str] = &["ingress_policing_rate", "ingress_policing_burst"];

/// Tables whose rows `emer-reset` deletes.
pub static RESET_TABLES: &[&str] = &[
    "Mirror",
    "Controller",
    "Manager",
    "NetFlow",
    "SSL",
    "sFlow",
    "IPFIX",
    "Flow_Sample_Collector_Set",
];

/// `emer-reset`
pub fn emer_reset(ctx: &mut Context<'_>) -> Output {
    for (table, columns) in RESET {
        for row in ctx.txn.rows(table) {
            for column in *columns {
                ctx.txn.write(table, row, column, Datum::empty());
            }
        }
    }
    for row in ctx.txn.rows("Bridge") {
        // The one setting without which a bridge might change its address.
        let mut config = ctx.txn.read("Bridge", row, "other_config");
        config.retain(|key, _| key.as_str() == Some("hwaddr"));
        ctx.txn.write("Bridge", row, "other_config", config);
    }
    for row in ctx.txn.rows("Interface") {
        for column in RESET_NUMBERS {
            ctx.txn.write("Interface", row, column, Datum::integer(0));
        }
    }
    for table in RESET_TABLES {
        for row in ctx.txn.rows(table) {
            ctx.txn.delete(table, row);
        }
    }
    ctx.invalidate();
    Output::default()
}
