/* SPDX-License-Identifier: MIT */
/* The command table over an engine, store, runner and server of this test's own. */
#include "methods_support.h"

/* ---- the table ------------------------------------------------------------------------------- */

Test(methods, table_is_sorted_and_every_row_complete, .init = ask_as_ourselves)
{
    for (size_t i = 0; i < methods_count; i++) {
        cr_assert_not_null(methods[i].handle);
        cr_assert((methods[i].params == NULL) == (methods[i].params_count == 0));
        cr_assert(i == 0 || strcmp(methods[i - 1].name, methods[i].name) < 0);
    }
    cr_assert_eq(methods_count, 23);
}

Test(methods, unknown_method_names_the_nearest, .init = ask_as_ourselves)
{
    refused("job.sumbit", NULL, RPC_METHOD_NOT_FOUND, "did you mean 'job.submit'?");
    cr_assert_str_eq(error.nearest, "job.submit");
    refused("zzzzzzzzzzzz", NULL, RPC_METHOD_NOT_FOUND, "there is no method 'zzzzzzzzzzzz'");
    cr_assert_str_eq(error.nearest, "");
}

Test(methods, parameters_are_checked_before_the_handler_runs, .init = ask_as_ourselves)
{
    refused("ping", "{\"x\":1}", RPC_INVALID_PARAMS, "x");
    refused("job.get", NULL, RPC_INVALID_PARAMS, "id");
    refused("job.get", "{\"id\":\"1\"}", RPC_INVALID_PARAMS, "id");
    refused("job.get", "{\"id\":0}", RPC_INVALID_PARAMS, "id");
    refused("job.get", "{\"id\":9007199254740992}", RPC_INVALID_PARAMS, "id");
    refused("job.get", "{\"ID\":1}", RPC_INVALID_PARAMS, "ID");
    refused("job.get", "[1]", RPC_INVALID_PARAMS, "by name");
    refused("job.submit", "[1]", RPC_INVALID_PARAMS, "by name");
    refused("job.wait", "{\"ids\":[]}", RPC_INVALID_PARAMS, "ids");
    refused("job.wait", "{\"ids\":[1,\"2\"]}", RPC_INVALID_PARAMS, "ids[1]");
    refused("job.wait", "{\"ids\":[1],\"timeout\":\"soon\"}", RPC_INVALID_PARAMS, "timeout");
    refused("job.list", "{\"state\":\"done\"}", RPC_INVALID_PARAMS, "state");
    refused("job.list", "{\"limit\":1001}", RPC_INVALID_PARAMS, "limit");
    refused("job.logs", "{\"id\":1,\"stream\":\"out\"}", RPC_INVALID_PARAMS, "stream");
    refused("job.logs", "{\"id\":1,\"limit\":\"1G\"}", RPC_INVALID_PARAMS, "limit");
    refused("job.submit_many", "{\"jobs\":[]}", RPC_INVALID_PARAMS, "jobs");
    refused("job.submit", "{\"argv\":[]}", RPC_INVALID_PARAMS, "argv");
    refused("job.submit", "{\"call\":\"nope\"}", RPC_NO_SUCH_HANDLER, "");
}

Test(methods, errno_without_a_sentence_gets_one, .init = ask_as_ourselves)
{
    static const struct {
        int err, code;
    } rows[] = {
        {-ENOENT, RPC_NO_SUCH_JOB},      {-EAGAIN, RPC_BUSY},
        {-ESHUTDOWN, RPC_SHUTTING_DOWN}, {-ECANCELED, RPC_SHUTTING_DOWN},
        {-EIO, RPC_STORE_FAILED},        {-ENOSPC, RPC_STORE_FAILED},
        {-ETIMEDOUT, RPC_TIMEOUT},       {-ENOMEM, RPC_INTERNAL_ERROR},
        {-EXDEV, RPC_INTERNAL_ERROR},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world.err = rows[i].err;
        refused("job.get", "{\"id\":1}", rows[i].code, "");
    }
    world.message = "there is no queue \"x\"";
    refused("job.get", "{\"id\":1}", RPC_NO_SUCH_QUEUE, "no queue");
}

/* ---- the handlers ---------------------------------------------------------------------------- */

Test(methods, ping_and_hello, .init = ask_as_ourselves)
{
    cr_assert_str_eq(ask("ping", NULL), "\"pong\"");
    const char *hello = ask("hello", NULL);
    cr_assert_not_null(hello, "%s", error.message);
    static const char *const pieces[] = {
        "\"version\":\"1.2.3\"",
        "\"protocol\":1",
        "\"line_max\":1048576",
        "\"in_flight\":128",
        "\"job.submit_many\"",
        "\"echo\"",
        "\"uid\":",
        "\"admin\":true",
        "\"instance\":\"0123456789abcdef0123456789abcdef\"",
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        cr_assert(strstr(hello, pieces[i]) != NULL, "no %s in %s", pieces[i], hello);
}

Test(methods, submit_gives_the_id, .init = ask_as_ourselves)
{
    const char *result = ask("job.submit", "{\"argv\":[\"true\"],\"queue\":\"q\"}");
    cr_assert_not_null(result, "%s", error.message);
    cr_assert_str_eq(result, "{\"id\":17}");
    cr_assert_str_eq(world.queue, "q");
    cr_assert_str_eq(ask("job.submit", "{\"argv\":[\"true\"],\"key\":\"k\"}"),
                     "{\"existing\":true,\"id\":17}");
}

Test(methods, as_root_it_calls_handlers_for_root_alone, .init = ask_as_ourselves)
{
    peer.uid = getuid() + 1;
    cr_assert_not_null(ask("job.submit", "{\"argv\":[\"true\"]}"));
    if (getuid() == 0) {
        refused("job.submit", "{\"call\":\"echo\"}", RPC_PERMISSION_DENIED, "only root may call");
        const char *result = ask("job.submit_many", "{\"jobs\":[{\"call\":\"echo\"}]}");
        cr_assert_not_null(strstr(result, "permission_denied"), "%s", result);
        peer.uid = 0;
    }
    cr_assert_not_null(ask("job.submit", "{\"call\":\"echo\"}"));
}

Test(methods, submit_many_answers_each_in_order, .init = ask_as_ourselves)
{
    const char *result = ask("job.submit_many", "{\"jobs\":[{\"argv\":[\"a\"]},{\"argv\":1},"
                                                "{\"call\":\"echo\"}]}");
    cr_assert_not_null(result, "%s", error.message);
    cr_assert(starts_with(result, "{\"results\":[{\"id\":100},{\"error\":{\"code\":-32602,"), "%s",
              result);
    cr_assert(strstr(result, "}},{\"id\":102}]}") != NULL, "%s", result);
}

Test(methods, atomic_submit_many_names_the_culprit, .init = ask_as_ourselves)
{
    refused("job.submit_many",
            "{\"atomic\":true,\"jobs\":[{\"argv\":[\"a\"]},{\"argv\":[\"b\"],\"piority\":1}]}",
            RPC_INVALID_PARAMS, "jobs[1]: ");
    cr_assert_str_eq(error.param, "jobs[1]");
    cr_assert_str_eq(error.nearest, "priority");
}

Test(methods, get_shows_the_job, .init = ask_as_ourselves)
{
    const char *job = ask("job.get", "{\"id\":12}");
    cr_assert_not_null(job, "%s", error.message);
    cr_assert(strstr(job, "\"id\":12") && strstr(job, "\"state\":\"succeeded\""), "%s", job);
    cr_assert(strstr(job, "\"argv\":[\"true\"]") != NULL, "%s", job);
}

Test(methods, list_passes_its_filter_on, .init = ask_as_ourselves)
{
    world.next = 8;
    const char *page = ask("job.list", "{\"state\":[\"failed\",\"dead\"],\"queue\":\"q\","
                                       "\"limit\":2,\"before\":10}");
    cr_assert_not_null(page, "%s", error.message);
    cr_assert_eq(world.filter.states, 1u << JOB_FAILED | 1u << JOB_DEAD);
    cr_assert_str_eq(world.queue, "q");
    cr_assert_eq(world.filter.limit, 2);
    cr_assert_eq(world.filter.before, 10);
    cr_assert(strstr(page, "\"next\":8") != NULL, "%s", page);
    cr_assert(strstr(page, "\"id\":9") < strstr(page, "\"id\":8"), "%s", page);
    world.next = 0;
    page = ask("job.list", "{\"state\":\"running\",\"before\":null}");
    cr_assert_eq(world.filter.states, 1u << JOB_RUNNING);
    cr_assert_eq(world.filter.before, 0);
    cr_assert_eq(world.filter.limit, 100);
    cr_assert(strstr(page, "\"next\":null") != NULL, "%s", page);
    cr_assert_not_null(ask("job.list", NULL));
    cr_assert_eq(world.filter.states, 0);
    cr_assert_not_null(ask("job.list", "{\"queue\":[\"a\",\"b\"],\"user\":1000}"));
    cr_assert_str_eq(world.queue, "a");
    cr_assert(world.filter.of_user && world.filter.uid == 1000);
    refused("job.list", "{\"name\":\"\"}", RPC_INVALID_PARAMS, "name");
    refused("job.list", "{\"user\":-1}", RPC_INVALID_PARAMS, "user");
}

Test(methods, list_has_a_limit_of_queues, .init = ask_as_ourselves)
{
    char queues[4096] = "{\"queue\":[\"q\"";
    for (int i = 1; i < 32; i++)
        strcat(queues, ",\"q\"");
    char *end = queues + strlen(queues);
    strcpy(end, "]}");
    cr_assert_not_null(ask("job.list", queues), "%s", error.message);
    strcpy(end, ",\"q\"]}");
    refused("job.list", queues, RPC_INVALID_PARAMS, "33 queues are more than 32");
}

Test(methods, list_shows_the_jobs_of_others_to_admins_alone, .init = ask_as_ourselves)
{
    char own[64];
    snprintf(own, sizeof own, "{\"user\":%u}", (unsigned)peer.uid);
    cr_assert_not_null(ask("job.list", "{\"user\":4294967}"));
    peer.admin = false;
    cr_assert_not_null(ask("job.list", own), "%s", error.message);
    refused("job.list", "{\"user\":4294967}", RPC_PERMISSION_DENIED, "only admins see");
}

Test(methods, wait_keeps_order_and_timeout, .init = ask_as_ourselves)
{
    const char *page = ask("job.wait", "{\"ids\":[3,1,3]}");
    cr_assert_not_null(page, "%s", error.message);
    cr_assert_eq(world.count, 3);
    cr_assert_eq(world.ids[0], 3);
    cr_assert_eq(world.ids[1], 1);
    cr_assert_eq(world.deadline, WEFT_NO_DEADLINE);
    uint64_t before = weft_now_ns();
    cr_assert_not_null(ask("job.wait", "{\"ids\":[1],\"timeout\":\"10m\"}"));
    cr_assert(world.deadline >= before + 600 * WEFT_SECOND);
    cr_assert(world.deadline <= weft_now_ns() + 600 * WEFT_SECOND);
    world.err = -ETIMEDOUT;
    refused("job.wait", "{\"ids\":[1],\"timeout\":0}", RPC_TIMEOUT, "");
}

Test(methods, cancel_answers_each, .init = ask_as_ourselves)
{
    const char *result = ask("job.cancel", "{\"ids\":[1,404]}");
    cr_assert_not_null(result, "%s", error.message);
    cr_assert(starts_with(result, "{\"results\":[{\"id\":1,\"state\":\"cancelled\"},{\"error\":{"),
              "%s", result);
    cr_assert(strstr(result, "-32001") && strstr(result, "\"id\":404}]}"), "%s", result);
}

/* ---- logs ------------------------------------------------------------------------------------ */

static const char *logs_of(const char *bytes, size_t size, bool at_end)
{
    world.output = bytes;
    world.output_size = size;
    world.at_end = at_end;
    const char *result = ask("job.logs", "{\"id\":5,\"offset\":10}");
    cr_assert_not_null(result, "%s", error.message);
    return result;
}

Test(methods, logs_of_text_are_text, .init = ask_as_ourselves)
{
    world.eof = true;
    cr_assert_str_eq(logs_of("h\xc3\xa4\n", 4, true),
                     "{\"data\":\"h\xc3\xa4\\n\",\"encoding\":\"utf-8\",\"eof\":true,\"next\":14}");
    cr_assert_eq(world.stream, OUTPUT_STDOUT);
    cr_assert_eq(world.offset, 10);
    cr_assert_eq(world.limit, 65536);
    world.eof = false;
    cr_assert_str_eq(logs_of("", 0, true),
                     "{\"data\":\"\",\"encoding\":\"utf-8\",\"eof\":false,\"next\":10}");
    cr_assert_not_null(ask("job.logs", "{\"id\":5,\"stream\":\"stderr\",\"limit\":\"1K\"}"));
    cr_assert_eq(world.stream, OUTPUT_STDERR);
    cr_assert_eq(world.limit, 1024);
}

Test(methods, logs_say_what_a_cap_cut_off, .init = ask_as_ourselves)
{
    world.eof = true;
    world.dropped = 99;
    cr_assert(strstr(logs_of("a", 1, true), "\"dropped\":99") != NULL);
}

Test(methods, logs_cut_inside_a_character_end_before_it, .init = ask_as_ourselves)
{
    cr_assert_str_eq(logs_of("ab\xe2\x82", 4, false),
                     "{\"data\":\"ab\",\"encoding\":\"utf-8\",\"eof\":false,\"next\":12}");
    cr_assert_str_eq(logs_of("a\xf0\x9f\x98\x80", 5, false),
                     "{\"data\":\"a\xf0\x9f\x98\x80\",\"encoding\":\"utf-8\",\"eof\":false,"
                     "\"next\":15}");
}

Test(methods, logs_that_are_no_text_are_base64, .init = ask_as_ourselves)
{
    cr_assert_str_eq(logs_of("\xff\xfe\xfd", 3, true),
                     "{\"data\":\"//79\",\"encoding\":\"base64\",\"eof\":false,\"next\":13}");
    cr_assert_str_eq(logs_of("a\0b", 3, true),
                     "{\"data\":\"YQBi\",\"encoding\":\"base64\",\"eof\":false,\"next\":13}");
    cr_assert_str_eq(logs_of("ab\xe2\x82", 4, true),
                     "{\"data\":\"YWLigg==\",\"encoding\":\"base64\",\"eof\":false,\"next\":14}");
    cr_assert_str_eq(logs_of("\xe2\x82", 2, false),
                     "{\"data\":\"4oI=\",\"encoding\":\"base64\",\"eof\":false,\"next\":12}");
}

/* ---- output ---------------------------------------------------------------------------------- */

static int count_begins(void *arg)
{
    ++*(int *)arg;
    return 0;
}

Test(methods, output_passes_a_descriptor_and_says_what_it_is, .init = ask_as_ourselves)
{
    int begins = 0;
    struct request_pass pass = {.begin = count_begins, .arg = &begins, .fd = -1};
    asked_pass = &pass;
    world.shared = (struct engine_shared){.attempt = 2, .share.fd = -1};
    cr_assert_str_eq(ask("job.output", "{\"id\":5}"),
                     "{\"attempt\":2,\"descriptor\":false,\"eof\":false}");
    cr_assert_eq(world.stream, OUTPUT_STDOUT);
    cr_assert_eq(pass.fd, -1);
    world.shared = (struct engine_shared){
        .attempt = 3, .eof = true, .share = {.fd = 77, .begin = 20, .gap = 10, .dropped = 9}};
    cr_assert_str_eq(ask("job.output", "{\"id\":5,\"offset\":10,\"stream\":\"stderr\"}"),
                     "{\"attempt\":3,\"begin\":20,\"descriptor\":true,\"dropped\":9,\"eof\":true,"
                     "\"gap\":10}");
    cr_assert_eq(world.stream, OUTPUT_STDERR);
    cr_assert_eq(world.offset, 10);
    cr_assert_eq(pass.fd, 77);
    cr_assert_eq(begins, 2);
    asked_pass = NULL;
}

Test(methods, output_is_refused_where_nothing_is_passed, .init = ask_as_ourselves)
{
    cr_assert_null(ask("job.output", "{\"id\":5}"));
    cr_assert_eq(error.code, RPC_INVALID_REQUEST);
    cr_assert(strstr(error.message, "batch") && strstr(error.message, "HTTP"), "%s", error.message);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

Test(methods, reload_reports_and_is_for_admins, .init = ask_as_ourselves)
{
    cr_assert_str_eq(ask("daemon.reload", NULL), "{\"changed\":2,\"restart\":[\"daemon.socket\"]}");
    world.reload_err = -EINVAL;
    refused("daemon.reload", NULL, RPC_BAD_CONFIG, "weftd.conf:3: unknown key 'x'");
    peer.admin = false;
    refused("daemon.reload", NULL, RPC_PERMISSION_DENIED, "admin_group");
}

Test(methods, backup_takes_a_name_or_the_time_and_is_for_admins, .init = ask_as_ourselves)
{
    cr_assert_str_eq(ask("daemon.backup", "{\"name\":\"a.db\"}"),
                     "{\"bytes\":4096,\"path\":\"a.db\"}");
    const char *answer = ask("daemon.backup", NULL);
    cr_assert_not_null(strstr(answer, "\"path\":\"weft-2"), "%s", answer);
    refused("daemon.backup", "{\"name\":\"\"}", RPC_INVALID_PARAMS, "name");
    peer.admin = false;
    refused("daemon.backup", NULL, RPC_PERMISSION_DENIED, "admin_group");
}

static int stats_main(void *arg)
{
    (void)arg;
    context.runtime = weft_runtime_self();
    context.started_ns = weft_now_ns();
    const char *stats = ask("daemon.stats", NULL);
    EXPECT(stats != NULL);
    static const char *const pieces[] = {
        "\"version\":\"1.2.3\"",
        "\"uptime\":",
        "\"workers\":[{",
        "\"steals\":",
        "\"stolen\":",
        "\"parks\":",
        "\"wakes\":",
        "\"polls\":",
        "\"turns\":",
        "\"queued\":3",
        "\"failed\":2",
        "\"waiting\":0",
        "\"commits\":42",
        "\"rss\":",
        "\"allocator\":",
        "\"programs\":6",
        "\"submitted\":5",
        "\"fibers\":",
        "\"lost\":0",
        "\"connections\":1",
    };
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        if (!strstr(stats, pieces[i]))
            fprintf(stderr, "no %s in %s\n", pieces[i], stats);
        EXPECT(strstr(stats, pieces[i]) != NULL);
    }
    return 0;
}

Test(methods, a_drain_holds_until_it_is_undone_and_can_be_awaited, .init = ask_as_ourselves)
{
    cr_assert_str_eq(ask("daemon.drain", NULL), "{\"drained\":true,\"running\":2}");
    cr_assert(world.drained);
    cr_assert_str_eq(ask("daemon.drain", "{\"wait\":true}"), "{\"drained\":true,\"running\":0}");
    cr_assert_eq(world.deadline, WEFT_NO_DEADLINE);
    world.err = -ETIMEDOUT;
    refused("daemon.drain", "{\"wait\":true,\"timeout\":1}", RPC_TIMEOUT, "still run");
    cr_assert_lt(world.deadline, WEFT_NO_DEADLINE);
    world.err = -EAGAIN;
    refused("daemon.drain", "{\"wait\":true}", RPC_CONFLICT, "undone meanwhile");
    world.err = 0;
    refused("daemon.drain", "{\"undo\":true,\"wait\":true}", RPC_INVALID_PARAMS, "nothing to wait");
    cr_assert_str_eq(ask("daemon.drain", "{\"undo\":true}"), "{\"drained\":false,\"running\":2}");
    cr_assert_not(world.drained);
    peer.admin = false;
    refused("daemon.drain", NULL, RPC_PERMISSION_DENIED, "may drain");
    cr_assert_not(world.drained);
}

Test(methods, stats_show_every_part, .init = ask_as_ourselves)
{
    on_fibers(2, stats_main, NULL);
}
