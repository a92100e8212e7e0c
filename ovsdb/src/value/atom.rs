//! Single values, and UUIDs on the wire.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::schema::{AtomicType, is_id};

/// A finite floating-point number with a total order.
#[derive(Debug, Clone, Copy)]
pub struct Real(pub f64);

impl Real {
    /// The JSON number: without a fraction when it is whole and exact, as ovsdb-server writes it.
    pub fn to_json(self) -> Value {
        if self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            return Value::from(self.0 as i64);
        }
        Value::from(self.0)
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    /// Numeric order; the two zeros are equal, as they print and compare alike for users.
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .partial_cmp(&other.0)
            .unwrap_or_else(|| self.0.total_cmp(&other.0))
    }
}

impl Hash for Real {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The two zeros are equal.
        let number = if self.0 == 0.0 { 0.0 } else { self.0 };
        number.to_bits().hash(state);
    }
}

/// One atomic value. Order is only meaningful between atoms of one type.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    Integer(i64),
    Real(Real),
    Boolean(bool),
    String(Arc<str>),
    Uuid(Uuid),
}

/// What every unset string shares.
static EMPTY_STRING: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));

/// Looks up the UUID that stands for a `named-uuid` while operations are parsed.
pub trait Names {
    /// The UUID for `name`, or the reason why none can be given.
    fn resolve(&mut self, name: &str) -> Result<Uuid>;

    /// An `insert` into `table` says this of the new row's UUID; gives the UUID if it is known. The
    /// row's own columns are read afterwards, because they may refer to it.
    fn insert(
        &mut self,
        _table: &str,
        _uuid_name: Option<&str>,
        uuid: Option<Uuid>,
    ) -> Result<Option<Uuid>> {
        Ok(uuid)
    }
}

/// Refuses every `named-uuid`: for places where no transaction is under way.
pub struct NoNames;

impl Names for NoNames {
    fn resolve(&mut self, name: &str) -> Result<Uuid> {
        Err(Error::new(
            ErrorKind::SyntaxError,
            format!("named-uuid \"{name}\" is only allowed within a transaction"),
        ))
    }
}

/// UUIDs of rows inserted in the same transaction and the names they go by on the wire.
pub type UuidNames = BTreeMap<Uuid, String>;

impl Atom {
    /// The value that an atom of type `kind` has when nobody set it.
    pub fn default_of(kind: AtomicType) -> Self {
        match kind {
            AtomicType::Integer => Self::Integer(0),
            AtomicType::Real => Self::Real(Real(0.0)),
            AtomicType::Boolean => Self::Boolean(false),
            AtomicType::String => Self::String(EMPTY_STRING.clone()),
            AtomicType::Uuid => Self::Uuid(Uuid::nil()),
        }
    }

    /// Which type this is of.
    pub fn atomic_type(&self) -> AtomicType {
        match self {
            Self::Integer(_) => AtomicType::Integer,
            Self::Real(_) => AtomicType::Real,
            Self::Boolean(_) => AtomicType::Boolean,
            Self::String(_) => AtomicType::String,
            Self::Uuid(_) => AtomicType::Uuid,
        }
    }

    /// The string, when it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, when it is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The real number, when it is one.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Real(number) => Some(number.0),
            _ => None,
        }
    }

    /// The boolean, when it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The UUID, when it is one.
    pub fn as_uuid(&self) -> Option<Uuid> {
        match self {
            Self::Uuid(uuid) => Some(*uuid),
            _ => None,
        }
    }

    /// Reads an atom of type `kind`, without looking at constraints.
    pub fn from_json(json: &Value, kind: AtomicType, names: &mut dyn Names) -> Result<Self> {
        let atom = match kind {
            AtomicType::Integer => json_integer(json).map(Self::Integer),
            AtomicType::Real => json
                .as_f64()
                .filter(|number| number.is_finite())
                .map(|n| Self::Real(Real(n))),
            AtomicType::Boolean => json.as_bool().map(Self::Boolean),
            AtomicType::String => json.as_str().map(|text| Self::String(Arc::from(text))),
            AtomicType::Uuid => return uuid_from_json(json, names).map(Self::Uuid),
        };
        atom.ok_or_else(|| Error::syntax(json, format!("expected {}", kind.as_str())))
    }

    pub fn to_json(&self) -> Value {
        match self {
            Self::Integer(number) => Value::from(*number),
            Self::Real(number) => number.to_json(),
            Self::Boolean(flag) => Value::from(*flag),
            Self::String(text) => Value::from(&**text),
            Self::Uuid(uuid) => uuid_to_json(uuid),
        }
    }

    /// Appends the text of [`Atom::to_json`].
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Uuid(uuid) => write_uuid_json(uuid, out),
            Self::String(text) => write_string_json(text, out),
            Self::Integer(number) => to_writer(out, number),
            Self::Real(number) => to_writer(out, &number.to_json()),
            Self::Boolean(flag) => to_writer(out, flag),
        }
    }

    /// Like [`Atom::to_json`]; a UUID in `names` becomes a `named-uuid`.
    pub fn to_json_named(&self, names: &UuidNames) -> Value {
        match self.as_uuid().and_then(|uuid| names.get(&uuid)) {
            Some(name) => json!(["named-uuid", name]),
            None => self.to_json(),
        }
    }
}

/// `["uuid", "..."]`.
pub fn uuid_to_json(uuid: &Uuid) -> Value {
    json!(["uuid", uuid.hyphenated().to_string()])
}

/// Appends the text of [`uuid_to_json`].
pub fn write_uuid_json(uuid: &Uuid, out: &mut Vec<u8>) {
    out.extend_from_slice(b"[\"uuid\",\"");
    write_uuid(uuid, out);
    out.extend_from_slice(b"\"]");
}

/// Appends the digits of a UUID.
pub fn write_uuid(uuid: &Uuid, out: &mut Vec<u8>) {
    let mut digits = Uuid::encode_buffer();
    out.extend_from_slice(uuid.hyphenated().encode_lower(&mut digits).as_bytes());
}

/// Appends a string in JSON's quotes.
pub fn write_string_json(text: &str, out: &mut Vec<u8>) {
    to_writer(out, text);
}

fn to_writer<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    // These values have a JSON form, and a vector takes all bytes.
    serde_json::to_writer(out, value).expect("a plain value can be written");
}

/// Reads `["uuid", text]` or `["named-uuid", name]`.
pub fn uuid_from_json(json: &Value, names: &mut dyn Names) -> Result<Uuid> {
    let pair = match json.as_array().map(Vec::as_slice) {
        Some([tag, text]) => tag.as_str().zip(text.as_str()),
        _ => None,
    };
    match pair {
        Some(("uuid", text)) => parse_uuid(text)
            .ok_or_else(|| Error::syntax(json, format!("\"{text}\" is not a valid UUID"))),
        Some(("named-uuid", name)) if is_id(name) => names.resolve(name),
        Some(("named-uuid", _)) => {
            Err(Error::syntax(json, "named-uuid string is not a valid <id>"))
        }
        _ => Err(Error::syntax(json, "expected [\"uuid\", <string>]")),
    }
}

/// Parses the one spelling of a UUID that RFC 7047 has: 8-4-4-4-12 hexadecimal digits.
pub fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

/// An integer, also when it is written as a whole real such as `1e3`.
pub fn json_integer(json: &Value) -> Option<i64> {
    json.as_i64().or_else(|| {
        let number = json.as_f64()?;
        // `i64::MAX as f64` is 2^63, the first number that does not fit.
        let fits = number >= i64::MIN as f64 && number < i64::MAX as f64;
        (fits && number.fract() == 0.0).then_some(number as i64)
    })
}

impl fmt::Display for Atom {
    /// The text of ovsdb-server's messages and of `ovs-vsctl`: strings that are no plain word are
    /// quoted as JSON.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{}", number.to_json()),
            Self::Boolean(flag) => write!(f, "{flag}"),
            Self::String(text) if needs_quotes(text) => write!(f, "{}", Value::from(&**text)),
            Self::String(text) => f.write_str(text),
            Self::Uuid(uuid) => write!(f, "{}", uuid.hyphenated()),
        }
    }
}

/// Whether a string could be read as something else when printed bare.
fn needs_quotes(text: &str) -> bool {
    let mut chars = text.chars();
    let starts = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let rest = chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    !starts || !rest || text == "true" || text == "false" || parse_uuid(text).is_some()
}

impl From<i64> for Atom {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<bool> for Atom {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<&str> for Atom {
    fn from(value: &str) -> Self {
        Self::String(Arc::from(value))
    }
}

impl From<String> for Atom {
    fn from(value: String) -> Self {
        Self::String(Arc::from(value))
    }
}

impl From<Uuid> for Atom {
    fn from(value: Uuid) -> Self {
        Self::Uuid(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_reals_are_integers() {
        for (json, expected) in [
            (json!(1e3), Some(1000)),
            (json!(1.5), None),
            (json!(9.3e18), None),
            (json!(-9223372036854775808i64), Some(i64::MIN)),
            (json!(18446744073709551615u64), None),
            (json!("1"), None),
        ] {
            assert_eq!(json_integer(&json), expected, "{json}");
        }
    }
}
