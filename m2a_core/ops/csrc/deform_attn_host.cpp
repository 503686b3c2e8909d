// The kernels on the host, behind the C interface: every query in the order of the GPU's blocks, and forward with the
// GPU's share of channels a thread unless M2A_WHOLE_HEADS is defined.
#include "deform_attn_backward.h"

namespace m2a {
namespace {

struct Add {
    template <int Count>
    void operator()(float* to, const float (&part)[Count]) const {
        for (int i = 0; i < Count; ++i) {
            to[i] += part[i];
        }
    }
};

template <typename Body>
void for_each_head(const Problem& problem, Body body) {
    for (int image = 0; image < problem.batch; ++image) {
#if defined(_OPENMP)
#pragma omp parallel for schedule(dynamic)
#endif
        for (int tile = 0; tile < problem.tiles; ++tile) {
            for (int member = 0; member < kTile; ++member) {
                const Query query = query_of(problem, tile, member);
                for (int head = 0; query.exists && head < problem.heads; ++head) {
                    body(image, query, head);
                }
            }
        }
    }
}

template <typename T, int Dim>
void forward(const Problem& problem, const T* value, const T* projection, T* out) {
#if defined(M2A_WHOLE_HEADS)
    constexpr int kChannels = Dim;
#else
    constexpr int kChannels = 16 / static_cast<int>(sizeof(T));
#endif
    for_each_head(problem, [&](int image, const Query& query, int head) {
        const int key = query.key(problem.level[query.level]);
        for (int channel = 0; channel < Dim; channel += kChannels) {
            const auto share = share_of(problem, value, projection, image, key, head, channel);
            float sum[kChannels];
            attend(problem, query, share, OneThread(), sum);
            store(out + image_size(problem, Dim) * image + key * share.stride + share.first, sum);
        }
    });
}

template <typename T, int Dim>
void backward(
    const Problem& problem, const T* grad, const T* value, const T* projection, float* grad_value,
    T* grad_projection) {
    for_each_head(problem, [&](int image, const Query& query, int head) {
        const int key = query.key(problem.level[query.level]);
        const auto share = share_of(problem, value, projection, image, key, head, 0);
        const std::int64_t before = image_size(problem, Dim) * image;
        const auto grad_head = load<Dim>(grad + before + key * share.stride + share.first);
        attend_backward<T>(
            problem, query, share, grad_head, grad_value + before,
            grad_projection + image_size(problem, 3 * problem.levels * kPoints) * image, true,
            [](float x) { return x; }, Add());
    });
}

}  // namespace
}  // namespace m2a

int m2a_deform_attn_forward(const M2aDeformAttn* call, const void* value, const void* projection, void* out, void*) {
    m2a::Problem problem;
    if (const int code = m2a::check_call(*call, {value, projection, out}, problem)) {
        return code;
    }
    return m2a::dispatch(call->dtype, problem.dim, [&](auto type, auto dim) -> int {
        using T = decltype(type);
        m2a::forward<T, dim>(
            problem, static_cast<const T*>(value), static_cast<const T*>(projection), static_cast<T*>(out));
        return M2A_OK;
    });
}

int m2a_deform_attn_backward(
    const M2aDeformAttn* call, const void* grad, const void* value, const void* projection, float* grad_value,
    void* grad_projection, void*) {
    m2a::Problem problem;
    if (const int code = m2a::check_call(*call, {grad, value, projection, grad_value, grad_projection}, problem)) {
        return code;
    }
    return m2a::dispatch(call->dtype, problem.dim, [&](auto type, auto dim) -> int {
        using T = decltype(type);
        m2a::backward<T, dim>(
            problem, static_cast<const T*>(grad), static_cast<const T*>(value), static_cast<const T*>(projection),
            grad_value, static_cast<T*>(grad_projection));
        return M2A_OK;
    });
}

const char* m2a_deform_attn_error(int code) { return m2a::error_text(code); }
