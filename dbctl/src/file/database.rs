//! Commands that read a whole database or write one: `create`, `compact`, `convert`, `query` and
//! `transact`.
//!
//! Rows, transactions and records are db-server's: a file means the same here and there.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use db_server::convert::{self, Unset};
use db_server::database::Database;
use db_server::log::{self, FileStorage, LockFile, Log, OpenError, Storage as _};
use db_server::rbac::Access;
use db_server::record::{self, Rows};
use db_server::txn::{self, Context, Outcome};
use ovsdb::error::sorted_json;
use ovsdb::{DatabaseSchema, Error as DbError, ErrorKind, Uuid};
use serde_json::{Value, json};
use thiserror::Error;

use super::inspect::stored_schema;
use super::reader::Reader;
use super::{Call, Error as FileError, default_db};
use crate::choose::Personality;
use crate::{json, print, schema_file};

#[derive(Debug, Error)]
pub enum Error {
    #[error("I/O error: {path}: create failed (File exists)")]
    Exists { path: String },
    #[error("{path}: record {number} at byte {at}: {source}")]
    Record {
        path: String,
        number: usize,
        at: usize,
        source: Box<record::Error>,
    },
    #[error("{path}: the contents do not fit the schema: {}", crate::ovsdb_error(.source))]
    Unfit { path: String, source: Box<DbError> },
    #[error("I/O error: {path}: failed to lock lockfile ({reason})")]
    Lock { path: String, reason: String },
    #[error("I/O error: {0}")]
    Open(OpenError),
    #[error("I/O error: {path}: write failed ({reason})")]
    Write { path: String, reason: String },
    #[error("\"{text}\": {why}")]
    Json { text: String, why: String },
}

/// The advisory lock on a database file, as the server takes it.
fn lock(path: &Path) -> Result<LockFile, Error> {
    LockFile::acquire(path).map_err(|error| {
        let reason = match &error {
            OpenError::Busy { pid, .. } => {
                let owner = pid.map(|pid| format!(" by pid {pid}")).unwrap_or_default();
                tracing::warn!(
                    target: "lockfile",
                    "{}: cannot lock file because it is already locked{owner}",
                    path.display()
                );
                "Resource temporarily unavailable".to_owned()
            }
            OpenError::Lock { source, .. } => daemon::pidfile::reason(source),
            other => other.to_string(),
        };
        Error::Lock {
            path: path.display().to_string(),
            reason,
        }
    })
}

/// What a link leads to, so that its target is replaced and not the link.
fn follow(path: &str) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path))
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The file of a database with this schema and these contents.
fn contents(db: &Database, comment: &str) -> Vec<u8> {
    let mut bytes = log::encode(&db.schema().to_json());
    let date_ms = now_ms();
    let record = record::encode(db, &record::snapshot(db), Some(comment), date_ms, false)
        // An empty database says when it was written, too.
        .unwrap_or_else(|| {
            json!({"_date": date_ms, "_comment": comment})
                .to_string()
                .into_bytes()
        });
    bytes.append(&mut log::frame(record));
    bytes
}

/// A database as it was read, and where its file ends.
pub struct Loaded {
    pub db: Database,
    end: u64,
}

/// Reads a database and checks it as the server does when it starts.
pub fn load(path: &str) -> Result<Loaded, FileError> {
    let mut reader = Reader::open(path)?;
    let mut db = Database::new(stored_schema(&mut reader)?);
    let mut rows = Rows::new();
    let mut number = 1usize;
    loop {
        let at = reader.at();
        let Some(record) = reader.next()? else { break };
        record::apply(&db, &mut rows, &record).map_err(|source| Error::Record {
            path: path.to_owned(),
            number,
            at,
            source: Box::new(source),
        })?;
        number = number.saturating_add(1);
    }
    adopt(path, &mut db, rows)?;
    Ok(Loaded {
        db,
        end: reader.len() as u64,
    })
}

fn adopt(path: &str, db: &mut Database, rows: Rows) -> Result<(), Error> {
    txn::adopt(db, rows, &mut Uuid::new_v4).map_err(|source| Error::Unfit {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

pub fn create(call: &Call<'_>) -> Result<u8, FileError> {
    let path = call.db();
    let schema = schema_file::read(&call.schema(1))?;
    if std::fs::symlink_metadata(&path).is_ok() {
        return Err(Error::Exists { path }.into());
    }
    let _lock = lock(Path::new(&path))?;
    FileStorage::create(Path::new(&path), &log::encode(&schema.to_json())).map_err(Error::Open)?;
    Ok(0)
}

pub fn compact(call: &Call<'_>) -> Result<u8, FileError> {
    let comment = comment(call, "compacted");
    rewrite(&call.db(), call.arg(1), &comment, |_, db| Ok(db))
}

pub fn convert(call: &Call<'_>) -> Result<u8, FileError> {
    let schema = schema_file::read(&call.schema(1))?;
    let comment = comment(call, "converted");
    rewrite(&call.db(), call.arg(2), &comment, |path, db| {
        Ok(converted(path, &db, schema)?)
    })
}

fn comment(call: &Call<'_>, done: &str) -> String {
    let program = call.program;
    let version = match Personality::of(program) {
        Personality::Both => daemon::version::VERSION,
        _ => daemon::version::OVS_VERSION,
    };
    format!("{done} by {program} {version}")
}

/// Writes the database `source`, changed, to `target`, or else in place of itself.
fn rewrite(
    source: &str,
    target: Option<&str>,
    comment: &str,
    change: impl FnOnce(&str, Database) -> Result<Database, FileError>,
) -> Result<u8, FileError> {
    // Nothing is locked, and so no lock file made, for a file that is not there.
    Reader::open(source)?;
    let to = follow(target.unwrap_or(source));
    let _lock = lock(&to)?;
    let loaded = load(source)?;
    let db = change(source, loaded.db)?;
    FileStorage::create(&to, &contents(&db, comment)).map_err(Error::Open)?;
    Ok(0)
}

/// The same rows under another schema.
fn converted(path: &str, db: &Database, schema: DatabaseSchema) -> Result<Database, Error> {
    convert::convert(db, schema, Unset::Renew, &mut Uuid::new_v4).map_err(|error| {
        let source = match error {
            convert::Error::Rows(source) => source,
            convert::Error::Value {
                table,
                uuid,
                column,
                mut source,
            } => {
                let details = source.details.take().unwrap_or_default();
                source.details = Some(format!(
                    "{details} (table {table} row {uuid} column {column})"
                ));
                source
            }
        };
        Error::Unfit {
            path: path.to_owned(),
            source,
        }
    })
}

pub fn query(call: &Call<'_>) -> Result<u8, FileError> {
    let (path, text) = transaction(call);
    let mut loaded = load(&path)?;
    let request = parse(&text)?;
    let (result, _) = execute(&mut loaded.db, &request, access(call));
    print(&format!("{}\n", sorted_json(&result)))?;
    Ok(0)
}

pub fn transact(call: &Call<'_>) -> Result<u8, FileError> {
    let (path, text) = transaction(call);
    // Nothing is locked, and so no lock file made, for a file that is not there.
    Reader::open(&path)?;
    let _lock = lock(&follow(&path))?;
    let mut loaded = load(&path)?;
    let request = parse(&text)?;
    let (result, committed) = execute(&mut loaded.db, &request, access(call));
    let record = committed.and_then(|committed| {
        let comment = committed.comment.as_deref();
        record::encode(&loaded.db, &committed.delta, comment, now_ms(), true)
    });
    if let Some(record) = record {
        append(&path, loaded.end, &log::frame(record))?;
    }
    print(&format!("{}\n", sorted_json(&result)))?;
    Ok(0)
}

/// The file and the transaction of `query` and `transact`.
fn transaction(call: &Call<'_>) -> (String, String) {
    let words: Vec<&str> = call.args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [path, text, ..] => ((*path).to_owned(), (*text).to_owned()),
        [text] => (default_db(), (*text).to_owned()),
        [] => (default_db(), String::new()),
    }
}

fn parse(text: &str) -> Result<Value, Error> {
    json::parse(text.as_bytes()).map_err(|why| Error::Json {
        text: text.to_owned(),
        why,
    })
}

/// Without a role everything is allowed; with one, as for a client of which nobody knows who it is.
fn access<'a>(call: &'a Call<'_>) -> Access<'a> {
    Access {
        role: call.options.rbac_role.as_deref().unwrap_or(""),
        ..Access::default()
    }
}

fn append(path: &str, end: u64, bytes: &[u8]) -> Result<(), Error> {
    let refuse = |reason: String| Error::Write {
        path: path.to_owned(),
        reason,
    };
    let Some((mut storage, _)) = FileStorage::open(Path::new(path)).map_err(Error::Open)? else {
        return Err(refuse("the file is gone".to_owned()));
    };
    // The lock keeps others from writing; one that does not ask for it is noticed.
    let size = storage
        .size()
        .map_err(|error| refuse(daemon::pidfile::reason(&error)))?;
    if size != end {
        return Err(refuse("the file was changed by somebody else".to_owned()));
    }
    Log::new(storage, end)
        .map_err(|error| refuse(daemon::pidfile::reason(&error)))?
        .write(bytes)
        .map_err(|error| refuse(error.to_string()))
}

/// Executes the parameters of a `transact` request. Gives what to print, and what was committed.
fn execute(
    db: &mut Database,
    request: &Value,
    access: Access<'_>,
) -> (Value, Option<txn::Committed>) {
    let refuse = |what| (DbError::syntax(request, what).to_json(), None);
    let Some(params) = request.as_array() else {
        return refuse("array expected");
    };
    let operations = match params.split_first() {
        Some((Value::String(name), operations)) if *name == db.schema().name => operations,
        _ => return refuse("database name expected as first parameter"),
    };
    match attempt(db, operations, access) {
        Outcome::Done {
            results, committed, ..
        } => (Value::Array(results.to_json()), committed),
        Outcome::Wait { .. } => (wait_refused(db, operations, access), None),
    }
}

fn attempt(db: &mut Database, operations: &[Value], access: Access<'_>) -> Outcome {
    let mut context = Context {
        holds_lock: &|_| false,
        new_uuid: &mut Uuid::new_v4,
        elapsed: Duration::ZERO,
        access,
    };
    txn::execute(db, operations, &mut context)
}

/// The results of a transaction that would have to wait: nobody else changes a file, so that the
/// `wait` ends it.
fn wait_refused(db: &mut Database, operations: &[Value], access: Access<'_>) -> Value {
    let mut before: Vec<Value> = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        let mut part: Vec<Value> = operations.iter().take(at).cloned().collect();
        part.push(operation.clone());
        // With an end that takes everything back.
        part.push(json!({"op": "abort"}));
        match attempt(db, &part, access) {
            Outcome::Done { results, .. } => {
                before = results.to_json();
                before.pop();
            }
            Outcome::Wait { .. } => break,
        }
    }
    let error = DbError::new(ErrorKind::NotSupported, "triggers not supported");
    before.push(error.to_json());
    before.resize(operations.len(), Value::Null);
    Value::Array(before)
}
