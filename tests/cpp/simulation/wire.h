// The transport of one simulated process: it carries requests to the provider and answers back.
//
// Model. What happens at the provider happens by the agenda, whether or not the client lives: a
// request whose first byte has left is executed if its fate says so. What the client hears is
// handed out in poll(), by true time, when its process has its turn. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "http/transport.h"
#include "simulation/agenda.h"
#include "simulation/clock.h"
#include "simulation/provider.h"

namespace sluiceway::simulation {

class SimWire final : public http::Transport {
 public:
  // What the world wants to know and to decide. `begun` is called for every attempt with its name
  // `call id/number`, gives its order back, and may throw (a crash of the process).
  struct Hooks {
    std::function<Order(const std::string& attempt)> begun;
    std::function<void(const std::string& attempt)> unsent;  // it ended, and no byte had left
    std::function<void(const std::string& attempt)> ended;   // the client has heard the end
    std::function<void()> poke;                              // give this process a turn
  };
  SimWire(SimClock& clock, Agenda& agenda, Provider& provider, Hooks hooks)
      : clock_(clock), agenda_(agenda), provider_(provider), hooks_(std::move(hooks)) {}

  void start(std::uint64_t id, http::Request* request, http::Sink* sink) override;
  bool cancel(std::uint64_t id) override;
  void pause(std::uint64_t id) override;
  void resume(std::uint64_t id) override;
  void poll(std::int64_t timeout_ns) override;
  void wake() override {}
  void close_inherited() override {}
  http::TransportStats stats() const override { return {.in_flight = transfers_.size()}; }

  // When the engine wants its next turn, on its monotonic clock.
  std::int64_t wake_at_ns() const { return wake_at_ns_; }
  bool something_due() const {
    return !due_.empty() && due_.begin()->first.first <= clock_.true_ns();
  }
  std::uint64_t heard() const { return heard_; }  // deliveries so far
  // The process is dead: no callback any more; what has left goes on at the provider.
  void die();

 private:
  struct Transfer {
    std::uint64_t id = 0;
    std::string attempt;
    http::Sink* sink = nullptr;
    Fate fate;
    std::size_t next = 0;  // delivery
    std::int64_t started_ns = 0, first_byte_ns = 0;
    std::uint64_t sequence = 0, response_bytes = 0;
    int status = 0;
    bool sent = false, given_up = false, paused = false;
  };
  using TransferPtr = std::shared_ptr<Transfer>;

  void schedule(const TransferPtr& transfer);
  void unschedule(const Transfer& transfer);
  void deliver(const TransferPtr& transfer);
  void give_up(Transfer& transfer);

  SimClock& clock_;
  Agenda& agenda_;
  Provider& provider_;
  Hooks hooks_;
  std::map<std::uint64_t, TransferPtr> transfers_;  // those that the client waits for
  std::map<std::pair<std::int64_t, std::uint64_t>, TransferPtr> due_;
  std::uint64_t next_sequence_ = 0, heard_ = 0;
  std::int64_t wake_at_ns_ = 0;
};

}  // namespace sluiceway::simulation
