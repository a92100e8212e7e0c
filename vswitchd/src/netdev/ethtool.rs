//! Speed, duplex and driver of a device, by the ethtool ioctl.
//!
//! Source: Linux `include/uapi/linux/ethtool.h`, `struct ethtool_cmd` (ETHTOOL_GSET) and
//! `struct ethtool_drvinfo` (ETHTOOL_GDRVINFO); SIOCETHTOOL of netdevice(7).

use std::os::fd::AsRawFd;

const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_GSET: u32 = 1;
const ETHTOOL_GDRVINFO: u32 = 3;
const PORT_TP: u8 = 0;
const PORT_FIBRE: u8 = 3;
/// Both halves of `speed` when it is not known.
const SPEED_UNKNOWN: u32 = u32::MAX;

/// What a device says about its link. Speed in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Speed {
    pub bits_per_second: Option<u64>,
    pub full_duplex: Option<bool>,
    /// `ADVERTISED_*` and `SUPPORTED_*` bits, which have the same numbers.
    pub advertised: u32,
    pub supported: u32,
    pub medium: Medium,
    pub autonegotiates: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Medium {
    #[default]
    Other,
    Copper,
    Fiber,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    pub name: String,
    pub version: String,
    pub firmware: String,
}

#[repr(C)]
#[derive(Default)]
struct EthtoolCmd {
    cmd: u32,
    supported: u32,
    advertising: u32,
    speed: u16,
    duplex: u8,
    port: u8,
    phy_address: u8,
    transceiver: u8,
    autoneg: u8,
    mdio_support: u8,
    maxtxpkt: u32,
    maxrxpkt: u32,
    speed_hi: u16,
    eth_tp_mdix: u8,
    eth_tp_mdix_ctrl: u8,
    lp_advertising: u32,
    reserved: [u32; 2],
}

const _: () = assert!(size_of::<EthtoolCmd>() == 44);

#[repr(C)]
struct EthtoolDrvinfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    fw_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved2: [u8; 12],
    n_priv_flags: u32,
    n_stats: u32,
    testinfo_len: u32,
    eedump_len: u32,
    regdump_len: u32,
}

const _: () = assert!(size_of::<EthtoolDrvinfo>() == 196);

/// Asks device `name`; nothing is known about a device that does not answer.
pub fn speed(name: &str) -> Speed {
    let mut request = EthtoolCmd {
        cmd: ETHTOOL_GSET,
        ..EthtoolCmd::default()
    };
    // SAFETY: the kernel reads and writes a `struct ethtool_cmd`, which `request` is.
    if unsafe { ioctl(name, (&raw mut request).cast()) }.is_none() {
        return Speed::default();
    }
    let megabits = (u32::from(request.speed_hi) << 16) | u32::from(request.speed);
    Speed {
        bits_per_second: (megabits != SPEED_UNKNOWN && megabits != 0 && megabits != 0xffff)
            .then(|| u64::from(megabits) * 1_000_000),
        full_duplex: match request.duplex {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        advertised: request.advertising,
        supported: request.supported,
        medium: match request.port {
            PORT_TP => Medium::Copper,
            PORT_FIBRE => Medium::Fiber,
            _ => Medium::Other,
        },
        autonegotiates: request.autoneg != 0,
    }
}

/// Asks device `name` for its driver; all empty when it does not say.
pub fn driver(name: &str) -> Driver {
    let mut request = EthtoolDrvinfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        fw_version: [0; 32],
        bus_info: [0; 32],
        erom_version: [0; 32],
        reserved2: [0; 12],
        n_priv_flags: 0,
        n_stats: 0,
        testinfo_len: 0,
        eedump_len: 0,
        regdump_len: 0,
    };
    // SAFETY: the kernel reads and writes a `struct ethtool_drvinfo`, which `request` is.
    if unsafe { ioctl(name, (&raw mut request).cast()) }.is_none() {
        return Driver::default();
    }
    Driver {
        name: text(&request.driver),
        version: text(&request.version),
        firmware: text(&request.fw_version),
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// # Safety
///
/// `data` points to the structure of its own command, valid for reads and writes.
unsafe fn ioctl(name: &str, data: *mut libc::c_char) -> Option<()> {
    // Any socket does for a device ioctl.
    let socket = std::os::unix::net::UnixDatagram::unbound().ok()?;
    // SAFETY: all fields of `ifreq` are plain integers, arrays and pointers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= libc::IFNAMSIZ {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = data;
    // SAFETY: `request` is an `ifreq` with a terminated name and the caller's structure.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    (result == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there() {
        assert_eq!(speed("nosuchdevice0"), Speed::default());
        assert_eq!(driver("a-name-that-is-too-long"), Driver::default());
    }
}
