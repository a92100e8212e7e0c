//! The connection to the database server: dials, follows, reconnects with back-off, and hands
//! out what happened.
//!
//! A shell around `ovsdb::replica::Session`, which knows the protocol, and
//! `daemon::reconnect::Reconnect`, which knows when to try again. The rows stay while the server
//! is away, so the switch goes on as it was told last.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::{Duration, Instant};

use daemon::pidfile::reason;
use daemon::reconnect::{Action, Config, Reconnect};
use daemon::stream::{Active, Connection, Stream};
use ovsdb::client::Client;
use ovsdb::replica::{Event, Replica, Session};

/// The database connection and the replica that it feeds.
pub struct Database {
    remote: Active,
    session: Session,
    reconnect: Reconnect,
    link: Link,
    failed: bool,
}

enum Link {
    Down,
    Connecting(Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>),
    Up(Box<Client<Box<dyn Stream>>>),
}

impl Database {
    pub fn new(remote: Active, replica: Replica) -> Database {
        let config = Config {
            min_backoff: Duration::from_millis(250),
            max_backoff: Duration::from_secs(8),
            // A Unix socket says itself when its other end is gone.
            probe_interval: match remote {
                Active::Unix(_) => None,
                Active::Tcp { .. } => Some(Duration::from_secs(5)),
            },
        };
        Database {
            remote,
            session: Session::new(replica),
            reconnect: Reconnect::new(config, Instant::now()),
            link: Link::Down,
            failed: false,
        }
    }

    /// An attempt to reach the server has failed at some time.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// To queue transactions; they are sent by [`Self::wait`].
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Keeps the connection going until something happened. Cancel safe.
    pub async fn wait(&mut self) -> Event {
        loop {
            while let Some(event) = self.session.poll_event() {
                match event {
                    Event::Unfit(unfit) => {
                        self.disconnect(&format!("server is of no use: {unfit}"));
                    }
                    event => return event,
                }
            }
            if let Some(reason) = self.act() {
                self.disconnect(&reason);
                continue;
            }
            let deadline = self.reconnect.deadline();
            let outcome = match &mut self.link {
                Link::Down => {
                    sleep_until(deadline).await;
                    continue;
                }
                Link::Connecting(dialing) => tokio::select! {
                    connected = dialing => Progress::Connected(connected),
                    () = sleep_until(deadline) => continue,
                },
                Link::Up(client) => tokio::select! {
                    message = client.recv() => Progress::Received(message),
                    () = sleep_until(deadline) => continue,
                },
            };
            let now = Instant::now();
            match outcome {
                Progress::Connected(Ok(connection)) => {
                    tracing::info!(target: "reconnect", "{}: connected", self.remote);
                    self.link = Link::Up(Box::new(Client::new(connection.stream)));
                    self.reconnect.handle_connected(now);
                    self.session.handle_connected();
                }
                Progress::Connected(Err(error)) => {
                    self.disconnect(&format!("connection attempt failed ({})", reason(&error)));
                }
                Progress::Received(Ok(message)) => {
                    self.reconnect.handle_activity(now);
                    self.session.handle_message(message);
                }
                Progress::Received(Err(error)) => {
                    self.disconnect(&format!("connection dropped ({error})"));
                }
            }
        }
    }

    /// Carries out what the state machines ask for; the text says why to disconnect.
    fn act(&mut self) -> Option<String> {
        while let Some(action) = self.reconnect.poll(Instant::now()) {
            match action {
                Action::Connect => {
                    tracing::info!(target: "reconnect", "{}: connecting...", self.remote);
                    let remote = self.remote.clone();
                    self.link = Link::Connecting(Box::pin(async move { remote.connect().await }));
                }
                Action::Probe => self.session.probe(),
                Action::Disconnect => return Some("no answer in time".to_owned()),
            }
        }
        if let Link::Up(client) = &mut self.link {
            while let Some(message) = self.session.poll_message() {
                if let Err(error) = client.queue(&message) {
                    return Some(error.to_string());
                }
            }
        }
        None
    }

    fn disconnect(&mut self, reason: &str) {
        // A server that is not there yet is nothing to worry an operator with at each attempt.
        if self.reconnect.is_connected() {
            tracing::warn!(target: "reconnect", "{}: {reason}", self.remote);
        } else {
            tracing::info!(target: "reconnect", "{}: {reason}", self.remote);
        }
        self.failed = true;
        self.link = Link::Down;
        self.session.handle_disconnected();
        self.reconnect.handle_disconnected(Instant::now());
    }
}

enum Progress {
    Connected(io::Result<Connection>),
    Received(Result<ovsdb::jsonrpc::Message, ovsdb::client::Error>),
}

pub async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
