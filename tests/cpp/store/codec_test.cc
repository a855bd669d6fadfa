// Blobs and ledger time, against values worked out by hand.
#include "store/codec.h"

#include <gtest/gtest.h>

#include "store/backend.h"
#include "store/store_testing.h"

namespace sluiceway::store {
namespace {

TEST(Codec, Balances) {
  std::string blob;
  const BalanceRef refs[] = {{1}, {127}, {128, 300}, {300}};
  encode_balances(refs, blob);
  // 300 = 0b10_0101100: AC 02 (the example of the Protocol Buffers documentation). A slot is a
  // zero, its anchor 128 (80 01) and its number.
  EXPECT_EQ(blob, std::string("\x01\x7f\x00\x80\x01\xac\x02\xac\x02", 9));
  std::vector<BalanceRef> back;
  ASSERT_TRUE(decode_balances(blob, back));
  EXPECT_EQ(back, std::vector<BalanceRef>(refs, refs + 4));
  EXPECT_FALSE(decode_balances("\x80", back));
  EXPECT_FALSE(decode_balances(std::string(11, '\xff'), back));
  EXPECT_FALSE(decode_balances(std::string("\x00\x01", 2), back));      // no slot
  EXPECT_FALSE(decode_balances(std::string("\x00\x00\x01", 3), back));  // no anchor
}

TEST(Codec, RowsOfACommit) {
  std::string blob;
  encode_entry_ref({{0x0102, 0x03}, 0, 0, 202611}, 202611, blob);
  encode_entry_ref({{0x0102, 0x03}, 2, 1, 202610}, 202611, blob);
  // Attempt 2, kind 1, another month: 2 << 5 | 1 << 1 | 1 = 67 = 0x43; 202610 is 0x31772, in sevens
  // 1100 0101110 1110010 from below: F2 AE 0C.
  const std::string id("\0\0\0\0\0\0\1\2\0\0\0\0\0\0\0\3", 16);
  EXPECT_EQ(blob, id + std::string("\0", 1) + id + "\x43\xf2\xae\x0c");
  std::vector<EntryRef> back;
  ASSERT_TRUE(decode_entry_refs(blob, 202611, back));
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].segment, 202611);
  EXPECT_EQ(back[1].segment, 202610);
  EXPECT_EQ(back[1].attempt, 2);
  EXPECT_EQ(back[1].kind, 1);
  EXPECT_EQ(back[1].call_id, (Id{0x0102, 0x03}));
  for (const std::size_t cut : {1u, 16u, 20u, 33u, 36u}) {
    EXPECT_FALSE(decode_entry_refs(std::string_view(blob).substr(0, cut), 202611, back)) << cut;
  }
}

TEST(Codec, HoldsOfAPack) {
  std::string blob;
  encode_hold({{0x0102, 0x03}, 300, 1, std::string("\x01\x02", 2)}, blob);
  encode_hold({{0x0102, 0x04}, 0, 0, ""}, blob);
  // 300 is AC 02; then the label, and the balances after their length.
  const std::string first("\0\0\0\0\0\0\1\2\0\0\0\0\0\0\0\3\xac\2\1\2\1\2", 22);
  const std::string second("\0\0\0\0\0\0\1\2\0\0\0\0\0\0\0\4\0\0\0", 19);
  EXPECT_EQ(blob, first + second);
  std::vector<PackedHold> back;
  std::string_view rest = blob;
  ASSERT_TRUE(decode_holds(rest, back));
  EXPECT_TRUE(rest.empty());
  ASSERT_EQ(back.size(), 2u);
  EXPECT_EQ(back[0].call_id, (Id{0x0102, 0x03}));
  EXPECT_EQ(back[0].amount, 300);
  EXPECT_EQ(back[0].labels, 1);
  EXPECT_EQ(back[0].balances, "\x01\x02");
  EXPECT_EQ(back[1].call_id, (Id{0x0102, 0x04}));
  EXPECT_EQ(back[1].amount, 0);
  // Cut anywhere in the second, the first is there, and the rest begins with the second.
  for (std::size_t cut = 23; cut < blob.size(); ++cut) {
    back.clear();
    rest = std::string_view(blob).substr(0, cut);
    EXPECT_FALSE(decode_holds(rest, back)) << cut;
    EXPECT_EQ(back.size(), 1u) << cut;
    EXPECT_EQ(rest, blob.substr(22, cut - 22)) << cut;
  }
  back.clear();
  rest = std::string_view(blob);
  std::string negative = first;  // an amount of 2^63
  negative.replace(16, 2, std::string("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 10));
  rest = negative;
  EXPECT_FALSE(decode_holds(rest, back));
}

TEST(Codec, Usage) {
  Usage usage;
  usage.set(Bucket::kInput, 3);
  usage.set(Bucket::kCacheRead, 0);
  usage.reported_cost_nanousd = 64;
  std::string blob;
  encode_usage(usage, blob);
  // Mask 0b11, shifted, with the cost's bit: 7. Zigzag: 3 is 6, 0 is 0, 64 is 128.
  EXPECT_EQ(blob, std::string("\x07\x06\x00\x80\x01", 5));
  Usage back;
  ASSERT_TRUE(decode_usage(blob, back));
  EXPECT_EQ(back.units, usage.units);
  EXPECT_EQ(back.present, usage.present);
  EXPECT_EQ(back.reported_cost_nanousd, 64);
  for (std::size_t cut = 1; cut < blob.size(); ++cut) {
    EXPECT_FALSE(decode_usage(std::string_view(blob).substr(0, cut), back)) << cut;
  }
  EXPECT_FALSE(decode_usage(blob + "x", back));
  blob.clear();
  encode_usage(Usage{}, blob);
  EXPECT_TRUE(blob.empty());
}

TEST(LedgerTimeTest, FollowsTheWallWithinReachOnly) {
  LedgerTime time;
  EXPECT_EQ(time.advance(100 * kSecond, kSunday, "boot-1"), kSunday);
  // The wall runs a second fast: taken over once five minutes have passed.
  EXPECT_EQ(time.advance(110 * kSecond, kSunday + 11 * kSecond, "boot-1"), kSunday + 10 * kSecond);
  EXPECT_EQ(time.advance(400 * kSecond, kSunday + 301 * kSecond, "boot-1"),
            kSunday + 301 * kSecond);
  // Then it is set back four minutes: ledger time stands still until it has caught up.
  EXPECT_EQ(time.advance(700 * kSecond, kSunday + 361 * kSecond, "boot-1"),
            kSunday + 301 * kSecond + 60 * kSecond);
  EXPECT_EQ(time.advance(1'000 * kSecond, kSunday + 661 * kSecond, "boot-1"),
            kSunday + 661 * kSecond);
}

TEST(LedgerTimeTest, NeverGoesBack) {
  LedgerTime time;
  time.advance(100 * kSecond, kSunday, "boot-1");
  EXPECT_EQ(time.advance(100 * kSecond, kSunday - 200 * kSecond, "boot-1", true), kSunday);
  EXPECT_EQ(time.advance(299 * kSecond, kSunday, "boot-1"), kSunday);
  EXPECT_EQ(time.advance(301 * kSecond, kSunday, "boot-1"), kSunday + kSecond);
  // A reboot with a dead clock battery.
  EXPECT_EQ(time.advance(5 * kSecond, 0, "boot-2"), kSunday + kSecond);
  EXPECT_EQ(time.advance(6 * kSecond, kSecond, "boot-2"), kSunday + 2 * kSecond);
  // A reboot a month later.
  EXPECT_EQ(time.advance(5 * kSecond, kSunday + 30 * 86'400 * kSecond, "boot-3"),
            kSunday + 30 * 86'400 * kSecond);
}

TEST(Segments, AreMonthsInUtc) {
  EXPECT_EQ(segment_of(kSunday), 202611);
  EXPECT_EQ(segment_of(0), 197001);
  EXPECT_EQ(segment_of(kSunday + 9 * 86'400 * kSecond), 202612);
  // `date -u -d 2026-12-01 +%s`, and of 2024-03-01, behind a leap day.
  for (const auto& [segment, start_s] :
       {std::pair(202612, std::int64_t{1'796'083'200}),
        std::pair(202403, std::int64_t{1'709'251'200}), std::pair(197001, std::int64_t{0})}) {
    EXPECT_EQ(segment_start_ns(segment), start_s * kSecond);
    EXPECT_EQ(segment_of(start_s * kSecond), segment);
    EXPECT_NE(segment_of(start_s * kSecond - 1), segment);
  }
}

}  // namespace
}  // namespace sluiceway::store
