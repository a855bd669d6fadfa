// Planted bugs: the simulation has to catch each of them, or it proves nothing.
//
// Model. Most stand between the engine and the ledger as a Ledger of their own that misbehaves in
// one way; the rest is an admit function, or a trigger in the ledger's file. No product code knows
// of them.
#pragma once

#include <memory>
#include <string_view>

#include "store/ledger.h"

namespace sluiceway::simulation {

enum class Mutation : std::uint8_t {
  kNone,
  kRefundOnExpiry,    // in doubt gives the money back
  kCheckThenRecord,   // admission outside of the commit
  kSettleTwice,       // an end is written a second time
  kFloatAdmission,    // dollars in floating point, when admitting
  kFloatCost,         // and when settling
  kHeldWhenRefused,   // a refused call leaves what it took in the first scope
  kSendBeforeCommit,  // the call goes out before its reservation is durable
  kForgottenEnd,      // an end gets lost now and then
};
constexpr int kMutations = 9;
std::string_view mutation_name(Mutation mutation);

StatusOr<std::shared_ptr<store::Ledger>> open_mutated(Mutation mutation,
                                                      store::LedgerOptions options,
                                                      store::VerdictSink* sink);
// For kSettleTwice: alters the file behind `path`, once it has entries. True when that is done.
bool plant_trigger(const std::string& path);

}  // namespace sluiceway::simulation
