//! `wait`: until a database is there, connected, or gone.

use std::time::Duration;

use daemon::pidfile::reason as io_reason;
use ovsdb::client::{self, Client};
use serde_json::{Value, json};

use super::backup::check_results;
use super::connect::{dial, parse_method, reason, remote_or_default};
use super::{Error, Result};

/// The longest pause between attempts to connect.
const MAX_BACKOFF: Duration = Duration::from_secs(8);

pub async fn wait(args: &[String]) -> Result<()> {
    let (server, database, state) = match args {
        [server, database, state] => (Some(server), database, state),
        [database, state] => (None, database, state),
        _ => return Err(Error::Syntax("wait")),
    };
    let operation = operation(database, state)
        .ok_or_else(|| Error::Fatal(format!("{state}: unknown state")))?;
    let remote = remote_or_default(server);
    let method = parse_method(&remote)?;
    let mut backoff = Duration::from_secs(1);
    loop {
        tracing::info!(target: "reconnect", "{remote}: connecting...");
        match dial(&method).await {
            Ok(connection) => {
                tracing::info!(target: "reconnect", "{remote}: connected");
                let mut client = Client::new(connection.stream);
                match ask(&mut client, &operation).await {
                    Ok(reply) => return check_results(&reply),
                    Err(client::Error::Remote(error)) => {
                        return Err(Error::Fatal(format!(
                            "{remote}: the server does not know this: {error}"
                        )));
                    }
                    Err(error) => {
                        let reason = reason(&error);
                        tracing::info!(target: "reconnect", "{remote}: connection dropped ({reason})");
                        backoff = Duration::from_secs(1);
                    }
                }
            }
            Err(error) => {
                let reason = io_reason(&error);
                tracing::info!(
                    target: "reconnect",
                    "{remote}: connection attempt failed ({reason})"
                );
            }
        }
        tokio::time::sleep(backoff).await;
        backoff = backoff.saturating_mul(2).min(MAX_BACKOFF);
    }
}

async fn ask(
    client: &mut Client<Box<dyn daemon::stream::Stream>>,
    operation: &Value,
) -> Result<Value, client::Error> {
    // Else the server would end the connection when a database comes or goes.
    client.call("set_db_change_aware", json!([true])).await?;
    client.call("transact", json!(["_Server", operation])).await
}

/// A `wait` operation on the server's own database.
fn operation(database: &str, state: &str) -> Option<Value> {
    let (columns, rows) = match state {
        "added" => (json!([]), json!([{}])),
        "removed" => (json!([]), json!([])),
        "connected" => (json!(["connected"]), json!([{"connected": true}])),
        _ => return None,
    };
    Some(json!({
        "op": "wait", "table": "Database", "where": [["name", "==", database]],
        "columns": columns, "until": "==", "rows": rows
    }))
}
