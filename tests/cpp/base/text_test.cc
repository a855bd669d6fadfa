// Text helpers.
#include "base/text.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace sluiceway {
namespace {

TEST(Text, ViewsConvertBothWays) {
  const std::string text("a\0b", 3);
  EXPECT_EQ(to_std(to_absl(text)), std::string_view(text));
  EXPECT_EQ(to_absl(std::string_view()).size(), 0U);
}

TEST(Text, MapsAreReadWithAView) {
  text_map<int> map;
  map["model"] = 4;
  EXPECT_EQ(map.find(std::string_view("model"))->second, 4);
  EXPECT_TRUE(map.find(std::string_view("mode")) == map.end());
}

TEST(Text, Hex) {
  EXPECT_EQ(to_hex("\x00\x7f\xff", 3), "007fff");
  EXPECT_EQ(to_hex("", 0), "");
}

TEST(Text, EqualsIgnoreCase) {
  EXPECT_TRUE(equals_ignore_case("Retry-After", "retry-AFTER"));
  EXPECT_FALSE(equals_ignore_case("Retry-After", "Retry-Afte"));
  EXPECT_FALSE(equals_ignore_case("@[`{", "`{@[")) << "the neighbours of A, Z, a and z";
  EXPECT_FALSE(equals_ignore_case("\xc3\x84", "\xc3\xa4")) << "ASCII only";
  EXPECT_TRUE(equals_ignore_case("", ""));
}

TEST(Text, Trim) {
  EXPECT_EQ(trim(" \t a b\t "), "a b");
  EXPECT_EQ(trim(" \t "), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("\n a"), "\n a") << "a line break is not white space in a header";
}

}  // namespace
}  // namespace sluiceway
