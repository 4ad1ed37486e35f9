//! Tokens as they are written, so that a server reads what is meant.

use alloc::{string::String, vec::Vec};

use super::BuildError;
use crate::lexer::is_blank;

/// No line end and no NUL byte.
pub(super) fn writable(text: &[u8]) -> Result<(), BuildError> {
    if text.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        return Err(BuildError::NotWritable { text: text.into() });
    }
    Ok(())
}

/// A token in quotes if it must be, or if it is to be no keyword.
pub(crate) fn quote(text: &[u8], literally: bool) -> Vec<u8> {
    let keyword = matches!(
        text,
        b"all"
            | b"sameuser"
            | b"samerole"
            | b"samegroup"
            | b"replication"
            | b"samehost"
            | b"samenet"
    );
    let special = text.first().is_some_and(|first| matches!(first, b'@' | b'+'));
    let split = |byte: &u8| is_blank(*byte) || matches!(byte, b',' | b'"' | b'#' | 0xb | 0xc);
    let needed = text.is_empty() || text.iter().any(split) || text.ends_with(b"\\");
    if !needed && !(literally && (keyword || special)) {
        return text.to_vec();
    }
    quote_always(text)
}

/// A comment with its `# `.
pub(crate) fn comment_text(comment: &[u8]) -> Result<Vec<u8>, BuildError> {
    writable(comment)?;
    // A backslash at its end would join the next line.
    if comment.ends_with(b"\\") {
        return Err(BuildError::NotWritable { text: comment.into() });
    }
    Ok([b"# ", comment].concat())
}

/// A name that is to be that very name. Where a slash makes it an expression, quotes do not help.
pub(super) fn name_text(name: &[u8], slash_is_regex: bool) -> Result<Vec<u8>, BuildError> {
    writable(name)?;
    if name.starts_with(b"/") && slash_is_regex {
        let mut instead = String::from("^");
        for character in String::from_utf8_lossy(name).chars() {
            if !character.is_alphanumeric() && character != '_' && character != '/' {
                instead.push('\\');
            }
            instead.push(character);
        }
        instead.push('$');
        return Err(BuildError::NameIsRegex { name: name.into(), instead: instead.into() });
    }
    Ok(quote(name, true))
}

pub(super) fn regex_text(regex: &[u8]) -> Result<Vec<u8>, BuildError> {
    writable(regex)?;
    Ok(quote(&[b"/", regex].concat(), false))
}

pub(crate) fn option_text(name: &[u8], value: &[u8]) -> Result<Vec<u8>, BuildError> {
    writable(name)?;
    writable(value)?;
    let text = [name, b"=", value].concat();
    let plain = quote(&text, false);
    if plain == text {
        return Ok(text);
    }
    // As people write it: the quotes around the value.
    Ok([name, b"=", &quote_always(value)].concat())
}

fn quote_always(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::from(*b"\"");
    for byte in text {
        out.push(*byte);
        if *byte == b'"' {
            out.push(b'"');
        }
    }
    out.push(b'"');
    out
}
