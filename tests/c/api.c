/* Uses every function of the C library, wrongly and rightly. `model` is an image with cycles and stored plans. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bitbudget.h"
#include "model.h"

#define CHECK(what)                                                 \
    do {                                                            \
        if (!(what)) {                                              \
            printf("line %d: not so: %s\n", __LINE__, #what);       \
            exit(1);                                                \
        }                                                           \
    } while (0)

#define STATE_WORDS (BB_STATE_BYTES / 8)
#define ARENA_WORDS ((MODEL_ARENA_MOST + 7) / 8)

static uint64_t state[STATE_WORDS], other_state[STATE_WORDS];
static uint64_t arena[ARENA_WORDS], other_arena[ARENA_WORDS];
static uint64_t meta[MODEL_META_BYTES / 8 + 1];
static uint64_t damaged[MODEL_IMAGE_BYTES / 8 + 2];

static int reads_left = 1000000;

static int32_t read_image(void *context, uint32_t at, uint8_t *to, size_t len)
{
    CHECK(context == &reads_left);
    CHECK(at + len <= MODEL_IMAGE_BYTES);
    if (reads_left == 0) {
        return -1;
    }
    reads_left--;
    memcpy(to, model_image + at, len);
    return 0;
}

static void fill_row(void *context, uint32_t row, uint8_t *to, size_t len)
{
    uint32_t *next = context;
    CHECK(row == (*next)++);
    memcpy(to, model_sample + row * len, len);
}

struct profile {
    int32_t running, ended;
};

static void watch(void *context, int32_t layer, bool is_begin)
{
    struct profile *profile = context;
    if (is_begin) {
        CHECK(profile->running == -2);
        profile->running = layer;
    } else {
        CHECK(profile->running == layer);
        profile->running = -2;
        profile->ended = layer;
    }
}

static bool is_expected(bb_net *net, uint32_t i)
{
    size_t len;
    const float *output = bb_output(net, &len);
    return len == MODEL_OUTPUT_LEN && memcmp(output, model_cases[i].output, sizeof model_cases[i].output) == 0;
}

static bb_status open_with(const void *image, size_t bytes, bb_net **net)
{
    return bb_open(state, sizeof state, image, bytes, arena, sizeof arena, net);
}

static void versions_and_texts(void)
{
    CHECK(strlen(bb_version()) > 4);
    CHECK(bb_image_version() == model_image[8]);
    CHECK(bb_max_layers() == BITBUDGET_LAYERS && bb_max_levels() == BITBUDGET_LEVELS);
    CHECK(bb_state_bytes() <= sizeof state);
    for (uint32_t i = 0; i <= BB_STATUS_INPUT_LEN; i++) {
        CHECK(strlen(bb_strerror(i)) > 7);
        for (uint32_t j = 0; j < i; j++) {
            CHECK(strcmp(bb_strerror(i), bb_strerror(j)) != 0);
        }
    }
    CHECK(strcmp(bb_strerror(1000), "no such status") == 0);
}

static void what_an_image_says(void)
{
    bb_info info;
    CHECK(bb_image_info(model_image, sizeof model_image, &info) == BB_STATUS_OK);
    CHECK(info.image_bytes == MODEL_IMAGE_BYTES && info.meta_bytes == MODEL_META_BYTES);
    CHECK(info.layers == MODEL_LAYERS && info.levels == MODEL_LEVELS);
    CHECK(info.input_len == MODEL_INPUT_LEN && info.output_len == MODEL_OUTPUT_LEN);
    CHECK(info.input.height * info.input.width * info.input.channels == MODEL_INPUT_LEN);
    CHECK(info.output.channels == MODEL_OUTPUT_LEN);
    CHECK(info.has_cycles && info.has_plans);
    CHECK(bb_image_info(model_image, MODEL_META_BYTES + 28, &info) == BB_STATUS_OK);
    CHECK(bb_image_info(model_image, 40, &info) == BB_STATUS_LENGTH);
    CHECK(bb_image_info(model_image, 0, &info) == BB_STATUS_MAGIC);
    CHECK(bb_image_info(NULL, 0, &info) == BB_STATUS_ARGUMENT);
    CHECK(bb_image_info(model_image, sizeof model_image, NULL) == BB_STATUS_ARGUMENT);
}

static void images_that_do_not_open(void)
{
    bb_net *net = NULL;
    uint8_t *bytes = (uint8_t *)damaged;
    CHECK(open_with(NULL, 0, &net) == BB_STATUS_ARGUMENT);
    CHECK(open_with(model_image, sizeof model_image, NULL) == BB_STATUS_ARGUMENT);
    CHECK(open_with(model_image, sizeof model_image - 1, &net) == BB_STATUS_LENGTH);
    memcpy(bytes, model_image, sizeof model_image);
    bytes[sizeof model_image / 2] ^= 1;
    CHECK(open_with(bytes, sizeof model_image, &net) == BB_STATUS_CHECKSUM);
    bytes[8]++;
    CHECK(open_with(bytes, sizeof model_image, &net) == BB_STATUS_VERSION);
    bytes[0]++;
    CHECK(open_with(bytes, sizeof model_image, &net) == BB_STATUS_MAGIC);
    CHECK(bb_open(state, bb_state_bytes() - 1, model_image, sizeof model_image, arena, sizeof arena, &net) ==
          BB_STATUS_STATE);
    CHECK(bb_open((uint8_t *)state + 1, sizeof state - 1, model_image, sizeof model_image, arena,
                  sizeof arena, &net) == BB_STATUS_STATE);
    CHECK(bb_open(state, sizeof state, model_image, sizeof model_image, (uint8_t *)arena + 4,
                  sizeof arena - 4, &net) == BB_STATUS_ALIGN);
    CHECK(net == NULL);
}

static void no_net(void)
{
    bb_layer_info layer;
    bb_plan plan;
    uint64_t bytes;
    size_t len = 7;
    CHECK(bb_replan(NULL, NULL, &plan) == BB_STATUS_ARGUMENT);
    CHECK(bb_solve(NULL, NULL, &plan) == BB_STATUS_ARGUMENT);
    CHECK(bb_replan_stored(NULL, 1, &plan) == BB_STATUS_ARGUMENT);
    CHECK(bb_set_places(NULL, BB_PLACES_RAM) == BB_STATUS_ARGUMENT);
    CHECK(bb_least_ram(NULL, &bytes) == BB_STATUS_ARGUMENT);
    CHECK(bb_run_u8(NULL, model_sample, 1) == BB_STATUS_ARGUMENT);
    CHECK(bb_run_f32(NULL, NULL, 1) == BB_STATUS_ARGUMENT);
    CHECK(bb_run_i8(NULL, NULL, 1) == BB_STATUS_ARGUMENT);
    CHECK(bb_run_rows(NULL, fill_row, NULL) == BB_STATUS_ARGUMENT);
    CHECK(bb_layer(NULL, 0, &layer) == BB_STATUS_ARGUMENT);
    CHECK(bb_set_profiler(NULL, watch, NULL) == BB_STATUS_ARGUMENT);
    CHECK(bb_layer_name(NULL, 0, NULL, 0) == 0);
    CHECK(bb_argmax(NULL) == -1);
    CHECK(bb_output(NULL, &len) == NULL && len == 0);
    (void)bb_spare(NULL, &len);
    CHECK(len == 0);
}

static void plans(bb_net *net)
{
    bb_limits limits = {BB_NO_LIMIT, BB_NO_LIMIT, BB_NO_LIMIT};
    bb_plan best, plan, dry;
    bb_layer_info layer;
    uint64_t least;
    size_t len;
    char name[4];

    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_NO_PLAN);
    CHECK(bb_output(net, &len) == NULL && len == 0 && bb_argmax(net) == -1);
    CHECK(bb_layer(net, 0, &layer) == BB_STATUS_OK && layer.level[0] == 0 && layer.weight_bytes == 0);
    (void)bb_spare(net, &len);
    CHECK(len == sizeof arena);

    /* all of the arena */
    CHECK(bb_replan(net, NULL, &best) == BB_STATUS_OK);
    CHECK(best.is_optimal && best.loss == best.least_loss && best.ram_bytes <= sizeof arena);
    CHECK(best.ram_weight_bytes > 0 && best.flash_weight_bytes == 0 && best.cycles > 0);
    CHECK(bb_spare(net, &len) == (uint8_t *)arena + best.ram_bytes && len == sizeof arena - best.ram_bytes);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN - 1) == BB_STATUS_INPUT_LEN);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK);
    CHECK(is_expected(net, 0));
    CHECK(bb_layer(net, 0, &layer) == BB_STATUS_OK && layer.is_in_ram && layer.weight_bytes > 0);
    CHECK(layer.level[0] != 0 && layer.output.height > 0);
    CHECK(bb_layer(net, MODEL_LAYERS, &layer) == BB_STATUS_ARGUMENT);
    len = bb_layer_name(net, 0, name, sizeof name);
    CHECK(len > 0 && strlen(name) == (len < 3 ? len : 3));
    CHECK(bb_layer_name(net, 0, NULL, 0) == len && bb_layer_name(net, MODEL_LAYERS, name, 4) == 0);

    /* too little leaves the plan in place */
    CHECK(bb_least_ram(net, &least) == BB_STATUS_OK && least == MODEL_ARENA_LEAST);
    limits.ram_bytes = least - 1;
    CHECK(bb_replan(net, &limits, &plan) == BB_STATUS_LIMITS);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK && is_expected(net, 0));

    /* a dry run, too; then the least RAM */
    limits.ram_bytes = least;
    CHECK(bb_solve(net, &limits, &dry) == BB_STATUS_OK && dry.ram_bytes == least);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK && is_expected(net, 0));
    CHECK(bb_replan(net, &limits, &plan) == BB_STATUS_OK && memcmp(&plan.loss, &dry.loss, 4) == 0);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK && is_expected(net, MODEL_CASES - 1));
    CHECK(plan.loss >= best.loss);

    /* what is looked up is what is found */
    for (uint32_t i = 0; i < MODEL_CASES; i++) {
        CHECK(bb_replan_stored(net, model_cases[i].ram_bytes, &plan) == BB_STATUS_OK);
        CHECK(plan.ram_bytes <= model_cases[i].ram_bytes);
        CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK && is_expected(net, i));
    }
    CHECK(bb_replan_stored(net, least - 1, &plan) == BB_STATUS_LIMITS);

    /* a limit of cycles, and one of nodes */
    limits.ram_bytes = BB_NO_LIMIT;
    limits.cycles = best.cycles - 1;
    CHECK(bb_replan(net, &limits, &plan) == BB_STATUS_OK);
    CHECK(plan.cycles < best.cycles && plan.loss >= best.loss);
    limits.cycles = 1;
    CHECK(bb_replan(net, &limits, &plan) == BB_STATUS_LIMITS);
    limits.cycles = BB_NO_LIMIT;
    limits.node_limit = 0;
    CHECK(bb_replan(net, &limits, &plan) == BB_STATUS_OK && plan.nodes == 0 && plan.least_loss <= plan.loss);

    /* weights in flash take no RAM and change no bit */
    CHECK(bb_set_places(net, 3) == BB_STATUS_ARGUMENT);
    CHECK(bb_set_places(net, BB_PLACES_FLASH) == BB_STATUS_OK);
    CHECK(bb_replan(net, NULL, &plan) == BB_STATUS_OK);
    CHECK(plan.ram_weight_bytes == 0 && plan.flash_weight_bytes > 0 && plan.ram_bytes < best.ram_bytes);
    CHECK(bb_layer(net, 0, &layer) == BB_STATUS_OK && !layer.is_in_ram && layer.weight_bytes > 0);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK);
    CHECK(bb_set_places(net, BB_PLACES_BEST) == BB_STATUS_OK);
    CHECK(bb_replan(net, NULL, &plan) == BB_STATUS_OK);
    CHECK(bb_set_places(net, BB_PLACES_RAM) == BB_STATUS_OK);
}

static void samples(bb_net *net)
{
    static float real[MODEL_INPUT_LEN], output[MODEL_OUTPUT_LEN];
    static int8_t bytes[MODEL_INPUT_LEN];
    struct profile profile = {-2, -2};
    uint32_t rows = 0;
    bb_info info;

    CHECK(bb_replan(net, NULL, NULL) == BB_STATUS_OK);
    for (size_t i = 0; i < MODEL_INPUT_LEN; i++) {
        real[i] = model_sample[i];
    }
    CHECK(bb_run_f32(net, real, MODEL_INPUT_LEN) == BB_STATUS_OK && is_expected(net, 0));
    CHECK(bb_run_f32(net, NULL, MODEL_INPUT_LEN) == BB_STATUS_ARGUMENT);
    memset(real, 0, sizeof real);
    CHECK(bb_run_f32(net, real, MODEL_INPUT_LEN) == BB_STATUS_OK && !is_expected(net, 0));
    for (size_t i = 0; i < MODEL_INPUT_LEN; i++) {
        bytes[i] = (int8_t)(model_sample[i] - 128);
        real[i] = bytes[i];
    }
    CHECK(bb_run_f32(net, real, MODEL_INPUT_LEN) == BB_STATUS_OK);
    memcpy(output, bb_output(net, NULL), sizeof output);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK);
    CHECK(memcmp(output, bb_output(net, NULL), sizeof output) != 0);
    CHECK(bb_run_i8(net, bytes, MODEL_INPUT_LEN) == BB_STATUS_OK);
    CHECK(memcmp(output, bb_output(net, NULL), sizeof output) == 0);
    CHECK(bb_run_i8(net, bytes, MODEL_INPUT_LEN - 1) != BB_STATUS_OK);
    CHECK(bb_run_i8(net, NULL, MODEL_INPUT_LEN) == BB_STATUS_ARGUMENT);
    CHECK(bb_run_rows(net, fill_row, &rows) == BB_STATUS_OK && is_expected(net, 0));
    CHECK(bb_image_info(model_image, sizeof model_image, &info) == BB_STATUS_OK && rows == info.input.height);
    CHECK(bb_run_rows(net, NULL, NULL) == BB_STATUS_ARGUMENT);

    CHECK(bb_set_profiler(net, watch, &profile) == BB_STATUS_OK);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK && is_expected(net, 0));
    CHECK(profile.running == -2 && profile.ended == (int32_t)MODEL_LAYERS - 1);
    profile.ended = -2;
    CHECK(bb_set_profiler(net, NULL, NULL) == BB_STATUS_OK);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK && profile.ended == -2);
}

static void storage(bb_net *mapped)
{
    bb_net *net = NULL;
    bb_status status;
    status = bb_open_storage(other_state, sizeof other_state, read_image, &reads_left, sizeof model_image, meta,
                             MODEL_META_BYTES - 1, other_arena, sizeof other_arena, &net);
    CHECK(status == BB_STATUS_META);
    status = bb_open_storage(other_state, sizeof other_state, NULL, &reads_left, sizeof model_image, meta,
                             sizeof meta, other_arena, sizeof other_arena, &net);
    CHECK(status == BB_STATUS_ARGUMENT);
    status = bb_open_storage(other_state, sizeof other_state, read_image, &reads_left, sizeof model_image, NULL,
                             sizeof meta, other_arena, sizeof other_arena, &net);
    CHECK(status == BB_STATUS_ARGUMENT && net == NULL);
    status = bb_open_storage(other_state, sizeof other_state, read_image, &reads_left, sizeof model_image, meta,
                             sizeof meta, other_arena, sizeof other_arena, &net);
    CHECK(status == BB_STATUS_OK);
    CHECK(bb_set_places(net, BB_PLACES_FLASH) == BB_STATUS_NOT_MAPPED);
    for (uint32_t i = 0; i < MODEL_CASES; i++) {
        const bb_limits limits = {model_cases[i].ram_bytes, BB_NO_LIMIT, BB_NO_LIMIT};
        CHECK(bb_replan(net, &limits, NULL) == BB_STATUS_OK);
        CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK && is_expected(net, i));
    }
    /* the two do not know of each other */
    CHECK(bb_run_u8(mapped, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK && is_expected(mapped, 0));
    /* a storage that fails leaves no plan; the next one that works is whole */
    reads_left = 1;
    CHECK(bb_replan(net, NULL, NULL) == BB_STATUS_STORAGE);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_NO_PLAN);
    reads_left = 1000;
    CHECK(bb_replan(net, NULL, NULL) == BB_STATUS_OK);
    CHECK(bb_run_u8(net, model_sample, MODEL_INPUT_LEN) == BB_STATUS_OK && is_expected(net, 0));
}

int main(void)
{
    bb_net *net;
    versions_and_texts();
    what_an_image_says();
    images_that_do_not_open();
    no_net();
    CHECK(open_with(model_image, sizeof model_image, &net) == BB_STATUS_OK);
    plans(net);
    samples(net);
    storage(net);
    printf("all is as the header says\n");
    return 0;
}
