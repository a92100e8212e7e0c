//! Meters: the table that meter-mods change.
//!
//! The datapath does the metering; a bridge's meter is one of the datapath's, under a number that
//! all bridges share. What the datapath is to be told comes back as a value. Two numbers are
//! meters of the switch itself, as in Open vSwitch: for packets that go to controllers, which is
//! kept here ([`ControllerMeter`]), as are those that `controller(meter_id=...)` names, and for
//! packets that userspace handles for the datapath. Those two only drop: a band of theirs that
//! re-marks counts.
//!
//! Source: OpenFlow 1.3.5, 5.7 and 7.3.4.4; the errors are those of ovs-vswitchd 3.1.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;
use std::time::Instant;

use openflow::OfError;
use openflow::message::{
    BandAction, METER_ALL, METER_CONTROLLER, METER_MAX, METER_SLOWPATH, MeterBand, MeterCommand,
    MeterConfig, MeterFeatures, MeterFlags, MeterMod,
};
use packet::DpMeter;
use packet::abi::METER_SLOTS;
use packet::meter::{self, MAX_BANDS, MeterCounters, MeterEntry, MeterUnit};

/// Meters of all bridges.
pub const MAX_METERS: u32 = METER_SLOTS - 1;

/// A meter of a bridge.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meter {
    pub config: MeterConfig,
    pub place: Place,
    /// When it was added; modifying it keeps that.
    pub created: Instant,
}

/// Who does the metering.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Datapath(DpMeter),
    /// [`ControllerMeter`]
    Switch,
}

/// What the datapath is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    Set(DpMeter, dpif::MeterConfig),
    Delete(DpMeter),
}

/// The datapath's meters by OpenFlow's numbers, as a snapshot has them.
pub type MeterView = Arc<BTreeMap<u32, ViewedMeter>>;

/// What translation knows of a meter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViewedMeter {
    pub number: DpMeter,
    /// It may change the DSCP of packets.
    pub remarks: bool,
}

/// Numbers of the datapath's meters that are in use.
#[derive(Default, Debug)]
pub struct Numbers {
    used: BTreeSet<u32>,
    last: u32,
}

impl Numbers {
    /// The next free number: what was freed last rests longest, as cached flows may still name it.
    fn take(&mut self) -> Option<DpMeter> {
        let free = |n: &u32| !self.used.contains(n);
        let mut numbers = (self.last.saturating_add(1)..=MAX_METERS).chain(1..=self.last);
        let number = numbers.find(free)?;
        self.used.insert(number);
        self.last = number;
        Some(DpMeter(number))
    }

    pub fn give_back(&mut self, meter: DpMeter) {
        self.used.remove(&meter.0);
    }
}

/// The meters of a bridge.
#[derive(Default, Debug)]
pub struct Meters {
    by_id: BTreeMap<u32, Meter>,
    /// The meters that packets to controllers have gone through: [`METER_CONTROLLER`], and those
    /// that actions name.
    for_controllers: BTreeMap<u32, ControllerMeter>,
}

impl Meters {
    pub fn get(&self, id: u32) -> Option<&Meter> {
        self.by_id.get(&id)
    }

    /// The meters that a request asks for.
    ///
    /// Errors: `OFPMMFC_UNKNOWN_METER`.
    pub fn asked(&self, id: u32) -> Result<Vec<(u32, &Meter)>, OfError> {
        if id == METER_ALL {
            return Ok(self.by_id.iter().map(|(id, m)| (*id, m)).collect());
        }
        match self.get(id) {
            Some(meter) => Ok(vec![(id, meter)]),
            None => Err(OfError::MmfcUnknownMeter),
        }
    }

    /// The view for the next snapshot.
    pub fn view(&self) -> MeterView {
        let in_datapath = |(id, meter): (&u32, &Meter)| match meter.place {
            Place::Datapath(number) => {
                let mut bands = meter.config.bands.iter();
                let remarks = may_remark(*id)
                    && bands.any(|b| matches!(b.action, BandAction::DscpRemark { .. }));
                Some((*id, ViewedMeter { number, remarks }))
            }
            Place::Switch => None,
        };
        Arc::new(self.by_id.iter().filter_map(in_datapath).collect())
    }

    /// Carries out a meter-mod: what the datapath is to do, and the numbers of the meters that are
    /// gone.
    ///
    /// Errors: `OFPMMFC_*`. After an error nothing has changed.
    pub fn meter_mod(
        &mut self,
        request: &MeterMod,
        numbers: &mut Numbers,
        now: Instant,
    ) -> Result<(Vec<Change>, Vec<u32>), OfError> {
        let id = request.meter.meter_id;
        if request.command == MeterCommand::Delete {
            return Ok(self.delete(id, numbers));
        }
        let config = check(&request.meter)?;
        let old = self.get(id);
        let (place, created) = match (request.command, old) {
            (MeterCommand::Add, Some(_)) => return Err(OfError::MmfcMeterExists),
            (MeterCommand::Add, None) if id == METER_CONTROLLER => (Place::Switch, now),
            (MeterCommand::Add, None) => {
                let number = numbers.take().ok_or(OfError::MmfcOutOfMeters)?;
                (Place::Datapath(number), now)
            }
            (_, Some(old)) => (old.place, old.created),
            (_, None) => return Err(OfError::MmfcUnknownMeter),
        };
        let meter = Meter {
            config: request.meter.clone(),
            place,
            created,
        };
        self.by_id.insert(id, meter);
        let changes = match place {
            Place::Datapath(number) => vec![Change::Set(number, config)],
            Place::Switch => Vec::new(),
        };
        self.for_controllers.remove(&id);
        Ok((changes, Vec::new()))
    }

    /// May a packet of so many bytes go to controllers? `id` is the meter that the action names, if
    /// it does; the one for all such packets counts otherwise. Where there is no meter, it may.
    pub fn admits(&mut self, id: Option<u32>, bytes: usize, now: Instant) -> bool {
        let id = id.unwrap_or(METER_CONTROLLER);
        let Some(meter) = self.by_id.get(&id) else {
            return true;
        };
        let limit = match self.for_controllers.entry(id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                // What was let in before is in order.
                let config = check(&meter.config).ok();
                match config.and_then(|config| config.entry().ok()) {
                    Some(full) => entry.insert(ControllerMeter::new(full, now)),
                    None => return true,
                }
            }
        };
        limit.admits(bytes, now)
    }

    /// What a meter has counted of packets for controllers.
    pub fn controller_stats(&self, id: u32) -> MeterCounters {
        let meter = self.for_controllers.get(&id);
        meter.map(|m| m.counters).unwrap_or_default()
    }

    fn delete(&mut self, id: u32, numbers: &mut Numbers) -> (Vec<Change>, Vec<u32>) {
        let gone = match id {
            METER_ALL => std::mem::take(&mut self.by_id),
            _ => self.by_id.remove_entry(&id).into_iter().collect(),
        };
        let mut changes = Vec::new();
        for meter in gone.values() {
            if let Place::Datapath(number) = meter.place {
                numbers.give_back(number);
                changes.push(Change::Delete(number));
            }
        }
        for id in gone.keys() {
            self.for_controllers.remove(id);
        }
        (changes, gone.into_keys().collect())
    }
}

/// What the datapath is to be told of a meter.
fn check(meter: &MeterConfig) -> Result<dpif::MeterConfig, OfError> {
    const KNOWN: u16 =
        MeterFlags::KBPS.0 | MeterFlags::PKTPS.0 | MeterFlags::BURST.0 | MeterFlags::STATS.0;
    if !matches!(
        meter.meter_id,
        1..=METER_MAX | METER_SLOWPATH | METER_CONTROLLER
    ) {
        return Err(OfError::MmfcInvalidMeter);
    }
    let kbps = meter.flags.contains(MeterFlags::KBPS);
    let packets = meter.flags.contains(MeterFlags::PKTPS);
    if meter.flags.0 & !KNOWN != 0 || kbps == packets {
        return Err(OfError::MmfcBadFlags);
    }
    if !matches!(meter.bands.len(), 1..=MAX_BANDS) {
        return Err(OfError::MmfcOutOfBands);
    }
    let bands: Result<Vec<_>, OfError> = meter
        .bands
        .iter()
        .map(|band| check_band(band, meter))
        .collect();
    Ok(dpif::MeterConfig {
        unit: match packets {
            true => MeterUnit::Packets,
            false => MeterUnit::Kilobits,
        },
        bands: bands?,
    })
}

/// Packets for userspace are only limited: they go on as they came.
fn may_remark(meter_id: u32) -> bool {
    !matches!(meter_id, METER_SLOWPATH | METER_CONTROLLER)
}

fn check_band(band: &MeterBand, config: &MeterConfig) -> Result<dpif::MeterBand, OfError> {
    let action = match band.action {
        BandAction::Drop => meter::BandAction::Drop,
        BandAction::DscpRemark { prec_level } => {
            meter::BandAction::Remark(match may_remark(config.meter_id) {
                true => prec_level,
                false => 0,
            })
        }
        BandAction::Experimenter { .. } => return Err(OfError::MmfcBadBand),
    };
    if band.rate == 0 {
        return Err(OfError::MmfcBadRate);
    }
    Ok(dpif::MeterBand {
        rate: band.rate,
        // Without a burst of its own, what comes in a second may come at once.
        burst: match config.flags.contains(MeterFlags::BURST) && band.burst != 0 {
            true => band.burst,
            false => band.rate,
        },
        action,
    })
}

/// What `OFPMP_METER_FEATURES` answers.
pub fn features() -> MeterFeatures {
    let flags = [
        MeterFlags::KBPS,
        MeterFlags::PKTPS,
        MeterFlags::BURST,
        MeterFlags::STATS,
    ];
    MeterFeatures {
        max_meters: MAX_METERS,
        // `OFPMBT_DROP`, `OFPMBT_DSCP_REMARK`
        band_types: 1 << 1 | 1 << 2,
        capabilities: flags.iter().fold(0, |all, f| all | u32::from(f.0)),
        max_bands: MAX_BANDS as u8,
        // No type of band that OpenFlow defines has colors.
        max_color: 0,
    }
}

/// A meter for packets that go to controllers: it may not keep a packet from being forwarded
/// too, so it is asked where packet-ins are made. A meter of the datapath has a rate there and one
/// here.
#[derive(Clone, Debug)]
pub struct ControllerMeter {
    entry: MeterEntry,
    counters: MeterCounters,
    /// Its clock starts here.
    base: Instant,
}

impl ControllerMeter {
    fn new(entry: MeterEntry, now: Instant) -> ControllerMeter {
        ControllerMeter {
            entry,
            counters: MeterCounters::default(),
            base: now,
        }
    }

    /// May a packet of so many bytes go to controllers? A band that re-marks counts it, and lets it
    /// go as it is.
    fn admits(&mut self, bytes: usize, now: Instant) -> bool {
        let now_ns = now.saturating_duration_since(self.base).as_nanos();
        let now_ns = u64::try_from(now_ns).unwrap_or(u64::MAX);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let band = self.entry.measure(now_ns, 1, bytes);
        self.counters.count(bytes, band);
        self.entry.action(band) != Some(meter::BandAction::Drop)
    }
}
