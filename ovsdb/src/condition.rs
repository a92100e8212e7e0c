//! `<condition>`: which rows an operation or a monitor is about.
//!
//! Source: RFC 7047, 5.1 (`<condition>`, `<function>`); ovsdb-server(7) for the boolean clauses
//! that monitors take.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::schema::{AtomicType, ColumnType, TableSchema};
use crate::value::{Datum, Names, UuidNames};

/// `<function>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
    Includes,
    Excludes,
}

impl Function {
    const ALL: [Self; 8] = [
        Self::Less,
        Self::LessOrEqual,
        Self::Equal,
        Self::NotEqual,
        Self::GreaterOrEqual,
        Self::Greater,
        Self::Includes,
        Self::Excludes,
    ];

    /// The spelling on the wire, such as `<=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
            Self::Includes => "includes",
            Self::Excludes => "excludes",
        }
    }

    /// The function that is spelled so.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|function| function.as_str() == text)
    }
}

/// One clause of a condition; all clauses of an operation have to hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Clause {
    /// Holds always or never.
    Bool(bool),
    Compare {
        column: String,
        function: Function,
        value: Datum,
    },
}

impl Clause {
    /// `column function value`.
    pub fn new(column: &str, function: Function, value: Datum) -> Self {
        Self::Compare {
            column: column.to_owned(),
            function,
            value,
        }
    }

    /// `_uuid == uuid`.
    pub fn uuid(uuid: Uuid) -> Self {
        Self::new("_uuid", Function::Equal, Datum::uuid(uuid))
    }

    /// Reads one clause on `table`; a column or value that does not fit is refused.
    pub fn from_json(json: &Value, table: &TableSchema, names: &mut dyn Names) -> Result<Self> {
        if let Value::Bool(flag) = json {
            return Ok(Self::Bool(*flag));
        }
        let Some(
            [
                Value::String(column_name),
                Value::String(function),
                argument,
            ],
        ) = json.as_array().map(Vec::as_slice)
        else {
            return Err(Error::syntax(json, "Parse error in condition."));
        };
        let column = table.column(column_name).ok_or_else(|| {
            Error::with_syntax(
                ErrorKind::UnknownColumn,
                json,
                format!("No column {column_name} in table {}.", table.name),
            )
        })?;
        let function = Function::from_text(function).ok_or_else(|| {
            Error::new(
                ErrorKind::UnknownFunction,
                format!("No function named {function}."),
            )
        })?;
        let column_type = &column.column_type;
        let argument_type = match function {
            Function::Less
            | Function::LessOrEqual
            | Function::Greater
            | Function::GreaterOrEqual => {
                // An optional number may be compared too; an absent one matches nothing.
                let ordered = matches!(
                    column_type.key.atomic,
                    AtomicType::Integer | AtomicType::Real
                );
                if column_type.value.is_some() || column_type.max > 1 || !ordered {
                    return Err(Error::syntax(
                        json,
                        format!(
                            "Type mismatch: \"{}\" operator may not be applied to column {column_name} of type {}.",
                            function.as_str(),
                            type_text(column_type),
                        ),
                    ));
                }
                ColumnType {
                    min: 1,
                    ..column_type.clone()
                }
            }
            Function::Includes if !column_type.is_scalar() => ColumnType {
                min: 0,
                ..column_type.clone()
            },
            Function::Excludes if !column_type.is_scalar() => column_type.any_count(),
            _ => column_type.clone(),
        };
        let value = Datum::from_json(argument, &argument_type, names)?;
        Ok(Self::new(column_name, function, value))
    }

    /// The clause on the wire; UUIDs in `names` become `named-uuid`s.
    pub fn to_json(&self, table: &TableSchema, names: &UuidNames) -> Value {
        match self {
            Self::Bool(flag) => json!(flag),
            Self::Compare {
                column,
                function,
                value,
            } => {
                let any = ColumnType::scalar(AtomicType::String);
                let column_type = table
                    .column(column)
                    .map_or(&any, |column| &column.column_type);
                json!([
                    column,
                    function.as_str(),
                    value.to_json_named(column_type, names)
                ])
            }
        }
    }

    /// Whether the clause holds for a row; `get` gives the row's datum in a column.
    pub fn holds<'a>(&self, get: impl Fn(&str) -> Option<&'a Datum>) -> bool {
        match self {
            Self::Bool(flag) => *flag,
            Self::Compare {
                column,
                function,
                value,
            } => get(column).is_some_and(|datum| evaluate(*function, datum, value)),
        }
    }
}

/// Whether `datum function argument`.
pub fn evaluate(function: Function, datum: &Datum, argument: &Datum) -> bool {
    match function {
        Function::Equal => datum == argument,
        Function::NotEqual => datum != argument,
        Function::Includes => datum.includes_all(argument),
        Function::Excludes => datum.excludes_all(argument),
        // An empty optional column has no order relation to anything.
        _ if datum.is_empty() || argument.is_empty() => false,
        Function::Less => datum < argument,
        Function::LessOrEqual => datum <= argument,
        Function::GreaterOrEqual => datum >= argument,
        Function::Greater => datum > argument,
    }
}

/// Reads a `where` array.
pub fn from_json(json: &Value, table: &TableSchema, names: &mut dyn Names) -> Result<Vec<Clause>> {
    let clauses = json
        .as_array()
        .ok_or_else(|| Error::syntax(json, "array expected for condition"))?;
    clauses
        .iter()
        .map(|clause| Clause::from_json(clause, table, names))
        .collect()
}

/// A type in the words of ovsdb-server's messages.
pub fn type_text(column_type: &ColumnType) -> String {
    let key = column_type.key.atomic.as_str();
    if column_type.is_scalar() {
        return key.to_owned();
    }
    let count = match (column_type.min, column_type.is_unlimited()) {
        (0, true) => String::new(),
        (0, false) => format!(" up to {}", column_type.max),
        (min, true) => format!(" {min} or more"),
        (min, false) => format!(" {min} to {}", column_type.max),
    };
    match &column_type.value {
        Some(value) => format!("map of{count} ({key}, {}) pairs", value.atomic.as_str()),
        None => format!("set of{count} {key}s"),
    }
}
