//! Messages as os-ken builds them: decoded or refused as Open vSwitch does, printed as it prints
//! them, and encoded again to the same bytes.
//!
//! `data/os_ken_vectors.py` wrote `data/os_ken.txt` and says what is in it.
//! `data/os_ken_differences.txt` says what is not the same and why: lines of what, the version or
//! `all`, a name in which `*` stands for anything, and the reason, with tabs between them. What is
//! `decode` (one refuses the message, or with another error), `print`, `form` (other bytes that
//! mean the same) or `encode` (it cannot be said again).

use std::collections::BTreeMap;

use openflow::Version;
use openflow::codec::{self, Dialect};
use openflow::message::FlowFormat;
use openflow::text::{Names, message_bytes};

const VECTORS: &str = include_str!("data/os_ken.txt");
const DIFFERENCES: &str = include_str!("data/os_ken_differences.txt");

/// What a flow-mod was made for; other names are of messages.
const PARTS: [&str; 5] = ["field", "set_field", "action", "instruction", "nxm"];

struct Case {
    /// `1.3 field in_port`.
    head: &'static str,
    bytes: Vec<u8>,
    print: &'static str,
    dialect: Dialect,
}

fn cases() -> Vec<Case> {
    let blocks = VECTORS.split("## ").skip(1);
    blocks
        .map(|block| {
            let (head, rest) = block.split_once('\n').expect("a head");
            let (hex, print) = rest.split_once('\n').expect("bytes");
            let bytes: Vec<u8> = (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
                .collect();
            let version = Version::from_wire(bytes[0]).expect("a version");
            let mut dialect = Dialect::from(version);
            if head.contains(" nxm ") {
                dialect.flow_format = FlowFormat::Nxm;
            }
            Case {
                head,
                bytes,
                print,
                dialect,
            }
        })
        .collect()
}

struct Difference {
    what: &'static str,
    version: &'static str,
    name: &'static str,
}

fn differences() -> Vec<Difference> {
    let lines = DIFFERENCES.lines().filter(|l| !l.starts_with('#'));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split('\t').collect();
            let [what, version, name, why] = words[..] else {
                panic!("four words: {line:?}");
            };
            assert!(
                ["decode", "print", "form", "encode"].contains(&what),
                "{line}"
            );
            assert!(!why.is_empty(), "{line}");
            Difference {
                what,
                version,
                name,
            }
        })
        .collect()
}

impl Difference {
    fn is_of(&self, case: &Case) -> bool {
        let (version, name) = case.head.split_once(' ').expect("a version and a name");
        let named = match self.name.split_once('*') {
            Some((start, end)) => name.starts_with(start) && name.ends_with(end),
            None => name == self.name,
        };
        named && (self.version == "all" || self.version == version)
    }
}

/// What is wrong with the message, and in which of the three steps.
fn check(case: &Case) -> Option<(&'static str, String)> {
    let refused = case.print.strip_prefix("error ").map(str::trim_end);
    let decoded = match (codec::decode(&case.bytes, &case.dialect), refused) {
        (Ok(decoded), None) => decoded,
        (Ok(decoded), Some(want)) => {
            return Some(("decode", format!("{:?}\n want {want}", decoded.message)));
        }
        (Err(e), Some(want)) if e.error().name() == want => return None,
        (Err(e), want) => return Some(("decode", format!("{e}\n want {want:?}"))),
    };
    let printed = message_bytes::print(&case.bytes, &Names::none(), 1);
    let lines: Vec<&str> = printed.lines().filter(|l| !l.trim().is_empty()).collect();
    let want: Vec<&str> = case.print.lines().collect();
    if !want.is_empty() && lines != want {
        return Some(("print", format!("{lines:#?}\n want {want:#?}")));
    }
    let xid = decoded.header.xid;
    let bytes = match codec::encode_part(&decoded.message, case.dialect, xid, decoded.more) {
        Ok(bytes) if bytes == case.bytes => return None,
        Ok(bytes) => bytes,
        Err(e) => return Some(("encode", e.to_string())),
    };
    let again = codec::decode(&bytes, &case.dialect);
    let same = again.is_ok_and(|a| format!("{:?}", a.message) == format!("{:?}", decoded.message));
    let what = if same { "form" } else { "encode" };
    let shown = format!("\n got  {}\n want {}", hex(&bytes), hex(&case.bytes));
    Some((what, shown))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn what_os_ken_builds_is_understood_and_built_the_same() {
    let differences = differences();
    let mut used = vec![false; differences.len()];
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for case in cases() {
        let first = case.head.split(' ').nth(1);
        let kind = first.filter(|k| PARTS.contains(k)).unwrap_or("message");
        let version = case.dialect.version.to_string();
        *counts.entry((version, kind)).or_default() += 1;
        let Some((what, why)) = check(&case) else {
            continue;
        };
        // What differs in an earlier step says nothing of the later ones.
        let known = differences
            .iter()
            .position(|d| d.what == what && d.is_of(&case));
        match known {
            Some(n) => used[n] = true,
            None => wrong.push(format!("{what} {}: {why}", case.head)),
        }
    }
    for ((version, kind), n) in &counts {
        println!("{version} {kind}: {n}");
    }
    println!("{} in all", counts.values().sum::<usize>());
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        wrong.join("\n"),
        wrong.len()
    );
    let unused = differences.iter().zip(used).filter(|(_, used)| !used);
    let unused: Vec<String> = unused
        .map(|(d, _)| format!("{} {} {}", d.what, d.version, d.name))
        .collect();
    assert!(
        unused.is_empty(),
        "these are the same by now: {}",
        unused.join("\n")
    );
    assert!(counts.values().sum::<usize>() > 2000);
}
