//! Why flow text was not understood.
//!
//! The wording follows Open vSwitch's, which scripts and their tests compare with; the column of
//! the offending word comes behind it.

use std::fmt;

use super::argument::ArgumentError;
use crate::action::order::Misplaced;

/// An error in the text of a flow, at its place.
pub type Error = At<ErrorKind>;

/// An error at a place in the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct At<E> {
    pub kind: E,
    /// Byte offset of the offending word.
    pub at: usize,
}

impl<E> At<E> {
    pub fn new(kind: E, at: usize) -> At<E> {
        At { kind, at }
    }

    /// Counted from 1.
    pub fn column(&self) -> usize {
        self.at.saturating_add(1)
    }
}

impl<E: fmt::Display> fmt::Display for At<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (column {})", self.kind, self.column())
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for At<E> {}

impl From<ArgumentError> for ErrorKind {
    fn from(error: ArgumentError) -> ErrorKind {
        ErrorKind::Argument(Box::new(error))
    }
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ErrorKind {
    #[error("unknown keyword {0}")]
    UnknownKeyword(String),
    #[error("field {0} missing value")]
    MissingValue(String),
    #[error("{0} is not a valid pipeline field for PACKET_OUT")]
    NotPipelineField(String),
    #[error("must specify an action")]
    MissingActions,
    #[error("unknown table \"{0}\"")]
    UnknownTable(String),
    #[error("invalid {name} \"{value}\"")]
    InvalidInteger { name: &'static str, value: String },
    #[error("invalid numeric format {0}")]
    InvalidNumber(String),
    #[error("missing required numeric argument")]
    MissingNumber,
    #[error("flow additions cannot use a cookie mask")]
    CookieMaskOnAdd,
    #[error("cannot set cookie (to match on a cookie, specify a mask, e.g. cookie={0}/-1)")]
    CookieWithoutMask(String),
    #[error("{0} is not a valid OpenFlow port")]
    InvalidPort(String),
    #[error("{0} is not a valid OpenFlow group")]
    InvalidGroup(String),
    #[error("{value}: bad syntax for {field} value")]
    ValueSyntax { value: String, field: &'static str },
    #[error("{value}: bad syntax for {field} mask")]
    MaskSyntax { value: String, field: &'static str },
    #[error("{value}: value too large for {bytes}-byte field {field}")]
    ValueTooLarge {
        value: String,
        bytes: u8,
        field: &'static str,
    },
    #[error("{value}: mask too large for {bytes}-byte field {field}")]
    MaskTooLarge {
        value: String,
        bytes: u8,
        field: &'static str,
    },
    #[error("{value}: value too large for {bits}-bit field {field}")]
    ValueTooWide {
        value: String,
        bits: u16,
        field: &'static str,
    },
    #[error("{value}: invalid or unknown port for {field}")]
    FieldPort { value: String, field: &'static str },
    #[error("{0}: invalid Ethernet address")]
    EthAddr(String),
    #[error("{0}: invalid IP address")]
    Ipv4Addr(String),
    #[error("{0}: invalid IPv6 address")]
    Ipv6Addr(String),
    #[error("{value}: {family} network prefix bits not between 0 and {max}, inclusive")]
    PrefixRange {
        value: String,
        family: &'static str,
        max: u32,
    },
    #[error(
        "{0}: unknown fragment type (valid types are \"no\", \"yes\", \"first\", \"later\", \"not_later\""
    )]
    Frag(String),
    #[error("{value}: unknown {kind} flag(s)")]
    Flag { value: String, kind: &'static str },
    #[error("{value}: Each {kind} flag can be specified only once")]
    FlagTwice { value: String, kind: &'static str },
    #[error("{value}: bad syntax for packet type {what}")]
    PacketType { value: String, what: &'static str },
    #[error("{value}: value too large for the 16 bytes of {field} that this version carries")]
    TooLongToHold { value: String, field: &'static str },
    #[error("{value}: port value out of range for {field}")]
    FieldPortRange { value: String, field: &'static str },
    #[error("{value}: invalid mask for field {field}")]
    NotMaskable { value: String, field: &'static str },
    #[error("field {0} is not supported yet by this version")]
    FieldNotSupported(String),
    #[error("{0} is not supported yet by this version")]
    KeywordNotSupported(String),
    #[error("{0}: unknown field `{0}'")]
    UnknownField(String),
    #[error("unknown field `{0}'")]
    NoField(String),
    #[error("{text}: unknown field `{name}'")]
    UnknownSubfield { text: String, name: String },
    #[error("{part}: cannot parse integer value: {value}")]
    PartValue { part: String, value: String },
    #[error("unexpected input following field syntax")]
    AfterSubfield,
    #[error("{0}: syntax error expecting [] or [<bit>] or [<start>..<end>]")]
    SubfieldSyntax(String),
    #[error("{text}: starting bit {start} is after ending bit {end}")]
    SubfieldOrder { text: String, start: u32, end: u32 },
    #[error("{text}: {which} bit {bit} is not valid because field is only {bits} bits wide")]
    SubfieldRange {
        text: String,
        which: &'static str,
        bit: u32,
        bits: u16,
    },
    #[error("unknown action {0}")]
    UnknownAction(String),
    #[error("{0} takes no argument")]
    UnexpectedArgument(String),
    #[error("{0}: output to unknown port")]
    OutputPort(String),
    #[error("{0}: resubmit to unknown port")]
    ResubmitPort(String),
    #[error("{0}: resubmit to unknown table")]
    ResubmitTable(String),
    #[error("{0}: unknown parameter")]
    ResubmitParameter(String),
    #[error("at least one \"in_port\" or \"table\" must be specified on resubmit")]
    ResubmitNothing,
    #[error("unknown key \"{0}\" parsing controller action")]
    ControllerKey(String),
    #[error("unknown reason \"{0}\"")]
    ControllerReason(String),
    #[error("{0}: missing `->'")]
    MissingArrow(String),
    #[error("{0}: missing `->' following source")]
    MissingArrowAfterSource(String),
    #[error("{0}: missing field name following `->'")]
    MissingDestination(String),
    #[error("{0}: cannot parse integer value")]
    LoadValue(String),
    #[error("{text}: value {value} does not fit into {bits} bits")]
    LoadTooLarge {
        text: String,
        value: String,
        bits: u32,
    },
    #[error("{text}: source field is {src} bits wide but destination is {dst} bits wide")]
    MoveWidths { text: String, src: u32, dst: u32 },
    #[error("{0} is not a valid OXM field name")]
    SetFieldName(String),
    #[error("{0} is read-only")]
    ReadOnly(String),
    #[error("{value} is not a valid value for field {field}")]
    SetFieldValue { value: String, field: String },
    #[error("{0}: not a valid VLAN VID")]
    VlanVid(String),
    #[error("{0}: not a valid VLAN PCP")]
    VlanPcp(String),
    #[error("{0}: not a valid VLAN ethertype")]
    VlanEthertype(String),
    #[error("{0}: not a valid TOS")]
    Tos(String),
    #[error("{0}: not a valid ECN")]
    Ecn(String),
    #[error("invalid mac address {0}")]
    MacAddress(String),
    #[error("{0}: could not convert to IP address")]
    IpAddress(String),
    #[error("\"enqueue\" syntax is \"enqueue:PORT:QUEUE\" or \"enqueue(PORT,QUEUE)\"")]
    EnqueueSyntax,
    #[error("{0}: enqueue to unknown port")]
    EnqueuePort(String),
    #[error("bad hex digit in `note' argument")]
    NoteHex,
    #[error("\"drop\" must not be accompanied by any other action or instruction")]
    DropNotAlone,
    #[error("apply_actions is the default instruction")]
    ApplyActions,
    #[error(transparent)]
    Misplaced(Misplaced),
    #[error(transparent)]
    Argument(Box<ArgumentError>),
    #[error("actions are invalid with specified match ({0})")]
    ActionsInvalid(String),
    #[error("packet: Trailing garbage in packet data")]
    PacketHex,
    #[error("packet: Packet data too short for Ethernet")]
    PacketShort,
    #[error("must specify packet")]
    MissingPacket,
}
