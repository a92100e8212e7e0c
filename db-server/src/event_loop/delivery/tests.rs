use std::io;

use ovsdb::DatabaseSchema;
use ovsdb::jsonrpc::Message;
use serde_json::{Value, json};

use super::super::Sink;
use super::*;
use crate::database::Database;
use crate::server::Peer;

/// A server with databases `a` and `b`, one client, and a writer that reports what it is told to.
struct Harness {
    server: Server,
    delivery: Delivery,
    clients: HashMap<SessionId, Client>,
    told: UnboundedReceiver<Outgoing>,
    /// What the real writer reports of files that it was never given.
    _done: UnboundedReceiver<Done>,
}

const CLIENT: SessionId = 1;

impl Harness {
    fn new() -> Self {
        let mut server = Server::new(Box::new(ovsdb::Uuid::new_v4), true);
        for name in ["a", "b"] {
            let schema = json!({"name": name, "tables": {"T": {"isRoot": true, "columns": {
                "n": {"type": "integer"}, "e": {"type": "integer", "ephemeral": true}}}}});
            server.add_database(Database::new(DatabaseSchema::from_json(&schema).unwrap()));
        }
        server.handle_connect(CLIENT, Peer::default());
        let (outgoing, told) = mpsc::unbounded_channel();
        let client = Client {
            remote: Arc::from("test"),
            peer: String::new(),
            inbox: None,
            outgoing: Sink::Task(outgoing),
            over: None,
        };
        let (delivery, done) = Delivery::new();
        Self {
            server,
            delivery,
            clients: [(CLIENT, client)].into_iter().collect(),
            told,
            _done: done,
        }
    }

    /// Makes a transaction, and gives the writer its record when the writer is free.
    fn transact(&mut self, database: &str, operation: Value) {
        let request = Message::request(json!(database), "transact", json!([database, operation]));
        self.server
            .handle_message(CLIENT, request, Instant::now(), 0);
        while let Some(output) = self.server.poll_output() {
            self.delivery.handle_output(output, &mut self.clients);
        }
        assert!(self.delivery.submit(true).is_none(), "the writer is slow");
    }

    /// The writer's report on the records up to `ticket`.
    fn written(&mut self, ticket: u64, failed: &[&str]) {
        let error = |name: &&str| {
            (
                Arc::from(*name),
                WriteError::Write(io::Error::other("full")),
            )
        };
        let done = Done::Written {
            ticket,
            failed: failed.iter().map(error).collect(),
            sizes: Vec::new(),
            took: Duration::MAX,
        };
        self.delivery
            .handle_done(done, &mut self.server, &mut self.clients);
    }

    /// The replies since the last time: the database, and the result or the error.
    fn replies(&mut self) -> Vec<(Value, Value)> {
        let mut replies = Vec::new();
        while let Ok(outgoing) = self.told.try_recv() {
            let message = match outgoing {
                Outgoing::Message(message) => message,
                Outgoing::Text(text) => {
                    Message::from_json(serde_json::from_slice(&text).unwrap()).unwrap()
                }
                Outgoing::Close => continue,
            };
            if let Message::Response { id, result } = message {
                replies.push((id, result.unwrap_or_else(|error| error["error"].clone())));
            }
        }
        replies
    }
}

#[test]
fn what_was_acknowledged_beside_another_databases_loss_stays() {
    let insert = |n: i64| json!({"op": "insert", "table": "T", "row": {"n": n}});
    let count = json!([{"count": 1}]);
    let mut h = Harness::new();
    h.transact("b", insert(1));
    h.written(1, &[]);
    assert_eq!(h.replies().len(), 1);
    h.transact("a", insert(1));
    h.transact("a", insert(2));
    // Told when what came out before is settled, though it has no record.
    let seven = json!({"op": "update", "table": "T", "where": [], "row": {"e": 7}});
    h.transact("b", seven);
    assert_eq!(h.replies(), []);
    h.written(2, &["a"]);
    let lost = || (json!("a"), json!("I/O error"));
    assert_eq!(h.replies(), [lost(), lost(), (json!("b"), count)]);
    // A later loss does not take it back.
    h.transact("b", insert(2));
    h.written(4, &["b"]);
    assert_eq!(h.replies(), [(json!("b"), json!("I/O error"))]);
    h.transact(
        "b",
        json!({"op": "select", "table": "T", "where": [], "columns": ["n", "e"]}),
    );
    assert_eq!(
        h.replies(),
        [(json!("b"), json!([{"rows": [{"n": 1, "e": 7}]}]))]
    );
}
