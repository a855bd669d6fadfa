// A plain socket server for tests: one thread a connection, on a free loopback port.
//
// The handler speaks HTTP by hand, so that it can misbehave in any way. It counts connections and
// executions. Its destructor shuts all sockets down and joins all threads.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace sluiceway::http {

struct RawRequest {
  std::string head, body;
  std::string line() const { return head.substr(0, head.find("\r\n")); }
  bool has(std::string_view text) const { return head.find(text) != std::string::npos; }
};

class RawConnection {
 public:
  RawConnection(int fd, int number) : fd_(fd), number_(number) {}
  int number() const { return number_; }  // 1, 2, ... in the order of accept

  // Nothing when the client closed the connection.
  std::optional<RawRequest> read_request() {
    RawRequest out;
    std::size_t end = std::string::npos;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
      if (!fill()) return std::nullopt;
    }
    out.head = buffer_.substr(0, end + 4);
    buffer_.erase(0, end + 4);
    std::size_t length = 0;
    if (const auto at = out.head.find("Content-Length: "); at != std::string::npos) {
      length = static_cast<std::size_t>(std::strtoull(out.head.c_str() + at + 16, nullptr, 10));
    }
    while (buffer_.size() < length) {
      if (!fill()) return std::nullopt;
    }
    out.body = buffer_.substr(0, length);
    buffer_.erase(0, length);
    return out;
  }

  bool write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  bool answer(std::string_view body, std::string_view status = "200 OK",
              std::string_view fields = "") {
    return write("HTTP/1.1 " + std::string(status) + "\r\nContent-Type: application/json\r\n" +
                 std::string(fields) + "Content-Length: " + std::to_string(body.size()) +
                 "\r\n\r\n" + std::string(body));
  }

  // Until the client closes.
  void wait_for_close() {
    while (fill()) buffer_.clear();
  }

 private:
  bool fill() {
    char bytes[16384];
    const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) return false;
    buffer_.append(bytes, static_cast<std::size_t>(n));
    return true;
  }

  int fd_, number_;
  std::string buffer_;
};

// A port that refuses connections and that nobody else is given meanwhile: bound, not listening.
class RefusingPort {
 public:
  RefusingPort() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), size) != 0) std::abort();
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/";
  }
  ~RefusingPort() { ::close(fd_); }
  RefusingPort(const RefusingPort&) = delete;
  RefusingPort& operator=(const RefusingPort&) = delete;
  const std::string& url() const { return url_; }

 private:
  int fd_;
  std::string url_;
};

class RawServer {
 public:
  using Handler = std::function<void(RawConnection&)>;

  explicit RawServer(Handler handler, int backlog = 4096) : handler_(std::move(handler)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    if (::listen(listener_, backlog) != 0) std::abort();
    acceptor_ = std::thread([this] { accept_all(); });
  }

  ~RawServer() {
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    {
      std::lock_guard lock(mutex_);
      for (const int fd : open_) {
        if (fd >= 0) ::shutdown(fd, SHUT_RDWR);
      }
    }
    for (std::thread& thread : threads_) thread.join();
  }

  std::string url(const std::string& path = "/v1") const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  int connections() const { return connections_.load(); }
  // Connections that have not been closed by either side.
  int open_connections() const { return live_.load(); }
  std::atomic<int> executions{0};

 private:
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      const int number = ++connections_;
      ++live_;
      std::lock_guard lock(mutex_);
      const std::size_t slot = open_.size();
      open_.push_back(fd);
      threads_.emplace_back([this, fd, number, slot] {
        RawConnection connection(fd, number);
        handler_(connection);
        std::lock_guard inner(mutex_);
        open_[slot] = -1;
        ::close(fd);
        --live_;
      });
    }
  }

  Handler handler_;
  int listener_ = -1, port_ = 0;
  std::atomic<int> connections_{0}, live_{0};
  std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace sluiceway::http
