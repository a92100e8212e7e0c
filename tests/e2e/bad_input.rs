//! What must not be believed: damaged frames, messages, files and configurations.
//!
//! Each case drives running daemons. Bad input gets a clear error or a counted drop with a named
//! reason; nothing that was there is lost, both daemons keep running, and two good hosts reach
//! each other afterwards.

mod configuration;
mod frames;
mod openflow;
mod ovsdb;
mod storage;
mod unixctl;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::process::wait_for;
use tests::traffic::ping;
use tests::{Host, Switch};

/// A switch with two good hosts on bridge `br0`, and rules that must survive.
struct Rig {
    s: Switch,
    a: Host,
    _b: Host,
}

const B: &str = "10.1.0.2";
/// Rules of `br0` that no bad input may touch.
const RULES: [&str; 2] = [
    "table=7,priority=9,tcp,tp_dst=80,actions=drop",
    "table=7,priority=8,udp,nw_src=10.9.0.0/16,actions=NORMAL",
];

impl Rig {
    fn start(name: &str) -> Result<Rig> {
        let s = Switch::start(name)?;
        let a = Host::new(&s, "bad-a", "a0", "10.1.0.1/24")?;
        let b = Host::new(&s, "bad-b", "b0", &format!("{B}/24"))?;
        s.vsctl(&[
            "add-br", "br0", "--", "add-port", "br0", "a0", "--", "add-port", "br0", "b0",
        ])?;
        for rule in RULES {
            s.ofctl(&["add-flow", "br0", rule])?;
        }
        let mut rig = Rig { s, a, _b: b };
        rig.well()?;
        Ok(rig)
    }

    /// Everything that was there is there and works.
    fn well(&mut self) -> Result<()> {
        ensure!(
            self.s.healthy(),
            "a daemon ended or panicked: {}",
            tests::process::tail(&self.s.dir().join("vswitchd.out"), 20)
        );
        let rules = self.s.ofctl(&["dump-flows", "br0", "table=7"])?;
        ensure!(
            rules.contains("tp_dst=80") && rules.contains("nw_src=10.9.0.0/16"),
            "the rules are intact: {rules}"
        );
        let ports = self.s.vsctl(&["list-ports", "br0"])?;
        ensure!(
            ports.lines().any(|p| p == "a0") && ports.lines().any(|p| p == "b0"),
            "the ports are intact: {ports}"
        );
        self.reachable()
    }

    /// The good hosts talk to each other.
    fn reachable(&mut self) -> Result<()> {
        wait_for(
            "good hosts reach each other",
            Duration::from_secs(5),
            || ping(&self.a.ns, B, 2, "0.01").is_ok_and(|p| p.all()),
        )
    }
}

/// Connects, with limits on how long anything may take.
fn connect(path: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(path).with_context(|| format!("{}", path.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// Sends `bytes`, says that no more will come, and gives what the peer answered before it ended
/// the connection, which it must within seconds.
fn exchange(path: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut stream = connect(path)?;
    // The peer may have had enough before it read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => Ok(answer),
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => Ok(answer),
        Err(e) => Err(e).context("the peer neither answers nor ends the connection"),
    }
}

/// Writes `bytes` again and again until the peer takes no more for a while or `most` bytes went.
fn flood(stream: &mut UnixStream, bytes: &[u8], most: usize) -> Result<usize> {
    stream.set_nonblocking(true)?;
    let mut sent = 0;
    let mut at = 0;
    let mut progress = Instant::now();
    while sent < most && progress.elapsed() < Duration::from_millis(700) {
        match stream.write(bytes.get(at..).unwrap_or_default()) {
            Ok(n) => {
                sent += n;
                at = (at + n) % bytes.len();
                progress = Instant::now();
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(_) => break,
        }
    }
    Ok(sent)
}

/// Resident memory of a process, in MiB.
fn resident(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .context("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? / 1024)
}

/// A small deterministic source of bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }
}
