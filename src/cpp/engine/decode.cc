// Reading bodies, errors and stream events by a dialect: see decode.h.
#include "engine/decode.h"

#include <absl/strings/ascii.h>

#include <algorithm>

#include "cache/canonical_json.h"

namespace sluiceway::engine {
namespace {

// nano_decimal() gives billionths: with this, thousandths.
constexpr int kThousandthsExponent = -6;

std::string text_of(parse::JsonReader& json, const MaybePointer& pointer) {
  if (!pointer) return {};
  const auto text = json.text(*pointer);
  return text ? std::string(*text) : std::string();
}

std::optional<std::int64_t> read_count(parse::JsonReader& json, const RawField& field) {
  std::optional<std::int64_t> count;
  switch (field.kind) {
    case RawKind::kCount:
      count = json.integer(field.pointer);
      break;
    case RawKind::kThousandths:
      count = json.nano_decimal(field.pointer, kThousandthsExponent);
      break;
    case RawKind::kMatches:
      count = static_cast<std::int64_t>(json.count(field.pointer));
      if (*count == 0) count.reset();
      break;
  }
  if (count && (*count < 0 || *count > kCountMax)) count.reset();
  return count;
}

RawUsage read_usage_fields(parse::JsonReader& json, const Dialect& dialect,
                           const UsageFields& fields) {
  RawUsage raw;
  for (std::size_t i = 0; i < fields.raws.size(); ++i) {
    if (const auto count = read_count(json, fields.raws[i])) {
      raw.value[i] = *count;
      raw.present |= 1u << i;
    }
  }
  for (const auto& cost : fields.costs) {
    const auto amount = json.nano_decimal(cost.pointer, cost.exponent);
    if (!amount || *amount < 0 || *amount > kReportedCostMax) continue;
    raw.reported_cost = *amount;
    break;
  }
  for (const auto& pointer : fields.beyond) raw.beyond |= json.present(pointer);
  for (std::size_t i = 0; i < fields.tiers.size(); ++i) {
    const auto word = json.text(fields.tiers[i]);
    if (!word) continue;
    const TierWords& known = dialect.served_tier[i];
    for (std::size_t n = 0; n < known.size(); ++n) {
      if (known[n].first == *word) raw.tier_words[i] = static_cast<std::int8_t>(n);
    }
  }
  return raw;
}

void take_usage(const Dialect& dialect, const RawUsage& raw, const Usage* counted, Answer& answer) {
  answer.usage = dialect.usage_of(raw, counted);
  answer.usage_beyond = raw.beyond;
  if (const auto tier = dialect.served_tier_of(raw)) answer.served_tier = std::string(*tier);
}

void read_error(parse::JsonReader& json, const Dialect& dialect, ErrorInfo& error,
                std::string* detail_code) {
  error.type = text_of(json, dialect.error_type);
  error.code = text_of(json, dialect.error_code);
  error.message = text_of(json, dialect.error_message);
  if (detail_code != nullptr) *detail_code = text_of(json, dialect.error_detail_code);
}

// Where servers that are not quite the dialect's put their words: compatible ones, gateways, and
// RFC 9457 (problem details), RFC 6749 (OAuth) and FastAPI's errors.
const std::vector<parse::JsonPointer>& places_of_words() {
  static const auto* places = [] {
    auto* out = new std::vector<parse::JsonPointer>;
    for (const char* text : {"/error/message", "/error_description", "/message", "/detail",
                             "/detail/0/msg", "/errors/0/message", "/error", "/title", ""}) {
      out->push_back(*parse::JsonPointer::compile(text));
    }
    return out;
  }();
  return *places;
}

constexpr std::size_t kWordsMax = 300;            // of what is quoted
constexpr std::size_t kWordsBodyMax = 64 * 1024;  // larger bodies are no messages

std::string quoted(std::string_view words) {
  if (words.size() <= kWordsMax) return std::string(words);
  words = words.substr(0, kWordsMax);
  while (!words.empty() && (words.back() & 0xc0) == 0x80) words.remove_suffix(1);
  if (!words.empty() && (words.back() & 0x80) != 0) words.remove_suffix(1);  // the one it began
  return std::string(words) + "...";
}

// The parsed body's words, wherever they stand; "" for none.
std::string words_anywhere(parse::JsonReader& json) {
  for (const parse::JsonPointer& place : places_of_words()) {
    if (const auto text = json.text(place); text && !text->empty()) return quoted(*text);
  }
  return {};
}

// A body that is not JSON: itself, where it is for people and no page of HTML.
std::string plain_words(std::string_view body) {
  body = to_std(absl::StripAsciiWhitespace(to_absl(body)));
  if (body.empty() || body.front() == '<' || !cache::is_utf8(body)) return {};
  const auto is_control = [](char c) { return absl::ascii_iscntrl(static_cast<unsigned char>(c)); };
  if (std::ranges::any_of(body.substr(0, kWordsMax), is_control)) return {};
  return quoted(body);
}

bool listed(const std::vector<std::string>& list, std::string_view word) {
  return list.empty() || std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

bool Decoder::read_body(const Dialect& dialect, Answer& answer, const Usage* counted) {
  answer.usage = dialect.usage_of({}, counted);
  const std::size_t spare = answer.body.capacity() - answer.body.size();
  const bool in_place = spare >= parse::JsonReader::kPadding;
  if (!(in_place ? json_.parse_padded(answer.body) : json_.parse(answer.body))) return false;
  // Before the check below: an answer of another operation may still say what it cost.
  const RawUsage raw = read_usage_fields(json_, dialect, dialect.fields);
  take_usage(dialect, raw, counted, answer);
  const bool has_text = !dialect.text || json_.present(*dialect.text);
  const bool has_finish = !dialect.finish_reason || json_.present(*dialect.finish_reason);
  if (!has_text && !has_finish) return false;
  answer.text = text_of(json_, dialect.text);
  answer.reasoning_text = text_of(json_, dialect.reasoning_text);
  answer.finish_reason = text_of(json_, dialect.finish_reason);
  answer.model = text_of(json_, dialect.model);
  answer.response_id = text_of(json_, dialect.id);
  if (dialect.created_s) answer.created_s = json_.integer(*dialect.created_s).value_or(0);
  answer.cut = dialect.is_cut(answer.finish_reason);
  return true;
}

Failure Decoder::match_rules(const Dialect& dialect, int status, const ErrorInfo& error,
                             std::string_view detail_code) const {
  for (const auto& rule : dialect.classes) {
    const bool status_fits =
        rule.statuses.empty() ||
        std::find(rule.statuses.begin(), rule.statuses.end(), status) != rule.statuses.end();
    const bool code_fits =
        listed(rule.codes, error.code) || (!detail_code.empty() && listed(rule.codes, detail_code));
    if (status_fits && listed(rule.types, error.type) && code_fits &&
        (rule.message.empty() || error.message.find(rule.message) != std::string::npos)) {
      return rule.failure;
    }
  }
  return Failure::kNone;
}

void Decoder::read_error(const Dialect& dialect, ErrorInfo& error) {
  engine::read_error(json_, dialect, error, nullptr);
  if (error.message.empty()) error.message = words_anywhere(json_);
}

Failure Decoder::classify(const Dialect* dialect, int status, std::string_view body,
                          ErrorInfo& error) {
  const bool parsed = (dialect != nullptr || body.size() <= kWordsBodyMax) && json_.parse(body);
  Failure ruled = Failure::kNone;
  bool own_body = false;
  if (dialect != nullptr && parsed) {
    std::string detail_code;
    engine::read_error(json_, *dialect, error, &detail_code);
    own_body = !error.type.empty() || !error.message.empty();
    if (own_body) ruled = match_rules(*dialect, status, error, detail_code);
  }
  // For people; whose error it is has been decided by the dialect's own fields alone.
  if (error.message.empty() && body.size() <= kWordsBodyMax) {
    error.message = parsed ? words_anywhere(json_) : plain_words(body);
  }
  return ruled != Failure::kNone ? ruled : failure_of_status(status, own_body);
}

Status StreamDecoder::feed(std::string_view bytes, std::vector<Delta>& out) {
  out_ = &out;
  const Status status = sse_.feed(bytes, *this);
  out_ = nullptr;
  return status;
}

void StreamDecoder::on_event(const parse::SseEvent& event) {
  if (ended_ || failed_) return;  // nothing counts after the terminator
  if (!dialect_.stream_end_data.empty() && event.data == dialect_.stream_end_data) {
    ended_ = true;
    return;
  }
  if (event.data.empty()) return;
  if (!json_.parse(event.data)) {
    failed_ = malformed_ = true;
    error_ = {"", "", "an event of the stream is not JSON"};
    return;
  }
  std::string_view type = event.type;
  if (dialect_.stream_type_at) type = json_.text(*dialect_.stream_type_at).value_or(type);
  read_event(type);
  const auto& ends = dialect_.stream_end_events;
  if (std::find(ends.begin(), ends.end(), type) != ends.end()) ended_ = true;
}

void StreamDecoder::body_ended() {
  const std::string& end = dialect_.stream_end_data;
  if (!failed_ && !end.empty() && sse_.waiting_data() == end) ended_ = true;
}

void StreamDecoder::read_event(std::string_view type) {
  const auto& errors = dialect_.stream_error_events;
  const bool error_event = std::find(errors.begin(), errors.end(), type) != errors.end();
  if (error_event || (dialect_.stream_error_at && json_.present(*dialect_.stream_error_at) &&
                      !json_.is_null(*dialect_.stream_error_at))) {
    failed_ = true;
    read_error(json_, dialect_, error_, nullptr);
    if (error_.message.empty()) error_.message = words_anywhere(json_);
    return;
  }
  for (const auto& field : dialect_.stream_reasoning) {
    if (!field.matches(type)) continue;
    if (const auto text = json_.text(field.pointer)) append(true, *text);
  }
  for (const auto& field : dialect_.stream_text) {
    if (!field.matches(type)) continue;
    if (const auto text = json_.text(field.pointer)) append(false, *text);
  }
  bool finished_here = false;
  for (const auto& field : dialect_.stream_finish_reason) {
    if (!field.matches(type)) continue;
    if (const auto text = json_.text(field.pointer)) {
      finish_reason_ = *text;
      finished_ = finished_here = true;
    }
  }
  read_usage(type, finished_here);
  if (model_.empty()) {
    for (const auto& field : dialect_.stream_model) {
      if (!field.matches(type)) continue;
      if (const auto text = json_.text(field.pointer)) model_ = *text;
    }
  }
  if (response_id_.empty()) {
    for (const auto& field : dialect_.stream_id) {
      if (!field.matches(type)) continue;
      if (const auto text = json_.text(field.pointer)) response_id_ = *text;
    }
  }
  if (created_s_ == 0) {
    for (const auto& field : dialect_.stream_created_s) {
      if (field.matches(type)) created_s_ = json_.integer(field.pointer).value_or(0);
    }
  }
}

void StreamDecoder::read_usage(std::string_view type, bool finished_here) {
  for (const auto& usage : dialect_.stream_usage) {
    if (usage.event != "*" && usage.event != type) continue;
    const RawUsage here = read_usage_fields(json_, dialect_, usage.fields);
    raw_.take(here);
    if (!here.anything()) continue;
    usage_last_ = true;
    if (finished_ || finished_here) usage_final_ = true;
  }
}

void StreamDecoder::append(bool reasoning, std::string_view text) {
  if (text.empty()) return;
  (reasoning ? reasoning_text_ : text_).append(text);
  if (out_ != nullptr) out_->push_back({reasoning, std::string(text)});
  delivered_ = true;
  usage_last_ = false;
}

void StreamDecoder::fill(Answer& answer, const Usage* counted) const {
  answer.text = text_;
  answer.reasoning_text = reasoning_text_;
  answer.finish_reason = finish_reason_;
  answer.model = model_;
  answer.response_id = response_id_;
  answer.created_s = created_s_;
  answer.cut = dialect_.is_cut(finish_reason_);
  take_usage(dialect_, raw_, counted, answer);
}

}  // namespace sluiceway::engine
