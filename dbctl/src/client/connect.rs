//! Which server and which database a command is about.

use std::io;

use daemon::pidfile::reason as io_reason;
use daemon::stream::{Connection, Method, MethodError, OVSDB_PORT, Stream};
use ovsdb::Uuid;
use ovsdb::client::{self, Client};
use ovsdb::value::{NoNames, parse_uuid, uuid_from_json};
use serde_json::{Value, json};
use thiserror::Error;

use super::{Call, Error as ClientError};
use crate::choose::is_remote;

#[derive(Debug, Error)]
pub enum Error {
    #[error("failed to connect to \"{remote}\" ({reason})")]
    Connect { remote: String, reason: String },
    #[error("failed to connect or listen to \"{remote}\" ({reason})")]
    Listen { remote: String, reason: String },
    #[error(transparent)]
    Tls(MethodError),
    #[error("could not find a default database, please specify a database name")]
    NoDefault,
    #[error("database name is required with multiple remotes")]
    NoName,
    #[error("no servers were available")]
    NoServers,
    #[error("{0}: not a valid UUID")]
    Cluster(String),
    #[error("list_dbs response is not array of strings")]
    Databases,
}

/// A connection to a server.
pub struct Server {
    /// As messages call it.
    pub name: String,
    pub client: Client<Box<dyn Stream>>,
}

/// Which database is wanted.
pub enum Wanted {
    /// The one that the arguments name, or a default.
    Any,
    Named(String),
}

/// What is wrong with a connection, in the system's words.
pub fn reason(error: &client::Error) -> String {
    match error {
        client::Error::Closed => "End of file".to_owned(),
        client::Error::Io(error) => io_reason(error),
        other => other.to_string(),
    }
}

fn default_remote() -> String {
    format!("unix:{}/db.sock", daemon::dirs::rundir().display())
}

/// The server that the optional argument `given` names.
pub fn remote_or_default(given: Option<&String>) -> String {
    given.cloned().unwrap_or_else(default_remote)
}

/// Parses a connection method.
pub fn parse_method(remote: &str) -> Result<Method, Error> {
    Method::parse(remote, OVSDB_PORT).map_err(|error| match error {
        MethodError::Tls(_) => Error::Tls(error),
        MethodError::BadAddress(_) => Error::Listen {
            remote: remote.to_owned(),
            reason: "bad address or port".to_owned(),
        },
        MethodError::NoPath(_) => Error::Listen {
            remote: remote.to_owned(),
            reason: "a file name is missing".to_owned(),
        },
        MethodError::Unknown(_) => Error::Listen {
            remote: remote.to_owned(),
            reason: "Address family not supported by protocol".to_owned(),
        },
    })
}

/// Connects, or waits for somebody who does.
pub async fn dial(method: &Method) -> io::Result<Connection> {
    match method {
        Method::Active(active) => active.connect().await,
        Method::Passive(passive) => {
            let listener = passive.listen().await?;
            tracing::info!(target: "ovsdb_client", "{passive}: waiting for connection...");
            listener.accept().await
        }
    }
}

/// Opens the server that `args` name, or the default one, and finds the database. The first
/// arguments are taken for them as long as more than `min` are there. Gives the server, the
/// database (empty when none is wanted), and how many arguments were taken.
pub async fn open(
    call: &Call,
    min: usize,
    wanted: Option<Wanted>,
    args: &[String],
) -> Result<(Server, String, usize), ClientError> {
    let (remotes, mut used) = match args.first() {
        Some(first) if args.len() > min && is_remote(first) => (first.clone(), 1),
        _ => (default_remote(), 0),
    };
    // How many arguments are left beyond those that the command needs itself.
    let next = |used: usize| {
        args.get(used)
            .filter(|_| args.len().saturating_sub(used) > min)
    };
    let (remotes, cluster) = split(&remotes)?;
    if let [remote] = remotes.as_slice() {
        let mut server = open_one(remote).await?;
        let database = match wanted {
            None => String::new(),
            Some(Wanted::Named(name)) => name,
            Some(Wanted::Any) => {
                let databases = databases(call, &mut server).await?;
                match next(used).filter(|name| databases.contains(name)) {
                    Some(name) => {
                        used = used.saturating_add(1);
                        name.clone()
                    }
                    None => default_database(databases)?,
                }
            }
        };
        return Ok((server, database, used));
    }
    let database = match wanted {
        None => None,
        Some(Wanted::Named(name)) => Some(name),
        Some(Wanted::Any) => {
            let name = next(used).ok_or(Error::NoName)?;
            used = used.saturating_add(1);
            Some(name.clone())
        }
    };
    let server = open_any(
        remotes,
        cluster,
        database.as_deref(),
        call.options.leader_only,
    )
    .await?;
    Ok((server, database.unwrap_or_default(), used))
}

/// The names of the server's databases, in order.
pub async fn databases(call: &Call, server: &mut Server) -> Result<Vec<String>, ClientError> {
    let reply = call.ask(server, "list_dbs", json!([])).await?;
    let mut names: Vec<String> = serde_json::from_value(reply).map_err(|_| Error::Databases)?;
    names.sort();
    Ok(names)
}

fn default_database(databases: Vec<String>) -> Result<String, Error> {
    if databases.iter().any(|name| name == "Open_vSwitch") {
        return Ok("Open_vSwitch".to_owned());
    }
    // Names with an underscore are the server's own.
    let mut own = databases.into_iter().filter(|name| !name.starts_with('_'));
    match (own.next(), own.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(Error::NoDefault),
    }
}

/// The remotes of `METHOD,METHOD,...`, and the cluster that a `cid:UUID` among them asks for.
fn split(text: &str) -> Result<(Vec<String>, Option<Uuid>), Error> {
    let mut remotes = Vec::new();
    let mut cluster = None;
    for part in text.split(',') {
        match part.strip_prefix("cid:") {
            Some(uuid) => {
                let uuid = parse_uuid(uuid).ok_or_else(|| Error::Cluster(uuid.to_owned()))?;
                cluster = Some(uuid);
            }
            None => remotes.push(part.to_owned()),
        }
    }
    Ok((remotes, cluster))
}

async fn open_one(remote: &str) -> Result<Server, Error> {
    let method = parse_method(remote)?;
    let connection = dial(&method).await.map_err(|error| {
        let (remote, reason) = (remote.to_owned(), io_reason(&error));
        match method {
            Method::Active(_) => Error::Connect { remote, reason },
            Method::Passive(_) => Error::Listen { remote, reason },
        }
    })?;
    Ok(Server {
        name: remote.to_owned(),
        client: Client::new(connection.stream),
    })
}

/// The first of several servers, tried in any order, that is up and serves the database.
async fn open_any(
    mut remotes: Vec<String>,
    cluster: Option<Uuid>,
    database: Option<&str>,
    leader_only: bool,
) -> Result<Server, Error> {
    remotes.sort_by_cached_key(|_| Uuid::new_v4());
    let methods: Vec<(String, Method)> = remotes
        .into_iter()
        .map(|remote| Ok((remote.clone(), parse_method(&remote)?)))
        .collect::<Result<_, Error>>()?;
    for (name, method) in methods {
        tracing::info!(target: "reconnect", "{name}: connecting...");
        let connection = match dial(&method).await {
            Ok(connection) => connection,
            Err(error) => {
                let reason = io_reason(&error);
                tracing::info!(target: "reconnect", "{name}: connection attempt failed ({reason})");
                continue;
            }
        };
        tracing::info!(target: "reconnect", "{name}: connected");
        let mut server = Server {
            name,
            client: Client::new(connection.stream),
        };
        match database {
            Some(database) if !serves(&mut server, database, cluster, leader_only).await => {}
            _ => return Ok(server),
        }
    }
    Err(Error::NoServers)
}

/// Whether this server is one to stay with.
async fn serves(
    server: &mut Server,
    database: &str,
    cluster: Option<Uuid>,
    leader_only: bool,
) -> bool {
    let Some(row) = server_row(server, database, cluster).await else {
        return false;
    };
    let flag = |name: &str| row.get(name).and_then(Value::as_bool) != Some(false);
    row.get("model").and_then(Value::as_str) == Some("standalone")
        || (flag("connected") && (!leader_only || flag("leader")))
}

/// What the server's own database says about `database`.
async fn server_row(server: &mut Server, database: &str, cluster: Option<Uuid>) -> Option<Value> {
    let operation = json!({
        "op": "select", "table": "Database", "where": [["name", "==", database]]
    });
    let reply = server
        .client
        .call("transact", json!(["_Server", operation]))
        .await
        .ok()?;
    let rows = reply.get(0)?.get("rows")?.as_array()?;
    rows.iter()
        .find(|row| {
            cluster.is_none_or(|wanted| {
                let cid = row
                    .get("cid")
                    .and_then(|cid| uuid_from_json(cid, &mut NoNames).ok());
                cid == Some(wanted)
            })
        })
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(default_database(names(&["_Server", "a"])).unwrap(), "a");
        assert_eq!(
            default_database(names(&["Open_vSwitch", "a", "b"])).unwrap(),
            "Open_vSwitch"
        );
        assert!(default_database(names(&["_Server", "a", "b"])).is_err());
        assert!(default_database(names(&["_Server"])).is_err());
    }

    #[test]
    fn remotes() {
        let uuid = "1ba14ffb-08e8-42c3-a9d6-f05bed2dbf48";
        let (remotes, cluster) = split(&format!("tcp:a:1,cid:{uuid},unix:b")).unwrap();
        assert_eq!(remotes, ["tcp:a:1", "unix:b"]);
        assert_eq!(cluster, parse_uuid(uuid));
        assert!(split("cid:x").is_err());
        let error = |text: &str| parse_method(text).unwrap_err().to_string();
        assert_eq!(
            error("foo:bar"),
            "failed to connect or listen to \"foo:bar\" (Address family not supported by protocol)"
        );
        assert_eq!(
            error("ssl:a:1"),
            "ssl:a:1: TLS is not supported by this build"
        );
    }
}
