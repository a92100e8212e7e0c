//! A session of the server behind an HTTP request or a WebSocket.
//!
//! Two tasks make one. [`serve`] turns commands into messages for the event loop and what comes
//! back into items, by the [`Router`]; [`deliver`] hands the items on. The session ends when its
//! last [`Session`] is gone.

use std::sync::Arc;

use jsonrpsee::PendingSubscriptionSink;
use jsonrpsee::types::ErrorObjectOwned;
use ovsdb::jsonrpc::Received;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::deliver::deliver;
use super::guard::Credential;
use super::methods::{busy, closing, database_error};
use super::router::Router;
use super::stream::Link;
use crate::connection::{End, Outgoing};
use crate::event_loop::Event;
use crate::server::Peer;

/// Calls of one session that are under way.
const MAX_CALLS: usize = 32;

/// Nothing more is taken from a client to whose subscriptions more than this waits to be sent.
const MAX_UNREAD: usize = 1 << 20;

pub(super) type Json = Box<RawValue>;

/// A handle on a session, for what answers its calls.
#[derive(Debug, Clone)]
pub(super) struct Session {
    commands: mpsc::Sender<Command>,
    places: Arc<Semaphore>,
    pub credential: Option<Credential>,
    /// Whether there can be subscriptions.
    pub is_websocket: bool,
}

#[derive(Debug)]
pub(super) enum Command {
    Call {
        method: &'static str,
        params: Value,
        reply: oneshot::Sender<Result<Json, Value>>,
    },
    Subscribe(Box<Subscribe>),
    /// The client has ended this subscription, or its connection.
    Unsubscribe(u64),
}

/// A subscription that is asked for.
#[derive(Debug)]
pub(super) struct Subscribe {
    /// Database, `<monitor-cond-requests>`, the last transaction that is known.
    pub params: [Value; 3],
    pub pending: PendingSubscriptionSink,
    /// Told why, when the server ends it.
    pub ended: oneshot::Sender<String>,
}

impl Session {
    /// Starts a session of a client that came from `remote`.
    pub fn start(
        remote: Arc<str>,
        credential: Option<Credential>,
        is_websocket: bool,
        link: Arc<Link>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (commands, taking) = mpsc::channel(MAX_CALLS);
        let peer = Peer {
            read_only: credential.is_none(),
            ..Peer::default()
        };
        let weak = commands.downgrade();
        tokio::spawn(async move {
            serve(remote, peer, &link, &events, taking, weak).await;
        });
        Self {
            commands,
            places: Arc::new(Semaphore::new(MAX_CALLS)),
            credential,
            is_websocket,
        }
    }

    /// Makes a request of the server and waits for the answer.
    pub async fn call(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Json, ErrorObjectOwned> {
        let _place = self.places.try_acquire().map_err(|_| busy(MAX_CALLS))?;
        let (reply, answer) = oneshot::channel();
        let command = Command::Call {
            method,
            params,
            reply,
        };
        self.commands.send(command).await.map_err(|_| closing())?;
        answer
            .await
            .map_err(|_| closing())?
            .map_err(|error| database_error(&error))
    }

    /// Asks for a subscription; the receiver is told why, when the server ends it.
    pub async fn subscribe(
        self,
        params: [Value; 3],
        pending: PendingSubscriptionSink,
    ) -> oneshot::Receiver<String> {
        let (ended, end) = oneshot::channel();
        let subscribe = Box::new(Subscribe {
            params,
            pending,
            ended,
        });
        let _ = self.commands.send(Command::Subscribe(subscribe)).await;
        end
    }
}

/// Attaches to the event loop and serves the commands until nobody can give one.
async fn serve(
    remote: Arc<str>,
    peer: Peer,
    link: &Link,
    events: &mpsc::Sender<Event>,
    mut commands: mpsc::Receiver<Command>,
    weak: mpsc::WeakSender<Command>,
) {
    let (outgoing, mut incoming) = mpsc::unbounded_channel();
    let (attached, session) = oneshot::channel();
    let event = Event::Attached {
        remote: remote.clone(),
        peer,
        outgoing,
        session: attached,
    };
    if events.send(event).await.is_err() {
        return link.close();
    }
    let Ok(session) = session.await else {
        return link.close();
    };
    let (items, delivering) = mpsc::unbounded_channel();
    let mut router = Router::new(remote, session, items);
    let mut waiting = router.backlog.subscribe();
    tokio::spawn(deliver(delivering, router.backlog.clone(), weak));
    loop {
        let lags = *waiting.borrow_and_update() > MAX_UNREAD;
        tokio::select! {
            biased;
            message = incoming.recv() => match message {
                Some(Outgoing::Message(message)) => router.handle_message(message),
                Some(Outgoing::Text(text)) => router.handle_text(&text),
                Some(Outgoing::Close) | None => {
                    link.close();
                    break;
                }
            },
            place = events.reserve(), if !router.requests.is_empty() => match place {
                Ok(place) => if let Some(message) = router.requests.pop_front() {
                    let message = Received::Message(message);
                    place.send(Event::Message { session, message });
                },
                Err(_) => {
                    link.close();
                    break;
                }
            },
            _ = waiting.changed(), if lags => {}
            command = commands.recv(), if router.is_free() && !lags => match command {
                Some(command) => router.handle_command(command),
                None => break,
            },
        }
    }
    let reason = End::Closed;
    // The event loop may already be gone when everything shuts down.
    let _ = events.send(Event::Disconnected { session, reason }).await;
}
