// How each planted bug misbehaves: see mutants.h.
#include "simulation/mutants.h"

#include <sqlite3.h>

#include <set>
#include <utility>

namespace sluiceway::simulation {
namespace {

using store::Finish;
using store::Ledger;
using store::Reservation;
using store::Verdict;

constexpr double kDollar = 1e9;

void take(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> own, Nanousd amount) {
  std::set<std::uint32_t> once(own.begin(), own.end());
  for (const std::uint32_t i : once) scopes[i].held += amount;
}

void admit_all(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> indices,
               std::span<const AdmissionItem> items, std::span<AdmissionResult> out) {
  for (std::size_t n = 0; n < items.size(); ++n) {
    out[n] = {};
    take(scopes, indices.subspan(items[n].first_index, items[n].index_count), items[n].amount);
  }
}

void admit_in_floats(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> indices,
                     std::span<const AdmissionItem> items, std::span<AdmissionResult> out) {
  for (std::size_t n = 0; n < items.size(); ++n) {
    const auto own = indices.subspan(items[n].first_index, items[n].index_count);
    out[n] = {};
    for (const std::uint32_t i : own) {
      const ScopeBalance& b = scopes[i];
      const double spent = static_cast<double>(b.settled) / kDollar +
                           static_cast<double>(b.held) / kDollar +
                           static_cast<double>(b.in_doubt) / kDollar +
                           static_cast<double>(items[n].amount) / kDollar;
      if (b.blocked) out[n] = {AdmissionVerdict::kBlocked, i};
      if (!b.blocked && spent > static_cast<double>(b.limit) / kDollar) {
        out[n] = {AdmissionVerdict::kExceeded, i};
      }
      if (out[n].verdict != AdmissionVerdict::kAdmitted) break;
    }
    if (out[n].verdict == AdmissionVerdict::kAdmitted) take(scopes, own, items[n].amount);
  }
}

// Takes scope by scope, and forgets to give back what it took before one refused.
void admit_with_a_trace(std::span<ScopeBalance> scopes, std::span<const std::uint32_t> indices,
                        std::span<const AdmissionItem> items, std::span<AdmissionResult> out) {
  for (std::size_t n = 0; n < items.size(); ++n) {
    out[n] = {};
    for (const std::uint32_t i : indices.subspan(items[n].first_index, items[n].index_count)) {
      ScopeBalance& b = scopes[i];
      if (b.blocked || b.settled + b.held + b.in_doubt + items[n].amount > b.limit) {
        out[n] = {b.blocked ? AdmissionVerdict::kBlocked : AdmissionVerdict::kExceeded, i};
        break;
      }
      b.held += items[n].amount;
    }
  }
}

AdmitFn admit_of(Mutation mutation, AdmitFn honest) {
  switch (mutation) {
    case Mutation::kCheckThenRecord:
      return &admit_all;
    case Mutation::kFloatAdmission:
      return &admit_in_floats;
    case Mutation::kHeldWhenRefused:
      return &admit_with_a_trace;
    default:
      return honest;
  }
}

class MutatedLedger final : public Ledger, public store::VerdictSink {
 public:
  MutatedLedger(Mutation mutation, store::VerdictSink* engine)
      : mutation_(mutation), engine_(engine) {}
  ~MutatedLedger() override {
    if (inner_) inner_->close();
  }
  void set_inner(std::shared_ptr<Ledger> inner) { inner_ = std::move(inner); }

  void on_verdicts(std::span<Verdict> verdicts) override {
    if (mutation_ == Mutation::kSendBeforeCommit) return;  // told already
    engine_->on_verdicts(verdicts);
  }
  void reserve(Reservation&& reservation) override {
    if (mutation_ == Mutation::kSendBeforeCommit) {
      Verdict verdict;
      verdict.token = reservation.token;
      verdict.kind = Verdict::kAdmitted;
      verdict.amount = reservation.amount;
      answer(std::move(verdict));
    }
    if (mutation_ == Mutation::kCheckThenRecord) {
      for (const auto& scope : reservation.scopes) {
        const auto b = inner_->balance(*scope);
        if (!b.ok() || b->settled + b->held + b->in_doubt + reservation.amount <= b->limit) {
          continue;
        }
        Verdict verdict;
        verdict.token = reservation.token;
        verdict.kind = Verdict::kExceeded;
        verdict.amount = reservation.amount;
        verdict.scope = scope->name();
        verdict.balance = *b;
        return answer(std::move(verdict));
      }
    }
    inner_->reserve(std::move(reservation));
  }
  void finish(Finish&& finish) override {
    if (mutation_ == Mutation::kForgottenEnd && ++ends_ % 8 == 0) return;
    if (mutation_ == Mutation::kRefundOnExpiry && finish.kind == store::EntryKind::kInDoubt) {
      finish.kind = store::EntryKind::kVoid;
    }
    if (mutation_ == Mutation::kFloatCost && finish.usage.any()) {
      const double dollars = static_cast<double>(finish.usage.get(Bucket::kInput)) * 0.000001 +
                             static_cast<double>(finish.usage.get(Bucket::kOutput)) * 0.000002;
      finish.amount = static_cast<Nanousd>(dollars * kDollar);
    }
    inner_->finish(std::move(finish));
  }

  StatusOr<std::shared_ptr<store::Scope>> open_scope(const store::ScopeConfig& config) override {
    return inner_->open_scope(config);
  }
  StatusOr<ScopeBalance> balance(const store::Scope& scope) override {
    return inner_->balance(scope);
  }
  Status resolve(const Id& call, Nanousd amount, std::string evidence) override {
    return inner_->resolve(call, amount, std::move(evidence));
  }
  StatusOr<store::Booked> book(store::Booking&& booking) override {
    return inner_->book(std::move(booking));
  }
  StatusOr<Nanousd> grant(const Id& id, store::Scope& scope, Nanousd amount, std::string evidence,
                          std::string idempotency_key) override {
    return inner_->grant(id, scope, amount, std::move(evidence), std::move(idempotency_key));
  }
  StatusOr<Nanousd> refund(const store::Refund& refund) override { return inner_->refund(refund); }
  Status create_job(store::JobRow row) override { return inner_->create_job(std::move(row)); }
  Status update_job(store::JobUpdate update) override {
    return inner_->update_job(std::move(update));
  }
  StatusOr<std::optional<store::JobRow>> find_job(const Id& call) override {
    return inner_->find_job(call);
  }
  StatusOr<std::optional<store::JobRow>> find_job(std::string_view provider_job_id) override {
    return inner_->find_job(provider_job_id);
  }
  StatusOr<std::vector<store::JobRow>> jobs(std::string_view state) override {
    return inner_->jobs(state);
  }
  StatusOr<store::Changes> changes(std::int64_t after, std::size_t limit) override {
    return inner_->changes(after, limit);
  }
  StatusOr<store::Archived> archive(std::string_view before, const std::string& path) override {
    return inner_->archive(before, path);
  }
  StatusOr<std::int64_t> post_in_doubt(std::int64_t older_than_ns) override {
    return inner_->post_in_doubt(older_than_ns);
  }
  Status reanchor_time() override { return inner_->reanchor_time(); }
  Status flush(std::int64_t timeout_ns) override { return inner_->flush(timeout_ns); }
  void close() override { inner_->close(); }
  int live_engines() const override { return inner_->live_engines(); }
  std::int64_t ledger_time_ns() override { return inner_->ledger_time_ns(); }
  store::LedgerStats stats() const override { return inner_->stats(); }
  std::int64_t owner() const override { return inner_->owner(); }
  Status read_entries(const store::EntryBounds& bounds,
                      const std::function<bool(std::span<const store::Entry>)>& batch) override {
    return inner_->read_entries(bounds, batch);
  }
  StatusOr<std::vector<store::HoldInfo>> holds() override { return inner_->holds(); }
  StatusOr<std::vector<store::ScopeInfo>> scopes() override { return inner_->scopes(); }
  StatusOr<store::VerifyReport> verify() override { return inner_->verify(); }
  bool pump() override { return inner_->pump(); }

 private:
  void answer(Verdict verdict) { engine_->on_verdicts({&verdict, 1}); }

  const Mutation mutation_;
  store::VerdictSink* engine_;
  std::shared_ptr<Ledger> inner_;
  std::uint64_t ends_ = 0;
};

}  // namespace

std::string_view mutation_name(Mutation mutation) {
  static constexpr std::string_view kNames[] = {
      "none",        "refund on expiry",  "check then record",  "settle twice", "float admission",
      "float costs", "held when refused", "send before commit", "forgotten end"};
  return kNames[static_cast<std::size_t>(mutation)];
}

StatusOr<std::shared_ptr<Ledger>> open_mutated(Mutation mutation, store::LedgerOptions options,
                                               store::VerdictSink* sink) {
  auto mutated = std::make_shared<MutatedLedger>(mutation, sink);
  options.admit = admit_of(mutation, options.admit);
  auto inner = store::open_ledger(options, mutated.get());
  if (!inner.ok()) return inner.status();
  mutated->set_inner(*std::move(inner));
  return std::shared_ptr<Ledger>(std::move(mutated));
}

bool plant_trigger(const std::string& path) {
  sqlite3* db = nullptr;
  bool planted = false;
  if (sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK) {
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    planted = sqlite3_exec(db,
                           "CREATE TRIGGER twice AFTER INSERT ON entries_202611 WHEN NEW.kind = 1"
                           " BEGIN INSERT INTO entries_202611 SELECT call_id, attempt + 100, kind,"
                           " time_ns, amount, labels, price, flags, latency_ns, intent_id,"
                           " balances, usage, request_id, evidence FROM entries_202611"
                           " WHERE call_id = NEW.call_id AND attempt = NEW.attempt AND kind = 1;"
                           " END",
                           nullptr, nullptr, nullptr) == SQLITE_OK;
  }
  sqlite3_close(db);
  return planted;
}

}  // namespace sluiceway::simulation
