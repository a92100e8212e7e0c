//! Monitors: what a client asked to be told of a database, and the updates that tell it.
//!
//! A monitor is a pure function of changes: it is given the database after a transaction and what
//! the transaction did, and gives the notification's table updates. It keeps no rows.
//!
//! Source: RFC 7047, 4.1.5 to 4.1.7; ovsdb-server(7), 4.1.12 to 4.1.15 for the conditional ones.

use std::collections::BTreeMap;

use ovsdb::condition::{self, Clause, Function, evaluate};
use ovsdb::error::{Error, ErrorKind, Result};
use ovsdb::members::Members;
use ovsdb::value::NoNames;
use ovsdb::{Datum, Uuid};
use serde_json::{Map, Value, json};

use crate::database::{ColumnId, Database, Delta, Row, Table, TableId};
use crate::record::is_diffable;

/// Which of the three protocols a monitor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// The rows as they are now, for the reply to the request.
    pub fn initial(&self, db: &Database) -> Value {
        let mut updates = Updates::default();
        for (id, monitored) in &self.tables {
            let Some(table) = db.table(*id) else { continue };
            for (uuid, row) in table.rows() {
                if matches(&monitored.condition, row) {
                    self.add(&mut updates, table, monitored, uuid, &Event::Initial(row));
                }
            }
        }
        updates.into_json()
    }

    /// The table updates for what a transaction did, or `None` when nothing of it is of interest.
    pub fn update(&self, db: &Database, delta: &Delta) -> Option<Value> {
        let mut updates = Updates::default();
        for (id, monitored) in &self.tables {
            let Some((table, changes)) = db.table(*id).zip(delta.tables.get(id)) else {
                continue;
            };
            for (uuid, change) in changes {
                let seen = |row: &&Row| matches(&monitored.condition, row);
                let old = change.old.as_deref().filter(seen);
                let new = change.new.as_deref().filter(seen);
                let event = match (old, new) {
                    (None, None) => continue,
                    (None, Some(new)) => Event::Insert(new),
                    (Some(old), None) => Event::Delete(old),
                    (Some(old), Some(new)) => Event::Modify(old, new),
                };
                self.add(&mut updates, table, monitored, uuid, &event);
            }
        }
        (!updates.tables.is_empty()).then(|| updates.into_json())
    }

    /// Takes new conditions from `<monitor-cond-update-requests>` and gives the updates that lead
    /// from what matched before to what matches now.
    pub fn change_conditions(&mut self, db: &Database, json: &Value) -> Result<Option<Value>> {
        let requests = json
            .as_object()
            .ok_or_else(|| Error::syntax(json, "monitor-cond-change-requests must be object"))?;
        let mut conditions = Vec::new();
        for (name, requests) in requests {
            let (id, table) = find_table(db, name)?;
            if !self.tables.contains_key(&id) {
                return Err(Error::new(
                    ErrorKind::SyntaxError,
                    format!("no table named {name} in monitor session"),
                ));
            }
            let requests = requests
                .as_array()
                .map_or(std::slice::from_ref(requests), Vec::as_slice);
            let mut condition = Condition::new();
            for request in requests {
                let members = Members::new(request, &format!("table {name}"))?;
                let clauses = members.get("where");
                members.finish()?;
                if let Some(clauses) = clauses {
                    condition.extend(parse_condition(db, table, clauses)?);
                }
            }
            conditions.push((id, condition));
        }
        let mut updates = Updates::default();
        for (id, condition) in conditions {
            let Some((table, monitored)) = db.table(id).zip(self.tables.get(&id)) else {
                continue;
            };
            for (uuid, row) in table.rows() {
                match (matches(&monitored.condition, row), matches(&condition, row)) {
                    (false, true) => {
                        self.add(&mut updates, table, monitored, uuid, &Event::Insert(row));
                    }
                    (true, false) => {
                        self.add(&mut updates, table, monitored, uuid, &Event::Delete(row));
                    }
                    _ => {}
                }
            }
            if let Some(monitored) = self.tables.get_mut(&id) {
                monitored.condition = condition;
            }
        }
        Ok((!updates.tables.is_empty()).then(|| updates.into_json()))
    }

    fn add(
        &self,
        updates: &mut Updates,
        table: &Table,
        monitored: &MonitoredTable,
        uuid: &Uuid,
        event: &Event<'_>,
    ) {
        let json = match self.version {
            Version::V1 => row_update(table, monitored, event),
            Version::V2 | Version::V3 => row_update2(table, monitored, event),
        };
        if let Some(json) = json {
            let rows = updates.tables.entry(table.name.clone()).or_default();
            rows.insert(uuid.hyphenated().to_string(), json);
        }
    }
}

/// `<table-updates>` under construction.
#[derive(Default)]
struct Updates {
    tables: BTreeMap<String, Map<String, Value>>,
}

impl Updates {
    fn into_json(self) -> Value {
        self.tables
            .into_iter()
            .map(|(name, rows)| (name, Value::Object(rows)))
            .collect()
    }
}

/// `<row-update>`: whole old and new values; of a modified row the old ones that changed.
fn row_update(table: &Table, monitored: &MonitoredTable, event: &Event<'_>) -> Option<Value> {
    let all = |row: &Row, wanted: fn(&Select) -> bool| {
        columns_json(table, monitored, wanted, |id| Some(row.get(id).clone()))
    };
    Some(match event {
        Event::Initial(row) => json!({"new": all(row, |select| select.initial)?}),
        Event::Insert(row) => json!({"new": all(row, |select| select.insert)?}),
        Event::Delete(row) => json!({"old": all(row, |select| select.delete)?}),
        Event::Modify(old, new) => {
            let changed = columns_json(
                table,
                monitored,
                |select| select.modify,
                |id| (old.get(id) != new.get(id)).then(|| old.get(id).clone()),
            )?;
            if changed.is_empty() {
                return None;
            }
            json!({"new": all(new, |select| select.modify)?, "old": changed})
        }
    })
}

/// `<row-update2>`: values that are not the default; of a modified row the differences.
fn row_update2(table: &Table, monitored: &MonitoredTable, event: &Event<'_>) -> Option<Value> {
    let set = |row: &Row, wanted: fn(&Select) -> bool| {
        columns_json(table, monitored, wanted, |id| {
            let column_type = &table.column(id)?.schema.column_type;
            let datum = row.get(id);
            (!datum.is_default(column_type)).then(|| datum.clone())
        })
    };
    Some(match event {
        Event::Initial(row) => json!({"initial": set(row, |select| select.initial)?}),
        Event::Insert(row) => json!({"insert": set(row, |select| select.insert)?}),
        Event::Delete(_) => {
            monitored.select.delete.then_some(())?;
            json!({"delete": null})
        }
        Event::Modify(old, new) => {
            let changed = columns_json(
                table,
                monitored,
                |select| select.modify,
                |id| {
                    let (old, new) = (old.get(id), new.get(id));
                    let column_type = &table.column(id)?.schema.column_type;
                    if old == new {
                        None
                    } else if is_diffable(column_type) {
                        Some(Datum::diff(old, new))
                    } else {
                        Some(new.clone())
                    }
                },
            )?;
            if changed.is_empty() {
                return None;
            }
            json!({"modify": changed})
        }
    })
}

/// The `<row>` of the columns that are `wanted` and for which `value` gives something; `None` when
/// this kind of change is not.
fn columns_json(
    table: &Table,
    monitored: &MonitoredTable,
    wanted: fn(&Select) -> bool,
    value: impl Fn(ColumnId) -> Option<Datum>,
) -> Option<Map<String, Value>> {
    if !wanted(&monitored.select) {
        return None;
    }
    let mut map = Map::new();
    for (id, _) in monitored
        .columns
        .iter()
        .filter(|(_, select)| wanted(select))
    {
        let Some((column, datum)) = table.column(*id).zip(value(*id)) else {
            continue;
        };
        let json = datum.to_json(&column.schema.column_type);
        map.insert(column.name.clone(), json);
    }
    Some(map)
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
            let members = Members::new(json, &format!("{what} select"))?;
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
    let mut add = |id: ColumnId, json: &Value, name: &str| {
        if monitored.columns.iter().any(|(other, _)| *other == id) {
            return Err(Error::syntax(
                json,
                format!("column {name} mentioned more than once"),
            ));
        }
        monitored.columns.push((id, select));
        Ok(())
    };
    match columns {
        Some(names) => {
            for name in names.as_array().into_iter().flatten() {
                let id = name
                    .as_str()
                    .and_then(|name| table.column_id(name))
                    .ok_or_else(|| {
                        let name = name.as_str().unwrap_or_default();
                        Error::syntax(names, format!("{name} is not a valid column name"))
                    })?;
                add(id, names, name.as_str().unwrap_or_default())?;
            }
        }
        None => {
            for (id, column) in table.columns.iter().enumerate() {
                if id != table.uuid_column {
                    add(id, json, &column.name)?;
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
