/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host variant has no source that could be hashed, so what stands for it is the build of the program or library that it lies in
 * (the linker's build id, else size and time of the file) and its place there. That is too careful, for any change of that
 * file makes all its kernels new; the alternative, hashing the function's bytes, misses what it calls.
 */
#include "core/code_identity.h"
#include "base/hash.h"

#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct search {
    uintptr_t address;
    pel_sha256 sha;
    bool found;
} search;

/* The build id among the notes of [at, end). */
static bool hash_build_id(pel_sha256 *sha, const unsigned char *at, const unsigned char *end) {
    while ((size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
        ElfW(Nhdr) note;
        memcpy(&note, at, sizeof note);
        uint64_t name = (note.n_namesz + 3ull) & ~3ull, content = (note.n_descsz + 3ull) & ~3ull;
        at += sizeof note;
        if (name + content > (uint64_t)(end - at)) {
            return false;
        }
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(at, "GNU", 4) == 0 && note.n_descsz > 0) {
            pel_sha256_update(sha, at + name, note.n_descsz);
            return true;
        }
        at += name + content;
    }
    return false;
}

static bool hash_file(pel_sha256 *sha, const char *path) {
    struct stat facts;
    if (stat(*path ? path : "/proc/self/exe", &facts) != 0) {
        return false;
    }
    const int64_t numbers[] = {(int64_t)facts.st_size, (int64_t)facts.st_mtim.tv_sec, (int64_t)facts.st_mtim.tv_nsec,
                               (int64_t)facts.st_ino};
    pel_sha256_update(sha, numbers, sizeof numbers);
    return true;
}

static bool holds(const struct dl_phdr_info *object, uintptr_t address) {
    for (ElfW(Half) i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && address - (object->dlpi_addr + part->p_vaddr) < part->p_memsz) {
            return true;
        }
    }
    return false;
}

static int look_at(struct dl_phdr_info *object, size_t size, void *user) {
    search *s = user;
    (void)size;
    if (!holds(object, s->address)) {
        return 0;
    }
    for (ElfW(Half) i = 0; i < object->dlpi_phnum && !s->found; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_NOTE) {
            const unsigned char *notes = (const unsigned char *)(object->dlpi_addr + part->p_vaddr);
            s->found = hash_build_id(&s->sha, notes, notes + part->p_memsz);
        }
    }
    s->found = s->found || hash_file(&s->sha, object->dlpi_name);
    const uint64_t place = (uint64_t)(s->address - object->dlpi_addr);
    pel_sha256_update(&s->sha, &place, sizeof place);
    return 1;
}

uint64_t pel_code_identity(void (*function)(void)) {
    search s = {.address = (uintptr_t)function};
    uint8_t digest[32];
    uint64_t id;
    if (!function) {
        return 0;
    }
    pel_sha256_init(&s.sha);
    (void)dl_iterate_phdr(look_at, &s);
    if (!s.found) {
        struct timespec now = {0, 0};
        (void)clock_gettime(CLOCK_REALTIME, &now);
        const int64_t numbers[] = {(int64_t)getpid(), (int64_t)now.tv_sec, (int64_t)now.tv_nsec};
        pel_sha256_update(&s.sha, numbers, sizeof numbers);
    }
    pel_sha256_final(&s.sha, digest);
    memcpy(&id, digest, sizeof id);
    return id;
}
