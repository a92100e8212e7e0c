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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    type Clients = HashMap<SessionId, Client>;
    type Heard = Vec<mpsc::UnboundedReceiver<Outgoing>>;

    /// More clients than updates are written to at once.
    const COUNT: SessionId = 20;

    fn clients() -> (Clients, Heard) {
        let mut clients = Clients::default();
        let mut heard = Vec::new();
        for session in 0..COUNT {
            let (sender, receiver) = mpsc::unbounded_channel();
            let client = Client {
                remote: "r".into(),
                peer: String::new(),
                inbox: None,
                outgoing: Sink::Task(sender),
                over: None,
            };
            clients.insert(session, client);
            heard.push(receiver);
        }
        (clients, heard)
    }

    fn group(generation: u64, number: usize, sessions: std::ops::Range<SessionId>) -> Arc<Group> {
        Arc::new(Group {
            generation,
            number,
            sessions: sessions.collect(),
        })
    }

    fn text(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    /// What each client got since the last time.
    fn said(heard: &mut Heard) -> Vec<String> {
        let of_one = |receiver: &mut mpsc::UnboundedReceiver<Outgoing>| {
            let mut all = String::new();
            while let Ok(Outgoing::Text(text)) = receiver.try_recv() {
                all += std::str::from_utf8(&text).unwrap();
            }
            all
        };
        heard.iter_mut().map(of_one).collect()
    }

    #[test]
    fn each_client_gets_all_in_order_and_once() {
        let (clients, mut heard) = clients();
        let mut updates = Updates::default();
        let (low, high) = (group(1, 0, 0..15), group(1, 1, 15..COUNT));
        updates.add(&low, text("a"), &clients);
        updates.add(&high, text("A"), &clients);
        // Something else is sent to one of each.
        for session in [3, 17] {
            updates.catch_up(session, &clients[&session]);
        }
        let now = said(&mut heard);
        assert_eq!((&*now[3], &*now[17]), ("a", "A"));
        assert_eq!(now.concat().len(), 2, "nobody else");
        updates.add(&low, text("b"), &clients);
        updates.catch_up(3, &clients[&3]);
        updates.catch_up(3, &clients[&3]);
        updates.add(&low, text("c"), &clients);
        updates.write_due(&clients);
        let now = said(&mut heard);
        assert_eq!((&*now[3], &*now[17]), ("bc", ""));
        assert_eq!((&*now[0], &*now[19]), ("abc", "A"));
        // Not written again, and what comes next is for all.
        updates.write(&clients);
        assert_eq!(said(&mut heard).concat(), "");
        updates.add(&low, text("d"), &clients);
        updates.write(&clients);
        assert_eq!(said(&mut heard).concat(), "d".repeat(15));
    }

    #[test]
    fn updates_to_many_gather_and_groups_that_change_come_behind() {
        let (clients, mut heard) = clients();
        let mut updates = Updates::default();
        let all = group(1, 0, 0..COUNT);
        updates.add(&all, text("a"), &clients);
        assert!(updates.deadline().is_none(), "the first ones need not wait");
        updates.write_due(&clients);
        assert_eq!(said(&mut heard).concat(), "a".repeat(20));
        updates.next = Instant::now().checked_add(MAX_GATHER * 1000);
        updates.add(&all, text("b"), &clients);
        updates.write_due(&clients);
        assert!(updates.deadline().is_some());
        assert_eq!(said(&mut heard).concat(), "");
        // One client left the group, and another one came to it.
        updates.add(&group(2, 0, 1..COUNT), text("c"), &clients);
        assert_eq!(said(&mut heard).concat(), "b".repeat(20));
        // Much is not kept.
        updates.add(
            &group(2, 0, 1..COUNT),
            vec![b'd'; MAX_BYTES].into(),
            &clients,
        );
        updates.write_due(&clients);
        let now = said(&mut heard);
        assert_eq!((now[0].len(), now[1].len()), (0, MAX_BYTES + 1));
    }
}
