"""Options that several commands share: the model, the images, whole numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

from dsmooth.backends.choice import BACKENDS, SLOWER, candidates
from dsmooth.classifiers.specs import CLASSIFIERS
from dsmooth.console import note
from dsmooth.denoisers.names import FORMS
from dsmooth.errors import BadParameter
from dsmooth.records.question import Question, Role
from dsmooth.services.catalogue import SERVICES, is_service
from dsmooth.theory.rules import CERTIFIERS

if TYPE_CHECKING:
    from dsmooth.classifiers.base import Classifier
    from dsmooth.classifiers.remote import RemoteClassifier
    from dsmooth.images.sets import ImageSet
    from dsmooth.services.voting import VotingRule
    from dsmooth.smoothing.smoothed import SmoothedClassifier
    from dsmooth.theory.cascade import Cascade
    from dsmooth.theory.laws.base import Law

__all__ = [
    "ALL",
    "FLAG",
    "LOCAL",
    "MANY",
    "USUAL",
    "Cascaded",
    "Data",
    "Laws",
    "Model",
    "Service",
    "Terms",
    "Whole",
    "chosen_classifier",
    "introduce_laws",
    "law_of",
    "tell_passed_over",
    "voting_rule",
]

FLAG = Parameter(negative=())
MANY = Parameter(consume_multiple=True, negative=())

_LARGEST = 5000  # pixels a side
_KINDS = 4  # of files, that are told apart
_IMPORT = "import:"


def _whole(kind: Any, tokens: Sequence[Token]) -> int:
    """A whole number, and nothing that would have to be rounded to one."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise BadParameter(f"{tokens[0].keyword or kind} must be a whole number, got {tokens[0].value!r}") from None


Whole = Annotated[int, Parameter(converter=_whole)]

Laws = Annotated[
    list[str] | None,
    Parameter(name="--noise", consume_multiple=True, negative=()),
]
"""Laws that records name and the user brings: no code is loaded because a record names it."""

if TYPE_CHECKING:
    BackendName = str
else:
    BackendName = Literal[tuple(BACKENDS)]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Model:
    """What is smoothed, and how."""

    classifier: Annotated[str, Parameter(alias="-c", help=f"One of: {CLASSIFIERS}")]
    class_names: Path | None = None
    """Names of the classes, in order: a text file with one name on each line, or JSON; for onnx: files, for example."""
    noise: str = "gaussian"
    """gaussian (l2), uniform (l1), splitting (l1, without chance), or a law of your own as import:package.module:factory."""
    sigma: Annotated[list[float] | None, Parameter(alias="-s", negative=())] = None
    """For gaussian: standard deviation of the noise, with pixels in [0, 1]; 0.25 by default. `certify` takes several
    (--sigma 0.25 --sigma 0.5), and makes a run of each."""
    levels: Whole | None = None
    """For uniform: how many steps of 1/255 are equally likely, an odd number; for splitting: how many outcomes are asked
    for. The noise reaches levels / 510 to either side."""
    brightness: float | None = None
    """Adds noise of this standard deviation (say, 0.1) to the brightness of the whole image, beside Gaussian noise on the
    pixels; the certificate then covers changes of brightness, too."""
    colour: float | None = None
    """The same for each of the three channels."""
    ramp: float | None = None
    """The same for light from one side: a ramp across the image and one down, of this standard deviation at the edge."""
    denoiser: Annotated[str, Parameter(alias="-d", help=f"{FORMS[:1].upper()}{FORMS[1:]}; or none.")] = "photo"
    mirror: Annotated[bool, FLAG] = False
    """Average the classifier's logits over each denoised image and its mirror image: right more often, at twice the
    classifier's cost, where left and right mean nothing."""
    dtype: Literal["auto", "fp32", "bf16", "tf32"] = "auto"
    """Precision of the networks, which is part of what is certified. fp32 is the networks as they are; bf16 is several times
    faster; auto is bf16 where the processor supports it, else fp32."""
    backend: BackendName = "auto"
    """What runs the networks; auto is the fastest one installed. It is recorded; answers differ by rounding."""
    batch: Whole | None = None
    """Samples classified at once; chosen by image size by default."""
    workers: Whole | None = None
    """Threads or processes; one per core by default. Changes no result."""
    engine: str = "threads"
    """threads of this process; ray: processes of this machine; ray:auto: those of the Ray cluster that this runs in, on any
    number of machines (extra ray). Changes no result."""
    gpus: float | None = None
    """With ray: the part of a GPU that each process takes; one where the backend is cuda."""

    @property
    def each_sigma(self) -> list[Model]:
        """The same for each of several sigmas, in the order in which they were given."""
        return [replace(self, sigma=[sigma]) for sigma in dict.fromkeys(self.sigma or ())] or [self]

    def law(self) -> Law:
        """The noise that the options choose."""
        if self.sigma is not None and len(self.sigma) > 1:
            raise BadParameter(f"expected one --sigma here, got {len(self.sigma)}: only certify takes several")
        light = {"brightness": self.brightness, "colour": self.colour, "ramp": self.ramp}
        parameters = {"sigma": self.sigma[0] if self.sigma else None, "levels": self.levels, **light}
        given = {name: value for name, value in parameters.items() if value is not None}
        noise = self.noise
        if noise == "gaussian" and not given.keys().isdisjoint(light):
            noise, given = "lighting", {**dict.fromkeys(light, 0.0), **given}
        if noise in ("gaussian", "lighting"):
            given.setdefault("sigma", 0.25)
        return law_of(noise, given)

    def smoothed(
        self, bound: str = "multiclass", service: Service | None = None, top: int | None = None
    ) -> SmoothedClassifier:
        """The smoothed classifier; says when the denoiser was trained for other noise. top: how many places are enough."""
        from dsmooth.smoothing.chunks import LIMITS
        from dsmooth.theory.bounds import check_count
        from dsmooth.theory.rules import certifier_named
        from dsmooth.theory.top_k import TopK

        law = self.law()  # complains of a bad number before anything is loaded, torch included
        certifier = certifier_named(bound)
        for name in ("batch", "workers"):
            if (value := getattr(self, name)) is not None:
                check_count(value, name, most=LIMITS[name])

        from dsmooth.smoothing.smoothed import SmoothedClassifier

        if self.backend == "auto" and candidates("auto", self.dtype)[0] == ("eager", "bf16"):
            note(SLOWER)
        chosen = chosen_classifier(self.classifier, self.class_names, service)
        if top is not None:
            if chosen.classes is None:
                raise BadParameter(f"--top needs to know how many classes {chosen.name} has: pass --class-names")
            certifier = TopK(top, chosen.classes)
        return SmoothedClassifier(
            chosen,
            self.denoiser,
            law=law,
            dtype=self.dtype,
            backend=self.backend,
            batch=self.batch,
            workers=self.workers,
            engine=self.engine,
            gpus=self.gpus,
            certifier=certifier,
            mirror=self.mirror,
        )


@dataclass(frozen=True)
class Cascaded:
    """The options of several sigmas that are one classifier."""

    cascade: Cascade
    models: list[Model]
    """One for each sigma, the strongest first."""

    @classmethod
    def of(cls, model: Model) -> Cascaded:
        from dsmooth.theory.cascade import Cascade
        from dsmooth.theory.laws.gaussian import Gaussian

        laws = [each.law() for each in model.each_sigma]
        sigmas = tuple(law.sigma for law in laws if isinstance(law, Gaussian))
        if len(sigmas) < len(laws):
            raise BadParameter(f"--cascade is for Gaussian noise, got {laws[0]}")
        cascade = Cascade(sigmas)
        return cls(cascade, [replace(model, sigma=[sigma]) for sigma in cascade.sigmas])


def chosen_classifier(spec: str, class_names: Path | None, service: Service | None) -> Classifier:
    """The classifier that the options choose, loaded; a service set up."""
    from dsmooth.classifiers.specs import load_classifier

    chosen = spec if service is None else service.classifier(spec)
    if isinstance(chosen, str):
        return load_classifier(chosen, class_names)
    if class_names is not None:
        raise BadParameter("--class-names belong to a classifier that runs here; for a service, pass --label-map")
    return chosen


def law_of(noise: str, parameters: Mapping[str, Any]) -> Law:
    """The law of that name with these parameters, or the one that import:MODULE:FACTORY makes.

    From here on records that name an imported law can be read: code comes from the command line only, never from a record.
    """
    from dsmooth.registry import imported
    from dsmooth.theory.laws.known import introduce, law_named

    if not noise.startswith(_IMPORT):
        return law_named(noise, parameters)
    if parameters:
        raise BadParameter(f"{noise} has its own parameters: leave out {', '.join(f'--{name}' for name in parameters)}")
    return introduce(imported(noise))


def introduce_laws(noise: Sequence[str] | None) -> None:
    """From here on records that name one of these laws can be read; laws that come with dsmooth need no introduction."""
    for each in noise or ():
        if not each.startswith(_IMPORT):
            raise BadParameter(
                "here --noise only names a law of your own, as import:package.module:factory, because the records say "
                f"which noise it was; got {each!r}"
            )
        law_of(each, {})


def _terms() -> Any:
    """The options of a question: its fields that decide the claim, but for the mode, which has options of its own."""
    kinds: dict[str, Any] = {"int": Whole, "float": float}
    made = []
    for each in Question.having(Role.CLAIM):
        if each.name == "mode":
            continue
        kind = kinds.get(str(each.type)) or Literal[tuple(CERTIFIERS)]
        default = each.default
        if default is MISSING:
            kind, default = kind | None, None
        option: Any = Annotated[kind, Parameter(help=each.metadata["help"])]
        made.append((each.name, option, field(default=default)))
    terms = make_dataclass("Terms", made, frozen=True, kw_only=True)
    terms.__module__ = __name__  # or cyclopts takes it for a type of the standard library
    return Parameter(name="*")(terms)


if TYPE_CHECKING:
    Terms = Any
else:
    Terms = _terms()

USUAL: Any = None if TYPE_CHECKING else Terms()
"""The terms as they are by default."""


def voting_rule(label_map: Path | None, present: str | None, threshold: float | None) -> VotingRule | None:
    """The voting rule that the options choose, or None where they choose none."""
    from dsmooth.services.voting import LabelMap, Presence

    if label_map is not None and present is not None:
        raise BadParameter("--label-map and --present are two ways to vote: pass one of them")
    if threshold is not None and present is None:
        raise BadParameter("--threshold belongs to --present LABEL")
    if present is not None:
        return Presence(present) if threshold is None else Presence(present, threshold)
    return None if label_map is None else LabelMap.load(label_map)


@Parameter(name="*", group=f"Services ({SERVICES})")
@dataclass(frozen=True, kw_only=True)
class Service:
    """How a classifier that is a service is asked, and what that may cost."""

    label_map: Path | None = None
    """JSON file {"cat": ["tabby", "kitten"], ...}: many labels to one class. By default the top label is the vote."""
    present: str | None = None
    """Certify whether this label is among the answers, in place of the top label."""
    threshold: float | None = None
    """The score from which a label counts as present; 0.5 by default."""
    endpoint: str | None = None
    """Another address for the service, as http://HOST:PORT; keys come from the environment variables of its SDK."""
    wire: Path | None = None
    """http: only. JSON file with request (in which "{image}" becomes the PNG in base64), labels, scores, version."""
    concurrency: Whole = 32
    """Queries in flight."""
    rate: float | None = None
    """Queries per second; by default what a new account may send (no limit with --endpoint and for http:)."""
    time_limit: float = 10.0
    """Seconds before a try is given up; a query is tried 5 times."""
    max_queries: Whole | None = None
    """Send no more queries than this, retries and earlier parts of the run included."""
    max_dollars: float | None = None
    """The same in dollars at list price."""
    price: float | None = None
    """Dollars per 1,000 queries, in place of the list price."""
    ask_above: float = 1.0
    """Dollars: a run that costs more asks for confirmation before its first query."""
    yes: Annotated[bool, FLAG] = False
    """Do not ask."""
    dry_run: Annotated[bool, FLAG] = False
    """Only say how many queries there would be, what they would cost, and how long they would take."""

    def classifier(self, spec: str) -> RemoteClassifier | str:
        """The service that is named, set up; a classifier that is none, as it is."""
        if not is_service(spec):
            if self != LOCAL:
                raise BadParameter(f"options for services were given, but {spec} is not a service")
            return spec
        rule = voting_rule(self.label_map, self.present, self.threshold)
        from dsmooth.services.gate import Limits
        from dsmooth.services.http import load_wire

        limits = Limits(
            concurrency=self.concurrency,
            rate=self.rate,
            time_limit=self.time_limit,
            max_queries=self.max_queries,
            max_dollars=self.max_dollars,
            price=self.price,
        )
        wire = None if self.wire is None else load_wire(self.wire)
        from dsmooth.classifiers.remote import RemoteClassifier

        return RemoteClassifier(spec, rule=rule, limits=limits, endpoint=self.endpoint, wire=wire, dry=self.dry_run)


LOCAL = Service()
"""No service: the options as they are by default."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images."""

    labels: Path | None = None
    """CSV with the columns file and label (or class_index), to choose and label the images."""
    size: Whole | None = None
    """Side to which image files are resized and cropped; by default what the classifier takes. 0 leaves them as they are."""
    skip: Whole = 1
    """Take only every SKIP-th image."""
    max: Whole | None = None
    """Stop after this many images."""
    on_bad: Literal["stop", "skip"] = "stop"
    """What to do about an image that cannot be read: stop says which it is, skip leaves it out and lists it in the run."""

    def check(self) -> None:
        """Complains of impossible numbers."""
        from dsmooth.theory.bounds import check_count

        check_count(self.skip, "skip")
        if self.max is not None:
            check_count(self.max, "max")
        if self.size is not None and not 0 <= self.size <= _LARGEST:
            raise BadParameter(f"size must be from 0 (leave images as they are) to {_LARGEST}, got {self.size}")

    def open(self, path: Path, classifier: Classifier | None) -> tuple[ImageSet, dict[str, str]]:
        """The images that the options choose, for this classifier, and those that were skipped, with what is wrong.

        The order of sub-folders, which is enough for the classes of a network, says nothing about the votes of a service.
        """
        from dsmooth.images.opening import holds_arrays
        from dsmooth.smoothing.mismatches import strange_labels

        size, names = self.size, None if classifier is None else classifier.class_names
        if size is None and classifier is not None and not holds_arrays(path):
            size = classifier.input_size
        by_order = classifier is None or not classifier.traits.billed
        chosen = self.chosen(path, size=size or None, class_names=names, by_order=by_order)
        tell_passed_over(path, chosen)
        if (strange := strange_labels(chosen.labels, names)) is not None:
            note(strange)
        if self.on_bad == "stop":
            return chosen, {}
        good, bad = chosen.readable()
        for why in bad.values():
            note(f"skipped {why}")
        return good, bad

    def chosen(self, path: Path, **reading: Any) -> ImageSet:
        """The images that the options choose, read in this way (images/opening.py)."""
        from dsmooth.images.opening import open_images

        chosen: ImageSet = open_images(path, labels=self.labels, **reading)[:: self.skip][: self.max]
        return chosen


def tell_passed_over(path: Path, images: ImageSet) -> None:
    """Says how many files of a folder or zip were not taken for images."""
    from dsmooth.images.decoding import SUFFIXES

    if images.passed_over:
        kinds = Counter(Path(name).suffix.lower() or "no suffix" for name in images.passed_over)
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_KINDS))
        more = f", {len(kinds) - _KINDS} other kinds" if len(kinds) > _KINDS else ""
        note(f"{path}: passed over {len(images.passed_over)} files ({told}{more}); images are {', '.join(SUFFIXES)}")


ALL = Data()
"""Every image, as it is found."""
