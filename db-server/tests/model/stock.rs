//! The same sequences put to ovsdb-server 3.1: the reference must be right about it too.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use db_server::log;
use ovsdb::jsonrpc::{Framer, Message};
use serde_json::{Value, json};

use super::model::peer::{Notes, Peer};
use super::model::reference::schema::Schema;
use super::model::schemas;
use super::model::sequence::{self, Counts};
use super::model::source::Source;
use super::{LENGTH, number};

/// Schemas that one server has.
const BATCH: usize = 25;

struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    /// `None` when ovsdb-server is not installed.
    fn start(directory: &Path, schemas: &[&Schema]) -> Option<Self> {
        let socket = directory.join("db.sock");
        let mut command = Command::new("ovsdb-server");
        command
            .env("OVS_RUNDIR", directory)
            .env("OVS_LOGDIR", directory)
            .arg(format!("--remote=punix:{}", socket.display()))
            .arg(format!("--unixctl={}", directory.join("ctl").display()))
            .arg("-vconsole:off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for schema in schemas {
            let path = directory.join(format!("{}.db", schema.name));
            std::fs::write(&path, log::encode(&schema.to_json())).unwrap();
            command.arg(path);
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => panic!("ovsdb-server: {error}"),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(&socket).is_err() {
            assert!(
                child.try_wait().unwrap().is_none(),
                "ovsdb-server refuses a schema"
            );
            assert!(Instant::now() < deadline, "ovsdb-server does not listen");
            std::thread::sleep(Duration::from_millis(2));
        }
        Some(Self { child, socket })
    }

    fn connect(&self) -> Connection {
        let stream = UnixStream::connect(&self.socket).expect("ovsdb-server is still there");
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Connection {
            stream,
            framer: Framer::default(),
            next_id: 0,
            closed: false,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Connection {
    stream: UnixStream,
    framer: Framer,
    next_id: u64,
    closed: bool,
}

impl Peer for Connection {
    fn call(&mut self, method: &str, params: Value) -> (Notes, Result<Value, Value>) {
        self.next_id += 1;
        let request = Message::request(json!(self.next_id), method, params.clone());
        self.stream.write_all(&request.to_bytes()).unwrap();
        let mut notes = Notes::new();
        let mut chunk = [0u8; 65536];
        loop {
            match self.framer.poll_message().unwrap() {
                Some(Message::Response { id, result }) => {
                    assert_eq!(id, json!(self.next_id));
                    return (notes, result);
                }
                Some(Message::Notification { method, params }) => notes.push((method, params)),
                Some(Message::Request { method, .. }) => panic!("{method} from the server"),
                None => {
                    let count = self.stream.read(&mut chunk).unwrap();
                    if count == 0 {
                        self.closed = true;
                        let what = format!("ovsdb-server closed the connection at {params}");
                        return (notes, Err(json!(what)));
                    }
                    self.framer.push(&chunk[..count]);
                }
            }
        }
    }
}

#[test]
fn stock_server_agrees_with_the_reference() {
    let first = number("SLUICE_MODEL_SEED", 0);
    let end = first + number("SLUICE_MODEL_STOCK", 200);
    let mut counts = Counts::default();
    let mut differences = Vec::new();
    let mut crashes = 0;
    let mut seeds: Vec<u64> = (first..end).rev().collect();
    while !seeds.is_empty() {
        let batch: Vec<(u64, Source<'_>, Schema)> = seeds
            .iter()
            .rev()
            .take(BATCH)
            .map(|seed| {
                let mut source = Source::seeded(*seed);
                let schema = schemas::schema(&mut source, &format!("d{seed}"));
                (*seed, source, schema)
            })
            .collect();
        let schemas: Vec<&Schema> = batch.iter().map(|(_, _, schema)| schema).collect();
        let directory = tempfile::tempdir().unwrap();
        let Some(server) = Server::start(directory.path(), &schemas) else {
            assert!(
                std::env::var_os("SLUICE_REQUIRE_ROOT").is_none(),
                "ovsdb-server is not installed"
            );
            eprintln!("skipped: ovsdb-server is not installed");
            return;
        };
        for (seed, mut source, schema) in batch {
            seeds.pop();
            let mut peer = server.connect();
            let result = sequence::run(&mut source, &schema, &mut peer, LENGTH, true, &mut counts);
            if peer.closed {
                // It died: that is for its own authors.
                crashes += 1;
                if std::env::var_os("SLUICE_MODEL_VERBOSE").is_some() {
                    println!("ovsdb-server died: {result:?}");
                }
                break;
            }
            if let Err(error) = result {
                differences.push(format!(
                    "SLUICE_MODEL_SEED={seed}: {error}\nschema {}",
                    schema.to_json()
                ));
            }
        }
    }
    println!("ovsdb-server died {crashes} times");
    println!("{counts:?}");
    assert!(
        differences.is_empty(),
        "{} differences; the first:\n{}",
        differences.len(),
        differences
            .iter()
            .take(12)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n\n")
    );
}
