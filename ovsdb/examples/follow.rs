//! Follows the bridges of an Open vSwitch database and leaves a mark in each.
//!
//! ```text
//! cargo run -p ovsdb --example follow -- unix:/var/run/openvswitch/db.sock
//! ```
//!
//! Several servers of one cluster may be given; the one that leads is used. Ends when it is
//! interrupted.

use std::process::ExitCode;
use std::sync::Arc;

use ovsdb::connection::{Connection, Endpoint};
use ovsdb::replica::{Change, ColumnError, Selection, Transaction};
use ovsdb::{DatabaseSchema, Datum};

type Error = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("follow: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let endpoints = std::env::args()
        .skip(1)
        .map(|text| Endpoint::parse(&text))
        .collect::<Result<Vec<_>, _>>()?;
    let schema = get_schema(&endpoints).await?;
    let mut selection = Selection::new(Arc::new(schema));
    selection.columns("Bridge", &["name", "external_ids"])?;

    let mut db = Connection::new(selection, endpoints);
    loop {
        for (uuid, change) in db.changed().await.remove("Bridge").unwrap_or_default() {
            match db.replica().row("Bridge", uuid) {
                Some(row) => println!("{change:?}: {row:?}"),
                None => println!("{:?}: {uuid}", Change::Deleted),
            }
        }
        db.ensure(mark).await?;
    }
}

/// The schema, from the first server that answers.
async fn get_schema(endpoints: &[Endpoint]) -> Result<DatabaseSchema, Error> {
    let mut failure = "usage: follow SERVER...".to_owned();
    for endpoint in endpoints {
        match endpoint.get_schema("Open_vSwitch").await {
            Ok(schema) => return Ok(schema),
            Err(error) => failure = format!("{}: {error}", endpoint.name()),
        }
    }
    Err(failure.into())
}

/// Sets `external_ids:followed` where it is not `true`.
fn mark(txn: &mut Transaction<'_>) -> Result<(), ColumnError> {
    for row in txn.replica().rows("Bridge") {
        if row.get("external_ids", "followed") != Some("true") {
            let mark = Datum::map([("followed", "true")]);
            txn.add_to("Bridge", row.uuid(), "external_ids", &mark);
        }
    }
    Ok(())
}
