//! Reading and writing of big-endian bytes, and numbers that all message families share.
//!
//! A [`Reader`] knows which OpenFlow error a short read means where it stands: the length of a
//! message, of a match, of an action. So decoders read straight down, and a truncated input
//! always has the error that the specification wants.

use thiserror::Error;

use crate::error::OfError;

/// Experimenter id of the Nicira extensions.
pub const NICIRA: u32 = 0x0000_2320;
/// Experimenter id of the Open Networking Foundation.
pub const ONF: u32 = 0x4f4e_4600;
/// Length of the OpenFlow header.
pub const HEADER_LEN: usize = 8;

/// Why a message could not be decoded; [`DecodeError::error`] is what the peer is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DecodeError {
    #[error("message ends too early, at offset {at} of a part of it: {error}")]
    Truncated { at: usize, error: OfError },
    #[error("{what}: {error}")]
    Bad { what: &'static str, error: OfError },
}

impl DecodeError {
    pub const fn error(&self) -> OfError {
        match self {
            DecodeError::Truncated { error, .. } | DecodeError::Bad { error, .. } => *error,
        }
    }
}

/// Shorthand for a failed check.
pub(crate) fn bad<T>(what: &'static str, error: OfError) -> Result<T, DecodeError> {
    Err(DecodeError::Bad { what, error })
}

/// Reads big-endian values from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
    short: OfError,
}

impl<'a> Reader<'a> {
    /// A reader whose short reads mean `short`.
    pub fn new(bytes: &'a [u8], short: OfError) -> Reader<'a> {
        Reader {
            rest: bytes,
            len: bytes.len(),
            short,
        }
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn truncated(&self) -> DecodeError {
        DecodeError::Truncated {
            at: self.len - self.rest.len(),
            error: self.short,
        }
    }

    pub fn bytes(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(self.truncated())?;
        self.rest = tail;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(self.truncated())?;
        self.rest = tail;
        Ok(*head)
    }

    /// The next `n` bytes as a reader of their own, whose short reads mean `short`.
    pub fn sub(&mut self, n: usize, short: OfError) -> Result<Reader<'a>, DecodeError> {
        Ok(Reader::new(self.bytes(n)?, short))
    }

    pub fn skip(&mut self, n: usize) -> Result<(), DecodeError> {
        self.bytes(n).map(|_| ())
    }

    /// `n` bytes that must be zero, else `error`.
    pub fn zeros(&mut self, n: usize, error: OfError) -> Result<(), DecodeError> {
        if self.bytes(n)?.iter().all(|b| *b == 0) {
            Ok(())
        } else {
            bad("nonzero padding", error)
        }
    }

    /// What is left must be a multiple of 8 bytes long, as lists of actions and instructions and
    /// padded matches are.
    pub fn check_aligned(&self) -> Result<(), DecodeError> {
        if self.rest.len().is_multiple_of(8) {
            Ok(())
        } else {
            bad("message length", OfError::BrcBadLen)
        }
    }

    /// Errors: the reader's own when anything is left.
    pub fn done(&self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.truncated())
        }
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// An unsigned number of `n` bytes, at most 16.
    pub fn uint(&mut self, n: usize) -> Result<u128, DecodeError> {
        Ok(self
            .bytes(n)?
            .iter()
            .fold(0, |v: u128, b| v << 8 | u128::from(*b)))
    }

    /// A zero-padded string of `n` bytes.
    pub fn string(&mut self, n: usize) -> Result<String, DecodeError> {
        let bytes = self.bytes(n)?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(n);
        Ok(String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned())
    }
}

/// Appends big-endian values to a vector.
#[derive(Default, Debug)]
pub(crate) struct Writer {
    pub buf: Vec<u8>,
}

impl Writer {
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    pub fn u8(&mut self, v: u8) {
        self.buf.push(v);
    }

    pub fn u16(&mut self, v: u16) {
        self.buf.extend_from_slice(&v.to_be_bytes());
    }

    pub fn u32(&mut self, v: u32) {
        self.buf.extend_from_slice(&v.to_be_bytes());
    }

    pub fn u64(&mut self, v: u64) {
        self.buf.extend_from_slice(&v.to_be_bytes());
    }

    /// The low `n` bytes of `v`, at most 16.
    pub fn uint(&mut self, v: u128, n: usize) {
        let bytes = v.to_be_bytes();
        self.buf
            .extend_from_slice(bytes.get(16 - n.min(16)..).unwrap_or_default());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.buf.extend_from_slice(bytes);
    }

    pub fn zeros(&mut self, n: usize) {
        self.buf.resize(self.buf.len() + n, 0);
    }

    /// Zeros up to the next multiple of 8 from `start`.
    pub fn pad8(&mut self, start: usize) {
        let len = self.buf.len() - start;
        self.zeros(len.next_multiple_of(8) - len);
    }

    /// `s` in `n` bytes, cut so that a zero byte ends it.
    pub fn string(&mut self, s: &str, n: usize) {
        let end = s.floor_char_boundary(n.saturating_sub(1));
        let bytes = s.as_bytes().get(..end).unwrap_or_default();
        self.bytes(bytes);
        self.zeros(n - bytes.len());
    }

    /// Overwrites the 16-bit number at `at`.
    pub fn patch_u16(&mut self, at: usize, v: u16) {
        if let Some(slot) = self.buf.get_mut(at..at + 2) {
            slot.copy_from_slice(&v.to_be_bytes());
        }
    }

    /// Writes the length from `start` to the end at `at`; lengths above 65535 become 65535,
    /// which the check of the whole message then refuses.
    pub fn patch_len(&mut self, at: usize, start: usize) {
        let len = u16::try_from(self.buf.len() - start).unwrap_or(u16::MAX);
        self.patch_u16(at, len);
    }
}

/// Rounds up to a multiple of 8.
pub(crate) const fn pad8(n: usize) -> usize {
    n.next_multiple_of(8)
}
