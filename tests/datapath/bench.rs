//! A datapath in a namespace of its own, with ports whose other ends the test holds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dpif::ebpf::{EbpfConfig, EbpfDpif};
use dpif::{DpOp, Dpif, Packet, PortKind, PortSpec, Upcall};
use packet::{Action, DpPort, FlowKey, FlowMask};
use tests::NetNs;
use tests::process::run;

use crate::wire::Wire;

/// How long something may take that must happen.
pub const SOON: Duration = Duration::from_secs(5);
/// How long to look for something that must not happen.
pub const QUIET: Duration = Duration::from_millis(50);

/// Runs `test` in a namespace that is its own, named after `name`; skips it without root.
pub fn in_netns(name: &str, test: impl FnOnce() -> Result<()> + Send + 'static) {
    if !tests::require_root(name) {
        return;
    }
    let ns = NetNs::new(&format!("sluice-dp-{name}")).expect("namespace");
    let result = ns.enter(test).join();
    match result {
        Ok(Ok(())) => {}
        Ok(Err(e)) => panic!("{name}: {e:?}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub struct Bench {
    pub dp: Option<EbpfDpif>,
    pub config: EbpfConfig,
    pub ports: Vec<Port>,
    _dir: tempfile::TempDir,
}

/// A veth pair: one end is a port, the other the test's.
pub struct Port {
    pub number: DpPort,
    pub wire: Wire,
}

impl Bench {
    /// A small datapath with `ports` ports.
    pub fn new(ports: usize) -> Result<Bench> {
        let dir = tempfile::tempdir()?;
        let config = EbpfConfig {
            flows: 4096,
            blocks: 8192,
            exact_narrow: 1024,
            exact_wide: 1024,
            ports: 2048,
            ring_bytes: 4 << 20,
            ..EbpfConfig::new(dir.path())
        };
        let dp = EbpfDpif::open(&config)?;
        let mut bench = Bench {
            dp: Some(dp),
            config,
            ports: Vec::new(),
            _dir: dir,
        };
        for n in 1..=ports {
            let port = bench.port(&format!("p{n}"))?;
            bench.ports.push(port);
        }
        Ok(bench)
    }

    pub fn dp(&self) -> &EbpfDpif {
        self.dp.as_ref().expect("the datapath is open")
    }

    fn port(&self, device: &str) -> Result<Port> {
        let other = format!("w{device}");
        run(
            "ip",
            &[
                "link", "add", device, "type", "veth", "peer", "name", &other,
            ],
        )?;
        for name in [device, &other] {
            let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
            run("ip", &["link", "set", name, "up"])?;
        }
        let spec = PortSpec {
            name: device.to_owned(),
            kind: PortKind::System,
        };
        let number = self.dp().port_add(&spec, None)?.port;
        Ok(Port {
            number,
            wire: Wire::open(&other)?,
        })
    }

    /// Installs a flow for everything that comes in on `from`.
    pub fn flow(&self, from: DpPort, actions: Vec<Action>) -> Result<()> {
        self.run(put(from, actions, true))
    }

    pub fn run(&self, op: DpOp) -> Result<()> {
        for result in self.dp().operate(&[op]) {
            result?;
        }
        Ok(())
    }

    /// The next upcall.
    pub fn upcall(&self) -> Result<Upcall> {
        let mut got = Vec::new();
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            self.dp().recv(0, Duration::from_millis(100), 1, &mut got)?;
            if let Some(upcall) = got.pop() {
                return Ok(upcall);
            }
        }
        bail!("no upcall came")
    }

    /// Sends through port `from` (counted from 0) and receives what comes out of port `to`.
    pub fn pass(&self, from: usize, to: usize, packet: &Packet) -> Result<Packet> {
        self.ports[to].wire.drain()?;
        self.ports[from].wire.send(packet)?;
        self.ports[to].wire.recv(SOON)?.with_context(|| {
            format!(
                "nothing came out of port {to}; drops: {:?}",
                self.dp().drops()
            )
        })
    }

    /// Ends the process's hold on the datapath and opens it again.
    pub fn reopen(&mut self) -> Result<()> {
        self.dp = None;
        self.dp = Some(EbpfDpif::open(&self.config)?);
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(dp) = &self.dp {
            dp.destroy().expect("the datapath can be removed");
        }
    }
}

pub fn put(from: DpPort, actions: Vec<Action>, replace: bool) -> DpOp {
    let mut key = FlowKey::zero();
    key.in_port = from.0;
    DpOp::FlowPut {
        key,
        mask: port_mask(),
        actions,
        replace,
    }
}

/// Nothing but the ingress port matters.
pub fn port_mask() -> FlowMask {
    let mut mask = FlowMask::empty();
    mask.0.in_port = u32::MAX;
    mask.0.recirc_id = u32::MAX;
    mask
}
