//! OpenFlow messages to bytes and back.
//!
//! One file per family of messages, each with decoding and encoding side by side:
//! [`switch`], [`bundle`], [`ct_flush`], [`flow_mod`], [`flow_monitor`], [`flow_removed`],
//! [`flow_stats`], [`group`], [`ipfix`], [`meter`], [`packet_in`], [`port`], [`port_stats`],
//! [`queue`], [`role`], [`table_desc`], [`table_stats`], [`table_features`] and [`tlv`], found by [`dispatch`] in the table of [`kind`]; below them
//! [`flow`], [`oxs`], [`property`], [`action`], [`nx_action`], [`learn`], [`instruction`],
//! [`match10`], [`match11`] and [`nxm`]. [`parts`] gives access to matches, actions and
//! instructions alone.
//!
//! ```text
//! | version(1) | type(1) | length(2) | xid(4) | body ...
//! ```
//!
//! Lengths are checked everywhere: a message must be exactly as long as its header says and as
//! its type wants, and its parts must fill their lengths. The error says which kind of length
//! was wrong.
//!
//! Source: OpenFlow 1.0.0, 5; OpenFlow 1.3.5, 7; `nicira-ext.h`.

mod action;
mod bundle;
mod continuation;
mod controller_status;
mod ct_flush;
mod dispatch;
mod flow;
mod flow_mod;
mod flow_monitor;
mod flow_removed;
mod flow_stats;
mod group;
mod instruction;
mod ipfix;
mod kind;
mod learn;
mod match10;
mod match11;
mod meter;
mod nx_action;
mod nxm;
mod oxs;
mod packet_in;
pub mod parts;
mod port;
mod port_stats;
mod property;
mod queue;
mod request_forward;
mod role;
mod switch;
mod table_desc;
mod table_features;
mod table_stats;
mod tlv;
mod writer;

use thiserror::Error;

use crate::error::OfError;
use crate::message::{BundleFlags, FlowFormat, Message, PacketInFormat};
use crate::version::Version;
pub use crate::wire::DecodeError;
use crate::wire::{HEADER_LEN, Reader, bad};
pub(crate) use action::standard_actions;
pub use flow_stats::{flow_counts_part, flow_stats_part};
pub(crate) use instruction::standard_instructions;
use kind::OFPT_EXPERIMENTER;
pub use kind::{Kind, Way};
pub(crate) use nxm::has_short_id;
use writer::MessageWriter;

/// Most bytes of a failed message that go into the error reply: as many as fit, as Open vSwitch
/// sends them, so that the tool at the other end can show what failed. An error of Nicira's extension has
/// 20 bytes before them.
pub const ERROR_DATA_LEN: usize = u16::MAX as usize - 20;

/// The header of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Wire number; [`Version::from_wire`] says whether the codec speaks it.
    pub version: u8,
    pub kind: u8,
    pub len: u16,
    pub xid: u32,
}

impl Header {
    /// Reads the header only.
    pub fn decode(bytes: &[u8]) -> Result<Header, DecodeError> {
        let mut r = Reader::new(bytes, OfError::BrcBadLen);
        Ok(Header {
            version: r.u8()?,
            kind: r.u8()?,
            len: r.u16()?,
            xid: r.u32()?,
        })
    }
}

/// How the messages of one connection are written where there is a choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dialect {
    pub version: Version,
    /// 1.0: flow-removed messages. Flow-mods are in the extension only when they must.
    pub flow_format: FlowFormat,
    pub packet_in_format: PacketInFormat,
    /// 1.0: the high byte of a flow-mod's command is the table.
    pub flow_mod_table_id: bool,
}

impl From<Version> for Dialect {
    /// What a connection has that asked for nothing.
    fn from(version: Version) -> Dialect {
        Dialect {
            version,
            flow_format: FlowFormat::OpenFlow10,
            packet_in_format: PacketInFormat::Standard,
            flow_mod_table_id: false,
        }
    }
}

/// Why a message has no form on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum EncodeError {
    #[error("{version} has no way to express {what}")]
    NotExpressible {
        what: &'static str,
        version: Version,
    },
    #[error("message of {len} bytes, longer than the 65535 that its length can hold")]
    TooLong { len: usize },
}

/// A decoded message.
#[derive(Clone, PartialEq, Debug)]
pub struct Decoded {
    pub header: Header,
    /// Which form of the message it was.
    pub kind: Kind,
    /// A multipart reply of which more parts follow.
    pub more: bool,
    pub message: Message,
}

/// Decodes one whole message.
///
/// Errors: of [`DecodeError`], for the peer by [`DecodeError::error`].
pub fn decode(bytes: &[u8], dialect: &Dialect) -> Result<Decoded, DecodeError> {
    let header = Header::decode(bytes)?;
    if usize::from(header.len) != bytes.len() {
        return bad("message length", OfError::BrcBadLen);
    }
    let mut body = Reader::new(bytes, OfError::BrcBadLen);
    body.skip(HEADER_LEN)?;
    let (kind, message, more) = dispatch::decode(&header, &mut body, dialect)?;
    Ok(Decoded {
        header,
        kind,
        more,
        message,
    })
}

/// Is the message a multipart reply?
pub fn is_multipart_reply(header: &Header) -> bool {
    let version = Version::from_wire(header.version);
    version.is_some_and(|v| kind::multipart_types(v).1 == header.kind)
}

/// The kind that a message says it is, whatever the rest of it.
pub fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let header = Header::decode(bytes).ok()?;
    if header.kind < OFPT_EXPERIMENTER {
        return Kind::by_type(Version::Of10.wire(), header.kind);
    }
    let version = Version::from_wire(header.version)?;
    let mut body = Reader::new(bytes, OfError::BrcBadLen);
    body.skip(HEADER_LEN).ok()?;
    let (kind, _) = dispatch::kind(&header, version, &mut body).ok()?;
    Some(kind)
}

/// `OFPT_BUNDLE_ADD_MESSAGE` with a message that is encoded already, whatever transaction id that
/// has.
pub fn encode_bundle_add(
    bundle_id: u32,
    flags: BundleFlags,
    message: &[u8],
    version: Version,
    xid: u32,
) -> Result<Vec<u8>, EncodeError> {
    let mut w = MessageWriter::new(version.into(), xid, false);
    bundle::encode_add_of(&mut w, bundle_id, flags, message);
    w.finish()
}

/// A message of this kind without a body: what says what it is and nothing else.
pub fn encode_empty(kind: Kind, version: Version) -> Result<Vec<u8>, EncodeError> {
    let mut w = MessageWriter::new(version.into(), 0, false);
    w.begin(kind);
    w.end();
    w.finish()
}

/// Is the message one that answers or informs, and so gets no error in return?
pub fn is_reply(header: &Header) -> bool {
    kind::is_reply(header)
}

/// Encodes a message; long lists of a multipart reply give several messages in a row.
///
/// Replies show flows of another version as far as theirs can; a request that cannot be
/// expressed is an error.
pub fn encode(
    message: &Message,
    dialect: impl Into<Dialect>,
    xid: u32,
) -> Result<Vec<u8>, EncodeError> {
    encode_part(message, dialect, xid, false)
}

/// Like [`encode`]; with `more`, a multipart reply says that further parts follow.
pub fn encode_part(
    message: &Message,
    dialect: impl Into<Dialect>,
    xid: u32,
    more: bool,
) -> Result<Vec<u8>, EncodeError> {
    let mut w = MessageWriter::new(dialect.into(), xid, more);
    dispatch::encode(&mut w, message);
    w.finish()
}
