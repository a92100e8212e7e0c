//! The switch: OpenFlow tables, and what is done with packets that the datapath cannot answer.
//!
//! Everything here is pure: no sockets, no clock, no threads. Time is a parameter, and what is to
//! be done about an input is returned as a value. Chains b and d of ARCHITECTURE.md run through
//! this crate.

pub mod action_check;
mod bundle;
mod changes;
pub mod classifier;
mod classifier_edit;
mod classifier_map;
pub mod classifier_pattern;
mod classifier_trie;
pub mod conn;
mod controller_status;
mod eviction;
pub mod flow;
pub mod flow_field;
mod flow_monitor;
pub mod flows_reply;
pub mod group;
pub mod mac_learning;
pub mod meter;
pub mod normal;
pub mod ofproto;
pub mod packet_in;
pub mod port;
mod request;
pub mod revalidate;
pub mod rule;
pub mod snapshot;
pub mod table;
pub mod tlv;
pub mod trace;
pub mod ukey;
pub mod upcall;
pub mod xlate;

#[cfg(test)]
mod testing;
