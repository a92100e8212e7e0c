//! Parts of messages alone, for tools that show them.

use super::EncodeError;
use super::action::{self, Encoder};
use super::flow;
use super::instruction;
use super::match10::{self, Unasked};
use super::match11;
use super::nxm::{self, CookieMatch, Unknown};
use crate::action::Action;
use crate::error::OfError;
use crate::flow_match::Match;
use crate::version::Version;
use crate::wire::{DecodeError, Reader, Writer};

/// Reads a list of actions, as a packet-out has it.
pub fn decode_actions(bytes: &[u8], version: Version) -> Result<Vec<Action>, DecodeError> {
    let mut r = Reader::new(bytes, OfError::BacBadLen);
    action::decode_list(&mut r, version)
}

/// Writes a list of actions of a flow with the match `m`.
pub fn encode_actions(
    actions: &[Action],
    version: Version,
    m: &Match,
) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::default();
    let mut e = Encoder::new(version, m);
    e.list(&mut w, actions);
    finish(w, e.left_out, version)
}

/// Reads what a flow does: instructions, or in 1.0 actions.
pub fn decode_instructions(bytes: &[u8], version: Version) -> Result<Vec<Action>, DecodeError> {
    match version {
        Version::Of10 => action::decode_flow_10(&mut Reader::new(bytes, OfError::BacBadLen)),
        _ => instruction::decode_list(&mut Reader::new(bytes, OfError::BicBadLen), version),
    }
}

/// Writes what a flow with the match `m` does.
pub fn encode_instructions(
    actions: &[Action],
    version: Version,
    m: &Match,
) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::default();
    let mut e = Encoder::new(version, m);
    match version {
        Version::Of10 => e.list(&mut w, actions),
        _ => instruction::encode_list(&mut e, &mut w, actions),
    }
    finish(w, e.left_out, version)
}

/// Reads `struct ofp_match` with its padding, and nothing behind it.
pub fn decode_match(bytes: &[u8], version: Version) -> Result<Match, DecodeError> {
    let mut r = Reader::new(bytes, OfError::BmcBadLen);
    let m = match version {
        Version::Of10 => match10::decode(&mut r)?.fields,
        _ => flow::decode_match(&mut r, Unknown::Refuse)?,
    };
    r.done()?;
    Ok(m)
}

/// Writes `struct ofp_match` with its padding.
pub fn encode_match(m: &Match, version: Version) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::default();
    let complete = match version {
        Version::Of10 => match10::encode(&mut w, m),
        _ => flow::encode_match(&mut w, m, version),
    };
    finish(w, (!complete).then_some("the match"), version)
}

/// Reads the entries of an NXM or OXM match, without header and padding.
pub fn decode_entries(bytes: &[u8]) -> Result<Match, DecodeError> {
    let mut r = Reader::new(bytes, OfError::BmcBadLen);
    nxm::decode_entries(&mut r, Unknown::Refuse, None)
}

/// Writes the entries of a match as `version` has them; 1.0 has NXM.
pub fn encode_entries(m: &Match, version: Version) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::default();
    let complete = nxm::encode_entries(&mut w, m, version, CookieMatch::default());
    finish(w, (!complete).then_some("the match"), version)
}

fn finish(
    w: Writer,
    left_out: Option<&'static str>,
    version: Version,
) -> Result<Vec<u8>, EncodeError> {
    match left_out {
        None => Ok(w.buf),
        Some(what) => Err(EncodeError::NotExpressible { what, version }),
    }
}

/// An NXM match with the cookie that may stand in it.
#[derive(Clone, PartialEq, Debug)]
pub struct NxMatch {
    pub fields: Match,
    pub cookie: u64,
    /// 0 without a cookie.
    pub cookie_mask: u64,
}

/// Reads the entries of an NXM match; with `cookie`, the pseudo-field `NXM_NX_COOKIE` may be one.
///
/// Errors: `OFPBMC_*`.
pub fn decode_nx_match(bytes: &[u8], cookie: bool) -> Result<NxMatch, DecodeError> {
    let mut found = CookieMatch::default();
    let mut r = Reader::new(bytes, OfError::BmcBadLen);
    let fields = nxm::decode_entries(&mut r, Unknown::Refuse, cookie.then_some(&mut found))?;
    Ok(NxMatch {
        fields,
        cookie: found.cookie,
        cookie_mask: found.mask,
    })
}

/// The entries of a match and a cookie, as far as `version` has identifiers for them.
pub fn encode_nx_match(m: &NxMatch, version: Version) -> Vec<u8> {
    let mut w = Writer::default();
    let cookie = CookieMatch {
        cookie: m.cookie,
        mask: m.cookie_mask,
    };
    nxm::encode_entries(&mut w, &m.fields, version, cookie);
    w.buf
}

/// Length of `struct ofp_match` of OpenFlow 1.0.
pub const MATCH10_LEN: usize = 40;

/// A match of OpenFlow 1.0 with all that it says, also what has no meaning with its protocol: its
/// fields, and its bytes written again.
pub fn whole_match10(bytes: &[u8]) -> Result<(Match, Vec<u8>), DecodeError> {
    let mut r = Reader::new(bytes, OfError::BmcBadLen);
    let fields = match10::decode_with(&mut r, Unasked::Kept)?.fields;
    r.done()?;
    let mut w = Writer::default();
    match10::encode_with(&mut w, &fields, Unasked::Kept);
    Ok((fields, w.buf))
}

/// `struct ofp_match` of OpenFlow 1.0, as far as that can say it.
pub fn encode_match10(fields: &Match) -> Vec<u8> {
    let mut w = Writer::default();
    match10::encode(&mut w, fields);
    w.buf
}

/// Length of `struct ofp_match` of OpenFlow 1.1.
pub const MATCH11_LEN: usize = 88;

/// `struct ofp_match` of OpenFlow 1.1, as far as that can say it.
pub fn encode_match11(fields: &Match) -> Vec<u8> {
    let mut w = Writer::default();
    match11::encode(&mut w, fields);
    w.buf
}
