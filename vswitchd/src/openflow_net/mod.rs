//! OpenFlow sockets of all bridges: listeners, dialled controllers and connections, each a task.
//!
//! The event loop owns a [`Network`], tells it which bridges and controllers there are
//! ([`Network::reconcile`]), takes [`NetEvent`]s from its channel and answers through
//! [`Sender`]s. Bytes, version negotiation and echo are `openflow::Connection`'s; roles and
//! requests are `ofproto`'s.
//!
//! Every bridge listens on `<rundir>/<bridge>.mgmt` for tools and on `<rundir>/<bridge>.snoop`
//! for who wants a copy of what its controllers hear and say.

mod connection;
mod dial;
mod listen;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use daemon::dirs;
use daemon::stream::{Method, MethodError, Passive};
use openflow::{Message, Version, VersionBitmap};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::bridge::desired::{Bridge, Controller, Desired};
use crate::bridge::status::ControllerStatus;
pub use connection::Sender;

/// Messages of all connections that wait for the event loop; a full channel stops reading.
const EVENTS: usize = 1024;
/// Messages that a slow snooper may miss.
const SNOOPED: usize = 1024;

/// Numbers connections for as long as the process lives.
pub type NetId = u64;

/// What connections tell the event loop.
#[derive(Debug)]
pub enum NetEvent {
    /// Version negotiation is over.
    Opened {
        id: NetId,
        bridge: String,
        /// The row that names the controller; `None` for whoever came to the bridge.
        controller: Option<Uuid>,
        version: Version,
        sender: Sender,
    },
    Received {
        id: NetId,
        xid: u32,
        message: Message,
        /// All of it, for error replies.
        raw: Bytes,
    },
    /// Nothing waits to be written any more; comes once after [`Sender::tell_when_drained`].
    Drained {
        id: NetId,
    },
    Closed {
        id: NetId,
    },
    /// The state of a controller's connection changed.
    State,
}

/// All OpenFlow sockets.
pub struct Network {
    bridges: BTreeMap<String, BridgeNet>,
    events: mpsc::Sender<NetEvent>,
}

/// A task that ends with its handle.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Task {
    /// Ends the task and waits until what it held is gone.
    async fn end(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct BridgeNet {
    versions: VersionBitmap,
    snoop: broadcast::Sender<Bytes>,
    mgmt: Task,
    snoops: Task,
    controllers: BTreeMap<Uuid, ControllerNet>,
}

struct ControllerNet {
    method: Result<Method, MethodError>,
    limits: watch::Sender<Limits>,
    state: Arc<Mutex<ControllerState>>,
    _task: Task,
}

/// What the task of one controller shares with the event loop.
#[derive(Debug, Default)]
struct ControllerState {
    connected: bool,
    version: Option<Version>,
    state: &'static str,
    last_error: Option<String>,
    last_connected: Option<Instant>,
    last_disconnected: Option<Instant>,
}

/// Times that can change without a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Limits {
    /// Silence after which the peer is probed, and after as much again given up.
    probe: Option<Duration>,
    max_backoff: Duration,
}

impl From<&Controller> for Limits {
    fn from(controller: &Controller) -> Limits {
        Limits {
            probe: controller.inactivity_probe,
            max_backoff: controller.max_backoff,
        }
    }
}

/// What a connection's tasks need to know.
#[derive(Clone)]
struct Context {
    bridge: String,
    controller: Option<Uuid>,
    versions: VersionBitmap,
    events: mpsc::Sender<NetEvent>,
    /// What the database says, which may change under a connection.
    limits: watch::Receiver<Limits>,
    /// Copies of what a controller's connection carries.
    snoop: Option<broadcast::Sender<Bytes>>,
}

impl Network {
    pub fn new() -> (Network, mpsc::Receiver<NetEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let network = Network {
            bridges: BTreeMap::new(),
            events,
        };
        (network, receiver)
    }

    /// Opens and closes sockets so that there are exactly those of `desired`. A bridge whose
    /// protocols changed starts anew.
    pub async fn reconcile(&mut self, desired: &Desired) {
        let is_wanted = |(name, net): (&String, &mut BridgeNet)| {
            let bridge = desired.bridges.get(name);
            bridge.is_some_and(|bridge| versions(bridge) == net.versions)
        };
        let gone = self
            .bridges
            .extract_if(.., |name, net| !is_wanted((name, net)));
        for (_, net) in gone.collect::<Vec<_>>() {
            // A listener takes its socket's file with it, so it goes before another comes.
            net.mgmt.end().await;
            net.snoops.end().await;
        }
        for (name, bridge) in &desired.bridges {
            if !self.bridges.contains_key(name) {
                let net = self.open_bridge(bridge).await;
                self.bridges.insert(name.clone(), net);
            }
            if let Some(net) = self.bridges.get_mut(name) {
                if desired.flow_restore_wait {
                    // Whoever restores flows comes to the bridge's own socket.
                    net.controllers.clear();
                } else {
                    reconcile_controllers(net, bridge, &self.events).await;
                }
            }
        }
    }

    async fn open_bridge(&self, bridge: &Bridge) -> BridgeNet {
        let versions = versions(bridge);
        let (snoop, _) = broadcast::channel(SNOOPED);
        let context = Context {
            bridge: bridge.name.clone(),
            controller: None,
            versions,
            events: self.events.clone(),
            // Nobody changes these.
            limits: watch::channel(Limits::default()).1,
            snoop: None,
        };
        let mgmt =
            listen::serve(Passive::Unix(socket(&bridge.name, "mgmt")), context.clone()).await;
        let snoops = listen::snoop(
            Passive::Unix(socket(&bridge.name, "snoop")),
            context,
            snoop.clone(),
        )
        .await;
        BridgeNet {
            versions,
            snoop,
            mgmt: Task(mgmt),
            snoops: Task(snoops),
            controllers: BTreeMap::new(),
        }
    }

    /// The status columns of all controllers.
    pub fn statuses(&self, now: Instant) -> BTreeMap<Uuid, ControllerStatus> {
        self.bridges
            .values()
            .flat_map(|net| &net.controllers)
            .map(|(uuid, controller)| (*uuid, lock(&controller.state).status(now)))
            .collect()
    }

    /// Drops the dialled connections of one bridge or of all, so that they are made again.
    pub fn reconnect(&mut self, bridge: Option<&str>) {
        for (name, net) in &mut self.bridges {
            if bridge.is_none_or(|wanted| wanted == name) {
                // The next reconciliation starts them again.
                net.controllers.clear();
            }
        }
    }
}

async fn reconcile_controllers(
    net: &mut BridgeNet,
    bridge: &Bridge,
    events: &mpsc::Sender<NetEvent>,
) {
    net.controllers.retain(|uuid, have| {
        bridge
            .controllers
            .get(uuid)
            .is_some_and(|wanted| wanted.method == have.method)
    });
    for (uuid, wanted) in &bridge.controllers {
        if let Some(have) = net.controllers.get(uuid) {
            have.limits.send_if_modified(|limits| {
                let wanted = Limits::from(wanted);
                std::mem::replace(limits, wanted) != wanted
            });
            continue;
        }
        let (limits_sender, limits) = watch::channel(Limits::from(wanted));
        let state = Arc::new(Mutex::new(ControllerState::default()));
        let context = Context {
            bridge: bridge.name.clone(),
            controller: Some(*uuid),
            versions: net.versions,
            events: events.clone(),
            limits,
            snoop: Some(net.snoop.clone()),
        };
        let task = match &wanted.method {
            Ok(Method::Active(active)) => {
                tokio::spawn(dial::run(active.clone(), context, Arc::clone(&state)))
            }
            Ok(Method::Passive(passive)) => listen::serve(passive.clone(), context).await,
            Err(error) => {
                // The log has it already, as a setting that is not supported.
                lock(&state).last_error = Some(error.to_string());
                tokio::spawn(async {})
            }
        };
        net.controllers.insert(
            *uuid,
            ControllerNet {
                method: wanted.method.clone(),
                limits: limits_sender,
                state,
                _task: Task(task),
            },
        );
    }
}

impl ControllerState {
    fn status(&self, now: Instant) -> ControllerStatus {
        let mut status = BTreeMap::new();
        let mut put = |key: &str, value: String| {
            status.insert(key.to_owned(), value);
        };
        if !self.state.is_empty() {
            put("state", self.state.to_owned());
        }
        if let Some(version) = self.version {
            put("current_version", version.name().to_owned());
        }
        if let Some(error) = &self.last_error {
            put("last_error", error.clone());
        }
        let seconds = |at: Instant| now.saturating_duration_since(at).as_secs().to_string();
        if let Some(at) = self.last_connected {
            put("sec_since_connect", seconds(at));
        }
        if let Some(at) = self.last_disconnected {
            put("sec_since_disconnect", seconds(at));
        }
        ControllerStatus {
            is_connected: self.connected,
            role: None,
            status,
        }
    }
}

fn lock(state: &Mutex<ControllerState>) -> MutexGuard<'_, ControllerState> {
    match state.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}

fn socket(bridge: &str, extension: &str) -> PathBuf {
    dirs::rundir().join(format!("{bridge}.{extension}"))
}

fn versions(bridge: &Bridge) -> VersionBitmap {
    bridge.protocols.iter().copied().collect()
}
