//! Meters: which packets of a stream are within a rate, and what happens to the others.
//!
//! A meter has bands, each with a rate and what it does with packets above that rate. All bands
//! measure all packets; of those whose rate a packet exceeds, the one with the highest rate is
//! applied to it (OpenFlow 1.3.5, 5.7). The code is that of the eBPF programs and the simulator.
//!
//! A band remembers the time until which what it let through so far lasts at its rate; a packet
//! that would move that time more than the burst beyond now is too much. This is a token bucket
//! that fills at `rate` and holds `burst`, told by one number instead of two (ITU-T I.371,
//! "virtual scheduling algorithm").
//!
//! CPUs race on the number: now and then what two packets took counts once.

/// Bands of one meter, as many as ovs-vswitchd has.
pub const MAX_BANDS: usize = 8;

/// Times of meters are in sixteenths of a nanosecond, so that rates of packets at any speed of a
/// network round to less than a percent.
const TICKS_PER_NS: u64 = 16;
/// What a rate of one per second earns in a millisecond is one unit: a bit of kilobits, or a
/// thousandth of a packet.
const TICKS_PER_MS: u64 = 1_000_000 * TICKS_PER_NS;
const UNITS_PER_PACKET: u64 = 1000;
/// Longer bursts would make the time run over.
const MAX_BURST_TICKS: u64 = 1 << 62;

/// What rates of a meter count.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum MeterUnit {
    /// Kilobits (1000 bits) of frames, from the Ethernet header on.
    Kilobits,
    Packets,
}

/// What a band does with packets above its rate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BandAction {
    Drop,
    /// Raises the drop precedence by so many levels, see [`remarked`].
    Remark(u8),
}

/// One rate of a meter.
///
/// Units: `rate` in kilobits or packets per second, `burst` in kilobits or packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MeterBand {
    pub rate: u32,
    pub burst: u32,
    pub action: BandAction,
}

/// A meter as `abi::maps::METERS` holds it; one with a single band is in its first bytes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MeterEntry {
    /// Bits of [`meter_flags`]; 0: no such meter.
    pub flags: u32,
    /// How many of `bands` count.
    pub len: u32,
    pub bands: [BandEntry; MAX_BANDS],
}

/// Bits of [`MeterEntry::flags`].
pub mod meter_flags {
    pub const EXISTS: u32 = 1;
    /// Rates are in packets.
    pub const PACKETS: u32 = 2;
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BandEntry {
    /// `CLOCK_MONOTONIC` in ticks: what was let through lasts until then.
    pub until: u64,
    /// How far `until` may lie ahead of now.
    pub burst_ticks: u64,
    /// Kilobits or packets per second; 0: no limit.
    pub rate: u32,
    /// 1: packets above the rate are re-marked by `levels`; 0: they are dropped.
    pub remarks: u8,
    pub levels: u8,
    pub pad: u16,
}

const _: () = assert!(size_of::<BandEntry>() == 24);
const _: () = assert!(size_of::<MeterEntry>() == 8 + 24 * MAX_BANDS);

impl MeterEntry {
    /// A meter whose buckets are full; without bands it counts only. `None`: more than
    /// [`MAX_BANDS`].
    pub fn new(unit: MeterUnit, bands: &[MeterBand]) -> Option<MeterEntry> {
        let packets = match unit {
            MeterUnit::Kilobits => 0,
            MeterUnit::Packets => meter_flags::PACKETS,
        };
        let mut entry = MeterEntry {
            flags: meter_flags::EXISTS | packets,
            len: bands.len() as u32,
            ..MeterEntry::default()
        };
        for (to, band) in entry.bands.get_mut(..bands.len())?.iter_mut().zip(bands) {
            *to = BandEntry::new(band);
        }
        Some(entry)
    }

    #[inline(always)]
    pub fn exists(&self) -> bool {
        self.flags & meter_flags::EXISTS != 0
    }

    /// Lets every band measure these packets; returns the one that is to be applied to them.
    #[inline(always)]
    pub fn measure(&mut self, now_ns: u64, packets: u32, bytes: u32) -> Option<usize> {
        let units = if self.flags & meter_flags::PACKETS != 0 {
            (packets as u64).wrapping_mul(UNITS_PER_PACKET)
        } else {
            (bytes as u64).wrapping_mul(8)
        };
        let ticks = units.wrapping_mul(TICKS_PER_MS);
        let now = now_ns.wrapping_mul(TICKS_PER_NS);
        let len = self.len as usize;
        let (mut applied, mut highest) = (None, 0);
        for (n, band) in self.bands.iter_mut().enumerate() {
            if n >= len {
                break;
            }
            if !band.admit(now, ticks) && band.rate > highest {
                (applied, highest) = (Some(n), band.rate);
            }
        }
        applied
    }

    /// What the band that [`MeterEntry::measure`] returned does.
    #[inline(always)]
    pub fn action(&self, band: Option<usize>) -> Option<BandAction> {
        let band = self.bands.get(band?)?;
        Some(match band.remarks {
            0 => BandAction::Drop,
            _ => BandAction::Remark(band.levels),
        })
    }
}

impl BandEntry {
    fn new(band: &MeterBand) -> BandEntry {
        // Units in a kilobit are as many as in a packet.
        let burst = u128::from(band.burst) * u128::from(UNITS_PER_PACKET);
        let burst = burst * u128::from(TICKS_PER_MS);
        let ticks = burst.checked_div(u128::from(band.rate)).unwrap_or(0);
        let (remarks, levels) = match band.action {
            BandAction::Drop => (0, 0),
            BandAction::Remark(levels) => (1, levels),
        };
        BandEntry {
            until: 0,
            burst_ticks: u64::try_from(ticks)
                .unwrap_or(MAX_BURST_TICKS)
                .min(MAX_BURST_TICKS),
            rate: band.rate,
            remarks,
            levels,
            pad: 0,
        }
    }

    /// Takes from the bucket what packets cost that last `ticks` at a rate of one; false, and
    /// nothing taken, when it holds less.
    #[inline(always)]
    fn admit(&mut self, now: u64, ticks: u64) -> bool {
        let Some(cost) = ticks.checked_div(self.rate as u64) else {
            return true;
        };
        let until = self.until;
        let start = if until > now { until } else { now };
        let end = start.wrapping_add(cost);
        if end.wrapping_sub(now) > self.burst_ticks {
            return false;
        }
        self.until = end;
        true
    }
}

/// The type of service or traffic class `tos` with its drop precedence raised by `levels`, at most
/// to the highest.
///
/// Only the codepoints of Assured Forwarding say a drop precedence: AFxy is 8x + 2y, with classes x
/// of 1 to 4 and precedences y of 1 to 3 (RFC 2597, 6). All others, class selectors (RFC 2474)
/// among them, stay as they are, and so do the two bits of ECN.
///
/// Source: OpenFlow 1.5.1, `struct ofp_meter_band_dscp_remark`.
#[inline(always)]
pub const fn remarked(tos: u8, levels: u8) -> u8 {
    const HIGHEST: u8 = 3;
    let dscp = tos >> 2;
    let (class, precedence) = (dscp >> 3, dscp >> 1 & 3);
    if class < 1 || class > 4 || precedence == 0 || dscp & 1 != 0 {
        return tos;
    }
    let room = HIGHEST - precedence;
    let raised = precedence + if levels < room { levels } else { room };
    class << 5 | raised << 3 | tos & 3
}

/// What one CPU counted for a meter, or all of them.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MeterCounters {
    pub packets: u64,
    pub bytes: u64,
    /// What each band was applied to.
    pub bands: [BandCounters; MAX_BANDS],
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct BandCounters {
    pub packets: u64,
    pub bytes: u64,
}

const _: () = assert!(size_of::<MeterCounters>() == 16 + 16 * MAX_BANDS);

impl MeterCounters {
    /// Counts a packet; `band` is the one that is applied to it.
    #[inline(always)]
    pub fn count(&mut self, bytes: u32, band: Option<usize>) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u64);
        if let Some(n) = band
            && let Some(c) = self.bands.get_mut(n)
        {
            c.packets = c.packets.wrapping_add(1);
            c.bytes = c.bytes.wrapping_add(bytes as u64);
        }
    }

    pub fn add(&mut self, other: &MeterCounters) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        for (to, from) in self.bands.iter_mut().zip(&other.bands) {
            to.packets = to.packets.wrapping_add(from.packets);
            to.bytes = to.bytes.wrapping_add(from.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn drops(unit: MeterUnit, rate: u32, burst: u32) -> MeterEntry {
        let action = BandAction::Drop;
        let band = MeterBand {
            rate,
            burst,
            action,
        };
        MeterEntry::new(unit, &[band]).expect("one band fits")
    }

    /// Packets of 1250 bytes that pass when they come `every` so many nanoseconds for `ms`.
    fn passed(mut meter: MeterEntry, every_ns: u64, ms: u64) -> u64 {
        let start = 77 * MS;
        let times = (0..=ms * MS / every_ns).map(|n| start + n * every_ns);
        let passes = |t: &u64| meter.measure(*t, 1, 1250).is_none();
        times.filter(passes).count() as u64
    }

    #[test]
    fn rates_and_bursts() {
        // 10,000 bits each: 1000 kbps are 100 packets per second.
        let kbps = drops(MeterUnit::Kilobits, 1000, 500);
        // The burst of 50 first, then 100 in each second.
        assert_eq!(passed(kbps, MS, 2000), 50 + 200);
        assert_eq!(passed(kbps, 10 * MS, 2000), 201, "at the rate, all pass");
        let packets = drops(MeterUnit::Packets, 100, 20);
        assert_eq!(passed(packets, MS, 1000), 20 + 100);
        // A bucket that holds less than a packet lets none through.
        let small = drops(MeterUnit::Kilobits, 1000, 9);
        assert_eq!(passed(small, MS, 1000), 0);
        let unlimited = MeterEntry::new(MeterUnit::Kilobits, &[]).expect("no bands");
        assert_eq!(passed(unlimited, MS, 1000), 1001);
        // Extremes stay within their numbers.
        let most = drops(MeterUnit::Kilobits, u32::MAX, u32::MAX);
        assert_eq!(passed(most, MS, 100), 101);
        let slow = drops(MeterUnit::Packets, 1, u32::MAX);
        assert_eq!(passed(slow, MS, 100), 101);
    }

    #[test]
    fn super_packets_cost_what_their_segments_do() {
        let mut meter = drops(MeterUnit::Packets, 10, 10);
        assert_eq!(meter.measure(MS, 8, 12_000), None);
        assert_eq!(meter.measure(MS, 3, 4_500), Some(0));
        assert_eq!(meter.measure(MS, 2, 3_000), None);
    }

    /// A rate between two bands exceeds the lower one; one above both is the higher one's.
    #[test]
    fn the_highest_rate_that_is_exceeded_counts() {
        let band = |rate, action| MeterBand {
            rate,
            burst: 1,
            action,
        };
        // Not in the order of their rates; two have the same.
        let bands = [
            band(100, BandAction::Remark(1)),
            band(400, BandAction::Drop),
            band(200, BandAction::Remark(2)),
            band(200, BandAction::Remark(7)),
        ];
        let meter = MeterEntry::new(MeterUnit::Packets, &bands).expect("four bands fit");
        let applied = |per_second: u64| {
            let (mut meter, mut counts) = (meter, [0; 5]);
            // Long enough for whatever is exceeded; times from which nothing has to be rounded.
            for n in 0..per_second * 4 {
                let band = meter.measure(77 * MS + n * 1000 * MS / per_second, 1, 60);
                counts[band.map_or(4, |n| n)] += 1;
            }
            counts
        };
        assert_eq!(applied(100), [0, 0, 0, 0, 400]);
        // Half are above 100; no other band says anything.
        assert_eq!(applied(200), [400, 0, 0, 0, 400]);
        // Of 400, 200 are above 200, and the first band of that rate has them; of the others
        // half are above 100.
        let [low, drop, middle, twin, none] = applied(400);
        assert_eq!((drop, middle, twin), (0, 800, 0));
        assert_eq!(low + none, 800);
        let [_, drop, middle, twin, _] = applied(800);
        assert_eq!((drop, twin), (1600, 0));
        assert!(middle > 0);

        assert_eq!(meter.action(Some(2)), Some(BandAction::Remark(2)));
        assert_eq!(meter.action(Some(1)), Some(BandAction::Drop));
        assert_eq!(meter.action(None), None);
        assert_eq!(meter.action(Some(MAX_BANDS)), None);
    }

    #[test]
    fn bands_have_a_limit() {
        let band = MeterBand {
            rate: 1,
            burst: 1,
            action: BandAction::Drop,
        };
        let eight = MeterEntry::new(MeterUnit::Packets, &[band; MAX_BANDS]);
        assert!(eight.is_some_and(|m| m.len == 8 && m.bands[7].rate == 1));
        let nine = MeterEntry::new(MeterUnit::Packets, &[band; MAX_BANDS + 1]);
        assert_eq!(nine, None);
    }

    /// The table of RFC 2597, section 6, by name.
    #[test]
    fn only_assured_forwarding_has_a_drop_precedence() {
        const AF: [[u8; 3]; 4] = [
            [0b001010, 0b001100, 0b001110],
            [0b010010, 0b010100, 0b010110],
            [0b011010, 0b011100, 0b011110],
            [0b100010, 0b100100, 0b100110],
        ];
        for tos in 0..=u8::MAX {
            let (dscp, ecn) = (tos >> 2, tos & 3);
            let place = AF.iter().find_map(|class| {
                let y = class.iter().position(|d| *d == dscp)?;
                Some((class, y))
            });
            for levels in [0, 1, 2, 3, 64, 255] {
                let want = match place {
                    Some((class, y)) => class[2.min(y + usize::from(levels))],
                    None => dscp,
                };
                assert_eq!(
                    remarked(tos, levels),
                    want << 2 | ecn,
                    "{tos:#x} by {levels}"
                );
            }
        }
    }

    #[test]
    fn counters_tell_the_bands_apart() {
        let mut c = MeterCounters::default();
        c.count(100, None);
        c.count(200, Some(7));
        c.count(300, Some(MAX_BANDS));
        let mut sum = c;
        sum.add(&c);
        assert_eq!((sum.packets, sum.bytes), (6, 1200));
        let last = BandCounters {
            packets: 2,
            bytes: 400,
        };
        assert_eq!(sum.bands[7], last);
        assert_eq!(sum.bands[..7], [BandCounters::default(); 7]);
    }
}
