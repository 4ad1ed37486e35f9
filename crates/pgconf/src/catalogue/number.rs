//! Numbers as the C library reads and prints them: `strtol` with base 0, `strtod`, `%g`.

/// What `strtol(text, &end, 0)` says: the value, where it ended, whether it was too large.
pub(super) struct Scanned {
    pub(super) value: f64,
    /// Where the number ends; 0 if there is none.
    pub(super) end: usize,
    /// `ERANGE`: too large, or too small for a normal number.
    pub(super) out_of_range: bool,
}

/// White space to `isspace` in the C locale.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | 0x09..=0x0d)
}

/// Blanks, a sign: how all numbers begin. Returns whether it is negative and where the digits begin.
fn preamble(text: &[u8]) -> (bool, usize) {
    let start = text.iter().take_while(|byte| is_space(**byte)).count();
    match text.get(start) {
        Some(b'-') => (true, start + 1),
        Some(b'+') => (false, start + 1),
        _ => (false, start),
    }
}

/// `strtol(text, &end, 0)`: decimal, `0x` hexadecimal, `0` octal.
pub(super) fn strtol(text: &[u8]) -> Scanned {
    let (negative, start) = preamble(text);
    let (radix, digits) = digits(&text[start..]);
    if digits.is_empty() {
        return Scanned { value: 0.0, end: 0, out_of_range: false };
    }
    let skip = if radix == 16 { 2 } else { 0 };
    let magnitude = digits.iter().try_fold(0_i64, |value, byte| {
        let digit = i64::from(char::from(*byte).to_digit(radix)?);
        value.checked_mul(i64::from(radix))?.checked_add(digit)
    });
    #[expect(clippy::cast_precision_loss, reason = "the server stores it in a double too")]
    let value = magnitude.unwrap_or(i64::MAX) as f64;
    Scanned {
        value: if negative { -value } else { value },
        end: start + skip + digits.len(),
        out_of_range: magnitude.is_none(),
    }
}

/// Whether `strtoul(text, &end, 0)` says that the number is too large for 64 bits. What is no number
/// at all is 0 to it.
pub(super) fn strtoul_overflows(text: &[u8]) -> bool {
    let (_, start) = preamble(text);
    let (radix, digits) = digits(&text[start..]);
    let number = digits.iter().try_fold(0_u64, |value, byte| {
        let digit = char::from(*byte).to_digit(radix)?;
        value.checked_mul(radix.into())?.checked_add(digit.into())
    });
    number.is_none()
}

/// The radix that the beginning of a number tells, and the digits that follow.
fn digits(text: &[u8]) -> (u32, &[u8]) {
    let (radix, skip) = match text {
        [b'0', b'x' | b'X', first, ..] if first.is_ascii_hexdigit() => (16, 2),
        [b'0', ..] => (8, 0),
        _ => (10, 0),
    };
    let digits = &text[skip..];
    let len = digits.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    (radix, &digits[..len])
}

/// `strtod`: decimal and hexadecimal fractions with exponents, `inf`, `infinity`, `nan`.
pub(super) fn strtod(text: &[u8]) -> Scanned {
    let (negative, start) = preamble(text);
    let rest = &text[start..];
    let signed = |value: f64| if negative { -value } else { value };
    let begins =
        |word: &[u8]| rest.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    for word in [&b"infinity"[..], b"inf"] {
        if begins(word) {
            let end = start + word.len();
            return Scanned { value: signed(f64::INFINITY), end, out_of_range: false };
        }
    }
    if begins(b"nan") {
        return Scanned { value: f64::NAN, end: start + 3, out_of_range: false };
    }
    if let [b'0', b'x' | b'X', digits @ ..] = rest
        && let Some((value, len, out_of_range)) = hexadecimal(digits)
    {
        return Scanned { value: signed(value), end: start + 2 + len, out_of_range };
    }
    let Some(len) = decimal_len(rest) else {
        return Scanned { value: 0.0, end: 0, out_of_range: false };
    };
    let number = str::from_utf8(&rest[..len]).unwrap_or_default();
    let value: f64 = number.parse().unwrap_or_default();
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let out_of_range = value.is_infinite() || (!is_zero && !value.is_normal());
    Scanned { value: signed(value), end: start + len, out_of_range }
}

/// The length of `digits[.digits][e[sign]digits]` with a digit before the exponent.
fn decimal_len(text: &[u8]) -> Option<usize> {
    let digits = |from: usize| text[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut len = whole;
    let mut fraction = 0;
    if text.get(len) == Some(&b'.') {
        fraction = digits(len + 1);
        if whole + fraction > 0 {
            len += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return None;
    }
    if let [b'e' | b'E', after @ ..] = &text[len..] {
        let sign = usize::from(matches!(after.first(), Some(b'+' | b'-')));
        let exponent = after[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    Some(len)
}

/// `hexdigits[.hexdigits][p[sign]digits]` after `0x`: the value, its length, whether it is out of
/// range. `None` if there is no digit.
fn hexadecimal(text: &[u8]) -> Option<(f64, usize, bool)> {
    let mut mantissa: u64 = 0;
    let mut exponent: i64 = 0;
    let mut seen = 0;
    let mut after_point = false;
    // Whether digits are left out of the mantissa that are not 0.
    let mut more = false;
    let mut len = 0;
    for byte in text {
        match byte {
            b'.' if !after_point => after_point = true,
            _ => {
                let Some(digit) = char::from(*byte).to_digit(16) else { break };
                seen += 1;
                if mantissa >> 60 == 0 {
                    mantissa = mantissa << 4 | u64::from(digit);
                    exponent -= if after_point { 4 } else { 0 };
                } else {
                    more |= digit != 0;
                    exponent += if after_point { 0 } else { 4 };
                }
            }
        }
        len += 1;
    }
    if seen == 0 {
        return None;
    }
    if let [b'p' | b'P', after @ ..] = &text[len..] {
        let sign = usize::from(matches!(after.first(), Some(b'+' | b'-')));
        let digits = after[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            let power = after[sign..sign + digits].iter().fold(0_i64, |power, byte| {
                power.saturating_mul(10).saturating_add(i64::from(byte - b'0'))
            });
            let power = power.min(1 << 40);
            exponent += if after.first() == Some(&b'-') { -power } else { power };
            len += 1 + sign + digits;
        }
    }
    let (value, exact) = rounded(mantissa, exponent, more);
    Some((value, len, value.is_infinite() || !(exact || value.is_normal())))
}

/// The double nearest to `mantissa * 2^exponent`, or to a little `more` than that, and whether it is
/// just that.
fn rounded(mantissa: u64, exponent: i64, more: bool) -> (f64, bool) {
    /// The exponents of the smallest double and of the largest power of two.
    const SMALLEST: i64 = -1074;
    const LARGEST: i64 = 1023;

    let bits = i64::from(u64::BITS - mantissa.leading_zeros());
    // What the last bit of the double stands for.
    let last = (exponent + bits - i64::from(f64::MANTISSA_DIGITS)).max(SMALLEST);
    let (kept, exact) = match last - exponent {
        // Nothing is lost. What is more is far below the half of the last bit.
        ..=0 => (mantissa, !more),
        cut @ 1..=63 => {
            let (kept, rest, half) =
                (mantissa >> cut, mantissa & ((1 << cut) - 1), 1_u64 << (cut - 1));
            let up = rest > half || rest == half && (more || kept & 1 == 1);
            (kept + u64::from(up), rest == 0 && !more)
        }
        // Less than half of the smallest double.
        _ => (0, mantissa == 0 && !more),
    };
    if kept == 0 {
        return (0.0, exact);
    }
    let last = last.max(exponent);
    if last > LARGEST {
        return (f64::INFINITY, false);
    }
    // Both steps are exact: a whole number of no more than 53 bits, and no bit below the smallest.
    #[expect(clippy::cast_precision_loss, reason = "53 bits, as just rounded")]
    let mut value = kept as f64;
    let mut left = last;
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        #[expect(clippy::cast_possible_truncation, reason = "at most 1000")]
        let factor = 2_f64.powi(step as i32);
        value *= factor;
        left -= step;
    }
    (value, exact)
}

/// A double as the server's own `%g` prints it: six significant digits, no zeros at the end, the
/// exponent with at least two digits; `Infinity` and `NaN` in words.
pub(super) fn percent_g(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{value:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..6).contains(&exponent) {
        let decimals = usize::try_from(5 - exponent).unwrap_or_default();
        trim(&format!("{value:.decimals$}"))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trim(mantissa), exponent.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_c_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (100.0, "100"),
            (0.1, "0.1"),
            (100.1, "100.1"),
            (1_234_567.0, "1.23457e+06"),
            (999_999.5, "1e+06"),
            (123_456.0, "123456"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (f64::MAX, "1.79769e+308"),
            (1e308, "1e+308"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(percent_g(value), text);
        }
    }

    #[test]
    fn reads_as_c_does() {
        for (text, value, end, out_of_range) in [
            ("1e3kB", 1e3, 3, false),
            (" +.5x", 0.5, 4, false),
            ("1e", 1.0, 1, false),
            (".", 0.0, 0, false),
            ("0x1.8p1", 3.0, 7, false),
            ("0x", 0.0, 1, false),
            ("0x1p-1080", 0.0, 9, true),
            ("0x1p-1074", 5e-324, 9, false),
            ("0x3p-1075", 1e-323, 9, true),
            ("0x0p-9999999999999999999", 0.0, 24, false),
            ("0x1p1023", 8.98846567431158e307, 8, false),
            ("0x1.fffffffffffff7p1023", f64::MAX, 23, false),
            ("0x1.fffffffffffff8p1023", f64::INFINITY, 23, true),
            ("0x1p99999999999999999999", f64::INFINITY, 24, true),
            ("0x10000000000000801", 18_446_744_073_709_555_712.0, 19, false),
            ("0x10000000000000800", 18_446_744_073_709_551_616.0, 19, false),
            ("1e309", f64::INFINITY, 5, true),
            ("1e-400", 0.0, 6, true),
            ("0e-400", 0.0, 6, false),
            ("InfinityX", f64::INFINITY, 8, false),
        ] {
            let scanned = strtod(text.as_bytes());
            assert!(
                (scanned.value - value).abs() < f64::EPSILON || scanned.value == value,
                "{text}: {}",
                scanned.value
            );
            assert_eq!(scanned.value == 0.0, value == 0.0, "{text}");
            assert_eq!((scanned.end, scanned.out_of_range), (end, out_of_range), "{text}");
        }
        for (text, value, end) in [
            ("0x40kB", 64.0, 4),
            ("0100", 64.0, 4),
            ("08", 0.0, 1),
            ("0x", 0.0, 1),
            ("-7", -7.0, 2),
        ] {
            let scanned = strtol(text.as_bytes());
            assert_eq!((scanned.value, scanned.end), (value, end), "{text}");
        }
    }
}
