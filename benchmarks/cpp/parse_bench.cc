// What reading an answer costs: usage out of a JSON body, events out of a stream, header times.
//
// Every case checks its answer before it is timed. Run: parse_bench --benchmark_repetitions=5.
// The bodies are made here, in the shape of the providers' documents: parse_usage_3_7k is a
// chat.completion of about 3.7 kB with 19 prompt tokens, so that its row compares with
// json.loads of the same text in Python.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "parse/json_fields.h"
#include "parse/rate_headers.h"
#include "parse/sse_parser.h"

namespace {

using sluiceway::parse::JsonPointer;
using sluiceway::parse::JsonReader;
using sluiceway::parse::SseEvent;
using sluiceway::parse::SseHandler;
using sluiceway::parse::SseParser;

void require(bool ok) {
  if (!ok) std::abort();
}

// As json.dumps writes it: a space after every comma and colon. `escaped` puts three escapes into
// every sentence, as code and markdown have them.
std::string chat_completion(int sentences, bool escaped) {
  std::string text;
  for (int i = 0; i < sentences; ++i) {
    text += escaped ? R"(Hello!\n\nHow can I \"assist\" today? )"
                    : "Hello! How can I assist you today? ";
  }
  return R"({"id": "chatcmpl-000000000000000000000", "object": "chat.completion", )"
         R"("created": 1741569952, "model": "some-model-2025-04-14", "choices": [{"index": 0, )"
         R"("message": {"role": "assistant", "content": ")" +
         text +
         R"(", "refusal": null, "annotations": []}, "logprobs": null, "finish_reason": "stop"}], )"
         R"("usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29, )"
         R"("prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}, )"
         R"("completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, )"
         R"("accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}, )"
         R"("service_tier": "default"})";
}

struct Pointers {
  JsonPointer text = *JsonPointer::compile("/choices/0/message/content");
  JsonPointer reason = *JsonPointer::compile("/choices/0/finish_reason");
  JsonPointer input = *JsonPointer::compile("/usage/prompt_tokens");
  JsonPointer cached = *JsonPointer::compile("/usage/prompt_tokens_details/cached_tokens");
  JsonPointer output = *JsonPointer::compile("/usage/completion_tokens");
  JsonPointer reasoning =
      *JsonPointer::compile("/usage/completion_tokens_details/reasoning_tokens");
};

std::int64_t read_answer(JsonReader& reader, const Pointers& at) {
  return *reader.integer(at.input) + *reader.integer(at.cached) + *reader.integer(at.output) +
         *reader.integer(at.reasoning) + static_cast<std::int64_t>(reader.text(at.text)->size()) +
         static_cast<std::int64_t>(reader.text(at.reason)->size());
}

// The body is copied into the reader's buffer, as with a body that libcurl delivered elsewhere.
void parse_usage(benchmark::State& state) {
  const std::string body = chat_completion(static_cast<int>(state.range(0)), state.range(1) != 0);
  const Pointers at;
  JsonReader reader;
  require(reader.parse(body) && reader.integer(at.input) == 19 && reader.integer(at.output) == 10);
  for (auto _ : state) {
    reader.parse(body);
    benchmark::DoNotOptimize(read_answer(reader, at));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(body.size()));
  state.SetLabel(std::to_string(body.size()) + " B");
}
BENCHMARK(parse_usage)->Name("parse_usage_1_2k")->Args({18, 0});
BENCHMARK(parse_usage)->Name("parse_usage_3_7k")->Args({90, 0});
BENCHMARK(parse_usage)->Name("parse_usage_3_7k_escaped")->Args({90, 1});

void parse_usage_padded(benchmark::State& state) {
  std::string body = chat_completion(90, false);
  const std::size_t size = body.size();
  body.resize(size + JsonReader::kPadding);
  const Pointers at;
  JsonReader reader;
  require(reader.parse_padded({body.data(), size}) && reader.integer(at.input) == 19);
  for (auto _ : state) {
    reader.parse_padded({body.data(), size});
    benchmark::DoNotOptimize(read_answer(reader, at));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(size));
}
BENCHMARK(parse_usage_padded)->Name("parse_usage_3_7k_padded");

struct Count final : SseHandler {
  std::size_t events = 0, bytes = 0;
  void on_event(const SseEvent& event) override {
    ++events;
    bytes += event.data.size();
  }
};

constexpr std::string_view kDelta =
    R"({"id":"chatcmpl-000000000000000000000","object":"chat.completion.chunk",)"
    R"("created":1741569952,)"
    R"("model":"some-model","choices":[{"index":0,"delta":{"content":" word"},)"
    R"("finish_reason":null}]})";

std::string stream_of(int events) {
  std::string stream;
  for (int i = 0; i < events; ++i) stream.append("data: ").append(kDelta).append("\n\n");
  return stream;
}

// Time is for 100 events; range(0) is how many bytes one feed() gets.
void sse_events(benchmark::State& state) {
  const std::string stream = stream_of(100);
  const auto piece = static_cast<std::size_t>(state.range(0));
  SseParser parser;
  Count count;
  require(parser.feed(stream, count).ok() && count.events == 100 &&
          count.bytes == 100 * kDelta.size());
  for (auto _ : state) {
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      benchmark::DoNotOptimize(parser.feed(std::string_view(stream).substr(at, piece), count));
    }
  }
  state.SetItemsProcessed(state.iterations() * 100);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(stream.size()));
}
BENCHMARK(sse_events)->Name("sse_100_events_whole")->Arg(1 << 20);
BENCHMARK(sse_events)->Name("sse_100_events_in_1400_byte_pieces")->Arg(1400);
BENCHMARK(sse_events)->Name("sse_100_events_in_100_byte_pieces")->Arg(100);

// An event and the text inside it: what a streamed call costs in this room.
struct ReadDelta final : SseHandler {
  JsonReader reader;
  JsonPointer text = *JsonPointer::compile("/choices/0/delta/content");
  JsonPointer usage = *JsonPointer::compile("/usage");
  std::size_t bytes = 0;
  void on_event(const SseEvent& event) override {
    if (!reader.parse(event.data)) std::abort();
    bytes += reader.text(text)->size() + (reader.present(usage) ? 1 : 0);
  }
};

void sse_decode(benchmark::State& state) {
  const std::string stream = stream_of(100);
  SseParser parser;
  ReadDelta read;
  require(parser.feed(stream, read).ok() && read.bytes == 500);
  for (auto _ : state) benchmark::DoNotOptimize(parser.feed(stream, read));
  state.SetItemsProcessed(state.iterations() * 100);
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(stream.size()));
}
BENCHMARK(sse_decode)->Name("sse_100_deltas_decoded");

// The floor of the machine for the same bytes.
void copy_floor(benchmark::State& state) {
  const std::string stream = stream_of(100);
  std::string target(stream.size(), '\0');
  for (auto _ : state) {
    std::memcpy(target.data(), stream.data(), stream.size());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(stream.size()));
}
BENCHMARK(copy_floor)->Name("memcpy_of_100_events");

void header_times(benchmark::State& state) {
  using sluiceway::parse::parse_duration_ns;
  using sluiceway::parse::parse_http_date_ns;
  using sluiceway::parse::parse_rfc3339_ns;
  require(parse_duration_ns("6m0s") == 360'000'000'000);
  for (auto _ : state) {
    benchmark::DoNotOptimize(parse_duration_ns("6m0s"));
    benchmark::DoNotOptimize(parse_rfc3339_ns("2025-06-02T15:15:48Z"));
    benchmark::DoNotOptimize(parse_http_date_ns("Sun, 06 Nov 1994 08:49:37 GMT"));
  }
}
BENCHMARK(header_times)->Name("duration_and_rfc3339_and_http_date");

}  // namespace
