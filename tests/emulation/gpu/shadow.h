// SPDX-License-Identifier: BSD-3-Clause
// A shadow of shared memory: for every word, who wrote it and who has read it since which barrier.
// Two accesses of a word by two threads, one of them a write, must have a barrier between them: of
// the block, or of the warp if both threads are in it. Shuffles and products order no memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace blurops::emulation {

class Shadow {
 public:
  std::string report;  // one line per kind of fault; empty when nothing was wrong

  void reset(unsigned char* base, size_t bytes, int warps) {
    base_ = base;
    words_.assign(bytes / 4, Word{});
    warp_epoch_.assign(warps, 1);
    block_epoch_ = 1;
  }

  void run_by(int thread) { thread_ = thread; }

  void block_ordered() {
    ++block_epoch_;
    for (uint32_t& epoch : warp_epoch_) ++epoch;
  }
  // Called by every thread of the warp; the first to pass starts the new epoch for all.
  void warp_ordered(int warp) { ++warp_epoch_[warp]; }

  bool read(const void* address, size_t bytes) {
    return each("read", address, bytes, [this](Word& word) {
      if (word.in_flight) return fault("a read of words that an unfinished copy writes");
      if (unordered(word.writer, word.writer_block_epoch, word.writer_warp_epoch)) {
        fault("a read after another thread's write without a barrier");
      }
      note_reader(word);
    });
  }

  bool write(const void* address, size_t bytes) {
    return each("write", address, bytes, [this](Word& word) {
      check_write(word);
      note_writer(word);
    });
  }

  // An atomic change, which only those that are not need a barrier from.
  bool set(const void* address) {
    return each("atomic", address, 4, [this](Word& word) {
      if (!word.atomic || word.writer_block_epoch != block_epoch_) check_write(word);
      note_writer(word);
      word.atomic = true;
    });
  }

  // An asynchronous copy writes at any time between its start and the end of its wait.
  bool start_copy(const void* address) {
    if (reinterpret_cast<uintptr_t>(address) % 16 != 0) fault("a copy to an unaligned address");
    return each("copy", address, 16, [this](Word& word) {
      check_write(word);
      word.in_flight = true;
    });
  }
  void end_copy(const void* address) {
    each("copy", address, 16, [this](Word& word) {
      word.in_flight = false;
      note_writer(word);
    });
  }

  void fault(const char* what) {
    constexpr size_t kEnough = 2000;
    const std::string line = std::string(what) + "\n";
    if (report.size() < kEnough && report.find(line) == std::string::npos) report += line;
  }

 private:
  struct Word {
    int16_t writer = -1, reader = -1;                   // threads; -1: nobody
    bool in_flight = false, atomic = false;             // the last write was
    bool read_by_lanes = false, read_by_warps = false;  // of several threads, warps
    uint32_t writer_block_epoch = 0, writer_warp_epoch = 0;
    uint32_t reader_block_epoch = 0, reader_warp_epoch = 0;
  };

  template <typename Visit>
  bool each(const char* access, const void* address, size_t bytes, const Visit& visit) {
    const ptrdiff_t offset = static_cast<const unsigned char*>(address) - base_;
    const ptrdiff_t size = static_cast<ptrdiff_t>(words_.size()) * 4;
    if (offset < 0 || offset + static_cast<ptrdiff_t>(bytes) > size) {
      fault((std::string("a ") + access + " outside the shared memory").c_str());
      return false;
    }
    const size_t alignment = bytes < 4 ? 4 : bytes;
    if (offset % static_cast<ptrdiff_t>(alignment) != 0) {
      fault((std::string("an unaligned ") + access).c_str());
    }
    for (size_t word = offset / 4; word < (offset + bytes + 3) / 4; ++word) visit(words_[word]);
    return true;
  }

  int warp() const { return thread_ / 32; }

  // Whether an access of `thread` at those epochs may happen at the same time as one now.
  bool unordered(int thread, uint32_t block_epoch, uint32_t warp_epoch) const {
    if (thread < 0 || thread == thread_ || block_epoch != block_epoch_) return false;
    return thread / 32 != warp() || warp_epoch == warp_epoch_[warp()];
  }

  void check_write(const Word& word) {
    if (word.in_flight) fault("a write to words that an unfinished copy writes");
    if (unordered(word.writer, word.writer_block_epoch, word.writer_warp_epoch)) {
      fault("a write after another thread's write without a barrier");
    }
    if (word.reader_block_epoch != block_epoch_) return;
    const bool same_warp = !word.read_by_warps && word.reader / 32 == warp();
    const bool ordered = same_warp && (word.reader_warp_epoch != warp_epoch_[warp()] ||
                                       (!word.read_by_lanes && word.reader == thread_));
    if (word.reader >= 0 && !ordered) {
      fault("a write after another thread's read without a barrier");
    }
  }

  void note_writer(Word& word) {
    word.atomic = false;
    word.writer = static_cast<int16_t>(thread_);
    word.writer_block_epoch = block_epoch_;
    word.writer_warp_epoch = warp_epoch_[warp()];
  }

  void note_reader(Word& word) {
    const bool first = word.reader < 0 || word.reader_block_epoch != block_epoch_;
    const bool other_warp = !first && word.reader / 32 != warp();
    if (!first && (other_warp || word.read_by_warps)) {
      word.read_by_warps = true;
      return;
    }
    const bool older = first || word.reader_warp_epoch != warp_epoch_[warp()];
    if (first) word.read_by_warps = false;
    word.read_by_lanes = !older && (word.read_by_lanes || word.reader != thread_);
    word.reader = static_cast<int16_t>(thread_);
    word.reader_block_epoch = block_epoch_;
    word.reader_warp_epoch = warp_epoch_[warp()];
  }

  unsigned char* base_ = nullptr;
  int thread_ = 0;
  uint32_t block_epoch_ = 1;
  std::vector<uint32_t> warp_epoch_;
  std::vector<Word> words_;
};

}  // namespace blurops::emulation
