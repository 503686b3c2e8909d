// Fused multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021, Eq. 3), one thread's share of it.
//
// A thread owns `Channels` neighbouring channels of one head of one query. The threads of a head are a team: forward,
// each of them finds the neighbours and weights of other samples and hands them to the rest, by shuffle on a GPU.
// Machine code says what that is worth: 107 instructions a sample (FP16, width 32) against 203 where every thread finds
// all samples, and 64 of the 107 unpack the values and add them up.
//
// All arithmetic is FP32, whatever the tensors' type: half precision cannot place a sample in a wide level.
#pragma once

#include <cmath>
#include <type_traits>

#include "problem.h"

namespace m2a {

// Where one sample lies.
struct Sample {
    int cell;  // upper left neighbour, counted from the level's first cell; may be outside
    float right, low;  // distance from the left and upper neighbours
    bool inside[4];    // upper left, upper right, lower left, lower right
};

M2A_HD Sample sample_at(const Level& level, float x, float y) {
    // Places that are not finite have no cell: the clamps move NaN, too, to where no neighbour is inside.
    x = fminf(fmaxf(x, -2.0f), static_cast<float>(level.width));
    y = fminf(fmaxf(y, -2.0f), static_cast<float>(level.height));
    const float left = floorf(x), top = floorf(y);
    const int column = static_cast<int>(left), row = static_cast<int>(top);
    const unsigned width = level.width, height = level.height;
    const bool west = static_cast<unsigned>(column) < width, east = static_cast<unsigned>(column + 1) < width;
    const bool north = static_cast<unsigned>(row) < height, south = static_cast<unsigned>(row + 1) < height;
    return {row * level.width + column, x - left, y - top, {north && west, north && east, south && west, south && east}};
}

// A softmax weight before its division by the sum of all: exp(logit - largest), as a power of two.
struct Exponential {
    static constexpr float kLog2E = 1.44269504f;
    float shift;

    explicit M2A_HD Exponential(float largest) : shift(largest * kLog2E) {}

    M2A_HD float operator()(float logit) const {
        const float power = fmaf(logit, kLog2E, -shift);
#if defined(__CUDA_ARCH__)
        // __expf and exp2f spend instructions on weights below 2^-126.
        float weight;
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(weight) : "f"(power));
        return weight;
#else
        return exp2f(power);
#endif
    }
};

// What all samples of one thread share.
template <typename T>
struct Share {
    const T* value;       // [S, N, D] of one image, from the thread's first channel of key 0 on
    const T* projection;  // [S, 3NLP] of one image
    int first;            // channel of key 0 in value
    int stride;           // from key to key of value
    int offsets;          // [L, P, 2] in projection
    int logits;           // [L, P] in projection
};

template <typename T>
M2A_HD Share<T> share_of(
    const Problem& problem, const T* value, const T* projection, int image, int key, int head, int channel) {
    const int samples = problem.levels * kPoints;
    const int row = key * 3 * problem.heads * samples;
    const int first = head * problem.dim + channel;
    return {
        in_registers(value + image_size(problem, problem.dim) * image + first),
        in_registers(projection + image_size(problem, 3 * samples) * image),
        first,
        problem.heads * problem.dim,
        row + 2 * head * samples,
        row + (2 * problem.heads + head) * samples,
    };
}

// The four neighbours of a sample, in the order of Sample::inside.
struct Neighbours {
    int where;  // from key 0 to the first; strides are multiples of 16, and the low four bits say which are inside
    float weight[4];
};

M2A_HD Neighbours neighbours_of(const Level& level, const Sample& at, int stride, float weight) {
    const int inside = at.inside[0] | at.inside[1] << 1 | at.inside[2] << 2 | at.inside[3] << 3;
    const float low = weight * at.low, high = weight - low;
    const float w1 = high * at.right, w3 = low * at.right;
    return {(level.start + at.cell) * stride | inside, {high - w1, w1, low - w3, w3}};
}

// The whole team in one thread. On a GPU it is the threads of a head (deform_attn.cu).
struct OneThread {
    static constexpr int kSamples = kPoints;
    Neighbours found[kSamples];

    // Calls visit(sample) for each sample of a step that is this thread's.
    template <typename Visit>
    void own(Visit visit) const {
        for (int sample = 0; sample < kSamples; ++sample) {
            visit(sample);
        }
    }

    // Keeps what find(sample) says of this thread's samples.
    template <typename Find>
    void exchange(Find find) {
        for (int sample = 0; sample < kSamples; ++sample) {
            found[sample] = find(sample);
        }
    }

    // What was found of a sample, by whichever thread.
    Neighbours of(int sample) const { return found[sample]; }

    float largest(float x) const { return x; }
    float sum(float x) const { return x; }
};

// All threads of a team call this together: those of a query that does not exist, too.
template <typename T, int Channels, typename Team>
M2A_HD void attend(const Problem& problem, const Query& query, const Share<T>& share, Team team, float (&out)[Channels]) {
    constexpr int kSamples = Team::kSamples, kSteps = kPoints / kSamples;
    const T* offsets = in_registers(share.projection + share.offsets);
    const T* logits = in_registers(share.projection + share.logits);
    const int steps = problem.levels * kSteps;
    float largest = -INFINITY;
M2A_NO_UNROLL
    for (int step = 0; step < steps; ++step) {
        team.own([&](int sample) { largest = fmaxf(largest, load_one(logits + kSamples * step + sample)); });
    }
    const Exponential exponential(team.largest(largest));
    float total = 0.0f;
M2A_UNROLL
    for (int c = 0; c < Channels; ++c) {
        out[c] = 0.0f;
    }
M2A_NO_UNROLL
    for (int step = 0; step < steps; ++step) {
        const int sampled = step / kSteps;
        const Level& level = problem.level[sampled];
        team.exchange([&](int sample) {
            const int i = kSamples * step + sample;
            const auto offset = load<2>(offsets + 2 * i);
            const float x = fmaf(query.column + 0.5f, problem.across[query.level][sampled], offset[0] - 0.5f);
            const float y = fmaf(query.row + 0.5f, problem.down[query.level][sampled], offset[1] - 0.5f);
            const float weight = exponential(load_one(logits + i));
            total += weight;
            return neighbours_of(level, sample_at(level, x, y), share.stride, weight);
        });
M2A_UNROLL
        for (int sample = 0; sample < kSamples; ++sample) {
            const Neighbours at = team.of(sample);
            const int upper = at.where & ~15, lower = upper + level.width * share.stride;
            const auto upper_left = load_if<Channels>(at.where & 1, share.value, upper);
            const auto upper_right = load_if<Channels>(at.where & 2, share.value, upper + share.stride);
            const auto lower_left = load_if<Channels>(at.where & 4, share.value, lower);
            const auto lower_right = load_if<Channels>(at.where & 8, share.value, lower + share.stride);
M2A_UNROLL
            for (int c = 0; c < Channels; ++c) {
                out[c] = fmaf(at.weight[3], lower_right[c], out[c]);
                out[c] = fmaf(at.weight[2], lower_left[c], out[c]);
                out[c] = fmaf(at.weight[1], upper_right[c], out[c]);
                out[c] = fmaf(at.weight[0], upper_left[c], out[c]);
            }
        }
    }
    // Divided at the end: a head whose logits are NaN gives NaN even where no sample is inside.
    const float scale = 1.0f / team.sum(total);
M2A_UNROLL
    for (int c = 0; c < Channels; ++c) {
        out[c] *= scale;
    }
}

// Calls run(T(), std::integral_constant<int, dim>()) for the call's type and head width.
template <typename Run>
inline int dispatch(int dtype, int dim, Run run) {
    const auto with_dim = [&](auto type) {
        return dim == 16 ? run(type, std::integral_constant<int, 16>()) : run(type, std::integral_constant<int, 32>());
    };
    return dtype == M2A_FLOAT16 ? with_dim(Half()) : with_dim(float());
}

}  // namespace m2a
