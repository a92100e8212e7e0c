//! The requests that clients send.
//!
//! Source: RFC 7047, 4.1; ovsdb-server(7), 4.1.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use ovsdb::error::Result;
use ovsdb::jsonrpc::Message;
use ovsdb::schema::is_id;
use ovsdb::value::parse_uuid;
use ovsdb::{Error, ErrorKind, Uuid};
use serde_json::{Value, json};

use super::transact::Operations;
use super::{MAX_PER_SESSION, Managed, Nature, Output, Server, SessionId};
use crate::monitor::Version;

/// What a request is answered with at once, and the database whose contents that tells of.
type Answer = Result<(Value, Option<Arc<str>>)>;

impl Server {
    pub(super) fn handle_request(
        &mut self,
        session: SessionId,
        id: Value,
        method: &str,
        params: Value,
        now: Instant,
    ) {
        if method != "transact" {
            // The answer may be about what the client's monitors show.
            self.catch_up(session);
        }
        let answer = match method {
            "transact" => match self.find_database(method, &params) {
                Ok(managed) => {
                    let name = managed.name.clone();
                    let mut operations = match params {
                        Value::Array(items) => items,
                        _ => Vec::new(),
                    };
                    operations.drain(..operations.len().min(1));
                    let operations = Operations::Json(operations);
                    self.request_transact(session, id, name, operations, now);
                    return;
                }
                Err(error) => Err(error),
            },
            "convert" => return self.request_convert(session, id, &params),
            "echo" => Ok((params, None)),
            "list_dbs" => Ok((
                self.databases.keys().map(|name| json!(&**name)).collect(),
                None,
            )),
            "get_server_id" => Ok((json!(self.server_id.hyphenated().to_string()), None)),
            "get_schema" => self
                .find_database(method, &params)
                .map(|managed| (managed.db.schema().to_json(), None)),
            "set_db_change_aware" => self.set_db_change_aware(session, &params),
            "lock" | "steal" => self.request_lock(session, method, &params),
            "unlock" => self.request_unlock(session, &params),
            "monitor" | "monitor_cond" | "monitor_cond_since" => {
                match self.request_monitor(session, method, &params) {
                    Ok((result, database)) => {
                        let text = reply_text(&id, [&result[..]]);
                        self.send_contents(session, text, database);
                        return;
                    }
                    Err(error) => Err(error),
                }
            }
            "monitor_cond_change" => self.request_monitor_change(session, &params),
            "monitor_cancel" => self.request_monitor_cancel(session, &params),
            _ => Err(Error {
                kind: ErrorKind::UnknownMethod,
                details: None,
                syntax: None,
            }),
        };
        let (message, database) = match answer {
            Ok((result, database)) => (Message::reply(id, result), database),
            // These are bare strings on the wire.
            Err(error) if error.details.is_none() => {
                (Message::error(id, json!(error.kind.as_str())), None)
            }
            Err(error) => (Message::error(id, error.to_json()), None),
        };
        let nature = if database.is_some() {
            Nature::Contents
        } else {
            Nature::Plain
        };
        self.send(session, message, nature, database);
    }

    /// The database that the first parameter names.
    pub(super) fn find_database(&self, method: &str, params: &Value) -> Result<&Managed> {
        let Some(name) = params.get(0).and_then(Value::as_str) else {
            let details = format!("{method} request params must begin with <db-name>");
            return Err(Error::syntax(params, details));
        };
        self.databases.get(name).ok_or_else(|| {
            Error::with_syntax(
                ErrorKind::UnknownDatabase,
                params,
                format!("{method} request specifies unknown database {name}"),
            )
        })
    }

    fn set_db_change_aware(&mut self, session: SessionId, params: &Value) -> Answer {
        let Some([Value::Bool(aware)]) = params.as_array().map(Vec::as_slice) else {
            return Err(Error::syntax(
                params,
                "set_db_change_aware: true or false parameter expected",
            ));
        };
        if let Some(session) = self.sessions.get_mut(&session) {
            session.db_change_aware = *aware;
        }
        Ok((json!({}), None))
    }

    fn request_lock(&mut self, session: SessionId, method: &str, params: &Value) -> Answer {
        let lock = lock_name(method, params)?;
        if self.locks.has(session, lock) {
            return Err(Error::syntax(
                params,
                format!("must issue \"unlock\" before new \"{method}\""),
            ));
        }
        if self.locks.count(session) >= MAX_PER_SESSION {
            return Err(Error::new(ErrorKind::ResourcesExhausted, "too many locks"));
        }
        let locked = if method == "steal" {
            if let Some(victim) = self.locks.steal(session, lock) {
                self.notify_lock(victim, "stolen", lock);
            }
            true
        } else {
            self.locks.lock(session, lock)
        };
        Ok((json!({"locked": locked}), None))
    }

    fn request_unlock(&mut self, session: SessionId, params: &Value) -> Answer {
        let lock = lock_name("unlock", params)?;
        if !self.locks.has(session, lock) {
            return Err(Error::syntax(
                params,
                "unlock: \"unlock\" without \"lock\" or \"steal\"",
            ));
        }
        if let Some(next) = self.locks.unlock(session, lock) {
            self.notify_lock(next, "locked", lock);
        }
        Ok((json!({}), None))
    }

    fn request_monitor(
        &mut self,
        session: SessionId,
        method: &str,
        params: &Value,
    ) -> Result<(Vec<u8>, Arc<str>)> {
        let version = match method {
            "monitor" => Version::V1,
            "monitor_cond" => Version::V2,
            _ => Version::V3,
        };
        let name = self.find_database(method, params)?.name.clone();
        let invalid = || Error::syntax(params, "invalid parameters");
        let params_array = params.as_array().map(Vec::as_slice);
        let (id, requests, last_id) = match (params_array, version) {
            // More is ignored, as by ovsdb-server.
            (Some([_, id, requests, ..]), Version::V1) => (id, requests, None),
            (Some([_, id, requests]), Version::V2) => (id, requests, None),
            (Some([_, id, requests, last]), Version::V3) => {
                (id, requests, Some(last_txn_id(last)?))
            }
            _ => return Err(invalid()),
        };
        let client = self.sessions.get(&session).ok_or_else(invalid)?;
        if client.monitors.iter().any(|(other, _, _)| other == id) {
            return Err(Error::syntax(id, "duplicate monitor ID"));
        }
        if client.monitors.len() >= MAX_PER_SESSION {
            return Err(Error::new(
                ErrorKind::ResourcesExhausted,
                "too many monitors",
            ));
        }
        let managed = self.databases.get_mut(&name).ok_or_else(invalid)?;
        let monitor = managed.shared.get(&managed.db, requests, version)?;
        let result = match last_id {
            None => monitor.initial(&managed.db),
            Some(last_id) => {
                managed.history.keep();
                let missed = managed.history.since(last_id);
                let mut result = format!(
                    "[{},\"{}\",",
                    missed.is_some(),
                    managed.history.last().hyphenated()
                )
                .into_bytes();
                result.append(&mut match missed {
                    Some(missed) => monitor
                        .update(&managed.db, &missed)
                        .unwrap_or_else(|| b"{}".to_vec()),
                    None => monitor.initial(&managed.db),
                });
                result.push(b']');
                result
            }
        };
        let entry = (id.clone(), name.clone(), monitor);
        self.audiences.forget();
        if let Some(session) = self.sessions.get_mut(&session) {
            session.monitors.push(entry);
        }
        Ok((result, name))
    }

    fn request_monitor_change(&mut self, session_id: SessionId, params: &Value) -> Answer {
        let Some([old_id, new_id, requests]) = params.as_array().map(Vec::as_slice) else {
            return Err(Error::syntax(params, "invalid parameters"));
        };
        let unknown = || Error::syntax(old_id, "unknown monitor session");
        self.audiences.forget();
        let session = self.sessions.get_mut(&session_id).ok_or_else(unknown)?;
        if old_id != new_id && session.monitors.iter().any(|(id, _, _)| id == new_id) {
            return Err(Error::syntax(new_id, "duplicate monitor ID"));
        }
        let (id, database, monitor) = session
            .monitors
            .iter_mut()
            .find(|(id, _, _)| id == old_id)
            .ok_or_else(unknown)?;
        let managed = self.databases.get(database).ok_or_else(unknown)?;
        let name = managed.name.clone();
        let monitor = Arc::make_mut(monitor);
        let updates = monitor.change_conditions(&managed.db, requests)?;
        id.clone_from(new_id);
        if let Some(updates) = updates {
            let text = monitor.notification(new_id, managed.history.last(), &updates);
            self.send_contents(session_id, text, name.clone());
        }
        Ok((json!({}), Some(name)))
    }

    pub(super) fn send_contents(&mut self, session: SessionId, text: Vec<u8>, database: Arc<str>) {
        self.outputs.push_back(Output::Text {
            session,
            text: text.into(),
            nature: Nature::Contents,
            database,
        });
    }

    fn request_monitor_cancel(&mut self, session: SessionId, params: &Value) -> Answer {
        let bare = |kind| Error {
            kind,
            details: None,
            syntax: None,
        };
        let Some([id]) = params.as_array().map(Vec::as_slice) else {
            return Err(bare(ErrorKind::InvalidParameters));
        };
        self.audiences.forget();
        let monitors = self
            .sessions
            .get_mut(&session)
            .map(|session| &mut session.monitors);
        let found = monitors.and_then(|monitors| {
            let position = monitors.iter().position(|(other, _, _)| other == id)?;
            Some(monitors.remove(position))
        });
        found
            .map(|_| (json!({}), None))
            .ok_or_else(|| bare(ErrorKind::UnknownMonitor))
    }
}

/// The one parameter of the lock methods.
fn lock_name<'a>(method: &str, params: &'a Value) -> Result<&'a str> {
    match params.as_array().map(Vec::as_slice) {
        Some([Value::String(name)]) if is_id(name) => Ok(name),
        _ => Err(Error::syntax(
            params,
            format!("{method} request params must be <id>"),
        )),
    }
}

/// The text of a reply whose result is text already, in parts.
pub(super) fn reply_text<const N: usize>(id: &Value, result: [&[u8]; N]) -> Vec<u8> {
    let length: usize = result.iter().map(|part| part.len()).sum();
    let mut text = Vec::with_capacity(length.saturating_add(64));
    text.extend_from_slice(b"{\"error\":null,\"id\":");
    // A vector takes all that is written.
    let _ = write!(text, "{id}");
    text.extend_from_slice(b",\"result\":");
    for part in result {
        text.extend_from_slice(part);
    }
    text.push(b'}');
    text
}

fn last_txn_id(json: &Value) -> Result<Uuid> {
    let text = json
        .as_str()
        .ok_or_else(|| Error::syntax(json, "last-txn-id must be string"))?;
    parse_uuid(text).ok_or_else(|| Error::syntax(json, "last-txn-id must be UUID format."))
}
