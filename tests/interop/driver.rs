//! Programs that converse over their standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tests::process::wait_for;

/// A program that answers lines.
pub struct Driver {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Driver {
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            input: child.stdin.take(),
            child,
            lines,
        })
    }

    /// The next line of its output.
    pub fn line(&self) -> Result<String> {
        self.lines
            .recv_timeout(Duration::from_secs(30))
            .context("the program says nothing")
    }

    /// The output up to a line that contains `word`.
    pub fn until(&self, word: &str) -> Result<Vec<String>> {
        let mut seen = Vec::new();
        loop {
            let line = self
                .line()
                .with_context(|| format!("waiting for {word:?} after {seen:#?}"))?;
            let done = line.contains(word);
            seen.push(line);
            if done {
                return Ok(seen);
            }
        }
    }

    /// Ends it and gives the rest of its output.
    pub fn stop(&mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.lines.iter().collect()
    }

    pub fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its input is closed")?;
        Ok(writeln!(input, "{line}")?)
    }

    /// Says `line` and gives the answer.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        self.tell(line)?;
        self.line().with_context(|| format!("asked {line:?}"))
    }

    /// Waits until it ends by itself: its exit code.
    pub fn finish(mut self, limit: Duration) -> Result<Option<i32>> {
        drop(self.input.take());
        wait_for("the program ends", limit, || {
            !matches!(self.child.try_wait(), Ok(None))
        })?;
        match self.child.try_wait()? {
            Some(status) => Ok(status.code()),
            None => bail!("the program runs on"),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
