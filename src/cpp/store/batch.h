// The rules of the ledger: one batch of finishes and reservations in one transaction.
//
// Model. run() begins a transaction, applies the finishes (which frees money), reads each scope
// once, lets the AdmitFn decide on all reservations, writes the rows of those admitted, writes each
// balance once, and commits. Either all of it is durable, or none of it happened: then the caches
// and the map of open calls are put back, reservations are answered kUnavailable and the finishes
// stay with the caller. A commit that failed may still turn out to be durable; after one, holds of
// ours that were answered kUnavailable are voided, and a finish whose hold is gone already is
// dropped (it was written). So are bookings, grants and refunds taken back by rows of their own.
//
// Bounds: O(rows) a batch; memory: the open calls of this process and the scopes in use. Threads:
// none of its own; one thread at a time, under the core's commit mutex.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "store/backend.h"
#include "store/codec.h"

namespace sluiceway::store {

struct PendingReserve {
  Reservation reservation;
  void* client = nullptr;  // whose sink is to hear
  std::int64_t owner = 0;
};

struct PendingFinish {
  Finish finish;
  std::int64_t owner = 0;
};

struct Answer {
  void* client = nullptr;
  Verdict verdict;
};

class BatchWriter {
 public:
  BatchWriter(Backend& backend, AdmitFn admit, const Clock& clock, LedgerStats& stats);

  // Takes `reserves` and appends an answer for each, but moves to `deferred` those that must wait
  // for another batch (a second use of an idempotency key of this one). An error: nothing happened,
  // all are answered kUnavailable, and the finishes are still to be written.
  Status run(std::span<const PendingFinish> finishes, std::vector<PendingReserve>& reserves,
             std::vector<Answer>& answers, std::vector<PendingReserve>& deferred);

  // Limits (batch_limits.cc).
  StatusOr<std::shared_ptr<Scope>> open_scope(const ScopeConfig& config, const TimeZone& zone);
  StatusOr<Nanousd> grant(const Id& id, Scope& scope, Nanousd amount, std::string_view evidence,
                          std::string_view idempotency_key);

  StatusOr<std::int64_t> enter_owner();
  // Turns the open holds of dead owners into doubt and forgets the owners.
  Status recover(std::span<const std::int64_t> owners);
  // Undoes what a failed transaction may have made durable, where no other has done so since. Every
  // transaction begins with that; this one is for a ledger that has nothing else to do.
  Status reconcile_lost();
  Status resolve(const Id& call, Nanousd amount, std::string_view evidence);
  StatusOr<std::int64_t> post_in_doubt(std::int64_t older_than_ns);

  // Bookings (batch_book.cc), refunds (batch_refund.cc) and jobs (batch_jobs.cc).
  StatusOr<Booked> book(const Booking& booking);
  StatusOr<Nanousd> refund(const Refund& refund);
  Status create_job(JobRow row);
  Status update_job(const JobUpdate& update);

  // Closed months that are here (batch_months.cc).
  StatusOr<std::vector<MonthInfo>> months();
  // Lets go of a month that the archive at `path` has. False: it has changed since it was copied.
  StatusOr<bool> drop_month(const MonthSums& month, std::string_view path);

  Status reanchor_time();
  std::size_t open_calls() const { return open_.size(); }

 private:
  struct OpenCall {
    Nanousd amount = 0;
    std::int64_t labels = 0, owner = 0;
    std::int32_t segment = 0;
    bool in_doubt = false;
    std::vector<std::shared_ptr<BalanceRow>> balances;
    std::shared_ptr<const CallLabels> labels_object;  // with an idempotency key only
    std::string idempotency_key;
  };
  using RowPtr = std::shared_ptr<BalanceRow>;
  struct Lost {
    EntryRow row;  // without its texts
    std::int64_t scope_id = 0;
    std::string balances;  // of a refund in some scopes
    std::string key;       // of a refund, with the id that used it
    Id key_id;
  };

  // The frame of a transaction: begin() checks the caches; end() commits, or undoes all of it.
  Status begin();
  Status end(Status so_far, const char* before_label, const char* after_label);
  void undo();
  Status store_time();
  Status refuse(Status why);

  // Transactions that were lost (batch_lost.cc).
  Status reconcile();
  Status end_command(Status so_far, std::span<const EntryRow> rows, std::int64_t scope_id = 0);
  Status take_back(const Lost& lost);

  // Balances (batch_scopes.cc).
  Status touch(const RowPtr& row);
  void mark_dirty(const RowPtr& row);
  Status flush_balances();
  StatusOr<RowPtr> balance_by_id(std::int64_t id);
  RowPtr adopt(BalanceRow&& row);
  StatusOr<RowPtr> row_of(const BalanceRef& ref);
  Status fold_slots(Scope& scope, std::int64_t slot);
  StatusOr<RowPtr> fresh_row(const Scope& scope, std::string window, std::int64_t slot);
  Status resolve_scope(Scope& scope);
  Status list_slots(Scope& scope, std::int64_t slot);
  StatusOr<ScopeBalance> sum_scope(Scope& scope);
  void publish_hints();
  void sweep();

  // Ends (batch_finish.cc).
  Status apply_finish(const PendingFinish& pending);
  StatusOr<OpenCall> from_hold(const HoldRow& hold);
  StatusOr<std::optional<OpenCall>> readable_hold(const HoldRow& hold);
  void forget(const Id& id);
  Status end_hold(const Id& id, const OpenCall& call, EntryRow& row);
  Status doubt(const Id& id, const OpenCall& call, EntryRow& row);
  Status shrink(const Id& id, const OpenCall& call, EntryRow& row);
  Status doubt_all(std::int64_t owner);
  StatusOr<bool> write_entry(const EntryRow& row);
  Status add_settled(const CallRow& call, Nanousd amount);

  // Limits, bookings, refunds and jobs.
  Status replace_limit(const LimitRow& old, const ScopeConfig& config, const TimeZone& zone);
  // What a booking's part counts in: batch_scopes_ from `first` up to `last`.
  struct Counted {
    std::size_t first = 0, last = 0;
  };
  Status write_part(const Booking& booking, const Booked::Part& part, Counted in, Booked& out,
                    std::vector<EntryRow>& rows);
  Status write_parts(const Booking& booking, Nanousd allowed, std::size_t named, Booked& out,
                     std::vector<EntryRow>& rows);
  StatusOr<Booked> recall(const Booking& booking, const Id& earlier);
  void describe(std::size_t index, Booked& out);
  StatusOr<std::vector<BalanceRef>> refs_within(const CallRow& call,
                                                std::span<const std::string> scopes);
  StatusOr<std::optional<Nanousd>> refunded_before(const Refund& refund);
  Status write_refunds(const Refund& refund, std::span<const CallRow> calls,
                       std::span<const std::string> only, std::vector<EntryRow>& rows);
  StatusOr<bool> granted_before(Nanousd amount, std::string_view idempotency_key);
  Status adopt_hold(const Id& id);
  Status end_job_hold(const JobUpdate& update);

  // Admission (batch_admit.cc).
  void start_batch();
  Status decide(std::vector<PendingReserve>& reserves, std::vector<Answer>& answers,
                std::vector<PendingReserve>& deferred);
  enum class Prepared { kDecide, kAnswered, kDeferred };
  StatusOr<Prepared> prepare(const PendingReserve& pending, Verdict& verdict);
  Status add_scopes(const Reservation& reservation);
  void apply_held();
  Status write_admitted(PendingReserve& pending, Verdict& verdict);
  void fill_refusal(const AdmissionResult& result, Verdict& verdict);
  StatusOr<std::int64_t> labels_id(const std::shared_ptr<const CallLabels>& labels);
  StatusOr<std::int64_t> price_id(std::string_view version);

  Backend& backend_;
  const AdmitFn admit_;
  const Clock& clock_;
  LedgerStats& stats_;
  LedgerTime time_;
  std::int64_t now_ns_ = 0;  // ledger time of the running transaction
  std::int32_t segment_ = 0;
  std::uint64_t epoch_ = 1;       // of cached values: another process wrote
  std::uint64_t generation_ = 1;  // of cached row numbers: a transaction was lost
  std::uint64_t stamp_ = 0;       // of the running batch
  bool reconcile_due_ = false;    // a lost transaction may turn out to be durable
  // What lost transactions of commands wrote; taken back where it is there after all.
  std::vector<Lost> lost_;
  bool clock_known_ = false;
  ClockRow stored_clock_;    // as the file has it
  std::string commit_refs_;  // of the rows that this transaction wrote

  absl::flat_hash_map<Id, OpenCall, IdHash> open_;
  std::vector<std::pair<Id, std::optional<OpenCall>>> undo_;  // before this transaction
  std::vector<std::int64_t> registered_;                      // balance rows new in it
  LedgerStats counted_;                                       // added to stats_ when it commits
  absl::flat_hash_set<std::int64_t> own_owners_;
  absl::flat_hash_map<std::int64_t, RowPtr> balances_;
  std::size_t sweep_at_ = 1024;
  std::vector<RowPtr> dirty_;
  text_map<std::weak_ptr<Scope>> scopes_by_name_;
  absl::flat_hash_map<const CallLabels*, std::pair<std::shared_ptr<const CallLabels>, std::int64_t>>
      labels_;
  text_map<std::int64_t> prices_;

  // Of the running batch, kept for their memory.
  std::vector<Scope*> batch_scopes_;
  std::vector<ScopeBalance> sums_, sums_before_;
  std::vector<std::uint32_t> indices_;
  std::vector<AdmissionItem> items_;
  std::vector<std::size_t> reserve_of_, answer_of_;  // item -> reservation, answer
  std::vector<AdmissionResult> results_;
  text_map<bool> keys_seen_;
  std::string blob_balances_, blob_usage_;
  std::vector<BalanceRef> refs_;
};

}  // namespace sluiceway::store
