// Reports for Python: roll-ups with latency quantiles, one call's history, entries batch by batch.
// They block on the ledger's read connection, without the GIL.
#include <algorithm>
#include <optional>
#include <tuple>

#include <pybind11/stl.h>

#include "bindings/arrow_stream.h"
#include "bindings/errors.h"
#include "bindings/gil.h"
#include "bindings/host.h"
#include "bindings/ledger_dicts.h"
#include "engine/report.h"

namespace sluiceway::bindings {
namespace {

using Conditions = std::vector<std::pair<std::string, std::string>>;

py::int_ wide_int(cost::Wide value) {
  const py::int_ high(static_cast<std::int64_t>(value >> 64));
  const py::int_ low(static_cast<std::uint64_t>(value));
  return py::int_((high << py::int_(64)) | low);
}

// A wrong question is the caller's, whatever the status is called between rooms.
template <typename T>
T asked(StatusOr<T> answer) {
  const auto code = answer.ok() ? absl::StatusCode::kOk : answer.status().code();
  if (code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kResourceExhausted) {
    raise("InvalidRequest", to_std(answer.status().message()));
  }
  return take(std::move(answer));
}

py::dict latency_dict(const stats::LatencySketch& sketch) {
  py::dict out;
  out["count"] = sketch.count();
  out["sum_ns"] = sketch.sum_ns();
  for (const auto& [name, q] :
       {std::pair("min_ns", 0.0), std::pair("p50_ns", 0.5), std::pair("p95_ns", 0.95),
        std::pair("p99_ns", 0.99), std::pair("max_ns", 1.0)}) {
    out[name] = sketch.quantile(q);
  }
  out["sketch"] = py::bytes(sketch.serialize());
  return out;
}

py::dict group_dict(const engine::ReportGroup& group) {
  const cost::CallTotals& sum = group.totals;
  py::dict out;
  out["key"] = std::vector<std::string>(group.key.begin(), group.key.end() - 1);
  out["unit"] = group.key.back();
  out["calls"] = sum.calls;
  out["open"] = sum.open;
  out["in_doubt"] = sum.in_doubt;
  out["settled"] = sum.settled;
  out["voided"] = sum.voided;
  out["estimated"] = sum.estimated;
  out["posted"] = sum.posted;
  out["overruns"] = sum.overruns;
  out["refunded"] = sum.refunded;
  out["cost"] = wide_int(sum.cost);
  out["cost_estimated"] = wide_int(sum.cost_estimated);
  out["refunds"] = wide_int(sum.refunds);
  out["held_open"] = wide_int(sum.held_open);
  out["held_in_doubt"] = wide_int(sum.held_in_doubt);
  py::dict usage;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    if ((sum.present >> i & 1) == 0) continue;
    usage[py::str(std::string(bucket_name(static_cast<Bucket>(i))))] = sum.units[i];
  }
  out["usage"] = usage;
  out["usage_saturated"] = sum.saturated;
  out["latency"] = latency_dict(group.latency);
  return out;
}

py::list report(EngineHost& host, const std::vector<std::string>& by,
                std::optional<std::int64_t> from_ns, std::optional<std::int64_t> to_ns,
                const std::string& time_zone, const std::string& scope, const Conditions& where,
                const std::vector<std::string>& archives) {
  engine::ReportQuery query{.time_zone = time_zone, .scope = scope, .archives = archives};
  for (const auto& name : by) query.by.push_back(asked(cost::group_by_from_name(name)));
  for (const auto& [name, value] : where) {
    query.where.emplace_back(asked(cost::group_by_from_name(name)), value);
  }
  query.from_ns = from_ns.value_or(query.from_ns);
  query.to_ns = to_ns.value_or(query.to_ns);
  const auto engine = host.engine();
  StatusOr<engine::Report> made = engine::Report{};
  {
    const ReleaseGil unlocked;
    made = engine::make_report(engine->ledger(), query);
  }
  py::list out;
  for (const auto& group : asked(std::move(made)).groups) out.append(group_dict(group));
  return out;
}

py::list history(EngineHost& host, const std::string& call_id) {
  const auto id = Id::parse(call_id);
  if (!id) raise("InvalidRequest", "'" + call_id + "' is not a call id");
  const auto engine = host.engine();
  std::vector<store::Entry> found;
  Status status;
  {
    const ReleaseGil unlocked;
    status = engine->ledger().read_entries({.call = *id}, [&](std::span<const store::Entry> batch) {
      found.insert(found.end(), batch.begin(), batch.end());
      return true;
    });
  }
  check(status);
  // What one commit wrote at once: a reservation before its end, corrections as they came.
  std::ranges::sort(found, {}, [](const store::Entry& entry) {
    return std::tuple(entry.time_ns, entry.kind, entry.attempt);
  });
  py::list out;
  for (const auto& entry : found) out.append(entry_dict(entry));
  return out;
}

// What moved the money of scopes: the rows of their calls, and the changes of their limits.
py::list movements(EngineHost& host, const std::vector<std::string>& scopes) {
  const auto engine = host.engine();
  std::vector<store::Entry> found;
  Status status;
  {
    const ReleaseGil unlocked;
    status =
        engine->ledger().read_entries({.scopes = scopes}, [&](std::span<const store::Entry> batch) {
          found.insert(found.end(), batch.begin(), batch.end());
          return true;
        });
  }
  check(status);
  py::list out;
  for (const auto& entry : found) out.append(entry_dict(entry));
  return out;
}

// Calls `batch` with lists of entries, those of archives first, until it returns false or there are
// no more. No lock is held meanwhile.
void scan(EngineHost& host, const py::function& batch, std::int64_t from_ns, std::int64_t to_ns,
          const std::vector<std::string>& archives) {
  const auto engine = host.engine();
  Status status;
  std::exception_ptr thrown;
  {
    const ReleaseGil unlocked;
    const auto hand_over = [&](std::span<const store::Entry> rows) {
      const py::gil_scoped_acquire locked;
      try {
        py::list out;
        for (const auto& entry : rows) out.append(entry_dict(entry));
        return batch(out).cast<bool>();
      } catch (...) {
        thrown = std::current_exception();
        return false;
      }
    };
    status = engine->ledger().read_entries(
        {.from_ns = from_ns, .to_ns = to_ns, .archives = archives}, hand_over);
  }
  if (thrown) std::rethrow_exception(thrown);
  check(status);
}

// Unlike ledger_scopes(), which tells of a rolling scope what counts now, this sums all its slots:
// what the entries add up to.
py::list balances(EngineHost& host) {
  const auto engine = host.engine();
  StatusOr<std::vector<store::ScopeInfo>> found = std::vector<store::ScopeInfo>{};
  {
    const ReleaseGil unlocked;
    found = engine->ledger().scopes();
  }
  std::vector<store::ScopeInfo> whole;
  for (store::ScopeInfo& row : take(std::move(found))) {
    const bool slot = row.rolling_ns > 0 && !whole.empty() && whole.back().name == row.name;
    if (!slot) {
      whole.push_back(std::move(row));
      continue;
    }
    ScopeBalance& sum = whole.back().balance;
    sum.settled = saturating_add(sum.settled, row.balance.settled);
    sum.held = saturating_add(sum.held, row.balance.held);
    sum.in_doubt = saturating_add(sum.in_doubt, row.balance.in_doubt);
    sum.blocked = sum.blocked || row.balance.blocked;
  }
  py::list out;
  for (const store::ScopeInfo& row : whole) {
    py::dict item;
    item["name"] = row.name;
    item["unit"] = row.unit;
    const bool limited = row.balance.limit != kNanousdMax;
    item["limit"] = limited ? py::object(py::int_(row.balance.limit)) : py::object(py::none());
    item["rolling"] = row.rolling_ns > 0;
    item["settled"] = row.balance.settled;
    item["held"] = row.balance.held;
    item["in_doubt"] = row.balance.in_doubt;
    item["blocked"] = row.balance.blocked;
    out.append(std::move(item));
  }
  return out;
}

py::object arrow(EngineHost& host, std::int64_t from_ns, std::int64_t to_ns,
                 std::vector<std::string> archives) {
  return entry_stream(host.engine()->shared_ledger(), from_ns, to_ns, std::move(archives));
}

std::int64_t post_in_doubt(EngineHost& host, std::int64_t older_than_ns) {
  const auto engine = host.engine();
  StatusOr<std::int64_t> posted = std::int64_t{0};
  {
    const ReleaseGil unlocked;
    posted = engine->ledger().post_in_doubt(older_than_ns);
  }
  return take(std::move(posted));
}

}  // namespace

void init_report(py::class_<EngineHost, std::shared_ptr<EngineHost>>& engine) {
  engine
      .def("ledger_report", &report, py::arg("by"), py::kw_only(), py::arg("from_ns") = py::none(),
           py::arg("to_ns") = py::none(), py::arg("time_zone") = "UTC", py::arg("scope") = "",
           py::arg("where") = Conditions{}, py::arg("archives") = std::vector<std::string>{},
           "Calls rolled up by labels and periods.")
      .def("ledger_history", &history, py::arg("call_id"), "A call's entries, oldest first.")
      .def("ledger_movements", &movements, py::arg("scopes"),
           "The entries of the calls reserved in one of the scopes, and of their limits.")
      .def("ledger_scan", &scan, py::arg("batch"), py::kw_only(), py::arg("from_ns") = 0,
           py::arg("to_ns") = INT64_MAX, py::arg("archives") = std::vector<std::string>{},
           "Calls batch(entries) until it returns false.")
      .def("ledger_balances", &balances,
           "Every scope and window with all that it ever settled, for auditors.")
      .def("ledger_arrow", &arrow, py::kw_only(), py::arg("from_ns") = 0,
           py::arg("to_ns") = INT64_MAX, py::arg("archives") = std::vector<std::string>{},
           "The entries as an Arrow C stream in a PyCapsule, those of archives first.")
      .def("ledger_post_in_doubt", &post_in_doubt, py::arg("older_than_ns"),
           "Posts at their holds the calls in doubt for that long; how many.");
}

}  // namespace sluiceway::bindings
