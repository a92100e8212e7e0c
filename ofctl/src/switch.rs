//! Commands about the switch and its ports: show, dump-desc, dump-tables, dump-ports and so on.

use std::time::Instant;

use openflow::message::{
    FragHandling, Message, PortConfig, PortFeatures, PortMod, QUEUE_ALL, QueueStatsRequest,
    SwitchConfig, TableFeatures,
};
use openflow::text::Names;
use openflow::text::message::{self, Style};
use openflow::{OfPort, Version};

use crate::connection::{Connection, next_xid, reserve_xids};
use crate::dump::{self, stream, stream_with};
use crate::error::Error;
use crate::lookup;
use crate::options::Options;
use crate::output::print;

fn target(args: &[String]) -> &str {
    args.first().map_or("", String::as_str)
}

/// Asks one thing of the switch and prints the reply.
pub async fn ask(options: &Options, args: &[String], request: Message) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    stream(&mut connection, &request, options).await
}

/// The same, where an error too is an answer: what ovs-ofctl prints of it is no failure.
pub async fn ask_about_ipfix(
    options: &Options,
    args: &[String],
    request: Message,
) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    dump::show(&mut connection, &request, options).await
}

/// `show`: features, ports and configuration.
pub async fn show(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    let mut requests = vec![Message::FeaturesRequest];
    // Earlier versions have the ports among the features.
    if connection.version() >= Version::Of13 {
        requests.push(Message::PortDescRequest { port: OfPort::ANY });
    }
    // Ports are shown with number and name anyway.
    let names = options.plain_names();
    for request in &requests {
        stream_with(&mut connection, request, next_xid(), &names, options).await?;
    }
    // The number that ovs-ofctl spends on a second connection.
    let _ = next_xid();
    let request = Message::GetConfigRequest;
    stream_with(&mut connection, &request, next_xid(), &names, options).await
}

/// `dump-table-features`: all tables at once, without the names of the messages.
pub async fn dump_table_features(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    if connection.version() < Version::Of13 {
        return Err(Error::NeedsVersion {
            command: "dump-table-features",
            version: Version::Of13,
        });
    }
    let tables = table_features(&mut connection).await?;
    let mut out = String::new();
    let names = options.plain_names();
    let style = Style {
        version: connection.version(),
        names: &names,
        verbosity: options.verbosity(1),
    };
    message::write_body(&mut out, &Message::TableFeaturesReply(tables), style);
    // An empty line ends them.
    out.push('\n');
    print(out.strip_prefix('\n').unwrap_or(&out))
}

/// What each table can do.
pub async fn table_features(connection: &mut Connection) -> Result<Vec<TableFeatures>, Error> {
    let xid = next_xid();
    let request = Message::TableFeaturesRequest(Vec::new());
    connection.send(&request, xid).await?;
    let mut tables = Vec::new();
    loop {
        let received = connection.recv_xid(xid).await?;
        if received.is_error() {
            return Err(Error::Refused(received.print(&Names::none(), 2)));
        }
        let decoded = received.decode(connection)?;
        match decoded.message {
            Message::TableFeaturesReply(part) => tables.extend(part),
            other => {
                return Err(Error::UnexpectedReply {
                    target: connection.target.clone(),
                    asked: "a table features request",
                    got: other.name(),
                });
            }
        }
        if !decoded.more {
            return Ok(tables);
        }
    }
}

/// `dump-ports`, of one port or all.
pub async fn dump_ports(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    let port = match args.get(1) {
        Some(text) => lookup::port(&mut connection, options, text).await?,
        None => OfPort::ANY,
    };
    let request = Message::PortStatsRequest { port };
    stream(&mut connection, &request, options).await
}

/// `dump-ports-desc`, of one port or all; before 1.5 a switch always lists all.
pub async fn dump_ports_desc(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    let port = match args.get(1) {
        Some(text) => lookup::port(&mut connection, options, text).await?,
        None => OfPort::ANY,
    };
    let request = Message::PortDescRequest { port };
    stream(&mut connection, &request, options).await
}

/// `queue-stats`, of one queue or all.
pub async fn queue_stats(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    let port = match args.get(1) {
        Some(text) if !text.eq_ignore_ascii_case("all") => {
            lookup::port(&mut connection, options, text).await?
        }
        _ => OfPort::ANY,
    };
    let queue = match args.get(2) {
        Some(text) if !text.eq_ignore_ascii_case("all") => number(text)?,
        _ => QUEUE_ALL,
    };
    let request = Message::QueueStatsRequest(QueueStatsRequest { port, queue });
    dump::show(&mut connection, &request, options).await
}

/// `queue-get-config`, of one port or all, and of one queue or all; 1.0 knows one port at a time,
/// and before 1.4 there are only all queues.
pub async fn queue_get_config(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    let ports = match args.get(1) {
        Some(text) if !text.eq_ignore_ascii_case("any") => {
            vec![lookup::port(&mut connection, options, text).await?]
        }
        _ if connection.version() != Version::Of10 => vec![OfPort::ANY],
        _ => {
            reserve_xids(1);
            let all = lookup::ports(&mut connection).await?;
            let mut numbers: Vec<OfPort> = all.iter().map(|p| p.port).collect();
            numbers.retain(|p| *p <= OfPort::MAX);
            numbers.sort();
            numbers
        }
    };
    let all = |text: &str| ["all", "any"].iter().any(|w| text.eq_ignore_ascii_case(w));
    let queue = match args.get(2) {
        Some(text) if !all(text) => number(text)?,
        _ => QUEUE_ALL,
    };
    for port in ports {
        let request = Message::QueueGetConfigRequest { port, queue };
        dump::show(&mut connection, &request, options).await?;
    }
    Ok(())
}

/// `mod-port`.
pub async fn mod_port(options: &Options, args: &[String]) -> Result<(), Error> {
    let [_, text, action] = args else {
        return Ok(());
    };
    let (mask, config) = port_action(action)?;
    let mut connection = Connection::open(target(args), options.versions).await?;
    let known = Names::none();
    let ports = lookup::ports(&mut connection).await?;
    let found = match known.port(text) {
        Some(number) => ports.into_iter().find(|p| p.port == number),
        None if options.accepts_names() => ports.into_iter().find(|p| p.name == *text),
        None => None,
    };
    let port = found.ok_or_else(|| Error::NoPort {
        target: connection.target.clone(),
        port: text.clone(),
    })?;
    let port_mod = Message::PortMod(PortMod {
        port: port.port,
        hw_addr: port.hw_addr,
        config,
        mask,
        advertise: PortFeatures::empty(),
        other: Vec::new(),
    });
    match connection.transact_noreply(&port_mod).await? {
        None => Ok(()),
        Some(error) => Err(Error::Refused(error.print(&known, options.verbosity(2)))),
    }
}

/// The bits that an action of `mod-port` is about, and their new value.
fn port_action(action: &str) -> Result<(PortConfig, PortConfig), Error> {
    const ACTIONS: [(&str, PortConfig, bool); 7] = [
        ("up", PortConfig::PORT_DOWN, false),
        ("down", PortConfig::PORT_DOWN, true),
        ("stp", PortConfig::NO_STP, false),
        ("receive", PortConfig::NO_RECV, false),
        ("receive-stp", PortConfig::NO_RECV_STP, false),
        ("flood", PortConfig::NO_FLOOD, false),
        ("forward", PortConfig::NO_FWD, false),
    ];
    const PACKET_IN: (&str, PortConfig, bool) = ("packet-in", PortConfig::NO_PACKET_IN, false);
    let lower = action.to_ascii_lowercase();
    let (word, negated) = match lower.strip_prefix("no-") {
        Some(word) if word != "up" && word != "down" => (word, true),
        _ => (lower.as_str(), false),
    };
    let (_, bit, set) = ACTIONS
        .iter()
        .chain(std::iter::once(&PACKET_IN))
        .find(|(name, _, _)| *name == word)
        .ok_or_else(|| Error::ModPortAction(action.to_owned()))?;
    let value = if *set != negated {
        *bit
    } else {
        PortConfig::empty()
    };
    Ok((*bit, value))
}

async fn config(connection: &mut Connection) -> Result<SwitchConfig, Error> {
    match connection.transact(&Message::GetConfigRequest).await? {
        Message::GetConfigReply(config) => Ok(config),
        other => Err(Error::UnexpectedReply {
            target: connection.target.clone(),
            asked: "a configuration request",
            got: other.name(),
        }),
    }
}

/// `get-frags`.
pub async fn get_frags(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    let config = config(&mut connection).await?;
    print(&format!("{}\n", message::frag_name(config.frag)))
}

/// `set-frags`; the switch is asked afterwards whether it did.
pub async fn set_frags(options: &Options, args: &[String]) -> Result<(), Error> {
    let [_, mode] = args else { return Ok(()) };
    let frag = [
        FragHandling::Normal,
        FragHandling::Drop,
        FragHandling::Reassemble,
        FragHandling::NxMatch,
    ]
    .into_iter()
    .find(|f| message::frag_name(*f).eq_ignore_ascii_case(mode))
    .ok_or_else(|| Error::UnknownFragMode(mode.clone()))?;
    let mut connection = Connection::open(target(args), options.versions).await?;
    let old = config(&mut connection).await?;
    if old.frag == frag {
        return Ok(());
    }
    let new = Message::SetConfig(SwitchConfig { frag, ..old });
    if let Some(error) = connection.transact_noreply(&new).await? {
        let text = error.print(&Names::none(), options.verbosity(2));
        return Err(Error::Refused(text));
    }
    if config(&mut connection).await?.frag == frag {
        return Ok(());
    }
    Err(Error::FragModeFailed {
        target: connection.target.clone(),
        mode: message::frag_name(frag).to_owned(),
    })
}

fn number(text: &str) -> Result<u32, Error> {
    text.parse().map_err(|_| Error::NotANumber(text.to_owned()))
}

/// `probe`: one empty echo.
pub async fn probe(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = Connection::open(target(args), options.versions).await?;
    echo(&mut connection, &[]).await
}

/// Sends an echo request and checks the reply.
async fn echo(connection: &mut Connection, data: &[u8]) -> Result<(), Error> {
    let request = Message::EchoRequest(data.to_vec().into());
    match connection.transact(&request).await? {
        Message::EchoReply(reply) if reply == data => Ok(()),
        _ => Err(Error::EchoMismatch),
    }
}

/// The largest payload: a message's length is 16 bits and counts the header.
const MAX_PAYLOAD: usize = 65535 - 8;

fn payload(text: &str) -> Result<Vec<u8>, Error> {
    let len = text
        .parse::<usize>()
        .ok()
        .filter(|n| *n <= MAX_PAYLOAD)
        .ok_or(Error::Payload(MAX_PAYLOAD))?;
    // Any bytes do, as long as they are not all alike.
    Ok((0..len).map(|i| (i * 31 + 7) as u8).collect())
}

/// `ping`: ten echoes, each timed.
pub async fn ping(options: &Options, args: &[String]) -> Result<(), Error> {
    let data = payload(args.get(1).map_or("64", String::as_str))?;
    let mut connection = Connection::open(target(args), options.versions).await?;
    for _ in 0..10 {
        let xid = next_xid();
        let started = Instant::now();
        let request = Message::EchoRequest(data.clone().into());
        connection.send(&request, xid).await?;
        let received = connection.recv_xid(xid).await?;
        let time_ms = started.elapsed().as_secs_f64() * 1000.0;
        let decoded = received.decode(&connection)?;
        match decoded.message {
            Message::EchoReply(reply) if reply == data => print(&format!(
                "{} bytes from {}: xid={xid:08x} time={time_ms:.1} ms\n",
                reply.len(),
                connection.target
            ))?,
            _ => return Err(Error::EchoMismatch),
        }
    }
    Ok(())
}

/// `benchmark`: many echoes, one after the other.
pub async fn benchmark(options: &Options, args: &[String]) -> Result<(), Error> {
    let [_, len, count] = args else { return Ok(()) };
    let data = payload(len)?;
    let count = number(count)?;
    let message_len = data.len() + 8;
    let bytes = message_len as u64 * u64::from(count);
    print(&format!(
        "Sending {count} packets * {message_len} bytes (with header) = {bytes} bytes total\n"
    ))?;
    let mut connection = Connection::open(target(args), options.versions).await?;
    let started = Instant::now();
    for _ in 0..count {
        echo(&mut connection, &data).await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    print(&format!(
        "Finished in {:.1} ms ({:.0} packets/s) ({:.0} bytes/s)\n",
        seconds * 1000.0,
        f64::from(count) / seconds,
        bytes as f64 / seconds
    ))
}
