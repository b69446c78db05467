// What every build of the kernels offers to the host driver.
#pragma once
#include "portable.cuh"

using Bytes = unsigned char;
using Words = unsigned* const*;

struct Kernels {
    void (*pair_image)(int, int, const Bytes*, int, int, int, unsigned short*);
    void (*place[3])(int, int, const Task*, const Frame*, const unsigned short*, const unsigned short*, Words, Bytes*);
    void (*bridge_gap)(int, int, int, const Task*, const Task*, const Frame*, const Frame*, const unsigned short*,
                       const unsigned short*, const unsigned short*, const unsigned short*, int, Words, Bytes*);
    void (*resolve)(int, int, const int*, Words, Bytes*, Bytes*);
    void (*fill_known)(int, int, const int*, int, Words, int*);
    void (*fill_along_x)(int, int, int, const int*, const int*, int*);
    void (*fill_along_y)(int, int, int, const int*, const int*, int*);
    void (*fill_along_z)(int, int, int, const int*, const int*, int*);
    void (*fill_write)(int, int, const int*, int, const int*, Words);
    void (*remap)(int, int, int, const Bytes*, int, int, const int*, const Bytes*, const Bytes*, Bytes*);
    void (*grey)(int, int, int, int, const Bytes*, const Bytes*, Bytes*);
    void (*resample)(int, int, int, int, const Bytes*, int, int, const int*, const float*, int, const int*, const float*, float*);
};
