//! Do the actions of a flow-mod or packet-out make sense here?
//!
//! The decoder has checked that actions are well-formed. What depends on the switch (ports,
//! tables, groups, meters, queues) and on the flow's match (prerequisites of the fields that
//! actions touch) is checked here, before anything changes.
//!
//! Source: OpenFlow 1.3.5, 7.5.4.3 and 7.5.4.4; OVS `ofproto_check_ofpacts` and
//! `ofpacts_check_consistency`, and what ovs-vswitchd 3.1 answered.

use openflow::field::{Prereq, Support};
use openflow::message::{FlowMod, FlowModCommand, TABLE_ALL};
use openflow::{Action, Field, Match, OfError, OfPort, Subfield, Version};

use crate::flow_field::is_carried;
use crate::group::Groups;
use crate::meter::Meters;
use crate::snapshot::N_TABLES;
use crate::table::{Uses, check_table, uses};

/// Checks a flow-mod's actions against its match and table.
///
/// Errors: `OFPBAC_BAD_OUT_PORT`, `OFPBAC_BAD_OUT_GROUP`, `OFPBAC_BAD_QUEUE`,
/// `OFPMMFC_INVALID_METER`, `OFPBIC_BAD_TABLE_ID`, `OFPBAC_MATCH_INCONSISTENT`,
/// `OFPBAC_BAD_SET_TYPE`, `OFPBAC_BAD_TYPE` and `OFPBAC_BAD_VENDOR_TYPE` for what is not carried
/// out, and those of [`check_table`].
pub fn check_flow_mod(
    request: &FlowMod,
    version: Version,
    known: Known<'_>,
) -> Result<(), OfError> {
    check_flow_mod_alone(request, version)?;
    if is_deletion(request) {
        return Ok(());
    }
    known.check(&request.actions)
}

fn is_deletion(request: &FlowMod) -> bool {
    matches!(
        request.command,
        FlowModCommand::Delete | FlowModCommand::DeleteStrict
    )
}

/// As [`check_flow_mod`], but the groups and meters need not be there yet.
pub fn check_flow_mod_alone(request: &FlowMod, version: Version) -> Result<(), OfError> {
    if is_deletion(request) {
        return Ok(());
    }
    if request.command == FlowModCommand::Add {
        check_table(request, version)?;
    }
    let table_id = request.table_id.filter(|t| *t != TABLE_ALL).unwrap_or(0);
    let mut check = Check {
        wanted: Some(request.fields.clone()),
        table_id: Some(table_id),
        version,
    };
    check.list(&request.actions)
}

/// Checks a packet-out's actions; what its packet has is not looked at.
///
/// Errors: as for [`check_flow_mod`], but for those about the match.
pub fn check_packet_out(
    actions: &[Action],
    version: Version,
    known: Known<'_>,
) -> Result<(), OfError> {
    check_free(actions, version)?;
    known.check(actions)
}

/// Checks a bucket's actions; the groups that they lead to need not be there.
///
/// Errors: as for [`check_packet_out`], and `OFPBAC_BAD_TYPE` for a meter of 1.5: in the datapath
/// it would keep the packet from the other buckets, too.
pub fn check_bucket(actions: &[Action], version: Version) -> Result<(), OfError> {
    if actions.iter().any(|a| matches!(a, Action::Meter(_))) {
        return Err(OfError::BacBadType);
    }
    check_free(actions, version)
}

/// Checks actions of which nobody says what the packets are.
fn check_free(actions: &[Action], version: Version) -> Result<(), OfError> {
    let mut check = Check {
        wanted: None,
        table_id: None,
        version,
    };
    check.list(actions)
}

/// Checks what a rule of table `table_id` has left to do for a packet.
///
/// Errors: as for [`check_packet_out`], and `OFPBIC_BAD_TABLE_ID`.
pub fn check_rest(
    actions: &[Action],
    table_id: u8,
    version: Version,
    known: Known<'_>,
) -> Result<(), OfError> {
    let mut check = Check {
        wanted: None,
        table_id: Some(table_id),
        version,
    };
    check.list(actions)?;
    known.check(actions)
}

/// The groups and meters that actions can name.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub groups: &'a Groups,
    pub meters: &'a Meters,
}

impl Known<'_> {
    fn check(self, actions: &[Action]) -> Result<(), OfError> {
        uses(actions).into_iter().try_for_each(|used| match used {
            Uses::Group(id) if self.groups.get(id).is_none() => Err(OfError::BacBadOutGroup),
            Uses::Meter(id) if self.meters.get(id).is_none() => Err(OfError::MmfcInvalidMeter),
            _ => Ok(()),
        })
    }
}

struct Check {
    /// What is known of the packets at this point of the list; `None` when nothing is, and then
    /// prerequisites are not asked for.
    wanted: Option<Match>,
    table_id: Option<u8>,
    version: Version,
}

impl Check {
    fn list(&mut self, actions: &[Action]) -> Result<(), OfError> {
        actions.iter().try_for_each(|a| self.action(a))
    }

    fn action(&mut self, action: &Action) -> Result<(), OfError> {
        let form = action.form();
        if form.info().support == Support::NotYet {
            return Err(form.refusal(self.version));
        }
        match action {
            Action::Output { port, .. } => check_out_port(*port),
            Action::Enqueue { .. } | Action::SetQueue(_) => Err(OfError::BacBadQueue),
            // What exists is looked at apart.
            Action::Group(_) | Action::Meter(_) => Ok(()),
            Action::OutputReg { src, .. } => self.readable(*src),
            Action::Controller(_) | Action::PopQueue | Action::Note(_) | Action::Exit => Ok(()),

            Action::SetVlanVid(_) | Action::SetVlanPcp(_) => {
                // In OpenFlow 1.0 these add a tag where there is none.
                if self.version != Version::Of10 {
                    self.needs(Prereq::VlanVid)?;
                }
                self.has_tag(true);
                Ok(())
            }
            Action::SetVlanVidIfTagged(_) | Action::SetVlanPcpIfTagged(_) => {
                self.needs_in_13(Prereq::VlanVid)
            }
            Action::StripVlan => {
                if self.version != Version::Of10 {
                    self.needs(Prereq::VlanVid)?;
                }
                self.has_tag(false);
                Ok(())
            }
            Action::PushVlan(tpid) => {
                if !matches!(tpid, 0x8100 | 0x88a8) {
                    return Err(OfError::BacBadArgument);
                }
                self.has_tag(true);
                Ok(())
            }

            Action::SetEthSrc(_) | Action::SetEthDst(_) => Ok(()),
            Action::SetIpv4Src(_) | Action::SetIpv4Dst(_) => self.needs_in_13(Prereq::Ipv4),
            Action::SetNwTos(_) | Action::SetIpEcn(_) | Action::SetIpTtl(_) => {
                self.needs_in_13(Prereq::Ip)
            }
            Action::DecTtl(_) => self.needs_in_13(Prereq::Ip),
            Action::SetTpSrc(_) | Action::SetTpDst(_) => {
                let kinds = [Prereq::Tcp, Prereq::Udp, Prereq::Sctp];
                if self.version == Version::Of10 || kinds.into_iter().any(|k| self.meets(k)) {
                    Ok(())
                } else {
                    Err(OfError::BacMatchInconsistent)
                }
            }

            Action::SetField { field, .. } => {
                self.writable(Subfield::whole(*field))?;
                match field {
                    // The action changes a tag; it adds none.
                    Field::VlanVid => self.needs(Prereq::VlanVid)?,
                    Field::VlanTci | Field::DlVlan => self.has_tag(true),
                    _ => {}
                }
                Ok(())
            }
            Action::RegLoad { dst, .. } => {
                self.writable(*dst)?;
                if dst.field == Field::VlanTci {
                    self.has_tag(true);
                }
                Ok(())
            }
            Action::RegMove { src, dst } => {
                self.readable(*src)?;
                self.writable(*dst)
            }
            Action::StackPush(src) => self.readable(*src),
            Action::StackPop(dst) => self.writable(*dst),

            Action::Resubmit { .. } => Ok(()),
            Action::ClearActions | Action::WriteMetadata { .. } => Ok(()),
            // What the set does happens at the end, to a packet that may have changed by then.
            Action::WriteActions(actions) => {
                let known = self.wanted.clone();
                let result = self.list(actions);
                self.wanted = known;
                result
            }
            Action::GotoTable(table) => {
                let goes_back = self.table_id.is_none_or(|from| *table <= from);
                if goes_back || usize::from(*table) >= N_TABLES {
                    return Err(OfError::BicBadTableId);
                }
                Ok(())
            }
            // Their rows say that they are not carried out.
            _ => Err(form.refusal(self.version)),
        }
    }

    fn readable(&self, src: Subfield) -> Result<(), OfError> {
        self.field(src.field)
    }

    fn writable(&self, dst: Subfield) -> Result<(), OfError> {
        if !dst.field.info().is_settable() {
            return Err(OfError::BacBadSetArgument);
        }
        self.field(dst.field)
    }

    fn field(&self, field: Field) -> Result<(), OfError> {
        if !is_carried(field) {
            return Err(OfError::BacBadSetType);
        }
        self.needs(field.info().prereq)
    }

    fn needs(&self, prereq: Prereq) -> Result<(), OfError> {
        if self.meets(prereq) {
            Ok(())
        } else {
            Err(OfError::BacMatchInconsistent)
        }
    }

    /// The actions of OpenFlow 1.0 do nothing to packets that lack the header.
    fn needs_in_13(&self, prereq: Prereq) -> Result<(), OfError> {
        match self.version {
            Version::Of10 => Ok(()),
            _ => self.needs(prereq),
        }
    }

    fn meets(&self, prereq: Prereq) -> bool {
        self.wanted.as_ref().is_none_or(|m| m.meets(prereq))
    }

    /// From here on the packet has a VLAN tag, or maybe none.
    fn has_tag(&mut self, has_tag: bool) {
        if let Some(wanted) = &mut self.wanted {
            if has_tag {
                wanted.set(Field::VlanTci, 0x1000, 0x1000);
            } else {
                wanted.set(Field::VlanTci, 0, 0);
            }
        }
    }
}

/// Ports need not exist, but must be able to.
fn check_out_port(port: OfPort) -> Result<(), OfError> {
    match port {
        OfPort::ANY | OfPort::UNSET => Err(OfError::BacBadOutPort),
        port if port <= OfPort::MAX => Ok(()),
        OfPort::IN_PORT
        | OfPort::TABLE
        | OfPort::NORMAL
        | OfPort::FLOOD
        | OfPort::ALL
        | OfPort::CONTROLLER
        | OfPort::LOCAL => Ok(()),
        _ => Err(OfError::BacBadOutPort),
    }
}
