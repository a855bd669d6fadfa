// Reads configuration dictionaries into the core's plain structs, strictly: an unknown key or a
// wrong type is a ConfigError that names it. With the GIL; runs once a route, never on the hot
// path.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cost/price_book.h"
#include "engine/dialect.h"
#include "limits/circuit_breaker.h"
#include "limits/limit_group.h"
#include "store/ledger.h"

namespace sluiceway::bindings {

namespace py = pybind11;

class SpecReader {
 public:
  SpecReader(py::dict dict, std::string what) : dict_(std::move(dict)), what_(std::move(what)) {}

  bool has(const char* key);        // present and not None
  py::object get(const char* key);  // None when absent
  std::string text(const char* key, std::string fallback = "");
  // Within [least, most].
  std::int64_t integer(const char* key, std::int64_t fallback, std::int64_t least = INT64_MIN,
                       std::int64_t most = INT64_MAX);
  bool flag(const char* key, bool fallback);
  // Seconds as float or int, to nanoseconds; >= 0.
  std::int64_t seconds_ns(const char* key, double fallback_s);
  std::vector<std::string> texts(const char* key);
  py::dict table(const char* key);  // empty when absent
  // Raises ConfigError when a key was never asked for.
  void finish();
  [[noreturn]] void fail(std::string_view key, std::string_view why) const;

 private:
  py::dict dict_;
  std::string what_;
  std::set<std::string> asked_;
};

store::Durability durability_by_name(const std::string& name);
engine::DialectSpec read_dialect(const py::dict& dict);
std::shared_ptr<const cost::PriceSheet> read_sheet(const py::dict& dict);
limits::LimitGroupConfig read_limits(const py::dict& dict);
limits::BreakerConfig read_breaker(const py::dict& dict, bool* enabled);

}  // namespace sluiceway::bindings
