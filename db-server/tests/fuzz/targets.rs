//! What the fuzz targets do with their input; `fuzz/` gives them a fuzzer's, `tests/fuzz.rs` the
//! seeds and random bytes.

#[path = "../model/mod.rs"]
mod model;

use db_server::log;
use db_server::txn;
use model::peer::Core;
use model::sequence::{self, Counts};
use model::source::Source;
use ovsdb::Uuid;
use ovsdb::jsonrpc::{Framer, Message};

/// The stream of JSON-RPC messages: no panic, and the same messages however the bytes are cut.
pub fn json_stream(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut framer = Framer::new(1 << 16);
        let mut messages = Vec::new();
        for piece in pieces {
            framer.push(piece);
            loop {
                match framer.poll_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => return (messages, true),
                }
            }
        }
        (messages, false)
    };
    let (whole, _) = read(&mut std::iter::once(bytes));
    let (pieces, _) = read(&mut bytes.chunks(usize::from(*cut).max(1)));
    assert_eq!(whole, pieces);
    for message in whole {
        // What goes out again is the same message.
        let (again, failed) = read(&mut std::iter::once(&message.to_bytes()[..]));
        assert!(!failed);
        assert_eq!(again, [message] as [Message; 1]);
    }
}

/// The reader of database files: the bytes as they are, and as the text of whole records.
pub fn log_reader(data: &[u8]) {
    check_file(data);
    let mut file = Vec::new();
    for line in String::from_utf8_lossy(data).split('\n') {
        let mut record = Vec::new();
        log::append(&mut record, line.as_bytes());
        file.extend(record);
    }
    check_file(&file);
}

fn check_file(bytes: &[u8]) {
    let Ok(loaded) = log::load(bytes) else {
        return;
    };
    let end = usize::try_from(loaded.end).expect("within the bytes");
    let again = log::load(&bytes[..end]).expect("the whole records alone can be read");
    assert!(again.torn.is_none() && again.records == loaded.records);
    let mut db = loaded.db;
    if txn::adopt(&mut db, loaded.rows, &mut Uuid::new_v4).is_ok() {
        db.check_derived().unwrap();
    }
}

/// A random schema and random transactions on it against the reference.
pub fn operations(data: &[u8]) {
    let mut source = Source::from_bytes(data);
    let schema = model::schemas::schema(&mut source, "d");
    let mut core = Core::new(&schema, 0, source.chance(70));
    let mut counts = Counts::default();
    sequence::run(&mut source, &schema, &mut core, 12, false, &mut counts)
        .unwrap_or_else(|error| panic!("{error}\nschema {}", schema.to_json()));
}
