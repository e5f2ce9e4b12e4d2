"""What is written down: no torch, no network, so that a certificate can be checked without either.

digests.py   names for images, weights and files that change when one bit of them changes
files.py     files that are written all or nothing
outputs.py   folders that results go to: writable before any work is done, gone again where nothing was written
keys.py      the key of a run: committed to, kept secret, revealed at the end
question.py  Question: everything that is asked of an image
certificate_file.py  one image's certificate as a file that a third party can check
envelope.py  signed certificate files
certificate_schema.py  the format of that file, as a JSON Schema
reading.py   JSON from strangers: how deep it may be nested, each name of an object once
schema.py    Record: everything that a certificate rests on, as one line of JSON; certificates from counts
legacy.py    records and runs of schemas 1 and 2, in the terms of today's
record_file.py  the records of a run, one after another from its file
repeats.py   whether one of very many values comes twice, in little memory
typed.py     whether what was read has the types that are declared
beacon.py    a public randomness beacon: who signs a round, and when it comes
witness.py   what proves that a key was fixed before its noise could be known
store.py     a run folder: append-only, crash-safe, one writer, each record with the hash of the one before
cascade.py   the runs of a cascade in one folder, and whether they fit together
thumbnails.py  small pictures of the images of a run, which no certificate rests on
clean_answers.py  what the classifier alone answers to them, likewise
table.py     the records of runs as a table: pandas, Parquet, CSV
sidecar.py   one label per sample, packed
querylog.py  every answer of a service, with the address of its noise
"""
