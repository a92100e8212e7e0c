//! Writes messages: headers, lengths, and the parts of multipart replies.

use super::{Dialect, EncodeError};
use crate::version::Version;
use crate::wire::{HEADER_LEN, NICIRA, Writer};

const OFPT_EXPERIMENTER: u8 = 4;
const MULTIPART_EXPERIMENTER: u16 = 0xffff;
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

    pub fn begin(&mut self, kind: u8) {
        self.begin_as(self.version().wire(), kind);
    }

    /// Starts a Nicira extension message.
    pub fn begin_nicira(&mut self, subtype: u32) {
        self.begin(OFPT_EXPERIMENTER);
        self.w.u32(NICIRA);
        self.w.u32(subtype);
    }

    /// Starts a multipart message; `message` is the message type, `kind` the multipart type.
    pub fn begin_multipart(&mut self, message: u8, kind: u16) {
        self.begin(message);
        self.w.u16(kind);
        self.w.u16(0);
        if self.version() > Version::Of10 {
            self.w.zeros(4);
        }
    }

    /// Starts a Nicira extension multipart message of 1.0.
    pub fn begin_nicira_multipart(&mut self, message: u8, subtype: u32) {
        self.begin_multipart(message, MULTIPART_EXPERIMENTER);
        self.w.u32(NICIRA);
        self.w.u32(subtype);
        self.w.zeros(4);
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
        if self.more {
            self.w.patch_u16(self.start + FLAGS_OFFSET, MULTIPART_MORE);
        }
        self.end();
    }

    /// Writes `items` as a multipart reply, in as many messages as it takes. An item too long
    /// for a message of its own is left out: no message can carry it.
    pub fn parts<T>(
        &mut self,
        begin: impl Fn(&mut MessageWriter),
        items: &[T],
        mut write: impl FnMut(&mut MessageWriter, &T),
    ) {
        begin(self);
        let empty_len = self.w.len() - self.start;
        for item in items {
            let at = self.w.len();
            write(self, item);
            let item_len = self.w.len() - at;
            if self.w.len() - self.start <= MAX_LEN {
                continue;
            }
            let item = self.w.buf.split_off(at);
            if empty_len + item_len > MAX_LEN {
                continue;
            }
            self.w.patch_u16(self.start + FLAGS_OFFSET, MULTIPART_MORE);
            self.end();
            begin(self);
            self.w.bytes(&item);
        }
        self.end_multipart();
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
