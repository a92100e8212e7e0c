//! Values of the reference: RFC 7047, 5.1, read in the most literal way.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::schema::{Base, Column, Kind};

/// The string of an `<error>`.
pub type Refusal = &'static str;

pub const SYNTAX: Refusal = "syntax error";
pub const CONSTRAINT: Refusal = "constraint violation";

#[derive(Debug, Clone, Copy)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        // ovsdb-server prints 15 digits.
        self.0 == other.0 || (self.0 - other.0).abs() <= self.0.abs() * 1e-14
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if self == other {
            return std::cmp::Ordering::Equal;
        }
        self.0.total_cmp(&other.0)
    }
}

/// `<atom>`; a UUID is its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Atom {
    Integer(i64),
    Real(Real),
    Boolean(bool),
    String(String),
    Uuid(String),
}

impl Atom {
    pub fn to_json(&self) -> Value {
        match self {
            Self::Integer(number) => json!(number),
            Self::Real(number) => json!(number.0),
            Self::Boolean(flag) => json!(flag),
            Self::String(text) => json!(text),
            Self::Uuid(text) => json!(["uuid", text]),
        }
    }

    pub fn default_of(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Self::Integer(0),
            Kind::Real => Self::Real(Real(0.0)),
            Kind::Boolean => Self::Boolean(false),
            Kind::String => Self::String(String::new()),
            Kind::Uuid => Self::Uuid("00000000-0000-0000-0000-000000000000".to_owned()),
        }
    }
}

/// `<value>`: the elements of a set without values, the entries of a map with them.
pub type Datum = BTreeMap<Atom, Option<Atom>>;

pub fn datum_to_json(datum: &Datum, column: &Column) -> Value {
    if column.value.is_some() {
        let entries: Vec<Value> = datum
            .iter()
            .map(|(key, value)| json!([key.to_json(), value.as_ref().map(Atom::to_json)]))
            .collect();
        return json!(["map", entries]);
    }
    json!(["set", datum.keys().map(Atom::to_json).collect::<Vec<_>>()])
}

pub fn default_datum(column: &Column) -> Datum {
    let mut datum = Datum::new();
    if column.min > 0 {
        let value = column
            .value
            .as_ref()
            .map(|base| Atom::default_of(base.kind));
        datum.insert(Atom::default_of(column.key.kind), value);
    }
    datum
}

/// The UUIDs that `named-uuid`s stand for.
pub trait Names {
    fn uuid(&mut self, name: &str) -> String;
}

/// For places without a transaction.
pub struct Nameless;

impl Names for Nameless {
    fn uuid(&mut self, name: &str) -> String {
        panic!("the name {name} outside of a transaction")
    }
}

pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

pub fn is_id(text: &str) -> bool {
    text.bytes().enumerate().all(|(i, byte)| {
        byte.is_ascii_alphabetic() || byte == b'_' || (i > 0 && byte.is_ascii_digit())
    }) && !text.is_empty()
}

pub fn integer(json: &Value) -> Option<i64> {
    if let Some(number) = json.as_i64() {
        return Some(number);
    }
    let number = json.as_f64()?;
    (number.fract() == 0.0 && number.abs() < 9e18).then_some(number as i64)
}

fn atom(json: &Value, base: &Base, names: &mut dyn Names) -> Result<Atom, Refusal> {
    let atom = match base.kind {
        Kind::Integer => integer(json).map(Atom::Integer),
        Kind::Real => json.as_f64().map(|number| Atom::Real(Real(number))),
        Kind::Boolean => json.as_bool().map(Atom::Boolean),
        Kind::String => json.as_str().map(|text| Atom::String(text.to_owned())),
        Kind::Uuid => {
            let text = |at: usize| json.get(at).and_then(Value::as_str);
            let pair = json.as_array().is_some_and(|items| items.len() == 2);
            match (text(0).filter(|_| pair), text(1)) {
                (Some("uuid"), Some(text)) if is_uuid(text) => {
                    Some(Atom::Uuid(text.to_ascii_lowercase()))
                }
                (Some("named-uuid"), Some(name)) if is_id(name) => {
                    Some(Atom::Uuid(names.uuid(name)))
                }
                _ => None,
            }
        }
    };
    let atom = atom.ok_or(SYNTAX)?;
    if base.allows(&atom) {
        Ok(atom)
    } else {
        Err(CONSTRAINT)
    }
}

/// Reads a value with `min` to `max` elements of the column's base types.
pub fn datum(
    json: &Value,
    column: &Column,
    (min, max): (usize, usize),
    names: &mut dyn Names,
) -> Result<Datum, Refusal> {
    let tagged = |tag: &str| match json.as_array().map(Vec::as_slice) {
        Some([Value::String(first), Value::Array(items)]) if first == tag => Some(items),
        _ => None,
    };
    let mut datum = Datum::new();
    let mut put = |key: Atom, value: Option<Atom>| match datum.insert(key, value) {
        None => Ok(()),
        Some(_) => Err("ovsdb error"),
    };
    let count = |items: &[Value]| {
        if (min..=max).contains(&items.len()) {
            Ok(())
        } else {
            Err(SYNTAX)
        }
    };
    match &column.value {
        Some(value) => {
            let entries = tagged("map").ok_or(SYNTAX)?;
            count(entries)?;
            for entry in entries {
                match entry.as_array().map(Vec::as_slice) {
                    Some([key, of]) => {
                        let key = atom(key, &column.key, names)?;
                        put(key, Some(atom(of, value, names)?))?;
                    }
                    _ => return Err(SYNTAX),
                }
            }
        }
        None => match tagged("set") {
            Some(atoms) => {
                count(atoms)?;
                for item in atoms {
                    put(atom(item, &column.key, names)?, None)?;
                }
            }
            None => put(atom(json, &column.key, names)?, None)?,
        },
    }
    Ok(datum)
}
