//! What can go wrong, in the words of ovs-ofctl.

use std::io;

use openflow::codec::{DecodeError, EncodeError};
use openflow::text;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Error {
    #[error("{0}")]
    Getopt(#[from] daemon::getopt::Error),
    #[error("{0}")]
    DaemonOption(#[from] daemon::options::Error),
    #[error("{0}")]
    Detach(#[from] daemon::detach::Error),
    #[error("{0}")]
    Unixctl(#[from] daemon::unixctl::server::ListenError),
    #[error("missing command name; use --help for help")]
    NoCommand,
    #[error("unknown command '{0}'; use --help for help")]
    UnknownCommand(String),
    #[error("'{0}' command is not supported yet by this version")]
    CommandNotSupported(String),
    #[error("'{name}' command requires at least {min} arguments")]
    TooFewArguments { name: String, min: usize },
    #[error("'{name}' command takes at most {max} arguments")]
    TooManyArguments { name: String, max: usize },
    #[error("'{0}' command does not work in read only mode")]
    ReadOnly(String),
    #[error("value {0} on -t or --timeout is invalid")]
    Timeout(String),
    #[error("Unknown OpenFlow version: \"{0}\"")]
    UnknownVersion(String),
    #[error("{0}: unknown flow protocol")]
    UnknownFlowFormat(String),
    #[error("{0}: no flow protocol specified")]
    NoFlowFormat(String),
    #[error("unknown packet-in format {0}")]
    UnknownPacketInFormat(String),
    #[error("{0}: unknown field name")]
    UnknownSortField(String),
    #[error("incorrect value `{0}' for --color")]
    Color(String),
    #[error("option {0} is not supported yet by this version")]
    OptionNotSupported(String),
    #[error(
        "None of the enabled OpenFlow versions ({versions}) supports any of the enabled flow formats ({formats}).  (Use -O to enable additional OpenFlow versions or -F to enable additional flow formats.)"
    )]
    NoProtocol { versions: String, formats: String },
    #[error(
        "none of the usable flow formats ({usable}) is among the allowed flow formats ({allowed})"
    )]
    NoUsableFormat { usable: String, allowed: String },
    #[error(
        "{command} needs OpenFlow 1.{} or later ('-O {version}')",
        .version.wire().saturating_sub(1)
    )]
    NeedsVersion {
        command: &'static str,
        version: openflow::Version,
    },
    #[error("no usable protocol")]
    NoUsableProtocol,
    #[error("{0}: switch refused to enable the flow format that these flows need")]
    FormatRefused(String),

    #[error("{0} is not a bridge or a socket")]
    NoSuchTarget(String),
    #[error("{0}")]
    Method(#[from] daemon::stream::MethodError),
    #[error("connecting to {method} ({})", reason(.source))]
    Connect { method: String, source: io::Error },
    #[error("{path}: failed to open socket ({})", reason(.source))]
    Open { path: String, source: io::Error },
    #[error("{0}: failed to connect to socket (Broken pipe)")]
    Handshake(String),
    #[error("{target}: failed to connect to socket ({})", reason(.source))]
    HandshakeStream { target: String, source: io::Error },
    #[error("vconn_recv (End of file)")]
    EndOfFile,
    #[error("{what} ({})", reason(.source))]
    Stream {
        what: &'static str,
        source: io::Error,
    },
    #[error("{target}: received a message with bad length {len}")]
    BadLength { target: String, len: u16 },
    #[error("{target}: {source}")]
    Decode { target: String, source: DecodeError },
    #[error("{0}")]
    Encode(#[from] EncodeError),
    #[error("{target}: the switch answered {got} to {asked}")]
    UnexpectedReply {
        target: String,
        asked: &'static str,
        got: &'static str,
    },
    /// The switch refused something; this is the message, printed as messages are.
    #[error("{0}")]
    Refused(String),
    /// The same, several times, each with where it comes from.
    #[error("{0}")]
    RefusedLines(String),

    /// What of a bundle was refused is shown before.
    #[error("talking to {method} (Protocol error)")]
    BundleRefused { shown: String, method: String },
    #[error("{file}:{line}: Unsupported bundle message type: {word}")]
    BundleMessage {
        file: String,
        line: usize,
        word: String,
    },
    #[error("invalid table_mod setting {0}")]
    TableSetting(String),
    #[error("table_mod '{setting}' requires one of the OpenFlow versions {versions}")]
    TableVersion { setting: String, versions: String },
    #[error("dump-table-desc needs OpenFlow 1.4 or later ('-O OpenFlow14')")]
    TableDescVersion,
    #[error("unknown table \"{0}\"")]
    UnknownTable(String),
    #[error("Vacancy {0} value missing")]
    NoVacancy(&'static str),
    #[error("Invalid vacancy {which} value \"{value}\"")]
    VacancyPercent { which: &'static str, value: String },
    #[error("table name \"{name}\" is longer than {max} bytes")]
    TableName { name: String, max: usize },
    #[error(
        "Invalid vacancy range, vacancy up should be greater than vacancy down (OFPBPC_BAD_VALUE)"
    )]
    VacancyRange,
    #[error("invalid tlv mapping")]
    TlvMap,
    #[error("invalid zone_id \"{0}\"")]
    ZoneId(String),
    #[error("Failed to parse zone")]
    Zone,
    #[error("Failed to parse ct-tuple: {0}")]
    Tuple(#[from] text::ct_flush::TupleError),
    #[error("{0}: a third tuple, where connections have two directions")]
    ThirdTuple(String),
    #[error("{spec}: {source}")]
    Watch { spec: String, source: text::Error },

    #[error("{0}")]
    Text(#[from] text::Error),
    #[error("{file}:{line}: {source}")]
    File {
        file: String,
        line: usize,
        source: text::Error,
    },
    #[error("{0}")]
    Group(#[from] text::At<text::group::GroupError>),
    #[error("{file}:{line}: {source}")]
    GroupFile {
        file: String,
        line: usize,
        source: text::At<text::group::GroupError>,
    },
    #[error("{0}")]
    Meter(#[from] text::At<text::meter::MeterError>),
    #[error("{file}: open failed ({})", reason(.source))]
    OpenFile { file: String, source: io::Error },
    #[error("{file}: read failed ({})", reason(.source))]
    ReadFile { file: String, source: io::Error },
    #[error("{file}:{line}: {source}")]
    EncodeLine {
        file: String,
        line: usize,
        source: EncodeError,
    },
    #[error("{file}:{line}: not UTF-8 text")]
    NotText { file: String, line: usize },
    #[error("{file}: a line is longer than {max} bytes")]
    LineTooLong { file: String, max: usize },
    #[error("temporary file for flows ({})", reason(.0))]
    Spool(io::Error),
    #[error("{0}: unexpected end of file mid-message")]
    EofMidMessage(String),
    #[error("write to stdout failed")]
    Stdout,
    /// As in `ofctl dump-flows br0 | head`: no failure, and nobody to tell.
    #[error("nobody reads stdout")]
    NoReader,

    #[error("{target}: couldn't find port `{port}'")]
    NoPort { target: String, port: String },
    #[error("{target}: unknown port `{port}'")]
    UnknownPort { target: String, port: String },
    #[error("unknown mod-port command '{0}'")]
    ModPortAction(String),
    #[error("{0}: unknown fragment handling mode")]
    UnknownFragMode(String),
    #[error(
        "{target}: setting fragment handling mode failed (this switch probably doesn't support mode \"{mode}\")"
    )]
    FragModeFailed { target: String, mode: String },
    #[error("payload must be between 0 and {0} bytes")]
    Payload(usize),
    #[error("\"{0}\" is not a number")]
    NotANumber(String),
    #[error("reply does not match request")]
    EchoMismatch,
    #[error("{0}: unsupported \"monitor\" argument")]
    MonitorArgument(String),
    #[error("trailing garbage following hex bytes")]
    BadHex,
    #[error("Failed to read stdin")]
    Stdin,
    #[error("Trailing garbage in hex data")]
    HexGarbage,
    #[error("Input is {got} bytes, expected {wanted}")]
    InputSize { got: usize, wanted: usize },
    #[error("unknown error \"{0}\"")]
    UnknownErrorName(String),
    #[error("Request too short")]
    RequestTooShort,
    #[error("Request size inconsistent")]
    RequestSize,
    #[error("{0}: no version bit from 1 to 31 is set")]
    NoVersions(String),
    #[error("{0}: not a valid OpenFlow version")]
    NotAVersion(String),
    #[error("{0}: not a valid version for OXM")]
    NotAnOxmVersion(String),
    #[error("{0}")]
    NxMatch(#[from] text::nx_match::Error),
    #[error("{0}: more than {1} TCP connections at a time")]
    TooManyStreams(String, usize),
}

/// The text of an I/O error as strerror(3) has it.
pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "End of file".to_owned(),
        None => error.to_string(),
    }
}
