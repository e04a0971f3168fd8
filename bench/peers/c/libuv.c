/* SPDX-License-Identifier: MIT */
/*
 * libuv's rows, on its one loop.
 *
 * http_hello:            the hello server.
 * copy_small, copy_big:  uv_fs_copyfile, 64 at a time, on its pool of four threads.
 */
#include "hello.h"

#include <unistd.h>
#include <uv.h>

#define AT_ONCE     64
#define SMALL_FILES 10000
#define SMALL_SIZE  4096
#define BIG_FILES   8
#define BIG_SIZE    (64L * 1024 * 1024)

struct client {
    uv_tcp_t tcp;
    struct hello_connection connection;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle); /* the client: tcp is its first field */
}

static void give_buffer(uv_handle_t *handle, size_t wanted, uv_buf_t *buffer)
{
    struct hello_connection *connection = &((struct client *)handle)->connection;

    (void)wanted;
    *buffer = uv_buf_init(connection->request + connection->have,
                          (unsigned)(sizeof(connection->request) - connection->have));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
    uv_buf_t answer = uv_buf_init((char *)HELLO_ANSWER, HELLO_ANSWER_SIZE);

    (void)buffer;
    if (n < 0)
        uv_close((uv_handle_t *)stream, on_closed);
    else if (n > 0 && hello_add(&((struct client *)stream)->connection, (size_t)n))
        peer_check(uv_try_write(stream, &answer, 1) == (int)HELLO_ANSWER_SIZE, "write");
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct client *client = calloc(1, sizeof(*client));

    peer_check(client != NULL && status == 0, "connection");
    uv_tcp_init(listener->loop, &client->tcp);
    peer_check(uv_accept(listener, (uv_stream_t *)&client->tcp) == 0, "accept");
    uv_tcp_nodelay(&client->tcp, 1);
    uv_read_start((uv_stream_t *)&client->tcp, give_buffer, on_read);
}

static double serve(int workers)
{
    struct sockaddr_in address;
    uv_tcp_t listener;
    uv_os_fd_t fd;

    (void)workers;
    uv_ip4_addr("127.0.0.1", 0, &address);
    uv_tcp_init(uv_default_loop(), &listener);
    peer_check(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0) == 0, "bind");
    peer_check(uv_listen((uv_stream_t *)&listener, SOMAXCONN, on_connection) == 0, "listen");
    uv_fileno((uv_handle_t *)&listener, &fd);
    hello_print_port(fd);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return 0;
}

static char folder[64];
static int next_file, file_count;

static void name_of(char *text, size_t size, const char *kind, int number)
{
    snprintf(text, size, "%s/%s-%d", folder, kind, number);
}

static void copy_next(uv_fs_t *request);

static void on_copied(uv_fs_t *request)
{
    peer_check(request->result == 0, "copy");
    uv_fs_req_cleanup(request);
    copy_next(request);
}

static void copy_next(uv_fs_t *request)
{
    char from[100], to[100];

    if (next_file == file_count)
        return;
    name_of(from, sizeof(from), "from", next_file);
    name_of(to, sizeof(to), "to", next_file);
    next_file++;
    uv_fs_copyfile(uv_default_loop(), request, from, to, 0, on_copied);
}

static double copy_once(void)
{
    uv_fs_t requests[AT_ONCE];
    uint64_t start = peer_now_ns();

    next_file = 0;
    for (int i = 0; i < AT_ONCE; i++)
        copy_next(&requests[i]);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return peer_ns_per(start, 1) / 1e6;
}

static void make_files(size_t size)
{
    char *data = malloc(size), name[100];

    peer_check(data != NULL, "memory");
    memset(data, 'w', size);
    for (int i = 0; i < file_count; i++) {
        FILE *file;

        name_of(name, sizeof(name), "from", i);
        file = fopen(name, "w");
        peer_check(file && fwrite(data, 1, size, file) == size && fclose(file) == 0, "write");
    }
    free(data);
}

static void remove_files(const char *kind)
{
    char name[100];

    for (int i = 0; i < file_count; i++) {
        name_of(name, sizeof(name), kind, i);
        unlink(name);
    }
}

/* A warm-up, and the best of three, as the floor does it. */
static double measure_copy(int count, size_t size)
{
    double best = 0;

    strcpy(folder, "/dev/shm/weft-bench-XXXXXX");
    peer_check(mkdtemp(folder) != NULL, "mkdtemp in /dev/shm");
    file_count = count;
    make_files(size);
    for (int round = 0; round < 4; round++) {
        double value = copy_once();

        remove_files("to");
        if (round > 0 && (best == 0 || value < best))
            best = value;
    }
    remove_files("from");
    rmdir(folder);
    return best;
}

static double measure_small(int workers)
{
    (void)workers;
    return measure_copy(SMALL_FILES, SMALL_SIZE);
}

static double measure_big(int workers)
{
    (void)workers;
    return measure_copy(BIG_FILES, BIG_SIZE);
}

int main(int argc, char **argv)
{
    static const struct peer_row rows[] = {
        {"http_hello", serve, ""},
        {"copy_small", measure_small, "ms"},
        {"copy_big", measure_big, "ms"},
    };

    return peer_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0]));
}
