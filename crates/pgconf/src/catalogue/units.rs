//! Units: `convert_to_base_unit` and its way back, of `guc.c`.

use super::number::is_space;

/// The unit that a setting counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Unit {
    /// Bytes
    B,
    /// 1,024 bytes
    #[cfg_attr(feature = "serde", serde(rename = "kB"))]
    Kilobytes,
    /// 1,048,576 bytes
    #[cfg_attr(feature = "serde", serde(rename = "MB"))]
    Megabytes,
    /// Pages of 8,192 bytes, the usual size; `8kB` in the server's words.
    #[cfg_attr(feature = "serde", serde(rename = "8kB"))]
    Blocks,
    /// Milliseconds
    #[cfg_attr(feature = "serde", serde(rename = "ms"))]
    Milliseconds,
    /// Seconds
    #[cfg_attr(feature = "serde", serde(rename = "s"))]
    Seconds,
    /// Minutes
    #[cfg_attr(feature = "serde", serde(rename = "min"))]
    Minutes,
}

impl Unit {
    /// The unit as the server writes it: `kB`, `8kB`, `ms`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::B => "B",
            Self::Kilobytes => "kB",
            Self::Megabytes => "MB",
            Self::Blocks => "8kB",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Minutes => "min",
        }
    }

    pub(super) fn from_str(text: &str) -> Option<Self> {
        [
            Self::B,
            Self::Kilobytes,
            Self::Megabytes,
            Self::Blocks,
            Self::Milliseconds,
            Self::Seconds,
            Self::Minutes,
        ]
        .into_iter()
        .find(|unit| unit.as_str() == text)
    }

    /// What the server says to a unit that it does not know.
    pub(super) const fn hint(self) -> &'static str {
        match self {
            Self::B | Self::Kilobytes | Self::Megabytes | Self::Blocks => {
                "Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\"."
            }
            Self::Milliseconds | Self::Seconds | Self::Minutes => {
                "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\"."
            }
        }
    }

    /// The units that a value may have, the largest first, each with how many of this unit it is.
    fn conversions(self) -> &'static [(&'static str, f64)] {
        const K: f64 = 1024.0;
        const BLOCK: f64 = 8192.0;
        match self {
            Self::B => {
                &[("TB", K * K * K * K), ("GB", K * K * K), ("MB", K * K), ("kB", K), ("B", 1.0)]
            }
            Self::Kilobytes => {
                &[("TB", K * K * K), ("GB", K * K), ("MB", K), ("kB", 1.0), ("B", 1.0 / K)]
            }
            Self::Megabytes => {
                &[("TB", K * K), ("GB", K), ("MB", 1.0), ("kB", 1.0 / K), ("B", 1.0 / (K * K))]
            }
            Self::Blocks => &[
                ("TB", (K * K * K) / (BLOCK / K)),
                ("GB", (K * K) / (BLOCK / K)),
                ("MB", K / (BLOCK / K)),
                ("kB", 1.0 / (BLOCK / K)),
                ("B", 1.0 / BLOCK),
            ],
            Self::Milliseconds => &[
                ("d", 1000.0 * 60.0 * 60.0 * 24.0),
                ("h", 1000.0 * 60.0 * 60.0),
                ("min", 1000.0 * 60.0),
                ("s", 1000.0),
                ("ms", 1.0),
                ("us", 1.0 / 1000.0),
            ],
            Self::Seconds => &[
                ("d", 60.0 * 60.0 * 24.0),
                ("h", 60.0 * 60.0),
                ("min", 60.0),
                ("s", 1.0),
                ("ms", 1.0 / 1000.0),
                ("us", 1.0 / (1000.0 * 1000.0)),
            ],
            Self::Minutes => &[
                ("d", 60.0 * 24.0),
                ("h", 60.0),
                ("min", 1.0),
                ("s", 1.0 / 60.0),
                ("ms", 1.0 / (1000.0 * 60.0)),
                ("us", 1.0 / (1000.0 * 1000.0 * 60.0)),
            ],
        }
    }

    /// `value` of the unit that `text` begins with, in this unit. `None` if it is no unit, or
    /// something but white space follows.
    pub(super) fn to_base(self, value: f64, text: &[u8]) -> Option<f64> {
        const MAX_UNIT_LEN: usize = 3;
        let len = text.iter().take(MAX_UNIT_LEN).take_while(|byte| !is_space(**byte)).count();
        let (unit, rest) = text.split_at(len);
        if !rest.iter().all(|byte| is_space(*byte)) {
            return None;
        }
        let conversions = self.conversions();
        let index = conversions.iter().position(|(name, _)| name.as_bytes() == unit)?;
        let converted = value * conversions[index].1;
        // A fraction is rounded to a multiple of the next smaller unit, so that 30.1GB is a whole
        // number of MB.
        Some(match conversions.get(index + 1) {
            Some((_, smaller)) => (converted / smaller).round_ties_even() * smaller,
            None => converted,
        })
    }

    /// A whole number of this unit in the largest unit that it is a whole number of.
    pub(super) fn show_integer(self, value: i64) -> (i64, &'static str) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "as the server does; values are 32 bits wide"
        )]
        for (name, factor) in self.conversions() {
            if *factor <= 1.0 || value % (*factor as i64) == 0 {
                return ((value as f64 / factor).round_ties_even() as i64, name);
            }
        }
        (value, self.as_str())
    }

    /// A number of this unit in the largest unit that it is nearly a whole number of, else the
    /// smallest.
    pub(super) fn show_real(self, value: f64) -> (f64, &'static str) {
        let mut shown = (value, self.as_str());
        for (name, factor) in self.conversions() {
            shown = (value / factor, name);
            if shown.0 > 0.0 && (shown.0.round_ties_even() / shown.0 - 1.0).abs() <= 1e-8 {
                break;
            }
        }
        shown
    }
}
