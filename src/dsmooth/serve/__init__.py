"""The gateway: a certified answer over HTTP, in front of any classifier (extra `serve`). No file here samples or certifies.

faces/         the ways to ask over HTTP, one file each
rpc/           those over gRPC
page/          the page: HTML, CSS, JavaScript; openapi.json describes the protocol
showing.py     what the page shows beside certificates
server.py      uvicorn, slow heads, the end
app.py         all faces behind one guard
settings.py    where to listen, and who is let in
guard.py       what holds for every request: origin, size, time, log
complaints.py  what libraries complain of, as lines of the log
callers.py     keys and quotas
sigv4.py       the signatures of AWS's SDKs
desk.py        the core: a picture is put to the vote, and its answer recorded
served.py      a smoothed classifier, warm, under a name
admission.py   who may wait, and who is told to come back later
answers.py     what a client is told
archive.py     certificates that were answered
jobs.py        certificates that take longer than somebody waits
metrics.py     what is measured
tracing.py     where the time of a request goes
telemetry.py   both, sent by OpenTelemetry
refusals.py    why a request is not answered
"""
