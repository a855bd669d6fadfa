// The choice of a proxy: exceptions by name, address, network and port; the environment.
#include "http/proxy.h"

#include <gtest/gtest.h>

#include <map>

#include "http/transport_test_util.h"

namespace sluiceway::http {
namespace {

std::map<std::string, std::string>& variables() {
  static auto* all = new std::map<std::string, std::string>;
  return *all;
}

const char* variable(const char* name) {
  const auto found = variables().find(name);
  return found == variables().end() ? nullptr : found->second.c_str();
}

TEST(Proxy, ExceptionsByName) {
  EXPECT_TRUE(is_excepted("api.example.com", 443, "example.com"));
  EXPECT_TRUE(is_excepted("api.example.com", 443, ".example.com"));
  EXPECT_TRUE(is_excepted("example.com", 443, ".EXAMPLE.com"));
  EXPECT_FALSE(is_excepted("badexample.com", 443, "example.com"));
  EXPECT_FALSE(is_excepted("example.com", 443, "api.example.com"));
  EXPECT_FALSE(is_excepted("example.com.evil", 443, "example.com"));
  EXPECT_TRUE(is_excepted("b.test", 443, "a.test, b.test c.test"));
  EXPECT_TRUE(is_excepted("anything", 1, "*"));
  EXPECT_FALSE(is_excepted("anything", 1, ""));
  EXPECT_FALSE(is_excepted("anything", 1, " ,, ."));
}

// The rows of libcurl's own tests/unit/unit1614.c (read 2026-11-23), but those where a name excepts
// only itself: since 7.87 libcurl, too, excepts all below it.
TEST(Proxy, ExceptionsAsLibcurlMakesThem) {
  const struct {
    const char *host, *list;
    bool excepted;
  } kRows[] = {
      {"www.example.com", "localhost,.example.com,.example.de", true},
      {"www.example.com.", "localhost,.example.com,.example.de", true},
      {"example.com", "localhost,.example.com,.example.de", true},
      {"example.com.", "localhost,.example.com,.example.de", true},
      {"www.example.com", "localhost,.example.com.,.example.de", true},
      {"www.example.com", "localhost,www.example.com.,.example.de", true},
      {"example.com.", "localhost,example.com,.example.de", true},
      {"127.0.0.1", "127.0.0.1/28,localhost,", true},
      {"127.0.0.1", "localhost,127.0.0.1.127.0.0.1", false},
      {"foobar", "barfoo", false},
      {"192.168.0.1", "192.168.0.0/16", true},
      {"192.168.0.1", "192.168.0.0/32", false},
      {"192.168.0.1", "192.168.0.0", false},
      {"192.168.1.1", "foo, bar, 192.168.0.0/24", false},
      {"192.168.1.1", "foo, bar, 192.168.0.0/16", true},
      {"[::1]", "foo, bar, 192.168.0.0/16", false},
      {"[::1]", "foo, bar, ::1/64", true},
      {"BAr", "foo,,,,,              bar, ::1/64", true},
      {"www.example.com", "www2.example.com, .example.net", false},
      {"nonexample.com", ".example.com, .example.net", false},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(is_excepted(row.host, 443, row.list), row.excepted) << row.host << " in " << row.list;
  }
}

TEST(Proxy, ADotAtTheEndIsTheRootsAndChangesNothing) {
  for (const char* host : {"api.example.com", "api.example.com.", "API.Example.COM."}) {
    for (const char* list : {"example.com", "example.com.", ".example.com.", "api.example.com.:443",
                             "x, Example.com. ,y"}) {
      EXPECT_TRUE(is_excepted(host, 443, list)) << host << " in " << list;
    }
    EXPECT_FALSE(is_excepted(host, 443, "api.example.com.:8443"));
    for (const char* list : {".", "..", "ample.com.", "example.com..", "com..example"}) {
      EXPECT_FALSE(is_excepted(host, 443, list)) << host << " in " << list;
    }
  }
  EXPECT_TRUE(is_excepted("127.0.0.1.", 80, "127.0.0.1"));
  EXPECT_FALSE(is_excepted(".", 80, "example.com"));
  const auto url = url_of("https://api.example.com./v1");
  EXPECT_EQ(*choose_proxy(*url, "http://p:1", "example.com", variable), "");
  EXPECT_EQ(*choose_proxy(*url, "http://p:1", "example.org", variable), "http://p:1");
}

TEST(Proxy, ExceptionsByPort) {
  EXPECT_TRUE(is_excepted("example.com", 8443, "example.com:8443"));
  EXPECT_FALSE(is_excepted("example.com", 443, "example.com:8443"));
  EXPECT_TRUE(is_excepted("[::1]", 80, "[::1]:80"));
  EXPECT_FALSE(is_excepted("[::1]", 81, "[::1]:80"));
}

TEST(Proxy, ExceptionsByNetwork) {
  EXPECT_TRUE(is_excepted("10.1.2.3", 80, "10.0.0.0/8"));
  EXPECT_FALSE(is_excepted("11.1.2.3", 80, "10.0.0.0/8"));
  EXPECT_TRUE(is_excepted("192.168.1.129", 80, "192.168.1.128/25"));
  EXPECT_FALSE(is_excepted("192.168.1.127", 80, "192.168.1.128/25"));
  EXPECT_TRUE(is_excepted("127.0.0.1", 80, "127.0.0.1"));
  EXPECT_FALSE(is_excepted("127.0.0.1", 80, "0.0.1"));  // no suffix of an address
  EXPECT_TRUE(is_excepted("[fd00::17]", 80, "fd00::/8"));
  EXPECT_TRUE(is_excepted("[::1]", 80, "::1"));
  EXPECT_FALSE(is_excepted("10.1.2.3", 80, "10.0.0.0/33"));
  EXPECT_FALSE(is_excepted("10.1.2.3", 80, "10.0.0.0/x"));
}

TEST(Proxy, ConfiguredOrFromTheEnvironment) {
  const auto secure = url_of("https://api.example.com/v1"), plain = url_of("http://example.com/");
  variables() = {{"HTTPS_PROXY", "http://upper:1"}, {"HTTP_PROXY", "http://cgi:1"}};
  const auto choose = [](const auto& url, std::string_view proxy, std::string_view none = "") {
    auto chosen = choose_proxy(*url, proxy, none, variable);
    return chosen.ok() ? *chosen : std::string(to_std(chosen.status().message()));
  };
  EXPECT_EQ(choose(secure, ""), "");  // the environment is not read unasked
  EXPECT_EQ(choose(secure, "socks5h://p:1080"), "socks5h://p:1080");
  EXPECT_EQ(choose(secure, "socks5h://p:1080", "example.com"), "");
  EXPECT_EQ(choose(secure, "environment"), "http://upper:1");
  EXPECT_EQ(choose(plain, "environment"), "");  // HTTP_PROXY may be a request's header
  variables()["https_proxy"] = "lower:2";
  variables()["all_proxy"] = "socks5://all:3";
  EXPECT_EQ(choose(secure, "environment"), "http://lower:2");
  EXPECT_EQ(choose(plain, "environment"), "socks5://all:3");
  variables()["NO_PROXY"] = "api.example.com";
  EXPECT_EQ(choose(secure, "environment"), "");
  EXPECT_EQ(choose(plain, "environment"), "socks5://all:3");
}

TEST(Proxy, RefusedWithoutItsPassword) {
  const auto url = url_of("https://api.example.com/v1");
  for (const char* proxy : {"ftp://me:secret@p", "p:8080", "http://me:secret@p:99999999"}) {
    const auto chosen = choose_proxy(*url, proxy, "", variable);
    ASSERT_FALSE(chosen.ok()) << proxy;
    EXPECT_EQ(to_std(chosen.status().message()).find("secret"), std::string::npos);
  }
}

}  // namespace
}  // namespace sluiceway::http
