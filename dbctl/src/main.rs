//! `dbctl`: database files, and conversations with database servers.
//!
//! Stands for ovsdb-tool(1) and for ovsdb-client(1): under one of those names it takes exactly that
//! program's command line; as `dbctl` it takes the commands of both, and [`choose`] says which one
//! is meant where both have a command of that name. [`file`] works on files by the server's own
//! code for them, [`client`] on connections.

mod choose;
mod client;
mod file;
mod json;
mod options;
mod schema_file;
mod usage;

use std::io::Write as _;
use std::process::ExitCode;

use daemon::{dirs, version, vlog};
use thiserror::Error;

use choose::{Face, Personality};
use options::{Options, Print};

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Options(#[from] options::Error),
    #[error("missing command name; use --help for help")]
    NoCommand,
    #[error("unknown command '{0}'; use --help for help")]
    UnknownCommand(String),
    #[error(transparent)]
    Choose(#[from] choose::Error),
    #[error(transparent)]
    Start(#[from] daemon::detach::Error),
    #[error(transparent)]
    File(#[from] file::Error),
    #[error(transparent)]
    Client(#[from] client::Error),
}

/// Writing to standard output did not succeed.
#[derive(Debug, Error)]
#[error("write to stdout failed ({})", daemon::pidfile::reason(.0))]
pub struct OutputError(std::io::Error);

/// Prints, at once.
pub fn print(text: &str) -> Result<(), OutputError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(OutputError)
}

/// An error as the stock programs print it.
pub fn ovsdb_error(error: &ovsdb::Error) -> String {
    let syntax = match &error.syntax {
        Some(syntax) => format!("syntax \"{syntax}\": "),
        None => String::new(),
    };
    let details = match &error.details {
        Some(details) => format!(": {details}"),
        None => String::new(),
    };
    format!("{syntax}{}{details}", error.kind.as_str())
}

fn main() -> ExitCode {
    let program = dirs::program_name();
    let personality = Personality::of(&program);
    let options = match options::parse(&program, personality, daemon::getopt::command_line()) {
        Ok(options) => options,
        Err(error) => return fail(&program, &error.into()),
    };
    match run(&program, personality, options) {
        Ok(status) => ExitCode::from(status),
        Err(error) => fail(&program, &error),
    }
}

fn fail(program: &str, error: &Error) -> ExitCode {
    // The terminal gets the message below; the other destinations get it as a log line.
    vlog::console_off();
    tracing::error!(target: "dbctl", "{error}");
    eprintln!("{program}: {error}");
    ExitCode::FAILURE
}

/// Carries the command out and gives the exit status.
fn run(program: &str, personality: Personality, mut options: Options) -> Result<u8, Error> {
    let print_text = |text: &str| {
        // There is nobody to tell when even this cannot be printed.
        let _ = print(text);
        Ok(0)
    };
    match options.print {
        Some(Print::Help) => return print_text(&usage::help(program, personality)),
        Some(Print::Version) => return print_text(&version::text(program)),
        Some(Print::Options) => return print_text(&usage::options(personality)),
        None => {}
    }
    let Some(name) = options.words.first().cloned() else {
        return Err(Error::NoCommand);
    };
    let args = options.words.split_off(1);
    match name.as_str() {
        "help" => return print_text(&usage::help(program, personality)),
        "list-commands" if personality != Personality::Client => {
            return print_text(&usage::commands(personality));
        }
        _ => {}
    }
    match choose::face(personality, options.face, &name, &args)? {
        Some(Face::File) => {
            // Nothing on a file goes on in the background.
            options.daemon.detach = daemon::detach::Detach::default();
            let _startup = options.daemon.start()?;
            if options.timeout.is_some() {
                daemon::timeout::arm(options.timeout);
            }
            Ok(file::run(program, &options, &name, &args)?)
        }
        Some(Face::Server) => {
            client::run(options, &name, args)?;
            Ok(0)
        }
        None => Err(Error::UnknownCommand(name)),
    }
}
