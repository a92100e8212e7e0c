//! A client's copy of what it monitors, kept by the letter of RFC 7047, 4.1.6, and
//! ovsdb-server(7), 4.1.12 to 4.1.15.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::reference::schema::{Base, Column, Schema};
use super::reference::value::{Atom, Datum, Nameless, datum, default_datum};
use super::reference::{Row, Tables, clause_holds, parse_clause, project};
use super::source::Source;
use super::transactions;

/// Reads a value that need not keep to the column's constraints, as defaults do not.
pub fn read(json: &Value, column: &Column) -> Result<Datum, String> {
    let free = Column {
        key: Base::plain(column.key.kind),
        value: column.value.as_ref().map(|base| Base::plain(base.kind)),
        ..column.clone()
    };
    datum(json, &free, (0, usize::MAX), &mut Nameless).map_err(|error| format!("{error} in {json}"))
}

struct Monitored {
    columns: BTreeSet<String>,
    conditions: Vec<Value>,
}

/// One monitor and its copy of the rows.
pub struct Replica {
    id: Value,
    version: u8,
    tables: BTreeMap<String, Monitored>,
    rows: Tables,
    last_id: String,
    /// False while it is cancelled, to come back later.
    pub watching: bool,
}

impl Replica {
    /// A monitor of random tables and columns, with random conditions from version 2 on.
    pub fn random(source: &mut Source<'_>, schema: &Schema, version: u8, id: usize) -> Self {
        let mut tables = BTreeMap::new();
        let whole = source.chance(40);
        let empty: Tables = empty(schema);
        for (name, table) in &schema.tables {
            if !whole && source.chance(30) {
                continue;
            }
            let columns = table
                .columns
                .keys()
                .filter(|_| whole || source.chance(70))
                .cloned()
                .collect();
            let conditions = if version > 1 && !whole {
                transactions::condition(source, schema, &empty, name)
            } else {
                Vec::new()
            };
            let monitored = Monitored {
                columns,
                conditions,
            };
            tables.insert(name.clone(), monitored);
        }
        let id = source.pick(&[json!(id), json!(format!("m{id}")), json!([id, null])]);
        Self {
            id,
            version,
            tables,
            rows: empty,
            last_id: "00000000-0000-0000-0000-000000000000".to_owned(),
            watching: false,
        }
    }

    pub fn id(&self) -> &Value {
        &self.id
    }

    pub fn has_conditions(&self) -> bool {
        self.version > 1 && !self.tables.is_empty()
    }

    /// The request that starts it.
    pub fn request(&self, db: &str) -> (&'static str, Value) {
        let requests: Map<String, Value> = self
            .tables
            .iter()
            .map(|(name, monitored)| {
                let mut request = json!({"columns": monitored.columns});
                if !monitored.conditions.is_empty() {
                    request["where"] = json!(monitored.conditions);
                }
                (name.clone(), json!([request]))
            })
            .collect();
        match self.version {
            1 => ("monitor", json!([db, self.id, requests])),
            2 => ("monitor_cond", json!([db, self.id, requests])),
            _ => (
                "monitor_cond_since",
                json!([db, self.id, requests, self.last_id]),
            ),
        }
    }

    /// Takes the reply to the request.
    pub fn started(&mut self, schema: &Schema, reply: &Value) -> Result<(), String> {
        self.watching = true;
        if self.version < 3 {
            self.rows = empty(schema);
            return self.apply(schema, reply);
        }
        if reply[0] == json!(false) {
            self.rows = empty(schema);
        }
        self.last_id = reply[1].as_str().ok_or("no transaction id")?.to_owned();
        self.apply(schema, &reply[2])
    }

    /// New conditions for a table: the parameters of `monitor_cond_change`.
    pub fn change(&mut self, source: &mut Source<'_>, schema: &Schema, rows: &Tables) -> Value {
        let names: Vec<String> = self.tables.keys().cloned().collect();
        let name = source.pick(&names);
        let conditions = transactions::condition(source, schema, rows, &name);
        let params = json!([self.id, self.id, {&name: [{"where": conditions}]}]);
        self.tables.get_mut(&name).expect("monitored").conditions = conditions;
        params
    }

    /// Takes a notification.
    pub fn notified(
        &mut self,
        schema: &Schema,
        method: &str,
        params: &Value,
    ) -> Result<(), String> {
        let (expected, updates) = match self.version {
            1 => ("update", &params[1]),
            2 => ("update2", &params[1]),
            _ => {
                self.last_id = params[1].as_str().ok_or("no transaction id")?.to_owned();
                ("update3", &params[2])
            }
        };
        if method != expected {
            return Err(format!(
                "{method} for a monitor of version {}",
                self.version
            ));
        }
        if updates.as_object().is_none_or(Map::is_empty) {
            return Err(format!("an update of nothing: {params}"));
        }
        self.apply(schema, updates)
    }

    fn apply(&mut self, schema: &Schema, updates: &Value) -> Result<(), String> {
        let updates = updates.as_object().ok_or("updates are no object")?;
        for (name, rows) in updates {
            let monitored = self
                .tables
                .get(name)
                .ok_or("a table that is not monitored")?;
            let table = &schema.tables[name];
            let own = self.rows.get_mut(name).expect("every table");
            for (uuid, update) in rows.as_object().ok_or("rows are no object")? {
                let wrong = |why: &str| format!("{why}: {name} {uuid} {update}");
                let values = |json: &Value| -> Result<Row, String> {
                    let members = json.as_object().ok_or_else(|| wrong("no row"))?;
                    let mut row = Row::new();
                    for (column, value) in members {
                        if !monitored.columns.contains(column) {
                            return Err(wrong("a column that is not monitored"));
                        }
                        row.insert(column.clone(), read(value, &table.columns[column])?);
                    }
                    Ok(row)
                };
                let old = own.get(uuid).cloned();
                if self.version == 1 {
                    let (before, after) = (update.get("old"), update.get("new"));
                    let before = before.map(values).transpose()?;
                    match (&old, &before) {
                        (None, None) => {}
                        (Some(old), Some(before)) => {
                            if before
                                .iter()
                                .any(|(name, datum)| old.get(name) != Some(datum))
                            {
                                return Err(wrong("other old values"));
                            }
                        }
                        _ => return Err(wrong("inserted twice, or changed and not there")),
                    }
                    match after.map(values).transpose()? {
                        Some(after) if after.len() == monitored.columns.len() => {
                            own.insert(uuid.clone(), after);
                        }
                        Some(_) => return Err(wrong("columns are missing")),
                        None => {
                            own.remove(uuid);
                        }
                    }
                    continue;
                }
                let members = update.as_object().ok_or_else(|| wrong("no object"))?;
                let (kind, json) = members.iter().next().ok_or_else(|| wrong("nothing"))?;
                match (kind.as_str(), old) {
                    ("initial" | "insert", None) => {
                        let mut row: Row = monitored
                            .columns
                            .iter()
                            .map(|name| (name.clone(), default_datum(&table.columns[name])))
                            .collect();
                        row.extend(values(json)?);
                        own.insert(uuid.clone(), row);
                    }
                    ("delete", Some(_)) => {
                        own.remove(uuid);
                    }
                    ("modify", Some(mut row)) => {
                        for (name, change) in values(json)? {
                            let datum = row.get_mut(&name).expect("all columns");
                            if table.columns[&name].max > 1 {
                                toggle(datum, change);
                            } else if *datum == change {
                                return Err(wrong("a change to what was there"));
                            } else {
                                *datum = change;
                            }
                        }
                        own.insert(uuid.clone(), row);
                    }
                    _ => return Err(wrong("does not fit what is here")),
                }
            }
        }
        Ok(())
    }

    /// Whether the copy is what the monitor shows of `rows`.
    pub fn check(&self, schema: &Schema, rows: &Tables) -> Result<(), String> {
        let mut expected = empty(schema);
        for (name, monitored) in &self.tables {
            let table = &schema.tables[name];
            let clauses: Vec<_> = monitored
                .conditions
                .iter()
                .map(|json| parse_clause(table, json, &mut Nameless).expect("a valid clause"))
                .collect();
            for (uuid, row) in &rows[name] {
                if clauses.is_empty()
                    || clauses.iter().any(|clause| clause_holds(clause, row, uuid))
                {
                    let row = project(row, uuid, &monitored.columns);
                    expected
                        .get_mut(name)
                        .expect("every table")
                        .insert(uuid.clone(), row);
                }
            }
        }
        if self.rows == expected {
            return Ok(());
        }
        Err(format!(
            "monitor {} of version {}, {:?}:\n got {:?}\n expected {expected:?}",
            self.id,
            self.version,
            self.request("").1,
            self.rows
        ))
    }
}

/// The difference of a set or a map: what is in both goes, unless a map's value is another.
fn toggle(datum: &mut Datum, change: Datum) {
    for (key, value) in change {
        match datum.get(&key) {
            Some(old) if *old == value => {
                datum.remove(&key);
            }
            _ => {
                datum.insert(key, value);
            }
        }
    }
}

pub fn empty(schema: &Schema) -> Tables {
    schema
        .tables
        .keys()
        .map(|name| (name.clone(), BTreeMap::new()))
        .collect()
}

/// The row of a `select`, its UUID apart.
pub fn selected(schema: &Schema, table: &str, json: &Value) -> Result<(Option<Atom>, Row), String> {
    let mut row = Row::new();
    let mut uuid = None;
    for (name, value) in json.as_object().ok_or("a row is no object")? {
        if name == "_version" {
            continue;
        }
        let column = schema.tables[table]
            .column(name)
            .ok_or_else(|| format!("column {name} out of nowhere"))?;
        let datum = read(value, &column)?;
        if name == "_uuid" {
            uuid = datum.into_keys().next();
        } else {
            row.insert(name.clone(), datum);
        }
    }
    Ok((uuid, row))
}
