//! Traffic between namespaces: ping, and TCP with its content checked.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::netns::NetNs;
use crate::process::{Background, raw_output};

/// How many echo requests were sent, and how many replies came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pings {
    pub sent: u32,
    pub received: u32,
}

impl Pings {
    pub fn all(self) -> bool {
        self.sent > 0 && self.sent == self.received
    }

    fn parse(text: &str) -> Result<Pings> {
        let line = text
            .lines()
            .find(|l| l.contains("packets transmitted"))
            .with_context(|| format!("ping printed no summary: {text}"))?;
        let number = |word: &str| -> Result<u32> {
            let before = line.split(word).next().unwrap_or_default();
            let digits = before
                .trim_end()
                .rsplit([' ', ','])
                .next()
                .unwrap_or_default();
            digits
                .parse()
                .with_context(|| format!("no number before {word:?} in {line:?}"))
        };
        Ok(Pings {
            sent: number("packets transmitted")?,
            received: number("received")?,
        })
    }
}

/// `count` pings from `from` to `to`, `interval` seconds apart, each given a second to come back.
pub fn ping(from: &NetNs, to: &str, count: u32, interval: &str) -> Result<Pings> {
    let out = raw_output(from.command("ping").args([
        "-n",
        "-q",
        "-c",
        &count.to_string(),
        "-i",
        interval,
        "-W",
        "1",
        to,
    ]))?;
    Pings::parse(&String::from_utf8_lossy(&out.stdout))
        .with_context(|| String::from_utf8_lossy(&out.stderr).into_owned())
}

/// Pings in the background until [`BackgroundPing::finish`], at most `count` of them.
pub struct BackgroundPing {
    process: Background,
}

impl BackgroundPing {
    pub fn start(from: &NetNs, to: &str, count: u32, interval: &str) -> Result<BackgroundPing> {
        let mut command = from.command("ping");
        command
            .args([
                "-n",
                "-q",
                "-c",
                &count.to_string(),
                "-i",
                interval,
                "-W",
                "1",
                to,
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(BackgroundPing {
            process: Background::spawn(&mut command)?,
        })
    }

    /// Ends it now, as Ctrl-C does, and gives the summary.
    pub fn stop(self) -> Result<Pings> {
        let pid = nix::unistd::Pid::from_raw(self.process.pid() as i32);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
        self.finish()
    }

    /// Waits for its end and gives the summary.
    pub fn finish(self) -> Result<Pings> {
        let out = self.process.finish()?;
        Pings::parse(&String::from_utf8_lossy(&out.stdout))
    }
}

/// Sends `len` bytes by TCP from `client` to `address` in `server` and back through a checksum:
/// the server answers with the sum of what it read. Gives the time that the transfer took.
pub fn tcp(server: &NetNs, client: &NetNs, address: &str, len: usize) -> Result<Duration> {
    let ip: IpAddr = address
        .parse()
        .with_context(|| format!("bad address {address}"))?;
    let listener = server
        .enter(move || TcpListener::bind(SocketAddr::new(ip, 0)))
        .join()
        .expect("the thread does not panic")?;
    let to = listener.local_addr()?;
    let serve = std::thread::spawn(move || -> Result<()> {
        let stream = accept(&listener, Duration::from_secs(10))?;
        answer_with_sum(stream)
    });
    let result = client
        .enter(move || send(to, len))
        .join()
        .expect("the thread does not panic");
    match result {
        Ok(took) => {
            serve.join().expect("the thread does not panic")?;
            Ok(took)
        }
        Err(e) => Err(e),
    }
}

fn accept(listener: &TcpListener, limit: Duration) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let start = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if start.elapsed() > limit {
                    bail!("no connection within {limit:?}");
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

fn answer_with_sum(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut buffer = vec![0; 65536];
    let mut sum = 0u64;
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        sum = buffer[..n]
            .iter()
            .fold(sum, |s, b| s.wrapping_mul(31).wrapping_add(u64::from(*b)));
    }
    stream.write_all(&sum.to_be_bytes())?;
    Ok(())
}

fn send(to: SocketAddr, len: usize) -> Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(3))
        .with_context(|| format!("cannot connect to {to}"))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut sum = 0u64;
    let mut left = len;
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut buffer = vec![0u8; 65536];
    while left > 0 {
        let n = left.min(buffer.len());
        for b in &mut buffer[..n] {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *b = state as u8;
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(*b));
        }
        stream.write_all(&buffer[..n])?;
        left -= n;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = [0; 8];
    stream
        .read_exact(&mut answer)
        .context("no answer after the transfer")?;
    ensure!(
        u64::from_be_bytes(answer) == sum,
        "the content changed on the way"
    );
    Ok(start.elapsed())
}
