"""The gateway: certified answers over HTTP, in front of any classifier (extra `serve`). No file here samples or certifies.

faces/         the HTTP protocols, one file each
rpc/           the gRPC protocols
page/          the page: HTML, CSS, JavaScript; openapi.json describes the protocol
showing.py     what the page shows beside certificates
server.py      uvicorn, slow clients, shutdown
app.py         all faces behind one guard
settings.py    where to listen, and who may connect
guard.py       limits on every request: origin, size, time; the log
complaints.py  warnings and errors of libraries, as lines of the log
callers.py     keys and quotas
sigv4.py       the signatures of AWS's SDKs
desk.py        the core: a picture is classified by vote, and its answer recorded
served.py      a smoothed classifier, warm, under a name
admission.py   which requests may wait, and which are told to come back later
answers.py     the answers that clients get
archive.py     certificates given in earlier answers
jobs.py        certificates that take longer than a client waits
metrics.py     Prometheus metrics
tracing.py     where the time of a request goes
telemetry.py   both, sent by OpenTelemetry
refusals.py    why a request is not answered
"""
