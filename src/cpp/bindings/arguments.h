// What Python gives to submit(): looked up by name once, and read into the core's words.
//
// Model. `Arguments` borrows what was given, each in its place. Terms are what many calls may
// share: numbers, times and marks; what is a call's own (its identity, scopes, headers, files) is
// read by read_own(). Errors are Python's: TypeError, or InvalidRequest for a value out of its
// range. With the GIL.
#pragma once

#include <Python.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "bindings/submit.h"
#include "engine/call.h"

namespace sluiceway::bindings {

enum Name : std::size_t {
  kStream,
  kTimeout,
  kConnectTimeout,
  kReadTimeout,
  kPoolTimeout,
  kScopes,
  kOnExceed,
  kTenant,
  kIntentId,
  kIdempotencyKey,
  kMaxOutputTokens,
  kPromptAllowance,
  kReachable,
  kExpectedPrompt,
  kExpectedOutput,
  kCap,
  kCacheTtl,
  kExtraHeaders,
  kPriority,
  kAttempts,
  kOtherUnits,
  kPromptTokensMax,
  kWriteTimeout,
  kParts,
  kByteStream,
  kNames
};
using Arguments = std::array<PyObject*, kNames>;  // borrowed; null where not given

// Before anything else here.
void intern_names();
// Puts a value into its place. TypeError for a name that is none.
void place(Arguments& out, PyObject* name, PyObject* value);

// What the arguments say for every call that is given them.
struct Terms : engine::CallTerms {
  std::string_view tenant;  // lives as long as the arguments
  BoundArguments bound;
  Nanousd cap = -1;  // -1: the price's ceiling
};
Terms read_terms(const Arguments& given);
void read_scopes(PyObject* given, engine::CallRequest& request);
// The rest of what was given; `request` has its call id.
void read_own(const Arguments& given, engine::CallRequest& request);

}  // namespace sluiceway::bindings
