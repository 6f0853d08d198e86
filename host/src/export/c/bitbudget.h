/* bitbudget: a network of mixed precision in a budget of memory that may change.
 *
 * Lend a state and an arena, open an image, plan within limits, run:
 *
 *   static uint64_t state[BB_STATE_BYTES / 8], arena[65536 / 8];
 *   bb_net *net;
 *   bb_open(state, sizeof state, image, image_bytes, arena, sizeof arena, &net);
 *   bb_replan(net, NULL, NULL);
 *   bb_run_u8(net, pixels, pixel_count);
 *   int32_t best = bb_argmax(net);
 *
 * Every function that can fail returns BB_STATUS_OK, which is 0, or what went wrong: bb_strerror. There is no heap, and
 * nothing is global: nets do not know of each other, and each is used by one caller at a time. Pointers that may be NULL
 * say so; where another one is, the answer is BB_STATUS_ARGUMENT.
 */


#ifndef BITBUDGET_H
#define BITBUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The layers and levels that the library was built for: these variables of its build, if they were set. */
#ifndef BITBUDGET_LAYERS
#define BITBUDGET_LAYERS 64
#endif
#ifndef BITBUDGET_LEVELS
#define BITBUDGET_LEVELS 8
#endif
/* Enough bytes for the state; bb_state_bytes() tells how many exactly. */
#define BB_STATE_BYTES (BITBUDGET_LAYERS * (96 * BITBUDGET_LEVELS + 432) + 2048)


/**
 * What stands for no limit in bb_limits.
 */
#define BB_NO_LIMIT UINT64_MAX

/**
 * What the state and the arena are aligned to, and an image in memory.
 */
#define BB_ALIGN 8

/**
 * What a function returns: BB_STATUS_OK, or what went wrong.
 */
typedef enum {
  /**
   * It went well.
   */
  BB_STATUS_OK = 0,
  /**
   * A pointer is NULL, a number is out of range, or there is nothing of that number.
   */
  BB_STATUS_ARGUMENT,
  /**
   * The memory for the state is smaller than bb_state_bytes() or not aligned to BB_ALIGN.
   */
  BB_STATUS_STATE,
  /**
   * The arena is not aligned to BB_ALIGN.
   */
  BB_STATUS_ALIGN,
  /**
   * These bytes are no image.
   */
  BB_STATUS_MAGIC,
  /**
   * An image of another version: pack it with the release of this library.
   */
  BB_STATUS_VERSION,
  /**
   * The image is cut off, or longer than its header says.
   */
  BB_STATUS_LENGTH,
  /**
   * The image was damaged: its checksum is wrong.
   */
  BB_STATUS_CHECKSUM,
  /**
   * The image has more layers than bb_max_layers().
   */
  BB_STATUS_LAYERS,
  /**
   * A layer has more levels than bb_max_levels().
   */
  BB_STATUS_LEVELS,
  /**
   * The image's checksum is right and its contents are wrong.
   */
  BB_STATUS_MALFORMED,
  /**
   * The buffer for what is before the blocks is smaller than bb_info.meta_bytes.
   */
  BB_STATUS_META,
  /**
   * The storage could not be read.
   */
  BB_STATUS_STORAGE,
  /**
   * No plan is within the limits; the plan of before, if any, is still in place.
   */
  BB_STATUS_LIMITS,
  /**
   * The image was packed without this: cycles (--board), or plans (--store-plans).
   */
  BB_STATUS_NOT_STORED,
  /**
   * Weights cannot stay in flash: the image is not in memory, or not aligned to BB_ALIGN.
   */
  BB_STATUS_NOT_MAPPED,
  /**
   * There is no plan yet: bb_replan comes first.
   */
  BB_STATUS_NO_PLAN,
  /**
   * The input has another number of elements than bb_info.input_len.
   */
  BB_STATUS_INPUT_LEN,
} bb_status;

/**
 * Where the weights of a plan may lie.
 */
typedef enum {
  /**
   * All of them are copied to the arena.
   */
  BB_PLACES_RAM = 0,
  /**
   * All of them are read where the image lies, which must be in memory; they take no RAM.
   */
  BB_PLACES_FLASH,
  /**
   * Each where it is best: in the arena if that saves cycles and there is room.
   */
  BB_PLACES_BEST,
} bb_places;

/**
 * An opened image with its planner and its engine. It lies in the state that the caller lends.
 *
 * Only one of its functions may run at a time, and none in what they call back.
 */
typedef struct bb_net bb_net;

/**
 * The shape of a tensor; its elements lie in this order, channels next to each other.
 */
typedef struct {
  /**
   * Rows.
   */
  uint16_t height;
  /**
   * Columns.
   */
  uint16_t width;
  /**
   * Channels.
   */
  uint16_t channels;
} bb_shape;

/**
 * What an image says of itself.
 */
typedef struct {
  /**
   * Bytes of the whole image.
   */
  uint32_t image_bytes;
  /**
   * Bytes of all that is before the blocks: what bb_open_storage keeps in RAM.
   */
  uint32_t meta_bytes;
  /**
   * Layers of the network; the library has room for bb_max_layers().
   */
  uint32_t layers;
  /**
   * The most levels of a layer; the library has room for bb_max_levels().
   */
  uint32_t levels;
  /**
   * Elements of the input.
   */
  uint32_t input_len;
  /**
   * Elements of the output.
   */
  uint32_t output_len;
  /**
   * Shape of the input.
   */
  bb_shape input;
  /**
   * Shape of the output.
   */
  bb_shape output;
  /**
   * Whether plans can keep to a limit of cycles.
   */
  bool has_cycles;
  /**
   * Whether it carries plans for bb_replan_stored.
   */
  bool has_plans;
} bb_info;

/**
 * Reads `len` bytes of the storage, from its byte `at` on, to `to`; both are multiples of four. Returns 0, or
 * anything else when that failed.
 */
typedef int32_t (*bb_read)(void *context, uint32_t at, uint8_t *to, size_t len);

/**
 * The most that a plan may take.
 */
typedef struct {
  /**
   * Bytes of the arena; BB_NO_LIMIT or anything above its size: all of it.
   */
  uint64_t ram_bytes;
  /**
   * Cycles of an inference, of those that the image knows; or BB_NO_LIMIT.
   */
  uint64_t cycles;
  /**
   * Steps of the search, a hard bound of its time; BB_NO_LIMIT: until the plan is proven optimal.
   */
  uint64_t node_limit;
} bb_limits;

/**
 * A plan: a level and a place for every layer; those of a layer by bb_layer.
 */
typedef struct {
  /**
   * Bytes of the arena that it takes in all.
   */
  uint32_t ram_bytes;
  /**
   * Bytes of them that are weights; the rest are activations.
   */
  uint32_t ram_weight_bytes;
  /**
   * Bytes of weights that stay in flash.
   */
  uint32_t flash_weight_bytes;
  /**
   * Turns in which layers run row by row to save RAM; 0: all tensors are whole.
   */
  uint32_t turns;
  /**
   * Cycles of an inference, of those that the image knows; without those of the turns.
   */
  uint64_t cycles;
  /**
   * Steps that the search took.
   */
  uint64_t nodes;
  /**
   * Predicted change of the loss.
   */
  float loss;
  /**
   * No plan within the limits has a lower one than this.
   */
  float least_loss;
  /**
   * Whether it is proven to be the best.
   */
  bool is_optimal;
} bb_plan;

/**
 * Writes a row of raw pixels, `len` of them (its columns, channels next to each other), to `to`.
 */
typedef void (*bb_fill_row)(void *context, uint32_t row, uint8_t *to, size_t len);

/**
 * One layer, and what the plan has for it.
 */
typedef struct {
  /**
   * Its level, such as "int8"; empty for a layer without weights, and without a plan.
   */
  char level[16];
  /**
   * Bytes of its weights at that level.
   */
  uint32_t weight_bytes;
  /**
   * Whether they are in the arena.
   */
  bool is_in_ram;
  /**
   * Shape of its output.
   */
  bb_shape output;
} bb_layer_info;

/**
 * Is told when a layer begins and ends; layer -1 makes the input tensor of the sample. Where layers run row by
 * row, each of their turns begins and ends.
 */
typedef void (*bb_profiler)(void *context, int32_t layer, bool is_begin);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * What a bb_status means, in English: a text that is always there.
 */
const char *bb_strerror(uint32_t status);

/**
 * The library's version, as text.
 */
const char *bb_version(void);

/**
 * The version of the images that this library reads: that of the bitbudget that packs them.
 */
uint32_t bb_image_version(void);

/**
 * Tells what the image at the beginning of these bytes needs, before any memory is lent to it. The bytes need
 * not reach beyond the first bb_info.meta_bytes + 28. Nothing is checked yet: that does bb_open.
 */
bb_status bb_image_info(const void *image,
                        size_t image_bytes,
                        bb_info *info);

/**
 * The most layers of an image that this library has room for.
 */
uint32_t bb_max_layers(void);

/**
 * The most levels of a layer that this library has room for.
 */
uint32_t bb_max_levels(void);

/**
 * Bytes of the state that bb_open takes; at most BB_STATE_BYTES.
 */
size_t bb_state_bytes(void);

/**
 * Opens an image in memory: checks all of it, and makes `*net` ready for bb_replan.
 *
 * `image`, `state` and `arena` stay lent, and where they are, until the net is no longer used; there is nothing
 * to close. `state` takes bb_state_bytes(), the arena what plans shall take at most (export c tells the least).
 */
bb_status bb_open(void *state,
                  size_t state_bytes,
                  const void *image,
                  size_t image_bytes,
                  void *arena,
                  size_t arena_bytes,
                  bb_net **net);

/**
 * Opens an image that is not in memory, such as in a flash behind SPI: `read` reads the storage of
 * `storage_bytes`, at whose beginning the image lies. What is before its blocks is kept in `meta`
 * (bb_info.meta_bytes); weights always lie in the arena. Else as bb_open.
 */
bb_status bb_open_storage(void *state,
                          size_t state_bytes,
                          bb_read read,
                          void *context,
                          size_t storage_bytes,
                          void *meta,
                          size_t meta_bytes,
                          void *arena,
                          size_t arena_bytes,
                          bb_net **net);

/**
 * Says where the weights of the plans to come may lie, a bb_places; in the beginning BB_PLACES_RAM.
 */
bb_status bb_set_places(bb_net *net, uint32_t places);

/**
 * Finds the plan of least predicted loss within the limits and puts it in place: weights are copied to the arena,
 * or moved there, as it wants. The first call takes longest. Call it again whenever memory comes or goes.
 * `limits` may be NULL: anything that the arena has room for; `plan` may be NULL.
 */
bb_status bb_replan(bb_net *net,
                    const bb_limits *limits,
                    bb_plan *plan);

/**
 * Finds that plan and changes nothing.
 */
bb_status bb_solve(bb_net *net, const bb_limits *limits, bb_plan *plan);

/**
 * Looks up the best plan within so many bytes of the arena among those that the image carries, and puts it in
 * place: no search. All weights lie in the arena. `plan` may be NULL.
 */
bb_status bb_replan_stored(bb_net *net,
                           uint64_t ram_bytes,
                           bb_plan *plan);

/**
 * Tells the least bytes of an arena that any plan takes, with the places that are set.
 */
bb_status bb_least_ram(bb_net *net, uint64_t *bytes);

/**
 * Runs the network on a sample of raw bytes, such as pixels: bb_info.input_len of them, in the order of its shape.
 * They become real numbers as the image says (bitbudget profile's --scale, --mean and --std).
 */
bb_status bb_run_u8(bb_net *net,
                    const uint8_t *sample,
                    size_t len);

/**
 * Runs the network on a sample of raw values that are signed, such as features of a sound. They become real
 * numbers as bytes do.
 */
bb_status bb_run_i8(bb_net *net,
                    const int8_t *sample,
                    size_t len);

/**
 * Runs the network on a sample of raw values that are no bytes. They become real numbers as bytes do.
 */
bb_status bb_run_f32(bb_net *net,
                     const float *sample,
                     size_t len);

/**
 * Runs the network on a sample that comes row by row, such as from a camera: `fill` is asked for each row of raw
 * bytes, in order, when it is needed, and writes it where the input lies. There is no frame in memory. A profiler
 * is not called.
 */
bb_status bb_run_rows(bb_net *net,
                      bb_fill_row fill,
                      void *context);

/**
 * The output of the last inference, in the arena: read it before the next bb_ function of the net is called. NULL
 * without a plan.
 */
const float *bb_output(bb_net *net,
                       size_t *len);

/**
 * The place of the largest element of the output: for a classifier, the class. -1 without a plan.
 */
int32_t bb_argmax(bb_net *net);

/**
 * What the plan leaves of the arena: the caller's until the next bb_replan. `bytes` may be NULL.
 */
void *bb_spare(bb_net *net, size_t *bytes);

/**
 * Tells a layer's shape, and what the plan has for it.
 */
bb_status bb_layer(bb_net *net, uint32_t index, bb_layer_info *layer);

/**
 * Writes a layer's name as text to `to`, as much as `size` bytes have room for, and returns the length of the whole
 * name, as snprintf does.
 */
size_t bb_layer_name(bb_net *net,
                     uint32_t index,
                     char *to,
                     size_t size);

/**
 * Has a function called at the begin and the end of every layer; NULL: none any more.
 */
bb_status bb_set_profiler(bb_net *net,
                          bb_profiler profiler,
                          void *context);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BITBUDGET_H */
