//! Commands on database files: ovsdb-tool(1).

mod check;
mod database;
mod inspect;
mod log_text;
mod reader;

use daemon::dirs;
use thiserror::Error;

use crate::options::Options;
use crate::schema_file;

/// A command: its arguments, and how many of them there may be.
pub struct Command {
    pub name: &'static str,
    pub usage: &'static str,
    pub what: &'static str,
    min: usize,
    max: usize,
    run: Run,
}

type Run = fn(&Call<'_>) -> Result<u8, Error>;

#[derive(Debug, Error)]
pub enum Error {
    #[error("'{name}' command requires at least {min} arguments")]
    TooFew { name: &'static str, min: usize },
    #[error("'{name}' command takes at most {max} arguments")]
    TooMany { name: &'static str, max: usize },
    #[error("'{0}' is not supported: this build has no clustered databases")]
    Clustered(&'static str),
    #[error("{0}")]
    Fatal(String),
    #[error(transparent)]
    Reader(#[from] reader::Error),
    #[error(transparent)]
    Database(#[from] database::Error),
    #[error(transparent)]
    Schema(#[from] schema_file::Error),
    #[error(transparent)]
    Output(#[from] crate::OutputError),
}

/// One run of a command.
pub struct Call<'a> {
    program: &'a str,
    name: &'static str,
    options: &'a Options,
    args: &'a [String],
}

impl Call<'_> {
    fn arg(&self, at: usize) -> Option<&str> {
        self.args.get(at).map(String::as_str)
    }

    /// The database file, by default the one of the switch.
    fn db(&self) -> String {
        self.arg(0).map_or_else(default_db, str::to_owned)
    }

    fn schema(&self, at: usize) -> String {
        self.arg(at).map_or_else(
            || {
                dirs::pkgdatadir()
                    .join("vswitch.ovsschema")
                    .display()
                    .to_string()
            },
            str::to_owned,
        )
    }
}

fn default_db() -> String {
    dirs::dbdir().join("conf.db").display().to_string()
}

const fn command(
    name: &'static str,
    usage: &'static str,
    (min, max): (usize, usize),
    what: &'static str,
    run: Run,
) -> Command {
    Command {
        name,
        usage,
        what,
        min,
        max,
        run,
    }
}

const CLUSTERED: &str = "refused: no clustered databases";
const MANY: usize = usize::MAX;

pub const COMMANDS: &[Command] = &[
    command(
        "create",
        "[db [schema]]",
        (0, 2),
        "make a database of a schema",
        database::create,
    ),
    command(
        "create-cluster",
        "db contents local",
        (3, 3),
        CLUSTERED,
        clustered,
    ),
    command(
        "join-cluster",
        "db name local remote...",
        (4, MANY),
        CLUSTERED,
        clustered,
    ),
    command(
        "compact",
        "[db [dst]]",
        (0, 2),
        "write a database anew, shorter",
        database::compact,
    ),
    command(
        "convert",
        "[db [schema [dst]]]",
        (0, 3),
        "change the schema of a database",
        database::convert,
    ),
    command(
        "needs-conversion",
        "[db [schema]]",
        (0, 2),
        "say whether the schemas differ",
        inspect::needs_conversion,
    ),
    command(
        "db-name",
        "[db]",
        (0, 1),
        "name of a database's schema",
        inspect::db_name,
    ),
    command(
        "db-version",
        "[db]",
        (0, 1),
        "version of a database's schema",
        inspect::db_version,
    ),
    command(
        "db-cksum",
        "[db]",
        (0, 1),
        "checksum of a database's schema",
        inspect::db_cksum,
    ),
    command("db-cid", "db", (1, 1), CLUSTERED, inspect::cluster_member),
    command("db-sid", "db", (1, 1), CLUSTERED, inspect::cluster_member),
    command(
        "db-local-address",
        "db",
        (1, 1),
        CLUSTERED,
        inspect::cluster_member,
    ),
    command(
        "db-is-clustered",
        "db",
        (1, 1),
        "exit 2 unless clustered",
        inspect::is_clustered,
    ),
    command(
        "db-is-standalone",
        "db",
        (1, 1),
        "exit 2 unless standalone",
        inspect::is_standalone,
    ),
    command(
        "schema-name",
        "[schema]",
        (0, 1),
        "name of a schema",
        inspect::schema_name,
    ),
    command(
        "schema-version",
        "[schema]",
        (0, 1),
        "version of a schema",
        inspect::schema_version,
    ),
    command(
        "schema-cksum",
        "[schema]",
        (0, 1),
        "checksum of a schema",
        inspect::schema_cksum,
    ),
    command(
        "query",
        "[db] trns",
        (1, 2),
        "carry out a transaction without keeping it",
        database::query,
    ),
    command(
        "transact",
        "[db] trns",
        (1, 2),
        "carry out a transaction",
        database::transact,
    ),
    command(
        "show-log",
        "[db]",
        (0, 1),
        "print the records of a database",
        log_text::show_log,
    ),
    command(
        "check",
        "[db]...",
        (0, MANY),
        "examine databases thoroughly",
        check::check,
    ),
    command("check-cluster", "db...", (1, MANY), CLUSTERED, clustered),
    command(
        "compare-versions",
        "a op b",
        (3, 3),
        "compare schema versions",
        inspect::compare,
    ),
    command(
        "cluster-to-standalone",
        "db clusterdb",
        (2, 2),
        CLUSTERED,
        clustered,
    ),
];

pub fn is_command(name: &str) -> bool {
    COMMANDS.iter().any(|command| command.name == name)
}

/// Carries out the command `name`, which is one of [`COMMANDS`]; gives the exit status.
pub fn run(program: &str, options: &Options, name: &str, args: &[String]) -> Result<u8, Error> {
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        return Err(Error::Fatal(format!("unknown command '{name}'")));
    };
    let (name, min, max) = (command.name, command.min, command.max);
    if args.len() < min {
        return Err(Error::TooFew { name, min });
    }
    if args.len() > max {
        return Err(Error::TooMany { name, max });
    }
    (command.run)(&Call {
        program,
        name,
        options,
        args,
    })
}

fn clustered(call: &Call<'_>) -> Result<u8, Error> {
    Err(Error::Clustered(call.name))
}

/// Reads the database in the file `path`.
pub fn load(path: &str) -> Result<db_server::database::Database, Error> {
    database::load(path).map(|loaded| loaded.db)
}
