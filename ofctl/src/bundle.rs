//! bundle, and the commands about flows and groups with `--bundle`: messages that a switch carries
//! out all or not at all.
//!
//! The messages go out in one stream with a barrier behind them; when none was refused, the
//! bundle is committed, else discarded. What was refused is shown with the message that it is
//! about.
//!
//! Source: ovs-ofctl(8), "bundle" and `--bundle`; the texts are those of ovs-ofctl 3.1.

use std::collections::BTreeMap;

use openflow::codec::encode_bundle_add;
use openflow::message::{BundleControl, BundleControlKind, BundleFlags, ErrorMessage, Message};
use openflow::text::{Names, flow, group, message_bytes};
use openflow::{Version, VersionBitmap};

use crate::connection::{Connection, Received, WRITE_CHUNK, next_xid, reserve_xids};
use crate::error::Error;
use crate::flow_files::FlowFile;
use crate::flow_mods::warn_of_normalization;
use crate::groups;
use crate::lookup::{parse_with_names, skip_xids};
use crate::options::Options;
use crate::spool::Spool;

const BUNDLE_ID: u32 = 0;
const FLAGS: BundleFlags = BundleFlags(BundleFlags::ATOMIC.0 | BundleFlags::ORDERED.0);

/// The versions for bundles: those of the user that have them, or 1.4.
pub fn versions(allowed: VersionBitmap) -> VersionBitmap {
    let with_bundles: VersionBitmap = [Version::Of13, Version::Of14, Version::Of15]
        .into_iter()
        .collect();
    match allowed.intersect(with_bundles) {
        none if none.is_empty() => [Version::Of14].into_iter().collect(),
        some => some,
    }
}

/// `bundle`: each line of the file is a kind of message and then the message.
pub async fn bundle(options: &Options, args: &[String]) -> Result<(), Error> {
    let [target, name] = args else { return Ok(()) };
    let mut file = FlowFile::open(name)?;
    let mut lines = Vec::new();
    while let Some(line) = file.next_line()? {
        lines.push(line);
    }
    skip_xids(options);
    let mut connection = Connection::open(target, versions(options.versions)).await?;
    let mut names = None;
    let mut spool = Spool::new(connection.dialect);
    for (line, text) in &lines {
        let in_file = |e| match e {
            Error::Text(source) => Error::File {
                file: file.name().to_owned(),
                line: *line,
                source,
            },
            Error::Group(source) => Error::GroupFile {
                file: file.name().to_owned(),
                line: *line,
                source,
            },
            other => other,
        };
        let text = text.trim_start();
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let message = if "flow".starts_with(word) {
            let parsed = parse_with_names(&mut connection, options, &mut names, |names| {
                flow::parse_flow_mod_line(rest, names)
            });
            let parsed = parsed.await.map_err(in_file)?;
            warn_of_normalization(&parsed);
            Message::FlowMod(parsed.value)
        } else if "group".starts_with(word) {
            let parsed = groups::parse(&mut connection, options, &mut names, |names| {
                group::parse_line(rest, names)
            });
            let parsed = parsed.await.map_err(in_file)?;
            groups::check_bundled(&connection, options, &parsed)?;
            Message::GroupMod(parsed)
        } else if "packet-out".starts_with(word) {
            let parsed = parse_with_names(&mut connection, options, &mut names, |names| {
                flow::parse_packet_out(rest.trim_start(), names)
            });
            Message::PacketOut(parsed.await.map_err(in_file)?)
        } else {
            return Err(Error::BundleMessage {
                file: file.name().to_owned(),
                line: *line,
                word: word.to_owned(),
            });
        };
        spool.push_message(*line, &message, file.name())?;
    }
    let names = names.unwrap_or_default();
    send(&mut connection, options, spool, &names).await
}

/// Sends messages as one bundle and commits it.
pub async fn send(
    connection: &mut Connection,
    options: &Options,
    mut spool: Spool,
    names: &Names,
) -> Result<(), Error> {
    let first = reserve_xids(u32::try_from(spool.len()).unwrap_or(u32::MAX));
    let mut messages = spool.messages()?;
    let next = || messages.next().map_err(Error::Spool);
    let errors = carry(connection, first, next).await?;
    show(connection, options, spool, first, &errors, names)
}

/// As [`send`], but of messages that `next` takes from where they are, puts into the spool and
/// returns; their transaction ids from `first` on are reserved.
pub async fn send_while_read(
    connection: &mut Connection,
    options: &Options,
    first: u32,
    mut next: impl FnMut(&mut Spool) -> Result<Option<Vec<u8>>, Error>,
    names: &Names,
) -> Result<(), Error> {
    let mut spool = Spool::new(connection.dialect);
    let errors = carry(connection, first, || next(&mut spool)).await?;
    show(connection, options, spool, first, &errors, names)
}

/// Sends a bundle of the messages that `next` gives and commits it unless one was refused; returns
/// the errors that came.
///
/// Where `next` fails there is no commit, and the bundle goes with the connection.
async fn carry(
    connection: &mut Connection,
    first: u32,
    mut next: impl FnMut() -> Result<Option<Vec<u8>>, Error>,
) -> Result<Vec<Received>, Error> {
    let mut errors = Vec::new();
    control(connection, BundleControlKind::OpenRequest, &mut errors).await?;
    if !errors.is_empty() {
        return Ok(errors);
    }
    let version = connection.version();
    let mut xid = first;
    let chunks = || {
        let mut chunk = Vec::with_capacity(WRITE_CHUNK + WRITE_CHUNK / 4);
        while chunk.len() < WRITE_CHUNK {
            let Some(message) = next()? else { break };
            chunk.extend(encode_bundle_add(BUNDLE_ID, FLAGS, &message, version, xid)?);
            xid = xid.wrapping_add(1);
        }
        Ok(chunk)
    };
    connection
        .pipeline(chunks, |received| errors.push(received))
        .await?;
    let end = match errors.is_empty() {
        true => BundleControlKind::CommitRequest,
        false => BundleControlKind::DiscardRequest,
    };
    control(connection, end, &mut errors).await?;
    Ok(errors)
}

/// Fails with `errors` and what they are about, if there are any.
fn show(
    connection: &Connection,
    options: &Options,
    mut spool: Spool,
    first: u32,
    errors: &[Received],
    names: &Names,
) -> Result<(), Error> {
    if errors.is_empty() {
        return Ok(());
    }
    let sent = those_refused(&mut spool, first, errors)?;
    let mut shown = String::new();
    for error in errors {
        write_error(&mut shown, error, &sent, connection, names, options);
    }
    Err(Error::BundleRefused {
        shown,
        method: connection.method.clone(),
    })
}

/// The messages that `errors` are about, as they were sent, by transaction id.
fn those_refused(
    spool: &mut Spool,
    first: u32,
    errors: &[Received],
) -> Result<BTreeMap<u32, Vec<u8>>, Error> {
    const XID: std::ops::Range<usize> = 4..8;
    let mut sent: BTreeMap<u32, Vec<u8>> = errors
        .iter()
        .map(|received| (received.header.xid, Vec::new()))
        .collect();
    let mut messages = spool.messages()?;
    let mut xid = first;
    while let Some(mut message) = messages.next().map_err(Error::Spool)? {
        if let Some(wanted) = sent.get_mut(&xid) {
            if let Some(field) = message.get_mut(XID) {
                field.copy_from_slice(&xid.to_be_bytes());
            }
            *wanted = message;
        }
        xid = xid.wrapping_add(1);
    }
    sent.retain(|_, message| !message.is_empty());
    Ok(sent)
}

/// Sends a bundle control message and waits for its answer; errors that come until then are
/// added to `errors`, the answer too if it is one.
async fn control(
    connection: &mut Connection,
    kind: BundleControlKind,
    errors: &mut Vec<Received>,
) -> Result<(), Error> {
    let xid = next_xid();
    let request = Message::BundleControl(BundleControl {
        bundle_id: BUNDLE_ID,
        kind,
        flags: FLAGS,
    });
    connection.send(&request, xid).await?;
    loop {
        let received = connection.recv().await?;
        if connection.answered_echo(&received).await? {
            continue;
        }
        let is_answer = received.header.xid == xid;
        if received.is_error() {
            errors.push(received);
        }
        if is_answer {
            return Ok(());
        }
    }
}

/// `Error NAME for: ` and the message that it is about: the one in the bundle, if it is one.
fn write_error(
    out: &mut String,
    received: &Received,
    sent: &BTreeMap<u32, Vec<u8>>,
    connection: &Connection,
    names: &Names,
    options: &Options,
) {
    let known = received.decode(connection).ok().map(|d| d.message);
    let Some(Message::Error(ErrorMessage::Known { error, data })) = known else {
        out.push_str(&received.print(names, options.verbosity(2)));
        return;
    };
    let about = match sent.get(&received.header.xid) {
        Some(message) => message.as_slice(),
        None => &data,
    };
    out.push_str(&format!("Error {error} for: "));
    out.push_str(&message_bytes::print(about, names, options.verbosity(1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_have_bundles() {
        let set = |v: &[Version]| v.iter().copied().collect::<VersionBitmap>();
        let both = set(&[Version::Of10, Version::Of13]);
        assert_eq!(versions(both), set(&[Version::Of13]));
        assert_eq!(versions(set(&[Version::Of10])), set(&[Version::Of14]));
    }
}
