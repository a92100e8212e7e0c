//! OpenFlow errors: every error that a peer can be told, with its `(type, code)` per version.
//!
//! Some errors have no number in some versions; extensions fill part of the gaps: Nicira's in
//! 1.0 and 1.1 carry both a type and a code behind type 0xb0c2, experimenter errors of 1.2 and
//! later only a type. [`OfError::to_wire`] and [`OfError::from_wire`] translate; what a version
//! cannot express goes out as `NXBRC_UNENCODABLE_ERROR`.
//!
//! Source: OpenFlow 1.0.0, 5.4.4; OpenFlow 1.3.5, 7.5.4; the extension numbers are those of
//! Open vSwitch `include/openvswitch/ofp-errors.h`.

use std::fmt;

use crate::version::Version;

/// Who defines an error number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    OpenFlow,
    Nicira,
    Onf,
}

impl Vendor {
    /// The experimenter id; `None` for the standard itself.
    pub const fn id(self) -> Option<u32> {
        match self {
            Vendor::OpenFlow => None,
            Vendor::Nicira => Some(crate::wire::NICIRA),
            Vendor::Onf => Some(crate::wire::ONF),
        }
    }
}

/// An error's number in one version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WireError {
    pub vendor: Vendor,
    pub kind: u16,
    /// 0 for experimenter errors of 1.2 and later, which have a type only.
    pub code: u16,
}

struct Number {
    vendor: Vendor,
    first: u8,
    last: u8,
    kind: u16,
    code: u16,
}

macro_rules! errors {
    ($($id:ident $name:literal [$($vendor:ident $first:literal ..= $last:literal
       ($kind:literal, $code:literal)),*];)*) => {
        /// An error that a peer can be told.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum OfError { $($id),* }

        const ALL: &[(OfError, &str, &[Number])] = &[$((OfError::$id, $name, &[
            $(Number { vendor: Vendor::$vendor, first: $first, last: $last, kind: $kind,
                       code: $code }),*
        ])),*];
    };
}

// Versions are wire numbers: 1 is OpenFlow 1.0, 6 is 1.5.
errors! {
    HfcIncompatible "OFPHFC_INCOMPATIBLE" [OpenFlow 1..=6 (0, 0)];
    HfcEperm "OFPHFC_EPERM" [OpenFlow 1..=6 (0, 1)];
    BrcBadVersion "OFPBRC_BAD_VERSION" [OpenFlow 1..=6 (1, 0)];
    BrcBadType "OFPBRC_BAD_TYPE" [OpenFlow 1..=6 (1, 1)];
    BrcBadStat "OFPBRC_BAD_STAT" [OpenFlow 1..=6 (1, 2)];
    BrcBadVendor "OFPBRC_BAD_VENDOR" [OpenFlow 1..=6 (1, 3)];
    BrcBadSubtype "OFPBRC_BAD_SUBTYPE" [OpenFlow 1..=6 (1, 4)];
    BrcEperm "OFPBRC_EPERM" [OpenFlow 1..=6 (1, 5)];
    BrcBadLen "OFPBRC_BAD_LEN" [OpenFlow 1..=6 (1, 6)];
    BrcBufferEmpty "OFPBRC_BUFFER_EMPTY" [OpenFlow 1..=6 (1, 7)];
    BrcBufferUnknown "OFPBRC_BUFFER_UNKNOWN" [OpenFlow 1..=6 (1, 8)];
    BrcBadTableId "OFPBRC_BAD_TABLE_ID" [Nicira 1..=1 (1, 512), OpenFlow 2..=6 (1, 9)];
    BrcIsSlave "OFPBRC_IS_SECONDARY" [OpenFlow 1..=2 (1, 5), OpenFlow 3..=6 (1, 10)];
    BrcBadPort "OFPBRC_BAD_PORT" [Nicira 1..=2 (1, 514), OpenFlow 3..=6 (1, 11)];
    BrcBadPacket "OFPBRC_BAD_PACKET" [OpenFlow 3..=6 (1, 12)];
    BrcMultipartBufferOverflow "OFPBRC_MULTIPART_BUFFER_OVERFLOW" [OpenFlow 4..=6 (1, 13)];
    BrcMultipartBadSched "OFPBRC_MULTIPART_BAD_SCHED" [OpenFlow 6..=6 (1, 16)];
    BrcMultipartReplyTimeout "OFPBRC_MULTIPART_REPLY_TIMEOUT"
        [Onf 4..=4 (2641, 0), OpenFlow 5..=6 (1, 15)];
    BrcMultipartRequestTimeout "OFPBRC_MULTIPART_REQUEST_TIMEOUT"
        [Onf 4..=4 (2640, 0), OpenFlow 5..=6 (1, 14)];
    BrcPipelineFieldsOnly "OFPBRC_PIPELINE_FIELDS_ONLY" [OpenFlow 6..=6 (1, 17)];
    BrcUnknown "OFPBRC_UNKNOWN" [OpenFlow 6..=6 (1, 18)];
    NxbrcNxmInvalid "NXBRC_NXM_INVALID" [Nicira 1..=2 (1, 256), Nicira 3..=6 (2, 0)];
    NxbrcNxmBadType "NXBRC_NXM_BAD_TYPE" [Nicira 1..=2 (1, 257), Nicira 3..=6 (3, 0)];
    NxbrcMustBeZero "NXBRC_MUST_BE_ZERO" [Nicira 1..=2 (1, 515), Nicira 3..=6 (4, 0)];
    NxbrcBadReason "NXBRC_BAD_REASON" [Nicira 1..=2 (1, 516), Nicira 3..=6 (5, 0)];
    NxbrcFmBadEvent "NXBRC_FM_BAD_EVENT" [Nicira 1..=2 (1, 520), Nicira 3..=6 (9, 0)];
    NxbrcUnencodableError "NXBRC_UNENCODABLE_ERROR" [Nicira 1..=2 (1, 521), Nicira 3..=6 (10, 0)];
    BacBadType "OFPBAC_BAD_TYPE" [OpenFlow 1..=6 (2, 0)];
    BacBadLen "OFPBAC_BAD_LEN" [OpenFlow 1..=6 (2, 1)];
    BacBadVendor "OFPBAC_BAD_VENDOR" [OpenFlow 1..=6 (2, 2)];
    BacBadVendorType "OFPBAC_BAD_VENDOR_TYPE" [OpenFlow 1..=6 (2, 3)];
    BacBadOutPort "OFPBAC_BAD_OUT_PORT" [OpenFlow 1..=6 (2, 4)];
    BacBadArgument "OFPBAC_BAD_ARGUMENT" [OpenFlow 1..=6 (2, 5)];
    BacEperm "OFPBAC_EPERM" [OpenFlow 1..=6 (2, 6)];
    BacTooMany "OFPBAC_TOO_MANY" [OpenFlow 1..=6 (2, 7)];
    BacBadQueue "OFPBAC_BAD_QUEUE" [OpenFlow 1..=6 (2, 8)];
    BacBadOutGroup "OFPBAC_BAD_OUT_GROUP" [Nicira 1..=1 (2, 9), OpenFlow 2..=6 (2, 9)];
    BacMatchInconsistent "OFPBAC_MATCH_INCONSISTENT"
        [Nicira 1..=1 (1, 522), OpenFlow 2..=6 (2, 10)];
    BacUnsupportedOrder "OFPBAC_UNSUPPORTED_ORDER" [OpenFlow 2..=6 (2, 11)];
    BacBadTag "OFPBAC_BAD_TAG" [OpenFlow 2..=6 (2, 12)];
    BacBadSetType "OFPBAC_BAD_SET_TYPE" [Nicira 1..=2 (1, 523), OpenFlow 3..=6 (2, 13)];
    BacBadSetLen "OFPBAC_BAD_SET_LEN" [Nicira 1..=2 (1, 524), OpenFlow 3..=6 (2, 14)];
    BacBadSetArgument "OFPBAC_BAD_SET_ARGUMENT" [Nicira 1..=2 (1, 525), OpenFlow 3..=6 (2, 15)];
    BacBadSetMask "OFPBAC_BAD_SET_MASK" [Onf 4..=5 (4250, 0), OpenFlow 6..=6 (2, 16)];
    BacBadMeter "OFPBAC_BAD_METER" [OpenFlow 6..=6 (2, 17)];
    NxbacMustBeZero "NXBAC_MUST_BE_ZERO" [Nicira 1..=2 (2, 256), Nicira 3..=6 (11, 0)];
    NxbacBadConjunction "NXBAC_BAD_CONJUNCTION" [Nicira 1..=2 (2, 526), Nicira 3..=6 (15, 0)];
    NxbacBadEdProp "NXBAC_BAD_ED_PROP" [Nicira 4..=6 (41, 0)];
    NxbacBadHeaderType "NXBAC_BAD_HEADER_TYPE" [Nicira 4..=6 (39, 0)];
    NxbacCtDatapathSupport "NXBAC_CT_DATAPATH_SUPPORT"
        [Nicira 1..=2 (1, 265), Nicira 3..=6 (42, 0)];
    NxbacUnknownEdProp "NXBAC_UNKNOWN_ED_PROP" [Nicira 4..=6 (40, 0)];
    BicUnknownInst "OFPBIC_UNKNOWN_INST" [OpenFlow 2..=6 (3, 0)];
    BicUnsupInst "OFPBIC_UNSUP_INST" [Nicira 1..=1 (2, 257), OpenFlow 2..=6 (3, 1)];
    BicBadTableId "OFPBIC_BAD_TABLE_ID" [OpenFlow 2..=6 (3, 2)];
    BicUnsupMetadata "OFPBIC_UNSUP_METADATA" [OpenFlow 2..=6 (3, 3)];
    BicUnsupMetadataMask "OFPBIC_UNSUP_METADATA_MASK" [OpenFlow 2..=6 (3, 4)];
    BicBadExperimenter "OFPBIC_BAD_EXPERIMENTER" [OpenFlow 2..=6 (3, 5)];
    BicBadExpType "OFPBIC_BAD_EXP_TYPE" [OpenFlow 2..=2 (3, 5), OpenFlow 3..=6 (3, 6)];
    BicBadLen "OFPBIC_BAD_LEN" [OpenFlow 3..=6 (3, 7)];
    BicEperm "OFPBIC_EPERM" [OpenFlow 3..=6 (3, 8)];
    BicDupInst "OFPBIC_DUP_INST"
        [Nicira 2..=2 (3, 256), Onf 3..=4 (2600, 0), OpenFlow 5..=6 (3, 9)];
    BmcBadType "OFPBMC_BAD_TYPE" [OpenFlow 2..=6 (4, 0)];
    BmcBadLen "OFPBMC_BAD_LEN" [OpenFlow 2..=6 (4, 1)];
    BmcBadTag "OFPBMC_BAD_TAG" [OpenFlow 2..=6 (4, 2)];
    BmcBadDlAddrMask "OFPBMC_BAD_DL_ADDR_MASK" [OpenFlow 2..=6 (4, 3)];
    BmcBadNwAddrMask "OFPBMC_BAD_NW_ADDR_MASK" [OpenFlow 2..=6 (4, 4)];
    BmcBadWildcards "OFPBMC_BAD_WILDCARDS" [Nicira 1..=1 (1, 262), OpenFlow 2..=6 (4, 5)];
    BmcBadField "OFPBMC_BAD_FIELD" [Nicira 1..=1 (0, 263), OpenFlow 2..=6 (4, 6)];
    BmcBadValue "OFPBMC_BAD_VALUE" [Nicira 1..=1 (1, 258), OpenFlow 2..=6 (4, 7)];
    BmcBadMask "OFPBMC_BAD_MASK" [Nicira 1..=2 (1, 259), OpenFlow 3..=6 (4, 8)];
    BmcBadPrereq "OFPBMC_BAD_PREREQ" [Nicira 1..=2 (1, 260), OpenFlow 3..=6 (4, 9)];
    BmcDupField "OFPBMC_DUP_FIELD" [Nicira 1..=2 (1, 261), OpenFlow 3..=6 (4, 10)];
    BmcEperm "OFPBMC_EPERM" [OpenFlow 3..=6 (4, 11)];
    NxbmcCtDatapathSupport "NXBMC_CT_DATAPATH_SUPPORT"
        [Nicira 1..=2 (1, 264), Nicira 3..=6 (43, 0)];
    FmfcUnknown "OFPFMFC_UNKNOWN" [OpenFlow 2..=6 (5, 0)];
    FmfcTableFull "OFPFMFC_TABLE_FULL" [OpenFlow 1..=1 (3, 0), OpenFlow 2..=6 (5, 1)];
    FmfcBadTableId "OFPFMFC_BAD_TABLE_ID" [OpenFlow 2..=6 (5, 2)];
    FmfcOverlap "OFPFMFC_OVERLAP" [OpenFlow 1..=1 (3, 1), OpenFlow 2..=6 (5, 3)];
    FmfcEperm "OFPFMFC_EPERM" [OpenFlow 1..=1 (3, 2), OpenFlow 2..=6 (5, 4)];
    FmfcBadTimeout "OFPFMFC_BAD_TIMEOUT" [OpenFlow 2..=6 (5, 5)];
    FmfcBadEmergTimeout "OFPFMFC_BAD_EMERG_TIMEOUT" [OpenFlow 1..=1 (3, 3)];
    FmfcBadCommand "OFPFMFC_BAD_COMMAND" [OpenFlow 1..=1 (3, 4), OpenFlow 2..=6 (5, 6)];
    FmfcBadFlags "OFPFMFC_BAD_FLAGS"
        [Nicira 1..=1 (3, 258), Nicira 2..=2 (5, 258), OpenFlow 3..=6 (5, 7)];
    FmfcUnsupported "OFPFMFC_UNSUPPORTED" [OpenFlow 1..=1 (3, 5)];
    FmfcBadPriority "OFPFMFC_BAD_PRIORITY" [Onf 4..=4 (2360, 0), OpenFlow 5..=6 (5, 9)];
    FmfcCantSync "OFPFMFC_CANT_SYNC" [OpenFlow 5..=6 (5, 8)];
    FmfcIsSync "OFPFMFC_IS_SYNC" [OpenFlow 5..=6 (5, 10)];
    NxfmfcHardware "NXFMFC_HARDWARE" [Nicira 1..=2 (5, 256), Nicira 3..=6 (12, 0)];
    NxfmfcBadTableId "NXFMFC_BAD_TABLE_ID" [Nicira 1..=2 (5, 257), Nicira 3..=6 (13, 0)];
    NxfmfcInvalidTlvField "NXFMFC_INVALID_TLV_FIELD" [Nicira 1..=2 (1, 536), Nicira 3..=6 (37, 0)];
    GmfcGroupExists "OFPGMFC_GROUP_EXISTS" [Nicira 1..=1 (6, 0), OpenFlow 2..=6 (6, 0)];
    GmfcInvalidGroup "OFPGMFC_INVALID_GROUP" [Nicira 1..=1 (6, 1), OpenFlow 2..=6 (6, 1)];
    GmfcWeightUnsupported "OFPGMFC_WEIGHT_UNSUPPORTED" [Nicira 1..=1 (6, 2), OpenFlow 2..=6 (6, 2)];
    GmfcOutOfGroups "OFPGMFC_OUT_OF_GROUPS" [Nicira 1..=1 (6, 3), OpenFlow 2..=6 (6, 3)];
    GmfcOutOfBuckets "OFPGMFC_OUT_OF_BUCKETS" [Nicira 1..=1 (6, 4), OpenFlow 2..=6 (6, 4)];
    GmfcChainingUnsupported "OFPGMFC_CHAINING_UNSUPPORTED"
        [Nicira 1..=1 (6, 5), OpenFlow 2..=6 (6, 5)];
    GmfcWatchUnsupported "OFPGMFC_WATCH_UNSUPPORTED" [Nicira 1..=1 (6, 6), OpenFlow 2..=6 (6, 6)];
    GmfcLoop "OFPGMFC_LOOP" [Nicira 1..=1 (6, 7), OpenFlow 2..=6 (6, 7)];
    GmfcUnknownGroup "OFPGMFC_UNKNOWN_GROUP" [Nicira 1..=1 (6, 8), OpenFlow 2..=6 (6, 8)];
    GmfcChainedGroup "OFPGMFC_CHAINED_GROUP" [Nicira 1..=1 (6, 9), OpenFlow 3..=6 (6, 9)];
    GmfcBadType "OFPGMFC_BAD_TYPE" [Nicira 1..=1 (6, 10), OpenFlow 3..=6 (6, 10)];
    GmfcBadCommand "OFPGMFC_BAD_COMMAND" [Nicira 1..=1 (6, 11), OpenFlow 3..=6 (6, 11)];
    GmfcBadBucket "OFPGMFC_BAD_BUCKET" [Nicira 1..=1 (6, 12), OpenFlow 3..=6 (6, 12)];
    GmfcBadWatch "OFPGMFC_BAD_WATCH" [Nicira 1..=1 (6, 13), OpenFlow 3..=6 (6, 13)];
    GmfcEperm "OFPGMFC_EPERM" [Nicira 1..=1 (6, 14), OpenFlow 3..=6 (6, 14)];
    GmfcUnknownBucket "OFPGMFC_UNKNOWN_BUCKET" [Nicira 1..=1 (6, 15), OpenFlow 6..=6 (6, 15)];
    GmfcBucketExists "OFPGMFC_BUCKET_EXISTS" [Nicira 1..=1 (6, 16), OpenFlow 6..=6 (6, 16)];
    PmfcBadPort "OFPPMFC_BAD_PORT" [OpenFlow 1..=1 (4, 0), OpenFlow 2..=6 (7, 0)];
    PmfcBadHwAddr "OFPPMFC_BAD_HW_ADDR" [OpenFlow 1..=1 (4, 1), OpenFlow 2..=6 (7, 1)];
    PmfcBadConfig "OFPPMFC_BAD_CONFIG" [OpenFlow 2..=6 (7, 2)];
    PmfcBadAdvertise "OFPPMFC_BAD_ADVERTISE" [OpenFlow 2..=6 (7, 3)];
    PmfcEperm "OFPPMFC_EPERM" [OpenFlow 3..=6 (7, 4)];
    TmfcBadTable "OFPTMFC_BAD_TABLE" [OpenFlow 2..=6 (8, 0)];
    TmfcBadConfig "OFPTMFC_BAD_CONFIG" [OpenFlow 2..=6 (8, 1)];
    TmfcEperm "OFPTMFC_EPERM" [OpenFlow 3..=6 (8, 2)];
    QofcBadPort "OFPQOFC_BAD_PORT" [OpenFlow 1..=1 (5, 0), OpenFlow 2..=6 (9, 0)];
    QofcBadQueue "OFPQOFC_BAD_QUEUE" [OpenFlow 1..=1 (5, 1), OpenFlow 2..=6 (9, 1)];
    QofcEperm "OFPQOFC_EPERM" [OpenFlow 1..=1 (5, 2), OpenFlow 2..=6 (9, 2)];
    NxqofcQueueError "NXQOFC_QUEUE_ERROR" [Nicira 5..=6 (23, 0)];
    ScfcBadFlags "OFPSCFC_BAD_FLAGS" [OpenFlow 2..=6 (10, 0)];
    ScfcBadLen "OFPSCFC_BAD_LEN" [OpenFlow 2..=6 (10, 1)];
    ScfcEperm "OFPSCFC_EPERM" [OpenFlow 3..=6 (10, 2)];
    RrfcStale "OFPRRFC_STALE" [OpenFlow 3..=6 (11, 0)];
    RrfcUnsup "OFPRRFC_UNSUP" [OpenFlow 3..=6 (11, 1)];
    RrfcBadRole "OFPRRFC_BAD_ROLE" [Nicira 1..=2 (1, 513), OpenFlow 3..=6 (11, 2)];
    RrfcIdInUse "OFPRRFC_ID_IN_USE" [OpenFlow 6..=6 (11, 4)];
    RrfcIdUnsup "OFPRRFC_ID_UNSUP" [OpenFlow 6..=6 (11, 3)];
    MmfcUnknown "OFPMMFC_UNKNOWN" [OpenFlow 4..=6 (12, 0)];
    MmfcMeterExists "OFPMMFC_METER_EXISTS" [OpenFlow 4..=6 (12, 1)];
    MmfcInvalidMeter "OFPMMFC_INVALID_METER" [OpenFlow 4..=6 (12, 2)];
    MmfcUnknownMeter "OFPMMFC_UNKNOWN_METER" [OpenFlow 4..=6 (12, 3)];
    MmfcBadCommand "OFPMMFC_BAD_COMMAND" [OpenFlow 4..=6 (12, 4)];
    MmfcBadFlags "OFPMMFC_BAD_FLAGS" [OpenFlow 4..=6 (12, 5)];
    MmfcBadRate "OFPMMFC_BAD_RATE" [OpenFlow 4..=6 (12, 6)];
    MmfcBadBurst "OFPMMFC_BAD_BURST" [OpenFlow 4..=6 (12, 7)];
    MmfcBadBand "OFPMMFC_BAD_BAND" [OpenFlow 4..=6 (12, 8)];
    MmfcBadBandValue "OFPMMFC_BAD_BAND_VALUE" [OpenFlow 4..=6 (12, 9)];
    MmfcOutOfMeters "OFPMMFC_OUT_OF_METERS" [OpenFlow 4..=6 (12, 10)];
    MmfcOutOfBands "OFPMMFC_OUT_OF_BANDS" [OpenFlow 4..=6 (12, 11)];
    TffcBadTable "OFPTFFC_BAD_TABLE" [OpenFlow 4..=6 (13, 0)];
    TffcBadMetadata "OFPTFFC_BAD_METADATA" [OpenFlow 4..=6 (13, 1)];
    TffcEperm "OFPTFFC_EPERM" [OpenFlow 4..=6 (13, 5)];
    TffcBadCapa "OFPTFFC_BAD_CAPA" [OpenFlow 6..=6 (13, 6)];
    TffcBadCommand "OFPTFFC_BAD_COMMAND" [OpenFlow 6..=6 (13, 9)];
    TffcBadFeatures "OFPTFFC_BAD_FEATURES" [OpenFlow 6..=6 (13, 8)];
    TffcBadMaxEnt "OFPTFFC_BAD_MAX_ENT" [OpenFlow 6..=6 (13, 7)];
    TffcTooMany "OFPTFFC_TOO_MANY" [OpenFlow 6..=6 (13, 10)];
    NxtffcDupTable "NXTFFC_DUP_TABLE" [Nicira 4..=6 (44, 0)];
    BpcBadType "OFPBPC_BAD_TYPE"
        [Nicira 1..=2 (13, 2), Nicira 3..=3 (25, 0), OpenFlow 4..=4 (13, 2),
        OpenFlow 5..=6 (14, 0)];
    BpcBadLen "OFPBPC_BAD_LEN"
        [Nicira 1..=2 (13, 3), Nicira 3..=3 (26, 0), OpenFlow 4..=4 (13, 3),
        OpenFlow 5..=6 (14, 1)];
    BpcBadValue "OFPBPC_BAD_VALUE"
        [Nicira 1..=2 (13, 4), Nicira 3..=3 (27, 0), OpenFlow 4..=4 (13, 4),
        OpenFlow 5..=6 (14, 2)];
    BpcTooMany "OFPBPC_TOO_MANY"
        [Nicira 1..=2 (14, 3), Nicira 3..=3 (28, 0), Onf 4..=4 (4443, 0), OpenFlow 5..=6 (14, 3)];
    BpcDupType "OFPBPC_DUP_TYPE"
        [Nicira 1..=2 (14, 4), Nicira 3..=3 (29, 0), Onf 4..=4 (4444, 0), OpenFlow 5..=6 (14, 4)];
    BpcBadExperimenter "OFPBPC_BAD_EXPERIMENTER"
        [Nicira 1..=2 (14, 5), Nicira 3..=3 (30, 0), Onf 4..=4 (4445, 0), OpenFlow 5..=6 (14, 5)];
    BpcBadExpType "OFPBPC_BAD_EXP_TYPE"
        [Nicira 1..=2 (14, 6), Nicira 3..=3 (31, 0), Onf 4..=4 (4446, 0), OpenFlow 5..=6 (14, 6)];
    BpcBadExpValue "OFPBPC_BAD_EXP_VALUE"
        [Nicira 1..=2 (14, 7), Nicira 3..=3 (32, 0), Onf 4..=4 (4447, 0), OpenFlow 5..=6 (14, 7)];
    BpcEperm "OFPBPC_EPERM"
        [Nicira 1..=2 (14, 8), Nicira 3..=3 (33, 0), Onf 4..=4 (4448, 0), OpenFlow 5..=6 (14, 8)];
    AcfcInvalid "OFPACFC_INVALID" [Onf 4..=4 (2370, 0), OpenFlow 5..=6 (15, 0)];
    AcfcUnsupported "OFPACFC_UNSUPPORTED" [Onf 4..=4 (2371, 0), OpenFlow 5..=6 (15, 1)];
    AcfcEperm "OFPACFC_EPERM" [Onf 4..=4 (2372, 0), OpenFlow 5..=6 (15, 2)];
    BfcUnknown "OFPBFC_UNKNOWN" [Onf 4..=4 (2300, 0), OpenFlow 5..=6 (17, 0)];
    BfcEperm "OFPBFC_EPERM" [Onf 4..=4 (2301, 0), OpenFlow 5..=6 (17, 1)];
    BfcBadId "OFPBFC_BAD_ID" [Onf 4..=4 (2302, 0), OpenFlow 5..=6 (17, 2)];
    BfcBundleExist "OFPBFC_BUNDLE_EXIST" [Onf 4..=4 (2303, 0), OpenFlow 5..=6 (17, 3)];
    BfcBundleClosed "OFPBFC_BUNDLE_CLOSED" [Onf 4..=4 (2304, 0), OpenFlow 5..=6 (17, 4)];
    BfcOutOfBundles "OFPBFC_OUT_OF_BUNDLES" [Onf 4..=4 (2305, 0), OpenFlow 5..=6 (17, 5)];
    BfcBadType "OFPBFC_BAD_TYPE" [Onf 4..=4 (2306, 0), OpenFlow 5..=6 (17, 6)];
    BfcBadFlags "OFPBFC_BAD_FLAGS" [Onf 4..=4 (2307, 0), OpenFlow 5..=6 (17, 7)];
    BfcMsgBadLen "OFPBFC_MSG_BAD_LEN" [Onf 4..=4 (2308, 0), OpenFlow 5..=6 (17, 8)];
    BfcMsgBadXid "OFPBFC_MSG_BAD_XID" [Onf 4..=4 (2309, 0), OpenFlow 5..=6 (17, 9)];
    BfcMsgUnsup "OFPBFC_MSG_UNSUP" [Onf 4..=4 (2310, 0), OpenFlow 5..=6 (17, 10)];
    BfcMsgConflict "OFPBFC_MSG_CONFLICT" [Onf 4..=4 (2311, 0), OpenFlow 5..=6 (17, 11)];
    BfcMsgTooMany "OFPBFC_MSG_TOO_MANY" [Onf 4..=4 (2312, 0), OpenFlow 5..=6 (17, 12)];
    BfcMsgFailed "OFPBFC_MSG_FAILED" [Onf 4..=4 (2313, 0), OpenFlow 5..=6 (17, 13)];
    BfcTimeout "OFPBFC_TIMEOUT" [Onf 4..=4 (2314, 0), OpenFlow 5..=6 (17, 14)];
    BfcBundleInProgress "OFPBFC_BUNDLE_IN_PROGRESS" [Onf 4..=4 (2315, 0), OpenFlow 5..=6 (17, 15)];
    BfcBadVersion "OFPBFC_BAD_VERSION" [Nicira 5..=6 (22, 0)];
    BfcSchedFuture "OFPBFC_SCHED_FUTURE" [OpenFlow 6..=6 (17, 17)];
    BfcSchedNotSupported "OFPBFC_SCHED_NOT_SUPPORTED" [OpenFlow 6..=6 (17, 16)];
    BfcSchedPast "OFPBFC_SCHED_PAST" [OpenFlow 6..=6 (17, 18)];
    MofcUnknown "OFPMOFC_UNKNOWN" [OpenFlow 5..=6 (16, 0)];
    MofcMonitorExists "OFPMOFC_MONITOR_EXISTS"
        [Nicira 1..=2 (1, 517), Nicira 3..=4 (6, 0), OpenFlow 5..=6 (16, 1)];
    MofcInvalidMonitor "OFPMOFC_INVALID_MONITOR" [OpenFlow 5..=6 (16, 2)];
    MofcUnknownMonitor "OFPMOFC_UNKNOWN_MONITOR"
        [Nicira 1..=2 (1, 519), Nicira 3..=4 (8, 0), OpenFlow 5..=6 (16, 3)];
    MofcBadCommand "OFPMOFC_BAD_COMMAND" [OpenFlow 5..=6 (16, 4)];
    MofcBadFlags "OFPMOFC_BAD_FLAGS"
        [Nicira 1..=2 (1, 518), Nicira 3..=4 (7, 0), OpenFlow 5..=6 (16, 5)];
    MofcBadTableId "OFPMOFC_BAD_TABLE_ID" [OpenFlow 5..=6 (16, 6)];
    MofcBadOut "OFPMOFC_BAD_OUT" [OpenFlow 5..=6 (16, 7)];
    NxttmfcBadCommand "NXTTMFC_BAD_COMMAND" [Nicira 1..=2 (1, 527), Nicira 3..=6 (16, 0)];
    NxttmfcBadOptLen "NXTTMFC_BAD_OPT_LEN" [Nicira 1..=2 (1, 528), Nicira 3..=6 (17, 0)];
    NxttmfcBadFieldIdx "NXTTMFC_BAD_FIELD_IDX" [Nicira 1..=2 (1, 529), Nicira 3..=6 (18, 0)];
    NxttmfcTableFull "NXTTMFC_TABLE_FULL" [Nicira 1..=2 (1, 530), Nicira 3..=6 (19, 0)];
    NxttmfcAlreadyMapped "NXTTMFC_ALREADY_MAPPED" [Nicira 1..=2 (1, 531), Nicira 3..=6 (20, 0)];
    NxttmfcDupEntry "NXTTMFC_DUP_ENTRY" [Nicira 1..=2 (1, 532), Nicira 3..=6 (21, 0)];
    NxttmfcInvalidTlvDel "NXTTMFC_INVALID_TLV_DEL" [Nicira 1..=2 (1, 537), Nicira 3..=6 (38, 0)];
    NxrNotSupported "NXR_NOT_SUPPORTED" [Nicira 1..=2 (1, 533), Nicira 3..=6 (34, 0)];
    NxrStale "NXR_STALE" [Nicira 1..=2 (1, 534), Nicira 3..=6 (35, 0)];
    NxstNotConfigured "NXST_NOT_CONFIGURED" [Nicira 1..=2 (1, 535), Nicira 3..=6 (36, 0)];
}

impl OfError {
    /// Name as in the specification or `nicira-ext.h`, for example `OFPBRC_BAD_TYPE`.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The error of that name.
    pub fn from_name(name: &str) -> Option<OfError> {
        ALL.iter().find(|(_, n, _)| *n == name).map(|(e, _, _)| *e)
    }

    /// The number in the version with wire number `version`, if that can express the error.
    pub fn number(self, version: u8) -> Option<WireError> {
        let row = self.row().2.iter();
        row.map(|n| (n, n.first..=n.last))
            .find(|(_, versions)| versions.contains(&version))
            .map(|(n, _)| WireError {
                vendor: n.vendor,
                kind: n.kind,
                code: n.code,
            })
    }

    /// The number in `version`; an error that `version` cannot express has the number of
    /// `NXBRC_UNENCODABLE_ERROR`.
    pub fn to_wire(self, version: Version) -> WireError {
        let v = version.wire();
        self.number(v).unwrap_or_else(|| {
            let kind = if v <= 2 { (1, 521) } else { (10, 0) };
            WireError {
                vendor: Vendor::Nicira,
                kind: kind.0,
                code: kind.1,
            }
        })
    }

    /// The error that has this number in the version with wire number `version`.
    pub fn from_wire(version: u8, wire: WireError) -> Option<OfError> {
        ALL.iter()
            .find(|(_, _, numbers)| {
                numbers.iter().any(|n| {
                    n.first <= version
                        && version <= n.last
                        && n.vendor == wire.vendor
                        && n.kind == wire.kind
                        && n.code == wire.code
                })
            })
            .map(|(e, _, _)| *e)
    }

    fn row(self) -> &'static (OfError, &'static str, &'static [Number]) {
        // The rows are made from the enum's variants, in order.
        &ALL[self as usize]
    }
}

impl fmt::Display for OfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for OfError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_map_back() {
        for (error, name, numbers) in ALL {
            for n in *numbers {
                for v in n.first..=n.last {
                    let wire = WireError {
                        vendor: n.vendor,
                        kind: n.kind,
                        code: n.code,
                    };
                    let back = OfError::from_wire(v, wire);
                    // 1.0 and 1.1 have one number for "permission" and "is slave", and 1.1 one
                    // for both experimenter instruction errors; the first meaning wins.
                    let shared = matches!(error, OfError::BrcIsSlave | OfError::BicBadExpType);
                    assert!(
                        back == Some(*error) || shared,
                        "{name} in version {v}: {back:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn unencodable() {
        let wire = OfError::BmcBadType.to_wire(Version::Of10);
        assert_eq!(
            OfError::from_wire(1, wire),
            Some(OfError::NxbrcUnencodableError)
        );
    }
}
