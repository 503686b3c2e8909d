// C interface of the kernel: the same on the GPU (deform_attn.cu) and on the host (deform_attn_host.cpp).
#pragma once

#include <stdint.h>

#define M2A_DEFORM_ATTN_MAX_LEVELS 4

#ifdef __cplusplus
extern "C" {
#endif

enum { M2A_FLOAT32 = 0, M2A_FLOAT16 = 1 };

// Codes of this library are negative; positive ones are CUDA's.
enum {
    M2A_OK = 0,
    M2A_BAD_DTYPE = -1,
    M2A_BAD_DIM = -2,
    M2A_BAD_LEVELS = -3,
    M2A_BAD_POINTS = -4,
    M2A_BAD_SIZE = -5,
    M2A_BAD_POINTER = -6,
};

// Shape legend: B batch, S keys of all levels together, N heads, D channels a head, L levels, P points.
typedef struct {
    int32_t dtype;
    int32_t batch;
    int32_t heads;
    int32_t dim;
    int32_t levels;
    int32_t points;
    int32_t shapes[2 * M2A_DEFORM_ATTN_MAX_LEVELS];  // height, width of each level
} M2aDeformAttn;

// value [B, S, N, D], projection [B, S, 3NLP] (offsets [N, L, P, 2], then logits [N, LP]) -> out [B, S, N*D].
// All contiguous, of call->dtype and aligned to 16 bytes. stream is a cudaStream_t, ignored on the host.
int m2a_deform_attn_forward(
    const M2aDeformAttn* call, const void* value, const void* projection, void* out, void* stream);

// grad [B, S, N*D] and the inputs -> grad_value float32 [B, S, N, D], to which it is added, and grad_projection of
// call->dtype. The order of the additions on a GPU is not fixed.
int m2a_deform_attn_backward(
    const M2aDeformAttn* call, const void* grad, const void* value, const void* projection, float* grad_value,
    void* grad_projection, void* stream);

// What a code means, for every code of this library and of CUDA.
const char* m2a_deform_attn_error(int code);

#ifdef __cplusplus
}
#endif
