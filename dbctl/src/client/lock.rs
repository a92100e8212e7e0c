//! `lock`, `steal` and `unlock`: the server's locks, and what it says about them.

use ovsdb::client;
use ovsdb::jsonrpc::Message;
use serde_json::json;

use super::connect::{self, Server};
use super::{Call, Error, Result, next_request};
use crate::print;

pub async fn lock(call: &mut Call, server: &mut Server, lock: &str) -> Result<()> {
    let mut control = call.control(&[
        ("lock", "LOCK", 1),
        ("steal", "LOCK", 1),
        ("unlock", "LOCK", 1),
        ("exit", "", 0),
    ])?;
    let reply = call.ask(server, call.name, json!([lock])).await?;
    call.print_json(&reply)?;
    let _running = call.started()?;
    loop {
        tokio::select! {
            notification = server.client.notification() => {
                let notification = notification.map_err(|error| Error::Receive {
                    server: server.name.clone(),
                    reason: connect::reason(&error),
                })?;
                if let Message::Notification { method, params } = notification {
                    print(&format!("{method}\n"))?;
                    call.print_json(&params)?;
                }
            }
            request = next_request(&mut control) => {
                if request.command == "exit" {
                    request.reply_written(Ok(String::new())).await;
                    return Ok(());
                }
                let method = request.command.clone();
                let lock = request.args.first().cloned().unwrap_or_default();
                request.reply(Ok(String::new()));
                match server.client.call(&method, json!([lock])).await {
                    Ok(reply) => call.print_json(&reply)?,
                    Err(client::Error::Remote(error)) => {
                        tracing::warn!(target: "ovsdb_client", "{method} {lock}: {error}");
                    }
                    Err(error) => return Err(Error::Receive {
                        server: server.name.clone(),
                        reason: connect::reason(&error),
                    }),
                }
            }
        }
    }
}
