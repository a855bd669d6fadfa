// Which proxy a URL goes through: what was configured, minus the hosts that are excepted.
//
// Decided once, when a route is made, so that a call pays nothing for it. Exceptions are written as
// in NO_PROXY: a list parted by commas or spaces; "*" is every host; "example.com" and
// ".example.com" are that host and all below it, and a dot at the end of either side changes
// nothing; an address is itself, "10.0.0.0/8" and "fd00::/8" are networks. A port behind a name or
// address ("example.com:8443") must agree. The environment is read only where the configuration
// says "environment": for https the first of https_proxy, HTTPS_PROXY, all_proxy, ALL_PROXY; for
// http the first of http_proxy (lower case only: a CGI server sets HTTP_PROXY from a request's
// header), all_proxy, ALL_PROXY; exceptions from no_proxy or NO_PROXY. Safe for all threads.
// Source: curl(1) "Environment", read 2026-11-22; there is no standard.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "http/request.h"

namespace sluiceway::http {

// "" for none, "environment", or a URL with the scheme http, https, socks4a, socks5 or socks5h.
// `environment` is getenv(3) or a test's. kInvalidArgument for what is no proxy; the message shows
// no credentials.
StatusOr<std::string> choose_proxy(const Url& url, std::string_view proxy,
                                   std::string_view no_proxy,
                                   const char* (*environment)(const char* name));

// Whether the list excepts a host ("::1" or "[::1]") and port.
bool is_excepted(std::string_view host, int port, std::string_view no_proxy);

}  // namespace sluiceway::http
