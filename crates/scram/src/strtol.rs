//! C's `strtol(text, &end, 10)`, which both PostgreSQL's secrets and libpq read counts with.

/// What `strtol` saw.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Number {
    /// The value, at the end of the range if it does not fit
    pub(crate) value: i64,
    /// `errno` is `ERANGE`
    pub(crate) overflow: bool,
    /// `*end` is not the end of the text
    pub(crate) has_rest: bool,
}

/// Reads white space, a sign and digits, as with the 64-bit `long` of every Unix. Without any
/// digit the value is 0 and everything is rest.
pub(crate) fn strtol(text: &[u8]) -> Number {
    let space = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let after_space = text.get(space..).unwrap_or_default();
    let (negative, digits) = match after_space {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, after_space),
    };
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if len == 0 {
        return Number { value: 0, overflow: false, has_rest: !text.is_empty() };
    }
    let mut value = Some(0i64);
    for byte in digits.iter().take(len) {
        let digit = i64::from(byte - b'0');
        value = value.and_then(|value| {
            let tens = value.checked_mul(10)?;
            if negative { tens.checked_sub(digit) } else { tens.checked_add(digit) }
        });
    }
    let limit = if negative { i64::MIN } else { i64::MAX };
    Number {
        value: value.unwrap_or(limit),
        overflow: value.is_none(),
        has_rest: len < digits.len(),
    }
}

/// Assignment of a `long` to an `int`: the upper half is lost.
pub(crate) fn to_int(value: i64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_c_does() {
        for (text, value, overflow, has_rest) in [
            ("4096", 4096, false, false),
            (" \t\n\x0b\x0c\r+04096", 4096, false, false),
            ("-1", -1, false, false),
            ("", 0, false, false),
            (" ", 0, false, true),
            ("+", 0, false, true),
            ("-x", 0, false, true),
            ("+-1", 0, false, true),
            ("4096x", 4096, false, true),
            ("4096 ", 4096, false, true),
            ("9223372036854775807", i64::MAX, false, false),
            ("9223372036854775808", i64::MAX, true, false),
            ("-9223372036854775808", i64::MIN, false, false),
            ("-9223372036854775809x", i64::MIN, true, true),
        ] {
            assert_eq!(strtol(text.as_bytes()), Number { value, overflow, has_rest }, "{text:?}");
        }
        assert_eq!(to_int((1 << 32) + 1), 1);
        assert_eq!(to_int(1 << 32), 0);
        assert_eq!(to_int(i64::MAX), -1);
        assert_eq!(to_int(i64::MIN), 0);
    }
}
