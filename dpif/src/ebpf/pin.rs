//! Where maps, programs and links stay while no daemon runs: a directory of the BPF file system.
//!
//! ```text
//! <bpffs>/sluice/<owner>/<layout>/    maps by name, `ingress-<digest>`, `inject-<digest>`,
//!                                     `port-<number>` (links)
//! ```
//!
//! *Owner* is a hash of the network namespace (its cookie, which the kernel never gives twice) and
//! the run directory, so that datapaths of several namespaces do not meet. *Layout* is a hash of
//! everything that makes the content of maps readable. A BPF file system is looked for at
//! `SLUICE_BPFFS`, then `/sys/fs/bpf`, then where other processes see `/sys/fs/bpf`, lowest process
//! id first (`ip netns exec` hides it from its children, and what they mount goes with them); else
//! one is mounted at `/sys/fs/bpf`.
//!
//! A datapath's process holds a lock on the owner's directory: two cannot work on one datapath, and
//! a directory that nobody holds and that has no port whose device is there is left over.

use std::hash::{Hash, Hasher};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use packet::abi::{PortEntry, maps};

use super::sys::{self, SharedArray};
use crate::Error;

/// `BPF_FS_MAGIC`.
const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
/// `SO_NETNS_COOKIE`, Linux 5.14.
const SO_NETNS_COOKIE: i32 = 71;

/// The root of a BPF file system.
pub fn bpffs() -> Result<PathBuf, Error> {
    if let Some(root) = std::env::var_os("SLUICE_BPFFS") {
        return Ok(PathBuf::from(root));
    }
    let usual = Path::new("/sys/fs/bpf");
    if is_bpffs(usual) {
        return Ok(usual.to_path_buf());
    }
    if let Some(path) = seen_by_others() {
        return Ok(path);
    }
    use nix::mount::{MsFlags, mount};
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), usual, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|e| system("mounting the BPF file system at /sys/fs/bpf", e.into()))?;
    Ok(usual.to_path_buf())
}

/// Processes that are asked where they see the BPF file system.
const MAX_PROCESSES: usize = 1000;

/// `/sys/fs/bpf` in the mount namespace of the process with the lowest id that has one there: the
/// first process, or a kernel thread where the first process may not be looked into.
fn seen_by_others() -> Option<PathBuf> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<u32> = entries
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let paths = pids.into_iter().take(MAX_PROCESSES);
    paths
        .map(|pid| PathBuf::from(format!("/proc/{pid}/root/sys/fs/bpf")))
        .find(|p| is_bpffs(p))
}

fn is_bpffs(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|s| s.filesystem_type().0 as u32 == BPF_FS_MAGIC)
}

/// The directory of everything that belongs to this namespace and run directory, and the hash that
/// names it.
pub fn owner_dir(rundir: &Path) -> Result<(PathBuf, u64), Error> {
    let mut hasher = StableHasher::default();
    netns_id()
        .map_err(|e| system("identifying the network namespace", e))?
        .hash(&mut hasher);
    rundir.hash(&mut hasher);
    let owner = hasher.finish();
    Ok((bpffs()?.join("sluice").join(format!("{owner:016x}")), owner))
}

pub fn make_dir(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(|e| system(&format!("making {}", dir.display()), e))
}

/// Locks a datapath's directory for this process; the lock goes with the file.
pub fn lock(dir: &Path) -> Result<fs::File, Error> {
    for _ in 0..LOCK_TRIES {
        if let Some(file) = try_lock(dir)? {
            return Ok(file);
        }
        // Perhaps a process that only looks for leftovers, or one that is just ending.
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(Error::Datapath(
        "another process has this datapath open".to_string(),
    ))
}

const LOCK_TRIES: usize = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// `None` when another process has the lock.
fn try_lock(dir: &Path) -> Result<Option<fs::File>, Error> {
    let file = fs::File::open(dir).map_err(|e| system(&format!("opening {}", dir.display()), e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(e)) => Err(system("locking the datapath", e)),
    }
}

/// Removes what datapaths of namespaces that are gone have left: directories beside `owner_dir` that
/// no process holds and that have no port, or links to devices that are gone alone.
pub fn remove_leftovers(owner_dir: &Path) {
    let Some(entries) = owner_dir.parent().and_then(|dir| fs::read_dir(dir).ok()) else {
        return;
    };
    for entry in entries.flatten() {
        let dir = entry.path();
        if dir == owner_dir || !dir.is_dir() {
            continue;
        }
        let Ok(Some(_lock)) = try_lock(&dir) else {
            continue;
        };
        let layouts: Vec<PathBuf> = subdirectories(&dir);
        if !layouts.iter().all(|layout| is_left_over(layout)) {
            continue;
        }
        for layout in &layouts {
            if let Err(e) = remove_dir(layout) {
                tracing::warn!(
                    "a datapath that is left over stays ({}): {e}",
                    layout.display()
                );
            }
        }
        let _ = fs::remove_dir(&dir);
    }
}

pub fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|p| p.is_dir()).collect()
}

fn is_left_over(layout: &Path) -> bool {
    let entries = fs::read_dir(layout).into_iter().flatten().flatten();
    let mut links = entries
        .filter(|e| e.file_name().to_string_lossy().starts_with(LINK_PREFIX))
        .peekable();
    let dead = |path: PathBuf| {
        let link = sys::get_pinned(&path).ok().flatten();
        link.is_some_and(|link| sys::link_ifindex(link.as_fd()).ok() == Some(0))
    };
    if links.peek().is_some() {
        return links.all(|e| dead(e.path()));
    }
    // No links, but perhaps ports that filters are attached to.
    let ports: Result<SharedArray<PortEntry>, Error> = super::array(layout, maps::PORTS);
    let Ok(ports) = ports else { return false };
    (0..ports.entries()).all(|n| ports.get(n).is_none_or(|port| port.flags == 0))
}

/// Names of pinned links, before the port number.
pub const LINK_PREFIX: &str = "port-";

/// Removes a directory of pins; what else holds the objects keeps them.
pub fn remove_dir(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)?.flatten() {
        fs::remove_file(entry.path())?;
    }
    fs::remove_dir(dir)
}

fn netns_id() -> io::Result<u64> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")
        .or_else(|_| std::net::UdpSocket::bind("0.0.0.0:0"))?;
    let mut cookie = 0u64;
    let mut len = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the buffer has the size that is passed with it.
    let ret = unsafe {
        let value = (&raw mut cookie).cast();
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            value,
            &mut len,
        )
    };
    if ret == 0 {
        return Ok(cookie);
    }
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata("/proc/self/ns/net")?.ino())
}

pub fn system(what: &str, source: io::Error) -> Error {
    Error::System {
        what: what.to_string(),
        source,
    }
}

/// FNV-1a. Names of directories must be the same for programs that different compilers built, which
/// the standard library's hasher does not promise.
pub struct StableHasher(u64);

impl Default for StableHasher {
    fn default() -> StableHasher {
        StableHasher(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
