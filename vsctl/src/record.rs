//! Finding the row that a user means, and taking `COLUMN[:KEY]OPERATOR VALUE` apart.
//!
//! Source: ovs-vsctl(8), "Identifying Tables, Records, and Columns" and the table listing of
//! `ovs-vsctl --help`.

use ovsdb::Uuid;
use ovsdb::replica::Transaction;
use ovsdb::value::{Atom, parse_uuid};
use thiserror::Error;

use crate::datum;
use crate::names::{self, Column, Table, find_column};

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error(transparent)]
    Names(#[from] names::Error),
    #[error(transparent)]
    Datum(#[from] datum::Error),
    #[error("no row \"{record}\" in table {table}")]
    NoRow { record: String, table: String },
    #[error("multiple rows in {table} match \"{record}\"")]
    ManyRows { table: String, record: String },
    #[error(
        "{table} contains 2 or more rows whose UUIDs begin with {record}: at least {first} and \
         {second}"
    )]
    ManyUuids {
        table: String,
        record: String,
        first: Uuid,
        second: Uuid,
    },
    #[error("{0}: missing column name")]
    NoColumnName(String),
    #[error("{argument}: argument does not end in {} followed by a value.", list(.operators))]
    NoOperator {
        argument: String,
        operators: &'static [&'static str],
    },
    #[error("{argument}: trailing garbage \"{garbage}\" in argument")]
    Garbage { argument: String, garbage: String },
}

fn list(operators: &[&str]) -> String {
    let quoted: Vec<String> = operators.iter().map(|op| format!("\"{op}\"")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, last] => format!("{first} or {last}"),
        [rest @ .., last] => format!("{}, or {last}", rest.join(", ")),
    }
}

/// How the rows of a table can be named besides by UUID: `name_table.name_column` holds the name;
/// the row is that one, or the one that its `reference` points to.
pub struct RowName {
    pub table: &'static str,
    pub name_table: &'static str,
    pub name_column: &'static str,
    pub reference: Option<&'static str>,
}

const fn by(table: &'static str, name_column: &'static str) -> RowName {
    RowName {
        table,
        name_table: table,
        name_column,
        reference: None,
    }
}

const fn via(table: &'static str, referrer: &'static str, reference: &'static str) -> RowName {
    RowName {
        table,
        name_table: referrer,
        name_column: "name",
        reference: Some(reference),
    }
}

/// By table, in alphabetical order.
pub static ROW_NAMES: &[RowName] = &[
    via("AutoAttach", "Bridge", "auto_attach"),
    by("Bridge", "name"),
    via("Controller", "Bridge", "controller"),
    by("Flow_Sample_Collector_Set", "id"),
    by("Flow_Table", "name"),
    via("IPFIX", "Bridge", "ipfix"),
    by("Interface", "name"),
    by("Manager", "target"),
    by("Mirror", "name"),
    via("NetFlow", "Bridge", "netflow"),
    by("Port", "name"),
    via("QoS", "Port", "qos"),
    via("sFlow", "Bridge", "sflow"),
];

/// The tables that have one row, called `.`.
pub const SINGLE_ROW_TABLES: [&str; 2] = ["Open_vSwitch", "SSL"];

/// The ways to name rows of `table`.
pub fn row_names(table: &str) -> impl Iterator<Item = &'static RowName> {
    ROW_NAMES.iter().filter(move |names| names.table == table)
}

/// The row of `table` that `record` means: a UUID, `.` for the only row, a name, or at least four
/// digits from the beginning of a UUID.
pub fn find(
    txn: &mut Transaction<'_>,
    table: Table<'_>,
    record: &str,
) -> Result<Option<Uuid>, Error> {
    if let Some(uuid) = parse_uuid(record)
        && txn.has_row(table.name, uuid)
    {
        return Ok(Some(uuid));
    }
    if record == "."
        && let [only] = txn.rows(table.name).as_slice()
    {
        return Ok(Some(*only));
    }
    for names in row_names(table.name) {
        if let Some(row) = find_by_name(txn, table, names, record)? {
            return Ok(Some(row));
        }
    }
    find_by_prefix(txn, table, record)
}

/// Like [`find`] for a row that has to exist.
pub fn require(txn: &mut Transaction<'_>, table: Table<'_>, record: &str) -> Result<Uuid, Error> {
    find(txn, table, record)?.ok_or_else(|| Error::NoRow {
        record: record.to_owned(),
        table: table.name.to_owned(),
    })
}

fn find_by_name(
    txn: &mut Transaction<'_>,
    table: Table<'_>,
    names: &RowName,
    record: &str,
) -> Result<Option<Uuid>, Error> {
    let mut found = None;
    for row in txn.rows(names.name_table) {
        let name = txn.read(names.name_table, row, names.name_column);
        let matches = match name.iter().collect::<Vec<_>>().as_slice() {
            [Atom::String(name)] => **name == *record,
            [Atom::Integer(number)] => record.parse() == Ok(*number),
            _ => false,
        };
        if matches && found.replace(row).is_some() {
            return Err(Error::ManyRows {
                table: names.name_table.to_owned(),
                record: record.to_owned(),
            });
        }
    }
    let (Some(referrer), Some(reference)) = (found, names.reference) else {
        return Ok(found);
    };
    txn.rely_on(names.name_table, referrer, reference);
    let targets = txn.read(names.name_table, referrer, reference);
    let target = (targets.len() == 1).then(|| targets.as_uuid()).flatten();
    Ok(target.filter(|target| txn.has_row(table.name, *target)))
}

fn find_by_prefix(
    txn: &Transaction<'_>,
    table: Table<'_>,
    record: &str,
) -> Result<Option<Uuid>, Error> {
    if record.len() < 4 {
        return Ok(None);
    }
    let mut matches = txn
        .rows(table.name)
        .into_iter()
        .filter(|uuid| uuid.hyphenated().to_string().starts_with(record));
    match (matches.next(), matches.next()) {
        (Some(first), Some(second)) => Err(Error::ManyUuids {
            table: table.name.to_owned(),
            record: record.to_owned(),
            first,
            second,
        }),
        (first, _) => Ok(first),
    }
}

/// `COLUMN[:KEY]`, perhaps followed by an operator and a value.
pub struct Argument<'s> {
    pub column: Column<'s>,
    pub key: Option<String>,
    /// The operator's place in the list that was allowed.
    pub operator: usize,
    pub value: String,
}

/// The column that an argument begins with.
pub fn argument_column<'s>(argument: &str, table: Table<'s>) -> Result<Column<'s>, Error> {
    let (name, _) = datum::token(argument)?;
    column(argument, &name, table)
}

fn column<'s>(argument: &str, name: &str, table: Table<'s>) -> Result<Column<'s>, Error> {
    if name.is_empty() {
        return Err(Error::NoColumnName(argument.to_owned()));
    }
    Ok(find_column(table, name)?)
}

fn column_and_key<'s, 'a>(
    argument: &'a str,
    table: Table<'s>,
) -> Result<(Column<'s>, Option<String>, &'a str), Error> {
    let (name, rest) = datum::token(argument)?;
    let column = column(argument, &name, table)?;
    match rest.strip_prefix(':') {
        Some(rest) => {
            let (key, rest) = datum::token(rest)?;
            Ok((column, Some(key), rest))
        }
        None => Ok((column, None, rest)),
    }
}

/// Parses `COLUMN[:KEY]`.
pub fn parse_column<'s>(
    argument: &str,
    table: Table<'s>,
) -> Result<(Column<'s>, Option<String>), Error> {
    let (column, key, rest) = column_and_key(argument, table)?;
    if !rest.is_empty() {
        return Err(Error::Garbage {
            argument: argument.to_owned(),
            garbage: rest.to_owned(),
        });
    }
    Ok((column, key))
}

/// Parses `COLUMN[:KEY]` followed by the longest of `operators` that fits and by a value.
pub fn parse_argument<'s>(
    argument: &str,
    table: Table<'s>,
    operators: &'static [&'static str],
) -> Result<Argument<'s>, Error> {
    let (column, key, rest) = column_and_key(argument, table)?;
    let best = operators
        .iter()
        .enumerate()
        .filter_map(|(i, operator)| {
            let value = rest.strip_prefix(operator)?;
            (!value.is_empty()).then_some((operator.len(), i, value))
        })
        .max_by_key(|(length, ..)| *length);
    let Some((_, operator, value)) = best else {
        return Err(Error::NoOperator {
            argument: argument.to_owned(),
            operators,
        });
    };
    Ok(Argument {
        column,
        key,
        operator,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::find_table;
    use crate::schema::vswitch;
    use proptest::prelude::*;

    const OPERATORS: &[&str] = &["=", "<", "<=", "{<=}"];

    fn parse(argument: &str) -> Result<(String, Option<String>, usize, String), String> {
        let schema = vswitch();
        let bridge = find_table(&schema, "Bridge").unwrap();
        parse_argument(argument, bridge, OPERATORS)
            .map(|parsed| {
                (
                    parsed.column.name.to_owned(),
                    parsed.key,
                    parsed.operator,
                    parsed.value,
                )
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn arguments() {
        let ok = |column: &str, key: Option<&str>, operator, value: &str| {
            Ok((
                column.to_owned(),
                key.map(str::to_owned),
                operator,
                value.to_owned(),
            ))
        };
        assert_eq!(parse("nam<=x=y"), ok("name", None, 2, "x=y"));
        assert_eq!(
            parse("other-config:a=b"),
            ok("other_config", Some("a"), 0, "b")
        );
        assert_eq!(
            parse(r"other_config:a\:b={c"),
            ok("other_config", Some("a:b"), 0, "{c")
        );
        assert_eq!(parse("flood{<=}1"), ok("flood_vlans", None, 3, "1"));
        let operators = r#""=", "<", "<=", or "{<=}" followed by a value."#;
        for (argument, message) in [
            (":x=3", ":x=3: missing column name".to_owned()),
            (
                "name",
                format!("name: argument does not end in {operators}"),
            ),
            (
                "name=",
                format!("name=: argument does not end in {operators}"),
            ),
            (
                "ids",
                r#"Bridge does not contain a column whose name matches "ids""#.to_owned(),
            ),
        ] {
            assert_eq!(parse(argument), Err(message));
        }
        let schema = vswitch();
        let bridge = find_table(&schema, "Bridge").unwrap();
        assert_eq!(
            parse_column("name=x", bridge).err().unwrap().to_string(),
            r#"name=x: trailing garbage "=x" in argument"#
        );
    }

    #[test]
    fn row_names_are_columns_of_the_schema() {
        let schema = vswitch();
        for names in ROW_NAMES {
            assert!(schema.table(names.table).is_some());
            assert!(schema.column(names.name_table, names.name_column).is_some());
            if let Some(reference) = names.reference {
                let column = schema.column(names.name_table, reference).unwrap();
                assert_eq!(column.column_type.key.reference().unwrap().0, names.table);
            }
        }
    }

    proptest! {
        #[test]
        fn any_argument(argument in r#"[a-z_:=<>{}"\\, ]{0,12}"#) {
            let _ = parse(&argument);
        }
    }
}
