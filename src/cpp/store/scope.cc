// Scopes: see scope.h and scope_state.h.
#include "store/scope.h"

#include <cstdlib>

#include "store/scope_state.h"

namespace sluiceway::store {

std::string scope_name(std::string_view kind, std::string_view key, std::string_view window) {
  std::string name(kind);
  if (!key.empty()) name.append(1, ':').append(key);
  if (!window.empty()) name.append(1, key.empty() ? ':' : '@').append(window);
  return name;
}

std::string amount_text(Nanousd amount, std::string_view unit) {
  const bool dollars = unit == "nanousd";
  const Nanousd parts = dollars ? 1'000'000'000 : 1'000;
  const std::size_t shortest = dollars ? 2 : 0;
  std::string fraction = std::to_string(parts + std::abs(amount % parts)).substr(1);
  while (fraction.size() > shortest && fraction.back() == '0') fraction.pop_back();
  std::string out = amount < 0 ? "-" : "";
  if (dollars) out += '$';
  out += std::to_string(std::abs(amount / parts));
  if (!fraction.empty()) out.append(1, '.').append(fraction);
  if (!dollars) out.append(1, ' ').append(unit);
  return out;
}

Scope::Scope(ScopeConfig config, std::int64_t id, TimeZone zone)
    : config_(std::move(config)),
      name_(scope_name(config_.kind, config_.key, "")),
      id_(id),
      zone_(std::move(zone)),
      state_(std::make_unique<ScopeState>()),
      limit_(config_.limit.value_or(kNanousdMax)) {}

Scope::~Scope() = default;

bool Scope::surely_exceeded(Nanousd amount, std::int64_t monotonic_ns) const {
  if (monotonic_ns >= hint_until_ns_.load(std::memory_order_acquire)) return false;
  const Nanousd most = limit();
  return most != kNanousdMax && saturating_add(settled(), amount) > most;
}

void Scope::store_hint(Nanousd limit, Nanousd settled, Nanousd held, Nanousd in_doubt, bool blocked,
                       std::int64_t until_monotonic_ns) {
  limit_.store(limit, std::memory_order_relaxed);
  settled_.store(settled, std::memory_order_relaxed);
  held_.store(held, std::memory_order_relaxed);
  in_doubt_.store(in_doubt, std::memory_order_relaxed);
  blocked_.store(blocked, std::memory_order_relaxed);
  hint_until_ns_.store(until_monotonic_ns, std::memory_order_release);
}

}  // namespace sluiceway::store
