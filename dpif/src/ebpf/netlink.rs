//! Network devices by rtnetlink: just what the datapath itself needs.
//!
//! Source: rtnetlink(7), netlink(7). Requests are synchronous and wait for the kernel's answer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const HEADER_LEN: usize = 16;
const IFINFO_LEN: usize = 16;

/// A device, as far as the datapath looks at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    pub ifindex: u32,
    pub name: String,
    pub flags: u32,
    /// `veth`, `ifb`, ...; empty for devices of drivers without a kind.
    pub kind: String,
}

/// One request to the kernel.
struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A message about a link: `struct nlmsghdr`, then `struct ifinfomsg`.
    fn link(kind: u16, flags: i32, ifindex: u32, set: u32, change: u32) -> Request {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend([libc::AF_UNSPEC as u8, 0, 0, 0]);
        bytes.extend(ifindex.to_ne_bytes());
        bytes.extend(set.to_ne_bytes());
        bytes.extend(change.to_ne_bytes());
        Request { bytes }
    }

    fn attr(&mut self, kind: u16, value: &[u8]) {
        self.bytes.extend(((value.len() + 4) as u16).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn attr_str(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    /// Sends the request; returns the one message that answers it.
    fn send(mut self) -> io::Result<Vec<u8>> {
        let len = self.bytes.len() as u32;
        if let Some(at) = self.bytes.first_chunk_mut::<4>() {
            *at = len.to_ne_bytes();
        }
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: plain system calls on a descriptor and buffers of our own.
        unsafe {
            let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let socket = OwnedFd::from_raw_fd(fd);
            let fd = socket.as_raw_fd();
            if libc::send(fd, self.bytes.as_ptr().cast(), self.bytes.len(), 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            let mut reply = vec![0u8; 32 * 1024];
            let n = libc::recv(fd, reply.as_mut_ptr().cast(), reply.len(), 0);
            let n = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
            reply.truncate(n);
            match reply.get(4..6) {
                Some(k) if k == NLMSG_ERROR.to_ne_bytes() => {}
                _ => return Ok(reply),
            }
            match reply
                .get(HEADER_LEN..)
                .and_then(|b| b.first_chunk().copied())
            {
                Some([0, 0, 0, 0]) => Ok(reply),
                Some(code) => Err(io::Error::from_raw_os_error(
                    i32::from_ne_bytes(code).wrapping_neg(),
                )),
                None => Err(io::Error::other("short netlink answer")),
            }
        }
    }

    /// A message about traffic control: `struct nlmsghdr`, then `struct tcmsg`.
    fn tc(kind: u16, flags: i32, ifindex: u32, handle: u32, parent: u32, info: u32) -> Request {
        let mut request = Request::link(kind, flags, ifindex, 0, 0);
        request.bytes.truncate(HEADER_LEN + 8);
        for number in [handle, parent, info] {
            request.bytes.extend(number.to_ne_bytes());
        }
        request
    }
}

/// `TC_H_CLSACT`, and the places of filters in that qdisc.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// `TCA_BPF_FLAG_ACT_DIRECT`: the program's result is the verdict.
const DIRECT_ACTION: u32 = 1;
/// Priority and handle of our filters: what is there under these numbers is ours.
const FILTER_PRIORITY: u32 = 0x51;
const FILTER_HANDLE: u32 = 0x51;

/// Attaches a program by a clsact filter, in place of one that is there under our number: what
/// kernels before 6.6 have instead of tcx links. It stays until the device or the filter goes.
pub fn set_filter(ifindex: u32, egress: bool, program: BorrowedFd) -> io::Result<()> {
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL | libc::NLM_F_ACK;
    let mut qdisc = Request::tc(libc::RTM_NEWQDISC, flags, ifindex, 0xffff_0000, CLSACT, 0);
    qdisc.attr_str(TCA_KIND, "clsact");
    match qdisc.send() {
        Err(e) if e.raw_os_error() != Some(libc::EEXIST) => return Err(e),
        _ => {}
    }
    let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE | libc::NLM_F_ACK;
    let mut filter = filter(libc::RTM_NEWTFILTER, flags, ifindex, egress);
    filter.attr_str(TCA_KIND, "bpf");
    let mut options = Request { bytes: Vec::new() };
    options.attr(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes());
    options.attr_str(TCA_BPF_NAME, "sluice");
    options.attr(TCA_BPF_FLAGS, &DIRECT_ACTION.to_ne_bytes());
    filter.attr(TCA_OPTIONS, &options.bytes);
    filter.send().map(drop)
}

pub fn delete_filter(ifindex: u32, egress: bool) -> io::Result<()> {
    filter(libc::RTM_DELTFILTER, libc::NLM_F_ACK, ifindex, egress)
        .send()
        .map(drop)
}

/// Whether our filter is on the device.
pub fn has_filter(ifindex: u32, egress: bool) -> bool {
    filter(libc::RTM_GETTFILTER, 0, ifindex, egress)
        .send()
        .is_ok()
}

fn filter(kind: u16, flags: i32, ifindex: u32, egress: bool) -> Request {
    let parent = if egress {
        CLSACT_EGRESS
    } else {
        CLSACT_INGRESS
    };
    let protocol = u32::from((libc::ETH_P_ALL as u16).to_be());
    let info = FILTER_PRIORITY << 16 | protocol;
    let mut request = Request::tc(kind, flags, ifindex, FILTER_HANDLE, parent, info);
    if kind != libc::RTM_NEWTFILTER {
        request.attr_str(TCA_KIND, "bpf");
    }
    request
}

/// Makes a device that is not up yet.
pub fn create(name: &str, kind: &str) -> io::Result<()> {
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL | libc::NLM_F_ACK;
    let mut request = Request::link(libc::RTM_NEWLINK, flags, 0, 0, 0);
    request.attr_str(IFLA_IFNAME, name);
    let mut info = Request { bytes: Vec::new() };
    info.attr_str(IFLA_INFO_KIND, kind);
    request.attr(IFLA_LINKINFO, &info.bytes);
    request.send().map(drop)
}

pub fn delete(ifindex: u32) -> io::Result<()> {
    Request::link(libc::RTM_DELLINK, libc::NLM_F_ACK, ifindex, 0, 0)
        .send()
        .map(drop)
}

/// Sets the interface flags that are 1 in `change` (`IFF_UP`, ...) as in `set`.
pub fn set_flags(ifindex: u32, set: u32, change: u32) -> io::Result<()> {
    Request::link(libc::RTM_NEWLINK, libc::NLM_F_ACK, ifindex, set, change)
        .send()
        .map(drop)
}

/// `None` when there is no such device.
pub fn by_name(name: &str) -> io::Result<Option<Link>> {
    let mut request = Request::link(libc::RTM_GETLINK, 0, 0, 0, 0);
    request.attr_str(IFLA_IFNAME, name);
    get(request)
}

/// As [`by_name`].
pub fn by_ifindex(ifindex: u32) -> io::Result<Option<Link>> {
    get(Request::link(libc::RTM_GETLINK, 0, ifindex, 0, 0))
}

fn get(request: Request) -> io::Result<Option<Link>> {
    let reply = match request.send() {
        Ok(reply) => reply,
        Err(e)
            if matches!(
                e.raw_os_error(),
                Some(libc::ENODEV | libc::EINVAL | libc::ERANGE)
            ) =>
        {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    Ok(parse(&reply))
}

fn parse(reply: &[u8]) -> Option<Link> {
    let info = reply.get(HEADER_LEN..HEADER_LEN + IFINFO_LEN)?;
    let ifindex = u32::from_ne_bytes(info.get(4..8)?.try_into().ok()?);
    let flags = u32::from_ne_bytes(info.get(8..12)?.try_into().ok()?);
    let mut link = Link {
        ifindex,
        name: String::new(),
        flags,
        kind: String::new(),
    };
    for (kind, value) in attributes(reply.get(HEADER_LEN + IFINFO_LEN..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_LINKINFO => {
                let found = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind = found.map(|(_, v)| text(v)).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(link)
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1] = *bytes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & 0x3fff, value))
    })
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_found_both_ways() {
        let lo = by_name("lo").expect("netlink").expect("lo");
        assert_eq!(lo.name, "lo");
        assert_ne!(lo.flags & libc::IFF_LOOPBACK as u32, 0);
        assert_eq!(by_ifindex(lo.ifindex).expect("netlink"), Some(lo));
    }

    #[test]
    fn what_is_not_there_is_none() {
        assert_eq!(by_name("no-such-dev-x").expect("netlink"), None);
        assert_eq!(by_ifindex(0x7fff_0000).expect("netlink"), None);
    }
}
