//! Bytes of Open vSwitch 3.1 and of os-ken against values, and broken messages.
//!
//! `data/codec.txt` has blocks of: `## SOURCE, both or decode, DIALECT`; the bytes; the message
//! as `ovs-ofctl ofp-print` of Open vSwitch showed it. "decode" marks messages that this codec
//! writes in another of several right ways: other order of fields, other flow format, padding.
//! `data/versions.txt` has such blocks of what `ovs-ofctl -O` of each version and `ovs-vswitchd` say
//! to each other. `data/by_hand.txt` has what Open vSwitch reads and prints but nobody sends.

use openflow::codec::{self, Decoded, Dialect};
use openflow::message::{FlowFormat, PacketInFormat};
use openflow::text::{message_bytes, ports::Names};
use openflow::{OfError, Version};

const VECTORS: [&str; 3] = [
    include_str!("data/by_hand.txt"),
    include_str!("data/codec.txt"),
    include_str!("data/versions.txt"),
];

struct Case {
    head: &'static str,
    encodes: bool,
    dialect: Dialect,
    bytes: Vec<u8>,
    print: &'static str,
}

fn cases() -> Vec<Case> {
    VECTORS
        .iter()
        .flat_map(|file| file.split("## ").skip(1))
        .map(|block| {
            let (head, rest) = block.split_once('\n').expect("a head");
            let (hex, print) = rest.split_once('\n').expect("bytes");
            let mut words = head.rsplit(", ");
            let choices = words.next().expect("a dialect");
            let encodes = words.next() == Some("both");
            let bytes = from_hex(hex);
            let version = Version::from_wire(bytes[0]).unwrap_or(Version::Of13);
            let mut dialect = Dialect::from(version);
            for choice in choices.split('+') {
                match choice {
                    "plain" => {}
                    "tid" => dialect.flow_mod_table_id = true,
                    "nxm" => dialect.flow_format = FlowFormat::Nxm,
                    "nxt" => dialect.packet_in_format = PacketInFormat::Nxt,
                    "nxt2" => dialect.packet_in_format = PacketInFormat::Nxt2,
                    other => panic!("dialect {other}"),
                }
            }
            Case {
                head,
                encodes,
                dialect,
                bytes,
                print,
            }
        })
        .collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect()
}

fn decode(case: &Case) -> Decoded {
    codec::decode(&case.bytes, &case.dialect).unwrap_or_else(|e| panic!("{}: {e}", case.head))
}

#[test]
fn values_are_those_that_open_vswitch_prints() {
    let mut wrong = Vec::new();
    for case in cases() {
        decode(&case);
        let got = message_bytes::print(&case.bytes, &Names::none(), 2);
        if got.trim_end() != case.print.trim_end() {
            wrong.push(format!("{}\n got {got}want {}", case.head, case.print));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn encoding_gives_the_same_bytes() {
    let mut n = 0;
    for case in cases().iter().filter(|c| c.encodes) {
        let Decoded {
            header,
            more,
            message,
            ..
        } = decode(case);
        let bytes = codec::encode_part(&message, case.dialect, header.xid, more).unwrap();
        assert_eq!(bytes, case.bytes, "{} {message:?}", case.head);
        n += 1;
    }
    assert!(n > 200);
}

#[test]
fn other_ways_of_writing_keep_the_value() {
    for case in cases() {
        let Decoded {
            header,
            more,
            message,
            ..
        } = decode(&case);
        let bytes = codec::encode_part(&message, case.dialect, header.xid, more).unwrap();
        let again = codec::decode(&bytes, &case.dialect).unwrap();
        assert_eq!(again.more, more);
        // What 1.0 loads as registers came as set-field or the other way round.
        let same = format!("{:?}", again.message) == format!("{message:?}");
        assert!(same || !case.encodes, "{}", case.head);
    }
}

/// Every message cut at every byte, its length corrected and not, is an error or another valid
/// message, never a panic.
#[test]
fn every_cut() {
    for case in cases() {
        for len in 0..case.bytes.len() {
            let mut cut = case.bytes[..len].to_vec();
            let uncorrected = codec::decode(&cut, &case.dialect).unwrap_err();
            assert_eq!(uncorrected.error(), OfError::BrcBadLen, "{}", case.head);
            if len >= 4 {
                cut[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
                let result = codec::decode(&cut, &case.dialect);
                if let Err(error) = result {
                    assert!(
                        is_length_error(error.error()),
                        "{} {len}: {error}",
                        case.head
                    );
                }
            }
        }
    }
}

/// Errors that a message which ends too early may have: something's length is wrong, or a field
/// that others need is missing.
fn is_length_error(error: OfError) -> bool {
    matches!(
        error,
        OfError::BrcBadLen
            | OfError::BacBadLen
            | OfError::BacBadSetLen
            | OfError::BicBadLen
            | OfError::BmcBadLen
            | OfError::BpcBadLen
            | OfError::BfcMsgBadLen
    )
}

/// Every two bytes of every message, one more or one less: whatever they mean, no panic, and
/// what decodes encodes again.
#[test]
fn every_length_off_by_one() {
    for case in cases() {
        for at in 0..case.bytes.len().saturating_sub(1).min(400) {
            let n = u16::from_be_bytes([case.bytes[at], case.bytes[at + 1]]);
            for changed in [n.wrapping_add(1), n.wrapping_sub(1), n ^ 0x8000, 0, 0xffff] {
                let mut bytes = case.bytes.clone();
                bytes[at..at + 2].copy_from_slice(&changed.to_be_bytes());
                let Ok(decoded) = codec::decode(&bytes, &case.dialect) else {
                    continue;
                };
                let Some(version) = Version::from_wire(decoded.header.version) else {
                    continue;
                };
                let dialect = Dialect {
                    version,
                    ..case.dialect
                };
                codec::encode(&decoded.message, dialect, decoded.header.xid).ok();
            }
        }
    }
}

/// Messages that Open vSwitch 3.1 answered with this error.
#[test]
fn errors_are_those_of_open_vswitch() {
    for line in include_str!("data/codec_rejects.txt").lines() {
        let (name, hex) = line.split_once(' ').expect("an error and bytes");
        let bytes = from_hex(hex);
        let version = Version::from_wire(bytes[0]).expect("a version");
        let error = codec::decode(&bytes, &version.into())
            .expect_err(line)
            .error();
        assert_eq!(error.name(), name, "{hex}");
    }
}

/// `data/errors.txt`: the numbers that `ovs-ofctl print-error` of Open vSwitch 3.1 shows for each
/// error in each version.
#[test]
fn errors_have_the_numbers_of_open_vswitch() {
    let mut error = None;
    for line in include_str!("data/errors.txt").lines() {
        let Some((minor, numbers)) = line.strip_prefix("1.").and_then(|l| l.split_once(' ')) else {
            error = OfError::from_name(line);
            assert!(error.is_some(), "{line}");
            continue;
        };
        let version = Version::from_wire(minor.parse::<u8>().expect("a minor") + 1).expect(line);
        let wire = error.expect("a name first").to_wire(version);
        let vendor = wire
            .vendor
            .id()
            .map_or("0".to_owned(), |id| format!("{id:#x}"));
        assert_eq!(
            format!("{vendor} {} {}", wire.kind, wire.code),
            numbers,
            "{error:?} in {version}"
        );
    }
}
