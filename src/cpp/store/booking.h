// What is booked beside calls: costs of our own, top-ups, refunds, and the rows of async jobs.
//
// Model. A booking is a reservation and a settlement in one commit: it is admitted as a call is, or
// forced, when the money has been spent already. Where an allowance is named, it pays first, as far
// as it goes, and the scopes pay the rest: two parts with an id each, in the same commit. A grant
// raises or lowers a scope's limit for good by an entry of its own: limit = what was configured +
// what was granted. A refund lowers what settled calls cost, in the windows in which they were
// reserved; where scopes are named, in those alone, since what a customer gets back was spent in
// the other scopes all the same. A job row is what must outlive the process of an async job: the
// provider's job id is in the file before the first poll.
//
// Bounds: O(scopes) a booking, one commit each. Threads: plain data.
//
//   ledger->book({.call_id = id, .amount = 70'000, .scopes = {video}, .labels = gpu_labels});
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/admission.h"
#include "base/ids.h"
#include "base/usage.h"
#include "store/scope.h"

namespace sluiceway::store {

struct CallLabels;

struct Booking {
  Id call_id;          // with an allowance: see second_part()
  Nanousd amount = 0;  // >= 0, in the unit of the scopes and the labels
  std::vector<std::shared_ptr<Scope>> scopes;
  std::shared_ptr<Scope> allowance;  // pays first, never by force; null: none; not one of `scopes`
  std::shared_ptr<const CallLabels> labels;
  Usage usage;
  std::string evidence;
  std::string idempotency_key;  // unique per tenant; empty: none
  bool any_scopes = false;      // a repeat of the key may name other scopes
  bool force = false;  // spent already: booked even where it does not fit; such scopes block
};

struct Booked {
  struct Part {
    Id call_id;
    Nanousd amount = 0;  // before refunds
  };
  std::vector<Part> parts;  // one, or the allowance's and the rest; of a duplicate: then
  Id call_id;               // the first part's; of a duplicate: the call that used the key before
  bool admitted = false;    // it is in the books, now or from before
  bool duplicate = false;
  bool same = true;  // of a duplicate: the same amount, labels and scopes; what is known of them
  bool overrun = false;  // forced, and it did not fit
  bool blocked = false;  // refused, since the scope is blocked
  std::string scope;     // the first that refused, else the first named; with its window
  ScopeBalance balance;  // of that scope, afterwards
};

// The id of a booking's second part, which a key that names the first has to find. Only an id whose
// last bit is 0 has one, so that the parts stand in their order.
inline Id second_part(const Id& first) { return {first.high, first.low | 1}; }
inline bool has_second_part(const Id& first) { return (first.low & 1) == 0; }

struct Refund {
  std::vector<Id> calls;            // given back from the first as far as it goes
  std::vector<std::string> within;  // names: given back in these scopes alone; empty: in all
  Nanousd amount = 0;               // > 0
  std::string evidence;
  std::string idempotency_key;  // empty: none
  Id id;                        // of this refund; needed with a key
};

struct JobRow {
  Id call_id;
  std::string provider, account, tenant;
  std::string key_id;           // the key that made the job and may ask for it
  std::string provider_job_id;  // unique per provider and account
  std::string state;            // the caller's word: "running", "done" ...
  std::string request, result;  // what the caller needs to go on; the ledger does not read them
  std::int64_t created_ns = 0, updated_ns = 0;  // ledger time
};

struct JobUpdate {
  Id call_id;
  std::string state;                  // empty: stays
  std::optional<std::string> result;  // none: stays
  // Ends the job's hold in the same commit: at a cost, or at nothing (documented as unbilled).
  std::optional<Nanousd> settle;
  bool release = false;
  Usage usage;
  std::string evidence;
  std::string price_version;  // of the row that priced it; empty: none
};

}  // namespace sluiceway::store
