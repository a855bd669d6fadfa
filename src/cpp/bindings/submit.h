// Engine.submit: from Python's arguments to a call in the engine's inbox. The hottest binding, so
// it speaks the C API (METH_FASTCALL).
#pragma once

#include <Python.h>

#include <array>
#include <cstdint>
#include <memory>

#include "base/usage.h"
#include "bindings/host.h"
#include "cost/quote.h"

namespace sluiceway::bindings {

// Adds `Prepared` to the module, and `submit` and `submit_many` to the Engine class.
void init_submit(py::module_& module, py::class_<EngineHost, std::shared_ptr<EngineHost>>& engine);

// What of a call decides its ceiling.
struct BoundArguments {
  std::int64_t max_output_tokens = 0;
  std::int64_t prompt_allowance = 0;
  std::uint32_t reachable = 0;  // 0: plain text
  std::int64_t expected_prompt_tokens = 0, expected_output_tokens = 0;
  std::int64_t timeout_ns = 0;
  std::int64_t prompt_tokens_max = -1;  // in place of bytes and allowance, where it is known; or -1
  std::array<std::int64_t, kBucketCount> other_units{};  // of what is not tokens, at most
};
// Counts by bucket name, of buckets that are not tokens. Raises InvalidRequest for others.
Usage read_units(py::handle given);
// The quote of a body of `body_bytes`. Raises UnpricedOperation without a price that holds.
cost::Quote quote_of(const engine::Route& route, std::size_t body_bytes,
                     const BoundArguments& bound, std::int64_t wall_ns);
// The mask of a sequence of bucket names. Raises ConfigError for an unknown one.
std::uint32_t buckets_of(py::handle names);

}  // namespace sluiceway::bindings
