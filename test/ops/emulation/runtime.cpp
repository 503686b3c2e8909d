// As much of the CUDA runtime as benchmarks/gpu/enqueue.cpp calls, on the host: memory is the host's, work is done at
// once or, while a stream is captured, kept for the graph.
#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

namespace {

using Work = std::vector<std::function<void()>>;

Work* captured = nullptr;
int handle = 0;

template <typename Handle>
Handle any() {
    return reinterpret_cast<Handle>(&handle);
}

}  // namespace

extern "C" {

void emulated_launch(cudaStream_t, const std::function<void()>& run) {
    if (captured) {
        captured->push_back(run);
    } else {
        run();
    }
}

const char* cudaGetErrorString(cudaError_t) { return "emulated"; }

cudaError_t cudaSetDevice(int) { return cudaSuccess; }

cudaError_t cudaMalloc(void** memory, size_t size) {
    *memory = std::aligned_alloc(256, (size + 255) / 256 * 256);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind) {
    std::memcpy(to, from, size);
    return cudaSuccess;
}

cudaError_t cudaMemset(void* memory, int value, size_t size) {
    std::memset(memory, value, size);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    *stream = any<cudaStream_t>();
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) { return captured ? cudaErrorStreamCaptureUnsupported : cudaSuccess; }

cudaError_t cudaStreamBeginCapture(cudaStream_t, cudaStreamCaptureMode) {
    captured = new Work;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t, cudaGraph_t* graph) {
    *graph = reinterpret_cast<cudaGraph_t>(captured);
    captured = nullptr;
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
    *count = reinterpret_cast<Work*>(graph)->size();
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    *executable = reinterpret_cast<cudaGraphExec_t>(new Work(*reinterpret_cast<Work*>(graph)));
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t) {
    for (const auto& run : *reinterpret_cast<Work*>(executable)) {
        run();
    }
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete reinterpret_cast<Work*>(graph);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    delete reinterpret_cast<Work*>(executable);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
    *event = any<cudaEvent_t>();
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }

cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
    *milliseconds = 1;
    return cudaSuccess;
}

}  // extern "C"
