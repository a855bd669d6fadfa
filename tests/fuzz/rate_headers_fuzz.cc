// Header times: no text gives a negative wait, and a text that is read is read in one way only.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "parse/rate_headers.h"

namespace {

namespace parse = sluiceway::parse;

void require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);  // its own block
  constexpr std::int64_t kNow = 1'767'225'600'000'000'000;
  const auto date = parse::parse_http_date_ns(text, kNow);
  const auto rfc3339 = parse::parse_rfc3339_ns(text);
  const auto duration = parse::parse_duration_ns(text);
  const auto seconds = parse::parse_seconds_ns(text);
  const auto milliseconds = parse::parse_milliseconds_ns(text);
  parse::parse_http_date_ns(text);
  parse::parse_http_date_ns(text, INT64_MIN);
  parse::parse_http_date_ns(text, INT64_MAX);

  if (duration) require(*duration >= 0);
  if (seconds) require(*seconds >= 0 && milliseconds && *milliseconds <= *seconds);
  if (date) require(*date % 1'000'000'000 == 0);
  require((date ? 1 : 0) + (rfc3339 ? 1 : 0) + (duration ? 1 : 0) + (seconds ? 1 : 0) <= 1 ||
          seconds == 0);  // "0" is a duration too
  const auto wait = parse::retry_after_ns(text, "", kNow);
  if (date || seconds) require(wait.has_value());
  if (wait) require(*wait >= 0);
  if (wait && !date) {  // a number, perhaps of more than there is
    constexpr std::int64_t kTenYears = 3'650LL * 86'400 * 1'000'000'000;
    require(*wait == (seconds && *seconds < kTenYears ? *seconds : kTenYears));
    require(text.find_first_not_of("0123456789. \t") == std::string::npos);
  }
  const auto either = parse::retry_after_ns(text, text, kNow);
  if (either) require(*either >= 0);
  for (int format = 0; format < 4; ++format) {
    for (const std::int64_t now : {std::int64_t{0}, kNow, INT64_MIN, INT64_MAX}) {
      const auto left = parse::reset_after_ns(text, static_cast<parse::ResetFormat>(format), now);
      if (left) require(*left >= 0);
    }
  }
  parse::reset_format(text);
  return 0;
}
