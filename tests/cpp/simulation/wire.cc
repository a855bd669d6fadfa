// Requests out, answers back: see wire.h.
#include "simulation/wire.h"

#include "base/text.h"

namespace sluiceway::simulation {
namespace {

class Headers final : public http::HeaderSource {
 public:
  explicit Headers(const std::vector<http::Header>& headers) : headers_(headers) {}
  std::optional<std::string_view> find(std::string_view name) const override {
    for (const http::Header& header : headers_) {
      if (equals_ignore_case(header.name, name)) return std::string_view(header.value);
    }
    return std::nullopt;
  }
  void for_each(
      const std::function<void(std::string_view, std::string_view)>& visit) const override {
    for (const http::Header& header : headers_) visit(header.name, header.value);
  }

 private:
  const std::vector<http::Header>& headers_;
};

std::string attempt_name(const http::Request& request) {
  for (const http::Header& header : request.extra_headers) {
    if (header.name == "sluiceway-attempt") return header.value;
  }
  return "";
}

}  // namespace

void SimWire::start(std::uint64_t id, http::Request* request, http::Sink* sink) {
  auto transfer = std::make_shared<Transfer>();
  transfer->id = id;
  transfer->attempt = attempt_name(*request);
  transfer->sink = sink;
  transfer->started_ns = clock_.true_ns();
  transfer->sequence = next_sequence_++;
  const Order order = hooks_.begun(transfer->attempt);
  transfer->fate = provider_.decide(order);
  transfers_[id] = transfer;
  const std::string call = transfer->attempt.substr(0, transfer->attempt.rfind('/'));
  const Fate& fate = transfer->fate;
  if (fate.sent_after_ns >= 0) {
    agenda_.at(transfer->started_ns + fate.sent_after_ns, [transfer] {
      if (!transfer->given_up) transfer->sent = true;
    });
  }
  if (fate.executed_after_ns >= 0) {
    ++provider_.of_call(call).pending;
    // The provider outlives this transport.
    agenda_.at(transfer->started_ns + fate.executed_after_ns,
               [&provider = provider_, transfer, call] {
                 if (transfer->given_up) return;
                 --provider.of_call(call).pending;
                 provider.executed(transfer->attempt, transfer->fate.bill);
               });
  }
  schedule(transfer);
}

void SimWire::schedule(const TransferPtr& transfer) {
  if (transfer->next >= transfer->fate.deliveries.size() || transfer->sink == nullptr) return;
  const std::int64_t due =
      transfer->started_ns + transfer->fate.deliveries[transfer->next].after_ns;
  due_[{due, transfer->sequence}] = transfer;
  agenda_.at(due, hooks_.poke);
}

void SimWire::unschedule(const Transfer& transfer) {
  if (transfer.next >= transfer.fate.deliveries.size()) return;
  due_.erase(
      {transfer.started_ns + transfer.fate.deliveries[transfer.next].after_ns, transfer.sequence});
}

// The client listens no more. What has not left never will; the rest goes on at the provider.
void SimWire::give_up(Transfer& transfer) {
  transfer.sink = nullptr;
  if (transfer.sent || transfer.given_up) return;
  transfer.given_up = true;
  hooks_.unsent(transfer.attempt);
  if (transfer.fate.executed_after_ns < 0) return;
  --provider_.of_call(transfer.attempt.substr(0, transfer.attempt.rfind('/'))).pending;
}

bool SimWire::cancel(std::uint64_t id) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return false;
  const TransferPtr transfer = found->second;
  transfers_.erase(found);
  unschedule(*transfer);
  give_up(*transfer);
  hooks_.ended(transfer->attempt);
  return transfer->sent;
}

void SimWire::pause(std::uint64_t id) {
  const auto found = transfers_.find(id);
  if (found != transfers_.end()) found->second->paused = true;
}

void SimWire::resume(std::uint64_t id) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end() || !found->second->paused) return;
  found->second->paused = false;
  schedule(found->second);
}

void SimWire::poll(std::int64_t timeout_ns) {
  wake_at_ns_ = timeout_ns < 0 ? INT64_MAX : saturating_add(clock_.monotonic_ns(), timeout_ns);
  while (something_due()) {
    const TransferPtr transfer = due_.begin()->second;
    due_.erase(due_.begin());
    deliver(transfer);
  }
}

void SimWire::deliver(const TransferPtr& transfer) {
  if (transfer->sink == nullptr || transfer->paused) return;
  ++heard_;
  const Delivery step = transfer->fate.deliveries[transfer->next++];
  if (step.kind == Delivery::kHead) {
    transfer->status = step.status;
    transfer->first_byte_ns = step.after_ns;
    transfer->sink->on_head(step.status, Headers(step.headers));
  } else if (step.kind == Delivery::kBody) {
    transfer->response_bytes += step.data.size();
    transfer->sink->on_body(step.data);
  } else {
    transfers_.erase(transfer->id);
    http::Sink* sink = transfer->sink;
    give_up(*transfer);
    hooks_.ended(transfer->attempt);
    http::TransferEnd end;
    end.error = step.error;
    end.complete = step.error == http::TransferError::kNone;
    end.request_started = transfer->sent;
    end.response_started = transfer->status != 0;
    end.status = transfer->status;
    end.first_byte_ns = transfer->first_byte_ns;
    end.total_ns = clock_.true_ns() - transfer->started_ns;
    end.response_bytes = transfer->response_bytes;
    if (step.error != http::TransferError::kNone) end.detail = transfer_error_name(step.error);
    return sink->on_end(end);
  }
  schedule(transfer);
}

void SimWire::die() {
  for (const auto& [id, transfer] : transfers_) {
    give_up(*transfer);
  }
  transfers_.clear();
  due_.clear();
}

}  // namespace sluiceway::simulation
