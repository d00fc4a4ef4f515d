//! How many cores serve, and which CPUs they are pinned to.

use super::BootError;
use crate::config::{Config, value::cpus_text};
use crate::limits::SHARDS_MAX;

/// The CPUs that the process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usable {
    /// Their numbers, ascending.
    pub cpus: Vec<usize>,
    /// How many of them it may keep busy: fewer than there are where a control group has a quota.
    pub count: usize,
}

impl Usable {
    /// Those of this process.
    pub fn of_this_process() -> Self {
        let cpus: Vec<usize> = core_affinity::get_core_ids().into_iter().flatten().map(|core| core.id).collect();
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        Self { count: if cpus.is_empty() { count } else { count.min(cpus.len()) }, cpus }
    }
}

/// The CPU of each core; `None` for a core that is not pinned.
pub fn choose(config: &Config, usable: &Usable) -> Result<Vec<Option<usize>>, BootError> {
    if config.cpus.is_empty() {
        return Ok(choose_freely(config.threads, usable));
    }
    if let Some(cpu) = config.cpus.iter().find(|cpu| !usable.cpus.contains(cpu)) {
        let all = cpus_text(&usable.cpus);
        return Err(BootError(format!("cpus: CPU {cpu} is not among those the process may use, which are {all}")));
    }
    let threads = if config.threads == 0 { config.cpus.len() } else { config.threads };
    if threads > config.cpus.len() {
        let named = config.cpus.len();
        return Err(BootError(format!("threads is {threads}, but cpus names only {named}: each thread needs its own")));
    }
    Ok(config.cpus.iter().take(threads).map(|&cpu| Some(cpu)).collect())
}

/// `threads` cores, or as many as are good by default where it is 0.
fn choose_freely(threads: usize, usable: &Usable) -> Vec<Option<usize>> {
    let threads = match (threads, usable.count) {
        (0, 0..=1) => 1,
        // On a small machine a CPU is left to the kernel and to other programs; cores that share theirs with them slow
        // each other down, because every message between cores waits for the slower one.
        (0, count @ 2..=8) => count - 1,
        (0, count) => count,
        (threads, _) => threads,
    };
    let threads = threads.min(SHARDS_MAX);
    // With a quota other programs have CPUs of the same numbers, and pinning would drive all of them onto the same few.
    if threads > usable.cpus.len() || usable.count < usable.cpus.len() {
        return vec![None; threads];
    }
    usable.cpus.iter().take(threads).map(|&cpu| Some(cpu)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(cpus: usize) -> Usable {
        Usable { cpus: (0..cpus).collect(), count: cpus }
    }

    fn chosen(threads: usize, cpus: &[usize], usable: &Usable) -> Result<Vec<Option<usize>>, BootError> {
        choose(&Config { threads, cpus: cpus.to_vec(), ..Config::default() }, usable)
    }

    #[test]
    fn by_default_one_cpu_is_left_on_small_machines() {
        for (cpus, threads) in [(1, 1), (2, 1), (4, 3), (8, 7), (9, 9), (64, 64), (2000, SHARDS_MAX)] {
            let chosen = chosen(0, &[], &usable(cpus)).expect("valid");
            assert_eq!(chosen, (0..threads).map(Some).collect::<Vec<_>>(), "{cpus}");
        }
        assert_eq!(chosen(0, &[], &Usable { cpus: vec![], count: 1 }), Ok(vec![None]));
    }

    #[test]
    fn too_many_threads_and_quotas_are_not_pinned() {
        assert_eq!(chosen(3, &[], &usable(2)), Ok(vec![None; 3]));
        assert_eq!(chosen(0, &[], &Usable { cpus: (0..64).collect(), count: 4 }), Ok(vec![None; 3]));
    }

    #[test]
    fn named_cpus_are_taken_in_their_order() {
        let machine = Usable { cpus: vec![2, 3, 5, 7], count: 4 };
        assert_eq!(chosen(0, &[7, 2], &machine), Ok(vec![Some(7), Some(2)]));
        assert_eq!(chosen(1, &[7, 2], &machine), Ok(vec![Some(7)]));
        let few = chosen(3, &[7, 2], &machine).expect_err("not enough").to_string();
        assert!(few.contains("threads is 3, but cpus names only 2"), "{few}");
        let none = chosen(0, &[1], &machine).expect_err("not there").to_string();
        assert!(none.contains("CPU 1") && none.ends_with("2-3,5,7"), "{none}");
    }

    #[test]
    fn this_process_has_a_cpu() {
        let usable = Usable::of_this_process();
        assert!(usable.count >= 1 && usable.count <= usable.cpus.len().max(1));
    }
}
