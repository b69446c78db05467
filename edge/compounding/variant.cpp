// The kernels for one instruction set: compiled once per set with -DVARIANT=<name>, all into one library (see setup.py).
#include "kernels.cu"

#include "variant.h"

#define JOIN(a, b) a##b
#define TABLE(name) JOIN(kernels_, name)
extern const Kernels TABLE(VARIANT) = {
    pair_image, {place_mean, place_maximum, place_latest}, bridge_gap, resolve,
    fill_known, fill_along_x, fill_along_y, fill_along_z, fill_write, remap, grey, resample,
};
