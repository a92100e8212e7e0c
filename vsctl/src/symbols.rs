//! `@name`s: names that stand for rows within one command line.
//!
//! A name may be used before the command that gives it; until then it stands for a fresh UUID.
//! Source: ovs-vsctl(8), `create` and `get`.

use std::collections::BTreeMap;

use ovsdb::Uuid;
use ovsdb::schema::{BaseType, RefKind};
use thiserror::Error;

#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    #[error("row id \"{0}\" does not begin with \"@\"")]
    NoAt(String),
    #[error("row id \"{0}\" may only be specified on one --id option")]
    Twice(String),
    #[error(
        "row id \"{0}\" is referenced but never created (e.g. with \"-- --id={0} create ...\")"
    )]
    NeverCreated(String),
    #[error("row id \"{0}\" specified on \"get\" command was used before it was defined")]
    UsedBeforeGet(String),
}

/// One name.
#[derive(Debug)]
pub struct Symbol {
    pub uuid: Uuid,
    created: bool,
    /// Whether something refers to the row so that it stays.
    strong: bool,
    weak: bool,
}

/// The names of one command line.
#[derive(Debug, Default)]
pub struct Symbols(BTreeMap<String, Symbol>);

impl Symbols {
    /// The UUID for a name that a value of type `base` refers to.
    pub fn refer(&mut self, name: &str, base: &BaseType) -> Uuid {
        let symbol = self.entry(name);
        match base.reference() {
            Some((_, RefKind::Strong)) => symbol.strong = true,
            Some((_, RefKind::Weak)) => symbol.weak = true,
            None => {}
        }
        symbol.uuid
    }

    /// Names the row that a `create` inserts. `is_root`: it stays without a reference.
    pub fn create(&mut self, name: &str, is_root: bool) -> Result<Uuid, Error> {
        let symbol = self.define(name)?;
        symbol.strong |= is_root;
        Ok(symbol.uuid)
    }

    /// Names the row `uuid`, which a `get` found.
    pub fn get(&mut self, name: &str, uuid: Uuid) -> Result<(), Error> {
        let known = self.0.contains_key(name);
        let symbol = self.define(name)?;
        if known {
            return Err(Error::UsedBeforeGet(name.to_owned()));
        }
        symbol.uuid = uuid;
        // The row exists and will not be missed.
        symbol.strong = true;
        Ok(())
    }

    /// Checks at the end that every name was created, and returns warnings.
    pub fn check(&self) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        for (name, symbol) in &self.0 {
            if !symbol.created {
                return Err(Error::NeverCreated(name.clone()));
            }
            if symbol.strong {
                continue;
            }
            let reference = if symbol.weak {
                "only a weak reference to it was inserted"
            } else {
                "no reference to it was inserted"
            };
            warnings.push(format!(
                "row id \"{name}\" was created but {reference}, so it will not actually appear \
                 in the database"
            ));
        }
        Ok(warnings)
    }

    fn define(&mut self, name: &str) -> Result<&mut Symbol, Error> {
        if !name.starts_with('@') {
            return Err(Error::NoAt(name.to_owned()));
        }
        let symbol = self.entry(name);
        if symbol.created {
            return Err(Error::Twice(name.to_owned()));
        }
        symbol.created = true;
        Ok(symbol)
    }

    fn entry(&mut self, name: &str) -> &mut Symbol {
        self.0.entry(name.to_owned()).or_insert_with(|| Symbol {
            uuid: Uuid::new_v4(),
            created: false,
            strong: false,
            weak: false,
        })
    }
}
