//! SASLprep as PostgreSQL does it, which is not as RFC 4013 says.
//!
//! Server and libpq both pass a password through `pg_saslprep()` (`src/common/saslprep.c`) before
//! they hash it. Whoever hashes other bytes locks the user out. The rules:
//!
//! 1. A password of ASCII only is used as it is, control characters and all.
//! 2. Bytes that are not UTF-8 are used as they are.
//! 3. Characters of table C.1.2 (spaces) become a space; then those of table B.1 vanish. If
//!    nothing is left, the original bytes are used.
//! 4. If the *mapped but not yet normalised* text has a character that is prohibited, that
//!    Unicode 3.2 did not know, or directions that must not be mixed, the original bytes are
//!    used. RFC 4013 checks after normalisation, and that is the difference that matters.
//! 5. The mapped text is normalised to NFKC, with the Unicode data of today.
//!
//! The outcome never fails: what RFC 4013 refuses, PostgreSQL hashes unchanged.

mod bidi;

use std::{borrow::Cow, fmt};

use pg_version::PgVersion;
use stringprep::tables;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// The longest password in bytes that PostgreSQL 12 and 13 accept.
///
/// Their `pg_saslprep()` gives up beyond `MAX_PASSWORD_LENGTH` (1024): the server answers `password
/// too long`, libpq `out of memory`. From 14 on there is no limit.
pub const MAX_LEN_BEFORE_14: usize = 1024;

/// The bytes that PostgreSQL hashes for this password.
///
/// Borrowed where they are the password's own bytes. A NUL is taken for the ASCII character it
/// is; PostgreSQL itself, written in C, never gets to see one.
///
/// ```
/// use scram::saslprep::saslprep;
///
/// assert_eq!(*saslprep("Ⅸ".as_bytes()), *b"IX");
/// assert_eq!(*saslprep("a\u{a0}b".as_bytes()), *b"a b");
/// // Unicode 3.2 did not know it, so it is hashed as it is
/// assert_eq!(*saslprep("\u{1f511}".as_bytes()), *"\u{1f511}".as_bytes());
/// ```
#[must_use]
pub fn saslprep(password: &[u8]) -> Cow<'_, [u8]> {
    if password.is_ascii() {
        return Cow::Borrowed(password);
    }
    let Ok(text) = std::str::from_utf8(password) else {
        return Cow::Borrowed(password);
    };
    match prepare(text) {
        Some(prepared) if prepared.as_bytes() != password => {
            Cow::Owned(prepared.as_bytes().to_vec())
        }
        _ => Cow::Borrowed(password),
    }
}

/// [`saslprep`], with the limit that a major sets on the password's length.
///
/// # Errors
/// [`PasswordTooLong`] for more than [`MAX_LEN_BEFORE_14`] bytes on PostgreSQL 12 and 13.
pub fn saslprep_as(password: &[u8], version: PgVersion) -> Result<Cow<'_, [u8]>, PasswordTooLong> {
    check_length(password, version)?;
    Ok(saslprep(password))
}

/// The limit alone.
pub(crate) fn check_length(password: &[u8], version: PgVersion) -> Result<(), PasswordTooLong> {
    if version < PgVersion::V14 && password.len() > MAX_LEN_BEFORE_14 {
        return Err(PasswordTooLong { len: password.len(), version });
    }
    Ok(())
}

/// Steps 3 to 5; `None` where the original bytes are to be used.
fn prepare(text: &str) -> Option<Zeroizing<String>> {
    // Neither mapping makes a text longer, so that no copy is left behind by growing.
    let mut mapped = Zeroizing::new(String::with_capacity(text.len()));
    mapped.extend(text.chars().filter_map(|c| {
        if tables::non_ascii_space_character(c) {
            Some(' ')
        } else if tables::commonly_mapped_to_nothing(c) {
            None
        } else {
            Some(c)
        }
    }));
    if mapped.is_empty() || mapped.chars().any(is_refused) || mixes_directions(&mapped) {
        return None;
    }
    let len = mapped.nfkc().map(char::len_utf8).sum();
    let mut normal = Zeroizing::new(String::with_capacity(len));
    normal.extend(mapped.nfkc());
    Some(normal)
}

/// Tables C.1.2 to C.9 (prohibited) and A.1 (unassigned in Unicode 3.2).
fn is_refused(c: char) -> bool {
    tables::non_ascii_space_character(c)
        || tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
        || tables::unassigned_code_point(c)
}

/// RFC 3454 section 6: a text with right-to-left characters must begin and end with one and have
/// no left-to-right character.
fn mixes_directions(text: &str) -> bool {
    let is_rtl = |c: Option<char>| c.is_some_and(bidi::is_right_to_left);
    text.chars().any(bidi::is_right_to_left)
        && (text.chars().any(bidi::is_left_to_right)
            || !is_rtl(text.chars().next())
            || !is_rtl(text.chars().next_back()))
}

/// The password is longer than this major of PostgreSQL accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordTooLong {
    /// Length of the password in bytes
    pub len: usize,
    /// The major that refuses it
    pub version: PgVersion,
}

impl fmt::Display for PasswordTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the password has {} bytes, but PostgreSQL {} accepts at most {MAX_LEN_BEFORE_14}: \
             choose a shorter one",
            self.len, self.version
        )
    }
}

impl std::error::Error for PasswordTooLong {}
