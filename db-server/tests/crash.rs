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
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use db_server::log::{self, InstallError, Log, Storage};
use db_server::record;
use db_server::server::{Output, Server};
use db_server::txn;
use db_server::writer::{self, Batch, Done, Job, Jobs};
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

/// One file, under a name or not.
#[derive(Default)]
struct Contents {
    /// What a crash cannot take.
    synced: Vec<u8>,
    /// What the process reads back.
    cache: Vec<u8>,
    unsynced: Vec<Piece>,
}

struct State {
    random: Random,
    files: Vec<Contents>,
    /// The file that has the database's name after a crash.
    named: usize,
    /// Calls until the machine dies.
    calls_left: usize,
    dead: bool,
    faults: usize,
}

impl State {
    /// Counts a call; an error when the machine is dead. True when it dies in this one.
    fn call(&mut self) -> io::Result<bool> {
        if self.dead {
            return Err(error(libc::EIO));
        }
        self.dead = self.calls_left == 0;
        self.calls_left = self.calls_left.saturating_sub(1);
        Ok(self.dead)
    }

    fn change(&mut self, file: usize, piece: Piece) {
        let file = &mut self.files[file];
        apply(&mut file.cache, &piece);
        file.unsynced.push(piece);
    }

    /// What is of a file on the disk after a power failure.
    fn image(&mut self, file: usize) -> Vec<u8> {
        let kept = [0, 30, 60, 90, 100][self.random.below(5)];
        let in_order = self.random.below(3) == 0;
        let mut pieces = std::mem::take(&mut self.files[file].unsynced);
        if !in_order {
            for i in (1..pieces.len()).rev() {
                pieces.swap(i, self.random.below(i + 1));
            }
        }
        let mut image = self.files[file].synced.clone();
        for piece in pieces {
            if self.random.below(100) < kept {
                apply(&mut image, &piece);
            }
        }
        image
    }
}

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

#[derive(Clone)]
struct Disk {
    state: Arc<Mutex<State>>,
    file: usize,
}

impl Disk {
    fn new(contents: Vec<u8>, seed: u64) -> Self {
        let file = Contents {
            synced: contents.clone(),
            cache: contents,
            unsynced: Vec::new(),
        };
        let state = State {
            random: Random(seed),
            files: vec![file],
            named: 0,
            calls_left: usize::MAX,
            dead: false,
            faults: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            file: 0,
        }
    }

    fn is_dead(&self) -> bool {
        self.state.lock().unwrap().dead
    }
}

impl Storage for Disk {
    fn size(&mut self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().files[self.file].cache.len() as u64)
    }

    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let state = &mut *self.state.lock().unwrap();
        if state.call()? {
            return Err(error(libc::EIO));
        }
        let rest = state.files[self.file]
            .cache
            .get(at as usize..)
            .unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.state.lock().unwrap();
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
            let bytes = sector.to_vec();
            state.change(self.file, Piece::Sector { at, bytes });
            at += sector.len();
            rest = next;
        }
        if dies {
            return Err(error(libc::EIO));
        }
        if full {
            state.faults += 1;
            return Err(error(libc::ENOSPC));
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let state = &mut *self.state.lock().unwrap();
        let dies = state.call()?;
        state.change(self.file, Piece::Truncate(len as usize));
        if dies { Err(error(libc::EIO)) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        let state = &mut *self.state.lock().unwrap();
        if state.call()? {
            return Err(error(libc::EIO));
        }
        if state.random.below(40) == 0 {
            // As Linux has it: what was not written stays so, and the next sync says nothing.
            state.faults += 1;
            state.files[self.file].synced = state.image(self.file);
            return Err(error(libc::EIO));
        }
        let file = &mut state.files[self.file];
        file.synced = file.cache.clone();
        file.unsynced.clear();
        Ok(())
    }

    fn aside(&self) -> io::Result<Self> {
        let state = &mut *self.state.lock().unwrap();
        if state.call()? {
            return Err(error(libc::EIO));
        }
        state.files.push(Contents::default());
        Ok(Self {
            state: self.state.clone(),
            file: state.files.len() - 1,
        })
    }

    fn install(&mut self, aside: Self) -> Result<(), InstallError> {
        let state = &mut *self.state.lock().unwrap();
        let dies = state.call().map_err(InstallError::Kept)?;
        let fault = state.random.below(10);
        if dies || fault == 1 {
            // The rename may reach the disk, or not.
            if state.random.below(2) == 0 {
                state.named = aside.file;
            }
            state.faults += 1;
            self.file = aside.file;
            return Err(InstallError::Unsure(error(libc::EIO)));
        }
        if fault == 0 {
            state.faults += 1;
            return Err(InstallError::Kept(error(libc::EACCES)));
        }
        state.named = aside.file;
        self.file = aside.file;
        Ok(())
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
    /// What was refused and could not be cut off.
    doubtful: BTreeSet<usize>,
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
    jobs: Jobs<Disk>,
    done: Receiver<Done<Disk>>,
    disk: Disk,
    /// Batches that could not be written.
    lost: u64,
    compacting: bool,
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
        let disk = Disk::new(image, seed);
        let log = loop {
            match Log::new(disk.clone(), loaded.end) {
                Ok(log) => break log,
                // A start on a failing disk ends with an error, and the next one tries again.
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EIO)),
            }
        };
        disk.state.lock().unwrap().calls_left = calls_left;
        let (sender, done) = channel();
        let jobs = writer::start(move |done| {
            let _ = sender.send(done);
        });
        let jobs = jobs.unwrap();
        let database = Arc::from("d");
        jobs.send(Job::Open { database, log }).unwrap();
        let mut server = Server::new(Box::new(Uuid::new_v4), true);
        server.add_database(db);
        server.handle_connect(SESSION, Default::default());
        while server.poll_output().is_some() {}
        Self {
            server,
            jobs,
            done,
            disk,
            lost: 0,
            compacting: false,
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

    fn faults(&self) -> usize {
        self.disk.state.lock().unwrap().faults
    }

    /// Works until the machine dies.
    fn work(&mut self, random: &mut Random, known: &mut Known, next: &mut usize) {
        while !self.disk.is_dead() {
            // It goes on beside the batches that follow.
            if random.below(8) == 0 {
                self.compact();
            }
            let mut bytes = Vec::new();
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
                log::append(&mut bytes, &record);
                last = ticket;
                changes.push(change);
            }
            let faults = self.faults();
            let batch = Batch {
                bytes,
                whole: false,
            };
            let batches = BTreeMap::from([(Arc::from("d"), batch)]);
            let ticket = last;
            let job = Job::Write { batches, ticket };
            // On either thread, as the event loop does it.
            let failed = if random.below(2) == 0 && self.jobs.is_idle() {
                match self.jobs.run_now(job) {
                    Some(Done::Written { failed, .. }) => failed,
                    _ => panic!("a write has an outcome"),
                }
            } else {
                self.jobs.send(job).unwrap();
                loop {
                    if let Some(failed) = self.answer() {
                        break failed;
                    }
                }
            };
            let Some((_, reason)) = failed.first() else {
                self.server.handle_durable(last);
                self.acknowledged += changes.len();
                known.there = there;
                known.doubtful.clear();
                continue;
            };
            self.lost += 1;
            if self.faults() > faults + 1 {
                // The cut of what was refused failed as well: until something is written again,
                // nobody knows what a crash leaves.
                known
                    .doubtful
                    .extend(changes.iter().map(|change| match change {
                        Change::Insert(n) | Change::Delete(n) => *n,
                    }));
            }
            if self.disk.is_dead() {
                // Nobody was told anything of these.
                for change in changes {
                    let (Change::Insert(n) | Change::Delete(n)) = change;
                    known.unsure.insert(n);
                }
                break;
            }
            self.server.handle_lost("d");
            while self.server.poll_output().is_some() {}
            let there = self.rows("A");
            assert_eq!(there, known.there, "reads show what was acknowledged");
            if !matches!(reason, log::WriteError::Write(_)) {
                // Only a new file ends this state.
                self.compact();
                let before = self.compactions;
                while self.compacting {
                    assert!(self.answer().is_none());
                }
                if self.compactions > before {
                    known.doubtful.clear();
                }
            }
        }
        let doubtful = std::mem::take(&mut known.doubtful);
        known.unsure.extend(doubtful);
        known.there.retain(|n| !known.unsure.contains(n));
    }

    /// Takes one message of the writer's; when it tells of a batch, what failed of it.
    fn answer(&mut self) -> Option<Vec<(Arc<str>, log::WriteError)>> {
        match self.done.recv().unwrap() {
            Done::Written { failed, .. } => return Some(failed),
            Done::Continue(job) => self.jobs.send(job).unwrap(),
            Done::Compacted { result, .. } => {
                self.compacting = false;
                self.compactions += usize::from(result.is_ok());
            }
            Done::Closed { .. } => panic!("nothing was to be closed"),
        }
        None
    }

    fn compact(&mut self) {
        if self.compacting {
            return;
        }
        self.compacting = true;
        let db = self.server.database("d").unwrap();
        let job = Job::Compact {
            database: Arc::from("d"),
            schema: db.schema().clone(),
            contents: record::snapshot(db),
            date_ms: 0,
            lost: self.lost,
        };
        self.jobs.send(job).unwrap();
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
            ..Known::default()
        };
        machine.work(&mut random, &mut known, &mut next);
        acknowledged += machine.acknowledged;
        compactions += machine.compactions;
        drop(machine.jobs);
        let mut state = machine.disk.state.lock().unwrap();
        faults += state.faults;
        let named = state.named;
        image = state.image(named);
    }
    println!(
        "{rounds} power failures, {acknowledged} acknowledged transactions, {torn} torn ends, \
         {compactions} compactions, {faults} full disks and failed syncs"
    );
    assert!(rounds < 100 || (acknowledged > 0 && torn > 0 && compactions > 0 && faults > 0));
}
