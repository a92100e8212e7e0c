//! Tables: their statistics and what they can do.
//!
//! Tables that differ from the one before in nothing but their number are counted together, unless
//! they have names. Lists of fields are shortened as a shell's braces would write them out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::LazyLock;

use super::Style;
use crate::field::Field;
use crate::message::{
    FIELDS_11, TableActions, TableFeatures, TableInstructions, TableStats, WILDCARDS_10, bit_12,
};
use crate::version::Version;

/// `OFPTC_*` of 1.4 and later.
const EVICTION: u32 = 1 << 0;
const VACANCY_EVENTS: u32 = 1 << 2;

/// The numbers of instructions and their names, in the order they are printed.
const INSTRUCTIONS: [(u16, &str); 6] = [
    (6, "meter"),
    (4, "apply_actions"),
    (5, "clear_actions"),
    (3, "write_actions"),
    (2, "write_metadata"),
    (1, "goto_table"),
];

/// The numbers of actions, the first and last version that prints them, and their names, in the
/// order they are printed.
const ACTIONS: [(u16, Version, Version, &str); 24] = [
    (0, Version::Of11, Version::Of15, "output"),
    (22, Version::Of11, Version::Of15, "group"),
    (25, Version::Of12, Version::Of15, "set_field"),
    (1, Version::Of11, Version::Of11, "set_vlan_vid"),
    (2, Version::Of11, Version::Of11, "set_vlan_pcp"),
    (18, Version::Of11, Version::Of15, "strip_vlan"),
    (17, Version::Of11, Version::Of15, "push_vlan"),
    (3, Version::Of11, Version::Of11, "mod_dl_src"),
    (4, Version::Of11, Version::Of11, "mod_dl_dst"),
    (5, Version::Of11, Version::Of11, "mod_nw_src"),
    (6, Version::Of11, Version::Of11, "mod_nw_dst"),
    (7, Version::Of11, Version::Of11, "mod_nw_tos"),
    (8, Version::Of11, Version::Of11, "mod_nw_ecn"),
    (23, Version::Of11, Version::Of15, "mod_nw_ttl"),
    (9, Version::Of11, Version::Of11, "mod_tp_src"),
    (10, Version::Of11, Version::Of11, "mod_tp_dst"),
    (24, Version::Of11, Version::Of15, "dec_ttl"),
    (13, Version::Of11, Version::Of11, "set_mpls_label"),
    (14, Version::Of11, Version::Of11, "set_mpls_tc"),
    (15, Version::Of11, Version::Of15, "set_mpls_ttl"),
    (16, Version::Of11, Version::Of15, "dec_mpls_ttl"),
    (19, Version::Of11, Version::Of15, "push_mpls"),
    (20, Version::Of11, Version::Of15, "pop_mpls"),
    (21, Version::Of11, Version::Of15, "set_queue"),
];

/// Fields in the order they are printed; a number behind a name stands for its first register or
/// option, the others follow it.
const ORDER: &[&str] = &[
    "dp_hash",
    "recirc_id",
    "packet_type",
    "conj_id",
    "tun_id",
    "tun_src",
    "tun_dst",
    "tun_ipv6_src",
    "tun_ipv6_dst",
    "tun_flags",
    "tun_ttl",
    "tun_tos",
    "tun_gbp_id",
    "tun_gbp_flags",
    "tun_erspan_idx",
    "tun_erspan_ver",
    "tun_erspan_dir",
    "tun_erspan_hwid",
    "tun_gtpu_flags",
    "tun_gtpu_msgtype",
    "tun_metadata0",
    "metadata",
    "in_port",
    "in_port_oxm",
    "skb_priority",
    "pkt_mark",
    "actset_output",
    "ct_state",
    "ct_zone",
    "ct_mark",
    "ct_label",
    "ct_nw_proto",
    "ct_nw_src",
    "ct_nw_dst",
    "ct_ipv6_src",
    "ct_ipv6_dst",
    "ct_tp_src",
    "ct_tp_dst",
    "reg0",
    "xreg0",
    "xxreg0",
    "eth_src",
    "eth_dst",
    "eth_type",
    "vlan_tci",
    "dl_vlan",
    "vlan_vid",
    "dl_vlan_pcp",
    "vlan_pcp",
    "mpls_label",
    "mpls_tc",
    "mpls_bos",
    "mpls_ttl",
    "ip_src",
    "ip_dst",
    "ipv6_src",
    "ipv6_dst",
    "ipv6_label",
    "nw_proto",
    "nw_tos",
    "ip_dscp",
    "nw_ecn",
    "nw_ttl",
    "ip_frag",
    "arp_op",
    "arp_spa",
    "arp_tpa",
    "arp_sha",
    "arp_tha",
    "tcp_src",
    "tcp_dst",
    "tcp_flags",
    "udp_src",
    "udp_dst",
    "sctp_src",
    "sctp_dst",
    "icmp_type",
    "icmp_code",
    "icmpv6_type",
    "icmpv6_code",
    "nd_target",
    "nd_sll",
    "nd_tll",
    "nd_reserved",
    "nd_options_type",
    "nsh_flags",
    "nsh_mdtype",
    "nsh_np",
    "nsh_spi",
    "nsh_si",
    "nsh_c1",
    "nsh_ttl",
];

/// A field's place in [`ORDER`], the number behind its name, and its name, by which fields that
/// have no place are told apart.
type Place = (usize, u32, &'static str);

/// Fields by their places.
type Names = BTreeMap<Place, &'static str>;

fn place(name: &'static str) -> Place {
    let (stem, number) = split_number(name);
    let at = |name: &str| ORDER.iter().position(|known| *known == name);
    if let Some(at) = at(name) {
        return (at, number.unwrap_or(0), name);
    }
    let of_stem = |known: &&str| number.is_some() && split_number(known).0 == stem;
    let at = ORDER.iter().position(of_stem).unwrap_or(ORDER.len());
    (at, number.unwrap_or(0), name)
}

/// A name without the number at its end, and that number.
fn split_number(name: &str) -> (&str, Option<u32>) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = name.get(stem.len()..).and_then(|n| n.parse().ok());
    (stem, number)
}

/// The places of all fields, by their numbers.
static PLACES: LazyLock<Vec<Place>> =
    LazyLock::new(|| Field::all().iter().map(|info| place(info.name)).collect());

fn names(fields: impl IntoIterator<Item = Field>) -> Names {
    let place = |field: Field| PLACES.get(field as usize).copied();
    let known = fields
        .into_iter()
        .filter_map(|f| Some((place(f)?, f.name())));
    known.collect()
}

fn names_of_bits(table: &[(u64, Field)], bits: u64) -> Names {
    let set = table.iter().filter(|(bit, _)| bits & bit != 0);
    names(set.map(|(_, field)| *field))
}

/// The fields of 1.2 whose OXM numbers are bits of `bits`.
fn names_of_oxm(bits: u64) -> Names {
    let set = Field::all().iter().filter(|info| bits & bit_12(info) != 0);
    names(set.map(|info| info.field))
}

/// What is printed of a table.
#[derive(Default)]
struct Table {
    table_id: u8,
    name: String,
    /// Flows, look-ups and matches.
    counts: Option<(u32, u64, u64)>,
    metadata: (u64, u64),
    config: Option<&'static str>,
    eviction: Option<bool>,
    vacancy: Option<bool>,
    max_entries: u32,
    others: Instructions,
    miss: Instructions,
    matches: Names,
    masks: Names,
    wildcards: Names,
}

#[derive(Clone, PartialEq, Eq, Default)]
struct Instructions {
    next: BTreeSet<u8>,
    names: Vec<&'static str>,
    write: Actions,
    apply: Actions,
}

#[derive(Clone, PartialEq, Eq, Default)]
struct Actions {
    names: Vec<&'static str>,
    fields: Names,
}

impl Instructions {
    fn is_empty(&self) -> bool {
        *self == Instructions::default()
    }
}

fn instruction_names(has: impl Fn(u16) -> bool) -> Vec<&'static str> {
    let known = INSTRUCTIONS.iter().filter(|(n, _)| has(*n));
    known.map(|(_, name)| *name).collect()
}

fn action_names(version: Version, has: impl Fn(u16) -> bool) -> Vec<&'static str> {
    let known = ACTIONS
        .iter()
        .filter(|(n, first, last, _)| (*first..=*last).contains(&version) && has(*n));
    known.map(|(_, _, _, name)| *name).collect()
}

fn bit(bits: u32, n: u16) -> bool {
    bits.checked_shr(n.into()).is_some_and(|b| b & 1 != 0)
}

impl Table {
    fn of_stats(stats: &TableStats, version: Version) -> Table {
        let mut table = Table {
            table_id: stats.table_id,
            name: stats.name.clone(),
            counts: Some((stats.active_count, stats.lookup_count, stats.matched_count)),
            max_entries: stats.max_entries,
            metadata: (stats.metadata_match, stats.metadata_write),
            ..Table::default()
        };
        let fields: &dyn Fn(u64) -> Names = match version {
            Version::Of10 => &|bits| names_of_bits(&WILDCARDS_10, bits),
            Version::Of11 => &|bits| names_of_bits(&FIELDS_11, bits),
            Version::Of12 => &names_of_oxm,
            _ => return table,
        };
        table.wildcards = fields(stats.wildcards);
        table.matches = fields(stats.matches);
        table.matches.extend(table.wildcards.clone());
        if version == Version::Of10 {
            return table;
        }
        table.config = Some(match stats.config & 3 {
            1 => "continue",
            2 => "drop",
            _ => "controller",
        });
        // Open vSwitch shows the actions of 1.1 that can be written as those that can be applied.
        let apply_actions = match version {
            Version::Of11 => stats.write_actions,
            _ => stats.apply_actions,
        };
        let actions = |bits, set_fields| Actions {
            names: action_names(version, |n| bit(bits, n)),
            fields: match version {
                Version::Of12 => names_of_oxm(set_fields),
                _ => Names::new(),
            },
        };
        table.others = Instructions {
            next: BTreeSet::new(),
            names: instruction_names(|n| bit(stats.instructions, n)),
            write: actions(stats.write_actions, stats.write_set_fields),
            apply: actions(apply_actions, stats.apply_set_fields),
        };
        table.miss = table.others.clone();
        table
    }

    fn of_features(features: &TableFeatures, version: Version) -> Table {
        let can = |bit| (version >= Version::Of14).then_some(features.capabilities & bit != 0);
        let actions = |a: &TableActions| Actions {
            names: action_names(version, |n| a.actions.contains(&n)),
            fields: names(a.set_fields.iter().copied()),
        };
        let instructions = |i: &TableInstructions| Instructions {
            next: i.next_tables.iter().copied().collect(),
            names: instruction_names(|n| i.instructions.contains(&n)),
            write: actions(&i.write),
            apply: actions(&i.apply),
        };
        let masks = features.matches.iter().filter(|(_, masked)| *masked);
        let matches = names(features.matches.iter().map(|(f, _)| *f));
        let masks = names(masks.map(|(f, _)| *f));
        let mut wildcards = names(features.wildcards.iter().copied());
        wildcards.extend(masks.clone());
        wildcards.retain(|place, _| matches.contains_key(place));
        Table {
            table_id: features.table_id,
            name: features.name.clone(),
            counts: None,
            metadata: (features.metadata_match, features.metadata_write),
            config: None,
            eviction: can(EVICTION),
            vacancy: can(VACANCY_EVENTS),
            max_entries: features.max_entries,
            others: instructions(&features.others),
            miss: instructions(&features.miss),
            matches,
            masks,
            wildcards,
        }
    }

    fn has_features(&self) -> bool {
        self.metadata != (0, 0)
            || self.config.is_some()
            || self.eviction.is_some()
            || self.max_entries != 0
            || !self.others.is_empty()
            || !self.miss.is_empty()
            || !self.matches.is_empty()
    }

    fn has_features_of(&self, other: &Table) -> bool {
        self.metadata == other.metadata
            && self.config == other.config
            && (self.eviction, self.vacancy) == (other.eviction, other.vacancy)
            && self.max_entries == other.max_entries
            && self.has_instructions_of(other)
            && self.matches == other.matches
    }

    fn has_instructions_of(&self, other: &Table) -> bool {
        let same = |a: &Instructions, b: &Instructions| {
            a.names == b.names
                && a.write == b.write
                && a.apply == b.apply
                && same_next(self.table_id, &a.next, other.table_id, &b.next)
        };
        same(&self.others, &other.others) && same(&self.miss, &other.miss)
    }
}

/// Can flows of two tables go to the same ones? Of two tables in a row the first can go to the
/// second, which does not make them different.
fn same_next(a_id: u8, a: &BTreeSet<u8>, b_id: u8, b: &BTreeSet<u8>) -> bool {
    if a_id.checked_add(1) == Some(b_id) && a.contains(&b_id) && !b.contains(&b_id) {
        return a.iter().filter(|id| **id != b_id).eq(b);
    }
    if b_id.checked_add(1) == Some(a_id) {
        return b.contains(&a_id) && !a.contains(&a_id) && same_next(b_id, b, a_id, a) || a == b;
    }
    a == b
}

pub fn write_stats(out: &mut String, tables: &[TableStats], style: Style<'_>) {
    write_tables(
        out,
        tables.iter().map(|t| Table::of_stats(t, style.version)),
    );
}

pub fn write_features(out: &mut String, tables: &[TableFeatures], style: Style<'_>) {
    // What a request is to do; that it replaces what is known goes without saying.
    let command = tables.first().map_or(0, |table| table.command);
    let _ = match command {
        0 => Ok(()),
        TableFeatures::MODIFY => out.write_str("\n  command: modify"),
        TableFeatures::ENABLE => out.write_str("\n  command: enable"),
        TableFeatures::DISABLE => out.write_str("\n  command: disable"),
        n => write!(out, "\n  command: {n}"),
    };
    write_tables(
        out,
        tables.iter().map(|t| Table::of_features(t, style.version)),
    );
}

fn write_tables(out: &mut String, tables: impl Iterator<Item = Table>) {
    let mut previous: Option<Table> = None;
    // The first and last of those that are like the one before.
    let mut ditto: Option<(u8, u8)> = None;
    for table in tables {
        let before = previous.as_ref();
        let same_counts = before.is_none_or(|p| p.counts == table.counts)
            && (before.is_some() || table.counts.is_none());
        let same_features = before.is_some_and(|p| table.has_features_of(p));
        if same_counts && same_features && table.name.is_empty() {
            let first = ditto.map_or(table.table_id, |(first, _)| first);
            ditto = Some((first, table.table_id));
        } else {
            write_ditto(out, ditto.take());
            write_heading(out, &table);
            if same_counts && same_features {
                out.push_str(" ditto");
            } else {
                write_table(out, &table, before, same_features);
            }
        }
        previous = Some(table);
    }
    write_ditto(out, ditto);
}

fn write_ditto(out: &mut String, ditto: Option<(u8, u8)>) {
    let _ = match ditto {
        None => Ok(()),
        Some((first, last)) if first == last => writeln!(out, "\n  table {first}: ditto"),
        Some((first, last)) => writeln!(out, "\n  tables {first}...{last}: ditto"),
    };
}

fn write_heading(out: &mut String, table: &Table) {
    let _ = write!(out, "\n  table {}", table.table_id);
    if !table.name.is_empty() {
        let _ = write!(out, " (\"{}\")", table.name);
    }
    out.push(':');
}

fn write_table(out: &mut String, t: &Table, previous: Option<&Table>, same_features: bool) {
    out.push('\n');
    if let Some((active, lookup, matched)) = t.counts {
        let _ = writeln!(
            out,
            "    active={active}, lookup={lookup}, matched={matched}"
        );
    }
    if same_features {
        if t.has_features() {
            out.push_str("    (same features)\n");
        }
        return;
    }
    if t.metadata != (0, 0) {
        let _ = writeln!(
            out,
            "    metadata: match={:#x} write={:#x}",
            t.metadata.0, t.metadata.1
        );
    }
    if let Some(config) = t.config {
        let _ = writeln!(out, "    config={config}");
    }
    for (what, can) in [("eviction", t.eviction), ("vacancy events", t.vacancy)] {
        if let Some(can) = can {
            let not = if can { "" } else { "not " };
            let _ = writeln!(out, "    {what}: {not}supported");
        }
    }
    if t.max_entries != 0 {
        let _ = writeln!(out, "    max_entries={}", t.max_entries);
    }
    if previous.is_some_and(|p| t.has_instructions_of(p)) {
        if !t.others.is_empty() {
            out.push_str("    (same instructions)\n");
        }
    } else if t.others != t.miss {
        out.push_str("    instructions (other than table miss):\n");
        write_instructions(out, &t.others, previous.map(|p| &p.others));
        out.push_str("    instructions (table miss):\n");
        write_instructions(out, &t.miss, previous.map(|p| &p.miss));
    } else if !t.others.is_empty() {
        out.push_str("    instructions (table miss and others):\n");
        write_instructions(out, &t.others, previous.map(|p| &p.others));
    }
    if t.matches.is_empty() {
        return;
    }
    if previous.is_some_and(|p| t.matches == p.matches) {
        out.push_str("    (same matching)\n");
        return;
    }
    out.push_str("    matching:\n");
    let is_masked = |p: &Place| t.masks.contains_key(p);
    let is_wild = |p: &Place| !is_masked(p) && t.wildcards.contains_key(p);
    let is_exact = |p: &Place| !is_masked(p) && !is_wild(p);
    write_matching(out, "arbitrary mask", t, is_masked);
    write_matching(out, "exact match or wildcard", t, is_wild);
    write_matching(out, "must exact match", t, is_exact);
}

fn write_matching(out: &mut String, title: &str, t: &Table, wanted: impl Fn(&Place) -> bool) {
    let mut fields = t.matches.clone();
    fields.retain(|place, _| wanted(place));
    if !fields.is_empty() {
        let _ = writeln!(out, "      {title}: {}", shortened(&fields));
    }
}

fn write_instructions(out: &mut String, i: &Instructions, previous: Option<&Instructions>) {
    if !i.next.is_empty() {
        let _ = writeln!(out, "      next tables: {}", ranges(&i.next));
    }
    if !i.names.is_empty() {
        if previous.is_some_and(|p| p.names == i.names) {
            out.push_str("      (same instructions)\n");
        } else {
            let _ = writeln!(out, "      instructions: {}", i.names.join(" "));
        }
    }
    let same = previous.is_some_and(|p| i.write == p.write && i.apply == p.apply);
    if same && !i.write.fields.is_empty() {
        out.push_str("      (same actions)\n");
    } else if i.write != i.apply {
        out.push_str("      Write-Actions features:\n");
        write_actions(out, &i.write);
        out.push_str("      Apply-Actions features:\n");
        write_actions(out, &i.apply);
    } else if i.write != Actions::default() {
        out.push_str("      Write-Actions and Apply-Actions features:\n");
        write_actions(out, &i.write);
    }
}

fn write_actions(out: &mut String, actions: &Actions) {
    if !actions.names.is_empty() {
        let _ = writeln!(out, "        actions: {}", actions.names.join(" "));
    }
    if !actions.fields.is_empty() {
        let _ = writeln!(
            out,
            "        supported on Set-Field: {}",
            shortened(&actions.fields)
        );
    }
}

/// `1-253` or `1,3-5`.
fn ranges(tables: &BTreeSet<u8>) -> String {
    let mut parts: Vec<(u8, u8)> = Vec::new();
    for id in tables {
        match parts.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*id) => *last = *id,
            _ => parts.push((*id, *id)),
        }
    }
    let texts: Vec<String> = parts
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    texts.join(",")
}

/// `eth_{src,dst} reg0...reg3`
fn shortened(fields: &Names) -> String {
    let words: Vec<&str> = fields.values().copied().collect();
    shorten(&words).join(" ")
}

/// Names in a row that begin with the same word share it; numbered ones in a row become a range.
fn shorten(names: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = names;
    while let Some((first, tail)) = rest.split_first() {
        let word = first.split_once('_').map(|(word, _)| word);
        let shares = |name: &&&str| word.is_some() && name.split_once('_').map(|(w, _)| w) == word;
        let n = 1 + tail.iter().take_while(shares).count();
        if let (Some(word), true) = (word, n > 1) {
            let inner: Vec<&str> = rest
                .iter()
                .take(n)
                .filter_map(|name| name.split_once('_').map(|(_, inner)| inner))
                .collect();
            out.push(format!("{word}_{{{}}}", shorten(&inner).join(",")));
            rest = rest.get(n..).unwrap_or(&[]);
            continue;
        }
        let n = run_of_numbers(rest);
        match rest.get(n - 1) {
            Some(last) if n > 1 => out.push(format!("{first}...{last}")),
            _ => out.push((*first).to_owned()),
        }
        rest = rest.get(n..).unwrap_or(&[]);
    }
    out
}

/// How many names from the first on are the same but for numbers that count up; at least 1.
fn run_of_numbers(names: &[&str]) -> usize {
    let mut numbers = names.iter().map(|name| split_number(name));
    let Some((stem, Some(first))) = numbers.next() else {
        return 1;
    };
    let follows = |(n, (s, number)): &(u32, (&str, Option<u32>))| {
        *s == stem && *number == first.checked_add(*n)
    };
    1 + (1..).zip(numbers).take_while(follows).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_one_of_fields() {
        for name in ORDER {
            let found = Field::from_name(name);
            assert!(
                !matches!(found, Err(crate::field::Error::Unknown(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn lists_are_shortened() {
        for (names, want) in [
            (
                &["eth_src", "eth_dst", "ip_src"][..],
                "eth_{src,dst} ip_src",
            ),
            (
                &["in_port", "in_port_oxm", "pkt_mark"],
                "in_{port,port_oxm} pkt_mark",
            ),
            (&["reg0", "reg1", "reg2", "xreg0"], "reg0...reg2 xreg0"),
            (
                &[
                    "tun_id",
                    "tun_ipv6_src",
                    "tun_ipv6_dst",
                    "tun_metadata0",
                    "tun_metadata1",
                ],
                "tun_{id,ipv6_{src,dst},metadata0...metadata1}",
            ),
        ] {
            assert_eq!(shorten(names).join(" "), want);
        }
    }
}
