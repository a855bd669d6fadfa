// Compiling a dialect, and the sums that make buckets of raw counts: see dialect.h.
#include "engine/dialect.h"

#include <algorithm>

namespace sluiceway::engine {
namespace {

constexpr int kTickExponent = -10;
constexpr std::size_t kTierWordsMax = 100;  // fits RawUsage::tier_words

bool in_thousandths(Bucket bucket) {
  return bucket == Bucket::kMegapixels || bucket == Bucket::kSeconds || bucket == Bucket::kCredits;
}

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

  // "/a/b - /c + /d": terms and signs apart by spaces (a pointer may hold '-' itself).
  void usage(const std::string& bucket, const std::string& expression, Dialect& dialect,
             std::vector<std::string>& raw_texts) {
    const std::size_t index = bucket_index(bucket);
    if (index == kBucketCount) return fail("usage", "unknown bucket '" + bucket + "'");
    UsageExpression out{static_cast<Bucket>(index), {}};
    if (expression == "request") return dialect.usage.push_back(std::move(out));
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
      const int raw = raw_of(out.bucket, word, dialect, raw_texts);
      if (raw < 0) return;
      out.terms.push_back({static_cast<std::uint8_t>(raw), negative});
      want_pointer = false;
    }
    if (out.terms.empty() || want_pointer) return fail("usage." + bucket, "ends without a pointer");
    if (out.terms.front().negative) return fail("usage." + bucket, "begins with '-'");
    dialect.usage.push_back(std::move(out));
  }

  const Status& status() const { return status_; }

 private:
  // The number of a raw count, made when it is new; -1 after an error. A count is the same raw only
  // if it is written the same way, so a bucket in thousandths has its own.
  int raw_of(Bucket bucket, const std::string& word, Dialect& dialect,
             std::vector<std::string>& raw_texts) {
    const std::string field = "usage." + std::string(bucket_name(bucket));
    RawKind kind = in_thousandths(bucket) ? RawKind::kThousandths : RawKind::kCount;
    if (word[0] == '#') kind = RawKind::kMatches;
    const std::string text = kind == RawKind::kMatches ? word.substr(1) : word;
    for (std::size_t i = 0; i < raw_texts.size(); ++i) {
      if (raw_texts[i] == text && dialect.fields.raws[i].kind == kind) return static_cast<int>(i);
    }
    if (raw_texts.size() == kRawsMax) return fail(field, "too many pointers"), -1;
    auto pointer = maybe(field, text);
    if (!pointer) return fail(field, "'" + word + "' is no pointer"), -1;
    dialect.fields.raws.push_back({*std::move(pointer), kind});
    raw_texts.push_back(text);
    return static_cast<int>(raw_texts.size()) - 1;
  }

  const DialectSpec& spec_;
  Status status_;
};

void compile_costs(const DialectSpec& spec, const std::string& prefix, UsageFields& fields,
                   Compiler& compiler) {
  const auto add = [&](const std::vector<std::string>& texts, int exponent, const char* field) {
    for (const auto& text : texts) {
      auto pointer = compiler.maybe(field, prefix + text);
      if (pointer) fields.costs.push_back({*std::move(pointer), exponent});
    }
  };
  add(spec.usage_cost_usd, 0, "usage_cost_usd");
  add(spec.usage_cost_ticks, kTickExponent, "usage_cost_ticks");
}

void compile_beyond(const DialectSpec& spec, const std::string& prefix, UsageFields& fields,
                    Compiler& compiler) {
  for (const auto& text : spec.usage_beyond) {
    auto pointer = compiler.maybe("usage_beyond", prefix + text);
    if (pointer) fields.beyond.push_back(*std::move(pointer));
  }
}

void compile_tiers(const DialectSpec& spec, const std::string& prefix, UsageFields& fields,
                   Compiler& compiler) {
  for (const auto& rule : spec.served_tier) {
    auto pointer = compiler.maybe("served_tier", prefix + rule.at);
    if (rule.at.empty() || rule.tiers.empty() || rule.tiers.size() > kTierWordsMax) {
      compiler.fail("served_tier", "a rule has `at` and 1 to 100 words in `tiers`");
    } else if (pointer) {
      fields.tiers.push_back(*std::move(pointer));
    }
  }
}

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
  dialect.stream_type_at = compiler.maybe("stream.type_at", spec.stream_type_at);
  dialect.stream_error_at = compiler.maybe("stream.error_at", spec.stream_error_at);
  dialect.stream_text = compiler.fields("stream.text", spec.stream_text);
  dialect.stream_reasoning = compiler.fields("stream.reasoning", spec.stream_reasoning);
  dialect.stream_finish_reason = compiler.fields("stream.finish_reason", spec.stream_finish_reason);
  dialect.stream_model = compiler.fields("stream.model", spec.stream_model);
  dialect.stream_created_s = compiler.fields("stream.created_s", spec.stream_created_s);
  dialect.stream_id = compiler.fields("stream.id", spec.stream_id);
  for (const auto& [event, prefix] : spec.stream_usage_at) {
    EventUsage usage{event, {}};
    for (std::size_t i = 0; i < raw_texts.size(); ++i) {
      if (auto pointer = compiler.maybe("stream.usage_at", prefix + raw_texts[i])) {
        usage.fields.raws.push_back({*std::move(pointer), dialect.fields.raws[i].kind});
      }
    }
    compile_costs(spec, prefix, usage.fields, compiler);
    compile_tiers(spec, prefix, usage.fields, compiler);
    compile_beyond(spec, prefix, usage.fields, compiler);
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
  dialect->finish_cut = spec.finish_cut;
  dialect->request_id_headers = spec.request_id_headers;
  std::vector<std::string> raw_texts;
  for (const auto& [bucket, expression] : spec.usage) {
    compiler.usage(bucket, expression, *dialect, raw_texts);
  }
  if (spec.served_tier.size() > kTierRulesMax) compiler.fail("served_tier", "more than 4 rules");
  for (const auto& rule : spec.served_tier) dialect->served_tier.push_back(rule.tiers);
  compile_costs(spec, "", dialect->fields, compiler);
  compile_tiers(spec, "", dialect->fields, compiler);
  compile_beyond(spec, "", dialect->fields, compiler);
  compile_rules(spec, *dialect, compiler);
  compile_stream(spec, raw_texts, *dialect, compiler);
  if (!compiler.status().ok()) return compiler.status();
  return std::shared_ptr<const Dialect>(std::move(dialect));
}

bool Dialect::is_cut(std::string_view finish_reason_text) const {
  return std::find(finish_cut.begin(), finish_cut.end(), finish_reason_text) != finish_cut.end();
}

void RawUsage::take(const RawUsage& later) {
  for (std::size_t i = 0; i < kRawsMax; ++i) {
    if ((later.present >> i) & 1u) value[i] = later.value[i];
  }
  present |= later.present;
  if (later.reported_cost >= 0) reported_cost = later.reported_cost;
  beyond |= later.beyond;
  for (std::size_t i = 0; i < kTierRulesMax; ++i) {
    if (later.tier_words[i] >= 0) tier_words[i] = later.tier_words[i];
  }
}

Usage Dialect::usage_of(const RawUsage& raw, const Usage* counted) const {
  Usage out;
  out.reported_cost_nanousd = raw.reported_cost;
  const auto value_of = [&](const UsageTerm& term) {
    return ((raw.present >> term.raw) & 1u) != 0 ? raw.value[term.raw] : 0;
  };
  for (const auto& expression : usage) {
    if (expression.terms.empty()) {
      if (counted != nullptr && counted->has(expression.bucket)) {
        out.set(expression.bucket, counted->get(expression.bucket));
      }
      continue;
    }
    if (((raw.present >> expression.terms.front().raw) & 1u) == 0) continue;
    std::int64_t whole = 0;
    for (const auto& term : expression.terms) {
      if (!term.negative) whole = saturating_add(whole, value_of(term));
    }
    std::int64_t sum = whole;
    for (const auto& term : expression.terms) {
      if (term.negative && value_of(term) <= whole) sum -= value_of(term);
    }
    out.set(expression.bucket, std::max<std::int64_t>(sum, 0));
  }
  return out;
}

std::optional<std::string_view> Dialect::served_tier_of(const RawUsage& raw) const {
  std::optional<std::string_view> found;
  for (std::size_t i = 0; i < served_tier.size(); ++i) {
    if (raw.tier_words[i] < 0) continue;
    const std::string& tier = served_tier[i][static_cast<std::size_t>(raw.tier_words[i])].second;
    if (!tier.empty()) return tier;
    found = tier;
  }
  return found;
}

bool Dialect::counts_before() const {
  return std::any_of(usage.begin(), usage.end(), [](const auto& e) { return e.terms.empty(); });
}

}  // namespace sluiceway::engine
