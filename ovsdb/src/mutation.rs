//! `<mutation>`: changes of a column relative to its value.
//!
//! Source: RFC 7047, 5.1 (`<mutation>`, `<mutator>`) and 5.2.4.

use serde_json::{Value, json};

use crate::condition::type_text;
use crate::error::{Error, ErrorKind, Result};
use crate::schema::{AtomicType, ColumnType, TableSchema};
use crate::value::{Atom, Datum, Names, Real, UuidNames};

/// `<mutator>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Insert,
    Delete,
}

impl Mutator {
    const ALL: [Self; 7] = [
        Self::Add,
        Self::Subtract,
        Self::Multiply,
        Self::Divide,
        Self::Modulo,
        Self::Insert,
        Self::Delete,
    ];

    /// The spelling on the wire, such as `+=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+=",
            Self::Subtract => "-=",
            Self::Multiply => "*=",
            Self::Divide => "/=",
            Self::Modulo => "%=",
            Self::Insert => "insert",
            Self::Delete => "delete",
        }
    }

    /// The mutator that is spelled so.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mutator| mutator.as_str() == text)
    }
}

/// One mutation of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Mutation {
    /// The column that changes.
    pub column: String,
    /// How it changes.
    pub mutator: Mutator,
    /// The other operand.
    pub value: Datum,
}

impl Mutation {
    /// `column mutator value`.
    pub fn new(column: &str, mutator: Mutator, value: Datum) -> Self {
        Self {
            column: column.to_owned(),
            mutator,
            value,
        }
    }

    /// Reads `[column, mutator, value]`.
    pub fn from_json(json: &Value, table: &TableSchema, names: &mut dyn Names) -> Result<Self> {
        let Some(
            [
                Value::String(column_name),
                Value::String(mutator_name),
                argument,
            ],
        ) = json.as_array().map(Vec::as_slice)
        else {
            return Err(Error::syntax(json, "Parse error in mutation."));
        };
        let column = table.column(column_name).ok_or_else(|| {
            Error::with_syntax(
                ErrorKind::UnknownColumn,
                json,
                format!("No column {column_name} in table {}.", table.name),
            )
        })?;
        if !column.mutable {
            return Err(Error::with_syntax(
                ErrorKind::ConstraintViolation,
                json,
                format!(
                    "Cannot mutate immutable column {column_name} in table {}.",
                    table.name
                ),
            ));
        }
        let mutator = Mutator::from_text(mutator_name).ok_or_else(|| {
            Error::new(
                ErrorKind::UnknownMutator,
                format!("No mutator named {mutator_name}."),
            )
        })?;
        let column_type = &column.column_type;
        let mismatch = || {
            Error::syntax(
                json,
                format!(
                    "Type mismatch: \"{mutator_name}\" operator may not be applied to column {column_name} of type {}.",
                    type_text(column_type),
                ),
            )
        };
        let value = match mutator {
            Mutator::Insert => {
                if column_type.is_scalar() {
                    return Err(mismatch());
                }
                let at_most = ColumnType {
                    min: 0,
                    ..column_type.clone()
                };
                Datum::from_json(argument, &at_most, names)?
            }
            Mutator::Delete => {
                if column_type.is_scalar() {
                    return Err(mismatch());
                }
                let any = column_type.any_count();
                // Entries of a map may be named by key alone.
                let by_entry = argument.get(0).is_some_and(|tag| tag == "map");
                let argument_type = if by_entry {
                    any
                } else {
                    ColumnType { value: None, ..any }
                };
                Datum::from_json(argument, &argument_type, names)?
            }
            _ => {
                let atomic = column_type.key.atomic;
                let arithmetic = match mutator {
                    Mutator::Modulo => atomic == AtomicType::Integer,
                    _ => matches!(atomic, AtomicType::Integer | AtomicType::Real),
                };
                if !arithmetic || column_type.value.is_some() {
                    return Err(mismatch());
                }
                Datum::from_json(argument, &ColumnType::scalar(atomic), names)?
            }
        };
        Ok(Self::new(column_name, mutator, value))
    }

    /// The mutation on the wire; UUIDs in `names` become `named-uuid`s.
    pub fn to_json(&self, table: &TableSchema, names: &UuidNames) -> Value {
        let any = ColumnType::scalar(AtomicType::String);
        let column_type = table
            .column(&self.column)
            .map_or(&any, |column| &column.column_type);
        // A delete by keys alone is a set, also on a map column.
        let argument_type =
            if column_type.is_map() && !self.value.is_map() && !self.value.is_empty() {
                ColumnType {
                    value: None,
                    ..column_type.clone()
                }
            } else {
                column_type.clone()
            };
        json!([
            self.column,
            self.mutator.as_str(),
            self.value.to_json_named(&argument_type, names)
        ])
    }

    /// The value after this mutation of `datum`, which has type `column_type`.
    ///
    /// Errors: `domain error` for a division by zero, `range error` for a result that does not
    /// fit, `constraint violation` for one outside the column's constraints or count.
    pub fn apply(&self, datum: &Datum, column_type: &ColumnType) -> Result<Datum> {
        let mut result = datum.clone();
        match self.mutator {
            Mutator::Insert => {
                result.union(&self.value);
                self.check_count(&result, column_type)?;
            }
            Mutator::Delete => {
                result.subtract(&self.value);
                self.check_count(&result, column_type)?;
            }
            _ => {
                let Some(operand) = self.value.first() else {
                    return Ok(result);
                };
                let before = result.len();
                let atoms: Vec<Atom> = result
                    .iter()
                    .map(|atom| self.compute(atom, operand))
                    .collect::<Result<_>>()?;
                for atom in &atoms {
                    column_type.key.check(atom)?;
                }
                result = Datum::set(atoms);
                if result.len() != before {
                    return Err(Error::new(
                        ErrorKind::ConstraintViolation,
                        format!(
                            "Result of \"{}\" operation contains duplicates.",
                            self.mutator.as_str()
                        ),
                    ));
                }
            }
        }
        Ok(result)
    }

    fn check_count(&self, result: &Datum, column_type: &ColumnType) -> Result<()> {
        let count = result.len();
        if (column_type.min as usize..=column_type.max as usize).contains(&count) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ConstraintViolation,
            format!(
                "Attempted to store {count} elements in {}.",
                type_text(column_type)
            ),
        ))
    }

    fn compute(&self, atom: &Atom, operand: &Atom) -> Result<Atom> {
        match (atom, operand) {
            (Atom::Integer(a), Atom::Integer(b)) => self.integer(*a, *b).map(Atom::Integer),
            (Atom::Real(a), Atom::Real(b)) => {
                self.real(a.0, b.0).map(|number| Atom::Real(Real(number)))
            }
            _ => Err(Error::new(
                ErrorKind::InternalError,
                "operands of a mutation have different types",
            )),
        }
    }

    fn integer(&self, a: i64, b: i64) -> Result<i64> {
        let result = match self.mutator {
            Mutator::Add => a.checked_add(b),
            Mutator::Subtract => a.checked_sub(b),
            Mutator::Multiply => a.checked_mul(b),
            _ if b == 0 => return Err(division_by_zero()),
            Mutator::Divide => a.checked_div(b),
            _ => a.checked_rem(b),
        };
        result.ok_or_else(|| {
            Error::new(
                ErrorKind::RangeError,
                format!(
                    "Result of \"{}\" operation is out of range.",
                    self.mutator.as_str()
                ),
            )
        })
    }

    fn real(&self, a: f64, b: f64) -> Result<f64> {
        let result = match self.mutator {
            Mutator::Add => a + b,
            Mutator::Subtract => a - b,
            Mutator::Multiply => a * b,
            _ if b == 0.0 => return Err(division_by_zero()),
            _ => a / b,
        };
        if result.is_finite() {
            return Ok(result);
        }
        Err(Error::new(
            ErrorKind::RangeError,
            format!(
                "Result of \"{}\" operation is out of range.",
                self.mutator.as_str()
            ),
        ))
    }
}

fn division_by_zero() -> Error {
    Error::new(ErrorKind::DomainError, "Division by zero.")
}
