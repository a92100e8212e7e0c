//! The kernel datapath by itself: `dpif::ebpf` and the eBPF programs, with packets through veth
//! pairs in a network namespace. Needs root.

mod agree;
mod bench;
mod forwarding;
mod frames;
mod meters;
mod ports;
mod set_field;
mod tables;
mod upcalls;
mod wire;
