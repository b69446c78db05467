// The device's kernels, thread by thread on the CPU: portable.cuh takes its CUDA side, so that blocks, threads and strides are
// those of the device. launch_<kernel> unpacks pycuda's argument buffer, checks that pointers lead to device memory, and runs.
#include <cstddef>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

struct Index { unsigned x, y, z; };
static thread_local Index threadIdx, blockIdx, blockDim, gridDim;
#define __CUDACC__
#define __global__
#define __device__
#define __forceinline__ inline
#include "../../edge/compounding/kernels.cu"

namespace {

constexpr int FINE = 0, ILLEGAL_ADDRESS = 700;

template <class T> T next(const char* buffer, size_t& at, int (*is_device)(const void*), bool& legal) {
    at = (at + alignof(T) - 1) / alignof(T) * alignof(T);
    T value;
    std::memcpy(&value, buffer + at, sizeof value);
    at += sizeof value;
    if constexpr (std::is_pointer_v<T>) legal &= value == nullptr || is_device((const void*)value);
    return value;
}

// Odd launches run backwards: an answer that hangs on the order of blocks or threads differs between frames.
template <class... A>
int launch(void (*kernel)(A...), const unsigned* grid, const unsigned* block, const char* buffer, int (*is_device)(const void*)) {
    static unsigned launches;
    size_t at = 0;
    bool legal = true;
    const std::tuple<A...> arguments{next<A>(buffer, at, is_device, legal)...};
    if (!legal || grid[1] != 1 || grid[2] != 1 || block[1] != 1 || block[2] != 1) return ILLEGAL_ADDRESS;
    const bool backwards = launches++ & 1;
    gridDim = {grid[0], 1, 1}, blockDim = {block[0], 1, 1};
    for (unsigned b = 0; b < grid[0]; ++b)
        for (unsigned t = 0; t < block[0]; ++t) {
            blockIdx.x = backwards ? grid[0] - 1 - b : b, threadIdx.x = backwards ? block[0] - 1 - t : t;
            std::apply(kernel, arguments);
        }
    return FINE;
}

}  // namespace

#define LAUNCH(kernel) \
    extern "C" int launch_##kernel(const unsigned* grid, const unsigned* block, const char* buffer, int (*is_device)(const void*)) { \
        return launch(kernel, grid, block, buffer, is_device); \
    }
LAUNCH(pair_image) LAUNCH(place_mean) LAUNCH(place_maximum) LAUNCH(place_latest) LAUNCH(bridge_gap) LAUNCH(resolve) LAUNCH(remap)
LAUNCH(fill_known) LAUNCH(fill_along_x) LAUNCH(fill_along_y) LAUNCH(fill_along_z) LAUNCH(fill_write)
LAUNCH(grey) LAUNCH(resample)
