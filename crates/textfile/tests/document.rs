//! A document never loses a byte, and an edit changes only the lines it names.

use proptest::{collection::vec, prelude::*};
use textfile::{Document, EditError, LineEnding};

fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// The document must be what a new one of its bytes would be.
fn assert_consistent(document: &Document) {
    let bytes = document.to_bytes();
    let again = Document::new(bytes.to_vec());
    assert_eq!(document.byte_len(), bytes.len());
    assert_eq!(
        document.lines().map(|line| line.bytes().to_vec()).collect::<Vec<_>>(),
        again.lines().map(|line| line.bytes().to_vec()).collect::<Vec<_>>()
    );
    let mut start = 0;
    for (index, line) in document.lines().enumerate() {
        assert_eq!(document.line_start(index), start);
        if !line.bytes().is_empty() {
            assert_eq!(document.position(start), Some((index, 0)));
        }
        start += line.bytes().len();
    }
    assert_eq!(document.position(start), None);
    assert_eq!(document.line_start(document.len()), start);
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(0), Just(b'a'), any::<u8>()], 0..40)
}

fn line_text() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>().prop_filter("a line end", |&byte| byte != b'\n' && byte != b'\r'), 0..10)
}

proptest! {
    #[test]
    fn bytes_in_are_bytes_out(bytes in text()) {
        let document = Document::new(bytes.clone());
        prop_assert_eq!(document.as_bytes(), Some(&bytes[..]));
        prop_assert_eq!(document.to_bytes().to_vec(), bytes);
        assert_consistent(&document);
    }

    #[test]
    fn an_insertion_adds_a_line_and_leaves_the_others(
        bytes in text(), index in 0usize..12, new in line_text()
    ) {
        let mut document = Document::new(bytes.clone());
        let index = index.min(document.len());
        document.insert(index, &new)?;
        assert_consistent(&document);
        let mut expected = lines_of(&bytes);
        let at_end = index == expected.len();
        let mut after = lines_of(&document.to_bytes());
        let inserted = after.remove(index);
        prop_assert!(inserted.starts_with(&new) && inserted.ends_with(b"\n"));
        if at_end && let Some(last) = expected.last_mut() && !last.ends_with(b"\n") {
            let ended = after.last().cloned().unwrap_or_default();
            prop_assert!(ended.starts_with(last) && ended.ends_with(b"\n"));
            *last = ended;
        }
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn any_script_keeps_the_document_consistent(
        bytes in text(), script in vec((0u8..5, 0usize..12, 0usize..12, text()), 0..60)
    ) {
        let mut document = Document::new(bytes);
        for (what, index, other, new) in script {
            let before = document.to_bytes().to_vec();
            let outcome = match what {
                0 => document.insert(index, &new),
                1 => document.replace(index, &new),
                2 => document.remove(index),
                3 => document.move_line(index, other),
                _ => document.push(&new),
            };
            if outcome.is_err() {
                prop_assert_eq!(document.to_bytes().to_vec(), before);
            }
            assert_consistent(&document);
            prop_assert!(document.memory() <= 4 * document.byte_len() + 10 * 4096);
        }
    }
}

#[test]
fn a_move_keeps_the_rest_and_the_missing_last_line_end() -> Result<(), EditError> {
    let mut document = Document::new(*b"a\r\nb\r\nc");
    document.move_line(2, 0)?;
    assert_eq!(document.to_bytes().as_ref(), b"c\r\na\r\nb");
    assert_eq!(document.move_line(0, 3), Err(EditError::NoSuchLine { index: 3 }));
    Ok(())
}

#[test]
fn a_new_line_takes_its_neighbours_ending() -> Result<(), EditError> {
    for (before, index, after) in [
        (&b""[..], 0, &b"x\n"[..]),
        (b"a", 0, b"x\na"),
        (b"a", 1, b"a\nx\n"),
        (b"a\r\nb", 2, b"a\r\nb\r\nx\r\n"),
        (b"a\r\nb\n", 1, b"a\r\nx\r\nb\n"),
        (b"a\r\nb\n", 2, b"a\r\nb\nx\n"),
        (b"a\n", usize::MAX, b"a\nx\n"),
    ] {
        let mut document = Document::new(before);
        document.insert(index, "x")?;
        assert_eq!(document.to_bytes().as_ref(), after, "{before:?} at {index}");
    }
    assert_eq!(Document::new(*b"a\nb").line(1).map(textfile::Line::ending), Some(LineEnding::None));
    Ok(())
}

#[test]
fn the_same_text_is_no_edit() -> Result<(), EditError> {
    let mut document = Document::new(*b"a\nb\n");
    document.replace(1, "b")?;
    assert!(document.as_bytes().is_some());
    Ok(())
}

#[test]
fn hot_types_stay_small() {
    assert_eq!(size_of::<textfile::Span>(), 8);
    assert_eq!(size_of::<Option<textfile::Line<'_>>>(), 16);
}

/// A hundred thousand edits of a small file hold no more than a small file.
#[test]
fn edits_do_not_pile_up() -> Result<(), EditError> {
    let mut document = Document::new("a line of text\n".repeat(100));
    for round in 0..100_000 {
        document.replace(round % 100, format!("line of round {round}"))?;
    }
    assert!(document.memory() < 64 * 1024, "{} bytes", document.memory());
    Ok(())
}

#[test]
fn a_last_line_is_ended_as_its_neighbours_are() -> Result<(), EditError> {
    for (before, after) in
        [("", ""), ("a", "a\n"), ("a\n", "a\n"), ("a\r\nb", "a\r\nb\r\n"), ("a\nb", "a\nb\n")]
    {
        let mut document = Document::new(before);
        document.end_last_line()?;
        assert_eq!(document.to_bytes().as_ref(), after.as_bytes(), "{before:?}");
    }
    Ok(())
}
