"""Build one extension per kernel file and instruction set.

Everything else about the package stands in pyproject.toml. This file finds
``kernels/*/cy_*.pyx`` and compiles each once per instruction set, into a module
of its own (``cy_packed__v4``); ``kernels/_common`` and ``src/lamella/core.pyx``
are compiled once, for any processor of the family.

LAMELLA_BUILD_ISA   ``native`` (only the best set of this machine) or a list
                    such as ``base,v3``; default: all.
"""

import os
import platform
import shutil
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, find_namespace_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
X86 = platform.machine().lower() in ("x86_64", "amd64")
ISA_FLAGS = {
    "base": [],
    "v3": ["-mavx2", "-mfma", "-mf16c", "-mbmi2"],
    "v4": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mbmi2", "-mprefer-vector-width=512"],
}
# No -ffast-math, here or at link: it would change NaN and denormal arithmetic, and GCC 12 sets flush-to-zero for the whole process.
# Every cdef inline of a kernel must vanish into its caller (the register tile lives on constants propagated into it).
FLAGS = [
    "-O3",
    "-std=gnu11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fno-strict-aliasing",
    "-g0",  # Python's own flags ask for debugging information: twenty times the code, 4 MB of the wheel
    "-Wno-unused-function",
    "-Wno-unreachable-code",
    "-Wno-maybe-uninitialized",
    "-Wno-cpp",
    "-DCYTHON_INLINE=inline __attribute__((always_inline))",
]
# Where registers side by side go through long chains of dependent instructions: mix them, within the registers there are.
MIX = ["-fschedule-insns", "-fsched-pressure"]
FLAGS_OF = {"kernels/activation/cy_flat.pyx": MIX}
DIRECTIVES = {
    "language_level": 3,
    "binding": True,
    "embedsignature": True,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
}


def wanted_isas():
    if not X86:
        return ["base"]
    asked = os.environ.get("LAMELLA_BUILD_ISA", "all")
    if asked == "all":
        return list(ISA_FLAGS)
    if asked == "native":
        flags = set(next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "").split())
        if {"avx512f", "avx512dq", "avx512bw", "avx512vl", "fma", "bmi2"} <= flags:
            return ["v4"]
        return ["v3"] if {"avx2", "fma", "f16c", "bmi2"} <= flags else ["base"]
    isas = asked.split(",")
    if unknown := set(isas) - set(ISA_FLAGS):
        raise SystemExit(f"LAMELLA_BUILD_ISA: unknown {sorted(unknown)}; choose native, all, or some of {','.join(ISA_FLAGS)}")
    return isas


def make_include_tree():
    """``build/inc/lamella/kernels`` -> ``kernels``, so that .pyx files cimport by the installed name."""
    package = ROOT / "build" / "inc" / "lamella"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.pxd").touch()
    link = package / "kernels"
    if link.is_symlink() or link.exists():
        link.unlink() if link.is_symlink() else shutil.rmtree(link)
    link.symlink_to(ROOT / "kernels", target_is_directory=True)
    return str(ROOT / "build" / "inc")


def extension(path, isa):
    module = "lamella." + path.removeprefix("src/lamella/").removesuffix(".pyx").replace(os.sep, ".")
    if isa:
        module += f"__{isa}"
    headers = glob("kernels/_common/*.h") + glob("kernels/**/*.pxd", recursive=True)
    return Extension(
        module,
        [path],
        include_dirs=["kernels/_common", numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        extra_compile_args=FLAGS + (ISA_FLAGS[isa] if isa else []) + FLAGS_OF.get(path, []),
        extra_link_args=["-pthread"],
        depends=headers,
    )


def extensions():
    os.chdir(ROOT)
    kernels = sorted(glob("kernels/*/cy_*.pyx"))
    common = sorted(glob("kernels/_common/*.pyx") + glob("src/lamella/*.pyx"))
    if not kernels or not common:
        raise SystemExit("no kernels/*/cy_*.pyx found: the source distribution is incomplete (MANIFEST.in grafts kernels/)")
    include = [make_include_tree()]
    jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    options = {"include_path": include, "compiler_directives": DIRECTIVES, "nthreads": jobs, "quiet": True}
    built = cythonize([extension(path, None) for path in common], build_dir="build/cy-common", **options)
    for isa in wanted_isas():  # a build directory per set: two builds of one source must not share an object file
        built += cythonize([extension(path, isa) for path in kernels], build_dir=f"build/cy-{isa}", **options)
    return built


class ParallelBuild(build_ext):
    def initialize_options(self):
        super().initialize_options()
        self.parallel = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def packages():
    found = ["lamella"] + ["lamella." + name for name in find_namespace_packages("src/lamella") if "__pycache__" not in name]
    return (
        found
        + ["lamella.kernels"]
        + ["lamella.kernels." + name for name in find_namespace_packages("kernels") if "__pycache__" not in name]
    )


if __name__ == "__main__":
    setup(
        packages=packages(),
        package_data={"lamella": ["py.typed"], "lamella.data.embedded": ["*"], "": ["*.pxd", "*.pxi", "*.h", "*.pyi", "*.pyx"]},
        ext_modules=extensions(),
        cmdclass={"build_ext": ParallelBuild},
    )
