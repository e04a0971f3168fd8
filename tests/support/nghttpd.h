/* SPDX-License-Identifier: MIT */
/* An nghttpd (Debian's nghttp2-server) that serves a folder with files of several sizes of the
 * pattern, over TLS or without. */
#pragma once
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "support/web.h"
#include "unit/tls/certificates.h"

enum { LARGE = 3000000, MEDIUM = 700000, SMALL = 10 };

struct nghttpd {
    struct folder folder;
    char ca[128], certificate[128], key[128];
    uint16_t port;
    pid_t pid;
};

static inline const char *in_folder(struct nghttpd *server, const char *name)
{
    return folder_file(&server->folder, name);
}

static inline void write_bytes(const char *path, size_t size)
{
    FILE *file = fopen(path, "we");
    EXPECT(file != NULL);
    for (size_t i = 0; i < size; i++)
        fputc(pattern(i), file);
    EXPECT_EQ(fclose(file), 0);
}

static inline void write_certificates(struct nghttpd *server)
{
    struct identity authority =
        identity_make(&(struct identity_options){.name = "CA", .authority = true}, NULL);
    struct identity identity = identity_make(
        &(struct identity_options){.name = "server", .names = "IP:127.0.0.1"}, &authority);
    snprintf(server->ca, sizeof(server->ca), "%s",
             folder_write(&server->folder, "ca.pem", authority.chain_pem));
    snprintf(server->certificate, sizeof(server->certificate), "%s",
             folder_write(&server->folder, "cert.pem", identity.chain_pem));
    snprintf(server->key, sizeof(server->key), "%s",
             folder_write(&server->folder, "key.pem", identity.key_pem));
    identity_destroy(&authority);
    identity_destroy(&identity);
}

static inline int bound_socket(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT(fd >= 0);
    EXPECT_EQ(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* A port that was free a moment ago: nghttpd cannot be asked which one it got. */
static inline uint16_t free_port(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    int fd = bound_socket(0);
    EXPECT_EQ(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static inline bool answers(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return connected;
}

__attribute__((noreturn)) static inline void exec_nghttpd(struct nghttpd *server, bool tls)
{
    char port[16];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(port, sizeof(port), "%u", server->port);
    if (tls)
        execlp("nghttpd", "nghttpd", "-a", "127.0.0.1", "-d", server->folder.path, "--echo-upload",
               port, server->key, server->certificate, NULL);
    else
        execlp("nghttpd", "nghttpd", "-a", "127.0.0.1", "-d", server->folder.path, "--echo-upload",
               "--no-tls", port, NULL);
    _exit(127);
}

/* Returns: false when there is none here. */
static inline bool nghttpd_run(struct nghttpd *server, bool tls)
{
    for (;;) { /* until nobody took the port in between */
        int status;
        server->port = free_port();
        server->pid = fork();
        EXPECT(server->pid >= 0);
        if (server->pid == 0)
            exec_nghttpd(server, tls);
        while (waitpid(server->pid, &status, WNOHANG) == 0) {
            if (answers(server->port))
                return true;
            usleep(10000);
        }
        if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
            return false;
    }
}

/** Make the folder and serve it.  Returns: false when there is no nghttpd here; stop it also
 * then. */
static inline bool nghttpd_start(struct nghttpd *server, bool tls)
{
    *server = (struct nghttpd){.folder = folder_make()};
    write_certificates(server);
    write_bytes(in_folder(server, "large"), LARGE);
    write_bytes(in_folder(server, "medium"), MEDIUM);
    write_bytes(in_folder(server, "small"), SMALL);
    if (nghttpd_run(server, tls))
        return true;
    server->pid = 0;
    return false;
}

/** A server that is all zeroes was never started. */
static inline void nghttpd_stop(struct nghttpd *server)
{
    static const char *const files[] = {"ca.pem", "cert.pem", "key.pem", "large",
                                        "medium", "small",    NULL};
    if (server->pid > 0) {
        kill(server->pid, SIGKILL);
        waitpid(server->pid, NULL, 0);
    }
    if (server->folder.path[0])
        folder_remove(&server->folder, files);
}
