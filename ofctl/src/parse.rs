//! Commands that talk to no switch: parse-flow, parse-flows, parse-group, ofp-print, ofp-parse.

use std::io::{BufRead, Read};

use openflow::codec::{Dialect, Header, encode};
use openflow::message::{FlowMod, FlowModCommand, GroupCommand, Message};
use openflow::text::{Names, flow, group, message_bytes, value};

use crate::connection::next_xid;
use crate::error::Error;
use crate::flow_files::FlowFile;
use crate::flow_mods::warn_of_normalization;
use crate::options::Options;
use crate::output::print;
use crate::protocol::{self, Formats};

/// Longest line of hexadecimal digits: the longest message, generously spaced.
const MAX_HEX: u64 = 1 << 20;

/// `parse-flow`: shows what a flow would be sent as.
pub fn parse_flow(options: &Options, args: &[String]) -> Result<(), Error> {
    let text = args.first().map_or("", String::as_str);
    let parsed = flow::parse_flow_mod(text, FlowModCommand::Add, &Names::none())?;
    warn_of_normalization(&parsed);
    show(options, vec![parsed.value])
}

/// `parse-flows`: the same for a file.
pub fn parse_flows(options: &Options, args: &[String]) -> Result<(), Error> {
    let name = args.first().map_or("-", String::as_str);
    let mut file = FlowFile::open(name)?;
    let mut flows = Vec::new();
    while let Some((line, text)) = file.next_line()? {
        let parsed =
            flow::parse_flow_mod_line(&text, &Names::none()).map_err(|source| Error::File {
                file: file.name().to_owned(),
                line,
                source,
            })?;
        warn_of_normalization(&parsed);
        flows.push(parsed.value);
    }
    show(options, flows)
}

/// Encodes flows in the first format that is allowed and prints the messages.
fn show(options: &Options, flows: Vec<FlowMod>) -> Result<(), Error> {
    let with_table = flows.iter().any(|fm| fm.table_id.is_some());
    let usable = flows
        .iter()
        .map(protocol::usable_for)
        .fold(protocol::usable(false, with_table), |a, b| a.intersect(b));
    let chosen = usable.intersect(options.formats.of_any(options.versions));
    print(&format!("usable protocols: {usable}\n"))?;
    let (Some(name), Some(version)) = (chosen.first(), chosen.first_version()) else {
        return Err(Error::NoUsableProtocol);
    };
    print(&format!("chosen protocol: {name}\n"))?;
    let dialect = Dialect {
        flow_mod_table_id: chosen.names_tables(),
        flow_format: chosen.flow_format(),
        ..Dialect::from(version)
    };
    for fm in flows {
        let bytes = encode(&Message::FlowMod(fm), dialect, next_xid())?;
        print(&message_bytes::print(
            &bytes,
            &options.plain_names(),
            options.verbosity(1),
        ))?;
    }
    Ok(())
}

/// `parse-group`: shows what a group would be sent as.
pub fn parse_group(options: &Options, args: &[String]) -> Result<(), Error> {
    let text = args.first().map_or("", String::as_str);
    let group_mod = group::parse(text, GroupCommand::Add, &Names::none())?;
    let mut usable = Formats::ANY;
    for bucket in &group_mod.buckets {
        let flow = FlowMod {
            actions: bucket.actions.clone(),
            ..FlowMod::add()
        };
        usable = usable.intersect(protocol::usable_for(&flow));
    }
    let chosen = usable.intersect(options.formats.of_any(options.versions));
    print(&format!("usable protocols: {usable}\n"))?;
    let Some(version) = chosen.first_version() else {
        return Err(Error::NoUsableProtocol);
    };
    print(&format!("chosen version: {}\n", version.name()))?;
    let bytes = encode(
        &Message::GroupMod(group_mod),
        Dialect::from(version),
        next_xid(),
    )?;
    print(&message_bytes::print(
        &bytes,
        &options.plain_names(),
        options.verbosity(1),
    ))
}

/// `ofp-print HEX [VERBOSITY]`, or `ofp-print -` with a line of standard input.
pub fn ofp_print(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut text = args.first().cloned().unwrap_or_default();
    if text == "-" {
        text.clear();
        let read = std::io::stdin().lock().take(MAX_HEX).read_line(&mut text);
        if !read.is_ok_and(|n| n > 0) {
            return Err(Error::Stdin);
        }
    }
    text.retain(|c| !c.is_whitespace());
    let bytes = value::hex_bytes(&text).ok_or(Error::BadHex)?;
    let verbosity = match args.get(1) {
        Some(text) => text.parse().map_err(|_| Error::NotANumber(text.clone()))?,
        None => options.verbosity(2),
    };
    print(&message_bytes::print(
        &bytes,
        &options.plain_names(),
        verbosity,
    ))
}

/// `ofp-parse FILE`: messages as they came over a connection.
pub fn ofp_parse(options: &Options, args: &[String]) -> Result<(), Error> {
    let name = args.first().map_or("-", String::as_str);
    let mut reader: Box<dyn Read> = if name == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(name).map_err(|source| Error::OpenFile {
            file: name.to_owned(),
            source,
        })?)
    };
    loop {
        let mut head = [0u8; 8];
        match fill(&mut reader, &mut head, name)? {
            0 => return Ok(()),
            8 => {}
            _ => return Err(Error::EofMidMessage(name.to_owned())),
        }
        let len = Header::decode(&head).map_or(8, |h| usize::from(h.len));
        let mut bytes = head.to_vec();
        bytes.resize(len.max(8), 0);
        let body = bytes.get_mut(8..).unwrap_or(&mut []);
        if fill(&mut reader, body, name)? != body.len() {
            return Err(Error::EofMidMessage(name.to_owned()));
        }
        print(&message_bytes::print(
            &bytes,
            &options.plain_names(),
            options.verbosity(2),
        ))?;
    }
}

/// Reads until `buffer` is full or the input ends; says how much there was.
fn fill(reader: &mut dyn Read, buffer: &mut [u8], name: &str) -> Result<usize, Error> {
    let mut got = 0;
    while let Some(free) = buffer.get_mut(got..).filter(|f| !f.is_empty()) {
        match reader.read(free) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(Error::ReadFile {
                    file: name.to_owned(),
                    source,
                });
            }
        }
    }
    Ok(got)
}
