//! Base64 as PostgreSQL's `pg_b64_encode()` and `pg_b64_decode()` do it (`src/common/base64.c`).
//!
//! Both directions handle keys, so that neither looks a secret up in a table: the characters are
//! computed, and only the *position* of a padding character ever decides a branch.

use zeroize::Zeroizing;

/// Standard alphabet with padding, no line breaks.
pub(crate) fn encode_into(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(encoded_len(bytes.len()));
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (i, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            out.push(if i <= chunk.len() { character(group >> shift & 63) } else { b'=' });
        }
    }
}

/// The text of [`encode_into`] on its own.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(encoded_len(bytes.len()));
    encode_into(bytes, &mut out);
    // ASCII by construction
    String::from_utf8(out).unwrap_or_default()
}

/// The number of characters that [`encode_into`] writes.
pub(crate) const fn encoded_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// Decodes with PostgreSQL's rules: no white space, length a multiple of four, padding only as
/// third or fourth character of a group. It ignores trailing bits that are not zero, and does not
/// mind more groups after a padded one: from there on, each gives as many bytes as the first
/// padded one did.
pub(crate) fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() / 4 * 3));
    let mut bytes_in_group = 3;
    let mut valid = true;
    for group in text.chunks_exact(4) {
        let mut bits = 0u32;
        for (position, &c) in group.iter().enumerate() {
            let value = if c == b'=' {
                if bytes_in_group == 3 {
                    match position {
                        2 | 3 => bytes_in_group = position - 1,
                        _ => return None,
                    }
                }
                0
            } else {
                let value = value(c);
                valid &= value >= 0;
                value & 63
            };
            bits = bits << 6 | value.unsigned_abs();
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        out.extend(bytes.iter().take(bytes_in_group));
    }
    valid.then_some(out)
}

/// [`decode`] into a key of 32 bytes.
pub(crate) fn decode_key(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = decode(text)?;
    let mut key = Zeroizing::new([0; 32]);
    if bytes.len() != key.len() {
        return None;
    }
    key.copy_from_slice(&bytes);
    Some(key)
}

/// `-1` if `first <= c <= last`, else 0, without a branch.
fn in_range(c: i32, first: u8, last: u8) -> i32 {
    ((i32::from(first) - 1 - c) & (c - i32::from(last) - 1)) >> 31
}

/// The value of a character, or -1.
fn value(c: u8) -> i32 {
    let c = i32::from(c);
    -1 + (in_range(c, b'A', b'Z') & (c - i32::from(b'A') + 1))
        + (in_range(c, b'a', b'z') & (c - i32::from(b'a') + 27))
        + (in_range(c, b'0', b'9') & (c - i32::from(b'0') + 53))
        + (in_range(c, b'+', b'+') & 63)
        + (in_range(c, b'/', b'/') & 64)
}

/// The character of a value below 64.
fn character(value: u32) -> u8 {
    let [.., value] = value.to_be_bytes();
    let v = i32::from(value);
    let c = in_range(v, 0, 25) & (v + i32::from(b'A'))
        | in_range(v, 26, 51) & (v - 26 + i32::from(b'a'))
        | in_range(v, 52, 61) & (v - 52 + i32::from(b'0'))
        | in_range(v, 62, 62) & i32::from(b'+')
        | in_range(v, 63, 63) & i32::from(b'/');
    let [.., c] = c.to_be_bytes();
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    #[test]
    fn every_character_has_its_value() {
        for c in 0..=u8::MAX {
            let expected = STANDARD.decode([c, b'A', b'A', b'A']).ok();
            assert_eq!(decode(&[c, b'A', b'A', b'A']).map(|v| v.to_vec()), expected, "{c}");
        }
    }

    #[test]
    fn sloppy_texts_as_postgresql_reads_them() {
        for (text, expected) in [
            ("", Some(&b""[..])),
            ("QQ==", Some(b"A")),
            ("QR==", Some(b"A")),
            ("QUJD", Some(b"ABC")),
            // '=' in third place, something else after it
            ("QQ=A", Some(b"A")),
            // groups after a padded one
            ("QQ==QUJD", Some(b"AA")),
            ("QUI=QUJD", Some(b"ABAB")),
            ("QQ", None),
            ("QQ=", None),
            ("Q===", None),
            ("====", None),
            ("QQ ==", None),
            ("QQ\n=", None),
            ("Q_==", None),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref().map(Vec::as_slice), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn encodes_like_the_crate(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let text = encode(&bytes);
            prop_assert_eq!(&text, &STANDARD.encode(&bytes));
            prop_assert_eq!(text.len(), encoded_len(bytes.len()));
            prop_assert_eq!(decode(text.as_bytes()).map(|v| v.to_vec()), Some(bytes));
        }

        #[test]
        fn decodes_all_that_the_crate_does(text in "[A-Za-z0-9+/=_ ]{0,24}") {
            if let Ok(bytes) = STANDARD.decode(&text) {
                prop_assert_eq!(decode(text.as_bytes()).map(|v| v.to_vec()), Some(bytes));
            }
        }
    }
}
