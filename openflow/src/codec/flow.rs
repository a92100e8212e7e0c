//! What the messages about flows have in common: flags, durations, ports, matches.
//!
//! Source: OpenFlow 1.0.0, 5.3.3; OpenFlow 1.3.5, 7.3.4.1.

use std::time::Duration;

use packet::OfPort;

use super::action;
use super::match11;
use super::nxm::{self, CookieMatch, Unknown};
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

/// The flags of a flow-mod, or with no `command` those of a flow.
///
/// Additions of 1.0 and 1.1 always reset the counters; these have no flag for that.
///
/// Errors: `OFPFMFC_BAD_FLAGS` for those that `version` does not have.
pub(super) fn decode_flags(
    flags: u16,
    command: Option<FlowModCommand>,
    version: Version,
) -> Result<FlowModFlags, DecodeError> {
    if flags & !known_flags(version) != 0 {
        return bad("flow-mod flags", OfError::FmfcBadFlags);
    }
    let is_10 = version == Version::Of10;
    let always_resets = version < Version::Of12;
    Ok(FlowModFlags {
        send_flow_rem: flags & OFPFF_SEND_FLOW_REM != 0,
        check_overlap: flags & OFPFF_CHECK_OVERLAP != 0,
        emergency: is_10 && flags & OFPFF10_EMERG != 0,
        reset_counts: if always_resets {
            command == Some(FlowModCommand::Add)
        } else {
            flags & OFPFF_RESET_COUNTS != 0
        },
        no_packet_counts: flags & OFPFF_NO_PKT_COUNTS != 0,
        no_byte_counts: flags & OFPFF_NO_BYT_COUNTS != 0,
    })
}

fn known_flags(version: Version) -> u16 {
    const COMMON: u16 = OFPFF_SEND_FLOW_REM | OFPFF_CHECK_OVERLAP;
    match version {
        Version::Of10 => COMMON | OFPFF10_EMERG,
        Version::Of11 => COMMON,
        Version::Of12 => COMMON | OFPFF_RESET_COUNTS,
        _ => COMMON | OFPFF_RESET_COUNTS | OFPFF_NO_PKT_COUNTS | OFPFF_NO_BYT_COUNTS,
    }
}

/// Flags that `version` does not have are left out.
pub(super) fn flags_number(flags: FlowModFlags, version: Version) -> u16 {
    let bit = |on: bool, bit: u16| if on { bit } else { 0 };
    let is_10 = version == Version::Of10;
    let all = bit(flags.send_flow_rem, OFPFF_SEND_FLOW_REM)
        | bit(flags.check_overlap, OFPFF_CHECK_OVERLAP)
        | bit(is_10 && flags.emergency, OFPFF10_EMERG)
        | bit(!is_10 && flags.reset_counts, OFPFF_RESET_COUNTS)
        | bit(flags.no_packet_counts, OFPFF_NO_PKT_COUNTS)
        | bit(flags.no_byte_counts, OFPFF_NO_BYT_COUNTS);
    all & known_flags(version)
}

/// Actions of a 1.0 flow: instructions that the extension has as actions come last.
pub(super) fn actions_10(r: &mut Reader) -> Result<Vec<Action>, DecodeError> {
    action::decode_flow_10(r)
}

/// Reads the match of a message of 1.1 or later: that of 1.1, or OXM, as its type says.
pub(super) fn decode_match(r: &mut Reader, unknown: Unknown) -> Result<Match, DecodeError> {
    let mut head = *r;
    if head.u16() == Ok(match11::OFPMT_STANDARD) {
        match11::decode(r)
    } else {
        nxm::decode_oxm_match(r, unknown)
    }
}

/// Writes the match of a message of 1.1 or later; false when `version` cannot express all of it.
pub(super) fn encode_match(w: &mut Writer, m: &Match, version: Version) -> bool {
    match version {
        Version::Of11 => match11::encode(w, m),
        _ => nxm::encode_oxm_match(w, m, version),
    }
}

/// Writes the match of a reply. What 1.1 cannot express goes as OXM, as Open vSwitch sends all
/// matches of 1.1's flow statistics.
pub(super) fn encode_match_of_reply(w: &mut Writer, m: &Match, version: Version) {
    let start = w.len();
    if !encode_match(w, m, version) && version == Version::Of11 {
        w.buf.truncate(start);
        nxm::encode_oxm_match(w, m, version);
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
