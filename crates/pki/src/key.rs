//! Private keys, which never show themselves.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self as math, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use rcgen::PublicKeyData;
use rustls_pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::error::Error;
use crate::pem::{self, Kind};
use crate::signature::{Curve, Hash, KeyKind, PublicKey, SignatureAlgorithm};

/// What kind of key to make.
///
/// | kind | server and client certificates | certificate authority |
/// |-|-|-|
/// | ECDSA P-256, P-384 | accepted by everything | accepted by everything |
/// | ECDSA P-521 | accepted by PostgreSQL and rustls with aws-lc | the same |
/// | RSA 2048 and up | accepted by everything | accepted by everything |
/// | Ed25519 | accepted by OpenSSL 1.1.1 and up, and rustls | **not** where passwords are SCRAM: see [`KeyAlgorithm::scram_refusal`] |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyAlgorithm {
    /// ECDSA on the curve P-256, signing with SHA-256. The default: fastest to make and to use.
    #[default]
    EcdsaP256,
    /// ECDSA on the curve P-384, signing with SHA-384.
    EcdsaP384,
    /// ECDSA on the curve P-521, signing with SHA-512.
    EcdsaP521,
    /// RSA with 2048 bits, signing with SHA-256.
    Rsa2048,
    /// RSA with 3072 bits, signing with SHA-256.
    Rsa3072,
    /// RSA with 4096 bits, signing with SHA-256.
    Rsa4096,
    /// Ed25519.
    Ed25519,
}

impl KeyAlgorithm {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Ed25519,
    ];

    /// Why a certificate authority must not have such a key where clients log in with SCRAM, or
    /// `None` if it may.
    ///
    /// `tls-server-end-point` (RFC 5929) hashes the server's certificate with the digest of its
    /// signature, which an Ed25519 signature does not have. A server offers SCRAM-SHA-256-PLUS all
    /// the same, libpq takes it up, and the login fails with `could not find digest for NID UNDEF`.
    #[must_use]
    pub const fn scram_refusal(self) -> Option<&'static str> {
        match self {
            Self::Ed25519 => Some(
                "certificates that an Ed25519 key has signed have no digest for the channel \
                 binding tls-server-end-point, so every SCRAM login over TLS fails with \"could \
                 not find digest for NID UNDEF\"",
            ),
            _ => None,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::EcdsaP521 => "ecdsa-p521",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::Ed25519 => "ed25519",
        })
    }
}

impl std::str::FromStr for KeyAlgorithm {
    type Err = Error;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|algorithm| algorithm.to_string() == text).ok_or_else(|| {
            let known = Self::ALL.map(|algorithm| algorithm.to_string()).join(", ");
            Error::Refused(format!("{text:?} is no kind of key: there are {known}"))
        })
    }
}

/// A private key.
///
/// The encoded key is cleared from memory when the last copy is dropped, and neither
/// [`Debug`](fmt::Debug) nor an error shows any of it.
///
/// ```
/// use pki::{KeyAlgorithm, PrivateKey};
///
/// let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
/// let again = PrivateKey::from_pem(key.to_pem().as_bytes())?;
/// assert_eq!(key.public_key(), again.public_key());
/// assert_eq!(format!("{key:?}"), "PrivateKey(ECDSA P-256)");
/// # Ok::<(), pki::Error>(())
/// ```
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    /// As it was read or made: PKCS#8, SEC 1 or PKCS#1.
    der: Zeroizing<Vec<u8>>,
    encoding: Encoding,
    pair: Pair,
    public: PublicKey,
    signer: &'static rcgen::SignatureAlgorithm,
}

#[derive(Clone, Copy)]
enum Encoding {
    Pkcs8,
    Sec1,
    Pkcs1,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

const CURVES: [(&EcdsaSigningAlgorithm, &rcgen::SignatureAlgorithm); 3] = [
    (&math::ECDSA_P256_SHA256_ASN1_SIGNING, &rcgen::PKCS_ECDSA_P256_SHA256),
    (&math::ECDSA_P384_SHA384_ASN1_SIGNING, &rcgen::PKCS_ECDSA_P384_SHA384),
    (&math::ECDSA_P521_SHA512_ASN1_SIGNING, &rcgen::PKCS_ECDSA_P521_SHA512),
];

impl PrivateKey {
    /// Makes a new key from the system's random numbers.
    ///
    /// # Errors
    /// [`Error::Make`] if the crypto library fails, which it does not unless the system has no
    /// random numbers.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, Error> {
        let fail = |_| Error::Make { what: "key", reason: "the crypto library failed".to_owned() };
        let rsa = |size| -> Result<Self, Error> {
            let pair = RsaKeyPair::generate(size).map_err(fail)?;
            let der = Zeroizing::new(pair.as_der().map_err(fail)?.as_ref().to_vec());
            Self::new(der, Encoding::Pkcs8, Pair::Rsa(pair), &rcgen::PKCS_RSA_SHA256)
        };
        let ecdsa = |curve: usize| -> Result<Self, Error> {
            let (algorithm, signer) = CURVES[curve];
            let pair = EcdsaKeyPair::generate(algorithm).map_err(fail)?;
            let document = pair.to_pkcs8v1().map_err(fail)?;
            let der = Zeroizing::new(document.as_ref().to_vec());
            Self::new(der, Encoding::Pkcs8, Pair::Ecdsa(pair), signer)
        };
        match algorithm {
            KeyAlgorithm::EcdsaP256 => ecdsa(0),
            KeyAlgorithm::EcdsaP384 => ecdsa(1),
            KeyAlgorithm::EcdsaP521 => ecdsa(2),
            KeyAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyAlgorithm::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(fail)?;
                // Without the public key, which OpenSSL 1.1.1 cannot read in a PKCS#8 of version 2.
                let document = pair.to_pkcs8v1().map_err(fail)?;
                let der = Zeroizing::new(document.as_ref().to_vec());
                Self::new(der, Encoding::Pkcs8, Pair::Ed25519(pair), &rcgen::PKCS_ED25519)
            }
        }
    }

    fn new(
        der: Zeroizing<Vec<u8>>,
        encoding: Encoding,
        pair: Pair,
        signer: &'static rcgen::SignatureAlgorithm,
    ) -> Result<Self, Error> {
        let info = Public { pair: &pair, signer }.subject_public_key_info();
        let public = PublicKey::from_der(&info)
            .ok_or_else(|| Error::Key("its public key cannot be read".to_owned()))?;
        Ok(Self(Arc::new(Inner { der, encoding, pair, public, signer })))
    }

    /// Reads the first private key of a PEM file: PKCS#8 (`PRIVATE KEY`), SEC 1 (`EC PRIVATE KEY`)
    /// or PKCS#1 (`RSA PRIVATE KEY`).
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::Missing`] and [`Error::Key`]; [`Error::EncryptedKey`] for a key
    /// under a pass phrase.
    pub fn from_pem(text: &[u8]) -> Result<Self, Error> {
        match pem::first(text, Kind::PrivateKey, "private key") {
            Ok(block) => Self::from_der(block.contents()),
            Err(Error::Missing { .. })
                if pem::read(text)?.iter().any(|block| block.kind == Kind::EncryptedPrivateKey) =>
            {
                Err(Error::EncryptedKey("a pass phrase is needed to read it".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the first private key of a PEM file that is encrypted under a pass phrase
    /// (`ENCRYPTED PRIVATE KEY`, PKCS#8 with PBES2: what `openssl pkcs8 -topk8` and `openssl genpkey
    /// -aes256` write, also with the triple DES and the SHA-1 of old ones).
    ///
    /// # Errors
    /// [`Error::EncryptedKey`] for the wrong pass phrase or an encryption that is not known; else as
    /// [`PrivateKey::from_pem`].
    #[cfg(feature = "encrypted-keys")]
    pub fn from_encrypted_pem(text: &[u8], pass_phrase: &[u8]) -> Result<Self, Error> {
        let block = pem::first(text, Kind::EncryptedPrivateKey, "encrypted private key")?;
        if block.label != "ENCRYPTED PRIVATE KEY" {
            let words = "it is in OpenSSL's old format: convert it with openssl pkcs8 -topk8";
            return Err(Error::EncryptedKey(words.to_owned()));
        }
        let document = crate::encrypted_key::decrypt(block.contents(), pass_phrase)?;
        Self::from_der(document.as_bytes())
    }

    /// Reads a private key from DER: PKCS#8, SEC 1 or PKCS#1.
    ///
    /// # Errors
    /// [`Error::Key`] if it is none, or of a kind that is not known here.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let kind = PrivateKeyDer::try_from(der)
            .map_err(|_| Error::Key("the bytes are neither PKCS#8, SEC 1 nor PKCS#1".to_owned()))?;
        let encoding = match kind {
            PrivateKeyDer::Sec1(_) => Encoding::Sec1,
            PrivateKeyDer::Pkcs1(_) => Encoding::Pkcs1,
            _ => Encoding::Pkcs8,
        };
        let kept = Zeroizing::new(der.to_vec());
        if !matches!(encoding, Encoding::Pkcs1) {
            for (algorithm, signer) in CURVES {
                if let Ok(pair) = EcdsaKeyPair::from_private_key_der(algorithm, der) {
                    return Self::new(kept, encoding, Pair::Ecdsa(pair), signer);
                }
            }
            if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                return Self::new(kept, encoding, Pair::Ed25519(pair), &rcgen::PKCS_ED25519);
            }
        }
        let rsa = match encoding {
            Encoding::Pkcs1 => RsaKeyPair::from_der(der),
            _ => RsaKeyPair::from_pkcs8(der),
        };
        match rsa {
            Ok(pair) => Self::new(kept, encoding, Pair::Rsa(pair), &rcgen::PKCS_RSA_SHA256),
            Err(error) => Err(Error::Key(format!(
                "it is none of ECDSA P-256, P-384, P-521, Ed25519 and RSA of 2048 to 8192 bits \
                 ({error})"
            ))),
        }
    }

    /// The key as PEM, unencrypted, for a file that only its owner may read.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let label = match self.0.encoding {
            Encoding::Pkcs8 => "PRIVATE KEY",
            Encoding::Sec1 => "EC PRIVATE KEY",
            Encoding::Pkcs1 => "RSA PRIVATE KEY",
        };
        pem::write_secret(label, &self.0.der)
    }

    /// The key as rustls takes it. rustls clears its copy itself.
    #[must_use]
    pub fn to_rustls(&self) -> PrivateKeyDer<'static> {
        let der = self.0.der.to_vec();
        match self.0.encoding {
            Encoding::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
            Encoding::Sec1 => PrivateKeyDer::Sec1(der.into()),
            Encoding::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
        }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public
    }

    /// Whether `certificate` was made for this key. A server with another one does not start
    /// (`key values mismatch`), or keeps its old one at a reload.
    #[must_use]
    pub fn matches(&self, certificate: &Certificate) -> bool {
        self.0.public.as_der() == certificate.public_key().as_der()
    }

    /// What kind of key it is, `None` for one that is not made here, such as RSA with 1536 bits.
    #[must_use]
    pub fn algorithm(&self) -> Option<KeyAlgorithm> {
        Some(match self.public_key().kind() {
            KeyKind::Ec(Curve::P256) => KeyAlgorithm::EcdsaP256,
            KeyKind::Ec(Curve::P384) => KeyAlgorithm::EcdsaP384,
            KeyKind::Ec(Curve::P521) => KeyAlgorithm::EcdsaP521,
            KeyKind::Rsa { bits: 2048 } => KeyAlgorithm::Rsa2048,
            KeyKind::Rsa { bits: 3072 } => KeyAlgorithm::Rsa3072,
            KeyKind::Rsa { bits: 4096 } => KeyAlgorithm::Rsa4096,
            KeyKind::Ed25519 => KeyAlgorithm::Ed25519,
            _ => return None,
        })
    }

    /// How this key signs certificates.
    #[must_use]
    pub fn signature_algorithm(&self) -> SignatureAlgorithm {
        match self.0.pair {
            Pair::Ed25519(_) => SignatureAlgorithm::Ed25519,
            Pair::Rsa(_) => SignatureAlgorithm::Rsa(Hash::Sha256),
            Pair::Ecdsa(_) if *self.0.signer == rcgen::PKCS_ECDSA_P384_SHA384 => {
                SignatureAlgorithm::Ecdsa(Hash::Sha384)
            }
            Pair::Ecdsa(_) if *self.0.signer == rcgen::PKCS_ECDSA_P521_SHA512 => {
                SignatureAlgorithm::Ecdsa(Hash::Sha512)
            }
            Pair::Ecdsa(_) => SignatureAlgorithm::Ecdsa(Hash::Sha256),
        }
    }
}

/// The public half of a pair, before there is a [`PublicKey`] of it.
struct Public<'a> {
    pair: &'a Pair,
    signer: &'static rcgen::SignatureAlgorithm,
}

impl PublicKeyData for Public<'_> {
    fn der_bytes(&self) -> &[u8] {
        match self.pair {
            Pair::Ecdsa(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.signer
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public.bits()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        self.0.signer
    }
}

impl rcgen::SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let random = SystemRandom::new();
        let failed = |_| rcgen::Error::RingUnspecified;
        match &self.0.pair {
            Pair::Ecdsa(pair) => {
                pair.sign(&random, message).map(|made| made.as_ref().to_vec()).map_err(failed)
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&math::RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.0.public.kind())
    }
}
