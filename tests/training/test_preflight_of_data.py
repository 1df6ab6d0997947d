"""What is wrong with the data is one sentence before anything is queued, found without reading."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import made_sets
from wattproof import config, preflight
from wattproof.errors import WattproofError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = config.load_schema(ROOT / "config/schema/campaign.schema.json")
BATCH = "cifar-10-batches-py/data_batch_4"
ARCHIVE = "cifar-10-python.tar.gz"
IDX = "train-images-idx3-ubyte.gz"


def check(name: str, folder: Path, **training: object) -> None:
    chosen = {"dataset": name, "data_dir": str(folder), "train_images": 32, **training}
    raw = {"campaign": "t", "training": chosen, "plan": {"runs": 1, "replicates": 0}}
    preflight.check(config.validate(raw, SCHEMA, "c.yaml"), "c.yaml")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def archived_and_cut(folder: Path) -> None:
    cut(made_sets.archived(folder, "cifar-10-batches-py"))


MISTAKES = {
    "missing folder": ("cifar10", "cifar-10-batches-py", shutil.rmtree),
    "missing batch": ("cifar10", BATCH, Path.unlink),
    "truncated batch": ("cifar10", BATCH, cut),
    "batch that is text": ("cifar10", BATCH, lambda path: path.write_text("<html>404</html>")),
    "pickle that imports": ("cifar10", BATCH, lambda p: p.write_bytes(b"cos\nsystem\n(Vls\ntR.")),
    "truncated archive": ("cifar10", ARCHIVE, lambda path: archived_and_cut(path.parent)),
    "truncated IDX": ("mnist", IDX, cut),
    "wrong magic": ("mnist", IDX, lambda p: shutil.copy(p.with_name(IDX.replace("ges", "gex")), p)),
    "missing list": ("tiny_imagenet", "tiny-imagenet-200/wnids.txt", Path.unlink),
    "missing images": ("tiny_imagenet", "tiny-imagenet-200/val/images", shutil.rmtree),
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    made_sets.cifar10(folder / "cifar10")
    made_sets.idx_set(folder / "mnist", 60, 12)
    made_sets.tiny_imagenet(folder / "tiny_imagenet", each=2)
    labels = folder / "mnist" / "train-labels-idx1-ubyte.gz"
    shutil.copy(labels, folder / "mnist" / IDX.replace("ges", "gex"))
    return folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_sentence_names_file_key_path_and_remedy(sets, tmp_path, mistake):
    name, victim, spoil = MISTAKES[mistake]
    folder = tmp_path / name
    shutil.copytree(sets / name, folder)
    check(name, folder)
    spoil(folder / victim)
    begin = time.process_time()
    with pytest.raises(WattproofError) as caught:
        check(name, folder)
    # CPU time: what the machine does besides must not decide.
    assert time.process_time() - begin < 1.0
    message = str(caught.value)
    assert message.startswith("c.yaml: key 'training.dataset': ")
    assert str(folder / victim) in message
    assert "\n" not in message
    assert "training.data_dir" in message


@pytest.mark.parametrize("name", ["cifar10", "mnist", "tiny_imagenet"])
def test_too_few_images_are_found_before_anything_is_queued(sets, name):
    with pytest.raises(WattproofError, match=r"cannot give 5000 .* set training\.train_images"):
        check(name, sets / name, train_images=5000)
    check(name, sets / name, train_images=None)


def test_the_workflow_says_it_and_queues_nothing(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "campaign: t\ntraining: {dataset: cifar10, data_dir: nowhere}\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    done = subprocess.run(
        [*command, "--configfile", "c.yaml", "--cores", "1", "--dry-run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    sentences = [line for line in done.stderr.splitlines() if "nowhere" in line]
    assert len(sentences) == 1
    assert "cifar-10-batches-py, which does not exist; download" in sentences[0]
