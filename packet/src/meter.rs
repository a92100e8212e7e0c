//! Meters: which packets of a stream are within a rate.
//!
//! One function, [`MeterEntry::admit`], for the eBPF programs and the simulator. A meter remembers
//! the time until which what it let through so far lasts at its rate; a packet that would move
//! that time more than the burst beyond now is too much. This is a token bucket that fills at
//! `rate` and holds `burst`, told by one number instead of two (ITU-T I.371, "virtual scheduling
//! algorithm").
//!
//! CPUs race on the number: now and then what two packets took counts once.

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

/// A meter as `abi::maps::METERS` holds it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MeterEntry {
    /// `CLOCK_MONOTONIC` in ticks: what was let through lasts until then.
    pub until: u64,
    /// How far `until` may lie ahead of now.
    pub burst_ticks: u64,
    /// Kilobits or packets per second; 0: no limit.
    pub rate: u32,
    /// Bits of [`meter_flags`]; 0: no such meter.
    pub flags: u32,
}

/// Bits of [`MeterEntry::flags`].
pub mod meter_flags {
    pub const EXISTS: u32 = 1;
    /// The rate is in packets.
    pub const PACKETS: u32 = 2;
}

const _: () = assert!(size_of::<MeterEntry>() == 24);

impl MeterEntry {
    /// A meter that counts and lets everything through.
    pub const UNLIMITED: MeterEntry = MeterEntry {
        until: 0,
        burst_ticks: 0,
        rate: 0,
        flags: meter_flags::EXISTS,
    };

    /// A full bucket.
    ///
    /// Units: `rate` in kilobits or packets per second, `burst` in kilobits or packets.
    pub fn new(unit: MeterUnit, rate: u32, burst: u32) -> MeterEntry {
        let packets = match unit {
            MeterUnit::Kilobits => 0,
            MeterUnit::Packets => meter_flags::PACKETS,
        };
        // Units in a kilobit are as many as in a packet.
        let burst = u128::from(burst) * u128::from(UNITS_PER_PACKET) * u128::from(TICKS_PER_MS);
        let ticks = burst.checked_div(u128::from(rate)).unwrap_or(0);
        MeterEntry {
            until: 0,
            burst_ticks: u64::try_from(ticks)
                .unwrap_or(MAX_BURST_TICKS)
                .min(MAX_BURST_TICKS),
            rate,
            flags: meter_flags::EXISTS | packets,
        }
    }

    #[inline(always)]
    pub fn exists(&self) -> bool {
        self.flags & meter_flags::EXISTS != 0
    }

    /// Takes from the bucket what these packets cost; false, and nothing taken, when it holds less.
    #[inline(always)]
    pub fn admit(&mut self, now_ns: u64, packets: u32, bytes: u32) -> bool {
        let units = if self.flags & meter_flags::PACKETS != 0 {
            (packets as u64).wrapping_mul(UNITS_PER_PACKET)
        } else {
            (bytes as u64).wrapping_mul(8)
        };
        let Some(cost) = units
            .wrapping_mul(TICKS_PER_MS)
            .checked_div(self.rate as u64)
        else {
            return true;
        };
        let now = now_ns.wrapping_mul(TICKS_PER_NS);
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

/// What one CPU counted for a meter.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MeterCounters {
    pub packets: u64,
    pub bytes: u64,
    pub dropped_packets: u64,
    pub dropped_bytes: u64,
}

impl MeterCounters {
    #[inline(always)]
    pub fn count(&mut self, bytes: u32, admitted: bool) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u64);
        if !admitted {
            self.dropped_packets = self.dropped_packets.wrapping_add(1);
            self.dropped_bytes = self.dropped_bytes.wrapping_add(bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Packets of 1250 bytes that pass when they come `every` so many nanoseconds for `ms`.
    fn passed(mut meter: MeterEntry, every_ns: u64, ms: u64) -> u64 {
        let start = 77 * MS;
        let times = (0..=ms * MS / every_ns).map(|n| start + n * every_ns);
        times.filter(|t| meter.admit(*t, 1, 1250)).count() as u64
    }

    #[test]
    fn rates_and_bursts() {
        // 10,000 bits each: 1000 kbps are 100 packets per second.
        let kbps = MeterEntry::new(MeterUnit::Kilobits, 1000, 500);
        // The burst of 50 first, then 100 in each second.
        assert_eq!(passed(kbps, MS, 2000), 50 + 200);
        assert_eq!(passed(kbps, 10 * MS, 2000), 201, "at the rate, all pass");
        let packets = MeterEntry::new(MeterUnit::Packets, 100, 20);
        assert_eq!(passed(packets, MS, 1000), 20 + 100);
        // A bucket that holds less than a packet lets none through.
        let small = MeterEntry::new(MeterUnit::Kilobits, 1000, 9);
        assert_eq!(passed(small, MS, 1000), 0);
        assert_eq!(passed(MeterEntry::UNLIMITED, MS, 1000), 1001);
        // Extremes stay within their numbers.
        let most = MeterEntry::new(MeterUnit::Kilobits, u32::MAX, u32::MAX);
        assert_eq!(passed(most, MS, 100), 101);
        let slow = MeterEntry::new(MeterUnit::Packets, 1, u32::MAX);
        assert_eq!(passed(slow, MS, 100), 101);
    }

    #[test]
    fn super_packets_cost_what_their_segments_do() {
        let mut meter = MeterEntry::new(MeterUnit::Packets, 10, 10);
        assert!(meter.admit(MS, 8, 12_000));
        assert!(!meter.admit(MS, 3, 4_500));
        assert!(meter.admit(MS, 2, 3_000));
    }
}
