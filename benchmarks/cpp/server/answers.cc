// Builds the canned answers; see the header.
#include "answers.h"

#include <cstdio>
#include <fstream>
#include <sstream>

namespace sluiceway::bench {
namespace {

constexpr char kDelta[] =
    R"(data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1741569952,)"
    R"("model":"gpt-4.1","choices":[{"index":0,"delta":{"content":" water"},)"
    R"("finish_reason":null}]})"
    "\n\n";
constexpr char kUsage[] =
    R"(data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1741569952,)"
    R"("model":"gpt-4.1","choices":[],"usage":{"prompt_tokens":19,"completion_tokens":20,)"
    R"("total_tokens":39}})"
    "\n\n";
constexpr char kDone[] = "data: [DONE]\n\n";

std::string chat_completion() {
  std::string text;
  for (int i = 0; i < 18; ++i) text += "Hello! How can I assist you today? ";
  return R"({"id":"chatcmpl-bench","object":"chat.completion","created":1741569952,)"
         R"("model":"gpt-4.1",)"
         R"("choices":[{"index":0,"message":{"role":"assistant","content":")" +
         text +
         R"(","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],)"
         R"("usage":{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,)"
         R"("prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},)"
         R"("completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}},)"
         R"("service_tier":"default"})";
}

std::string chunk(const std::string& data) {
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", data.size());
  return size + data + "\r\n";
}

}  // namespace

Answers::Answers(int event_count, const std::string& body_file)
    : events(event_count), body(chat_completion()) {
  if (!body_file.empty()) {
    std::ifstream file(body_file, std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    body = text.str();
  }
  for (int i = 0; i < events && i < 10'000; ++i) stream_text += kDelta;
  stream_text += std::string(kUsage) + kDone;
  h1_answer =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: bench\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  h1_stream_head =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
  h1_delta = chunk(kDelta);
  h1_stream_end = chunk(kUsage) + chunk(kDone) + "0\r\n\r\n";
}

}  // namespace sluiceway::bench
