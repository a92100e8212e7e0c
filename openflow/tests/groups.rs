//! Groups and meters: bytes of Open vSwitch 3.1 against values and text, and broken messages.
//!
//! `data/groups.txt` has blocks as `data/codec.txt` has them; `data/group_rejects.txt` has
//! messages and the error that Open vSwitch finds in them. Messages of versions that the codec
//! does not speak are passed over.

use openflow::Message;
use openflow::Version;
use openflow::codec::{self, Decoded, Dialect};
use openflow::text::{Names, message_bytes};

const VECTORS: &str = include_str!("data/groups.txt");
const REJECTS: &str = include_str!("data/group_rejects.txt");

struct Case {
    head: &'static str,
    version: Version,
    bytes: Vec<u8>,
    print: &'static str,
}

fn cases() -> Vec<Case> {
    let blocks = VECTORS.split("## ").skip(1);
    let cases: Vec<Case> = blocks
        .filter_map(|block| {
            let (head, rest) = block.split_once('\n').expect("a head");
            let (hex, print) = rest.split_once('\n').expect("bytes");
            let bytes = from_hex(hex);
            let version = Version::from_wire(bytes[0])?;
            Some(Case {
                head,
                version,
                bytes,
                print,
            })
        })
        .collect();
    assert!(cases.len() >= 40);
    cases
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect()
}

fn decode(case: &Case) -> Decoded {
    let decoded = codec::decode(&case.bytes, &case.version.into());
    decoded.unwrap_or_else(|e| panic!("{} {}: {e}", case.head, case.print))
}

#[test]
fn values_are_those_that_open_vswitch_prints() {
    let mut wrong = Vec::new();
    for case in cases() {
        decode(&case);
        let got = message_bytes::print(&case.bytes, &Names::none(), 1);
        if got.trim_end() != case.print.trim_end() {
            wrong.push(format!("{}\n got {got}want {}", case.head, case.print));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn encoding_gives_the_same_bytes() {
    for case in cases() {
        let Decoded {
            header,
            more,
            message,
            ..
        } = decode(&case);
        let dialect = Dialect::from(case.version);
        let bytes = codec::encode_part(&message, dialect, header.xid, more).unwrap();
        assert_eq!(bytes, case.bytes, "{} {message:?}", case.head);
    }
}

/// Every message cut at every byte, and every two bytes of it changed: whatever they mean, no
/// panic, and what decodes encodes again.
#[test]
fn broken_messages() {
    for case in cases() {
        let dialect = Dialect::from(case.version);
        for len in 4..case.bytes.len() {
            let mut cut = case.bytes[..len].to_vec();
            cut[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            codec::decode(&cut, &dialect).ok();
        }
        for at in 0..case.bytes.len() - 1 {
            let n = u16::from_be_bytes([case.bytes[at], case.bytes[at + 1]]);
            for changed in [n.wrapping_add(1), n.wrapping_sub(1), n ^ 0x8000, 0, 0xffff] {
                let mut bytes = case.bytes.clone();
                bytes[at..at + 2].copy_from_slice(&changed.to_be_bytes());
                let Ok(decoded) = codec::decode(&bytes, &dialect) else {
                    continue;
                };
                let has_no_form = match &decoded.message {
                    // Taken from others, as Open vSwitch does, but not sent.
                    Message::GroupMod(m) => {
                        m.command.is_about_buckets() && dialect.version != Version::Of10
                    }
                    _ => false,
                };
                if bytes[0] == case.bytes[0] && !has_no_form {
                    let xid = decoded.header.xid;
                    let again = codec::encode(&decoded.message, dialect, xid);
                    again.unwrap_or_else(|e| panic!("{e}: {:?}", decoded.message));
                }
            }
        }
    }
}

#[test]
fn errors_are_those_of_open_vswitch() {
    for line in REJECTS.lines() {
        let (name, hex) = line.split_once(' ').expect("an error and bytes");
        let bytes = from_hex(hex);
        let Some(version) = Version::from_wire(bytes[0]) else {
            continue;
        };
        let error = codec::decode(&bytes, &version.into()).expect_err(line);
        assert_eq!(error.error().name(), name, "{hex}");
    }
}
