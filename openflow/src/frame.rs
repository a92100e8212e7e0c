//! Cuts a byte stream into OpenFlow messages.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::wire::HEADER_LEN;

/// Why the stream cannot be followed any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Error {
    #[error("message length {len} is shorter than the header")]
    LengthTooShort { len: u16 },
    #[error("{len} bytes received and not taken, more than {limit}")]
    Overflow { len: usize, limit: usize },
}

/// Bytes that have arrived and have not been taken as messages.
///
/// Its size is bounded: a message is at most 65,535 bytes long, and who gives bytes takes the
/// messages out before giving more.
#[derive(Debug)]
pub struct FrameReader {
    buf: BytesMut,
    limit: usize,
}

impl Default for FrameReader {
    fn default() -> FrameReader {
        FrameReader::new(FrameReader::DEFAULT_LIMIT)
    }
}

impl FrameReader {
    /// Room for a whole message and for several reads of a socket behind it.
    pub const DEFAULT_LIMIT: usize = 1 << 20;

    /// `limit` is raised to the length of the longest message.
    pub fn new(limit: usize) -> FrameReader {
        FrameReader {
            buf: BytesMut::new(),
            limit: limit.max(u16::MAX.into()),
        }
    }

    /// Adds bytes that arrived.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let len = self.buf.len().saturating_add(bytes.len());
        if len > self.limit {
            return Err(Error::Overflow {
                len,
                limit: self.limit,
            });
        }
        self.buf.extend_from_slice(bytes);
        Ok(())
    }

    /// Takes the next whole message, as long as its header says.
    pub fn poll_frame(&mut self) -> Result<Option<Bytes>, Error> {
        let Some([_, _, high, low]) = self.buf.first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u16::from_be_bytes([*high, *low]);
        if usize::from(len) < HEADER_LEN {
            return Err(Error::LengthTooShort { len });
        }
        if self.buf.len() < usize::from(len) {
            return Ok(None);
        }
        Ok(Some(self.buf.split_to(usize::from(len)).freeze()))
    }

    /// Bytes of an incomplete message are waiting for the rest.
    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_messages() {
        let stream = [
            &[1, 2, 0, 8, 0, 0, 0, 1][..],
            &[1, 2, 0, 10, 0, 0, 0, 2, 7, 7],
            &[1, 3, 0, 8, 0, 0, 0, 3],
        ]
        .concat();
        for cut in 0..=stream.len() {
            let mut reader = FrameReader::default();
            let mut frames = Vec::new();
            let (head, tail) = stream.split_at(cut);
            for part in [head, tail] {
                reader.handle_bytes(part).unwrap();
                while let Some(frame) = reader.poll_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames.concat(), stream);
            assert_eq!(frames.len(), 3);
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn short_lengths_and_floods() {
        for len in 0..8 {
            let mut reader = FrameReader::default();
            reader.handle_bytes(&[1, 0, 0, len, 0, 0, 0, 0]).unwrap();
            assert_eq!(
                reader.poll_frame(),
                Err(Error::LengthTooShort { len: len.into() })
            );
        }
        let mut reader = FrameReader::new(0);
        assert!(reader.handle_bytes(&[0xff; 0xffff]).is_ok());
        assert!(reader.handle_bytes(&[0]).is_err());
    }
}
