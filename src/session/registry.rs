//! The sessions of one core.

use super::Session;

/// Where a session stands in its core's registry. A key is used again only after its session is gone; a message that
/// outlives its session is told apart by the session's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u32);

/// The sessions of one core.
#[derive(Default)]
pub struct Sessions {
    slots: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
}

impl Sessions {
    /// Adds a session.
    pub fn insert(&mut self, session: Session) -> SessionKey {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[index as usize] = Some(Box::new(session));
        SessionKey(index)
    }

    /// The session at `key`.
    #[inline]
    pub fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.slots.get_mut(key.0 as usize)?.as_deref_mut()
    }

    /// Takes the session at `key` out for a while; [`Sessions::put_back`] returns it.
    #[inline]
    pub fn take(&mut self, key: SessionKey) -> Option<Box<Session>> {
        self.slots.get_mut(key.0 as usize)?.take()
    }

    /// Returns a session that was taken out.
    #[inline]
    pub fn put_back(&mut self, key: SessionKey, session: Box<Session>) {
        self.slots[key.0 as usize] = Some(session);
    }

    /// Removes the session at `key`.
    pub fn remove(&mut self, key: SessionKey) -> Option<Box<Session>> {
        let session = self.slots.get_mut(key.0 as usize)?.take()?;
        self.free.push(key.0);
        Some(session)
    }

    /// How many places there are, of which some may be free.
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All sessions with their keys.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SessionKey, &mut Session)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, slot)| Some((SessionKey(index as u32), slot.as_deref_mut()?)))
    }
}
