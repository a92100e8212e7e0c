//! The tool's end: find the daemon, send one command, take its answer.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use thiserror::Error;

use super::Answer;
use super::framing::{self, Framing};
use crate::{dirs, pidfile};

/// An answer longer than this is refused.
const MAX_ANSWER: usize = 1 << 30;

#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Pidfile(#[from] pidfile::Error),
    #[error("cannot connect to \"{}\" ({})", .path.display(), pidfile::reason(.source))]
    Connect { path: PathBuf, source: io::Error },
    #[error("{}: transaction error ({})", .path.display(), pidfile::reason(.source))]
    Transaction { path: PathBuf, source: io::Error },
    #[error("{}: transaction error (End of file)", .path.display())]
    Closed { path: PathBuf },
    #[error("{}: {source}", .path.display())]
    Framing {
        path: PathBuf,
        source: framing::Error,
    },
    #[error("{}: answer is not a JSON-RPC reply: {text}", .path.display())]
    Malformed { path: PathBuf, text: String },
}

/// The control socket of `target`: a path when it has a slash first, else the name of a program
/// whose pidfile is in the run directory.
pub fn socket_of(target: &str) -> Result<PathBuf, Error> {
    if target.starts_with('/') {
        return Ok(PathBuf::from(target));
    }
    let rundir = dirs::rundir();
    let pid = pidfile::read(&rundir.join(format!("{target}.pid")))?;
    Ok(rundir.join(format!("{target}.{pid}.ctl")))
}

/// An open control connection.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: UnixStream,
}

impl Client {
    pub fn connect(path: &Path) -> Result<Client, Error> {
        match UnixStream::connect(path) {
            Ok(stream) => Ok(Client {
                path: path.to_owned(),
                stream,
            }),
            Err(source) => Err(Error::Connect {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Sends `command` and waits for its answer. The outer error is the connection's, the inner
    /// one the daemon's.
    pub fn transact(&mut self, command: &str, args: &[String]) -> Result<Answer, Error> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Transaction { path, source }
        };
        let request = json!({"id": 0, "method": command, "params": args}).to_string();
        self.stream
            .write_all(request.as_bytes())
            .map_err(failed(&self.path))?;
        let mut framing = Framing::new(MAX_ANSWER);
        let mut chunk = vec![0u8; 1 << 16];
        loop {
            let object = framing.next_object().map_err(|source| Error::Framing {
                path: self.path.clone(),
                source,
            })?;
            if let Some(object) = object {
                return self.parse(&object);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    return Err(Error::Closed {
                        path: self.path.clone(),
                    });
                }
                Ok(n) => framing.extend(chunk.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&self.path)(error)),
            }
        }
    }

    fn parse(&self, object: &[u8]) -> Result<Answer, Error> {
        let reply: Option<Value> = serde_json::from_slice(object).ok();
        let member = |name: &str| reply.as_ref().and_then(|reply| reply.get(name));
        match (member("error"), member("result")) {
            (Some(Value::String(error)), _) => Ok(Err(error.clone())),
            (None | Some(Value::Null), Some(Value::String(result))) => Ok(Ok(result.clone())),
            _ => Err(Error::Malformed {
                path: self.path.clone(),
                text: String::from_utf8_lossy(object).into_owned(),
            }),
        }
    }
}
