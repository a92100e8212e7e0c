//! ct-flush and ct-flush-zone: tracked connections that are to be forgotten.

use openflow::message::{CtFlush, Message};
use openflow::text::Names;
use openflow::text::ct_flush::{self, Direction};
use openflow::text::value;

use crate::connection::Connection;
use crate::error::Error;
use crate::options::Options;

/// `ct-flush-zone SWITCH ZONE`.
pub async fn flush_zone(options: &Options, args: &[String]) -> Result<(), Error> {
    let [target, zone] = args else { return Ok(()) };
    let zone = value::u16_value(zone).ok_or_else(|| Error::ZoneId(zone.clone()))?;
    send(options, target, Message::CtFlushZone { zone }).await
}

/// `ct-flush SWITCH [zone=N] [ORIG-TUPLE [REPLY-TUPLE]]`.
pub async fn flush(options: &Options, args: &[String]) -> Result<(), Error> {
    let Some((target, mut tuples)) = args.split_first() else {
        return Ok(());
    };
    let mut request = CtFlush::default();
    if let Some((zone, rest)) = tuples.split_first()
        && zone.starts_with("zone=")
    {
        request.zone = Some(ct_flush::parse_zone(zone).ok_or(Error::Zone)?);
        tuples = rest;
    }
    if let Some(text) = tuples.get(2) {
        return Err(Error::ThirdTuple(text.clone()));
    }
    for (text, direction) in tuples.iter().zip([Direction::Orig, Direction::Reply]) {
        ct_flush::parse_tuple(text, &mut request, direction)?;
    }
    send(options, target, Message::CtFlush(request)).await
}

async fn send(options: &Options, target: &str, request: Message) -> Result<(), Error> {
    let mut connection = Connection::open(target, options.versions).await?;
    match connection.transact_noreply(&request).await? {
        None => Ok(()),
        Some(error) => {
            let text = error.print(&Names::none(), options.verbosity(2));
            Err(Error::Refused(text))
        }
    }
}
