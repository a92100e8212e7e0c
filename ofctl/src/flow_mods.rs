//! add-flow, add-flows, mod-flows, del-flows and packet-out.
//!
//! A file is read and checked whole before the first flow is sent ([`crate::spool`]), unless a
//! bundle sees to it that all or nothing is done; then all its flows go out in one stream with a
//! single barrier behind them, so that the switch is never waited for in between. Errors that come back are matched with their lines by transaction id.

use std::io::{self, Read};

use openflow::codec::{EncodeError, encode};
use openflow::message::{FlowFormat, FlowMod, FlowModCommand, Message};
use openflow::text::flow::{self, Parsed};
use openflow::text::{self, Names, matches};
use openflow::{Match, Version, VersionBitmap};

use crate::bundle;
use crate::connection::{Connection, Received, WRITE_CHUNK, next_xid, reserve_xids};
use crate::error::Error;
use crate::flow_files::FlowFile;
use crate::lookup::{self, parse_knowing, parse_with_names, skip_xids};
use crate::options::Options;
use crate::output::Progress;
use crate::protocol;
use crate::spool::{Spool, is_nxm};

/// Refused flows that are shown one by one.
const MAX_SHOWN: usize = 100;

/// `add-flow`, `mod-flows` or `del-flows` with a flow on the command line, or `-` for a file on
/// standard input.
pub async fn one(options: &Options, args: &[String], command: FlowModCommand) -> Result<(), Error> {
    let [target, rest @ ..] = args else {
        return Ok(());
    };
    let flow = rest.first().map_or("", String::as_str);
    if flow == "-" {
        return file(options, target, flow, command).await;
    }
    skip_xids(options);
    let mut connection = open(options, target, options.bundle_versions()).await?;
    let mut names = None;
    let parsed = parse_with_names(&mut connection, options, &mut names, |names| {
        flow::parse_flow_mod(flow, command, names)
    })
    .await?;
    warn_of_normalization(&parsed);
    let fm = parsed.value;
    prepare(&mut connection, options, fm.table_id.is_some()).await?;
    let message = Message::FlowMod(fm);
    if options.bundle {
        let names = names.unwrap_or_default();
        let mut spool = Spool::new(connection.dialect);
        spool.push_message(0, &message, flow)?;
        return bundle::send(&mut connection, options, spool, &names).await;
    }
    let xid = next_xid();
    let bytes = encode(&message, connection.dialect, xid)
        .map_err(|error| not_expressible(&message, options, error))?;
    enable_nxm(&mut connection, options, &bytes, has_table(&message)).await?;
    connection.send_bytes(&bytes).await?;
    match connection.sync(xid).await? {
        None => Ok(()),
        Some(error) => {
            let names = names.unwrap_or_default();
            Err(Error::Refused(error.print(&names, options.verbosity(2))))
        }
    }
}

/// A connection that carries flows in the formats that the user allows.
async fn open(
    options: &Options,
    target: &str,
    versions: VersionBitmap,
) -> Result<Connection, Error> {
    let mut connection = Connection::open(target, versions).await?;
    connection.dialect.flow_format = options.formats.flow_format();
    Ok(connection)
}

/// `add-flows` with a file.
pub async fn add_flows(options: &Options, args: &[String]) -> Result<(), Error> {
    match args {
        [target, name] => file(options, target, name, FlowModCommand::Add).await,
        _ => Ok(()),
    }
}

/// Sends the flows of a file. With `Add`, each line may begin with a command of its own.
async fn file(
    options: &Options,
    target: &str,
    name: &str,
    command: FlowModCommand,
) -> Result<(), Error> {
    if options.bundle {
        return bundled_file(options, target, name, command).await;
    }
    let mut file = FlowFile::open_whole(name)?;
    skip_xids(options);
    let mut connection = open(options, target, options.versions).await?;
    let mut names = None;
    let mut spool = Spool::new(connection.dialect);
    let mut progress = Progress::new("checked");
    while let Some((line, text)) = file.next_line()? {
        let parse = |names: &Names| parse_line(&text, command, names);
        let parsed = parse_with_names(&mut connection, options, &mut names, parse)
            .await
            .map_err(|e| match e {
                Error::Text(source) => Error::File {
                    file: file.name().to_owned(),
                    line,
                    source,
                },
                other => other,
            })?;
        warn_of_normalization(&parsed);
        spool.push(line, parsed.value, file.name())?;
        progress.show(spool.len());
    }
    drop(progress);
    send(
        &mut connection,
        options,
        spool,
        file.name(),
        &names.unwrap_or_default(),
    )
    .await
}

fn parse_line(
    text: &str,
    command: FlowModCommand,
    names: &Names,
) -> Result<Parsed<FlowMod>, text::Error> {
    match command {
        FlowModCommand::Add => flow::parse_flow_mod_line(text, names),
        _ => flow::parse_flow_mod(text, command, names),
    }
}

/// Sends the flows of a file as one bundle.
///
/// The switch gets the first while the last are still read: a line that is wrong ends it without
/// the commit, and then nothing has happened.
async fn bundled_file(
    options: &Options,
    target: &str,
    name: &str,
    command: FlowModCommand,
) -> Result<(), Error> {
    let (mut file, count) = FlowFile::open_counted(name)?;
    skip_xids(options);
    let mut connection = Connection::open(target, options.bundle_versions()).await?;
    let first = reserve_xids(u32::try_from(count).unwrap_or(u32::MAX));
    let names = match options.accepts_names() {
        true => lookup::names(&mut connection).await?,
        false => Names::none(),
    };
    prepare(&mut connection, options, false).await?;
    let mut progress = Progress::new("sent");
    let next = |spool: &mut Spool| {
        let Some((line, text)) = file.next_line()? else {
            return Ok(None);
        };
        if spool.len() >= count {
            return Err(Error::ReadFile {
                file: file.name().to_owned(),
                source: io::Error::other("it grew meanwhile"),
            });
        }
        let parse = |names: &Names| parse_line(&text, command, names);
        let parsed = parse_knowing(&names, parse).map_err(|source| Error::File {
            file: file.name().to_owned(),
            line,
            source,
        })?;
        warn_of_normalization(&parsed);
        let message = Message::FlowMod(parsed.value);
        let bytes = spool.push_message(line, &message, file.name())?;
        progress.show(spool.len());
        Ok(Some(bytes))
    };
    bundle::send_while_read(&mut connection, options, first, next, &names).await
}

/// Sends flow-mods in one stream; `file` and their lines name those that the switch refuses.
pub async fn send_all(
    connection: &mut Connection,
    options: &Options,
    flows: Vec<(usize, FlowMod)>,
    file: &str,
    names: &Names,
) -> Result<(), Error> {
    let mut spool = Spool::new(connection.dialect);
    for (line, flow) in flows {
        spool.push(line, flow, file)?;
    }
    send(connection, options, spool, file, names).await
}

async fn send(
    connection: &mut Connection,
    options: &Options,
    mut spool: Spool,
    file: &str,
    names: &Names,
) -> Result<(), Error> {
    prepare(connection, options, spool.has_table).await?;
    if options.bundle {
        return bundle::send(connection, options, spool, names).await;
    }
    if spool.has_nxm {
        allow_nxm(connection, options, spool.has_table).await?;
    }
    let mut shown = String::new();
    let mut refused = 0usize;
    let verbosity = options.verbosity(2);
    let lines = spool.lines();
    let reader = spool.reader()?;
    let chunks = || {
        let mut chunk = Vec::new();
        let mut reader = reader.by_ref().take(WRITE_CHUNK as u64);
        reader.read_to_end(&mut chunk).map_err(Error::Spool)?;
        Ok(chunk)
    };
    connection
        .pipeline(chunks, |received: Received| {
            refused += 1;
            if refused > MAX_SHOWN {
                return;
            }
            if let Some(line) = lines.of(received.header.xid) {
                let program = daemon::dirs::program_name();
                shown.push_str(&format!("{program}: {file}:{line}: "));
            }
            shown.push_str(&received.print(names, verbosity));
        })
        .await?;
    if refused == 0 {
        return Ok(());
    }
    if refused > MAX_SHOWN {
        shown.push_str(&format!("(and {} more errors)\n", refused - MAX_SHOWN));
    }
    Err(Error::RefusedLines(shown))
}

/// Which formats would have done where the one in use cannot say a flow.
fn not_expressible(message: &Message, options: &Options, error: EncodeError) -> Error {
    let Message::FlowMod(fm) = message else {
        return error.into();
    };
    let usable = protocol::usable_for(fm);
    if usable.is_empty() {
        return error.into();
    }
    let allowed = options.formats.of_any(options.bundle_versions());
    Error::NoUsableFormat {
        usable: usable.to_string(),
        allowed: allowed.to_string(),
    }
}

fn has_table(message: &Message) -> bool {
    matches!(message, Message::FlowMod(fm) if fm.table_id.is_some())
}

/// Makes a 1.0 connection carry table numbers when they are needed.
async fn prepare(
    connection: &mut Connection,
    options: &Options,
    with_table: bool,
) -> Result<(), Error> {
    let version = connection.version();
    let allowed = options.formats.of(version);
    if allowed.is_empty() {
        return Err(Error::NoProtocol {
            versions: protocol::version_names(options.versions),
            formats: options.formats.to_string(),
        });
    }
    if version != Version::Of10 || !with_table {
        return Ok(());
    }
    if !allowed.has_table(false) && !allowed.has_table(true) {
        return Err(Error::NoUsableFormat {
            usable: protocol::usable(false, true).to_string(),
            allowed: allowed.to_string(),
        });
    }
    let refused = connection
        .transact_noreply(&Message::SetFlowModTableId(true))
        .await?;
    if refused.is_some() {
        return Err(Error::FormatRefused(connection.target.clone()));
    }
    connection.dialect.flow_mod_table_id = true;
    Ok(())
}

async fn enable_nxm(
    connection: &mut Connection,
    options: &Options,
    bytes: &[u8],
    with_table: bool,
) -> Result<(), Error> {
    if is_nxm(connection.version(), bytes) {
        allow_nxm(connection, options, with_table).await?;
    }
    Ok(())
}

/// Tells a 1.0 switch that Nicira's flow format is coming.
async fn allow_nxm(
    connection: &mut Connection,
    options: &Options,
    with_table: bool,
) -> Result<(), Error> {
    let allowed = options.formats.of(Version::Of10);
    if !allowed.has_nxm() || with_table && !allowed.has_table(true) {
        return Err(Error::NoUsableFormat {
            usable: protocol::usable(true, with_table).to_string(),
            allowed: allowed.to_string(),
        });
    }
    let refused = connection
        .transact_noreply(&Message::SetFlowFormat(FlowFormat::Nxm))
        .await?;
    match refused {
        Some(_) => Err(Error::FormatRefused(connection.target.clone())),
        None => Ok(()),
    }
}

/// Says what was dropped of a match because it has no meaning there.
pub fn warn_of_normalization<T: HasMatch>(parsed: &Parsed<T>) {
    let Some(before) = &parsed.before else { return };
    let text = |m: &Match| {
        let mut s = String::new();
        matches::write(&mut s, m, &Names::none());
        s
    };
    tracing::info!(target: "ofp_match", "normalization changed ofp_match, details:");
    tracing::info!(target: "ofp_match", " pre: {}", text(before));
    tracing::info!(target: "ofp_match", "post: {}", text(parsed.value.fields()));
}

/// What a match can be dropped from.
pub trait HasMatch {
    fn fields(&self) -> &Match;
}

impl HasMatch for FlowMod {
    fn fields(&self) -> &Match {
        &self.fields
    }
}

impl HasMatch for openflow::message::FlowStatsRequest {
    fn fields(&self) -> &Match {
        &self.fields
    }
}

/// `packet-out`.
pub async fn packet_out(options: &Options, args: &[String]) -> Result<(), Error> {
    let [target, text] = args else { return Ok(()) };
    skip_xids(options);
    let mut connection = Connection::open(target, options.versions).await?;
    let mut names = None;
    let packet = parse_with_names(&mut connection, options, &mut names, |names| {
        flow::parse_packet_out(text, names)
    })
    .await?;
    match connection
        .transact_noreply(&Message::PacketOut(packet))
        .await?
    {
        None => Ok(()),
        Some(error) => {
            let names = names.unwrap_or_default();
            Err(Error::Refused(error.print(&names, options.verbosity(2))))
        }
    }
}
