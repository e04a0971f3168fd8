/* SPDX-License-Identifier: MIT */
/* config_http: the address, the token's file and its user. */
#include "daemon/config.h"

#include "support/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN "0123456789abcdef"

static char token_file[4096];
static struct problem problem;
static struct config *config;

static void write_token(const char *text, mode_t mode)
{
    FILE *file = fopen(token_file, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    cr_assert_eq(chmod(token_file, mode), 0);
}

static int load(const char *http)
{
    char text[8192 + 64];
    config_free(config);
    config = NULL;
    problem = (struct problem){0};
    snprintf(text, sizeof text, "[daemon]\nstate_dir = /tmp\n[http]\nuser = %s\n%s",
             geteuid() == 0 ? "root" : "", http);
    return config_parse("test.conf", text, strlen(text), &problem, &config);
}

static int load_with_token(const char *address)
{
    char text[8192];
    snprintf(text, sizeof text, "listen = %s\ntoken_file = %s\n", address, token_file);
    return load(text);
}

static void refused(const char *address, const char *words)
{
    cr_assert_eq(load_with_token(address), -EINVAL, "%s", address);
    cr_assert_not_null(strstr(problem.text, words), "%s", problem.text);
    cr_assert_null(strstr(problem.text, TOKEN));
}

static void begin(void)
{
    snprintf(token_file, sizeof token_file, "/tmp/weft-token-%d", (int)getpid());
    write_token(TOKEN "\n", 0600);
}

static void end(void)
{
    config_free(config);
    config = NULL;
    unlink(token_file);
}

Test(config_http, there_is_none_without_listen)
{
    cr_assert_eq(load("token_file = /nowhere\n"), 0, "%s", problem.text);
    cr_assert_not(config->door.is_open);
    end();
}

Test(config_http, addresses_of_loopback_are_taken, .init = begin, .fini = end)
{
    cr_assert_eq(load_with_token("127.0.0.1:8080"), 0, "%s", problem.text);
    cr_assert(config->door.is_open);
    cr_assert_str_eq(config->door.host, "127.0.0.1");
    cr_assert_eq(config->door.port, 8080);
    cr_assert_eq(config->door.uid, geteuid());
    cr_assert_eq(load_with_token("[::1]:0"), 0, "%s", problem.text);
    cr_assert_str_eq(config->door.host, "::1");
}

Test(config_http, other_addresses_are_refused, .init = begin, .fini = end)
{
    refused("0.0.0.0:8080", "loopback");
    refused("192.0.2.1:8080", "loopback");
    refused("[::]:8080", "loopback");
    refused("[::ffff:127.0.0.1]:8080", "loopback");
    refused("example.org:8080", "loopback");
    refused("8080", "127.0.0.1:PORT");
    refused(":8080", "127.0.0.1:PORT");
    refused("::1:8080", "127.0.0.1:PORT");
    refused("127.0.0.1", "127.0.0.1:PORT");
    refused("127.0.0.1:", "127.0.0.1:PORT");
    refused("127.0.0.1:65536", "127.0.0.1:PORT");
    refused("127.0.0.1:-1", "127.0.0.1:PORT");
}

Test(config_http, digest_is_of_the_word_alone, .init = begin, .fini = end)
{
    unsigned char digest[CONFIG_DIGEST_SIZE];
    cr_assert_eq(config_token_digest(TOKEN, strlen(TOKEN), digest), 0);
    cr_assert_eq(load_with_token("127.0.0.1:0"), 0, "%s", problem.text);
    cr_assert_eq(memcmp(config->door.digest, digest, sizeof digest), 0);
    write_token(TOKEN "  \n\n", 0640);
    cr_assert_eq(load_with_token("127.0.0.1:0"), 0, "%s", problem.text);
    cr_assert_eq(memcmp(config->door.digest, digest, sizeof digest), 0);
    write_token(TOKEN "x\n", 0600);
    cr_assert_eq(load_with_token("127.0.0.1:0"), 0, "%s", problem.text);
    cr_assert_neq(memcmp(config->door.digest, digest, sizeof digest), 0);
}

Test(config_http, bad_token_files_are_refused_by_name, .init = begin, .fini = end)
{
    write_token(TOKEN, 0644);
    refused("127.0.0.1:0", "open to others");
    write_token(TOKEN, 0620);
    refused("127.0.0.1:0", "open to others");
    write_token("0123456789abcde\n", 0600);
    refused("127.0.0.1:0", "16 to 512");
    write_token("", 0600);
    refused("127.0.0.1:0", "16 to 512");
    write_token(TOKEN " " TOKEN, 0600);
    refused("127.0.0.1:0", "one word");
    unlink(token_file);
    if (geteuid() == 0) {
        write_token(TOKEN, 0600);
        cr_assert_eq(chown(token_file, 65534, (gid_t)-1), 0);
        refused("127.0.0.1:0", "belongs to another user (uid 65534)");
        unlink(token_file);
    }
    cr_assert_eq(load_with_token("127.0.0.1:0"), -ENOENT);
    cr_assert_not_null(strstr(problem.text, token_file));
    cr_assert_eq(load("listen = 127.0.0.1:0\ntoken_file = /dev/zero\n"), -EINVAL);
    cr_assert_not_null(strstr(problem.text, "is no file"), "%s", problem.text);
    cr_assert_eq(load("listen = 127.0.0.1:0\n"), -EINVAL);
    cr_assert_not_null(strstr(problem.text, "http.token_file"), "%s", problem.text);
}

Test(config_http, user_must_be_there_and_root_is_named, .init = begin, .fini = end)
{
    char text[8192];
    snprintf(text, sizeof text, "listen = 127.0.0.1:0\ntoken_file = %s\nuser = no-such-user\n",
             token_file);
    cr_assert_eq(load(text), -EINVAL);
    cr_assert_not_null(strstr(problem.text, "no-such-user"), "%s", problem.text);
    snprintf(text, sizeof text, "listen = 127.0.0.1:0\ntoken_file = %s\nuser =\n", token_file);
    cr_assert_eq(load(text), geteuid() == 0 ? -EINVAL : 0, "%s", problem.text);
}
