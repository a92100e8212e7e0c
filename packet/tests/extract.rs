//! `extract` against a reference that is written from the key's documentation with slices and
//! early returns, over frames that are whole, cut at every byte, and damaged.

use etherparse::PacketBuilder;
use packet::FlowKey;
use packet::extract::{Layers, Meta, extract};
use packet::key::*;
use proptest::prelude::*;

/// Field values as `packet::key` describes them, found the slow way.
fn reference(frame: &[u8], meta: &Meta) -> Option<FlowKey> {
    let mut key = FlowKey::zero();
    key.in_port = meta.in_port;
    key.recirc_id = meta.recirc_id;
    key.pkt_mark = meta.mark;
    let mut rest = frame;
    key.eth_dst = take(&mut rest)?;
    key.eth_src = take(&mut rest)?;
    let mut tags = Vec::new();
    if let Some((tpid, tci)) = meta.vlan {
        tags.push((tpid, tci));
    }
    let mut eth_type = u16::from_be_bytes(take(&mut rest)?);
    while tags.len() < 2 && (eth_type == 0x8100 || eth_type == 0x88a8) && rest.len() >= 4 {
        tags.push((eth_type, u16::from_be_bytes(take(&mut rest)?)));
        eth_type = u16::from_be_bytes(take(&mut rest)?);
    }
    if let Some((tpid, tci)) = tags.first() {
        (key.vlan0_tpid, key.vlan0_tci) = (tpid.to_be_bytes(), (tci | 0x1000).to_be_bytes());
    }
    if let Some((tpid, tci)) = tags.get(1) {
        (key.vlan1_tpid, key.vlan1_tci) = (tpid.to_be_bytes(), (tci | 0x1000).to_be_bytes());
    }
    if eth_type < 0x600 {
        eth_type = 0x5ff;
        if rest.starts_with(&[0xaa, 0xaa, 3, 0, 0, 0]) && rest.len() >= 8 {
            let inner = u16::from_be_bytes([rest[6], rest[7]]);
            if inner >= 0x600 {
                eth_type = inner;
                rest = &rest[8..];
            }
        }
    }
    key.eth_type = eth_type.to_be_bytes();
    // What a layer found out stays; what it could not finish leaves nothing.
    match eth_type {
        0x0800 => drop(ipv4(rest, &mut key)),
        0x86dd => drop(ipv6(rest, &mut key)),
        0x0806 | 0x8035 => drop(arp(rest, &mut key)),
        _ => {}
    }
    Some(key)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn ipv4(rest: &[u8], key: &mut FlowKey) -> Option<()> {
    let header = rest.get(..20)?;
    let header_len = (header[0] & 0xf) as usize * 4;
    let total = u16::from_be_bytes([header[2], header[3]]) as usize;
    if header_len < 20 || total < header_len {
        return None;
    }
    let packet = rest.get(..total)?;
    (key.ip_tos, key.ip_ttl, key.ip_proto) = (header[1], header[8], header[9]);
    key.ipv4_src.copy_from_slice(&header[12..16]);
    key.ipv4_dst.copy_from_slice(&header[16..20]);
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    if fragment & 0x1fff != 0 {
        key.ip_frag = FRAG_ANY | FRAG_LATER;
        return None;
    }
    if fragment & 0x2000 != 0 {
        key.ip_frag = FRAG_ANY;
    }
    transport(&packet[header_len..], key)
}

fn ipv6(rest: &[u8], key: &mut FlowKey) -> Option<()> {
    let (header, after) = rest.split_at_checked(40)?;
    let len = u16::from_be_bytes([header[4], header[5]]) as usize;
    let mut payload = after.get(..len)?;
    key.ipv6_src.copy_from_slice(&header[8..24]);
    key.ipv6_dst.copy_from_slice(&header[24..40]);
    let mut proto = header[6];
    let mut frag = 0;
    let mut headers = 0;
    while [0, 43, 44, 51, 60].contains(&proto) && frag & FRAG_LATER == 0 {
        let [next, len, off0, off1, ..] = *payload.first_chunk::<8>()?;
        let size = match proto {
            44 => 8,
            51 => (len as usize + 2) * 4,
            _ => (len as usize + 1) * 8,
        };
        if proto == 44 {
            let offset = u16::from_be_bytes([off0, off1]);
            frag |= if offset != 0 { FRAG_ANY } else { 0 };
            frag |= if offset >> 3 != 0 { FRAG_LATER } else { 0 };
        }
        proto = next;
        payload = payload.get(size..)?;
        headers += 1;
        if headers > packet::extract::MAX_EXT_HEADERS {
            return None;
        }
    }
    key.ip_proto = if frag & FRAG_LATER != 0 { 44 } else { proto };
    key.ip_frag = frag;
    key.ip_tos = header[0] << 4 | header[1] >> 4;
    key.ip_ttl = header[7];
    key.ipv6_label = [0, header[1] & 0xf, header[2], header[3]];
    if frag & FRAG_LATER != 0 {
        return None;
    }
    transport(payload, key)
}

fn transport(payload: &[u8], key: &mut FlowKey) -> Option<()> {
    let ports = |key: &mut FlowKey| {
        key.tp_src = [payload[0], payload[1]];
        key.tp_dst = [payload[2], payload[3]];
    };
    match key.ip_proto {
        IP_PROTO_TCP => {
            let header = payload.get(..20)?;
            payload.get(..((header[12] >> 4) as usize * 4).max(20))?;
            if header[12] >> 4 >= 5 {
                ports(key);
                key.tcp_flags = [header[12] & 0xf, header[13]];
            }
        }
        IP_PROTO_UDP if payload.len() >= 8 => ports(key),
        IP_PROTO_SCTP if payload.len() >= 12 => ports(key),
        IP_PROTO_ICMP if key.is_ipv4() && payload.len() >= 8 => {
            (key.tp_src, key.tp_dst) = ([0, payload[0]], [0, payload[1]]);
        }
        IP_PROTO_ICMPV6 if key.is_ipv6() && payload.len() >= 4 => {
            (key.tp_src, key.tp_dst) = ([0, payload[0]], [0, payload[1]]);
            if matches!(payload[..2], [135 | 136, 0]) {
                neighbour(payload.get(8..)?, key)?;
            }
        }
        _ => {}
    }
    Some(())
}

fn neighbour(mut rest: &[u8], key: &mut FlowKey) -> Option<()> {
    let before = *key;
    key.nd_target = take(&mut rest)?;
    for _ in 0..packet::extract::MAX_ND_OPTIONS {
        let [kind, units, address @ ..] = *rest.first_chunk::<8>()?;
        let len = units as usize * 8;
        if len == 0 || len > rest.len() {
            return None;
        }
        let field = match kind {
            1 if len == 8 => Some(&mut key.arp_sha),
            2 if len == 8 => Some(&mut key.arp_tha),
            _ => None,
        };
        if let Some(field) = field {
            if *field != [0; 6] {
                *key = before;
                return None;
            }
            *field = address;
        }
        rest = &rest[len..];
    }
    Some(())
}

fn arp(rest: &[u8], key: &mut FlowKey) -> Option<()> {
    let arp = rest.get(..28)?;
    if arp[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    key.ip_proto = if arp[6] == 0 { arp[7] } else { 0 };
    key.arp_sha.copy_from_slice(&arp[8..14]);
    key.ipv4_src.copy_from_slice(&arp[14..18]);
    key.arp_tha.copy_from_slice(&arp[18..24]);
    key.ipv4_dst.copy_from_slice(&arp[24..28]);
    Some(())
}

fn parse(frame: &[u8], meta: &Meta) -> Option<(FlowKey, Layers)> {
    // What was there before must not shine through.
    let mut key = FlowKey::from_words([0xdead_beef_dead_beef; KEY_WORDS]);
    extract(&frame, meta, &mut key)
        .ok()
        .map(|layers| (key, layers))
}

fn agree(frame: &[u8], meta: &Meta) {
    let got = parse(frame, meta).map(|(key, _)| key);
    let expected = reference(frame, meta);
    assert_eq!(got.is_some(), frame.len() >= 14);
    assert_eq!(got, expected, "{frame:02x?}");
}

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];
const IP6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

fn write(f: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::new();
    f(&mut frame);
    frame
}

/// IPv6 with these extension headers (type, bytes), then a payload of a protocol.
fn chain(headers: &[(u8, Vec<u8>)], proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut kinds: Vec<u8> = headers.iter().map(|(kind, _)| *kind).collect();
    kinds.push(proto);
    let mut body = Vec::new();
    for ((_, bytes), next) in headers.iter().zip(&kinds[1..]) {
        let at = body.len();
        body.extend(bytes);
        body[at] = *next;
    }
    body.extend(payload);
    let len = (body.len() as u16).to_be_bytes();
    let header = [&[0x6a, 0xb1, 2, 3], &len[..], &[kinds[0], 7], &IP6, &IP6].concat();
    [&B[..], &A, &[0x86, 0xdd], &header, &body].concat()
}

fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let eth = || PacketBuilder::ethernet2(A, B);
    let v4 = || eth().ipv4([10, 1, 2, 3], [10, 4, 5, 6], 33);
    let v6 = || eth().ipv6(IP6, [0xfe; 16], 34);
    let udp = write(|f| v4().udp(11, 22).write(f, &[1, 2, 3]).expect("builds"));
    let tcp = write(|f| {
        v4().tcp(33, 44, 1, 2)
            .syn()
            .ece()
            .write(f, &[5])
            .expect("builds")
    });
    let mut options = udp.clone();
    options.splice(34..34, [1; 8]);
    (options[14], options[17]) = (0x47, options[17] + 8);
    let (mut first, mut later) = (tcp.clone(), tcp.clone());
    first[20] = 0x20;
    later[21] = 0x10;
    let solicit = [
        &[135, 0, 0, 0, 0, 0, 0, 0],
        &IP6[..],
        &[1, 1, 2, 2, 3, 3, 4, 4],
    ]
    .concat();
    let advert = [
        &[136, 0, 0, 0, 0, 0, 0, 0],
        &IP6[..],
        &[14, 2],
        &[0; 14],
        &[2, 1, 9, 8, 7, 6, 5, 4],
    ];
    let twice = [&solicit[..], &[1, 1, 1, 1, 1, 1, 1, 1]].concat();
    let nd = |body: &[u8]| chain(&[], 58, body);
    let hop = (0u8, vec![0; 16]);
    let hop = (hop.0, {
        let mut b = hop.1;
        b[1] = 1;
        b
    });
    let ah = (51u8, {
        let mut b = vec![0; 24];
        b[1] = 4;
        b
    });
    let frag = |offset: [u8; 2]| (44u8, vec![0, 0, offset[0], offset[1], 0, 0, 0, 9]);
    let udp_bytes = [0, 53, 0, 54, 0, 8, 0, 0];
    let tag = |frame: &[u8], tpid: [u8; 2], tci: [u8; 2]| {
        [&frame[..12], &tpid, &tci, &frame[12..]].concat()
    };
    let one = tag(&udp, [0x81, 0], [0x60, 5]);
    let two = tag(&one, [0x88, 0xa8], [0, 6]);
    let three = tag(&two, [0x81, 0], [0, 7]);
    let length_form = [&A[..], &B, &[0, 50], &[0x42, 0x42, 3], &[0; 50]].concat();
    let snap = [&A[..], &B, &[0, 50], &[0xaa, 0xaa, 3, 0, 0, 0], &udp[12..]].concat();
    let mut arp = [&B[..], &A, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
    arp.extend([1, 2, 3, 4, 5, 6, 10, 0, 0, 1, 6, 5, 4, 3, 2, 1, 10, 0, 0, 2]);
    let mut big_opcode = arp.clone();
    big_opcode[20] = 1;
    let mut padded = udp.clone();
    padded.resize(60, 0xee);
    vec![
        ("udp", udp.clone()),
        ("padded udp", padded),
        ("tcp", tcp),
        ("ipv4 options", options),
        ("first fragment", first),
        ("later fragment", later),
        (
            "icmp",
            write(|f| {
                v4().icmpv4_echo_request(1, 2)
                    .write(f, &[0; 9])
                    .expect("builds")
            }),
        ),
        (
            "udp over ipv6",
            write(|f| v6().udp(1, 2).write(f, &[0; 9]).expect("builds")),
        ),
        (
            "tcp over ipv6",
            write(|f| v6().tcp(1, 2, 3, 4).write(f, &[]).expect("builds")),
        ),
        (
            "icmpv6",
            write(|f| {
                v6().icmpv6_echo_reply(1, 2)
                    .write(f, &[0; 9])
                    .expect("builds")
            }),
        ),
        ("solicitation", nd(&solicit)),
        ("advertisement", nd(&advert.concat())),
        ("option twice", nd(&twice)),
        ("hop-by-hop, ah", chain(&[hop.clone(), ah], 17, &udp_bytes)),
        (
            "ipv6 first fragment",
            chain(&[frag([0, 1])], 17, &udp_bytes),
        ),
        (
            "ipv6 later fragment",
            chain(&[frag([1, 8])], 17, &udp_bytes),
        ),
        (
            "ipv6 atomic fragment",
            chain(&[frag([0, 0])], 17, &udp_bytes),
        ),
        (
            "eight extension headers",
            chain(&vec![hop.clone(); 8], 17, &udp_bytes),
        ),
        (
            "nine extension headers",
            chain(&vec![hop; 9], 17, &udp_bytes),
        ),
        (
            "sctp",
            write(|f| v4().write(f, 132.into(), &[3; 12]).expect("builds")),
        ),
        (
            "igmp",
            write(|f| v4().write(f, 2.into(), &[3; 12]).expect("builds")),
        ),
        (
            "icmpv6 in ipv4",
            write(|f| v4().write(f, 58.into(), &solicit).expect("builds")),
        ),
        ("one tag", one),
        ("two tags", two),
        ("three tags", three),
        ("802.3", length_form),
        ("snap", snap),
        ("arp", arp.clone()),
        ("arp opcode above 255", big_opcode),
        ("rarp", {
            arp[12..14].copy_from_slice(&[0x80, 0x35]);
            arp
        }),
    ]
}

#[test]
fn every_frame_cut_at_every_byte() {
    let meta = Meta {
        in_port: 7,
        recirc_id: 8,
        mark: 9,
        vlan: None,
    };
    let mut cuts = 0;
    for (_, frame) in corpus() {
        for len in 0..=frame.len() {
            agree(&frame[..len], &meta);
            agree(
                &frame[..len],
                &Meta {
                    vlan: Some((0x88a8, 0x2003)),
                    ..meta
                },
            );
            cuts += 1;
        }
    }
    println!("{cuts} frames");
}

/// Values that the reference could have got wrong in the same way.
#[test]
fn known_values() {
    let key = |what: &str| {
        let frame = corpus()
            .into_iter()
            .find(|(name, _)| *name == what)
            .expect("in the corpus")
            .1;
        parse(
            &frame,
            &Meta {
                in_port: 1,
                ..Meta::default()
            },
        )
        .expect("long enough")
    };
    let (udp, layers) = key("udp");
    assert_eq!(
        (udp.tp_src(), udp.tp_dst(), udp.ip_proto, udp.ip_ttl),
        (11, 22, 17, 33)
    );
    assert_eq!((udp.ipv4_src, udp.ipv4_dst), ([10, 1, 2, 3], [10, 4, 5, 6]));
    assert_eq!((layers.l3, layers.l4, layers.routing), (14, 34, false));
    assert!(udp.is_narrow());
    let (tcp, _) = key("tcp");
    assert_eq!((tcp.tcp_flags(), tcp.tp_dst()), (0x042, 44));
    assert_eq!(key("ipv4 options").1.l4, 42);
    assert_eq!(key("first fragment").0.ip_frag, FRAG_ANY);
    let (later, layers) = key("later fragment");
    assert_eq!(
        (later.ip_frag, later.tp_src(), layers.l4),
        (FRAG_ANY | FRAG_LATER, 0, 34)
    );
    let (two, layers) = key("two tags");
    assert_eq!((two.vlan0_tpid, two.vlan0_tci()), ([0x88, 0xa8], 0x1006));
    assert_eq!((two.vlan1_tpid, two.vlan1_tci()), ([0x81, 0], 0x7005));
    assert_eq!((two.eth_type(), two.tp_dst(), layers.l3), (0x800, 22, 22));
    assert_eq!(key("three tags").0.eth_type(), 0x8100);
    assert_eq!(key("802.3").0.eth_type(), ETH_TYPE_NONE);
    assert_eq!((key("snap").0.tp_dst(), key("snap").1.l3), (22, 22));
    let (arp, _) = key("arp");
    assert_eq!(
        (arp.ip_proto, arp.arp_sha, arp.ipv4_dst),
        (2, [1, 2, 3, 4, 5, 6], [10, 0, 0, 2])
    );
    assert_eq!(key("arp opcode above 255").0.ip_proto, 0);
    let (ns, _) = key("solicitation");
    assert_eq!(
        (ns.nd_target, ns.arp_sha, ns.tp_src()),
        (IP6, [2, 2, 3, 3, 4, 4], 135)
    );
    assert_eq!(key("advertisement").0.arp_tha, [9, 8, 7, 6, 5, 4]);
    assert_eq!(key("option twice").0.nd_target, [0; 16]);
    assert_eq!(key("hop-by-hop, ah").0.tp_dst(), 54);
    assert_eq!(
        (
            key("ipv6 later fragment").0.ip_proto,
            key("ipv6 first fragment").0.ip_proto
        ),
        (44, 17)
    );
    assert_eq!(
        (
            key("eight extension headers").0.tp_dst(),
            key("nine extension headers").0.tp_dst()
        ),
        (54, 0)
    );
    assert_eq!(key("nine extension headers").0.ipv6_src, IP6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn damaged_frames(
        which in any::<prop::sample::Index>(),
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        vlan in prop::option::of((prop::sample::select(vec![0x8100u16, 0x88a8]), any::<u16>())),
    ) {
        let corpus = corpus();
        let mut frame = which.get(&corpus).1.clone();
        for (at, value) in &hits {
            let at = at.index(frame.len());
            frame[at] = *value;
        }
        // Half of them whole.
        let len = cut.index(frame.len() * 2).min(frame.len());
        let meta = Meta { in_port: 3, recirc_id: 0, mark: 0xffff_ffff, vlan };
        agree(&frame[..len], &meta);
    }

    #[test]
    fn noise(frame in prop::collection::vec(any::<u8>(), 0..120)) {
        agree(&frame, &Meta::default());
    }

    /// The outer tag makes the same key wherever the kernel keeps it.
    #[test]
    fn a_tag_beside_the_data_is_a_tag(which in any::<prop::sample::Index>(), tci in any::<u16>()) {
        let corpus = corpus();
        let frame = &which.get(&corpus).1;
        let inside = [&frame[..12], &[0x81, 0], &tci.to_be_bytes(), &frame[12..]].concat();
        let beside = Meta { vlan: Some((0x8100, tci)), ..Meta::default() };
        let (inside, layers) = parse(&inside, &Meta::default()).expect("long enough");
        let (beside, at) = parse(frame, &beside).expect("long enough");
        prop_assert_eq!(inside, beside);
        prop_assert_eq!(layers.l3, at.l3 + 4);
    }
}
