"""Remote classifiers (requests, answers, costs) and remote weights. No torch.

provider.py        the contract of adapters: dated terms, the request, the answer; how tries fail
connections.py     what holds for every SDK over HTTP: no redirect, bounded answers, sockets that close in time
rekognition.py, google_vision.py, azure_vision.py, clarifai.py, http.py   one adapter each, its SDK imported only there
descriptions.py    what users describe in JSON files: label maps, wires
catalogue.py       names -> adapters and their terms
pictures.py        pixels -> the PNG that is sent
voting.py          many tags -> one vote: top label, label map, presence of a label
gate.py            which query may be sent, and when: rate, budget, circuit breaker
reach.py           whether a server is listening at an address
hub.py             files of repositories on the Hugging Face Hub
client.py          concurrent queries: retries, back-off, timeouts, cache and log
"""
