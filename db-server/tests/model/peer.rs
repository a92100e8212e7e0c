//! What a sequence of requests is put to: the server's core, or a stock server.

use std::time::Instant;

use db_server::database::Database;
use db_server::log;
use db_server::server::{Output, Server};
use db_server::txn;
use ovsdb::jsonrpc::{Framer, Message};
use ovsdb::{DatabaseSchema, Uuid};
use serde_json::{Value, json};

use super::reference::schema::Schema;
use super::source::Source;

/// Notifications in the order in which they came: method and parameters.
pub type Notes = Vec<(String, Value)>;

/// One connection to a server.
pub trait Peer {
    /// Sends a request; gives the notifications that came before its reply, and the reply.
    fn call(&mut self, method: &str, params: Value) -> (Notes, Result<Value, Value>);

    /// The core under test, when it is one.
    fn core(&mut self) -> Option<&mut Core> {
        None
    }
}

/// The server's core with one session, and another one that writes while the first lags, and what
/// the core would have written.
pub struct Core {
    server: Server,
    name: String,
    next_id: u64,
    ticket: u64,
    /// The file as it is, and the texts of the records that are not durable yet.
    file: Vec<u8>,
    unsynced: Vec<Vec<u8>>,
    lags: bool,
}

const SESSION: u64 = 7;
const WRITER: u64 = 8;

impl Core {
    pub fn new(schema: &Schema, seed: u64, column_diff: bool) -> Self {
        let parsed = DatabaseSchema::from_json(&schema.to_json()).expect("a valid schema");
        Self::with(Database::new(parsed), schema, seed, column_diff)
    }

    fn with(db: Database, schema: &Schema, seed: u64, column_diff: bool) -> Self {
        let mut uuids = Source::seeded(seed ^ 0x5eed);
        let new_uuid = move || {
            let words = [uuids.below(1 << 62), uuids.below(1 << 62)];
            Uuid::from_u64_pair(words[0] as u64, words[1] as u64)
        };
        let mut server = Server::new(Box::new(new_uuid), column_diff);
        server.add_database(db);
        for session in [SESSION, WRITER] {
            server.handle_connect(session, Default::default());
        }
        while server.poll_output().is_some() {}
        Self {
            server,
            name: schema.name.clone(),
            next_id: 0,
            ticket: 0,
            file: log::encode(&schema.to_json()),
            unsynced: Vec::new(),
            lags: false,
        }
    }

    pub fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// The records so far are written, or cannot be.
    pub fn settle(&mut self, durable: bool) {
        let unsynced = std::mem::take(&mut self.unsynced);
        if durable {
            let mut batch = Vec::new();
            for record in unsynced {
                log::append(&mut batch, &record);
            }
            self.file.extend(batch);
            self.server.handle_durable(self.ticket);
        } else {
            self.server.handle_lost(&self.name);
        }
        while self.server.poll_output().is_some() {}
    }

    /// Whether the session lags. Then somebody else makes the transactions.
    pub fn lags(&self) -> bool {
        self.lags
    }

    /// The session lags, or has caught up and is told what happened.
    pub fn set_lags(&mut self, lags: bool) -> Notes {
        self.lags = lags;
        self.server.handle_lag(SESSION, lags);
        self.said().0
    }

    /// What the server has said: notifications, and the reply after them.
    fn said(&mut self) -> (Notes, Option<Result<Value, Value>>) {
        let mut messages = Vec::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Record { ticket, record, .. } => {
                    self.ticket = ticket;
                    self.unsynced.push(record);
                }
                Output::Send { message, .. } => messages.push(message),
                Output::Text { text, .. } | Output::Updates { text, .. } => {
                    let mut framer = Framer::default();
                    framer.push(&text);
                    messages.push(framer.poll_message().expect("valid").expect("whole"));
                }
                Output::Close { reason, .. } => panic!("closed: {reason}"),
                Output::Replace { .. } => panic!("nobody asked for a conversion"),
                Output::Changed { .. } => {}
            }
        }
        let mut notes = Notes::new();
        let mut reply = None;
        for message in messages {
            match message {
                Message::Notification { method, params } => {
                    assert!(reply.is_none(), "an update after the reply");
                    notes.push((method, params));
                }
                Message::Response { result, .. } => reply = Some(result),
                Message::Request { .. } => panic!("a request from the server"),
            }
        }
        (notes, reply)
    }

    /// Compares what is derived from rows with the rows.
    pub fn check_derived(&self) -> Result<(), String> {
        let db = self.server.database(&self.name).ok_or("no database")?;
        db.check_derived()
    }

    /// A core that has read this one's file.
    pub fn reopened(&self, schema: &Schema) -> Result<Self, String> {
        let loaded = log::load(&self.file).map_err(|error| error.to_string())?;
        if loaded.end != self.file.len() as u64 {
            return Err(format!("only {} bytes of the file are read", loaded.end));
        }
        let mut db = loaded.db;
        txn::adopt(&mut db, loaded.rows, &mut Uuid::new_v4).map_err(|error| error.to_string())?;
        let core = Self::with(db, schema, 1, true);
        core.check_derived()?;
        Ok(core)
    }
}

impl Peer for Core {
    fn call(&mut self, method: &str, params: Value) -> (Notes, Result<Value, Value>) {
        self.next_id += 1;
        let asked = format!("no reply to {method} {params}");
        let request = Message::request(json!(self.next_id), method, params);
        let session = match method {
            "transact" if self.lags => WRITER,
            _ => SESSION,
        };
        self.server
            .handle_message(session, request, Instant::now(), 0);
        let (notes, reply) = self.said();
        (notes, reply.expect(&asked))
    }

    fn core(&mut self) -> Option<&mut Core> {
        Some(self)
    }
}
