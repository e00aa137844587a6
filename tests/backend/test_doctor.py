"""The doctor says one line about each thing, also about what is missing."""

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

import pytest

from backend import doctor
from backend.workspace import Workspace


def test_each_thing_has_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(tmp_path / "not there yet") == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[1] for line in lines]
    assert names == ["python", "torch", "memory", "disk", "packages", "starter", "chromium"]
    assert all(line.startswith(("ok  ", "!!  ")) for line in lines)


@pytest.mark.parametrize("module", ["torch", "psutil"])
def test_a_missing_library_hides_nothing_else(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "backend.device", raising=False)
    findings = list(doctor.findings(Workspace(tmp_path)))
    assert len(findings) == 7
    assert f"{module} is not installed. {doctor.AFRESH}" in [finding.text for finding in findings]


def test_versions_are_held_against_the_pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"torch": "2.13.0+cpu", "gradio": "6.30.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# why\ntorch==2.13.0  # tensors\ngradio==6.31.0\npurring==1.0\n")
    text = f"gradio 6.30.0, not 6.31.0; purring missing, not 1.0. {doctor.AFRESH}"
    assert doctor.packages(requirements) == doctor.Finding("packages", False, text)
    requirements.write_text("torch==2.13.0\n")
    assert doctor.packages(requirements).ok


def test_a_missing_browser_is_only_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert not doctor.chromium().ok and not doctor.chromium().essential


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    found = doctor.disk(tmp_path / "deep" / "down")
    assert not found.ok and found.essential
    assert found.text == f"{tmp_path} cannot be written to. Choose another folder with --workspace."


def test_the_unpacked_starter_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "starter"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert doctor.starter(Workspace(tmp_path)).text == f"unpacked in {folder}"
