//! Sorted byte strings that begin others, found without looking at each.

use std::ops::Bound;

/// The strings of a sorted set that `text` begins with, itself included, from the longest on. `last` gives the last string
/// of the set within an upper bound.
///
/// What begins `text` comes before it in order. A string before it that does not begin it tells how far the next one can
/// reach at most: as far as the two are alike.
pub fn prefixes_of<'a>(text: &[u8], last: impl Fn(Bound<&[u8]>) -> Option<&'a [u8]>) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let (mut rest, mut next) = (text, last(Bound::Included(text)));
    while let Some(string) = next {
        let alike = string.iter().zip(rest).take_while(|(a, b)| a == b).count();
        rest = &rest[..alike];
        if alike == string.len() {
            found.push(string);
            next = last(Bound::Excluded(rest));
        } else {
            next = last(Bound::Included(rest));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::prefixes_of;
    use crate::stdx::random::Random;
    use std::collections::BTreeSet;
    use std::ops::Bound::Unbounded;

    #[test]
    fn all_prefixes_are_found() {
        let mut random = Random::new(1);
        let mut string =
            |len: usize| -> Vec<u8> { (0..random.below(len)).map(|_| b"ab\xff"[random.below(3)]).collect() };
        for _ in 0..2_000 {
            let set: BTreeSet<Vec<u8>> = (0..20).map(|_| string(6)).collect();
            let text = string(9);
            let last = |end: std::ops::Bound<&[u8]>| {
                set.range::<[u8], _>((Unbounded, end)).next_back().map(|found| &found[..])
            };
            let mut expected: Vec<&[u8]> =
                set.iter().map(|prefix| &prefix[..]).filter(|prefix| text.starts_with(prefix)).collect();
            expected.reverse();
            assert_eq!(prefixes_of(&text, last), expected, "{set:?} of {text:?}");
        }
    }
}
