//! Why a packet went nowhere: one list for the eBPF programs and userspace.
//!
//! Each reason has a per-CPU counter in the map `DROPS` (index = the discriminant) and a name in
//! command output.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $n:literal, $name:literal;)*) => {
        /// Reason for a drop; the discriminant is the index of its counter.
        #[repr(u32)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum DropReason { $($(#[$doc])* $variant = $n,)* }

        impl DropReason {
            /// Every reason, in discriminant order.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// The name in command output and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)* }
            }

            pub const fn from_u32(n: u32) -> Option<DropReason> {
                match n { $($n => Some(DropReason::$variant),)* _ => None }
            }
        }
    };
}

drop_reasons! {
    /// Not a drop: never counted.
    None = 0, "none";
    /// The OpenFlow tables said so: an explicit drop or no matching output.
    Policy = 1, "policy";
    /// No rule matched and the table's miss behaviour is to drop.
    TableMiss = 2, "table-miss";
    /// NORMAL: the VLAN is not allowed on the ingress port, or the tag is not acceptable there.
    VlanIngress = 3, "vlan-ingress";
    /// NORMAL: a reserved link-layer destination that is not forwarded.
    ReservedAddress = 4, "reserved-address";
    /// NORMAL: the only output would have been the ingress port.
    InPort = 5, "in-port";
    /// The ingress port is not a port of the datapath.
    UnknownPort = 6, "unknown-port";
    /// The ingress or egress port is administratively down or its receive is disabled.
    PortDown = 7, "port-down";
    /// The frame is too short for its headers, or cannot be parsed safely.
    Malformed = 8, "malformed";
    /// The upcall ring was full.
    UpcallRingFull = 9, "upcall-ring-full";
    /// The per-port upcall quota was used up.
    UpcallQuota = 10, "upcall-quota";
    /// A translation for the same key is under way and its queue of packets is full.
    UpcallPending = 11, "upcall-pending";
    /// Userspace could not translate (internal limits such as resubmit depth).
    Translation = 12, "translation";
    /// An action could not be applied to this packet (for example, no such header).
    ActionFailed = 13, "action-failed";
    /// The action list is longer or nested deeper than the datapath runs.
    TooManyActions = 14, "too-many-actions";
    /// Output to a port that the datapath does not have.
    NoSuchOutput = 15, "no-such-output";
    /// The kernel refused the redirect.
    RedirectFailed = 16, "redirect-failed";
    /// The time-to-live would have become zero.
    TtlExpired = 17, "ttl-expired";
    /// A metering or policing token bucket was empty.
    Policed = 18, "policed";
    /// An injected packet named an action slot that userspace had not filled.
    BadInjection = 19, "bad-injection";
    /// Larger than the egress port's MTU and not segmentable.
    TooBig = 20, "too-big";
}

/// Number of counters.
pub const DROP_REASONS: usize = DropReason::ALL.len();
