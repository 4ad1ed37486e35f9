//! Private keys under a pass phrase (PKCS#8, RFC 5958 section 3).

use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};

use crate::error::Error;

/// The most rounds of PBKDF2 that are done: a few seconds.
const MOST_ROUNDS: u32 = 10_000_000;
/// The most memory that scrypt gets, and the most work, in octets mixed.
const MOST_MEMORY: u64 = 1 << 30;

/// The key inside, a PKCS#8 document in the clear, which is cleared from memory when it is dropped.
///
/// # Errors
/// [`Error::EncryptedKey`]
pub(crate) fn decrypt(der: &[u8], pass_phrase: &[u8]) -> Result<SecretDocument, Error> {
    let refuse = |words: &str| Error::EncryptedKey(words.to_owned());
    let unknown = || {
        refuse(
            "it is damaged, or encrypted in a way that is not known here: convert it with openssl \
             pkcs8 -topk8 -v2 aes-256-cbc",
        )
    };
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| unknown())?;
    let parameters = encrypted.encryption_algorithm.pbes2().ok_or_else(unknown)?;
    if !is_bearable(&parameters.kdf) {
        return Err(refuse("its pass phrase is to be hashed more often than anybody waits for"));
    }
    encrypted
        .decrypt(pass_phrase)
        .map_err(|_| refuse("the pass phrase is not the right one, or the key is damaged"))
}

/// Whether a key is derived in bearable time and memory, whoever wrote the file.
fn is_bearable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Pbkdf2(parameters) => parameters.iteration_count <= MOST_ROUNDS,
        Kdf::Scrypt(parameters) => {
            let memory = parameters
                .cost_parameter
                .checked_mul(128)
                .and_then(|memory| memory.checked_mul(parameters.block_size.into()));
            let work =
                memory.and_then(|memory| memory.checked_mul(parameters.parallelization.into()));
            work.is_some_and(|work| work <= MOST_MEMORY)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use pkcs8::pkcs5::pbes2::{Pbkdf2Params, ScryptParams};

    use super::*;

    #[test]
    fn work_without_end_is_refused() {
        let pbkdf2 = |rounds| Pbkdf2Params::hmac_sha256(rounds, &[0; 8]).unwrap();
        assert!(is_bearable(&pbkdf2(600_000).into()));
        assert!(!is_bearable(&pbkdf2(100_000_000).into()));
        for (cost_parameter, block_size, parallelization, bearable) in [
            (1 << 14, 8, 1, true),
            (1 << 20, 8, 1, true),
            (1 << 30, 8, 1, false),
            (1 << 63, u16::MAX, u16::MAX, false),
            (1 << 14, 8, 1000, false),
        ] {
            let salt = pbkdf2(1).salt;
            let key_length = None;
            let scrypt =
                ScryptParams { salt, cost_parameter, block_size, parallelization, key_length };
            assert_eq!(is_bearable(&scrypt.into()), bearable, "{cost_parameter}");
        }
    }
}
