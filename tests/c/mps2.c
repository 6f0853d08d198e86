/* Starts a C program on the emulated board, and tells at its end how deep the stack was. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define PAINT 0xA5A5A5A5u

extern uint32_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[], stack_bottom[];
extern void initialise_monitor_handles(void);
extern int main(void);

/* what the C library expects of a start-up file */
void _init(void) {}
void _fini(void) {}

static void run(void)
{
    uint32_t *deepest = stack_bottom;
    int code;

    initialise_monitor_handles();
    code = main();
    while (*deepest == PAINT) {
        deepest++;
    }
    printf("stack %lu bytes\n", (unsigned long)((stack_top - deepest) * 4));
    exit(code);
}

__attribute__((noreturn)) void reset(void)
{
    uint32_t here;

    /* the FPU */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\nisb" ::: "memory");
    for (uint32_t *to = data_start, *from = data_load; to < data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = bss_start; to < bss_end;) {
        *to++ = 0;
    }
    for (uint32_t *to = stack_bottom; to < &here - 16;) {
        *to++ = PAINT;
    }
    run();
    for (;;) {
    }
}

static void fault(void)
{
    puts("fault");
    exit(2);
}

struct vectors {
    uint32_t *stack;
    void (*reset)(void);
    void (*faults[5])(void);
};

__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    stack_top, reset, {fault, fault, fault, fault, fault},
};
