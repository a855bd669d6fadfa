// Calendar windows by abseil's time library: see calendar.h.
#include "base/calendar.h"

#include <absl/time/civil_time.h>
#include <absl/time/time.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <utility>

namespace sluiceway {

struct TimeZone::Zone {
  absl::TimeZone zone;
  std::string name;
};

namespace {

constexpr std::array<std::string_view, 5> kPeriodNames = {"none", "hour", "day", "week", "month"};

absl::CivilSecond local(std::int64_t wall_ns, const TimeZone& zone) {
  return zone.zone().zone.At(absl::FromUnixNanos(wall_ns)).cs;
}

absl::CivilDay monday_of(absl::CivilDay day) {
  return day - static_cast<int>(absl::GetWeekday(day));  // absl counts from Monday = 0
}

// ISO 8601: a week belongs to the year that holds its Thursday; its number counts those Thursdays.
std::string week_name(absl::CivilDay day) {
  const absl::CivilDay thursday = monday_of(day) + 3;
  const int week = (absl::GetYearDay(thursday) - 1) / 7 + 1;
  char text[32];
  std::snprintf(text, sizeof text, "%04lld-W%02d", static_cast<long long>(thursday.year()), week);
  return text;
}

// The first local second of the window after the one that `now` lies in.
absl::CivilSecond next_start(Period period, absl::CivilSecond now) {
  switch (period) {
    case Period::kHour:
      return absl::CivilSecond(absl::CivilHour(now) + 1);
    case Period::kDay:
      return absl::CivilSecond(absl::CivilDay(now) + 1);
    case Period::kWeek:
      return absl::CivilSecond(monday_of(absl::CivilDay(now)) + 7);
    case Period::kMonth:
    case Period::kNone:
      break;
  }
  return absl::CivilSecond(absl::CivilMonth(now) + 1);
}

}  // namespace

std::string_view period_name(Period period) {
  return kPeriodNames[static_cast<std::size_t>(period)];
}

StatusOr<Period> period_from_name(std::string_view name) {
  for (std::size_t i = 0; i < kPeriodNames.size(); ++i) {
    if (kPeriodNames[i] == name) return static_cast<Period>(i);
  }
  std::string message = "unknown period '";
  message += name;
  message += "': use none, hour, day, week or month";
  return invalid_argument(message);
}

StatusOr<TimeZone> TimeZone::load(std::string_view name) {
  auto zone = std::make_shared<Zone>();
  zone->name = std::string(name);
  if (name.empty() || !absl::LoadTimeZone(zone->name, &zone->zone)) {
    return invalid_argument("unknown time zone '" + zone->name +
                            "': use an IANA name such as Europe/Berlin (and see that the system's "
                            "tzdata package is installed)");
  }
  return TimeZone(std::move(zone));
}

TimeZone TimeZone::utc() {
  auto zone = std::make_shared<Zone>();
  zone->zone = absl::UTCTimeZone();
  zone->name = "UTC";
  return TimeZone(std::move(zone));
}

const std::string& TimeZone::name() const { return zone_->name; }

std::string window_key(Period period, std::int64_t wall_ns, const TimeZone& zone) {
  if (period == Period::kNone) return "";
  const absl::CivilSecond now = local(wall_ns, zone);
  if (period == Period::kWeek) return week_name(absl::CivilDay(now));
  const auto year = static_cast<long long>(now.year());
  char text[40];
  if (period == Period::kHour) {
    std::snprintf(text, sizeof text, "%04lld-%02d-%02dT%02d", year, now.month(), now.day(),
                  now.hour());
  } else if (period == Period::kDay) {
    std::snprintf(text, sizeof text, "%04lld-%02d-%02d", year, now.month(), now.day());
  } else {
    std::snprintf(text, sizeof text, "%04lld-%02d", year, now.month());
  }
  return text;
}

std::int64_t window_end_ns(Period period, std::int64_t wall_ns, const TimeZone& zone) {
  if (period == Period::kNone) return std::numeric_limits<std::int64_t>::max();
  const absl::TimeZone& tz = zone.zone().zone;
  const absl::Time now = absl::FromUnixNanos(wall_ns);
  const absl::TimeZone::TimeInfo start = tz.At(next_start(period, tz.At(now).cs));
  absl::Time end = start.pre;
  if (start.kind == absl::TimeZone::TimeInfo::SKIPPED) {
    end = start.trans;  // the clock jumps over the window's first second
  } else if (start.kind == absl::TimeZone::TimeInfo::REPEATED && start.pre <= now) {
    end = start.post;  // the clock went back into this window and reaches its end once more
  }
  return absl::ToUnixNanos(end);
}

}  // namespace sluiceway
