// Names that rows, logs and the Python classes are made from.
#include "base/status.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/usage.h"

namespace sluiceway {
namespace {

TEST(Outcome, Names) {
  EXPECT_EQ(outcome_name(Outcome::kNeverSent), "never_sent");
  EXPECT_EQ(outcome_name(Outcome::kRefused), "refused");
  EXPECT_EQ(outcome_name(Outcome::kInDoubt), "in_doubt");
  EXPECT_EQ(outcome_name(Outcome::kDone), "done");
}

TEST(ErrorKind, EveryOneHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int i = 0; i <= static_cast<int>(ErrorKind::kClosed); ++i) {
    const std::string name(error_kind_name(static_cast<ErrorKind>(i)));
    EXPECT_NE(name, "unknown") << i;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(error_kind_name(static_cast<ErrorKind>(200)), "unknown");
}

TEST(Status, InvalidArgumentKeepsItsMessage) {
  const Status status = invalid_argument("limit must be at least 1");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(to_std(status.message()), "limit must be at least 1");
}

TEST(Bucket, NamesAndIndicesAgree) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    const std::string_view name = bucket_name(static_cast<Bucket>(i));
    EXPECT_TRUE(names.insert(std::string(name)).second);
    EXPECT_EQ(bucket_index(name), i);
  }
  EXPECT_EQ(bucket_name(Bucket::kCacheWrite1h), "cache_write_1h");
  EXPECT_EQ(bucket_name(Bucket::kQuotaUnits), "quota_units");
  EXPECT_EQ(static_cast<std::size_t>(Bucket::kQuotaUnits), kBucketCount - 1);
  EXPECT_EQ(bucket_index("tokens"), kBucketCount);
}

TEST(Usage, AbsentIsNotZero) {
  Usage usage;
  EXPECT_FALSE(usage.any());
  usage.set(Bucket::kOutput, 0);
  EXPECT_TRUE(usage.any());
  EXPECT_TRUE(usage.has(Bucket::kOutput));
  EXPECT_FALSE(usage.has(Bucket::kInput));
  usage.set(Bucket::kQuotaUnits, 7);
  EXPECT_EQ(usage.get(Bucket::kQuotaUnits), 7);
  EXPECT_EQ(usage.reported_cost_nanousd, -1);
}

}  // namespace
}  // namespace sluiceway
