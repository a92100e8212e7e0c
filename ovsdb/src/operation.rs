//! The operations of a `transact` request.
//!
//! A server parses operations one at a time, as it executes them, because names and errors depend
//! on what came before; a client builds them and emits them with the names of the rows it inserts.
//!
//! Source: RFC 7047, 5.2; ovsdb-server(7), 4.1.3 for `uuid` in `insert`.

mod text;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::condition::{self, Clause};
use crate::error::{Error, ErrorKind, Result};
use crate::members::Members;
use crate::mutation::Mutation;
use crate::schema::{DatabaseSchema, TableSchema, column_names};
use crate::value::{Datum, Names, UuidNames, json_integer, parse_uuid};

pub use text::{OperationText, Transact};

/// `<row>`: values by column.
pub type Row = BTreeMap<String, Datum>;

/// `until` of a `wait`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Equal,
    NotEqual,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    Insert {
        table: String,
        row: Row,
        uuid_name: Option<String>,
        uuid: Option<Uuid>,
    },
    Select {
        table: String,
        condition: Vec<Clause>,
        columns: Option<Vec<String>>,
    },
    Update {
        table: String,
        condition: Vec<Clause>,
        row: Row,
    },
    Mutate {
        table: String,
        condition: Vec<Clause>,
        mutations: Vec<Mutation>,
    },
    Delete {
        table: String,
        condition: Vec<Clause>,
    },
    Wait {
        table: String,
        condition: Vec<Clause>,
        columns: Option<Vec<String>>,
        until: Until,
        rows: Vec<Row>,
        /// In milliseconds; `None` waits without end.
        timeout: Option<u64>,
    },
    Commit {
        durable: bool,
    },
    Abort,
    Comment {
        comment: String,
    },
    Assert {
        lock: String,
    },
}

impl Operation {
    /// Parses one operation. `position` is its place as messages give it, such as `1 of 3`.
    pub fn from_json(
        json: &Value,
        schema: &DatabaseSchema,
        names: &mut dyn Names,
        position: impl fmt::Display,
    ) -> Result<Self> {
        let what = format_args!("ovsdb operation {position}");
        let members = Members::new(json, &what)?;
        let op = members.id("op")?;
        match op {
            "insert" => {
                let (table, table_schema) = table(&members, schema)?;
                let row_json = members.object("row")?;
                let uuid_json = members.get("uuid");
                let uuid_name = match members.get("uuid-name") {
                    None => None,
                    Some(_) => Some(members.id("uuid-name")?.to_owned()),
                };
                let uuid = match uuid_json {
                    None => None,
                    Some(Value::String(text)) => Some(
                        parse_uuid(text).ok_or_else(|| Error::syntax(&json!(text), "bad uuid"))?,
                    ),
                    Some(_) => return Err(members.mismatch("uuid")),
                };
                members.finish()?;
                let uuid = names.insert(&table, uuid_name.as_deref(), uuid)?;
                let row = row_from_json(row_json, table_schema, names)?;
                Ok(Self::Insert {
                    table,
                    row,
                    uuid_name,
                    uuid,
                })
            }
            "select" => {
                let (table, table_schema) = table(&members, schema)?;
                let condition_json = members.array("where")?;
                let columns_json = optional_array(&members, "columns")?;
                optional_array(&members, "sort")?;
                members.finish()?;
                let condition = condition::from_json(condition_json, table_schema, names)?;
                let columns = columns_json
                    .map(|json| column_names(json, table_schema))
                    .transpose()?;
                Ok(Self::Select {
                    table,
                    condition,
                    columns,
                })
            }
            "update" => {
                let (table, table_schema) = table(&members, schema)?;
                let condition_json = members.array("where")?;
                let row_json = members.object("row")?;
                members.finish()?;
                let row = row_from_json(row_json, table_schema, names)?;
                let fixed = row.keys().find(|name| {
                    table_schema
                        .column(name)
                        .is_none_or(|column| !column.mutable)
                });
                if let Some(column) = fixed {
                    return Err(Error::with_syntax(
                        ErrorKind::ConstraintViolation,
                        json,
                        format!("Cannot update immutable column {column} in table {table}."),
                    ));
                }
                let condition = condition::from_json(condition_json, table_schema, names)?;
                Ok(Self::Update {
                    table,
                    condition,
                    row,
                })
            }
            "mutate" => {
                let (table, table_schema) = table(&members, schema)?;
                let condition_json = members.array("where")?;
                let mutations_json = members.array("mutations")?;
                members.finish()?;
                let mut mutations = Vec::new();
                for json in mutations_json.as_array().into_iter().flatten() {
                    mutations.push(Mutation::from_json(json, table_schema, names)?);
                }
                let condition = condition::from_json(condition_json, table_schema, names)?;
                Ok(Self::Mutate {
                    table,
                    condition,
                    mutations,
                })
            }
            "delete" => {
                let (table, table_schema) = table(&members, schema)?;
                let condition_json = members.array("where")?;
                members.finish()?;
                let condition = condition::from_json(condition_json, table_schema, names)?;
                Ok(Self::Delete { table, condition })
            }
            "wait" => {
                let (table, table_schema) = table(&members, schema)?;
                let timeout_json = members.get("timeout");
                let condition_json = members.array("where")?;
                let columns_json = optional_array(&members, "columns")?;
                let until = members.string("until")?;
                let rows_json = members.array("rows")?;
                members.finish()?;
                let timeout =
                    match timeout_json {
                        None => None,
                        Some(number) => match json_integer(number) {
                            Some(ms) => Some(u64::try_from(ms).map_err(|_| {
                                Error::syntax(number, "timeout must be nonnegative")
                            })?),
                            None => return Err(members.mismatch("timeout")),
                        },
                    };
                let condition = condition::from_json(condition_json, table_schema, names)?;
                let columns = columns_json
                    .map(|json| column_names(json, table_schema))
                    .transpose()?;
                let until = match until {
                    "==" => Until::Equal,
                    "!=" => Until::NotEqual,
                    _ => {
                        return Err(Error::syntax(
                            &json!(until),
                            "\"until\" must be \"==\" or \"!=\"",
                        ));
                    }
                };
                let mut rows = Vec::new();
                for json in rows_json.as_array().into_iter().flatten() {
                    let row = json
                        .as_object()
                        .ok_or_else(|| Error::syntax(json, "row must be JSON object"))?;
                    rows.push(row_from_json(row, table_schema, names)?);
                }
                Ok(Self::Wait {
                    table,
                    condition,
                    columns,
                    until,
                    rows,
                    timeout,
                })
            }
            "commit" => {
                let durable = members
                    .require("durable")?
                    .as_bool()
                    .ok_or_else(|| members.mismatch("durable"))?;
                members.finish()?;
                Ok(Self::Commit { durable })
            }
            "abort" => members.finish().map(|()| Self::Abort),
            "comment" => {
                let comment = members.string("comment")?.to_owned();
                members.finish()?;
                Ok(Self::Comment { comment })
            }
            "assert" => {
                let lock = members.id("lock")?.to_owned();
                members.finish()?;
                Ok(Self::Assert { lock })
            }
            _ => Err(members.fail(&format!("No operation \"{op}\""))),
        }
    }

    /// The JSON of this operation; rows in `names` are referred to by name.
    pub fn to_json(&self, schema: &DatabaseSchema, names: &UuidNames) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, value: Value| {
            map.insert(name.to_owned(), value);
        };
        put("op", json!(self.name()));
        let table_schema = self.table().and_then(|table| schema.table(table));
        if let Some(table) = self.table() {
            put("table", json!(table));
        }
        let Some(table) = table_schema else {
            match self {
                Self::Commit { durable } => put("durable", json!(durable)),
                Self::Comment { comment } => put("comment", json!(comment)),
                Self::Assert { lock } => put("lock", json!(lock)),
                _ => {}
            }
            return Value::Object(map);
        };
        if let Some(condition) = self.condition() {
            let clauses = condition
                .iter()
                .map(|clause| clause.to_json(table, names))
                .collect();
            put("where", Value::Array(clauses));
        }
        match self {
            Self::Insert {
                row,
                uuid_name,
                uuid,
                ..
            } => {
                put("row", row_to_json(row, table, names));
                if let Some(name) = uuid_name {
                    put("uuid-name", json!(name));
                }
                if let Some(uuid) = uuid {
                    put("uuid", json!(uuid.hyphenated().to_string()));
                }
            }
            Self::Select {
                columns: Some(columns),
                ..
            } => put("columns", json!(columns)),
            Self::Update { row, .. } => put("row", row_to_json(row, table, names)),
            Self::Mutate { mutations, .. } => {
                let list = mutations
                    .iter()
                    .map(|mutation| mutation.to_json(table, names))
                    .collect();
                put("mutations", Value::Array(list));
            }
            Self::Wait {
                columns,
                until,
                rows,
                timeout,
                ..
            } => {
                if let Some(columns) = columns {
                    put("columns", json!(columns));
                }
                put(
                    "until",
                    json!(if *until == Until::Equal { "==" } else { "!=" }),
                );
                put(
                    "rows",
                    rows.iter()
                        .map(|row| row_to_json(row, table, names))
                        .collect(),
                );
                if let Some(timeout) = timeout {
                    put("timeout", json!(timeout));
                }
            }
            _ => {}
        }
        Value::Object(map)
    }

    /// The `op` member.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Insert { .. } => "insert",
            Self::Select { .. } => "select",
            Self::Update { .. } => "update",
            Self::Mutate { .. } => "mutate",
            Self::Delete { .. } => "delete",
            Self::Wait { .. } => "wait",
            Self::Commit { .. } => "commit",
            Self::Abort => "abort",
            Self::Comment { .. } => "comment",
            Self::Assert { .. } => "assert",
        }
    }

    /// The table that the operation is about.
    pub fn table(&self) -> Option<&str> {
        match self {
            Self::Insert { table, .. }
            | Self::Select { table, .. }
            | Self::Update { table, .. }
            | Self::Mutate { table, .. }
            | Self::Delete { table, .. }
            | Self::Wait { table, .. } => Some(table),
            _ => None,
        }
    }

    fn condition(&self) -> Option<&[Clause]> {
        match self {
            Self::Select { condition, .. }
            | Self::Update { condition, .. }
            | Self::Mutate { condition, .. }
            | Self::Delete { condition, .. }
            | Self::Wait { condition, .. } => Some(condition),
            _ => None,
        }
    }
}

/// Reads the columns of a `<row>`; `_uuid` and `_version` are accepted and dropped by the caller.
pub fn row_from_json(
    json: &Map<String, Value>,
    table: &TableSchema,
    names: &mut dyn Names,
) -> Result<Row> {
    let mut row = Row::new();
    for (name, value) in json {
        let column = table.column(name).ok_or_else(|| {
            Error::with_syntax(
                ErrorKind::UnknownColumn,
                &Value::Object(json.clone()),
                format!("No column {name} in table {}.", table.name),
            )
        })?;
        row.insert(
            name.clone(),
            Datum::from_json(value, &column.column_type, names)?,
        );
    }
    Ok(row)
}

fn row_to_json(row: &Row, table: &TableSchema, names: &UuidNames) -> Value {
    let members = row.iter().filter_map(|(name, datum)| {
        let column = table.column(name)?;
        Some((
            name.clone(),
            datum.to_json_named(&column.column_type, names),
        ))
    });
    Value::Object(members.collect())
}

fn table<'s>(
    members: &Members<'_>,
    schema: &'s DatabaseSchema,
) -> Result<(String, &'s TableSchema)> {
    let name = members.id("table")?;
    let table = schema
        .table(name)
        .ok_or_else(|| members.fail(&format!("No table named {name}.")))?;
    Ok((name.to_owned(), table))
}

fn optional_array<'a>(members: &Members<'a>, name: &str) -> Result<Option<&'a Value>> {
    match members.get(name) {
        None => Ok(None),
        Some(value) if value.is_array() => Ok(Some(value)),
        Some(_) => Err(members.mismatch(name)),
    }
}
