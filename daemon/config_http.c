/* SPDX-License-Identifier: MIT */
/*
 * config_http: what [http] needs beyond its values: the address, the token, and whom it speaks for.
 *
 * I1  Only loopback: what is spoken there is not encrypted.
 * I2  The token itself is forgotten when its digest is made; nothing that is printed, logged or
 *     answered could show it.
 * I3  Whom the token speaks for is never root by silence.
 *
 * Blocks (a small file, the user database): as config_load().
 */
#include "daemon/accounts.h"
#include "daemon/config_table.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_MIN 16
#define TOKEN_MAX 512

static const char *name_of(const struct config *config)
{
    return config->path ? config->path : "configuration";
}

/* ---- the address ----------------------------------------------------------------------------- */

static bool is_loopback(const char *host)
{
    struct in_addr four;
    if (inet_pton(AF_INET, host, &four) == 1)
        return (ntohl(four.s_addr) >> 24) == 127;
    return strcmp(host, "::1") == 0;
}

/* "127.0.0.1:8080" or "[::1]:8080", cut in two.  Errors: -EINVAL. */
static int split(const char *text, char host[static CONFIG_HOST_MAX], uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : 0;
    char *end;
    if (size > 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    } else if (memchr(text, ':', size)) {
        return -EINVAL; /* an IPv6 address without its brackets */
    }
    if (size == 0 || size >= CONFIG_HOST_MAX || !isdigit((unsigned char)colon[1]))
        return -EINVAL;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end || port > UINT16_MAX)
        return -EINVAL;
    memcpy(host, text, size);
    host[size] = '\0';
    *ret_port = (uint16_t)port;
    return 0;
}

static int find_address(struct config *config, struct problem *problem)
{
    struct config_door *door = &config->door;
    if (split(config->http.listen, door->host, &door->port) < 0)
        return problem_set(problem, -EINVAL,
                           "%s: http.listen must be 127.0.0.1:PORT or [::1]:PORT, not '%s'",
                           name_of(config), config->http.listen);
    if (is_loopback(door->host))
        return 0;
    return problem_set(
        problem, -EINVAL,
        "%s: http.listen: %s is not an address of loopback: weftd speaks HTTP without "
        "encryption, on 127.0.0.1 or [::1] alone; for others, put a proxy with TLS "
        "before it",
        name_of(config), door->host);
}

/* ---- the token ------------------------------------------------------------------------------- */

static int check_file(const struct config *config, int fd, struct problem *problem)
{
    const char *path = config->http.token_file;
    struct stat status;
    if (fstat(fd, &status) < 0)
        return problem_set(problem, -errno, "%s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return problem_set(problem, -EINVAL, "http.token_file: %s is no file", path);
    if (status.st_uid != 0 && status.st_uid != geteuid())
        return problem_set(problem, -EINVAL,
                           "http.token_file: %s belongs to another user (uid %u) than weftd's, %u",
                           path, (unsigned)status.st_uid, (unsigned)geteuid());
    if (status.st_mode & (S_IRWXO | S_IWGRP))
        return problem_set(problem, -EINVAL,
                           "http.token_file: %s is open to others (mode %04o): chmod 600 it, and "
                           "make a new token",
                           path, (unsigned)status.st_mode & 07777U);
    return 0;
}

/* The file's first TOKEN_MAX and some bytes.  Errors: -errno. */
static ssize_t read_some(int fd, char *buffer, size_t size)
{
    ssize_t total = 0, got;
    while ((got = read(fd, buffer + total, size - (size_t)total)) > 0)
        total += got;
    return got < 0 ? -errno : total;
}

static int take_token(struct config *config, const char *token, size_t size,
                      struct problem *problem)
{
    const char *path = config->http.token_file;
    while (size > 0 && isspace((unsigned char)token[size - 1]))
        size--;
    for (size_t i = 0; i < size; i++) {
        if (!isgraph((unsigned char)token[i]))
            return problem_set(problem, -EINVAL,
                               "http.token_file: %s must hold one word of printable characters",
                               path);
    }
    if (size < TOKEN_MIN || size > TOKEN_MAX)
        return problem_set(
            problem, -EINVAL,
            "http.token_file: the token in %s must have %d to %d characters, such as "
            "those of `openssl rand -hex 32`",
            path, TOKEN_MIN, TOKEN_MAX);
    int rc = config_token_digest(token, size, config->door.digest);
    return rc < 0 ? problem_set(problem, rc, "http.token_file: out of memory") : 0;
}

int config_token_digest(const char *token, size_t size,
                        unsigned char ret_digest[static CONFIG_DIGEST_SIZE])
{
    return EVP_Digest(token, size, ret_digest, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

static int read_token(struct config *config, struct problem *problem)
{
    const char *path = config->http.token_file;
    char buffer[TOKEN_MAX + 64];
    if (path[0] != '/')
        return problem_set(
            problem, -EINVAL,
            "%s: http.listen needs http.token_file, the absolute path of a file with "
            "a token: (umask 077; openssl rand -hex 32 >FILE)",
            name_of(config));
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return problem_set(problem, -errno, "http.token_file: cannot read %s: %s", path,
                           strerror(errno));
    int err = check_file(config, fd, problem);
    ssize_t size = err ? 0 : read_some(fd, buffer, sizeof buffer);
    close(fd);
    if (size < 0)
        err = problem_set(problem, (int)size, "http.token_file: cannot read %s: %s", path,
                          strerror((int)-size));
    if (!err)
        err = take_token(config, buffer, (size_t)size, problem);
    explicit_bzero(buffer, sizeof buffer); /* I2 */
    return err;
}

/* ---- for whom it speaks ---------------------------------------------------------------------- */

static int find_user(struct config *config, struct problem *problem)
{
    const char *user = config->http.user;
    config->door.uid = geteuid();
    config->door.gid = getegid();
    if (!user[0] && geteuid() != 0)
        return 0;
    if (!user[0]) /* I3 */
        return problem_set(problem, -EINVAL,
                           "%s: weftd runs as root: http.user must say for which user the token of "
                           "http.token_file speaks",
                           name_of(config));
    int rc = accounts_user(user, &config->door.uid, &config->door.gid);
    if (rc == -ENOENT)
        return problem_set(problem, -EINVAL, "%s: http.user: there is no user '%s'",
                           name_of(config), user);
    return rc < 0 ? problem_set(problem, rc, "%s: http.user: cannot look for user '%s': %s",
                                name_of(config), user, strerror(-rc))
                  : 0;
}

int config_finish_http(struct config *config, struct problem *problem)
{
    if (!config->http.listen[0])
        return 0;
    int err = find_address(config, problem);
    if (!err)
        err = read_token(config, problem);
    if (!err)
        err = find_user(config, problem);
    config->door.is_open = !err;
    return err;
}
