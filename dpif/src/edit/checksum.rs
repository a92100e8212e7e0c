//! Incremental checksum updates: the Internet checksum (RFC 1624) and the CRC32c of SCTP
//! (RFC 9260, appendix A).

/// The Internet checksum `sum` after `old` was replaced by `new`.
///
/// `odd` tells that the bytes start in the low half of a 16-bit word.
pub fn replace(sum: u16, old: &[u8], new: &[u8], odd: bool) -> u16 {
    !fold(u64::from(!sum) + diff(old, new, odd))
}

/// The same for a field that holds a sum, not its complement (`CHECKSUM_PARTIAL`).
pub fn replace_partial(sum: u16, old: &[u8], new: &[u8], odd: bool) -> u16 {
    fold(u64::from(sum) + diff(old, new, odd))
}

/// The ones' complement sum of `start` and the 16-bit words of `bytes`.
pub fn sum(start: u16, bytes: &[u8]) -> u16 {
    let mut total = u64::from(start);
    for pair in bytes.chunks(2) {
        let high = pair.first().copied().unwrap_or(0);
        let low = pair.get(1).copied().unwrap_or(0);
        total += u64::from(u16::from_be_bytes([high, low]));
    }
    fold(total)
}

/// `new - old` in ones' complement arithmetic; at most 2 * 0xffff per word.
fn diff(old: &[u8], new: &[u8], odd: bool) -> u64 {
    let mut total = 0u64;
    for (i, (o, n)) in old.iter().zip(new).enumerate() {
        let high = (i % 2 == 0) != odd;
        let (o, n) = if high {
            (u16::from(*o) << 8, u16::from(*n) << 8)
        } else {
            (u16::from(*o), u16::from(*n))
        };
        if o != n {
            total += u64::from(!o) + u64::from(n);
        }
    }
    total
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

const POLY: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 {
                (crc >> 1) ^ POLY
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// The CRC32c of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0u32, |crc, b| {
        TABLE[((crc ^ u32::from(*b)) & 0xff) as usize] ^ (crc >> 8)
    })
}

/// What to exclusive-or into a CRC32c when `old` becomes `new`, `tail` bytes before the end of
/// the data that it covers. CRC is linear, so the rest of the data does not matter.
pub fn crc32c_delta(old: &[u8], new: &[u8], tail: usize) -> u32 {
    let changed = old.iter().zip(new).map(|(o, n)| o ^ n);
    let rest = tail.saturating_sub(old.len());
    changed
        .chain(std::iter::repeat_n(0, rest))
        .fold(0, |crc, b| {
            TABLE[((crc ^ u32::from(b)) & 0xff) as usize] ^ (crc >> 8)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn internet(data: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in data.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
        !fold(sum)
    }

    #[test]
    fn crc32c_check_value() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn replacing_bytes_equals_summing_again(
            mut data in proptest::collection::vec(any::<u8>(), 8..64),
            at in 0usize..4,
            new in proptest::collection::vec(any::<u8>(), 1..4),
        ) {
            data[7] |= 1; // never all zero: the two representations of zero stay apart
            let before = internet(&data);
            let old = data[at..at + new.len()].to_vec();
            data[at..at + new.len()].copy_from_slice(&new);
            prop_assert_eq!(replace(before, &old, &new, at % 2 == 1), internet(&data));
            prop_assert_eq!(replace_partial(!before, &old, &new, at % 2 == 1), !internet(&data));
        }

        #[test]
        fn crc_delta_equals_crc_again(
            mut data in proptest::collection::vec(any::<u8>(), 8..64),
            at in 0usize..4,
            new in proptest::collection::vec(any::<u8>(), 1..4),
        ) {
            let before = crc32c(&data);
            let old = data[at..at + new.len()].to_vec();
            let tail = data.len() - at;
            data[at..at + new.len()].copy_from_slice(&new);
            prop_assert_eq!(before ^ crc32c_delta(&old, &new, tail), crc32c(&data));
        }
    }
}
