/* One small thread pool under every compiled kernel.
 *
 * lamella_run(fn, ctx, ntasks, nanoseconds, slots) calls fn(ctx, task, slot) once for each task in [0, ntasks), on the calling thread and on
 * as many workers as the estimated single-thread time is worth, `slots` threads at most. Tasks are defined by the problem, never by the number of threads,
 * and whoever executes one computes the same bits. `slot` is below `slots` and names the scratch of the
 * executing thread.
 *
 * - A slot begins with its own share of consecutive tasks, the same in every job of as many tasks, and takes over what others have left when it
 *   is through: neighbouring memory stays in the caches of one core from one operation to the next.
 * - A worker spins for SPIN_NS, then sleeps on a condition variable: an idle pool costs nothing.
 * - A worker that wakes on the caller's processor moves to another one. Where processors share no cache (virtual machines often say so) Linux
 *   leaves it there, and both take turns.
 * - A second Python thread entering while the pool is busy (or a task entering again) computes its tasks itself, as slot 0.
 * - After fork the child starts with no workers and creates its own on first use.
 * - Denormals are flushed to zero while tasks run and the caller's mode is restored after them. Workers take over the caller's mode (rounding
 *   too): which thread computes a task never shows in its bits.
 * - Workers block signals, so that Ctrl-C reaches Python's main thread; faults stay open, so that faulthandler can report them.
 *
 * Joining: a job opens with `seats` free places. A worker takes one by decrementing `seats`; the caller, when no task is left, closes
 * the job by swapping seats with 0 and waits until every worker that took one has left. A worker that
 * comes late finds no seat, or the seat of a newer job, and never touches a closed one. */
#ifndef LAMELLA_POOL_H
#define LAMELLA_POOL_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#define LM_PAUSE() _mm_pause()
#else
#define LM_PAUSE() ((void)0)
#endif

#define LM_MAX_THREADS 256
#define LM_SPIN_NS 200000 /* longer than the Python between two operations of a network */
#define LM_GRAIN_NS 25000 /* single-thread time that is worth one more thread: cores that share no cache pay for every line that changes sides */

typedef void (*lm_task)(void *ctx, int64_t task, int64_t slot);

static struct {
    pthread_mutex_t entry; /* held by the caller whose job it is */
    pthread_mutex_t sleep;
    pthread_cond_t wake, done;
    lm_task fn;
    void *ctx;
    uint64_t mode;              /* floating-point mode of the tasks */
    int opened;                 /* seats the job opened with */
    _Atomic int cpu;            /* the caller's processor */
    _Atomic int seats, left;    /* places free; workers that have left */
    _Atomic unsigned job;       /* number of the newest job */
    _Atomic int sleepers, waiting;
    int workers;
} pool = {.entry = PTHREAD_MUTEX_INITIALIZER, .sleep = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

/* The tasks a slot begins with, [next, end): a line of cache each. */
static struct {
    _Alignas(64) _Atomic int64_t next;
    int64_t end;
} lm_share[LM_MAX_THREADS];

static _Atomic int lm_threads = 1;
static _Atomic int lm_flush = 1;

static inline uint64_t lm_mode_get(void) {
    uint64_t mode = 0;
#if defined(__x86_64__)
    mode = _mm_getcsr();
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
#endif
    return mode;
}

static inline void lm_mode_set(uint64_t mode) {
#if defined(__x86_64__)
    _mm_setcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" ::"r"(mode));
#endif
}

/* The mode tasks run in, for a caller in `mode`. */
static inline uint64_t lm_mode_of_tasks(uint64_t mode) {
    if (!atomic_load_explicit(&lm_flush, memory_order_relaxed)) return mode;
#if defined(__x86_64__)
    return mode | 0x8040; /* FTZ, DAZ */
#elif defined(__aarch64__)
    return mode | (1ull << 24); /* FZ */
#else
    return mode;
#endif
}

static inline uint64_t lm_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void lm_work(int64_t slot) {
    int64_t task;
    int slots = pool.opened + 1;
    for (int i = 0, from = (int)slot; i < slots; i++, from = from + 1 < slots ? from + 1 : 0)
        while ((task = atomic_fetch_add_explicit(&lm_share[from].next, 1, memory_order_relaxed)) < lm_share[from].end) pool.fn(pool.ctx, task, slot);
}

#if defined(__linux__)
static inline int lm_cpu(void) { return sched_getcpu(); }

/* Leaves a processor: excluding it for a moment is what makes Linux move a thread. */
static void lm_leave(int cpu) {
    cpu_set_t allowed, others;
    if (sched_getaffinity(0, sizeof allowed, &allowed)) return;
    others = allowed;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others)) sched_setaffinity(0, sizeof allowed, &allowed);
}
#else
static inline int lm_cpu(void) { return -1; }
static void lm_leave(int cpu) { (void)cpu; }
#endif

static void *lm_worker(void *seen_) {
    unsigned seen = (unsigned)(uintptr_t)seen_;
    for (;;) {
        uint64_t until = lm_now() + LM_SPIN_NS;
        while (atomic_load(&pool.job) == seen && lm_now() < until)
            for (int i = 0; i < 16; i++) LM_PAUSE();
        if (atomic_load(&pool.job) == seen) {
            pthread_mutex_lock(&pool.sleep);
            atomic_fetch_add(&pool.sleepers, 1);
            while (atomic_load(&pool.job) == seen) pthread_cond_wait(&pool.wake, &pool.sleep);
            atomic_fetch_sub(&pool.sleepers, 1);
            pthread_mutex_unlock(&pool.sleep);
        }
        seen = atomic_load(&pool.job);
        int cpu = lm_cpu();
        if (cpu >= 0 && cpu == atomic_load(&pool.cpu)) lm_leave(cpu);
        int seat = atomic_load(&pool.seats);
        while (seat > 0 && !atomic_compare_exchange_weak(&pool.seats, &seat, seat - 1)) {}
        if (seat <= 0) continue;
        lm_mode_set(pool.mode);
        lm_work(pool.opened - seat + 1);
        atomic_fetch_add(&pool.left, 1);
        if (atomic_load(&pool.waiting)) {
            pthread_mutex_lock(&pool.sleep);
            pthread_cond_signal(&pool.done);
            pthread_mutex_unlock(&pool.sleep);
        }
    }
    return NULL;
}

static void lm_after_fork(void) {
    pthread_mutex_init(&pool.entry, NULL);
    pthread_mutex_init(&pool.sleep, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    atomic_store(&pool.seats, 0);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.waiting, 0);
    pool.workers = 0;
}

static const int lm_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};

static void lm_hire(int wanted) {
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    if (pool.workers >= wanted) return;
    sigfillset(&all);
    for (unsigned i = 0; i < sizeof lm_faults / sizeof *lm_faults; i++) sigdelset(&all, lm_faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    while (pool.workers < wanted) { /* a refused thread is no error: the job runs on those there are */
        if (pthread_create(&thread, &attr, lm_worker, (void *)(uintptr_t)atomic_load(&pool.job))) break;
        pool.workers++;
    }
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void lamella_run(lm_task fn, void *ctx, int64_t ntasks, double nanoseconds, int64_t slots) {
    int64_t threads = atomic_load(&lm_threads);
    double worth = 1 + nanoseconds / LM_GRAIN_NS;
    if (threads > slots) threads = slots;
    if (threads > ntasks) threads = ntasks;
    if ((double)threads > worth) threads = (int64_t)worth;
    uint64_t mode = lm_mode_get();
    if (threads <= 1 || pthread_mutex_trylock(&pool.entry)) {
        lm_mode_set(lm_mode_of_tasks(mode));
        for (int64_t task = 0; task < ntasks; task++) fn(ctx, task, 0);
        lm_mode_set(mode);
        return;
    }
    lm_hire((int)threads - 1);
    pool.fn = fn;
    pool.ctx = ctx;
    pool.mode = lm_mode_of_tasks(mode);
    pool.opened = (int)threads - 1;
    atomic_store_explicit(&pool.cpu, lm_cpu(), memory_order_relaxed);
    for (int64_t i = 0; i < threads; i++) {
        lm_share[i].end = ntasks * (i + 1) / threads;
        atomic_store_explicit(&lm_share[i].next, ntasks * i / threads, memory_order_relaxed);
    }
    atomic_store(&pool.left, 0);
    atomic_store(&pool.seats, pool.opened);
    atomic_fetch_add(&pool.job, 1);
    if (atomic_load(&pool.sleepers)) {
        pthread_mutex_lock(&pool.sleep);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.sleep);
    }
    lm_mode_set(pool.mode);
    lm_work(0);
    int joined = pool.opened - atomic_exchange(&pool.seats, 0);
    uint64_t until = lm_now() + LM_SPIN_NS;
    while (atomic_load(&pool.left) < joined && lm_now() < until)
        for (int i = 0; i < 16; i++) LM_PAUSE();
    if (atomic_load(&pool.left) < joined) {
        pthread_mutex_lock(&pool.sleep);
        atomic_store(&pool.waiting, 1);
        while (atomic_load(&pool.left) < joined) pthread_cond_wait(&pool.done, &pool.sleep);
        atomic_store(&pool.waiting, 0);
        pthread_mutex_unlock(&pool.sleep);
    }
    pthread_mutex_unlock(&pool.entry);
    lm_mode_set(mode);
}

/* Seen by threadpoolctl through lamella.threads. */
__attribute__((visibility("default"))) int lamella_get_num_threads(void) { return atomic_load(&lm_threads); }
__attribute__((visibility("default"))) void lamella_set_num_threads(int n) {
    atomic_store(&lm_threads, n < 1 ? 1 : n > LM_MAX_THREADS ? LM_MAX_THREADS : n);
}
#endif
