//! The daemon conventions from outside: exit statuses, pidfile locks, logs, and that a stock
//! `ovs-appctl` finds and controls a daemon, where it is installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The example program `daemon`, which cargo builds with the tests.
fn program() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/daemon")
}

fn command(program: impl AsRef<std::ffi::OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("OVS_RUNDIR", dir)
        .env("OVS_LOGDIR", dir)
        .stdin(Stdio::null());
    command
}

/// Runs the daemon; `output` returns only when nothing keeps stdout or stderr open.
fn start(dir: &Path, args: &[&str]) -> Output {
    command(program(), dir).args(args).output().unwrap()
}

fn pid(path: &Path) -> i32 {
    daemon::pidfile::read(path).unwrap().as_raw()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..200 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("timed out: {what}");
}

#[test]
fn detached_daemon_is_ready_when_its_parent_exits() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let out = start(
        dir,
        &["--detach", "--pidfile", "--log-file", "-vconsole:off"],
    );
    assert!(out.status.success(), "{out:?}");
    assert_eq!((out.stdout.len(), out.stderr.len()), (0, 0), "{out:?}");
    let pidfile = dir.join("daemon.pid");
    let pid = pid(&pidfile);
    let socket = dir.join(format!("daemon.{pid}.ctl"));
    assert!(socket.exists());

    let second = start(dir, &["--detach", "--pidfile"]);
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&second.stderr),
        format!(
            "daemon: {}: already running as pid {pid}, aborting\n",
            pidfile.display()
        )
    );

    if let Ok(out) = command("ovs-appctl", dir)
        .args(["-t", "daemon", "version"])
        .output()
    {
        assert!(out.status.success(), "{out:?}");
        assert!(out.stdout.starts_with(b"daemon (Open vSwitch) "), "{out:?}");
    }

    // Rotation: the file is made again under its name.
    std::fs::rename(dir.join("daemon.log"), dir.join("daemon.log.1")).unwrap();
    let mut client = daemon::unixctl::client::Client::connect(&socket).unwrap();
    client.transact("vlog/reopen", &[]).unwrap().unwrap();
    assert!(dir.join("daemon.log").exists());

    client.transact("exit", &[]).unwrap().unwrap();
    wait_until("pidfile removed", || !pidfile.exists());
    wait_until("socket removed", || !socket.exists());
}

#[test]
fn a_failure_to_start_is_the_parents() {
    let dir = tempfile::tempdir().unwrap();
    let out = start(dir.path(), &["--detach", "--pidfile", "--fail"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "daemon: asked to fail\n"
    );
    assert!(!dir.path().join("daemon.pid").exists());
    let out = start(dir.path(), &["--detach", "--crash"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "daemon: fork child died before signaling startup (killed (SIGABRT))\n"
    );
    let out = start(dir.path(), &["--bogus"]);
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "daemon: unrecognized option '--bogus'\n"
    );
}

#[test]
fn sigterm_ends_daemon_and_supervisor_tidily() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let out = start(
        dir,
        &["--detach", "--monitor", "--pidfile", "-vconsole:off"],
    );
    assert!(out.status.success(), "{out:?}");
    let pidfile = dir.join("daemon.pid");
    let pid = pid(&pidfile);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let supervisor: i32 = stat
        .rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().nth(1))
        .unwrap()
        .parse()
        .unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    wait_until("pidfile removed", || !pidfile.exists());
    wait_until("supervisor left", || {
        std::fs::read_to_string(format!("/proc/{supervisor}/stat"))
            .map(|stat| stat.contains(") Z "))
            .unwrap_or(true)
    });
}
