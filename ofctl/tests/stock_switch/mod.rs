//! A stock ovs-vswitchd with dummy devices, and both tools to talk to it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a command said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Panics unless the command succeeded.
    pub fn ok(&self) {
        assert_eq!(self.status, 0, "{self:?}");
    }
}

/// A running switch; its processes end and its directory goes with it.
pub struct Switch {
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

impl Switch {
    /// `None` where Open vSwitch is not installed.
    pub fn start(test: &str) -> Option<Switch> {
        let programs = ["ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl"];
        let missing = programs
            .iter()
            .find(|p| Command::new(p).arg("--version").output().is_err());
        if let Some(program) = missing {
            let required = std::env::var("SLUICE_REQUIRE_ROOT").is_ok_and(|v| v == "1");
            assert!(!required, "{program} is not installed");
            println!("skipped {test}: {program} is not installed");
            return None;
        }
        let dir = tempfile::Builder::new()
            .prefix("ofctl-test-")
            .tempdir()
            .expect("temporary directory");
        let mut switch = Switch {
            dir,
            children: Vec::new(),
        };
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ofctl"), switch.path("ovs-ofctl"))
            .expect("link");
        switch.start_daemons();
        Some(switch)
    }

    fn start_daemons(&mut self) {
        let db = self.path("conf.db");
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        self.run("ovsdb-tool", &["create", &db, schema], None).ok();
        let remote = format!("--remote=punix:{}", self.path("db.sock"));
        self.daemon("ovsdb-server", &[&db, &remote]);
        self.wait_for_socket("db.sock");
        self.vsctl(&["--no-wait", "init"]);
        let db = format!("unix:{}", self.path("db.sock"));
        self.daemon(
            "ovs-vswitchd",
            &[&db, "--enable-dummy=override", "--disable-system"],
        );
        self.vsctl(&[
            "add-br",
            "br0",
            "--",
            "set",
            "bridge",
            "br0",
            "datapath_type=dummy",
            "fail_mode=secure",
            "other_config:datapath-id=0000000000000001",
            "other_config:hwaddr=aa:55:aa:55:00:00",
            "--",
            "add-port",
            "br0",
            "p1",
            "--",
            "set",
            "interface",
            "p1",
            "type=dummy",
            "ofport_request=1",
            "--",
            "add-port",
            "br0",
            "p2",
            "--",
            "set",
            "interface",
            "p2",
            "type=dummy",
            "ofport_request=2",
        ]);
        self.set_protocols("OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15");
        self.appctl(&["time/stop"]).ok();
    }

    pub fn set_protocols(&self, versions: &str) {
        self.vsctl(&["set", "bridge", "br0", &format!("protocols={versions}")]);
    }

    fn vsctl(&self, args: &[&str]) {
        let db = format!("--db=unix:{}", self.path("db.sock"));
        let args: Vec<&str> = ["-t", "30", db.as_str()]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        self.run("ovs-vsctl", &args, None).ok();
    }

    pub fn appctl(&self, args: &[&str]) -> Output {
        self.run("ovs-appctl", args, None)
    }

    /// Hands a packet to a dummy device.
    pub fn receive(&self, port: &str, packet: &str) {
        self.appctl(&["netdev-dummy/receive", port, packet]).ok();
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("write");
        path
    }

    /// Stock ovs-ofctl.
    pub fn stock(&self, args: &[&str]) -> Output {
        self.run("ovs-ofctl", args, None)
    }

    /// This tool, through a link of that name.
    pub fn ours(&self, args: &[&str]) -> Output {
        self.run(&self.path("ovs-ofctl"), args, None)
    }

    pub fn ours_with_input(&self, args: &[&str], input: &str) -> Output {
        self.run(&self.path("ovs-ofctl"), args, Some(input))
    }

    /// Runs this tool with its standard error in `log`, which a background process keeps open.
    pub fn ours_detached(&self, args: &[&str], log: &str) -> i32 {
        let status = self
            .command(&self.path("ovs-ofctl"))
            .args(args)
            .stdout(Stdio::null())
            .stderr(File::create(log).expect("log"))
            .status()
            .expect("ofctl");
        status.code().unwrap_or(-1)
    }

    pub fn wait_until_gone(&self, path: &str) {
        let started = Instant::now();
        while Path::new(path).exists() {
            assert!(started.elapsed() < PATIENCE, "{path} is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn monitor_socket(&self) -> String {
        self.path("monitor.ctl")
    }

    /// `monitor br0 65534` with its text in `log`, once it is ready.
    pub fn spawn_monitor(&self, stock: bool, log: &str) -> Child {
        let program = if stock {
            "ovs-ofctl".to_owned()
        } else {
            self.path("ovs-ofctl")
        };
        let socket = self.monitor_socket();
        let _ = fs::remove_file(&socket);
        let child = self
            .command(&program)
            .args(["monitor", "br0", "65534", &format!("--unixctl={socket}")])
            .stderr(File::create(log).expect("log"))
            .spawn()
            .expect("monitor");
        self.wait_for_socket("monitor.ctl");
        // It answers barriers once it is in its loop.
        self.appctl(&["-t", &socket, "ofctl/barrier"]).ok();
        child
    }

    /// `monitor br0` with a flow monitor: standard output in `out`, standard error in `log`, once
    /// it is ready.
    pub fn spawn_watch(
        &self,
        stock: bool,
        version: &str,
        spec: &str,
        out: &str,
        log: &str,
    ) -> Child {
        let program = if stock {
            "ovs-ofctl".to_owned()
        } else {
            self.path("ovs-ofctl")
        };
        let socket = self.monitor_socket();
        let _ = fs::remove_file(&socket);
        let unixctl = format!("--unixctl={socket}");
        let child = self
            .command(&program)
            .args(["-O", version, "monitor", "br0", spec, &unixctl])
            .stdout(File::create(out).expect("out"))
            .stderr(File::create(log).expect("log"))
            .spawn()
            .expect("monitor");
        self.wait_for_socket("monitor.ctl");
        child
    }

    /// The text of `file` once it satisfies `done`; lines about barriers are left out.
    pub fn wait_for(&self, file: &str, done: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(file).unwrap_or_default();
            if done(&text) {
                let kept = text.lines().filter(|l| !l.contains("BARRIER"));
                return kept.map(|l| format!("{l}\n")).collect();
            }
            assert!(started.elapsed() < PATIENCE, "{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until somebody listens; the file is there before that.
    fn wait_for_socket(&self, name: &str) {
        let path = PathBuf::from(self.path(name));
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(&path).is_err() {
            assert!(started.elapsed() < PATIENCE, "no {}", path.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let dir: &Path = self.dir.path();
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, dir);
        }
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, args: &[&str], input: Option<&str>) -> Output {
        let mut command = self.command(program);
        command
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{program}: {e}"));
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(input.as_bytes()).expect("input");
        }
        let output = child.wait_with_output().expect("output");
        Output {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            // Log lines carry the time.
            stderr: String::from_utf8_lossy(&output.stderr)
                .lines()
                .filter(|l| !l.contains("|INFO|") && !l.contains("|WARN|"))
                .map(|l| format!("{l}\n"))
                .collect(),
        }
    }

    /// Starts a daemon in the foreground, so that it ends with the test.
    fn daemon(&mut self, program: &str, args: &[&str]) {
        let log = format!("--log-file={}", self.path(&format!("{program}.log")));
        let child = self
            .command(program)
            .args(args)
            .args([log.as_str(), "--pidfile", "-vconsole:off"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{program}: {e}"));
        self.children.push(child);
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
