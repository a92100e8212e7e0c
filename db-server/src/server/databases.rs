//! Databases that come, go and change their schema while clients are there.
//!
//! Source: ovsdb-server(7), 4.1.7, 4.1.18 and 4.1.19.

use std::sync::Arc;

use ovsdb::error::Result;
use ovsdb::jsonrpc::Message;
use ovsdb::{DatabaseSchema, Error, ErrorKind};
use serde_json::{Value, json};

use super::{Nature, Output, Server, SessionId, Undo, Unsynced, meta};
use crate::convert::{self, Unset};
use crate::history::History;
use crate::record;

/// Why connections end after a conversion.
const CONVERTED: &str = "a database has another schema";

impl Server {
    /// Takes a database away; false when there is none of this name. Its file is the shell's.
    pub fn remove_database(&mut self, name: &str) -> bool {
        if name == meta::NAME || !self.databases.contains_key(name) {
            return false;
        }
        self.leave_database(name, None, "removing a database");
        if let Some(managed) = self.databases.remove(name) {
            let database = managed.name;
            self.outputs.push_back(Output::Changed { database });
        }
        self.unsynced.retain(|unsynced| *unsynced.database != *name);
        self.refresh_meta();
        true
    }

    /// Gives a database another schema, and its file the contents in the new form.
    ///
    /// Errors: the name is another one, or the contents do not fit; then nothing changes.
    pub fn convert_database(&mut self, name: &str, schema: DatabaseSchema) -> Result<()> {
        self.convert(name, schema, None)
    }

    /// The same; `client` is not disconnected before it has its answer.
    fn convert(
        &mut self,
        name: &str,
        schema: DatabaseSchema,
        client: Option<SessionId>,
    ) -> Result<()> {
        let Some(managed) = self.databases.get_mut(name) else {
            let details = format!("there is no database named {name}");
            return Err(Error::new(ErrorKind::UnknownDatabase, details));
        };
        if !managed.durable {
            let details = format!("convert operation not allowed on reserved database {name}");
            return Err(Error::new(ErrorKind::NotAllowed, details));
        }
        if schema.name != name {
            let details = format!(
                "new schema name ({}) does not match database name ({name})",
                schema.name
            );
            return Err(Error::new(ErrorKind::InvalidParameters, details));
        }
        let db = convert::convert(&managed.db, schema, Unset::Convert, &mut self.new_uuid)?;
        let mut records = vec![db.schema().to_json().to_string().into_bytes()];
        records.extend(record::encode(
            &db,
            &record::snapshot(&db),
            Some("converted by ovsdb-server"),
            self.date_ms,
            self.column_diff,
        ));
        // The new contents have no history that clients of the old ones could go on from.
        let history = History::new((self.new_uuid)());
        let before = (
            std::mem::replace(&mut managed.db, db),
            std::mem::replace(&mut managed.history, history),
        );
        let database = managed.name.clone();
        self.last_ticket = self.last_ticket.saturating_add(1);
        let ticket = self.last_ticket;
        self.unsynced.push_back(Unsynced {
            ticket,
            database: database.clone(),
            undo: Undo::Conversion(Box::new(before)),
        });
        self.outputs.push_back(Output::Replace {
            database: database.clone(),
            ticket,
            records,
        });
        self.leave_database(name, client, CONVERTED);
        self.outputs.push_back(Output::Changed { database });
        self.refresh_meta();
        Ok(())
    }

    /// Ends everything that hangs on the contents of a database: transactions that wait, and
    /// monitors. Clients that do not follow such changes are disconnected.
    pub(super) fn leave_database(
        &mut self,
        name: &str,
        except: Option<SessionId>,
        reason: &'static str,
    ) {
        let (waiting, parked): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked| *parked.database == *name);
        self.parked = parked;
        let name = self.databases.get(name).map(|managed| managed.name.clone());
        self.audiences.forget();
        let mut canceled = Vec::new();
        let mut unaware: Vec<SessionId> = Vec::new();
        for (id, session) in &mut self.sessions {
            if let (Some(behind), Some(name)) = (&mut session.behind, &name) {
                behind.forget(name);
            }
            if session.db_change_aware {
                session.monitors.retain(|(monitor, database, _)| {
                    let stays = Some(database) != name.as_ref();
                    if !stays {
                        canceled.push((*id, monitor.clone()));
                    }
                    stays
                });
            } else if Some(*id) != except {
                unaware.push(*id);
            }
        }
        for (session, monitor) in canceled {
            let message = Message::notification("monitor_canceled", json!([monitor]));
            // Should the change be taken back, the client has to make its monitors again.
            self.send(session, message, Nature::Contents, name.clone());
        }
        // The others are about to be disconnected.
        for txn in waiting {
            let session = self.sessions.get(&txn.session);
            if session.is_some_and(|session| session.db_change_aware) {
                self.send_canceled(txn);
            }
        }
        self.disconnect(unaware, reason);
    }

    /// The `convert` request.
    pub(super) fn request_convert(&mut self, session: SessionId, id: Value, params: &Value) {
        match self.try_convert(session, params) {
            Ok(database) => {
                let reply = Message::reply(id, json!({}));
                self.send(session, reply, Nature::Transaction, Some(database));
                let unaware = self.sessions.get(&session).filter(|s| !s.db_change_aware);
                if unaware.is_some() {
                    self.disconnect([session], CONVERTED);
                }
            }
            Err(error) => self.send_plain(session, Message::error(id, error.to_json())),
        }
    }

    fn try_convert(&mut self, session: SessionId, params: &Value) -> Result<Arc<str>> {
        let name = self.find_database("convert", params)?.name.clone();
        let access = self.access(session, &name);
        access.check_convert(&name)?;
        if access.read_only {
            let details = "convert operation not allowed when database server is in read only mode";
            return Err(Error::new(ErrorKind::NotAllowed, details));
        }
        let Some([_, schema]) = params.as_array().map(Vec::as_slice) else {
            return Err(Error::syntax(params, "array expected"));
        };
        let schema = DatabaseSchema::from_json(schema)?;
        self.convert(&name, schema, Some(session))?;
        Ok(name)
    }

    /// Closes connections, after what was sent to them, by no fault of the clients.
    pub(super) fn disconnect(
        &mut self,
        sessions: impl IntoIterator<Item = SessionId>,
        reason: &'static str,
    ) {
        for session in sessions {
            self.outputs.push_back(Output::Close {
                session,
                reason,
                fault: false,
            });
            self.handle_disconnect(session);
        }
    }
}
