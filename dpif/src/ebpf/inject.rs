//! Puts packets back into the datapath: a tap device with a virtio-net header.
//!
//! The packet gets an outermost VLAN tag whose 16 TCI bits are the number of an injection slot; the
//! kernel takes the tag off before the program at the device's ingress runs, which finds in the
//! slot the ingress port, the mark and the action list. Offloads travel in the virtio-net header.
//! The device lives as long as this process.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};

use packet::abi::{ActionBlock, INJECT_SLOTS, InjectSlot};
use packet::action::kind;
use packet::{Action, ActionRecord, DpPort};

use super::pool::Pool;
use super::sys::SharedArray;
use super::{list, netlink, pin};
use crate::{CsumPartial, Error, Gso, GsoKind, Packet};

const IFF_TAP: i16 = 0x2;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;

/// `struct ifreq`, as far as TUNSETIFF reads it.
#[repr(C)]
struct IfReq {
    name: [u8; 16],
    flags: i16,
    pad: [u8; 22],
}

/// A slot's number travels in a tag with this TPID.
const TPID: [u8; 2] = [0x81, 0x00];
const ADDRESSES_LEN: usize = 12;
const TAG_LEN: u16 = 4;

pub struct Injector {
    tap: File,
    slots: SharedArray<InjectSlot>,
    /// Slot used last, and what it holds.
    at: u32,
    last: Option<(InjectSlot, Vec<ActionRecord>)>,
}

/// Makes the device, up; returns it and its ifindex.
pub fn create_device(name: &str) -> Result<(File, u32), Error> {
    let failed = |source| pin::system(&format!("making the injection device {name}"), source);
    let mut request = IfReq {
        name: [0; 16],
        flags: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR,
        pad: [0; 22],
    };
    for (to, from) in request.name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: a path of our own and a request of the size that the kernel reads.
    let tap = unsafe {
        let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NONBLOCK;
        let fd = libc::open(c"/dev/net/tun".as_ptr(), flags);
        if fd < 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        let file = File::from_raw_fd(fd);
        if libc::ioctl(fd, TUNSETIFF, &raw mut request) < 0 {
            return Err(failed(io::Error::last_os_error()));
        }
        file
    };
    let link = netlink::by_name(name).map_err(failed)?;
    let ifindex = link
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?
        .ifindex;
    // The host must not talk through it. Where IPv6 is not there, there is nothing to turn off.
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1");
    let (up, no_arp) = (libc::IFF_UP as u32, libc::IFF_NOARP as u32);
    let multicast = libc::IFF_MULTICAST as u32;
    netlink::set_flags(ifindex, up | no_arp, up | no_arp | multicast).map_err(failed)?;
    Ok((tap, ifindex))
}

impl Injector {
    /// Slots that an earlier process left are emptied.
    pub fn new(tap: File, slots: SharedArray<InjectSlot>) -> Injector {
        for n in 0..slots.entries() {
            slots.set(n, InjectSlot::default());
        }
        Injector {
            tap,
            slots,
            at: 0,
            last: None,
        }
    }

    /// Runs `actions` on a packet as if it had come in on `in_port`.
    pub fn execute(
        &mut self,
        packet: &Packet,
        in_port: DpPort,
        actions: &[Action],
        blocks: &SharedArray<ActionBlock>,
        pool: &mut Pool,
    ) -> Result<(), Error> {
        let mut records = list::encode(actions)?;
        if records.is_empty() {
            records.push(ActionRecord {
                kind: kind::END,
                ..ActionRecord::default()
            });
        }
        let wanted = InjectSlot {
            in_port: in_port.0,
            mark: packet.mark,
            block: 0,
            pad: 0,
        };
        let same = matches!(&self.last, Some((slot, held)) if *slot == wanted && *held == records);
        if !same {
            // Slots are filled in turn: when one comes round again, no packet names it any more.
            self.last = None;
            self.at = if self.at + 1 < INJECT_SLOTS {
                self.at + 1
            } else {
                1
            };
            let old = self.slots.get(self.at).map_or(0, |s| s.block);
            self.slots.set(self.at, InjectSlot::default());
            for block in list::fetch(old, blocks).1 {
                pool.give_back(block);
            }
            let block = list::store(&records, blocks, pool)?;
            self.slots.set(self.at, InjectSlot { block, ..wanted });
            self.last = Some((wanted, records));
        }
        self.write(packet, self.at as u16)
            .map_err(|e| pin::system("writing to the injection device", e))
    }

    fn write(&self, packet: &Packet, slot: u16) -> io::Result<()> {
        let Some((addresses, rest)) = packet.data.split_at_checked(ADDRESSES_LEN) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let header = virtio_net_header(packet);
        let [t0, t1] = slot.to_be_bytes();
        let tag = [TPID[0], TPID[1], t0, t1];
        let parts: [&[u8]; 4] = [&header, addresses, &tag, rest];
        let vectors = parts.map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
        // SAFETY: the vectors point into buffers that outlive the call, which only reads them.
        let n = unsafe { libc::writev(self.tap.as_raw_fd(), vectors.as_ptr(), 4) };
        if n < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}

/// `struct virtio_net_hdr` (virtio 1.2, 5.1.6), in the host's byte order as taps want it.
fn virtio_net_header(packet: &Packet) -> [u8; 10] {
    const F_NEEDS_CSUM: u8 = 1;
    let mut flags = 0;
    let (mut gso_type, mut gso_size, mut hdr_len) = (0, 0, 0u16);
    let (mut start, mut offset) = (0, 0);
    if let Some(CsumPartial {
        start: at,
        offset: sum,
    }) = packet.csum_partial
    {
        flags = F_NEEDS_CSUM;
        start = at.saturating_add(TAG_LEN);
        offset = sum.saturating_sub(at);
    }
    if let Some(Gso { kind, size, .. }) = packet.gso {
        gso_type = match kind {
            GsoKind::TcpV4 => 1,
            GsoKind::TcpV6 => 4,
            GsoKind::UdpL4 => 5,
        };
        gso_size = size;
        // A hint of how much to make linear: up to the end of a transport header of any length.
        hdr_len = usize::from(start.saturating_add(60)).min(packet.data.len()) as u16;
    }
    let [h0, h1] = hdr_len.to_ne_bytes();
    let [g0, g1] = gso_size.to_ne_bytes();
    let [s0, s1] = start.to_ne_bytes();
    let [o0, o1] = offset.to_ne_bytes();
    [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
}
