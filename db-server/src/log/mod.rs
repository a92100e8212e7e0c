//! The database file: an append-only log of JSON records.
//!
//! ```text
//! OVSDB JSON <length> <sha1>\n     length in bytes and SHA-1 in hexadecimal of what follows
//! <json>\n
//! ```
//!
//! The first record is the schema; each further one is a transaction (see [`crate::record`]). A
//! batch of records is written and synced together; in it every record but the first has a space
//! before its JSON. A crash or a full disk leaves part of the last batch, and of its sectors not
//! always the first ones: a damaged record is cut off, with what follows it, when the file is
//! opened for writing and no record after it is whole and starts a batch. Otherwise damage is an
//! error, because that batch was synced and cutting would lose what was acknowledged.
//!
//! Source: ovsdb(5), "Standalone Database Files"; checked against ovsdb-server 3.1.

mod storage;

use std::io;

use ovsdb::DatabaseSchema;
use serde_json::Value;
use sha1::{Digest, Sha1};
use thiserror::Error;

use crate::database::Database;
use crate::record::{self, Replay, Rows};

pub use storage::{FileStorage, InstallError, LockFile, OpenError, Storage};

/// What a file of this kind starts with.
pub const MAGIC: &str = "OVSDB JSON ";

/// Why the contents of a file are no standalone database.
#[derive(Debug, Error)]
pub enum Error {
    #[error("not an ovsdb database file")]
    NotADatabase,
    #[error("a clustered database, which is not supported: convert it to a standalone one first")]
    Clustered,
    #[error("the schema record at the start is damaged: {0}")]
    DamagedSchema(Damage),
    #[error("schema: {0}")]
    Schema(Box<ovsdb::Error>),
    #[error(
        "record {number} at byte {at} is damaged ({damage}) but whole records follow it; \
         restore the file from a copy, or cut it at that byte to give up what follows"
    )]
    Damaged {
        number: usize,
        at: u64,
        damage: Damage,
    },
    #[error("record {number} at byte {at}: {source}")]
    Record {
        number: usize,
        at: u64,
        source: Box<record::Error>,
    },
}

/// What is wrong with the bytes of one record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Damage {
    #[error("incomplete header")]
    Header,
    #[error("{there} bytes of data where the header says {expected}")]
    Short { expected: u64, there: u64 },
    #[error("checksum mismatch")]
    Checksum,
    #[error("invalid JSON: {0}")]
    Json(String),
}

/// One record as it is in the file.
pub fn encode(json: &Value) -> Vec<u8> {
    frame(json.to_string().as_bytes())
}

/// The text of one record as it is in the file.
pub fn frame(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut bytes = Vec::with_capacity(text.len().saturating_add(64));
    append(&mut bytes, text);
    bytes
}

/// Adds a record of this JSON text to a batch.
pub fn append(batch: &mut Vec<u8>, text: &[u8]) {
    let mark: &[u8] = if batch.is_empty() { b"" } else { b" " };
    let data = [mark, text, b"\n"];
    let length: usize = data.iter().map(|part| part.len()).sum();
    let sum = data
        .iter()
        .fold(Sha1::new(), |sum, part| sum.chain_update(part));
    let header = format!("{MAGIC}{length} {}\n", hex(&sum.finalize()));
    batch.extend_from_slice(header.as_bytes());
    data.iter().for_each(|part| batch.extend_from_slice(part));
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(*DIGITS.get(usize::from(nibble)).unwrap_or(&b'0'));
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// Parses one record at the start of `bytes`: its JSON and its length.
pub fn decode(bytes: &[u8]) -> Result<(Value, usize), Damage> {
    let line_end = bytes
        .iter()
        .take(128)
        .position(|byte| *byte == b'\n')
        .ok_or(Damage::Header)?;
    let header = bytes
        .get(..line_end)
        .and_then(|line| std::str::from_utf8(line).ok());
    let fields = header
        .and_then(|line| line.strip_prefix(MAGIC))
        .ok_or(Damage::Header)?;
    let (length, sum) = fields.split_once(' ').ok_or(Damage::Header)?;
    let length: usize = length.parse().map_err(|_| Damage::Header)?;
    let start = line_end.saturating_add(1);
    let end = start.saturating_add(length);
    let Some(data) = bytes.get(start..end) else {
        let there = bytes.len().saturating_sub(start) as u64;
        return Err(Damage::Short {
            expected: length as u64,
            there,
        });
    };
    if !sum.eq_ignore_ascii_case(&hex(&Sha1::digest(data))) {
        return Err(Damage::Checksum);
    }
    let json = serde_json::from_slice(data).map_err(|error| Damage::Json(error.to_string()))?;
    Ok((json, end))
}

/// What was read from a file.
#[derive(Debug)]
pub struct Loaded {
    /// An empty database of the file's schema; `rows` are to be adopted.
    pub db: Database,
    pub rows: Rows,
    /// Where the last whole record ends.
    pub end: u64,
    /// Where the first transaction ends: in a file that was compacted that is the whole database.
    pub base: u64,
    /// What is wrong with the bytes after `end`, if there are any.
    pub torn: Option<Damage>,
    /// Transactions read.
    pub records: usize,
}

/// Reads the contents of a database file.
pub fn load(bytes: &[u8]) -> Result<Loaded, Error> {
    if bytes.starts_with(b"OVSDB CLUSTER") {
        return Err(Error::Clustered);
    }
    if !bytes.starts_with(MAGIC.as_bytes()) {
        return Err(Error::NotADatabase);
    }
    let (schema, mut at) = decode(bytes).map_err(Error::DamagedSchema)?;
    let db = Database::new(
        DatabaseSchema::from_json(&schema).map_err(|error| Error::Schema(Box::new(error)))?,
    );
    let mut replay = Replay::new(&db);
    let mut records = 0usize;
    let mut base = at as u64;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let end = at as u64;
        if rest.is_empty() {
            return Ok(Loaded {
                rows: replay.finish(),
                db,
                end,
                base,
                torn: None,
                records,
            });
        }
        let number = records.saturating_add(2);
        match decode(rest) {
            Ok((json, length)) => {
                replay.apply(&json).map_err(|source| Error::Record {
                    number,
                    at: end,
                    source: Box::new(source),
                })?;
                at = at.saturating_add(length);
                if records == 0 {
                    base = at as u64;
                }
                records = records.saturating_add(1);
            }
            Err(damage) if batch_follows(rest) => {
                return Err(Error::Damaged {
                    number,
                    at: end,
                    damage,
                });
            }
            Err(damage) => {
                return Ok(Loaded {
                    rows: replay.finish(),
                    db,
                    end,
                    base,
                    torn: Some(damage),
                    records,
                });
            }
        }
    }
}

/// Whether a whole record that starts a batch is somewhere after the first byte.
fn batch_follows(bytes: &[u8]) -> bool {
    let magic = MAGIC.as_bytes();
    let mut rest = bytes.get(1..).unwrap_or_default();
    while let Some(at) = rest.windows(magic.len()).position(|window| window == magic) {
        rest = rest.get(at..).unwrap_or_default();
        if decode(rest).is_ok() {
            let data = rest.iter().skip_while(|byte| **byte != b'\n').nth(1);
            if data != Some(&b' ') {
                return true;
            }
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    false
}

/// Appends batches of records; a batch is there as a whole after [`Log::write`] returned `Ok`.
#[derive(Debug)]
pub struct Log<S> {
    storage: S,
    /// Where the last synced record ends.
    end: u64,
    /// Set when the storage can no longer be trusted.
    failed: bool,
    /// See [`Loaded::base`].
    base: u64,
    /// How often the file was replaced.
    generation: u64,
}

/// A whole new file in the making, which is to take the place of a log's.
#[derive(Debug)]
pub struct Replacement<S> {
    storage: S,
    /// Where the log stood when its contents were taken.
    from: u64,
    len: u64,
    generation: u64,
}

impl<S: Storage> Replacement<S> {
    /// Writes and syncs the contents that the log had when this was begun. May take long, and
    /// may be on another thread than the log.
    pub fn fill(&mut self, contents: &[u8]) -> io::Result<()> {
        self.storage.write_at(0, contents)?;
        self.len = contents.len() as u64;
        self.storage.sync()
    }
}

/// Why a log's file was not replaced.
#[derive(Debug, Error)]
pub enum ReplaceError {
    #[error("cannot write the new file: {0}")]
    Write(#[from] io::Error),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error("the file was replaced meanwhile")]
    Overtaken,
}

/// Why a batch is not in the file.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Nothing of the batch stays; a later one may succeed.
    #[error("cannot write to the database file: {0}")]
    Write(#[source] io::Error),
    /// What the kernel holds and what the disk holds may differ: nothing more is written.
    #[error("cannot sync the database file: {0}")]
    Sync(#[source] io::Error),
    #[error("cannot replace the database file: {0}")]
    Rewrite(#[source] ReplaceError),
    #[error("the database file could not be written earlier and is left alone")]
    Failed,
}

impl<S: Storage> Log<S> {
    /// A log that goes on at `end`; what is after it in the storage is cut off.
    pub fn new(mut storage: S, end: u64) -> io::Result<Self> {
        if storage.size()? != end {
            storage.truncate(end)?;
            storage.sync()?;
        }
        Ok(Self {
            storage,
            end,
            failed: false,
            base: end,
            generation: 0,
        })
    }

    /// The same with what was known of the file when it was read.
    #[must_use]
    pub fn with_base(self, base: u64) -> Self {
        Self { base, ..self }
    }

    /// The length that the file has, or would have had, when it is short.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The length of the file.
    pub fn len(&self) -> u64 {
        self.end
    }

    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Writes and syncs a batch of whole records.
    pub fn write(&mut self, batch: &[u8]) -> Result<(), WriteError> {
        if self.failed {
            return Err(WriteError::Failed);
        }
        if let Err(error) = self.storage.write_at(self.end, batch) {
            // Half a batch must not be taken for a torn tail later, after more was appended, nor
            // come back after a crash.
            let cut = self.storage.truncate(self.end);
            self.failed = cut.and_then(|()| self.storage.sync()).is_err();
            return Err(WriteError::Write(error));
        }
        if let Err(error) = self.storage.sync() {
            self.failed = true;
            // What is left of the batch must not come back as a transaction that was refused.
            let _ = self
                .storage
                .truncate(self.end)
                .and_then(|()| self.storage.sync());
            return Err(WriteError::Sync(error));
        }
        self.end = self.end.saturating_add(batch.len() as u64);
        Ok(())
    }

    /// Begins to replace the whole file. The log goes on in the old one meanwhile.
    pub fn begin_replacement(&self) -> io::Result<Replacement<S>> {
        Ok(Replacement {
            storage: self.storage.aside()?,
            from: self.end,
            len: 0,
            generation: self.generation,
        })
    }

    /// Adds what was written since to the new file and puts it in place, atomically; afterwards
    /// the log is good again if it was not. On an error the old file is still in use, unless it
    /// cannot be told which one a crash would leave: then the log has failed.
    pub fn replace(&mut self, new: Replacement<S>) -> Result<(), ReplaceError> {
        let Replacement {
            mut storage,
            from,
            len,
            generation,
        } = new;
        if generation != self.generation {
            return Err(ReplaceError::Overtaken);
        }
        let mut chunk = vec![0u8; 1 << 20];
        let (mut at, mut end) = (from, len);
        while at < self.end {
            let rest = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
            let wanted = chunk.len().min(rest);
            let count = match chunk.get_mut(..wanted) {
                Some(part) => self.storage.read_at(at, part)?,
                None => 0,
            };
            let part = chunk.get(..count).unwrap_or_default();
            if part.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            storage.write_at(end, part)?;
            at = at.saturating_add(count as u64);
            end = end.saturating_add(count as u64);
        }
        storage.sync()?;
        match self.storage.install(storage) {
            Err(error @ InstallError::Kept(_)) => Err(error.into()),
            installed => {
                self.end = end;
                self.generation = self.generation.saturating_add(1);
                self.failed = installed.is_err();
                Ok(installed?)
            }
        }
    }

    /// Replaces the whole contents, atomically.
    pub fn rewrite(&mut self, contents: &[u8]) -> Result<(), WriteError> {
        let mut new = self.begin_replacement().map_err(WriteError::Write)?;
        new.fill(contents).map_err(WriteError::Write)?;
        self.replace(new).map_err(WriteError::Rewrite)
    }
}

#[cfg(test)]
mod tests;
