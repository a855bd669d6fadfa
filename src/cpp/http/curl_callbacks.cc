// What libcurl calls: see curl_callbacks.h. Source: curl_easy_setopt(3) and the pages of each
// option.
#include "http/curl_callbacks.h"

#include <curl/curl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "http/curl_easy.h"
#include "http/curl_watch.h"
#include "http/origin.h"

namespace sluiceway::http {
namespace {

// What a burst to a fresh origin waits at most for the server's settings: as long as a slow round
// trip where the library says when they are there, else only a little.
constexpr std::int64_t kSettingsNs = 500'000'000, kSettleNs = 20'000'000;

std::int64_t clock_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

Transfer& transfer_of(void* user) { return *static_cast<Transfer*>(user); }

std::size_t on_read(char* out, std::size_t size, std::size_t count, void* user) {
  Transfer& t = transfer_of(user);
  if (t.cancelled) return CURL_READFUNC_ABORT;
  if (t.request->parts != nullptr) {
    std::size_t got = 0;
    if (t.parts.read(out, size * count, &got) == BodyReader::Result::kOk) return got;
    t.body_changed = true;
    return CURL_READFUNC_ABORT;
  }
  const std::string& body = t.request->body;
  const std::size_t n = std::min(size * count, body.size() - t.body_offset);
  std::memcpy(out, body.data() + t.body_offset, n);
  t.body_offset += n;
  return n;
}

int on_seek(void* user, curl_off_t offset, int whence) {
  Transfer& t = transfer_of(user);
  if (t.paid || t.cancelled || whence != SEEK_SET) return CURL_SEEKFUNC_FAIL;
  if (t.request->parts != nullptr) return CURL_SEEKFUNC_FAIL;  // files: only another attempt may
  if (offset < 0 || static_cast<std::size_t>(offset) > t.request->body.size()) {
    return CURL_SEEKFUNC_FAIL;
  }
  t.body_offset = static_cast<std::size_t>(offset);
  return CURL_SEEKFUNC_OK;
}

std::size_t given_up(Transfer& t) {
  t.give_up();
  return CURL_WRITEFUNC_ERROR;
}

std::size_t on_write(char* data, std::size_t size, std::size_t count, void* user) {
  Transfer& t = transfer_of(user);
  const std::size_t n = size * count;
  if (!t.cancelled && !t.head_given && !t.pause_wanted) {
    if (t.watched == Watch::kFrames) t.watch(Watch::kLines);
    if (!t.give_head()) return given_up(t);
  }
  if (t.cancelled) return given_up(t);
  if (t.pause_wanted) return t.pause_here();  // on_head may have asked for it
  const std::size_t taken = t.take_body({data, n});
  return taken == CURL_WRITEFUNC_ERROR ? given_up(t) : taken;
}

// Only for watch_sending: the library comes here whenever it has worked on the transfer.
int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t sent) {
  Transfer& t = transfer_of(user);
  if (sent == t.taken_bytes || t.cancelled) return 0;
  t.taken_bytes = sent;
  t.taken_ns = clock_ns();
  return 0;
}

// Only for head_at_once: the empty line ends a head. Its lines are signs of life, too.
std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  Transfer& t = transfer_of(user);
  const std::size_t n = size * count;
  if (t.cancelled) return given_up(t);
  if (t.head_given) return n;
  t.taken_ns = clock_ns();
  if (n > 2 || (*data != '\r' && *data != '\n')) return n;
  long status = 0;
  curl_easy_getinfo(t.easy, CURLINFO_RESPONSE_CODE, &status);
  return status < 200 || t.give_head() ? n : given_up(t);
}

int on_library_text(CURL*, curl_infotype type, char* data, std::size_t size, void* user) {
  Transfer& t = transfer_of(user);
  if (type != CURLINFO_TEXT || t.cancelled) return 0;
  const std::int64_t told = t.stream_id;
  read_library_line(t, {data, size});
  if (told == 0 && t.stream_id != 0) {
    curl_off_t connection = 0;
    curl_easy_getinfo(t.easy, CURLINFO_CONN_ID, &connection);
    t.connection_id = connection;
    if (t.watched == Watch::kLines) {  // the lines that follow repeat the request's headers
      curl_easy_setopt(t.easy, CURLOPT_VERBOSE, 0L);
      t.poller.muted.push_back(t.id);
    }
  }
  return 0;
}

int on_prerequest(void* user, char*, char*, int, int) {
  Transfer& t = transfer_of(user);
  if (t.cancelled) return CURL_PREREQFUNC_ABORT;
  if (t.request_started && t.paid) {
    t.resend_stopped = true;
    return CURL_PREREQFUNC_ABORT;
  }
  t.request_started = true;
  t.taken_ns = clock_ns();
  // The sockets that lost the race of addresses are closed by now.
  for (int i = 0; i < t.opened_count; ++i) {
    Poller::Entry* entry = t.poller.entry(t.opened_fds[i]);
    if (entry == nullptr || entry->opener != &t) continue;
    entry->opener = nullptr;
    entry->state = Poller::Entry::State::kConnected;
    t.origin.socket_connected();
    if (t.origin.protocol() == Origin::Protocol::kHttp1) continue;
    if (t.server_streams > 0) {
      settings_read(*entry, t.server_streams);
      continue;
    }
    entry->settings_told = t.told_h2;
    t.poller.wait_for_settings(t.opened_fds[i], clock_ns() + (t.told_h2 ? kSettingsNs : kSettleNs));
  }
  t.origin.connected(t);
  return CURL_PREREQFUNC_OK;
}

curl_socket_t on_open_socket(void* user, curlsocktype, curl_sockaddr* address) {
  Transfer& t = transfer_of(user);
  const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                          address->protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
  if (t.poller.entry(fd) == nullptr) {
    ::close(fd);
    return CURL_SOCKET_BAD;
  }
  Poller::Entry& entry = t.poller.opened(fd);
  entry.origin = &t.origin;
  entry.shard_index = static_cast<std::int16_t>(t.shard_index);
  entry.opener = &t;
  // More addresses than fit are still counted as sockets, only not as ready connections.
  if (t.opened_count < Transfer::kOpenedMax) t.opened_fds[t.opened_count++] = fd;
  t.origin.socket_opened(t, t.shard_index);
  if (t.origin.protocol() != Origin::Protocol::kHttp1) t.watch(Watch::kFrames);
  return fd;
}

// `user` is the poller: a connection outlives the transfer that opened it.
int on_close_socket(void* user, curl_socket_t fd) {
  auto& poller = *static_cast<Poller*>(user);
  if (const Poller::Entry* entry = poller.entry(fd); entry != nullptr && entry->ours) {
    entry->origin->socket_closed(entry->shard_index, *entry);
  }
  poller.closing(fd);
  return ::close(fd);
}

}  // namespace

void set_callbacks(Transfer& transfer) {
  curl_easy_setopt(transfer.easy, CURLOPT_READFUNCTION, on_read);
  curl_easy_setopt(transfer.easy, CURLOPT_READDATA, &transfer);
  curl_easy_setopt(transfer.easy, CURLOPT_SEEKFUNCTION, on_seek);
  curl_easy_setopt(transfer.easy, CURLOPT_SEEKDATA, &transfer);
  curl_easy_setopt(transfer.easy, CURLOPT_WRITEFUNCTION, on_write);
  curl_easy_setopt(transfer.easy, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(transfer.easy, CURLOPT_PREREQFUNCTION, on_prerequest);
  curl_easy_setopt(transfer.easy, CURLOPT_PREREQDATA, &transfer);
  curl_easy_setopt(transfer.easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
  curl_easy_setopt(transfer.easy, CURLOPT_OPENSOCKETDATA, &transfer);
  curl_easy_setopt(transfer.easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
  curl_easy_setopt(transfer.easy, CURLOPT_CLOSESOCKETDATA, &transfer.poller);
  curl_easy_setopt(transfer.easy, CURLOPT_DEBUGFUNCTION, on_library_text);
  curl_easy_setopt(transfer.easy, CURLOPT_DEBUGDATA, &transfer);
  curl_easy_setopt(transfer.easy, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(transfer.easy, CURLOPT_XFERINFODATA, &transfer);
}

void call_back_at_head(Transfer& transfer, bool at_once) {
  curl_easy_setopt(transfer.easy, CURLOPT_HEADERDATA, at_once ? &transfer : nullptr);
  curl_easy_setopt(transfer.easy, CURLOPT_HEADERFUNCTION,
                   at_once ? on_header : static_cast<curl_write_callback>(nullptr));
}

}  // namespace sluiceway::http
