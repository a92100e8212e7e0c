//! The servers under test as processes, and the files that they open.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use db_server::{files, log};
use serde_json::{Value, json};

/// A server program.
pub struct Program {
    pub name: &'static str,
    path: PathBuf,
}

impl Program {
    pub fn new(name: &'static str, path: &Path) -> Result<Self> {
        let works = Command::new(path)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        match works {
            Ok(status) if status.success() => {}
            other => bail!("{}: cannot be run: {other:?}", path.display()),
        }
        Ok(Self {
            name,
            path: path.to_owned(),
        })
    }
}

/// A started server; dropping it ends it.
pub struct Running {
    child: Child,
    pub socket: PathBuf,
    /// From the start of the program to its first answer.
    pub start_up: Duration,
}

impl Running {
    pub fn start(program: &Program, file: &Path, scratch: &Path) -> Result<Self> {
        let socket = scratch.join("db.sock");
        let _ = std::fs::remove_file(&socket);
        let begin = Instant::now();
        let child = Command::new(&program.path)
            .arg(format!("--remote=punix:{}", socket.display()))
            .arg(format!("--unixctl={}", scratch.join("ctl").display()))
            .arg(file)
            .env("OVS_RUNDIR", scratch)
            .env("OVS_LOGDIR", scratch)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{}: cannot start", program.path.display()))?;
        pin(child.id(), 1);
        let mut running = Self {
            child,
            socket,
            start_up: Duration::ZERO,
        };
        loop {
            if let Ok(stream) = UnixStream::connect(&running.socket) {
                ask(stream)?;
                running.start_up = begin.elapsed();
                return Ok(running);
            }
            if begin.elapsed() > Duration::from_secs(60) {
                bail!("{} does not answer", program.path.display());
            }
            if let Some(status) = running.child.try_wait()? {
                bail!("{} ended: {status}", program.path.display());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    /// What the threads that are there have used of the CPUs.
    pub fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0u64;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let ns = text.split(' ').next().context("schedstat")?;
            sum += ns.parse::<u64>()?;
        }
        Ok(sum)
    }

    pub fn rss_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS")?.parse()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing of its state is looked at afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(mut stream: UnixStream) -> Result<()> {
    stream.write_all(br#"{"id":0,"method":"list_dbs","params":[]}"#)?;
    let mut buffer = [0u8; 4096];
    let count = stream.read(&mut buffer)?;
    if count == 0 {
        bail!("no answer to list_dbs");
    }
    Ok(())
}

/// Keeps the load on the first CPU, so that it does not share with the server.
pub fn pin_self() {
    pin(0, 0);
}

fn pin(pid: u32, cpu: usize) {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 && pid == 0 {
        return;
    }
    // SAFETY: an all-zero CPU set is a valid empty one, and it outlives the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        // On a machine with one CPU there is nothing to keep apart.
        libc::sched_setaffinity(pid as libc::pid_t, size_of_val(&set), &raw const set);
    }
}

/// Changes the priority of this process and of those that it starts.
pub fn renice(nice: i32) -> Result<()> {
    // SAFETY: plain numbers go in.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } != 0 {
        return Err(std::io::Error::last_os_error()).context("--nice");
    }
    // Without this a nice value counts within one terminal session alone.
    let _ = std::fs::write("/proc/self/autogroup", nice.to_string());
    Ok(())
}

/// A file with the Open_vSwitch schema and no rows.
pub fn write_empty(path: &Path) -> Result<()> {
    let schema: Value = serde_json::from_str(files::SCHEMA)?;
    Ok(std::fs::write(path, log::encode(&schema))?)
}

/// A file with a bridge and about `rows` rows of ports and interfaces, made by many transactions,
/// with the external ids that cloud platforms set.
pub fn write_large(path: &Path, rows: usize) -> Result<()> {
    let schema: Value = serde_json::from_str(files::SCHEMA)?;
    let mut bytes = log::encode(&schema);
    let uuid = |kind: u64, n: usize| {
        // Spread like random ones.
        let low = (n as u64)
            .wrapping_add(1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ovsdb::Uuid::from_u64_pair(low.rotate_left(17) ^ kind, low).to_string()
    };
    let (root, bridge) = (uuid(1, 0), uuid(2, 0));
    let first = json!({
        "_date": 1,
        "Open_vSwitch": {root: {"bridges": ["uuid", bridge]}},
        "Bridge": {bridge.clone(): {"name": "br-int"}},
    });
    bytes.append(&mut log::encode(&first));
    const BATCH: usize = 50;
    let ports = rows / 2;
    for start in (0..ports).step_by(BATCH) {
        let (mut port_rows, mut interface_rows) = (json!({}), json!({}));
        let mut refs = Vec::new();
        for n in start..(start + BATCH).min(ports) {
            let (port, interface) = (uuid(3, n), uuid(4, n));
            let name = format!("tap{n:08x}-{:02x}", n % 251);
            port_rows[&port] = json!({
                "name": name,
                "interfaces": ["uuid", interface],
                "tag": n % 4095,
                "other_config": ["map", [["net_uuid", uuid(5, n / 20)], ["segmentation_id", format!("{}", n % 4095)]]],
            });
            interface_rows[&interface] = json!({
                "name": name,
                "type": "internal",
                "external_ids": ["map", [
                    ["attached-mac", format!("fa:16:3e:{:02x}:{:02x}:{:02x}", n >> 16, n >> 8 & 255, n & 255)],
                    ["iface-id", uuid(6, n)],
                    ["iface-status", "active"],
                    ["vm-uuid", uuid(7, n / 2)],
                ]],
            });
            refs.push(json!(["uuid", port]));
        }
        let record = json!({
            "_date": 1795174587718u64,
            "_comment": "add-port",
            "_is_diff": true,
            "Port": port_rows,
            "Interface": interface_rows,
            "Bridge": {bridge.clone(): {"ports": ["set", refs]}},
        });
        bytes.append(&mut log::encode(&record));
    }
    Ok(std::fs::write(path, bytes)?)
}
