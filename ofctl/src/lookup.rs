//! Names of ports and tables: asked from the switch when they are needed, not before.
//!
//! Most flows use numbers, so text is read without names first; only when a word in it could be
//! a name is the switch asked.

use openflow::message::{Message, PortDesc};
use openflow::text::{self, ErrorKind, Names};
use openflow::{OfPort, Version};

use crate::connection::{Connection, reserve_xids};
use crate::error::Error;
use crate::options::Options;
use crate::switch;

/// The ports of the switch.
pub async fn ports(connection: &mut Connection) -> Result<Vec<PortDesc>, Error> {
    let target = connection.target.clone();
    let (request, asked) = if connection.version() < Version::Of13 {
        (Message::FeaturesRequest, "a features request")
    } else {
        let request = Message::PortDescRequest { port: OfPort::ANY };
        (request, "a port description request")
    };
    let mut all = Vec::new();
    let xid = crate::connection::next_xid();
    connection.send(&request, xid).await?;
    loop {
        let received = connection.recv_xid(xid).await?;
        if received.is_error() {
            return Err(Error::Refused(received.print(&Names::none(), 2)));
        }
        let decoded = received.decode(connection)?;
        match decoded.message {
            Message::FeaturesReply(features) => return Ok(features.ports),
            Message::PortDescReply(ports) => all.extend(ports),
            other => {
                return Err(Error::UnexpectedReply {
                    target,
                    asked,
                    got: other.name(),
                });
            }
        }
        if !decoded.more {
            return Ok(all);
        }
    }
}

/// All names that the switch has.
pub async fn names(connection: &mut Connection) -> Result<Names, Error> {
    let mut names = Names::none();
    for port in ports(connection).await? {
        names.add_port(port.port, &port.name);
    }
    // Later versions have no table names in their statistics.
    if connection.version() >= Version::Of13 {
        for table in switch::table_features(connection).await? {
            names.add_table(table.table_id, &table.name);
        }
    } else if let Message::TableStatsReply(tables) =
        connection.transact(&Message::TableStatsRequest).await?
    {
        for table in tables {
            names.add_table(table.table_id, &table.name);
        }
    }
    Ok(names)
}

/// The names to print with, when names are wanted.
pub async fn names_to_show(connection: &mut Connection, options: &Options) -> Result<Names, Error> {
    if options.shows_names() {
        let names = names(connection).await?;
        Ok(names.with_colors(options.colors.as_ref()))
    } else {
        Ok(options.plain_names())
    }
}

/// Counts the transaction ids that ovs-ofctl spends on asking for names before a flow is read, so
/// that the numbers in what is printed are the same.
pub fn skip_xids(options: &Options) {
    const TWO_CONNECTIONS: u32 = 4;
    if options.accepts_names() {
        reserve_xids(TWO_CONNECTIONS);
    }
}

/// Could `error` go away when the names are known?
pub fn wants_names(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::UnknownTable(_)
            | ErrorKind::InvalidPort(_)
            | ErrorKind::FieldPort { .. }
            | ErrorKind::UnknownAction(_)
            | ErrorKind::OutputPort(_)
            | ErrorKind::ResubmitPort(_)
            | ErrorKind::ResubmitTable(_)
            | ErrorKind::EnqueuePort(_)
    )
}

/// Parses with `parse`, asking the switch for names only when the text needs them.
pub async fn parse_with_names<T>(
    connection: &mut Connection,
    options: &Options,
    known: &mut Option<Names>,
    mut parse: impl FnMut(&Names) -> Result<T, text::Error>,
) -> Result<T, Error> {
    if let Some(names) = known {
        return Ok(parse(names)?);
    }
    match parse(&Names::none()) {
        Err(e) if options.accepts_names() && wants_names(&e.kind) => {
            let names = known.insert(names(connection).await?);
            Ok(parse(names)?)
        }
        other => Ok(other?),
    }
}

/// Parses with `parse` where all names are known already; as [`parse_with_names`] does, numbers
/// come first.
pub fn parse_knowing<T>(
    known: &Names,
    mut parse: impl FnMut(&Names) -> Result<T, text::Error>,
) -> Result<T, text::Error> {
    match parse(&Names::none()) {
        Err(e) if wants_names(&e.kind) => parse(known),
        other => other,
    }
}

/// The port that the user means by number, keyword or name.
pub async fn port(
    connection: &mut Connection,
    options: &Options,
    text: &str,
) -> Result<OfPort, Error> {
    if let Some(port) = Names::none().port(text) {
        return Ok(port);
    }
    let mut known = Names::none();
    if options.accepts_names() {
        reserve_xids(1);
        for port in ports(connection).await? {
            known.add_port(port.port, &port.name);
        }
    }
    known.port(text).ok_or_else(|| Error::UnknownPort {
        target: connection.target.clone(),
        port: text.to_owned(),
    })
}
