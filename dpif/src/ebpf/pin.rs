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
//! `SLUICE_BPFFS`, then `/sys/fs/bpf`, then where the first process of the pid namespace sees
//! `/sys/fs/bpf` (`ip netns exec` hides it from its children); else one is mounted at
//! `/sys/fs/bpf`.

use std::hash::{Hash, Hasher};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

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
    for path in [usual, Path::new("/proc/1/root/sys/fs/bpf")] {
        if is_bpffs(path) {
            return Ok(path.to_path_buf());
        }
    }
    use nix::mount::{MsFlags, mount};
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("bpf"), usual, Some("bpf"), flags, Some("mode=0700"))
        .map_err(|e| system("mounting the BPF file system at /sys/fs/bpf", e.into()))?;
    Ok(usual.to_path_buf())
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
