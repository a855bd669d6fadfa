// The sketch against exact quantiles of the same values.
#include "stats/latency_sketch.h"
#include "support/units.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "support/vectors.h"

namespace sluiceway::stats {
namespace {

// Within 1 %, and one nanosecond for the rounding to integers.
void expect_near(std::int64_t measured, std::int64_t exact) {
  EXPECT_LE(std::abs(static_cast<double>(measured - exact)),
            0.01 * static_cast<double>(exact) + 1.0)
      << measured << " for " << exact;
}

TEST(LatencySketch, EmptyHasNoQuantile) {
  const LatencySketch sketch;
  EXPECT_EQ(sketch.quantile(0.5), std::nullopt);
  EXPECT_EQ(sketch.count(), 0u);
  EXPECT_EQ(sketch.max_ns(), 0);
}

TEST(LatencySketch, OneValueIsExact) {
  LatencySketch sketch;
  sketch.add(12'345'678);
  for (double q : {0.0, 0.5, 0.99, 1.0}) EXPECT_EQ(sketch.quantile(q), 12'345'678);
  EXPECT_EQ(sketch.sum_ns(), 12'345'678);
}

TEST(LatencySketch, OneToAThousandMilliseconds) {
  LatencySketch sketch;
  for (int ms = 1; ms <= 1000; ++ms) sketch.add(ms * kMs);
  // Rank floor(q * 999), counted from 0, holds rank + 1 milliseconds.
  expect_near(*sketch.quantile(0.5), 500 * kMs);
  expect_near(*sketch.quantile(0.9), 900 * kMs);
  expect_near(*sketch.quantile(0.99), 990 * kMs);
  EXPECT_EQ(sketch.quantile(0), 1 * kMs);
  EXPECT_EQ(sketch.quantile(1), 1000 * kMs);
  EXPECT_EQ(sketch.quantile(-1), 1 * kMs);
  EXPECT_EQ(sketch.quantile(2), 1000 * kMs);
  EXPECT_EQ(sketch.quantile(std::nan("")), 1 * kMs);
  EXPECT_EQ(sketch.count(), 1000u);
  EXPECT_EQ(sketch.sum_ns(), 500'500 * kMs);
}

TEST(LatencySketch, OnePercentOverTheWholeRange) {
  std::mt19937_64 random(testing::seed());
  std::uniform_real_distribution<double> exponent(std::log(1e3), std::log(3e16));
  std::vector<std::int64_t> values;
  LatencySketch sketch;
  for (int i = 0; i < 20'000; ++i) {
    values.push_back(static_cast<std::int64_t>(std::exp(exponent(random))));
    sketch.add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (int i = 0; i <= 1000; ++i) {
    const double q = i / 1000.0;
    const auto rank = static_cast<std::size_t>(q * static_cast<double>(values.size() - 1));
    expect_near(*sketch.quantile(q), values[rank]);
  }
}

TEST(LatencySketch, OutsideTheRangeKeepsTheExtremes) {
  LatencySketch sketch;
  sketch.add(-5);
  sketch.add(0);
  sketch.add(999);
  sketch.add(INT64_MAX);
  EXPECT_EQ(sketch.min_ns(), 0);
  EXPECT_EQ(sketch.max_ns(), INT64_MAX);
  EXPECT_EQ(sketch.quantile(0), 0);
  EXPECT_EQ(sketch.quantile(1), INT64_MAX);
  EXPECT_LE(*sketch.quantile(0.5), 1'010);
  EXPECT_EQ(sketch.sum_ns(), INT64_MAX);  // it stops there
  sketch.add(1, UINT64_MAX / 2);
  EXPECT_EQ(sketch.sum_ns(), INT64_MAX);
}

TEST(LatencySketch, MergingIsAddingInAnyOrder) {
  std::mt19937_64 random(testing::seed());
  std::lognormal_distribution<double> latency(std::log(3e8), 1.2);
  LatencySketch whole, parts[3];
  for (int i = 0; i < 3000; ++i) {
    const auto value = static_cast<std::int64_t>(latency(random));
    whole.add(value);
    parts[i % 3].add(value);
  }
  LatencySketch forward, backward;
  for (const auto& part : parts) forward.merge(part);
  for (int i = 2; i >= 0; --i) backward.merge(parts[i]);
  forward.merge(LatencySketch());
  EXPECT_EQ(forward, whole);
  EXPECT_EQ(backward, whole);
  LatencySketch twice = whole;
  twice.merge(twice);
  EXPECT_EQ(twice.count(), 6000u);
  EXPECT_EQ(twice.quantile(0.5), whole.quantile(0.5));
  LatencySketch weighted;
  weighted.add(5 * kMs, 3);
  LatencySketch single;
  for (int i = 0; i < 3; ++i) single.add(5 * kMs);
  EXPECT_EQ(weighted, single);
}

TEST(LatencySketch, SerialisesAndRefusesWhatIsNoSketch) {
  std::mt19937_64 random(testing::seed());
  LatencySketch sketch;
  for (int i = 0; i < 1000; ++i) sketch.add(static_cast<std::int64_t>(random() % 5'000'000'000));
  sketch.add(7, 1'000'000'000'000);
  for (const LatencySketch& each : {sketch, LatencySketch()}) {
    const std::string bytes = each.serialize();
    const auto back = LatencySketch::deserialize(bytes);
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, each);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(LatencySketch::deserialize(std::string_view(bytes).substr(0, size)).ok());
    }
    EXPECT_FALSE(LatencySketch::deserialize(bytes + "x").ok());
  }
  // A count that the bins do not have, by hand: count 2, sum 0, min 0, max 0, bin 0, 1 bin of 1.
  EXPECT_FALSE(LatencySketch::deserialize(std::string_view("LS1\x02\0\0\0\0\x01\x01", 10)).ok());
  EXPECT_TRUE(LatencySketch::deserialize(std::string_view("LS1\x01\0\0\0\0\x01\x01", 10)).ok());
  // Random damage never crashes, and what is accepted can be written again.
  const std::string bytes = sketch.serialize();
  for (int i = 0; i < 20'000; ++i) {
    std::string damaged = bytes;
    damaged[random() % damaged.size()] ^= static_cast<char>(1 << (random() % 8));
    if (const auto back = LatencySketch::deserialize(damaged); back.ok()) {
      EXPECT_EQ(back->serialize(), damaged);
    }
  }
}

}  // namespace
}  // namespace sluiceway::stats
