//! The command-line options that every daemon takes, in one place, and how they take effect.
//!
//! A daemon appends its own options to [`DaemonOptions::OPTIONS`], parses with
//! [`crate::getopt::parse`], and gives each option to [`DaemonOptions::take`] first.
//!
//! Source: ovs-vswitchd(8), "Daemon Options", "Logging Options", "Other Options".

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::detach::{self, Detach, Startup};
use crate::getopt::{Opt, Value};
use crate::{dirs, vlog};

#[derive(Debug, Error)]
pub enum Error {
    #[error("option '{option}' is not supported: {why}")]
    Unsupported {
        option: &'static str,
        why: &'static str,
    },
    #[error("processing \"{spec}\": {source}")]
    Verbose { spec: String, source: vlog::Error },
    #[error(transparent)]
    Syslog(#[from] vlog::SyslogMethodError),
}

/// What an option asks for beyond starting the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Recorded here.
    Yes,
    /// Not one of the common options: it is the daemon's own.
    No,
    /// Print the help text and exit 0.
    Help,
    /// Print the version and exit 0.
    Version,
}

/// The common options as given.
#[derive(Clone, Debug)]
pub struct DaemonOptions {
    pub program: String,
    pub detach: Detach,
    pub unixctl: Option<PathBuf>,
    log_file: Option<PathBuf>,
    syslog_method: Option<vlog::SyslogMethod>,
    syslog_target: Option<vlog::SyslogMethod>,
}

impl DaemonOptions {
    pub const OPTIONS: &[Opt] = &[
        Opt::new("detach", None, Value::None),
        Opt::new("monitor", None, Value::None),
        Opt::new("no-chdir", None, Value::None),
        Opt::new("no-self-confinement", None, Value::None),
        Opt::new("pidfile", None, Value::Optional),
        Opt::new("overwrite-pidfile", None, Value::None),
        Opt::new("user", None, Value::Required),
        Opt::new("verbose", Some('v'), Value::Optional),
        Opt::new("log-file", None, Value::Optional),
        Opt::new("syslog-method", None, Value::Required),
        Opt::new("syslog-target", None, Value::Required),
        Opt::new("unixctl", None, Value::Required),
        Opt::new("help", Some('h'), Value::None),
        Opt::new("version", Some('V'), Value::None),
    ];

    /// Starts logging to the console, so that a bad option is reported there.
    pub fn new(program: &str) -> DaemonOptions {
        vlog::init(program, vlog::Level::Info);
        DaemonOptions {
            program: program.to_owned(),
            detach: Detach::default(),
            unixctl: None,
            log_file: None,
            syslog_method: None,
            syslog_target: None,
        }
    }

    /// The common options followed by a daemon's `own`.
    pub fn with(own: &[Opt]) -> Vec<Opt> {
        Self::OPTIONS.iter().chain(own).copied().collect()
    }

    /// Takes one parsed option if it is a common one.
    ///
    /// Errors: an option that Open vSwitch has and Sluice has not, by name; a bad value.
    pub fn take(&mut self, option: Opt, value: Option<&str>) -> Result<Taken, Error> {
        match option.long {
            "detach" => self.detach.detach = true,
            "monitor" => self.detach.monitor = true,
            "no-chdir" => self.detach.no_chdir = true,
            // It turns off a restriction of file names that Sluice does not make.
            "no-self-confinement" => {}
            "pidfile" => {
                self.detach.pidfile = Some(self.in_dir(&dirs::rundir(), value, "pid"));
            }
            "overwrite-pidfile" => self.detach.overwrite_pidfile = true,
            "user" => {
                return Err(Error::Unsupported {
                    option: "--user",
                    why: "start the daemon as the user that it is to run as",
                });
            }
            "verbose" => match value {
                None => vlog::set_verbose(),
                Some(spec) => vlog::set(spec).map_err(|source| Error::Verbose {
                    spec: spec.to_owned(),
                    source,
                })?,
            },
            "log-file" => self.log_file = Some(self.in_dir(&dirs::logdir(), value, "log")),
            "syslog-method" => self.syslog_method = Some(value.unwrap_or_default().parse()?),
            "syslog-target" => {
                let target = format!("udp:{}", value.unwrap_or_default());
                self.syslog_target = Some(target.parse()?);
            }
            "unixctl" => self.unixctl = Some(PathBuf::from(value.unwrap_or_default())),
            "help" => return Ok(Taken::Help),
            "version" => return Ok(Taken::Version),
            _ => return Ok(Taken::No),
        }
        Ok(Taken::Yes)
    }

    fn in_dir(&self, directory: &Path, value: Option<&str>, extension: &str) -> PathBuf {
        match value {
            Some(path) if !path.is_empty() => dirs::absolute_in(directory, path),
            _ => directory.join(format!("{}.{extension}", self.program)),
        }
    }

    /// Opens the log, forks as asked and makes the pidfile. Returns in the process that is to be
    /// the daemon; it must have one thread until then.
    pub fn start(&self) -> Result<Startup, detach::Error> {
        if let Some(method) = &self.syslog_method {
            vlog::set_syslog_method(method.clone());
        }
        if let Some(target) = &self.syslog_target {
            vlog::set_syslog_target(target.clone());
        }
        if let Some(path) = &self.log_file {
            // Reported as a warning; a daemon without its log file still switches.
            let _ = vlog::set_log_file(path.clone());
        }
        self.detach.start()
    }

    /// Where the unixctl socket goes: `--unixctl`, else `<rundir>/<program>.<pid>.ctl`.
    /// `None` for `--unixctl=none`. To be asked in the daemon process, after [`Self::start`].
    pub fn unixctl_path(&self) -> Option<PathBuf> {
        match &self.unixctl {
            Some(path) if path.as_os_str() == "none" => None,
            Some(path) => Some(dirs::absolute_in(&dirs::rundir(), path)),
            None => {
                Some(dirs::rundir().join(format!("{}.{}.ctl", self.program, std::process::id())))
            }
        }
    }

    /// The parts of a help text that describe the common options.
    pub fn usage(&self) -> String {
        let program = &self.program;
        let rundir = dirs::rundir();
        let logdir = dirs::logdir();
        format!(
            "\nDaemon options:
  --detach                run in background as daemon
  --monitor               restart the daemon when it crashes
  --no-chdir              with --detach, stay in the current directory
  --pidfile[=FILE]        create pidfile (default: {}/{program}.pid)
  --overwrite-pidfile     with --pidfile, start even if already running

Logging options:
  -vSPEC, --verbose=SPEC  set logging levels
  -v, --verbose           log everything
  --log-file[=FILE]       log to FILE
                          (default: {}/{program}.log)
  --syslog-method=(libc|null|unix:FILE|udp:IP:PORT)
                          how messages reach the syslog daemon
  --syslog-target=IP:PORT also send syslog messages to IP:PORT by UDP

Other options:
  --unixctl=SOCKET        control socket (default: {}/{program}.PID.ctl)
  -h, --help              display this help message
  -V, --version           display version information
",
            rundir.display(),
            logdir.display(),
            rundir.display(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::getopt;

    fn parse(args: &[&str]) -> Result<DaemonOptions, Error> {
        let mut options = DaemonOptions::new("vswitchd");
        let parsed = getopt::parse(
            &DaemonOptions::with(&[]),
            args.iter().map(|s| (*s).to_owned()),
        )
        .unwrap();
        for (opt, value) in parsed.options {
            assert_eq!(options.take(opt, value.as_deref())?, Taken::Yes);
        }
        Ok(options)
    }

    #[test]
    fn paths() {
        let options = parse(&["--pidfile=/tmp/x.pid", "--detach", "--unixctl=/tmp/y"]).unwrap();
        assert_eq!(
            options.detach.pidfile.as_deref(),
            Some(Path::new("/tmp/x.pid"))
        );
        assert!(options.detach.detach);
        assert_eq!(options.unixctl_path(), Some(PathBuf::from("/tmp/y")));
        let options = parse(&["--pidfile"]).unwrap();
        assert_eq!(
            options.detach.pidfile,
            Some(dirs::rundir().join("vswitchd.pid"))
        );
    }

    #[test]
    fn refused_by_name() {
        let error = parse(&["--user=nobody"]).unwrap_err().to_string();
        assert!(error.contains("--user"), "{error}");
    }
}
