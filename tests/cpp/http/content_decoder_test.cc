// The codings, by bodies of the reference encoders: in one piece and byte by byte, cut at every
// place, spoilt, repeated and chained.
#include "http/content_decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/coded_text.h"

namespace sluiceway::http {
namespace {

struct Decoded {
  std::string text;
  bool malformed = false, whole = false;
};

std::unique_ptr<ContentDecoder> decoder_of(std::string_view codings) {
  auto made = ContentDecoder::make(codings);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *std::move(made) : nullptr;
}

// Puts `coded` in by pieces of `piece` bytes and takes out at most `room` at a time.
Decoded decode(std::string_view codings, std::string_view coded, std::size_t piece,
               std::size_t room) {
  const auto decoder = decoder_of(codings);
  Decoded out;
  std::string buffer(room, '\0');
  for (std::size_t at = 0; at < coded.size() && !out.malformed; at += piece) {
    std::string_view input = coded.substr(at, piece);
    while (true) {
      std::size_t n = 0;
      const auto result = decoder->read(&input, buffer.data(), room, &n);
      out.malformed = result == ContentDecoder::Result::kMalformed;
      if (result != ContentDecoder::Result::kOutput) break;
      EXPECT_GT(n, 0u);
      EXPECT_LE(n, room);
      out.text.append(buffer, 0, n);
    }
    if (!out.malformed) {
      EXPECT_TRUE(input.empty());
    }
  }
  out.whole = decoder->whole();
  return out;
}

struct Case {
  const char* codings;
  std::string_view hex;
};

class Coding : public ::testing::TestWithParam<Case> {};

TEST_P(Coding, GivesTheTextHoweverItComes) {
  const std::string coded = from_hex(GetParam().hex), text = squares();
  ASSERT_EQ(text.size(), 1'134u);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, coded.size()}) {
    for (const std::size_t room : {1u, 100u, 65'536u}) {
      const Decoded got = decode(GetParam().codings, coded, piece, room);
      EXPECT_FALSE(got.malformed) << piece << ' ' << room;
      EXPECT_TRUE(got.whole) << piece << ' ' << room;
      EXPECT_EQ(got.text, text) << piece << ' ' << room;
    }
  }
}

TEST_P(Coding, ACutBodyIsNeverWhole) {
  const std::string coded = from_hex(GetParam().hex), text = squares();
  for (std::size_t cut = 1; cut < coded.size(); ++cut) {
    const Decoded got =
        decode(GetParam().codings, std::string_view(coded).substr(0, cut), cut, 512);
    EXPECT_FALSE(got.malformed) << cut;
    EXPECT_FALSE(got.whole) << cut;
    EXPECT_EQ(got.text, text.substr(0, got.text.size())) << cut;
  }
  EXPECT_TRUE(decoder_of(GetParam().codings)->whole());  // a head without a body
}

TEST_P(Coding, SpoiltBytesNeverPassForTheText) {
  const std::string coded = from_hex(GetParam().hex), text = squares();
  int passed = 0;
  for (std::size_t at = 0; at < coded.size(); ++at) {
    std::string spoilt = coded;
    spoilt[at] = static_cast<char>(spoilt[at] ^ 0x55);
    const Decoded got = decode(GetParam().codings, spoilt, spoilt.size(), 4'096);
    if (!got.malformed && got.whole && got.text != text) ++passed;
  }
  // Brotli and bare deflate have no checksum; theirs is TLS's and TCP's business.
  const std::string_view codings = GetParam().codings;
  const bool sealed = codings != "br" && GetParam().hex != kBareDeflateHex;
  EXPECT_TRUE(!sealed || passed == 0) << passed;
}

INSTANTIATE_TEST_SUITE_P(All, Coding,
                         ::testing::Values(Case{"gzip", kGzipHex}, Case{" X-GZip ", kGzipHex},
                                           Case{"deflate", kZlibHex},
                                           Case{"deflate", kBareDeflateHex}, Case{"br", kBrotliHex},
                                           Case{"zstd", kZstandardHex},
                                           Case{"gzip, br", kBrotliOfGzipHex},
                                           Case{"identity,gzip,,identity", kGzipHex}));

TEST(ContentDecoder, MembersAndFramesFollowEachOther) {
  for (const auto& [codings, hex] : {Case{"gzip", kGzipHex}, Case{"zstd", kZstandardHex}}) {
    const std::string coded = from_hex(hex);
    for (const std::size_t piece : {std::size_t{1}, coded.size(), 2 * coded.size()}) {
      const Decoded got = decode(codings, coded + coded, piece, 300);
      EXPECT_FALSE(got.malformed);
      EXPECT_TRUE(got.whole);
      EXPECT_EQ(got.text, squares() + squares());
    }
    const Decoded cut = decode(codings, coded + coded.substr(0, 30), 1, 300);
    EXPECT_FALSE(cut.malformed);
    EXPECT_FALSE(cut.whole);
  }
}

TEST(ContentDecoder, PaddingAfterTheEndIsPassedOver) {
  for (const auto& [codings, hex] :
       {Case{"gzip", kGzipHex}, Case{"deflate", kZlibHex}, Case{"br", kBrotliHex}}) {
    const Decoded got = decode(codings, from_hex(hex) + std::string(100'000, '\0'), 4'096, 4'096);
    EXPECT_FALSE(got.malformed) << codings;
    EXPECT_TRUE(got.whole) << codings;
    EXPECT_EQ(got.text, squares()) << codings;
  }
}

TEST(ContentDecoder, WhatIsNotTheCodingIsMalformed) {
  for (const char* codings : {"gzip", "deflate", "br", "zstd"}) {
    const Decoded got = decode(codings, std::string(64, '\xff'), 64, 512);
    EXPECT_TRUE(got.malformed) << codings;
  }
}

// RFC 8878, by hand: magic, no size and no checksum, a window of 2^(10 + exponent), one last raw
// block of one byte.
TEST(ContentDecoder, ALargerWindowThanTheRfcsIsRefused) {
  const Decoded most = decode("zstd", from_hex("28b52ffd006809000061"), 10, 10);  // 2^23
  EXPECT_EQ(most.text, "a");
  EXPECT_TRUE(most.whole);
  EXPECT_TRUE(decode("zstd", from_hex("28b52ffd007009000061"), 10, 10).malformed);  // 2^24
}

// 27b52ffd begins a frame of Zstandard 0.7, from before the standard; 50 to 5f 2a4d18 one to skip.
TEST(ContentDecoder, OnlyTheStandardsFramesAreZstd) {
  EXPECT_TRUE(decode("zstd", from_hex("27b52ffd00680900006100"), 11, 10).malformed);
  const Decoded after = decode("zstd",
                               from_hex("5f2a4d1803000000787878"
                                        "28b52ffd006809000061"),
                               1, 9);
  EXPECT_EQ(after.text, "a");
  EXPECT_TRUE(after.whole);
}

TEST(ContentDecoder, UnknownCodingsAndLongChainsAreRefused) {
  EXPECT_EQ(decoder_of("identity"), nullptr);
  EXPECT_EQ(decoder_of(""), nullptr);
  EXPECT_NE(decoder_of("gzip,gzip,gzip,gzip,gzip"), nullptr);
  EXPECT_FALSE(ContentDecoder::make("gzip,gzip,gzip,gzip,gzip,gzip").ok());
  const auto unknown = ContentDecoder::make("gzip, Compress");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(unknown.status().message().find("'compress' is not known"), absl::string_view::npos);
}

}  // namespace
}  // namespace sluiceway::http
