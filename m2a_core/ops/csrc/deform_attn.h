// Fused multi-scale deformable attention (Zhu et al., Deformable DETR, ICLR 2021, Eq. 3), one thread's share of it.
//
// A thread owns `Channels` neighbouring channels of one head of one query. It computes softmax and sampling places of
// its head itself: a head has only 16 bytes a thread times two to eight threads, and handing the four corner weights and
// addresses around by shuffle takes as many issue slots as computing them.
//
// All arithmetic is FP32, whatever the tensors' type: half precision cannot place a sample in a wide level.
#pragma once

#include <cmath>
#include <type_traits>

#include "problem.h"

namespace m2a {

// Points of one step of the loop over samples: eight 16-byte loads in flight. With all four points the compiler keeps
// sixteen, and spills.
constexpr int kStep = 2;
constexpr int kSteps = kPoints / kStep;

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

M2A_HD float exponential(float x) {
#if defined(__CUDA_ARCH__)
    return __expf(x);
#else
    return expf(x);
#endif
}

// What all samples of one thread share: one image's tensors, which are the same for a whole block and cost no registers,
// and 32-bit offsets into them.
template <typename T>
struct Share {
    const T* value;       // [S, N, D]
    const T* projection;  // [S, 3NLP]
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
    return {
        value + image_size(problem, problem.dim) * image,
        projection + image_size(problem, 3 * samples) * image,
        head * problem.dim + channel,
        problem.heads * problem.dim,
        row + 2 * head * samples,
        row + (2 * problem.heads + head) * samples,
    };
}

template <typename T>
M2A_HD float largest_logit(const Problem& problem, const T* logits) {
    float largest = -INFINITY;
M2A_NO_UNROLL
    for (int i = 0; i < problem.levels; ++i) {
        const auto four = load<kPoints>(logits + i * kPoints);
M2A_UNROLL
        for (int p = 0; p < kPoints; ++p) {
            largest = fmaxf(largest, four[p]);
        }
    }
    return largest;
}

template <typename T, int Channels>
M2A_HD void attend(const Problem& problem, const Query& query, const Share<T>& share, float (&out)[Channels]) {
    const float largest = largest_logit(problem, share.projection + share.logits);
    float total = 0.0f;
M2A_UNROLL
    for (int c = 0; c < Channels; ++c) {
        out[c] = 0.0f;
    }
M2A_NO_UNROLL
    for (int step = 0; step < problem.levels * kSteps; ++step) {
        const int sampled = step / kSteps;
        const Level& level = problem.level[sampled];
        const float x = (query.column + 0.5f) * problem.across[query.level][sampled];
        const float y = (query.row + 0.5f) * problem.down[query.level][sampled];
        const auto offsets = load<2 * kStep>(share.projection + share.offsets + 2 * kStep * step);
        const auto logits = load<kStep>(share.projection + share.logits + kStep * step);
M2A_UNROLL
        for (int p = 0; p < kStep; ++p) {
            const Sample at = sample_at(level, x + (offsets[2 * p] - 0.5f), y + (offsets[2 * p + 1] - 0.5f));
            const float weight = exponential(logits[p] - largest);
            total += weight;
            const int upper = (level.start + at.cell) * share.stride + share.first, lower = upper + level.width * share.stride;
            const auto upper_left = load_if<Channels>(at.inside[0], share.value, upper);
            const auto upper_right = load_if<Channels>(at.inside[1], share.value, upper + share.stride);
            const auto lower_left = load_if<Channels>(at.inside[2], share.value, lower);
            const auto lower_right = load_if<Channels>(at.inside[3], share.value, lower + share.stride);
            const float low = weight * at.low, high = weight - low;
            const float w1 = high * at.right, w0 = high - w1, w3 = low * at.right, w2 = low - w3;
M2A_UNROLL
            for (int c = 0; c < Channels; ++c) {
                out[c] += w0 * upper_left[c] + w1 * upper_right[c] + w2 * lower_left[c] + w3 * lower_right[c];
            }
        }
    }
    // Divided at the end: a head whose logits are NaN gives NaN even where no sample is inside.
    const float scale = 1.0f / total;
M2A_UNROLL
    for (int c = 0; c < Channels; ++c) {
        out[c] *= scale;
    }
}

// Gradients of one thread's share.
//
// Sum: float -> float, the sum over all threads of the head. Add: (float* to, const float (&)[Channels]), atomic.
// grad_value (float32) and grad_projection are those of the image; the thread of a head that `writes` fills the latter.
template <typename T, int Channels, typename Sum, typename Add>
M2A_HD void attend_backward(
    const Problem& problem, const Query& query, const Share<T>& share, const Vector<T, Channels>& grad,
    float* grad_value, T* grad_projection, bool writes, Sum sum, Add add) {
    const float largest = largest_logit(problem, share.projection + share.logits);
    float total = 0.0f;
M2A_NO_UNROLL
    for (int i = 0; i < problem.levels; ++i) {
        const auto logits = load<kPoints>(share.projection + share.logits + i * kPoints);
M2A_UNROLL
        for (int p = 0; p < kPoints; ++p) {
            total += exponential(logits[p] - largest);
        }
    }
    const float scale = 1.0f / total;

    // Gradient of each logit but for the mean that softmax takes off. A run-time index would move it out of registers.
    float slope[kMaxLevels * kPoints] = {};
    float mean = 0.0f;
M2A_NO_UNROLL
    for (int i = 0; i < problem.levels * kPoints; ++i) {
        const int sampled = i / kPoints;
        const Level& level = problem.level[sampled];
        const auto offset = load<2>(share.projection + share.offsets + 2 * i);
        const float x = (query.column + 0.5f) * problem.across[query.level][sampled] + (offset[0] - 0.5f);
        const float y = (query.row + 0.5f) * problem.down[query.level][sampled] + (offset[1] - 0.5f);
        const Sample at = sample_at(level, x, y);
        const float weight = exponential(load_one(share.projection + share.logits + i) - largest) * scale;
        const int cell = (level.start + at.cell) * share.stride + share.first;
        const float low = weight * at.low, high = weight - low;
        const float w1 = high * at.right, w0 = high - w1, w3 = low * at.right, w2 = low - w3;
        const float weights[4] = {w0, w1, w2, w3};
        const int steps[4] = {0, share.stride, level.width * share.stride, (level.width + 1) * share.stride};
        float product[4];
M2A_UNROLL
        for (int k = 0; k < 4; ++k) {
            product[k] = 0.0f;
            if (at.inside[k]) {
                const auto neighbour = load<Channels>(share.value + cell + steps[k]);
                float part[Channels];
M2A_UNROLL
                for (int c = 0; c < Channels; ++c) {
                    product[k] += grad[c] * neighbour[c];
                    part[c] = grad[c] * weights[k];
                }
                add(grad_value + cell + steps[k], part);
            }
        }
        const float top = product[1] - product[0], bottom = product[3] - product[2];
        const float upper = product[0] + at.right * top;
        const float rise = product[2] + at.right * bottom - upper;
        const float place[2] = {weight * sum(top + at.low * (bottom - top)), weight * sum(rise)};
        const float here = weight * sum(upper + at.low * rise);
        mean += here;
M2A_UNROLL
        for (int j = 0; j < kMaxLevels * kPoints; ++j) {
            slope[j] = j == i ? here : slope[j];
        }
        if (writes) {
            store(grad_projection + share.offsets + 2 * i, place);
        }
    }
M2A_UNROLL
    for (int i = 0; i < kMaxLevels * kPoints; ++i) {
        if (writes && i < problem.levels * kPoints) {
            const float weight = exponential(load_one(share.projection + share.logits + i) - largest) * scale;
            store_one(grad_projection + share.logits + i, slope[i] - weight * mean);
        }
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
