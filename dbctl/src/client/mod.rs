//! Commands that talk to database servers: ovsdb-client(1).

mod backup;
mod connect;
mod dump;
mod lock;
mod monitor;
mod schema;
mod transact;
mod wait;

use std::time::Duration;

use daemon::detach::{Detach, Running, Startup};
use daemon::unixctl::{self, Commands};
use nix::sys::signal::{Signal, raise};
use ovsdb::client;
use serde_json::Value;
use thiserror::Error;

use crate::options::Options;
use crate::{json, schema_file};
use connect::Server;

/// What a command needs before its own arguments are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// It connects by itself.
    Nothing,
    Server,
    /// A server and the name of a database on it.
    Database,
}

/// A command: its arguments, how many of them there may be without server and database.
pub struct Command {
    pub name: &'static str,
    pub usage: &'static str,
    pub what: &'static str,
    needs: Needs,
    min: usize,
    max: usize,
    /// Whether `--detach` and its companions mean something.
    daemon: bool,
}

const fn command(
    name: &'static str,
    usage: &'static str,
    needs: Needs,
    (min, max): (usize, usize),
    what: &'static str,
) -> Command {
    Command {
        name,
        usage,
        what,
        needs,
        min,
        max,
        daemon: false,
    }
}

const fn daemon_command(command: Command) -> Command {
    Command {
        daemon: true,
        ..command
    }
}

const MANY: usize = usize::MAX;
const DATABASE: Needs = Needs::Database;

pub const COMMANDS: &[Command] = &[
    command(
        "list-dbs",
        "[server]",
        Needs::Server,
        (0, 0),
        "list the databases",
    ),
    command(
        "get-schema",
        "[server] [database]",
        DATABASE,
        (0, 0),
        "print a schema",
    ),
    command(
        "get-schema-version",
        "[server] [database]",
        DATABASE,
        (0, 0),
        "print the version of a schema",
    ),
    command(
        "get-schema-cksum",
        "[server] [database]",
        DATABASE,
        (0, 0),
        "print the checksum of a schema",
    ),
    command(
        "list-tables",
        "[server] [database]",
        DATABASE,
        (0, 0),
        "list the tables",
    ),
    command(
        "list-columns",
        "[server] [database] [table]",
        DATABASE,
        (0, 1),
        "list columns and their types",
    ),
    daemon_command(command(
        "transact",
        "[server] transaction",
        Needs::Nothing,
        (1, 2),
        "carry out a transaction",
    )),
    daemon_command(command(
        "query",
        "[server] transaction",
        Needs::Nothing,
        (1, 2),
        "carry out a transaction that changes nothing",
    )),
    daemon_command(command(
        "monitor",
        "[server] [database] table|ALL [column,...]...",
        DATABASE,
        (1, MANY),
        "print rows and then their changes",
    )),
    daemon_command(command(
        "monitor-cond",
        "[server] [database] conditions table [column,...]",
        DATABASE,
        (2, 3),
        "the same of rows that meet conditions",
    )),
    daemon_command(command(
        "monitor-cond-since",
        "[server] [database] [last-id] conditions table [column,...]",
        DATABASE,
        (2, 4),
        "the same after a transaction that is known",
    )),
    command(
        "wait",
        "[server] database added|connected|removed",
        Needs::Nothing,
        (2, 3),
        "wait for a database to come or go",
    ),
    command(
        "convert",
        "[server] schema",
        Needs::Nothing,
        (1, 2),
        "change the schema of a database",
    ),
    command(
        "needs-conversion",
        "[server] schema",
        Needs::Nothing,
        (1, 2),
        "say whether the schemas differ",
    ),
    command(
        "dump",
        "[server] [database] [table [column...]]",
        DATABASE,
        (0, MANY),
        "print rows as tables",
    ),
    command(
        "backup",
        "[server] [database] > snapshot",
        DATABASE,
        (0, 0),
        "print a database as a database file",
    ),
    command(
        "restore",
        "[server] [database] < snapshot",
        DATABASE,
        (0, 0),
        "replace all rows by those of a file",
    ),
    daemon_command(command(
        "lock",
        "[server] lock",
        Needs::Server,
        (1, 1),
        "ask for a lock and print what becomes of it",
    )),
    daemon_command(command(
        "steal",
        "[server] lock",
        Needs::Server,
        (1, 1),
        "take a lock away from its owner",
    )),
    daemon_command(command(
        "unlock",
        "[server] lock",
        Needs::Server,
        (1, 1),
        "give a lock up",
    )),
];

pub fn is_command(name: &str) -> bool {
    COMMANDS.iter().any(|command| command.name == name)
}

#[derive(Debug, Error)]
pub enum Error {
    #[error("invalid syntax for '{0}' (use --help for help)")]
    Syntax(&'static str),
    #[error(transparent)]
    Connect(#[from] connect::Error),
    #[error("transaction failed ({0})")]
    Connection(String),
    #[error("transaction returned error: {0}")]
    Remote(String),
    #[error("{server}: receive failed ({reason})")]
    Receive { server: String, reason: String },
    #[error("\"{text}\": {why}")]
    Json { text: String, why: String },
    #[error("{}", crate::ovsdb_error(.0))]
    Database(Box<ovsdb::Error>),
    #[error(transparent)]
    Schema(#[from] schema_file::Error),
    #[error(transparent)]
    File(#[from] crate::file::Error),
    #[error("{0}")]
    Fatal(String),
    #[error(transparent)]
    Output(#[from] crate::OutputError),
    #[error(transparent)]
    Start(#[from] daemon::detach::Error),
    #[error(transparent)]
    Unixctl(#[from] unixctl::server::ListenError),
    #[error("cannot start: {0}")]
    Runtime(#[source] std::io::Error),
}

impl From<ovsdb::Error> for Error {
    fn from(error: ovsdb::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

type Result<T, E = Error> = std::result::Result<T, E>;

/// One run of a command.
struct Call {
    name: &'static str,
    options: Options,
    startup: Option<Startup>,
}

impl Call {
    /// JSON as `--pretty` or its absence wants it.
    fn json_text(&self, json: &Value) -> String {
        let mut json = json.clone();
        json.sort_all_objects();
        if self.options.style.pretty {
            ovsdb::table::pretty_json(&json)
        } else {
            json.to_string()
        }
    }

    fn print_json(&self, json: &Value) -> Result<()> {
        Ok(crate::print(&format!("{}\n", self.json_text(json)))?)
    }

    /// Asks the server, whose error ends the run.
    async fn ask(&self, server: &mut Server, method: &str, params: Value) -> Result<Value> {
        match server.client.call(method, params).await {
            Ok(result) => Ok(result),
            Err(client::Error::Remote(error)) => Err(Error::Remote(self.json_text(&error))),
            Err(error) => Err(Error::Connection(connect::reason(&error))),
        }
    }

    /// Tells the server that this client understands databases that come, go and change.
    async fn become_change_aware(&self, server: &mut Server) -> Result<()> {
        let wanted = self.options.db_change_aware;
        if wanted == Some(false) {
            return Ok(());
        }
        let params = serde_json::json!([true]);
        match server.client.call("set_db_change_aware", params).await {
            Ok(_) => Ok(()),
            // Older servers do not know it, which matters only when it was asked for.
            Err(client::Error::Remote(_)) if wanted.is_none() => Ok(()),
            Err(client::Error::Remote(error)) => Err(Error::Fatal(format!(
                "{}: set_db_change_aware failed ({error})",
                server.name
            ))),
            Err(error) => Err(Error::Fatal(format!(
                "{}: error setting db_change_aware ({})",
                server.name,
                connect::reason(&error)
            ))),
        }
    }

    /// With `--detach`, a control socket; its commands come out of the receiver.
    fn control(&self, commands: &[(&str, &str, usize)]) -> Result<Option<Control>> {
        if !self.options.daemon.detach.detach {
            return Ok(None);
        }
        let Some(path) = self.options.daemon.unixctl_path() else {
            return Ok(None);
        };
        let mut table = Commands::new(&self.options.daemon.program);
        for (name, usage, args) in commands {
            table.event(name, usage, *args, *args);
        }
        let (server, requests) = unixctl::Server::listen(&path, table)?;
        Ok(Some(Control {
            _server: server,
            requests,
        }))
    }

    /// The first answer is printed: with `--detach` the parent exits now. Output still goes where it
    /// went, as with the stock program.
    fn started(&mut self) -> Result<Option<Running>> {
        let Some(startup) = self.startup.take() else {
            return Ok(None);
        };
        if !self.options.daemon.detach.detach {
            return Ok(Some(startup.complete()?));
        }
        let system = |source| daemon::detach::Error::System {
            doing: "dup",
            source,
        };
        let out = nix::unistd::dup(std::io::stdout()).map_err(system)?;
        let running = startup.complete()?;
        nix::unistd::dup2_stdout(&out).map_err(system)?;
        Ok(Some(running))
    }
}

/// The control socket of a detached command.
struct Control {
    _server: unixctl::Server,
    requests: tokio::sync::mpsc::Receiver<unixctl::Request>,
}

/// The next command from the control socket; without one, there is never any.
async fn next_request(control: &mut Option<Control>) -> unixctl::Request {
    if let Some(control) = control
        && let Some(request) = control.requests.recv().await
    {
        return request;
    }
    std::future::pending().await
}

/// JSON that the user gave as an argument.
fn parse_json(text: &str) -> Result<Value> {
    json::parse(text.as_bytes()).map_err(|why| Error::Json {
        text: text.to_owned(),
        why,
    })
}

/// Carries out the command `name`, which is one of [`COMMANDS`].
pub fn run(mut options: Options, name: &str, args: Vec<String>) -> Result<()> {
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err(Error::Fatal(format!("unknown command '{name}'")));
    };
    if !command.daemon {
        options.daemon.detach = Detach::default();
    }
    let startup = options.daemon.start()?;
    // After the fork, across which an alarm is not kept.
    let limit = daemon::timeout::arm(options.timeout);
    let call = Call {
        name: command.name,
        options,
        startup: Some(startup),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = carry_out(call, command, args) => result,
            () = expire(limit) => Ok(()),
        }
    });
    // A name that is still being looked up need not be waited for.
    runtime.shutdown_background();
    result
}

async fn carry_out(mut call: Call, command: &Command, args: Vec<String>) -> Result<()> {
    let (connected, args) = match command.needs {
        Needs::Nothing => (None, args),
        needs => {
            let wanted = (needs == Needs::Database).then_some(connect::Wanted::Any);
            let (server, database, used) = connect::open(&call, command.min, wanted, &args).await?;
            let rest = args.get(used..).unwrap_or_default().to_vec();
            (Some((server, database)), rest)
        }
    };
    if !(command.min..=command.max).contains(&args.len()) {
        return Err(Error::Syntax(command.name));
    }
    let Some((mut server, database)) = connected else {
        return match command.name {
            "transact" => transact::transact(&mut call, &args).await,
            "query" => transact::query(&mut call, &args).await,
            "wait" => wait::wait(&args).await,
            "convert" => schema::convert(&call, &args).await,
            _ => schema::needs_conversion(&call, &args).await,
        };
    };
    let (call, server) = (&mut call, &mut server);
    match command.name {
        "list-dbs" => schema::list_dbs(call, server).await,
        "get-schema" => schema::get_schema(call, server, &database).await,
        "get-schema-version" => schema::get_schema_version(call, server, &database).await,
        "get-schema-cksum" => schema::get_schema_cksum(call, server, &database).await,
        "list-tables" => schema::list_tables(call, server, &database).await,
        "list-columns" => schema::list_columns(call, server, &database, &args).await,
        "monitor" => monitor::monitor(call, server, &database, &args).await,
        "monitor-cond" => monitor::monitor_cond(call, server, &database, &args).await,
        "monitor-cond-since" => monitor::monitor_cond_since(call, server, &database, &args).await,
        "dump" => dump::dump(call, server, &database, &args).await,
        "backup" => backup::backup(call, server, &database).await,
        "restore" => backup::restore(call, server, &database).await,
        _ => lock::lock(call, server, args.first().map_or("", String::as_str)).await,
    }
}

/// Dies by SIGALRM after `limit` seconds, with a word on why.
async fn expire(limit: Option<u32>) {
    let Some(limit) = limit else {
        return std::future::pending().await;
    };
    // The kernel's own alarm stays armed in case this task does not get to run.
    nix::unistd::alarm::set(limit.saturating_add(1));
    tokio::time::sleep(Duration::from_secs(limit.into())).await;
    tracing::warn!(target: "fatal_signal", "terminating with signal 14 (Alarm clock)");
    let _ = raise(Signal::SIGALRM);
}
