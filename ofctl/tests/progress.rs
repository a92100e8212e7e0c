//! On a terminal a line says how far a long file is; elsewhere there is none.
//!
//! The terminal is that of script(1); the switch is one that agrees to everything.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

const HELLO: u8 = 0;
const BARRIER_REQUEST: u8 = 18;
const BARRIER_REPLY: u8 = 19;
const FLOW_MOD: u8 = 14;

/// Serves one connection of OpenFlow 1.0; returns how many flow-mods came.
fn serve(mut stream: UnixStream) -> usize {
    let mut flows = 0;
    let mut header = [0u8; 8];
    while stream.read_exact(&mut header).is_ok() {
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let mut body = vec![0; len - header.len()];
        stream.read_exact(&mut body).expect("a whole message");
        let reply = match header[1] {
            HELLO => HELLO,
            BARRIER_REQUEST => BARRIER_REPLY,
            kind => {
                flows += usize::from(kind == FLOW_MOD);
                continue;
            }
        };
        let [.., a, b, c, d] = header;
        let sent = stream.write_all(&[1, reply, 0, 8, a, b, c, d]);
        sent.expect("the tool listens");
    }
    flows
}

fn start_switch(socket: &Path) -> JoinHandle<usize> {
    let listener = UnixListener::bind(socket).expect("a socket");
    std::thread::spawn(move || serve(listener.accept().expect("a connection").0))
}

/// They come in two halves through a named pipe, with a pause between that is longer than the
/// line's; standard input would be read to its end first.
const FLOWS: usize = 2048;

#[test]
fn a_line_says_how_far_it_is() {
    let test = "a_line_says_how_far_it_is";
    if Command::new("script").arg("--version").output().is_err() {
        let required = std::env::var("SLUICE_REQUIRE_ROOT").is_ok_and(|v| v == "1");
        assert!(!required, "script is not installed");
        println!("skipped {test}: script is not installed");
        return;
    }
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = |name: &str| dir.path().join(name);
    let flows: String = (0..FLOWS / 2)
        .map(|n| format!("priority={n},in_port=1,actions=drop\n"))
        .collect();
    std::fs::write(path("half"), flows).expect("write");
    let run = |name: &str, command: &mut dyn FnMut(&str) -> Command| {
        let socket = path(name);
        let switch = start_switch(&socket);
        let add = format!(
            "mkfifo {fifo}; (cat {half}; sleep 0.5; cat {half}) >{fifo} & {} add-flows unix:{} {fifo}",
            env!("CARGO_BIN_EXE_ofctl"),
            socket.display(),
            half = path("half").display(),
            fifo = path(&format!("{name}.fifo")).display()
        );
        let out = command(&add).stdin(Stdio::null()).output().expect("runs");
        assert!(out.status.success(), "{out:?}");
        assert_eq!(switch.join().expect("served"), FLOWS);
        let text = [out.stdout, out.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    };

    let on_terminal = run("terminal", &mut |add| {
        let mut command = Command::new("script");
        command.args(["-qec", add, "/dev/null"]);
        command
    });
    let shown: Vec<usize> = on_terminal
        .split('\r')
        .filter_map(|line| line.strip_suffix(" flows checked")?.parse().ok())
        .collect();
    assert!(!shown.is_empty(), "{on_terminal:?}");
    assert!(shown.is_sorted() && shown.iter().all(|n| *n <= FLOWS));
    // The line goes when the work is done.
    assert!(on_terminal.ends_with(&format!("\r{:40}\r", "")));

    let in_pipe = run("pipe", &mut |add| {
        let mut command = Command::new("sh");
        command.args(["-c", add]);
        command
    });
    assert_eq!(in_pipe, "");
}
