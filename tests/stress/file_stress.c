/* SPDX-License-Identifier: MIT */
/*
 * Fibers read and write files while their scopes end at random, on both backends.
 *
 *   - Each buffer is poisoned as soon as the call has returned, kept for a while, and must still be
 *     poisoned then: the kernel and the pool have let go of it.
 *   - A record of a file is written whole or, where the call said so, not at all; what is read is
 *     always a whole record.
 *   - Words that one fiber writes into a pipe arrive at another, which reads them with requests
 * that are cancelled all the time: each comes once, in order.
 */
#include "support/stress.h"

#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include "core/ring.h"
#include "io/file/file.h"

enum {
    FIBERS = 24,
    STEPS = 150 / STRESS_SLOW + 1,
    RECORD = 4096,
    QUARANTINE = 8,
    WORDS = 2000 / STRESS_SLOW,
    POISON = 0xa5,
};

/* A round, and who does its work. */
struct game {
    struct stress_round round;
    enum weft_file_backend backend;
};

struct world {
    struct chaos chaos;
    struct weft_file *file;
    int pipe[2];
    bool has_ring;
};

struct player {
    struct world *world;
    unsigned number;
    struct dice dice;
    unsigned char last; /* what the record holds; a write that was cancelled may not change it */
    unsigned char *kept[QUARANTINE];
    unsigned next;
};

/* A buffer of the time before, still as it was left. */
static unsigned char *take_buffer(struct player *player)
{
    unsigned char *buffer = player->kept[player->next % QUARANTINE];

    if (!buffer) {
        buffer = malloc(RECORD);
        EXPECT(buffer);
        memset(buffer, POISON, RECORD);
    }
    for (size_t i = 0; i < RECORD; i++)
        EXPECT_EQ(buffer[i], POISON);
    player->kept[player->next++ % QUARANTINE] = buffer;
    return buffer;
}

static void write_record(struct player *player)
{
    unsigned char *buffer = take_buffer(player);
    unsigned char value = (unsigned char)dice_roll(&player->dice, 160);
    size_t written;

    memset(buffer, value, RECORD);
    int r =
        weft_file_pwrite(player->world->file, buffer, RECORD, player->number * RECORD, &written);
    memset(buffer, POISON, RECORD);
    EXPECT(r == 0 || stress_ended(r));
    EXPECT_EQ(written, r == 0 ? RECORD : 0);
    if (r == 0)
        player->last = value;
}

static void read_record(struct player *player)
{
    unsigned char *buffer = take_buffer(player);
    ssize_t n = weft_file_pread(player->world->file, buffer, RECORD, player->number * RECORD);

    EXPECT(n == RECORD || stress_ended((int)n));
    for (size_t i = 0; n == RECORD && i < RECORD; i++)
        EXPECT_EQ(buffer[i], player->last);
    memset(buffer, POISON, RECORD);
}

static void play_once(struct player *player)
{
    struct stat status;
    int r;

    switch (dice_roll(&player->dice, 8)) {
    case 0:
        r = weft_file_stat(player->world->file, &status);
        EXPECT(r == 0 ? status.st_size == FIBERS * RECORD : stress_ended(r));
        break;
    case 1:
    case 2:
    case 3:
        write_record(player);
        break;
    default:
        read_record(player);
    }
}

static int play_records(void *arg)
{
    struct player *player = arg;
    struct weft_scope scope;

    for (int i = 0; i < STEPS; i++) {
        chaos_enter(&player->world->chaos, player->number, &player->dice, &scope);
        play_once(player);
        chaos_leave(&player->world->chaos, player->number, &scope);
    }
    read_record(player);
    for (int i = 0; i < QUARANTINE; i++)
        free(take_buffer(player));
    return 0;
}

/* Read one word.  False: the scope ended, and nothing was read. */
static bool read_word(int fd, uint64_t *ret_word)
{
    struct io_uring_sqe request = {0};
    uint64_t word;
    int32_t result = 0;

    io_uring_prep_read(&request, fd, &word, sizeof(word), 0);
    int r = ring_run(&request, &result);
    if (r < 0) {
        EXPECT(stress_ended(r));
        return false;
    }
    EXPECT_EQ(r, 0);
    EXPECT_EQ(result, sizeof(word));
    *ret_word = word;
    return true;
}

static int read_words(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->chaos.seed, 500);
    uint64_t word = 0;

    for (uint64_t expected = 0; expected < WORDS;) {
        struct weft_scope scope;

        chaos_enter(&world->chaos, CHAOS_SLOTS - 1, &dice, &scope);
        if (read_word(world->pipe[0], &word))
            EXPECT_EQ(word, expected++);
        chaos_leave(&world->chaos, CHAOS_SLOTS - 1, &scope);
    }
    return 0;
}

static int write_words(void *arg)
{
    struct world *world = arg;
    struct dice dice = dice_of(world->chaos.seed, 501);

    for (uint64_t word = 0; word < WORDS;) {
        if (write(world->pipe[1], &word, sizeof(word)) == sizeof(word))
            word++;
        if (dice_roll(&dice, 3) == 0)
            EXPECT_EQ(weft_sleep(dice_roll(&dice, 100) * WEFT_MICROSECOND), 0);
        else
            EXPECT_EQ(weft_yield(), 0);
    }
    return 0;
}

static void open_world(struct world *world, const struct game *game)
{
    const struct stress_round *round = &game->round;
    const char *folder = round->seed % 2 ? "/tmp" : "/dev/shm";
    unsigned char zeroes[RECORD] = {0};

    file_set_at_once(round->seed % 4 == 3);
    world->chaos.seed = round->seed;
    world->has_ring = game->backend != WEFT_FILE_OFFLOAD && ring_probe() == 0;
    EXPECT_EQ(weft_file_open(folder, O_RDWR | O_TMPFILE, 0600, &world->file), 0);
    for (int i = 0; i < FIBERS; i++)
        EXPECT_EQ(weft_file_write(world->file, zeroes, RECORD, NULL), 0);
    EXPECT_EQ(pipe2(world->pipe, O_CLOEXEC), 0);
    EXPECT_EQ(fcntl(world->pipe[1], F_SETFL, O_NONBLOCK), 0);
}

static int play(void *arg)
{
    const struct game *game = arg;
    struct world world = {0};
    struct player players[FIBERS];
    struct weft_group group, chaos;

    open_world(&world, game);
    weft_group_init(&chaos);
    EXPECT_EQ(weft_group_spawn(&chaos, "chaos", chaos_run, &world.chaos), 0);
    weft_group_init(&group);
    if (world.has_ring) {
        EXPECT_EQ(weft_group_spawn(&group, "words out", write_words, &world), 0);
        EXPECT_EQ(weft_group_spawn(&group, "words in", read_words, &world), 0);
    }
    for (unsigned i = 0; i < FIBERS; i++) {
        players[i] =
            (struct player){.world = &world, .number = i, .dice = dice_of(game->round.seed, i)};
        EXPECT_EQ(weft_group_spawn(&group, "player", play_records, &players[i]), 0);
    }
    EXPECT_EQ(weft_group_join(&group), 0);
    atomic_store(&world.chaos.stop, true);
    EXPECT_EQ(weft_group_join(&chaos), 0);
    weft_file_free(world.file);
    close(world.pipe[0]);
    close(world.pipe[1]);
    return 0;
}

static void play_game(const struct game *game)
{
    struct weft_options options;
    struct game copy = *game;

    weft_options_init(&options);
    options.workers = game->round.workers;
    options.handle_signals = false;
    options.file_backend = game->backend;
    EXPECT_EQ(weft_run(&options, play, &copy), 0);
}

int main(int argc, char **argv)
{
    static const enum weft_file_backend backends[] = {WEFT_FILE_AUTO, WEFT_FILE_OFFLOAD};
    struct game game = {.round.seed = stress_seed(argc, argv)};

    for (game.round.workers = 1; game.round.workers <= 8; game.round.workers *= 2) {
        uint64_t end_ns = weft_deadline_after(stress_budget_ns());
        unsigned rounds = 0;

        do {
            game.backend = backends[rounds++ % 2];
            play_game(&game);
            game.round.seed += rounds % 2 == 0;
        } while (rounds < 2 || weft_now_ns() < end_ns);
        printf("%u workers: %u rounds\n", game.round.workers, rounds);
    }
    return 0;
}
