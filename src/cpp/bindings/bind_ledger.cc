// The ledger's reports for Python. Reads go through the engine's ledger: a second SQLite on the
// live file would drop its locks.
#include <algorithm>
#include <limits>

#include <pybind11/stl.h>

#include "bindings/errors.h"
#include "bindings/gil.h"
#include "bindings/host.h"

namespace sluiceway::bindings {
namespace {

py::dict labels_dict(const std::shared_ptr<const store::CallLabels>& labels) {
  py::dict out;
  const store::CallLabels none;
  const auto& l = labels ? *labels : none;
  out["provider"] = l.provider;
  out["model"] = l.model;
  out["operation"] = l.operation;
  out["tenant"] = l.tenant;
  out["account"] = l.account;
  out["tags"] = l.tags;
  out["unit"] = l.unit;
  return out;
}

py::dict entry_dict(const store::Entry& entry) {
  py::dict out = labels_dict(entry.labels);
  out["call_id"] = entry.call_id.text();
  out["kind"] = std::string(store::entry_kind_name(entry.kind));
  out["at_s"] = static_cast<double>(entry.time_ns) / 1e9;
  out["amount_nanousd"] = entry.amount;
  out["price_version"] = entry.price_version;
  out["intent_id"] = entry.intent_id.empty() ? std::string() : entry.intent_id.text();
  out["scopes"] = entry.scopes;
  out["attempts"] = entry.attempt;
  out["latency_ms"] = static_cast<double>(entry.latency_ns) / 1e6;
  out["estimated"] = entry.estimated;
  out["overrun"] = entry.overrun;
  out["provider_request_id"] = entry.provider_request_id;
  out["evidence"] = entry.evidence;
  py::dict usage;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    if (entry.usage.has(bucket))
      usage[py::str(std::string(bucket_name(bucket)))] = entry.usage.get(bucket);
  }
  out["usage"] = usage;
  return out;
}

std::int64_t instant_ns(double unix_s) {
  return unix_s > 9e9 ? INT64_MAX : static_cast<std::int64_t>(unix_s * 1e9);
}

py::list entries(EngineHost& host, double from_s, double to_s, std::size_t limit) {
  const auto engine = host.engine();
  std::vector<store::Entry> found;
  Status status;
  {
    const ReleaseGil unlocked;
    status = engine->ledger().read_entries(
        {.from_ns = instant_ns(from_s), .to_ns = instant_ns(to_s)},
        [&](std::span<const store::Entry> batch) {
          const std::size_t room = limit - found.size();
          found.insert(found.end(), batch.begin(),
                       batch.begin() + static_cast<std::ptrdiff_t>(std::min(room, batch.size())));
          return found.size() < limit;
        });
  }
  check(status);
  py::list out;
  for (const auto& entry : found) out.append(entry_dict(entry));
  return out;
}

py::list holds(EngineHost& host) {
  const auto engine = host.engine();
  StatusOr<std::vector<store::HoldInfo>> found = std::vector<store::HoldInfo>{};
  {
    const ReleaseGil unlocked;
    found = engine->ledger().holds();
  }
  py::list out;
  for (const auto& hold : take(std::move(found))) {
    py::dict item = labels_dict(hold.labels);
    item["call_id"] = hold.call_id.text();
    item["amount_nanousd"] = hold.amount;
    item["in_doubt"] = hold.in_doubt;
    item["since_s"] = static_cast<double>(hold.since_ns) / 1e9;
    item["owner"] = hold.owner;
    item["scopes"] = hold.scopes;
    out.append(std::move(item));
  }
  return out;
}

py::list scopes(EngineHost& host) {
  const auto engine = host.engine();
  StatusOr<std::vector<store::ScopeInfo>> found = std::vector<store::ScopeInfo>{};
  {
    const ReleaseGil unlocked;
    found = engine->ledger().scopes();
  }
  py::list out;
  for (const auto& scope : take(std::move(found))) {
    py::dict item;
    item["name"] = scope.name;
    item["unit"] = scope.unit;
    item["limit"] =
        scope.balance.limit == kNanousdMax ? py::object(py::none()) : py::int_(scope.balance.limit);
    item["settled"] = scope.balance.settled;
    item["held"] = scope.balance.held;
    item["in_doubt"] = scope.balance.in_doubt;
    item["blocked"] = scope.balance.blocked;
    out.append(std::move(item));
  }
  return out;
}

py::dict verify(EngineHost& host) {
  const auto engine = host.engine();
  StatusOr<store::VerifyReport> found = store::VerifyReport{};
  {
    const ReleaseGil unlocked;
    found = engine->ledger().verify();
  }
  const auto report = take(std::move(found));
  py::dict out;
  out["ok"] = report.ok();
  out["entries"] = report.entries;
  out["calls"] = report.calls;
  out["open"] = report.open;
  out["in_doubt"] = report.in_doubt;
  out["problems"] = report.problems;
  out["over_limit"] = report.over_limit;
  return out;
}

void resolve(EngineHost& host, const std::string& call_id, std::int64_t amount_nanousd,
             std::string evidence) {
  const auto id = Id::parse(call_id);
  if (!id) raise("InvalidRequest", "'" + call_id + "' is not a call id");
  const auto engine = host.engine();
  Status status;
  {
    const ReleaseGil unlocked;
    status = engine->ledger().resolve(*id, amount_nanousd, std::move(evidence));
  }
  check(status);
}

}  // namespace

void init_ledger(py::class_<EngineHost, std::shared_ptr<EngineHost>>& engine) {
  engine
      .def("ledger_entries", &entries, py::arg("from_s") = 0.0,
           py::arg("to_s") = std::numeric_limits<double>::infinity(), py::arg("limit") = 10'000)
      .def("ledger_holds", &holds)
      .def("ledger_scopes", &scopes)
      .def("ledger_verify", &verify, "Replays every entry; 'ok' when the books agree.")
      .def("ledger_resolve", &resolve, py::arg("call_id"), py::arg("amount_nanousd"),
           py::arg("evidence"));
}

}  // namespace sluiceway::bindings
