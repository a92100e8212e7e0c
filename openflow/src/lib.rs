//! OpenFlow and its Nicira extensions: messages, the field table, the wire codec, the text
//! format and the connection state machine.
//!
//! - [`field`]: the one table of match fields;
//! - [`flow_match`], [`action`], [`message`]: values, the same for every version;
//! - [`error`]: errors that a peer can be told.
//!
//! Nothing here does I/O, reads a clock or panics on what a peer sends.
//!
//! Source: OpenFlow 1.0.0 and 1.3.5; Open vSwitch `nicira-ext.h`, ovs-fields(7), ovs-actions(7).

pub mod action;
pub mod codec;
pub mod error;
pub mod field;
pub mod flow_match;
pub mod message;
pub mod text;
pub mod version;
pub mod wire;

pub use action::{Action, Subfield};
pub use error::OfError;
pub use field::Field;
pub use flow_match::Match;
pub use message::Message;
pub use packet::{EthAddr, OfPort};
pub use version::{Version, VersionBitmap};
