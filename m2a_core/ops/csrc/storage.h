// How tensors lie in memory: FP32 or FP16, read and written in vectors of up to 16 bytes, computed with as float.
//
// Compiles with nvcc for host and device and with any C++17 compiler for the host alone; needs neither TensorRT nor
// PyTorch nor, without nvcc, CUDA.
#pragma once

#include <cassert>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define M2A_HD __host__ __device__ __forceinline__
#define M2A_UNROLL _Pragma("unroll")
#define M2A_NO_UNROLL _Pragma("unroll 1")
#else
#define M2A_HD inline
#define M2A_UNROLL
#define M2A_NO_UNROLL
#endif

namespace m2a {

// IEEE 754 binary16 as it lies in memory.
struct Half {
    std::uint16_t bits;
};

namespace detail {

// One machine word for every vector a thread moves: the compiler splits copies of plain structs into 4-byte loads.
template <int Bytes>
struct Words {
    std::uint32_t word[Bytes / 4];
};

template <int Bytes>
M2A_HD Words<Bytes> load(const void* from) {
    Words<Bytes> to;
#if defined(__CUDA_ARCH__)
    static_assert(Bytes == 4 || Bytes == 8 || Bytes % 16 == 0);
    if constexpr (Bytes == 4) {
        to.word[0] = __ldg(static_cast<const std::uint32_t*>(from));
    } else if constexpr (Bytes == 8) {
        const uint2 v = __ldg(static_cast<const uint2*>(from));
        to.word[0] = v.x, to.word[1] = v.y;
    } else {
M2A_UNROLL
        for (int i = 0; i < Bytes / 16; ++i) {
            const uint4 v = __ldg(static_cast<const uint4*>(from) + i);
            to.word[4 * i] = v.x, to.word[4 * i + 1] = v.y, to.word[4 * i + 2] = v.z, to.word[4 * i + 3] = v.w;
        }
    }
#else
    assert(reinterpret_cast<std::uintptr_t>(from) % (Bytes < 16 ? Bytes : 16) == 0);
    std::memcpy(&to, from, Bytes);
#endif
    return to;
}

template <int Bytes>
M2A_HD void store(void* to, const Words<Bytes>& from) {
#if defined(__CUDA_ARCH__)
    static_assert(Bytes == 4 || Bytes == 8 || Bytes % 16 == 0);
    if constexpr (Bytes == 4) {
        *static_cast<std::uint32_t*>(to) = from.word[0];
    } else if constexpr (Bytes == 8) {
        // By intrinsic: the compiler splits the assignment of a uint4 into four stores, before sm_110 for good.
        __stwb(static_cast<uint2*>(to), make_uint2(from.word[0], from.word[1]));
    } else {
M2A_UNROLL
        for (int i = 0; i < Bytes / 16; ++i) {
            const uint4 v =
                make_uint4(from.word[4 * i], from.word[4 * i + 1], from.word[4 * i + 2], from.word[4 * i + 3]);
            __stwb(static_cast<uint4*>(to) + i, v);
        }
    }
#else
    assert(reinterpret_cast<std::uintptr_t>(to) % (Bytes < 16 ? Bytes : 16) == 0);
    std::memcpy(to, &from, Bytes);
#endif
}

template <typename To, typename From>
M2A_HD To bit_cast(const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

#if !defined(__CUDA_ARCH__)
inline float half_to_float(std::uint32_t bits) {
    const std::uint32_t sign = (bits & 0x8000u) << 16;
    const std::uint32_t magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) {
        return bit_cast<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    }
    // Exponents differ by 112; multiplying by 2^112 moves them and makes subnormal halves normal on the way.
    const float scaled = bit_cast<float>(magnitude << 13) * bit_cast<float>((127u + 112u) << 23);
    return bit_cast<float>(bit_cast<std::uint32_t>(scaled) | sign);
}

// Rounds to nearest, ties to even.
inline std::uint32_t float_to_half(float value) {
    const std::uint32_t bits = bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return sign | 0x7e00u;
    }
    if (magnitude >= 0x477ff000u) {
        return sign | 0x7c00u;  // 65520 and above
    }
    if (magnitude < 0x38800000u) {
        // Below 2^-14: adding 0.5 leaves the subnormal's bits, rounded, at the bottom of the sum.
        const float sum = bit_cast<float>(magnitude) + 0.5f;
        return sign | (bit_cast<std::uint32_t>(sum) - 0x3f000000u);
    }
    const std::uint32_t odd = magnitude >> 13 & 1u;
    return sign | (magnitude - 0x38000000u + 0xfffu + odd) >> 13;
}
#endif

// Two halves to floats; the first lies in the low half of the word.
M2A_HD void unpack(std::uint32_t word, float& low, float& high) {
#if defined(__CUDA_ARCH__)
    const float2 both = __half22float2(bit_cast<__half2>(word));
    low = both.x, high = both.y;
#else
    low = half_to_float(word & 0xffffu), high = half_to_float(word >> 16);
#endif
}

M2A_HD std::uint32_t pack(float low, float high) {
#if defined(__CUDA_ARCH__)
    return bit_cast<std::uint32_t>(__floats2half2_rn(low, high));
#else
    return float_to_half(low) | float_to_half(high) << 16;
#endif
}

}  // namespace detail

// `Count` neighbouring numbers as loaded: unpacked only when used, since FP16 takes half the registers.
template <typename T, int Count>
struct Vector;

template <int Count>
struct Vector<float, Count> {
    detail::Words<4 * Count> words;

    M2A_HD float operator[](int i) const { return detail::bit_cast<float>(words.word[i]); }
};

template <int Count>
struct Vector<Half, Count> {
    detail::Words<2 * Count> words;

    M2A_HD float operator[](int i) const {
        float low, high;
        detail::unpack(words.word[i / 2], low, high);
        return i % 2 ? high : low;
    }
};

// `from` is aligned to the smaller of 16 bytes and Count * sizeof(T).
template <int Count, typename T>
M2A_HD Vector<T, Count> load(const T* from) {
    return {detail::load<Count * static_cast<int>(sizeof(T))>(from)};
}

template <int Count, typename T>
M2A_HD Vector<T, Count> load_if(bool wanted, const T* base, int index) {
    Vector<T, Count> zero = {};
    return wanted ? load<Count>(base + index) : zero;
}

// Keeps an address in registers. Left to itself, the compiler puts it together anew for each load.
template <typename T>
M2A_HD const T* in_registers(const T* address) {
#if defined(__CUDA_ARCH__)
    asm volatile("" : "+l"(address));
#endif
    return address;
}

M2A_HD float load_one(const float* from) {
#if defined(__CUDA_ARCH__)
    return __ldg(from);
#else
    return *from;
#endif
}

M2A_HD float load_one(const Half* from) {
#if defined(__CUDA_ARCH__)
    const std::uint16_t bits = __ldg(&from->bits);
#else
    const std::uint16_t bits = from->bits;
#endif
    float low, high;
    detail::unpack(bits, low, high);
    return low;
}

M2A_HD void store_one(float* to, float from) { *to = from; }

M2A_HD void store_one(Half* to, float from) { to->bits = static_cast<std::uint16_t>(detail::pack(from, 0.0f)); }

template <int Count>
M2A_HD void store(float* to, const float (&from)[Count]) {
    detail::Words<4 * Count> words;
M2A_UNROLL
    for (int i = 0; i < Count; ++i) {
        words.word[i] = detail::bit_cast<std::uint32_t>(from[i]);
    }
    detail::store(to, words);
}

template <int Count>
M2A_HD void store(Half* to, const float (&from)[Count]) {
    detail::Words<2 * Count> words;
M2A_UNROLL
    for (int i = 0; i < Count / 2; ++i) {
        words.word[i] = detail::pack(from[2 * i], from[2 * i + 1]);
    }
    detail::store(to, words);
}

}  // namespace m2a
