//! The JSON-RPC 2.0 face: the same databases over HTTP and WebSocket, for scripts and browsers.
//!
//! Off unless `--http` gives an address. A request over HTTP, or a WebSocket, is a session of the
//! server like any OVSDB connection: its messages go through the event loop, its answers wait for
//! the disk, its monitors see what all monitors see. `jsonrpsee` has the protocol; what is here is
//! who may come in, how much, and how its calls become the server's messages.
//!
//! | Module | What |
//! | --- | --- |
//! | [`guard`], [`token`] | who may come in: `Host`, `Origin`, bearer token |
//! | [`http`], [`stream`] | a connection: requests, limits in time and number |
//! | [`methods`] | the methods, their parameters and errors |
//! | [`session`], [`router`], [`deliver`] | calls and subscriptions to messages of the server and back |
//!
//! Source: JSON-RPC 2.0; RFC 7047, 4.1 for what the methods mean. `docs/web.md` is the user's page.

mod deliver;
mod guard;
mod http;
mod methods;
mod router;
mod session;
mod stream;
mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use daemon::rate_limit::RateLimit;
use jsonrpsee::server::{Methods, ServerHandle, StopHandle, stop_channel};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::event_loop::Event;
use guard::Guard;
use stream::Stream;
use token::TokenFile;

/// Connections at a time, of all addresses together.
const MAX_CONNECTIONS: usize = 100;

static ACCEPT_ERRORS: RateLimit = RateLimit::new(12, 1);
static REFUSED: RateLimit = RateLimit::new(12, 1);

/// Why the face cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--http={0}: not of the form ADDRESS:PORT, with an IP address")]
    Address(String),
    #[error(
        "--http={0}: not a loopback address; anybody who reaches it could read the databases, \
        which --http-allow-remote permits"
    )]
    Remote(SocketAddr),
    #[error("--http-allow-origin={0}: not of the form http://HOST[:PORT] or https://HOST[:PORT]")]
    Origin(String),
    #[error("--http-allow-host={0}: not a host name")]
    Host(String),
    #[error("option '--{0}' is of no use without --http")]
    WithoutAddress(&'static str),
    #[error("--http-token-file: {0}")]
    Token(#[from] token::Error),
    #[error("--http={address}: {source}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot offer the methods: {0}")]
    Methods(#[from] jsonrpsee::core::RegisterMethodError),
}

/// What the command line says about the face.
#[derive(Debug, Default)]
pub struct Config {
    addresses: Vec<SocketAddr>,
    allow_remote: bool,
    token_file: Option<PathBuf>,
    /// Web pages' origins that may call, as browsers spell them.
    origins: Vec<String>,
    /// Names that clients may call us by, in lower case.
    hosts: Vec<String>,
}

impl Config {
    /// `--http=ADDRESS:PORT`
    pub fn add_address(&mut self, text: &str) -> Result<(), Error> {
        let address = text.parse();
        let address = address.map_err(|_| Error::Address(text.to_owned()))?;
        self.addresses.push(address);
        Ok(())
    }

    /// `--http-allow-remote`
    pub fn allow_remote(&mut self) {
        self.allow_remote = true;
    }

    /// `--http-token-file=FILE`
    pub fn set_token_file(&mut self, path: PathBuf) {
        self.token_file = Some(path);
    }

    /// `--http-allow-origin=ORIGIN`
    pub fn add_origin(&mut self, text: &str) -> Result<(), Error> {
        let origin = guard::parse_origin(text).ok_or_else(|| Error::Origin(text.to_owned()))?;
        self.origins.push(origin);
        Ok(())
    }

    /// `--http-allow-host=NAME`
    pub fn add_host(&mut self, text: &str) -> Result<(), Error> {
        let name = guard::parse_host_name(text).ok_or_else(|| Error::Host(text.to_owned()))?;
        self.hosts.push(name);
        Ok(())
    }

    /// Checks what only all options together show.
    pub fn check(&self) -> Result<(), Error> {
        if self.addresses.is_empty() {
            let given = [
                ("http-allow-remote", self.allow_remote),
                ("http-token-file", self.token_file.is_some()),
                ("http-allow-origin", !self.origins.is_empty()),
                ("http-allow-host", !self.hosts.is_empty()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((option, _)) => Err(Error::WithoutAddress(option)),
                None => Ok(()),
            };
        }
        let mut addresses = self.addresses.iter();
        match addresses.find(|address| !address.ip().to_canonical().is_loopback()) {
            Some(address) if !self.allow_remote => Err(Error::Remote(*address)),
            _ => Ok(()),
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    guard: Guard,
    methods: Methods,
    events: mpsc::Sender<Event>,
    places: Arc<Semaphore>,
    next_connection: AtomicU32,
    stop: StopHandle,
}

/// The listeners at work; dropping it stops them.
#[derive(Debug)]
pub struct Face {
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Connections end when this is gone.
    _running: ServerHandle,
}

/// Starts to listen; `None` when no address is configured.
pub async fn start(config: Config, events: mpsc::Sender<Event>) -> Result<Option<Face>, Error> {
    if config.addresses.is_empty() {
        return Ok(None);
    }
    let token = config.token_file.map(TokenFile::open).transpose()?;
    let (stop, running) = stop_channel();
    let shared = Arc::new(Shared {
        guard: Guard {
            hosts: config.hosts,
            origins: config.origins,
            token: token.map(Arc::new),
        },
        methods: methods::methods()?,
        events,
        places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        next_connection: AtomicU32::new(0),
        stop,
    });
    let mut face = Face {
        tasks: Vec::new(),
        _running: running,
    };
    for address in config.addresses {
        let error = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(error)?;
        let bound = listener.local_addr().map_err(error)?;
        tracing::info!("http:{bound}: listening");
        let accepting = accept(listener, format!("http:{bound}").into(), shared.clone());
        face.tasks.push(tokio::spawn(accepting));
    }
    Ok(Some(face))
}

impl Face {
    /// Stops listening, and returns when the sockets are gone.
    pub async fn stop(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, remote: Arc<str>, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => match Arc::clone(&shared.places).try_acquire_owned() {
                Ok(place) => {
                    tracing::debug!("{peer}: connected to {remote}");
                    let _ = socket.set_nodelay(true);
                    let stream = Stream::new(socket, place);
                    tokio::spawn(http::serve(stream, peer, remote.clone(), shared.clone()));
                }
                Err(_) => refuse(&socket, &remote),
            },
            Err(error) => {
                // Out of descriptors, most likely: try again when some may be free.
                if let Some(dropped) = ACCEPT_ERRORS.allow(Instant::now()) {
                    tracing::warn!("{remote}: accept failed: {error}{dropped}");
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Answers a connection that is one too many, and forgets it.
fn refuse(socket: &TcpStream, remote: &str) {
    const ANSWER: &str = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\
        Content-Type: text/plain\r\nContent-Length: 21\r\n\r\ntoo many connections\n";
    if let Some(dropped) = REFUSED.allow(Instant::now()) {
        tracing::warn!("{remote}: connection refused: there are {MAX_CONNECTIONS}{dropped}");
    }
    // An empty socket buffer takes this; if not, the peer sees the connection end.
    let _ = socket.try_write(ANSWER.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: &str) -> Config {
        let mut config = Config::default();
        config.add_address(address).unwrap();
        config
    }

    #[test]
    fn loopback_unless_told_otherwise() {
        for (address, good) in [
            ("127.0.0.1:80", true),
            ("127.8.8.8:0", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("192.0.2.1:80", false),
        ] {
            let mut config = config(address);
            assert_eq!(config.check().is_ok(), good, "{address}");
            config.allow_remote();
            assert!(config.check().is_ok(), "{address}");
        }
        for address in ["localhost:80", "127.0.0.1", ":80", "80", "127.0.0.1:99999"] {
            assert!(Config::default().add_address(address).is_err(), "{address}");
        }
    }

    #[test]
    fn nothing_without_an_address() {
        assert!(Config::default().check().is_ok());
        let mut config = Config::default();
        config.set_token_file("/x".into());
        let text = config.check().unwrap_err().to_string();
        assert!(text.contains("--http-token-file"), "{text}");
    }
}
