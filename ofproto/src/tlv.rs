//! A bridge's table of Geneve options, which gives the fields `tun_metadata0` to `63` their
//! meaning.
//!
//! Source: ovs-fields(7), "tun_metadata0"; ovs-ofctl(8), "add-tlv-map"; the errors are those of
//! ovs-vswitchd 3.1.

use openflow::OfError;
use openflow::message::{TlvCommand, TlvMap, TlvTable, TlvTableMod};

/// Bytes that all mapped options may have together.
const MAX_SPACE: u32 = 256;

/// The options that a bridge knows, in the order of their fields.
#[derive(Clone, Debug, Default)]
pub struct TlvMaps {
    maps: Vec<TlvMap>,
}

impl TlvMaps {
    /// Carries out a change; after an error nothing has changed.
    ///
    /// Errors: `NXTTMFC_DUP_ENTRY`, `NXTTMFC_ALREADY_MAPPED`, `NXTTMFC_TABLE_FULL`.
    pub fn change(&mut self, request: &TlvTableMod) -> Result<(), OfError> {
        match request.command {
            TlvCommand::Add => self.add(&request.maps),
            TlvCommand::Delete => {
                let named = |m: &TlvMap| request.maps.iter().any(|r| same_option(m, r));
                self.maps.retain(|m| !named(m));
                Ok(())
            }
            TlvCommand::Clear => {
                self.maps.clear();
                Ok(())
            }
        }
    }

    fn add(&mut self, new: &[TlvMap]) -> Result<(), OfError> {
        let mut maps = self.maps.clone();
        for map in new {
            let taken = |m: &TlvMap| same_option(m, map) || m.index == map.index;
            if self.maps.iter().any(taken) {
                return Err(OfError::NxttmfcAlreadyMapped);
            }
            if maps.iter().any(taken) {
                return Err(OfError::NxttmfcDupEntry);
            }
            maps.push(*map);
        }
        if maps.iter().map(|m| u32::from(m.len)).sum::<u32>() > MAX_SPACE {
            return Err(OfError::NxttmfcTableFull);
        }
        maps.sort_by_key(|m| m.index);
        self.maps = maps;
        Ok(())
    }

    /// The table as a controller is told it.
    pub fn describe(&self) -> TlvTable {
        TlvTable {
            max_space: MAX_SPACE,
            max_fields: TlvMap::FIELDS,
            maps: self.maps.clone(),
        }
    }

    /// The mapped options.
    pub fn maps(&self) -> &[TlvMap] {
        &self.maps
    }
}

fn same_option(a: &TlvMap, b: &TlvMap) -> bool {
    (a.class, a.kind) == (b.class, b.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(kind: u8, len: u8, index: u16) -> TlvMap {
        TlvMap {
            class: 0xffff,
            kind,
            len,
            index,
        }
    }

    fn change(maps: &mut TlvMaps, command: TlvCommand, entries: &[TlvMap]) -> Result<(), OfError> {
        maps.change(&TlvTableMod {
            command,
            maps: entries.to_vec(),
        })
    }

    #[test]
    fn changes() {
        use TlvCommand::*;
        let mut t = TlvMaps::default();
        change(&mut t, Add, &[map(1, 4, 1), map(0, 8, 0)]).unwrap();
        assert_eq!(t.maps(), [map(0, 8, 0), map(1, 4, 1)]);
        let already = Err(OfError::NxttmfcAlreadyMapped);
        assert_eq!(change(&mut t, Add, &[map(2, 4, 2), map(1, 4, 3)]), already);
        assert_eq!(change(&mut t, Add, &[map(3, 4, 0)]), already);
        let twice = [map(5, 4, 5), map(5, 4, 6)];
        assert_eq!(change(&mut t, Add, &twice), Err(OfError::NxttmfcDupEntry));
        let long = [map(6, 124, 6), map(7, 124, 7)];
        assert_eq!(change(&mut t, Add, &long), Err(OfError::NxttmfcTableFull));
        assert_eq!(t.maps().len(), 2);
        // What is not there is deleted all the same.
        change(&mut t, Delete, &[map(0, 8, 0), map(9, 4, 9)]).unwrap();
        assert_eq!(t.maps(), [map(1, 4, 1)]);
        change(&mut t, Clear, &[]).unwrap();
        assert_eq!(t.describe().maps, []);
    }
}
