"""The house itself: public names, import order, registries, indexes, what the README says."""

import ast
import graphlib
import importlib
import importlib.util
import re
import subprocess
import sys
import tomllib

import pytest

import dsmooth
from browsing import barriers
from dsmooth.registry import Registry
from support import ROOT


def test_all_is_the_public_api():
    assert dsmooth.__all__ == sorted(dsmooth.__all__)
    assert {name for name in dsmooth.__all__ if name != "__version__"} == set(dsmooth._HOME)
    for name in dsmooth.__all__:
        assert getattr(dsmooth, name) is not None
    with pytest.raises(AttributeError, match="dsmooth has no 'nothing'"):
        _ = dsmooth.nothing


def test_every_public_name_has_a_docstring():
    for path in sorted((ROOT / "src" / "dsmooth").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        if name.endswith("__main__") or (name.endswith("_triton") and not importlib.util.find_spec("triton")):
            continue
        module = importlib.import_module(name)
        assert module.__doc__, name
        for public in getattr(module, "__all__", []):
            value = getattr(module, public)
            if (
                callable(value)
                and getattr(value, "__module__", None) == name
                and isinstance(value, type(lambda: 0) | type)
            ):
                assert value.__doc__, f"{name}.{public}"


@pytest.mark.parametrize(
    "module",
    [
        "dsmooth",
        "dsmooth.theory.certifiers",
        "dsmooth.records.certificate_file",
        "dsmooth.runs.verify",
        "dsmooth.report.page",
        "dsmooth.services.client",
        "dsmooth.runs.recertify",
        "dsmooth.images.opening",
        "dsmooth.denoisers.names",
        "dsmooth.cli",
    ],
)
def test_no_torch_where_none_is_needed(module):
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_imports_follow_the_plan():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


SOURCE = ROOT / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SOURCE / "dsmooth").rglob("*.py"))
}


def imports(tree):
    """The modules of dsmooth that this code imports, inside functions too, but not for annotations alone."""
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    if isinstance(tree, ast.Import):
        yield from (alias.name for alias in tree.names if alias.name in MODULES)
    elif isinstance(tree, ast.ImportFrom) and tree.module in MODULES:
        inside = [f"{tree.module}.{alias.name}" for alias in tree.names]
        yield from (name if name in MODULES else tree.module for name in inside)
    for part in ast.iter_child_nodes(tree):
        yield from imports(part)


def test_imports_go_one_way():
    found = {name: set(imports(ast.parse(path.read_text()))) for name, path in MODULES.items()}
    assert sum(map(len, found.values())) > 500
    try:
        graphlib.TopologicalSorter(found).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_row_of_a_registry_leads_to_an_object_of_its_package():
    held = {}
    for name in MODULES:
        if not name.endswith(("__main__", "_triton")):
            values = vars(importlib.import_module(name)).values()
            for registry in (value for value in values if isinstance(value, Registry)):
                held.setdefault(id(registry), (registry, set()))[1].add(name.split(".")[1])
    assert len(held) >= 9
    for registry, packages in held.values():
        assert all(registry.load(name) is not None for name in registry)
        (package,) = {address.split(".")[1] for address in registry.values()}
        assert package in packages, f"{registry.kind} leads to {package}, and is in {packages}"


PACKAGES = [path for name, path in MODULES.items() if path.name == "__init__.py" and name != "dsmooth"]


@pytest.mark.parametrize("index", PACKAGES, ids=[".".join(path.parent.parts[-2:]) for path in PACKAGES])
def test_the_index_of_a_package_names_its_files(index):
    named = set(re.findall(r"\b\w+\.py\b|^\w+/", ast.get_docstring(ast.parse(index.read_text())), re.M))
    files = {path.name for path in index.parent.glob("*.py")} | {f"{path.name}/" for path in index.parent.glob("*/")}
    assert named == {name for name in files if not name.startswith("_")}


def test_readme_commands_exist():
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make ([a-z-]+)", readme, re.M)
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target
    from dsmooth.cli import app

    for command in re.findall(r"^dsmooth ([a-z-]+)", readme, re.M):
        assert command in app, command
    for recipe in re.findall(
        r"python -m (recipes\.\w+|benchmarks\.\w+)", readme + (ROOT / "docs" / "results.md").read_text()
    ):
        assert (ROOT / f"{recipe.replace('.', '/')}.py").is_file(), recipe


def test_contributing_says_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    links, tests = re.findall(r"\]\(([\w/.-]+)\)", text), re.findall(r"pytest ([\w/.]+)", text)
    assert len(links) >= 8
    for path in [*links, *tests, *re.findall(r"`(src/[\w/.]+)`", text)]:
        assert (ROOT / path).exists(), path
    for path, test in re.findall(r"(tests/[\w/]+\.py)::(\w+)", text):
        assert f"def {test}(" in (ROOT / path).read_text(), (path, test)
    (packages,) = re.findall(r"```\n(cli .*?)```", text, re.S)
    told = [line.split(" | ") for row in packages.splitlines() for line in re.split(r" {2,}", row)[0].split(", ")]
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert list(map(sorted, told)) == [sorted(line.replace("dsmooth.", "").split(" | ")) for line in layers]


def test_readme_python_runs(tmp_path, monkeypatch):
    import numpy as np

    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    from support import Constant

    names = {"model": Constant(), "image": np.zeros((16, 16, 3), np.uint8)}
    exec(compile(code, "README.md", "exec"), names)
    assert names["certificate"].answer == 3


def test_theory_claims_name_functions_and_tests_that_exist():
    text = (ROOT / "docs" / "theory.md").read_text()
    functions = re.findall(r"`dsmooth\.([\w.]+)`", text)
    assert len(functions) >= 8
    for dotted in functions:
        parts = dotted.split(".")
        for cut in range(len(parts), 0, -1):
            try:
                value = importlib.import_module("dsmooth." + ".".join(parts[:cut]))
            except ImportError:
                continue
            for name in parts[cut:]:
                value = getattr(value, name)
            break
        else:
            pytest.fail(dotted)
    faults = (ROOT / "docs" / "faults.md").read_text()
    for path, test in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text + faults):
        assert f"def {test}(" in (ROOT / path).read_text() or f"class {test}" in (ROOT / path).read_text(), (path, test)


@pytest.mark.slow
def test_the_demo_convinces(tmp_path, browser):
    from dsmooth.demo import Demo

    lines = []
    page = Demo(sigmas=(0.5,), seed=0).run(tmp_path, on_samples=lambda done: None, on_line=lines.append)
    with_denoiser = {line[:12].strip(): line for line in lines if "  yes  " in line}
    for photograph, label in (("cameraman", "tripod"), ("coffee cup", "espresso")):
        assert label in with_denoiser[photograph].split("votes")[0]
    assert lines[1].startswith("cameraman")
    undenoised = next(line for line in lines if line.startswith("cameraman") and "  no   " in line)
    assert "abstain" in undenoised
    attacked = {line[:12].strip(): line for line in lines if "attacked within the radius" in line}
    assert {"cameraman", "coffee cup"} <= set(attacked)
    for photograph, line in attacked.items():  # nothing within the radius turns what was certified
        assert re.search(r"smoothed (.*?) \d+", line)[1] in with_denoiser[photograph].split("votes")[0]
    html = page.read_text()
    assert html.count("is fooled") >= len(attacked) // 2
    assert html.count("<img") == 6 * 3 + 2 * len(attacked)
    assert "still says" in html
    assert "mostly says" not in html
    assert [barriers(browser, page.as_uri(), scheme) for scheme in ("light", "dark")] == [[], []]
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", html)


@pytest.mark.slow
def test_a_built_wheel_certifies_in_an_empty_environment(tmp_path):
    """The wheel alone, its files as installed, on a path without this checkout."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run([str(part) for part in install], check=True, capture_output=True)
    (tmp_path / "tiny.py").write_text(
        "from torch import nn\n"
        "def model():\n    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 5))\n"
    )
    import numpy as np
    from PIL import Image

    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / "x.png")
    line = [environment / "bin" / "dsmooth", "certify", "x.png", "-c", "import:tiny:model", "--n", "50", "-o", "run"]
    done = subprocess.run([str(part) for part in line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = subprocess.run(
        [environment / "bin" / "dsmooth", "report", "run"], cwd=tmp_path, capture_output=True, check=False
    )
    assert report.returncode == 0, report.stderr
