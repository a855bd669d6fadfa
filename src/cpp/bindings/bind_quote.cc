// quote_sheet(): the three figures of a call over a price sheet alone, without a route or an
// engine.
//
// For operations that are priced by what is known before sending (characters, images, seconds), and
// for whoever compares prices. With the GIL; tens of microseconds, most of them for reading the
// sheet. Amounts in nano-dollars; times in seconds from now.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/clock.h"
#include "bindings/errors.h"
#include "bindings/spec.h"
#include "bindings/submit.h"
#include "cost/quote.h"
#include "engine/decode.h"
#include "engine/pricing.h"

namespace sluiceway::bindings {
namespace {

struct Selectors {
  std::string service_tier, plan, size, quality;
};

py::dict quote_sheet(const py::dict& sheet, std::int64_t prompt_tokens_max,
                     std::int64_t output_tokens_max, const py::object& reachable_buckets,
                     const py::object& other_units, const Selectors& wanted,
                     std::int64_t expected_prompt_tokens, std::int64_t expected_output_tokens,
                     double timeout_s) {
  const auto prices = read_sheet(sheet);
  cost::QuoteInput input;
  input.prompt_tokens_max = prompt_tokens_max;
  input.output_tokens_max = output_tokens_max;
  input.reachable_buckets = buckets_of(reachable_buckets);
  input.from_wall_ns = SystemClock::instance().wall_ns();
  input.to_wall_ns =
      saturating_add(input.from_wall_ns, static_cast<std::int64_t>(std::min(timeout_s, 9e8) * 1e9));
  input.service_tier = wanted.service_tier;
  input.plan = wanted.plan;
  input.size = wanted.size;
  input.quality = wanted.quality;
  input.expected_prompt_tokens = expected_prompt_tokens;
  input.expected_output_tokens = expected_output_tokens;
  if (!other_units.is_none()) input.other_units_max = read_units(other_units).units;
  const auto quote = cost::quote(*prices, input);
  if (!quote.ok()) {
    raise("UnpricedOperation", prices->provider + "/" + prices->model + ": " +
                                   std::string(to_std(quote.status().message())));
  }
  py::dict out;
  out["low"] = quote->low;
  out["expected"] = quote->expected;
  out["ceiling"] = quote->ceiling;
  out["price_version"] = std::string(quote->row_version);
  return out;
}

// What an answer that came another way (a line of a batch's results) costs by a route's prices.
py::dict price_body(const PyRoute& route, const std::string& body, double sent_s,
                    const py::object& ended_s) {
  const engine::Route& fixed = *route.parts.fixed;
  if (!fixed.dialect) raise("InvalidRequest", "the route has no dialect that reads answers");
  engine::Answer answer;
  answer.body = body;
  engine::Decoder decoder;
  py::dict out;
  out["nanousd"] = py::none();
  if (!decoder.read_body(*fixed.dialect, answer) && !fixed.lenient) return out;
  py::dict usage;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    if (answer.usage.has(bucket)) {
      usage[py::str(std::string(bucket_name(bucket)))] = answer.usage.get(bucket);
    }
  }
  out["usage"] = usage;
  out["text"] = answer.text;
  const engine::Span span{
      static_cast<std::int64_t>(sent_s * 1e9),
      static_cast<std::int64_t>((ended_s.is_none() ? sent_s : ended_s.cast<double>()) * 1e9)};
  if (engine::price_answer(fixed, span, answer)) {
    out["nanousd"] = answer.cost;
    out["price_version"] = answer.price_version;
  }
  return out;
}

}  // namespace

void init_quote(py::module_& module) {
  module.def(
      "price_body", &price_body, py::arg("route"), py::arg("body"), py::arg("sent_s"),
      py::arg("ended_s") = py::none(),
      "What an answer's body costs by a route's prices, at the dearest instant from sent_s "
      "to ended_s (Unix seconds; None: the same): nanousd (None where that cannot be known), "
      "usage, text, price_version.");
  module.def(
      "quote_sheet",
      [](const py::dict& sheet, std::int64_t prompt_tokens_max, std::int64_t output_tokens_max,
         const py::object& reachable_buckets, const py::object& other_units,
         std::string service_tier, std::string plan, std::string size, std::string quality,
         std::int64_t expected_prompt_tokens, std::int64_t expected_output_tokens,
         double timeout_s) {
        const Selectors wanted{std::move(service_tier), std::move(plan), std::move(size),
                               std::move(quality)};
        return quote_sheet(sheet, prompt_tokens_max, output_tokens_max, reachable_buckets,
                           other_units, wanted, expected_prompt_tokens, expected_output_tokens,
                           timeout_s);
      },
      py::arg("sheet"), py::kw_only(), py::arg("prompt_tokens_max") = 0,
      py::arg("output_tokens_max") = 0, py::arg("reachable_buckets") = py::tuple(),
      py::arg("other_units") = py::none(), py::arg("service_tier") = "", py::arg("plan") = "",
      py::arg("size") = "", py::arg("quality") = "", py::arg("expected_prompt_tokens") = 0,
      py::arg("expected_output_tokens") = 0, py::arg("timeout_s") = 30.0,
      "Low, expected and ceiling (nano-dollars) of a call over one price sheet; price_version.");
}

}  // namespace sluiceway::bindings
