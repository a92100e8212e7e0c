//! The table of actions and instructions.
//!
//! One row describes one form on the wire: its name in text, where each version has it, and
//! whether the switch carries it out. The codec finds the form of a number, and the number of a
//! form, here; the text parser and printer take the names from here, the documentation both.
//!
//! ```text
//! action:       type(2), length(2), body
//! experimenter: 0xffff(2), length(2), experimenter(4), subtype(2), body
//! instruction:  type(2), length(2), body
//! ```
//!
//! Source: OpenFlow 1.0.0, 5.2.4; OpenFlow 1.1.0 to 1.5.1, 7.2.4 and 7.2.5; ovs-actions(7);
//! Open vSwitch `lib/ofp-actions.c`, `enum ofp_raw_action_type`; ONF extension 320.

use crate::error::OfError;
use crate::field::Support;
use crate::version::Version;

/// Who gave a form its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// OpenFlow, for actions.
    Standard,
    Nicira,
    Onf,
    /// OpenFlow, for instructions.
    Instruction,
}

/// The number of a form in some versions, first and last by wire number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub space: Space,
    pub first: u8,
    pub last: u8,
    pub number: u16,
}

/// A row of the table.
#[derive(Debug)]
pub struct FormInfo {
    pub form: Form,
    /// What it is called in text, the printed one first.
    pub names: &'static [&'static str],
    pub support: Support,
    pub places: &'static [Place],
}

macro_rules! forms {
    ($($id:ident [$($name:literal),*] $support:ident
       [$($space:ident $first:literal ..= $last:literal ($number:literal)),*];)*) => {
        /// A form that actions and instructions have on the wire.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Form { $($id),* }

        static ROWS: &[FormInfo] = &[$(FormInfo {
            form: Form::$id,
            names: &[$($name),*],
            support: Support::$support,
            places: &[$(Place {
                space: Space::$space,
                first: $first,
                last: $last,
                number: $number,
            }),*],
        }),*];
    };
}

// Versions are wire numbers: 1 is OpenFlow 1.0, 6 is 1.5. Forms that 1.1 has and later versions
// put down as "use Set-Field" are taken in those as well.
forms! {
    Output10 ["output"] Supported [Standard 1..=1 (0)];
    Output11 ["output"] Supported [Standard 2..=6 (0)];
    Controller ["controller"] Supported [Nicira 1..=6 (20)];
    Controller2 ["controller"] Supported [Nicira 1..=6 (37)];
    OutputReg ["output_reg"] Supported [Nicira 1..=6 (15)];
    OutputReg2 ["output_reg"] Supported [Nicira 1..=6 (32)];
    OutputTrunc ["output_trunc"] NotYet [Nicira 1..=6 (39)];
    Enqueue ["enqueue"] Supported [Standard 1..=1 (11)];
    SetQueue ["set_queue"] Supported [Nicira 1..=1 (4), Standard 2..=6 (21)];
    PopQueue ["pop_queue"] Supported [Nicira 1..=6 (5)];
    Group ["group"] Supported [Nicira 1..=1 (40), Standard 2..=6 (22)];
    Bundle ["bundle"] NotYet [Nicira 1..=6 (12)];
    BundleLoad ["bundle_load"] NotYet [Nicira 1..=6 (13)];
    Multipath ["multipath"] NotYet [Nicira 1..=6 (10)];

    SetVlanVid10 ["mod_vlan_vid"] Supported [Standard 1..=1 (1)];
    SetVlanPcp10 ["mod_vlan_pcp"] Supported [Standard 1..=1 (2)];
    SetVlanVid11 ["set_vlan_vid"] Supported [Standard 2..=6 (1)];
    SetVlanPcp11 ["set_vlan_pcp"] Supported [Standard 2..=6 (2)];
    StripVlan ["strip_vlan"] Supported [Standard 1..=1 (3)];
    PopVlan ["pop_vlan"] Supported [Standard 2..=6 (18)];
    PushVlan ["push_vlan"] Supported [Standard 2..=6 (17)];
    PushMpls ["push_mpls"] NotYet [Nicira 1..=1 (23), Standard 2..=6 (19)];
    PopMpls ["pop_mpls"] NotYet [Nicira 1..=1 (24), Standard 2..=6 (20)];
    SetMplsLabel ["set_mpls_label"] NotYet [Nicira 1..=1 (30), Standard 2..=6 (13)];
    SetMplsTc ["set_mpls_tc"] NotYet [Nicira 1..=1 (31), Standard 2..=6 (14)];
    SetMplsTtl ["set_mpls_ttl"] NotYet [Nicira 1..=1 (25), Standard 2..=6 (15)];
    DecMplsTtl ["dec_mpls_ttl"] NotYet [Nicira 1..=1 (26), Standard 2..=6 (16)];
    CopyTtlOut ["copy_ttl_out"] NotYet [Standard 2..=6 (11)];
    CopyTtlIn ["copy_ttl_in"] NotYet [Standard 2..=6 (12)];
    PushPbb ["push_pbb"] NotYet [Standard 4..=6 (26)];
    PopPbb ["pop_pbb"] NotYet [Standard 4..=6 (27)];
    Encap ["encap"] NotYet [Nicira 4..=6 (46)];
    Decap ["decap"] NotYet [Nicira 4..=6 (47)];

    SetEthSrc ["mod_dl_src"] Supported [Standard 1..=1 (4), Standard 2..=6 (3)];
    SetEthDst ["mod_dl_dst"] Supported [Standard 1..=1 (5), Standard 2..=6 (4)];
    SetIpv4Src ["mod_nw_src"] Supported [Standard 1..=1 (6), Standard 2..=6 (5)];
    SetIpv4Dst ["mod_nw_dst"] Supported [Standard 1..=1 (7), Standard 2..=6 (6)];
    SetNwTos ["mod_nw_tos"] Supported [Standard 1..=1 (8), Standard 2..=6 (7)];
    SetIpEcn ["mod_nw_ecn"] Supported [Standard 2..=6 (8)];
    SetIpTtl ["mod_nw_ttl", "set_nw_ttl"] Supported [Standard 2..=6 (23)];
    DecTtl ["dec_ttl"] Supported [Nicira 1..=1 (18), Standard 2..=6 (24)];
    DecTtlIds ["dec_ttl"] Supported [Nicira 1..=6 (21)];
    DecNshTtl ["dec_nsh_ttl"] NotYet [Nicira 4..=6 (48)];
    SetTpSrc ["mod_tp_src"] Supported [Standard 1..=6 (9)];
    SetTpDst ["mod_tp_dst"] Supported [Standard 1..=6 (10)];
    SetTunnel ["set_tunnel"] NotYet [Nicira 1..=6 (2)];
    SetTunnel64 ["set_tunnel64"] NotYet [Nicira 1..=6 (9)];
    SetField12 ["set_field"] Supported [Standard 3..=5 (25)];
    SetField15 ["set_field"] Supported [Standard 6..=6 (25)];
    RegLoad ["load"] Supported [Nicira 1..=5 (7)];
    RegLoad2 ["set_field"] Supported [Nicira 1..=5 (33)];
    RegMove ["move"] Supported [Nicira 1..=5 (6)];
    OnfCopyField ["move"] Supported [Onf 4..=5 (3200)];
    CopyField ["move"] Supported [Standard 6..=6 (28)];
    StackPush ["push"] Supported [Nicira 1..=6 (27)];
    StackPop ["pop"] Supported [Nicira 1..=6 (28)];
    DeleteField ["delete_field"] NotYet [Nicira 1..=6 (50)];

    Resubmit ["resubmit"] Supported [Nicira 1..=6 (1)];
    ResubmitTable ["resubmit"] Supported [Nicira 1..=6 (14)];
    ResubmitTableCt ["resubmit"] NotYet [Nicira 1..=6 (44)];
    Clone ["clone"] NotYet [Nicira 1..=6 (42)];
    Learn ["learn"] NotYet [Nicira 1..=6 (16)];
    Learn2 ["learn"] NotYet [Nicira 1..=6 (45)];
    Conjunction ["conjunction"] NotYet [Nicira 1..=6 (34)];
    FinTimeout ["fin_timeout"] NotYet [Nicira 1..=6 (19)];
    Sample ["sample"] NotYet [Nicira 1..=6 (29)];
    Sample2 ["sample"] NotYet [Nicira 1..=6 (38)];
    Sample3 ["sample"] NotYet [Nicira 1..=6 (41)];
    CheckPktLarger ["check_pkt_larger"] NotYet [Nicira 1..=6 (49)];
    Ct ["ct"] NotYet [Nicira 1..=6 (35)];
    Nat ["nat"] NotYet [Nicira 1..=6 (36)];
    CtClear ["ct_clear"] NotYet [Nicira 1..=6 (43)];
    Note ["note"] Supported [Nicira 1..=6 (8)];
    Exit ["exit"] Supported [Nicira 1..=6 (17)];

    Meter ["meter"] Supported [Instruction 4..=5 (6), Standard 6..=6 (29)];
    ApplyActions ["apply_actions"] Supported [Instruction 2..=6 (4)];
    ClearActions ["clear_actions"] Supported [Instruction 2..=6 (5)];
    WriteActions ["write_actions"] Supported [Instruction 2..=6 (3)];
    WriteMetadata ["write_metadata"] Supported [Nicira 1..=6 (22), Instruction 2..=6 (2)];
    StatTrigger ["stat_trigger"] NotYet [Instruction 6..=6 (7)];
    GotoTable ["goto_table"] Supported [Instruction 2..=6 (1)];
}

impl Form {
    pub const fn info(self) -> &'static FormInfo {
        // The rows are made from the enum's variants, in order.
        &ROWS[self as usize]
    }

    pub const fn all() -> &'static [FormInfo] {
        ROWS
    }

    /// What text calls it.
    pub fn name(self) -> &'static str {
        self.info().names.first().copied().unwrap_or_default()
    }

    /// The first form that text calls `name`, in any case.
    pub fn from_name(name: &str) -> Option<Form> {
        let is = |n: &&'static str| n.eq_ignore_ascii_case(name);
        ROWS.iter()
            .find(|row| row.names.iter().any(is))
            .map(|row| row.form)
    }

    /// The error for a form that the switch does not carry out.
    pub fn refusal(self, version: Version) -> OfError {
        match self.action_place(version).map(|p| p.space) {
            Some(Space::Nicira | Space::Onf) => OfError::BacBadVendorType,
            Some(Space::Standard | Space::Instruction) => OfError::BacBadType,
            None => OfError::BicUnsupInst,
        }
    }

    /// Where `version` has the form, if not among the instructions.
    pub(crate) fn action_place(self, version: Version) -> Option<&'static Place> {
        self.place(version, |space| space != Space::Instruction)
    }

    /// The number that `version` has for it among its instructions.
    pub(crate) fn instruction_number(self, version: Version) -> Option<u16> {
        self.place(version, |space| space == Space::Instruction)
            .map(|p| p.number)
    }

    fn place(self, version: Version, fits: impl Fn(Space) -> bool) -> Option<&'static Place> {
        let v = version.wire();
        let mut places = self.info().places.iter();
        places.find(|p| p.first <= v && v <= p.last && fits(p.space))
    }

    /// The form that has this number in `version`.
    pub(crate) fn from_number(space: Space, number: u16, version: Version) -> Option<Form> {
        let row = match space {
            Space::Onf => ROWS.iter().position(|row| {
                row.places
                    .iter()
                    .any(|p| p.space == space && p.number == number && p.has(version.wire()))
            })?,
            _ => {
                let by_version = BY_NUMBER.get(space as usize)?;
                let by_number = by_version.get(usize::from(version.wire()))?;
                usize::from(*by_number.get(usize::from(number))?)
            }
        };
        ROWS.get(row).map(|row| row.form)
    }
}

impl Place {
    const fn has(&self, version: u8) -> bool {
        self.first <= version && version <= self.last
    }
}

const NONE: u8 = 0xff;
const N_NUMBERS: usize = 64;
/// Row by space, version and number; `NONE` where there is no form. The ONF's numbers are too
/// large for it.
static BY_NUMBER: [[[u8; N_NUMBERS]; 7]; 4] = by_number();

const fn by_number() -> [[[u8; N_NUMBERS]; 7]; 4] {
    let mut table = [[[NONE; N_NUMBERS]; 7]; 4];
    let mut row = 0;
    while row < ROWS.len() {
        let places = ROWS[row].places;
        let mut i = 0;
        while i < places.len() {
            let place = &places[i];
            let mut version = place.first;
            while version <= place.last && (place.number as usize) < N_NUMBERS {
                table[place.space as usize][version as usize][place.number as usize] = row as u8;
                version += 1;
            }
            i += 1;
        }
        row += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_to_their_form_and_to_no_other() {
        for row in Form::all() {
            for place in row.places {
                for version in Version::ALL {
                    if !place.has(version.wire()) {
                        continue;
                    }
                    let found = Form::from_number(place.space, place.number, *version);
                    assert_eq!(found, Some(row.form), "{place:?}");
                }
            }
        }
        assert_eq!(Form::from_number(Space::Standard, 25, Version::Of11), None);
        assert_eq!(
            Form::from_number(Space::Nicira, 0xfffe, Version::Of13),
            None
        );
    }

    #[test]
    fn versions_have_what_their_specifications_say() {
        let standard = |version| -> Vec<u16> {
            (0..64)
                .filter(|n| Form::from_number(Space::Standard, *n, version).is_some())
                .collect()
        };
        let to = |n: u16| (0..=n).collect::<Vec<u16>>();
        assert_eq!(standard(Version::Of10), to(11));
        assert_eq!(standard(Version::Of11), to(24));
        assert_eq!(standard(Version::Of12), to(25));
        assert_eq!(standard(Version::Of13), to(27));
        assert_eq!(standard(Version::Of15), to(29));
        let instructions = |version| {
            (0..64)
                .filter(|n| Form::from_number(Space::Instruction, *n, version).is_some())
                .count()
        };
        assert_eq!(
            Version::ALL
                .iter()
                .map(|v| instructions(*v))
                .collect::<Vec<_>>(),
            [0, 5, 5, 6, 6, 6]
        );
    }
}
