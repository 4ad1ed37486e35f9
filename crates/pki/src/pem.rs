//! PEM files: several blocks with text between them, as administrators concatenate them.
//!
//! What is a block, and what spoils one, is OpenSSL's reading (`PEM_read_bio`). The crate pem quotes in
//! its errors what it cannot read, and copies keys into memory that nobody clears; so only the base64
//! is left to a library.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::Error;

/// How many octets make a line of 64 digits.
const OCTETS_A_LINE: usize = 48;

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
                begin = Some((position + 1, offset, label));
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
            blocks.push(block(first, opened, &input[from..start])?);
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

/// The block of which `lines` are those between the frame's two.
fn block(line: usize, label: &[u8], lines: &[u8]) -> Result<Block, Error> {
    let damaged = |reason: &str| Error::Pem { line, reason: reason.to_owned() };
    let label = String::from_utf8_lossy(label).into_owned();
    let (headers, body) = split_headers(lines);
    let is_key = matches!(label.as_str(), "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY");
    let encrypted = is_key
        && headers.starts_with(b"Proc-Type:")
        && headers.windows(9).any(|window| window == b"ENCRYPTED");
    let kind = match label.as_str() {
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Kind::Certificate,
        "X509 CRL" => Kind::Crl,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Kind::Request,
        "ENCRYPTED PRIVATE KEY" => Kind::EncryptedPrivateKey,
        _ if encrypted => Kind::EncryptedPrivateKey,
        _ if is_key => Kind::PrivateKey,
        _ => Kind::Other,
    };
    if !headers.is_empty() && !encrypted && kind != Kind::Other {
        return Err(damaged("it has headers or an empty line, which OpenSSL does not read"));
    }
    let contents = decode(body).ok_or_else(|| damaged("its contents are not base64"))?;
    Ok(Block { kind, label, line, contents })
}

/// Headers (RFC 1421) end with an empty line. Without one, everything is contents.
fn split_headers(lines: &[u8]) -> (&[u8], &[u8]) {
    let mut offset = 0;
    for line in lines.split_inclusive(|octet| *octet == b'\n') {
        let start = offset;
        offset += line.len();
        if line.trim_ascii().is_empty() {
            return (&lines[..start], &lines[offset..]);
        }
    }
    (&[], lines)
}

/// Decodes base64 with white space anywhere in it, but no empty line. No copy of it is left in
/// memory, for it may be a key.
fn decode(body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if body.split_inclusive(|octet| *octet == b'\n').any(|line| line.trim_ascii().is_empty()) {
        return None;
    }
    let mut digits = Zeroizing::new(Vec::with_capacity(body.len()));
    digits.extend(body.iter().copied().filter(|octet| !octet.is_ascii_whitespace()));
    let mut contents = Zeroizing::new(vec![0; base64::decoded_len_estimate(digits.len())]);
    let length = STANDARD.decode_slice(&digits, &mut contents).ok()?;
    contents.truncate(length);
    Some(contents)
}

/// The first block of `kind`, or an error that says what is there instead.
pub(crate) fn first(input: &[u8], kind: Kind, wanted: &'static str) -> Result<Block, Error> {
    let blocks = read(input)?;
    let found = blocks.iter().map(|block| block.label.clone()).collect();
    blocks.into_iter().find(|block| block.kind == kind).ok_or(Error::Missing { wanted, found })
}

/// Frames DER as PEM with lines of 64 characters and LF, as OpenSSL writes it.
pub(crate) fn write(label: &str, der: &[u8]) -> String {
    let mut text = String::with_capacity(length(label, der));
    frame(&mut text, label, der);
    text
}

/// The same for a secret, which is cleared when it is dropped.
pub(crate) fn write_secret(label: &str, der: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(length(label, der)));
    frame(&mut text, label, der);
    text
}

/// An upper bound, so that the text never moves and leaves a copy behind.
fn length(label: &str, der: &[u8]) -> usize {
    2 * label.len() + 40 + der.len().div_ceil(OCTETS_A_LINE) * 65
}

fn frame(text: &mut String, label: &str, der: &[u8]) {
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for octets in der.chunks(OCTETS_A_LINE) {
        let mut line = Zeroizing::new([0; 64]);
        // 48 octets are 64 digits.
        let length = STANDARD.encode_slice(octets, line.as_mut()).unwrap_or(0);
        text.extend(line[..length].iter().map(|digit| char::from(*digit)));
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
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

    /// As OpenSSL 1.1.1 and 3.0 read them with `PEM_X509_INFO_read_bio`.
    #[test]
    fn odd_frames() {
        let certificate = |lines: &str| {
            let text = format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n");
            read(text.as_bytes()).map(|blocks| blocks[0].contents().to_vec()).ok()
        };
        let whole = Some(vec![0, 1, 2, 3]);
        for (lines, contents) in [
            ("AAECAw==\n", &whole),
            ("A\nA\nE C\tAw\n==  \n", &whole),
            ("\nAAECAw==\n", &whole),
            ("AAEC\n\nAw==\n", &None),
            ("AAECAw==\n\n", &None),
            ("Proc-Type: 4,CLEAR\n\nAAECAw==\n", &None),
            ("Any: thing\n\nAAECAw==\n", &None),
            ("Any: thing\nAAECAw==\n", &None),
            ("AAECAw\n", &None),
            ("AAECAw====\n", &None),
            ("AAECAw==AAEC\n", &None),
            ("AAEC!Aw==\n", &None),
        ] {
            assert_eq!(certificate(lines), *contents, "{lines:?}");
        }
        for (text, labels) in [
            ("", &[][..]),
            ("-----BEGIN X----- behind\nAAEC\n-----END X-----\n", &[]),
            (" -----BEGIN X-----\nAAEC\n-----END X-----\n", &[]),
            ("-----BEGIN X-----\nAAEC\n-----END X-----", &["X"]),
            ("-----END Y-----\n-----BEGIN X-----\nAAEC\n-----END X-----", &["X"]),
        ] {
            let read = read(text.as_bytes()).unwrap();
            let found: Vec<_> = read.iter().map(|block| block.label.as_str()).collect();
            assert_eq!(found, labels, "{text:?}");
        }
    }

    #[test]
    fn no_error_quotes_a_key() {
        let secret = "MHcCAQEEIIcretcretcretcretcret";
        for lines in [
            format!("{secret}\n\n{secret}\n"),
            format!("{secret}: {secret}\n\n{secret}\n"),
            format!("{secret}!\n"),
            format!("{secret}\u{e9}\n"),
            format!("{secret}\n-----BEGIN PRIVATE KEY-----\n{secret}\n"),
        ] {
            let text = format!("-----BEGIN PRIVATE KEY-----\n{lines}-----END PRIVATE KEY-----\n");
            let error = read(text.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("cret"), "{error:?}");
        }
    }

    #[test]
    fn keys_under_the_old_encryption_are_told_apart() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\
                    \nAAEC\n-----END RSA PRIVATE KEY-----\n";
        let block = read(text.as_bytes()).unwrap().remove(0);
        assert_eq!((block.kind, block.contents()), (Kind::EncryptedPrivateKey, &[0, 1, 2][..]));
    }

    #[test]
    fn lines_have_64_digits() {
        for length in [0, 1, 47, 48, 49, 96, 100] {
            let der = vec![0xa5; length];
            let text = write_secret("PRIVATE KEY", &der);
            assert!(
                text.capacity() >= text.len() && super::length("PRIVATE KEY", &der) >= text.len()
            );
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(read(text.as_bytes()).unwrap()[0].contents(), der);
        }
    }

    #[test]
    fn contents_are_not_shown() {
        let block = read(BLOCK.as_bytes()).unwrap().remove(0);
        assert!(!format!("{block:?}").contains('0'), "{block:?}");
        assert_eq!(write("CERTIFICATE", &[0, 1, 2]), BLOCK);
        assert_eq!(write_secret("CERTIFICATE", &[0, 1, 2]).as_str(), BLOCK);
    }
}
