// All arithmetic on voxels, for the host and for CUDA. One voxel is written by one thread; nothing depends on their number or order.
//
// A voxel is one 32-bit word. Measured: weight (12 bits) << 20 | sum of weight * intensity (20 bits), weight >= 1.
// Not measured (weight 0): state (2 bits) << 8 | intensity; 0 is empty, 2 interpolated, 3 hole-filled.
// Maximum and latest keep weight 1, so that every mode resolves alike.
// Overflow: a contribution weighs at most 16, so 255 full hits fit; before the weight would pass 4095, weight and sum are
// halved. A probe that rests becomes a mean over its last 128 to 255 full hits. Until then the order of frames is irrelevant.
//
// Positions are integers: 2^16 to a pixel, 2^20 to the slab's half-width. The driver rounds each brick's corner once, so
// host and device cannot differ.
#include "portable.cuh"

#define MEASURED (1u << 20)
#define MAX_WEIGHT 4095u
#define SLAB (1 << 20)
#define ALL_VALID 0x01010101u
#define INTERPOLATED 2u
#define FILLED 3u
enum { MEAN, MAXIMUM, LATEST };

DEVICE unsigned* brick_words(unsigned* const* pool, int slot) {
    return pool[slot >> POOL_BITS] + (long long)(slot & ((1 << POOL_BITS) - 1)) * BRICK_VOXELS;
}

// Four pixels [upper left, lower left, upper right, lower right] in one word, mixed with 8-bit fractions, rounded to nearest.
DEVICE unsigned mix(unsigned four, unsigned fx, unsigned fy) {
    const unsigned upper = four & 0x00FF00FFu, lower = (four >> 8) & 0x00FF00FFu;
    const unsigned columns = (upper << 8) + (lower - upper) * fy;
    const unsigned left = columns & 0xFFFFu, right = columns >> 16;
    return ((left << 8) + (right - left) * fx + 32768u) >> 16;
}

// Image rows r and r + 1 side by side: pairs[r][c] = pixel (r, c) | pixel (r + 1, c) << 8, the last row and column repeated.
DEVICE void pair_rows(const unsigned char* RESTRICT pixels, int width, int height, int binary, int line,
                      unsigned short* RESTRICT pairs) {
    const unsigned char* upper = pixels + (long long)line * width;
    const unsigned char* lower = line + 1 < height ? upper + width : upper;
    unsigned short* row = pairs + (long long)line * (width + 1);
    if (binary)
        FOR_EACH_ITEM(c, width) row[c] = (unsigned short)((upper[c] != 0) | (lower[c] != 0) << 8);
    else
        FOR_EACH_ITEM(c, width) row[c] = (unsigned short)(upper[c] | lower[c] << 8);
    const int u = upper[width - 1], l = lower[width - 1];
    row[width] = (unsigned short)(binary ? (u != 0) | (l != 0) << 8 : u | l << 8);
}

KERNEL pair_image(int first, int last, const unsigned char* pixels, int width, int height, int binary, unsigned short* pairs) {
    FOR_EACH_BLOCK(line, first, last) pair_rows(pixels, width, height, binary, line, pairs);
}

DEVICE unsigned compounded(int mode, unsigned old, unsigned value, unsigned weight) {
    const unsigned fresh = value | MEASURED;
    if (mode == LATEST) return fresh;
    if (mode == MAXIMUM) return old > fresh ? old : fresh;
    unsigned kept = old >= MEASURED ? old : 0;
    const unsigned halved = (kept >> 1) & ~(MEASURED >> 1);
    kept = (kept >> 20) + weight > MAX_WEIGHT ? halved : kept;
    return kept + weight * fresh;
}

DEVICE void place(int mode, int masked, int first, int last, const Task* RESTRICT tasks, const Frame* RESTRICT at,
                  const unsigned short* RESTRICT pairs, const unsigned short* RESTRICT valid, unsigned* const* pool,
                  unsigned char* touched) {
    FOR_EACH_BLOCK(b, first, last) {
        const Task task = tasks[b];
        unsigned* brick = brick_words(pool, task.slot);
        int any = 0;
        FOR_EACH_CHUNK(chunk) {
            const int k = chunk >> 2, j = (chunk & 3) << 1;
            const int d0 = task.d + k * at->dk + j * at->dj;
            if (d0 + at->d_low >= SLAB || d0 + at->d_high <= -SLAB) continue;
            const int u0 = task.u + k * at->uk + j * at->uj, v0 = task.v + k * at->vk + j * at->vj;
            const int stride = at->stride;
            const unsigned last_u = at->last_u, last_v = at->last_v;
            unsigned* RESTRICT words = brick + chunk * LANES;
            FOR_EACH_LANE(lane) {
                const int u = u0 + at->lane_u[lane], v = v0 + at->lane_v[lane], d = d0 + at->lane_d[lane];
                const int distance = d < 0 ? -d : d;
                int inside = ((unsigned)u <= last_u) & ((unsigned)v <= last_v) & (distance < SLAB);
                const int index = ((v >> 16) * stride + (u >> 16)) & -inside;
                const unsigned value = mix(load_pair_of_columns(pairs + index), (u >> 8) & 255, (v >> 8) & 255);
                if (masked) inside &= load_pair_of_columns(valid + index) == ALL_VALID;
                const unsigned old = words[lane];
                const unsigned fresh = compounded(mode, old, value, 16u - ((unsigned)distance >> 16));
                words[lane] = inside ? fresh : old;
                any |= inside;
            }
        }
        if (any) touched[b] = 1;
    }
}

#define PLACE_KERNEL(name, mode) \
    KERNEL name(int first, int last, const Task* tasks, const Frame* frame, const unsigned short* pairs, \
                const unsigned short* valid, unsigned* const* pool, unsigned char* touched) { \
        if (valid) place(mode, 1, first, last, tasks, frame, pairs, valid, pool, touched); \
        else place(mode, 0, first, last, tasks, frame, pairs, valid, pool, touched); \
    }
PLACE_KERNEL(place_mean, MEAN)
PLACE_KERNEL(place_maximum, MAXIMUM)
PLACE_KERNEL(place_latest, LATEST)

// Voxels outside the slabs of two consecutive frames and between their planes, no further apart there than ``gap``.
DEVICE void bridge(int mode, int masked, int first, int last, const Task* RESTRICT tasks, const Task* RESTRICT tasks_before,
                   const Frame* RESTRICT now, const Frame* RESTRICT before, const unsigned short* RESTRICT pairs,
                   const unsigned short* RESTRICT pairs_before, const unsigned short* RESTRICT valid,
                   const unsigned short* RESTRICT valid_before, int gap, unsigned* const* pool, unsigned char* touched) {
    FOR_EACH_BLOCK(b, first, last) {
        const Task task = tasks[b], other = tasks_before[b];
        unsigned* brick = brick_words(pool, task.slot);
        int any = 0;
        FOR_EACH_CHUNK(chunk) {
            const int k = chunk >> 2, j = (chunk & 3) << 1;
            const int u0 = task.u + k * now->uk + j * now->uj, v0 = task.v + k * now->vk + j * now->vj;
            const int d0 = task.d + k * now->dk + j * now->dj;
            const int p0 = other.u + k * before->uk + j * before->uj, q0 = other.v + k * before->vk + j * before->vj;
            const int e0 = other.d + k * before->dk + j * before->dj;
            const int behind = d0 + now->d_high >= SLAB && e0 + before->d_low <= -SLAB;
            const int ahead = d0 + now->d_low <= -SLAB && e0 + before->d_high >= SLAB;
            if (!behind && !ahead) continue;
            unsigned* RESTRICT words = brick + chunk * LANES;
            FOR_EACH_LANE(lane) {
                const int u = u0 + now->lane_u[lane], v = v0 + now->lane_v[lane], d = d0 + now->lane_d[lane];
                const int p = p0 + before->lane_u[lane], q = q0 + before->lane_v[lane], e = e0 + before->lane_d[lane];
                const int near_now = d < 0 ? -d : d, near_before = e < 0 ? -e : e;
                int inside = ((unsigned)u <= now->last_u) & ((unsigned)v <= now->last_v) & ((unsigned)p <= before->last_u) &
                             ((unsigned)q <= before->last_v) & ((d ^ e) < 0) & (near_now >= SLAB) & (near_before >= SLAB) &
                             (near_now <= gap - near_before);
                const int index = ((v >> 16) * now->stride + (u >> 16)) & -inside;
                const int index_before = ((q >> 16) * before->stride + (p >> 16)) & -inside;
                const unsigned here = mix(load_pair_of_columns(pairs + index), (u >> 8) & 255, (v >> 8) & 255);
                const unsigned there = mix(load_pair_of_columns(pairs_before + index_before), (p >> 8) & 255, (q >> 8) & 255);
                if (masked & 1) inside &= load_pair_of_columns(valid + index) == ALL_VALID;
                if (masked & 2) inside &= load_pair_of_columns(valid_before + index_before) == ALL_VALID;
                const int whole = ((near_now + near_before) & -inside) | (1 - inside), its = near_before & -inside;
                const unsigned part = (unsigned)(int)((float)its / (float)whole * 256.0f + 0.5f);
                const unsigned value = (here * part + there * (256u - part) + 128u) >> 8;
                const unsigned old = words[lane], fresh = value | INTERPOLATED << 8;
                const unsigned rival = mode == MAXIMUM ? old & -(unsigned)((old >> 8) == INTERPOLATED) : 0u;
                inside &= old < MEASURED;
                words[lane] = inside ? (rival > fresh ? rival : fresh) : old;
                any |= inside;
            }
        }
        if (any) touched[b] = 1;
    }
}

KERNEL bridge_gap(int maximum, int first, int last, const Task* tasks, const Task* tasks_before, const Frame* now,
                  const Frame* before, const unsigned short* pairs, const unsigned short* pairs_before,
                  const unsigned short* valid, const unsigned short* valid_before, int gap, unsigned* const* pool,
                  unsigned char* touched) {
    const int masked = (valid ? 1 : 0) | (valid_before ? 2 : 0);
#define BRIDGE(mode, masks) \
    bridge(mode, masks, first, last, tasks, tasks_before, now, before, pairs, pairs_before, valid, valid_before, gap, pool, touched)
    if (maximum)
        if (masked) BRIDGE(MAXIMUM, masked);
        else BRIDGE(MAXIMUM, 0);
    else if (masked == 3) BRIDGE(MEAN, 3);
    else if (masked) BRIDGE(MEAN, masked);
    else BRIDGE(MEAN, 0);
#undef BRIDGE
}

DEVICE unsigned intensity_of(unsigned word) {
    const unsigned weight = word >> 20;
    // (sum + weight / 2 + 1 / 4) / weight: at least 1 / (4 * weight) from a whole number, so the quotient's own rounding is harmless.
    const float mean = (float)(int)(4u * (word & (MEASURED - 1)) + 2u * weight + 1u) / (float)(int)(4u * (weight ? weight : 1u));
    const unsigned rounded = (unsigned)(int)mean;
    return weight ? (rounded > 255u ? 255u : rounded) : word & 255u;
}

DEVICE unsigned state_of(unsigned word) { return word >= MEASURED ? 1u : word >> 8; }

KERNEL resolve(int first, int last, const int* slots, unsigned* const* pool, unsigned char* intensity, unsigned char* state) {
    FOR_EACH_BLOCK(b, first, last) {
        const unsigned* RESTRICT words = brick_words(pool, slots[b]);
        unsigned char* RESTRICT values = intensity + (long long)b * BRICK_VOXELS;
        unsigned char* RESTRICT states = state + (long long)b * BRICK_VOXELS;
        FOR_EACH_ITEM(i, BRICK_VOXELS) {
            values[i] = (unsigned char)intensity_of(words[i]);
            states[i] = (unsigned char)state_of(words[i]);
        }
    }
}

// Hole filling in four steps over scratch memory: known voxels of a brick and its surroundings, then sums along x, y and z of
// weight * intensity, weight and count. Filled voxels count as unknown, so writing in place changes no answer: a neighbour's
// word that is read while it is written is empty or filled, and unknown either way.
DEVICE int known_of(unsigned word) {
    const unsigned state = state_of(word);
    return state == 1 || state == INTERPOLATED ? (int)(intensity_of(word) | 256u) : 0;
}

DEVICE void fill_store(int* out, const int* value, const int* weight, const int* hits) {
    for (int i = 0; i < BRICK_EDGE; ++i)
        out[i] = value[i], out[i + HALO_VOXELS] = weight[i], out[i + 2 * HALO_VOXELS] = hits[i];
}

KERNEL fill_known(int first, int last, const int* neighbours, int radius, unsigned* const* pool, int* known) {
    const int edge = BRICK_EDGE + 2 * radius;
    FOR_EACH_BLOCK(b, first, last) {
        int* out = known + (long long)(b - first) * HALO_VOXELS;
        FOR_EACH_ITEM(row, edge * edge) {
            const int j = row % edge - radius, k = row / edge - radius;
            const int* beside = neighbours + (long long)b * 27 + ((k >> 3) + 1) * 9 + ((j >> 3) + 1) * 3;
            int* RESTRICT at = out + row * edge;
            for (int part = 0; part < 3; ++part) {  // of the row: in the brick to the left, in this one's column, to the right
                const int from = part == 0 ? BRICK_EDGE - radius : 0, to = part == 2 ? radius : BRICK_EDGE, slot = beside[part];
                const unsigned* RESTRICT words = slot >= 0 ? brick_words(pool, slot) + (k & 7) * 64 + (j & 7) * 8 : 0;
                for (int i = from; i < to; ++i) at[i - from] = words ? known_of(words[i]) : 0;
                at += to - from;
            }
        }
    }
}

KERNEL fill_along_x(int first, int last, int radius, const int* weights, const int* known, int* sums) {
    const int edge = BRICK_EDGE + 2 * radius;
    FOR_EACH_BLOCK(b, first, last) {
        const int* in = known + (long long)(b - first) * HALO_VOXELS;
        int* out = sums + (long long)(b - first) * 3 * HALO_VOXELS;
        FOR_EACH_ITEM(row, edge * edge) {
            int value[BRICK_EDGE] = {0}, weight[BRICK_EDGE] = {0}, hits[BRICK_EDGE] = {0};
            for (int x = 0; x <= 2 * radius; ++x) {
                const int w = weights[x < radius ? radius - x : x - radius];
                const int* RESTRICT from = in + row * edge + x;
                for (int i = 0; i < BRICK_EDGE; ++i) {
                    value[i] += w * (from[i] & 255), weight[i] += w * (from[i] >> 8), hits[i] += from[i] >> 8;
                }
            }
            fill_store(out + row * BRICK_EDGE, value, weight, hits);
        }
    }
}

// Sums over rows of eight that lie ``across`` apart: 8 along y, in each of ``planes``; 64 along z, in one. So many rows result.
DEVICE void fill_sum(int radius, int across, int planes, const int* RESTRICT weights, const int* in, int* out) {
    const int edge = BRICK_EDGE + 2 * radius, rows = across;
    FOR_EACH_ITEM(at, planes * rows) {
        const int plane = at / rows, row = at % rows;
        int value[BRICK_EDGE] = {0}, weight[BRICK_EDGE] = {0}, hits[BRICK_EDGE] = {0};
        for (int y = 0; y <= 2 * radius; ++y) {
            const int w = weights[y < radius ? radius - y : y - radius];
            const int* RESTRICT from = in + plane * edge * across + row * BRICK_EDGE + y * across;
            for (int i = 0; i < BRICK_EDGE; ++i) {
                value[i] += w * from[i], weight[i] += w * from[i + HALO_VOXELS], hits[i] += from[i + 2 * HALO_VOXELS];
            }
        }
        fill_store(out + at * BRICK_EDGE, value, weight, hits);
    }
}

KERNEL fill_along_y(int first, int last, int radius, const int* weights, const int* sums, int* out) {
    FOR_EACH_BLOCK(b, first, last)
        fill_sum(radius, BRICK_EDGE, BRICK_EDGE + 2 * radius, weights, sums + (long long)(b - first) * 3 * HALO_VOXELS,
                 out + (long long)(b - first) * 3 * HALO_VOXELS);
}

KERNEL fill_along_z(int first, int last, int radius, const int* weights, const int* sums, int* out) {
    FOR_EACH_BLOCK(b, first, last)
        fill_sum(radius, BRICK_EDGE * BRICK_EDGE, 1, weights, sums + (long long)(b - first) * 3 * HALO_VOXELS,
                 out + (long long)(b - first) * 3 * HALO_VOXELS);
}

// An empty voxel takes the weighted mean of the known voxels of its cube where at least ``least`` of them are known.
KERNEL fill_write(int first, int last, const int* slots, int least, const int* sums, unsigned* const* pool) {
    FOR_EACH_BLOCK(b, first, last) {
        const int* RESTRICT in = sums + (long long)(b - first) * 3 * HALO_VOXELS;
        unsigned* words = brick_words(pool, slots[b]);
        FOR_EACH_ITEM(i, BRICK_VOXELS) {
            const int weight = in[i + HALO_VOXELS], enough = in[i + 2 * HALO_VOXELS] >= least;
            const unsigned mean = (unsigned)(int)((float)in[i] / (float)(weight ? weight : 1) + 0.5f);
            const unsigned old = words[i], state = state_of(old), unknown = state == 0 || state == FILLED;
            const unsigned fresh = enough ? (mean > 255u ? 255u : mean) | FILLED << 8 : 0u;
            words[i] = unknown ? fresh : old;
        }
    }
}

// One pixel a table entry: the upper left source pixel (-1: outside, answered with 0) and 8-bit fractions to its neighbours.
KERNEL remap(int first, int last, int width, const unsigned char* pixels, int pixels_width, int pixels_height,
             const int* index, const unsigned char* fx, const unsigned char* fy, unsigned char* out) {
    const int greatest = pixels_width * (pixels_height - 1) - 2;
    FOR_EACH_BLOCK(line, first, last) {
        const long long start = (long long)line * width;
        FOR_EACH_ITEM(c, width) {
            const int at = index[start + c], inside = at >= 0 && at <= greatest;
            const unsigned char* from = pixels + (inside ? at : 0);
            const unsigned four = from[0] | (unsigned)from[pixels_width] << 8 | (unsigned)from[1] << 16 |
                                  (unsigned)from[pixels_width + 1] << 24;
            out[start + c] = (unsigned char)(inside ? mix(four, fx[start + c], fy[start + c]) : 0u);
        }
    }
}

// Samples of 8 or 16 bits (``wide`` 1) as 8-bit grey: ``table`` has the answer to every value that a sample can have.
KERNEL grey(int first, int last, int width, int wide, const unsigned char* samples, const unsigned char* table, unsigned char* out) {
    FOR_EACH_BLOCK(line, first, last) {
        const unsigned char* in = samples + ((long long)line * width << wide);
        unsigned char* row = out + (long long)line * width;
        FOR_EACH_ITEM(c, width) row[c] = table[wide ? in[2 * c] | in[2 * c + 1] << 8 : in[c]];
    }
}

// A network's window [height][width]: sums over the image's rows, then over its columns, of pixels by their shares. Tap t of output
// row r reads image row rows[t * height + r]; columns likewise. Each product and sum is rounded, in numpy's order (resample.py).
KERNEL resample(int first, int last, int width, int height, const unsigned char* pixels, int pixels_width, int column_taps,
                const int* columns, const float* column_shares, int row_taps, const int* rows, const float* row_shares, float* out) {
    FOR_EACH_BLOCK(line, first, last) {
        float* row = out + (long long)line * width;
        FOR_EACH_ITEM(c, width) {
            float total = 0;
            for (int x = 0; x < column_taps; ++x) {
                const unsigned char* from = pixels + columns[x * width + c];
                float column = 0;
                for (int y = 0; y < row_taps; ++y) {
                    const int at = y * height + line;
                    column += (float)from[rows[at] * pixels_width] * row_shares[at];
                }
                total += column * column_shares[x * width + c];
            }
            row[c] = total;
        }
    }
}
