//! A db-server process in a directory of its own, and a blocking client.
#![allow(dead_code)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ovsdb::jsonrpc::{Framer, Message};
use serde_json::{Value, json};

/// A running server; killed when dropped.
pub struct Process {
    pub child: Child,
    pub directory: PathBuf,
}

impl Process {
    /// Starts a server on `<directory>/conf.db` that listens on `<directory>/db.sock`, and waits
    /// until it does.
    pub fn start(directory: &Path, args: &[&str]) -> Self {
        let socket = directory.join("db.sock");
        let _ = std::fs::remove_file(&socket);
        let child = command(directory)
            .arg(format!("--remote=punix:{}", socket.display()))
            .args(args)
            .arg(directory.join("conf.db"))
            .spawn()
            .expect("the server starts");
        let mut this = Self {
            child,
            directory: directory.to_owned(),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(&socket).is_err() {
            if let Ok(Some(status)) = this.child.try_wait() {
                panic!("the server ended with {status}");
            }
            assert!(Instant::now() < deadline, "the server does not listen");
            std::thread::sleep(Duration::from_millis(2));
        }
        this
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.directory.join("db.sock")).expect("the server accepts")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server's command line up to its options, quiet and with its files in `directory`.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_db-server"));
    command
        .env("OVS_RUNDIR", directory)
        .env("OVS_LOGDIR", directory)
        .env("OVS_DBDIR", directory)
        .arg(format!("--unixctl={}", directory.join("db.ctl").display()))
        .arg("-vconsole:off")
        .stdin(Stdio::null());
    command
}

/// A JSON-RPC client that waits for each answer.
pub struct Client {
    pub stream: UnixStream,
    framer: Framer,
    next_id: u64,
}

impl Client {
    pub fn connect(path: &Path) -> std::io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self {
            stream,
            framer: Framer::default(),
            next_id: 0,
        })
    }

    pub fn send(&mut self, message: &Message) -> std::io::Result<()> {
        self.stream.write_all(&message.to_bytes())
    }

    /// The next message; an error when the connection ends.
    pub fn receive(&mut self) -> std::io::Result<Message> {
        let mut chunk = [0u8; 65536];
        loop {
            let message = self.framer.poll_message().map_err(std::io::Error::other)?;
            if let Some(message) = message {
                return Ok(message);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => self.framer.push(&chunk[..count]),
            }
        }
    }

    /// Sends a request and gives the result or error of its reply.
    pub fn call(&mut self, method: &str, params: Value) -> std::io::Result<Result<Value, Value>> {
        self.next_id += 1;
        let id = json!(self.next_id);
        self.send(&Message::request(id.clone(), method, params))?;
        loop {
            if let Message::Response { id: of, result } = self.receive()?
                && of == id
            {
                return Ok(result);
            }
        }
    }

    /// Executes operations on `Open_vSwitch` and gives their results.
    pub fn transact(&mut self, operations: &[Value]) -> std::io::Result<Vec<Value>> {
        let mut params = vec![json!("Open_vSwitch")];
        params.extend_from_slice(operations);
        match self.call("transact", Value::Array(params))? {
            Ok(Value::Array(results)) => Ok(results),
            other => Err(std::io::Error::other(format!("{other:?}"))),
        }
    }
}

/// Sends a command to the control socket at `path`.
pub fn appctl(path: &Path, command: &str, args: &[&str]) -> Result<String, String> {
    let mut client = daemon::unixctl::client::Client::connect(path).expect("control socket");
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    client.transact(command, &args).expect("an answer")
}

/// Waits until `condition` gives something.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Writes a database file without rows.
pub fn create(path: &Path, schema: &Value) {
    std::fs::write(path, db_server::log::encode(schema)).unwrap();
}

/// A schema with tables T and U.
pub fn small_schema(name: &str) -> Value {
    let columns = json!({"a": {"type": "string"}, "n": {"type": "integer"}});
    let table = json!({"isRoot": true, "columns": columns});
    json!({"name": name, "version": "1.0.0", "tables": {"T": table, "U": table}})
}

/// A server with its own sockets `<name>.sock` and `<name>.ctl`, ours or the stock one.
pub struct Named {
    child: Child,
    pub socket: PathBuf,
    pub ctl: PathBuf,
}

impl Named {
    /// `None` when it is the stock one and that is not installed.
    pub fn start(directory: &Path, name: &str, stock: bool, args: &[&str]) -> Option<Self> {
        let program = match stock {
            true => "ovsdb-server",
            false => env!("CARGO_BIN_EXE_db-server"),
        };
        let (socket, ctl) = (
            directory.join(format!("{name}.sock")),
            directory.join(format!("{name}.ctl")),
        );
        let spawned = Command::new(program)
            .env("OVS_RUNDIR", directory)
            .env("OVS_LOGDIR", directory)
            .env("OVS_DBDIR", directory)
            .current_dir(directory)
            .arg("-vconsole:off")
            .arg(format!("--unixctl={}", ctl.display()))
            .arg(format!("--remote=punix:{}", socket.display()))
            .arg(format!(
                "--log-file={}",
                directory.join(name).with_extension("log").display()
            ))
            .args(args)
            .stdin(Stdio::null())
            .spawn();
        let mut child = match spawned {
            Err(error) if stock && error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("skipped: ovsdb-server is not installed");
                return None;
            }
            other => other.expect("the server starts"),
        };
        eventually("the server listens", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the server ended with {status}");
            }
            let listens = |path| UnixStream::connect(path).is_ok();
            (listens(&socket) && listens(&ctl)).then_some(())
        });
        Some(Self { child, socket, ctl })
    }

    pub fn appctl(&self, command: &str, args: &[&str]) -> Result<String, String> {
        appctl(&self.ctl, command, args)
    }

    /// Executes operations and gives their results.
    pub fn transact(&self, params: Value) -> Value {
        let mut client = Client::connect(&self.socket).expect("the server accepts");
        client.call("transact", params).unwrap().unwrap()
    }

    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
