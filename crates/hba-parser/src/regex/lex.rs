//! The tokens of a regular expression: PostgreSQL's `regc_lex.c`.
//!
//! A character is a byte: servers judge these files before a database, and so its encoding, is known
//! (`SQL_ASCII`).

use super::{RegexError, charset::Class};

/// A token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Before the first token.
    Nothing,
    End,
    /// An ordinary character. Escapes can name characters that no byte is.
    Plain(u32),
    /// A digit in a bound.
    Digit(u32),
    Backref(u32),
    /// `[.`, `[=`, `[:` and what closes them
    CollatingElement,
    EquivalenceClass,
    CharacterClass,
    NamedEnd,
    /// `\d` and the like, and their complements
    Class(Class),
    NotClass(Class),
    /// `-` within brackets, where it may make a range
    Range,
    Look(Look),
    WordBoundary,
    NotWordBoundary,
    /// `\A`, `\Z`
    TextStart,
    TextEnd,
    /// `^`, `$`
    LineStart,
    LineEnd,
    /// `\m`, `\M`
    WordStart,
    WordEnd,
    /// Whether it captures
    Open(bool),
    Close,
    /// Whether they are greedy
    Star(bool),
    Plus(bool),
    Question(bool),
    BraceOpen,
    BraceClose(bool),
    Comma,
    /// `[` or, false, `[^`
    Bracket(bool),
    BracketClose,
    Dot,
    Alternative,
}

/// Lookahead and lookbehind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) ahead: bool,
    pub(super) positive: bool,
}

/// Which syntax the expression is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    /// Advanced: what PostgreSQL begins with.
    Advanced,
    /// POSIX extended, after `(?e)`.
    Extended,
    /// POSIX basic, after `(?b)`.
    Basic,
    /// No syntax at all, after `***=` or `(?q)`.
    Literal,
}

/// What directors and embedded options set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flags {
    pub(super) flavor: Flavor,
    pub(super) ignore_case: bool,
    pub(super) expanded: bool,
    /// `.` and `[^` do not match a line end.
    pub(super) newline_stops: bool,
    /// `^` and `$` match at line ends.
    pub(super) newline_anchors: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    Main,
    Bound,
    Bracket,
    CollatingElement,
    EquivalenceClass,
    CharacterClass,
}

/// The lexer: holds one token of lookahead, [`Lexer::next`].
#[derive(Debug)]
pub(super) struct Lexer<'p> {
    pattern: &'p [u8],
    position: usize,
    context: Context,
    pub(super) flags: Flags,
    /// Before 14, the complements of classes are no part of brackets, and there is no `[[:word:]]`.
    pub(super) before_14: bool,
    pub(super) last: Token,
    pub(super) next: Token,
    /// Capturing parentheses so far: they tell a back reference from an octal number.
    pub(super) captures: u32,
}

impl<'p> Lexer<'p> {
    pub(super) fn new(pattern: &'p [u8], before_14: bool) -> Result<Self, RegexError> {
        let flags = Flags {
            flavor: Flavor::Advanced,
            ignore_case: false,
            expanded: false,
            newline_stops: false,
            newline_anchors: false,
        };
        let mut lexer = Self {
            pattern,
            position: 0,
            context: Context::Main,
            flags,
            before_14,
            last: Token::Nothing,
            next: Token::Nothing,
            captures: 0,
        };
        lexer.prefixes()?;
        lexer.advance()?;
        Ok(lexer)
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn slice(&self, start: usize, end: usize) -> &'p [u8] {
        self.pattern.get(start..end).unwrap_or_default()
    }

    fn rest(&self) -> &'p [u8] {
        &self.pattern[self.position..]
    }

    fn peek(&self) -> Option<u8> {
        self.pattern.get(self.position).copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.position += 1;
        Some(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.position += usize::from(there);
        there
    }

    /// Directors (`***:`) and embedded options (`(?i)`).
    fn prefixes(&mut self) -> Result<(), RegexError> {
        match self.rest() {
            [b'*', b'*', b'*', b'?', ..] => return Err(RegexError::BadPattern),
            [b'*', b'*', b'*', b'=', ..] => {
                self.flags.flavor = Flavor::Literal;
                self.position += 4;
                return Ok(());
            }
            [b'*', b'*', b'*', b':', ..] => self.position += 4,
            [b'*', b'*', b'*', _, ..] => return Err(RegexError::BadRepetition),
            _ => {}
        }
        let [b'(', b'?', first, ..] = self.rest() else { return Ok(()) };
        if !first.is_ascii_alphabetic() {
            return Ok(());
        }
        self.position += 2;
        let mut literal = false;
        while let Some(option) = self.peek().filter(u8::is_ascii_alphabetic) {
            self.position += 1;
            let flags = &mut self.flags;
            match option {
                b'b' => {
                    literal = false;
                    flags.flavor = Flavor::Basic;
                }
                b'e' => {
                    literal = false;
                    flags.flavor = Flavor::Extended;
                }
                b'q' => {
                    literal = true;
                    flags.flavor = Flavor::Basic;
                }
                b'c' => flags.ignore_case = false,
                b'i' => flags.ignore_case = true,
                b'm' | b'n' => {
                    flags.newline_stops = true;
                    flags.newline_anchors = true;
                }
                b'p' => {
                    flags.newline_stops = true;
                    flags.newline_anchors = false;
                }
                b's' => {
                    flags.newline_stops = false;
                    flags.newline_anchors = false;
                }
                b'w' => {
                    flags.newline_stops = false;
                    flags.newline_anchors = true;
                }
                b't' => flags.expanded = false,
                b'x' => flags.expanded = true,
                _ => return Err(RegexError::BadOption),
            }
        }
        if !self.eat(b')') {
            return Err(RegexError::BadOption);
        }
        if literal {
            self.flags.flavor = Flavor::Literal;
            self.flags.expanded = false;
            self.flags.newline_stops = false;
            self.flags.newline_anchors = false;
        }
        Ok(())
    }

    /// Goes on to the next token.
    pub(super) fn advance(&mut self) -> Result<(), RegexError> {
        let current = self.next;
        self.last = current;
        self.next = self.token()?;
        Ok(())
    }

    fn token(&mut self) -> Result<Token, RegexError> {
        loop {
            if self.flags.expanded && matches!(self.context, Context::Main | Context::Bound) {
                self.skip_blanks();
            }
            let Some(byte) = self.bump() else {
                return match self.context {
                    Context::Main => Ok(Token::End),
                    Context::Bound => Err(RegexError::Brace),
                    _ => Err(RegexError::Bracket),
                };
            };
            return match self.context {
                Context::Bound => self.in_bound(byte),
                Context::Bracket => self.in_bracket(byte),
                Context::CollatingElement => Ok(self.in_named(byte, b'.')),
                Context::EquivalenceClass => Ok(self.in_named(byte, b'=')),
                Context::CharacterClass => Ok(self.in_named(byte, b':')),
                Context::Main => match self.flags.flavor {
                    Flavor::Literal => Ok(Token::Plain(byte.into())),
                    Flavor::Basic => self.basic(byte),
                    Flavor::Advanced | Flavor::Extended => match self.extended(byte)? {
                        Some(token) => Ok(token),
                        None => continue,
                    },
                },
            };
        }
    }

    fn advanced(&self) -> bool {
        self.flags.flavor == Flavor::Advanced
    }

    /// Whether a quantifier is greedy: in advanced expressions a `?` makes it not so.
    fn greedy(&mut self) -> bool {
        !(self.advanced() && self.eat(b'?'))
    }

    fn in_bound(&mut self, byte: u8) -> Result<Token, RegexError> {
        let basic = self.flags.flavor == Flavor::Basic;
        match byte {
            b'0'..=b'9' => Ok(Token::Digit((byte - b'0').into())),
            b',' => Ok(Token::Comma),
            b'}' if !basic => {
                self.context = Context::Main;
                Ok(Token::BraceClose(self.greedy()))
            }
            b'\\' if basic && self.eat(b'}') => {
                self.context = Context::Main;
                Ok(Token::BraceClose(true))
            }
            _ => Err(RegexError::BadBrace),
        }
    }

    fn in_bracket(&mut self, byte: u8) -> Result<Token, RegexError> {
        let plain = Ok(Token::Plain(byte.into()));
        match byte {
            b']' if !matches!(self.last_bracket(), Token::Bracket(_)) => {
                self.context = Context::Main;
                Ok(Token::BracketClose)
            }
            b'\\' if self.advanced() => {
                if self.peek().is_none() {
                    return Err(RegexError::Escape);
                }
                match self.escape()? {
                    token @ (Token::Plain(_) | Token::Class(_)) => Ok(token),
                    token @ Token::NotClass(_) if !self.before_14 => Ok(token),
                    _ => Err(RegexError::Escape),
                }
            }
            b'-' if !matches!(self.last_bracket(), Token::Bracket(_))
                && self.peek() != Some(b']') =>
            {
                Ok(Token::Range)
            }
            b'[' => {
                let (context, token) = match self.peek() {
                    None => return Err(RegexError::Bracket),
                    Some(b'.') => (Context::CollatingElement, Token::CollatingElement),
                    Some(b'=') => (Context::EquivalenceClass, Token::EquivalenceClass),
                    Some(b':') => (Context::CharacterClass, Token::CharacterClass),
                    Some(_) => return plain,
                };
                self.position += 1;
                self.context = context;
                Ok(token)
            }
            _ => plain,
        }
    }

    /// The token before the one being read.
    fn last_bracket(&self) -> Token {
        self.last
    }

    fn in_named(&mut self, byte: u8, close: u8) -> Token {
        if byte == close && self.eat(b']') {
            self.context = Context::Bracket;
            Token::NamedEnd
        } else {
            Token::Plain(byte.into())
        }
    }

    /// `None` for a comment.
    fn extended(&mut self, byte: u8) -> Result<Option<Token>, RegexError> {
        let token = match byte {
            b'|' => Token::Alternative,
            b'*' => Token::Star(self.greedy()),
            b'+' => Token::Plus(self.greedy()),
            b'?' => Token::Question(self.greedy()),
            b'{' => {
                if self.flags.expanded {
                    self.skip_blanks();
                }
                if self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
                    self.context = Context::Bound;
                    Token::BraceOpen
                } else {
                    Token::Plain(byte.into())
                }
            }
            b'(' if self.advanced() && self.eat(b'?') => return self.special_group(),
            b'(' => Token::Open(true),
            b')' => Token::Close,
            b'[' => self.open_bracket(),
            b'.' => Token::Dot,
            b'^' => Token::LineStart,
            b'$' => Token::LineEnd,
            b'\\' => {
                let escaped = self.peek().ok_or(RegexError::Escape)?;
                if self.advanced() {
                    return self.escape().map(Some);
                }
                self.position += 1;
                Token::Plain(escaped.into())
            }
            _ => Token::Plain(byte.into()),
        };
        Ok(Some(token))
    }

    fn special_group(&mut self) -> Result<Option<Token>, RegexError> {
        let look = |ahead, positive| Ok(Some(Token::Look(Look { ahead, positive })));
        match self.bump() {
            Some(b':') => Ok(Some(Token::Open(false))),
            Some(b'#') => {
                while self.bump().is_some_and(|byte| byte != b')') {}
                Ok(None)
            }
            Some(b'=') => look(true, true),
            Some(b'!') => look(true, false),
            Some(b'<') => match self.bump() {
                Some(b'=') => look(false, true),
                Some(b'!') => look(false, false),
                _ => Err(RegexError::BadRepetition),
            },
            _ => Err(RegexError::BadRepetition),
        }
    }

    fn open_bracket(&mut self) -> Token {
        if let [b'[', b':', side @ (b'<' | b'>'), b':', b']', b']', ..] = self.rest() {
            self.position += 6;
            return if *side == b'<' { Token::WordStart } else { Token::WordEnd };
        }
        self.context = Context::Bracket;
        Token::Bracket(!self.eat(b'^'))
    }

    fn basic(&mut self, byte: u8) -> Result<Token, RegexError> {
        // `next` still is the token before this one.
        let last = self.last;
        let plain = Token::Plain(byte.into());
        Ok(match byte {
            b'*' if matches!(last, Token::Nothing | Token::Open(_) | Token::LineStart) => plain,
            b'*' => Token::Star(true),
            b'[' => self.open_bracket(),
            b'.' => Token::Dot,
            b'^' if matches!(last, Token::Nothing | Token::Open(_)) => Token::LineStart,
            b'$' => {
                if self.flags.expanded {
                    self.skip_blanks();
                }
                match self.rest() {
                    [] | [b'\\', b')', ..] => Token::LineEnd,
                    _ => plain,
                }
            }
            b'\\' => match self.bump().ok_or(RegexError::Escape)? {
                b'{' => {
                    self.context = Context::Bound;
                    Token::BraceOpen
                }
                b'(' => Token::Open(true),
                b')' => Token::Close,
                b'<' => Token::WordStart,
                b'>' => Token::WordEnd,
                digit @ b'1'..=b'9' => Token::Backref((digit - b'0').into()),
                other => Token::Plain(other.into()),
            },
            _ => plain,
        })
    }

    /// An escape of advanced expressions; the backslash is already read.
    fn escape(&mut self) -> Result<Token, RegexError> {
        let byte = self.bump().ok_or(RegexError::Escape)?;
        Ok(match byte {
            b'a' => Token::Plain(7),
            b'A' => Token::TextStart,
            b'b' => Token::Plain(8),
            b'B' => Token::Plain(b'\\'.into()),
            b'c' => Token::Plain((self.bump().ok_or(RegexError::Escape)? & 0o37).into()),
            b'd' => Token::Class(Class::Digit),
            b'D' => Token::NotClass(Class::Digit),
            b'e' => Token::Plain(0o33),
            b'f' => Token::Plain(0xc),
            b'm' => Token::WordStart,
            b'M' => Token::WordEnd,
            b'n' => Token::Plain(b'\n'.into()),
            b'r' => Token::Plain(b'\r'.into()),
            b's' => Token::Class(Class::Space),
            b'S' => Token::NotClass(Class::Space),
            b't' => Token::Plain(b'\t'.into()),
            b'u' => self.code_point(4, 4)?,
            b'U' => self.code_point(8, 8)?,
            b'v' => Token::Plain(0xb),
            b'w' => Token::Class(Class::Word),
            b'W' => Token::NotClass(Class::Word),
            b'x' => self.code_point(1, 255)?,
            b'y' => Token::WordBoundary,
            b'Y' => Token::NotWordBoundary,
            b'Z' => Token::TextEnd,
            b'1'..=b'9' => return self.back_reference(),
            b'0' => return self.octal(),
            _ if byte.is_ascii_alphabetic() => return Err(RegexError::Escape),
            _ => Token::Plain(byte.into()),
        })
    }

    /// More than one digit is a back reference only if there are so many parentheses before it.
    fn back_reference(&mut self) -> Result<Token, RegexError> {
        let after_first = self.position;
        self.position -= 1;
        let number = self.digits(10, 1, 255)?;
        let in_range = i32::try_from(number).is_ok_and(|number| number > 0);
        if self.position == after_first || (in_range && number <= self.captures) {
            return Ok(Token::Backref(number));
        }
        self.position = after_first;
        self.octal()
    }

    fn octal(&mut self) -> Result<Token, RegexError> {
        self.position -= 1;
        let mut number = self.digits(8, 1, 3)?;
        if number > 0xff {
            self.position -= 1;
            number >>= 3;
        }
        Ok(Token::Plain(number))
    }

    fn code_point(&mut self, min: usize, max: usize) -> Result<Token, RegexError> {
        const CHR_MAX: u32 = 0x7fff_fffe;
        let number = self.digits(16, min, max)?;
        if number > CHR_MAX { Err(RegexError::Escape) } else { Ok(Token::Plain(number)) }
    }

    /// Digits; too many of them overflow, as they do in the server.
    fn digits(&mut self, base: u32, min: usize, max: usize) -> Result<u32, RegexError> {
        let mut number = 0_u32;
        let mut count = 0;
        while count < max {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(base)) else {
                break;
            };
            self.position += 1;
            number = number.wrapping_mul(base).wrapping_add(digit);
            count += 1;
        }
        if count < min { Err(RegexError::Escape) } else { Ok(number) }
    }

    /// Blanks and comments of the expanded syntax.
    fn skip_blanks(&mut self) {
        loop {
            while self.peek().is_some_and(is_space) {
                self.position += 1;
            }
            if self.peek() != Some(b'#') {
                return;
            }
            while self.peek().is_some_and(|byte| byte != b'\n') {
                self.position += 1;
            }
        }
    }
}

/// `isspace` of the C locale.
pub(super) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
