//! The command line: options anywhere, then a command and its arguments.
//!
//! Source: ovs-ofctl(8), "OPTIONS".

use daemon::getopt::{self, Opt, Value};
use daemon::options::{DaemonOptions, Taken};
use openflow::message::PacketInFormat;
use openflow::text::Names;
use openflow::text::colors::Colors;
use openflow::text::flow_print::{Sort, SortKey};
use openflow::{Field, Version, VersionBitmap};

use crate::bundle;
use crate::error::Error;
use crate::protocol::{self, Formats};

const OWN: &[Opt] = &[
    Opt::new("timeout", Some('t'), Value::Required),
    Opt::new("strict", None, Value::None),
    Opt::new("read-only", None, Value::None),
    Opt::new("readd", None, Value::None),
    Opt::new("flow-format", Some('F'), Value::Required),
    Opt::new("packet-in-format", Some('P'), Value::Required),
    Opt::new("protocols", Some('O'), Value::Required),
    Opt::new("more", Some('m'), Value::None),
    Opt::new("timestamp", None, Value::None),
    Opt::new("sort", None, Value::Optional),
    Opt::new("rsort", None, Value::Optional),
    Opt::new("names", None, Value::None),
    Opt::new("no-names", None, Value::None),
    Opt::new("stats", None, Value::None),
    Opt::new("no-stats", None, Value::None),
    Opt::new("bundle", None, Value::None),
    Opt::new("color", None, Value::Optional),
    Opt::new("may-create", None, Value::None),
    Opt::new("private-key", Some('p'), Value::Required),
    Opt::new("certificate", Some('c'), Value::Required),
    Opt::new("ca-cert", Some('C'), Value::Required),
    Opt::new("bootstrap-ca-cert", None, Value::Required),
    Opt::new("ssl-protocols", None, Value::Required),
    Opt::new("ssl-ciphers", None, Value::Required),
];

/// What the options say.
#[derive(Debug)]
pub struct Options {
    pub daemon: DaemonOptions,
    pub timeout: Option<u32>,
    pub strict: bool,
    /// Commands about flows and groups are bundles.
    pub bundle: bool,
    pub read_only: bool,
    pub readd: bool,
    pub may_create: bool,
    pub formats: Formats,
    pub packet_in_format: Option<PacketInFormat>,
    pub versions: VersionBitmap,
    /// How often `-m` was given.
    pub more: u8,
    pub timestamp: bool,
    pub sort: Vec<Sort>,
    /// `None`: accept names, and show them on a terminal.
    pub names: Option<bool>,
    pub stats: bool,
    pub colors: Option<Colors>,
}

/// What to do.
#[derive(Debug)]
pub enum Invocation {
    Help(Options),
    Version,
    Run {
        options: Options,
        command: String,
        args: Vec<String>,
    },
}

/// Parses the command line of `program`.
pub fn parse(program: &str, args: Vec<String>) -> Result<Invocation, Error> {
    let mut options = Options {
        daemon: DaemonOptions::new(program),
        timeout: None,
        strict: false,
        bundle: false,
        read_only: false,
        readd: false,
        may_create: false,
        formats: Formats::ANY,
        packet_in_format: None,
        versions: [Version::Of10].into_iter().collect(),
        more: 0,
        timestamp: false,
        sort: Vec::new(),
        names: None,
        stats: true,
        colors: None,
    };
    let parsed = getopt::parse(&DaemonOptions::with(OWN), args)?;
    for (option, value) in parsed.options {
        match options.daemon.take(option, value.as_deref())? {
            Taken::Yes => {}
            Taken::Help => return Ok(Invocation::Help(options)),
            Taken::Version => return Ok(Invocation::Version),
            Taken::No => options.take(option, value.as_deref())?,
        }
    }
    let versions = options.bundle_versions();
    if options.formats.of_any(versions).is_empty() {
        return Err(Error::NoProtocol {
            versions: protocol::version_names(versions),
            formats: options.formats.to_string(),
        });
    }
    let mut words = parsed.arguments.into_iter();
    let command = words.next().ok_or(Error::NoCommand)?;
    Ok(Invocation::Run {
        options,
        command,
        args: words.collect(),
    })
}

impl Options {
    fn take(&mut self, option: Opt, value: Option<&str>) -> Result<(), Error> {
        let text = value.unwrap_or_default();
        match option.long {
            "timeout" => {
                let seconds = daemon::timeout::parse(text);
                self.timeout = Some(seconds.map_err(|_| Error::Timeout(text.to_owned()))?);
            }
            "strict" => self.strict = true,
            "bundle" => self.bundle = true,
            "read-only" => self.read_only = true,
            "readd" => self.readd = true,
            "may-create" => self.may_create = true,
            "flow-format" => self.formats = Formats::parse(text)?,
            "packet-in-format" => {
                self.packet_in_format = Some(match text.to_ascii_lowercase().as_str() {
                    "standard" | "openflow10" => PacketInFormat::Standard,
                    "nxt_packet_in" | "nxm" => PacketInFormat::Nxt,
                    "nxt_packet_in2" => PacketInFormat::Nxt2,
                    _ => return Err(Error::UnknownPacketInFormat(text.to_owned())),
                });
            }
            "protocols" => self.versions = protocol::versions(text)?,
            "more" => self.more = self.more.saturating_add(1),
            "timestamp" => self.timestamp = true,
            "sort" | "rsort" => {
                let key = match value {
                    None => SortKey::Priority,
                    Some(name) if name.eq_ignore_ascii_case("priority") => SortKey::Priority,
                    Some(name) => SortKey::Field(
                        Field::from_name(name)
                            .map_err(|_| Error::UnknownSortField(name.to_owned()))?,
                    ),
                };
                self.sort.push(Sort {
                    key,
                    descending: option.long == "rsort",
                });
            }
            "names" => self.names = Some(true),
            "no-names" => self.names = Some(false),
            "stats" => self.stats = true,
            "no-stats" => self.stats = false,
            "color" => {
                self.colors = match value.map(str::to_ascii_lowercase).as_deref() {
                    Some("no" | "none" | "never") => None,
                    Some("yes" | "always" | "force") => Some(wanted_colors()),
                    None | Some("auto" | "tty" | "if-tty") => {
                        stdout_shows_colors().then(wanted_colors)
                    }
                    Some(_) => return Err(Error::Color(text.to_owned())),
                };
            }
            _ => return Err(Error::OptionNotSupported(option.display())),
        }
        Ok(())
    }

    /// The versions that commands about flows and groups may use, which can be bundles.
    pub fn bundle_versions(&self) -> VersionBitmap {
        match self.bundle {
            true => bundle::versions(self.versions),
            false => self.versions,
        }
    }

    /// May names of ports and tables stand for their numbers on the command line?
    pub fn accepts_names(&self) -> bool {
        self.names != Some(false)
    }

    /// Are names shown instead of numbers?
    pub fn shows_names(&self) -> bool {
        use std::io::IsTerminal;
        self.names
            .unwrap_or_else(|| std::io::stdout().is_terminal())
    }

    /// To print without names of ports and tables.
    pub fn plain_names(&self) -> Names {
        Names::none().with_colors(self.colors.as_ref())
    }

    /// How many details messages are printed with.
    pub fn verbosity(&self, base: u8) -> u8 {
        base.saturating_add(self.more)
    }
}

fn stdout_shows_colors() -> bool {
    use std::io::IsTerminal;
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_dumb
}

fn wanted_colors() -> Colors {
    Colors::new(&std::env::var("OVS_COLORS").unwrap_or_default())
}
