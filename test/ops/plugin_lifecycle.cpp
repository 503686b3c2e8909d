// The plugin from creator to destruction as TensorRT would call it, on the kernel's host build: for sanitizers, which
// need no GPU and no TensorRT but its headers. Returns 0, or names what went wrong.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "deform_attn_api.h"
#include "plugin.h"

#define CHECK(condition)                                                \
    do {                                                                \
        if (!(condition)) {                                             \
            std::printf("line %d: not so: %s\n", __LINE__, #condition); \
            std::exit(1);                                               \
        }                                                               \
    } while (false)

using namespace nvinfer1;

extern "C" IPluginCreatorInterface* const* getCreators(std::int32_t&);

namespace {

constexpr int kHeads = 3, kPoints = 4, kDim = 16, kBatch = 2;
const std::vector<int> kShapes = {5, 7, 3, 4, 2, 2};
constexpr int kKeys = 5 * 7 + 3 * 4 + 2 * 2, kColumns = 3 * kHeads * 3 * kPoints;

template <typename Capability>
Capability* as(IPluginV3& plugin, PluginCapabilityType type) {
    auto* capability = static_cast<Capability*>(plugin.getCapabilityInterface(type));
    CHECK(capability != nullptr);
    return capability;
}

// 16 bytes of alignment, as TensorRT gives, and not a byte more than asked for.
struct Tensor {
    explicit Tensor(std::size_t count) : count(count), data(static_cast<float*>(std::aligned_alloc(16, count * 4))) {
        for (std::size_t i = 0; i < count; ++i) {
            data[i] = static_cast<float>(i % 17) / 8 - 1;
        }
    }
    Tensor(const Tensor&) = delete;
    ~Tensor() { std::free(data); }

    std::size_t count;
    float* data;
};

Dims dims(std::initializer_list<std::int64_t> sides) {
    Dims made = {};
    for (const std::int64_t side : sides) {
        made.d[made.nbDims++] = side;
    }
    return made;
}

int accepted(IPluginV3OneBuild& build) {
    int count = 0;
    const DataType types[] = {DataType::kFLOAT, DataType::kHALF, DataType::kINT8, DataType::kINT32, DataType::kBOOL};
    const TensorFormat formats[] = {TensorFormat::kLINEAR, TensorFormat::kCHW2, TensorFormat::kHWC8};
    for (const TensorFormat format : formats) {
        for (const DataType a : types) {
            for (const DataType b : types) {
                for (const DataType c : types) {
                    DynamicPluginTensorDesc tensors[3] = {};
                    const DataType chosen[] = {a, b, c};
                    bool all = true;
                    for (int i = 0; i < 3; ++i) {
                        tensors[i].desc.type = chosen[i], tensors[i].desc.format = format;
                        all = all && build.supportsFormatCombination(i, tensors, 2, 1);
                    }
                    count += all;
                }
            }
        }
    }
    return count;
}

void run(IPluginV3OneRuntime& runtime) {
    PluginTensorDesc in[2] = {}, out[1] = {};
    in[0].type = in[1].type = out[0].type = DataType::kFLOAT;
    in[0].dims = dims({kBatch, kKeys, kHeads, kDim});
    in[1].dims = dims({kBatch, kKeys, kColumns});
    out[0].dims = dims({kBatch, kKeys, kHeads * kDim});
    CHECK(runtime.onShapeChange(in, 2, out, 1) == 0);
    Tensor value(kBatch * kKeys * kHeads * kDim), projection(kBatch * kKeys * kColumns);
    Tensor result(value.count), expected(value.count);
    const void* inputs[] = {value.data, projection.data};
    void* outputs[] = {result.data};
    CHECK(runtime.enqueue(in, out, inputs, outputs, nullptr, nullptr) == 0);
    M2aDeformAttn call = {M2A_FLOAT32, kBatch, kHeads, kDim, 3, kPoints, {}};
    std::memcpy(call.shapes, kShapes.data(), kShapes.size() * sizeof(int));
    CHECK(m2a_deform_attn_forward(&call, value.data, projection.data, expected.data, nullptr) == 0);
    CHECK(std::memcmp(result.data, expected.data, value.count * 4) == 0);

    const void* misaligned[] = {value.data + 1, projection.data};
    CHECK(runtime.enqueue(in, out, misaligned, outputs, nullptr, nullptr) != 0);
    out[0].dims.d[2]++;
    CHECK(runtime.onShapeChange(in, 2, out, 1) != 0);
    out[0].dims.d[2]--, in[1].dims.d[1]++;
    CHECK(runtime.onShapeChange(in, 2, out, 1) != 0);
    in[1].dims.d[1]--;
    CHECK(runtime.onShapeChange(in, 1, out, 1) != 0);
}

}  // namespace

int main() {
    std::int32_t count = 0;
    IPluginCreatorInterface* const* creators = getCreators(count);
    CHECK(count == 1);
    CHECK(std::strcmp(creators[0]->getInterfaceInfo().kind, "PLUGIN CREATOR_V3ONE") == 0);
    auto* creator = static_cast<IPluginCreatorV3One*>(creators[0]);
    CHECK(creator->createPlugin("no fields", nullptr, TensorRTPhase::kBUILD) == nullptr);

    // Fields that live no longer than the call.
    std::unique_ptr<IPluginV3> built;
    {
        std::vector<int> shapes = kShapes;
        const int heads = kHeads, points = kPoints;
        const PluginField fields[] = {
            {"num_heads", &heads, PluginFieldType::kINT32, 1},
            {"num_points", &points, PluginFieldType::kINT32, 1},
            {"spatial_shapes", shapes.data(), PluginFieldType::kINT32, static_cast<std::int32_t>(shapes.size())},
        };
        const PluginFieldCollection collection = {3, fields};
        built.reset(creator->createPlugin("node", &collection, TensorRTPhase::kBUILD));
    }
    CHECK(built != nullptr);
    auto* core = as<IPluginV3OneCore>(*built, PluginCapabilityType::kCORE);
    CHECK(std::strcmp(core->getPluginName(), "MSDeformAttn") == 0);
    CHECK(std::strcmp(core->getPluginVersion(), "1") == 0);
    CHECK(std::strcmp(core->getPluginNamespace(), "") == 0);
    // One type for all three tensors, FP32 or FP16, and rows in order.
    CHECK(accepted(*as<IPluginV3OneBuild>(*built, PluginCapabilityType::kBUILD)) == 2);

    // Into an engine and out of it, and copies that outlive what they were made from.
    auto* to_keep = as<IPluginV3OneRuntime>(*built, PluginCapabilityType::kRUNTIME)->getFieldsToSerialize();
    std::unique_ptr<IPluginV3> loaded(creator->createPlugin("node", to_keep, TensorRTPhase::kRUNTIME));
    CHECK(loaded != nullptr);
    std::unique_ptr<IPluginV3> clone(built->clone());
    built.reset();
    auto* runtime = as<IPluginV3OneRuntime>(*loaded, PluginCapabilityType::kRUNTIME);
    std::unique_ptr<IPluginV3> attached(runtime->attachToContext(nullptr)), other(runtime->attachToContext(nullptr));
    loaded.reset();
    for (IPluginV3* plugin : {clone.get(), attached.get(), other.get()}) {
        run(*as<IPluginV3OneRuntime>(*plugin, PluginCapabilityType::kRUNTIME));
    }
    return 0;
}
