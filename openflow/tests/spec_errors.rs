//! Malformed messages of each version and the error that its specification has for them, as a
//! connection answers them: the type and code, and the message that failed. The connection goes
//! on.
//!
//! Source: OpenFlow 1.0.0, 5.4.4; 1.1.0, A.4.4; 1.3.5, 7.5.4; 1.4.1, 7.5.4; 1.5.1, 7.5.4.

use std::time::Instant;

use openflow::codec::{Dialect, Header, decode};
use openflow::connection::{Config, Connection, Event};
use openflow::frame::FrameReader;
use openflow::message::ErrorMessage;
use openflow::{Message, OfError, Version};

const V10: u8 = 1;
const V11: u8 = 2;
const V12: u8 = 3;
const V13: u8 = 4;
const V14: u8 = 5;
const V15: u8 = 6;
const ALL: [u8; 6] = [V10, V11, V12, V13, V14, V15];

const FLOW_MOD: u8 = 14;
const GROUP_MOD: u8 = 15;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("digits"))
        .collect()
}

/// A message of this body.
fn message(version: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + body.len()).expect("a short message");
    let [high, low] = len.to_be_bytes();
    [&[version, kind, high, low, 0, 0, 0x12, 0x34], body].concat()
}

/// A barrier request, which version 1.0 numbers differently.
fn barrier(version: u8) -> u8 {
    if version == V10 { 18 } else { 20 }
}

fn multipart(version: u8) -> u8 {
    if version == V10 { 16 } else { 18 }
}

/// A multipart request; 1.0 has no padding behind the flags.
fn request(version: u8, kind: u16, body: &[u8]) -> Vec<u8> {
    let [high, low] = kind.to_be_bytes();
    let head: &[u8] = match version {
        V10 => &[high, low, 0, 0],
        _ => &[high, low, 0, 0, 0, 0, 0, 0],
    };
    message(version, multipart(version), &[head, body].concat())
}

/// A flow-mod of 1.2 and later that adds a flow with this `ofp_match` and these instructions.
fn flow_mod(version: u8, ofp_match: &str, instructions: &str) -> Vec<u8> {
    let fixed = "0000000000000000 0000000000000000 00 00 0000 0000 8000
                 ffffffff ffffffff ffffffff 0000 0000";
    let body = [hex(fixed), hex(ofp_match), hex(instructions)].concat();
    message(version, FLOW_MOD, &body)
}

/// A flow-mod of 1.0 with these actions.
fn flow_mod_10(actions: &str) -> Vec<u8> {
    let fixed = "003820ff 0000 000000000000 000000000000 0000 00 00 0000 00 00 0000
                 00000000 00000000 0000 0000
                 0000000000000000 0000 0000 0000 8000 ffffffff ffff 0000";
    message(V10, FLOW_MOD, &[hex(fixed), hex(actions)].concat())
}

/// A match on nothing.
const ANY: &str = "0001 0004 00000000";

/// What a malformed message is answered with: type and code of the version.
struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    kind: u16,
    code: u16,
}

fn case(what: &'static str, bytes: Vec<u8>, (kind, code): (u16, u16)) -> Case {
    Case {
        what,
        bytes,
        kind,
        code,
    }
}

const BRC: u16 = 1;
const BAC: u16 = 2;
const BIC: u16 = 3;
const BMC: u16 = 4;

/// What is wrong in any version.
fn of_any_version(v: u8) -> Vec<Case> {
    let experimenter = hex("12345678 00000001");
    let nicira = hex("00002320 0000ffff");
    let mut cases = vec![
        case("a type that there is not", message(v, 99, &[]), (BRC, 1)),
        case(
            "a multipart type that there is not",
            request(v, 0x7ffe, &[]),
            (BRC, 2),
        ),
        case(
            "an unknown experimenter",
            message(v, 4, &experimenter),
            (BRC, 3),
        ),
        case(
            "an unknown message of an experimenter",
            message(v, 4, &nicira),
            (BRC, 4),
        ),
        case(
            "an experimenter cut short",
            message(v, 4, &hex("0000")),
            (BRC, 6),
        ),
        case(
            "a barrier with a body",
            message(v, barrier(v), &[0]),
            (BRC, 6),
        ),
        case(
            "a features request with a body",
            message(v, 5, &[0; 8]),
            (BRC, 6),
        ),
        case(
            "a multipart request cut short",
            message(v, multipart(v), &[0]),
            (BRC, 6),
        ),
        case(
            "a description request with a body",
            request(v, 0, &[0; 4]),
            (BRC, 6),
        ),
        case(
            "flow statistics cut short",
            request(v, 1, &[0; 20]),
            (BRC, 6),
        ),
        case("set-config cut short", message(v, 9, &[0; 3]), (BRC, 6)),
        case("set-config too long", message(v, 9, &[0; 5]), (BRC, 6)),
        case(
            "a packet-out cut short",
            message(v, 13, &[0xff; 7]),
            (BRC, 6),
        ),
        case(
            "a flow-mod cut short",
            message(v, FLOW_MOD, &[0; 20]),
            (BRC, 6),
        ),
        case(
            "an unknown experimenter of multipart",
            request(v, 0xffff, &experimenter),
            (BRC, 3),
        ),
    ];
    if v > V10 {
        cases.push(case(
            "a group-mod cut short",
            message(v, GROUP_MOD, &[0; 6]),
            (BRC, 6),
        ));
        cases.push(case(
            "a port-mod cut short",
            message(v, 16, &[0; 11]),
            (BRC, 6),
        ));
    }
    if v >= V13 {
        cases.push(case(
            "a meter-mod cut short",
            message(v, 29, &[0; 6]),
            (BRC, 6),
        ));
        cases.push(case(
            "a role request cut short",
            message(v, 24, &[0; 15]),
            (BRC, 6),
        ));
    }
    cases
}

/// Actions of 1.0.
fn of_10() -> Vec<Case> {
    vec![
        case(
            "no action of that type",
            flow_mod_10("00ff 0008 00000000"),
            (BAC, 0),
        ),
        case(
            "an action of no length",
            flow_mod_10("0000 0000 00010000"),
            (BAC, 1),
        ),
        case(
            "an action of half a length",
            flow_mod_10("0000 0004 00010000"),
            (BAC, 1),
        ),
        case(
            "an action of 9 bytes",
            flow_mod_10("0000 0009 00010000"),
            (BAC, 1),
        ),
        case(
            "an action beyond the message",
            flow_mod_10("0000 0010 00010000"),
            (BAC, 1),
        ),
        case(
            "an output of 16 bytes",
            flow_mod_10("0000 0010 00010000 00000000 00000000"),
            (BAC, 1),
        ),
        case(
            "enqueue of 8 bytes",
            flow_mod_10("000b 0008 00010000"),
            (BAC, 1),
        ),
        case(
            "an unknown experimenter's action",
            flow_mod_10("ffff 0008 12345678"),
            (BAC, 2),
        ),
        case(
            "an unknown action of Nicira",
            flow_mod_10("ffff 0010 00002320 fff0 000000000000"),
            (BAC, 3),
        ),
    ]
}

/// Matches, instructions and actions of 1.2 and later.
fn of_oxm(v: u8) -> Vec<Case> {
    let match_of = |entries: &str| {
        let len = 4 + hex(entries).len();
        let zeros = "00".repeat(len.next_multiple_of(8) - len);
        flow_mod(v, &format!("0001 {len:04x} {entries} {zeros}"), "")
    };
    let instruction = |bytes: &str| flow_mod(v, ANY, bytes);
    let apply = |actions: &str| {
        let len = 8 + hex(actions).len();
        flow_mod(v, ANY, &format!("0004 {len:04x} 00000000 {actions}"))
    };
    let port = "0000 0010 00000001 0000 000000000000";
    let mut cases = vec![
        case(
            "a match of length 3",
            flow_mod(v, "0001 0003 00000000", ""),
            (BMC, 1),
        ),
        case(
            "a match beyond the message",
            flow_mod(v, "0001 0040 00000000", ""),
            (BMC, 1),
        ),
        case(
            "a match of no type",
            flow_mod(v, "0063 0004 00000000", ""),
            (BMC, 0),
        ),
        case("an entry cut short", match_of("800000"), (BMC, 1)),
        case(
            "an entry beyond the match",
            match_of("80000004 0000"),
            (BMC, 1),
        ),
        case("a port of 3 bytes", match_of("80000003 000001"), (BMC, 1)),
        case(
            "a port of 5 bytes",
            match_of("80000005 0000000001"),
            (BMC, 1),
        ),
        case(
            "a masked port of 4 bytes",
            match_of("80000104 00000001"),
            (BMC, 1),
        ),
        case(
            "no field of that number",
            match_of("8000fe04 00000001"),
            (BMC, 6),
        ),
        case(
            "a VLAN of 13 bits and more",
            match_of("80000c02 ffff"),
            (BMC, 7),
        ),
        case(
            "a port with a mask",
            match_of("80000108 00000001 0000ffff"),
            (BMC, 8),
        ),
        case(
            "a port without its protocol",
            match_of("80001a02 0050"),
            (BMC, 9),
        ),
        case(
            "a field twice",
            match_of("80000004 00000001 80000004 00000001"),
            (BMC, 10),
        ),
        case(
            "no instruction of that type",
            instruction("0063 0008 00000000"),
            (BIC, 0),
        ),
        case(
            "an instruction of no length",
            instruction("0001 0000 01000000"),
            (BIC, 7),
        ),
        case(
            "an instruction of half a length",
            instruction("0001 0004 01000000"),
            (BIC, 7),
        ),
        case(
            "an instruction beyond the message",
            instruction("0001 0010 01000000"),
            (BIC, 7),
        ),
        case(
            "goto-table of 16 bytes",
            instruction("0001 0010 01000000 00000000 00000000"),
            (BIC, 7),
        ),
        case(
            "an unknown experimenter's instruction",
            instruction("ffff 0008 12345678"),
            (BIC, 5),
        ),
        case(
            "no action of that type",
            apply("00ff 0008 00000000"),
            (BAC, 0),
        ),
        case(
            "an action of no length",
            apply("0000 0000 00000000"),
            (BAC, 1),
        ),
        case(
            "an output of 8 bytes",
            apply("0000 0008 00000001"),
            (BAC, 1),
        ),
        case(
            "an action beyond the list",
            apply("0000 0018 00000001 0000 000000000000"),
            (BAC, 1),
        ),
        case(
            "a group of 16 bytes",
            apply("0016 0010 00000001 0000000000000000"),
            (BAC, 1),
        ),
        case(
            "an unknown experimenter's action",
            apply("ffff 0008 12345678"),
            (BAC, 2),
        ),
        case(
            "set-field of no field",
            apply("0019 0010 8000fe04 00000001 00000000"),
            (BAC, 13),
        ),
        case(
            "set-field of 3 bytes",
            apply("0019 0010 80000003 000001 0000000000"),
            (BAC, 14),
        ),
        case(
            "set-field cut short",
            apply("0019 0008 80000004"),
            (BAC, 14),
        ),
        case(
            "one instruction twice",
            flow_mod(
                v,
                ANY,
                &format!("0004 0018 00000000 {port} 0004 0018 00000000 {port}"),
            ),
            // Before 1.4, which numbers it, it is the ONF's extension 260.
            if v >= V14 { (BIC, 9) } else { (0xffff, 2600) },
        ),
    ];
    if v >= V13 {
        cases.extend([
            case(
                "no such meter command",
                message(v, 29, &hex("0009 0001 00000001")),
                (12, 4),
            ),
            case(
                "no such role",
                message(v, 24, &hex("00000009 00000000 0000000000000001")),
                (11, 2),
            ),
        ]);
    }
    if v >= V14 {
        let port_mod = |property: &str| {
            let fixed = "00000001 00000000 505400000001 0000 00000000 00000000";
            message(v, 16, &[hex(fixed), hex(property)].concat())
        };
        cases.extend([
            case(
                "a property of half a length",
                port_mod("0000 0004 00000000"),
                (14, 1),
            ),
            case(
                "a property beyond the message",
                port_mod("0000 0010 00000000"),
                (14, 1),
            ),
        ]);
    }
    cases
}

fn cases(v: u8) -> Vec<Case> {
    let mut cases = of_any_version(v);
    match v {
        V10 => cases.extend(of_10()),
        V11 => {}
        _ => cases.extend(of_oxm(v)),
    }
    cases
}

/// A connection of that version and a peer that has said hello.
fn connection(version: u8) -> Connection {
    let now = Instant::now();
    let version = Version::from_wire(version).expect("a version");
    let config = Config {
        versions: [version].into_iter().collect(),
        ..Config::default()
    };
    let mut connection = Connection::new(config, now);
    let hello = connection.transmit().to_vec();
    connection.consume(hello.len());
    connection.handle_bytes(&hello, now).expect("a hello");
    assert_eq!(connection.poll_event(), Ok(Some(Event::Ready(version))));
    connection
}

/// What waits to be sent.
fn sent(connection: &mut Connection) -> Vec<Vec<u8>> {
    let mut reader = FrameReader::default();
    reader
        .handle_bytes(connection.transmit())
        .expect("messages");
    connection.consume(usize::MAX);
    let mut frames = Vec::new();
    while let Some(frame) = reader.poll_frame().expect("a message") {
        frames.push(frame.to_vec());
    }
    assert!(reader.is_empty());
    frames
}

#[test]
fn malformed_messages_are_answered_as_the_specification_says() {
    let mut wrong = Vec::new();
    let mut n = 0;
    for version in ALL {
        let mut connection = connection(version);
        for case in cases(version) {
            n += 1;
            let now = Instant::now();
            connection.handle_bytes(&case.bytes, now).expect("room");
            let event = connection.poll_event().expect("the connection goes on");
            let head = Header::decode(&case.bytes).expect("a header");
            let name = format!("1.{} {}", version - 1, case.what);
            let Some(Event::Undecodable { header, .. }) = event else {
                wrong.push(format!("{name}: {event:?}"));
                continue;
            };
            assert_eq!(header, head);
            assert_eq!(connection.poll_event(), Ok(None));
            let [error] = &sent(&mut connection)[..] else {
                panic!("{name}: one answer");
            };
            assert_eq!(error.get(..2), Some(&[version, 1][..]), "{name}");
            assert_eq!(error.get(4..8), case.bytes.get(4..8), "{name}");
            let number = |at: usize| u16::from_be_bytes([error[at], error[at + 1]]);
            let got = (number(8), number(10));
            if got != (case.kind, case.code) {
                wrong.push(format!(
                    "{name}: {got:?} rather than {:?}: {}",
                    (case.kind, case.code),
                    decoded_error(error)
                ));
            }
            if got.0 != 0xffff {
                assert_eq!(error.get(12..), Some(&case.bytes[..]), "{name}");
            }
        }
        // It still answers.
        let echo = message(version, 2, b"alive");
        let now = Instant::now();
        connection.handle_bytes(&echo, now).expect("room");
        assert_eq!(connection.poll_event(), Ok(None));
        assert_eq!(sent(&mut connection), [message(version, 3, b"alive")]);
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} of {n}",
        wrong.join("\n"),
        wrong.len()
    );
}

fn decoded_error(bytes: &[u8]) -> String {
    let version = Version::from_wire(bytes[0]).expect("a version");
    match decode(bytes, &Dialect::from(version)).map(|d| d.message) {
        Ok(Message::Error(ErrorMessage::Known { error, .. })) => error.to_string(),
        other => format!("{other:?}"),
    }
}

/// A peer that gets an error finds out what failed from at least 64 bytes of it, and a message
/// of the greatest length makes no error that is too long.
#[test]
fn errors_carry_what_failed() {
    for version in ALL {
        let mut connection = connection(version);
        for len in [0, 1, 55, 56, 57, 1000, 65_527] {
            let bytes = message(version, 99, &vec![0xa5; len]);
            connection
                .handle_bytes(&bytes, Instant::now())
                .expect("room");
            assert!(matches!(
                connection.poll_event(),
                Ok(Some(Event::Undecodable { .. }))
            ));
            let [error] = &sent(&mut connection)[..] else {
                panic!("one answer");
            };
            let data = &error[12..];
            assert!(data.len() >= bytes.len().min(64), "{len}");
            assert!(bytes.starts_with(data), "{len}");
        }
    }
}

/// Nobody answers an answer.
#[test]
fn replies_get_no_error() {
    for version in ALL {
        let mut connection = connection(version);
        let reply = multipart(version) + 1;
        for (kind, body) in [(reply, vec![0x7f, 0xfe]), (1, vec![0]), (6, vec![1])] {
            let bytes = message(version, kind, &body);
            connection
                .handle_bytes(&bytes, Instant::now())
                .expect("room");
            assert!(matches!(
                connection.poll_event(),
                Ok(Some(Event::Undecodable { .. }))
            ));
            assert_eq!(sent(&mut connection), Vec::<Vec<u8>>::new(), "{kind}");
        }
    }
}

/// Hellos whose elements are malformed, unknown or absent, and the version that comes of them.
#[test]
fn hellos() {
    let all = [Version::Of10, Version::Of13, Version::Of15];
    for (header, elements, want) in [
        // Without a bitmap, the lower of the two highest versions; here that must be there.
        (V10, "", Some(Version::Of10)),
        (V13, "", Some(Version::Of13)),
        (V14, "", Some(Version::Of13)),
        (0x63, "", Some(Version::Of15)),
        // With one, the highest that both have.
        (V15, "0001 0008 00000012", Some(Version::Of13)),
        (V10, "0001 0008 00000012", Some(Version::Of13)),
        (
            V13,
            "0001 000c 00000010 ffffffff 00000000",
            Some(Version::Of13),
        ),
        (
            V13,
            "0063 0006 0102 0000 0001 0008 00000002",
            Some(Version::Of10),
        ),
        // The elements that follow one that is malformed are not read.
        (V13, "0001", Some(Version::Of13)),
        (V13, "0001 0003", Some(Version::Of13)),
        (V13, "0001 0004", Some(Version::Of13)),
        (V13, "0001 0007 000000", Some(Version::Of13)),
        (V13, "0001 0010 00000010", Some(Version::Of13)),
        (
            V13,
            "0063 0000 00000000 0001 0008 00000002",
            Some(Version::Of13),
        ),
        (V13, "0001 0008 00000000", Some(Version::Of13)),
        (V13, "0001 0008 00000001", Some(Version::Of13)),
        // Nothing in common.
        (V15, "0001 0008 00000028", None),
        (V13, "0001 0008 00000004", None),
        (V15, "0001 0008 80000000", None),
    ] {
        let now = Instant::now();
        let config = Config {
            versions: all.into_iter().collect(),
            ..Config::default()
        };
        let mut connection = Connection::new(config, now);
        connection.consume(usize::MAX);
        let hello = message(header, 0, &hex(elements));
        connection.handle_bytes(&hello, now).expect("room");
        let event = connection.poll_event();
        match want {
            Some(version) => assert_eq!(event, Ok(Some(Event::Ready(version))), "{elements}"),
            None => {
                assert!(event.is_err(), "{elements}: {event:?}");
                // OFPET_HELLO_FAILED, OFPHFC_INCOMPATIBLE, and why in words.
                let [error] = &sent(&mut connection)[..] else {
                    panic!("{elements}: one answer");
                };
                assert_eq!(error.get(1), Some(&1));
                assert_eq!(error.get(8..12), Some(&[0, 0, 0, 0][..]), "{elements}");
                let text = std::str::from_utf8(&error[12..]).expect("text");
                assert!(text.contains("version"), "{text}");
                assert_eq!(
                    OfError::from_name("OFPHFC_INCOMPATIBLE"),
                    Some(OfError::HfcIncompatible)
                );
                assert_eq!(connection.poll_event(), Ok(None));
                assert_eq!(connection.version(), None);
            }
        }
    }
}
