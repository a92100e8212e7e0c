//! Monitors' notifications on their way to the clients' sockets.
//!
//! Updates go to all who monitor, at a system call each, so with many of them a server could do
//! little else. After that took a while, the next updates gather here for a few times as long, once
//! for each group of clients that are told the same, and then share a call. Whatever else is sent
//! to one of these clients, such as the reply to its transaction, takes along what gathers for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::HashMap;

use super::{Client, Sink};
use crate::connection::Outgoing;
use crate::server::{Group, SessionId};

/// Writing to so few takes no time worth to be spread.
const FEW: usize = 16;
/// How much longer updates gather than it took to write the ones before.
const GATHER: u32 = 4;
/// The longest that they do.
const MAX_GATHER: Duration = Duration::from_millis(50);
/// The most bytes for one group.
const MAX_BYTES: usize = 1 << 20;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Updates {
    /// Of which generation the groups are.
    generation: u64,
    groups: BTreeMap<usize, Gathered>,
    /// The group of each client, and how many of its texts the client has already.
    places: HashMap<SessionId, (usize, usize)>,
    /// When they may be written.
    next: Option<Instant>,
}

#[derive(Debug)]
struct Gathered {
    group: Arc<Group>,
    texts: Vec<Arc<[u8]>>,
    bytes: usize,
}

impl Updates {
    /// Takes a notification for a group.
    pub fn add(
        &mut self,
        group: &Arc<Group>,
        text: Arc<[u8]>,
        clients: &HashMap<SessionId, Client>,
    ) {
        // So that no client is in two groups that wait.
        if group.generation != self.generation {
            self.write(clients);
            self.generation = group.generation;
        }
        let gathered = self.groups.entry(group.number).or_insert_with(|| {
            let places = group.sessions.iter();
            self.places
                .extend(places.map(|session| (*session, (group.number, 0))));
            Gathered {
                group: group.clone(),
                texts: Vec::new(),
                bytes: 0,
            }
        });
        gathered.bytes = gathered.bytes.saturating_add(text.len());
        gathered.texts.push(text);
        if gathered.bytes > MAX_BYTES {
            self.next = None;
        }
    }

    /// Gives a client what gathers for it, because something else is about to be sent to it.
    pub fn catch_up(&mut self, session: SessionId, client: &Client) {
        // Nearly always there is nothing.
        if self.groups.is_empty() {
            return;
        }
        let Some((group, taken)) = self.places.get_mut(&session) else {
            return;
        };
        let Some(gathered) = self.groups.get(group) else {
            return;
        };
        for text in gathered.texts.iter().skip(*taken) {
            client.outgoing.send(Outgoing::Text(text.clone()));
        }
        *taken = gathered.texts.len();
    }

    /// Writes all updates when it is time for them.
    pub fn write_due(&mut self, clients: &HashMap<SessionId, Client>) {
        if self.groups.is_empty() {
            return;
        }
        let begin = Instant::now();
        if self.next.is_some_and(|next| begin < next) {
            return;
        }
        let count = self.places.len();
        self.write(clients);
        let gather = begin.elapsed().saturating_mul(GATHER).min(MAX_GATHER);
        let next = (count > FEW).then(|| Instant::now().checked_add(gather));
        self.next = next.flatten();
    }

    /// When [`Updates::write_due`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.next.filter(|_| !self.groups.is_empty())
    }

    fn write(&mut self, clients: &HashMap<SessionId, Client>) {
        for gathered in std::mem::take(&mut self.groups).into_values() {
            let all = gathered.texts.concat();
            for session in &gathered.group.sessions {
                let Some(client) = clients.get(session) else {
                    continue;
                };
                let place = self.places.get(session);
                let taken = place.map_or(0, |(_, taken)| *taken);
                match &client.outgoing {
                    Sink::Socket(outbox) if taken == 0 => outbox.write_now(&all),
                    Sink::Socket(outbox) => {
                        let rest = gathered.texts.get(taken..).unwrap_or_default();
                        outbox.write_now(&rest.concat());
                    }
                    sink @ Sink::Task(_) => {
                        for text in gathered.texts.iter().skip(taken) {
                            sink.send(Outgoing::Text(text.clone()));
                        }
                    }
                }
            }
        }
        self.places.clear();
    }
}
