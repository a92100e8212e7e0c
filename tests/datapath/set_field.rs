//! Every field that can be written, in every kind of packet: the kernel's answer is what
//! `dpif::edit` says, which is written on its own, and finished checksums stay right.

use anyhow::{Context, Result, ensure};
use dpif::{Dpif, Packet, edit};
use packet::action::SetField;
use packet::{Action, DropReason};

use crate::bench::{Bench, QUIET, in_netns};
use crate::frames::{self, packet, super_packet, tagged};

fn packets() -> Vec<(&'static str, Packet)> {
    let udp = frames::udp(1000, 2000, b"odd payload");
    let mut no_sum = udp.clone();
    no_sum[40..42].copy_from_slice(&[0, 0]);
    let mut unfinished = super_packet(101, 1448);
    unfinished.gso = None;
    let mut later_fragment = udp.clone();
    later_fragment[21] = 3;
    let mut ip_sum = 0u32;
    later_fragment[24..26].copy_from_slice(&[0, 0]);
    for word in later_fragment[14..34].chunks(2) {
        ip_sum += u32::from(u16::from_be_bytes([word[0], word[1]]));
    }
    let ip_sum = !((ip_sum & 0xffff) + (ip_sum >> 16)) as u16;
    later_fragment[24..26].copy_from_slice(&ip_sum.to_be_bytes());
    vec![
        ("udp", packet(udp.clone())),
        ("udp, no checksum", packet(no_sum)),
        ("tcp", packet(frames::tcp(&[1, 2, 3]))),
        ("tcp, checksum unfinished", unfinished),
        ("tcp super-packet", super_packet(20_000, 1448)),
        ("tagged tcp", packet(tagged(&frames::tcp(&[1]), 0x8100, 5))),
        (
            "twice tagged udp",
            packet(tagged(&tagged(&udp, 0x8100, 5), 0x88a8, 6)),
        ),
        (
            "udp over ipv6",
            packet(frames::udp6(1000, 2000, b"odd payload")),
        ),
        ("tcp over ipv6", packet(frames::tcp6(&[9; 20]))),
        ("icmp", packet(frames::icmp())),
        ("icmpv6", packet(frames::icmp6())),
        ("neighbour solicitation", packet(frames::neighbour(135, 1))),
        ("neighbour advertisement", packet(frames::neighbour(136, 2))),
        ("arp", packet(frames::arp())),
        ("sctp", packet(frames::sctp(false, 100))),
        ("sctp over ipv6", packet(frames::sctp(true, 1))),
        ("later fragment", packet(later_fragment)),
        ("routing header", packet(frames::routing_header())),
    ]
}

#[test]
fn fields_and_checksums_come_out_as_the_reference_says() {
    in_netns("fields", || {
        let bench = Bench::new(2)?;
        let [a, b] = [0, 1].map(|n| bench.ports[n].number);
        let mut carried_out = 0;
        for (what, sent) in packets() {
            for field in SetField::ALL {
                if matches!(field, SetField::PktMark | SetField::SkbPriority) {
                    continue;
                }
                for mask in [[0xff; 6], [0x0f, 0xf0, 0x3c, 0, 0xff, 1]] {
                    let value = [0xa5, 0x5a, 0x96, 0x69, 0x01, 0xfe];
                    let set = Action::Set {
                        field: *field,
                        value,
                        mask,
                    };
                    let mut expected = sent.clone();
                    let refused = edit::apply(&mut expected, &mut 0, &set).is_err();
                    bench.flow(a, vec![set, Action::Output(b)])?;
                    let before = failed(&bench)?;
                    if refused {
                        bench.ports[0].wire.send(&sent)?;
                        let got = bench.ports[1].wire.recv(QUIET / 10)?;
                        ensure!(got.is_none(), "{what}: {field:?}: {:02x?}", got);
                        ensure!(failed(&bench)? == before + 1, "{what}: {field:?}");
                        continue;
                    }
                    let mut got = bench
                        .pass(0, 1, &sent)
                        .with_context(|| format!("{what}: {field:?} under {mask:02x?}"))?;
                    if let (Some(got), Some(sent)) = (&mut got.gso, &sent.gso) {
                        got.segs = sent.segs;
                    }
                    ensure!(
                        got == expected,
                        "{what}: {field:?} under {mask:02x?}:\n{:02x?} instead of\n{:02x?}",
                        got.data,
                        expected.data
                    );
                    carried_out += 1;
                }
            }
        }
        println!("{carried_out} fields written");
        ensure!(carried_out > 250, "only {carried_out} fields written");
        Ok(())
    });
}

fn failed(bench: &Bench) -> Result<u64> {
    let drops = bench.dp().drops()?;
    Ok(drops
        .iter()
        .find(|(r, _)| *r == DropReason::ActionFailed)
        .map_or(0, |(_, n)| *n))
}
