//! From a ring buffer record to an [`Upcall`].
//!
//! The programs cannot see whether a packet's transport checksum is still to be computed, so it is
//! found out here: a super-packet's always is; of others, when the checksum field holds the sum of
//! the pseudo header alone, as the kernel leaves it, and not the whole one.

use packet::FlowKey;
use packet::abi::{UpcallHeader, upcall_kind};
use packet::action::SlowReason;
use packet::extract::{Layers, Meta, extract};
use packet::key::{FRAG_LATER, IP_PROTO_TCP, IP_PROTO_UDP};

use crate::{CsumPartial, Gso, GsoKind, Packet, Upcall, UpcallKind};

const ADDRESSES_LEN: usize = 12;

/// `None` for a record that no program of this version writes.
pub fn decode(record: &[u8]) -> Option<Upcall> {
    let (head, data) = record.split_at_checked(size_of::<UpcallHeader>())?;
    // SAFETY: `head` has the size of the header, and every bit pattern is one.
    let header: UpcallHeader = unsafe { head.as_ptr().cast::<UpcallHeader>().read_unaligned() };
    let kind = match header.kind {
        upcall_kind::MISS => UpcallKind::Miss,
        upcall_kind::ACTION => UpcallKind::Action(SlowReason::from_u8(header.reason)?),
        _ => return None,
    };
    let data = data.get(..header.data_len as usize)?;
    let data = if header.vlan_present != 0 {
        let (addresses, rest) = data.split_at_checked(ADDRESSES_LEN)?;
        let tag = [
            header.vlan_tpid.to_be_bytes(),
            header.vlan_tci.to_be_bytes(),
        ]
        .concat();
        [addresses, &tag, rest].concat()
    } else {
        data.to_vec()
    };
    let mut packet = Packet {
        data,
        gso: None,
        csum_partial: None,
        mark: header.key.pkt_mark,
    };
    find_offloads(&mut packet, &header.key, header.gso_size, header.gso_segs);
    Some(Upcall {
        kind,
        key: header.key,
        packet,
    })
}

fn find_offloads(packet: &mut Packet, key: &FlowKey, gso_size: u32, gso_segs: u32) {
    let mut again = FlowKey::zero();
    let Ok(layers) = extract(&packet.data.as_slice(), &Meta::default(), &mut again) else {
        return;
    };
    let Some(sum_at) = sum_offset(key, layers) else {
        return;
    };
    let start = layers.l4;
    let partial = CsumPartial {
        start,
        offset: start + sum_at,
    };
    if gso_size != 0 {
        let kind = match key.ip_proto {
            IP_PROTO_UDP => GsoKind::UdpL4,
            _ if key.is_ipv4() => GsoKind::TcpV4,
            _ => GsoKind::TcpV6,
        };
        packet.gso = Some(Gso {
            kind,
            size: gso_size as u16,
            segs: gso_segs as u16,
        });
        packet.csum_partial = Some(partial);
        return;
    }
    let end = payload_end(&packet.data, key, layers);
    let Some(segment) = packet.data.get(usize::from(start)..end) else {
        return;
    };
    let Some([f0, f1]) = segment
        .get(usize::from(sum_at)..)
        .and_then(|b| b.first_chunk().copied())
    else {
        return;
    };
    let pseudo = pseudo_header_sum(key, segment.len());
    let field = u16::from_be_bytes([f0, f1]);
    let unfinished = field == fold(pseudo);
    let finished = fold(pseudo + sum(segment)) == 0xffff;
    if unfinished && !finished {
        packet.csum_partial = Some(partial);
    }
}

/// Where in the transport header the checksum is, for protocols that the kernel leaves it undone.
fn sum_offset(key: &FlowKey, layers: Layers) -> Option<u16> {
    if layers.l4 == 0 || key.ip_frag & FRAG_LATER != 0 || key.tp_src == [0; 2] {
        return None;
    }
    match key.ip_proto {
        IP_PROTO_TCP => Some(16),
        IP_PROTO_UDP => Some(6),
        _ => None,
    }
}

/// Where the IP payload ends; a short frame is padded behind.
fn payload_end(data: &[u8], key: &FlowKey, layers: Layers) -> usize {
    let l3 = usize::from(layers.l3);
    let at = if key.is_ipv4() { l3 + 2 } else { l3 + 4 };
    let Some([n0, n1]) = data.get(at..).and_then(|b| b.first_chunk().copied()) else {
        return data.len();
    };
    let len = usize::from(u16::from_be_bytes([n0, n1]));
    (if key.is_ipv4() {
        l3 + len
    } else {
        l3 + 40 + len
    })
    .min(data.len())
}

fn pseudo_header_sum(key: &FlowKey, len: usize) -> u64 {
    let addresses = if key.is_ipv4() {
        sum(&key.ipv4_src) + sum(&key.ipv4_dst)
    } else {
        sum(&key.ipv6_src) + sum(&key.ipv6_dst)
    };
    addresses + len as u64 + u64::from(key.ip_proto)
}

/// Sum of big-endian 16-bit words, the last padded with zero (RFC 1071).
fn sum(bytes: &[u8]) -> u64 {
    let word = |c: &[u8]| match c {
        [a, b] => u64::from(u16::from_be_bytes([*a, *b])),
        [a] => u64::from(*a) << 8,
        _ => 0,
    };
    bytes.chunks(2).map(word).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
