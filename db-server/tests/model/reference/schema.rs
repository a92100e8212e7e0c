//! Schemas of the reference: RFC 7047, 3.2.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::value::{Atom, Datum};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Integer,
    Real,
    Boolean,
    String,
    Uuid,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Uuid => "uuid",
        }
    }
}

/// `<base-type>`.
#[derive(Debug, Clone)]
pub struct Base {
    pub kind: Kind,
    pub choices: Option<Vec<Atom>>,
    pub integers: (Option<i64>, Option<i64>),
    pub reals: (Option<f64>, Option<f64>),
    pub lengths: (Option<usize>, Option<usize>),
    /// The table referred to and whether strongly.
    pub refers: Option<(String, bool)>,
}

impl Base {
    pub fn plain(kind: Kind) -> Self {
        Self {
            kind,
            choices: None,
            integers: (None, None),
            reals: (None, None),
            lengths: (None, None),
            refers: None,
        }
    }

    pub fn allows(&self, atom: &Atom) -> bool {
        fn within<T: PartialOrd>(of: &T, (min, max): &(Option<T>, Option<T>)) -> bool {
            min.as_ref().is_none_or(|min| of >= min) && max.as_ref().is_none_or(|max| of <= max)
        }
        if let Some(choices) = &self.choices {
            return choices.contains(atom);
        }
        match atom {
            Atom::Integer(number) => within(number, &self.integers),
            Atom::Real(number) => within(&number.0, &self.reals),
            Atom::String(text) => within(&text.chars().count(), &self.lengths),
            Atom::Boolean(_) | Atom::Uuid(_) => true,
        }
    }

    fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("type".to_owned(), json!(self.kind.name()));
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                map.insert(name.to_owned(), value);
            }
        };
        put("minInteger", self.integers.0.map(Value::from));
        put("maxInteger", self.integers.1.map(Value::from));
        put("minReal", self.reals.0.map(Value::from));
        put("maxReal", self.reals.1.map(Value::from));
        put("minLength", self.lengths.0.map(Value::from));
        put("maxLength", self.lengths.1.map(Value::from));
        let choices = self.choices.as_ref();
        put(
            "enum",
            choices
                .map(|atoms| json!(["set", atoms.iter().map(Atom::to_json).collect::<Vec<_>>()])),
        );
        if let Some((table, strong)) = &self.refers {
            put("refTable", Some(json!(table)));
            put(
                "refType",
                Some(json!(if *strong { "strong" } else { "weak" })),
            );
        }
        Value::Object(map)
    }
}

/// `<column-schema>` with its `<type>`.
#[derive(Debug, Clone)]
pub struct Column {
    pub key: Base,
    pub value: Option<Base>,
    pub min: usize,
    /// `usize::MAX` for no limit.
    pub max: usize,
    pub ephemeral: bool,
    pub mutable: bool,
}

impl Column {
    /// Exactly one atom.
    pub fn is_scalar(&self) -> bool {
        self.value.is_none() && (self.min, self.max) == (1, 1)
    }

    /// Whether all atoms are within the constraints.
    pub fn allows(&self, datum: &Datum) -> bool {
        datum.iter().all(|(key, value)| {
            let atoms = std::iter::once(key).chain(value);
            self.bases()
                .zip(atoms)
                .all(|(base, atom)| base.allows(atom))
        })
    }

    pub fn bases(&self) -> impl Iterator<Item = &Base> {
        std::iter::once(&self.key).chain(&self.value)
    }

    fn to_json(&self) -> Value {
        let mut of = json!({"key": self.key.to_json(), "min": self.min});
        of["max"] = match self.max {
            usize::MAX => json!("unlimited"),
            max => json!(max),
        };
        if let Some(value) = &self.value {
            of["value"] = value.to_json();
        }
        json!({"type": of, "ephemeral": self.ephemeral, "mutable": self.mutable})
    }
}

/// `<table-schema>`.
#[derive(Debug, Clone)]
pub struct Table {
    pub columns: BTreeMap<String, Column>,
    pub max_rows: Option<usize>,
    pub is_root: bool,
    pub indexes: Vec<Vec<String>>,
}

impl Table {
    /// The column of that name; every table has `_uuid`.
    pub fn column(&self, name: &str) -> Option<Column> {
        if name == "_uuid" {
            return Some(Column {
                key: Base::plain(Kind::Uuid),
                value: None,
                min: 1,
                max: 1,
                ephemeral: false,
                mutable: false,
            });
        }
        self.columns.get(name).cloned()
    }
}

/// `<database-schema>`.
#[derive(Debug, Clone)]
pub struct Schema {
    pub name: String,
    pub tables: BTreeMap<String, Table>,
}

impl Schema {
    pub fn to_json(&self) -> Value {
        let tables: Map<String, Value> = self
            .tables
            .iter()
            .map(|(name, table)| {
                let columns: Map<String, Value> = table
                    .columns
                    .iter()
                    .map(|(name, column)| (name.clone(), column.to_json()))
                    .collect();
                let mut json = json!({"columns": columns, "isRoot": table.is_root});
                if let Some(max) = table.max_rows {
                    json["maxRows"] = json!(max);
                }
                if !table.indexes.is_empty() {
                    json["indexes"] = json!(table.indexes);
                }
                (name.clone(), json)
            })
            .collect();
        json!({"name": self.name, "version": "1.0.0", "tables": tables})
    }

    /// Without any `isRoot` every table is one (RFC 7047, 3.2).
    pub fn is_root(&self, table: &str) -> bool {
        self.tables[table].is_root || self.tables.values().all(|table| !table.is_root)
    }
}
