//! The flow tables of a bridge as their owner changes them: flow-mods, timeouts, limits.
//!
//! [`FlowTables`] applies OpenFlow's flow-mod commands. Every function here takes the time as a
//! parameter and returns the rules that went, for the caller to tell controllers of. What packets
//! see is published separately, table by table, by [`FlowTables::publish_into`].
//!
//! Called by `ofproto`; calls the classifier's editor. Which controller may change what is decided
//! in `conn`, whether actions make sense in `action_check`.
//!
//! Source: OpenFlow 1.0.0, 4.6; OpenFlow 1.3.5, 6.4 and 6.5; where those leave a choice, what
//! ovs-vswitchd 3.1 was seen to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use openflow::message::{
    FlowMod, FlowModCommand, FlowModFlags, FlowRemovedReason, FlowStatsRequest, GROUP_ANY,
    TABLE_ALL, TableReason, Vacancy,
};
use openflow::{Action, Match, OfError, Subfield, Version};
use packet::OfPort;

use crate::classifier::{Classifier, Editor};
use crate::classifier_pattern::{Pattern, PrefixField};
use crate::eviction;
use crate::flow::{Flow, Mask};
use crate::flow_field::from_match;
use crate::rule::{Rule, RuleStats, Timeout};
use crate::snapshot::{N_TABLES, Tables};

/// Rules that a table holds unless its configuration says otherwise.
pub const DEFAULT_MAX_RULES: usize = 1_000_000;

/// What the database says of a table (ovs-vswitchd.conf.db(5), table Flow_Table).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableConf {
    /// Shown in table statistics; empty for none.
    pub name: String,
    /// Rules the table may hold; adding more is refused with `OFPFMFC_TABLE_FULL`.
    pub max_rules: usize,
    /// Flows give way when the table is full, instead of new ones being refused.
    pub evicts: bool,
    /// Flows that agree in these are a group; see [`crate::eviction`].
    pub groups: Vec<Subfield>,
    /// Fields that the classifier keeps prefix trees for.
    pub prefixes: Vec<PrefixField>,
}

impl Default for TableConf {
    fn default() -> Self {
        TableConf {
            name: String::new(),
            max_rules: DEFAULT_MAX_RULES,
            evicts: false,
            groups: Vec::new(),
            prefixes: PrefixField::ALL.to_vec(),
        }
    }
}

/// A rule that is gone, and why.
#[derive(Clone, Debug)]
pub struct Removed {
    pub rule: Arc<Rule>,
    pub reason: FlowRemovedReason,
}

/// What a flow-mod did to one rule.
#[derive(Clone, Debug)]
pub enum Change {
    /// By an addition; `old` is the rule that was in its place.
    Added {
        rule: Arc<Rule>,
        old: Option<Arc<Rule>>,
    },
    /// By a modification.
    Modified {
        rule: Arc<Rule>,
        old: Arc<Rule>,
    },
    Removed(Removed),
}

impl Change {
    /// The table that the rule is or was in.
    pub fn table_id(&self) -> u8 {
        match self {
            Change::Added { rule, .. } | Change::Modified { rule, .. } => rule.table_id,
            Change::Removed(removed) => removed.rule.table_id,
        }
    }

    /// The rule and why, for one that is gone.
    pub fn removed(&self) -> Option<&Removed> {
        match self {
            Change::Removed(removed) => Some(removed),
            Change::Added { .. } | Change::Modified { .. } => None,
        }
    }
}

/// All flow tables of a bridge.
#[derive(Debug)]
pub struct FlowTables {
    tables: BTreeMap<u8, Table>,
    /// Tables whose published state is out of date.
    dirty: BTreeSet<u8>,
    timers: Timers,
    /// Rules that use a group or a meter, counted.
    users: BTreeMap<Uses, u32>,
    /// What tables were that lost all of their rules at once; see [`FlowTables::take_cleared`].
    cleared: Vec<Arc<Classifier<Rule>>>,
    next_serial: u64,
    seed: u64,
}

/// What a rule can use besides tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Uses {
    Group(u32),
    Meter(u32),
}

/// Groups and meters in a list of actions, each once.
pub(crate) fn uses(actions: &[Action]) -> Vec<Uses> {
    let mut found = Vec::new();
    add_uses(actions, &mut found);
    found
}

fn add_uses(actions: &[Action], found: &mut Vec<Uses>) {
    for action in actions {
        let used = match action {
            Action::Group(id) => Uses::Group(*id),
            Action::Meter(id) => Uses::Meter(*id),
            Action::Controller(c) => match c.meter_id {
                Some(id) => Uses::Meter(id),
                None => continue,
            },
            Action::WriteActions(list) => {
                add_uses(list, found);
                continue;
            }
            _ => continue,
        };
        if !found.contains(&used) {
            found.push(used);
        }
    }
}

/// A state of the tables that changes can be undone to.
#[derive(Debug)]
pub struct Mark {
    dirty: BTreeSet<u8>,
}

/// Rules with timeouts, by the time to look at them again.
#[derive(Default, Debug)]
struct Timers {
    by_time: BTreeMap<(Instant, u64), Arc<Rule>>,
    /// The time that each serial is under.
    by_serial: BTreeMap<u64, Instant>,
}

impl Timers {
    /// Looks at `rule` at `at`, no longer at another time.
    fn set(&mut self, at: Instant, rule: Arc<Rule>) {
        self.forget(rule.serial);
        self.by_serial.insert(rule.serial, at);
        self.by_time.insert((at, rule.serial), rule);
    }

    fn forget(&mut self, serial: u64) {
        if let Some(at) = self.by_serial.remove(&serial) {
            self.by_time.remove(&(at, serial));
        }
    }

    fn is_empty(&self) -> bool {
        self.by_serial.is_empty()
    }

    fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|((at, _), _)| *at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<Arc<Rule>> {
        let entry = self.by_time.first_entry().filter(|e| e.key().0 <= now)?;
        let rule = entry.remove();
        self.by_serial.remove(&rule.serial);
        Some(rule)
    }
}

#[derive(Debug)]
struct Table {
    editor: Editor<Rule>,
    conf: TableConf,
    /// A controller asked for eviction, whatever the configuration says.
    evicts: bool,
    vacancy: Option<VacancyWatch>,
    /// Hidden rules do not count against the limit.
    hidden: usize,
}

/// When controllers are told how full a table is: falling below `down` percent of free space, and
/// after that rising above `up`, in turn.
#[derive(Debug)]
struct VacancyWatch {
    down: u8,
    up: u8,
    next: TableReason,
}

/// Which rules a request is about.
#[derive(Debug)]
struct Criteria {
    flow: Flow,
    mask: Mask,
    /// `None` for all tables.
    table_id: Option<u8>,
    /// Only rules of exactly this match and priority.
    strict: Option<u32>,
    cookie: u64,
    cookie_mask: u64,
    out_port: OfPort,
    out_group: u32,
}

impl Criteria {
    fn of_stats(request: &FlowStatsRequest) -> Result<Criteria, OfError> {
        let (flow, mask) = from_match(&request.fields)?;
        Ok(Criteria {
            flow,
            mask,
            table_id: (request.table_id != TABLE_ALL).then_some(request.table_id),
            strict: None,
            cookie: request.cookie,
            cookie_mask: request.cookie_mask,
            out_port: request.out_port,
            out_group: request.out_group,
        })
    }

    fn accepts(&self, rule: &Rule) -> bool {
        !rule.is_hidden()
            && (rule.cookie ^ self.cookie) & self.cookie_mask == 0
            && (self.out_port == OfPort::ANY
                || rule.actions.iter().any(|a| a.outputs_to(self.out_port)))
            && (self.out_group == GROUP_ANY
                || rule
                    .actions
                    .iter()
                    .any(|a| a.outputs_to_group(self.out_group)))
    }
}

impl FlowTables {
    /// Empty tables; `seed` starts the classifiers' hashes.
    pub fn new(seed: u64) -> FlowTables {
        FlowTables {
            tables: BTreeMap::new(),
            dirty: BTreeSet::new(),
            timers: Timers::default(),
            users: BTreeMap::new(),
            cleared: Vec::new(),
            next_serial: 0,
            seed,
        }
    }

    /// Number of rules in all tables that controllers can see.
    pub fn len(&self) -> usize {
        self.tables.values().map(Table::visible).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rules in one table that controllers can see.
    pub fn table_len(&self, table_id: u8) -> usize {
        self.tables.get(&table_id).map_or(0, Table::visible)
    }

    pub fn conf(&self, table_id: u8) -> TableConf {
        self.tables
            .get(&table_id)
            .map_or_else(TableConf::default, |t| t.conf.clone())
    }

    /// Configures a table; returns the rules that give way to a lowered limit. Those that may not
    /// stay.
    pub fn set_conf(&mut self, table_id: u8, conf: TableConf) -> Vec<Removed> {
        if usize::from(table_id) >= N_TABLES {
            return Vec::new();
        }
        let table = self.table_mut(table_id);
        if table.conf.prefixes != conf.prefixes {
            table.editor.set_prefix_fields(&conf.prefixes);
            table.conf = conf;
            self.dirty.insert(table_id);
        } else {
            table.conf = conf;
        }
        let table = self.table_mut(table_id);
        let excess = table.visible().saturating_sub(table.conf.max_rules);
        let victims = table.victims(excess).into_iter();
        victims
            .filter_map(|rule| self.remove(&rule, FlowRemovedReason::Eviction))
            .collect()
    }

    /// Does a full table make room for new flows?
    pub fn evicts(&self, table_id: u8) -> bool {
        self.tables.get(&table_id).is_some_and(Table::makes_room)
    }

    /// What a controller wants of a table; its configuration may want eviction too.
    pub fn set_evicts(&mut self, table_id: u8, evicts: bool) {
        if usize::from(table_id) < N_TABLES && (evicts || self.tables.contains_key(&table_id)) {
            self.table_mut(table_id).evicts = evicts;
        }
    }

    /// Says at which percentages of free space controllers are told, or that they are not.
    ///
    /// Which of the two is told first: rising above `up` where less than that is free now, as in
    /// ovs-vswitchd.
    pub fn set_vacancy(&mut self, table_id: u8, vacancy: Option<(u8, u8)>) {
        if usize::from(table_id) >= N_TABLES
            || vacancy.is_none() && !self.tables.contains_key(&table_id)
        {
            return;
        }
        let table = self.table_mut(table_id);
        table.vacancy = vacancy.map(|(down, up)| VacancyWatch {
            down,
            up,
            next: match table.free_percent() < up {
                true => TableReason::VacancyUp,
                false => TableReason::VacancyDown,
            },
        });
    }

    /// At which percentages controllers are told, and how much is free.
    pub fn vacancy(&self, table_id: u8) -> Option<Vacancy> {
        let table = self.tables.get(&table_id)?;
        let watch = table.vacancy.as_ref()?;
        Some(Vacancy {
            down: watch.down,
            up: watch.up,
            now: table.free_percent(),
        })
    }

    /// What is to be told of a table that changed.
    pub fn vacancy_event(&mut self, table_id: u8) -> Option<TableReason> {
        let table = self.tables.get_mut(&table_id)?;
        let free = table.free_percent();
        let watch = table.vacancy.as_mut()?;
        let reason = watch.next;
        watch.next = match reason {
            TableReason::VacancyDown if free < watch.down => TableReason::VacancyUp,
            TableReason::VacancyUp if free > watch.up => TableReason::VacancyDown,
            _ => return None,
        };
        Some(reason)
    }

    /// Carries out a flow-mod; returns what it did, in order.
    ///
    /// `version` is that of the connection: OpenFlow 1.0 always resets the counters of an entry
    /// that is added again.
    ///
    /// Errors: `OFPFMFC_OVERLAP`, `OFPFMFC_TABLE_FULL`, `OFPBRC_EPERM` for a reserved table,
    /// `OFPFMFC_BAD_TABLE_ID`, and those of [`from_match`]. After an error nothing has changed.
    pub fn flow_mod(
        &mut self,
        fm: &FlowMod,
        version: Version,
        now: Instant,
    ) -> Result<Vec<Change>, OfError> {
        if fm.flags.emergency {
            // The emergency flow cache of OpenFlow 1.0 was dropped from 1.0.1.
            return Err(OfError::FmfcTableFull);
        }
        let (flow, mask) = from_match(&fm.fields)?;
        let is_delete = matches!(
            fm.command,
            FlowModCommand::Delete | FlowModCommand::DeleteStrict
        );
        let is_strict = matches!(
            fm.command,
            FlowModCommand::ModifyStrict | FlowModCommand::DeleteStrict
        );
        let criteria = Criteria {
            flow,
            mask,
            table_id: fm.table_id.filter(|t| *t != TABLE_ALL),
            strict: is_strict.then_some(fm.priority.into()),
            cookie: fm.cookie,
            cookie_mask: fm.cookie_mask,
            out_port: if is_delete { fm.out_port } else { OfPort::ANY },
            out_group: if is_delete { fm.out_group } else { GROUP_ANY },
        };
        let mut changes = Vec::new();
        match fm.command {
            FlowModCommand::Add => self.add(fm, &flow, &mask, version, now, &mut changes)?,
            FlowModCommand::Modify | FlowModCommand::ModifyStrict => {
                let rules = self.collect(&criteria);
                for rule in &rules {
                    changes.push(self.modify(rule, fm, now));
                }
                // In 1.0 and 1.1, modifying what is not there adds it, unless a cookie selects.
                let is_11_add = version == Version::Of11 && fm.new_cookie != u64::MAX;
                let may_add = fm.modify_cookie || is_11_add;
                if rules.is_empty() && may_add && fm.cookie_mask == 0 {
                    self.add(fm, &flow, &mask, version, now, &mut changes)?;
                }
            }
            FlowModCommand::Delete | FlowModCommand::DeleteStrict => {
                let rules = self.collect(&criteria);
                self.remove_all(&rules);
                let reason = FlowRemovedReason::Delete;
                let removed = rules.into_iter().map(|rule| Removed { rule, reason });
                changes.extend(removed.map(Change::Removed));
            }
        }
        Ok(changes)
    }

    /// Undoes the last changes, given in the order in which they were made. The tables are as
    /// before, and those that were published are still up to date.
    pub fn roll_back(&mut self, changes: Vec<Change>, before: Mark) {
        for change in changes.into_iter().rev() {
            match change {
                Change::Added { rule, old: None } => {
                    self.remove(&rule, FlowRemovedReason::Delete);
                }
                Change::Added { old: Some(old), .. }
                | Change::Modified { old, .. }
                | Change::Removed(Removed { rule: old, .. }) => {
                    self.insert(old);
                }
            }
        }
        self.dirty = before.dirty;
        self.cleared.clear();
    }

    /// The state that [`FlowTables::roll_back`] returns to.
    pub fn mark(&self) -> Mark {
        Mark {
            dirty: self.dirty.clone(),
        }
    }

    /// Rules that are added from now on have higher serials, and those that are modified a higher
    /// [`Rule::changed`].
    pub fn last_serial(&self) -> u64 {
        self.next_serial
    }

    /// The rules that a statistics request asks for: by table, then descending priority, then age.
    ///
    /// Errors: those of [`from_match`]; `OFPBRC_BAD_TABLE_ID` does not occur, a table without
    /// rules just has none.
    pub fn stats(&self, request: &FlowStatsRequest) -> Result<Vec<Arc<Rule>>, OfError> {
        Ok(self.collect(&Criteria::of_stats(request)?))
    }

    /// Shows `look` the rules that a statistics request asks for, in no particular order.
    ///
    /// Errors: those of [`FlowTables::stats`].
    pub fn for_each(
        &self,
        request: &FlowStatsRequest,
        look: impl FnMut(&Arc<Rule>),
    ) -> Result<(), OfError> {
        self.find_all(&Criteria::of_stats(request)?, look);
        Ok(())
    }

    /// Does somebody want to know how full some table is?
    pub fn watches_vacancy(&self) -> bool {
        self.tables.values().any(|table| table.vacancy.is_some())
    }

    /// Puts in a rule of the switch's own; hidden if `priority` is above 65535.
    pub fn add_internal(
        &mut self,
        priority: u32,
        wanted: &Match,
        actions: Vec<Action>,
        now: Instant,
    ) -> Result<(), OfError> {
        let (flow, mask) = from_match(wanted)?;
        let pattern = self.table_mut(0).editor.pattern(&flow, &mask);
        let serial = self.new_serial();
        let rule = Rule {
            serial,
            changed: serial,
            table_id: 0,
            priority,
            pattern,
            cookie: 0,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: FlowModFlags::default(),
            actions: actions.into(),
            created: now,
            modified: now,
            stats: Arc::new(RuleStats::new(now)),
        };
        self.insert(Arc::new(rule));
        Ok(())
    }

    /// Takes out a rule of the switch's own.
    pub fn remove_internal(&mut self, priority: u32, wanted: &Match) {
        let Ok((flow, mask)) = from_match(wanted) else {
            return;
        };
        let table = self.table_mut(0);
        let pattern = table.editor.pattern(&flow, &mask);
        if let Some(rule) = table.editor.find(&pattern, priority).cloned() {
            self.remove(&rule, FlowRemovedReason::Delete);
        }
    }

    /// Deletes every rule, hidden ones too.
    pub fn flush(&mut self) -> Vec<Removed> {
        let mut rules: Vec<Arc<Rule>> = Vec::new();
        for table in self.tables.values() {
            rules.extend(table.editor.view().iter().cloned());
        }
        sort(&mut rules);
        self.remove_all(&rules);
        let reason = FlowRemovedReason::Delete;
        let removed = rules.into_iter().map(|rule| Removed { rule, reason });
        removed.collect()
    }

    /// How many rules use a group or a meter: send to the one, are metered by the other.
    pub fn uses(&self, user: Uses) -> u32 {
        self.users.get(&user).copied().unwrap_or(0)
    }

    /// Deletes the rules that use a group or a meter.
    pub fn remove_users(&mut self, user: Uses, reason: FlowRemovedReason) -> Vec<Removed> {
        if self.uses(user) == 0 {
            return Vec::new();
        }
        let all = self.tables.values().flat_map(|t| t.editor.view().iter());
        let mut rules: Vec<Arc<Rule>> = all
            .filter(|rule| uses(&rule.actions).contains(&user))
            .cloned()
            .collect();
        sort(&mut rules);
        rules
            .iter()
            .filter_map(|rule| self.remove(rule, reason))
            .collect()
    }

    /// Counts what a rule uses.
    fn count_users(&mut self, rule: &Rule, is_new: bool) {
        if !is_new && self.users.is_empty() {
            return;
        }
        for user in uses(&rule.actions) {
            let count = self.users.entry(user).or_default();
            *count = match is_new {
                true => count.saturating_add(1),
                false => count.saturating_sub(1),
            };
            if *count == 0 {
                self.users.remove(&user);
            }
        }
    }

    /// When some rule may be due to expire.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Removes the rules whose time has come.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Removed> {
        let mut removed = Vec::new();
        while let Some(timed) = self.timers.pop_due(now) {
            let Some(rule) = self.current(&timed) else {
                continue;
            };
            match rule.expiry() {
                Some((at, timeout)) if at <= now => {
                    let reason = match timeout {
                        Timeout::Idle => FlowRemovedReason::IdleTimeout,
                        Timeout::Hard => FlowRemovedReason::HardTimeout,
                    };
                    removed.extend(self.remove(&rule, reason));
                }
                // Packets came in the meantime.
                Some((at, _)) => self.timers.set(at, rule),
                None => {}
            }
        }
        removed
    }

    /// Puts the tables that changed into `tables`.
    pub fn publish_into(&mut self, tables: &mut Tables) {
        self.cleared.clear();
        for table_id in std::mem::take(&mut self.dirty) {
            if let Some(table) = self.tables.get(&table_id) {
                tables.set(table_id, table.editor.publish());
            }
        }
    }

    /// True when some table changed since it was last published.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn add(
        &mut self,
        fm: &FlowMod,
        flow: &Flow,
        mask: &Mask,
        version: Version,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> Result<(), OfError> {
        let table_id = check_table(fm, version)?;
        let table = self.table_mut(table_id);
        let pattern = table.editor.pattern(flow, mask);
        let priority = fm.priority.into();
        let old = table.editor.find(&pattern, priority).cloned();
        if old.is_none() {
            if fm.flags.check_overlap && table.editor.view().overlaps(flow, mask, priority) {
                return Err(OfError::FmfcOverlap);
            }
            self.make_room(table_id, changes)?;
        }
        let mut flags = fm.flags;
        flags.reset_counts |= version < Version::Of12 && fm.command == FlowModCommand::Add;
        let stats = match &old {
            Some(old) if !flags.reset_counts => old.stats.carried_over(now),
            _ => RuleStats::new(now),
        };
        let serial = self.new_serial();
        let rule = Rule {
            serial,
            changed: serial,
            table_id,
            priority,
            pattern,
            cookie: fm.new_cookie,
            idle_timeout: fm.idle_timeout,
            hard_timeout: fm.hard_timeout,
            importance: fm.importance,
            flags,
            actions: fm.actions.as_slice().into(),
            created: now,
            modified: now,
            stats: Arc::new(stats),
        };
        let rule = Arc::new(rule);
        let old = self.insert(Arc::clone(&rule));
        changes.push(Change::Added { rule, old });
        Ok(())
    }

    /// Sees to it that a table can take one more rule.
    ///
    /// Errors: `OFPFMFC_TABLE_FULL`; then nothing has changed.
    fn make_room(&mut self, table_id: u8, changes: &mut Vec<Change>) -> Result<(), OfError> {
        let table = self.table_mut(table_id);
        let Some(excess) = table.visible().checked_sub(table.conf.max_rules) else {
            return Ok(());
        };
        let victims = table.victims(excess + 1);
        if table.conf.max_rules == 0 || victims.len() <= excess {
            return Err(OfError::FmfcTableFull);
        }
        for rule in victims {
            let removed = self.remove(&rule, FlowRemovedReason::Eviction);
            changes.extend(removed.map(Change::Removed));
        }
        Ok(())
    }

    /// Gives a rule the actions of `fm`, and its cookie where the version says so.
    fn modify(&mut self, old: &Arc<Rule>, fm: &FlowMod, now: Instant) -> Change {
        let stats = if fm.flags.reset_counts {
            Arc::new(RuleStats::new(old.stats.used()))
        } else {
            Arc::clone(&old.stats)
        };
        let rule = Rule {
            serial: old.serial,
            changed: self.new_serial(),
            table_id: old.table_id,
            priority: old.priority,
            pattern: old.pattern.clone(),
            cookie: if fm.modify_cookie {
                fm.new_cookie
            } else {
                old.cookie
            },
            idle_timeout: old.idle_timeout,
            hard_timeout: old.hard_timeout,
            importance: old.importance,
            flags: old.flags,
            actions: fm.actions.as_slice().into(),
            created: old.created,
            modified: now,
            stats,
        };
        let rule = Arc::new(rule);
        self.insert(Arc::clone(&rule));
        Change::Modified {
            rule,
            old: Arc::clone(old),
        }
    }

    /// By table, then descending priority, then age.
    fn collect(&self, criteria: &Criteria) -> Vec<Arc<Rule>> {
        let mut rules = Vec::new();
        self.find_all(criteria, |rule| rules.push(Arc::clone(rule)));
        sort(&mut rules);
        rules
    }

    fn find_all(&self, criteria: &Criteria, mut look: impl FnMut(&Arc<Rule>)) {
        let tables = match criteria.table_id {
            Some(id) => self.tables.range(id..=id),
            None => self.tables.range(0..=u8::MAX),
        };
        for (_, table) in tables {
            match criteria.strict {
                Some(priority) => {
                    let pattern = table.editor.pattern(&criteria.flow, &criteria.mask);
                    let rule = table.editor.find(&pattern, priority);
                    let rule = rule.filter(|r| criteria.accepts(r));
                    rule.into_iter().for_each(&mut look);
                }
                None => {
                    let view = table.editor.view();
                    let within = view.within(&criteria.flow, &criteria.mask);
                    within.filter(|r| criteria.accepts(r)).for_each(&mut look);
                }
            }
        }
    }

    /// Returns the rule that was in its place.
    fn insert(&mut self, rule: Arc<Rule>) -> Option<Arc<Rule>> {
        let (table_id, serial) = (rule.table_id, rule.serial);
        match rule.expiry() {
            Some((at, _)) => self.timers.set(at, Arc::clone(&rule)),
            None => self.timers.forget(serial),
        }
        self.dirty.insert(table_id);
        self.count_users(&rule, true);
        let table = self.table_mut(table_id);
        let is_hidden = rule.is_hidden();
        let old = table.editor.insert(rule);
        match &old {
            Some(old) if old.serial != serial => self.timers.forget(old.serial),
            Some(_) => {}
            None => table.hidden += usize::from(is_hidden),
        }
        if let Some(old) = &old {
            self.count_users(old, false);
        }
        old
    }

    fn remove(&mut self, rule: &Rule, reason: FlowRemovedReason) -> Option<Removed> {
        let table = self.tables.get_mut(&rule.table_id)?;
        let rule = table.editor.remove(&rule.pattern, rule.priority)?;
        table.hidden -= usize::from(rule.is_hidden());
        self.dirty.insert(rule.table_id);
        self.forget(&rule);
        Some(Removed { rule, reason })
    }

    /// Takes out rules that are in the tables, sorted by table. A table that loses all of them is
    /// emptied at once.
    fn remove_all(&mut self, rules: &[Arc<Rule>]) {
        for of_table in rules.chunk_by(|a, b| a.table_id == b.table_id) {
            let table = of_table
                .first()
                .and_then(|rule| self.tables.get_mut(&rule.table_id));
            let Some(table) = table else { continue };
            if of_table.len() == table.editor.view().len() {
                self.cleared.push(table.editor.clear());
                table.hidden = 0;
            } else {
                for rule in of_table {
                    table.editor.remove(&rule.pattern, rule.priority);
                    table.hidden -= usize::from(rule.is_hidden());
                }
            }
            self.dirty
                .extend(of_table.first().map(|rule| rule.table_id));
            if self.timers.is_empty() && self.users.is_empty() {
                continue;
            }
            for rule in of_table {
                self.forget(rule);
            }
        }
    }

    /// Takes what tables were before they lost all of their rules, for the caller to drop when
    /// there is time.
    pub(crate) fn take_cleared(&mut self) -> Vec<Arc<Classifier<Rule>>> {
        std::mem::take(&mut self.cleared)
    }

    /// Forgets what is kept elsewhere of a rule that was taken out of its table.
    fn forget(&mut self, rule: &Rule) {
        self.timers.forget(rule.serial);
        self.count_users(rule, false);
    }

    /// The rule that is now in the place of `rule`, unless another was added there.
    fn current(&self, rule: &Rule) -> Option<Arc<Rule>> {
        let table = self.tables.get(&rule.table_id)?;
        let current = table.editor.find(&rule.pattern, rule.priority)?;
        (current.serial == rule.serial).then(|| Arc::clone(current))
    }

    fn new_serial(&mut self) -> u64 {
        self.next_serial += 1;
        self.next_serial
    }

    /// `table_id` is below [`N_TABLES`].
    fn table_mut(&mut self, table_id: u8) -> &mut Table {
        let seed = self.seed;
        self.tables.entry(table_id).or_insert_with(|| Table {
            editor: Editor::new(seed),
            conf: TableConf::default(),
            evicts: false,
            vacancy: None,
            hidden: 0,
        })
    }
}

impl Table {
    fn makes_room(&self) -> bool {
        self.evicts || self.conf.evicts
    }

    /// The rules that give way first, `n` or as many as may.
    fn victims(&self, n: usize) -> Vec<Arc<Rule>> {
        match n > 0 && self.makes_room() {
            true => eviction::victims(self.editor.view().iter(), &self.conf.groups, n),
            false => Vec::new(),
        }
    }

    /// Of the rules that the table may hold, how many percent are free.
    fn free_percent(&self) -> u8 {
        let max = self.conf.max_rules.max(1);
        let free = max.saturating_sub(self.visible());
        u8::try_from(free.saturating_mul(100) / max).unwrap_or(100)
    }

    fn visible(&self) -> usize {
        self.editor.view().len() - self.hidden
    }
}

/// The table that an addition goes to.
///
/// Errors: `OFPFMFC_BAD_TABLE_ID` for all tables at once, `OFPBRC_EPERM` for a reserved one.
pub fn check_table(fm: &FlowMod, version: Version) -> Result<u8, OfError> {
    match fm.table_id {
        None => Ok(0),
        Some(TABLE_ALL) if version == Version::Of10 => Ok(0),
        Some(TABLE_ALL) => Err(OfError::FmfcBadTableId),
        Some(table_id) if usize::from(table_id) < N_TABLES => Ok(table_id),
        Some(_) => Err(OfError::BrcEperm),
    }
}

fn sort(rules: &mut [Arc<Rule>]) {
    // Reaching for a rule costs more than keeping what it is sorted by.
    rules.sort_by_cached_key(|r| (r.table_id, std::cmp::Reverse(r.priority), r.serial));
}

/// The pattern of a match, for tests and tools that build rules outside of tables.
///
/// Errors: those of [`from_match`].
pub fn pattern(wanted: &Match) -> Result<Pattern, OfError> {
    let (flow, mask) = from_match(wanted)?;
    let shape = crate::classifier_pattern::Shape::new(&mask);
    Ok(Pattern::new(Arc::new(shape), &flow))
}
