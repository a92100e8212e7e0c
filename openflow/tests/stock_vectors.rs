//! What ovs-ofctl of Open vSwitch 3.1 made of flow texts: bytes in each version, and how it
//! printed them.
//!
//! `data/stock_vectors.txt` has blocks of: the flow as text; then per version a line that starts
//! with a tab: version (10 to 15), kind of the match (`std`, `nxm`, `oxm`), the match, the
//! instructions (in 1.0 the actions), and the text of `ovs-ofctl ofp-print` without the
//! message's name; or `error` and what the tool said. The bytes were recorded from
//! `ovs-ofctl -O VERSION add-flow`.
//!
//! `data/stock_differences.txt` says where this project differs on purpose: the flow, a tab and
//! what of it is not compared (`encode`, `print`, `parse` or `all`), and why.

use std::collections::BTreeMap;

use openflow::codec::parts;
use openflow::message::{FlowMod, FlowModCommand};
use openflow::text::{flow, flow_print, ports::Names};
use openflow::{Match, Version};

const VECTORS: &str = include_str!("data/stock_vectors.txt");
const DIFFERENCES: &str = include_str!("data/stock_differences.txt");

struct Bytes {
    version: Version,
    kind: &'static str,
    fields: Vec<u8>,
    instructions: Vec<u8>,
    print: &'static str,
}

struct Case {
    text: &'static str,
    bytes: Vec<Bytes>,
    error: Option<&'static str>,
}

fn from_hex(hex: &str) -> Vec<u8> {
    let hex = hex.strip_prefix('-').unwrap_or(hex);
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect()
}

fn cases() -> Vec<Case> {
    let mut out: Vec<Case> = Vec::new();
    for line in VECTORS.lines() {
        let Some(answer) = line.strip_prefix('\t') else {
            out.push(Case {
                text: line,
                bytes: Vec::new(),
                error: None,
            });
            continue;
        };
        let case = out.last_mut().expect("a flow before its answers");
        if let Some(error) = answer.strip_prefix("error ") {
            case.error = Some(error);
            continue;
        }
        let mut words = answer.splitn(5, ' ');
        let mut word = || words.next().expect("five words");
        let number: usize = word().parse().expect("a version");
        case.bytes.push(Bytes {
            version: Version::ALL[number - 10],
            kind: word(),
            fields: from_hex(word()),
            instructions: from_hex(word()),
            print: word(),
        });
    }
    out
}

/// Flow to what is not compared.
fn differences() -> BTreeMap<&'static str, &'static str> {
    DIFFERENCES
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| {
            let (text, rest) = l.split_once('\t').expect("a tab");
            (text, rest.split('\t').next().expect("a word"))
        })
        .collect()
}

fn parse(text: &str) -> Result<FlowMod, String> {
    flow::parse_flow_mod(text, FlowModCommand::Add, &Names::none())
        .map(|parsed| parsed.value)
        .map_err(|e| e.kind.to_string())
}

fn decode(bytes: &Bytes) -> Result<FlowMod, String> {
    let fields = match bytes.kind {
        "nxm" => parts::decode_entries(&bytes.fields),
        _ => parts::decode_match(&bytes.fields, bytes.version),
    };
    let fields = fields.map_err(|e| e.error().to_string())?;
    let actions = parts::decode_instructions(&bytes.instructions, bytes.version);
    Ok(FlowMod {
        fields,
        actions: actions.map_err(|e| e.error().to_string())?,
        ..FlowMod::add()
    })
}

fn encode_fields(m: &Match, bytes: &Bytes) -> Result<Vec<u8>, String> {
    match bytes.kind {
        "nxm" => parts::encode_entries(m, bytes.version),
        _ => parts::encode_match(m, bytes.version),
    }
    .map_err(|e| e.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Runs `check` on each case that is to be compared as `what`; all that differ are shown at
/// once.
fn compare(what: &str, mut check: impl FnMut(&Case, &Bytes) -> Result<(), String>) {
    let differences = differences();
    let mut wrong = Vec::new();
    let mut n = 0;
    for case in cases() {
        if differences
            .get(case.text)
            .is_some_and(|d| *d == what || *d == "all")
        {
            continue;
        }
        for bytes in &case.bytes {
            n += 1;
            if let Err(e) = check(&case, bytes) {
                wrong.push(format!("{} {}: {e}", bytes.version, case.text));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        wrong.join("\n"),
        wrong.len()
    );
    assert!(n > 1000);
}

#[test]
fn bytes_are_those_of_the_stock_tool() {
    compare("encode", |case, bytes| {
        let fm = parse(case.text)?;
        let fields = encode_fields(&fm.fields, bytes)?;
        if fields != bytes.fields {
            return Err(format!(
                "match\n got  {}\n want {}",
                hex(&fields),
                hex(&bytes.fields)
            ));
        }
        let got = parts::encode_instructions(&fm.actions, bytes.version, &fm.fields)
            .map_err(|e| e.to_string())?;
        if got != bytes.instructions {
            return Err(format!(
                "instructions\n got  {}\n want {}",
                hex(&got),
                hex(&bytes.instructions)
            ));
        }
        Ok(())
    });
}

#[test]
fn bytes_print_as_the_stock_tool_prints_them() {
    compare("print", |_, bytes| {
        let got = match decode(bytes) {
            Ok(fm) => {
                let mut s = String::new();
                flow_print::write_flow_mod(&mut s, &fm, bytes.version, &Names::none());
                s
            }
            Err(e) => format!("***decode error: {e}***"),
        };
        if got == bytes.print {
            Ok(())
        } else {
            Err(format!("\n got  {got}\n want {}", bytes.print))
        }
    });
}

/// What was decoded is encoded to bytes that mean the same.
#[test]
fn decoded_bytes_survive() {
    compare("survive", |_, bytes| {
        let Ok(fm) = decode(bytes) else {
            return Ok(());
        };
        let fields = encode_fields(&fm.fields, bytes)?;
        let instructions = parts::encode_instructions(&fm.actions, bytes.version, &fm.fields)
            .map_err(|e| e.to_string())?;
        let again = decode(&Bytes {
            fields,
            instructions,
            ..*bytes
        })?;
        if again == fm {
            Ok(())
        } else {
            Err(format!("\n got  {again:?}\n want {fm:?}"))
        }
    });
}

#[test]
fn errors_are_worded_as_the_stock_tool_words_them() {
    let differences = differences();
    let mut wrong = Vec::new();
    for case in cases() {
        let Some(want) = case.error else { continue };
        if differences
            .get(case.text)
            .is_some_and(|d| *d == "parse" || *d == "all")
        {
            continue;
        }
        match parse(case.text) {
            Ok(_) => wrong.push(format!("{}\n got  no error\n want {want}", case.text)),
            Err(got) if got.trim_end() != want => {
                wrong.push(format!("{}\n got  {got}\n want {want}", case.text));
            }
            Err(_) => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} wrong",
        wrong.join("\n"),
        wrong.len()
    );
}

/// Every part cut at every byte, and every two bytes one off: an error or another value, never a
/// panic, and what decodes can be printed.
#[test]
fn broken_bytes_do_no_harm() {
    for case in cases() {
        // The versions between have nothing of their own.
        let versions = [Version::Of10, Version::Of11, Version::Of13, Version::Of15];
        for bytes in case.bytes.iter().filter(|b| versions.contains(&b.version)) {
            let instructions = &bytes.instructions;
            let try_both = |broken: &[u8]| {
                if let Ok(actions) = parts::decode_instructions(broken, bytes.version) {
                    let fm = FlowMod {
                        actions,
                        ..FlowMod::add()
                    };
                    let mut s = String::new();
                    flow_print::write_flow_mod(&mut s, &fm, bytes.version, &Names::none());
                    for version in Version::ALL {
                        parts::encode_instructions(&fm.actions, *version, &fm.fields).ok();
                    }
                }
                let m = match bytes.kind {
                    "nxm" => parts::decode_entries(broken),
                    _ => parts::decode_match(broken, bytes.version),
                };
                if let Ok(m) = m {
                    for version in Version::ALL {
                        parts::encode_match(&m, *version).ok();
                    }
                }
            };
            for part in [instructions, &bytes.fields] {
                for len in 0..part.len() {
                    try_both(&part[..len]);
                }
                for at in 0..part.len().saturating_sub(1) {
                    let n = u16::from_be_bytes([part[at], part[at + 1]]);
                    for changed in [n.wrapping_add(1), n.wrapping_sub(1), n ^ 0x8000] {
                        let mut broken = part.clone();
                        broken[at..at + 2].copy_from_slice(&changed.to_be_bytes());
                        try_both(&broken);
                    }
                }
            }
        }
    }
}

#[test]
fn the_differences_name_flows_that_there_are() {
    let texts: Vec<&str> = cases().iter().map(|c| c.text).collect();
    for text in differences().into_keys() {
        assert!(texts.contains(&text), "{text}");
    }
}
