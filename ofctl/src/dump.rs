//! dump-flows and dump-aggregate.

use openflow::Version;
use openflow::message::{Flavor, FlowFormat, FlowStats, FlowStatsRequest, Message};
use openflow::text::{Names, flow, flow_print};

use crate::connection::{Connection, next_xid};
use crate::error::Error;
use crate::flow_mods::warn_of_normalization;
use crate::lookup::{names_to_show, parse_with_names, skip_xids};
use crate::options::Options;
use crate::output::print;
use crate::protocol;

/// Opens a connection that can tell all about flows, and the filter in `args`.
async fn open(options: &Options, args: &[String]) -> Result<(Connection, FlowStatsRequest), Error> {
    let target = args.first().map_or("", String::as_str);
    if args.len() > 1 {
        skip_xids(options);
    }
    let mut connection = Connection::open(target, options.versions).await?;
    let mut known = None;
    let text = args.get(1).map_or("", String::as_str);
    let parsed = parse_with_names(&mut connection, options, &mut known, |names| {
        flow::parse_stats_request(text, names)
    })
    .await?;
    warn_of_normalization(&parsed);
    let mut request = parsed.value;
    request.flavor = choose_flavor(&mut connection, options).await?;
    Ok((connection, request))
}

/// The richest flow format that the user allows and the switch takes.
pub async fn choose_flavor(
    connection: &mut Connection,
    options: &Options,
) -> Result<Flavor, Error> {
    let allowed = options.formats.of(connection.version());
    if allowed.is_empty() {
        return Err(Error::NoProtocol {
            versions: protocol::version_names(options.versions),
            formats: options.formats.to_string(),
        });
    }
    if connection.version() != Version::Of10 {
        return Ok(Flavor::Standard);
    }
    if allowed.has_nxm() {
        let request = Message::SetFlowFormat(FlowFormat::Nxm);
        match connection.transact_noreply(&request).await? {
            None => return Ok(Flavor::Nicira),
            Some(_) if allowed.has_openflow10() => {}
            Some(_) => return Err(Error::FormatRefused(connection.target.clone())),
        }
    }
    Ok(Flavor::Standard)
}

/// `dump-flows`: the messages as they come, or only the flows when they are sorted or shown in
/// another form.
pub async fn flows(options: &Options, args: &[String]) -> Result<(), Error> {
    let (mut connection, request) = open(options, args).await?;
    let plain = options.sort.is_empty() && options.stats && !options.shows_names();
    if plain {
        return stream(
            &mut connection,
            &Message::FlowStatsRequest(request),
            options,
        )
        .await;
    }
    let names = names_to_show(&mut connection, options).await?;
    let mut flows = collect(&mut connection, request).await?;
    if !options.sort.is_empty() {
        flows.sort_by(|a, b| flow_print::compare(a, b, &options.sort));
    }
    let mut out = String::new();
    for flow in &mut flows {
        let version = connection.version();
        // Ages that Nicira's extension adds are shown with the messages only.
        if version < Version::Of15 {
            flow.idle_age = None;
            flow.hard_age = None;
        }
        flow_print::write_flow_stats(&mut out, flow, version, &names, options.stats);
        out.push('\n');
        if out.len() > 1 << 16 {
            print(&out)?;
            out.clear();
        }
    }
    print(&out)
}

/// `dump-aggregate`.
pub async fn aggregate(options: &Options, args: &[String]) -> Result<(), Error> {
    let (mut connection, request) = open(options, args).await?;
    stream(
        &mut connection,
        &Message::AggregateRequest(request),
        options,
    )
    .await
}

/// As [`stream`], where an error too is an answer: ovs-ofctl prints it as it prints any reply.
pub async fn show(
    connection: &mut Connection,
    request: &Message,
    options: &Options,
) -> Result<(), Error> {
    match stream(connection, request, options).await {
        Err(Error::Refused(text)) => print(&text),
        other => other,
    }
}

/// Sends a request and prints every part of the reply, with names when they are wanted.
pub async fn stream(
    connection: &mut Connection,
    request: &Message,
    options: &Options,
) -> Result<(), Error> {
    let xid = next_xid();
    let names = names_to_show(connection, options).await?;
    stream_with(connection, request, xid, &names, options).await
}

/// As [`stream`], with these names.
pub async fn stream_with(
    connection: &mut Connection,
    request: &Message,
    xid: u32,
    names: &Names,
    options: &Options,
) -> Result<(), Error> {
    connection.send(request, xid).await?;
    loop {
        let received = connection.recv_xid(xid).await?;
        let text = received.print(names, options.verbosity(1));
        if received.is_error() {
            return Err(Error::Refused(text));
        }
        print(&text)?;
        if !received.has_more() {
            return Ok(());
        }
    }
}

/// All flows that a request asks for.
pub async fn collect(
    connection: &mut Connection,
    request: FlowStatsRequest,
) -> Result<Vec<FlowStats>, Error> {
    let xid = next_xid();
    connection
        .send(&Message::FlowStatsRequest(request), xid)
        .await?;
    let mut flows = Vec::new();
    loop {
        let received = connection.recv_xid(xid).await?;
        if received.is_error() {
            return Err(Error::Refused(received.print(&Names::none(), 2)));
        }
        let decoded = received.decode(connection)?;
        match decoded.message {
            Message::FlowStatsReply(reply) => flows.extend(reply.flows),
            other => {
                return Err(Error::UnexpectedReply {
                    target: connection.target.clone(),
                    asked: "a flow statistics request",
                    got: other.name(),
                });
            }
        }
        if !decoded.more {
            return Ok(flows);
        }
    }
}
