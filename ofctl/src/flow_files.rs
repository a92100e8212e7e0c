//! Flows in files: one per line, `#` comments, and lines joined by a backslash at their end.
//!
//! Source: ovs-ofctl(8), "add-flows"; OVS `lib/dynamic-string.c`, `ds_get_preprocessed_line`.

use std::fs::File;
use std::io::{BufRead, Read, Seek};
use std::path::Path;

use crate::error::Error;

/// Longest line, joined lines included.
const MAX_LINE: usize = 1 << 20;

/// Reads lines and knows their numbers.
pub struct FlowFile {
    name: String,
    reader: Box<dyn BufRead>,
    line: usize,
}

impl FlowFile {
    /// Opens a file, or standard input for `-`.
    pub fn open(name: &str) -> Result<FlowFile, Error> {
        let reader: Box<dyn Read> = if name == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(open_file(name)?)
        };
        Ok(FlowFile::over(name, reader))
    }

    fn over(name: &str, reader: impl Read + 'static) -> FlowFile {
        FlowFile {
            name: name.to_owned(),
            reader: Box::new(std::io::BufReader::with_capacity(1 << 16, reader)),
            line: 0,
        }
    }

    /// As [`FlowFile::open`], but standard input is read to its end first: whoever waits for the
    /// lines does not wait for whoever writes them.
    pub fn open_whole(name: &str) -> Result<FlowFile, Error> {
        match name {
            "-" => Ok(FlowFile::over(name, copy(name)?)),
            _ => FlowFile::open(name),
        }
    }

    /// As [`FlowFile::open`], with the number of lines that say something; what is no plain file is
    /// read to its end first.
    pub fn open_counted(name: &str) -> Result<(FlowFile, usize), Error> {
        let failed = |source| Error::ReadFile {
            file: name.to_owned(),
            source,
        };
        let is_plain = name != "-" && Path::new(name).is_file();
        let mut whole = if is_plain {
            open_file(name)?
        } else {
            copy(name)?
        };
        let mut counted = FlowFile::over(name, whole.try_clone().map_err(failed)?);
        let mut lines = 0;
        while counted.next_line()?.is_some() {
            lines += 1;
        }
        // Both share one place in the file.
        whole.rewind().map_err(failed)?;
        Ok((FlowFile::over(name, whole), lines))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next line that says something, with its number; the last one of joined lines counts.
    pub fn next_line(&mut self) -> Result<Option<(usize, String)>, Error> {
        let mut joined = String::new();
        loop {
            let Some(line) = self.read_line()? else {
                return Ok((!joined.trim().is_empty()).then_some((self.line, joined)));
            };
            let text = match line.find('#') {
                Some(comment) => line.get(..comment).unwrap_or(""),
                None => line.trim_end_matches(['\r', '\n']),
            };
            match text.strip_suffix('\\') {
                Some(head) => joined.push_str(head),
                None => {
                    joined.push_str(text);
                    if !joined.trim().is_empty() {
                        return Ok(Some((self.line, joined)));
                    }
                    joined.clear();
                }
            }
            if joined.len() > MAX_LINE {
                return Err(self.too_long());
            }
        }
    }

    fn read_line(&mut self) -> Result<Option<String>, Error> {
        let mut bytes = Vec::new();
        let limit = MAX_LINE as u64 + 1;
        let n = self
            .reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut bytes)
            .map_err(|source| Error::ReadFile {
                file: self.name.clone(),
                source,
            })?;
        if n == 0 {
            return Ok(None);
        }
        self.line += 1;
        if n > MAX_LINE {
            return Err(self.too_long());
        }
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| Error::NotText {
                file: self.name.clone(),
                line: self.line,
            })
    }

    fn too_long(&self) -> Error {
        Error::LineTooLong {
            file: self.name.clone(),
            max: MAX_LINE,
        }
    }
}

fn open_file(name: &str) -> Result<File, Error> {
    File::open(name).map_err(|source| Error::OpenFile {
        file: name.to_owned(),
        source,
    })
}

/// All that is in the file or standard input, in a file that is gone when it is closed.
fn copy(name: &str) -> Result<File, Error> {
    let mut whole = tempfile::tempfile().map_err(Error::Spool)?;
    std::io::copy(&mut FlowFile::open(name)?.reader, &mut whole).map_err(|source| {
        Error::ReadFile {
            file: name.to_owned(),
            source,
        }
    })?;
    whole.rewind().map_err(Error::Spool)?;
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_joined_lines() {
        let text =
            "# all comment\n\nin_port=1,actions=2 # why\n   \\\n tcp \\\n,actions=drop\nlast";
        let mut file = FlowFile {
            name: "-".to_owned(),
            reader: Box::new(text.as_bytes()),
            line: 0,
        };
        let mut lines = Vec::new();
        while let Some((n, line)) = file.next_line().unwrap() {
            lines.push((n, line.trim().to_owned()));
        }
        assert_eq!(
            lines,
            [
                (3, "in_port=1,actions=2".to_owned()),
                (6, "tcp ,actions=drop".to_owned()),
                (7, "last".to_owned()),
            ]
        );
    }
}
