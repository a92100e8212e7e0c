//! The records of a database file, one after the other, with the stock program's words for what is
//! wrong with them.
//!
//! Source: ovsdb(5), "Standalone Database Files"; OVS `ovsdb/log.c` for the messages.

use std::io;

use db_server::log::{self, Damage};
use serde_json::Value;
use sha1::{Digest, Sha1};
use thiserror::Error;

use crate::json;

#[derive(Debug, Error)]
pub enum Error {
    #[error("I/O error: {path}: open failed ({})", daemon::pidfile::reason(.source))]
    Open { path: String, source: io::Error },
    #[error("ovsdb error: {path}: cannot identify file type")]
    Empty { path: String },
    #[error("ovsdb error: {path}: unexpected file format")]
    Format { path: String },
    #[error("ovsdb error: {path}: cannot apply this operation to clustered database file")]
    Clustered { path: String },
    #[error("syntax error: {path}: parse error at offset {at} in header line \"{line}\"")]
    Header {
        path: String,
        at: usize,
        line: String,
    },
    #[error(
        "I/O error: {path}: error reading {length} bytes starting at offset {at} (End of file)"
    )]
    Short {
        path: String,
        length: u64,
        at: usize,
    },
    #[error(
        "syntax error: {path}: {length} bytes starting at offset {at} have SHA-1 hash {found} \
         but should have hash {expected}"
    )]
    Hash {
        path: String,
        length: usize,
        at: usize,
        found: String,
        expected: String,
    },
    #[error(
        "syntax error: {path}: {length} bytes starting at offset {at} are not valid JSON ({why})"
    )]
    Json {
        path: String,
        length: usize,
        at: usize,
        why: String,
    },
    #[error("syntax error: {path}: {length} bytes starting at offset {at} are not a JSON object")]
    NotAnObject {
        path: String,
        length: usize,
        at: usize,
    },
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Standalone,
    Clustered,
}

/// A file that is read record by record.
#[derive(Debug)]
pub struct Reader {
    path: String,
    bytes: Vec<u8>,
    at: usize,
}

/// Reads a file and says what it is.
pub fn identify(path: &str) -> Result<(Kind, Reader), Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })?;
    let kind = if bytes.is_empty() {
        return Err(Error::Empty {
            path: path.to_owned(),
        });
    } else if bytes.starts_with(b"OVSDB CLUSTER ") {
        Kind::Clustered
    } else if log::decode(&bytes).is_err_and(|damage| damage == Damage::Header) {
        return Err(Error::Format {
            path: path.to_owned(),
        });
    } else {
        Kind::Standalone
    };
    let reader = Reader {
        path: path.to_owned(),
        bytes,
        at: 0,
    };
    Ok((kind, reader))
}

impl Reader {
    /// A standalone database.
    pub fn open(path: &str) -> Result<Self, Error> {
        match identify(path)? {
            (Kind::Standalone, reader) => Ok(reader),
            (Kind::Clustered, _) => Err(Error::Clustered {
                path: path.to_owned(),
            }),
        }
    }

    /// Where the next record starts.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The next record, or `None` at the end. After an error the same record comes again.
    pub fn next(&mut self) -> Result<Option<Value>, Error> {
        if self.rest().is_empty() {
            return Ok(None);
        }
        match log::decode(self.rest()) {
            Ok((json, length)) if json.is_object() => {
                self.at = self.at.saturating_add(length);
                Ok(Some(json))
            }
            Ok((_, whole)) => {
                let (at, _) = self.data();
                Err(Error::NotAnObject {
                    path: self.path.clone(),
                    length: self.at.saturating_add(whole).saturating_sub(at),
                    at,
                })
            }
            Err(damage) => Err(self.describe(damage)),
        }
    }

    /// Goes on at the next place where a record might start; false when there is none.
    pub fn skip(&mut self) -> bool {
        let magic = log::MAGIC.as_bytes();
        let after = self
            .bytes
            .get(self.at.saturating_add(1)..)
            .unwrap_or_default();
        let next = after
            .windows(magic.len())
            .position(|window| window == magic);
        self.at = match next {
            Some(next) => self.at.saturating_add(1).saturating_add(next),
            None => self.bytes.len(),
        };
        next.is_some()
    }

    /// Where the data of the current record starts, and what its header line says.
    fn data(&self) -> (usize, &[u8]) {
        let rest = self.rest();
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        (self.at.saturating_add(line.len()).saturating_add(1), line)
    }

    fn describe(&self, damage: Damage) -> Error {
        let path = self.path.clone();
        let (at, line) = self.data();
        let mut fields = line.split(|byte| *byte == b' ').skip(2);
        let mut field = || String::from_utf8_lossy(fields.next().unwrap_or_default()).into_owned();
        let (length, expected) = (field(), field());
        let stated: usize = length.parse().unwrap_or(0);
        let data = self
            .bytes
            .get(at..at.saturating_add(stated))
            .unwrap_or_default();
        match damage {
            Damage::Header => Error::Header {
                path,
                at: self.at,
                line: shown_header(line),
            },
            Damage::Short { expected, .. } => Error::Short {
                path,
                length: expected,
                at,
            },
            Damage::Checksum => Error::Hash {
                path,
                length: stated,
                at,
                found: Sha1::digest(data)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect(),
                expected,
            },
            Damage::Json(why) => Error::Json {
                path,
                length: stated,
                at,
                why: json::parse(data).err().unwrap_or(why),
            },
        }
    }
}

/// The part of a bad header that the stock program shows: up to the word after `OVSDB`.
fn shown_header(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line.get(..line.len().min(128)).unwrap_or_default());
    match line
        .strip_prefix("OVSDB ")
        .and_then(|rest| rest.split_once(' '))
    {
        Some((magic, _)) => format!("OVSDB {magic}"),
        None => line.into_owned(),
    }
}
