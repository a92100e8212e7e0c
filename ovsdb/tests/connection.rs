//! The handle against a server in memory that drops connections, lags, and loses answers.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Rows, Server, schema, uuid};
use ovsdb::connection::{Config, Connection, Endpoint, Event, TransactError};
use ovsdb::jsonrpc::{Framer, Message};
use ovsdb::replica::{Change, ColumnError, Selection, Transaction};
use ovsdb::{Clause, Datum, Function, Uuid};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::Notify;

/// A server that any number of connections may be made to, one after another.
#[derive(Clone)]
struct Shared {
    server: Arc<Mutex<Server>>,
    /// Ends the connection that is there.
    drop: Arc<Notify>,
    /// Something is to be sent.
    wake: Arc<Notify>,
    /// How many answers to `transact` get lost with their connection.
    lose: Arc<Mutex<usize>>,
    /// Whether it only listens.
    mute: Arc<Mutex<bool>>,
}

impl Shared {
    fn new(rows: Rows) -> Self {
        Self {
            server: Arc::new(Mutex::new(Server::new(rows))),
            drop: Arc::default(),
            wake: Arc::default(),
            lose: Arc::default(),
            mute: Arc::default(),
        }
    }

    fn endpoint(&self, name: &str) -> Endpoint {
        let this = self.clone();
        Endpoint::new(name, move || {
            let this = this.clone();
            async move {
                let (here, there) = tokio::io::duplex(64);
                this.server.lock().unwrap().disconnect();
                tokio::spawn(async move { this.serve(there).await });
                Ok(here)
            }
        })
    }

    async fn serve(self, mut stream: DuplexStream) {
        let mut framer = Framer::default();
        let mut buffer = [0; 4096];
        loop {
            let count = tokio::select! {
                count = stream.read(&mut buffer) => count.unwrap(),
                () = self.wake.notified() => usize::MAX,
                () = self.drop.notified() => return,
            };
            if count == 0 {
                return;
            }
            if *self.mute.lock().unwrap() {
                continue;
            }
            if count != usize::MAX {
                framer.push(&buffer[..count]);
            }
            let mut output = Vec::new();
            while let Some(message) = framer.poll_message().unwrap() {
                let is_transaction =
                    matches!(&message, Message::Request { method, .. } if method == "transact");
                let mut server = self.server.lock().unwrap();
                server.handle(message);
                let mut lose = self.lose.lock().unwrap();
                if is_transaction && *lose > 0 {
                    *lose -= 1;
                    return;
                }
                output.extend(server.take_output());
            }
            output.extend(self.server.lock().unwrap().take_output());
            for message in output {
                if stream.write_all(&message.to_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }

    fn commit(&self, change: impl FnOnce(&mut Rows)) {
        let mut server = self.server.lock().unwrap();
        let mut rows = server.rows().clone();
        change(&mut rows);
        server.commit(rows);
        drop(server);
        self.wake.notify_one();
    }

    fn names(&self) -> Vec<String> {
        let server = self.server.lock().unwrap();
        server.rows().values().map(|row| row.0.clone()).collect()
    }

    fn transactions(&self) -> usize {
        let server = self.server.lock().unwrap();
        let asked = server.asked.iter();
        asked.filter(|(method, _)| method == "transact").count()
    }
}

fn quick() -> Config {
    Config {
        min_backoff: Duration::from_millis(5),
        max_backoff: Duration::from_millis(20),
        ..Config::default()
    }
}

fn connection(endpoints: Vec<Endpoint>) -> Connection {
    Connection::with_config(Selection::everything(schema()), endpoints, quick())
}

fn one_row() -> Rows {
    Rows::from([(uuid(1), ("a".to_owned(), 1))])
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), test)
            .await
            .expect("the test ends in time");
    });
}

/// Makes sure that a row called `name` is there.
fn add(name: &str) -> impl FnMut(&mut Transaction<'_>) -> Result<Option<Uuid>, ColumnError> {
    move |txn| {
        if txn.replica().find("Port", "name", name).is_some() {
            return Ok(None);
        }
        let row = Uuid::new_v4();
        txn.insert("Port", row);
        txn.write("Port", row, "name", name);
        Ok(Some(row))
    }
}

/// Adds one to the tag of row 1.
fn count(txn: &mut Transaction<'_>) -> Result<i64, ColumnError> {
    let row = txn.replica().row("Port", uuid(1)).expect("row 1");
    let next = row.value::<i64>("tag")? + 1;
    txn.rely_on("Port", uuid(1), "tag");
    txn.write("Port", uuid(1), "tag", next);
    Ok(next)
}

#[test]
fn reads_transacts_and_follows_over_a_reconnection() {
    run(async {
        let shared = Shared::new(one_row());
        let mut db = connection(vec![shared.endpoint("one")]);
        assert!(!db.is_connected());
        let changes = db.changed().await;
        assert_eq!(changes["Port"][&uuid(1)], Change::Inserted);

        let done = db.transact(add("b")).await.unwrap();
        let real = done.inserted[&done.value.unwrap()];
        let row = db.replica().row("Port", real).unwrap();
        assert_eq!(row.value("name"), Ok("b"));
        assert_eq!(db.changed().await["Port"][&real], Change::Inserted);

        shared.drop.notify_one();
        let Event::Disconnected { endpoint, reason } = db.next().await else {
            panic!("the end of the connection is told");
        };
        assert_eq!((endpoint.as_str(), reason.as_str()), ("one", "end of file"));
        assert_eq!(db.last_error(), Some("end of file"));
        assert_eq!(db.replica().len("Port"), 2);
        shared.commit(|rows| {
            rows.remove(&uuid(1));
        });
        assert_eq!(db.changed().await["Port"][&uuid(1)], Change::Deleted);
        assert_eq!(db.last_error(), None);
    });
}

#[test]
fn a_transaction_that_relied_on_old_values_is_built_again() {
    run(async {
        let shared = Shared::new(one_row());
        let mut db = connection(vec![shared.endpoint("one")]);
        db.synced().await;
        let mut runs = 0;
        let done = db
            .transact(|txn| {
                runs += 1;
                if runs == 1 {
                    // Somebody else is faster, and the update is not here yet.
                    shared.commit(|rows| rows.get_mut(&uuid(1)).unwrap().1 = 40);
                }
                count(txn)
            })
            .await
            .unwrap();
        assert_eq!((done.value, runs), (41, 2));
        assert_eq!(shared.server.lock().unwrap().rows()[&uuid(1)].1, 41);
    });
}

#[test]
fn a_lost_answer_is_unknown_to_one_and_made_sure_of_by_the_other() {
    run(async {
        let shared = Shared::new(one_row());
        let mut db = connection(vec![shared.endpoint("one")]);
        *shared.lose.lock().unwrap() = 1;
        assert_eq!(db.transact(count).await, Err(TransactError::Unknown));
        // It was committed: the replica tells.
        db.synced().await;
        assert_eq!(
            db.replica().row("Port", uuid(1)).unwrap().value("tag"),
            Ok(2i64)
        );

        *shared.lose.lock().unwrap() = 2;
        let sent = shared.transactions();
        db.ensure(add("b")).await.unwrap();
        // The first was committed, so nothing was left to be sent.
        assert_eq!(shared.transactions(), sent + 1);
        assert_eq!(shared.names().iter().filter(|name| *name == "b").count(), 1);
    });
}

#[test]
fn a_body_that_gives_up_sends_nothing() {
    run(async {
        let shared = Shared::new(one_row());
        let mut db = connection(vec![shared.endpoint("one")]);
        let refused = db.transact(|_| Err::<(), _>("no")).await;
        assert_eq!(refused, Err(TransactError::Body("no")));
        assert_eq!(shared.transactions(), 0);
    });
}

#[test]
fn another_endpoint_is_tried_at_once_and_a_follower_passed_over() {
    run(async {
        let (follower, leader) = (Shared::new(Rows::new()), Shared::new(one_row()));
        follower.server.lock().unwrap().leader = false;
        let refusing = Endpoint::new("nobody", || async {
            Err::<DuplexStream, _>(std::io::ErrorKind::ConnectionRefused.into())
        });
        let endpoints = vec![
            refusing,
            follower.endpoint("follower"),
            leader.endpoint("leader"),
        ];
        let config = Config {
            // No pause before every endpoint was tried.
            min_backoff: Duration::from_secs(100),
            ..quick()
        };
        let mut db = Connection::with_config(Selection::everything(schema()), endpoints, config);
        let mut failures = Vec::new();
        loop {
            match db.next().await {
                Event::Disconnected { endpoint, reason } => failures.push((endpoint, reason)),
                Event::Synced => break,
                _ => {}
            }
        }
        let expected = [
            ("nobody", "connection refused"),
            (
                "follower",
                "clustered database server is not the cluster's leader",
            ),
        ];
        let failures: Vec<_> = failures.iter().map(|(a, b)| (&**a, &**b)).collect();
        assert_eq!(failures, expected);
        assert_eq!(db.replica().len("Port"), 1);
    });
}

#[test]
fn a_silent_server_is_probed_and_given_up() {
    run(async {
        let shared = Shared::new(one_row());
        let config = Config {
            probe_interval: Some(Duration::from_millis(50)),
            ..quick()
        };
        let endpoints = vec![shared.endpoint("one")];
        let mut db = Connection::with_config(Selection::everything(schema()), endpoints, config);
        db.synced().await;
        // It answers probes: nothing happens.
        let quiet = tokio::time::timeout(Duration::from_millis(300), db.next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        *shared.mute.lock().unwrap() = true;
        let Event::Disconnected { reason, .. } = db.next().await else {
            panic!("the server is given up");
        };
        assert_eq!(reason, "no answer in time");
        *shared.mute.lock().unwrap() = false;
        db.synced().await;
    });
}

#[test]
fn conditions_and_locks_outlive_a_connection() {
    run(async {
        let mut rows = one_row();
        rows.insert(uuid(2), ("b".to_owned(), 2));
        let shared = Shared::new(rows);
        let mut db = connection(vec![shared.endpoint("one")]);
        db.set_lock(Some("l"));
        db.locked().await;
        db.synced().await;
        let second = Clause::new("tag", Function::Equal, Datum::integer(2));
        db.set_condition("Port", &[second]).unwrap();
        db.conditions_met().await;
        assert_eq!(db.replica().len("Port"), 1);
        shared.drop.notify_one();
        while !matches!(db.next().await, Event::Disconnected { .. }) {}
        assert!(!db.has_lock());
        db.locked().await;
        db.conditions_met().await;
        let row = db.replica().rows("Port").next().unwrap();
        assert_eq!(row.uuid(), uuid(2));
    });
}
