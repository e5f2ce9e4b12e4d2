"""Run folders of a few records that nothing was asked for: enough to be read, resumed and damaged; what a run says."""

from dataclasses import fields, replace

from dsmooth.records.keys import commitment_of
from dsmooth.records.question import Question
from dsmooth.records.schema import Record, certificate_of, radius_text, votes_to_json
from dsmooth.records.store import RunWriter
from dsmooth.theory.laws.gaussian import Gaussian
from dsmooth.theory.votes import Votes

VOTES = votes_to_json(Votes({1: 90, 0: 8}, 100))


QUESTION = Question(
    law=Gaussian(0.25),
    classifier="c",
    denoiser=None,
    preparation="none",
    n0=100,
    n=100,
    norm=2.0,
    dtype="fp32",
    backend="eager",
    batch_area=4096,
    generator="g",
)


def record(index=0, *, asked=None, **changes):
    made = replace(
        Record(
            index=index,
            name=f"image-{index}.png",
            image="a" * 64,
            shape=(2, 2, 3),
            decoding=("L to RGB",),
            label=1,
            answer=None,
            radius="",
            asked=QUESTION if asked is None else replace(QUESTION, **asked),
            selection=VOTES,
            estimation=VOTES,
            drawn=200,
            votes={"file": "votes/000000.votes", "format": "zlib-u16", "labels": [], "sha256": "0" * 64},
            key={"commitment": "c", "source": "os", "selection": "5e" * 16, "estimation": "e5" * 16},
            batch=(4, 3, 2, 2),
            versions={},
            seconds=0.1,
        ),
        **changes,
    )
    if "radius" in changes:
        return made
    certificate = certificate_of(made)
    return replace(made, answer=certificate.answer, radius=radius_text(certificate.radius))


KEY = b"k" * 32
HEADER = {
    "question": QUESTION.to_json(),
    "evaluated": None,
    "data": "d",
    "images": 3,
    "key_commitment": commitment_of(KEY),
}


def written(folder, count=3):
    with RunWriter(folder, HEADER, KEY, resume=False) as writer:
        for i in range(count):
            writer.append(record(i))
    return folder


def told(run):
    """All that a record says, but for times, what was drawn ahead and not needed, and the chain, begun with a date."""
    left = ("seconds", "drawn", "previous", "digest")
    return [
        {each.name: getattr(record, each.name) for each in fields(record) if each.name not in left}
        for record in sorted(run.records, key=lambda record: record.index)
    ]  # as they were finished
