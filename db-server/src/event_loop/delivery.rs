//! From what the server hands out to what clients get: nothing is told before it is durable.
//!
//! Records gather in `pending` while the writer is busy with the batch before. Messages that
//! came out after a record wait in `held` until the writer reports it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::HashMap;
use daemon::rate_limit::RateLimit;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::Client;
use super::company::Company;
use super::updates::Updates;
use crate::connection::Outgoing;
use crate::log::{self, FileStorage, Log, ReplaceError, WriteError};
use crate::record;
use crate::server::{Group, Nature, Output, Server, SessionId, lost_reply};
use crate::writer::{self, Batch, CompactError, Done, Job, Jobs};

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

/// The event loop writes and syncs records itself when that takes less time than to hand them to
/// the thread and to hear of it, or when they are of one transaction, and its client alone waits.
/// How long it is going to take is taken from the last time: a disk that is slow stops nobody.
const QUICK: Duration = Duration::from_micros(40);
const QUICK_ALONE: Duration = Duration::from_millis(1);
/// Only so many bytes, as more take longer than the last ones did.
const QUICK_BYTES: usize = 64 << 10;

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
    what: HeldWhat,
}

#[derive(Debug)]
enum HeldWhat {
    Message {
        session: SessionId,
        message: Outgoing,
        nature: Nature,
        database: Option<Arc<str>>,
    },
    Close(SessionId),
    Updates {
        group: Arc<Group>,
        text: Arc<[u8]>,
        database: Arc<str>,
    },
}

impl HeldWhat {
    /// The one client that it is for, if it is not for a group.
    fn session(&self) -> Option<SessionId> {
        match self {
            Self::Message { session, .. } | Self::Close(session) => Some(*session),
            Self::Updates { .. } => None,
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Delivery {
    jobs: Option<Jobs>,
    busy: bool,
    pending: BTreeMap<Arc<str>, Batch>,
    /// How many records are pending.
    records: usize,
    /// How many records are being written.
    under_way: usize,
    /// How long the last batch took to be written and synced.
    took: Duration,
    company: Company,
    /// Whether a sync waits for company.
    gathering: bool,
    /// The last record that came out, and the last one of which the outcome is known.
    last: u64,
    settled: u64,
    held: VecDeque<Held>,
    /// How much is held for a client alone, and for each group.
    held_by: HashMap<SessionId, usize>,
    held_groups: HashMap<(u64, usize), (Arc<Group>, usize)>,
    updates: Updates,
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
            records: 0,
            under_way: 0,
            took: Duration::MAX,
            company: Company::default(),
            gathering: false,
            last: 0,
            settled: 0,
            held: VecDeque::new(),
            held_by: HashMap::default(),
            held_groups: HashMap::default(),
            updates: Updates::default(),
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
                self.records = self.records.saturating_add(1);
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
            Output::Updates {
                group,
                text,
                database,
            } => {
                if self.settled == self.last {
                    self.updates.add(&group, text, clients);
                } else {
                    self.hold(HeldWhat::Updates {
                        group,
                        text,
                        database,
                    });
                }
            }
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
                if self.holds_for(session) {
                    self.hold(HeldWhat::Close(session));
                } else {
                    self.send(clients, session, Outgoing::Close);
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
        let free =
            self.settled == self.last || (nature == Nature::Plain && !self.holds_for(session));
        if free {
            self.send(clients, session, message);
            return;
        }
        self.hold(HeldWhat::Message {
            session,
            message,
            nature,
            database,
        });
    }

    /// Sends something to a client behind the updates that gather for it.
    fn send(
        &mut self,
        clients: &HashMap<SessionId, Client>,
        session: SessionId,
        outgoing: Outgoing,
    ) {
        if let Some(client) = clients.get(&session) {
            self.updates.catch_up(session, client);
            client.outgoing.send(outgoing);
        }
    }

    /// Writes the updates that gathered, when it is time for them.
    pub(super) fn write_updates(&mut self, clients: &HashMap<SessionId, Client>) {
        self.updates.write_due(clients);
    }

    /// When [`Delivery::write_updates`] wants to be called.
    pub fn updates_due(&self) -> Option<Instant> {
        self.updates.deadline()
    }

    /// Has what is pending written, if the writer is free; the outcome when it is known at once,
    /// which is to be handled like the writer's own reports.
    ///
    /// `hurry` says not to wait for company.
    #[must_use]
    pub fn submit(&mut self, hurry: bool) -> Option<Done> {
        self.gathering = false;
        if self.busy || self.pending.is_empty() {
            return None;
        }
        let slow = self.took >= QUICK;
        if slow
            && !hurry
            && self
                .company
                .awaited(self.records, self.took, Instant::now())
        {
            self.gathering = true;
            return None;
        }
        let quick = self.is_quick();
        let batches = std::mem::take(&mut self.pending);
        self.under_way = std::mem::take(&mut self.records);
        self.busy = true;
        let ticket = self.last;
        let job = Job::Write { batches, ticket };
        match &self.jobs {
            Some(jobs) if quick && jobs.is_idle() => jobs.run_now(job),
            _ => {
                self.start(job);
                None
            }
        }
    }

    /// Whether what is pending waits for more to share its sync with, for so short a time that
    /// [`Delivery::submit`] is to be called again and again.
    pub fn is_gathering(&self) -> bool {
        self.gathering
    }

    /// Whether what is pending is written sooner here than by the writer's thread.
    fn is_quick(&self) -> bool {
        let limit = match self.records {
            1 => QUICK_ALONE,
            _ => QUICK,
        };
        let small = |batch: &Batch| !batch.whole && batch.bytes.len() <= QUICK_BYTES;
        self.took < limit && self.pending.len() == 1 && self.pending.values().all(small)
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
                took,
            } => {
                self.busy = false;
                self.took = took;
                let answered = std::mem::take(&mut self.under_way);
                self.company.synced(answered, self.records);
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
            self.held
                .retain(|held| held.what.session() != Some(session));
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

    fn hold(&mut self, what: HeldWhat) {
        let count = match &what {
            HeldWhat::Message { session, .. } | HeldWhat::Close(session) => {
                self.held_by.entry(*session).or_default()
            }
            HeldWhat::Updates { group, .. } => {
                let key = (group.generation, group.number);
                &mut self
                    .held_groups
                    .entry(key)
                    .or_insert_with(|| (group.clone(), 0))
                    .1
            }
        };
        *count = count.saturating_add(1);
        let ticket = self.last;
        self.held.push_back(Held { ticket, what });
    }

    /// Whether anything is held for a client.
    fn holds_for(&self, session: SessionId) -> bool {
        let in_group =
            |(group, _): &(Arc<Group>, usize)| group.sessions.binary_search(&session).is_ok();
        self.held_by.contains_key(&session) || self.held_groups.values().any(in_group)
    }

    /// Something is no longer held.
    fn let_go(&mut self, what: &HeldWhat) {
        match what {
            HeldWhat::Message { session, .. } | HeldWhat::Close(session) => {
                if let Entry::Occupied(mut held) = self.held_by.entry(*session) {
                    *held.get_mut() = held.get().saturating_sub(1);
                    if *held.get() == 0 {
                        held.remove();
                    }
                }
            }
            HeldWhat::Updates { group, .. } => {
                let key = (group.generation, group.number);
                if let Entry::Occupied(mut held) = self.held_groups.entry(key) {
                    let count = &mut held.get_mut().1;
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        held.remove();
                    }
                }
            }
        }
    }

    fn release(&mut self, clients: &HashMap<SessionId, Client>) {
        while self
            .held
            .front()
            .is_some_and(|held| held.ticket <= self.settled)
        {
            let Some(Held { what, .. }) = self.held.pop_front() else {
                return;
            };
            self.let_go(&what);
            match what {
                HeldWhat::Message {
                    session, message, ..
                } => self.send(clients, session, message),
                HeldWhat::Close(session) => self.send(clients, session, Outgoing::Close),
                HeldWhat::Updates { group, text, .. } => self.updates.add(&group, text, clients),
            }
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
        if self.pending.is_empty() {
            self.records = 0;
        }
        let reason = error.to_string();
        for Held { ticket, what } in std::mem::take(&mut self.held) {
            if let HeldWhat::Updates { database: of, .. } = &what
                && **of == *database
            {
                self.let_go(&what);
                continue;
            }
            let what = match what {
                HeldWhat::Message {
                    session,
                    message,
                    nature,
                    database: Some(of),
                } if *of == *database => match nature {
                    Nature::Plain => HeldWhat::Message {
                        session,
                        message,
                        nature,
                        database: Some(of),
                    },
                    Nature::Transaction => HeldWhat::Message {
                        session,
                        message: match message {
                            Outgoing::Message(reply) => {
                                Outgoing::Message(lost_reply(&reply.to_bytes(), &reason))
                            }
                            Outgoing::Text(reply) => Outgoing::Message(lost_reply(&reply, &reason)),
                            Outgoing::Close => Outgoing::Close,
                        },
                        nature: Nature::Plain,
                        database: None,
                    },
                    Nature::Contents => HeldWhat::Close(session),
                },
                other => other,
            };
            self.held.push_back(Held { ticket, what });
        }
    }
}

#[cfg(test)]
mod tests;
