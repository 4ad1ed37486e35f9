//! Numbers with units: at their bounds, where they are rounded, in every notation of C.

use pgconf::Unit;

use crate::differential::Random;

/// What is a blank to C's `isspace`, and what is not.
const BLANKS: [&str; 9] = ["", "", "", " ", "\t", "\u{b}", "\r", "\u{c} ", "\u{a0}"];

/// Every unit, in the spelling that is taken and in others.
const UNITS: [&str; 24] = [
    "B", "kB", "MB", "GB", "TB", "us", "ms", "s", "min", "h", "d", "kb", "mb", "KB", "m", "MIN",
    "k", "PB", "ns", "b", "Ms", "8kB", "minutes", "BkB",
];

pub(super) fn integer(random: &mut Random, unit: Option<Unit>, min: i32, max: i32) -> String {
    let (min, max) = (i64::from(min), i64::from(max));
    let number = match random.below(10) {
        0 => min - 1,
        1 => min,
        2 => max,
        3 => max + 1,
        4 => min + small(random, 1000),
        5 => max - small(random, 1000),
        6 => i64::from(i32::MAX) - 2 + small(random, 4),
        _ => {
            let bits = random.below(40);
            small(random, 1 << bits)
        }
    };
    let digits = match random.below(14) {
        0 => format!("{number}.{}", fraction(random)),
        1 => format!("0x{number:x}"),
        2 => format!("0X{number:X}"),
        3 => format!("0{number:o}"),
        4 => format!("{}e{}", number % 1000, small(random, 12) - 3),
        5 => format!("{}.{}E+{}", number % 100, fraction(random), random.below(9)),
        6 => format!("+{number}"),
        7 => format!("00{number}"),
        8 => odd(random),
        // Where a fraction is rounded to a whole number: halves go to the even one.
        9 => format!("{}.5", number % 10_000),
        _ => number.to_string(),
    };
    with_unit(random, &digits, unit)
}

pub(super) fn real(random: &mut Random, unit: Option<Unit>, min: f64, max: f64) -> String {
    let number = match random.below(8) {
        0 => min - 0.1,
        1 => min,
        2 => max,
        3 => max + 0.5,
        4 => max * 1.000_000_1,
        _ => near(random, 10) * 10_f64.powi(i32::try_from(random.below(12)).unwrap_or(0) - 6),
    };
    let digits = match random.below(9) {
        0 => format!("{number:e}"),
        1 => format!("0x{:x}.8p{}", random.below(99), random.below(5)),
        2 => odd(random),
        3 => format!("{:.*}", random.below(17), number),
        4 => format!("+{number}"),
        _ => number.to_string(),
    };
    with_unit(random, &digits, unit)
}

fn with_unit(random: &mut Random, digits: &str, unit: Option<Unit>) -> String {
    let unit = match unit {
        _ if random.once_in(4) => "",
        None if !random.once_in(5) => "",
        Some(unit) if random.once_in(3) && unit.as_str() != "8kB" => unit.as_str(),
        // One that belongs to it, more often than not.
        Some(Unit::B | Unit::Kilobytes | Unit::Megabytes | Unit::Blocks) if !random.once_in(4) => {
            random.pick(&UNITS[..5])
        }
        Some(Unit::Milliseconds | Unit::Seconds | Unit::Minutes) if !random.once_in(4) => {
            random.pick(&UNITS[5..11])
        }
        _ => random.pick(&UNITS),
    };
    if random.once_in(3) {
        let mut blank = || random.pick(&BLANKS);
        let (before, between, after) = (blank(), blank(), blank());
        format!("{before}{digits}{between}{unit}{after}")
    } else {
        format!("{digits}{unit}")
    }
}

/// What only one of the readers takes for a number, or takes only a part of.
fn odd(random: &mut Random) -> String {
    const ODD: [&str; 40] = [
        "99999999999999999999",
        "-99999999999999999999",
        "9223372036854775807",
        "9223372036854775808",
        "4294967296",
        "0x7fffffffffffffff",
        "0x10000000000000000",
        "07777777777777777777777",
        "1e400",
        "-1e400",
        "1e-400",
        "1e-310",
        "4.9e-324",
        "0e999",
        "0x1p-1074",
        "0x1p1024",
        "0x.8",
        "0x1.",
        "0x1e5",
        "0x1.8e1",
        "0x",
        "0b101",
        "0o17",
        "08",
        "019",
        "0100.5",
        "010e1",
        "1_000",
        "1,5",
        ".",
        "-",
        "+-1",
        "- 1",
        "1e",
        "1e+",
        "1.e2",
        "inf",
        "-Infinity",
        "nan(1)",
        "-0",
    ];
    random.pick(&ODD).to_owned()
}

fn fraction(random: &mut Random) -> String {
    const FRACTIONS: [&str; 9] =
        ["", "0", "5", "25", "4999999", "49999999999999999", "50000001", "999", "0009765625"];
    random.pick(&FRACTIONS).to_owned()
}

fn small(random: &mut Random, end: usize) -> i64 {
    i64::try_from(random.below(end)).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "any number near it will do")]
fn near(random: &mut Random, number: i64) -> f64 {
    number as f64 + random.below(1000) as f64 / 1000.0
}
