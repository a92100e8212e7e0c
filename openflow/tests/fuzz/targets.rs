//! What the fuzz targets do with their input; `fuzz/` gives them a fuzzer's, `tests/fuzz.rs` the
//! seeds and random changes to them.

use std::time::{Duration, Instant};

use openflow::codec::{self, DecodeError, Decoded, Dialect, EncodeError, Header, Kind, parts};
use openflow::connection::{Config, Connection, Event};
use openflow::frame::FrameReader;
use openflow::message::{
    FlowFormat, FlowMod, FlowModCommand, FlowStats, GroupCommand, MeterCommand, PacketInFormat,
};
use openflow::reassembly::Reassembler;
use openflow::text::token::Piece;
use openflow::text::{
    Names, action_parse, dp, flow, flow_monitor, flow_print, group, message_bytes, meter, nx_match,
    tlv,
};
use openflow::{Action, Match, Message, Version};

/// One message whose length is set right, in a dialect that the first byte chooses: no panic, it
/// prints, and what decodes has bytes that decode to the same.
pub fn of_message(data: &[u8]) {
    let Some((choices, bytes)) = data.split_first() else {
        return;
    };
    let Some(bytes) = with_length(bytes) else {
        return;
    };
    message_bytes::print(&bytes, &Names::none(), choices >> 5);
    let Ok(decoded) = codec::decode(&bytes, &dialect(*choices, &bytes)) else {
        return;
    };
    check_round_trip(&decoded, dialect(*choices, &bytes));
    for version in Version::ALL {
        codec::encode(&decoded.message, *version, 1).ok();
    }
}

/// A match, the entries of one, or instructions and actions alone; the first byte is the version,
/// the second which.
pub fn of_parts(data: &[u8]) {
    let [version, kind, bytes @ ..] = data else {
        return;
    };
    let versions = Version::ALL;
    let version = versions[usize::from(version.wrapping_sub(1)) % versions.len()];
    let any = Match::new();
    match kind % 4 {
        0 => {
            // Both forms of "no VLAN tag" of 1.1 are written as one.
            if let Ok(m) = parts::decode_match(bytes, version)
                && let Ok(bytes) = parts::encode_match(&m, version)
            {
                let again = parts::decode_match(&bytes, version);
                let again = again.unwrap_or_else(|e| panic!("{m:?}: {e}"));
                assert_eq!(parts::encode_match(&again, version), Ok(bytes));
            }
        }
        1 => {
            let mut s = String::new();
            nx_match::write(&mut s, bytes);
            if let Ok(m) = parts::decode_entries(bytes) {
                for version in Version::ALL {
                    check_entries(&m, *version);
                }
            }
        }
        2 => {
            let decode = |bytes: &[u8]| parts::decode_instructions(bytes, version);
            if let Ok(actions) = decode(bytes) {
                print_actions(&actions, version);
                let encode = |list: &[Action]| parts::encode_instructions(list, version, &any);
                check_actions(&actions, encode, decode);
            }
        }
        _ => {
            let decode = |bytes: &[u8]| parts::decode_actions(bytes, version);
            if let Ok(actions) = decode(bytes) {
                print_actions(&actions, version);
                let encode = |list: &[Action]| parts::encode_actions(list, version, &any);
                check_actions(&actions, encode, decode);
            }
        }
    }
}

/// A stream of messages whose parts of replies are joined: bounded, and no part is lost.
pub fn of_reassembly(data: &[u8]) {
    let Some((choices, bytes)) = data.split_first() else {
        return;
    };
    let mut reader = FrameReader::default();
    let mut parts = Reassembler::new(1 << 10, 2);
    if reader.handle_bytes(bytes).is_err() {
        return;
    }
    while let Ok(Some(frame)) = reader.poll_frame() {
        let Ok(decoded) = codec::decode(&frame, &dialect(*choices, &frame)) else {
            continue;
        };
        let last = !decoded.more;
        match parts.handle(decoded) {
            Ok(Some(whole)) => assert!(last && !whole.more),
            Ok(None) => assert!(!last),
            Err(_) => {}
        }
    }
}

/// The bytes of a connection, in pieces of as many bytes as the first says and at once: the same
/// happens, and each request that cannot be decoded is answered.
pub fn of_stream(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let (whole, sent) = run_connection(std::iter::once(bytes));
    let in_pieces = run_connection(bytes.chunks(usize::from(*piece).max(1)));
    assert_eq!((&whole, &sent), (&in_pieces.0, &in_pieces.1));
    let mut reader = FrameReader::new(1 << 24);
    reader.handle_bytes(&sent).unwrap();
    let mut answers = Vec::new();
    while let Some(frame) = reader.poll_frame().unwrap() {
        answers.push(frame);
    }
    assert!(reader.is_empty(), "whole messages are sent");
    let mut errors = answers.iter().filter(|answer| answer[1] == 1);
    for event in &whole {
        let Ok(Event::Undecodable { header, error, raw }) = event else {
            continue;
        };
        if codec::is_reply(header) {
            continue;
        }
        let answer = errors
            .next()
            .unwrap_or_else(|| panic!("no answer: {error}"));
        assert_eq!(Header::decode(answer).map(|h| h.xid), Ok(header.xid));
        // Extensions' errors have more before the request.
        let data = &raw[..raw.len().min(64)];
        assert!(answer.windows(data.len()).any(|window| window == data));
    }
}

/// A line of text; the first byte chooses what reads it (`seeds::READERS`). What is read has bytes
/// in the versions that can say it, and a text that reads as the same.
pub fn of_text(data: &[u8]) {
    let Some((reader, bytes)) = data.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let text = text.as_ref();
    let names = Names::none();
    match reader % 12 {
        0 => {
            if let Ok(parsed) = flow::parse_flow_mod_line(text, &names) {
                check_flow_text(&parsed.value);
                encode(Message::FlowMod(parsed.value));
            }
        }
        1 => {
            if let Ok(parsed) = flow::parse_stats_request(text, &names) {
                let mut s = String::new();
                flow_print::write_stats_request(&mut s, &parsed.value, &names);
                encode(Message::FlowStatsRequest(parsed.value));
            }
        }
        2 => {
            if let Ok(packet_out) = flow::parse_packet_out(text, &names) {
                encode(Message::PacketOut(packet_out));
            }
        }
        3 => {
            if let Ok(actions) = action_parse::parse(Piece::new(text), &names) {
                for version in Version::ALL {
                    print_actions(&actions, *version);
                    let m = FlowMod::add().fields;
                    parts::encode_actions(&actions, *version, &m).ok();
                    parts::encode_instructions(&actions, *version, &m).ok();
                }
            }
        }
        4 => {
            if let Ok(group_mod) = group::parse_line(text, &names) {
                encode(Message::GroupMod(group_mod));
            }
        }
        5 => {
            if let Ok(group_mod) = group::parse(text, GroupCommand::RemoveBucket, &names) {
                encode(Message::GroupMod(group_mod));
            }
        }
        6 => {
            for command in [MeterCommand::Add, MeterCommand::Delete] {
                if let Ok(meter_mod) = meter::parse(text, command) {
                    encode(Message::MeterMod(meter_mod));
                }
            }
        }
        7 => {
            if let Ok(request) = flow_monitor::parse(text, 1, &names) {
                encode(Message::FlowMonitorRequest(vec![request]));
            }
        }
        8 => {
            for entry in nx_match::parse(text).unwrap_or_default() {
                let mut s = String::new();
                nx_match::write(&mut s, &entry);
                assert_eq!(nx_match::parse(&s).ok(), Some(vec![entry]), "{s}");
            }
        }
        9 => {
            tlv::parse_maps(text);
        }
        10 => {
            if let Ok((key, mask)) = dp::parse_key(text, &dp::NoNames) {
                let mut s = String::new();
                dp::format_key(&mut s, &key, &mask, &dp::NoNames, true);
            }
        }
        _ => {
            dp::parse_tcp_flags(text);
        }
    }
}

/// The message with the length that it has; `None` when it is none.
fn with_length(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let len = u16::try_from(bytes.len()).ok()?;
    bytes.get_mut(2..4)?.copy_from_slice(&len.to_be_bytes());
    Some(bytes)
}

fn dialect(choices: u8, bytes: &[u8]) -> Dialect {
    let version = bytes.first().and_then(|v| Version::from_wire(*v));
    Dialect {
        flow_mod_table_id: choices & 1 != 0,
        flow_format: match choices & 2 {
            0 => FlowFormat::OpenFlow10,
            _ => FlowFormat::Nxm,
        },
        packet_in_format: match choices & 0xc {
            0 => PacketInFormat::Standard,
            4 => PacketInFormat::Nxt,
            _ => PacketInFormat::Nxt2,
        },
        ..Dialect::from(version.unwrap_or(Version::Of13))
    }
}

fn check_round_trip(decoded: &Decoded, dialect: Dialect) {
    let Decoded {
        header,
        kind,
        more,
        message,
    } = decoded;
    if Version::from_wire(header.version).is_none() {
        return;
    }
    // The extensions' own forms of messages, in which more can be said.
    let dialect = match kind {
        Kind::NxFlowRemoved => Dialect {
            flow_format: FlowFormat::Nxm,
            ..dialect
        },
        Kind::NxPacketIn => Dialect {
            packet_in_format: PacketInFormat::Nxt,
            ..dialect
        },
        Kind::NxPacketIn2 => Dialect {
            packet_in_format: PacketInFormat::Nxt2,
            ..dialect
        },
        _ => dialect,
    };
    let Ok(bytes) = codec::encode_part(message, dialect, header.xid, *more) else {
        return;
    };
    let mut reader = FrameReader::new(1 << 24);
    reader.handle_bytes(&bytes).unwrap();
    let first = reader.poll_frame().unwrap().expect("a message");
    if !reader.is_empty() {
        // It grew beyond one message.
        return;
    }
    let again = codec::decode(&first, &dialect).unwrap_or_else(|e| panic!("{e}: {message:?}"));
    let same = codec::encode_part(&again.message, dialect, header.xid, *more);
    assert_eq!(same.as_ref(), Ok(&bytes), "{message:?}");
}

/// Versions have several ways to say "no VLAN tag", so it is the bytes that stay.
fn check_entries(m: &Match, version: Version) {
    let Ok(bytes) = parts::encode_entries(m, version) else {
        return;
    };
    let again = parts::decode_entries(&bytes).unwrap_or_else(|e| panic!("{m:?}: {e}"));
    assert_eq!(
        parts::encode_entries(&again, version),
        Ok(bytes),
        "{version}"
    );
}

/// Versions have several ways to set a field.
fn check_actions(
    actions: &[Action],
    encode: impl Fn(&[Action]) -> Result<Vec<u8>, EncodeError>,
    decode: impl Fn(&[u8]) -> Result<Vec<Action>, DecodeError>,
) {
    let Ok(bytes) = encode(actions) else { return };
    let again = decode(&bytes).unwrap_or_else(|e| panic!("{actions:?}: {e}"));
    assert_eq!(encode(&again).as_ref(), Ok(&bytes), "{actions:?}");
}

fn print_actions(actions: &[Action], version: Version) {
    let mut s = String::new();
    openflow::text::action_print::write(&mut s, actions, version, &Names::none());
}

/// The flow as `dump-flows` shows it can be added again, and shows the same.
fn check_flow_text(fm: &FlowMod) {
    let names = Names::none();
    let show = |fm: &FlowMod| {
        let flow = FlowStats {
            fields: fm.fields.clone(),
            cookie: fm.new_cookie,
            table_id: fm.table_id.unwrap_or(0),
            priority: fm.priority,
            idle_timeout: fm.idle_timeout,
            hard_timeout: fm.hard_timeout,
            importance: fm.importance,
            duration: Duration::ZERO,
            idle_age: None,
            hard_age: None,
            packet_count: 0,
            byte_count: 0,
            flags: fm.flags,
            actions: fm.actions.clone(),
        };
        let mut s = String::new();
        flow_print::write_flow_stats(&mut s, &flow, Version::Of15, &names, false);
        s
    };
    let text = show(fm);
    // As in Open vSwitch, there is no text that reads back for what packet types do to other
    // fields, nor for options of NSH that begin with zeros.
    let has_none = text.contains("packet_type") || text.contains("tlv(");
    if fm.command != FlowModCommand::Add || has_none {
        return;
    }
    let again = flow::parse_flow_mod(&text, FlowModCommand::Add, &names)
        .unwrap_or_else(|e| panic!("{text}: {}", e.kind));
    assert_eq!(show(&again.value), text);
}

fn encode(message: Message) {
    for version in Version::ALL {
        let Ok(bytes) = codec::encode(&message, *version, 1) else {
            continue;
        };
        message_bytes::print(&bytes, &Names::none(), 1);
    }
}

/// What happens on a connection that gets these bytes, and what it sends.
fn run_connection<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Result<Event, openflow::connection::Error>>, Vec<u8>) {
    let start = Instant::now();
    let mut connection = Connection::new(Config::default(), start);
    let mut events = Vec::new();
    for piece in pieces {
        connection
            .handle_bytes(piece, start + Duration::from_millis(1))
            .expect("fewer bytes than a buffer holds");
        loop {
            match connection.poll_event() {
                Ok(Some(event)) => events.push(Ok(event)),
                Ok(None) => break,
                Err(error) => {
                    events.push(Err(error));
                    return (events, connection.transmit().to_vec());
                }
            }
        }
    }
    (events, connection.transmit().to_vec())
}
