// Which bricks exist, which of them a frame's slab touches, and the tasks for the kernels. No voxel memory is held here, so
// that every backend can share it.
#pragma once
#include <algorithm>
#include <unordered_map>
#include <memory>
#include <vector>

#include "frame.h"

struct Coordinate { int i, j, k; };

// Brick coordinates to slots, numbered from 0 in the order of their first touch. Regions of 16^3 bricks are dense.
class BrickTable {
public:
    int count() const { return (int)coordinates_.size(); }
    const Coordinate& at(int slot) const { return coordinates_[slot]; }

    int find(int64_t i, int64_t j, int64_t k) {
        const Region* region = look(i, j, k);
        return region ? region->slots[place(i, j, k)] : -1;
    }

    int add(int64_t i, int64_t j, int64_t k) {
        Region* region = look(i, j, k);
        if (!region) {
            auto made = std::make_unique<Region>();
            std::fill_n(made->slots, 4096, -1);
            region = made.get();
            regions_[key(i, j, k)] = std::move(made);
            last_key_ = key(i, j, k), last_ = region;
        }
        coordinates_.push_back({(int)i, (int)j, (int)k});
        return region->slots[place(i, j, k)] = count() - 1;
    }

    void clear() {
        regions_.clear(), coordinates_.clear();
        coordinates_.shrink_to_fit();
        last_ = nullptr, last_key_ = -1;
    }

private:
    struct Region { int slots[4096]; };

    static int64_t key(int64_t i, int64_t j, int64_t k) {
        const int64_t offset = 1 << 20;  // |brick| < 2^23, |region| < 2^19
        return ((i >> 4) + offset) << 42 | ((j >> 4) + offset) << 21 | ((k >> 4) + offset);
    }
    static int place(int64_t i, int64_t j, int64_t k) { return (int)((k & 15) << 8 | (j & 15) << 4 | (i & 15)); }

    Region* look(int64_t i, int64_t j, int64_t k) {
        const int64_t wanted = key(i, j, k);
        if (wanted != last_key_) {
            const auto found = regions_.find(wanted);
            last_key_ = wanted, last_ = found == regions_.end() ? nullptr : found->second.get();
        }
        return last_;
    }

    std::unordered_map<int64_t, std::unique_ptr<Region>> regions_;
    std::vector<Coordinate> coordinates_;
    int64_t last_key_ = -1;
    Region* last_ = nullptr;
};

// The bricks of one frame: tasks for its slab, and for the gap to the frame before (two lists of equal length).
struct Plan {
    std::vector<Task> place, bridge, bridge_before;
};

class Planner {
public:
    explicit Planner(const Grid& grid) : grid_(grid) {}

    // Finds the frame's bricks; those not yet in ``table`` wait for ``commit``, so that a backend can make room in between.
    Refusal plan(BrickTable& table, const Plane& now, const Plane* before, double gap_mm, Plan& plan) {
        plan.place.clear(), plan.bridge.clear(), plan.bridge_before.clear();
        fresh_.clear();
        Refusal refusal = walk(now, grid_.half_width_mm, [&](const int64_t* brick, const int64_t* at) {
            plan.place.push_back({slot_of(table, brick, plan.place.size(), false), (int)at[0], (int)at[1], (int)at[2]});
        });
        if (refusal == FINE && before && gap_between(now, *before, gap_mm))
            refusal = walk(now, gap_mm, [&](const int64_t* brick, const int64_t* at) {
                int64_t past[3];
                before->locate(brick, past);
                if (!before->beside_image(past) || !between(now, at[2], *before, past[2])) return;
                plan.bridge.push_back({slot_of(table, brick, plan.bridge.size(), true), (int)at[0], (int)at[1], (int)at[2]});
                plan.bridge_before.push_back({0, (int)past[0], (int)past[1], (int)past[2]});
            });
        return refusal;
    }

    // How many bricks ``commit`` will add. A brick that is new to both lists was found twice and counts once.
    int64_t fresh() {
        std::vector<Coordinate> unique;
        for (const Fresh& one : fresh_) unique.push_back(one.brick);
        const auto order = [](const Coordinate& a, const Coordinate& b) {
            return a.i != b.i ? a.i < b.i : a.j != b.j ? a.j < b.j : a.k < b.k;
        };
        const auto same = [](const Coordinate& a, const Coordinate& b) { return a.i == b.i && a.j == b.j && a.k == b.k; };
        if (!fresh_.empty() && fresh_.back().bridge) std::sort(unique.begin(), unique.end(), order);
        return std::unique(unique.begin(), unique.end(), same) - unique.begin();
    }

    void commit(BrickTable& table, Plan& plan) {
        for (const Fresh& one : fresh_) {
            int slot = one.bridge ? table.find(one.brick.i, one.brick.j, one.brick.k) : -1;
            if (slot < 0) slot = table.add(one.brick.i, one.brick.j, one.brick.k);
            (one.bridge ? plan.bridge : plan.place)[one.task].slot = slot;
        }
    }

    int gap_units(double gap_mm) const {  // in the kernels' units of distance
        return (int)std::lround(gap_mm / grid_.half_width_mm * (1 << SLAB_BITS));
    }

private:
    struct Fresh { Coordinate brick; size_t task; bool bridge; };

    int slot_of(BrickTable& table, const int64_t* brick, size_t task, bool bridge) {
        const int slot = table.find(brick[0], brick[1], brick[2]);
        if (slot < 0) fresh_.push_back({{(int)brick[0], (int)brick[1], (int)brick[2]}, task, bridge});
        return slot;
    }

    // Whether the planes are anywhere far enough apart for a voxel between both slabs, and turned less than a right angle.
    bool gap_between(const Plane& now, const Plane& before, double gap_mm) const {
        const double turn = Plane::dot(now.normal, before.normal);
        if (turn <= 0) return false;
        double widest = 0;
        for (int which = 0; which < 4; ++which) {
            double point[3];
            now.corner(which, point);
            widest = std::max(widest, std::fabs(before.distance_mm(point)));
        }
        return widest + gap_mm * (1 - turn) > 2 * grid_.half_width_mm * (1 - 1e-5);
    }

    static bool between(const Plane& now, int64_t d, const Plane& before, int64_t e) {
        const int64_t slab = 1 << SLAB_BITS;
        return (d + now.high(2) >= slab && e + before.low(2) <= -slab) || (d + now.low(2) <= -slab && e + before.high(2) >= slab);
    }

    // Calls ``visit(brick, at)`` for every brick that may hold a voxel on the image and nearer than ``reach_mm`` to its plane:
    // column by column along the axis that the normal is nearest to, the rows of columns one step of integers after another.
    template <class Visit> Refusal walk(const Plane& plane, double reach_mm, Visit visit) {
        const int along = plane.steepest(), inner = along == 0 ? 1 : 0, outer = along == 2 ? 1 : 2;
        int64_t from[3], to[3];
        footprint(plane, reach_mm, from, to);
        if ((to[inner] - from[inner] + 1) * (to[outer] - from[outer] + 1) > MAX_COLUMNS) return TOO_LARGE;
        const int64_t reach = std::llround(reach_mm / grid_.half_width_mm * (1 << SLAB_BITS));
        const int64_t least = -reach - plane.high(2), most = reach - plane.low(2);  // of a brick's corner, both excluded
        const double a_brick = 1 / (double)plane.fine_step(2, along);
        int64_t brick[3], column[3], at[3];
        for (brick[outer] = from[outer]; brick[outer] <= to[outer]; ++brick[outer]) {
            brick[inner] = from[inner], brick[along] = plane.anchor[along];
            plane.locate_finely(brick, column);
            for (; brick[inner] <= to[inner]; ++brick[inner]) {
                const double one = (double)(least * (1 << MORE_BITS) - column[2]) * a_brick;
                const double two = (double)(most * (1 << MORE_BITS) - column[2]) * a_brick;
                const int64_t first = down(std::min(one, two)), last = down(std::max(one, two)) + 1;
                for (int64_t a = first; a <= last; ++a) {
                    for (int axis = 0; axis < 3; ++axis) at[axis] = (column[axis] + a * plane.fine_step(axis, along)) >> MORE_BITS;
                    if (at[2] <= least || at[2] >= most || !plane.beside_image(at)) continue;
                    brick[along] = plane.anchor[along] + a;
                    visit(brick, at);
                }
                for (int axis = 0; axis < 3; ++axis) column[axis] += plane.fine_step(axis, inner);
            }
        }
        return FINE;
    }

    // The first and last brick along each axis that the image, ``reach_mm`` thick to either side, can touch.
    void footprint(const Plane& plane, double reach_mm, int64_t* from, int64_t* to) const {
        const double edge_mm = BRICK_EDGE * grid_.spacing_mm, span = (BRICK_EDGE - 1) * grid_.spacing_mm;
        for (int r = 0; r < 3; ++r) {
            double low = 1e300, high = -1e300;
            for (int which = 0; which < 4; ++which) {
                double point[3];
                plane.corner(which, point);
                low = std::min(low, point[r]), high = std::max(high, point[r]);
            }
            const double margin = reach_mm * std::fabs(plane.normal[r]) + 1e-2 * grid_.spacing_mm;
            from[r] = (int64_t)std::floor((low - margin - span) / edge_mm);
            to[r] = (int64_t)std::floor((high + margin) / edge_mm);
        }
    }

    static int64_t down(double x) {  // floor, without the call that plain x86-64 makes of it
        const int64_t cut = (int64_t)x;
        return cut - ((double)cut > x);
    }

    static constexpr int64_t MAX_COLUMNS = 1 << 22;

    Grid grid_;
    std::vector<Fresh> fresh_;
};
