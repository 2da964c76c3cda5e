"""The thread pool: every task once, on every thread count, from any caller, across fork, signals and floating-point modes."""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from lamella.kernels._common import pool, probe

import lamella
from lamella import threads

TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
LONG = 1e9  # ns: worth every thread
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")


@pytest.fixture(autouse=True)
def settings():
    before = pool.get_num_threads(), pool.get_flush_denormals()
    yield
    pool.set_num_threads(before[0])
    pool.set_flush_denormals(before[1])


def run(function, ntasks, nanoseconds=LONG, slots=1 << 20):
    """Run a Python function (task, slot) on the pool."""
    callback = TASK(lambda ctx, task, slot: function(task, slot))
    pool.run(ctypes.cast(callback, ctypes.c_void_p).value, 0, ntasks, nanoseconds, slots)


def tally(counts, nanoseconds=LONG, slots=1 << 20):
    pool.run(probe.tally(), counts.ctypes.data, counts.size, nanoseconds, slots)


def in_subprocess(code, timeout=60, **environment):
    """Run Python code in a process of its own; returns its output, fails if it fails or does not end."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def conv_like():
    """A kernel call worth all threads, and its result."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(1 << 18).astype(np.float32)
    return lamella.functional.relu(x), np.maximum(x, 0)


# Every task once


@pytest.mark.parametrize("count", [1, 2, 3, 8, 17])
def test_every_task_once(count):
    pool.set_num_threads(count)
    for ntasks in [*range(40), 1000, 100_003]:
        counts = np.zeros(ntasks, np.int64)
        tally(counts)
        assert (counts == 1).all()


def test_threads_take_part_and_slots_are_theirs():
    pool.set_num_threads(4)
    seen = {}

    def work(task, slot):
        seen.setdefault(slot, set()).add(threading.get_ident())
        time.sleep(0.002)

    run(work, 60)
    assert set(seen) == {0, 1, 2, 3}
    assert seen[0] == {threading.get_ident()}
    assert len({ident for idents in seen.values() for ident in idents}) == 4


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_slots_bound_the_threads(slots):
    pool.set_num_threads(6)
    seen = set()

    def work(task, slot):
        seen.add(slot)
        time.sleep(0.001)

    for _ in range(5):
        run(work, 20, slots=slots)
    assert seen <= set(range(slots))
    assert len(seen) == slots


def test_small_work_stays_on_the_caller():
    pool.set_num_threads(4)
    idents = set()

    def work(task, slot):
        idents.add((threading.get_ident(), slot))
        time.sleep(0.001)

    for nanoseconds in (0.0, 1000.0, -1.0):
        run(work, 8, nanoseconds)
    assert idents == {(threading.get_ident(), 0)}


def test_work_worth_two_threads_gets_two():
    pool.set_num_threads(8)
    seen = set()

    def work(task, slot):
        seen.add(slot)
        time.sleep(0.001)

    run(work, 30, 40000.0)
    assert seen == {0, 1}


def test_number_of_threads_changes_between_jobs():
    for count in [3, 1, 5, 2, 8, 1, 4] * 20:
        pool.set_num_threads(count)
        counts = np.zeros(64, np.int64)
        tally(counts)
        assert (counts == 1).all()


# Entry from several threads, and from a task


def test_concurrent_entry():
    pool.set_num_threads(3)
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(200_000).astype(np.float32) for _ in range(6)]
    wrong = []

    def work(x):
        for _ in range(50):
            if not np.array_equal(lamella.functional.relu(x), np.maximum(x, 0)):
                wrong.append(1)
            counts = np.zeros(100, np.int64)
            tally(counts)
            if not (counts == 1).all():
                wrong.append(2)

    with ThreadPoolExecutor(6) as executor:
        list(executor.map(work, inputs))
    assert not wrong


def test_nested_entry():
    pool.set_num_threads(3)
    counts = np.zeros((10, 50), np.int64)

    def work(task, slot):
        tally(counts[task])

    run(work, 10)
    assert (counts == 1).all()


def test_nested_slots_start_at_zero():
    pool.set_num_threads(2)
    inner = set()
    run(lambda task, slot: run(lambda task, slot: inner.add(slot), 4), 4)
    assert inner == {0}


# Processes


@LINUX
def test_fork():
    in_subprocess(
        """
        import os, signal, sys, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # os.fork in a process with threads
        import lamella, numpy as np
        lamella.set_num_threads(3)
        x = np.random.default_rng(0).standard_normal(1 << 18).astype(np.float32)
        y = lamella.functional.relu(x)
        children = []
        for number in range(4):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                right = all(np.array_equal(lamella.functional.relu(x), y) for _ in range(20))
                os._exit(0 if right else 1)
            children.append(pid)
            assert np.array_equal(lamella.functional.relu(x), y)
        for pid in children:
            assert os.waitpid(pid, 0)[1] == 0
        assert np.array_equal(lamella.functional.relu(x), y)
        """
    )


@LINUX
def test_fork_while_another_thread_computes():
    in_subprocess(
        """
        import os, signal, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import lamella, numpy as np
        lamella.set_num_threads(2)
        x = np.random.default_rng(0).standard_normal(1 << 20).astype(np.float32)
        y = lamella.functional.relu(x)
        stop = threading.Event()
        def compute():
            while not stop.is_set():
                lamella.functional.relu(x)
        thread = threading.Thread(target=compute)
        thread.start()
        try:
            for _ in range(10):
                pid = os.fork()
                if pid == 0:
                    signal.alarm(20)
                    os._exit(0 if np.array_equal(lamella.functional.relu(x), y) else 1)
                assert os.waitpid(pid, 0)[1] == 0
        finally:
            stop.set()
            thread.join()
        """
    )


@LINUX
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, tmp_path):
    (tmp_path / "work.py").write_text(
        textwrap.dedent(
            f"""
            import multiprocessing, warnings
            import lamella, numpy as np

            def work(seed):
                x = np.random.default_rng(seed).standard_normal(200_000).astype(np.float32)
                return bool(np.array_equal(lamella.functional.relu(x), np.maximum(x, 0)))

            if __name__ == "__main__":
                warnings.simplefilter("ignore", DeprecationWarning)
                lamella.set_num_threads(2)
                assert work(0)
                with multiprocessing.get_context({method!r}).Pool(2) as processes:
                    assert processes.map_async(work, range(8)).get(60) == [True] * 8
            """
        )
    )
    subprocess.run([sys.executable, str(tmp_path / "work.py")], check=True, timeout=90)


# Floating-point modes. A Python float operation inside a task runs in the task's mode.

TINY = 5e-324


def denormals(count=3):
    """Slot -> whether a denormal survived arithmetic on the thread of that slot."""
    pool.set_num_threads(count)
    survived = {}

    def work(task, slot):
        survived.setdefault(slot, TINY * (1.0 + slot * 0) != 0.0)
        time.sleep(0.001)

    run(work, 12 * count)
    assert len(survived) == count
    return survived


def test_denormals_are_flushed_inside_tasks_only():
    assert not any(denormals().values())
    assert TINY * 1.0 != 0.0
    assert (np.full(100, 1e-40, np.float32) * np.float32(0.5) != 0).all()


@pytest.mark.parametrize("count", [1, 3])
def test_set_flush_denormals_reaches_every_thread(count):
    denormals(count)  # the workers exist already, and ran in the other mode
    pool.set_flush_denormals(False)
    assert all(denormals(count).values())
    pool.set_flush_denormals(True)
    assert not any(denormals(count).values())
    assert TINY * 1.0 != 0.0


@pytest.mark.parametrize("backend", ["cython", "numba"])
def test_kernels_flush_denormals(backend):
    x = np.full(50_000, 1e-40, np.float32)
    with lamella.use_backend(backend):
        assert (lamella.functional.leaky_relu(-x, 0.5) == 0).all()
        assert (x * np.float32(0.5) != 0).all()  # NumPy's mode is the caller's again
        pool.set_flush_denormals(False)
        assert (lamella.functional.leaky_relu(-x, 0.5) != 0).all()


def test_fresh_thread_after_work_keeps_its_denormals():
    denormals()
    kept = []
    thread = threading.Thread(target=lambda: kept.append(TINY * 1.0 != 0.0))
    thread.start()
    thread.join()
    assert kept == [True]


# Signals


@LINUX
def test_interrupt_reaches_the_main_thread():
    in_subprocess(
        """
        import os, signal, threading, time
        import lamella
        from lamella.kernels._common import probe
        lamella.set_num_threads(2)
        main = threading.get_ident()
        handled = []
        def handler(number, frame):
            handled.append(threading.get_ident())
            raise KeyboardInterrupt
        signal.signal(signal.SIGINT, handler)
        def interrupt():
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            for _ in range(100_000):
                probe.peak(2, 4)
        except KeyboardInterrupt:
            thread.join()
            assert handled == [main]
            counted, flops, _ = probe.peak(2, 1)  # the pool is whole
            assert 2 * counted == flops
        else:
            raise SystemExit("not interrupted")
        """
    )


@LINUX
def test_workers_block_signals_but_not_faults():
    pool.set_num_threads(2)
    masks = {}

    def work(task, slot):
        masks[slot] = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        time.sleep(0.002)

    run(work, 30)
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGCHLD} <= masks[1]
    assert not {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT} & masks[1]
    assert signal.SIGINT not in masks[0]


# How many threads


def test_set_num_threads_refuses_nonsense():
    for wrong in (0, -1, 1.5, "2", True, None):
        with pytest.raises(ValueError, match="set_num_threads"):
            lamella.set_num_threads(wrong)


def test_set_num_threads_is_bounded():
    lamella.set_num_threads(10**6)
    assert lamella.get_num_threads() == pool.MAX_THREADS
    lamella.set_num_threads(2)
    assert lamella.get_num_threads() == 2


def test_threadpoolctl_sees_and_limits():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    lamella.set_num_threads(3)

    def ours():
        return [lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["internal_api"] == "lamella"]

    assert ours() == [3]
    with threadpoolctl.threadpool_limits(1):
        assert lamella.get_num_threads() == 1
        assert ours() == [1]
    assert lamella.get_num_threads() == 3


def test_environment_variable():
    code = "import lamella; print(lamella.get_num_threads())"
    assert in_subprocess(code, LAMELLA_NUM_THREADS="5").strip() == "5"
    for wrong in ("0", "-1", "many", "1.5"):
        with pytest.raises(AssertionError, match="LAMELLA_NUM_THREADS"):
            in_subprocess(code, LAMELLA_NUM_THREADS=wrong)


@LINUX
def test_affinity():
    in_subprocess(
        """
        import os
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        import lamella
        assert lamella.get_num_threads() == 1
        """,
        LAMELLA_NUM_THREADS="",
    )


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("own", "parent", "expected"),
    [
        ("max 100000", "max 100000", None),
        ("150000 100000", "max 100000", 1.5),
        ("max 100000", "50000 100000", 0.5),
        ("400000 100000", "200000 100000", 2.0),
        ("nonsense", "max 100000", None),
        ("", "", None),
    ],
)
def test_quota_v2(tmp_path, own, parent, expected):
    write(tmp_path / "cgroup", "0::/a/b\n")
    write(tmp_path / "fs/a/b/cpu.max", own + "\n")
    write(tmp_path / "fs/a/cpu.max", parent + "\n")
    assert threads.cgroup_quota(tmp_path / "fs", tmp_path / "cgroup") == expected


def test_quota_v2_in_a_container(tmp_path):
    """Inside a container the own group is mounted as the root, while its name may be that of the host."""
    write(tmp_path / "cgroup", "0::/docker/0123\n")
    write(tmp_path / "fs/cpu.max", "250000 100000\n")
    assert threads.cgroup_quota(tmp_path / "fs", tmp_path / "cgroup") == 2.5


@pytest.mark.parametrize(("folder", "quota", "expected"), [("cpu", "-1", None), ("cpu", "50000", 0.5), ("cpu,cpuacct", "300000", 3.0)])
def test_quota_v1(tmp_path, folder, quota, expected):
    write(tmp_path / "cgroup", "12:cpuset:/x\n4:cpu,cpuacct:/job/1\n")
    (tmp_path / "fs" / folder).mkdir(parents=True)
    if folder != "cpu":
        (tmp_path / "fs/cpu").symlink_to(tmp_path / "fs" / folder)
    write(tmp_path / "fs/cpu/job/1/cpu.cfs_quota_us", quota + "\n")
    write(tmp_path / "fs/cpu/job/1/cpu.cfs_period_us", "100000\n")
    assert threads.cgroup_quota(tmp_path / "fs", tmp_path / "cgroup") == expected


def test_no_control_groups(tmp_path):
    assert threads.cgroup_quota(tmp_path / "nothing", tmp_path / "none") is None


def test_default_rounds_the_quota_up(monkeypatch):
    monkeypatch.delenv("LAMELLA_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for quota, expected in [(None, 8), (0.5, 1), (1.5, 2), (3.0, 3), (100.0, 8)]:
        monkeypatch.setattr(threads, "cgroup_quota", lambda quota=quota: quota)
        assert threads.default_num_threads() == expected


# Lost wake-ups


@LINUX
@pytest.mark.parametrize("count", [2, 3, 8])
def test_no_wake_up_is_lost(count):
    in_subprocess(
        f"""
        import numpy as np, time, lamella
        from lamella.kernels._common import pool, probe
        lamella.set_num_threads({count})
        counts = np.zeros(8, np.int64)
        task, address = probe.tally(), counts.ctypes.data
        jobs, end = 0, time.monotonic() + 2
        while jobs < 200_000 and time.monotonic() < end:
            for ntasks in (2, 3, 8, 2, 5):
                pool.run(task, address, ntasks, 1e9, 1 << 20)
            if jobs % 1000 == 0:
                time.sleep(0.0001)  # longer than the workers spin: they sleep
            jobs += 5
        assert counts.sum() == jobs * 4, (counts, jobs)
        print(jobs)
        """,
        timeout=60,
    )


def test_results_do_not_depend_on_threads():
    expected = None
    for count in (1, 2, 3, 7):
        pool.set_num_threads(count)
        got, right = conv_like()
        assert np.array_equal(got, right)
        expected = got if expected is None else expected
        assert got.tobytes() == expected.tobytes()
