// As much of CUDA as deform_attn.cu uses, on the host: included before it, and the same source runs under its own launch
// grid. The 32 threads of a warp are fibers that meet at shuffles; a wrong launch or shuffle ends the process by name.
#pragma once

#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <tuple>
#include <ucontext.h>
#include <utility>

#define __global__
#define __device__
#define __grid_constant__
#define __launch_bounds__(...)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
using cudaStream_t = void*;
using cudaError_t = int;
constexpr cudaError_t cudaSuccess = 0;
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    std::size_t dynamicSmemBytes;
    cudaStream_t stream;
};
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "emulated"; }

static dim3 gridDim, blockDim, blockIdx, threadIdx;

namespace emulated {

constexpr int kWarp = 32;
constexpr std::size_t kStack = 128 << 10;

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(
        stderr, "emulated CUDA: %s, in block (%u, %u, %u), thread (%u, %u)\n", what, blockIdx.x, blockIdx.y, blockIdx.z,
        threadIdx.x, threadIdx.y);
    std::abort();
}

struct Lane {
    enum { kNew, kReady, kWaiting, kDone } state;
    dim3 thread;
    ucontext_t start;
    jmp_buf here;
    unsigned mask;
    int source;
    std::uint32_t given, received;
    alignas(64) char stack[kStack];
};

static Lane lanes[kWarp];
static int current;
static jmp_buf scheduler;
static const std::function<void()>* body;

inline void run_fiber() {
    (*body)();
    lanes[current].state = Lane::kDone;
    _longjmp(scheduler, 1);
}

inline void resume(int lane) {
    current = lane;
    threadIdx = lanes[lane].thread;
    if (_setjmp(scheduler) == 0) {
        if (lanes[lane].state == Lane::kReady) {
            _longjmp(lanes[lane].here, 1);
        }
        ucontext_t back;
        getcontext(&lanes[lane].start);
        lanes[lane].start.uc_stack.ss_sp = lanes[lane].stack;
        lanes[lane].start.uc_stack.ss_size = kStack;
        lanes[lane].start.uc_link = nullptr;
        makecontext(&lanes[lane].start, run_fiber, 0);
        swapcontext(&back, &lanes[lane].start);
    }
}

// Hands over what all threads of a mask gave, once they all wait.
inline void meet(int lane) {
    const unsigned mask = lanes[lane].mask;
    for (int other = 0; other < kWarp; ++other) {
        if (!(mask >> other & 1)) {
            continue;
        }
        if (lanes[other].state != Lane::kWaiting || lanes[other].mask != mask) {
            fail("a shuffle names a thread that has left, does not exist or shuffles with others");
        }
        if (!(mask >> lanes[other].source & 1)) {
            fail("a shuffle reads a thread that its mask does not name");
        }
        lanes[other].received = lanes[lanes[other].source].given;
    }
    for (int other = 0; other < kWarp; ++other) {
        if (mask >> other & 1) {
            lanes[other].state = Lane::kReady;
        }
    }
}

inline void run_warp(int threads) {
    for (bool running = true; running;) {
        running = false;
        for (int lane = 0; lane < threads; ++lane) {
            if (lanes[lane].state == Lane::kNew || lanes[lane].state == Lane::kReady) {
                resume(lane);
                running = true;
            }
        }
        for (int lane = 0; lane < threads; ++lane) {
            if (lanes[lane].state == Lane::kWaiting) {
                threadIdx = lanes[lane].thread;
                meet(lane);
            }
        }
    }
}

template <typename T>
T shuffle(unsigned mask, T given, int source) {
    static_assert(sizeof(T) == sizeof(std::uint32_t));
    Lane& lane = lanes[current];
    if (!(mask >> current & 1)) {
        fail("a thread shuffles without being named");
    }
    lane.mask = mask, lane.source = source, lane.state = Lane::kWaiting;
    std::memcpy(&lane.given, &given, sizeof given);
    if (_setjmp(lane.here) == 0) {
        _longjmp(scheduler, 1);
    }
    T received;
    std::memcpy(&received, &lanes[current].received, sizeof received);
    return received;
}

inline void run(const cudaLaunchConfig_t& launch, const std::function<void()>& kernel) {
    gridDim = launch.gridDim, blockDim = launch.blockDim, body = &kernel;
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    const bool sizes = gridDim.x && gridDim.y && gridDim.z && threads && blockDim.z == 1;
    if (!sizes || threads > 1024 || gridDim.x > 0x7fffffffu || gridDim.y > 65535 || gridDim.z > 65535) {
        fail("no GPU takes such a grid");
    }
    for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z) {
        for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
            for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) {
                for (unsigned first = 0; first < threads; first += kWarp) {
                    const unsigned count = threads - first < kWarp ? threads - first : kWarp;
                    for (unsigned i = 0; i < kWarp; ++i) {
                        const unsigned thread = first + i;
                        lanes[i].state = i < count ? Lane::kNew : Lane::kDone;
                        lanes[i].thread = dim3(thread % blockDim.x, thread / blockDim.x);
                    }
                    run_warp(count);
                }
            }
        }
    }
}

}  // namespace emulated

template <typename T>
T __shfl_sync(unsigned mask, T given, int source, int width) {
    const int lane = emulated::current;
    return emulated::shuffle(mask, given, lane / width * width + source % width);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T given, int with) {
    return emulated::shuffle(mask, given, emulated::current ^ with);
}

inline void atomicAdd(float* to, float part) { *to += part; }

// Of runtime.cpp, where that is loaded: runs a launch, or keeps it for later while its stream is captured.
extern "C" __attribute__((weak)) void emulated_launch(cudaStream_t stream, const std::function<void()>& run);

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(
    const cudaLaunchConfig_t* launch, void (*kernel)(Parameters...), Arguments&&... arguments) {
    const auto run = [launch = *launch, kernel, given = std::tuple<Parameters...>(arguments...)] {
        emulated::run(launch, [&] { std::apply(kernel, given); });
    };
    if (emulated_launch) {
        emulated_launch(launch->stream, run);
    } else {
        run();
    }
    return cudaSuccess;
}
