//! Joins the parts of multipart replies.
//!
//! Source: OpenFlow 1.3.5, 7.3.5: the parts of a reply have one transaction id and type, and all
//! but the last have `OFPMPF_REPLY_MORE`.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::codec::Decoded;
use crate::message::Message;

/// Why parts cannot be joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Error {
    #[error("parts of reply {xid:#x} are of different kinds")]
    Mixed { xid: u32 },
    #[error("reply {xid:#x} is longer than {limit} bytes")]
    TooLong { xid: u32, limit: usize },
    #[error("more than {limit} replies in parts at once")]
    TooMany { limit: usize },
}

/// Replies of which the last part has not come yet.
#[derive(Debug)]
pub struct Reassembler {
    open: BTreeMap<u32, Open>,
    max_bytes: usize,
    max_replies: usize,
}

#[derive(Debug)]
struct Open {
    bytes: usize,
    reply: Decoded,
}

impl Reassembler {
    /// Holds at most `max_replies` replies of at most `max_bytes` on the wire each.
    pub fn new(max_bytes: usize, max_replies: usize) -> Reassembler {
        Reassembler {
            open: BTreeMap::new(),
            max_bytes,
            max_replies,
        }
    }

    /// Takes a message; gives it back at once, or joined with the earlier parts when it is the
    /// last one, or nothing when more parts follow. After an error the reply is forgotten.
    pub fn handle(&mut self, part: Decoded) -> Result<Option<Decoded>, Error> {
        let xid = part.header.xid;
        let len = usize::from(part.header.len);
        let Some(mut open) = self.open.remove(&xid) else {
            if !part.more {
                return Ok(Some(part));
            }
            if self.open.len() >= self.max_replies {
                return Err(Error::TooMany {
                    limit: self.max_replies,
                });
            }
            self.open.insert(
                xid,
                Open {
                    bytes: len,
                    reply: part,
                },
            );
            return Ok(None);
        };
        open.bytes = open.bytes.saturating_add(len);
        if open.bytes > self.max_bytes {
            return Err(Error::TooLong {
                xid,
                limit: self.max_bytes,
            });
        }
        let more = part.more;
        if !join(&mut open.reply.message, part.message) {
            return Err(Error::Mixed { xid });
        }
        if more {
            self.open.insert(xid, open);
            return Ok(None);
        }
        open.reply.more = false;
        Ok(Some(open.reply))
    }
}

/// Appends the list of `part` to that of `whole`; false when they are of different kinds.
fn join(whole: &mut Message, part: Message) -> bool {
    match (whole, part) {
        (Message::TableDescReply(a), Message::TableDescReply(b)) => a.extend(b),
        (Message::FlowMonitorReply(a), Message::FlowMonitorReply(b)) => a.extend(b),
        (Message::FlowStatsReply(a), Message::FlowStatsReply(b)) => a.flows.extend(b.flows),
        (Message::TableStatsReply(a), Message::TableStatsReply(b)) => a.extend(b),
        (Message::TableFeaturesReply(a), Message::TableFeaturesReply(b)) => a.extend(b),
        (Message::PortStatsReply(a), Message::PortStatsReply(b)) => a.extend(b),
        (Message::QueueStatsReply(a), Message::QueueStatsReply(b)) => a.extend(b),
        (Message::PortDescReply(a), Message::PortDescReply(b)) => a.extend(b),
        (Message::FlowCountsReply(a), Message::FlowCountsReply(b)) => a.extend(b),
        (Message::GroupStatsReply(a), Message::GroupStatsReply(b)) => a.extend(b),
        (Message::GroupDescReply(a), Message::GroupDescReply(b)) => a.extend(b),
        (Message::MeterStatsReply(a), Message::MeterStatsReply(b)) => a.extend(b),
        (Message::MeterConfigReply(a), Message::MeterConfigReply(b)) => a.extend(b),
        (
            Message::QueueGetConfigReply { queues: a, .. },
            Message::QueueGetConfigReply { queues: b, .. },
        ) => a.extend(b),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};
    use crate::message::{Flavor, FlowStatsReply, TableStats};
    use crate::version::Version;

    fn parts(n: u32) -> Vec<Decoded> {
        let tables = (0..n)
            .map(|i| TableStats {
                active_count: i,
                ..TableStats::default()
            })
            .collect();
        let bytes = encode(&Message::TableStatsReply(tables), Version::Of13, 7).unwrap();
        let mut reader = crate::frame::FrameReader::default();
        reader.handle_bytes(&bytes).unwrap();
        let mut parts = Vec::new();
        while let Some(frame) = reader.poll_frame().unwrap() {
            parts.push(decode(&frame, &Version::Of13.into()).unwrap());
        }
        parts
    }

    #[test]
    fn joins() {
        let mut r = Reassembler::new(1 << 20, 2);
        let mut parts = parts(6000).into_iter();
        let (Some(first), Some(second), Some(third)) = (parts.next(), parts.next(), parts.next())
        else {
            panic!("6000 tables of 24 bytes take three messages");
        };
        assert!(first.more && second.more && !third.more);
        assert_eq!(r.handle(first), Ok(None));
        assert_eq!(r.handle(second), Ok(None));
        let Some(Message::TableStatsReply(tables)) = r.handle(third).unwrap().map(|d| d.message)
        else {
            panic!("a reply");
        };
        assert!(tables.iter().map(|t| t.active_count).eq(0..6000));
    }

    /// Every reply that is a list joins with another of its kind.
    #[test]
    fn every_list_joins() {
        let lists = [
            Message::TableDescReply(Vec::new()),
            Message::FlowMonitorReply(Vec::new()),
            Message::FlowStatsReply(FlowStatsReply {
                flavor: Flavor::Standard,
                flows: Vec::new(),
            }),
            Message::FlowCountsReply(Vec::new()),
            Message::TableStatsReply(Vec::new()),
            Message::TableFeaturesReply(Vec::new()),
            Message::PortStatsReply(Vec::new()),
            Message::QueueStatsReply(Vec::new()),
            Message::PortDescReply(Vec::new()),
            Message::GroupStatsReply(Vec::new()),
            Message::GroupDescReply(Vec::new()),
            Message::MeterStatsReply(Vec::new()),
            Message::MeterConfigReply(Vec::new()),
        ];
        for (i, part) in lists.iter().enumerate() {
            for (j, other) in lists.iter().enumerate() {
                assert_eq!(
                    join(&mut part.clone(), other.clone()),
                    i == j,
                    "{} {}",
                    part.name(),
                    other.name()
                );
            }
        }
        assert!(!join(&mut Message::BarrierReply, Message::BarrierReply));
    }

    #[test]
    fn bounds() {
        let first = parts(6000).remove(0);
        let mut r = Reassembler::new(100_000, 1);
        assert_eq!(r.handle(first.clone()), Ok(None));
        let mut other = first.clone();
        other.header.xid = 8;
        assert_eq!(r.handle(other), Err(Error::TooMany { limit: 1 }));
        assert!(matches!(
            r.handle(first.clone()),
            Err(Error::TooLong { .. })
        ));
        assert_eq!(r.handle(first.clone()), Ok(None));
        let mut mixed = first;
        mixed.message = Message::PortStatsReply(Vec::new());
        assert!(matches!(
            r.handle(mixed),
            Err(Error::TooLong { .. } | Error::Mixed { .. })
        ));
    }
}
