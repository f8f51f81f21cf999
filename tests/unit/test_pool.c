#include "provider/pool.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/core/clock.h"

TestSuite(pool, .timeout = 20);

static size_t claim_all(struct kv_pool *pool, struct kv_pool_slot **slots, size_t max)
{
    size_t n = 0;
    while (n < max && (slots[n] = kv_pool_claim(pool, 0)) != NULL)
        n++;
    return n;
}

/* Make a connection object out of a plain socket. */
static void adopt(struct kv_conn *conn, int fd)
{
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    conn->fd = fd;
    conn->dev = st.st_dev;
    conn->ino = st.st_ino;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

Test(pool, entries_are_distinct_and_finite)
{
    static struct kv_pool_slot *slots[4096];
    struct kv_pool pool;
    cr_assert_eq(kv_pool_init(&pool), 0);
    size_t n = claim_all(&pool, slots, 4096);
    cr_assert_geq(n, 4);
    cr_assert_lt(n, 4096);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++)
            cr_assert_neq(slots[i], slots[j]);
    }
    cr_expect_null(kv_pool_claim(&pool, 0));
    kv_pool_release(&pool, slots[n / 2]);
    cr_expect_eq(kv_pool_claim(&pool, 0), slots[n / 2]);
    kv_pool_fini(&pool);
}

Test(pool, a_released_connection_is_used_again)
{
    struct kv_pool pool;
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_assert_eq(kv_pool_init(&pool), 0);
    struct kv_pool_slot *slot = kv_pool_claim(&pool, 0);
    adopt(&slot->conn, fds[0]);
    kv_pool_release(&pool, slot);
    cr_expect(is_open(fds[0]));
    cr_expect(kv_conn_is_ours(&slot->conn));
    kv_pool_fini(&pool);
    cr_expect_not(is_open(fds[0]));
}

static int in_child(struct kv_pool *pool, int idle_fd, int busy_fd, uint32_t generation)
{
    static struct kv_pool_slot *slots[4096];
    if (kv_pool_generation() == generation)
        return 1;
    size_t n = claim_all(pool, slots, 4096);
    for (size_t i = 0; i < n; i++) {
        if (slots[i]->conn.fd != -1)
            return 2;
    }
    if (is_open(idle_fd) || is_open(busy_fd))
        return 3;
    return n >= 4 ? 0 : 4;
}

Test(pool, a_child_gives_up_its_parents_connections)
{
    struct kv_pool pool;
    int idle[2];
    int busy[2];
    int status = -1;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, idle), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, busy), 0);
    cr_assert_eq(kv_pool_init(&pool), 0);
    struct kv_pool_slot *first = kv_pool_claim(&pool, 0);
    struct kv_pool_slot *second = kv_pool_claim(&pool, 0);
    adopt(&first->conn, idle[0]);
    adopt(&second->conn, busy[0]);
    cr_assert_eq(kv_buf_append(&second->conn.out, "half a request", 14), 0);
    kv_pool_release(&pool, first);
    uint32_t generation = kv_pool_generation();
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_child(&pool, idle[0], busy[0], generation));
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0, "child: %x", (unsigned)status);
    cr_expect(is_open(idle[0]) && is_open(busy[0]), "the parent keeps its own");
    kv_pool_release(&pool, second);
    kv_pool_fini(&pool);
}

Test(pool, a_descriptor_that_the_host_reused_is_left_alone)
{
    struct kv_pool pool;
    int fds[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_assert_eq(kv_pool_init(&pool), 0);
    struct kv_pool_slot *slot = kv_pool_claim(&pool, 0);
    adopt(&slot->conn, fds[0]);
    kv_pool_release(&pool, slot);
    int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(dup2(other, fds[0]), fds[0]);
    cr_expect_not(kv_conn_is_ours(&slot->conn));
    kv_pool_fini(&pool);
    cr_expect(is_open(fds[0]));
}

static _Atomic int n_collisions;
static struct kv_pool shared;

static void *claim_and_release(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5000; i++) {
        struct kv_pool_slot *slot = kv_pool_claim(&shared, 0);
        if (slot == NULL)
            continue;
        uint32_t mine = ++slot->conn.next_id; /* a race would lose an increment */
        sched_yield();
        if (slot->conn.next_id != mine)
            atomic_fetch_add(&n_collisions, 1);
        kv_pool_release(&shared, slot);
    }
    return NULL;
}

Test(pool, two_threads_never_hold_one_entry)
{
    pthread_t threads[6];
    cr_assert_eq(kv_pool_init(&shared), 0);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, claim_and_release, NULL), 0);
    for (int i = 0; i < 6; i++)
        (void)pthread_join(threads[i], NULL);
    cr_expect_eq(n_collisions, 0);
    kv_pool_fini(&shared);
}

static int64_t now_ms(void)
{
    return kv_monotonic_ms(kv_clock_system());
}

static void *release_later(void *arg)
{
    (void)usleep(100000);
    kv_pool_release(&shared, arg);
    return NULL;
}

Test(pool, who_finds_every_entry_busy_waits_for_one)
{
    static struct kv_pool_slot *slots[4096];
    pthread_t thread;
    cr_assert_eq(kv_pool_init(&shared), 0);
    size_t n = claim_all(&shared, slots, 4096);
    int64_t start_ms = now_ms();
    cr_expect_null(kv_pool_claim(&shared, start_ms + 150), "none comes free");
    cr_expect_geq(now_ms() - start_ms, 150);
    cr_assert_eq(pthread_create(&thread, NULL, release_later, slots[n / 2]), 0);
    start_ms = now_ms();
    cr_expect_eq(kv_pool_claim(&shared, start_ms + 10000), slots[n / 2]);
    cr_expect_lt(now_ms() - start_ms, 5000, "woken, not timed out");
    (void)pthread_join(thread, NULL);
    kv_pool_fini(&shared);
}

static void *claim_in_turn(void *arg)
{
    unsigned *n_done = arg;
    for (int i = 0; i < 300; i++) {
        struct kv_pool_slot *slot = kv_pool_claim(&shared, now_ms() + 10000);
        if (slot == NULL)
            return NULL;
        sched_yield();
        kv_pool_release(&shared, slot);
        (*n_done)++;
    }
    return NULL;
}

Test(pool, no_waiting_thread_is_forgotten)
{
    enum { N = 32 };
    static struct kv_pool_slot *slots[4096];
    pthread_t threads[N];
    unsigned n_done[N] = {0};
    cr_assert_eq(kv_pool_init(&shared), 0);
    size_t n = claim_all(&shared, slots, 4096);
    for (int i = 0; i < N; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, claim_in_turn, &n_done[i]), 0);
    (void)usleep(20000);
    kv_pool_release(&shared, slots[n - 1]); /* one entry for all of them */
    for (int i = 0; i < N; i++) {
        (void)pthread_join(threads[i], NULL);
        cr_expect_eq(n_done[i], 300);
    }
    kv_pool_fini(&shared);
}
