"""Witnessed runs: begun, stopped until the time stamp and the beacon's round are there, then resumed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dsmooth.errors import BadParameter, Disproved, WitnessAwaited, require
from dsmooth.records.beacon import QUICKNET, Beacon
from dsmooth.records.keys import commitment_of
from dsmooth.records.witness import FOLDER, ROUND, TOKEN, UNKEYED, Commitment, Standing, read_witness, standing
from dsmooth.smoothing.chunks import MasterKey
from dsmooth.theory.laws.base import EnumeratedLaw

if TYPE_CHECKING:
    from dsmooth.runs.verify import Evidence

__all__ = ["SOON", "appointment", "standing_of", "witnessed"]

SOON: Final = timedelta(minutes=15)
"""From the commitment to the round: the time stamp has to come in between."""


def appointment(beacon: Beacon, after: timedelta) -> dict[str, Any]:
    """The beacon and its first round after so long from now, for a run's header."""
    if after <= timedelta():
        raise BadParameter(
            f"expected a round in the future, got one after {after}: nothing could be time-stamped before it"
        )
    require("rfc3161_client", "witness")  # before anything is written
    return {"beacon": beacon.to_json(), "round": beacon.round_after(datetime.now(UTC) + after)}


def witnessed(folder: Path, header: Mapping[str, Any], key: MasterKey) -> tuple[MasterKey, str]:
    """The key with the round's randomness in it, and the digest of the commitment.

    What the witnesses need is in the run's folder. Raises WitnessAwaited until their answers are there too, Disproved
    where they are about something else or came too late; who signed the time stamp is the verifier's to check.
    """
    commitment = Commitment.from_json(header)
    witness = read_witness(folder, commitment)
    place = folder / FOLDER
    if witness is None:
        commitment.write(folder)
        comes = f"{commitment.comes:%Y-%m-%d %H:%M:%S} UTC"
        raise WitnessAwaited(
            f"{folder} is waiting for its witness: {TOKEN} and {ROUND} in {place}",
            (
                f"before {comes}: send {place / 'request.tsq'} to a time-stamp authority (POST, "
                f"application/timestamp-query), and keep its answer as {place / TOKEN}",
                f"after it: keep round {commitment.round} of the beacon (drand's JSON) as {place / ROUND}, and run the same "
                "command with --resume",
            ),
        )
    try:
        witness.check_round()
        witness.check_time()
        if witness.round.signed(commitment.beacon) is False:
            raise Disproved(f"the beacon did not sign round {witness.round.number} as given")
    except Disproved as error:
        raise Disproved(f"{place}: {error}; no vote was drawn") from error
    return key.witnessed(witness.round.randomness), commitment.digest


def standing_of(evidence: Evidence, roots: bytes | None = None, beacon: Beacon = QUICKNET) -> Standing:
    """What is known of the key, to who trusts these roots of time-stamp authorities (PEM) and this beacon."""
    first, witness = evidence.first, evidence.witness
    if first is not None and isinstance(first.law, EnumeratedLaw):
        return UNKEYED
    if witness is None or evidence.key is None:
        late = evidence.run is not None and evidence.run.late
        return standing(None, [], alone=True, roots=roots, beacon=beacon, late=late)
    commitment, named = witness.commitment, {}
    if commitment_of(evidence.key) != commitment.key:
        return Standing("invalid witness: the commitment is to another key", false=True)
    for record in evidence.records:
        if record.asked.to_json() != commitment.question:
            return Standing("invalid witness: the commitment is to other settings", false=True)
        named[record.index] = [record.name, record.label, record.image]
    told = [named[index] for index in sorted(named)]
    return standing(witness, told, alone=evidence.run is None, roots=roots, beacon=beacon)
