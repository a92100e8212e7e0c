//! The event loop's side of [`replication`](crate::replication): the server's role, and what it
//! hears of the active server put into its own databases.

use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon::stream::{Active, OVSDB_PORT};
use tokio::task::JoinHandle;

use super::{EventLoop, date_ms};
use crate::replication::{self, Event, Excluded, Plan};

/// How replication is set up, whether or not it is on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The active server, as given and as parsed.
    pub active: Option<(String, Active)>,
    pub excluded: Excluded,
    pub probe: Duration,
    /// Whether to start as its backup.
    pub backup: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            active: None,
            excluded: Excluded::new(),
            probe: replication::PROBE_INTERVAL,
            backup: false,
        }
    }
}

/// The server's role.
#[derive(Debug, Default)]
pub(super) struct Follower {
    settings: Settings,
    running: Option<Running>,
    /// Marks the events of the task that runs now.
    number: u64,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    target: String,
    /// What is replicated, once all contents are there.
    databases: Option<Vec<Arc<str>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Follower {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }
}

impl EventLoop {
    pub(crate) fn replication(&mut self) -> &mut Settings {
        &mut self.follower.settings
    }

    pub(super) fn is_backup(&self) -> bool {
        self.follower.running.is_some()
    }

    /// Becomes the backup of the active server that is set; false when none is.
    pub(crate) fn connect_active(&mut self) -> bool {
        let Some((target, method)) = self.follower.settings.active.clone() else {
            return false;
        };
        self.follower.number = self.follower.number.saturating_add(1);
        let plan = Plan {
            target: target.clone(),
            method,
            excluded: self.follower.settings.excluded.clone(),
            probe: self.follower.settings.probe,
            server_id: self.server.server_id().hyphenated().to_string(),
            schemas: self
                .files
                .keys()
                .filter_map(|name| {
                    Some((name.clone(), self.server.database(name)?.schema().clone()))
                })
                .collect(),
        };
        let number = self.follower.number;
        let task = tokio::spawn(replication::follow(plan, number, self.events.clone()));
        self.follower.running = Some(Running {
            task,
            target,
            databases: None,
        });
        self.server.set_read_only(true);
        true
    }

    /// Becomes an active server.
    pub(crate) fn disconnect_active(&mut self) {
        self.follower.running = None;
        self.server.set_read_only(false);
    }

    /// Takes changed settings or databases into account, if this is a backup.
    pub(crate) fn restart_replication(&mut self) {
        if self.is_backup() {
            self.connect_active();
        }
    }

    /// The answer to `sync-status`.
    pub(crate) fn sync_status(&self) -> String {
        let Some(running) = &self.follower.running else {
            return "state: active\n".to_owned();
        };
        let target = &running.target;
        let Some(databases) = &running.databases else {
            return format!("state: backup\nconnecting: {target}\n");
        };
        let mut text = format!(
            "state: backup\nreplicating: {target}\ndatabase: {}\n",
            databases.join(", ")
        );
        if !self.follower.settings.excluded.is_empty() {
            let excluded = replication::show_excluded(&self.follower.settings.excluded);
            text.push_str(&format!("exclude: {excluded}\n"));
        }
        text
    }

    pub(super) fn handle_replication(&mut self, number: u64, event: Event) {
        if number != self.follower.number {
            return;
        }
        let Some(running) = &mut self.follower.running else {
            return;
        };
        match event {
            Event::Connecting => running.databases = None,
            Event::Replicating { databases } => {
                tracing::info!("{}: replicating {}", running.target, databases.join(", "));
                running.databases = Some(databases);
            }
            Event::GaveUp { reason } => {
                tracing::error!("{}: {reason} The server is active again.", running.target);
                self.disconnect_active();
            }
            Event::Contents {
                database,
                tables,
                rows,
                applied,
            } => {
                let operations = match self.server.database(&database) {
                    Some(db) => replication::contents(db, &tables, &rows),
                    None => Err("the database was removed".to_owned()),
                };
                let _ = applied.send(self.apply(&database, operations));
            }
            Event::Changes {
                database,
                rows,
                applied,
            } => {
                let operations = match self.server.database(&database) {
                    Some(db) => replication::changes(db, &rows),
                    None => Err("the database was removed".to_owned()),
                };
                let _ = applied.send(self.apply(&database, operations));
            }
        }
    }

    fn apply(
        &mut self,
        database: &str,
        operations: Result<Vec<serde_json::Value>, String>,
    ) -> Result<(), String> {
        let operations = operations?;
        if operations.is_empty() {
            return Ok(());
        }
        self.server
            .apply(database, operations, Instant::now(), date_ms())
            .map_err(|error| {
                tracing::warn!("{database}: cannot follow the active server: {error}");
                format!("cannot follow: {error}")
            })
    }
}

/// Parses the name of an active server.
pub fn parse_active(text: &str) -> Result<(String, Active), String> {
    Active::parse(text, OVSDB_PORT)
        .map(|method| (text.to_owned(), method))
        .map_err(|error| error.to_string())
}
