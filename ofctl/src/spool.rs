//! Flow-mods on their way from a file to the switch.
//!
//! All lines of a file are checked before the first flow is sent, and a file may have hundreds of
//! thousands of them, or come through a pipe. So flows are encoded as they are read and wait in a
//! temporary file, which is memory while it is small; nothing else is kept of a line but its
//! number, and of lines that follow each other only the first one's.

use std::io::{self, Read, Seek, Write};

use openflow::Version;
use openflow::codec::{Dialect, Header, decode, encode};
use openflow::message::{FlowMod, Message};
use tempfile::SpooledTempFile;

use crate::error::Error;

/// Bytes of messages that are kept in memory.
const IN_MEMORY: usize = 1 << 20;
/// Bytes of messages that are written at once.
const WRITE_CHUNK: usize = 1 << 16;
/// Type of a message of Nicira's extension.
const OFPT_VENDOR: u8 = 4;
const HEADER_LEN: usize = 8;
/// Transaction id of the first flow; the others of a connection count from 1.
const FIRST_XID: u32 = 1 << 31;

/// Encoded flow-mods, and in bundles other messages, with transaction ids in a row.
pub struct Spool {
    /// How the messages are encoded.
    dialect: Dialect,
    messages: SpooledTempFile,
    /// What is still to be written to `messages`.
    pending: Vec<u8>,
    lines: Lines,
    /// Some message is of Nicira's extension.
    pub has_nxm: bool,
    /// Some flow names its table.
    pub has_table: bool,
}

/// The lines that flows are from.
#[derive(Clone, Default)]
pub struct Lines {
    /// Number of a flow and its line, where the line does not follow that of the flow before.
    runs: Vec<(usize, usize)>,
    flows: usize,
}

impl Lines {
    fn push(&mut self, line: usize) {
        let follows = |(n, first): &(usize, usize)| first + (self.flows - n) == line;
        if !self.runs.last().is_some_and(follows) {
            self.runs.push((self.flows, line));
        }
        self.flows += 1;
    }

    /// The line of the flow with this transaction id.
    pub fn of(&self, xid: u32) -> Option<usize> {
        let n = xid.wrapping_sub(FIRST_XID) as usize;
        if n >= self.flows {
            return None;
        }
        let run = self.runs.partition_point(|(first, _)| *first <= n);
        let (first, line) = self.runs.get(run.checked_sub(1)?)?;
        // Each flow without a line is a run by itself.
        Some(line + (n - first)).filter(|_| *line != 0)
    }
}

impl Spool {
    /// An empty spool for a connection of `dialect`.
    pub fn new(dialect: Dialect) -> Spool {
        Spool {
            dialect: Dialect {
                flow_mod_table_id: false,
                ..dialect
            },
            messages: tempfile::spooled_tempfile(IN_MEMORY),
            pending: Vec::new(),
            lines: Lines::default(),
            has_nxm: false,
            has_table: false,
        }
    }

    /// Number of flows.
    pub fn len(&self) -> usize {
        self.lines.flows
    }

    /// Adds the flow of a line; 0 is none. Returns it as it is encoded.
    pub fn push(&mut self, line: usize, flow: FlowMod, file: &str) -> Result<Vec<u8>, Error> {
        if flow.table_id.is_some() && !self.has_table {
            self.has_table = true;
            // In 1.0 it shows in every flow-mod whether tables are named.
            if self.dialect.version == Version::Of10 {
                self.dialect.flow_mod_table_id = true;
                self.encode_again().map_err(Error::Spool)?;
            }
        }
        self.push_message(line, &Message::FlowMod(flow), file)
    }

    /// Adds a message of any kind.
    pub fn push_message(
        &mut self,
        line: usize,
        message: &Message,
        file: &str,
    ) -> Result<Vec<u8>, Error> {
        let xid = FIRST_XID.wrapping_add(self.len() as u32);
        let bytes = encode(message, self.dialect, xid).map_err(|source| match line {
            0 => Error::Encode(source),
            line => Error::EncodeLine {
                file: file.to_owned(),
                line,
                source,
            },
        })?;
        self.has_nxm |= is_nxm(self.dialect.version, &bytes);
        self.write(&bytes).map_err(Error::Spool)?;
        self.lines.push(line);
        Ok(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= WRITE_CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.messages.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Encodes all messages anew, as `dialect` has become.
    fn encode_again(&mut self) -> io::Result<()> {
        let old = Dialect {
            flow_mod_table_id: false,
            ..self.dialect
        };
        self.flush()?;
        let mut from = std::mem::replace(&mut self.messages, tempfile::spooled_tempfile(IN_MEMORY));
        let mut from = Messages::new(&mut from, self.len())?;
        while let Some(bytes) = from.next()? {
            let decoded = decode(&bytes, &old).map_err(io::Error::other)?;
            let xid = decoded.header.xid;
            let bytes = encode(&decoded.message, self.dialect, xid).map_err(io::Error::other)?;
            self.write(&bytes)?;
        }
        Ok(())
    }

    /// The messages one by one, from the first on.
    pub fn messages(&mut self) -> Result<Messages<'_>, Error> {
        self.flush()
            .and_then(|()| Messages::new(&mut self.messages, self.lines.flows))
            .map_err(Error::Spool)
    }

    /// The lines of the flows so far.
    pub fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// All messages, from the first on.
    pub fn reader(&mut self) -> Result<&mut impl Read, Error> {
        self.flush()
            .and_then(|()| self.messages.rewind())
            .map_err(Error::Spool)?;
        Ok(&mut self.messages)
    }
}

/// Messages that wait in a spool, one by one.
pub struct Messages<'a> {
    from: io::BufReader<&'a mut SpooledTempFile>,
    left: usize,
}

impl Messages<'_> {
    fn new(from: &mut SpooledTempFile, left: usize) -> io::Result<Messages<'_>> {
        from.rewind()?;
        let from = io::BufReader::with_capacity(WRITE_CHUNK, from);
        Ok(Messages { from, left })
    }

    pub fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let mut bytes = vec![0; HEADER_LEN];
        self.from.read_exact(&mut bytes)?;
        let header = Header::decode(&bytes).map_err(io::Error::other)?;
        bytes.resize(usize::from(header.len).max(HEADER_LEN), 0);
        let body = bytes.get_mut(HEADER_LEN..).unwrap_or_default();
        self.from.read_exact(body)?;
        Ok(Some(bytes))
    }
}

/// Is it a message of Nicira's extension to OpenFlow 1.0?
pub fn is_nxm(version: Version, bytes: &[u8]) -> bool {
    version == Version::Of10 && bytes.get(1) == Some(&OFPT_VENDOR)
}

#[cfg(test)]
mod tests {
    use openflow::message::FlowModCommand;
    use openflow::text::{Names, flow};

    use super::*;

    fn parse(text: &str, command: FlowModCommand) -> FlowMod {
        flow::parse_flow_mod(text, command, &Names::none())
            .unwrap()
            .value
    }

    #[test]
    fn lines_by_transaction_id() {
        let mut spool = Spool::new(Dialect::from(Version::Of13));
        let lines = [3, 4, 5, 9, 10, 12, 0, 0];
        for line in lines {
            let flow = parse("in_port=1,actions=2", FlowModCommand::Add);
            spool.push(line, flow, "file").unwrap();
        }
        for (n, line) in lines.into_iter().enumerate() {
            let known = (line != 0).then_some(line);
            assert_eq!(spool.lines.of(FIRST_XID + n as u32), known, "{n}");
        }
        assert_eq!(spool.lines.of(FIRST_XID - 1), None);
        assert_eq!(spool.lines.of(FIRST_XID + 8), None);
    }

    /// A deletion in all tables is that also when a later flow names its table.
    #[test]
    fn tables_named_late() {
        let mut spool = Spool::new(Dialect::from(Version::Of10));
        let flows = [
            parse("in_port=1", FlowModCommand::Delete),
            parse("table=3,in_port=1,actions=2", FlowModCommand::Add),
        ];
        for (n, flow) in flows.iter().enumerate() {
            spool.push(n + 1, flow.clone(), "file").unwrap();
        }
        let dialect = Dialect {
            flow_mod_table_id: true,
            ..Dialect::from(Version::Of10)
        };
        let wanted: Vec<u8> = (FIRST_XID..)
            .zip(flows)
            .flat_map(|(xid, flow)| encode(&Message::FlowMod(flow), dialect, xid).unwrap())
            .collect();
        let mut bytes = Vec::new();
        spool.reader().unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, wanted);
    }

    #[test]
    fn more_than_memory_should_hold() {
        let mut spool = Spool::new(Dialect::from(Version::Of13));
        let flow = parse("in_port=1,actions=2", FlowModCommand::Add);
        let mut len = 0;
        while len <= 2 * IN_MEMORY {
            spool.push(spool.len() + 1, flow.clone(), "file").unwrap();
            len += 88;
        }
        assert!(spool.messages.is_rolled());
        assert_eq!(spool.lines.runs.len(), 1);
        let mut bytes = Vec::new();
        spool.reader().unwrap().read_to_end(&mut bytes).unwrap();
        assert!(bytes.len() > IN_MEMORY);
    }
}
