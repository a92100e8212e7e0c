//! OpenFlow versions and sets of them.

use std::fmt;

/// A protocol version; the numbers are those in the message header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Version {
    /// OpenFlow 1.0 with the Nicira extensions.
    Of10 = 1,
    Of11 = 2,
    Of12 = 3,
    Of13 = 4,
    Of14 = 5,
    Of15 = 6,
}

impl Version {
    pub const ALL: &[Version] = &[
        Version::Of10,
        Version::Of11,
        Version::Of12,
        Version::Of13,
        Version::Of14,
        Version::Of15,
    ];

    /// The number in the message header.
    pub const fn wire(self) -> u8 {
        self as u8
    }

    pub fn from_wire(n: u8) -> Option<Version> {
        Version::ALL.iter().copied().find(|v| v.wire() == n)
    }

    /// The name in `Bridge.protocols` and in `ovs-ofctl -O`.
    pub const fn name(self) -> &'static str {
        match self {
            Version::Of10 => "OpenFlow10",
            Version::Of11 => "OpenFlow11",
            Version::Of12 => "OpenFlow12",
            Version::Of13 => "OpenFlow13",
            Version::Of14 => "OpenFlow14",
            Version::Of15 => "OpenFlow15",
        }
    }

    pub fn from_name(name: &str) -> Option<Version> {
        Version::ALL.iter().copied().find(|v| v.name() == name)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of versions by wire number, as a hello's bitmap holds it: bit `n` is version `n`. It
/// can name versions that do not exist here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct VersionBitmap(pub u32);

impl VersionBitmap {
    /// All that the codec speaks.
    pub fn supported() -> VersionBitmap {
        Version::ALL.iter().copied().collect()
    }

    /// Every version up to `wire`, which a hello without a bitmap means.
    pub fn up_to(wire: u8) -> VersionBitmap {
        let all = match 1u32.checked_shl(u32::from(wire) + 1) {
            Some(bit) => bit - 1,
            None => u32::MAX,
        };
        VersionBitmap(all & !1)
    }

    pub fn contains(self, version: Version) -> bool {
        self.0 & (1 << version.wire()) != 0
    }

    pub fn intersect(self, other: VersionBitmap) -> VersionBitmap {
        VersionBitmap(self.0 & other.0)
    }

    /// The highest version in the set that the codec speaks.
    pub fn highest(self) -> Option<Version> {
        Version::ALL
            .iter()
            .copied()
            .rev()
            .find(|v| self.contains(*v))
    }

    /// The highest wire number in the set, spoken or not; 0 when it is empty.
    pub fn highest_wire(self) -> u8 {
        self.0.checked_ilog2().map_or(0, |n| n as u8)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Version> for VersionBitmap {
    fn from_iter<I: IntoIterator<Item = Version>>(iter: I) -> VersionBitmap {
        VersionBitmap(iter.into_iter().fold(0, |set, v| set | 1 << v.wire()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps() {
        assert_eq!(VersionBitmap::up_to(4).0, 0b11110);
        assert_eq!(VersionBitmap::up_to(255).0, !1);
        assert_eq!(VersionBitmap::up_to(5).highest(), Some(Version::Of14));
        assert_eq!(VersionBitmap::up_to(9).highest(), Some(Version::Of15));
        assert_eq!(VersionBitmap(1 << 7).highest(), None);
        assert_eq!(VersionBitmap(1 << 7).highest_wire(), 7);
        assert_eq!(VersionBitmap::supported().0, 0b111_1110);
    }
}
