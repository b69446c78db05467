/* What a probe's front end sends to sonosweep: one ZeroMQ message of three parts for each image.
 *
 *   part 1  struct sonosweep_header, 320 bytes
 *   part 2  extension blocks, may be empty
 *   part 3  the samples, row by row, 8 or 16 bits each
 *
 * Everything is little-endian. Send over a PUSH socket with a bounded high-water mark; PUB drops images silently. Set no
 * ZeroMQ heartbeat on it: a bridge that holds you back does not answer heartbeats, and the link would be cut.
 *
 *   struct sonosweep_header header;
 *   sonosweep_header_init(&header);
 *   header.boot_id = ...;  fill in the rest
 *   sonosweep_seal(&header, extensions, extension_size, samples, sample_bytes);
 *   zmq_send(push, &header, sizeof header, ZMQ_SNDMORE);
 *   zmq_send(push, extensions, extension_size, ZMQ_SNDMORE);
 *   zmq_send(push, samples, sample_bytes, 0);
 *
 * C99 or C++11; no allocation, no library but string.h. A complete sender is examples/send_frames.c.
 */
#ifndef SONOSWEEP_WIRE_H
#define SONOSWEEP_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__)
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "sonosweep_wire.h writes memory as it lies and needs a little-endian machine"
#endif
#endif

#define SONOSWEEP_MAGIC 0x50575353u /* the bytes S S W P */
#define SONOSWEEP_VERSION 1u

enum sonosweep_flags { SONOSWEEP_LAST_OF_SWEEP = 1 };

enum sonosweep_modality { SONOSWEEP_BMODE = 1, SONOSWEEP_PHOTOACOUSTIC = 2 };

enum sonosweep_sample_type { SONOSWEEP_UINT8 = 1, SONOSWEEP_UINT16 = 2 };

/* How the samples lie in memory, in PLUS's letters: columns rise towards the Marked or Unmarked side of the transducer, rows
 * rise away from it (Far) or towards it (Near). The first sample of an MF image is next to the transducer on its unmarked
 * side. The bridge flips the others to MF. All other fields of the header describe the MF image. */
enum sonosweep_orientation { SONOSWEEP_MF = 1, SONOSWEEP_MN = 2, SONOSWEEP_UF = 3, SONOSWEEP_UN = 4 };

/* Linear: columns x rows of an image. Convex: beams x samples along a beam, converted to an image by the receiver. */
enum sonosweep_geometry { SONOSWEEP_LINEAR = 1, SONOSWEEP_CONVEX = 2 };

enum sonosweep_pose_status { SONOSWEEP_POSE_MISSING = 0, SONOSWEEP_POSE_OK = 1, SONOSWEEP_POSE_INVALID = 2 };

#pragma pack(push, 1)

struct sonosweep_header {
    uint32_t magic;          /* SONOSWEEP_MAGIC */
    uint16_t version;        /* SONOSWEEP_VERSION */
    uint16_t header_size;    /* 320 */
    uint32_t flags;          /* enum sonosweep_flags; other bits 0 */
    uint32_t crc32;          /* over header (this field 0), extensions and samples: sonosweep_seal */
    uint64_t boot_id;        /* random at each start of the front end */
    uint64_t sequence;       /* 0 for the first frame of a sweep, then rises by 1, of whatever modality; below 2^63 */
    uint64_t timestamp_ns;   /* the probe's own clock, of the middle of the acquisition; below 2^63 */
    uint32_t sweep;          /* another number for each sweep */
    uint32_t extension_size; /* bytes of part 2, at most 1 MiB */
    uint32_t payload_size;   /* bytes of part 3: width * height * bytes of a sample */
    uint16_t width;          /* columns, or beams; 2 to 4096 */
    uint16_t height;         /* rows, or samples of a beam; 2 to 4096 */
    uint8_t modality;        /* enum sonosweep_modality */
    uint8_t sample_type;     /* enum sonosweep_sample_type */
    uint8_t orientation;     /* enum sonosweep_orientation, of the samples in part 3 */
    uint8_t geometry;        /* enum sonosweep_geometry; must not change during a sweep, nor may sizes and spacing */
    uint32_t pose_status;    /* enum sonosweep_pose_status */
    double wavelength_nm;    /* photoacoustic: 100 to 20000, or 0 where not told; B-mode: 0 */
    double sample_range[2];  /* the sample values that mean black and white */
    double spacing_mm[2];    /* lateral, axial; convex: of the converted image, both equal */
    double depth_mm;         /* as set by the operator; 0 where not told */
    double radius_mm[2];     /* convex: first and last sample, from the centre of curvature; linear: 0 */
    double angle_deg[2];     /* convex: first and last beam; 0 straight down, positive as columns rise; linear: 0 */
    /* Row-major 4x4 from pixel indices (column, row, 0, 1) of the MF image to millimetres of a fixed system, from a tracker.
     * Columns 0 and 1 have the lengths of spacing_mm within 10 %. Zeros where the pose is missing.
     * Convex: pixel indices of the converted image of W columns, where column c lies at (c - (W - 1) / 2) * spacing and
     * row r at radius_mm[0] * cos(largest |angle|) + r * spacing below the centre of curvature. */
    double image_to_reference[16];
    uint8_t reserved[48]; /* 0 */
};

/* An extension block: this, then `size` bytes of data, then zeros up to a multiple of 8. Each type below at most once in a
 * frame. Types from 0x8000 on are yours: they are kept in the recording. */
struct sonosweep_extension {
    uint16_t type; /* enum sonosweep_extension_type */
    uint16_t reserved;
    uint32_t size;
};

enum sonosweep_extension_type {
    SONOSWEEP_EXT_IMU = 1,              /* struct sonosweep_imu_sample [1 to 1024] */
    SONOSWEEP_EXT_MECHANICAL_INDEX = 2, /* double */
    SONOSWEEP_EXT_THERMAL_INDEX = 3,    /* double */
    SONOSWEEP_EXT_FOCUS = 4,            /* double [1 to 64], depths in mm */
    SONOSWEEP_EXT_LASER_ENERGY = 5,     /* double, mJ */
    /* UTF-8 text of three lines, two newlines and no end: what estimated the pose, the direction it was given (+, -, or empty)
     * and who gave it. For players of recordings; never send it where a tracker measured the pose. At most 1000 bytes. */
    SONOSWEEP_EXT_POSE_ORIGIN = 6,
    SONOSWEEP_EXT_VENDOR = 0x8000
};

/* One reading of the inertial unit, in its own axes. */
struct sonosweep_imu_sample {
    uint64_t timestamp_ns; /* the probe's clock, of the reading itself */
    float acceleration_m_s2[3];
    float angular_velocity_rad_s[3];
    float magnetic_field_ut[3]; /* microtesla; 0 without SONOSWEEP_IMU_MAGNETIC */
    uint32_t flags;             /* SONOSWEEP_IMU_MAGNETIC or 0 */
};

#pragma pack(pop)

#define SONOSWEEP_IMU_MAGNETIC 1u

/* An array of negative size where the compiler lays the structs out otherwise. */
typedef char sonosweep_check_header[sizeof(struct sonosweep_header) == 320 ? 1 : -1];
typedef char sonosweep_check_extension[sizeof(struct sonosweep_extension) == 8 ? 1 : -1];
typedef char sonosweep_check_imu[sizeof(struct sonosweep_imu_sample) == 48 ? 1 : -1];
typedef char sonosweep_check_double[sizeof(double) == 8 ? 1 : -1];

/* CRC-32 as in zlib, Ethernet and PNG. Start with crc = 0; go on with the last result. 64 bytes of table: exchange it for
 * your hardware unit or zlib's crc32() where speed matters. */
static inline uint32_t sonosweep_crc32(uint32_t crc, const void *data, size_t size) {
    static const uint32_t table[16] = {0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u,
                                       0x4db26158u, 0x5005713cu, 0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu,
                                       0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu};
    const uint8_t *byte = (const uint8_t *)data;
    crc = ~crc;
    while (size--) {
        crc ^= *byte++;
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

/* Everything zero but what never changes. */
static inline void sonosweep_header_init(struct sonosweep_header *header) {
    memset(header, 0, sizeof *header);
    header->magic = SONOSWEEP_MAGIC;
    header->version = SONOSWEEP_VERSION;
    header->header_size = (uint16_t)sizeof *header;
}

/* Last before sending: the sizes of the other two parts, and the checksum over all three. */
static inline void sonosweep_seal(struct sonosweep_header *header, const void *extensions, size_t extension_size,
                                  const void *samples, size_t sample_bytes) {
    uint32_t crc;
    header->extension_size = (uint32_t)extension_size;
    header->payload_size = (uint32_t)sample_bytes;
    header->crc32 = 0;
    crc = sonosweep_crc32(0, header, sizeof *header);
    crc = sonosweep_crc32(crc, extensions, extension_size);
    header->crc32 = sonosweep_crc32(crc, samples, sample_bytes);
}

/* Append a block to `buffer` of `capacity` bytes, `used` of them taken. Answers the bytes taken now, 0 where it does not fit. */
static inline size_t sonosweep_append_extension(void *buffer, size_t used, size_t capacity, uint16_t type,
                                                const void *data, uint32_t size) {
    struct sonosweep_extension block;
    uint8_t *at = (uint8_t *)buffer + used;
    size_t padded = ((size_t)size + 7u) & ~(size_t)7u;
    if (size > capacity || used > capacity || capacity - used < sizeof block || capacity - used - sizeof block < padded) {
        return 0;
    }
    block.type = type;
    block.reserved = 0;
    block.size = size;
    memcpy(at, &block, sizeof block);
    memcpy(at + sizeof block, data, size);
    memset(at + sizeof block + size, 0, padded - size);
    return used + sizeof block + padded;
}

#endif
