// The PRF as bulk kernels: keystream into a buffer, and zero shares. The portable cipher is bit-sliced.
#include "prf.h"

#include <cstring>

#include "bitsliced_aes.h"
#include "transpose.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ring words are little-endian on the wire and in keystreams");

namespace mpcb::MPCB_TARGET {

#ifdef MPCB_TARGET_portable

namespace {

constexpr int kSliced = 64;  // blocks per word

// The state of 64 blocks: plane[b][p] holds bit b of byte p, one block per bit of the word.
using Planes = uint64_t[8][16];
typedef uint64_t Pair __attribute__((vector_size(16)));

void sub_word(uint8_t (&word)[4]) {
  uint64_t plane[8] = {};
  for (int i = 0; i < 4; i++)
    for (int b = 0; b < 8; b++) plane[b] |= static_cast<uint64_t>(word[i] >> b & 1) << i;
  sub_bytes(plane);
  for (int i = 0; i < 4; i++) {
    word[i] = 0;
    for (int b = 0; b < 8; b++) word[i] = static_cast<uint8_t>(word[i] | (plane[b] >> i & 1) << b);
  }
}

// SubBytes, two byte positions at a time, followed by ShiftRows.
void sub_bytes_shift_rows(Planes& state) {
  Planes shifted;
  for (int p = 0; p < 16; p += 2) {
    Pair plane[8];
    for (int b = 0; b < 8; b++) memcpy(&plane[b], &state[b][p], sizeof(Pair));
    sub_bytes(plane);
    for (int b = 0; b < 8; b++)
      for (int half = 0; half < 2; half++) {
        const int row = (p + half) % 4, column = (p + half) / 4;
        shifted[b][row + 4 * ((column + 4 - row) % 4)] = plane[b][half];
      }
  }
  memcpy(state, shifted, sizeof(Planes));
}

void mix_columns(Planes& state) {
  for (int p = 0; p < 16; p += 4) {
    uint64_t a[8][4], sum[8], twice[8][4];
    for (int b = 0; b < 8; b++) {
      for (int r = 0; r < 4; r++) a[b][r] = state[b][p + r];
      sum[b] = a[b][0] ^ a[b][1] ^ a[b][2] ^ a[b][3];
    }
    // 2 (a_r + a_{r+1}) modulo X^8 + X^4 + X^3 + X + 1
    for (int r = 0; r < 4; r++) {
      const uint64_t top = a[7][r] ^ a[7][(r + 1) % 4];
      twice[0][r] = top;
      for (int b = 1; b < 8; b++) {
        twice[b][r] = a[b - 1][r] ^ a[b - 1][(r + 1) % 4];
        if (b == 1 || b == 3 || b == 4) twice[b][r] ^= top;
      }
    }
    for (int b = 0; b < 8; b++)
      for (int r = 0; r < 4; r++) state[b][p + r] = twice[b][r] ^ a[b][r] ^ sum[b];
  }
}

void add_round_key(Planes& state, const uint8_t* key) {
  for (int p = 0; p < 16; p++)
    for (int b = 0; b < 8; b++) state[b][p] ^= -static_cast<uint64_t>(key[p] >> b & 1);
}

void encrypt_state(const PrfSchedule& schedule, Planes& state) {
  add_round_key(state, schedule.round_keys);
  for (int round = 1; round <= 10; round++) {
    sub_bytes_shift_rows(state);
    if (round < 10) mix_columns(state);
    add_round_key(state, schedule.round_keys + kBlockBytes * round);
  }
}

// Bytes 8 * half to 8 * half + 7 of every block, as little-endian words.
void state_words(const Planes& state, int half, uint64_t (&words)[kSliced]) {
  for (int p = 0; p < 8; p++)
    for (int b = 0; b < 8; b++) words[8 * p + b] = state[b][8 * half + p];
  transpose_64x64(words);
}

void sliced_blocks(const PrfSchedule& schedule, uint64_t domain, uint64_t first, uint8_t* out) {
  Planes state;
  uint64_t words[kSliced];
  for (int i = 0; i < kSliced; i++) words[i] = first + static_cast<uint64_t>(i);
  transpose_64x64(words);
  for (int p = 0; p < 8; p++)
    for (int b = 0; b < 8; b++) {
      state[b][p] = -(domain >> (8 * (7 - p) + b) & 1);
      state[b][8 + p] = words[8 * (7 - p) + b];
    }
  encrypt_state(schedule, state);
  for (int half = 0; half < 2; half++) {
    state_words(state, half, words);
    for (int i = 0; i < kSliced; i++) memcpy(out + kBlockBytes * i + 8 * half, &words[i], 8);
  }
}

}  // namespace

void prf_expand(const uint8_t* key, PrfSchedule& schedule) {
  memcpy(schedule.round_keys, key, kBlockBytes);
  uint8_t constant = 1;
  for (int i = 4; i < 44; i++) {
    const uint8_t* previous = schedule.round_keys + 4 * (i - 1);
    uint8_t word[4] = {previous[0], previous[1], previous[2], previous[3]};
    if (i % 4 == 0) {
      uint8_t rotated[4] = {word[1], word[2], word[3], word[0]};
      sub_word(rotated);
      rotated[0] ^= constant;
      constant = static_cast<uint8_t>(constant << 1 ^ (constant >> 7) * 0x1b);
      memcpy(word, rotated, 4);
    }
    for (int b = 0; b < 4; b++)
      schedule.round_keys[4 * i + b] = static_cast<uint8_t>(schedule.round_keys[4 * (i - 4) + b] ^ word[b]);
  }
}

void keystream(const PrfSchedule& schedule, uint64_t domain, uint64_t first, uint8_t* out, size_t blocks) {
  size_t done = 0;
  for (; done + kSliced <= blocks; done += kSliced)
    sliced_blocks(schedule, domain, first + done, out + kBlockBytes * done);
  if (done < blocks) {
    uint8_t rest[kSliced * kBlockBytes];
    sliced_blocks(schedule, domain, first + done, rest);
    memcpy(out + kBlockBytes * done, rest, kBlockBytes * (blocks - done));
  }
}

void encrypt_blocks(const PrfSchedule& schedule, uint64_t* blocks, size_t count) {
  for (size_t base = 0; base < count; base += kSliced) {
    const size_t now = count - base < kSliced ? count - base : kSliced;
    Planes state;
    uint64_t words[kSliced];
    for (int half = 0; half < 2; half++) {
      for (size_t i = 0; i < kSliced; i++) words[i] = i < now ? blocks[2 * (base + i) + half] : 0;
      transpose_64x64(words);
      for (int p = 0; p < 8; p++)
        for (int b = 0; b < 8; b++) state[b][8 * half + p] = words[8 * p + b];
    }
    encrypt_state(schedule, state);
    for (int half = 0; half < 2; half++) {
      state_words(state, half, words);
      for (size_t i = 0; i < now; i++) blocks[2 * (base + i) + half] = words[i];
    }
  }
}

#else

namespace {

template <int constant>
__m128i next_round_key(__m128i key) {
  const __m128i word = _mm_shuffle_epi32(_mm_aeskeygenassist_si128(key, constant), 0xff);
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
  return _mm_xor_si128(key, word);
}

}  // namespace

void prf_expand(const uint8_t* key, PrfSchedule& schedule) {
  __m128i* round = reinterpret_cast<__m128i*>(schedule.round_keys);
  round[0] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key));
  round[1] = next_round_key<0x01>(round[0]);
  round[2] = next_round_key<0x02>(round[1]);
  round[3] = next_round_key<0x04>(round[2]);
  round[4] = next_round_key<0x08>(round[3]);
  round[5] = next_round_key<0x10>(round[4]);
  round[6] = next_round_key<0x20>(round[5]);
  round[7] = next_round_key<0x40>(round[6]);
  round[8] = next_round_key<0x80>(round[7]);
  round[9] = next_round_key<0x1b>(round[8]);
  round[10] = next_round_key<0x36>(round[9]);
}

#endif

namespace {

void fill(const uint8_t* key, uint64_t domain, uint64_t first_block, uint8_t* out, size_t bytes) {
  PrfSchedule schedule;
  prf_expand(key, schedule);
  const size_t blocks = bytes / kBlockBytes, rest = bytes % kBlockBytes;
  keystream(schedule, domain, first_block, out, blocks);
  if (rest != 0) {
    uint8_t last[kBlockBytes];
    keystream(schedule, domain, first_block + blocks, last, 1);
    memcpy(out + kBlockBytes * blocks, last, rest);
    wipe(last, sizeof last);
  }
  wipe(&schedule, sizeof schedule);
}

void add_zero_share(const uint8_t* key_a, const uint8_t* key_b, uint64_t domain, uint64_t* z, size_t n) {
  constexpr size_t kWords = 512;  // per stream and pass: both buffers stay in the first-level cache
  alignas(64) uint64_t a[kWords], b[kWords];
  PrfSchedule schedule_a, schedule_b;
  prf_expand(key_a, schedule_a);
  prf_expand(key_b, schedule_b);
  for (size_t base = 0; base < n; base += kWords) {
    const size_t words = n - base < kWords ? n - base : kWords;
    keystream(schedule_a, domain, base / 2, reinterpret_cast<uint8_t*>(a), (words + 1) / 2);
    keystream(schedule_b, domain, base / 2, reinterpret_cast<uint8_t*>(b), (words + 1) / 2);
    for (size_t i = 0; i < words; i++) z[base + i] += a[i] - b[i];
  }
  wipe(a, sizeof a);
  wipe(b, sizeof b);
  wipe(&schedule_a, sizeof schedule_a);
  wipe(&schedule_b, sizeof schedule_b);
}

}  // namespace

const PrfKernels prf_kernels = {.fill = fill, .add_zero_share = add_zero_share};

}  // namespace mpcb::MPCB_TARGET
