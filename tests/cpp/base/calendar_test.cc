// Window names and ends. Every instant and every expected name was worked out with GNU date
// (%G-W%V) and the IANA rules of the zones, not with the code under test.
#include "base/calendar.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "base/text.h"

namespace sluiceway {
namespace {

constexpr std::int64_t kS = 1'000'000'000;
constexpr std::int64_t kHour = 3600;
constexpr std::int64_t kSunday0530 = 1795325400;  // 2026-11-22T05:30:00Z

TimeZone zone(std::string_view name) {
  auto loaded = TimeZone::load(name);
  EXPECT_TRUE(loaded.ok()) << name;
  return loaded.ok() ? *loaded : TimeZone::utc();
}

TEST(WindowKey, NamesEveryPeriodInUtc) {
  const TimeZone utc = TimeZone::utc();
  EXPECT_EQ(window_key(Period::kNone, kSunday0530 * kS, utc), "");
  EXPECT_EQ(window_key(Period::kHour, kSunday0530 * kS, utc), "2026-11-22T05");
  EXPECT_EQ(window_key(Period::kDay, kSunday0530 * kS, utc), "2026-11-22");
  EXPECT_EQ(window_key(Period::kWeek, kSunday0530 * kS, utc), "2026-W47");
  EXPECT_EQ(window_key(Period::kMonth, kSunday0530 * kS, utc), "2026-11");
}

TEST(WindowKey, ChangesAtTheExactNanosecond) {
  const TimeZone utc = TimeZone::utc();
  const std::int64_t monday = 1795392000 * kS;  // 2026-11-23T00:00:00Z
  EXPECT_EQ(window_key(Period::kDay, monday - 1, utc), "2026-11-22");
  EXPECT_EQ(window_key(Period::kDay, monday, utc), "2026-11-23");
  EXPECT_EQ(window_key(Period::kWeek, monday - 1, utc), "2026-W47");
  EXPECT_EQ(window_key(Period::kWeek, monday, utc), "2026-W48");
  EXPECT_EQ(window_key(Period::kHour, monday - 1, utc), "2026-11-22T23");
}

TEST(WindowKey, WeekBelongsToTheYearOfItsThursday) {
  const TimeZone utc = TimeZone::utc();
  EXPECT_EQ(window_key(Period::kWeek, 1609416000 * kS, utc), "2020-W53");  // 2020-12-31, Thursday
  EXPECT_EQ(window_key(Period::kWeek, 1609718399 * kS, utc), "2020-W53");  // 2021-01-03, Sunday
  EXPECT_EQ(window_key(Period::kWeek, 1735516800 * kS, utc), "2025-W01");  // 2024-12-30, Monday
  EXPECT_EQ(window_key(Period::kWeek, 1798759800 * kS, utc), "2026-W53");  // 2026-12-31, Thursday
}

TEST(WindowKey, TimeBefore1970AndAtTheEndsOfInt64) {
  const TimeZone utc = TimeZone::utc();
  EXPECT_EQ(window_key(Period::kDay, -1, utc), "1969-12-31");
  EXPECT_EQ(window_key(Period::kWeek, -1, utc),
            "1970-W01");  // a Wednesday of the week of 1 January
  EXPECT_EQ(window_key(Period::kDay, std::numeric_limits<std::int64_t>::max(), utc), "2262-04-11");
  EXPECT_EQ(window_key(Period::kDay, std::numeric_limits<std::int64_t>::min(), utc), "1677-09-21");
}

TEST(WindowKey, FollowsTheZone) {
  const TimeZone kathmandu = zone("Asia/Kathmandu");  // UTC+5:45
  EXPECT_EQ(kathmandu.name(), "Asia/Kathmandu");
  EXPECT_EQ(window_key(Period::kDay, 1795371299 * kS, kathmandu), "2026-11-22");
  EXPECT_EQ(window_key(Period::kDay, 1795371300 * kS, kathmandu), "2026-11-23");
  EXPECT_EQ(window_end_ns(Period::kDay, 1795371299 * kS, kathmandu), 1795371300 * kS);
}

TEST(WindowEnd, IsTheNextWindowsFirstInstant) {
  const TimeZone utc = TimeZone::utc();
  const std::int64_t now = kSunday0530 * kS + 1;
  EXPECT_EQ(window_end_ns(Period::kNone, now, utc), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(window_end_ns(Period::kHour, now, utc), (kSunday0530 + 1800) * kS);
  EXPECT_EQ(window_end_ns(Period::kDay, now, utc), 1795392000 * kS);
  EXPECT_EQ(window_end_ns(Period::kWeek, now, utc), 1795392000 * kS);
  EXPECT_EQ(window_end_ns(Period::kMonth, now, utc), 1796083200 * kS);  // 2026-12-01
  EXPECT_EQ(window_end_ns(Period::kDay, 1795392000 * kS, utc), (1795392000 + 24 * kHour) * kS);
}

TEST(WindowEnd, SaturatesAtTheEndOfInt64) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(window_end_ns(Period::kMonth, kMax, TimeZone::utc()), kMax);
}

TEST(DaylightSaving, SkippedHourHasNoWindowAndRepeatedHourIsOne) {
  const TimeZone berlin = zone("Europe/Berlin");
  // 2026-03-29: 01:59:59 (UTC+1) is followed by 03:00:00 (UTC+2) at 01:00Z.
  EXPECT_EQ(window_key(Period::kHour, 1774745999 * kS, berlin), "2026-03-29T01");
  EXPECT_EQ(window_end_ns(Period::kHour, 1774745999 * kS, berlin), 1774746000 * kS);
  EXPECT_EQ(window_key(Period::kHour, 1774746000 * kS, berlin), "2026-03-29T03");
  // 2026-10-25: 02:30 happens at 00:30Z and at 01:30Z; the hour ends at 03:00 (UTC+1) = 02:00Z.
  EXPECT_EQ(window_key(Period::kHour, 1792888200 * kS, berlin), "2026-10-25T02");
  EXPECT_EQ(window_key(Period::kHour, 1792891800 * kS, berlin), "2026-10-25T02");
  EXPECT_EQ(window_end_ns(Period::kHour, 1792888200 * kS, berlin), 1792893600 * kS);
  EXPECT_EQ(window_end_ns(Period::kHour, 1792891800 * kS, berlin), 1792893600 * kS);
}

TEST(DaylightSaving, DaysThatBeginOrEndInsideAChange) {
  // Cairo 2026-04-24 has no midnight: 23:59:59 is followed by 01:00:00 at 22:00Z.
  const TimeZone cairo = zone("Africa/Cairo");
  EXPECT_EQ(window_key(Period::kDay, 1776981599 * kS, cairo), "2026-04-23");
  EXPECT_EQ(window_end_ns(Period::kDay, 1776981599 * kS, cairo), 1776981600 * kS);
  EXPECT_EQ(window_key(Period::kDay, 1776981600 * kS, cairo), "2026-04-24");
  // St John's 2011-03-13: 00:00:59 is followed by 01:01:00 at 03:31Z, inside the next hour.
  const TimeZone st_johns = zone("America/St_Johns");
  EXPECT_EQ(window_key(Period::kHour, 1299987030 * kS, st_johns), "2011-03-13T00");
  EXPECT_EQ(window_end_ns(Period::kHour, 1299987030 * kS, st_johns), 1299987060 * kS);
  EXPECT_EQ(window_key(Period::kHour, 1299987060 * kS, st_johns), "2011-03-13T01");
  // Havana 2026-11-01 has two midnights, at 04:00Z and 05:00Z: the day begins at the first.
  const TimeZone havana = zone("America/Havana");
  EXPECT_EQ(window_end_ns(Period::kDay, (1793505600 - 60) * kS, havana), 1793505600 * kS);
  EXPECT_EQ(window_key(Period::kDay, 1793505600 * kS, havana), "2026-11-01");
  EXPECT_EQ(window_end_ns(Period::kHour, (1793505600 + 1800) * kS, havana),
            (1793505600 + 2 * kHour) * kS);
  // Santiago 2026-04-04 has 25 hours: 23:30 happens twice, and the day ends at 04:00Z.
  const TimeZone santiago = zone("America/Santiago");
  EXPECT_EQ(window_end_ns(Period::kDay, 1775356200 * kS, santiago), 1775361600 * kS);
  EXPECT_EQ(window_end_ns(Period::kDay, 1775359800 * kS, santiago), 1775361600 * kS);
}

TEST(TimeZoneLoad, UnknownNamesAreNamed) {
  for (const std::string_view name : {"Mars/Olympus", "", "europe/nowhere"}) {
    const auto loaded = TimeZone::load(name);
    ASSERT_FALSE(loaded.ok()) << name;
    EXPECT_EQ(loaded.status().code(), absl::StatusCode::kInvalidArgument);
    const std::string message(to_std(loaded.status().message()));
    EXPECT_NE(message.find("'" + std::string(name) + "'"), std::string::npos) << message;
  }
}

TEST(PeriodNames, GoBothWays) {
  for (const Period period :
       {Period::kNone, Period::kHour, Period::kDay, Period::kWeek, Period::kMonth}) {
    const auto back = period_from_name(period_name(period));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, period);
  }
  EXPECT_EQ(period_name(Period::kWeek), "week");
  EXPECT_FALSE(period_from_name("fortnight").ok());
}

}  // namespace
}  // namespace sluiceway
