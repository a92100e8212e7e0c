//! Database schemas: which tables, columns and values a database has.
//!
//! Parsing names the table and the column that is at fault; emitting leaves out defaults, as
//! ovsdb-server does. Collections are ordered by name.
//!
//! Source: RFC 7047, 3.2; ovsdb(7) for the implicit columns `_uuid` and `_version`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::members::Members;
use crate::value::{Atom, Datum, NoNames, json_integer};

/// `<atomic-type>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtomicType {
    Integer,
    Real,
    Boolean,
    String,
    Uuid,
}

impl AtomicType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Uuid => "uuid",
        }
    }

    pub fn from_text(text: &str) -> Option<Self> {
        [
            Self::Integer,
            Self::Real,
            Self::Boolean,
            Self::String,
            Self::Uuid,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
    }
}

/// `refType`: whether a reference keeps the row that it points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefKind {
    Strong,
    Weak,
}

/// What limits the atoms of a base type beyond their atomic type.
#[derive(Debug, Clone, PartialEq)]
pub enum Constraint {
    None,
    Enum(Datum),
    Integer {
        min: Option<i64>,
        max: Option<i64>,
    },
    Real {
        min: Option<f64>,
        max: Option<f64>,
    },
    /// Length of a string in characters.
    Length {
        min: Option<u32>,
        max: Option<u32>,
    },
    Reference {
        table: String,
        kind: RefKind,
    },
}

/// `<base-type>`.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseType {
    pub atomic: AtomicType,
    pub constraint: Constraint,
}

/// `<type>`: a base type for elements or keys, one for values of a map, and how many there are.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnType {
    pub key: BaseType,
    pub value: Option<BaseType>,
    /// 0 or 1.
    pub min: u32,
    /// At least 1; [`ColumnType::UNLIMITED`] for no limit.
    pub max: u32,
}

/// `<column-schema>`.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnSchema {
    pub column_type: ColumnType,
    pub ephemeral: bool,
    pub mutable: bool,
}

/// `<table-schema>`.
#[derive(Debug, Clone, PartialEq)]
pub struct TableSchema {
    /// The name that the database schema has the table under.
    pub name: String,
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
    pub name: String,
    pub version: String,
    pub cksum: Option<String>,
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
        let members = Members::new(json, "database schema")?;
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
        let tables: Map<String, Value> = self
            .tables
            .iter()
            .map(|(name, table)| (name.clone(), table.to_json()))
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
                    let Some((target, kind)) = base.and_then(BaseType::reference) else {
                        continue;
                    };
                    let refuse = |why: &str| {
                        let details = format!(
                            "Table {table_name} column {column_name} {part} refers to {why}"
                        );
                        Err(Error::new(ErrorKind::SyntaxError, details))
                    };
                    let Some(target_table) = self.tables.get(target) else {
                        return refuse(&format!("undefined table {target}."));
                    };
                    if kind == RefKind::Strong && column.ephemeral && !target_table.is_root {
                        return refuse(&format!(
                            "table {target} with a strong reference, but the column is ephemeral."
                        ));
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
        let members = Members::new(json, "table schema")?;
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
                if self.columns.get(name).is_none_or(|column| column.ephemeral) {
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

    fn to_json(&self) -> Value {
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
        if self.is_root {
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
        let members = Members::new(json, "schema for column")?;
        let mutable = members.bool("mutable", true)?;
        let ephemeral = members.bool("ephemeral", false)?;
        let type_json = members.require("type")?;
        members.finish()?;
        let mut column_type = ColumnType::from_json(type_json)?;
        // A weak reference can vanish at any time, so its column has to be changeable.
        column_type.check_weak(mutable)?;
        Ok(Self {
            column_type,
            ephemeral,
            mutable,
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

impl ColumnType {
    /// `max` of a type whose number of elements has no limit.
    pub const UNLIMITED: u32 = u32::MAX;

    /// Exactly one atom without constraints.
    pub fn scalar(atomic: AtomicType) -> Self {
        Self {
            key: BaseType::plain(atomic),
            value: None,
            min: 1,
            max: 1,
        }
    }

    pub fn is_scalar(&self) -> bool {
        self.value.is_none() && self.min == 1 && self.max == 1
    }

    pub fn is_map(&self) -> bool {
        self.value.is_some()
    }

    /// Zero or one atom.
    pub fn is_optional(&self) -> bool {
        self.value.is_none() && self.min == 0 && self.max == 1
    }

    pub fn is_unlimited(&self) -> bool {
        self.max == Self::UNLIMITED
    }

    /// The same type with any number of elements: what `includes`, `insert` and the like take.
    pub fn any_count(&self) -> Self {
        Self {
            min: 0,
            max: Self::UNLIMITED,
            ..self.clone()
        }
    }

    /// The same type without constraints on its atoms.
    pub fn unconstrained(&self) -> Self {
        let value = self.value.as_ref().map(|base| BaseType::plain(base.atomic));
        Self {
            key: BaseType::plain(self.key.atomic),
            value,
            ..*self
        }
    }

    pub fn from_json(json: &Value) -> Result<Self> {
        if json.is_string() {
            return Ok(Self {
                key: BaseType::from_json(json)?,
                value: None,
                min: 1,
                max: 1,
            });
        }
        let members = Members::new(json, "type")?;
        let key =
            BaseType::from_json(members.require("key")?).map_err(|error| within(error, "key"))?;
        let value = match members.get("value") {
            None => None,
            Some(value) => {
                Some(BaseType::from_json(value).map_err(|error| within(error, "value"))?)
            }
        };
        let count = |name: &str| match members.get(name) {
            None => Ok(1),
            Some(Value::String(text)) if name == "max" && text == "unlimited" => {
                Ok(Self::UNLIMITED)
            }
            Some(number) => json_integer(number)
                .and_then(|number| u32::try_from(number).ok())
                .ok_or_else(|| members.mismatch(name)),
        };
        let (min, max) = (count("min")?, count("max")?);
        members.finish()?;
        if min > 1 || max == 0 || min > max {
            return Err(Error::syntax(json, "ovsdb type fails constraint checks"));
        }
        Ok(Self {
            key,
            value,
            min,
            max,
        })
    }

    pub fn to_json(&self) -> Value {
        if self.is_scalar() && self.key.constraint == Constraint::None {
            return json!(self.key.atomic.as_str());
        }
        let mut map = Map::new();
        map.insert("key".into(), self.key.to_json());
        if self.max == Self::UNLIMITED {
            map.insert("max".into(), json!("unlimited"));
        } else if self.max != 1 {
            map.insert("max".into(), json!(self.max));
        }
        if self.min != 1 {
            map.insert("min".into(), json!(self.min));
        }
        if let Some(value) = &self.value {
            map.insert("value".into(), value.to_json());
        }
        Value::Object(map)
    }

    fn check_weak(&mut self, mutable: bool) -> Result<()> {
        let bases = [Some(&self.key), self.value.as_ref()];
        let weak = bases
            .into_iter()
            .flatten()
            .any(|base| matches!(base.reference(), Some((_, RefKind::Weak))));
        if weak && !mutable {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                "a column with weak references must be mutable",
            ));
        }
        Ok(())
    }
}

impl BaseType {
    pub fn plain(atomic: AtomicType) -> Self {
        Self {
            atomic,
            constraint: Constraint::None,
        }
    }

    /// The table and the kind of reference, when this is one.
    pub fn reference(&self) -> Option<(&str, RefKind)> {
        match &self.constraint {
            Constraint::Reference { table, kind } => Some((table, *kind)),
            _ => None,
        }
    }

    pub fn from_json(json: &Value) -> Result<Self> {
        let atomic_type = |json: &Value| {
            json.as_str()
                .and_then(AtomicType::from_text)
                .ok_or_else(|| {
                    Error::syntax(json, format!("{json} is not the name of an atomic type"))
                })
        };
        if json.is_string() {
            return Ok(Self::plain(atomic_type(json)?));
        }
        let members = Members::new(json, "ovsdb type")?;
        let atomic = atomic_type(members.require("type")?)?;
        let constraint = match members.get("enum") {
            Some(values) => Constraint::Enum(Datum::from_json(
                values,
                &ColumnType {
                    min: 1,
                    ..ColumnType::scalar(atomic).any_count()
                },
                &mut NoNames,
            )?),
            None => Self::limits(atomic, &members)?,
        };
        members.finish()?;
        let lying = match &constraint {
            Constraint::Integer {
                min: Some(min),
                max: Some(max),
            } if min > max => "minInteger exceeds maxInteger",
            Constraint::Real {
                min: Some(min),
                max: Some(max),
            } if min > max => "minReal exceeds maxReal",
            Constraint::Length {
                min: Some(min),
                max: Some(max),
            } if min > max => "minLength exceeds maxLength",
            _ => return Ok(Self { atomic, constraint }),
        };
        Err(Error::syntax(json, lying))
    }

    fn limits(atomic: AtomicType, members: &Members<'_>) -> Result<Constraint> {
        match atomic {
            AtomicType::Integer => {
                let limit = |name: &str| members.number(name, json_integer);
                let (min, max) = (limit("minInteger")?, limit("maxInteger")?);
                Ok(if min.or(max).is_some() {
                    Constraint::Integer { min, max }
                } else {
                    Constraint::None
                })
            }
            AtomicType::Real => {
                let limit = |name: &str| members.number(name, Value::as_f64);
                let (min, max) = (limit("minReal")?, limit("maxReal")?);
                Ok(if min.or(max).is_some() {
                    Constraint::Real { min, max }
                } else {
                    Constraint::None
                })
            }
            AtomicType::String => {
                let length = |json: &Value| json_integer(json).and_then(|n| u32::try_from(n).ok());
                let limit = |name: &str| members.number(name, length);
                let (min, max) = (limit("minLength")?, limit("maxLength")?);
                Ok(if min.or(max).is_some() {
                    Constraint::Length { min, max }
                } else {
                    Constraint::None
                })
            }
            AtomicType::Uuid => {
                let Some(table) = members.get("refTable") else {
                    return Ok(Constraint::None);
                };
                let table = table.as_str().ok_or_else(|| members.mismatch("refTable"))?;
                let kind = match members.get("refType").map(Value::as_str) {
                    None | Some(Some("strong")) => RefKind::Strong,
                    Some(Some("weak")) => RefKind::Weak,
                    Some(_) => {
                        return Err(Error::syntax(
                            members.json,
                            "refType must be \"strong\" or \"weak\"",
                        ));
                    }
                };
                Ok(Constraint::Reference {
                    table: table.to_owned(),
                    kind,
                })
            }
            AtomicType::Boolean => Ok(Constraint::None),
        }
    }

    pub fn to_json(&self) -> Value {
        if self.constraint == Constraint::None {
            return json!(self.atomic.as_str());
        }
        let mut map = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(name.into(), value);
            }
        };
        match &self.constraint {
            Constraint::None => {}
            Constraint::Enum(values) => {
                let json = values.to_json(&ColumnType::scalar(self.atomic).any_count());
                put("enum", Some(json));
            }
            Constraint::Integer { min, max } => {
                put("maxInteger", max.map(Value::from));
                put("minInteger", min.map(Value::from));
            }
            Constraint::Real { min, max } => {
                put("maxReal", max.map(Value::from));
                put("minReal", min.map(Value::from));
            }
            Constraint::Length { min, max } => {
                put("maxLength", max.map(Value::from));
                put("minLength", min.map(Value::from));
            }
            Constraint::Reference { table, kind } => {
                put("refTable", Some(json!(table)));
                put("refType", (*kind == RefKind::Weak).then(|| json!("weak")));
            }
        }
        map.insert("type".into(), json!(self.atomic.as_str()));
        Value::Object(map)
    }

    /// Checks `atom`, which has this type's atomic type, against the constraint.
    pub fn check(&self, atom: &Atom) -> Result<()> {
        let violated = |details: String| Err(Error::new(ErrorKind::ConstraintViolation, details));
        match (&self.constraint, atom) {
            (Constraint::Enum(values), atom) if !values.contains_key(atom) => {
                let listed: Vec<String> = values.iter().map(Atom::to_string).collect();
                violated(format!(
                    "{atom} is not one of the allowed values ([{}])",
                    listed.join(", ")
                ))
            }
            (Constraint::Integer { min, max }, Atom::Integer(number)) => {
                range_text(*number, *min, *max)
                    .map_or(Ok(()), |text| violated(format!("{number} is {text}")))
            }
            (Constraint::Real { min, max }, Atom::Real(number)) => range_text(number.0, *min, *max)
                .map_or(Ok(()), |text| violated(format!("{atom} is {text}"))),
            (Constraint::Length { min, max }, Atom::String(text)) => {
                let length = text.chars().count();
                if let Some(min) = min.filter(|min| length < *min as usize) {
                    return violated(format!(
                        "\"{text}\" length {length} is less than minimum allowed length {min}"
                    ));
                }
                if let Some(max) = max.filter(|max| length > *max as usize) {
                    return violated(format!(
                        "\"{text}\" length {length} is greater than maximum allowed length {max}"
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// How `number` misses the range, or `None` when it is inside.
fn range_text<T: PartialOrd + std::fmt::Display>(
    number: T,
    min: Option<T>,
    max: Option<T>,
) -> Option<String> {
    match (min, max) {
        (Some(min), Some(max)) if number < min || number > max => {
            Some(format!("not in the valid range {min} to {max} (inclusive)"))
        }
        (Some(min), None) if number < min => Some(format!("less than minimum allowed value {min}")),
        (None, Some(max)) if number > max => {
            Some(format!("greater than maximum allowed value {max}"))
        }
        _ => None,
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
