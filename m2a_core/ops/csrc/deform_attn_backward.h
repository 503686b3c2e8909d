// Gradients of fused multi-scale deformable attention: one thread's share of them.
#pragma once

#include "deform_attn.h"

namespace m2a {

// Gradients of one thread's share.
//
// Sum: float -> float, the sum over all threads of the head. Add: (float* to, const float (&)[Channels]), atomic.
// grad_value (float32) and grad_projection are those of the image; the thread of a head that `writes` fills the latter.
template <typename T, int Channels, typename Sum, typename Add>
M2A_HD void attend_backward(
    const Problem& problem, const Query& query, const Share<T>& share, const Vector<T, Channels>& grad,
    float* grad_value, T* grad_projection, bool writes, Sum sum, Add add) {
    const T* logits = share.projection + share.logits;
    float largest = -INFINITY;
M2A_NO_UNROLL
    for (int i = 0; i < problem.levels * kPoints; ++i) {
        largest = fmaxf(largest, load_one(logits + i));
    }
    const Exponential exponential(largest);
    float total = 0.0f;
M2A_NO_UNROLL
    for (int i = 0; i < problem.levels * kPoints; ++i) {
        total += exponential(load_one(logits + i));
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
        const float weight = exponential(load_one(logits + i)) * scale;
        const Neighbours near = neighbours_of(level, at, share.stride, weight);
        const int cell = near.where & ~15;
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
                    part[c] = grad[c] * near.weight[k];
                }
                add(grad_value + share.first + cell + steps[k], part);
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
            const float weight = exponential(load_one(logits + i)) * scale;
            store_one(grad_projection + share.logits + i, slope[i] - weight * mean);
        }
    }
}

}  // namespace m2a
