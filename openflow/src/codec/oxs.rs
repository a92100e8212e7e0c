//! OpenFlow extensible statistics, which flow messages of 1.5 have in place of fixed counters.
//!
//! ```text
//! reserved(2), length(2) with this header and without padding, entries, padding to 8
//! entry: class(2), field << 1(1), length(1), value
//! ```
//!
//! Entries of other classes and with other numbers are skipped.
//!
//! Source: OpenFlow 1.5.1, 7.2.4.

use std::time::Duration;

use super::flow::{duration, write_duration};
use crate::error::OfError;
use crate::wire::{DecodeError, Reader, Writer, bad, pad8};

const CLASS: u16 = 0x8002;
const DURATION: u8 = 0;
const IDLE_TIME: u8 = 1;
const FLOW_COUNT: u8 = 3;
const PACKET_COUNT: u8 = 4;
const BYTE_COUNT: u8 = 5;
const HEADER_LEN: usize = 4;
const LEN: OfError = OfError::BrcBadLen;

/// What statistics can say.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Stats {
    pub duration: Option<Duration>,
    pub idle: Option<Duration>,
    pub flow_count: Option<u32>,
    pub packet_count: Option<u64>,
    pub byte_count: Option<u64>,
}

impl Stats {
    pub fn decode(r: &mut Reader) -> Result<Stats, DecodeError> {
        let mut head = Reader::new(r.rest(), LEN);
        head.skip(2)?;
        let len = usize::from(head.u16()?);
        if len < HEADER_LEN || pad8(len) > r.remaining() {
            return bad("length of statistics", LEN);
        }
        let mut padded = r.sub(pad8(len), LEN)?;
        let mut entries = padded.sub(len, LEN)?;
        entries.skip(HEADER_LEN)?;
        let mut stats = Stats::default();
        while !entries.is_empty() {
            let class = entries.u16()?;
            let number = entries.u8()? >> 1;
            let len = usize::from(entries.u8()?);
            let mut value = entries.sub(len, LEN)?;
            if class != CLASS {
                continue;
            }
            match number {
                DURATION => stats.duration = Some(duration(&mut value)?),
                IDLE_TIME => stats.idle = Some(duration(&mut value)?),
                FLOW_COUNT => stats.flow_count = Some(value.u32()?),
                PACKET_COUNT => stats.packet_count = Some(value.u64()?),
                BYTE_COUNT => stats.byte_count = Some(value.u64()?),
                _ => continue,
            }
            value.done()?;
        }
        Ok(stats)
    }

    pub fn encode(&self, w: &mut Writer) {
        let start = w.len();
        w.zeros(HEADER_LEN);
        for (number, time) in [(DURATION, self.duration), (IDLE_TIME, self.idle)] {
            if let Some(time) = time {
                header(w, number, 8);
                write_duration(w, time);
            }
        }
        // In the order in which Open vSwitch writes them.
        let counts = [
            (PACKET_COUNT, self.packet_count),
            (BYTE_COUNT, self.byte_count),
        ];
        for (number, count) in counts {
            if let Some(count) = count {
                header(w, number, 8);
                w.u64(count);
            }
        }
        if let Some(count) = self.flow_count {
            header(w, FLOW_COUNT, 4);
            w.u32(count);
        }
        w.patch_len(start + 2, start);
        w.pad8(start);
    }
}

fn header(w: &mut Writer, number: u8, len: u8) {
    w.u16(CLASS);
    w.u8(number << 1);
    w.u8(len);
}
