//! The corpus of the fuzz targets, which unit tests replay, with some changes of each input: a short fuzz run that is the
//! same each time. `make fuzz` is the long one, which also follows what the code does.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// The function of a target.
pub type Target = fn(&[u8]);

/// Changed inputs of each target: `$FUZZ_MUTANTS`, else so many.
const MUTANTS: usize = 400;

/// Calls a target with each input of its corpus, the directory `name` below `corpus`, and with changed ones.
pub fn replay(corpus: &str, name: &str, target: Target) {
    let dir = format!("{corpus}/{name}");
    let mut paths: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(inputs.len() > 3, "{dir} has {} inputs", inputs.len());
    inputs.iter().for_each(|input| call(name, target, input));
    let mutants = std::env::var("FUZZ_MUTANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(MUTANTS);
    let mut random = Random(1);
    for number in 0..mutants {
        let mut input = inputs[number % inputs.len()].clone();
        for _ in 0..=random.below(3) {
            change(&mut input, &inputs, &mut random);
        }
        call(name, target, &input);
    }
}

/// Calls the target; a panic is that of the test, with the input.
fn call(name: &str, target: Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("input of {name}: b\"{}\"", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

/// Changes an input in one place.
fn change(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = at + random.below((input.len() - at).min(16) + 1);
    match random.below(6) {
        0 => drop(input.drain(at..end)),
        1 => input.truncate(at),
        2 => {
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        3 => {
            let other = &others[random.below(others.len())];
            let from = random.below(other.len() + 1);
            let to = from + random.below((other.len() - from).min(64) + 1);
            input.splice(at..end, other[from..to].iter().copied());
        }
        4 => {
            let edges = [0, 1, b'0', b'9', b'"', b'{', b'/', b'\\', b'\n', 0x7f, 0x80, 0xff];
            input.splice(at..(at + 1).min(input.len()), [edges[random.below(edges.len())]]);
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

/// Numbers that look random, the same each time (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % count
    }
}
