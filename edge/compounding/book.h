// The bookkeeping of a volume without its voxels: bricks of all channels, the planes of the last frames, the tasks of the next.
// The host engine and the CUDA backend both stand on it; each holds the memory itself.
#pragma once
#include "bricks.h"

constexpr int CHANNELS = 5;  // ultrasound and four wavelengths of light: CHANNEL_COUNT in edge/compounding/__init__.py

struct BookChannel {
    BrickTable table;
    Plane planes[2];
    int current = 0;          // which of the planes is the last placed frame's
    bool has_before = false;  // whether that frame may be bridged to
    std::vector<int> stamps, touched;
    int stamp = 0;
};

class Book {
public:
    BookChannel channels[CHANNELS];
    Plan plan;
    int64_t brick_limit;

    Book(const Grid& grid, int64_t limit) : brick_limit(limit), grid_(grid), planner_(grid) {}

    // Takes the pose of the next frame. Until ``advance`` the channel has no frame to bridge from.
    Refusal aim(int which, const double* matrix, int width, int height, bool bridge) {
        BookChannel& channel = channels[which];
        bridged_ = bridge && channel.has_before;
        channel.has_before = false;
        channel.touched.clear();
        return now(which).set(grid_, matrix, width, height);
    }

    // Answers how many bricks the frame needs that do not exist, or a Refusal. Nothing is added yet.
    int64_t find(int which) {
        BookChannel& channel = channels[which];
        const Refusal refusal = planner_.plan(channel.table, now(which), bridged_ ? &before(which) : nullptr, grid_.gap_mm(which), plan);
        if (refusal != FINE) return refusal;
        const int64_t fresh = planner_.fresh();
        int64_t held = fresh;
        for (const BookChannel& one : channels) held += one.table.count();
        return held > brick_limit ? (int64_t)FULL : fresh;
    }

    // Adds the bricks and fills in the tasks' slots.
    void commit(int which) { planner_.commit(channels[which].table, plan); }

    // The planned frame was placed: it is the one to bridge from.
    void advance(int which) {
        channels[which].current ^= 1;
        channels[which].has_before = true;
    }

    // Collects the slots of tasks that wrote a voxel (``hits``: those of plan.place, then those of plan.bridge), each once.
    void collect(int which, const unsigned char* hits) {
        BookChannel& channel = channels[which];
        channel.stamps.resize((size_t)channel.table.count(), 0);
        ++channel.stamp;
        const size_t placed = plan.place.size(), all = placed + plan.bridge.size();
        for (size_t at = 0; at < all; ++at) {
            const int slot = at < placed ? plan.place[at].slot : plan.bridge[at - placed].slot;
            if (!hits[at] || channel.stamps[slot] == channel.stamp) continue;
            channel.stamps[slot] = channel.stamp;
            channel.touched.push_back(slot);
        }
    }

    // The 27 slots around brick ``slot`` (-1: none), x fastest, itself in the middle.
    void neighbours(int which, int slot, int* out) {
        BrickTable& table = channels[which].table;
        const Coordinate at = table.at(slot);
        for (int n = 0; n < 27; ++n) out[n] = table.find(at.i + n % 3 - 1, at.j + n / 3 % 3 - 1, at.k + n / 9 - 1);
    }

    Plane& now(int which) { return channels[which].planes[1 - channels[which].current]; }  // of the frame being planned
    Plane& before(int which) { return channels[which].planes[channels[which].current]; }
    int gap_units(int which) const { return planner_.gap_units(grid_.gap_mm(which)); }

    void clear() {
        for (BookChannel& channel : channels) {
            channel.table.clear();
            channel.stamps.clear(), channel.touched.clear();
            channel.has_before = false;
        }
    }

private:
    Grid grid_;
    Planner planner_;
    bool bridged_ = false;
};
