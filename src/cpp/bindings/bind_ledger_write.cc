// What Python writes into the ledger beside calls: grants, bookings, refunds, rows of jobs. All
// blocking, durable when they return.
#include <optional>

#include <absl/strings/numbers.h>
#include <pybind11/stl.h>

#include "bindings/errors.h"
#include "bindings/gil.h"
#include "bindings/host.h"

namespace sluiceway::bindings {
namespace {

Id id_of(const std::string& text) {
  const auto id = Id::parse(text);
  if (!id) raise("InvalidRequest", "'" + text + "' is not a call id");
  return *id;
}

Usage usage_of(const std::map<std::string, std::int64_t>& buckets) {
  Usage usage;
  for (const auto& [name, units] : buckets) {
    const std::size_t index = bucket_index(name);
    if (index >= kBucketCount) raise("InvalidRequest", "'" + name + "' is no usage bucket");
    usage.set(static_cast<Bucket>(index), units);
  }
  return usage;
}

py::dict balance_dict(const ScopeBalance& balance) {
  py::dict out;
  out["limit"] = balance.limit == kNanousdMax ? py::object(py::none()) : py::int_(balance.limit);
  out["settled"] = balance.settled;
  out["held"] = balance.held;
  out["in_doubt"] = balance.in_doubt;
  out["blocked"] = balance.blocked;
  return out;
}

std::int64_t grant(EngineHost& host, PyScope& scope, std::int64_t amount, std::string evidence,
                   std::string idempotency_key) {
  const auto handle = scope.get();
  const auto engine = host.engine();
  StatusOr<Nanousd> limit = Nanousd{0};
  {
    const ReleaseGil unlocked;
    limit = engine->ledger().grant(engine->new_id(), *handle, amount, std::move(evidence),
                                   std::move(idempotency_key));
  }
  return take(std::move(limit));
}

// A list of (call id, amount).
py::list parts_list(const std::vector<store::Booked::Part>& parts) {
  py::list out;
  for (const store::Booked::Part& part : parts) {
    out.append(py::make_tuple(part.call_id.text(), part.amount));
  }
  return out;
}

py::dict book(EngineHost& host, const std::vector<PyScope*>& scopes, std::int64_t amount,
              std::string provider, std::string model, std::string operation, std::string tenant,
              std::string account, std::string tags,
              const std::map<std::string, std::int64_t>& usage, std::string evidence,
              std::string idempotency_key, bool force, PyScope* allowance, bool any_scopes) {
  store::CallLabels labels{std::move(provider), std::move(model),   std::move(operation),
                           std::move(tenant),   std::move(account), std::move(tags)};
  store::Booking booking{.amount = amount, .usage = usage_of(usage)};
  for (PyScope* scope : scopes) booking.scopes.push_back(scope->get());
  if (!booking.scopes.empty()) labels.unit = booking.scopes.front()->config().unit;
  booking.labels = std::make_shared<const store::CallLabels>(std::move(labels));
  booking.evidence = std::move(evidence);
  booking.idempotency_key = std::move(idempotency_key);
  booking.force = force;
  if (allowance != nullptr) booking.allowance = allowance->get();
  booking.any_scopes = any_scopes;
  const auto engine = host.engine();
  booking.call_id = engine->new_id();
  if (allowance != nullptr) booking.call_id.low &= ~std::uint64_t{1};  // room for a second part
  StatusOr<store::Booked> answer = store::Booked{};
  {
    const ReleaseGil unlocked;
    answer = engine->ledger().book(std::move(booking));
  }
  const store::Booked booked = take(std::move(answer));
  py::dict out;
  out["call_id"] = booked.call_id.text();
  out["parts"] = parts_list(booked.parts);
  out["same"] = booked.same;
  out["admitted"] = booked.admitted;
  out["duplicate"] = booked.duplicate;
  out["overrun"] = booked.overrun;
  out["scope"] = booked.scope;
  out["balance"] = balance_dict(booked.balance);
  return out;
}

// (whether it was refunded, what the calls cost now)
py::tuple refund(EngineHost& host, const std::vector<std::string>& call_ids, std::int64_t amount,
                 std::string evidence, std::vector<std::string> within,
                 std::string idempotency_key) {
  store::Refund asked{.within = std::move(within), .amount = amount};
  asked.evidence = std::move(evidence);
  asked.idempotency_key = std::move(idempotency_key);
  for (const std::string& call_id : call_ids) asked.calls.push_back(id_of(call_id));
  const auto engine = host.engine();
  asked.id = engine->new_id();
  StatusOr<Nanousd> cost = Nanousd{0};
  {
    const ReleaseGil unlocked;
    cost = engine->ledger().refund(asked);
  }
  Nanousd left = 0;
  if (absl::IsOutOfRange(cost.status()) && absl::SimpleAtoi(cost.status().message(), &left)) {
    return py::make_tuple(false, left);
  }
  return py::make_tuple(true, take(std::move(cost)));
}

// 202609 -> "2026-09".
std::vector<std::string> month_names(const std::vector<std::int32_t>& months) {
  std::vector<std::string> out;
  out.reserve(months.size());
  for (const std::int32_t month : months) {
    out.push_back(std::to_string(month).insert(4, "-"));
  }
  return out;
}

py::dict archive(EngineHost& host, const std::string& before, const std::string& path) {
  const auto engine = host.engine();
  StatusOr<store::Archived> done = store::Archived{};
  {
    const ReleaseGil unlocked;
    done = engine->ledger().archive(before, path);
  }
  const store::Archived archived = take(std::move(done));
  py::dict out;
  out["segments"] = month_names(archived.months);
  out["kept"] = month_names(archived.kept);
  out["entries"] = archived.entries;
  out["path"] = path;
  return out;
}

py::dict job_dict(const store::JobRow& job) {
  py::dict out;
  out["call_id"] = job.call_id.text();
  out["provider"] = job.provider;
  out["account"] = job.account;
  out["tenant"] = job.tenant;
  out["key_id"] = job.key_id;
  out["provider_job_id"] = job.provider_job_id;
  out["state"] = job.state;
  out["request"] = job.request;
  out["result"] = job.result;
  out["created_s"] = static_cast<double>(job.created_ns) / 1e9;
  out["updated_s"] = static_cast<double>(job.updated_ns) / 1e9;
  return out;
}

void create_job(EngineHost& host, const std::string& call_id, std::string provider,
                std::string account, std::string tenant, std::string key_id,
                std::string provider_job_id, std::string request, std::string state) {
  store::JobRow row{id_of(call_id),    std::move(provider), std::move(account),
                    std::move(tenant), std::move(key_id),   std::move(provider_job_id),
                    std::move(state),  std::move(request)};
  const auto engine = host.engine();
  Status status;
  {
    const ReleaseGil unlocked;
    status = engine->ledger().create_job(std::move(row));
  }
  check(status);
}

void update_job(EngineHost& host, const std::string& call_id, std::string state,
                std::optional<std::string> result, std::optional<std::int64_t> settle, bool release,
                const std::map<std::string, std::int64_t>& usage, std::string evidence,
                std::string price_version) {
  store::JobUpdate update{
      id_of(call_id), std::move(state), std::move(result),   settle,
      release,        usage_of(usage),  std::move(evidence), std::move(price_version)};
  const auto engine = host.engine();
  Status status;
  {
    const ReleaseGil unlocked;
    status = engine->ledger().update_job(std::move(update));
  }
  check(status);
}

// By the call's id where it is one, else by the provider's.
py::object get_job(EngineHost& host, const std::string& id) {
  const auto call = Id::parse(id);
  const auto engine = host.engine();
  StatusOr<std::optional<store::JobRow>> found = std::optional<store::JobRow>{};
  {
    const ReleaseGil unlocked;
    if (call) found = engine->ledger().find_job(*call);
    if (found.ok() && !found->has_value()) found = engine->ledger().find_job(std::string_view(id));
  }
  const auto job = take(std::move(found));
  return job ? py::object(job_dict(*job)) : py::object(py::none());
}

py::list list_jobs(EngineHost& host, const std::optional<std::string>& state) {
  const auto engine = host.engine();
  StatusOr<std::vector<store::JobRow>> found = std::vector<store::JobRow>{};
  {
    const ReleaseGil unlocked;
    found = engine->ledger().jobs(state.value_or(""));
  }
  py::list out;
  for (const auto& job : take(std::move(found))) out.append(job_dict(job));
  return out;
}

}  // namespace

void init_ledger_write(py::class_<EngineHost, std::shared_ptr<EngineHost>>& engine) {
  const std::map<std::string, std::int64_t> no_usage;
  engine
      .def("ledger_grant", &grant, py::arg("scope"), py::arg("amount"), py::arg("evidence"),
           py::arg("idempotency_key") = "",
           "Changes a scope's limit by an entry of its own; the new limit.")
      .def("ledger_book", &book, py::arg("scopes"), py::arg("amount"), py::kw_only(),
           py::arg("provider") = "local", py::arg("model") = "", py::arg("operation") = "",
           py::arg("tenant") = "default", py::arg("account") = "", py::arg("tags") = "",
           py::arg("usage") = no_usage, py::arg("evidence") = "", py::arg("idempotency_key") = "",
           py::arg("force") = false, py::arg("allowance") = py::none(),
           py::arg("any_scopes") = false,
           "Reserves and settles a cost of our own in one commit; what the allowance has comes\n"
           "from there.")
      .def("ledger_refund", &refund, py::arg("call_ids"), py::arg("amount"), py::arg("evidence"),
           py::arg("within") = std::vector<std::string>(), py::arg("idempotency_key") = "",
           "Lowers what ended calls cost, in the scopes `within` alone where some are named:\n"
           "(whether they cost that much, what they cost now).")
      .def("ledger_archive", &archive, py::arg("before"), py::arg("path"),
           "Moves the entries of closed months into a file of their own.")
      .def("job_create", &create_job, py::arg("call_id"), py::kw_only(), py::arg("provider"),
           py::arg("account"), py::arg("tenant"), py::arg("key_id"), py::arg("provider_job_id"),
           py::arg("request"), py::arg("state") = "running",
           "Writes a job's row; an open hold of the call is the job's from then on.")
      .def("job_update", &update_job, py::arg("call_id"), py::kw_only(), py::arg("state") = "",
           py::arg("result") = py::none(), py::arg("settle") = py::none(),
           py::arg("release") = false, py::arg("usage") = no_usage, py::arg("evidence") = "",
           py::arg("price_version") = "",
           "Changes a job's row, and ends its hold at a cost or at nothing in the same commit.")
      .def("job_get", &get_job, py::arg("id"), "By call id or provider's job id; None if unknown.")
      .def("job_list", &list_jobs, py::arg("state") = py::none(), "Oldest first.");
}

}  // namespace sluiceway::bindings
