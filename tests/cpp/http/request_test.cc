// URLs, headers and trust stores: what is taken, what is refused.
#include "http/request.h"

#include <gtest/gtest.h>

#include "base/text.h"
#include "http/tls_config.h"

namespace sluiceway::http {
namespace {

TEST(Url, PartsAndOrigin) {
  const auto url = Url::parse("https://api.example.com/v1/chat/completions?x=1#part");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ((*url)->text(), "https://api.example.com/v1/chat/completions?x=1");
  EXPECT_EQ((*url)->origin(), "https://api.example.com:443");
  EXPECT_EQ((*url)->host(), "api.example.com");
  EXPECT_TRUE((*url)->tls());
  EXPECT_EQ((*Url::parse("http://127.0.0.1:8080/"))->origin(), "http://127.0.0.1:8080");
  EXPECT_EQ((*Url::parse("http://[::1]:81/a"))->origin(), "http://[::1]:81");
  EXPECT_FALSE((*Url::parse("HTTP://Example.com"))->tls());
}

TEST(Url, Refused) {
  for (const char* text :
       {"", "api.example.com/v1", "/v1", "ftp://example.com/", "file:///etc/passwd",
        "https://user:secret@example.com/", "https://user@example.com/", "https://",
        "https://example.com/a b", "https://example.com/\r\nX: y", "https://example.com:99999/"}) {
    const auto url = Url::parse(text);
    EXPECT_EQ(url.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(Url, ARefusalShowsNoSecret) {
  const auto url = Url::parse("https://user:hunter2@example.com/");
  EXPECT_EQ(to_std(url.status().message()).find("hunter2"), std::string_view::npos);
}

TEST(HeaderSet, KeepsOrderAndRepeats) {
  const auto set =
      HeaderSet::make({{"X-A", "1"}, {"Authorization", "Bearer sk-fake"}, {"X-A", ""}});
  ASSERT_TRUE(set.ok()) << set.status();
  ASSERT_EQ((*set)->entries().size(), 3u);
  EXPECT_EQ((*set)->entries()[2].name, "X-A");
}

TEST(HeaderSet, Refused) {
  using std::string_literals::operator""s;
  for (const Header& header :
       {Header{"", "x"}, Header{"X A", "x"}, Header{"X:", "x"}, Header{"X\xc3\xa4", "x"},
        Header{"X", "a\r\nY: b"}, Header{"X", "a\nb"}, Header{"X", "a\0b"s}, Header{"X\0"s, "a"},
        Header{"content-length", "3"}, Header{"Transfer-Encoding", "chunked"},
        Header{"Connection", "close"}, Header{"Expect", "100-continue"}}) {
    EXPECT_FALSE(HeaderSet::make({{"X-Ok", "y"}, header}).ok()) << header.name;
  }
  const auto set = HeaderSet::make({{"Authorization", "sk-fake-\r\n1"}});
  EXPECT_EQ(to_std(set.status().message()).find("sk-fake"), std::string_view::npos);
}

TEST(TrustStore, OrderOfTheSearch) {
  const auto only_fedora = [](const std::string& path) {
    return path == "/etc/pki/tls/certs/ca-bundle.crt" || path == "/own.pem" || path == "/dir";
  };
  const auto nothing = [](const char*) -> const char* { return nullptr; };
  EXPECT_EQ(find_trust_store(nothing, only_fedora).file, "/etc/pki/tls/certs/ca-bundle.crt");
  const auto bundle = [](const char* name) -> const char* {
    return std::string_view(name) == "CURL_CA_BUNDLE" ? "/own.pem" : nullptr;
  };
  EXPECT_EQ(find_trust_store(bundle, only_fedora).file, "/own.pem");
  const auto dir = [](const char* name) -> const char* {
    return std::string_view(name) == "SSL_CERT_DIR" ? "/dir" : nullptr;
  };
  EXPECT_EQ(find_trust_store(dir, only_fedora).dir, "/dir");
  EXPECT_EQ(find_trust_store(dir, only_fedora).file, "");
  const auto missing = [](const char* name) -> const char* {
    return std::string_view(name) == "SSL_CERT_FILE" ? "/not/there.pem" : nullptr;
  };
  EXPECT_EQ(find_trust_store(missing, only_fedora).file, "/etc/pki/tls/certs/ca-bundle.crt");
  const auto no_file = [](const std::string&) { return false; };
  EXPECT_EQ(find_trust_store(nothing, no_file).file, "");
}

}  // namespace
}  // namespace sluiceway::http
