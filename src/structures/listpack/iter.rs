//! Walking a listpack from either end.

use super::{Element, HEADER, Listpack, Position, entry};

/// Elements from one end, the other, or both at once; the two ends stop where they meet.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iter<'a> {
    pub(super) fn new(bytes: &'a [u8], front: usize) -> Self {
        Self { bytes, front, back: bytes.len() - 1 }
    }

    pub(super) fn until(bytes: &'a [u8], back: usize) -> Self {
        Self { bytes, front: HEADER, back }
    }

    /// The next element from the front, and where it stands.
    #[inline]
    pub fn next_with_position(&mut self) -> Option<(Position, Element<'a>)> {
        let at = self.front;
        Some((Position(at), self.next()?))
    }

    /// The next element from the back, and where it stands.
    #[inline]
    pub fn next_back_with_position(&mut self) -> Option<(Position, Element<'a>)> {
        let element = self.next_back()?;
        Some((Position(self.back), element))
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (element, size) = entry::read(self.bytes, self.front);
        self.front += size;
        Some(element)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = entry::start_before(self.bytes, self.back);
        Some(entry::read(self.bytes, self.back).0)
    }
}

impl<'a> IntoIterator for &'a Listpack {
    type Item = Element<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
