//! The thread that writes database files, so that a slow disk stops nobody from reading.
//!
//! It takes one job at a time and tells the event loop when it is done. While it syncs, the
//! records of further transactions gather into the next job: many transactions share one sync.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;

use ovsdb::DatabaseSchema;

use crate::database::{Database, Delta};
use crate::log::{self, Log, Storage};
use crate::record;

/// Something to do with the files.
#[derive(Debug)]
pub enum Job {
    /// Write these records, by database, and sync.
    Write {
        batches: BTreeMap<Arc<str>, Batch>,
        ticket: u64,
    },
    /// Replace a file by the shortest one with these contents.
    Compact {
        database: Arc<str>,
        schema: Arc<DatabaseSchema>,
        contents: Delta,
        date_ms: u64,
    },
}

/// Records for one file.
#[derive(Debug, Default)]
pub struct Batch {
    pub bytes: Vec<u8>,
    /// Whether they are to be all that the file holds.
    pub whole: bool,
}

/// What became of a job.
#[derive(Debug)]
pub enum Done {
    /// The records up to `ticket` are durable, those of the databases in `failed` excepted.
    Written {
        ticket: u64,
        failed: Vec<(Arc<str>, log::WriteError)>,
        sizes: Vec<(Arc<str>, u64)>,
    },
    Compacted {
        database: Arc<str>,
        result: std::io::Result<u64>,
    },
}

/// Starts the thread. It ends when the sender of jobs is dropped.
pub fn start<S: Storage + Send + 'static>(
    mut logs: BTreeMap<Arc<str>, Log<S>>,
    done: impl Fn(Done) + Send + 'static,
) -> std::io::Result<mpsc::Sender<Job>> {
    let (sender, jobs) = mpsc::channel();
    std::thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(move || {
            for job in jobs {
                done(run(&mut logs, job));
            }
        })?;
    Ok(sender)
}

fn run<S: Storage>(logs: &mut BTreeMap<Arc<str>, Log<S>>, job: Job) -> Done {
    match job {
        Job::Write { batches, ticket } => {
            let mut failed = Vec::new();
            let mut sizes = Vec::new();
            for (database, batch) in batches {
                let Some(log) = logs.get_mut(&database) else {
                    continue;
                };
                let result = if batch.whole {
                    log.replace(&batch.bytes).map_err(log::WriteError::Write)
                } else {
                    log.write(&batch.bytes)
                };
                match result {
                    Ok(()) => sizes.push((database, log.len())),
                    Err(error) => failed.push((database, error)),
                }
            }
            Done::Written {
                ticket,
                failed,
                sizes,
            }
        }
        Job::Compact {
            database,
            schema,
            contents,
            date_ms,
        } => {
            let bytes = compact(&schema, &contents, date_ms);
            let result = match logs.get_mut(&database) {
                Some(log) => log.replace(&bytes).map(|()| log.len()),
                None => Err(std::io::ErrorKind::NotFound.into()),
            };
            Done::Compacted { database, result }
        }
    }
}

/// The shortest file with this schema and these rows.
pub fn compact(schema: &DatabaseSchema, contents: &Delta, date_ms: u64) -> Vec<u8> {
    let mut bytes = log::encode(&schema.to_json());
    let codec = Database::new(schema.clone());
    let comment = Some("compacting database online");
    if let Some(record) = record::encode(&codec, contents, comment, date_ms, false) {
        bytes.append(&mut log::frame(record));
    }
    bytes
}
