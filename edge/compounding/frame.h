// How one frame lies against the voxel grid: the plane in millimetres (double) and in the kernels' integers.
#pragma once
#include <cmath>
#include <cstdint>

#include "portable.cuh"

constexpr int SLAB_BITS = 20, PIXEL_BITS = 16, MORE_BITS = 16;  // brick corners are kept with 16 bits more than voxels need
constexpr int HALF_FRACTION = 128;          // added to columns and rows: cutting to 8 bits of fraction then rounds to nearest
constexpr int MAX_IMAGE = 8192;             // pixels: 2^13 pixels and a brick's overhang fit 32 bits with 16 of fraction
constexpr double MAX_PIXELS_A_VOXEL = 512;  // 3 * 7 voxels of overhang stay below 2^14 pixels
constexpr double MAX_BRICK = 1 << 22;       // of brick indices, so that every sum of them fits

enum Refusal { FINE = 0, SINGULAR = -1, TOO_FAR = -2, TOO_FINE = -3, TOO_LARGE = -4, FULL = -5, NO_MEMORY = -6 };

struct Grid {  // settings that do not change
    double spacing_mm, half_width_mm, max_gap_mm, light_max_gap_mm;  // of ultrasound; of the wavelengths
    double gap_mm(int channel) const { return channel == 0 ? max_gap_mm : light_max_gap_mm; }
};

class Plane {
public:
    Frame frame{};
    double origin[3], along_u[3], along_v[3], normal[3];  // of pixel (0, 0); mm per pixel; unit
    int width = 0, height = 0;
    int64_t anchor[3] = {0, 0, 0};                        // brick beside the image's centre; all positions are counted from it

    // ``matrix`` is ImageToReference, row-major 4x4, finite.
    Refusal set(const Grid& grid, const double* matrix, int image_width, int image_height) {
        width = image_width, height = image_height;
        for (int r = 0; r < 3; ++r) along_u[r] = matrix[4 * r], along_v[r] = matrix[4 * r + 1], origin[r] = matrix[4 * r + 3];
        double area_vector[3];
        cross(along_u, along_v, area_vector);
        const double area = std::sqrt(dot(area_vector, area_vector));
        if (!(area > 1e-12) || area < 1e-6 * std::sqrt(dot(along_u, along_u) * dot(along_v, along_v))) return SINGULAR;
        for (int r = 0; r < 3; ++r) normal[r] = area_vector[r] / area;
        cross(along_v, normal, gradient_[0]);
        cross(normal, along_u, gradient_[1]);
        for (int r = 0; r < 3; ++r) {
            gradient_[0][r] /= area, gradient_[1][r] /= area;
            gradient_[2][r] = normal[r] / grid.half_width_mm;
        }
        const double edge_mm = BRICK_EDGE * grid.spacing_mm;
        for (int r = 0; r < 3; ++r) {
            const double reach = std::fabs(origin[r]) + width * std::fabs(along_u[r]) + height * std::fabs(along_v[r]);
            if (!(reach / edge_mm < MAX_BRICK)) return TOO_FAR;
            if (std::fabs(gradient_[0][r]) * grid.spacing_mm > MAX_PIXELS_A_VOXEL ||
                std::fabs(gradient_[1][r]) * grid.spacing_mm > MAX_PIXELS_A_VOXEL) return TOO_FINE;
            const double centre = origin[r] + along_u[r] * (width - 1) / 2 + along_v[r] * (height - 1) / 2;
            anchor[r] = (int64_t)std::floor(centre / edge_mm);
        }
        set_steps(grid, edge_mm);
        return FINE;
    }

    // Column, row and distance of the first voxel of a brick with MORE_BITS below the kernels' units, and its steps per brick.
    void locate_finely(const int64_t* brick, int64_t* at) const {
        const int64_t i = brick[0] - anchor[0], j = brick[1] - anchor[1], k = brick[2] - anchor[2];
        for (int axis = 0; axis < 3; ++axis) at[axis] = base_[axis] + i * brick_[axis][0] + j * brick_[axis][1] + k * brick_[axis][2];
    }
    int64_t fine_step(int axis, int r) const { return brick_[axis][r]; }

    // The same in the kernels' units, not yet known to fit 32 bits.
    void locate(const int64_t* brick, int64_t* at) const {
        locate_finely(brick, at);
        for (int axis = 0; axis < 3; ++axis) at[axis] >>= MORE_BITS;
    }

    int steepest() const {  // the axis nearest to the normal
        int axis = 0;
        for (int r = 1; r < 3; ++r) if (std::fabs(normal[r]) > std::fabs(normal[axis])) axis = r;
        return axis;
    }

    // Whether any of a brick's voxels may lie on the image.
    bool beside_image(const int64_t* at) const {
        return at[0] + high_[0] >= 0 && at[0] + low_[0] <= (int64_t)frame.last_u && at[1] + high_[1] >= 0 &&
               at[1] + low_[1] <= (int64_t)frame.last_v;
    }

    double distance_mm(const double* point) const {
        return normal[0] * (point[0] - origin[0]) + normal[1] * (point[1] - origin[1]) + normal[2] * (point[2] - origin[2]);
    }

    void corner(int which, double* point) const {
        for (int r = 0; r < 3; ++r)
            point[r] = origin[r] + (which & 1 ? width - 1 : 0) * along_u[r] + (which & 2 ? height - 1 : 0) * along_v[r];
    }

    int low(int axis) const { return low_[axis]; }    // least and greatest offset of a brick's voxels from its first: u, v, d
    int high(int axis) const { return high_[axis]; }

    static void cross(const double* a, const double* b, double* out) {
        out[0] = a[1] * b[2] - a[2] * b[1], out[1] = a[2] * b[0] - a[0] * b[2], out[2] = a[0] * b[1] - a[1] * b[0];
    }
    static double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

private:
    double gradient_[3][3];  // of u and v in pixels, of the distance in half-widths, per mm
    int64_t base_[3], brick_[3][3];
    int low_[3], high_[3];

    void set_steps(const Grid& grid, double edge_mm) {
        int step[3][3];
        for (int axis = 0; axis < 3; ++axis) {
            const double unit = axis < 2 ? 1 << PIXEL_BITS : 1 << SLAB_BITS;
            double start = 0;
            for (int r = 0; r < 3; ++r) {
                start += gradient_[axis][r] * ((double)anchor[r] * edge_mm - origin[r]);
                step[axis][r] = (int)std::lround(gradient_[axis][r] * grid.spacing_mm * unit);
                brick_[axis][r] = std::llround(gradient_[axis][r] * edge_mm * unit * (1 << MORE_BITS));
            }
            base_[axis] = std::llround(start * unit * (1 << MORE_BITS)) + (1 << (MORE_BITS - 1));
            if (axis < 2) base_[axis] += (int64_t)HALF_FRACTION << MORE_BITS;
            low_[axis] = high_[axis] = 0;
            for (int r = 0; r < 3; ++r) (step[axis][r] < 0 ? low_ : high_)[axis] += (BRICK_EDGE - 1) * step[axis][r];
        }
        frame.stride = width + 1;
        frame.last_u = ((unsigned)(width - 1) << PIXEL_BITS) + 2 * HALF_FRACTION - 1;
        frame.last_v = ((unsigned)(height - 1) << PIXEL_BITS) + 2 * HALF_FRACTION - 1;
        frame.uj = step[0][1], frame.vj = step[1][1], frame.dj = step[2][1];
        frame.uk = step[0][2], frame.vk = step[1][2], frame.dk = step[2][2];
        for (int lane = 0; lane < LANES; ++lane) {
            const int i = lane % BRICK_EDGE, j = lane / BRICK_EDGE;
            frame.lane_u[lane] = i * step[0][0] + j * step[0][1];
            frame.lane_v[lane] = i * step[1][0] + j * step[1][1];
            frame.lane_d[lane] = i * step[2][0] + j * step[2][1];
            frame.d_low = lane && frame.d_low < frame.lane_d[lane] ? frame.d_low : frame.lane_d[lane];
            frame.d_high = lane && frame.d_high > frame.lane_d[lane] ? frame.d_high : frame.lane_d[lane];
        }
    }
};
