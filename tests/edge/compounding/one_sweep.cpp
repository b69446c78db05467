// Places a sweep of noise in every mode through the library's C interface and prints what came of it: one line a mode, the same on
// every machine. Used where no Python is at hand: for another processor, under an emulator.
#include <cstdint>
#include <cstdio>
#include <vector>

struct Engine;
struct Book;
extern "C" {
Engine* sono_open(double, double, double, int, int64_t, int, const char*);
void sono_close(Engine*);
Book* sono_book(Engine*);
int sono_book_count(Book*, int);
int sono_place(Engine*, const unsigned char*, int, int, const double*, int, const unsigned char*, int);
int sono_fill(Engine*, int, int, int, const int*);
void sono_bricks(Engine*, int, const int*, int, unsigned char*, unsigned char*);
}

int main() {
    std::vector<unsigned char> pixels(120 * 160), valid(120 * 160, 1);
    unsigned noise = 1;
    for (unsigned char& pixel : pixels) pixel = (unsigned char)((noise = noise * 1664525u + 1013904223u) >> 24);
    for (size_t i = 0; i < valid.size(); i += 31) valid[i] = 0;
    for (int mode = 0; mode < 3; ++mode) {
        Engine* engine = sono_open(0.5, 0.5, 3, mode, 1 << 28, 2, "");
        int touched = 0;
        for (int n = 0; n < 20; ++n) {
            const double matrix[16] = {0.2, 0.001 * n, 0, -3, 0.0007 * n, 0.2, 0.01, -4, 0.003, 0.002, 1, n * 0.9, 0, 0, 0, 1};
            touched += sono_place(engine, pixels.data(), 160, 120, matrix, 0, n % 3 == 2 ? valid.data() : nullptr, 1);
        }
        const int weights[3] = {16, 10, 2};
        sono_fill(engine, 0, 2, 60, weights);
        const int count = sono_book_count(sono_book(engine), 0);
        std::vector<int> slots(count);
        for (int slot = 0; slot < count; ++slot) slots[slot] = slot;
        std::vector<unsigned char> intensity(count * 512), state(count * 512);
        sono_bricks(engine, 0, slots.data(), count, intensity.data(), state.data());
        uint64_t digest = 1469598103934665603ull;
        for (unsigned char byte : intensity) digest = (digest ^ byte) * 1099511628211ull;
        for (unsigned char byte : state) digest = (digest ^ byte) * 1099511628211ull;
        std::printf("mode %d touched %d bricks %d digest %016llx\n", mode, touched, count, (unsigned long long)digest);
        sono_close(engine);
    }
}
