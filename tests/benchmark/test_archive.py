"""The archive: the same benchmark as the folder, and whatever is wrong with it is told."""

import io
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from published_artefact import publish_again
from said import files, sentence

import wattproof
from wattproof.benchmark import archive, manifest

QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def refused(path: Path, load: Callable[[Path], object] = manifest.read) -> str:
    return sentence(load, path)


def zipped(path: Path, contents: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> Path:
    """Zip as anybody would, without our checksum of the whole."""
    with zipfile.ZipFile(path, "w", kind) as packed:
        for name, content in contents.items():
            packed.writestr(name, content)
    return path


def listing(contents: dict[str, bytes], **extra: bytes) -> dict[str, bytes]:
    """Let the manifest list the files that are there: what a forger would do."""
    import json

    found = {name: data for name, data in {**contents, **extra}.items() if name != manifest.FILE}
    about = json.loads(contents[manifest.FILE])
    about["files"] = {name: manifest.entry(data) for name, data in found.items()}
    return {**found, manifest.FILE: manifest.render(about)}


# ------------------------------------------------------------------------------ what it is


def test_archive_holds_what_the_folder_holds(artefact: Path, packed: Path) -> None:
    with zipfile.ZipFile(packed) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == files(artefact)


def test_same_inputs_give_the_same_archive(artefact: Path, packed: Path, tmp_path: Path) -> None:
    publish_again(artefact.parent, tmp_path / "benchmark")
    assert (tmp_path / "benchmark.wattproof.zip").read_bytes() == packed.read_bytes()


def test_archive_and_folder_answer_alike(artefact: Path, packed: Path) -> None:
    one, other = wattproof.load(artefact), wattproof.load(packed)
    config = one.sample(seed=5)
    assert one.query(config, seed=3) == other.query(config, seed=3)
    assert one.card == other.card
    pd.testing.assert_frame_equal(one.dataset, other.dataset)


def test_nothing_is_unpacked(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Path(shutil.copy(packed, tmp_path / "alone.zip"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    bench = wattproof.load(alone.name)
    bench.query(bench.sample(seed=0))
    assert list(tmp_path.iterdir()) == [alone]


@pytest.mark.parametrize("top", ["", "benchmark/"])
def test_a_folder_zipped_by_hand_is_read(artefact: Path, tmp_path: Path, top: str) -> None:
    contents = {top + name: content for name, content in files(artefact).items()}
    contents |= {f"{top}.DS_Store": b"x", f"__MACOSX/{top}._CARD.md": b"x"}  # the Finder's
    assert manifest.read(zipped(tmp_path / "mine.zip", contents))[0]["name"] == "synthetic"


def test_hidden_files_of_the_system_do_not_matter(artefact: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(artefact, tmp_path / "copy")
    (copy / ".DS_Store").write_bytes(b"x")
    (copy / ".snakemake_timestamp").touch()
    wattproof.load(copy)


def test_tables_say_by_themselves_how_they_may_be_used(artefact: Path) -> None:
    import pyarrow.parquet as pq

    for name in ("dataset", "curves", "scores"):
        about = pq.read_schema(artefact / f"{name}.parquet").metadata
        assert about[b"licence"] == b"CC-BY-4.0"
        assert b"synthetic: a simulated benchmark" in about[b"citation"]
        assert b'"simulated": true' in about[b"card"]


# --------------------------------------------------------------------------- what is wrong


@QUICK
@given(data=st.data())
def test_any_changed_byte_of_the_archive_is_noticed(
    packed: Path, tmp_path: Path, data: st.DataObject
) -> None:
    raw = bytearray(packed.read_bytes())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    broken = tmp_path / "broken.wattproof.zip"
    broken.write_bytes(raw)
    assert str(broken) in refused(broken)


@QUICK
@given(data=st.data())
def test_any_changed_byte_of_the_folder_is_noticed(
    artefact: Path, tmp_path: Path, data: st.DataObject
) -> None:
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(artefact, copy)
    name = data.draw(st.sampled_from(sorted(files(artefact))))
    raw = bytearray((copy / name).read_bytes())
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    (copy / name).write_bytes(raw)
    message = refused(copy)
    assert str(copy) in message
    # A manifest may be so broken that it is none, or say that it is of another version.
    assert name in message or name == manifest.FILE


@QUICK
@given(kept=st.floats(0, 1, exclude_max=True))
def test_a_truncated_archive_is_noticed(packed: Path, tmp_path: Path, kept: float) -> None:
    raw = packed.read_bytes()
    broken = tmp_path / "broken.wattproof.zip"
    broken.write_bytes(raw[: int(kept * len(raw))])
    assert str(broken) in refused(broken)


def test_bytes_that_no_file_shows_are_under_the_seal(packed: Path, tmp_path: Path) -> None:
    """The date of a file in its local header is read by nobody, yet a changed one is told."""
    raw = bytearray(packed.read_bytes())
    raw[11] ^= 1
    broken = tmp_path / "broken.zip"
    broken.write_bytes(raw)
    assert zipfile.ZipFile(broken).testzip() is None
    assert "checksum of the archive" in refused(broken)


@pytest.mark.parametrize(
    "name", ["../evil.json", "/etc/evil.json", "a/../../evil.json", "C:evil.json", "a\\evil.json"]
)
def test_no_name_reaches_outside(artefact: Path, tmp_path: Path, name: str) -> None:
    contents = listing(files(artefact), **{name: b"{}"})
    assert "outside the benchmark" in refused(zipped(tmp_path / "slip.zip", contents))
    del contents[name]
    assert "outside the benchmark" in refused(zipped(tmp_path / "listed.zip", contents))
    assert not (tmp_path.parent / "evil.json").exists()


def test_files_that_the_manifest_does_not_list(artefact: Path, tmp_path: Path) -> None:
    contents = files(artefact) | {"models/extra.onnx": b"x"}
    assert "models/extra.onnx, is not listed" in refused(zipped(tmp_path / "extra.zip", contents))
    copy = shutil.copytree(artefact, tmp_path / "copy")
    (copy / "notes.txt").write_text("x")
    assert "notes.txt is not listed" in refused(copy)


def test_a_missing_file_of_the_archive_is_named(artefact: Path, tmp_path: Path) -> None:
    for name in files(artefact):
        contents = {k: v for k, v in files(artefact).items() if k != name}
        message = refused(zipped(tmp_path / "lacks.zip", contents))
        if name == manifest.FILE:
            assert "not a wattproof benchmark" in message
        else:
            assert f"file {name}, is missing" in message


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[], object], tuple[()]]:
        return (self.path.touch, ())


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "surrogate.json", "model.json"])
def test_a_smuggled_pickle_is_never_read(artefact: Path, tmp_path: Path, name: str) -> None:
    touched = tmp_path / "touched"
    contents = listing(files(artefact), **{name: pickle.dumps(Evil(touched))})
    for load in (manifest.read, wattproof.load):
        message = refused(zipped(tmp_path / "evil.zip", contents), load)
        assert name in message
        assert "may run a programme" in message
    assert not touched.exists()


def test_a_bomb_does_not_unfold(artefact: Path, tmp_path: Path) -> None:
    """256 MiB of zeros where the manifest says that there are some bytes."""
    contents = files(artefact)
    bomb = zipped(tmp_path / "bomb.zip", contents | {"card.json": bytes(2**28)})
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from wattproof.benchmark import manifest; from wattproof.errors import WattproofError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: manifest.read(Path(sys.argv[1]))\n"
        "except WattproofError as error: print(error)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "assert grown < 100 * 1024, grown"
    )
    out = subprocess.run([sys.executable, "-c", code, bomb], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "card.json" in out.stdout


def test_names_twice(artefact: Path, tmp_path: Path) -> None:
    path = zipped(tmp_path / "twice.zip", files(artefact))
    with zipfile.ZipFile(path, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("card.json", b"{}")
    assert "'card.json' twice" in refused(path)


def test_encrypted(artefact: Path, tmp_path: Path) -> None:
    raw = bytearray(zipped(tmp_path / "plain.zip", files(artefact)).read_bytes())
    at = -1
    while (at := raw.find(b"PK\x01\x02", at + 1)) >= 0:
        raw[at + 8] |= 1
    path = tmp_path / "secret.zip"
    path.write_bytes(raw)
    assert "cannot be read from the archive" in refused(path)


@pytest.mark.parametrize("version", [0, -1, "2", None, True, 1.5])
def test_unknown_schema(artefact: Path, tmp_path: Path, version: object) -> None:
    import json

    contents = files(artefact)
    about = json.loads(contents[manifest.FILE]) | {"schema_version": version}
    contents[manifest.FILE] = manifest.render(about)
    assert "unknown benchmark schema" in refused(zipped(tmp_path / "odd.zip", contents))


def test_older_and_newer_schema(artefact: Path, tmp_path: Path) -> None:
    import json

    contents = files(artefact)
    for version, words in ((1, "publish it again"), (3, "update wattproof")):
        about = json.loads(contents[manifest.FILE]) | {"schema_version": version}
        contents[manifest.FILE] = manifest.render(about)
        assert words in refused(zipped(tmp_path / "other.zip", contents))


def test_a_manifest_that_lacks_something(artefact: Path, tmp_path: Path) -> None:
    import json

    contents = files(artefact)
    original = json.loads(contents[manifest.FILE])
    for key in (*manifest.KEYS, "kind"):
        about = {k: v for k, v in original.items() if k != key}
        contents[manifest.FILE] = manifest.render(about)
        assert manifest.FILE in refused(zipped(tmp_path / "lacks.zip", contents))
    for entry in (None, "0" * 64, {"sha256": "0"}, {"sha256": 1, "bytes": -1}):
        about = original | {"files": original["files"] | {"card.json": entry}}
        contents[manifest.FILE] = manifest.render(about)
        assert "size and checksum" in refused(zipped(tmp_path / "odd.zip", contents))


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"hello"])
def test_what_only_looks_like_an_archive(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.wattproof.zip"
    path.write_bytes(content)
    assert str(path) in refused(path)
    assert str(path) in refused(path, wattproof.load)


def test_pack_reads_back() -> None:
    packed = archive.pack({"b": b"2", "a/c": b"1"})
    with zipfile.ZipFile(io.BytesIO(packed)) as opened:
        assert opened.namelist() == ["a/c", "b"]
        assert archive.seal_holds(packed, opened.comment)
        assert not archive.seal_holds(packed[:-1] + b"!", opened.comment[:-1] + b"!")


# ------------------------------------------------------------------------- what it needs

HEAVY = ("torch", "snakemake", "lightgbm", "sklearn", "polars", "matplotlib", "jinja2", "psutil")


def test_loading_and_asking_need_the_core_only(packed: Path, tmp_path: Path) -> None:
    blocked = {*HEAVY, "onnx", "onnxmltools", "jsonschema", "pynvml", "serial"}
    code = (
        "import importlib.abc, sys\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {blocked!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import wattproof\n"
        "bench = wattproof.load(sys.argv[1])\n"
        "config = bench.sample(seed=0)\n"
        "print(bench.query(config, seed=1)); bench.curve(config); bench.pareto(); bench.card\n"
        "import pandas; bench.query_many(pandas.DataFrame([config]))\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, packed], capture_output=True, text=True, cwd=tmp_path
    )
    assert out.returncode == 0, out.stderr
    assert "SIMULATED" in out.stdout
