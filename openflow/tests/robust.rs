//! Broken messages: every recorded message cut at every byte, each byte changed, and each number
//! one off gives an error or another message, in bounded time and memory; and the error is the
//! one that `ovs-ofctl ofp-parse` of Open vSwitch 3.1 finds in the same bytes.
//!
//! The errors of the specifications themselves are in `spec_errors.rs`.

#[allow(dead_code, reason = "the fuzz targets use the rest")]
#[path = "fuzz/seeds.rs"]
mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use openflow::codec::{self, Dialect, Way};
use openflow::text::{Names, message_bytes};
use openflow::{OfError, Version};

fn messages() -> Vec<Vec<u8>> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let messages: BTreeSet<Vec<u8>> = seeds::messages(&data)
        .into_iter()
        .filter(|m| usize::from(u16::from_be_bytes([m[2], m[3]])) == m.len())
        .collect();
    assert!(messages.len() > 500);
    messages.into_iter().collect()
}

/// Calls `f` with each broken form of `message`; all have the length that their header says.
fn for_each_broken(message: &[u8], mut f: impl FnMut(&[u8])) {
    for len in 8..message.len() {
        let mut cut = message[..len].to_vec();
        let len = u16::try_from(len).expect("a message");
        cut[2..4].copy_from_slice(&len.to_be_bytes());
        f(&cut);
    }
    let mut broken = message.to_vec();
    // The type, and all behind the length and the transaction id.
    for at in std::iter::once(1).chain(8..message.len()) {
        let byte = message[at];
        for changed in [
            byte.wrapping_add(1),
            byte.wrapping_sub(1),
            byte ^ 0x80,
            0,
            0xff,
        ] {
            if changed != byte {
                broken[at] = changed;
                f(&broken);
            }
        }
        broken[at] = byte;
    }
}

fn dialect(bytes: &[u8]) -> Dialect {
    Dialect {
        // As for `ovs-ofctl`, which prints the messages of any connection.
        flow_mod_table_id: true,
        ..Dialect::from(Version::from_wire(bytes[0]).unwrap_or(Version::Of10))
    }
}

/// The name of the error in a message, `ok` when it has none.
fn ours(bytes: &[u8]) -> &'static str {
    match codec::decode(bytes, &dialect(bytes)) {
        Ok(_) => "ok",
        Err(e) => match e.error() {
            OfError::BrcBadVersion => "OFPBRC_BAD_TYPE",
            error => error.name(),
        },
    }
}

/// Whatever a byte is changed to: no panic, no hang, and what is decoded is not much larger than
/// its bytes.
#[test]
fn broken_messages_do_no_harm() {
    let mut n: usize = 0;
    for message in messages() {
        // What is long is long because parts of it repeat.
        if message.len() > 700 {
            continue;
        }
        for_each_broken(&message, |broken| {
            n += 1;
            // The fuzz targets look at more.
            if !n.is_multiple_of(5) {
                return;
            }
            if let Ok(decoded) = codec::decode(broken, &dialect(broken)) {
                let text = message_bytes::print(broken, &Names::none(), 0);
                assert!(
                    text.len() < 4096 + 256 * broken.len(),
                    "{} bytes of text from {}",
                    text.len(),
                    broken.len()
                );
                codec::encode(&decoded.message, dialect(broken), 1).ok();
            }
        });
    }
    println!("{} broken messages", n / 5);
    assert!(n > 500_000);
}

/// A sample of broken requests, whose errors are those of the stock tool but for
/// `data/robust_differences.txt` and a few in a thousand.
///
/// What is wrong with a reply matters less, as nobody is told.
#[test]
fn errors_are_those_that_the_stock_tool_finds() {
    // `SLUICE_ROBUST_STEP=1` looks at all of them, which takes some minutes.
    let wanted: Option<usize> = std::env::var("SLUICE_ROBUST_STEP")
        .ok()
        .map(|n| n.parse().expect("a number"));
    let step = wanted.unwrap_or(29);
    let mut sample: Vec<Vec<u8>> = Vec::new();
    let mut n: usize = 0;
    for message in messages() {
        // One fault at a time, or which is found first would matter.
        if message.len() > 700 || ours(&message) != "ok" {
            continue;
        }
        for_each_broken(&message, |broken| {
            n += 1;
            let is_request = codec::kind_of(broken).is_none_or(|kind| kind.way() == Way::Request);
            if n.is_multiple_of(step) && is_request {
                sample.push(broken.to_vec());
            }
        });
    }
    assert!(sample.len() > 3000);
    let known = differences();
    let mut unused = known.clone();
    let mut wrong: BTreeMap<String, (usize, Vec<u8>)> = BTreeMap::new();
    for part in sample.chunks(20_000) {
        let Some(theirs) = stock(part) else { return };
        for (bytes, theirs) in part.iter().zip(theirs) {
            let ours = ours(bytes);
            if ours == theirs {
                continue;
            }
            let kind = codec::kind_of(bytes).map_or("none", |kind| kind.name());
            let pair = format!("{theirs} {ours}");
            let keys = [format!("* {pair}"), format!("{kind} {pair}")];
            if let Some(key) = keys.into_iter().find(|key| known.contains(key)) {
                unused.remove(&key);
                continue;
            }
            let key = format!("{kind} 1.{} {pair}", i16::from(bytes[0]) - 1);
            wrong.entry(key).or_insert((0, bytes.clone())).0 += 1;
        }
    }
    let mut text = String::new();
    for (key, (n, bytes)) in &wrong {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let _ = writeln!(text, "{key} {n} {hex}");
    }
    // Where a change makes two faults at once, which is found first may be new; a kind of fault
    // that is found wrongly shows often.
    let n: usize = wrong.values().map(|(n, _)| n).sum();
    println!("{text}{n} of {} requests differ", sample.len());
    assert!(n * 500 < sample.len());
    // A sample need not show all of them.
    assert!(
        unused.is_empty() || step > 1,
        "these do not differ: {unused:?}"
    );
}

fn differences() -> BTreeSet<String> {
    include_str!("data/robust_differences.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('\t').expect("a reason").0.to_owned())
        .collect()
}

/// What `ovs-ofctl ofp-parse` finds wrong with each message.
fn stock(messages: &[Vec<u8>]) -> Option<Vec<String>> {
    let mut stream = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        stream.extend(message);
        // An echo request marks where the text of the next begins.
        stream.extend([1, 2, 0, 8]);
        stream.extend((0xb000_0000 | n as u32).to_be_bytes());
    }
    let path = std::env::temp_dir().join(format!("robust-{}", std::process::id()));
    std::fs::write(&path, stream).expect("a temporary file");
    let output = Command::new("ovs-ofctl")
        .args(["-vconsole:off", "ofp-parse"])
        .arg(&path)
        .output();
    std::fs::remove_file(&path).ok();
    let output = match output {
        Ok(output) if output.status.success() => output,
        other => {
            let required = std::env::var("SLUICE_REQUIRE_ROOT").is_ok_and(|v| v == "1");
            assert!(!required, "ovs-ofctl: {other:?}");
            eprintln!("skipped: ovs-ofctl cannot be run: {other:?}");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found = Vec::new();
    let mut error = "ok".to_owned();
    for line in text.lines() {
        let mark = format!(
            "OFPT_ECHO_REQUEST (xid={:#x}): ",
            0xb000_0000u32 | found.len() as u32
        );
        if line.starts_with(&mark) {
            found.push(std::mem::replace(&mut error, "ok".to_owned()));
        } else if let Some((_, rest)) = line.split_once("***decode error: ") {
            error = rest.trim_end_matches('*').to_owned();
        }
    }
    assert_eq!(found.len(), messages.len());
    Some(found)
}
