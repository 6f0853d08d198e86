// Plans for memory that comes and goes, and compares outputs with the host's, bit for bit. Written by bitbudget.

#include <bitbudget.h>
#include <@name@.h>

#include <string.h>

static uint64_t state[BB_STATE_BYTES / sizeof(uint64_t)];
static uint64_t arena[(@NAME@_ARENA_MOST + 7u) / sizeof(uint64_t)];
static bb_net *net;

static bool fails(const char *what, uint32_t status) {
  if (status == BB_STATUS_OK) {
    return false;
  }
  Serial.print(what);
  Serial.print(": ");
  Serial.println(bb_strerror(status));
  net = nullptr;
  return true;
}

void setup() {
  Serial.begin(115200);
  if (!fails("bb_open", bb_open(state, sizeof state, @name@_image, @NAME@_IMAGE_BYTES, arena,
                                sizeof arena, &net))) {
    fails("bb_set_places", bb_set_places(net, @NAME@_PLACES));
  }
}

void loop() {
  for (uint32_t i = 0; net != nullptr && i < @NAME@_CASES; i++) {
    const struct @name@_case *expected = &@name@_cases[i];
    const bb_limits limits = {expected->ram_bytes, @NAME@_CYCLES, @NAME@_NODES};
    bb_plan plan;
    if (fails("bb_replan", bb_replan(net, &limits, &plan)) ||
        fails("bb_run_u8", bb_run_u8(net, @name@_sample, @NAME@_INPUT_LEN))) {
      return;
    }
    size_t len;
    const float *output = bb_output(net, &len);
    bool same = len == @NAME@_OUTPUT_LEN &&
                memcmp(output, expected->output, sizeof expected->output) == 0;
    Serial.print(plan.ram_bytes);
    Serial.print(" bytes of RAM: class ");
    Serial.print(bb_argmax(net));
    Serial.println(same ? ", the host's bits"
                   : expected->is_exact ? ", and the outputs are not the host's"
                                        : ", other bits than the host's, as layers in FP32 have");
  }
  delay(5000);
}
