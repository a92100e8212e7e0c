//! Running the stock program and this one, and what of their output has to be equal.

#![allow(dead_code, reason = "each test program uses a part")]

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use tests::database::Server;
use tests::database::create;

pub const OURS: &str = env!("CARGO_BIN_EXE_dbctl");

/// Whether the stock programs are there. In CI they have to be.
pub fn stock_is_there() -> bool {
    tests::database::require_stock("dbctl")
}

/// What a run showed.
#[derive(Debug, PartialEq)]
pub struct Shown {
    pub stdout: String,
    pub stderr: String,
    pub status: Option<i32>,
    pub signal: Option<i32>,
}

/// A program in `dir`, under the name `name`. Standard input is `dir/stdin` if that is there.
pub fn command(program: &str, name: &str, dir: &Path, words: &[String]) -> Command {
    let mut command = Command::new(program);
    let stdin = match std::fs::File::open(dir.join("stdin")) {
        Ok(file) => Stdio::from(file),
        Err(_) => Stdio::null(),
    };
    command
        .arg0(name)
        .args(words)
        .current_dir(dir)
        .env("OVS_RUNDIR", dir)
        .env("OVS_LOGDIR", dir)
        .env("OVS_DBDIR", ".")
        .env_remove("OVS_CTL_TIMEOUT")
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn finish(child: Child, dir: &Path) -> Shown {
    let output = child.wait_with_output().unwrap();
    let text =
        |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).replace(&dir.display().to_string(), "DIR");
    Shown {
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        status: output.status.code(),
        signal: output.status.signal(),
    }
}

/// Words separated by spaces; '...' keeps spaces.
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_with(String::new).push(c),
        }
    }
    words.extend(word);
    words
}

/// `9` in the pattern is a digit, `x` a hexadecimal digit; anything else is itself.
fn matches(text: &[u8], pattern: &str) -> bool {
    text.len() >= pattern.len()
        && pattern.bytes().zip(text).all(|(p, c)| match p {
            b'9' => c.is_ascii_digit(),
            b'x' => c.is_ascii_digit() || (b'a'..=b'f').contains(c),
            p => p == *c,
        })
}

/// What differs from run to run: UUIDs, their first eight digits, times, numbers of log lines.
const MASKS: &[(&str, &str)] = &[
    (
        "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
        "<uuid------------------------------>",
    ),
    ("(xxxxxxxx)", "(<short>)"),
    ("row xxxxxxxx:", "row <short>:"),
    (">xxxxxxxx</a>", "><short></a>"),
    ("9999-99-99 99:99:99.999", "<time----------------->"),
    ("9999-99-99T99:99:99Z|99999|", "LOG|"),
    ("\"_date\":9999999999999", "\"_date\":<date>"),
];

pub fn normalize(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match MASKS.iter().find(|(pattern, _)| matches(rest, pattern)) {
            Some((pattern, mask)) => {
                out.extend_from_slice(mask.as_bytes());
                rest = &rest[pattern.len()..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Equal up to the order of lines: rows come in the order of hashes there.
pub fn same_lines(a: &str, b: &str) -> bool {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
        lines.sort();
        lines
    };
    sorted(a) == sorted(b)
}

/// How two runs differ, if they do. `own_words`: what is on stderr may be worded otherwise.
pub fn difference(got: &Shown, expected: &Shown, own_words: bool) -> Vec<String> {
    let mut complaints = Vec::new();
    let (stdout, expected_stdout) = (normalize(&got.stdout), normalize(&expected.stdout));
    if stdout != expected_stdout && !same_lines(&stdout, &expected_stdout) {
        complaints.push(format!("stdout {stdout:?}\n  stock {expected_stdout:?}"));
    }
    let (stderr, expected_stderr) = (normalize(&got.stderr), normalize(&expected.stderr));
    if own_words {
        if stderr.is_empty() || expected_stderr.is_empty() {
            complaints.push(format!("stderr {stderr:?}\n  stock {expected_stderr:?}"));
        }
    } else if stderr != expected_stderr {
        complaints.push(format!("stderr {stderr:?}\n  stock {expected_stderr:?}"));
    }
    if (got.status, got.signal) != (expected.status, expected.signal) {
        complaints.push(format!(
            "exit {:?} signal {:?}, stock {:?} {:?}",
            got.status, got.signal, expected.status, expected.signal
        ));
    }
    complaints
}

/// Our server, where it has been built.
pub fn our_server() -> Option<PathBuf> {
    tests::database::require_ours("dbctl")
}

/// A server of databases of these schemas, each in `NAME.db`.
pub fn serve(program: &Path, schemas: &[(&str, &str)]) -> Server {
    let make = |dir: &Path| {
        let files = schemas.iter().map(|(name, text)| {
            let file = dir.join(format!("{name}.db"));
            let schema = dir.join(format!("{name}.json"));
            std::fs::write(&schema, text).unwrap();
            create(&file, &schema).unwrap();
            file
        });
        files.collect()
    };
    Server::start(program, make).unwrap()
}

/// Waits for something, but not for long.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
