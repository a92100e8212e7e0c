//! Packet headers, the flow key that the datapath matches on, datapath actions, and the records
//! that the kernel and userspace share.
//!
//! Both the eBPF programs and the userspace crates compile this crate, so it is `no_std` and has
//! no dependencies; the feature `user` adds `aya::Pod` for the shared records. See STYLE.md
//! section 5 for the rules that the shared types obey.
#![cfg_attr(not(any(test, feature = "user")), no_std)]

pub mod abi;
pub mod action;
pub mod addr;
pub mod drop_reason;
pub mod extract;
pub mod key;
pub mod meter;

pub use action::{Action, ActionRecord};
pub use addr::{DpMeter, DpPort, EthAddr, IfIndex, OfPort};
pub use drop_reason::DropReason;
pub use key::{FlowKey, FlowMask};
