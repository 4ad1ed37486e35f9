//! The bytes of a document: appended to, never changed in place, wiped on drop where they are
//! secret.

use alloc::vec::Vec;

/// Bytes that only grow. A secret buffer leaves no copy behind: neither when it grows nor when it
/// is dropped.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    #[cfg(feature = "zeroize")]
    secret: bool,
}

impl Buffer {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            #[cfg(feature = "zeroize")]
            secret: false,
        }
    }

    #[cfg(feature = "zeroize")]
    pub(crate) fn new_secret(bytes: Vec<u8>) -> Self {
        Self { bytes, secret: true }
    }

    /// An empty buffer with the same secrecy.
    pub(crate) fn empty_like(&self, capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            #[cfg(feature = "zeroize")]
            secret: self.secret,
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn append(&mut self, more: &[u8]) {
        #[cfg(feature = "zeroize")]
        if self.secret && self.bytes.capacity() - self.bytes.len() < more.len() {
            // Vec's own growth would leave the old allocation behind with its content.
            let mut grown = Vec::with_capacity((self.bytes.len() + more.len()).saturating_mul(2));
            grown.extend_from_slice(&self.bytes);
            zeroize::Zeroize::zeroize(&mut self.bytes);
            self.bytes = grown;
        }
        self.bytes.extend_from_slice(more);
    }

    pub(crate) fn copy(&self) -> Self {
        let mut copy = self.empty_like(self.bytes.len());
        copy.bytes.extend_from_slice(&self.bytes);
        copy
    }
}

#[cfg(feature = "zeroize")]
impl Drop for Buffer {
    fn drop(&mut self) {
        if self.secret {
            zeroize::Zeroize::zeroize(&mut self.bytes);
        }
    }
}
