/*
 * Crashes of the store: a child writes, something kills it, and the parent looks for
 * every row that the child had acknowledged.
 *
 *   store_crash kill  [CYCLES] [SEED]   kill -9 at a random moment
 *   store_crash power [CYCLES] [SEED]   the power goes: unsynced writes are undone
 *   store_crash lying [CYCLES] [SEED]   the same on a disk that lies about syncs:
 *                                       passes only when rows are lost, which shows
 *                                       that the test can fail
 *
 * A batch stores a head and a version; one without the other is a failure as well.
 * The child acknowledges through a pipe, 4 bytes for each batch, after the store's
 * callback. The last line tells the figures; exit status 0 only when all is well.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/core/str.h"
#include "store/db/sqlite/sqlite.h"
#include "store/keyring/role.h"
#include "tests/support/fault_vfs.h"

#define IN_FLIGHT 12
#define POWER_STATUS 42
#define BATCHES_MAX 100000

enum mode { MODE_KILL, MODE_POWER, MODE_LYING };

static char dir[] = "/tmp/kv-store-crash-XXXXXX";
static uv_loop_t loop;
static struct kv_store *store;

static void must(bool is_good, const char *what)
{
    if (is_good)
        return;
    fprintf(stderr, "store_crash: %s (%s)\n", what, strerror(errno));
    exit(1);
}

static void on_store_closed(void *arg)
{
    (void)arg;
    store = NULL;
}

static void store_open(void)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_store_config config = {.loop = &loop, .dir = dir};
    must(uv_loop_init(&loop) == 0, "no loop");
    if (kv_sqlite_open(&store, &config, &err) != 0) {
        fprintf(stderr, "store_crash: %s: %s\n", err.id, err.message);
        exit(1);
    }
}

static void store_close(void)
{
    store->ops->close(store, on_store_closed, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* until nothing is left */
    must(store == NULL && uv_loop_close(&loop) == 0, "the loop is not empty");
}

/* ---- the child: writes until it is killed ---- */

struct writer {
    uint32_t cycle;
    uint32_t next;
    int ack_fd;
};

static void write_next(struct writer *writer);

struct flight {
    struct writer *writer;
    uint32_t number;
};

static void on_written(void *arg, int rc, size_t failed_index, const struct kv_err *err)
{
    struct flight *flight = arg;
    struct writer *writer = flight->writer;
    (void)failed_index;
    if (rc != 0) {
        fprintf(stderr, "store_crash: child: %s: %s\n", err->id, err->message);
        _exit(3);
    }
    if (write(writer->ack_fd, &flight->number, 4) != 4)
        _exit(4);
    free(flight);
    write_next(writer);
}

static void name_of(char out[KV_NAME_MAX + 1], uint32_t cycle, uint32_t number)
{
    (void)snprintf(out, KV_NAME_MAX + 1, "c%u-n%u", cycle, number);
}

/* Bodies differ in length, so that pages split and overflow. */
static size_t body_of(uint8_t out[6000], uint32_t cycle, uint32_t number)
{
    size_t len = 20 + (number * 977 + cycle * 31) % 5900;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(number * 7 + cycle * 13 + i);
    return len;
}

static void write_next(struct writer *writer)
{
    uint8_t body[6000];
    uint8_t op_id[KV_ID_LEN] = {1};
    struct kv_mutation change[2] = {{.kind = KV_MUTATION_PUT},
                                    {.kind = KV_MUTATION_PUT}};
    struct flight *flight = malloc(sizeof(*flight));
    must(flight != NULL && writer->next < BATCHES_MAX, "the child has no more room");
    *flight = (struct flight){.writer = writer, .number = writer->next++};
    for (int i = 0; i < 2; i++) {
        struct kv_row *row = &change[i].row;
        row->row_version = 1;
        row->key.kind = KV_KIND_SECRET;
        name_of(row->key.name, writer->cycle, flight->number);
        row->nbf_s = row->exp_s = row->next_at_s = KV_TIME_NONE;
        row->sealed = body;
        row->sealed_len = body_of(body, writer->cycle, flight->number);
    }
    change[0].row.current[0] = 1;
    change[1].row.key.version[0] = 1;
    memcpy(op_id + 4, &writer->cycle, 4);
    memcpy(op_id + 8, &flight->number, 4);
    must(store->ops->apply(store, op_id, change, 2, on_written, flight) == 0,
         "the child cannot write");
}

static void child(enum mode mode, uint32_t cycle, unsigned power_in, unsigned seed,
                  int ack_fd)
{
    struct writer writer = {.cycle = cycle, .ack_fd = ack_fd};
    if (mode != MODE_KILL) {
        fault_vfs_install();
        fault_vfs_power_off(power_in, seed, POWER_STATUS);
        fault_vfs_lie_about_sync(mode == MODE_LYING);
    }
    store_open();
    for (int i = 0; i < IN_FLIGHT; i++)
        write_next(&writer);
    (void)uv_run(&loop, UV_RUN_DEFAULT); /* never empty */
    _exit(5);
}

/* ---- the parent: kills, and looks ---- */

struct look {
    bool is_over;
    int rc;
    bool is_same;
    uint32_t cycle;
    uint32_t number;
};

static void on_row(void *arg, int rc, const struct kv_row *rows, size_t n_rows,
                   bool has_more, const struct kv_err *err)
{
    struct look *look = arg;
    uint8_t body[6000];
    (void)has_more;
    (void)err;
    look->is_over = true;
    look->rc = rc;
    size_t len = body_of(body, look->cycle, look->number);
    look->is_same = rc == 0 && n_rows == 1 && rows[0].sealed_len == len &&
                    memcmp(rows[0].sealed, body, len) == 0;
}

static void on_check(void *arg, int rc, size_t failed_index, const struct kv_err *err)
{
    struct look *look = arg;
    (void)failed_index;
    look->is_over = true;
    look->rc = rc;
    if (rc != 0)
        fprintf(stderr, "store_crash: %s: %s\n", err->id, err->message);
}

static void await(const struct look *look)
{
    while (!look->is_over)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

/* Whether the head (0) or the version (1) of a batch is there; damage ends it all. */
static bool row_is_there(uint32_t cycle, uint32_t number, uint8_t version)
{
    struct look look = {.cycle = cycle, .number = number};
    struct kv_row_key key = {.kind = KV_KIND_SECRET, .version = {version}};
    name_of(key.name, cycle, number);
    must(store->ops->get(store, &key, on_row, &look) == 0, "cannot read");
    await(&look);
    must(look.rc == KV_E_NOT_FOUND || look.is_same, "a row is damaged");
    return look.rc == 0;
}

struct figures {
    unsigned long n_acked;
    unsigned long n_lost;
    unsigned long n_extra; /* there though not acknowledged: allowed */
    unsigned long n_torn;
    unsigned long n_damaged;
};

/* Check every acknowledged batch of a cycle, and the ones after it for halves. */
static void look_at(struct figures *figures, uint32_t cycle, const bool *acked,
                    uint32_t n_max)
{
    struct look look = {.is_over = false};
    for (uint32_t number = 0; number < n_max + 2 * IN_FLIGHT; number++) {
        bool has_head = row_is_there(cycle, number, 0);
        bool has_version = row_is_there(cycle, number, 1);
        bool is_acked = number < n_max && acked[number];
        figures->n_acked += is_acked;
        figures->n_lost += is_acked && !has_head;
        figures->n_extra += !is_acked && has_head;
        figures->n_torn += has_head != has_version;
    }
    must(store->ops->check(store, on_check, &look) == 0, "cannot check");
    await(&look);
    figures->n_damaged += look.rc != 0;
}

static void sleep_ms(unsigned ms)
{
    struct timespec time = {.tv_sec = ms / 1000,
                            .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)nanosleep(&time, NULL); /* an early end only kills earlier */
}

/* Start over with an empty directory: a lying disk may have ruined it. */
static void clean_up(void)
{
    static const char *const names[] = {KV_SQLITE_FILE, KV_SQLITE_FILE "-wal",
                                        KV_SQLITE_FILE "-shm", KV_SQLITE_LOCK};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[96];
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path); /* may be absent */
    }
}

/* Open and look in a process of its own, so that a ruined file (possible on a lying
 * disk only) is counted and not fatal. */
static void look_apart(struct figures *figures, uint32_t cycle, const bool *acked,
                       uint32_t n_max)
{
    int fd[2];
    struct figures got = {.n_damaged = 1};
    must(pipe(fd) == 0, "no pipe");
    pid_t pid = fork();
    must(pid >= 0, "no fork");
    if (pid == 0) {
        struct figures own = {.n_acked = 0};
        (void)close(fd[0]);
        store_open();
        look_at(&own, cycle, acked, n_max);
        store_close();
        _exit(write(fd[1], &own, sizeof(own)) == sizeof(own) ? 0 : 1);
    }
    (void)close(fd[1]);
    ssize_t n = read(fd[0], &got, sizeof(got));
    (void)close(fd[0]);
    must(waitpid(pid, NULL, 0) == pid, "lost a child");
    if (n != (ssize_t)sizeof(got))
        got = (struct figures){.n_damaged = 1};
    figures->n_acked += got.n_acked;
    figures->n_lost += got.n_lost;
    figures->n_extra += got.n_extra;
    figures->n_torn += got.n_torn;
    figures->n_damaged += got.n_damaged;
}

static void cycle_run(enum mode mode, uint32_t cycle, unsigned *seed,
                      struct figures *figures)
{
    static bool acked[BATCHES_MAX];
    int fd[2];
    int status = 0;
    uint32_t number = 0;
    uint32_t n_max = 0;
    unsigned power_in = 1 + (unsigned)rand_r(seed) % 1500;
    memset(acked, 0, sizeof(acked));
    must(pipe(fd) == 0, "no pipe");
    pid_t pid = fork();
    must(pid >= 0, "no fork");
    if (pid == 0) {
        (void)close(fd[0]);
        child(mode, cycle, power_in, (unsigned)rand_r(seed), fd[1]);
    }
    (void)close(fd[1]);
    if (mode == MODE_KILL) {
        sleep_ms(10 + (unsigned)rand_r(seed) % 250);
        must(kill(pid, SIGKILL) == 0, "cannot kill");
    }
    while (read(fd[0], &number, 4) == 4) {
        must(number < BATCHES_MAX, "a number is wrong");
        acked[number] = true;
        n_max = number >= n_max ? number + 1 : n_max;
    }
    (void)close(fd[0]);
    must(waitpid(pid, &status, 0) == pid, "lost a child");
    if (mode == MODE_KILL)
        must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the child ended");
    else
        must(WIFEXITED(status) && WEXITSTATUS(status) == POWER_STATUS,
             "the child ended");
    look_apart(figures, cycle, acked, n_max);
    if (mode == MODE_LYING)
        clean_up();
}

int main(int argc, char **argv)
{
    static const char *const modes[] = {"kill", "power", "lying"};
    struct figures figures = {.n_acked = 0};
    int64_t n_cycles = 20;
    int64_t seed = (int64_t)time(NULL) % 1000000;
    int mode = -1;
    for (int i = 0; argc >= 2 && i < 3; i++)
        mode = strcmp(argv[1], modes[i]) == 0 ? i : mode;
    if (mode < 0 || argc > 4 ||
        (argc > 2 && kv_str_to_i64(argv[2], 1, 1000000, &n_cycles) != 0) ||
        (argc > 3 && kv_str_to_i64(argv[3], 0, 1000000, &seed) != 0)) {
        fprintf(stderr, "usage: store_crash kill|power|lying [CYCLES] [SEED]\n");
        return 2;
    }
    must(mkdtemp(dir) != NULL, "no directory");
    unsigned state = (unsigned)seed;
    for (uint32_t cycle = 1; cycle <= n_cycles; cycle++)
        cycle_run((enum mode)mode, cycle, &state, &figures);
    clean_up();
    must(rmdir(dir) == 0, "the directory is not empty");
    printf("%s: %lld cycles, seed %lld, %lu acknowledged, %lu lost, %lu torn, "
           "%lu damaged, %lu unacknowledged present\n",
           modes[mode], (long long)n_cycles, (long long)seed, figures.n_acked,
           figures.n_lost, figures.n_torn, figures.n_damaged, figures.n_extra);
    if (mode == MODE_LYING)
        return figures.n_lost + figures.n_damaged > 0 ? 0 : 1;
    return figures.n_acked > 0 && figures.n_lost == 0 && figures.n_torn == 0 &&
                   figures.n_damaged == 0
               ? 0
               : 1;
}
