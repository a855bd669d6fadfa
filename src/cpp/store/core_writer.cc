// The writer's turns: see core.h.
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include "store/core.h"
#include "store/faults.h"

namespace sluiceway::store {
namespace {

constexpr std::int64_t kRetryNs = 50 * kNsPerMs;
constexpr std::int64_t kPostIntervalNs = 60 * kNsPerSecond;

}  // namespace

// Called with queue_mutex_ held, like the two below.
bool LedgerCore::handed_in() const {
  return leftover_ || finishes_left_ || !in_commands_.empty() || !in_reserves_.empty() ||
         !in_refused_.empty() || !in_finishes_.empty();
}

bool LedgerCore::work_waiting() const {
  if (stop_ || leftover_ || !in_commands_.empty() || !in_reserves_.empty() ||
      !in_refused_.empty()) {
    return true;
  }
  if (in_finishes_.empty() && !finishes_left_) return false;
  if (real_ns() < retry_ns_) return false;
  return flush_waiters_ > 0 || in_finishes_.size() >= options_.batch_max / 2;
}

std::int64_t LedgerCore::wake_at_ns() const {
  if (in_finishes_.empty() && !finishes_left_) return next_look_ns_;
  return std::min(next_look_ns_, std::max(finish_since_ns_ + options_.write_behind_ns, retry_ns_));
}

bool LedgerCore::wait_for_work() {
  std::unique_lock<std::mutex> lock(queue_mutex_);
  while (!work_waiting()) {
    const std::int64_t left = wake_at_ns() - real_ns();
    if (left <= 0) break;
    work_.wait_for(lock, std::chrono::nanoseconds(left));
  }
  return !stop_;
}

void LedgerCore::loop() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are for the interpreter's threads
  pthread_setname_np(pthread_self(), "sluiceway-books");
  while (wait_for_work()) {
    // Callers who share this core and are about to hand something in go first: their calls come
    // into the same commit. On a free core this is one system call.
    ::sched_yield();
    turn();
  }
}

bool LedgerCore::pump() {
  // An engine with its books in memory asks several times a turn.
  if (options_.durability == Durability::kMemory || options_.path == ":memory:") {
    const std::lock_guard<std::mutex> lock(queue_mutex_);
    if (!handed_in() && mono() < look_again_ns_) return false;
  }
  if (in_child()) return false;
  return next_turn();
}

// What another thread has in hand is done when this returns, too.
bool LedgerCore::next_turn() {
  const std::unique_lock<std::mutex> turn_lock = own_turn();
  return turn();
}

// Without a writer thread, whoever calls is the writer, one at a time.
std::unique_lock<std::mutex> LedgerCore::own_turn() {
  return options_.threaded ? std::unique_lock<std::mutex>()
                           : std::unique_lock<std::mutex>(turn_mutex_);
}

// Moves what is pending over to the writer. True: something other than commands is there.
bool LedgerCore::take(std::vector<Command*>& commands) {
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  commands.swap(in_commands_);
  refused_taken_.swap(in_refused_);
  if (reserves_at_ == reserves_.size()) {
    reserves_.clear();
    reserves_at_ = 0;
    reserves_.swap(in_reserves_);
  } else {
    std::move(in_reserves_.begin(), in_reserves_.end(), std::back_inserter(reserves_));
    in_reserves_.clear();
  }
  if (finishes_at_ == finishes_.size()) {
    finishes_.clear();
    finishes_at_ = 0;
    finishes_.swap(in_finishes_);
  } else {
    std::move(in_finishes_.begin(), in_finishes_.end(), std::back_inserter(finishes_));
    in_finishes_.clear();
  }
  return reserves_at_ < reserves_.size() || finishes_at_ < finishes_.size();
}

bool LedgerCore::turn() {
  std::vector<Command*> commands;
  bool committed = false;
  {
    const std::lock_guard<std::mutex> lock(commit_mutex_);
    const bool work = take(commands);
    for (Command* command : commands) command->status = command->run(batch_);
    answer_refused();
    if (work) committed = write_batch(true);
  }
  fault_point("batch.before_verdicts");
  deliver();
  fault_point("batch.after_verdicts");
  {  // only now: copying the log takes milliseconds, which no answer waits for
    const std::lock_guard<std::mutex> lock(commit_mutex_);
    housekeeping(reserves_at_ == reserves_.size() && finishes_at_ == finishes_.size());
  }
  bool wake = !commands.empty();
  {
    const std::lock_guard<std::mutex> lock(queue_mutex_);
    for (Command* command : commands) command->done = true;
    wake = wake || flush_waiters_ > 0;
  }
  if (wake) done_.notify_all();
  return committed;
}

// One transaction. False: it failed; the finishes stay.
bool LedgerCore::write_batch(bool with_finishes) {
  const std::size_t reserves = std::min(options_.batch_max, reserves_.size() - reserves_at_);
  const std::size_t finishes =
      with_finishes ? std::min(options_.batch_max, finishes_.size() - finishes_at_) : 0;
  if (reserves == 0 && finishes == 0) return false;
  chunk_.clear();
  const auto first = reserves_.begin() + static_cast<std::ptrdiff_t>(reserves_at_);
  std::move(first, first + static_cast<std::ptrdiff_t>(reserves), std::back_inserter(chunk_));
  reserves_at_ += reserves;
  deferred_.clear();
  Status status =
      batch_.run({finishes_.data() + finishes_at_, finishes}, chunk_, answers_, deferred_);
  if (status.ok()) finishes_at_ += finishes;
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  reserves_waiting_ -= reserves - deferred_.size();
  if (status.ok()) finishes_done_ += finishes;
  if (!deferred_.empty()) {
    reserves_.insert(reserves_.begin() + static_cast<std::ptrdiff_t>(reserves_at_),
                     std::make_move_iterator(deferred_.begin()),
                     std::make_move_iterator(deferred_.end()));
  }
  leftover_ = reserves_at_ < reserves_.size() ||
              (status.ok() && finishes_.size() - finishes_at_ >= options_.batch_max / 2);
  finishes_left_ = finishes_at_ < finishes_.size();
  retry_ns_ = status.ok() ? 0 : real_ns() + kRetryNs;
  if (status.ok() && finishes_left_) finish_since_ns_ = 0;
  if (status.ok() && !finishes_left_ && !in_finishes_.empty()) finish_since_ns_ = real_ns();
  return status.ok();
}

void LedgerCore::answer_refused() {
  for (const Refused& refused : refused_taken_) {
    Answer& answer = answers_.emplace_back();
    answer.client = refused.client;
    answer.verdict.token = refused.token;
    answer.verdict.amount = refused.amount;
    answer.verdict.error = absl::ResourceExhaustedError("the ledger's queue is full");
    ++stats_.unavailable;
  }
  refused_taken_.clear();
}

// Before an engine leaves: everything that was handed in, as far as the disk takes it.
void LedgerCore::drain_finishes() {
  {
    const std::lock_guard<std::mutex> lock(queue_mutex_);
    std::move(in_finishes_.begin(), in_finishes_.end(), std::back_inserter(finishes_));
    in_finishes_.clear();
  }
  while (finishes_at_ < finishes_.size() && write_batch(true)) {
  }
}

// Answers what the engine still has in the queue: it is not going to send it.
void LedgerCore::drop_client(Client* client) {
  std::uint64_t dropped = 0;
  const auto drop = [&](std::vector<PendingReserve>& list, std::size_t from) {
    for (std::size_t i = from; i < list.size(); ++i) {
      if (list[i].client != client) continue;
      Answer& answer = answers_.emplace_back();
      answer.client = client;
      answer.verdict.token = list[i].reservation.token;
      answer.verdict.amount = list[i].reservation.amount;
      answer.verdict.error = absl::CancelledError("the ledger was closed");
      ++dropped;
    }
    const auto begin = list.begin() + static_cast<std::ptrdiff_t>(from);
    list.erase(std::remove_if(begin, list.end(),
                              [&](const PendingReserve& p) { return p.client == client; }),
               list.end());
  };
  drop(reserves_, reserves_at_);
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  drop(in_reserves_, 0);
  reserves_waiting_ -= dropped;
  for (std::size_t i = 0; i < in_refused_.size(); ++i) {
    if (in_refused_[i].client == client) refused_taken_.push_back(in_refused_[i]);
  }
  std::erase_if(in_refused_, [&](const Refused& r) { return r.client == client; });
}

// Dead owners, what a failed transaction left, money long in doubt, and the log.
void LedgerCore::housekeeping(bool idle) {
  const std::int64_t now = mono();
  if (scanned_ns_ == 0) scanned_ns_ = posted_ns_ = now;
  if (now - scanned_ns_ >= options_.owner_scan_interval_ns) {
    scanned_ns_ = now;
    StatusOr<Backend::Owners> owners = backend_->scan_owners();
    if (owners.ok()) {
      live_.store(std::max(owners->live, 1));
      if (!owners->dead.empty()) (void)batch_.recover(owners->dead);
    }
    (void)batch_.reconcile_lost();  // where it fails, it is still due
  }
  if (now - posted_ns_ >= kPostIntervalNs) {
    posted_ns_ = now;
    (void)batch_.post_in_doubt(options_.post_in_doubt_after_ns);
  }
  StatusOr<bool> copied = backend_->checkpoint(idle, now);
  if (copied.ok() && *copied) ++stats_.checkpoints;
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  next_look_ns_ = real_ns() + options_.owner_scan_interval_ns;
  look_again_ns_ = scanned_ns_ + options_.owner_scan_interval_ns;
  stats_shown_ = stats_;
}

void LedgerCore::deliver() {
  if (answers_.empty()) return;
  std::vector<Answer> answers;
  answers.swap(answers_);
  std::vector<Client*> clients;
  for (Answer& answer : answers) {
    auto* client = static_cast<Client*>(answer.client);
    if (client->ready.empty()) clients.push_back(client);
    client->ready.push_back(std::move(answer.verdict));
  }
  for (Client* client : clients) {
    std::vector<Verdict> ready;
    ready.swap(client->ready);
    client->sink->on_verdicts(ready);
    ready.clear();
    if (client->ready.empty()) client->ready.swap(ready);  // keeps its memory
  }
  const std::lock_guard<std::mutex> lock(queue_mutex_);
  reserves_done_ += answers.size();
  answers.clear();
  if (answers_.empty()) answers_.swap(answers);
}

}  // namespace sluiceway::store
