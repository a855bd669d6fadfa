// The ledger's reports for Python. Reads go through the engine's ledger: a second SQLite on the
// live file would drop its locks.
#include <algorithm>
#include <limits>

#include <pybind11/stl.h>

#include "bindings/errors.h"
#include "bindings/gil.h"
#include "bindings/host.h"
#include "bindings/ledger_dicts.h"

namespace sluiceway::bindings {
namespace {

std::int64_t instant_ns(double unix_s) {
  return unix_s > 9e9 ? INT64_MAX : static_cast<std::int64_t>(unix_s * 1e9);
}

// Keeps the first `limit` entries that a reader yields.
auto first_of(std::vector<store::Entry>& found, std::size_t limit) {
  return [&found, limit](std::span<const store::Entry> batch) {
    const std::size_t room = limit - found.size();
    found.insert(found.end(), batch.begin(),
                 batch.begin() + static_cast<std::ptrdiff_t>(std::min(room, batch.size())));
    return found.size() < limit;
  };
}

py::list entry_list(const std::vector<store::Entry>& entries) {
  py::list out;
  for (const auto& entry : entries) out.append(entry_dict(entry));
  return out;
}

py::list archive_entries(const std::string& path, double from_s, double to_s, std::size_t limit) {
  std::vector<store::Entry> found;
  Status status;
  {
    const ReleaseGil unlocked;
    status = store::read_archive(path, {.from_ns = instant_ns(from_s), .to_ns = instant_ns(to_s)},
                                 first_of(found, limit));
  }
  check(status);
  return entry_list(found);
}

py::list entries(EngineHost& host, double from_s, double to_s, std::size_t limit) {
  const auto engine = host.engine();
  std::vector<store::Entry> found;
  Status status;
  {
    const ReleaseGil unlocked;
    status = engine->ledger().read_entries(
        {.from_ns = instant_ns(from_s), .to_ns = instant_ns(to_s)}, first_of(found, limit));
  }
  check(status);
  return entry_list(found);
}

py::tuple changes(EngineHost& host, std::int64_t after, std::size_t limit) {
  const auto engine = host.engine();
  StatusOr<store::Changes> found = store::Changes{};
  {
    const ReleaseGil unlocked;
    found = engine->ledger().changes(after, limit);
  }
  const store::Changes changed = take(std::move(found));
  return py::make_tuple(entry_list(changed.entries), changed.next);
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

// A rolling scope as one: the sum of the slots that count at `now_ns`.
std::vector<store::ScopeInfo> merged(std::vector<store::ScopeInfo> rows, std::int64_t now_ns) {
  std::vector<store::ScopeInfo> out;
  for (store::ScopeInfo& row : rows) {
    if (row.rolling_ns == 0) {
      out.push_back(std::move(row));
      continue;
    }
    const std::int64_t first =
        now_ns / (row.rolling_ns / store::kRollingSlots) - store::kRollingSlots;
    const bool counts = row.slot >= std::max<std::int64_t>(first, 0);
    if (out.empty() || out.back().name != row.name) {
      out.push_back(row);
      out.back().balance = {.limit = row.balance.limit};
    }
    if (!counts) continue;
    ScopeBalance& sum = out.back().balance;
    sum.settled += row.balance.settled;
    sum.held += row.balance.held;
    sum.in_doubt += row.balance.in_doubt;
    sum.blocked = sum.blocked || row.balance.blocked;
  }
  return out;
}

py::list scopes(EngineHost& host) {
  const auto engine = host.engine();
  StatusOr<std::vector<store::ScopeInfo>> found = std::vector<store::ScopeInfo>{};
  {
    const ReleaseGil unlocked;
    found = engine->ledger().scopes();
    if (found.ok()) found = merged(*std::move(found), engine->ledger().ledger_time_ns());
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

void reanchor(EngineHost& host) {
  const auto engine = host.engine();
  Status status;
  {
    const ReleaseGil unlocked;
    status = engine->ledger().reanchor_time();
  }
  check(status);
}

py::dict report_dict(const store::VerifyReport& report) {
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

py::dict verify(EngineHost& host) {
  const auto engine = host.engine();
  StatusOr<store::VerifyReport> found = store::VerifyReport{};
  {
    const ReleaseGil unlocked;
    found = engine->ledger().verify();
  }
  return report_dict(take(std::move(found)));
}

py::dict verify_archive(const std::string& path) {
  StatusOr<store::VerifyReport> found = store::VerifyReport{};
  {
    const ReleaseGil unlocked;
    found = store::verify_archive(path);
  }
  return report_dict(take(std::move(found)));
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
      .def("ledger_changes", &changes, py::arg("after") = 0, py::arg("limit") = 1'000,
           "(entries, next): what was committed after the cursor, whole commits, in their order.")
      .def(
          "ledger_time_s",
          [](EngineHost& host) {
            const auto engine = host.engine();
            const ReleaseGil unlocked;
            return static_cast<double>(engine->ledger().ledger_time_ns()) / 1e9;
          },
          "Ledger time now, Unix seconds.")
      .def("ledger_reanchor", &reanchor, "Sets ledger time to the wall clock.")
      .def("ledger_holds", &holds)
      .def("ledger_scopes", &scopes)
      .def("ledger_verify", &verify, "Replays every entry; 'ok' when the books agree.")
      .def_static("archive_entries", &archive_entries, py::arg("path"), py::arg("from_s") = 0.0,
                  py::arg("to_s") = std::numeric_limits<double>::infinity(),
                  py::arg("limit") = 10'000, "Entries of an archive that ledger_archive() made.")
      .def_static("archive_verify", &verify_archive, py::arg("path"),
                  "Replays every entry of an archive, as ledger_verify() does.")
      .def("ledger_resolve", &resolve, py::arg("call_id"), py::arg("amount_nanousd"),
           py::arg("evidence"));
  init_ledger_write(engine);
}

}  // namespace sluiceway::bindings
