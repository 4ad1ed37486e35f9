//! The rules that two files share, in the same order.
//!
//! A connection that both files decide by rules that they share is decided by the same one: of two
//! shared rules that match it, the same comes first in both. What differs lies within what the other
//! rules are for.

use alloc::{collections::BTreeMap, vec, vec::Vec};

/// For each of two sequences without repetitions, whether an item is not part of the longest common
/// subsequence.
pub(super) fn changed<T: Ord>(before: &[T], after: &[T]) -> (Vec<bool>, Vec<bool>) {
    let places: BTreeMap<&T, usize> =
        after.iter().enumerate().map(|(place, item)| (item, place)).collect();
    let pairs: Vec<(usize, usize)> = before
        .iter()
        .enumerate()
        .filter_map(|(index, item)| places.get(item).map(|place| (index, *place)))
        .collect();
    // The longest run of pairs with ascending places: for each length the pair with the smallest
    // place that ends one, and for each pair the one before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut previous: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (pair, (_, place)) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| pairs[*end].1 < *place);
        previous.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        match ends.get_mut(length) {
            Some(end) => *end = pair,
            None => ends.push(pair),
        }
    }
    let (mut old, mut new) = (vec![true; before.len()], vec![true; after.len()]);
    let mut next = ends.last().copied();
    while let Some(pair) = next {
        let (index, place) = pairs[pair];
        (old[index], new[place]) = (false, false);
        next = previous[pair];
    }
    (old, new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_have_in_order_is_not_changed() {
        let check = |before: &str, after: &str, old: &str, new: &str| {
            let items = |text: &str| text.bytes().collect::<Vec<_>>();
            let left = |items: &[u8], changed: &[bool]| {
                let left = items.iter().zip(changed).filter(|(_, changed)| **changed);
                left.map(|(item, _)| char::from(*item)).collect::<alloc::string::String>()
            };
            let (before, after) = (items(before), items(after));
            let (changed_before, changed_after) = changed(&before, &after);
            assert_eq!(
                (left(&before, &changed_before), left(&after, &changed_after)),
                (old.into(), new.into())
            );
        };
        check("abcd", "abcd", "", "");
        check("abcd", "abxcd", "", "x");
        check("abcd", "acd", "b", "");
        check("abcd", "dabc", "d", "d");
        check("", "ab", "", "ab");
        check("abc", "", "abc", "");
        check("abcdef", "fbdxe", "acf", "fx");
    }
}
