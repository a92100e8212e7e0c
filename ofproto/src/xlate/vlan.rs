//! VLAN tags during translation: a stack whose lower part is the packet's own, untouched.
//!
//! The key holds the two outermost tags that the packet came with. Pushing and popping moves
//! fields between places, so which bits of the original key a look at "the outermost tag" reads
//! depends on what was done before; [`Tags`] keeps track of where each tag is from.
//! A third tag is not in the key and is never looked at: it counts as absent.

use packet::key::VLAN_PRESENT;
use packet::{Action, FlowKey};

/// Tags of the original packet that the key holds.
const PARSED: usize = 2;

/// The original tags and which of their bits matter.
pub struct Originals {
    tags: [Header; PARSED],
    mask: [Header; PARSED],
    /// As `Working::known`.
    known: [Header; PARSED],
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Header {
    tpid: u16,
    tci: u16,
}

/// A stack of tags; cheap to copy when nothing was pushed.
#[derive(Clone, Default, Debug)]
pub struct Tags {
    /// Outermost last.
    pushed: Vec<Tag>,
    /// How many of the original tags are gone; those from here on are under `pushed`.
    popped: usize,
    /// Bits of the tag control word that were written while there was no tag: seen and written
    /// over like those of a tag, part of the packet once the bit for "present" is written.
    loose: u16,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Tag {
    /// The bits that are not from `origin` are made of constants and of bits read before.
    header: Header,
    /// The original tag that this one is, its TCI bits in `written` changed.
    origin: Option<usize>,
    written: u16,
}

impl Tags {
    pub fn push(&mut self, tpid: u16, tci: u16) {
        self.pushed.push(Tag {
            header: Header {
                tpid,
                tci: tci | VLAN_PRESENT,
            },
            origin: None,
            written: u16::MAX,
        });
    }

    /// Makes the bits written without a tag into one.
    pub fn push_loose(&mut self, tpid: u16) {
        let tci = std::mem::take(&mut self.loose);
        self.push(tpid, tci);
    }

    /// Writes bits of the tag control word of a packet that the caller knows to have no tag.
    pub fn set_loose(&mut self, tci: u16, bits: u16) {
        self.loose = (self.loose & !bits | tci & bits) & !VLAN_PRESENT;
    }

    /// Removes the outermost tag, which the caller knows to be there.
    pub fn pop(&mut self) {
        if self.pushed.pop().is_none() {
            self.popped += 1;
        }
    }

    pub fn pushed(&self) -> usize {
        self.pushed.len()
    }

    /// What is at `depth` from outside: a pushed tag or the number of an original one.
    fn at(&self, depth: usize) -> Result<&Tag, usize> {
        match self.pushed.len().checked_sub(depth + 1) {
            Some(n) => self.pushed.get(n).ok_or(PARSED),
            None => Err(self.popped + depth - self.pushed.len()),
        }
    }
}

impl Originals {
    pub fn new(key: &FlowKey) -> Originals {
        Originals {
            tags: [
                Header {
                    tpid: u16::from_be_bytes(key.vlan0_tpid),
                    tci: key.vlan0_tci(),
                },
                Header {
                    tpid: u16::from_be_bytes(key.vlan1_tpid),
                    tci: key.vlan1_tci(),
                },
            ],
            mask: [Header::default(); PARSED],
            known: [Header::default(); PARSED],
        }
    }

    /// Puts the bits that matter into a megaflow's mask.
    pub fn add_to(&self, mask: &mut FlowKey) {
        let [outer, inner] = self.mask;
        mask.vlan0_tci = outer.tci.to_be_bytes();
        mask.vlan0_tpid = outer.tpid.to_be_bytes();
        mask.vlan1_tci = inner.tci.to_be_bytes();
        mask.vlan1_tpid = inner.tpid.to_be_bytes();
    }

    /// Notes that bits of the tag at `depth` influence the result.
    ///
    /// `known`: they do so for every packet that gets here this way.
    pub fn read(&mut self, tags: &Tags, depth: usize, tci: u16, tpid: u16, known: bool) {
        let (origin, tci) = match tags.at(depth) {
            Ok(Tag {
                origin: Some(n),
                written,
                ..
            }) => (*n, tci & !written),
            Ok(_) => return,
            Err(n) => (n, tci),
        };
        self.unwildcard(origin, tci, tpid, known);
    }

    fn unwildcard(&mut self, origin: usize, tci: u16, tpid: u16, known: bool) {
        if let Some(mask) = self.mask.get_mut(origin) {
            mask.tci |= tci;
            mask.tpid |= tpid;
        }
        if known && let Some(known) = self.known.get_mut(origin) {
            known.tci |= tci;
            known.tpid |= tpid;
        }
    }

    /// True when there is a tag at all.
    pub fn has_tag(&mut self, tags: &Tags) -> bool {
        self.read(tags, 0, VLAN_PRESENT, 0, true);
        self.header(tags, 0).tci & VLAN_PRESENT != 0
    }

    /// Sets bits of the outermost tag, which the caller knows to be there.
    pub fn set(&self, tags: &mut Tags, tci: u16, bits: u16) {
        if tags.pushed.is_empty() {
            let origin = tags.popped;
            tags.pushed.push(Tag {
                header: self.tags.get(origin).copied().unwrap_or_default(),
                origin: Some(origin),
                written: 0,
            });
            tags.popped += 1;
        }
        if let Some(tag) = tags.pushed.last_mut() {
            tag.header.tci = tag.header.tci & !bits | tci & bits;
            tag.written |= bits;
        }
    }

    /// Writes the two outermost tags into a key.
    pub fn show(&self, tags: &Tags, key: &mut FlowKey) {
        let (mut outer, inner) = (self.header(tags, 0), self.header(tags, 1));
        if outer.tci & VLAN_PRESENT == 0 {
            outer.tci = tags.loose;
        }
        key.vlan0_tci = outer.tci.to_be_bytes();
        key.vlan0_tpid = outer.tpid.to_be_bytes();
        key.vlan1_tci = inner.tci.to_be_bytes();
        key.vlan1_tpid = inner.tpid.to_be_bytes();
    }

    fn header(&self, tags: &Tags, depth: usize) -> Header {
        match tags.at(depth) {
            Ok(tag) => tag.header,
            Err(n) => self.tags.get(n).copied().unwrap_or_default(),
        }
    }

    /// Emits the pops and pushes that turn `base`, the packet's tags now, into `wanted`.
    pub fn commit(&mut self, base: &mut Tags, wanted: &Tags, actions: &mut Vec<Action>) {
        let mut wanted = wanted.clone();
        self.give_back(&mut wanted);
        if wanted.popped < base.popped {
            // Original tags that the packet has lost and that are wanted again.
            let again = (wanted.popped..base.popped).rev().map(|n| Tag {
                header: self.tags.get(n).copied().unwrap_or_default(),
                origin: Some(n),
                written: 0,
            });
            wanted.pushed.splice(0..0, again);
            wanted.popped = base.popped;
        }
        self.make_concrete(&mut wanted);

        let common = match base.popped == wanted.popped {
            true => std::iter::zip(&base.pushed, &wanted.pushed)
                .take_while(|(a, b)| a.header == b.header)
                .count(),
            false => 0,
        };
        let pops = base.pushed.len() - common + (wanted.popped - base.popped);
        actions.extend(std::iter::repeat_n(Action::PopVlan, pops));
        actions.extend(wanted.pushed.iter().skip(common).map(|t| Action::PushVlan {
            tpid: t.header.tpid,
            tci: t.header.tci & !VLAN_PRESENT,
        }));
        *base = wanted;
    }

    /// Lays tags that turned out not to be changed back onto the originals.
    fn give_back(&self, tags: &mut Tags) {
        while let Some(tag) = tags.pushed.first() {
            let Some(origin) = tag.origin.filter(|n| n + 1 == tags.popped) else {
                return;
            };
            let (Some(original), Some(known)) = (self.tags.get(origin), self.known.get(origin))
            else {
                return;
            };
            // Equal, and known to be: what was written is a constant, so the bit must be too.
            if tag.header != *original || tag.written & !known.tci != 0 {
                return;
            }
            tags.pushed.remove(0);
            tags.popped -= 1;
        }
    }

    /// Reads what is left of the original tags in `pushed`: a push action needs constants.
    fn make_concrete(&mut self, tags: &mut Tags) {
        for tag in &mut tags.pushed {
            if let Some(origin) = tag.origin.take() {
                self.unwildcard(origin, !tag.written, u16::MAX, true);
                tag.written = u16::MAX;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn originals(outer: u16, inner: u16) -> Originals {
        let mut key = FlowKey::zero();
        if outer != 0 {
            key.vlan0_tci = (outer | VLAN_PRESENT).to_be_bytes();
            key.vlan0_tpid = [0x81, 0];
        }
        if inner != 0 {
            key.vlan1_tci = (inner | VLAN_PRESENT).to_be_bytes();
            key.vlan1_tpid = [0x81, 0];
        }
        Originals::new(&key)
    }

    fn mask(o: &Originals) -> [u16; 4] {
        let [a, b] = o.mask;
        [a.tci, a.tpid, b.tci, b.tpid]
    }

    const PUSH: fn(u16) -> Action = |tci| Action::PushVlan { tpid: 0x8100, tci };

    #[test]
    fn a_popped_tag_needs_its_presence_alone() {
        let mut o = originals(5, 6);
        let (mut base, mut tags, mut actions) = (Tags::default(), Tags::default(), vec![]);
        assert!(o.has_tag(&tags));
        tags.pop();
        o.commit(&mut base, &tags, &mut actions);
        assert_eq!(actions, [Action::PopVlan]);
        assert_eq!(mask(&o), [VLAN_PRESENT, 0, 0, 0]);
        // What was the inner tag is the outer one now.
        assert!(o.has_tag(&tags));
        assert_eq!(mask(&o), [VLAN_PRESENT, 0, VLAN_PRESENT, 0]);
    }

    #[test]
    fn a_changed_vid_keeps_the_priority() {
        let mut o = originals(0x6005, 0);
        let (mut base, mut tags, mut actions) = (Tags::default(), Tags::default(), vec![]);
        o.set(&mut tags, 9, 0xfff);
        o.commit(&mut base, &tags, &mut actions);
        assert_eq!(actions, [Action::PopVlan, PUSH(0x6009)]);
        assert_eq!(mask(&o), [0xf000, 0xffff, 0, 0]);
    }

    #[test]
    fn tags_come_back() {
        let mut o = originals(5, 6);
        let (mut base, mut actions) = (Tags::default(), vec![]);
        let mut bare = Tags::default();
        bare.pop();
        bare.pop();
        bare.push(0x8100, 7);
        o.commit(&mut base, &bare, &mut actions);
        assert_eq!(actions, [Action::PopVlan, Action::PopVlan, PUSH(7)]);
        actions.clear();
        o.commit(&mut base, &Tags::default(), &mut actions);
        assert_eq!(actions, [Action::PopVlan, PUSH(6), PUSH(5)]);
        assert_eq!(mask(&o), [0xffff; 4]);
        actions.clear();
        bare.push(0x8100, 8);
        o.commit(&mut base, &bare, &mut actions);
        assert_eq!(
            actions,
            [Action::PopVlan, Action::PopVlan, PUSH(7), PUSH(8)]
        );
        actions.clear();
        bare.pop();
        o.commit(&mut base, &bare, &mut actions);
        assert_eq!(actions, [Action::PopVlan]);
    }

    #[test]
    fn writing_what_is_known_to_be_there_does_nothing() {
        let mut o = originals(5, 0);
        let (mut base, mut tags, mut actions) = (Tags::default(), Tags::default(), vec![]);
        o.read(&tags, 0, 0xfff, 0, true);
        o.set(&mut tags, 5, 0xfff);
        o.commit(&mut base, &tags, &mut actions);
        assert_eq!(actions, []);
        // Not known: another packet has another VLAN.
        let mut o = originals(5, 0);
        o.commit(&mut base, &tags, &mut actions);
        assert_eq!(actions, [Action::PopVlan, PUSH(5)]);
    }
}
