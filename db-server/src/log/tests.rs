use super::*;
use crate::record;
use crate::txn::{self, Context, Outcome};
use ovsdb::Uuid;
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

/// Keeps what was written apart from what was synced, and fails on demand.
#[derive(Debug, Default, Clone)]
struct Stub {
    disk: Vec<u8>,
    cache: Vec<u8>,
    /// Bytes that still fit.
    space: Option<usize>,
    sync_fails: bool,
    aside_fails: Fails,
}

impl Stub {
    /// What a crash leaves: the synced bytes and any part of what came after them.
    fn crash(&self, keep: usize) -> Vec<u8> {
        if self.cache.len() >= self.disk.len() && self.cache.starts_with(&self.disk) {
            let end = (self.disk.len() + keep).min(self.cache.len());
            return self.cache[..end].to_vec();
        }
        self.disk.clone()
    }
}

impl Storage for Stub {
    fn size(&mut self) -> io::Result<u64> {
        Ok(self.cache.len() as u64)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let fits = self
            .space
            .map_or(bytes.len(), |space| space.min(bytes.len()));
        self.cache.truncate(at as usize);
        self.cache.extend_from_slice(&bytes[..fits]);
        if fits < bytes.len() {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.cache.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.sync_fails {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        self.disk = self.cache.clone();
        Ok(())
    }

    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let rest = self.cache.get(at as usize..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn aside(&self) -> io::Result<Self> {
        match self.aside_fails {
            Fails::Aside => Err(io::Error::from_raw_os_error(libc::EACCES)),
            Fails::Write => Ok(Self {
                space: Some(10),
                ..Self::default()
            }),
            Fails::Sync => Ok(Self {
                sync_fails: true,
                ..Self::default()
            }),
            _ => Ok(Self::default()),
        }
    }

    fn install(&mut self, aside: Self) -> Result<(), InstallError> {
        let error = || io::Error::from_raw_os_error(libc::EIO);
        if self.aside_fails == Fails::Rename {
            return Err(InstallError::Kept(error()));
        }
        assert_eq!(aside.disk, aside.cache, "installed before it is synced");
        let unsure = self.aside_fails == Fails::Directory;
        *self = aside;
        if unsure {
            return Err(InstallError::Unsure(error()));
        }
        Ok(())
    }
}

/// The step of a replacement that fails.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Fails {
    #[default]
    Nothing,
    Aside,
    Write,
    Sync,
    Rename,
    Directory,
}

fn schema() -> Value {
    json!({"name": "d", "tables": {"T": {"isRoot": true, "columns": {"n": {"type": "integer"}}}}})
}

fn database() -> Database {
    Database::new(DatabaseSchema::from_json(&schema()).unwrap())
}

/// Inserts a row with `n` and gives the record.
fn insert(db: &mut Database, n: i64) -> Vec<u8> {
    let operation = json!({"op": "insert", "table": "T", "row": {"n": n}});
    let mut context = Context {
        holds_lock: &|_| false,
        new_uuid: &mut Uuid::new_v4,
        elapsed: Duration::ZERO,
        access: Default::default(),
    };
    match txn::execute(db, &[operation], &mut context) {
        Outcome::Done {
            committed: Some(committed),
            ..
        } => frame(record::encode(db, &committed.delta, None, 0, true).unwrap()),
        other => panic!("{other:?}"),
    }
}

/// The values of `n` in a file.
fn values(bytes: &[u8]) -> Vec<i64> {
    let loaded = load(bytes).unwrap();
    let mut values: Vec<i64> = loaded
        .rows
        .values()
        .flatten()
        .filter_map(|(_, row)| row.get(2).as_i64())
        .collect();
    values.sort_unstable();
    values
}

#[test]
fn record_bytes() {
    // Sum by sha1sum(1) over the second line with its newline, as ovsdb-server 3.1 does.
    let bytes =
        b"OVSDB JSON 31 9337c15b606068e7e74fcc4294526b2b324647f3\n{\"_date\":1795174587718,\"T\":{}}\n";
    let json = json!({"_date": 1795174587718u64, "T": {}});
    assert_eq!(encode(&json), bytes);
    assert_eq!(decode(bytes), Ok((json, bytes.len())));
}

#[test]
fn torn_at_every_byte_of_the_last_record() {
    let mut db = database();
    let mut bytes = encode(&schema());
    for n in 0..3 {
        bytes.extend(insert(&mut db, n));
    }
    let whole = bytes.len();
    let last = insert(&mut db, 3);
    bytes.extend(&last);
    for cut in 0..last.len() {
        let loaded = load(&bytes[..whole + cut]).unwrap();
        assert_eq!(loaded.end, whole as u64, "cut at {cut}");
        assert_eq!(loaded.torn.is_some(), cut > 0, "cut at {cut}");
        assert_eq!(values(&bytes[..whole + cut]), [0, 1, 2]);
    }
    assert_eq!(values(&bytes), [0, 1, 2, 3]);
    // Every damaged byte of the last record gives it up, or leaves it readable.
    for at in whole..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        let got = values(&damaged);
        assert!(
            got == [0, 1, 2] || got == [0, 1, 2, 3],
            "byte {at}: {got:?}"
        );
    }
}

#[test]
fn damage_in_the_middle_is_refused() {
    let mut db = database();
    let mut bytes = encode(&schema());
    let start = bytes.len();
    bytes.extend(insert(&mut db, 0));
    let end = bytes.len();
    bytes.extend(insert(&mut db, 1));
    for at in start..end {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x01;
        match load(&damaged) {
            Err(Error::Damaged { number: 2, at, .. }) => assert_eq!(at, start as u64),
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn other_files_are_named() {
    for (bytes, expected) in [
        (&b"hello"[..], "not an ovsdb database file"),
        (b"OVSDB CLUSTER 5 abc\n", "a clustered database"),
        (
            b"OVSDB JSON 5",
            "the schema record at the start is damaged: incomplete header",
        ),
        (
            b"OVSDB JSON 5 ab\nx",
            "1 bytes of data where the header says 5",
        ),
        (b"OVSDB JSON 1 ab\nx", "checksum mismatch"),
        (
            b"OVSDB JSON 99999999999999999999 ab\nx",
            "incomplete header",
        ),
    ] {
        let error = load(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn full_disk_loses_nothing_and_heals() {
    let mut db = database();
    let mut log = Log::new(Stub::default(), 0).unwrap();
    log.write(&encode(&schema())).unwrap();
    log.write(&insert(&mut db, 0)).unwrap();
    log.storage.space = Some(10);
    assert!(matches!(
        log.write(&insert(&mut db, 1)),
        Err(WriteError::Write(_))
    ));
    assert_eq!(values(&log.storage.cache), [0]);
    log.storage.space = None;
    log.write(&insert(&mut db, 2)).unwrap();
    assert_eq!(values(&log.storage.disk), [0, 2]);
}

#[test]
fn failed_sync_stops_writing() {
    let mut db = database();
    let mut log = Log::new(Stub::default(), 0).unwrap();
    log.write(&encode(&schema())).unwrap();
    log.write(&insert(&mut db, 0)).unwrap();
    log.storage.sync_fails = true;
    assert!(matches!(
        log.write(&insert(&mut db, 1)),
        Err(WriteError::Sync(_))
    ));
    log.storage.sync_fails = false;
    assert!(matches!(
        log.write(&insert(&mut db, 2)),
        Err(WriteError::Failed)
    ));
    assert_eq!(values(&log.storage.cache), [0]);
    let mut contents = encode(&schema());
    contents.extend(insert(&mut db, 9));
    let mut late = log.begin_replacement().unwrap();
    log.rewrite(&contents).unwrap();
    late.fill(&encode(&schema())).unwrap();
    assert!(matches!(log.replace(late), Err(ReplaceError::Overtaken)));
    log.write(&insert(&mut db, 3)).unwrap();
    assert_eq!(values(&log.storage.disk), [3, 9]);
}

/// A compaction that fails, or ends in a crash, at any of its steps leaves a whole file with all
/// that was acknowledged, also what was acknowledged while it ran.
#[test]
fn replacement_at_every_step() {
    for fails in [
        Fails::Nothing,
        Fails::Aside,
        Fails::Write,
        Fails::Sync,
        Fails::Rename,
        Fails::Directory,
    ] {
        let mut db = database();
        let mut log = Log::new(Stub::default(), 0).unwrap();
        log.write(&encode(&schema())).unwrap();
        log.write(&insert(&mut db, 1)).unwrap();
        log.write(&insert(&mut db, 2)).unwrap();
        log.storage.aside_fails = fails;
        let mut contents = encode(&schema());
        let snapshot = record::snapshot(&db);
        contents.extend(frame(
            record::encode(&db, &snapshot, None, 0, false).unwrap(),
        ));
        let begun = log.begin_replacement();
        log.write(&insert(&mut db, 3)).unwrap();
        assert_eq!(values(&log.storage.disk), [1, 2, 3], "{fails:?}");
        let filled = begun.and_then(|mut new| new.fill(&contents).map(|()| new));
        assert_eq!(
            filled.is_err(),
            [Fails::Aside, Fails::Write, Fails::Sync].contains(&fails)
        );
        log.write(&insert(&mut db, 4)).unwrap();
        if let Ok(new) = filled {
            assert_eq!(log.replace(new).is_ok(), fails == Fails::Nothing);
        }
        assert_eq!(values(&log.storage.disk), [1, 2, 3, 4], "{fails:?}");
        // Nothing more is promised when a crash might bring the old file back.
        let more = log.write(&insert(&mut db, 5));
        assert_eq!(more.is_err(), fails == Fails::Directory, "{fails:?}");
        if more.is_ok() {
            assert_eq!(values(&log.storage.disk), [1, 2, 3, 4, 5], "{fails:?}");
        }
    }
}

proptest! {
    /// Whatever a crash leaves of unsynced bytes, everything acknowledged is there and nothing
    /// that was never asked for.
    #[test]
    fn acknowledged_records_survive(
        batches in prop::collection::vec(1usize..4, 1..8),
        crash_in in 0usize..8,
        keep in 0usize..400,
    ) {
        let mut db = database();
        let mut log = Log::new(Stub::default(), 0).unwrap();
        log.write(&encode(&schema())).unwrap();
        let mut acknowledged = 0i64;
        let mut next = 0i64;
        for (i, size) in batches.into_iter().enumerate() {
            let mut batch = Vec::new();
            for _ in 0..size {
                batch.extend(insert(&mut db, next));
                next += 1;
            }
            if i == crash_in {
                log.storage.write_at(log.end, &batch).unwrap();
                break;
            }
            log.write(&batch).unwrap();
            acknowledged = next;
        }
        let left = log.storage.crash(keep);
        let got = values(&left);
        prop_assert!(got.len() as i64 >= acknowledged && got.len() as i64 <= next);
        prop_assert_eq!(got.clone(), (0..got.len() as i64).collect::<Vec<_>>());
        // The file opens for writing and goes on.
        let end = load(&left).unwrap().end;
        let stub = Stub { disk: left.clone(), cache: left, ..Stub::default() };
        let mut log = Log::new(stub, end).unwrap();
        log.write(&insert(&mut db, 1000)).unwrap();
        prop_assert_eq!(values(&log.storage.disk).len(), got.len() + 1);
    }
}
