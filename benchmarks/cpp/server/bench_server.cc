// The server of the benchmarks: HTTP/1.1 keep-alive with canned answers, one thread, epoll, no
// third party.
//
// So cheap that the client is what is measured. It answers
//   any path with "stream" in its request line   SSE: `events` chat deltas, usage, [DONE]
//   everything else                              the body of --body FILE, or a chat completion
//   of 1.2 kB
// --interval-ms N spaces the events of a stream by N ms (0: all at once). It prints its port. It is
// no proof of anything but speed: it trusts Content-Length and knows no other framing. Memory: the
// answer once, 300 bytes a connection and what does not fit into its socket. Example:
//   bench_server --port 0 --events 20 --interval-ms 50
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace {

struct Options {
  int port = 0, events = 20, interval_ms = 0;
  std::string body_file;
};

struct Connection {
  std::string in, out;
  std::size_t body_left = 0;  // of the request that is being read
  bool in_body = false, wants_stream = false, writable_wanted = false;
  int events_left = 0;  // of the stream that is being sent
};

std::int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

std::string chat_completion() {
  std::string text;
  for (int i = 0; i < 18; ++i) text += "Hello! How can I assist you today? ";
  return R"({"id":"chatcmpl-bench","object":"chat.completion","created":1741569952,)"
         R"("model":"gpt-4.1",)"
         R"("choices":[{"index":0,"message":{"role":"assistant","content":")" +
         text +
         R"(","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],)"
         R"("usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,)"
         R"("prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},)"
         R"("completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}},)"
         R"("service_tier":"default"})";
}

std::string chunk(const std::string& data) {
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", data.size());
  return size + data + "\r\n";
}

class Server {
 public:
  explicit Server(const Options& options) : options_(options) {
    std::string body = chat_completion();
    if (!options.body_file.empty()) {
      std::ifstream file(options.body_file, std::ios::binary);
      std::ostringstream text;
      text << file.rdbuf();
      body = text.str();
    }
    answer_ =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: bench\r\n"
        "Content-Length: " +
        std::to_string(body.size()) + "\r\n\r\n" + body;
    stream_head_ =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    delta_ = chunk(
        R"(data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1741569952,)"
        R"("model":"gpt-4.1","choices":[{"index":0,"delta":{"content":" water"},)"
        R"("finish_reason":null}]})"
        "\n\n");
    stream_end_ =
        chunk(
            R"(data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1741569952,)"
            R"("model":"gpt-4.1","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":20,)"
            R"("total_tokens":39}})"
            "\n\n") +
        chunk("data: [DONE]\n\n") + "0\r\n\r\n";
  }

  bool listen_on(int port) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0) return false;
    if (::listen(listener_, 16384) != 0) return false;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    std::printf("%d\n", ntohs(address.sin_port));
    std::fflush(stdout);
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    control(EPOLL_CTL_ADD, listener_, EPOLLIN);
    return true;
  }

  void run() {
    epoll_event events[512];
    for (;;) {
      int timeout = -1;
      if (!timers_.empty()) {
        timeout = static_cast<int>(std::max<std::int64_t>(0, timers_.begin()->first - now_ms()));
      }
      const int count = ::epoll_wait(epoll_, events, 512, timeout);
      for (int i = 0; i < count; ++i) {
        const int fd = events[i].data.fd;
        if (fd == listener_) {
          accept_all();
        } else {
          serve(fd, events[i].events);
        }
      }
      run_timers();
    }
  }

 private:
  void control(int operation, int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    ::epoll_ctl(epoll_, operation, fd, &event);
  }

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      connections_[fd] = Connection();
      control(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }

  void drop(int fd) {
    connections_.erase(fd);
    ::close(fd);
  }

  void serve(int fd, std::uint32_t events) {
    const auto found = connections_.find(fd);
    if (found == connections_.end()) return;
    Connection& connection = found->second;
    if (events & EPOLLIN) {
      char bytes[65536];
      const ssize_t n = ::recv(fd, bytes, sizeof bytes, 0);
      if (n == 0 || (n < 0 && errno != EAGAIN)) return drop(fd);
      if (n > 0) {
        connection.in.append(bytes, static_cast<std::size_t>(n));
        take_requests(fd, connection);
      }
    } else if (events & (EPOLLERR | EPOLLHUP)) {
      return drop(fd);
    }
    flush(fd, connection);
  }

  void take_requests(int fd, Connection& c) {
    for (;;) {
      if (!c.in_body) {
        const std::size_t end = c.in.find("\r\n\r\n");
        if (end == std::string::npos) return;
        const std::string_view head(c.in.data(), end + 2);
        c.wants_stream = head.substr(0, head.find('\r')).find("stream") != std::string_view::npos;
        c.body_left = 0;
        for (const char* name : {"Content-Length: ", "content-length: "}) {
          const std::size_t at = head.find(name);
          if (at != std::string_view::npos) {
            c.body_left = std::strtoull(head.data() + at + 16, nullptr, 10);
          }
        }
        c.in.erase(0, end + 4);
        c.in_body = true;
      }
      const std::size_t taken = std::min(c.body_left, c.in.size());
      c.in.erase(0, taken);
      c.body_left -= taken;
      if (c.body_left > 0) return;
      c.in_body = false;
      if (c.wants_stream) {
        begin_stream(fd, c);
      } else {
        c.out += answer_;
      }
    }
  }

  void begin_stream(int fd, Connection& c) {
    c.out += stream_head_;
    c.events_left = options_.events;
    if (options_.interval_ms > 0) {
      timers_.emplace(now_ms() + options_.interval_ms, fd);
      return;
    }
    for (; c.events_left > 0; --c.events_left) c.out += delta_;
    c.out += stream_end_;
  }

  // A timer of a connection that is gone, or whose number was given to a new one, finds no events
  // left or sends early; for a benchmark both are well enough.
  void run_timers() {
    const std::int64_t now = timers_.empty() ? 0 : now_ms();
    while (!timers_.empty() && timers_.begin()->first <= now) {
      const int fd = timers_.begin()->second;
      const std::int64_t due = timers_.begin()->first;
      timers_.erase(timers_.begin());
      const auto found = connections_.find(fd);
      if (found == connections_.end() || found->second.events_left == 0) continue;
      Connection& c = found->second;
      c.out += delta_;
      if (--c.events_left == 0) {
        c.out += stream_end_;
      } else {
        timers_.emplace(due + options_.interval_ms, fd);
      }
      flush(fd, c);
    }
  }

  void flush(int fd, Connection& c) {
    while (!c.out.empty()) {
      const ssize_t n = ::send(fd, c.out.data(), c.out.size(), MSG_NOSIGNAL);
      if (n < 0 && errno != EAGAIN) return drop(fd);
      if (n <= 0) break;
      c.out.erase(0, static_cast<std::size_t>(n));
    }
    const bool wanted = !c.out.empty();
    if (wanted == c.writable_wanted) return;
    c.writable_wanted = wanted;
    control(EPOLL_CTL_MOD, fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }

  Options options_;
  int listener_ = -1, epoll_ = -1;
  std::string answer_, stream_head_, delta_, stream_end_;
  std::unordered_map<int, Connection> connections_;
  std::multimap<std::int64_t, int> timers_;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--port") options.port = std::atoi(argv[i + 1]);
    if (name == "--events") options.events = std::atoi(argv[i + 1]);
    if (name == "--interval-ms") options.interval_ms = std::atoi(argv[i + 1]);
    if (name == "--body") options.body_file = argv[i + 1];
  }
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  ::signal(SIGPIPE, SIG_IGN);
  Server server(options);
  if (!server.listen_on(options.port)) {
    std::perror("bench_server: listen");
    return 1;
  }
  server.run();
}
