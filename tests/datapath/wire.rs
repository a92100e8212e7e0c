//! A packet socket on a device: frames in and out, with what the kernel knows about their
//! unfinished checksums and segmentation.
//!
//! Source: packet(7), `PACKET_VNET_HDR` and `PACKET_AUXDATA`.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dpif::{CsumPartial, Gso, GsoKind, Packet};

const SOL_PACKET: i32 = 263;
const PACKET_AUXDATA: i32 = 8;
const PACKET_VNET_HDR: i32 = 15;
const PACKET_IGNORE_OUTGOING: i32 = 23;
const TP_STATUS_VLAN_VALID: u32 = 1 << 4;
const VNET_HEADER_LEN: usize = 10;
/// Where a VLAN tag goes in a frame.
const TAG_AT: usize = 12;

pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    pub fn open(device: &str) -> Result<Wire> {
        let ifindex = nix::net::if_::if_nametoindex(device).with_context(|| device.to_owned())?;
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: plain system calls with buffers of the sizes that are passed with them.
        unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            let fd = libc::socket(libc::AF_PACKET, kind, i32::from(protocol));
            ensure!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
            let socket = OwnedFd::from_raw_fd(fd);
            // A flood must fit.
            let bytes = 16i32 << 20;
            let (level, force) = (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE);
            libc::setsockopt(fd, level, force, (&raw const bytes).cast(), 4);
            let on = 1i32;
            for option in [PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING] {
                let ret = libc::setsockopt(fd, SOL_PACKET, option, (&raw const on).cast(), 4);
                ensure!(
                    ret == 0,
                    "packet socket option: {}",
                    io::Error::last_os_error()
                );
            }
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = protocol;
            address.sll_ifindex = ifindex as i32;
            let len = size_of::<libc::sockaddr_ll>() as u32;
            let ret = libc::bind(fd, (&raw const address).cast(), len);
            ensure!(ret == 0, "bind to {device}: {}", io::Error::last_os_error());
            Ok(Wire { socket })
        }
    }

    /// Sends a frame as if the device's owner had made it.
    pub fn send(&self, packet: &Packet) -> Result<()> {
        let header = vnet_header(packet);
        let vectors = [&header[..], &packet.data].map(|part| libc::iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len(),
        });
        // SAFETY: the vectors point into buffers that the call only reads.
        let n = unsafe { libc::writev(self.socket.as_raw_fd(), vectors.as_ptr(), 2) };
        ensure!(n >= 0, "sending a frame: {}", io::Error::last_os_error());
        Ok(())
    }

    pub fn send_bytes(&self, frame: &[u8]) -> Result<()> {
        self.send(&Packet {
            data: frame.to_vec(),
            ..Packet::default()
        })
    }

    /// The next frame that the switch sent to the device, its tags in place.
    pub fn recv(&self, timeout: Duration) -> Result<Option<Packet>> {
        let end = Instant::now() + timeout;
        loop {
            if let Some(packet) = self.try_recv()? {
                return Ok(Some(packet));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let fd = self.socket.as_raw_fd();
            let mut poll = libc::pollfd {
                fd,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one entry of our own.
            unsafe { libc::poll(&mut poll, 1, left.as_millis() as i32 + 1) };
        }
    }

    /// Whether `frame` comes, whatever else the host's own stack sends.
    pub fn recv_frame(&self, frame: &[u8], timeout: Duration) -> Result<bool> {
        let end = Instant::now() + timeout;
        while let Some(packet) = self.recv(end.saturating_duration_since(Instant::now()))? {
            if packet.data == frame {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Everything that came until now.
    pub fn drain(&self) -> Result<Vec<Packet>> {
        let mut all = Vec::new();
        while let Some(packet) = self.try_recv()? {
            all.push(packet);
        }
        Ok(all)
    }

    fn try_recv(&self) -> Result<Option<Packet>> {
        let mut header = [0u8; VNET_HEADER_LEN];
        let mut data = vec![0u8; 70_000];
        let mut control = [0u64; 16];
        // SAFETY: the message points at buffers of our own with their sizes.
        let (n, aux) = unsafe {
            let mut vectors = [
                libc::iovec {
                    iov_base: header.as_mut_ptr().cast(),
                    iov_len: header.len(),
                },
                libc::iovec {
                    iov_base: data.as_mut_ptr().cast(),
                    iov_len: data.len(),
                },
            ];
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = vectors.as_mut_ptr();
            message.msg_iovlen = vectors.len();
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control);
            let n = libc::recvmsg(self.socket.as_raw_fd(), &mut message, 0);
            if n < 0 {
                let e = io::Error::last_os_error();
                if e.kind() == io::ErrorKind::WouldBlock {
                    return Ok(None);
                }
                return Err(e).context("receiving a frame");
            }
            let mut aux = None;
            let mut at = libc::CMSG_FIRSTHDR(&message);
            while !at.is_null() {
                if (*at).cmsg_level == SOL_PACKET && (*at).cmsg_type == PACKET_AUXDATA {
                    // `struct tpacket_auxdata`: status, len, snaplen, mac, net, vlan_tci, vlan_tpid.
                    let words = libc::CMSG_DATA(at).cast::<u32>();
                    let last = words.add(4).read_unaligned();
                    aux = Some((words.read_unaligned(), last as u16, (last >> 16) as u16));
                }
                at = libc::CMSG_NXTHDR(&message, at);
            }
            (n as usize, aux)
        };
        data.truncate(n.saturating_sub(VNET_HEADER_LEN));
        let mut packet = Packet {
            data,
            ..Packet::default()
        };
        read_vnet_header(&header, &mut packet);
        if let Some((status, tci, tpid)) = aux
            && status & TP_STATUS_VLAN_VALID != 0
        {
            let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
            packet.data.splice(TAG_AT..TAG_AT, tag);
            if let Some(partial) = &mut packet.csum_partial {
                partial.start += 4;
                partial.offset += 4;
            }
        }
        Ok(Some(packet))
    }
}

fn vnet_header(packet: &Packet) -> [u8; VNET_HEADER_LEN] {
    let mut header = [0; VNET_HEADER_LEN];
    if let Some(CsumPartial { start, offset }) = packet.csum_partial {
        header[0] = 1;
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&(offset - start).to_ne_bytes());
        header[2..4].copy_from_slice(&(start + 20).to_ne_bytes());
    }
    if let Some(gso) = packet.gso {
        header[1] = match gso.kind {
            GsoKind::TcpV4 => 1,
            GsoKind::TcpV6 => 4,
            GsoKind::UdpL4 => 5,
        };
        header[4..6].copy_from_slice(&gso.size.to_ne_bytes());
    }
    header
}

fn read_vnet_header(header: &[u8; VNET_HEADER_LEN], packet: &mut Packet) {
    let number = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    if header[0] & 1 != 0 {
        let start = number(6);
        packet.csum_partial = Some(CsumPartial {
            start,
            offset: start + number(8),
        });
    }
    let kind = match header[1] & 0x7f {
        1 => GsoKind::TcpV4,
        4 => GsoKind::TcpV6,
        5 => GsoKind::UdpL4,
        _ => return,
    };
    packet.gso = Some(Gso {
        kind,
        size: number(4),
        segs: 0,
    });
}
