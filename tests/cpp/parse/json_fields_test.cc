// JsonReader and JsonPointer: which texts are JSON, and what pointers read from them.
#include "parse/json_fields.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>

#include "support/vectors.h"

namespace sluiceway::parse {
namespace {

JsonPointer pointer(std::string_view text) {
  auto compiled = JsonPointer::compile(text);
  EXPECT_TRUE(compiled.ok()) << text << ": " << compiled.status();
  return *compiled;
}

std::string text_at(std::string_view json, std::string_view where) {
  JsonReader reader;
  if (!reader.parse(json)) return "<not JSON>";
  return std::string(reader.text(pointer(where)).value_or("<none>"));
}

std::optional<std::int64_t> integer_at(std::string_view json, std::string_view where) {
  JsonReader reader;
  EXPECT_TRUE(reader.parse(json)) << json << ": " << reader.error();
  return reader.integer(pointer(where));
}

std::optional<std::int64_t> nano_at(std::string_view json, std::string_view where) {
  JsonReader reader;
  EXPECT_TRUE(reader.parse(json)) << json << ": " << reader.error();
  return reader.nano_decimal(pointer(where));
}

TEST(JsonVectors, MustAcceptAndMustReject) {
  SLUICEWAY_VECTORS(folder, "jsontestsuite/test_parsing");
  JsonReader reader;
  int accepted = 0, rejected = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const std::string body = testing::read_file(entry.path());
    if (name[0] == 'y') {
      EXPECT_TRUE(reader.parse(body)) << name << ": " << reader.error();
      ++accepted;
    } else if (name[0] == 'n') {
      EXPECT_FALSE(reader.parse(body)) << name;
      EXPECT_FALSE(reader.error().empty()) << name;
      ++rejected;
    } else {
      reader.parse(body);  // either is right; it must not harm
    }
  }
  EXPECT_EQ(accepted, 47);
  EXPECT_EQ(rejected, 88);
}

TEST(JsonReader, RefusesWhatIsNotOneCompleteValue) {
  JsonReader reader;
  for (std::string_view text : {"",
                                " ",
                                "{",
                                "{\"a\":1",
                                "{\"a\":1}}",
                                "{\"a\":1} {}",
                                "[1,]",
                                "[1 2]",
                                "{\"a\" 1}",
                                "nul",
                                "01",
                                "+1",
                                "1.",
                                ".5",
                                "1e",
                                "NaN",
                                "\"a",
                                "\"\t\"",
                                "\"\\x\"",
                                "\"\\u12\"",
                                "\"\xC0\xAF\"",
                                "\"\xED\xA0\x80\"",
                                "\"\xF4\x90\x80\x80\"",
                                "\"\\ud800\"",
                                "\"\\udc00\"",
                                "<html>",
                                "data: {}",
                                "{\"a\":1}\xFF",
                                "[-]",
                                "[1e999,01]",
                                "{\"a\":1e999"}) {
    EXPECT_FALSE(reader.parse(text)) << text;
    EXPECT_FALSE(reader.present(pointer("")));
  }
  EXPECT_TRUE(reader.parse("{\"a\":1}"));
  EXPECT_FALSE(reader.parse(std::string_view("{\"a\":1}\0", 8)));
}

// Every proper beginning of an object is incomplete: a cut body is never taken for an answer.
TEST(JsonReader, RefusesEveryCut) {
  const std::string body =
      R"({"id":"x","choices":[{"message":{"content":"h\u00e9 \"q\" 10"},"n":-1.5e3}],)"
      R"("u":{"t":12}})";
  JsonReader reader;
  for (std::size_t size = 0; size < body.size(); ++size) {
    EXPECT_FALSE(reader.parse(std::string_view(body).substr(0, size))) << size;
  }
  EXPECT_TRUE(reader.parse(body));
}

TEST(JsonReader, AcceptsWhiteSpaceAndByteOrderMarkAround) {
  EXPECT_EQ(integer_at("\n\n\n \t\r\n{\"a\":1}\n", "/a"), 1);  // DeepSeek's keep-alive lines
  EXPECT_EQ(integer_at("\xEF\xBB\xBF{\"a\":1}", "/a"), 1);
}

TEST(JsonReader, NumbersOfAnySizeAreJson) {
  const std::string_view json =
      R"({"big":123456789012345678901234567890,"huge":-1e400,"tiny":1e-400,)"
      R"("s":"9e999 99999999999999999999",)"
      R"("u":18446744073709551615,"n":7})";
  JsonReader reader;
  ASSERT_TRUE(reader.parse(json)) << reader.error();
  EXPECT_EQ(reader.integer(pointer("/n")), 7);
  EXPECT_EQ(reader.integer(pointer("/big")), std::nullopt);
  EXPECT_EQ(reader.integer(pointer("/huge")), std::nullopt);
  EXPECT_EQ(reader.integer(pointer("/u")), std::nullopt);
  EXPECT_EQ(reader.type_name(pointer("/big")), "number");
  EXPECT_EQ(reader.type_name(pointer("/huge")), "number");
  EXPECT_EQ(reader.text(pointer("/s")), "9e999 99999999999999999999");  // not a number: untouched
  EXPECT_EQ(reader.nano_decimal(pointer("/tiny")), 0);
  EXPECT_EQ(reader.nano_decimal(pointer("/big")), std::nullopt);
}

TEST(JsonReader, BoundsSizeAndDepth) {
  JsonReader small(10);
  EXPECT_TRUE(small.parse("[12345678]"));
  EXPECT_FALSE(small.parse("[123456789]"));
  JsonReader reader;
  EXPECT_TRUE(reader.parse(std::string(1000, '[') + std::string(1000, ']')));
  EXPECT_FALSE(reader.parse(std::string(1100, '[') + std::string(1100, ']')));
}

TEST(JsonReader, ParsePaddedReadsTheCallersBuffer) {
  std::string buffer = "{\"a\":0.1,\"t\":\"x\"}";
  const std::size_t size = buffer.size();
  buffer.resize(size + JsonReader::kPadding, '!');  // what the padding holds must not matter
  JsonReader reader;
  ASSERT_TRUE(reader.parse_padded({buffer.data(), size})) << reader.error();
  EXPECT_EQ(reader.text(pointer("/t")), "x");
  EXPECT_EQ(reader.nano_decimal(pointer("/a")), 100'000'000);
}

TEST(JsonReader, KeepsWorkingAfterLargeBodies) {
  JsonReader reader;
  const std::string large = "{\"a\":\"" + std::string(std::size_t{9} << 20, 'x') + "\",\"b\":2}";
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(reader.parse(large)) << reader.error();
    EXPECT_EQ(reader.integer(pointer("/b")), 2);
    ASSERT_TRUE(reader.parse("{\"b\":3}"));
    EXPECT_EQ(reader.integer(pointer("/b")), 3);
  }
}

// The examples of RFC 6901, section 5.
TEST(JsonPointer, ExamplesOfTheRfc) {
  const std::string_view json =
      R"({"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6,)"
      R"(" ":7,"m~n":8})";
  EXPECT_EQ(text_at(json, "/foo/0"), "bar");
  EXPECT_EQ(integer_at(json, "/"), 0);
  EXPECT_EQ(integer_at(json, "/a~1b"), 1);
  EXPECT_EQ(integer_at(json, "/c%d"), 2);
  EXPECT_EQ(integer_at(json, "/e^f"), 3);
  EXPECT_EQ(integer_at(json, "/g|h"), 4);
  EXPECT_EQ(integer_at(json, "/i\\j"), 5);
  EXPECT_EQ(integer_at(json, "/k\"l"), 6);
  EXPECT_EQ(integer_at(json, "/ "), 7);
  EXPECT_EQ(integer_at(json, "/m~0n"), 8);
  JsonReader reader;
  ASSERT_TRUE(reader.parse(json));
  EXPECT_EQ(reader.type_name(pointer("")), "object");
  EXPECT_EQ(reader.type_name(pointer("/foo")), "array");
}

TEST(JsonPointer, RefusesMalformed) {
  for (std::string_view text : {"a", "foo/bar", "/a~", "/a~2", "/[type]", "/[=x]", "/[]"}) {
    EXPECT_FALSE(JsonPointer::compile(text).ok()) << text;
  }
  EXPECT_EQ(JsonPointer::compile("/a/b~1c")->segments()[1].key, "b/c");
  EXPECT_EQ(JsonPointer::compile("/a/b~1c")->text(), "/a/b~1c");
}

TEST(JsonPointer, IndexesAreExact) {
  const std::string_view json = R"({"a":[10,11,12],"o":{"0":5,"-1":6,"*":7}})";
  EXPECT_EQ(integer_at(json, "/a/2"), 12);
  EXPECT_EQ(integer_at(json, "/a/3"), std::nullopt);
  EXPECT_EQ(integer_at(json, "/a/01"), std::nullopt);  // RFC 6901: no leading zeros
  EXPECT_EQ(integer_at(json, "/a/-"), std::nullopt);   // the element after the last
  EXPECT_EQ(integer_at(json, "/a/x"), std::nullopt);
  EXPECT_EQ(integer_at(json, "/a/-1"), 12);
  EXPECT_EQ(integer_at(json, "/a/*"), 33);
  EXPECT_EQ(integer_at(json, "/o/0"), 5);
  EXPECT_EQ(integer_at(json, "/o/-1"), 6);
  EXPECT_EQ(integer_at(json, "/o/*"), 7);
  EXPECT_EQ(integer_at("[]", "/-1"), std::nullopt);
  EXPECT_EQ(integer_at("[]", "/*"), std::nullopt);
}

TEST(JsonPointer, FiltersJoinTheTextBlocksOfAnAnswer) {
  const std::string_view anthropic =
      R"({"content":[{"type":"thinking","thinking":"hm","text":"no"},{"type":"text","text":"Hel"},)"
      R"({"type":"tool_use","input":{"text":"no"}},{"text":"lo","type":"text"}],)"
      R"("stop_reason":null})";
  EXPECT_EQ(text_at(anthropic, "/content/[type=text]/text"), "Hello");
  EXPECT_EQ(text_at(anthropic, "/content/[type=image]/text"), "<none>");
  const std::string_view responses =
      R"({"output":[{"type":"reasoning","content":[]},{"type":"message","content":[)"
      R"({"type":"output_text","text":"a"},{"type":"refusal","text":"b"}]},)"
      R"({"type":"message","content":[{"type":"output_text","text":"c"}]}]})";
  EXPECT_EQ(text_at(responses, "/output/[type=message]/content/[type=output_text]/text"), "ac");
  const std::string_view delta = R"({"delta":{"type":"text_delta","text":"x"}})";
  EXPECT_EQ(text_at(delta, "/delta/[type=text_delta]/text"), "x");
  EXPECT_EQ(text_at(delta, "/delta/[type=thinking_delta]/text"), "<none>");
}

TEST(JsonPointer, FiltersCompareIntegersAndBooleansToo) {
  const std::string_view json =
      R"([{"k":7,"v":1},{"k":true,"v":2},{"k":"7","v":4},{"k":null,"v":8},{"k":7.0,)"
      R"("v":16},{"k":-7,"v":32},5])";
  EXPECT_EQ(integer_at(json, "/[k=7]/v"), 5);
  EXPECT_EQ(integer_at(json, "/[k=true]/v"), 2);
  EXPECT_EQ(integer_at(json, "/[k=null]/v"), std::nullopt);
  EXPECT_EQ(integer_at(json, "/[k=-7]/v"), 32);
}

TEST(JsonReader, JoinedTextsLiveUntilTheNextParse) {
  JsonReader reader;
  ASSERT_TRUE(reader.parse(R"({"a":["x","y"],"b":["1",2,null,"3"],"c":["only",0]})"));
  const auto a = reader.text(pointer("/a/*"));
  const auto b = reader.text(pointer("/b/*"));
  const auto c = reader.text(pointer("/c/*"));
  for (int i = 0; i < 100; ++i) reader.text(pointer("/a/*"));
  EXPECT_EQ(a, "xy");
  EXPECT_EQ(b, "13");
  EXPECT_EQ(c, "only");
}

TEST(JsonReader, TypesAreKeptApart) {
  JsonReader reader;
  ASSERT_TRUE(reader.parse(
      R"({"s":"12","n":null,"t":true,"f":false,"i":12,"w":12.0,"h":12.5,"o":{},"a":[],"e":""})"));
  EXPECT_EQ(reader.integer(pointer("/s")), std::nullopt);
  EXPECT_EQ(reader.integer(pointer("/n")), std::nullopt);
  EXPECT_EQ(reader.integer(pointer("/i")), 12);
  EXPECT_EQ(reader.integer(pointer("/w")), 12);
  EXPECT_EQ(reader.integer(pointer("/h")), std::nullopt);
  EXPECT_EQ(reader.integer(pointer("/t")), std::nullopt);
  EXPECT_EQ(reader.text(pointer("/e")), "");
  EXPECT_EQ(reader.text(pointer("/n")), std::nullopt);
  EXPECT_EQ(reader.text(pointer("/i")), std::nullopt);
  EXPECT_EQ(reader.boolean(pointer("/t")), true);
  EXPECT_EQ(reader.boolean(pointer("/f")), false);
  EXPECT_EQ(reader.boolean(pointer("/i")), std::nullopt);
  EXPECT_TRUE(reader.present(pointer("/n")));
  EXPECT_TRUE(reader.is_null(pointer("/n")));
  EXPECT_FALSE(reader.is_null(pointer("/x")));
  EXPECT_FALSE(reader.present(pointer("/x")));
  EXPECT_FALSE(reader.present(pointer("/s/x")));
  EXPECT_EQ(reader.type_name(pointer("/x")), "absent");
  EXPECT_EQ(reader.type_name(pointer("/n")), "null");
  EXPECT_EQ(reader.type_name(pointer("/t")), "boolean");
  EXPECT_EQ(reader.type_name(pointer("/h")), "number");
  EXPECT_EQ(reader.type_name(pointer("/s")), "string");
  EXPECT_EQ(reader.count(pointer("/x")), 0u);
  EXPECT_EQ(reader.count(pointer("/a")), 1u);
}

TEST(JsonReader, IntegersAtTheEdges) {
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(integer_at("9223372036854775807", ""), kMax);
  EXPECT_EQ(integer_at("-9223372036854775808", ""), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(integer_at("9223372036854775808", ""), std::nullopt);
  EXPECT_EQ(integer_at("1e3", ""), 1000);
  EXPECT_EQ(integer_at("-0.0", ""), 0);
  EXPECT_EQ(integer_at("9007199254740991.0", ""), 9007199254740991);
  EXPECT_EQ(integer_at("9007199254740992.0", ""), std::nullopt);
  EXPECT_EQ(integer_at("[9223372036854775807,1]", "/*"), std::nullopt);  // the sum runs over
}

TEST(JsonReader, TheFirstOfTwoEqualKeysIsRead) {
  EXPECT_EQ(integer_at(R"({"a":1,"a":2})", "/a"), 1);
  EXPECT_EQ(nano_at(R"({"\u0061":0.5,"a":2})", "/a"), 500'000'000);
}

TEST(NanoDecimal, ExactFromTheText) {
  EXPECT_EQ(parse_nano_decimal("0"), 0);
  EXPECT_EQ(parse_nano_decimal("-0.000"), 0);
  EXPECT_EQ(parse_nano_decimal("1"), 1'000'000'000);
  EXPECT_EQ(parse_nano_decimal("0.0375"), 37'500'000);
  EXPECT_EQ(parse_nano_decimal("0.000000001"), 1);
  // Other units: ticks of 10^-10 dollars, and thousandths of a second.
  EXPECT_EQ(parse_nano_decimal("10959000", -10), 1'095'900);
  EXPECT_EQ(parse_nano_decimal("15", -10), 2);
  EXPECT_EQ(parse_nano_decimal("25", -10), 2);
  EXPECT_EQ(parse_nano_decimal("92233720368547758070", -10), INT64_MAX);
  EXPECT_EQ(parse_nano_decimal("12.5", -6), 12'500);
  EXPECT_EQ(parse_nano_decimal("-12.345678901"), -12'345'678'901);
  EXPECT_EQ(parse_nano_decimal("1.5e-3"), 1'500'000);
  EXPECT_EQ(parse_nano_decimal("12E+1"), 120'000'000'000);
  EXPECT_EQ(parse_nano_decimal("0.0000000000000000000001e22"), 1'000'000'000);
  EXPECT_EQ(parse_nano_decimal("123.456e0"), 123'456'000'000);
  // A double would give 9007199.254740993 as ...992 or ...994.
  EXPECT_EQ(parse_nano_decimal("9007199.254740993"), 9'007'199'254'740'993);
}

TEST(NanoDecimal, HalfToEven) {
  EXPECT_EQ(parse_nano_decimal("0.0000000005"), 0);
  EXPECT_EQ(parse_nano_decimal("0.0000000015"), 2);
  EXPECT_EQ(parse_nano_decimal("0.0000000025"), 2);
  EXPECT_EQ(parse_nano_decimal("0.00000000250"), 2);
  EXPECT_EQ(parse_nano_decimal("0.00000000250000000000000000000000000000001"), 3);
  EXPECT_EQ(parse_nano_decimal("-0.0000000015"), -2);
  EXPECT_EQ(parse_nano_decimal("0.0000000006"), 1);
  EXPECT_EQ(parse_nano_decimal("0.00000000049999"), 0);
  EXPECT_EQ(parse_nano_decimal("0.00000000005"), 0);
  EXPECT_EQ(parse_nano_decimal("9e-10"), 1);
}

TEST(NanoDecimal, RefusesOverflowAndGarbage) {
  EXPECT_EQ(parse_nano_decimal("9223372036.854775807"), 9'223'372'036'854'775'807);
  EXPECT_EQ(parse_nano_decimal("9223372036.8547758074"), 9'223'372'036'854'775'807);
  EXPECT_EQ(parse_nano_decimal("9223372036.8547758075"), std::nullopt);
  EXPECT_EQ(parse_nano_decimal("9223372036.854775808"), std::nullopt);
  EXPECT_EQ(parse_nano_decimal("99999999999"), std::nullopt);
  EXPECT_EQ(parse_nano_decimal("1e999999999999999999999"), std::nullopt);
  EXPECT_EQ(parse_nano_decimal("1e-999999999999999999999"), 0);
  EXPECT_EQ(parse_nano_decimal("0e999999999999999999999"), 0);
  for (std::string_view text : {"", "-", "+1", "1.", ".5", "01", "1e", "1e+", "0x1", " 1", "1 ",
                                "$1", "1,5", "NaN", "Infinity", "1_0", "--1"}) {
    EXPECT_EQ(parse_nano_decimal(text), std::nullopt) << text;
  }
}

TEST(NanoDecimal, ReadsNumbersAndStringsOfABody) {
  const std::string_view json =
      R"({"pad":"\\\" {[","usage":{"cost":{"a":0.1,"total_cost":0.012345678,"s":"1.25"},)"
      R"( "l" : [ {"v":0.1} , {"v":0.2},{"w":"]"},{"v":3} ]},"n":null})";
  EXPECT_EQ(nano_at(json, "/usage/cost/total_cost"), 12'345'678);
  EXPECT_EQ(nano_at(json, "/usage/cost/s"), 1'250'000'000);
  EXPECT_EQ(nano_at(json, "/usage/l/*/v"), 3'300'000'000);
  EXPECT_EQ(nano_at(json, "/usage/l/-1/v"), 3'000'000'000);
  EXPECT_EQ(nano_at(json, "/usage/l/1/v"), 200'000'000);
  EXPECT_EQ(nano_at(json, "/usage/l/[v=3]/v"), 3'000'000'000);
  EXPECT_EQ(nano_at(json, "/n"), std::nullopt);
  EXPECT_EQ(nano_at(json, "/pad"), std::nullopt);
  EXPECT_EQ(nano_at(json, "/none"), std::nullopt);
  // Keys may be written with escapes, in any of JSON's ways.
  EXPECT_EQ(nano_at(R"({"\ud83d\ude00\u0061\/\n":0.5})",
                    "/\xF0\x9F\x98\x80"
                    "a~1\n"),
            500'000'000);
}

}  // namespace
}  // namespace sluiceway::parse
