//! Databases that come and go while the server runs, and who waits for what becomes of their
//! files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use daemon::unixctl;
use ovsdb::Uuid;

use super::{EventLoop, OpenFile};
use crate::event_loop::delivery::Finished;
use crate::files::{self, File};

/// A command that is answered when these databases' files are done.
#[derive(Debug)]
pub(super) struct Waiting {
    databases: BTreeSet<Arc<str>>,
    errors: String,
    request: unixctl::Request,
}

impl EventLoop {
    /// Takes a database that was opened.
    ///
    /// Errors: there is one of that name.
    pub(super) fn take_database(&mut self, file: File) -> Result<(), String> {
        let File {
            name,
            path,
            db,
            log,
            lock,
        } = file;
        if self.server.database(&name).is_some() {
            return Err(format!("ovsdb error: {name}: duplicate database name"));
        }
        self.delivery.open(name.clone(), log);
        self.server.add_database(db);
        self.files.insert(name, OpenFile { path, _lock: lock });
        Ok(())
    }

    /// Opens a database file, which has to be there, and serves it.
    pub(crate) async fn add_database(&mut self, path: &str) -> Result<(), String> {
        if path.starts_with("relay:") {
            let why = "relay databases are not supported by this build";
            return Err(format!("ovsdb error: {path}: {why}"));
        }
        let absolute = crate::options::absolute(Path::new(path));
        // Looked at first: to open the lock file of a file that is open would give up its lock.
        let real = std::fs::canonicalize(&absolute).map_err(|error| {
            let reason = daemon::pidfile::reason(&error);
            format!("I/O error: {path}: open failed ({reason})")
        })?;
        if self.files.values().any(|file| file.path == real) {
            return Err(format!("ovsdb error: {path}: already open"));
        }
        let file = files::open_existing(&real, &mut Uuid::new_v4)
            .map_err(|error| format!("ovsdb error: {error}"))?;
        self.take_database(file)?;
        self.reconfigure().await;
        self.restart_replication();
        Ok(())
    }

    /// Stops serving a database; `request` is answered when its file is closed and free for
    /// another server.
    pub(crate) async fn remove_database(&mut self, name: &str, request: unixctl::Request) {
        let Some((name, _)) = self.files.get_key_value(name) else {
            let error = match self.server.database(name) {
                Some(_) => "Cannot remove reserved database.\n",
                None => "Failed to find the database.\n",
            };
            request.reply(Err(error.to_owned()));
            return;
        };
        let name = name.clone();
        // What was taken for it is written and answered first.
        self.settle().await;
        self.server.remove_database(&name);
        if let Some(finished) = self.delivery.close(&name) {
            self.finish(finished);
        }
        self.waiting.push(Waiting {
            databases: [name].into(),
            errors: String::new(),
            request,
        });
        self.reconfigure().await;
        self.restart_replication();
    }

    /// Compacts one or all databases; `request` is answered when that is done.
    pub(crate) fn compact(&mut self, name: Option<&str>, request: unixctl::Request) {
        let databases: BTreeSet<Arc<str>> = self
            .files
            .keys()
            .filter(|file| name.is_none_or(|name| *name == ***file))
            .cloned()
            .collect();
        if let Some(name) = name
            && databases.is_empty()
        {
            let error = match self.server.database(name) {
                Some(_) => "cannot compact built-in databases\n",
                None => "no database by that name\n",
            };
            request.reply(Err(error.to_owned()));
            return;
        }
        for name in &databases {
            tracing::info!("compacting {name} database by user request");
            self.delivery.want_compaction(name);
        }
        if databases.is_empty() {
            request.reply(Ok(String::new()));
            return;
        }
        let errors = String::new();
        self.waiting.push(Waiting {
            databases,
            errors,
            request,
        });
    }

    /// Answers who waited for this.
    pub(super) fn finish(&mut self, finished: Finished) {
        let (name, error) = match finished {
            Finished::Compacted(name, result) => {
                if result.is_ok() && self.trim_memory {
                    trim_memory();
                }
                (name, result.err())
            }
            Finished::Closed(name) => {
                // The lock goes after the file.
                self.files.remove(&name);
                (name, None)
            }
        };
        let mut later = Vec::new();
        for mut waiting in std::mem::take(&mut self.waiting) {
            if waiting.databases.remove(&name)
                && let Some(error) = &error
            {
                waiting.errors.push_str(&format!("{name}: {error}\n"));
            }
            if !waiting.databases.is_empty() {
                later.push(waiting);
            } else if waiting.errors.is_empty() {
                waiting.request.reply(Ok(String::new()));
            } else {
                waiting.request.reply(Err(waiting.errors));
            }
        }
        self.waiting.append(&mut later);
    }
}

/// Gives memory that is not used back to the system.
fn trim_memory() {
    // SAFETY: `mi_collect` may be called at any time from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
