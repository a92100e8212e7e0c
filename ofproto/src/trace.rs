//! What a translation did, for the text of `ofproto/trace`.

use std::sync::Arc;

use openflow::Action;

use crate::rule::Rule;

/// Most nodes of one trace; what is done beyond them is not shown.
const MAX_NODES: usize = 20_000;

/// A tree of what was done, in order.
#[derive(Clone, Default, Debug)]
pub struct Trace {
    /// Each with its parent; children come after their parents.
    nodes: Vec<(Option<usize>, Node)>,
    /// Where the next node goes.
    parent: Option<usize>,
}

/// One thing that was done or found.
#[derive(Clone, Debug)]
pub enum Node {
    Bridge(Arc<str>),
    Rule(Arc<Rule>),
    Miss(u8),
    ActionSet,
    Action(Action),
    /// An empty action list.
    Drop,
    Detail(String),
    Warning(String),
    Error(String),
}

impl Trace {
    /// Adds a leaf.
    pub fn add(&mut self, node: Node) {
        if self.nodes.len() < MAX_NODES {
            self.nodes.push((self.parent, node));
        }
    }

    /// Adds a node that the following ones go under.
    pub fn enter(&mut self, node: Node) {
        if self.nodes.len() < MAX_NODES {
            self.nodes.push((self.parent, node));
            self.parent = Some(self.nodes.len() - 1);
        }
    }

    /// The node that the next one goes under.
    pub fn parent(&self) -> Option<usize> {
        self.parent
    }

    /// Goes back to under `outer`.
    pub fn leave(&mut self, outer: Option<usize>) {
        self.parent = outer;
    }

    /// The children of a node, or the roots.
    pub fn children(&self, parent: Option<usize>) -> impl Iterator<Item = (usize, &Node)> {
        let from = parent.map_or(0, |p| p + 1);
        self.nodes
            .iter()
            .enumerate()
            .skip(from)
            .filter(move |(_, (p, _))| *p == parent)
            .map(|(i, (_, node))| (i, node))
    }
}
