//! Between a session's commands and the server's messages; no I/O.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use daemon::rate_limit::RateLimit;
use ovsdb::jsonrpc::Message;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use super::deliver::{Backlog, Item};
use super::methods::database_error;
use super::session::{Command, Json, Subscribe};
use crate::connection::MAX_BACKLOG;
use crate::server::SessionId;

static SLOW: RateLimit = RateLimit::new(12, 1);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Router {
    remote: Arc<str>,
    session: SessionId,
    items: mpsc::UnboundedSender<Item>,
    pub backlog: Arc<Backlog>,
    /// Of requests; a monitor has the number of the request that made it.
    last_id: u64,
    pending: HashMap<u64, Pending>,
    monitors: HashSet<u64>,
    /// For the event loop.
    pub requests: VecDeque<Message>,
}

impl Router {
    pub fn new(remote: Arc<str>, session: SessionId, items: mpsc::UnboundedSender<Item>) -> Self {
        let mut router = Self {
            remote,
            session,
            items,
            backlog: Arc::new(watch::channel(0).0),
            last_id: 0,
            pending: HashMap::new(),
            monitors: HashSet::new(),
            requests: VecDeque::new(),
        };
        // A database that goes takes its subscriptions along, and not the connection.
        router.request("set_db_change_aware", json!([true]), Pending::Done);
        router
    }

    /// Whether a further command may be taken. One subscription is opened at a time, because its
    /// contents may be large.
    pub fn is_free(&self) -> bool {
        self.requests.is_empty()
            && !self
                .pending
                .values()
                .any(|pending| matches!(pending, Pending::Subscribe(_)))
    }

    fn request(&mut self, method: &str, params: Value, pending: Pending) {
        self.last_id = self.last_id.saturating_add(1);
        self.pending.insert(self.last_id, pending);
        let message = Message::request(self.last_id, method, params);
        self.requests.push_back(message);
    }

    pub fn handle_command(&mut self, command: Command) {
        match command {
            Command::Call {
                method,
                params,
                reply,
            } => self.request(method, params, Pending::Call(reply)),
            Command::Subscribe(subscribe) => {
                let [database, requests, last] = subscribe.params.clone();
                let monitor = self.last_id.saturating_add(1);
                let params = json!([database, monitor, requests, last]);
                let pending = Pending::Subscribe(subscribe);
                self.request("monitor_cond_since", params, pending);
            }
            Command::Unsubscribe(monitor) => self.end(monitor, None),
        }
    }

    /// Ends a subscription, if it is there.
    fn end(&mut self, monitor: u64, reason: Option<String>) {
        if self.monitors.remove(&monitor) {
            self.request("monitor_cancel", json!([monitor]), Pending::Done);
            let _ = self.items.send(Item::End { monitor, reason });
        }
    }

    pub fn handle_message(&mut self, message: Message) {
        match message {
            Message::Response { id, result } => {
                let id = id.as_u64().unwrap_or_default();
                let Some(pending) = self.pending.remove(&id) else {
                    return;
                };
                match pending {
                    Pending::Call(reply) => {
                        let result = result.map(|result| text(&result));
                        let _ = self.items.send(Item::Reply(reply, result));
                    }
                    // Contents come as text.
                    Pending::Subscribe(subscribe) => {
                        let error = result.err().unwrap_or_default();
                        let item = Item::Reject(subscribe.pending, database_error(&error));
                        let _ = self.items.send(item);
                    }
                    Pending::Done => {}
                }
            }
            Message::Notification { method, params } if method == "monitor_canceled" => {
                let monitor = params.get(0).and_then(Value::as_u64).unwrap_or_default();
                if self.monitors.remove(&monitor) {
                    let reason = Some("the database has been removed".to_owned());
                    let _ = self.items.send(Item::End { monitor, reason });
                }
            }
            // There are no locks, so nothing else is told unasked.
            Message::Notification { .. } | Message::Request { .. } => {}
        }
    }

    /// What the server has as text: the reply to a transaction, a subscription's contents or an
    /// update.
    pub fn handle_text(&mut self, text: &[u8]) {
        // The latter two are the reply to `monitor_cond_since` and `update3`, of ovsdb-server(7).
        #[derive(Deserialize)]
        struct Text<'t> {
            id: Option<u64>,
            #[serde(borrow)]
            result: Option<&'t RawValue>,
            #[serde(borrow)]
            params: Option<(u64, &'t RawValue, &'t RawValue)>,
        }
        match serde_json::from_slice(text) {
            Ok(Text {
                id: Some(id),
                result: Some(result),
                ..
            }) => match self.pending.remove(&id) {
                Some(Pending::Call(reply)) => {
                    let _ = self.items.send(Item::Reply(reply, Ok(result.to_owned())));
                }
                Some(Pending::Subscribe(subscribe)) => {
                    if let Ok((found, last_txn_id, updates)) = serde_json::from_str(result.get()) {
                        let contents = Update::new(Some(found), last_txn_id, updates);
                        self.subscribed(id, subscribe, &contents);
                    }
                }
                Some(Pending::Done) | None => {}
            },
            Ok(Text {
                params: Some((monitor, last_txn_id, updates)),
                ..
            }) => self.update(monitor, &Update::new(None, last_txn_id, updates)),
            // Nothing else comes as text.
            _ => {}
        }
    }

    fn subscribed(&mut self, monitor: u64, subscribe: Box<Subscribe>, contents: &Update<'_>) {
        self.monitors.insert(monitor);
        let initial = text(contents);
        self.count(&initial);
        let _ = self.items.send(Item::Accept {
            monitor,
            subscribe,
            initial,
        });
    }

    fn update(&mut self, monitor: u64, update: &Update<'_>) {
        if !self.monitors.contains(&monitor) {
            return;
        }
        let waiting = *self.backlog.borrow();
        if waiting > MAX_BACKLOG {
            let reason =
                format!("{waiting} bytes wait to be sent to a client that does not read them");
            if let Some(dropped) = SLOW.allow(Instant::now()) {
                let (remote, session) = (&self.remote, self.session);
                tracing::warn!(
                    "{remote}: session {session}: {reason}; subscription ended{dropped}"
                );
            }
            return self.end(monitor, Some(reason));
        }
        let json = text(update);
        self.count(&json);
        let _ = self.items.send(Item::Update { monitor, json });
    }

    fn count(&self, json: &Json) {
        let length = json.get().len();
        self.backlog
            .send_modify(|waiting| *waiting = waiting.saturating_add(length));
    }
}

/// What a reply is for.
#[derive(Debug)]
enum Pending {
    Call(oneshot::Sender<Result<Json, Value>>),
    Subscribe(Box<Subscribe>),
    /// Of interest to nobody.
    Done,
}

/// What a subscription's notification has, `found` in the first one.
#[derive(Debug, Serialize)]
struct Update<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<&'t RawValue>,
    last_txn_id: &'t RawValue,
    updates: &'t RawValue,
}

impl<'t> Update<'t> {
    fn new(found: Option<&'t RawValue>, last_txn_id: &'t RawValue, updates: &'t RawValue) -> Self {
        Self {
            found,
            last_txn_id,
            updates,
        }
    }
}

fn text(value: &impl Serialize) -> Json {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router() -> (Router, mpsc::UnboundedReceiver<Item>) {
        let (items, taking) = mpsc::unbounded_channel();
        (Router::new("r".into(), 1, items), taking)
    }

    fn methods(router: &mut Router) -> Vec<String> {
        let requests = router.requests.drain(..);
        requests
            .map(|request| match request {
                Message::Request { method, .. } => method,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn update(bytes: usize) -> Vec<u8> {
        let rows = json!({"T": {"u": {"insert": {"c": "x".repeat(bytes)}}}});
        Message::notification("update3", json!([7, "id", rows])).to_bytes()
    }

    #[test]
    fn a_database_that_goes_ends_its_subscriptions() {
        let (mut router, mut items) = router();
        assert_eq!(methods(&mut router), ["set_db_change_aware"]);
        router.monitors.insert(7);
        let canceled = Message::notification("monitor_canceled", json!([7]));
        router.handle_message(canceled.clone());
        // The server knows already.
        assert!(methods(&mut router).is_empty());
        let ended = items.try_recv().unwrap();
        assert!(
            matches!(
                ended,
                Item::End {
                    monitor: 7,
                    reason: Some(_)
                }
            ),
            "{ended:?}"
        );
        router.handle_message(canceled);
        router.handle_text(&update(1));
        assert!(items.try_recv().is_err());
    }

    #[test]
    fn too_much_that_waits_ends_the_subscription() {
        let (mut router, mut items) = router();
        methods(&mut router);
        router.monitors.insert(7);
        let big = update(MAX_BACKLOG / 2);
        for _ in 0..4 {
            router.handle_text(&big);
        }
        assert_eq!(methods(&mut router), ["monitor_cancel"]);
        for _ in 0..2 {
            assert!(matches!(
                items.try_recv(),
                Ok(Item::Update { monitor: 7, .. })
            ));
        }
        let ended = items.try_recv().unwrap();
        assert!(
            matches!(
                ended,
                Item::End {
                    monitor: 7,
                    reason: Some(_)
                }
            ),
            "{ended:?}"
        );
        assert!(items.try_recv().is_err());
    }
}
