//! Network devices of this namespace: what they are like, when they change, and the few things
//! that the switch changes about them.
//!
//! [`Netlink`] speaks rtnetlink(7) (RTM_GETLINK, RTM_SETLINK and the RTNLGRP_LINK group);
//! [`ethtool`] asks for speed and driver. The event loop keeps the answers in a [`Links`].
//! Creating and deleting devices is the datapath's job (`dpif`).

pub mod ethtool;

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Stats64};
use packet::{EthAddr, IfIndex};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec, MulticastGroup};
use tokio::sync::mpsc;

use ethtool::{Driver, Speed};

/// One network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub ifindex: IfIndex,
    pub name: String,
    /// Zero for devices without an Ethernet address.
    pub mac: EthAddr,
    pub mtu: u32,
    pub admin_up: bool,
    pub promiscuous: bool,
    /// Up and with carrier.
    pub carrier: bool,
    /// How often the carrier came and went.
    pub carrier_changes: u32,
    /// `veth`, `tun`, ...; empty for most physical devices.
    pub kind: String,
    pub stats: LinkStats,
}

/// What costs system calls to find out; asked for when a device changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub speed: Speed,
    pub driver: Driver,
}

/// Counters of a device, as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub multicast: u64,
    pub collisions: u64,
    pub rx_over_errors: u64,
    pub rx_crc_errors: u64,
    pub rx_frame_errors: u64,
    pub rx_missed_errors: u64,
}

/// What the kernel tells about devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// New or different.
    Changed(Link),
    Gone(IfIndex),
    /// Events were lost: everything must be asked for again.
    Overrun,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open an rtnetlink socket: {0}")]
    Open(std::io::Error),
    #[error("{doing}: {reason}")]
    Request { doing: String, reason: String },
}

/// Requests to the kernel.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: Handle,
}

impl Netlink {
    /// Opens the sockets and starts to send link events to `events`. Must run inside a tokio
    /// runtime.
    pub fn open(events: mpsc::Sender<LinkEvent>) -> Result<Netlink, Error> {
        let (requests, handle, _) = rtnetlink::new_connection().map_err(Error::Open)?;
        tokio::spawn(requests);
        tokio::spawn(monitor(events));
        Ok(Netlink { handle })
    }

    /// Every device.
    pub async fn dump(&self) -> Result<Vec<Link>, Error> {
        self.handle
            .link()
            .get()
            .execute()
            .try_filter_map(|message| async move { Ok(parse(&message)) })
            .try_collect()
            .await
            .map_err(|error| failed("list network devices", &error))
    }

    /// Lets the device take frames for all addresses.
    pub async fn set_promiscuous(&self, ifindex: IfIndex) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(ifindex.0).promiscuous(true);
        self.set("set promiscuous mode", message).await
    }

    pub async fn set_admin_up(&self, ifindex: IfIndex, up: bool) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(ifindex.0);
        if up {
            self.set("bring device up", message.up()).await
        } else {
            self.set("bring device down", message.down()).await
        }
    }

    pub async fn set_mtu(&self, ifindex: IfIndex, mtu: u32) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(ifindex.0).mtu(mtu);
        self.set(&format!("set MTU {mtu}"), message).await
    }

    pub async fn set_mac(&self, ifindex: IfIndex, mac: EthAddr) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(ifindex.0).address(mac.0.to_vec());
        self.set(&format!("set Ethernet address {mac}"), message)
            .await
    }

    async fn set(&self, doing: &str, message: LinkMessageBuilder<LinkUnspec>) -> Result<(), Error> {
        self.handle
            .link()
            .set(message.build())
            .execute()
            .await
            .map_err(|error| failed(doing, &error))
    }
}

fn failed(doing: &str, error: &rtnetlink::Error) -> Error {
    let reason = match error {
        rtnetlink::Error::NetlinkError(message) => match message.code {
            Some(code) => nix::errno::Errno::from_raw(code.get().saturating_neg())
                .desc()
                .to_owned(),
            None => "no reason given".to_owned(),
        },
        other => other.to_string(),
    };
    Error::Request {
        doing: doing.to_owned(),
        reason,
    }
}

/// Sends events until nobody wants them; opens the socket again when it breaks.
async fn monitor(events: mpsc::Sender<LinkEvent>) {
    loop {
        match rtnetlink::new_multicast_connection(&[MulticastGroup::Link]) {
            Ok((connection, _handle, mut messages)) => {
                let task = tokio::spawn(connection);
                // Whatever happened before the socket was there.
                if events.send(LinkEvent::Overrun).await.is_err() {
                    return;
                }
                while let Some((message, _)) = messages.next().await {
                    let event = match message.payload {
                        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                            match parse(&link) {
                                Some(link) => LinkEvent::Changed(link),
                                None => continue,
                            }
                        }
                        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                            LinkEvent::Gone(IfIndex(link.header.index))
                        }
                        NetlinkPayload::Overrun(_) => LinkEvent::Overrun,
                        _ => continue,
                    };
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                task.abort();
            }
            Err(error) => tracing::warn!("cannot watch network devices: {error}"),
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// `None` for a device without a name.
fn parse(message: &LinkMessage) -> Option<Link> {
    let flags = message.header.flags;
    let mut link = Link {
        ifindex: IfIndex(message.header.index),
        name: String::new(),
        mac: EthAddr::ZERO,
        mtu: 0,
        admin_up: flags.contains(LinkFlags::Up),
        promiscuous: flags.contains(LinkFlags::Promisc),
        carrier: flags.contains(LinkFlags::LowerUp) && flags.contains(LinkFlags::Up),
        carrier_changes: 0,
        kind: String::new(),
        stats: LinkStats::default(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(address) => {
                if let Ok(bytes) = <[u8; 6]>::try_from(address.as_slice()) {
                    link.mac = EthAddr(bytes);
                }
            }
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::CarrierChanges(n) => link.carrier_changes = *n,
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        link.kind = kind.to_string();
                    }
                }
            }
            LinkAttribute::Stats64(stats) => link.stats = LinkStats::from(*stats),
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

impl From<Stats64> for LinkStats {
    fn from(s: Stats64) -> LinkStats {
        LinkStats {
            rx_packets: s.rx_packets,
            tx_packets: s.tx_packets,
            rx_bytes: s.rx_bytes,
            tx_bytes: s.tx_bytes,
            rx_errors: s.rx_errors,
            tx_errors: s.tx_errors,
            rx_dropped: s.rx_dropped,
            tx_dropped: s.tx_dropped,
            multicast: s.multicast,
            collisions: s.collisions,
            rx_over_errors: s.rx_over_errors,
            rx_crc_errors: s.rx_crc_errors,
            rx_frame_errors: s.rx_frame_errors,
            rx_missed_errors: s.rx_missed_errors,
        }
    }
}

/// The devices that are there, as far as the kernel has told.
#[derive(Clone, Debug, Default)]
pub struct Links {
    by_index: BTreeMap<IfIndex, Link>,
    by_name: BTreeMap<String, IfIndex>,
    details: BTreeMap<IfIndex, Details>,
}

/// How an event changed what is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// A device came, went or was renamed: ports may become possible or impossible.
    pub presence: bool,
    /// A device's state, address or MTU changed: status columns and port descriptions differ.
    pub state: bool,
}

impl Difference {
    fn merge(&mut self, other: Difference) {
        self.presence |= other.presence;
        self.state |= other.state;
    }
}

impl Links {
    pub fn get(&self, name: &str) -> Option<&Link> {
        self.by_index.get(self.by_name.get(name)?)
    }

    /// Speed and driver of a device.
    pub fn details(&self, name: &str) -> Details {
        self.by_name
            .get(name)
            .and_then(|ifindex| self.details.get(ifindex))
            .cloned()
            .unwrap_or_default()
    }

    /// Takes a new description of one device.
    pub fn handle_changed(&mut self, link: Link) -> Difference {
        let old = self.by_index.get(&link.ifindex);
        let difference = match old {
            None => Difference {
                presence: true,
                state: true,
            },
            Some(old) => Difference {
                presence: old.name != link.name,
                state: Link {
                    stats: link.stats,
                    ..old.clone()
                } != link,
            },
        };
        if let Some(old_name) = old.map(|old| old.name.clone())
            && old_name != link.name
        {
            self.by_name.remove(&old_name);
        }
        if difference.state {
            let details = Details {
                speed: ethtool::speed(&link.name),
                driver: ethtool::driver(&link.name),
            };
            self.details.insert(link.ifindex, details);
        }
        self.by_name.insert(link.name.clone(), link.ifindex);
        self.by_index.insert(link.ifindex, link);
        difference
    }

    pub fn handle_gone(&mut self, ifindex: IfIndex) -> Difference {
        let Some(link) = self.by_index.remove(&ifindex) else {
            return Difference::default();
        };
        self.details.remove(&ifindex);
        // Another device may have taken the name already.
        if self.by_name.get(&link.name) == Some(&ifindex) {
            self.by_name.remove(&link.name);
        }
        Difference {
            presence: true,
            state: true,
        }
    }

    /// Takes a list of every device; what is not on it is gone.
    pub fn handle_dump(&mut self, links: Vec<Link>) -> Difference {
        let mut difference = Difference::default();
        let there: BTreeSet<IfIndex> = links.iter().map(|link| link.ifindex).collect();
        let gone: Vec<IfIndex> = self
            .by_index
            .keys()
            .filter(|index| !there.contains(index))
            .copied()
            .collect();
        for ifindex in gone {
            difference.merge(self.handle_gone(ifindex));
        }
        for link in links {
            difference.merge(self.handle_changed(link));
        }
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str) -> Link {
        Link {
            ifindex: IfIndex(ifindex),
            name: name.to_owned(),
            mac: EthAddr::ZERO,
            mtu: 1500,
            admin_up: true,
            promiscuous: false,
            carrier: true,
            carrier_changes: 0,
            kind: String::new(),
            stats: LinkStats::default(),
        }
    }

    #[test]
    fn vanish_and_return() {
        let mut links = Links::default();
        assert!(links.handle_changed(link(1, "a")).presence);
        assert_eq!(links.handle_changed(link(1, "a")), Difference::default());
        let mut busy = link(1, "a");
        busy.stats.rx_packets = 7;
        assert_eq!(links.handle_changed(busy), Difference::default());
        let mut down = link(1, "a");
        down.carrier = false;
        assert_eq!(
            links.handle_changed(down),
            Difference {
                presence: false,
                state: true
            }
        );
        // The device is made again under the same name before the old one is reported gone.
        assert!(links.handle_changed(link(2, "a")).presence);
        assert!(links.handle_gone(IfIndex(1)).presence);
        assert_eq!(links.get("a").unwrap().ifindex, IfIndex(2));
        assert!(links.handle_dump(vec![link(3, "b")]).presence);
        assert!(links.get("a").is_none());
        assert!(links.get("b").is_some());
    }

    #[test]
    fn rename() {
        let mut links = Links::default();
        links.handle_changed(link(1, "a"));
        assert!(links.handle_changed(link(1, "b")).presence);
        assert!(links.get("a").is_none());
        assert_eq!(links.get("b").unwrap().ifindex, IfIndex(1));
    }

    #[test]
    fn loopback_is_listed() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (sender, mut events) = mpsc::channel(64);
            let netlink = Netlink::open(sender).unwrap();
            let links = netlink.dump().await.unwrap();
            assert!(links.iter().any(|link| link.name == "lo"));
            assert_eq!(events.recv().await, Some(LinkEvent::Overrun));
            let error = netlink
                .set_mtu(IfIndex(0x7fff_fff0), 1500)
                .await
                .unwrap_err();
            assert_eq!(error.to_string(), "set MTU 1500: No such device");
        });
    }
}
