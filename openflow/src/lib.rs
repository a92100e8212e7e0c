//! OpenFlow and its Nicira extensions: messages, the field table, the wire codec, the text
//! format and the connection state machine.
//!
//! - [`field`]: the one table of match fields;
//! - [`flow_match`], [`action`], [`message`]: values, the same for every version;
//! - [`error`]: errors that a peer can be told;
//! - [`codec`]: messages to bytes and back; [`frame`] cuts a stream into messages and
//!   [`reassembly`] joins the parts of long replies;
//! - [`connection`]: one connection, of either end;
//! - [`text`]: flows, actions and messages as people write and read them.
//!
//! Nothing here does I/O, reads a clock or panics on what a peer sends.
//!
//! Source: OpenFlow 1.0.0 and 1.3.5; Open vSwitch `nicira-ext.h`, ovs-fields(7), ovs-actions(7).

pub mod action;
pub mod codec;
pub mod connection;
pub mod error;
pub mod field;
pub mod flow_match;
pub mod frame;
pub mod message;
pub mod reassembly;
pub mod text;
pub mod version;
pub mod wire;

pub use action::{Action, Subfield};
pub use connection::Connection;
pub use error::OfError;
pub use field::Field;
pub use flow_match::{Match, MatchField};
pub use message::Message;
pub use packet::{EthAddr, OfPort};
pub use version::{Version, VersionBitmap};
