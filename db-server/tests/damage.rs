//! Files and schemas that are wrong in one place: an error says where, and nothing is ever read
//! that was not written.

mod mutants;

use std::process::Command;

use db_server::database::Database;
use db_server::log;
use db_server::record;
use ovsdb::DatabaseSchema;
use serde_json::{Value, json};

/// What a file holds: its rows as one record, or why it cannot be read; and whether an end was cut.
fn read(bytes: &[u8]) -> Result<(String, bool), String> {
    let loaded = log::load(bytes).map_err(|error| error.to_string())?;
    let mut db = loaded.db;
    let mut next = 0u128;
    let mut uuids = || {
        next += 1;
        ovsdb::Uuid::from_u128(next)
    };
    db_server::txn::adopt(&mut db, loaded.rows, &mut uuids).map_err(|error| error.to_string())?;
    let contents = record::encode(&db, &record::snapshot(&db), None, 0, false);
    let text =
        String::from_utf8(contents.unwrap_or_default()).map_err(|error| error.to_string())?;
    Ok((text, loaded.torn.is_some()))
}

#[test]
fn any_byte_of_a_file_flipped() {
    let schema = json!({"name": "d", "tables": {"T": {"isRoot": true, "columns": {
        "n": {"type": "integer"}, "s": {"type": {"key": "string", "min": 0, "max": 5}}}}}});
    let row = |n: usize| {
        let uuid = format!("00000000-0000-4000-8000-{n:012x}");
        json!({"_date": 1, "_is_diff": true, "T": {uuid: {"n": n, "s": ["set", ["a", "b"]]}}})
    };
    // Batches of 1, 3 and 2 records.
    let mut file = log::encode(&schema);
    let mut states = vec![read(&file).unwrap().0];
    let mut starts = Vec::new();
    let mut n = 0;
    for size in [1, 3, 2] {
        starts.push(file.len());
        let mut batch = Vec::new();
        for _ in 0..size {
            n += 1;
            log::append(&mut batch, row(n).to_string().as_bytes());
            states.push(read(&[&file[..], &batch].concat()).unwrap().0);
        }
        file.extend(batch);
    }
    let whole = states.last().unwrap().clone();
    let last_batch = *starts.last().unwrap();
    let (mut refused, mut cut, mut same) = (0, 0, 0);
    for at in 0..file.len() {
        for flip in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
            let mut damaged = file.clone();
            damaged[at] ^= flip;
            match read(&damaged) {
                Err(error) => {
                    assert!(at < last_batch, "byte {at}: {error}");
                    let place = ["at byte", "schema", "not an ovsdb database file"];
                    assert!(
                        place.iter().any(|place| error.contains(place)),
                        "{at}: {error}"
                    );
                    refused += 1;
                }
                // A digit of a checksum in capitals is the same digit.
                Ok((contents, false)) => {
                    assert_eq!(contents, whole, "byte {at} ^ {flip:#x}");
                    same += 1;
                }
                Ok((contents, true)) => {
                    assert!(
                        at >= last_batch,
                        "byte {at} ^ {flip:#x} cuts acknowledged records"
                    );
                    assert!(states[4..6].contains(&contents), "byte {at} ^ {flip:#x}");
                    cut += 1;
                }
            }
        }
    }
    println!("{refused} refused, {cut} cut, {same} the same");
    assert!(refused > 1000 && cut > 100);
}

/// A schema with something of everything.
fn schema() -> Value {
    let reference = json!({"key": {"type": "uuid", "refTable": "U", "refType": "weak"},
        "min": 0, "max": 3});
    json!({"name": "Db", "version": "1.2.3", "cksum": "1 2", "tables": {
        "T": {"isRoot": true, "maxRows": 5, "indexes": [["i", "s"]], "columns": {
            "i": {"type": {"key": {"type": "integer", "minInteger": 0, "maxInteger": 9}}},
            "r": {"type": {"key": {"type": "real", "minReal": 0.0, "maxReal": 9.5}, "min": 0}},
            "s": {"type": {"key": {"type": "string", "minLength": 1, "maxLength": 9}}},
            "e": {"type": {"key": {"type": "string", "enum": ["set", ["a", "b"]]},
                "value": "boolean", "min": 0, "max": "unlimited"}, "mutable": false},
            "w": {"type": reference},
            "p": {"type": "string", "ephemeral": true}}},
        "U": {"columns": {"x": {"type": "uuid"}}}}})
}

#[test]
fn any_node_of_a_schema_wrong() {
    let schema = schema();
    DatabaseSchema::from_json(&schema).unwrap();
    let (mut refused, mut taken) = (0, 0);
    let mut nameless = Vec::new();
    for (path, mutant) in mutants::mutants(&schema) {
        let error = match DatabaseSchema::from_json(&mutant) {
            Ok(schema) => {
                // What is taken can be used and comes back the same.
                let again = DatabaseSchema::from_json(&schema.to_json()).unwrap();
                assert_eq!(again, schema, "{mutant}");
                let _ = Database::new(schema);
                taken += 1;
                continue;
            }
            Err(error) => error.details.unwrap_or_default().to_lowercase(),
        };
        refused += 1;
        let mut names = Vec::new();
        if let ["tables", table, rest @ ..] =
            &path.iter().map(String::as_str).collect::<Vec<_>>()[..]
        {
            names.push(format!("table {table}").to_lowercase());
            if let ["columns", column, ..] = rest {
                names.push(format!("column {column}").to_lowercase());
            }
        }
        if !names.iter().all(|name| error.contains(name.as_str())) {
            nameless.push(format!("{path:?}: {error}"));
        }
    }
    println!("{refused} refused, {taken} taken");
    assert!(nameless.is_empty(), "{}", nameless.join("\n"));
    assert!(refused > 500 && taken > 50);
}

/// What ovsdb-tool takes for a schema is taken here, and nothing else.
#[test]
fn wrong_schemas_as_ovsdb_tool_sees_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("schema");
    let mut differences = Vec::new();
    for (place, mutant) in mutants::mutants(&schema()) {
        std::fs::write(&path, mutant.to_string()).unwrap();
        let output = Command::new("ovsdb-tool")
            .arg("schema-version")
            .arg(&path)
            .output();
        let output = match output {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let strict = std::env::var_os("SLUICE_REQUIRE_ROOT").is_some();
                assert!(!strict, "ovsdb-tool is not installed");
                eprintln!("skipped: ovsdb-tool is not installed");
                return;
            }
            other => other.unwrap(),
        };
        let ours = DatabaseSchema::from_json(&mutant);
        if ours.is_ok() != output.status.success() {
            let theirs = String::from_utf8_lossy(&output.stderr).into_owned();
            differences.push(format!(
                "{place:?}: ours {ours:.0?}, theirs {theirs:?} for {mutant}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
