// Makes plugins from a node's or an engine's fields, and is what the shared object exports.
#include <cstdio>
#include <cstring>
#include <utility>

#include "plugin.h"

namespace m2a::trt {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldType;

nvinfer1::ILoggerFinder* logger_finder = nullptr;

const PluginField* find(const nvinfer1::PluginFieldCollection& fields, const char* name) {
    for (std::int32_t i = 0; i < fields.nbFields; ++i) {
        if (std::strcmp(fields.fields[i].name, name) == 0) {
            return &fields.fields[i];
        }
    }
    return nullptr;
}

// Empty, or why the field is not an int32 list of this length (of any, for -1).
std::string read(
    const nvinfer1::PluginFieldCollection& fields, const char* name, std::int32_t length,
    std::vector<std::int32_t>& numbers) {
    const PluginField* field = find(fields, name);
    if (field == nullptr) {
        return std::string("attribute ") + name + " is missing";
    }
    if (field->type != PluginFieldType::kINT32 || field->data == nullptr ||
        (length >= 0 ? field->length != length : field->length < 1)) {
        return std::string("attribute ") + name + ": expected " +
               (length == 1 ? "one integer" : "a list of integers");
    }
    const auto* first = static_cast<const std::int32_t*>(field->data);
    numbers.assign(first, first + field->length);
    return "";
}

std::string read(const nvinfer1::PluginFieldCollection& fields, Settings& settings) {
    std::vector<std::int32_t> heads, points;
    std::string complaint = read(fields, kHeadsField, 1, heads);
    if (complaint.empty()) {
        complaint = read(fields, kPointsField, 1, points);
    }
    if (complaint.empty()) {
        complaint = read(fields, kShapesField, -1, settings.shapes);
    }
    if (!complaint.empty()) {
        return complaint;
    }
    settings.heads = heads.front(), settings.points = points.front();
    return complaint_about(settings);
}

}  // namespace

void set_logger_finder(nvinfer1::ILoggerFinder* finder) noexcept { logger_finder = finder; }

void log_error(const std::string& message) noexcept {
    const std::string line = std::string("plugin ") + kPluginName + ": " + message;
    nvinfer1::ILogger* logger = logger_finder ? logger_finder->findLogger() : nullptr;
    if (logger) {
        logger->log(nvinfer1::ILogger::Severity::kERROR, line.c_str());
    } else {
        std::fprintf(stderr, "%s\n", line.c_str());
    }
}

MsDeformAttnCreator::MsDeformAttnCreator() {
    fields_ = {
        {kHeadsField, nullptr, PluginFieldType::kINT32, 1},
        {kPointsField, nullptr, PluginFieldType::kINT32, 1},
        {kShapesField, nullptr, PluginFieldType::kINT32, 1},
    };
    collection_ = {static_cast<std::int32_t>(fields_.size()), fields_.data()};
}

nvinfer1::IPluginV3* MsDeformAttnCreator::createPlugin(
    const char* name, const nvinfer1::PluginFieldCollection* fields, nvinfer1::TensorRTPhase) noexcept {
    Settings settings;
    const std::string complaint = fields ? read(*fields, settings) : "no attributes";
    if (!complaint.empty()) {
        log_error(std::string("node '") + (name ? name : "") + "': " + complaint);
        return nullptr;
    }
    return new MsDeformAttnPlugin(std::move(settings));
}

}  // namespace m2a::trt

#define M2A_EXPORT extern "C" __attribute__((visibility("default")))

M2A_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& count) {
    static m2a::trt::MsDeformAttnCreator creator;
    static nvinfer1::IPluginCreatorInterface* const creators[] = {&creator};
    count = 1;
    return creators;
}

#if !defined(M2A_PLUGIN_IDENTITY)
#define M2A_PLUGIN_IDENTITY ""
#endif

// Read from the file by plugin_build.identity_of.
extern "C" __attribute__((visibility("default"), used)) const char m2aPluginIdentity[] =
    "m2a-plugin-identity:" M2A_PLUGIN_IDENTITY;

M2A_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { m2a::trt::set_logger_finder(finder); }
