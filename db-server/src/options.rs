//! The command line: that of ovsdb-server(1). What is not supported is refused by name.

use std::path::{Path, PathBuf};

use daemon::dirs;
use daemon::getopt::{self, Opt, Value};
use daemon::options::{DaemonOptions, Taken};
use thiserror::Error;

use crate::event_loop::{self, Settings};
use crate::remote::{self, Spec};
use crate::replication;
use crate::web;

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Getopt(#[from] getopt::Error),
    #[error(transparent)]
    Daemon(#[from] daemon::options::Error),
    #[error("option '--{option}' is not supported: {why}")]
    Unsupported {
        option: &'static str,
        why: &'static str,
    },
    #[error("--remote={0}")]
    Remote(remote::Error),
    #[error("--{option}={value}: {why}")]
    Value {
        option: &'static str,
        value: String,
        why: String,
    },
    #[error("--no-dbs excludes the database {}", .0.display())]
    NoDbs(PathBuf),
    #[error(transparent)]
    Web(#[from] web::Error),
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    Run(Box<Options>),
    /// Print this and exit 0.
    Print(String),
}

/// How to run.
#[derive(Debug)]
pub struct Options {
    pub daemon: DaemonOptions,
    /// Database files, absolute.
    pub files: Vec<PathBuf>,
    /// Remotes, replication and limits.
    pub settings: Settings,
    /// A program to run beside the server, which ends with it.
    pub run: Option<String>,
    /// Records of changed sets and maps hold differences.
    pub column_diff: bool,
    /// The JSON-RPC 2.0 face.
    pub web: web::Config,
    active: bool,
    no_dbs: bool,
}

const OPTIONS: &[Opt] = &[
    Opt::new("remote", None, Value::Required),
    Opt::new("http", None, Value::Required),
    Opt::new("http-allow-remote", None, Value::None),
    Opt::new("http-allow-host", None, Value::Required),
    Opt::new("http-allow-origin", None, Value::Required),
    Opt::new("http-token-file", None, Value::Required),
    Opt::new("http-client-ca-cert", None, Value::Required),
    Opt::new("run", None, Value::Required),
    Opt::new("private-key", Some('p'), Value::Required),
    Opt::new("certificate", Some('c'), Value::Required),
    Opt::new("ca-cert", Some('C'), Value::Required),
    Opt::new("bootstrap-ca-cert", None, Value::Required),
    Opt::new("peer-ca-cert", None, Value::Required),
    Opt::new("ssl-protocols", None, Value::Required),
    Opt::new("ssl-ciphers", None, Value::Required),
    Opt::new("ssl-ciphersuites", None, Value::Required),
    Opt::new("sync-from", None, Value::Required),
    Opt::new("sync-exclude-tables", None, Value::Required),
    Opt::new("active", None, Value::None),
    Opt::new("record", None, Value::Optional),
    Opt::new("replay", None, Value::Optional),
    Opt::new("config-file", None, Value::Required),
    Opt::new("no-dbs", None, Value::None),
    Opt::new("disable-file-column-diff", None, Value::None),
    Opt::new("disable-file-no-data-conversion", None, Value::None),
    Opt::new("max-clients", None, Value::Required),
    Opt::new("max-clients-per-remote", None, Value::Required),
];

const NO_TLS: &str = "this build has no TLS";
const NO_REPLAY: &str = "there is no recording and replaying of sessions";

/// Parses the arguments of a program called `program`.
pub fn parse(program: &str, args: impl IntoIterator<Item = String>) -> Result<Command, Error> {
    let mut options = Options {
        daemon: DaemonOptions::new(program),
        files: Vec::new(),
        settings: Settings::default(),
        run: None,
        column_diff: true,
        web: web::Config::default(),
        active: false,
        no_dbs: false,
    };
    let parsed = getopt::parse(&DaemonOptions::with(OPTIONS), args)?;
    for (opt, value) in parsed.options {
        match options.daemon.take(opt, value.as_deref())? {
            Taken::Yes => {}
            Taken::Help => return Ok(Command::Print(options.usage())),
            Taken::Version => return Ok(Command::Print(daemon::version::text(program))),
            Taken::No => options.take(opt.long, value.unwrap_or_default())?,
        }
    }
    options.web.check()?;
    let replication = &mut options.settings.replication;
    replication.backup = replication.active.is_some() && !options.active;
    options.files = parsed
        .arguments
        .iter()
        .map(|path| absolute(Path::new(path)))
        .collect();
    match options.files.first() {
        Some(path) if options.no_dbs => return Err(Error::NoDbs(path.clone())),
        None if !options.no_dbs => options.files.push(dirs::dbdir().join("conf.db")),
        _ => {}
    }
    Ok(Command::Run(Box::new(options)))
}

impl Options {
    fn take(&mut self, option: &'static str, value: String) -> Result<(), Error> {
        let replication = &mut self.settings.replication;
        let limits = &mut self.settings.limits;
        let why = match option {
            "remote" => {
                let spec = Spec::parse(&value).map_err(Error::Remote)?;
                self.settings.specs.push((value, spec));
                return Ok(());
            }
            "run" => {
                self.run = Some(value);
                return Ok(());
            }
            "sync-from" => {
                let active = event_loop::parse_active(&value);
                replication.active =
                    Some(active.map_err(|why| Error::Value { option, value, why })?);
                return Ok(());
            }
            "sync-exclude-tables" => {
                replication.excluded = replication::parse_excluded(&value).map_err(|error| {
                    let why = error.to_string();
                    Error::Value { option, value, why }
                })?;
                return Ok(());
            }
            "active" => {
                self.active = true;
                return Ok(());
            }
            "no-dbs" => {
                self.no_dbs = true;
                return Ok(());
            }
            "max-clients" => {
                limits.sessions = number(option, value)?;
                return Ok(());
            }
            "max-clients-per-remote" => {
                limits.sessions_per_remote = number(option, value)?;
                return Ok(());
            }
            // The start scripts always name these columns; there is nothing in them as long as
            // nobody configures TLS, and a warning when somebody does.
            "private-key" | "certificate" | "ca-cert" | "bootstrap-ca-cert"
                if value.starts_with("db:") =>
            {
                self.settings.tls_columns.push(value);
                return Ok(());
            }
            // What it asks for is always so: a converted file holds its data.
            "disable-file-no-data-conversion" => return Ok(()),
            "disable-file-column-diff" => {
                self.column_diff = false;
                return Ok(());
            }
            "http" => return Ok(self.web.add_address(&value)?),
            "http-allow-remote" => {
                self.web.allow_remote();
                return Ok(());
            }
            "http-allow-host" => return Ok(self.web.add_host(&value)?),
            "http-allow-origin" => return Ok(self.web.add_origin(&value)?),
            "http-token-file" => {
                self.web.set_token_file(absolute(Path::new(&value)));
                return Ok(());
            }
            "http-client-ca-cert" => NO_TLS,
            "private-key" | "certificate" | "ca-cert" | "bootstrap-ca-cert" | "peer-ca-cert"
            | "ssl-protocols" | "ssl-ciphers" | "ssl-ciphersuites" => NO_TLS,
            "record" | "replay" => NO_REPLAY,
            "config-file" => "give databases and remotes as arguments",
            _ => "it has no meaning here",
        };
        Err(Error::Unsupported { option, why })
    }

    fn usage(&self) -> String {
        let program = &self.daemon.program;
        format!(
            "{program}: Open vSwitch database server
usage: {program} [OPTIONS] [DATABASE...]
where each DATABASE is a database file in ovsdb format. A file that is not
there is made, with the Open_vSwitch schema.
The default DATABASE, if none is given, is
{}.

JSON-RPC options (may be specified any number of times):
  --remote=REMOTE         connect or listen to REMOTE

Active JSON-RPC connection methods:
  tcp:HOST:PORT           PORT at remote HOST
  unix:FILE               Unix domain socket named FILE
Passive JSON-RPC connection methods:
  ptcp:PORT[:IP]          listen to TCP PORT on IP
  punix:FILE              listen on Unix domain socket FILE
  db:DB,TABLE,COLUMN      what this column of a database names

JSON-RPC 2.0 over HTTP and WebSocket:
  --http=ADDRESS:PORT     listen to HTTP on this loopback address
  --http-allow-remote     other addresses than loopback ones are good too
  --http-allow-host=NAME  clients may call the server by this name
  --http-allow-origin=ORIGIN
                          web pages of this origin may call the server
  --http-token-file=FILE  who has the token in FILE may write; others read
{}
Syncing options:
  --sync-from=SERVER      sync DATABASE from active SERVER and start in
                          backup mode (except with --active)
  --sync-exclude-tables=DB:TABLE,...
                          exclude the TABLE in DB from syncing
  --active                with --sync-from, start in active mode

Other options:
  --run COMMAND           run COMMAND as subprocess then exit
  --no-dbs                start without a database; see ovsdb-server/add-db
  --max-clients=N         serve N clients at most (default: 10000)
  --max-clients-per-remote=N
                          serve N clients of each remote at most
  --disable-file-column-diff
                          write whole values of changed sets and maps
",
            dirs::dbdir().join("conf.db").display(),
            self.daemon.usage(),
        )
    }
}

fn number(option: &'static str, value: String) -> Result<usize, Error> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(Error::Value {
            option,
            value,
            why: "a positive number is expected".to_owned(),
        }),
    }
}

/// `path` from the present directory on; the daemon may leave that.
pub fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> Result<Options, Error> {
        match parse("ovsdb-server", args.iter().map(|arg| (*arg).to_owned()))? {
            Command::Run(options) => Ok(*options),
            Command::Print(text) => panic!("{text}"),
        }
    }

    #[test]
    fn as_the_start_script_gives_them() {
        let options = run(&[
            "/etc/openvswitch/conf.db",
            "-vconsole:emer",
            "-vsyslog:err",
            "-vfile:info",
            "--remote=punix:/var/run/openvswitch/db.sock",
            "--private-key=db:Open_vSwitch,SSL,private_key",
            "--certificate=db:Open_vSwitch,SSL,certificate",
            "--bootstrap-ca-cert=db:Open_vSwitch,SSL,ca_cert",
            "--no-chdir",
            "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
        ])
        .unwrap();
        assert_eq!(options.files, [Path::new("/etc/openvswitch/conf.db")]);
        assert_eq!(options.settings.specs.len(), 2);
        assert_eq!(options.settings.tls_columns.len(), 3);
    }

    #[test]
    fn replication_and_limits() {
        let backup = |args: &[&str]| run(args).unwrap().settings.replication.backup;
        assert!(!backup(&["/x.db"]));
        assert!(backup(&["/x.db", "--sync-from=tcp:127.0.0.1:1"]));
        assert!(!backup(&[
            "/x.db",
            "--sync-from=tcp:127.0.0.1:1",
            "--active"
        ]));
        assert!(!backup(&["/x.db", "--active"]));
        assert!(run(&["--no-dbs"]).unwrap().files.is_empty());
        assert_eq!(run(&[]).unwrap().files.len(), 1);
        assert_eq!(
            run(&["--max-clients=7"]).unwrap().settings.limits.sessions,
            7
        );
        for bad in [
            &["--sync-from=bogus"][..],
            &["--sync-exclude-tables=x"],
            &["--no-dbs", "/x.db"],
            &["--max-clients=0"],
        ] {
            let error = run(bad).unwrap_err().to_string();
            let name = bad[0].split('=').next().unwrap();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn refused_by_name() {
        for option in [
            "--private-key=/x",
            "--record",
            "--replay=x",
            "--config-file=x",
        ] {
            let error = run(&[option]).unwrap_err().to_string();
            let name = option.split('=').next().unwrap();
            assert!(
                error.contains(name) && error.contains("not supported"),
                "{error}"
            );
        }
        assert!(
            run(&["--remote=bogus:1"])
                .unwrap_err()
                .to_string()
                .contains("bogus:1")
        );
        assert!(run(&["--nope"]).is_err());
    }
}
