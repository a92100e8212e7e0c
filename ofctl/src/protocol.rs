//! Which OpenFlow versions and flow formats the user allows (`-O` and `-F`).
//!
//! A flow format is a way to write flows: OpenFlow 1.0 has four, with or without Nicira's match
//! and with or without the table number; each later version has one.
//! Source: ovs-ofctl(8), options `-O` and `-F`.

use openflow::codec::{Dialect, encode};
use openflow::message::{FlowFormat, FlowMod, Message};
use openflow::{Version, VersionBitmap};

use crate::error::Error;

/// The formats, as bits in the order of [`NAMES`].
const OF10: u16 = 1 << 0;
const OF10_TABLE: u16 = 1 << 1;
const NXM: u16 = 1 << 2;
const NXM_TABLE: u16 = 1 << 3;
const OF11: u16 = 1 << 4;
const OXM12: u16 = 1 << 5;
const OXM13: u16 = 1 << 6;
const OXM14: u16 = 1 << 7;
const OXM15: u16 = 1 << 8;
const OXM: u16 = OXM12 | OXM13 | OXM14 | OXM15;
const ALL: u16 = OF10 | OF10_TABLE | NXM | NXM_TABLE | OF11 | OXM;

const NAMES: [(u16, &str); 9] = [
    (OF10, "OpenFlow10-table_id"),
    (OF10_TABLE, "OpenFlow10+table_id"),
    (NXM, "NXM-table_id"),
    (NXM_TABLE, "NXM+table_id"),
    (OF11, "OpenFlow11"),
    (OXM12, "OXM-OpenFlow12"),
    (OXM13, "OXM-OpenFlow13"),
    (OXM14, "OXM-OpenFlow14"),
    (OXM15, "OXM-OpenFlow15"),
];

/// Names for several formats at once.
const GROUPS: [(u16, &str); 4] = [
    (ALL, "any"),
    (OF10 | OF10_TABLE, "OpenFlow10"),
    (NXM | NXM_TABLE, "NXM"),
    (OXM, "OXM"),
];

/// Type of a message of Nicira's extension.
const OFPT_VENDOR: u8 = 4;

/// A set of flow formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Formats(u16);

impl Formats {
    pub const ANY: Formats = Formats(ALL);

    /// Parses a list of names separated by commas; case does not matter.
    pub fn parse(text: &str) -> Result<Formats, Error> {
        let mut set = 0;
        for name in text.split(',').filter(|n| !n.is_empty()) {
            let is = |n: &&(u16, &str)| n.1.eq_ignore_ascii_case(name);
            match NAMES.iter().find(is).or_else(|| GROUPS.iter().find(is)) {
                Some((bits, _)) => set |= bits,
                None => return Err(Error::UnknownFlowFormat(name.to_owned())),
            }
        }
        if set == 0 {
            return Err(Error::NoFlowFormat(text.to_owned()));
        }
        Ok(Formats(set))
    }

    /// Those that a connection of `version` can use.
    pub fn of(self, version: Version) -> Formats {
        Formats(self.0 & formats_of(version))
    }

    /// Those that a connection of any of `versions` can use.
    pub fn of_any(self, versions: VersionBitmap) -> Formats {
        let known = Version::ALL.iter().filter(|v| versions.contains(**v));
        let bits = known.fold(0, |bits, v| bits | formats_of(*v));
        Formats(self.0 & bits)
    }

    /// The version that the simplest one is of.
    pub fn first_version(self) -> Option<Version> {
        let lowest = self.0 & self.0.wrapping_neg();
        Version::ALL
            .iter()
            .copied()
            .find(|v| formats_of(*v) & lowest != 0)
    }

    /// Those that are in both sets.
    pub fn intersect(self, other: Formats) -> Formats {
        Formats(self.0 & other.0)
    }

    /// The name of the simplest one.
    pub fn first(self) -> Option<&'static str> {
        let found = NAMES.iter().find(|(bit, _)| self.0 & bit != 0);
        found.map(|(_, name)| *name)
    }

    /// How OpenFlow 1.0 writes flows in the simplest of these.
    pub fn flow_format(self) -> FlowFormat {
        match self.has_nxm() && !self.has_openflow10() {
            true => FlowFormat::Nxm,
            false => FlowFormat::OpenFlow10,
        }
    }

    /// Does the simplest one have the table in OpenFlow 1.0?
    pub fn names_tables(self) -> bool {
        let lowest = self.0 & self.0.wrapping_neg();
        lowest & (OF10_TABLE | NXM_TABLE) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// May flows be written with Nicira's match?
    pub fn has_nxm(self) -> bool {
        self.0 & (NXM | NXM_TABLE) != 0
    }

    /// May flows be written with the match of OpenFlow 1.0?
    pub fn has_openflow10(self) -> bool {
        self.0 & (OF10 | OF10_TABLE) != 0
    }

    /// May flows name their table in OpenFlow 1.0, with the match that `nxm` says?
    pub fn has_table(self, nxm: bool) -> bool {
        self.0 & if nxm { NXM_TABLE } else { OF10_TABLE } != 0
    }
}

impl std::fmt::Display for Formats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0 == ALL {
            return f.write_str("any");
        }
        let mut rest = self.0;
        let mut words = Vec::new();
        for (bits, name) in GROUPS.iter().skip(1) {
            if rest & bits == *bits {
                words.push(*name);
                rest &= !bits;
            }
        }
        words.extend(
            NAMES
                .iter()
                .filter(|(bit, _)| rest & bit != 0)
                .map(|(_, name)| *name),
        );
        f.write_str(&words.join(","))
    }
}

fn formats_of(version: Version) -> u16 {
    match version {
        Version::Of10 => OF10 | OF10_TABLE | NXM | NXM_TABLE,
        Version::Of11 => OF11,
        Version::Of12 => OXM12,
        Version::Of13 => OXM13,
        Version::Of14 => OXM14,
        Version::Of15 => OXM15,
    }
}

/// The formats of 1.0 in which a flow can be said that needs `nxm` or not, and the later ones.
pub fn usable(nxm: bool, table: bool) -> Formats {
    let mut set = OXM;
    set |= if table { NXM_TABLE } else { NXM | NXM_TABLE };
    if !nxm {
        set |= OF11;
        set |= if table { OF10_TABLE } else { OF10 | OF10_TABLE };
    }
    Formats(set)
}

/// The formats in which a flow can be sent: those in which it can be written.
pub fn usable_for(fm: &FlowMod) -> Formats {
    let with_table = fm.table_id.is_some();
    let mut set = 0;
    for version in Version::ALL {
        // Before 1.2 additions reset the counters always, others never.
        if fm.flags.reset_counts && *version < Version::Of12 {
            continue;
        }
        let dialect = Dialect {
            flow_mod_table_id: with_table,
            ..Dialect::from(*version)
        };
        let Ok(bytes) = encode(&Message::FlowMod(fm.clone()), dialect, 0) else {
            continue;
        };
        let nxm = bytes.get(1) == Some(&OFPT_VENDOR);
        set |= usable(nxm, with_table).of(*version).0;
    }
    Formats(set)
}

/// Parses the list of versions after `-O`.
pub fn versions(text: &str) -> Result<VersionBitmap, Error> {
    let mut versions = Vec::new();
    for name in text.split([',', ' ']).filter(|n| !n.is_empty()) {
        match Version::ALL
            .iter()
            .find(|v| v.name().eq_ignore_ascii_case(name))
        {
            Some(version) => versions.push(*version),
            None => return Err(Error::UnknownVersion(name.to_owned())),
        }
    }
    Ok(versions.into_iter().collect())
}

/// The names of `versions`.
pub fn version_names(versions: VersionBitmap) -> String {
    let names: Vec<&str> = Version::ALL
        .iter()
        .filter(|v| versions.contains(**v))
        .map(|v| v.name())
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (text, want) in [
            ("any", "any"),
            ("nxm", "NXM"),
            ("openflow10", "OpenFlow10"),
            ("NXM-table_id,oxm", "OXM,NXM-table_id"),
            ("oxm-openflow13,openflow11", "OpenFlow11,OXM-OpenFlow13"),
            ("OpenFlow10,NXM", "OpenFlow10,NXM"),
        ] {
            assert_eq!(Formats::parse(text).unwrap().to_string(), want);
        }
        assert_eq!(
            Formats::parse("foo").unwrap_err().to_string(),
            "foo: unknown flow protocol"
        );
        assert_eq!(
            Formats::parse(",").unwrap_err().to_string(),
            ",: no flow protocol specified"
        );
        let of = |versions: &[Version]| Formats::ANY.of_any(versions.iter().copied().collect());
        assert_eq!(
            of(&[Version::Of11, Version::Of15]).to_string(),
            "OpenFlow11,OXM-OpenFlow15"
        );
        assert_eq!(of(&[Version::Of12]).first_version(), Some(Version::Of12));
        assert_eq!(Formats::ANY.of(Version::Of10).to_string(), "OpenFlow10,NXM");
    }

    #[test]
    fn versions_by_name() {
        let both = versions("OpenFlow10,openflow13").unwrap();
        assert_eq!(version_names(both), "OpenFlow10, OpenFlow13");
        let all = "OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15";
        assert_eq!(versions(all).unwrap(), VersionBitmap::supported());
        assert!(matches!(
            versions("OpenFlow99"),
            Err(Error::UnknownVersion(_))
        ));
    }
}
