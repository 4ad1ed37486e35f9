//! The salted password: PBKDF2 with HMAC-SHA-256, one block of output (RFC 5802's `Hi()`).
//!
//! An iteration of PBKDF2 is two HMACs of 32 bytes under the same key. The states after the two
//! key pads are computed once, so that an iteration costs two compressions, on the block function
//! of `sha2` ([`Engine::Block`]), on the processor's SHA instructions with everything kept in
//! registers ([`Engine::ShaNi`]), or for sixteen passwords at once ([`Engine::Avx512`]). The crates
//! `pbkdf2` and `hmac` are the portable path and the reference that the tests compare with, bit for
//! bit.

mod block;
mod lane;
#[cfg(all(feature = "simd", target_arch = "x86_64"))]
#[allow(unsafe_code)]
mod simd;

use hmac::Hmac;
use sha2::Sha256;
use zeroize::Zeroize;

use self::lane::Lane;

/// A way to compute PBKDF2. All give the same bytes; they differ in speed.
///
/// [`Engine::detect`] picks the fastest: nobody but a benchmark or a test needs to name one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// The crates `pbkdf2` and `hmac`, on any processor
    Portable,
    /// The block function of the crate `sha2`
    Block,
    /// The SHA instructions of x86-64; feature `simd`
    ShaNi,
    /// Vectors of 512 bits on x86-64, sixteen passwords at a time; feature `simd`. What is left
    /// over, and one password alone, goes to the fastest of the others.
    Avx512,
}

impl Engine {
    /// The fastest engine that this processor runs.
    #[must_use]
    pub fn detect() -> Self {
        if Self::Avx512.is_available() { Self::Avx512 } else { Self::detect_for_one() }
    }

    /// The fastest for one password.
    fn detect_for_one() -> Self {
        if Self::ShaNi.is_available() {
            Self::ShaNi
        } else if Self::Block.is_available() {
            Self::Block
        } else {
            Self::Portable
        }
    }

    /// Whether this processor, and this build, can run it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            // Measured on these two; elsewhere the crates' own path is the better known one.
            Self::Block => cfg!(any(target_arch = "x86_64", target_arch = "aarch64")),
            #[cfg(all(feature = "simd", target_arch = "x86_64"))]
            Self::ShaNi => simd::has_sha_ni(),
            #[cfg(all(feature = "simd", target_arch = "x86_64"))]
            Self::Avx512 => simd::has_avx512(),
            #[cfg(not(all(feature = "simd", target_arch = "x86_64")))]
            Self::ShaNi | Self::Avx512 => false,
        }
    }

    /// PBKDF2-HMAC-SHA-256 of one password. Fewer than one iteration counts as one, as in
    /// PostgreSQL. An engine that is not available falls back to [`Engine::Portable`].
    pub fn derive(self, password: &[u8], salt: &[u8], iterations: u32, out: &mut [u8; 32]) {
        self.derive_batch(iterations, &mut [Job { password, salt, out }]);
    }

    /// PBKDF2-HMAC-SHA-256 of many passwords, several at once where the engine can.
    pub fn derive_batch(self, iterations: u32, jobs: &mut [Job<'_>]) {
        self.run(iterations.max(1), jobs);
        erase_stack::<DERIVATION_STACK>();
    }

    fn run(self, iterations: u32, jobs: &mut [Job<'_>]) {
        match self {
            Self::Block if self.is_available() => {
                for job in jobs {
                    let mut lane = Lane::new(job.password, job.salt);
                    block::iterate(&mut lane, iterations - 1);
                    lane.write(job.out);
                }
            }
            #[cfg(all(feature = "simd", target_arch = "x86_64"))]
            Self::ShaNi if self.is_available() => simd::derive_on_sha_ni(iterations - 1, jobs),
            #[cfg(all(feature = "simd", target_arch = "x86_64"))]
            Self::Avx512 if self.is_available() => {
                let rest = simd::derive_on_avx512(iterations - 1, jobs);
                Self::detect_for_one().run(iterations, rest);
            }
            _ => {
                for job in jobs {
                    // The only error is an unfit key length, and HMAC takes any.
                    let made =
                        pbkdf2::pbkdf2::<Hmac<Sha256>>(job.password, job.salt, iterations, job.out);
                    debug_assert!(made.is_ok());
                }
            }
        }
    }
}

/// Words of 64 bits on the stack that a derivation uses: sixteen lanes, and their states and
/// schedules in vectors, take 7 KiB.
const DERIVATION_STACK: usize = 2048;

/// The same for one HMAC or hash.
pub(crate) const HASH_STACK: usize = 1024;

/// Overwrites the stack below the caller, where the functions that it called have left what the
/// compiler moved about: states that a key can be computed from, or the key.
#[inline(never)]
pub(crate) fn erase_stack<const WORDS: usize>() {
    let mut below = [0u64; WORDS];
    below.zeroize();
    std::hint::black_box(&mut below);
}

/// One password of a batch.
pub struct Job<'a> {
    /// The bytes to hash, after SASLprep
    pub password: &'a [u8],
    /// The salt's bytes
    pub salt: &'a [u8],
    /// Where the 32 bytes go
    pub out: &'a mut [u8; 32],
}

impl std::fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("salt", &self.salt).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ENGINES: [Engine; 4] = [Engine::Portable, Engine::Block, Engine::ShaNi, Engine::Avx512];

    fn reference(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
        let mut out = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut out);
        out
    }

    #[test]
    fn rfc_7914_section_11() {
        // PBKDF2-HMAC-SHA-256 (P="passwd", S="salt", c=1), first 32 of 64 bytes
        let expected = [
            0x55, 0xac, 0x04, 0x6e, 0x56, 0xe3, 0x08, 0x9f, 0xec, 0x16, 0x91, 0xc2, 0x25, 0x44,
            0xb6, 0x05, 0xf9, 0x41, 0x85, 0x21, 0x6d, 0xde, 0x04, 0x65, 0xe6, 0x8b, 0x9d, 0x57,
            0xc2, 0x0d, 0xac, 0xbc,
        ];
        for engine in ENGINES {
            for iterations in [0, 1] {
                let mut out = [0; 32];
                engine.derive(b"passwd", b"salt", iterations, &mut out);
                assert_eq!(out, expected, "{engine:?}");
            }
        }
    }

    #[test]
    fn passwords_and_salts_of_every_length() {
        let bytes: Vec<u8> = (0..=255).collect();
        for len in 0..200 {
            let (password, salt) = (&bytes[..len], &bytes[17..][..len.min(150)]);
            let expected = reference(password, salt, 3);
            for engine in ENGINES {
                let mut out = [0; 32];
                engine.derive(password, salt, 3, &mut out);
                assert_eq!(out, expected, "{engine:?} {len}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn batches_equal_the_reference(
            passwords in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..42),
            salt in prop::collection::vec(any::<u8>(), 0..70),
            iterations in 1u32..40,
        ) {
            let expected: Vec<_> =
                passwords.iter().map(|password| reference(password, &salt, iterations)).collect();
            for engine in ENGINES {
                let mut outputs = vec![[0; 32]; passwords.len()];
                let mut jobs: Vec<_> = passwords
                    .iter()
                    .zip(&mut outputs)
                    .map(|(password, out)| Job { password, salt: &salt, out })
                    .collect();
                engine.derive_batch(iterations, &mut jobs);
                prop_assert_eq!(&outputs, &expected, "{:?}", engine);
            }
        }
    }
}
