//! From what the server hands out to what clients get: nothing is told before it is durable.
//!
//! Records gather in `pending` while the writer is busy with the batch before. Messages that
//! came out after a record wait in `held` until the writer reports it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use ahash::HashMap;
use daemon::rate_limit::RateLimit;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::Client;
use crate::connection::Outgoing;
use crate::log::{self, FileStorage, Log, ReplaceError, WriteError};
use crate::record;
use crate::server::{Nature, Output, Server, SessionId, lost_reply};
use crate::writer::{self, Batch, CompactError, Done, Job};

/// A file is compacted when it is at least this long and twice as long as after the last time,
/// but not before this many transactions or this much time. Once a day that many transactions are
/// enough. Source: ovsdb-server(1), `ovsdb-server/compact`.
const COMPACT_MIN: u64 = 10 << 20;
const COMPACT_COMMITS: u64 = 100;
const COMPACT_PAUSE: Duration = Duration::from_secs(600);
const COMPACT_DAILY: Duration = Duration::from_secs(24 * 3600);

/// Bounds of what gathers while the writer is busy.
const MAX_HELD: usize = 1 << 16;
const MAX_PENDING: usize = 16 << 20;

/// Write errors are told at most this often.
static WRITE_ERRORS: RateLimit = RateLimit::new(12, 1);

/// What is known of a database's file.
#[derive(Debug)]
pub(crate) struct FileState {
    /// Its length now and after it was last short.
    size: u64,
    base: u64,
    /// Transactions since it was last compacted or opened, and when that was.
    commits: u64,
    since: Instant,
    /// Batches that could not be written, and why the last one could not, if none has been since.
    lost: u64,
    error: Option<String>,
    compaction: Compaction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compaction {
    No,
    Wanted,
    Running,
}

impl FileState {
    fn new(log: &Log<FileStorage>, now: Instant) -> Self {
        Self {
            size: log.len(),
            base: log.base(),
            commits: 0,
            since: now,
            lost: 0,
            error: None,
            compaction: Compaction::No,
        }
    }

    /// Why transactions are refused, if they are.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    fn is_due(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        let many = self.commits >= COMPACT_COMMITS;
        let grown = self.size >= COMPACT_MIN && self.size / 2 >= self.base;
        (grown && (many || age >= COMPACT_PAUSE)) || (many && age >= COMPACT_DAILY)
    }
}

/// What has ended, for who waits for it.
#[derive(Debug)]
pub(crate) enum Finished {
    Compacted(Arc<str>, Result<(), String>),
    Closed(Arc<str>),
}

#[derive(Debug)]
struct Held {
    /// The last record that has to be durable before.
    ticket: u64,
    session: SessionId,
    what: HeldWhat,
}

#[derive(Debug)]
enum HeldWhat {
    Message {
        message: Outgoing,
        nature: Nature,
        database: Option<Arc<str>>,
    },
    Close,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Delivery {
    jobs: Option<Sender<Job>>,
    busy: bool,
    pending: BTreeMap<Arc<str>, Batch>,
    /// The last record that came out, and the last one of which the outcome is known.
    last: u64,
    settled: u64,
    held: VecDeque<Held>,
    held_by: HashMap<SessionId, usize>,
    files: BTreeMap<Arc<str>, FileState>,
}

impl Delivery {
    pub fn new() -> (Self, UnboundedReceiver<Done>) {
        let (sender, done) = mpsc::unbounded_channel();
        let jobs = writer::start(move |done| {
            let _ = sender.send(done);
        });
        let this = Self {
            jobs: jobs
                .inspect_err(|error| tracing::error!("cannot start writer: {error}"))
                .ok(),
            busy: false,
            pending: BTreeMap::new(),
            last: 0,
            settled: 0,
            held: VecDeque::new(),
            held_by: HashMap::default(),
            files: BTreeMap::new(),
        };
        (this, done)
    }

    /// Takes the file of a database.
    pub fn open(&mut self, database: Arc<str>, log: Log<FileStorage>) {
        let state = FileState::new(&log, Instant::now());
        self.files.insert(database.clone(), state);
        self.start(Job::Open { database, log });
    }

    /// Closes the file of a database that is no more; [`Finished::Closed`] tells when. Nothing may
    /// be under way for it.
    pub fn close(&mut self, database: &Arc<str>) -> Option<Finished> {
        let file = self.files.remove(database);
        self.start(Job::Close {
            database: database.clone(),
        });
        // The writer knows nothing of a compaction that has not begun.
        let waits = file.is_some_and(|file| file.compaction == Compaction::Wanted);
        waits.then(|| {
            let error = CompactError::Closed.to_string();
            Finished::Compacted(database.clone(), Err(error))
        })
    }

    /// Whether records are being written or wait to be.
    pub fn is_busy(&self) -> bool {
        self.busy || !self.pending.is_empty()
    }

    /// Whether more may be taken in before the writer has caught up.
    pub fn has_room(&self) -> bool {
        self.held.len() < MAX_HELD
            && self
                .pending
                .values()
                .all(|pending| pending.bytes.len() < MAX_PENDING)
    }

    /// The files by database.
    pub fn files(&self) -> &BTreeMap<Arc<str>, FileState> {
        &self.files
    }

    /// Takes one output; true when a database changed.
    pub(super) fn handle_output(
        &mut self,
        output: Output,
        clients: &mut HashMap<SessionId, Client>,
    ) -> bool {
        match output {
            Output::Record {
                database,
                ticket,
                record,
            } => {
                if let Some(file) = self.files.get_mut(&database) {
                    file.commits = file.commits.saturating_add(1);
                }
                let pending = self.pending.entry(database).or_default();
                log::append(&mut pending.bytes, &record);
                self.last = ticket;
            }
            Output::Replace {
                database,
                ticket,
                records,
            } => {
                let bytes = records.into_iter().flat_map(log::frame).collect();
                // What was pending is in the records.
                let batch = Batch { bytes, whole: true };
                self.pending.insert(database, batch);
                self.last = ticket;
            }
            Output::Send {
                session,
                message,
                nature,
                database,
            } => self.tell(
                session,
                Outgoing::Message(message),
                nature,
                database,
                clients,
            ),
            Output::Text {
                session,
                text,
                nature,
                database,
            } => self.tell(
                session,
                Outgoing::Text(text),
                nature,
                Some(database),
                clients,
            ),
            Output::Close {
                session,
                reason,
                fault,
            } => {
                if let Some(Client { remote, .. }) = clients.get(&session) {
                    if fault {
                        tracing::warn!("{remote}: {reason}; connection dropped");
                    } else {
                        tracing::info!("{remote}: {reason}; connection dropped");
                    }
                }
                if self.held_by.contains_key(&session) {
                    self.hold(session, HeldWhat::Close);
                } else {
                    send(clients, session, Outgoing::Close, Nature::Plain);
                }
            }
            Output::Changed { .. } => return true,
        }
        false
    }

    /// Sends a message, or holds it until what it tells of is durable.
    fn tell(
        &mut self,
        session: SessionId,
        message: Outgoing,
        nature: Nature,
        database: Option<Arc<str>>,
        clients: &mut HashMap<SessionId, Client>,
    ) {
        let free = self.settled == self.last
            || (nature == Nature::Plain && !self.held_by.contains_key(&session));
        if free {
            send(clients, session, message, nature);
            return;
        }
        let what = HeldWhat::Message {
            message,
            nature,
            database,
        };
        self.hold(session, what);
    }

    /// Gives the writer what is pending, if it is free.
    pub fn submit(&mut self) {
        if self.busy || self.pending.is_empty() {
            return;
        }
        let batches = std::mem::take(&mut self.pending);
        self.busy = true;
        self.start(Job::Write {
            batches,
            ticket: self.last,
        });
    }

    /// Takes the writer's report: sends what was held for it, or takes back what is lost.
    pub(super) fn handle_done(
        &mut self,
        done: Done,
        server: &mut Server,
        clients: &mut HashMap<SessionId, Client>,
    ) -> Option<Finished> {
        match done {
            Done::Written {
                ticket,
                failed,
                sizes,
            } => {
                self.busy = false;
                for (database, size) in sizes {
                    if let Some(file) = self.files.get_mut(&database) {
                        file.size = size;
                        if file.error.take().is_some() {
                            tracing::info!("{database}: the file can be written again");
                        }
                    }
                }
                for (database, error) in failed {
                    self.lose(&database, &error, server);
                }
                // Without anything pending there is nothing further to wait for.
                self.settled = if self.pending.is_empty() {
                    self.last
                } else {
                    ticket
                };
                // What is told from now on must not be taken back with a later loss.
                server.handle_durable(self.settled);
                self.release(clients);
            }
            Done::Continue(job) => self.start(job),
            Done::Closed { database } => return Some(Finished::Closed(database)),
            Done::Compacted { database, result } => return self.compacted(database, result),
        }
        self.submit();
        None
    }

    fn compacted(
        &mut self,
        database: Arc<str>,
        result: Result<u64, CompactError>,
    ) -> Option<Finished> {
        let Some(file) = self.files.get_mut(&database) else {
            let error = CompactError::Closed.to_string();
            return Some(Finished::Compacted(database, Err(error)));
        };
        let result = match result {
            Ok(size) => {
                tracing::info!("{database}: compacted from {} to {size} bytes", file.size);
                file.size = size;
                file.base = size;
                // A whole new file ends whatever was wrong with the old one.
                file.error = None;
                Ok(())
            }
            Err(CompactError::Stale | CompactError::Replace(ReplaceError::Overtaken)) => {
                file.compaction = Compaction::Wanted;
                return None;
            }
            Err(error) => {
                tracing::error!("{database}: compacting failed: {error}");
                Err(error.to_string())
            }
        };
        // After a failure it is not tried again by itself until it has grown once more.
        file.compaction = Compaction::No;
        file.commits = 0;
        file.since = Instant::now();
        Some(Finished::Compacted(database, result))
    }

    /// Drops what is held for a client that has left.
    pub fn forget(&mut self, session: SessionId) {
        if self.held_by.remove(&session).is_some() {
            self.held.retain(|held| held.session != session);
        }
    }

    /// Asks for a compaction; false when there is no such file. [`Finished::Compacted`] tells how
    /// it ended.
    pub fn want_compaction(&mut self, database: &str) -> bool {
        let Some(file) = self.files.get_mut(database) else {
            return false;
        };
        if file.compaction == Compaction::No {
            file.compaction = Compaction::Wanted;
        }
        true
    }

    /// Asks for the compaction of files that have grown enough.
    pub fn want_due_compactions(&mut self, now: Instant) {
        for file in self.files.values_mut() {
            if file.compaction == Compaction::No && file.is_due(now) {
                file.compaction = Compaction::Wanted;
            }
        }
    }

    /// Begins the compactions that are wanted. The server's databases have to be what all records
    /// that came out lead to, so nothing starts while some have not reached the writer yet.
    pub fn start_compactions(&mut self, server: &Server, date_ms: u64) {
        if !self.pending.is_empty() {
            return;
        }
        let mut jobs = Vec::new();
        for (name, file) in &mut self.files {
            if file.compaction != Compaction::Wanted {
                continue;
            }
            let Some(db) = server.database(name) else {
                continue;
            };
            file.compaction = Compaction::Running;
            jobs.push(Job::Compact {
                database: name.clone(),
                schema: db.schema().clone(),
                contents: record::snapshot(db),
                date_ms,
                lost: file.lost,
            });
        }
        for job in jobs {
            self.start(job);
        }
    }

    fn start(&mut self, job: Job) {
        let sent = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        if !sent {
            // The thread never ends by itself; without it nothing can be acknowledged any more.
            tracing::error!("the writer is gone: transactions are not acknowledged");
        }
    }

    fn hold(&mut self, session: SessionId, what: HeldWhat) {
        self.held.push_back(Held {
            ticket: self.last,
            session,
            what,
        });
        let count = self.held_by.entry(session).or_default();
        *count = count.saturating_add(1);
    }

    fn release(&mut self, clients: &mut HashMap<SessionId, Client>) {
        while self
            .held
            .front()
            .is_some_and(|held| held.ticket <= self.settled)
        {
            let Some(held) = self.held.pop_front() else {
                return;
            };
            if let Some(count) = self.held_by.get_mut(&held.session) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.held_by.remove(&held.session);
                }
            }
            let (outgoing, nature) = match held.what {
                HeldWhat::Message {
                    message, nature, ..
                } => (message, nature),
                HeldWhat::Close => (Outgoing::Close, Nature::Plain),
            };
            send(clients, held.session, outgoing, nature);
        }
    }

    /// What was held for records of `database` is not told, because it is not so.
    fn lose(&mut self, database: &str, error: &WriteError, server: &mut Server) {
        if WRITE_ERRORS.allow(Instant::now()).is_some() {
            tracing::error!("{database}: {error}; transactions are refused, reads go on");
        }
        if let Some(file) = self.files.get_mut(database) {
            file.lost = file.lost.saturating_add(1);
            file.error = Some(error.to_string());
        }
        server.handle_lost(database);
        self.pending.remove(database);
        let reason = error.to_string();
        for held in std::mem::take(&mut self.held) {
            let Held {
                ticket,
                session,
                what,
            } = held;
            let what = match what {
                HeldWhat::Message {
                    message,
                    nature,
                    database: Some(of),
                } if *of == *database => match nature {
                    Nature::Plain => HeldWhat::Message {
                        message,
                        nature,
                        database: Some(of),
                    },
                    Nature::Transaction => HeldWhat::Message {
                        message: match message {
                            Outgoing::Message(reply) => {
                                Outgoing::Message(lost_reply(reply, &reason))
                            }
                            other => other,
                        },
                        nature: Nature::Plain,
                        database: None,
                    },
                    Nature::Contents => HeldWhat::Close,
                    Nature::Update => {
                        self.release_one(session);
                        continue;
                    }
                },
                other => other,
            };
            self.held.push_back(Held {
                ticket,
                session,
                what,
            });
        }
    }

    fn release_one(&mut self, session: SessionId) {
        if let Some(count) = self.held_by.get_mut(&session) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.held_by.remove(&session);
            }
        }
    }
}

fn send(
    clients: &mut HashMap<SessionId, Client>,
    session: SessionId,
    outgoing: Outgoing,
    nature: Nature,
) {
    let Some(client) = clients.get(&session) else {
        return;
    };
    match nature {
        Nature::Update => client.outgoing.send_later(outgoing),
        _ => client.outgoing.send(outgoing),
    }
}

#[cfg(test)]
mod tests;
