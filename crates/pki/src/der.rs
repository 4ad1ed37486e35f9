//! The few pieces of DER that are written here rather than by rcgen: canonical names, and the
//! envelopes around what other crates encode.

/// The tag octets in use.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const NUMERIC_STRING: u8 = 0x12;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const TELETEX_STRING: u8 = 0x14;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const UNIVERSAL_STRING: u8 = 0x1c;
    pub(crate) const BMP_STRING: u8 = 0x1e;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;
    /// `[0]` and `[3]`, around something that keeps its own tag.
    pub(crate) const CONTEXT_0: u8 = 0xa0;
    pub(crate) const CONTEXT_3: u8 = 0xa3;
}

/// Appends one element: tag, length, contents.
pub(crate) fn write(out: &mut Vec<u8>, tag: u8, contents: &[u8]) {
    out.push(tag);
    let length = contents.len();
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        out.push(short);
    } else {
        let octets = length.to_be_bytes();
        let leading = octets.iter().take_while(|octet| **octet == 0).count();
        // A usize has at most eight octets.
        out.push(0x80 | u8::try_from(octets.len() - leading).unwrap_or(8));
        out.extend_from_slice(&octets[leading..]);
    }
    out.extend_from_slice(contents);
}

/// One element as a value of its own.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(contents.len() + 6);
    write(&mut out, tag, contents);
    out
}

/// Splits the first element off: its tag, its contents, the whole element and what follows.
/// Lengths must be definite and minimal, tags one octet long.
pub(crate) fn split(input: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = input.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if octets.is_empty() || octets.len() > size_of::<usize>() || octets[0] == 0 {
            return None;
        }
        let length = octets.iter().fold(0usize, |sum, octet| (sum << 8) | usize::from(*octet));
        if length < 0x80 {
            return None;
        }
        (length, rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, contents, whole: &input[..input.len() - rest.len()], rest })
}

/// One element of a DER encoding.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    pub(crate) whole: &'a [u8],
    pub(crate) rest: &'a [u8],
}

/// The elements in the contents of a constructed element, or `None` if they are not DER.
pub(crate) fn elements(mut contents: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !contents.is_empty() {
        let element = split(contents)?;
        contents = element.rest;
        found.push(element);
    }
    Some(found)
}

/// The elements in the contents of a constructed element, taken one after the other, where it is
/// known which they are.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn of(contents: &'a [u8]) -> Self {
        Self { rest: contents }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Whether the next element has this tag.
    pub(crate) fn next_is(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    pub(crate) fn take_any(&mut self) -> Option<Element<'a>> {
        let element = split(self.rest)?;
        self.rest = element.rest;
        Some(element)
    }

    /// The contents of the next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.next_is(tag) { self.take_any().map(|element| element.contents) } else { None }
    }

    /// Reads what is inside the next element, to its end.
    pub(crate) fn inside<T>(
        &mut self,
        tag: u8,
        read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        let mut fields = Fields::of(self.take(tag)?);
        let read = read(&mut fields)?;
        fields.end()?;
        Some(read)
    }

    pub(crate) fn sequence<T>(
        &mut self,
        read: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Option<T> {
        self.inside(tag::SEQUENCE, read)
    }

    /// Reads one thing after the other until nothing is left.
    pub(crate) fn each<T>(
        &mut self,
        mut read: impl FnMut(&mut Fields<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut all = Vec::new();
        while !self.is_empty() {
            all.push(read(self)?);
        }
        Some(all)
    }

    pub(crate) fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_minimal_and_come_back() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let contents = vec![7; length];
            let written = element(tag::UTF8_STRING, &contents);
            let read = split(&written).unwrap();
            assert_eq!((read.tag, read.contents.len()), (tag::UTF8_STRING, length));
            assert!(read.rest.is_empty());
            assert_eq!(read.whole, written);
        }
    }

    #[test]
    fn refuses_what_is_not_der() {
        for bad in [&[][..], &[4], &[4, 1], &[4, 0x80], &[4, 0x81, 1, 0], &[0x1f, 0x81, 0, 0]] {
            assert!(split(bad).is_none(), "{bad:?}");
        }
    }
}
