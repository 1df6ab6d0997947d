/* Stub nvidia-smi over the control file of the stub driver.
 *
 *   nvidia-smi -q -x [-i ID] [-l S | -lms MS]
 *   nvidia-smi --query-gpu=A,B,... --format=csv[,noheader][,nounits] [-i ID] [-l S | -lms MS]
 *   nvidia-smi -L | --help
 *
 * The tags of the XML follow the driver's generation. Scripted faults by call name:
 *   "nvidia-smi"  extra_ns: stall before each report; code: exit code, with nothing printed
 *   "smi:power"   text: printed in place of every power draw ("N/A", "[Not Supported]", "ERR!")
 *   "smi:line"    text: printed in place of a CSV line or of a whole XML report
 */
#include "model.h"

#include <ctype.h>

static stub_t stub;

static int generation(void) {
    if (stub.control->smi_generation) return stub.control->smi_generation;
    int driver = atoi(stub.control->driver);
    return driver >= 570 ? 570 : driver >= 535 ? 535 : 520;
}

static void watts(int gpu, int instant, int64_t now, char *to, size_t size) {
    fault_t fault;
    double value = 0.0;
    if (fault_at(&stub, gpu, "smi:power", now, &fault) && fault.has_text) {
        snprintf(to, size, "%s", fault.text);
        return;
    }
    CONSISTENT(stub.control, value = instant ? instant_w(&stub, gpu, now)
                                             : average_w(&stub, gpu, now));
    snprintf(to, size, "%.2f", value);
}

static double share(int gpu, int64_t now) {
    double value = 0.0;
    CONSISTENT(stub.control, value = load_share(&stub, gpu, now));
    return value;
}

static void stamp(char *to, size_t size, const char *format, int64_t now) {
    int64_t wall = now + stub.control->wall_offset_ns;
    time_t seconds = (time_t)(wall / NS_PER_S);
    struct tm parts;
    localtime_r(&seconds, &parts);
    size_t n = strftime(to, size, format, &parts);
    if (strchr(format, '/')) snprintf(to + n, size - n, ".%03d", (int)(wall / 1000000 % 1000));
}

static int numeric(const char *text) { return isdigit((unsigned char)text[0]); }

/* ------------------------------------------------------------------------------ XML */

static void tag_watts(const char *tag, const char *value) {
    printf("\t\t\t<%s>%s%s</%s>\n", tag, value, numeric(value) ? " W" : "", tag);
}

static void xml_power(int gpu, int64_t now) {
    const gpu_t *g = &stub.control->gpu[gpu];
    int since = generation();
    const char *section = since >= 535 ? "gpu_power_readings" : "power_readings";
    char average[64], instant[64], limit[32];
    watts(gpu, g->usage_instant, now, average, sizeof average);
    watts(gpu, 1, now, instant, sizeof instant);
    snprintf(limit, sizeof limit, "%.2f", g->limit_w);
    printf("\t\t<%s>\n\t\t\t<power_state>%s</power_state>\n", section,
           share(gpu, now) > 0.0 ? "P0" : "P8");
    if (since >= 570) {
        tag_watts("average_power_draw", average);
        tag_watts("instant_power_draw", instant);
    } else {
        if (since < 535) printf("\t\t\t<power_management>Supported</power_management>\n");
        tag_watts("power_draw", average);
    }
    if (since >= 535) {
        tag_watts("current_power_limit", limit);
        tag_watts("requested_power_limit", limit);
    } else {
        tag_watts("power_limit", limit);
        tag_watts("enforced_power_limit", limit);
    }
    tag_watts("default_power_limit", limit);
    tag_watts("max_power_limit", limit);
    printf("\t\t</%s>\n", section);
}

static void xml_gpu(int gpu, int64_t now) {
    const gpu_t *g = &stub.control->gpu[gpu];
    double load = share(gpu, now);
    long total = (long)(g->memory_total >> 20);
    long used = (long)((double)total * (0.01 + 0.5 * load));
    printf("\t<gpu id=\"%s\">\n", g->bus_id);
    printf("\t\t<product_name>%s</product_name>\n", g->name);
    printf("\t\t<persistence_mode>%s</persistence_mode>\n", g->persistence ? "Enabled" : "Disabled");
    const char *mig = g->mig_mode < 0 ? "N/A" : g->mig_mode ? "Enabled" : "Disabled";
    printf("\t\t<mig_mode>\n\t\t\t<current_mig>%s</current_mig>\n", mig);
    printf("\t\t\t<pending_mig>%s</pending_mig>\n\t\t</mig_mode>\n", mig);
    printf("\t\t<serial>%s</serial>\n", g->serial[0] ? g->serial : "N/A");
    printf("\t\t<uuid>%s</uuid>\n\t\t<minor_number>%d</minor_number>\n", g->uuid, gpu);
    printf("\t\t<fb_memory_usage>\n\t\t\t<total>%ld MiB</total>\n\t\t\t<used>%ld MiB</used>\n", total,
           used);
    printf("\t\t\t<free>%ld MiB</free>\n\t\t</fb_memory_usage>\n", total - used);
    printf("\t\t<utilization>\n\t\t\t<gpu_util>%ld %%</gpu_util>\n", lround(100.0 * load));
    printf("\t\t\t<memory_util>%ld %%</memory_util>\n\t\t</utilization>\n", lround(50.0 * load));
    printf("\t\t<temperature>\n\t\t\t<gpu_temp>%ld C</gpu_temp>\n\t\t</temperature>\n",
           lround(30.0 + 50.0 * load));
    xml_power(gpu, now);
    int mhz = load > 0.0 ? 1980 : 345;
    printf("\t\t<clocks>\n\t\t\t<graphics_clock>%d MHz</graphics_clock>\n", mhz);
    printf("\t\t\t<sm_clock>%d MHz</sm_clock>\n\t\t\t<mem_clock>2619 MHz</mem_clock>\n", mhz);
    printf("\t\t</clocks>\n\t</gpu>\n");
}

static void xml(unsigned chosen) {
    int64_t now = now_ns();
    char text[64];
    fault_t fault;
    if (fault_at(&stub, -1, "smi:line", now, &fault) && fault.has_text) {
        printf("%s\n", fault.text);
        return;
    }
    stamp(text, sizeof text, "%a %b %e %H:%M:%S %Y", now);
    printf("<?xml version=\"1.0\" ?>\n");
    printf("<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n<nvidia_smi_log>\n");
    printf("\t<timestamp>%s</timestamp>\n", text);
    printf("\t<driver_version>%s</driver_version>\n", stub.control->driver);
    printf("\t<cuda_version>%d.%d</cuda_version>\n", stub.control->cuda_version / 1000,
           stub.control->cuda_version % 1000 / 10);
    printf("\t<attached_gpus>%d</attached_gpus>\n", stub.control->gpus);
    for (int i = 0; i < stub.control->gpus; i++)
        if (chosen >> i & 1) xml_gpu(i, now);
    printf("</nvidia_smi_log>\n");
}

/* ------------------------------------------------------------------------------ CSV */

#define MAX_FIELDS 32

static char *fields[MAX_FIELDS];
static int n_fields;

/* Writes one value and its unit; returns 0 if there is no such field. */
static int csv_value(const char *field, int gpu, int64_t now, char *to, size_t size,
                     const char **unit) {
    const gpu_t *g = &stub.control->gpu[gpu];
    double total = (double)(g->memory_total >> 20), load = share(gpu, now);
    *unit = "";
#define IS(name) (!strcmp(field, name))
    if (IS("index")) snprintf(to, size, "%d", gpu);
    else if (IS("count")) snprintf(to, size, "%d", stub.control->gpus);
    else if (IS("uuid") || IS("gpu_uuid")) snprintf(to, size, "%s", g->uuid);
    else if (IS("name") || IS("gpu_name")) snprintf(to, size, "%s", g->name);
    else if (IS("serial") || IS("gpu_serial")) snprintf(to, size, "%s", g->serial);
    else if (IS("pci.bus_id") || IS("gpu_bus_id")) snprintf(to, size, "%s", g->bus_id);
    else if (IS("driver_version")) snprintf(to, size, "%s", stub.control->driver);
    else if (IS("timestamp")) stamp(to, size, "%Y/%m/%d %H:%M:%S", now);
    else if (IS("pstate")) snprintf(to, size, "%s", load > 0.0 ? "P0" : "P8");
    else if (IS("persistence_mode"))
        snprintf(to, size, "%s", g->persistence ? "Enabled" : "Disabled");
    else if (IS("mig.mode.current"))
        snprintf(to, size, "%s", g->mig_mode < 0 ? "[N/A]" : g->mig_mode ? "Enabled" : "Disabled");
    else if (IS("temperature.gpu")) snprintf(to, size, "%ld", lround(30.0 + 50.0 * load));
    else if (IS("power.draw") || IS("power.draw.average") || IS("power.draw.instant")) {
        if (!IS("power.draw") && generation() < 535) return 0;
        int instant = IS("power.draw") ? g->usage_instant : IS("power.draw.instant");
        watts(gpu, instant, now, to, size);
        *unit = "W";
    } else if (IS("power.limit") || IS("enforced.power.limit") || IS("power.max_limit") ||
               IS("power.default_limit")) {
        snprintf(to, size, "%.2f", g->limit_w);
        *unit = "W";
    } else if (IS("utilization.gpu") || IS("utilization.memory")) {
        snprintf(to, size, "%ld", lround((IS("utilization.gpu") ? 100.0 : 50.0) * load));
        *unit = "%";
    } else if (IS("memory.total") || IS("memory.used") || IS("memory.free")) {
        long used = (long)(total * (0.01 + 0.5 * load));
        long value = IS("memory.total") ? (long)total : IS("memory.used") ? used : (long)total - used;
        snprintf(to, size, "%ld", value);
        *unit = "MiB";
    } else if (IS("clocks.sm") || IS("clocks.current.sm") || IS("clocks.gr")) {
        snprintf(to, size, "%d", load > 0.0 ? 1980 : 345);
        *unit = "MHz";
    } else if (IS("clocks.mem") || IS("clocks.current.memory")) {
        snprintf(to, size, "2619");
        *unit = "MHz";
    } else return 0;
#undef IS
    return 1;
}

static void csv(unsigned chosen, int header, int units) {
    int64_t now = now_ns();
    char text[128];
    const char *unit;
    if (header) {
        for (int f = 0; f < n_fields; f++) {
            csv_value(fields[f], 0, now, text, sizeof text, &unit);
            printf("%s%s", f ? ", " : "", fields[f]);
            if (units && unit[0]) printf(" [%s]", unit);
        }
        printf("\n");
    }
    for (int i = 0; i < stub.control->gpus; i++) {
        fault_t fault;
        if (!(chosen >> i & 1)) continue;
        if (fault_at(&stub, i, "smi:line", now, &fault) && fault.has_text) {
            printf("%s\n", fault.text);
            continue;
        }
        for (int f = 0; f < n_fields; f++) {
            csv_value(fields[f], i, now, text, sizeof text, &unit);
            printf("%s%s", f ? ", " : "", text);
            if (units && unit[0] && numeric(text)) printf(" %s", unit);
        }
        printf("\n");
    }
}

/* ------------------------------------------------------------------------------ command */

static int choose(const char *list, unsigned *chosen) {
    char copy[512];
    snprintf(copy, sizeof copy, "%s", list);
    *chosen = 0;
    for (char *word = strtok(copy, ","); word; word = strtok(NULL, ",")) {
        int found = -1;
        for (int i = 0; i < stub.control->gpus; i++) {
            char index[16];
            snprintf(index, sizeof index, "%d", i);
            if (!strcmp(word, index) || !strcmp(word, stub.control->gpu[i].uuid) ||
                !strcasecmp(word, stub.control->gpu[i].bus_id))
                found = i;
        }
        if (found < 0) {
            printf("No devices were found\n");
            return 6;
        }
        *chosen |= 1u << found;
    }
    return 0;
}

static const char *option(int argc, char **argv, int *i, const char *name) {
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n)) return NULL;
    if (argv[*i][n] == '=') return argv[*i] + n + 1;
    if (argv[*i][n]) return NULL;
    return *i + 1 < argc ? argv[++*i] : "";
}

int main(int argc, char **argv) {
    int query = 0, as_xml = 0, list = 0, help = argc == 1, header = 1, units = 1;
    int64_t every = 0;
    unsigned chosen = ~0u;
    const char *format = "", *value;
    char *names = NULL;
    if (stub_open(&stub)) {
        printf("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n");
        return 9;
    }
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "-q") || !strcmp(argv[i], "--query")) query = 1;
        else if (!strcmp(argv[i], "-x") || !strcmp(argv[i], "--xml-format")) as_xml = 1;
        else if (!strcmp(argv[i], "-L") || !strcmp(argv[i], "--list-gpus")) list = 1;
        else if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) help = 1;
        else if ((value = option(argc, argv, &i, "--query-gpu"))) names = strdup(value);
        else if ((value = option(argc, argv, &i, "--format"))) format = value;
        else if ((value = option(argc, argv, &i, "-lms")) ||
                 (value = option(argc, argv, &i, "--loop-ms")))
            every = atoll(value) * 1000000;
        else if ((value = option(argc, argv, &i, "-l")) ||
                 (value = option(argc, argv, &i, "--loop")))
            every = atoll(value) * NS_PER_S;
        else if ((value = option(argc, argv, &i, "-i")) ||
                 (value = option(argc, argv, &i, "--id"))) {
            int code = choose(value, &chosen);
            if (code) return code;
        } else {
            printf("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n");
            return 2;
        }
    }
    if (help) {
        printf("NVIDIA System Management Interface -- v%s (STUB)\n", stub.control->driver);
        return 0;
    }
    if (names) {
        const char *unit;
        char text[128];
        if (!strstr(format, "csv")) {
            printf("\"--query-gpu\" requires \"--format=csv\".\n");
            return 2;
        }
        header = !strstr(format, "noheader");
        units = !strstr(format, "nounits");
        for (char *word = strtok(names, ", "); word && n_fields < MAX_FIELDS;
             word = strtok(NULL, ", "))
            fields[n_fields++] = word;
        for (int f = 0; f < n_fields; f++)
            if (!csv_value(fields[f], 0, now_ns(), text, sizeof text, &unit)) {
                printf("Field \"%s\" is not a valid field to query.\n", fields[f]);
                return 2;
            }
    } else if (!list && !(query && as_xml)) {
        printf("The stub nvidia-smi knows -q -x, --query-gpu, -L and -h only.\n");
        return 2;
    }
    spend_ns(stub.control->smi_cost_ns);
    for (int64_t next = now_ns();; header = 0) {
        fault_t fault;
        if (fault_at(&stub, -1, "nvidia-smi", now_ns(), &fault)) {
            fault_wait(&stub, &fault);
            if (fault.code) return fault.code;
        }
        if (list)
            for (int i = 0; i < stub.control->gpus; i++)
                printf("GPU %d: %s (UUID: %s)\n", i, stub.control->gpu[i].name,
                       stub.control->gpu[i].uuid);
        else if (names) csv(chosen, header, units);
        else xml(chosen);
        if (fflush(stdout) || ferror(stdout)) return 1;
        if (every <= 0) return 0;
        next += every;
        if (next < now_ns()) next = now_ns();
        spend_ns(next - now_ns());
    }
}
