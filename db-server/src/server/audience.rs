//! Who is told of a transaction: clients that began the same monitors in the same order hear the
//! same, so what they are told is made and handed out once for all of them.

use std::sync::Arc;

use ahash::HashMap;
use ovsdb::Uuid;
use serde_json::Value;

use super::{Managed, Output, Server, Session, SessionId, behind};
use crate::database::{Database, Delta};
use crate::monitor::Monitor;

/// Clients that are told the same. A client is in one group of each generation at most.
#[derive(Debug)]
pub struct Group {
    /// Ascending; another one when any client's monitors changed.
    pub generation: u64,
    /// Which of its generation.
    pub number: usize,
    pub sessions: Vec<SessionId>,
}

/// A group and its monitors.
#[derive(Debug)]
struct Audience {
    group: Arc<Group>,
    monitors: Vec<(Value, Arc<str>, Arc<Monitor>)>,
}

/// The groups, as long as no client's monitors change.
#[derive(Debug, Default)]
pub(super) struct Audiences {
    generation: u64,
    audiences: Option<Vec<Audience>>,
    /// Whether there are clients that are behind, which are in no group.
    behind: bool,
}

impl Audiences {
    /// To be called when a client's monitors are about to change, or it is behind or no longer is.
    pub fn forget(&mut self) {
        self.audiences = None;
    }

    fn get<'s>(
        &mut self,
        sessions: impl Iterator<Item = (&'s SessionId, &'s Session)>,
    ) -> &[Audience] {
        self.audiences.get_or_insert_with(|| {
            self.generation = self.generation.saturating_add(1);
            self.behind = false;
            let mut by_monitors: HashMap<_, Vec<SessionId>> = HashMap::default();
            let mut order = Vec::new();
            for (id, session) in sessions.filter(|(_, session)| !session.monitors.is_empty()) {
                if session.behind.is_some() {
                    self.behind = true;
                    continue;
                }
                let monitors = session.monitors.iter();
                let key: Vec<(*const Monitor, &Value)> = monitors
                    .map(|(id, _, monitor)| (Arc::as_ptr(monitor), id))
                    .collect();
                let members = by_monitors.entry(key.clone()).or_default();
                if members.is_empty() {
                    order.push((key, &session.monitors));
                }
                members.push(*id);
            }
            let audiences = order.into_iter().enumerate();
            audiences
                .map(|(number, (key, monitors))| Audience {
                    group: Arc::new(Group {
                        generation: self.generation,
                        number,
                        sessions: by_monitors.remove(&key).unwrap_or_default(),
                    }),
                    monitors: monitors.clone(),
                })
                .collect()
        })
    }
}

impl Server {
    /// Hands out the updates that a transaction means to the monitors of its database, and gathers
    /// it for those who are behind. Gives those for which too much has gathered.
    pub(super) fn tell_audiences(&mut self, database: &str, delta: &Delta) -> Vec<SessionId> {
        let Some(managed) = self.databases.get(database) else {
            return Vec::new();
        };
        let audiences = self.audiences.get(self.sessions.iter());
        self.outputs.extend(updates(audiences, managed, delta));
        if !self.audiences.behind {
            return Vec::new();
        }
        behind::gather(&mut self.sessions, managed, delta)
    }
}

/// What a monitor shows is found out once for all that share it, and so is the message for those
/// that also know it by the same id.
fn updates(audiences: &[Audience], managed: &Managed, delta: &Delta) -> Vec<Output> {
    let mut shown: HashMap<*const Monitor, Option<Shown<'_>>> = HashMap::default();
    let mut outputs = Vec::new();
    for Audience { group, monitors } in audiences {
        for (id, database, monitor) in monitors {
            if **database != *managed.name {
                continue;
            }
            let shown = shown
                .entry(Arc::as_ptr(monitor))
                .or_insert_with(|| Shown::new(&managed.db, monitor, delta));
            let Some(shown) = shown else { continue };
            outputs.push(Output::Updates {
                group: group.clone(),
                text: shown.message(monitor, id, managed.history.last()),
                database: database.clone(),
            });
        }
    }
    outputs
}

/// What a monitor shows of a transaction.
struct Shown<'a> {
    updates: Vec<u8>,
    /// The id that was last asked for, and the message.
    latest: Option<(&'a Value, Arc<[u8]>)>,
}

impl<'a> Shown<'a> {
    fn new(db: &Database, monitor: &Monitor, delta: &Delta) -> Option<Self> {
        let updates = monitor.update(db, delta)?;
        Some(Self {
            updates,
            latest: None,
        })
    }

    fn message(&mut self, monitor: &Monitor, id: &'a Value, txn_id: Uuid) -> Arc<[u8]> {
        match &self.latest {
            Some((latest, message)) if *latest == id => message.clone(),
            _ => {
                let message: Arc<[u8]> = monitor.notification(id, txn_id, &self.updates).into();
                self.latest = Some((id, message.clone()));
                message
            }
        }
    }
}
