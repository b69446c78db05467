// What kernels and driver share, and the few words that differ between a CUDA compiler (nvcc, NVRTC) and the host's C++
// compiler. Plain C types: NVRTC has no <cstdint>.
#pragma once

enum {
    BRICK_EDGE = 8,
    BRICK_VOXELS = 512,
    LANES = 16,                      // voxels of one chunk: two rows of eight, one 512-bit register of words
    CHUNKS = BRICK_VOXELS / LANES,   // chunk c holds plane k = c / 4, rows j = 2 * (c % 4) and the next
    POOL_BITS = 13,                  // bricks of one pool chunk, as a power of two: 8192 bricks, 16 MiB
    MAX_RADIUS = 3,                  // of hole filling, voxels
    HALO_VOXELS = (BRICK_EDGE + 2 * MAX_RADIUS) * (BRICK_EDGE + 2 * MAX_RADIUS) * (BRICK_EDGE + 2 * MAX_RADIUS),
};

// A frame against the voxel grid: steps per voxel along j and k, offsets of a chunk's sixteen lanes from its first voxel.
struct Frame {
    int stride;                                   // of the paired image: width + 1
    unsigned last_u, last_v;                      // greatest column and row: the last pixel's and one fraction less a step
    int uj, vj, dj, uk, vk, dk;
    int d_low, d_high;                            // least and greatest of lane_d
    int lane_u[LANES], lane_v[LANES], lane_d[LANES];
};

// A brick to work on: its slot, and where its first voxel lies against the frame (column, row, distance).
struct Task { int slot, u, v, d; };

#if defined(__CUDACC__)
// A block takes a brick (or a line of an image), a thread a voxel (or a column). blockDim.x is a multiple of LANES.
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define RESTRICT __restrict__
#define FOR_EACH_BLOCK(at, first, last) for (int at = (first) + (int)blockIdx.x; at < (last); at += (int)gridDim.x)
#define FOR_EACH_ITEM(i, count) for (int i = (int)threadIdx.x; i < (count); i += (int)blockDim.x)
#define FOR_EACH_CHUNK(chunk) for (int chunk = (int)threadIdx.x / LANES; chunk < CHUNKS; chunk += (int)blockDim.x / LANES)
#define FOR_EACH_LANE(lane) for (int lane = (int)threadIdx.x % LANES, once = 1; once; once = 0)
DEVICE unsigned load_pair_of_columns(const unsigned short* at) { return at[0] | (unsigned)at[1] << 16; }
#else
// One call takes the bricks (or lines) first..last - 1 on the calling thread; the loops over items and lanes become vectors.
#define KERNEL static void
#define DEVICE static inline __attribute__((always_inline))
#define RESTRICT __restrict
#define FOR_EACH_BLOCK(at, first, last) for (int at = (first); at < (last); ++at)
#define FOR_EACH_ITEM(i, count) _Pragma("GCC ivdep") for (int i = 0; i < (count); ++i)
#define FOR_EACH_CHUNK(chunk) for (int chunk = 0; chunk < CHUNKS; ++chunk)
#define FOR_EACH_LANE(lane) _Pragma("GCC ivdep") for (int lane = 0; lane < LANES; ++lane)
typedef unsigned __attribute__((aligned(2), may_alias)) two_columns;  // one gather of 32 bits on an address of 16
DEVICE unsigned load_pair_of_columns(const unsigned short* at) { return *(const two_columns*)at; }
#endif
