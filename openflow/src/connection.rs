//! One OpenFlow connection as a state machine without I/O.
//!
//! Both ends use it. The owner of the socket gives it what arrived ([`Connection::handle_bytes`])
//! and the time, takes what is to be sent ([`Connection::transmit`], [`Connection::consume`]) and
//! what happened ([`Connection::poll_event`]), and calls [`Connection::handle_timeout`] when
//! [`Connection::poll_timeout`] has passed. After each input it drains the outputs.
//!
//! The connection itself negotiates the version, answers echo requests, probes an idle peer,
//! answers requests that cannot be decoded, and follows the choices of the Nicira extensions
//! (flow format, packet-in format, table id in flow-mods). Everything else is the owner's:
//! reconnecting, roles, what the messages mean.
//!
//! After an [`Error`] the owner sends what is left to send and closes.
//!
//! Source: OpenFlow 1.3.5, 6.3.1, 6.4, 7.5.1; Open vSwitch `lib/vconn.c` and `lib/rconn.c` for
//! what the specification leaves open.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use crate::codec::{self, DecodeError, Dialect, ERROR_DATA_LEN, EncodeError, Header};
use crate::error::OfError;
use crate::frame::{self, FrameReader};
use crate::message::{ErrorMessage, Hello, Message};
use crate::version::{Version, VersionBitmap};

/// Transaction id of the probes; others count from 1.
const PROBE_XID: u32 = 0;

/// What the owner decides about a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The versions to offer, of those that the codec speaks.
    pub versions: VersionBitmap,
    /// An idle peer is probed after this, and given up after as much again; `None` = never.
    pub inactivity_probe: Option<Duration>,
    /// For the peer's hello to arrive.
    pub handshake_timeout: Duration,
    /// Bytes that may wait to be sent.
    pub send_limit: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            versions: VersionBitmap::supported(),
            inactivity_probe: Some(Duration::from_secs(5)),
            handshake_timeout: Duration::from_secs(10),
            send_limit: 64 << 20,
        }
    }
}

/// Why the connection must be closed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Error {
    #[error("{0}")]
    Frame(#[from] frame::Error),
    #[error("no OpenFlow version in common (we support {ours:#x}, peer supports {theirs:#x})")]
    NoCommonVersion { ours: u32, theirs: u32 },
    #[error("the peer refused our hello: {0}")]
    HelloRefused(String),
    #[error("the peer's first message is of type {kind}, not a hello")]
    NoHello { kind: u8 },
    #[error("no hello within {}s", .0.as_secs())]
    HandshakeTimeout(Duration),
    #[error("no response to the inactivity probe after {}s", .0.as_secs())]
    Inactive(Duration),
}

/// Why a message was not sent; the connection goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SendError {
    #[error("the connection has not been negotiated yet")]
    NotReady,
    #[error("{len} bytes wait to be sent already")]
    Full { len: usize },
    #[error("{0}")]
    Encode(#[from] EncodeError),
}

/// What happened on the connection.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The version is agreed; messages can be sent.
    Ready(Version),
    /// A message arrived.
    Message {
        header: Header,
        /// More parts of a multipart reply follow.
        more: bool,
        message: Message,
        /// The whole message.
        raw: Bytes,
    },
    /// A message arrived that cannot be decoded. If it was a request, the error reply is
    /// already queued.
    Undecodable {
        header: Header,
        error: DecodeError,
        raw: Bytes,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Our hello is queued, the peer's has not come.
    Hello {
        since: Instant,
    },
    Ready,
    /// An [`Error`] was given.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    state: State,
    reader: FrameReader,
    out: BytesMut,
    dialect: Dialect,
    next_xid: u32,
    /// When the last bytes arrived.
    last_received: Instant,
    /// When the probe was sent that has not been answered.
    probed: Option<Instant>,
}

impl Connection {
    /// A connection that has just been made; its hello is queued.
    pub fn new(config: Config, now: Instant) -> Connection {
        let versions = config.versions.intersect(VersionBitmap::supported());
        let version = versions.highest().unwrap_or(Version::Of10);
        let mut connection = Connection {
            config: Config { versions, ..config },
            state: State::Hello { since: now },
            reader: FrameReader::default(),
            out: BytesMut::new(),
            dialect: version.into(),
            next_xid: 1,
            last_received: now,
            probed: None,
        };
        let xid = connection.allocate_xid();
        connection
            .put(&Message::Hello(Hello { versions }), xid)
            .ok();
        connection
    }

    /// The agreed version.
    pub fn version(&self) -> Option<Version> {
        (self.state == State::Ready).then_some(self.dialect.version)
    }

    /// How messages are written at the moment.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Adds bytes that arrived. The caller then takes all events.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) -> Result<(), Error> {
        if !bytes.is_empty() {
            self.last_received = now;
            self.probed = None;
        }
        self.reader
            .handle_bytes(bytes)
            .map_err(|e| self.close(e.into()))
    }

    /// Probes an idle peer, or gives it up.
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        match self.state {
            State::Hello { since } => {
                let timeout = self.config.handshake_timeout;
                if now.saturating_duration_since(since) >= timeout {
                    return Err(self.close(Error::HandshakeTimeout(timeout)));
                }
            }
            State::Ready => {
                let Some(interval) = self.config.inactivity_probe else {
                    return Ok(());
                };
                let since = self.probed.unwrap_or(self.last_received);
                if now.saturating_duration_since(since) < interval {
                    return Ok(());
                }
                if self.probed.is_some() {
                    return Err(self.close(Error::Inactive(interval)));
                }
                self.probed = Some(now);
                self.put(&Message::EchoRequest(Bytes::new()), PROBE_XID)
                    .ok();
            }
            State::Closed => {}
        }
        Ok(())
    }

    /// When [`Connection::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Hello { since } => since.checked_add(self.config.handshake_timeout),
            State::Ready => {
                let since = self.probed.unwrap_or(self.last_received);
                since.checked_add(self.config.inactivity_probe?)
            }
            State::Closed => None,
        }
    }

    /// Changes the time after which an idle peer is probed.
    pub fn set_inactivity_probe(&mut self, interval: Option<Duration>) {
        self.config.inactivity_probe = interval;
    }

    /// Takes the next thing that happened.
    ///
    /// Errors: the connection must be closed; earlier events have all been taken.
    pub fn poll_event(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let raw = match self.state {
                State::Closed => return Ok(None),
                _ => self.reader.poll_frame().map_err(|e| self.close(e.into()))?,
            };
            let Some(raw) = raw else { return Ok(None) };
            let event = match self.state {
                State::Hello { .. } => Some(self.handle_first(&raw)?),
                _ => self.handle_message(raw),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// Queues a message; gives its transaction id.
    pub fn send(&mut self, message: &Message) -> Result<u32, SendError> {
        let xid = self.allocate_xid();
        self.send_with_xid(message, xid)?;
        Ok(xid)
    }

    /// Queues a message with a transaction id, as replies have that of their request.
    pub fn send_with_xid(&mut self, message: &Message, xid: u32) -> Result<(), SendError> {
        if self.state != State::Ready {
            return Err(SendError::NotReady);
        }
        self.put(message, xid)?;
        self.follow(message);
        Ok(())
    }

    /// Queues an error about a message that was received.
    pub fn send_error(
        &mut self,
        error: OfError,
        xid: u32,
        request: &[u8],
    ) -> Result<(), SendError> {
        let data = request.get(..ERROR_DATA_LEN).unwrap_or(request);
        let data = Bytes::copy_from_slice(data);
        self.put(&Message::Error(ErrorMessage::Known { error, data }), xid)
    }

    /// Queues bytes that are a whole message already.
    pub fn send_raw(&mut self, message: &[u8]) -> Result<(), SendError> {
        if self.state != State::Ready {
            return Err(SendError::NotReady);
        }
        self.put_bytes(message)
    }

    /// A transaction id that was not given for a long time.
    pub fn allocate_xid(&mut self) -> u32 {
        let xid = self.next_xid;
        self.next_xid = xid.checked_add(1).unwrap_or(1);
        xid
    }

    /// What is to be sent.
    pub fn transmit(&self) -> &[u8] {
        &self.out
    }

    /// Forgets the first `n` bytes of [`Connection::transmit`], which were sent.
    pub fn consume(&mut self, n: usize) {
        self.out.advance(n.min(self.out.len()));
    }

    /// So much waits that the owner should not read more requests before some is sent.
    pub fn is_congested(&self) -> bool {
        self.out.len() >= self.config.send_limit / 4
    }

    fn close(&mut self, error: Error) -> Error {
        self.state = State::Closed;
        error
    }

    fn put(&mut self, message: &Message, xid: u32) -> Result<(), SendError> {
        let bytes = codec::encode(message, self.dialect, xid)?;
        self.put_bytes(&bytes)
    }

    fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        let len = self.out.len();
        if len.saturating_add(bytes.len()) > self.config.send_limit {
            return Err(SendError::Full { len });
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// The peer's first message: hello, or an error that refuses ours.
    fn handle_first(&mut self, raw: &[u8]) -> Result<Event, Error> {
        let (kind, message) = match codec::decode(raw, &self.dialect) {
            Ok(decoded) => (decoded.header.kind, decoded.message),
            Err(_) => {
                let kind = Header::decode(raw).map_or(0, |h| h.kind);
                return Err(self.close(Error::NoHello { kind }));
            }
        };
        let theirs = match message {
            Message::Hello(hello) => hello.versions,
            Message::Error(ErrorMessage::Known { error, data }) => {
                let text = String::from_utf8_lossy(&data).into_owned();
                return Err(self.close(Error::HelloRefused(format!("{error}: {text}"))));
            }
            _ => return Err(self.close(Error::NoHello { kind })),
        };
        let ours = self.config.versions;
        let Some(version) = ours.intersect(theirs).highest() else {
            self.refuse_hello(theirs);
            let error = Error::NoCommonVersion {
                ours: ours.0,
                theirs: theirs.0,
            };
            return Err(self.close(error));
        };
        self.dialect = version.into();
        self.state = State::Ready;
        Ok(Event::Ready(version))
    }

    fn refuse_hello(&mut self, theirs: VersionBitmap) {
        let text = format!(
            "no common version: this end supports {}, the other supports {}",
            version_names(self.config.versions),
            version_names(theirs)
        );
        let error = ErrorMessage::Known {
            error: OfError::HfcIncompatible,
            data: text.into(),
        };
        let xid = self.allocate_xid();
        self.put(&Message::Error(error), xid).ok();
    }

    /// A message after the handshake; nothing comes of those that the connection itself serves.
    fn handle_message(&mut self, raw: Bytes) -> Option<Event> {
        let header = Header::decode(&raw).ok()?;
        let decoded = codec::decode(&raw, &self.dialect).and_then(|decoded| {
            let any_version = matches!(
                decoded.message,
                Message::Hello(_) | Message::Error(_) | Message::EchoRequest(_)
            );
            if header.version == self.dialect.version.wire() || any_version {
                Ok(decoded)
            } else {
                let what = "version other than the negotiated one";
                Err(DecodeError::Bad {
                    what,
                    error: OfError::BrcBadVersion,
                })
            }
        });
        match decoded {
            Ok(decoded) => {
                self.follow(&decoded.message);
                match decoded.message {
                    Message::Hello(_) => None,
                    Message::EchoRequest(data) => {
                        // A peer that does not read gets no answer.
                        self.put(&Message::EchoReply(data), header.xid).ok();
                        None
                    }
                    Message::EchoReply(_) if header.xid == PROBE_XID => None,
                    message => Some(Event::Message {
                        header,
                        more: decoded.more,
                        message,
                        raw,
                    }),
                }
            }
            Err(error) => {
                if !codec::is_reply(&header) {
                    self.send_error(error.error(), header.xid, &raw).ok();
                }
                Some(Event::Undecodable { header, error, raw })
            }
        }
    }

    /// Follows what a message says about later ones, whichever end sent it.
    fn follow(&mut self, message: &Message) {
        match message {
            Message::SetFlowFormat(format) => self.dialect.flow_format = *format,
            Message::SetFlowModTableId(on) => self.dialect.flow_mod_table_id = *on,
            Message::SetPacketInFormat(format) => self.dialect.packet_in_format = *format,
            _ => {}
        }
    }
}

fn version_names(set: VersionBitmap) -> String {
    let names: Vec<String> = (1..32)
        .filter(|n| set.0 & (1 << n) != 0)
        .map(|n| format!("0x{n:02x}"))
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::FlowMod;

    type Events = Vec<Result<Event, Error>>;

    /// Two ends and one clock.
    struct Pair {
        a: Connection,
        b: Connection,
        now: Instant,
    }

    impl Pair {
        fn new(a: Config, b: Config) -> Pair {
            let now = Instant::now();
            Pair {
                a: Connection::new(a, now),
                b: Connection::new(b, now),
                now,
            }
        }

        /// Carries bytes until neither end has any; gives the events of both.
        fn run(&mut self) -> (Events, Events) {
            let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
            for _ in 0..100 {
                if self.a.transmit().is_empty() && self.b.transmit().is_empty() {
                    return (from_a, from_b);
                }
                carry(&mut self.a, &mut self.b, self.now, &mut from_b);
                carry(&mut self.b, &mut self.a, self.now, &mut from_a);
            }
            panic!("the ends never fall silent");
        }
    }

    fn carry(from: &mut Connection, to: &mut Connection, now: Instant, events: &mut Events) {
        let bytes = from.transmit().to_vec();
        from.consume(bytes.len());
        to.handle_bytes(&bytes, now).unwrap();
        loop {
            match to.poll_event() {
                Ok(None) => return,
                Ok(Some(event)) => events.push(Ok(event)),
                Err(error) => {
                    events.push(Err(error));
                    return;
                }
            }
        }
    }

    fn only(version: Version) -> Config {
        Config {
            versions: [version].into_iter().collect(),
            ..Config::default()
        }
    }

    #[test]
    fn negotiation() {
        let mut pair = Pair::new(Config::default(), Config::default());
        let (a, b) = pair.run();
        assert_eq!(a, [Ok(Event::Ready(Version::Of15))]);
        assert_eq!(b, [Ok(Event::Ready(Version::Of15))]);
        for version in Version::ALL {
            let mut pair = Pair::new(Config::default(), only(*version));
            assert_eq!(pair.run().0, [Ok(Event::Ready(*version))]);
            assert_eq!(pair.b.version(), Some(*version));
        }
    }

    /// The highest that both name, which need not be the lower of the two headers' versions.
    #[test]
    fn negotiation_of_sets() {
        let set = |versions: &[Version]| Config {
            versions: versions.iter().copied().collect(),
            ..Config::default()
        };
        use Version::{Of10, Of12, Of13, Of14, Of15};
        for (a, b, want) in [
            (&[Of10, Of13][..], &[Of10, Of14][..], Of10),
            (&[Of10, Of13, Of15], &[Of10, Of13, Of14], Of13),
            (&[Of12, Of14], &[Of12, Of13], Of12),
        ] {
            let mut pair = Pair::new(set(a), set(b));
            assert_eq!(pair.run().0, [Ok(Event::Ready(want))]);
            let mut pair = Pair::new(set(b), set(a));
            assert_eq!(pair.run().1, [Ok(Event::Ready(want))]);
        }
    }

    #[test]
    fn no_common_version() {
        let mut pair = Pair::new(only(Version::Of13), only(Version::Of10));
        // 1.0 alone is said without a bitmap, 1.3 alone with one.
        let (a, b) = pair.run();
        assert!(matches!(
            a.as_slice(),
            [Err(Error::NoCommonVersion {
                ours: 0x10,
                theirs: 2
            })]
        ));
        assert!(matches!(b.as_slice(), [Err(Error::NoCommonVersion { .. })]));
        assert_eq!(
            pair.a.send(&Message::BarrierRequest),
            Err(SendError::NotReady)
        );
    }

    #[test]
    fn refused_hello_is_told() {
        let now = Instant::now();
        let mut c = Connection::new(only(Version::Of10), now);
        c.consume(usize::MAX);
        // A hello of version 1.4 whose bitmap has 1.4 only.
        let hello = [5, 0, 0, 16, 0, 0, 0, 1, 0, 1, 0, 8, 0, 0, 0, 0x20];
        c.handle_bytes(&hello, now).unwrap();
        assert!(matches!(c.poll_event(), Err(Error::NoCommonVersion { .. })));
        let header = Header::decode(c.transmit()).unwrap();
        assert_eq!((header.version, header.kind), (1, 1));
        assert_eq!(c.transmit().get(8..12), Some(&[0, 0, 0, 0][..]));
        assert_eq!(c.poll_event(), Ok(None));
        assert_eq!(c.poll_timeout(), None);
    }

    #[test]
    fn first_message_must_be_hello() {
        let now = Instant::now();
        let mut c = Connection::new(Config::default(), now);
        c.handle_bytes(&[1, 5, 0, 8, 0, 0, 0, 1], now).unwrap();
        assert_eq!(c.poll_event(), Err(Error::NoHello { kind: 5 }));
    }

    #[test]
    fn echo_and_errors_need_no_owner() {
        let mut pair = Pair::new(Config::default(), Config::default());
        pair.run();
        let xid = pair
            .a
            .send(&Message::EchoRequest(Bytes::from_static(b"x")))
            .unwrap();
        let (a, b) = pair.run();
        assert!(b.is_empty());
        assert!(matches!(a.as_slice(),
            [Ok(Event::Message { header, message: Message::EchoReply(_), .. })]
            if header.xid == xid));

        // A barrier of version 1.0 on a 1.5 connection, and a request that does not exist.
        pair.a.send_raw(&[1, 18, 0, 8, 0, 0, 0, 9]).unwrap();
        pair.a.send_raw(&[6, 99, 0, 8, 0, 0, 0, 10]).unwrap();
        let (a, b) = pair.run();
        assert_eq!(b.len(), 2);
        let errors: Vec<_> = a
            .into_iter()
            .map(|event| match event {
                Ok(Event::Message {
                    header,
                    message: Message::Error(ErrorMessage::Known { error, data }),
                    ..
                }) => (header.xid, error, data.len()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            errors,
            [(9, OfError::BrcBadVersion, 8), (10, OfError::BrcBadType, 8)]
        );
    }

    #[test]
    fn probes() {
        let config = Config {
            inactivity_probe: Some(Duration::from_secs(5)),
            ..Config::default()
        };
        let quiet = Config {
            inactivity_probe: None,
            ..Config::default()
        };
        let mut pair = Pair::new(config, quiet);
        pair.run();
        assert_eq!(pair.b.poll_timeout(), None);
        // An idle peer that answers stays.
        for _ in 0..3 {
            let at = pair.a.poll_timeout().unwrap();
            assert_eq!(at, pair.now + Duration::from_secs(5));
            pair.now = at;
            pair.a.handle_timeout(pair.now).unwrap();
            let (a, b) = pair.run();
            assert!(a.is_empty() && b.is_empty());
        }
        // One that does not is given up.
        let at = pair.a.poll_timeout().unwrap();
        pair.a.handle_timeout(at).unwrap();
        let at = pair.a.poll_timeout().unwrap();
        assert_eq!(
            pair.a.handle_timeout(at),
            Err(Error::Inactive(Duration::from_secs(5)))
        );
    }

    #[test]
    fn handshake_timeout() {
        let now = Instant::now();
        let mut c = Connection::new(Config::default(), now);
        let at = c.poll_timeout().unwrap();
        assert_eq!(c.handle_timeout(now), Ok(()));
        assert!(matches!(
            c.handle_timeout(at),
            Err(Error::HandshakeTimeout(_))
        ));
    }

    #[test]
    fn extensions_are_followed_at_both_ends() {
        let mut pair = Pair::new(only(Version::Of10), only(Version::Of10));
        pair.run();
        pair.a.send(&Message::SetFlowModTableId(true)).unwrap();
        let flow = FlowMod {
            table_id: Some(9),
            ..FlowMod::add()
        };
        pair.a.send(&Message::FlowMod(flow)).unwrap();
        let (_, b) = pair.run();
        assert!(matches!(b.as_slice(),
            [_, Ok(Event::Message { message: Message::FlowMod(fm), .. })]
            if fm.table_id == Some(9)));
    }

    #[test]
    fn send_buffer_is_bounded() {
        let config = Config {
            send_limit: 1000,
            ..Config::default()
        };
        let mut pair = Pair::new(config, Config::default());
        pair.run();
        let mut sent = 0;
        let full = loop {
            match pair.a.send(&Message::BarrierRequest) {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(sent, 125);
        assert_eq!(full, SendError::Full { len: 1000 });
        assert!(pair.a.is_congested());
        assert_eq!(pair.run().1.len(), 125);
        assert!(pair.a.send(&Message::BarrierRequest).is_ok());
    }
}
