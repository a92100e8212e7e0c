//! Database schemas: which tables, columns and values a database has.
//!
//! Parsing names the table and the column that is at fault; emitting leaves out defaults, as
//! ovsdb-server does. Collections are ordered by name.
//!
//! Source: RFC 7047, 3.2; ovsdb(7) for the implicit columns `_uuid` and `_version`.

mod types;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::members::Members;
use crate::value::json_integer;

pub use types::{AtomicType, BaseType, ColumnType, Constraint, RefKind};

/// `<column-schema>`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSchema {
    /// Which values the column may have.
    pub column_type: ColumnType,
    /// Whether the values are lost when the server ends.
    pub ephemeral: bool,
    /// Whether the values of a row may be changed once it is there.
    pub mutable: bool,
}

/// `<table-schema>`.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSchema {
    /// The name that the database schema has the table under.
    pub name: String,
    /// All columns but `_uuid` and `_version`.
    pub columns: BTreeMap<String, ColumnSchema>,
    /// Most rows after a transaction; `None` for no limit.
    pub max_rows: Option<u64>,
    /// Whether rows live on without a strong reference to them.
    pub is_root: bool,
    /// Column sets that are unique over the rows.
    pub indexes: Vec<Vec<String>>,
}

/// `<database-schema>`.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseSchema {
    /// The name that requests give.
    pub name: String,
    /// `x.y.z`; empty when there is none.
    pub version: String,
    /// Of the text that the schema was made from.
    pub cksum: Option<String>,
    /// All tables.
    pub tables: BTreeMap<String, TableSchema>,
}

static UUID_COLUMN: LazyLock<ColumnSchema> = LazyLock::new(|| ColumnSchema {
    column_type: ColumnType::scalar(AtomicType::Uuid),
    ephemeral: false,
    mutable: false,
});

static VERSION_COLUMN: LazyLock<ColumnSchema> = LazyLock::new(|| ColumnSchema {
    column_type: ColumnType::scalar(AtomicType::Uuid),
    ephemeral: true,
    mutable: false,
});

impl DatabaseSchema {
    /// Parses a `<database-schema>` and checks it as a whole.
    pub fn from_json(json: &Value) -> Result<Self> {
        let members = Members::new(json, &"database schema")?;
        let name = members.id("name")?.to_owned();
        let version = match members.get("version") {
            None => String::new(),
            Some(version) => {
                let text = version
                    .as_str()
                    .ok_or_else(|| members.mismatch("version"))?;
                if !is_version(text) {
                    return Err(Error::syntax(
                        json,
                        format!("schema version \"{text}\" not in format x.y.z"),
                    ));
                }
                text.to_owned()
            }
        };
        let cksum = match members.get("cksum") {
            None => None,
            Some(cksum) => Some(
                cksum
                    .as_str()
                    .ok_or_else(|| members.mismatch("cksum"))?
                    .to_owned(),
            ),
        };
        let tables_json = members.object("tables")?;
        members.finish()?;
        let mut tables = BTreeMap::new();
        for (table_name, table_json) in tables_json {
            if !is_id(table_name) || table_name.starts_with('_') {
                return Err(Error::syntax(
                    json,
                    format!("\"{table_name}\" is not a valid name of a table"),
                ));
            }
            let table = TableSchema::from_json(table_name, table_json)
                .map_err(|error| within(error, &format!("table {table_name}")))?;
            tables.insert(table_name.clone(), table);
        }
        let mut schema = Self {
            name,
            version,
            cksum,
            tables,
        };
        schema.check_references()?;
        schema.default_roots();
        Ok(schema)
    }

    /// The `<database-schema>`.
    pub fn to_json(&self) -> Value {
        // Where every table is a root none says so, as in schemas that predate `isRoot`.
        let all_roots = self.tables.values().all(|table| table.is_root);
        let tables: Map<String, Value> = self
            .tables
            .iter()
            .map(|(name, table)| (name.clone(), table.to_json(all_roots)))
            .collect();
        let mut map = Map::new();
        if let Some(cksum) = &self.cksum {
            map.insert("cksum".into(), json!(cksum));
        }
        map.insert("name".into(), json!(self.name));
        map.insert("tables".into(), Value::Object(tables));
        if !self.version.is_empty() {
            map.insert("version".into(), json!(self.version));
        }
        Value::Object(map)
    }

    /// The named table.
    pub fn table(&self, name: &str) -> Option<&TableSchema> {
        self.tables.get(name)
    }

    /// The column `column` of `table`; `_uuid` and `_version` are in every table.
    pub fn column(&self, table: &str, column: &str) -> Option<&ColumnSchema> {
        self.tables.get(table)?.column(column)
    }

    fn check_references(&self) -> Result<()> {
        for (table_name, table) in &self.tables {
            for (column_name, column) in &table.columns {
                let bases = [
                    Some(&column.column_type.key),
                    column.column_type.value.as_ref(),
                ];
                for (base, part) in bases.into_iter().zip(["key", "value"]) {
                    let Some((target, _)) = base.and_then(BaseType::reference) else {
                        continue;
                    };
                    if !self.tables.contains_key(target) {
                        let details = format!(
                            "table {table_name}: column {column_name} {part} refers to undefined table {target}"
                        );
                        return Err(Error::new(ErrorKind::SyntaxError, details));
                    }
                }
            }
        }
        Ok(())
    }

    /// A schema in which no table says `isRoot` predates it: then every table is a root.
    fn default_roots(&mut self) {
        if self.tables.values().all(|table| !table.is_root) {
            for table in self.tables.values_mut() {
                table.is_root = true;
            }
        }
    }
}

impl TableSchema {
    fn from_json(name: &str, json: &Value) -> Result<Self> {
        let members = Members::new(json, &"table schema")?;
        let columns_json = members.object("columns")?;
        let max_rows = match members.get("maxRows") {
            None => None,
            Some(number) => match json_integer(number) {
                Some(rows @ 1..) => Some(rows as u64),
                Some(_) => return Err(Error::syntax(json, "maxRows must be at least 1")),
                None => return Err(members.mismatch("maxRows")),
            },
        };
        let is_root = members.bool("isRoot", false)?;
        let indexes_json = members.get("indexes");
        members.finish()?;
        if columns_json.is_empty() {
            return Err(Error::syntax(json, "table must have at least one column"));
        }
        let mut columns = BTreeMap::new();
        for (name, column_json) in columns_json {
            if !is_id(name) || name.starts_with('_') {
                return Err(Error::syntax(
                    json,
                    format!("\"{name}\" is not a valid name of a column"),
                ));
            }
            let column = ColumnSchema::from_json(column_json)
                .map_err(|error| within(error, &format!("column {name}")))?;
            columns.insert(name.clone(), column);
        }
        let mut table = Self {
            name: name.to_owned(),
            columns,
            max_rows,
            is_root,
            indexes: Vec::new(),
        };
        if let Some(indexes) = indexes_json {
            table.parse_indexes(indexes)?;
        }
        Ok(table)
    }

    fn parse_indexes(&mut self, json: &Value) -> Result<()> {
        let indexes = json
            .as_array()
            .ok_or_else(|| Error::syntax(json, "array of column sets expected for indexes"))?;
        for index in indexes {
            let names = column_names(index, self)?;
            if names.is_empty() {
                return Err(Error::syntax(index, "index must have at least one column"));
            }
            for name in &names {
                if self.column(name).is_none_or(|column| column.ephemeral) {
                    return Err(Error::syntax(
                        index,
                        format!("ephemeral columns (such as {name}) may not be indexed"),
                    ));
                }
            }
            self.indexes.push(names);
        }
        Ok(())
    }

    fn to_json(&self, all_roots: bool) -> Value {
        let mut map = Map::new();
        let columns: Map<String, Value> = self
            .columns
            .iter()
            .map(|(name, column)| (name.clone(), column.to_json()))
            .collect();
        map.insert("columns".into(), Value::Object(columns));
        if !self.indexes.is_empty() {
            map.insert("indexes".into(), json!(self.indexes));
        }
        if self.is_root && !all_roots {
            map.insert("isRoot".into(), json!(true));
        }
        if let Some(max_rows) = self.max_rows {
            map.insert("maxRows".into(), json!(max_rows));
        }
        Value::Object(map)
    }

    /// The named column; `_uuid` and `_version` are in every table.
    pub fn column(&self, name: &str) -> Option<&ColumnSchema> {
        match name {
            "_uuid" => Some(&UUID_COLUMN),
            "_version" => Some(&VERSION_COLUMN),
            _ => self.columns.get(name),
        }
    }
}

/// Reads an array of distinct names of columns of `table`.
pub fn column_names(json: &Value, table: &TableSchema) -> Result<Vec<String>> {
    let expected = || Error::syntax(json, "array of distinct column names expected");
    let mut names = Vec::new();
    for item in json.as_array().ok_or_else(expected)? {
        let name = item.as_str().ok_or_else(expected)?;
        if table.column(name).is_none() {
            return Err(Error::syntax(
                json,
                format!("{name} is not a valid column name"),
            ));
        }
        names.push(name.to_owned());
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    if sorted
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if a == b))
    {
        return Err(expected());
    }
    Ok(names)
}

impl ColumnSchema {
    fn from_json(json: &Value) -> Result<Self> {
        let members = Members::new(json, &"schema for column")?;
        let mutable = members.bool("mutable", true)?;
        let ephemeral = members.bool("ephemeral", false)?;
        let type_json = members.require("type")?;
        members.finish()?;
        let column_type = ColumnType::from_json(type_json)?;
        Ok(Self {
            // A weak reference can vanish at any time, so its column has to be changeable.
            mutable: mutable || column_type.has_weak(),
            column_type,
            ephemeral,
        })
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.ephemeral {
            map.insert("ephemeral".into(), json!(true));
        }
        if !self.mutable {
            map.insert("mutable".into(), json!(false));
        }
        map.insert("type".into(), self.column_type.to_json());
        Value::Object(map)
    }
}

/// Whether `text` is an `<id>`: a letter or underscore, then letters, digits and underscores.
pub fn is_id(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// Names the part of the schema in which `error` arose.
fn within(mut error: Error, part: &str) -> Error {
    let details = error.details.take().unwrap_or_default();
    error.details = Some(format!("{part}: {details}"));
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ovsdb-server does: it says `isRoot` only where some tables are roots and others are not.
    #[test]
    fn roots_are_named_only_among_others() {
        let columns = json!({"c": {"type": "integer"}});
        let schema = |a: bool, b: bool| {
            let table = |root| json!({"columns": columns, "isRoot": root});
            let json = json!({"name": "d", "tables": {"a": table(a), "b": table(b)}});
            let schema = DatabaseSchema::from_json(&json).unwrap();
            let again = DatabaseSchema::from_json(&schema.to_json()).unwrap();
            assert_eq!(schema, again);
            schema.to_json().to_string().matches("isRoot").count()
        };
        assert_eq!(schema(false, false), 0);
        assert_eq!(schema(true, true), 0);
        assert_eq!(schema(true, false), 1);
    }
}
