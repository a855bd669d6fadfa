// The canonical writers against RFC 8785's own examples, the published doubles, and hand-made
// edges.
#include "cache/canonical_json.h"

#include <absl/strings/str_cat.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/vectors.h"

namespace sluiceway::cache {
namespace {

std::string number(double value) {
  std::string out;
  return write_double(out, value) ? out : "<refused>";
}

std::string in_quotes(std::string_view text) {
  std::string out;
  return write_string(out, text) ? out : "<refused>";
}

TEST(JcsVectors, TenThousandDoubles) {
  SLUICEWAY_VECTORS(path, "jcs/es6_numbers_10000.txt");
  std::ifstream in(path);
  std::string line;
  int lines = 0;
  while (std::getline(in, line)) {
    const std::size_t comma = line.find(',');
    ASSERT_NE(comma, std::string::npos);
    const auto bits = std::stoull(line.substr(0, comma), nullptr, 16);
    ASSERT_EQ(number(std::bit_cast<double>(std::uint64_t{bits})), line.substr(comma + 1)) << line;
    ++lines;
  }
  EXPECT_EQ(lines, 10'000);
}

// RFC 8785, appendix B.
TEST(WriteDouble, SamplesOfTheRfc) {
  const auto sample = [](std::uint64_t bits) { return number(std::bit_cast<double>(bits)); };
  EXPECT_EQ(sample(0x0000000000000000), "0");
  EXPECT_EQ(sample(0x8000000000000000), "0");
  EXPECT_EQ(sample(0x0000000000000001), "5e-324");
  EXPECT_EQ(sample(0x8000000000000001), "-5e-324");
  EXPECT_EQ(sample(0x7fefffffffffffff), "1.7976931348623157e+308");
  EXPECT_EQ(sample(0xffefffffffffffff), "-1.7976931348623157e+308");
  EXPECT_EQ(sample(0x4340000000000000), "9007199254740992");
  EXPECT_EQ(sample(0xc340000000000000), "-9007199254740992");
  EXPECT_EQ(sample(0x4430000000000000), "295147905179352830000");
  EXPECT_EQ(sample(0x7fffffffffffffff), "<refused>");
  EXPECT_EQ(sample(0x7ff0000000000000), "<refused>");
  EXPECT_EQ(sample(0x44b52d02c7e14af5), "9.999999999999997e+22");
  EXPECT_EQ(sample(0x44b52d02c7e14af6), "1e+23");
  EXPECT_EQ(sample(0x44b52d02c7e14af7), "1.0000000000000001e+23");
  EXPECT_EQ(sample(0x444b1ae4d6e2ef4e), "999999999999999700000");
  EXPECT_EQ(sample(0x444b1ae4d6e2ef4f), "999999999999999900000");
  EXPECT_EQ(sample(0x444b1ae4d6e2ef50), "1e+21");
  EXPECT_EQ(sample(0x3eb0c6f7a0b5ed8c), "9.999999999999997e-7");
  EXPECT_EQ(sample(0x3eb0c6f7a0b5ed8d), "0.000001");
  EXPECT_EQ(sample(0x41b3de4355555553), "333333333.3333332");
  EXPECT_EQ(sample(0x41b3de4355555554), "333333333.33333325");
  EXPECT_EQ(sample(0x41b3de4355555555), "333333333.3333333");
  EXPECT_EQ(sample(0x41b3de4355555556), "333333333.3333334");
  EXPECT_EQ(sample(0x41b3de4355555557), "333333333.33333343");
  EXPECT_EQ(sample(0xbecbf647612f3696), "-0.0000033333333333333333");
  EXPECT_EQ(sample(0x43143ff3c1cb0959), "1424953923781206.2");
}

TEST(WriteDouble, Layouts) {
  EXPECT_EQ(number(1), "1");
  EXPECT_EQ(number(-1.5), "-1.5");
  EXPECT_EQ(number(0.7), "0.7");
  EXPECT_EQ(number(100), "100");
  EXPECT_EQ(number(123.456), "123.456");
  EXPECT_EQ(number(1e20), "100000000000000000000");
  EXPECT_EQ(number(1e21), "1e+21");
  EXPECT_EQ(number(1.5e300), "1.5e+300");
  EXPECT_EQ(number(1e-6), "0.000001");
  EXPECT_EQ(number(1.25e-6), "0.00000125");
  EXPECT_EQ(number(1e-7), "1e-7");
  EXPECT_EQ(number(-1.25e-10), "-1.25e-10");
  EXPECT_EQ(number(std::nan("")), "<refused>");
  EXPECT_EQ(number(-std::numeric_limits<double>::infinity()), "<refused>");
  std::string kept = "before";
  EXPECT_FALSE(write_double(kept, std::nan("")));
  EXPECT_EQ(kept, "before");
}

TEST(WriteInteger, UpToTwoToThe53) {
  std::string out;
  EXPECT_TRUE(write_integer(out, 9007199254740992));
  EXPECT_TRUE(write_integer(out, -9007199254740992));
  EXPECT_TRUE(write_integer(out, 0));
  EXPECT_FALSE(write_integer(out, 9007199254740993));
  EXPECT_FALSE(write_integer(out, -9007199254740993));
  EXPECT_FALSE(write_integer(out, std::numeric_limits<std::int64_t>::min()));
  EXPECT_EQ(out, "9007199254740992-90071992547409920");
  out.clear();
  write_json_integer(out, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(out, "-9223372036854775808");
}

TEST(WriteString, EscapesOnlyWhatMustBe) {
  EXPECT_EQ(in_quotes(""), "\"\"");
  EXPECT_EQ(in_quotes("a/b<>&'\x7F"), "\"a/b<>&'\x7F\"");
  EXPECT_EQ(in_quotes("\"\\\b\t\n\f\r"), R"("\"\\\b\t\n\f\r")");
  EXPECT_EQ(in_quotes(std::string_view("\0\x01\x0B\x0E\x1F", 5)),
            R"("\u0000\u0001\u000b\u000e\u001f")");
  EXPECT_EQ(in_quotes("\xE2\x82\xAC$\x0F\nA'B\"\\\\\"/"),
            "\"\xE2\x82\xAC$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"");  // RFC 8785, section 3.2.2.2
  EXPECT_EQ(in_quotes("\xC2\x80\xE2\x80\xA8\xF0\x9F\x98\x80"),
            "\"\xC2\x80\xE2\x80\xA8\xF0\x9F\x98\x80\"");
}

// The eight-bytes-at-a-time search must see an escape in every place, among neighbours of any kind.
TEST(WriteString, FindsEscapesInEveryPlace) {
  for (std::size_t size = 1; size <= 40; ++size) {
    for (std::size_t place = 0; place < size; ++place) {
      for (const char filler : {'a', '!', '#', '[', ']', ' ', '\x7F'}) {
        for (int byte = 0; byte < 0x80; ++byte) {
          std::string text(size, filler);
          text[place] = static_cast<char>(byte);
          std::string expected = "\"" + std::string(place, filler);
          static constexpr std::string_view kShort = "\b\t\n\f\r\"\\";
          static constexpr std::string_view kLetters = "btnfr\"\\";
          if (const std::size_t at = kShort.find(static_cast<char>(byte)); at < kShort.size()) {
            expected += '\\';
            expected += kLetters[at];
          } else if (byte < 0x20) {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(byte));
            expected += code;
          } else {
            expected += static_cast<char>(byte);
          }
          expected += std::string(size - place - 1, filler) + "\"";
          ASSERT_EQ(in_quotes(text), expected);
        }
      }
    }
  }
}

TEST(WriteString, RefusesWhatIsNotUtf8) {
  for (std::string_view text :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x80\x80", "\xE0\x9F\xBF",
        "\xE2\x82", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF",
        "\xF0\x9F\x98", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF", "\xE2\x82\x41"}) {
    for (std::size_t before = 0; before < 10; ++before) {
      std::string out = "kept";
      EXPECT_FALSE(write_string(out, std::string(before, 'a') + std::string(text)));
      EXPECT_FALSE(write_string(out, std::string(before, 'a') + std::string(text) + "bbbbbbbbbb"));
      EXPECT_EQ(out, "kept");
    }
  }
  for (std::string_view text :
       {"\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80", "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(is_utf8(text));
  }
}

TEST(WriteJsonString, KeepsBytesThatItIsNotAskedToCheck) {
  std::string out;
  write_json_string(out, "a\n\xFF");
  EXPECT_EQ(out, "\"a\\n\xFF\"");
}

// Short texts are looked through in words that overlap: every length, every place.
TEST(WriteString, EscapesAtEveryPlaceOfEveryShortLength) {
  for (std::size_t size = 1; size <= 70; ++size) {
    const std::string plain(size, 'x');
    std::string out;
    write_json_string(out, plain);
    ASSERT_EQ(out, '"' + plain + '"');
    for (std::size_t at = 0; at < size; ++at) {
      const std::string before(at, 'x'), after(size - at - 1, 'x');
      for (const auto& [c, escaped] :
           {std::pair{'"', R"(\")"}, {'\\', R"(\\)"}, {'\x1f', R"(\u001f)"}}) {
        out.clear();
        write_json_string(out, absl::StrCat(before, std::string(1, c), after));
        ASSERT_EQ(out, absl::StrCat("\"", before, escaped, after, "\"")) << size << ' ' << at;
      }
      out.clear();  // next to them: no escape
      write_json_string(out, absl::StrCat(before, "\xA2", after));
      ASSERT_EQ(out, absl::StrCat("\"", before, "\xA2", after, "\"")) << size << ' ' << at;
    }
  }
}

// RFC 8785, section 3.2.3: the keys of its example in their order.
TEST(CompareKeys, TheExampleOfTheRfc) {
  const std::vector<std::string_view> sorted = {
      "\r", "1", "\xC2\x80", "\xC3\xB6", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xEF\xAC\xB3"};
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    for (std::size_t j = 0; j < sorted.size(); ++j) {
      EXPECT_EQ(compare_keys(sorted[i], sorted[j]), i <=> j) << i << ' ' << j;
      EXPECT_EQ(SortKey(sorted[i]) < SortKey(sorted[j]), i < j) << i << ' ' << j;
    }
  }
  EXPECT_TRUE(SortKey("") < SortKey("a"));
  EXPECT_TRUE(SortKey("a") < SortKey(std::string_view("a\0", 2)));
  EXPECT_FALSE(SortKey(std::string_view("a\0", 2)) < SortKey("a"));
  EXPECT_FALSE(SortKey("same text") < SortKey("same text"));
  EXPECT_TRUE(SortKey("a") < SortKey("aa"));
  EXPECT_TRUE(SortKey("aaaaaaaaab") < SortKey("aaaaaaaaac"));
  EXPECT_TRUE(SortKey("\xED\x9F\xBF") < SortKey("\xF0\x90\x80\x80"));  // U+D7FF before surrogates
  EXPECT_TRUE(SortKey("\xF4\x8F\xBF\xBF") < SortKey("\xEE\x80\x80"));  // U+10FFFF before U+E000
  EXPECT_TRUE(SortKey("x\xF0\x9F\x98\x80") < SortKey("x\xF0\x9F\x98\x81"));
}

std::u16string to_utf16(const std::u32string& points) {
  std::u16string units;
  for (char32_t c : points) {
    if (c < 0x10000) {
      units += static_cast<char16_t>(c);
    } else {
      units += static_cast<char16_t>(0xD800 + ((c - 0x10000) >> 10));
      units += static_cast<char16_t>(0xDC00 + ((c - 0x10000) & 0x3FF));
    }
  }
  return units;
}

std::string to_utf8(const std::u32string& points) {
  std::string out;
  for (char32_t c : points) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | (c >> 6));
      out += static_cast<char>(0x80 | (c & 63));
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | (c >> 12));
      out += static_cast<char>(0x80 | ((c >> 6) & 63));
      out += static_cast<char>(0x80 | (c & 63));
    } else {
      out += static_cast<char>(0xF0 | (c >> 18));
      out += static_cast<char>(0x80 | ((c >> 12) & 63));
      out += static_cast<char>(0x80 | ((c >> 6) & 63));
      out += static_cast<char>(0x80 | (c & 63));
    }
  }
  return out;
}

TEST(CompareKeys, AgreesWithUtf16) {
  std::mt19937_64 random(testing::seed());
  static constexpr char32_t kPoints[] = {'a',    'b',    0x7F,    0x80,    0x7FF,   0x800,   0xD7FF,
                                         0xE000, 0xFFFF, 0x10000, 0x10001, 0x1F600, 0x10FFFF};
  const auto draw = [&] {
    std::u32string points;
    for (auto n = random() % 12; n > 0; --n) points += kPoints[random() % std::size(kPoints)];
    return points;
  };
  for (int i = 0; i < 20'000; ++i) {
    const std::u32string a = draw();
    std::u32string b = draw();
    if (i % 2 == 0) b.insert(0, a, 0, a.size() / 2);
    const std::string a8 = to_utf8(a), b8 = to_utf8(b);
    ASSERT_EQ(compare_keys(a8, b8), to_utf16(a) <=> to_utf16(b));
    ASSERT_EQ(SortKey(a8) < SortKey(b8), to_utf16(a) < to_utf16(b));
  }
}

}  // namespace
}  // namespace sluiceway::cache
