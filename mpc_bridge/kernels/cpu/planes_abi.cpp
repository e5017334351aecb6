// C entry point of the bit-plane machine: every instruction is checked before the first one runs.
#include "check.h"

namespace {

bool below(int32_t number, size_t count) { return number >= 0 && static_cast<size_t>(number) < count; }

// Whether one instruction stays inside the registers, keys and message planes of the run.
bool valid(const mpcb::PlaneRun& run, const int32_t* code) {
  const bool d = below(code[1], run.registers), a = below(code[2], run.registers), b = below(code[3], run.registers);
  switch (code[0]) {
    case MPCB_PLANE_ZERO:
    case MPCB_PLANE_ONES:
      return d;
    case MPCB_PLANE_COPY:
    case MPCB_PLANE_NOT:
      return d && a;
    case MPCB_PLANE_XOR:
    case MPCB_PLANE_AND:
    case MPCB_PLANE_XORAND:
      return d && a && b;
    case MPCB_PLANE_PRF:
    case MPCB_PLANE_XPRF:
      return d && below(code[2], run.key_count) && code[3] >= 0;
    case MPCB_PLANE_SEND:
      return a && below(code[3], run.outgoing_planes);
    case MPCB_PLANE_RECV:
      return d && below(code[3], run.incoming_planes);
    default:
      return false;
  }
}

}  // namespace

extern "C" int mpcb_planes_run(uint8_t* planes, size_t registers, size_t stride, size_t bytes, const int32_t* code,
                               size_t instructions, const uint8_t* keys, size_t key_count, uint64_t domain,
                               const uint8_t* incoming, size_t incoming_planes, uint8_t* outgoing,
                               size_t outgoing_planes) {
  if (instructions == 0 || bytes == 0) return MPCB_OK;
  if (stride % 64 != 0 || bytes > stride || bytes >= (size_t{1} << 40)) return MPCB_BAD_SIZE;
  if (mpcb::any_null(planes, code) || (key_count != 0 && keys == nullptr) ||
      (incoming_planes != 0 && incoming == nullptr) || (outgoing_planes != 0 && outgoing == nullptr))
    return MPCB_NULL_POINTER;
  if (key_count > MPCB_PLANE_KEYS) return MPCB_BAD_ARGUMENT;
  const mpcb::PlaneRun run = {planes,    registers, stride,   bytes,           code,     instructions,   keys,
                              key_count, domain,    incoming, incoming_planes, outgoing, outgoing_planes};
  for (size_t i = 0; i < instructions; i++)
    if (!valid(run, code + 4 * i)) return MPCB_BAD_ARGUMENT;
  mpcb::active().planes->run(run);
  return MPCB_OK;
}
