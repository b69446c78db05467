/* A front end in one file: sends a moving test pattern, B-mode and photoacoustic in turn, with poses and IMU samples.
 *
 *   cc -std=c99 -I../include send_frames.c -lzmq -lm -o send_frames
 *   ./send_frames tcp://127.0.0.1:5555 200 30
 *   ./send_frames tcp://192.168.1.2:5555 200 30 probe7.key_secret bridge.key      (encrypted; keys from `sonosweep keys`)
 */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <zmq.h>

#include "sonosweep_wire.h"

enum { WIDTH = 128, HEIGHT = 96, KEY_LENGTH = 40 };

static const double SPACING_MM = 0.3;
static const double STEP_MM = 0.25; /* the probe moves so far between two images */

static uint8_t grey[HEIGHT][WIDTH];
static uint16_t absorbed[HEIGHT][WIDTH];
static uint8_t extensions[512];

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t random_id(void) {
    uint64_t id = now_ns();
    FILE *source = fopen("/dev/urandom", "rb");
    if (source != NULL) {
        if (fread(&id, sizeof id, 1, source) != 1) {
            id = now_ns();
        }
        fclose(source);
    }
    return id;
}

/* The value of `name` ("public-key" or "secret-key") in a key file, 40 characters and a zero into `key`. 0: found. */
static int read_key(const char *path, const char *name, char key[KEY_LENGTH + 1]) {
    char line[256];
    int found = -1;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return -1;
    }
    while (found != 0 && fgets(line, sizeof line, file) != NULL) {
        const char *at = line[0] == '#' ? NULL : strstr(line, name);
        const char *quote = at == NULL ? NULL : strchr(at, '"');
        if (quote != NULL && strlen(quote) > KEY_LENGTH + 1 && quote[KEY_LENGTH + 1] == '"') {
            memcpy(key, quote + 1, KEY_LENGTH);
            key[KEY_LENGTH] = 0;
            found = 0;
        }
    }
    fclose(file);
    return found;
}

/* A socket that holds at most 8 images and then makes the sender wait. */
static void *open_push(void *context, const char *endpoint, const char *secret_file, const char *bridge_file) {
    const int high_water = 8, linger_ms = 5000, keepalive = 1;
    char bridge[KEY_LENGTH + 1], public_key[KEY_LENGTH + 1], secret[KEY_LENGTH + 1];
    void *push = zmq_socket(context, ZMQ_PUSH);
    if (push == NULL) {
        return NULL;
    }
    zmq_setsockopt(push, ZMQ_SNDHWM, &high_water, sizeof high_water);
    zmq_setsockopt(push, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(push, ZMQ_TCP_KEEPALIVE, &keepalive, sizeof keepalive);
    if (secret_file != NULL) {
        if (read_key(bridge_file, "public-key", bridge) != 0 || read_key(secret_file, "public-key", public_key) != 0 ||
            read_key(secret_file, "secret-key", secret) != 0) {
            fprintf(stderr, "send_frames: no keys in %s and %s\n", secret_file, bridge_file);
            zmq_close(push);
            return NULL;
        }
        zmq_setsockopt(push, ZMQ_CURVE_SERVERKEY, bridge, sizeof bridge);
        zmq_setsockopt(push, ZMQ_CURVE_PUBLICKEY, public_key, sizeof public_key);
        zmq_setsockopt(push, ZMQ_CURVE_SECRETKEY, secret, sizeof secret);
    }
    if (zmq_connect(push, endpoint) != 0) {
        fprintf(stderr, "send_frames: %s: %s\n", endpoint, zmq_strerror(zmq_errno()));
        zmq_close(push);
        return NULL;
    }
    return push;
}

/* A bright disc that drifts sideways, and a point that absorbs light. */
static void draw(uint64_t sequence) {
    const int centre = 20 + (int)(sequence % (WIDTH - 40));
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < WIDTH; column++) {
            const int x = column - centre, y = row - HEIGHT / 2, square = x * x + y * y;
            grey[row][column] = (uint8_t)(square < 400 ? 200 : 40 + (row * 7 + column * 3) % 20);
            absorbed[row][column] = (uint16_t)(square < 25 ? 60000 : 100);
        }
    }
}

static size_t write_extensions(const struct sonosweep_header *header, int photoacoustic) {
    const double mechanical_index = 0.7, laser_energy_mj = 12.5;
    struct sonosweep_imu_sample imu[2];
    size_t used = 0;
    memset(imu, 0, sizeof imu);
    for (int i = 0; i < 2; i++) {
        imu[i].timestamp_ns = header->timestamp_ns - 5000000u * (uint64_t)(1 - i);
        imu[i].acceleration_m_s2[2] = 9.81f;
    }
    used = sonosweep_append_extension(extensions, used, sizeof extensions, SONOSWEEP_EXT_IMU, imu, sizeof imu);
    if (photoacoustic) {
        return sonosweep_append_extension(extensions, used, sizeof extensions, SONOSWEEP_EXT_LASER_ENERGY, &laser_energy_mj, 8);
    }
    return sonosweep_append_extension(extensions, used, sizeof extensions, SONOSWEEP_EXT_MECHANICAL_INDEX, &mechanical_index, 8);
}

/* Waits where the bridge holds us back. 0: sent. */
static int send_frame(void *push, struct sonosweep_header *header) {
    const int photoacoustic = header->modality == SONOSWEEP_PHOTOACOUSTIC;
    const void *samples = photoacoustic ? (const void *)absorbed : (const void *)grey;
    const size_t sample_bytes = photoacoustic ? sizeof absorbed : sizeof grey;
    const size_t extension_bytes = write_extensions(header, photoacoustic);
    sonosweep_seal(header, extensions, extension_bytes, samples, sample_bytes);
    if (zmq_send(push, header, sizeof *header, ZMQ_SNDMORE) < 0 ||
        zmq_send(push, extensions, extension_bytes, ZMQ_SNDMORE) < 0 || zmq_send(push, samples, sample_bytes, 0) < 0) {
        fprintf(stderr, "send_frames: %s\n", zmq_strerror(zmq_errno()));
        return -1;
    }
    return 0;
}

/* Straight ahead, turning a little about the lateral axis. */
static void place(struct sonosweep_header *header) {
    const double angle = 0.002 * (double)header->sequence, step = STEP_MM * (double)header->sequence;
    double *m = header->image_to_reference;
    m[0] = SPACING_MM;
    m[5] = SPACING_MM * cos(angle), m[6] = -sin(angle);
    m[9] = SPACING_MM * sin(angle), m[10] = cos(angle), m[11] = step;
    m[15] = 1.0;
    header->pose_status = SONOSWEEP_POSE_OK;
}

static int send_sweep(void *push, uint64_t frames, double frames_per_s) {
    const uint64_t start_ns = now_ns(), boot_id = random_id();
    for (uint64_t sequence = 0; sequence < frames; sequence++) {
        const uint64_t due_ns = start_ns + (uint64_t)(1e9 * (double)sequence / frames_per_s);
        const struct timespec due = {(time_t)(due_ns / 1000000000u), (long)(due_ns % 1000000000u)};
        const int photoacoustic = sequence % 2 == 1;
        struct sonosweep_header header;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
        }
        sonosweep_header_init(&header);
        header.boot_id = boot_id;
        header.sequence = sequence;
        header.timestamp_ns = now_ns();
        header.flags = sequence + 1 == frames ? SONOSWEEP_LAST_OF_SWEEP : 0;
        header.width = WIDTH;
        header.height = HEIGHT;
        header.modality = photoacoustic ? SONOSWEEP_PHOTOACOUSTIC : SONOSWEEP_BMODE;
        header.sample_type = photoacoustic ? SONOSWEEP_UINT16 : SONOSWEEP_UINT8;
        header.wavelength_nm = photoacoustic ? 800.0 : 0.0;
        header.sample_range[1] = photoacoustic ? 65535.0 : 255.0;
        header.orientation = SONOSWEEP_MF;
        header.geometry = SONOSWEEP_LINEAR;
        header.spacing_mm[0] = header.spacing_mm[1] = SPACING_MM;
        header.depth_mm = HEIGHT * SPACING_MM;
        place(&header);
        draw(sequence);
        if (send_frame(push, &header) != 0) {
            return -1;
        }
    }
    return 0;
}

int main(int count, char **words) {
    const uint64_t frames = count > 2 ? strtoull(words[2], NULL, 10) : 200;
    const double frames_per_s = count > 3 ? strtod(words[3], NULL) : 30.0;
    void *context, *push;
    int status = 1;
    if ((count != 2 && count != 3 && count != 4 && count != 6) || frames == 0 || !(frames_per_s > 0)) {
        fprintf(stderr, "usage: send_frames ENDPOINT [FRAMES [FRAMES_PER_S [MY.key_secret BRIDGE.key]]]\n");
        return 2;
    }
    context = zmq_ctx_new();
    push = open_push(context, words[1], count > 5 ? words[4] : NULL, count > 5 ? words[5] : NULL);
    if (push != NULL) {
        status = send_sweep(push, frames, frames_per_s) == 0 ? 0 : 1;
        sleep(1); /* hanging up at once would throw away what a busy bridge has not read yet */
        zmq_close(push);
    }
    zmq_ctx_term(context); /* gives what is queued five seconds to leave */
    return status;
}
