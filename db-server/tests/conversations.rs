//! Conversations of several clients with a server, each in a file of `data/conversations/` with
//! what ovsdb-server 3.1 said in it.
//!
//! ```text
//! 1> METHOD PARAMS     client 1 sends a request; requests are numbered from 1 on
//! 1! METHOD PARAMS     client 1 sends a notification
//! after MS             time passes
//! 1< MESSAGE           what client 1 receives until nobody has anything more to say
//! 1< closed            its connection ends
//! ```
//!
//! UUIDs are written `<N>`, numbered by their first appearance, and can be sent by that name.
//! Lines that begin with `#` are comments.
//!
//! `answers_as_recorded` holds the files against the server's core. `recorded_from_stock` holds
//! them against an installed ovsdb-server; with `SLUICE_RECORD=1` it writes them anew instead.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use db_server::database::Database;
use db_server::server::{Output, Peer, Server, SessionId};
use ovsdb::error::sorted_json;
use ovsdb::jsonrpc::{Framer, Message};
use ovsdb::value::parse_uuid;
use ovsdb::{DatabaseSchema, Uuid};
use serde_json::{Value, json};

const SCHEMA: &str = include_str!("data/talk.ovsschema");

/// What a client hears: a message, or with `None` the end of its connection.
type Heard = (SessionId, Option<Value>);

/// One line of a conversation that makes something happen.
enum Step {
    Send(SessionId, Message),
    After(Duration),
}

/// A server to talk to. Clients are there as soon as they are named.
trait Party {
    /// Does the step and gives everything that it leads to, in order for each client.
    fn step(&mut self, step: Step) -> Vec<Heard>;
}

/// The core of our server, with a clock that stands still between steps.
struct Core {
    server: Server,
    now: Instant,
    clients: Vec<SessionId>,
}

impl Core {
    fn new() -> Self {
        let json = serde_json::from_str(SCHEMA).unwrap();
        let mut server = Server::new(Box::new(Uuid::new_v4), true);
        server.add_database(Database::new(DatabaseSchema::from_json(&json).unwrap()));
        while server.poll_output().is_some() {}
        Self {
            server,
            now: Instant::now(),
            clients: Vec::new(),
        }
    }
}

impl Party for Core {
    fn step(&mut self, step: Step) -> Vec<Heard> {
        match step {
            Step::Send(client, message) => {
                if !self.clients.contains(&client) {
                    self.clients.push(client);
                    self.server.handle_connect(client, Peer::default());
                }
                self.server.handle_message(client, message, self.now, 0);
            }
            Step::After(time) => {
                self.now += time;
                self.server.handle_timeout(self.now, 0);
            }
        }
        let mut heard = Vec::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send {
                    session, message, ..
                } => heard.push((session, Some(message.to_json()))),
                Output::Text { session, text, .. } => {
                    heard.push((session, Some(serde_json::from_slice(&text).unwrap())));
                }
                Output::Updates { group, text, .. } => {
                    let json: Value = serde_json::from_slice(&text).unwrap();
                    let sessions = group.sessions.iter();
                    heard.extend(sessions.map(|session| (*session, Some(json.clone()))));
                }
                Output::Close { session, .. } => {
                    heard.push((session, None));
                    self.clients.retain(|client| *client != session);
                    self.server.handle_disconnect(session);
                }
                _ => {}
            }
        }
        heard
    }
}

/// A stock server in a directory of its own.
struct Stock {
    directory: tempfile::TempDir,
    child: Child,
    clients: BTreeMap<SessionId, (UnixStream, Framer)>,
}

impl Stock {
    /// `None` when it is not installed.
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let schema = at.join("schema");
        std::fs::write(&schema, SCHEMA).unwrap();
        let made = Command::new("ovsdb-tool")
            .arg("create")
            .args([at.join("db"), schema])
            .env("OVS_RUNDIR", at)
            .status();
        if matches!(&made, Err(error) if error.kind() == std::io::ErrorKind::NotFound) {
            return None;
        }
        assert!(made.unwrap().success());
        let child = Command::new("ovsdb-server")
            .env("OVS_RUNDIR", at)
            .arg("-vconsole:off")
            .arg(format!("--unixctl={}", at.join("ctl").display()))
            .arg(format!("--remote=punix:{}", at.join("sock").display()))
            .arg(at.join("db"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self {
            directory,
            child,
            clients: BTreeMap::new(),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while this.connect().is_err() {
            assert!(Instant::now() < deadline, "ovsdb-server does not listen");
            std::thread::sleep(Duration::from_millis(2));
        }
        Some(this)
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(self.directory.path().join("sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(stream)
    }

    /// What the client hears until it has an answer to a question of ours.
    fn listen(&mut self, client: SessionId) -> Vec<Heard> {
        let mut heard = Vec::new();
        let Some((stream, framer)) = self.clients.get_mut(&client) else {
            return heard;
        };
        let echo = Message::request(json!("over"), "echo", json!([]));
        let mut open = stream.write_all(&echo.to_bytes()).is_ok();
        let mut chunk = [0u8; 4096];
        while open {
            while let Some(message) = framer.poll_message().unwrap() {
                let json = message.to_json();
                if json["id"] == "over" {
                    return heard;
                }
                heard.push((client, Some(json)));
            }
            match stream.read(&mut chunk) {
                Ok(0) => open = false,
                Ok(count) => framer.push(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => open = false,
                Err(error) => panic!("{error}"),
            }
        }
        self.clients.remove(&client);
        heard.push((client, None));
        heard
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Party for Stock {
    fn step(&mut self, step: Step) -> Vec<Heard> {
        let mut heard = Vec::new();
        match step {
            Step::Send(client, message) => {
                if !self.clients.contains_key(&client) {
                    let stream = self
                        .connect()
                        .unwrap_or_else(|error| panic!("{error}, before {message:?}"));
                    self.clients.insert(client, (stream, Framer::default()));
                }
                let (stream, _) = self.clients.get_mut(&client).unwrap();
                let _ = stream.write_all(&message.to_bytes());
                heard = self.listen(client);
            }
            Step::After(time) => std::thread::sleep(time + Duration::from_millis(20)),
        }
        let mut ends = 0;
        loop {
            for client in self.clients.keys().copied().collect::<Vec<_>>() {
                heard.append(&mut self.listen(client));
            }
            let count = heard
                .iter()
                .filter(|(_, message)| message.is_none())
                .count();
            if count == ends {
                return heard;
            }
            // What follows from the end of a connection comes later.
            ends = count;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The UUIDs of a conversation and their numbers.
#[derive(Default)]
struct Numbers {
    numbers: HashMap<Uuid, usize>,
    uuids: Vec<Uuid>,
}

impl Numbers {
    /// The text with UUIDs in place of `<N>`.
    fn fill(&self, text: &str) -> String {
        let numbered = self.uuids.iter().enumerate();
        numbered.fold(text.to_owned(), |text, (n, uuid)| {
            text.replace(&format!("<{n}>"), &uuid.hyphenated().to_string())
        })
    }

    /// The text with its UUIDs numbered, those of few digits apart. New ones get numbers, or, to
    /// sort by the text, are all the same.
    fn number(&mut self, text: &str, learn: bool) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let uuid = rest.get(..36).and_then(parse_uuid);
            match uuid.filter(|uuid| uuid.as_u128() > u128::from(u32::MAX)) {
                Some(uuid) => {
                    if learn && !self.numbers.contains_key(&uuid) {
                        self.numbers.insert(uuid, self.uuids.len());
                        self.uuids.push(uuid);
                    }
                    match self.numbers.get(&uuid) {
                        Some(number) => out.push_str(&format!("<{number}>")),
                        None => out.push_str("<?>"),
                    }
                    rest = &rest[36..];
                }
                None => {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        out
    }

    /// The message as text in which nothing depends on which UUIDs were drawn.
    fn normalize(&mut self, json: &Value) -> String {
        let mut json = json.clone();
        // Transaction ids, which ovsdb-server does not have for files of this kind.
        for (before, pointer) in [("/method", "/params/1"), ("/result/0", "/result/1")] {
            let telling = json
                .pointer(before)
                .is_some_and(|v| v == "update3" || v.is_boolean());
            if let Some(id) = json.pointer_mut(pointer).filter(|_| telling) {
                *id = json!("TRANSACTION");
            }
        }
        let mut pieces = Vec::new();
        self.pieces(&json, &mut pieces);
        self.number(&pieces.concat(), true)
    }

    /// JSON text in which what the UUIDs put in an order is in another one.
    fn pieces(&mut self, json: &Value, out: &mut Vec<String>) {
        match json {
            Value::Object(map) => {
                let mut members: Vec<(String, &String, &Value)> = map
                    .iter()
                    .map(|(key, value)| {
                        let text = format!("{key}:{}", sorted_json(value));
                        (self.number(&text, false), key, value)
                    })
                    .collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                out.push("{".to_owned());
                for (i, (_, key, value)) in members.into_iter().enumerate() {
                    let comma = if i > 0 { "," } else { "" };
                    out.push(format!("{comma}{}:", Value::from(key.as_str())));
                    let mut value = value.clone();
                    if let Some(rows) = value.as_array_mut().filter(|_| key == "rows") {
                        rows.sort_by_key(|row| self.number(&sorted_json(row), false));
                    }
                    self.pieces(&value, out);
                }
                out.push("}".to_owned());
            }
            Value::Array(items) => {
                let mut items: Vec<&Value> = items.iter().collect();
                let uuids = |item: &&Value| item.get(0) == Some(&json!("uuid"));
                let databases = items.contains(&&json!("_Server"));
                if databases || items.iter().all(uuids) {
                    items.sort_by_key(|item| self.number(&sorted_json(item), false));
                }
                out.push("[".to_owned());
                for (i, item) in items.into_iter().enumerate() {
                    if i > 0 {
                        out.push(",".to_owned());
                    }
                    self.pieces(item, out);
                }
                out.push("]".to_owned());
            }
            Value::String(text) => {
                // Of two rows that collide the one that comes first in a hash table is told first.
                let text = text
                    .split("  First row, with UUID")
                    .next()
                    .unwrap_or_default();
                let text = match text.strip_prefix("\"wait\" timed out after ") {
                    Some(_) => "\"wait\" timed out after some ms",
                    None => text,
                };
                out.push(Value::from(text).to_string());
            }
            scalar => out.push(scalar.to_string()),
        }
    }
}

/// Goes through a conversation and gives it with what was really heard.
fn replay(text: &str, party: &mut dyn Party) -> String {
    let mut out = String::new();
    let mut numbers = Numbers::default();
    let mut requests = 0;
    for line in text.lines() {
        let step = match line.split_once(' ') {
            Some(("after", ms)) => Step::After(Duration::from_millis(ms.parse().unwrap())),
            Some((who, _)) if who.ends_with('<') => continue,
            Some((who, rest)) if who.ends_with(['>', '!']) => {
                let (method, params) = rest.split_once(' ').unwrap();
                let params: Value = serde_json::from_str(&numbers.fill(params)).expect(line);
                let message = if who.ends_with('>') {
                    requests += 1;
                    Message::request(json!(requests), method, params)
                } else {
                    Message::notification(method, params)
                };
                Step::Send(who[..who.len() - 1].parse().unwrap(), message)
            }
            _ => {
                assert!(line.is_empty() || line.starts_with('#'), "{line}");
                out.push_str(&format!("{line}\n"));
                continue;
            }
        };
        out.push_str(&format!("{line}\n"));
        let mut heard = party.step(step);
        heard.sort_by_key(|(client, _)| *client);
        // The monitors of a client are told in no particular order.
        let update = |(client, message): &Heard| {
            let message = message.as_ref()?;
            let method = message["method"].as_str()?;
            let told = method.starts_with("update") || method == "monitor_canceled";
            told.then(|| (*client, message["params"][0].to_string()))
        };
        for updates in heard.chunk_by_mut(|a, b| update(a).is_some() && update(b).is_some()) {
            updates.sort_by_key(update);
        }
        for (client, message) in heard {
            let said = message.map_or("closed".to_owned(), |json| numbers.normalize(&json));
            out.push_str(&format!("{client}< {said}\n"));
        }
    }
    out
}

/// The conversations, by path.
fn conversations() -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/conversations");
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Says where two texts differ.
fn compare(path: &Path, recorded: &str, heard: &str, wrong: &mut Vec<String>) {
    let (mut a, mut b) = (recorded.lines(), heard.lines());
    let mut sent = "";
    loop {
        let (want, got) = (a.next(), b.next());
        if want != got {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let (want, got) = (want.unwrap_or("the end"), got.unwrap_or("the end"));
            wrong.push(format!(
                "{name}: {sent}\n  recorded {want}\n  heard    {got}"
            ));
            return;
        }
        match want {
            None => return,
            Some(line) if !line.contains("< ") => sent = line,
            Some(_) => {}
        }
    }
}

#[test]
fn answers_as_recorded() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (path, recorded) in conversations() {
        let heard = replay(&recorded, &mut Core::new());
        compare(&path, &recorded, &heard, &mut wrong);
        count += recorded.lines().filter(|line| line.contains("> ")).count();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{count} requests");
    assert!(count > 150);
}

#[test]
fn recorded_from_stock() {
    let record = std::env::var_os("SLUICE_RECORD").is_some();
    let mut wrong = Vec::new();
    for (path, recorded) in conversations() {
        let Some(mut stock) = Stock::start() else {
            let required = std::env::var_os("SLUICE_REQUIRE_ROOT").is_some();
            assert!(!required, "ovsdb-server is not installed");
            eprintln!("skipped: ovsdb-server is not installed");
            return;
        };
        let heard = replay(&recorded, &mut stock);
        if record {
            std::fs::write(&path, heard).unwrap();
        } else {
            compare(&path, &recorded, &heard, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
