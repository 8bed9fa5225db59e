// SPDX-License-Identifier: BSD-3-Clause
// The threads of a block as fibers: each runs until it waits for others. ucontext starts a fiber;
// after that _setjmp and _longjmp switch, which need no system call.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gpu/shadow.h"

namespace blurops::emulation {

enum class Order : int { kForward = 0, kReverse = 1, kRandom = 2 };

struct Settings {
  bool copies_land_late = true;
  Order order = Order::kForward;
  std::string report;  // of all launches so far
};

inline Settings& settings() {
  static Settings chosen;
  return chosen;
}

// What the lanes of a warp bring to a collective instruction, and what the last of them makes of
// it. Two of each: a lane that went on may bring its next operands while others fetch results.
struct Meeting {
  unsigned char operands[32][32];
  unsigned char results[32][16];
};
struct Warp {
  int arrived = 0;
  uint32_t generation = 0;
  const char* kind = nullptr;
  Meeting meetings[2];
};

struct Copy {
  void* to;
  const void* from;  // null: zeros
};

struct Fiber {
  std::vector<char> stack;
  ucontext_t start;
  jmp_buf here;
  bool started = false, done = false;
  // It waits while *generation == seen.
  const uint32_t* generation = nullptr;
  uint32_t seen = 0;
  std::vector<std::vector<Copy>> groups;
  std::vector<Copy> open;
};

class Block {
 public:
  Shadow shadow;
  int current = 0;
  int64_t index = 0;

  unsigned char* shared() { return aligned_; }

  void resize(int threads, int64_t shared_bytes) {
    fibers_.resize(threads);
    for (Fiber& fiber : fibers_) fiber.stack.resize(kStack);
    warps_.resize((threads + 31) / 32);
    memory_.resize(shared_bytes + 64);
    bytes_ = shared_bytes;
    const auto address = reinterpret_cast<uintptr_t>(memory_.data());
    aligned_ = memory_.data() + (64 - address % 64) % 64;
  }

  void run(int64_t block, const std::function<void()>& kernel) {
    index = block;
    kernel_ = &kernel;
    std::fill(memory_.begin(), memory_.end(), static_cast<unsigned char>(0xff));
    shadow.reset(aligned_, bytes_, static_cast<int>(warps_.size()));
    for (Warp& warp : warps_) warp = Warp{};
    arrived_ = 0;
    barriers_ = 0;
    for (Fiber& fiber : fibers_) {
      fiber.started = fiber.done = false;
      fiber.generation = nullptr;
      fiber.groups.clear();
      fiber.open.clear();
    }
    schedule();
  }

  void barrier() {
    if (++arrived_ == static_cast<int>(fibers_.size())) {
      arrived_ = 0;
      ++barriers_;
      shadow.block_ordered();
    } else {
      wait_for(barriers_);
    }
  }

  // All lanes of the warp bring operands; the last one computes every lane's results.
  template <typename Compute>
  const unsigned char* meet(const char* kind, const void* operands, size_t size,
                            const Compute& compute) {
    Warp& warp = warps_[current / 32];
    Meeting& meeting = warp.meetings[warp.generation & 1];
    if (warp.arrived > 0 && warp.kind != kind) shadow.fault("lanes of a warp took different ways");
    warp.kind = kind;
    if (size > 0) std::memcpy(meeting.operands[current & 31], operands, size);
    if (++warp.arrived == 32) {
      compute(meeting);
      warp.arrived = 0;
      ++warp.generation;
    } else {
      wait_for(warp.generation);
    }
    return meeting.results[current & 31];
  }

  void copy(void* to, const void* from, bool there) {
    if (reinterpret_cast<uintptr_t>(from) % 16 != 0) shadow.fault("a copy from an odd address");
    if (!shadow.start_copy(to)) return;
    Copy copy{to, there ? from : nullptr};
    if (!settings().copies_land_late) land(copy);
    fibers_[current].open.push_back(copy);
  }
  void commit() {
    Fiber& fiber = fibers_[current];
    fiber.groups.push_back(std::move(fiber.open));
    fiber.open.clear();
  }
  void wait(size_t pending) {
    auto& groups = fibers_[current].groups;
    while (groups.size() > pending) {
      for (const Copy& copy : groups.front()) {
        if (settings().copies_land_late) land(copy);
        shadow.end_copy(copy.to);
      }
      groups.erase(groups.begin());
    }
  }

 private:
  static constexpr size_t kStack = 256 << 10;

  static void land(const Copy& copy) {
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, 16);
    } else {
      std::memset(copy.to, 0, 16);
    }
  }

  void wait_for(const uint32_t& generation) {
    Fiber& fiber = fibers_[current];
    fiber.generation = &generation;
    fiber.seen = generation;
    if (_setjmp(fiber.here) == 0) _longjmp(scheduler_, 1);
  }

  static void enter();

  void resume(int thread) {
    Fiber& fiber = fibers_[thread];
    current = thread;
    shadow.run_by(thread);
    fiber.generation = nullptr;
    if (_setjmp(scheduler_) != 0) return;
    if (fiber.started) _longjmp(fiber.here, 1);
    fiber.started = true;
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = fiber.stack.data();
    fiber.start.uc_stack.ss_size = fiber.stack.size();
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, enter, 0);
    setcontext(&fiber.start);
  }

  void schedule() {
    std::vector<int> order(fibers_.size());
    std::iota(order.begin(), order.end(), 0);
    if (settings().order == Order::kReverse) std::reverse(order.begin(), order.end());
    std::mt19937 random(static_cast<unsigned>(index));
    for (size_t left = fibers_.size(); left > 0;) {
      if (settings().order == Order::kRandom) std::shuffle(order.begin(), order.end(), random);
      bool moved = false;
      for (const int thread : order) {
        Fiber& fiber = fibers_[thread];
        const bool waits = fiber.generation != nullptr && *fiber.generation == fiber.seen;
        if (fiber.done || waits) continue;
        moved = true;
        resume(thread);
        if (fiber.done) --left;
      }
      if (!moved) {
        shadow.fault("threads wait for each other for ever");
        return;
      }
    }
  }

  std::vector<Fiber> fibers_;
  std::vector<Warp> warps_;
  std::vector<unsigned char> memory_;
  unsigned char* aligned_ = nullptr;
  size_t bytes_ = 0;
  int arrived_ = 0;
  uint32_t barriers_ = 0;
  jmp_buf scheduler_;
  const std::function<void()>* kernel_ = nullptr;
};

inline Block& block() {
  static Block one;
  return one;
}

inline void Block::enter() {
  (*block().kernel_)();
  block().fibers_[block().current].done = true;
  _longjmp(block().scheduler_, 1);
}

inline void run(int64_t blocks, int threads, int64_t shared_bytes,
                const std::function<void()>& kernel) {
  block().shadow.report.clear();
  block().resize(threads, shared_bytes);
  for (int64_t index = 0; index < blocks; ++index) block().run(index, kernel);
  settings().report += block().shadow.report;
}

}  // namespace blurops::emulation
