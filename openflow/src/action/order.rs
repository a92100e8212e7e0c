//! Where which action and instruction may stand.
//!
//! The same rules for text and for every version's messages, so that a flow that came in one
//! version can be shown in another. Open vSwitch has them so too.
//!
//! Source: OpenFlow 1.3.5, 5.9 and 5.10; ovs-actions(7); Open vSwitch `lib/ofp-actions.c`,
//! `ofpacts_verify`.

use thiserror::Error;

use super::Action;
use crate::error::OfError;
use crate::field::Field;
use crate::version::Version;

/// Most levels of actions in actions.
pub const MAX_DEPTH: usize = 32;

/// What a list of actions stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outer {
    /// A flow: instructions may stand in the list.
    Flow,
    /// A packet-out or a bucket.
    Actions,
    WriteActions,
    Clone,
    Ct,
}

impl Outer {
    fn name(self) -> &'static str {
        match self {
            Outer::Flow | Outer::Actions => "apply_actions",
            Outer::WriteActions => "write_actions",
            Outer::Clone => "clone",
            Outer::Ct => "ct",
        }
    }
}

/// An action in the wrong place.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Misplaced {
    #[error(
        "\"conjunction\" actions may be used along with \"note\" but not any other kind of \
         action (such as the \"{0}\" action used here)"
    )]
    BesideConjunction(&'static str),
    #[error("cannot set CT fields outside of ct action")]
    CtField,
    #[error("Cannot have NAT action outside of \"ct\" action")]
    Nat,
    #[error("{outer} action doesn't support nested action {action}")]
    Nested {
        outer: &'static str,
        action: &'static str,
    },
    #[error("ct action doesn't support nested modification of {0}")]
    NestedField(&'static str),
    #[error("duplicate {0} instruction not allowed, for OpenFlow 1.1+ compatibility")]
    Twice(&'static str),
    #[error(
        "invalid instruction ordering: {first} must appear before {second}, for OpenFlow 1.1+ \
         compatibility"
    )]
    Order {
        first: &'static str,
        second: &'static str,
    },
    #[error("{0} instruction not allowed here")]
    Instruction(&'static str),
}

impl Misplaced {
    /// What a peer is told.
    pub const fn error(&self) -> OfError {
        match self {
            Misplaced::BesideConjunction(_) => OfError::NxbacBadConjunction,
            Misplaced::CtField | Misplaced::Nat => OfError::BacBadSetArgument,
            Misplaced::Nested { .. } | Misplaced::NestedField(_) => OfError::BacBadArgument,
            Misplaced::Twice(_) | Misplaced::Order { .. } => OfError::BacUnsupportedOrder,
            Misplaced::Instruction(_) => OfError::BicUnsupInst,
        }
    }
}

/// The instructions in their order; actions are in Apply-Actions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Instruction {
    Meter,
    Apply,
    Clear,
    Write,
    Metadata,
    StatTrigger,
    Goto,
}

impl Instruction {
    fn of(action: &Action, version: Version) -> Instruction {
        match action {
            Action::Meter(_) if version < Version::Of15 => Instruction::Meter,
            Action::ClearActions => Instruction::Clear,
            Action::WriteActions(_) => Instruction::Write,
            Action::WriteMetadata { .. } => Instruction::Metadata,
            Action::StatTrigger { .. } => Instruction::StatTrigger,
            Action::GotoTable(_) => Instruction::Goto,
            _ => Instruction::Apply,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Instruction::Meter => "meter",
            Instruction::Apply => "apply_actions",
            Instruction::Clear => "clear_actions",
            Instruction::Write => "write_actions",
            Instruction::Metadata => "write_metadata",
            Instruction::StatTrigger => "stat_trigger",
            Instruction::Goto => "goto_table",
        }
    }
}

/// Checks the order of a list, and that each action may stand in `outer`.
///
/// What is inside the actions is not looked at; who makes it checks it.
pub fn check(actions: &[Action], version: Version, outer: Outer) -> Result<(), Misplaced> {
    if actions
        .iter()
        .any(|a| matches!(a, Action::Conjunction { .. }))
    {
        let other = actions
            .iter()
            .find(|a| !matches!(a, Action::Conjunction { .. } | Action::Note(_)));
        return match other {
            None => Ok(()),
            Some(other) => Err(Misplaced::BesideConjunction(general_name(other))),
        };
    }
    let mut last = None;
    for action in actions {
        check_nesting(action, outer)?;
        let this = Instruction::of(action, version);
        if let Some(last) = last {
            if this == last && this != Instruction::Apply {
                return Err(Misplaced::Twice(this.name()));
            }
            if this < last {
                return Err(Misplaced::Order {
                    first: this.name(),
                    second: last.name(),
                });
            }
        }
        let allowed = outer == Outer::Flow
            || matches!(this, Instruction::Apply)
            || this == Instruction::Meter && outer == Outer::Actions;
        if !allowed {
            return Err(Misplaced::Instruction(this.name()));
        }
        last = Some(this);
    }
    Ok(())
}

fn check_nesting(action: &Action, outer: Outer) -> Result<(), Misplaced> {
    let field = match action {
        Action::SetField { field, .. } => Some(*field),
        Action::RegLoad { dst, .. } | Action::RegMove { dst, .. } => Some(dst.field),
        _ => None,
    };
    let is_ct = |f| matches!(f, Field::CtMark | Field::CtLabel);
    if field.is_some_and(is_ct) && outer != Outer::Ct {
        return Err(Misplaced::CtField);
    }
    if matches!(action, Action::Nat(_)) {
        return match outer {
            Outer::Ct => Ok(()),
            _ => Err(Misplaced::Nat),
        };
    }
    let nested = || Misplaced::Nested {
        outer: outer.name(),
        action: general_name(action),
    };
    match (outer, field) {
        (Outer::Ct, None) => Err(nested()),
        (Outer::Ct, Some(f)) if !is_ct(f) => Err(Misplaced::NestedField(f.name())),
        (Outer::WriteActions | Outer::Clone, _) if matches!(action, Action::Meter(_)) => {
            Err(nested())
        }
        _ => Ok(()),
    }
}

/// The name of all forms of an action together.
fn general_name(action: &Action) -> &'static str {
    match action {
        Action::SetVlanVid(_) => "set_vlan_vid",
        Action::SetVlanPcp(_) => "set_vlan_pcp",
        Action::StripVlan => "strip_vlan",
        Action::RegLoad { .. } => "set_field",
        Action::SetTunnel { .. } => "set_tunnel",
        Action::Bundle(_) => "bundle",
        _ => action.form().name(),
    }
}

/// May the action stand in the action set?
///
/// Source: OpenFlow 1.3.5, 5.10; Open vSwitch `action_set_classify`.
pub fn fits_action_set(action: &Action) -> bool {
    matches!(
        action,
        Action::Output { .. }
            | Action::SetQueue(_)
            | Action::Group(_)
            | Action::SetVlanVid(_)
            | Action::SetVlanPcp(_)
            | Action::SetVlanVidIfTagged(_)
            | Action::SetVlanPcpIfTagged(_)
            | Action::StripVlan
            | Action::PushVlan(_)
            | Action::PushMpls(_)
            | Action::PopMpls(_)
            | Action::SetMplsLabel(_)
            | Action::SetMplsTc(_)
            | Action::SetMplsTtl(_)
            | Action::DecMplsTtl
            | Action::CopyTtlOut
            | Action::CopyTtlIn
            | Action::PushPbb(_)
            | Action::PopPbb
            | Action::Encap(_)
            | Action::Decap(_)
            | Action::SetEthSrc(_)
            | Action::SetEthDst(_)
            | Action::SetIpv4Src(_)
            | Action::SetIpv4Dst(_)
            | Action::SetNwTos(_)
            | Action::SetIpEcn(_)
            | Action::SetIpTtl(_)
            | Action::SetTpSrc(_)
            | Action::SetTpDst(_)
            | Action::DecTtl(_)
            | Action::DecNshTtl
            | Action::SetTunnel { .. }
            | Action::SetField { .. }
            | Action::RegLoad { .. }
            | Action::RegMove { .. }
            | Action::Resubmit { .. }
            | Action::Ct(_)
            | Action::CtClear
    )
}
