/* The control file of the stub driver, and what its sensors show of the scripted true power.
 *
 * Python writes the file (control.py mirrors the structs), the stub library and the stub nvidia-smi
 * map it read-only. Every number is a closed form of prefix sums: nothing is stepped, so readers in
 * several processes agree however often they ask.
 *
 * Sensor: updates at monotonic instants phase + k * update; each sees the mean of the last `window`.
 *   window >= update: the driver's sums (average, counter, ring) follow the true power;
 *   window <  update: all of them derive from what the updates saw. One update stands for its whole
 *   update period (counter, average); the ring holds the latest update.
 */
#ifndef STUB_MODEL_H
#define STUB_MODEL_H

#define _GNU_SOURCE
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STUB_MAGIC "WPSTUB3"
#define MAX_GPUS 16
#define MAX_MIG 8
#define MAX_FAULTS 256
#define MAX_SEGMENTS (1 << 18)
#define NS_PER_S 1000000000LL

enum { RING_MEAN = 0, RING_POINT = 1 };

typedef struct {
    int64_t start_ns;
    double watts;
    double true_j; /* true energy from monotonic 0 to start_ns */
    double seen_j; /* the part of it inside sensing windows */
} segment_t;

typedef struct {
    int32_t gpu; /* -1: any */
    int32_t code; /* what the call returns; exit code of nvidia-smi */
    int64_t from_ns;
    int64_t until_ns;
    int64_t extra_ns; /* the call takes so much longer */
    int64_t value; /* forced raw value (mW, mJ, ...); -1: none */
    int32_t has_text;
    int32_t reserved;
    char call[56];
    char text[64];
} fault_t;

typedef struct {
    char uuid[96];
    char name[96];
    char serial[32];
    char bus_id[32];
    char mig_uuid[MAX_MIG][96];
    int32_t mig_count;
    int32_t mig_mode;
    int32_t architecture;
    int32_t persistence;
    int32_t ring_size;
    int32_t ring_mode;
    int32_t compute_major;
    int32_t compute_minor;
    int32_t usage_instant; /* nvmlDeviceGetPowerUsage: 0 average, 1 instant */
    int32_t segments;
    int64_t update_ns;
    int64_t window_ns;
    int64_t phase_ns;
    int64_t average_ns;
    int64_t delay_ns;
    int64_t ring_period_ns;
    int64_t ring_phase_ns;
    int64_t ring_cost_ns;
    int64_t counter_update_ns;
    int64_t counter_phase_ns;
    int64_t counter_cost_ns;
    int64_t field_cost_ns;
    int64_t usage_cost_ns;
    int64_t counter_start_mj;
    int64_t counter_reset_ns; /* the counter restarts at 0 from here; 0: never */
    int64_t memory_total;
    double gain;
    double idle_w;
    double limit_w;
} gpu_t;

typedef struct {
    char magic[8];
    uint64_t seq; /* odd while Python writes */
    int32_t gpus;
    int32_t faults;
    int64_t wall_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC, whole microseconds */
    int64_t smi_cost_ns;
    int32_t smi_generation; /* 0: by driver version; else 520, 535 or 570 */
    int32_t cuda_version;
    char driver[64];
    fault_t fault[MAX_FAULTS];
    gpu_t gpu[MAX_GPUS];
} control_t;

#define CONTROL_BYTES ((sizeof(control_t) + 4095) / 4096 * 4096)

typedef struct {
    const control_t *control;
    size_t bytes;
} stub_t;

static inline int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static inline int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* Sleeping cannot be that short: spend the time instead. */
static void spend_ns(int64_t ns) {
    if (ns <= 0) return;
    int64_t until = now_ns() + ns;
    if (ns >= 200000) {
        struct timespec t = {until / NS_PER_S, until % NS_PER_S};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)) {}
    }
    while (now_ns() < until) {}
}

static int stub_open(stub_t *stub) {
    const char *path = getenv("WATTPROOF_STUB");
    struct stat st;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return -1;
    void *at = MAP_FAILED;
    if (!fstat(fd, &st) && (size_t)st.st_size >= CONTROL_BYTES)
        at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) return -1;
    stub->control = at;
    stub->bytes = (size_t)st.st_size;
    if (memcmp(stub->control->magic, STUB_MAGIC, sizeof STUB_MAGIC)) {
        munmap(at, stub->bytes);
        stub->control = NULL;
        return -1;
    }
    return 0;
}

static void stub_close(stub_t *stub) {
    if (stub->control) munmap((void *)stub->control, stub->bytes);
    stub->control = NULL;
}

/* Wait until no write is under way; a writer that died in the middle is not waited for forever. */
static uint64_t read_begin(const control_t *c) {
    for (int i = 0; i < 1000; i++) {
        uint64_t seq = __atomic_load_n(&c->seq, __ATOMIC_ACQUIRE);
        if (!(seq & 1)) return seq;
        spend_ns(20000);
    }
    return __atomic_load_n(&c->seq, __ATOMIC_ACQUIRE);
}

static int read_retry(const control_t *c, uint64_t seq) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&c->seq, __ATOMIC_RELAXED) != seq;
}

#define CONSISTENT(c, body)                                                                        \
    do {                                                                                           \
        uint64_t seq_;                                                                             \
        do {                                                                                       \
            seq_ = read_begin(c);                                                                  \
            body;                                                                                  \
        } while (read_retry(c, seq_));                                                             \
    } while (0)

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static int64_t last_tick(int64_t t, int64_t phase, int64_t period) {
    return phase + floor_div(t - phase, period) * period;
}

static const segment_t *segments(const stub_t *s, int gpu) {
    return (const segment_t *)((const char *)s->control + CONTROL_BYTES) +
           (size_t)gpu * MAX_SEGMENTS;
}

static const segment_t *segment_at(const stub_t *s, int gpu, int64_t t) {
    const segment_t *all = segments(s, gpu);
    int low = 0, high = s->control->gpu[gpu].segments;
    if (high > MAX_SEGMENTS) high = MAX_SEGMENTS;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (all[middle].start_ns <= t) low = middle;
        else high = middle;
    }
    return all + low;
}

/* Time inside sensing windows from the phase to t. */
static int64_t window_time(const gpu_t *g, int64_t t) {
    int64_t turns = floor_div(t - g->phase_ns, g->update_ns);
    int64_t inside = (t - g->phase_ns - turns * g->update_ns) - (g->update_ns - g->window_ns);
    return turns * g->window_ns + (inside > 0 ? inside : 0);
}

static int part_time(const gpu_t *g) { return g->window_ns < g->update_ns; }

static double true_j(const stub_t *s, int gpu, int64_t t) {
    const segment_t *at = segment_at(s, gpu, t);
    return at->true_j + at->watts * (double)(t - at->start_ns) * 1e-9;
}

/* What the driver adds up by t; of a part-time sensor only at its ticks. */
static double summed_j(const stub_t *s, int gpu, int64_t t) {
    const gpu_t *g = &s->control->gpu[gpu];
    if (!part_time(g)) return g->gain * true_j(s, gpu, t);
    const segment_t *at = segment_at(s, gpu, t);
    double inside = at->seen_j +
                    at->watts * (double)(window_time(g, t) - window_time(g, at->start_ns)) * 1e-9;
    return g->gain * inside * ((double)g->update_ns / (double)g->window_ns);
}

static double mean_w(double joules, int64_t ns) { return joules / ((double)ns * 1e-9); }

/* Latest update that can be read at t. */
static int64_t sensor_tick(const gpu_t *g, int64_t t) {
    return last_tick(t - g->delay_ns, g->phase_ns, g->update_ns);
}

static double seen_w(const stub_t *s, int gpu, int64_t tick) {
    const gpu_t *g = &s->control->gpu[gpu];
    double joules = true_j(s, gpu, tick) - true_j(s, gpu, tick - g->window_ns);
    return g->gain * mean_w(joules, g->window_ns);
}

static double instant_w(const stub_t *s, int gpu, int64_t t) {
    return seen_w(s, gpu, sensor_tick(&s->control->gpu[gpu], t));
}

static double average_w(const stub_t *s, int gpu, int64_t t) {
    const gpu_t *g = &s->control->gpu[gpu];
    int64_t tick = sensor_tick(g, t), span = g->average_ns;
    if (part_time(g)) {
        int64_t updates = (span + g->update_ns / 2) / g->update_ns;
        span = (updates > 1 ? updates : 1) * g->update_ns;
    }
    return mean_w(summed_j(s, gpu, tick) - summed_j(s, gpu, tick - span), span);
}

static int64_t counter_mj(const stub_t *s, int gpu, int64_t t) {
    const gpu_t *g = &s->control->gpu[gpu];
    int64_t tick = last_tick(t - g->delay_ns, g->counter_phase_ns, g->counter_update_ns);
    int64_t seen = part_time(g) ? last_tick(tick, g->phase_ns, g->update_ns) : tick;
    double joules = summed_j(s, gpu, seen);
    int64_t reset = g->counter_reset_ns;
    if (reset && tick >= reset) {
        if (part_time(g)) reset = last_tick(reset, g->phase_ns, g->update_ns);
        return (int64_t)floor((joules - summed_j(s, gpu, reset)) * 1e3);
    }
    return g->counter_start_mj + (int64_t)floor(joules * 1e3);
}

/* Integral of the held updates of a part-time sensor. */
static double held_j(const stub_t *s, int gpu, int64_t t) {
    const gpu_t *g = &s->control->gpu[gpu];
    int64_t tick = last_tick(t, g->phase_ns, g->update_ns);
    double past = summed_j(s, gpu, tick - g->update_ns);
    return past + seen_w(s, gpu, tick) * (double)(t - tick) * 1e-9;
}

static double ring_w(const stub_t *s, int gpu, int64_t stamp) {
    const gpu_t *g = &s->control->gpu[gpu];
    int64_t period = g->ring_period_ns;
    if (g->ring_mode == RING_POINT) {
        if (!part_time(g)) return g->gain * segment_at(s, gpu, stamp)->watts;
        return seen_w(s, gpu, last_tick(stamp, g->phase_ns, g->update_ns));
    }
    if (!part_time(g))
        return mean_w(summed_j(s, gpu, stamp) - summed_j(s, gpu, stamp - period), period);
    return mean_w(held_j(s, gpu, stamp) - held_j(s, gpu, stamp - period), period);
}

static int64_t ring_last(const gpu_t *g, int64_t t) {
    return last_tick(t - g->delay_ns, g->ring_phase_ns, g->ring_period_ns);
}

/* Share of the span between idle and limit, 0 to 1, at the latest update. */
static double load_share(const stub_t *s, int gpu, int64_t t) {
    const gpu_t *g = &s->control->gpu[gpu];
    double share = (instant_w(s, gpu, t) / g->gain - g->idle_w) / (g->limit_w - g->idle_w);
    return share < 0.0 ? 0.0 : share > 1.0 ? 1.0 : share;
}

static int64_t milli(double value) { return value < 0.0 ? 0 : (int64_t)llround(value * 1e3); }

/* The scripted fault of a call at an instant, if there is one. */
static int fault_at(const stub_t *s, int gpu, const char *call, int64_t t, fault_t *found) {
    const control_t *c = s->control;
    int hit = 0;
    if (__atomic_load_n(&c->faults, __ATOMIC_RELAXED) == 0) return 0;
    CONSISTENT(c, {
        hit = 0;
        for (int i = 0; i < c->faults && i < MAX_FAULTS && !hit; i++) {
            const fault_t *f = &c->fault[i];
            if ((f->gpu < 0 || gpu < 0 || f->gpu == gpu) && f->from_ns <= t && t < f->until_ns &&
                (!strcmp(f->call, call) || (gpu >= 0 && !strcmp(f->call, "*")))) {
                *found = *f;
                hit = 1;
            }
        }
    });
    return hit;
}

/* Waits as a fault says; ends early when the script is cleared. */
static void fault_wait(const stub_t *s, const fault_t *f) {
    int64_t until = now_ns() + f->extra_ns;
    for (int64_t left; (left = until - now_ns()) > 0;) {
        spend_ns(left > 20000000 ? 20000000 : left);
        if (__atomic_load_n(&s->control->faults, __ATOMIC_RELAXED) == 0) return;
    }
}

#endif
