// Calendar windows: which hour, day, week or month an instant lies in, in some time zone.
//
// Model. A window is named by its local civil time: "2026-11-22T05" (hour), "2026-11-22" (day),
// "2026-W47" (ISO 8601 week, which begins on Monday and carries the year of its Thursday),
// "2026-11" (month). Where clocks go back the repeated local hour is one window of two hours; where
// they go forward the skipped hour has no window. So a budget is never granted twice for one name.
//
// Bounds: O(1) apart from loading a zone, which reads the system's zoneinfo once a name. Threads:
// safe; a TimeZone is a small value that can be copied. Time is a parameter: Unix nanoseconds.
//
//   StatusOr<TimeZone> zone = TimeZone::load("Europe/Berlin");
//   window_key(Period::kDay, now_ns, *zone);        // "2026-11-22"
//
// Source: ISO 8601 weeks; time zones are IANA's, read by abseil.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace sluiceway {

enum class Period : std::uint8_t { kNone = 0, kHour, kDay, kWeek, kMonth };

// "none", "hour", "day", "week", "month".
std::string_view period_name(Period period);
// InvalidArgument for any other name.
StatusOr<Period> period_from_name(std::string_view name);

class TimeZone {
 public:
  // An IANA name ("Europe/Berlin", "UTC"). InvalidArgument names a zone that is not known.
  static StatusOr<TimeZone> load(std::string_view name);
  static TimeZone utc();

  const std::string& name() const;

  struct Zone;  // abseil's zone, seen in calendar.cc only
  const Zone& zone() const { return *zone_; }

 private:
  explicit TimeZone(std::shared_ptr<const Zone> zone) : zone_(std::move(zone)) {}
  std::shared_ptr<const Zone> zone_;
};

// The window's name; "" for Period::kNone.
std::string window_key(Period period, std::int64_t wall_ns, const TimeZone& zone);

// The first instant after wall_ns that lies in another window: Unix ns, INT64_MAX for kNone and
// where the end cannot be told in int64.
std::int64_t window_end_ns(Period period, std::int64_t wall_ns, const TimeZone& zone);

}  // namespace sluiceway
