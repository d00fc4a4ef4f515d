//! The step behind the loading, when the logs of all shards have been found to fit together: a core cuts the torn ends off
//! its files, and makes durable what is good. What is cut off is kept beside the file first.

use super::in_file;
use super::load::FileTail;
use super::step::{Context, Next};
use crate::persistence::aof::{Damage, check};
use crate::persistence::storage::{RealStorage, Storage};
use crate::stdx::os::error_text;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

/// The step.
pub struct Trim {
    waiting: VecDeque<FileTail>,
    /// The file that is being changed.
    path: PathBuf,
}

impl Trim {
    /// Of the files of all segments that the core has loaded.
    pub fn new(cx: &mut Context<'_>) -> Self {
        let ends = cx.segments.iter_mut().flat_map(|segment| std::mem::take(&mut segment.ends));
        Self { waiting: ends.collect(), path: PathBuf::new() }
    }

    /// Goes on with the next file.
    pub fn step(&mut self, cx: &mut Context<'_>) -> Result<Next, String> {
        if cx.disk.jobs().map_err(|error| in_file(&self.path, &error))? > 0 {
            return Ok(Next::Wait);
        }
        let Some(FileTail { entry, torn }) = self.waiting.pop_front() else { return Ok(Next::Done) };
        let plan = cx.shared.plan();
        let (dir, stays, path) = (plan.source.clone(), plan.renews, plan.source.join(&entry.name));
        self.path.clone_from(&path);
        let job = move || match torn {
            Some(damage) => cut(&dir, &entry.name, &damage, stays),
            None if stays => Ok(()),
            // What is logged from here on says that what is there is durable; also in an increment that is not the last,
            // when the server was killed before that was synced.
            None => RealStorage.sync(&path),
        };
        cx.disk.run(job).map_err(|error| in_file(&self.path, &error))?;
        Ok(Next::Wait)
    }
}

/// Cuts a torn end off. `stays`: the file is left as it is, for the log goes on in others.
fn cut(dir: &Path, name: &str, damage: &Damage, stays: bool) -> io::Result<()> {
    let copy = match stays {
        true => check::keep(&RealStorage, dir, name, damage),
        false => check::cut(&RealStorage, dir, name, damage),
    };
    let told = |error: io::Error| io::Error::other(format!("its torn end cannot be kept: {}", error_text(&error)));
    let (copy, path) = (copy.map_err(told)?, dir.join(name));
    let Damage { at, bytes, reason, .. } = damage;
    tracing::warn!(
        "the append-only file {} is torn at offset {at}: {reason}; its last {bytes} bytes are dropped, and kept in {}",
        path.display(),
        copy.display()
    );
    Ok(())
}
