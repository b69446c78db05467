// A pool of threads that sleeps between frames and shares the pieces of one job at a time.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

static inline void pause_briefly() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// ``start`` offers pieces [0, count) in runs of ``grain`` to the helpers; ``finish`` takes part until all are done.
// Which thread takes which piece varies, so pieces must not depend on each other.
class ThreadPool {
public:
    using Job = std::function<void(int first, int last)>;

    explicit ThreadPool(int threads) {
        for (int i = 1; i < threads; ++i) helpers_.emplace_back([this] { serve(); });
    }

    ~ThreadPool() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            stopping_ = true;
            round_.fetch_add(1);
        }
        wake_.notify_all();
        for (std::thread& helper : helpers_) helper.join();
    }

    int size() const { return (int)helpers_.size() + 1; }

    void start(int count, int grain, Job job) {
        job_ = std::move(job), count_ = count, grain_ = grain;
        next_.store(0, std::memory_order_relaxed);
        if (helpers_.empty() || count <= grain) return;
        gate_.store(OPEN, std::memory_order_release);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            round_.fetch_add(1, std::memory_order_release);
        }
        if (sleepers_.load() > 0) wake_.notify_all();
    }

    // A helper that the system has not woken in time is not waited for: it finds the gate closed.
    void finish() {
        take();
        gate_.fetch_and(~OPEN, std::memory_order_acq_rel);
        for (int spins = 0; gate_.load(std::memory_order_acquire) != 0; ++spins)
            if (spins < 2000) pause_briefly(); else std::this_thread::yield();
    }

    void run(int count, int grain, Job job) {
        start(count, grain, std::move(job));
        finish();
    }

private:
    void take() {
        for (;;) {
            const int first = next_.fetch_add(grain_, std::memory_order_relaxed);
            if (first >= count_) return;
            job_(first, first + grain_ < count_ ? first + grain_ : count_);
        }
    }

    bool enter() {
        unsigned gate = gate_.load(std::memory_order_acquire);
        while (gate & OPEN)
            if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
        return false;
    }

    void serve() {
        for (unsigned seen = 0;;) {
            // The next phase of a frame follows within microseconds: waking up costs more than looking for a while.
            for (int spins = 0; spins < 3000 && round_.load(std::memory_order_acquire) == seen; ++spins) pause_briefly();
            if (round_.load(std::memory_order_acquire) == seen) {
                std::unique_lock<std::mutex> lock(mutex_);
                sleepers_.fetch_add(1);
                wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
                sleepers_.fetch_sub(1);
            }
            seen = round_.load(std::memory_order_acquire);
            if (stopping_) return;
            if (!enter()) continue;
            take();
            gate_.fetch_sub(1, std::memory_order_release);
        }
    }

    std::vector<std::thread> helpers_;
    std::mutex mutex_;
    std::condition_variable wake_;
    static constexpr unsigned OPEN = 1u << 31;
    std::atomic<unsigned> round_{0}, gate_{0};  // the gate: OPEN, and how many helpers are inside
    std::atomic<int> next_{0}, sleepers_{0};
    std::atomic<bool> stopping_{false};  // read without the mutex by a helper that comes late from an earlier round
    Job job_;
    int count_ = 0, grain_ = 1;
};
