//! Which flows give way when a table is full.
//!
//! Only flows with a timeout do. Of those in the largest groups, the least important go, and of
//! these the one that would expire first; groups are the flows that agree in the fields of
//! [`crate::table::TableConf::groups`].
//!
//! Each eviction looks at all flows of its table: tables that evict are those with a limit, and
//! so small.
//!
//! Source: ovs-vswitchd.conf.db(5), table Flow_Table, "Eviction Policy".

use std::collections::BTreeMap;
use std::sync::Arc;

use openflow::Subfield;

use crate::rule::Rule;

/// The `n` rules that give way first; fewer when there are not as many.
pub(crate) fn victims<'a>(
    rules: impl Iterator<Item = &'a Arc<Rule>>,
    groups: &[Subfield],
    n: usize,
) -> Vec<Arc<Rule>> {
    let mut by_group: BTreeMap<Vec<u128>, Group> = BTreeMap::new();
    for rule in rules.filter(|r| !r.is_hidden()) {
        let flow = rule.pattern.flow();
        let key = groups.iter().map(|g| value(flow.get(g.field), g)).collect();
        let group = by_group.entry(key).or_default();
        group.size += 1;
        if let Some((at, _)) = rule.expiry() {
            group
                .evictable
                .push((rule.importance, at, rule.serial, Arc::clone(rule)));
        }
    }
    for group in by_group.values_mut() {
        // The last one goes first.
        group
            .evictable
            .sort_by_key(|e| std::cmp::Reverse((e.0, e.1, e.2)));
    }
    let mut victims = Vec::new();
    while victims.len() < n {
        let candidates = by_group.values_mut().filter(|g| !g.evictable.is_empty());
        let largest = candidates.max_by(|a, b| {
            let first = |g: &Group| g.evictable.last().map(|e| (e.0, e.1, e.2));
            a.size.cmp(&b.size).then_with(|| first(b).cmp(&first(a)))
        });
        let Some(group) = largest else { break };
        if let Some((.., rule)) = group.evictable.pop() {
            group.size -= 1;
            victims.push(rule);
        }
    }
    victims
}

#[derive(Default)]
struct Group {
    /// Permanent flows included.
    size: usize,
    /// Importance, expiry and serial, and the rule.
    evictable: Vec<(u16, std::time::Instant, u64, Arc<Rule>)>,
}

fn value(whole: u128, subfield: &Subfield) -> u128 {
    let shifted = whole >> subfield.offset;
    match subfield.bits {
        n if n < 128 => shifted & ((1 << n) - 1),
        _ => shifted,
    }
}
