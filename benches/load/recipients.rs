//! Recipients of the load: openids of the real length, in no order, from which the number can be
//! read back.

use std::io::Write as _;

use crate::wire;

/// Digits of the number at the end of an openid.
const DIGITS: usize = 10;

/// The openid of a recipient: 28 characters. The middle scatters neighbours, as real ones are.
pub(crate) fn openid(number: usize) -> String {
    format!("oL{:016x}{number:0DIGITS$}", scatter(number as u64))
}

/// Appends up to `count` NDJSON lines, beginning with recipient `from`.
pub(crate) fn lines(from: usize, count: usize, out: &mut Vec<u8>) {
    for number in from..from + count {
        // Writing to memory does not fail.
        let _ = writeln!(out, r#"{{"openid":"{}"}}"#, openid(number));
    }
}

/// The number of the recipient that a message is for.
pub(crate) fn number_in(message: &[u8]) -> Option<usize> {
    const BEFORE: &[u8] = br#""touser":""#;
    let begin = wire::find(message, BEFORE)? + BEFORE.len();
    let openid = message.get(begin..begin + 18 + DIGITS)?;
    std::str::from_utf8(&openid[18..]).ok()?.parse().ok()
}

/// A one-to-one mixing of 64 bits (the finalizer of the public-domain SplitMix64).
pub(crate) fn scatter(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
