// Low, expected and ceiling of a call that has not been sent: see quote.h.
#include "cost/quote.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "base/clock.h"

namespace sluiceway::cost {
namespace {

constexpr std::array<Bucket, 6> kInputBuckets = {Bucket::kInput,        Bucket::kCacheRead,
                                                 Bucket::kCacheWrite5m, Bucket::kCacheWrite1h,
                                                 Bucket::kAudioInput,   Bucket::kImageInput};
constexpr std::array<Bucket, 4> kOutputBuckets = {Bucket::kOutput, Bucket::kReasoning,
                                                  Bucket::kAudioOutput, Bucket::kImageOutput};

bool is_token_bucket(Bucket bucket) { return bucket <= Bucket::kImageOutput; }

bool is_cache_bucket(Bucket bucket) {
  return bucket >= Bucket::kCacheRead && bucket <= Bucket::kCacheWrite1h;
}

// Whether a request for `wanted` can come to be priced by a row of this size or quality.
bool may_be(std::string_view of_row, std::string_view wanted) {
  return of_row.empty() || wanted.empty() || wanted == "auto" || of_row == wanted;
}

bool reachable(const PriceRow& row, const QuoteInput& in) {
  if (row.prompt_from > in.prompt_tokens_max) return false;
  const bool any_tier = in.service_tier == kEveryTier || in.service_tier == "auto";
  if (!any_tier && !same_tier(row.service_tier, in.service_tier)) return false;
  if (row.plan != in.plan || !may_be(row.size, in.size) || !may_be(row.quality, in.quality)) {
    return false;
  }
  return holds_within(row, in.from_wall_ns, in.to_wall_ns);
}

// The cheapest and the dearest rate among the buckets of one side (input or output) that the call
// can reach, and how many of their lines may round up.
struct Side {
  std::int64_t cheapest = -1;
  std::int64_t dearest = -1;
  std::int64_t usual = -1;  // of the side's first bucket, when it can be reached
  std::int64_t rounding_lines = 0;
  Bucket missing = Bucket::kInput;  // meaningful when complete is false
  bool complete = true;
};

// A price of a whole number of nano-dollars a unit never rounds.
bool rounds(const PriceRow& row, std::int64_t rate) {
  __extension__ typedef __int128 Wide;
  const Wide scaled = static_cast<Wide>(rate) * row.factor_num;
  return scaled % (static_cast<Wide>(kUnitsPerRate) * row.factor_den) != 0;
}

Side look_at(const PriceRow& row, std::uint32_t mask, std::span<const Bucket> buckets) {
  Side side;
  for (const Bucket bucket : buckets) {
    if ((mask & bucket_bit(bucket)) == 0) continue;
    const std::int64_t rate = rate_of(row, bucket);
    if (rate < 0) {
      if (is_cache_bucket(bucket)) continue;  // this model sells no such cache
      side.complete = false;
      side.missing = bucket;
      return side;
    }
    side.cheapest = side.cheapest < 0 ? rate : std::min(side.cheapest, rate);
    side.dearest = std::max(side.dearest, rate);
    if (bucket == buckets.front()) side.usual = rate;
    if (rounds(row, rate)) ++side.rounding_lines;
  }
  if (side.usual < 0) side.usual = side.dearest;
  return side;
}

Nanousd ceiling_of(const PriceRow& row, const Side& side, std::int64_t units) {
  if (side.dearest < 0) return 0;
  // Lines settle half to even: each may come out half a nano-dollar above its exact price.
  const Nanousd slack = std::min(side.rounding_lines, units) / 2;
  return saturating_add(cost_ceiling(units, side.dearest, row.factor_num, row.factor_den), slack);
}

Status no_rate(const PriceRow& row, Bucket bucket) {
  std::string message = "price row '" + row.version + "' has no rate for ";
  message += bucket_name(bucket);
  message += ", which the call can use: no ceiling is true without it";
  return absl::FailedPreconditionError(to_absl(message));
}

// All three figures by one row.
StatusOr<Quote> quote_row(const PriceRow& row, const QuoteInput& in, std::int64_t expected_prompt,
                          std::int64_t expected_output) {
  const Side input = look_at(row, in.reachable_buckets, kInputBuckets);
  if (!input.complete) return no_rate(row, input.missing);
  const Side output = look_at(row, in.reachable_buckets, kOutputBuckets);
  if (!output.complete) return no_rate(row, output.missing);
  if (in.prompt_tokens_max > 0 && input.dearest < 0) return no_rate(row, Bucket::kInput);
  if (in.output_tokens_max > 0 && output.dearest < 0) return no_rate(row, Bucket::kOutput);
  const auto settled = [&](std::int64_t units, std::int64_t rate) {
    return cost_half_even(units, rate, row.factor_num, row.factor_den);
  };
  Quote q;
  q.row_version = row.version;
  const auto prompt_max = std::min(in.prompt_tokens_max, row.prompt_to - 1);
  q.ceiling = saturating_add(ceiling_of(row, input, prompt_max),
                             ceiling_of(row, output, in.output_tokens_max));
  q.expected =
      saturating_add(settled(expected_prompt, input.usual), settled(expected_output, output.usual));
  q.low = saturating_add(settled(expected_prompt, input.cheapest),
                         settled(expected_output, output.cheapest));
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const std::int64_t units = in.other_units_max[i];
    if (units == 0) continue;
    const auto bucket = static_cast<Bucket>(i);
    if (row.rate[i] < 0) return no_rate(row, bucket);
    q.ceiling = saturating_add(q.ceiling, line_ceiling(row, bucket, units));
    const Nanousd line = line_half_even(row, bucket, units);
    q.expected = saturating_add(q.expected, line);
    q.low = saturating_add(q.low, line);
  }
  return q;
}

Status check(const QuoteInput& in) {
  if (in.prompt_tokens_max < 0 || in.output_tokens_max < 0 || in.expected_prompt_tokens < 0 ||
      in.expected_output_tokens < 0) {
    return invalid_argument("a quote needs token counts of at least zero");
  }
  if (in.to_wall_ns < in.from_wall_ns) {
    return invalid_argument("a quote's time range ends before it begins");
  }
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const bool token = is_token_bucket(static_cast<Bucket>(i));
    if (in.other_units_max[i] < 0 || (token && in.other_units_max[i] != 0)) {
      std::string message = "other_units_max is for counts of at least zero that are not tokens: ";
      message += bucket_name(static_cast<Bucket>(i));
      return invalid_argument(message);
    }
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<Quote> quote(const PriceSheet& sheet, const QuoteInput& in) {
  if (Status status = check(in); !status.ok()) return status;
  const auto prompt = std::min(in.expected_prompt_tokens, in.prompt_tokens_max);
  const auto output = std::min(in.expected_output_tokens, in.output_tokens_max);
  const std::string_view tier_now =
      in.service_tier == kEveryTier || in.service_tier == "auto" ? "" : in.service_tier;
  const PriceRow* now =
      row_at(sheet, in.from_wall_ns, prompt, {tier_now, in.plan, in.size, in.quality});

  Quote best;
  bool any = false;       // a row was reachable
  bool priced = false;    // one of them prices the expected prompt
  bool now_seen = false;  // the row that holds now was among those
  for (const PriceRow& row : sheet.rows) {
    if (!reachable(row, in)) continue;
    const StatusOr<Quote> q = quote_row(row, in, prompt, output);
    if (!q.ok()) return q.status();
    if (!any || q->ceiling > best.ceiling) {
      best.ceiling = q->ceiling;
      best.row_version = q->row_version;
    }
    any = true;
    if (!in_range(prompt, row.prompt_from, row.prompt_to)) continue;
    best.low = priced ? std::min(best.low, q->low) : q->low;
    // Where no row holds yet (a price that begins later), the dearest expectation stands.
    if (&row == now || (!now_seen && (!priced || q->expected > best.expected))) {
      best.expected = q->expected;
    }
    now_seen = now_seen || &row == now;
    priced = true;
  }
  if (any && !priced) best.low = best.expected = best.ceiling;
  if (!any) {
    std::string message = "no price of " + sheet.provider + "/" + sheet.model + " holds in that ";
    message += "time for service tier '";
    message += in.service_tier;
    message += "'";
    for (const auto& [name, value] : {std::pair{"plan", in.plan}, std::pair{"size", in.size},
                                      std::pair{"quality", in.quality}}) {
      if (!value.empty()) message.append(", ").append(name).append(" '").append(value).append("'");
    }
    return absl::NotFoundError(to_absl(message));
  }
  return best;
}

}  // namespace sluiceway::cost
