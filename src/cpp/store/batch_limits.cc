// Limits of scopes: opened, replaced, granted. Each is a transaction of its own: see batch.h.
#include <absl/strings/str_cat.h>

#include <algorithm>

#include "store/batch.h"
#include "store/codec.h"

namespace sluiceway::store {
namespace {

std::string limit_text(const ScopeConfig& config) {
  return config.limit ? amount_text(*config.limit, config.unit) : "none";
}

}  // namespace

StatusOr<std::shared_ptr<Scope>> BatchWriter::open_scope(const ScopeConfig& config,
                                                         const TimeZone& zone) {
  const std::string name = scope_name(config.kind, config.key, "");
  if (Status s = begin(); !s.ok()) return end(std::move(s), "", "");
  StatusOr<std::optional<LimitRow>> found = backend_.find_limit(config.kind, config.key);
  if (!found.ok()) return end(found.status(), "", "");
  std::int64_t id = 0;
  Status refused;
  if (found->has_value()) {
    const ScopeConfig& old = (*found)->config;
    id = (*found)->scope_id;
    if (old.period != config.period || old.time_zone != config.time_zone ||
        old.rolling_ns != config.rolling_ns || old.unit != config.unit) {
      refused = absl::FailedPreconditionError(
          absl::StrCat("scope ", name, " exists with another period, time zone, window or unit, ",
                       "which stay as they are; give the new one another name"));
    } else if (old.limit != config.limit && !config.replace && !config.keep) {
      refused = absl::FailedPreconditionError(
          absl::StrCat("scope ", name, " exists with limit ", limit_text(old), ", not ",
                       limit_text(config), "; pass replace=True to change it"));
    }
  }
  const Nanousd granted = found->has_value() ? (*found)->granted : 0;
  ScopeConfig stored = config;  // as the file has it after this
  if (config.keep && found->has_value()) stored.limit = (*found)->config.limit;
  const Nanousd limit = stored.limit ? saturating_add(*stored.limit, granted) : kNanousdMax;
  if (refused.ok() && stored.limit && granted > 0 && limit == kNanousdMax) {
    refused = invalid_argument("the limit and what was granted are out of range together");
  }
  if (!refused.ok()) return refuse(std::move(refused));
  Status written;
  if (!found->has_value()) {
    StatusOr<std::int64_t> made = backend_.insert_limit(config, now_ns_);
    written = made.status();
    if (made.ok()) id = *made;
  } else if (config.replace) {
    written = replace_limit(**found, config, zone);
  }
  if (Status s = end(std::move(written), "scope.before_commit", "scope.after_commit"); !s.ok()) {
    return s;
  }
  if (config.replace) ++epoch_;  // the cached rows carry the old limit
  auto& known = scopes_by_name_[name];
  std::shared_ptr<Scope> scope = known.lock();
  if (scope == nullptr || scope->id() != id) {
    scope = std::make_shared<Scope>(std::move(stored), id, zone);
    scope->store_hint(limit, 0, 0, 0, false, 0);
    known = scope;
  } else if (config.replace) {
    scope->store_hint(limit, scope->settled(), scope->held(), scope->in_doubt(), false, 0);
  }
  return scope;
}

// The new limit, and a row that says so where it differs. The id is made here: time-ordered, and
// the scope's.
Status BatchWriter::replace_limit(const LimitRow& old, const ScopeConfig& config,
                                  const TimeZone& zone) {
  if (old.config.limit != config.limit) {
    const std::string window = window_key(config.period, now_ns_, zone);
    std::optional<Nanousd> before = old.config.limit;
    if (before) before = saturating_add(*before, old.granted);
    if (Status s = backend_.close_limits(old.scope_id, window, before); !s.ok()) return s;
    StatusOr<std::int64_t> labels = backend_.intern_labels(CallLabels{.unit = config.unit});
    if (!labels.ok()) return labels.status();
    const BalanceRef scope_ref[] = {{.id = old.scope_id}};
    blob_balances_.clear();
    encode_balances(scope_ref, blob_balances_);
    const auto said = [](const std::optional<Nanousd>& limit) {
      return limit ? absl::StrCat(*limit) : std::string("none");
    };
    const std::string evidence = absl::StrCat("the configured limit was ", said(old.config.limit),
                                              " and is ", said(config.limit));
    EntryRow row;
    row.call_id.high = static_cast<std::uint64_t>(now_ns_ / kNsPerMs) << 16 | 0x7fff;
    row.call_id.low = std::uint64_t{2} << 62 | static_cast<std::uint64_t>(old.scope_id) << 20;
    row.kind = EntryKind::kReplace;
    row.segment = segment_;
    row.time_ns = now_ns_;
    row.amount = config.limit.value_or(kNanousdMax) - old.config.limit.value_or(kNanousdMax);
    row.labels = *labels;
    row.balances = blob_balances_;
    row.evidence = evidence;
    for (bool fresh = false; !fresh; ++row.call_id.low) {  // twice within a millisecond
      StatusOr<bool> inserted = write_entry(row);
      if (!inserted.ok()) return inserted.status();
      fresh = *inserted;
    }
  }
  return backend_.replace_limit(old.scope_id, config.limit);
}

StatusOr<Nanousd> BatchWriter::grant(const Id& id, Scope& scope, Nanousd amount,
                                     std::string_view evidence, std::string_view idempotency_key) {
  if (amount == 0) return invalid_argument("a grant is not 0");
  Status status = begin();
  if (status.ok()) status = resolve_scope(scope);
  StatusOr<ScopeBalance> sum = ScopeBalance{};
  if (status.ok()) {
    sum = sum_scope(scope);
    status = sum.status();
  }
  if (!status.ok()) return end(std::move(status), "", "");
  if (sum->limit == kNanousdMax) {
    return refuse(absl::FailedPreconditionError(
        absl::StrCat("scope ", scope.name(), " has no limit that a grant could change")));
  }
  if (!idempotency_key.empty()) {
    StatusOr<bool> before = granted_before(amount, idempotency_key);
    if (absl::IsAlreadyExists(before.status())) return refuse(before.status());
    if (!before.ok()) return end(before.status(), "", "");
    if (*before) {
      (void)refuse(absl::OkStatus());
      return sum->limit;
    }
  }
  const Nanousd limit = saturating_add(sum->limit, amount);
  if (limit == kNanousdMax) return refuse(invalid_argument("the limit would be out of range"));
  if (amount < 0 && limit < std::max<Nanousd>(sum->taken(), 0)) {
    return refuse(absl::FailedPreconditionError(absl::StrCat(
        "scope ", scope.name(), " cannot be lowered to ", amount_text(limit, scope.config().unit),
        ": ", amount_text(sum->taken(), scope.config().unit), " is used or held")));
  }
  StatusOr<std::int64_t> labels = backend_.intern_labels(CallLabels{.unit = scope.config().unit});
  status = labels.status();
  const BalanceRef scope_ref[] = {{.id = scope.id()}};
  blob_balances_.clear();
  encode_balances(scope_ref, blob_balances_);
  EntryRow row;
  row.call_id = id;
  row.kind = EntryKind::kGrant;
  row.segment = segment_;
  row.time_ns = now_ns_;
  row.amount = amount;
  row.labels = labels.ok() ? *labels : 0;
  row.balances = blob_balances_;
  row.evidence = evidence;
  if (status.ok()) {
    StatusOr<bool> inserted = write_entry(row);
    status = inserted.status();
    if (inserted.ok() && !*inserted) {
      return refuse(absl::FailedPreconditionError("the grant's id has been used before"));
    }
  }
  if (status.ok() && !idempotency_key.empty()) {
    status =
        backend_.insert_submission("", idempotency_key, {.intent_id = id, .call_id = id}, now_ns_);
  }
  if (status.ok()) {
    const std::string window = window_key(scope.config().period, now_ns_, scope.zone());
    status = backend_.close_limits(scope.id(), window, sum->limit);
  }
  const bool unblock = amount > 0 && sum->taken() <= limit;
  if (status.ok()) status = backend_.add_granted(scope.id(), amount, unblock);
  if (status = end_command(std::move(status), {&row, 1}, scope.id()); !status.ok()) return status;
  ++epoch_;  // the cached rows carry the old limit
  scope.store_hint(limit, sum->settled, sum->held, sum->in_doubt, sum->blocked && !unblock, 0);
  return limit;
}

// Whether the key says that this grant has happened already.
StatusOr<bool> BatchWriter::granted_before(Nanousd amount, std::string_view idempotency_key) {
  StatusOr<std::optional<Submission>> earlier = backend_.find_submission("", idempotency_key);
  if (!earlier.ok()) return earlier.status();
  if (!earlier->has_value()) return false;
  StatusOr<std::optional<CallRow>> entry = backend_.find_call((*earlier)->call_id);
  if (!entry.ok()) return entry.status();
  const Nanousd then = entry->has_value() ? (*entry)->granted : amount;  // archived: not known
  if (then == amount) return true;
  return absl::AlreadyExistsError(
      absl::StrCat("the key ", to_absl(idempotency_key), " was used for another amount"));
}

}  // namespace sluiceway::store
