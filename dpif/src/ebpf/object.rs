//! The eBPF object: embedded at build time, loaded with the capacities of this datapath.

use std::hash::{Hash, Hasher};
use std::os::fd::OwnedFd;
use std::path::Path;

use aya::programs::{ProgramFd, SchedClassifier};
use aya::{Btf, EbpfLoader};
use packet::abi::*;
use packet::key::KEY_WORDS;

use super::EbpfConfig;
use super::pin::{StableHasher, system};
use super::sys::{self, SharedArray};
use crate::Error;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/datapath.o"));

/// The programs, ready to be attached.
pub struct Programs {
    pub ingress: OwnedFd,
    pub inject: OwnedFd,
}

/// Hash of everything that must be equal for one program version to read another's maps.
pub fn layout(config: &EbpfConfig, cpus: u32) -> u64 {
    let mut hasher = StableHasher::default();
    (ABI_VERSION, cpus, KEY_WORDS, capacities(config, cpus)).hash(&mut hasher);
    [
        size_of::<PortEntry>(),
        size_of::<MaskEntry>(),
        size_of::<LiveMasks>(),
        size_of::<FlowSlot>(),
        size_of::<ActionBlock>(),
        size_of::<FlowInfo>(),
        size_of::<FlowCounters>(),
        size_of::<ExactNarrow>(),
        size_of::<ExactWide>(),
        size_of::<CpuCounters>(),
        size_of::<PortCounters>(),
        size_of::<MeterEntry>(),
        size_of::<MeterCounters>(),
        size_of::<InjectSlot>(),
        size_of::<Config>(),
        size_of::<UpcallHeader>(),
    ]
    .hash(&mut hasher);
    hasher.finish()
}

/// Entries of the maps whose size is configuration.
fn capacities(config: &EbpfConfig, cpus: u32) -> [(&'static str, u32); 19] {
    let EbpfConfig {
        flows,
        blocks,
        exact_narrow,
        exact_wide,
        ports,
        ring_bytes,
        ..
    } = *config;
    [
        (maps::PORTS, ports),
        (maps::IFINDEX_MORE, ports),
        (maps::LIVE, ports),
        (maps::QUOTA, ports),
        (maps::PORT_COUNTERS, ports * cpus),
        (maps::MEGA_TABLE, table_entries(flows)),
        (maps::MEGA_NARROW, flows),
        (maps::MEGA_WIDE, flows),
        (maps::FLOWS, flows),
        (maps::FLOW_INFO, flows),
        (maps::STATS, flows * cpus),
        (maps::BLOCKS, blocks),
        (maps::EXACT_NARROW, exact_narrow * cpus),
        (maps::EXACT_WIDE, exact_wide * cpus),
        (maps::CPU_COUNTERS, cpus),
        (maps::MASK_HITS, MASK_SLOTS * cpus),
        (maps::DROPS, DROP_SLOTS * cpus),
        (maps::METER_COUNTERS, METER_SLOTS * cpus),
        (maps::UPCALLS, ring_bytes),
    ]
}

/// At most half of the table's entries are in use.
fn table_entries(flows: u32) -> u32 {
    flows
        .saturating_mul(2)
        .checked_next_power_of_two()
        .unwrap_or(1 << 31)
}

/// Makes what is missing of the maps in `dir`, and the programs over them. Programs that an equal
/// object left there are taken as they are.
pub fn load(config: &EbpfConfig, cpus: u32, dir: &Path) -> Result<Programs, Error> {
    if OBJECT.is_empty() {
        return Err(Error::Datapath(
            "this program was built without the eBPF datapath (AYA_BUILD_SKIP=1)".to_string(),
        ));
    }
    let mut hasher = StableHasher::default();
    OBJECT.hash(&mut hasher);
    let digest = hasher.finish();
    let pins = ["ingress", "inject"].map(|name| dir.join(format!("{name}-{digest:016x}")));
    let pinned = |path: &Path| sys::get_pinned(path).map_err(|e| system("opening a program", e));
    if let (Some(ingress), Some(inject)) = (pinned(&pins[0])?, pinned(&pins[1])?) {
        return Ok(Programs { ingress, inject });
    }
    let seed = known_seed(dir).unwrap_or_else(random_seed);
    let table = table_entries(config.flows) - 1;
    let (flows, ports) = (config.flows, config.ports);
    let (narrow, wide) = (config.exact_narrow - 1, config.exact_wide - 1);
    let btf = Btf::from_sys_fs().ok();
    let mut loader = EbpfLoader::new();
    loader
        .btf(btf.as_ref())
        .default_map_pin_directory(dir)
        .override_global(globals::FLOWS, &flows, true)
        .override_global(globals::PORTS, &ports, true)
        .override_global(globals::EXACT_NARROW_MASK, &narrow, true)
        .override_global(globals::EXACT_WIDE_MASK, &wide, true)
        .override_global(globals::TABLE_MASK, &table, true)
        .override_global(globals::HASH_SEED, &seed, true);
    for (name, entries) in capacities(config, cpus) {
        loader.map_max_entries(name, entries);
    }
    let mut object = loader.load(OBJECT).map_err(|e| loading(&e))?;
    // What an other version of the programs left; the links still use it until they are updated.
    if let Ok(entries) = std::fs::read_dir(dir) {
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("ingress-") || name.starts_with("inject-") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    let mut program = |name: &str, pin: &Path| -> Result<OwnedFd, Error> {
        let program = object.program_mut(name);
        let program = program.ok_or_else(|| Error::Datapath(format!("no program {name}")))?;
        let program: &mut SchedClassifier = program.try_into().map_err(|e| loading(&e))?;
        program.load().map_err(|e| loading(&e))?;
        let fd: &ProgramFd = program.fd().map_err(|e| loading(&e))?;
        let fd = std::os::fd::AsFd::as_fd(fd);
        sys::pin(fd, pin).map_err(|e| system("pinning a program", e))?;
        fd.try_clone_to_owned()
            .map_err(|e| system("duplicating a descriptor", e))
    };
    let programs = Programs {
        ingress: program("ingress", &pins[0])?,
        inject: program("inject", &pins[1])?,
    };
    store_seed(dir, seed)?;
    Ok(programs)
}

fn loading(e: &(dyn std::error::Error + 'static)) -> Error {
    let mut text = format!("loading the eBPF datapath: {e}");
    let mut source = e.source();
    while let Some(e) = source {
        text.push_str(&format!(": {e}"));
        source = e.source();
    }
    Error::Datapath(text)
}

/// The seed that the tables in `dir` are filled with.
fn known_seed(dir: &Path) -> Option<u64> {
    let map = sys::get_pinned(&dir.join(maps::CONFIG)).ok()??;
    let config: Config = SharedArray::new(map).ok()?.get(0)?;
    (config.hash_seed != 0).then_some(config.hash_seed)
}

fn store_seed(dir: &Path, hash_seed: u64) -> Result<(), Error> {
    let settings: SharedArray<Config> = super::array(dir, maps::CONFIG)?;
    let config = settings.get(0).unwrap_or_default();
    settings.set(
        0,
        Config {
            hash_seed,
            ..config
        },
    );
    Ok(())
}

fn random_seed() -> u64 {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer has the size that is passed with it. Where nothing comes, the seed is
    // zero and the cache works as well.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    u64::from_ne_bytes(bytes) | 1
}
