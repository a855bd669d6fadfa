// The epoll set: see poller.h. Source: epoll(7), eventfd(2).
#include "http/poller.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

namespace sluiceway::http {
namespace {

std::uint32_t epoll_bits(std::uint8_t events) {
  return ((events & Poller::kRead) ? static_cast<std::uint32_t>(EPOLLIN) : 0u) |
         ((events & Poller::kWrite) ? static_cast<std::uint32_t>(EPOLLOUT) : 0u);
}

}  // namespace

Poller::~Poller() {
  if (epoll_ >= 0) ::close(epoll_);
  if (bell_ >= 0) ::close(bell_);
  for (auto& chunk : chunks_) delete[] chunk.load();
}

bool Poller::open() {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  bell_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (epoll_ < 0 || bell_ < 0) return false;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<std::uint64_t>(bell_);
  return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, bell_, &event) == 0;
}

Poller::Entry* Poller::entry(int fd) {
  if (fd < 0 || fd >= kChunk * kChunks) return nullptr;
  std::atomic<Entry*>& chunk = chunks_[static_cast<std::size_t>(fd / kChunk)];
  Entry* entries = chunk.load(std::memory_order_relaxed);
  if (entries == nullptr) {
    entries = new Entry[kChunk];
    chunk.store(entries, std::memory_order_release);
  }
  return entries + fd % kChunk;
}

Poller::Entry* Poller::entry_of(const epoll_event& event) {
  Entry* found = entry(fd_of(event));
  return found->serial == event.data.u64 >> 32 ? found : nullptr;
}

Poller::Entry& Poller::opened(int fd) {
  Entry& made = *entry(fd);
  made = Entry{.serial = made.serial + 1};
  made.ours = true;
  ++opened_count_;
  ++open_now_;
  return made;
}

void Poller::wait_for_settings(int fd, std::int64_t until_ns) {
  auto at = settling.end();
  while (at != settling.begin() && std::prev(at)->second > until_ns) --at;
  settling.insert(at, {fd, until_ns});
}

void Poller::closing(int fd) {
  Entry* old = entry(fd);
  if (old == nullptr) return;
  if (old->registered != 0) control(EPOLL_CTL_DEL, fd, 0);
  if (old->ours) --open_now_;
  *old = Entry{.serial = old->serial + 1};
}

void Poller::want(int fd, std::uint8_t events, Shard* shard) {
  Entry* found = entry(fd);
  if (found == nullptr) return;
  found->wanted = events;
  found->shard = shard;
  if (events == 0) {
    if (!found->ours && found->registered != 0) closing(fd);
    return;
  }
  if ((events & ~found->registered) == 0) return;  // all of it is watched already
  const int operation = found->registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  found->registered = events;
  control(operation, fd, events);
}

bool Poller::peer_closed(int fd) {
  pollfd asked{fd, POLLRDHUP, 0};
  return ::poll(&asked, 1, 0) > 0 && (asked.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

void Poller::silence(int fd) {
  Entry* found = entry(fd);
  if (found == nullptr || found->registered == found->wanted) return;
  found->registered = found->wanted;
  control(found->wanted == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, found->wanted);
}

template <typename Use>
void Poller::each_entry(const Use& use) const {
  for (int c = 0; c < kChunks; ++c) {
    const Entry* entries = chunks_[static_cast<std::size_t>(c)].load(std::memory_order_acquire);
    for (int i = 0; entries != nullptr && i < kChunk; ++i) use(c * kChunk + i, entries[i]);
  }
}

std::vector<int> Poller::ready_now() const {
  std::vector<pollfd> asked;
  each_entry([&](int fd, const Entry& entry) {
    if (entry.wanted == 0 || entry.registered == 0) return;
    const int events =
        ((entry.wanted & kRead) ? POLLIN : 0) | ((entry.wanted & kWrite) ? POLLOUT : 0);
    asked.push_back({fd, static_cast<short>(events), 0});
  });
  std::vector<int> ready;
  if (asked.empty() || ::poll(asked.data(), asked.size(), 0) <= 0) return ready;
  for (const pollfd& one : asked) {
    if (one.revents != 0) ready.push_back(one.fd);
  }
  return ready;
}

std::vector<int> Poller::wanted_of(const Origin& origin) const {
  std::vector<int> found;
  each_entry([&](int fd, const Entry& entry) {
    if (entry.wanted != 0 && entry.origin == &origin) found.push_back(fd);
  });
  return found;
}

void Poller::renew(int fd) {
  Entry* found = entry(fd);
  if (found != nullptr && found->registered != 0) control(EPOLL_CTL_MOD, fd, found->registered);
}

int Poller::wait(epoll_event* events, int count, std::int64_t timeout_ns) {
  int timeout_ms = -1;
  if (timeout_ns >= 0) {
    timeout_ms = static_cast<int>(std::min<std::int64_t>(
        timeout_ns / 1'000'000 + (timeout_ns % 1'000'000 != 0 ? 1 : 0), 1'000'000));
  }
  ++wait_calls_;
  const int ready = ::epoll_wait(epoll_, events, count, timeout_ms);
  return ready < 0 ? 0 : ready;  // EINTR: the caller comes again
}

void Poller::ring() {
  const std::uint64_t one = 1;
  const int saved = errno;  // also run by signal handlers
  [[maybe_unused]] const auto written = ::write(bell_, &one, sizeof one);
  errno = saved;
}

void Poller::clear_bell() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(bell_, &count, sizeof count);
}

void Poller::control(int operation, int fd, std::uint8_t events) {
  epoll_event event{};
  event.events = epoll_bits(events);
  event.data.u64 = std::uint64_t{entry(fd)->serial} << 32 | static_cast<std::uint32_t>(fd);
  ++ctl_calls_;
  if (::epoll_ctl(epoll_, operation, fd, &event) == 0) return;
  // The table and the kernel disagree: a descriptor was closed behind our back. The kernel is
  // right.
  if (operation == EPOLL_CTL_ADD && errno == EEXIST) ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event);
  if (operation == EPOLL_CTL_MOD && errno == ENOENT) ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
}

void Poller::close_all() {
  // The set is shared with the parent: it goes first, and nothing is changed in it.
  ::close(epoll_);
  ::close(bell_);
  epoll_ = bell_ = -1;
  each_entry([](int fd, const Entry& entry) {
    if (entry.ours || entry.registered != 0) ::close(fd);
  });
}

}  // namespace sluiceway::http
