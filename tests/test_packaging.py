# SPDX-License-Identifier: BSD-3-Clause
"""What is shipped: the source archive, the wheel built from it, and a user of that wheel."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import textwrap
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_COPIED = shutil.ignore_patterns(
    ".*", "build", "dist", "out", "__pycache__", "*.egg-info", "*.so", "*.o"
)
COMPILERS = [os.environ["CXX"].split()[0]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]

pytestmark = pytest.mark.packaging
needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, COMPILERS)),
    reason="no C++ compiler: a wheel without the native module is not what is shipped",
)


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without what would lead Python back to the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **extra}


def run(*command: str | Path, cwd: Path, **extra: str) -> str:
    """Run a command to its end; its output, or a failure that shows it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(**extra),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source archive, made in a copy so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("sdist")
    copy = folder / "copy"
    shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
    code = f"from setuptools.build_meta import build_sdist; build_sdist({str(folder)!r})"
    run(sys.executable, "-c", code, cwd=copy)
    (archive,) = folder.glob("*.tar.gz")
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel, built as a user without a checkout builds it: from the source archive alone."""
    folder = tmp_path_factory.mktemp("wheel")
    # Python 3.11 has the filter from 3.11.4 on, and later versions warn without it.
    safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, **safely)
    (source,) = folder.iterdir()
    # No build isolation: an isolated build would fetch its tools again, in versions nobody pinned.
    run(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"),
        *("--no-build-isolation", "--no-deps", "--no-index", "-w", folder, source),
        cwd=folder,
        BLUROPS_CUDA="0",
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    )
    (built,) = folder.glob("*.whl")
    return built


def fresh_environment(folder: Path) -> Path:
    """The interpreter of a fresh environment without blurops.

    Torch and the other dependencies are lent by this environment through a path file, which saves
    minutes; path files of a lent folder are not read, so an editable install there stays unseen.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder)
    Path(site.strip(), "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The interpreter of a fresh environment with the wheel in it."""
    python = fresh_environment(tmp_path_factory.mktemp("user") / "venv")
    pip_install(python, wheel)
    return python


def pip_install(python: Path, target: Path) -> None:
    """Install from a file or folder, dependencies checked, nothing downloaded."""
    run(
        *(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"),
        *("install", "--quiet", "--no-index", "--no-build-isolation", target),
        cwd=target.parent,
    )


def test_the_source_archive_holds_all_that_building_and_testing_need(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    native = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*") if path.is_file()}
    wanted = {
        *native,
        *("CMakeLists.txt", "setup.py", "pyproject.toml", "constraints.txt", "Makefile"),
        *("LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md"),
        *("blurops/py.typed", "proof/run.py", "tests/test_packaging.py"),
    }
    assert native
    assert wanted - names == set()
    assert [name for name in names if name.endswith((".so", ".pyc", ".o"))] == []


@needs_compiler
def test_the_wheel_holds_the_module_and_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
        metadata = archive.read(f"{info}/METADATA").decode()
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    assert [name for name in names if name.endswith(".so")] == [f"blurops/_C{suffix}"]
    assert "blurops/py.typed" in names
    assert f"{info}/licenses/LICENSE" in names
    assert {name.split("/")[0] for name in names} <= {"blurops", "blurmodels", info}
    assert [name for name in names if name.endswith((".cpp", ".h", ".cu"))] == []
    assert "blurops = blurops.cli:main" in entry_points
    assert "License-Expression: BSD-3-Clause" in metadata
    for extra in ("cupy-cuda12x", "cupy-cuda13x", "test"):
        assert f"Provides-Extra: {extra}" in metadata


@needs_compiler
def test_every_module_of_the_package_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if name.endswith(".py")}
    for folder in (ROOT / "blurops", ROOT / "python" / "blurmodels"):
        modules = {str(path.relative_to(folder.parent)) for path in folder.rglob("*.py")}
        assert modules - shipped == set()


DOWNSTREAM_PROJECT = """
    [build-system]
    requires = ["setuptools"]
    build-backend = "setuptools.build_meta"
    [project]
    name = "fogbow"
    version = "1.0"
    dependencies = ["blurops>=0.1"]
    [tool.setuptools]
    py-modules = ["fogbow"]
"""

DOWNSTREAM_MODULE = """
    import torch
    import blurops

    class LearnedBlur(torch.nn.Module):
        def __init__(self, basis, side, height, width):
            super().__init__()
            self.kernels = torch.nn.Parameter(torch.rand(1, basis, side, side))
            self.mixing = torch.nn.Parameter(torch.rand(1, basis, height, width))

        def forward(self, image):
            return blurops.basis_blur(image, self.kernels, self.mixing.softmax(1))
"""

DOWNSTREAM_USE = """
    import pathlib, sys
    import torch
    import blurops
    import fogbow

    here = pathlib.Path(sys.prefix).resolve()
    for module in (blurops, fogbow):
        assert here in pathlib.Path(module.__file__).resolve().parents, module.__file__
    assert blurops.backends()["native"] is None, blurops.backends()

    torch.manual_seed(0)
    layer = fogbow.LearnedBlur(3, 5, 12, 10)
    image = torch.rand(2, 3, 12, 10, requires_grad=True)
    blurred = layer(image)
    mixing = layer.mixing.softmax(1)
    wanted = blurops.basis_blur(
        image.double(), layer.kernels.double(), mixing.double(), backend="reference"
    )
    assert torch.linalg.norm(blurred - wanted) <= 2e-6 * torch.linalg.norm(wanted)
    blurred.square().mean().backward()
    for tensor in (image, layer.kernels, layer.mixing):
        assert tensor.grad.isfinite().all()
        assert tensor.grad.abs().max() > 0
    print("downstream works")
"""


@needs_compiler
def test_a_downstream_package_runs_on_the_installed_wheel(installed, tmp_path):
    project = tmp_path / "fogbow"
    project.mkdir()
    (project / "pyproject.toml").write_text(textwrap.dedent(DOWNSTREAM_PROJECT))
    (project / "fogbow.py").write_text(textwrap.dedent(DOWNSTREAM_MODULE))
    pip_install(installed, project)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out = run(installed, "-W", "error", "-c", textwrap.dedent(DOWNSTREAM_USE), cwd=elsewhere)
    assert out == "downstream works\n"


@needs_compiler
def test_the_installed_command_runs(installed, tmp_path):
    command = installed.parent / "blurops"
    assert "native" in run(command, "info", cwd=tmp_path)
    assert "demo" in run(command, "--help", cwd=tmp_path)


def build_in_place(folder: Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """What a developer runs, in a copy of the project."""
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
    return subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        env={**clean_environment(BLUROPS_CUDA="0"), **extra},
        text=True,
        capture_output=True,
        timeout=300,
        check=False,
    )


def test_without_a_compiler_the_build_says_so_in_one_line_and_goes_on(tmp_path):
    tools = Path(sys.executable).parent
    done = build_in_place(tmp_path / "copy", PATH=str(tools), CXX="no-such-compiler")
    assert done.returncode == 0, done.stderr
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "no C++ compiler found" in line
    assert list((tmp_path / "copy").rglob("_C*")) == []


@needs_compiler
def test_a_compiler_that_fails_ends_the_build(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = build_in_place(tmp_path / "copy", PATH=path, CXXFLAGS="-DBLUROPS_HD=)")
    assert done.returncode != 0
    assert list((tmp_path / "copy" / "blurops").glob("_C*")) == []


@pytest.fixture(scope="module")
def without_module(tmp_path_factory):
    """A folder with blurops as it is where nothing could be compiled."""
    folder = tmp_path_factory.mktemp("uncompiled")
    shutil.copytree(ROOT / "blurops", folder / "blurops", ignore=NOT_COPIED)
    return folder


@pytest.fixture(scope="module")
def run_without_module(tmp_path_factory):
    """A function that runs code beside a folder's package: output and errors."""
    python = fresh_environment(tmp_path_factory.mktemp("bare") / "venv")

    def run_in(folder: Path, code: str) -> tuple[str, str]:
        done = subprocess.run(
            [python, "-c", textwrap.dedent(code)],
            cwd=folder,
            env=clean_environment(),
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return run_in


def test_importing_says_nothing_and_stays_light(without_module, run_without_module):
    code = """
        import sys
        import torch
        before = set(sys.modules)
        import blurops
        heavy = {"matplotlib", "skimage", "tqdm", "PIL", "tifffile", "imagecodecs", "scipy"}
        assert not heavy & (set(sys.modules) - before), heavy & set(sys.modules)
    """
    assert run_without_module(without_module, code) == ("", "")


USE_WITHOUT_MODULE = """
    import pathlib
    import torch
    import blurops

    assert pathlib.Path(blurops.__file__).parent.parent == pathlib.Path.cwd()
    generator = torch.Generator().manual_seed(0)
    def rand(*shape):
        return torch.rand(*shape, dtype=torch.float64, generator=generator)
    x, k, m = rand(2, 3, 20, 17), rand(1, 2, 5, 7), rand(2, 2, 20, 17)
    tensors = [t.requires_grad_() for t in (x, k, m)]
    y = rand(2, 3, 20, 17)
    results = {}
    for method in ("auto", "direct", "fft"):
        blurred = blurops.basis_blur(*tensors, method=method)
        back = blurops.basis_blur_adjoint(y, k, m, method=method)
        gap = abs((blurred * y).sum() - (x * back).sum()) / (blurred.norm() * y.norm())
        assert gap <= 1e-12, gap
        results[method] = [blurred, *torch.autograd.grad((blurred * y).sum(), tensors)]
    for one, other in zip(results["direct"], results["fft"], strict=True):
        assert torch.linalg.norm(one - other) <= 1e-12 * torch.linalg.norm(other)
    try:
        blurops.basis_blur(x, k, m, backend="native")
    except NotImplementedError as error:
        print(error)
"""


def test_without_the_module_the_torch_paths_work_and_say_once_why_they_are_slower(
    without_module, run_without_module
):
    out, errors = run_without_module(without_module, USE_WITHOUT_MODULE)
    assert "backend 'native' cannot run this call: the native module is not built" in out
    (line,) = errors.splitlines()
    assert "slower torch paths because the native module is not built" in line


def test_a_module_that_does_not_load_is_reported_with_the_reason(
    without_module, run_without_module, tmp_path
):
    broken = tmp_path / "broken"
    shutil.copytree(without_module, broken)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    (broken / "blurops" / f"_C{suffix}").write_text("this is not a shared library")
    out, errors = run_without_module(broken, USE_WITHOUT_MODULE)
    assert "the native module does not load" in out
    (line,) = errors.splitlines()
    assert "the native module does not load" in line
