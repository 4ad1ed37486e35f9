//! `synchronous_standby_names`: the grammar of `syncrep_gram.y` and `syncrep_scanner.l`.

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name,
    Number(u64),
    Any,
    First,
    Mark(u8),
}

/// Whether the server takes the value; the error is its detail.
pub(super) fn check(value: &[u8]) -> Result<(), String> {
    if value.is_empty() {
        return Ok(());
    }
    let tokens = tokens(value)?;
    let error = || Err("syntax error".to_owned());
    let count = match &tokens[..] {
        [
            Token::Any | Token::First,
            Token::Number(count),
            Token::Mark(b'('),
            list @ ..,
            Token::Mark(b')'),
        ]
        | [Token::Number(count), Token::Mark(b'('), list @ .., Token::Mark(b')')] => {
            if !is_list(list) {
                return error();
            }
            *count
        }
        list if is_list(list) => 1,
        _ => return error(),
    };
    if count == 0 {
        return Err("number of synchronous standbys (0) must be greater than zero".to_owned());
    }
    Ok(())
}

/// Names or numbers with commas between them.
fn is_list(tokens: &[Token]) -> bool {
    tokens.len() % 2 == 1
        && tokens.iter().enumerate().all(|(index, token)| match token {
            Token::Name | Token::Number(_) => index % 2 == 0,
            Token::Mark(b',') => index % 2 == 1,
            _ => false,
        })
}

fn tokens(value: &[u8]) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = value;
    while let Some(first) = rest.first() {
        let starts = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_' || *byte >= 0x80;
        let len = match first {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => 1,
            b'"' => {
                let mut end = 1;
                loop {
                    let Some(quote) = rest[end..].iter().position(|byte| *byte == b'"') else {
                        return Err("unterminated quoted identifier".to_owned());
                    };
                    end += quote + 1;
                    if rest.get(end) != Some(&b'"') {
                        break;
                    }
                    end += 1;
                }
                tokens.push(Token::Name);
                end
            }
            b'*' => {
                tokens.push(Token::Name);
                1
            }
            b'0'..=b'9' => {
                let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let number = rest[..len].iter().fold(0_u64, |number, digit| {
                    number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
                });
                tokens.push(Token::Number(number));
                len
            }
            first if starts(first) => {
                let goes_on = |byte: &&u8| starts(byte) || byte.is_ascii_digit() || **byte == b'$';
                let len = rest.iter().take_while(goes_on).count();
                tokens.push(match &rest[..len] {
                    word if word.eq_ignore_ascii_case(b"any") => Token::Any,
                    word if word.eq_ignore_ascii_case(b"first") => Token::First,
                    _ => Token::Name,
                });
                len
            }
            mark => {
                tokens.push(Token::Mark(*mark));
                1
            }
        };
        rest = &rest[len..];
    }
    Ok(tokens)
}
