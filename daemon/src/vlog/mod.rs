//! Log messages in Open vSwitch's format, with levels per module and destination.
//!
//! Code logs through `tracing`; [`init`] installs a layer that writes each event as
//! `TIME|SEQ|MODULE|LEVEL|TEXT` to the console, to syslog and to a file. The module is the last
//! segment of the event's target: events of `vswitchd::bridge` are module `bridge`.
//! `error!` is level ERR, `debug!` and `trace!` are both DBG.
//!
//! Source: ovs-vswitchd(8), "Logging Options"; OVS `lib/vlog.c`. Set up by
//! [`crate::options`] and changed while running by the unixctl commands of [`commands`].

pub mod commands;
mod layer;
mod pattern;
mod spec;
mod syslog;
mod time;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Instant, SystemTime};

use tracing_subscriber::layer::SubscriberExt;

use pattern::{Pattern, Record};
pub use spec::{Error, Spec};
use syslog::Syslog;
pub use syslog::{Method as SyslogMethod, MethodError as SyslogMethodError};

/// Levels, most severe first. `Off` and `Emer` are thresholds that no event but a panic reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Off,
    Emer,
    Err,
    Warn,
    Info,
    Dbg,
}

impl Level {
    pub const ALL: [Level; 6] = [
        Level::Off,
        Level::Emer,
        Level::Err,
        Level::Warn,
        Level::Info,
        Level::Dbg,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Level::Off => "OFF",
            Level::Emer => "EMER",
            Level::Err => "ERR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Dbg => "DBG",
        }
    }

    fn of(level: &tracing::Level) -> Level {
        match *level {
            tracing::Level::ERROR => Level::Err,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Level::Dbg,
        }
    }

    fn from_name(name: &str) -> Option<Level> {
        Level::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(name))
    }
}

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    Console,
    Syslog,
    File,
}

impl Destination {
    pub const ALL: [Destination; 3] =
        [Destination::Console, Destination::Syslog, Destination::File];

    pub fn name(self) -> &'static str {
        match self {
            Destination::Console => "console",
            Destination::Syslog => "syslog",
            Destination::File => "file",
        }
    }

    fn from_name(name: &str) -> Option<Destination> {
        Destination::ALL
            .into_iter()
            .find(|destination| destination.name().eq_ignore_ascii_case(name))
    }
}

/// One value per destination.
#[derive(Clone, Debug)]
struct PerDestination<T> {
    console: T,
    syslog: T,
    file: T,
}

impl<T> PerDestination<T> {
    fn get(&self, destination: Destination) -> &T {
        match destination {
            Destination::Console => &self.console,
            Destination::Syslog => &self.syslog,
            Destination::File => &self.file,
        }
    }

    fn get_mut(&mut self, destination: Destination) -> &mut T {
        match destination {
            Destination::Console => &mut self.console,
            Destination::Syslog => &mut self.syslog,
            Destination::File => &mut self.file,
        }
    }
}

type Levels = PerDestination<Level>;

struct State {
    program: String,
    start: Instant,
    sequence: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    /// What modules start with that are met later.
    default: Levels,
    modules: BTreeMap<String, Levels>,
    patterns: PerDestination<Pattern>,
    facility: u8,
    syslog: Syslog,
    /// A second copy by UDP (`--syslog-target`).
    syslog_target: Option<Syslog>,
    file: Option<File>,
    file_path: Option<PathBuf>,
}

static STATE: OnceLock<State> = OnceLock::new();

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        match self.inner.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

impl Inner {
    fn levels(&self, module: &str) -> &Levels {
        self.modules.get(module).unwrap_or(&self.default)
    }
}

fn state() -> Option<&'static State> {
    STATE.get()
}

/// Installs the log layer for this process. `console` is the console's first level: `Info` for
/// daemons, `Warn` for tools. Does nothing when called again.
pub fn init(program: &str, console: Level) {
    let fresh = State {
        program: program.to_owned(),
        start: Instant::now(),
        sequence: AtomicU64::new(0),
        inner: Mutex::new(Inner {
            default: Levels {
                console,
                syslog: Level::Info,
                file: Level::Info,
            },
            modules: BTreeMap::new(),
            patterns: PerDestination {
                console: Pattern::new(pattern::CONSOLE),
                syslog: Pattern::new(pattern::SYSLOG),
                file: Pattern::new(pattern::FILE),
            },
            facility: spec::DAEMON_FACILITY,
            syslog: Syslog::new(SyslogMethod::Libc),
            syslog_target: None,
            file: None,
            file_path: None,
        }),
    };
    if STATE.set(fresh).is_err() {
        return;
    }
    let subscriber = tracing_subscriber::registry().with(layer::VlogLayer);
    // Only a test that installed another subscriber first makes this fail; then that one is used.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        write("daemon", Level::Emer, &format!("panic: {info}"));
        previous(info);
    }));
}

/// A time as log-like texts have it: `2026-01-02 03:04:05.678`, in UTC.
pub fn date_text(time: SystemTime) -> String {
    let utc = time::Utc::from(time);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}",
        utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.millisecond
    )
}

/// Names modules before they log for the first time, so that `vlog/list` shows them and
/// `vlog/set` takes them.
pub fn declare(modules: &[&str]) {
    let Some(state) = state() else { return };
    let mut inner = state.lock();
    for module in modules {
        let levels = inner.default.clone();
        inner.modules.entry((*module).to_owned()).or_insert(levels);
    }
}

/// Applies a `-v` or `vlog/set` specification.
pub fn set(text: &str) -> Result<(), Error> {
    let Some(state) = state() else { return Ok(()) };
    {
        let mut inner = state.lock();
        match spec::parse(text, |module| inner.modules.contains_key(module))? {
            Spec::Levels {
                module,
                destination,
                level,
            } => inner.set_levels(module.as_deref(), destination, level),
            Spec::Pattern {
                destination,
                pattern,
            } => {
                for each in Destination::ALL {
                    if destination.is_none_or(|d| d == each) {
                        *inner.patterns.get_mut(each) = Pattern::new(&pattern);
                    }
                }
            }
            Spec::Facility(facility) => inner.facility = facility,
        }
    }
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

impl Inner {
    fn set_levels(&mut self, module: Option<&str>, destination: Option<Destination>, level: Level) {
        let apply = |levels: &mut Levels| {
            for each in Destination::ALL {
                if destination.is_none_or(|d| d == each) {
                    *levels.get_mut(each) = level;
                }
            }
        };
        match module {
            Some(module) => {
                if let Some(levels) = self.modules.get_mut(module) {
                    apply(levels);
                }
            }
            None => {
                apply(&mut self.default);
                self.modules.values_mut().for_each(apply);
            }
        }
    }
}

/// Every message to every destination (`-v` without a specification).
pub fn set_verbose() {
    if let Some(state) = state() {
        state.lock().set_levels(None, None, Level::Dbg);
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Nothing more to the console: its descriptor is about to become `/dev/null`.
pub fn console_off() {
    if let Some(state) = state() {
        state
            .lock()
            .set_levels(None, Some(Destination::Console), Level::Off);
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Opens `path` for appending, or closes the old file and opens it again.
///
/// Errors: the file stays closed; the daemon goes on, as its other destinations work.
pub fn set_log_file(path: PathBuf) -> Result<(), LogFileError> {
    let Some(state) = state() else { return Ok(()) };
    let opened = open(&path);
    let mut inner = state.lock();
    inner.file_path = Some(path.clone());
    match opened {
        Ok(file) => {
            inner.file = Some(file);
            drop(inner);
            tracing::info!(target: "vlog", "opened log file {}", path.display());
            Ok(())
        }
        Err(source) => {
            inner.file = None;
            drop(inner);
            tracing::warn!(
                target: "vlog",
                "failed to open {} for logging: {}",
                path.display(),
                crate::pidfile::reason(&source)
            );
            Err(LogFileError { path, source })
        }
    }
}

/// Closes the log file and opens it again by its name, after a rotation.
pub fn reopen_log_file() -> Result<(), LogFileError> {
    let path = state().and_then(|state| state.lock().file_path.clone());
    match path {
        Some(path) => set_log_file(path),
        None => Err(LogFileError {
            path: PathBuf::new(),
            source: io::Error::other("Logging to file not configured"),
        }),
    }
}

/// Closes the log file until `vlog/reopen`.
pub fn close_log_file() {
    if let Some(state) = state() {
        state.lock().file = None;
    }
}

/// How messages reach syslog (`--syslog-method`).
pub fn set_syslog_method(method: SyslogMethod) {
    if let Some(state) = state() {
        state.lock().syslog = Syslog::new(method);
    }
}

/// A second copy of what goes to syslog, by UDP (`--syslog-target`).
pub fn set_syslog_target(method: SyslogMethod) {
    if let Some(state) = state() {
        state.lock().syslog_target = Some(Syslog::new(method));
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{}", match .path.as_os_str().is_empty() {
    true => crate::pidfile::reason(.source),
    false => format!("{}: {}", .path.display(), crate::pidfile::reason(.source)),
})]
pub struct LogFileError {
    pub path: PathBuf,
    pub source: io::Error,
}

fn open(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// Writes one message to each destination whose level allows it.
fn write(module: &str, level: Level, text: &str) {
    let Some(state) = state() else { return };
    let sequence = state
        .sequence
        .fetch_add(1, Ordering::Relaxed)
        .wrapping_add(1);
    let thread = std::thread::current();
    let record = Record {
        program: &state.program,
        module,
        level,
        text,
        sequence,
        thread: thread.name().filter(|name| !is_main(name)).unwrap_or(""),
        now: SystemTime::now(),
        since_start: state.start.elapsed(),
    };
    let mut guard = state.lock();
    let inner = &mut *guard;
    let levels = inner.modules.get(module).unwrap_or(&inner.default).clone();
    // A destination that fails has nowhere to report it.
    if level <= levels.console {
        let line = inner.patterns.console.format(&record);
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
    if level <= levels.file
        && let Some(file) = &mut inner.file
    {
        let mut line = inner.patterns.file.format(&record);
        line.push('\n');
        let _ = file.write_all(line.as_bytes());
    }
    if level <= levels.syslog {
        let line = inner.patterns.syslog.format(&record);
        inner.syslog.send(inner.facility, &record, &line);
        if let Some(target) = &mut inner.syslog_target {
            target.send(inner.facility, &record, &line);
        }
    }
}

/// Threads that a user need not tell apart: the event loop, wherever the runtime runs it.
fn is_main(name: &str) -> bool {
    name == "main" || name.starts_with("tokio-r")
}
