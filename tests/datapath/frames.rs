//! Frames to send, made by `etherparse`.

use dpif::{CsumPartial, Gso, GsoKind, Packet};
use etherparse::PacketBuilder;

pub const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
pub const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];
pub const IP_A: [u8; 4] = [10, 0, 0, 1];
pub const IP_B: [u8; 4] = [10, 0, 0, 2];
pub const IP6_A: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub const IP6_B: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

pub fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(A, B)
        .ipv4(IP_A, IP_B, 64)
        .udp(src, dst);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).expect("builds");
    frame
}

pub fn udp6(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(A, B)
        .ipv6(IP6_A, IP6_B, 64)
        .udp(src, dst);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).expect("builds");
    frame
}

pub fn tcp(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(A, B)
        .ipv4(IP_A, IP_B, 64)
        .tcp(1000, 80, 7, 512)
        .syn();
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).expect("builds");
    frame
}

pub fn tcp6(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(A, B)
        .ipv6(IP6_A, IP6_B, 64)
        .tcp(1000, 80, 7, 512);
    let mut frame = Vec::new();
    builder.write(&mut frame, payload).expect("builds");
    frame
}

/// A TCP super-packet of `payload` bytes in segments of `size`.
pub fn super_packet(payload: usize, size: u16) -> Packet {
    let bytes: Vec<u8> = (0..payload).map(|n| n as u8).collect();
    let mut data = tcp(&bytes);
    let (l4, sum) = (34, 50);
    // Unfinished, the field holds the sum of the pseudo header.
    let mut pseudo = 6 + (data.len() - l4) as u32;
    for word in data[26..34].chunks(2) {
        pseudo += u32::from(u16::from_be_bytes([word[0], word[1]]));
    }
    while pseudo > 0xffff {
        pseudo = (pseudo & 0xffff) + (pseudo >> 16);
    }
    data[sum..sum + 2].copy_from_slice(&(pseudo as u16).to_be_bytes());
    data[47] = 0x10;
    Packet {
        data,
        gso: Some(Gso {
            kind: GsoKind::TcpV4,
            size,
            segs: payload.div_ceil(size.into()) as u16,
        }),
        csum_partial: Some(CsumPartial {
            start: l4 as u16,
            offset: sum as u16,
        }),
        mark: 0,
    }
}

/// `frame` with a tag outside of all others.
pub fn tagged(frame: &[u8], tpid: u16, tci: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &tpid.to_be_bytes(), &tci.to_be_bytes(), rest].concat()
}

pub fn packet(data: Vec<u8>) -> Packet {
    Packet {
        data,
        ..Packet::default()
    }
}

pub fn icmp() -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(A, B)
        .ipv4(IP_A, IP_B, 64)
        .icmpv4_echo_request(7, 8);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"ping").expect("builds");
    frame
}

pub fn icmp6() -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(A, B)
        .ipv6(IP6_A, IP6_B, 64)
        .icmpv6_echo_request(7, 8);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"ping").expect("builds");
    frame
}

/// A neighbour solicitation (135) or advertisement (136) with a link-layer address option.
pub fn neighbour(kind: u8, option: u8) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(IP6_B);
    body.extend([option, 1, 2, 0, 0, 0, 0, 0xa]);
    let builder = PacketBuilder::ethernet2(A, B).ipv6(IP6_A, IP6_B, 255);
    let builder = builder.icmpv6_raw(kind, 0, [0; 4]);
    let mut frame = Vec::new();
    builder.write(&mut frame, &body[4..]).expect("builds");
    frame
}

pub fn arp() -> Vec<u8> {
    let mut frame = [A.as_slice(), &B, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
    for part in [A.as_slice(), &IP_A, &[0; 6], &IP_B] {
        frame.extend(part);
    }
    frame
}

pub fn sctp(over_ipv6: bool, payload: usize) -> Vec<u8> {
    let mut segment = vec![3, 232, 7, 208, 1, 2, 3, 4, 0, 0, 0, 0];
    segment.extend((0..payload).map(|n| n as u8));
    let crc = crc32c(&segment);
    segment[8..12].copy_from_slice(&crc.to_le_bytes());
    let mut frame = Vec::new();
    let number = etherparse::IpNumber::SCTP;
    if over_ipv6 {
        let builder = PacketBuilder::ethernet2(A, B).ipv6(IP6_A, IP6_B, 64);
        builder.write(&mut frame, number, &segment).expect("builds");
    } else {
        let builder = PacketBuilder::ethernet2(A, B).ipv4(IP_A, IP_B, 64);
        builder.write(&mut frame, number, &segment).expect("builds");
    }
    frame
}

/// RFC 9260, appendix A, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 }
        })
    })
}

/// UDP behind an IPv6 routing header.
pub fn routing_header() -> Vec<u8> {
    let mut frame = udp6(1000, 2000, b"far away");
    let routing = [&[17, 2, 4, 1, 0, 0, 0, 0], IP6_A.as_slice()].concat();
    frame.splice(54..54, routing);
    frame[20] = 43;
    frame[19] += 24;
    frame
}
