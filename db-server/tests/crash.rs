//! Power failures at random moments on a disk that drops, tears and reorders what was not synced.
//!
//! The real core and the real writer's thread work on a storage that keeps what was synced apart
//! from what was not. At a random call the machine dies; what is then on the disk is opened again.
//! Everything acknowledged is there, nothing refused is, no transaction is there in part, and the
//! server goes on with that file through further crashes. Now and then the disk is full or a sync
//! fails, and now and then the file is compacted.
//!
//! `SLUICE_CRASH_ROUNDS` says how many crashes (500 unless told), `SLUICE_CRASH_SEED` the first
//! seed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use db_server::log::{self, Log, Storage};
use db_server::record;
use db_server::server::{Output, Server};
use db_server::txn;
use db_server::writer::{self, Done, Job};
use ovsdb::jsonrpc::{Framer, Message};
use ovsdb::{DatabaseSchema, Uuid};
use serde_json::{Value, json};

const SECTOR: usize = 512;

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// One unsynced change, small enough to happen as a whole or not at all.
enum Piece {
    Sector { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

fn apply(image: &mut Vec<u8>, piece: &Piece) {
    match piece {
        Piece::Sector { at, bytes } => {
            let end = at + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[*at..end].copy_from_slice(bytes);
        }
        Piece::Truncate(len) => image.resize(*len, 0),
    }
}

struct State {
    random: Random,
    /// What a crash cannot take.
    synced: Vec<u8>,
    /// What the process reads back.
    cache: Vec<u8>,
    unsynced: Vec<Piece>,
    /// Calls until the machine dies.
    calls_left: usize,
    dead: bool,
    faults: usize,
}

impl State {
    /// Counts a call; an error when the machine is dead. True when it dies in this one.
    fn call(&mut self) -> io::Result<bool> {
        if self.dead {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.dead = self.calls_left == 0;
        self.calls_left = self.calls_left.saturating_sub(1);
        Ok(self.dead)
    }

    fn change(&mut self, piece: Piece) {
        apply(&mut self.cache, &piece);
        self.unsynced.push(piece);
    }

    /// What is on the disk after the power failure.
    fn image(&mut self) -> Vec<u8> {
        let kept = [0, 30, 60, 90, 100][self.random.below(5)];
        let in_order = self.random.below(3) == 0;
        let mut pieces = std::mem::take(&mut self.unsynced);
        if !in_order {
            for i in (1..pieces.len()).rev() {
                pieces.swap(i, self.random.below(i + 1));
            }
        }
        let mut image = self.synced.clone();
        for piece in pieces {
            if self.random.below(100) < kept {
                apply(&mut image, &piece);
            }
        }
        image
    }
}

#[derive(Clone)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn new(contents: Vec<u8>, seed: u64, calls_left: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random(seed),
            synced: contents.clone(),
            cache: contents,
            unsynced: Vec::new(),
            calls_left,
            dead: false,
            faults: 0,
        })))
    }
}

fn died() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

impl Storage for Disk {
    fn size(&mut self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().cache.len() as u64)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.0.lock().unwrap();
        let dies = state.call()?;
        let full = state.random.below(15) == 0;
        let fits = if full {
            state.random.below(bytes.len())
        } else {
            bytes.len()
        };
        let mut at = at as usize;
        let mut rest = &bytes[..fits];
        while !rest.is_empty() {
            let (sector, next) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
            state.change(Piece::Sector {
                at,
                bytes: sector.to_vec(),
            });
            at += sector.len();
            rest = next;
        }
        if dies {
            return Err(died());
        }
        if full {
            state.faults += 1;
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let state = &mut *self.0.lock().unwrap();
        let dies = state.call()?;
        state.change(Piece::Truncate(len as usize));
        if dies { Err(died()) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let state = &mut *self.0.lock().unwrap();
        if state.call()? {
            return Err(died());
        }
        if state.random.below(40) == 0 {
            // As Linux has it: what was not written stays so, and the next sync says nothing.
            state.faults += 1;
            state.synced = state.image();
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        state.synced = state.cache.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn replace(&mut self, contents: &[u8]) -> io::Result<()> {
        let state = &mut *self.0.lock().unwrap();
        let dies = state.call()?;
        // The rename reaches the disk, or does not.
        if !dies || state.random.below(2) == 0 {
            state.synced = contents.to_vec();
            state.cache = contents.to_vec();
            state.unsynced.clear();
        }
        if dies { Err(died()) } else { Ok(()) }
    }
}

fn schema() -> Value {
    let columns = json!({"n": {"type": "integer"}, "text": {"type": "string"}});
    let table = json!({"isRoot": true, "columns": columns});
    json!({"name": "d", "tables": {"A": table, "B": table}})
}

/// Rows by number: what must be there, and what may be.
#[derive(Default)]
struct Known {
    there: BTreeSet<usize>,
    unsure: BTreeSet<usize>,
}

/// A transaction and what it does to the rows.
enum Change {
    Insert(usize),
    Delete(usize),
}

/// The results in the reply to a transaction.
fn answer(message: Message) -> Vec<Value> {
    let Message::Response { result, .. } = message else {
        panic!("{message:?}");
    };
    result.unwrap().as_array().unwrap().clone()
}

struct Machine {
    server: Server,
    jobs: Sender<Job>,
    done: Receiver<Done>,
    disk: Disk,
    calls: u64,
    acknowledged: usize,
    compactions: usize,
}

const SESSION: u64 = 1;

impl Machine {
    /// Boots from what is on the disk.
    fn boot(image: Vec<u8>, seed: u64, calls_left: usize) -> Self {
        let loaded = log::load(&image).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mut db = loaded.db;
        txn::adopt(&mut db, loaded.rows, &mut Uuid::new_v4).unwrap();
        // The cut of a torn end has to work; the crash comes later.
        let disk = Disk::new(image, seed, usize::MAX);
        let log = loop {
            match Log::new(disk.clone(), loaded.end) {
                Ok(log) => break log,
                // A start on a failing disk ends with an error, and the next one tries again.
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO)),
            }
        };
        disk.0.lock().unwrap().calls_left = calls_left;
        let (sender, done) = channel();
        let jobs = writer::start(BTreeMap::from([(Arc::from("d"), log)]), move |done| {
            let _ = sender.send(done);
        });
        let mut server = Server::new(Box::new(Uuid::new_v4), true);
        server.add_database(db);
        server.handle_connect(SESSION, Default::default());
        while server.poll_output().is_some() {}
        Self {
            server,
            jobs: jobs.unwrap(),
            done,
            disk,
            calls: 0,
            acknowledged: 0,
            compactions: 0,
        }
    }

    fn call(&mut self, operations: Vec<Value>) -> (Vec<Value>, Option<(u64, Vec<u8>)>) {
        self.calls += 1;
        let mut params = vec![json!("d")];
        params.extend(operations);
        let request = Message::request(self.calls, "transact", Value::Array(params));
        self.server
            .handle_message(SESSION, request, Instant::now(), 0);
        let (mut results, mut written) = (Vec::new(), None);
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Record { ticket, record, .. } => {
                    written = Some((ticket, record));
                }
                Output::Send { message, .. } => results = answer(message),
                Output::Text { text, .. } => {
                    let mut framer = Framer::default();
                    framer.push(&text);
                    results = answer(framer.poll_message().unwrap().unwrap());
                }
                _ => {}
            }
        }
        (results, written)
    }

    /// The numbers in one table.
    fn rows(&mut self, table: &str) -> BTreeSet<usize> {
        let select = json!({"op": "select", "table": table, "where": [], "columns": ["n"]});
        let (results, _) = self.call(vec![select]);
        let rows = results[0]["rows"].as_array().unwrap();
        rows.iter()
            .map(|row| row["n"].as_u64().unwrap() as usize)
            .collect()
    }

    /// Executes a change in both tables; its record.
    fn change(&mut self, change: &Change, length: usize) -> (u64, Vec<u8>) {
        let operations = ["A", "B"].map(|table| match change {
            Change::Insert(n) => json!({"op": "insert", "table": table,
                "row": {"n": n, "text": "x".repeat(length)}}),
            Change::Delete(n) => json!({"op": "delete", "table": table, "where": [["n", "==", n]]}),
        });
        self.call(operations.to_vec())
            .1
            .expect("it changes something")
    }

    /// Works until the machine dies.
    fn work(&mut self, random: &mut Random, known: &mut Known, next: &mut usize) {
        while !self.disk.0.lock().unwrap().dead {
            if random.below(12) == 0 {
                self.compact();
                continue;
            }
            let mut batch = Vec::new();
            let mut last = 0;
            let mut changes = Vec::new();
            let mut there = known.there.clone();
            for _ in 0..1 + random.below(5) {
                let victim = there.iter().nth(random.below(there.len() + 3)).copied();
                let change = match victim {
                    Some(n) => Change::Delete(n),
                    None => {
                        *next += 1;
                        Change::Insert(*next)
                    }
                };
                match change {
                    Change::Insert(n) => there.insert(n),
                    Change::Delete(n) => there.remove(&n),
                };
                let (ticket, record) = self.change(&change, random.below(900));
                log::append(&mut batch, &record);
                last = ticket;
                changes.push(change);
            }
            let batches = BTreeMap::from([(Arc::from("d"), batch)]);
            let job = Job::Write {
                batches,
                ticket: last,
            };
            self.jobs.send(job).unwrap();
            let Done::Written { failed, .. } = self.done.recv().unwrap() else {
                panic!("another answer than to the write");
            };
            if failed.is_empty() {
                self.server.handle_durable(last);
                self.acknowledged += changes.len();
                known.there = there;
                continue;
            }
            if self.disk.0.lock().unwrap().dead {
                // Nobody was told anything of these.
                for change in changes {
                    let (Change::Insert(n) | Change::Delete(n)) = change;
                    known.there.remove(&n);
                    known.unsure.insert(n);
                }
                return;
            }
            self.server.handle_lost("d");
            while self.server.poll_output().is_some() {}
            assert_eq!(
                self.rows("A"),
                known.there,
                "reads show what was acknowledged"
            );
            if let log::WriteError::Sync(_) | log::WriteError::Failed = failed[0].1 {
                self.compact();
            }
        }
    }

    fn compact(&mut self) {
        let db = self.server.database("d").unwrap();
        let job = Job::Compact {
            database: Arc::from("d"),
            schema: db.schema().clone(),
            contents: record::snapshot(db),
            date_ms: 0,
        };
        self.jobs.send(job).unwrap();
        let Done::Compacted { result, .. } = self.done.recv().unwrap() else {
            panic!("another answer than to the compaction");
        };
        self.compactions += usize::from(result.is_ok());
    }
}

#[test]
fn acknowledged_transactions_survive_power_failures() {
    let number = |variable: &str, default: u64| {
        let text = std::env::var(variable).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let rounds = number("SLUICE_CRASH_ROUNDS", 500);
    let first = number("SLUICE_CRASH_SEED", 0);
    let empty = log::encode(&DatabaseSchema::from_json(&schema()).unwrap().to_json());
    let mut image = empty.clone();
    let (mut known, mut next) = (Known::default(), 0);
    let (mut acknowledged, mut compactions, mut faults, mut torn) = (0, 0, 0, 0);
    for seed in first..first + rounds {
        let mut random = Random(seed);
        if seed % 20 == 0 {
            (image, known, next) = (empty.clone(), Known::default(), 0);
        }
        torn += usize::from(log::load(&image).is_ok_and(|loaded| loaded.torn.is_some()));
        let mut machine = Machine::boot(image, seed, random.below(60));
        let (a, b) = (machine.rows("A"), machine.rows("B"));
        assert_eq!(a, b, "seed {seed}: half a transaction");
        let lost: Vec<_> = known.there.difference(&a).collect();
        assert!(
            lost.is_empty(),
            "seed {seed}: acknowledged and lost: {lost:?}"
        );
        let extra: Vec<_> = a
            .difference(&known.there)
            .filter(|n| !known.unsure.contains(n))
            .collect();
        assert!(
            extra.is_empty(),
            "seed {seed}: refused or deleted, and there: {extra:?}"
        );
        known = Known {
            there: a,
            unsure: BTreeSet::new(),
        };
        machine.work(&mut random, &mut known, &mut next);
        acknowledged += machine.acknowledged;
        compactions += machine.compactions;
        drop(machine.jobs);
        let mut state = machine.disk.0.lock().unwrap();
        faults += state.faults;
        image = state.image();
    }
    println!(
        "{rounds} power failures, {acknowledged} acknowledged transactions, {torn} torn ends, \
         {compactions} compactions, {faults} full disks and failed syncs"
    );
    assert!(rounds < 100 || (acknowledged > 0 && torn > 0 && compactions > 0 && faults > 0));
}
