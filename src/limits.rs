//! Every bound of the server, with its reason. A queue, buffer or batch without a limit here is a bug.

/// Most bytes of one inline request or of one length line, as Redis's `PROTO_INLINE_MAX_SIZE`.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Most arguments of one request, as Redis (`INT_MAX`).
pub const ARGUMENTS_MAX: i64 = i32::MAX as i64;

/// Most arguments whose places a core keeps room for between requests.
pub const SCRATCH_SPANS_MAX: usize = 64 * 1024;

/// Most arguments of a request on a connection that has not logged in yet, as Redis.
pub const ARGUMENTS_UNAUTHENTICATED_MAX: i64 = 10;

/// Most bytes of one argument on a connection that has not logged in yet, as Redis.
pub const BULK_UNAUTHENTICATED_BYTES_MAX: i64 = 16 * 1024;

/// Input of a connection that has not logged in yet that may wait: the longest password with what stands around it. Anybody
/// may open connections, and what they hold is at the cost of the data.
pub const INPUT_UNAUTHENTICATED_BYTES_MAX: u64 = BULK_UNAUTHENTICATED_BYTES_MAX as u64 + 1024;

/// Output of a connection that has not logged in yet that may wait until the client reads. As Redis: 1 KiB beyond the 16
/// KiB of its clients' own buffers.
pub const OUTPUT_UNAUTHENTICATED_BYTES_MAX: u64 = 17 * 1024;

/// What a monitor may leave unread where its output has no limit of its own, and the lines of one turn: others fill it, so
/// it must not grow without a bound.
pub const MONITOR_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Values of at least this many bytes are sent from a shared buffer instead of being copied into the reply.
/// Below it a copy is cheaper than a second element of a vectored send.
pub const SHARED_VALUE_BYTES_MIN: usize = 16 * 1024;

/// Most shards of one server: the cursor of SCAN carries the shard in this many values.
pub const SHARDS_MAX: usize = 1024;

/// Most bytes of one configuration file. A larger one is not a configuration file but a mistake.
pub const CONFIG_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How deep configuration files may include others; files that include each other end here.
pub const CONFIG_INCLUDE_DEPTH_MAX: usize = 16;

/// How many configuration files one start may read; patterns that match each other's files end here.
pub const CONFIG_FILES_MAX: usize = 1024;

/// Messages that may wait for the control thread. It does nothing but read them, so more than a few never wait.
pub const CONTROL_MESSAGES_MAX: usize = 64;

/// File descriptors that are not clients: 64 for files, the standard streams and libraries, and 16 for each core's rings,
/// eventfds and listeners.
pub const fn descriptors_reserved(cores: usize) -> u64 {
    64 + 16 * cores as u64
}

/// Most bytes of room made ahead for an argument whose length is announced but whose bytes are not there yet: a client
/// that announces much and sends little costs no more than this.
pub const INPUT_AHEAD_BYTES_MAX: usize = 1024 * 1024;

/// Longest reply that a client can have made of little data, as SRANDMEMBER with a negative count does: as much as the longest
/// value.
pub const GENERATED_REPLY_BYTES_MAX: usize = 512 << 20;

/// A session's output beyond this many bytes is compared with its limit after every command, not only once a turn.
pub const OUTPUT_CHECK_BYTES: usize = 1024 * 1024;

/// Output buffers that a core keeps for the next replies.
pub const SPARE_BUFFERS_MAX: usize = 256;

/// A buffer larger than this is given back to the allocator instead of being kept.
pub const SPARE_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Messages that wait in a core's mailbox; a sender that finds it full keeps its messages and reads no more from its
/// clients until they are through.
pub const MAILBOX_MESSAGES_MAX: usize = 4096;

/// A batch for another core that has grown past this many bytes is posted before the turn ends.
pub const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Empty batches that a core keeps for its next messages.
pub const SPARE_BATCHES_MAX: usize = 64;

/// Queues of transactions that a core keeps for the next ones.
pub const SPARE_QUEUES_MAX: usize = 64;

/// A queue larger than this is given back to the allocator instead of being kept.
pub const SPARE_QUEUE_BYTES_MAX: usize = 16 * 1024;

/// Low bits of SCAN's cursor that hold the position within a shard; the shard stands above them.
pub const SCAN_POSITION_BITS: u32 = 48;

/// Large values that a database has given up and that wait for the end of the turn; what is more is freed at once.
pub const GARBAGE_MAX: usize = 1024;

/// Bytes of a database's snapshot that wait to be taken, from which on the walk stands still: what one step encodes must
/// not hold up requests. Records that commands are about to change are added whatever waits.
pub const SNAPSHOT_PENDING_BYTES_MAX: usize = 64 * 1024;

/// Large values and emptied databases that wait for the thread that frees them; what is more is freed by the core.
pub const FREE_QUEUE_MAX: usize = 4096;

/// Buffers of what one client has sent that are served in one turn; what is more waits for the next, so that others are
/// answered in between. Redis reads one of the same size; four are a pipeline of 16 values of 4 KiB.
pub const BUFFERS_PER_TURN_MAX: u32 = 4;

/// Messages that a core takes from its mailbox in one turn, before it looks at its sockets again.
pub const MAIL_PER_TURN_MAX: usize = 256;

/// Bytes of requests from other cores that are run in one turn; the rest waits for the next, so that the core's own clients are
/// answered in between. As much as one client may have run ([`BUFFERS_PER_TURN_MAX`]).
pub const MAIL_REQUEST_BYTES_PER_TURN_MAX: usize = 64 * 1024;

/// Connections that a core accepts in one turn: a storm of them must not starve those who are connected.
pub const ACCEPTS_PER_TURN_MAX: usize = 64;

/// Requests of one client, or of one batch from another core, that are read before the first of them is run: enough to
/// hide the time that memory takes, few enough that what has been fetched is still there when its turn comes.
pub const REQUESTS_AHEAD_MAX: usize = 16;

/// Most that `client-query-buffer-limit` can be: places in a request are 32-bit numbers, between cores too. What a
/// client has queued in MULTI and watches counts as its input.
pub const QUERY_BUFFER_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Tracked keys that one run of the cron looks at for clients that have gone.
pub const TRACKING_SWEEP_KEYS: usize = 4096;

/// Sets that channels are dealt into by their hash, with a bit for each core that has subscribers of some: with many more
/// channels than sets, cores get messages for nobody.
pub const INTEREST_SETS: usize = 4096;

/// Publications in one message to another core. A core that takes a message hands all of it to its subscribers before it
/// looks at anything else.
pub const PUBLICATIONS_PER_MESSAGE_MAX: usize = 1024;

/// Most keys of one shard that a command or transaction locks one by one. With more it locks the whole shard: its locks would
/// cost more than what they let others do meanwhile.
pub const LOCKED_KEYS_MAX: usize = 4096;

/// Commands of one session that other cores, or locks, have not answered yet. A session with more waits until they are
/// answered before it takes the next from its client.
pub const COMMANDS_AWAY_MAX: usize = 4096;

/// Bytes of such commands, unless a single one is longer.
pub const COMMANDS_AWAY_BYTES_MAX: usize = 16 << 20;

/// Commands that were held up by locks and run in one turn of their core.
pub const PARKED_COMMANDS_PER_TURN_MAX: usize = 64;

/// Most bytes of one record in an append-only file: places in a record are 32-bit numbers.
pub const AOF_RECORD_BYTES_MAX: u64 = u32::MAX as u64;

// The longest is what one client may have sent, with what stands around it.
const _: () = assert!(QUERY_BUFFER_BYTES_MAX + (64 << 20) < AOF_RECORD_BYTES_MAX);

/// Bytes of one record of a transaction over several shards, unless one of its commands alone is longer. A larger
/// transaction comes in several records.
pub const AOF_TRANSACTION_BYTES: usize = 8 << 20;

/// Items and bytes of a value that the record of such a transaction still holds whole: less than a millisecond of work. A
/// larger value is logged before, in pieces, and costs the transaction a sync.
pub const AOF_STAGED_ITEMS_MIN: usize = 4096;
/// See [`AOF_STAGED_ITEMS_MIN`].
pub const AOF_STAGED_BYTES_MIN: usize = 1 << 20;

/// While more than this waits to be written, no more pieces of it are logged: the pending area is for the others.
pub const AOF_STAGED_UNWRITTEN_BYTES_MAX: u64 = AOF_PENDING_BYTES as u64 / 4;

/// Most bytes of a line of an append-only file, as Redis (`AOF_ANNOTATION_LINE_MAX_LEN`).
pub const AOF_LINE_BYTES_MAX: usize = 1024;

/// Bytes of one batch that are kept while it is not known yet whether it is good. A larger one is read twice.
pub const AOF_HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Behind a batch that is not good, candidates for good ones are read again so often, as a multiple of what follows the
/// bad one. Contents that were made to look like batches end here, with the answer that loses nothing.
pub const AOF_SCAN_FACTOR_MAX: u64 = 64;

/// Most bytes of a manifest. A larger file is not a manifest.
pub const AOF_MANIFEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Generations that a manifest lists at most. Every rewrite that fails adds one; the next that ends well leaves one.
pub const AOF_GENERATIONS_MAX: usize = 1024;

/// Most bytes of `appendfilename`: what is added to it for the names of the log's files, and of what is cut off them, has
/// to fit into the 255 bytes of a name.
pub const AOF_FILENAME_BYTES_MAX: usize = 200;

/// Most bytes of one name in a directory, as the file systems of Linux have it.
pub const NAME_BYTES_MAX: usize = 255;

/// After a rewrite has failed, the log waits before it tries another one by itself, twice as long after each, and at most
/// so many milliseconds.
pub const AOF_REWRITE_REST_MS_MAX: i64 = 300_000;

/// Keys, or fields of a large value, that one step of a snapshot walks over: some tens of microseconds.
pub const SNAPSHOT_STEP_KEYS: usize = 256;

/// Elements and bytes of a value that a snapshot still writes at once. A larger one comes in pieces.
pub const SNAPSHOT_VALUE_ITEMS_MAX: usize = 256;
/// See [`SNAPSHOT_VALUE_ITEMS_MAX`].
pub const SNAPSHOT_VALUE_BYTES_MAX: usize = 64 << 10;

/// What a piece of a list or string counts for in a step of a snapshot: it lies together, while each key and field has to
/// be fetched from elsewhere in memory.
pub const SNAPSHOT_PIECE_COST: usize = 8;

/// While more than this of a snapshot waits to be written, it stands still.
pub const SNAPSHOT_UNWRITTEN_BYTES_MAX: u64 = 8 << 20;

/// A piece of the append-only log that is written with one operation, unless a turn has appended more at once: a huge page
/// without two blocks.
pub const AOF_CHUNK_BYTES: usize = HUGE_PAGE_BYTES - 2 * AOF_BLOCK_BYTES;

/// A page of memory that is reached with one translation, where the system has them.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A busy core writes its log when this much waits, unless somebody waits for it.
pub const AOF_WRITE_BYTES: usize = 1 << 20;

/// Such pieces that are kept for what comes next while a core logs much: those that one sync sets free.
pub const AOF_SPARE_CHUNKS_MAX: usize = 2 * AOF_UNSYNCED_BYTES_MAX / AOF_WRITE_BYTES;

/// Whole blocks of this size are written past the kernel's page cache. No disk has larger ones.
pub const AOF_BLOCK_BYTES: usize = 4096;

/// Less than this is written through the page cache: one operation for each block, or nearly, costs more than the copy.
pub const AOF_DIRECT_BYTES_MIN: usize = 64 << 10;

/// Bytes of a shard's pending area: what it logs while the disk is busy with one sync. A batch for which there is no room has
/// its replies wait until it is written.
pub const AOF_PENDING_BYTES: usize = 16 << 20;

/// Behind so many bytes it begins again from the beginning as soon as there is room, so that it stays in the cache.
pub const AOF_PENDING_LAP_BYTES: usize = 1 << 20;

/// It has no more than this part of what is free on its disk.
pub const AOF_PENDING_SHARE: u64 = 32;

/// But so many bytes at least, if they are there.
pub const AOF_PENDING_BYTES_MIN: usize = 64 << 10;

/// Most bytes of a pending area that is read back.
pub const AOF_PENDING_BYTES_MAX: usize = 4 * AOF_PENDING_BYTES;

/// With `always` so many zero bytes are written behind a batch where the file ends: later batches take their place, and
/// their syncs change nothing but the bytes.
pub const AOF_AHEAD_BYTES: usize = 512 << 10;

/// With `everysec` the log is synced early when this much waits for it: it stays in memory until then.
pub const AOF_UNSYNCED_BYTES_MAX: usize = 8 << 20;

/// While more than this waits to be written, a core takes nothing from its clients: the disk does not keep up.
pub const AOF_UNWRITTEN_BYTES_MAX: usize = 64 << 20;

/// Items in one piece of a value, and so in one record of the log that builds it up, as Redis's
/// `AOF_REWRITE_ITEMS_PER_CMD`.
pub const PIECE_ITEMS_MAX: usize = 64;

/// Bytes in one piece of a value. A single item that is larger stands alone.
pub const PIECE_BYTES_MAX: usize = 64 << 10;

/// A longer string that SET stores is logged in parts.
pub const LOGGED_STRING_BYTES_MAX: usize = 1 << 20;

/// Members that one record of the log takes out of a set: SPOP may pop any number of them.
pub const LOGGED_MEMBERS_MAX: usize = 1024;
/// Bytes of these members, unless a single one is longer.
pub const LOGGED_MEMBERS_BYTES_MAX: usize = 1 << 20;

/// Bytes of the log that are read at once while it is loaded.
pub const AOF_LOAD_CHUNK_BYTES: usize = 1 << 20;

/// Pieces that are read ahead of a core that loads, or wait to be written for it.
pub const AOF_LOAD_CHUNKS_MAX: usize = 4;

/// Orders that wait for the thread that reads and writes files for a core that loads.
pub const AOF_LOAD_ORDERS_MAX: usize = 2 * AOF_LOAD_CHUNKS_MAX;

/// Ends of batches that a reader keeps while none says that they are durable. Where there are more, the place from which a
/// start writes again comes a little too early.
pub const AOF_CHECKPOINTS_MAX: usize = 1024;

/// Bytes of a file that a start writes over themselves at once.
pub const AOF_AGAIN_BYTES: usize = 1 << 20;

/// Keys in one message to the core that owns them now, when the log was written by another number of shards.
pub const ADOPTED_KEYS_PER_MESSAGE_MAX: usize = 256;

/// Bytes that one shard asks another to give back at once: a page of records at least, and at most what takes a turn.
pub const EVICTION_REQUEST_BYTES_MIN: i64 = 32 * 1024;
/// See [`EVICTION_REQUEST_BYTES_MIN`].
pub const EVICTION_REQUEST_BYTES_MAX: i64 = 1024 * 1024;
/// So much of what waits for a client does not count towards `client-output-buffer-limit`: what Redis keeps in a buffer of
/// the client's own. So no limit locks out those who read what they ask for.
pub const OUTPUT_UNCOUNTED_BYTES: u64 = 16 << 10;

/// `maxmemory-clients` is taken for at least this much: with less, nobody could look what is wrong.
pub const CLIENTS_BYTES_MAX_MIN: u64 = 128 << 10;

/// Clients that take no more than this are taken for equally large where some have to be closed.
pub const CLIENT_BYTES_SMALL: u64 = 32 << 10;

/// The fewest clients whose memory is counted anew in one run of the cron.
pub const CLIENTS_COUNTED_MIN: usize = 16;

/// Keys that are remembered as the best to evict, from one eviction to the next, as Redis (`EVPOOL_SIZE`).
pub const EVICTION_POOL_CANDIDATES: usize = 16;

/// Evicted keys that a database remembers at most, whatever the number of its keys: 1 GiB of fingerprints.
pub const EVICTION_GHOSTS_MAX: usize = 1 << 28;
