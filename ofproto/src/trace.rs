//! What a translation did, for the text of `ofproto/trace`.

mod text;

use std::sync::Arc;

use openflow::Action;

use crate::rule::Rule;
pub use text::text;

/// Most nodes of one trace; what is done beyond them is not shown.
const MAX_NODES: usize = 20_000;

/// A tree of what was done, in order.
#[derive(Clone, Default, Debug)]
pub struct Trace {
    nodes: Vec<(Node, Vec<usize>)>,
    roots: Vec<usize>,
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
    /// A group's bucket.
    Bucket(u32),
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
        self.push(node);
    }

    /// Adds a node that the following ones go under.
    pub fn enter(&mut self, node: Node) {
        if let Some(index) = self.push(node) {
            self.parent = Some(index);
        }
    }

    fn push(&mut self, node: Node) -> Option<usize> {
        if self.nodes.len() >= MAX_NODES {
            return None;
        }
        let index = self.nodes.len();
        self.nodes.push((node, Vec::new()));
        match self.parent.and_then(|p| self.nodes.get_mut(p)) {
            Some((_, children)) => children.push(index),
            None => self.roots.push(index),
        }
        Some(index)
    }

    /// The node that the next one goes under.
    pub fn parent(&self) -> Option<usize> {
        self.parent
    }

    /// Goes back to under `outer`.
    pub fn leave(&mut self, outer: Option<usize>) {
        self.parent = outer;
    }

    /// The child of a node, or the root, that came last.
    pub fn last_child(&self, parent: Option<usize>) -> Option<usize> {
        match parent {
            None => self.roots.last().copied(),
            Some(p) => self.nodes.get(p)?.1.last().copied(),
        }
    }

    /// The children of a node, or the roots.
    pub fn children(&self, parent: Option<usize>) -> impl Iterator<Item = (usize, &Node)> {
        let children = match parent {
            None => self.roots.as_slice(),
            Some(p) => self.nodes.get(p).map_or(&[][..], |(_, c)| c.as_slice()),
        };
        let node = |i: &usize| Some((*i, &self.nodes.get(*i)?.0));
        children.iter().filter_map(node)
    }
}
