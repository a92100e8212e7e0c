//! Database commands: `list`, `find`, `get`, `set`, `add`, `remove`, `clear`, `create`, `destroy`
//! and `wait-until`.
//!
//! Source: ovs-vsctl(8), "Database Command Syntax".

use ovsdb::schema::{AtomicType, ColumnType};
use ovsdb::table::{Cell, Table};
use ovsdb::value::parse_uuid;
use ovsdb::{Datum, Uuid, text};
use thiserror::Error;

use crate::command::Command;
use crate::context::{Context, Output};
use crate::names::{self, Column, Table as DbTable, find_column, find_table};
use crate::record::{self, parse_argument, parse_column};
use crate::symbols;
use crate::{datum, record::Argument};

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Names(#[from] names::Error),
    #[error(transparent)]
    Record(#[from] record::Error),
    #[error(transparent)]
    Datum(#[from] datum::Error),
    #[error(transparent)]
    Symbols(#[from] symbols::Error),
    #[error("cannot specify key to {what} for non-map column {column}")]
    KeyOfNonMap { what: &'static str, column: String },
    #[error("cannot modify read-only column {column} in table {table}")]
    ReadOnly { column: String, table: String },
    #[error("--if-exists and --id may not be specified together")]
    IdIfExists,
    #[error("no key \"{key}\" in {table} record \"{record}\" column {column}")]
    NoKey {
        key: String,
        table: String,
        record: String,
        column: String,
    },
    #[error("must specify at least one column name")]
    NoColumns,
    #[error(
        "\"remove\" operation would put {count} {what} in column {column} of table {table} but \
         the minimum number is {min}"
    )]
    RemovesTooMany {
        count: usize,
        what: &'static str,
        column: String,
        table: String,
        min: u32,
    },
    #[error(
        "\"clear\" operation cannot be applied to column {column} of table {table}, which is not \
         allowed to be empty"
    )]
    ClearsRequired { column: String, table: String },
    #[error("--all and records argument should not be specified together")]
    AllAndRecords,
    #[error("--all and --if-exists should not be specified together")]
    AllIfExists,
}

/// The operators of conditions.
pub static OPERATORS: &[&str] = &[
    "=", "!=", "<", ">", "<=", ">=", "{=}", "{!=}", "{<}", "{>}", "{<=}", "{>=}", "{in}",
    "{not-in}",
];

fn is_set_operator(operator: &str) -> bool {
    operator.starts_with('{')
}

fn holds(have: &Datum, want: &Datum, operator: &str) -> bool {
    match operator {
        "=" | "{=}" => compare(have, want).is_eq(),
        "!=" | "{!=}" => compare(have, want).is_ne(),
        "<" => compare(have, want).is_lt(),
        ">" => compare(have, want).is_gt(),
        "<=" => compare(have, want).is_le(),
        ">=" => compare(have, want).is_ge(),
        "{<}" => want.len() > have.len() && want.includes_all(have),
        "{>}" => have.len() > want.len() && have.includes_all(want),
        "{<=}" | "{in}" => want.includes_all(have),
        "{>=}" => have.includes_all(want),
        "{not-in}" => want.excludes_all(have),
        _ => false,
    }
}

/// Fewer elements come first, then smaller keys, then smaller values.
fn compare(a: &Datum, b: &Datum) -> std::cmp::Ordering {
    a.len()
        .cmp(&b.len())
        .then_with(|| a.keys().cmp(b.keys()))
        .then_with(|| a.values().cmp(b.values()))
}

/// Whether the row satisfies `COLUMN[:KEY]OPERATOR VALUE`.
fn satisfies(
    ctx: &mut Context<'_>,
    table: DbTable<'_>,
    row: Uuid,
    condition: &str,
) -> Result<bool, Error> {
    let Argument {
        column,
        key,
        operator,
        value,
    } = parse_argument(condition, table, OPERATORS)?;
    let operator = OPERATORS.get(operator).copied().unwrap_or("=");
    let column_type = &column.schema.column_type;
    let have = ctx.txn.read(table.name, row, column.name);
    let Some(key) = key else {
        let want = datum::parse(&value, column_type, &mut ctx.symbols)?;
        return Ok(holds(&have, &want, operator));
    };
    let Some(value_type) = &column_type.value else {
        return Err(Error::KeyOfNonMap {
            what: "check",
            column: column.name.to_owned(),
        });
    };
    let key = datum::parse_atom(&key, &column_type.key, &mut ctx.symbols)?;
    let any = ColumnType {
        key: value_type.clone(),
        value: None,
        min: column_type.min,
        max: ColumnType::UNLIMITED,
    };
    let want = datum::parse(&value, &any, &mut ctx.symbols)?;
    match have.get_atom(&key) {
        Some(atom) => Ok(holds(&Datum::scalar(atom.clone()), &want, operator)),
        None => Ok(is_set_operator(operator) && holds(&Datum::empty(), &want, operator)),
    }
}

/// `[--if-exists] [--id=@NAME] get TABLE RECORD [COLUMN[:KEY]]...`
pub fn get(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let must_exist = !command.has("--if-exists");
    let id = command.value("--id");
    if id.is_some() && !must_exist {
        return Err(Error::IdIfExists);
    }
    let table = find_table(ctx.schema(), command.arg(0))?;
    let Some(row) = find_row(ctx, command, table)? else {
        return Ok(Output::default());
    };
    if let Some(id) = id {
        ctx.symbols.get(id, row)?;
    }
    let mut lines = Vec::new();
    for argument in command.args_from(2) {
        if is_uuid_column(argument) {
            lines.push(row.hyphenated().to_string());
            continue;
        }
        let (column, key) = parse_column(argument, table)?;
        let column_type = &column.schema.column_type;
        ctx.txn.rely_on(table.name, row, column.name);
        let value = ctx.txn.read(table.name, row, column.name);
        let Some(key) = key else {
            lines.push(text::to_text(&value, column_type));
            continue;
        };
        if !column_type.is_map() {
            return Err(Error::KeyOfNonMap {
                what: "get",
                column: column.name.to_owned(),
            });
        }
        let atom = datum::parse_atom(&key, &column_type.key, &mut ctx.symbols)?;
        match value.get_atom(&atom) {
            Some(value) => lines.push(value.to_string()),
            None if must_exist => {
                return Err(Error::NoKey {
                    key,
                    table: table.name.to_owned(),
                    record: command.arg(1).to_owned(),
                    column: column.name.to_owned(),
                });
            }
            None => lines.push(String::new()),
        }
    }
    Ok(Output::lines(lines))
}

/// Whether a column argument stands for the row's UUID.
pub fn is_uuid_column(argument: &str) -> bool {
    argument.eq_ignore_ascii_case("_uuid") || argument.eq_ignore_ascii_case("-uuid")
}

/// The row of the second argument; `None` when it is not there and need not be.
fn find_row(
    ctx: &mut Context<'_>,
    command: &Command,
    table: DbTable<'_>,
) -> Result<Option<Uuid>, Error> {
    let record = command.arg(1);
    if command.has("--if-exists") {
        return Ok(record::find(&mut ctx.txn, table, record)?);
    }
    Ok(Some(record::require(&mut ctx.txn, table, record)?))
}

/// The columns of `--columns`, `None` standing for `_uuid`; without it all that `has` holds for.
pub fn columns<'s>(
    table: DbTable<'s>,
    given: Option<&str>,
    has: impl Fn(&str) -> bool,
) -> Result<Vec<Option<Column<'s>>>, Error> {
    let Some(given) = given else {
        let all = table.schema.columns.iter();
        let all = all
            .filter(|(name, _)| has(name))
            .map(|(name, schema)| Some(Column { name, schema }));
        return Ok(std::iter::once(None).chain(all).collect());
    };
    let mut columns = Vec::new();
    for name in given.split([',', ' ']).filter(|name| !name.is_empty()) {
        columns.push(if name.eq_ignore_ascii_case("_uuid") {
            None
        } else {
            Some(find_column(table, name)?)
        });
    }
    if columns.is_empty() {
        return Err(Error::NoColumns);
    }
    Ok(columns)
}

/// The columns to print: an older server may lack some.
fn shown_columns<'s>(
    ctx: &Context<'_>,
    command: &Command,
    table: DbTable<'s>,
) -> Result<Vec<Option<Column<'s>>>, Error> {
    let replica = ctx.txn.replica();
    let given = command.value("--columns");
    columns(table, given, |column| {
        !replica.server_lacks(table.name, column)
    })
}

fn make_table(columns: &[Option<Column<'_>>]) -> Table {
    Table {
        headings: columns
            .iter()
            .map(|column| column.map_or("_uuid", |column| column.name).to_owned())
            .collect(),
        ..Table::default()
    }
}

fn table_row(
    ctx: &Context<'_>,
    table: DbTable<'_>,
    row: Uuid,
    columns: &[Option<Column<'_>>],
) -> Vec<Cell> {
    columns
        .iter()
        .map(|column| match column {
            None => Cell::Datum {
                datum: Datum::uuid(row),
                column_type: ColumnType::scalar(AtomicType::Uuid),
            },
            Some(column) => Cell::Datum {
                datum: ctx.txn.read(table.name, row, column.name),
                column_type: column.schema.column_type.clone(),
            },
        })
        .collect()
}

/// `[--if-exists] [--columns=COLUMN,...] list TABLE [RECORD]...`
pub fn list(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let table = find_table(ctx.schema(), command.arg(0))?;
    let columns = shown_columns(ctx, command, table)?;
    let mut out = make_table(&columns);
    let mut rows = Vec::new();
    for record in command.args_from(1) {
        if command.has("--if-exists") {
            rows.extend(record::find(&mut ctx.txn, table, record)?);
        } else {
            rows.push(record::require(&mut ctx.txn, table, record)?);
        }
    }
    if command.args.len() == 1 {
        rows = ctx.txn.rows(table.name);
    }
    for row in rows {
        out.rows.push(table_row(ctx, table, row, &columns));
    }
    Ok(Output {
        table: Some(out),
        ..Output::default()
    })
}

/// `[--columns=COLUMN,...] find TABLE [COLUMN[:KEY]=VALUE]...`
pub fn find(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let table = find_table(ctx.schema(), command.arg(0))?;
    let columns = shown_columns(ctx, command, table)?;
    let mut out = make_table(&columns);
    for row in ctx.txn.rows(table.name) {
        if satisfies_all(ctx, table, row, command.args_from(1))? {
            out.rows.push(table_row(ctx, table, row, &columns));
        }
    }
    Ok(Output {
        table: Some(out),
        ..Output::default()
    })
}

fn satisfies_all(
    ctx: &mut Context<'_>,
    table: DbTable<'_>,
    row: Uuid,
    conditions: &[String],
) -> Result<bool, Error> {
    for condition in conditions {
        if !satisfies(ctx, table, row, condition)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Immutable columns can be set in new rows only.
fn check_mutable(
    ctx: &Context<'_>,
    table: DbTable<'_>,
    row: Uuid,
    column: Column<'_>,
) -> Result<(), Error> {
    if column.schema.mutable || ctx.txn.is_new(table.name, row) {
        return Ok(());
    }
    Err(Error::ReadOnly {
        column: column.name.to_owned(),
        table: table.name.to_owned(),
    })
}

/// Carries `COLUMN[:KEY]=VALUE` out on a row.
pub fn set_column(
    ctx: &mut Context<'_>,
    table: &str,
    row: Uuid,
    setting: &str,
) -> Result<(), Error> {
    let table = find_table(ctx.schema(), table)?;
    let Argument {
        column, key, value, ..
    } = parse_argument(setting, table, &["="])?;
    check_mutable(ctx, table, row, column)?;
    let column_type = &column.schema.column_type;
    let Some(key) = key else {
        let value = datum::parse(&value, column_type, &mut ctx.symbols)?;
        ctx.txn.write(table.name, row, column.name, value);
        return Ok(());
    };
    let Some(value_type) = &column_type.value else {
        return Err(Error::KeyOfNonMap {
            what: "set",
            column: column.name.to_owned(),
        });
    };
    let key = datum::parse_atom(&key, &column_type.key, &mut ctx.symbols)?;
    let value = datum::parse_atom(&value, value_type, &mut ctx.symbols)?;
    ctx.txn
        .add_to(table.name, row, column.name, &Datum::map([(key, value)]));
    Ok(())
}

/// `[--if-exists] set TABLE RECORD COLUMN[:KEY]=VALUE...`
pub fn set(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let table = find_table(ctx.schema(), command.arg(0))?;
    let Some(row) = find_row(ctx, command, table)? else {
        return Ok(Output::default());
    };
    for setting in command.args_from(2) {
        set_column(ctx, table.name, row, setting)?;
    }
    ctx.invalidate();
    Ok(Output::default())
}

/// `[--if-exists] add TABLE RECORD COLUMN [KEY=]VALUE...`
pub fn add(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let table = find_table(ctx.schema(), command.arg(0))?;
    let column = find_column(table, command.arg(2))?;
    let Some(row) = find_row(ctx, command, table)? else {
        return Ok(Output::default());
    };
    check_mutable(ctx, table, row, column)?;
    let elements_type = ColumnType {
        min: 1,
        ..column.schema.column_type.any_count()
    };
    for elements in command.args_from(3) {
        let elements = datum::parse(elements, &elements_type, &mut ctx.symbols)?;
        ctx.txn.add_to(table.name, row, column.name, &elements);
    }
    ctx.invalidate();
    Ok(Output::default())
}

/// `[--if-exists] remove TABLE RECORD COLUMN (VALUE|KEY|KEY=VALUE)...`
pub fn remove(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let table = find_table(ctx.schema(), command.arg(0))?;
    let column = find_column(table, command.arg(2))?;
    let Some(row) = find_row(ctx, command, table)? else {
        return Ok(Output::default());
    };
    check_mutable(ctx, table, row, column)?;
    let column_type = &column.schema.column_type;
    let elements_type = ColumnType {
        min: 1,
        ..column_type.any_count()
    };
    let keys_type = ColumnType {
        value: None,
        ..elements_type.clone()
    };
    let mut left = ctx.txn.read(table.name, row, column.name);
    for elements in command.args_from(3) {
        let elements = match datum::parse(elements, &elements_type, &mut ctx.symbols) {
            Err(_) if column_type.is_map() => datum::parse(elements, &keys_type, &mut ctx.symbols)?,
            other => other?,
        };
        left.subtract(&elements);
    }
    if left.len() < column_type.min as usize {
        return Err(Error::RemovesTooMany {
            count: left.len(),
            what: if column_type.is_map() {
                "pairs"
            } else {
                "values"
            },
            column: column.name.to_owned(),
            table: table.name.to_owned(),
            min: column_type.min,
        });
    }
    ctx.txn.rely_on(table.name, row, column.name);
    ctx.txn.write(table.name, row, column.name, left);
    ctx.invalidate();
    Ok(Output::default())
}

/// `[--if-exists] clear TABLE RECORD COLUMN...`
pub fn clear(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let table = find_table(ctx.schema(), command.arg(0))?;
    let Some(row) = find_row(ctx, command, table)? else {
        return Ok(Output::default());
    };
    for name in command.args_from(2) {
        let column = find_column(table, name)?;
        check_mutable(ctx, table, row, column)?;
        if column.schema.column_type.min > 0 {
            return Err(Error::ClearsRequired {
                column: column.name.to_owned(),
                table: table.name.to_owned(),
            });
        }
        ctx.txn.write(table.name, row, column.name, Datum::empty());
    }
    ctx.invalidate();
    Ok(Output::default())
}

/// `[--id=(@NAME|UUID)] create TABLE COLUMN[:KEY]=VALUE...`
pub fn create(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let table = find_table(ctx.schema(), command.arg(0))?;
    let row = match command.value("--id") {
        Some(id) => match parse_uuid(id) {
            Some(uuid) => {
                ctx.txn.insert_with_uuid(table.name, uuid);
                uuid
            }
            None => {
                let uuid = ctx.symbols.create(id, table.schema.is_root)?;
                ctx.txn.insert(table.name, uuid);
                uuid
            }
        },
        None => ctx.insert(table.name),
    };
    for setting in command.args_from(1) {
        set_column(ctx, table.name, row, setting)?;
    }
    ctx.invalidate();
    Ok(Output {
        created: Some(row),
        ..Output::default()
    })
}

/// `[--if-exists] destroy TABLE RECORD...` or `--all destroy TABLE`
pub fn destroy(ctx: &mut Context<'_>, command: &Command) -> Result<Output, Error> {
    let table = find_table(ctx.schema(), command.arg(0))?;
    let records = command.args_from(1);
    let rows = if command.has("--all") {
        if !records.is_empty() {
            return Err(Error::AllAndRecords);
        }
        if command.has("--if-exists") {
            return Err(Error::AllIfExists);
        }
        ctx.txn.rows(table.name)
    } else {
        if records.is_empty() {
            tracing::warn!(
                target: "db_ctl_base",
                "either --all or records argument should be specified"
            );
        }
        let mut rows = Vec::new();
        for record in records {
            if command.has("--if-exists") {
                rows.extend(record::find(&mut ctx.txn, table, record)?);
            } else {
                rows.push(record::require(&mut ctx.txn, table, record)?);
            }
        }
        rows
    };
    for row in rows {
        ctx.txn.delete(table.name, row);
    }
    ctx.invalidate();
    Ok(Output::default())
}

/// `wait-until TABLE RECORD [COLUMN[:KEY]=VALUE]...`: `None` while it does not hold.
pub fn wait_until(ctx: &mut Context<'_>, command: &Command) -> Result<Option<Output>, Error> {
    let table = find_table(ctx.schema(), command.arg(0))?;
    let Some(row) = record::find(&mut ctx.txn, table, command.arg(1))? else {
        return Ok(None);
    };
    let held = satisfies_all(ctx, table, row, command.args_from(2))?;
    Ok(held.then(Output::default))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_on_sets() {
        let set = |items: &[i64]| Datum::set(items.iter().copied());
        let have = set(&[1, 3]);
        for (operator, want, expected) in [
            ("=", set(&[1, 3]), true),
            ("!=", set(&[1]), true),
            ("<", set(&[1, 4]), true),
            (">", set(&[9]), true),
            ("<=", set(&[1, 3]), true),
            (">=", set(&[1, 2, 3]), false),
            ("{=}", set(&[1, 3]), true),
            ("{!=}", set(&[1, 3]), false),
            ("{<}", set(&[1, 2, 3]), true),
            ("{<}", set(&[1, 3]), false),
            ("{>}", set(&[3]), true),
            ("{<=}", set(&[1, 3]), true),
            ("{>=}", set(&[3, 4]), false),
            ("{in}", set(&[0, 1, 2, 3]), true),
            ("{not-in}", set(&[2, 4]), true),
            ("{not-in}", set(&[3]), false),
        ] {
            assert_eq!(holds(&have, &want, operator), expected, "{operator} {want}");
        }
        assert_eq!(OPERATORS.len(), 14);
    }
}
