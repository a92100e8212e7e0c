//! Reading and writing of big-endian bytes, and numbers that all message families share.

/// Experimenter id of the Nicira extensions.
pub const NICIRA: u32 = 0x0000_2320;
/// Experimenter id of the Open Networking Foundation.
pub const ONF: u32 = 0x4f4e_4600;
