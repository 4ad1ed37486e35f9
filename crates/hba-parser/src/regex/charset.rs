//! Sets of characters, in the C collation: nothing beyond ASCII is a letter.

use super::{RegexError, lex::is_space};

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct CharSet([u64; 4]);

impl CharSet {
    pub(super) const ALL: Self = Self([u64::MAX; 4]);

    pub(super) fn one(character: u32, ignore_case: bool) -> Self {
        let mut set = Self::default();
        set.insert(character, ignore_case);
        set
    }

    /// Adds a character; what no byte is, is never met.
    pub(super) fn insert(&mut self, character: u32, ignore_case: bool) {
        let Ok(byte) = u8::try_from(character) else { return };
        self.insert_byte(byte);
        if ignore_case {
            self.insert_byte(byte.to_ascii_lowercase());
            self.insert_byte(byte.to_ascii_uppercase());
        }
    }

    fn insert_byte(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub(super) fn remove(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] &= !(1 << (byte & 63));
    }

    pub(super) fn insert_range(&mut self, from: u32, to: u32, ignore_case: bool) {
        for character in from..=to.min(255) {
            self.insert(character, ignore_case);
        }
    }

    pub(super) fn insert_class(&mut self, class: Class, ignore_case: bool) {
        let class = match class {
            Class::Lower | Class::Upper if ignore_case => Class::Alpha,
            other => other,
        };
        (0..=255).filter(|byte| class.contains(*byte)).for_each(|byte| self.insert_byte(byte));
    }

    pub(super) fn union(&mut self, other: Self) {
        for (mine, others) in self.0.iter_mut().zip(other.0) {
            *mine |= others;
        }
    }

    pub(super) fn complement(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    pub(super) fn contains(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] & (1 << (byte & 63)) != 0
    }
}

/// A named class of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Alnum,
    Alpha,
    Ascii,
    Blank,
    Cntrl,
    Digit,
    Graph,
    Lower,
    Print,
    Punct,
    Space,
    Upper,
    Xdigit,
    Word,
}

impl Class {
    pub(super) fn named(name: &[u8], before_14: bool) -> Result<Self, RegexError> {
        Ok(match name {
            b"alnum" => Self::Alnum,
            b"alpha" => Self::Alpha,
            b"ascii" => Self::Ascii,
            b"blank" => Self::Blank,
            b"cntrl" => Self::Cntrl,
            b"digit" => Self::Digit,
            b"graph" => Self::Graph,
            b"lower" => Self::Lower,
            b"print" => Self::Print,
            b"punct" => Self::Punct,
            b"space" => Self::Space,
            b"upper" => Self::Upper,
            b"xdigit" => Self::Xdigit,
            b"word" if !before_14 => Self::Word,
            _ => return Err(RegexError::CharacterClass),
        })
    }

    fn contains(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Alpha => byte.is_ascii_alphabetic(),
            Self::Ascii => byte.is_ascii(),
            Self::Blank => matches!(byte, b' ' | b'\t'),
            Self::Cntrl => byte < 0x20 || (0x7f..=0x9f).contains(&byte),
            Self::Digit => byte.is_ascii_digit(),
            Self::Graph => byte.is_ascii_graphic(),
            Self::Lower => byte.is_ascii_lowercase(),
            Self::Print => byte.is_ascii_graphic() || byte == b' ',
            Self::Punct => byte.is_ascii_punctuation(),
            Self::Space => is_space(byte),
            Self::Upper => byte.is_ascii_uppercase(),
            Self::Xdigit => byte.is_ascii_hexdigit(),
            Self::Word => is_word(byte),
        }
    }
}

/// What `\w` matches.
pub(super) const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The character that a collating element's name stands for: POSIX's names of ASCII characters.
pub(super) fn element(name: &[u8]) -> Result<u32, RegexError> {
    if let [byte] = name {
        return Ok((*byte).into());
    }
    let found = NAMES.iter().find(|(known, _)| known.as_bytes() == name);
    found.map(|(_, byte)| (*byte).into()).ok_or(RegexError::CollatingElement)
}

#[rustfmt::skip]
const NAMES: &[(&str, u8)] = &[
    ("NUL", 0), ("SOH", 1), ("STX", 2), ("ETX", 3), ("EOT", 4), ("ENQ", 5), ("ACK", 6), ("BEL", 7),
    ("alert", 7), ("BS", 8), ("backspace", 8), ("HT", 9), ("tab", 9), ("LF", 10), ("newline", 10),
    ("VT", 11), ("vertical-tab", 11), ("FF", 12), ("form-feed", 12), ("CR", 13),
    ("carriage-return", 13), ("SO", 14), ("SI", 15), ("DLE", 16), ("DC1", 17), ("DC2", 18),
    ("DC3", 19), ("DC4", 20), ("NAK", 21), ("SYN", 22), ("ETB", 23), ("CAN", 24), ("EM", 25),
    ("SUB", 26), ("ESC", 27), ("IS4", 28), ("FS", 28), ("IS3", 29), ("GS", 29), ("IS2", 30),
    ("RS", 30), ("IS1", 31), ("US", 31), ("space", b' '), ("exclamation-mark", b'!'),
    ("quotation-mark", b'"'), ("number-sign", b'#'), ("dollar-sign", b'$'), ("percent-sign", b'%'),
    ("ampersand", b'&'), ("apostrophe", b'\''), ("left-parenthesis", b'('),
    ("right-parenthesis", b')'), ("asterisk", b'*'), ("plus-sign", b'+'), ("comma", b','),
    ("hyphen", b'-'), ("hyphen-minus", b'-'), ("period", b'.'), ("full-stop", b'.'),
    ("slash", b'/'), ("solidus", b'/'), ("zero", b'0'), ("one", b'1'), ("two", b'2'),
    ("three", b'3'), ("four", b'4'), ("five", b'5'), ("six", b'6'), ("seven", b'7'),
    ("eight", b'8'), ("nine", b'9'), ("colon", b':'), ("semicolon", b';'), ("less-than-sign", b'<'),
    ("equals-sign", b'='), ("greater-than-sign", b'>'), ("question-mark", b'?'),
    ("commercial-at", b'@'), ("left-square-bracket", b'['), ("backslash", b'\\'),
    ("reverse-solidus", b'\\'), ("right-square-bracket", b']'), ("circumflex", b'^'),
    ("circumflex-accent", b'^'), ("underscore", b'_'), ("low-line", b'_'), ("grave-accent", b'`'),
    ("left-brace", b'{'), ("left-curly-bracket", b'{'), ("vertical-line", b'|'),
    ("right-brace", b'}'), ("right-curly-bracket", b'}'), ("tilde", b'~'), ("DEL", 127),
];
