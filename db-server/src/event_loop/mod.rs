//! The shell around [`Server`]: it owns the clients, the files' writer and the remotes, and is
//! the one place where everything that can happen is answered.
//!
//! What the server hands out passes through [`delivery`], which holds messages until the records
//! that they depend on are durable.

mod company;
mod databases;
mod delivery;
mod follower;
mod managers;
mod updates;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ahash::HashMap;
use daemon::rate_limit::RateLimit;
use daemon::reconnect::Config;
use daemon::stream::Connection;
use daemon::unixctl;
use daemon::vigil::Vigil;
use ovsdb::jsonrpc::Received;
use tokio::sync::{mpsc, oneshot, watch};

use crate::connection::{self, FullOutboxes, Inbox, Outbox, Outgoing, Readable, sleep_until};
use crate::files::File;
use crate::log::LockFile;
use crate::remote::{self, Running, Spec};
use crate::server::{Peer, Server, SessionId};
use crate::writer::Done;
use crate::{control, replication, web};
use delivery::Delivery;

pub use follower::{Settings as ReplicationSettings, parse_active};

/// Everything that can wake the event loop besides signals and time.
#[derive(Debug)]
pub enum Event {
    Connected {
        remote: Arc<str>,
        peer: Peer,
        connection: Connection,
        config: watch::Receiver<Config>,
        /// Resolves when the connection has ended.
        over: Option<oneshot::Sender<()>>,
    },
    /// A client whose connection is not ours to serve.
    Attached {
        remote: Arc<str>,
        peer: Peer,
        outgoing: mpsc::UnboundedSender<Outgoing>,
        session: oneshot::Sender<SessionId>,
    },
    /// From a client that is attached.
    Message {
        session: SessionId,
        message: Received,
    },
    Disconnected {
        session: SessionId,
        reason: connection::End,
    },
    /// From the task that follows the active server.
    Replication {
        number: u64,
        event: replication::Event,
    },
}

/// How to run, besides the databases.
#[derive(Debug, Default)]
pub struct Settings {
    /// Each remote, as given and as parsed.
    pub specs: Vec<(String, Spec)>,
    /// Columns that TLS settings are to be read from.
    pub tls_columns: Vec<String>,
    pub replication: ReplicationSettings,
    pub limits: Limits,
}

/// How many clients there may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub sessions: usize,
    pub sessions_per_remote: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            sessions_per_remote: 10_000,
        }
    }
}

/// Refused clients are told of at most this often.
static REFUSALS: RateLimit = RateLimit::new(12, 1);

/// A database's file, and the lock that keeps others off it.
#[derive(Debug)]
struct OpenFile {
    /// Without links.
    path: PathBuf,
    _lock: LockFile,
}

/// Most events and messages that are answered before their outputs are looked at, and how many of
/// them may be one client's.
const BATCH: usize = 256;
const CLIENT_BATCH: usize = 32;

/// The most that is read from a socket at a time.
const READ: usize = 64 << 10;

/// How often states in the database, failed listeners and file sizes are looked at.
const TICK: Duration = Duration::from_secs(5);

/// A connected client.
#[derive(Debug)]
struct Client {
    remote: Arc<str>,
    /// The other end, for the log.
    peer: String,
    /// `None` when nothing more is read from it here.
    inbox: Option<Inbox>,
    outgoing: Sink,
    over: Option<oneshot::Sender<()>>,
}

/// Where what a client is sent goes.
#[derive(Debug)]
enum Sink {
    Socket(Arc<Outbox>),
    /// To a task that serves the client in its own way.
    Task(mpsc::UnboundedSender<Outgoing>),
}

impl Sink {
    fn send(&self, message: Outgoing) {
        match self {
            Self::Socket(outbox) => outbox.send(message),
            // A task that has just ended will say so itself.
            Self::Task(task) => drop(task.send(message)),
        }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct EventLoop {
    server: Server,
    clients: HashMap<SessionId, Client>,
    next_session: SessionId,
    delivery: Delivery,
    full: FullOutboxes,
    readable: Readable,
    /// What is read from a socket.
    buffer: Vec<u8>,
    specs: Vec<(String, Spec)>,
    remotes: BTreeMap<String, Running>,
    managers: managers::Managers,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    done: mpsc::UnboundedReceiver<Done>,
    tls_columns: Vec<String>,
    files: BTreeMap<Arc<str>, OpenFile>,
    waiting: Vec<databases::Waiting>,
    /// Whether memory goes back to the system after a compaction.
    trim_memory: bool,
    follower: follower::Follower,
    limits: Limits,
    web: Option<web::Face>,
}

impl EventLoop {
    /// Starts to listen and to dial.
    ///
    /// Errors: a remote that was given directly cannot be used, or one names a column that is not
    /// there. Those that a column names are tried again later.
    pub async fn new(
        server: Server,
        files: Vec<File>,
        settings: Settings,
    ) -> Result<Self, remote::Error> {
        let (events, inbox) = mpsc::channel(BATCH);
        let (delivery, done) = Delivery::new();
        let backup = settings.replication.backup;
        let mut this = Self {
            server,
            clients: HashMap::default(),
            next_session: 0,
            delivery,
            full: FullOutboxes::default(),
            readable: Readable::default(),
            buffer: vec![0; READ],
            specs: Vec::new(),
            remotes: BTreeMap::new(),
            managers: managers::Managers::default(),
            events,
            inbox,
            done,
            tls_columns: settings.tls_columns,
            files: BTreeMap::new(),
            waiting: Vec::new(),
            trim_memory: false,
            follower: follower::Follower::new(settings.replication),
            limits: settings.limits,
            web: None,
        };
        for file in files {
            let path = file.path.display().to_string();
            this.take_database(file)
                .map_err(|error| remote::Error::Database { path, error })?;
        }
        if backup {
            this.connect_active();
        }
        for (text, spec) in settings.specs {
            this.add_remote(text, spec).await?;
        }
        this.flush().await;
        Ok(this)
    }

    /// Runs until a signal or `exit` ends it.
    pub async fn run(
        mut self,
        mut control: Option<(unixctl::Server, mpsc::Receiver<unixctl::Request>)>,
        mut termination: daemon::signals::Termination,
        mut stop: oneshot::Receiver<()>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        let mut vigil = Vigil::default();
        loop {
            let deadline = self.server.poll_timeout();
            let updates = self.delivery.updates_due();
            let awake = self.delivery.is_gathering() || vigil.lasts(Instant::now());
            tokio::select! {
                biased;
                signal = termination.recv() => {
                    tracing::info!("terminating with signal {signal}");
                    break;
                }
                Ok(()) = &mut stop => break,
                Some(done) = self.done.recv() => {
                    self.handle_done(done);
                    vigil.begin(Instant::now());
                }
                Some(request) = receive(&mut control) => {
                    if request.command == "exit" {
                        self.shut_down().await;
                        // Whoever is told may start another server at once, which then makes
                        // sockets of the same names.
                        drop(control);
                        request.reply_written(Ok(String::new())).await;
                        return;
                    }
                    self.handle_command(request).await;
                }
                // While the disk does not keep up, clients wait in their sockets.
                Some(event) = self.inbox.recv(), if self.delivery.has_room() => {
                    self.handle_event(event);
                    self.drain_inbox();
                }
                () = self.readable.wait(), if self.delivery.has_room() => {
                    self.read_clients();
                    self.drain_inbox();
                    vigil.begin(Instant::now());
                }
                () = sleep_until(deadline), if deadline.is_some() => {
                    self.server.handle_timeout(Instant::now(), date_ms());
                }
                () = sleep_until(updates), if updates.is_some() => {}
                () = self.full.lags_changed() => self.note_lags(),
                _ = tick.tick() => self.handle_tick().await,
                // Timers are too coarse for it.
                () = tokio::task::yield_now(), if awake => {}
            }
            self.flush().await;
        }
        self.shut_down().await;
    }

    fn handle_done(&mut self, done: Done) {
        let finished = self
            .delivery
            .handle_done(done, &mut self.server, &mut self.clients);
        if let Some(finished) = finished {
            self.finish(finished);
        }
    }

    fn submit(&mut self, hurry: bool) {
        if let Some(done) = self.delivery.submit(hurry) {
            self.handle_done(done);
        }
    }

    fn drain_inbox(&mut self) {
        for _ in 0..BATCH {
            let Ok(event) = self.inbox.try_recv() else {
                return;
            };
            self.handle_event(event);
        }
    }

    /// Carries out what the clients ask for that have something to read.
    fn read_clients(&mut self) {
        let (now, date_ms) = (Instant::now(), date_ms());
        let mut room = BATCH;
        // Who comes into the queue meanwhile has its turn next time.
        for _ in 0..self.readable.len() {
            if room == 0 {
                return;
            }
            let Some(session) = self.readable.take() else {
                return;
            };
            let Some(client) = self.clients.get_mut(&session) else {
                continue;
            };
            let (Some(inbox), Sink::Socket(outbox)) = (&mut client.inbox, &client.outgoing) else {
                continue;
            };
            if outbox.lags() {
                continue;
            }
            let share = room.min(CLIENT_BATCH);
            let mut taken = 0;
            while taken < share {
                match inbox.poll_received(&mut self.buffer) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(Received::Transact(transact))) => {
                        self.server.handle_transact(session, transact, now, date_ms);
                    }
                    Poll::Ready(Ok(Received::Message(message))) => {
                        self.server.handle_message(session, message, now, date_ms);
                    }
                    Poll::Ready(Err(reason)) => {
                        outbox.end_with(reason);
                        client.inbox = None;
                        break;
                    }
                }
                taken += 1;
            }
            if taken == share
                && let Some(inbox) = &client.inbox
            {
                inbox.put_off();
            }
            room = room.saturating_sub(taken);
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected {
                remote,
                peer,
                connection,
                config,
                over,
            } => {
                if let Some(why) = self.refusal(&remote) {
                    if REFUSALS.allow(Instant::now()).is_some() {
                        tracing::warn!("{remote}: {} refused: {why}", connection.peer);
                    }
                    return;
                }
                let session = self.new_session();
                tracing::debug!("{}: connected to {remote}", connection.peer);
                let name = connection.peer.clone();
                let (inbox, outgoing) =
                    connection::split(session, connection, &self.full, &self.readable);
                tokio::spawn(connection::serve(
                    session,
                    outgoing.clone(),
                    config,
                    self.events.clone(),
                ));
                self.managers.connected(&remote, Instant::now());
                self.clients.insert(
                    session,
                    Client {
                        remote,
                        peer: name,
                        inbox: Some(inbox),
                        outgoing: Sink::Socket(outgoing),
                        over,
                    },
                );
                self.server.handle_connect(session, peer);
            }
            Event::Attached {
                remote,
                peer,
                outgoing,
                session: told,
            } => {
                // The face counts its own clients; here only the sum is bounded. Without an answer
                // the task knows that it is not wanted.
                if self.clients.len() >= self.limits.sessions {
                    if REFUSALS.allow(Instant::now()).is_some() {
                        tracing::warn!("{remote}: client refused: there are too many already");
                    }
                    return;
                }
                let session = self.new_session();
                self.clients.insert(
                    session,
                    Client {
                        peer: remote.to_string(),
                        remote,
                        inbox: None,
                        outgoing: Sink::Task(outgoing),
                        over: None,
                    },
                );
                self.server.handle_connect(session, peer);
                let _ = told.send(session);
            }
            Event::Message { session, message } => {
                let (now, date_ms) = (Instant::now(), date_ms());
                match message {
                    Received::Transact(transact) => {
                        self.server.handle_transact(session, transact, now, date_ms);
                    }
                    Received::Message(message) => {
                        self.server.handle_message(session, message, now, date_ms);
                    }
                }
            }
            Event::Disconnected { session, reason } => {
                self.server.handle_disconnect(session);
                self.delivery.forget(session);
                if let Some(client) = self.clients.remove(&session) {
                    tracing::debug!("{}: {reason}", client.peer);
                    if reason.is_fault() {
                        tracing::warn!(
                            "{}: {}: {reason}; connection dropped",
                            client.remote,
                            client.peer
                        );
                    }
                    if self.remotes.contains_key(&*client.remote) {
                        self.managers.disconnected(&client.remote, Instant::now());
                    }
                    if let Some(over) = client.over {
                        let _ = over.send(());
                    }
                }
            }
            Event::Replication { number, event } => self.handle_replication(number, event),
        }
    }

    /// Why another client of a remote is one too many.
    fn refusal(&self, remote: &str) -> Option<String> {
        let Limits {
            sessions,
            sessions_per_remote,
        } = self.limits;
        if self.clients.len() >= sessions {
            return Some(format!("there are {sessions} clients already"));
        }
        // Counted only when it can matter.
        if self.clients.len() >= sessions_per_remote {
            let of_remote = self.clients.values().filter(|c| *c.remote == *remote);
            if of_remote.count() >= sessions_per_remote {
                let why = format!("it has {sessions_per_remote} clients already");
                return Some(why);
            }
        }
        None
    }

    fn new_session(&mut self) -> SessionId {
        self.next_session = self.next_session.saturating_add(1);
        self.next_session
    }

    /// Starts the JSON-RPC 2.0 face, if it is configured.
    pub async fn serve_web(&mut self, config: web::Config) -> Result<(), web::Error> {
        self.web = web::start(config, self.events.clone()).await?;
        Ok(())
    }

    /// Takes out what the server has to say until it has said everything, and writes it.
    async fn flush(&mut self) {
        self.take_outputs().await;
        self.write_out();
    }

    fn write_out(&mut self) {
        self.full.write_out();
        self.delivery.write_updates(&self.clients);
        self.note_lags();
    }

    /// Tells the server who does not keep up with what was written.
    fn note_lags(&mut self) {
        for (session, lags) in self.full.take_lags() {
            self.server.handle_lag(session, lags);
        }
    }

    async fn take_outputs(&mut self) {
        loop {
            let mut changed = false;
            while let Some(output) = self.server.poll_output() {
                changed |= self.delivery.handle_output(output, &mut self.clients);
            }
            self.submit(false);
            self.delivery.start_compactions(&self.server, date_ms());
            if changed {
                self.reconfigure().await;
            }
            // A backup's contents are the active server's alone.
            if !self.is_backup() {
                self.managers.update(
                    &mut self.server,
                    &self.remotes,
                    &self.clients,
                    Instant::now(),
                    date_ms(),
                );
            }
            let Some(output) = self.server.poll_output() else {
                return;
            };
            if self.delivery.handle_output(output, &mut self.clients) {
                self.reconfigure().await;
            }
        }
    }

    /// Starts and stops remotes as the columns that name them say now.
    async fn reconfigure(&mut self) {
        let mut wanted = BTreeMap::new();
        for (text, spec) in &self.specs {
            match spec {
                Spec::Method(_) => {
                    wanted.entry(text.clone()).or_default();
                }
                Spec::Column {
                    database,
                    table,
                    column,
                } => {
                    if let Some(db) = self.server.database(database) {
                        wanted.extend(remote::from_column(db, table, column));
                    }
                }
            }
        }
        let gone: Vec<String> = self
            .remotes
            .iter()
            .filter(|(target, running)| {
                wanted
                    .get(*target)
                    .is_none_or(|wanted| !running.serves(wanted))
            })
            .map(|(target, _)| target.clone())
            .collect();
        for target in gone {
            tracing::info!("{target}: remote removed");
            if let Some(running) = self.remotes.remove(&target) {
                running.stop().await;
            }
            self.managers.forget(&target);
            for client in self
                .clients
                .values()
                .filter(|client| *client.remote == *target)
            {
                client.outgoing.send(Outgoing::Close);
            }
        }
        for (target, wanted) in wanted {
            match self.remotes.get_mut(&target) {
                Some(running) => running.set_wanted(wanted),
                None if self.managers.given_up(&target) => {}
                None => match remote::start(&target, wanted, self.events.clone()).await {
                    Ok(running) => {
                        self.managers.worked(&target);
                        self.remotes.insert(target, running);
                    }
                    Err(error) => {
                        // Said once per target until it works or is taken away.
                        if self.managers.failed(&target) {
                            tracing::warn!("cannot use remote: {error}");
                        }
                    }
                },
            }
        }
        self.warn_of_tls();
    }

    /// TLS settings in the database have no effect, and whoever makes them has to know.
    fn warn_of_tls(&mut self) {
        let server = &self.server;
        self.tls_columns.retain(|spec| {
            let parts: Vec<&str> = spec.trim_start_matches("db:").split(',').collect();
            let [database, table, column] = parts.as_slice() else {
                return false;
            };
            let set = server.database(database).and_then(|db| {
                let table = db.table(db.table_id(table)?)?;
                let column = table.column_id(column)?;
                Some(
                    table
                        .rows()
                        .any(|(_, row)| row.get(column).as_str().is_some_and(|s| !s.is_empty())),
                )
            });
            if set == Some(true) {
                tracing::warn!("{spec} is set, but this build has no TLS");
            }
            set != Some(true)
        });
    }

    async fn handle_tick(&mut self) {
        self.managers.tick();
        self.reconfigure().await;
        self.delivery.want_due_compactions(Instant::now());
    }

    /// Adds what `--remote` or `ovsdb-server/add-remote` names.
    pub(crate) async fn add_remote(
        &mut self,
        text: String,
        spec: Spec,
    ) -> Result<(), remote::Error> {
        if self.specs.iter().any(|(other, _)| *other == text) {
            return Ok(());
        }
        spec.check(&text, &self.server)?;
        if matches!(spec, Spec::Method(_)) && !self.remotes.contains_key(&text) {
            let running =
                remote::start(&text, remote::Wanted::default(), self.events.clone()).await?;
            self.remotes.insert(text.clone(), running);
        }
        self.specs.push((text, spec));
        self.reconfigure().await;
        Ok(())
    }

    /// Undoes [`EventLoop::add_remote`]; false when it was not there.
    pub(crate) async fn remove_remote(&mut self, text: &str) -> bool {
        let before = self.specs.len();
        self.specs.retain(|(other, _)| other != text);
        self.reconfigure().await;
        self.specs.len() < before
    }

    async fn handle_command(&mut self, request: unixctl::Request) {
        control::handle(self, request).await;
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn specs(&self) -> &[(String, Spec)] {
        &self.specs
    }

    pub(crate) fn set_trim_memory(&mut self, on: bool) {
        self.trim_memory = on;
    }

    pub(crate) fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// Ends all connections; they are to be made again.
    pub(crate) fn reconnect(&mut self) {
        for client in self.clients.values() {
            client.outgoing.send(Outgoing::Close);
        }
    }

    /// Finishes what is under way, so that nothing that was taken is lost.
    async fn shut_down(&mut self) {
        self.follower = follower::Follower::default();
        for (_, running) in std::mem::take(&mut self.remotes) {
            running.stop().await;
        }
        if let Some(web) = self.web.take() {
            web.stop().await;
        }
        self.settle().await;
    }

    /// Returns when all records that came out are durable or lost.
    async fn settle(&mut self) {
        self.flush_without_remotes();
        while self.delivery.is_busy() {
            let Some(done) = self.done.recv().await else {
                return;
            };
            self.handle_done(done);
            self.flush_without_remotes();
        }
    }

    fn flush_without_remotes(&mut self) {
        while let Some(output) = self.server.poll_output() {
            self.delivery.handle_output(output, &mut self.clients);
        }
        self.submit(true);
        self.write_out();
    }
}

/// The next unixctl request; never when there is no control socket.
async fn receive(
    control: &mut Option<(unixctl::Server, mpsc::Receiver<unixctl::Request>)>,
) -> Option<unixctl::Request> {
    match control {
        Some((_, requests)) => requests.recv().await,
        None => std::future::pending().await,
    }
}

/// The wall clock, for `_date` of records.
pub fn date_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}
