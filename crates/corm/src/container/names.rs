//! Generated container names: two words each.

use anyhow::{Result, ensure};
use base::coded;

const FIRST: [&str; 32] = [
    "able", "amber", "brave", "bright", "calm", "clever", "cosy", "eager", "early", "fair", "fleet", "gentle", "glad",
    "golden", "happy", "honest", "jolly", "keen", "kind", "lively", "lucky", "merry", "mild", "neat", "nimble",
    "proud", "quick", "quiet", "ready", "sunny", "swift", "wise",
];
const SECOND: [&str; 32] = [
    "ant", "badger", "bee", "crane", "crow", "deer", "dove", "eagle", "elk", "falcon", "finch", "fox", "gecko", "hare",
    "heron", "ibex", "jay", "koala", "lark", "lynx", "mole", "moose", "newt", "otter", "owl", "panda", "raven",
    "robin", "seal", "swan", "tern", "wren",
];

/// Maximum length of a name.
const MAX_NAME_BYTES: usize = 128;

/// Returns a name for the container `id`, whose digits are random; `taken` returns whether a name is in use.
pub fn generate(id: &str, taken: impl Fn(&str) -> bool) -> String {
    let digits = |from: usize| id.get(from..from + 4).and_then(|hex| usize::from_str_radix(hex, 16).ok()).unwrap_or(0);
    let word = |words: &'static [&'static str; 32], number: usize| words.get(number % 32).copied().unwrap_or("corm");
    let name = format!("{}-{}", word(&FIRST, digits(0)), word(&SECOND, digits(4)));
    // there are a thousand pairs: digits of the ID make a used one unique
    if taken(&name) { format!("{name}-{}", id.get(8..14).unwrap_or(id)) } else { name }
}

/// Checks a given name, because it is typed in shells and shown in tables.
///
/// # Errors
/// The name is empty, too long, does not begin with a letter or digit, or has other characters than `a-zA-Z0-9_.-`.
pub fn check(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ensure!(
        name.len() <= MAX_NAME_BYTES && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good),
        coded!(
            UsageValue,
            "name {name:?}: must be 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_`, `.`, and begin with a letter or digit"
        )
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn invented_names_are_good_and_free() {
        let id = "00ff0a10ab12cd34ffff";
        let first = generate(id, |_| false);
        let second = generate(id, |name| name == first);
        assert!(check(&first).is_ok() && check(&second).is_ok());
        assert_eq!((first.as_str(), second.starts_with(&first), first == second), ("wise-jay", true, false));
    }

    #[test]
    fn names_are_for_shells() {
        for name in ["a", "web-1", "A.b_c", "0"] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", "-a", ".a", "a b", "a/b", "a'b", "ä", "a\n", &"x".repeat(129)] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }
}
