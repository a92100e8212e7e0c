//! The connection to one controller: dials, and dials again.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use daemon::pidfile::reason;
use daemon::reconnect::{Action, Config, Reconnect, StateName};
use daemon::stream::Active;
use openflow::Version;
use tokio::sync::watch;

use super::connection::{self, Observer};
use super::{Context, ControllerState, Limits, NetEvent, lock};
use crate::database::sleep_until;

/// Keeps the connection up for as long as the task lives.
pub async fn run(active: Active, context: Context, state: Arc<Mutex<ControllerState>>) {
    let mut limits = context.limits.clone();
    let config = config(&limits);
    let mut dial = Dial {
        name: format!("{}<->{active}", context.bridge),
        reconnect: Reconnect::new(config, Instant::now()),
        state,
        version: None,
    };
    loop {
        let deadline = dial.reconnect.deadline();
        tokio::select! {
            () = sleep_until(deadline) => {}
            Ok(()) = limits.changed() => {
                dial.reconnect.set_config(self::config(&limits), Instant::now());
            }
        }
        if dial.reconnect.poll(Instant::now()) != Some(Action::Connect) {
            continue;
        }
        dial.note(&context, None).await;
        tracing::info!(target: "rconn", "{}: connecting...", dial.name);
        let deadline = dial.reconnect.deadline();
        let attempt = tokio::select! {
            attempt = active.connect() => attempt,
            () = sleep_until(deadline) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        let reason = match attempt {
            Ok(connected) => {
                tracing::info!(target: "rconn", "{}: connected", dial.name);
                dial.reconnect.handle_connected(Instant::now());
                dial.note(&context, None).await;
                let ended = connection::run(connected.stream, &context, &mut dial).await;
                tracing::info!(target: "rconn", "{}: connection closed ({ended})", dial.name);
                ended.to_string()
            }
            Err(error) => {
                let reason = reason(&error);
                tracing::info!(target: "rconn", "{}: connection failed ({reason})", dial.name);
                reason
            }
        };
        dial.version = None;
        dial.reconnect.handle_disconnected(Instant::now());
        dial.note(&context, Some(reason)).await;
    }
}

fn config(limits: &watch::Receiver<Limits>) -> Config {
    Config {
        min_backoff: Duration::from_secs(1),
        max_backoff: limits.borrow().max_backoff,
        // The connection itself probes.
        probe_interval: None,
    }
}

struct Dial {
    name: String,
    reconnect: Reconnect,
    state: Arc<Mutex<ControllerState>>,
    version: Option<Version>,
}

impl Dial {
    /// Publishes how things are for the status columns.
    async fn note(&self, context: &Context, error: Option<String>) {
        self.share(error);
        // Without an event loop there is nobody to know.
        let _ = context.events.send(NetEvent::State).await;
    }

    fn share(&self, error: Option<String>) {
        let mut state = lock(&self.state);
        state.connected = self.reconnect.is_connected() && self.version.is_some();
        state.version = self.version;
        state.state = match self.reconnect.state() {
            // Until the versions are agreed on there is no OpenFlow connection.
            StateName::Active if self.version.is_none() => StateName::Connecting.as_str(),
            name => name.as_str(),
        };
        state.last_connected = self.reconnect.last_connected();
        state.last_disconnected = self.reconnect.last_disconnected();
        if error.is_some() {
            state.last_error = error;
        }
    }
}

impl Observer for Dial {
    fn opened(&mut self, version: Version) {
        self.version = Some(version);
        self.share(None);
    }
}
