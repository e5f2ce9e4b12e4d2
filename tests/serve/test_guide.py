"""The guide and the files for operators say what is there."""

import ast
import json
import re
import tomllib

from dsmooth.classifiers.remote import RemoteClassifier
from dsmooth.cli.options import Model, Service, Terms
from dsmooth.cli.serve import Door, Elsewhere, Usual
from dsmooth.serve.faces.known import FACES
from dsmooth.serve.refusals import REASONS
from serve.running import gateway, picture
from services.servers import SECRETS, Brain, Server, brightness
from support import ROOT

GUIDE = (ROOT / "docs" / "guide" / "gateway.md").read_text()
DEPLOY = ROOT / "deploy"


def names(*kinds):
    return {name for kind in kinds for name in kind.__dataclass_fields__}


def test_the_headers_and_metrics_of_the_guide_are_those_of_a_server():
    table = GUIDE.split("## What the headers mean")[1].split("\n\n")[1]
    told = set(re.findall(r"`(Dsmooth-\w+)`", table)) | {f"Dsmooth{name}" for name in re.findall(r"`(-\w+)`", table)}
    with gateway() as running:
        answer = running.ask("POST", "/v1/certify", picture())
        assert told == {name.title() for name in answer.headers if name.startswith("dsmooth-")}
        for path in re.findall(r"`(?:POST |GET )?(/[\w/{}]+)`", GUIDE):
            assert any(path in route for route in json.loads(running.ask("GET", "/openapi.json").body)["paths"]), path
    assert len(FACES) == 7


def test_metrics_of_the_guide_and_the_dashboard_are_those_of_a_server_with_their_labels(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    with Server(Brain(brightness)) as upstream:  # a service: some metrics are of services only
        remote = RemoteClassifier("aws:rekognition", endpoint=upstream.url)
        with gateway(classifier=remote, terms={"n0": 5, "n": 20, "alpha": 0.01}) as running:
            assert running.ask("POST", "/v1/certify", picture(size=100)).status == 200
            running.ask("GET", "/metrics")
            families = list(running.desk.metrics.registry.collect())
    labels = {}
    for family in families:
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    for name, told in re.findall(r"`(dsmooth_\w+)(?:\{([\w,]+)\})?", GUIDE):
        (known,) = (labels[full] for full in (name, f"{name}_bucket") if full in labels)
        assert not told or set(told.split(",")) == known - {"le"}, name
    documented = set(re.findall(r"`(dsmooth_\w+)", GUIDE))
    assert {family.name + "_total" * (family.type == "counter") for family in families} == documented
    shown = set()
    for panel in json.loads((DEPLOY / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            names = re.findall(r"dsmooth_\w+", target["expr"])
            shown.update(names)
            assert names
            assert set(names) <= labels.keys(), target
            for by in re.findall(r"by \(([\w, ]+)\)", target["expr"]):
                assert set(by.split(", ")) <= set().union(*(labels[name] for name in names)), target
    assert len(shown) >= 12


def test_the_options_of_the_guide_exist():
    known = names(Model, Service, Terms, Door, Usual, Elsewhere) | {"images", "public-key", "again"}
    for option in set(re.findall(r"--([a-z][a-z0-9-]+)", GUIDE)) - {"data-binary"}:
        assert option.replace("-", "_") in {name.replace("-", "_") for name in known}, option


def test_the_configuration_for_operators_is_one():
    value = tomllib.loads((DEPLOY / "gateway.toml").read_text())
    assert value["server"].keys() <= names(Door)
    for table in value["models"].values():
        assert table.keys() <= names(Model, Service, Terms, Usual)
    json.loads((DEPLOY / "grafana.json").read_text())


def test_every_reason_is_used():
    sources = (ROOT / "src" / "dsmooth" / "serve").rglob("*.py")
    texts = {node.value for path in sources if path.name != "refusals.py" for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Constant) and isinstance(node.value, str)}  # fmt: skip
    own = (ROOT / "src" / "dsmooth" / "serve" / "refusals.py").read_text()
    for reason in REASONS:
        assert reason in texts or own.count(f'"{reason}"') > 1, reason
