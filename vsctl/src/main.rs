//! `vsctl`: shows and changes the configuration of the switch.
//!
//! Stands for ovs-vsctl(8): same commands, options, texts and exit statuses, also under that name.
//! A run is one transaction on the database: [`options`] and [`command`] take the command line
//! apart, [`prerequisites`] says what has to be seen, [`run`] carries the commands out on a
//! replica, and [`session`] sends the result and waits for the daemon.

mod bridge;
mod command;
mod context;
mod control;
mod database;
mod datum;
mod link;
mod model;
mod names;
mod options;
mod overview;
mod port;
mod prerequisites;
mod record;
mod run;
mod schema;
mod session;
mod symbols;
mod usage;
mod zone;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use daemon::{dirs, timeout, vlog};
use nix::sys::signal::{Signal, raise};
use ovsdb::replica::{Replica, Selection, Session};
use ovsdb::schema::DatabaseSchema;
use thiserror::Error;

use command::{Command, Mode};
use options::Options;

/// `br-exists` did not find the bridge.
const EXIT_NO_BRIDGE: u8 = 2;
/// The changes are in the database, but the daemon could not carry them all out.
const EXIT_PORTS_FAILED: u8 = 65;

/// Log modules that `-v` takes: those that log here, and those that scripts turn down because
/// they are noisy in the stock tool.
const MODULES: &[&str] = &[
    "vsctl",
    "db_ctl_base",
    "fatal_signal",
    "jsonrpc",
    "ovsdb_cs",
    "ovsdb_idl",
    "poll_loop",
    "reconnect",
    "socket_util",
    "stream",
    "stream_ssl",
    "stream_tcp",
    "stream_unix",
    "timeval",
];

#[derive(Debug, Error)]
enum Error {
    #[error("argument {0} is not valid UTF-8")]
    NotUtf8(usize),
    #[error(transparent)]
    Options(#[from] options::Error),
    #[error(transparent)]
    Command(#[from] command::Error),
    #[error(transparent)]
    Prerequisites(#[from] prerequisites::Error),
    #[error(transparent)]
    Link(#[from] link::Error),
    #[error(transparent)]
    Session(#[from] session::Error),
    #[error("cannot start: {0}")]
    Runtime(std::io::Error),
}

impl Error {
    /// The exit status, and whether there is something to print.
    fn status(&self) -> (u8, bool) {
        match self {
            Self::Session(session::Error::Run(run::Error::NoSuchBridge)) => (EXIT_NO_BRIDGE, false),
            Self::Session(session::Error::PortsFailed) => (EXIT_PORTS_FAILED, false),
            _ => (1, true),
        }
    }
}

fn main() -> ExitCode {
    let program = dirs::program_name();
    vlog::init(&program, vlog::Level::Warn);
    vlog::declare(MODULES);
    let Err(error) = run(&program) else {
        return ExitCode::SUCCESS;
    };
    let (status, print) = error.status();
    if print {
        // The terminal gets the message below; the other destinations get it as a log line.
        vlog::console_off();
        tracing::error!(target: "db_ctl_base", "{error}");
        eprintln!("{program}: {error}");
    }
    ExitCode::from(status)
}

fn run(program: &str) -> Result<(), Error> {
    let args = arguments()?;
    let line = command::escape_args(
        &std::iter::once(program.to_owned())
            .chain(args.iter().cloned())
            .collect::<Vec<_>>(),
    );
    let options = options::parse(program, args)?;
    if let Some(print) = options.print {
        let _ = std::io::stdout().write_all(usage::text(print, program).as_bytes());
        return Ok(());
    }
    let commands = command::parse(options.leading.clone(), &options.words)?;
    if commands.iter().any(|c| c.syntax.mode == Mode::Rw) {
        tracing::info!(target: "vsctl", "Called as {line}");
    } else {
        tracing::debug!(target: "vsctl", "Called as {line}");
    }
    let limit = timeout::arm(options.timeout);
    let schema = schema::vswitch();
    let selection = select(&schema, &options, &commands)?;
    let mut session = Session::new(Replica::new(selection));
    session.set_leader_only(options.leader_only);
    let mut link = link::Link::new(&options.db, options.retry, session)?;
    if options.shuffle_remotes {
        link.shuffle();
    }
    let comment = comment(program, &line);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?
        .block_on(async {
            tokio::select! {
                result = session::run(&mut link, &options, &commands, &comment) => {
                    link.flush().await;
                    Ok(result?)
                }
                () = expire(limit) => Ok(()),
            }
        })
}

fn arguments() -> Result<Vec<String>, Error> {
    std::env::args_os()
        .enumerate()
        .skip(1)
        .map(|(at, arg)| arg.into_string().map_err(|_| Error::NotUtf8(at)))
        .collect()
}

fn select(
    schema: &Arc<DatabaseSchema>,
    options: &Options,
    commands: &[Command],
) -> Result<Selection, Error> {
    let mut selection = Selection::new(schema.clone());
    let own = if options.wait {
        selection.column("Open_vSwitch", "cur_cfg")
    } else {
        selection.table("Open_vSwitch")
    };
    own.map_err(prerequisites::Error::from)?;
    for command in commands {
        prerequisites::select(command, schema, &mut selection)?;
    }
    Ok(selection)
}

/// What the database log keeps about this run.
fn comment(program: &str, line: &str) -> String {
    let parent = nix::unistd::getppid();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    match name.trim() {
        "" => format!("{program}: {line}"),
        name => format!("{program} (invoked by {name}): {line}"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WORDS: &[&str] = &[
        "--",
        "--id=@x",
        "--if-exists",
        "--all",
        "--columns=name,s",
        "--timeout=1",
        "-t",
        "-f",
        "json",
        "--no-wait",
        "--db",
        "get",
        "list",
        "find",
        "set",
        "add",
        "remove",
        "create",
        "destroy",
        "add-br",
        "add-port",
        "del-port",
        "show",
        "br",
        "port",
        "Interface",
        "o",
        ".",
        "name",
        "other_config:a=b",
        "tag=3",
        "ports{>=}x",
        "a=\"b",
        "\\",
        "",
        "-",
        "[1,2",
        "@x",
    ];

    proptest! {
        /// Any command line ends as a plan or as an error, and errors say something.
        #[test]
        fn any_command_line(words in prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..9)) {
            let words = words.into_iter().map(str::to_owned).collect();
            let parsed = options::parse("vsctl", words).map_err(Error::from).and_then(|options| {
                let commands = command::parse(options.leading.clone(), &options.words)?;
                let schema = schema::vswitch();
                select(&schema, &options, &commands)?;
                Ok(())
            });
            if let Err(error) = parsed {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
