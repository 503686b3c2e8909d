// Sizes of one call, checked, and how its queries are spread over thread blocks.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "deform_attn_api.h"
#include "storage.h"

namespace m2a {

constexpr int kMaxLevels = M2A_DEFORM_ATTN_MAX_LEVELS;
constexpr int kPoints = 4;
// Queries of one block lie in a square of one level: neighbours sample the same cells, which then are in L1. How wide a
// square, and how many heads beside it, is chosen by the traffic that real offsets cause (docs/kernel.md).
constexpr int kTileSide = 8;
constexpr int kTile = kTileSide * kTileSide;

// Offsets within one image are 32-bit, with room for neighbours outside.
constexpr std::int64_t kMaxElements = 1 << 30;
constexpr int kMaxBatch = 65535, kMaxHeads = 65535;  // of CUDA's grids

struct Level {
    int height, width;
    int start;         // first key
    int first_tile;    // of all levels' tiles
    int tiles_across;
};

struct Problem {
    int batch, keys, heads, dim, levels, tiles;
    Level level[kMaxLevels];
    // A query's centre in cells of the level sampled: (column + 0.5) * across[own][sampled]. Exact within a level and
    // between levels whose sides are powers of two apart.
    float across[kMaxLevels][kMaxLevels];
    float down[kMaxLevels][kMaxLevels];
};

// 0, or the code that names what the kernel cannot do.
inline int make_problem(const M2aDeformAttn& call, Problem& problem) {
    if (call.dtype != M2A_FLOAT32 && call.dtype != M2A_FLOAT16) {
        return M2A_BAD_DTYPE;
    }
    if (call.dim != 16 && call.dim != 32) {
        return M2A_BAD_DIM;
    }
    if (call.levels < 1 || call.levels > kMaxLevels) {
        return M2A_BAD_LEVELS;
    }
    if (call.points != kPoints) {
        return M2A_BAD_POINTS;
    }
    if (call.batch < 0 || call.batch > kMaxBatch || call.heads < 1 || call.heads > kMaxHeads) {
        return M2A_BAD_SIZE;
    }
    problem = {};
    problem.batch = call.batch, problem.heads = call.heads, problem.dim = call.dim, problem.levels = call.levels;
    std::int64_t keys = 0;
    std::int64_t tiles = 0;
    for (int i = 0; i < call.levels; ++i) {
        const int height = call.shapes[2 * i], width = call.shapes[2 * i + 1];
        // Sides are computed with as floats, which are exact to 2^24.
        if (height < 0 || width < 0 || height > 1 << 24 || width > 1 << 24) {
            return M2A_BAD_SIZE;
        }
        const int across = (width + kTileSide - 1) / kTileSide, down = (height + kTileSide - 1) / kTileSide;
        problem.level[i] = {height, width, static_cast<int>(keys), static_cast<int>(tiles), across};
        keys += static_cast<std::int64_t>(height) * width;
        tiles += static_cast<std::int64_t>(across) * down;
        if (keys * call.heads * call.dim > kMaxElements || keys * call.heads * 3 * call.levels * kPoints > kMaxElements) {
            return M2A_BAD_SIZE;
        }
    }
    problem.keys = static_cast<int>(keys), problem.tiles = static_cast<int>(tiles);
    for (int own = 0; own < call.levels; ++own) {
        for (int other = 0; other < call.levels; ++other) {
            const Level &from = problem.level[own], &to = problem.level[other];
            problem.across[own][other] = from.width ? static_cast<float>(to.width) / from.width : 0.0f;
            problem.down[own][other] = from.height ? static_cast<float>(to.height) / from.height : 0.0f;
        }
    }
    return M2A_OK;
}

// `make_problem`, and every pointer that the call reads or writes fit for 16-byte vectors.
inline int check_call(const M2aDeformAttn& call, std::initializer_list<const void*> pointers, Problem& problem) {
    if (const int code = make_problem(call, problem)) {
        return code;
    }
    for (const void* pointer : pointers) {
        if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0) {
            return M2A_BAD_POINTER;
        }
    }
    return M2A_OK;
}

inline const char* error_text(int code) {
    switch (code) {
        case M2A_OK: return "no error";
        case M2A_BAD_DTYPE: return "type: expected float32 or float16";
        case M2A_BAD_DIM: return "channels a head: expected 16 or 32";
        case M2A_BAD_LEVELS: return "levels: expected 1 to 4";
        case M2A_BAD_POINTS: return "points: expected 4";
        case M2A_BAD_SIZE: return "batch, heads or level sides: negative, zero heads, or more than 32-bit offsets reach";
        case M2A_BAD_POINTER: return "tensor: not aligned to 16 bytes";
        default: return "unknown code";
    }
}

// Elements of one image of a tensor with `each` of them for every key and head.
M2A_HD std::int64_t image_size(const Problem& problem, int each) {
    return static_cast<std::int64_t>(problem.keys) * problem.heads * each;
}

struct Query {
    int level, row, column;
    bool exists;  // tiles at a level's border are not full; the place is then that of the nearest query

    M2A_HD int key(const Level& own) const { return own.start + row * own.width + column; }
};

// The `member`-th query of a tile.
M2A_HD Query query_of(const Problem& problem, int tile, int member) {
    int level = 0;
M2A_UNROLL
    for (int i = 1; i < kMaxLevels; ++i) {
        level += i < problem.levels && tile >= problem.level[i].first_tile;
    }
    const Level& own = problem.level[level];
    const int place = tile - own.first_tile;
    const int row = place / own.tiles_across * kTileSide + member / kTileSide;
    const int column = place % own.tiles_across * kTileSide + member % kTileSide;
    const int last_row = own.height - 1, last_column = own.width - 1;
    return {
        level, row < last_row ? row : last_row, column < last_column ? column : last_column,
        row <= last_row && column <= last_column,
    };
}

}  // namespace m2a
