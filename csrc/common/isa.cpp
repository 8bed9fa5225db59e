// SPDX-License-Identifier: BSD-3-Clause
#include "common/isa.h"

#include <atomic>
#include <stdexcept>

namespace blurops {
namespace {

Isa best_isa() {
#if defined(BLUROPS_X86)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw")) {
    return Isa::kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

std::atomic<Isa>& current() {
  static std::atomic<Isa> isa{best_isa()};
  return isa;
}

}  // namespace

Isa active_isa() { return current().load(std::memory_order_relaxed); }

std::string isa_name(Isa isa) {
  static const char* const names[] = {"baseline", "avx2", "avx512"};
  return names[static_cast<int>(isa)];
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (int isa = 0; isa <= static_cast<int>(best_isa()); ++isa) {
    names.push_back(isa_name(static_cast<Isa>(isa)));
  }
  return names;
}

void force_isa(const std::string& name) {
  for (int isa = 0; isa <= static_cast<int>(best_isa()); ++isa) {
    if (isa_name(static_cast<Isa>(isa)) == name) {
      current().store(static_cast<Isa>(isa), std::memory_order_relaxed);
      return;
    }
  }
  throw std::invalid_argument("this processor has no instruction set named " + name);
}

}  // namespace blurops
