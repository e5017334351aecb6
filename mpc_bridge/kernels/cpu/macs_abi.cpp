// C entry points of the MAC machine: every instruction is checked before the first one runs.
#include <stdlib.h>

#include "check.h"

namespace {

constexpr size_t kTileWords = 64;

bool below(int32_t number, size_t count) { return number >= 0 && static_cast<size_t>(number) < count; }

struct Registers {
  size_t words, bits;
};

// Whether one instruction stays inside the registers, planes and rows of the run.
bool valid(const mpcb::MacRun& run, const Registers& registers, const int32_t* code) {
  const auto word = [&](int i) { return below(code[i], registers.words); };
  const auto bit = [&](int i) { return below(code[i], registers.bits); };
  switch (code[0]) {
    case MPCB_MAC_BIT_ONES:
      return bit(1);
    case MPCB_MAC_BIT_LOAD:
      return bit(1) && below(code[3], run.plane_count);
    case MPCB_MAC_BIT_XOR:
    case MPCB_MAC_BIT_AND:
      return bit(1) && bit(2) && bit(3);
    case MPCB_MAC_BIT_NOT:
      return bit(1) && bit(2);
    case MPCB_MAC_ZERO:
      return word(1);
    case MPCB_MAC_LOAD:
      return word(1) && below(code[3], run.in_rows);
    case MPCB_MAC_PRF:
      return word(1) && code[3] >= 0;
    case MPCB_MAC_XOR:
      return word(1) && word(2) && word(3);
    case MPCB_MAC_XORAND:
      return word(1) && word(2) && bit(3);
    case MPCB_MAC_XORKEY:
      return word(1) && bit(3);
    case MPCB_MAC_STORE:
      return word(2) && below(code[3], run.out_rows);
    default:
      return false;
  }
}

template <class Pointer>
bool all_there(Pointer const* pointers, size_t count) {
  if (count != 0 && pointers == nullptr) return false;
  for (size_t i = 0; i < count; i++)
    if (pointers[i] == nullptr) return false;
  return true;
}

}  // namespace

extern "C" {

int mpcb_macs_run(const uint8_t* const* planes, size_t plane_count, size_t lanes, const int32_t* code,
                  size_t instructions, size_t word_registers, size_t bit_registers, const uint8_t* key, uint64_t domain,
                  uint64_t delta, const uint64_t* const* in, size_t in_rows, uint64_t* const* out, size_t out_rows) {
  if (instructions == 0 || lanes == 0) return MPCB_OK;
  if (lanes >= (size_t{1} << 32) || word_registers >= (size_t{1} << 24) || bit_registers >= (size_t{1} << 24))
    return MPCB_BAD_SIZE;
  if (mpcb::any_null(key) || mpcb::any_null(code) || !all_there(planes, plane_count) || !all_there(in, in_rows) ||
      !all_there(out, out_rows))
    return MPCB_NULL_POINTER;
  const mpcb::MacRun run = {planes, plane_count, lanes, code,    instructions, key,
                            domain, delta,       in,    in_rows, out,          out_rows};
  const Registers registers = {word_registers, bit_registers};
  for (size_t i = 0; i < instructions; i++)
    if (!valid(run, registers, code + 4 * i)) return MPCB_BAD_ARGUMENT;
  // rows of whole vectors first, then the bits, rounded up to one
  const size_t words = kTileWords * word_registers, bytes = (words + (bit_registers + 7) / 8 * 8) * sizeof(uint64_t);
  uint64_t* const scratch = static_cast<uint64_t*>(aligned_alloc(64, bytes == 0 ? 64 : bytes));
  if (scratch == nullptr) return MPCB_OUT_OF_MEMORY;
  mpcb::active().macs->run(run, scratch, scratch + words);
  free(scratch);
  return MPCB_OK;
}

int mpcb_macs_deal(const uint8_t* planes, size_t stride, size_t rows, size_t lanes, uint64_t delta, const uint8_t* keys,
                   size_t key_count, uint64_t domain, uint64_t* out) {
  if (rows == 0 || lanes == 0) return MPCB_OK;
  if (lanes >= (size_t{1} << 32) || rows >= (size_t{1} << 24) || stride < (lanes + 7) / 8) return MPCB_BAD_SIZE;
  if (key_count > MPCB_PLANE_KEYS) return MPCB_BAD_ARGUMENT;
  if (mpcb::any_null(planes) || mpcb::any_null(out) || (key_count != 0 && keys == nullptr)) return MPCB_NULL_POINTER;
  mpcb::active().macs->deal(planes, stride, rows, lanes, delta, keys, key_count, domain, out);
  return MPCB_OK;
}
}
