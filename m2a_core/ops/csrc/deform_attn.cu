// The kernels on a GPU, behind the C interface; with M2A_FORWARD_ONLY, without those for training.
#include "deform_attn.h"

namespace m2a {
namespace {

// A block is `lanes` wide, the threads of as many heads as fit into a warp, and kTile queries high.
template <typename T, int Dim>
struct Layout {
    static constexpr int kChannels = 16 / static_cast<int>(sizeof(T));
    static constexpr int kLanesPerHead = Dim / kChannels;
    static constexpr int kHeadsPerBlock = 32 / kLanesPerHead;
    static constexpr int kThreads = 32 * kTile;

    static dim3 block(const Problem& problem) {
        const int heads = problem.heads < kHeadsPerBlock ? problem.heads : kHeadsPerBlock;
        return dim3(heads * kLanesPerHead, kTile);
    }

    static dim3 grid(const Problem& problem) {
        return dim3(problem.tiles, (problem.heads + kHeadsPerBlock - 1) / kHeadsPerBlock, problem.batch);
    }

    static __device__ int head() { return blockIdx.y * kHeadsPerBlock + threadIdx.x / kLanesPerHead; }
    static __device__ int channel() { return threadIdx.x % kLanesPerHead * kChannels; }
};

// Over the threads of one head, which are neighbours in one warp and leave the kernel together.
template <int Lanes>
struct SumOverHead {
    unsigned members;

    __device__ SumOverHead() {
        const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
        members = ((1u << Lanes) - 1u) << (thread % 32 / Lanes * Lanes);
    }

    __device__ float operator()(float x) const {
M2A_UNROLL
        for (int step = Lanes / 2; step > 0; step /= 2) {
            x += __shfl_xor_sync(members, x, step);
        }
        return x;
    }
};

struct AtomicAdd {
    template <int Count>
    __device__ void operator()(float* to, const float (&part)[Count]) const {
M2A_UNROLL
        for (int i = 0; i < Count; i += 4) {
#if __CUDA_ARCH__ >= 900
            atomicAdd(reinterpret_cast<float4*>(to + i), make_float4(part[i], part[i + 1], part[i + 2], part[i + 3]));
#else
M2A_UNROLL
            for (int j = i; j < i + 4; ++j) {
                atomicAdd(to + j, part[j]);
            }
#endif
        }
    }
};

template <typename T, int Dim>
__global__ void __launch_bounds__(Layout<T, Dim>::kThreads, 2) forward_kernel(
    const __grid_constant__ Problem problem, const T* __restrict__ value, const T* __restrict__ projection,
    T* __restrict__ out) {
    using Here = Layout<T, Dim>;
    const Query query = query_of(problem, blockIdx.x, threadIdx.y);
    const int head = Here::head(), channel = Here::channel(), image = blockIdx.z;
    if (!query.exists || head >= problem.heads) {
        return;
    }
    const int key = query.key(problem.level[query.level]);
    const auto share = share_of<T>(problem, value, projection, image, key, head, channel);
    float sum[Here::kChannels];
    attend<T>(problem, query, share, sum);
    store(out + image_size(problem, Dim) * image + key * share.stride + share.first, sum);
}

template <typename T, int Dim>
__global__ void __launch_bounds__(Layout<T, Dim>::kThreads, 2) backward_kernel(
    const __grid_constant__ Problem problem, const T* __restrict__ grad, const T* __restrict__ value,
    const T* __restrict__ projection, float* __restrict__ grad_value, T* __restrict__ grad_projection) {
    using Here = Layout<T, Dim>;
    const Query query = query_of(problem, blockIdx.x, threadIdx.y);
    const int head = Here::head(), channel = Here::channel(), image = blockIdx.z;
    if (!query.exists || head >= problem.heads) {
        return;
    }
    const int key = query.key(problem.level[query.level]);
    const auto share = share_of<T>(problem, value, projection, image, key, head, channel);
    const std::int64_t before = image_size(problem, Dim) * image;
    const auto grad_share = load<Here::kChannels>(grad + before + key * share.stride + share.first);
    attend_backward<T>(
        problem, query, share, grad_share, grad_value + before, grad_projection + (share.projection - projection),
        channel == 0,
        SumOverHead<Here::kLanesPerHead>(), AtomicAdd());
}

}  // namespace
}  // namespace m2a

int m2a_deform_attn_forward(
    const M2aDeformAttn* call, const void* value, const void* projection, void* out, void* stream) {
    m2a::Problem problem;
    if (const int code = m2a::check_call(*call, {value, projection, out}, problem)) {
        return code;
    }
    if (problem.batch == 0 || problem.tiles == 0) {
        return M2A_OK;
    }
    return m2a::dispatch(call->dtype, problem.dim, [&](auto type, auto dim) -> int {
        using T = decltype(type);
        using Here = m2a::Layout<T, dim>;
        m2a::forward_kernel<T, dim><<<Here::grid(problem), Here::block(problem), 0, static_cast<cudaStream_t>(stream)>>>(
            problem, static_cast<const T*>(value), static_cast<const T*>(projection), static_cast<T*>(out));
        return cudaGetLastError();
    });
}

#if !defined(M2A_FORWARD_ONLY)
int m2a_deform_attn_backward(
    const M2aDeformAttn* call, const void* grad, const void* value, const void* projection, float* grad_value,
    void* grad_projection, void* stream) {
    m2a::Problem problem;
    if (const int code = m2a::check_call(*call, {grad, value, projection, grad_value, grad_projection}, problem)) {
        return code;
    }
    if (problem.batch == 0 || problem.tiles == 0) {
        return M2A_OK;
    }
    return m2a::dispatch(call->dtype, problem.dim, [&](auto type, auto dim) -> int {
        using T = decltype(type);
        using Here = m2a::Layout<T, dim>;
        m2a::backward_kernel<T, dim>
            <<<Here::grid(problem), Here::block(problem), 0, static_cast<cudaStream_t>(stream)>>>(
                problem, static_cast<const T*>(grad), static_cast<const T*>(value), static_cast<const T*>(projection),
                grad_value, static_cast<T*>(grad_projection));
        return cudaGetLastError();
    });
}
#endif

const char* m2a_deform_attn_error(int code) {
    return code > 0 ? cudaGetErrorString(static_cast<cudaError_t>(code)) : m2a::error_text(code);
}
