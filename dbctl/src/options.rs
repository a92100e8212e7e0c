//! The options of ovsdb-tool, of ovsdb-client, and of both together.
//!
//! Source: ovsdb-tool(1) and ovsdb-client(1), "OPTIONS". Options may stand anywhere on the command
//! line. What the daemon options of ovsdb-client do is in [`crate::client`].

use daemon::getopt::{self, Opt, Value};
use daemon::options::{DaemonOptions, Taken};
use daemon::timeout;
use ovsdb::table::{self, Format, Style};
use ovsdb::value::parse_uuid;
use thiserror::Error;

use crate::choose::{Face, Personality};

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Getopt(#[from] getopt::Error),
    #[error(transparent)]
    Table(#[from] table::Error),
    #[error(transparent)]
    Daemon(#[from] daemon::options::Error),
    #[error("value {0} on -t or --timeout is invalid")]
    Timeout(String),
    #[error("{0}: not a valid UUID")]
    Uuid(String),
    #[error("--{0}: TLS is not supported by this build")]
    Tls(&'static str),
    #[error("--{0} is not supported by this build")]
    Unsupported(&'static str),
}

/// What only prints something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Print {
    Help,
    Version,
    Options,
}

#[derive(Debug)]
pub struct Options {
    pub daemon: DaemonOptions,
    /// `--file` or `--server`.
    pub face: Option<Face>,
    /// How often `--more` was given.
    pub more: u32,
    pub rbac_role: Option<String>,
    pub style: Style,
    pub timestamp: bool,
    pub force: bool,
    pub leader_only: bool,
    /// `None` unless an option says so.
    pub db_change_aware: Option<bool>,
    pub timeout: Option<u32>,
    pub print: Option<Print>,
    /// The command and its arguments.
    pub words: Vec<String>,
}

const NONE: Value = Value::None;
const REQUIRED: Value = Value::Required;
const OPTIONAL: Value = Value::Optional;

const COMMON: &[Opt] = &[
    Opt::new("verbose", Some('v'), OPTIONAL),
    Opt::new("help", Some('h'), NONE),
    Opt::new("version", Some('V'), NONE),
    Opt::new("log-file", None, OPTIONAL),
    Opt::new("syslog-method", None, REQUIRED),
    Opt::new("syslog-target", None, REQUIRED),
];

const TOOL: &[Opt] = &[
    Opt::new("more", Some('m'), NONE),
    Opt::new("rbac-role", None, REQUIRED),
    Opt::new("cid", None, REQUIRED),
    Opt::new("election-timer", None, REQUIRED),
    Opt::new("option", Some('o'), NONE),
];

const CLIENT: &[Opt] = &[
    Opt::new("timestamp", None, NONE),
    Opt::new("force", None, NONE),
    Opt::new("timeout", Some('t'), REQUIRED),
    Opt::new("db-change-aware", None, NONE),
    Opt::new("no-db-change-aware", None, NONE),
    Opt::new("leader-only", None, NONE),
    Opt::new("no-leader-only", None, NONE),
    Opt::new("detach", None, NONE),
    Opt::new("no-self-confinement", None, NONE),
    Opt::new("no-chdir", None, NONE),
    Opt::new("pidfile", None, OPTIONAL),
    Opt::new("overwrite-pidfile", None, NONE),
    Opt::new("monitor", None, NONE),
    Opt::new("user", None, REQUIRED),
    Opt::new("bootstrap-ca-cert", None, REQUIRED),
    Opt::new("private-key", Some('p'), REQUIRED),
    Opt::new("certificate", Some('c'), REQUIRED),
    Opt::new("ca-cert", Some('C'), REQUIRED),
    Opt::new("ssl-protocols", None, REQUIRED),
    Opt::new("ssl-ciphers", None, REQUIRED),
    Opt::new("record", None, OPTIONAL),
    Opt::new("replay", None, OPTIONAL),
];

/// What tells the two faces apart.
const BOTH: &[Opt] = &[Opt::new("file", None, NONE), Opt::new("server", None, NONE)];

/// The options that a program of this name takes.
pub fn known(personality: Personality) -> Vec<Opt> {
    let table = table::OPTIONS.map(|(long, short, valued)| {
        let value = if valued { REQUIRED } else { NONE };
        Opt::new(long, short, value)
    });
    match personality {
        Personality::Tool => [TOOL, COMMON].concat(),
        Personality::Client => [CLIENT, &table, COMMON].concat(),
        Personality::Both => [BOTH, TOOL, CLIENT, &table, COMMON].concat(),
    }
}

/// Parses the arguments after the program's name. Log levels take effect at once.
pub fn parse(program: &str, personality: Personality, args: Vec<String>) -> Result<Options, Error> {
    let mut options = Options {
        daemon: DaemonOptions::new(program),
        face: None,
        more: 0,
        rbac_role: None,
        style: Style {
            format: Format::Table,
            ..Style::default()
        },
        timestamp: false,
        force: false,
        leader_only: true,
        db_change_aware: None,
        timeout: None,
        print: None,
        words: Vec::new(),
    };
    daemon::vlog::declare(&[
        "dbctl",
        "jsonrpc",
        "reconnect",
        "fatal_signal",
        "ovsdb_client",
        "lockfile",
    ]);
    let parsed = getopt::parse(&known(personality), args)?;
    options.words = parsed.arguments;
    for (opt, value) in parsed.options {
        options.take(opt, value.as_deref())?;
        if options.print.is_some() {
            break;
        }
    }
    Ok(options)
}

impl Options {
    fn take(&mut self, opt: Opt, value: Option<&str>) -> Result<(), Error> {
        let text = value.unwrap_or("");
        match opt.long {
            "file" => self.face = Some(Face::File),
            "server" => self.face = Some(Face::Server),
            "more" => self.more = self.more.saturating_add(1),
            "rbac-role" => self.rbac_role = Some(text.to_owned()),
            // It matters to join-cluster alone, which is refused; a bad value is told first.
            "cid" => {
                if parse_uuid(text).is_none_or(|uuid| uuid.is_nil()) {
                    return Err(Error::Uuid(text.to_owned()));
                }
            }
            "election-timer" => return Err(Error::Unsupported("election-timer")),
            "option" => self.print = Some(Print::Options),
            "timestamp" => self.timestamp = true,
            "force" => self.force = true,
            "timeout" => {
                let seconds = timeout::parse(text).map_err(|_| Error::Timeout(text.to_owned()))?;
                self.timeout = Some(seconds);
            }
            "db-change-aware" => self.db_change_aware = Some(true),
            "no-db-change-aware" => self.db_change_aware = Some(false),
            "leader-only" => self.leader_only = true,
            "no-leader-only" => self.leader_only = false,
            tls @ ("bootstrap-ca-cert" | "private-key" | "certificate" | "ca-cert"
            | "ssl-protocols" | "ssl-ciphers") => return Err(Error::Tls(tls)),
            replay @ ("record" | "replay") => return Err(Error::Unsupported(replay)),
            other if self.style.take(other, text)? => {}
            _ => match self.daemon.take(opt, value)? {
                Taken::Yes | Taken::No => {}
                Taken::Help => self.print = Some(Print::Help),
                Taken::Version => self.print = Some(Print::Version),
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(personality: Personality, line: &str) -> Result<Options, String> {
        let words = line.split_whitespace().map(str::to_owned).collect();
        super::parse("dbctl", personality, words).map_err(|error| error.to_string())
    }

    #[test]
    fn of_each_program() {
        let tool = parse(Personality::Tool, "show-log -m --more x -- -y").unwrap();
        assert_eq!(tool.more, 2);
        assert_eq!(tool.words, ["show-log", "x", "-y"]);
        let client = parse(Personality::Client, "-fcsv dump --bare -t5 --no-leader").unwrap();
        assert_eq!(client.style.format, Format::List);
        assert_eq!((client.timeout, client.leader_only), (Some(5), false));
        let both = parse(Personality::Both, "--file query x --force -m").unwrap();
        assert_eq!(both.face, Some(Face::File));
        assert!(both.force && both.more == 1);
    }

    #[test]
    fn refused() {
        for (personality, line, message) in [
            (
                Personality::Tool,
                "--force",
                "unrecognized option '--force'",
            ),
            (Personality::Client, "-m", "invalid option -- 'm'"),
            (
                Personality::Client,
                "--file",
                "unrecognized option '--file'",
            ),
            (
                Personality::Client,
                "-t0",
                "value 0 on -t or --timeout is invalid",
            ),
            (
                Personality::Client,
                "-f foo",
                "unknown output format \"foo\"",
            ),
            (
                Personality::Client,
                "-p key.pem",
                "--private-key: TLS is not supported by this build",
            ),
            (
                Personality::Client,
                "--record",
                "--record is not supported by this build",
            ),
            (Personality::Tool, "--cid=x", "x: not a valid UUID"),
        ] {
            assert_eq!(parse(personality, line).unwrap_err(), message, "{line}");
        }
    }
}
