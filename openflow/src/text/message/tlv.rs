//! The table of Geneve options.

use std::fmt::Write;

use crate::message::{TlvCommand, TlvMap, TlvTable, TlvTableMod};

pub fn write_mod(out: &mut String, tm: &TlvTableMod) {
    match tm.command {
        TlvCommand::Add => out.push_str("\n ADD"),
        TlvCommand::Delete => out.push_str("\n DEL"),
        TlvCommand::Clear => return out.push_str("\n CLEAR"),
    }
    write_maps(out, &tm.maps);
}

pub fn write_table(out: &mut String, table: &TlvTable) {
    let space: u32 = table.maps.iter().map(|m| u32::from(m.len)).sum();
    let _ = write!(
        out,
        "\n max option space={} max fields={}\n allocated option space={space}\n\n",
        table.max_space, table.max_fields
    );
    write_maps(out, &table.maps);
}

fn write_maps(out: &mut String, maps: &[TlvMap]) {
    out.push_str(" mapping table:\n  class  type  length  match field\n");
    out.push_str(" ------  ----  ------  --------------");
    for map in maps {
        let _ = write!(
            out,
            "\n {:>6}  {:>4}  {:>6}  tun_metadata{}",
            hex(map.class.into()),
            hex(map.kind.into()),
            map.len,
            map.index
        );
    }
}

/// Zero has no prefix.
fn hex(n: u32) -> String {
    match n {
        0 => "0".to_owned(),
        n => format!("0x{n:x}"),
    }
}
