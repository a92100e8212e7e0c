//! mod-table and dump-table-desc.
//!
//! Source: ovs-ofctl(8), "mod-table"; the texts are those of ovs-ofctl 3.1.

use openflow::message::{Message, TABLE_ALL, TableFeatures, TableMod, Vacancy};
use openflow::text::Names;
use openflow::{Version, VersionBitmap};

use crate::connection::Connection;
use crate::error::Error;
use crate::lookup;
use crate::options::Options;
use crate::{protocol, switch};

/// `dump-table-desc`
pub async fn describe(options: &Options, args: &[String]) -> Result<(), Error> {
    if options.versions.highest().is_none_or(|v| v < Version::Of14) {
        return Err(Error::TableDescVersion);
    }
    switch::ask(options, args, Message::TableDescRequest).await
}

/// What `mod-table` is to change.
enum Setting {
    /// What to do with packets that miss.
    Miss(u32),
    Evict(bool),
    Vacancy(Option<Vacancy>),
    Name(String),
}

impl Setting {
    fn parse(text: &str) -> Result<Setting, Error> {
        Ok(match text {
            "controller" => Setting::Miss(0),
            "continue" => Setting::Miss(1),
            "drop" => Setting::Miss(2),
            "evict" => Setting::Evict(true),
            "noevict" => Setting::Evict(false),
            "novacancy" => Setting::Vacancy(None),
            _ => match text.split_once(':') {
                Some(("vacancy", range)) => Setting::Vacancy(Some(vacancy(range)?)),
                Some(("name", name)) => Setting::Name(table_name(name)?),
                _ => return Err(Error::TableSetting(text.to_owned())),
            },
        })
    }

    /// The versions that can say it.
    fn versions(&self) -> VersionBitmap {
        let versions: &[Version] = match self {
            Setting::Miss(_) => &[Version::Of11, Version::Of12],
            Setting::Evict(_) | Setting::Vacancy(_) => &[Version::Of14, Version::Of15],
            Setting::Name(_) => &[Version::Of13, Version::Of14, Version::Of15],
        };
        versions.iter().copied().collect()
    }
}

fn vacancy(range: &str) -> Result<Vacancy, Error> {
    let mut words = range.split(',').filter(|word| !word.is_empty());
    let mut percent = |which| {
        let text = words.next().ok_or(Error::NoVacancy(which))?;
        let number: Option<u8> = text.parse().ok();
        let value = text.to_owned();
        let error = || Error::VacancyPercent { which, value };
        number.filter(|n| *n <= 100).ok_or_else(error)
    };
    let (down, up) = (percent("down")?, percent("up")?);
    if up < down {
        return Err(Error::VacancyRange);
    }
    Ok(Vacancy { down, up, now: 0 })
}

fn table_name(name: &str) -> Result<String, Error> {
    let (name, max) = (name.to_owned(), TableFeatures::NAME_MAX);
    match name.len() > max {
        true => Err(Error::TableName { name, max }),
        false => Ok(name),
    }
}

/// `mod-table`: what is not named stays as the switch describes it.
pub async fn modify(options: &Options, args: &[String]) -> Result<(), Error> {
    let [target, table, text] = args else {
        return Ok(());
    };
    let setting = Setting::parse(text)?;
    let usable = setting.versions();
    let versions = options.versions.intersect(usable);
    if versions.is_empty() {
        return Err(Error::TableVersion {
            setting: text.clone(),
            versions: protocol::version_names(usable),
        });
    }
    let mut connection = Connection::open(target, versions).await?;
    let table_id = table_id(&mut connection, options, table).await?;
    let mut change = match setting {
        Setting::Miss(_) => TableMod::default(),
        Setting::Name(name) => {
            let change = renaming(&mut connection, table_id, &name).await?;
            return carry_out(&mut connection, options, &change).await;
        }
        _ => description(&mut connection, table_id).await?,
    };
    change.table_id = table_id;
    // How it chooses and how much is free is the switch's to say, not a request's.
    change.eviction_flags = None;
    change.vacancy = change.vacancy.map(|v| Vacancy { now: 0, ..v });
    let mut set = |bit: u32, on: bool| match on {
        true => change.config |= bit,
        false => change.config &= !bit,
    };
    match setting {
        Setting::Name(_) => {}
        Setting::Miss(what) => change.config = what,
        Setting::Evict(on) => set(TableMod::EVICTION, on),
        Setting::Vacancy(vacancy) => {
            set(TableMod::VACANCY, vacancy.is_some());
            change.vacancy = vacancy;
        }
    }
    carry_out(&mut connection, options, &Message::TableMod(change)).await
}

async fn carry_out(
    connection: &mut Connection,
    options: &Options,
    change: &Message,
) -> Result<(), Error> {
    match connection.transact_noreply(change).await? {
        None => Ok(()),
        Some(error) => Err(Error::Refused(
            error.print(&Names::none(), options.verbosity(2)),
        )),
    }
}

/// What gives a table another name. 1.5 names what is to change; earlier versions replace all that
/// is known of all tables.
async fn renaming(connection: &mut Connection, table_id: u8, name: &str) -> Result<Message, Error> {
    let mut tables = switch::table_features(connection).await?;
    if connection.version() >= Version::Of15 {
        tables.retain(|table| table.table_id == table_id);
    }
    for table in &mut tables {
        if table.table_id == table_id {
            table.name = name.to_owned();
        }
        if connection.version() >= Version::Of15 {
            *table = TableFeatures {
                table_id,
                command: TableFeatures::MODIFY,
                name: name.to_owned(),
                metadata_match: table.metadata_match,
                metadata_write: table.metadata_write,
                capabilities: table.capabilities,
                max_entries: table.max_entries,
                ..TableFeatures::default()
            };
        }
    }
    Ok(Message::TableFeaturesRequest(tables))
}

async fn table_id(connection: &mut Connection, options: &Options, text: &str) -> Result<u8, Error> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(TABLE_ALL);
    }
    if let Some(table) = Names::none().table(text) {
        return Ok(table);
    }
    let unknown = || Error::UnknownTable(text.to_owned());
    if !options.accepts_names() {
        return Err(unknown());
    }
    let names = lookup::names(connection).await?;
    names.table(text).ok_or_else(unknown)
}

/// How a table is configured; the defaults for all at once.
async fn description(connection: &mut Connection, table_id: u8) -> Result<TableMod, Error> {
    let xid = crate::connection::next_xid();
    connection.send(&Message::TableDescRequest, xid).await?;
    let mut found = TableMod::default();
    loop {
        let received = connection.recv_xid(xid).await?;
        if received.is_error() {
            return Err(Error::Refused(received.print(&Names::none(), 2)));
        }
        let decoded = received.decode(connection)?;
        if let Message::TableDescReply(tables) = decoded.message
            && let Some(table) = tables.into_iter().find(|t| t.table_id == table_id)
        {
            found = table;
        }
        if !decoded.more {
            return Ok(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings() {
        let error = |text: &str| Setting::parse(text).err().map(|e| e.to_string());
        assert_eq!(error("evict"), None);
        assert_eq!(error("vacancy:20,80"), None);
        assert_eq!(error("name:five"), None);
        assert_eq!(error("name:"), None);
        for (text, want) in [
            ("foo", "invalid table_mod setting foo"),
            ("vacancy:20", "Vacancy up value missing"),
            ("vacancy:,80", "Vacancy up value missing"),
            ("vacancy:", "Vacancy down value missing"),
            ("vacancy:20,101", "Invalid vacancy up value \"101\""),
            ("vacancy:x,y", "Invalid vacancy down value \"x\""),
            (
                "name:12345678901234567890123456789012",
                "table name \"12345678901234567890123456789012\" is longer than 31 bytes",
            ),
            (
                "vacancy:80,20",
                "Invalid vacancy range, vacancy up should be greater than vacancy down \
                 (OFPBPC_BAD_VALUE)",
            ),
        ] {
            assert_eq!(error(text).as_deref(), Some(want));
        }
    }
}
