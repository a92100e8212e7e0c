//! Commands about meters, which OpenFlow has from 1.3 on.

use openflow::Version;
use openflow::message::{METER_ALL, Message, MeterCommand, MeterConfig, MeterFlags, MeterMod};
use openflow::text::{Names, meter};

use crate::connection::Connection;
use crate::dump::{show, stream};
use crate::error::Error;
use crate::options::Options;

/// Flow formats of the versions that have meters.
const FORMATS: &str = "OXM-OpenFlow13,OXM-OpenFlow14,OXM-OpenFlow15";

async fn open(options: &Options, args: &[String]) -> Result<Connection, Error> {
    let target = args.first().map_or("", String::as_str);
    let connection = Connection::open(target, options.versions).await?;
    let version = connection.version();
    if version < Version::Of13 {
        return Err(Error::NoUsableFormat {
            usable: FORMATS.to_owned(),
            allowed: options.formats.of(version).to_string(),
        });
    }
    Ok(connection)
}

/// add-meter, mod-meter, del-meter.
pub async fn one(options: &Options, args: &[String], command: MeterCommand) -> Result<(), Error> {
    let text = args.get(1).map_or("", String::as_str);
    send(options, args, meter::parse(text, command)?).await
}

/// `del-meters`, of one meter or all.
pub async fn delete(options: &Options, args: &[String]) -> Result<(), Error> {
    let meter_mod = MeterMod {
        command: MeterCommand::Delete,
        meter: MeterConfig {
            meter_id: meter_id(args)?,
            flags: MeterFlags::default(),
            bands: Vec::new(),
        },
    };
    send(options, args, meter_mod).await
}

async fn send(options: &Options, args: &[String], meter_mod: MeterMod) -> Result<(), Error> {
    let mut connection = open(options, args).await?;
    let message = Message::MeterMod(meter_mod);
    match connection.transact_noreply(&message).await? {
        None => Ok(()),
        Some(error) => {
            let text = error.print(&Names::none(), options.verbosity(2));
            Err(Error::Refused(text))
        }
    }
}

/// The meter that the command line names, or all.
fn meter_id(args: &[String]) -> Result<u32, Error> {
    match args.get(1) {
        Some(text) => Ok(meter::parse_id(text)?),
        None => Ok(METER_ALL),
    }
}

/// dump-meter and dump-meters.
pub async fn dump(options: &Options, args: &[String]) -> Result<(), Error> {
    let meter_id = meter_id(args)?;
    let mut connection = open(options, args).await?;
    let request = Message::MeterConfigRequest { meter_id };
    show(&mut connection, &request, options).await
}

/// `meter-stats`, of one meter or all.
pub async fn stats(options: &Options, args: &[String]) -> Result<(), Error> {
    let meter_id = meter_id(args)?;
    let mut connection = open(options, args).await?;
    let request = Message::MeterStatsRequest { meter_id };
    show(&mut connection, &request, options).await
}

/// `meter-features`.
pub async fn features(options: &Options, args: &[String]) -> Result<(), Error> {
    let mut connection = open(options, args).await?;
    stream(&mut connection, &Message::MeterFeaturesRequest, options).await
}
