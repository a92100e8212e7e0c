//! The CRC32c of SCTP (RFC 9260, appendix A), corrected for a change without a look at the rest.
//!
//! A CRC is linear: the CRC of the exclusive-or of old and new data, both of one length, is what the
//! CRC changes by. Data that is zero from some byte on only multiplies the CRC so far by a power of
//! x, one factor for each bit of the number of zero bytes. Polynomials are bit-reflected: bit 31 is
//! the constant term.

const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 8 * 2^n, modulo the polynomial: what 2^n zero bytes do.
const ZERO_BYTES: [u32; 17] = {
    let mut powers = [0u32; 17];
    // x^8: bit 31 - 8.
    powers[0] = 1 << 23;
    let mut n = 1;
    while n < 17 {
        powers[n] = multiply(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
};

/// CRCs of single bytes.
static BYTE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = times_x(crc);
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

const DIGITS: usize = 8;

/// Products of every hexadecimal digit of a CRC with every power of [`ZERO_BYTES`]: looked up, as
/// the verifier goes both ways at each bit of a product that is computed.
static SHIFTED: [[[u32; 16]; DIGITS]; 17] = {
    let mut table = [[[0u32; 16]; DIGITS]; 17];
    let mut n = 0;
    while n < 17 {
        let mut digit = 0;
        while digit < DIGITS {
            let mut value = 0;
            while value < 16 {
                let a = (value as u32) << (4 * digit);
                table[n][digit][value] = multiply(a, ZERO_BYTES[n]);
                value += 1;
            }
            digit += 1;
        }
        n += 1;
    }
    table
};

/// What the CRC changes by when `difference` (two bytes, as they lie in memory) was exclusive-ored
/// into the data, with `zeros` bytes behind. Exported: see `set_field`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn crc32c_change(difference: u64, zeros: u64) -> u64 {
    let crc = look_up(&BYTE, difference as usize & 0xff);
    let second = (crc ^ (difference >> 8) as u32) as usize & 0xff;
    let mut crc = look_up(&BYTE, second) ^ (crc >> 8);
    for (n, power) in SHIFTED.iter().enumerate() {
        if zeros >> n & 1 != 0 {
            let mut product = 0;
            for (digit, products) in power.iter().enumerate() {
                product ^= look_up(products, (crc >> (4 * digit)) as usize & 0xf);
            }
            crc = product;
        }
    }
    u64::from(crc)
}

#[inline(always)]
fn look_up<const N: usize>(table: &[u32; N], index: usize) -> u32 {
    table.get(index).copied().unwrap_or(0)
}

#[inline(always)]
const fn times_x(a: u32) -> u32 {
    (a >> 1) ^ (POLYNOMIAL & 0u32.wrapping_sub(a & 1))
}

#[inline(always)]
const fn multiply(a: u32, b: u32) -> u32 {
    let mut product = 0;
    let mut shifted = b;
    let mut n = 0;
    while n < 32 {
        product ^= shifted & 0u32.wrapping_sub(a >> (31 - n) & 1);
        shifted = times_x(shifted);
        n += 1;
    }
    product
}
