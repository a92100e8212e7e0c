//! Commands that show how things look on the wire, for tests: print-error, encode-error-reply,
//! encode-hello, parse-key-value, parse-actions, parse-instructions, parse-nxm, parse-oxm,
//! parse-ofp10-match, parse-ofp11-match and check-vlan.
//!
//! The series among them read standard input line by line; of what they print, a line for each
//! byte that is another one after reading and writing it again.
//! Source: OVS `utilities/ovs-ofctl.c`, "Undocumented commands".

use std::fmt::Write;
use std::io::BufRead;

use openflow::codec::parts::{self, MATCH10_LEN, MATCH11_LEN, NxMatch};
use openflow::codec::{Dialect, Header, encode};
use openflow::error::OfError;
use openflow::message::{ErrorMessage, FlowModCommand, Hello, Message};
use openflow::text::message::write_hex_dump;
use openflow::text::token::{Pairs, Piece};
use openflow::text::{Names, action_print, flow, matches, message_bytes, nx_match, value};
use openflow::{Action, Field, Match, Version, VersionBitmap};

use crate::connection::next_xid;
use crate::error::Error;
use crate::flow_files::FlowFile;
use crate::options::Options;
use crate::output::print;

fn error_named(name: &str) -> Result<OfError, Error> {
    OfError::from_name(name).ok_or_else(|| Error::UnknownErrorName(name.to_owned()))
}

/// `print-error ENUM`: the error's numbers in each version.
pub fn print_error(args: &[String]) -> Result<(), Error> {
    let error = error_named(args.first().map_or("", String::as_str))?;
    let mut out = String::new();
    for version in Version::ALL {
        let Some(wire) = error.number(version.wire()) else {
            continue;
        };
        let _ = write!(out, "OpenFlow 1.{}: vendor ", version.wire() - 1);
        value::write_hex(&mut out, wire.vendor.id().unwrap_or(0).into());
        let _ = writeln!(out, ", type {}, code {}", wire.kind, wire.code);
    }
    print(&out)
}

/// The bytes that `text` is in hexadecimal, all of it.
fn hex(text: &str) -> Result<Vec<u8>, Error> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    value::hex_bytes(&text).ok_or(Error::HexGarbage)
}

/// `encode-error-reply ENUM REQUEST`: the error message that answers a request.
pub fn encode_error_reply(args: &[String]) -> Result<(), Error> {
    let [name, request] = args else { return Ok(()) };
    let error = error_named(name)?;
    let data = hex(request)?;
    let header = Header::decode(&data).map_err(|_| Error::RequestTooShort)?;
    if usize::from(header.len) != data.len() {
        return Err(Error::RequestSize);
    }
    let known = Version::ALL.iter().find(|v| v.wire() == header.version);
    let version = match known {
        Some(version) => *version,
        None => {
            let n = header.version;
            tracing::error!(
                target: "ofp_errors",
                "cannot encode error for unknown OpenFlow version {n:#04x}"
            );
            Version::Of10
        }
    };
    if error.number(version.wire()).is_none() {
        let minor = version.wire() - 1;
        tracing::error!(target: "ofp_errors", "cannot encode {error} for OpenFlow 1.{minor}");
    }
    let data = data.into();
    let reply = Message::Error(ErrorMessage::Known { error, data });
    dump(&encode(&reply, Dialect::from(version), header.xid)?)
}

/// `encode-hello BITMAP`: the hello that offers these versions.
pub fn encode_hello(options: &Options, args: &[String]) -> Result<(), Error> {
    let text = args.first().map_or("", String::as_str);
    let bits = value::u64_value(text).ok_or_else(|| Error::NotANumber(text.to_owned()))?;
    // Versions count from 1, and there are no more than 31.
    let versions = VersionBitmap(bits as u32 & !1);
    if versions.is_empty() {
        return Err(Error::NoVersions(text.to_owned()));
    }
    let hello = Message::Hello(Hello { versions });
    let bytes = encode(&hello, Dialect::from(Version::Of10), next_xid())?;
    dump(&bytes)?;
    let verbosity = options.verbosity(0);
    print(&message_bytes::print(
        &bytes,
        &options.plain_names(),
        verbosity,
    ))
}

fn dump(bytes: &[u8]) -> Result<(), Error> {
    let mut out = String::new();
    write_hex_dump(&mut out, bytes, false);
    print(&out)
}

/// `parse-key-value TEXT...`: how a text is divided into pairs.
pub fn parse_key_value(args: &[String]) -> Result<(), Error> {
    let mut out = String::new();
    for text in args {
        for (n, pair) in Pairs::new(Piece::new(text)).enumerate() {
            if n > 0 {
                out.push_str(", ");
            }
            out.push_str(pair.key.text);
            if !pair.value.is_empty() {
                out.push('=');
                out.push_str(pair.value.text);
            }
        }
        out.push('\n');
    }
    print(&out)
}

/// A version by its name, whatever its case.
fn version_named(name: &str) -> Option<Version> {
    let mut all = Version::ALL.iter();
    all.find(|v| v.name().eq_ignore_ascii_case(name)).copied()
}

/// What a series of lists is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum List {
    Actions,
    Instructions,
}

/// `parse-actions VERSION` and `parse-instructions VERSION`: lists in hexadecimal, each behind
/// `TABLE,` if it is that of a flow.
pub fn parse_lists(options: &Options, args: &[String], list: List) -> Result<(), Error> {
    let name = args.first().map_or("", String::as_str);
    let version = version_named(name).ok_or_else(|| Error::NotAVersion(name.to_owned()))?;
    let any = Match::new();
    let names = options.plain_names();
    let mut lines = FlowFile::open("-")?;
    while let Some((_, line)) = lines.next_line()? {
        let (table, text) = match line.split_once(',') {
            Some((table, text)) => (table.trim().parse().unwrap_or(0), text),
            None => (0, line.as_str()),
        };
        let bytes = hex(text)?;
        let decoded = match list {
            _ if !bytes.len().is_multiple_of(8) => Err(OfError::BrcBadLen),
            List::Actions => parts::decode_actions(&bytes, version).map_err(|e| e.error()),
            List::Instructions => parts::decode_instructions(&bytes, version)
                .map_err(|e| e.error())
                .and_then(|actions| check_table(&actions, table).map(|()| actions)),
        };
        let mut out = String::new();
        match decoded {
            Ok(actions) => {
                out.push_str("actions=");
                action_print::write(&mut out, &actions, version, &names);
                out.push('\n');
                let again = match list {
                    List::Actions => parts::encode_actions(&actions, version, &any)?,
                    List::Instructions => parts::encode_instructions(&actions, version, &any)?,
                };
                write_differences(&mut out, "", &bytes, &again);
            }
            Err(error) => {
                let what = match list {
                    List::Actions => "actions",
                    List::Instructions => "instructions",
                };
                let _ = writeln!(out, "bad {name} {what}: {error}");
            }
        }
        out.push('\n');
        print(&out)?;
    }
    Ok(())
}

/// A flow of `table` may go on in later tables only.
fn check_table(actions: &[Action], table: u8) -> Result<(), OfError> {
    let backward = |a: &Action| matches!(a, Action::GotoTable(to) if *to <= table);
    if actions.iter().any(backward) {
        Err(OfError::BicBadTableId)
    } else {
        Ok(())
    }
}

/// One line for each byte that differs.
fn write_differences(out: &mut String, prefix: &str, a: &[u8], b: &[u8]) {
    let byte = |bytes: &[u8], i: usize| match bytes.get(i) {
        Some(byte) => format!("{byte:02x}"),
        None => "(none)".to_owned(),
    };
    for i in 0..a.len().max(b.len()) {
        if a.get(i) != b.get(i) {
            let _ = writeln!(out, "{prefix}{i:2}: {} -> {}", byte(a, i), byte(b, i));
        }
    }
}

/// `parse-nxm`, and `parse-oxm` with its version: matches by the names of their entries.
///
/// Without `--strict`, entries of unknown fields and those whose prerequisites are not met are
/// left out.
pub fn parse_entries(options: &Options, oxm: Option<&str>) -> Result<(), Error> {
    let version = match oxm {
        None => Version::Of10,
        Some(name) => match version_named(name) {
            Some(version) if version >= Version::Of12 => version,
            _ => return Err(Error::NotAnOxmVersion(name.to_owned())),
        },
    };
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|source| Error::ReadFile {
            file: "-".to_owned(),
            source,
        })?;
        // Comments stay where they are, and empty lines too.
        if line.starts_with('#') {
            print(&format!("{line}\n"))?;
            continue;
        }
        let text = line.split_once('#').map_or(line.as_str(), |(text, _)| text);
        if text.trim().is_empty() {
            print("\n")?;
            continue;
        }
        let entries = nx_match::parse(text.trim_end())?;
        let mut out = String::new();
        match collect(entries, options.strict, oxm.is_none()) {
            Err(error) => {
                let _ = writeln!(out, "nx_pull_match() returned error {error}");
            }
            Ok(found) => {
                let bytes = parts::encode_nx_match(&found, version);
                nx_match::write(&mut out, &bytes);
                out.push('\n');
                if options.more > 0 {
                    let mut whole = bytes;
                    match oxm {
                        None => whole.resize(whole.len().next_multiple_of(8), 0),
                        Some(_) => whole = parts::encode_match(&found.fields, version)?,
                    }
                    write_hex_dump(&mut out, &whole, false);
                }
            }
        }
        print(&out)?;
    }
    Ok(())
}

/// Makes a match of entries.
fn collect(entries: Vec<Vec<u8>>, strict: bool, cookie: bool) -> Result<NxMatch, OfError> {
    let mut kept = Vec::new();
    for entry in entries {
        let before = kept.len();
        kept.extend(entry);
        if strict {
            continue;
        }
        match parts::decode_nx_match(&kept, cookie).map_err(|e| e.error()) {
            Err(OfError::BmcBadField | OfError::BmcBadPrereq) => kept.truncate(before),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    parts::decode_nx_match(&kept, cookie).map_err(|e| e.error())
}

/// `parse-ofp10-match`: matches of OpenFlow 1.0 in hexadecimal. A digit `x` stands for one that
/// must not matter, and is another one in each run.
pub fn parse_match10(options: &Options) -> Result<(), Error> {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new();
    let mut lines = FlowFile::open("-")?;
    while let Some((number, line)) = lines.next_line()? {
        let expected = hex(&line.replace('x', "0"))?;
        if expected.len() != MATCH10_LEN {
            return Err(Error::InputSize {
                got: expected.len(),
                wanted: MATCH10_LEN,
            });
        }
        let digit = |n: usize| char::from_digit((random.hash_one((number, n)) & 15) as u32, 16);
        let given: String = line
            .chars()
            .enumerate()
            .map(|(n, c)| match c {
                'x' => digit(n).unwrap_or('0'),
                c => c,
            })
            .collect();
        let failed = |source| Error::Decode {
            target: "parse-ofp10-match".to_owned(),
            source,
        };
        let given = hex(&given)?;
        let (fields, again) = parts::whole_match10(&given).map_err(failed)?;
        let mut out = String::new();
        matches::write(&mut out, &fields, &options.plain_names());
        out.push('\n');
        write_differences(&mut out, "", &expected, &again);
        let normal = parts::decode_match(&given, Version::Of10).map_err(failed)?;
        write_differences(
            &mut out,
            "normal: ",
            &again,
            &parts::encode_match10(&normal),
        );
        out.push('\n');
        print(&out)?;
    }
    Ok(())
}

/// `parse-ofp11-match`: matches of OpenFlow 1.1 in hexadecimal.
pub fn parse_match11(options: &Options) -> Result<(), Error> {
    let mut lines = FlowFile::open("-")?;
    while let Some((_, line)) = lines.next_line()? {
        let bytes = hex(&line)?;
        if bytes.len() != MATCH11_LEN {
            return Err(Error::InputSize {
                got: bytes.len(),
                wanted: MATCH11_LEN,
            });
        }
        let mut out = String::new();
        match parts::decode_match(&bytes, Version::Of11) {
            Ok(fields) => {
                matches::write(&mut out, &fields, &options.plain_names());
                out.push('\n');
                write_differences(&mut out, "", &bytes, &parts::encode_match11(&fields));
            }
            Err(error) => {
                let _ = writeln!(out, "bad ofp11_match: {}", error.error());
            }
        }
        out.push('\n');
        print(&out)?;
    }
    Ok(())
}

/// Where the VLAN is in a fixed match, and the bits of its wildcards that say it is not.
struct VlanPlace {
    name: &'static str,
    wildcards: usize,
    no_vid: u32,
    no_pcp: u32,
    vid: usize,
    pcp: usize,
}

const VLAN10: VlanPlace = VlanPlace {
    name: "OF1.0",
    wildcards: 0,
    no_vid: 1 << 1,
    no_pcp: 1 << 20,
    vid: 18,
    pcp: 20,
};
const VLAN11: VlanPlace = VlanPlace {
    name: "OF1.1",
    wildcards: 8,
    no_vid: 1 << 1,
    no_pcp: 1 << 2,
    vid: 36,
    pcp: 38,
};

impl VlanPlace {
    /// The VLAN in the bytes of a match, and whether each half is free.
    fn show(&self, bytes: &[u8]) -> String {
        let part = |at: usize, len: usize| {
            let bytes = bytes.get(at..at + len).unwrap_or(&[]);
            bytes.iter().fold(0u32, |n, b| n << 8 | u32::from(*b))
        };
        let wildcards = part(self.wildcards, 4);
        format!(
            "{}: {:04x}/{},{:02x}/{}",
            self.name,
            part(self.vid, 2),
            u8::from(wildcards & self.no_vid != 0),
            part(self.pcp, 1),
            u8::from(wildcards & self.no_pcp != 0),
        )
    }
}

/// `check-vlan TCI MASK`: a VLAN match in every form, and what is left of it.
pub fn check_vlan(args: &[String]) -> Result<(), Error> {
    let number = |text: &String| {
        u16::from_str_radix(text.trim_start_matches("0x"), 16)
            .map_err(|_| Error::NotANumber(text.clone()))
    };
    let [tci, mask] = args else { return Ok(()) };
    let (tci, mask) = (number(tci)?, number(mask)?);
    let mut fields = Match::new();
    fields.set(Field::VlanTci, tci.into(), mask.into());

    let mut out = String::new();
    matches::write(&mut out, &fields, &Names::none());
    let parsed = flow::parse_flow_mod(&out, FlowModCommand::Delete, &Names::none())?;
    let _ = writeln!(out, " -> {}", tci_and_mask(&parsed.value.fields));

    let as_nx = NxMatch {
        fields: fields.clone(),
        cookie: 0,
        cookie_mask: 0,
    };
    for (name, version) in [("NXM", Version::Of10), ("OXM", Version::Of12)] {
        let bytes = parts::encode_nx_match(&as_nx, version);
        let _ = write!(out, "{name}: ");
        nx_match::write(&mut out, &bytes);
        out.push_str(" -> ");
        match parts::decode_nx_match(&bytes, false) {
            Err(error) => out.push_str(error.error().name()),
            Ok(found) if version == Version::Of10 => out.push_str(&tci_and_mask(&found.fields)),
            Ok(found) => {
                let (tci, mask) = found.fields.get(Field::VlanTci).unwrap_or((0, 0));
                let _ = write!(out, "{:04x}/{:04x},", tci & 0x1fff, mask & 0x1fff);
                match tci & 0x1fff != 0 && mask >> 13 != 0 {
                    true => {
                        let _ = write!(out, "{:02}", tci >> 13);
                    }
                    false => out.push_str("--"),
                }
            }
        }
        out.push('\n');
    }

    let failed = |source| Error::Decode {
        target: "check-vlan".to_owned(),
        source,
    };
    let bytes = parts::encode_match10(&fields);
    let again = parts::decode_match(&bytes, Version::Of10).map_err(failed)?;
    let _ = writeln!(out, "{} -> {}", VLAN10.show(&bytes), tci_and_mask(&again));
    let bytes = parts::encode_match11(&fields);
    let again = parts::decode_match(&bytes, Version::Of11).map_err(failed)?;
    let _ = writeln!(out, "{} -> {}", VLAN11.show(&bytes), tci_and_mask(&again));
    print(&out)
}

fn tci_and_mask(fields: &Match) -> String {
    let (tci, mask) = fields.get(Field::VlanTci).unwrap_or((0, 0));
    format!("{tci:04x}/{mask:04x}")
}
