"""What every command has in common: how options are read, and that nothing printed can break the program or the terminal."""

import argparse
import io
import json
import os
import pty
import subprocess
import sys
import termios
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from edgewise.cli.main import build_parser, main
from edgewise.cli.options import read_requirements
from edgewise.cli.output import Progress, print_error, table
from edgewise.errors import InputError, RequirementError

pytestmark = pytest.mark.bare

FULL = Path("/dev/full")
PLAIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
RAW = os.fsdecode(b"\xff\x1b[31m")  # half a character and an order to the terminal, as a file name may have


def edgewise(
    *arguments: object, stdout: int | io.IOBase = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A process of its own: only there stdout and stderr are real."""
    return subprocess.run(
        [sys.executable, "-m", "edgewise.cli", *map(str, arguments)],
        stdout=stdout, stderr=subprocess.PIPE, check=False, encoding="latin-1", env={**os.environ, **environment},
    )  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


# ------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "a", "b", "--unsafe"],
        ["run", "a", "b", "--u"],
        ["verify", "a", "--rep"],
        ["key", "new", "--na", "x"],
        ["--vers"],
    ],
)
def test_options_are_written_out(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    capsys.readouterr()


@pytest.mark.parametrize("value", ["-1,1", "-.5,1", "-1e3,-2"])
def test_a_value_may_begin_like_a_negative_number(value: str) -> None:
    given = ["pack", "m.onnx", "--name", "n", "--version", "1", "-o", "f", "--range", value, "--before", value]
    options = build_parser("pack").parse_args(given)
    assert (options.range, options.before) == (value, value)


def test_who_is_trusted_and_that_nobody_is_asked_are_not_said_together(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["run", "a", "b"], ["verify", "a"], ["eval", "a", "--data", "b"], ["export", "a", "-o", "b"]):
        build_parser(command[0]).parse_args([*command, "--unsafe-no-verification"])
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--trust", "root.json", "--unsafe-no-verification"])
        assert stopped.value.code == 2
        assert "not allowed with" in capsys.readouterr().err


def test_looking_at_a_bundle_offers_nothing_dangerous(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["inspect", "a", "--unsafe-no-verification"])
    assert stopped.value.code == 2
    capsys.readouterr()


def test_a_requirement_is_said_once() -> None:
    assert read_requirements(argparse.Namespace(require=["max_p95_ms=5", "engine=onnxruntime"])).max_p95_ms == 5
    for twice in (["max_p95_ms=5", "max_p95_ms=9"], ["max_p95_ms=5", " max_p95_ms = 5"]):
        with pytest.raises(InputError, match="max_p95_ms is given twice"):
            read_requirements(argparse.Namespace(require=twice))


# ----------------------------------------------------------------------------------------- what is printed


def test_nothing_from_outside_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table([("a\x1b[31mb", "c\td"), ("first\nsecond", "\x9b2J\u202e\udcff")], ("na\x07me", ""))
    out = capsys.readouterr().out
    assert "a\\x1b[31mb" in out
    assert "na\\x07me" in out
    assert "\\x9b2J\\u202e\\udcff" in out
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["a\\x1b[31mb", "first", "second"]
    print_error(InputError("line\nof \x1b[31m", remedy="do \x07 this"))
    assert capsys.readouterr().err == "error[E100]: line\nof \\x1b[31m\nfix: do \\x07 this\n"
    with pytest.raises(SystemExit):
        main(["run", "a", "b", "--\x1b[31m"])
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("what", ["nothing fits", "nothing fits: a: too slow; b:\nwrong", "nothing fits:\n  - a"])
def test_each_reason_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str], what: str) -> None:
    print_error(RequirementError(what, reasons=["a: too slow", "b:\nwrong"], remedy="Wait."))
    want = "error[E404]: nothing fits:\n  - a: too slow\n  - b:\n    wrong\nfix: Wait.\n"
    assert capsys.readouterr().err == want


def test_an_error_that_is_its_only_reason_or_has_none_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    for reasons in (["too slow"], []):
        print_error(RequirementError("too slow", reasons=reasons, remedy="Wait."))
        assert capsys.readouterr().err == "error[E404]: too slow\nfix: Wait.\n"


@pytest.mark.parametrize("setting", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", **PLAIN}], ids=["ascii", "C"])
def test_an_encoding_that_lacks_a_character_stops_nothing(setting: dict[str, str]) -> None:
    code = (
        "from edgewise.cli.streams import fit_streams; from edgewise.cli.output import *; fit_streams();"
        "table([(unit_ms(0.5), 'caf\\u00e9 \\u65e5')]); print_json({'a': '\\u00b5\\u65e5'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env={**os.environ, "PYTHONUTF8": "0", **setting}
    )
    said, _, document = done.stdout.decode("ascii").partition("{")
    assert "500 us" in said
    assert "caf\\xe9 \\u65e5" in said
    assert json.loads("{" + document) == {"a": "\u00b5\u65e5"}


def test_in_utf8_every_character_is_itself() -> None:
    code = (
        "from edgewise.cli.streams import fit_streams; from edgewise.cli.output import *; fit_streams();"
        "table([(unit_ms(0.5), '\\u65e5')]); print_json('\\u65e5')"
    )
    done = subprocess.run([sys.executable, "-X", "utf8", "-c", code], capture_output=True, check=True)
    said = done.stdout.decode("utf-8")
    assert "500 \u00b5s" in said
    assert said.count("\u65e5") == 2


@pytest.mark.parametrize("setting", [{"PYTHONUTF8": "1"}, {"PYTHONIOENCODING": "ascii"}], ids=["utf-8", "ascii"])
def test_a_file_name_that_is_no_text_is_shown_and_stops_nothing(tmp_path: Path, setting: dict[str, str]) -> None:
    done = edgewise("key", "new", "-o", tmp_path / f"{RAW}.key", "--json", **setting)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["private"] == f"{tmp_path}/\udcff\x1b[31m.key"
    assert "\x1b" not in done.stdout
    again = edgewise("key", "new", "-o", tmp_path / f"{RAW}.key", **setting)
    assert again.returncode == 1
    assert "\\udcff\\x1b[31m.key exists already" in again.stderr
    named = edgewise("key", "trust", tmp_path / f"{RAW}.pub", **setting)  # the name is taken from the file's
    assert named.returncode == 1
    assert "--name" in named.stderr
    assert edgewise("key", "trust", tmp_path / f"{RAW}.pub", "--name", "a", **setting).returncode == 0


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("buffering", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", ["data list", "data list --json", "--help", "run --help", "--version"])
def test_output_that_cannot_be_written_is_an_error_in_words(command: str, buffering: str) -> None:
    with FULL.open("w") as full:
        done = edgewise(*command.split(), stdout=full, PYTHONUNBUFFERED=buffering)
    assert done.returncode == 3
    assert done.stderr.startswith("error[E302]: could not write the output: No space left on device\nfix: ")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("buffering", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_gone_is_no_error_and_hides_none(buffering: str) -> None:
    for arguments, code in ((["data", "list"], 0), (["--help"], 0), (["data", "get", "no-such-set", "--json"], 1)):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb", buffering=0) as broken:
            done = edgewise(*arguments, stdout=broken, PYTHONUNBUFFERED=buffering)
        assert done.returncode == code
        assert (done.stderr == "") == (code == 0), done.stderr


def test_closed_streams_stop_nothing() -> None:
    command = f"{sys.executable} -m edgewise.cli"
    for ending, code in (("data list >&-", 0), ("data list --json >&- 2>&-", 0), ("data get no-such-set 2>&-", 1)):
        assert subprocess.run(f"{command} {ending}", shell=True, check=False).returncode == code


# ------------------------------------------------------------------------------------------------ progress


def test_the_two_seconds_of_quiet_are_those_of_the_whole_work() -> None:
    """Many short steps are a long work: from then on each of them shows a bar. On a real terminal, with a clock by hand."""
    now = [0.0]
    main_end, side = pty.openpty()
    termios.tcsetwinsize(side, (24, 80))  # a new one has no columns, so that no bar fits
    with os.fdopen(main_end, "rb", buffering=0) as screen, os.fdopen(side, "w") as terminal, redirect_stderr(terminal):
        progress = Progress(clock=lambda: now[0])
        for number in range(4):
            now[0] += 0.9
            progress(f"step {number}", 1, 2)
        progress.close()
        terminal.write("end")
        terminal.flush()
        shown = b""
        while b"end" not in shown:
            shown += screen.read(4096)
    assert [b"step %d" % number in shown for number in range(4)] == [False, False, True, True]


# ------------------------------------------------------------------------------------------- key and data


def test_without_a_trust_root_the_list_of_keys_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "key", "list")
    assert (code, err) == (0, "")
    assert "none yet" in out
    assert run(capsys, "key", "list", "--json") == (0, "[]\n", "")
    run(capsys, "key", "new")
    assert json.loads(run(capsys, "key", "list", "--json")[1])[0]["roles"] == ["receipt", "release"]


def test_a_home_that_cannot_be_is_an_error_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEWISE_HOME", "~no-such-user-here/x")
    for arguments in (["key", "list"], ["data", "get", "digits"], ["run", "a", "b"]):
        code, _, err = run(capsys, *arguments)
        assert code == 3
        assert "fix: Set EDGEWISE_HOME" in err


@pytest.mark.parametrize("name", ["nowhere", "file"])
def test_a_data_folder_that_is_none_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EDGEWISE_DATA", str(tmp_path / name))
    code, out, err = run(capsys, "data", "get", "digits")
    assert (code, out) == (1, "")
    assert f"EDGEWISE_DATA is '{tmp_path / name}'" in err


def test_where_a_set_lies_is_all_of_stdout_and_its_licence_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEWISE_DATA", raising=False)
    code, out, err = run(capsys, "data", "get", "digits")
    assert code == 0
    assert Path(out.strip()).is_dir()
    assert err == "licence: CC BY 4.0; models Apache-2.0\n"
    assert "licence" in json.loads(run(capsys, "data", "get", "digits", "--json")[1])
