// Header times. Epochs were computed by hand with a calendar: 784111777 is RFC 9110's own example.
#include "parse/rate_headers.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "parse/json_fields.h"
#include "support/units.h"
#include "support/vectors.h"

namespace sluiceway::parse {
namespace {

constexpr std::int64_t kRfcExample = 784'111'777 * kSecond;  // Sun, 06 Nov 1994 08:49:37 GMT
constexpr std::int64_t k2026 = 1'767'225'600 * kSecond;      // 2026-01-01T00:00:00Z

TEST(HttpDate, TheThreeFormsOfTheRfc) {
  EXPECT_EQ(parse_http_date_ns("Sun, 06 Nov 1994 08:49:37 GMT"), kRfcExample);
  EXPECT_EQ(parse_http_date_ns("Sunday, 06-Nov-94 08:49:37 GMT"), kRfcExample);
  EXPECT_EQ(parse_http_date_ns("Sun Nov  6 08:49:37 1994"), kRfcExample);
  EXPECT_EQ(parse_http_date_ns(" Sun, 06 Nov 1994 08:49:37 GMT\t"), kRfcExample);
  EXPECT_EQ(parse_http_date_ns("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
  EXPECT_EQ(parse_http_date_ns("Wed Dec 31 23:59:59 1969"), -kSecond);
  EXPECT_EQ(parse_http_date_ns("Tue, 29 Feb 2000 00:00:00 GMT"), 951'782'400 * kSecond);
}

// Netscape's cookies made this one common: the second form with the first one's names of days.
TEST(HttpDate, TheSecondFormMayShortenTheDay) {
  EXPECT_EQ(parse_http_date_ns("Sun, 06-Nov-94 08:49:37 GMT"), kRfcExample);
}

TEST(HttpDate, TwoDigitYearsFollowTheClock) {
  // In 2026 the year 76 is at most 50 years ahead: 2076. 77 means 1977.
  EXPECT_EQ(parse_http_date_ns("Wednesday, 01-Jan-76 00:00:00 GMT", k2026),
            3'345'062'400 * kSecond);
  EXPECT_EQ(parse_http_date_ns("Saturday, 01-Jan-77 00:00:00 GMT", k2026), 220'924'800 * kSecond);
  EXPECT_EQ(parse_http_date_ns("Sunday, 06-Nov-94 08:49:37 GMT", k2026), kRfcExample);
  EXPECT_EQ(parse_http_date_ns("Thursday, 01-Jan-26 00:00:00 GMT", k2026), k2026);
  EXPECT_EQ(parse_http_date_ns("Thursday, 01-Jan-70 00:00:00 GMT", 0), 0);
  // Without a clock 69 is 1969 and 68 is 2068.
  EXPECT_EQ(parse_http_date_ns("Wednesday, 31-Dec-69 23:59:59 GMT"), -kSecond);
  EXPECT_EQ(parse_http_date_ns("Sunday, 01-Jan-68 00:00:00 GMT"), 3'092'601'600 * kSecond);
  // 29 February exists in 2024 only.
  EXPECT_TRUE(parse_http_date_ns("Thursday, 29-Feb-24 00:00:00 GMT", k2026));
  EXPECT_FALSE(parse_http_date_ns("Thursday, 29-Feb-25 00:00:00 GMT", k2026));
}

TEST(HttpDate, RefusesEverythingElse) {
  for (std::string_view text : {"",
                                "Sun",
                                "Sun, 06 Nov 1994 08:49:37",
                                "Sun, 06 Nov 1994 08:49:37 UTC",
                                "Sun, 06 Nov 1994 08:49:37 +0000",
                                "Sun, 6 Nov 1994 08:49:37 GMT",
                                "Sun, 06 Nov 94 08:49:37 GMT",
                                "sun, 06 Nov 1994 08:49:37 GMT",
                                "Sun, 06 nov 1994 08:49:37 GMT",
                                "Sun, 31 Nov 1994 08:49:37 GMT",
                                "Sun, 29 Feb 1900 08:49:37 GMT",
                                "Sun, 00 Nov 1994 08:49:37 GMT",
                                "Sun, 06 Nov 1994 24:00:00 GMT",
                                "Sun, 06 Nov 1994 08:60:37 GMT",
                                "Sun, 06 Nov 1994 08:49:61 GMT",
                                "Sun, 06 Nov 1994  08:49:37 GMT",
                                "Xxx, 06 Nov 1994 08:49:37 GMT",
                                "Sunday, 06-Nov-1994 08:49:37 GMT",
                                "Su, 06-Nov-94 08:49:37 GMT",
                                "Sun Nov 6 08:49:37 1994",
                                "Sun Nov  6 08:49:37 1994 GMT",
                                "Sun Nov  6 08:49:37 94",
                                "06 Nov 1994 08:49:37 GMT",
                                "Sun, 06 Nov 1994 08:49:37 GMTx",
                                "Sun, 06 Nov 3144 08:49:37 GMT"}) {  // beyond int64 nanoseconds
    EXPECT_EQ(parse_http_date_ns(text), std::nullopt) << text;
  }
}

// The shapes of the three forms, written independently of the parser: d is a digit, A a name.
std::string shape_of(std::string_view text) {
  std::string shape;
  for (char c : text) {
    if (c >= '0' && c <= '9') {
      shape += 'd';
    } else if ((c | 32) >= 'a' && (c | 32) <= 'z') {
      if (shape.empty() || shape.back() != 'A') shape += 'A';
    } else {
      shape += c;
    }
  }
  return shape;
}

TEST(HttpDateVectors, OfCurlInTheRfcForms) {
  SLUICEWAY_VECTORS(path, "http_dates/curl_lib517_dates.json");
  JsonReader json;
  ASSERT_TRUE(json.parse(testing::read_file(path)));
  const auto at = [](const std::string& text) { return *JsonPointer::compile(text); };
  const std::size_t dates = json.count(at("/dates/*"));
  int asked = 0;
  for (std::size_t i = 0; i < dates; ++i) {
    const std::string base = "/dates/" + std::to_string(i);
    const std::string input(json.text(at(base + "/input")).value());
    const std::int64_t epoch = json.integer(at(base + "/epoch")).value();
    const std::string shape = shape_of(input);
    const bool imf =
        shape == "A, dd A dddd dd:dd:dd A" && input.ends_with(" GMT") && input[3] == ',';
    const bool rfc850 = shape == "A, dd-A-dd dd:dd:dd A" && input.ends_with(" GMT");
    const bool asctime = (shape == "A A  d dd:dd:dd dddd" || shape == "A A dd dd:dd:dd dddd");
    if (!imf && !rfc850 && !asctime) continue;
    if (input.find("2044") != std::string::npos) continue;  // refused there for 32-bit time_t only
    ++asked;
    if (epoch == -1 || epoch > 9'223'372'036) {  // the latter is beyond int64 nanoseconds
      EXPECT_EQ(parse_http_date_ns(input), std::nullopt) << input;
    } else {
      EXPECT_EQ(parse_http_date_ns(input), epoch * kSecond) << input;
    }
  }
  EXPECT_GE(asked, 11);
}

TEST(Duration, AsProvidersWriteThem) {
  EXPECT_EQ(parse_duration_ns("6m0s"), 360 * kSecond);
  EXPECT_EQ(parse_duration_ns("12ms"), 12'000'000);
  EXPECT_EQ(parse_duration_ns("0s"), 0);
  EXPECT_EQ(parse_duration_ns("0"), 0);
  EXPECT_EQ(parse_duration_ns("1s"), kSecond);
  EXPECT_EQ(parse_duration_ns("1h2m3.5s"), 3'723'500'000'000);
  EXPECT_EQ(parse_duration_ns("1.5h"), 5400 * kSecond);
  EXPECT_EQ(parse_duration_ns("1d2h"), 93'600 * kSecond);
  EXPECT_EQ(parse_duration_ns("250us"), 250'000);
  EXPECT_EQ(parse_duration_ns("1\xC2\xB5s"), 1'000);
  EXPECT_EQ(parse_duration_ns("7ns"), 7);
  EXPECT_EQ(parse_duration_ns("1m30.951s"), 90'951'000'000);
  EXPECT_EQ(parse_duration_ns("0.1s"), 100'000'000);
  EXPECT_EQ(parse_duration_ns("1.9ns"), 1);
  EXPECT_EQ(parse_duration_ns("0.333333333333333333333333s"), 333'333'333);
  EXPECT_EQ(parse_duration_ns("106751d"), 106'751LL * 86'400 * kSecond);
}

TEST(Duration, RefusesEverythingElse) {
  for (std::string_view text : {"",
                                "s",
                                "1",
                                "16",
                                "-1s",
                                "+1s",
                                "1x",
                                "1s2m",
                                "1s1s",
                                "1 s",
                                "1m 2s",
                                "1.s",
                                ".5s",
                                "1e3s",
                                "1S",
                                "1min",
                                "106752d",
                                "9999999999999999999999s",
                                "9223372036s1000000000000000000ns",
                                "6m0",
                                "NaN",
                                "1h-2m"}) {
    EXPECT_EQ(parse_duration_ns(text), std::nullopt) << text;
  }
}

TEST(Rfc3339, Dates) {
  // 2025-06-02T15:15:48Z: 20,241 days after 1970 and 54,948 s.
  constexpr std::int64_t kReset = 1'748'877'348 * kSecond;
  EXPECT_EQ(parse_rfc3339_ns("2025-06-02T15:15:48Z"), kReset);
  EXPECT_EQ(parse_rfc3339_ns("2025-06-02t15:15:48z"), kReset);
  EXPECT_EQ(parse_rfc3339_ns("2025-06-02 17:15:48+02:00"), kReset);
  EXPECT_EQ(parse_rfc3339_ns("2025-06-02T09:45:48-05:30"), kReset);
  EXPECT_EQ(parse_rfc3339_ns("2025-06-02T15:15:48.5Z"), kReset + 500'000'000);
  EXPECT_EQ(parse_rfc3339_ns("2025-06-02T15:15:48.123456789999Z"), kReset + 123'456'789);
  EXPECT_EQ(parse_rfc3339_ns("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(parse_rfc3339_ns("1969-12-31T23:59:59.25Z"), -750'000'000);
  // RFC 3339's own leap second example.
  EXPECT_EQ(parse_rfc3339_ns("1990-12-31T23:59:60Z"), 662'688'000 * kSecond);
  for (std::string_view text :
       {"", "2025-06-02", "2025-06-02T15:15:48", "2025-06-02T15:15Z", "2025-6-2T15:15:48Z",
        "2025-13-02T15:15:48Z", "2025-02-29T15:15:48Z", "2025-06-02T25:15:48Z",
        "2025-06-02T15:15:48.Z", "2025-06-02T15:15:48.5", "2025-06-02T15:15:48+2:00",
        "2025-06-02T15:15:48+0200", "2025-06-02T15:15:48+24:00", "2025-06-02T15:15:48Zx",
        "9999-06-02T15:15:48Z", "-025-06-02T15:15:48Z", "2025-06-02X15:15:48Z"}) {
    EXPECT_EQ(parse_rfc3339_ns(text), std::nullopt) << text;
  }
}

TEST(Seconds, Plain) {
  EXPECT_EQ(parse_seconds_ns("16"), 16 * kSecond);
  EXPECT_EQ(parse_seconds_ns(" 0.5 "), 500'000'000);
  EXPECT_EQ(parse_seconds_ns("007"), 7 * kSecond);
  EXPECT_EQ(parse_seconds_ns("9223372036"), 9'223'372'036 * kSecond);
  EXPECT_EQ(parse_milliseconds_ns("1500"), 1'500'000'000);
  for (std::string_view text : {"", "-1", "+1", "1e3", "1s", "1,5", ".5", "5.", "0x10", "inf",
                                "nan", "9223372037", "99999999999999999999", "1 2"}) {
    EXPECT_EQ(parse_seconds_ns(text), std::nullopt) << text;
  }
}

TEST(RetryAfter, TakesTheFinerPositiveValue) {
  EXPECT_EQ(retry_after_ns("16", "", k2026), 16 * kSecond);
  EXPECT_EQ(retry_after_ns("1", "0", k2026), kSecond);  // Azure
  EXPECT_EQ(retry_after_ns("1", "350", k2026), 350'000'000);
  EXPECT_EQ(retry_after_ns("", "0", k2026), 0);
  EXPECT_EQ(retry_after_ns("soon", "20", k2026), 20'000'000);
  EXPECT_EQ(retry_after_ns("2", "soon", k2026), 2 * kSecond);
  EXPECT_EQ(retry_after_ns("Thu, 01 Jan 2026 00:00:30 GMT", "", k2026), 30 * kSecond);
  EXPECT_EQ(retry_after_ns("Thu, 01 Jan 2026 00:00:30 GMT", "", k2026 + 500'000'000),
            29'500'000'000);
  EXPECT_EQ(retry_after_ns("Sun, 06 Nov 1994 08:49:37 GMT", "", k2026), 0);
  // Long, not absent: 2^63 ns is 292 years.
  constexpr std::int64_t kTenYears = 3'650 * 86'400 * kSecond;
  for (const char* many :
       {"9223372036", "9223372037", "99999999999999999999999", " 887741738877448 ", "9223372037.5",
        "999999999999.0000000000000000000001"}) {
    EXPECT_EQ(retry_after_ns(many, "", k2026), kTenYears) << many;
  }
  EXPECT_EQ(retry_after_ns("1", "99999999999999999999999", k2026), kTenYears);
  EXPECT_EQ(retry_after_ns("315360000", "", k2026), kTenYears);
  EXPECT_EQ(retry_after_ns("315359999", "", k2026), kTenYears - kSecond);
  for (const char* not_a_number : {"99999999999999999999x", "99999999999999999999.", ".5", "9 9"}) {
    EXPECT_EQ(retry_after_ns(not_a_number, "", k2026), std::nullopt) << not_a_number;
  }
  EXPECT_EQ(retry_after_ns("", "", k2026), std::nullopt);
  EXPECT_EQ(retry_after_ns("-5", "", k2026), std::nullopt);
  EXPECT_EQ(retry_after_ns("tomorrow", "later", k2026), std::nullopt);
}

TEST(ResetAfter, ByDeclaredFormat) {
  EXPECT_EQ(reset_format("duration"), ResetFormat::kDuration);
  EXPECT_EQ(reset_format("rfc3339"), ResetFormat::kRfc3339);
  EXPECT_EQ(reset_format("unix_seconds"), ResetFormat::kUnixSeconds);
  EXPECT_EQ(reset_format("seconds_left"), ResetFormat::kSecondsLeft);
  EXPECT_EQ(reset_format("minutes"), std::nullopt);
  EXPECT_EQ(reset_after_ns("6m0s", ResetFormat::kDuration, k2026), 360 * kSecond);
  EXPECT_EQ(reset_after_ns("16", ResetFormat::kSecondsLeft, k2026), 16 * kSecond);
  EXPECT_EQ(reset_after_ns("1767225601", ResetFormat::kUnixSeconds, k2026), kSecond);
  EXPECT_EQ(reset_after_ns("1767225599", ResetFormat::kUnixSeconds, k2026), 0);
  EXPECT_EQ(reset_after_ns("2026-01-01T00:00:02Z", ResetFormat::kRfc3339, k2026), 2 * kSecond);
  EXPECT_EQ(reset_after_ns("2026-01-01T00:00:02Z", ResetFormat::kDuration, k2026), std::nullopt);
}

// A year's days, against a calendar that is counted day by day.
TEST(Calendar, DaysFromCivil) {
  EXPECT_EQ(days_from_civil(1970, 1, 1), 0);
  EXPECT_EQ(days_from_civil(2000, 3, 1), 11'017);
  std::int64_t day = days_from_civil(1600, 1, 1);
  EXPECT_EQ(day, -135'140);
  for (std::int64_t year = 1600; year < 2400; ++year) {
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    const int lengths[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (int month = 1; month <= 12; ++month) {
      for (int d = 1; d <= lengths[month - 1]; ++d) {
        ASSERT_EQ(days_from_civil(year, month, d), day++);
      }
    }
  }
}

}  // namespace
}  // namespace sluiceway::parse
