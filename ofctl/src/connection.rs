//! One OpenFlow connection to a switch, from the side of a tool.
//!
//! A request goes out with a transaction id of its own and its reply is awaited; echo requests
//! are answered in between and other messages are left aside. Transaction ids count up over all
//! connections of the process, hellos included, as they do in ovs-ofctl.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use daemon::dirs;
use daemon::stream::{Active, OPENFLOW_PORT, Stream};
use openflow::codec::{Decoded, Dialect, Header, decode, encode};
use openflow::message::{Hello, Message};
use openflow::text::{Names, message_bytes};
use openflow::{Version, VersionBitmap};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};

use crate::error::Error;

const HEADER_LEN: usize = 8;
/// Bytes of messages that are sent at once: much larger than any one message, small enough to keep
/// the switch busy meanwhile.
pub const WRITE_CHUNK: usize = 1 << 16;

static NEXT_XID: AtomicU32 = AtomicU32::new(1);

/// A transaction id that was not used before.
pub fn next_xid() -> u32 {
    NEXT_XID.fetch_add(1, Ordering::Relaxed)
}

/// Reserves `n` transaction ids in a row and returns the first.
pub fn reserve_xids(n: u32) -> u32 {
    NEXT_XID.fetch_add(n, Ordering::Relaxed)
}

/// A message as it came.
#[derive(Debug)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub header: Header,
}

impl Received {
    /// Reads it as a message of the connection's dialect.
    pub fn decode(&self, connection: &Connection) -> Result<Decoded, Error> {
        decode(&self.bytes, &connection.dialect).map_err(|source| Error::Decode {
            target: connection.target.clone(),
            source,
        })
    }

    /// A part of a multipart reply behind which more follow.
    pub fn has_more(&self) -> bool {
        const FLAGS: std::ops::Range<usize> = 10..12;
        const MORE: u8 = 1;
        openflow::codec::is_multipart_reply(&self.header)
            && matches!(self.bytes.get(FLAGS), Some([_, low]) if low & MORE != 0)
    }

    pub fn is_error(&self) -> bool {
        self.header.kind == 1
    }

    /// As text, for the user.
    pub fn print(&self, names: &Names, verbosity: u8) -> String {
        message_bytes::print(&self.bytes, names, verbosity)
    }
}

/// An established connection.
pub struct Connection {
    /// As the user named it.
    pub target: String,
    /// Where that is.
    pub method: String,
    pub dialect: Dialect,
    reader: BufReader<ReadHalf<Box<dyn Stream>>>,
    writer: WriteHalf<Box<dyn Stream>>,
}

/// Where `target` is: a connection method, a bridge's socket, or the file of a socket. `suffix`
/// is `mgmt` or `snoop`.
pub fn locate(target: &str, suffix: &str) -> Result<Active, Error> {
    if target.contains(':') {
        return Ok(Active::parse(target, OPENFLOW_PORT)?);
    }
    // `TYPE@NAME` names the bridge with its datapath's type.
    let bridge = target.rsplit('@').next().unwrap_or(target);
    let of_bridge = dirs::rundir().join(format!("{bridge}.{suffix}"));
    for path in [of_bridge, PathBuf::from(target)] {
        if is_socket(&path) {
            return Ok(Active::Unix(path));
        }
    }
    Err(Error::NoSuchTarget(target.to_owned()))
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.file_type().is_socket())
}

impl Connection {
    /// Connects and agrees on one of `versions`.
    pub async fn open(target: &str, versions: VersionBitmap) -> Result<Connection, Error> {
        Connection::open_socket(target, "mgmt", versions).await
    }

    /// As [`Connection::open`], on a bridge's socket with this suffix.
    pub async fn open_socket(
        target: &str,
        suffix: &str,
        versions: VersionBitmap,
    ) -> Result<Connection, Error> {
        let method = locate(target, suffix)?;
        let connected = method.connect().await.map_err(|source| {
            if target.contains(':') {
                Error::Connect {
                    method: method.to_string(),
                    source,
                }
            } else {
                Error::Open {
                    path: match &method {
                        Active::Unix(path) => path.display().to_string(),
                        other => other.to_string(),
                    },
                    source,
                }
            }
        })?;
        let (reader, writer) = tokio::io::split(connected.stream);
        let offered = versions.highest().unwrap_or(Version::Of10);
        let mut connection = Connection {
            target: target.to_owned(),
            method: method.to_string(),
            dialect: Dialect::from(offered),
            reader: BufReader::new(reader),
            writer,
        };
        connection.handshake(&method, versions).await?;
        Ok(connection)
    }

    async fn handshake(&mut self, method: &Active, versions: VersionBitmap) -> Result<(), Error> {
        let target = self.target.clone();
        let failed = |e| match e {
            Error::Stream { source, .. } => Error::HandshakeStream {
                target: target.clone(),
                source,
            },
            other => other,
        };
        self.send(&Message::Hello(Hello { versions }), next_xid())
            .await
            .map_err(failed)?;
        let received = recv(&mut self.reader, &self.target).await.map_err(failed)?;
        let Some(received) = received else {
            return Err(Error::Handshake(self.target.clone()));
        };
        let decoded = received.decode(self)?;
        let Message::Hello(peer) = decoded.message else {
            return Err(Error::Handshake(self.target.clone()));
        };
        match peer.versions.intersect(versions).highest() {
            Some(version) => {
                self.dialect = Dialect::from(version);
                Ok(())
            }
            None => {
                eprintln!(
                    "{}: {method}: version negotiation failed (we support version{}, \
                     peer supports version{})",
                    dirs::program_name(),
                    list(versions),
                    list(peer.versions)
                );
                Err(Error::Handshake(self.target.clone()))
            }
        }
    }

    pub fn version(&self) -> Version {
        self.dialect.version
    }

    pub async fn send(&mut self, message: &Message, xid: u32) -> Result<(), Error> {
        let bytes = encode(message, self.dialect, xid)?;
        self.send_bytes(&bytes).await
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let failed = |source| Error::Stream {
            what: "vconn_send",
            source,
        };
        self.writer.write_all(bytes).await.map_err(failed)?;
        self.writer.flush().await.map_err(failed)
    }

    /// The next message.
    pub async fn recv(&mut self) -> Result<Received, Error> {
        recv(&mut self.reader, &self.target)
            .await?
            .ok_or(Error::EndOfFile)
    }

    /// The next message with this transaction id; answers echo requests meanwhile.
    pub async fn recv_xid(&mut self, xid: u32) -> Result<Received, Error> {
        loop {
            let received = self.recv().await?;
            if received.header.xid == xid && !self.answered_echo(&received).await? {
                return Ok(received);
            }
        }
    }

    /// Answers an echo request; says whether it was one.
    pub async fn answered_echo(&mut self, received: &Received) -> Result<bool, Error> {
        const ECHO_REQUEST: u8 = 2;
        if received.header.kind != ECHO_REQUEST {
            return Ok(false);
        }
        if let Message::EchoRequest(data) = received.decode(self)?.message {
            let reply = Message::EchoReply(data);
            self.send(&reply, received.header.xid).await?;
        }
        Ok(true)
    }

    /// Sends a request and waits for its reply, of whatever kind.
    pub async fn ask(&mut self, request: &Message) -> Result<Received, Error> {
        let xid = next_xid();
        self.send(request, xid).await?;
        self.recv_xid(xid).await
    }

    /// Sends a request and waits for its reply; an error is an error.
    pub async fn transact(&mut self, request: &Message) -> Result<Message, Error> {
        let received = self.ask(request).await?;
        if received.is_error() {
            return Err(Error::Refused(received.print(&Names::none(), 2)));
        }
        Ok(received.decode(self)?.message)
    }

    /// Sends a request that has no reply and a barrier behind it. Returns the error, if any.
    pub async fn transact_noreply(&mut self, request: &Message) -> Result<Option<Received>, Error> {
        let xid = next_xid();
        self.send(request, xid).await?;
        self.sync(xid).await
    }

    /// Waits until the switch has carried out everything so far; returns the error reply to
    /// `xid`, if there was one.
    pub async fn sync(&mut self, xid: u32) -> Result<Option<Received>, Error> {
        let barrier = next_xid();
        self.send(&Message::BarrierRequest, barrier).await?;
        let mut error = None;
        loop {
            let received = self.recv().await?;
            if self.answered_echo(&received).await? {
                continue;
            }
            if received.header.xid == barrier {
                return Ok(error);
            }
            if received.header.xid == xid && received.is_error() && error.is_none() {
                error = Some(received);
            }
        }
    }

    /// Sends many messages and one barrier behind them, and reads what comes meanwhile; `each`
    /// gets every error reply.
    ///
    /// `messages` gives them in chunks, the last of which is empty. Where it fails, what it gave
    /// before has been sent.
    pub async fn pipeline(
        &mut self,
        mut messages: impl FnMut() -> Result<Vec<u8>, Error>,
        mut each: impl FnMut(Received),
    ) -> Result<(), Error> {
        let barrier = next_xid();
        let end = encode(&Message::BarrierRequest, self.dialect, barrier)?;
        let failed = |source| Error::Stream {
            what: "vconn_send",
            source,
        };
        let writer = &mut self.writer;
        let write = async {
            let all_given = loop {
                match messages() {
                    Ok(chunk) if chunk.is_empty() => break Ok(()),
                    Ok(chunk) => writer.write_all(&chunk).await.map_err(failed)?,
                    Err(error) => break Err(error),
                }
            };
            // The reader waits for the end in any case.
            writer.write_all(&end).await.map_err(failed)?;
            writer.flush().await.map_err(failed)?;
            all_given
        };
        let (reader, target) = (&mut self.reader, &self.target);
        let mut echoes = Vec::new();
        let read = async {
            loop {
                let received = recv(reader, target).await?.ok_or(Error::EndOfFile)?;
                if received.header.xid == barrier {
                    return Ok::<(), Error>(());
                }
                if received.is_error() {
                    each(received);
                } else if echoes.len() < 16 {
                    // Answered afterwards: the writer is busy.
                    echoes.push(received);
                }
            }
        };
        let (written, read) = tokio::join!(write, read);
        read?;
        written?;
        for received in echoes {
            self.answered_echo(&received).await?;
        }
        Ok(())
    }
}

/// Reads one message; `None` at the end of the stream between two.
async fn recv(
    reader: &mut BufReader<ReadHalf<Box<dyn Stream>>>,
    target: &str,
) -> Result<Option<Received>, Error> {
    let failed = |source| Error::Stream {
        what: "vconn_recv",
        source,
    };
    let mut head = [0u8; HEADER_LEN];
    let mut got = 0;
    while let Some(free) = head.get_mut(got..).filter(|f| !f.is_empty()) {
        let n = reader.read(free).await.map_err(failed)?;
        if n == 0 {
            return if got == 0 {
                Ok(None)
            } else {
                Err(Error::EndOfFile)
            };
        }
        got += n;
    }
    let header = Header::decode(&head).map_err(|source| Error::Decode {
        target: target.to_owned(),
        source,
    })?;
    let Some(rest) = usize::from(header.len).checked_sub(HEADER_LEN) else {
        return Err(Error::BadLength {
            target: target.to_owned(),
            len: header.len,
        });
    };
    let mut bytes = head.to_vec();
    bytes.resize(HEADER_LEN + rest, 0);
    if let Some(body) = bytes.get_mut(HEADER_LEN..) {
        reader.read_exact(body).await.map_err(failed)?;
    }
    Ok(Some(Received { bytes, header }))
}

/// ` 0x01` or `s 0x01, 0x04`.
fn list(versions: VersionBitmap) -> String {
    let numbers: Vec<String> = (0..32)
        .filter(|n| versions.0 & (1 << n) != 0)
        .map(|n| format!("0x{n:02x}"))
        .collect();
    let plural = if numbers.len() == 1 { "" } else { "s" };
    format!("{plural} {}", numbers.join(", "))
}
