//! The step behind the loading, when the logs of all shards have been found to fit together: a core cuts the torn ends off
//! its files, and makes durable what is good: what the files do not say to be on disk is written again. What is cut off is
//! kept beside the file first.

use super::in_file;
use super::load::FileTail;
use super::step::{Context, Next};
use crate::limits::AOF_AGAIN_BYTES;
use crate::persistence::aof::{Damage, again, check};
use crate::persistence::storage::{Directory, FileIn, Storage};
use crate::stdx::os::error_text;
use std::collections::VecDeque;
use std::io;
use std::path::Path;

/// The step.
pub struct Trim {
    waiting: VecDeque<FileTail>,
    /// The file that is being changed.
    file: Option<FileIn>,
}

impl Trim {
    /// Of the files of all segments that the core has loaded.
    pub fn new(cx: &mut Context<'_>) -> Self {
        let ends = cx.segments.iter_mut().flat_map(|segment| std::mem::take(&mut segment.ends));
        Self { waiting: ends.collect(), file: None }
    }

    /// Goes on with the next file.
    pub fn step(&mut self, cx: &mut Context<'_>) -> Result<Next, String> {
        if cx.disk.jobs().map_err(|error| self.failed(&error))? > 0 {
            return Ok(Next::Wait);
        }
        let Some(FileTail { entry, torn, doubt }) = self.waiting.pop_front() else { return Ok(Next::Done) };
        let plan = cx.shared.plan();
        let (dir, stays) = (plan.source.clone(), plan.renews);
        self.file = Some(dir.file(&entry.name));
        let format = plan.manifest.format(&entry);
        let job = move || {
            if let Some(damage) = torn {
                cut(&dir, &entry.name, &damage, stays)?;
            }
            if stays {
                return Ok(());
            }
            // What is logged from here on says that what is there is durable; also in an increment that is not the last,
            // when the server was killed before that was synced.
            if doubt.bytes() > AOF_AGAIN_BYTES as u64 {
                let path = dir.shown(Path::new(&entry.name));
                tracing::info!("Writing {} bytes of {} again, which may not be on disk", doubt.bytes(), path.display());
            }
            again::make_durable(&dir, Path::new(&entry.name), format, doubt)
        };
        cx.disk.run(job).map_err(|error| self.failed(&error))?;
        Ok(Next::Wait)
    }

    fn failed(&self, error: &io::Error) -> String {
        self.file.as_ref().map_or_else(|| error.to_string(), |file| in_file(file, error))
    }
}

/// Cuts a torn end off. `stays`: the file is left as it is, for the log goes on in others.
fn cut(dir: &Directory, name: &str, damage: &Damage, stays: bool) -> io::Result<()> {
    let copy = match stays {
        true => check::keep(dir, Path::new(""), name, damage),
        false => check::cut(dir, Path::new(""), name, damage),
    };
    let told = |error: io::Error| io::Error::other(format!("its torn end cannot be kept: {}", error_text(&error)));
    let copy = copy.map_err(told)?;
    let Damage { at, bytes, reason, .. } = damage;
    tracing::warn!(
        "the append-only file {} is torn at offset {at}: {reason}; its last {bytes} bytes are dropped, and kept in {}",
        dir.shown(Path::new(name)).display(),
        dir.shown(&copy).display()
    );
    Ok(())
}
