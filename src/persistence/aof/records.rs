//! Records one behind the other. Each stands in a database: a SELECT goes before the first one in another database.

use super::record;

/// Records in the order in which they are to be replayed.
#[derive(Clone, Debug)]
pub struct Records {
    bytes: Vec<u8>,
    /// The database that a reader is in at their end; `None`: whatever it was in before.
    selected: Option<u16>,
    count: usize,
}

impl Default for Records {
    fn default() -> Self {
        Self::new()
    }
}

/// A place in records.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    bytes: usize,
    count: usize,
}

impl Records {
    /// None yet, for a reader that begins with database 0.
    pub fn new() -> Self {
        Self { bytes: Vec::new(), selected: Some(0), count: 0 }
    }

    /// None yet, for a reader that may be in any database.
    pub fn anywhere() -> Self {
        Self { selected: None, ..Self::new() }
    }

    /// Behind `bytes`, at whose end database 0 is selected.
    pub fn onto(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::new() }
    }

    /// All bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Their bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Begins a record of so many arguments in a database; [`Records::argument`] adds them.
    #[inline]
    pub fn begin(&mut self, database: u16, arguments: usize) {
        if self.selected != Some(database) {
            self.select(database);
        }
        self.count += 1;
        record::begin(&mut self.bytes, arguments);
    }

    /// Adds the next argument of the record begun last.
    #[inline]
    pub fn argument(&mut self, bytes: &[u8]) {
        record::argument(&mut self.bytes, bytes);
    }

    /// Appends a whole record.
    #[inline]
    pub fn append<'a>(&mut self, database: u16, arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.begin(database, arguments.len());
        arguments.for_each(|bytes| self.argument(bytes));
    }

    /// Appends a whole record as it is to stand there.
    #[inline]
    pub fn append_array(&mut self, database: u16, record: &[u8]) {
        if self.selected != Some(database) {
            self.select(database);
        }
        self.count += 1;
        self.bytes.extend_from_slice(record);
    }

    /// Says SELECT where another database is selected.
    #[cold]
    pub fn select(&mut self, database: u16) {
        if self.selected == Some(database) {
            return;
        }
        self.selected = Some(database);
        record::begin(&mut self.bytes, 2);
        record::argument(&mut self.bytes, b"SELECT");
        record::number(&mut self.bytes, database);
    }

    /// Appends a record that stands in no database, by the function that writes it.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.count += 1;
        write(&mut self.bytes);
    }

    /// Appends records for readers in any database.
    pub fn join(&mut self, records: &[u8]) {
        if !records.is_empty() {
            self.count += 1;
            self.selected = None;
            self.bytes.extend_from_slice(records);
        }
    }

    /// Their end now.
    pub fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), count: self.count }
    }

    /// Makes one transaction of the records behind `mark`. A single one needs no frame.
    pub fn frame(&mut self, mark: Mark) {
        if self.count <= mark.count + 1 {
            return;
        }
        let mut multi = Vec::new();
        record::append(&mut multi, [&b"MULTI"[..]].into_iter());
        self.bytes.splice(mark.bytes..mark.bytes, multi);
        record::append(&mut self.bytes, [&b"EXEC"[..]].into_iter());
        self.count += 2;
    }

    /// Moves their bytes behind `out`. What comes next is for a reader that begins with database 0, or that has just read
    /// these: of several turns one batch may be made.
    pub fn drain(&mut self, out: &mut Vec<u8>) {
        if !self.bytes.is_empty() {
            self.select(0);
        }
        if out.is_empty() {
            std::mem::swap(out, &mut self.bytes);
        } else {
            out.append(&mut self.bytes);
        }
        (self.selected, self.count) = (Some(0), 0);
    }

    /// Bytes of memory for them.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Takes their bytes; what comes next is for a reader that may be in any database.
    pub fn take_piece(&mut self) -> Vec<u8> {
        (self.selected, self.count) = (None, 0);
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Records;

    fn text(records: &Records) -> String {
        let lines: Vec<_> = records.as_bytes().split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end()).collect();
        let words = lines.iter().filter(|line| !line.is_empty() && line[0] != b'$');
        words.map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ")
    }

    fn set(records: &mut Records, database: u16) {
        records.append(database, [&b"SET"[..], b"k", b"v"].into_iter());
    }

    #[test]
    fn a_select_stands_where_the_database_changes() {
        let mut records = Records::new();
        [0, 0, 3, 3].into_iter().for_each(|database| set(&mut records, database));
        assert_eq!(text(&records), "*3 SET k v *3 SET k v *2 SELECT 3 *3 SET k v *3 SET k v");
        let mut out = Vec::new();
        records.drain(&mut out);
        set(&mut records, 0);
        assert_eq!(records.as_bytes(), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
        records.join(b"*1\r\n$4\r\nPING\r\n");
        set(&mut records, 0);
        assert_eq!(text(&records), "*3 SET k v *1 PING *2 SELECT 0 *3 SET k v");
        let mut records = Records::anywhere();
        set(&mut records, 0);
        assert_eq!(text(&records), "*2 SELECT 0 *3 SET k v");
    }

    #[test]
    fn what_was_drained_can_be_read_in_one_go() {
        let (mut records, mut out) = (Records::new(), Vec::new());
        for database in [0, 5, 5, 0] {
            set(&mut records, database);
            records.drain(&mut out);
        }
        records.join(b"*1\r\n$4\r\nPING\r\n");
        records.drain(&mut out);
        records.drain(&mut out);
        let turns = ["*3 SET k v", "*2 SELECT 5 *3 SET k v *2 SELECT 0"];
        let expected = [turns[0], turns[1], turns[1], turns[0], "*1 PING *2 SELECT 0"].join(" ");
        assert_eq!(text(&Records::onto(out)), expected);
    }

    #[test]
    fn several_records_of_a_transaction_are_framed() {
        let mut records = Records::new();
        set(&mut records, 0);
        let mark = records.mark();
        records.frame(mark);
        set(&mut records, 1);
        records.frame(mark);
        assert_eq!(text(&records), "*3 SET k v *2 SELECT 1 *3 SET k v");
        set(&mut records, 1);
        records.frame(mark);
        assert_eq!(
            text(&records),
            "*3 SET k v *1 MULTI *2 SELECT 1 *3 SET k v *3 SET k v *1 EXEC",
            "the frame closes in the SELECT"
        );
    }
}
