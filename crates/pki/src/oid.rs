//! Object identifiers, kept as their DER contents.

use std::fmt;

/// An object identifier (ITU-T X.660), such as `2.5.29.17` for the subject alternative name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(Vec<u8>);

impl Oid {
    /// An identifier from the contents octets of its DER encoding. Any octets are accepted: what
    /// no arcs can be read from is shown in hexadecimal.
    #[must_use]
    pub fn from_der_contents(contents: &[u8]) -> Self {
        Self(contents.to_vec())
    }

    /// The contents octets of the DER encoding.
    #[must_use]
    pub fn as_der_contents(&self) -> &[u8] {
        &self.0
    }

    /// The name that RFC 5280 gives to this extension, usage, attribute or algorithm, for messages.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        NAMES.iter().find(|(contents, _)| *contents == self.0).map(|(_, name)| *name)
    }

    fn arcs(&self) -> Option<Vec<u64>> {
        let mut arcs = Vec::new();
        let mut value: u64 = 0;
        let mut open = false;
        for &octet in &self.0 {
            value = value.checked_mul(128)?.checked_add(u64::from(octet & 0x7f))?;
            open = octet & 0x80 != 0;
            if !open {
                if arcs.is_empty() {
                    let first = (value / 40).min(2);
                    arcs.push(first);
                    value -= first * 40;
                }
                arcs.push(value);
                value = 0;
            }
        }
        (!open && !arcs.is_empty()).then_some(arcs)
    }
}

impl PartialEq<[u8]> for Oid {
    fn eq(&self, contents: &[u8]) -> bool {
        self.0 == contents
    }
}

impl PartialEq<&[u8]> for Oid {
    fn eq(&self, contents: &&[u8]) -> bool {
        self.0 == *contents
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(arcs) = self.arcs() {
            for (position, arc) in arcs.iter().enumerate() {
                write!(f, "{}{arc}", if position == 0 { "" } else { "." })?;
            }
            return Ok(());
        }
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{self} ({name})"),
            None => fmt::Display::fmt(self, f),
        }
    }
}

macro_rules! oids {
    ($($(#[$doc:meta])* $constant:ident = $contents:expr, $name:literal;)*) => {
        $($(#[$doc])* pub(crate) const $constant: &[u8] = &$contents;)*
        const NAMES: &[(&[u8], &str)] = &[$(($constant, $name)),*];
    };
}

oids! {
    // certificate extensions
    SUBJECT_KEY_ID = [0x55, 0x1d, 0x0e], "subjectKeyIdentifier";
    KEY_USAGE = [0x55, 0x1d, 0x0f], "keyUsage";
    SUBJECT_ALT_NAME = [0x55, 0x1d, 0x11], "subjectAltName";
    ISSUER_ALT_NAME = [0x55, 0x1d, 0x12], "issuerAltName";
    BASIC_CONSTRAINTS = [0x55, 0x1d, 0x13], "basicConstraints";
    CRL_NUMBER = [0x55, 0x1d, 0x14], "cRLNumber";
    CRL_REASON = [0x55, 0x1d, 0x15], "reasonCode";
    DELTA_CRL = [0x55, 0x1d, 0x1b], "deltaCRLIndicator";
    ISSUING_DISTRIBUTION_POINT = [0x55, 0x1d, 0x1c], "issuingDistributionPoint";
    CERTIFICATE_ISSUER = [0x55, 0x1d, 0x1d], "certificateIssuer";
    NAME_CONSTRAINTS = [0x55, 0x1d, 0x1e], "nameConstraints";
    CRL_DISTRIBUTION_POINTS = [0x55, 0x1d, 0x1f], "cRLDistributionPoints";
    CERTIFICATE_POLICIES = [0x55, 0x1d, 0x20], "certificatePolicies";
    POLICY_MAPPINGS = [0x55, 0x1d, 0x21], "policyMappings";
    AUTHORITY_KEY_ID = [0x55, 0x1d, 0x23], "authorityKeyIdentifier";
    POLICY_CONSTRAINTS = [0x55, 0x1d, 0x24], "policyConstraints";
    EXTENDED_KEY_USAGE = [0x55, 0x1d, 0x25], "extendedKeyUsage";
    INHIBIT_ANY_POLICY = [0x55, 0x1d, 0x36], "inhibitAnyPolicy";
    AUTHORITY_INFO_ACCESS = [0x2b, 6, 1, 5, 5, 7, 1, 1], "authorityInfoAccess";
    IP_ADDRESS_BLOCKS = [0x2b, 6, 1, 5, 5, 7, 1, 7], "ipAddrBlocks";
    AUTONOMOUS_SYSTEMS = [0x2b, 6, 1, 5, 5, 7, 1, 8], "autonomousSysIds";
    PROXY_CERT_INFO = [0x2b, 6, 1, 5, 5, 7, 1, 14], "proxyCertInfo";
    OCSP_NO_CHECK = [0x2b, 6, 1, 5, 5, 7, 48, 1, 5], "id-pkix-ocsp-nocheck";
    NETSCAPE_CERT_TYPE = [0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 1, 1], "nsCertType";
    // extended key usages
    ANY_EXTENDED_KEY_USAGE = [0x55, 0x1d, 0x25, 0], "anyExtendedKeyUsage";
    SERVER_AUTH = [0x2b, 6, 1, 5, 5, 7, 3, 1], "serverAuth";
    CLIENT_AUTH = [0x2b, 6, 1, 5, 5, 7, 3, 2], "clientAuth";
    MICROSOFT_SGC = [0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3], "msSGC";
    NETSCAPE_SGC = [0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1], "nsSGC";
    // name attributes
    COMMON_NAME = [0x55, 4, 3], "CN";
    SURNAME = [0x55, 4, 4], "SN";
    SERIAL_NUMBER = [0x55, 4, 5], "serialNumber";
    COUNTRY = [0x55, 4, 6], "C";
    LOCALITY = [0x55, 4, 7], "L";
    STATE = [0x55, 4, 8], "ST";
    STREET = [0x55, 4, 9], "street";
    ORGANIZATION = [0x55, 4, 10], "O";
    ORGANIZATIONAL_UNIT = [0x55, 4, 11], "OU";
    TITLE = [0x55, 4, 12], "title";
    GIVEN_NAME = [0x55, 4, 42], "GN";
    USER_ID = [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID";
    DOMAIN_COMPONENT = [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC";
    EMAIL_ADDRESS = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 9, 1], "emailAddress";
    // other names
    SMTP_UTF8_MAILBOX = [0x2b, 6, 1, 5, 5, 7, 8, 9], "SmtpUTF8Mailbox";
    // public keys
    RSA_ENCRYPTION = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1], "rsaEncryption";
    EC_PUBLIC_KEY = [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], "id-ecPublicKey";
    DSA = [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], "dsa";
    ED25519 = [0x2b, 0x65, 112], "Ed25519";
    ED448 = [0x2b, 0x65, 113], "Ed448";
    P192 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 1], "P-192";
    P224 = [0x2b, 0x81, 4, 0, 33], "P-224";
    P256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "P-256";
    P384 = [0x2b, 0x81, 4, 0, 34], "P-384";
    P521 = [0x2b, 0x81, 4, 0, 35], "P-521";
    SECP256K1 = [0x2b, 0x81, 4, 0, 10], "secp256k1";
    // signatures
    MD5_WITH_RSA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 4], "md5WithRSAEncryption";
    SHA1_WITH_RSA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 5], "sha1WithRSAEncryption";
    RSA_PSS = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 10], "rsassaPss";
    SHA256_WITH_RSA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 11], "sha256WithRSAEncryption";
    SHA384_WITH_RSA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 12], "sha384WithRSAEncryption";
    SHA512_WITH_RSA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 13], "sha512WithRSAEncryption";
    SHA224_WITH_RSA = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 14], "sha224WithRSAEncryption";
    ECDSA_WITH_SHA1 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], "ecdsa-with-SHA1";
    ECDSA_WITH_SHA224 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1], "ecdsa-with-SHA224";
    ECDSA_WITH_SHA256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], "ecdsa-with-SHA256";
    ECDSA_WITH_SHA384 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], "ecdsa-with-SHA384";
    ECDSA_WITH_SHA512 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], "ecdsa-with-SHA512";
    SHA3_224_WITH_RSA = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 13], "rsassa-pkcs1-v1-5-with-sha3-224";
    SHA3_256_WITH_RSA = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 14], "rsassa-pkcs1-v1-5-with-sha3-256";
    SHA3_384_WITH_RSA = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 15], "rsassa-pkcs1-v1-5-with-sha3-384";
    SHA3_512_WITH_RSA = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 16], "rsassa-pkcs1-v1-5-with-sha3-512";
    DSA_WITH_SHA1 = [0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3], "dsa-with-SHA1";
    DSA_WITH_SHA256 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2], "dsa-with-SHA256";
    // digests
    MD5 = [0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 2, 5], "MD5";
    SHA1 = [0x2b, 14, 3, 2, 26], "SHA-1";
    SHA224 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 4], "SHA-224";
    SHA256 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], "SHA-256";
    SHA384 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], "SHA-384";
    SHA512 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], "SHA-512";
    SHA512_256 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 6], "SHA-512/256";
    SHA3_224 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 7], "SHA3-224";
    SHA3_256 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 8], "SHA3-256";
    SHA3_384 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 9], "SHA3-384";
    SHA3_512 = [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 10], "SHA3-512";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_with_dots() {
        for (contents, text) in [
            (SUBJECT_ALT_NAME, "2.5.29.17"),
            (SERVER_AUTH, "1.3.6.1.5.5.7.3.1"),
            (RSA_PSS, "1.2.840.113549.1.1.10"),
            (DOMAIN_COMPONENT, "0.9.2342.19200300.100.1.25"),
            (&[0x88, 0x37][..], "2.999"),
        ] {
            assert_eq!(Oid::from_der_contents(contents).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_identifier_is_shown_in_hexadecimal() {
        for (contents, text) in
            [(&[][..], ""), (&[0x55, 0x9d], "559d"), (&[0xff; 12], "ffffffffffffffffffffffff")]
        {
            assert_eq!(Oid::from_der_contents(contents).to_string(), text);
        }
    }
}
