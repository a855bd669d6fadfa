// Limit groups under seeded random schedules, checked by brute force against a log.
//
// The bound: for every pair of log entries, what was sent from the one to the other is at most
// max(largest, capacity + rate * time), per dimension, counted at the times of sending.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/random.h"
#include "limits/limit_group.h"
#include "limits/limits_testing.h"

namespace sluiceway::limits {
namespace {

constexpr std::size_t kConcurrencyAt = static_cast<std::size_t>(Dimension::kConcurrency);
__extension__ typedef __int128 Wide;

struct Entry {
  std::int64_t at;
  Amounts units;           // what counts: what was really used of the sent, plus debits
  bool admission = false;  // a window may end here (a debit after the fact is nobody's decision)
};

// Every window that begins with an entry of positive units and ends with an admission.
void check_every_window(const std::vector<Entry>& log, const LimitGroupConfig& config) {
  for (std::size_t d = 0; d < kConcurrencyAt; ++d) {
    if (!config.buckets[d]) continue;
    const BucketConfig& bucket = *config.buckets[d];
    for (std::size_t first = 0; first < log.size(); ++first) {
      if (log[first].units[d] <= 0) continue;
      std::int64_t sum = 0;
      for (std::size_t last = first; last < log.size(); ++last) {
        sum += log[last].units[d];
        if (last == first || !log[last].admission || log[last].units[d] <= 0) continue;
        const Wide excess = static_cast<Wide>(sum - bucket.capacity) * bucket.rate_period_ns;
        const Wide refill = static_cast<Wide>(log[last].at - log[first].at) * bucket.rate_units;
        ASSERT_LE(static_cast<std::int64_t>(excess / kMs), static_cast<std::int64_t>(refill / kMs))
            << dimension_name(static_cast<Dimension>(d)) << " from " << log[first].at << " to "
            << log[last].at << ": " << sum;
      }
    }
  }
}

// A made-up service on one limit group: submits, pumps, sends late, gives back, cancels, settles.
class Schedule {
 public:
  Schedule(std::uint64_t seed, bool corrections)
      : random_(seed), corrections_(corrections), config_(make_config()), group_(config_) {}

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      now_ += random_.uniform(random_.uniform(9) == 0 ? kSecond : 40 * kMs);
      send_what_is_due();
      const std::int64_t dice = random_.uniform(99);
      if (dice < 50) {
        submit();
      } else if (dice < 75) {
        pump();
      } else if (dice < 80) {
        cancel();
      } else {
        settle();
      }
      ASSERT_LE(group_.snapshot(now_).in_flight, config_.concurrency);
    }
    finish();
  }

  const std::vector<Entry>& log() const { return log_; }
  const LimitGroupConfig& config() const { return config_; }
  std::size_t granted() const { return granted_; }

 private:
  struct Permit {
    Ticket ticket;
    std::int64_t send_at = 0;
  };

  LimitGroupConfig make_config() {
    LimitGroupConfig config;
    config.buckets[0] = BucketConfig{5 + random_.uniform(10), 7, kSecond};
    config.buckets[1] = BucketConfig{1000, 900 + random_.uniform(3000), kSecond};
    config.limit_per_window[1] = 2500;
    config.buckets[3] = strict_window(60'000, 10 * kSecond, 20'000);
    config.limit_per_window[3] = 60'000;
    config.concurrency = 3 + random_.uniform(20);
    config.queue_max = 50;
    return config;
  }

  Ticket make_ticket() {
    Ticket ticket{.id = next_id_++};
    ticket.tenant = static_cast<std::uint32_t>(random_.uniform(3));
    ticket.priority = static_cast<std::uint8_t>(random_.uniform(7) == 0);
    ticket.amounts[0] = 1;
    ticket.amounts[1] = random_.uniform(random_.uniform(9) == 0 ? 2500 : 400);
    ticket.amounts[3] = random_.uniform(random_.uniform(19) == 0 ? 60'000 : 2000);
    ticket.amounts[kConcurrencyAt] = 1;
    if (random_.uniform(2) == 0) ticket.deadline_ns = now_ + random_.uniform(5 * kSecond);
    return ticket;
  }

  void submit() {
    const Ticket ticket = make_ticket();
    switch (group_.submit(ticket, now_).grant) {
      case Grant::kGranted:
        return hold(ticket);
      case Grant::kQueued:
        queued_[ticket.id] = ticket;
        lanes_[{ticket.tenant, ticket.priority}].push_back(ticket.id);
        return;
      default:
        return;
    }
  }

  void pump() {
    std::vector<std::uint64_t> granted, expired;
    next_pump_ = group_.pump(now_, &granted, &expired);
    ASSERT_GT(next_pump_, now_);
    for (const std::uint64_t id : expired) {
      ASSERT_LE(queued_.at(id).deadline_ns, now_);
      forget(id);
    }
    for (const std::uint64_t id : granted) {
      const Ticket ticket = queued_.at(id);
      ASSERT_GT(ticket.deadline_ns, now_);
      const auto& lane = lanes_[{ticket.tenant, ticket.priority}];
      ASSERT_EQ(lane.front(), id) << "first in, first out, per tenant and priority";
      forget(id);
      hold(ticket);
    }
    ASSERT_EQ(group_.snapshot(now_).waiting, queued_.size());
  }

  void hold(const Ticket& ticket) {
    ++granted_;
    // Mostly at once; sometimes seconds late, as when the ledger's disk stalls.
    // Not where there are corrections: a debit between grant and sending is nobody's decision.
    const bool at_once = corrections_ || random_.uniform(9) < 6;
    const std::int64_t late = at_once ? 0 : random_.uniform(3 * kSecond);
    held_.push_back({ticket, now_ + late});
    if (late == 0) send_what_is_due();
  }

  void send_what_is_due() {
    for (std::size_t i = 0; i < held_.size();) {
      if (held_[i].send_at > now_) {
        ++i;
        continue;
      }
      const Ticket ticket = held_[i].ticket;
      held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
      if (random_.uniform(9) == 0) {
        group_.give_back(ticket.amounts, now_);
        continue;
      }
      group_.sent(ticket.amounts, now_);
      log_.push_back({now_, ticket.amounts, true});
      sent_.push_back({ticket, now_, log_.size() - 1});
    }
  }

  void cancel() {
    if (queued_.empty()) return;
    const std::uint64_t id =
        std::next(queued_.begin(), random_.uniform(static_cast<std::int64_t>(queued_.size()) - 1))
            ->first;
    ASSERT_TRUE(group_.cancel(id, now_));
    forget(id);
  }

  void settle() {
    if (sent_.empty()) return;
    const auto pick =
        static_cast<std::size_t>(random_.uniform(static_cast<std::int64_t>(sent_.size()) - 1));
    const auto [ticket, sent_ns, entry] = sent_[pick];
    sent_.erase(sent_.begin() + static_cast<std::ptrdiff_t>(pick));
    Amounts actual = ticket.amounts, more{};
    if (corrections_ && random_.uniform(4) == 0) {
      actual = {};  // it turned out unsent
    } else if (corrections_) {
      actual[1] = random_.uniform(2 * ticket.amounts[1]);
      actual[3] = random_.uniform(2 * ticket.amounts[3]);
    }
    group_.settle(ticket.amounts, actual, sent_ns, now_);
    // What was never used was never sent; what was used beyond the estimate comes later.
    for (std::size_t d = 0; d < kConcurrencyAt; ++d) {
      log_[entry].units[d] = std::min(actual[d], ticket.amounts[d]);
      more[d] = std::max<std::int64_t>(0, actual[d] - ticket.amounts[d]);
    }
    log_.push_back({now_, more, false});
  }

  void forget(std::uint64_t id) {
    const Ticket& ticket = queued_.at(id);
    auto& lane = lanes_[{ticket.tenant, ticket.priority}];
    lane.erase(std::find(lane.begin(), lane.end(), id));
    queued_.erase(id);
  }

  // Nobody starves: with no new calls, everything that waits is granted or expires, each time at
  // the moment pump() named.
  void finish() {
    for (int i = 0; i < 2000 && !queued_.empty(); ++i) {
      pump();
      for (Permit& permit : held_) permit.send_at = now_;
      send_what_is_due();
      while (!sent_.empty()) settle();
      pump();
      if (next_pump_ != kNever) now_ = next_pump_;
    }
    ASSERT_TRUE(queued_.empty());
    for (Permit& permit : held_) permit.send_at = now_;
    send_what_is_due();
    while (!sent_.empty()) settle();
    const auto snapshot = group_.snapshot(now_ + 3600 * kSecond);
    ASSERT_EQ(snapshot.in_flight, 0);
    for (std::size_t d = 0; d < kDimensions; ++d) {
      ASSERT_EQ(snapshot.dimensions[d].in_hand, 0);
      ASSERT_EQ(snapshot.dimensions[d].available, snapshot.dimensions[d].capacity) << d;
    }
  }

  SeededRandom random_;
  const bool corrections_;
  const LimitGroupConfig config_;
  LimitGroup group_;
  std::int64_t now_ = kSecond, next_pump_ = 0;
  std::uint64_t next_id_ = 1;
  std::size_t granted_ = 0;
  std::map<std::uint64_t, Ticket> queued_;
  std::map<std::pair<std::uint32_t, std::uint8_t>, std::vector<std::uint64_t>> lanes_;
  std::vector<Permit> held_;
  struct Sent {
    Ticket ticket;
    std::int64_t at_ns = 0;
    std::size_t entry = 0;  // of the log
  };
  std::vector<Sent> sent_;
  std::vector<Entry> log_;
};

TEST(LimitGroupProperty, EveryWindowKeepsItsBoundAtTheTimesOfSending) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    Schedule schedule(seed, /*corrections=*/false);
    ASSERT_NO_FATAL_FAILURE(schedule.run(1200));
    ASSERT_GT(schedule.granted(), 50U);
    ASSERT_NO_FATAL_FAILURE(check_every_window(schedule.log(), schedule.config()));
  }
}

TEST(LimitGroupProperty, EveryWindowKeepsItsBoundWithCorrections) {
  for (std::uint64_t seed = 1001; seed <= 1060; ++seed) {
    SCOPED_TRACE(seed);
    Schedule schedule(seed, /*corrections=*/true);
    ASSERT_NO_FATAL_FAILURE(schedule.run(1200));
    ASSERT_GT(schedule.granted(), 50U);
    ASSERT_NO_FATAL_FAILURE(check_every_window(schedule.log(), schedule.config()));
  }
}

// A provider that counts fixed or sliding minutes never sees more than its limit, whatever comes.
TEST(LimitGroupProperty, NoMinuteSeesMoreThanTheLimit) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    LimitGroupConfig config;
    config.set_limit(Dimension::kRequests, 100, 60 * kSecond);
    config.set_limit(Dimension::kTokens, 10'000, 60 * kSecond);
    LimitGroup group(config);
    std::vector<Entry> log;
    std::int64_t now = 0;
    while (log.size() < 500) {
      Amounts wanted{};
      wanted[0] = 1;
      wanted[3] = random.uniform(random.uniform(30) == 0 ? 10'000 : 300);
      const std::int64_t wait = group.wait_ns(wanted, now);
      ASSERT_NE(wait, kNever);
      // Greedy: takes at the very nanosecond, and now and then rests to let the bucket fill.
      now += random.uniform(40) == 0 ? wait + random.uniform(90 * kSecond) : wait;
      ASSERT_TRUE(group.try_acquire(wanted, now));
      log.push_back({now, wanted, true});
    }
    for (std::size_t first = 0; first < log.size(); ++first) {
      std::int64_t requests = 0, tokens = 0;
      for (std::size_t i = first; i < log.size() && log[i].at - log[first].at < 60 * kSecond; ++i) {
        requests += log[i].units[0];
        tokens += log[i].units[3];
      }
      ASSERT_LE(requests, 100);
      ASSERT_LE(tokens, 10'000);
    }
  }
}

// Processes that share a limit, come and go: together they keep the bound of one.
TEST(LimitGroupProperty, SharesTogetherKeepTheBoundOfOne) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    LimitGroupConfig config;
    config.buckets[0] = BucketConfig{60, 17, kSecond};
    std::vector<std::unique_ptr<LimitGroup>> engines;
    engines.push_back(std::make_unique<LimitGroup>(config));
    std::vector<Entry> log;
    std::int64_t now = kSecond;
    const auto share_out = [&] {
      const auto live = static_cast<std::int64_t>(engines.size());
      for (auto& engine : engines) engine->set_share(1, live, now);
    };
    Amounts one{};
    one[0] = 1;
    for (int step = 0; step < 3000; ++step) {
      now += random.uniform(40 * kMs);
      const std::int64_t dice = random.uniform(199);
      if (dice == 0 && engines.size() < 6) {
        engines.push_back(std::make_unique<LimitGroup>(config));
        engines.back()->drain(now);
        share_out();
      } else if (dice == 1 && engines.size() > 1) {
        engines.erase(engines.begin());
        share_out();
      } else if (dice == 2) {
        now += 5 * kSecond;
      }
      const auto pick =
          static_cast<std::size_t>(random.uniform(static_cast<std::int64_t>(engines.size()) - 1));
      if (engines[pick]->try_acquire(one, now)) log.push_back({now, one, true});
    }
    ASSERT_GT(log.size(), 500U);
    ASSERT_NO_FATAL_FAILURE(check_every_window(log, config));
  }
}

// Two groups see the same calls; one of them also sees tickets that are cancelled at once and
// permits that are given back at once. They stay alike.
TEST(LimitGroupProperty, CancelledCallsLeaveNoTrace) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    LimitGroupConfig config;
    config.buckets[0] = BucketConfig{5, 10, kSecond};
    config.buckets[1] = BucketConfig{1000, 2000, kSecond};
    LimitGroup plain(config), disturbed(config);
    std::int64_t now = kSecond;
    for (std::uint64_t id = 1; id < 600; ++id) {
      now += random.uniform(150 * kMs);
      Ticket ticket{.id = 2 * id, .tenant = static_cast<std::uint32_t>(random.uniform(2))};
      ticket.amounts[0] = 1;
      ticket.amounts[1] = random.uniform(900);
      Ticket extra = ticket;
      extra.id = 2 * id + 1;
      extra.tenant = static_cast<std::uint32_t>(random.uniform(5));
      extra.priority = static_cast<std::uint8_t>(random.uniform(2));
      extra.amounts[1] = random.uniform(900);
      const Grant grant = disturbed.submit(extra, now).grant;
      if (grant == Grant::kGranted) disturbed.give_back(extra.amounts, now);
      if (grant == Grant::kQueued) {
        ASSERT_TRUE(disturbed.cancel(extra.id, now));
      }
      const Decision a = plain.submit(ticket, now), b = disturbed.submit(ticket, now);
      ASSERT_EQ(a.grant, b.grant) << id;
      ASSERT_EQ(a.wait_ns, b.wait_ns) << id;
      if (a.grant == Grant::kGranted) {
        plain.sent(ticket.amounts, now);
        disturbed.sent(ticket.amounts, now);
      }
      std::vector<std::uint64_t> granted_a, granted_b, expired;
      ASSERT_EQ(plain.pump(now, &granted_a, &expired), disturbed.pump(now, &granted_b, &expired));
      ASSERT_EQ(granted_a, granted_b);
    }
  }
}

}  // namespace
}  // namespace sluiceway::limits
