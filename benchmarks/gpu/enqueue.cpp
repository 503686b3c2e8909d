// The plugin's own enqueue on a GPU, as TensorRT would call it and under stream capture, without TensorRT's libraries:
//
//   enqueue PLUGIN FOLDER DTYPE BATCH HEADS DIM HEIGHT WIDTH [HEIGHT WIDTH ...]
//
// Reads FOLDER/value.bin and FOLDER/projection.bin, writes FOLDER/out.bin, prints one line of JSON. Exit status: 0, 1
// where something is wrong, 3 where there is no GPU.
#include <NvInferRuntime.h>
#include <cuda_runtime.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

using namespace nvinfer1;

#if !defined(REPLAYS)
#define REPLAYS 200
#endif

constexpr int kPoints = 4, kReplays = REPLAYS, kNoGpu = 3;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "%s\n", what.c_str());
    std::exit(1);
}

void check(cudaError_t code, const char* what) {
    if (code == cudaErrorNoDevice || code == cudaErrorInsufficientDriver) {
        std::fprintf(stderr, "no GPU: %s\n", cudaGetErrorString(code));
        std::exit(kNoGpu);
    }
    if (code != cudaSuccess) {
        fail(std::string(what) + ": " + cudaGetErrorString(code));
    }
}

std::vector<char> read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        fail(path + ": cannot be read");
    }
    return {std::istreambuf_iterator<char>(file), {}};
}

void* on_gpu(const std::vector<char>& bytes) {
    void* memory = nullptr;
    check(cudaMalloc(&memory, bytes.size()), "cudaMalloc");
    check(cudaMemcpy(memory, bytes.data(), bytes.size(), cudaMemcpyHostToDevice), "cudaMemcpy");
    return memory;
}

std::vector<char> from_gpu(const void* memory, std::size_t size) {
    std::vector<char> bytes(size);
    check(cudaMemcpy(bytes.data(), memory, size, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return bytes;
}

Dims dims(std::initializer_list<std::int64_t> sides) {
    Dims made = {};
    for (const std::int64_t side : sides) {
        made.d[made.nbDims++] = side;
    }
    return made;
}

IPluginV3OneRuntime* runtime_of(IPluginV3* plugin) {
    auto* runtime = static_cast<IPluginV3OneRuntime*>(plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    if (runtime == nullptr) {
        fail("no runtime capability");
    }
    return runtime;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 9 || count % 2 == 0) {
        fail("enqueue PLUGIN FOLDER DTYPE BATCH HEADS DIM HEIGHT WIDTH ...");
    }
    const std::string folder = arguments[2];
    const DataType type = std::strcmp(arguments[3], "fp16") == 0 ? DataType::kHALF : DataType::kFLOAT;
    const int batch = std::atoi(arguments[4]), heads = std::atoi(arguments[5]), dim = std::atoi(arguments[6]);
    std::vector<std::int32_t> shapes;
    for (int i = 7; i < count; ++i) {
        shapes.push_back(std::atoi(arguments[i]));
    }
    std::int64_t keys = 0;
    for (std::size_t i = 0; i < shapes.size(); i += 2) {
        keys += static_cast<std::int64_t>(shapes[i]) * shapes[i + 1];
    }
    const std::int64_t columns = 3 * heads * static_cast<std::int64_t>(shapes.size() / 2) * kPoints;

    void* library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        fail(dlerror());
    }
    using GetCreators = IPluginCreatorInterface* const* (*)(std::int32_t&);
    const auto get_creators = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
    if (get_creators == nullptr) {
        fail("no getCreators in the plugin library");
    }
    std::int32_t found = 0;
    auto* creator = static_cast<IPluginCreatorV3One*>(get_creators(found)[0]);
    const std::int32_t points = kPoints;
    const PluginField fields[] = {
        {"num_heads", &heads, PluginFieldType::kINT32, 1},
        {"num_points", &points, PluginFieldType::kINT32, 1},
        {"spatial_shapes", shapes.data(), PluginFieldType::kINT32, static_cast<std::int32_t>(shapes.size())},
    };
    const PluginFieldCollection collection = {3, fields};
    IPluginV3* made = creator->createPlugin("node", &collection, TensorRTPhase::kRUNTIME);
    if (made == nullptr) {
        fail("the creator made no plugin");
    }
    IPluginV3* plugin = runtime_of(made)->attachToContext(nullptr);
    IPluginV3OneRuntime* runtime = runtime_of(plugin);

    PluginTensorDesc in[2] = {}, out[1] = {};
    in[0].type = in[1].type = out[0].type = type;
    in[0].dims = dims({batch, keys, heads, dim});
    in[1].dims = dims({batch, keys, columns});
    out[0].dims = dims({batch, keys, heads * dim});
    if (runtime->onShapeChange(in, 2, out, 1) != 0) {
        fail("onShapeChange refuses the shapes");
    }
    check(cudaSetDevice(0), "cudaSetDevice");
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    const std::vector<char> value = read(folder + "/value.bin"), projection = read(folder + "/projection.bin");
    const std::size_t size = value.size();
    const void* inputs[] = {on_gpu(value), on_gpu(projection)};
    void* outputs[] = {on_gpu(std::vector<char>(size, 0x7f))};
    const auto enqueue = [&] {
        if (runtime->enqueue(in, out, inputs, outputs, nullptr, stream) != 0) {
            fail("enqueue failed");
        }
    };

    enqueue();
    check(cudaStreamSynchronize(stream), "the kernel");
    const std::vector<char> eager = from_gpu(outputs[0], size);

    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    enqueue();
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
    std::size_t nodes = 0;
    check(cudaGraphGetNodes(graph, nullptr, &nodes), "cudaGraphGetNodes");
    cudaGraphExec_t executable = nullptr;
    check(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
    check(cudaMemset(outputs[0], 0x7f, size), "cudaMemset");
    check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
    check(cudaStreamSynchronize(stream), "the captured kernel");
    const bool same = from_gpu(outputs[0], size) == eager;

    std::vector<float> taken;
    cudaEvent_t before = nullptr, after = nullptr;
    check(cudaEventCreate(&before), "cudaEventCreate");
    check(cudaEventCreate(&after), "cudaEventCreate");
    for (int i = 0; i < kReplays; ++i) {
        float milliseconds = 0;
        check(cudaEventRecord(before, stream), "cudaEventRecord");
        check(cudaGraphLaunch(executable, stream), "cudaGraphLaunch");
        check(cudaEventRecord(after, stream), "cudaEventRecord");
        check(cudaEventSynchronize(after), "cudaEventSynchronize");
        check(cudaEventElapsedTime(&milliseconds, before, after), "cudaEventElapsedTime");
        taken.push_back(1000 * milliseconds);
    }
    std::sort(taken.begin(), taken.end());
    std::ofstream(folder + "/out.bin", std::ios::binary).write(eager.data(), static_cast<std::streamsize>(size));
    std::printf(
        "{\"graph_nodes\": %zu, \"replay_equals_eager\": %s, \"median_us\": %.3f, \"p10_us\": %.3f, \"p90_us\": %.3f}\n",
        nodes, same ? "true" : "false", taken[kReplays / 2], taken[kReplays / 10], taken[kReplays * 9 / 10]);

    check(cudaGraphExecDestroy(executable), "cudaGraphExecDestroy");
    check(cudaGraphDestroy(graph), "cudaGraphDestroy");
    delete plugin;
    delete made;
    return same ? 0 : 1;
}
