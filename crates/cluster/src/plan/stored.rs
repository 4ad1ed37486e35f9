//! How parts of a plan are written in JSON, for people and for the journal.

/// Owner and mode as `0600 70:70`.
pub(super) mod access_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use textfile::fs::Access;

    pub(in crate::plan) fn serialize<S: Serializer>(
        access: &Access,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o} {}:{}", access.mode, access.uid, access.gid))
    }

    pub(in crate::plan) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Access, D::Error> {
        let text = String::deserialize(deserializer)?;
        let read = || {
            let (mode, owner) = text.split_once(' ')?;
            let (uid, gid) = owner.split_once(':')?;
            let mode = u32::from_str_radix(mode, 8).ok()?;
            Some(Access { mode, uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        };
        read().ok_or_else(|| D::Error::custom(format!("\"{text}\" is no mode with an owner")))
    }
}

/// A SHA-256 in hexadecimal.
pub(super) mod digest_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(in crate::plan) fn serialize<S: Serializer>(
        digest: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::plan::hex(digest))
    }

    pub(in crate::plan) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let octet = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        let octets: Option<Vec<u8>> = (0..text.len()).step_by(2).map(octet).collect();
        octets
            .and_then(|octets| octets.try_into().ok())
            .ok_or_else(|| D::Error::custom(format!("\"{text}\" is no SHA-256")))
    }
}

/// Bytes as text where they are text, else in base64: `"…"` or `{"base64": "…"}`.
pub(super) mod bytes_text {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Text(String),
        Bytes { base64: String },
    }

    pub(in crate::plan) fn serialize<S: Serializer>(
        bytes: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Stored::Bytes { base64: STANDARD.encode(bytes) }.serialize(serializer),
        }
    }

    pub(in crate::plan) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        match Stored::deserialize(deserializer)? {
            Stored::Text(text) => Ok(text.into_bytes()),
            Stored::Bytes { base64 } => STANDARD.decode(base64).map_err(D::Error::custom),
        }
    }
}
