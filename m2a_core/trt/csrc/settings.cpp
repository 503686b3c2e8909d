// What the node's attributes and inputs must be. Every message names the dimension, what was expected and what came.
#include "deform_attn_api.h"
#include "plugin.h"

namespace m2a::trt {
namespace {

std::string text(const std::vector<std::int64_t>& dims) {
    std::string joined = "[";
    for (std::size_t i = 0; i < dims.size(); ++i) {
        joined += (i ? ", " : "") + std::to_string(dims[i]);
    }
    return joined + "]";
}

}  // namespace

std::int64_t Settings::keys() const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i + 1 < shapes.size(); i += 2) {
        sum += static_cast<std::int64_t>(shapes[i]) * shapes[i + 1];
    }
    return sum;
}

std::int64_t Settings::columns() const {
    return 3 * static_cast<std::int64_t>(heads) * static_cast<std::int64_t>(shapes.size() / 2) * points;
}

std::string complaint_about(const Settings& settings) {
    if (settings.heads < 1) {
        return std::string(kHeadsField) + ": expected at least 1, got " + std::to_string(settings.heads);
    }
    if (settings.points != 4) {
        return std::string(kPointsField) + ": the kernel is built for 4, got " + std::to_string(settings.points);
    }
    const std::size_t sides = settings.shapes.size();
    if (sides < 2 || sides % 2 != 0 || sides > 2 * M2A_DEFORM_ATTN_MAX_LEVELS) {
        return std::string(kShapesField) + ": expected height and width of 1 to " +
               std::to_string(M2A_DEFORM_ATTN_MAX_LEVELS) + " levels, got " + std::to_string(sides) + " numbers";
    }
    for (const std::int32_t side : settings.shapes) {
        if (side < 1) {
            return std::string(kShapesField) + ": expected sides of at least 1, got " + std::to_string(side);
        }
    }
    return "";
}

std::string complaint_about(
    const Settings& settings, const std::vector<std::int64_t>& value, const std::vector<std::int64_t>& projection) {
    if (value.size() != 4) {
        return "value: expected 4 dimensions [B, S, N, D], got " + text(value);
    }
    if (projection.size() != 3) {
        return "projection: expected 3 dimensions [B, S, 3NLP], got " + text(projection);
    }
    if (value[1] != settings.keys()) {
        return "value " + text(value) + ": the levels have " + std::to_string(settings.keys()) +
               " keys; export for this image size";
    }
    if (value[2] != settings.heads) {
        return "value " + text(value) + ": expected " + std::to_string(settings.heads) + " heads";
    }
    if (value[3] != 16 && value[3] != 32) {
        return "value " + text(value) + ": the kernel is built for 16 or 32 channels a head";
    }
    if (projection[1] != settings.keys()) {
        return "projection " + text(projection) + ": the levels have " + std::to_string(settings.keys()) + " keys";
    }
    if (projection[2] != settings.columns()) {
        return "projection " + text(projection) + ": expected " + std::to_string(settings.columns()) +
               " columns, offsets and logits of all heads";
    }
    if (value[0] != projection[0] && value[0] >= 0 && projection[0] >= 0) {
        return "batch: value has " + std::to_string(value[0]) + ", projection " + std::to_string(projection[0]);
    }
    return "";
}

}  // namespace m2a::trt
