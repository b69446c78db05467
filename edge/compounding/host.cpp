// The volume on the CPU: voxel memory, threads and the C interface that edge/compounding/host.py calls.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <new>
#include <string>
#ifdef __linux__
#include <sched.h>
#endif

#include "bricks.h"
#include "threads.h"
#include "variant.h"

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

// Voxel words in chunks that never move. Fresh pages come zeroed from the system, so an unused chunk costs nothing.
class WordPool {
public:
    static constexpr size_t CHUNK_BYTES = sizeof(unsigned) * BRICK_VOXELS << POOL_BITS;
    ~WordPool() { clear(); }

    bool hold(int64_t bricks) {
        while (((int64_t)chunks_.size() << POOL_BITS) < bricks) {
            // Twice the alignment is asked for and trimmed: a huge page must start on its own size.
            const size_t align = 2 << 20;
            char* got = (char*)mmap(nullptr, CHUNK_BYTES + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            if (got == MAP_FAILED) return false;
            char* start = (char*)(((uintptr_t)got + align - 1) & ~(uintptr_t)(align - 1));
            if (start > got) munmap(got, (size_t)(start - got));
            if (start + CHUNK_BYTES < got + CHUNK_BYTES + align) munmap(start + CHUNK_BYTES, (size_t)(got + align - start));
#ifdef MADV_HUGEPAGE
            madvise(start, CHUNK_BYTES, MADV_HUGEPAGE);
#endif
            chunks_.push_back((unsigned*)start);
        }
        return true;
    }

    void clear() {
        for (unsigned* chunk : chunks_) munmap(chunk, CHUNK_BYTES);
        chunks_.clear();
    }

    Words words() const { return chunks_.data(); }

private:
    std::vector<unsigned*> chunks_;
};

struct Picture {  // a frame made ready for sampling, kept for the next one's gap
    Plane plane;
    std::vector<unsigned short> pairs, valid;
    const unsigned short* mask() const { return valid.empty() ? nullptr : valid.data(); }
};

struct Channel {
    BrickTable table;
    WordPool pool;
    Picture pictures[2];
    int current = 0;
    bool has_before = false;
    std::vector<int> stamps, touched;
    int stamp = 0;
};

struct Engine {
    Grid grid;
    int mode;
    int64_t brick_limit;
    const Kernels* kernels;
    const char* variant;
    ThreadPool threads;
    Planner planner;
    Plan plan;
    std::vector<Bytes> hits;
    std::array<Channel, 2> channels;

    Engine(const Grid& g, int m, int64_t limit, int t, const Variant& v)
        : grid(g), mode(m), brick_limit(limit), kernels(v.kernels), variant(v.name), threads(t), planner(g) {}

    int place(const Bytes* pixels, int width, int height, const double* matrix, int which, const Bytes* valid, int bridge);
    Refusal find_bricks(Channel& channel, const Plane& now, const Plane* before);
    void prepare(Picture& picture, const Bytes* pixels, const Bytes* valid, int first, int last) const;
    void run(Channel& channel, const Picture& now, const Picture& before);
    int fill(int which, int radius, int least, const int* weights);
};

void Engine::prepare(Picture& picture, const Bytes* pixels, const Bytes* valid, int first, int last) const {
    const int width = picture.plane.width, height = picture.plane.height;
    kernels->pair_image(first, last, pixels, width, height, 0, picture.pairs.data());
    if (valid) kernels->pair_image(first, last, valid, width, height, 1, picture.valid.data());
}

int Engine::place(const Bytes* pixels, int width, int height, const double* matrix, int which, const Bytes* valid, int bridge) {
    Channel& channel = channels[which];
    Picture &before = channel.pictures[channel.current], &now = channel.pictures[1 - channel.current];
    const bool bridged = bridge && channel.has_before;
    channel.has_before = false;
    channel.touched.clear();
    Refusal refusal = now.plane.set(grid, matrix, width, height);
    if (refusal != FINE) return refusal;
    const size_t pixels_paired = (size_t)(width + 1) * height;
    now.pairs.resize(pixels_paired);
    now.valid.resize(valid ? pixels_paired : 0);

    threads.start(height, 32, [&](int first, int last) { prepare(now, pixels, valid, first, last); });
    try {
        refusal = find_bricks(channel, now.plane, bridged ? &before.plane : nullptr);
    } catch (const std::bad_alloc&) {
        refusal = NO_MEMORY;
    }
    threads.finish();
    if (refusal != FINE) return refusal;
    run(channel, now, before);
    channel.current = 1 - channel.current;
    channel.has_before = true;
    return (int)channel.touched.size();
}

Refusal Engine::find_bricks(Channel& channel, const Plane& now, const Plane* before) {
    const Refusal refusal = planner.plan(channel.table, now, before, plan);
    if (refusal != FINE) return refusal;
    const int64_t fresh = planner.fresh();
    if (channels[0].table.count() + channels[1].table.count() + fresh > brick_limit) return FULL;
    if (!channel.pool.hold(channel.table.count() + fresh)) return NO_MEMORY;
    planner.commit(channel.table, plan);
    return FINE;
}

void Engine::run(Channel& channel, const Picture& now, const Picture& before) {
    const int placed = (int)plan.place.size(), bridged = (int)plan.bridge.size();
    const Words words = channel.pool.words();
    hits.assign((size_t)placed + bridged, 0);
    threads.run(placed, 16, [&](int first, int last) {
        kernels->place[mode](first, last, plan.place.data(), &now.plane.frame, now.pairs.data(), now.mask(), words, hits.data());
    });
    if (bridged)
        threads.run(bridged, 16, [&](int first, int last) {
            kernels->bridge_gap(mode == 1, first, last, plan.bridge.data(), plan.bridge_before.data(), &now.plane.frame,
                                &before.plane.frame, now.pairs.data(), before.pairs.data(), now.mask(), before.mask(),
                                planner.gap_units(), words, hits.data() + placed);
        });
    channel.stamps.resize((size_t)channel.table.count(), 0);
    ++channel.stamp;
    for (int at = 0; at < placed + bridged; ++at) {
        const int slot = at < placed ? plan.place[at].slot : plan.bridge[at - placed].slot;
        if (!hits[at] || channel.stamps[slot] == channel.stamp) continue;
        channel.stamps[slot] = channel.stamp;
        channel.touched.push_back(slot);
    }
}

int Engine::fill(int which, int radius, int least, const int* weights) {
    Channel& channel = channels[which];
    const int count = channel.table.count();
    std::vector<int> slots((size_t)count), neighbours((size_t)count * 27);
    for (int slot = 0; slot < count; ++slot) {
        const Coordinate& at = channel.table.at(slot);
        slots[slot] = slot;
        for (int n = 0; n < 27; ++n)
            neighbours[(size_t)slot * 27 + n] = channel.table.find(at.i + n % 3 - 1, at.j + n / 3 % 3 - 1, at.k + n / 9 - 1);
    }
    const Words words = channel.pool.words();
    threads.run(count, 16, [&](int first, int last) {
        std::vector<int> scratch((size_t)HALO_VOXELS * 7);
        int *known = scratch.data(), *one = known + HALO_VOXELS, *two = one + 3 * HALO_VOXELS;
        for (int b = first; b < last; ++b) {
            kernels->fill_known(b, b + 1, neighbours.data(), radius, words, known);
            kernels->fill_along_x(b, b + 1, radius, weights, known, one);
            kernels->fill_along_y(b, b + 1, radius, weights, one, two);
            kernels->fill_along_z(b, b + 1, radius, weights, two, one);
            kernels->fill_write(b, b + 1, slots.data(), least, one, words);
        }
    });
    return count;
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

Engine* sono_open(double spacing_mm, double half_width_mm, double max_gap_mm, int mode, int64_t memory_bytes, int threads, const char* variant) {
    for (const Variant& one : VARIANTS)
        if (one.runs() && (!*variant || !std::strcmp(one.name, variant)))
            return new (std::nothrow) Engine({spacing_mm, half_width_mm, max_gap_mm}, mode,
                                             std::min<int64_t>(memory_bytes / (BRICK_VOXELS * sizeof(unsigned)), 1 << 30),
                                             threads > 0 ? std::min(threads, 256) : std::min(usable_cores(), 256), one);
    return nullptr;
}

void sono_close(Engine* engine) { delete engine; }
int sono_threads(Engine* engine) { return engine->threads.size(); }
const char* sono_variant(Engine* engine) { return engine->variant; }

int sono_place(Engine* engine, const Bytes* pixels, int width, int height, const double* matrix, int channel, const Bytes* valid, int bridge) {
    try {
        return engine->place(pixels, width, height, matrix, channel, valid, bridge);
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
}

const int* sono_touched(Engine* engine, int channel) { return engine->channels[channel].touched.data(); }
int sono_count(Engine* engine, int channel) { return engine->channels[channel].table.count(); }

int sono_bricks(Engine* engine, int channel, const int* slots, int count, int* coordinates, Bytes* intensity, Bytes* state) {
    Channel& from = engine->channels[channel];
    for (int b = 0; b < count; ++b) {
        if (slots[b] < 0 || slots[b] >= from.table.count()) return -1;
        std::memcpy(coordinates + 3 * b, &from.table.at(slots[b]), sizeof(Coordinate));
    }
    const Words words = from.pool.words();
    engine->threads.run(count, 64, [&](int first, int last) { engine->kernels->resolve(first, last, slots, words, intensity, state); });
    return 0;
}

void sono_remap(Engine* engine, int width, int height, const Bytes* pixels, int pixels_width, int pixels_height, const int* index,
                const Bytes* fx, const Bytes* fy, Bytes* out) {
    engine->threads.run(height, 16, [&](int first, int last) {
        engine->kernels->remap(first, last, width, pixels, pixels_width, pixels_height, index, fx, fy, out);
    });
}

int sono_fill(Engine* engine, int channel, int radius, int least, const int* weights) {
    try {
        return engine->fill(channel, radius, least, weights);
    } catch (const std::bad_alloc&) {
        return NO_MEMORY;
    }
}

void sono_reset(Engine* engine) {
    for (Channel& channel : engine->channels) {
        channel.table.clear(), channel.pool.clear();
        channel.stamps.clear(), channel.touched.clear();
        channel.has_before = false;
    }
}

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
