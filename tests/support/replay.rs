//! Runs the function of a fuzzer (`fuzz/`) on the inputs that were kept, and on changed ones, without a fuzzer: a
//! bounded run, the same each time, in the tests of the crate that has the function.

use std::fs;
use std::path::Path;

/// The maximum length of a changed input.
const LENGTH_MAX: usize = 64 * 1024;

/// How many changes are made to one input.
const CHANGES: u64 = 8;

/// Numbers that follow from a seed, see Marsaglia, "Xorshift RNGs".
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below this one, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }
}

/// Prints the input with which a function has panicked.
struct Shown<'a>(&'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: \"{}\"", self.0.escape_ascii());
        }
    }
}

/// Calls `function` with each input in `fuzz/corpus/TARGET`, and with `count` changed ones.
///
/// # Panics
/// If `function` does, or no input was kept.
pub(crate) fn replay(target: &str, count: u32, function: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let folder = folder.join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| {
        panic!("{}: {error}", folder.display());
    });
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let kept: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(kept.len() >= 5, "{} inputs of {target}", kept.len());
    let tried = |input: &[u8]| {
        let _shown = Shown(input);
        function(input);
    };
    for input in &kept {
        tried(input);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..count {
        let mut input = kept[random.below(kept.len())].clone();
        for _ in 0..=random.next() % CHANGES {
            change(&mut input, &kept, &mut random);
        }
        tried(&input);
    }
}

/// Changes an input in one place.
fn change(input: &mut Vec<u8>, kept: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + 1 + random.below(16)).min(input.len());
    match random.below(7) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.next().to_le_bytes()[0],
        2 if at < end => drop(input.drain(at..end)),
        3 => input.insert(at, random.next().to_le_bytes()[0]),
        4 => {
            let part = input[at.min(end)..end].to_vec();
            let _none = input.splice(at..at, part);
        }
        5 => {
            let other = &kept[random.below(kept.len())];
            let from = random.below(other.len() + 1);
            let to = (from + random.below(64)).min(other.len());
            let _replaced = input.splice(at..end.max(at), other[from..to].iter().copied());
        }
        _ => input.truncate(at),
    }
    input.truncate(LENGTH_MAX);
}
