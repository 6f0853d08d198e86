/* Plans for memory that comes and goes, runs a sample, and compares its outputs with the host's: bit for bit where all layers
   are integers, else within rounding.
   Written by bitbudget. */

#include <stdio.h>
#include <string.h>

#include "bitbudget.h"
#include "@name@.h"

static uint64_t state[BB_STATE_BYTES / sizeof(uint64_t)];
static uint64_t arena[(@NAME@_ARENA_MOST + 7u) / sizeof(uint64_t)];

static int failed(const char *what, bb_status status)
{
    printf("%s: %s\n", what, bb_strerror(status));
    return 1;
}

/* The largest difference from the host's output, in parts of its largest magnitude; below 0: not one bit. */
static float difference(const float *output, const struct @name@_case *expected)
{
    float most = 0.0f, magnitude = 0.0f;

    if (memcmp(output, expected->output, sizeof expected->output) == 0) {
        return -1.0f;
    }
    for (uint32_t i = 0; i < @NAME@_OUTPUT_LEN; i++) {
        float host, apart;
        memcpy(&host, &expected->output[i], sizeof host);
        apart = output[i] < host ? host - output[i] : output[i] - host;
        host = host < 0.0f ? -host : host;
        most = apart > most ? apart : most;
        magnitude = host > magnitude ? host : magnitude;
    }
    return magnitude > 0.0f ? most / magnitude : most;
}

static int run(void)
{
    bb_net *net;
    bb_status status;

    status = bb_open(state, sizeof state, @name@_image, sizeof @name@_image, arena, sizeof arena, &net);
    if (status != BB_STATUS_OK) {
        return failed("bb_open", status);
    }
    status = bb_set_places(net, @NAME@_PLACES);
    if (status != BB_STATUS_OK) {
        return failed("bb_set_places", status);
    }
    for (uint32_t i = 0; i < @NAME@_CASES; i++) {
        const struct @name@_case *expected = &@name@_cases[i];
        const bb_limits limits = {expected->ram_bytes, @NAME@_CYCLES, @NAME@_NODES};
        bb_plan plan;
        const float *output;
        float apart;
        size_t len, spare;

        status = bb_replan(net, &limits, &plan);
        if (status != BB_STATUS_OK) {
            return failed("bb_replan", status);
        }
        status = bb_run_u8(net, @name@_sample, @NAME@_INPUT_LEN);
        if (status != BB_STATUS_OK) {
            return failed("bb_run_u8", status);
        }
        (void)bb_spare(net, &spare);
        printf("%lu bytes of RAM, %lu of them weights, %lu spare: class %ld",
               (unsigned long)plan.ram_bytes, (unsigned long)plan.ram_weight_bytes,
               (unsigned long)spare, (long)bb_argmax(net));
        output = bb_output(net, &len);
        apart = len == @NAME@_OUTPUT_LEN ? difference(output, expected) : 1.0f;
        if (apart < 0.0f) {
            printf(", the host's bits\n");
        } else if (!expected->is_exact && apart < 0.05f) {
            printf(", the host's within %ld millionths\n", (long)(apart * 1e6f) + 1);
        } else {
            printf(", and the outputs are not the host's\n");
            return 1;
        }
    }
    printf("state %lu bytes, of %lu\n", (unsigned long)bb_state_bytes(), (unsigned long)sizeof state);
    return 0;
}

#ifdef ESP_PLATFORM
void app_main(void)
{
    (void)run();
}
#else
int main(void)
{
    return run();
}
#endif
