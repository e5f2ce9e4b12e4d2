"""Every noise and mode that a server can be started with, from the request to `dsmooth verify`; and what it refuses."""

import pytest

from dsmooth import Lighting, Splitting, Uniform
from dsmooth.theory.modes import Mode
from serve.running import NAMES, gateway, picture, until
from support import dsmooth, refused

LAWS = {
    "uniform": (Uniform(levels=127), "1"),
    "splitting": (Splitting(levels=127), "1"),
    "lighting": (Lighting(0.25, brightness=0.1), "2"),
}
ALL = Splitting(levels=31)


@pytest.mark.parametrize(("law", "norm"), LAWS.values(), ids=LAWS.keys())
def test_a_certificate_under_each_noise_is_verified(tmp_path, law, norm):
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    (tmp_path / "x.png").write_bytes(picture(250))
    with gateway(law=law, record=tmp_path / "record") as running:
        answer = running.ask("POST", "/v1/certify", (tmp_path / "x.png").read_bytes())
        assert (answer.value["name"], answer.headers["Dsmooth-Norm"]) == ("light", norm)
        assert answer.headers["Dsmooth-Noise"] == str(law)
        assert float(answer.value["radius"]) > 0.1
        assert running.ask("POST", "/v1/show", picture(250)).value["answer"] == "light"
    (path,) = (tmp_path / "record").rglob("*.json")
    networks = ("-d", "none", "-c", "import:support:Linear", "--class-names", tmp_path / "names.txt")
    done = dsmooth("verify", path, "--images", tmp_path / "x.png", *networks, "--all")
    assert done.code == 0, done.out + done.err


def test_all_outcomes_of_splitting_noise_are_asked_for_without_chance():
    with gateway(law=ALL) as running:
        told = running.ask("POST", "/v1/certify", picture(250))
        assert (told.value["alpha"], told.value["votes"]["trials"], told.value["rule"]) == ("0", 31, "exact")
        assert running.metric("dsmooth_samples_total") == 31
        for query in ("n=50", "n0=5", "alpha=0.01", "mode=curve&radii=0.1", "radius=0.1"):
            answer = running.ask("POST", f"/v1/certify?{query}", picture(250))
            assert (answer.status, answer.value["reason"]) == (400, "bad_request"), query
            assert "all outcomes of" in answer.value["error"]
        again = running.ask("POST", "/v1/certify?norm=1", picture(250))
        assert again.headers["Dsmooth-Cached"] == "true"
        assert running.ask("POST", "/v1/predict?n=50", picture(5)).status == 400
        place = running.ask("POST", "/v1/jobs", picture(249)).headers["Location"]
        until(lambda: running.ask("GET", place).value["state"] == "done")
        assert running.ask("GET", place).value["votes"]["estimation"]["trials"] == 31


@pytest.mark.parametrize("law", [ALL, Uniform(levels=127)], ids=["splitting", "uniform"])
def test_a_prediction_has_no_radius_under_any_noise(law, tmp_path):
    with gateway(law=law, record=tmp_path) as running:
        answer = running.ask("POST", "/v1/predict", picture(5))
        assert (answer.value["name"], answer.value["late"]) == ("dark", False)
        assert not {"Dsmooth-Radius", "Dsmooth-Certificate"} & {name.title() for name in answer.headers}
    assert not list(tmp_path.rglob("*.json"))


def test_the_rivals_are_bounded_where_the_operator_says_so(tmp_path):
    terms = {"n0": 20, "n": 1000, "alpha": 0.001, "mode": Mode("decision", (0.2,), rivals=True)}
    with gateway(terms=terms, record=tmp_path) as running:
        usual = running.ask("POST", "/v1/certify", picture(200)).value
        curve = running.ask("POST", "/v1/certify?mode=curve&radii=0.1,0.3", picture(200)).value
        fixed = running.ask("POST", "/v1/certify?mode=fixed", picture(200)).value
    assert (usual["rule"], curve["rule"], fixed["rule"]) == ("decision-multiclass", "curve-multiclass", "multiclass")
    assert float(usual["radius"]) >= 0.2
    assert float(curve["radius"]) >= 0.3
    assert 0.5 < float(usual["least_probability"]) < 1.0
    for path in tmp_path.rglob("*.json"):
        assert dsmooth("verify", path).code == 4


MODEL = ("serve", "-c", "import:support:Linear", "-d", "none", "--size", "16")
ELSEWHERE = {
    "top": (("--top", "5"), "--top is for dsmooth certify: a server promises that the answer stays the first"),
    "against": (("--against", "brightness -0.1 0.1"), "--against is for dsmooth certify"),
    "cascade": (("--cascade",), "--cascade is for dsmooth certify"),
    "seed": (("--seed", "0"), "--seed is for dsmooth certify"),
    "several sigmas": (("--sigma", "0.25", "--sigma", "0.5"), "expected one --sigma here"),
    "rivals without a radius": (("--rivals",), "--rivals belongs to --radius"),
    "a radius where nothing is drawn": (("--noise", "splitting", "--levels", "31", "--radius", "0.1"), "leave it out"),
    "a mode": (("--mode", "curve"), "Unknown option"),
}


@pytest.mark.parametrize(("arguments", "says"), ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_what_a_server_does_not_offer_is_one_sentence(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    refused(tmp_path, *MODEL, *arguments, says=says)


def test_nor_does_one_that_a_file_describes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.toml").write_text("[models.a]\nclassifier = 'import:support:Linear'\ntop = 5\n")
    refused(tmp_path, "serve", "gateway.toml", says="[models.a]: --top is for dsmooth certify")
