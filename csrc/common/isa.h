// SPDX-License-Identifier: BSD-3-Clause
// Which instruction set the CPU kernels use: the best this processor has, found when it is first
// asked for.
#pragma once

#include <string>
#include <vector>

#if defined(__x86_64__) && !defined(BLUROPS_BASELINE_ONLY)
#define BLUROPS_X86 1
#endif

namespace blurops {

enum class Isa : int { kBaseline = 0, kAvx2 = 1, kAvx512 = 2 };

Isa active_isa();
std::string isa_name(Isa isa);

// The names this processor can run, slowest first.
std::vector<std::string> available_isas();

// Tests force each path in turn. Throws std::invalid_argument for a name that is not available.
void force_isa(const std::string& name);

}  // namespace blurops
