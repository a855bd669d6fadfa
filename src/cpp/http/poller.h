// Which descriptors are watched: our epoll set with lazy registration, and the wake-up bell.
//
// libcurl says for every request "watch this socket", "no longer". Following it costs two system
// calls a request; so a descriptor that we opened stays in the set until it is closed, and only an
// event that nobody wants changes its registration. Descriptors that libcurl opened itself (its
// resolver's) are followed exactly, since it closes them without telling. Entries live in fixed
// chunks, so that the child of a fork can walk them whatever the parent's thread was doing.
//
// O(1) a call; 48 bytes a descriptor number. Engine thread only, but ring() (any thread, also
// signal handlers) and close_all() (a fork's child).
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "http/count.h"

namespace sluiceway::http {

struct Shard;
struct Transfer;
class Origin;

class Poller {
 public:
  enum : std::uint8_t { kRead = 1, kWrite = 2 };

  struct Entry {
    Shard* shard = nullptr;      // who wants the events
    Origin* origin = nullptr;    // whose connection it is
    Transfer* opener = nullptr;  // while its handshake lasts
    std::int16_t shard_index = 0;
    std::uint8_t wanted = 0;      // kRead, kWrite
    std::uint8_t registered = 0;  // in the epoll set; 0: not there
    bool heard = false;           // readable once since it was connected
    bool ours = false;            // made by our open-socket callback
    bool settings_told = false;   // the library says when it has read the server's settings
    int streams = 0;              // that the server takes; 0: not known
    std::uint32_t serial = 0;     // of the descriptor that has this number now
    // Of a connection: being made, made but not heard from, heard from.
    enum class State : std::uint8_t { kConnecting, kConnected, kReady } state = State::kConnecting;
  };

  ~Poller();
  bool open();  // false: no descriptors left

  // Null when the number is beyond what is kept (a million).
  Entry* entry(int fd);
  // Of an event that wait() gave. Null: its descriptor has been closed since, whatever has its
  // number now.
  Entry* entry_of(const epoll_event& event);
  static int fd_of(const epoll_event& event) {
    return static_cast<int>(event.data.u64 & 0xffffffff);
  }
  Entry& opened(int fd);
  // About to be closed. After a fork a closed descriptor would stay in the set through the child's
  // copy, so it is taken out by hand.
  void closing(int fd);
  void want(int fd, std::uint8_t events, Shard* shard);
  // Whether the other side will send nothing more, whatever has come before that and is unread.
  static bool peer_closed(int fd);
  // The event is not wanted now: silence it until it is.
  void silence(int fd);

  // The descriptors that have what is wanted of them, by poll(2): whatever the set says.
  std::vector<int> ready_now() const;
  // The descriptors of an origin of which something is wanted.
  std::vector<int> wanted_of(const Origin& origin) const;
  // Puts it into the set anew, as it is wanted.
  void renew(int fd);

  // As epoll_wait(2), but never shorter than asked: `timeout_ns` is rounded up to milliseconds.
  int wait(epoll_event* events, int count, std::int64_t timeout_ns);
  bool is_bell(const epoll_event& event) const { return fd_of(event) == bell_; }
  // Readable when wait() would return at once.
  int fd() const { return epoll_; }
  void ring();
  void clear_bell();

  // Connections that wait for the server's settings, and until when (monotonic), earliest first.
  std::deque<std::pair<int, std::int64_t>> settling;
  // Transfers (ids) whose log is to be read again from the end of this turn on.
  std::vector<std::uint64_t> muted;
  void wait_for_settings(int fd, std::int64_t until_ns);

  void close_all();

  // From any thread.
  std::uint64_t ctl_calls() const { return ctl_calls_.value(); }
  std::uint64_t wait_calls() const { return wait_calls_.value(); }
  std::uint64_t opened_count() const { return opened_count_.value(); }
  std::uint64_t open_now() const { return open_now_.value(); }

 private:
  static constexpr int kChunk = 1024, kChunks = 1024;
  // Calls use(fd, entry) for each number that has been met, and its neighbours.
  template <typename Use>
  void each_entry(const Use& use) const;
  void control(int operation, int fd, std::uint8_t events);

  std::array<std::atomic<Entry*>, kChunks> chunks_{};
  int epoll_ = -1, bell_ = -1;
  Count ctl_calls_, wait_calls_, opened_count_, open_now_;
};

}  // namespace sluiceway::http
