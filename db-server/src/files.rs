//! Opening the database files at start, or making them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ovsdb::{DatabaseSchema, Uuid};
use serde_json::Value;
use thiserror::Error;

use crate::database::Database;
use crate::log::{self, FileStorage, LockFile, Log, OpenError};
use crate::txn;

/// The schema that a new database gets.
pub const SCHEMA: &str = include_str!("../schema/vswitch.ovsschema");

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{}: {source}", .path.display())]
    Contents { path: PathBuf, source: log::Error },
    #[error("{}: the contents break the schema: {source}", .path.display())]
    Adopt {
        path: PathBuf,
        source: Box<ovsdb::Error>,
    },
    #[error("{}: cannot cut off its torn end: {source}", .path.display())]
    Cut {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the schema for new databases: {0}")]
    Schema(String),
}

/// An open database.
#[derive(Debug)]
pub struct File {
    pub name: Arc<str>,
    /// Absolute, and without links.
    pub path: PathBuf,
    pub db: Database,
    pub log: Log<FileStorage>,
    pub lock: LockFile,
}

/// Opens the file, which nobody else may have open; makes it when it is not there.
pub fn open(path: &Path, new_uuid: &mut dyn FnMut() -> Uuid) -> Result<File, Error> {
    if let Some(directory) = path.parent().filter(|directory| !directory.exists()) {
        std::fs::create_dir_all(directory).map_err(|source| OpenError::Create {
            path: directory.to_owned(),
            source,
        })?;
    }
    let lock = LockFile::acquire(path)?;
    let (db, log) = match FileStorage::open(path)? {
        Some((storage, bytes)) => read(path, storage, &bytes, new_uuid)?,
        None => make(path)?,
    };
    file(path, db, log, lock)
}

/// The same for a file that has to be there.
pub fn open_existing(path: &Path, new_uuid: &mut dyn FnMut() -> Uuid) -> Result<File, Error> {
    let lock = LockFile::acquire(path)?;
    let Some((storage, bytes)) = FileStorage::open(path)? else {
        return Err(Error::Contents {
            path: path.to_owned(),
            source: log::Error::NotADatabase,
        });
    };
    let (db, log) = read(path, storage, &bytes, new_uuid)?;
    file(path, db, log, lock)
}

fn file(path: &Path, db: Database, log: Log<FileStorage>, lock: LockFile) -> Result<File, Error> {
    let name = Arc::from(db.schema().name.as_str());
    let path = std::fs::canonicalize(path).map_err(|source| OpenError::Open {
        path: path.to_owned(),
        source,
    })?;
    Ok(File {
        name,
        path,
        db,
        log,
        lock,
    })
}

fn make(path: &Path) -> Result<(Database, Log<FileStorage>), Error> {
    let schema = new_schema()?;
    let bytes = log::encode(&schema.to_json());
    let storage = FileStorage::create(path, &bytes)?;
    tracing::info!(
        "{}: created with schema version {}",
        path.display(),
        schema.version
    );
    Ok((
        Database::new(schema),
        continue_log(path, storage, bytes.len() as u64)?,
    ))
}

/// The schema that is built in.
pub fn new_schema() -> Result<DatabaseSchema, Error> {
    let json: Value =
        serde_json::from_str(SCHEMA).map_err(|error| Error::Schema(error.to_string()))?;
    DatabaseSchema::from_json(&json).map_err(|error| Error::Schema(error.to_string()))
}

fn read(
    path: &Path,
    storage: FileStorage,
    bytes: &[u8],
    new_uuid: &mut dyn FnMut() -> Uuid,
) -> Result<(Database, Log<FileStorage>), Error> {
    let loaded = log::load(bytes).map_err(|source| Error::Contents {
        path: path.to_owned(),
        source,
    })?;
    if let Some(damage) = loaded.torn {
        tracing::warn!(
            "{}: the last record, from byte {} on, is torn ({damage}); its {} bytes are cut off",
            path.display(),
            loaded.end,
            (bytes.len() as u64).saturating_sub(loaded.end),
        );
    }
    let mut db = loaded.db;
    txn::adopt(&mut db, loaded.rows, new_uuid).map_err(|source| Error::Adopt {
        path: path.to_owned(),
        source: Box::new(source),
    })?;
    tracing::debug!("{}: {} transactions read", path.display(), loaded.records);
    let log = continue_log(path, storage, loaded.end)?.with_base(loaded.base);
    Ok((db, log))
}

fn continue_log(path: &Path, storage: FileStorage, end: u64) -> Result<Log<FileStorage>, Error> {
    Log::new(storage, end).map_err(|source| Error::Cut {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_schema_has_the_known_tables_and_columns() {
        let schema = new_schema().unwrap();
        assert_eq!(schema.tables.len(), 19);
        assert_eq!(
            schema
                .tables
                .values()
                .map(|table| table.columns.len())
                .sum::<usize>(),
            190
        );
    }

    /// Everything in the schema that a stock installation has is here, with equal types.
    #[test]
    fn built_in_schema_covers_the_installed_one() {
        let installed = daemon::dirs::pkgdatadir().join("vswitch.ovsschema");
        let Ok(text) = std::fs::read_to_string(&installed) else {
            eprintln!("skipped: {} is not installed", installed.display());
            return;
        };
        let theirs: Value = serde_json::from_str(&text).unwrap();
        let theirs = DatabaseSchema::from_json(&theirs).unwrap();
        let ours = new_schema().unwrap();
        for (table_name, table) in &theirs.tables {
            let our_table = &ours.tables[table_name];
            assert_eq!(our_table.is_root, table.is_root, "{table_name}");
            assert_eq!(our_table.max_rows, table.max_rows, "{table_name}");
            assert_eq!(our_table.indexes, table.indexes, "{table_name}");
            for (name, column) in &table.columns {
                assert_eq!(
                    our_table.columns.get(name),
                    Some(column),
                    "{table_name}.{name}"
                );
            }
        }
    }

    #[test]
    fn second_opening_is_refused_by_the_lock_of_another_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("conf.db");
        let file = open(&path, &mut Uuid::new_v4).unwrap();
        assert_eq!(&*file.name, "Open_vSwitch");
        // fcntl locks are the process's, so only another process can tell.
        let output = std::process::Command::new("python3")
            .arg("-c")
            .arg("import fcntl,sys; fcntl.lockf(open(sys.argv[1],'r+'), fcntl.LOCK_EX|fcntl.LOCK_NB)")
            .arg(directory.path().join(".conf.db.~lock~"))
            .output();
        match output {
            Ok(output) => assert!(!output.status.success()),
            Err(error) => eprintln!("skipped: no python3: {error}"),
        }
    }
}
