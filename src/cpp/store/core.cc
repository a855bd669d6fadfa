// What other threads ask of a ledger: see core.h.
#include "store/core.h"

#include <algorithm>
#include <chrono>

#include "base/process.h"
#include "store/faults.h"

namespace sluiceway::store {

LedgerCore::LedgerCore(const LedgerOptions& options, std::unique_ptr<Backend> backend)
    : options_(options),
      clock_(options.clock != nullptr ? options.clock : &SystemClock::instance()),
      backend_(std::move(backend)),
      batch_(*backend_, options.admit, *clock_, stats_),
      born_(forks_behind()) {
  next_look_ns_ = real_ns() + options_.owner_scan_interval_ns;
  if (options_.threaded) thread_ = std::thread([this] { loop(); });
}

LedgerCore::~LedgerCore() {
  {
    const std::lock_guard<std::mutex> lock(queue_mutex_);
    stop_ = true;
  }
  work_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool LedgerCore::in_child() {
  if (forked()) return true;
  if (forks_behind() == born_) return false;
  forked_.store(true, std::memory_order_release);
  return true;
}

std::int64_t LedgerCore::mono() const { return clock_->monotonic_ns(); }

StatusOr<LedgerCore::Client*> LedgerCore::attach(VerdictSink* sink) {
  auto client = std::make_unique<Client>();
  client->sink = sink;
  Status status = run([&](BatchWriter& batch) -> Status {
    StatusOr<std::int64_t> owner = batch.enter_owner();
    if (!owner.ok()) return owner.status();
    client->owner = *owner;
    StatusOr<Backend::Owners> owners = backend_->scan_owners();
    if (!owners.ok()) return owners.status();
    live_.store(std::max(owners->live, 1));
    return owners->dead.empty() ? absl::OkStatus() : batch.recover(owners->dead);
  });
  if (!status.ok()) {
    if (client->owner != 0) {
      (void)run([&](BatchWriter& batch) {
        const std::int64_t owner = client->owner;
        return batch.recover({&owner, 1});
      });
    }
    return status;
  }
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  clients_.push_back(std::move(client));
  return clients_.back().get();
}

void LedgerCore::detach(Client* client) {
  if (in_child()) return;
  {
    const std::lock_guard<std::mutex> lock(queue_mutex_);
    client->closed = true;  // reserve() takes nothing more
  }
  (void)run([&](BatchWriter& batch) -> Status {
    drop_client(client);
    drain_finishes();
    fault_point("close.before_leave");
    const std::int64_t owner = client->owner;
    Status status = batch.recover({&owner, 1});
    // A disk that refuses: the byte says that we are gone, and whoever comes next ends the holds.
    if (!status.ok()) backend_->release_owner(owner);
    fault_point("close.after_leave");
    return status;
  });
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  std::erase_if(clients_, [&](const auto& item) { return item.get() == client; });
}

std::size_t LedgerCore::clients() {
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  return clients_.size();
}

void LedgerCore::reserve(Client& client, Reservation&& reservation) {
  if (forked()) return;
  bool wake = false;
  {
    const std::lock_guard<std::mutex> lock(queue_mutex_);
    if (client.closed) return;
    wake = in_reserves_.empty() && in_refused_.empty();
    ++reserves_in_;
    if (reserves_waiting_ >= options_.queue_max) {
      in_refused_.push_back({&client, reservation.token, reservation.amount});
    } else {
      ++reserves_waiting_;
      in_reserves_.push_back({std::move(reservation), &client, client.owner});
    }
  }
  if (wake) work_.notify_one();
}

void LedgerCore::finish(Client& client, Finish&& finish) {
  if (forked()) return;
  bool wake = false;
  {
    const std::lock_guard<std::mutex> lock(queue_mutex_);
    if (in_finishes_.empty()) {
      if (!finishes_left_) finish_since_ns_ = real_ns();
      wake = true;
    }
    ++finishes_in_;
    in_finishes_.push_back({std::move(finish), client.owner});
    wake = wake || in_finishes_.size() == options_.batch_max / 2;
  }
  if (wake) work_.notify_one();
}

Status LedgerCore::run(std::function<Status(BatchWriter&)> work) {
  if (in_child()) return absl::FailedPreconditionError("the ledger belongs to the parent process");
  if (!options_.threaded || std::this_thread::get_id() == thread_.get_id()) {
    const std::unique_lock<std::mutex> turn = own_turn();
    Status status;
    {
      const std::lock_guard<std::mutex> lock(commit_mutex_);
      status = work(batch_);
      const std::lock_guard<std::mutex> shown(queue_mutex_);
      stats_shown_ = stats_;
    }
    deliver();
    return status;
  }
  Command command;
  command.run = std::move(work);
  std::unique_lock<std::mutex> lock(queue_mutex_);
  in_commands_.push_back(&command);
  work_.notify_one();
  done_.wait(lock, [&] { return command.done; });
  return std::move(command.status);
}

Status LedgerCore::flush(std::int64_t timeout_ns) {
  if (in_child()) return absl::FailedPreconditionError("the ledger belongs to the parent process");
  std::unique_lock<std::mutex> lock(queue_mutex_);
  const std::uint64_t reserves = reserves_in_, finishes = finishes_in_;
  const auto reached = [&] { return reserves_done_ >= reserves && finishes_done_ >= finishes; };
  ++flush_waiters_;
  bool done = reached();
  if (!options_.threaded) {
    while (!done) {
      const std::uint64_t before = reserves_done_ + finishes_done_;
      lock.unlock();
      next_turn();
      lock.lock();
      done = reached();
      if (!done && reserves_done_ + finishes_done_ == before) break;  // the disk refuses
    }
  } else if (!done && std::this_thread::get_id() != thread_.get_id()) {
    work_.notify_one();
    done = done_.wait_for(lock, std::chrono::nanoseconds(timeout_ns), reached);
  }
  --flush_waiters_;
  if (done) return absl::OkStatus();
  return absl::DeadlineExceededError("the ledger could not be written in time");
}

LedgerStats LedgerCore::stats() {
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  LedgerStats out = stats_shown_;
  out.queue_depth = reserves_waiting_;
  out.finish_depth = finishes_in_ - finishes_done_;
  out.syncs = backend_->syncs();
  out.lock_wait_max_ns = backend_->lock_wait_max_ns();
  return out;
}

std::int64_t LedgerCore::ledger_time_ns() {
  StatusOr<ClockRow> row = backend_->read_clock();
  LedgerTime time;
  if (row.ok()) time.load(*row);
  return time.peek(clock_->boottime_ns(), clock_->wall_ns(), machine_boot_id());
}

void LedgerCore::fork_lock() {
  commit_mutex_.lock();
  queue_mutex_.lock();
  backend_->fork_lock();
}

void LedgerCore::fork_unlock() {
  backend_->fork_unlock();
  queue_mutex_.unlock();
  commit_mutex_.unlock();
}

void LedgerCore::abandon_in_child() {
  forked_.store(true, std::memory_order_release);
  backend_->abandon_in_child();
}

}  // namespace sluiceway::store
