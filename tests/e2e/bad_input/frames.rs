//! Frames cut at every byte, with lying lengths, nested tags, bad checksums, and noise.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, ensure};
use tests::traffic::BackgroundPing;
use tests::{Host, require_root};

use super::{B, Random, Rig};

const DST: [u8; 6] = [0x02, 0, 0, 0, 0, 0xbb];
const SRC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xcc];

fn eth(ethertype: u16, rest: &[u8]) -> Vec<u8> {
    [&DST[..], &SRC, &ethertype.to_be_bytes(), rest].concat()
}

fn tagged(tags: &[(u16, u16)], ethertype: u16, rest: &[u8]) -> Vec<u8> {
    let mut frame = [DST, SRC].concat();
    for (tpid, tci) in tags {
        frame.extend(tpid.to_be_bytes());
        frame.extend(tci.to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(rest);
    frame
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum = bytes
        .chunks(2)
        .map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0)))
        .sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// IPv4 with `options` (a multiple of 4 bytes); `fragment` is flags and offset as on the wire.
fn ipv4(proto: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut p = vec![0x40 | (header / 4) as u8, 0];
    p.extend(((header + payload.len()) as u16).to_be_bytes());
    p.extend([0x12, 0x34]);
    p.extend(fragment.to_be_bytes());
    p.extend([64, proto, 0, 0, 10, 1, 0, 9, 10, 1, 0, 2]);
    p.extend(options);
    let check = sum(&p);
    p[10..12].copy_from_slice(&check.to_be_bytes());
    p.extend(payload);
    p
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut p = vec![0x60, 0, 0, 0];
    p.extend((payload.len() as u16).to_be_bytes());
    p.extend([next, 64]);
    p.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    p.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    p.extend(payload);
    p
}

fn tcp() -> Vec<u8> {
    let mut p = vec![0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x70, 2, 0xff];
    p.extend([0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4, 1, 1, 4, 2]);
    p
}

fn udp() -> Vec<u8> {
    vec![0x12, 0x34, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]
}

fn sctp() -> Vec<u8> {
    vec![
        0x12, 0x34, 0x0b, 0x59, 0, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 20, 0, 0, 0, 1,
    ]
}

/// A neighbour solicitation with the option for the link-layer address.
fn solicitation() -> Vec<u8> {
    let mut p = vec![135, 0, 0, 0, 0, 0, 0, 0];
    p.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    p.extend([1, 1]);
    p.extend(SRC);
    p
}

/// One good frame of every protocol that is read.
fn good() -> Vec<Vec<u8>> {
    let arp = [
        &[0, 1, 8, 0, 6, 4, 0, 1][..],
        &SRC,
        &[10, 1, 0, 9],
        &[0; 6],
        &[10, 1, 0, 2],
    ]
    .concat();
    let icmp = [8, 0, 0, 0, 0, 1, 0, 1, 9, 9];
    let routing = [&[6, 2, 0, 1][..], &[0; 20], &tcp()].concat();
    let chain = [
        &[43, 0, 1, 4, 0, 0, 0, 0][..], // hop-by-hop
        &[44, 0, 0, 0, 0, 0, 0, 0],     // routing
        &[60, 0, 0, 1, 0, 0, 0, 7],     // fragment, first of several
        &[17, 0, 1, 4, 0, 0, 0, 0],     // destination options
        &udp(),
    ]
    .concat();
    let auth = [&[17, 4, 0, 0][..], &[0; 20], &udp()].concat();
    vec![
        eth(0x0806, &arp),
        eth(0x0800, &ipv4(6, 0, &[], &tcp())),
        eth(0x0800, &ipv4(17, 0, &[7, 7, 4, 0, 0, 0, 0, 0], &udp())),
        eth(0x0800, &ipv4(132, 0, &[], &sctp())),
        eth(0x0800, &ipv4(1, 0, &[], &icmp)),
        eth(0x0800, &ipv4(17, 0x2000, &[], &udp())),
        eth(0x0800, &ipv4(17, 0x0010, &[], &udp())),
        eth(0x86dd, &ipv6(6, &tcp())),
        eth(0x86dd, &ipv6(132, &sctp())),
        eth(0x86dd, &ipv6(58, &solicitation())),
        eth(0x86dd, &ipv6(0, &chain)),
        eth(0x86dd, &ipv6(43, &routing)),
        eth(0x86dd, &ipv6(51, &auth)),
        tagged(&[(0x8100, 10)], 0x0800, &ipv4(6, 0, &[], &tcp())),
        tagged(
            &[(0x88a8, 10), (0x8100, 20)],
            0x0800,
            &ipv4(17, 0, &[], &udp()),
        ),
        eth(0x8847, &[0, 0, 0x11, 0x40, 0, 0, 0x21, 0x40, 0x45]),
        // IEEE 802.3 with LLC and SNAP.
        eth(20, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0, 1, 2, 3, 4]),
    ]
}

/// Length and offset fields that do not tell the truth, and checksums that are wrong.
fn lies() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut set = |mut packet: Vec<u8>, ethertype: u16, at: usize, value: u8| {
        packet[at] = value;
        frames.push(eth(ethertype, &packet));
    };
    let v4 = |proto| ipv4(proto, 0, &[0, 0, 0, 0], &[tcp(), udp()].concat());
    let v6 = |next| ipv6(next, &[tcp(), udp()].concat());
    for proto in [1, 6, 17, 132] {
        for value in [0, 1, 4, 15, 19, 20, 21, 0x7f, 0x80, 0xff] {
            set(v4(proto), 0x0800, 0, 0x40 | (value & 0xf)); // header length
            set(v4(proto), 0x0800, 0, value); // version
            set(v4(proto), 0x0800, 2, value); // total length, high
            set(v4(proto), 0x0800, 3, value); // total length, low
            set(v4(proto), 0x0800, 6, value); // fragments
            set(v4(proto), 0x0800, 8, value); // time to live
            set(v4(proto), 0x0800, 10, value); // checksum
            set(v4(proto), 0x0800, 21, value); // an option's length
            set(v4(proto), 0x0800, 24 + 12, value); // TCP's data offset
            set(v4(proto), 0x0800, 24 + 4, value); // UDP's length
            set(v4(proto), 0x0800, 24 + 16, value); // TCP's checksum
        }
    }
    for next in [
        0, 6, 17, 43, 44, 50, 51, 58, 59, 60, 132, 135, 139, 140, 253,
    ] {
        for value in [0, 1, 2, 4, 15, 20, 0x7f, 0x80, 0xff] {
            set(v6(next), 0x86dd, 4, value); // payload length
            set(v6(next), 0x86dd, 5, value);
            set(v6(next), 0x86dd, 40, value); // an extension header's next header
            set(v6(next), 0x86dd, 41, value); // an extension header's length
            set(v6(next), 0x86dd, 42, value);
        }
    }
    let mut nd = ipv6(58, &solicitation());
    for length in [0, 2, 3, 0xff] {
        nd[40 + 25] = length; // an option's length
        frames.push(eth(0x86dd, &nd));
    }
    // ARP for other hardware, other protocols and other lengths of addresses.
    for at in 0..8 {
        for value in [0, 5, 0xff] {
            let mut arp = good()[0].clone();
            arp[14 + at] = value;
            frames.push(arp);
        }
    }
    // A hundred extension headers in a row; a chain that ends in itself.
    for kind in [0u8, 43, 60] {
        let mut chain = [kind, 0, 1, 4, 0, 0, 0, 0].repeat(100);
        chain.extend(udp());
        frames.push(eth(0x86dd, &ipv6(kind, &chain)));
    }
    frames
}

fn nested() -> Vec<Vec<u8>> {
    let inner = ipv4(17, 0, &[], &udp());
    let mut frames = Vec::new();
    for depth in 1..=5 {
        for outer in [0x8100, 0x88a8, 0x9100] {
            for vid in [0u16, 1, 10, 4094, 4095, 0xffff] {
                let mut tags = vec![(outer, vid)];
                tags.extend(std::iter::repeat_n((0x8100, vid), depth - 1));
                let whole = tagged(&tags, 0x0800, &inner);
                frames.push(whole[..14 + 4 * depth].to_vec());
                frames.push(whole[..14 + 4 * depth - 2].to_vec());
                frames.push(whole);
            }
        }
    }
    frames
}

fn noise(random: &mut Random) -> Vec<Vec<u8>> {
    let good = good();
    let mut frames = Vec::new();
    for _ in 0..400 {
        let length = 14 + random.below(200);
        frames.push(random.bytes(length));
    }
    for _ in 0..800 {
        let mut frame = good[random.below(good.len())].clone();
        for _ in 0..=random.below(4) {
            let at = 12 + random.below(frame.len() - 12);
            frame[at] = random.next() as u8;
        }
        frames.push(frame);
    }
    frames
}

fn large() -> Vec<Vec<u8>> {
    let fill = |n: usize| vec![0x5a; n];
    let mut frames = Vec::new();
    for length in [1473, 9000, 32_000, 60_000] {
        frames.push(eth(0x88b5, &fill(length)));
        frames.push(eth(
            0x0800,
            &ipv4(6, 0, &[], &[tcp(), fill(length)].concat()),
        ));
        frames.push(eth(0x86dd, &ipv6(17, &[udp(), fill(length)].concat())));
        frames.push(tagged(
            &[(0x8100, 10)],
            0x0800,
            &ipv4(17, 0, &[], &[udp(), fill(length)].concat()),
        ));
    }
    frames
}

/// Sends every frame from the host; gives how many its kernel took. `offloads` prefixes each with
/// a header that asks for segmentation and checksums which the frame may not bear.
fn send(host: &Host, frames: Vec<Vec<u8>>, offloads: bool) -> Result<usize> {
    host.ns
        .enter(move || -> Result<usize> {
            let socket = packet_socket(offloads)?;
            let mut random = Random(0x1234_5678_9abc_def1);
            let mut taken = 0;
            for mut frame in frames {
                if offloads {
                    // struct virtio_net_hdr: flags, kind, header length, size, start, offset.
                    let kind = [0u8, 1, 3, 4, 5, 0x81][random.below(6)];
                    let size = [0u16, 1, 8, 536, 1448, 0xffff][random.below(6)];
                    let length = random.below(80) as u16;
                    let mut header = vec![(random.next() & 1) as u8, kind];
                    for word in [
                        length,
                        size,
                        random.below(60) as u16,
                        random.below(20) as u16,
                    ] {
                        header.extend(word.to_ne_bytes());
                    }
                    header.extend(frame);
                    frame = header;
                }
                // SAFETY: the buffer is as long as it is said to be.
                let sent = unsafe {
                    libc::send(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0)
                };
                taken += usize::from(sent >= 0);
            }
            Ok(taken)
        })
        .join()
        .expect("the thread does not panic")
}

fn packet_socket(offloads: bool) -> Result<OwnedFd> {
    // SAFETY: plain system calls; the descriptor is owned at once.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        ensure!(fd >= 0, "{}", std::io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(fd);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = libc::if_nametoindex(c"eth0".as_ptr()) as i32;
        let bound = libc::bind(
            fd,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        );
        ensure!(bound == 0, "{}", std::io::Error::last_os_error());
        if offloads {
            const PACKET_VNET_HDR: i32 = 15;
            let on = 1i32;
            let set = libc::setsockopt(
                fd,
                libc::SOL_PACKET,
                PACKET_VNET_HDR,
                (&raw const on).cast(),
                4,
            );
            ensure!(set == 0, "{}", std::io::Error::last_os_error());
        }
        Ok(socket)
    }
}

/// Packets dropped so far, by reason.
fn drops(rig: &Rig) -> Result<(String, u64)> {
    let text = rig.s.appctl(&["dpctl/show-drops"])?;
    let total = text
        .lines()
        .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
        .sum();
    Ok((text, total))
}

#[test]
fn bad_frames_are_forwarded_or_counted() -> Result<()> {
    if !require_root("bad_frames_are_forwarded_or_counted") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-badfr")?;
    let c = Host::new(&rig.s, "bad-c", "c0", "10.1.0.9/24")?;
    rig.s.vsctl(&["add-port", "br0", "c0"])?;
    // Both ends of the bad host's cable take anything up to the largest frame.
    c.ns.ip(&["link", "set", "eth0", "mtu", "65000"])?;
    rig.s.ns.ip(&["link", "set", "c0", "mtu", "65000"])?;
    rig.s.ns.ip(&["addr", "add", "10.1.0.3/24", "dev", "br0"])?;
    rig.s.ns.ip(&["link", "set", "br0", "up"])?;

    let cuts = || {
        good()
            .into_iter()
            .flat_map(|frame| (0..=frame.len()).map(move |cut| frame[..cut].to_vec()))
            .collect::<Vec<_>>()
    };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut total = 0;
    // First as a plain learning switch; then through rules that read and rewrite every layer.
    for rewriting in [false, true] {
        if rewriting {
            for rule in [
                "priority=20,in_port=c0,tcp,actions=dec_ttl,mod_tp_dst:81,mod_nw_src:10.1.0.77,NORMAL",
                "priority=20,in_port=c0,udp,actions=mod_nw_tos:32,mod_tp_src:7,push_vlan:0x8100,set_field:4101->vlan_vid,NORMAL",
                "priority=20,in_port=c0,sctp,actions=mod_tp_dst:9,NORMAL",
                "priority=20,in_port=c0,icmp,actions=mod_nw_dst:10.1.0.78,NORMAL",
                "priority=20,in_port=c0,tcp6,actions=set_field:fd00::77->ipv6_src,mod_tp_dst:81,NORMAL",
                "priority=20,in_port=c0,udp6,actions=set_field:fd00::77->ipv6_dst,mod_tp_dst:81,NORMAL",
                "priority=20,in_port=c0,icmp6,actions=set_field:fd00::77->ipv6_src,NORMAL",
                "priority=20,in_port=c0,arp,actions=set_field:10.1.0.3->arp_spa,NORMAL",
                "priority=10,in_port=c0,vlan_tci=0x1000/0x1000,actions=strip_vlan,NORMAL",
            ] {
                rig.s
                    .ofctl(&["-OOpenFlow13", "add-flow", "br0", rule])
                    .with_context(|| rule.to_owned())?;
            }
        }
        let good_ones = BackgroundPing::start(&rig.a.ns, B, 10_000, "0.01")?;
        for frames in [cuts(), lies(), nested(), noise(&mut random), large()] {
            let n = frames.len();
            let taken = send(&c, frames, false)?;
            // The kernel itself refuses what is shorter than an Ethernet header.
            ensure!(taken > n / 2, "only {taken} of {n} frames could be sent");
            total += taken;
        }
        let (more, _) = (noise(&mut random), ());
        total += send(&c, [more, large(), good()].concat(), true)?;
        // Nobody else is hurt meanwhile.
        let pings = good_ones.stop()?;
        ensure!(
            pings.received + 1 >= pings.sent && pings.sent > 0,
            "good hosts lost packets: {pings:?}"
        );
        rig.well()?;
    }
    let (text, dropped) = drops(&rig)?;
    println!("{total} frames sent; drops:\n{text}");
    ensure!(total > 4000, "{total} frames");
    ensure!(dropped > 0, "some frames are counted as drops: {text}");
    for line in text.lines() {
        // Each has a name; a frame that comes while a port is being attached is of an unknown port.
        let name = line.split_whitespace().next().unwrap_or_default();
        ensure!(
            packet::DropReason::ALL
                .iter()
                .any(|reason| reason.name() == name),
            "{text}"
        );
    }
    rig.well()
}
