//! Types of columns: what atoms, how many, and which values of them.
//!
//! Source: RFC 7047, 3.2 (`<type>`, `<base-type>`, `<atomic-type>`).

use serde_json::{Map, Value, json};

use super::within;
use crate::error::{Error, ErrorKind, Result};
use crate::members::Members;
use crate::value::{Atom, Datum, NoNames, Real, json_integer};

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
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Real => "real",
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Uuid => "uuid",
        }
    }

    /// The type of that name.
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
    /// The type of the atoms.
    pub atomic: AtomicType,
    /// Which atoms of that type.
    pub constraint: Constraint,
}

/// `<type>`: a base type for elements or keys, one for values of a map, and how many there are.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnType {
    /// Elements of a set, or keys of a map.
    pub key: BaseType,
    /// Values of a map; `None` for a set.
    pub value: Option<BaseType>,
    /// 0 or 1.
    pub min: u32,
    /// At least 1; [`ColumnType::UNLIMITED`] for no limit.
    pub max: u32,
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

    /// Whether there is always exactly one atom.
    pub fn is_scalar(&self) -> bool {
        self.value.is_none() && self.min == 1 && self.max == 1
    }

    /// Whether this is a map.
    pub fn is_map(&self) -> bool {
        self.value.is_some()
    }

    /// Zero or one atom.
    pub fn is_optional(&self) -> bool {
        self.value.is_none() && self.min == 0 && self.max == 1
    }

    /// Whether there may be any number of elements.
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
        let members = Members::new(json, &"type")?;
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

    /// Whether it holds weak references.
    pub(super) fn has_weak(&self) -> bool {
        let bases = [Some(&self.key), self.value.as_ref()];
        bases
            .into_iter()
            .flatten()
            .any(|base| matches!(base.reference(), Some((_, RefKind::Weak))))
    }
}

impl BaseType {
    /// Any atom of type `atomic`.
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
        let members = Members::new(json, &"ovsdb type")?;
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
                put("maxReal", max.map(|number| Real(number).to_json()));
                put("minReal", min.map(|number| Real(number).to_json()));
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
