//! Listening OpenFlow sockets.

use std::time::Duration;

use bytes::Bytes;
use daemon::pidfile::reason;
use daemon::stream::{Connection, Listener, Passive};
use tokio::sync::broadcast;
use tokio::task::{JoinHandle, JoinSet};

use super::Context;
use super::connection::{self, Nobody};

/// Connections of one socket at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;

/// Serves everybody who connects. The socket is there when this returns, unless it cannot be;
/// then it is tried again every second. Aborting the task closes the connections too.
pub async fn serve(passive: Passive, context: Context) -> JoinHandle<()> {
    let first = passive.listen().await;
    tokio::spawn(async move {
        let listener = retry(&passive, &context, first).await;
        let mut connections = JoinSet::new();
        loop {
            let Some(accepted) = accept(&listener, &mut connections).await else {
                continue;
            };
            let context = context.clone();
            connections.spawn(async move {
                let peer = accepted.peer;
                let ended = connection::run(accepted.stream, &context, &mut Nobody).await;
                tracing::debug!(target: "rconn", "{}<->{peer}: {ended}", context.bridge);
            });
        }
    })
}

/// Serves snoopers.
pub async fn snoop(
    passive: Passive,
    context: Context,
    copies: broadcast::Sender<Bytes>,
) -> JoinHandle<()> {
    let first = passive.listen().await;
    tokio::spawn(async move {
        let listener = retry(&passive, &context, first).await;
        let mut connections = JoinSet::new();
        loop {
            let Some(accepted) = accept(&listener, &mut connections).await else {
                continue;
            };
            let context = context.clone();
            let copies = copies.subscribe();
            connections.spawn(async move {
                connection::run_snoop(accepted.stream, &context, copies).await;
            });
        }
    })
}

async fn retry(passive: &Passive, context: &Context, first: std::io::Result<Listener>) -> Listener {
    let mut result = first;
    let mut warned = false;
    loop {
        match result {
            Ok(listener) => return listener,
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(
                        target: "bridge",
                        "bridge {}: cannot listen on {passive} ({})",
                        context.bridge,
                        reason(&error)
                    );
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        result = passive.listen().await;
    }
}

async fn accept(listener: &Listener, connections: &mut JoinSet<()>) -> Option<Connection> {
    while connections.try_join_next().is_some() {}
    if connections.len() >= MAX_CONNECTIONS {
        connections.join_next().await;
    }
    match listener.accept().await {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::warn!(target: "rconn", "accept failed: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}
