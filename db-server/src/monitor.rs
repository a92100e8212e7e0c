//! Monitors: what a client asked to be told of a database, and the updates that tell it.
//!
//! A monitor is a pure function of changes: it is given the database after a transaction and what
//! the transaction did, and gives the notification's table updates. It keeps no rows.
//!
//! Source: RFC 7047, 4.1.5 to 4.1.7; ovsdb-server(7), 4.1.12 to 4.1.15 for the conditional ones.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use ovsdb::condition::{self, Clause, Function, evaluate};
use ovsdb::error::{Error, ErrorKind, Result};
use ovsdb::members::Members;
use ovsdb::schema::ColumnType;
use ovsdb::value::{NoNames, write_uuid};
use ovsdb::{DatabaseSchema, Datum, Uuid};
use serde_json::Value;

use crate::database::{ColumnId, Database, Delta, Row, Table, TableId};
use crate::record::is_diffable;

/// Which of the three protocols a monitor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `monitor` and `update`: old and new values.
    V1,
    /// `monitor_cond` and `update2`: conditions, differences.
    V2,
    /// `monitor_cond_since` and `update3`: the same with transaction ids.
    V3,
}

impl Version {
    /// The method of its notifications.
    pub fn notification(self) -> &'static str {
        match self {
            Self::V1 => "update",
            Self::V2 => "update2",
            Self::V3 => "update3",
        }
    }
}

/// Which kinds of change are of interest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Select {
    initial: bool,
    insert: bool,
    delete: bool,
    modify: bool,
}

impl Select {
    const NONE: Self = Self {
        initial: false,
        insert: false,
        delete: false,
        modify: false,
    };

    const ALL: Self = Self {
        initial: true,
        insert: true,
        delete: true,
        modify: true,
    };
}

/// Clauses with their columns looked up; a row matches when any holds, or when there are none.
type Condition = Vec<ResolvedClause>;

#[derive(Debug, Clone, PartialEq)]
enum ResolvedClause {
    Bool(bool),
    Compare(ColumnId, Function, Datum),
}

fn matches(condition: &Condition, row: &Row) -> bool {
    condition.is_empty()
        || condition.iter().any(|clause| match clause {
            ResolvedClause::Bool(flag) => *flag,
            ResolvedClause::Compare(column, function, value) => {
                evaluate(*function, row.get(*column), value)
            }
        })
}

#[derive(Debug, Clone)]
struct MonitoredTable {
    /// What any of the requests for the table selects, also one that names no columns: then the
    /// client wants to know just which rows there are.
    select: Select,
    columns: Vec<(ColumnId, Select)>,
    condition: Condition,
}

/// One monitor of one client.
#[derive(Debug, Clone)]
pub struct Monitor {
    pub version: Version,
    tables: BTreeMap<TableId, MonitoredTable>,
}

/// The monitors of a database that began with the same request, so that they can share the work.
/// One whose conditions change leaves the others.
#[derive(Debug, Default)]
pub struct SharedMonitors {
    by_request: HashMap<(Version, String), Weak<Monitor>>,
    /// What the requests were looked up in.
    schema: Weak<DatabaseSchema>,
}

impl SharedMonitors {
    /// The monitor for `<monitor-requests>` or `<monitor-cond-requests>`.
    pub fn get(&mut self, db: &Database, json: &Value, version: Version) -> Result<Arc<Monitor>> {
        if !std::ptr::eq(self.schema.as_ptr(), Arc::as_ptr(db.schema())) {
            self.by_request.clear();
            self.schema = Arc::downgrade(db.schema());
        }
        let key = (version, json.to_string());
        if let Some(monitor) = self.by_request.get(&key).and_then(Weak::upgrade) {
            return Ok(monitor);
        }
        let monitor = Arc::new(Monitor::from_json(db, json, version)?);
        if self.by_request.len() == self.by_request.capacity() {
            self.by_request
                .retain(|_, monitor| monitor.strong_count() > 0);
        }
        self.by_request.insert(key, Arc::downgrade(&monitor));
        Ok(monitor)
    }
}

/// What a change of a row is to one monitor.
enum Event<'a> {
    Initial(&'a Row),
    Insert(&'a Row),
    Delete(&'a Row),
    Modify(&'a Row, &'a Row),
}

impl Monitor {
    /// Reads `<monitor-requests>` or `<monitor-cond-requests>`.
    pub fn from_json(db: &Database, json: &Value, version: Version) -> Result<Self> {
        let requests = json
            .as_object()
            .ok_or_else(|| Error::syntax(json, "monitor-requests must be object"))?;
        let mut tables = BTreeMap::new();
        for (name, requests) in requests {
            let (id, table) = find_table(db, name)?;
            // An object alone counts as an array of one.
            let requests = requests
                .as_array()
                .map_or(std::slice::from_ref(requests), Vec::as_slice);
            let mut monitored = MonitoredTable {
                select: Select::NONE,
                columns: Vec::new(),
                condition: Vec::new(),
            };
            for request in requests {
                parse_request(db, table, request, version, &mut monitored)?;
            }
            tables.insert(id, monitored);
        }
        Ok(Self { version, tables })
    }

    /// The rows as they are now, as the text of `<table-updates>` for the reply to the request.
    pub fn initial(&self, db: &Database) -> Vec<u8> {
        let mut updates = Updates::default();
        for (id, monitored) in &self.tables {
            let Some(table) = db.table(*id) else { continue };
            let rows = table.rows().map(|(uuid, row)| (uuid, &**row));
            let rows = rows.filter(|(_, row)| matches(&monitored.condition, row));
            let events = rows.map(|(uuid, row)| (uuid, Event::Initial(row)));
            self.add(&mut updates, table, monitored, events);
        }
        updates.finish()
    }

    /// The text of the table updates for what a transaction did, or `None` when nothing of it is
    /// of interest.
    pub fn update(&self, db: &Database, delta: &Delta) -> Option<Vec<u8>> {
        let mut updates = Updates::default();
        for (id, monitored) in &self.tables {
            let Some((table, changes)) = db.table(*id).zip(delta.tables.get(id)) else {
                continue;
            };
            let events = changes.iter().filter_map(|(uuid, change)| {
                let seen = |row: &&Row| matches(&monitored.condition, row);
                let old = change.old.as_deref().filter(seen);
                let new = change.new.as_deref().filter(seen);
                let event = match (old, new) {
                    (None, None) => return None,
                    (None, Some(new)) => Event::Insert(new),
                    (Some(old), None) => Event::Delete(old),
                    (Some(old), Some(new)) => Event::Modify(old, new),
                };
                Some((uuid, event))
            });
            self.add(&mut updates, table, monitored, events);
        }
        (!updates.is_empty()).then(|| updates.finish())
    }

    /// Takes new conditions from `<monitor-cond-update-requests>` and gives the updates that lead
    /// from what matched before to what matches now.
    pub fn change_conditions(&mut self, db: &Database, json: &Value) -> Result<Option<Vec<u8>>> {
        let requests = json.as_object().ok_or_else(|| {
            let details = "monitor-cond-change-requests must be object";
            Error::new(ErrorKind::SyntaxError, details)
        })?;
        let mut conditions = Vec::new();
        for (name, requests) in requests {
            let (id, table) = find_table(db, name)?;
            if !self.tables.contains_key(&id) {
                return Err(Error::new(
                    ErrorKind::SyntaxError,
                    format!("no table named {name} in monitor session"),
                ));
            }
            let requests = requests.as_array().ok_or_else(|| {
                let details = format!("table {name} no monitor-cond-change JSON array");
                Error::new(ErrorKind::SyntaxError, details)
            })?;
            let mut condition = Condition::new();
            for request in requests {
                let what = format_args!("table {name}");
                let members = Members::new(request, &what)?;
                let clauses = members.get("where");
                if clauses.is_some_and(|clauses| !clauses.is_array()) {
                    return Err(members.mismatch("where"));
                }
                let columns = members.get("columns");
                members.finish()?;
                if columns.is_some() {
                    return Err(Error::syntax(request, "changing columns is unsupported"));
                }
                // What was made by `monitor` shows every row, whatever is asked for.
                if let Some(clauses) = clauses.filter(|_| self.version != Version::V1) {
                    condition.extend(parse_condition(db, table, clauses)?);
                }
            }
            conditions.push((id, condition));
        }
        if self.version == Version::V1 {
            return Ok(None);
        }
        let mut updates = Updates::default();
        for (id, condition) in conditions {
            let Some((table, monitored)) = db.table(id).zip(self.tables.get(&id)) else {
                continue;
            };
            let events = table.rows().filter_map(|(uuid, row)| {
                match (matches(&monitored.condition, row), matches(&condition, row)) {
                    (false, true) => Some((uuid, Event::Insert(row))),
                    (true, false) => Some((uuid, Event::Delete(row))),
                    _ => None,
                }
            });
            self.add(&mut updates, table, monitored, events);
            if let Some(monitored) = self.tables.get_mut(&id) {
                monitored.condition = condition;
            }
        }
        Ok((!updates.is_empty()).then(|| updates.finish()))
    }

    /// The notification of these updates to a client that knows the monitor as `id`.
    pub fn notification(&self, id: &Value, txn_id: Uuid, updates: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(updates.len().saturating_add(160));
        text.extend_from_slice(br#"{"id":null,"method":""#);
        text.extend_from_slice(self.version.notification().as_bytes());
        text.extend_from_slice(br#"","params":["#);
        text.extend_from_slice(id.to_string().as_bytes());
        text.push(b',');
        if self.version == Version::V3 {
            text.push(b'"');
            write_uuid(&txn_id, &mut text);
            text.extend_from_slice(br#"","#);
        }
        text.extend_from_slice(updates);
        text.extend_from_slice(b"]}");
        text
    }

    fn add<'a>(
        &self,
        updates: &mut Updates,
        table: &Table,
        monitored: &MonitoredTable,
        events: impl Iterator<Item = (&'a Uuid, Event<'a>)>,
    ) {
        let write = match self.version {
            Version::V1 => row_update,
            Version::V2 | Version::V3 => row_update2,
        };
        updates.table(&table.name, |out, any| {
            for (uuid, event) in events {
                let mark = out.len();
                out.extend_from_slice(if *any { b",\"" } else { b"\"" });
                write_uuid(uuid, out);
                out.extend_from_slice(b"\":");
                match write(table, monitored, &event, out) {
                    Some(()) => *any = true,
                    None => out.truncate(mark),
                }
            }
        });
    }
}

/// The text of `<table-updates>` under construction.
#[derive(Default)]
struct Updates {
    text: Vec<u8>,
}

impl Updates {
    fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a table whose rows `write` appends; it says whether there are any.
    fn table(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>, &mut bool)) {
        let mark = self.text.len();
        self.text.push(if mark == 0 { b'{' } else { b',' });
        write_name(name, &mut self.text);
        self.text.push(b'{');
        let mut any = false;
        write(&mut self.text, &mut any);
        if any {
            self.text.push(b'}');
        } else {
            self.text.truncate(mark);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if self.text.is_empty() {
            self.text.push(b'{');
        }
        self.text.push(b'}');
        self.text
    }
}

/// Appends the name of a member and its colon. Names of tables and columns need no escapes.
fn write_name(name: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends `<row-update>`: whole old and new values; of a modified row the old ones that changed.
/// `None` when this change is of no interest; then `out` has to be cut back.
fn row_update(
    table: &Table,
    monitored: &MonitoredTable,
    event: &Event<'_>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let all = |row: &Row, wanted: fn(&Select) -> bool, out: &mut Vec<u8>| {
        write_columns(table, monitored, wanted, out, |_, id| {
            Some(Cow::Borrowed(row.get(id)))
        })
    };
    out.push(b'{');
    match event {
        Event::Initial(row) => {
            write_name("new", out);
            all(row, |select| select.initial, out)?;
        }
        Event::Insert(row) => {
            write_name("new", out);
            all(row, |select| select.insert, out)?;
        }
        Event::Delete(row) => {
            write_name("old", out);
            all(row, |select| select.delete, out)?;
        }
        Event::Modify(old, new) => {
            write_name("new", out);
            all(new, |select| select.modify, out)?;
            out.push(b',');
            write_name("old", out);
            let count = write_columns(
                table,
                monitored,
                |select| select.modify,
                out,
                |_, id| (old.get(id) != new.get(id)).then(|| Cow::Borrowed(old.get(id))),
            )?;
            if count == 0 {
                return None;
            }
        }
    }
    out.push(b'}');
    Some(())
}

/// Appends `<row-update2>`: values that are not the default; of a modified row the differences.
/// `None` as for [`row_update`].
fn row_update2(
    table: &Table,
    monitored: &MonitoredTable,
    event: &Event<'_>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let set = |row: &Row, wanted: fn(&Select) -> bool, out: &mut Vec<u8>| {
        write_columns(table, monitored, wanted, out, |column_type, id| {
            let datum = row.get(id);
            (!datum.is_default(column_type)).then_some(Cow::Borrowed(datum))
        })
    };
    out.push(b'{');
    match event {
        Event::Initial(row) => {
            write_name("initial", out);
            set(row, |select| select.initial, out)?;
        }
        Event::Insert(row) => {
            write_name("insert", out);
            set(row, |select| select.insert, out)?;
        }
        Event::Delete(_) => {
            monitored.select.delete.then_some(())?;
            out.extend_from_slice(br#""delete":null"#);
        }
        Event::Modify(old, new) => {
            write_name("modify", out);
            let count = write_columns(
                table,
                monitored,
                |select| select.modify,
                out,
                |column_type, id| {
                    let (old, new) = (old.get(id), new.get(id));
                    if old == new {
                        None
                    } else if is_diffable(column_type) {
                        Some(Cow::Owned(Datum::diff(old, new)))
                    } else {
                        Some(Cow::Borrowed(new))
                    }
                },
            )?;
            if count == 0 {
                return None;
            }
        }
    }
    out.push(b'}');
    Some(())
}

/// Appends the `<row>` of the columns that are `wanted` and for which `value` gives something, and
/// tells how many there are; `None` when this kind of change is not wanted.
fn write_columns<'r>(
    table: &Table,
    monitored: &MonitoredTable,
    wanted: fn(&Select) -> bool,
    out: &mut Vec<u8>,
    value: impl Fn(&ColumnType, ColumnId) -> Option<Cow<'r, Datum>>,
) -> Option<usize> {
    if !wanted(&monitored.select) {
        return None;
    }
    let mut count = 0usize;
    out.push(b'{');
    for (id, select) in &monitored.columns {
        let Some(column) = table.column(*id).filter(|_| wanted(select)) else {
            continue;
        };
        let column_type = &column.schema.column_type;
        let Some(datum) = value(column_type, *id) else {
            continue;
        };
        if count > 0 {
            out.push(b',');
        }
        count = count.saturating_add(1);
        write_name(&column.name, out);
        datum.write_json(column_type, out);
    }
    out.push(b'}');
    Some(count)
}

fn find_table<'d>(db: &'d Database, name: &str) -> Result<(TableId, &'d Table)> {
    let id = db.table_id(name);
    id.and_then(|id| Some((id, db.table(id)?)))
        .ok_or_else(|| Error::new(ErrorKind::SyntaxError, format!("no table named {name}")))
}

fn parse_request(
    db: &Database,
    table: &Table,
    json: &Value,
    version: Version,
    monitored: &mut MonitoredTable,
) -> Result<()> {
    let what = format!("table {}", table.name);
    let members = Members::new(json, &what)?;
    let columns = members.get("columns");
    if columns.is_some_and(|columns| !columns.is_array()) {
        return Err(members.mismatch("columns"));
    }
    let select_json = members.get("select");
    if select_json.is_some_and(|select| !select.is_object()) {
        return Err(members.mismatch("select"));
    }
    if version != Version::V1
        && let Some(clauses) = members.get("where")
    {
        if !clauses.is_array() {
            return Err(members.mismatch("where"));
        }
        monitored
            .condition
            .extend(parse_condition(db, table, clauses)?);
    }
    members.finish()?;
    let select = match select_json {
        None => Select::ALL,
        Some(json) => {
            let what = format_args!("{what} select");
            let members = Members::new(json, &what)?;
            let select = Select {
                initial: members.bool("initial", true)?,
                insert: members.bool("insert", true)?,
                delete: members.bool("delete", true)?,
                modify: members.bool("modify", true)?,
            };
            members.finish()?;
            select
        }
    };
    monitored.select = Select {
        initial: monitored.select.initial || select.initial,
        insert: monitored.select.insert || select.insert,
        delete: monitored.select.delete || select.delete,
        modify: monitored.select.modify || select.modify,
    };
    let mut add = |id: ColumnId, json: Option<&Value>, name: &str| {
        if monitored.columns.iter().any(|(other, _)| *other == id) {
            let details = format!("column {name} mentioned more than once");
            return Err(match json {
                Some(json) => Error::syntax(json, details),
                None => Error::new(ErrorKind::SyntaxError, details),
            });
        }
        monitored.columns.push((id, select));
        Ok(())
    };
    match columns {
        Some(names) => {
            for name in names.as_array().into_iter().flatten() {
                let name = name
                    .as_str()
                    .ok_or_else(|| Error::syntax(names, "array of column names expected"))?;
                let id = table.column_id(name).ok_or_else(|| {
                    Error::syntax(names, format!("{name} is not a valid column name"))
                })?;
                add(id, Some(names), name)?;
            }
        }
        None => {
            for (id, column) in table.columns.iter().enumerate() {
                if id != table.uuid_column {
                    add(id, None, &column.name)?;
                }
            }
        }
    }
    Ok(())
}

fn parse_condition(db: &Database, table: &Table, json: &Value) -> Result<Condition> {
    let schema = db.schema().table(&table.name).ok_or_else(|| {
        Error::new(
            ErrorKind::SyntaxError,
            format!("no table named {}", table.name),
        )
    })?;
    let clauses = condition::from_json(json, schema, &mut NoNames)?;
    Ok(clauses
        .into_iter()
        .filter_map(|clause| match clause {
            Clause::Bool(flag) => Some(ResolvedClause::Bool(flag)),
            Clause::Compare {
                column,
                function,
                value,
            } => Some(ResolvedClause::Compare(
                table.column_id(&column)?,
                function,
                value,
            )),
        })
        .collect())
}
