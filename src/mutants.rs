//! Hostile bytes for tests of parsers: good samples, hurt in the ways that find faults.
//!
//! `DUEBOX_FUZZ_ROUNDS` sets how many of them each test tries (some hundred thousand run for
//! minutes), `DUEBOX_SEED` which.

use fastrand::Rng;

/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 8] = [0, 1, 0x7f, 0x80, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
/// Texts that mean something to one parser or another.
const WORDS: [&[u8]; 14] = [
    b"\xff\xfe",
    b"\0",
    b"\"",
    b"{",
    b"}",
    b"[[[[[[[[",
    b"\\u0000",
    b"\\ud800",
    b"1e999",
    b"-0",
    b",",
    b"\n",
    b"\xe9\x80\x9a",
    b"null",
];

/// How many mutants a test tries.
pub(crate) fn rounds(default: usize) -> usize {
    let wanted = std::env::var("DUEBOX_FUZZ_ROUNDS");
    wanted.map_or(default, |text| text.parse().unwrap_or(default))
}

/// Mutants of some samples. The samples themselves come first.
pub(crate) struct Mutants {
    samples: Vec<Vec<u8>>,
    random: Rng,
    left: usize,
    given: usize,
}

impl Mutants {
    pub(crate) fn of(samples: &[&[u8]], count: usize) -> Self {
        let seed = std::env::var("DUEBOX_SEED").ok().and_then(|text| text.parse().ok());
        let random = Rng::with_seed(seed.unwrap_or(1_912));
        let samples: Vec<_> = samples.iter().map(|sample| sample.to_vec()).collect();
        Self { samples, random, left: rounds(count), given: 0 }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let random = &mut self.random;
        let at = random.usize(..=bytes.len());
        let end = random.usize(at..=bytes.len());
        match random.u8(..9) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copied = bytes[at..end].to_vec();
                let to = random.usize(..=bytes.len());
                drop(bytes.splice(to..to, copied));
            }
            3 => {
                let word = WORDS[random.usize(..WORDS.len())];
                drop(bytes.splice(at..at, word.iter().copied()));
            }
            4 => {
                let other = &self.samples[random.usize(..self.samples.len())];
                let from = random.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            5 => {
                let edge = EDGES[random.usize(..EDGES.len())].to_be_bytes();
                let width = [1, 2, 4, 8][random.usize(..4)];
                let end = (at + width).min(bytes.len());
                drop(bytes.splice(at..end, edge[8 - width..].iter().copied()));
            }
            6 => bytes.extend((0..random.usize(..64)).map(|_| random.u8(..))),
            7 if at < bytes.len() => bytes[at] = random.u8(..),
            _ if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            _ => bytes.push(random.u8(..)),
        }
    }
}

impl Iterator for Mutants {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(1)?;
        self.given += 1;
        if self.given <= self.samples.len() {
            return Some(self.samples[self.given - 1].clone());
        }
        let mut bytes = self.samples[self.random.usize(..self.samples.len())].clone();
        for _ in 0..self.random.usize(1..4) {
            self.change(&mut bytes);
        }
        Some(bytes)
    }
}

/// The same with a checksum that is right: what stands before it is read then.
pub(crate) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}
