// What an error says, also where the server is not quite the dialect's: the words are told, and
// change nothing about whose error it is.
#include <gtest/gtest.h>

#include "engine/decode.h"

namespace sluiceway::engine {
namespace {

DialectSpec nested_errors() {
  DialectSpec spec;
  spec.name = "nested";
  spec.error_type = "/error/type";
  spec.error_message = "/error/message";
  return spec;
}

struct Said {
  const char* body;
  const char* words;
};

class Words : public ::testing::TestWithParam<Said> {};
INSTANTIATE_TEST_SUITE_P(
    Bodies, Words,
    ::testing::Values(
        Said{R"({"error": {"type": "t", "message": "its own"}, "message": "other"})", "its own"},
        Said{R"({"error": "model 'llama9' not found"})", "model 'llama9' not found"},
        Said{R"({"error": "invalid_grant", "error_description": "key expired"})", "key expired"},
        Said{R"({"message": "no such route"})", "no such route"},
        Said{R"({"title": "Forbidden", "detail": "over quota", "status": 403})", "over quota"},
        Said{R"({"title": "Forbidden", "status": 403})", "Forbidden"},
        Said{R"({"detail": [{"loc": ["body"], "msg": "field required"}]})", "field required"},
        Said{R"({"errors": [{"message": "too long"}, {"message": "b"}]})", "too long"},
        Said{R"("not here")", "not here"},
        Said{"  upstream connect error\n", "upstream connect error"},
        Said{R"({"error": {"message": ["a"]}})", ""}, Said{R"({"error": 7})", ""}, Said{"", ""},
        Said{"<html><title>502 Bad Gateway</title></html>", ""}, Said{"\xff\xfe", ""},
        Said{"a\x01z", ""}));

TEST_P(Words, AreFoundWithADialectAndWithoutOne) {
  const auto dialect = Dialect::compile(nested_errors());
  ASSERT_TRUE(dialect.ok()) << dialect.status();
  Decoder decoder;
  for (const Dialect* known : {dialect->get(), static_cast<const Dialect*>(nullptr)}) {
    ErrorInfo error;
    decoder.classify(known, 400, GetParam().body, error);
    EXPECT_EQ(error.message, GetParam().words) << (known != nullptr);
  }
}

// A 503 with the provider's own error was not executed; with the same words of somebody in between
// nobody knows.
TEST(Words, DoNotMakeTheErrorTheProvidersOwn) {
  const auto dialect = Dialect::compile(nested_errors());
  ASSERT_TRUE(dialect.ok());
  Decoder decoder;
  const auto of = [&](int status, const char* body) {
    ErrorInfo error;
    return decoder.classify(dialect->get(), status, body, error);
  };
  EXPECT_NE(of(503, R"({"error": {"message": "busy"}})"), of(503, "{}"));
  for (const int status : {400, 404, 429, 500, 502, 503, 529}) {
    EXPECT_EQ(of(status, R"({"error": "busy"})"), of(status, "{}")) << status;
    EXPECT_EQ(of(status, "busy"), of(status, "{}")) << status;
  }
}

TEST(Words, AreQuotedInPart) {
  Decoder decoder;
  ErrorInfo error;
  decoder.classify(nullptr, 400, std::string(299, 'x') + "\xc3\xa9" + "tail", error);
  EXPECT_EQ(error.message, std::string(299, 'x') + "...");
  decoder.classify(nullptr, 400, std::string(70'000, 'x'), error = {});
  EXPECT_EQ(error.message, "");
}

}  // namespace
}  // namespace sluiceway::engine
