//! Datapath flows as text: what `dpctl/dump-flows` shows and what `ofproto/trace` and the dummy
//! network devices take, for example
//! `recirc_id(0),in_port(1),eth(src=50:54:00:00:00:05),eth_type(0x0800),ipv4(proto=6,frag=no)`.
//!
//! A key is a list of attributes `name(...)`, in a fixed order; an attribute or field that the
//! mask does not touch is left out, except that `-m` output shows it with a zero mask. Values
//! under a partial mask are `value/mask`. Source: ovs-dpctl(8), "dump-flows"; the forms are those
//! of Open vSwitch 3.1 with the kernel datapath.
//!
//! The file reads and writes [`FlowKey`], [`FlowMask`] and [`Action`] of `packet`; OpenFlow text is
//! in the other modules of `text`.

mod actions;
mod attributes;
mod key;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::time::Duration;

use packet::{Action, DpPort, FlowKey, FlowMask};

pub use actions::format_actions;
pub use attributes::write_tcp_flags;
pub use key::format_key;
pub use parse::{Error, parse_key, parse_tcp_flags};

/// TCP flag names, lowest bit first.
pub const TCP_FLAGS: [&str; 12] = [
    "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]",
];

/// Names of datapath ports, for output with `--names`.
pub trait DpPortNames {
    /// `None` shows the number.
    fn name(&self, port: DpPort) -> Option<String>;
    fn number(&self, name: &str) -> Option<DpPort>;
}

/// Ports by number alone.
pub struct NoNames;

impl DpPortNames for NoNames {
    fn name(&self, _: DpPort) -> Option<String> {
        None
    }
    fn number(&self, _: &str) -> Option<DpPort> {
        None
    }
}

/// What one datapath flow has counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    pub packets: u64,
    pub bytes: u64,
    /// Time since the last packet; `None` when there was none.
    pub used: Option<Duration>,
    /// All TCP flags seen.
    pub tcp_flags: u16,
}

/// One line of `dpctl/dump-flows`, without a newline.
pub fn format_flow(
    key: &FlowKey,
    mask: &FlowMask,
    stats: &Stats,
    actions: &[Action],
    names: &dyn DpPortNames,
    verbose: bool,
) -> String {
    let mut s = String::new();
    format_key(&mut s, key, mask, names, verbose);
    let _ = write!(
        s,
        ", packets:{}, bytes:{}, used:",
        stats.packets, stats.bytes
    );
    match stats.used {
        Some(used) => {
            let _ = write!(s, "{}.{:03}s", used.as_secs(), used.subsec_millis());
        }
        None => s.push_str("never"),
    }
    if stats.tcp_flags != 0 {
        s.push_str(", flags:");
        write_tcp_flag_letters(&mut s, stats.tcp_flags);
    }
    s.push_str(", actions:");
    format_actions(&mut s, actions, key, names);
    s
}

/// The flags of a flow's statistics: one letter each, as `SF.` for SYN, FIN and ACK.
fn write_tcp_flag_letters(out: &mut String, flags: u16) {
    const LETTERS: [(u16, char); 9] = [
        (0x002, 'S'),
        (0x001, 'F'),
        (0x008, 'P'),
        (0x004, 'R'),
        (0x020, 'U'),
        (0x010, '.'),
        (0x040, 'E'),
        (0x080, 'C'),
        (0x100, 'N'),
    ];
    for (bit, letter) in LETTERS {
        if flags & bit != 0 {
            out.push(letter);
        }
    }
    for bit in 9..12 {
        if flags & (1 << bit) != 0 {
            let _ = write!(out, "[{:x}]", 1 << bit);
        }
    }
}
