//! OpenFlow as text: the flow syntax of ovs-fields(7) and ovs-actions(7), the forms that
//! `ovs-ofctl` prints, and datapath flows.
//!
//! - [`token`] splits text into pairs, [`value`] reads and prints numbers and addresses,
//!   [`ports`] knows the names of ports and tables, [`colors`] what is coloured how;
//! - [`fields`], [`flags`], [`subfield`] and [`matches`] are about matches, [`action_parse`] and
//!   [`action_print`] about actions, each by the table in [`crate::field`];
//! - [`flow`] reads flow-mods, filters and packet-outs, [`flow_monitor`] flow monitors,
//!   [`flow_print`] prints flows;
//! - [`group`] and [`meter`] read group-mods and meter-mods;
//! - [`message`] and [`message_bytes`] print messages, [`packet_print`] packets and the lines of
//!   ofproto/trace;
//! - [`nx_match`] has matches by the names of their entries on the wire;
//! - [`tlv`] reads mappings of Geneve options, [`ct_flush`] which connections to flush;
//! - [`dp`] is the text of datapath flows.
//!
//! What Open vSwitch knows and this version does not carry is refused by its name. No file here
//! does input or output: text comes in as `&str` and goes out as `String`.

pub mod action_parse;
pub mod action_print;
pub mod argument;
pub mod colors;
pub mod ct_flush;
pub mod dp;
pub mod error;
pub mod fields;
mod flags;
pub mod flow;
pub mod flow_monitor;
pub mod flow_print;
pub mod group;
pub mod matches;
pub mod message;
pub mod message_bytes;
pub mod meter;
pub mod nx_match;
pub mod packet_print;
pub mod ports;
pub mod subfield;
pub mod tlv;
pub mod token;
pub mod value;

pub use error::{At, Error, ErrorKind};
pub use ports::Names;
