//! "Did you mean": the word of a list that is nearest to one that is not in it.

/// Returns the candidate that is nearest to `word`, if one is near enough to be what was meant.
///
/// A difference is a letter that was inserted, left out, replaced, or exchanged with its neighbour; upper and lower case
/// differ less. One of three letters may differ. A word that is a longer candidate's beginning is near it, too.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (word.chars().count().div_ceil(3)).min(3);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.is_empty() || candidate == word {
            continue;
        }
        let distance = match () {
            () if candidate.eq_ignore_ascii_case(word) => 0,
            // a beginning, less near than any misspelling
            () if word.len() >= 3 && candidate.starts_with(word) => most.max(1),
            () => distance(&word.to_lowercase(), &candidate.to_lowercase()),
        };
        if distance <= most && distance < candidate.chars().count() && best.is_none_or(|(than, _)| distance < than) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Returns ` (did you mean "X"?)` for the nearest candidate, or nothing: to be put behind a message.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!(" (did you mean {near:?}?)")).unwrap_or_default()
}

/// Returns the number of letters that differ (optimal string alignment); words longer than 64 letters are far.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    if one.len().max(other.len()) > 64 {
        return usize::MAX;
    }
    let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX - 1);
    let letter = |word: &[char], place: usize| word.get(place).copied();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let replaced = at(&last, j - 1) + usize::from(letter(&one, i - 1) != letter(&other, j - 1));
            let mut least = replaced.min(at(&last, j) + 1).min(at(&row, j - 1) + 1);
            if i > 1
                && j > 1
                && letter(&one, i - 1) == letter(&other, j - 2)
                && letter(&one, i - 2) == letter(&other, j - 1)
            {
                least = least.min(at(&before, j - 2) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, other.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        const WORDS: &[&str] = &["create", "start", "state", "delete", "kill", "list", "network", "SCMP_ACT_ALLOW"];
        for (word, want) in [
            ("craete", Some("create")),
            ("creat", Some("create")),
            ("strat", Some("start")),
            ("stat", Some("start")),
            ("DELETE", Some("delete")),
            ("rm", None),
            ("kil", Some("kill")),
            ("ls", None),
            ("net", Some("network")),
            ("scmp_act_alow", Some("SCMP_ACT_ALLOW")),
            ("frobnicate", None),
            ("", None),
            ("kill", None),
        ] {
            assert_eq!(nearest(word, WORDS.iter().copied()), want, "{word}");
        }
        assert_eq!(did_you_mean("kil", WORDS.iter().copied()), " (did you mean \"kill\"?)");
        assert_eq!(did_you_mean("x", WORDS.iter().copied()), "");
        assert_eq!(nearest(&"x".repeat(100), ["y"]), None);
    }
}
