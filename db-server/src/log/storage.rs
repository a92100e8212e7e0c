//! Where the log's bytes go: a file, or in tests a stub that forgets what was not synced.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file-like thing with explicit durability, and the way to put a new one in its place.
pub trait Storage: Sized {
    fn size(&mut self) -> io::Result<u64>;
    /// Reads up to the length of `bytes` at `at`; 0 at the end.
    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<usize>;
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Returns when everything written is durable.
    fn sync(&mut self) -> io::Result<()>;
    /// An empty one beside this one, to be filled and then [installed](Storage::install).
    fn aside(&self) -> io::Result<Self>;
    /// Puts `aside`, which is synced, in the place of this one: after a crash either the old
    /// contents or the new ones are there.
    fn install(&mut self, aside: Self) -> Result<(), InstallError>;
}

/// Why a new file did not take the place of the old one.
#[derive(Debug, Error)]
pub enum InstallError {
    /// The old one is still there.
    #[error("cannot rename: {0}")]
    Kept(#[source] io::Error),
    /// The new one is there, but a crash might bring back the old one.
    #[error("cannot sync the directory: {0}")]
    Unsure(#[source] io::Error),
}

/// Why a database file cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("{}: cannot open: {source}", .path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{}: cannot create: {source}", .path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("{}: cannot lock lockfile: {source}", .path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("{}: the database is already open in another process{}", .path.display(), owner(.pid))]
    Busy { path: PathBuf, pid: Option<i32> },
}

fn owner(pid: &Option<i32>) -> String {
    pid.map(|pid| format!(" (process {pid})"))
        .unwrap_or_default()
}

/// The advisory lock that keeps a second server off a database file.
///
/// It is a write lock by fcntl(2) on `.<name>.~lock~` beside the file, as ovsdb-server and
/// ovsdb-tool take it, so that they and we exclude each other. It ends with the process.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

impl LockFile {
    pub fn acquire(database: &Path) -> Result<Self, OpenError> {
        let path = Self::path(database);
        let refuse = |source| OpenError::Lock {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(refuse)?;
        // SAFETY: an all-zero `flock` is a valid value of this plain C struct.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        // SAFETY: the descriptor is open and `lock` outlives the call.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) } == 0 {
            return Ok(Self { _file: file });
        }
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) {
            return Err(refuse(error));
        }
        // SAFETY: as above; the kernel fills in who holds the lock.
        let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
        let pid = (asked == 0 && lock.l_pid > 0).then_some(lock.l_pid);
        Err(OpenError::Busy {
            path: database.to_owned(),
            pid,
        })
    }

    fn path(database: &Path) -> PathBuf {
        // The lock is beside the file itself, not beside a link to it.
        let target = std::fs::canonicalize(database).unwrap_or_else(|_| database.to_owned());
        let name = target
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        target.with_file_name(format!(".{name}.~lock~"))
    }
}

/// A database file.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    path: PathBuf,
    /// Where it is as long as it is not in place at `path`.
    aside: Option<PathBuf>,
}

impl FileStorage {
    /// Opens an existing file and reads it; `None` when there is none, or nothing in it.
    pub fn open(path: &Path) -> Result<Option<(Self, Vec<u8>)>, OpenError> {
        let refuse = |source| OpenError::Open {
            path: path.to_owned(),
            source,
        };
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(refuse)?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(refuse)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let path = std::fs::canonicalize(path).map_err(refuse)?;
        // What a compaction left that a crash ended.
        for aside in aside_paths(&path) {
            let _ = std::fs::remove_file(aside);
        }
        let aside = None;
        Ok(Some((Self { file, path, aside }, bytes)))
    }

    /// Makes the file with these contents, durably.
    pub fn create(path: &Path, contents: &[u8]) -> Result<Self, OpenError> {
        let refuse = |source| OpenError::Create {
            path: path.to_owned(),
            source,
        };
        let (aside, mut file) = open_aside(path).map_err(refuse)?;
        file.write_all(contents)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::rename(&aside, path))
            .and_then(|()| sync_directory(path))
            .inspect_err(|_| drop(std::fs::remove_file(&aside)))
            .map_err(refuse)?;
        let path = std::fs::canonicalize(path).map_err(refuse)?;
        Ok(Self {
            file,
            path,
            aside: None,
        })
    }
}

impl Drop for FileStorage {
    fn drop(&mut self) {
        if let Some(aside) = &self.aside {
            // A new file that was given up.
            let _ = std::fs::remove_file(aside);
        }
    }
}

impl Storage for FileStorage {
    fn size(&mut self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&mut self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(bytes, at)
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn aside(&self) -> io::Result<Self> {
        let (aside, file) = open_aside(&self.path)?;
        let this = Self {
            file,
            path: self.path.clone(),
            aside: Some(aside),
        };
        let metadata = self.file.metadata()?;
        this.file.set_permissions(metadata.permissions())?;
        // Only root may give files away, and only then can they be another one's.
        let _ = std::os::unix::fs::fchown(&this.file, Some(metadata.uid()), Some(metadata.gid()));
        Ok(this)
    }

    fn install(&mut self, mut aside: Self) -> Result<(), InstallError> {
        let Some(from) = aside.aside.clone() else {
            return Err(InstallError::Kept(io::ErrorKind::InvalidInput.into()));
        };
        std::fs::rename(from, &self.path).map_err(InstallError::Kept)?;
        aside.aside = None;
        *self = aside;
        sync_directory(&self.path).map_err(InstallError::Unsure)
    }
}

/// Where a file may be written before it takes the place of `path`: two can be under way when a
/// compaction is overtaken.
fn aside_paths(path: &Path) -> impl Iterator<Item = PathBuf> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    ["tmp", "tmp1", "tmp2", "tmp3"]
        .map(|end| path.with_file_name(format!("{name}.{end}")))
        .into_iter()
}

fn open_aside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut result = Err(io::ErrorKind::AlreadyExists.into());
    for aside in aside_paths(path) {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&aside);
        match file {
            Ok(file) => return Ok((aside, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => result = Err(error),
            Err(error) => return Err(error),
        }
    }
    result
}

/// Makes a rename in the directory of `path` durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
