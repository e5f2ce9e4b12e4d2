"""A forger: whoever has this code can seal anything again, so that every digest fits."""

import hashlib
import json
import shutil
from dataclasses import replace

from dsmooth.records.certificate_file import CertificateFile
from dsmooth.records.schema import certificate_of, radius_text
from dsmooth.records.sidecar import SidecarWriter
from dsmooth.records.store import read_run
from dsmooth.runs.verify import read_evidence


class Forger:
    """A run or certificate file, changed and sealed again as if it had always been so."""

    def __init__(self, base, tmp_path, mode="fixed"):
        self.folder = tmp_path / "forged"
        shutil.copytree(base / "runs" / mode, tmp_path / "copy")
        (tmp_path / "copy" / "run").rename(self.folder)
        self._open(self.folder)

    @classmethod
    def at(cls, folder):
        """Of a run folder as it lies there."""
        made = cls.__new__(cls)
        made._open(folder)
        return made

    def _open(self, folder):
        self.folder, self.run = folder, read_run(folder)
        self.records = list(self.run.records)

    def seal(self, header=None):
        """The folder holds these records, chained and ended as a run is."""
        head = json.loads((self.folder / "run.json").read_text())
        head.update(header or {})
        text = json.dumps(head, indent=2).encode() + b"\n"
        (self.folder / "run.json").write_bytes(text)
        previous, lines = hashlib.sha256(text).hexdigest(), []
        for record in self.records:
            sealed = record.sealed(previous)
            previous = sealed.digest
            lines.append(sealed.line().encode() + b"\n")
        (self.folder / "records.jsonl").write_bytes(b"".join(lines))
        end = {"key": self.run.key.hex(), "records": len(lines), "last": previous}
        if (self.folder / "end.json").exists():
            (self.folder / "end.json").write_text(json.dumps(end))
        return self.folder

    def change(self, i=2, *, claim=True, **changes):
        """Record i says this, and what follows from it."""
        record = replace(self.records[i], **changes)
        if claim:
            certificate = certificate_of(record)
            record = replace(record, answer=certificate.answer, radius=radius_text(certificate.radius))
        self.records[i] = record
        return self

    def votes(self, labels, i=2):
        """Record i rests on these votes."""
        writer = SidecarWriter(self.folder / self.records[i].votes["file"])
        writer.add(labels)
        self.records[i] = replace(self.records[i], votes=writer.close())
        return self

    def certificate(self, path, i=2, name=None):
        """A certificate file of record i, sealed."""
        record = self.records[i].sealed(self.records[i].previous)
        packed = (self.folder / record.votes["file"]).read_bytes()
        path.write_text(CertificateFile(record, packed, self.run.key, name).text())
        return path


def labels_of(forger, i=2):
    evidence = read_evidence(forger.folder)
    return evidence.labels(forger.records[i])
