// m2a::ms_deform_attn as a TensorRT plugin; ../README.md is the contract of its node.
//
// Nothing here calls a function of libnvinfer: the object loads into any TensorRT whose headers it was compiled with or
// that came later, and into TensorRT for RTX.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <string>
#include <vector>

namespace m2a::trt {

constexpr char kPluginName[] = "MSDeformAttn";
constexpr char kPluginVersion[] = "1";
constexpr char kPluginNamespace[] = "";

constexpr char kHeadsField[] = "num_heads";
constexpr char kPointsField[] = "num_points";
constexpr char kShapesField[] = "spatial_shapes";

// Attributes of the node.
struct Settings {
    std::int32_t heads = 0;
    std::int32_t points = 0;
    std::vector<std::int32_t> shapes;  // height, width of each level

    std::int64_t keys() const;
    std::int64_t columns() const;  // of the projection
};

// Empty, or what about these attributes the kernel cannot do.
std::string complaint_about(const Settings& settings);

// Empty, or which dimension of the inputs does not fit; -1 is a dimension not known yet, which only the batch may be.
std::string complaint_about(
    const Settings& settings, const std::vector<std::int64_t>& value, const std::vector<std::int64_t>& projection);

// To TensorRT's log, once it has handed one over; else to stderr.
void log_error(const std::string& message) noexcept;
void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept;

class MsDeformAttnPlugin final : public nvinfer1::IPluginV3,
                                 public nvinfer1::IPluginV3OneCore,
                                 public nvinfer1::IPluginV3OneBuild,
                                 public nvinfer1::IPluginV3OneRuntime {
public:
    explicit MsDeformAttnPlugin(Settings settings);

    // fields_ points into settings_.
    MsDeformAttnPlugin(const MsDeformAttnPlugin&) = delete;
    MsDeformAttnPlugin& operator=(const MsDeformAttnPlugin&) = delete;

    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override;
    nvinfer1::IPluginV3* clone() noexcept override;

    const char* getPluginName() const noexcept override { return kPluginName; }
    const char* getPluginVersion() const noexcept override { return kPluginVersion; }
    const char* getPluginNamespace() const noexcept override { return kPluginNamespace; }

    std::int32_t getNbOutputs() const noexcept override { return 1; }
    std::int32_t getOutputDataTypes(
        nvinfer1::DataType* outputs, std::int32_t output_count, const nvinfer1::DataType* inputs,
        std::int32_t input_count) const noexcept override;
    std::int32_t getOutputShapes(
        const nvinfer1::DimsExprs* inputs, std::int32_t input_count, const nvinfer1::DimsExprs* shape_inputs,
        std::int32_t shape_input_count, nvinfer1::DimsExprs* outputs, std::int32_t output_count,
        nvinfer1::IExprBuilder& builder) noexcept override;
    bool supportsFormatCombination(
        std::int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors, std::int32_t input_count,
        std::int32_t output_count) noexcept override;
    std::int32_t configurePlugin(
        const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
        const nvinfer1::DynamicPluginTensorDesc* outputs, std::int32_t output_count) noexcept override;

    std::int32_t onShapeChange(
        const nvinfer1::PluginTensorDesc* inputs, std::int32_t input_count, const nvinfer1::PluginTensorDesc* outputs,
        std::int32_t output_count) noexcept override;
    std::int32_t enqueue(
        const nvinfer1::PluginTensorDesc* input_descriptions, const nvinfer1::PluginTensorDesc* output_descriptions,
        const void* const* inputs, void* const* outputs, void* workspace, cudaStream_t stream) noexcept override;
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext* context) noexcept override;
    const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

private:
    Settings settings_;
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_;
};

class MsDeformAttnCreator final : public nvinfer1::IPluginCreatorV3One {
public:
    MsDeformAttnCreator();

    nvinfer1::IPluginV3* createPlugin(
        const char* name, const nvinfer1::PluginFieldCollection* fields, nvinfer1::TensorRTPhase phase) noexcept override;
    const nvinfer1::PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
    const char* getPluginName() const noexcept override { return kPluginName; }
    const char* getPluginVersion() const noexcept override { return kPluginVersion; }
    const char* getPluginNamespace() const noexcept override { return kPluginNamespace; }

private:
    std::vector<nvinfer1::PluginField> fields_;
    nvinfer1::PluginFieldCollection collection_;
};

}  // namespace m2a::trt
