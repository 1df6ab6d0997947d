/* Stub libnvidia-ml.so.1: the symbols that nvidia-ml-py, Zeus, Code Carbon and perun use.
 *
 * Struct layouts are NVML's. What a real driver can do and this one cannot is answered with
 * "not supported" or is no symbol at all ("function not found" in nvidia-ml-py).
 */
#include "model.h"

#include <pthread.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    OK = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
};

enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3 };

typedef union {
    double d;
    unsigned int ui;
    unsigned long ul;
    unsigned long long ull;
    long long sll;
    int si;
    unsigned short us;
} value_t;

typedef struct {
    uint32_t field, scope;
    int64_t timestamp, latency_us;
    uint32_t type;
    uint32_t code;
    value_t value;
} field_t;

typedef struct {
    unsigned long long stamp;
    value_t value;
} sample_t;

typedef struct {
    unsigned long long total, free, used;
} memory_t;

typedef struct {
    unsigned int version;
    unsigned long long total, reserved, free, used;
} memory_v2_t;

typedef struct {
    char legacy[16];
    unsigned int domain, bus, device, pci_device, pci_subsystem;
    char bus_id[32];
} pci_t;

static stub_t stub;
static int users;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Handles are not addresses: 0x10000 + 16 * gpu + (MIG instance + 1, or 0 for the board). */
#define HANDLE_BASE 0x10000

static void *make_handle(int gpu, int mig) {
    return (void *)(uintptr_t)(HANDLE_BASE + 16 * gpu + mig + 1);
}

static int gpu_of(const void *handle, int *mig) {
    intptr_t n = (intptr_t)(uintptr_t)handle - HANDLE_BASE;
    if (n < 0 || n / 16 >= stub.control->gpus) return -1;
    *mig = (int)(n % 16) - 1;
    return *mig < stub.control->gpu[n / 16].mig_count ? (int)(n / 16) : -1;
}

static int enter(const char *call, int gpu, fault_t *fault) {
    memset(fault, 0, sizeof *fault);
    fault->value = -1;
    if (!fault_at(&stub, gpu, call, now_ns(), fault)) return OK;
    fault_wait(&stub, fault);
    return fault->code;
}

#define ENTER_SYSTEM(call)                                                                         \
    fault_t fault;                                                                                 \
    if (!users) return UNINITIALIZED;                                                              \
    int code = enter(call, -1, &fault);                                                            \
    if (code) return code

#define ENTER_ANY(call, handle)                                                                    \
    fault_t fault;                                                                                 \
    int mig, gpu, code;                                                                            \
    if (!users) return UNINITIALIZED;                                                              \
    gpu = gpu_of(handle, &mig);                                                                    \
    if (gpu < 0) return INVALID_ARGUMENT;                                                          \
    code = enter(call, gpu, &fault);                                                               \
    if (code) return code;                                                                         \
    const gpu_t *g = &stub.control->gpu[gpu];                                                      \
    (void)g

/* For what only a whole board knows. */
#define ENTER(call, handle)                                                                        \
    ENTER_ANY(call, handle);                                                                       \
    if (mig >= 0) return NOT_SUPPORTED

static int put(char *to, unsigned int size, const char *text) {
    if (!to) return INVALID_ARGUMENT;
    if (strlen(text) >= size) return INSUFFICIENT_SIZE;
    strcpy(to, text);
    return OK;
}

/* ------------------------------------------------------------------------------ library */

EXPORT int nvmlInitWithFlags(unsigned int flags) {
    (void)flags;
    fault_t fault;
    int code = OK;
    pthread_mutex_lock(&lock);
    if (!users && stub_open(&stub)) code = DRIVER_NOT_LOADED;
    if (!code) code = enter("nvmlInit", -1, &fault);
    if (!code) users++;
    else if (!users) stub_close(&stub);
    pthread_mutex_unlock(&lock);
    return code;
}

EXPORT int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
EXPORT int nvmlInit(void) { return nvmlInitWithFlags(0); }

EXPORT int nvmlShutdown(void) {
    int code = OK;
    pthread_mutex_lock(&lock);
    if (!users) code = UNINITIALIZED;
    else if (--users == 0) stub_close(&stub);
    pthread_mutex_unlock(&lock);
    return code;
}

EXPORT const char *nvmlErrorString(int code) {
    switch (code) {
    case OK: return "The operation was successful";
    case UNINITIALIZED: return "Uninitialized";
    case INVALID_ARGUMENT: return "Invalid Argument";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case 5: return "Already Initialized";
    case NOT_FOUND: return "Not Found";
    case INSUFFICIENT_SIZE: return "Insufficient Size";
    case 8: return "Insufficient External Power";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case 10: return "Timeout";
    case 11: return "Interrupt Request Issue";
    case 12: return "NVML Shared Library Not Found";
    case 13: return "Function Not Found";
    case 14: return "Corrupted infoROM";
    case 15: return "GPU is lost";
    case 16: return "GPU requires reset";
    case 17: return "Operating System Error";
    case 18: return "Driver/library version mismatch";
    case 19: return "In use by another client";
    case 20: return "Insufficient Memory";
    case 21: return "No data";
    case 27: return "Not Ready";
    case 28: return "GPU not found";
    default: return "Unknown Error";
    }
}

EXPORT int nvmlSystemGetDriverVersion(char *to, unsigned int size) {
    ENTER_SYSTEM("nvmlSystemGetDriverVersion");
    return put(to, size, stub.control->driver);
}

EXPORT int nvmlSystemGetNVMLVersion(char *to, unsigned int size) {
    ENTER_SYSTEM("nvmlSystemGetNVMLVersion");
    return put(to, size, "13.0-STUB");
}

EXPORT int nvmlSystemGetCudaDriverVersion(int *version) {
    ENTER_SYSTEM("nvmlSystemGetCudaDriverVersion");
    *version = stub.control->cuda_version;
    return OK;
}

EXPORT int nvmlSystemGetCudaDriverVersion_v2(int *v) { return nvmlSystemGetCudaDriverVersion(v); }

/* ------------------------------------------------------------------------------ handles */

EXPORT int nvmlDeviceGetCount_v2(unsigned int *count) {
    ENTER_SYSTEM("nvmlDeviceGetCount");
    *count = (unsigned int)stub.control->gpus;
    return OK;
}

EXPORT int nvmlDeviceGetCount(unsigned int *count) { return nvmlDeviceGetCount_v2(count); }

EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **handle) {
    if (!users) return UNINITIALIZED;
    if (index >= (unsigned int)stub.control->gpus) return INVALID_ARGUMENT;
    fault_t fault;
    int code = enter("nvmlDeviceGetHandleByIndex", (int)index, &fault);
    if (!code) *handle = make_handle((int)index, -1);
    return code;
}

EXPORT int nvmlDeviceGetHandleByIndex(unsigned int index, void **handle) {
    return nvmlDeviceGetHandleByIndex_v2(index, handle);
}

EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    if (!users) return UNINITIALIZED;
    if (!uuid) return INVALID_ARGUMENT;
    for (int i = 0; i < stub.control->gpus; i++) {
        const gpu_t *g = &stub.control->gpu[i];
        fault_t fault;
        for (int mig = -1; mig < g->mig_count; mig++) {
            if (strcmp(uuid, mig < 0 ? g->uuid : g->mig_uuid[mig])) continue;
            int code = enter("nvmlDeviceGetHandleByUUID", i, &fault);
            if (!code) *handle = make_handle(i, mig);
            return code;
        }
    }
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetHandleBySerial(const char *serial, void **handle) {
    if (!users) return UNINITIALIZED;
    for (int i = 0; i < stub.control->gpus; i++)
        if (!strcmp(serial, stub.control->gpu[i].serial))
            return nvmlDeviceGetHandleByIndex_v2((unsigned int)i, handle);
    return NOT_FOUND;
}

EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **handle) {
    if (!users) return UNINITIALIZED;
    for (int i = 0; i < stub.control->gpus; i++)
        if (!strcasecmp(bus_id, stub.control->gpu[i].bus_id))
            return nvmlDeviceGetHandleByIndex_v2((unsigned int)i, handle);
    return NOT_FOUND;
}

EXPORT int nvmlDeviceIsMigDeviceHandle(void *handle, unsigned int *is_mig) {
    ENTER_ANY("nvmlDeviceIsMigDeviceHandle", handle);
    *is_mig = mig >= 0;
    return OK;
}

EXPORT int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned int *count) {
    ENTER("nvmlDeviceGetMaxMigDeviceCount", handle);
    *count = g->mig_mode < 0 ? 0 : MAX_MIG - 1;
    return OK;
}

EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned int index, void **found) {
    ENTER("nvmlDeviceGetMigDeviceHandleByIndex", handle);
    if (index >= MAX_MIG) return INVALID_ARGUMENT;
    if (index >= (unsigned int)g->mig_count) return NOT_FOUND;
    *found = make_handle(gpu, (int)index);
    return OK;
}

EXPORT int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *handle, void **board) {
    ENTER_ANY("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle);
    if (mig < 0) return INVALID_ARGUMENT;
    *board = make_handle(gpu, -1);
    return OK;
}

EXPORT int nvmlDeviceGetGpuInstanceId(void *handle, unsigned int *id) {
    ENTER_ANY("nvmlDeviceGetGpuInstanceId", handle);
    if (mig < 0) return NOT_SUPPORTED;
    *id = (unsigned int)mig + 1;
    return OK;
}

EXPORT int nvmlDeviceGetComputeInstanceId(void *handle, unsigned int *id) {
    ENTER_ANY("nvmlDeviceGetComputeInstanceId", handle);
    if (mig < 0) return NOT_SUPPORTED;
    *id = 0;
    return OK;
}

/* ------------------------------------------------------------------------------ identity */

EXPORT int nvmlDeviceGetUUID(void *handle, char *to, unsigned int size) {
    ENTER_ANY("nvmlDeviceGetUUID", handle);
    return put(to, size, mig < 0 ? g->uuid : g->mig_uuid[mig]);
}

EXPORT int nvmlDeviceGetName(void *handle, char *to, unsigned int size) {
    ENTER_ANY("nvmlDeviceGetName", handle);
    char text[128];
    snprintf(text, sizeof text, mig < 0 ? "%s" : "%s MIG 1g.10gb", g->name);
    return put(to, size, text);
}

EXPORT int nvmlDeviceGetSerial(void *handle, char *to, unsigned int size) {
    ENTER("nvmlDeviceGetSerial", handle);
    return g->serial[0] ? put(to, size, g->serial) : NOT_SUPPORTED;
}

EXPORT int nvmlDeviceGetVbiosVersion(void *handle, char *to, unsigned int size) {
    ENTER("nvmlDeviceGetVbiosVersion", handle);
    return put(to, size, "00.00.00.00.STUB");
}

EXPORT int nvmlDeviceGetIndex(void *handle, unsigned int *index) {
    ENTER_ANY("nvmlDeviceGetIndex", handle);
    *index = mig < 0 ? (unsigned int)gpu : (unsigned int)mig;
    return OK;
}

EXPORT int nvmlDeviceGetMinorNumber(void *handle, unsigned int *minor) {
    ENTER("nvmlDeviceGetMinorNumber", handle);
    *minor = (unsigned int)gpu;
    return OK;
}

EXPORT int nvmlDeviceGetPciInfo_v3(void *handle, pci_t *pci) {
    ENTER("nvmlDeviceGetPciInfo", handle);
    memset(pci, 0, sizeof *pci);
    strcpy(pci->bus_id, g->bus_id);
    snprintf(pci->legacy, sizeof pci->legacy, "0000:%.10s", g->bus_id + 9);
    sscanf(g->bus_id, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    pci->pci_device = 0x233010de;
    return OK;
}

EXPORT int nvmlDeviceGetArchitecture(void *handle, unsigned int *architecture) {
    ENTER_ANY("nvmlDeviceGetArchitecture", handle);
    *architecture = (unsigned int)g->architecture;
    return OK;
}

EXPORT int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    ENTER_ANY("nvmlDeviceGetCudaComputeCapability", handle);
    *major = g->compute_major;
    *minor = g->compute_minor;
    return OK;
}

EXPORT int nvmlDeviceGetComputeMode(void *handle, unsigned int *mode) {
    ENTER("nvmlDeviceGetComputeMode", handle);
    *mode = 0;
    return OK;
}

EXPORT int nvmlDeviceGetPersistenceMode(void *handle, unsigned int *mode) {
    ENTER("nvmlDeviceGetPersistenceMode", handle);
    *mode = (unsigned int)g->persistence;
    return OK;
}

EXPORT int nvmlDeviceGetMigMode(void *handle, unsigned int *current, unsigned int *pending) {
    ENTER("nvmlDeviceGetMigMode", handle);
    if (g->mig_mode < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned int)g->mig_mode;
    return OK;
}

EXPORT int nvmlDeviceGetC2cModeInfoV(void *handle, unsigned int *enabled) {
    ENTER("nvmlDeviceGetC2cModeInfoV", handle);
    (void)enabled;
    return NOT_SUPPORTED;
}

/* ------------------------------------------------------------------------------ limits */

#define LIMIT(function, share)                                                                     \
    EXPORT int function(void *handle, unsigned int *limit) {                                       \
        ENTER(#function, handle);                                                                  \
        *limit = (unsigned int)milli(g->limit_w * (share));                                        \
        return OK;                                                                                 \
    }
LIMIT(nvmlDeviceGetPowerManagementLimit, 1.0)
LIMIT(nvmlDeviceGetPowerManagementDefaultLimit, 1.0)
LIMIT(nvmlDeviceGetEnforcedPowerLimit, 1.0)

#define LEAST_LIMIT 0.2857

EXPORT int nvmlDeviceGetPowerManagementLimitConstraints(void *handle, unsigned int *least,
                                                        unsigned int *most) {
    ENTER("nvmlDeviceGetPowerManagementLimitConstraints", handle);
    *least = (unsigned int)milli(g->limit_w * LEAST_LIMIT);
    *most = (unsigned int)milli(g->limit_w);
    return OK;
}

EXPORT int nvmlDeviceGetPowerManagementMode(void *handle, unsigned int *mode) {
    ENTER("nvmlDeviceGetPowerManagementMode", handle);
    *mode = 1;
    return OK;
}

EXPORT int nvmlDeviceSetPowerManagementLimit(void *handle, unsigned int limit) {
    ENTER("nvmlDeviceSetPowerManagementLimit", handle);
    (void)limit;
    return NO_PERMISSION;
}

EXPORT int nvmlDeviceSetPersistenceMode(void *handle, unsigned int mode) {
    ENTER("nvmlDeviceSetPersistenceMode", handle);
    (void)mode;
    return NO_PERMISSION;
}

/* ------------------------------------------------------------------------------ power, energy */

static int64_t power_mw(int gpu, int instant) {
    double watts = 0.0;
    int64_t now = now_ns();
    CONSISTENT(stub.control,
               watts = instant ? instant_w(&stub, gpu, now) : average_w(&stub, gpu, now));
    return milli(watts);
}

/* The value is the one that stood in the middle of the call. */
static int64_t energy_mj(int gpu) {
    int64_t mj = 0, half = stub.control->gpu[gpu].counter_cost_ns / 2;
    spend_ns(half);
    int64_t now = now_ns();
    CONSISTENT(stub.control, mj = counter_mj(&stub, gpu, now));
    spend_ns(half);
    return mj;
}

EXPORT int nvmlDeviceGetPowerUsage(void *handle, unsigned int *power) {
    ENTER("nvmlDeviceGetPowerUsage", handle);
    spend_ns(g->usage_cost_ns);
    *power = (unsigned int)(fault.value >= 0 ? fault.value : power_mw(gpu, g->usage_instant));
    return OK;
}

EXPORT int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy) {
    ENTER("nvmlDeviceGetTotalEnergyConsumption", handle);
    int64_t mj = energy_mj(gpu);
    *energy = (unsigned long long)(fault.value >= 0 ? fault.value : mj);
    return OK;
}

static void read_field(int gpu, field_t *f) {
    const gpu_t *g = &stub.control->gpu[gpu];
    char call[32];
    fault_t fault;
    int64_t start = now_ns();
    snprintf(call, sizeof call, "field:%u", f->field);
    f->code = (uint32_t)enter(call, gpu, &fault);
    f->type = UNSIGNED_INT;
    f->value.ull = 0;
    int64_t value = 0;
    if (f->code == OK) switch (f->scope ? 0 : f->field) {
        case 83:
            f->type = UNSIGNED_LONG_LONG;
            value = energy_mj(gpu);
            break;
        case 185: value = power_mw(gpu, 0); break;
        case 186: value = power_mw(gpu, 1); break;
        case 187: value = milli(g->limit_w * LEAST_LIMIT); break;
        case 188:
        case 189:
        case 190:
        case 192: value = milli(g->limit_w); break;
        default: f->code = NOT_SUPPORTED;
        }
    if (fault.value >= 0) value = fault.value;
    if (f->type == UNSIGNED_LONG_LONG) f->value.ull = (unsigned long long)value;
    else f->value.ui = (unsigned int)value;
    int64_t end = now_ns();
    f->timestamp = (end + stub.control->wall_offset_ns) / 1000;
    f->latency_us = (end - start) / 1000;
}

EXPORT int nvmlDeviceGetFieldValues(void *handle, int count, field_t *values) {
    ENTER("nvmlDeviceGetFieldValues", handle);
    if (count <= 0 || !values) return INVALID_ARGUMENT;
    spend_ns(g->field_cost_ns);
    for (int i = 0; i < count; i++) read_field(gpu, values + i);
    return OK;
}

/* Stamps are microseconds since the epoch; samples NULL asks for the size of the buffer. */
EXPORT int nvmlDeviceGetSamples(void *handle, unsigned int type, unsigned long long last_seen,
                                unsigned int *value_type, unsigned int *count, sample_t *samples) {
    ENTER("nvmlDeviceGetSamples", handle);
    if (!count || !value_type) return INVALID_ARGUMENT;
    if (type != 0 || g->ring_size <= 0) return NOT_SUPPORTED;
    *value_type = UNSIGNED_INT;
    if (!samples) {
        *count = (unsigned int)g->ring_size;
        return OK;
    }
    spend_ns(g->ring_cost_ns);
    int64_t now = now_ns(), offset = stub.control->wall_offset_ns;
    unsigned int room = *count, found = 0;
    CONSISTENT(stub.control, {
        found = 0;
        int64_t last = ring_last(g, now);
        for (int i = g->ring_size - 1; i >= 0 && found < room; i--) {
            int64_t stamp = last - i * g->ring_period_ns;
            unsigned long long us = (unsigned long long)((stamp + offset) / 1000);
            if (us <= last_seen) continue;
            samples[found].stamp = us;
            samples[found].value.ull = 0;
            samples[found].value.ui = (unsigned int)milli(ring_w(&stub, gpu, stamp));
            found++;
        }
    });
    *count = found;
    return found ? OK : NOT_FOUND;
}

/* ------------------------------------------------------------------------------ state */

static double share_now(int gpu) {
    double share = 0.0;
    int64_t now = now_ns();
    CONSISTENT(stub.control, share = load_share(&stub, gpu, now));
    return share;
}

EXPORT int nvmlDeviceGetUtilizationRates(void *handle, unsigned int *rates) {
    ENTER("nvmlDeviceGetUtilizationRates", handle);
    double share = share_now(gpu);
    rates[0] = (unsigned int)lround(100.0 * share);
    rates[1] = (unsigned int)lround(50.0 * share);
    return OK;
}

#define USED_MEMORY(g, share) ((unsigned long long)((double)(g)->memory_total * (0.01 + 0.5 * (share))))

EXPORT int nvmlDeviceGetMemoryInfo(void *handle, memory_t *memory) {
    ENTER_ANY("nvmlDeviceGetMemoryInfo", handle);
    memory->total = (unsigned long long)g->memory_total;
    memory->used = USED_MEMORY(g, share_now(gpu));
    memory->free = memory->total - memory->used;
    return OK;
}

EXPORT int nvmlDeviceGetMemoryInfo_v2(void *handle, memory_v2_t *memory) {
    ENTER_ANY("nvmlDeviceGetMemoryInfo", handle);
    memory->total = (unsigned long long)g->memory_total;
    memory->reserved = 0;
    memory->used = USED_MEMORY(g, share_now(gpu));
    memory->free = memory->total - memory->used;
    return OK;
}

#define MEMORY_CLOCK_MHZ 2619u
#define IDLE_CLOCK_MHZ 345u
#define MOST_CLOCK_MHZ 1980u

EXPORT int nvmlDeviceGetClockInfo(void *handle, unsigned int type, unsigned int *mhz) {
    ENTER("nvmlDeviceGetClockInfo", handle);
    if (type > 3) return INVALID_ARGUMENT;
    *mhz = type == 2 ? MEMORY_CLOCK_MHZ : share_now(gpu) > 0.0 ? MOST_CLOCK_MHZ : IDLE_CLOCK_MHZ;
    return OK;
}

EXPORT int nvmlDeviceGetMaxClockInfo(void *handle, unsigned int type, unsigned int *mhz) {
    ENTER("nvmlDeviceGetMaxClockInfo", handle);
    if (type > 3) return INVALID_ARGUMENT;
    *mhz = type == 2 ? MEMORY_CLOCK_MHZ : MOST_CLOCK_MHZ;
    return OK;
}

EXPORT int nvmlDeviceGetSupportedMemoryClocks(void *handle, unsigned int *count,
                                              unsigned int *clocks) {
    ENTER("nvmlDeviceGetSupportedMemoryClocks", handle);
    unsigned int room = *count;
    *count = 1;
    if (!clocks || room < 1) return INSUFFICIENT_SIZE;
    clocks[0] = MEMORY_CLOCK_MHZ;
    return OK;
}

EXPORT int nvmlDeviceGetSupportedGraphicsClocks(void *handle, unsigned int memory,
                                                unsigned int *count, unsigned int *clocks) {
    ENTER("nvmlDeviceGetSupportedGraphicsClocks", handle);
    (void)memory;
    unsigned int room = *count;
    *count = 2;
    if (!clocks || room < 2) return INSUFFICIENT_SIZE;
    clocks[0] = MOST_CLOCK_MHZ;
    clocks[1] = IDLE_CLOCK_MHZ;
    return OK;
}

EXPORT int nvmlDeviceGetTemperature(void *handle, unsigned int sensor, unsigned int *celsius) {
    ENTER("nvmlDeviceGetTemperature", handle);
    if (sensor) return INVALID_ARGUMENT;
    *celsius = (unsigned int)lround(30.0 + 50.0 * share_now(gpu));
    return OK;
}

typedef struct {
    unsigned int version, sensor;
    int celsius;
} temperature_t;

EXPORT int nvmlDeviceGetTemperatureV(void *handle, temperature_t *temperature) {
    unsigned int celsius = 0;
    int code = nvmlDeviceGetTemperature(handle, temperature->sensor, &celsius);
    temperature->celsius = (int)celsius;
    return code;
}

EXPORT int nvmlDeviceGetPerformanceState(void *handle, unsigned int *state) {
    ENTER("nvmlDeviceGetPerformanceState", handle);
    *state = share_now(gpu) > 0.0 ? 0 : 8;
    return OK;
}

EXPORT int nvmlDeviceGetPowerState(void *handle, unsigned int *state) {
    return nvmlDeviceGetPerformanceState(handle, state);
}

#define GPU_IDLE 0x1ull
#define SW_POWER_CAP 0x4ull

static unsigned long long clock_reasons(int gpu) {
    double share = share_now(gpu);
    return share <= 0.0 ? GPU_IDLE : share >= 0.999 ? SW_POWER_CAP : 0;
}

EXPORT int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *reasons) {
    ENTER("nvmlDeviceGetCurrentClocksEventReasons", handle);
    *reasons = fault.value >= 0 ? (unsigned long long)fault.value : clock_reasons(gpu);
    return OK;
}

EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *reasons) {
    ENTER("nvmlDeviceGetCurrentClocksThrottleReasons", handle);
    *reasons = fault.value >= 0 ? (unsigned long long)fault.value : clock_reasons(gpu);
    return OK;
}

EXPORT int nvmlDeviceGetSupportedClocksEventReasons(void *handle, unsigned long long *reasons) {
    ENTER("nvmlDeviceGetSupportedClocksEventReasons", handle);
    *reasons = 0x1ff;
    return OK;
}

EXPORT int nvmlDeviceGetSupportedClocksThrottleReasons(void *h, unsigned long long *reasons) {
    return nvmlDeviceGetSupportedClocksEventReasons(h, reasons);
}

#define NO_PROCESSES(function)                                                                     \
    EXPORT int function(void *handle, unsigned int *count, void *processes) {                      \
        ENTER_ANY(#function, handle);                                                              \
        (void)processes;                                                                           \
        *count = 0;                                                                                \
        return OK;                                                                                 \
    }
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2)
