//! OpenFlow messages cut at every byte, with lying lengths, noise, and peers that are too slow or
//! never read, all to a bridge's management socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::require_root;

use super::{Random, Rig, connect, exchange, flood, resident};

/// Messages of Open vSwitch's own programs, which the codec's tests read too.
const MESSAGES: &str = include_str!("../../../openflow/tests/data/codec.txt");
const HELLO_10: [u8; 8] = [1, 0, 0, 8, 0, 0, 0, 1];
const HELLO_13: [u8; 8] = [4, 0, 0, 8, 0, 0, 0, 1];
const ERROR: u8 = 1;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
const MULTIPART_13: u8 = 18;

fn messages() -> Vec<Vec<u8>> {
    MESSAGES
        .lines()
        .filter(|line| line.len() >= 16 && line.bytes().all(|b| b.is_ascii_hexdigit()))
        .filter_map(|line| {
            (0..line.len() / 2)
                .map(|i| u8::from_str_radix(line.get(2 * i..2 * i + 2)?, 16).ok())
                .collect()
        })
        .collect()
}

/// The longest message of each type and version that is not very long.
fn one_of_each() -> Vec<Vec<u8>> {
    let mut longest: BTreeMap<(u8, u8), Vec<u8>> = BTreeMap::new();
    for message in messages().into_iter().filter(|m| m.len() <= 160) {
        let best = longest.entry((message[0], message[1])).or_default();
        if message.len() > best.len() {
            *best = message;
        }
    }
    longest.into_values().collect()
}

fn hello(version: u8) -> &'static [u8] {
    if version == 1 { &HELLO_10 } else { &HELLO_13 }
}

/// Types of the messages in `bytes`.
fn types(bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    let mut rest = bytes;
    while let [_, kind, high, low, ..] = rest {
        types.push(*kind);
        let length = usize::from(u16::from_be_bytes([*high, *low])).max(8);
        rest = rest.get(length..).unwrap_or_default();
    }
    types
}

fn socket(rig: &Rig, bridge: &str) -> PathBuf {
    rig.s.dir().join(format!("{bridge}.mgmt"))
}

#[test]
fn damaged_openflow_messages() -> Result<()> {
    if !require_root("damaged_openflow_messages") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-badof")?;
    let good = socket(&rig, "br0");
    // A connection that lives through all of it.
    let mut other = connect(&good)?;
    other.write_all(&HELLO_13)?;
    let mut its_hello = [0; 16];
    other.read_exact(&mut its_hello[..8])?;
    let length = usize::from(its_hello[3]);
    other.read_exact(&mut its_hello[8..length])?;

    // Cut at every byte, and then nothing more comes: nothing of the message is carried out.
    let mut cuts = 0;
    for message in one_of_each() {
        for cut in 0..message.len() {
            let start = Instant::now();
            let bytes = [hello(message[0]), &message[..cut]].concat();
            exchange(&good, &bytes).with_context(|| format!("{message:02x?} cut at {cut}"))?;
            ensure!(start.elapsed() < Duration::from_secs(2), "takes too long");
            cuts += 1;
        }
    }
    println!("{cuts} cut messages, each on a connection of its own");
    echo(&mut other)?;
    rig.well()?;

    // Cut, with a length that says so: all go to a bridge whose rules may change.
    rig.s.vsctl(&["add-br", "br9"])?;
    let spare = socket(&rig, "br9");
    let mut sent = 0;
    let mut errors = 0;
    for version in [1u8, 4] {
        for message in messages().iter().filter(|m| m[0] == version) {
            let mut bytes = hello(version).to_vec();
            for cut in 8..=message.len().min(1000) {
                let mut short = message[..cut].to_vec();
                short[2..4].copy_from_slice(&(cut as u16).to_be_bytes());
                bytes.extend(short);
                sent += 1;
            }
            let answer = exchange(&spare, &bytes)?;
            errors += types(&answer).iter().filter(|t| **t == ERROR).count();
        }
    }
    println!("{sent} messages with lengths that fit their cuts, {errors} answered with errors");
    ensure!(errors > 500, "most are refused: {errors} of {sent}");
    echo(&mut other)?;
    rig.well()?;

    // Lengths that lie, in the header and inside; then noise.
    let mut random = Random(0x0dd0_beef_0dd0_beef);
    for message in messages() {
        for round in 0..12 {
            let mut bad = message.clone();
            match round {
                0..4 => {
                    let lie = [0u16, 7, 9, 0xffff][round];
                    bad[2..4].copy_from_slice(&lie.to_be_bytes());
                }
                _ => {
                    for _ in 0..=random.below(4) {
                        let at = 4 + random.below(bad.len() - 4);
                        bad[at] = random.next() as u8;
                    }
                }
            }
            exchange(&spare, &[hello(message[0]), &bad].concat())?;
        }
    }
    for round in 0..300 {
        let length = 1 + random.below(400);
        let noise = random.bytes(length);
        let greeting: &[u8] = if round % 3 == 0 { &[] } else { &HELLO_13 };
        exchange(&spare, &[greeting, &noise].concat())?;
    }
    // A header shorter than itself is told to the peer, or ends the connection.
    let answer = exchange(&spare, &[&HELLO_13[..], &[4, 0, 0, 3, 0, 0, 0, 9]].concat())?;
    ensure!(types(&answer).first() == Some(&0), "a hello came first");
    // A version that nobody speaks is refused with a reason.
    let answer = exchange(&spare, &[9, 0, 0, 8, 0, 0, 0, 1])?;
    println!("to version 9: {:?}", types(&answer));
    ensure!(
        exchange(&spare, &[0, 0, 0, 8, 0, 0, 0, 1]).map(|a| types(&a).contains(&ERROR))?,
        "version 0 is refused with an error"
    );
    echo(&mut other)?;
    rig.s.vsctl(&["del-br", "br9"])?;
    rig.well()
}

/// The connection still answers, and answers this.
fn echo(stream: &mut std::os::unix::net::UnixStream) -> Result<()> {
    let request = [4, ECHO_REQUEST, 0, 12, 0, 0, 0, 99, 1, 2, 3, 4];
    stream.write_all(&request)?;
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).context("no echo reply")?;
    ensure!(
        reply[1] == ECHO_REPLY && reply[2..] == request[2..],
        "{reply:?}"
    );
    Ok(())
}

#[test]
fn slow_and_deaf_openflow_peers() -> Result<()> {
    if !require_root("slow_and_deaf_openflow_peers") {
        return Ok(());
    }
    let mut rig = Rig::start("e2e-badsl")?;
    let path = socket(&rig, "br0");
    let rules: String = (0..3000)
        .map(|i| format!("table=9,priority={i},tcp,tp_dst={i},actions=drop\n"))
        .collect();
    let file = rig.s.dir().join("rules");
    std::fs::write(&file, rules)?;
    rig.s
        .ofctl(&["add-flows", "br0", &file.display().to_string()])?;

    // One byte a second.
    let mut slow = connect(&path)?;
    let barrier = [4, 20, 0, 8, 0, 0, 0, 5];
    slow.write_all(&HELLO_13)?;
    let slow = std::thread::spawn(move || -> Result<Vec<u8>> {
        for byte in barrier {
            slow.write_all(&[byte])?;
            std::thread::sleep(Duration::from_secs(1));
        }
        let mut answer = vec![0; 64];
        let n = slow.read(&mut answer)?;
        answer.truncate(n);
        Ok(answer)
    });

    // Peers that ask for all rules, again and again, and never read.
    let pid = rig.s.vswitchd_pid().context("vswitchd runs")?;
    let before = resident(pid)?;
    let mut dump = vec![4, MULTIPART_13, 0, 56, 0, 0, 0, 7, 0, 1, 0, 0, 0, 0, 0, 0];
    dump.extend([0xff, 0, 0, 0]); // all tables
    dump.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]); // any port, any group
    dump.extend([0; 4 + 8 + 8]);
    dump.extend([0, 1, 0, 4, 0, 0, 0, 0]);
    let mut deaf = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(&path)?;
        stream.write_all(&HELLO_13)?;
        let sent = flood(&mut stream, &dump, 4 << 20)?;
        ensure!(
            sent < 4 << 20,
            "the switch read all {sent} bytes of requests"
        );
        deaf.push(stream);
    }
    let after = resident(pid)?;
    println!("resident before {before} MiB, with 8 deaf peers {after} MiB");
    ensure!(after < before + 8 * 24, "{before} MiB grew to {after} MiB");
    rig.well()?;
    let start = Instant::now();
    let rules = rig.s.ofctl(&["dump-flows", "br0", "table=9"])?;
    ensure!(rules.lines().count() >= 3000, "all rules are there");
    ensure!(start.elapsed() < Duration::from_secs(5), "others wait long");

    // More connections than there is room for wait their turn; they do not end the daemon.
    let many: Vec<_> = (0..600)
        .map_while(|_| std::os::unix::net::UnixStream::connect(&path).ok())
        .collect();
    println!("{} idle connections", many.len());
    drop(deaf);
    drop(many);
    let answer = slow.join().expect("the thread does not panic")?;
    let seen = types(&answer);
    ensure!(
        seen.contains(&21),
        "the slow peer got its barrier: {seen:?}"
    );
    rig.well()
}
