//! The thread that writes database files, so that a slow disk stops nobody from reading.
//!
//! It takes one job at a time and tells the event loop when it is done. While it syncs, the
//! records of further transactions gather into the next job: many transactions share one sync.
//! When it has nothing to do, the event loop may do a job itself ([`Jobs::run_now`]): where a sync
//! takes less time than to wake a thread and to be woken by it, all are answered sooner.
//!
//! A compaction writes the new file on a thread of its own, while records go on into the old one;
//! what came meanwhile is then copied behind, and the new file takes the old one's place.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use ovsdb::DatabaseSchema;

use crate::database::{Database, Delta};
use crate::log::{self, FileStorage, Log, Replacement, Storage};
use crate::record;

/// Something to do with the files.
#[derive(Debug)]
pub enum Job<S = FileStorage> {
    /// From now on there is this file too.
    Open { database: Arc<str>, log: Log<S> },
    /// Close a file.
    Close { database: Arc<str> },
    /// Write these records, by database, and sync.
    Write {
        batches: BTreeMap<Arc<str>, Batch>,
        ticket: u64,
    },
    /// Begin to replace a file by the shortest one with these contents, which are those that all
    /// jobs before have led to, if no more than `lost` of them failed.
    Compact {
        database: Arc<str>,
        schema: Arc<DatabaseSchema>,
        contents: Delta,
        date_ms: u64,
        lost: u64,
    },
    /// End what `Compact` began.
    Install {
        database: Arc<str>,
        number: u64,
        new: io::Result<Replacement<S>>,
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
pub enum Done<S = FileStorage> {
    /// The records up to `ticket` are durable, those of the databases in `failed` excepted.
    Written {
        ticket: u64,
        failed: Vec<(Arc<str>, log::WriteError)>,
        sizes: Vec<(Arc<str>, u64)>,
        took: Duration,
    },
    Closed {
        database: Arc<str>,
    },
    /// Give this back to the writer.
    Continue(Job<S>),
    /// The length of the new file, or why there is none.
    Compacted {
        database: Arc<str>,
        result: Result<u64, CompactError>,
    },
}

/// Why a file was not compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The contents were taken before it was known that some of them cannot be written.
    #[error("transactions could not be written meanwhile")]
    Stale,
    #[error("the database was removed")]
    Closed,
    #[error("already being compacted")]
    Twice,
    #[error(transparent)]
    Replace(#[from] log::ReplaceError),
}

/// Starts the thread. It ends when what is returned is dropped.
pub fn start<S: Storage + Send + 'static>(
    done: impl Fn(Done<S>) + Send + Sync + 'static,
) -> io::Result<Jobs<S>> {
    let (sender, jobs) = mpsc::channel();
    let done: Report<S> = Arc::new(done);
    let writer = Arc::new(Mutex::new(Writer {
        files: BTreeMap::new(),
        compactions: 0,
        done: done.clone(),
    }));
    let this = Jobs {
        sender,
        left: Arc::default(),
        writer: writer.clone(),
    };
    let left = this.left.clone();
    std::thread::Builder::new()
        .name("log-writer".to_owned())
        .spawn(move || {
            for job in jobs {
                let outcome = lock(&writer).run(job);
                // Who hears of the outcome may do the next job itself.
                left.fetch_sub(1, Ordering::Release);
                if let Some(outcome) = outcome {
                    done(outcome);
                }
            }
        })?;
    Ok(this)
}

type Report<S> = Arc<dyn Fn(Done<S>) + Send + Sync>;

/// Where jobs go.
pub struct Jobs<S = FileStorage> {
    sender: mpsc::Sender<Job<S>>,
    /// Jobs that were sent and are not done.
    left: Arc<AtomicUsize>,
    writer: Arc<Mutex<Writer<S>>>,
}

impl<S> std::fmt::Debug for Jobs<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").finish_non_exhaustive()
    }
}

impl<S: Storage + Send + 'static> Jobs<S> {
    /// Hands a job to the thread.
    ///
    /// Errors: the thread is gone.
    pub fn send(&self, job: Job<S>) -> Result<(), mpsc::SendError<Job<S>>> {
        self.left.fetch_add(1, Ordering::Relaxed);
        self.sender.send(job)
    }

    /// Whether the thread has done all that was sent.
    pub fn is_idle(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// Does a job at once. Jobs build on those before, so this is for when the thread is idle.
    pub fn run_now(&self, job: Job<S>) -> Option<Done<S>> {
        lock(&self.writer).run(job)
    }
}

fn lock<S>(writer: &Mutex<Writer<S>>) -> MutexGuard<'_, Writer<S>> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Open<S> {
    log: Log<S>,
    /// The compaction that is under way.
    compaction: Option<u64>,
    /// Batches that could not be written.
    lost: u64,
}

struct Writer<S> {
    files: BTreeMap<Arc<str>, Open<S>>,
    compactions: u64,
    /// For what ends on a thread of its own.
    done: Report<S>,
}

impl<S: Storage + Send + 'static> Writer<S> {
    fn run(&mut self, job: Job<S>) -> Option<Done<S>> {
        match job {
            Job::Open { database, log } => {
                let open = Open {
                    log,
                    compaction: None,
                    lost: 0,
                };
                self.files.insert(database, open);
                None
            }
            Job::Close { database } => {
                self.files.remove(&database);
                Some(Done::Closed { database })
            }
            Job::Write { batches, ticket } => Some(self.write(batches, ticket)),
            Job::Compact {
                database,
                schema,
                contents,
                date_ms,
                lost,
            } => {
                let text = move || compact(&schema, &contents, date_ms);
                let error = self.begin(&database, lost, text).err()?;
                let result = Err(error);
                Some(Done::Compacted { database, result })
            }
            Job::Install {
                database,
                number,
                new,
            } => {
                let result = self.install(&database, number, new);
                Some(Done::Compacted { database, result })
            }
        }
    }

    fn write(&mut self, batches: BTreeMap<Arc<str>, Batch>, ticket: u64) -> Done<S> {
        let begin = Instant::now();
        let mut failed = Vec::new();
        let mut sizes = Vec::new();
        for (database, batch) in batches {
            let Some(open) = self.files.get_mut(&database) else {
                continue;
            };
            let result = if batch.whole {
                open.log.rewrite(&batch.bytes)
            } else {
                open.log.write(&batch.bytes)
            };
            match result {
                Ok(()) => sizes.push((database, open.log.len())),
                Err(error) => {
                    open.lost = open.lost.saturating_add(1);
                    failed.push((database, error));
                }
            }
        }
        Done::Written {
            ticket,
            failed,
            sizes,
            took: begin.elapsed(),
        }
    }

    /// Starts a thread that makes the text of the new file and writes it.
    fn begin(
        &mut self,
        database: &Arc<str>,
        lost: u64,
        text: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<(), CompactError> {
        let open = self.files.get_mut(database).ok_or(CompactError::Closed)?;
        if open.compaction.is_some() {
            return Err(CompactError::Twice);
        }
        if open.lost != lost {
            return Err(CompactError::Stale);
        }
        let mut new = open
            .log
            .begin_replacement()
            .map_err(log::ReplaceError::from)?;
        self.compactions = self.compactions.saturating_add(1);
        let number = self.compactions;
        let (name, done) = (database.clone(), self.done.clone());
        std::thread::Builder::new()
            .name("compaction".to_owned())
            .spawn(move || {
                let new = new.fill(&text()).map(|()| new);
                done(Done::Continue(Job::Install {
                    database: name,
                    number,
                    new,
                }));
            })
            .map_err(log::ReplaceError::from)?;
        open.compaction = Some(number);
        Ok(())
    }

    fn install(
        &mut self,
        database: &Arc<str>,
        number: u64,
        new: io::Result<Replacement<S>>,
    ) -> Result<u64, CompactError> {
        let open = self
            .files
            .get_mut(database)
            .filter(|open| open.compaction == Some(number))
            .ok_or(CompactError::Closed)?;
        open.compaction = None;
        open.log.replace(new.map_err(log::ReplaceError::from)?)?;
        Ok(open.log.len())
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
