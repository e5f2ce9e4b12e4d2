"""What is stored: no torch, no network, so that certificates can be checked without either.

digests.py   names for images, weights and files that change when one bit of them changes
files.py     files that are written all or nothing
outputs.py   folders that results go to: checked before any work is done, removed where nothing was written
keys.py      the key of a run: committed to, kept secret, revealed at the end
question.py  Question: all settings of a run
certificate_file.py  one image's certificate as a file that a third party can check
envelope.py  signed certificate files
certificate_schema.py  the format of that file, as a JSON Schema
reading.py   untrusted JSON: bounded depth, unique names
schema.py    Record: everything that a certificate rests on, as one line of JSON; certificates from counts
legacy.py    records and runs of schemas 1 and 2, converted to schema 3
record_file.py  the records of a run, one after another from its file
repeats.py   whether any of very many values occurs twice, in little memory
typed.py     whether values that were read have their declared types
beacon.py    a public randomness beacon: who signs a round, and when it comes
witness.py   what proves that a key was fixed before its noise could be known
store.py     a run folder: append-only, crash-safe, one writer, each record with the hash of the one before
cascade.py   the runs of a cascade in one folder, and whether they fit together
changed.py   the runs of a former classifier and of the pairs in one folder, and whether they fit together
thumbnails.py  thumbnails of the images of a run, on which no certificate depends
clean_answers.py  the classifier's own answers to them, likewise
table.py     the records of runs as a table: pandas, Parquet, CSV
sidecar.py   one label per sample, packed
querylog.py  every answer of a service, with the address of its noise
"""
