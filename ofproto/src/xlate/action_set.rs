//! The order in which an action set is carried out.
//!
//! Source: OpenFlow 1.3.5, 5.10; OVS `lib/ofp-actions.c`, `ofpacts_execute_action_set`.

use openflow::Action;

/// The actions of `written` (in the order in which they were written) that are carried out, in
/// the order of the specification.
///
/// Of each kind the last one written counts; set-field actions all count, since they may be on
/// different fields. A set without group or output does nothing: the packet is dropped.
pub fn in_order(written: &[Action]) -> Vec<Action> {
    let last = |kind: fn(&Action) -> bool| written.iter().rev().find(|a| kind(a)).cloned();
    let group = last(|a| matches!(a, Action::Group(_)));
    let output = last(|a| {
        matches!(
            a,
            Action::Output { .. } | Action::OutputReg { .. } | Action::Controller(_)
        )
    });
    let resubmit = last(|a| matches!(a, Action::Resubmit { .. }));
    let Some(end) = group.or(output).or(resubmit) else {
        return Vec::new();
    };
    let mut list = Vec::new();
    list.extend(last(|a| matches!(a, Action::StripVlan)));
    list.extend(last(|a| matches!(a, Action::PushVlan(_))));
    list.extend(last(|a| matches!(a, Action::DecTtl(_))));
    list.extend(written.iter().filter(|a| is_set(a)).cloned());
    list.extend(last(|a| matches!(a, Action::Meter(_))));
    list.extend(last(|a| matches!(a, Action::SetQueue(_))));
    list.push(end);
    list
}

fn is_set(action: &Action) -> bool {
    matches!(
        action,
        Action::SetVlanVid(_)
            | Action::SetVlanPcp(_)
            | Action::SetVlanVidIfTagged(_)
            | Action::SetVlanPcpIfTagged(_)
            | Action::SetEthSrc(_)
            | Action::SetEthDst(_)
            | Action::SetIpv4Src(_)
            | Action::SetIpv4Dst(_)
            | Action::SetNwTos(_)
            | Action::SetIpEcn(_)
            | Action::SetIpTtl(_)
            | Action::SetTpSrc(_)
            | Action::SetTpDst(_)
            | Action::SetField { .. }
            | Action::RegLoad { .. }
            | Action::RegMove { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use packet::OfPort;

    #[test]
    fn one_of_each_kind_in_order() {
        let out = |n| Action::output(OfPort(n));
        let written = [
            out(1),
            Action::SetVlanVid(5),
            Action::PushVlan(0x8100),
            out(2),
            Action::StripVlan,
            Action::SetVlanVid(6),
            Action::DecTtl(vec![0]),
        ];
        assert_eq!(
            in_order(&written),
            [
                Action::StripVlan,
                Action::PushVlan(0x8100),
                Action::DecTtl(vec![0]),
                Action::SetVlanVid(5),
                Action::SetVlanVid(6),
                out(2),
            ]
        );
        assert_eq!(in_order(&[Action::StripVlan]), []);
    }
}
