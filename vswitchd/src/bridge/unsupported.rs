//! Which settings of the database the switch carries out, and what it says of the others.
//!
//! [`COLUMNS`] has a row for every column of the schema and for every key that Open vSwitch
//! knows in its maps; `docs/support.md` is made from it, and a test compares it with the schema.
//! [`of`] names the settings of one database row that ask for something that is not there;
//! [`super::desired`] puts these texts where users look: into `Interface.error` and the log.
//! Keys that Open vSwitch does not know either are not mentioned: clients keep notes of their own
//! in these maps.
//!
//! Source: ovs-vswitchd.conf.db(5).

mod table;

use ovsdb::replica::Row;
use ovsdb::value::{Atom, Datum};

pub use table::COLUMNS;

/// What becomes of the values of a column, or of a key of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Every value is carried out.
    Carried,
    /// Of the keys of the map, those that have rows of their own.
    ByKey,
    /// The switch or the database server writes it.
    Written,
    /// A status that nothing writes: what it would tell of is not there.
    NotWritten,
    /// The values given are carried out, and those that ask for nothing.
    Only(&'static [&'static str], &'static str),
    /// Refused, unless the value asks for nothing. The text says what to do instead.
    Refused(&'static str),
    /// Left to other programs; the switch has nothing to do.
    Others,
    /// Doing nothing is right, for the reason given.
    Moot(&'static str),
    /// Part of something that is refused where it is asked for.
    PartOf(&'static str),
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub table: &'static str,
    pub column: &'static str,
    /// A key, when the row is about one key of a map.
    pub key: Option<&'static str>,
    pub support: Support,
}

const fn col(table: &'static str, column: &'static str, support: Support) -> Column {
    Column {
        table,
        column,
        key: None,
        support,
    }
}

const fn key(
    table: &'static str,
    column: &'static str,
    key: &'static str,
    support: Support,
) -> Column {
    Column {
        table,
        column,
        key: Some(key),
        support,
    }
}

/// Columns of which one value does not tell: most keep a bridge, a port or a connection from
/// being. The code that reads them says so.
const SAID_ELSEWHERE: &[(&str, &str)] = &[
    ("Bridge", "datapath_type"),
    ("Controller", "target"),
    ("Interface", "mac"),
    ("Interface", "type"),
    ("Manager", "target"),
    ("Port", "interfaces"),
    ("Port", "vlan_mode"),
];

/// Longer values are cut in messages.
const MAX_VALUE: usize = 60;

/// Says of each setting of `row` that is not carried out what it is and what to do.
pub fn of(row: &Row<'_>) -> Vec<String> {
    let mut texts = Vec::new();
    for rule in COLUMNS.iter().filter(|rule| rule.table == row.table()) {
        if SAID_ELSEWHERE.contains(&(rule.table, rule.column)) {
            continue;
        }
        let advice = match rule.support {
            Support::Only(_, advice) | Support::Refused(advice) => advice,
            _ => continue,
        };
        let datum = row.datum(rule.column);
        let value = match rule.key {
            Some(key) => match datum.get(key) {
                Some(text) => refused_atom(rule.support, &Atom::from(text)),
                None => continue,
            },
            None => refused(rule.support, datum),
        };
        if let Some(value) = value {
            let setting = rule.setting();
            let whose = whose(row);
            texts.push(format!(
                "{setting}={} of {whose} is not supported ({advice})",
                shortened(&value)
            ));
        }
    }
    texts
}

/// The columns that [`of`] reads, by table.
pub fn watched() -> impl Iterator<Item = (&'static str, &'static str)> {
    COLUMNS
        .iter()
        .filter(|rule| matches!(rule.support, Support::Only(..) | Support::Refused(_)))
        .map(|rule| (rule.table, rule.column))
}

impl Column {
    /// As users write it: `column`, or `column:key`.
    pub fn setting(&self) -> String {
        match self.key {
            Some(key) => format!("{}:{key}", self.column),
            None => self.column.to_owned(),
        }
    }
}

/// The part of `datum` that is not carried out, as text.
fn refused(support: Support, datum: &Datum) -> Option<String> {
    if datum.is_map() || matches!(support, Support::Refused(_)) {
        let asks = datum
            .iter()
            .any(|atom| refused_atom(support, atom).is_some());
        return asks.then(|| datum.to_string());
    }
    let values: Vec<String> = datum
        .iter()
        .filter_map(|atom| refused_atom(support, atom))
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn refused_atom(support: Support, atom: &Atom) -> Option<String> {
    let text = match atom.as_str() {
        Some(text) => text.to_owned(),
        None => atom.to_string(),
    };
    let fine = match support {
        Support::Only(values, _) => text.is_empty() || values.contains(&text.as_str()),
        _ => matches!(text.as_str(), "" | "0" | "false" | "none" | "off"),
    };
    (!fine).then_some(text)
}

/// Table and name of a row.
fn whose(row: &Row<'_>) -> String {
    let name = row.string("name").or_else(|| row.string("target"));
    match name {
        Some(name) => format!("{} {name}", row.table()),
        None => row.table().to_owned(),
    }
}

fn shortened(value: &str) -> String {
    if value.chars().count() <= MAX_VALUE {
        return value.to_owned();
    }
    value.chars().take(MAX_VALUE).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ovsdb::schema::DatabaseSchema;

    use super::table::TABLES;
    use super::*;
    use crate::selection::SCHEMA;

    fn schema() -> DatabaseSchema {
        DatabaseSchema::from_json(&serde_json::from_str(SCHEMA).unwrap()).unwrap()
    }

    #[test]
    fn every_column_of_the_schema_has_one_row() {
        let schema = schema();
        let whole: BTreeSet<&str> = TABLES.iter().map(|(table, _)| *table).collect();
        let mut wanted = BTreeSet::new();
        for (name, table) in &schema.tables {
            if !whole.contains(name.as_str()) {
                wanted.extend(table.columns.keys().map(|c| (name.as_str(), c.as_str())));
            }
        }
        let rows: Vec<_> = COLUMNS
            .iter()
            .filter(|rule| rule.key.is_none())
            .map(|rule| (rule.table, rule.column))
            .collect();
        assert_eq!(rows.iter().copied().collect::<BTreeSet<_>>(), wanted);
        assert_eq!(rows.len(), wanted.len(), "no column has two rows");
        for name in whole {
            assert!(schema.table(name).is_some(), "{name} is a table");
        }
    }

    #[test]
    fn rows_with_keys_are_about_maps() {
        let schema = schema();
        let mut seen = BTreeSet::new();
        for rule in COLUMNS {
            let column = schema.column(rule.table, rule.column).unwrap();
            let map = column.column_type.value.is_some();
            assert!(rule.key.is_none() || map, "{rule:?}");
            assert!(rule.support != Support::ByKey || map, "{rule:?}");
            assert!(seen.insert((rule.table, rule.setting())), "{rule:?}");
        }
    }

    #[test]
    fn values_that_ask_for_nothing() {
        let no = Support::Refused("");
        assert_eq!(refused(no, &Datum::empty()), None);
        assert_eq!(refused(no, &Datum::boolean(false)), None);
        assert_eq!(refused(no, &Datum::integer(0)), None);
        assert_eq!(refused(no, &Datum::boolean(true)), Some("true".to_owned()));
        assert_eq!(
            refused(no, &Datum::set([3i64, 5])),
            Some("[3, 5]".to_owned())
        );
        let only = Support::Only(&["a", "true"], "");
        assert_eq!(refused(only, &Datum::string("a")), None);
        assert_eq!(refused(only, &Datum::string("")), None);
        assert_eq!(
            refused(only, &Datum::boolean(false)),
            Some("false".to_owned())
        );
        let some = Datum::set(["a", "b", "c"].map(str::to_owned));
        assert_eq!(refused(only, &some), Some("b,c".to_owned()));
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shortened(&"é".repeat(100)).chars().count(), MAX_VALUE + 3);
    }

    /// What the document says of a row.
    fn state(rule: &Column) -> [String; 2] {
        let list = |values: &[&str]| values.join(", ");
        let (state, text) = match rule.support {
            Support::Carried => ("supported", String::new()),
            Support::ByKey => ("by key", String::new()),
            Support::Written => ("supported", "status, written by the switch".to_owned()),
            Support::NotWritten => ("not written", "status".to_owned()),
            Support::Only(values, advice) => (
                "partly",
                format!("{}; others are refused ({advice})", list(values)),
            ),
            Support::Refused(advice) => ("refused", advice.to_owned()),
            Support::Others => ("supported", "for other programs".to_owned()),
            Support::Moot(why) => ("no effect", why.to_owned()),
            Support::PartOf(what) => ("refused", format!("with {what}")),
        };
        [state.to_owned(), text]
    }

    #[test]
    fn the_document_is_true() {
        let mut rows: Vec<Vec<String>> = COLUMNS
            .iter()
            .map(|rule| {
                let name = format!("{}.{}", rule.table, rule.setting());
                [vec![name], state(rule).to_vec()].concat()
            })
            .collect();
        for (table, by) in TABLES {
            let text = format!("the whole table, by {by}");
            rows.push(vec![format!("{table}.*"), "refused".to_owned(), text]);
        }
        rows.sort();
        let text = ::tests::support::table(&["Setting", "State", "Notes"], rows);
        ::tests::support::check_part("settings", &text).unwrap();
    }
}
