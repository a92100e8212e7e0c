//! Which OpenFlow versions and flow formats the user allows (`-O` and `-F`).
//!
//! A flow format is a way to write flows: OpenFlow 1.0 has four, with or without Nicira's match
//! and with or without the table number; OpenFlow 1.3 has one.
//! Source: ovs-ofctl(8), options `-O` and `-F`.

use openflow::{Version, VersionBitmap};

use crate::error::Error;

/// Versions that ovs-ofctl knows and this program does not speak.
const OTHER_VERSIONS: [&str; 4] = ["OpenFlow11", "OpenFlow12", "OpenFlow14", "OpenFlow15"];

/// The formats, as bits in the order of [`NAMES`].
const OF10: u8 = 1 << 0;
const OF10_TABLE: u8 = 1 << 1;
const NXM: u8 = 1 << 2;
const NXM_TABLE: u8 = 1 << 3;
const OXM13: u8 = 1 << 4;
const ALL: u8 = OF10 | OF10_TABLE | NXM | NXM_TABLE | OXM13;

const NAMES: [(u8, &str); 5] = [
    (OF10, "OpenFlow10-table_id"),
    (OF10_TABLE, "OpenFlow10+table_id"),
    (NXM, "NXM-table_id"),
    (NXM_TABLE, "NXM+table_id"),
    (OXM13, "OXM-OpenFlow13"),
];

/// Names for several formats at once.
const GROUPS: [(u8, &str); 4] = [
    (ALL, "any"),
    (OF10 | OF10_TABLE, "OpenFlow10"),
    (NXM | NXM_TABLE, "NXM"),
    (OXM13, "OXM"),
];

const OTHER_FORMATS: [&str; 4] = [
    "OpenFlow11",
    "OXM-OpenFlow12",
    "OXM-OpenFlow14",
    "OXM-OpenFlow15",
];

/// A set of flow formats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Formats(u8);

impl Formats {
    pub const ANY: Formats = Formats(ALL);

    /// Parses a list of names separated by commas; case does not matter.
    pub fn parse(text: &str) -> Result<Formats, Error> {
        let mut set = 0;
        for name in text.split(',').filter(|n| !n.is_empty()) {
            let is = |n: &&(u8, &str)| n.1.eq_ignore_ascii_case(name);
            match NAMES.iter().find(is).or_else(|| GROUPS.iter().find(is)) {
                Some((bits, _)) => set |= bits,
                None if OTHER_FORMATS.iter().any(|o| o.eq_ignore_ascii_case(name)) => {
                    return Err(Error::OptionNotSupported(format!("--flow-format={name}")));
                }
                None => return Err(Error::UnknownFlowFormat(name.to_owned())),
            }
        }
        Ok(Formats(set))
    }

    /// Those that a connection of `version` can use.
    pub fn of(self, version: Version) -> Formats {
        match version {
            Version::Of10 => Formats(self.0 & !OXM13),
            _ => Formats(self.0 & OXM13),
        }
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
        for (bits, name) in GROUPS.iter().skip(1).filter(|(bits, _)| *bits != OXM13) {
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

/// The formats in which a flow can be said that needs `nxm` on OpenFlow 1.0 or not.
pub fn usable(nxm: bool, table: bool) -> Formats {
    let mut set = OXM13;
    set |= if table { NXM_TABLE } else { NXM | NXM_TABLE };
    if !nxm {
        set |= if table { OF10_TABLE } else { OF10 | OF10_TABLE };
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
            None if OTHER_VERSIONS.iter().any(|o| o.eq_ignore_ascii_case(name)) => {
                return Err(Error::VersionNotSupported(name.to_owned()));
            }
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
            ("NXM-table_id,oxm", "NXM-table_id,OXM-OpenFlow13"),
            ("OpenFlow10,NXM", "OpenFlow10,NXM"),
        ] {
            assert_eq!(Formats::parse(text).unwrap().to_string(), want);
        }
        assert_eq!(
            Formats::parse("foo").unwrap_err().to_string(),
            "foo: unknown flow protocol"
        );
        assert!(Formats::parse("OpenFlow11").is_err());
        assert_eq!(Formats::ANY.of(Version::Of10).to_string(), "OpenFlow10,NXM");
    }

    #[test]
    fn versions_by_name() {
        let both = versions("OpenFlow10,openflow13").unwrap();
        assert_eq!(version_names(both), "OpenFlow10, OpenFlow13");
        assert!(matches!(
            versions("OpenFlow14"),
            Err(Error::VersionNotSupported(_))
        ));
        assert!(matches!(
            versions("OpenFlow99"),
            Err(Error::UnknownVersion(_))
        ));
    }
}
