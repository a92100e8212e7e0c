//! What the messages about flows have in common: flags, durations, ports, matches.
//!
//! Source: OpenFlow 1.0.0, 5.3.3; OpenFlow 1.3.5, 7.3.4.1.

use std::time::Duration;

use packet::OfPort;

use super::action;
use super::nxm::{self, CookieMatch};
use crate::action::Action;
use crate::error::OfError;
use crate::flow_match::Match;
use crate::message::{FlowModCommand, FlowModFlags};
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer, bad};

const OFPFF_SEND_FLOW_REM: u16 = 1 << 0;
const OFPFF_CHECK_OVERLAP: u16 = 1 << 1;
const OFPFF10_EMERG: u16 = 1 << 2;
const OFPFF_RESET_COUNTS: u16 = 1 << 2;
const OFPFF_NO_PKT_COUNTS: u16 = 1 << 3;
const OFPFF_NO_BYT_COUNTS: u16 = 1 << 4;

/// Reads the 16-bit port of 1.0.
pub(super) fn port_16(r: &mut Reader) -> Result<OfPort, DecodeError> {
    Ok(OfPort::from_u16(r.u16()?))
}

/// Additions of 1.0 always reset the counters; it has no flag for that.
pub(super) fn flags_10(flags: u16, command: FlowModCommand) -> Result<FlowModFlags, DecodeError> {
    if flags & !(OFPFF_SEND_FLOW_REM | OFPFF_CHECK_OVERLAP | OFPFF10_EMERG) != 0 {
        return bad("flow-mod flags", OfError::FmfcBadFlags);
    }
    Ok(FlowModFlags {
        send_flow_rem: flags & OFPFF_SEND_FLOW_REM != 0,
        check_overlap: flags & OFPFF_CHECK_OVERLAP != 0,
        emergency: flags & OFPFF10_EMERG != 0,
        reset_counts: command == FlowModCommand::Add,
        ..FlowModFlags::default()
    })
}

pub(super) fn flags_13(flags: u16) -> Result<FlowModFlags, DecodeError> {
    const ALL: u16 = OFPFF_SEND_FLOW_REM
        | OFPFF_CHECK_OVERLAP
        | OFPFF_RESET_COUNTS
        | OFPFF_NO_PKT_COUNTS
        | OFPFF_NO_BYT_COUNTS;
    if flags & !ALL != 0 {
        return bad("flow-mod flags", OfError::FmfcBadFlags);
    }
    Ok(FlowModFlags {
        send_flow_rem: flags & OFPFF_SEND_FLOW_REM != 0,
        check_overlap: flags & OFPFF_CHECK_OVERLAP != 0,
        emergency: false,
        reset_counts: flags & OFPFF_RESET_COUNTS != 0,
        no_packet_counts: flags & OFPFF_NO_PKT_COUNTS != 0,
        no_byte_counts: flags & OFPFF_NO_BYT_COUNTS != 0,
    })
}

pub(super) fn flags_number(flags: FlowModFlags, version: Version) -> u16 {
    let bit = |on: bool, bit: u16| if on { bit } else { 0 };
    let common = bit(flags.send_flow_rem, OFPFF_SEND_FLOW_REM)
        | bit(flags.check_overlap, OFPFF_CHECK_OVERLAP);
    match version {
        Version::Of10 => common | bit(flags.emergency, OFPFF10_EMERG),
        _ => {
            common
                | bit(flags.reset_counts, OFPFF_RESET_COUNTS)
                | bit(flags.no_packet_counts, OFPFF_NO_PKT_COUNTS)
                | bit(flags.no_byte_counts, OFPFF_NO_BYT_COUNTS)
        }
    }
}

/// Actions of a 1.0 flow: instructions that the extension has as actions come last.
pub(super) fn actions_10(r: &mut Reader) -> Result<Vec<Action>, DecodeError> {
    let actions = action::decode_list(r, Version::Of10)?;
    let first = actions
        .iter()
        .position(Action::is_instruction)
        .unwrap_or(actions.len());
    if actions.iter().skip(first).all(Action::is_instruction) {
        Ok(actions)
    } else {
        bad("action after an instruction", OfError::BacUnsupportedOrder)
    }
}

/// Writes the length of an NXM match, what stands between it and the match (`gap` counts both),
/// and the match with its padding.
pub(super) fn encode_nx_match(w: &mut Writer, gap: usize, m: &Match, cookie: CookieMatch) -> bool {
    let len_at = w.len();
    w.zeros(gap);
    let start = w.len();
    let complete = nxm::encode_entries(w, m, Version::Of10, cookie);
    w.patch_len(len_at, start);
    w.pad8(start);
    complete
}

pub(super) fn duration(r: &mut Reader) -> Result<Duration, DecodeError> {
    let secs = r.u32()?;
    let nanos = r.u32()?;
    Ok(Duration::from_secs(secs.into()) + Duration::from_nanos(nanos.into()))
}

pub(super) fn write_duration(w: &mut Writer, d: Duration) {
    w.u32(u32::try_from(d.as_secs()).unwrap_or(u32::MAX));
    w.u32(d.subsec_nanos());
}
