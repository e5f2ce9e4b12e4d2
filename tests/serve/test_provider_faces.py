"""The four providers' own SDKs, which get another endpoint and nothing else."""

import base64
import json

import numpy as np
import pytest

from dsmooth.serve.callers import Caller
from dsmooth.serve.refusals import Refused
from serve.running import SIZE, TERMS, gateway, picture
from services.servers import SECRETS


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def running():
    # chance certifies an image on the border of the two classes with probability 6e-10, at the usual alpha with 9e-4
    with gateway(terms={**TERMS, "alpha": 1e-9}) as opened:
        yield opened


def half():
    import io

    from PIL import Image

    pixels = np.full((SIZE, SIZE, 3), 127, np.uint8)
    pixels[::2] = 128
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def rekognition(url, **options):
    boto3 = pytest.importorskip("boto3")
    from botocore.config import Config

    return boto3.client("rekognition", endpoint_url=url, config=Config(retries={"total_max_attempts": 1}, **options))


def vision(url):
    google = pytest.importorskip("google.cloud.vision")
    from google.api_core.client_options import ClientOptions

    return google.ImageAnnotatorClient(
        transport="rest", client_options=ClientOptions(api_endpoint=url, api_key=SECRETS["GOOGLE_API_KEY"])
    )


def azure(url, key=SECRETS["VISION_KEY"], **options):
    analysis = pytest.importorskip("azure.ai.vision.imageanalysis")
    from azure.core.credentials import AzureKeyCredential

    return analysis.ImageAnalysisClient(url, AzureKeyCredential(key), **options)


def asked_aws(url, file):
    client = rekognition(url)
    try:
        answer = client.detect_labels(Image={"Bytes": file}, MaxLabels=5, MinConfidence=99.9)
    finally:
        client.close()
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert "not applied" in headers["dsmooth-min-confidence"]
    assert len(answer["LabelModelVersion"]) == 12
    return [(label["Name"], label["Confidence"] / 100) for label in answer["Labels"]], headers


def asked_google(url, file):
    client = vision(url)
    try:
        answer = client.batch_annotate_images(
            requests=[{"image": {"content": file}, "features": [{"type_": 4, "max_results": 10}]}], retry=None
        )
    finally:
        client.transport.close()
    (response,) = answer.responses
    assert not response.error.message
    return [(label.description, label.score) for label in response.label_annotations], None


def asked_azure(url, file):
    from azure.ai.vision.imageanalysis.models import VisualFeatures

    heard = {}
    with azure(url) as client:
        answer = client.analyze(
            file,
            visual_features=[VisualFeatures.TAGS],
            raw_response_hook=lambda r: heard.update(r.http_response.headers),
        )
    return [(tag.name, tag.confidence) for tag in answer.tags.list], {k.lower(): v for k, v in heard.items()}


def asked_clarifai(url, file):
    channel = pytest.importorskip("clarifai_grpc.channel.clarifai_channel").ClarifaiChannel
    from clarifai_grpc.grpc.api import resources_pb2, service_pb2, service_pb2_grpc

    stub = service_pb2_grpc.V2Stub(channel.get_json_channel(base_url=url))
    answer = stub.PostModelOutputs(
        service_pb2.PostModelOutputsRequest(
            user_app_id=resources_pb2.UserAppIDSet(user_id="clarifai", app_id="main"),
            model_id="general-image-recognition",
            inputs=[resources_pb2.Input(data=resources_pb2.Data(image=resources_pb2.Image(base64=file)))],
        ),
        metadata=(("authorization", f"Key {SECRETS['CLARIFAI_PAT']}"),),
    )
    assert answer.status.code == 10000, answer.status
    (output,) = answer.outputs
    return [(concept.name, concept.value) for concept in output.data.concepts], None


ASKED = {"aws": asked_aws, "google": asked_google, "azure": asked_azure, "clarifai": asked_clarifai}


@pytest.mark.parametrize("provider", ASKED)
def test_the_sdk_gets_the_certified_label_and_a_bound_for_its_score(running, provider):
    file = picture(210, size=100, spot=1)
    labels, headers = ASKED[provider](running.url, file)
    told = running.ask("POST", "/v1/certify", file)  # the same certificate, from the archive
    assert told.headers["Dsmooth-Cached"] == "true"
    ((name, score),) = labels
    assert name == "light"
    assert score == pytest.approx(float(told.value["least_probability"]), abs=1e-6)
    if headers is not None:
        assert headers["dsmooth-certificate"] == told.value["certificate"]
        assert headers["dsmooth-radius"] == told.value["radius"]


def test_every_face_says_what_the_certificate_is_in_the_same_headers(running):
    file = picture(215, size=100, spot=2)
    content = base64.b64encode(file).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [content]}
    asked = {
        "/v1/certify": file,
        "/": {"Image": {"Bytes": content}},
        "/v1/images:annotate": {"requests": [{"image": {"content": content}, "features": [{"type": 4}]}]},
        "/computervision/imageanalysis:analyze?features=tags": file,
        "/v2/models/m/outputs": {"inputs": [{"data": {"image": {"base64": content}}}]},
        "/v2/models/default/infer": {"inputs": [tensor]},
    }
    told = []
    for path, body in asked.items():
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = running.ask("POST", path, sent, X_Amz_Target="RekognitionService.DetectLabels")
        assert answer.status == 200, answer.body
        told.append({name: value for name, value in answer.headers.items() if name.startswith("dsmooth-")})
        assert told[-1].pop("dsmooth-cached") == ("false" if len(told) == 1 else "true")
    assert len(told[0]) == 10
    assert told == told[:1] * len(asked)


@pytest.mark.parametrize("provider", ASKED)
def test_an_abstention_has_no_labels(running, provider):
    labels, _ = ASKED[provider](running.url, half())
    assert labels == []


def test_the_operators_radius_is_what_is_decided():
    from dsmooth.theory.modes import Mode

    terms = {"n0": 20, "n": 1000, "alpha": 0.001, "mode": Mode("decision", (0.2,))}
    with gateway(terms=terms) as running:
        labels, headers = asked_aws(running.url, picture(200, size=100))
        assert headers["dsmooth-radius"] == "0.200000000"
        assert int(headers["dsmooth-votes"].partition("/")[2]) < 1000  # stopped when it was settled
        assert labels[0][0] == "light"
        assert labels[0][1] < 0.9  # what the radius needs, by the rule that stopped
        told = running.ask("POST", "/v1/certify?mode=fixed&n=200", picture(200, size=100)).value
        assert float(told["radius"]) > 0.3


class Shut:
    """A desk whose queue lets nobody in, in place of a long wait."""

    def __init__(self, running, reason, monkeypatch):
        def enter(samples, deadline):
            raise Refused(reason, "so many votes are queued", retry_after=3.0)

        monkeypatch.setattr(running.desk.model().queue, "enter", enter)


def test_throttling_in_each_providers_own_words(running, monkeypatch):
    from azure.core.exceptions import HttpResponseError
    from botocore.exceptions import ClientError
    from google.api_core.exceptions import TooManyRequests

    Shut(running, "overloaded", monkeypatch)
    file = picture(211, size=100)
    with pytest.raises(ClientError) as aws:
        asked_aws(running.url, file)
    assert aws.value.response["Error"]["Code"] == "ThrottlingException"
    assert aws.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(TooManyRequests, match="votes are queued"):
        asked_google(running.url, file)
    from azure.ai.vision.imageanalysis.models import VisualFeatures

    with azure(running.url, retry_total=0) as client, pytest.raises(HttpResponseError) as refused:
        client.analyze(file, visual_features=[VisualFeatures.TAGS])
    assert refused.value.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "3"
    assert refused.value.error.code == "TooManyRequests"
    body = {"inputs": [{"data": {"image": {"base64": base64.b64encode(file).decode()}}}]}
    answer = running.ask("POST", "/v2/users/u/apps/a/models/m/outputs", json.dumps(body).encode())
    assert answer.value["status"]["code"] == 11005


def test_boto3_retries_by_itself_until_there_is_room(running, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    from botocore.config import Config

    queue, refused = running.desk.model().queue, []
    enter = queue.enter

    def once(samples, deadline):
        if not refused:
            refused.append(samples)
            raise Refused("overloaded", "so many votes are queued", retry_after=1.0)
        return enter(samples, deadline)

    monkeypatch.setattr(queue, "enter", once)
    client = boto3.client("rekognition", endpoint_url=running.url, config=Config(retries={"mode": "standard"}))
    try:
        answer = client.detect_labels(Image={"Bytes": picture(212, size=100)})
    finally:
        client.close()
    assert refused
    assert answer["Labels"][0]["Name"] == "light"


def test_sixteen_pictures_in_one_call_and_one_of_them_broken(running):
    client = vision(running.url)
    features = [{"type_": 4}]
    files = [picture(20 + 13 * i) for i in range(15)] + [b"no picture"]
    try:
        answer = client.batch_annotate_images(
            requests=[{"image": {"content": file}, "features": features} for file in files], retry=None
        )
    finally:
        client.transport.close()
    names = [response.label_annotations[0].description for response in answer.responses if response.label_annotations]
    assert names[0] == "dark"
    assert names[-1] == "light"
    assert answer.responses[15].error.code == 3
    assert "readable" in answer.responses[15].error.message


ALICE = Caller("alice", "", aws_access_key="AKIDALICE0000000001")


def test_the_signature_of_boto3_is_checked():
    from botocore.exceptions import ClientError

    file = picture(200, size=100)
    secrets = {"AKIDALICE0000000001": "alice's secret"}
    with gateway(callers=[ALICE], aws_secrets=secrets) as running:

        def detect(access, secret):
            boto3 = pytest.importorskip("boto3")
            session = boto3.Session(access, secret, region_name="eu-west-1")
            client = session.client("rekognition", endpoint_url=running.url)
            try:
                return client.detect_labels(Image={"Bytes": file})
            finally:
                client.close()

        assert detect("AKIDALICE0000000001", "alice's secret")["Labels"][0]["Name"] == "light"
        for access, secret in (("AKIDALICE0000000001", "another"), ("AKIDBOB000000000001", "alice's secret")):
            with pytest.raises(ClientError) as refused:
                detect(access, secret)
            assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"
            assert "secret" not in str(refused.value)
        assert running.ask("POST", "/", b"{}", X_Amz_Target="RekognitionService.DetectLabels").status == 400
    assert any(line.get("caller") == "alice" for line in running.log)


def test_each_sdk_sends_its_key():
    import hashlib

    from azure.core.exceptions import ClientAuthenticationError
    from google.api_core.exceptions import Unauthorized

    names = {"google": "GOOGLE_API_KEY", "azure": "VISION_KEY", "clarifai": "CLARIFAI_PAT"}
    callers = [Caller(who, hashlib.sha256(SECRETS[name].encode()).hexdigest()) for who, name in names.items()]
    file = picture(205)
    with gateway(callers=callers) as running:
        for provider in names:
            labels, _ = ASKED[provider](running.url, file)
            assert labels[0][0] == "light", provider
    assert {line["caller"] for line in running.log if "caller" in line} == set(names)
    with gateway(callers=[Caller("nobody", "0" * 64)]) as running:
        with pytest.raises(Unauthorized):
            asked_google(running.url, file)
        with pytest.raises(ClientAuthenticationError):
            asked_azure(running.url, file)
        with pytest.raises(AssertionError, match="11001"):
            asked_clarifai(running.url, file)
    assert not any(secret in str(running.log) for secret in SECRETS.values())
