// Time-ordered ids: the layout of RFC 9562, order, text and bytes.
#include "base/ids.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace sluiceway {
namespace {

TEST(Id, ReadsAndWritesTheExampleOfTheRfc) {
  // RFC 9562, appendix A.6: a UUIDv7 of 2022-02-22T19:22:22Z.
  const char* text = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
  const auto id = Id::parse(text);
  ASSERT_TRUE(id);
  EXPECT_EQ(id->high, 0x017f22e279b07cc3ULL);
  EXPECT_EQ(id->low, 0x98c4dc0c0c07398fULL);
  EXPECT_EQ(id->text(), text);
  EXPECT_EQ(Id::parse("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), id);
}

TEST(Id, RefusesWhatIsNotOne) {
  for (const char* text :
       {"", "017f22e2", "017f22e279b07cc398c4dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398fa", "g17f22e2-79b0-7cc3-98c4-dc0c0c07398f",
        "017f22e2079b0-7cc3-98c4-dc0c0c07398f", "017f22e2-79b0-7cc3-98c4-dc0c-c07398f"}) {
    EXPECT_FALSE(Id::parse(text)) << text;
  }
}

TEST(Id, BytesAreBigEndian) {
  const Id id{0x0102030405060708ULL, 0x090a0b0c0d0e0f10ULL};
  unsigned char bytes[16];
  id.to_bytes(bytes);
  for (int i = 0; i < 16; ++i) EXPECT_EQ(bytes[i], i + 1);
  EXPECT_EQ(Id::from_bytes(bytes), id);
  EXPECT_TRUE(Id{}.empty());
  EXPECT_FALSE(id.empty());
}

TEST(IdGenerator, CarriesTheTimeVersionAndVariant) {
  SeededRandom random(1);
  IdGenerator ids(random);
  const Id id = ids.next(0x017f22e279b0LL * 1'000'000 + 999'999);
  EXPECT_EQ(id.high >> 16, 0x017f22e279b0ULL);
  EXPECT_EQ((id.high >> 12) & 0xf, 7U);
  EXPECT_EQ(id.low >> 62, 2U);
}

TEST(IdGenerator, AlwaysIncreasesWhateverTheClockDoes) {
  SeededRandom random(2);
  IdGenerator ids(random);
  const std::int64_t start = 1'700'000'000'000'000'000;
  Id last;
  for (int i = 0; i < 20'000; ++i) {  // far more than the 4,096 of one millisecond
    const std::int64_t now = i < 10'000 ? start : start - 3'600'000'000'000;
    const Id id = ids.next(now);
    ASSERT_LT(last, id) << i;
    unsigned char a[16], b[16];
    last.to_bytes(a);
    id.to_bytes(b);
    ASSERT_LT(std::memcmp(a, b, 16), 0);
    last = id;
  }
  const std::string before_1970 = ids.next(-5).text();
  EXPECT_LT(before_1970, ids.next(-5).text());
}

TEST(IdGenerator, IsSafeForThreads) {
  SeededRandom random(3);
  IdGenerator ids(random);
  std::vector<std::vector<Id>> made(4);
  std::vector<std::thread> threads;
  threads.reserve(made.size());
  for (auto& mine : made) {
    threads.emplace_back([&ids, &mine] {
      for (int i = 0; i < 2000; ++i) mine.push_back(ids.next(1'000'000'000));
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<Id> all;
  for (const auto& mine : made) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 8000U);
}

}  // namespace
}  // namespace sluiceway
