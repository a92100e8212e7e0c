//! OpenFlow as text: the flow syntax of ovs-fields(7) and ovs-actions(7), the forms that
//! `ovs-ofctl` prints, and datapath flows.
//!
//! - [`token`] splits text into pairs, [`value`] reads and prints numbers and addresses;
//! - [`dp`] is the text of datapath flows.
//!
//! No file here does input or output: text comes in as `&str` and goes out as `String`.

pub mod dp;
pub mod token;
pub mod value;
