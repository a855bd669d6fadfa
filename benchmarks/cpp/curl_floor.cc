// The floor: what libcurl itself costs for the work of the engine's rows, with nothing of ours.
//
// One thread, one multi driven by socket_action and epoll, one easy handle for each call in flight,
// set up once and used again. No limits, no ledger, no parsing, no Python. Every other row of the
// engine is a ratio to this program, started in the same round on the same core. It is written as a
// careful user of libcurl would write it and not tuned further, so a ratio below 1 beats this
// program, not libcurl.
//
// A first part of calls opens the connections and is not counted; CPU time and wall time are of the
// rest. A status other than 200 or an answer of another length than the first is a bad call.
// Prints one JSON line and exits 1 when a call was bad. Memory: an answer for each call in flight,
// 8 B for each latency.
//
// Usage: curl_floor URL TOTAL IN_FLIGHT POSTFILE WARM_UP [--cacert FILE] [--http2], example
//   curl_floor http://127.0.0.1:8080/v1/chat/completions 100000 64 post.json 256
// --http2 is HTTP/2 by ALPN; handles then wait for a connection that exists to take them.
// Source: libcurl's documentation of curl_multi_socket_action, 8.14.
#include <curl/curl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

std::int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::int64_t cpu_us() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1'000'000LL + used.ru_utime.tv_usec +
         used.ru_stime.tv_usec;
}

// One handle and the call that it carries at the moment.
struct Slot {
  CURL* easy = nullptr;
  std::string answer;
  std::int64_t started_ns = 0;
};

std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* slot) {
  static_cast<Slot*>(slot)->answer.append(bytes, size * count);
  return size * count;
}

class Floor {
 public:
  Floor(std::string url, std::string post, std::size_t in_flight, std::string cacert, bool http2)
      : url_(std::move(url)),
        post_(std::move(post)),
        cacert_(std::move(cacert)),
        http2_(http2),
        slots_(in_flight) {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    multi_ = curl_multi_init();
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Floor::on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Floor::on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(in_flight));
    for (const char* line :
         {"Content-Type: application/json", "Authorization: Bearer sk-bench-fake", "Expect:"}) {
      headers_ = curl_slist_append(headers_, line);
    }
    for (Slot& slot : slots_) prepare(slot);
  }

  ~Floor() {
    for (Slot& slot : slots_) curl_easy_cleanup(slot.easy);
    curl_multi_cleanup(multi_);
    curl_slist_free_all(headers_);
    ::close(epoll_);
  }

  // Makes `total` calls with all slots busy; their latencies stand in latency_ns afterwards.
  void run(std::size_t total) {
    left_ = total;
    done_ = 0;
    latency_ns.clear();
    latency_ns.reserve(total);
    for (Slot& slot : slots_) {
      if (left_ > 0) launch(slot);
    }
    epoll_event events[256];
    while (done_ < total) {
      const int count = ::epoll_wait(epoll_, events, 256, static_cast<int>(timeout_ms_));
      int running = 0;
      if (count == 0 || timeout_ms_ == 0) {
        timeout_ms_ = -1;
        curl_multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &running);
      }
      for (int i = 0; i < count; ++i) {
        const std::uint32_t what = events[i].events;
        const int action = ((what & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
                           ((what & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                           ((what & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(multi_, events[i].data.fd, action, &running);
      }
      reap();
    }
  }

  std::vector<std::int64_t> latency_ns;
  std::size_t bad = 0;

 private:
  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void* known) {
    auto& floor = *static_cast<Floor*>(self);
    epoll_event event{};
    event.data.fd = fd;
    if (what == CURL_POLL_REMOVE) {
      ::epoll_ctl(floor.epoll_, EPOLL_CTL_DEL, fd, nullptr);
      curl_multi_assign(floor.multi_, fd, nullptr);
      return 0;
    }
    event.events =
        ((what & CURL_POLL_IN) != 0 ? EPOLLIN : 0u) | ((what & CURL_POLL_OUT) != 0 ? EPOLLOUT : 0u);
    ::epoll_ctl(floor.epoll_, known != nullptr ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    curl_multi_assign(floor.multi_, fd, self);
    return 0;
  }

  static int on_timer(CURLM*, long timeout_ms, void* self) {
    static_cast<Floor*>(self)->timeout_ms_ = timeout_ms;
    return 0;
  }

  void prepare(Slot& slot) {
    slot.easy = curl_easy_init();
    curl_easy_setopt(slot.easy, CURLOPT_URL, url_.c_str());
    curl_easy_setopt(slot.easy, CURLOPT_PRIVATE, &slot);
    curl_easy_setopt(slot.easy, CURLOPT_NOSIGNAL, 1L);
    const long version = http2_ ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1;
    curl_easy_setopt(slot.easy, CURLOPT_HTTP_VERSION, version);
    curl_easy_setopt(slot.easy, CURLOPT_PIPEWAIT, http2_ ? 1L : 0L);
    if (!cacert_.empty()) curl_easy_setopt(slot.easy, CURLOPT_CAINFO, cacert_.c_str());
    curl_easy_setopt(slot.easy, CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(slot.easy, CURLOPT_WRITEFUNCTION, &on_body);
    curl_easy_setopt(slot.easy, CURLOPT_WRITEDATA, &slot);
    curl_easy_setopt(slot.easy, CURLOPT_POSTFIELDS, post_.data());
    curl_easy_setopt(slot.easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(post_.size()));
  }

  void launch(Slot& slot) {
    --left_;
    slot.answer.clear();
    slot.started_ns = monotonic_ns();
    curl_multi_add_handle(multi_, slot.easy);
  }

  void reap() {
    int queued = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &queued)) {
      char* owner = nullptr;
      long status = 0;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
      curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
      auto& slot = *reinterpret_cast<Slot*>(owner);
      if (answer_bytes_ == 0) answer_bytes_ = slot.answer.size();
      if (message->data.result != CURLE_OK || status != 200 || slot.answer.empty() ||
          slot.answer.size() != answer_bytes_) {
        ++bad;
      }
      ++done_;
      latency_ns.push_back(monotonic_ns() - slot.started_ns);
      curl_multi_remove_handle(multi_, slot.easy);
      if (left_ > 0) launch(slot);
    }
  }

  std::string url_, post_, cacert_;
  const bool http2_;
  std::deque<Slot> slots_;
  CURLM* multi_ = nullptr;
  curl_slist* headers_ = nullptr;
  int epoll_ = -1;
  long timeout_ms_ = -1;  // what libcurl asked for last; -1: nothing
  std::size_t left_ = 0, done_ = 0, answer_bytes_ = 0;
};

double percentile_us(std::vector<std::int64_t>& sorted_ns, double share) {
  const auto index = static_cast<std::size_t>(static_cast<double>(sorted_ns.size() - 1) * share);
  return static_cast<double>(sorted_ns[index]) / 1e3;
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int place) { return std::strtol(argv[place], nullptr, 10); };
  const long total = argc >= 6 ? number(2) : 0;
  const long in_flight = argc >= 6 ? number(3) : 0;
  if (total < 1 || in_flight < 1) {
    std::fprintf(stderr,
                 "usage: curl_floor URL TOTAL IN_FLIGHT POSTFILE WARM_UP [--cacert FILE]"
                 " [--http2]\n");
    return 2;
  }
  std::string cacert;
  bool http2 = false;
  for (int i = 6; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--http2") http2 = true;
    if (name == "--cacert" && i + 1 < argc) cacert = argv[++i];
  }
  std::ifstream file(argv[4], std::ios::binary);
  std::ostringstream post;
  post << file.rdbuf();
  if (!file || post.str().empty()) {
    std::fprintf(stderr, "curl_floor: cannot read %s\n", argv[4]);
    return 2;
  }
  curl_global_init(CURL_GLOBAL_ALL);
  std::size_t bad = 0;
  {
    Floor floor(argv[1], post.str(), static_cast<std::size_t>(in_flight), cacert, http2);
    floor.run(static_cast<std::size_t>(std::max(1L, number(5))));
    const std::int64_t began_ns = monotonic_ns(), began_cpu_us = cpu_us();
    floor.run(static_cast<std::size_t>(total));
    const double cpu = static_cast<double>(cpu_us() - began_cpu_us);
    const double wall_s = static_cast<double>(monotonic_ns() - began_ns) / 1e9;
    std::sort(floor.latency_ns.begin(), floor.latency_ns.end());
    bad = floor.bad;
    std::printf(
        "{\"calls\": %ld, \"cpu_us\": %.3f, \"calls_per_s\": %.1f, \"p50_us\": %.1f, "
        "\"p99_us\": %.1f, \"bad\": %zu, \"version\": \"libcurl %s\"}\n",
        total, cpu / static_cast<double>(total), static_cast<double>(total) / wall_s,
        percentile_us(floor.latency_ns, 0.5), percentile_us(floor.latency_ns, 0.99), bad,
        curl_version_info(CURLVERSION_NOW)->version);
  }
  curl_global_cleanup();
  return bad == 0 ? 0 : 1;
}
