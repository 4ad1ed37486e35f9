//! `synchronous_standby_names`: the grammar of `syncrep_gram.y` and `syncrep_scanner.l`.

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Name,
    Number,
    Any,
    First,
    /// A mark, or a byte that begins nothing.
    Mark(u8),
    /// A double quote that is not closed.
    Open,
    End,
}

/// A token and what the scanner has in its hands when it returns it: of a quoted name that is the
/// closing quote.
#[derive(Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    text: &'a [u8],
}

/// Why the server refuses a value.
pub(super) enum Refusal {
    /// It cannot be read; the message's detail.
    Syntax(String),
    /// Not one standby is asked for.
    None,
}

/// Whether the server takes the value.
pub(super) fn check(value: &[u8]) -> Result<(), Refusal> {
    if value.is_empty() {
        return Ok(());
    }
    let tokens = tokens(value);
    let mut parser = Parser { tokens: &tokens };
    let explicit = match parser.peek() {
        Kind::Any | Kind::First => {
            parser.take();
            Some(parser.expect(Kind::Number)?)
        }
        Kind::Number if parser.tokens.get(1).is_some_and(|t| t.kind == Kind::Mark(b'(')) => {
            Some(parser.take())
        }
        _ => None,
    };
    if explicit.is_some() {
        parser.expect(Kind::Mark(b'('))?;
    }
    parser.list()?;
    if explicit.is_some() {
        parser.expect(Kind::Mark(b')'))?;
    }
    parser.expect(Kind::End)?;
    match explicit {
        Some(count) if count.text.iter().all(|digit| *digit == b'0') => Err(Refusal::None),
        _ => Ok(()),
    }
}

/// The tokens that are left; the last one is [`Kind::End`].
struct Parser<'a> {
    tokens: &'a [Token<'a>],
}

impl<'a> Parser<'a> {
    const END: Token<'static> = Token { kind: Kind::End, text: b"" };

    fn peek(&self) -> Kind {
        self.tokens.first().map_or(Kind::End, |token| token.kind)
    }

    fn take(&mut self) -> Token<'a> {
        let Some((first, rest)) = self.tokens.split_first() else { return Self::END };
        self.tokens = rest;
        *first
    }

    fn expect(&mut self, kind: Kind) -> Result<Token<'a>, Refusal> {
        let token = self.take();
        if token.kind == kind { Ok(token) } else { Err(error(token)) }
    }

    /// Names or numbers with commas between them.
    fn list(&mut self) -> Result<(), Refusal> {
        loop {
            let token = self.take();
            if !matches!(token.kind, Kind::Name | Kind::Number) {
                return Err(error(token));
            }
            if self.peek() != Kind::Mark(b',') {
                return Ok(());
            }
            self.take();
        }
    }
}

fn error(token: Token<'_>) -> Refusal {
    let message = match token.kind {
        Kind::Open => "unterminated quoted identifier",
        _ => "syntax error",
    };
    Refusal::Syntax(if token.text.is_empty() {
        format!("{message} at end of input")
    } else {
        format!("{message} at or near \"{}\"", String::from_utf8_lossy(token.text))
    })
}

fn tokens(value: &[u8]) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = value;
    while let Some(first) = rest.first() {
        let starts = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_' || *byte >= 0x80;
        let (kind, len) = match first {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                rest = &rest[1..];
                continue;
            }
            b'"' => {
                let Some(len) = quoted_len(rest) else {
                    tokens.push(Token { kind: Kind::Open, text: b"" });
                    break;
                };
                tokens.push(Token { kind: Kind::Name, text: &rest[len - 1..len] });
                rest = &rest[len..];
                continue;
            }
            b'*' => (Kind::Name, 1),
            b'0'..=b'9' => {
                (Kind::Number, rest.iter().take_while(|byte| byte.is_ascii_digit()).count())
            }
            first if starts(first) => {
                let goes_on = |byte: &&u8| starts(byte) || byte.is_ascii_digit() || **byte == b'$';
                let len = rest.iter().take_while(goes_on).count();
                let kind = match &rest[..len] {
                    word if word.eq_ignore_ascii_case(b"any") => Kind::Any,
                    word if word.eq_ignore_ascii_case(b"first") => Kind::First,
                    _ => Kind::Name,
                };
                (kind, len)
            }
            mark => (Kind::Mark(*mark), 1),
        };
        tokens.push(Token { kind, text: &rest[..len] });
        rest = &rest[len..];
    }
    tokens.push(Parser::END);
    tokens
}

/// The length of the name in double quotes that `text` begins with; a doubled quote is part of it.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut end = 1;
    loop {
        end += memchr::memchr(b'"', text.get(end..)?)? + 1;
        if text.get(end) != Some(&b'"') {
            return Some(end);
        }
        end += 1;
    }
}
