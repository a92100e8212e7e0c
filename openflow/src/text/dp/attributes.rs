//! Attributes `name(field=value/mask,...)`, of flows and of set actions.

use std::fmt::Write;

use packet::DpPort;
use packet::key::{FRAG_ANY, FRAG_LATER};

use super::{DpPortNames, TCP_FLAGS};
use crate::text::flags;
use crate::text::value;

/// Writes attributes separated by commas, and inside each its fields.
pub struct Attributes<'a> {
    pub out: &'a mut String,
    /// Shows fields that the mask does not touch, too.
    pub verbose: bool,
    /// No attribute was written yet.
    pub first: bool,
}

impl Attributes<'_> {
    /// Starts `name(`.
    pub fn open(&mut self, name: &str) {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        self.out.push_str(name);
        self.out.push('(');
    }

    pub fn close(&mut self) {
        if self.out.ends_with(',') {
            self.out.pop();
        }
        self.out.push(')');
    }

    /// Starts a field of the open attribute when its mask is not zero or all are shown.
    pub fn field(&mut self, name: &str, mask: u128) -> bool {
        let shown = mask != 0 || self.verbose;
        if shown && !name.is_empty() {
            self.out.push_str(name);
            self.out.push('=');
        }
        shown
    }

    pub fn hex(&mut self, name: &str, v: u32, mask: u32, full: u32) {
        if self.field(name, mask.into()) {
            value::write_hex(self.out, v.into());
            if mask != full {
                self.out.push('/');
                value::write_hex(self.out, mask.into());
            }
            self.out.push(',');
        }
    }

    pub fn decimal(&mut self, name: &str, v: u16, mask: u16, full: u16) {
        if self.field(name, mask.into()) {
            let _ = write!(self.out, "{v}");
            if mask != full {
                self.out.push('/');
                value::write_hex(self.out, mask.into());
            }
            self.out.push(',');
        }
    }

    pub fn eth(&mut self, name: &str, v: [u8; 6], mask: [u8; 6]) {
        let (v, mask) = (be48(v), be48(mask));
        if self.field(name, mask.into()) {
            value::write_eth(self.out, v);
            if mask != 0xffff_ffff_ffff {
                self.out.push('/');
                value::write_eth(self.out, mask);
            }
            self.out.push(',');
        }
    }

    pub fn ipv4(&mut self, name: &str, v: [u8; 4], mask: [u8; 4]) {
        let (v, mask) = (u32::from_be_bytes(v), u32::from_be_bytes(mask));
        if self.field(name, mask.into()) {
            value::write_ipv4(self.out, v);
            if mask != u32::MAX {
                self.out.push('/');
                value::write_ipv4(self.out, mask);
            }
            self.out.push(',');
        }
    }

    pub fn ipv6(&mut self, name: &str, v: [u8; 16], mask: [u8; 16]) {
        let (v, mask) = (u128::from_be_bytes(v), u128::from_be_bytes(mask));
        if self.field(name, mask) {
            value::write_ipv6(self.out, v);
            if mask != u128::MAX {
                self.out.push('/');
                value::write_ipv6(self.out, mask);
            }
            self.out.push(',');
        }
    }

    pub fn frag(&mut self, v: u8, mask: u8) {
        if self.field("frag", mask.into()) {
            self.out.push_str(match v & (FRAG_ANY | FRAG_LATER) {
                0 => "no",
                FRAG_ANY => "first",
                3 => "later",
                _ => "error",
            });
            // The datapath always knows both bits; a narrower mask still shows what it is.
            if mask & 3 != 3 && mask != u8::MAX {
                let _ = write!(self.out, "/{mask:#x}");
            }
            self.out.push(',');
        }
    }
}

pub fn be48(b: [u8; 6]) -> u64 {
    packet::EthAddr(b).to_u64()
}

pub fn be16(b: [u8; 2]) -> u16 {
    u16::from_be_bytes(b)
}

/// `+syn-ack` under a partial mask, `syn|ack` under a full one, `0` for none.
pub fn write_tcp_flags(out: &mut String, flags: u16, mask: u16) {
    flags::write(out, flags.into(), mask.into(), &TCP_FLAGS);
}

pub fn write_port(out: &mut String, port: DpPort, names: &dyn DpPortNames) {
    match names.name(port) {
        Some(name) => value::write_name(out, &name),
        None => {
            let _ = write!(out, "{}", port.0);
        }
    }
}
