//! From what the server hands out to what clients get: nothing is told before it is durable.
//!
//! Records gather in `pending` while the writer is busy with the batch before. Messages that
//! came out after a record wait in `held` until the writer reports it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use daemon::rate_limit::RateLimit;
use ovsdb::DatabaseSchema;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::Client;
use crate::connection::Outgoing;
use crate::database::Delta;
use crate::log::{self, FileStorage, Log, WriteError};
use crate::server::{Nature, Output, Server, SessionId, lost_reply};
use crate::writer::{self, Batch, Done, Job};

/// The open logs by database.
pub type Files = BTreeMap<Arc<str>, Log<FileStorage>>;

/// A file is compacted when it is at least this long and twice as long as after the last time.
const COMPACT_MIN: u64 = 10 << 20;

/// Bounds of what gathers while the writer is busy.
const MAX_HELD: usize = 1 << 16;
const MAX_PENDING: usize = 16 << 20;

/// Write errors are told at most this often.
static WRITE_ERRORS: RateLimit = RateLimit::new(12, 1);

/// A file's length now and after it was last short.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub now: u64,
    pub compact: u64,
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
    sizes: BTreeMap<Arc<str>, Size>,
}

impl Delivery {
    pub fn new(files: Files) -> (Self, UnboundedReceiver<Done>) {
        let (sender, done) = mpsc::unbounded_channel();
        let sizes = files
            .iter()
            .map(|(name, log)| {
                (
                    name.clone(),
                    Size {
                        now: log.len(),
                        compact: log.len(),
                    },
                )
            })
            .collect();
        let jobs = writer::start(files, move |done| {
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
            held_by: HashMap::new(),
            sizes,
        };
        (this, done)
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

    /// The files' lengths.
    pub fn sizes(&self) -> &BTreeMap<Arc<str>, Size> {
        &self.sizes
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
                let pending = self.pending.entry(database).or_default();
                pending.bytes.append(&mut log::frame(record));
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
            Output::Close { session, reason } => {
                if let Some(client) = clients.get(&session) {
                    tracing::warn!("{}: {reason}; connection dropped", client.remote);
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
    ) {
        self.busy = false;
        match done {
            Done::Written {
                ticket,
                failed,
                sizes,
            } => {
                for (database, size) in sizes {
                    if let Some(entry) = self.sizes.get_mut(&database) {
                        entry.now = size;
                    }
                }
                for (database, error) in failed {
                    self.lose(&database, &error, server);
                }
                server.handle_durable(ticket);
                // Without anything pending there is nothing further to wait for.
                self.settled = if self.pending.is_empty() {
                    self.last
                } else {
                    ticket
                };
                self.release(clients);
            }
            Done::Compacted { database, result } => match result {
                Ok(size) => {
                    tracing::info!("{database}: compacted to {size} bytes");
                    self.sizes.insert(
                        database,
                        Size {
                            now: size,
                            compact: size,
                        },
                    );
                }
                Err(error) => {
                    tracing::error!("{database}: compacting failed: {error}");
                    if let Some(entry) = self.sizes.get_mut(&database) {
                        // Not again until it has grown once more.
                        entry.compact = entry.now;
                    }
                }
            },
        }
        self.submit();
    }

    /// Drops what is held for a client that has left.
    pub fn forget(&mut self, session: SessionId) {
        if self.held_by.remove(&session).is_some() {
            self.held.retain(|held| held.session != session);
        }
    }

    /// The databases whose files have grown enough to be compacted.
    pub fn to_compact(&self) -> Vec<Arc<str>> {
        self.sizes
            .iter()
            .filter(|(_, size)| size.now >= COMPACT_MIN && size.now / 2 >= size.compact)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Starts to compact a file; false when the writer is busy or there is no such file.
    pub fn compact(
        &mut self,
        database: &str,
        schema: Arc<DatabaseSchema>,
        contents: Delta,
        date_ms: u64,
    ) -> bool {
        let Some((name, _)) = self.sizes.get_key_value(database) else {
            return false;
        };
        if self.is_busy() {
            return false;
        }
        let database = name.clone();
        self.start(Job::Compact {
            database,
            schema,
            contents,
            date_ms,
        });
        true
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
        self.busy = true;
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
        if WRITE_ERRORS.allow(std::time::Instant::now()).is_some() {
            tracing::error!("{database}: {error}; transactions are refused, reads go on");
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
