//! Errors that a database peer sees: an RFC 7047 error string, details, and the JSON at fault.
//!
//! One struct serves the whole crate because every failure here ends as the same `<error>` object
//! on the wire; the string is one-to-one with [`ErrorKind`].
//!
//! Source: RFC 7047, 3.1 (`<error>`), 4.1.3 and 5.2; ovsdb-server(7) for the strings beyond it.

use serde_json::{Map, Value};

/// The outcome of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident => $text:literal,)*) => {
        /// What went wrong, as the `error` member names it.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum ErrorKind {
            $($(#[$meta])* $name,)*
            /// A string that this crate does not know, kept as it came.
            Other(String),
        }

        impl ErrorKind {
            /// The string of the `error` member.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Other(text) => text,
                }
            }

            /// The kind that `text` names; unknown strings are kept as [`ErrorKind::Other`].
            pub fn from_text(text: &str) -> Self {
                match text {
                    $($text => Self::$name,)*
                    _ => Self::Other(text.to_owned()),
                }
            }

            /// Every kind that has a fixed string.
            #[cfg(test)]
            fn all() -> Vec<Self> {
                vec![$(Self::$name,)*]
            }
        }
    };
}

kinds! {
    /// JSON that does not follow the grammar or the column's type.
    SyntaxError => "syntax error",
    UnknownDatabase => "unknown database",
    UnknownTable => "unknown table",
    UnknownColumn => "unknown column",
    UnknownFunction => "unknown function",
    UnknownMutator => "unknown mutator",
    UnknownMonitor => "unknown monitor",
    DuplicateUuidName => "duplicate uuid-name",
    DuplicateUuid => "duplicate uuid",
    ConstraintViolation => "constraint violation",
    ReferentialIntegrityViolation => "referential integrity violation",
    /// A mutation outside its operator's domain, such as a division by zero.
    DomainError => "domain error",
    /// A mutation whose result does not fit the type.
    RangeError => "range error",
    TimedOut => "timed out",
    NotSupported => "not supported",
    Aborted => "aborted",
    NotOwner => "not owner",
    NotAllowed => "not allowed",
    PermissionError => "permission error",
    ResourcesExhausted => "resources exhausted",
    IoError => "I/O error",
    Canceled => "canceled",
    /// The method itself is not known.
    UnknownMethod => "unknown method",
    /// Parameters of a method that do not fit it.
    InvalidParameters => "invalid parameters",
    /// A datum with duplicates; the string is the one that ovsdb-server gives.
    OvsdbError => "ovsdb error",
    InternalError => "internal error",
}

/// One RFC 7047 `<error>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{}", self.prefix(), self.kind.as_str(), self.suffix())]
pub struct Error {
    pub kind: ErrorKind,
    /// A sentence for people.
    pub details: Option<String>,
    /// The JSON text that the error is about, members in alphabetical order.
    pub syntax: Option<String>,
}

impl Error {
    /// An error with details and no JSON.
    pub fn new(kind: ErrorKind, details: impl Into<String>) -> Self {
        Self {
            kind,
            details: Some(details.into()),
            syntax: None,
        }
    }

    /// An error with details that quotes the JSON at fault.
    pub fn with_syntax(kind: ErrorKind, json: &Value, details: impl Into<String>) -> Self {
        Self {
            kind,
            details: Some(details.into()),
            syntax: Some(sorted_json(json)),
        }
    }

    /// A `syntax error` about `json`.
    pub fn syntax(json: &Value, details: impl Into<String>) -> Self {
        Self::with_syntax(ErrorKind::SyntaxError, json, details)
    }

    /// The `<error>` object.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        if let Some(details) = &self.details {
            map.insert("details".into(), Value::from(details.as_str()));
        }
        map.insert("error".into(), Value::from(self.kind.as_str()));
        if let Some(syntax) = &self.syntax {
            map.insert("syntax".into(), Value::from(syntax.as_str()));
        }
        Value::Object(map)
    }

    /// Reads an `<error>` object, or a bare string as some peers send; `None` for anything else.
    pub fn from_json(json: &Value) -> Option<Self> {
        if let Value::String(text) = json {
            return Some(Self {
                kind: ErrorKind::from_text(text),
                details: None,
                syntax: None,
            });
        }
        let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            kind: ErrorKind::from_text(json.get("error")?.as_str()?),
            details: text("details"),
            syntax: text("syntax"),
        })
    }

    fn prefix(&self) -> String {
        self.syntax
            .as_ref()
            .map(|syntax| format!("syntax {syntax}: "))
            .unwrap_or_default()
    }

    fn suffix(&self) -> String {
        self.details
            .as_ref()
            .map(|details| format!(": {details}"))
            .unwrap_or_default()
    }
}

/// `json` without whitespace and with the members of every object in alphabetical order.
pub fn sorted_json(json: &Value) -> String {
    let mut out = String::new();
    write_sorted(json, &mut out);
    out
}

fn write_sorted(json: &Value, out: &mut String) {
    match json {
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_sorted(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|a, b| a.0.cmp(b.0));
            out.push('{');
            for (i, (name, value)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_sorted(value, out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_string_maps_back_to_its_kind() {
        for kind in ErrorKind::all() {
            assert_eq!(ErrorKind::from_text(kind.as_str()), kind);
        }
        assert_eq!(ErrorKind::from_text("frobbed").as_str(), "frobbed");
    }

    #[test]
    fn json_round_trip() {
        let error = Error::syntax(&json!({"b": [1, "x"], "a": null}), "expected string");
        assert_eq!(
            error.to_json().to_string(),
            r#"{"details":"expected string","error":"syntax error","syntax":"{\"a\":null,\"b\":[1,\"x\"]}"}"#
        );
        assert_eq!(Error::from_json(&error.to_json()), Some(error));
        assert_eq!(Error::from_json(&json!(5)), None);
    }
}
