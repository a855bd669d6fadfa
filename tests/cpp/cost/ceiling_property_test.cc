// Property: no usage within a quote's bounds settles above its ceiling, over every shipped sheet.
//
// Ranges of time are drawn around the edges where prices change, prompts around the tariffs' bounds
// and the smallest counts (where rounding shows). The seed is printed; SLUICEWAY_SEED sets it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <random>
#include <vector>

#include "cost/cost_testing.h"
#include "cost/price_book.h"
#include "cost/quote.h"
#include "cost/shipped_sheets_generated.h"

namespace sluiceway::cost {
namespace {

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();

std::uint64_t seed_of_run() {
  const char* given = std::getenv("SLUICEWAY_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 20261122;
  std::cout << "seed " << seed << '\n';
  return seed;
}

struct Draw {
  std::mt19937_64 random;
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
  }
  std::int64_t pick(const std::vector<std::int64_t>& from) {
    return from[static_cast<std::size_t>(below(static_cast<std::int64_t>(from.size())))];
  }
};

// Monday 2026-11-16 and the hours around it, an October holiday, and every date of the sheet.
std::int64_t draw_time(Draw& draw, const PriceSheet& sheet) {
  std::vector<std::int64_t> anchors = {1794787200 * kS, 1790812800 * kS};
  for (const PriceRow& row : sheet.rows) {
    for (const std::int64_t edge : {row.effective_from_ns, row.effective_to_ns}) {
      if (edge != kMin && edge != kUnbounded) anchors.push_back(edge);
    }
    for (const TimeWindow& window : row.windows) {
      const std::int64_t day = draw.below(7) * 86'400;
      anchors.push_back((1794787200 + day + window.from_s) * kS);
      anchors.push_back((1794787200 + day + window.to_s) * kS);
    }
  }
  return draw.pick(anchors) + draw.pick({-1, 0, 1, draw.below(7200 * kS) - 3600 * kS});
}

std::int64_t draw_prompt(Draw& draw, const PriceSheet& sheet) {
  std::vector<std::int64_t> choices = {1, 2, 3, 7, draw.below(2000), draw.below(1'000'000)};
  for (const PriceRow& row : sheet.rows) {
    if (row.prompt_from > 0) choices.push_back(row.prompt_from + draw.below(3) - 1);
  }
  return draw.pick(choices);
}

QuoteInput draw_call(Draw& draw, const PriceSheet& sheet) {
  const PriceRow& row =
      sheet
          .rows[static_cast<std::size_t>(draw.below(static_cast<std::int64_t>(sheet.rows.size())))];
  QuoteInput in;
  in.service_tier = draw.below(4) == 0 ? kEveryTier : std::string_view(row.service_tier);
  in.plan = row.plan;
  // Left open now and then: the provider chooses, and the ceiling has to hold for every choice.
  if (draw.below(3) != 0) in.size = row.size;
  if (draw.below(3) != 0) in.quality = row.quality;
  if (rate_of(row, Bucket::kInput) >= 0) {  // speech is sold by the character or second
    in.prompt_tokens_max = draw_prompt(draw, sheet);
    in.output_tokens_max = draw.pick({0, 1, 2, 5, draw.below(5000)});
  }
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const auto bucket = static_cast<Bucket>(i);
    const bool sold = rate_of(row, bucket) >= 0;
    if (bucket <= Bucket::kImageOutput) {
      if (sold && draw.below(3) != 0) in.reachable_buckets |= bucket_bit(bucket);
    } else if (sold) {
      in.other_units_max[i] = draw.below(10'000);
    }
  }
  in.from_wall_ns = draw_time(draw, sheet);
  in.to_wall_ns = in.from_wall_ns + draw.pick({0, 1, 600 * kS, draw.below(3 * 86'400 * kS)});
  in.expected_prompt_tokens = draw.below(in.prompt_tokens_max + 1);
  in.expected_output_tokens = draw.below(in.output_tokens_max + 1);
  return in;
}

Usage draw_usage(Draw& draw, const QuoteInput& in) {
  Usage usage;
  const bool full = draw.below(2) == 0;
  std::int64_t prompt = full ? in.prompt_tokens_max : draw.below(in.prompt_tokens_max + 1);
  std::int64_t output = full ? in.output_tokens_max : draw.below(in.output_tokens_max + 1);
  std::vector<std::size_t> order(kBucketCount);
  for (std::size_t i = 0; i < kBucketCount; ++i) order[i] = i;
  std::ranges::shuffle(order, draw.random);
  for (const std::size_t i : order) {
    const auto bucket = static_cast<Bucket>(i);
    if (in.other_units_max[i] > 0) usage.set(bucket, draw.below(in.other_units_max[i] + 1));
    if ((in.reachable_buckets & bucket_bit(bucket)) == 0) continue;
    const bool is_output = bucket == Bucket::kOutput || bucket == Bucket::kReasoning ||
                           bucket == Bucket::kAudioOutput || bucket == Bucket::kImageOutput;
    std::int64_t& left = is_output ? output : prompt;
    const std::int64_t units =
        draw.pick({left, std::min<std::int64_t>(left, 1), draw.below(left + 1)});
    usage.set(bucket, units);
    left -= units;
  }
  return usage;
}

TEST(Ceiling, IsNeverPassedByAUsageWithinItsBounds) {
  Draw draw{std::mt19937_64(seed_of_run())};
  const auto sheets = shipped_sheets();
  ASSERT_GE(sheets.size(), 40u);
  std::int64_t compared = 0, reached = 0;
  for (const PriceSheet& sheet : sheets) {
    std::int64_t compared_here = 0;
    for (int call = 0; call < 150; ++call) {
      const QuoteInput in = draw_call(draw, sheet);
      const auto q = quote(sheet, in);
      if (!q.ok()) continue;  // such as a call without an output bucket: refused, not priced low
      ASSERT_LE(q->low, q->expected) << sheet.model;
      ASSERT_LE(q->expected, q->ceiling) << sheet.model;
      for (int n = 0; n < 20; ++n) {
        const Usage usage = draw_usage(draw, in);
        const std::int64_t at = in.from_wall_ns + draw.below(in.to_wall_ns - in.from_wall_ns + 1);
        for (const PriceRow& row : sheet.rows) {
          const bool tier =
              in.service_tier == kEveryTier || same_tier(row.service_tier, in.service_tier);
          const bool look = (in.size.empty() || row.size == in.size) &&
                            (in.quality.empty() || row.quality == in.quality);
          const Selector selector{row.service_tier, row.plan, row.size, row.quality};
          if (!tier || !look || row_at(sheet, at, prompt_tokens(usage), selector) != &row) continue;
          const auto cost = price(row, usage);
          if (!cost.ok()) continue;  // a cache bucket that this row does not sell
          ASSERT_LE(*cost, q->ceiling) << row.version << " call " << call << " usage " << n;
          ++compared_here;
          reached += *cost == q->ceiling ? 1 : 0;
        }
      }
    }
    EXPECT_GE(compared_here, 200) << sheet.model << ": the draw reaches too little";
    compared += compared_here;
  }
  std::cout << compared << " usages compared, " << reached << " cost exactly their ceiling\n";
  EXPECT_GE(reached, compared / 100);  // a ceiling that is never reached would be too loose
}

TEST(ShippedSheets, MakeABook) {
  const auto book = PriceBook::make(shipped_sheets(), "sha256:test");
  ASSERT_TRUE(book.ok()) << book.status();
  EXPECT_NE((*book)->find("deepseek", "deepseek-flash"), nullptr);
}

}  // namespace
}  // namespace sluiceway::cost
