//! `ct(...)` and `nat(...)`.

use std::net::Ipv6Addr;

use super::{fail, parse_list, wrong};
use crate::action::order::Outer;
use crate::action::{Action, Ct, CtZone, Nat, NatAddresses, NatKind};
use crate::text::argument::ArgumentError;
use crate::text::error::{Error, ErrorKind};
use crate::text::ports::Names;
use crate::text::token::{Pairs, Piece};
use crate::text::{subfield, value};

/// Control ports of the protocols that have helpers.
pub(in crate::text) const HELPERS: [(&str, u16); 2] = [("ftp", 21), ("tftp", 69)];

pub(super) fn parse(arg: Piece<'_>, names: &Names, depth: usize) -> Result<Ct, Error> {
    let mut ct = Ct {
        commit: false,
        force: false,
        zone: CtZone::Number(0),
        table: None,
        alg: 0,
        actions: Vec::new(),
    };
    for pair in Pairs::new(arg) {
        let v = pair.value;
        match pair.key.text {
            "commit" => ct.commit = true,
            "force" => ct.force = true,
            "table" => match names.table(v.text) {
                Some(0xff) => return wrong(ArgumentError::CtTable, v),
                Some(table) => ct.table = Some(table),
                None => return wrong(ArgumentError::CtUnknownTable(v.text.to_owned()), v),
            },
            "zone" => {
                ct.zone = match value::u16_value(v.text) {
                    Some(zone) => CtZone::Number(zone),
                    None => CtZone::Field(subfield::parse(v)?),
                };
                if matches!(ct.zone, CtZone::Field(src) if src.bits != 16) {
                    let kind = ErrorKind::ActionsInvalid("OFPBAC_BAD_SET_LEN".to_owned());
                    return fail(kind, v);
                }
            }
            "alg" => match HELPERS.iter().find(|(name, _)| *name == v.text) {
                Some((_, port)) => ct.alg = *port,
                None => return wrong(ArgumentError::CtHelper(v.text.to_owned()), v),
            },
            "nat" => ct.actions.push(Action::Nat(nat(v)?)),
            "exec" => ct
                .actions
                .extend(parse_list(v, names, Outer::Ct, depth + 1)?),
            key => return wrong(ArgumentError::CtKey(key.to_owned()), pair.key),
        }
    }
    if ct.force && !ct.commit {
        return wrong(ArgumentError::CtForce, arg);
    }
    Ok(ct)
}

pub(super) fn nat(arg: Piece<'_>) -> Result<Nat, Error> {
    let mut nat = Nat::default();
    for pair in Pairs::new(arg) {
        let kind = match pair.key.text {
            "src" => NatKind::Src,
            "dst" => NatKind::Dst,
            "persistent" => {
                nat.persistent = true;
                continue;
            }
            "hash" => {
                nat.hash = true;
                continue;
            }
            "random" => {
                nat.random = true;
                continue;
            }
            key => return wrong(ArgumentError::NatKey(key.to_owned()), pair.key),
        };
        if nat.kind.is_some_and(|k| k != kind) {
            return wrong(ArgumentError::NatBoth, pair.key);
        }
        nat.kind = Some(kind);
        (nat.addresses, nat.ports) = range(pair.value)?;
    }
    if nat.kind.is_none() && (nat.persistent || nat.hash || nat.random) {
        return wrong(ArgumentError::NatFlags, arg);
    }
    if nat.hash && nat.random {
        return wrong(ArgumentError::NatHashRandom, arg);
    }
    Ok(nat)
}

type Ports = Option<(u16, Option<u16>)>;

/// `ADDR[-ADDR][:PORT[-PORT]]`; an IPv6 address stands in brackets where a port follows.
fn range(text: Piece<'_>) -> Result<(NatAddresses, Ports), Error> {
    if text.is_empty() {
        return Ok((NatAddresses::None, None));
    }
    let invalid = || wrong(ArgumentError::NatRange(text.text.to_owned()), text);
    let s = text.text;
    let (addresses, rest) = if let Some((min, rest)) = v4(s) {
        match rest.strip_prefix('-') {
            None => (NatAddresses::V4(min, None), rest),
            Some(rest) => match v4(rest) {
                Some((max, rest)) if max >= min => (NatAddresses::V4(min, Some(max)), rest),
                _ => return invalid(),
            },
        }
    } else if let Some((min, rest)) = v6(s) {
        match rest.strip_prefix('-') {
            None => (NatAddresses::V6(min, None), rest),
            Some(rest) => match v6(rest) {
                Some((max, rest)) if max >= min => (NatAddresses::V6(min, Some(max)), rest),
                _ => return invalid(),
            },
        }
    } else {
        return invalid();
    };
    let is_zero = matches!(addresses, NatAddresses::V4(0, _) | NatAddresses::V6(0, _));
    if is_zero {
        return invalid();
    }
    let (ports, rest) = match rest.strip_prefix(':') {
        None => (None, rest),
        Some(rest) => {
            let Some((min, rest)) = port(rest) else {
                return invalid();
            };
            match rest.strip_prefix('-') {
                None => (Some((min, None)), rest),
                Some(rest) => match port(rest) {
                    Some((max, rest)) if max >= min => (Some((min, Some(max))), rest),
                    _ => return invalid(),
                },
            }
        }
    };
    if !rest.is_empty() {
        let at = s.len() - rest.len();
        let (rest, all) = (rest.to_owned(), s.to_owned());
        return wrong(ArgumentError::NatGarbage { rest, all, at }, text.skip(at));
    }
    Ok((addresses, ports))
}

/// An address at the front, and what follows.
fn v4(s: &str) -> Option<(u32, &str)> {
    let end = s
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(s.len());
    let (addr, rest) = s.split_at(end);
    Some((value::ipv4(addr)?, rest))
}

fn v6(s: &str) -> Option<(u128, &str)> {
    let (addr, rest) = match s.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => {
            let end = s
                .find(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.')
                .unwrap_or(s.len());
            s.split_at(end)
        }
    };
    Some((addr.parse::<Ipv6Addr>().ok().map(u128::from)?, rest))
}

/// A port other than 0.
fn port(s: &str) -> Option<(u16, &str)> {
    let end = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    let (n, rest) = s.split_at(end);
    Some((n.parse().ok().filter(|n| *n != 0)?, rest))
}
