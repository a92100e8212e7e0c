//! The options before the first command.
//!
//! Options of the first command may stand among them; they are handed on to
//! [`crate::command::parse`]. Source: ovs-vsctl(8), "OPTIONS".

use std::path::PathBuf;

use daemon::getopt::{self, Opt, Value};
use daemon::vlog::{self, SyslogMethod};
use daemon::{dirs, timeout};
use ovsdb::table::{self, Style};
use thiserror::Error;

use crate::command::COMMANDS;

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Getopt(#[from] getopt::Error),
    #[error(transparent)]
    Table(#[from] table::Error),
    #[error("processing \"{spec}\": {error}")]
    Vlog { spec: String, error: vlog::Error },
    #[error("{0}")]
    LogFile(#[from] vlog::LogFileError),
    #[error("{0}")]
    Syslog(#[from] vlog::SyslogMethodError),
    #[error("value {0} on -t or --timeout is invalid")]
    Timeout(String),
    #[error("--{0}: TLS is not supported by this build")]
    Tls(&'static str),
}

/// What only prints something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Print {
    Help,
    Version,
    Commands,
    Options,
}

#[derive(Debug)]
pub struct Options {
    pub db: String,
    pub wait: bool,
    pub dry_run: bool,
    pub oneline: bool,
    pub retry: bool,
    pub leader_only: bool,
    pub shuffle_remotes: bool,
    pub timeout: Option<u32>,
    pub style: Style,
    /// The first option that asks for a text instead of a run.
    pub print: Option<Print>,
    /// Options that belong to the first command, with their dashes.
    pub leading: Vec<(String, Option<String>)>,
    /// The words from the first command on.
    pub words: Vec<String>,
}

const NONE: Value = Value::None;
const REQUIRED: Value = Value::Required;

/// The global options that are not about tables.
const OWN: &[Opt] = &[
    Opt::new("db", None, REQUIRED),
    Opt::new("no-syslog", None, NONE),
    Opt::new("no-wait", None, NONE),
    Opt::new("dry-run", None, NONE),
    Opt::new("oneline", None, NONE),
    Opt::new("timeout", Some('t'), REQUIRED),
    Opt::new("retry", None, NONE),
    Opt::new("help", Some('h'), NONE),
    Opt::new("commands", None, NONE),
    Opt::new("options", None, NONE),
    Opt::new("leader-only", None, NONE),
    Opt::new("no-leader-only", None, NONE),
    Opt::new("shuffle-remotes", None, NONE),
    Opt::new("no-shuffle-remotes", None, NONE),
    Opt::new("version", Some('V'), NONE),
    Opt::new("verbose", Some('v'), Value::Optional),
    Opt::new("log-file", None, Value::Optional),
    Opt::new("syslog-method", None, REQUIRED),
    Opt::new("syslog-target", None, REQUIRED),
];

const TLS: &[Opt] = &[
    Opt::new("private-key", Some('p'), REQUIRED),
    Opt::new("certificate", Some('c'), REQUIRED),
    Opt::new("ca-cert", Some('C'), REQUIRED),
    Opt::new("ssl-protocols", None, REQUIRED),
    Opt::new("ssl-ciphers", None, REQUIRED),
    Opt::new("bootstrap-ca-cert", None, REQUIRED),
    Opt::new("peer-ca-cert", None, REQUIRED),
];

/// The global options.
pub fn global() -> Vec<Opt> {
    let table = table::OPTIONS.map(|(long, short, valued)| {
        let value = if valued { REQUIRED } else { NONE };
        Opt::new(long, short, value)
    });
    [OWN, &table, TLS].concat()
}

/// The global options and those of all commands.
fn known(global: &[Opt]) -> Vec<Opt> {
    let mut known = global.to_vec();
    for option in COMMANDS.iter().flat_map(|command| command.options) {
        let long = option.name.trim_start_matches('-');
        if known.iter().all(|opt| opt.long != long) {
            let value = if option.value { REQUIRED } else { NONE };
            known.push(Opt::new(long, None, value));
        }
    }
    known
}

/// Parses the arguments after the program's name. Log options take effect at once.
pub fn parse(program: &str, args: Vec<String>) -> Result<Options, Error> {
    let global = global();
    let parsed = getopt::parse_leading(&known(&global), args)?;
    let mut options = Options {
        db: format!("unix:{}/db.sock", dirs::rundir().display()),
        wait: true,
        dry_run: false,
        oneline: false,
        retry: false,
        leader_only: true,
        shuffle_remotes: true,
        timeout: None,
        style: Style::default(),
        print: None,
        leading: Vec::new(),
        words: parsed.arguments,
    };
    for (opt, value) in parsed.options {
        if !global.contains(&opt) {
            let name = opt.display();
            options.leading.retain(|(known, _)| *known != name);
            options.leading.push((name, value));
            continue;
        }
        options.take(program, opt.long, value.as_deref())?;
        if options.print.is_some() {
            break;
        }
    }
    Ok(options)
}

impl Options {
    fn take(
        &mut self,
        program: &str,
        name: &'static str,
        value: Option<&str>,
    ) -> Result<(), Error> {
        let text = value.unwrap_or("");
        match name {
            "db" => self.db = text.to_owned(),
            "no-syslog" => set_log_levels("vsctl:syslog:warn")?,
            "no-wait" => self.wait = false,
            "dry-run" => self.dry_run = true,
            "oneline" => self.oneline = true,
            "timeout" => self.timeout = parse_timeout(text)?,
            "retry" => self.retry = true,
            "leader-only" => self.leader_only = true,
            "no-leader-only" => self.leader_only = false,
            "shuffle-remotes" => self.shuffle_remotes = true,
            "no-shuffle-remotes" => self.shuffle_remotes = false,
            "help" => self.print = Some(Print::Help),
            "version" => self.print = Some(Print::Version),
            "commands" => self.print = Some(Print::Commands),
            "options" => self.print = Some(Print::Options),
            "verbose" => match value {
                Some(spec) => set_log_levels(spec)?,
                None => vlog::set_verbose(),
            },
            "log-file" => vlog::set_log_file(match value {
                Some(path) => PathBuf::from(path),
                None => dirs::logdir().join(format!("{program}.log")),
            })?,
            "syslog-method" => vlog::set_syslog_method(text.parse::<SyslogMethod>()?),
            "syslog-target" => {
                vlog::set_syslog_target(format!("udp:{text}").parse::<SyslogMethod>()?);
            }
            other if self.style.take(other, text)? => {}
            tls => return Err(Error::Tls(tls)),
        }
        Ok(())
    }
}

fn set_log_levels(spec: &str) -> Result<(), Error> {
    vlog::set(spec).map_err(|error| Error::Vlog {
        spec: spec.to_owned(),
        error,
    })
}

/// Whole seconds; 0 leaves the limit to `OVS_CTL_TIMEOUT`.
fn parse_timeout(text: &str) -> Result<Option<u32>, Error> {
    if text == "0" {
        return Ok(None);
    }
    timeout::parse(text)
        .map(Some)
        .map_err(|_| Error::Timeout(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovsdb::table::Format;

    fn parse(text: &str) -> Result<Options, String> {
        let words = text.split_whitespace().map(str::to_owned).collect();
        super::parse("vsctl", words).map_err(|error| error.to_string())
    }

    #[test]
    fn global_and_command_options() {
        let options = parse("--no-w -t5 -f csv --db=x --id=@a --no-heading -- --b c").unwrap();
        assert!(!options.wait);
        assert_eq!(options.timeout, Some(5));
        assert_eq!(options.style.format, Format::Csv);
        assert!(!options.style.headings);
        assert_eq!(
            options.leading,
            [("--id".to_owned(), Some("@a".to_owned()))]
        );
        assert_eq!(options.words, ["--b", "c"]);
        let options = parse("--if-exists --if-exists del-br x --db").unwrap();
        assert_eq!(options.leading.len(), 1);
        assert_eq!(options.words, ["del-br", "x", "--db"]);
        assert_eq!(parse("-t 0").unwrap().timeout, None);
        assert_eq!(
            parse("-V --nope").unwrap_err(),
            "unrecognized option '--nope'"
        );
    }

    #[test]
    fn messages_of_the_stock_tool() {
        for (text, message) in [
            ("-t x", "value x on -t or --timeout is invalid"),
            ("--timeout=", "value  on -t or --timeout is invalid"),
            ("-t -1", "value -1 on -t or --timeout is invalid"),
            ("-x", "invalid option -- 'x'"),
            ("--db", "option '--db' requires an argument"),
            (
                "--dry-run=3",
                "option '--dry-run' doesn't allow an argument",
            ),
            (
                "--no-s",
                "option '--no-s' is ambiguous; possibilities: '--no-syslog' \
                 '--no-shuffle-remotes'",
            ),
            ("--format=foo", "unknown output format \"foo\""),
            ("-d foo", "unknown data format \"foo\""),
            (
                "-p key.pem",
                "--private-key: TLS is not supported by this build",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
    }
}
