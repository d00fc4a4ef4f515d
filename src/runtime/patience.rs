//! Whether a core that has run out of work looks for more a moment longer before it sleeps.
//!
//! Sleeping is dear, above all for whoever wakes the sleeper: on a virtual machine the sender of a request pays more for
//! the wake than for the request. Looking costs the looker its own time, and only pays where work soon comes. So a core
//! keeps count of how often it did, and looks only while that is often enough. Where cores take all CPUs of the machine,
//! none looks: it would keep the CPU from whoever is to bring the work.

use std::time::{Duration, Instant};

/// How long a core looks: about what being put to sleep and woken costs it and its waker together. With 5 to 8 µs clients pay
/// for twice as many wakes where replies are long, with 15 µs the looking costs more than Redis's sleeping.
const LOOK: Duration = Duration::from_nanos(11_000);

/// Weight of the newest look in the share that succeeds.
const NEWEST: f32 = 0.05;

/// Looks pay while this share of them succeeds.
const SHARE_MIN: f32 = 0.3;

/// How much is forgotten of failure at each sleep without a look, so that looking is tried again.
const FORGIVENESS: f32 = 0.001;

/// One core's experience with looking for work.
pub struct Patience {
    /// The share of looks that found work, the newest weighing most.
    share: f32,
    looks: bool,
}

impl Patience {
    /// Experience is yet to come. `looks`: whether to look at all.
    pub fn new(looks: bool) -> Self {
        Self { share: SHARE_MIN, looks }
    }

    /// Whether looking has paid lately. Each time it has not is a step towards the next try.
    pub fn pays(&mut self) -> bool {
        if self.share >= SHARE_MIN || !self.looks {
            return self.looks;
        }
        self.share += FORGIVENESS;
        false
    }

    /// Looks for work; whether there is some. `found` is asked again and again.
    pub fn look(&mut self, mut found: impl FnMut() -> bool) -> bool {
        let started = Instant::now();
        let found = loop {
            if found() {
                break true;
            }
            if started.elapsed() >= LOOK {
                break false;
            }
            std::hint::spin_loop();
        };
        self.share += (f32::from(u8::from(found)) - self.share) * NEWEST;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_find_nothing_stop_and_are_tried_again() {
        let mut patience = Patience::new(true);
        assert!(patience.pays() && !patience.look(|| false));
        let tries = (1..).find(|_| patience.pays());
        assert!(tries.is_some_and(|tries| (2..1000).contains(&tries)), "{tries:?}");
    }

    #[test]
    fn who_is_not_to_look_never_does() {
        let mut patience = Patience::new(false);
        assert!((0..10_000).all(|_| !patience.pays()));
    }

    #[test]
    fn looks_that_mostly_succeed_go_on() {
        let mut patience = Patience::new(true);
        for round in 0..1000 {
            assert!(patience.pays(), "round {round}");
            patience.look(|| round % 2 == 0);
        }
    }

    #[test]
    fn a_look_asks_until_there_is_something() {
        let mut asked = 0;
        let found = Patience::new(true).look(|| {
            asked += 1;
            asked == 3
        });
        assert!(found && asked == 3);
    }
}
