// The C interface that edge/compounding/native.py names: the engine on the CPU, and the book alone for other backends.
#include <cstring>
#include <new>
#include <string>
#ifdef __linux__
#include <sched.h>
#endif

#include "engine.h"

#if defined(__x86_64__)
extern const Kernels kernels_x86_64, kernels_x86_64_v3, kernels_x86_64_v4;
#else
extern const Kernels kernels_baseline;
#endif

namespace {

struct Variant { const char* name; const Kernels* kernels; bool (*runs)(); };

const Variant VARIANTS[] = {  // best first
#if defined(__x86_64__)
    {"x86-64-v4", &kernels_x86_64_v4, [] {
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx2") &&
               __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
    }},
    {"x86-64-v3", &kernels_x86_64_v3, [] {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
               __builtin_cpu_supports("fma");
    }},
    {"x86-64", &kernels_x86_64, [] { return true; }},
#else
    {"baseline", &kernels_baseline, [] { return true; }},
#endif
};

int usable_cores() {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

int64_t bricks_in(int64_t bytes) { return std::min<int64_t>(bytes / (BRICK_VOXELS * sizeof(unsigned)), 1 << 30); }

template <class Work> int guarded(Work work) {
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

const char* sono_variants() {  // those that run here, best first
    static std::string names = [] {
        std::string all;
        for (const Variant& one : VARIANTS) if (one.runs()) all += (all.empty() ? "" : " ") + std::string(one.name);
        return all;
    }();
    return names.c_str();
}

Engine* sono_open(double spacing_mm, double half_width_mm, double max_gap_mm, double light_max_gap_mm, int mode, int64_t memory_bytes, int threads,
                  const char* variant) {
    for (const Variant& one : VARIANTS)
        if (one.runs() && (!*variant || !std::strcmp(one.name, variant)))
            return new (std::nothrow) Engine({spacing_mm, half_width_mm, max_gap_mm, light_max_gap_mm}, mode, bricks_in(memory_bytes),
                                             std::min(threads > 0 ? threads : usable_cores(), 256), one.kernels);
    return nullptr;
}

void sono_close(Engine* engine) { delete engine; }
void sono_reset(Engine* engine) { engine->reset(); }
int sono_threads(Engine* engine) { return engine->threads.size(); }
Book* sono_book(Engine* engine) { return &engine->book; }  // belongs to the engine

int sono_place(Engine* engine, const Bytes* pixels, int width, int height, const double* matrix, int channel, const Bytes* valid, int bridge) {
    return guarded([&] { return engine->place(pixels, width, height, matrix, channel, valid, bridge); });
}

int sono_fill(Engine* engine, int channel, int radius, int least, const int* weights) {
    return guarded([&] { return engine->fill(channel, radius, least, weights), (int)FINE; });
}

// The slots must exist: sono_book_coordinates says so.
void sono_bricks(Engine* engine, int channel, const int* slots, int count, Bytes* intensity, Bytes* state) {
    const Words words = engine->words(channel);
    engine->threads.run(count, 64, [&](int first, int last) { engine->kernels->resolve(first, last, slots, words, intensity, state); });
}

void sono_remap(Engine* engine, int width, int height, const Bytes* pixels, int pixels_width, int pixels_height, const int* index,
                const Bytes* fx, const Bytes* fy, Bytes* out) {
    engine->threads.run(height, 16, [&](int first, int last) {
        engine->kernels->remap(first, last, width, pixels, pixels_width, pixels_height, index, fx, fy, out);
    });
}

void sono_grey(Engine* engine, int width, int height, int wide, const Bytes* samples, const Bytes* table, Bytes* out) {
    engine->threads.run(height, 16, [&](int first, int last) { engine->kernels->grey(first, last, width, wide, samples, table, out); });
}

void sono_resample(Engine* engine, int width, int height, const Bytes* pixels, int pixels_width, int column_taps, const int* columns,
                   const float* column_shares, int row_taps, const int* rows, const float* row_shares, float* out) {
    engine->threads.run(height, 16, [&](int first, int last) {
        engine->kernels->resample(first, last, width, height, pixels, pixels_width, column_taps, columns, column_shares, row_taps, rows,
                                  row_shares, out);
    });
}

// A frame is placed on another backend as: aim, find, make room for so many bricks, commit, run the tasks, collect, advance.
Book* sono_book_open(double spacing_mm, double half_width_mm, double max_gap_mm, double light_max_gap_mm, int64_t memory_bytes) {
    return new (std::nothrow) Book({spacing_mm, half_width_mm, max_gap_mm, light_max_gap_mm}, bricks_in(memory_bytes));
}

void sono_book_close(Book* book) { delete book; }
void sono_book_clear(Book* book) { book->clear(); }
int sono_book_count(Book* book, int channel) { return book->channels[channel].table.count(); }
int sono_book_gap_units(Book* book, int channel) { return book->gap_units(channel); }

int sono_book_coordinates(Book* book, int channel, const int* slots, int count, int* out) {  // [count][3]; -1: a slot does not exist
    const BrickTable& table = book->channels[channel].table;
    for (int b = 0; b < count; ++b) {
        if (slots[b] < 0 || slots[b] >= table.count()) return -1;
        std::memcpy(out + 3 * b, &table.at(slots[b]), sizeof(Coordinate));
    }
    return 0;
}

int sono_book_aim(Book* book, int channel, const double* matrix, int width, int height, int bridge) {
    return book->aim(channel, matrix, width, height, bridge);
}

int sono_book_find(Book* book, int channel) {
    return guarded([&] { return (int)book->find(channel); });
}

int sono_book_commit(Book* book, int channel) {
    return guarded([&] { return book->commit(channel), (int)FINE; });
}

// What to hand to the kernels: counts {place, bridge}; arrays {place, bridge, bridge_before, frame, frame_before}.
void sono_book_plan(Book* book, int channel, int* counts, const void** arrays) {
    counts[0] = (int)book->plan.place.size(), counts[1] = (int)book->plan.bridge.size();
    arrays[0] = book->plan.place.data(), arrays[1] = book->plan.bridge.data(), arrays[2] = book->plan.bridge_before.data();
    arrays[3] = &book->now(channel).frame, arrays[4] = &book->before(channel).frame;
}

int sono_book_collect(Book* book, int channel, const Bytes* hits) {
    return guarded([&] { return book->collect(channel, hits), (int)book->channels[channel].touched.size(); });
}

void sono_book_advance(Book* book, int channel) { book->advance(channel); }
const int* sono_book_touched(Book* book, int channel) { return book->channels[channel].touched.data(); }
void sono_book_neighbours(Book* book, int channel, int slot, int* out) { book->neighbours(channel, slot, out); }

// Adds the states of ``count`` bricks to tally[4] and widens bounds [i, j, k lowest, i, j, k highest] to their non-empty voxels.
void sono_survey(const int* coordinates, const Bytes* state, int count, int64_t* tally, int* bounds) {
    for (int b = 0; b < count; ++b)
        for (int at = 0; at < BRICK_VOXELS; ++at) {
            const int kind = state[(size_t)b * BRICK_VOXELS + at] & 3;
            ++tally[kind];
            if (!kind) continue;
            const int voxel[3] = {at & 7, at >> 3 & 7, at >> 6};
            for (int r = 0; r < 3; ++r) {
                const int where = coordinates[3 * b + r] * BRICK_EDGE + voxel[r];
                bounds[r] = std::min(bounds[r], where), bounds[r + 3] = std::max(bounds[r + 3], where);
            }
        }
}

// Copies bricks into a dense array [k][j][i] of ``shape`` (i, j, k) whose first voxel is ``origin``; what lies outside is cut off.
void sono_scatter(const int* coordinates, const Bytes* bricks, int count, const int* origin, const int* shape, Bytes* out) {
    for (int b = 0; b < count; ++b) {
        int from[3], to[3], at[3];
        for (int r = 0; r < 3; ++r) {
            at[r] = coordinates[3 * b + r] * BRICK_EDGE - origin[r];
            from[r] = std::max(0, -at[r]), to[r] = std::min((int)BRICK_EDGE, shape[r] - at[r]);
        }
        if (from[0] >= to[0]) continue;
        for (int k = from[2]; k < to[2]; ++k)
            for (int j = from[1]; j < to[1]; ++j)
                std::memcpy(out + ((int64_t)(at[2] + k) * shape[1] + at[1] + j) * shape[0] + at[0] + from[0],
                            bricks + (size_t)b * BRICK_VOXELS + k * 64 + j * 8 + from[0], (size_t)(to[0] - from[0]));
    }
}

}  // extern "C"
#pragma GCC visibility pop
