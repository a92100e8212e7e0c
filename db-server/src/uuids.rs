//! Random UUIDs, with one system call for many.

use std::fs::File;
use std::io::{self, Read};

use ovsdb::Uuid;

/// How many UUIDs one read of the kernel's random numbers makes.
const PER_READ: usize = 256;

/// Gives version 4 UUIDs (RFC 9562, 5.4).
#[derive(Debug)]
pub struct Uuids {
    source: File,
    bytes: Vec<u8>,
}

impl Uuids {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            source: File::open("/dev/urandom")?,
            bytes: Vec::new(),
        })
    }

    pub fn next_uuid(&mut self) -> Uuid {
        if self.bytes.is_empty() {
            self.bytes.resize(PER_READ * 16, 0);
            if self.source.read_exact(&mut self.bytes).is_err() {
                // /dev/urandom does not fail; should it, ask the kernel in the other way.
                self.bytes.clear();
                return Uuid::new_v4();
            }
        }
        let at = self.bytes.len().saturating_sub(16);
        let mut uuid = [0u8; 16];
        for (to, from) in uuid.iter_mut().zip(self.bytes.drain(at..)) {
            *to = from;
        }
        uuid::Builder::from_random_bytes(uuid).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_random_version_4() {
        let mut uuids = Uuids::new().unwrap();
        let many: std::collections::BTreeSet<Uuid> =
            (0..PER_READ * 3).map(|_| uuids.next_uuid()).collect();
        assert_eq!(many.len(), PER_READ * 3);
        assert!(many.iter().all(|uuid| uuid.get_version_num() == 4));
    }
}
