//! Action lists from text: `output:1,set_field:10.0.0.1->ip_dst,goto_table:2`.
//!
//! [`Form`] has the names, [`order`] says where what may stand.
//!
//! Source: ovs-actions(7).

mod ct;
mod learn;
mod parts;

pub(super) use ct::HELPERS;
use packet::OfPort;

use super::action_print::reason_name;
use super::argument::ArgumentError;
use super::error::{Error, ErrorKind};
use super::fields;
use super::ports::Names;
use super::subfield;
use super::token::{Pair, Pairs, Piece};
use super::value;
use crate::action::order::{self, MAX_DEPTH, Outer};
use crate::action::{Action, CONTROLLER_MAX_LEN_ALL, Controller, Form, Subfield};
use crate::field::Field;
use crate::message::PacketInReason;
use crate::version::Version;

/// Parses the actions and instructions of a flow.
///
/// Errors: as for Open vSwitch, also when instructions stand in an order that OpenFlow 1.1 and
/// later cannot express.
pub fn parse(text: Piece<'_>, names: &Names) -> Result<Vec<Action>, Error> {
    parse_list(text, names, Outer::Flow, 0)
}

/// Parses the actions of a packet-out or a bucket, which have no instructions.
pub fn parse_packet_out(text: Piece<'_>, names: &Names) -> Result<Vec<Action>, Error> {
    parse_list(text, names, Outer::Actions, 0)
}

/// Parses a list inside `depth` other actions.
fn parse_list(
    text: Piece<'_>,
    names: &Names,
    outer: Outer,
    depth: usize,
) -> Result<Vec<Action>, Error> {
    if depth > MAX_DEPTH {
        return fail(ArgumentError::Depth.into(), text);
    }
    let mut actions = Vec::new();
    let mut drop_at = None;
    for pair in Pairs::new(text) {
        if pair.key.text.eq_ignore_ascii_case("drop") {
            no_argument(pair)?;
            drop_at = Some(pair.key);
            continue;
        }
        parse_one(pair, names, depth, &mut actions)?;
    }
    if let Some(at) = drop_at.filter(|_| !actions.is_empty()) {
        return fail(ErrorKind::DropNotAlone, at);
    }
    // The version is the one that Open vSwitch's tool checks for, before it chooses one.
    match order::check(&actions, Version::Of11, outer) {
        Ok(()) => Ok(actions),
        Err(misplaced) => fail(ErrorKind::Misplaced(misplaced), text),
    }
}

/// Parses one action and appends it; a few words make two actions or none.
fn parse_one(
    pair: Pair<'_>,
    names: &Names,
    depth: usize,
    out: &mut Vec<Action>,
) -> Result<(), Error> {
    let arg = pair.value;
    let Some(form) = Form::from_name(pair.key.text) else {
        out.push(port_or_nothing(pair, names)?);
        return Ok(());
    };
    let list = |text, outer| parse_list(text, names, outer, depth + 1);
    let action = match form {
        Form::Output10 | Form::Output11 | Form::OutputReg | Form::OutputReg2 => output(arg, names)?,
        // "output" with arguments is what it is called.
        Form::OutputTrunc => return fail(ErrorKind::UnknownAction(arg.text.to_owned()), arg),
        Form::Controller | Form::Controller2 => controller(arg)?,
        Form::Enqueue => enqueue(arg, names)?,
        Form::SetQueue => Action::SetQueue(number(arg)?),
        Form::PopQueue => bare(pair, Action::PopQueue)?,
        Form::Group => Action::Group(number(arg)?),
        Form::Bundle => Action::Bundle(parts::bundle(arg, false, names)?),
        Form::BundleLoad => Action::Bundle(parts::bundle(arg, true, names)?),
        Form::Multipath => Action::Multipath(parts::multipath(arg)?),

        Form::SetVlanVid10 => Action::SetVlanVid(vlan_vid(arg)?),
        Form::SetVlanPcp10 => Action::SetVlanPcp(vlan_pcp(arg)?),
        Form::SetVlanVid11 => Action::SetVlanVidIfTagged(vlan_vid(arg)?),
        Form::SetVlanPcp11 => Action::SetVlanPcpIfTagged(vlan_pcp(arg)?),
        Form::StripVlan | Form::PopVlan => bare(pair, Action::StripVlan)?,
        Form::PushVlan => match integer16(arg, "ethertype")? {
            tpid @ (0x8100 | 0x88a8) => Action::PushVlan(tpid),
            _ => return fail(ErrorKind::VlanEthertype(arg.text.to_owned()), arg),
        },
        Form::PushMpls => match integer16(arg, "push_mpls")? {
            kind @ (0x8847 | 0x8848) => Action::PushMpls(kind),
            _ => return fail(invalid(form.name(), arg), arg),
        },
        Form::PopMpls => Action::PopMpls(integer16(arg, "pop_mpls")?),
        Form::SetMplsLabel | Form::SetMplsTc | Form::SetMplsTtl => parts::mpls(form, arg)?,
        Form::DecMplsTtl => bare(pair, Action::DecMplsTtl)?,
        Form::CopyTtlOut => bare(pair, Action::CopyTtlOut)?,
        Form::CopyTtlIn => bare(pair, Action::CopyTtlIn)?,
        Form::PushPbb => match integer16(arg, "push_pbb")? {
            kind @ 0x88e7 => Action::PushPbb(kind),
            _ => return fail(invalid(form.name(), arg), arg),
        },
        Form::PopPbb => bare(pair, Action::PopPbb)?,
        Form::Encap => Action::Encap(parts::encap(arg)?),
        Form::Decap => Action::Decap(parts::decap(arg)?),

        Form::SetEthSrc => Action::SetEthSrc(mac(arg)?),
        Form::SetEthDst => Action::SetEthDst(mac(arg)?),
        Form::SetIpv4Src => Action::SetIpv4Src(ip(arg)?),
        Form::SetIpv4Dst => Action::SetIpv4Dst(ip(arg)?),
        Form::SetNwTos => match integer8(arg, "TOS")? {
            tos if tos & 3 == 0 => Action::SetNwTos(tos),
            _ => return fail(ErrorKind::Tos(arg.text.to_owned()), arg),
        },
        Form::SetIpEcn => match integer8(arg, "ECN")? {
            ecn if ecn & !3 == 0 => Action::SetIpEcn(ecn),
            _ => return fail(ErrorKind::Ecn(arg.text.to_owned()), arg),
        },
        Form::SetIpTtl => Action::SetIpTtl(integer8(arg, "TTL")?),
        Form::SetTpSrc => Action::SetTpSrc(integer16(arg, "source port")?),
        Form::SetTpDst => Action::SetTpDst(integer16(arg, "destination port")?),
        Form::DecTtl | Form::DecTtlIds => dec_ttl(arg)?,
        Form::DecNshTtl => bare(pair, Action::DecNshTtl)?,
        Form::SetTunnel | Form::SetTunnel64 => Action::SetTunnel {
            id: number64(arg)?,
            wide: form == Form::SetTunnel64,
        },

        Form::RegLoad => return load(arg, out),
        Form::SetField12 | Form::SetField15 | Form::RegLoad2 => return set_field(arg, names, out),
        Form::RegMove | Form::OnfCopyField | Form::CopyField => reg_move(arg)?,
        Form::StackPush => Action::StackPush(subfield::parse(arg)?),
        Form::StackPop => Action::StackPop(writable(subfield::parse(arg)?, arg)?),
        Form::DeleteField => parts::delete_field(arg)?,
        Form::CheckPktLarger => parts::check_pkt_larger(arg)?,

        Form::Resubmit | Form::ResubmitTable | Form::ResubmitTableCt => resubmit(arg, names)?,
        Form::Clone => Action::Clone(list(arg, Outer::Clone)?),
        Form::Learn | Form::Learn2 => Action::Learn(Box::new(learn::parse(arg, names)?)),
        Form::Conjunction => parts::conjunction(arg)?,
        Form::FinTimeout => parts::fin_timeout(arg)?,
        Form::Sample | Form::Sample2 | Form::Sample3 => Action::Sample(parts::sample(arg, names)?),
        Form::Ct => Action::Ct(Box::new(ct::parse(arg, names, depth)?)),
        Form::Nat => Action::Nat(ct::nat(arg)?),
        Form::CtClear => bare(pair, Action::CtClear)?,
        Form::Note => match value::hex_bytes(arg.text) {
            Some(bytes) => Action::Note(bytes),
            None => return fail(ErrorKind::NoteHex, arg),
        },
        Form::Exit => bare(pair, Action::Exit)?,

        Form::Meter => Action::Meter(number(arg)?),
        Form::ClearActions => bare(pair, Action::ClearActions)?,
        Form::ApplyActions => return fail(ErrorKind::ApplyActions, pair.key),
        Form::WriteActions => Action::WriteActions(list(arg, Outer::WriteActions)?),
        Form::WriteMetadata => write_metadata(arg)?,
        Form::StatTrigger => parts::stat_trigger(arg)?,
        Form::GotoTable => match names.table(arg.text) {
            Some(table) => Action::GotoTable(table),
            None => return fail(ErrorKind::UnknownTable(arg.text.to_owned()), arg),
        },
    };
    out.push(action);
    Ok(())
}

/// A port is an action too.
fn port_or_nothing(pair: Pair<'_>, names: &Names) -> Result<Action, Error> {
    if pair.key.text.eq_ignore_ascii_case("unroll_xlate") {
        return fail(ArgumentError::Unroll.into(), pair.key);
    }
    match names.port(pair.key.text) {
        Some(port) => bare(pair, output_to(port)),
        None => fail(ErrorKind::UnknownAction(pair.key.text.to_owned()), pair.key),
    }
}

fn invalid(name: &'static str, arg: Piece<'_>) -> ErrorKind {
    let value = arg.text.to_owned();
    ErrorKind::InvalidInteger { name, value }
}

fn wrong<T>(error: ArgumentError, at: Piece<'_>) -> Result<T, Error> {
    fail(error.into(), at)
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
        return parts::output_trunc(arg, names);
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
    let mut c = Controller::default();
    if arg.text.starts_with(|c: char| c.is_ascii_digit()) {
        c.max_len = integer16(arg, "max_len")?;
    } else {
        for f in Pairs::new(arg) {
            match f.key.text {
                "max_len" => c.max_len = integer16(f.value, "max_len")?,
                "id" => c.controller_id = integer16(f.value, "id")?,
                "reason" => c.reason = packet_in_reason(f.value)?,
                "userdata" => match value::hex_bytes(f.value.text) {
                    Some(bytes) => c.userdata = bytes,
                    None => return wrong(ArgumentError::Userdata, f.value),
                },
                "pause" => c.pause = true,
                // 0 is no meter.
                "meter_id" => c.meter_id = Some(number(f.value)?).filter(|id| *id != 0),
                key => return fail(ErrorKind::ControllerKey(key.to_owned()), f.key),
            }
        }
    }
    let max_len = c.max_len;
    let plain = Controller {
        max_len,
        ..Controller::default()
    };
    Ok(if c == plain {
        Action::Output {
            port: OfPort::CONTROLLER,
            max_len,
        }
    } else {
        Action::Controller(c)
    })
}

fn packet_in_reason(text: Piece<'_>) -> Result<PacketInReason, Error> {
    let mut reasons = (0..=u8::MAX).map_while(PacketInReason::from_wire);
    match reasons.find(|r| reason_name(*r) == text.text) {
        Some(reason) => Ok(reason),
        None => fail(ErrorKind::ControllerReason(text.text.to_owned()), text),
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
    let with_ct = match more {
        None => false,
        Some(m) if m.is_empty() => false,
        Some(m) if m.text == "ct" => true,
        Some(m) => return fail(ErrorKind::ResubmitParameter(m.text.to_owned()), m),
    };
    if in_port.is_none() && table.is_none() {
        return fail(ErrorKind::ResubmitNothing, arg);
    }
    Ok(Action::Resubmit {
        in_port,
        table,
        with_ct,
    })
}

fn write_metadata(arg: Piece<'_>) -> Result<Action, Error> {
    let (v, mask) = match arg.split_once("/") {
        Some((v, m)) => (number64(v)?, number64(m)?),
        None => (number64(arg)?, u64::MAX),
    };
    Ok(Action::WriteMetadata { value: v, mask })
}
