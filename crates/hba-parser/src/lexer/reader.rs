//! How newer servers read a line, for files with NUL bytes: `pg_get_line_append` with its buffer.

pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

/// Without the carriage returns and line feeds at the end: all of them, as the server strips them.
pub(crate) fn without_line_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    bytes
}

/// `pg_get_line_append` with its buffer, for files with NUL bytes.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) position: usize,
    /// Bytes in the buffer.
    pub(super) filled: usize,
    /// Room in the buffer.
    pub(super) buffer: usize,
}

/// What one call of `pg_get_line_append` brought.
pub(super) struct Unit {
    /// Whether there was anything to read.
    pub(super) read: bool,
    /// How many bytes of it count.
    pub(super) kept: usize,
    /// Whether a backslash at its end asks for more.
    pub(super) continued: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], position: usize, buffer: usize) -> Self {
        Self { bytes, position, filled: 0, buffer }
    }

    /// One `fgets`: the bytes before its first NUL.
    pub(super) fn read_chunk(&mut self) -> &'a [u8] {
        let room = self.buffer - self.filled - 1;
        let rest = &self.bytes[self.position..];
        let window = &rest[..rest.len().min(room)];
        let taken = memchr::memchr(b'\n', window).map_or(window.len(), |lf| lf + 1);
        self.position += taken;
        let chunk = until_nul(&window[..taken]);
        self.filled += chunk.len();
        chunk
    }

    /// `enlargeStringInfo(buf, 128)`
    pub(super) fn enlarge(&mut self) {
        let needed = self.filled + 128 + 1;
        while needed > self.buffer {
            self.buffer *= 2;
        }
    }

    pub(super) fn read_unit(&mut self) -> Unit {
        let first = self.filled;
        let (mut line_ends, mut last) = (0, 0);
        loop {
            if self.position >= self.bytes.len() {
                break;
            }
            let chunk = self.read_chunk();
            let text = without_line_end(chunk);
            if let Some(byte) = text.last() {
                line_ends = 0;
                last = *byte;
            }
            line_ends += chunk.len() - text.len();
            if chunk.ends_with(b"\n") {
                break;
            }
            self.enlarge();
        }
        let collected = self.filled - first;
        let text = collected - line_ends;
        let continued = text > 0 && last == b'\\';
        let kept = text - usize::from(continued);
        self.filled = first + kept;
        Unit { read: collected > 0, kept, continued: continued && self.position < self.bytes.len() }
    }
}
