//! The kernel datapath: the programs of `datapath-bpf`, their maps, and the devices around them.
//!
//! Everything that forwarding needs is pinned (see [`pin`]), so a daemon that ends changes nothing
//! for packets that the cache answers, and the next one takes over what it finds. The records are
//! those of `packet::abi`.

mod flows;
mod inject;
mod list;
mod masks;
mod migrate;
mod netlink;
mod object;
mod pin;
mod pool;
mod ports;
mod sys;
mod table;
mod upcall;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::maps::{Map, MapData, RingBuf};
use packet::abi::{
    self, CpuCounters, DROP_SLOTS, METER_SLOTS, MeterCounters, MeterEntry, PortCounters, maps,
    port_flags,
};
use packet::{DpMeter, DpPort, DropReason};

use self::flows::Flows;
use self::inject::Injector;
use self::masks::Masks;
use self::pin::system;
use self::pool::Pool;
use self::ports::Ports;
use self::sys::{Hook, SharedArray};
use self::table::Table;
use crate::{
    DpOp, DpStats, Dpif, Error, FlowEntry, Limits, MeterConfig, PortConfig, PortInfo, PortSpec,
    PortStats, Upcall,
};

/// Capacities and places. A change of a capacity makes a datapath with new maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EbpfConfig {
    /// Megaflows, less one.
    pub flows: u32,
    /// Blocks of four action records; a flow whose actions are more than one output takes at least
    /// one.
    pub blocks: u32,
    /// Exact-match entries on each CPU for keys that are neither IPv6 nor ARP; a power of two.
    pub exact_narrow: u32,
    /// As `exact_narrow`, for IPv6 and ARP.
    pub exact_wide: u32,
    /// Ports, less one.
    pub ports: u32,
    /// Size of the upcall ring; a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Upcalls per second of one port, and how many may come at once.
    pub upcall_rate: u64,
    pub upcall_burst: u64,
    /// Attach by tcx links where the kernel has them; otherwise by clsact filters.
    pub tcx: bool,
    /// Tells datapaths of one network namespace apart.
    pub rundir: PathBuf,
}

impl EbpfConfig {
    /// The usual capacities, for a machine with a few gigabytes.
    pub fn new(rundir: &Path) -> EbpfConfig {
        EbpfConfig {
            flows: 65_536,
            blocks: 98_304,
            exact_narrow: 32_768,
            exact_wide: 8_192,
            ports: 4_096,
            ring_bytes: 8 << 20,
            upcall_rate: 50_000,
            upcall_burst: 8_192,
            tcx: true,
            rundir: rundir.to_path_buf(),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let bad = |what: &str| Err(Error::Datapath(format!("bad datapath capacity: {what}")));
        if !self.exact_narrow.is_power_of_two() || !self.exact_wide.is_power_of_two() {
            return bad("exact entries are not a power of two");
        }
        if self.flows < 2 || self.blocks < 2 || self.ports < 2 || self.ports > 0xffff {
            return bad("flows, blocks or ports");
        }
        if !self.ring_bytes.is_power_of_two() || self.ring_bytes < 1 << 18 {
            return bad("the upcall ring");
        }
        Ok(())
    }
}

/// Packets of one missed key that are sent to userspace within [`PENDING_TIME`].
const PENDING_PACKETS: u64 = 64;
const PENDING_TIME: Duration = Duration::from_millis(20);

/// The kernel datapath of this network namespace and run directory.
pub struct EbpfDpif {
    dir: PathBuf,
    owner_dir: PathBuf,
    cpus: u32,
    state: Mutex<State>,
    ring: Mutex<RingBuf<MapData>>,
    cpu_counters: SharedArray<CpuCounters>,
    port_counters: SharedArray<PortCounters>,
    drops: SharedArray<u64>,
    meters: SharedArray<MeterEntry>,
    meter_counters: SharedArray<MeterCounters>,
    ports_capacity: u32,
    exact_entries: usize,
    _lock: File,
    /// Keeps the injection device's program attached; `None` where a filter does.
    _inject_link: Option<OwnedFd>,
}

struct State {
    ports: Ports,
    flows: Flows,
    injector: Injector,
}

impl EbpfDpif {
    /// Opens the datapath: takes over what an earlier process left, or makes a new one.
    pub fn open(config: &EbpfConfig) -> Result<EbpfDpif, Error> {
        config.check()?;
        let cpus = aya::util::nr_cpus()
            .map_err(|(what, e)| system(&format!("counting CPUs ({what})"), e))?;
        let cpus = u32::try_from(cpus).unwrap_or(1);
        let (owner_dir, owner) = pin::owner_dir(&config.rundir)?;
        let dir = owner_dir.join(format!("{:016x}", object::layout(config, cpus)));
        pin::make_dir(&dir)?;
        let lock = pin::lock(&owner_dir)?;
        pin::remove_leftovers(&owner_dir);
        let programs = object::load(config, cpus, &dir)?;

        let settings: SharedArray<abi::Config> = array(&dir, maps::CONFIG)?;
        let (tap, inject_ifindex) = inject::create_device(&format!("slc-{:08x}", owner as u32))?;
        let known = settings.get(0).unwrap_or_default();
        settings.set(
            0,
            abi::Config {
                abi_version: abi::ABI_VERSION,
                inject_ifindex,
                quota_rate: config.upcall_rate,
                quota_burst: config.upcall_burst,
                pending_packets: PENDING_PACKETS,
                pending_ns: PENDING_TIME.as_nanos() as u64,
                ..known
            },
        );
        let inject_link = attach_inject(config, &programs, inject_ifindex)
            .map_err(|e| system("attaching to the injection device", e))?;

        let mut flows = open_flows(&dir, known.hash_seed)?;
        flows.adopt()?;
        let mut ports = Ports {
            entries: array(&dir, maps::PORTS)?,
            ifindex: array(&dir, maps::IFINDEX)?,
            ifindex_more: map(&dir, maps::IFINDEX_MORE)?,
            dir: dir.clone(),
            program: programs.ingress,
            tcx: config.tcx,
            ports: BTreeMap::new(),
        };
        ports.adopt()?;
        migrate::take_over(&owner_dir, &dir, &mut ports, &mut flows);
        let injector = Injector::new(tap, array(&dir, maps::INJECT)?);
        let ring = MapData::from_pin(dir.join(maps::UPCALLS))
            .and_then(Map::from_map_data)
            .and_then(RingBuf::try_from)
            .map_err(|e| Error::Datapath(format!("opening the upcall ring: {e}")))?;
        Ok(EbpfDpif {
            cpus,
            state: Mutex::new(State {
                ports,
                flows,
                injector,
            }),
            ring: Mutex::new(ring),
            cpu_counters: array(&dir, maps::CPU_COUNTERS)?,
            port_counters: array(&dir, maps::PORT_COUNTERS)?,
            drops: array(&dir, maps::DROPS)?,
            meters: array(&dir, maps::METERS)?,
            meter_counters: array(&dir, maps::METER_COUNTERS)?,
            ports_capacity: config.ports,
            exact_entries: (config.exact_narrow as usize + config.exact_wide as usize)
                * cpus as usize,
            _lock: lock,
            _inject_link: inject_link,
            dir,
            owner_dir,
        })
    }

    /// Puts back what others removed from ports, and finds devices that came back under their old
    /// name. Returns the names of the ports that needed it.
    pub fn check_attachments(&self) -> Result<Vec<String>, Error> {
        self.state().ports.check()
    }

    /// Flows that were installed for single connections because their port had too many masks.
    pub fn mask_overflows(&self) -> u64 {
        self.state().flows.masks.overflows
    }

    fn meter(&self, meter: DpMeter) -> Result<MeterEntry, Error> {
        let entry = self.meters.get(meter.0).filter(MeterEntry::exists);
        entry.ok_or(Error::NoSuchMeter(meter.0))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, state: &mut State, op: &DpOp) -> Result<(), Error> {
        match op {
            DpOp::FlowPut {
                key,
                mask,
                actions,
                replace,
            } => state.flows.put(key, mask, actions, *replace),
            DpOp::FlowDel { key, mask } => state.flows.delete(key, mask),
            DpOp::Execute {
                packet,
                in_port,
                actions,
            } => {
                let Flows {
                    blocks, block_pool, ..
                } = &mut state.flows;
                state
                    .injector
                    .execute(packet, *in_port, actions, blocks, block_pool)
            }
        }
    }
}

impl Dpif for EbpfDpif {
    fn port_add(&self, spec: &PortSpec, want: Option<DpPort>) -> Result<PortInfo, Error> {
        let mut state = self.state();
        let number = state.ports.add(&spec.name, spec.kind, want.map(|p| p.0))?;
        state.ports.info(number).ok_or(Error::NoSuchPort(number))
    }

    fn port_del(&self, port: DpPort) -> Result<(), Error> {
        self.state().ports.delete(port.0)?;
        for cpu in 0..self.cpus {
            self.port_counters
                .set(cpu * self.ports_capacity + port.0, PortCounters::default());
        }
        Ok(())
    }

    fn port_list(&self) -> Result<Vec<PortInfo>, Error> {
        let state = self.state();
        Ok(state
            .ports
            .ports
            .keys()
            .filter_map(|n| state.ports.info(*n))
            .collect())
    }

    fn port_set_config(&self, port: DpPort, config: PortConfig) -> Result<(), Error> {
        let mut flags = 0;
        if config.receive {
            flags |= port_flags::RECEIVE;
        }
        if config.transmit {
            flags |= port_flags::TRANSMIT;
        }
        let change = port_flags::RECEIVE | port_flags::TRANSMIT;
        self.state().ports.set_flags(port.0, flags, change)
    }

    fn port_stats(&self, port: DpPort) -> Result<PortStats, Error> {
        if self.state().ports.info(port.0).is_none() {
            return Err(Error::NoSuchPort(port.0));
        }
        let mut sum = PortStats::default();
        for cpu in 0..self.cpus {
            let c = self
                .port_counters
                .get(cpu * self.ports_capacity + port.0)
                .unwrap_or_default();
            sum.rx_packets = sum.rx_packets.wrapping_add(c.rx_packets);
            sum.rx_bytes = sum.rx_bytes.wrapping_add(c.rx_bytes);
            sum.tx_packets = sum.tx_packets.wrapping_add(c.tx_packets);
            sum.tx_bytes = sum.tx_bytes.wrapping_add(c.tx_bytes);
            sum.rx_dropped = sum.rx_dropped.wrapping_add(c.rx_dropped);
            sum.tx_dropped = sum.tx_dropped.wrapping_add(c.tx_dropped);
        }
        Ok(sum)
    }

    fn operate(&self, ops: &[DpOp]) -> Vec<Result<(), Error>> {
        let mut state = self.state();
        ops.iter().map(|op| self.run(&mut state, op)).collect()
    }

    fn flow_dump(&self) -> Result<Vec<FlowEntry>, Error> {
        self.state().flows.dump()
    }

    fn flow_flush(&self) -> Result<(), Error> {
        self.state().flows.flush()
    }

    fn meter_set(&self, meter: DpMeter, config: &MeterConfig) -> Result<(), Error> {
        if meter.0 == 0 || meter.0 >= METER_SLOTS {
            return Err(Error::NoSuchMeter(meter.0));
        }
        let entry = config.entry()?;
        for cpu in 0..self.cpus {
            self.meter_counters
                .set(cpu * METER_SLOTS + meter.0, MeterCounters::default());
        }
        self.meters.set(meter.0, entry);
        Ok(())
    }

    fn meter_del(&self, meter: DpMeter) -> Result<(), Error> {
        self.meter(meter)?;
        self.meters.set(meter.0, MeterEntry::default());
        Ok(())
    }

    fn meter_stats(&self, meter: DpMeter) -> Result<MeterCounters, Error> {
        self.meter(meter)?;
        let mut sum = MeterCounters::default();
        for cpu in 0..self.cpus {
            let counted = self.meter_counters.get(cpu * METER_SLOTS + meter.0);
            sum.add(&counted.unwrap_or_default());
        }
        Ok(sum)
    }

    fn recv(
        &self,
        _ring: usize,
        timeout: Duration,
        max: usize,
        out: &mut Vec<Upcall>,
    ) -> Result<usize, Error> {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let before = out.len();
        let take = |ring: &mut RingBuf<MapData>, out: &mut Vec<Upcall>| {
            while out.len() - before < max
                && let Some(record) = ring.next()
            {
                out.extend(upcall::decode(&record));
            }
        };
        take(&mut ring, out);
        if out.len() == before && max > 0 && !timeout.is_zero() {
            wait_readable(ring.as_raw_fd(), timeout)?;
            take(&mut ring, out);
        }
        Ok(out.len() - before)
    }

    fn upcall_rings(&self) -> usize {
        1
    }

    fn stats(&self) -> Result<DpStats, Error> {
        let mut sum = DpStats::default();
        for cpu in 0..self.cpus {
            let c = self.cpu_counters.get(cpu).unwrap_or_default();
            sum.exact_hit = sum.exact_hit.wrapping_add(c.exact_hit);
            sum.megaflow_hit = sum.megaflow_hit.wrapping_add(c.megaflow_hit);
            sum.missed = sum.missed.wrapping_add(c.missed);
            sum.lost = sum.lost.wrapping_add(c.lost);
            sum.mask_hit = sum.mask_hit.wrapping_add(c.mask_visited);
        }
        let state = self.state();
        sum.flows = state.flows.installed as u64;
        sum.masks = state.flows.masks.len() as u64;
        Ok(sum)
    }

    fn drops(&self) -> Result<Vec<(DropReason, u64)>, Error> {
        let counted = |reason: DropReason| {
            let of_cpu = |cpu| {
                self.drops
                    .get(cpu * DROP_SLOTS + reason as u32)
                    .unwrap_or(0)
            };
            (0..self.cpus).map(of_cpu).fold(0, u64::wrapping_add)
        };
        let all = DropReason::ALL
            .iter()
            .map(|reason| (*reason, counted(*reason)));
        Ok(all.filter(|(_, n)| *n != 0).collect())
    }

    fn limits(&self) -> Limits {
        let state = self.state();
        Limits {
            flows: state.flows.slots.entries() as usize - 1,
            exact: self.exact_entries,
            ports: self.ports_capacity as usize - 1,
            actions: list::MAX_ACTIONS,
            meters: METER_SLOTS as usize - 1,
        }
    }

    fn destroy(&self) -> Result<(), Error> {
        let mut state = self.state();
        let numbers: Vec<u32> = state.ports.ports.keys().copied().collect();
        for number in numbers {
            state.ports.delete(number)?;
        }
        state.flows.flush()?;
        pin::remove_dir(&self.dir).map_err(|e| system("removing the pinned maps", e))?;
        // Other layouts may be there still.
        let _ = std::fs::remove_dir(&self.owner_dir);
        Ok(())
    }
}

/// Waits until the descriptor is readable, at most `timeout`.
fn wait_readable(fd: i32, timeout: Duration) -> Result<(), Error> {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let ms = i32::try_from(timeout.as_millis())
        .unwrap_or(i32::MAX)
        .max(1);
    // SAFETY: one entry of our own.
    if unsafe { libc::poll(&mut poll, 1, ms) } < 0 {
        let e = std::io::Error::last_os_error();
        if e.kind() != std::io::ErrorKind::Interrupted {
            return Err(system("waiting for upcalls", e));
        }
    }
    Ok(())
}

fn attach_inject(
    config: &EbpfConfig,
    programs: &object::Programs,
    ifindex: u32,
) -> std::io::Result<Option<OwnedFd>> {
    if config.tcx {
        match sys::link_create(programs.inject.as_fd(), ifindex, Hook::Ingress) {
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
            result => return result.map(Some),
        }
    }
    netlink::set_filter(ifindex, false, programs.inject.as_fd()).map(|()| None)
}

/// The flow table in the maps of `dir`, as yet without knowledge of what is in it.
fn open_flows(dir: &Path, hash_seed: u64) -> Result<Flows, Error> {
    let slots: SharedArray<abi::FlowSlot> = array(dir, maps::FLOWS)?;
    let blocks: SharedArray<abi::ActionBlock> = array(dir, maps::BLOCKS)?;
    Ok(Flows {
        narrow: Table::new(
            array(dir, maps::MEGA_TABLE)?,
            map(dir, maps::MEGA_NARROW)?,
            hash_seed,
        ),
        wide: map(dir, maps::MEGA_WIDE)?,
        info: array(dir, maps::FLOW_INFO)?,
        stats: array(dir, maps::STATS)?,
        masks: Masks::new(
            array(dir, maps::MASKS)?,
            array(dir, maps::LIVE)?,
            array(dir, maps::MASK_HITS)?,
        ),
        slot_pool: Pool::new(slots.entries()),
        block_pool: Pool::new(blocks.entries()),
        slots,
        blocks,
        installed: 0,
        wide_flows: 0,
    })
}

fn map(dir: &Path, name: &str) -> Result<OwnedFd, Error> {
    let found = sys::get_pinned(&dir.join(name)).map_err(|e| system(&format!("opening {name}"), e));
    found?.ok_or_else(|| Error::Datapath(format!("no pinned map {name}")))
}

fn array<T: Copy>(dir: &Path, name: &str) -> Result<SharedArray<T>, Error> {
    SharedArray::new(map(dir, name)?).map_err(|e| system(&format!("mapping {name}"), e))
}
