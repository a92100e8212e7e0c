//! Action lists as the kernel holds them: records, and the chain of blocks that they lie in.

use packet::abi::{ActionBlock, BLOCK_RECORDS, MAX_STEPS};
use packet::action::{ActionRecord, OUTPUTS_MAX, kind};
use packet::extract::is_vlan;
use packet::{Action, DpPort};

use super::pool::Pool;
use super::sys::SharedArray;
use crate::Error;

/// Actions that a list may have: each takes a step, and so does the link to each further block.
pub const MAX_ACTIONS: usize = MAX_STEPS as usize / BLOCK_RECORDS * (BLOCK_RECORDS - 1);

/// The records of a list; runs of outputs are packed.
///
/// Errors: `Unsupported` for what the programs do not do; `Full` when the list is too long.
pub fn encode(actions: &[Action]) -> Result<Vec<ActionRecord>, Error> {
    if actions.len() > MAX_ACTIONS {
        let (what, limit) = ("actions of one flow", MAX_ACTIONS);
        return Err(Error::Full { what, limit });
    }
    let mut records = Vec::new();
    let mut rest = actions;
    while let [first, after @ ..] = rest {
        match first {
            Action::Output(_) => {
                let run: Vec<u16> = rest
                    .iter()
                    .map_while(|a| match a {
                        Action::Output(port) => u16::try_from(port.0).ok(),
                        _ => None,
                    })
                    .take(OUTPUTS_MAX)
                    .collect();
                if run.len() > 1 {
                    records.push(ActionRecord::outputs(&run));
                    rest = rest.get(run.len()..).unwrap_or_default();
                    continue;
                }
            }
            Action::PushVlan { tpid, .. } if !is_vlan(*tpid) => {
                return Err(Error::Unsupported(format!(
                    "VLAN tag with TPID {tpid:#06x}"
                )));
            }
            Action::SlowPath(_) if !is_slow_list(actions) => {
                return Err(Error::Unsupported(
                    "a slow path among other actions".to_string(),
                ));
            }
            Action::Drop(_) if !after.is_empty() => {
                return Err(Error::Unsupported("actions behind a drop".to_string()));
            }
            _ => {}
        }
        records.push(ActionRecord::from(*first));
        rest = after;
    }
    Ok(records)
}

/// A slow path, with nothing but meters before it?
fn is_slow_list(actions: &[Action]) -> bool {
    let meters = actions.iter().take_while(|a| matches!(a, Action::Meter(_)));
    meters.count() + 1 == actions.len()
}

/// The actions of records as [`encode`] made them.
pub fn decode(records: &[ActionRecord]) -> Vec<Action> {
    let mut actions = Vec::new();
    for record in records {
        if record.kind == kind::OUTPUTS {
            let ports = record.ports();
            let ports = ports.iter().take(usize::from(record.arg8));
            actions.extend(ports.map(|p| Action::Output(DpPort(u32::from(*p)))));
        } else {
            actions.extend(record.decode());
        }
    }
    actions
}

/// Writes a list into blocks; returns the first, 0 for the empty list.
pub fn store(
    records: &[ActionRecord],
    blocks: &SharedArray<ActionBlock>,
    pool: &mut Pool,
) -> Result<u32, Error> {
    let needed = if records.len() <= BLOCK_RECORDS {
        records.len().min(1)
    } else {
        (records.len() - 1).div_ceil(BLOCK_RECORDS - 1)
    };
    if pool.left() < needed {
        return Err(Error::Full {
            what: "actions",
            limit: blocks.entries() as usize,
        });
    }
    // From the end, so that each block is whole before one refers to it.
    let mut starts = Vec::new();
    let mut at = 0;
    while at < records.len() {
        starts.push(at);
        at += if records.len() - at <= BLOCK_RECORDS {
            BLOCK_RECORDS
        } else {
            BLOCK_RECORDS - 1
        };
    }
    let mut next = 0;
    for start in starts.into_iter().rev() {
        let mut block = ActionBlock::default();
        let part = records.get(start..).unwrap_or_default();
        for (to, from) in block.records.iter_mut().zip(part) {
            *to = *from;
        }
        if next != 0 {
            let link = &mut block.records[BLOCK_RECORDS - 1];
            *link = ActionRecord {
                kind: kind::NEXT,
                ..ActionRecord::default()
            };
            link.set_u32(next);
        }
        let Some(number) = pool.take() else {
            return Err(Error::Full {
                what: "actions",
                limit: blocks.entries() as usize,
            });
        };
        blocks.set(number, block);
        next = number;
    }
    Ok(next)
}

/// The records of a list and the blocks that they lie in.
pub fn fetch(first: u32, blocks: &SharedArray<ActionBlock>) -> (Vec<ActionRecord>, Vec<u32>) {
    let mut records = Vec::new();
    let mut numbers = Vec::new();
    let mut next = first;
    while next != 0 && records.len() < MAX_STEPS as usize {
        let Some(block) = blocks.get(next) else { break };
        numbers.push(next);
        next = 0;
        for record in block.records {
            match record.kind {
                kind::END => break,
                kind::NEXT => next = record.u32(),
                _ => records.push(record),
            }
        }
    }
    (records, numbers)
}

#[cfg(test)]
mod tests {
    use packet::DropReason;
    use packet::action::{SetField, SlowReason};
    use proptest::prelude::*;

    use super::*;

    fn action() -> impl Strategy<Value = Action> {
        prop_oneof![
            4 => (1u32..5000).prop_map(|p| Action::Output(DpPort(p))),
            1 => any::<u16>().prop_map(|tci| Action::PushVlan { tpid: 0x8100, tci }),
            1 => Just(Action::PopVlan),
            1 => any::<u32>().prop_map(|n| Action::Meter(packet::DpMeter(n))),
            1 => (any::<[u8; 6]>(), any::<[u8; 6]>(), 0..SetField::ALL.len()).prop_map(
                |(value, mask, n)| Action::Set { field: SetField::ALL[n], value, mask }
            ),
        ]
    }

    proptest! {
        #[test]
        fn lists_come_back_as_they_were(actions in prop::collection::vec(action(), 0..300)) {
            let records = encode(&actions).expect("encodes");
            prop_assert_eq!(decode(&records), actions);
        }
    }

    #[test]
    fn a_thousand_outputs_are_few_records() {
        let actions: Vec<_> = (1..=1000).map(|p| Action::Output(DpPort(p))).collect();
        assert_eq!(
            encode(&actions).expect("encodes").len(),
            1000usize.div_ceil(OUTPUTS_MAX)
        );
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let slow = Action::SlowPath(SlowReason::Controller);
        for bad in [
            vec![slow, Action::PopVlan],
            vec![Action::Drop(DropReason::Policy), Action::PopVlan],
            vec![Action::PushVlan {
                tpid: 0x9100,
                tci: 1,
            }],
            vec![Action::PopVlan; MAX_ACTIONS + 1],
        ] {
            assert!(encode(&bad).is_err());
        }
    }
}
