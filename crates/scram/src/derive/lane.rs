//! One PBKDF2 in progress, as SHA-256 states.

use sha2::{Digest, Sha256, block_api::compress256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The eight words of a SHA-256 state, or of a digest.
pub(super) type Words = [u32; 8];

const BLOCK: usize = 64;

/// FIPS 180-4, section 5.3.3.
const INITIAL: Words = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// State of one password's derivation after its first iteration.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Lane {
    /// SHA-256 after the key's inner pad
    pub(super) inner: Words,
    /// SHA-256 after the key's outer pad
    pub(super) outer: Words,
    /// U of the last iteration
    pub(super) u: Words,
    /// All U so far, exclusive or
    pub(super) sum: Words,
}

impl Lane {
    /// Pads the key and runs the first iteration, whose message (salt, block number 1) is the
    /// only one that is not 32 bytes long.
    pub(super) fn new(password: &[u8], salt: &[u8]) -> Self {
        let mut key = Zeroizing::new([0; BLOCK]);
        match key.get_mut(..password.len()) {
            Some(start) => start.copy_from_slice(password),
            None => {
                let mut digest = Sha256::digest(password);
                key.iter_mut().zip(&digest).for_each(|(to, from)| *to = *from);
                digest.zeroize();
            }
        }
        let mut lane = Self { inner: INITIAL, outer: INITIAL, u: [0; 8], sum: [0; 8] };
        key.iter_mut().for_each(|byte| *byte ^= 0x36);
        compress256(&mut lane.inner, &[*key]);
        key.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
        compress256(&mut lane.outer, &[*key]);

        lane.u = lane.inner;
        absorb_salt(&mut lane.u, salt);
        let mut block = digest_block(&lane.u);
        lane.u = lane.outer;
        compress256(&mut lane.u, &[*block]);
        block.zeroize();
        lane.sum = lane.u;
        lane
    }

    /// A lane with no password, where there are more lanes than passwords.
    #[cfg(all(feature = "simd", target_arch = "x86_64"))]
    pub(super) const fn idle() -> Self {
        Self { inner: [0; 8], outer: [0; 8], u: [0; 8], sum: [0; 8] }
    }

    /// The derived key.
    pub(super) fn write(&self, out: &mut [u8; 32]) {
        for (bytes, word) in out.chunks_exact_mut(4).zip(&self.sum) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
    }
}

/// Hashes salt, block number and SHA-256's padding into the state after the inner pad.
fn absorb_salt(state: &mut Words, salt: &[u8]) {
    let bits = (BLOCK + salt.len() + 4) as u64 * 8;
    let filled = salt.len() + 4 + 1 + 8;
    let zeros = filled.next_multiple_of(BLOCK) - filled;
    let mut message = salt
        .iter()
        .copied()
        .chain(1u32.to_be_bytes())
        .chain([0x80])
        .chain(std::iter::repeat_n(0, zeros))
        .chain(bits.to_be_bytes());
    loop {
        let mut block = [0; BLOCK];
        let taken = block.iter_mut().zip(message.by_ref()).map(|(to, byte)| *to = byte).count();
        if taken == 0 {
            break;
        }
        compress256(state, &[block]);
    }
}

/// The padded block for a message of a digest that follows a key pad: 32 bytes, 96 in all.
pub(super) fn digest_block(digest: &Words) -> Zeroizing<[u8; BLOCK]> {
    let mut block = Zeroizing::new([0; BLOCK]);
    put_words(&mut block, digest);
    if let [.., hi, lo] = &mut block[..] {
        [*hi, *lo] = (96u16 * 8).to_be_bytes();
    }
    block[32] = 0x80;
    block
}

/// Writes the digest over the first half of a block.
pub(super) fn put_words(block: &mut [u8; BLOCK], digest: &Words) {
    for (bytes, word) in block.chunks_exact_mut(4).zip(digest) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
}
