/* A libcuda.so.1 without a GPU, strict where a real driver is merely undefined: the part of the driver API that pycuda and our
 * backend use, with kernels run by libkernels.so beside it (kernels_on_cpu.cpp). prepare.py builds both.
 *
 * - A call without a current context on its thread fails, as on a device.
 * - Device memory starts with rubbish and ends at an unmapped page. Pointers that are not device memory are refused.
 * - Asynchronous work waits in a queue and runs at the next synchronisation, in order: a missing one shows as a wrong answer.
 *   As on a device, pageable host memory is copied at the call; page-locked memory is read or written when the queue runs.
 * - A module must be a cubin (ELF) and functions must be named in it.
 * Without libkernels.so beside it, cuInit answers "no device". */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
    NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, NOT_SUPPORTED = 801,
};
typedef int Status;
typedef unsigned long long Device;  /* an address on the device; here also one of ours */
#define AT(p) ((unsigned char *)(uintptr_t)(p))
#define PAGE 4096u

/* What is allocated. Few enough blocks to look through. */
typedef struct { unsigned char *start; size_t bytes; void *map; size_t map_bytes; int mapped; } Block;
enum { MOST = 4096 };
static Block device_blocks[MOST], locked_blocks[MOST];
static size_t device_bytes, device_limit = 1ull << 30;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static Block *find(Block *blocks, const void *p, size_t n) {
    const unsigned char *at = p;
    for (int i = 0; i < MOST; i++)
        if (blocks[i].map && at >= blocks[i].start && at + n <= blocks[i].start + blocks[i].bytes) return &blocks[i];
    return 0;
}

/* ``n`` bytes that end at an unmapped page, less what 16-byte alignment takes. */
static void *take(Block *blocks, size_t n) {
    size_t bytes = (n + 15) & ~(size_t)15, whole = (bytes + PAGE - 1) / PAGE * PAGE + PAGE;
    for (int i = 0; i < MOST; i++) {
        if (blocks[i].map) continue;
        unsigned char *map = mmap(0, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED) return 0;
        mprotect(map + whole - PAGE, PAGE, PROT_NONE);
        blocks[i] = (Block){map + whole - PAGE - bytes, n, map, whole, 0};
        return memset(blocks[i].start, 0xCD, bytes);
    }
    return 0;
}

static Status give(Block *blocks, const void *p) {
    Block *block = find(blocks, p, 0);
    if (!block || block->start != p) return INVALID_VALUE;
    munmap(block->map, block->map_bytes);
    block->map = 0;
    return OK;
}

/* What a kernel may touch: device memory, and page-locked memory that was mapped. */
static int owns(const void *p) {
    Block *block = find(device_blocks, p, 1);
    if (!block) block = find(locked_blocks, p, 1), block = block && block->mapped ? block : 0;
    return block != 0;
}

/* For tests: how much is allocated, and how much there is. */
#define EXPORT __attribute__((visibility("default")))
EXPORT int fakecuda_blocks(void) {
    int count = 0;
    for (int i = 0; i < MOST; i++) count += (device_blocks[i].map != 0) + (locked_blocks[i].map != 0);
    return count;
}
EXPORT void fakecuda_set_memory(size_t bytes) { device_limit = bytes; }
static int integrated;
EXPORT void fakecuda_set_integrated(int yes) { integrated = yes; }
static size_t sent;
EXPORT size_t fakecuda_sent(void) { return sent; }  /* bytes copied to the device so far */

/* Contexts: one, the primary; a stack of them for each thread. */
static _Thread_local void *stack[64];
static _Thread_local int depth;
static int retained;
static void *const primary = (void *)0x10;
#define NEED_CONTEXT if (!depth) return INVALID_CONTEXT

static char folder[1024];
static int has_kernels(void) {
    Dl_info info;
    if (!dladdr((void *)has_kernels, &info)) return 0;
    snprintf(folder, sizeof folder, "%s", info.dli_fname);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0; else strcpy(folder, ".");
    strncat(folder, "/libkernels.so", sizeof folder - strlen(folder) - 1);
    FILE *file = fopen(folder, "rb");
    return file ? fclose(file), 1 : 0;
}

Status cuInit(unsigned flags) { (void)flags; return has_kernels() ? OK : NO_DEVICE; }
Status cuDriverGetVersion(int *v) { *v = 13000; return OK; }
Status cuDeviceGetCount(int *n) { *n = has_kernels(); return OK; }
Status cuDeviceGet(int *d, int i) { *d = 0; return i ? INVALID_VALUE : OK; }
Status cuDeviceGetName(char *s, int n, int d) { (void)d; snprintf(s, (size_t)n, "no GPU (fake driver)"); return OK; }
Status cuDeviceComputeCapability(int *major, int *minor, int d) { (void)d; *major = 8, *minor = 7; return OK; }
Status cuDeviceTotalMem_v2(size_t *n, int d) { (void)d; *n = device_limit; return OK; }
Status cuDeviceGetAttribute(int *v, int a, int d) { (void)d; *v = a == 75 ? 8 : a == 76 ? 7 : a == 1 ? 1024 : a == 18 ? integrated : 1; return OK; }

Status cuDevicePrimaryCtxRetain(void **c, int d) { (void)d; retained++; *c = primary; return OK; }
Status cuDevicePrimaryCtxRelease_v2(int d) { (void)d; return retained-- > 0 ? OK : INVALID_CONTEXT; }
Status cuCtxPushCurrent_v2(void *c) {
    if (c != primary || !retained || depth == 64) return INVALID_CONTEXT;
    stack[depth++] = c;
    return OK;
}
Status cuCtxPopCurrent_v2(void **c) { NEED_CONTEXT; depth--; if (c) *c = stack[depth]; return OK; }
Status cuCtxGetDevice(int *d) { NEED_CONTEXT; *d = 0; return OK; }

/* The queue. */
typedef Status (*Launcher)(const unsigned grid[3], const unsigned block[3], const char *arguments, int (*is_device)(const void *));
typedef struct Work {
    struct Work *next;
    Launcher launcher;
    unsigned grid[3], block[3];
    void *to;
    const void *from;
    size_t bytes;
    unsigned value, unit;  /* of a memset: bytes of the value */
    char data[];           /* arguments, or a copy of pageable memory */
} Work;
static Work *first, **last = &first;
static Status failed;

static Work *enqueue(const void *data, size_t bytes) {
    Work *work = calloc(1, sizeof *work + bytes);
    if (data) memcpy(work->data, data, bytes);
    *last = work, last = &work->next;
    return work;
}

static Status drain(void) {
    for (Work *work = first; work; work = first) {
        if (work->launcher) { if (!failed) failed = work->launcher(work->grid, work->block, work->data, owns); }
        else if (work->unit == 1) memset(work->to, (int)work->value, work->bytes);
        else if (work->unit == 4) for (size_t i = 0; i < work->bytes / 4; i++) ((unsigned *)work->to)[i] = work->value;
        else memcpy(work->to, work->from ? work->from : work->data, work->bytes);
        first = work->next;
        free(work);
    }
    last = &first;
    return failed;
}

EXPORT void fakecuda_recover(void) { drain(); failed = OK; }  /* for tests: a real context stays broken */

Status cuCtxSynchronize(void) { NEED_CONTEXT; return drain(); }

Status cuMemAlloc_v2(Device *p, size_t n) {
    NEED_CONTEXT;
    if (!n) return INVALID_VALUE;
    pthread_mutex_lock(&lock);
    void *got = device_bytes + n <= device_limit ? take(device_blocks, n) : 0;
    if (got) device_bytes += n;
    pthread_mutex_unlock(&lock);
    *p = (Device)(uintptr_t)got;
    return got ? OK : OUT_OF_MEMORY;
}
Status cuMemFree_v2(Device p) {
    NEED_CONTEXT;
    drain();
    Block *block = find(device_blocks, AT(p), 0);
    if (block) device_bytes -= block->bytes;
    return give(device_blocks, AT(p));
}
Status cuMemHostAlloc(void **p, size_t n, unsigned flags) {
    NEED_CONTEXT;
    if (!(*p = take(locked_blocks, n))) return OUT_OF_MEMORY;
    find(locked_blocks, *p, n)->mapped = (flags & 2) != 0;
    return OK;
}
Status cuMemHostGetDevicePointer_v2(Device *d, void *p, unsigned flags) {
    (void)flags;
    NEED_CONTEXT;
    Block *block = find(locked_blocks, p, 1);
    *d = (Device)(uintptr_t)p;
    return block && block->mapped ? OK : INVALID_VALUE;
}
Status cuMemFreeHost(void *p) { NEED_CONTEXT; drain(); return give(locked_blocks, p); }
Status cuMemGetInfo_v2(size_t *left, size_t *total) { NEED_CONTEXT; *left = device_limit - device_bytes, *total = device_limit; return OK; }

Status cuMemcpyHtoDAsync_v2(Device d, const void *s, size_t n, void *stream) {
    (void)stream;
    NEED_CONTEXT;
    if (!find(device_blocks, AT(d), n)) return INVALID_VALUE;
    sent += n;
    const int locked = find(locked_blocks, s, n) != 0;
    Work *work = enqueue(locked ? 0 : s, locked ? 0 : n);
    work->to = AT(d), work->from = locked ? s : 0, work->bytes = n;
    return OK;
}
Status cuMemcpyDtoHAsync_v2(void *d, Device s, size_t n, void *stream) {
    (void)stream;
    NEED_CONTEXT;
    if (!find(device_blocks, AT(s), n)) return INVALID_VALUE;
    Work *work = enqueue(0, 0);
    work->to = d, work->from = AT(s), work->bytes = n;
    return find(locked_blocks, d, n) ? OK : drain();
}
Status cuMemcpyHtoD_v2(Device d, const void *s, size_t n) { Status e = cuMemcpyHtoDAsync_v2(d, s, n, 0); return e ? e : drain(); }
Status cuMemcpyDtoH_v2(void *d, Device s, size_t n) { Status e = cuMemcpyDtoHAsync_v2(d, s, n, 0); return e ? e : drain(); }

Status cuMemcpyDtoDAsync_v2(Device d, Device s, size_t n, void *stream) {
    (void)stream;
    NEED_CONTEXT;
    if (!find(device_blocks, AT(d), n) || !find(device_blocks, AT(s), n)) return INVALID_VALUE;
    Work *work = enqueue(0, 0);
    work->to = AT(d), work->from = AT(s), work->bytes = n;
    return OK;
}

static Status fill(Device p, unsigned value, size_t n, unsigned unit) {
    NEED_CONTEXT;
    if (!find(device_blocks, AT(p), n * unit)) return INVALID_VALUE;
    Work *work = enqueue(0, 0);
    work->to = AT(p), work->bytes = n * unit, work->value = value, work->unit = unit;
    return OK;
}
Status cuMemsetD8Async(Device p, unsigned char v, size_t n, void *stream) { (void)stream; return fill(p, v, n, 1); }
Status cuMemsetD32Async(Device p, unsigned v, size_t n, void *stream) { (void)stream; return fill(p, v, n, 4); }
Status cuMemsetD8_v2(Device p, unsigned char v, size_t n) { return fill(p, v, n, 1); }
Status cuMemsetD32_v2(Device p, unsigned v, size_t n) { return fill(p, v, n, 4); }

Status cuStreamCreate(void **s, unsigned flags) { (void)flags; NEED_CONTEXT; *s = malloc(1); return OK; }
Status cuStreamDestroy_v2(void *s) { free(s); return OK; }
Status cuStreamSynchronize(void *s) { (void)s; NEED_CONTEXT; return drain(); }
Status cuStreamQuery(void *s) { (void)s; return first ? 600 : OK; }
Status cuEventCreate(void **e, unsigned flags) { (void)flags; NEED_CONTEXT; *e = malloc(1); return OK; }
Status cuEventDestroy_v2(void *e) { free(e); return OK; }
Status cuEventRecord(void *e, void *s) { (void)e, (void)s; NEED_CONTEXT; return OK; }
Status cuEventSynchronize(void *e) { (void)e; return drain(); }
Status cuEventQuery(void *e) { (void)e; return first ? 600 : OK; }
Status cuEventElapsedTime_v2(float *ms, void *a, void *b) { (void)a, (void)b; *ms = 0; return OK; }

/* Modules: a copy of the cubin, whose end an ELF header tells, and the kernels beside us. */
typedef struct { void *kernels; size_t bytes; unsigned char image[]; } Module;
Status cuModuleLoadDataEx(void **m, const void *image, unsigned n, void *options, void **values) {
    (void)n, (void)options, (void)values;
    NEED_CONTEXT;
    const unsigned char *elf = image;
    if (memcmp(elf, "\177ELF\2", 5)) return INVALID_IMAGE;
    uint64_t sections;
    uint16_t size, count;
    memcpy(&sections, elf + 40, 8), memcpy(&size, elf + 58, 2), memcpy(&count, elf + 60, 2);
    Module *module = malloc(sizeof *module + sections + (size_t)size * count);
    module->bytes = sections + (size_t)size * count;
    memcpy(module->image, image, module->bytes);
    module->kernels = has_kernels() ? dlopen(folder, RTLD_NOW | RTLD_LOCAL) : 0;
    *m = module;
    if (!module->kernels) fprintf(stderr, "fake libcuda: %s\n", dlerror());
    return module->kernels ? OK : INVALID_IMAGE;
}
Status cuModuleLoadData(void **m, const void *image) { return cuModuleLoadDataEx(m, image, 0, 0, 0); }
Status cuModuleUnload(void *m) { free(m); return OK; }
Status cuModuleGetFunction(void **f, void *m, const char *name) {
    Module *module = m;
    char symbol[128];
    snprintf(symbol, sizeof symbol, "launch_%s", name);
    *f = memmem(module->image, module->bytes, name, strlen(name) + 1) ? dlsym(module->kernels, symbol) : 0;
    return *f ? OK : NOT_FOUND;
}
Status cuFuncGetAttribute(int *v, int a, void *f) { (void)f; *v = a == 0 ? 1024 : 0; return OK; }
/* prepared calls of pycuda still set it; the launch says it again */
Status cuFuncSetBlockShape(void *f, int x, int y, int z) { (void)f; return x > 0 && y > 0 && z > 0 ? OK : INVALID_VALUE; }

Status cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                      void *stream, void **params, void **extra) {
    (void)shared, (void)stream, (void)params;
    NEED_CONTEXT;
    void *buffer = 0;
    size_t bytes = 0;
    for (int i = 0; extra && extra[i]; i += 2) {  /* pairs of key and value; pycuda packs all arguments into one buffer */
        if (extra[i] == (void *)1) buffer = extra[i + 1];
        if (extra[i] == (void *)2) bytes = *(size_t *)extra[i + 1];
    }
    if (!buffer || !gx || !gy || !gz || !bx || !by || !bz || bx * by * bz > 1024 || gy > 65535 || gz > 65535) return INVALID_VALUE;
    Work *work = enqueue(buffer, bytes);
    work->launcher = (Launcher)f;
    memcpy(work->grid, (unsigned[]){gx, gy, gz}, sizeof work->grid);
    memcpy(work->block, (unsigned[]){bx, by, bz}, sizeof work->block);
    return OK;
}

Status cuGetErrorString(int e, const char **s) {
    *s = e == NO_DEVICE ? "no device" : e == INVALID_CONTEXT ? "no context is current" : e == ILLEGAL_ADDRESS ? "illegal address" :
         e == OUT_OF_MEMORY ? "out of memory" : e == NOT_SUPPORTED ? "not part of the fake driver" : "fake driver: error";
    return OK;
}

/* NVRTC asks for the driver's private tables and takes a refusal, but not their absence, well. */
Status cuGetExportTable(const void **table, const void *id) { (void)id; *table = 0; return NOT_FOUND; }

/* The rest of what pycuda's extension links to. */
#define NO(name) Status name(void) { return NOT_SUPPORTED; }
NO(cuArray3DCreate_v2) NO(cuArray3DGetDescriptor_v2) NO(cuArrayCreate_v2) NO(cuArrayDestroy) NO(cuArrayGetDescriptor_v2)
NO(cuCtxAttach) NO(cuCtxCreate_v2) NO(cuCtxCreate_v4) NO(cuCtxDestroy_v2) NO(cuCtxDetach) NO(cuCtxDisablePeerAccess)
NO(cuCtxEnablePeerAccess) NO(cuCtxGetApiVersion) NO(cuCtxGetCacheConfig) NO(cuCtxGetLimit) NO(cuCtxGetSharedMemConfig)
NO(cuCtxSetCacheConfig) NO(cuCtxSetLimit) NO(cuCtxSetSharedMemConfig) NO(cuDeviceCanAccessPeer) NO(cuDeviceGetByPCIBusId)
NO(cuDeviceGetPCIBusId) NO(cuDevicePrimaryCtxRelease) NO(cuEventElapsedTime) NO(cuFuncSetAttribute) NO(cuFuncSetCacheConfig)
NO(cuFuncSetSharedSize) NO(cuIpcCloseMemHandle) NO(cuIpcGetEventHandle) NO(cuIpcGetMemHandle) NO(cuIpcOpenEventHandle)
NO(cuIpcOpenMemHandle_v2) NO(cuLaunch) NO(cuLaunchGrid) NO(cuLaunchGridAsync) NO(cuLinkAddData_v2) NO(cuLinkAddFile_v2)
NO(cuLinkComplete) NO(cuLinkCreate_v2) NO(cuLinkDestroy) NO(cuMemAllocManaged) NO(cuMemAllocPitch_v2) NO(cuMemGetAddressRange_v2)
NO(cuMemHostGetFlags) NO(cuMemHostRegister_v2) NO(cuMemHostUnregister) NO(cuMemcpy2DAsync_v2)
NO(cuMemcpy2DUnaligned_v2) NO(cuMemcpy2D_v2) NO(cuMemcpy3DAsync_v2) NO(cuMemcpy3DPeer) NO(cuMemcpy3DPeerAsync) NO(cuMemcpy3D_v2)
NO(cuMemcpyAtoA_v2) NO(cuMemcpyAtoD_v2) NO(cuMemcpyAtoH_v2) NO(cuMemcpyDtoA_v2) NO(cuMemcpyDtoD_v2)
NO(cuMemcpyHtoA_v2) NO(cuMemcpyPeer) NO(cuMemcpyPeerAsync) NO(cuMemsetD16Async) NO(cuMemsetD16_v2) NO(cuMemsetD2D16Async)
NO(cuMemsetD2D16_v2) NO(cuMemsetD2D32Async) NO(cuMemsetD2D32_v2) NO(cuMemsetD2D8Async) NO(cuMemsetD2D8_v2) NO(cuModuleGetGlobal_v2)
NO(cuModuleGetSurfRef) NO(cuModuleGetTexRef) NO(cuModuleLoad) NO(cuParamSetSize) NO(cuParamSetTexRef) NO(cuParamSetf)
NO(cuParamSeti) NO(cuParamSetv) NO(cuProfilerInitialize) NO(cuProfilerStart) NO(cuProfilerStop) NO(cuStreamAttachMemAsync)
NO(cuStreamWaitEvent) NO(cuSurfRefGetArray) NO(cuSurfRefSetArray) NO(cuTexRefCreate) NO(cuTexRefDestroy) NO(cuTexRefGetAddressMode)
NO(cuTexRefGetAddress_v2) NO(cuTexRefGetArray) NO(cuTexRefGetFilterMode) NO(cuTexRefGetFlags) NO(cuTexRefGetFormat)
NO(cuTexRefSetAddress2D_v3) NO(cuTexRefSetAddressMode) NO(cuTexRefSetAddress_v2) NO(cuTexRefSetArray) NO(cuTexRefSetFilterMode)
NO(cuTexRefSetFlags) NO(cuTexRefSetFormat) NO(cuCtxGetCurrent)
