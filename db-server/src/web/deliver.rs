//! What a session's client is told, handed to `jsonrpsee` one after the other: so the updates of its
//! subscriptions are with it before the reply to the transaction that made them.

use std::collections::HashMap;
use std::sync::Arc;

use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::{PendingSubscriptionSink, SubscriptionSink};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

use super::session::{Command, Json, Subscribe};

/// What is handed on, in this order.
#[derive(Debug)]
pub(super) enum Item {
    Reply(oneshot::Sender<Result<Json, Value>>, Result<Json, Value>),
    Accept {
        monitor: u64,
        subscribe: Box<Subscribe>,
        initial: Json,
    },
    Reject(PendingSubscriptionSink, ErrorObjectOwned),
    Update {
        monitor: u64,
        json: Json,
    },
    /// The subscription is over: by the client, or for the reason.
    End {
        monitor: u64,
        reason: Option<String>,
    },
}

/// Bytes that wait for subscriptions' clients.
pub(super) type Backlog = watch::Sender<usize>;

/// Hands items on until there can be none any more, each when the one before has been taken.
pub(super) async fn deliver(
    mut items: mpsc::UnboundedReceiver<Item>,
    backlog: Arc<Backlog>,
    commands: mpsc::WeakSender<Command>,
) {
    let mut subscriptions: HashMap<u64, Subscription> = HashMap::new();
    let sent = |json: usize| backlog.send_modify(|waiting| *waiting = waiting.saturating_sub(json));
    while let Some(item) = items.recv().await {
        match item {
            Item::Reply(reply, result) => {
                let _ = reply.send(result);
            }
            Item::Reject(pending, error) => pending.reject(error).await,
            Item::Accept {
                monitor,
                subscribe,
                initial,
            } => {
                let length = initial.get().len();
                // When the connection is gone, so is the session soon.
                if let Ok(sink) = subscribe.pending.accept().await {
                    let watching = tokio::spawn(watch_end(monitor, sink.clone(), commands.clone()));
                    let _ = sink.send(initial).await;
                    let ended = subscribe.ended;
                    let subscription = Subscription {
                        sink,
                        ended,
                        watching,
                    };
                    subscriptions.insert(monitor, subscription);
                }
                sent(length);
            }
            Item::Update { monitor, json } => {
                let length = json.get().len();
                if let Some(subscription) = subscriptions.get(&monitor) {
                    let _ = subscription.sink.send(json).await;
                }
                sent(length);
            }
            Item::End { monitor, reason } => {
                if let Some(subscription) = subscriptions.remove(&monitor) {
                    subscription.watching.abort();
                    if let Some(reason) = reason {
                        let _ = subscription.ended.send(reason);
                    }
                }
            }
        }
    }
}

/// A subscription that the client knows of.
#[derive(Debug)]
struct Subscription {
    sink: SubscriptionSink,
    ended: oneshot::Sender<String>,
    /// Waits for the client to end it.
    watching: tokio::task::JoinHandle<()>,
}

async fn watch_end(monitor: u64, sink: SubscriptionSink, commands: mpsc::WeakSender<Command>) {
    sink.closed().await;
    if let Some(commands) = commands.upgrade() {
        let _ = commands.send(Command::Unsubscribe(monitor)).await;
    }
}
