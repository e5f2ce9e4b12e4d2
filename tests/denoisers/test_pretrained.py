import json
import os
import subprocess
import sys
import threading

import huggingface_hub
import pytest
import torch

from dsmooth import Denoiser
from dsmooth.denoisers.card import card
from dsmooth.denoisers.loading import describe, load_denoiser
from dsmooth.denoisers.trained_for import noise_of, recipe_of
from dsmooth.denoisers.unet import UNet
from dsmooth.denoisers.weights import Description
from dsmooth.errors import BadModel
from hub_server import TOKEN, Hub
from support import ROOT

STORY = {"data": "waves, CC0", "metrics": {"psnr_held_out": {"0.25": 30.0}, "recipe": {"steps": 7}}}


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    made = UNet((8, 12), (1, 1))
    made.sigma_range = (0.1, 0.6)
    return made


def test_a_folder_says_what_is_in_it_and_comes_back_without_a_network(tmp_path, denoiser, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    folder = denoiser.save_pretrained(tmp_path / "owner" / "name", **STORY, license="mit")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    loaded = Denoiser.from_pretrained(folder)
    assert loaded.digest() == load_denoiser(folder).digest()
    assert (loaded.data, loaded.metrics, loaded.sigma_range) == (STORY["data"], STORY["metrics"], (0.1, 0.6))
    monkeypatch.chdir(tmp_path)
    assert Denoiser.from_pretrained("owner/name").digest() == loaded.digest()  # the folder, not the repository
    config = json.loads((folder / "config.json").read_text())
    assert config["architecture"] == "unet"
    assert config["config"] == denoiser.config
    again = loaded.save_pretrained(tmp_path / "again")
    assert describe(again) == describe(folder)


def test_the_card_is_one_that_the_hub_reads(tmp_path, denoiser):
    folder = denoiser.save_pretrained(tmp_path, **STORY, license="mit")
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert card.data.license == "mit"
    assert card.data.library_name == "dsmooth"
    assert "sigma 0.1 to 0.6" in card.text
    assert "waves, CC0" in card.text
    assert '"0.25": 30.0' in card.text
    assert '"steps": 7' in card.text


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({}, ["removes Gaussian noise", "denoiser, sigma=0.25)"]),
        (
            {"noise": "splitting"},
            ["removes splitting noise", "SmoothedClassifier, Splitting", "law=Splitting(levels=221))"],
        ),
        ({"noise": "uniform"}, ["removes uniform noise", "SmoothedClassifier, Uniform", "law=Uniform(levels=221))"]),
        ({"brightness": 0.2}, ["removes lighting noise", "law=Lighting(sigma=0.25, brightness=0.2, "]),
        ({"noise": None, "brightness": "much"}, ["removes Gaussian noise"]),  # of a file that says what it likes
    ],
)
def test_the_card_shows_the_noise_that_was_trained_for(tmp_path, denoiser, recipe, words):
    told = (denoiser.save_pretrained(tmp_path, data="x", metrics={"recipe": recipe}) / "README.md").read_text()
    assert [word for word in words if word not in told] == []
    code = told.split("```python")[1].split("```")[0]
    compile(code, "card", "exec")


def test_a_denoiser_for_more_noise_than_can_be_certified_has_a_card(tmp_path, denoiser):
    for (low, high), shown in (((0.002, 80.0), "0.25"), ((50.0, 80.0), "50"), ((0.05, 0.12), "0.12")):
        denoiser.sigma_range = (low, high)
        for noise in ("gaussian", "uniform") if low == 50.0 else ("gaussian",):
            folder = denoiser.save_pretrained(
                tmp_path / f"{noise}-{low}", data="x", metrics={"recipe": {"noise": noise}}
            )
            assert f"denoiser, sigma={shown})" in (folder / "README.md").read_text()


def test_of_weights_made_of_others_the_recipe_and_what_was_measured_are_theirs():
    assert noise_of(load_denoiser("photo-light")) == noise_of(load_denoiser("photo")) == "gaussian"
    assert noise_of(load_denoiser("photo-l1")) == "splitting"
    told = card(describe("photo-light"), None)
    assert '"objective": "stab + 20 mse"' in told
    assert "They are those of the trainings that these weights were put together from" in told
    halfway = Description("unet", {}, metrics={"end": {"psnr_held_out": {"0.25": 30.0}}})
    assert "They are those of the end of the training" in card(halfway, None)
    assert recipe_of({"end": {"end": {"recipe": {}}}}) is recipe_of([]) is None


def test_shipped_names_are_found():
    assert Denoiser.from_pretrained("photo").digest() == load_denoiser("photo").digest()


def test_hub_repositories_are_fetched_through_the_cache(tmp_path, denoiser, monkeypatch):
    """A cache laid out as the Hub's client lays it out, and no network."""
    cache = tmp_path / "cache"
    snapshot = cache / "models--owner--name" / "snapshots" / ("a" * 40)
    denoiser.save_pretrained(snapshot, **STORY)
    for name in ("main", "v1"):
        reference = cache / "models--owner--name" / "refs" / name
        reference.parent.mkdir(exist_ok=True)
        reference.write_text("a" * 40)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    expected = load_denoiser(snapshot).digest()
    assert Denoiser.from_pretrained("owner/name").digest() == expected
    assert Denoiser.from_pretrained("owner/name", revision="v1").digest() == expected
    assert load_denoiser("hf:owner/name@v1").digest() == expected
    for missing in ("hf:owner/other", "hf:owner/name@v2"):
        with pytest.raises(BadModel, match="cannot be fetched from the Hub"):
            load_denoiser(missing)
    for wrong in ("hf:not a name", "hf:"):
        with pytest.raises(BadModel, match="expected hf:owner/name"):
            load_denoiser(wrong)


def test_a_path_that_is_not_there_asks_no_network(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    with pytest.raises(BadModel, match="no denoiser 'runs/typo'"):
        load_denoiser("runs/typo")


def test_a_mistyped_folder_is_said_to_be_none(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(BadModel, match="there is no folder 'runs/typo', and hf:runs/typo cannot be fetched"):
        Denoiser.from_pretrained("runs/typo")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, denoiser):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "x"):
        with pytest.raises(BadModel, match="file"):
            denoiser.save_pretrained(folder)


def test_metrics_that_are_not_finite_do_not_lose_the_weights(tmp_path, denoiser):
    folder = denoiser.save_pretrained(tmp_path, metrics={"psnr_held_out": {"0.25": float("inf")}})
    assert describe(folder / "model.safetensors").metrics == {"psnr_held_out": {"0.25": None}}


PUSH_AND_FETCH = """
import os
import sys
import torch
from dsmooth import Denoiser
from dsmooth.denoisers.unet import UNet
from dsmooth.errors import BadModel
torch.manual_seed(0)
denoiser = UNet((8, 12), (1, 1))
for os.environ["HF_TOKEN"] in sys.argv[1:]:
    try:
        print(denoiser.push_to_hub("owner/name", data="waves, CC0", metrics={}, license="mit"))
        fetched = Denoiser.from_pretrained("owner/name")
        print(fetched.data, Denoiser.from_pretrained("owner/name", revision="v1").digest() == fetched.digest())
    except BadModel as error:
        print(error)
"""


def test_push_and_fetch_with_the_real_client(tmp_path):
    hub = Hub()
    serving = threading.Thread(target=hub.serve_forever)
    serving.start()
    try:
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT / "src"), "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path),
            "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        environment.pop("HF_HUB_OFFLINE", None)
        line = [sys.executable, "-c", PUSH_AND_FETCH, TOKEN, "hf_wrong"]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    finally:
        hub.shutdown()
        serving.join()
        hub.server_close()
    pushed, fetched, refused = done.stdout.splitlines()[-3:]
    assert fetched == "waves, CC0 True"
    assert pushed.endswith("/owner/name")
    assert sorted(hub.files) == [f"owner/name/{name}" for name in ("README.md", "config.json", "model.safetensors")]
    assert "owner/name cannot be written on the Hub" in refused
    assert "hf_wrong" not in refused
