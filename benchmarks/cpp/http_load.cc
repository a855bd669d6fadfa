// The transport alone, measured: closed loop, trivial sink, one thread. The twin of a bare libcurl
// loop.
//
// Prints one JSON line: calls a second, CPU microseconds a call, bad answers. Nothing above the
// transport runs (no parsing, no ledger), so its ratio to a bare libcurl program on the same server
// is what the transport costs. Usage: http_load URL TOTAL CONCURRENCY [1.1|2|auto] [POSTFILE]
#include <sys/resource.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "http/curl_transport.h"

namespace {

using namespace sluiceway::http;

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

struct Load {
  Transport& transport;
  long total, started = 0, done = 0, bad = 0;
};

// Starts its next call in the end of the last.
struct Slot final : Sink {
  Load* load = nullptr;
  std::uint64_t id = 0;
  Request request;
  std::string body;
  int status = 0;

  void launch() {
    body.clear();
    status = 0;
    ++load->started;
    load->transport.start(id, &request, this);
  }
  void on_head(int code, const HeaderSource&) override { status = code; }
  void on_body(std::string_view data) override { body += data; }
  void on_end(const TransferEnd& end) override {
    if (end.error != TransferError::kNone || status != 200 || !end.complete || body.empty()) {
      if (load->bad++ == 0) {
        std::fprintf(stderr, "%s %s\n", std::string(transfer_error_name(end.error)).c_str(),
                     end.detail.c_str());
      }
    }
    ++load->done;
    if (load->started < load->total) launch();
  }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: http_load URL TOTAL CONCURRENCY [1.1|2|auto] [POSTFILE]\n");
    return 2;
  }
  const std::string version = argc > 4 ? argv[4] : "1.1";
  std::string post = "{}";
  if (argc > 5) {
    std::ifstream file(argv[5], std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    post = text.str();
  }
  const auto transport = make_curl_transport();
  const auto url = Url::parse(argv[1]);
  const auto headers =
      HeaderSet::make({{"Content-Type", "application/json"}, {"Authorization", "Bearer sk-fake"}});
  if (transport == nullptr || !url.ok() || !headers.ok()) return 1;
  auto tls = std::make_shared<TlsConfig>();
  tls->verify = false;
  Load load{*transport, std::atol(argv[2])};
  std::deque<Slot> slots(static_cast<std::size_t>(std::atol(argv[3])));
  const std::int64_t began = now_ns();
  for (std::size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = slots[i];
    slot.load = &load;
    slot.id = i;
    slot.request.url = *url;
    slot.request.headers = *headers;
    slot.request.body = post;
    slot.request.tls = tls;
    slot.request.version = version == "2"     ? HttpVersion::kHttp2
                           : version == "1.1" ? HttpVersion::kHttp1
                                              : HttpVersion::kAuto;
    if (load.started < load.total) slot.launch();
  }
  while (load.done < load.total) transport->poll(-1);
  const double wall_s = static_cast<double>(now_ns() - began) / 1e9;
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const double cpu_us = static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
                        static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
  const TransportStats stats = transport->stats();
  std::printf(
      "{\"rps\": %.0f, \"cpu_us_per_request\": %.2f, \"bad\": %ld, \"connections\": %llu, "
      "\"epoll_ctl\": %llu, \"watchdog_progress\": %llu}\n",
      static_cast<double>(load.total) / wall_s, cpu_us / static_cast<double>(load.total), load.bad,
      static_cast<unsigned long long>(stats.connections_opened),
      static_cast<unsigned long long>(stats.epoll_ctl_calls),
      static_cast<unsigned long long>(stats.watchdog_progress));
  return load.bad == 0 ? 0 : 1;
}
