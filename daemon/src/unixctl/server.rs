//! The daemon's end: a table of commands, and one task per client.
//!
//! A command is either answered on the spot by a function (`vlog/list`, `version`), or handed as
//! a [`Request`] to the daemon's event loop, which answers when it can, also much later.
//! Requests of one client are answered in their order; clients do not wait for each other.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::Answer;
use super::framing::Framing;
use crate::{version, vlog};

/// A client that sends more than this in one request is cut off.
const MAX_REQUEST: usize = 1 << 20;
/// More clients than this wait until another one leaves.
const MAX_CLIENTS: usize = 256;
/// Requests that the event loop has not taken yet.
const MAX_PENDING: usize = 64;

/// One command for the event loop.
#[derive(Debug)]
pub struct Request {
    pub command: String,
    pub args: Vec<String>,
    reply: oneshot::Sender<Reply>,
}

/// An answer, and whom to tell that it was written to the socket.
#[derive(Debug)]
struct Reply {
    answer: Answer,
    written: Option<oneshot::Sender<()>>,
}

impl Request {
    /// Answers. A client that has left does not mind.
    pub fn reply(self, answer: Answer) {
        let _ = self.reply.send(Reply {
            answer,
            written: None,
        });
    }

    /// Answers, and waits until the answer was written or the client has left: for `exit`.
    pub async fn reply_written(self, answer: Answer) {
        let (written, done) = oneshot::channel();
        let reply = Reply {
            answer,
            written: Some(written),
        };
        if self.reply.send(reply).is_ok() {
            let _ = done.await;
        }
    }
}

type Function = Box<dyn Fn(&[String]) -> Answer + Send + Sync>;

enum Handler {
    Function(Function),
    EventLoop,
}

struct Command {
    usage: String,
    min_args: usize,
    max_args: usize,
    handler: Handler,
}

/// The table of commands, filled before the server starts.
pub struct Commands {
    table: BTreeMap<String, Command>,
    /// Why commands of the program that this one stands for are not carried out.
    refused: BTreeMap<String, String>,
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.table.keys()).finish()
    }
}

impl Commands {
    /// A table with the commands that every daemon has: `list-commands`, `version` and `vlog/*`.
    pub fn new(program: &str) -> Commands {
        let mut commands = Commands {
            table: BTreeMap::new(),
            refused: BTreeMap::new(),
        };
        let text = version::text(program);
        commands.function("version", "", 0, 0, move |_| Ok(text.clone()));
        commands.function(
            "vlog/set",
            "{spec | PATTERN:destination:pattern}",
            0,
            usize::MAX,
            vlog::commands::set,
        );
        commands.function("vlog/list", "", 0, 0, vlog::commands::list);
        commands.function("vlog/list-pattern", "", 0, 0, vlog::commands::list_pattern);
        commands.function("vlog/reopen", "", 0, 0, vlog::commands::reopen);
        commands.function("vlog/close", "", 0, 0, vlog::commands::close);
        commands.register("list-commands", "", 0, 0, Handler::EventLoop);
        commands
    }

    /// A command that a function answers on the spot, in the client's own task. It must not
    /// block.
    pub fn function(
        &mut self,
        name: &str,
        usage: &str,
        min_args: usize,
        max_args: usize,
        function: impl Fn(&[String]) -> Answer + Send + Sync + 'static,
    ) {
        self.register(
            name,
            usage,
            min_args,
            max_args,
            Handler::Function(Box::new(function)),
        );
    }

    /// A command that the event loop answers.
    pub fn event(&mut self, name: &str, usage: &str, min_args: usize, max_args: usize) {
        self.register(name, usage, min_args, max_args, Handler::EventLoop);
    }

    /// A command that is not carried out, and therefore not listed; whoever tries is told why.
    pub fn refuse(&mut self, name: &str, why: &str) {
        self.refused.insert(name.to_owned(), why.to_owned());
    }

    fn register(
        &mut self,
        name: &str,
        usage: &str,
        min_args: usize,
        max_args: usize,
        handler: Handler,
    ) {
        self.table.insert(
            name.to_owned(),
            Command {
                usage: usage.to_owned(),
                min_args,
                max_args,
                handler,
            },
        );
    }

    fn list(&self) -> String {
        let mut text = "The available commands are:\n".to_owned();
        for (name, command) in &self.table {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {name:<23} {}", command.usage);
        }
        text
    }

    fn find(&self, name: &str, args: usize) -> Result<&Command, String> {
        let Some(command) = self.table.get(name) else {
            if let Some(why) = self.refused.get(name) {
                return Err(format!("\"{name}\" is not supported: {why}"));
            }
            return Err(format!(
                "\"{name}\" is not a valid command (use \"list-commands\" to see a list of valid \
                 commands)"
            ));
        };
        if args < command.min_args {
            Err(format!(
                "\"{name}\" command requires at least {} arguments",
                command.min_args
            ))
        } else if args > command.max_args {
            Err(format!(
                "\"{name}\" command takes at most {} arguments",
                command.max_args
            ))
        } else {
            Ok(command)
        }
    }
}

#[derive(Debug, Error)]
#[error("{}: cannot listen for unixctl connections ({})", .path.display(), crate::pidfile::reason(.source))]
pub struct ListenError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// The listening socket. Dropping it removes the socket file.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Listens on `path`, replacing what a dead daemon left there. Requests for the event loop
    /// come out of the returned receiver. Must run inside a tokio runtime.
    pub fn listen(
        path: &Path,
        commands: Commands,
    ) -> Result<(Server, mpsc::Receiver<Request>), ListenError> {
        let failed = |source| ListenError {
            path: path.to_owned(),
            source,
        };
        let listener = crate::stream::bind_unix(path).map_err(failed)?;
        let (sender, receiver) = mpsc::channel(MAX_PENDING);
        let task = tokio::spawn(accept(listener, Arc::new(commands), sender));
        Ok((
            Server {
                path: path.to_owned(),
                task,
            },
            receiver,
        ))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn accept(listener: UnixListener, commands: Arc<Commands>, sender: mpsc::Sender<Request>) {
    let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let Ok(permit) = clients.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let commands = commands.clone();
                let sender = sender.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &commands, &sender).await {
                        tracing::debug!(target: "unixctl", "client: {error}");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be closed.
                tracing::warn!(target: "unixctl", "accept failed: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(
    mut stream: UnixStream,
    commands: &Commands,
    sender: &mpsc::Sender<Request>,
) -> io::Result<()> {
    let mut framing = Framing::new(MAX_REQUEST);
    let mut chunk = vec![0u8; 4096];
    loop {
        while let Some(object) = framing.next_object().map_err(io::Error::other)? {
            let (id, command, args) = parse(&object).map_err(io::Error::other)?;
            let reply = execute(commands, sender, command, args).await;
            stream
                .write_all(encode(&id, reply.answer).as_bytes())
                .await?;
            if let Some(written) = reply.written {
                let _ = written.send(());
            }
        }
        let n = stream.read(&mut chunk).await?;
        if n == 0 {
            return Ok(());
        }
        framing.extend(chunk.get(..n).unwrap_or_default());
    }
}

async fn execute(
    commands: &Commands,
    sender: &mpsc::Sender<Request>,
    command: String,
    args: Vec<String>,
) -> Reply {
    let at_once = |answer| Reply {
        answer,
        written: None,
    };
    let found = match commands.find(&command, args.len()) {
        Ok(found) => found,
        Err(text) => return at_once(Err(text)),
    };
    tracing::debug!(target: "unixctl", "received request {command}{args:?}");
    match &found.handler {
        Handler::Function(function) => at_once(function(&args)),
        Handler::EventLoop if command == "list-commands" => at_once(Ok(commands.list())),
        Handler::EventLoop => {
            let (reply, answer) = oneshot::channel();
            let request = Request {
                command,
                args,
                reply,
            };
            let exiting = || at_once(Err("the daemon is exiting".to_owned()));
            if sender.send(request).await.is_err() {
                return exiting();
            }
            answer.await.unwrap_or_else(|_| exiting())
        }
    }
}

/// Takes a request apart. What is no request ends the connection, as with the stock server.
fn parse(object: &[u8]) -> Result<(Value, String, Vec<String>), String> {
    let value: Value = serde_json::from_slice(object).map_err(|error| error.to_string())?;
    let Value::Object(mut members) = value else {
        return Err("request is not an object".to_owned());
    };
    let id = match members.remove("id") {
        None | Some(Value::Null) => return Err("request has no id".to_owned()),
        Some(id) => id,
    };
    let Some(Value::String(method)) = members.remove("method") else {
        return Err("request has no method".to_owned());
    };
    let Some(Value::Array(params)) = members.remove("params") else {
        return Err("request has no params".to_owned());
    };
    let args = params
        .into_iter()
        .map(|param| match param {
            Value::String(text) => text,
            // Answered as an argument that no command knows rather than by silence.
            other => other.to_string(),
        })
        .collect();
    Ok((id, method, args))
}

fn encode(id: &Value, answer: Answer) -> String {
    let newline = |mut text: String| {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    };
    match answer {
        Ok(text) => json!({"id": id, "result": newline(text), "error": null}),
        Err(text) => json!({"id": id, "error": newline(text)}),
    }
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    async fn exchange(stream: &mut UnixStream, request: &str, answers: usize) -> Vec<String> {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut framing = Framing::new(1 << 20);
        let mut chunk = [0u8; 100];
        let mut out = Vec::new();
        while out.len() < answers {
            let n = stream.read(&mut chunk).await.unwrap();
            assert!(n > 0, "closed");
            framing.extend(&chunk[..n]);
            while let Some(object) = framing.next_object().unwrap() {
                out.push(String::from_utf8(object).unwrap());
            }
        }
        out
    }

    #[test]
    fn answers_like_the_stock_server() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ctl");
        runtime().block_on(async {
            let mut commands = Commands::new("vswitchd");
            commands.event("late", "ARG", 1, 1);
            commands.refuse("cluster/cid", "this build has no clusters");
            let (_server, mut requests) = Server::listen(&path, commands).unwrap();
            tokio::spawn(async move {
                while let Some(request) = requests.recv().await {
                    let text = request.args.join(",");
                    request.reply(Ok(text));
                }
            });
            let mut stream = UnixStream::connect(&path).await.unwrap();
            let got = exchange(
                &mut stream,
                concat!(
                    r#"{"id":0,"method":"versio","params":["1"]}"#,
                    r#"{"id":"x","method":"late","params":["a\nb"]}"#,
                    r#"{"id":0,"method":"version","params":[1]}"#,
                    r#"{"id":7,"method":"late","params":[]}"#,
                    r#"{"id":8,"method":"cluster/cid","params":["x"]}"#
                ),
                5,
            )
            .await;
            assert_eq!(
                got,
                [
                    "{\"id\":0,\"error\":\"\\\"versio\\\" is not a valid command (use \
                     \\\"list-commands\\\" to see a list of valid commands)\\n\"}",
                    "{\"id\":\"x\",\"result\":\"a\\nb\\n\",\"error\":null}",
                    "{\"id\":0,\"error\":\"\\\"version\\\" command takes at most 0 \
                     arguments\\n\"}",
                    "{\"id\":7,\"error\":\"\\\"late\\\" command requires at least 1 \
                     arguments\\n\"}",
                    "{\"id\":8,\"error\":\"\\\"cluster/cid\\\" is not supported: this build \
                     has no clusters\\n\"}",
                ]
            );
            let listed = exchange(
                &mut stream,
                r#"{"id":1,"method":"list-commands","params":[]}"#,
                1,
            )
            .await;
            assert!(listed[0].contains("\\n  late                    ARG\\n"));
        });
        assert!(!path.exists());
    }

    #[test]
    fn malformed_requests_end_the_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ctl");
        runtime().block_on(async {
            let (_server, _requests) = Server::listen(&path, Commands::new("vswitchd")).unwrap();
            let good = r#"{"id":0,"method":"version","params":[]}"#;
            for bad in [
                "[]",
                "x",
                "{}",
                "{\"id\":1}",
                "{\"id\":null,\"method\":\"version\",\"params\":[]}",
            ] {
                let mut stream = UnixStream::connect(&path).await.unwrap();
                stream.write_all(bad.as_bytes()).await.unwrap();
                let mut rest = Vec::new();
                let read = stream.read_to_end(&mut rest).await;
                assert!(read.is_err() || rest.is_empty(), "{bad}");
            }
            for cut in 0..good.len() {
                let mut stream = UnixStream::connect(&path).await.unwrap();
                stream.write_all(&good.as_bytes()[..cut]).await.unwrap();
            }
            let mut stream = UnixStream::connect(&path).await.unwrap();
            assert_eq!(exchange(&mut stream, good, 1).await.len(), 1);
        });
    }
}
