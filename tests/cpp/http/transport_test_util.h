// What the transport's tests share: a sink that keeps everything, and a loop with a bound.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "http/curl_transport.h"

namespace sluiceway::http {

struct KeepingSink final : Sink {
  int heads = 0, ends = 0, status = 0;
  std::string body;
  std::vector<Header> headers;
  TransferEnd end;
  std::function<void()> when_head, when_body, when_end;

  void on_head(int code, const HeaderSource& source) override {
    ++heads;
    status = code;
    source.for_each([this](std::string_view name, std::string_view value) {
      headers.push_back({std::string(name), std::string(value)});
    });
    if (when_head) when_head();
  }
  void on_body(std::string_view data) override {
    body += data;
    if (when_body) when_body();
  }
  void on_end(const TransferEnd& reached) override {
    ++ends;
    end = reached;
    if (when_end) when_end();
  }
};

inline std::shared_ptr<const Url> url_of(const std::string& text) {
  auto url = Url::parse(text);
  EXPECT_TRUE(url.ok()) << url.status();
  return url.ok() ? *url : nullptr;
}

inline std::shared_ptr<const HeaderSet> headers_of(std::vector<Header> headers) {
  auto set = HeaderSet::make(std::move(headers));
  EXPECT_TRUE(set.ok()) << set.status();
  return set.ok() ? *set : nullptr;
}

inline Request post(const std::shared_ptr<const Url>& url, std::string body = R"({"a":1})") {
  Request request;
  request.url = url;
  request.body = std::move(body);
  return request;
}

// Polls until `done`; false after twenty seconds, which is only a guard against hanging.
inline bool poll_until(Transport& transport, const std::function<bool()>& done) {
  const auto guard = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!done()) {
    if (std::chrono::steady_clock::now() > guard) return false;
    transport.poll(20'000'000);
  }
  return true;
}

inline int open_descriptors() {
  int count = 0;
  DIR* dir = ::opendir("/proc/self/fd");
  while (::readdir(dir) != nullptr) ++count;
  ::closedir(dir);
  return count;
}

}  // namespace sluiceway::http
