//! Many ports, many rules: everything works as with few.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::netns::NetNs;
use tests::process::{run, wait_for};
use tests::{Switch, require_root};

const PORTS: usize = 300;
const RULES: usize = 100_000;

/// IEEE 802 local experimental EtherType 1: nobody else's frames.
const ETH_TYPE: u16 = 0x88b5;

/// 300 ports in one transaction all carry, a flood reaches every one, 100,000 rules are 100,000
/// rules, and a restart with all that keeps the numbers of the ports.
#[test]
fn many_ports_and_rules() -> Result<()> {
    if !require_root("many_ports_and_rules") {
        return Ok(());
    }
    let mut s = Switch::start("e2e-scale")?;
    let hosts = Hosts::new(&s, "e2e-many", PORTS)?;
    s.vsctl(&["add-br", "br0"])?;
    let add: String = (0..PORTS).fold(String::new(), |mut words, n| {
        let _ = write!(words, " -- add-port br0 p{n}");
        words
    });
    s.vsctl(&add.split_whitespace().collect::<Vec<_>>())?;

    hosts.every_port_carries("after they were added")?;
    hosts.a_flood_reaches_every_port()?;

    let path = s.dir().join("rules");
    let rules: String = (0..RULES).fold(String::new(), |mut text, n| {
        let [_, a, b, c] = (n as u32).to_be_bytes();
        let _ = writeln!(
            text,
            "priority=10,ip,nw_dst=10.{a}.{b}.{c},actions=output:1"
        );
        text
    });
    std::fs::write(&path, rules)?;
    s.ofctl(&["add-flows", "br0", &path.to_string_lossy()])?;
    let aggregate = s.ofctl(&["dump-aggregate", "br0"])?;
    // The rule that every new bridge has is there, too.
    let wanted = format!("flow_count={}", RULES + 1);
    ensure!(aggregate.contains(&wanted), "{aggregate}");
    hosts.every_port_carries("with many rules")?;
    s.ofctl(&["del-flows", "br0", "ip"])?;
    let aggregate = s.ofctl(&["dump-aggregate", "br0"])?;
    ensure!(aggregate.contains("flow_count=1\n"), "{aggregate}");

    let numbers = ["--columns=name,ofport", "list", "Interface"];
    let before = s.vsctl(&numbers)?;
    s.stop_vswitchd()?;
    s.start_vswitchd()?;
    s.vsctl(&["set", "Open_vSwitch", ".", "external_ids:after=restart"])?;
    assert_eq!(before, s.vsctl(&numbers)?);
    hosts.every_port_carries("after a restart")
}

/// One namespace with the far ends of all ports: `h0`, `h1`, ...
struct Hosts {
    ns: NetNs,
    count: usize,
}

impl Hosts {
    /// The switch's ends are `p0`, `p1`, ... in its namespace.
    fn new(switch: &Switch, name: &str, count: usize) -> Result<Hosts> {
        let ns = NetNs::new(name)?;
        // What the kernel would send by itself would be flooded to all.
        let quiet =
            ns.enter(|| std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"));
        // Without IPv6 there is nothing to turn off.
        let _ = quiet.join();
        let batch = (0..count).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "link add p{n} type veth peer name h{n} netns {name}");
            let _ = writeln!(text, "link set p{n} up");
            text
        });
        let path = switch.dir().join("links");
        std::fs::write(&path, batch)?;
        let path = path.to_string_lossy();
        run("ip", &["-n", switch.ns.name(), "-batch", &path])?;
        let batch = (0..count).fold(String::new(), |mut text, n| {
            let _ = writeln!(text, "link set h{n} up");
            text
        });
        std::fs::write(&*path, batch)?;
        run("ip", &["-n", name, "-batch", &path])?;
        Ok(Hosts { ns, count })
    }

    /// A broadcast from each port arrives at the first, and one from the first at the last.
    fn every_port_carries(&self, when: &str) -> Result<()> {
        let count = self.count;
        self.inside(move |socket, indexes| {
            let first = *indexes.first().context("no ports")?;
            let mut missing: BTreeSet<usize> = (1..count).collect();
            let mut left = BTreeSet::new();
            let done = wait_for("every port carries", Duration::from_secs(10), || {
                left.clone_from(&missing);
                for n in &missing {
                    if let Some(index) = indexes.get(*n) {
                        let _ = socket.send(*index, *n);
                    }
                }
                while let Some((index, from)) = socket.receive(Duration::from_millis(50)) {
                    if index == first {
                        missing.remove(&from);
                    }
                }
                missing.is_empty()
            });
            done.with_context(|| format!("ports {left:?} carry nothing"))
        })
        .with_context(|| when.to_owned())
    }

    /// Once the cache has the flow, one frame is enough to reach all.
    fn a_flood_reaches_every_port(&self) -> Result<()> {
        let count = self.count;
        self.inside(move |socket, indexes| {
            let first = *indexes.first().context("no ports")?;
            for round in 0..3 {
                // Late frames of other tests bear other numbers.
                socket.send(first, count)?;
                let mut reached = BTreeSet::new();
                while reached.len() < count - 1
                    && let Some((index, from)) = socket.receive(Duration::from_secs(3))
                {
                    if from != count {
                        continue;
                    }
                    ensure!(index != first, "the frame came back");
                    ensure!(reached.insert(index), "device {index} got it twice");
                }
                ensure!(
                    reached.len() == count - 1,
                    "round {round}: {} of {} ports reached",
                    reached.len(),
                    count - 1
                );
            }
            Ok(())
        })
    }

    /// Runs `f` with a socket on all devices and their indexes, by number.
    fn inside(&self, f: impl FnOnce(&Socket, &[i32]) -> Result<()> + Send + 'static) -> Result<()> {
        let count = self.count;
        let run = move || -> Result<()> {
            let indexes: Vec<i32> = (0..count)
                .map(|n| Ok(nix::net::if_::if_nametoindex(format!("h{n}").as_str())? as i32))
                .collect::<Result<_>>()?;
            f(&Socket::open()?, &indexes)
        };
        self.ns
            .enter(run)
            .join()
            .expect("the thread does not panic")
    }
}

/// A packet socket on every device of a namespace, for frames of [`ETH_TYPE`].
struct Socket {
    socket: OwnedFd,
}

/// A broadcast with the number of its sender behind the header.
const FRAME_LEN: usize = 60;

impl Socket {
    fn open() -> Result<Socket> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: plain system calls with a buffer of the size that is passed with it.
        unsafe {
            let fd = libc::socket(libc::AF_PACKET, kind, i32::from(ETH_TYPE.to_be()));
            ensure!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
            let socket = OwnedFd::from_raw_fd(fd);
            // A flood must fit.
            let bytes = 64i32 << 20;
            let (level, force) = (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE);
            libc::setsockopt(fd, level, force, (&raw const bytes).cast(), 4);
            Ok(Socket { socket })
        }
    }

    fn send(&self, ifindex: i32, from: usize) -> Result<()> {
        let number = (from as u32).to_be_bytes();
        let mut frame = [0u8; FRAME_LEN];
        let head = [
            &[0xff; 6][..],
            &[2, 0],
            &number,
            &ETH_TYPE.to_be_bytes(),
            &number,
        ]
        .concat();
        frame[..head.len()].copy_from_slice(&head);
        // SAFETY: the buffers have the sizes that are passed with them.
        let n = unsafe {
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_ifindex = ifindex;
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        ensure!(n >= 0, "sending a frame: {}", io::Error::last_os_error());
        Ok(())
    }

    /// The device that a frame came to, and who sent it; `None` when none comes in time.
    fn receive(&self, limit: Duration) -> Option<(i32, usize)> {
        let until = Instant::now() + limit;
        let mut poll = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let left = until.saturating_duration_since(Instant::now());
        // SAFETY: one entry of our own, then buffers of the sizes that are passed with them.
        unsafe {
            if libc::poll(&mut poll, 1, left.as_millis() as i32) <= 0 {
                return None;
            }
            let mut frame = [0u8; 2048];
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            let mut len = size_of::<libc::sockaddr_ll>() as u32;
            let n = libc::recvfrom(
                self.socket.as_raw_fd(),
                frame.as_mut_ptr().cast(),
                frame.len(),
                0,
                (&raw mut address).cast(),
                &mut len,
            );
            let number = frame.get(14..18).filter(|_| n >= 18)?;
            let number = u32::from_be_bytes(number.try_into().ok()?);
            Some((address.sll_ifindex, number as usize))
        }
    }
}
