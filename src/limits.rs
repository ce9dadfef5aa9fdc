//! Every bound of the program, each with its reason and its relation to others.

/// Largest stored row. A sled leaf holds up to 16 rows and is written whole; above a quarter of a
/// 512 KiB segment it would become a blob file that is written without any sync. 16 x 6 KiB is
/// safely below that.
pub const ROW_BYTES: usize = 6 * 1024;
/// Largest block of rows in the base: the largest row by itself, with its key and framing.
pub const BLOCK_BYTES: usize = ROW_BYTES + 512;
/// Larger bodies are stored in chunks of this size. Below [`ROW_BYTES`] with room for the framing.
pub const CHUNK_BYTES: usize = 4 * 1024;
/// A task's body up to this size stays in its row; a larger one goes to chunks, written once.
pub const INLINE_BODY_BYTES: usize = 1024;

/// Largest body of an ordinary call.
pub const BODY_BYTES: usize = 8 * 1024 * 1024;
/// Largest body of a call that carries one claim, act or verdict: none needs more.
pub const ACT_BODY_BYTES: usize = 64 * 1024;
/// Largest body of one task in the old service's form: a payload and what stands around it.
pub const OLD_BODY_BYTES: usize = 2 * PAYLOAD_BYTES;
/// Largest body of a call that names up to [`BATCH_ITEMS`] ids of some 30 characters.
pub const IDS_BODY_BYTES: usize = 256 * 1024;
/// Bodies and answers under way at once: eight of the largest.
pub const IN_FLIGHT_BYTES: usize = 64 * 1024 * 1024;
/// Largest tree that is made of a body, in memory: the heaviest legal notice takes half of it.
pub const TREE_BYTES: usize = 96 * 1024 * 1024;
/// Bodies that are made into trees or drafts at once, on threads of their own.
pub const PARSERS: usize = 2;
/// Field errors told in one document; reading stops there.
pub const ERRORS: usize = 20;
/// Field errors in the answer to a batch; items behind them say only in words what is wrong.
pub const BATCH_ERRORS: usize = 1_000;
/// Longest text of one error in a document.
pub const ERROR_BYTES: usize = 600;
/// Parameters of one request.
pub const PARAMETERS: usize = 32;
/// Exports of the send log at once.
pub const EXPORTS: usize = 4;
/// Streams of recipients at once.
pub const STREAMS: usize = 8;
/// Longest line of an NDJSON stream.
pub const LINE_BYTES: usize = 96 * 1024;
/// Most recipients in an inline audience: they are stored in one commit. More are streamed.
pub const INLINE_RECIPIENTS: usize = 20_000;
/// Recipients of one streamed commit: small enough to keep other work flowing.
pub const STREAM_CHUNK: usize = 500;
/// Most recipients of one notice: the delivery's number has 32 bits, half of them are plenty.
pub const NOTICE_RECIPIENTS: u32 = 50_000_000;
/// Largest template data of a notice, as JSON.
pub const NOTICE_DATA_BYTES: usize = 16 * 1024;
/// Largest template data of one recipient, as JSON: it must fit a row.
pub const OVERRIDE_BYTES: usize = 4 * 1024;
/// Longest openid. Real ones have 28 characters.
pub const OPENID_BYTES: usize = 64;
/// Longest idempotency key.
pub const KEY_BYTES: usize = 200;
/// Longest name of a tenant, template, schedule or task type.
pub const NAME_BYTES: usize = 64;
/// Longest title of a notice.
pub const TITLE_BYTES: usize = 400;
/// Longest URL.
pub const URL_BYTES: usize = 2048;
/// Longest cron rule. Real ones have 10 to 60 characters; the bound also bounds their parsing.
pub const CRON_BYTES: usize = 256;
/// Longest reason, error text or worker's name that is kept; the rest is cut.
pub const TEXT_BYTES: usize = 300;
/// Longest answer of a provider that is kept in the send log; the rest is cut.
pub const ANSWER_BYTES: usize = 2 * 1024;

/// Most requests in flight of one tenant.
pub const CONCURRENCY_MAX: u32 = 1_000;
/// Highest rate of one tenant, sends per second.
pub const RATE_MAX: u32 = 10_000;

/// Longest secret. Real ones have 32 to 100 characters; the bound catches a wrong path.
pub const SECRET_BYTES: usize = 4 * 1024;
/// Largest configuration file.
pub const CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// Largest payload of a task, as JSON.
pub const PAYLOAD_BYTES: usize = 64 * 1024;
/// Most tasks in one submission or settlement.
pub const BATCH_ITEMS: usize = 5_000;
/// Most tasks of one claim.
pub const CLAIM_ITEMS: usize = 1_000;
/// Largest sum of payloads of one claim's answer; the claim stops when it is reached.
pub const CLAIM_BYTES: usize = 8 * 1024 * 1024;
/// Shortest claim.
pub const CLAIM_TTL_MIN_MS: u64 = 1_000;
/// Longest delay of a new task: ten years, as of all durations. An epoch time given as a delay is
/// far above it.
pub const DELAY_MAX_MS: u64 = 3_653 * 24 * 3_600_000;
/// Longest claim: a day.
pub const CLAIM_TTL_MAX_MS: u64 = 24 * 3_600_000;
/// Longest wait of a claim for work.
pub const WAIT_MAX_MS: u64 = 60_000;
/// Claims that may wait at once; one more is refused for now, and told so.
pub const WAITERS: usize = 4_096;
/// Largest part of a webhook's answer that is read: only its status counts, the rest is for people.
pub const HOOK_ANSWER_BYTES: usize = 64 * 1024;
/// Shortest pause that a consumer can ask for with `Retry-After`: 0 would be a busy loop.
pub const RETRY_AFTER_MIN_MS: u64 = 1_000;
/// Longest pause that a consumer can ask for: beyond a day somebody should look.
pub const RETRY_AFTER_MAX_MS: u64 = 24 * 3_600_000;
/// Largest answer to a pull: one page of notices. Larger sets are paged.
pub const PULL_BYTES: usize = BODY_BYTES;
/// Attempts kept in a task's history; older ones are dropped from the middle. With their reasons
/// they share a row with an inline payload: 8 x (200 + 64 + 40) + 1024 + keys stays below
/// [`ROW_BYTES`].
pub const HISTORY_ATTEMPTS: usize = 8;
/// Longest reason of one attempt of a task.
pub const ATTEMPT_TEXT_BYTES: usize = 200;
/// Tenants counted one by one in a run's row; the others are summed.
pub const RUN_TENANTS: usize = 24;
/// Longest error per tenant in a run's row.
pub const RUN_ERROR_BYTES: usize = 100;
/// Task types that may exist. Each costs two small rows.
pub const TASK_TYPES: usize = 100_000;

/// Rows of one page of a list.
pub const PAGE_ITEMS: usize = 1_000;
/// Bytes of one page of a list, about.
pub const PAGE_BYTES: usize = 1024 * 1024;
/// Rows of one page when the caller does not say.
pub const PAGE_DEFAULT: usize = 100;

/// Commands in the mailbox; a sender waits when it is full.
pub const MAILBOX: usize = 4_096;
/// Commands of one group commit.
pub const GROUP_COMMANDS: usize = 1_024;
/// Bytes of one group commit after which no further command joins it.
pub const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// Largest frame of the journal. A group is larger than [`GROUP_BYTES`] by at most one command.
pub const FRAME_BYTES: usize = 64 * 1024 * 1024;
/// A journal file of this size is followed by a new one. It is read into memory as a whole, with
/// at most one [`FRAME_BYTES`] more.
pub const JOURNAL_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Rows of an image are packed in blocks of this size: large enough to pack well.
pub const IMAGE_BLOCK_BYTES: usize = 1024 * 1024;
/// Bytes of the journal's tail that are kept from its check until the base is open, so that it is read
/// once: several times what a daemon leaves unapplied. A longer one is read again.
pub const TAIL_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of journal applied to the base at once while starting; more memory gains nothing.
pub const REPLAY_BYTES: usize = 1024 * 1024;
/// Bytes of journal applied before the base is synced and says how far it is: one sync for each is
/// little, and a start that is cut off begins again from there.
pub const REPLAY_SYNC_BYTES: usize = 32 * 1024 * 1024;
/// After a clean stop the store's files are checksummed up to this sum: half a second from disk.
pub const CLEAN_CRC_BYTES: u64 = 256 * 1024 * 1024;
/// The base is reopened at a clean stop when this much was written to it: below, the replay at the
/// next start takes less than half a second.
pub const SETTLE_BYTES: u64 = 32 * 1024 * 1024;
/// How long a copy of the running data directory may take before files it needs are deleted.
pub const COPY_MS: u64 = 600_000;
/// Notes of removed journal files that are kept beside those of which a copy may know.
pub const REMOVED_NOTES: usize = 1_000;
/// How long a store that was replaced by a new one is kept as evidence: a week, as people work.
pub const ASIDE_MS: u64 = 7 * 24 * 3_600_000;
/// Bytes of changes kept in memory above the base before they are handed to it.
pub const MEMTABLE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of changes above the base at which new work waits: it comes in as fast as the base takes rows.
pub const GROWTH_BYTES: usize = 2 * MEMTABLE_BYTES;
/// Bytes of changes above the base at which everybody waits. Work that is under way gets here only when
/// the base stands still for long.
pub const BACKLOG_BYTES: usize = 4 * MEMTABLE_BYTES;

/// The provider forgets a `client_msg_id` after this (WeChat: 10 minutes, not promised beyond).
pub const DEDUPE_WINDOW_MS: u64 = 600_000;
/// Nothing is sent again in the last part of the window: clocks differ and a send takes time.
pub const DEDUPE_MARGIN_MS: u64 = 120_000;
/// Rows that one background step (cancel, resend, prune) touches before others get their turn.
pub const STEP_ROWS: usize = 500;

/// A lease that is not renewed runs out after this. It is renewed every third of it; sending stops
/// at two thirds. The longest send must fit into half of it.
pub const LEASE_TTL_MS: u64 = 15_000;
/// Shortest lease: below it a busy disk would cost the leadership.
pub const LEASE_TTL_MIN_MS: u64 = 3_000;
/// Longest lease: a leader that hangs is noticed after this.
pub const LEASE_TTL_MAX_MS: u64 = 300_000;

/// Largest refused notice of a pull that is kept, and how many of one run; beyond that the run fails,
/// and the source is asked for all of it again.
pub const REFUSED_BYTES: usize = 1024 * 1024;
/// See [`REFUSED_BYTES`].
pub const REFUSED_OF_A_RUN: u32 = 100;
/// Most notices of one page of a pull.
pub const PULL_NOTICES: usize = 1_000;

/// Connections of the admin port at once, unless `admin.max_connections` says otherwise: every claim that
/// may wait, and as many again as others usually need.
pub const CONNECTIONS: usize = WAITERS + 512;
