//! The whole switch in one process and in virtual time: `Ofproto`, the packet handlers, the
//! revalidator, and the simulated datapath. Needs nothing.

mod cases;
mod rig;
mod scenarios;
