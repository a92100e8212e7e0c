//! Cuts a byte stream into top-level JSON objects, which follow each other without separators.
//!
//! Each byte is looked at once, whatever the sizes of the reads are.

use thiserror::Error;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    #[error("message does not start with '{{' at byte {at}")]
    NotAnObject { at: usize },
    #[error("message is longer than {limit} bytes")]
    TooLong { limit: usize },
}

/// Collects bytes until they make a whole object.
#[derive(Debug)]
pub(super) struct Framing {
    buffer: Vec<u8>,
    /// How many bytes of `buffer` have been looked at.
    scanned: usize,
    depth: u32,
    in_string: bool,
    escaped: bool,
    limit: usize,
}

impl Framing {
    pub fn new(limit: usize) -> Framing {
        Framing {
            buffer: Vec::new(),
            scanned: 0,
            depth: 0,
            in_string: false,
            escaped: false,
            limit,
        }
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole object's bytes, if they are all there.
    pub fn next_object(&mut self) -> Result<Option<Vec<u8>>, Error> {
        while let Some(byte) = self.buffer.get(self.scanned).copied() {
            self.scanned = self.scanned.saturating_add(1);
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' if self.depth > 0 => self.in_string = true,
                    b'{' => self.depth = self.depth.saturating_add(1),
                    b'}' if self.depth == 1 => {
                        self.depth = 0;
                        let rest = self.buffer.split_off(self.scanned);
                        self.scanned = 0;
                        return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
                    }
                    b'}' if self.depth > 1 => self.depth = self.depth.saturating_sub(1),
                    b' ' | b'\t' | b'\r' | b'\n' => {}
                    _ if self.depth == 0 => {
                        return Err(Error::NotAnObject {
                            at: self.scanned.saturating_sub(1),
                        });
                    }
                    _ => {}
                }
            }
            if self.scanned > self.limit {
                return Err(Error::TooLong { limit: self.limit });
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_objects() {
        let stream = br#" {"a":"}\"{"}{"b":[{},{"c":{}}]}
{"d":"\\"} "#;
        for step in 1..stream.len() {
            let mut framing = Framing::new(1000);
            let mut objects = Vec::new();
            for chunk in stream.chunks(step) {
                framing.extend(chunk);
                while let Some(object) = framing.next_object().unwrap() {
                    objects.push(String::from_utf8(object).unwrap().trim().to_owned());
                }
            }
            assert_eq!(
                objects,
                [r#"{"a":"}\"{"}"#, r#"{"b":[{},{"c":{}}]}"#, r#"{"d":"\\"}"#]
            );
        }
    }

    #[test]
    fn refuses() {
        let mut framing = Framing::new(10);
        framing.extend(b"[]");
        assert_eq!(framing.next_object(), Err(Error::NotAnObject { at: 0 }));
        let mut framing = Framing::new(10);
        framing.extend(b"{\"aaaaaaaaaaaaaaaa");
        assert_eq!(framing.next_object(), Err(Error::TooLong { limit: 10 }));
    }
}
