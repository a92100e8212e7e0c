//! mod-table and dump-table-desc.
//!
//! Source: ovs-ofctl(8), "mod-table"; the texts are those of ovs-ofctl 3.1.

use openflow::message::{Message, TABLE_ALL, TableMod, Vacancy};
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
#[derive(Clone, Copy)]
enum Setting {
    /// What to do with packets that miss.
    Miss(u32),
    Evict(bool),
    Vacancy(Option<Vacancy>),
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
            _ => match text.strip_prefix("vacancy:") {
                Some(range) => Setting::Vacancy(Some(vacancy(range)?)),
                None => return Err(Error::TableSetting(text.to_owned())),
            },
        })
    }

    /// The versions that can say it.
    fn versions(self) -> VersionBitmap {
        let versions = match self {
            Setting::Miss(_) => [Version::Of11, Version::Of12],
            Setting::Evict(_) | Setting::Vacancy(_) => [Version::Of14, Version::Of15],
        };
        versions.into_iter().collect()
    }
}

fn vacancy(range: &str) -> Result<Vacancy, Error> {
    let percent = |text: &str| {
        let number: Option<u8> = text.parse().ok();
        let error = || Error::VacancyPercent(text.to_owned());
        number.filter(|n| *n <= 100).ok_or_else(error)
    };
    let (down, up) = range.split_once(',').ok_or(Error::VacancyUp)?;
    let (down, up) = (percent(down)?, percent(up)?);
    if up < down {
        return Err(Error::VacancyRange);
    }
    Ok(Vacancy { down, up, now: 0 })
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
        Setting::Miss(what) => change.config = what,
        Setting::Evict(on) => set(TableMod::EVICTION, on),
        Setting::Vacancy(vacancy) => {
            set(TableMod::VACANCY, vacancy.is_some());
            change.vacancy = vacancy;
        }
    }
    match connection
        .transact_noreply(&Message::TableMod(change))
        .await?
    {
        None => Ok(()),
        Some(error) => Err(Error::Refused(
            error.print(&Names::none(), options.verbosity(2)),
        )),
    }
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
        for (text, want) in [
            ("foo", "invalid table_mod setting foo"),
            ("vacancy:20", "Vacancy up value missing"),
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
