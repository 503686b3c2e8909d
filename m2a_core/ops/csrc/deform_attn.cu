// The kernels on a GPU, behind the C interface; with M2A_FORWARD_ONLY, without those for training.
#include "deform_attn_backward.h"

// Not in a namespace without a name: nvcc puts a hash of the source's path into names from there.
namespace m2a {

// Eight threads, a quarter of a warp, read 128 neighbouring bytes: the rows of as many heads as fit into a cache line
// (two for FP16 and width 32). Rows of one head alone lie a multiple of 128 bytes apart, in the same banks of L1. A block
// is such a group of heads wide and kTile queries high.
template <typename T, int Dim>
struct Layout {
    static constexpr int kChannels = 16 / static_cast<int>(sizeof(T));
    static constexpr int kLanesPerHead = Dim / kChannels;
    static constexpr int kHeadsPerBlock = 8 / kLanesPerHead;
    static constexpr int kThreads = 8 * kTile;

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

// The threads of one head, which are neighbours in one warp. Each looks after one sample of a step; of eight threads,
// two look after the same.
template <int Lanes>
struct Team {
    static constexpr int kSamples = Lanes < kPoints ? Lanes : kPoints;
    // Every thread of a warp takes part, in blocks of whole warps.
    static constexpr unsigned kWarp = 0xffffffffu;
    Neighbours found;

    template <typename Visit>
    __device__ void own(Visit visit) const {
        visit(threadIdx.x % kSamples);
    }

    template <typename Find>
    __device__ void exchange(Find find) {
        found = find(threadIdx.x % kSamples);
    }

    __device__ Neighbours of(int sample) const {
        Neighbours theirs;
        theirs.where = __shfl_sync(kWarp, found.where, sample, Lanes);
M2A_UNROLL
        for (int i = 0; i < 4; ++i) {
            theirs.weight[i] = __shfl_sync(kWarp, found.weight[i], sample, Lanes);
        }
        return theirs;
    }

    __device__ float largest(float x) const {
M2A_UNROLL
        for (int step = kSamples / 2; step > 0; step /= 2) {
            x = fmaxf(x, __shfl_xor_sync(kWarp, x, step));
        }
        return x;
    }

    __device__ float sum(float x) const {
M2A_UNROLL
        for (int step = kSamples / 2; step > 0; step /= 2) {
            x += __shfl_xor_sync(kWarp, x, step);
        }
        return x;
    }
};

// Over the threads of one head, which leave the backward kernel together.
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
    const int head = Here::head(), image = blockIdx.z;
    const int key = query.key(problem.level[query.level]);
    // Threads without a query or a head of their own do another's work and keep it to themselves: shuffles need them.
    const auto share = share_of<T>(
        problem, value, projection, image, key, head < problem.heads ? head : problem.heads - 1, Here::channel());
    float sum[Here::kChannels];
    attend<T>(problem, query, share, Team<Here::kLanesPerHead>(), sum);
    if (query.exists && head < problem.heads) {
        store(out + image_size(problem, Dim) * image + key * share.stride + share.first, sum);
    }
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
        problem, query, share, grad_share, grad_value + before,
        grad_projection + image_size(problem, 3 * problem.levels * kPoints) * image, channel == 0,
        SumOverHead<Here::kLanesPerHead>(), AtomicAdd());
}

template <typename T, int Dim, typename... Arguments>
int launch(const Problem& problem, void (*kernel)(Arguments...), void* stream, std::common_type_t<Arguments>... arguments) {
    cudaLaunchConfig_t configuration = {};
    configuration.gridDim = Layout<T, Dim>::grid(problem);
    configuration.blockDim = Layout<T, Dim>::block(problem);
    configuration.stream = static_cast<cudaStream_t>(stream);
    const cudaError_t code = cudaLaunchKernelEx(&configuration, kernel, arguments...);
    if (code != cudaSuccess) {
        // Reported here: the next one to ask CUDA for its last error shall not find it.
        cudaGetLastError();
    }
    return code;
}

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
        return m2a::launch<T, dim>(
            problem, m2a::forward_kernel<T, dim>, stream, problem, static_cast<const T*>(value),
            static_cast<const T*>(projection), static_cast<T*>(out));
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
        return m2a::launch<T, dim>(
            problem, m2a::backward_kernel<T, dim>, stream, problem, static_cast<const T*>(grad),
            static_cast<const T*>(value), static_cast<const T*>(projection), grad_value, static_cast<T*>(grad_projection));
    });
}
#endif

const char* m2a_deform_attn_error(int code) {
    return code > 0 ? cudaGetErrorString(static_cast<cudaError_t>(code)) : m2a::error_text(code);
}
