// The volume on the CPU: voxel memory and threads on top of the book.
#pragma once
#include <sys/mman.h>

#include "book.h"
#include "threads.h"
#include "variant.h"

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
    std::vector<unsigned short> pairs, valid;
    const unsigned short* mask() const { return valid.empty() ? nullptr : valid.data(); }
};

class Engine {
public:
    Book book;
    ThreadPool threads;
    const Kernels* const kernels;

    Engine(const Grid& grid, int mode, int64_t brick_limit, int thread_count, const Kernels* table)
        : book(grid, brick_limit), threads(thread_count), kernels(table), mode_(mode) {}

    Words words(int which) const { return pools_[which].words(); }

    // The number of bricks in which a voxel was written (their slots: book.channels[which].touched), or a Refusal.
    int place(const Bytes* pixels, int width, int height, const double* matrix, int which, const Bytes* valid, bool bridge) {
        const Refusal refusal = book.aim(which, matrix, width, height, bridge);
        if (refusal != FINE) return refusal;
        Picture& now = pictures_[which][1 - book.channels[which].current];
        const size_t paired = (size_t)(width + 1) * height;
        now.pairs.resize(paired);
        now.valid.resize(valid ? paired : 0);
        threads.start(height, 32, [&](int first, int last) {
            kernels->pair_image(first, last, pixels, width, height, 0, now.pairs.data());
            if (valid) kernels->pair_image(first, last, valid, width, height, 1, now.valid.data());
        });
        const int found = make_room(which);
        threads.finish();
        if (found != FINE) return found;
        run(which, now, pictures_[which][book.channels[which].current], book.now(which).frame, book.before(which).frame);
        book.advance(which);
        return (int)book.channels[which].touched.size();
    }

    void fill(int which, int radius, int least, const int* weights) {
        const int count = book.channels[which].table.count();
        std::vector<int> slots((size_t)count), neighbours((size_t)count * 27);
        for (int slot = 0; slot < count; ++slot) {
            slots[slot] = slot;
            book.neighbours(which, slot, neighbours.data() + (size_t)slot * 27);
        }
        const Words pool = words(which);
        const int batch = 256;  // nobody writes while another reads: sums of so many bricks, 8 MiB, then their words
        std::vector<int> sums((size_t)std::min(count, batch) * 3 * HALO_VOXELS);
        for (int start = 0; start < count; start += batch) {
            const int bricks = std::min(batch, count - start);
            threads.run(bricks, 16, [&](int first, int last) {
                int known[HALO_VOXELS], one[3 * HALO_VOXELS], two[3 * HALO_VOXELS];  // 77 KB of the thread's stack
                for (int at = first; at < last; ++at) {
                    const int b = start + at;
                    kernels->fill_known(b, b + 1, neighbours.data(), radius, pool, known);
                    kernels->fill_along_x(b, b + 1, radius, weights, known, one);
                    kernels->fill_along_y(b, b + 1, radius, weights, one, two);
                    kernels->fill_along_z(b, b + 1, radius, weights, two, sums.data() + (size_t)at * 3 * HALO_VOXELS);
                }
            });
            threads.run(bricks, 64, [&](int first, int last) {
                kernels->fill_write(start + first, start + last, slots.data(), least, sums.data() + (size_t)first * 3 * HALO_VOXELS, pool);
            });
        }
    }

    void reset() {
        book.clear();
        for (WordPool& pool : pools_) pool.clear();
    }

private:
    int make_room(int which) {
        try {
            const int64_t fresh = book.find(which);
            if (fresh < 0) return (int)fresh;
            if (!pools_[which].hold(book.channels[which].table.count() + fresh)) return NO_MEMORY;
            book.commit(which);
            return FINE;
        } catch (const std::bad_alloc&) {
            return NO_MEMORY;
        }
    }

    void run(int which, const Picture& now, const Picture& before, const Frame& frame, const Frame& frame_before) {
        const Plan& plan = book.plan;
        const int placed = (int)plan.place.size(), bridged = (int)plan.bridge.size();
        const Words pool = words(which);
        hits_.assign((size_t)placed + bridged, 0);
        threads.run(placed, 16, [&](int first, int last) {
            kernels->place[mode_](first, last, plan.place.data(), &frame, now.pairs.data(), now.mask(), pool, hits_.data());
        });
        if (bridged)
            threads.run(bridged, 16, [&](int first, int last) {
                kernels->bridge_gap(mode_ == 1, first, last, plan.bridge.data(), plan.bridge_before.data(), &frame, &frame_before,
                                    now.pairs.data(), before.pairs.data(), now.mask(), before.mask(), book.gap_units(which), pool,
                                    hits_.data() + placed);
            });
        book.collect(which, hits_.data());
    }

    const int mode_;
    WordPool pools_[CHANNELS];
    Picture pictures_[CHANNELS][2];
    std::vector<Bytes> hits_;
};
