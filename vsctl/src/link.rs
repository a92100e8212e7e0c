//! The connection to the database server: which server, when to try again, and the pump between
//! socket and session.

use std::io;
use std::time::Duration;

use daemon::stream::{Connection, Method, MethodError, OVSDB_PORT, Stream};
use ovsdb::client::{self, Client};
use ovsdb::jsonrpc::Message;
use ovsdb::replica::{Event, Session, Unfit};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Error {
    #[error("{db}: database connection failed ({reason})")]
    Failed { db: String, reason: String },
    #[error(transparent)]
    Tls(MethodError),
}

/// The longest pause between attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(8);

/// A session with its server.
pub struct Link {
    /// As the user wrote it.
    db: String,
    remotes: Vec<Method>,
    /// Whether to try again after a failure.
    pub retry: bool,
    pub session: Session,
    client: Option<Client<Box<dyn Stream>>>,
    backoff: Duration,
}

impl Link {
    /// `db` is one connection method or several separated by commas.
    pub fn new(db: &str, retry: bool, session: Session) -> Result<Self, Error> {
        let mut remotes = Vec::new();
        for remote in db.split(',') {
            remotes.push(match Method::parse(remote, OVSDB_PORT) {
                Ok(method) => method,
                Err(error @ MethodError::Tls(_)) => return Err(Error::Tls(error)),
                Err(error) => {
                    let reason = match error {
                        MethodError::BadAddress(_) => "bad address or port",
                        MethodError::NoPath(_) => "a file name is missing",
                        _ => "Address family not supported by protocol",
                    };
                    return Err(Error::Failed {
                        db: db.to_owned(),
                        reason: reason.to_owned(),
                    });
                }
            });
        }
        Ok(Self {
            db: db.to_owned(),
            // A server that connects to us may take its time.
            retry: retry
                || remotes
                    .iter()
                    .any(|remote| matches!(remote, Method::Passive(_))),
            remotes,
            session,
            client: None,
            backoff: Duration::from_secs(1),
        })
    }

    /// Tries the servers in another order, so that clients spread over them.
    pub fn shuffle(&mut self) {
        self.remotes.sort_by_cached_key(|_| ovsdb::Uuid::new_v4());
    }

    /// Moves messages until something happens.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            match self.session.poll_event() {
                Some(Event::Unfit(unfit)) => {
                    self.fail(unfit.to_string(), matches!(unfit, Unfit::NotLeader))
                        .await?;
                    continue;
                }
                Some(Event::Missing(missing)) => {
                    // An older server; what it lacks is left out where nobody asked for it.
                    for what in missing {
                        tracing::debug!(target: "ovsdb_idl", "database lacks {what}");
                    }
                    continue;
                }
                Some(event) => return Ok(event),
                None => {}
            }
            let Some(client) = &mut self.client else {
                self.connect().await?;
                continue;
            };
            let mut queued = Ok(());
            while let Some(message) = self.session.poll_message() {
                tracing::debug!(target: "jsonrpc", "{}: send {}", self.db, Shown(&message));
                queued = queued.and_then(|()| client.queue(&message));
            }
            let received = match queued {
                Ok(()) => client.recv().await,
                Err(error) => Err(error),
            };
            match received {
                Ok(message) => {
                    tracing::debug!(target: "jsonrpc", "{}: received {}", self.db, Shown(&message));
                    self.backoff = Duration::from_secs(1);
                    self.session.handle_message(message);
                }
                Err(error) => self.fail(reason(&error), false).await?,
            }
        }
    }

    /// Sends what is still to be sent, such as an answer, before the connection goes.
    pub async fn flush(&mut self) {
        if let Some(client) = &mut self.client {
            while let Some(message) = self.session.poll_message() {
                if client.queue(&message).is_err() {
                    return;
                }
            }
            // The server closes its end in its own time; nobody waits for these bytes.
            let _ = client.flush().await;
        }
    }

    /// Gives the connection up: an error, or a pause before the next attempt.
    async fn fail(&mut self, reason: String, other_server: bool) -> Result<(), Error> {
        self.client = None;
        self.session.handle_disconnected();
        let others = other_server && self.remotes.len() > 1;
        if !self.retry && !others {
            return Err(Error::Failed {
                db: self.db.clone(),
                reason,
            });
        }
        tracing::warn!(target: "reconnect", "{}: {reason}", self.db);
        // The server that failed goes to the end of the line.
        if !self.remotes.is_empty() {
            self.remotes.rotate_left(1);
        }
        self.pause().await;
        Ok(())
    }

    async fn pause(&mut self) {
        tokio::time::sleep(self.backoff).await;
        self.backoff = self.backoff.saturating_mul(2).min(MAX_BACKOFF);
    }

    /// Tries every server once, and again for as long as that is wished.
    async fn connect(&mut self) -> Result<(), Error> {
        loop {
            let mut last = None;
            for remote in &self.remotes {
                match open(remote).await {
                    Ok(connection) => {
                        self.client = Some(Client::new(connection.stream));
                        self.session.handle_connected();
                        return Ok(());
                    }
                    Err(error) => last = Some(error),
                }
            }
            let reason = last.as_ref().map_or_else(String::new, io_reason);
            if !self.retry {
                return Err(Error::Failed {
                    db: self.db.clone(),
                    reason,
                });
            }
            tracing::warn!(
                target: "reconnect",
                "{}: connection attempt failed ({reason})",
                self.db
            );
            self.pause().await;
        }
    }
}

async fn open(remote: &Method) -> io::Result<Connection> {
    match remote {
        Method::Active(active) => active.connect().await,
        Method::Passive(passive) => passive.listen().await?.accept().await,
    }
}

fn reason(error: &client::Error) -> String {
    match error {
        client::Error::Closed => "End of file".to_owned(),
        client::Error::Io(error) => io_reason(error),
        other => other.to_string(),
    }
}

/// The system's word for an error, without its number.
fn io_reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}

/// A message as the log shows it.
struct Shown<'a>(&'a Message);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Message::Request { id, method, params } => {
                write!(f, "request, method=\"{method}\", params={params}, id={id}")
            }
            Message::Notification { method, params } => {
                write!(f, "notification, method=\"{method}\", params={params}")
            }
            Message::Response { id, result } => match result {
                Ok(result) => write!(f, "reply, result={result}, id={id}"),
                Err(error) => write!(f, "error, error={error}, id={id}"),
            },
        }
    }
}
