//! Datapath actions that change a packet, on the packet's bytes.
//!
//! `dpif::sim` runs them, and so does the slow path for what a datapath cannot do itself. The
//! eBPF program has its own code for the same actions; a property test holds the two together.
//!
//! Checksums are updated incrementally (RFC 1624), so a packet that came with a wrong checksum
//! leaves with one that is wrong by the same amount, and a super-packet needs no pass over its
//! data. With [`CsumPartial`](crate::CsumPartial) the transport checksum field holds the sum over
//! the pseudo-header alone, not complemented: only pseudo-header fields change it (source: Linux
//! `net/core/utils.c`, `inet_proto_csum_replace4`). A UDP checksum of zero means "none" and stays
//! zero (RFC 768).
//!
//! Errors: [`DropReason::ActionFailed`] when the packet lacks the header that an action writes.

pub(crate) mod checksum;
mod finish;
mod layers;

use packet::action::SetField;
use packet::meter::remarked;
use packet::{Action, DropReason};

use crate::Packet;
use checksum::{crc32c_delta, replace, replace_partial};
pub use finish::finish;
use layers::{L3, L4, Layers};

/// Offset of the outermost VLAN tag, if there is one, in a frame.
const TAG_AT: usize = 12;
const TAG_LEN: usize = 4;
/// Offset of the destination in an IPv6 header.
const IPV6_DST: usize = 24;

/// A packet on its way through its actions.
///
/// Where its headers are is found once: tags that come and go move them, nothing else does, and
/// what came as the payload of too many tags is never looked into.
#[derive(Clone, Debug)]
pub struct Editor {
    pub packet: Packet,
    /// Queue priority, which is no part of the frame.
    pub priority: u32,
    layers: Layers,
}

impl Editor {
    pub fn new(packet: Packet) -> Editor {
        Editor {
            layers: Layers::find(&packet.data),
            packet,
            priority: 0,
        }
    }

    /// Applies one action; output, meter, upcall and drop do nothing here.
    pub fn apply(&mut self, action: &Action) -> Result<(), DropReason> {
        let done = match *action {
            Action::PushVlan { tpid, tci } => self.push_vlan(tpid, tci),
            Action::PopVlan => self.pop_vlan(),
            Action::Set { field, value, mask } => match field {
                SetField::PktMark => {
                    self.packet.mark = merge_u32(self.packet.mark, value, mask);
                    Some(())
                }
                SetField::SkbPriority => {
                    self.priority = merge_u32(self.priority, value, mask);
                    Some(())
                }
                _ => set(&mut self.packet, &self.layers, field, value, mask),
            },
            Action::Output(_) | Action::Meter(_) | Action::SlowPath(_) | Action::Drop(_) => {
                Some(())
            }
        };
        done.ok_or(DropReason::ActionFailed)
    }

    /// Raises the packet's drop precedence, if its IP header says one.
    pub fn remark(&mut self, levels: u8) {
        let data = &self.packet.data;
        let tos = match self.layers.l3 {
            Some(L3::Ipv4(l3)) => read(data, l3).map(|[_, tos]: [u8; 2]| tos),
            Some(L3::Ipv6(l3)) => read(data, l3).map(|[a, b]: [u8; 2]| a << 4 | b >> 4),
            _ => None,
        };
        if let Some(tos) = tos {
            let value = [remarked(tos, levels), 0, 0, 0, 0, 0];
            let field = SetField::IpTos;
            // The field is there: it was read.
            let _ = set(&mut self.packet, &self.layers, field, value, [0xff; 6]);
        }
    }

    fn push_vlan(&mut self, tpid: u16, tci: u16) -> Option<()> {
        self.packet.data.get(..TAG_AT + 2)?;
        let [t0, t1] = tpid.to_be_bytes();
        let [v0, v1] = (tci & !packet::key::VLAN_PRESENT).to_be_bytes();
        let tag = [t0, t1, v0, v1];
        self.packet.data.splice(TAG_AT..TAG_AT, tag).for_each(drop);
        self.layers.shift(|at| at.checked_add(TAG_LEN));
        shift_csum(&mut self.packet, |n| n.checked_add(TAG_LEN as u16));
        Some(())
    }

    /// A packet without a tag is left alone, as the kernel's `skb_vlan_pop` leaves it.
    fn pop_vlan(&mut self) -> Option<()> {
        let tpid = read::<2>(&self.packet.data, TAG_AT)?;
        if !packet::extract::is_vlan(u16::from_be_bytes(tpid)) {
            return Some(());
        }
        self.packet.data.get(..TAG_AT + TAG_LEN + 2)?;
        let tag = TAG_AT..TAG_AT + TAG_LEN;
        self.packet.data.drain(tag).for_each(drop);
        self.layers.shift(|at| at.checked_sub(TAG_LEN));
        shift_csum(&mut self.packet, |n| n.checked_sub(TAG_LEN as u16));
        Some(())
    }
}

/// Applies `action` to `packet` by itself; see [`Editor`] for lists of actions.
pub fn apply(packet: &mut Packet, priority: &mut u32, action: &Action) -> Result<(), DropReason> {
    let mut editor = Editor::new(std::mem::take(packet));
    editor.priority = *priority;
    let result = editor.apply(action);
    (*packet, *priority) = (editor.packet, editor.priority);
    result
}

/// Moves the partial checksum's offsets with the headers; one that leaves the frame is no longer
/// known and is dropped.
fn shift_csum(packet: &mut Packet, shift: impl Fn(u16) -> Option<u16>) {
    packet.csum_partial = packet.csum_partial.and_then(|c| {
        Some(crate::CsumPartial {
            start: shift(c.start)?,
            offset: shift(c.offset)?,
        })
    });
}

/// A write of header bytes and what it does to the checksums.
struct Write {
    at: usize,
    len: usize,
    /// The IPv4 header checksum covers the bytes.
    l3_sum: bool,
    l4_sum: L4Sum,
}

#[derive(Clone, Copy, PartialEq)]
enum L4Sum {
    None,
    /// The bytes are part of the pseudo-header.
    Pseudo,
    /// The bytes are part of the transport header.
    Header,
}

fn set(
    packet: &mut Packet,
    layers: &Layers,
    field: SetField,
    value: [u8; 6],
    mask: [u8; 6],
) -> Option<()> {
    let write = place(&packet.data, layers, field)?;
    // Two fields share their bytes with others: they move into place under a wider mask.
    let (value, mask) = match (field, layers.l3) {
        (SetField::IpTos, Some(L3::Ipv6(_))) => (nibble_shift(value), nibble_shift(mask)),
        (SetField::Ipv6Label, _) => {
            let m = mask;
            (value, [0, m[1] & 0x0f, m[2], m[3], 0, 0])
        }
        _ => (value, mask),
    };
    let mut old = [0u8; 6];
    let mut new = [0u8; 6];
    let bytes = packet
        .data
        .get(write.at..write.at.checked_add(write.len)?)?;
    for (i, b) in bytes.iter().enumerate() {
        *old.get_mut(i)? = *b;
        *new.get_mut(i)? = (b & !mask.get(i)?) | (value.get(i)? & mask.get(i)?);
    }
    let old = old.get(..write.len)?;
    let new = new.get(..write.len)?;
    if old == new {
        return Some(());
    }

    // Sums run over 16-bit words from the start of their header, which is at the even offset
    // `base`; whether a byte is the high or the low half of its word depends on its place there.
    if write.l3_sum
        && let Some(L3::Ipv4(l3)) = layers.l3
    {
        let at = l3.checked_add(10)?;
        let sum = u16::from_be_bytes(read(&packet.data, at)?);
        let sum = replace(sum, old, new, write.at.checked_sub(l3)? % 2 == 1);
        store(&mut packet.data, at, &sum.to_be_bytes())?;
    }
    if let Some(l4) = &layers.l4
        && write.l4_sum != L4Sum::None
    {
        update_l4(packet, l4, layers.end, &write, old, new)?;
    }
    store(&mut packet.data, write.at, new)
}

/// Where `field` is in the frame and which checksums cover it; `None` when the frame lacks it.
fn place(data: &[u8], layers: &Layers, field: SetField) -> Option<Write> {
    use SetField as F;
    let plain = |at: usize| Write {
        at,
        len: field.len_bytes(),
        l3_sum: false,
        l4_sum: L4Sum::None,
    };
    let pseudo = match layers.has_pseudo_header(data) {
        true => L4Sum::Pseudo,
        false => L4Sum::None,
    };
    let l4 = |at: usize| Write {
        l4_sum: L4Sum::Header,
        ..plain(at)
    };
    let ipv6 = |at: usize| match layers.l3 {
        Some(L3::Ipv6(l3)) => Some(Write {
            l4_sum: match at >= IPV6_DST && layers.routing {
                true => L4Sum::None,
                false => pseudo,
            },
            ..plain(l3 + at)
        }),
        _ => None,
    };
    let ipv4 = |at: usize, l4_sum: L4Sum| match layers.l3 {
        Some(L3::Ipv4(l3)) => Some(Write {
            l3_sum: true,
            l4_sum,
            ..plain(l3 + at)
        }),
        _ => None,
    };
    let arp = |at: usize| match layers.l3 {
        Some(L3::Arp(l3)) => Some(plain(l3 + at)),
        _ => None,
    };
    let ports = |at: usize| match layers.l4 {
        Some(L4::Tcp(o) | L4::Udp(o) | L4::Sctp(o)) => Some(l4(o + at)),
        _ => None,
    };
    let icmp = |at: usize| match layers.l4 {
        Some(L4::Icmp(o) | L4::Icmpv6(o)) => Some(l4(o + at)),
        _ => None,
    };
    let nd = |at: Option<usize>| at.map(l4);

    if data.len() < TAG_AT {
        return None;
    }
    match field {
        F::EthDst => Some(plain(0)),
        F::EthSrc => Some(plain(6)),
        F::Ipv4Src => ipv4(12, pseudo),
        F::Ipv4Dst => ipv4(16, pseudo),
        F::IpTos => match layers.l3 {
            Some(L3::Ipv6(l3)) => Some(Write {
                len: 2,
                ..plain(l3)
            }),
            _ => ipv4(1, L4Sum::None),
        },
        F::IpTtl => match layers.l3 {
            Some(L3::Ipv6(l3)) => Some(plain(l3 + 7)),
            _ => ipv4(8, L4Sum::None),
        },
        F::TpSrc => ports(0),
        F::TpDst => ports(2),
        F::IcmpType => icmp(0),
        F::IcmpCode => icmp(1),
        F::Ipv6Label => match layers.l3 {
            Some(L3::Ipv6(l3)) => Some(plain(l3)),
            _ => None,
        },
        F::Ipv6Src0 => ipv6(8),
        F::Ipv6Src1 => ipv6(12),
        F::Ipv6Src2 => ipv6(16),
        F::Ipv6Src3 => ipv6(20),
        F::Ipv6Dst0 => ipv6(IPV6_DST),
        F::Ipv6Dst1 => ipv6(28),
        F::Ipv6Dst2 => ipv6(32),
        F::Ipv6Dst3 => ipv6(36),
        F::ArpOp => arp(6),
        F::ArpSha => arp(8),
        F::ArpSpa => arp(14),
        F::ArpTha => arp(18),
        F::ArpTpa => arp(24),
        F::NdTarget0 => nd(layers.nd_target()),
        F::NdTarget1 => nd(layers.nd_target().map(|at| at + 4)),
        F::NdTarget2 => nd(layers.nd_target().map(|at| at + 8)),
        F::NdTarget3 => nd(layers.nd_target().map(|at| at + 12)),
        F::NdSll => nd(layers.nd_option(data, layers::ND_OPT_SLL)),
        F::NdTll => nd(layers.nd_option(data, layers::ND_OPT_TLL)),
        F::PktMark | F::SkbPriority => None,
    }
}

/// `end`: where the IP payload ends; a short frame is padded behind.
fn update_l4(
    packet: &mut Packet,
    l4: &L4,
    end: usize,
    write: &Write,
    old: &[u8],
    new: &[u8],
) -> Option<()> {
    let (at, odd) = match *l4 {
        L4::Tcp(o) => (o.checked_add(16)?, write.at % 2 != o % 2),
        L4::Udp(o) => (o.checked_add(6)?, write.at % 2 != o % 2),
        L4::Icmpv6(o) => (o.checked_add(2)?, write.at % 2 != o % 2),
        L4::Icmp(o) => (o.checked_add(2)?, write.at % 2 != o % 2),
        L4::Sctp(o) => {
            let at = o.checked_add(8)?;
            let sum = u32::from_le_bytes(read(&packet.data, at)?);
            // Zero: still to be computed.
            if sum == 0 {
                return Some(());
            }
            let tail = end.checked_sub(write.at)?;
            let sum = sum ^ crc32c_delta(old, new, tail);
            return store(&mut packet.data, at, &sum.to_le_bytes());
        }
    };
    let sum = u16::from_be_bytes(read(&packet.data, at)?);
    let is_udp = matches!(l4, L4::Udp(_));
    if is_udp && sum == 0 {
        return Some(());
    }
    let sum = match (packet.csum_partial.is_some(), write.l4_sum) {
        (true, L4Sum::Pseudo) => replace_partial(sum, old, new, odd),
        (true, _) => return Some(()),
        (false, _) => replace(sum, old, new, odd),
    };
    let sum = if is_udp && sum == 0 { 0xffff } else { sum };
    store(&mut packet.data, at, &sum.to_be_bytes())
}

/// The traffic class of IPv6 straddles the first two bytes of the header.
fn nibble_shift(v: [u8; 6]) -> [u8; 6] {
    [v[0] >> 4, v[0] << 4, 0, 0, 0, 0]
}

fn merge_u32(old: u32, value: [u8; 6], mask: [u8; 6]) -> u32 {
    let [v0, v1, v2, v3, ..] = value;
    let [m0, m1, m2, m3, ..] = mask;
    let value = u32::from_ne_bytes([v0, v1, v2, v3]);
    let mask = u32::from_ne_bytes([m0, m1, m2, m3]);
    (old & !mask) | (value & mask)
}

fn read<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn store(data: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    data.get_mut(at..at.checked_add(bytes.len())?)?
        .copy_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests;
