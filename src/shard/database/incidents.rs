//! What happens to keys beside what commands tell: they expire, come into being, are looked for in vain. Kept in order,
//! while somebody wants to know.

use bitflags::bitflags;

bitflags! {
    /// Kinds of incidents.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Incidents: u8 {
        /// The time of a key was over, it was removed.
        const EXPIRED = 1 << 0;
        /// A key was added.
        const CREATED = 1 << 1;
        /// A reading command did not find its key.
        const MISSED = 1 << 2;
    }
}

/// The incidents of a database since somebody looked.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// The kinds that somebody wants.
    wanted: Incidents,
    list: Vec<(Incidents, Box<[u8]>)>,
}

impl Journal {
    /// Chooses the kinds that are kept from now on, and of what is kept already.
    pub fn keep(&mut self, wanted: Incidents) {
        self.wanted = wanted;
        self.list.retain(|(kind, _)| wanted.intersects(*kind));
    }

    /// The kinds that are kept.
    pub fn kept(&self) -> Incidents {
        self.wanted
    }

    /// Whether there is anything to look at.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Hands out what was kept.
    pub fn take(&mut self) -> Vec<(Incidents, Box<[u8]>)> {
        std::mem::take(&mut self.list)
    }

    /// Keeps an incident of one kind, if that is wanted.
    #[inline]
    pub fn note(&mut self, kind: Incidents, key: &[u8]) {
        if self.wanted.intersects(kind) {
            self.push(kind, key);
        }
    }

    #[cold]
    fn push(&mut self, kind: Incidents, key: &[u8]) {
        self.list.push((kind, key.into()));
    }
}
