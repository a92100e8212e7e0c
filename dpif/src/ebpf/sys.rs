//! The `bpf(2)` calls that aya does not offer, or not for maps that it did not make itself.
//!
//! Each `attr` struct is the part of the kernel's `union bpf_attr` that one command reads
//! (include/uapi/linux/bpf.h); the kernel takes shorter ones.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;

pub const BPF_NOEXIST: u64 = 1;
pub const BPF_EXIST: u64 = 2;

/// Where a program is attached to a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    Ingress,
    Egress,
}

impl Hook {
    /// `BPF_TCX_INGRESS`, `BPF_TCX_EGRESS`.
    fn attach_type(self) -> u32 {
        match self {
            Hook::Ingress => 46,
            Hook::Egress => 47,
        }
    }
}

fn bpf<T>(cmd: libc::c_long, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is a prefix of `union bpf_attr` of the size given, and the pointers in it are
    // to memory that outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, cmd, attr as *mut T, size_of::<T>()) };
    if ret < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(ret as i32)
    }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel just made the descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn addr<T: ?Sized>(value: &T) -> u64 {
    (value as *const T).cast::<u8>() as u64
}

#[repr(C)]
struct Elem {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Value of `key`; `None` when the map has no such key.
pub fn lookup<K, V: Copy + Default>(map: BorrowedFd, key: &K) -> io::Result<Option<V>> {
    let mut value = V::default();
    let mut attr = Elem {
        map_fd: map.as_raw_fd() as u32,
        pad: 0,
        key: addr(key),
        value: &raw mut value as u64,
        flags: 0,
    };
    match bpf(BPF_MAP_LOOKUP_ELEM, &mut attr) {
        Ok(_) => Ok(Some(value)),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

pub fn update<K, V>(map: BorrowedFd, key: &K, value: &V, flags: u64) -> io::Result<()> {
    let mut attr = Elem {
        map_fd: map.as_raw_fd() as u32,
        pad: 0,
        key: addr(key),
        value: addr(value),
        flags,
    };
    bpf(BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// False when the map had no such key.
pub fn delete<K>(map: BorrowedFd, key: &K) -> io::Result<bool> {
    let mut attr = Elem {
        map_fd: map.as_raw_fd() as u32,
        pad: 0,
        key: addr(key),
        value: 0,
        flags: 0,
    };
    match bpf(BPF_MAP_DELETE_ELEM, &mut attr) {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Every entry of a hash table. Entries that come or go meanwhile may be in it or not.
pub fn entries<K: Copy + Default, V: Copy + Default>(map: BorrowedFd) -> io::Result<Vec<(K, V)>> {
    let mut chunk = 1024usize;
    let mut all = Vec::new();
    // The kernel's place in the table; for hash tables a bucket number.
    let mut place = 0u64;
    let mut first = true;
    loop {
        let mut keys = vec![K::default(); chunk];
        let mut values = vec![V::default(); chunk];
        let mut next = 0u64;
        let mut attr = Batch {
            in_batch: if first { 0 } else { &raw const place as u64 },
            out_batch: &raw mut next as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: chunk as u32,
            map_fd: map.as_raw_fd() as u32,
            elem_flags: 0,
            flags: 0,
        };
        let result = bpf(BPF_MAP_LOOKUP_BATCH, &mut attr);
        let done = match result {
            Ok(_) => false,
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => true,
            // One bucket has more entries than the chunk.
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) && chunk < 1 << 20 => {
                chunk *= 2;
                continue;
            }
            Err(e) => return Err(e),
        };
        let count = (attr.count as usize).min(chunk);
        all.extend(keys.into_iter().zip(values).take(count));
        if done {
            return Ok(all);
        }
        place = next;
        first = false;
    }
}

#[repr(C)]
struct Obj {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

pub fn pin(fd: BorrowedFd, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = Obj {
        pathname: path.as_ptr() as u64,
        bpf_fd: fd.as_raw_fd() as u32,
        file_flags: 0,
    };
    bpf(BPF_OBJ_PIN, &mut attr).map(drop)
}

/// `None` when nothing is pinned there.
pub fn get_pinned(path: &Path) -> io::Result<Option<OwnedFd>> {
    let path = c_path(path)?;
    let mut attr = Obj {
        pathname: path.as_ptr() as u64,
        bpf_fd: 0,
        file_flags: 0,
    };
    match bpf(BPF_OBJ_GET, &mut attr) {
        Ok(fd) => Ok(Some(owned(fd))),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64,
}

/// Attaches a program to a device by a tcx link (Linux 6.6).
pub fn link_create(prog: BorrowedFd, ifindex: u32, hook: Hook) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate {
        prog_fd: prog.as_raw_fd() as u32,
        target_ifindex: ifindex,
        attach_type: hook.attach_type(),
        flags: 0,
        relative_fd: 0,
        pad: 0,
        expected_revision: 0,
    };
    bpf(BPF_LINK_CREATE, &mut attr).map(owned)
}

#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// Exchanges the program of a link; no packet misses both.
pub fn link_update(link: BorrowedFd, prog: BorrowedFd) -> io::Result<()> {
    let mut attr = LinkUpdate {
        link_fd: link.as_raw_fd() as u32,
        new_prog_fd: prog.as_raw_fd() as u32,
        flags: 0,
        old_prog_fd: 0,
    };
    bpf(BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Start of `struct bpf_link_info`, with the part for tcx.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    prog_id: u32,
    pad: u32,
    ifindex: u32,
    attach_type: u32,
    rest: [u64; 4],
}

#[repr(C)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The device that a tcx link is attached to; 0 when the device is gone or the link detached.
pub fn link_ifindex(link: BorrowedFd) -> io::Result<u32> {
    let mut info = LinkInfo::default();
    let mut attr = InfoByFd {
        bpf_fd: link.as_raw_fd() as u32,
        info_len: size_of::<LinkInfo>() as u32,
        info: &raw mut info as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.ifindex)
}

/// Start of `struct bpf_map_info`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct MapInfo {
    pub kind: u32,
    pub id: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
}

pub fn map_info(map: BorrowedFd) -> io::Result<MapInfo> {
    let mut info = MapInfo::default();
    let mut attr = InfoByFd {
        bpf_fd: map.as_raw_fd() as u32,
        info_len: size_of::<MapInfo>() as u32,
        info: &raw mut info as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// An array map as memory that the programs and this process share.
///
/// Mapped piece by piece where it is used, so that room for many flows costs the process nothing
/// while there are few.
///
/// Values are read and written whole but not atomically; where the two sides race, the record's
/// meaning allows for it (see `packet::abi`).
pub struct SharedArray<T> {
    map: OwnedFd,
    /// Reserved addresses for the whole array.
    memory: *mut T,
    entries: u32,
    bytes: usize,
    /// Which pieces are mapped.
    pieces: Box<[AtomicBool]>,
}

/// Bytes of a piece: whole pages on every machine.
const PIECE: usize = 64 << 10;

// SAFETY: the memory belongs to the mapping, accesses are volatile, and every `T` is plain data.
unsafe impl<T: Copy + Send> Send for SharedArray<T> {}
// SAFETY: as above.
unsafe impl<T: Copy + Send> Sync for SharedArray<T> {}

impl<T: Copy> SharedArray<T> {
    /// Maps an array whose values are `T`.
    pub fn new(map: OwnedFd) -> io::Result<SharedArray<T>> {
        let info = map_info(map.as_fd())?;
        if info.value_size as usize != size_of::<T>() || !size_of::<T>().is_multiple_of(8) {
            return Err(io::Error::other(format!(
                "map values have {} bytes instead of {}",
                info.value_size,
                size_of::<T>()
            )));
        }
        let bytes = size_of::<T>() * info.max_entries as usize;
        // SAFETY: a new mapping, at an address that the kernel picks.
        let memory = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pieces = (0..bytes.div_ceil(PIECE)).map(|_| AtomicBool::new(false));
        let array = SharedArray {
            map,
            memory: memory.cast(),
            entries: info.max_entries,
            bytes,
            pieces: pieces.collect(),
        };
        // What the kernel refuses, it refuses for the first piece as well.
        array.map_piece(0)?;
        Ok(array)
    }

    pub fn entries(&self) -> u32 {
        self.entries
    }

    /// The whole array once more, mapped while the guard lives: for going through all of it.
    pub fn whole(&self) -> io::Result<Whole<'_, T>> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let (shared, fd) = (libc::MAP_SHARED, self.map.as_raw_fd());
        // SAFETY: a new mapping, at an address that the kernel picks.
        let memory =
            unsafe { libc::mmap(std::ptr::null_mut(), self.bytes, protection, shared, fd, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Whole {
            memory: memory.cast(),
            array: self,
        })
    }

    fn at(&self, index: u32) -> Option<*mut T> {
        if index >= self.entries {
            return None;
        }
        let first = index as usize * size_of::<T>() / PIECE;
        let last = ((index as usize + 1) * size_of::<T>() - 1) / PIECE;
        for piece in first..=last {
            if !self.is_mapped(piece) {
                self.map_piece(piece)
                    .inspect_err(|e| tracing::error!("mapping a part of the datapath: {e}"))
                    .ok()?;
            }
        }
        // SAFETY: within the mapping, as just checked.
        Some(unsafe { self.memory.add(index as usize) })
    }

    fn is_mapped(&self, piece: usize) -> bool {
        let mapped = self.pieces.get(piece);
        mapped.is_some_and(|mapped| mapped.load(Ordering::Acquire))
    }

    /// Two threads may do so at a time: both map the same memory to the same place.
    fn map_piece(&self, piece: usize) -> io::Result<()> {
        let start = piece * PIECE;
        let len = PIECE.min(self.bytes.saturating_sub(start));
        let Some(mapped) = self.pieces.get(piece) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // SAFETY: the addresses were reserved in `new` and are ours.
        let memory = unsafe {
            libc::mmap(
                self.memory.byte_add(start).cast(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                self.map.as_raw_fd(),
                start as libc::off_t,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        mapped.store(true, Ordering::Release);
        Ok(())
    }

    /// `None` beyond the end.
    pub fn get(&self, index: u32) -> Option<T> {
        // SAFETY: valid, aligned memory; every bit pattern is a `T`.
        self.at(index).map(|p| unsafe { p.read_volatile() })
    }

    /// Does nothing beyond the end.
    pub fn set(&self, index: u32, value: T) {
        if let Some(p) = self.at(index) {
            // SAFETY: as in `get`.
            unsafe { p.write_volatile(value) }
        }
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the addresses reserved in `new`; nothing borrows from them.
        unsafe { libc::munmap(self.memory.cast(), self.bytes) };
    }
}

/// See [`SharedArray::whole`].
pub struct Whole<'a, T> {
    memory: *mut T,
    array: &'a SharedArray<T>,
}

impl<T: Copy> Whole<'_, T> {
    /// Every entry with its index.
    pub fn iter(&self) -> impl Iterator<Item = (u32, T)> {
        // SAFETY: within the mapping; every bit pattern is a `T`.
        let get = |index| unsafe { self.memory.add(index as usize).read_volatile() };
        (0..self.array.entries).map(move |index| (index, get(index)))
    }

    /// Does nothing beyond the end.
    pub fn set(&self, index: u32, value: T) {
        if index < self.array.entries {
            // SAFETY: within the mapping, as just checked.
            unsafe { self.memory.add(index as usize).write_volatile(value) }
        }
    }
}

impl<T> Drop for Whole<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `whole`; nothing borrows from it.
        unsafe { libc::munmap(self.memory.cast(), self.array.bytes) };
    }
}
