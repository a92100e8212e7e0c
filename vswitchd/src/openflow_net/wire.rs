//! The protocol state of one connection on the switch's side: cuts bytes into messages, agrees on
//! a version, answers echo requests, and encodes what is to be sent.
//!
//! No I/O: `handle_bytes` takes what came, `poll_event` and `poll_transmit` hand out what follows.
//!
//! Source: OpenFlow 1.3.5, 6.3.1 (version negotiation) and 6.4 (echo); OpenFlow 1.0.0, 4.5.1.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use openflow::codec::{self, Dialect, Header};
use openflow::message::{ErrorMessage, Hello};
use openflow::wire::HEADER_LEN;
use openflow::{Message, OfError, Version, VersionBitmap};

/// Wire number of `OFPT_HELLO`, the same in every version.
const HELLO: u8 = 0;
/// Transaction ids of our own requests; peers' replies to them are not looked at.
const PROBE_XID: u32 = 0;

/// What came of the bytes so far.
#[derive(Debug)]
pub enum Event {
    /// Versions are agreed on.
    Opened(Version),
    Message {
        xid: u32,
        message: Message,
        raw: Bytes,
    },
    /// The connection is of no more use; what is left to send says why.
    Failed(Failure),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("message length {0} is less than a header's")]
    BadLength(u16),
    #[error("first message is not a hello")]
    NoHello,
    #[error("no version in common: the peer has {theirs:#x}, this switch {ours:#x}")]
    NoCommonVersion { ours: u32, theirs: u32 },
    #[error("message of version {0} on a connection of another")]
    BadVersion(u8),
    #[error("malformed hello: {0}")]
    BadHello(codec::DecodeError),
}

#[derive(Debug)]
pub struct Wire {
    allowed: VersionBitmap,
    dialect: Option<Dialect>,
    input: BytesMut,
    output: VecDeque<Bytes>,
    failed: bool,
}

impl Wire {
    /// Starts with our hello.
    pub fn new(allowed: VersionBitmap) -> Wire {
        let mut wire = Wire {
            allowed,
            dialect: None,
            input: BytesMut::new(),
            output: VecDeque::new(),
            failed: false,
        };
        let version = allowed.highest().unwrap_or(Version::Of10);
        wire.encode(
            version.into(),
            0,
            &Message::Hello(Hello { versions: allowed }),
        );
        wire
    }

    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Bytes to send, one or more whole messages.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.output.pop_front()
    }

    /// Encodes a message; before versions are agreed on there is none to send.
    pub fn send(&mut self, xid: u32, message: &Message) {
        if let Some(dialect) = self.dialect {
            self.encode(dialect, xid, message);
        }
    }

    /// Asks for a sign of life.
    pub fn probe(&mut self) {
        self.send(PROBE_XID, &Message::EchoRequest(Bytes::new()));
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        while !self.failed {
            let header = Header::decode(&self.input).ok()?;
            let len = usize::from(header.len);
            if len < HEADER_LEN {
                return Some(self.fail(Failure::BadLength(header.len)));
            }
            if self.input.len() < len {
                return None;
            }
            let raw = self.input.split_to(len).freeze();
            let event = match self.dialect {
                None => Some(self.negotiate(&header, &raw)),
                Some(dialect) => self.receive(dialect, &header, raw),
            };
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// The peer's first message.
    fn negotiate(&mut self, header: &Header, raw: &Bytes) -> Event {
        if header.kind != HELLO {
            return self.fail(Failure::NoHello);
        }
        let theirs = match hello_versions(header, raw) {
            Ok(versions) => versions,
            Err(error) => return self.fail(Failure::BadHello(error)),
        };
        let Some(version) = theirs.intersect(self.allowed).highest() else {
            let failure = Failure::NoCommonVersion {
                ours: self.allowed.0,
                theirs: theirs.0,
            };
            let error = Message::Error(ErrorMessage::Known {
                error: OfError::HfcIncompatible,
                data: Bytes::from(failure.to_string()),
            });
            let version = self.allowed.highest().unwrap_or(Version::Of10);
            self.encode(version.into(), header.xid, &error);
            return self.fail(failure);
        };
        self.dialect = Some(version.into());
        Event::Opened(version)
    }

    /// A message after the hello; `None` for what is dealt with here.
    fn receive(&mut self, mut dialect: Dialect, header: &Header, raw: Bytes) -> Option<Event> {
        let decoded = if header.version == dialect.version.wire() {
            codec::decode(&raw, &dialect)
        } else if header.kind == HELLO {
            // A second hello changes nothing.
            return None;
        } else {
            self.refuse(dialect, header.xid, OfError::BrcBadVersion, &raw);
            return Some(self.fail(Failure::BadVersion(header.version)));
        };
        let message = match decoded {
            Ok(decoded) => decoded.message,
            Err(error) => {
                tracing::debug!("{error}");
                self.refuse(dialect, header.xid, error.error(), &raw);
                return None;
            }
        };
        match &message {
            Message::Hello(_) | Message::EchoReply(_) => return None,
            Message::EchoRequest(data) => {
                let reply = Message::EchoReply(data.clone());
                self.encode(dialect, header.xid, &reply);
                return None;
            }
            Message::SetFlowFormat(format) => dialect.flow_format = *format,
            Message::SetPacketInFormat(format) => dialect.packet_in_format = *format,
            Message::SetFlowModTableId(on) => dialect.flow_mod_table_id = *on,
            _ => {}
        }
        self.dialect = Some(dialect);
        Some(Event::Message {
            xid: header.xid,
            message,
            raw,
        })
    }

    fn refuse(&mut self, dialect: Dialect, xid: u32, error: OfError, raw: &Bytes) {
        let message = Message::Error(ErrorMessage::Known {
            error,
            data: raw.slice(..raw.len().min(codec::ERROR_DATA_LEN)),
        });
        self.encode(dialect, xid, &message);
    }

    fn encode(&mut self, dialect: Dialect, xid: u32, message: &Message) {
        match codec::encode(message, dialect, xid) {
            Ok(bytes) => self.output.push_back(Bytes::from(bytes)),
            Err(error) => tracing::warn!("cannot send {}: {error}", message.name()),
        }
    }

    fn fail(&mut self, failure: Failure) -> Event {
        self.failed = true;
        self.input.advance(self.input.len());
        Event::Failed(failure)
    }
}

/// The versions that a hello offers: its bitmap, else all up to its header's.
fn hello_versions(header: &Header, raw: &Bytes) -> Result<VersionBitmap, codec::DecodeError> {
    // A hello may be of a version that the codec does not speak; its elements have the same form
    // in all of them.
    let mut same = BytesMut::from(raw.as_ref());
    if let Some(first) = same.first_mut()
        && Version::from_wire(*first).is_none()
    {
        *first = Version::Of13.wire();
    }
    let speaks = Version::from_wire(header.version).unwrap_or(Version::Of13);
    let decoded = codec::decode(&same, &speaks.into())?;
    Ok(match decoded.message {
        Message::Hello(hello) if Version::from_wire(header.version).is_some() => hello.versions,
        Message::Hello(hello) if hello.versions != VersionBitmap::up_to(Version::Of13.wire()) => {
            hello.versions
        }
        _ => VersionBitmap::up_to(header.version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: u8) -> Vec<u8> {
        vec![version, 0, 0, 8, 0, 0, 0, 1]
    }

    fn opened(wire: &mut Wire) -> Option<Version> {
        match wire.poll_event() {
            Some(Event::Opened(version)) => Some(version),
            _ => None,
        }
    }

    #[test]
    fn versions() {
        for (theirs, ours, want) in [
            (1, VersionBitmap::supported(), Some(Version::Of10)),
            (4, VersionBitmap::supported(), Some(Version::Of13)),
            (6, VersionBitmap::supported(), Some(Version::Of13)),
            (
                4,
                [Version::Of10].into_iter().collect(),
                Some(Version::Of10),
            ),
            (1, [Version::Of13].into_iter().collect(), None),
        ] {
            let mut wire = Wire::new(ours);
            assert!(wire.poll_transmit().is_some());
            wire.handle_bytes(&hello(theirs));
            assert_eq!(opened(&mut wire), want, "{theirs} {ours:?}");
            assert_eq!(wire.poll_transmit().is_some(), want.is_none());
        }
    }

    #[test]
    fn byte_by_byte() {
        let mut wire = Wire::new(VersionBitmap::supported());
        wire.poll_transmit();
        let mut stream = hello(4);
        stream.extend([4, 2, 0, 10, 0, 0, 0, 9, 1, 2]);
        stream.extend([4, 20, 0, 8, 0, 0, 0, 10]);
        let mut messages = Vec::new();
        for byte in stream {
            wire.handle_bytes(&[byte]);
            while let Some(event) = wire.poll_event() {
                if let Event::Message { xid, message, .. } = event {
                    messages.push((xid, message));
                }
            }
        }
        assert_eq!(messages, [(10, Message::BarrierRequest)]);
        assert_eq!(
            wire.poll_transmit().as_deref(),
            Some(&[4u8, 3, 0, 10, 0, 0, 0, 9, 1, 2][..])
        );
    }

    #[test]
    fn lying_lengths() {
        let mut wire = Wire::new(VersionBitmap::supported());
        wire.handle_bytes(&[4, 0, 0, 7, 0, 0, 0, 0]);
        assert!(matches!(
            wire.poll_event(),
            Some(Event::Failed(Failure::BadLength(7)))
        ));
        wire.handle_bytes(&hello(4));
        assert!(wire.poll_event().is_none());
    }
}
