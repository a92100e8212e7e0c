//! Commands that look at schemas and versions: `db-name`, `schema-version`, `compare-versions` and
//! the like.

use std::cmp::Ordering;

use ovsdb::DatabaseSchema;

use super::reader::{Kind, Reader, identify};
use super::{Call, Error};
use crate::{print, schema_file};

/// The schema in the first record of a file.
pub fn stored_schema(reader: &mut Reader) -> Result<DatabaseSchema, Error> {
    let json = reader.next()?.unwrap_or_default();
    DatabaseSchema::from_json(&json).map_err(|error| Error::Fatal(crate::ovsdb_error(&error)))
}

fn line(text: &str) -> Result<u8, Error> {
    print(&format!("{text}\n"))?;
    Ok(0)
}

fn of_db(call: &Call<'_>) -> Result<DatabaseSchema, Error> {
    stored_schema(&mut Reader::open(&call.db())?)
}

fn of_file(call: &Call<'_>) -> Result<DatabaseSchema, Error> {
    Ok(schema_file::read(&call.schema(0))?)
}

pub fn db_name(call: &Call<'_>) -> Result<u8, Error> {
    line(&of_db(call)?.name)
}

pub fn db_version(call: &Call<'_>) -> Result<u8, Error> {
    line(&of_db(call)?.version)
}

pub fn db_cksum(call: &Call<'_>) -> Result<u8, Error> {
    line(of_db(call)?.cksum.as_deref().unwrap_or(""))
}

pub fn schema_name(call: &Call<'_>) -> Result<u8, Error> {
    line(&of_file(call)?.name)
}

pub fn schema_version(call: &Call<'_>) -> Result<u8, Error> {
    line(&of_file(call)?.version)
}

pub fn schema_cksum(call: &Call<'_>) -> Result<u8, Error> {
    line(of_file(call)?.cksum.as_deref().unwrap_or(""))
}

pub fn needs_conversion(call: &Call<'_>) -> Result<u8, Error> {
    let stored = of_db(call)?;
    let wanted = schema_file::read(&call.schema(1))?;
    line(if stored == wanted { "no" } else { "yes" })
}

pub fn is_clustered(call: &Call<'_>) -> Result<u8, Error> {
    is(call, Kind::Clustered)
}

pub fn is_standalone(call: &Call<'_>) -> Result<u8, Error> {
    is(call, Kind::Standalone)
}

fn is(call: &Call<'_>, wanted: Kind) -> Result<u8, Error> {
    let (kind, _) = identify(&call.db())?;
    Ok(if kind == wanted { 0 } else { 2 })
}

/// `db-cid`, `db-sid`, `db-local-address`.
pub fn cluster_member(call: &Call<'_>) -> Result<u8, Error> {
    let path = call.db();
    match identify(&path)? {
        (Kind::Clustered, _) => Err(Error::Clustered(call.name)),
        (Kind::Standalone, _) => Err(Error::Fatal(format!("{path}: not a clustered database"))),
    }
}

pub fn compare(call: &Call<'_>) -> Result<u8, Error> {
    let text = |at| call.arg(at).unwrap_or("");
    let parse = |text: &str| {
        version(text).ok_or_else(|| {
            Error::Fatal(format!(
                "{text}: not an OVSDB version number in format x.y.z"
            ))
        })
    };
    let order = parse(text(0))?.cmp(&parse(text(2))?);
    let holds = match text(1) {
        "<" => order == Ordering::Less,
        "<=" => order != Ordering::Greater,
        "==" => order == Ordering::Equal,
        ">=" => order != Ordering::Less,
        ">" => order == Ordering::Greater,
        "!=" => order != Ordering::Equal,
        other => return Err(Error::Fatal(format!("{other}: not a relational operator"))),
    };
    Ok(if holds { 0 } else { 2 })
}

fn version(text: &str) -> Option<[u32; 3]> {
    let numbers: Option<Vec<u32>> = text
        .split('.')
        .map(|part| {
            let digits = !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        })
        .collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("1.20.3"), Some([1, 20, 3]));
        for bad in [
            "1.2",
            "1.2.3.4",
            "",
            "1..2",
            "1.2.x",
            "1.2.-3",
            "1.2.99999999999",
        ] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }
}
