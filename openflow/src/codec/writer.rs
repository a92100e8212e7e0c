//! Writes messages: headers, lengths, and the parts of multipart replies.

use super::kind::{self, Kind, MULTIPART_EXPERIMENTER, OFPT_EXPERIMENTER, Place, Way};
use super::{Dialect, EncodeError};
use crate::version::Version;
use crate::wire::{HEADER_LEN, Writer};

const MULTIPART_MORE: u16 = 1;
/// Of the flags in a multipart message.
const FLAGS_OFFSET: usize = HEADER_LEN + 2;
const MAX_LEN: usize = u16::MAX as usize;

/// One or more messages with the same transaction id.
pub(super) struct MessageWriter {
    pub w: Writer,
    pub dialect: Dialect,
    xid: u32,
    more: bool,
    /// Of the message being written.
    start: usize,
    error: Option<EncodeError>,
}

impl MessageWriter {
    pub fn new(dialect: Dialect, xid: u32, more: bool) -> MessageWriter {
        MessageWriter {
            w: Writer::default(),
            dialect,
            xid,
            more,
            start: 0,
            error: None,
        }
    }

    pub fn xid(&self) -> u32 {
        self.xid
    }

    pub fn version(&self) -> Version {
        self.dialect.version
    }

    /// Starts a message of type `kind`; the header of `version` stands before it.
    pub fn begin_as(&mut self, version: u8, kind: u8) {
        self.start = self.w.len();
        self.w.u8(version);
        self.w.u8(kind);
        self.w.u16(0);
        self.w.u32(self.xid);
    }

    /// Starts a message: all that stands before its body.
    pub fn begin(&mut self, kind: Kind) {
        let version = self.version();
        let Some(place) = kind.place(version) else {
            self.not_expressible(kind.name());
            // Never sent: keeps offsets where the body's encoder expects them.
            return self.begin_as(version.wire(), OFPT_EXPERIMENTER);
        };
        match place {
            Place::Type(n) => self.begin_as(version.wire(), n),
            Place::Experimenter { vendor, subtype } => {
                self.begin_as(version.wire(), OFPT_EXPERIMENTER);
                self.w.u32(vendor);
                self.w.u32(subtype);
            }
            Place::Multipart(n) => self.begin_multipart(kind, n),
            Place::MultipartExperimenter { vendor, subtype } => {
                self.begin_multipart(kind, MULTIPART_EXPERIMENTER);
                self.w.u32(vendor);
                self.w.u32(subtype);
                if version == Version::Of10 {
                    self.w.zeros(4);
                }
            }
        }
    }

    fn begin_multipart(&mut self, kind: Kind, n: u16) {
        let version = self.version();
        let (request, reply) = kind::multipart_types(version);
        let is_reply = kind.way() == Way::Reply;
        self.begin_as(version.wire(), if is_reply { reply } else { request });
        self.w.u16(n);
        self.w.u16(0);
        if version > Version::Of10 {
            self.w.zeros(4);
        }
    }

    /// Ends the message: its length.
    pub fn end(&mut self) {
        let len = self.w.len() - self.start;
        if len > MAX_LEN {
            self.fail(EncodeError::TooLong { len });
        }
        self.w.patch_len(self.start + 2, self.start);
    }

    /// Ends a multipart reply that is the only one.
    pub fn end_multipart(&mut self) {
        self.end_part(self.more);
    }

    fn end_part(&mut self, more: bool) {
        if more {
            self.w.patch_u16(self.start + FLAGS_OFFSET, MULTIPART_MORE);
        }
        self.end();
    }

    /// Writes `items` as a multipart reply, in as many messages as it takes. An item too long
    /// for a message of its own is left out: no message can carry it.
    pub fn parts<T>(
        &mut self,
        kind: Kind,
        items: &[T],
        mut write: impl FnMut(&mut MessageWriter, &T),
    ) {
        let mut taken = self.part(kind, items, &mut write);
        while let Some(rest) = items.get(taken..).filter(|rest| !rest.is_empty()) {
            taken += self.part(kind, rest, &mut write);
        }
    }

    /// As [`MessageWriter::parts`], but one message; returns how many of `items` are in it, which
    /// is none only if there are none.
    pub fn part<T>(
        &mut self,
        kind: Kind,
        items: &[T],
        write: &mut impl FnMut(&mut MessageWriter, &T),
    ) -> usize {
        self.begin(kind);
        let empty_len = self.w.len() - self.start;
        let mut taken = 0;
        for item in items {
            let at = self.w.len();
            write(self, item);
            if self.w.len() - self.start > MAX_LEN {
                let item_len = self.w.len() - at;
                self.w.buf.truncate(at);
                if empty_len + item_len <= MAX_LEN {
                    break;
                }
            }
            taken += 1;
        }
        self.end_part(self.more || taken < items.len());
        taken
    }

    /// Remembers that the message has no form on the wire.
    pub fn fail(&mut self, error: EncodeError) {
        self.error.get_or_insert(error);
    }

    pub fn not_expressible(&mut self, what: &'static str) {
        let version = self.version();
        self.fail(EncodeError::NotExpressible { what, version });
    }

    pub fn finish(self) -> Result<Vec<u8>, EncodeError> {
        match self.error {
            None => Ok(self.w.buf),
            Some(error) => Err(error),
        }
    }
}
