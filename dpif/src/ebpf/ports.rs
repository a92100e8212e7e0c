//! Ports: devices, the links that attach programs to them, and the maps that describe them.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use packet::abi::{IFINDEX_SLOTS, IfEntry, PortEntry, port_flags};
use packet::{DpPort, IfIndex};

use super::netlink::{self, Link};
use super::pin::{LINK_PREFIX, system};
use super::sys::{self, Hook, SharedArray};
use crate::{Error, PortInfo, PortKind};

/// Kinds of device that internal ports are made of, by preference. Both keep their carrier without
/// a process behind them (a tap loses it with its last descriptor); the program at egress takes
/// every packet before the device would.
const INTERNAL_KINDS: [&str; 2] = ["dummy", "ifb"];

/// In [`PortEntry::flags`], for userspace alone: the datapath made the device promiscuous.
const PROMISCUOUS: u32 = 1 << 16;

pub struct Port {
    pub name: String,
    pub kind: PortKind,
    pub ifindex: u32,
    attachment: Option<Attachment>,
}

/// What holds the program at a port's device; `None` in a port while the device is away.
enum Attachment {
    Link(OwnedFd),
    /// A clsact filter.
    Filter,
}

pub struct Ports {
    pub entries: SharedArray<PortEntry>,
    pub ifindex: SharedArray<IfEntry>,
    pub ifindex_more: OwnedFd,
    /// Directory of the pinned links.
    pub dir: PathBuf,
    pub program: OwnedFd,
    /// False: attach by clsact filters, as on kernels before 6.6.
    pub tcx: bool,
    pub ports: BTreeMap<u32, Port>,
}

impl Ports {
    /// Takes over the ports that the maps describe; those whose device is gone stay without a link.
    pub fn adopt(&mut self) -> Result<(), Error> {
        for number in 1..self.entries.entries() {
            let Some(entry) = self.entries.get(number) else {
                continue;
            };
            if entry.flags & port_flags::EXISTS == 0 {
                continue;
            }
            self.known(number, &entry);
            self.reattach(number)?;
        }
        Ok(())
    }

    /// Takes a port of another datapath under the number that it has there. Its program is attached
    /// behind the other one's, which answers until it goes.
    pub fn import(&mut self, number: u32, entry: &PortEntry) {
        if self.ports.contains_key(&number) || number >= self.entries.entries() {
            return;
        }
        self.entries.set(number, *entry);
        self.known(number, entry);
        if self.refresh(number).is_err() {
            // The device is away; the port waits for it.
            self.describe(number);
        }
    }

    /// Enters a port that its map entry describes.
    fn known(&mut self, number: u32, entry: &PortEntry) {
        let end = entry
            .name
            .iter()
            .position(|b| *b == 0)
            .unwrap_or(entry.name.len());
        let name = String::from_utf8_lossy(entry.name.get(..end).unwrap_or_default());
        let internal = entry.flags & port_flags::INTERNAL != 0;
        let kind = if internal {
            PortKind::Internal
        } else {
            PortKind::System
        };
        let port = Port {
            name: name.into(),
            kind,
            ifindex: entry.ifindex,
            attachment: None,
        };
        self.ports.insert(number, port);
    }

    pub fn info(&self, number: u32) -> Option<PortInfo> {
        let port = self.ports.get(&number)?;
        Some(PortInfo {
            port: DpPort(number),
            name: port.name.clone(),
            kind: port.kind,
            ifindex: IfIndex(port.ifindex),
        })
    }

    pub fn number(&self, name: &str) -> Option<u32> {
        self.ports
            .iter()
            .find(|(_, p)| p.name == name)
            .map(|(n, _)| *n)
    }

    /// See [`crate::Dpif::port_add`].
    pub fn add(&mut self, name: &str, kind: PortKind, want: Option<u32>) -> Result<u32, Error> {
        if let Some(number) = self.number(name) {
            if self.ports.get(&number).is_some_and(|p| p.kind == kind) {
                self.refresh(number)?;
                return Ok(number);
            }
            let reason = "already a port of another kind".to_string();
            return Err(Error::Device {
                name: name.to_string(),
                reason,
            });
        }
        let limit = self.entries.entries();
        let is_free = |n: &u32| *n != 0 && *n < limit && !self.ports.contains_key(n);
        let lowest = || {
            let taken = self.ports.keys().zip(1..);
            let after = self.ports.len() as u32 + 1;
            let gap = taken.into_iter().find(|(taken, n)| *taken != n);
            Some(gap.map_or(after, |(_, n)| n)).filter(is_free)
        };
        let number = want.filter(is_free).or_else(lowest);
        let Some(number) = number else {
            return Err(Error::Full {
                what: "ports",
                limit: limit as usize - 1,
            });
        };
        let device = self.device(name, kind)?;
        let port = Port {
            name: name.to_string(),
            kind,
            ifindex: device.ifindex,
            attachment: None,
        };
        self.ports.insert(number, port);
        self.describe(number);
        if kind == PortKind::System {
            self.set_promiscuous(number, &device);
        }
        let attached = self.attach(number);
        if attached.is_err() {
            self.forget(number);
            if kind == PortKind::Internal {
                let _ = netlink::delete(device.ifindex);
            }
        }
        attached.map(|()| number)
    }

    /// Detaches a port; removes the device where the datapath made it.
    pub fn delete(&mut self, number: u32) -> Result<(), Error> {
        let port = self.ports.get(&number).ok_or(Error::NoSuchPort(number))?;
        let (name, kind, ifindex) = (port.name.clone(), port.kind, port.ifindex);
        let promiscuous = self
            .entries
            .get(number)
            .is_some_and(|e| e.flags & PROMISCUOUS != 0);
        if promiscuous {
            // A device that is gone needs no setting back.
            let _ = netlink::set_flags(ifindex, 0, libc::IFF_PROMISC as u32);
        }
        // While the link is there, packets of the port find that it is no port any more.
        self.forget(number);
        if kind == PortKind::Internal
            && let Ok(Some(link)) = netlink::by_ifindex(ifindex)
            && link.name == name
        {
            netlink::delete(ifindex).map_err(|e| system(&format!("deleting {name}"), e))?;
        }
        Ok(())
    }

    /// A switch port receives what is not for the device's own address. Remembers whether it was so
    /// before.
    fn set_promiscuous(&mut self, number: u32, device: &Link) {
        let promiscuous = libc::IFF_PROMISC as u32;
        if device.flags & promiscuous == 0
            && netlink::set_flags(device.ifindex, promiscuous, promiscuous).is_ok()
            && let Some(mut entry) = self.entries.get(number)
        {
            entry.flags |= PROMISCUOUS;
            self.entries.set(number, entry);
        }
    }

    /// Changes flags that describe what a port may do.
    pub fn set_flags(&mut self, number: u32, set: u32, change: u32) -> Result<(), Error> {
        if !self.ports.contains_key(&number) {
            return Err(Error::NoSuchPort(number));
        }
        if let Some(mut entry) = self.entries.get(number) {
            entry.flags = (entry.flags & !change) | (set & change);
            self.entries.set(number, entry);
        }
        Ok(())
    }

    /// Makes sure that every port's program is attached; returns the names of those that were not.
    pub fn check(&mut self) -> Result<Vec<String>, Error> {
        let mut repaired = Vec::new();
        let numbers: Vec<u32> = self.ports.keys().copied().collect();
        for number in numbers {
            let Some(port) = self.ports.get(&number) else {
                continue;
            };
            if attached(port) {
                continue;
            }
            let name = port.name.clone();
            if self.refresh(number).is_ok() {
                repaired.push(name);
            }
        }
        Ok(repaired)
    }

    /// Finds the port's device again, which may be another one of the same name by now.
    fn refresh(&mut self, number: u32) -> Result<(), Error> {
        let Some(port) = self.ports.get(&number) else {
            return Err(Error::NoSuchPort(number));
        };
        let (name, kind, before) = (port.name.clone(), port.kind, port.ifindex);
        let device = self.device(&name, kind)?;
        let now = device.ifindex;
        if now == before && attached(port) {
            return Ok(());
        }
        self.unmap_ifindex(before, number);
        if let Some(port) = self.ports.get_mut(&number) {
            port.ifindex = now;
            port.attachment = None;
        }
        self.describe(number);
        if kind == PortKind::System {
            self.set_promiscuous(number, &device);
        }
        self.attach(number)
    }

    /// The device of a port; an internal port's is made when it is not there.
    fn device(&self, name: &str, kind: PortKind) -> Result<Link, Error> {
        let refused = |reason: String| Error::Device {
            name: name.to_string(),
            reason,
        };
        if name.is_empty() || name.len() > 15 {
            return Err(refused("a device name has 1 to 15 bytes".to_string()));
        }
        let find = || netlink::by_name(name).map_err(|e| refused(e.to_string()));
        match (find()?, kind) {
            (Some(link), PortKind::System) => Ok(link),
            (None, PortKind::System) => Err(refused("No such device".to_string())),
            (Some(link), PortKind::Internal) if INTERNAL_KINDS.contains(&link.kind.as_str()) => {
                Ok(link)
            }
            (Some(_), PortKind::Internal) => Err(refused("File exists".to_string())),
            (None, PortKind::Internal) => {
                let mut made = Err(std::io::ErrorKind::Unsupported.into());
                for kind in INTERNAL_KINDS {
                    made = netlink::create(name, kind);
                    if made.is_ok() {
                        break;
                    }
                }
                made.map_err(|e| {
                    let kinds = INTERNAL_KINDS.join(" or ");
                    refused(format!("making a device of kind {kinds}: {e}"))
                })?;
                let link = find()?.ok_or_else(|| refused("No such device".to_string()))?;
                let (arp, multicast) = (libc::IFF_NOARP as u32, libc::IFF_MULTICAST as u32);
                netlink::set_flags(link.ifindex, multicast, arp | multicast)
                    .map_err(|e| refused(e.to_string()))?;
                Ok(link)
            }
        }
    }

    /// Writes the maps' entries for a port.
    fn describe(&mut self, number: u32) {
        let Some(port) = self.ports.get(&number) else {
            return;
        };
        let ifindex = port.ifindex;
        let mut entry = self.entries.get(number).unwrap_or_default();
        if entry.flags & port_flags::EXISTS == 0 {
            entry.flags = port_flags::EXISTS | port_flags::RECEIVE | port_flags::TRANSMIT;
        }
        if port.kind == PortKind::Internal {
            entry.flags |= port_flags::INTERNAL;
        }
        entry.ifindex = ifindex;
        entry.name = [0; 16];
        for (to, from) in entry.name.iter_mut().take(15).zip(port.name.bytes()) {
            *to = from;
        }
        self.entries.set(number, entry);
        let slot = ifindex % IFINDEX_SLOTS;
        let held = self.ifindex.get(slot).unwrap_or_default();
        if held.ifindex == 0 || held.ifindex == ifindex {
            self.ifindex.set(
                slot,
                IfEntry {
                    ifindex,
                    port: number,
                },
            );
        } else {
            // The table is as large as the number of ports, so this cannot be refused for size.
            let _ = sys::update(self.ifindex_more.as_fd(), &ifindex, &number, 0);
        }
    }

    fn unmap_ifindex(&mut self, ifindex: u32, number: u32) {
        let slot = ifindex % IFINDEX_SLOTS;
        if self.ifindex.get(slot)
            == Some(IfEntry {
                ifindex,
                port: number,
            })
        {
            self.ifindex.set(slot, IfEntry::default());
        }
        let _ = sys::delete(self.ifindex_more.as_fd(), &ifindex);
    }

    fn forget(&mut self, number: u32) {
        if let Some(port) = self.ports.remove(&number) {
            self.unmap_ifindex(port.ifindex, number);
            if matches!(port.attachment, Some(Attachment::Filter)) {
                // Without a device there is no filter either.
                let _ = netlink::delete_filter(port.ifindex, is_egress(port.kind));
            }
        }
        self.entries.set(number, PortEntry::default());
        let _ = std::fs::remove_file(self.link_path(number));
    }

    fn link_path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{LINK_PREFIX}{number}"))
    }

    /// Attaches the program to a port's device, and pins the link.
    fn attach(&mut self, number: u32) -> Result<(), Error> {
        let path = self.link_path(number);
        let Some(port) = self.ports.get_mut(&number) else {
            return Err(Error::NoSuchPort(number));
        };
        let refused = |e| Error::Device {
            name: port.name.clone(),
            reason: format!("attaching a program: {e}"),
        };
        if self.tcx {
            match sys::link_create(self.program.as_fd(), port.ifindex, hook(port.kind)) {
                Ok(link) => {
                    pin_anew(link.as_fd(), &path)?;
                    port.attachment = Some(Attachment::Link(link));
                    return Ok(());
                }
                // The kernel does not know that kind of link.
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
                Err(e) => return Err(refused(e)),
            }
        }
        netlink::set_filter(port.ifindex, is_egress(port.kind), self.program.as_fd())
            .map_err(refused)?;
        port.attachment = Some(Attachment::Filter);
        Ok(())
    }

    /// Takes over a link that an earlier process pinned, with this process's program.
    fn reattach(&mut self, number: u32) -> Result<(), Error> {
        let path = self.link_path(number);
        let found = sys::get_pinned(&path).map_err(|e| system("opening a link", e))?;
        let Some(port) = self.ports.get_mut(&number) else {
            return Err(Error::NoSuchPort(number));
        };
        if let Some(link) = found
            && sys::link_ifindex(link.as_fd()).ok() == Some(port.ifindex)
        {
            sys::link_update(link.as_fd(), self.program.as_fd())
                .map_err(|e| system("exchanging a program", e))?;
            port.attachment = Some(Attachment::Link(link));
            return Ok(());
        }
        if netlink::has_filter(port.ifindex, is_egress(port.kind))
            && netlink::by_ifindex(port.ifindex)
                .ok()
                .flatten()
                .is_some_and(|l| l.name == port.name)
        {
            return self.attach(number);
        }
        // The device is gone or somebody detached the program; a device of that name that came
        // since is taken, and otherwise the port waits for one.
        let _ = self.refresh(number);
        Ok(())
    }
}

fn attached(port: &Port) -> bool {
    match &port.attachment {
        Some(Attachment::Link(link)) => sys::link_ifindex(link.as_fd()).ok() == Some(port.ifindex),
        Some(Attachment::Filter) => netlink::has_filter(port.ifindex, is_egress(port.kind)),
        None => false,
    }
}

fn hook(kind: PortKind) -> Hook {
    if is_egress(kind) {
        Hook::Egress
    } else {
        Hook::Ingress
    }
}

/// What the host sends into an internal port's device is what the port receives.
fn is_egress(kind: PortKind) -> bool {
    kind == PortKind::Internal
}

/// Pins a link where another may be pinned already.
pub fn pin_anew(link: BorrowedFd, path: &Path) -> Result<(), Error> {
    let _ = std::fs::remove_file(path);
    sys::pin(link, path).map_err(|e| system("pinning a link", e))
}
