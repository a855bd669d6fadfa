// The wire format and the prices of the simulated provider, as a route without its shared parts.
#pragma once

#include <memory>
#include <string>

#include "engine/route.h"
#include "simulation/provider.h"

namespace sluiceway::simulation {

inline engine::DialectSpec simulated_dialect() {
  engine::DialectSpec spec;
  spec.name = "chat";
  spec.text = "/choices/0/message/content";
  spec.finish_reason = "/choices/0/finish_reason";
  spec.usage = {{"input", "/usage/prompt_tokens"}, {"output", "/usage/completion_tokens"}};
  spec.error_type = "/error/type";
  spec.error_code = "/error/code";
  spec.error_message = "/error/message";
  spec.classes = {{{429}, {}, {"insufficient_quota"}, "", "no_money"}};
  spec.stream_end_data = "[DONE]";
  spec.stream_error_at = "/error";
  spec.stream_text = {{"*", "/choices/0/delta/content"}};
  spec.stream_finish_reason = {{"*", "/choices/0/finish_reason"}};
  spec.stream_usage_at = {{"*", ""}};
  return spec;
}

inline std::shared_ptr<engine::Route> simulated_route() {
  auto route = std::make_shared<engine::Route>();
  route->provider = "p";
  route->account = "default";
  route->model = "m";
  route->operation = "chat";
  route->url = *http::Url::parse("http://provider.invalid/v1/chat");
  static const auto dialect = *engine::Dialect::compile(simulated_dialect());
  route->dialect = dialect;
  auto sheet = std::make_shared<cost::PriceSheet>();
  sheet->provider = "p";
  sheet->model = "m";
  cost::PriceRow row;
  row.version = "p/m@1";
  row.rate[static_cast<std::size_t>(Bucket::kInput)] = kInputRate * kUnitsPerRate;
  row.rate[static_cast<std::size_t>(Bucket::kOutput)] = kOutputRate * kUnitsPerRate;
  sheet->rows.push_back(row);
  route->sheet = sheet;
  route->send_attempt_header = true;
  auto labels = std::make_shared<store::CallLabels>();
  labels->provider = "p";
  labels->model = "m";
  labels->operation = "chat";
  labels->tenant = "default";
  route->labels = labels;
  return route;
}

}  // namespace sluiceway::simulation
