//! Where a server is, and how a stream to it is made.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::client::{self, Client};
use crate::schema::DatabaseSchema;

/// A byte stream to a server, such as a socket or a TLS session.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An attempt to connect.
pub type Dialing = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// The port of OVSDB servers, where none is given.
pub const PORT: u16 = 6640;

/// A text that names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// A method that this module does not have; [`Endpoint::new`] takes any other.
    #[error("{0}: only unix:PATH and tcp:HOST[:PORT] are connected to here")]
    Method(String),
    /// Nothing after `unix:` or `tcp:`.
    #[error("{0}: a path or host is missing")]
    Empty(String),
    /// The port is no number from 1 to 65535.
    #[error("{text}: bad port \"{port}\"")]
    Port { text: String, port: String },
}

/// One server.
pub struct Endpoint {
    name: String,
    dial: Box<dyn Fn() -> Dialing + Send + Sync>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.name).finish()
    }
}

impl Endpoint {
    /// A server that `dial` connects to, once for each call; `name` is for messages.
    ///
    /// ```
    /// use ovsdb::connection::Endpoint;
    /// let server = Endpoint::new("127.0.0.1", || tokio::net::TcpStream::connect("127.0.0.1:6640"));
    /// assert_eq!(server.name(), "127.0.0.1");
    /// ```
    pub fn new<D, F, S>(name: impl Into<String>, dial: D) -> Self
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Stream + 'static,
    {
        Self {
            name: name.into(),
            dial: Box::new(move || {
                let attempt = dial();
                Box::pin(async move { Ok(Box::new(attempt.await?) as Box<dyn Stream>) })
            }),
        }
    }

    /// A Unix socket.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::new(format!("unix:{}", path.display()), move || {
            UnixStream::connect(path.clone())
        })
    }

    /// A TCP port of a host name or address.
    pub fn tcp(host: &str, port: u16) -> Self {
        let host = host.to_owned();
        let name = if host.contains(':') {
            format!("tcp:[{host}]:{port}")
        } else {
            format!("tcp:{host}:{port}")
        };
        Self::new(name, move || {
            let host = host.clone();
            async move {
                let stream = TcpStream::connect((host.as_str(), port)).await?;
                // Requests are small and wait for their answers.
                stream.set_nodelay(true)?;
                Ok(stream)
            }
        })
    }

    /// `unix:PATH`, `tcp:HOST`, `tcp:HOST:PORT` or `tcp:[ADDRESS]:PORT`.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let empty = || EndpointError::Empty(text.to_owned());
        let Some((method, rest)) = text.split_once(':') else {
            return Err(EndpointError::Method(text.to_owned()));
        };
        match method {
            "unix" | "tcp" if rest.is_empty() => Err(empty()),
            "unix" => Ok(Self::unix(rest)),
            "tcp" => {
                let (host, port) = match rest.strip_prefix('[') {
                    Some(rest) => rest.split_once(']').ok_or_else(empty)?,
                    None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
                };
                if host.is_empty() {
                    return Err(empty());
                }
                let number = match port.strip_prefix(':') {
                    None if port.is_empty() => Some(PORT),
                    number => number.and_then(|number| number.parse().ok()),
                };
                match number {
                    Some(number @ 1..) => Ok(Self::tcp(host, number)),
                    _ => Err(EndpointError::Port {
                        text: text.to_owned(),
                        port: port.trim_start_matches(':').to_owned(),
                    }),
                }
            }
            _ => Err(EndpointError::Method(text.to_owned())),
        }
    }

    /// The name for messages; of a parsed endpoint its text, with the port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts an attempt to connect.
    pub fn dial(&self) -> Dialing {
        (self.dial)()
    }

    /// Connects for single questions.
    pub async fn connect(&self) -> io::Result<Client<Box<dyn Stream>>> {
        Ok(Client::new(self.dial().await?))
    }

    /// Connects, and asks for the schema of `database`.
    pub async fn get_schema(&self, database: &str) -> Result<DatabaseSchema, client::Error> {
        self.connect().await?.get_schema(database).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, name) in [
            ("unix:/run/db.sock", "unix:/run/db.sock"),
            ("tcp:127.0.0.1", "tcp:127.0.0.1:6640"),
            ("tcp:host:1", "tcp:host:1"),
            ("tcp:[::1]", "tcp:[::1]:6640"),
            ("tcp:[::1]:6641", "tcp:[::1]:6641"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().name(), name);
        }
        for (text, error) in [
            (
                "ssl:1.2.3.4:6640",
                "ssl:1.2.3.4:6640: only unix:PATH and tcp:HOST[:PORT] are connected to here",
            ),
            (
                "db",
                "db: only unix:PATH and tcp:HOST[:PORT] are connected to here",
            ),
            ("unix:", "unix:: a path or host is missing"),
            ("tcp::6640", "tcp::6640: a path or host is missing"),
            ("tcp:h:0", "tcp:h:0: bad port \"0\""),
            ("tcp:h:65536", "tcp:h:65536: bad port \"65536\""),
            ("tcp:[::1]6640", "tcp:[::1]6640: bad port \"6640\""),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap_err().to_string(), error);
        }
    }
}
