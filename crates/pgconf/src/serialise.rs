//! Bytes in serialised form: text; what is no UTF-8 becomes U+FFFD.

use serde::Serializer;

pub(crate) fn bytes<S: Serializer>(
    bytes: &(impl AsRef<[u8]> + ?Sized),
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes.as_ref()))
}

pub(crate) fn optional_bytes<S: Serializer>(
    bytes: &Option<impl AsRef<[u8]>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => self::bytes(bytes, serializer),
        None => serializer.serialize_none(),
    }
}
