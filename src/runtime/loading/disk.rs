//! The thread that reads and writes files for one core while that loads: the core's own loop must not wait for a disk.
//! It reads ahead of the core, and otherwise does what it is told, one after another. It ends with its [`Disk`].

use crate::limits::{AOF_LOAD_CHUNK_BYTES, AOF_LOAD_CHUNKS_MAX, AOF_LOAD_ORDERS_MAX};
use crate::persistence::storage::FileIn;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Something to be done with files.
type Job = Box<dyn FnOnce() -> io::Result<()> + Send>;

enum Order {
    /// Read this file from an offset on, and forget what was read before.
    Read {
        path: FileIn,
        offset: u64,
        number: u64,
    },
    Run(Job),
}

enum Answer {
    /// What stands next in the file of the order with this number; nothing at its end.
    Chunk { number: u64, bytes: io::Result<Vec<u8>> },
    /// A job is over.
    Done(io::Result<()>),
}

/// A core's side.
pub struct Disk {
    orders: Sender<Order>,
    answers: Receiver<Answer>,
    /// Number of the last order to read.
    number: u64,
    /// The file that is read, and where the next chunk stands.
    place: Option<(FileIn, u64)>,
    /// Jobs that are not over.
    jobs: usize,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("place", &self.place).field("jobs", &self.jobs).finish_non_exhaustive()
    }
}

impl Disk {
    /// Starts the thread of core `core`. It runs on the CPUs on which the caller may.
    pub fn start(core: u16) -> io::Result<Self> {
        let (orders, taken) = bounded(AOF_LOAD_ORDERS_MAX);
        let (given, answers) = bounded(AOF_LOAD_CHUNKS_MAX);
        std::thread::Builder::new().name(format!("load-{core}")).spawn(move || {
            // Ends when the core wants nothing more.
            let _ = serve(&taken, &given);
        })?;
        Ok(Self { orders, answers, number: 0, place: None, jobs: 0 })
    }

    /// What `path` holds from `offset` on, nothing at its end; `None`: not yet.
    pub fn chunk(&mut self, path: &FileIn, offset: u64) -> io::Result<Option<Vec<u8>>> {
        if self.place.as_ref().is_none_or(|(file, at)| file != path || *at != offset) {
            self.number += 1;
            self.place = Some((path.clone(), offset));
            self.order(Order::Read { path: path.clone(), offset, number: self.number })?;
        }
        while let Some(answer) = self.answer()? {
            match answer {
                Answer::Chunk { number, bytes } if number == self.number => {
                    let bytes = bytes?;
                    self.place = (!bytes.is_empty()).then(|| (path.clone(), offset + bytes.len() as u64));
                    return Ok(Some(bytes));
                }
                // Read ahead in a file, or from a place in it, that is not wanted any more.
                Answer::Chunk { .. } => {}
                Answer::Done(result) => self.over(result)?,
            }
        }
        Ok(None)
    }

    /// Has something done, behind all that has been asked for before.
    pub fn run(&mut self, job: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
        self.jobs += 1;
        self.order(Order::Run(Box::new(job)))
    }

    /// How many jobs are not over; an error if one has failed.
    pub fn jobs(&mut self) -> io::Result<usize> {
        while let Some(answer) = self.answer()? {
            if let Answer::Done(result) = answer {
                self.over(result)?;
            }
        }
        Ok(self.jobs)
    }

    /// Whether it has something to tell.
    pub fn has_news(&self) -> bool {
        !self.answers.is_empty()
    }

    fn over(&mut self, result: io::Result<()>) -> io::Result<()> {
        self.jobs -= 1;
        result
    }

    /// Never waits: a core has one order to read under way, beside an old one that is about to be dropped, and few jobs.
    fn order(&self, order: Order) -> io::Result<()> {
        self.orders.send(order).map_err(|_| gone())
    }

    fn answer(&self) -> io::Result<Option<Answer>> {
        match self.answers.try_recv() {
            Ok(answer) => Ok(Some(answer)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(gone()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that reads and writes for the loading has ended")
}

/// A file that is being read.
struct Reading {
    file: File,
    offset: u64,
    number: u64,
}

impl Reading {
    fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; AOF_LOAD_CHUNK_BYTES];
        let read = loop {
            match self.file.read_at(&mut bytes, self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        bytes.truncate(read);
        self.offset += read as u64;
        Ok(bytes)
    }
}

/// Does what it is told until nobody tells or hears any more: then that is the result.
fn serve(orders: &Receiver<Order>, answers: &Sender<Answer>) -> Option<()> {
    let mut reading: Option<Reading> = None;
    loop {
        let order = match (&reading, orders.try_recv()) {
            (_, Ok(order)) => Some(order),
            (_, Err(TryRecvError::Disconnected)) => return None,
            (Some(_), Err(TryRecvError::Empty)) => None,
            (None, Err(TryRecvError::Empty)) => Some(orders.recv().ok()?),
        };
        match order {
            Some(Order::Run(job)) => answers.send(Answer::Done(job())).ok()?,
            Some(Order::Read { path, offset, number }) => match path.open_to_read() {
                Ok(file) => reading = Some(Reading { file, offset, number }),
                Err(error) => answers.send(Answer::Chunk { number, bytes: Err(error) }).ok()?,
            },
            None => {
                let Some(current) = &mut reading else { continue };
                let (number, bytes) = (current.number, current.chunk());
                if bytes.as_ref().map_or(true, Vec::is_empty) {
                    reading = None;
                }
                answers.send(Answer::Chunk { number, bytes }).ok()?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistence::storage::Directory;
    use std::time::Duration;

    fn wait<T>(mut ask: impl FnMut() -> Option<T>) -> T {
        loop {
            match ask() {
                Some(found) => return found,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    #[test]
    fn it_reads_from_where_it_is_told_and_does_jobs() {
        let directory = Directory::open(&std::env::temp_dir()).unwrap();
        let path = directory.file(&format!("crimson-disk-{}", std::process::id()));
        let bytes: Vec<u8> = (0..3 * AOF_LOAD_CHUNK_BYTES + 5).map(|at| (at / 1000) as u8).collect();
        let mut disk = Disk::start(0).unwrap();
        let (file, copy) = (path.clone(), bytes.clone());
        disk.run(move || file.create()?.write_all_at(&copy, 0)).unwrap();
        wait(|| (disk.jobs().unwrap() == 0).then_some(()));
        // To the end, twice, and then from the midst.
        for from in [0, 0, 7] {
            let mut at = from;
            loop {
                let chunk = wait(|| disk.chunk(&path, at as u64).unwrap());
                assert_eq!(chunk, &bytes[at..at + chunk.len()]);
                at += chunk.len();
                if chunk.is_empty() {
                    break;
                }
            }
            assert_eq!(at, bytes.len());
        }
        // Away from what is being read ahead.
        wait(|| disk.chunk(&path, 0).unwrap());
        assert_eq!(wait(|| disk.chunk(&path, 5).unwrap())[0], bytes[5]);
        std::fs::remove_file(path.shown()).unwrap();
        let failed = wait(|| disk.chunk(&path, 0).map(|chunk| chunk.map(drop)).map_or_else(Some, |_| None));
        assert_eq!(failed.kind(), io::ErrorKind::NotFound);
    }
}
