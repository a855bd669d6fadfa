// Fates of attempts: see provider.h.
#include "simulation/provider.h"

#include <algorithm>
#include <utility>

#include "simulation/clock.h"

namespace sluiceway::simulation {
namespace {

std::string event(const std::string& json) { return "data: " + json + "\n\n"; }

}  // namespace

// Whole units, so that budgets are often filled to the last nano-dollar; now and then nothing.
Nanousd Provider::draw_bill(const Order& order) {
  if (mix_.overruns && one_in(12)) return order.ceiling + order.unit * (1 + random_.uniform(3));
  const std::int64_t units = order.ceiling / order.unit;
  return order.unit * (one_in(2) ? units : random_.uniform(units));
}

// The token counts that cost exactly the bill.
std::string Provider::usage_of(Nanousd bill) {
  const std::int64_t output = random_.uniform(bill / kOutputRate);
  const std::int64_t input = (bill - output * kOutputRate) / kInputRate;
  return R"("usage":{"prompt_tokens":)" + std::to_string(input) + R"(,"completion_tokens":)" +
         std::to_string(output) + "}";
}

void Provider::answer(Fate& fate, std::int64_t at_ns, int status, std::string body,
                      std::vector<http::Header> headers) {
  fate.deliveries.push_back({Delivery::kHead, at_ns, status, std::move(headers), "", {}});
  fate.deliveries.push_back({Delivery::kBody, at_ns, 0, {}, std::move(body), {}});
  fate.deliveries.push_back({Delivery::kEnd, at_ns, 0, {}, "", {}});
}

void Provider::stream(Fate& fate, std::int64_t at_ns, bool whole) {
  fate.deliveries.push_back({Delivery::kHead, at_ns, 200, {}, "", {}});
  const std::int64_t deltas = 1 + random_.uniform(3);
  for (std::int64_t i = 0; i < deltas; ++i) {
    at_ns += random_.uniform(200) * kMs;
    fate.deliveries.push_back({Delivery::kBody,
                               at_ns,
                               0,
                               {},
                               event(R"({"choices":[{"delta":{"content":"word "}}]})"),
                               {}});
  }
  at_ns += random_.uniform(200) * kMs;
  if (!whole) {
    fate.deliveries.push_back(
        {Delivery::kEnd, at_ns, 0, {}, "", http::TransferError::kSendOrReceive});
    return;
  }
  std::string tail = event(R"({"choices":[{"delta":{},"finish_reason":"stop"}]})");
  tail += event("{\"choices\":[]," + usage_of(fate.bill) + "}") + event("[DONE]");
  fate.deliveries.push_back({Delivery::kBody, at_ns, 0, {}, std::move(tail), {}});
  fate.deliveries.push_back({Delivery::kEnd, at_ns, 0, {}, "", {}});
}

Fate Provider::good(const Order& order, std::int64_t latency_ns) {
  Fate fate;
  fate.name = "good";
  fate.sent_after_ns = latency_ns / 4;
  fate.executed_after_ns = latency_ns / 2;
  fate.bill = draw_bill(order);
  if (order.stream) {
    stream(fate, latency_ns, true);
  } else {
    answer(fate, latency_ns, 200,
           R"({"choices":[{"message":{"content":"hello"},"finish_reason":"stop"}],)" +
               usage_of(fate.bill) + "}");
  }
  return fate;
}

// The kinds of trouble that are a plain refusal, executed and billed by nobody. False: another.
bool Provider::refuse(Fate& fate, std::int64_t kind, std::int64_t latency_ns) {
  switch (kind) {
    case 1:
      answer(fate, latency_ns, 429, R"({"error":{"type":"rate_limit","message":"slow down"}})",
             {{"retry-after", std::to_string(random_.uniform(5))}});
      return true;
    case 2:
      answer(fate, latency_ns, 503, R"({"error":{"type":"overloaded","message":"later"}})");
      return true;
    case 3:
      answer(fate, latency_ns, 400, R"({"error":{"type":"invalid","message":"no"}})");
      return true;
    case 11:
      answer(fate, latency_ns, one_in(2) ? 401 : 429,
             R"({"error":{"type":"auth","code":"insufficient_quota","message":"pay"}})");
      return true;
    default:
      return false;
  }
}

Fate Provider::bad(const Order& order, std::int64_t latency_ns) {
  Fate fate;
  fate.sent_after_ns = latency_ns / 4;
  const auto ends = [&](http::TransferError error) {
    fate.deliveries.push_back({Delivery::kEnd, latency_ns, 0, {}, "", error});
  };
  const auto executes = [&] {
    fate.executed_after_ns = latency_ns / 2;
    fate.bill = draw_bill(order);
  };
  const std::int64_t kind = random_.uniform(13);
  fate.name = "bad " + std::to_string(kind);
  if (refuse(fate, kind, latency_ns)) return fate;
  switch (kind) {
    case 0:  // never reached
      fate.sent_after_ns = -1;
      ends(http::TransferError::kConnect);
      break;
    case 4:  // the connection breaks before it was executed
      ends(http::TransferError::kSendOrReceive);
      break;
    case 5:  // and after it
      executes();
      ends(http::TransferError::kSendOrReceive);
      break;
    case 6:
      if (one_in(2)) executes();
      answer(fate, latency_ns, 500, "<html>oops</html>");
      break;
    case 7:  // half an answer
      executes();
      fate.deliveries.push_back({Delivery::kHead, latency_ns, 200, {}, "", {}});
      fate.deliveries.push_back({Delivery::kBody, latency_ns, 0, {}, R"({"choices":[{"mess)", {}});
      ends(http::TransferError::kPartialBody);
      break;
    case 8:  // whole, and not what was promised
      executes();
      answer(fate, latency_ns, 200, "not json");
      break;
    case 9:  // without usage: what it cost is not told
      executes();
      answer(fate, latency_ns, 200,
             R"({"choices":[{"message":{"content":"hello"},"finish_reason":"stop"}]})");
      break;
    case 10:  // hangs, and is executed or not, perhaps long after the client has gone
      if (one_in(2)) executes();
      if (one_in(2)) fate.executed_after_ns *= 40;
      break;
    case 12:
      if (order.stream) {
        executes();
        stream(fate, latency_ns, false);
      } else {
        answer(fate, latency_ns, 503, "upstream connect error");
      }
      break;
    default:
      executes();
      answer(fate, latency_ns, 502, "bad gateway");
      break;
  }
  if (fate.executed_after_ns < 0) fate.bill = 0;
  return fate;
}

Fate Provider::decide(const Order& order) {
  const std::int64_t latency_ns = kMs + random_.uniform(mix_.latency_max_ns);
  const bool faulty = random_.uniform(99) < mix_.faulty_percent;
  return faulty ? bad(order, latency_ns) : good(order, latency_ns);
}

void Provider::executed(const std::string& attempt, Nanousd bill) {
  ++executions_;
  if (++attempts_[attempt] > 1) twice_.push_back(attempt);
  Truth& truth = calls_[attempt.substr(0, attempt.rfind('/'))];
  ++truth.executions;
  truth.bill += bill;
}

}  // namespace sluiceway::simulation
