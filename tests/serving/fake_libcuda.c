/* `libcuda.so.1` with one Tesla T4, which NVIDIA's own binding loads and calls. See test_cuda_driver.py.
 *
 * FAKE_CUDA_LOG      file to append calls to: the function's name and its arguments in hex
 * FAKE_CUDA_FAIL     `name status`: this function returns this status
 * FAKE_CUDA_GPUS     number of GPUs, 1 if unset
 * FAKE_CUDA_WITHOUT  name of a function that this driver does not have
 * FAKE_CUDA_NO_GRAPH set: a capture ends without a graph */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HIGH 0x7F1234567000ull /* beyond 32 bits: must come through whole */
#define OUT(kind, at, value) (*(kind *)(at) = (kind)(value), 0)

static int call(const char *name, int count, ...) {
    const char *path = getenv("FAKE_CUDA_LOG"), *fails = getenv("FAKE_CUDA_FAIL");
    FILE *log = path ? fopen(path, "a") : NULL;
    va_list arguments;
    va_start(arguments, count);
    if (log) {
        fputs(name, log);
        for (int i = 0; i < count; i++) fprintf(log, " %llx", va_arg(arguments, unsigned long long));
        fputc('\n', log);
        fclose(log);
    }
    va_end(arguments);
    size_t length = strlen(name);
    return fails && !strncmp(fails, name, length) && fails[length] == ' ' ? atoi(fails + length + 1) : 0;
}
#define U(value) ((unsigned long long)(value))
#define CALL(count, ...) do { int status = call(__func__ + 5, count, __VA_ARGS__); if (status) return status; } while (0)

int fake_cuInit(unsigned flags) { CALL(1, U(flags)); return 0; }
int fake_cuDriverGetVersion(int *out) { return OUT(int, out, 12080); }
int fake_cuDeviceGetCount(int *out) { const char *n = getenv("FAKE_CUDA_GPUS"); return OUT(int, out, n ? atoi(n) : 1); }
int fake_cuDeviceGet(int *out, int index) { return OUT(int, out, index); }
int fake_cuDeviceGetName(char *out, int size, int device) { snprintf(out, size, "Tesla T4"); return 0; }
int fake_cuDeviceGetUuid(unsigned char *out, int device) { for (int i = 0; i < 16; i++) out[i] = i; return 0; }
int fake_cuDeviceGetAttribute(int *out, int which, int device) {
    switch (which) { /* by the numbers of CUdevice_attribute */
        case 75: return OUT(int, out, 7);
        case 76: return OUT(int, out, 5);
        case 13: return OUT(int, out, 1590000);
        case 16: return OUT(int, out, 40);
        case 36: return OUT(int, out, 5001000);
        case 37: return OUT(int, out, 256);
    }
    return 1;
}
int fake_cuDeviceTotalMem(size_t *out, int device) { return OUT(size_t, out, 15843721216ull); }
int fake_cuDevicePrimaryCtxRetain(void **out, int device) { return OUT(uint64_t, out, HIGH); }
int fake_cuCtxSetCurrent(void *context) { CALL(1, U(context)); return 0; }
int fake_cuMemGetInfo(size_t *available, size_t *total) { *available = 1; *total = 2; return 0; }
int fake_cuMemAlloc(uint64_t *out, size_t size) { CALL(1, U(size)); return OUT(uint64_t, out, HIGH + size); }
int fake_cuMemFree(uint64_t address) { CALL(1, U(address)); return 0; }
int fake_cuMemHostAlloc(void **out, size_t size, unsigned flags) { CALL(2, U(size), U(flags)); return OUT(uint64_t, out, HIGH + 2 * size); }
int fake_cuMemFreeHost(void *address) { CALL(1, U(address)); return 0; }
int fake_cuMemcpyHtoDAsync(uint64_t to, void *from, size_t size, void *stream) { CALL(4, U(to), U(from), U(size), U(stream)); return 0; }
int fake_cuMemcpyDtoHAsync(void *to, uint64_t from, size_t size, void *stream) { CALL(4, U(to), U(from), U(size), U(stream)); return 0; }
int fake_cuStreamCreate(void **out, unsigned flags) { CALL(1, U(flags)); return OUT(uint64_t, out, HIGH); }
int fake_cuStreamSynchronize(void *stream) { CALL(1, U(stream)); return 0; }
int fake_cuStreamDestroy(void *stream) { CALL(1, U(stream)); return 0; }
int fake_cuStreamBeginCapture(void *stream, int mode) { CALL(2, U(stream), U(mode)); return 0; }
int fake_cuStreamEndCapture(void *stream, void **out) { CALL(1, U(stream)); return OUT(uint64_t, out, getenv("FAKE_CUDA_NO_GRAPH") ? 0 : HIGH + 1); }
int fake_cuGraphInstantiateWithFlags(void **out, void *graph, uint64_t flags) { CALL(2, U(graph), U(flags)); return OUT(uint64_t, out, (uint64_t)graph + 1); }
int fake_cuGraphInstantiate(void **out, void *graph, uint64_t flags) { return fake_cuGraphInstantiateWithFlags(out, graph, flags); }
int fake_cuGraphDestroy(void *graph) { CALL(1, U(graph)); return 0; }
int fake_cuGraphLaunch(void *graph, void *stream) { CALL(2, U(graph), U(stream)); return 0; }
int fake_cuGraphExecDestroy(void *graph) { CALL(1, U(graph)); return 0; }

int fake_cuGetProcAddress(const char *symbol, void **out, int version, uint64_t flags) {
    const char *without = getenv("FAKE_CUDA_WITHOUT");
    char name[128];
    snprintf(name, sizeof name, "fake_%s", symbol);
    void *self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    *out = without && !strcmp(without, symbol) ? NULL : dlsym(self, name);
    return *out ? 0 : 500; /* CUDA_ERROR_NOT_FOUND */
}
int cuGetProcAddress_v2(const char *symbol, void **out, int version, uint64_t flags, int *status) {
    int error = fake_cuGetProcAddress(symbol, out, version, flags);
    if (status) *status = error ? 1 : 0; /* CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND */
    return error;
}
int fake_cuGetProcAddress_v2(const char *symbol, void **out, int version, uint64_t flags, int *status) { return cuGetProcAddress_v2(symbol, out, version, flags, status); }
