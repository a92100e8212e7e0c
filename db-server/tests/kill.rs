//! kill -9 at random moments under load: everything that was acknowledged is there afterwards.
//!
//! `SLUICE_KILL_ROUNDS` says how often (25 unless told).

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use common::{Client, Process};
use serde_json::{Value, json};

const WRITERS: usize = 4;

/// What one writer knows after its connection broke.
#[derive(Debug, Default)]
struct Acknowledged {
    /// Rows inserted for good, and rows of which nothing is known.
    inserted: BTreeSet<String>,
    unknown: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// The least value that the writer's counter row can have, and the most.
    counter: (i64, i64),
}

/// Inserts rows, deletes some again and counts in a row of its own, until the server is gone.
fn write(socket: &Path, tag: String) -> Acknowledged {
    let mut known = Acknowledged::default();
    let Ok(mut client) = Client::connect(socket) else {
        return known;
    };
    let ids = |id: &str| json!(["map", [["id", id]]]);
    let start = json!({"op": "insert", "table": "Queue", "row": {
        "external_ids": ["map", [["id", format!("{tag}-counter")], ["n", "0"]]]}});
    if client.transact(&[start]).is_err() {
        return known;
    }
    known.counter.1 = 1;
    for n in 1i64.. {
        let id = format!("{tag}-{n}");
        let insert = json!({"op": "insert", "table": "Queue", "row": {"external_ids": ids(&id)}});
        let count = json!({"op": "update", "table": "Queue",
            "where": [["external_ids", "includes", ids(&format!("{tag}-counter"))]],
            "row": {"external_ids":
                ["map", [["id", format!("{tag}-counter")], ["n", n.to_string()]]]}});
        let mut operations = vec![insert, count];
        let victim = (n % 3 == 0).then(|| format!("{tag}-{}", n - 2));
        if let Some(victim) = &victim {
            operations.push(json!({"op": "delete", "table": "Queue",
                "where": [["external_ids", "includes", ids(victim)]]}));
        }
        known.unknown.insert(id.clone());
        known.counter.1 = n;
        if let Some(victim) = &victim {
            known.inserted.remove(victim);
            known.unknown.insert(victim.clone());
        }
        let Ok(results) = client.transact(&operations) else {
            break;
        };
        assert!(
            results.iter().all(|result| result.get("error").is_none()),
            "{results:?}"
        );
        known.unknown.remove(&id);
        known.inserted.insert(id);
        known.counter.0 = n;
        if let Some(victim) = victim {
            known.unknown.remove(&victim);
            known.deleted.insert(victim);
        }
    }
    known
}

/// The rows in the database by id, with their counters.
fn rows(client: &mut Client) -> BTreeMap<String, i64> {
    let select =
        json!({"op": "select", "table": "Queue", "where": [], "columns": ["external_ids"]});
    let results = client.transact(&[select]).unwrap();
    let mut rows = BTreeMap::new();
    for row in results[0]["rows"].as_array().unwrap() {
        let mut id = String::new();
        let mut n = 0;
        for entry in row["external_ids"][1].as_array().unwrap() {
            match entry[0].as_str().unwrap() {
                "id" => id = entry[1].as_str().unwrap().to_owned(),
                _ => n = entry[1].as_str().unwrap().parse().unwrap(),
            }
        }
        assert!(rows.insert(id, n).is_none(), "a row is there twice");
    }
    rows
}

#[test]
fn acknowledged_transactions_survive_kills() {
    let rounds: u32 = std::env::var("SLUICE_KILL_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(25);
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("db.sock");
    let mut server = Process::start(directory.path(), &[]);
    let mut total = 0usize;
    let mut torn = 0usize;
    for round in 0..rounds {
        let (sender, receiver) = mpsc::channel();
        for writer in 0..WRITERS {
            let (socket, sender) = (socket.clone(), sender.clone());
            std::thread::spawn(move || {
                let _ = sender.send((writer, write(&socket, format!("{round}.{writer}"))));
            });
        }
        drop(sender);
        std::thread::sleep(Duration::from_micros(
            u64::from(uuid::Uuid::new_v4().as_fields().1) * 2,
        ));
        server.kill();
        let known: Vec<(usize, Acknowledged)> = receiver.iter().collect();
        assert_eq!(known.len(), WRITERS);
        // A crash of the whole machine may also leave part of a record.
        if round % 3 == 2 {
            let mut file = OpenOptions::new()
                .append(true)
                .open(directory.path().join("conf.db"))
                .unwrap();
            let record = b"OVSDB JSON 40 0123456789012345678901234567890123456789\n{\"_date\":1";
            file.write_all(&record[..record.len() - round as usize % 60])
                .unwrap();
        }
        let before = std::fs::metadata(directory.path().join("conf.db"))
            .unwrap()
            .len();
        server = Process::start(directory.path(), &[]);
        let after = std::fs::metadata(directory.path().join("conf.db"))
            .unwrap()
            .len();
        torn += usize::from(after < before);
        let mut client = server.client();
        let rows = rows(&mut client);
        for (writer, known) in &known {
            for id in &known.inserted {
                assert!(
                    rows.contains_key(id),
                    "round {round}: {id} was acknowledged and is lost"
                );
            }
            for id in &known.deleted {
                assert!(
                    !rows.contains_key(id),
                    "round {round}: {id} was deleted and is back"
                );
            }
            if let Some(n) = rows.get(&format!("{round}.{writer}-counter")) {
                let (least, most) = known.counter;
                assert!(
                    (least..=most).contains(n),
                    "round {round}: {n} not in {least}..={most}"
                );
            } else {
                assert_eq!(known.counter.0, 0, "round {round}: the counter is lost");
            }
            total += known.inserted.len() + known.deleted.len();
        }
        for id in rows.keys() {
            let (prefix, _) = id.split_once('-').unwrap();
            let (of, writer) = prefix.split_once('.').unwrap();
            assert_eq!(of, round.to_string(), "{id} was deleted before this round");
            let known = &known
                .iter()
                .find(|(w, _)| w.to_string() == writer)
                .unwrap()
                .1;
            assert!(
                known.inserted.contains(id)
                    || known.unknown.contains(id)
                    || id.ends_with("-counter"),
                "round {round}: {id} was never asked for"
            );
        }
        let clear = json!({"op": "delete", "table": "Queue", "where": []});
        let cleared: Vec<Value> = client.transact(&[clear]).unwrap();
        assert_eq!(cleared[0]["count"], json!(rows.len()));
    }
    println!(
        "{rounds} kills, {total} acknowledged inserts and deletes checked, {torn} torn ends cut"
    );
    assert!(rounds < 10 || total > 0);
}
