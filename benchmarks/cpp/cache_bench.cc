// What a cache key and a cache hit cost without Python: canonical text, SHA-256, look-up.
//
// Every case checks its answer before it is timed. Run: cache_bench --benchmark_repetitions=5.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cache/cache_key.h"
#include "cache/canonical_json.h"
#include "cache/response_cache.h"

namespace {

namespace cache = sluiceway::cache;

void require(bool ok) {
  if (!ok) std::abort();
}

// range(0) bytes of English; range(1) of them between two escapes (0: none).
void canonical_string(benchmark::State& state) {
  std::string text;
  while (text.size() < static_cast<std::size_t>(state.range(0))) {
    text += "Write me a haiku about water. ";
    if (state.range(1) != 0 && text.size() % static_cast<std::size_t>(state.range(1)) < 30) {
      text += '\n';
    }
  }
  std::string out;
  require(cache::write_string(out, text) && out.size() >= text.size() + 2);
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(cache::write_string(out, text));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(canonical_string)->Args({64, 0})->Args({2000, 0})->Args({2000, 100})->Args({100'000, 0});

// The same without the check of UTF-8: text that comes from a Python str.
void json_string(benchmark::State& state) {
  const std::string text(static_cast<std::size_t>(state.range(0)), 'x');
  std::string out;
  cache::write_json_string(out, text);
  require(out.size() == text.size() + 2);
  for (auto _ : state) {
    out.clear();
    cache::write_json_string(out, text);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(json_string)->Arg(16)->Arg(2000)->Arg(100'000);

void canonical_string_chinese(benchmark::State& state) {
  std::string text;
  for (int i = 0; i < 300; ++i) text += "\xE6\xB0\xB4\xE9\x97\xB8";
  std::string out;
  require(cache::write_string(out, text) && out.size() == text.size() + 2);
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(cache::write_string(out, text));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.size()));
}
BENCHMARK(canonical_string_chinese);

void canonical_double(benchmark::State& state) {
  std::string out;
  require(cache::write_double(out, 0.7) && out == "0.7");
  for (auto _ : state) {
    out.clear();
    benchmark::DoNotOptimize(cache::write_double(out, 0.7));
  }
}
BENCHMARK(canonical_double);

void sha256(benchmark::State& state) {
  const std::string bytes(static_cast<std::size_t>(state.range(0)), 'x');
  require(cache::key_of("abc")[0] == 0xba);
  for (auto _ : state) benchmark::DoNotOptimize(cache::key_of(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(sha256)->Arg(64)->Arg(2000)->Arg(100'000);

void cache_key(benchmark::State& state) {
  const std::string request(static_cast<std::size_t>(state.range(0)), 'x');
  const cache::KeyParts parts{"tenant", "1", "openai", "some-model", "chat", request};
  require(cache::cache_key(parts) == cache::cache_key(parts));
  for (auto _ : state) benchmark::DoNotOptimize(cache::cache_key(parts));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(cache_key)->Arg(64)->Arg(2000)->Arg(100'000);

void cache_hit(benchmark::State& state) {
  static cache::ResponseCache responses(std::size_t{64} << 20);
  std::vector<cache::CacheKey> keys;
  for (int i = 0; i < 10'000; ++i) keys.push_back(cache::key_of(std::to_string(i)));
  if (state.thread_index() == 0) {
    for (const auto& key : keys) {
      responses.put(key, std::make_shared<cache::CachedResponse>(), 1'000'000'000, 0);
    }
  }
  std::size_t i = static_cast<std::size_t>(state.thread_index()) * 5'000;
  for (auto _ : state) {
    const auto hit = responses.get(keys[i++ % keys.size()], 1);
    require(hit != nullptr);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(cache_hit)->Threads(1)->Threads(2);

}  // namespace
