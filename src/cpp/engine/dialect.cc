// Compiling a dialect, and the sums that make buckets of raw counts: see dialect.h.
#include "engine/dialect.h"

#include <algorithm>

namespace sluiceway::engine {
namespace {

// Collects the first error, so that compile() reads as a list of fields.
class Compiler {
 public:
  explicit Compiler(const DialectSpec& spec) : spec_(spec) {}

  MaybePointer maybe(std::string_view field, const std::string& text) {
    if (text.empty()) return std::nullopt;
    auto pointer = parse::JsonPointer::compile(text);
    if (!pointer.ok()) {
      fail(field, to_std(pointer.status().message()));
      return std::nullopt;
    }
    return *std::move(pointer);
  }

  std::vector<EventField> fields(std::string_view field, const EventPointers& spec) {
    std::vector<EventField> out;
    for (const auto& [event, text] : spec) {
      if (auto pointer = maybe(field, text)) out.push_back({event, *std::move(pointer)});
    }
    return out;
  }

  void fail(std::string_view field, std::string_view why) {
    if (!status_.ok()) return;
    std::string message = "dialect '" + spec_.name + "', ";
    message.append(field).append(": ").append(why);
    status_ = invalid_argument(message);
  }

  // "/a/b - /c + /d": pointers and signs apart by spaces (a pointer may hold '-' itself).
  void usage(const std::string& bucket, const std::string& expression, Dialect& dialect,
             std::vector<std::string>& raw_texts) {
    const std::size_t index = bucket_index(bucket);
    if (index == kBucketCount) return fail("usage", "unknown bucket '" + bucket + "'");
    UsageExpression out{static_cast<Bucket>(index), {}};
    bool negative = false, want_pointer = true;
    std::size_t at = 0;
    while (at < expression.size()) {
      const std::size_t end = std::min(expression.find(' ', at), expression.size());
      const std::string word = expression.substr(at, end - at);
      at = end + 1;
      if (word.empty()) continue;
      if (!want_pointer) {
        if (word != "-" && word != "+")
          return fail("usage." + bucket, "wants '-' or '+', not " + word);
        negative = word == "-";
        want_pointer = true;
        continue;
      }
      auto found = std::find(raw_texts.begin(), raw_texts.end(), word);
      if (found == raw_texts.end()) {
        if (raw_texts.size() == kRawsMax) return fail("usage." + bucket, "too many pointers");
        auto pointer = maybe("usage." + bucket, word);
        if (!pointer) return;
        dialect.raws.push_back(*std::move(pointer));
        raw_texts.push_back(word);
        found = raw_texts.end() - 1;
      }
      out.terms.push_back({static_cast<std::uint8_t>(found - raw_texts.begin()), negative});
      want_pointer = false;
    }
    if (out.terms.empty() || want_pointer) return fail("usage." + bucket, "ends without a pointer");
    dialect.usage.push_back(std::move(out));
  }

  const Status& status() const { return status_; }

 private:
  const DialectSpec& spec_;
  Status status_;
};

void compile_rules(const DialectSpec& spec, Dialect& dialect, Compiler& compiler) {
  for (const auto& rule : spec.classes) {
    const Failure failure = failure_by_name(rule.failure);
    if (failure == Failure::kNone) compiler.fail("classes", "unknown class '" + rule.failure + "'");
    dialect.classes.push_back({rule.statuses, rule.types, rule.codes, rule.message, failure});
  }
  for (const auto& header : spec.rate_headers) {
    const auto format = parse::reset_format(header.reset_format);
    std::size_t dimension = 0;
    while (dimension < limits::kDimensions &&
           limits::dimension_name(static_cast<limits::Dimension>(dimension)) != header.dimension) {
      ++dimension;
    }
    if (!format || dimension == limits::kDimensions) {
      compiler.fail("rate_headers",
                    "unknown dimension or reset_format in '" + header.remaining + "'");
      continue;
    }
    dialect.rate_headers.push_back(
        {static_cast<limits::Dimension>(dimension), header.remaining, header.reset, *format});
  }
}

void compile_stream(const DialectSpec& spec, const std::vector<std::string>& raw_texts,
                    Dialect& dialect, Compiler& compiler) {
  dialect.stream_end_data = spec.stream_end_data;
  dialect.stream_end_events = spec.stream_end_events;
  dialect.stream_error_events = spec.stream_error_events;
  dialect.stream_error_at = compiler.maybe("stream.error_at", spec.stream_error_at);
  dialect.stream_text = compiler.fields("stream.text", spec.stream_text);
  dialect.stream_reasoning = compiler.fields("stream.reasoning", spec.stream_reasoning);
  dialect.stream_finish_reason = compiler.fields("stream.finish_reason", spec.stream_finish_reason);
  dialect.stream_model = compiler.fields("stream.model", spec.stream_model);
  dialect.stream_created_s = compiler.fields("stream.created_s", spec.stream_created_s);
  dialect.stream_id = compiler.fields("stream.id", spec.stream_id);
  for (const auto& [event, prefix] : spec.stream_usage_at) {
    EventUsage usage{event, {}, std::nullopt};
    for (const auto& text : raw_texts) {
      if (auto pointer = compiler.maybe("stream.usage_at", prefix + text)) {
        usage.raws.push_back(*std::move(pointer));
      }
    }
    if (!spec.usage_cost_usd.empty()) {
      usage.cost = compiler.maybe("stream.usage_at", prefix + spec.usage_cost_usd);
    }
    dialect.stream_usage.push_back(std::move(usage));
  }
}

}  // namespace

StatusOr<std::shared_ptr<const Dialect>> Dialect::compile(const DialectSpec& spec) {
  auto dialect = std::make_shared<Dialect>();
  Compiler compiler(spec);
  dialect->name = spec.name;
  dialect->text = compiler.maybe("text", spec.text);
  dialect->reasoning_text = compiler.maybe("reasoning_text", spec.reasoning_text);
  dialect->finish_reason = compiler.maybe("finish_reason", spec.finish_reason);
  dialect->model = compiler.maybe("model", spec.model);
  dialect->created_s = compiler.maybe("created_s", spec.created_s);
  dialect->id = compiler.maybe("id", spec.id);
  dialect->request_id = compiler.maybe("request_id", spec.request_id);
  dialect->error_type = compiler.maybe("error_type", spec.error_type);
  dialect->error_code = compiler.maybe("error_code", spec.error_code);
  dialect->error_message = compiler.maybe("error_message", spec.error_message);
  dialect->error_detail_code = compiler.maybe("error_detail_code", spec.error_detail_code);
  dialect->usage_cost_usd = compiler.maybe("usage_cost_usd", spec.usage_cost_usd);
  dialect->finish_cut = spec.finish_cut;
  dialect->request_id_headers = spec.request_id_headers;
  std::vector<std::string> raw_texts;
  for (const auto& [bucket, expression] : spec.usage) {
    compiler.usage(bucket, expression, *dialect, raw_texts);
  }
  compile_rules(spec, *dialect, compiler);
  compile_stream(spec, raw_texts, *dialect, compiler);
  if (!compiler.status().ok()) return compiler.status();
  return std::shared_ptr<const Dialect>(std::move(dialect));
}

bool Dialect::is_cut(std::string_view finish_reason_text) const {
  return std::find(finish_cut.begin(), finish_cut.end(), finish_reason_text) != finish_cut.end();
}

Usage Dialect::usage_of(const RawUsage& raw) const {
  Usage out;
  out.reported_cost_nanousd = raw.reported_cost;
  for (const auto& expression : usage) {
    if (((raw.present >> expression.terms.front().raw) & 1u) == 0) continue;
    std::int64_t sum = 0;
    for (const auto& term : expression.terms) {
      if (((raw.present >> term.raw) & 1u) == 0) continue;
      const std::int64_t value = std::max<std::int64_t>(raw.value[term.raw], 0);
      sum = saturating_add(sum, term.negative ? -value : value);
    }
    out.set(expression.bucket, std::max<std::int64_t>(sum, 0));
  }
  return out;
}

}  // namespace sluiceway::engine
