//! A 64-bit hash that is the same on every machine and in every version.

/// Hashes the parts in order; where one part ends matters.
pub(super) fn hash(seed: u64, parts: &[&[u8]]) -> u64 {
    let mut state = mix(seed ^ 0x9e37_79b9_7f4a_7c15);
    for part in parts {
        let mut words = part.chunks_exact(8);
        for word in &mut words {
            state = absorb(state, word);
        }
        state = absorb(state, words.remainder());
        state = mix(state ^ part.len() as u64);
    }
    state
}

/// Takes up to eight bytes in.
fn absorb(state: u64, bytes: &[u8]) -> u64 {
    let word = bytes.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte));
    mix(state.rotate_left(5) ^ word)
}

/// The finalizer of SplitMix64: every input bit moves every output bit, and no two inputs meet.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn parts_are_kept_apart() {
        let all: HashSet<u64> = [
            hash(0, &[b"ab", b"c"]),
            hash(0, &[b"a", b"bc"]),
            hash(0, &[b"abc"]),
            hash(0, &[b"abc", b""]),
            hash(0, &[b"abc\0"]),
            hash(1, &[b"abc"]),
        ]
        .into();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn a_hundred_thousand_similar_texts_do_not_collide() {
        let all: HashSet<u64> =
            (0..100_000).map(|i| hash(7, &[format!("o01F{i:022}").as_bytes()])).collect();
        assert_eq!(all.len(), 100_000);
    }
}
