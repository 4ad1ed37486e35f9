//! IP addresses and masks, read as the C library reads them for the server.
//!
//! The server asks `getaddrinfo` with `AI_NUMERICHOST`. That takes `inet_aton`'s short forms, so that
//! `10/8` is `0.0.0.10/8`, `010.0.0.1` is `8.0.0.1` and a mask of `24` is `0.0.0.24`. What it does
//! not take is a host name.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nom::{
    IResult, Parser as _,
    bytes::complete::{take_till, take_while1},
    character::complete::char as byte,
    combinator::{all_consuming, map_opt, opt},
    sequence::preceded,
};

use crate::Server;

/// Reads an address as the server does: `None` is a host name.
pub(crate) fn parse(text: &[u8], server: &Server) -> Option<IpAddr> {
    if text.is_empty() {
        return None;
    }
    inet_aton(text).map(IpAddr::V4).or_else(|| ipv6_with_scope(text, server).map(IpAddr::V6))
}

/// Whether DNS can know such a name: labels of letters, digits, hyphens and underscores with dots
/// between them (RFC 1123; the lengths are RFC 1035's).
pub(crate) fn is_host_name(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".").unwrap_or(name);
    let label = |label: &[u8]| {
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.iter().all(good)
    };
    name.len() <= 253 && name.split(|byte| *byte == b'.').all(label)
}

/// An address and what stands behind its first slash.
pub(crate) fn split_cidr(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let parsed: IResult<&[u8], _> =
        (take_till(|byte| byte == b'/'), opt(preceded(byte('/'), nom::combinator::rest)))
            .parse(text);
    parsed.map_or((text, None), |(_, split)| split)
}

/// `pg_sockaddr_cidr_mask`: `strtol` decides what is a number, so blanks and a sign may stand before
/// it.
pub(crate) fn cidr_mask(bits: &[u8], address: IpAddr) -> Option<IpAddr> {
    let bits = strtol_all(bits)?;
    match address {
        IpAddr::V4(_) => {
            let bits = u32::try_from(bits).ok().filter(|bits| *bits <= 32)?;
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            Some(Ipv4Addr::from(mask).into())
        }
        IpAddr::V6(_) => {
            let bits = u32::try_from(bits).ok().filter(|bits| *bits <= 128)?;
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Some(Ipv6Addr::from(mask).into())
        }
    }
}

/// Whether all bits that the mask has are the same: `pg_range_sockaddr`. Families never mix.
pub(crate) fn in_range(client: IpAddr, network: IpAddr, mask: IpAddr) -> bool {
    match (client, network, mask) {
        (IpAddr::V4(client), IpAddr::V4(network), IpAddr::V4(mask)) => {
            (client.to_bits() ^ network.to_bits()) & mask.to_bits() == 0
        }
        (IpAddr::V6(client), IpAddr::V6(network), IpAddr::V6(mask)) => {
            (client.to_bits() ^ network.to_bits()) & mask.to_bits() == 0
        }
        _ => false,
    }
}

/// The bits of an address that a mask has.
pub(crate) fn masked(network: IpAddr, mask: IpAddr) -> IpAddr {
    match (network, mask) {
        (IpAddr::V4(network), IpAddr::V4(mask)) => IpAddr::V4(network & mask),
        (IpAddr::V6(network), IpAddr::V6(mask)) => IpAddr::V6(network & mask),
        (network, _) => network,
    }
}

/// How many leading bits a mask has, if it is one of leading bits.
pub(crate) fn prefix_len(mask: IpAddr) -> Option<u8> {
    let (ones, zeros, width) = match mask {
        IpAddr::V4(mask) => (mask.to_bits().leading_ones(), mask.to_bits().trailing_zeros(), 32),
        IpAddr::V6(mask) => (mask.to_bits().leading_ones(), mask.to_bits().trailing_zeros(), 128),
    };
    (ones + zeros == width || ones == width)
        .then_some(ones)
        .and_then(|ones| u8::try_from(ones).ok())
}

/// As the server's view shows it: `getnameinfo` with `NI_NUMERICHOST`, glibc's `inet_ntop`.
pub(crate) fn display(address: IpAddr) -> String {
    let IpAddr::V6(address) = address else { return address.to_string() };
    let groups = address.segments();
    let (mut best, mut best_len) = (0, 0);
    let mut start = 0;
    while start < 8 {
        let len = groups[start..].iter().take_while(|group| **group == 0).count();
        if len > best_len {
            (best, best_len) = (start, len);
        }
        start += len.max(1);
    }
    if best_len < 2 {
        (best, best_len) = (8, 0);
    }
    let embedded = best == 0 && (best_len == 6 || (best_len == 5 && groups[5] == 0xffff));
    if embedded {
        let [.., a, b, c, d] = address.octets();
        let middle = if best_len == 5 { "ffff:" } else { "" };
        return format!("::{middle}{a}.{b}.{c}.{d}");
    }
    let hex = |groups: &[u16]| {
        groups.iter().map(|group| format!("{group:x}")).collect::<Vec<_>>().join(":")
    };
    if best_len == 0 {
        return hex(&groups);
    }
    format!("{}::{}", hex(&groups[..best]), hex(&groups[best + best_len..]))
}

/// `inet_aton` without anything behind the address: one to four numbers, decimal, octal or
/// hexadecimal; the last one fills what is left.
fn inet_aton(text: &[u8]) -> Option<Ipv4Addr> {
    let number = || map_opt(take_while1(|byte: u8| byte.is_ascii_alphanumeric()), c_number);
    let parsed: IResult<&[u8], _> = all_consuming((
        number(),
        opt(preceded(byte('.'), number())),
        opt(preceded(byte('.'), number())),
        opt(preceded(byte('.'), number())),
    ))
    .parse(text);
    let (_, (first, second, third, fourth)) = parsed.ok()?;
    // Each number but the last is an octet.
    let (mut leading, mut last, mut free_bits) = (0_u32, first, 32_u32);
    for number in [second, third, fourth].into_iter().flatten() {
        if last > 0xff {
            return None;
        }
        leading = leading << 8 | last;
        last = number;
        free_bits -= 8;
    }
    if u64::from(last) >= 1_u64 << free_bits {
        return None;
    }
    Some(Ipv4Addr::from(leading.checked_shl(free_bits).unwrap_or(0) | last))
}

/// A number as `strtoul` with base 0 reads it.
fn c_number(text: &[u8]) -> Option<u32> {
    let text = core::str::from_utf8(text).ok()?;
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None if text.starts_with('0') && text.len() > 1 => u32::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

/// `inet_pton` and, behind a `%`, an interface's name or number.
fn ipv6_with_scope(text: &[u8], server: &Server) -> Option<Ipv6Addr> {
    let (address, scope) = match memchr::memchr(b'%', text) {
        Some(percent) => (&text[..percent], Some(&text[percent + 1..])),
        None => (text, None),
    };
    let address = inet_pton6(address)?;
    let Some(scope) = scope else { return Some(address) };
    let [first, second, ..] = address.octets();
    let link_local = first == 0xfe && second & 0xc0 == 0x80;
    let multicast = first == 0xff && matches!(second & 0x0f, 1 | 2);
    let named = server.interface_names.iter().any(|name| name.as_bytes() == scope);
    if (link_local || multicast) && named {
        return Some(address);
    }
    let digits = !scope.is_empty() && scope.iter().all(u8::is_ascii_digit);
    let number = core::str::from_utf8(scope).ok().filter(|_| digits)?.parse::<u32>();
    number.is_ok().then_some(address)
}

fn inet_pton6(text: &[u8]) -> Option<Ipv6Addr> {
    // Rust's reader takes the same addresses, with a number of at most four digits in each group and
    // no leading zero in embedded IPv4 addresses.
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// A number as `strtol` with base 10 reads it, and nothing behind it.
fn strtol_all(text: &[u8]) -> Option<i64> {
    let (number, rest) = strtol(text)?;
    rest.is_empty().then_some(number)
}

/// A number at the start, and the rest. `None` without a digit. Too large a number is the largest.
pub(crate) fn strtol(text: &[u8]) -> Option<(i64, &[u8])> {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let text = &text[blanks..];
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let number = digits[..count].iter().fold(0_i64, |number, digit| {
        let digit = i64::from(digit - b'0');
        number.saturating_mul(10).saturating_add(digit)
    });
    Some((if negative { -number } else { number }, &digits[count..]))
}

/// `atoi`: what is no number is 0.
#[expect(clippy::cast_possible_truncation, reason = "as C casts long to int")]
pub(crate) fn atoi(text: &[u8]) -> i32 {
    strtol(text).map_or(0, |(number, _)| number as i32)
}

#[cfg(test)]
mod tests {
    use pg_version::PgVersion;

    use super::*;

    fn read(text: &str) -> Option<String> {
        parse(text.as_bytes(), &Server::new(PgVersion::V16)).map(display)
    }

    #[test]
    fn reads_what_inet_aton_reads() {
        for (text, address) in [
            ("10", "0.0.0.10"),
            ("10.1", "10.0.0.1"),
            ("10.1.2", "10.1.0.2"),
            ("010.0.0.1", "8.0.0.1"),
            ("0x0a000001", "10.0.0.1"),
            ("0X7f.1", "127.0.0.1"),
            ("167772161", "10.0.0.1"),
            ("4294967295", "255.255.255.255"),
            ("1.16777215", "1.255.255.255"),
        ] {
            assert_eq!(read(text).as_deref(), Some(address), "{text}");
        }
        for text in [
            "",
            "256.1.1.1",
            "1.2.3.4.5",
            "1.2.3.4.",
            ".1",
            "1..2",
            "08",
            "0x",
            "0xg",
            "1.2.3.256",
            "4294967296",
            "1.16777216",
            " 1",
            "1 ",
            "-1",
            "+1",
            "1.2.3.4:5",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn reads_and_shows_ipv6_as_glibc_does() {
        for (text, address) in [
            ("::", "::"),
            ("::1", "::1"),
            ("2001:DB8::1", "2001:db8::1"),
            ("2001:0db8:0:0:0:0:0:0001", "2001:db8::1"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("1:0:2:0:3:0:4:0", "1:0:2:0:3:0:4:0"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("::1.2.3.4", "::1.2.3.4"),
            ("::ffff", "::ffff"),
            ("ffff::", "ffff::"),
            ("1::", "1::"),
            ("fe80::1%lo", "fe80::1"),
            ("fe80::1%12", "fe80::1"),
            ("::1%3", "::1"),
        ] {
            assert_eq!(read(text).as_deref(), Some(address), "{text}");
        }
        for text in ["1::2::3", "1:2:3:4:5:6:7", "[::1]", "fe80::1%nosuchif", "::1%lo", "::1%"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn masks_are_what_strtol_reads() {
        let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let mask = |bits: &str| cidr_mask(bits.as_bytes(), v4).map(|mask| mask.to_string());
        assert_eq!(mask("24").as_deref(), Some("255.255.255.0"));
        for bits in ["+24", "024", " 24", "\u{b}24"] {
            assert_eq!(mask(bits), mask("24"));
        }
        assert_eq!(mask("-0"), mask("0"));
        for bits in ["", "33", "-1", "24x", "24 ", "0x8", "99999999999999999999", "8/8"] {
            assert_eq!(mask(bits), None, "{bits}");
        }
        assert_eq!(prefix_len("255.255.255.0".parse().unwrap()), Some(24));
        assert_eq!(prefix_len("0.0.0.0".parse().unwrap()), Some(0));
        assert_eq!(prefix_len("255.0.255.0".parse().unwrap()), None);
    }
}
