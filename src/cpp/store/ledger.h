// The ledger: where money is reserved before a call is sent, and settled after it.
//
// Model. A call's money goes reserve -> settle | void | in_doubt, and in_doubt -> settle |
// post_full -> correct. Each step is one row that is never changed ("Money" in
// docs/internals/call.md). reserve() is answered once through the engine's VerdictSink, after the
// batch that admitted it is durable; finish() is written behind. One writer thread a file and
// process takes what is pending, admits it inside its own commit and answers; processes of one
// machine share the file. What a crash leaves open becomes in doubt at its hold.
//
// A Ledger is one engine's handle: it has an owner row of its own. Handles on one file in one
// process share one connection and one writer. MemoryLedger and SqliteLedger run the same rules
// (batch.h) over two backends.
//
// Bounds. The queue holds `queue_max` reservations; beyond it the verdict is kUnavailable. Memory:
// about 200 bytes an open call, and the scopes in use. Threads: every method may be called from any
// thread; the sink is called on the writer thread (in the caller of pump() without one), never
// under a lock, and never after close() has returned.
//
//   auto ledger = open_ledger({.path = "sluiceway.db", .admit = &cost::admit}, &engine_sink);
//   auto scope = (*ledger)->open_scope({.kind = "video", .key = "42", .limit = 3'000'000'000});
//   (*ledger)->reserve({.token = 1, .call_id = id, .amount = 5'000, .scopes = {*scope}});
//   ... on_verdicts: kAdmitted, the call is sent ...
//   (*ledger)->finish({.call_id = id, .kind = EntryKind::kSettle, .amount = 4'200});
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/admission.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/status.h"
#include "base/usage.h"
#include "store/booking.h"
#include "store/scope.h"

namespace sluiceway::store {

enum class EntryKind : std::uint8_t {
  kReserve = 0,
  kSettle = 1,    // the true cost; the hold ends
  kVoid = 2,      // proof that nothing was or will be billed; the hold ends at nothing
  kInDoubt = 3,   // the end is unknown; the money stays counted at the hold
  kPostFull = 4,  // in doubt for too long: posted at the hold
  kCorrect = 5,   // after kPostFull: the difference to the true cost, may be negative
  kShrink = 6,    // an open hold lowered to `amount`, when the true input is known
  kGrant = 7,     // a scope's limit changed by `amount`, may be negative; a row of its own
  kRefund = 8,    // what an ended call cost is lowered by `amount`; < 0: a refund taken back
  // The configured part of a scope's limit was replaced, and differs by `amount`; a row of its own.
  // No limit counts as kNanousdMax.
  kReplace = 9,
};
std::string_view entry_kind_name(EntryKind kind);

// What a commit survives: a power cut, the death of the process, or nothing.
enum class Durability : std::uint8_t { kPower = 0, kProcess = 1, kMemory = 2 };

// What rows are grouped by; interned once in the file, so share one object among many calls.
struct CallLabels {
  std::string provider, model, operation, tenant, account;
  std::string tags;              // canonical text of the user's tags, "a=1,b=2"
  std::string unit = "nanousd";  // what `amount` counts; equal to the unit of every scope
  bool operator==(const CallLabels&) const = default;
};

struct Reservation {
  std::uint64_t token = 0;  // the engine's own, given back in the verdict
  Id call_id, intent_id;
  Nanousd amount = 0;  // the ceiling, >= 0
  std::vector<std::shared_ptr<Scope>> scopes;
  std::shared_ptr<const CallLabels> labels;
  std::string idempotency_key;  // the caller's, unique per tenant; empty: none
  std::string price_version;
  std::int64_t deadline_ns = INT64_MAX;  // monotonic; past it the verdict is kUnavailable
  bool job = false;                      // the hold outlives its engine: nobody's death ends it
};

struct Verdict {
  enum Kind : std::uint8_t { kAdmitted, kExceeded, kBlocked, kDuplicate, kUnavailable };
  std::uint64_t token = 0;
  Kind kind = kUnavailable;
  Nanousd amount = 0;
  std::int64_t ledger_time_ns = 0;
  std::string scope;     // kExceeded, kBlocked: the first scope that refused, with its window
  ScopeBalance balance;  // of that scope
  Id earlier_call;       // kDuplicate: the call that used the key (or id) before
  Status error;          // kUnavailable: why
};

// How a call ended. kSettle, kVoid, kInDoubt or kShrink.
struct Finish {
  Id call_id;
  EntryKind kind = EntryKind::kInDoubt;
  Nanousd amount = 0;  // kSettle: the cost. kShrink: the new hold. kVoid, kInDoubt: not read
  Usage usage;
  std::string price_version;
  std::string provider_request_id;
  std::int32_t attempts = 1;
  std::int64_t latency_ns = 0;
  bool estimated = false;  // the cost was estimated, not reported or counted
};

class VerdictSink {
 public:
  virtual ~VerdictSink() = default;
  // Once a commit, with all verdicts for this handle. May call reserve() and finish(); not
  // open_ledger(), flush() or close(), which wait for the thread that it runs on.
  virtual void on_verdicts(std::span<Verdict> verdicts) = 0;
};

// One row as the reports see it.
struct Entry {
  Id call_id;
  std::int32_t attempt = 0;
  EntryKind kind = EntryKind::kReserve;
  std::int64_t time_ns = 0;  // ledger time
  Nanousd amount = 0;
  std::int64_t label_id = 0;  // rows with equal labels have equal numbers
  std::shared_ptr<const CallLabels> labels;
  std::string price_version;
  Id intent_id;  // kReserve only
  // kReserve: names with windows; kRefund: those in which it counts, empty: all of the call's.
  // kGrant, kReplace: the scope.
  std::vector<std::string> scopes;
  std::int64_t latency_ns = 0;
  bool estimated = false, overrun = false;
  Usage usage;
  std::string provider_request_id, evidence;
};

struct EntryBounds {
  std::int64_t from_ns = 0, to_ns = INT64_MAX;  // ledger time, [from, to)
  std::size_t batch = 4096;                     // rows a read transaction
  // Without what sums do not need, which is faster: no price version, intent, scopes, request id,
  // evidence.
  bool lean = false;
  Id call;  // not empty: only this call's rows, found by their key
  // Not empty: only the rows of calls that were reserved in one of these scopes, in any window, and
  // the changes of their limits. Names without a window. Reads all rows, 0.3 s a million.
  std::span<const std::string> scopes;
  // Archives whose entries come first. A month that the ledger still has (copied, and not yet
  // dropped) is read there alone, so that every entry comes once. Aborted: a month was archived
  // while it was read; what was handed over lacks entries.
  std::span<const std::string> archives;
};

// Entries in the order in which they were committed.
struct Changes {
  std::vector<Entry> entries;
  std::int64_t next = 0;  // the cursor after them; what was asked for, where there are none
};

struct HoldInfo {
  Id call_id;
  Nanousd amount = 0;
  bool in_doubt = false;
  std::int64_t since_ns = 0;  // of the reservation, or of the doubt
  std::int64_t owner = 0;     // 0: a job's, or nobody's any more
  std::shared_ptr<const CallLabels> labels;
  std::vector<std::string> scopes;
};

// A window that is over has the limit that it was closed with.
struct ScopeInfo {
  std::string name;             // with its window
  std::int64_t rolling_ns = 0;  // > 0: a row is one slot of the scope, or what old slots settled
  std::int64_t slot = -1;       // of such a row; below 0: old ones
  ScopeBalance balance;
  std::string unit;
};

struct Archived {
  std::vector<std::int32_t> months;  // 202609: moved by this run
  std::vector<std::int32_t> kept;    // closed, but a call of theirs is open or in doubt
  std::int64_t entries = 0;
};

// What replaying every entry found. ok() means invariant 4 holds.
struct VerifyReport {
  std::int64_t entries = 0, calls = 0, open = 0, in_doubt = 0;
  std::vector<std::string> problems;  // the first 100, each a sentence
  std::vector<std::string>
      over_limit;  // scopes above their limit, with the excess explained or not
  bool ok() const { return problems.empty(); }
};

struct LedgerStats {
  std::uint64_t commits = 0, failed_commits = 0, rows = 0, admitted = 0, refused = 0,
                unavailable = 0, duplicates = 0, finishes = 0, orphan_finishes = 0, overruns = 0,
                recovered = 0, quarantined = 0, checkpoints = 0, syncs = 0, batch_max = 0;
  std::uint64_t queue_depth = 0, finish_depth = 0, open_calls = 0;
  std::int64_t clock_skew_ns = 0;     // ledger time minus wall clock
  std::int64_t lock_wait_max_ns = 0;  // longest wait for the other processes
};

struct LedgerOptions {
  std::string path;  // ":memory:" or Durability::kMemory: a MemoryLedger
  Durability durability = Durability::kPower;
  AdmitFn admit = nullptr;       // required; cost::admit
  const Clock* clock = nullptr;  // nullptr: the system's
  bool threaded = true;          // false: nothing happens but in pump(), open_scope() and friends
  std::size_t queue_max = 65'536;
  std::size_t batch_max = 1'024;                // reservations a commit, and finishes a commit
  std::int64_t write_behind_ns = 2 * kNsPerMs;  // how long a finish may wait for company
  std::int64_t checkpoint_bytes = 16ll << 20;   // of WAL
  std::int64_t checkpoint_interval_ns = 60 * kNsPerSecond;
  std::int64_t owner_scan_interval_ns = kNsPerSecond;
  std::int64_t post_in_doubt_after_ns = 7 * 86'400 * kNsPerSecond;
};

class Ledger {
 public:
  virtual ~Ledger() = default;

  virtual void reserve(Reservation&& reservation) = 0;
  // Never lost while the process lives: kept and tried again when the disk refuses. A finish of a
  // call that has no open hold is counted (orphan_finishes) and dropped.
  virtual void finish(Finish&& finish) = 0;

  // Blocking, durable. InvalidArgument: malformed. FailedPrecondition: it exists with another limit
  // (BudgetConflict) or another shape. Unavailable, ResourceExhausted: the file cannot be written.
  virtual StatusOr<std::shared_ptr<Scope>> open_scope(const ScopeConfig& config) = 0;
  // The running instance, read from the file. Blocking.
  virtual StatusOr<ScopeBalance> balance(const Scope& scope) = 0;
  // In doubt -> settle at `amount`; after post_full -> a correction. NotFound: no such call in
  // doubt. FailedPrecondition: it lies in an archive; says what to do. Blocking, durable.
  virtual Status resolve(const Id& call, Nanousd amount, std::string evidence) = 0;

  // See booking.h; each is one commit, blocking and durable. InvalidArgument: malformed.
  // Reserves and settles at once; a refusal is no error. FailedPrecondition: the id was used.
  virtual StatusOr<Booked> book(Booking&& booking) = 0;
  // Changes the limit of `scope` by `amount` (not 0) and returns it; `id` names the entry. A raise
  // that leaves room unblocks. With a key that was used before, nothing happens again.
  // FailedPrecondition: no limit, or lower than what is used. AlreadyExists: the key was used for
  // something else.
  virtual StatusOr<Nanousd> grant(const Id& id, Scope& scope, Nanousd amount, std::string evidence,
                                  std::string idempotency_key = {}) = 0;
  // Gives back part of what ended calls cost together, and returns what they cost now. With a key
  // that was used before, nothing happens again. NotFound: no such call here, or not in these
  // scopes. AlreadyExists: the key was used for something else. FailedPrecondition: one has no cost
  // yet, or lies in an archive (says what to do). OutOfRange: they cost less; the message is how
  // much.
  virtual StatusOr<Nanousd> refund(const Refund& refund) = 0;
  // Writes the row; an open hold of the call is the job's from then on: nobody's death ends it.
  // The same row again is fine. AlreadyExists: another job of that call, or of that provider's id.
  virtual Status create_job(JobRow row) = 0;
  // NotFound: no such job. FailedPrecondition: nothing is held that could be settled.
  virtual Status update_job(JobUpdate update) = 0;
  virtual StatusOr<std::optional<JobRow>> find_job(const Id& call) = 0;
  // The newest with that id.
  virtual StatusOr<std::optional<JobRow>> find_job(std::string_view provider_job_id) = 0;
  // Oldest first; all states where `state` is empty.
  virtual StatusOr<std::vector<JobRow>> jobs(std::string_view state) = 0;
  // Posts at their holds all calls that have been in doubt for at least older_than_ns; how many.
  virtual StatusOr<std::int64_t> post_in_doubt(std::int64_t older_than_ns) = 0;
  // Sets ledger time to the wall clock; backwards it stands still until the wall has caught up.
  virtual Status reanchor_time() = 0;

  // Waits until everything handed in before is durable. DeadlineExceeded after timeout_ns.
  virtual Status flush(std::int64_t timeout_ns) = 0;
  // Answers what waits (kUnavailable), writes the finishes, leaves open holds in doubt, ends the
  // owner row. Idempotent. Of this handle's methods only reserve() and finish() from inside
  // on_verdicts() may run meanwhile.
  virtual void close() = 0;

  virtual int live_engines() const = 0;  // on the file, this one included; >= 1
  virtual std::int64_t ledger_time_ns() = 0;
  virtual LedgerStats stats() const = 0;
  virtual std::int64_t owner() const = 0;

  // Reports, on a read connection of their own; a read transaction lasts one batch of rows.
  virtual Status read_entries(const EntryBounds& bounds,
                              const std::function<bool(std::span<const Entry>)>& batch) = 0;
  // What was committed after the cursor `after` (0: from the beginning): whole commits, until there
  // are `limit` entries. Entries that were archived since are left out.
  virtual StatusOr<Changes> changes(std::int64_t after, std::size_t limit) = 0;
  virtual StatusOr<std::vector<HoldInfo>> holds() = 0;
  virtual StatusOr<std::vector<ScopeInfo>> scopes() = 0;
  // Replays every entry in one read transaction (about a second per million rows).
  virtual StatusOr<VerifyReport> verify() = 0;

  // Moves the entries of closed months before `before` ("2026-09") into the archive at `path`,
  // which is made or added to; see archive.h. Balances, limits and verify() stay as they are; calls
  // of those months can no longer be refunded or corrected here. Blocking; the ledger works on
  // meanwhile. InvalidArgument: no month, or another file at `path`.
  virtual StatusOr<Archived> archive(std::string_view before, const std::string& path) = 0;

  // One turn of the writer in this thread; only with threaded = false. True if it committed.
  virtual bool pump() = 0;
};

// Opens a file, or a ledger in memory, and enters this engine as a live owner; ends what dead
// owners left. `sink` must outlive close(). FailedPrecondition: the file was made by a newer
// version, needs a migration while an older engine lives, is open here with another durability, or
// came through a fork. InvalidArgument: no admit function, or not a database.
StatusOr<std::shared_ptr<Ledger>> open_ledger(const LedgerOptions& options, VerdictSink* sink);

// The entries of an archive, oldest month first, and whether its books agree. Any thread; no engine
// is needed. NotFound: no such file. InvalidArgument: not an archive.
Status read_archive(const std::string& path, const EntryBounds& bounds,
                    const std::function<bool(std::span<const Entry>)>& batch);
// Those of bounds.archives, each month once, whoever holds copies of it; without the months
// `elsewhere` (segment_of()), which are read in the ledger.
Status read_archives(const EntryBounds& bounds,
                     const std::function<bool(std::span<const Entry>)>& batch,
                     std::vector<std::int32_t> elsewhere);
StatusOr<VerifyReport> verify_archive(const std::string& path);

// Fork. before(): takes every lock of every ledger of the process, so that no transaction is under
// way; then after_in_parent() or after_in_child(). In the child every inherited ledger is dead: its
// calls are answered by nobody, its methods return FailedPrecondition, its descriptors are closed,
// the parent's reservations stay; a fresh open_ledger() works. For os.register_at_fork. A fork that
// passes them by is found at the next command: it is refused, and so is open_ledger() on that file.
void fork_before();
void fork_after_in_parent();
void fork_after_in_child();

}  // namespace sluiceway::store
