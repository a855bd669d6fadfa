// The server of the benchmarks: HTTP/1.1 keep-alive and, over TLS, HTTP/2, with canned answers; one
// thread, epoll.
//
// So cheap that the client is what is measured. It answers
//   any path with "stream" in it   SSE: `events` chat deltas, usage, [DONE]
//   everything else                the body of --body FILE, or a chat completion of 1.2 kB
//   --interval-ms N  spaces the events of an HTTP/1.1 stream by N ms (0: all at once)
//   --tls            TLS with a certificate made now; its path is the second line of the output
//   --h2             HTTP/2 for clients that offer it, with --tls
// It prints its port. It is no proof of anything but speed (protocol.h). Memory: the answers, and
// for a connection its transport, its protocol and what does not fit into its socket. Example:
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
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "answers.h"
#include "protocol.h"
#include "transport.h"

namespace sluiceway::bench {
namespace {

struct Options {
  int port = 0, events = 20, interval_ms = 0;
  bool tls = false, http2 = false;
  std::string body_file;
};

struct Connection {
  std::unique_ptr<Transport> transport;
  std::unique_ptr<Protocol> protocol;  // made with the first bytes: ALPN has agreed by then
  std::size_t sent = 0;                // of protocol->out
  bool writable_wanted = false;
};

std::int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

class Server {
 public:
  explicit Server(const Options& options)
      : options_(options), answers_(options.events, options.body_file) {
    if (options.tls) tls_ = std::make_unique<TlsContext>(options.http2);
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
    if (tls_ != nullptr) std::printf("%s\n", tls_->certificate_path().c_str());
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
      Connection& made = connections_[fd];
      made.transport = tls_ != nullptr ? tls_->accept(fd) : plain_transport(fd);
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
    if ((events & EPOLLIN) != 0) {
      if (!read_all(connection)) return drop(fd);
      if (connection.protocol != nullptr && connection.protocol->wants_ticks) {
        connection.protocol->wants_ticks = false;
        timers_.emplace(now_ms() + options_.interval_ms, fd);
      }
    } else if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
      return drop(fd);
    }
    flush(fd, connection);
  }

  // False: the connection is over. Plain sockets are read once a turn: epoll comes back for the
  // rest, and a second read that finds nothing would cost a system call.
  bool read_all(Connection& c) {
    char bytes[65536];
    do {
      const ssize_t n = c.transport->read(bytes, sizeof bytes);
      if (n == Transport::kLater) return true;
      if (n < 0) return false;
      if (c.protocol == nullptr) {
        c.protocol = c.transport->is_http2() ? make_http2(answers_)
                                             : make_http1(answers_, options_.interval_ms > 0);
      }
      if (!c.protocol->receive({bytes, static_cast<std::size_t>(n)})) return false;
    } while (c.transport->holds_more());
    return true;
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
      if (found == connections_.end() || found->second.protocol == nullptr) continue;
      if (found->second.protocol->tick()) timers_.emplace(due + options_.interval_ms, fd);
      flush(fd, found->second);
    }
  }

  void flush(int fd, Connection& c) {
    if (c.protocol == nullptr) return;
    std::string& out = c.protocol->out;
    while (c.sent < out.size()) {
      const ssize_t n = c.transport->write(out.data() + c.sent, out.size() - c.sent);
      if (n == Transport::kGone) return drop(fd);
      if (n < 0) break;
      c.sent += static_cast<std::size_t>(n);
    }
    const bool wanted = c.sent < out.size();
    if (!wanted) {
      out.clear();
      c.sent = 0;
    }
    if (wanted == c.writable_wanted) return;
    c.writable_wanted = wanted;
    control(EPOLL_CTL_MOD, fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }

  Options options_;
  Answers answers_;
  std::unique_ptr<TlsContext> tls_;  // null: plain TCP
  int listener_ = -1, epoll_ = -1;
  std::unordered_map<int, Connection> connections_;
  std::multimap<std::int64_t, int> timers_;
};

}  // namespace
}  // namespace sluiceway::bench

namespace {

int number(const char* text) { return static_cast<int>(std::strtol(text, nullptr, 10)); }

}  // namespace

int main(int argc, char** argv) {
  sluiceway::bench::Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (name == "--port") options.port = number(value);
    if (name == "--events") options.events = number(value);
    if (name == "--interval-ms") options.interval_ms = number(value);
    if (name == "--body") options.body_file = value;
    if (name == "--tls") options.tls = true;
    if (name == "--h2") options.http2 = true;
  }
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  ::signal(SIGPIPE, SIG_IGN);
  sluiceway::bench::Server server(options);
  if (!server.listen_on(options.port)) {
    std::perror("bench_server: listen");
    return 1;
  }
  server.run();
}
