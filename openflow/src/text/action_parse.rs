//! Action lists from text: `output:1,set_field:10.0.0.1->ip_dst,goto_table:2`.
//!
//! Source: ovs-actions(7); OpenFlow 1.3.5, 5.9 and 5.10 for the order of instructions.

use packet::OfPort;

use super::error::{Error, ErrorKind};
use super::fields;
use super::ports::Names;
use super::subfield;
use super::token::{Pair, Pairs, Piece};
use super::value;
use crate::action::{Action, CONTROLLER_MAX_LEN_ALL, Subfield};
use crate::field::Field;
use crate::message::PacketInReason;

/// Actions and instructions that are understood, by the names of ovs-actions(7). Ports by number,
/// name or keyword are actions too.
pub const SUPPORTED: [&str; 38] = [
    "apply_actions",
    "clear_actions",
    "controller",
    "dec_ttl",
    "drop",
    "enqueue",
    "exit",
    "goto_table",
    "group",
    "load",
    "meter",
    "mod_dl_dst",
    "mod_dl_src",
    "mod_nw_dst",
    "mod_nw_ecn",
    "mod_nw_src",
    "mod_nw_tos",
    "mod_nw_ttl",
    "mod_tp_dst",
    "mod_tp_src",
    "mod_vlan_pcp",
    "mod_vlan_vid",
    "move",
    "note",
    "output",
    "pop",
    "pop_queue",
    "pop_vlan",
    "push",
    "push_vlan",
    "resubmit",
    "set_field",
    "set_queue",
    "set_vlan_pcp",
    "set_vlan_vid",
    "strip_vlan",
    "write_actions",
    "write_metadata",
];

/// Actions of Open vSwitch that this version has no counterpart for.
pub const NOT_SUPPORTED: [&str; 29] = [
    "bundle",
    "bundle_load",
    "check_pkt_larger",
    "clone",
    "conjunction",
    "ct",
    "ct_clear",
    "debug_recirc",
    "debug_slow",
    "dec_mpls_ttl",
    "dec_nsh_ttl",
    "decap",
    "delete_field",
    "encap",
    "fin_timeout",
    "learn",
    "multipath",
    "nat",
    "output_trunc",
    "pop_mpls",
    "push_mpls",
    "sample",
    "set_mpls_label",
    "set_mpls_tc",
    "set_mpls_ttl",
    "set_tunnel",
    "set_tunnel64",
    "set_eth_type",
    "unroll_xlate",
];

/// Where an action list stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// In a flow: instructions are allowed.
    Flow,
    /// In `write_actions`, or in a packet-out: actions only.
    Actions,
}

/// Parses the actions and instructions of a flow.
///
/// Errors: as for Open vSwitch, also when instructions stand in an order that OpenFlow 1.1 and
/// later cannot express.
pub fn parse(text: Piece<'_>, names: &Names) -> Result<Vec<Action>, Error> {
    let actions = parse_list(text, names, Place::Flow)?;
    check_order(&actions, text.at)?;
    Ok(actions)
}

/// Parses the actions of a packet-out, which has no instructions.
pub fn parse_packet_out(text: Piece<'_>, names: &Names) -> Result<Vec<Action>, Error> {
    parse_list(text, names, Place::Actions)
}

fn parse_list(text: Piece<'_>, names: &Names, place: Place) -> Result<Vec<Action>, Error> {
    let mut actions = Vec::new();
    let mut drop_at = None;
    for pair in Pairs::new(text) {
        if pair.key.text.eq_ignore_ascii_case("drop") {
            no_argument(pair)?;
            drop_at = Some(pair.key.at);
            continue;
        }
        parse_one(pair, names, place, &mut actions)?;
        if let (Place::Actions, Some(last)) = (place, actions.last())
            && last.is_instruction()
        {
            let kind = ErrorKind::InstructionNested(instruction(last).1);
            return Err(Error::new(kind, pair.key.at));
        }
    }
    match drop_at {
        Some(at) if !actions.is_empty() => Err(Error::new(ErrorKind::DropNotAlone, at)),
        _ => Ok(actions),
    }
}

/// Position in a flow and name of the instruction that an action belongs to.
fn instruction(action: &Action) -> (u8, &'static str) {
    match action {
        Action::Meter(_) => (0, "meter"),
        Action::ClearActions => (2, "clear_actions"),
        Action::WriteActions(_) => (3, "write_actions"),
        Action::WriteMetadata { .. } => (4, "write_metadata"),
        Action::GotoTable(_) => (5, "goto_table"),
        _ => (1, "apply_actions"),
    }
}

fn check_order(actions: &[Action], at: usize) -> Result<(), Error> {
    let mut last: Option<(u8, &'static str)> = None;
    for action in actions {
        let this = instruction(action);
        if let Some(last) = last {
            if this.0 < last.0 {
                let kind = ErrorKind::InstructionOrder {
                    first: this.1,
                    second: last.1,
                };
                return Err(Error::new(kind, at));
            }
            if this.0 == last.0 && action.is_instruction() {
                return Err(Error::new(ErrorKind::InstructionTwice(this.1), at));
            }
        }
        last = Some(this);
    }
    Ok(())
}

/// Parses one action and appends it; a few words make two actions or none.
fn parse_one(
    pair: Pair<'_>,
    names: &Names,
    place: Place,
    out: &mut Vec<Action>,
) -> Result<(), Error> {
    let arg = pair.value;
    let name = pair.key.text.to_ascii_lowercase();
    let action = match name.as_str() {
        "output" => output(arg, names)?,
        "controller" => controller(arg)?,
        "enqueue" => enqueue(arg, names)?,
        "set_queue" => Action::SetQueue(number(arg)?),
        "pop_queue" => bare(pair, Action::PopQueue)?,
        "group" => Action::Group(number(arg)?),

        "mod_vlan_vid" | "set_vlan_vid" => Action::SetVlanVid(vlan_vid(arg)?),
        "mod_vlan_pcp" | "set_vlan_pcp" => Action::SetVlanPcp(vlan_pcp(arg)?),
        "strip_vlan" | "pop_vlan" => bare(pair, Action::StripVlan)?,
        "push_vlan" => match integer16(arg, "ethertype")? {
            tpid @ (0x8100 | 0x88a8) => Action::PushVlan(tpid),
            _ => return fail(ErrorKind::VlanEthertype(arg.text.to_owned()), arg),
        },

        "mod_dl_src" => Action::SetEthSrc(mac(arg)?),
        "mod_dl_dst" => Action::SetEthDst(mac(arg)?),
        "mod_nw_src" => Action::SetIpv4Src(ip(arg)?),
        "mod_nw_dst" => Action::SetIpv4Dst(ip(arg)?),
        "mod_nw_tos" => match integer8(arg, "TOS")? {
            tos if tos & 3 == 0 => Action::SetNwTos(tos),
            _ => return fail(ErrorKind::Tos(arg.text.to_owned()), arg),
        },
        "mod_nw_ecn" => match integer8(arg, "ECN")? {
            ecn if ecn & !3 == 0 => Action::SetIpEcn(ecn),
            _ => return fail(ErrorKind::Ecn(arg.text.to_owned()), arg),
        },
        "mod_nw_ttl" => Action::SetIpTtl(integer8(arg, "TTL")?),
        "mod_tp_src" => Action::SetTpSrc(integer16(arg, "source port")?),
        "mod_tp_dst" => Action::SetTpDst(integer16(arg, "destination port")?),
        "dec_ttl" => dec_ttl(arg)?,

        "load" => return load(arg, out),
        "set_field" => return set_field(arg, names, out),
        "move" => reg_move(arg)?,
        "push" => Action::StackPush(subfield::parse(arg)?),
        "pop" => Action::StackPop(writable(subfield::parse(arg)?, arg)?),

        "resubmit" => resubmit(arg, names)?,
        "note" => match value::hex_bytes(arg.text) {
            Some(bytes) => Action::Note(bytes),
            None => return fail(ErrorKind::NoteHex, arg),
        },
        "exit" => bare(pair, Action::Exit)?,

        "meter" => Action::Meter(number(arg)?),
        "clear_actions" => bare(pair, Action::ClearActions)?,
        "apply_actions" => return fail(ErrorKind::ApplyActions, pair.key),
        "write_actions" => {
            if place != Place::Flow {
                return fail(ErrorKind::InstructionNested("write_actions"), pair.key);
            }
            Action::WriteActions(parse_list(arg, names, Place::Actions)?)
        }
        "write_metadata" => write_metadata(arg)?,
        "goto_table" => match names.table(arg.text) {
            Some(table) => Action::GotoTable(table),
            None => return fail(ErrorKind::UnknownTable(arg.text.to_owned()), arg),
        },

        other if NOT_SUPPORTED.contains(&other) => {
            let kind = ErrorKind::ActionNotSupported(pair.key.text.to_owned());
            return fail(kind, pair.key);
        }
        _ => match names.port(pair.key.text) {
            Some(port) => bare(pair, output_to(port))?,
            None => {
                let kind = ErrorKind::UnknownAction(pair.key.text.to_owned());
                return fail(kind, pair.key);
            }
        },
    };
    out.push(action);
    Ok(())
}

fn fail<T>(kind: ErrorKind, at: Piece<'_>) -> Result<T, Error> {
    Err(Error::new(kind, at.at))
}

fn no_argument(pair: Pair<'_>) -> Result<(), Error> {
    if pair.value.is_empty() {
        Ok(())
    } else {
        fail(
            ErrorKind::UnexpectedArgument(pair.key.text.to_owned()),
            pair.value,
        )
    }
}

fn bare(pair: Pair<'_>, action: Action) -> Result<Action, Error> {
    no_argument(pair)?;
    Ok(action)
}

fn output_to(port: OfPort) -> Action {
    let max_len = if port == OfPort::CONTROLLER {
        CONTROLLER_MAX_LEN_ALL
    } else {
        0
    };
    Action::Output { port, max_len }
}

fn output(arg: Piece<'_>, names: &Names) -> Result<Action, Error> {
    if let Some(port) = names.port(arg.text) {
        return Ok(output_to(port));
    }
    if arg.text.contains("port") && arg.text.contains("max_len") {
        let kind = ErrorKind::ActionNotSupported("output(port=...,max_len=...)".to_owned());
        return fail(kind, arg);
    }
    match subfield::parse(arg) {
        Ok(src) => Ok(Action::OutputReg {
            src,
            max_len: CONTROLLER_MAX_LEN_ALL,
        }),
        Err(e) if matches!(e.kind, ErrorKind::FieldNotSupported(_)) => Err(e),
        Err(_) => fail(ErrorKind::OutputPort(arg.text.to_owned()), arg),
    }
}

fn controller(arg: Piece<'_>) -> Result<Action, Error> {
    let mut max_len = CONTROLLER_MAX_LEN_ALL;
    let mut controller_id = 0;
    let mut reason = PacketInReason::Action;
    if arg.text.starts_with(|c: char| c.is_ascii_digit()) {
        max_len = integer16(arg, "max_len")?;
    } else {
        for f in Pairs::new(arg) {
            match f.key.text {
                "max_len" => max_len = integer16(f.value, "max_len")?,
                "id" => controller_id = integer16(f.value, "id")?,
                "reason" => reason = packet_in_reason(f.value)?,
                "userdata" | "pause" | "meter_id" => {
                    let kind =
                        ErrorKind::KeywordNotSupported(format!("controller option {}", f.key.text));
                    return fail(kind, f.key);
                }
                key => return fail(ErrorKind::ControllerKey(key.to_owned()), f.key),
            }
        }
    }
    Ok(if reason == PacketInReason::Action && controller_id == 0 {
        Action::Output {
            port: OfPort::CONTROLLER,
            max_len,
        }
    } else {
        Action::Controller {
            max_len,
            controller_id,
            reason,
        }
    })
}

fn packet_in_reason(text: Piece<'_>) -> Result<PacketInReason, Error> {
    match text.text {
        "no_match" => Ok(PacketInReason::NoMatch),
        "action" => Ok(PacketInReason::Action),
        "invalid_ttl" => Ok(PacketInReason::InvalidTtl),
        other => fail(ErrorKind::ControllerReason(other.to_owned()), text),
    }
}

/// `PORT:QUEUE` or, in parentheses, `PORT,QUEUE`.
fn enqueue(arg: Piece<'_>, names: &Names) -> Result<Action, Error> {
    // A port name in quotes may contain the separator.
    let skip = match arg.text.strip_prefix('"').and_then(|t| t.find('"')) {
        Some(end) => end + 2,
        None => 0,
    };
    let tail = arg.skip(skip);
    let Some(i) = tail.text.find([':', ',']) else {
        return fail(ErrorKind::EnqueueSyntax, arg);
    };
    let port = arg.text.get(..skip + i).unwrap_or("");
    match names.port(port) {
        Some(port) => Ok(Action::Enqueue {
            port,
            queue: number(tail.skip(i + 1))?,
        }),
        None => fail(ErrorKind::EnqueuePort(port.to_owned()), arg),
    }
}

/// A 32-bit argument.
fn number(arg: Piece<'_>) -> Result<u32, Error> {
    if arg.is_empty() {
        return fail(ErrorKind::MissingNumber, arg);
    }
    match value::u32_value(arg.text) {
        Some(n) => Ok(n),
        None => fail(ErrorKind::InvalidNumber(arg.text.to_owned()), arg),
    }
}

/// A 64-bit argument.
fn number64(arg: Piece<'_>) -> Result<u64, Error> {
    if arg.is_empty() {
        return fail(ErrorKind::MissingNumber, arg);
    }
    match value::u64_value(arg.text) {
        Some(n) => Ok(n),
        None => fail(ErrorKind::InvalidNumber(arg.text.to_owned()), arg),
    }
}

fn integer16(arg: Piece<'_>, name: &'static str) -> Result<u16, Error> {
    match value::u16_value(arg.text) {
        Some(n) => Ok(n),
        None => {
            let value = arg.text.to_owned();
            fail(ErrorKind::InvalidInteger { name, value }, arg)
        }
    }
}

fn integer8(arg: Piece<'_>, name: &'static str) -> Result<u8, Error> {
    match value::u8_value(arg.text) {
        Some(n) => Ok(n),
        None => {
            let value = arg.text.to_owned();
            fail(ErrorKind::InvalidInteger { name, value }, arg)
        }
    }
}

fn vlan_vid(arg: Piece<'_>) -> Result<u16, Error> {
    match integer16(arg, "VLAN VID")? {
        vid if vid < 4096 => Ok(vid),
        _ => fail(ErrorKind::VlanVid(arg.text.to_owned()), arg),
    }
}

fn vlan_pcp(arg: Piece<'_>) -> Result<u8, Error> {
    match integer8(arg, "VLAN PCP")? {
        pcp if pcp < 8 => Ok(pcp),
        _ => fail(ErrorKind::VlanPcp(arg.text.to_owned()), arg),
    }
}

fn mac(arg: Piece<'_>) -> Result<packet::EthAddr, Error> {
    match value::eth_addr(arg.text) {
        Some(addr) => Ok(addr),
        None => fail(ErrorKind::MacAddress(arg.text.to_owned()), arg),
    }
}

fn ip(arg: Piece<'_>) -> Result<u32, Error> {
    match value::ipv4(arg.text) {
        Some(addr) => Ok(addr),
        None => fail(ErrorKind::IpAddress(arg.text.to_owned()), arg),
    }
}

fn dec_ttl(arg: Piece<'_>) -> Result<Action, Error> {
    let mut ids = Vec::new();
    let mut rest = arg.trim_start();
    while !rest.is_empty() {
        let (word, tail) = rest.word();
        ids.push(integer16(word, "controller id")?);
        rest = tail.trim_start();
    }
    if ids.is_empty() {
        ids.push(0);
    }
    Ok(Action::DecTtl(ids))
}

/// `VALUE->SUBFIELD`. Wider than 64 bits makes two actions, the low bits first.
fn load(arg: Piece<'_>, out: &mut Vec<Action>) -> Result<(), Error> {
    let (text, dst) = arrow(arg)?;
    let dst = writable(subfield::parse(dst)?, dst)?;
    let wire = value::ones(u32::from(dst.field.info().bytes) * 8);
    let v = match value::number(text.text) {
        Some(v) if v & !wire == 0 && !text.text.starts_with('-') => v,
        _ => return fail(ErrorKind::LoadValue(arg.text.to_owned()), text),
    };
    if v & !value::ones(u32::from(dst.bits)) != 0 {
        let kind = ErrorKind::LoadTooLarge {
            text: arg.text.to_owned(),
            value: format!("{v:#x}"),
            bits: u32::from(dst.bits),
        };
        return fail(kind, text);
    }
    let low = (v & u128::from(u64::MAX)) as u64;
    if let Some(more) = dst.bits.checked_sub(64).filter(|n| *n > 0) {
        let part = |offset, bits| Subfield {
            field: dst.field,
            offset,
            bits,
        };
        out.push(Action::RegLoad {
            dst: part(dst.offset, 64),
            value: low,
        });
        out.push(Action::RegLoad {
            dst: part(dst.offset + 64, more),
            value: (v >> 64) as u64,
        });
    } else {
        out.push(Action::RegLoad { dst, value: low });
    }
    Ok(())
}

/// Splits at the first `->`; both sides must be there.
fn arrow(arg: Piece<'_>) -> Result<(Piece<'_>, Piece<'_>), Error> {
    let whole = || arg.text.to_owned();
    match arg.split_once("->") {
        None => fail(ErrorKind::MissingArrow(whole()), arg),
        Some((_, dst)) if dst.is_empty() => fail(ErrorKind::MissingDestination(whole()), arg),
        Some(sides) => Ok(sides),
    }
}

fn writable(dst: Subfield, at: Piece<'_>) -> Result<Subfield, Error> {
    if dst.field.info().is_settable() {
        Ok(dst)
    } else {
        fail(ErrorKind::ReadOnly(dst.field.name().to_owned()), at)
    }
}

/// `VALUE[/MASK]->FIELD`.
fn set_field(arg: Piece<'_>, names: &Names, out: &mut Vec<Action>) -> Result<(), Error> {
    let (text, dst) = arrow(arg)?;
    let field = match Field::from_name(dst.text) {
        Ok(field) => field,
        Err(crate::field::Error::NotSupported(name)) => {
            return fail(ErrorKind::FieldNotSupported(name), dst);
        }
        Err(crate::field::Error::Unknown(name)) => {
            return fail(ErrorKind::SetFieldName(name), dst);
        }
    };
    writable(Subfield::whole(field), dst)?;
    let unfit = || ErrorKind::SetFieldValue {
        value: text.text.to_owned(),
        field: dst.text.to_owned(),
    };
    let (v, mask) = match fields::parse_set(field, text, names) {
        Err(e) if matches!(e.kind, ErrorKind::ValueTooWide { .. }) => return fail(unfit(), text),
        other => other?,
    };
    match field {
        Field::NwTos if v & 3 != 0 => return fail(unfit(), text),
        // These two have no number on the wire; the actions of OpenFlow 1.0 mean the same.
        Field::DlVlan => match u16::try_from(v) {
            Ok(vid) if vid < 4096 => out.push(Action::SetVlanVid(vid)),
            _ => return fail(unfit(), text),
        },
        Field::DlVlanPcp => out.push(Action::SetVlanPcp((v & 7) as u8)),
        // Setting some bits of the VLAN id leaves alone whether there is a tag.
        Field::VlanVid if mask != fields::full_mask(field) && mask & 0xfff != 0 => {
            let mask = mask & 0xfff;
            out.push(Action::SetField {
                field,
                value: v & mask,
                mask,
            });
        }
        // Writing no bits is no action.
        _ if mask == 0 => {}
        _ => out.push(Action::SetField {
            field,
            value: v & mask,
            mask,
        }),
    }
    Ok(())
}

/// `SUBFIELD->SUBFIELD`.
fn reg_move(arg: Piece<'_>) -> Result<Action, Error> {
    let (src, rest) = subfield::parse_prefix(arg)?;
    let Some(dst) = rest.text.strip_prefix("->") else {
        return fail(
            ErrorKind::MissingArrowAfterSource(arg.text.to_owned()),
            rest,
        );
    };
    let dst_text = rest.skip(rest.text.len() - dst.len());
    let dst = subfield::parse(dst_text)?;
    if src.bits != dst.bits {
        let kind = ErrorKind::MoveWidths {
            text: arg.text.to_owned(),
            src: u32::from(src.bits),
            dst: u32::from(dst.bits),
        };
        return fail(kind, arg);
    }
    let dst = writable(dst, dst_text)?;
    Ok(Action::RegMove { src, dst })
}

/// `PORT`, or `PORT,TABLE` with either empty.
fn resubmit(arg: Piece<'_>, names: &Names) -> Result<Action, Error> {
    let (port, table, more) = match arg.split_once(",") {
        None => (arg, None, None),
        Some((port, rest)) => match rest.split_once(",") {
            None => (port, Some(rest), None),
            Some((table, more)) => (port, Some(table), Some(more)),
        },
    };
    let in_port = match port.text {
        "" => None,
        text => match names.port(text) {
            Some(OfPort::IN_PORT) => None,
            Some(port) => Some(port),
            None => return fail(ErrorKind::ResubmitPort(text.to_owned()), port),
        },
    };
    let table = match table {
        None => None,
        Some(t) if t.is_empty() => None,
        Some(t) => match names.table(t.text) {
            Some(255) => None,
            Some(table) => Some(table),
            None => return fail(ErrorKind::ResubmitTable(t.text.to_owned()), t),
        },
    };
    match more.map(|m| m.text) {
        None => {}
        Some("ct") => {
            let kind = ErrorKind::ActionNotSupported("resubmit(...,ct)".to_owned());
            return fail(kind, more.unwrap_or(arg));
        }
        Some(other) => {
            let kind = ErrorKind::ResubmitParameter(other.to_owned());
            return fail(kind, more.unwrap_or(arg));
        }
    }
    if in_port.is_none() && table.is_none() {
        return fail(ErrorKind::ResubmitNothing, arg);
    }
    Ok(Action::Resubmit { in_port, table })
}

fn write_metadata(arg: Piece<'_>) -> Result<Action, Error> {
    let (v, mask) = match arg.split_once("/") {
        Some((v, m)) => (number64(v)?, number64(m)?),
        None => (number64(arg)?, u64::MAX),
    };
    Ok(Action::WriteMetadata { value: v, mask })
}
