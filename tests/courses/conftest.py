"""A test that proves an item of the courses runs, always: a skip (or an expected failure) is a failure."""

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and item.get_closest_marker("course"):
        report.outcome = "failed"
        report.longrepr = f"a course test never skips: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    if report.skipped:  # a module that skips itself
        report.outcome = "failed"
        report.longrepr = f"a course test never skips: {report.longrepr}"
    return report
