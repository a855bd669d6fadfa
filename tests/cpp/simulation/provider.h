// The provider of a simulation: it decides what becomes of each attempt, and keeps the true bill.
//
// Model. What is executed and billed here is the truth that the books are compared with; nothing of
// it is read from them. An attempt's fate is drawn when it starts: whether its bytes leave, whether
// and when it is executed (perhaps after the client has gone), and what the client gets to see.
// Billing follows execution, so a call that was executed and whose answer got lost costs money that
// the client never heard of. Rules of honesty, which a real provider documents: what is answered
// with 429, 503 with an own body, 4xx or a connection that never stood was not executed; what is
// executed is billed at no more than the request's own maximum, unless the seed has overruns.
//
// Prices: $1 a million input tokens, $2 a million output tokens. Amounts: nano-dollars. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/money.h"
#include "base/random.h"
#include "http/transport.h"

namespace sluiceway::simulation {

constexpr Nanousd kInputRate = 1'000, kOutputRate = 2'000;  // a token

// What the client's transport hears, in this order.
struct Delivery {
  enum Kind : std::uint8_t { kHead, kBody, kEnd } kind = kEnd;
  std::int64_t after_ns = 0;  // since the start
  int status = 0;
  std::vector<http::Header> headers;
  std::string data;
  http::TransferError error = http::TransferError::kNone;
};

struct Fate {
  std::string name;
  std::int64_t sent_after_ns = -1;      // -1: no byte ever leaves
  std::int64_t executed_after_ns = -1;  // -1: never executed
  Nanousd bill = 0;
  std::vector<Delivery> deliveries;  // none: the server hangs
};

// What a call asks for, as far as the provider cares.
struct Order {
  Nanousd ceiling = 0;  // the most that the request's own maximum can cost
  Nanousd unit = 1'000;
  bool stream = false;
};

struct FaultMix {
  int faulty_percent = 30;  // of attempts
  bool overruns = false;
  std::int64_t latency_max_ns = 4'000'000'000;
};

class Provider {
 public:
  Provider(std::uint64_t seed, FaultMix mix) : random_(seed), mix_(mix) {}

  // A new attempt `call id/number` for that order.
  Fate decide(const Order& order);
  void heal() { mix_ = {.faulty_percent = 0, .latency_max_ns = 100'000'000}; }

  void executed(const std::string& attempt, Nanousd bill);

  struct Truth {
    int executions = 0;
    Nanousd bill = 0;
    int pending = 0;  // attempts that may still be executed
  };
  // By call id in text.
  Truth& of_call(const std::string& call_id) { return calls_[call_id]; }
  const std::map<std::string, Truth>& calls() const { return calls_; }
  // Attempts that were executed more than once; must stay empty.
  const std::vector<std::string>& twice() const { return twice_; }
  std::uint64_t executions() const { return executions_; }

 private:
  Fate good(const Order& order, std::int64_t latency_ns);
  Fate bad(const Order& order, std::int64_t latency_ns);
  bool refuse(Fate& fate, std::int64_t kind, std::int64_t latency_ns);
  Nanousd draw_bill(const Order& order);
  std::string usage_of(Nanousd bill);
  void answer(Fate& fate, std::int64_t at_ns, int status, std::string body,
              std::vector<http::Header> headers = {});
  void stream(Fate& fate, std::int64_t at_ns, bool whole);
  bool one_in(int n) { return random_.uniform(n - 1) == 0; }

  SeededRandom random_;
  FaultMix mix_;
  std::map<std::string, Truth> calls_;
  std::map<std::string, int> attempts_;
  std::vector<std::string> twice_;
  std::uint64_t executions_ = 0;
};

}  // namespace sluiceway::simulation
