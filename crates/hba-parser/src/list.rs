//! Lists in option values, as the server's `SplitGUCList` reads them.

use alloc::vec::Vec;

use nom::{
    IResult, Parser as _,
    branch::alt,
    bytes::complete::{tag, take_till, take_until, take_while, take_while1},
    character::complete::char as byte,
    combinator::{all_consuming, map, not},
    multi::separated_list1,
    sequence::{delimited, preceded},
};

/// `scanner_isspace`
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c' | b'\x0b')
}

/// A double-quoted name; two quotes stand for one.
fn quoted(input: &[u8]) -> IResult<&[u8], Vec<u8>> {
    let mut first = map(delimited(byte('"'), take_until("\""), byte('"')), <[u8]>::to_vec);
    let (mut rest, mut name) = first.parse(input)?;
    loop {
        let again: IResult<&[u8], &[u8]> =
            delimited(tag("\""), take_until("\""), byte('"')).parse(rest);
        let Ok((after, part)) = again else { return Ok((rest, name)) };
        name.push(b'"');
        name.extend_from_slice(part);
        rest = after;
    }
}

fn bare(input: &[u8]) -> IResult<&[u8], Vec<u8>> {
    let name = preceded(not(byte('"')), take_while1(|byte| byte != b',' && !is_space(byte)));
    map(name, <[u8]>::to_vec).parse(input)
}

/// Splits a list at its commas. `None` if it is none: an empty name, something behind a name. The
/// empty text is the empty list.
pub(crate) fn split(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let blanks = || take_while(is_space);
    if text.iter().copied().all(is_space) {
        return Some(Vec::new());
    }
    let item = delimited(blanks(), alt((quoted, bare)), blanks());
    let list: IResult<&[u8], _> = all_consuming(separated_list1(byte(','), item)).parse(text);
    list.ok().map(|(_, items)| items)
}

/// `name=value`: an option, split at its first equals sign.
pub(crate) fn option(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let parsed: IResult<&[u8], _> = (take_till(|byte| byte == b'='), byte('=')).parse(text);
    parsed.ok().map(|(value, (name, _))| (name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_the_server_does() {
        let names = |text: &str| {
            split(text.as_bytes()).map(|list| {
                list.into_iter()
                    .map(|name| alloc::string::String::from_utf8(name).unwrap())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(names("a,b").unwrap(), ["a", "b"]);
        assert_eq!(names(" a , b\t").unwrap(), ["a", "b"]);
        assert_eq!(names("\"a, b\",\"c\"\"d\"").unwrap(), ["a, b", "c\"d"]);
        assert_eq!(names("a\"b").unwrap(), ["a\"b"]);
        assert_eq!(names("").unwrap(), [""; 0]);
        for text in ["a,", ",a", "a,,b", "a b", "\"a", "\"a\"b"] {
            assert_eq!(names(text), None, "{text}");
        }
    }
}
