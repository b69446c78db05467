// Places a sweep of noise in every mode through the library's C interface and prints what came of it: one line a mode, the same on
// every machine. Used where no Python is at hand: for another processor under an emulator, and under ThreadSanitizer.
//
//     one_sweep [THREADS [mistake]]    ``mistake``: lines are read while other threads may write them
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

struct Engine;
struct Book;
extern "C" {
Engine* sono_open(double, double, double, double, int, int64_t, int, const char*);
void sono_close(Engine*);
Book* sono_book(Engine*);
int sono_book_count(Book*, int);
int sono_place(Engine*, const unsigned char*, int, int, const double*, int, const unsigned char*, int);
int sono_fill(Engine*, int, int, int, const int*);
void sono_bricks(Engine*, int, const int*, int, unsigned char*, unsigned char*);
void sono_remap(Engine*, int, int, const unsigned char*, int, int, const int*, const unsigned char*, const unsigned char*, unsigned char*);
uint64_t sono_crc64(const unsigned char*, size_t, uint64_t);
void sono_grey(Engine*, int, int, int, const unsigned char*, const unsigned char*, unsigned char*);
void sono_resample(Engine*, int, int, const unsigned char*, int, int, const int*, const float*, int, const int*, const float*, float*);
}

static uint64_t digest_of(uint64_t digest, const void* data, size_t size) {
    for (size_t i = 0; i < size; ++i) digest = (digest ^ ((const unsigned char*)data)[i]) * 1099511628211ull;
    return digest;
}
static const uint64_t NOTHING = 1469598103934665603ull;

// Grey, look-up and window of the image, all 120 x 160.
static uint64_t images(Engine* engine, const unsigned char* pixels) {
    const int width = 160, height = 120, size = width * height;
    std::vector<unsigned char> table(256), grey(size), fractions(size), looked(size);
    std::vector<int> index(size), columns(2 * width), rows(2 * height);
    std::vector<float> column_shares(2 * width), row_shares(2 * height), window(size);
    for (int i = 0; i < 256; ++i) table[i] = (unsigned char)(255 - i);
    for (int i = 0; i < size; ++i) index[i] = i * 7 % (size + 99) - 50, fractions[i] = (unsigned char)(i * 11);
    for (int i = 0; i < 2 * width; ++i) columns[i] = i * 3 % width, column_shares[i] = 0.3f + 0.001f * (float)i;
    for (int i = 0; i < 2 * height; ++i) rows[i] = i * 5 % height, row_shares[i] = 0.7f - 0.001f * (float)i;
    sono_grey(engine, width, height, 0, pixels, table.data(), grey.data());
    sono_remap(engine, width, height, grey.data(), width, height, index.data(), fractions.data(), fractions.data(), looked.data());
    sono_resample(engine, width, height, looked.data(), width, 2, columns.data(), column_shares.data(), 2, rows.data(), row_shares.data(),
                  window.data());
    return digest_of(digest_of(NOTHING, looked.data(), looked.size()), window.data(), window.size() * sizeof(float));
}

// Each line is made from the next one in place, which another thread may be writing.
static void mistake(Engine* engine) {
    const int width = 4096, height = 4096;
    std::vector<unsigned char> table(256), pixels((size_t)width * (height + 1));
    for (int times = 0; times < 8; ++times) sono_grey(engine, width, height, 0, pixels.data() + width, table.data(), pixels.data());
}

// Of every length, and of each after another.
static unsigned long long checksums(const std::vector<unsigned char>& data) {
    uint64_t sum = 0;
    for (size_t size = 0; size < 400; ++size) sum = sono_crc64(data.data() + size % 17, size, sum);
    return sono_crc64(data.data(), data.size(), sum);
}

int main(int count_of_words, char** words) {
    const int threads = count_of_words > 1 ? std::atoi(words[1]) : 2;
    std::vector<unsigned char> pixels(120 * 160), valid(120 * 160, 1);
    unsigned noise = 1;
    for (unsigned char& pixel : pixels) pixel = (unsigned char)((noise = noise * 1664525u + 1013904223u) >> 24);
    for (size_t i = 0; i < valid.size(); i += 31) valid[i] = 0;
    for (int mode = 0; mode < 3; ++mode) {
        Engine* engine = sono_open(0.5, 0.5, 3, 3, mode, 1 << 28, threads, "");
        if (count_of_words > 2) mistake(engine);
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
        const uint64_t digest = digest_of(digest_of(NOTHING, intensity.data(), intensity.size()), state.data(), state.size());
        std::printf("mode %d touched %d bricks %d digest %016llx images %016llx\n", mode, touched, count, (unsigned long long)digest,
                    (unsigned long long)images(engine, pixels.data()));
        sono_close(engine);
    }
    std::printf("checksums %016llx\n", checksums(pixels));
}
