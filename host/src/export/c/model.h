/* Written by bitbudget @version@: a network of @input@ inputs (rows x columns x channels) and @output@ outputs. */

#ifndef @NAME@_H
#define @NAME@_H

#include <stdint.h>

#include "bitbudget.h"

/* The image, and what of it bb_open_storage keeps in RAM. */
#define @NAME@_IMAGE_BYTES @image_bytes@u
#define @NAME@_META_BYTES @meta_bytes@u
/* Its layers, and the most levels of one: the library must be built for as many (bb_max_layers, bb_max_levels). */
#define @NAME@_LAYERS @layers@u
#define @NAME@_LEVELS @levels@u
/* Elements of a sample and of the output. */
#define @NAME@_INPUT_LEN @input_len@u
#define @NAME@_OUTPUT_LEN @output_len@u
/* Where weights may lie in the plans that the next sizes are of. */
#define @NAME@_PLACES @places@
/* Limit of cycles of these plans, and of the steps of the search for them. */
#define @NAME@_CYCLES @cycles@
#define @NAME@_NODES @nodes@u
/* Bytes of the arena under the best plan, and under the smallest one. */
#define @NAME@_ARENA_MOST @most_bytes@u
#define @NAME@_ARENA_LEAST @least_bytes@u

#ifdef __cplusplus
#define @NAME@_ALIGNED alignas(BB_ALIGN)
extern "C" {
#else
#define @NAME@_ALIGNED _Alignas(BB_ALIGN)
#endif

/* The image, which is read where it lies. */
extern const uint8_t @name@_image[@NAME@_IMAGE_BYTES];

/* A sample, and the bits of the output (float) that it has within some bytes of the arena: the same on every
   processor where the plan has integer layers alone (is_exact), else within rounding. */
struct @name@_case {
    uint32_t ram_bytes;
    uint8_t is_exact;
    uint32_t output[@NAME@_OUTPUT_LEN];
};
#define @NAME@_CASES @cases@u
extern const uint8_t @name@_sample[@NAME@_INPUT_LEN];
extern const struct @name@_case @name@_cases[@NAME@_CASES];

#ifdef __cplusplus
}
#endif

#endif
