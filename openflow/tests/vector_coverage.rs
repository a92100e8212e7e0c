//! Which messages, actions and fields the vectors of other implementations show, and which none
//! does: the list in the documentation.
//!
//! `UPDATE_DOCS=1 cargo test -p openflow --test vector_coverage` writes it anew.

use std::collections::{BTreeMap, BTreeSet};

use openflow::action::table::{Form, Space};
use openflow::codec::{self, Dialect, Kind, parts};
use openflow::field::FieldInfo;
use openflow::message::Message;
use openflow::{Field, Match, Version};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openflow-vectors.md");

/// Files of `## NAME`, bytes, text.
const MESSAGES: [(&str, &str); 4] = [
    ("codec.txt", include_str!("data/codec.txt")),
    ("groups.txt", include_str!("data/groups.txt")),
    ("versions.txt", include_str!("data/versions.txt")),
    ("os_ken.txt", include_str!("data/os_ken.txt")),
];
const FLOWS: &str = include_str!("data/stock_vectors.txt");

/// Why nobody's bytes show some of what is listed.
const WHY: &[(&[&str], &str)] = &[
    (
        &["NXT_FLOW_REMOVED", "NXT_FLOW_MOD", "NXT_FLOW_MOD_TABLE_ID"],
        "Open vSwitch sends them in 1.0 and reads them later too",
    ),
    (
        &["NXT_FLOW_AGE"],
        "Open vSwitch reads it and sends it nowhere; os-ken has it in 1.0",
    ),
    (
        &[
            "NXT_ROLE_REQUEST",
            "NXT_SET_ASYNC_CONFIG",
            "NXT_SET_ASYNC_CONFIG2",
            "NXT_SET_CONTROLLER_ID",
            "NXT_FLOW_MONITOR_CANCEL",
        ],
        "a controller's; no tool of Open vSwitch sends it, os-ken in 1.0 at most",
    ),
    (
        &["NXT_TLV_TABLE_MOD"],
        "ovs-ofctl takes options of tunnels for NXM and OXM, which 1.1 has not",
    ),
    (
        &[
            "SetVlanVid11",
            "SetVlanPcp11",
            "SetMplsLabel",
            "SetMplsTc",
            "SetEthSrc",
            "SetEthDst",
            "SetIpv4Src",
            "SetIpv4Dst",
            "SetNwTos",
            "SetIpEcn",
            "SetTpSrc",
            "SetTpDst",
            "SetTunnel",
            "SetTunnel64",
        ],
        "gone from the specification or needless by then: Open vSwitch reads it and sends set-field",
    ),
    (
        &["CopyTtlOut", "CopyTtlIn"],
        "Open vSwitch does not know it and os-ken does not speak 1.1",
    ),
    (
        &["OnfCopyField"],
        "Open vSwitch reads it and sends `NXAST_REG_MOVE`",
    ),
    (
        &["Resubmit"],
        "Open vSwitch reads it and sends `NXAST_RESUBMIT_TABLE`",
    ),
    (
        &["ResubmitTableCt"],
        "it needs a match on the state of connections, which 1.1 has not",
    ),
    (
        &["xxreg0", "xxreg1", "xxreg2", "xxreg3"],
        "Open vSwitch sends the shorter registers that it covers",
    ),
];

const NICIRA: u32 = 0x2320;
const ONF: u32 = 0x4f4e_4600;

#[derive(Default)]
struct Seen {
    kinds: BTreeSet<(Kind, Version)>,
    forms: BTreeSet<(Form, Version)>,
    fields: BTreeSet<(usize, Version)>,
    /// Vectors of each file in each version.
    counts: BTreeMap<&'static str, BTreeMap<Version, usize>>,
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let pair = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes([pair[0], pair[1]])))
}

impl Seen {
    fn all() -> Seen {
        let mut seen = Seen::default();
        for (file, text) in MESSAGES {
            for block in text.split("## ").skip(1) {
                let bytes = from_hex(block.lines().nth(1).expect("bytes"));
                let Some(version) = bytes.first().and_then(|v| Version::from_wire(*v)) else {
                    continue;
                };
                seen.count(file, version);
                seen.message(&bytes, version);
            }
        }
        for line in FLOWS.lines().filter_map(|l| l.strip_prefix('\t')) {
            let words: Vec<&str> = line.splitn(5, ' ').collect();
            let [number, kind, fields, actions, _] = words[..] else {
                continue;
            };
            // Not what the tool said of an error.
            let Ok(number) = number.parse::<usize>() else {
                continue;
            };
            let version = Version::ALL[number - 10];
            seen.count("stock_vectors.txt", version);
            let fields = from_hex(fields.strip_prefix('-').unwrap_or(fields));
            match (kind, version) {
                ("nxm", _) => seen.entries(&fields, version),
                (_, Version::Of10 | Version::Of11) => {
                    if let Ok(m) = parts::decode_match(&fields, version) {
                        seen.fields(&m, version);
                    }
                }
                // type(2), length(2)
                _ => seen.entries(fields.get(4..).unwrap_or_default(), version),
            }
            let actions = from_hex(actions.strip_prefix('-').unwrap_or(actions));
            if parts::decode_instructions(&actions, version).is_ok() {
                seen.instructions(&actions, version);
            }
        }
        seen
    }

    fn count(&mut self, file: &'static str, version: Version) {
        let file = self.counts.entry(file).or_default();
        *file.entry(version).or_default() += 1;
    }

    /// What cannot be decoded shows nothing.
    fn message(&mut self, bytes: &[u8], version: Version) {
        let Ok(decoded) = codec::decode(bytes, &Dialect::from(version)) else {
            return;
        };
        self.kinds.insert((decoded.kind, version));
        let Message::FlowMod(flow) = &decoded.message else {
            return;
        };
        let at = |length: Option<usize>, start: usize| length.map(|len| (start, start + len));
        // Where the entries of the match are, if it has such.
        let entries = match (decoded.kind, version) {
            (Kind::NxFlowMod, _) => at(u16_at(bytes, 40), 48),
            (_, Version::Of10 | Version::Of11) => None,
            _ => u16_at(bytes, 50).map(|len| (52, 48 + len)),
        };
        let Some((start, end)) = entries else {
            self.fields(&flow.fields, version);
            let length = if version == Version::Of10 { 72 } else { 136 };
            return self.instructions(bytes.get(length..).unwrap_or_default(), version);
        };
        self.entries(bytes.get(start..end).unwrap_or_default(), version);
        let end = 48 + (end - 48).next_multiple_of(8);
        let rest = bytes.get(end..).unwrap_or_default();
        match decoded.kind {
            Kind::NxFlowMod => self.actions(rest, version),
            _ => self.instructions(rest, version),
        }
    }

    fn fields(&mut self, m: &Match, version: Version) {
        for entry in m.iter() {
            self.fields.insert((entry.field as usize, version));
        }
    }

    /// class(2), number and whether there is a mask(1), length(1), value, mask.
    fn entries(&mut self, mut bytes: &[u8], version: Version) {
        while let (Some(class), Some([number, len])) = (u16_at(bytes, 0), bytes.get(2..4)) {
            let value = bytes.get(4..8).unwrap_or_default();
            let experimenter = match class {
                0xffff => value.iter().fold(0, |n, b| n << 8 | u32::from(*b)),
                _ => 0,
            };
            for info in Field::all() {
                let is = |id: &openflow::field::WireId| {
                    usize::from(id.class) == class
                        && id.number == number >> 1
                        && id.experimenter == experimenter
                };
                if info.wire.iter().any(is) {
                    self.fields.insert((info.field as usize, version));
                }
            }
            bytes = bytes.get(4 + usize::from(*len)..).unwrap_or_default();
        }
    }

    fn instructions(&mut self, mut bytes: &[u8], version: Version) {
        if version == Version::Of10 {
            return self.actions(bytes, version);
        }
        while let (Some(kind), Some(len)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
            self.form(Space::Instruction, kind, version);
            let (this, rest) = bytes.split_at(len.clamp(8, bytes.len().max(8)).min(bytes.len()));
            // Write- and apply-actions.
            if matches!(kind, 3 | 4) {
                self.actions(this.get(8..).unwrap_or_default(), version);
            }
            bytes = rest;
        }
    }

    fn actions(&mut self, mut bytes: &[u8], version: Version) {
        while let (Some(kind), Some(len)) = (u16_at(bytes, 0), u16_at(bytes, 2)) {
            let (this, rest) = bytes.split_at(len.clamp(4, bytes.len().max(4)).min(bytes.len()));
            if kind != 0xffff {
                self.form(Space::Standard, kind, version);
            } else if let (Some(vendor), Some(subtype)) = (this.get(4..8), u16_at(this, 8)) {
                let vendor = u32::from_be_bytes([vendor[0], vendor[1], vendor[2], vendor[3]]);
                let inner = match (vendor, subtype) {
                    // Clone and ct have actions in them.
                    (NICIRA, 42) => 16,
                    (NICIRA, 35) => 24,
                    _ => this.len(),
                };
                match vendor {
                    NICIRA => self.form(Space::Nicira, subtype, version),
                    ONF => self.form(Space::Onf, subtype, version),
                    _ => {}
                }
                self.actions(this.get(inner..).unwrap_or_default(), version);
            }
            bytes = rest;
        }
    }

    fn form(&mut self, space: Space, number: usize, version: Version) {
        let here = |first: u8, last: u8| (first..=last).contains(&version.wire());
        for row in Form::all() {
            let is = |p: &openflow::action::table::Place| {
                p.space == space && usize::from(p.number) == number && here(p.first, p.last)
            };
            if row.places.iter().any(is) {
                self.forms.insert((row.form, version));
            }
        }
    }
}

/// The 64 options of tunnels have one form; the first stands for all.
fn is_further_option(info: &FieldInfo) -> bool {
    info.name.starts_with("tun_metadata") && info.name != "tun_metadata0"
}

/// Can a flow of this version match on the field?
fn has_field(info: &FieldInfo, version: Version) -> bool {
    let has = |id: &openflow::field::WireId| id.since <= version.wire();
    match version {
        // Its match has no room for others.
        Version::Of11 => false,
        Version::Of10 => info.wire.iter().any(|id| id.is_nxm()),
        _ => info.wire.iter().any(has),
    }
}

fn has_form(form: Form, version: Version) -> bool {
    let places = form.info().places.iter();
    places
        .clone()
        .any(|p| (p.first..=p.last).contains(&version.wire()))
}

/// Names that versions have without a vector, a line for each name.
fn without<T: Copy>(
    rows: impl Iterator<Item = (String, T)>,
    has: impl Fn(T, Version) -> bool,
    seen: impl Fn(T, Version) -> bool,
) -> String {
    let mut out = String::new();
    for (name, row) in rows {
        let wanted: Vec<Version> = Version::ALL
            .iter()
            .copied()
            .filter(|v| has(row, *v))
            .collect();
        let missing: Vec<String> = wanted
            .iter()
            .filter(|v| !seen(row, **v))
            .map(|v| format!("1.{}", v.wire() - 1))
            .collect();
        if !missing.is_empty() {
            let all = if missing.len() == wanted.len() {
                ": none at all"
            } else {
                ""
            };
            let why = WHY.iter().find(|(names, _)| names.contains(&name.as_str()));
            let why = why.map_or("", |(_, why)| why);
            let missing = missing.join(", ");
            out.push_str(&format!("| `{name}` | {missing}{all} | {why} |\n"));
        }
    }
    out
}

fn document(seen: &Seen) -> String {
    let mut out = String::from(
        "# Vectors of other implementations\n\n\
         Bytes that other programs made or recorded, in `openflow/tests/data`, which the tests \
         decode, print and encode. `cargo test -p openflow --test vector_coverage` compares this \
         page with them, and writes it with `UPDATE_DOCS=1`. What a row below names is tested by \
         round trips of our own, and by bytes put together by hand (`by_hand.txt`) where Open \
         vSwitch reads and prints it.\n\n## How many\n\n\
         | File | 1.0 | 1.1 | 1.2 | 1.3 | 1.4 | 1.5 |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (file, counts) in &seen.counts {
        let cells = Version::ALL.iter();
        let cells = cells.map(|v| counts.get(v).copied().unwrap_or(0).to_string());
        let cells: Vec<String> = cells.collect();
        out.push_str(&format!("| `{file}` | {} |\n", cells.join(" | ")));
    }
    let head = "| Name | Versions without a vector | Why |\n| --- | --- | --- |\n";
    out.push_str(&format!("\n## Messages without one\n\n{head}"));
    out.push_str(&without(
        Kind::all().map(|kind| (kind.name().to_owned(), kind)),
        |kind, v| kind.is_in(v),
        |kind, v| seen.kinds.contains(&(kind, v)),
    ));
    out.push_str(&format!(
        "\n## Actions and instructions without one\n\nBy their forms on the wire.\n\n{head}"
    ));
    out.push_str(&without(
        Form::all()
            .iter()
            .map(|row| (format!("{:?}", row.form), row.form)),
        has_form,
        |form, v| seen.forms.contains(&(form, v)),
    ));
    out.push_str(&format!(
        "\n## Fields of matches without one\n\nThe match of 1.1 has no room for others than its \
         own.\n\n{head}"
    ));
    out.push_str(&without(
        Field::all()
            .iter()
            .filter(|info| !is_further_option(info))
            .map(|info| (info.name.to_owned(), info.field)),
        |field, v| has_field(field.info(), v),
        |field, v| seen.fields.contains(&(field as usize, v)),
    ));
    out
}

#[test]
fn the_document_is_true() {
    let seen = Seen::all();
    for (file, counts) in &seen.counts {
        let counts: Vec<String> = counts.iter().map(|(v, n)| format!("{v}: {n}")).collect();
        println!("{file}: {}", counts.join(", "));
    }
    let text = document(&seen);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(DOCUMENT, &text).expect("write the document");
    }
    let old = std::fs::read_to_string(DOCUMENT).unwrap_or_default();
    assert!(
        old == text,
        "{DOCUMENT} is old; run with UPDATE_DOCS=1:\n{text}"
    );
}

/// What has come to have vectors everywhere needs no reason.
#[test]
fn reasons_are_of_names_that_are_listed() {
    let text = document(&Seen::all());
    for name in WHY.iter().flat_map(|(names, _)| *names) {
        assert!(text.contains(&format!("| `{name}` |")), "{name}");
    }
}

/// The walk finds what there is, and does not find what there is not.
#[test]
fn some_are_known() {
    let seen = Seen::all();
    assert!(seen.kinds.contains(&(Kind::FlowMod, Version::Of13)));
    assert!(seen.forms.contains(&(Form::Nat, Version::Of13)));
    assert!(seen.forms.contains(&(Form::RegLoad, Version::Of10)));
    assert!(seen.forms.contains(&(Form::WriteMetadata, Version::Of12)));
    assert!(!seen.forms.contains(&(Form::WriteActions, Version::Of10)));
    assert!(
        seen.fields
            .contains(&(Field::Ipv6Src as usize, Version::Of15))
    );
    assert!(!seen.kinds.contains(&(Kind::NxFlowMod, Version::Of15)));
}
