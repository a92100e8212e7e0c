//! Connection methods: `tcp:HOST:PORT`, `unix:PATH`, `ptcp:[PORT][:HOST]`, `punix:PATH`.
//!
//! IPv6 addresses are in brackets. Whoever parses gives the default port: 6640 for OVSDB, 6653
//! for OpenFlow. Relative Unix socket paths are in the run directory.
//!
//! Source: ovsdb(7), "Connection Methods". Used by both daemons and all tools. TLS (`ssl:`,
//! `pssl:`) is refused by name: this build has none.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::dirs;
use crate::socket::Socket;

/// The default port of OVSDB.
pub const OVSDB_PORT: u16 = 6640;
/// The default port of OpenFlow.
pub const OPENFLOW_PORT: u16 = 6653;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MethodError {
    #[error("{0}: TLS is not supported by this build")]
    Tls(String),
    #[error("{0}: unknown connection method")]
    Unknown(String),
    #[error("{0}: bad address or port")]
    BadAddress(String),
    #[error("{0}: a file name is missing")]
    NoPath(String),
}

/// How to dial out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Active {
    /// `host` is an address without brackets, or a name.
    Tcp {
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

/// How to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Passive {
    /// `port` 0 lets the kernel pick one.
    Tcp {
        address: IpAddr,
        port: u16,
    },
    Unix(PathBuf),
}

/// Either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Active(Active),
    Passive(Passive),
}

impl Method {
    pub fn parse(text: &str, default_port: u16) -> Result<Method, MethodError> {
        let (kind, rest) = text
            .split_once(':')
            .ok_or_else(|| MethodError::Unknown(text.to_owned()))?;
        match kind {
            "tcp" | "unix" => Active::parse(text, default_port).map(Method::Active),
            "ptcp" | "punix" => Passive::parse(text, default_port).map(Method::Passive),
            "ssl" | "pssl" => Err(MethodError::Tls(format!("{kind}:{rest}"))),
            _ => Err(MethodError::Unknown(text.to_owned())),
        }
    }
}

impl Active {
    pub fn parse(text: &str, default_port: u16) -> Result<Active, MethodError> {
        let bad = || MethodError::BadAddress(text.to_owned());
        match text.split_once(':') {
            Some(("tcp", rest)) => {
                let (host, port) = host_port(rest).ok_or_else(bad)?;
                let port = match port {
                    None => default_port,
                    Some(port) => port
                        .parse()
                        .ok()
                        .filter(|port| *port != 0)
                        .ok_or_else(bad)?,
                };
                if host.is_empty() {
                    return Err(bad());
                }
                Ok(Active::Tcp {
                    host: host.to_owned(),
                    port,
                })
            }
            Some(("unix", path)) => Ok(Active::Unix(unix_path(text, path)?)),
            Some(("ssl", _)) => Err(MethodError::Tls(text.to_owned())),
            _ => Err(MethodError::Unknown(text.to_owned())),
        }
    }

    /// Connects. The caller bounds the time.
    pub async fn connect(&self) -> io::Result<Connection> {
        match self {
            Active::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                Connection::tcp(stream, self.to_string())
            }
            Active::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                Ok(Connection {
                    peer: self.to_string(),
                    stream: Box::new(Socket::new(stream.into_std()?)?),
                })
            }
        }
    }
}

impl Passive {
    pub fn parse(text: &str, default_port: u16) -> Result<Passive, MethodError> {
        let bad = || MethodError::BadAddress(text.to_owned());
        match text.split_once(':') {
            Some(("ptcp", rest)) => {
                let (port, address) = match rest.split_once(':') {
                    Some((port, address)) => (port, address),
                    None => (rest, ""),
                };
                let port = match port {
                    "" => default_port,
                    port => port.parse().map_err(|_| bad())?,
                };
                let address = match address {
                    "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    address => unbracket(address).parse().map_err(|_| bad())?,
                };
                Ok(Passive::Tcp { address, port })
            }
            Some(("punix", path)) => Ok(Passive::Unix(unix_path(text, path)?)),
            Some(("pssl", _)) => Err(MethodError::Tls(text.to_owned())),
            _ => Err(MethodError::Unknown(text.to_owned())),
        }
    }

    /// Starts to listen; replaces a Unix socket that nobody listens on. Must run inside a tokio
    /// runtime. The port that the kernel picked is logged.
    pub async fn listen(&self) -> io::Result<Listener> {
        match self {
            Passive::Tcp { address, port } => {
                let listener = TcpListener::bind(SocketAddr::new(*address, *port)).await?;
                let local = listener.local_addr()?;
                if *port == 0 {
                    tracing::info!(
                        target: "socket_util",
                        "{self}: listening on port {}",
                        local.port()
                    );
                }
                Ok(Listener::Tcp { listener, local })
            }
            Passive::Unix(path) => Ok(Listener::Unix {
                listener: bind_unix(path)?,
                path: path.clone(),
            }),
        }
    }
}

impl fmt::Display for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Active::Tcp { host, port } if host.contains(':') => write!(f, "tcp:[{host}]:{port}"),
            Active::Tcp { host, port } => write!(f, "tcp:{host}:{port}"),
            Active::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Passive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Passive::Tcp {
                address: IpAddr::V6(address),
                port,
            } => write!(f, "ptcp:{port}:[{address}]"),
            Passive::Tcp { address, port } => write!(f, "ptcp:{port}:{address}"),
            Passive::Unix(path) => write!(f, "punix:{}", path.display()),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Active(active) => active.fmt(f),
            Method::Passive(passive) => passive.fmt(f),
        }
    }
}

/// A byte stream, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One connection and the name of its other end, such as `tcp:192.0.2.1:40312` or `unix#3`.
pub struct Connection {
    pub peer: String,
    pub stream: Box<dyn Stream>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.peer).finish()
    }
}

impl Connection {
    fn tcp(stream: TcpStream, peer: String) -> io::Result<Connection> {
        // Requests are small and each waits for its answer.
        stream.set_nodelay(true)?;
        Ok(Connection {
            peer,
            stream: Box::new(Socket::new(stream.into_std()?)?),
        })
    }
}

/// A listening socket. A Unix socket's file is removed when it is dropped.
#[derive(Debug)]
pub enum Listener {
    Tcp {
        listener: TcpListener,
        local: SocketAddr,
    },
    Unix {
        listener: UnixListener,
        path: PathBuf,
    },
}

static UNIX_PEERS: AtomicU64 = AtomicU64::new(0);

impl Listener {
    /// The next connection. Cancel safe.
    pub async fn accept(&self) -> io::Result<Connection> {
        match self {
            Listener::Tcp { listener, .. } => {
                let (stream, peer) = listener.accept().await?;
                Connection::tcp(stream, format!("tcp:{peer}"))
            }
            Listener::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let number = UNIX_PEERS.fetch_add(1, Ordering::Relaxed);
                Ok(Connection {
                    peer: format!("unix#{number}"),
                    stream: Box::new(Socket::new(stream.into_std()?)?),
                })
            }
        }
    }

    /// The address of a TCP listener, with the port that was picked.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp { local, .. } => Some(*local),
            Listener::Unix { .. } => None,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix { path, .. } = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens on a Unix socket that others may connect to as the umask allows. What a dead daemon
/// left at `path` is replaced; a socket on which somebody answers is not.
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt;
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let is_socket = std::fs::symlink_metadata(path)
                .is_ok_and(|metadata| metadata.file_type().is_socket());
            if !is_socket || std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        other => other,
    }
}

fn unix_path(text: &str, path: &str) -> Result<PathBuf, MethodError> {
    if path.is_empty() {
        return Err(MethodError::NoPath(text.to_owned()));
    }
    Ok(dirs::absolute_in(&dirs::rundir(), path))
}

fn unbracket(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(text)
}

/// Splits `HOST[:PORT]`, where an IPv6 address is in brackets.
fn host_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            rest => rest.strip_prefix(':').map(|port| (host, Some(port))),
        };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        // More than one colon without brackets can only be an IPv6 address by itself.
        Some((_, rest)) if rest.contains(':') => text
            .parse::<std::net::Ipv6Addr>()
            .ok()
            .map(|_| (text, None)),
        Some((host, port)) => Some((host, Some(port))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn shown(text: &str) -> String {
        match Method::parse(text, 6640) {
            Ok(method) => method.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn methods() {
        assert_eq!(shown("tcp:127.0.0.1"), "tcp:127.0.0.1:6640");
        assert_eq!(shown("tcp:127.0.0.1:1"), "tcp:127.0.0.1:1");
        assert_eq!(shown("tcp:[::1]:1"), "tcp:[::1]:1");
        assert_eq!(shown("tcp:::1"), "tcp:[::1]:6640");
        assert_eq!(shown("ptcp:"), "ptcp:6640:0.0.0.0");
        assert_eq!(shown("ptcp:0:127.0.0.1"), "ptcp:0:127.0.0.1");
        assert_eq!(shown("ptcp:7:[::]"), "ptcp:7:[::]");
        assert_eq!(shown("unix:/a/b"), "unix:/a/b");
        assert_eq!(shown("punix:/a/b"), "punix:/a/b");
        assert_eq!(
            shown("ssl:1.2.3.4"),
            "error: ssl:1.2.3.4: TLS is not supported by this build"
        );
        for bad in [
            "tcp:",
            "tcp::1",
            "tcp:1.2.3.4:0",
            "tcp:1.2.3.4:99999",
            "tcp:[::1",
            "unix:",
            "x:1",
            "ptcp:x",
            "ptcp:1:2.3.4",
            "",
            "tcp",
        ] {
            assert!(shown(bad).starts_with("error: "), "{bad}");
        }
    }

    #[test]
    fn talks_over_tcp_and_unix() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            // A dead daemon's socket is in the way.
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            for passive in [
                "ptcp:0:127.0.0.1".to_owned(),
                format!("punix:{}", path.display()),
            ] {
                let listener = Passive::parse(&passive, 0).unwrap().listen().await.unwrap();
                let active = match listener.local_addr() {
                    Some(local) => format!("tcp:{local}"),
                    None => format!("unix:{}", path.display()),
                };
                let active = Active::parse(&active, 0).unwrap();
                let (mut client, server) = tokio::join!(active.connect(), listener.accept());
                let server = &mut server.unwrap().stream;
                client
                    .as_mut()
                    .unwrap()
                    .stream
                    .write_all(b"hi")
                    .await
                    .unwrap();
                let mut got = [0u8; 2];
                server.read_exact(&mut got).await.unwrap();
                assert_eq!(&got, b"hi");
            }
        });
        assert!(!path.exists());
    }
}
