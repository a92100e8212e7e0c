//! add-tlv-map, del-tlv-map and dump-tlv-map.

use openflow::Version;
use openflow::message::{FlowFormat, Message, TlvCommand, TlvTableMod};
use openflow::text::{Names, tlv};

use crate::connection::Connection;
use crate::error::Error;
use crate::options::Options;

pub async fn add(options: &Options, args: &[String]) -> Result<(), Error> {
    change(options, args, TlvCommand::Add).await
}

/// Without mappings, all go.
pub async fn delete(options: &Options, args: &[String]) -> Result<(), Error> {
    let command = match args.len() {
        1 => TlvCommand::Clear,
        _ => TlvCommand::Delete,
    };
    change(options, args, command).await
}

async fn change(options: &Options, args: &[String], command: TlvCommand) -> Result<(), Error> {
    let target = args.first().map_or("", String::as_str);
    let text = args.get(1).map_or("", String::as_str);
    let maps = tlv::parse_maps(text).ok_or(Error::TlvMap)?;
    let mut connection = Connection::open(target, options.versions).await?;
    if connection.version() == Version::Of10 {
        // The options are for flows in Nicira's format.
        let format = Message::SetFlowFormat(FlowFormat::Nxm);
        if connection.transact_noreply(&format).await?.is_some() {
            return Err(Error::FormatRefused(connection.target));
        }
    }
    let request = Message::TlvTableMod(TlvTableMod { command, maps });
    match connection.transact_noreply(&request).await? {
        None => Ok(()),
        Some(error) => Err(Error::Refused(
            error.print(&Names::none(), options.verbosity(2)),
        )),
    }
}
