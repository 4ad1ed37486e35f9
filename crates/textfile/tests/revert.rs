//! An edit is taken back where it stands, and what others changed since stays.
#![cfg(feature = "diff")]

use proptest::prelude::*;
use textfile::diff::revert;

fn reverted(before: &str, after: &str, now: &str) -> Option<String> {
    revert(before.as_bytes(), after.as_bytes(), now.as_bytes())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn what_others_changed_stays() {
    let before = "local\ntrust\nend\n";
    let after = "local\nours\nreject\n# trust\nend\n";
    for (now, expected) in [
        // Nobody else: the bytes from before.
        (after, Some(before)),
        // Right before, right behind, at the end.
        ("local\ntheirs\nours\nreject\n# trust\nend\n", Some("local\ntheirs\ntrust\nend\n")),
        ("local\nours\nreject\n# trust\ntheirs\nend\n", Some("local\ntrust\ntheirs\nend\n")),
        ("local\nours\nreject\n# trust\nend\ntheirs", Some("local\ntrust\nend\ntheirs")),
        // A neighbour that is gone.
        ("ours\nreject\n# trust\nend\n", Some("trust\nend\n")),
        // The lines themselves, or one between them.
        ("local\nours\nreject\ntrust\nend\n", None),
        ("local\nours\ntheirs\nreject\n# trust\nend\n", None),
        ("local\nend\n", None),
    ] {
        assert_eq!(reverted(before, after, now).as_deref(), expected, "{now:?}");
    }
}

#[test]
fn a_last_line_without_an_end_gets_one_where_another_follows() {
    assert_eq!(reverted("a", "a\nours\n", "a\nours\n").as_deref(), Some("a"));
    assert_eq!(reverted("a", "a\nours\n", "a\nours\nb\n").as_deref(), Some("a\nb\n"));
}

#[test]
fn a_line_that_was_removed_comes_back_to_its_place() {
    assert_eq!(reverted("a\nb\nc\n", "a\nc\n", "a\nc\nd\n").as_deref(), Some("a\nb\nc\nd\n"));
    assert_eq!(reverted("b\nc\n", "c\n", "x\nc\n").as_deref(), Some("b\nx\nc\n"));
    assert_eq!(reverted("a\nb\n", "a\n", "x\n").as_deref(), Some("x\nb\n"));
    assert_eq!(reverted("a\nb\nc\n", "a\nc\n", "x\n"), None);
}

proptest! {
    /// Where nobody else was, the bytes from before come back; where somebody wrote at the end of the
    /// file, both do.
    #[test]
    fn takes_back_what_was_done(
        before in "[ab\n]{0,30}",
        after in "[ab\n]{0,30}",
        theirs in "x{1,3}\n?",
    ) {
        prop_assert_eq!(reverted(&before, &after, &after), Some(before.clone()));
        let end = |text: &str| if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        // A line that gets an end is another line.
        if end(&after).is_empty() {
            let now = format!("{after}{theirs}");
            let expected = format!("{before}{}{theirs}", end(&before));
            prop_assert_eq!(reverted(&before, &after, &now), Some(expected));
        }
    }
}
