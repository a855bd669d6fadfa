// The choice of a proxy: see proxy.h.
#include "http/proxy.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

#include "base/text.h"

namespace sluiceway::http {
namespace {

constexpr std::string_view kSchemes = "http://, https://, socks4a://, socks5:// or socks5h://";

struct Address {
  std::array<unsigned char, 16> bytes{};
  int bits = 0;  // 32 or 128; 0: not an address
};

Address address_of(std::string_view text) {
  Address out;
  const std::string word(text);
  if (::inet_pton(AF_INET, word.c_str(), out.bytes.data()) == 1) {
    out.bits = 32;
  } else if (::inet_pton(AF_INET6, word.c_str(), out.bytes.data()) == 1) {
    out.bits = 128;
  }
  return out;
}

bool in_network(const Address& host, std::string_view network) {
  const auto slash = network.find('/');
  const Address base = address_of(network.substr(0, slash));
  if (base.bits == 0 || base.bits != host.bits) return false;
  int bits = base.bits;
  if (slash != std::string_view::npos) {
    const std::string digits(network.substr(slash + 1));
    char* end = nullptr;
    const long given = std::strtol(digits.c_str(), &end, 10);
    if (digits.empty() || *end != '\0' || given < 0 || given > base.bits) return false;
    bits = static_cast<int>(given);
  }
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (std::memcmp(host.bytes.data(), base.bytes.data(), whole) != 0) return false;
  if (bits % 8 == 0) return true;
  const int shift = 8 - bits % 8;
  return host.bytes[whole] >> shift == base.bytes[whole] >> shift;
}

std::string_view without_brackets(std::string_view host) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    return host.substr(1, host.size() - 2);
  }
  return host;
}

// Without the dot of the root, which changes no name.
std::string_view without_dot(std::string_view name) {
  if (!name.empty() && name.back() == '.') name.remove_suffix(1);
  return name;
}

// Takes ":8443" off the end of a name, an IPv4 address or a bracketed address. False: another port.
bool port_agrees(std::string_view& entry, int port) {
  const auto colon = entry.rfind(':');
  if (colon == std::string_view::npos) return true;
  const bool bare_v6 = entry.find(':') != colon && entry.front() != '[';
  if (bare_v6 || entry.back() == ']') return true;
  const std::string digits(entry.substr(colon + 1));
  entry = entry.substr(0, colon);
  return digits == std::to_string(port);
}

bool fits(std::string_view host, int port, std::string_view entry) {
  if (entry == "*") return true;
  if (!port_agrees(entry, port)) return false;
  entry = without_dot(without_brackets(entry));
  if (const Address address = address_of(host); address.bits != 0) {
    return in_network(address, entry);
  }
  if (!entry.empty() && entry.front() == '.') entry.remove_prefix(1);
  if (entry.empty() || entry.size() > host.size()) return false;
  const std::string_view end = host.substr(host.size() - entry.size());
  return equals_ignore_case(end, entry) &&
         (end.size() == host.size() || host[host.size() - entry.size() - 1] == '.');
}

std::string first_of(const char* (*environment)(const char*),
                     std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = environment(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return {};
}

Status check_proxy(const std::string& proxy) {
  const auto end = proxy.find("://");
  const std::string scheme = end == std::string::npos ? "" : proxy.substr(0, end);
  bool known = false;
  for (const char* name : {"http", "https", "socks4a", "socks5", "socks5h"}) {
    known = known || scheme == name;
  }
  if (!known) return invalid_argument("a proxy begins with " + std::string(kSchemes));
  CURLU* parsed = curl_url();
  if (parsed == nullptr) return absl::ResourceExhaustedError("out of memory");
  const CURLUcode code =
      curl_url_set(parsed, CURLUPART_URL, proxy.c_str(), CURLU_NON_SUPPORT_SCHEME);
  curl_url_cleanup(parsed);
  if (code != CURLUE_OK) {
    return invalid_argument(std::string("the proxy's URL is not valid: ") +
                            curl_url_strerror(code));
  }
  const bool has_tls =
      (curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_HTTPS_PROXY) != 0;
  if (scheme == "https" && !has_tls) {
    return invalid_argument("this libcurl was built without https:// proxies");
  }
  return absl::OkStatus();
}

}  // namespace

bool is_excepted(std::string_view host, int port, std::string_view no_proxy) {
  host = without_dot(without_brackets(host));
  while (!no_proxy.empty()) {
    const auto end = no_proxy.find_first_of(", \t");
    const std::string_view entry = no_proxy.substr(0, end);
    if (!entry.empty() && fits(host, port, entry)) return true;
    if (end == std::string_view::npos) break;
    no_proxy.remove_prefix(end + 1);
  }
  return false;
}

StatusOr<std::string> choose_proxy(const Url& url, std::string_view proxy,
                                   std::string_view no_proxy,
                                   const char* (*environment)(const char* name)) {
  std::string chosen(proxy), excepted(no_proxy);
  if (proxy == "environment") {
    chosen = url.tls()
                 ? first_of(environment, {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"})
                 : first_of(environment, {"http_proxy", "all_proxy", "ALL_PROXY"});
    if (!chosen.empty() && chosen.find("://") == std::string::npos) chosen = "http://" + chosen;
    (excepted += ",") += first_of(environment, {"no_proxy", "NO_PROXY"});
  }
  if (chosen.empty()) return std::string();
  if (Status status = check_proxy(chosen); !status.ok()) return status;
  const char* const digits = url.origin().c_str() + url.origin().rfind(':') + 1;
  const auto port = static_cast<int>(std::strtol(digits, nullptr, 10));  // 0 where there is none
  return is_excepted(url.host(), port, excepted) ? std::string() : chosen;
}

}  // namespace sluiceway::http
