//! A handle on a database that is followed over any number of connections.
//!
//! [`Connection`] owns the socket, a [`Session`] and with it the replica. It does nothing by
//! itself: whoever awaits one of its futures moves it. All of them are cancel safe but
//! [`Connection::transact`] and [`Connection::ensure`], of which a dropped one leaves open whether
//! its transaction is carried out.
//!
//! ```no_run
//! use std::sync::Arc;
//! use ovsdb::connection::{Connection, Endpoint};
//! use ovsdb::replica::Selection;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Endpoint::parse("unix:/var/run/openvswitch/db.sock")?;
//! let schema = Arc::new(server.get_schema("Open_vSwitch").await?);
//! let mut selection = Selection::new(schema);
//! selection.columns("Bridge", &["name", "external_ids"])?;
//! let mut db = Connection::new(selection, vec![server]);
//!
//! db.synced().await;
//! for bridge in db.replica().rows("Bridge") {
//!     println!("{}", bridge.value::<&str>("name")?);
//! }
//! db.ensure(|txn| -> Result<(), ovsdb::replica::ColumnError> {
//!     for bridge in txn.rows("Bridge") {
//!         txn.add_to("Bridge", bridge, "external_ids", &ovsdb::Datum::map([("seen", "yes")]));
//!     }
//!     Ok(())
//! })
//! .await?;
//! loop {
//!     println!("{:?}", db.changed().await);
//! }
//! # }
//! ```
//!
//! # When a transaction may be sent again
//!
//! A transaction whose `wait` failed changed nothing, so its body is run again on what the replica
//! holds by then: both [`Connection::transact`] and [`Connection::ensure`] do so until the server
//! commits or refuses. When the connection is lost after a transaction was sent and before its
//! answer came, nobody knows whether it was committed. Running the body again is then right for a
//! body that says what should be there ("a row named X exists"), because it looks at a replica
//! that is in sync again and finds its own work, and wrong for one that says what to do ("add one
//! more"). `transact` ends with [`TransactError::Unknown`]; `ensure` runs the body again.

mod endpoint;
mod transact;

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::client::{self, Client};
use crate::condition::Clause;
use crate::jsonrpc::Message;
use crate::replica::{self, Changes, Outcome, Replica, Selection, SelectionError, Session};

pub use endpoint::{Dialing, Endpoint, EndpointError, PORT, Stream};
pub use transact::{Committed, TransactError};

/// When to try again, and when to give a silent server up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The first pause after every endpoint was tried in vain; each further one is twice as long.
    pub min_backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// How long an attempt to connect, and then to get in sync, may take without any sign of
    /// progress.
    pub connect_timeout: Duration,
    /// Silence after which the server is asked for a sign of life, and after as much again given
    /// up. `None` asks never.
    pub probe_interval: Option<Duration>,
    /// Whether of a clustered database only the leader will do, so that what is read is never
    /// older than what others wrote. Otherwise any member that is connected to its cluster will.
    pub leader_only: bool,
}

impl Default for Config {
    /// Open vSwitch's defaults: 1 to 8 seconds, probes after 5 seconds, only the leader.
    fn default() -> Self {
        Self {
            min_backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(8),
            connect_timeout: Duration::from_secs(10),
            probe_interval: Some(Duration::from_secs(5)),
            leader_only: true,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The connection ended, or an attempt failed. The rows stay.
    Disconnected { endpoint: String, reason: String },
    /// The replica is up to date; also after each reconnection.
    Synced,
    /// A transaction of somebody, maybe of this client, was applied to the replica.
    Updated,
    /// The replica holds what the newest conditions select.
    Conditions,
    /// The lock was gained or lost.
    Locked(bool),
    /// Tables and columns that this server lacks; they read as unset.
    Missing(Vec<String>),
}

/// A database, its replica, and the connection that keeps it up to date.
pub struct Connection {
    session: Session,
    endpoints: Vec<Endpoint>,
    config: Config,
    link: Link,
    /// Which endpoint is in use, or next.
    current: usize,
    /// Attempts since the replica was last in sync.
    failures: u32,
    /// Set by a failure for the next `next`.
    failed: Option<String>,
    last_error: Option<String>,
    /// The transaction whose end is waited for, and its end.
    awaited: Option<u64>,
    outcome: Option<Outcome>,
}

enum Link {
    Down {
        until: Instant,
    },
    Dialing {
        dialing: Dialing,
        until: Instant,
    },
    Up {
        client: Box<Client<Box<dyn Stream>>>,
        heard: Instant,
        /// How much had come when the server was asked for a sign of life.
        probed: Option<u64>,
    },
}

/// What a link came to.
enum Progress {
    Dial,
    Connected(io::Result<Box<dyn Stream>>),
    Received(Result<Message, client::Error>),
    Silence,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("endpoints", &self.endpoints)
            .field("connected", &self.is_connected())
            .field("synced", &self.session.is_synced())
            .field("last_error", &self.last_error)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Will follow `selection` at the first of `endpoints` that serves it. Connects when one of
    /// the futures is awaited.
    pub fn new(selection: Selection, endpoints: Vec<Endpoint>) -> Self {
        Self::with_config(selection, endpoints, Config::default())
    }

    /// Like [`Connection::new`], with other times.
    pub fn with_config(selection: Selection, endpoints: Vec<Endpoint>, config: Config) -> Self {
        let mut session = Session::new(Replica::new(selection));
        session.set_leader_only(config.leader_only);
        Self {
            session,
            endpoints,
            config,
            link: Link::Down {
                until: Instant::now(),
            },
            current: 0,
            failures: 0,
            failed: None,
            last_error: None,
            awaited: None,
            outcome: None,
        }
    }

    /// The rows as of the last update, also while there is no connection.
    pub fn replica(&self) -> &Replica {
        self.session.replica()
    }

    /// What happened to rows since the last call.
    pub fn take_changes(&mut self) -> Changes {
        self.session.replica_mut().take_changes()
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// Whether the connection keeps the replica up to date.
    pub fn is_synced(&self) -> bool {
        self.session.is_synced()
    }

    /// Why the last attempt or connection ended; `None` once the replica is in sync.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Follows from now on the rows of `table` for which at least one of `clauses` holds, and none
    /// when there are no clauses. [`Connection::conditions_met`] waits for them.
    pub fn set_condition(&mut self, table: &str, clauses: &[Clause]) -> Result<(), SelectionError> {
        self.session.set_condition(table, clauses)
    }

    /// Asks for the lock `name` on this and every later connection, or gives it up. From then on
    /// the server refuses transactions of this client while the lock is not held.
    pub fn set_lock(&mut self, name: Option<&str>) {
        self.session.set_lock(name);
    }

    /// Whether the lock of [`Connection::set_lock`] is held.
    pub fn has_lock(&self) -> bool {
        self.session.has_lock()
    }

    /// Gives the connection up and makes another at once, at the next endpoint.
    pub fn reconnect(&mut self) {
        self.disconnect("asked to reconnect".to_owned());
        self.link = Link::Down {
            until: Instant::now(),
        };
    }

    /// Waits until the replica is up to date.
    pub async fn synced(&mut self) {
        while !self.session.is_synced() {
            self.next().await;
        }
    }

    /// Waits until the replica holds what the newest conditions select.
    pub async fn conditions_met(&mut self) {
        while !self.session.conditions_met() {
            self.next().await;
        }
    }

    /// Waits until the lock of [`Connection::set_lock`] is held.
    pub async fn locked(&mut self) {
        while !self.session.has_lock() {
            self.next().await;
        }
    }

    /// Waits until rows changed since changes were last taken, and takes them. The first call
    /// gives every row as inserted.
    pub async fn changed(&mut self) -> Changes {
        loop {
            if self.session.is_synced() && self.session.replica().has_changes() {
                return self.take_changes();
            }
            self.next().await;
        }
    }

    /// Keeps the connection going until something happened: connects, reconnects, probes, and
    /// applies what comes.
    ///
    /// What happens while another future of this handle is awaited is not repeated here: the
    /// getters say how things are.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.poll_event() {
                return event;
            }
            self.advance().await;
        }
    }

    /// Moves the connection by one step, which may make events.
    async fn advance(&mut self) {
        self.send();
        if self.failed.is_none() {
            let progress = self.progress().await;
            self.handle(progress);
        }
    }

    /// What happened already.
    fn poll_event(&mut self) -> Option<Event> {
        while let Some(event) = self.session.poll_event() {
            return Some(match event {
                replica::Event::Synced => {
                    self.failures = 0;
                    self.last_error = None;
                    Event::Synced
                }
                replica::Event::Updated => Event::Updated,
                replica::Event::Conditions => Event::Conditions,
                replica::Event::Locked(locked) => Event::Locked(locked),
                replica::Event::Missing(missing) => Event::Missing(missing),
                replica::Event::Transacted { id, outcome } => {
                    if self.awaited == Some(id) {
                        self.awaited = None;
                        self.outcome = Some(outcome);
                    }
                    continue;
                }
                replica::Event::Unfit(unfit) => {
                    self.disconnect(unfit.to_string());
                    continue;
                }
            });
        }
        let reason = self.failed.take()?;
        let endpoint = self.endpoint_name();
        self.last_error = Some(reason.clone());
        self.current = self.current.wrapping_add(1);
        Some(Event::Disconnected { endpoint, reason })
    }

    /// Gives the session's messages to the client, which writes them while it reads.
    fn send(&mut self) {
        let Link::Up { client, .. } = &mut self.link else {
            return;
        };
        let mut queued = Ok(());
        while let (Ok(()), Some(message)) = (&queued, self.session.poll_message()) {
            queued = client.queue(&message);
        }
        if let Err(error) = queued {
            self.disconnect(error.to_string());
        }
    }

    async fn progress(&mut self) -> Progress {
        let interval = match self.config.probe_interval {
            // A server that takes a connection and says nothing is none.
            None if !self.session.is_synced() => Some(self.config.connect_timeout),
            interval => interval,
        };
        match &mut self.link {
            Link::Down { until } => {
                sleep_until(*until).await;
                Progress::Dial
            }
            Link::Dialing { dialing, until } => tokio::select! {
                biased;
                connected = dialing => Progress::Connected(connected),
                () = sleep_until(*until) => {
                    Progress::Connected(Err(io::ErrorKind::TimedOut.into()))
                }
            },
            Link::Up { client, heard, .. } => {
                let deadline = interval.and_then(|interval| heard.checked_add(interval));
                tokio::select! {
                    // What came while nobody looked is read before silence is believed.
                    biased;
                    message = client.recv() => Progress::Received(message),
                    () = sleep_or_never(deadline) => Progress::Silence,
                }
            }
        }
    }

    fn handle(&mut self, progress: Progress) {
        let now = Instant::now();
        match progress {
            Progress::Dial => match self.endpoint() {
                Some(endpoint) => {
                    self.link = Link::Dialing {
                        dialing: endpoint.dial(),
                        until: now + self.config.connect_timeout,
                    };
                }
                None => self.disconnect("there is no endpoint to connect to".to_owned()),
            },
            Progress::Connected(Ok(stream)) => {
                self.link = Link::Up {
                    client: Box::new(Client::new(stream)),
                    heard: now,
                    probed: None,
                };
                self.session.handle_connected();
            }
            Progress::Connected(Err(error)) => self.disconnect(error.to_string()),
            Progress::Received(Ok(message)) => {
                if let Link::Up { heard, probed, .. } = &mut self.link {
                    (*heard, *probed) = (now, None);
                }
                self.session.handle_message(message);
            }
            Progress::Received(Err(error)) => self.disconnect(error.to_string()),
            Progress::Silence => self.handle_silence(now),
        }
    }

    fn handle_silence(&mut self, now: Instant) {
        let Link::Up {
            client,
            heard,
            probed,
        } = &mut self.link
        else {
            return;
        };
        // A long message on its way is a sign of life too.
        let bytes = client.received_bytes();
        *heard = now;
        if *probed == Some(bytes) {
            self.disconnect("no answer in time".to_owned());
            return;
        }
        *probed = Some(bytes);
        self.session.probe();
    }

    fn disconnect(&mut self, reason: String) {
        self.session.handle_disconnected();
        self.failures = self.failures.saturating_add(1);
        // Each endpoint is tried once before the first pause.
        let count = u32::try_from(self.endpoints.len())
            .unwrap_or(u32::MAX)
            .max(1);
        let pause = if self.failures.is_multiple_of(count) {
            let rounds = self.failures / count;
            let factor = 2u32.saturating_pow(rounds.saturating_sub(1));
            let pause = self.config.min_backoff.saturating_mul(factor);
            pause.min(self.config.max_backoff)
        } else {
            Duration::ZERO
        };
        self.link = Link::Down {
            until: Instant::now() + pause,
        };
        self.failed = Some(reason);
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        let at = self.current.checked_rem(self.endpoints.len())?;
        self.endpoints.get(at)
    }

    fn endpoint_name(&self) -> String {
        self.endpoint()
            .map_or_else(String::new, |endpoint| endpoint.name().to_owned())
    }
}

async fn sleep_or_never(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
