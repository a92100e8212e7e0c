//! Does the work that the kernel had put off: transport checksums, and the segmentation of
//! super-packets. For packets that leave by another way than a network device.
//!
//! Source: Linux `Documentation/networking/checksum-offloads.rst` and
//! `segmentation-offloads.rst`.

use packet::FlowKey;
use packet::extract::{Meta, extract};
use packet::key::{IP_PROTO_TCP, IP_PROTO_UDP};

use super::checksum::{replace, sum};
use super::{read, store};
use crate::{Gso, GsoKind, Packet};

/// More segments than any device asks for; a packet that claims more is left whole.
const MAX_SEGMENTS: usize = 2048;

const TCP_FIN: u8 = 0x01;
const TCP_PSH: u8 = 0x08;
const TCP_CWR: u8 = 0x80;

/// The packet as it would be on a wire: one, or for a super-packet several.
pub fn finish(packet: Packet) -> Vec<Packet> {
    if let Some(gso) = packet.gso
        && let Some(segments) = segment(&packet, gso)
    {
        return segments;
    }
    vec![complete(packet)]
}

/// Computes a checksum that was left to do; the field has the pseudo-header's sum.
fn complete(mut packet: Packet) -> Packet {
    if let Some(csum) = packet.csum_partial.take()
        && let Some(bytes) = packet.data.get(usize::from(csum.start)..)
    {
        let sum = !sum(0, bytes);
        // A UDP checksum of zero would mean "none"; both are the same number to the others.
        let sum = if sum == 0 { 0xffff } else { sum };
        // An offset outside of the frame has no place to write to.
        let _ = store(
            &mut packet.data,
            usize::from(csum.offset),
            &sum.to_be_bytes(),
        );
    }
    packet.gso = None;
    packet
}

fn segment(packet: &Packet, gso: Gso) -> Option<Vec<Packet>> {
    let data = packet.data.as_slice();
    let mut key = FlowKey::zero();
    let layers = extract(&data, &Meta::default(), &mut key).ok()?;
    let (l3, l4) = (usize::from(layers.l3), usize::from(layers.l4));
    let headers = match (gso.kind, key.ip_proto) {
        (GsoKind::TcpV4 | GsoKind::TcpV6, IP_PROTO_TCP) => {
            l4 + usize::from(read::<1>(data, l4 + 12)?[0] >> 4) * 4
        }
        (GsoKind::UdpL4, IP_PROTO_UDP) => l4 + 8,
        _ => return None,
    };
    if l4 == 0 || key.ip_frag != 0 {
        return None;
    }
    let payload = data.get(headers..)?;
    let size = usize::from(gso.size);
    if size == 0 || payload.len() <= size || payload.len() / size >= MAX_SEGMENTS {
        return None;
    }
    let head = data.get(..headers)?;
    let last = payload.len().div_ceil(size).checked_sub(1)?;
    let mut segments = Vec::with_capacity(last + 1);
    for (n, part) in payload.chunks(size).enumerate() {
        let mut out = Vec::with_capacity(headers + part.len());
        out.extend_from_slice(head);
        out.extend_from_slice(part);
        set_lengths(&mut out, &key, l3, n)?;
        set_transport(&mut out, &key, l4, n * size, n == 0, n == last)?;
        segments.push(Packet {
            data: out,
            gso: None,
            csum_partial: None,
            mark: packet.mark,
        });
    }
    Some(segments)
}

/// Length, and for IPv4 identification and header checksum, of segment `n`.
fn set_lengths(out: &mut [u8], key: &FlowKey, l3: usize, n: usize) -> Option<()> {
    let room = out.len().checked_sub(l3)?;
    if key.is_ipv6() {
        let len = u16::try_from(room.checked_sub(40)?).ok()?;
        return store(out, l3 + 4, &len.to_be_bytes());
    }
    let len = u16::try_from(room).ok()?.to_be_bytes();
    let id = u16::from_be_bytes(read(out, l3 + 4)?).wrapping_add(n as u16);
    let id = id.to_be_bytes();
    let old: [u8; 4] = read(out, l3 + 2)?;
    let new = [len[0], len[1], id[0], id[1]];
    let sum = u16::from_be_bytes(read(out, l3 + 10)?);
    store(out, l3 + 10, &replace(sum, &old, &new, false).to_be_bytes())?;
    store(out, l3 + 2, &new)
}

/// The transport header of the segment whose payload begins `at` bytes into the whole.
fn set_transport(
    out: &mut [u8],
    key: &FlowKey,
    l4: usize,
    at: usize,
    first: bool,
    last: bool,
) -> Option<()> {
    let len = out.len().checked_sub(l4)?;
    let sum_at = if key.ip_proto == IP_PROTO_TCP {
        let seq = u32::from_be_bytes(read(out, l4 + 4)?).wrapping_add(at as u32);
        store(out, l4 + 4, &seq.to_be_bytes())?;
        let [mut flags] = read(out, l4 + 13)?;
        if !last {
            flags &= !(TCP_FIN | TCP_PSH);
        }
        if !first {
            flags &= !TCP_CWR;
        }
        store(out, l4 + 13, &[flags])?;
        l4 + 16
    } else {
        store(out, l4 + 4, &u16::try_from(len).ok()?.to_be_bytes())?;
        l4 + 6
    };
    store(out, sum_at, &[0, 0])?;
    let pseudo = if key.is_ipv6() {
        sum(sum(0, &key.ipv6_src), &key.ipv6_dst)
    } else {
        sum(sum(0, &key.ipv4_src), &key.ipv4_dst)
    };
    let [_, _, l0, l1] = u32::try_from(len).ok()?.to_be_bytes();
    let pseudo = sum(pseudo, &[0, key.ip_proto, l0, l1]);
    let total = !sum(pseudo, out.get(l4..)?);
    let total = if total == 0 { 0xffff } else { total };
    store(out, sum_at, &total.to_be_bytes())
}
