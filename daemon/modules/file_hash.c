/* SPDX-License-Identifier: MIT */
/*
 * file.hash: a digest of a file, by OpenSSL.
 *
 * I1  OpenSSL is called on threads of the pool only: its error queue is a thread's, and a fiber
 *     may change threads.  The digest's context goes from one slice to the next.
 */
#include "daemon/modules/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

enum { PIECE = 128 * 1024 };

struct hash {
    const char *path, *algorithm;
    int fd; /* -1: not opened yet */
    EVP_MD_CTX *context;
    char *piece;                       /* PIECE bytes */
    char hex[2 * EVP_MAX_MD_SIZE + 1]; /* once done */
};

static int crypto_failed(void)
{
    ERR_clear_error();
    return -EIO;
}

static int begin(struct hash *hash)
{
    hash->fd = file_open(hash->path, NULL);
    if (hash->fd < 0)
        return hash->fd;
    (void)posix_fadvise(hash->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    hash->context = EVP_MD_CTX_new();
    hash->piece = malloc(PIECE);
    if (!hash->context || !hash->piece)
        return -ENOMEM;
    const EVP_MD *digest = EVP_get_digestbyname(hash->algorithm);
    return digest && EVP_DigestInit_ex(hash->context, digest, NULL) ? 0 : crypto_failed();
}

static int end(struct hash *hash)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned size;
    if (!EVP_DigestFinal_ex(hash->context, bytes, &size))
        return crypto_failed();
    for (unsigned i = 0; i < size; i++) {
        hash->hex[2 * i] = digits[bytes[i] >> 4];
        hash->hex[2 * i + 1] = digits[bytes[i] & 15];
    }
    hash->hex[2 * size] = '\0';
    return 0;
}

static int hash_slice(void *arg)
{
    struct hash *hash = arg;
    int rc = hash->fd < 0 ? begin(hash) : 0;
    if (rc < 0)
        return rc;
    for (size_t total = 0; total < FILE_SLICE;) {
        ssize_t n = read(hash->fd, hash->piece, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return end(hash);
        if (!EVP_DigestUpdate(hash->context, hash->piece, (size_t)n))
            return crypto_failed();
        total += (size_t)n;
    }
    return 1;
}

static int hash_clean_up(void *arg)
{
    struct hash *hash = arg;
    EVP_MD_CTX_free(hash->context);
    free(hash->piece);
    if (hash->fd >= 0)
        close(hash->fd);
    return 0;
}

int file_hash_run(struct weft_attempt *attempt)
{
    struct hash hash = {
        .path = weft_arg_text(attempt, "path", ""),
        .algorithm = weft_arg_text(attempt, "algorithm", "sha256"),
        .fd = -1,
    };
    int rc = file_in_slices(hash_slice, &hash);
    file_clean_up(hash_clean_up, &hash);
    if (rc == -ECANCELED || rc == -ETIMEDOUT)
        return rc;
    if (rc < 0)
        return weft_attempt_fail(attempt, rc, "cannot hash %s", hash.path);
    return weft_result_text(attempt, "hash", hash.hex);
}
