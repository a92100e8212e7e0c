//! Strict reading of JSON objects: every member has to be known and of the right type.
//!
//! Messages are worded as ovsdb-server words them, because people and tests compare them.

use std::fmt;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::schema::is_id;

/// The members of one JSON object, with a record of which were asked for.
pub struct Members<'a> {
    pub json: &'a Value,
    map: &'a Map<String, Value>,
    what: &'a dyn fmt::Display,
    used: std::cell::RefCell<Vec<&'a str>>,
}

impl<'a> Members<'a> {
    /// `what` names the construct in messages: "Parsing `what` failed: ...".
    pub fn new(json: &'a Value, what: &'a dyn fmt::Display) -> Result<Self> {
        let Value::Object(map) = json else {
            return Err(Error {
                kind: ErrorKind::SyntaxError,
                details: Some(format!("Parsing {what} failed: Object expected.")),
                syntax: None,
            });
        };
        Ok(Self {
            json,
            map,
            what,
            used: Default::default(),
        })
    }

    pub fn get(&self, name: &str) -> Option<&'a Value> {
        let (name, value) = self.map.get_key_value(name)?;
        self.used.borrow_mut().push(name);
        Some(value)
    }

    pub fn require(&self, name: &str) -> Result<&'a Value> {
        self.get(name)
            .ok_or_else(|| self.fail(&format!("Required '{name}' member is missing.")))
    }

    pub fn fail(&self, why: &str) -> Error {
        Error::syntax(self.json, format!("Parsing {} failed: {why}", self.what))
    }

    pub fn mismatch(&self, name: &str) -> Error {
        self.fail(&format!("Type mismatch for member '{name}'."))
    }

    pub fn object(&self, name: &str) -> Result<&'a Map<String, Value>> {
        self.require(name)?
            .as_object()
            .ok_or_else(|| self.mismatch(name))
    }

    pub fn array(&self, name: &str) -> Result<&'a Value> {
        let value = self.require(name)?;
        if value.is_array() {
            Ok(value)
        } else {
            Err(self.mismatch(name))
        }
    }

    pub fn string(&self, name: &str) -> Result<&'a str> {
        self.require(name)?
            .as_str()
            .ok_or_else(|| self.mismatch(name))
    }

    pub fn id(&self, name: &str) -> Result<&'a str> {
        let text = self.string(name)?;
        if is_id(text) {
            Ok(text)
        } else {
            Err(self.mismatch(name))
        }
    }

    pub fn bool(&self, name: &str, default: bool) -> Result<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(flag) => flag.as_bool().ok_or_else(|| self.mismatch(name)),
        }
    }

    pub fn number<T>(&self, name: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>> {
        match self.get(name) {
            None => Ok(None),
            Some(number) => read(number).map(Some).ok_or_else(|| self.mismatch(name)),
        }
    }

    /// Refuses members that nobody asked for.
    pub fn finish(&self) -> Result<()> {
        let used = self.used.borrow();
        match self.map.keys().find(|name| !used.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                Err(self.fail(&format!("Member '{name}' is present but not allowed here.")))
            }
        }
    }
}
