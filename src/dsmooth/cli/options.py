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
    "ServiceOfRun",
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
    """A whole number; nothing is rounded to one."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise BadParameter(f"{tokens[0].keyword or kind} must be a whole number, got {tokens[0].value!r}") from None


Whole = Annotated[int, Parameter(converter=_whole)]

Laws = Annotated[
    list[str] | None,
    Parameter(name="--noise", consume_multiple=True, negative=()),
]
"""Noise distributions that records name and the user supplies: no code is loaded because a record names it."""

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
    """Names of the classes, in order: one name per line, or JSON. Needed for files without names, as onnx:."""
    noise: str = "gaussian"
    """gaussian (l2), uniform (l1), splitting (l1, deterministic), or your own as import:package.module:factory."""
    sigma: Annotated[list[float] | None, Parameter(alias="-s", negative=())] = None
    """For gaussian: noise level, the standard deviation with pixels in [0, 1]; 0.25 by default. `certify` takes several
    (--sigma 0.25 --sigma 0.5), and makes one run for each."""
    levels: Whole | None = None
    """For uniform: the number of equally likely noise values, in steps of 1/255, odd; for splitting: the number of outcomes,
    all of which are evaluated. The noise is at most LEVELS / 510 in either direction."""
    brightness: float | None = None
    """Also add Gaussian noise of this standard deviation (say, 0.1) to the brightness of the whole image; the certificate
    then covers changes of brightness too."""
    colour: float | None = None
    """The same for each of the three colour channels."""
    ramp: float | None = None
    """The same for light from one side: a horizontal and a vertical ramp, with this standard deviation at the edge."""
    denoiser: Annotated[str, Parameter(alias="-d", help=f"{FORMS[:1].upper()}{FORMS[1:]}; or none.")] = "photo"
    mirror: Annotated[bool, FLAG] = False
    """Average the classifier's logits over each denoised image and its mirror image: more accurate where left and right do
    not matter, at twice the classifier's cost."""
    dtype: Literal["auto", "fp32", "bf16", "tf32"] = "auto"
    """Precision of the networks; part of what is certified. fp32 runs the networks as they are; bf16 is several times
    faster; auto is bf16 where the processor supports it, else fp32."""
    backend: BackendName = "auto"
    """Runtime of the networks; auto is the fastest one installed. It is recorded; results of backends differ by rounding."""
    batch: Whole | None = None
    """Samples per batch; by default chosen by image size."""
    workers: Whole | None = None
    """Threads or processes; by default one per core, and on a Ray cluster one per core or GPU, including those of machines
    that join later. Does not affect results."""
    engine: str = "threads"
    """threads: in this process; ray: processes on this machine; ray:auto: processes on the Ray cluster that this runs in;
    ray:HOST:PORT: on that one. The cluster's token is taken from RAY_AUTH_TOKEN or the file RAY_AUTH_TOKEN_PATH; a cluster
    without one is refused (extra ray). Does not affect results."""
    gpus: float | None = None
    """With ray and the backend cuda: GPUs per process; 0.5 lets two processes share one. By default 1."""

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
        """The smoothed classifier; warns if the denoiser was trained for other noise. top: the k of a top-k certificate."""
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
                raise BadParameter(f"--top needs the number of classes of {chosen.name}: pass --class-names")
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
        raise BadParameter("--class-names is for classifiers that run locally; for a service, pass --label-map")
    return chosen


def law_of(noise: str, parameters: Mapping[str, Any]) -> Law:
    """The law of that name with these parameters, or the one that import:MODULE:FACTORY makes.

    Afterwards, records that name an imported law can be read: code comes from the command line only, never from a record.
    """
    from dsmooth.registry import imported
    from dsmooth.theory.laws.known import introduce, law_named

    if not noise.startswith(_IMPORT):
        return law_named(noise, parameters)
    if parameters:
        raise BadParameter(f"{noise} has its own parameters: leave out {', '.join(f'--{name}' for name in parameters)}")
    return introduce(imported(noise))


def introduce_laws(noise: Sequence[str] | None) -> None:
    """Afterwards, records that name one of these laws can be read; the laws of dsmooth itself are always known."""
    for each in noise or ():
        if not each.startswith(_IMPORT):
            raise BadParameter(
                "here --noise only names a noise distribution of your own, as import:package.module:factory, because the "
                f"records name the others; got {each!r}"
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
    """How a remote classifier is queried, and what that may cost."""

    label_map: Path | None = None
    """JSON file {"cat": ["tabby", "kitten"], ...} that maps labels to classes. By default the top label is the vote."""
    present: str | None = None
    """Certify whether this label is among those returned, instead of the top label."""
    threshold: float | None = None
    """With --present: the least score at which the label counts as present; 0.5 by default."""
    endpoint: str | None = None
    """Another address for the service, as http://HOST:PORT; credentials come from the environment variables of its SDK."""
    wire: Path | None = None
    """For http: only. JSON file with request (where "{image}" stands for the PNG in base64), labels, scores, version."""
    concurrency: Whole = 32
    """Maximum number of queries in flight."""
    rate: float | None = None
    """Maximum queries per second; by default the quota of a new account (no limit with --endpoint and for http:)."""
    time_limit: float = 10.0
    """Timeout of a query in seconds; a query is tried up to 5 times."""
    max_queries: Whole | None = None
    """Most queries of the run, including retries and its earlier parts."""
    max_dollars: float | None = None
    """Most dollars of the run, at list price or --price."""
    price: float | None = None
    """Dollars per 1,000 queries, in place of the list price."""

    def classifier(self, spec: str) -> RemoteClassifier | str:
        """The service that is named, set up; a classifier that is none, as it is."""
        if not is_service(spec):
            if self != type(self)():
                raise BadParameter(f"got options for services, but {spec} is not a service")
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

        return RemoteClassifier(spec, rule=rule, limits=limits, endpoint=self.endpoint, wire=wire, dry=self._dry)

    @property
    def _dry(self) -> bool:
        return False


@Parameter(name="*", group=f"Services ({SERVICES})")
@dataclass(frozen=True, kw_only=True)
class ServiceOfRun(Service):
    """The same for a run, whose cost is known before its first query."""

    ask_above: float = 1.0
    """Ask for confirmation before the first query of a run that may cost more than this many dollars."""
    yes: Annotated[bool, FLAG] = False
    """Do not ask for confirmation."""
    dry_run: Annotated[bool, FLAG] = False
    """Only report the number of queries, their cost and the time they would take."""

    @property
    def _dry(self) -> bool:
        return self.dry_run


LOCAL = ServiceOfRun()
"""No service: the options as they are by default."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images."""

    labels: Path | None = None
    """CSV with the columns file and label (or class_index), to choose and label the images."""
    size: Whole | None = None
    """Side in pixels to which image files are resized and cropped; by default the classifier's. 0 leaves them unchanged."""
    skip: Whole = 1
    """Take only every SKIPth image."""
    max: Whole | None = None
    """Take at most this many images."""
    on_bad: Literal["stop", "skip"] = "stop"
    """If an image cannot be read: stop ends with an error that names it, skip leaves it out and lists it in the run."""

    def check(self) -> None:
        """Raises BadParameter for impossible numbers."""
        from dsmooth.theory.bounds import check_count

        check_count(self.skip, "skip")
        if self.max is not None:
            check_count(self.max, "max")
        if self.size is not None and not 0 <= self.size <= _LARGEST:
            raise BadParameter(f"size must be from 0 (leave images as they are) to {_LARGEST}, got {self.size}")

    def open(self, path: Path, classifier: Classifier | None) -> tuple[ImageSet, dict[str, str]]:
        """The images that the options choose, for this classifier, and why each skipped one was skipped, by name.

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
    """Reports how many files of a folder or zip are not images."""
    from dsmooth.images.decoding import SUFFIXES

    if images.passed_over:
        kinds = Counter(Path(name).suffix.lower() or "no suffix" for name in images.passed_over)
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_KINDS))
        more = f", {len(kinds) - _KINDS} other kinds" if len(kinds) > _KINDS else ""
        note(f"{path}: ignored {len(images.passed_over)} files ({told}{more}); images end in {', '.join(SUFFIXES)}")


ALL = Data()
"""Every image, as it is found."""
