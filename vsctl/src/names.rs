//! Tables and columns as users write them: any case, `-` for `_`, and any prefix that only one
//! name has.
//!
//! Source: ovs-vsctl(8), "Identifying Tables, Records, and Columns".

use ovsdb::schema::{ColumnSchema, DatabaseSchema, TableSchema};
use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("unknown table \"{0}\"")]
    UnknownTable(String),
    #[error("\"{given}\" matches multiple table names: {}", .matches.join(", "))]
    AmbiguousTable { given: String, matches: Vec<String> },
    #[error("{table} does not contain a column whose name matches \"{given}\"")]
    UnknownColumn { table: String, given: String },
    #[error(
        "{table} contains more than one column whose name matches \"{given}\": {}",
        .matches.join(", ")
    )]
    AmbiguousColumn {
        table: String,
        given: String,
        matches: Vec<String>,
    },
}

/// A table of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Table<'s> {
    pub name: &'s str,
    pub schema: &'s TableSchema,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column<'s> {
    pub name: &'s str,
    pub schema: &'s ColumnSchema,
}

/// The table that `given` stands for.
pub fn find_table<'s>(schema: &'s DatabaseSchema, given: &str) -> Result<Table<'s>, Error> {
    match best(schema.tables.iter(), given).as_slice() {
        [] => Err(Error::UnknownTable(given.to_owned())),
        [(name, schema)] => Ok(Table { name, schema }),
        several => Err(Error::AmbiguousTable {
            given: given.to_owned(),
            matches: several.iter().map(|(name, _)| name.to_string()).collect(),
        }),
    }
}

/// The column of `table` that `given` stands for.
pub fn find_column<'s>(table: Table<'s>, given: &str) -> Result<Column<'s>, Error> {
    match best(table.schema.columns.iter(), given).as_slice() {
        [] => Err(Error::UnknownColumn {
            table: table.name.to_owned(),
            given: given.to_owned(),
        }),
        [(name, schema)] => Ok(Column { name, schema }),
        several => Err(Error::AmbiguousColumn {
            table: table.name.to_owned(),
            given: given.to_owned(),
            matches: several.iter().map(|(name, _)| name.to_string()).collect(),
        }),
    }
}

/// How well a name fits what was given; larger is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Prefix,
    Folded,
    Exact,
}

fn fit(name: &str, given: &str) -> Option<Fit> {
    if name == given {
        return Some(Fit::Exact);
    }
    let fold = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let (name, given) = (fold(name), fold(given));
    if name == given {
        Some(Fit::Folded)
    } else if !given.is_empty() && name.starts_with(&given) {
        Some(Fit::Prefix)
    } else {
        None
    }
}

/// The candidates that fit best.
fn best<'s, T>(
    candidates: impl Iterator<Item = (&'s String, &'s T)>,
    given: &str,
) -> Vec<(&'s str, &'s T)> {
    let mut top = None;
    let mut found = Vec::new();
    for (name, item) in candidates {
        let fit = fit(name, given);
        if fit.is_none() || fit < top {
            continue;
        }
        if fit > top {
            found.clear();
            top = fit;
        }
        found.push((name.as_str(), item));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::vswitch;

    fn table(given: &str) -> Result<String, String> {
        let schema = vswitch();
        find_table(&schema, given)
            .map(|table| table.name.to_owned())
            .map_err(|error| error.to_string())
    }

    fn column(given: &str) -> Result<String, String> {
        let schema = vswitch();
        let bridge = find_table(&schema, "Bridge").unwrap();
        find_column(bridge, given)
            .map(|column| column.name.to_owned())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn tables() {
        for (given, name) in [
            ("Bridge", "Bridge"),
            ("po", "Port"),
            ("N", "NetFlow"),
            ("open-v", "Open_vSwitch"),
            ("SFLOW", "sFlow"),
            ("queue", "Queue"),
            ("interf", "Interface"),
        ] {
            assert_eq!(table(given).as_deref(), Ok(name));
        }
        assert_eq!(table("foo"), Err("unknown table \"foo\"".into()));
        assert_eq!(table(""), Err("unknown table \"\"".into()));
        assert_eq!(table("bridge-"), Err("unknown table \"bridge-\"".into()));
        assert_eq!(
            table("S"),
            Err("\"S\" matches multiple table names: SSL, sFlow".into())
        );
    }

    #[test]
    fn columns() {
        for (given, name) in [
            ("other-config", "other_config"),
            ("external_id", "external_ids"),
            ("nAm", "name"),
        ] {
            assert_eq!(column(given).as_deref(), Ok(name));
        }
        assert_eq!(
            column("foo"),
            Err("Bridge does not contain a column whose name matches \"foo\"".into())
        );
        assert_eq!(
            column("s"),
            Err(
                "Bridge contains more than one column whose name matches \"s\": \
                 sflow, status, stp_enable"
                    .into()
            )
        );
    }
}
