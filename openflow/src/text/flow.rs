//! Flow-mods, flow statistics requests and packet-outs from text.
//!
//! Source: ovs-ofctl(8), "Flow Syntax" and "Packet-Out Syntax".

use bytes::Bytes;
use packet::OfPort;

use super::action_parse;
use super::error::{Error, ErrorKind};
use super::matches::MatchBuilder;
use super::ports::Names;
use super::token::{Delimiter, Pair, Pairs, Piece};
use super::{subfield, value};
use crate::action::{Action, consistency};
use crate::field::{self, Field, low_bits};
use crate::flow_match::Match;
use crate::message::{
    FlowMod, FlowModCommand, FlowStatsRequest, GROUP_ANY, NO_BUFFER, PacketOut, TABLE_ALL,
};

/// What text said, and what the user should know about how it was taken.
#[derive(Clone, PartialEq, Debug)]
pub struct Parsed<T> {
    pub value: T,
    /// The match as it was written, when parts of it had no meaning and were dropped.
    pub before: Option<Match>,
}

/// Which keywords a kind of message has beside its match.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    actions: bool,
    out: bool,
    timeouts: bool,
    priority: bool,
    flags: bool,
    /// May a cookie stand without a mask, to be set?
    new_cookie: bool,
    cookie_mask: bool,
}

impl Allowed {
    fn by(command: FlowModCommand) -> Allowed {
        let query = Allowed::QUERY;
        match command {
            FlowModCommand::Add => Allowed {
                cookie_mask: false,
                ..Allowed::CHANGE
            },
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => Allowed::CHANGE,
            FlowModCommand::Delete => query,
            FlowModCommand::DeleteStrict => Allowed {
                priority: true,
                ..query
            },
        }
    }

    const CHANGE: Allowed = Allowed {
        actions: true,
        out: false,
        timeouts: true,
        priority: true,
        flags: true,
        new_cookie: true,
        cookie_mask: true,
    };

    const QUERY: Allowed = Allowed {
        actions: false,
        out: true,
        timeouts: false,
        priority: false,
        flags: false,
        new_cookie: false,
        cookie_mask: true,
    };
}

/// Parses a flow-mod.
pub fn parse_flow_mod(
    text: &str,
    command: FlowModCommand,
    names: &Names,
) -> Result<Parsed<FlowMod>, Error> {
    flow_mod(Piece::new(text), command, names)
}

/// Parses a flow-mod that may begin with its command, as the lines of a file do; without one it
/// is an addition.
pub fn parse_flow_mod_line(text: &str, names: &Names) -> Result<Parsed<FlowMod>, Error> {
    let (word, rest) = Piece::new(text).word();
    let command = match word.text {
        "add" => FlowModCommand::Add,
        "modify" => FlowModCommand::Modify,
        "modify_strict" => FlowModCommand::ModifyStrict,
        "delete" => FlowModCommand::Delete,
        "delete_strict" => FlowModCommand::DeleteStrict,
        _ => return flow_mod(Piece::new(text), FlowModCommand::Add, names),
    };
    flow_mod(rest, command, names)
}

/// Parses a filter for flow or aggregate statistics.
pub fn parse_stats_request(text: &str, names: &Names) -> Result<Parsed<FlowStatsRequest>, Error> {
    let (body, built) = body(Piece::new(text), Allowed::QUERY, names)?;
    let fm = body.flow_mod;
    Ok(Parsed {
        value: FlowStatsRequest {
            fields: built.fields,
            table_id: fm.table_id.unwrap_or(TABLE_ALL),
            out_port: fm.out_port,
            out_group: fm.out_group,
            cookie: fm.cookie,
            cookie_mask: fm.cookie_mask,
            ..FlowStatsRequest::all()
        },
        before: built.before,
    })
}

fn flow_mod(
    text: Piece<'_>,
    command: FlowModCommand,
    names: &Names,
) -> Result<Parsed<FlowMod>, Error> {
    let allowed = Allowed::by(command);
    let (mut body, built) = body(text, allowed, names)?;
    body.flow_mod.command = command;
    body.flow_mod.fields = built.fields;
    let modifies = matches!(
        command,
        FlowModCommand::Modify | FlowModCommand::ModifyStrict
    );
    // Where modifying may add a flow, that needs a cookie; zero is as good as any.
    body.flow_mod.modify_cookie |= modifies && body.flow_mod.cookie_mask == 0;
    if let Some(at) = body.actions {
        body.flow_mod.actions = action_parse::parse(at, names)?;
        check_goto(&body.flow_mod, at)?;
        let fm = &body.flow_mod;
        if let Err(e) = consistency::check(&fm.actions, &fm.fields) {
            return Err(Error::new(ErrorKind::ActionsInvalid(e.to_string()), at.at));
        }
    }
    Ok(Parsed {
        value: body.flow_mod,
        before: built.before,
    })
}

/// A jump must lead to a later table.
fn check_goto(fm: &FlowMod, actions: Piece<'_>) -> Result<(), Error> {
    let backwards = |a: &Action| match a {
        Action::GotoTable(to) => *to == TABLE_ALL || fm.table_id.is_some_and(|from| *to <= from),
        _ => false,
    };
    if fm.actions.iter().any(backwards) {
        let kind = ErrorKind::ActionsInvalid("OFPBIC_BAD_TABLE_ID".to_owned());
        return Err(Error::new(kind, actions.at));
    }
    Ok(())
}

/// All of a flow but its actions, which are only found.
struct Body<'a> {
    flow_mod: FlowMod,
    actions: Option<Piece<'a>>,
}

fn body<'a>(
    text: Piece<'a>,
    allowed: Allowed,
    names: &Names,
) -> Result<(Body<'a>, super::matches::Built), Error> {
    let mut fm = FlowMod::add();
    let mut builder = MatchBuilder::default();
    let is_actions = |pair: &Pair<'_>| matches!(pair.key.text, "actions" | "action");
    let mut actions = None;
    if allowed.actions {
        let found = Pairs::new(text).find(is_actions);
        let end = text.at + text.text.len();
        let pair = found
            .filter(|pair| pair.delimiter == Delimiter::Equals)
            .ok_or_else(|| Error::new(ErrorKind::MissingActions, end))?;
        actions = Some(text.skip(pair.value.at - text.at));
    }
    for pair in Pairs::new(text).take_while(|p| !(allowed.actions && is_actions(p))) {
        keyword(pair, allowed, names, &mut fm, &mut builder)?;
    }
    let body = Body {
        flow_mod: fm,
        actions,
    };
    Ok((body, builder.finish()))
}

fn keyword(
    pair: Pair<'_>,
    allowed: Allowed,
    names: &Names,
    fm: &mut FlowMod,
    builder: &mut MatchBuilder,
) -> Result<(), Error> {
    let (key, v) = (pair.key, pair.value);
    if builder.protocol(key.text) {
        return Ok(());
    }
    if allowed.flags && flag(key.text, fm) {
        return Ok(());
    }
    match Field::from_name(key.text) {
        Ok(field) => return builder.field(field, v, names),
        Err(field::Error::NotSupported(name)) => {
            return Err(Error::new(ErrorKind::FieldNotSupported(name), key.at));
        }
        Err(field::Error::Unknown(_)) => {}
    }
    if key.text.contains('[') {
        return part(key, v, builder);
    }
    if v.is_empty() {
        let kind = ErrorKind::MissingValue(key.text.to_owned());
        return Err(Error::new(kind, key.at));
    }
    let bad = |kind| Err(Error::new(kind, v.at));
    match key.text {
        "table" => match names.table(v.text) {
            Some(TABLE_ALL) => fm.table_id = None,
            Some(table) => fm.table_id = Some(table),
            None => return bad(ErrorKind::UnknownTable(v.text.to_owned())),
        },
        "out_port" if allowed.out => match names.port(v.text) {
            Some(port) => fm.out_port = port,
            None => return bad(ErrorKind::InvalidPort(v.text.to_owned())),
        },
        "out_group" if allowed.out => match group(v.text) {
            Some(group) => fm.out_group = group,
            None => return bad(ErrorKind::InvalidGroup(v.text.to_owned())),
        },
        "priority" if allowed.priority => fm.priority = integer(v, "priority")?,
        "idle_timeout" if allowed.timeouts => fm.idle_timeout = integer(v, "idle_timeout")?,
        "hard_timeout" if allowed.timeouts => fm.hard_timeout = integer(v, "hard_timeout")?,
        "importance" if allowed.timeouts => fm.importance = integer(v, "importance")?,
        "cookie" => cookie(v, allowed, fm)?,
        // So that what dump-flows prints can be read again.
        "duration" | "n_packets" | "n_bytes" | "idle_age" | "hard_age" => {}
        _ => {
            let kind = ErrorKind::UnknownKeyword(key.text.to_owned());
            return Err(Error::new(kind, key.at));
        }
    }
    Ok(())
}

/// `FIELD[FIRST..LAST]=NUMBER`: bits of a field.
fn part(key: Piece<'_>, text: Piece<'_>, builder: &mut MatchBuilder) -> Result<(), Error> {
    let part = subfield::parse(key)?;
    let (name, value) = (|| key.text.to_owned(), || text.text.to_owned());
    let Some(number) = value::number(text.text) else {
        let (part, value) = (name(), value());
        return Err(Error::new(ErrorKind::PartValue { part, value }, text.at));
    };
    if number & !low_bits(part.bits) != 0 {
        let kind = ErrorKind::LoadTooLarge {
            text: name(),
            value: format!("{number:#x}"),
            bits: part.bits.into(),
        };
        return Err(Error::new(kind, text.at));
    }
    builder.part(part, number);
    Ok(())
}

fn flag(word: &str, fm: &mut FlowMod) -> bool {
    let flags = &mut fm.flags;
    match word {
        "send_flow_rem" => flags.send_flow_rem = true,
        "check_overlap" => flags.check_overlap = true,
        "reset_counts" => flags.reset_counts = true,
        "no_packet_counts" => flags.no_packet_counts = true,
        "no_byte_counts" => flags.no_byte_counts = true,
        _ => return false,
    }
    true
}

/// `V` sets a cookie, `V/M` matches on it.
fn cookie(text: Piece<'_>, allowed: Allowed, fm: &mut FlowMod) -> Result<(), Error> {
    let number = |t: Piece<'_>| {
        value::u64_value(t.text)
            .ok_or_else(|| Error::new(ErrorKind::InvalidNumber(t.text.to_owned()), t.at))
    };
    match text.split_once("/") {
        Some(_) if !allowed.cookie_mask => Err(Error::new(ErrorKind::CookieMaskOnAdd, text.at)),
        Some((v, mask)) => {
            fm.cookie = number(v)?;
            fm.cookie_mask = number(mask)?;
            Ok(())
        }
        None if !allowed.new_cookie => {
            let kind = ErrorKind::CookieWithoutMask(text.text.to_owned());
            Err(Error::new(kind, text.at))
        }
        None => {
            fm.new_cookie = number(text)?;
            fm.modify_cookie = true;
            Ok(())
        }
    }
}

fn integer(text: Piece<'_>, name: &'static str) -> Result<u16, Error> {
    value::u16_value(text.text).ok_or_else(|| {
        let value = text.text.to_owned();
        Error::new(ErrorKind::InvalidInteger { name, value }, text.at)
    })
}

/// A group number, or `ANY` or `ALL`.
fn group(text: &str) -> Option<u32> {
    match text {
        _ if text.eq_ignore_ascii_case("any") => Some(GROUP_ANY),
        _ if text.eq_ignore_ascii_case("all") => Some(0xffff_fffc),
        _ => value::u32_value(text),
    }
}

/// Is it one of the fields that a packet has beside its headers and that a packet-out of 1.5 can
/// set?
fn is_pipeline_field(field: Field) -> bool {
    let name = field.name();
    ["tun_", "reg", "xreg", "xxreg"]
        .iter()
        .any(|start| name.starts_with(start))
        || matches!(field, Field::Metadata | Field::PktMark | Field::PacketType)
}

/// Addresses and type.
const ETH_HEADER_LEN: usize = 14;

/// Parses `in_port=PORT,packet=HEX,actions=...`, with pipeline fields among them.
pub fn parse_packet_out(text: &str, names: &Names) -> Result<PacketOut, Error> {
    let text = Piece::new(text);
    let mut in_port = None;
    let mut metadata = MatchBuilder::default();
    let mut data = None;
    let mut actions = Vec::new();
    for pair in Pairs::new(text) {
        let (key, v) = (pair.key, pair.value);
        match key.text {
            "in_port" => match names.port(v.text) {
                Some(port) => in_port = Some(port),
                None => {
                    let kind = ErrorKind::InvalidPort(v.text.to_owned());
                    return Err(Error::new(kind, v.at));
                }
            },
            "packet" => match value::hex_bytes(v.text) {
                Some(bytes) if bytes.len() < ETH_HEADER_LEN => {
                    return Err(Error::new(ErrorKind::PacketShort, v.at));
                }
                Some(bytes) => data = Some(Bytes::from(bytes)),
                None => return Err(Error::new(ErrorKind::PacketHex, v.at)),
            },
            "actions" | "action" => {
                actions = action_parse::parse_packet_out(text.skip(v.at - text.at), names)?;
                break;
            }
            other if v.is_empty() => {
                let kind = ErrorKind::MissingValue(other.to_owned());
                return Err(Error::new(kind, key.at));
            }
            other => {
                let kind = match Field::from_name(other) {
                    Ok(field) if is_pipeline_field(field) => {
                        metadata.field(field, v, names)?;
                        continue;
                    }
                    Ok(_) => ErrorKind::NotPipelineField(other.to_owned()),
                    Err(field::Error::NotSupported(_)) => {
                        ErrorKind::FieldNotSupported(other.to_owned())
                    }
                    Err(field::Error::Unknown(_)) => ErrorKind::UnknownKeyword(other.to_owned()),
                };
                return Err(Error::new(kind, key.at));
            }
        }
    }
    let end = text.text.len();
    Ok(PacketOut {
        buffer_id: NO_BUFFER,
        in_port: in_port.unwrap_or(OfPort::CONTROLLER),
        metadata: metadata.finish().fields,
        actions,
        data: data.ok_or_else(|| Error::new(ErrorKind::MissingPacket, end))?,
    })
}
