//! PEM files: several blocks with text between them, as administrators concatenate them.

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::error::Error;

/// What a PEM block holds, by its label (RFC 7468 and OpenSSL's older names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `CERTIFICATE`, also `X509 CERTIFICATE` and `TRUSTED CERTIFICATE` of OpenSSL.
    Certificate,
    /// `X509 CRL`
    Crl,
    /// `CERTIFICATE REQUEST`, also `NEW CERTIFICATE REQUEST`.
    Request,
    /// `PRIVATE KEY` (PKCS#8), `EC PRIVATE KEY` (SEC 1) or `RSA PRIVATE KEY` (PKCS#1).
    PrivateKey,
    /// `ENCRYPTED PRIVATE KEY` (PKCS#8), or an older key with a `Proc-Type: 4,ENCRYPTED` header.
    EncryptedPrivateKey,
    /// Anything else, such as `EC PARAMETERS` or `DH PARAMETERS`.
    Other,
}

/// One block of a PEM file. Its contents are cleared from memory when it is dropped.
#[derive(Clone)]
pub struct Block {
    /// What the label says it is.
    pub kind: Kind,
    /// The label, such as `CERTIFICATE`.
    pub label: String,
    /// The line of `-----BEGIN`, the first is 1.
    pub line: usize,
    contents: Zeroizing<Vec<u8>>,
}

impl Block {
    /// The decoded contents: DER.
    #[must_use]
    pub fn contents(&self) -> &[u8] {
        &self.contents
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("label", &self.label)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// Reads every PEM block of `input`. Text before, between and after the blocks is passed over, as
/// `openssl x509 -text` writes it and as OpenSSL itself reads it; line ends may be CR LF.
///
/// # Errors
/// [`Error::Pem`] for a block that has no end, or whose contents are not base64.
pub fn read(input: &[u8]) -> Result<Vec<Block>, Error> {
    let mut blocks = Vec::new();
    let mut begin: Option<(usize, usize, &[u8])> = None;
    let mut offset = 0;
    for (position, line) in input.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let start = offset;
        offset += line.len();
        let text = line.trim_ascii_end();
        if begin.is_none() {
            if let Some(label) = label(text, b"-----BEGIN ") {
                begin = Some((position + 1, start, label));
            }
        } else if let Some((first, from, opened)) = begin
            && let Some(closed) = label(text, b"-----END ")
        {
            if opened != closed {
                let reason = format!(
                    "it is closed as {} in line {}",
                    String::from_utf8_lossy(closed),
                    position + 1
                );
                return Err(Error::Pem { line: first, reason });
            }
            blocks.push(block(first, &input[from..offset])?);
            begin = None;
        }
    }
    match begin {
        Some((line, ..)) => Err(Error::Pem { line, reason: "it has no end".to_owned() }),
        None => Ok(blocks),
    }
}

fn label<'a>(line: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    line.strip_prefix(prefix)?.strip_suffix(b"-----")
}

fn block(line: usize, text: &[u8]) -> Result<Block, Error> {
    let parsed = pem::parse(text).map_err(|error| {
        // Only the kinds that cannot quote the contents.
        let reason = match error {
            pem::PemError::InvalidData(_) => "its contents are not base64".to_owned(),
            other => other.to_string(),
        };
        Error::Pem { line, reason }
    })?;
    let encrypted =
        parsed.headers().get("Proc-Type").is_some_and(|value| value.contains("ENCRYPTED"));
    let label = parsed.tag().to_owned();
    let kind = match label.as_str() {
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Kind::Certificate,
        "X509 CRL" => Kind::Crl,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Kind::Request,
        "ENCRYPTED PRIVATE KEY" => Kind::EncryptedPrivateKey,
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" if encrypted => {
            Kind::EncryptedPrivateKey
        }
        "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => Kind::PrivateKey,
        _ => Kind::Other,
    };
    Ok(Block { kind, label, line, contents: Zeroizing::new(parsed.into_contents()) })
}

/// The first block of `kind`, or an error that says what is there instead.
pub(crate) fn first(input: &[u8], kind: Kind, wanted: &'static str) -> Result<Block, Error> {
    let blocks = read(input)?;
    let found = blocks.iter().map(|block| block.label.clone()).collect();
    blocks.into_iter().find(|block| block.kind == kind).ok_or(Error::Missing { wanted, found })
}

/// Frames DER as PEM with lines of 64 characters and LF, as OpenSSL writes it.
pub(crate) fn write(label: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(label, der), config)
}

/// The same for a secret: what is written is cleared when dropped, and so is the copy of `der`
/// that the encoder needs.
pub(crate) fn write_secret(label: &str, der: &[u8]) -> Zeroizing<String> {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let frame = pem::Pem::new(label, der);
    let text = Zeroizing::new(pem::encode_config(&frame, config));
    frame.into_contents().zeroize();
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";

    #[test]
    fn text_between_blocks_and_crlf() {
        let heap = format!("subject: x\r\n{}\nmore\n{BLOCK}trailing", BLOCK.replace('\n', "\r\n"));
        let blocks = read(heap.as_bytes()).unwrap();
        assert_eq!(blocks.iter().map(|block| block.line).collect::<Vec<_>>(), [2, 7]);
        assert!(blocks.iter().all(|block| block.contents() == [0, 1, 2]));
    }

    #[test]
    fn damage_is_told_with_its_line() {
        for (text, message) in [
            (
                "\n-----BEGIN X-----\nAAEC\n",
                "the PEM block that begins in line 2 is damaged: it has no end",
            ),
            (
                "-----BEGIN X-----\nAAEC\n-----END Y-----\n",
                "the PEM block that begins in line 1 is damaged: it is closed as Y in line 3",
            ),
            (
                "-----BEGIN X-----\n!!\n-----END X-----\n",
                "the PEM block that begins in line 1 is damaged: its contents are not base64",
            ),
        ] {
            assert_eq!(read(text.as_bytes()).unwrap_err().to_string(), message);
        }
        assert_eq!(
            first(BLOCK.as_bytes(), Kind::PrivateKey, "private key").unwrap_err().to_string(),
            "no private key found, only CERTIFICATE"
        );
        assert_eq!(
            first(b"", Kind::PrivateKey, "private key").unwrap_err().to_string(),
            "no private key found: there is no PEM block at all"
        );
    }

    #[test]
    fn contents_are_not_shown() {
        let block = read(BLOCK.as_bytes()).unwrap().remove(0);
        assert!(!format!("{block:?}").contains('0'), "{block:?}");
        assert_eq!(write("CERTIFICATE", &[0, 1, 2]), BLOCK);
        assert_eq!(write_secret("CERTIFICATE", &[0, 1, 2]).as_str(), BLOCK);
    }
}
