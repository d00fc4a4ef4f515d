//! A pending area of the append-only log in the test's own memory.

use crimson::persistence::aof::pending::Area;
use std::cell::RefCell;
use std::rc::Rc;

/// The area. The test looks at what is put there.
pub struct Memory(pub Rc<RefCell<Vec<u8>>>);

impl Area for Memory {
    fn len(&self) -> usize {
        self.0.borrow().len()
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0.borrow_mut()[at..at + bytes.len()].copy_from_slice(bytes);
    }
}
