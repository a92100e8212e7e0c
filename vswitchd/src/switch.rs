//! The event loop: the one owner of the switch's state, and the one `match` on [`Event`].
//!
//! After each event [`Switch::settle`] does what follows from it: carries out a changed
//! configuration, publishes what changed, and tells the database.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use daemon::detach::{Running, Startup};
use daemon::rate_limit::RateLimit;
use daemon::signals::Termination;
use daemon::unixctl;
use daemon::vigil::Vigil;
use dpif::Dpif;
use ofproto::ofproto::Ofproto;
use ofproto::snapshot::Snapshot;
use ofproto::upcall::Effect;
use ovsdb::replica::{Event as DbEvent, Outcome, Transaction};
use packet::IfIndex;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::bridge::desired::{Desired, desired};
use crate::bridge::device::{Setting, datapath_ids, device_changes};
use crate::bridge::plan::{Actual, plan};
use crate::bridge::status::{self, Facts};
use crate::coverage;
use crate::database::Database;
use crate::event::Event;
use crate::expedite::{self, Expedited};
use crate::memory;
use crate::netdev::{Difference, LinkEvent, Links, Netlink};
use crate::openflow_loop::Conns;
use crate::openflow_net::{NetEvent, Network};
use crate::revalidator::CaughtUp;
use crate::selection;
use crate::threads::Threads;

/// Everything that the daemon owns.
pub struct Switch {
    pub dpif: Arc<dyn Dpif>,
    pub ofproto: Ofproto,
    pub network: Network,
    pub conns: Conns,
    /// Devices to bring up or down, as controllers asked.
    pub admin_requests: Vec<(IfIndex, String, bool)>,
    pub threads: Threads,
    expedited: Option<Expedited>,
    expedited_until: Option<Instant>,
    /// Device settings that the kernel refused.
    refused: BTreeSet<(IfIndex, Setting)>,
    netlink: Netlink,
    pub links: Links,
    database: Database,
    pub desired: Desired,
    pub actual: Actual,
    /// Why an interface could not be added, by row.
    pub failures: BTreeMap<Uuid, String>,
    /// The same after the last configuration but one, to log only what is new.
    pub failures_before: BTreeMap<Uuid, String>,
    /// The replica holds the server's contents: before that nothing may be concluded from it.
    known: bool,
    pub dirty: Dirty,
    /// When to look again whether the tables are what they were before a restart, and when to
    /// stop waiting for that.
    adopt_at: Option<Instant>,
    adopt_by: Instant,
    last_flow_mod: Instant,
    /// The `next_cfg` that was carried out last, and the snapshot that shows it.
    applied_cfg: Option<i64>,
    applied_version: u64,
    /// The `next_cfg` that packets of cached flows get, too: `cur_cfg`.
    confirmed_cfg: Option<i64>,
    /// The status transaction that awaits its answer.
    transaction: Option<u64>,
    /// A refused transaction is not tried again before.
    status_hold: Option<Instant>,
    next_statistics: Instant,
    next_tick: Instant,
    /// Puts off sleep while a controller is being answered.
    vigil: Vigil,
    exit: Option<Exit>,
}

/// OpenFlow messages that are handled before anything else is looked at.
const OPENFLOW_BATCH: usize = 1000;
/// Deleted rules whose memory is freed before anything else is looked at.
const FREED: usize = 128;
/// Link events that are handled before anything else is looked at.
const LINK_BATCH: usize = 1000;
/// Controllers that have not come so long after a start are no longer waited for.
const ADOPT_BY: Duration = Duration::from_secs(15);
/// A controller that has sent nothing for so long has filled the tables.
const ADOPT_QUIET: Duration = Duration::from_secs(2);
/// Refused settings that are remembered.
const MAX_REFUSED: usize = 4096;
const ADOPT_RETRY: Duration = Duration::from_millis(250);

/// What is to be done before waiting again.
#[derive(Default)]
pub struct Dirty {
    pub config: bool,
    pub devices: bool,
    pub status: bool,
    pub statistics: bool,
}

/// Somebody asked the daemon to leave.
struct Exit {
    cleanup: bool,
    request: Option<unixctl::Request>,
}

/// The sources of events.
pub struct Sources {
    pub links: mpsc::Receiver<LinkEvent>,
    pub unixctl: mpsc::Receiver<unixctl::Request>,
    pub openflow: mpsc::Receiver<NetEvent>,
    pub termination: Termination,
}

impl Switch {
    pub fn new(
        dpif: Arc<dyn Dpif>,
        netlink: Netlink,
        database: Database,
        network: Network,
    ) -> anyhow::Result<Switch> {
        let now = Instant::now();
        let mut ofproto = Ofproto::new(RandomState::new().hash_one(0u8));
        let threads = Threads::start(&dpif, ofproto.publish())?;
        Ok(Switch {
            dpif,
            ofproto,
            admin_requests: Vec::new(),
            threads,
            expedited: None,
            expedited_until: None,
            refused: BTreeSet::new(),
            network,
            conns: Conns::default(),
            netlink,
            links: Links::default(),
            database,
            desired: Desired::default(),
            actual: Actual::default(),
            failures: BTreeMap::new(),
            failures_before: BTreeMap::new(),
            known: false,
            dirty: Dirty::default(),
            adopt_at: None,
            adopt_by: now,
            last_flow_mod: now,
            applied_cfg: None,
            applied_version: 0,
            confirmed_cfg: None,
            transaction: None,
            status_hold: None,
            next_statistics: now,
            next_tick: now,
            vigil: Vigil::default(),
            exit: None,
        })
    }

    /// Runs until told to leave.
    pub async fn run(mut self, mut sources: Sources, startup: Startup) -> anyhow::Result<()> {
        self.adopt()?;
        let mut startup = Some(startup);
        let mut running: Option<Running> = None;
        loop {
            self.settle().await;
            // Ready once the first configuration is carried out, or when there is no database
            // to have one from.
            if let Some(started) =
                startup.take_if(|_| self.applied_cfg.is_some() || self.database.has_failed())
            {
                running = Some(started.complete()?);
                memory::trim();
            }
            if let Some(exit) = self.exit.take() {
                self.leave(exit).await;
                drop(running);
                return Ok(());
            }
            let event = self.next_event(&mut sources).await;
            self.handle(event, &mut sources).await;
        }
    }

    /// Learns what an earlier daemon left in the datapath.
    fn adopt(&mut self) -> anyhow::Result<()> {
        for info in self.dpif.port_list()? {
            self.actual.datapath.insert(info.name.clone(), info);
        }
        Ok(())
    }

    async fn next_event(&mut self, sources: &mut Sources) -> Event {
        let deadline = self.deadline();
        loop {
            let awake = self.vigil.lasts(Instant::now()) || self.ofproto.has_retired();
            tokio::select! {
                event = self.database.wait() => return Event::Database(event),
                Some(event) = sources.links.recv() => return Event::Link(event),
                Some(request) = sources.unixctl.recv() => return Event::Unixctl(request),
                Some(event) = sources.openflow.recv() => return Event::OpenFlow(event),
                Some(effects) = self.threads.effects.recv() => return Event::Packets(effects),
                Some(report) = self.threads.reports.recv() => return Event::Revalidated(report),
                signal = sources.termination.recv() => return Event::Terminate(signal),
                () = tokio::time::sleep_until(deadline.into()) => return Event::Timer,
                () = tokio::task::yield_now(), if awake => self.free_retired(),
            }
        }
    }

    /// Frees some of what large deletions took out.
    fn free_retired(&mut self) {
        if self.ofproto.has_retired() {
            self.ofproto.free_retired(FREED);
            if !self.ofproto.has_retired() {
                memory::trim();
            }
        }
    }

    fn deadline(&self) -> Instant {
        let more = [self.status_hold, self.ofproto.poll_timeout(), self.adopt_at];
        more.into_iter()
            .flatten()
            .fold(self.next_statistics.min(self.next_tick), Instant::min)
    }

    async fn handle(&mut self, event: Event, sources: &mut Sources) {
        match event {
            Event::Database(event) => self.handle_database(event),
            Event::OpenFlow(event) => {
                self.handle_net_batch(event, sources);
                // Many a controller asks again as soon as it is answered.
                self.vigil.begin(Instant::now());
            }
            Event::Packets(effects) => {
                let now = Instant::now();
                for effect in effects {
                    self.apply_effect(effect, now);
                }
            }
            // `settle` looks how far.
            Event::Revalidated(CaughtUp) => {}
            Event::Link(event) => {
                self.handle_link(event).await;
                // Devices come and go in crowds.
                for _ in 0..LINK_BATCH {
                    let Ok(event) = sources.links.try_recv() else {
                        break;
                    };
                    self.handle_link(event).await;
                }
            }
            Event::Unixctl(request) => self.handle_unixctl(request),
            Event::Timer => self.handle_timer(Instant::now()),
            Event::Terminate(signal) => {
                tracing::info!("{signal}: leaving, the datapath goes on");
                self.exit = Some(Exit {
                    cleanup: false,
                    request: None,
                });
            }
        }
    }

    fn handle_database(&mut self, event: DbEvent) {
        match event {
            DbEvent::Synced => {
                self.known = true;
                self.dirty.config = true;
                // Another server, or this one restarted, may have lost the status columns.
                self.dirty.status = true;
            }
            DbEvent::Updated => {
                let changes = self.database.session_mut().replica_mut().take_changes();
                self.dirty.config |= selection::touches_configuration(&changes);
            }
            DbEvent::Transacted { id, outcome } => {
                if self.transaction == Some(id) {
                    self.transaction = None;
                    match outcome {
                        Outcome::Committed { .. } | Outcome::Aborted => {}
                        Outcome::TryAgain | Outcome::Unknown | Outcome::NotLocked => {
                            self.dirty.status = true;
                        }
                        Outcome::Error(error) => {
                            tracing::warn!("the database refused the status update: {error}");
                            self.status_hold = Some(Instant::now() + Duration::from_secs(1));
                            self.dirty.status = true;
                        }
                    }
                }
            }
            DbEvent::Missing(columns) => {
                tracing::warn!(
                    "the database lacks {}: its schema is older than this program",
                    columns.join(", ")
                );
            }
            DbEvent::Conditions | DbEvent::Locked(_) | DbEvent::Unfit(_) => {}
        }
    }

    async fn handle_link(&mut self, event: LinkEvent) {
        coverage::netlink_received.inc();
        let difference = match event {
            LinkEvent::Changed(link) => {
                let name = link.name.clone();
                let difference = self.links.handle_changed(link);
                if difference.state {
                    self.describe_ports(Some(&name));
                }
                difference
            }
            LinkEvent::Gone(ifindex) => self.links.handle_gone(ifindex),
            LinkEvent::Overrun => self.refresh_links().await,
        };
        if difference.presence {
            self.dirty.config |= self.known;
        }
        if difference.state {
            self.dirty.devices = true;
            self.dirty.status = true;
        }
    }

    fn handle_timer(&mut self, now: Instant) {
        self.status_hold.take_if(|hold| now >= *hold);
        if self
            .expedited_until
            .take_if(|until| now >= *until)
            .is_some()
        {
            self.expedited = None;
        }
        if self.ofproto.poll_timeout().is_some_and(|at| at <= now) {
            self.ofproto.handle_timeout(now);
        }
        if self.adopt_at.is_some_and(|at| at <= now) {
            self.try_adopt(now);
        }
        if now >= self.next_tick {
            coverage::tick();
            self.next_tick = now + Duration::from_secs(coverage::TICK_SECONDS);
        }
        if now >= self.next_statistics {
            self.dirty.status = true;
            self.dirty.statistics = true;
            self.next_statistics =
                now + self.desired.stats_interval.max(Duration::from_millis(500));
        }
    }

    /// Does all that follows from the events so far.
    async fn settle(&mut self) {
        if self.known && std::mem::take(&mut self.dirty.config) {
            self.reconfigure().await;
            self.dirty.devices = true;
            self.dirty.status = true;
        }
        let now = Instant::now();
        self.carry_out_effects(now).await;
        self.publish();
        for (ifindex, name, up) in std::mem::take(&mut self.admin_requests) {
            if let Err(error) = self.netlink.set_admin_up(ifindex, up).await {
                tracing::warn!("{name}: {error}");
            }
        }
        let done = self.threads.done();
        self.release_barriers(done);
        if self.confirmed_cfg != self.applied_cfg && done >= self.applied_version {
            self.confirmed_cfg = self.applied_cfg;
            self.dirty.status = true;
        }
        if std::mem::take(&mut self.dirty.devices) {
            self.set_devices().await;
        }
        if self.dirty.status
            && self.transaction.is_none()
            && self.status_hold.is_none()
            && self.known
            && self.database.session().is_synced()
        {
            self.dirty.status = false;
            self.write_status().await;
        }
    }

    async fn reconfigure(&mut self) {
        coverage::bridge_reconfigure.inc();
        let wanted = desired(self.database.session().replica());
        for problem in &wanted.problems {
            if !self.desired.problems.contains(problem) {
                tracing::warn!("{problem}");
            }
        }
        self.desired = wanted;
        // The datapath makes devices; what is known of them must not be older than they are.
        self.refresh_links().await;
        self.mark_vanished();
        self.failures_before = std::mem::take(&mut self.failures);
        let changes = plan(&self.desired, &mut self.actual);
        let now = Instant::now();
        let waits = changes.iter().filter(|change| change.touches_hooks());
        let waits = waits.count();
        if self.expedited.is_none() {
            self.expedited = Expedited::for_batch(waits);
        }
        for change in &changes {
            self.apply(change, now);
        }
        if waits > 0 && self.expedited.is_some() {
            self.expedited_until = Some(Instant::now() + expedite::LINGER);
        }
        if !changes.is_empty() {
            self.join_patches();
            // Devices that the datapath made just now.
            self.refresh_links().await;
        }
        self.set_controllers(now);
        self.ofproto
            .set_bundle_idle_timeout(self.desired.bundle_idle_timeout);
        let control = &self.threads.control;
        control
            .max_idle_ms
            .store(millis(self.desired.max_idle), Ordering::Relaxed);
        control.set_flow_limit(self.desired.flow_limit.min(self.dpif.limits().flows));
        control
            .paused
            .store(self.desired.flow_restore_wait, Ordering::Relaxed);
        if self.applied_cfg.is_none() {
            self.adopt_at = Some(now);
            self.adopt_by = now + ADOPT_BY;
        }
        self.limit_packet_ins();
        self.network.reconcile(&self.desired).await;
        self.applied_cfg = Some(self.desired.next_cfg);
        self.applied_version = self.ofproto.version();
    }

    /// Asks the kernel for every device.
    pub(crate) async fn refresh_links(&mut self) -> Difference {
        match self.netlink.dump().await {
            Ok(links) => {
                let difference = self.links.handle_dump(links);
                if difference.state {
                    self.describe_ports(None);
                }
                difference
            }
            Err(error) => {
                static LIMIT: RateLimit = RateLimit::new(5, 5);
                if let Some(dropped) = LIMIT.allow(Instant::now()) {
                    tracing::warn!("{error}{dropped}");
                }
                Difference::default()
            }
        }
    }

    /// Notes ports whose devices are gone, or are others under the same name.
    fn mark_vanished(&mut self) {
        for bridge in self.actual.bridges.values_mut() {
            for (name, port) in &mut bridge.ports {
                if let Some(device) = &port.device {
                    let there = self.links.get(name).map(|link| link.ifindex);
                    port.vanished = there != Some(device.ifindex);
                }
            }
        }
    }

    async fn set_devices(&mut self) {
        for change in device_changes(&self.desired, &self.actual, &self.links) {
            let result = match change.setting {
                Setting::Mac(mac) => self.netlink.set_mac(change.ifindex, mac).await,
                Setting::Mtu(mtu) => self.netlink.set_mtu(change.ifindex, mtu).await,
                Setting::Promiscuous => self.netlink.set_promiscuous(change.ifindex).await,
            };
            if let Err(error) = result
                // What cannot be set is tried again with every event, but told once.
                && self.refused.insert((change.ifindex, change.setting))
            {
                tracing::warn!("{}: {error}", change.name);
            }
        }
        if self.refused.len() > MAX_REFUSED {
            self.refused.clear();
        }
    }

    async fn write_status(&mut self) {
        let with_statistics = std::mem::take(&mut self.dirty.statistics);
        if with_statistics {
            let difference = self.refresh_links().await;
            self.dirty.config |= difference.presence;
            self.dirty.devices |= difference.state;
        }
        let mut controllers = self.network.statuses(Instant::now());
        for (uuid, role) in self.controller_roles() {
            if let Some(status) = controllers.get_mut(&uuid) {
                status.role = Some(role);
                // A row may stand for those who come as well as for one that is dialled.
                status.is_connected = true;
            }
        }
        for (uuid, counts) in self.packet_in_statuses() {
            if let Some(status) = controllers.get_mut(&uuid) {
                status.status.extend(counts);
            }
        }
        let request = {
            let mut txn = Transaction::new(self.database.session().replica());
            let facts = Facts {
                desired: &self.desired,
                actual: &self.actual,
                failures: &self.failures,
                links: &self.links,
                datapath_ids: &datapath_ids(&self.desired, &self.links),
                controllers: &controllers,
                patch_stats: &self.patch_stats(),
                with_statistics,
                cur_cfg: self.confirmed_cfg,
            };
            status::write(&mut txn, &facts);
            txn.build()
        };
        if let Some(request) = request {
            self.transaction = Some(self.database.session_mut().transact(request));
        }
    }

    /// Leaves after `request` was answered.
    pub(crate) fn exit(&mut self, cleanup: bool, request: unixctl::Request) {
        self.exit = Some(Exit {
            cleanup,
            request: Some(request),
        });
    }

    /// Publishes what changed; packets that are looked at from now on see it.
    pub(crate) fn publish(&mut self) -> Arc<Snapshot> {
        let snapshot = self.ofproto.publish();
        let awaited = self.conns.has_barriers() || self.confirmed_cfg != self.applied_cfg;
        self.threads.publish(&snapshot, awaited);
        snapshot
    }

    /// Several OpenFlow messages at once, so that a snapshot is published for all of them.
    fn handle_net_batch(&mut self, first: NetEvent, sources: &mut Sources) {
        let now = Instant::now();
        self.last_flow_mod = now;
        self.handle_net(first, now);
        for _ in 0..OPENFLOW_BATCH {
            match sources.openflow.try_recv() {
                Ok(event) => self.handle_net(event, now),
                Err(_) => break,
            }
        }
    }

    pub(crate) fn apply_effect(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::PacketIn { event, packet } => {
                self.ofproto.handle_packet_in(&event, &packet, now);
            }
            Effect::Learn(s) => {
                self.ofproto.learn_mac(s.bridge, s.vlan, s.mac, s.port, now);
            }
            Effect::Refresh(s) => {
                self.ofproto
                    .refresh_mac(s.bridge, s.vlan, s.mac, s.port, now);
            }
        }
    }

    /// Lets the revalidator translate what an earlier daemon left, once the tables are what they
    /// were: at once where no controller fills them, else when controllers are connected and have
    /// been silent for a while. Until then those megaflows go on as they are.
    fn try_adopt(&mut self, now: Instant) {
        let statuses = self.network.statuses(now);
        let controllers = self
            .desired
            .bridges
            .values()
            .flat_map(|bridge| bridge.controllers.keys());
        let filled = controllers
            .clone()
            .all(|uuid| statuses.get(uuid).is_some_and(|status| status.is_connected));
        let quiet = now.saturating_duration_since(self.last_flow_mod) >= ADOPT_QUIET;
        let none = controllers.count() == 0;
        if self.desired.flow_restore_wait || !(none || filled && quiet || now >= self.adopt_by) {
            self.adopt_at = Some(now + ADOPT_RETRY);
            return;
        }
        self.adopt_at = None;
        self.threads.control.adopting.store(true, Ordering::Relaxed);
    }

    async fn leave(&mut self, exit: Exit) {
        self.threads.stop();
        if exit.cleanup
            && let Err(error) = self.dpif.destroy()
        {
            tracing::warn!("cannot remove the datapath: {error}");
        }
        if let Some(request) = exit.request {
            request.reply_written(Ok(String::new())).await;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
