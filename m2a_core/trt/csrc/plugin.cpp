#include "plugin.h"

#include <utility>

#include "deform_attn_api.h"

namespace m2a::trt {
namespace {

using nvinfer1::DataType;

constexpr int kValue = 0, kProjection = 1, kInputs = 2, kOutputs = 1;
constexpr int kFailure = -1;

std::vector<std::int64_t> list(const nvinfer1::Dims& dims) { return {dims.d, dims.d + (dims.nbDims > 0 ? dims.nbDims : 0)}; }

std::vector<std::int64_t> list(const nvinfer1::DimsExprs& dims) {
    std::vector<std::int64_t> known;
    for (std::int32_t i = 0; i < dims.nbDims; ++i) {
        known.push_back(dims.d[i]->isConstant() ? dims.d[i]->getConstantValue() : -1);
    }
    return known;
}

bool computes(DataType type) { return type == DataType::kFLOAT || type == DataType::kHALF; }

std::string complaint_about_counts(std::int32_t inputs, std::int32_t outputs) {
    if (inputs == kInputs && outputs == kOutputs) {
        return "";
    }
    return "expected inputs (value, projection) and one output, got " + std::to_string(inputs) + " and " +
           std::to_string(outputs);
}

std::int32_t report(const std::string& complaint) {
    if (complaint.empty()) {
        return 0;
    }
    log_error(complaint);
    return kFailure;
}

}  // namespace

MsDeformAttnPlugin::MsDeformAttnPlugin(Settings settings) : settings_(std::move(settings)) {
    const auto sides = static_cast<std::int32_t>(settings_.shapes.size());
    fields_ = {
        {kHeadsField, &settings_.heads, nvinfer1::PluginFieldType::kINT32, 1},
        {kPointsField, &settings_.points, nvinfer1::PluginFieldType::kINT32, 1},
        {kShapesField, settings_.shapes.data(), nvinfer1::PluginFieldType::kINT32, sides},
    };
    collection_ = {static_cast<std::int32_t>(fields_.size()), fields_.data()};
}

nvinfer1::IPluginCapability* MsDeformAttnPlugin::getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept {
    switch (type) {
        case nvinfer1::PluginCapabilityType::kCORE: return static_cast<nvinfer1::IPluginV3OneCore*>(this);
        case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
        case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    }
    return nullptr;
}

nvinfer1::IPluginV3* MsDeformAttnPlugin::clone() noexcept { return new MsDeformAttnPlugin(settings_); }

std::int32_t MsDeformAttnPlugin::getOutputDataTypes(
    DataType* outputs, std::int32_t output_count, const DataType* inputs, std::int32_t input_count) const noexcept {
    if (const std::string complaint = complaint_about_counts(input_count, output_count); !complaint.empty()) {
        return report(complaint);
    }
    if (!computes(inputs[kValue]) || inputs[kValue] != inputs[kProjection]) {
        return report(
            "value and projection: expected both FP32 or both FP16, got TensorRT's types " +
            std::to_string(static_cast<int>(inputs[kValue])) + " and " +
            std::to_string(static_cast<int>(inputs[kProjection])));
    }
    outputs[0] = inputs[kValue];
    return 0;
}

std::int32_t MsDeformAttnPlugin::getOutputShapes(
    const nvinfer1::DimsExprs* inputs, std::int32_t input_count, const nvinfer1::DimsExprs*, std::int32_t,
    nvinfer1::DimsExprs* outputs, std::int32_t output_count, nvinfer1::IExprBuilder& builder) noexcept {
    std::string complaint = complaint_about_counts(input_count, output_count);
    if (complaint.empty()) {
        complaint = complaint_about(settings_, list(inputs[kValue]), list(inputs[kProjection]));
    }
    if (!complaint.empty()) {
        return report(complaint);
    }
    outputs[0].nbDims = 3;
    outputs[0].d[0] = inputs[kValue].d[0];
    outputs[0].d[1] = inputs[kValue].d[1];
    outputs[0].d[2] = builder.constant(settings_.heads * inputs[kValue].d[3]->getConstantValue());
    return 0;
}

bool MsDeformAttnPlugin::supportsFormatCombination(
    std::int32_t position, const nvinfer1::DynamicPluginTensorDesc* tensors, std::int32_t input_count,
    std::int32_t output_count) noexcept {
    const nvinfer1::PluginTensorDesc& tensor = tensors[position].desc;
    return input_count == kInputs && output_count == kOutputs && tensor.format == nvinfer1::TensorFormat::kLINEAR &&
           computes(tensor.type) && tensor.type == tensors[kValue].desc.type;
}

std::int32_t MsDeformAttnPlugin::configurePlugin(
    const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t input_count,
    const nvinfer1::DynamicPluginTensorDesc*, std::int32_t output_count) noexcept {
    std::string complaint = complaint_about_counts(input_count, output_count);
    if (complaint.empty()) {
        complaint = complaint_about(settings_, list(inputs[kValue].desc.dims), list(inputs[kProjection].desc.dims));
    }
    if (complaint.empty()) {
        complaint = complaint_about(settings_, list(inputs[kValue].max), list(inputs[kProjection].max));
    }
    return report(complaint);
}

std::int32_t MsDeformAttnPlugin::onShapeChange(
    const nvinfer1::PluginTensorDesc* inputs, std::int32_t input_count, const nvinfer1::PluginTensorDesc* outputs,
    std::int32_t output_count) noexcept {
    std::string complaint = complaint_about_counts(input_count, output_count);
    if (complaint.empty()) {
        complaint = complaint_about(settings_, list(inputs[kValue].dims), list(inputs[kProjection].dims));
    }
    if (complaint.empty()) {
        const std::vector<std::int64_t> value = list(inputs[kValue].dims);
        const std::vector<std::int64_t> expected = {value[0], value[1], value[2] * value[3]};
        if (list(outputs[0].dims) != expected) {
            complaint = "output: expected [B, S, N * D] of the inputs";
        }
    }
    return report(complaint);
}

std::int32_t MsDeformAttnPlugin::enqueue(
    const nvinfer1::PluginTensorDesc* descriptions, const nvinfer1::PluginTensorDesc*, const void* const* inputs,
    void* const* outputs, void*, cudaStream_t stream) noexcept {
    const nvinfer1::PluginTensorDesc& value = descriptions[kValue];
    M2aDeformAttn call = {};
    call.dtype = value.type == DataType::kHALF ? M2A_FLOAT16 : M2A_FLOAT32;
    call.batch = static_cast<std::int32_t>(value.dims.d[0]);
    call.heads = settings_.heads;
    call.dim = static_cast<std::int32_t>(value.dims.d[3]);
    call.levels = static_cast<std::int32_t>(settings_.shapes.size() / 2);
    call.points = settings_.points;
    for (std::size_t i = 0; i < settings_.shapes.size(); ++i) {
        call.shapes[i] = settings_.shapes[i];
    }
    const int code = m2a_deform_attn_forward(&call, inputs[kValue], inputs[kProjection], outputs[0], stream);
    return code ? report(m2a_deform_attn_error(code)) : 0;
}

nvinfer1::IPluginV3* MsDeformAttnPlugin::attachToContext(nvinfer1::IPluginResourceContext*) noexcept { return clone(); }

const nvinfer1::PluginFieldCollection* MsDeformAttnPlugin::getFieldsToSerialize() noexcept { return &collection_; }

}  // namespace m2a::trt
