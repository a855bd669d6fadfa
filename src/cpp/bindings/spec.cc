// Configuration dictionaries to plain structs: see spec.h.
#include <pybind11/stl.h>

#include "bindings/spec.h"

#include <cmath>

#include "bindings/errors.h"

namespace sluiceway::bindings {

void SpecReader::fail(std::string_view key, std::string_view why) const {
  std::string message = what_ + ": '";
  message.append(key).append("' ").append(why);
  raise("ConfigError", message);
}

bool SpecReader::has(const char* key) { return !get(key).is_none(); }

py::object SpecReader::get(const char* key) {
  asked_.insert(key);
  if (!dict_.contains(key)) return py::none();
  return dict_[key];
}

std::string SpecReader::text(const char* key, std::string fallback) {
  const py::object value = get(key);
  if (value.is_none()) return fallback;
  if (!py::isinstance<py::str>(value)) fail(key, "must be text");
  return value.cast<std::string>();
}

std::int64_t SpecReader::integer(const char* key, std::int64_t fallback, std::int64_t least,
                                 std::int64_t most) {
  const py::object value = get(key);
  if (value.is_none()) return fallback;
  if (!py::isinstance<py::int_>(value) || py::isinstance<py::bool_>(value)) {
    fail(key, "must be a whole number");
  }
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  if (overflow != 0) fail(key, "is beyond 64 bits");
  if (number < least || number > most) {
    fail(key, "must be between " + std::to_string(least) + " and " + std::to_string(most));
  }
  return number;
}

bool SpecReader::flag(const char* key, bool fallback) {
  const py::object value = get(key);
  if (value.is_none()) return fallback;
  if (!py::isinstance<py::bool_>(value)) fail(key, "must be true or false");
  return value.cast<bool>();
}

std::int64_t SpecReader::seconds_ns(const char* key, double fallback_s) {
  const py::object value = get(key);
  double seconds = fallback_s;
  if (!value.is_none()) {
    if (py::isinstance<py::bool_>(value) || !PyNumber_Check(value.ptr()))
      fail(key, "must be seconds");
    seconds = value.cast<double>();
  }
  if (!std::isfinite(seconds) || seconds < 0)
    fail(key, "must be a finite number of seconds, 0 or more");
  return seconds > 9e9 ? INT64_MAX : static_cast<std::int64_t>(std::llround(seconds * 1e9));
}

std::vector<std::string> SpecReader::texts(const char* key) {
  const py::object value = get(key);
  std::vector<std::string> out;
  if (value.is_none()) return out;
  if (py::isinstance<py::str>(value)) return {value.cast<std::string>()};
  if (!py::isinstance<py::list>(value) && !py::isinstance<py::tuple>(value)) {
    fail(key, "must be a list of text");
  }
  for (const py::handle item : value) {
    if (!py::isinstance<py::str>(item)) fail(key, "must be a list of text");
    out.push_back(item.cast<std::string>());
  }
  return out;
}

py::dict SpecReader::table(const char* key) {
  py::object value = get(key);
  if (value.is_none()) return {};
  if (!py::isinstance<py::dict>(value)) fail(key, "must be a table");
  return std::move(value);
}

void SpecReader::finish() {
  for (const auto& [key, value] : dict_) {
    const std::string name = py::str(key);
    if (!asked_.contains(name)) fail(name, "is not a key that is known here");
  }
}

store::Durability durability_by_name(const std::string& name) {
  if (name == "power") return store::Durability::kPower;
  if (name == "process") return store::Durability::kProcess;
  if (name == "memory") return store::Durability::kMemory;
  raise("ConfigError", "durability is 'power', 'process' or 'memory', not '" + name + "'");
}

namespace {

engine::EventPointers read_events(SpecReader& reader, const char* key) {
  engine::EventPointers out;
  const py::object value = reader.get(key);
  if (value.is_none()) return out;
  if (py::isinstance<py::str>(value)) return {{"*", value.cast<std::string>()}};
  if (!py::isinstance<py::dict>(value))
    reader.fail(key, "must be a pointer or a table of event = pointer");
  for (const auto& [event, pointer] : value.cast<py::dict>()) {
    if (py::isinstance<py::str>(pointer)) {
      out.emplace_back(py::str(event), pointer.cast<std::string>());
      continue;
    }
    for (const py::handle each : pointer)
      out.emplace_back(py::str(event), each.cast<std::string>());
  }
  return out;
}

void read_stream(const py::dict& dict, engine::DialectSpec& spec) {
  SpecReader stream(dict, "dialect '" + spec.name + "', stream");
  if (stream.text("format", "sse") != "sse") stream.fail("format", "must be 'sse'");
  spec.stream_end_data = stream.text("end_data");
  spec.stream_end_events = stream.texts("end_events");
  spec.stream_error_events = stream.texts("error_events");
  spec.stream_type_at = stream.text("type_at");
  spec.stream_error_at = stream.text("error_at");
  spec.stream_text = read_events(stream, "text");
  spec.stream_reasoning = read_events(stream, "reasoning");
  spec.stream_finish_reason = read_events(stream, "finish_reason");
  spec.stream_usage_at = read_events(stream, "usage_at");
  spec.stream_model = read_events(stream, "model");
  spec.stream_created_s = read_events(stream, "created_s");
  spec.stream_id = read_events(stream, "id");
  stream.finish();
}

void read_served_tier(SpecReader& reader, engine::DialectSpec& spec) {
  const py::object rules = reader.get("served_tier");
  if (rules.is_none()) return;
  for (const py::handle item : rules) {
    SpecReader rule(item.cast<py::dict>(), "dialect '" + spec.name + "', served_tier");
    engine::ServedTierSpec out{rule.text("at"), {}};
    for (const auto& [word, tier] : rule.table("tiers")) {
      out.tiers.emplace_back(py::str(word), py::str(tier));
    }
    rule.finish();
    spec.served_tier.push_back(std::move(out));
  }
}

void read_classes(SpecReader& reader, engine::DialectSpec& spec) {
  const py::object classes = reader.get("classes");
  if (classes.is_none()) return;
  for (const py::handle item : classes) {
    SpecReader rule(item.cast<py::dict>(), "dialect '" + spec.name + "', classes");
    engine::ClassRuleSpec out;
    const py::object status = rule.get("status");
    if (py::isinstance<py::int_>(status)) {
      out.statuses.push_back(status.cast<int>());
    } else if (!status.is_none()) {
      out.statuses = status.cast<std::vector<int>>();
    }
    out.types = rule.texts("type");
    out.codes = rule.texts("code");
    out.message = rule.text("message");
    out.failure = rule.text("class");
    rule.flag("own_body", true);  // every rule reads the provider's own body
    rule.finish();
    spec.classes.push_back(std::move(out));
  }
}

}  // namespace

engine::DialectSpec read_dialect(const py::dict& dict) {
  engine::DialectSpec spec;
  SpecReader reader(dict, "dialect");
  spec.name = reader.text("name");
  spec.text = reader.text("text");
  spec.reasoning_text = reader.text("reasoning_text");
  spec.finish_reason = reader.text("finish_reason");
  spec.finish_cut = reader.texts("finish_cut");
  spec.model = reader.text("model");
  spec.created_s = reader.text("created_s");
  spec.id = reader.text("id");
  spec.request_id = reader.text("request_id");
  spec.request_id_headers = reader.texts("request_id_headers");
  spec.error_type = reader.text("error_type");
  spec.error_code = reader.text("error_code");
  spec.error_message = reader.text("error_message");
  spec.error_detail_code = reader.text("error_detail_code");
  spec.usage_cost_usd = reader.texts("usage_cost_usd");
  spec.usage_cost_ticks = reader.texts("usage_cost_ticks");
  spec.usage_beyond = reader.texts("usage_beyond");
  read_served_tier(reader, spec);
  for (const auto& [bucket, expression] : reader.table("usage")) {
    spec.usage.emplace_back(py::str(bucket), py::str(expression));
  }
  const py::object headers = reader.get("rate_headers");
  if (!headers.is_none()) {
    for (const py::handle item : headers) {
      SpecReader header(item.cast<py::dict>(), "dialect '" + spec.name + "', rate_headers");
      std::string format = header.text("reset_format", "duration");
      if (format == "unix_s") format = "unix_seconds";
      spec.rate_headers.push_back(
          {header.text("dimension"), header.text("remaining"), header.text("reset"), format});
      header.text("limit");
      header.finish();
    }
  }
  read_classes(reader, spec);
  const py::dict stream = reader.table("stream");
  if (!stream.empty()) read_stream(stream, spec);
  reader.finish();
  return spec;
}

std::shared_ptr<const cost::PriceSheet> read_sheet(const py::dict& dict) {
  cost::PriceSheet sheet;
  const auto integer = [](const py::handle& value) { return value.cast<std::int64_t>(); };
  sheet.provider = dict["provider"].cast<std::string>();
  sheet.model = dict["model"].cast<std::string>();
  if (dict.contains("max_output_tokens"))
    sheet.max_output_tokens = integer(dict["max_output_tokens"]);
  if (dict.contains("context_tokens")) sheet.context_tokens = integer(dict["context_tokens"]);
  for (const py::handle item : dict["rows"]) {
    const auto in = item.cast<py::dict>();
    cost::PriceRow row;
    row.version = in["version"].cast<std::string>();
    row.effective_from_ns = integer(in["effective_from_ns"]);
    row.effective_to_ns = integer(in["effective_to_ns"]);
    for (const py::handle window : in["windows"]) {
      const auto w = window.cast<py::tuple>();
      row.windows.push_back(
          {w[0].cast<std::uint8_t>(), w[1].cast<std::int32_t>(), w[2].cast<std::int32_t>()});
    }
    for (const py::handle day : in["excluded_days"])
      row.excluded_days.push_back(day.cast<std::int32_t>());
    row.windows_inverted = in["windows_inverted"].cast<bool>();
    row.prompt_from = integer(in["prompt_from"]);
    row.prompt_to = integer(in["prompt_to"]);
    for (const auto& [bucket, rate] : in["rates"].cast<py::dict>()) {
      const std::size_t index = bucket_index(bucket.cast<std::string>());
      if (index == kBucketCount)
        raise("ConfigError", "price row " + row.version + ": unknown bucket");
      row.rate[index] = integer(rate);
    }
    if (in.contains("rate_dens")) {
      for (const auto& [bucket, den] : in["rate_dens"].cast<py::dict>()) {
        const std::size_t index = bucket_index(bucket.cast<std::string>());
        if (index == kBucketCount)
          raise("ConfigError", "price row " + row.version + ": unknown bucket");
        row.rate_den[index] = den.cast<std::int32_t>();
      }
    }
    const auto factor = in["factor"].cast<py::tuple>();
    row.factor_num = factor[0].cast<std::int32_t>();
    row.factor_den = factor[1].cast<std::int32_t>();
    row.service_tier = in["service_tier"].cast<std::string>();
    const auto text = [&in](const char* key) {
      return in.contains(key) ? in[key].cast<std::string>() : std::string();
    };
    row.plan = text("plan");
    row.size = text("size");
    row.quality = text("quality");
    sheet.rows.push_back(std::move(row));
  }
  std::string provider = sheet.provider, model = sheet.model;
  std::vector<cost::PriceSheet> sheets;
  sheets.push_back(std::move(sheet));
  return take(cost::PriceBook::make(std::move(sheets), ""))->find(provider, model);
}

limits::LimitGroupConfig read_limits(const py::dict& dict) {
  using limits::Dimension;
  SpecReader reader(dict, "limits");
  limits::LimitGroupConfig config;
  const std::int64_t window_ns = reader.seconds_ns("window_s", 60.0);
  if (window_ns == 0) reader.fail("window_s", "must be above 0");
  const auto read = [&](const char* key, const char* burst_key, Dimension dimension) {
    if (!reader.has(key)) {
      reader.get(burst_key);
      return;
    }
    const std::int64_t limit = reader.integer(key, 0);
    if (limit <= 0) reader.fail(key, "must be above 0");
    const std::int64_t burst = reader.integer(burst_key, 0);
    if (burst < 0 || burst > limit) reader.fail(burst_key, "must be between 1 and the limit");
    config.set_limit(dimension, limit, window_ns, burst);
  };
  read("requests_per_minute", "burst_requests", Dimension::kRequests);
  read("input_tokens_per_minute", "burst_input_tokens", Dimension::kInputTokens);
  read("output_tokens_per_minute", "burst_output_tokens", Dimension::kOutputTokens);
  read("llm_tokens_per_minute", "burst_llm_tokens", Dimension::kTokens);
  read("characters_per_minute", "burst_characters", Dimension::kCharacters);
  read("quota_units_per_minute", "burst_quota_units", Dimension::kQuotaUnits);
  config.concurrency = reader.integer("concurrency", 0, 0, INT32_MAX);
  config.queue_max = static_cast<std::size_t>(reader.integer("queue_max", 10'000, 0, 131'072));
  reader.finish();
  return config;
}

limits::BreakerConfig read_breaker(const py::dict& dict, bool* enabled) {
  SpecReader reader(dict, "breaker");
  limits::BreakerConfig config;
  config.failure_threshold = static_cast<int>(reader.integer("failure_threshold", 5, 0, 1'000'000));
  config.failure_percent = static_cast<int>(reader.integer("failure_percent", 50, 0, 100));
  config.window_calls_min = static_cast<int>(reader.integer("window_calls_min", 10, 1, 1'000'000));
  config.window_ns = reader.seconds_ns("window_s", 60.0);
  config.open_base_ns = reader.seconds_ns("open_base_s", 5.0);
  config.open_max_ns = reader.seconds_ns("open_max_s", 300.0);
  config.recovery_timeout_ns = reader.seconds_ns("recovery_timeout_s", 0.0);
  *enabled = reader.flag("enabled", true);
  reader.finish();
  return config;
}

}  // namespace sluiceway::bindings
