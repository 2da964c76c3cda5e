"""What holds for every test.

LAMELLA_REQUIRE_ORACLE=1 (CI): a test that is skipped because a package is missing, or that compares with PyTorch and is skipped for whatever
reason, fails.
"""

import os
from importlib.util import find_spec

import pytest
from hypothesis import settings

import lamella
from lamella.registry import isas

STRICT = bool(os.environ.get("LAMELLA_REQUIRE_ORACLE"))

settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")


def pytest_report_header(config):
    found = [name for name in ("numba", "torch", "threadpoolctl") if find_spec(name)]
    return (
        f"lamella: {lamella.__version__}, instruction set {lamella.registry.ISA} of {', '.join(isas())}, "
        f"{lamella.get_num_threads()} threads, with {', '.join(found) or 'no optional package'}"
    )


def pytest_configure(config):
    if STRICT:
        for name in ("numba", "torch"):
            if find_spec(name) is None:
                raise pytest.UsageError(f"LAMELLA_REQUIRE_ORACLE is set and {name} is not installed")


def _must_not_skip(report):
    return STRICT and report.skipped and not hasattr(report, "wasxfail")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if _must_not_skip(report) and (item.get_closest_marker("oracle") or "could not import" in str(report.longrepr)):
        report.outcome = "failed"
        report.longrepr = f"skipped, with LAMELLA_REQUIRE_ORACLE: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if _must_not_skip(report):  # a module that skips itself
        report.outcome = "failed"
        report.longrepr = f"skipped, with LAMELLA_REQUIRE_ORACLE: {report.longrepr}"
    return report
